//! The readers of a stream: what they ask for, and which events they want.

pub mod filters;
pub mod groups;
pub mod requests;
