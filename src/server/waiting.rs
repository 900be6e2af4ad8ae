//! Clients that wait for a stream to get an event, or for the time at which an old one is due.
//!
//! A write to the stream wakes all that wait on it, first come, first served. What comes with time alone, or by another
//! reader's doing, is looked for by one timer for all: it asks the clients that wait for one reader in their order, and
//! wakes the first that would get something, until none would.

use super::command::{Call, Caller};
use super::{config, dispatch, stats};
use crate::redis::acl::User;
use crate::redis::blocking::{Handle, Wait, Waiter};
use crate::redis::commands::Argv;
use crate::redis::event_loop::{self, Task};
use crate::redis::flags::{self, writes_are_paused};
use crate::redis::keys::Key;
use crate::redis::reply::Reply;
use crate::redis::timer::{Alarm, Timer};
use crate::redis::{clock, guard, keys, server_events, settings};
use crate::store::{cluster, readers, stream_state, writes};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::{Prospect, Wake};
use redis_module::{Context, RedisString};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_int};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A call that found nothing and waits.
pub trait Await {
    /// Whether asking again would find something, and else when it is worth a look. Writes nothing.
    fn prospect(&mut self, call: &Call) -> Result<Prospect, Error>;

    /// Asks again, and replies, even if there is nothing.
    fn serve(&mut self, call: &Call) -> Result<(), Error>;

    /// The reply when the time is up.
    fn give_up(&mut self, reply: Reply);

    /// Its reader has other settings now, or another stands in its place.
    fn reset(&mut self, call: &Call);

    /// Whether it takes what it finds from the others that wait for its reader.
    fn takes(&self) -> bool;

    /// Whether it has yet to look at what is in the stream. The timer lets it.
    fn is_looking(&self) -> bool;

    /// Whether it may find something, if nothing has happened since another call of its reader looked at the stream.
    /// Costs little.
    fn may_get(&mut self) -> bool;

    /// Of what its reader has to give to those that take it, up to this many: how many there are at least, and how many
    /// of them it takes.
    fn share(&self, most: u32) -> (u32, u32);

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
    reader: Option<Arc<[u8]>>,
    alone: u64,
}

/// A client that waits.
struct Waiting {
    awaited: Box<dyn Await>,
    command: &'static CStr,
    key: RedisString,
    /// The arguments behind the key, as far as rights depend on them.
    args: Vec<Arc<[u8]>>,
    /// The user whose rights are checked when there is something to read.
    user: Option<Vec<u8>>,
    subject: Arc<Subject>,
    number: u64,
}

/// The clients that wait for one reader, in their order.
#[derive(Default)]
struct Queue {
    clients: BTreeMap<u64, Handle<Waiting>>,
    /// When one of them may find something.
    due_ms: Option<u64>,
    /// Where the timer goes on with a look at all of them, and when one of those before it may find something.
    rest: Option<(u64, Option<u64>)>,
    told: Option<Told>,
}

/// One of the clients that wait for a reader was told that there is nothing for it.
struct Told {
    whom: Whom,
    /// As long as the readers have not changed since,
    changes: u64,
    /// and this is the last entry of the stream,
    last: Option<EventId>,
    /// and nothing comes due.
    until_ms: u64,
}

/// Who else need not ask.
enum Whom {
    All,
    AllBut(Box<[u8]>),
    /// Those that hold too much to get anything.
    Full,
}

