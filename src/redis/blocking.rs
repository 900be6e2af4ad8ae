//! Clients that wait for a stream to get an event, or for the time at which an old one is due.

use super::entry::{self, Command};
use super::reply::Reply;
use super::{api::api, cluster, stats};
use crate::error::Error;
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A command whose clients may wait on its key.
pub trait Waits: Command {
    /// What is remembered of the call while the client waits.
    type Memory;

    /// Runs the command again when the key may have something; false: nothing yet, wait on.
    fn wake(call: &entry::Call, memory: &mut Self::Memory) -> Result<bool, Error>;

    /// Looks whether waking would find something that no write to the key announces, and when to look
    /// again.
    fn look(ctx: &Context, key: &RedisString, memory: &mut Self::Memory) -> Result<Look, Error>;

    /// The reply when the time is up.
    fn give_up(reply: Reply, memory: &Self::Memory);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is something.
    Wake,
    /// Nothing before so many ms have passed.
    Later(u64),
    /// Nothing without a write.
    Never,
}

impl Look {
    pub fn sooner(self, other: Look) -> Look {
        match (self, other) {
            (Look::Wake, _) | (_, Look::Wake) => Look::Wake,
            (Look::Never, look) | (look, Look::Never) => look,
            (Look::Later(a), Look::Later(b)) => Look::Later(a.min(b)),
        }
    }
}

/// A client that waits.
struct Waiting<C: Waits> {
    memory: C::Memory,
    key: RedisString,
    client: *mut raw::RedisModuleBlockedClient,
    timer: Option<raw::RedisModuleTimerID>,
    /// It is woken by its timer, and not given up.
    due: bool,
}

/// Writes are paused for a failover: whoever has something to write looks again this much later.
const PAUSED_MS: u64 = 100;

/// In a cluster a stream may leave for another node, and events with it, long before the server sends
/// those who wait there after it: that is when the whole slot has been moved. So they look this often.
const LEFT_MS: u64 = 1000;

/// Wake-ups by timers whose writes may still be waking others. They do so outside of any command, and
/// then 7.0.15 remembers a client that was woken in vain, even when it is gone: so nobody is.
static OUTSIDE_COMMANDS: AtomicUsize = AtomicUsize::new(0);

/// The server has come round to those who were woken: it does so before it sleeps, this is after.
unsafe extern "C" fn on_woken(_data: *mut c_void) {
    OUTSIDE_COMMANDS.fetch_sub(1, Relaxed);
}

/// Whether a client may wait here: not within MULTI, a script or another module's call.
pub fn is_allowed(ctx: &Context) -> bool {
    // SAFETY: a live context.
    let flags = unsafe { api!(RedisModule_GetContextFlags(ctx.ctx)) };
    let denied = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
        | raw::REDISMODULE_CTX_FLAGS_MULTI
        | raw::REDISMODULE_CTX_FLAGS_LUA;
    flags as u32 & denied == 0
}

/// Lets the client wait on the key; 0 ms is for ever. The server keeps its arguments meanwhile.
pub fn wait<C: Waits>(
    ctx: &Context,
    key: &RedisString,
    timeout_ms: i64,
    mut memory: C::Memory,
) -> Result<(), Error> {
    let look = C::look(ctx, key, &mut memory)?;
    let mut keys = [key.inner];
    let waiting = Box::into_raw(Box::new(Waiting::<C> {
        memory,
        key: super::keys::string(key),
        client: null_mut(),
        timer: None,
        due: false,
    }));
    stats::count(&stats::BLOCKED, 1);
    // SAFETY: blocking is allowed; what is passed is given back to `free` exactly once, whatever ends the
    // waiting, and nobody else touches it before.
    unsafe {
        (*waiting).client = api!(RedisModule_BlockClientOnKeys(
            ctx.ctx,
            Some(on_ready::<C>),
            Some(on_timeout::<C>),
            Some(free::<C>),
            timeout_ms,
            keys.as_mut_ptr(),
            1,
            waiting.cast(),
        ));
        set_timer(ctx, &mut *waiting, look);
    }
    Ok(())
}

/// Writes to the stream wake a client; the timer wakes it for what comes with time alone. (To signal the
/// key instead would do, but 7.0.15 remembers a client that such a signal woke in vain after it is gone.)
fn set_timer<C: Waits>(ctx: &Context, waiting: &mut Waiting<C>, look: Look) {
    stop_timer(ctx, waiting);
    let look = match cluster::is_enabled(ctx) {
        true => look.sooner(Look::Later(LEFT_MS)),
        false => look,
    };
    let ms = match look {
        Look::Wake => 1,
        Look::Later(ms) => ms.max(1),
        Look::Never => return,
    };
    let data: *mut Waiting<C> = waiting;
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    // SAFETY: what is waiting stays where it is until `free`, which stops the timer.
    let timer = unsafe {
        api!(RedisModule_CreateTimer(
            ctx.ctx,
            ms,
            Some(on_time::<C>),
            data.cast()
        ))
    };
    waiting.timer = Some(timer);
}

