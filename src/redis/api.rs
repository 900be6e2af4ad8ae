//! The raw module API: function pointers that the server fills in at load.

use redis_module::raw;
use std::ffi::{c_int, c_void, CStr};
use std::ptr::NonNull;

/// Calls `RedisModule_<name>`. All that is called this way exists since Redis 7.0, the oldest server
/// that loads the module; what newer ones add is asked for where it is used.
macro_rules! api {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match ::redis_module::raw::$name {
            Some(function) => function($($arg),*),
            None => $crate::redis::api::missing(stringify!($name)),
        }
    };
}

pub(crate) use api;

/// The address of a function that only some servers have. Ask by the name that Valkey gives its own: functions
/// that both have may take other arguments there (ACLCheckKeyPrefixPermissions does).
pub fn of_valkey(name: &CStr) -> Option<NonNull<c_void>> {
    let mut function: *mut c_void = std::ptr::null_mut();
    // SAFETY: filled in when the module is loaded; the server writes an address where it is told to.
    let status = unsafe {
        let get = raw::RedisModule_GetApi?;
        get(name.as_ptr(), (&raw mut function).cast())
    };
    NonNull::new(function).filter(|_| status == raw::REDISMODULE_OK as c_int)
}

/// Valkey, of 8.0 or later: 7.2 has no names of its own.
pub fn is_valkey() -> bool {
    of_valkey(c"ValkeyModule_SetModuleOptions").is_some()
}

/// Not a panic: whoever meets this has loaded the module into something that is no Redis 7.0.
#[cold]
pub fn missing(name: &str) -> ! {
    eprintln!("dirty: this server has no {name}, which Redis 7.0 has");
    std::process::abort()
}
