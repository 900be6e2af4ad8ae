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

// Cargo.toml denies whatever may panic. Tests may: that is how they fail.
#![cfg_attr(
    test,
    allow(
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
use server::{acl_categories, config, dispatch, eviction, stats as counters, waiting};
use store::{declarations, last_ids, readers};

/// Unit tests run without a server, so without its allocator.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis::allocator::Allocator = redis::allocator::Allocator;

/// Every command of the module.
const COMMANDS: &[fn(&Context) -> bool] = &[
    // DIRTY.DECLARE key …: an entity type, its streams and fields
    dispatch::register::<Declare>,
    // DIRTY.FLUSH key op …: store, diff, publish
    dispatch::register::<Flush>,
    // DIRTY.COMMIT key token …: what was flushed with DEFER
    dispatch::register::<Commit>,
    // DIRTY.ABORT key token …: drop it instead
    dispatch::register::<Abort>,
    // DIRTY.DEFERRED key: what waits
    dispatch::register::<Deferred>,
    // DIRTY.GET key id …: typed snapshots
    dispatch::register::<Get>,
    // DIRTY.INFO key: the declaration
    dispatch::register::<Info>,
    // DIRTY.READER stream GROUP|CURSOR …: a reader and its settings
    dispatch::register::<Reader>,
    // DIRTY.CONSUME stream GROUP|CURSOR …: acknowledge and read
    dispatch::register::<Consume>,
    // DIRTY.READ stream FROM start …: look, without any state
    dispatch::register::<Read>,
    // DIRTY.ACK stream GROUP|CURSOR …: acknowledge alone
    dispatch::register::<Ack>,
    // DIRTY.HOLD stream GROUP group consumer …: still at work
    dispatch::register::<Hold>,
    // DIRTY.FAIL stream GROUP|CURSOR …: retry or dead
    dispatch::register::<Fail>,
    // DIRTY.LEAVE stream GROUP group consumer: hand on its events
    dispatch::register::<Leave>,
    // DIRTY.PENDING stream GROUP group …: what is not finished
    dispatch::register::<Pending>,
    // DIRTY.REDRIVE stream GROUP group …: the dead, once more
    dispatch::register::<Redrive>,
    // DIRTY.DISCARD stream GROUP|CURSOR name …: the dead, for good
    dispatch::register::<Discard>,
    // DIRTY.PAUSE stream GROUP group ON|OFF: give nothing
    dispatch::register::<Pause>,
    // DIRTY.SEEK stream GROUP|CURSOR name start: move it
    dispatch::register::<Seek>,
    // DIRTY.FORGET stream GROUP|CURSOR name: remove it
    dispatch::register::<Forget>,
    // DIRTY.STATS stream: its size and its readers
    dispatch::register::<Stats>,
    // DIRTY._DELTA key …: a change of readers, repeated
    dispatch::register::<Delta>,
    #[cfg(feature = "deliberate-panic")]
    dispatch::register::<commands::panic::Panic>,
];

/// All that the server is to know of the module, which it has found to be one that the module can run on.
fn load(ctx: &Context, args: &[RedisString]) -> bool {
    #[cfg(not(test))]
    redis::allocator::keep();
    redis::options::set(ctx);
    acl_categories::add(ctx);
    declarations::register(ctx)
        && readers::register(ctx)
        && config::register(ctx, args)
        && COMMANDS.iter().all(|register| register(ctx))
        && last_ids::register(ctx)
        && counters::register(ctx)
        && eviction::register(ctx)
        && waiting::register(ctx)
}

redis::load::on_load!(load);
