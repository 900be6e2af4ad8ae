//! The commands of readers, one file each.

pub mod ack;
mod acting;
pub mod consume;
pub mod declare;
pub mod delta;
pub mod discard;
mod events;
pub mod fail;
pub mod forget;
pub mod hold;
pub mod leave;
pub mod pause;
pub mod pending;
pub mod read;
pub mod redrive;
pub mod seek;
pub mod stats;
pub mod syntax;
