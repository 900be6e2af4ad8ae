use crate::redis::reply::Reply;
use crate::redis::{clock, flags};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::store::groups::{self, Group};
use crate::store::source::Source;
use crate::store::streams::{After, Content};
use crate::store::{cluster, dead, readers, stream_state};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::{
    Counter, Kind, OnDead, Order, Position, ReaderStats, Stream as _,
};
use dirty_streams_core::syntax::{Arg, key};
use std::ffi::CStr;

/// ```text
/// DIRTY.STATS stream
/// ```
///
/// Tells how large a stream is, and of each of its readers the settings, how far it is and what it has done. Replies a map.
pub struct Stats;

impl Command for Stats {
    const NAME: &'static CStr = c"dirty.stats";
    const SUMMARY: &'static CStr =
        c"Returns how large a stream is, and the settings and progress of its readers.";
    const COMPLEXITY: &'static CStr = c"O(N+R*C) for N entries, R readers and their C consumers, because the stream's memory is added up. For lag and missed, \
             the command looks at the entries after a reader's position only if ids do not suffice, that is after deletes and if \
             others add entries; for due, it looks at the due events.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[key(c"stream")];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(0);

    fn run(call: &Call) -> Result<(), Error> {
        let stream = &call.key;
        let content = Content::of(call.ctx, stream)?;
        let max_queued = config::reading_limits().max_queued;
        let mut source = Source::new(call.ctx, stream, &|_, _| Ok(()), ());
        let (own, is_other) = match readers::look(call.ctx, stream, |readers, now_ms| {
            source.open()?;
            let is_other = readers.begin_again(now_ms, &mut source);
            Ok((readers.stats(max_queued, now_ms), is_other))
        }) {
            Ok(None) => (Vec::new(), false),
            Ok(Some(looked)) => {
                let (own, is_other) = looked?;
                let is_other = is_other.map_err(|refusal| source.refused(refusal))?;
                (own, is_other)
            }
            // A cluster, where a stream without a tag has none.
            Err(Error::CrossSlot(_)) => (Vec::new(), false),
            Err(error) => return Err(error),
        };
        // Also opens the stream where it has no readers of its own.
        let (native, dead) = source.elsewhere(|_| native_and_dead(call))?;
        let now_ms = clock::now_ms();
        let is_primary = flags::is_primary(call.ctx);
        let reply = call.reply();
        reply.map(7);
        reply.bytes("length");
        reply.unsigned(content.length);
        reply.bytes("bytes");
        reply.unsigned(content.bytes);
        reply.bytes("oldest-event-ms");
        reply.number(content.first.map(|first| now_ms.saturating_sub(first.ms)));
        reply.bytes("first-id");
        reply_id(reply, content.first);
        reply.bytes("last-id");
        reply_id(reply, Some(content.last));
        reply.bytes("dead");
        reply.unsigned(dead);
        reply.bytes("readers");
        reply.array(own.len().saturating_add(native.len()));
        for reader in own {
            // Of a stream that was begun again, all readers begin at the beginning.
            let position = match is_other {
                true => EventId::default(),
                false => reader.position,
            };
            let mut ahead = Ahead::of(call, &content, position, &mut source, now_ms);
            ahead.missed = ahead.missed.filter(|_| !is_other && !reader.missed_unknown);
            reply_reader(reply, &reader, &ahead, is_primary);
        }
        for group in native {
            let position = group.group.position;
            let ahead = Ahead::of(call, &content, position, &mut source, now_ms);
            group.reply(reply, &ahead);
        }
        Ok(())
    }
}

/// The native groups, and how many events are dead.
fn native_and_dead(call: &Call) -> Result<(Vec<NativeStats>, u64), Error> {
    let native = groups::all(call.ctx, &call.key)?.into_iter();
    let native: Result<_, Error> = native.map(|group| NativeStats::of(call, group)).collect();
    Ok((native?, count_dead(call)?))
}

