//! The server's clock.

use super::api::api;

/// In ms since 1970.
pub fn now_ms() -> u64 {
    // SAFETY: takes nothing.
    let now = unsafe { api!(RedisModule_Milliseconds()) };
    debug_assert!(now > 0, "a clock that is set");
    u64::try_from(now).unwrap_or(0)
}
