//! The readers of a stream: their requests, and the filters that select their events.

pub mod filters;
pub mod groups;
pub mod requests;
