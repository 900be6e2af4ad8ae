//! Groups and cursors. Both are native consumer groups, read and changed by native commands; a cursor is
//! a group nobody reads through, its last delivered id is the position.

use super::call::{self, Reply, View};
use super::{keys, streams};
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};
use redis_module::{Context, RedisString};
use std::ffi::CStr;

/// One group or cursor of one stream.
pub struct Group<'c> {
    pub ctx: &'c Context,
    pub stream: &'c RedisString,
    pub name: &'c RedisString,
}

/// What XINFO GROUPS says of it.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub consumers: i64,
    pub pending: i64,
    pub position: EventId,
}

impl State {
    fn of(group: View) -> Option<State> {
        Some(State {
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
pub struct Entry<'r> {
    pub id: &'r [u8],
    fields: View<'r>,
}

impl<'r> Entry<'r> {
    fn new(entry: View<'r>) -> Option<Self> {
        Some(Entry {
            id: entry.at(0)?.bytes(),
            fields: entry.at(1)?,
        })
    }

    pub fn fields(&self) -> Vec<(&'r [u8], &'r [u8])> {
        let texts: Vec<&[u8]> = self.fields.items().map(View::bytes).collect();
        let pairs = texts.chunks_exact(2);
        pairs
            .filter_map(|pair| Some((*pair.first()?, *pair.last()?)))
            .collect()
    }
}

/// The entries of an XRANGE or XCLAIM reply; null elements, which XCLAIM once gave, are passed over.
pub fn entries(reply: View<'_>) -> impl Iterator<Item = Entry<'_>> {
    reply.items().filter_map(Entry::new)
}

/// The entries of an XREADGROUP reply that asked for one stream.
pub fn entries_of_stream(reply: View<'_>) -> impl Iterator<Item = Entry<'_>> {
    let stream = reply.at(0).and_then(|stream| stream.at(1));
    stream.into_iter().flat_map(entries)
}

/// A pending entry, and how often it was delivered so far.
pub struct Pending {
    pub id: RedisString,
    pub deliveries: i64,
}

/// Whose pending entries, and which.
pub enum Whose<'c> {
    /// All that this consumer holds.
    Own(&'c RedisString),
    /// Those that anybody has held this long.
    Idle { ms: u64 },
}

impl Group<'_> {
    /// `None` if there is no such group, or no stream that it could be of.
    pub fn state(&self) -> Result<Option<State>, Error> {
        let reply = match call::read(self.ctx, c"XINFO", &[&text("GROUPS"), self.stream]) {
            Ok(reply) => reply,
            Err(error) => return streams::missing_is_none(self.stream, error),
        };
        let name = self.name.as_slice();
        let mut groups = reply.view().items();
        let group = groups.find(|group| group.field(b"name").is_some_and(|n| n.bytes() == name));
        Ok(group.and_then(State::of))
    }

    /// Makes the group, and the stream if need be: what comes after this position is still to read.
    pub fn create(&self, position: EventId) -> Result<(), Error> {
        let args = [
            &text("CREATE"),
            self.stream,
            self.name,
            &text(&position.to_string()),
            &text("MKSTREAM"),
        ];
        self.write(c"XGROUP", &args).map(drop)
    }

    pub fn set_position(&self, position: EventId) -> Result<(), Error> {
        let args = [
            &text("SETID"),
            self.stream,
            self.name,
            &text(&position.to_string()),
        ];
        self.write(c"XGROUP", &args).map(drop)
    }

    /// How many of them were pending.
    pub fn acknowledge(&self, ids: &[EventId]) -> Result<i64, Error> {
        let ids: Vec<RedisString> = ids.iter().map(|id| text(&id.to_string())).collect();
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
        let (idle, ms, count) = (
            text("IDLE"),
            text(&whose.idle_ms()),
            text(&count.to_string()),
        );
        let (first, last) = (text("-"), text("+"));
        let mut args = vec![self.stream, self.name];
        match whose {
            Whose::Own(consumer) => args.extend([&first, &last, &count, consumer]),
            Whose::Idle { .. } => args.extend([&idle, &ms, &first, &last, &count]),
        }
        let reply = self.run(call::read, c"XPENDING", &args)?;
        let pending = reply.view().items().filter_map(|row| {
            Some(Pending {
                id: keys::string(row.at(0)?.bytes()),
                deliveries: row.at(3)?.integer()?,
            })
        });
        Ok(pending.collect())
    }

    /// Of entries from this id on.
    fn lowest_pending(&self, from: EventId) -> Result<Option<EventId>, Error> {
        let (from, to, count) = (text(&from.to_string()), text("+"), text("1"));
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
            streams::missing_is_none(self.stream, error)?.ok_or(Error::Internal)
        })
    }
}

impl Whose<'_> {
    fn idle_ms(&self) -> String {
        match self {
            Whose::Own(_) => "0".into(),
            Whose::Idle { ms } => ms.to_string(),
        }
    }
}

/// The lowest id that a group of the stream has not acknowledged or has still to read; `None` if there
/// is none. What is pending of before the stream's first entry is gone, and holds up nothing.
pub fn floor(
    ctx: &Context,
    stream: &RedisString,
    first: EventId,
) -> Result<Option<EventId>, Error> {
    let reply = match call::read(ctx, c"XINFO", &[&text("GROUPS"), stream]) {
        Ok(reply) => reply,
        Err(error) => return streams::missing_is_none(stream, error),
    };
    let mut floor: Option<EventId> = None;
    for group in reply.view().items() {
        let state = State::of(group).ok_or(Error::Internal)?;
        let name = group.field(b"name").ok_or(Error::Internal)?;
        let name = &keys::string(name.bytes());
        let pending = match state.pending {
            0 => None, // always so for a cursor
            _ => Group { ctx, stream, name }.lowest_pending(first)?,
        };
        // Both count: a group that was set back to read again has what is pending before it, too.
        let lowest = [floor, pending, state.position.succeeding()];
        floor = lowest.into_iter().flatten().min();
    }
    Ok(floor)
}

/// Up to count entries after a position.
pub fn range(
    ctx: &Context,
    stream: &RedisString,
    after: EventId,
    count: u64,
) -> Result<Option<Reply>, Error> {
    if after == EventId::MAX {
        return Ok(None);
    }
    let args = [
        stream,
        &text(&format!("({after}")),
        &text("+"),
        &text("COUNT"),
        &text(&count.to_string()),
    ];
    call::read(ctx, c"XRANGE", &args).map(Some)
}

fn text(text: &str) -> RedisString {
    keys::string(text.as_bytes())
}
