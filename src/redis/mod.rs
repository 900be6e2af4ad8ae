//! Everything that calls the Redis module API, and the only place with unsafe code.

#[cfg(not(any(test, fuzzing)))]
pub mod allocator;
pub mod api;
pub mod blocking;
pub mod call;
pub mod categories;
pub mod cluster;
pub mod config;
pub mod dead;
pub mod declarations;
pub mod deletions;
pub mod derived;
pub mod docs;
pub mod entry;
pub mod events;
pub mod eviction;
pub mod groups;
pub mod guard;
pub mod ids;
pub mod keys;
pub mod last_ids;
pub mod latency;
pub mod load;
pub mod log;
pub mod reply;
pub mod retention;
pub mod rights;
pub mod snapshots;
pub mod stats;
pub mod streams;
mod words;
pub mod writes;
