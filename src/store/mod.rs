//! The data at keys: declarations, snapshots, streams and their readers.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod dead;
pub mod declarations;
pub mod deferred;
pub mod groups;
pub mod last_ids;
pub mod once;
mod own_keys;
pub mod readers;
pub mod retention;
pub mod runs;
pub mod snapshots;
pub mod source;
pub mod stream_state;
pub mod streams;
pub mod walk;
pub mod writes;
