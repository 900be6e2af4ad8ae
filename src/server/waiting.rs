//! Clients that wait for a stream to get an event, or for the time at which an old one is due.
//!
//! A write to the stream wakes all that wait on it, first come, first served. What comes with time alone, or by another
//! reader's doing, is looked for by one timer for all: it asks the clients that wait for one reader in their order, and
//! wakes the first that would get something, until none would.

use super::command::{Call, Caller};
use super::dispatch;
use super::stats;
use crate::redis::acl::User;
use crate::redis::blocking::{Handle, Wait, Waiter};
use crate::redis::event_loop::{self, Task};
use crate::redis::flags::{self, writes_are_paused};
use crate::redis::reply::Reply;
use crate::redis::timer::{Alarm, Timer};
use crate::redis::{clock, guard, keys, server_events};
use crate::store::{cluster, readers};
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::{Prospect, Wake};
use redis_module::{Context, RedisString};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_int};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A call that found nothing and waits.
pub trait Await {
    /// Whether asking again would find something, and else when it is worth a look. Writes nothing.
    fn prospect(&mut self, call: &Call) -> Result<Prospect, Error>;

    /// Asks again, and replies, even if there is nothing.
    fn serve(&mut self, call: &Call) -> Result<(), Error>;

    /// The reply when the time is up.
    fn give_up(&mut self, reply: Reply);

    /// Its reader has other settings now.
    fn reset(&mut self);

    /// Whether it takes what it finds from the others that wait for its reader.
    fn takes(&self) -> bool;

    /// The consumer that calls, if it is one of a group.
    fn consumer(&self) -> Option<&[u8]>;

    /// It waits no longer. Which others of its reader may find something now.
    fn end(&mut self) -> Wake;
}

/// The calls that a look of one of them tells something about: those of one reader. DIRTY.READ has no reader, and each
/// call is alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    database: c_int,
    stream: Vec<u8>,
    reader: Option<Vec<u8>>,
    alone: u64,
}

/// A client that waits.
struct Waiting {
    awaited: Box<dyn Await>,
    command: &'static CStr,
    key: RedisString,
    /// The arguments behind the key, as far as rights depend on them.
    args: Vec<Vec<u8>>,
    /// The user whose rights are checked when there is something to read.
    user: Option<Vec<u8>>,
    subject: Subject,
    number: u64,
}

/// The clients that wait for one reader, in their order.
#[derive(Default)]
struct Queue {
    clients: BTreeMap<u64, Handle<Waiting>>,
    /// When one of them may find something.
    due_ms: Option<u64>,
}

#[derive(Default)]
struct Registry {
    queues: BTreeMap<Subject, Queue>,
    by_due: BTreeSet<(u64, Subject)>,
    next: u64,
    timer: Option<(u64, Timer)>,
}

thread_local! {
    /// Of the main thread, on which all commands and callbacks run.
    static REGISTRY: RefCell<Registry> = RefCell::default();
}

/// The delay before a reader that may have something to write looks again while writes are paused, for a failover or
/// by CLIENT PAUSE.
const PAUSED_MS: u64 = 100;

/// In a cluster a stream may leave for another node, and events with it, long before the server sends
/// its readers after it, which happens when the whole slot has been moved. So readers look this often.
const LEFT_MS: u64 = 1000;

/// The delay after which the next of several clients of one reader is asked: the first is served by then.
const NEXT_MS: u64 = 1;

/// Clients that were woken outside of any command, whose writes may still be waking others. 7.0.15 remembers a client
/// that is woken then and finds nothing, even when it is gone: so nobody waits on.
static OUTSIDE_COMMANDS: AtomicUsize = AtomicUsize::new(0);

/// Runs after the server has served the clients that were woken, which it does before it sleeps.
struct Woken;

impl Task for Woken {
    const ENTRY: &'static str = "the end of a round";

    fn run() {
        OUTSIDE_COMMANDS.fetch_sub(1, Relaxed);
    }
}

fn registry<T>(use_it: impl FnOnce(&mut Registry) -> T) -> Option<T> {
    REGISTRY.with(|registry| {
        let mut registry = registry.try_borrow_mut().ok()?;
        Some(use_it(&mut registry))
    })
}

