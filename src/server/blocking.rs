//! Clients that wait for a stream to get an event, or for the time at which an old one is due.

use super::command::{Call, Caller, Command};
use super::dispatch;
use super::rights::{self, Rights};
use super::stats;
use crate::redis::reply::Reply;
use crate::redis::{api::api, guard, keys};
use crate::store::cluster;
use dirty_streams_core::error::Error;
use redis_module::{raw, Context, RedisString};
use std::cell::{RefCell, RefMut};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A command whose clients may wait on its key.
pub trait Waits: Command {
    /// What is remembered of the call while the client waits.
    type Memory;
    /// What it waits for.
    type Found;

    /// Runs the command again when the key may have something; `None`: nothing yet, wait on.
    fn wake(call: &Call, memory: &mut Self::Memory) -> Result<Option<Self::Found>, Error>;

    /// Looks whether waking may find something that no write to the key announces, and when to look
    /// again.
    fn look(ctx: &Context, key: &RedisString, memory: &mut Self::Memory) -> Result<Look, Error>;

    fn reply(reply: Reply, memory: &Self::Memory, found: Self::Found);

    /// The reply when the time is up.
    fn give_up(reply: Reply, memory: &Self::Memory);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// There may be something.
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

/// A client that waits, as the server passes it to each callback. One callback may run within another: 7.0
/// runs `on_timeout` within UnblockClient. So nobody borrows it across a call that may run a callback, and
/// whoever did would be refused the second borrow, instead of two of them changing it at once.
type Shared<C> = RefCell<Waiting<C>>;

struct Waiting<C: Waits> {
    /// Where the server has it, a `Shared`.
    data: *mut c_void,
    memory: C::Memory,
    key: RedisString,
    /// The arguments behind the key.
    args: Vec<Vec<u8>>,
    /// Whose rights are looked at when there is something.
    user: Option<RedisString>,
    client: *mut raw::RedisModuleBlockedClient,
    timer: Option<raw::RedisModuleTimerID>,
    /// What its timer has found for it.
    found: Option<Result<C::Found, Error>>,
    /// The server keeps the reply until the waiting ends.
    is_answered: bool,
    /// Its timer could not look, or may not answer: that is for the client itself.
    is_due: bool,
    /// Its key was written while writes were paused, so nobody has looked yet what there is.
    is_owed: bool,
}

/// Writes are paused, for a failover or by CLIENT PAUSE: whoever may have something to write looks again this
/// much later.
const PAUSED_MS: u64 = 100;

/// Whoever has longer to wait looks at least this often.
const LONGEST_MS: u64 = 86_400_000;

/// Who has looked in vain looks again this much later, at least: others want to be served, too.
const PATIENCE_MS: u64 = 10;

/// In a cluster a stream may leave for another node, and events with it, long before the server sends
/// those who wait there after it: that is when the whole slot has been moved. So they look this often.
const LEFT_MS: u64 = 1000;

/// Looks by timers whose writes may still be waking others. They do so outside of any command, and
/// then 7.0.15 remembers a client that was woken in vain, even when it is gone: so nobody is.
static OUTSIDE_COMMANDS: AtomicUsize = AtomicUsize::new(0);

/// The server has come round to those who were woken: it does so before it sleeps, this is after.
unsafe extern "C" fn on_woken(_data: *mut c_void) {
    OUTSIDE_COMMANDS.fetch_sub(1, Relaxed); // nothing here can panic
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

/// Lets the client wait on the call's key; 0 ms is for ever.
pub fn wait<C: Waits>(call: &Call, timeout_ms: i64, mut memory: C::Memory) -> Result<(), Error> {
    let ctx = call.ctx;
    let look = C::look(ctx, &call.key, &mut memory)?;
    let mut keys = [call.key.inner];
    let waiting = Box::new(Shared::<C>::new(Waiting {
        data: null_mut(),
        memory,
        key: keys::string(&call.key),
        args: call.args.iter().map(|arg| arg.to_vec()).collect(),
        user: rights::user_name(ctx),
        client: null_mut(),
        timer: None,
        found: None,
        is_answered: false,
        is_due: false,
        is_owed: false,
    }));
    stats::count(&stats::BLOCKED, 1);
    let data: *mut c_void = Box::into_raw(waiting).cast();
    // SAFETY: blocking is allowed; what is passed is given back to `free` exactly once, whatever ends the
    // waiting, and nobody drops it before.
    let client = unsafe {
        let client = api!(RedisModule_BlockClientOnKeys(
            ctx.ctx,
            Some(on_ready::<C>),
            Some(on_timeout::<C>),
            Some(free::<C>),
            timeout_ms,
            keys.as_mut_ptr(),
            1,
            data,
        ));
        api!(RedisModule_SetDisconnectCallback(
            client,
            Some(on_disconnect::<C>)
        ));
        client
    };
    // SAFETY: boxed above, and `free` has not run.
    let mut waiting = borrow(unsafe { shared::<C>(data) })?;
    (waiting.data, waiting.client) = (data, client);
    set_timer(ctx, &mut waiting, look);
    Ok(())
}

/// # Safety
/// The data must be what `wait` has boxed for such a client, and `free` not have run for it.
unsafe fn shared<'w, C: Waits>(data: *mut c_void) -> &'w Shared<C> {
    // SAFETY: as the caller promises.
    unsafe { &*data.cast() }
}

fn borrow<C: Waits>(waiting: &Shared<C>) -> Result<RefMut<'_, Waiting<C>>, Error> {
    waiting.try_borrow_mut().map_err(|_| Error::Internal)
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
    // The server counts in µs, and would take a longer time for one that is over.
    let ms = i64::try_from(ms.min(LONGEST_MS)).unwrap_or(i64::MAX);
    // SAFETY: what is waiting stays where it is until `free`, which stops the timer.
    let timer = unsafe {
        api!(RedisModule_CreateTimer(
            ctx.ctx,
            ms,
            Some(on_time::<C>),
            waiting.data
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
    // SAFETY: set by `set_timer` for a client that still waits: `free` stops the timer.
    let waiting = unsafe { shared::<C>(data) };
    let _ = guard::refuse("a timer", || look_or_wake(&ctx, waiting, data));
}

fn look_or_wake<C: Waits>(
    ctx: &Context,
    waiting: &Shared<C>,
    data: *mut c_void,
) -> Result<(), Error> {
    let is_over = borrow(waiting)?.is_over(ctx);
    let Some(client) = is_over else {
        return Ok(());
    };
    // SAFETY: the client is blocked; this runs `on_timeout`, at once on 7.0 and before it sleeps on later
    // servers, and `free` after that.
    unsafe { api!(RedisModule_UnblockClient(client, data)) };
    let mut waiting = borrow(waiting)?;
    if let Some(found) = waiting.found.take() {
        waiting.reply_ahead(found);
    }
    Ok(())
}

impl<C: Waits> Waiting<C> {
    /// Looks, and wakes if there may be something: whom to unblock if there is.
    fn is_over(&mut self, ctx: &Context) -> Option<*mut raw::RedisModuleBlockedClient> {
        self.timer = None;
        if writes_are_paused() {
            set_timer(ctx, self, Look::Later(PAUSED_MS));
            return None;
        }
        // Who waits for a stream that is gone asks for it, and is told.
        let is_owed = std::mem::take(&mut self.is_owed);
        let look = match is_owed || cluster::has_left(ctx, &self.key) {
            true => Ok(Look::Wake),
            false => self.look(ctx),
        };
        if let Ok(look @ (Look::Later(_) | Look::Never)) = look {
            set_timer(ctx, self, look);
            return None;
        }
        // An error is the client's to hear, too.
        OUTSIDE_COMMANDS.fetch_add(1, Relaxed);
        // SAFETY: a function that stays, and no data.
        unsafe {
            let on_woken = Some(on_woken as unsafe extern "C" fn(_));
            api!(RedisModule_EventLoopAddOneShot(on_woken, null_mut()))
        };
        let found = self.wake(ctx);
        if let Ok(None) = found {
            let look = match self.look(ctx) {
                Ok(Look::Never) => Look::Never,
                Ok(Look::Later(ms)) => Look::Later(ms.max(PATIENCE_MS)),
                Ok(Look::Wake) | Err(_) => Look::Later(PATIENCE_MS),
            };
            set_timer(ctx, self, look);
            return None;
        }
        // A node that a slot is being moved to serves who says ASKING, which a timer cannot.
        // And ACL LOG tells of the client that was refused, which only its own context knows.
        self.is_due = matches!(
            found,
            Err(Error::TryAgain | Error::MayNotWrite(_) | Error::MayNoLongerRead(_))
        );
        if !self.is_due {
            self.found = found.transpose();
        }
        Some(self.client)
    }

    fn look(&mut self, ctx: &Context) -> Result<Look, Error> {
        guard::refuse("a look", || C::look(ctx, &self.key, &mut self.memory))
    }

    fn wake(&mut self, ctx: &Context) -> Result<Option<C::Found>, Error> {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let call = Call {
            ctx,
            key: keys::string(&self.key),
            args: &args,
            caller: Caller::Waiting(self.user.as_deref()),
        };
        guard::refuse("a wake-up", || {
            Rights::of(&call).check_still::<C>(&call)?;
            C::wake(&call, &mut self.memory)
        })
    }

    /// Replies from the timer, on servers that run `on_timeout` later: what was found must not outlive the
    /// timer's context. (7.0 would drop such a reply if the time is up before it comes to it.)
    fn reply_ahead(&mut self, found: Result<C::Found, Error>) {
        // SAFETY: the client is blocked, and on this thread; the server appends to its replies what was
        // replied on such a context, which is freed right after its last use.
        unsafe {
            let raw_ctx = api!(RedisModule_GetThreadSafeContext(self.client));
            self.reply(&Context::new(raw_ctx), Some(found));
            api!(RedisModule_FreeThreadSafeContext(raw_ctx));
        }
        self.is_answered = true;
    }

    /// Ends the waiting. `free` may come after the timer, so that is stopped here.
    fn reply(&mut self, ctx: &Context, found: Option<Result<C::Found, Error>>) {
        stop_timer(ctx, self);
        match found {
            Some(Ok(found)) => C::reply(Reply::new(ctx), &self.memory, found),
            Some(Err(error)) => dispatch::refuse(ctx, &error),
            None => C::give_up(Reply::new(ctx), &self.memory),
        }
    }
}

/// # Safety
/// The context must be one of a client that `wait` blocked.
unsafe fn waiting<'w, C: Waits>(ctx: *mut raw::RedisModuleCtx) -> &'w Shared<C> {
    // SAFETY: as the caller promises; `free` runs after all other callbacks.
    unsafe { shared(api!(RedisModule_GetBlockedClientPrivateData(ctx))) }
}

/// Only native commands may run in here: 7.0.15 ends by an assertion if a callback that lets the client
/// wait on has opened an expired key or replicated by itself.
unsafe extern "C" fn on_ready<C: Waits>(
    ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    answer(ctx, "a woken client", |ctx| {
        // SAFETY: called for a client that `wait` blocked.
        let waiting = unsafe { waiting::<C>(ctx.ctx) };
        Ok(serve(ctx, &mut *borrow(waiting)?))
    })
}

/// Whoever waits gets an answer, come what may.
fn answer(
    ctx: *mut raw::RedisModuleCtx,
    entry: &'static str,
    run: impl FnOnce(&Context) -> Result<c_int, Error>,
) -> c_int {
    let ctx = Context::new(ctx);
    guard::refuse(entry, || run(&ctx)).unwrap_or_else(|error| {
        dispatch::refuse(&ctx, &error);
        raw::REDISMODULE_OK as c_int
    })
}

fn serve<C: Waits>(ctx: &Context, waiting: &mut Waiting<C>) -> c_int {
    let may_wait_on = OUTSIDE_COMMANDS.load(Relaxed) == 0;
    if writes_are_paused() {
        // A write from here would end the server, so the timer looks when they go on.
        if may_wait_on {
            waiting.is_owed = true;
            set_timer(ctx, waiting, Look::Later(PAUSED_MS));
            return raw::REDISMODULE_ERR as c_int;
        }
        // The reader asks again.
        waiting.reply(ctx, None);
        return raw::REDISMODULE_OK as c_int;
    }
    let found = waiting.wake(ctx).transpose();
    if found.is_none() && may_wait_on {
        // What is not due yet will be.
        let look = waiting.look(ctx);
        set_timer(ctx, waiting, look.unwrap_or(Look::Wake));
        return raw::REDISMODULE_ERR as c_int;
    }
    waiting.reply(ctx, found);
    raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn on_timeout<C: Waits>(
    ctx: *mut raw::RedisModuleCtx,
    _argv: *mut *mut raw::RedisModuleString,
    _argc: c_int,
) -> c_int {
    answer(ctx, "the end of a wait", |ctx| {
        // SAFETY: called for a client that `wait` blocked.
        let mut waiting = borrow(unsafe { waiting::<C>(ctx.ctx) })?;
        if !waiting.is_answered {
            let found = match std::mem::take(&mut waiting.is_due) {
                // Nobody waits on from here, and a write would end the server. The reader asks again.
                true if writes_are_paused() => None,
                true => waiting.wake(ctx).transpose(),
                false => waiting.found.take(),
            };
            waiting.reply(ctx, found);
        }
        Ok(raw::REDISMODULE_OK as c_int)
    })
}

/// Nothing is to be read for a client that is gone.
unsafe extern "C" fn on_disconnect<C: Waits>(
    ctx: *mut raw::RedisModuleCtx,
    _client: *mut raw::RedisModuleBlockedClient,
) {
    // SAFETY: called for a client that `wait` blocked.
    let waiting = unsafe { waiting::<C>(ctx) };
    let _ = guard::refuse("a client that hangs up", || {
        stop_timer(&Context::new(ctx), &mut *borrow(waiting)?);
        Ok(())
    });
}

unsafe extern "C" fn free<C: Waits>(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
    stats::BLOCKED.fetch_sub(1, Relaxed);
    let ctx = Context::new(ctx);
    // SAFETY: boxed by `wait`, freed once.
    let mut waiting = unsafe { Box::from_raw(data.cast::<Shared<C>>()) };
    stop_timer(&ctx, waiting.get_mut()); // whatever comes, it must not outlive its client
    let _ = guard::catch("a client that goes", || drop(waiting));
}
