//! Groups and cursors. Both are native consumer groups, read and changed by native commands; a cursor is
//! a group nobody reads through, its last delivered id is the position.

use super::stream_state;
use crate::redis::call::{self, Reply, View};
use crate::redis::keys;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::reading::groups::LEFT;
use redis_module::{Context, RedisString};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One group or cursor of one stream.
pub struct Group<'c> {
    pub ctx: &'c Context,
    pub stream: &'c RedisString,
    pub name: &'c RedisString,
}

/// Its state, by XINFO GROUPS.
#[derive(Clone, Copy, Debug)]
pub struct GroupState {
    pub consumers: i64,
    pub pending: i64,
    pub position: EventId,
}

impl GroupState {
    fn of(group: View) -> Option<GroupState> {
        Some(GroupState {
            consumers: group.field(b"consumers")?.integer()?,
            pending: group.field(b"pending")?.integer()?,
            position: EventId::parse(group.field(b"last-delivered-id")?.bytes())?,
        })
    }

    /// Refuses to treat as a cursor what somebody reads through: moving it would lose them entries.
    pub fn check_cursor(&self, name: &[u8]) -> Result<(), Error> {
        match self.consumers > 0 || self.pending > 0 {
            true => Err(Error::GroupNotCursor(Quoted::new(name))),
            false => Ok(()),
        }
    }
}

/// An entry of a stream, its bytes still in the server's reply.
#[derive(Clone, Copy)]
pub struct StreamEntry<'r> {
    pub id: View<'r>,
    pub fields: View<'r>,
}

impl<'r> StreamEntry<'r> {
    fn new(entry: View<'r>) -> Option<Self> {
        Some(StreamEntry {
            id: entry.at(0)?,
            fields: entry.at(1)?,
        })
    }

    pub fn event_id(&self) -> Option<EventId> {
        EventId::parse(self.id.bytes())
    }

    pub fn fields(&self) -> Vec<(&'r [u8], &'r [u8])> {
        let mut texts = self.fields.items().map(View::bytes);
        std::iter::from_fn(|| Some((texts.next()?, texts.next()?))).collect()
    }
}

