//! The module's settings: `dirty.…` in redis.conf and CONFIG, or behind the module's path as it is loaded.

use super::{api::api, guard, log};
use crate::entity::limits::Limits;
use crate::error::Quoted;
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_char, c_int, c_longlong, c_void, CStr};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

struct Setting {
    /// Without the module's.
    name: &'static CStr,
    value: AtomicI64,
    most: i64,
    /// Takes `16mb`, too.
    is_memory: bool,
}

impl Setting {
    const fn new(name: &'static CStr, default: i64, most: i64, is_memory: bool) -> Self {
        Setting {
            name,
            value: AtomicI64::new(default),
            most,
            is_memory,
        }
    }

    fn get(&self) -> usize {
        usize::try_from(self.value.load(Relaxed)).unwrap_or(usize::MAX)
    }
}

const MIB: i64 = 1024 * 1024;

// Chosen by measuring: at all of them together a command takes some seconds and some hundred MiB at worst.
static FIELDS: Setting = Setting::new(c"max-fields", 10_000, i64::MAX, false);
static OPS: Setting = Setting::new(c"max-ops", 10_000, i64::MAX, false);
static VALUE_BYTES: Setting = Setting::new(c"max-value-bytes", 16 * MIB, i64::MAX, true);
/// Redis refuses entries of more than 1 GiB; half of that is also its own default limit of a value.
static EVENT_BYTES: Setting = Setting::new(c"max-event-bytes", 64 * MIB, 512 * MIB, true);

static SETTINGS: [&Setting; 4] = [&FIELDS, &OPS, &VALUE_BYTES, &EVENT_BYTES];

/// In force now.
pub fn limits() -> Limits {
    Limits {
        fields: FIELDS.get(),
        ops: OPS.get(),
        value_bytes: VALUE_BYTES.get(),
        event_bytes: EVENT_BYTES.get(),
    }
}

/// Registers the settings and takes what redis.conf says. The module's arguments, pairs of a name and a
/// number, are the defaults for that, so that CONFIG REWRITE leaves them where they are.
pub fn register(ctx: &Context, args: &[RedisString]) -> bool {
    if let Err(wrong) = take(args) {
        log::warning(&format!(
            "the module's arguments are not understood: {wrong}"
        ));
        return false;
    }
    let ok = raw::REDISMODULE_OK as c_int;
    let registered = SETTINGS.iter().all(|setting| {
        let flags = match setting.is_memory {
            true => raw::REDISMODULE_CONFIG_MEMORY,
            false => raw::REDISMODULE_CONFIG_DEFAULT,
        };
        let data: *const Setting = *setting;
        // SAFETY: a live context, a name that ends with a NUL, functions and a setting that stay.
        let status = unsafe {
            api!(RedisModule_RegisterNumericConfig(
                ctx.ctx,
                setting.name.as_ptr(),
                setting.value.load(Relaxed),
                flags,
                1,
                setting.most,
                Some(get),
                Some(set),
                None,
                data.cast_mut().cast(),
            ))
        };
        status == ok
    });
    // SAFETY: a live context.
    registered && unsafe { api!(RedisModule_LoadConfigs(ctx.ctx)) } == ok
}

/// Takes the module's arguments: `max-ops 1000`.
fn take(args: &[RedisString]) -> Result<(), Quoted> {
    for pair in args.chunks(2) {
        let [name, number] = pair else {
            return Err(Quoted::new(pair.first().map_or(b"", |word| word)));
        };
        let mut settings = SETTINGS.iter();
        let setting = settings
            .find(|setting| name.eq_ignore_ascii_case(setting.name.to_bytes()))
            .ok_or_else(|| Quoted::new(name))?;
        let text = std::str::from_utf8(number).ok();
        let number: i64 = text
            .and_then(|text| text.parse().ok())
            .filter(|number| (1..=setting.most).contains(number))
            .ok_or_else(|| Quoted::new(number))?;
        setting.value.store(number, Relaxed);
    }
    Ok(())
}

unsafe extern "C" fn get(_name: *const c_char, data: *mut c_void) -> c_longlong {
    // SAFETY: what `register` gives.
    let setting = unsafe { &*data.cast::<Setting>() };
    guard::catch("reading a setting", || setting.value.load(Relaxed)).unwrap_or(0)
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
    match guard::catch("changing a setting", || {
        setting.value.store(number, Relaxed)
    }) {
        Some(()) => raw::REDISMODULE_OK as c_int,
        None => raw::REDISMODULE_ERR as c_int,
    }
}
