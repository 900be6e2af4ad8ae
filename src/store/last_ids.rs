//! The last id each stream has given. The module API cannot tell it; XINFO STREAM can, in about 2 µs.
//! So what was once asked is kept, until anybody but us touches the stream: every event on the key or
//! on the whole data set drops it.

use super::stream_state;
use crate::redis::keyspace::{self, Class};
use crate::redis::server_events::{self, Event, listen};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use lazy_static::lazy_static;
use redis_module::{Context, RedisString};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Beyond this many streams all are forgotten; asking again is cheap.
const MAX_STREAMS: usize = 10_000;

/// The last id of a stream, as long as it is known. Whoever holds this needs no look at the stream's name for the next.
#[derive(Clone)]
pub struct Known(Arc<Mutex<Option<EventId>>>);

impl Known {
    fn new(id: EventId) -> Self {
        Known(Arc::new(Mutex::new(Some(id))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<EventId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` once it has been dropped.
    pub fn id(&self) -> Option<EventId> {
        *self.lock()
    }

    /// False if it has been dropped, which it stays: another one has its place.
    pub fn set(&self, id: EventId) -> bool {
        let mut known = self.lock();
        known.as_mut().map(|known| *known = id).is_some()
    }
}

#[derive(Default)]
struct LastIds {
    /// By name. The hash is a cheap one: who declares streams whose names collide gains nothing.
    by_database: BTreeMap<c_int, FxHashMap<Vec<u8>, Known>>,
    streams: usize,
}

impl LastIds {
    fn remove(&mut self, database: c_int, stream: &[u8]) {
        let known = self.by_database.get_mut(&database);
        if let Some(known) = known.and_then(|streams| streams.remove(stream)) {
            self.drop_removed(&known);
        }
    }

    fn drop_removed(&mut self, known: &Known) {
        *known.lock() = None;
        debug_assert!(self.streams > 0, "each stream is counted");
        self.streams = self.streams.saturating_sub(1);
    }

    /// The streams of this name in all databases. Which one an event is about cannot always be asked: in MULTI,
    /// Valkey 9.1 answers with the database of the transaction, also where the event is of another one.
    fn remove_everywhere(&mut self, stream: &[u8]) {
        let databases = self.by_database.values_mut();
        let removed: Vec<Known> = databases
            .filter_map(|streams| streams.remove(stream))
            .collect();
        removed.iter().for_each(|known| self.drop_removed(known));
    }

    fn clear(&mut self) {
        let streams = self.by_database.values().flat_map(FxHashMap::values);
        streams.for_each(|known| *known.lock() = None);
        *self = LastIds::default();
    }
}

lazy_static! {
    /// Locked for moments, by the main thread alone: never contended.
    static ref LAST_IDS: Mutex<LastIds> = Mutex::default();
}

fn lock() -> MutexGuard<'static, LastIds> {
    LAST_IDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last id of a stream, if it is known. Open the stream's key before, as for `get`.
pub fn known(database: c_int, stream: &[u8]) -> Option<Known> {
    let cache = lock();
    let streams = cache.by_database.get(&database)?;
    streams.get(stream).cloned()
}

/// The last id of a stream of this database, which must be selected; 0-0 for one that does not exist. Open
/// the stream's key before: an expired one is gone then, and its id with it. And close it: the server is asked.
///
/// The caller says which database it is: within MULTI Valkey 9.1 does not tell, once another was selected.
pub fn get(ctx: &Context, database: c_int, stream: &RedisString) -> Result<EventId, Error> {
    if let Some(id) = known(database, stream).and_then(|known| known.id()) {
        return Ok(id);
    }
    let state = stream_state::state(ctx, stream)?;
    if let Some(state) = state {
        set(database, stream, state.last);
    }
    Ok(state.unwrap_or_default().last)
}

pub fn set(database: c_int, stream: &[u8], id: EventId) {
    if known(database, stream).is_some_and(|known| known.set(id)) {
        return;
    }
    let mut cache = lock();
    if cache.streams >= MAX_STREAMS {
        cache.clear();
    }
    let streams = cache.by_database.entry(database).or_default();
    streams.insert(stream.to_vec(), Known::new(id));
    cache.streams = cache.streams.saturating_add(1);
}

pub fn forget(database: c_int, stream: &[u8]) {
    lock().remove(database, stream);
}

/// Listens to everything that may change a stream behind our back.
pub fn register(ctx: &Context) -> bool {
    let on_data_set = [
        Event::FlushDb,
        Event::SwapDb,
        Event::Loading,
        Event::RoleChanged,
    ];
    on_data_set
        .into_iter()
        .all(|event| listen::<LastIds>(ctx, event))
        && match server_events::tells_of_removals() {
            // Nothing can take a stream's place before it is gone, so with the changes of streams that is all
            // there is to know.
            //
            // The keyspace events would do there as well, but for Valkey 8.1.1: a client that has told a module
            // of one in another database, by MOVE or COPY … DB, stays in that database. Streams are changed in
            // the client's own.
            true => {
                server_events::listen_to_removals::<LastIds>(ctx)
                    && keyspace::listen::<LastIds>(ctx, &[Class::Stream])
            }
            false => keyspace::listen::<LastIds>(ctx, &KEYSPACE_EVENTS),
        }
}

/// A stream that is overwritten (SET, SUNIONSTORE…) becomes another type, which is an error until one of
/// these events removes it; so they are all that is needed.
const KEYSPACE_EVENTS: [Class; 4] = [
    Class::Generic,
    Class::Stream,
    Class::Expired,
    Class::Evicted,
];

impl keyspace::KeyspaceListener for LastIds {
    /// Our own events leave what we know as it is. Another module may answer one by changing a stream, with
    /// events of its own; if those look like ours after all, the id that is known is refused when it is used,
    /// and asked for again.
    fn on_change(key: &[u8], is_ours: bool) {
        if !is_ours {
            lock().remove_everywhere(key);
        }
    }
}

impl server_events::RemovalListener for LastIds {
    fn on_removal(key: &[u8]) {
        lock().remove_everywhere(key);
    }
}

impl server_events::EventListener for LastIds {
    const ENTRY: &'static str = "a server event";

    fn on_event(_ctx: &Context) {
        lock().clear();
    }
}