/// The entries of an XRANGE or XCLAIM reply; null elements, which XCLAIM once gave, are passed over.
pub fn entries(reply: View<'_>) -> impl DoubleEndedIterator<Item = StreamEntry<'_>> {
    reply.items().filter_map(StreamEntry::new)
}

/// The entries in an XREADGROUP reply that asked for one stream; `None` if it has none.
pub fn of_stream(reply: View) -> Option<View> {
    reply.at(0)?.at(1)
}

/// A pending entry: its consumer, how long it has been pending, and how often it was delivered.
pub struct Pending {
    pub id: RedisString,
    pub consumer: RedisString,
    pub idle_ms: u64,
    pub deliveries: i64,
}

impl Pending {
    fn of(row: View) -> Option<Pending> {
        Some(Pending {
            id: keys::string(row.at(0)?.bytes()),
            consumer: keys::string(row.at(1)?.bytes()),
            idle_ms: u64::try_from(row.at(2)?.integer()?).unwrap_or(0),
            deliveries: row.at(3)?.integer()?,
        })
    }

    /// When it was delivered last; `None` if it was made due at once since.
    pub fn delivered_ms(&self, now_ms: u64) -> Option<u64> {
        // Time 0 then, and some ms may have passed since it was looked at.
        const DAY_MS: u64 = 86_400_000;
        now_ms
            .checked_sub(self.idle_ms)
            .filter(|&delivered_ms| delivered_ms > DAY_MS)
    }

    pub fn event_id(&self) -> EventId {
        EventId::parse(&self.id).unwrap_or_default()
    }
}

/// Whose pending entries, and which.
pub enum Whose<'c> {
    /// All that this consumer holds.
    Own(&'c RedisString),
    /// All that others hold, and of one's own those that were held this long.
    OthersOrIdle {
        own: &'c RedisString,
        ms: u64,
    },
    All,
    /// Those that anybody has held this long.
    Idle {
        ms: u64,
    },
}

/// A consumer of a group.
pub struct Consumer {
    pub name: Vec<u8>,
    pub pending: i64,
    /// Since it last read or claimed.
    pub idle_ms: u64,
}

static HANDED_ON: AtomicU64 = AtomicU64::new(0);

/// How often entries were made due at once so far.
pub fn handed_on() -> u64 {
    HANDED_ON.load(Relaxed)
}

impl Group<'_> {
    /// `None` if there is no such group, or no stream that it could be of.
    pub fn state(&self) -> Result<Option<GroupState>, Error> {
        let reply = match call::read(self.ctx, c"XINFO", &[&text("GROUPS"), self.stream]) {
            Ok(reply) => reply,
            Err(error) => return stream_state::missing_is_none(self.stream, error),
        };
        let name = self.name.as_slice();
        let mut groups = reply.view().items();
        let group = groups.find(|group| group.field(b"name").is_some_and(|n| n.bytes() == name));
        Ok(group.and_then(GroupState::of))
    }

    /// Makes the group, and the stream if need be: what comes after this position is still to read.
    pub fn create(&self, position: EventId) -> Result<(), Error> {
        let args = [
            &text("CREATE"),
            self.stream,
            self.name,
            &text(&position.text()),
            &text("MKSTREAM"),
        ];
        self.write(c"XGROUP", &args).map(drop)
    }

    pub fn set_position(&self, position: EventId) -> Result<(), Error> {
        let args = [
            &text("SETID"),
            self.stream,
            self.name,
            &text(&position.text()),
        ];
        self.write(c"XGROUP", &args).map(drop)
    }

    /// How many of them were pending.
    pub fn acknowledge(&self, ids: &[EventId]) -> Result<i64, Error> {
        let ids: Vec<RedisString> = ids.iter().map(|id| text(&id.text())).collect();
        let mut args = vec![self.stream, self.name];
        args.extend(&ids);
        let reply = self.write(c"XACK", &args)?;
        Ok(reply.view().integer().unwrap_or(0))
    }

    /// Delivers new entries to a consumer; `None` if there is no such group.
    pub fn read_new(&self, consumer: &RedisString, count: u64) -> Result<Option<Reply>, Error> {
        let args = [
            &text("GROUP"),
            self.name,
            consumer,
            &text("COUNT"),
            &text(&count.to_string()),
            &text("STREAMS"),
            self.stream,
            &text(">"),
        ];
        match self.write(c"XREADGROUP", &args) {
            Err(Error::Server(message)) if message.starts_with("NOGROUP") => Ok(None),
            reply => reply.map(Some),
        }
    }

    pub fn pending(&self, whose: &Whose, count: u64) -> Result<Vec<Pending>, Error> {
        self.pending_of(whose, None, count)
    }

    /// Up to count pending entries of these, after an id.
    pub fn pending_of(
        &self,
        whose: &Whose,
        after: Option<EventId>,
        count: u64,
    ) -> Result<Vec<Pending>, Error> {
        let Some(first) = beyond(after) else {
            return Ok(Vec::new());
        };
        let idle_ms = text(&whose.idle_ms());
        let (idle, first, last) = (text("IDLE"), text(&first), text("+"));
        let count_text = text(&count.to_string());
        let mut args = vec![self.stream, self.name];
        match whose {
            Whose::Own(consumer) => args.extend([&first, &last, &count_text, consumer]),
            Whose::OthersOrIdle { own, ms } => return self.others_or_idle(own, *ms, after, count),
            Whose::All => return self.pending_after(after, count),
            Whose::Idle { .. } => args.extend([&idle, &idle_ms, &first, &last, &count_text]),
        }
        let reply = self.run(call::read, c"XPENDING", &args)?;
        Ok(reply.view().items().filter_map(Pending::of).collect())
    }

    /// No command asks for this, so all that is pending is looked through, page by page.
    fn others_or_idle(
        &self,
        own: &RedisString,
        ms: u64,
        mut after: Option<EventId>,
        count: u64,
    ) -> Result<Vec<Pending>, Error> {
        let mut others = Vec::new();
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        while others.len() < most {
            let page = self.pending_after(after, PAGE)?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.event_id());
            others.extend(
                page.into_iter()
                    .filter(|p| p.consumer.as_slice() != own.as_slice() || p.idle_ms >= ms),
            );
        }
        others.truncate(most);
        Ok(others)
    }

    /// Up to count pending entries of anybody, after an id.
    pub fn pending_after(&self, after: Option<EventId>, count: u64) -> Result<Vec<Pending>, Error> {
        let Some(first) = beyond(after) else {
            return Ok(Vec::new());
        };
        let args = [
            self.stream,
            self.name,
            &text(&first),
            &text("+"),
            &text(&count.to_string()),
        ];
        let reply = self.run(call::read, c"XPENDING", &args)?;
        Ok(reply.view().items().filter_map(Pending::of).collect())
    }

    /// One entry, if it is pending.
    pub fn pending_entry(&self, id: EventId) -> Result<Option<Pending>, Error> {
        let id = text(&id.text());
        let args = [self.stream, self.name, &id, &id, &text("1")];
        let reply = self.run(call::read, c"XPENDING", &args)?;
        let pending = reply.view().items().find_map(Pending::of);
        Ok(pending)
    }

    pub fn consumers(&self) -> Result<Vec<Consumer>, Error> {
        let args = [&text("CONSUMERS"), self.stream, self.name];
        let reply = self.run(call::read, c"XINFO", &args)?;
        let consumers = reply.view().items().filter_map(|consumer| {
            Some(Consumer {
                name: consumer.field(b"name")?.bytes().to_vec(),
                pending: consumer.field(b"pending")?.integer()?,
                idle_ms: u64::try_from(consumer.field(b"idle")?.integer()?).unwrap_or(0),
            })
        });
        Ok(consumers.collect())
    }

    /// Says that a consumer is alive: it asks for pending entries of its own where there cannot be any.
    pub fn touch(&self, consumer: &RedisString) -> Result<(), Error> {
        // The very greatest id means new entries.
        let beyond = text(&EventId::MAX.preceding().text());
        let args = [
            &text("GROUP"),
            self.name,
            consumer,
            &text("STREAMS"),
            self.stream,
            &beyond,
        ];
        self.write(c"XREADGROUP", &args).map(drop)
    }

    /// Hands pending entries to nobody, due at once, without counting that as a delivery. How many the
    /// stream still has.
    pub fn hand_on(&self, pending: &[Pending]) -> Result<i64, Error> {
        HANDED_ON.fetch_add(1, Relaxed);
        let (left, zero) = (keys::string(LEFT), text("0"));
        let (time, just_id) = (text("TIME"), text("JUSTID"));
        let mut args = vec![self.stream, self.name, &left, &zero];
        args.extend(pending.iter().map(|pending| &pending.id));
        args.extend([&time, &zero, &just_id]);
        let reply = self.write(c"XCLAIM", &args)?;
        Ok(i64::try_from(reply.view().length()).unwrap_or(0))
    }

    pub fn remove_consumer(&self, consumer: &RedisString) -> Result<(), Error> {
        let args = [&text("DELCONSUMER"), self.stream, self.name, consumer];
        self.write(c"XGROUP", &args).map(drop)
    }

    /// Of entries from this id on.
    fn lowest_pending(&self, from: EventId) -> Result<Option<EventId>, Error> {
        let (from, to, count) = (text(&from.text()), text("+"), text("1"));
        let args = [self.stream, self.name, &from, &to, &count];
        let reply = self.run(call::read, c"XPENDING", &args)?;
        let lowest = reply.view().at(0).and_then(|row| row.at(0));
        Ok(lowest.and_then(|id| EventId::parse(id.bytes())))
    }

    /// Hands pending entries to a consumer, once more delivered. Those that the stream no longer has
    /// are missing from the reply, and pending no more.
    pub fn claim(&self, consumer: &RedisString, pending: &[Pending]) -> Result<Reply, Error> {
        // Idle for long enough: `pending` has looked, and nobody else has run since.
        let min_idle = text("0");
        let mut args = vec![self.stream, self.name, consumer, &min_idle];
        args.extend(pending.iter().map(|pending| &pending.id));
        self.write(c"XCLAIM", &args)
    }

    fn write(&self, command: &CStr, args: &[&RedisString]) -> Result<Reply, Error> {
        self.run(call::write, command, args)
    }

    fn run(
        &self,
        call: fn(&Context, &CStr, &[&RedisString]) -> Result<Reply, Error>,
        command: &CStr,
        args: &[&RedisString],
    ) -> Result<Reply, Error> {
        call(self.ctx, command, args).or_else(|error| {
            // A key that was there just now is not missing.
            stream_state::missing_is_none(self.stream, error)?.ok_or(Error::Internal)
        })
    }
}

