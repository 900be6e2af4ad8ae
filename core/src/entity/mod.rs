//! The domain, in plain Rust: what a declaration says, how a flush changes an entity, which streams
//! get which event. Nothing here knows Redis.

mod bytes;
pub mod decimal;
pub mod declaration;
pub mod event;
pub mod event_id;
pub mod field;
pub mod json;
pub mod limits;
pub mod number;
pub mod operation;
pub mod overlap;
pub mod snapshot;
pub mod tags;
pub mod value;