fn stop_timer<C: Waits>(ctx: &Context, waiting: &mut Waiting<C>) {
    if let Some(timer) = waiting.timer.take() {
        // SAFETY: a timer of this module's; its data is not asked for.
        unsafe { api!(RedisModule_StopTimer(ctx.ctx, timer, null_mut())) };
    }
}

/// Wakes those who wait on a key that a command has changed in a way that the server does not announce.
pub fn signal(ctx: &Context, key: &RedisString) {
    // SAFETY: a live context and key name.
    unsafe { api!(RedisModule_SignalKeyAsReady(ctx.ctx, key.inner)) };
}

fn writes_are_paused() -> bool {
    // SAFETY: takes nothing.
    unsafe { api!(RedisModule_AvoidReplicaTraffic()) != 0 }
}

unsafe extern "C" fn on_time<C: Waits>(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    let ctx = Context::new(ctx);
    // SAFETY: set by `set_timer` for a client that still waits.
    let waiting = unsafe { &mut *data.cast::<Waiting<C>>() };
    waiting.timer = None;
    let look = match writes_are_paused() {
        true => Ok(Look::Later(PAUSED_MS)),
        false if cluster::has_left(&ctx, &waiting.key) => Ok(Look::Wake),
        false => entry::guard(&ctx, || C::look(&ctx, &waiting.key, &mut waiting.memory)),
    };
    match look {
        // An error is the client's to hear, too.
        Ok(Look::Wake) | Err(_) => {
            waiting.due = true;
            let client = waiting.client;
            OUTSIDE_COMMANDS.fetch_add(1, Relaxed);
            // SAFETY: a function that stays, and no data.
            unsafe {
                let on_woken = Some(on_woken as unsafe extern "C" fn(_));
                api!(RedisModule_EventLoopAddOneShot(on_woken, null_mut()))
            };
            // SAFETY: the client is blocked; this runs `on_timeout`, and `free` later on.
            unsafe { api!(RedisModule_UnblockClient(client, data)) };
        }
        Ok(look) => set_timer(&ctx, waiting, look),
    }
}

/// # Safety
/// The context must be one of a client that `wait` blocked.
unsafe fn waiting<'m, C: Waits>(ctx: *mut raw::RedisModuleCtx) -> &'m mut Waiting<C> {
    // SAFETY: as the caller promises; `free` runs after all other callbacks.
    unsafe { &mut *api!(RedisModule_GetBlockedClientPrivateData(ctx)).cast() }
}

/// Only native commands may run in here: 7.0.15 ends by an assertion if a callback that lets the client
/// wait on has opened an expired key or replicated by itself.
unsafe extern "C" fn on_ready<C: Waits>(
    raw_ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    let ctx = Context::new(raw_ctx);
    // SAFETY: called for a client that `wait` blocked.
    let waiting = unsafe { waiting::<C>(raw_ctx) };
    if writes_are_paused() {
        // A write from here would end the server. The reader asks again.
        C::give_up(Reply::new(&ctx), &waiting.memory);
        return raw::REDISMODULE_OK as c_int;
    }
    let woken = wake(&ctx, argv, argc, waiting);
    match woken {
        Ok(false) if OUTSIDE_COMMANDS.load(Relaxed) > 0 => {
            C::give_up(Reply::new(&ctx), &waiting.memory);
            raw::REDISMODULE_OK as c_int
        }
        Ok(false) => {
            // What is not due yet will be.
            let Waiting { key, memory, .. } = waiting;
            let look = entry::guard(&ctx, || C::look(&ctx, key, memory));
            set_timer(&ctx, waiting, look.unwrap_or(Look::Wake));
            raw::REDISMODULE_ERR as c_int
        }
        Ok(true) => raw::REDISMODULE_OK as c_int,
        Err(error) => {
            entry::refuse(&ctx, &error);
            raw::REDISMODULE_OK as c_int
        }
    }
}

fn wake<C: Waits>(
    ctx: &Context,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
    waiting: &mut Waiting<C>,
) -> Result<bool, Error> {
    entry::call::<C, bool>(ctx, argv, argc, |call| C::wake(call, &mut waiting.memory))
}

unsafe extern "C" fn on_timeout<C: Waits>(
    raw_ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    let ctx = Context::new(raw_ctx);
    // SAFETY: called for a client that `wait` blocked.
    let waiting = unsafe { waiting::<C>(raw_ctx) };
    if std::mem::replace(&mut waiting.due, false) {
        match wake(&ctx, argv, argc, waiting) {
            Ok(true) => return raw::REDISMODULE_OK as c_int,
            Ok(false) => {} // somebody else was served in between
            Err(error) => {
                entry::refuse(&ctx, &error);
                return raw::REDISMODULE_OK as c_int;
            }
        }
    }
    C::give_up(Reply::new(&ctx), &waiting.memory);
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn free<C: Waits>(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    stats::BLOCKED.fetch_sub(1, Relaxed);
    // SAFETY: boxed by `wait`, freed once.
    let mut waiting = unsafe { Box::from_raw(data.cast::<Waiting<C>>()) };
    stop_timer(&Context::new(ctx), &mut waiting);
}
