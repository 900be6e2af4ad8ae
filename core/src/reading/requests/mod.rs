//! The commands of readers as clients write them: one parser for each.

pub mod ack;
pub mod consume;
pub mod declare;
pub mod fail;
pub mod hold;
pub mod list;
pub mod name;
pub mod pause;
pub mod read;
pub mod seek;
pub mod select;
pub mod shared;
