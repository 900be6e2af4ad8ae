//! The domain in plain Rust: declarations, values, snapshots, events and their ids. Nothing here knows Redis.

mod bytes;
pub mod decimal;
pub mod declaration;
pub mod event;
pub mod event_id;
pub mod field;
#[allow(missing_docs)]
pub mod json;
pub mod limits;
pub mod number;
pub mod operation;
pub mod overlap;
pub mod snapshot;
pub mod tags;
#[allow(missing_docs)]
pub mod value;
