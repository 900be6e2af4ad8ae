//! The consequences of a changed key: replication, WATCH and client-side caching, keyspace events, and clients that
//! wait for it.

use super::api::api;
use super::{guard, others};
use redis_module::{Context, RedisString, raw};
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The class of a keyspace event.
#[derive(Clone, Copy)]
pub enum Class {
    Generic,
    Hash,
    Stream,
    Module,
    Expired,
    Evicted,
}

impl Class {
    fn bit(self) -> c_int {
        match self {
            Class::Generic => raw::REDISMODULE_NOTIFY_GENERIC,
            Class::Hash => raw::REDISMODULE_NOTIFY_HASH,
            Class::Stream => raw::REDISMODULE_NOTIFY_STREAM,
            Class::Module => raw::REDISMODULE_NOTIFY_MODULE,
            Class::Expired => raw::REDISMODULE_NOTIFY_EXPIRED,
            Class::Evicted => raw::REDISMODULE_NOTIFY_EVICTED,
        }
    }
}

/// Sends a command to replicas and the AOF.
pub fn replicate<'a>(
    ctx: &Context,
    command: &CStr,
    args: impl IntoIterator<Item = &'a RedisString>,
) {
    let argv: Vec<_> = args.into_iter().map(|arg| arg.inner).collect();
    // SAFETY: format `v` takes a pointer and a length; the strings are retained by the call.
    unsafe {
        api!(RedisModule_Replicate(
            ctx.ctx,
            command.as_ptr(),
            c"v".as_ptr(),
            argv.as_ptr(),
            argv.len(),
        ));
    }
}

/// Tells WATCH and client-side caching that a key was changed.
pub fn invalidate(ctx: &Context, key: &RedisString) {
    // SAFETY: a live context and key name.
    unsafe { api!(RedisModule_SignalModifiedKey(ctx.ctx, key.inner)) };
}

/// The address of the string that names the key of an event of our own, while we send it.
static OURS: AtomicUsize = AtomicUsize::new(0);

/// The previous value of `OURS`, restored on drop: another module may answer an event by one of our commands, which
/// sends events of its own.
struct Ours(usize);

impl Drop for Ours {
    fn drop(&mut self) {
        OURS.store(self.0, Relaxed);
    }
}

/// Sends a keyspace event. Our own listener recognises it.
pub fn notify(ctx: &Context, class: Class, event: &CStr, key: &RedisString) {
    let _before = Ours(OURS.swap(key.inner.addr(), Relaxed));
    others::may_run();
    // SAFETY: a live context, a name that ends with a NUL, and a live key name.
    unsafe {
        api!(RedisModule_NotifyKeyspaceEvent(
            ctx.ctx,
            class.bit(),
            event.as_ptr(),
            key.inner,
        ));
    }
}

/// Hears of keyspace events.
pub trait KeyspaceListener {
    /// A key was changed. An event of our own is recognised by its string's address: events of other modules carry
    /// strings of their own.
    fn on_change(key: &[u8], is_ours: bool);
}

/// Tells a listener of events of these classes, as long as the module is loaded.
pub fn listen<L: KeyspaceListener>(ctx: &Context, classes: &[Class]) -> bool {
    let bits = classes.iter().fold(0, |bits, class| bits | class.bit());
    // SAFETY: a live context, and a function that stays as long as the module is loaded.
    let status = unsafe {
        api!(RedisModule_SubscribeToKeyspaceEvents(
            ctx.ctx,
            bits,
            Some(on_change::<L>)
        ))
    };
    status == raw::REDISMODULE_OK as c_int
}

extern "C" fn on_change<L: KeyspaceListener>(
    _ctx: *mut raw::RedisModuleCtx,
    _class: c_int,
    _event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    others::may_run();
    let _ = guard::catch("a keyspace event", || {
        let is_ours = OURS.load(Relaxed) == key.addr();
        L::on_change(RedisString::string_as_slice(key), is_ours);
    });
    raw::REDISMODULE_OK as c_int
}
