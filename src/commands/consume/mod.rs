mod batch;
mod group;
mod read;
mod room;
mod turn;
mod watch;

pub use group::{advance, group};
pub use read::{acknowledge, position};
pub use room::has_made_room;

use crate::redis::reply::Reply;
use crate::redis::{flags, keys};
use crate::server::blocking::{self, Look, Waits};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::server::rights::{Access, Rights};
use crate::store::dead::Dead;
use crate::store::deletions::Deletions;
use crate::store::groups::{self, Group};
use crate::store::stream_state;
use batch::{Batch, Part};
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::entity::limits::Limits;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::reading::requests::consume::{Reader, Request};
use dirty_streams_core::syntax::{Arg, block, flag, integer, key, one_of, option, text};
use read::{Waited, read};
use redis_module::{Context, RedisString};
use room::WaitsForRoom;
use std::ffi::CStr;
use watch::Watch;

/// ```text
/// DIRTY.CONSUME stream GROUP group consumer
///     [ACK n id [id …] [DELETE]] [PENDING] [CLAIM min-idle-ms] [MAXDELIVERIES n [DEAD key]]
///     [SINGLE lease-ms] [MAXPENDING n]
///     [FROM start] [COUNT n] [BLOCK ms] [RAW] [WHERE filter [filter …]]
/// DIRTY.CONSUME stream CURSOR name
///     [ACK id] [LAG ms] [SHARD index count]
///     [FROM start] [COUNT n] [BLOCK ms] [RAW] [WHERE filter [filter …]]
///
/// start:   0, $, an event id, or a time in ms
/// filter:  ENTITY name | OPS ops | FIELDS n field [field …] | META name value
/// ```
///
/// First ACK; then for a group the consumer's own pending entries (PENDING), those idle for CLAIM ms,
/// new ones; at most COUNT (100) together. With nothing to give BLOCK waits, except in MULTI and
/// scripts. Replies a map of `events`, `position` and `missed`.
pub struct Consume;

impl Command for Consume {
    const NAME: &'static CStr = c"dirty.consume";
    const SUMMARY: &'static CStr =
        c"Acknowledges events of a stream and reads the next, as a group or cursor.";
    const COMPLEXITY: &'static CStr = c"O(A+N+G+C) for A entries acknowledged, N given or rejected, G groups of the stream and C consumers of this one; PENDING, CLAIM and SINGLE look at the group's pending entries, up to COUNT that fit. Waking from BLOCK does not look at the other groups.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        one_of(
            c"reader",
            &[
                block(
                    c"as-group",
                    &[
                        text(c"group").after(c"GROUP"),
                        text(c"consumer"),
                        option(c"ACK", block(c"acknowledged", ACKNOWLEDGED)),
                        flag(c"pending", c"PENDING"),
                        option(c"CLAIM", integer(c"min-idle-ms")),
                        MAX_DELIVERIES,
                        option(c"SINGLE", integer(c"lease-ms")),
                        option(c"MAXPENDING", integer(c"n")),
                        FROM,
                        COUNT,
                        BLOCK,
                        RAW,
                        WHERE,
                    ],
                ),
                block(
                    c"as-cursor",
                    &[
                        text(c"name").after(c"CURSOR"),
                        option(c"ACK", text(c"id")),
                        option(c"LAG", integer(c"ms")),
                        option(c"SHARD", block(c"shard", SHARD)),
                        FROM,
                        COUNT,
                        BLOCK,
                        RAW,
                        WHERE,
                    ],
                ),
            ],
        ),
    ];
    const FLAGS: &'static CStr = c"write blocking";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(2);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args), &config::limits())?;
        if let Reader::Group(reader) = &request.reader {
            check_dead(call, reader.max_deliveries.is_some(), reader.dead)?;
            check_deletions(call, reader.delete)?;
        }
        let batch = read(call, &request, None)?;
        match request.block {
            Some(timeout_ms) if batch.is_empty() && flags::may_block(call.ctx) => {
                let waiting = WaitingReader {
                    waited: Waited {
                        start: batch.before,
                        position: batch.position,
                        is_cut: batch.is_cut,
                        stream: stream_state::state(call.ctx, &call.key)?.unwrap_or_default(),
                    },
                    watch: Watch::new(&request),
                    raw: request.raw,
                    room: WaitsForRoom::of(&request),
                };
                blocking::wait::<Self>(call, timeout_ms, waiting)?;
            }
            _ => batch.reply(call.reply(), request.raw),
        }
        Ok(())
    }
}

const ACKNOWLEDGED: &[Arg] = &[
    integer(c"n"),
    text(c"id").repeated(),
    flag(c"delete", c"DELETE"),
];
pub const MAX_DELIVERIES: Arg = option(
    c"MAXDELIVERIES",
    block(
        c"maxdeliveries",
        &[integer(c"n"), option(c"DEAD", text(c"key"))],
    ),
);
const SHARD: &[Arg] = &[integer(c"index"), integer(c"count")];
const FROM: Arg = option(c"FROM", text(c"start"));
const COUNT: Arg = option(c"COUNT", integer(c"n"));
const BLOCK: Arg = option(c"BLOCK", integer(c"ms"));
const RAW: Arg = flag(c"raw", c"RAW");
const WHERE: Arg = option(c"WHERE", one_of(c"filter", FILTERS).repeated());
const FILTERS: &[Arg] = &[
    text(c"name").after(c"ENTITY"),
    text(c"ops").after(c"OPS"),
    block(c"fields", &[integer(c"n"), text(c"field").repeated()]).after(c"FIELDS"),
    block(c"meta", &[text(c"name"), text(c"value")]).after(c"META"),
];

