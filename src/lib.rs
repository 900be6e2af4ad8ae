//! Dirty Streams: a Redis module that publishes entity changes. An application sends an entity's
//! snapshot; the module diffs it against the last one, stores it, and appends events to the streams
//! that want them, in one atomic command.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`entity`] | the domain, plain Rust: declarations, tags, values, diffs, events, the plan of a flush |
//! | [`encoding`] | bytes and back: events as entries, declarations as stored |
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
use redis::{categories, config, declarations, entry, eviction, last_ids, stats as counters};
use redis_module::{raw::ModuleOptions, Context, RedisString};

/// Unit tests and fuzz targets run without a server, so without its allocator.
#[cfg(not(any(test, fuzzing)))]
#[global_allocator]
static ALLOCATOR: redis::allocator::Allocator = redis::allocator::Allocator;

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
    entry::register::<redis::guard::deliberate::Panic>(ctx)
}

/// All that the server is to know of the module, which it has found to be one that the module can run on.
fn load(ctx: &Context, args: &[RedisString]) -> bool {
    #[cfg(not(any(test, fuzzing)))]
    redis::allocator::keep();
    // A forged payload is an error to look at, not the end of the server; and keys are signalled when
    // they were changed, not whenever they were opened.
    ctx.set_module_options(
        ModuleOptions::HANDLE_IO_ERRORS | ModuleOptions::NO_IMPLICIT_SIGNAL_MODIFIED,
    );
    categories::add(ctx);
    declarations::register(ctx)
        && config::register(ctx, args)
        && register_commands(ctx)
        && last_ids::register(ctx)
        && counters::register(ctx)
        && eviction::register(ctx)
}
