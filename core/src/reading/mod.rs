//! The readers of a stream: groups and cursors, what they hold, what is due, what died.
//!
//! [`Readers`] is the value at `<stream>:readers`. Each command is a function of it:
//!
//! | command | function |
//! | --- | --- |
//! | READER | [`Readers::declare`] |
//! | CONSUME … GROUP, CONSUME … CURSOR, READ | [`Readers::consume`], [`Readers::follow`], [`Read::read`] |
//! | ACK of a group, of a cursor; FLUSH … ACK | [`Readers::ack`], [`Readers::ack_cursor`], [`Readers::ack_all`] |
//! | HOLD, LEAVE | [`Readers::hold`], [`Readers::leave`] |
//! | FAIL of a group, of a cursor | [`Readers::fail`], [`Readers::fail_cursor`] |
//! | PENDING, STATS | [`Readers::list_pending`], [`Readers::stats`] |
//! | REDRIVE, DISCARD | [`Readers::redrive`], [`Readers::discard`] |
//! | PAUSE, SEEK, FORGET | [`Readers::pause`], [`Readers::seek`], [`Readers::forget`] |
//!
//! What a command asks of the stream goes through the trait [`Stream`], which is shown what is given while
//! the command decides: it writes the reply. A command is refused before anything changes, or answers an
//! [`Outcome`]: the reply's other parts, the delta to replicate, who may be woken, and when to look again.
//!
//! A delta is repeated by [`Readers::apply`], whoever wrote it: one that does not fit is refused whole. The
//! pieces of [`Readers::encode`] are deltas that rebuild the state: they are what RDB, DUMP and AOF rewrite
//! hold, and what the digest is of. [`Readers::decode`] reads them.
//!
//! A command's time is passed in, and may go back. What the primary alone knows (when consumers were last
//! seen, who waits) is in no delta, encoding or digest; [`Readers::restart`] forgets it when this server
//! becomes a primary, and [`Readers::set_waiting`] tells who waits. [`Readers::floor`] is how far retention
//! may go. Nothing here knows Redis.

mod act;
mod check;
mod consume;
mod consumers;
mod cursor;
mod dead;
mod declare;
mod delta;
mod encoding;
mod filter;
mod glance;
mod index;
mod key_hash;
mod lane;
mod listing;
#[cfg(any(test, fuzzing))]
#[allow(missing_docs)]
pub mod model;
mod op;
mod pending;
mod position;
mod reader;
mod readers;
mod refusal;
pub mod requests;
mod run;
mod settings;
mod settings_wire;
mod settle;
mod slab;
mod snapshot;
#[cfg(any(test, fuzzing))]
mod soundness;
mod stats;
mod stream;
mod wire;

pub use act::{Outcome, Wake};
pub use consume::{Consume, Consumed, Limits, Prospect};
pub use cursor::{Follow, Followed, Read};
pub use declare::{Declare, Declared, From, Native, NativePending, SeekTo};
pub use filter::{Filter, Shard};
pub use key_hash::{Seed, key_hash};
pub use listing::{Listed, ListedState};
pub use position::{Position, Start};
pub use reader::{Counter, Counters, Reader};
pub use readers::{Readers, SeenStream};
pub use refusal::Refusal;
pub use settings::{Kind, OnDead, Order, Settings};
pub use settle::{Again, Fail, Failed};
pub use snapshot::{Phase, Scan, Snapshots, Told, Wanted};
pub use stats::{ConsumerStats, ReaderStats, Totals};
pub use stream::{
    Burial, DeadEntry, Death, Decoded, Delivery, Entry, Origin, Place, Selector, Stream,
    StreamInfo, Verdict,
};

#[cfg(any(test, fuzzing))]
pub(crate) use {
    delta::{Parser, Writer},
    lane::{Failure, Standing},
    op::{End, Op},
    pending::{Loaded, Parked},
};

#[cfg(test)]
mod tests;
