use crate::args::Args;
use crate::encoding;
use crate::entity::decimal;
use crate::entity::event::Event;
use crate::entity::event_id::{missed, EventId};
use crate::entity::operation::Operation;
use crate::error::{Error, Quoted};
use crate::redis::blocking::{self, Waits};
use crate::redis::call;
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::groups::{self, Entry, Group, Pending, State, Whose};
use crate::redis::reply::Reply;
use crate::redis::{keys, last_ids, stats, streams};
use redis_module::RedisString;
use std::collections::HashSet;
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

#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    reader: Reader<'a>,
    from: Start,
    count: u64,
    /// How long to wait in ms, 0 for ever.
    block: Option<i64>,
    raw: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Reader<'a> {
    Group {
        name: &'a [u8],
        consumer: &'a [u8],
        ack: Vec<EventId>,
        pending: bool,
        claim: Option<u64>,
    },
    Cursor {
        name: &'a [u8],
        ack: Option<EventId>,
    },
}

/// FROM: where a reader starts that has not read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Everything that is still there.
    Beginning,
    /// Only what comes.
    Now,
    After(EventId),
    SinceMs(u64),
}

const DEFAULT_COUNT: u64 = 100;

/// Some 285 years: what is larger would overflow when the server adds the time of day.
const MAX_BLOCK_MS: u64 = 1 << 53;

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

impl<'a> Options<'a> {
    fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let reader = if args.keyword("GROUP") {
            Reader::Group {
                name: args.next("GROUP", "a group")?,
                consumer: args.next("GROUP", "a consumer")?,
                ack: Vec::new(),
                pending: false,
                claim: None,
            }
        } else if args.keyword("CURSOR") {
            Reader::Cursor {
                name: args.next("CURSOR", "a name")?,
                ack: None,
            }
        } else {
            let got = args.take().unwrap_or_default();
            return Err(Error::NotOneOf {
                of: "the reader",
                choices: "GROUP or CURSOR",
                got: Quoted::new(got),
            });
        };
        let mut options = Options {
            reader,
            from: Start::Beginning,
            count: DEFAULT_COUNT,
            block: None,
            raw: false,
        };
        let mut seen = Vec::new();
        while !args.is_empty() {
            let option = options.option(&mut args)?;
            if seen.contains(&option) {
                return Err(Error::Repeated(option));
            }
            seen.push(option);
        }
        Ok(options)
    }

    /// Reads one option and says which.
    fn option(&mut self, args: &mut Args<'a>) -> Result<&'static str, Error> {
        match &mut self.reader {
            Reader::Group { ack, .. } if args.keyword("ACK") => {
                for _ in 0..args.count("ACK")? {
                    ack.push(event_id(args, "ACK")?);
                }
                return Ok("ACK");
            }
            Reader::Group { pending, .. } if args.keyword("PENDING") => {
                *pending = true;
                return Ok("PENDING");
            }
            Reader::Group { claim, .. } if args.keyword("CLAIM") => {
                *claim = Some(args.number("CLAIM", "a time in ms", 0..=MAX_BLOCK_MS)?);
                return Ok("CLAIM");
            }
            Reader::Cursor { ack, .. } if args.keyword("ACK") => {
                *ack = Some(event_id(args, "ACK")?);
                return Ok("ACK");
            }
            _ => {}
        }
        if args.keyword("FROM") {
            self.from = Start::parse(args.next("FROM", "a start")?)?;
            Ok("FROM")
        } else if args.keyword("COUNT") {
            let most = u64::from(u32::MAX);
            self.count = args.number("COUNT", "a number", 1..=most)?;
            Ok("COUNT")
        } else if args.keyword("BLOCK") {
            let ms = args.number("BLOCK", "a time in ms", 0..=MAX_BLOCK_MS)?;
            self.block = Some(i64::try_from(ms).unwrap_or(i64::MAX));
            Ok("BLOCK")
        } else if args.keyword("RAW") {
            self.raw = true;
            Ok("RAW")
        } else {
            let got = args.take().unwrap_or_default();
            Err(Error::UnknownOption(Quoted::new(got)))
        }
    }
}

