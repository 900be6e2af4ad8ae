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
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Beyond this many streams all are forgotten; asking again is cheap.
const MAX_STREAMS: usize = 10_000;

#[derive(Default)]
struct LastIds {
    by_database: BTreeMap<c_int, HashMap<Vec<u8>, EventId>>,
    streams: usize,
}

impl LastIds {
    fn remove(&mut self, database: c_int, stream: &[u8]) {
        let known = self.by_database.get_mut(&database);
        if known.is_some_and(|streams| streams.remove(stream).is_some()) {
            self.count_removed();
        }
    }

    fn count_removed(&mut self) {
        debug_assert!(self.streams > 0, "each stream is counted");
        self.streams = self.streams.saturating_sub(1);
    }

    /// The streams of this name in all databases. Which one an event is about cannot always be asked: in MULTI,
    /// Valkey 9.1 answers with the database of the transaction, also where the event is of another one.
    fn remove_everywhere(&mut self, stream: &[u8]) {
        let databases = self.by_database.values_mut();
        let removed = databases.filter_map(|streams| streams.remove(stream));
        for _ in 0..removed.count() {
            self.count_removed();
        }
    }
}

lazy_static! {
    /// Locked for moments, by the main thread alone: never contended.
    static ref LAST_IDS: Mutex<LastIds> = Mutex::default();
}

fn lock() -> MutexGuard<'static, LastIds> {
    LAST_IDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last id of a stream, if it is known. With the stream's key open, as for `get`.
pub fn known(database: c_int, stream: &RedisString) -> Option<EventId> {
    let cache = lock();
    let streams = cache.by_database.get(&database)?;
    streams.get(stream.as_slice()).copied()
}

/// The last id of a stream of this database, which must be selected; 0-0 for one that does not exist. Open
/// the stream's key before: an expired one is gone then, and its id with it. Close it, too: the server is asked.
///
/// The caller says which database it is: within MULTI Valkey 9.1 does not tell, once another was selected.
pub fn get(ctx: &Context, database: c_int, stream: &RedisString) -> Result<EventId, Error> {
    if let Some(id) = known(database, stream) {
        return Ok(id);
    }
    let state = stream_state::state(ctx, stream)?;
    if let Some(state) = state {
        set(database, stream, state.last);
    }
    Ok(state.unwrap_or_default().last)
}

pub fn set(database: c_int, stream: &RedisString, id: EventId) {
    let mut cache = lock();
    if let Some(known) = cache
        .by_database
        .get_mut(&database)
        .and_then(|streams| streams.get_mut(stream.as_slice()))
    {
        *known = id;
        return;
    }
    if cache.streams >= MAX_STREAMS {
        *cache = LastIds::default();
    }
    let streams = cache.by_database.entry(database).or_default();
    streams.insert(stream.to_vec(), id);
    cache.streams = cache.streams.saturating_add(1);
}

pub fn forget(database: c_int, stream: &RedisString) {
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
        *lock() = LastIds::default();
    }
}
