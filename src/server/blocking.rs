//! Clients that wait for a stream to get an event, or for the time at which an old one is due.

use super::command::{Call, Caller, Command};
use super::dispatch;
use super::rights::Rights;
use super::stats;
use crate::redis::acl::User;
use crate::redis::blocking::{Blocked, Wait, Waiter};
use crate::redis::event_loop::{self, Task};
use crate::redis::flags::{self, writes_are_paused};
use crate::redis::reply::Reply;
use crate::redis::{guard, keys};
use crate::store::cluster;
use dirty_streams_core::error::Error;
use redis_module::{Context, RedisString};
use std::cell::RefMut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A command whose clients may wait on its key.
pub trait Waits: Command + 'static {
    /// The state that is kept while the client waits.
    type Memory;
    /// The result that it waits for.
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
    /// Nothing before this many ms have passed.
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

/// A client that waits. No callback borrows it across a call that may run another callback: the second borrow would
/// be refused.
struct Waiting<C: Waits> {
    memory: C::Memory,
    key: RedisString,
    /// The arguments behind the key.
    args: Vec<Vec<u8>>,
    /// The user whose rights are checked when there is something to read.
    user: Option<Vec<u8>>,
    /// The result that its timer has found.
    found: Option<Result<C::Found, Error>>,
    /// The server keeps the reply until the waiting ends.
    is_answered: bool,
    /// Its timer could not look, or may not answer: that is for the client itself.
    is_due: bool,
    /// Its key was written while writes were paused, so nobody has looked yet what there is.
    is_owed: bool,
    #[expect(dead_code, reason = "counts as long as it lives")]
    counted: Counted,
}

/// One of the clients that INFO says are blocked.
struct Counted;

impl Counted {
    fn new() -> Self {
        stats::count(&stats::BLOCKED, 1);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        stats::BLOCKED.fetch_sub(1, Relaxed);
    }
}

/// The delay before a reader that may have something to write looks again while writes are paused, for a failover or
/// by CLIENT PAUSE.
const PAUSED_MS: u64 = 100;

/// The longest delay between two looks.
const LONGEST_MS: u64 = 86_400_000;

/// The minimum delay before a look is repeated that has found nothing, so that one reader cannot monopolise the
/// server.
const PATIENCE_MS: u64 = 10;

/// In a cluster a stream may leave for another node, and events with it, long before the server sends
/// its readers after it, which happens when the whole slot has been moved. So readers look this often.
const LEFT_MS: u64 = 1000;

/// Looks by timers whose writes may still be waking others. They do so outside of any command, and
/// then 7.0.15 remembers a client that was woken and found nothing, even when it is gone: so nobody waits on.
static OUTSIDE_COMMANDS: AtomicUsize = AtomicUsize::new(0);

/// Runs after the server has served the clients that were woken, which it does before it sleeps.
struct Woken;

impl Task for Woken {
    const ENTRY: &'static str = "the end of a round";

    fn run() {
        OUTSIDE_COMMANDS.fetch_sub(1, Relaxed);
    }
}

/// Lets the client wait on the call's key; 0 ms is for ever.
pub fn wait<C: Waits>(call: &Call, timeout_ms: i64, mut memory: C::Memory) -> Result<(), Error> {
    let ctx = call.ctx;
    let Caller::Client(client) = &call.caller else {
        return Err(Error::Internal); // it waits already
    };
    let look = C::look(ctx, &call.key, &mut memory)?;
    let waiting = Waiting::<C> {
        memory,
        key: keys::string(&call.key),
        args: call.args.iter().map(|arg| arg.to_vec()).collect(),
        user: User::current(ctx).map(|user| user.name().to_vec()),
        found: None,
        is_answered: false,
        is_due: false,
        is_owed: false,
        counted: Counted::new(),
    };
    match client.block(&call.key, timeout_ms, timer_ms(ctx, look), waiting) {
        true => Ok(()),
        false => Err(Error::Internal),
    }
}

/// When the timer is to run.
fn timer_ms(ctx: &Context, look: Look) -> Option<i64> {
    let look = match flags::is_in_cluster(ctx) {
        true => look.sooner(Look::Later(LEFT_MS)),
        false => look,
    };
    let ms = match look {
        Look::Wake => 1,
        Look::Later(ms) => ms.max(1),
        Look::Never => return None,
    };
    // The server counts in µs, and would take a longer time for one that is over.
    i64::try_from(ms.min(LONGEST_MS)).ok()
}

/// Writes to the stream wake a client; the timer wakes it for what comes with time alone. (To signal the
/// key instead would do, but 7.0.15 remembers a client that such a signal woke for nothing after it is gone.)
fn set_timer<C: Waits>(ctx: &Context, blocked: &Blocked<Waiting<C>>, look: Look) {
    match timer_ms(ctx, look) {
        Some(ms) => blocked.set_timer(ctx, ms),
        None => blocked.stop_timer(ctx),
    }
}

fn borrow<C: Waits>(blocked: &Blocked<Waiting<C>>) -> Result<RefMut<'_, Waiting<C>>, Error> {
    blocked.waiter.try_borrow_mut().map_err(|_| Error::Internal)
}

