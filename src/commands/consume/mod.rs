mod batch;
mod options;

pub use options::{event_id, no_reader};

use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};
use crate::redis::blocking::{self, Waits};
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::groups::{self, Group, State, Whose};
use crate::redis::reply::Reply;
use crate::redis::{keys, last_ids, streams};
use batch::{Batch, Part};
use options::{Options, Reader, Start};
use redis_module::RedisString;
use std::ffi::CStr;

/// ```text
/// DIRTY.CONSUME stream GROUP group consumer
///     [ACK n id [id …]] [PENDING] [CLAIM min-idle-ms]
///     [FROM start] [COUNT n] [BLOCK ms] [RAW]
/// DIRTY.CONSUME stream CURSOR name
///     [ACK id] [FROM start] [COUNT n] [BLOCK ms] [RAW]
///
/// start:  0, $, an event id, or a time in ms
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
    const FLAGS: &'static CStr = c"write blocking";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const MIN_ARGS: usize = 2;

    fn run(call: &Call) -> Result<(), Error> {
        let options = Options::parse(Args::new(call.args))?;
        let batch = read(call, &options, None)?;
        match options.block {
            Some(timeout_ms) if batch.is_empty() && blocking::is_allowed(call.ctx) => {
                let waiting = Waiting {
                    position: batch.position,
                    stream: streams::state(call.ctx, &call.key)?.unwrap_or_default(),
                };
                blocking::wait::<Self>(call.ctx, &call.key, timeout_ms, waiting);
            }
            _ => batch.reply(call.reply(), options.raw),
        }
        Ok(())
    }
}

/// What is remembered of a reader while it waits.
pub struct Waiting {
    /// A cursor's, with nothing left to read.
    position: Option<EventId>,
    /// The stream's state when it began.
    stream: streams::State,
}

impl Waits for Consume {
    type Memory = Waiting;

    fn wake(call: &Call, waiting: &Waiting) -> Result<bool, Error> {
        let options = Options::parse(Args::new(call.args))?;
        let batch = match waiting.read_on(call, &options)? {
            Some(batch) => batch,
            None => read(call, &options, Some(waiting))?,
        };
        let found = !batch.is_empty();
        if found {
            batch.reply(call.reply(), options.raw);
        }
        Ok(found)
    }

    fn give_up(reply: Reply, waiting: &Waiting) {
        Batch::empty(waiting.position).reply(reply, false);
    }
}

/// A group or cursor of the stream that the call is about.
pub fn group<'c>(call: &'c Call, name: &'c RedisString) -> Group<'c> {
    Group {
        ctx: call.ctx,
        stream: &call.key,
        name,
    }
}

/// Acknowledges what is to be, then reads. A reader that has waited has acknowledged already.
fn read(call: &Call, options: &Options, waited: Option<&Waiting>) -> Result<Batch, Error> {
    let name = match &options.reader {
        Reader::Group { name, .. } | Reader::Cursor { name, .. } => keys::string(name),
    };
    let group = group(call, &name);
    let state = match group.state()? {
        Some(state) => state,
        None => {
            let position = match waited {
                Some(waiting) => waiting.resume(call, &group)?,
                None => options.from.position(call)?,
            };
            group.create(position)?;
            State {
                consumers: 0,
                pending: 0,
                position,
            }
        }
    };
    let first = waited.is_none();
    match &options.reader {
        Reader::Group {
            consumer,
            ack,
            pending,
            claim,
            ..
        } => {
            if first && !ack.is_empty() {
                group.acknowledge(ack)?;
            }
            let consumer = keys::string(consumer);
            let mut batch = Batch::new(Some(state.position), None);
            let mut left = options.count;
            if *pending && state.pending > 0 {
                batch.claim(&group, &consumer, Whose::Own(&consumer), &mut left)?;
            }
            if let Some(ms) = claim.filter(|_| state.pending > 0) {
                batch.claim(&group, &consumer, Whose::Idle { ms }, &mut left)?;
            }
            if left > 0 {
                let entries = group.read_new(&consumer, left)?;
                batch.parts.extend(entries.map(Part::New));
            }
            Ok(batch)
        }
        Reader::Cursor { ack, .. } => {
            state.check_cursor(&name)?;
            let position = match ack.filter(|_| first) {
                Some(id) => advance(&group, state.position, id)?,
                None => state.position,
            };
            let mut batch = Batch::new(Some(position), Some(position));
            if let Some(entries) = groups::range(call.ctx, &call.key, position, options.count)? {
                batch.parts.push(Part::Read(entries));
            }
            Ok(batch)
        }
    }
}

impl Waiting {
    /// Reads on in the group without looking at it first, which takes time for each group of the stream:
    /// a thousand readers may wake at once. `None` if more has happened than that entries were added, and
    /// for cursors, whose position only the group knows.
    fn read_on(&self, call: &Call, options: &Options) -> Result<Option<Batch>, Error> {
        let Reader::Group {
            name,
            consumer,
            claim: None,
            ..
        } = &options.reader
        else {
            return Ok(None);
        };
        let now = streams::state(call.ctx, &call.key)?.unwrap_or_default();
        let grown = now.last > self.stream.last && now.added > self.stream.added;
        if !grown || now.lost != self.stream.lost {
            return Ok(None);
        }
        let (name, consumer) = (keys::string(name), keys::string(consumer));
        let entries = group(call, &name).read_new(&consumer, options.count)?;
        Ok(entries.map(|entries| Batch {
            parts: vec![Part::New(entries)],
            before: None,
            position: None,
        }))
    }

    /// Where a reader goes on whose group vanished while it waited: at the beginning of a stream that
    /// was made anew, all of which came since. If the stream is still the same, somebody has destroyed
    /// the group, and the reader is told, as XREADGROUP tells its own.
    fn resume(&self, call: &Call, group: &Group) -> Result<EventId, Error> {
        let now = streams::state(call.ctx, &call.key)?.unwrap_or_default();
        let grown = u64::try_from(now.added.saturating_sub(self.stream.added));
        let made_anew = match grown {
            Err(_) => true,
            Ok(_) if now.last < self.stream.last => true,
            Ok(grown) => {
                // More entries than were added since can only be another stream's.
                let most = grown.saturating_add(1);
                let later = groups::range(call.ctx, &call.key, self.stream.last, most)?;
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

/// Moves a cursor on to this id, never back, and not past the stream's last: what comes is to be read.
pub fn advance(cursor: &Group, position: EventId, id: EventId) -> Result<EventId, Error> {
    let last = last_ids::get(cursor.ctx, cursor.stream)?;
    let next = id.min(last);
    if next <= position {
        return Ok(position);
    }
    cursor.set_position(next)?;
    Ok(next)
}

impl Start {
    /// The position of a reader that starts here.
    fn position(self, call: &Call) -> Result<EventId, Error> {
        match self {
            Start::Beginning => {
                // Just before the first entry there is: what was trimmed earlier was not missed.
                let first = groups::range(call.ctx, &call.key, EventId::default(), 1)?;
                let first = first.as_ref().and_then(|reply| {
                    let entry = groups::entries(reply.view()).next()?;
                    EventId::parse(entry.id)
                });
                match first {
                    Some(first) => Ok(first.preceding()),
                    None => last_ids::get(call.ctx, &call.key),
                }
            }
            Start::Now => last_ids::get(call.ctx, &call.key),
            Start::After(id) => Ok(id),
            Start::SinceMs(ms) => Ok(EventId { ms, seq: 0 }.preceding()),
        }
    }
}
