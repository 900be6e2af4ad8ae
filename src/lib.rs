//! Dirty Streams: a Redis module that publishes entity changes. An application sends an entity's
//! snapshot; the module diffs it against the last one, stores it, and appends events to the streams
//! that want them, in one atomic command.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `dirty_streams_core` | all that needs no Redis: entities, events, the plan of a flush, every error |
//! | [`commands`] | one file per command |
//! | [`server`] | the module as the server sees it: commands and who may call them, settings, counters |
//! | [`store`] | what stands at keys: declarations, snapshots, streams and their readers |
//! | [`redis`] | what the server gives to modules, as safe methods |

// Nothing that a client sends, or that Redis passes, may end the server. Tests may panic: that is how they
// fail.
#![cfg_attr(
    not(test),
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

mod commands;
mod redis;
mod server;
mod store;

use commands::readers::{
    ack::Ack, consume::Consume, declare::Reader, delta::Delta, discard::Discard, fail::Fail,
    forget::Forget, hold::Hold, leave::Leave, pause::Pause, pending::Pending, read::Read,
    redrive::Redrive, seek::Seek, stats::Stats,
};
use commands::{
    abort::Abort, commit::Commit, declare::Declare, deferred::Deferred, flush::Flush, get::Get,
    info::Info,
};
use redis_module::{Context, RedisString};
use server::{acl_categories, config, dispatch, eviction, stats as counters};
use store::{declarations, last_ids, readers};

/// Unit tests run without a server, so without its allocator.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis::allocator::Allocator = redis::allocator::Allocator;

/// Every command of the module.
fn register_commands(ctx: &Context) -> bool {
    dispatch::register::<Declare>(ctx) // DIRTY.DECLARE key …: an entity type, its streams and fields
        && dispatch::register::<Flush>(ctx) // DIRTY.FLUSH key op …: store, diff, publish
        && dispatch::register::<Commit>(ctx) // DIRTY.COMMIT key token …: what was flushed with DEFER
        && dispatch::register::<Abort>(ctx) // DIRTY.ABORT key token …: drop it instead
        && dispatch::register::<Deferred>(ctx) // DIRTY.DEFERRED key: what waits
        && dispatch::register::<Get>(ctx) // DIRTY.GET key id …: typed snapshots
        && dispatch::register::<Info>(ctx) // DIRTY.INFO key: the declaration
        && dispatch::register::<Reader>(ctx) // DIRTY.READER stream GROUP|CURSOR …: a reader and its settings
        && dispatch::register::<Consume>(ctx) // DIRTY.CONSUME stream GROUP|CURSOR …: acknowledge and read
        && dispatch::register::<Read>(ctx) // DIRTY.READ stream FROM start …: look, without any state
        && dispatch::register::<Ack>(ctx) // DIRTY.ACK stream GROUP|CURSOR …: acknowledge alone
        && dispatch::register::<Hold>(ctx) // DIRTY.HOLD stream GROUP group consumer …: still at work
        && dispatch::register::<Fail>(ctx) // DIRTY.FAIL stream GROUP|CURSOR …: retry or dead
        && dispatch::register::<Leave>(ctx) // DIRTY.LEAVE stream GROUP group consumer: hand on its events
        && dispatch::register::<Pending>(ctx) // DIRTY.PENDING stream GROUP group …: what is not finished
        && dispatch::register::<Redrive>(ctx) // DIRTY.REDRIVE stream GROUP group …: the dead, once more
        && dispatch::register::<Discard>(ctx) // DIRTY.DISCARD stream GROUP|CURSOR name …: the dead, for good
        && dispatch::register::<Pause>(ctx) // DIRTY.PAUSE stream GROUP group ON|OFF: give nothing
        && dispatch::register::<Seek>(ctx) // DIRTY.SEEK stream GROUP|CURSOR name start: move it
        && dispatch::register::<Forget>(ctx) // DIRTY.FORGET stream GROUP|CURSOR name: remove it
        && dispatch::register::<Stats>(ctx) // DIRTY.STATS stream: its size and its readers
        && dispatch::register::<Delta>(ctx) // DIRTY._DELTA key …: a change of readers, repeated
        && register_deliberate_panic(ctx)
}

#[cfg(not(feature = "deliberate-panic"))]
fn register_deliberate_panic(_ctx: &Context) -> bool {
    true
}

#[cfg(feature = "deliberate-panic")]
fn register_deliberate_panic(ctx: &Context) -> bool {
    dispatch::register::<commands::panic::Panic>(ctx)
}

/// All that the server is to know of the module, which it has found to be one that the module can run on.
fn load(ctx: &Context, args: &[RedisString]) -> bool {
    #[cfg(not(test))]
    redis::allocator::keep();
    redis::options::set(ctx);
    acl_categories::add(ctx);
    declarations::register(ctx)
        && readers::register(ctx)
        && config::register(ctx, args)
        && register_commands(ctx)
        && last_ids::register(ctx)
        && counters::register(ctx)
        && eviction::register(ctx)
}

redis::load::on_load!(load);
