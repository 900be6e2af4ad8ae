//! Where the server enters first. Nothing runs before it is known that the server has all that the module
//! calls: memory is the server's, too, so not even that may be asked for.

use super::{api, guard};
use redis_module::{Context, RedisString, raw};
use std::ffi::{CStr, CString, c_int};

const NAME: &CStr = c"dirty";

/// `MODULE LIST` shows it: major * 10000 + minor * 100 + patch.
const VERSION: c_int = 100;

/// Defines the function that the server calls first; `$load` tells it of all that the module has.
macro_rules! on_load {
    ($load:path) => {
        /// # Safety
        /// For the server alone, which passes a live context and argc strings.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn RedisModule_OnLoad(
            ctx: *mut ::redis_module::raw::RedisModuleCtx,
            argv: *mut *mut ::redis_module::raw::RedisModuleString,
            argc: ::std::ffi::c_int,
        ) -> ::std::ffi::c_int {
            // SAFETY: what the server passes.
            unsafe { $crate::redis::load::enter(ctx, argv, argc, $load) }
        }
    };
}

pub(crate) use on_load;

/// # Safety
/// The context must be live, and there must be argc strings.
pub unsafe fn enter(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
    load: fn(&Context, &[RedisString]) -> bool,
) -> c_int {
    let (ok, refused) = (raw::REDISMODULE_OK as c_int, raw::REDISMODULE_ERR as c_int);
    let version = raw::REDISMODULE_APIVER_1 as c_int;
    // SAFETY: a live context, and a name that ends with a NUL. This fills in what the server has.
    if unsafe { raw::Export_RedisModule_Init(ctx, NAME.as_ptr(), VERSION, version) } != ok {
        return refused;
    }
    if let Some(missing) = api::first_missing() {
        // SAFETY: a live context.
        unsafe { refuse(ctx, missing) };
        return refused;
    }
    #[cfg(not(test))]
    super::allocator::probe();
    guard::log_panics();
    let loaded = guard::catch("loading the module", || {
        let args = redis_module::decode_args(ctx, argv, argc);
        load(&Context::new(ctx), &args)
    });
    match loaded {
        Some(true) => ok,
        Some(false) | None => refused,
    }
}

/// Tells the server's log which server is needed.
///
/// # Safety
/// The context must be live.
unsafe fn refuse(ctx: *mut raw::RedisModuleCtx, missing: &str) {
    // SAFETY: filled in by now. The oldest servers that take modules have these two, for the line's memory.
    let (alloc, log) = unsafe { (raw::RedisModule_Alloc, raw::RedisModule_Log) };
    let (Some(_), Some(log)) = (alloc, log) else {
        return;
    };
    let Ok(missing) = CString::new(missing) else {
        return;
    };
    // SAFETY: a context as promised, and a format that takes one string.
    unsafe {
        log(
            ctx,
            c"warning".as_ptr(),
            c"dirty: the module needs Redis 7.0 or later, or Valkey; this server has no %s"
                .as_ptr(),
            missing.as_ptr(),
        );
    }
}
