//! The readers of a stream as a data type of its own, `dirtysubs`, at `<stream>:readers`. An RDB file and a DUMP hold
//! its pieces, each of which is a delta; an AOF rewrite, and a slot that moves, has each in a command of its own.

use super::source::{Giver, Source};
use super::writes::Writes;
use super::{cluster, groups};
use crate::redis::data_type::{DataType, Entries, PayloadReader, PayloadWriter, Value};
use crate::redis::keys::{self, Key, Type, wrong_type};
use crate::redis::keyspace::Class;
use crate::redis::server_events::{Event, EventListener, listen};
use crate::redis::{clock, flags, log};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::{Behind, Error, Quoted};
use dirty_streams_core::reading::{Outcome, Reader, Readers, Refusal, Totals, Wake};
use redis_module::{Context, RedisString};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

/// Of the bytes in an RDB file or a DUMP, as this version of the module writes them.
const ENCODING_VERSION: i32 = 1;

const EXPECTED: &str = "readers of a stream";

/// `DIRTY._DELTA stream delta` repeats a change, `DIRTY._DELTA key LOAD piece` a part of what is at the key.
const COMMAND: &CStr = c"DIRTY._DELTA";

const LOAD: &[u8] = b"LOAD";

/// Not one of the server's events, so its class is that of modules.
const CHANGED: &CStr = c"dirty.readers";

static TYPE: DataType<ReadersValue> = DataType::new();

/// Readers as a value of the data type. Only the main thread changes it, and another that frees it has it alone.
pub struct ReadersValue(Arc<Mutex<Kept>>);

/// All values that were ever at a key, for INFO; some are gone.
static ALL: Mutex<Vec<Weak<Mutex<Kept>>>> = Mutex::new(Vec::new());

/// How many values have gone since those that are gone were last taken out of `ALL`.
static GONE: AtomicUsize = AtomicUsize::new(0);

/// How many values there are in `ALL`.
static LISTED: AtomicUsize = AtomicUsize::new(0);

struct Kept {
    readers: Readers,
    /// As `TERM` was when a command last came.
    term: u64,
}

/// How often this server has begun to decide: what is known of consumers' silence does not outlive it.
static TERM: AtomicU64 = AtomicU64::new(0);

/// When it began to, in ms.
static TERM_SINCE_MS: AtomicU64 = AtomicU64::new(0);

/// Readers have left their key since this was asked last.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Whether readers have left their key since this was asked last.
pub fn have_left() -> bool {
    LEFT.load(Relaxed) && LEFT.swap(false, Relaxed)
}

/// How often any readers have changed, or who waits for them, or which are at a key.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// As long as this stays the same, so do all readers.
pub fn changes() -> u64 {
    CHANGES.load(Relaxed)
}

fn count_change() {
    CHANGES.fetch_add(1, Relaxed);
}

pub fn register(ctx: &Context) -> bool {
    TYPE.register(ctx)
        && listen::<Term>(ctx, Event::RoleChanged)
        && listen::<Term>(ctx, Event::Loading)
        && listen::<Left>(ctx, Event::FlushDb)
        && listen::<Left>(ctx, Event::SwapDb)
}

struct Left;

impl EventListener for Left {
    const ENTRY: &'static str = "keys that go";

    fn on_event(_ctx: &Context) {
        LEFT.store(true, Relaxed);
        count_change();
    }
}

/// The role has changed, or what is kept in files is being loaded, or has been.
struct Term;

impl EventListener for Term {
    const ENTRY: &'static str = "a changed role";

    fn on_event(_ctx: &Context) {
        TERM_SINCE_MS.store(clock::now_ms(), Relaxed);
        TERM.fetch_add(1, Relaxed);
        count_change();
    }
}

/// The key of a stream's readers.
pub fn key_of(stream: &[u8]) -> RedisString {
    keys::string(&[stream, b":readers"].concat())
}

/// What a command came to, besides what it has given.
pub struct Done<R, G> {
    pub outcome: Outcome<R>,
    pub giver: G,
    /// When something comes due for those that wait for the reader.
    pub next_due_ms: Option<u64>,
}

