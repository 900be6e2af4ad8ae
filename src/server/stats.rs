//! `INFO dirty`: counters since the module was loaded, and totals of all readers that there are.

use super::{config, eviction};
use crate::redis::server_info::{self, InfoSource, Section};
use crate::store::readers;
use dirty_streams_core::error::Error;
use dirty_streams_core::flush::Effect;
use dirty_streams_core::reading::Counter;
use redis_module::Context;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub static FLUSHES: AtomicU64 = AtomicU64::new(0);
pub static EVENTS: AtomicU64 = AtomicU64::new(0);
pub static DELIVERED: AtomicU64 = AtomicU64::new(0);
static ERRORS: AtomicU64 = AtomicU64::new(0);
static REFUSED_FULL: AtomicU64 = AtomicU64::new(0);
static REFUSED_LIMIT: AtomicU64 = AtomicU64::new(0);
pub static BLOCKED: AtomicU64 = AtomicU64::new(0);
static EFFECTS: [(Effect, &CStr, AtomicU64); 9] = [
    (Effect::Insert, c"ops_insert", AtomicU64::new(0)),
    (Effect::Update, c"ops_update", AtomicU64::new(0)),
    (Effect::Delete, c"ops_delete", AtomicU64::new(0)),
    (Effect::None, c"ops_none", AtomicU64::new(0)),
    (Effect::Stale, c"ops_stale", AtomicU64::new(0)),
    (Effect::Touch, c"ops_touch", AtomicU64::new(0)),
    (Effect::Seed, c"ops_seed", AtomicU64::new(0)),
    (Effect::Conflict, c"ops_conflict", AtomicU64::new(0)),
    (Effect::Hidden, c"ops_hidden", AtomicU64::new(0)),
];

pub fn count(counter: &AtomicU64, n: usize) {
    let n = u64::try_from(n);
    debug_assert!(n.is_ok(), "a count of what is in memory");
    counter.fetch_add(n.unwrap_or(0), Relaxed);
}

pub fn count_effect(effect: Effect) {
    let counter = EFFECTS.iter().find(|(other, ..)| *other == effect);
    if let Some((.., counter)) = counter {
        count(counter, 1);
    }
}

pub fn count_error(error: &Error) {
    count(&ERRORS, 1);
    if error.is_full() {
        count(&REFUSED_FULL, 1);
    }
    if error.is_limit() {
        count(&REFUSED_LIMIT, 1);
    }
}

pub fn register(ctx: &Context) -> bool {
    server_info::register::<Counters>(ctx)
}

struct Counters;

impl InfoSource for Counters {
    fn tell(section: &Section) {
        let count = |name: &CStr, value: &AtomicU64| section.field(name, value.load(Relaxed));
        count(c"flushes", &FLUSHES);
        for (_, name, counter) in &EFFECTS {
            count(name, counter);
        }
        count(c"events_published", &EVENTS);
        count(c"events_delivered", &DELIVERED);
        count(c"errors", &ERRORS);
        count(c"refused_full", &REFUSED_FULL);
        count(c"refused_limit", &REFUSED_LIMIT);
        count(c"consumers_blocked", &BLOCKED);
        section.field(
            c"eviction_may_lose_data",
            u64::from(eviction::may_lose_data()),
        );
        tell_readers(section);
    }
}

fn tell_readers(section: &Section) {
    let totals = readers::totals(config::reading_limits().max_queued);
    for (name, value) in [
        (c"readers_groups", totals.groups),
        (c"readers_cursors", totals.cursors),
        (c"readers_paused", totals.paused),
        (c"readers_stalled", totals.stalled),
        (c"readers_pending", totals.pending),
        (c"readers_due", totals.due),
        (c"readers_queued", totals.queued),
        (c"readers_held_keys", totals.held_keys),
        (c"readers_parked_keys", totals.parked_keys),
    ] {
        section.field(name, value);
    }
    for (name, counter) in [
        (c"readers_delivered", Counter::Delivered),
        (c"readers_redelivered", Counter::Redelivered),
        (c"readers_acknowledged", Counter::Acknowledged),
        (c"readers_failed", Counter::Failed),
        (c"readers_died", Counter::Died),
        (c"readers_rejected", Counter::Rejected),
        (c"readers_missed", Counter::Missed),
    ] {
        section.field(name, totals.counters.get(counter));
    }
}