impl Start {
    fn parse(text: &[u8]) -> Result<Self, Error> {
        match text {
            b"$" => Ok(Start::Now),
            b"0" => Ok(Start::Beginning),
            text => EventId::parse(text)
                .map(Start::After)
                .or_else(|| decimal::parse(text).map(Start::SinceMs))
                .ok_or_else(|| Error::NotAStart(Quoted::new(text))),
        }
    }

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

/// An id that a client acknowledges.
pub fn event_id(args: &mut Args, of: &'static str) -> Result<EventId, Error> {
    let text = args.next(of, "an id")?;
    EventId::parse(text).ok_or_else(|| Error::NotAnId(Quoted::new(text)))
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
            if state.consumers > 0 || state.pending > 0 {
                return Err(Error::GroupNotCursor(Quoted::new(&name)));
            }
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

/// What one call delivers.
struct Batch {
    parts: Vec<Part>,
    /// The reader's before this batch, `None` if nothing can be missing behind it.
    before: Option<EventId>,
    /// What a cursor acknowledges, `None` for a group.
    position: Option<EventId>,
}

/// Entries as the server gave them.
enum Part {
    /// Delivered to a group for the first time.
    New(call::Reply),
    /// Delivered to a group before; those that the stream has lost are not among the entries.
    Again {
        entries: call::Reply,
        pending: Vec<Pending>,
    },
    /// Read by a cursor.
    Read(call::Reply),
}

/// An entry on its way to a reader.
struct Delivered<'r> {
    entry: Entry<'r>,
    fields: Vec<(&'r [u8], &'r [u8])>,
    deliveries: Option<i64>,
}

impl Batch {
    fn new(before: Option<EventId>, position: Option<EventId>) -> Self {
        Batch {
            parts: Vec::new(),
            before,
            position,
        }
    }

    fn empty(position: Option<EventId>) -> Self {
        Self::new(None, position)
    }

    /// Whether there is nothing to tell the reader: no entry, and none lost.
    fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::New(entries) => groups::entries_of_stream(entries.view()).next().is_none(),
            Part::Again { pending, .. } => pending.is_empty(),
            Part::Read(entries) => groups::entries(entries.view()).next().is_none(),
        })
    }

    /// Adds pending entries, but none twice.
    fn claim(
        &mut self,
        group: &Group,
        consumer: &RedisString,
        whose: Whose,
        left: &mut u64,
    ) -> Result<(), Error> {
        if *left == 0 {
            return Ok(());
        }
        let have: HashSet<&[u8]> = self.parts.iter().flat_map(Part::claimed).collect();
        let most = left.saturating_add(u64::try_from(have.len()).unwrap_or(0));
        let mut pending = group.pending(&whose, most)?;
        pending.retain(|pending| !have.contains(pending.id.as_slice()));
        pending.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
        if pending.is_empty() {
            return Ok(());
        }
        *left = left.saturating_sub(u64::try_from(pending.len()).unwrap_or(u64::MAX));
        let entries = group.claim(consumer, &pending)?;
        self.parts.push(Part::Again { entries, pending });
        Ok(())
    }

    fn reply(&self, reply: Reply, raw: bool) {
        let delivered: Vec<Delivered> = self.parts.iter().flat_map(Part::delivered).collect();
        let events: Vec<Option<Event>> = delivered
            .iter()
            .map(|delivered| encoding::decode(&delivered.fields))
            .collect();
        stats::count(&stats::DELIVERED, delivered.len());
        reply.map(3);
        reply.bytes("events");
        reply.array(delivered.len());
        for (delivered, event) in delivered.iter().zip(&events) {
            match event {
                Some(event) if !raw => delivered.reply_event(reply, event),
                _ => delivered.reply_raw(reply),
            }
        }
        reply.bytes("position");
        match self.position {
            None => reply.null(),
            Some(position) => {
                let last = delivered
                    .last()
                    .and_then(|last| EventId::parse(last.entry.id));
                reply.bytes(last.unwrap_or(position).to_string());
            }
        }
        reply.bytes("missed");
        reply.unsigned(self.missed(&delivered, &events));
    }

    /// How many events this reader can no longer get: those before the new ones it gets, and pending
    /// entries that are gone.
    fn missed(&self, delivered: &[Delivered], events: &[Option<Event>]) -> u64 {
        let gone = self.parts.iter().map(|part| match part {
            Part::Again { entries, pending } => {
                pending.len().saturating_sub(entries.view().length())
            }
            Part::New(_) | Part::Read(_) => 0,
        });
        let gone = u64::try_from(gone.sum::<usize>()).unwrap_or(u64::MAX);
        let is_new = |delivered: &Delivered| delivered.deliveries.is_none_or(|times| times == 1);
        let new = delivered
            .iter()
            .zip(events)
            .filter_map(|(delivered, event)| {
                let id = EventId::parse(delivered.entry.id).filter(|_| is_new(delivered))?;
                Some((id, event.is_some()))
            });
        let before = self.before.map_or(0, |before| missed(before, new));
        before.saturating_add(gone)
    }
}