/// The start of a range behind an id; `None` if nothing can be there.
fn beyond(after: Option<EventId>) -> Option<String> {
    match after {
        Some(EventId::MAX) => None,
        Some(id) => Some(format!("({id}")),
        None => Some("-".into()),
    }
}

/// How many pending entries are looked at in one go.
const PAGE: u64 = 1000;

impl Whose<'_> {
    fn idle_ms(&self) -> String {
        match self {
            Whose::Own(_) | Whose::OthersOrIdle { .. } | Whose::All => "0".into(),
            Whose::Idle { ms } => ms.to_string(),
        }
    }
}

/// The lowest id that a group of the stream has not acknowledged or has still to read; `None` if there
/// is none. Pending entries from before the stream's first entry are gone, and hold up nothing.
pub fn floor(
    ctx: &Context,
    stream: &RedisString,
    first: EventId,
) -> Result<Option<EventId>, Error> {
    let mut floor: Option<EventId> = None;
    for (name, state) in all(ctx, stream)? {
        let group = Group {
            ctx,
            stream,
            name: &name,
        };
        let pending = match state.pending {
            0 => None, // always so for a cursor
            _ => group.lowest_pending(first)?,
        };
        // Both count: a group that was set back to read again has what is pending before it, too.
        let lowest = [floor, pending, state.position.succeeding()];
        floor = lowest.into_iter().flatten().min();
    }
    Ok(floor)
}

