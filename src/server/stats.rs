//! `INFO dirty`: counters since the module was loaded.

use super::eviction;
use crate::redis::{api::api, guard};
use dirty_streams_core::flush::Effect;
use redis_module::{raw, Context};
use std::ffi::{c_int, CStr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub static FLUSHES: AtomicU64 = AtomicU64::new(0);
pub static EVENTS: AtomicU64 = AtomicU64::new(0);
pub static DELIVERED: AtomicU64 = AtomicU64::new(0);
pub static ERRORS: AtomicU64 = AtomicU64::new(0);
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
    counter.fetch_add(u64::try_from(n).unwrap_or(0), Relaxed);
}

pub fn count_effect(effect: Effect) {
    let counter = EFFECTS.iter().find(|(other, ..)| *other == effect);
    if let Some((.., counter)) = counter {
        count(counter, 1);
    }
}

/// Also replaces the crate's handler, which allocates in crash reports.
pub fn register(ctx: &Context) -> bool {
    // SAFETY: a live context, and a function that stays as long as the module is loaded.
    let status = unsafe { api!(RedisModule_RegisterInfoFunc(ctx.ctx, Some(info))) };
    status == raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn info(ctx: *mut raw::RedisModuleInfoCtx, _for_crash_report: c_int) {
    let _ = guard::catch("INFO", || tell(ctx));
}

fn tell(ctx: *mut raw::RedisModuleInfoCtx) {
    // SAFETY: the context the server passes; names end with a NUL. The section's empty name makes it
    // the module's own, `dirty`.
    unsafe {
        if api!(RedisModule_InfoAddSection(ctx, c"".as_ptr())) != raw::REDISMODULE_OK as c_int {
            return; // not asked for
        }
        let field = |name: &CStr, value: &AtomicU64| {
            api!(RedisModule_InfoAddFieldULongLong(
                ctx,
                name.as_ptr(),
                value.load(Relaxed),
            ));
        };
        field(c"flushes", &FLUSHES);
        for (_, name, counter) in &EFFECTS {
            field(name, counter);
        }
        field(c"events_published", &EVENTS);
        field(c"events_delivered", &DELIVERED);
        field(c"errors", &ERRORS);
        field(c"consumers_blocked", &BLOCKED);
        let name = c"eviction_may_lose_data";
        let may_lose = u64::from(eviction::may_lose_data());
        api!(RedisModule_InfoAddFieldULongLong(
            ctx,
            name.as_ptr(),
            may_lose
        ));
    }
}