pub fn register(ctx: &Context) -> bool {
    server_events::listen::<Left>(ctx, server_events::Event::Cron)
}

/// Whoever waits for a reader that is gone is told, whatever took it.
struct Left;

impl server_events::EventListener for Left {
    const ENTRY: &'static str = "a look at readers that are gone";

    fn on_event(ctx: &Context) {
        if !readers::have_left() || stats::BLOCKED.load(Relaxed) == 0 {
            return;
        }
        let now_ms = clock::now_ms();
        registry(|registry| {
            let subjects: Vec<Subject> = registry.queues.keys().cloned().collect();
            for subject in subjects.iter().filter(|subject| subject.reader.is_some()) {
                registry.sooner(subject, Some(now_ms));
            }
            registry.arm(ctx);
        });
    }
}

/// Lets the client wait on the call's key, for a reader if it has one; 0 ms is for ever.
pub fn wait(
    call: &Call,
    reader: Option<&[u8]>,
    timeout_ms: i64,
    due_ms: Option<u64>,
    awaited: Box<dyn Await>,
) -> Result<(), Error> {
    let ctx = call.ctx;
    let Caller::Client(client) = &call.caller else {
        return Err(Error::Internal); // it waits already
    };
    let number = registry(|registry| {
        registry.next = registry.next.wrapping_add(1);
        registry.next
    });
    let number = number.ok_or(Error::Internal)?;
    let subject = Subject {
        database: keys::current_database(ctx),
        stream: call.key.to_vec(),
        reader: reader.map(<[u8]>::to_vec),
        alone: if reader.is_none() { number } else { 0 },
    };
    let waiting = Waiting {
        awaited,
        command: call.command,
        key: keys::string(&call.key),
        args: call.args.iter().take(4).map(|arg| arg.to_vec()).collect(),
        user: User::current(ctx).map(|user| user.name().to_vec()),
        subject: subject.clone(),
        number,
    };
    let Some(handle) = client.block(&call.key, timeout_ms, waiting) else {
        return Err(Error::Internal);
    };
    stats::count(&stats::BLOCKED, 1);
    let due_ms = due_in_cluster(ctx, due_ms);
    registry(|registry| {
        let queue = registry.queues.entry(subject.clone()).or_default();
        queue.clients.insert(number, handle);
        registry.sooner(&subject, due_ms);
        registry.arm(ctx);
    });
    Ok(())
}

fn due_in_cluster(ctx: &Context, due_ms: Option<u64>) -> Option<u64> {
    match flags::is_in_cluster(ctx) {
        true => {
            let look_ms = clock::now_ms().saturating_add(LEFT_MS);
            Some(due_ms.map_or(look_ms, |due_ms| due_ms.min(look_ms)))
        }
        false => due_ms,
    }
}

/// Others may find something, after a command on a reader of this stream: at once, or when something comes due.
pub fn wake(
    ctx: &Context,
    stream: &RedisString,
    reader: &[u8],
    wake: Wake,
    next_due_ms: Option<u64>,
) {
    if stats::BLOCKED.load(Relaxed) == 0 {
        return;
    }
    let subject = Subject {
        database: keys::current_database(ctx),
        stream: stream.to_vec(),
        reader: Some(reader.to_vec()),
        alone: 0,
    };
    let due_ms = match wake {
        Wake::None => next_due_ms,
        Wake::Some(_) | Wake::All => Some(clock::now_ms()),
    };
    let clients = registry(|registry| {
        let queue = registry.queues.get(&subject)?;
        let clients = match wake {
            Wake::All => queue.clients.values().cloned().collect(),
            Wake::None | Wake::Some(_) => Vec::new(),
        };
        registry.sooner(&subject, due_ms);
        registry.arm(ctx);
        Some(clients)
    });
    for client in clients.flatten().unwrap_or_default() {
        client.ask(|waiting| waiting.awaited.reset());
    }
}

impl Registry {
    fn set_due(&mut self, subject: &Subject, due_ms: Option<u64>) {
        let Some(queue) = self.queues.get_mut(subject) else {
            return;
        };
        if queue.due_ms == due_ms {
            return;
        }
        if let Some(before) = queue.due_ms {
            self.by_due.remove(&(before, subject.clone()));
        }
        queue.due_ms = due_ms;
        if let Some(due_ms) = due_ms {
            self.by_due.insert((due_ms, subject.clone()));
        }
    }

