//! The last id each stream has given. The module API cannot tell it; XINFO STREAM can, in about 2 µs.
//! So what was once asked is kept, until anybody but us touches the stream: every event on the key or
//! on the whole data set drops it.

use super::stream_state;
use crate::redis::server_events::listen;
use crate::redis::{api::api, guard};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use lazy_static::lazy_static;
use redis_module::{raw, Context, RedisString};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Beyond this many streams all are forgotten; asking again is cheap.
const MAX_STREAMS: usize = 10_000;

#[derive(Default)]
struct LastIds {
    by_database: BTreeMap<c_int, BTreeMap<Vec<u8>, EventId>>,
    streams: usize,
}

impl LastIds {
    fn remove(&mut self, database: c_int, stream: &[u8]) {
        let known = self.by_database.get_mut(&database);
        if known.is_some_and(|streams| streams.remove(stream).is_some()) {
            self.streams = self.streams.saturating_sub(1);
        }
    }

    /// The streams of this name in all databases. Which one an event is about cannot always be asked: in MULTI,
    /// Valkey 9.1 answers with the database of the transaction, also where the event is of another one.
    fn remove_everywhere(&mut self, stream: &[u8]) {
        for streams in self.by_database.values_mut() {
            if streams.remove(stream).is_some() {
                self.streams = self.streams.saturating_sub(1);
            }
        }
    }
}

lazy_static! {
    /// Locked for moments, by the main thread alone: never contended.
    static ref LAST_IDS: Mutex<LastIds> = Mutex::default();
}

/// The address of the string that names the key of an event of our own, while we send it.
static OURS: AtomicUsize = AtomicUsize::new(0);

fn lock() -> MutexGuard<'static, LastIds> {
    LAST_IDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last id of a stream of this database, which must be selected; 0-0 for one that does not exist. Call it
/// with the stream's key open: an expired one is gone then, and its id with it.
///
/// Whoever calls says which database it is. Valkey 9.1 does not tell within MULTI once another was selected.
pub fn get(ctx: &Context, database: c_int, stream: &RedisString) -> Result<EventId, Error> {
    if let Some(id) = lock()
        .by_database
        .get(&database)
        .and_then(|streams| streams.get(stream.as_slice()))
    {
        return Ok(*id);
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

/// Sends an event of our own on a key, which leaves what we know of it as it is.
///
/// Another module may answer it by changing a stream. Its events carry strings of their own; if one has
/// ours after all, the id that is known is refused when it is used, and asked for again.
pub fn notifying(key: &RedisString, notify: impl FnOnce()) {
    let _before = Ours(OURS.swap(key.inner.addr(), Relaxed));
    notify();
}

/// What `OURS` was before, and is again when this is dropped: another module may answer an event by a command
/// of ours, which sends its own.
struct Ours(usize);

impl Drop for Ours {
    fn drop(&mut self) {
        OURS.store(self.0, Relaxed);
    }
}

fn forget_all() {
    *lock() = LastIds::default();
}

/// Listens to everything that may change a stream behind our back.
pub fn register(ctx: &Context) -> bool {
    let on_data_set = [
        raw::REDISMODULE_EVENT_FLUSHDB,
        raw::REDISMODULE_EVENT_SWAPDB,
        raw::REDISMODULE_EVENT_LOADING,
        raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
    ];
    on_data_set.into_iter().all(|id| listen(ctx, id, on_server))
        && match has_key_events() {
            true => {
                listen(ctx, raw::REDISMODULE_EVENT_KEY, on_removal)
                    && notified(ctx, raw::REDISMODULE_NOTIFY_STREAM)
            }
            false => notified(ctx, KEYSPACE_EVENTS),
        }
}

/// A stream that is overwritten (SET, SUNIONSTORE…) becomes another type, which is an error until one of
/// these events removes it; so they are all that is needed.
const KEYSPACE_EVENTS: c_int = raw::REDISMODULE_NOTIFY_GENERIC
    | raw::REDISMODULE_NOTIFY_STREAM
    | raw::REDISMODULE_NOTIFY_EXPIRED
    | raw::REDISMODULE_NOTIFY_EVICTED;

/// Whether the server tells of every key that goes, however it goes (7.0 does not): nothing can take a
/// stream's place before, so with the changes of streams that is all there is to know.
///
/// The keyspace events would do there as well, but for Valkey 8.1.1: a client that has told a module of one
/// in another database, by MOVE or COPY … DB, stays in that database. Streams are changed in the client's own.
fn has_key_events() -> bool {
    let event = raw::RedisModuleEvent {
        id: raw::REDISMODULE_EVENT_KEY,
        dataver: 1,
    };
    [
        raw::REDISMODULE_SUBEVENT_KEY_DELETED,
        raw::REDISMODULE_SUBEVENT_KEY_EXPIRED,
        raw::REDISMODULE_SUBEVENT_KEY_EVICTED,
        raw::REDISMODULE_SUBEVENT_KEY_OVERWRITTEN,
    ]
    .into_iter()
    // SAFETY: takes plain values.
    .all(|kind| unsafe { api!(RedisModule_IsSubEventSupported(event, kind)) } != 0)
}

fn notified(ctx: &Context, events: c_int) -> bool {
    // SAFETY: a live context, and a function that stays as long as the module is loaded.
    let status = unsafe {
        api!(RedisModule_SubscribeToKeyspaceEvents(
            ctx.ctx,
            events,
            Some(on_key)
        ))
    };
    status == raw::REDISMODULE_OK as c_int
}

extern "C" fn on_key(
    _ctx: *mut raw::RedisModuleCtx,
    _class: c_int,
    _event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    // An id that is known no longer to be right is asked for again when the stream refuses it.
    let _ = guard::catch("a keyspace event", || {
        if OURS.load(Relaxed) != key.addr() {
            lock().remove_everywhere(RedisString::string_as_slice(key));
        }
    });
    raw::REDISMODULE_OK as c_int
}

/// A key is about to go.
unsafe extern "C" fn on_removal(
    _ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    data: *mut c_void,
) {
    let _ = guard::catch("a removed key", || {
        // SAFETY: of this event, the server passes such a structure and the name of an open key.
        let name = unsafe {
            let info = &*data.cast::<raw::RedisModuleKeyInfo>();
            api!(RedisModule_GetKeyNameFromModuleKey(info.key))
        };
        lock().remove_everywhere(RedisString::string_as_slice(name));
    });
}

unsafe extern "C" fn on_server(
    _ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    let _ = guard::catch("a server event", forget_all);
}
