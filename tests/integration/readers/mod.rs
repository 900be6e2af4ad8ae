//! Readers with state of their own, by commands.

mod blocking;
mod crowd;
mod cursors;
mod dead;
mod declared;
mod durable;
mod fencing;
mod filters;
mod forms;
mod groups;
mod histories;
mod lives;
mod missed;
mod native;
mod operated;
mod order;
mod poison;
mod policy;
mod read;
mod stats;
mod waking;
