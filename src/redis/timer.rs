//! A timer of the server's event loop.

use super::api::api;
use super::guard;
use redis_module::{Context, raw};
use std::ffi::c_void;
use std::ptr::null_mut;

/// What a timer does when its time has come.
pub trait Alarm {
    /// Its name in the log, for panics.
    const ENTRY: &'static str;

    fn ring(ctx: &Context);
}

/// A timer that has not run out.
pub struct Timer(raw::RedisModuleTimerID);

/// The server counts in µs, and would take a longer time for one that is over.
const LONGEST_MS: u64 = 86_400_000;

impl Timer {
    pub fn set<A: Alarm>(ctx: &Context, ms: u64) -> Timer {
        let ms = i64::try_from(ms.min(LONGEST_MS)).unwrap_or(0);
        // SAFETY: a live context, a function that stays, and no data.
        Timer(unsafe {
            api!(RedisModule_CreateTimer(
                ctx.ctx,
                ms,
                Some(ring::<A>),
                null_mut()
            ))
        })
    }

    pub fn stop(self, ctx: &Context) {
        // SAFETY: a live context; the server answers if it has no such timer any longer.
        unsafe { api!(RedisModule_StopTimer(ctx.ctx, self.0, null_mut())) };
    }
}

unsafe extern "C" fn ring<A: Alarm>(ctx: *mut raw::RedisModuleCtx, _data: *mut c_void) {
    let _ = guard::catch(A::ENTRY, || A::ring(&Context::new(ctx)));
}