    fn sooner(&mut self, subject: &Subject, due_ms: Option<u64>) {
        let known = self.queues.get(subject).and_then(|queue| queue.due_ms);
        let soonest = known.into_iter().chain(due_ms).min();
        self.set_due(subject, soonest);
    }

    /// Sets the timer to the first due time, unless it rings before that: then it is set again. Each client that is
    /// served changes that time, and to set the timer for each costs more than to let it ring once for nobody.
    fn arm(&mut self, ctx: &Context) {
        let Some((first_ms, _)) = self.by_due.first() else {
            return;
        };
        let first_ms = *first_ms;
        if self
            .timer
            .as_ref()
            .is_some_and(|(at_ms, _)| *at_ms <= first_ms)
        {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            timer.stop(ctx);
        }
        let ms = first_ms.saturating_sub(clock::now_ms());
        self.timer = Some((first_ms, Timer::set::<Due>(ctx, ms)));
    }

    fn remove(&mut self, subject: &Subject, number: u64) {
        let Some(queue) = self.queues.get_mut(subject) else {
            return;
        };
        if queue.clients.remove(&number).is_some() {
            stats::BLOCKED.fetch_sub(1, Relaxed);
        }
        if queue.clients.is_empty() {
            self.set_due(subject, None);
            self.queues.remove(subject);
        }
    }
}

/// The one timer.
struct Due;

impl Alarm for Due {
    const ENTRY: &'static str = "a timer";

    fn ring(ctx: &Context) {
        let now_ms = clock::now_ms();
        let due = registry(|registry| {
            registry.timer = None;
            let due = registry.by_due.iter();
            let due = due.take_while(|(due_ms, _)| *due_ms <= now_ms);
            let due: Vec<Subject> = due.map(|(_, subject)| subject.clone()).collect();
            due
        });
        for subject in due.unwrap_or_default() {
            let index = u32::try_from(subject.database).ok();
            let next_ms = match writes_are_paused() {
                true => Some(now_ms.saturating_add(PAUSED_MS)),
                false => keys::with_database(ctx, index, || look(ctx, &subject)).flatten(),
            };
            registry(|registry| registry.set_due(&subject, next_ms));
        }
        registry(|registry| registry.arm(ctx));
    }
}

/// The client that came next after another, of those that wait for one reader.
fn next_client(subject: &Subject, after: u64) -> Option<(u64, Handle<Waiting>)> {
    let next = registry(|registry| {
        let clients = &registry.queues.get(subject)?.clients;
        let next = clients.range((Excluded(after), Unbounded)).next();
        next.map(|(number, client)| (*number, client.clone()))
    });
    next.flatten()
}

/// Wakes the first client that would find something. When to look again.
fn look(ctx: &Context, subject: &Subject) -> Option<u64> {
    let now_ms = clock::now_ms();
    // A reader whose stream has gone to another node asks for it, and is redirected.
    let has_left = cluster::has_left(ctx, &keys::string(&subject.stream));
    let mut due_ms: Option<u64> = None;
    // The one consumer that may find something, once that is known.
    let mut only: Option<Box<[u8]>> = None;
    let mut last = 0;
    while let Some((number, client)) = next_client(subject, last) {
        last = number;
        let answer = client.ask(|waiting| {
            let awaited = &waiting.awaited;
            if has_left {
                return Some((Ok(Prospect::Some), false));
            }
            if only.is_some() && only.as_deref() != awaited.consumer() {
                return None;
            }
            let takes = awaited.takes();
            Some((waiting.prospect(ctx), takes))
        });
        let takes = match answer.flatten() {
            None => continue,
            Some((Ok(Prospect::None(later_ms)), _)) => {
                due_ms = due_ms.into_iter().chain(later_ms).min();
                continue;
            }
            Some((Ok(Prospect::ForOne(consumer, later_ms)), _)) => {
                due_ms = due_ms.into_iter().chain(later_ms).min();
                only = Some(consumer);
                continue;
            }
            Some((Ok(Prospect::ForNobody(later_ms)), _)) => {
                due_ms = due_ms.into_iter().chain(later_ms).min();
                break;
            }
            Some((Ok(Prospect::Some), takes)) => takes,
            // An error is the client's to hear.
            Some((Err(_), _)) => false,
        };
        OUTSIDE_COMMANDS.fetch_add(1, Relaxed);
        event_loop::once::<Woken>();
        client.wake();
        if takes {
            return Some(now_ms.saturating_add(NEXT_MS));
        }
    }
    due_in_cluster(
        ctx,
        due_ms.map(|due_ms| due_ms.max(now_ms.saturating_add(NEXT_MS))),
    )
}