#[derive(Default)]
struct Registry {
    queues: BTreeMap<Arc<Subject>, Queue>,
    by_due: BTreeSet<(u64, Arc<Subject>)>,
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

/// How long one ring of the timer may take, about.
const BUDGET: Duration = Duration::from_millis(1);

/// How many entries a call that waits looks at in one go, without giving them.
pub const LOOKED_AT: u32 = 400;

/// How many clients of one reader are woken before one of them is served.
const AT_ONCE: u32 = 64;

/// Rounds of the event loop in which streams were written outside of any command, which may still wake others. Redis
/// 7.0 remembers a client that is woken then and finds nothing, even when it is gone: so nobody waits on.
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

/// How many entries a call looks at without giving them. If it can wait, the timer goes on with the rest.
pub fn looked_at(can_wait: bool) -> u32 {
    match can_wait {
        true => LOOKED_AT,
        false => config::reading_limits().looked_at,
    }
}

pub fn register(ctx: &Context) -> bool {
    server_events::listen::<Left>(ctx, server_events::Event::Cron)
}

/// Whoever waits for a reader that is gone is told, whatever took it; whoever waits for a group that had no room to queue
/// more looks again when settings have changed.
struct Left;

/// The changes of settings that this has seen.
static SETTINGS: AtomicU64 = AtomicU64::new(0);

impl server_events::EventListener for Left {
    const ENTRY: &'static str = "a look at readers that are gone";

