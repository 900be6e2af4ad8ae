//! What the server gives to modules, as methods that are safe to call.

#[cfg(not(test))]
pub mod allocator;
pub mod api;
mod cached_replies;
pub mod call;
pub mod clock;
pub mod guard;
pub mod ids;
pub mod keys;
pub mod latency;
pub mod load;
pub mod log;
pub mod options;
pub mod reply;
pub mod server_events;
