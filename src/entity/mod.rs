//! The domain, in plain Rust: what a declaration says, how a flush changes an entity, which streams
//! get which event. Nothing here knows Redis.

pub mod decimal;
pub mod declaration;
pub mod diff;
pub mod event;
pub mod event_id;
pub mod filter;
pub mod flush;
pub mod json;
pub mod limits;
pub mod number;
pub mod operation;
pub mod seen;
pub mod snapshot;
pub mod tags;
pub mod value;
pub mod words;
