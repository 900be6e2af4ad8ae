//! One file for a command: its syntax, what it reads from its arguments, what it does.

#![forbid(unsafe_code)]

pub mod abort;
pub mod ack;
pub mod commit;
pub mod consume;
pub mod declare;
pub mod deferred;
pub mod fail;
pub mod flush;
pub mod get;
pub mod info;
pub mod leave;
#[cfg(feature = "deliberate-panic")]
pub mod panic;
pub mod redrive;
pub mod seek;
pub mod stats;
