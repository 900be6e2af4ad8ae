//! Readers with state of their own, by commands.

mod blocking;
mod crowd;
mod cursors;
mod databases;
mod dead;
mod declared;
mod durable;
mod failover;
mod fencing;
mod filters;
mod forms;
mod groups;
mod hostile;
mod memory;
mod missed;
mod moved;
mod native;
mod operated;
mod order;
mod pipeline;
mod poison;
mod policy;
mod read;
mod stats;
mod waking;
