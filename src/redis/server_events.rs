//! Events of the server itself.

use super::api::api;
use super::{guard, others};
use redis_module::{Context, RedisString, raw};
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

type RawListener =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// Events that say nothing but that they happened.
#[derive(Clone, Copy)]
pub enum Event {
    FlushDb,
    SwapDb,
    Loading,
    RoleChanged,
    ConfigChanged,
    /// Several times a second.
    Cron,
}

/// Hears of events.
pub trait EventListener {
    /// Its name in the log, for panics.
    const ENTRY: &'static str;

    fn on_event(ctx: &Context);
}

/// Who is told of which event. The server itself keeps one function of a module for each event: the last.
static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());

/// An event, and what is called of it.
type Listener = (u64, fn(&Context));

/// Tells a listener of each event of this kind, as long as the module is loaded.
pub fn listen<L: EventListener>(ctx: &Context, event: Event) -> bool {
    let id = match event {
        Event::FlushDb => raw::REDISMODULE_EVENT_FLUSHDB,
        Event::SwapDb => raw::REDISMODULE_EVENT_SWAPDB,
        Event::Loading => raw::REDISMODULE_EVENT_LOADING,
        Event::RoleChanged => raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
        Event::ConfigChanged => raw::REDISMODULE_EVENT_CONFIG,
        Event::Cron => raw::REDISMODULE_EVENT_CRON_LOOP,
    };
    let tell: fn(&Context) = |ctx| {
        let _ = guard::catch(L::ENTRY, || L::on_event(ctx));
    };
    listeners().push((id, tell));
    subscribe(ctx, id, on_event)
}

fn listeners() -> MutexGuard<'static, Vec<Listener>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subscribe(ctx: &Context, id: u64, listener: RawListener) -> bool {
    let event = raw::RedisModuleEvent { id, dataver: 1 };
    // SAFETY: a live context, and a function that stays as long as the module is loaded.
    let status = unsafe {
        api!(RedisModule_SubscribeToServerEvent(
            ctx.ctx,
            event,
            Some(listener)
        ))
    };
    status == raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn on_event(
    ctx: *mut raw::RedisModuleCtx,
    event: raw::RedisModuleEvent,
    _subevent: u64,
    _data: *mut c_void,
) {
    // One may listen to more meanwhile.
    let told = listeners().clone();
    let ctx = Context::new(ctx);
    for (_, tell) in told.iter().filter(|(id, _)| *id == event.id) {
        tell(&ctx);
    }
}

/// Hears of keys that go.
pub trait RemovalListener {
    /// A key is about to go.
    fn on_removal(key: &[u8]);
}

/// Whether the server tells of every key that goes, however it goes (7.0 does not).
pub fn tells_of_removals() -> bool {
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

/// Tells a listener of every key that goes.
pub fn listen_to_removals<L: RemovalListener>(ctx: &Context) -> bool {
    subscribe(ctx, raw::REDISMODULE_EVENT_KEY, on_removal::<L>)
}

unsafe extern "C" fn on_removal<L: RemovalListener>(
    _ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _subevent: u64,
    data: *mut c_void,
) {
    others::may_run();
    let _ = guard::catch("a removed key", || {
        // SAFETY: of this event, the server passes such a structure and the name of an open key.
        let name = unsafe {
            let info = &*data.cast::<raw::RedisModuleKeyInfo>();
            api!(RedisModule_GetKeyNameFromModuleKey(info.key))
        };
        L::on_removal(RedisString::string_as_slice(name));
    });
}