/// Lets a command work on the readers of a stream, whether there are any or not: `run` refuses or changes them. The change
/// is replicated, and told when what this replies is dropped.
pub fn act<'c, R, G: Giver>(
    source: Source<'c, G>,
    reader: &[u8],
    ctx: &'c Context,
    run: impl FnOnce(&mut Readers, u64, &mut Source<'c, G>) -> Result<Outcome<R>, Refusal>,
) -> Result<Done<R, G>, Error> {
    let (done, acted) = begin(source, reader, ctx, run)?;
    drop(acted);
    Ok(done)
}

/// A change that readers have, and nobody else yet: it is replicated and told when this is dropped, so that a panic
/// meanwhile does not set replicas apart.
pub struct Acted<'c> {
    writes: Writes<'c>,
    stream: &'c RedisString,
    name: RedisString,
    /// To be set at the key, if there was nothing.
    value: Option<Arc<ReadersValue>>,
    is_empty: bool,
    delta: Option<Vec<u8>>,
}

impl Acted<'_> {
    /// Replicates the change, and lets it be told with other writes.
    pub fn end(mut self, writes: &mut Writes) {
        self.replicate();
        writes.take_over(&mut self.writes);
    }

    fn replicate(&mut self) {
        let Some(delta) = self.delta.take() else {
            return;
        };
        let value = self.value.take();
        if self.is_empty || value.is_some() {
            let mut key = Key::write(self.writes.context(), &self.name);
            match value.filter(|_| !self.is_empty) {
                Some(value) => {
                    value.list();
                    TYPE.set(&mut key, value);
                }
                None => drop(key.delete()),
            }
        }
        let delta = keys::string(&delta);
        self.writes.replicate(COMMAND, self.stream, [&delta]);
        tell(&mut self.writes, &self.name, self.is_empty);
    }
}

impl Drop for Acted<'_> {
    fn drop(&mut self) {
        self.replicate();
    }
}

/// As `act`, for a command that has more to write before the change is told. The source is not open yet.
pub fn begin<'c, R, G: Giver>(
    mut source: Source<'c, G>,
    reader: &[u8],
    ctx: &'c Context,
    run: impl FnOnce(&mut Readers, u64, &mut Source<'c, G>) -> Result<Outcome<R>, Refusal>,
) -> Result<(Done<R, G>, Acted<'c>), Error> {
    let name = key_of(source.stream);
    let found = find(ctx, source.stream, &name)?;
    source.open()?;
    if found.is_none() || source.is_missing() {
        source.elsewhere(|source| cluster::check_missing(ctx, source.stream, &name))?;
    }
    let is_new = found.is_none();
    let value = found.unwrap_or_else(|| Arc::new(ReadersValue::new(Readers::new())));
    let mut kept = value.try_lock(&name)?;
    let now_ms = clock::now_ms();
    kept.restart(now_ms);
    if let Some(reader) = kept.readers.get(reader) {
        source.set_dead(reader.settings.dead.as_deref());
        if reader.reads_dead() {
            source.check_dead_is_here()?;
        }
    }
    let mut outcome = match run(&mut kept.readers, now_ms, &mut source) {
        Ok(outcome) => outcome,
        Err(refusal) => return Err(source.refused(refusal)),
    };
    if outcome.delta.is_some() {
        count_change();
    }
    let is_empty = kept.readers.is_empty();
    let next_due_ms = kept.readers.next_due(reader, now_ms);
    drop(kept);
    let Source {
        writes,
        giver,
        stream,
        ..
    } = source;
    let acted = Acted {
        writes,
        stream,
        name,
        value: is_new.then_some(value),
        is_empty,
        delta: outcome.delta.take(),
    };
    let done = Done {
        outcome,
        giver,
        next_due_ms,
    };
    Ok((done, acted))
}

