//! Tests against a real redis-server with the module loaded, a file per subject. Each test starts its
//! own server on a free port in a folder of its own.

mod any_order;
mod blocking;
mod carried;
mod cluster;
mod consume;
mod data_type;
mod dead;
mod declaration;
mod deferred;
mod errors;
mod events;
mod fake_delete;
mod filters;
mod flush;
mod formats;
mod groups;
mod history;
mod ids;
mod latency;
mod listeners;
mod once;
mod lives;
mod persistence;
mod replication;
mod retention;
mod rights;
mod single;
mod smoke;
mod soak;
mod stateless;
mod support;
mod versions;
mod waiting;