impl Part {
    /// Ids that are claimed already.
    fn claimed(&self) -> impl Iterator<Item = &[u8]> {
        let pending = match self {
            Part::Again { pending, .. } => pending.as_slice(),
            Part::New(_) | Part::Read(_) => &[],
        };
        pending.iter().map(|pending| pending.id.as_slice())
    }

    fn delivered(&self) -> Vec<Delivered<'_>> {
        match self {
            Part::New(reply) => groups::entries_of_stream(reply.view())
                .map(|entry| Delivered::new(entry, Some(1)))
                .collect(),
            Part::Read(reply) => groups::entries(reply.view())
                .map(|entry| Delivered::new(entry, None))
                .collect(),
            Part::Again { entries, pending } => {
                // Both are in the order of their ids.
                let mut pending = pending.iter();
                let entries = groups::entries(entries.view());
                entries
                    .map(|entry| {
                        let before = pending.find(|pending| pending.id.as_slice() == entry.id);
                        let before = before.map_or(1, |pending| pending.deliveries);
                        Delivered::new(entry, Some(before.saturating_add(1)))
                    })
                    .collect()
            }
        }
    }
}

impl<'r> Delivered<'r> {
    fn new(entry: Entry<'r>, deliveries: Option<i64>) -> Self {
        Delivered {
            entry,
            fields: entry.fields(),
            deliveries,
        }
    }

    fn reply_event(&self, reply: Reply, event: &Event) {
        let optional = [!event.changes.is_empty(), self.deliveries.is_some()];
        let pairs = optional.into_iter().filter(|present| *present).count();
        reply.map(pairs.saturating_add(4));
        reply.bytes("id");
        reply.bytes(self.entry.id);
        reply.bytes("entity");
        reply.bytes(&event.entity);
        reply.bytes("entity_id");
        reply.bytes(&event.id);
        reply.bytes("op");
        reply.bytes(match event.operation {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        });
        if !event.changes.is_empty() {
            reply.bytes("changes");
            reply.map(event.changes.len());
            for change in event.changes.iter() {
                reply.bytes(&change.field);
                reply.array(2);
                reply.value(&change.old);
                reply.value(&change.new);
            }
        }
        self.reply_deliveries(reply);
    }

    /// The entry's own fields, in its order, any of them more than once if it is so.
    fn reply_raw(&self, reply: Reply) {
        reply.map(if self.deliveries.is_some() { 3 } else { 2 });
        reply.bytes("id");
        reply.bytes(self.entry.id);
        reply.bytes("fields");
        reply.array(self.fields.len().saturating_mul(2));
        for (field, value) in &self.fields {
            reply.bytes(field);
            reply.bytes(value);
        }
        self.reply_deliveries(reply);
    }

    fn reply_deliveries(&self, reply: Reply) {
        if let Some(deliveries) = self.deliveries {
            reply.bytes("deliveries");
            reply.integer(deliveries);
        }
    }
}
