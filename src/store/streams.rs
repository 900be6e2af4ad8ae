//! Streams: looked at before anything is written, then appended to and trimmed.

use super::stream_state;
use super::{cluster, last_ids, retention::Retention, writes::Writes};
use crate::redis::keys::{self, Key, Type};
use crate::redis::keyspace::Class;
use crate::redis::{call, log};
use dirty_streams_core::encoding::event::Entry;
use dirty_streams_core::entity::declaration::Stream;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{Context, RedisString};
use std::ffi::c_int;

/// A stream as a whole; the default is one that does not exist.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content {
    pub length: u64,
    /// Of memory.
    pub bytes: u64,
    pub first: Option<EventId>,
    pub last: EventId,
    /// How many entries are gone of those that there were.
    pub lost: u64,
    /// Every entry is an event, and none is gone from between two others.
    is_whole: bool,
}

impl Content {
    pub fn of(ctx: &Context, stream: &RedisString) -> Result<Self, Error> {
        let Some(state) = stream_state::state(ctx, stream)? else {
            return Ok(Content::default());
        };
        let args = [
            &keys::string(b"USAGE"),
            stream,
            &keys::string(b"SAMPLES"),
            &keys::string(b"0"),
        ];
        let bytes = call::read(ctx, c"MEMORY", &args)?.view().integer();
        let first = Key::read(ctx, stream).ids(None, None).next();
        let (last, length) = (state.last, state.length());
        let added = u64::try_from(state.added).unwrap_or(0);
        let between = first.map_or(0, |first| {
            last.seq.saturating_sub(first.seq).saturating_add(1)
        });
        Ok(Content {
            length,
            bytes: u64::try_from(bytes.unwrap_or(0)).unwrap_or(0),
            first,
            last,
            lost: u64::try_from(state.lost).unwrap_or(0),
            is_whole: added == last.seq && length == between,
        })
    }

    /// What comes after a position; looked at one by one only if the ids do not tell.
    pub fn after(
        &self,
        ctx: &Context,
        stream: &RedisString,
        position: EventId,
        is_event: &mut dyn FnMut(EventId) -> bool,
    ) -> After {
        let mut after = After::default();
        if position >= self.last {
            return after;
        }
        let key = Key::read(ctx, stream);
        // As a reader counts: gaps before events.
        let mut gap = |from: EventId, to: EventId| {
            let between = to.seq.saturating_sub(from.seq).saturating_sub(1);
            match between > 0 && is_event(to) {
                true => between,
                false => 0,
            }
        };
        // A position may be a time just as well, or any id.
        let is_entry = || key.ids(Some(position), Some(position)).next().is_some();
        match self.first.filter(|_| self.is_whole) {
            Some(first) if position < first => {
                after.entries = self.length;
                after.missed = gap(position, first);
            }
            Some(_) if is_entry() => {
                after.entries = self.last.seq.saturating_sub(position.seq);
            }
            _ => {
                let mut before = position;
                for id in key.ids(position.succeeding(), None) {
                    after.entries = after.entries.saturating_add(1);
                    after.missed = after.missed.saturating_add(gap(before, id));
                    before = id;
                }
                // The next event tells what is gone from the end.
                let end = self.last.seq.saturating_sub(before.seq);
                after.missed = after.missed.saturating_add(end);
            }
        }
        // Ids made by hand count nothing: no more are gone than were ever added.
        after.missed = after.missed.min(self.lost);
        after
    }
}

/// What comes after a position.
#[derive(Clone, Copy, Debug, Default)]
pub struct After {
    pub entries: u64,
    /// Events that are gone.
    pub missed: u64,
}

/// A stream that is about to get events, found fit to take them.
///
/// Its key is opened again for each write, unless it may stay open: opening others may expire them, and another module
/// may answer that by deleting this one.
pub struct Publisher<'d, 'c> {
    stream: &'d Stream,
    name: RedisString,
    /// The stream, if it stays open.
    key: Option<Key<'c>>,
    /// Where the stream lives.
    database: c_int,
    last: EventId,
    /// How many more events of this command it gets.
    events: usize,
    retention: Retention<'d>,
}