/// Looks at the dead stream before anything is done: a stream or nothing, and if the client names
/// another, one that it may write.
pub fn check_dead(call: &Call, is_needed: bool, named: Option<&[u8]>) -> Result<(), Error> {
    if !is_needed {
        return Ok(());
    }
    // A user who may not write it does not learn its type either.
    if let Some(key) = named {
        Rights::of(call).check(Access::Write, key)?;
    }
    let dead = Dead::of(call.ctx, &call.key, named)?;
    dead.count()?;
    dead.check_failures()
}

/// Looks whether deletions can be asked for before anything is acknowledged.
pub fn check_deletions(call: &Call, is_asked: bool) -> Result<(), Error> {
    match is_asked {
        true => Deletions::of(call.ctx, &call.key).check(),
        false => Ok(()),
    }
}

/// The state of a reader while it waits.
pub struct WaitingReader {
    waited: Waited,
    watch: Watch,
    raw: bool,
    #[expect(dead_code, reason = "counts as long as it lives")]
    room: Option<WaitsForRoom>,
}

impl Waits for Consume {
    type Memory = WaitingReader;
    type Found = Batch;

    fn wake(call: &Call, waiting: &mut WaitingReader) -> Result<Option<Batch>, Error> {
        // It was within the limits when it came.
        let request = Request::parse(Args::new(call.args), &Limits::NONE)?;
        let waited = &mut waiting.waited;
        let is_calm = waiting.watch.is_calm();
        let batch = match waited.read_on(call, &request, is_calm)? {
            Some(batch) => batch,
            None => {
                // A slot may have begun to move meanwhile.
                if let Reader::Group(reader) = &request.reader {
                    check_dead(call, reader.max_deliveries.is_some(), reader.dead)?;
                }
                read(call, &request, Some((waited, is_calm)))?
            }
        };
        if !batch.is_empty() {
            return Ok(Some(batch));
        }
        // Past what the filter has rejected.
        waited.position = batch.position.or(waited.position);
        waited.is_cut = batch.is_cut;
        Ok(None)
    }

    fn look(
        ctx: &Context,
        stream: &RedisString,
        waiting: &mut WaitingReader,
    ) -> Result<Look, Error> {
        match waiting.waited.is_cut {
            true => Ok(Look::Wake),
            false => waiting.watch.look(ctx, stream, waiting.waited.position),
        }
    }

    fn reply(reply: Reply, waiting: &WaitingReader, batch: Batch) {
        batch.reply(reply, waiting.raw);
    }

    fn give_up(reply: Reply, waiting: &WaitingReader) {
        Batch::empty(waiting.waited.position).reply(reply, false);
    }
}

impl Waited {
    /// Reads on in the group without looking at it first, which takes time for each group of the stream:
    /// a thousand readers may wake at once. `None` if more has happened than that entries were added, if
    /// more is to be had than new entries, and for cursors, whose position only the group knows.
    fn read_on(
        &self,
        call: &Call,
        request: &Request,
        is_calm: bool,
    ) -> Result<Option<Batch>, Error> {
        let Reader::Group(reader) = &request.reader else {
            return Ok(None);
        };
        let wants_pending = reader.pending || reader.claim_ms.is_some();
        let is_plain = reader.lease_ms.is_none()
            && reader.max_pending.is_none()
            && request.filter.is_empty()
            && (is_calm || !wants_pending);
        if !is_plain {
            return Ok(None);
        }
        let now = stream_state::state(call.ctx, &call.key)?.unwrap_or_default();
        let grown = now.last > self.stream.last && now.added > self.stream.added;
        if !grown || now.lost != self.stream.lost {
            return Ok(None);
        }
        let (name, consumer) = (keys::string(reader.name), keys::string(reader.consumer));
        let entries = group(call, &name).read_new(&consumer, request.count)?;
        Ok(entries.map(|entries| {
            let mut batch = Batch::new(None, None);
            batch.parts.push(Part::new(entries, &request.filter));
            batch
        }))
    }

    /// Where a reader goes on whose group vanished while it waited: at the beginning of a stream that
    /// was made again, all of whose entries came since. If the stream is still the same, somebody has destroyed the
    /// group, and the reader gets an error, as a reader of XREADGROUP does.
    fn resume(&self, call: &Call, group: &Group) -> Result<EventId, Error> {
        let now = stream_state::state(call.ctx, &call.key)?.unwrap_or_default();
        let grown = u64::try_from(now.added.saturating_sub(self.stream.added));
        let made_anew = match grown {
            Err(_) => true,
            Ok(_) if now.last < self.stream.last => true,
            Ok(grown) => {
                // More entries than were added since can only be another stream's.
                let most = grown.saturating_add(1);
                let last = self.stream.last;
                let later = groups::range(call.ctx, &call.key, last, EventId::MAX, most)?;
                let later = later.map_or(0, |reply| groups::entries(reply.view()).count());
                u64::try_from(later).unwrap_or(u64::MAX) > grown
            }
        };
        if made_anew {
            return Ok(EventId::default());
        }
        Err(Error::NoGroup {
            stream: Quoted::new(&call.key),
            name: Quoted::new(group.name),
        })
    }
}
