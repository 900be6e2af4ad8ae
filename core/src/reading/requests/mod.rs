//! What the commands of readers were asked for.

pub mod ack;
pub mod consume;
pub mod fail;
pub mod redrive;