/// Every group of a stream and its state; none if there is no stream.
pub fn all(ctx: &Context, stream: &RedisString) -> Result<Vec<(RedisString, GroupState)>, Error> {
    let reply = match call::read(ctx, c"XINFO", &[&text("GROUPS"), stream]) {
        Ok(reply) => reply,
        Err(error) => return Ok(stream_state::missing_is_none(stream, error)?.unwrap_or_default()),
    };
    let groups = reply.view().items();
    let named = groups.map(|group| {
        let name = group.field(b"name").map(|name| keys::string(name.bytes()));
        name.zip(GroupState::of(group)).ok_or(Error::Internal)
    });
    named.collect()
}

/// Those of these entries that some group of the stream has not read or not acknowledged.
pub fn unacknowledged(
    ctx: &Context,
    stream: &RedisString,
    ids: &BTreeSet<EventId>,
) -> Result<BTreeSet<EventId>, Error> {
    let (mut done, mut waiting) = (ids.clone(), BTreeSet::new());
    for (name, state) in all(ctx, stream)? {
        if let Some(unread) = state.position.succeeding() {
            waiting.append(&mut done.split_off(&unread));
        }
        let (Some(first), Some(last)) = (done.first().copied(), done.last().copied()) else {
            break;
        };
        if state.pending == 0 {
            continue;
        }
        let group = Group {
            ctx,
            stream,
            name: &name,
        };
        let mut after = first.preceding();
        loop {
            let page = group.pending_after(Some(after), PAGE)?;
            for pending in &page {
                after = pending.event_id();
                waiting.extend(done.take(&after));
            }
            if page.is_empty() || after >= last {
                break;
            }
        }
    }
    Ok(waiting)
}

/// Up to count entries after a position, and not after `until`.
pub fn range(
    ctx: &Context,
    stream: &RedisString,
    after: EventId,
    until: EventId,
    count: u64,
) -> Result<Option<Reply>, Error> {
    if after >= until {
        return Ok(None);
    }
    let args = [
        stream,
        &text(&format!("({after}")),
        &text(&until.text()),
        &text("COUNT"),
        &text(&count.to_string()),
    ];
    call::read(ctx, c"XRANGE", &args).map(Some)
}

/// The id of the first entry there is.
pub fn first(ctx: &Context, stream: &RedisString) -> Result<Option<EventId>, Error> {
    next(ctx, stream, EventId::default())
}

/// The id of the first entry after a position.
pub fn next(
    ctx: &Context,
    stream: &RedisString,
    position: EventId,
) -> Result<Option<EventId>, Error> {
    let reply = range(ctx, stream, position, EventId::MAX, 1)?;
    let entry = reply.as_ref().and_then(|r| entries(r.view()).next());
    Ok(entry.and_then(|entry| entry.event_id()))
}

/// One entry, if the stream has it.
pub fn entry(ctx: &Context, stream: &RedisString, id: EventId) -> Result<Reply, Error> {
    let id = text(&id.text());
    call::read(ctx, c"XRANGE", &[stream, &id, &id])
}

fn text(text: &str) -> RedisString {
    keys::string(text.as_bytes())
}