/// Gives the client an answer even if `run` fails or panics.
fn answer(ctx: &Context, entry: &'static str, run: impl FnOnce() -> Result<Wait, Error>) -> Wait {
    guard::refuse(entry, run).unwrap_or_else(|error| {
        dispatch::refuse(ctx, &error);
        Wait::Over
    })
}

impl<C: Waits> Waiter for Waiting<C> {
    fn on_ready(ctx: &Context, blocked: &Blocked<Self>) -> Wait {
        answer(ctx, "a woken client", || {
            let mut waiting = borrow(blocked)?;
            Ok(waiting.serve(ctx, blocked))
        })
    }

    fn on_timeout(ctx: &Context, blocked: &Blocked<Self>) {
        answer(ctx, "the end of a wait", || {
            let mut waiting = borrow(blocked)?;
            if !waiting.is_answered {
                let found = match std::mem::take(&mut waiting.is_due) {
                    // Nobody waits on from here, and a write would end the server. The reader asks again.
                    true if writes_are_paused() => None,
                    true => waiting.wake(ctx).transpose(),
                    false => waiting.found.take(),
                };
                waiting.reply(ctx, found);
            }
            Ok(Wait::Over)
        });
    }

    fn on_time(ctx: &Context, blocked: &Blocked<Self>) -> Wait {
        let answer = guard::refuse(
            "a timer",
            || Ok(borrow(blocked)?.look_or_wake(ctx, blocked)),
        );
        answer.unwrap_or(Wait::GoesOn)
    }

    /// On servers that run `on_timeout` later: what was found must not outlive the timer's context. (7.0 would
    /// drop such a reply if the time is up before it comes to it.)
    fn answer_ahead(ctx: &Context, blocked: &Blocked<Self>) {
        let _ = guard::refuse("a timer", || {
            let mut waiting = borrow(blocked)?;
            let found = waiting.found.take();
            waiting.reply(ctx, found);
            waiting.is_answered = true;
            Ok(())
        });
    }

    fn has_answer(blocked: &Blocked<Self>) -> bool {
        borrow(blocked).is_ok_and(|waiting| waiting.found.is_some())
    }
}

impl<C: Waits> Waiting<C> {
    /// Looks, and wakes if there may be something.
    fn look_or_wake(&mut self, ctx: &Context, blocked: &Blocked<Self>) -> Wait {
        if writes_are_paused() {
            set_timer(ctx, blocked, Look::Later(PAUSED_MS));
            return Wait::GoesOn;
        }
        // A reader whose stream has gone to another node asks for it, and is redirected.
        let is_owed = std::mem::take(&mut self.is_owed);
        let look = match is_owed || cluster::has_left(ctx, &self.key) {
            true => Ok(Look::Wake),
            false => self.look(ctx),
        };
        if let Ok(look @ (Look::Later(_) | Look::Never)) = look {
            set_timer(ctx, blocked, look);
            return Wait::GoesOn;
        }
        // An error is the client's to hear, too.
        OUTSIDE_COMMANDS.fetch_add(1, Relaxed);
        event_loop::once::<Woken>();
        let found = self.wake(ctx);
        if let Ok(None) = found {
            let look = match self.look(ctx) {
                Ok(Look::Never) => Look::Never,
                Ok(Look::Later(ms)) => Look::Later(ms.max(PATIENCE_MS)),
                Ok(Look::Wake) | Err(_) => Look::Later(PATIENCE_MS),
            };
            set_timer(ctx, blocked, look);
            return Wait::GoesOn;
        }
        // A node that imports a slot serves only clients that say ASKING, which a timer cannot. And ACL LOG names
        // the client that was refused, which only its own context knows.
        self.is_due = matches!(
            found,
            Err(Error::TryAgain | Error::MayNotWrite(_) | Error::MayNoLongerRead(_))
        );
        if !self.is_due {
            self.found = found.transpose();
        }
        Wait::Over
    }

    fn serve(&mut self, ctx: &Context, blocked: &Blocked<Self>) -> Wait {
        let may_wait_on = OUTSIDE_COMMANDS.load(Relaxed) == 0;
        if writes_are_paused() {
            // A write from here would end the server, so the timer looks when they go on.
            if may_wait_on {
                self.is_owed = true;
                set_timer(ctx, blocked, Look::Later(PAUSED_MS));
                return Wait::GoesOn;
            }
            // The reader asks again.
            self.reply(ctx, None);
            return Wait::Over;
        }
        let found = self.wake(ctx).transpose();
        if found.is_none() && may_wait_on {
            // Entries that are not due yet will be.
            let look = self.look(ctx);
            set_timer(ctx, blocked, look.unwrap_or(Look::Wake));
            return Wait::GoesOn;
        }
        self.reply(ctx, found);
        Wait::Over
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

    /// Ends the waiting.
    fn reply(&mut self, ctx: &Context, found: Option<Result<C::Found, Error>>) {
        match found {
            Some(Ok(found)) => C::reply(Reply::new(ctx), &self.memory, found),
            Some(Err(error)) => dispatch::refuse(ctx, &error),
            None => C::give_up(Reply::new(ctx), &self.memory),
        }
    }
}
