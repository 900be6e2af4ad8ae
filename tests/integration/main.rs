//! Tests against a real redis-server with the module loaded, a file per subject. Each test starts its
//! own server on a free port in a folder of its own.

// Cargo.toml denies whatever may panic. Tests may: that is how they fail.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::get_unwrap,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod any_order;
mod carried;
mod cluster;
mod command_docs;
mod data_type;
mod databases;
mod declaration;
mod deferred;
mod dual_channel;
mod errors;
mod events;
mod faults;
mod flush;
mod fluxaorm_story;
mod formats;
mod history;
mod ids;
mod instructions;
mod latency;
mod limits;
mod listeners;
mod mainflux;
mod meddled;
mod names;
mod newer_servers;
mod old_servers;
mod once;
mod operating;
mod orders;
mod panics;
mod paused;
mod persistence;
mod readers;
mod reconcile;
mod repair;
mod replication;
mod retention;
mod retyped;
mod rights;
mod rights_of_users;
mod rooms;
mod sequences;
mod settings;
mod smoke;
mod snapshots;
mod soak;
mod soft_delete;
mod stalls;
mod stateless;
mod stateless_open;
mod stored;
mod support;
mod tombstones;
mod values;
mod versions;
mod waiting;
