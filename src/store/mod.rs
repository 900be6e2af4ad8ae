//! What stands at keys: declarations, snapshots, streams and what belongs to them.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod cluster;
pub mod dead;
#[allow(unsafe_code)]
pub mod declarations;
pub mod deletions;
pub mod derived;
pub mod groups;
#[allow(unsafe_code)]
pub mod last_ids;
#[allow(unsafe_code)]
pub mod retention;
#[allow(unsafe_code)]
pub mod snapshots;
pub mod stream_state;
#[allow(unsafe_code)]
pub mod streams;
#[allow(unsafe_code)]
pub mod writes;
