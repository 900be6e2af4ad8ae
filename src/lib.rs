//! Dirty Streams: a Redis module that publishes entity changes. An application sends an entity's
//! snapshot; the module diffs it against the last one, stores it, and appends events to the streams
//! that want them, in one atomic command.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`entity`] | the domain, plain Rust: declarations, tags, values, diffs, events, the plan of a flush |
//! | [`encoding`] | bytes and back: events as entries, declarations as stored |
//! | [`acl`] | which keys the text of an ACL allows |
//! | [`args`], [`error`] | what commands are parsed with, and every error they answer |
//! | [`syntax`] | what COMMAND DOCS says of their arguments |
//! | [`commands`] | one file per command |
//! | [`redis`] | everything that calls the Redis module API |

// Nothing that a client sends, or that Redis passes, may end the server. Tests may panic: that is how they
// fail.
#![cfg_attr(
    not(any(test, fuzzing)),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod acl;
mod args;
mod commands;
mod encoding;
mod entity;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod redis;
mod syntax;

use commands::{
    abort::Abort, ack::Ack, commit::Commit, consume::Consume, declare::Declare, deferred::Deferred,
    fail::Fail, flush::Flush, get::Get, info::Info, leave::Leave, redrive::Redrive, seek::Seek,
    stats::Stats,
};
use redis::declarations::TYPE as DECLARATION_TYPE;
use redis::{categories, config, entry, eviction, guard, last_ids, stats as counters};
use redis_module::{redis_module, Context, RedisString, Status};

#[cfg(not(any(test, fuzzing)))]
use redis::allocator::Allocator;
/// Unit tests and fuzz targets run without a server, so without its allocator.
#[cfg(any(test, fuzzing))]
use std::alloc::System as Allocator;

/// `MODULE LIST` shows it: major * 10000 + minor * 100 + patch.
const VERSION: i32 = 100;

/// Every command of the module.
fn register_commands(ctx: &Context) -> bool {
    entry::register::<Declare>(ctx) // DIRTY.DECLARE key …: an entity type, its streams and fields
        && entry::register::<Flush>(ctx) // DIRTY.FLUSH key op …: store, diff, publish
        && entry::register::<Commit>(ctx) // DIRTY.COMMIT key token …: what was flushed with DEFER
        && entry::register::<Abort>(ctx) // DIRTY.ABORT key token …: drop it instead
        && entry::register::<Deferred>(ctx) // DIRTY.DEFERRED key: what waits
        && entry::register::<Get>(ctx) // DIRTY.GET key id …: typed snapshots
        && entry::register::<Info>(ctx) // DIRTY.INFO key: the declaration
        && entry::register::<Consume>(ctx) // DIRTY.CONSUME stream GROUP|CURSOR …: acknowledge and read
        && entry::register::<Ack>(ctx) // DIRTY.ACK stream GROUP|CURSOR …: acknowledge alone
        && entry::register::<Seek>(ctx) // DIRTY.SEEK stream GROUP|CURSOR name start: move it
        && entry::register::<Fail>(ctx) // DIRTY.FAIL stream GROUP group id message: retry or dead
        && entry::register::<Leave>(ctx) // DIRTY.LEAVE stream GROUP group consumer: hand on its events
        && entry::register::<Redrive>(ctx) // DIRTY.REDRIVE stream: the dead, once more
        && entry::register::<Stats>(ctx) // DIRTY.STATS stream: its size and its readers
        && register_deliberate_panic(ctx)
}

#[cfg(not(feature = "deliberate-panic"))]
fn register_deliberate_panic(_ctx: &Context) -> bool {
    true
}

#[cfg(feature = "deliberate-panic")]
fn register_deliberate_panic(ctx: &Context) -> bool {
    entry::register::<guard::deliberate::Panic>(ctx)
}

fn init(ctx: &Context, args: &[RedisString]) -> Status {
    guard::log_panics();
    guard::catch("loading the module", || load(ctx, args)).unwrap_or(Status::Err)
}

fn load(ctx: &Context, args: &[RedisString]) -> Status {
    #[cfg(not(any(test, fuzzing)))]
    redis::allocator::keep();
    redis::options::set(ctx);
    categories::add(ctx);
    match config::register(ctx, args)
        && register_commands(ctx)
        && last_ids::register(ctx)
        && counters::register(ctx)
        && eviction::register(ctx)
    {
        true => Status::Ok,
        false => Status::Err,
    }
}

redis_module! {
    name: "dirty",
    version: VERSION,
    allocator: (Allocator, Allocator),
    data_types: [DECLARATION_TYPE],
    init: init,
}