    fn on_event(ctx: &Context) {
        let have_left = readers::have_left();
        let settings = settings::changes();
        let have_changed = SETTINGS.swap(settings, Relaxed) != settings;
        if !have_left && !have_changed || stats::BLOCKED.load(Relaxed) == 0 {
            return;
        }
        let subjects = registry(|registry| {
            let subjects = registry.queues.keys();
            let subjects = subjects.filter(|subject| subject.reader.is_some());
            subjects.cloned().collect::<Vec<_>>()
        });
        for subject in subjects.unwrap_or_default() {
            let index = u32::try_from(subject.database).ok();
            if have_left {
                let _ = keys::with_database(ctx, index, || reset_all(ctx, &subject));
            }
            registry(|registry| registry.news(&subject, Some(clock::now_ms())));
        }
        registry(|registry| registry.arm(ctx));
    }
}

/// Lets all that wait for a reader know that it is not what it was.
fn reset_all(ctx: &Context, subject: &Subject) {
    let mut last = 0;
    while let Some((number, client)) = next_client(subject, last) {
        last = number;
        client.ask(|waiting| waiting.reset(ctx));
    }
}

impl Subject {
    fn of(ctx: &Context, stream: &[u8], reader: &[u8]) -> Self {
        Subject {
            database: keys::current_database(ctx),
            stream: stream.to_vec(),
            reader: Some(reader.into()),
            alone: 0,
        }
    }
}

/// The name of the call's reader, which all that wait for it share.
pub fn name_of(call: &Call, reader: &[u8]) -> Arc<[u8]> {
    let subject = Subject::of(call.ctx, &call.key, reader);
    let known = registry(|registry| {
        let (known, _) = registry.queues.get_key_value(&subject)?;
        known.reader.clone()
    });
    let name = known.flatten().or(subject.reader);
    name.unwrap_or_default()
}

/// Lets the client wait on the call's key, for a reader if it has one; 0 ms is for ever.
pub fn wait(
    call: &Call,
    reader: Option<Arc<[u8]>>,
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
    let alone = if reader.is_none() { number } else { 0 };
    let subject = Subject {
        database: keys::current_database(ctx),
        stream: call.key.to_vec(),
        reader: reader.clone(),
        alone,
    };
    let known = registry(|registry| {
        let known = registry.queues.get_key_value(&subject);
        known.map(|(known, _)| Arc::clone(known))
    });
    let subject = known.flatten().unwrap_or_else(|| Arc::new(subject));
    let shared = |arg: &&[u8]| match &reader {
        Some(name) if **name == **arg => Arc::clone(name),
        _ => Arc::from(*arg),
    };
    let waiting = Waiting {
        awaited,
        command: call.command,
        key: keys::string(&call.key),
        args: call.args.iter().take(2).map(shared).collect(),
        user: User::current(ctx).map(|user| user.name().to_vec()),
        subject: Arc::clone(&subject),
        number,
    };
    let Some(handle) = client.block(&call.key, timeout_ms, waiting) else {
        return Err(Error::Internal);
    };
    stats::count(&stats::BLOCKED, 1);
    let due_ms = due_in_cluster(ctx, due_ms);
    registry(|registry| {
        let queue = registry.queues.entry(Arc::clone(&subject)).or_default();
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
    let subject = Subject::of(ctx, stream, reader);
    if wake == Wake::All {
        reset_all(ctx, &subject);
    }
    let due_ms = match wake {
        Wake::None => next_due_ms,
        Wake::Some(_) | Wake::All => Some(clock::now_ms()),
    };
    registry(|registry| {
        registry.news(&subject, due_ms);
        registry.arm(ctx);
    });
}

impl Registry {
    fn set_due(&mut self, subject: &Subject, due_ms: Option<u64>) {
        let Some((subject, _)) = self.queues.get_key_value(subject) else {
            return;
        };
        let subject = Arc::clone(subject);
        let Some(queue) = self.queues.get_mut(&subject) else {
            return;
        };
        if queue.due_ms == due_ms {
            return;
        }
        let before = std::mem::replace(&mut queue.due_ms, due_ms);
        if let Some(before) = before {
            self.by_due.remove(&(before, Arc::clone(&subject)));
        }
        if let Some(due_ms) = due_ms {
            self.by_due.insert((due_ms, subject));
        }
    }

    fn sooner(&mut self, subject: &Subject, due_ms: Option<u64>) {
        let known = self.queues.get(subject).and_then(|queue| queue.due_ms);
        let soonest = known.into_iter().chain(due_ms).min();
        self.set_due(subject, soonest);
    }

    /// All may find something then, also those that the timer has just asked.
    fn news(&mut self, subject: &Subject, due_ms: Option<u64>) {
        if let Some(queue) = self.queues.get_mut(subject).filter(|_| due_ms.is_some()) {
            queue.rest = None;
        }
        self.sooner(subject, due_ms);
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
        let begun = Instant::now();
        let now_ms = clock::now_ms();
        let due = registry(|registry| {
            registry.timer = None;
            let due = registry.by_due.iter();
            let due = due.take_while(|(due_ms, _)| *due_ms <= now_ms);
            let due: Vec<Arc<Subject>> = due.map(|(_, subject)| Arc::clone(subject)).collect();
            due
        });
        for subject in due.unwrap_or_default() {
            if begun.elapsed() >= BUDGET {
                break; // The rest has been due for longer then, and comes first.
            }
            // Clients that are served at once tell when something comes due for the others.
            registry(|registry| registry.set_due(&subject, None));
            let index = u32::try_from(subject.database).ok();
            let next_ms = match writes_are_paused() {
                true => Some(now_ms.saturating_add(PAUSED_MS)),
                false => keys::with_database(ctx, index, || look(ctx, &subject, begun)).flatten(),
            };
            registry(|registry| registry.sooner(&subject, next_ms));
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

/// What the timer learns from asking the clients of one reader in their order.
#[derive(Default)]
struct Round {
    /// When one of those asked may find something.
    due_ms: Option<u64>,
    /// The one consumer that may find something, once that is known.
    only: Option<Box<[u8]>>,
    /// One has looked at the stream.
    has_looked: bool,
    /// How many more may be woken before one of them is served.
    left: Option<u32>,
}

enum Answer {
    Skipped,
    Nothing,
    NothingForAnybody,
    /// It takes it from the others; then how many there are for them, and how many it takes.
    Something(Option<(u32, u32)>),
}

impl Round {
    fn ask(&mut self, ctx: &Context, waiting: &mut Waiting) -> Answer {
        let awaited = &mut waiting.awaited;
        if self.only.is_some() && self.only.as_deref() != awaited.consumer() {
            return Answer::Skipped;
        }
        if self.has_looked && !awaited.may_get() {
            return Answer::Skipped;
        }
        let prospect = waiting.prospect(ctx);
        self.has_looked = true;
        let (answer, later_ms) = match prospect {
            Ok(Prospect::None(later_ms)) => (Answer::Nothing, later_ms),
            Ok(Prospect::ForNobody(later_ms)) => (Answer::NothingForAnybody, later_ms),
            Ok(Prospect::ForOne(consumer, later_ms)) => {
                self.only = Some(consumer);
                (Answer::Nothing, later_ms)
            }
            Ok(Prospect::Some) => {
                let takes = waiting.awaited.takes();
                let share = takes.then(|| waiting.awaited.share(AT_ONCE));
                return Answer::Something(share);
            }
            // The server refuses the timer what it allows the client, who has said ASKING: the slot is still coming here.
            Err(Error::TryAgain) if waiting.has_its_keys(ctx) => (Answer::Nothing, None),
            // An error is the client's to hear.
            Err(_) => return Answer::Something(None),
        };
        self.due_ms = self.due_ms.into_iter().chain(later_ms).min();
        answer
    }

    /// One was woken that takes what it finds. Whether the next may be, too.
    fn goes_on(&mut self, client: &Handle<Waiting>, (ready, takes): (u32, u32)) -> bool {
        if client.is_over() {
            // It was served at once, and the next sees what it has left, and when that comes due.
            self.left = None;
            self.only = None;
            self.has_looked = false;
            return true;
        }
        let left = self.left.unwrap_or(ready).saturating_sub(takes);
        self.left = Some(left);
        left > 0
    }
}

/// Wakes the clients that would find something: of those that take it from each other as many as there is something for.
/// When to look again.
fn look(ctx: &Context, subject: &Subject, begun: Instant) -> Option<u64> {
    let soon_ms = clock::now_ms().saturating_add(NEXT_MS);
    // A reader whose stream has gone to another node asks for it, and is redirected.
    let has_left = cluster::has_left(ctx, &keys::string(&subject.stream));
    let mut round = Round::default();
    let rest = registry(|registry| registry.queues.get_mut(subject)?.rest.take());
    let (first, due_ms) = rest.flatten().unwrap_or_default();
    round.due_ms = due_ms;
    let mut last = first;
    while let Some((number, client)) = next_client(subject, last) {
        let answer = client.ask(|waiting| match has_left {
            true => (Answer::Something(None), waiting.awaited.takes()),
            false => (round.ask(ctx, waiting), waiting.awaited.takes()),
        });
        last = number;
        let (answer, takes) = answer.unwrap_or((Answer::Skipped, true));
        match answer {
            Answer::Skipped | Answer::Nothing => (),
            Answer::NothingForAnybody => break,
            Answer::Something(share) => {
                wake_outside(&client);
                if let Some(share) = share
                    && (!round.goes_on(&client, share) || begun.elapsed() >= BUDGET)
                {
                    return Some(soon_ms);
                }
            }
        }
        // Those that take nothing from each other are asked in turn.
        if !takes && last != first && begun.elapsed() >= BUDGET {
            let rest = Some((last, round.due_ms));
            registry(|registry| {
                registry
                    .queues
                    .get_mut(subject)
                    .map(|queue| queue.rest = rest)
            });
            return Some(soon_ms);
        }
    }
    due_in_cluster(ctx, round.due_ms.map(|due_ms| due_ms.max(soon_ms)))
}

/// Wakes a client outside of any command. Redis 7.0 serves it at once, later servers do before they sleep.
fn wake_outside(client: &Handle<Waiting>) {
    let before = writes::of_streams();
    client.wake();
    if writes::of_streams() != before && flags::is_redis_7_0() {
        OUTSIDE_COMMANDS.fetch_add(1, Relaxed);
        event_loop::once::<Woken>();
    }
}

impl Waiting {
    fn with_call<T>(&mut self, ctx: &Context, run: impl FnOnce(&mut dyn Await, &Call) -> T) -> T {
        let args: Vec<&[u8]> = self.args.iter().map(|arg| &**arg).collect();
        let call = Call {
            ctx,
            command: self.command,
            key: keys::string(&self.key),
            args: &args,
            argv: Argv::default(),
            caller: Caller::Waiting(self.user.as_deref()),
        };
        run(self.awaited.as_mut(), &call)
    }

    /// Whether what it waits for is here: the stream, and the readers if it has one.
    fn has_its_keys(&self, ctx: &Context) -> bool {
        let is_here = |name: &RedisString| !Key::read(ctx, name).is_missing();
        is_here(&keys::string(&self.key))
            && (self.subject.reader.is_none() || is_here(&readers::key_of(&self.key)))
    }

    fn prospect(&mut self, ctx: &Context) -> Result<Prospect, Error> {
        self.with_call(ctx, |awaited, call| {
            guard::refuse("a look", || awaited.prospect(call))
        })
    }

    fn reset(&mut self, ctx: &Context) {
        self.with_call(ctx, |awaited, call| awaited.reset(call));
    }

    /// Whether another has been told that there is nothing, for this one either, and nothing has happened since.
    fn is_told(&mut self, ctx: &Context) -> bool {
        if !self.awaited.takes() {
            return false;
        }
        let consumer = self.awaited.consumer();
        let told = registry(|registry| {
            let told = registry.queues.get(&self.subject)?.told.as_ref()?;
            let is_true = told.changes == readers::changes() && clock::now_ms() < told.until_ms;
            let is_told = match &told.whom {
                Whom::All => Some(true),
                Whom::AllBut(other) => Some(consumer != Some(&**other)),
                Whom::Full => None,
            };
            is_true.then_some((told.last, is_told))
        });
        let Some((last, is_told)) = told.flatten() else {
            return false;
        };
        is_told != Some(false)
            && stream_state::last_entry(ctx, &self.key) == Some(last)
            && (is_told == Some(true) || !self.awaited.may_get())
    }

    /// Spares the others that wait for the reader to ask.
    fn tell(&self, ctx: &Context, whom: Whom, due_ms: Option<u64>) {
        let last = stream_state::last_entry(ctx, &self.key);
        if let Some(last) = last.filter(|_| self.awaited.takes()) {
            let told = Told {
                whom,
                changes: readers::changes(),
                last,
                until_ms: due_ms.unwrap_or(u64::MAX),
            };
            registry(|registry| {
                if let Some(queue) = registry.queues.get_mut(&self.subject) {
                    queue.told = Some(told);
                }
            });
        }
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
        // The timer lets one that has yet to look at more do so.
        if may_wait_on && (waiting.awaited.is_looking() || waiting.is_told(ctx)) {
            return Wait::GoesOn;
        }
        let (whom, due_ms) = match waiting.prospect(ctx) {
            Ok(Prospect::Some) => {
                waiting.serve(ctx);
                return Wait::Over;
            }
            Ok(_) if !may_wait_on => {
                waiting.awaited.give_up(Reply::new(ctx));
                return Wait::Over;
            }
            Ok(Prospect::None(due_ms)) => (Whom::Full, due_ms),
            Ok(Prospect::ForNobody(due_ms)) => (Whom::All, due_ms),
            Ok(Prospect::ForOne(consumer, due_ms)) => (Whom::AllBut(consumer), due_ms),
            Err(error) => {
                dispatch::refuse(ctx, &error);
                return Wait::Over;
            }
        };
        waiting.tell(ctx, whom, due_ms);
        let now_ms = clock::now_ms();
        registry(|registry| {
            let later_ms = due_ms.map(|due_ms| due_ms.max(now_ms.saturating_add(NEXT_MS)));
            registry.sooner(&waiting.subject, later_ms);
            registry.arm(ctx);
        });
        Wait::GoesOn
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
                registry.news(subject, Some(clock::now_ms()));
            }
            registry.arm(ctx);
        });
    }
}
