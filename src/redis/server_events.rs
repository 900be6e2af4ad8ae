//! Events of the server itself.

use super::api::api;
use redis_module::{raw, Context};
use std::ffi::{c_int, c_void};

pub type OnEvent =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// Calls a function at each event of this kind, as long as the module is loaded.
pub fn listen(ctx: &Context, id: u64, on_event: OnEvent) -> bool {
    let event = raw::RedisModuleEvent { id, dataver: 1 };
    // SAFETY: a live context, and a function that stays as long as the module is loaded.
    let status = unsafe {
        api!(RedisModule_SubscribeToServerEvent(
            ctx.ctx,
            event,
            Some(on_event)
        ))
    };
    status == raw::REDISMODULE_OK as c_int
}