fn count_dead(call: &Call) -> Result<u64, Error> {
    let name = dead::default_key(&call.key);
    if cluster::check_key(call.ctx, &call.key, &name).is_err() {
        return Ok(0);
    }
    let name = crate::redis::keys::string(&name);
    match stream_state::state(call.ctx, &name)? {
        Some(state) => Ok(state.length()),
        None => cluster::check_missing(call.ctx, &call.key, &name).map(|()| 0),
    }
}

/// What is before a reader.
struct Ahead {
    /// Entries still to read.
    lag: u64,
    /// Events that were to be read and are gone; `None` if nobody knows.
    missed: Option<u64>,
    /// How old the first of them is; 0 if there is none.
    oldest_ms: u64,
}

impl Ahead {
    fn of(
        call: &Call,
        content: &Content,
        position: EventId,
        source: &mut Source<()>,
        now_ms: u64,
    ) -> Self {
        let mut is_event = |id| source.last_up_to(id).is_some_and(|(_, is_event)| is_event);
        let After { entries, missed } = content.after(call.ctx, &call.key, position, &mut is_event);
        let oldest = match entries {
            0 => None,
            _ => {
                let key = crate::redis::keys::Key::read(call.ctx, &call.key);

                key.ids(position.succeeding(), None).next()
            }
        };
        Ahead {
            lag: entries,
            missed: Some(missed),
            oldest_ms: oldest.map_or(0, |oldest| now_ms.saturating_sub(oldest.ms)),
        }
    }

    fn reply(&self, reply: Reply) {
        reply.bytes("lag");
        reply.unsigned(self.lag);
        reply.bytes("oldest-unread-ms");
        reply.unsigned(self.oldest_ms);
    }
}

