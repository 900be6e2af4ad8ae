//! `INFO dirty`: counters since the module was loaded.

use super::eviction;
use crate::redis::server_info::{self, InfoSource, Section};
use dirty_streams_core::flush::Effect;
use redis_module::Context;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub static FLUSHES: AtomicU64 = AtomicU64::new(0);
pub static EVENTS: AtomicU64 = AtomicU64::new(0);
pub static DELIVERED: AtomicU64 = AtomicU64::new(0);
pub static ERRORS: AtomicU64 = AtomicU64::new(0);
pub static BLOCKED: AtomicU64 = AtomicU64::new(0);
static EFFECTS: [(Effect, &CStr, AtomicU64); 10] = [
    (Effect::Insert, c"ops_insert", AtomicU64::new(0)),
    (Effect::Update, c"ops_update", AtomicU64::new(0)),
    (Effect::Delete, c"ops_delete", AtomicU64::new(0)),
    (Effect::None, c"ops_none", AtomicU64::new(0)),
    (Effect::Stale, c"ops_stale", AtomicU64::new(0)),
    (Effect::Touch, c"ops_touch", AtomicU64::new(0)),
    (Effect::Seed, c"ops_seed", AtomicU64::new(0)),
    (Effect::Conflict, c"ops_conflict", AtomicU64::new(0)),
    (Effect::Hidden, c"ops_hidden", AtomicU64::new(0)),
    (Effect::Newer, c"ops_newer", AtomicU64::new(0)),
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
        count(c"consumers_blocked", &BLOCKED);
        section.field(
            c"eviction_may_lose_data",
            u64::from(eviction::may_lose_data()),
        );
    }
}
