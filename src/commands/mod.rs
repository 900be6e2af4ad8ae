//! One file for a command: its syntax, what it reads from its arguments, what it does.

pub mod ack;
pub mod consume;
pub mod declare;
pub mod flush;
pub mod get;
pub mod info;
