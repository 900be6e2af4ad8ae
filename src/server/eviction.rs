//! Whether the server may evict keys that nobody gave a time to live: declarations, snapshots, streams. An
//! operator hears of it in the log, when it becomes so, and reads it in INFO.

use crate::redis::api::api;
use crate::redis::server_events::listen;
use crate::redis::{guard, log};
use redis_module::{raw, Context};
use std::ffi::{c_void, CStr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static MAY_LOSE: AtomicBool = AtomicBool::new(false);

pub fn may_lose_data() -> bool {
    MAY_LOSE.load(Relaxed)
}

pub fn register(ctx: &Context) -> bool {
    look(ctx.ctx);
    listen(ctx, raw::REDISMODULE_EVENT_CONFIG, on_config)
}

unsafe extern "C" fn on_config(
    ctx: *mut raw::RedisModuleCtx,
    _event: raw::RedisModuleEvent,
    _kind: u64,
    _change: *mut c_void,
) {
    let _ = guard::catch("a changed setting", || look(ctx));
}

fn look(ctx: *mut raw::RedisModuleCtx) {
    let Some((policy, is_limited)) = settings(ctx) else {
        return;
    };
    let may_lose = is_limited && policy.starts_with(b"allkeys-");
    let did = MAY_LOSE.swap(may_lose, Relaxed);
    if may_lose && !did {
        log::warning(&format!(
            "maxmemory-policy {} evicts declarations, snapshots and streams when memory is short, and events \
             with them; use noeviction, or a volatile policy",
            policy.escape_ascii()
        ));
    }
}

/// The eviction policy, and whether there is a limit of memory.
fn settings(ctx: *mut raw::RedisModuleCtx) -> Option<(Vec<u8>, bool)> {
    // SAFETY: a live context; a field's text lives as long as what the server has told, which is freed
    // after its last use.
    unsafe {
        let told = api!(RedisModule_GetServerInfo(ctx, c"memory".as_ptr()));
        if told.is_null() {
            return None;
        }
        let text = |name: &CStr| {
            let field = api!(RedisModule_ServerInfoGetFieldC(told, name.as_ptr()));
            (!field.is_null()).then(|| CStr::from_ptr(field).to_bytes().to_vec())
        };
        let settings = text(c"maxmemory_policy").zip(text(c"maxmemory"));
        api!(RedisModule_FreeServerInfo(ctx, told));
        settings.map(|(policy, limit)| (policy, limit != b"0"))
    }
}
