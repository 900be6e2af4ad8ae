//! The arguments of the commands of readers.

pub mod ack;
pub mod consume;
pub mod fail;
pub mod redrive;
