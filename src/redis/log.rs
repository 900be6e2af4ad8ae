//! Lines in the server's log.

use super::api::api;
use redis_module::raw;
use std::ffi::{CStr, CString};

const WARNING: &CStr = c"warning";

/// A line that an operator should see. It may hold anything: the crate's own function takes it for a
/// format, so that a `%n` in it is written through, and panics on a NUL.
pub fn warning(message: &str) {
    let line: Vec<u8> = message
        .bytes()
        .map(|byte| if byte == 0 { b' ' } else { byte })
        .collect();
    let line = CString::new(line).unwrap_or_default();
    // SAFETY: without a context, as it is allowed on any thread; a format that takes one string.
    unsafe {
        api!(RedisModule_Log(
            std::ptr::null_mut::<raw::RedisModuleCtx>(),
            WARNING.as_ptr(),
            c"dirty: %s".as_ptr(),
            line.as_ptr(),
        ));
    }
}