impl<'d, 'c> Publisher<'d, 'c> {
    /// Looks whether the stream can take this many events; changes nothing. It may stay open if nothing else is opened
    /// or changed before its events are appended.
    pub fn prepare(
        ctx: &'c Context,
        declared_at: &RedisString,
        stream: &'d Stream,
        now_ms: u64,
        events: usize,
        may_stay_open: bool,
    ) -> Result<Self, Error> {
        let name = keys::string(&stream.key);
        let database = stream.database_from(keys::current_database(ctx));
        let mut retention = Retention::new(stream);
        let opened = keys::with_database(ctx, stream.database, || {
            let mut key = Key::write(ctx, &name); // so that it expires now, if it must, and not later
            let is_there = key.holds(&stream.key, Type::Stream, "a stream")?;
            let known = last_ids::known(database, &name).filter(|_| is_there);
            let last = match known {
                Some(last) => last,
                None if is_there => {
                    key.while_closed(ctx, &name, || last_ids::get(ctx, database, &name))?
                }
                None => {
                    cluster::check_missing(ctx, declared_at, &name)?;
                    EventId::default()
                }
            };
            // The ids it will take; almost always this is one addition.
            let mut id = last;
            for _ in 0..events {
                let next = id.following(now_ms);
                id = next.ok_or_else(|| Error::IdsExhausted(Quoted::new(&stream.key)))?;
            }
            retention.check_room(ctx, &mut key, &name, events, id)?;
            // Only the server has looked at it so far: nobody was asked or told anything.
            let stays_open = may_stay_open && known.is_some() && !retention.may_ask();
            Ok((last, stays_open.then_some(key)))
        });
        let (last, key) = opened
            .ok_or_else(|| no_such_database(stream))?
            .map_err(|error: Error| error.in_database(stream.database))?;
        Ok(Publisher {
            stream,
            name,
            key,
            database,
            last,
            events,
            retention,
        })
    }

    /// The stream's key.
    pub fn stream(&self) -> &'d [u8] {
        &self.stream.key
    }

    /// Appends an event, and applies the stream's retention after the command's last. Listeners hear of
    /// it with the other writes.
    pub fn append(
        &mut self,
        writes: &mut Writes<'c>,
        args: &[RedisString],
        now_ms: u64,
    ) -> Option<EventId> {
        let ctx = writes.context();
        let (named, database) = (self.stream.database, self.database);
        debug_assert!(self.events > 0, "more events than were prepared");
        self.events = self.events.saturating_sub(1);
        let added = keys::with_database(ctx, named, || {
            let mut reopened = None;
            let key = match &mut self.key {
                Some(key) => key,
                None => reopened.insert(Key::write(ctx, &self.name)),
            };
            let add = |key: &mut Key, last: EventId| {
                let id = last.following(now_ms)?;
                key.append(id, args).then_some(id)
            };
            let id = add(key, self.last).or_else(|| {
                // Another module has added entries without telling anybody.
                last_ids::forget(database, &self.name);
                let ask = || last_ids::get(ctx, database, &self.name);
                let last = key.while_closed(ctx, &self.name, ask).ok()?;
                add(key, last)
            })?;
            let id_text = keys::string(id.text().as_bytes());
            writes.replicate(c"XADD", &self.name, std::iter::once(&id_text).chain(args));
            writes.changed(&self.name, Class::Stream, c"xadd", named);
            last_ids::set(database, &self.name, id);
            if self.events == 0 {
                self.retention.trim(key, &self.name, writes, now_ms);
            }
            Some(id)
        });
        match added.flatten() {
            Some(id) => self.last = id,
            None => log::warning(&format!(
                "an event was lost, since the stream {} took no entry",
                Quoted::new(&self.stream.key)
            )),
        }
        added.flatten()
    }
}

/// An entry's fields and values by turns.
pub fn entry_args(entry: &Entry) -> Vec<RedisString> {
    let args = entry.iter().flat_map(|(field, value)| [&**field, value]);
    args.map(keys::string).collect()
}

pub fn no_such_database(stream: &Stream) -> Error {
    Error::NoSuchDatabase {
        index: stream.database.unwrap_or_default(),
        stream: Quoted::new(&stream.key),
    }
}