/// Only a primary knows when consumers were seen, and where a call stopped.
fn reply_reader(reply: Reply, reader: &ReaderStats, ahead: &Ahead, is_primary: bool) {
    let is_group = reader.kind == Kind::Group;
    reply.map(if is_group { 34 } else { 23 });
    reply.bytes("name");
    reply.bytes(&reader.name);
    reply.bytes("kind");
    reply.bytes(reader.kind.name());
    ahead.reply(reply);
    reply.bytes("missed");
    reply.number(ahead.missed);
    reply.bytes("position");
    match reader.kind {
        Kind::Group => reply.bytes(reader.position.text()),
        Kind::Cursor => {
            let mut position = Position::new(reader.position, reader.epoch);
            position.scan = reader.scan.clone();
            reply.bytes(position.text());
        }
    }
    let settings = &reader.settings;
    reply.bytes("dead");
    reply.text(settings.dead.as_deref());
    reply.bytes("min-age-ms");
    reply.unsigned(settings.min_age_ms);
    reply.bytes("where");
    let filter = settings.filter.args();
    reply.array(filter.len());
    for arg in filter {
        reply.bytes(arg);
    }
    reply.bytes("revision");
    reply.number(reader.revision);
    let counted = |counter| reader.counters.get(counter);
    // A cursor that is read writes nothing, so nobody knows.
    let known = |counter| is_group.then(|| counted(counter));
    for (name, count) in [
        ("delivered", known(Counter::Delivered)),
        ("redelivered", known(Counter::Redelivered)),
        ("acknowledged", known(Counter::Acknowledged)),
        ("failed", Some(counted(Counter::Failed))),
        ("died", Some(counted(Counter::Died))),
        ("rejected", known(Counter::Rejected)),
        ("missed-total", known(Counter::Missed)),
    ] {
        reply.bytes(name);
        reply.number(count);
    }
    reply.bytes("bytes");
    reply.unsigned(u64::try_from(reader.bytes).unwrap_or(u64::MAX));
    if !is_group {
        reply.bytes("shard");
        match settings.shard {
            None => reply.null(),
            Some(shard) => {
                reply.array(2);
                reply.unsigned(shard.index);
                reply.unsigned(shard.count);
            }
        }
        reply.bytes("phase");
        reply.bytes(match reader.scan {
            Some(_) => "snapshot",
            None => "stream",
        });
        reply.bytes("scanned");
        reply.number(reader.scan.as_ref().map(|scan| scan.scanned));
        reply.bytes("snapshot-keys");
        reply.array(reader.scan_keys.len());
        for key in &reader.scan_keys {
            reply.bytes(key);
        }
        reply.bytes("consumers");
        reply.array(0);
        return;
    }
    reply.bytes("order");
    match &settings.order {
        Order::None => reply.bytes("NONE"),
        Order::Stream => reply.bytes("STREAM"),
        Order::Entity => reply.bytes("ENTITY"),
        Order::Meta(name) => reply.bytes([b"META ", name.as_slice()].concat()),
    }
    for (name, number) in [
        ("claim-ms", Some(settings.claim_ms)),
        ("max-pending", Some(settings.max_pending.into())),
        ("max-deliveries", settings.max_deliveries.map(u64::from)),
    ] {
        reply.bytes(name);
        reply.number(number);
    }
    reply.bytes("on-dead");
    reply.bytes(match settings.on_dead {
        OnDead::Skip => "SKIP",
        OnDead::Park => "PARK",
    });
    for (name, number) in [
        ("pending", reader.pending),
        ("held", reader.held),
        ("due", reader.due),
        ("queued", reader.queued),
        ("held-keys", reader.held_keys),
        ("parked-keys", reader.parked_keys),
    ] {
        reply.bytes(name);
        reply.integer(number.into());
    }
    reply.bytes("lowest-pending-id");
    reply_id(reply, reader.lowest);
    reply.bytes("stalled");
    match is_primary {
        true => reply.boolean(reader.stalled),
        false => reply.null(),
    }
    reply.bytes("paused");
    reply.boolean(reader.paused);
    reply.bytes("turn");
    reply.text(reader.turn.as_deref());
    reply.bytes("consumers");
    reply.array(reader.consumers.len());
    for consumer in &reader.consumers {
        reply.map(4);
        reply.bytes("name");
        reply.bytes(&consumer.name);
        reply.bytes("pending");
        reply.integer(consumer.held.into());
        reply.bytes("idle-ms");
        reply.number(is_primary.then_some(consumer.idle_ms));
        reply.bytes("waiting");
        match is_primary {
            true => reply.boolean(consumer.waiting),
            false => reply.null(),
        }
    }
}

/// A native group.
struct NativeStats {
    group: Group,
    lowest_pending: Option<EventId>,
    consumers: Vec<groups::Consumer>,
}

impl NativeStats {
    fn of(call: &Call, group: Group) -> Result<Self, Error> {
        Ok(NativeStats {
            lowest_pending: group.lowest_pending(call.ctx, &call.key, EventId::default())?,
            consumers: group.consumers(call.ctx, &call.key)?,
            group,
        })
    }

    fn reply(&self, reply: Reply, ahead: &Ahead) {
        reply.map(9);
        reply.bytes("name");
        reply.bytes(self.group.name.as_slice());
        reply.bytes("kind");
        reply.bytes("native");
        ahead.reply(reply);
        reply.bytes("missed");
        reply.number(ahead.missed);
        reply.bytes("position");
        reply_id(reply, Some(self.group.position));
        reply.bytes("pending");
        reply.unsigned(self.group.pending);
        reply.bytes("lowest-pending-id");
        reply_id(reply, self.lowest_pending);
        reply.bytes("consumers");
        reply.array(self.consumers.len());
        for consumer in &self.consumers {
            reply.map(3);
            reply.bytes("name");
            reply.bytes(&consumer.name);
            reply.bytes("pending");
            reply.unsigned(consumer.pending);
            reply.bytes("idle-ms");
            reply.unsigned(consumer.idle_ms);
        }
    }
}

fn reply_id(reply: Reply, id: Option<EventId>) {
    match id {
        Some(id) => reply.bytes(id.text()),
        None => reply.null(),
    }
}
