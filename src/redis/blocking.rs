//! Clients that wait for a key to be written, or for somebody to wake them.

use super::api::api;
use super::commands::Client;
use super::reply::Reply;
use super::{flags, guard};
use dirty_streams_core::error::INTERNAL;
use redis_module::{Context, RedisString, raw};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::rc::{Rc, Weak};

/// Waits on behalf of a client, and answers it. Each callback answers the client even if it fails.
///
/// One callback may run within another: 7.0 runs `on_timeout` as soon as a client is woken. So they share the waiter,
/// and none borrows it across a call that may run another.
pub trait Waiter: Sized + 'static {
    /// The key was written. Where the client waits on, 7.0.15 ends by an assertion if an expired key was opened or
    /// something was replicated.
    fn on_ready(ctx: &Context, waiter: &RefCell<Self>) -> Wait;

    /// The waiting ends, and the client must be answered. Only one that was woken (`is_woken`) may write: the effects
    /// of a write would stand before CLIENT UNBLOCK in the AOF.
    fn on_timeout(ctx: &Context, waiter: &RefCell<Self>, is_woken: bool);

    /// The client is answered or gone, and waits no longer.
    fn on_end(ctx: &Context, waiter: &RefCell<Self>);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The client is answered.
    Over,
    GoesOn,
}

/// A client that waits.
struct Blocked<W: Waiter> {
    waiter: RefCell<W>,
    client: Cell<*mut raw::RedisModuleBlockedClient>,
    is_woken: Cell<bool>,
    is_over: Cell<bool>,
    /// `on_end` has run.
    is_ended: Cell<bool>,
}

/// Wakes one client, and no other that waits on its key.
pub struct Handle<W: Waiter>(Weak<Blocked<W>>);

impl<W: Waiter> Clone for Handle<W> {
    fn clone(&self) -> Self {
        Handle(Weak::clone(&self.0))
    }
}

impl Client<'_> {
    /// Lets the client wait on a key; 0 ms is for ever. `None` if the client may not wait here, or does already.
    pub fn block<W: Waiter>(
        &self,
        key: &RedisString,
        timeout_ms: i64,
        waiter: W,
    ) -> Option<Handle<W>> {
        let ctx = self.ctx;
        if !flags::may_block(ctx) || self.is_blocked.replace(true) {
            return None;
        }
        let blocked = Rc::new(Blocked {
            waiter: RefCell::new(waiter),
            client: Cell::new(null_mut()),
            is_woken: Cell::new(false),
            is_over: Cell::new(false),
            is_ended: Cell::new(false),
        });
        let handle = Handle(Rc::downgrade(&blocked));
        let data: *const Blocked<W> = Rc::into_raw(blocked);
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
                data.cast_mut().cast(),
            ));
            api!(RedisModule_SetDisconnectCallback(
                client,
                Some(on_disconnect::<W>)
            ));
            client
        };
        if let Some(blocked) = handle.0.upgrade() {
            blocked.client.set(client);
        }
        Some(handle)
    }
}

impl<W: Waiter> Handle<W> {
    /// Asks about the waiter; `None` if the client does not wait any longer, or is woken already.
    pub fn ask<T>(&self, ask: impl FnOnce(&mut W) -> T) -> Option<T> {
        let blocked = self.0.upgrade()?;
        if blocked.is_over.get() || blocked.is_woken.get() {
            return None;
        }
        let mut waiter = blocked.waiter.try_borrow_mut().ok()?;
        Some(ask(&mut waiter))
    }

    /// Whether the client is answered, or gone.
    pub fn is_over(&self) -> bool {
        self.0.upgrade().is_none_or(|blocked| blocked.is_over.get())
    }

    /// Ends the waiting. On 7.0 `on_timeout` runs at once, on later servers before the server sleeps.
    pub fn wake(&self) {
        let Some(blocked) = self.0.upgrade() else {
            return;
        };
        if blocked.is_over.get() || blocked.client.get().is_null() || blocked.is_woken.replace(true)
        {
            return;
        }
        let data: *const Blocked<W> = Rc::as_ptr(&blocked);
        // SAFETY: the client is blocked, and is woken once; what is passed is what `free` gets.
        unsafe {
            api!(RedisModule_UnblockClient(
                blocked.client.get(),
                data.cast_mut().cast()
            ))
        };
    }
}

impl<W: Waiter> Blocked<W> {
    /// `free` may come much later. If this has failed, it tries again.
    fn end(&self, ctx: &Context) {
        self.is_over.set(true);
        if !self.is_ended.get() {
            let ended = guard::catch("a client that goes", || W::on_end(ctx, &self.waiter));
            self.is_ended.set(ended.is_some());
        }
    }
}

/// Tells a client that the module has failed.
fn fail(ctx: &Context) -> Wait {
    Reply::new(ctx).error(INTERNAL);
    Wait::Over
}

/// # Safety
/// The context must be one of a client that `block` has blocked.
unsafe fn blocked<'w, W: Waiter>(ctx: *mut raw::RedisModuleCtx) -> &'w Blocked<W> {
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
    if blocked.is_woken.get() {
        // It is answered by `on_timeout`.
        return raw::REDISMODULE_ERR as c_int;
    }
    let ctx = Context::new(ctx);
    let ready = guard::catch("a woken client", || W::on_ready(&ctx, &blocked.waiter));
    let wait = ready.unwrap_or_else(|| fail(&ctx));
    match wait {
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
    let answered = guard::catch("the end of a wait", || {
        W::on_timeout(&ctx, &blocked.waiter, blocked.is_woken.get());
    });
    if answered.is_none() {
        fail(&ctx);
    }
    blocked.end(&ctx);
    raw::REDISMODULE_OK as c_int
}

/// Nothing is to be read for a client that is gone.
unsafe extern "C" fn on_disconnect<W: Waiter>(
    ctx: *mut raw::RedisModuleCtx,
    _client: *mut raw::RedisModuleBlockedClient,
) {
    // SAFETY: called for a client that `block` has blocked.
    let blocked = unsafe { blocked::<W>(ctx) };
    blocked.end(&Context::new(ctx));
}

unsafe extern "C" fn free<W: Waiter>(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    // SAFETY: made by `block`, freed once.
    let blocked = unsafe { Rc::from_raw(data.cast::<Blocked<W>>().cast_const()) };
    blocked.end(&Context::new(ctx));
    let _ = guard::catch("a client that goes", || drop(blocked));
}
