//! Tests against a real redis-server with the module loaded, a file per subject. Each test starts its
//! own server on a free port in a folder of its own.

mod blocking;
mod carried;
mod consume;
mod cursors;
mod data_type;
mod declaration;
mod errors;
mod events;
mod flush;
mod formats;
mod history;
mod ids;
mod listeners;
mod missed;
mod persistence;
mod replication;
mod retention;
mod rights;
mod smoke;
mod stats;
mod support;
