//! The server's module API, as methods that are safe to call. All unsafe code is here, and no rule.

pub mod acl;
#[cfg(not(test))]
pub mod allocator;
mod api;
pub mod blocking;
mod cached_replies;
pub mod call;
pub mod clock;
pub mod command_info;
pub mod commands;
pub mod data_type;
pub mod event_loop;
pub mod flags;
pub mod guard;
pub mod hash;
pub mod keys;
pub mod keyspace;
pub mod latency;
pub mod load;
pub mod log;
pub mod options;
pub mod others;
pub mod random;
mod recurring;
pub mod reply;
pub mod server_events;
pub mod server_info;
pub mod settings;
pub mod stream;
pub mod timer;
