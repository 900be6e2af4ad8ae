//! The stream of readers and the dead stream of one of them, as the rules ask for them: read by the iterator, the dead
//! stream written by the low-level API.

use super::dead::{self, Told};
use super::declarations::{self, Declared};
use super::writes::Writes;
use super::{cluster, last_ids, stream_state, walk};
use crate::redis::keys::{self, Key, Type};
use crate::redis::keyspace::Class;
use crate::redis::stream::{Fields, LazyFields};
use crate::redis::{call, clock, flags, guard, log};
use dirty_streams_core::acl::Access;
use dirty_streams_core::encoding::event;
use dirty_streams_core::entity::event::Event;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::{Snapshots as _, is_hidden};
use dirty_streams_core::reading::{
    Burial, DeadEntry, Death, Delivery, Entry, Filter, Order, Origin, Place, Refusal, Seed,
    Selector, Shard, Snapshots, Stream, StreamInfo, Verdict, Wanted,
};
use redis_module::{Context, RedisString};
use std::cell::OnceCell;

/// Gets the entries that a command gives.
pub trait Giver {
    fn give(&mut self, entry: &Shown, delivery: Delivery);

    /// An entity as it is stored: fields in `after`.
    fn give_stored(&mut self, entity: &Event);
}

/// For commands that give nothing.
impl Giver for () {
    fn give(&mut self, _: &Shown, _: Delivery) {}

    fn give_stored(&mut self, _: &Event) {}
}

/// Asks whether the user may read this key, or write to it.
pub type May<'c> = &'c dyn Fn(Access, &[u8]) -> Result<(), Error>;

/// A stream that is read for its readers.
pub struct Source<'c, G> {
    ctx: &'c Context,
    pub stream: &'c RedisString,
    key: Key<'c>,
    dead: Dead,
    may: May<'c>,
    pub writes: Writes<'c>,
    pub giver: G,
    /// The client has waited, and was woken.
    is_woken: bool,
    /// The reason for what a command was refused, if the rules cannot know it.
    error: Option<Error>,
}

/// The fields and values by turns of an entry, as it was before it died; `None` if it is gone.
fn own_words(ctx: &Context, key: &mut Key, id: EventId) -> Option<Vec<RedisString>> {
    let mut entries = key.entries(Some(id), Some(id), false);
    entries.next_id()?;
    let fields = LazyFields::of(&mut entries);
    let (own, _) = dead::split(fields.fields());
    let words = own.iter().flat_map(|(field, value)| [field, value]);
    Some(words.map(|word| word.safe_clone(ctx)).collect())
}

/// The dead stream of the reader that a command names.
struct Dead {
    name: Vec<u8>,
    /// It is not the default one, which comes with the stream's rights.
    is_named: bool,
    may_change: Option<bool>,
}

/// Refuses a key that holds something else than a stream.
pub fn check(ctx: &Context, stream: &RedisString) -> Result<(), Error> {
    let key = Key::read(ctx, stream);
    key.holds(stream, Type::Stream, "a stream").map(drop)
}

impl<'c, G: Giver> Source<'c, G> {
    /// A stream that need not exist. Nothing is known of it until [`Self::open`].
    pub fn new(ctx: &'c Context, stream: &'c RedisString, may: May<'c>, giver: G) -> Self {
        Source {
            ctx,
            stream,
            key: Key::closed(),
            dead: Dead {
                name: dead::default_key(stream),
                is_named: false,
                may_change: None,
            },
            may,
            writes: Writes::new(ctx),
            giver,
            is_woken: false,
            error: None,
        }
    }

    /// Opens the stream; a key that holds something else is refused. No other key may be opened from now on, but by
    /// methods of this.
    pub fn open(&mut self) -> Result<(), Error> {
        self.key = Key::read(self.ctx, self.stream);
        self.key
            .holds(self.stream, Type::Stream, "a stream")
            .map(drop)
    }

    pub fn is_missing(&self) -> bool {
        self.key.is_missing()
    }

    /// On behalf of a client that has waited, and was woken.
    pub fn set_woken(&mut self, is_woken: bool) {
        self.is_woken = is_woken;
    }

    /// DEAD of the reader.
    pub fn set_dead(&mut self, named: Option<&[u8]>) {
        if let Some(name) = named {
            self.dead.name = name.to_vec();
            self.dead.is_named = true;
        }
    }

    /// The error for what a command was refused: the server's own, if that was the reason.
    pub fn refused(&mut self, refusal: Refusal) -> Error {
        let error = self.error.take();
        error.unwrap_or_else(|| refusal.error(self.stream, &self.dead.name))
    }

