//! Clients that wait for a stream to get an event.

use super::entry::{self, Command};
use super::reply::Reply;
use super::{api::api, stats};
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering::Relaxed;

/// A command whose clients may wait on its key.
pub trait Waits: Command {
    /// What is remembered of the call while the client waits.
    type Memory;

    /// Runs the command again when the key may have something; false: nothing yet, wait on.
    fn wake(call: &entry::Call, memory: &Self::Memory) -> Result<bool, crate::error::Error>;

    /// The reply when the time is up.
    fn give_up(reply: Reply, memory: &Self::Memory);
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
pub fn wait<C: Waits>(ctx: &Context, key: &RedisString, timeout_ms: i64, memory: C::Memory) {
    let mut keys = [key.inner];
    let memory: *mut c_void = Box::into_raw(Box::new(memory)).cast();
    stats::count(&stats::BLOCKED, 1);
    // SAFETY: blocking is allowed; the memory is given back to `free` exactly once, whatever ends the
    // waiting.
    unsafe {
        api!(RedisModule_BlockClientOnKeys(
            ctx.ctx,
            Some(on_ready::<C>),
            Some(on_timeout::<C>),
            Some(free::<C>),
            timeout_ms,
            keys.as_mut_ptr(),
            1,
            memory,
        ));
    }
}

/// # Safety
/// The context must be one of a client that `wait` blocked.
unsafe fn memory<'m, C: Waits>(ctx: *mut raw::RedisModuleCtx) -> &'m C::Memory {
    // SAFETY: as the caller promises; `free` runs after all other callbacks.
    unsafe { &*api!(RedisModule_GetBlockedClientPrivateData(ctx)).cast() }
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
    let memory = unsafe { memory::<C>(raw_ctx) };
    // SAFETY: takes nothing.
    if unsafe { api!(RedisModule_AvoidReplicaTraffic()) } != 0 {
        // Writes are paused, and one from here would end the server. The reader asks again.
        C::give_up(Reply::new(&ctx), memory);
        return raw::REDISMODULE_OK as c_int;
    }
    match entry::call::<C, bool>(&ctx, argv, argc, |call| C::wake(call, memory)) {
        Ok(false) => raw::REDISMODULE_ERR as c_int,
        Ok(true) => raw::REDISMODULE_OK as c_int,
        Err(error) => {
            entry::refuse(&ctx, &error);
            raw::REDISMODULE_OK as c_int
        }
    }
}

unsafe extern "C" fn on_timeout<C: Waits>(
    raw_ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    let ctx = Context::new(raw_ctx);
    // SAFETY: called for a client that `wait` blocked.
    C::give_up(Reply::new(&ctx), unsafe { memory::<C>(raw_ctx) });
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn free<C: Waits>(_ctx: *mut raw::RedisModuleCtx, memory: *mut c_void) {
    stats::BLOCKED.fetch_sub(1, Relaxed);
    // SAFETY: boxed by `wait`, freed once.
    drop(unsafe { Box::from_raw(memory.cast::<C::Memory>()) });
}
