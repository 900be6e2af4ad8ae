//! Samples for the server's latency monitor, which measures whole commands by itself.

use super::api::api;
use super::{call, keys};
use redis_module::Context;
use std::ffi::CStr;
use std::time::Instant;

/// Trimming runs within a flush, and may take far longer than the flush itself.
pub const TRIM: &CStr = c"dirty-trim";

/// Runs what may be slow, and gives the monitor a sample if it was.
pub fn watch<T>(ctx: &Context, event: &CStr, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = run();
    let ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
    if ms > 0 && is_slow(ctx, ms) {
        // SAFETY: a name that ends with a NUL, which the server copies.
        unsafe { api!(RedisModule_LatencyAddSample(event.as_ptr(), ms)) };
    }
    done
}

/// The server takes a sample also when its monitor is off, so it is asked; seldom, as little takes a ms.
fn is_slow(ctx: &Context, ms: i64) -> bool {
    const SETTING: &[u8] = b"latency-monitor-threshold";
    let args = [&keys::string(b"GET"), &keys::string(SETTING)];
    // Not as a script would ask, which may not.
    let threshold = call::effect(ctx, c"CONFIG", &args).ok().and_then(|reply| {
        let text = std::str::from_utf8(reply.view().field(SETTING)?.bytes()).ok()?;
        text.parse::<i64>().ok()
    });
    threshold.is_some_and(|threshold| threshold > 0 && ms >= threshold)
}