    /// Whether the user may write to the dead stream, and whether there can be one.
    pub fn check_dead(&mut self) -> Result<(), Error> {
        let name = &self.dead.name;
        if name.as_slice() == self.stream.as_slice() {
            return Err(Error::DeadIsStream(Quoted::new(self.stream)));
        }
        if self.dead.is_named {
            (self.may)(Access::Write, name)?;
        }
        cluster::check_key(self.ctx, self.stream, name)?;
        let name = keys::string(name);
        self.elsewhere(|source| {
            let is_there = Key::read(source.ctx, &name).holds(&name, Type::Stream, "a stream")?;
            match is_there {
                true => source.check_ids(&name),
                false => cluster::check_missing(source.ctx, source.stream, &name),
            }
        })
    }

    /// Refuses while the dead stream may be on another node.
    pub fn check_dead_is_here(&mut self) -> Result<(), Error> {
        if !flags::is_in_cluster(self.ctx) {
            return Ok(());
        }
        let name = keys::string(&self.dead.name);
        self.elsewhere(|source| {
            let is_here = !Key::read(source.ctx, &name).is_missing();
            match is_here {
                true => Ok(()),
                false => cluster::check_missing(source.ctx, source.stream, &name),
            }
        })
    }

    /// A stream whose last id is the greatest one takes no entry.
    fn check_ids(&self, name: &RedisString) -> Result<(), Error> {
        let last = last_ids::get(self.ctx, keys::current_database(self.ctx), name)?;
        match last.succeeding() {
            Some(_) => Ok(()),
            None => Err(Error::IdsExhausted(Quoted::new(name))),
        }
    }

    /// Runs something that may let other modules run, as opening another key does, while the stream is closed: they may
    /// delete it.
    pub fn elsewhere<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        self.key = Key::closed();
        let result = run(self);
        self.key = Key::read(self.ctx, self.stream);
        result
    }

    fn show(
        key: &mut Key<'c>,
        giver: &mut G,
        from: Option<EventId>,
        to: Option<EventId>,
        visit: &mut dyn FnMut(&dyn Entry) -> Verdict,
    ) -> bool {
        let mut entries = key.entries(from, to, false);
        let mut any = false;
        while let Some(id) = entries.next_id() {
            any = true;
            let fields = LazyFields::of(&mut entries);
            let shown = Shown::new(id, &fields);
            match visit(&shown) {
                Verdict::Give(delivery) => giver.give(&shown, delivery),
                Verdict::Pass => (),
                Verdict::Stop => break,
            }
        }
        any
    }

    /// Refuses a declaration whose snapshots cannot begin what this stream goes on with.
    pub fn check_snapshots(&self, key: &RedisString) -> Result<Declared, Error> {
        (self.may)(Access::Read, key)?;
        cluster::check_key(self.ctx, self.stream, key)?;
        let declared = declarations::load(self.ctx, key).or_else(|error| {
            if matches!(error, Error::NoDeclaration(_)) {
                // While the slot is moved it may be on the other node.
                cluster::check_missing(self.ctx, self.stream, key)?;
            }
            Err(error)
        })?;
        cluster::check(self.ctx, key, &declared)?;
        let database = keys::current_database(self.ctx);
        match declared.flaw_of_folding(self.stream, database) {
            None => Ok(declared),
            Some(why) => Err(Error::NoBeginning {
                key: Quoted::new(key),
                why,
            }),
        }
    }

    fn read_page(
        &mut self,
        key: &[u8],
        place: &[u8],
        count: u32,
        wanted: &Wanted,
    ) -> Result<Snapshots, Error> {
        let key = keys::string(key);
        let declared = self.check_snapshots(&key)?;
        let place = walk::Place::parse(place).unwrap_or_else(walk::Place::beginning);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut read = Snapshots::default();
        // Nothing is given of a page that fails: the reply may not have begun.
        let mut found = Vec::new();
        let next = walk::page(self.ctx, &key, &declared, place, count, |snapshots, id| {
            let Some(state) = snapshots.load(id, &[])?.into_entity() else {
                return Ok(false);
            };
            read.scanned = read.scanned.saturating_add(1);
            if !is_hidden(&declared, &state) {
                found.push((id.to_vec(), state));
            }
            Ok(true)
        })?;
        for (id, state) in &found {
            let entity = declared.as_event(id, state);
            if wanted.takes(&entity) {
                read.given = read.given.saturating_add(1);
                self.giver.give_stored(&entity);
            }
        }
        read.next = (!next.is_end()).then(|| next.to_string().into_bytes().into());
        Ok(read)
    }

    /// Leaves the stream's first id and its highest deleted one as they were, where XDEL does not. But what a command
    /// that is run replicates does not come in one transaction with the rest on 7.0, for a client that was woken.
    fn delete_dead(&mut self, name: &RedisString, dead: EventId, id: &RedisString) {
        let mut key = Key::write(self.ctx, name);
        if key.delete_entry(dead) {
            self.writes.replicate(c"XDEL", name, [id]);
            self.writes.changed(name, Class::Stream, c"xdel", None);
        }
    }

    /// Appends an entry to the dead stream.
    fn append(&self, name: &RedisString, words: &[RedisString]) -> Option<EventId> {
        let database = keys::current_database(self.ctx);
        let add = || {
            // An id that is known of an expired stream is gone once that is opened.
            drop(Key::write(self.ctx, name));
            let last = last_ids::get(self.ctx, database, name).ok()?;
            let id = last.following(clock::now_ms())?;
            let mut key = Key::write(self.ctx, name);
            key.append(id, words).then_some(id)
        };
        let id = add().or_else(|| {
            // Another module has added entries without telling anybody.
            last_ids::forget(database, name);
            add()
        })?;
        last_ids::set(database, name, id);
        Some(id)
    }
}

