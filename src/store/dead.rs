//! Events that a group gave up on: entries of a dead stream, `<stream>:dead` unless another is named. An
//! entry there has its own fields, and behind them those that say why.
//!
//! Earlier failures are recorded in the hash `<stream>:failures`, by event and group, for
//! a week after the last one: native pending entries cannot tell when they first failed, and how.
//!
//! Only native commands run here, so that readers may be woken to it.

use super::cluster;
use super::deletions::Deletions;
use super::groups::{self, Group, Pending};
use super::{last_ids, stream_state};
use crate::redis::clock;
use crate::redis::{call, keys};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::reading::groups::LEFT;
use redis_module::{Context, RedisString};

const DEAD: &[u8] = b":dead";
const FAILURES: &[u8] = b":failures";
const FAILURES_MS: &str = "604800000";

/// The fields that an entry of the dead stream has besides its own.
pub const ADDED: [&[u8]; 7] = [
    b"dead-id",
    b"dead-group",
    b"dead-consumer",
    b"dead-error",
    b"dead-deliveries",
    b"dead-first",
    b"dead-last",
];

/// Where the dead of a stream are put.
pub struct Dead<'c> {
    ctx: &'c Context,
    stream: &'c RedisString,
    pub key: RedisString,
}

/// When an entry first failed, when it last did, whose failure that was, and its words.
#[derive(Default)]
pub struct Failure {
    pub first_ms: Option<u64>,
    pub last_ms: Option<u64>,
    pub consumer: Vec<u8>,
    pub message: Vec<u8>,
}

/// The circumstances of a death.
pub struct Death<'e> {
    pub id: EventId,
    pub consumer: &'e [u8],
    pub message: &'e [u8],
    pub deliveries: i64,
    pub first_ms: u64,
    pub last_ms: u64,
}

impl<'c> Dead<'c> {
    pub fn of(
        ctx: &'c Context,
        stream: &'c RedisString,
        key: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let key = key.map_or_else(|| [stream, DEAD].concat(), <[u8]>::to_vec);
        if key == stream.as_slice() {
            return Err(Error::DeadIsStream(Quoted::new(stream)));
        }
        cluster::check_key(ctx, stream, &key)?;
        Ok(Dead {
            ctx,
            stream,
            key: keys::string(&key),
        })
    }

    /// Moves an entry here from what the group holds. False if the stream no longer has it.
    pub fn bury(&self, group: &Group, death: &Death) -> Result<bool, Error> {
        let entry = groups::entry(self.ctx, self.stream, death.id)?;
        let entries = groups::entries(entry.view()).next();
        if let Some(entry) = &entries {
            let numbers = [
                death.id.text(),
                death.deliveries.to_string(),
                death.first_ms.to_string(),
                death.last_ms.to_string(),
            ];
            let [id, deliveries, first, last] = &numbers;
            let added: [&[u8]; 7] = [
                id.as_bytes(),
                group.name,
                death.consumer,
                death.message,
                deliveries.as_bytes(),
                first.as_bytes(),
                last.as_bytes(),
            ];
            let own = entry.fields();
            let own = own.iter().flat_map(|(field, value)| [*field, *value]);
            let why = ADDED.into_iter().zip(added);
            let words = own.chain(why.flat_map(|(field, value)| [field, value]));
            append(self.ctx, &self.key, words.map(keys::string))?;
        }
        group.acknowledge(&[death.id])?;
        self.forget(group, &[death.id])?;
        Deletions::of(self.ctx, self.stream).settle(&[death.id])?;
        Ok(entries.is_some())
    }

    /// Puts entries back at the end of their stream: those with these ids, else the oldest, up to count.
    pub fn redrive(&self, ids: &[EventId], count: u64) -> Result<u64, Error> {
        let mut redriven = 0u64;
        let mut put_back = |reply: call::Reply| -> Result<(), Error> {
            for entry in groups::entries(reply.view()) {
                let fields = entry.fields();
                // Somebody else's entry may have such fields of its own; ours come last.
                let own = fields.len().saturating_sub(ADDED.len());
                let (own, added) = fields.split_at_checked(own).unwrap_or((&fields, &[]));
                let is_ours = added.iter().map(|(field, _)| *field).eq(ADDED) && !own.is_empty();
                let kept = if is_ours { own } else { &fields };
                let words = kept.iter().flat_map(|(field, value)| [*field, *value]);
                append(self.ctx, self.stream, words.map(keys::string))?;
                call::write(
                    self.ctx,
                    c"XDEL",
                    &[&self.key, &keys::string(entry.id.bytes())],
                )?;
                redriven = redriven.saturating_add(1);
            }
            Ok(())
        };
        if ids.is_empty() {
            let first = EventId::default();
            let oldest = groups::range(self.ctx, &self.key, first, EventId::MAX, count)?;
            oldest.map_or(Ok(()), &mut put_back)?;
        }
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        for id in ids.iter().take(most) {
            put_back(groups::entry(self.ctx, &self.key, *id)?)?;
        }
        Ok(redriven)
    }

