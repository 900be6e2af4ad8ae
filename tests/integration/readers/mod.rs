//! Readers with state of their own, by commands.

mod blocking;
mod cursors;
mod dead;
mod declared;
mod durable;
mod forms;
mod groups;
mod native;
mod operated;
mod pipeline;
mod read;