impl Waiting {
    fn with_call<T>(&mut self, ctx: &Context, run: impl FnOnce(&mut dyn Await, &Call) -> T) -> T {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let call = Call {
            ctx,
            command: self.command,
            key: keys::string(&self.key),
            args: &args,
            caller: Caller::Waiting(self.user.as_deref()),
        };
        run(self.awaited.as_mut(), &call)
    }

    fn prospect(&mut self, ctx: &Context) -> Result<Prospect, Error> {
        self.with_call(ctx, |awaited, call| {
            guard::refuse("a look", || awaited.prospect(call))
        })
    }

    fn serve(&mut self, ctx: &Context) {
        let served = self.with_call(ctx, |awaited, call| {
            guard::refuse("a wake-up", || awaited.serve(call))
        });
        if let Err(error) = served {
            dispatch::refuse(ctx, &error);
        }
    }
}

impl Waiter for Waiting {
    fn on_ready(ctx: &Context, waiter: &RefCell<Self>) -> Wait {
        let Ok(mut waiting) = waiter.try_borrow_mut() else {
            dispatch::refuse(ctx, &Error::Internal);
            return Wait::Over;
        };
        let may_wait_on = OUTSIDE_COMMANDS.load(Relaxed) == 0;
        if writes_are_paused() {
            // A write from here would end the server, so the timer looks when they go on.
            if may_wait_on {
                let later_ms = clock::now_ms().saturating_add(PAUSED_MS);
                registry(|registry| {
                    registry.sooner(&waiting.subject, Some(later_ms));
                    registry.arm(ctx);
                });
                return Wait::GoesOn;
            }
            // The reader asks again.
            waiting.awaited.give_up(Reply::new(ctx));
            return Wait::Over;
        }
        match waiting.prospect(ctx) {
            Ok(Prospect::Some) => {
                waiting.serve(ctx);
                Wait::Over
            }
            Ok(
                Prospect::None(due_ms) | Prospect::ForNobody(due_ms) | Prospect::ForOne(_, due_ms),
            ) if may_wait_on => {
                let now_ms = clock::now_ms();
                registry(|registry| {
                    let later_ms = due_ms.map(|due_ms| due_ms.max(now_ms.saturating_add(NEXT_MS)));
                    registry.sooner(&waiting.subject, later_ms);
                    registry.arm(ctx);
                });
                Wait::GoesOn
            }
            Ok(_) => {
                waiting.awaited.give_up(Reply::new(ctx));
                Wait::Over
            }
            Err(error) => {
                dispatch::refuse(ctx, &error);
                Wait::Over
            }
        }
    }

    fn on_timeout(ctx: &Context, waiter: &RefCell<Self>, is_woken: bool) {
        let Ok(mut waiting) = waiter.try_borrow_mut() else {
            dispatch::refuse(ctx, &Error::Internal);
            return;
        };
        // Nobody waits on from here, and a write while writes are paused would end the server.
        match is_woken && !writes_are_paused() {
            true => waiting.serve(ctx),
            false => waiting.awaited.give_up(Reply::new(ctx)),
        }
    }

    fn on_end(ctx: &Context, waiter: &RefCell<Self>) {
        let Ok(mut waiting) = waiter.try_borrow_mut() else {
            return;
        };
        let others = waiting.awaited.end();
        let subject = &waiting.subject;
        registry(|registry| {
            registry.remove(subject, waiting.number);
            if others != Wake::None && registry.queues.contains_key(subject) {
                registry.sooner(subject, Some(clock::now_ms()));
            }
            registry.arm(ctx);
        });
    }
}