    /// The recorded failures of an entry in a group.
    pub fn failure(&self, group: &Group, id: EventId) -> Result<Failure, Error> {
        let field = failure_field(group, id);
        let reply = call::read(self.ctx, c"HGET", &[&self.failures(), &field])?;
        Ok(Failure::read(reply.view().text().unwrap_or_default()).unwrap_or_default())
    }

    /// Remembers a failure.
    pub fn note(&self, group: &Group, id: EventId, failure: &Failure) -> Result<(), Error> {
        let key = self.failures();
        let value = keys::string(&failure.written());
        let field = failure_field(group, id);
        call::write(self.ctx, c"HSET", &[&key, &field, &value])?;
        let ms = keys::string(FAILURES_MS.as_bytes());
        call::write(self.ctx, c"PEXPIRE", &[&key, &ms]).map(drop)
    }

    /// Forgets the failures of entries that are done.
    pub fn forget(&self, group: &Group, ids: &[EventId]) -> Result<(), Error> {
        let key = self.failures();
        // A command that has already done its work does not fail: neither for a foreign key of that name, nor for
        // one that has gone ahead to the node its slot is being moved to. It forgets by itself in a week.
        let holds = match call::read(self.ctx, c"TYPE", &[&key]) {
            Err(Error::TryAgain) => return Ok(()),
            holds => holds?,
        };
        if ids.is_empty() || holds.view().text() != Some(b"hash") {
            return Ok(());
        }
        let fields: Vec<RedisString> = ids.iter().map(|id| failure_field(group, *id)).collect();
        let args: Vec<&RedisString> = std::iter::once(&key).chain(&fields).collect();
        call::write(self.ctx, c"HDEL", &args).map(drop)
    }

    /// How many dead there are. Refuses if something else is stored there.
    pub fn count(&self) -> Result<u64, Error> {
        match stream_state::state(self.ctx, &self.key)? {
            Some(state) => Ok(state.length()),
            None => cluster::check_missing(self.ctx, self.stream, &self.key).map(|()| 0),
        }
    }

    /// Refuses if something else is stored where failures are remembered.
    pub fn check_failures(&self) -> Result<(), Error> {
        let key = self.failures();
        cluster::check_key(self.ctx, self.stream, &key)?;
        let holds = call::read(self.ctx, c"TYPE", &[&key])?;
        match holds.view().text() {
            Some(b"hash") => Ok(()),
            Some(b"none") => cluster::check_missing(self.ctx, self.stream, &key),
            _ => Err(keys::wrong_type(&key, "a hash")),
        }
    }

    fn failures(&self) -> RedisString {
        keys::string(&[self.stream, FAILURES].concat())
    }
}

impl Failure {
    /// Whose a pending entry is, or was before it was handed on.
    pub fn of<'p>(&'p self, pending: &'p Pending) -> &'p [u8] {
        match pending.consumer.as_slice() == LEFT && !self.consumer.is_empty() {
            true => &self.consumer,
            false => &pending.consumer,
        }
    }

    /// The times, how long the consumer's name is, the name, and the words: `1000 2000 5 alice no disk`.
    fn written(&self) -> Vec<u8> {
        let ms = |ms: Option<u64>| ms.unwrap_or(0);
        let (first, last, length) = (ms(self.first_ms), ms(self.last_ms), self.consumer.len());
        let numbers = format!("{first} {last} {length} ");
        [numbers.as_bytes(), &self.consumer, b" ", &self.message].concat()
    }

    fn read(text: &[u8]) -> Option<Failure> {
        let mut parts = text.splitn(4, |&byte| byte == b' ');
        let mut number = || {
            parts
                .next()
                .and_then(dirty_streams_core::entity::decimal::parse)
        };
        let (first_ms, last_ms) = (number(), number());
        let length = usize::try_from(number()?).ok()?;
        let (consumer, rest) = parts.next()?.split_at_checked(length)?;
        Some(Failure {
            first_ms,
            last_ms,
            consumer: consumer.to_vec(),
            message: rest.strip_prefix(b" ")?.to_vec(),
        })
    }
}

fn failure_field(group: &Group, id: EventId) -> RedisString {
    keys::string(&[id.text().as_bytes(), b" ", group.name].concat())
}

/// Appends an entry as the stream's next event, by a native command.
///
/// The last id is asked for once: XINFO STREAM replies the first and the last entry as well, and these may be large.
pub fn append(
    ctx: &Context,
    stream: &RedisString,
    words: impl Iterator<Item = RedisString>,
) -> Result<EventId, Error> {
    // An expired stream goes now, and its last id with it.
    call::read(ctx, c"EXISTS", &[stream])?;
    let database = keys::current_database(ctx);
    let last = last_ids::get(ctx, database, stream)?;
    let id = last.following(clock::now_ms());
    let id = id.ok_or_else(|| Error::IdsExhausted(Quoted::new(stream)))?;
    let id_text = keys::string(id.text().as_bytes());
    let words: Vec<RedisString> = words.collect();
    let args: Vec<&RedisString> = [stream, &id_text].into_iter().chain(&words).collect();
    // Another module may have appended to it without telling anybody; then the next call asks again.
    if let Err(error) = call::write(ctx, c"XADD", &args) {
        last_ids::forget(database, stream);
        return Err(error);
    }
    last_ids::set(database, stream, id);
    Ok(id)
}