/// Looks at the readers of a stream, if there are any.
pub fn look<R>(
    ctx: &Context,
    stream: &RedisString,
    run: impl FnOnce(&mut Readers, u64) -> R,
) -> Result<Option<R>, Error> {
    let name = key_of(stream);
    let Some(value) = find(ctx, stream, &name)? else {
        cluster::check_missing(ctx, stream, &name)?;
        return Ok(None);
    };
    let mut kept = value.try_lock(&name)?;
    let now_ms = clock::now_ms();
    kept.restart(now_ms);
    Ok(Some(run(&mut kept.readers, now_ms)))
}

/// All readers of all streams in numbers, at once: a report of a crash in the midst of a command has fewer.
pub fn totals(max_queued: u32) -> Totals {
    let now_ms = clock::now_ms();
    let mut totals = Totals::default();
    if let Ok(all) = ALL.try_lock() {
        for kept in all.iter().filter_map(Weak::upgrade) {
            if let Ok(mut kept) = kept.try_lock() {
                kept.restart(now_ms);
                kept.readers.add_to(&mut totals, max_queued, now_ms);
            }
        }
    }
    totals
}

/// A consumer's call that waits: it is not silent meanwhile.
pub struct Seat {
    value: Weak<ReadersValue>,
    group: Arc<[u8]>,
    consumer: Arc<[u8]>,
}

impl Seat {
    /// The call begins to wait.
    pub fn take(
        ctx: &Context,
        stream: &RedisString,
        group: &Arc<[u8]>,
        consumer: &Arc<[u8]>,
    ) -> Result<Self, Error> {
        let name = key_of(stream);
        let value = find(ctx, stream, &name)?.ok_or(Error::Internal)?;
        let now_ms = clock::now_ms();
        let mut kept = value.try_lock(&name)?;
        kept.readers.set_waiting(group, consumer, true, now_ms);
        drop(kept);
        count_change();
        Ok(Seat {
            value: Arc::downgrade(&value),
            group: Arc::clone(group),
            consumer: Arc::clone(consumer),
        })
    }

    /// Takes the seat again, if others are the stream's readers now.
    pub fn take_again(&mut self, ctx: &Context, stream: &RedisString) {
        let found = find(ctx, stream, &key_of(stream)).ok().flatten();
        let known = self.value.upgrade();
        let is_same = match (&found, &known) {
            (Some(found), Some(known)) => Arc::ptr_eq(found, known),
            _ => false,
        };
        if is_same {
            return;
        }
        self.leave();
        if let Ok(seat) = Seat::take(ctx, stream, &self.group, &self.consumer) {
            *self = seat;
        }
    }

    /// Looks at the readers in which it has its seat.
    pub fn look<R>(&self, run: impl FnOnce(&mut Readers, u64) -> R) -> Option<R> {
        let value = self.value.upgrade()?;
        let mut kept = value.0.try_lock().ok()?;
        let now_ms = clock::now_ms();
        kept.restart(now_ms);
        Some(run(&mut kept.readers, now_ms))
    }

    /// The call ends to wait. Which others may find something now.
    pub fn leave(&self) -> Wake {
        let Some(value) = self.value.upgrade() else {
            return Wake::None;
        };
        count_change();
        let now_ms = clock::now_ms();
        let kept = value.0.try_lock();
        kept.map_or(Wake::None, |mut kept| {
            kept.readers
                .set_waiting(&self.group, &self.consumer, false, now_ms)
        })
    }
}

fn find(
    ctx: &Context,
    stream: &[u8],
    name: &RedisString,
) -> Result<Option<Arc<ReadersValue>>, Error> {
    cluster::check_key(ctx, stream, name)?;
    get(ctx, name)
}

fn get(ctx: &Context, name: &RedisString) -> Result<Option<Arc<ReadersValue>>, Error> {
    let key = Key::read(ctx, name);
    if !key.holds(name, Type::Module, EXPECTED)? {
        return Ok(None);
    }
    let value = TYPE.get(&key);
    value.map(Some).ok_or_else(|| wrong_type(name, EXPECTED))
}

