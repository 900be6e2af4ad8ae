//! The circumstances of a call, as the server tells them.

use super::api::api;
use redis_module::{Context, raw};
use std::ffi::c_int;
use std::sync::OnceLock;

fn flags(ctx: &Context) -> u32 {
    // SAFETY: a live context.
    unsafe { api!(RedisModule_GetContextFlags(ctx.ctx)) as u32 }
}

/// Whether this server is a node of a cluster, which stays as it was started.
pub fn is_in_cluster(ctx: &Context) -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| flags(ctx) & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0)
}

/// Whether this server decides what happens, and does not repeat what another decides.
pub fn is_primary(ctx: &Context) -> bool {
    flags(ctx) & raw::REDISMODULE_CTX_FLAGS_MASTER != 0
}

/// Whether this comes from a primary or an AOF: it was checked when it happened, and must happen here.
pub fn is_repeated(ctx: &Context) -> bool {
    let repeated = raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING;
    flags(ctx) & repeated != 0
}

/// Whether a client may wait here: not within MULTI, a script or another module's call.
pub fn may_block(ctx: &Context) -> bool {
    let denied = raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING
        | raw::REDISMODULE_CTX_FLAGS_MULTI
        | raw::REDISMODULE_CTX_FLAGS_LUA;
    flags(ctx) & denied == 0
}

pub fn is_resp3(ctx: &Context) -> bool {
    flags(ctx) & raw::REDISMODULE_CTX_FLAGS_RESP3 != 0
}

/// Whether this process was forked to write a file.
pub fn is_child() -> bool {
    // SAFETY: without a context the server tells of the process alone.
    let flags = unsafe { api!(RedisModule_GetContextFlags(std::ptr::null_mut())) };
    flags as u32 & raw::REDISMODULE_CTX_FLAGS_IS_CHILD != 0
}

/// Whether writes are paused, for a failover or by CLIENT PAUSE. A write in spite of it would end the server.
pub fn writes_are_paused() -> bool {
    // SAFETY: takes nothing.
    unsafe { api!(RedisModule_AvoidReplicaTraffic()) != 0 }
}

/// Redis 7.0. Valkey tells a version of 7.2.
pub fn is_redis_7_0() -> bool {
    const REDIS_7_2: c_int = 0x0007_0200;
    // SAFETY: takes nothing.
    unsafe { api!(RedisModule_GetServerVersion()) < REDIS_7_2 }
}