impl<G: Giver> Stream for Source<'_, G> {
    fn last(&mut self) -> Option<EventId> {
        self.key.last_entry()
    }

    fn info(&mut self) -> Result<StreamInfo, Refusal> {
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let state = self.elsewhere(|source| stream_state::state(source.ctx, source.stream));
        let info = state.map(|state| {
            state.map_or_else(StreamInfo::default, |state| StreamInfo {
                last: state.last,
                added: number(state.added),
                length: state.length(),
            })
        });
        // Nothing that is known may be taken for gone.
        info.map_err(|error| {
            self.error = Some(error);
            Refusal::StreamUnknown
        })
    }

    fn last_up_to(&mut self, id: EventId) -> Option<(EventId, bool)> {
        let mut entries = self.key.entries(None, Some(id), true);
        let id = entries.next_id()?;
        let fields = LazyFields::of(&mut entries);
        let shown = Shown::new(id, &fields);
        Some((id, shown.is_event()))
    }

    fn scan(&mut self, after: EventId, visit: &mut dyn FnMut(&dyn Entry) -> Verdict) {
        if let Some(from) = after.succeeding() {
            Self::show(&mut self.key, &mut self.giver, Some(from), None, visit);
        }
    }

    fn look_up(&mut self, place: Place, visit: &mut dyn FnMut(&dyn Entry) -> Verdict) -> bool {
        match place {
            Place::Stream(id) => {
                Self::show(&mut self.key, &mut self.giver, Some(id), Some(id), visit)
            }
            Place::Dead { dead, .. } => {
                let name = keys::string(&self.dead.name);
                self.elsewhere(|source| {
                    let mut key = Key::read(source.ctx, &name);
                    Self::show(&mut key, &mut source.giver, Some(dead), Some(dead), visit)
                })
            }
        }
    }

    fn scan_dead(&mut self, visit: &mut dyn FnMut(&dyn DeadEntry) -> bool) {
        let name = keys::string(&self.dead.name);
        self.elsewhere(|source| {
            let mut key = Key::read(source.ctx, &name);
            let mut entries = key.entries(None, None, false);
            while let Some(id) = entries.next_id() {
                let fields = LazyFields::of(&mut entries);
                let shown = Shown::new(id, &fields);
                let entry = OfDead {
                    shown: &shown,
                    stream: source.stream,
                };
                if !visit(&entry) {
                    break;
                }
            }
        });
    }

    fn may_change_dead(&mut self) -> bool {
        if let Some(may) = self.dead.may_change {
            return may;
        }
        let checked = self.check_dead();
        self.dead.may_change = Some(checked.is_ok());
        self.error = checked.err();
        self.error.is_none()
    }

    fn bury(&mut self, place: Place, death: &Death) -> Burial {
        let name = keys::string(&self.dead.name);
        let own = match place {
            Place::Stream(id) => own_words(self.ctx, &mut self.key, id),
            Place::Dead { dead, .. } => self
                .elsewhere(|source| own_words(source.ctx, &mut Key::read(source.ctx, &name), dead)),
        };
        let Some(mut words) = own else {
            return Burial::Gone;
        };
        words.extend(dead::added(self.stream, death));
        let added = self.elsewhere(|source| source.append(&name, &words));
        let Some(id) = added else {
            log::warning(&format!(
                "the event {} is not dead yet, since the stream {} took no entry",
                death.id,
                Quoted::new(&self.dead.name)
            ));
            return Burial::Refused;
        };
        let id_text = keys::string(id.text().as_bytes());
        let args = std::iter::once(&id_text).chain(&words);
        self.writes.replicate(c"XADD", &name, args);
        self.writes.changed(&name, Class::Stream, c"xadd", None);
        Burial::Buried(id)
    }

    fn knows(&mut self, place: &[u8]) -> bool {
        place.is_empty() || walk::Place::parse(place).is_some_and(|place| !place.is_end())
    }

    fn read_snapshots(
        &mut self,
        declaration: &[u8],
        place: &[u8],
        count: u32,
        wanted: &Wanted,
    ) -> Option<Snapshots> {
        let read = self.elsewhere(|source| source.read_page(declaration, place, count, wanted));
        read.map_err(|error| self.error = Some(error)).ok()
    }

    fn unbury(&mut self, dead: EventId) {
        let name = keys::string(&self.dead.name);
        let id = keys::string(dead.text().as_bytes());
        self.elsewhere(|source| match source.is_woken {
            true => source.delete_dead(&name, dead, &id),
            false => {
                if let Err(error) = call::effect(source.ctx, c"XDEL", &[&name, &id]) {
                    let stream = Quoted::new(&source.dead.name);
                    log::warning(&format!(
                        "{} was not deleted from {stream}: {error}",
                        dead.text()
                    ));
                }
            }
        });
    }
}

