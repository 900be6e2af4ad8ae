//! Tests against a real redis-server with the module loaded, a file per subject. Each test starts its
//! own server on a free port in a folder of its own.

mod blocking;
mod carried;
mod consume;
mod data_type;
mod dead;
mod declaration;
mod errors;
mod events;
mod filters;
mod flush;
mod formats;
mod groups;
mod history;
mod ids;
mod listeners;
mod lives;
mod persistence;
mod replication;
mod retention;
mod rights;
mod single;
mod smoke;
mod support;