/// The lowest id that a reader of the stream has not finished, whoever keeps its state; `None` without readers.
pub fn floor(
    ctx: &Context,
    stream: &RedisString,
    first: EventId,
) -> Result<Option<EventId>, Error> {
    let own = look(ctx, stream, |readers, _| readers.floor())?.flatten();
    let native = groups::floor(ctx, stream, first)?;
    let native = native.map(|(floor, _)| floor);
    Ok(own.into_iter().chain(native).min())
}

/// A reader that has yet to finish the first entry, or the one that is furthest behind if all have.
pub fn furthest_behind(
    ctx: &Context,
    stream: &RedisString,
    first: EventId,
) -> Result<Option<Behind>, Error> {
    let own = look(ctx, stream, |readers, _| {
        let floor = |reader: &Reader| reader.floor().max(first);
        let last = readers.iter().min_by_key(|reader| floor(reader));
        last.map(|reader| {
            let behind = Behind {
                kind: reader.kind().name(),
                name: Quoted::new(&reader.name),
            };
            (floor(reader), behind)
        })
    })?;
    let native = groups::floor(ctx, stream, first)?.map(|(floor, name)| {
        let behind = Behind {
            kind: "native group",
            name: Quoted::new(&name),
        };
        (floor.max(first), behind)
    });
    let all = own.flatten().into_iter().chain(native);
    Ok(all
        .min_by_key(|(floor, _)| *floor)
        .map(|(_, behind)| behind))
}

/// The change that `DIRTY._DELTA` tells of.
pub enum Change<'d> {
    /// Of the readers of the stream at the command's key.
    Delta(&'d [u8]),
    /// Of the readers at the command's key itself.
    Piece(&'d [u8]),
}

impl<'d> Change<'d> {
    /// From the arguments behind the key.
    pub fn parse(args: &[&'d [u8]]) -> Option<Self> {
        match args {
            [delta] => Some(Change::Delta(delta)),
            [load, piece] if load.eq_ignore_ascii_case(LOAD) => Some(Change::Piece(piece)),
            _ => None,
        }
    }
}

/// Tells listeners of the key that readers have changed, or that the last one is gone.
fn tell(writes: &mut Writes, name: &RedisString, is_gone: bool) {
    match is_gone {
        true => writes.changed(name, Class::Generic, c"del", None),
        false => writes.changed(name, Class::Module, CHANGED, None),
    }
}

/// Repeats a change that a primary, the AOF or a slot's former owner wrote. One that does not fit changes nothing.
pub fn repeat(
    ctx: &Context,
    key_name: &RedisString,
    change: &Change,
    args: &[&[u8]],
) -> Result<(), Error> {
    let (name, bytes) = match change {
        Change::Delta(delta) => (key_of(key_name), delta),
        Change::Piece(piece) => (keys::string(key_name), piece),
    };
    cluster::check_key(ctx, key_name, &name)?;
    let found = get(ctx, &name)?;
    let is_new = found.is_none();
    if is_new && !flags::is_repeated(ctx) {
        cluster::check_missing(ctx, key_name, &name)?;
    }
    let value = found.unwrap_or_else(|| Arc::new(ReadersValue::new(Readers::new())));
    let mut kept = value.try_lock(&name)?;
    if !kept.readers.apply(bytes) {
        return Err(Error::BadDelta(Quoted::new(&name)));
    }
    count_change();
    let is_empty = kept.readers.is_empty();
    drop(kept);
    if is_empty || is_new {
        let mut key = Key::write(ctx, &name);
        match is_empty {
            true => drop(key.delete()),
            false => {
                value.list();
                TYPE.set(&mut key, value);
            }
        }
    }
    let args: Vec<RedisString> = args.iter().map(|arg| keys::string(arg)).collect();
    let mut writes = Writes::new(ctx);
    writes.replicate(COMMAND, key_name, &args);
    tell(&mut writes, &name, is_empty);
    writes.notify();
    Ok(())
}

impl ReadersValue {
    /// Whoever is known to the readers counts as seen now.
    fn new(mut readers: Readers) -> Self {
        readers.restart(clock::now_ms());
        let kept = Arc::new(Mutex::new(Kept {
            readers,
            term: TERM.load(Relaxed),
        }));
        ReadersValue(kept)
    }

    /// The value is at a key from now on, or will be in a moment: INFO knows of it.
    fn list(&self) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(&self.0));
        LISTED.store(all.len(), Relaxed);
    }

    /// Another module may answer what a command does by a command about the same readers.
    fn try_lock(&self, name: &RedisString) -> Result<MutexGuard<'_, Kept>, Error> {
        match self.0.try_lock() {
            Ok(kept) => Ok(kept),
            Err(TryLockError::Poisoned(kept)) => Ok(kept.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(Quoted::new(name))),
        }
    }

    /// For the server, which asks outside of commands.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReadersValue {
    /// What is listed keeps its memory, so those that are gone are taken out once they are half of all.
    fn drop(&mut self) {
        const FEW: usize = 64;
        let gone = GONE.fetch_add(1, Relaxed).saturating_add(1);
        if gone < FEW || gone < LISTED.load(Relaxed).wrapping_div(2) {
            return;
        }
        GONE.store(0, Relaxed);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| kept.strong_count() > 0);
        let room = all.len().saturating_mul(2);
        all.shrink_to(room);
        LISTED.store(all.len(), Relaxed);
    }
}