/// An entry as it is shown: its fields are copied, and its event decoded, when somebody asks.
pub struct Shown<'e> {
    pub id: EventId,
    fields: &'e dyn Fields,
    event: OnceCell<Option<Event<'e>>>,
}

impl<'e> Shown<'e> {
    fn new(id: EventId, fields: &'e dyn Fields) -> Self {
        Shown {
            id,
            fields,
            event: OnceCell::new(),
        }
    }

    pub fn fields(&self) -> &'e [dead::Pair] {
        self.fields.fields()
    }

    /// Without those that say why it died.
    pub fn own_fields(&self) -> &'e [dead::Pair] {
        dead::split(self.fields()).0
    }

    /// The reason why it died, if it is an entry of a dead stream.
    pub fn told(&self) -> Option<Told<'e>> {
        dead::split(self.fields()).1
    }

    pub fn event(&self) -> Option<&Event<'e>> {
        let event = self.event.get_or_init(|| {
            let (own, _) = dead::split(self.fields());
            // The reply may have begun, so even a panic must not end it.
            guard::catch("an event", || decode(own)).flatten()
        });
        event.as_ref()
    }
}

fn decode(fields: &[dead::Pair]) -> Option<Event<'_>> {
    match fields {
        [(field, value)] => event::decode(&[(field.as_slice(), value.as_slice())]),
        fields => {
            let fields = fields.iter();
            let fields: Vec<(&[u8], &[u8])> = fields
                .map(|(field, value)| (field.as_slice(), value.as_slice()))
                .collect();
            event::decode(&fields)
        }
    }
}

impl Entry for Shown<'_> {
    fn id(&self) -> EventId {
        self.id
    }

    fn is_event(&self) -> bool {
        self.event().is_some()
    }

    fn passes(&self, filter: &Filter) -> bool {
        filter.takes(self.event())
    }

    fn is_of(&self, shard: Shard) -> bool {
        shard.takes(self.event())
    }

    fn key(&self, order: &Order, seed: Seed) -> u64 {
        match order {
            Order::None => 0,
            order => order.key(seed, self.event()),
        }
    }

    fn is_selected(&self, selector: &Selector, order: &Order) -> bool {
        selector.takes(order, self.event())
    }
}

/// An entry of the dead stream.
struct OfDead<'s, 'e> {
    shown: &'s Shown<'e>,
    stream: &'s RedisString,
}

impl Entry for OfDead<'_, '_> {
    fn id(&self) -> EventId {
        self.shown.id
    }

    fn is_event(&self) -> bool {
        self.shown.is_event()
    }

    fn passes(&self, filter: &Filter) -> bool {
        self.shown.passes(filter)
    }

    fn is_of(&self, shard: Shard) -> bool {
        self.shown.is_of(shard)
    }

    fn key(&self, order: &Order, seed: Seed) -> u64 {
        self.shown.key(order, seed)
    }

    fn is_selected(&self, selector: &Selector, order: &Order) -> bool {
        self.shown.is_selected(selector, order)
    }
}

impl DeadEntry for OfDead<'_, '_> {
    fn origin(&self) -> Option<Origin<'_>> {
        let told = self.shown.told()?;
        Some(Origin {
            id: told.id()?,
            is_ours: told.stream() == self.stream.as_slice(),
            reader: told.reader(),
        })
    }
}
