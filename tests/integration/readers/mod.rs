//! Readers with state of their own, by commands.

mod blocking;
mod cursors;
mod databases;
mod dead;
mod declared;
mod durable;
mod failover;
mod forms;
mod groups;
mod hostile;
mod memory;
mod moved;
mod native;
mod operated;
mod read;
