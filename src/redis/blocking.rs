//! Clients that wait for a key to be written, or for a time.

use super::api::api;
use super::commands::Client;
use super::{flags, guard};
use redis_module::{Context, RedisString, raw};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Waits on behalf of a client, and answers it. Each callback answers the client even if it fails, and never
/// panics.
///
/// One callback may run within another: 7.0 runs `on_timeout` as soon as `on_time` has asked for it. So they
/// share the waiter, and none borrows it across a call that may run another.
pub trait Waiter: Sized + 'static {
    /// The key was written. Only native commands may run in here: 7.0.15 ends by an assertion if a callback that
    /// lets the client wait on has opened an expired key or replicated by itself.
    fn on_ready(ctx: &Context, blocked: &Blocked<Self>) -> Wait;

    /// The time is up, or `on_time` has ended the waiting: the client must be answered, unless `answer_ahead` has.
    fn on_timeout(ctx: &Context, blocked: &Blocked<Self>);

    /// The timer has run out. Whether the waiting ends.
    fn on_time(ctx: &Context, blocked: &Blocked<Self>) -> Wait;

    /// `on_time` has ended the waiting, and `on_timeout` is still to come if `is_answered` says no. On this context
    /// the client may be answered at once: the server keeps the reply until then.
    fn answer_ahead(ctx: &Context, blocked: &Blocked<Self>);

    /// Whether there is something for `answer_ahead` to say.
    fn has_answer(blocked: &Blocked<Self>) -> bool;
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The client is answered.
    Over,
    GoesOn,
}

/// A client that waits, as the server passes it to each callback.
pub struct Blocked<W> {
    pub waiter: RefCell<W>,
    client: Cell<*mut raw::RedisModuleBlockedClient>,
    timer: Cell<Option<raw::RedisModuleTimerID>>,
    /// Answered or gone: no timer runs any more.
    is_over: Cell<bool>,
}

impl Client<'_> {
    /// Lets the client wait on a key; 0 ms is for ever. The timer first runs after `timer_ms`. False if the client
    /// may not wait here, or does already.
    pub fn block<W: Waiter>(
        &self,
        key: &RedisString,
        timeout_ms: i64,
        timer_ms: Option<i64>,
        waiter: W,
    ) -> bool {
        let ctx = self.ctx;
        if !flags::may_block(ctx) || self.is_blocked.replace(true) {
            return false;
        }
        let blocked = Box::new(Blocked {
            waiter: RefCell::new(waiter),
            client: Cell::new(null_mut()),
            timer: Cell::new(None),
            is_over: Cell::new(false),
        });
        let data: *mut Blocked<W> = Box::into_raw(blocked);
        let mut keys = [key.inner];
        // SAFETY: a client that has sent a command and may wait; what is passed is given back to `free` exactly
        // once, whatever ends the waiting, and nobody drops it before.
        let client = unsafe {
            let client = api!(RedisModule_BlockClientOnKeys(
                ctx.ctx,
                Some(on_ready::<W>),
                Some(on_timeout::<W>),
                Some(free::<W>),
                timeout_ms,
                keys.as_mut_ptr(),
                1,
                data.cast(),
            ));
            api!(RedisModule_SetDisconnectCallback(
                client,
                Some(on_disconnect::<W>)
            ));
            client
        };
        // SAFETY: boxed above, and `free` has not run.
        let blocked = unsafe { &*data };
        blocked.client.set(client);
        if let Some(ms) = timer_ms {
            blocked.set_timer(ctx, ms);
        }
        true
    }
}

impl<W: Waiter> Blocked<W> {
    /// Lets `on_time` run after a time, instead of when it was to run before.
    pub fn set_timer(&self, ctx: &Context, ms: i64) {
        self.stop_timer(ctx);
        if self.is_over.get() {
            return;
        }
        let data: *const Self = self;
        // SAFETY: what is waiting stays where it is until `free`, which stops the timer.
        let timer = unsafe {
            api!(RedisModule_CreateTimer(
                ctx.ctx,
                ms,
                Some(on_time::<W>),
                data.cast_mut().cast()
            ))
        };
        self.timer.set(Some(timer));
    }

    pub fn stop_timer(&self, ctx: &Context) {
        if let Some(timer) = self.timer.take() {
            // SAFETY: a timer of this module's that has not run; its data is not asked for.
            unsafe { api!(RedisModule_StopTimer(ctx.ctx, timer, null_mut())) };
        }
    }

    /// `free` may come much later.
    fn end(&self, ctx: &Context) {
        self.is_over.set(true);
        self.stop_timer(ctx);
    }
}

/// # Safety
/// The context must be one of a client that `block` has blocked.
unsafe fn blocked<'w, W>(ctx: *mut raw::RedisModuleCtx) -> &'w Blocked<W> {
    // SAFETY: as the caller promises; `free` runs after all other callbacks.
    unsafe { &*api!(RedisModule_GetBlockedClientPrivateData(ctx)).cast() }
}

unsafe extern "C" fn on_ready<W: Waiter>(
    ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    // SAFETY: called for a client that `block` has blocked.
    let blocked = unsafe { blocked::<W>(ctx) };
    let ctx = Context::new(ctx);
    match W::on_ready(&ctx, blocked) {
        Wait::Over => {
            blocked.end(&ctx);
            raw::REDISMODULE_OK as c_int
        }
        Wait::GoesOn => raw::REDISMODULE_ERR as c_int,
    }
}

unsafe extern "C" fn on_timeout<W: Waiter>(
    ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    // SAFETY: called for a client that `block` has blocked.
    let blocked = unsafe { blocked::<W>(ctx) };
    let ctx = Context::new(ctx);
    W::on_timeout(&ctx, blocked);
    blocked.end(&ctx);
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn on_time<W: Waiter>(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    // SAFETY: set by `set_timer` for a client that still waits: `free` stops the timer.
    let blocked = unsafe { &*data.cast::<Blocked<W>>() };
    blocked.timer.set(None);
    let answer = W::on_time(&Context::new(ctx), blocked);
    if answer == Wait::GoesOn || blocked.is_over.get() {
        return;
    }
    // SAFETY: the client is blocked; this runs `on_timeout`, at once on 7.0 and before it sleeps on later
    // servers, and `free` after that.
    unsafe { api!(RedisModule_UnblockClient(blocked.client.get(), data)) };
    if W::has_answer(blocked) {
        // SAFETY: the client is blocked, and on this thread; the server appends to its replies what was replied
        // on such a context, which is freed right after its last use.
        unsafe {
            let ctx = api!(RedisModule_GetThreadSafeContext(blocked.client.get()));
            W::answer_ahead(&Context::new(ctx), blocked);
            api!(RedisModule_FreeThreadSafeContext(ctx));
        }
    }
}

/// Nothing is to be read for a client that is gone.
unsafe extern "C" fn on_disconnect<W: Waiter>(
    ctx: *mut raw::RedisModuleCtx,
    _client: *mut raw::RedisModuleBlockedClient,
) {
    // SAFETY: called for a client that `block` has blocked.
    let blocked = unsafe { blocked::<W>(ctx) };
    let _ = guard::catch("a client that hangs up", || blocked.end(&Context::new(ctx)));
}

unsafe extern "C" fn free<W: Waiter>(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    // SAFETY: boxed by `block`, freed once.
    let blocked = unsafe { Box::from_raw(data.cast::<Blocked<W>>()) };
    blocked.end(&Context::new(ctx)); // the timer must not outlive its client
    let _ = guard::catch("a client that goes", || drop(blocked));
}