impl Kept {
    /// Forgets who was seen when this server was something else.
    fn restart(&mut self, now_ms: u64) {
        let term = TERM.load(Relaxed);
        if self.term != term {
            self.term = term;
            let since_ms = TERM_SINCE_MS.load(Relaxed);
            self.readers.restart(since_ms.min(now_ms));
        }
        self.readers.see(now_ms);
    }
}

/// In an RDB file: 1 before each piece, behind the last one 0.
const MORE: u64 = 1;
const END: u64 = 0;

impl Value for ReadersValue {
    const NAME: &'static str = "dirtysubs";
    const ENCODING_VERSION: i32 = ENCODING_VERSION;
    const ENTRIES: Entries = Entries {
        load: "loading readers",
        save: "saving readers",
        rewrite: "rewriting readers",
        measure: "measuring readers",
        digest: "digesting readers",
        free: "freeing readers",
        copy: "copying readers",
    };
    const COMMAND: &'static CStr = COMMAND;

    fn save(&self, writer: &mut PayloadWriter) {
        self.lock().readers.encode(&mut |piece| {
            writer.unsigned(MORE);
            writer.bytes(piece);
        });
        writer.unsigned(END);
    }

    fn load(version: i32, reader: &mut PayloadReader) -> Option<Self> {
        if version != ENCODING_VERSION {
            log::warning(&format!(
                "readers are stored in encoding version {version}, but this version of the module reads \
                 {ENCODING_VERSION} at most: load them with the version that wrote them, or a later one"
            ));
            return None;
        }
        let mut readers = Readers::new();
        loop {
            match reader.unsigned()? {
                MORE => readers.apply(reader.bytes()?.as_ref()).then_some(())?,
                END => {
                    let value = ReadersValue::new(readers);
                    value.list();
                    return Some(value);
                }
                _ => return None,
            }
        }
    }

    fn rewrite(&self, command: &mut dyn FnMut(&[&[u8]])) {
        let kept = self.lock();
        kept.readers.encode(&mut |piece| command(&[LOAD, piece]));
    }

    fn digest(&self, part: &mut dyn FnMut(&[u8])) {
        self.lock().readers.encode(part);
    }

    fn memory(&self) -> usize {
        self.lock().readers.bytes()
    }

    fn free_effort(&self) -> usize {
        self.lock().readers.size()
    }

    fn on_unlink() {
        LEFT.store(true, Relaxed);
        count_change();
    }

    fn copy(shared: &Arc<Self>) -> Arc<Self> {
        let value = ReadersValue::new(shared.lock().readers.clone());
        value.list();
        Arc::new(value)
    }
}
