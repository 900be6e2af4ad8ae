//! One file for a command: its syntax, what it reads from its arguments, what it does.

#![forbid(unsafe_code)]

pub mod abort;
pub mod commit;
pub mod declare;
pub mod deferred;
pub mod flush;
pub mod get;
pub mod info;
#[cfg(feature = "deliberate-panic")]
pub mod panic;
pub mod readers;
pub mod reconcile;
pub mod scan;
