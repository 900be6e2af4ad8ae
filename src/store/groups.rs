//! Native consumer groups of a stream. They are other readers: retention waits for them, STATS lists them, and READER
//! takes one over.

use super::stream_state;
use crate::redis::call::{self, View};
use crate::redis::keys;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::reading::{Native, NativePending};
use redis_module::{Context, RedisString};

/// A native group, by XINFO GROUPS.
pub struct Group {
    pub name: RedisString,
    pub pending: u64,
    pub position: EventId,
}

/// A consumer of a native group.
pub struct Consumer {
    pub name: Vec<u8>,
    pub pending: u64,
    /// Since it last read or claimed.
    pub idle_ms: u64,
}

/// How many pending entries are looked at in one go.
const PAGE: u64 = 1000;

/// Every native group of a stream; none if there is no stream.
pub fn all(ctx: &Context, stream: &RedisString) -> Result<Vec<Group>, Error> {
    let reply = match call::read(ctx, c"XINFO", &[&text("GROUPS"), stream]) {
        Ok(reply) => reply,
        Err(error) => return Ok(stream_state::missing_is_none(stream, error)?.unwrap_or_default()),
    };
    let groups = reply.view().items();
    groups
        .map(|group| Group::of(group).ok_or(Error::Internal))
        .collect()
}

impl Group {
    fn of(group: View) -> Option<Group> {
        Some(Group {
            name: keys::string(group.field(b"name")?.bytes()),
            pending: number(group.field(b"pending")?)?,
            position: EventId::parse(group.field(b"last-delivered-id")?.bytes())?,
        })
    }

    /// The lowest pending entry from this id on.
    pub fn lowest_pending(
        &self,
        ctx: &Context,
        stream: &RedisString,
        from: EventId,
    ) -> Result<Option<EventId>, Error> {
        if self.pending == 0 {
            return Ok(None);
        }
        let (from, to, count) = (text(&from.text()), text("+"), text("1"));
        let args = [stream, &self.name, &from, &to, &count];
        let reply = call::read(ctx, c"XPENDING", &args)?;
        let lowest = reply.view().at(0).and_then(|row| row.at(0));
        Ok(lowest.and_then(|id| EventId::parse(id.bytes())))
    }

    pub fn consumers(&self, ctx: &Context, stream: &RedisString) -> Result<Vec<Consumer>, Error> {
        let args = [&text("CONSUMERS"), stream, &self.name];
        let reply = call::read(ctx, c"XINFO", &args)?;
        let consumers = reply.view().items().filter_map(|consumer| {
            Some(Consumer {
                name: consumer.field(b"name")?.bytes().to_vec(),
                pending: number(consumer.field(b"pending")?)?,
                idle_ms: number(consumer.field(b"idle")?)?,
            })
        });
        Ok(consumers.collect())
    }
}

fn number(view: View) -> Option<u64> {
    u64::try_from(view.integer()?).ok()
}

/// The lowest id that a native group of the stream has not acknowledged or has still to read, and which group that is;
/// `None` if there is none. Pending entries from before the stream's first entry are gone, and hold up nothing.
pub fn floor(
    ctx: &Context,
    stream: &RedisString,
    first: EventId,
) -> Result<Option<(EventId, RedisString)>, Error> {
    let mut floor: Option<(EventId, RedisString)> = None;
    for group in all(ctx, stream)? {
        // Both count: a group that was set back to read again has what is pending before it, too.
        let pending = group.lowest_pending(ctx, stream, first)?;
        let lowest = [pending, group.position.succeeding()];
        let Some(lowest) = lowest.into_iter().flatten().min() else {
            continue;
        };
        if floor.as_ref().is_none_or(|(floor, _)| lowest < *floor) {
            floor = Some((lowest, group.name));
        }
    }
    Ok(floor)
}

/// All that a native group has, for a reader that takes it over.
pub fn native(
    ctx: &Context,
    stream: &RedisString,
    name: &[u8],
    now_ms: u64,
) -> Result<Native, Error> {
    let groups = all(ctx, stream)?;
    let Some(group) = groups.iter().find(|group| group.name.as_slice() == name) else {
        return Err(Error::NoNativeGroup {
            name: Quoted::new(name),
            stream: Quoted::new(stream),
        });
    };
    let mut native = Native {
        position: group.position,
        pending: Vec::new(),
    };
    let (to, count) = (text("+"), text(&PAGE.to_string()));
    let mut from = "-".to_string();
    loop {
        let args = [stream, &group.name, &text(&from), &to, &count];
        let reply = call::read(ctx, c"XPENDING", &args)?;
        let before = native.pending.len();
        native
            .pending
            .extend(reply.view().items().filter_map(|row| {
                let idle_ms = number(row.at(2)?)?;
                Some(NativePending {
                    id: EventId::parse(row.at(0)?.bytes())?,
                    consumer: row.at(1)?.bytes().to_vec(),
                    delivered_ms: now_ms.saturating_sub(idle_ms),
                    deliveries: number(row.at(3)?)?,
                })
            }));
        match native.pending.get(before..).and_then(<[_]>::last) {
            Some(last) => from = format!("({}", last.id),
            None => return Ok(native),
        }
    }
}

/// Removes a native group.
pub fn destroy(ctx: &Context, stream: &RedisString, name: &[u8]) -> Result<(), Error> {
    let args = [&text("DESTROY"), stream, &keys::string(name)];
    call::effect(ctx, c"XGROUP", &args).map(drop)
}

fn text(text: &str) -> RedisString {
    keys::string(text.as_bytes())
}
