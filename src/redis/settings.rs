//! Settings of the module, which the server keeps in redis.conf and CONFIG.

use super::api::api;
use super::guard;
use redis_module::{Context, raw};
use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// How often any setting was set.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// As long as this stays the same, so do all settings.
pub fn changes() -> u64 {
    CHANGES.load(Relaxed)
}

/// A number of at least 1.
pub struct Setting {
    /// Without the module's.
    pub name: &'static CStr,
    pub max: i64,
    /// Takes `16mb`, too.
    pub is_memory: bool,
    value: AtomicI64,
}

impl Setting {
    pub const fn new(name: &'static CStr, default: i64, max: i64, is_memory: bool) -> Self {
        Setting {
            name,
            max,
            is_memory,
            value: AtomicI64::new(default),
        }
    }

    pub fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }

    pub fn set(&self, value: i64) {
        self.value.store(value, Relaxed);
        CHANGES.fetch_add(1, Relaxed);
    }

    /// Tells the server of it, its value being the default.
    pub fn register(&'static self, ctx: &Context) -> bool {
        let flags = match self.is_memory {
            true => raw::REDISMODULE_CONFIG_MEMORY,
            false => raw::REDISMODULE_CONFIG_DEFAULT,
        };
        let data: *const Setting = self;
        // SAFETY: a live context, a name that ends with a NUL, functions and a setting that stay.
        let status = unsafe {
            api!(RedisModule_RegisterNumericConfig(
                ctx.ctx,
                self.name.as_ptr(),
                self.get(),
                flags,
                1,
                self.max,
                Some(get),
                Some(set),
                None,
                data.cast_mut().cast(),
            ))
        };
        status == raw::REDISMODULE_OK as c_int
    }
}

/// Gives the settings that were registered what redis.conf says.
pub fn load(ctx: &Context) -> bool {
    // SAFETY: a live context.
    unsafe { api!(RedisModule_LoadConfigs(ctx.ctx)) == raw::REDISMODULE_OK as c_int }
}

unsafe extern "C" fn get(_name: *const c_char, data: *mut c_void) -> c_longlong {
    // SAFETY: what `register` gives.
    let setting = unsafe { &*data.cast::<Setting>() };
    guard::catch("reading a setting", || setting.get()).unwrap_or(0)
}

unsafe extern "C" fn set(
    _name: *const c_char,
    number: c_longlong,
    data: *mut c_void,
    _error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: what `register` gives.
    let setting = unsafe { &*data.cast::<Setting>() };
    // The server has looked whether the number is in range.
    match guard::catch("changing a setting", || setting.set(number)) {
        Some(()) => raw::REDISMODULE_OK as c_int,
        None => raw::REDISMODULE_ERR as c_int,
    }
}
