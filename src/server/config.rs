//! The module's settings: `dirty.…` in redis.conf and CONFIG, or behind the module's path as it is loaded.

use crate::redis::{api::api, guard, log};
use dirty_streams_core::entity::decimal;
use dirty_streams_core::entity::limits::Limits;
use dirty_streams_core::error::Quoted;
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

    /// As redis.conf may have it.
    fn parse(&self, text: &[u8]) -> Option<i64> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let unit = match self.is_memory {
            true => memory_unit(unit)?,
            false if unit.is_empty() => 1,
            false => return None,
        };
        let number = decimal::parse(number)?.checked_mul(unit)?;
        let number = i64::try_from(number).ok()?;
        (1..=self.most).contains(&number).then_some(number)
    }
}

/// The server's own.
fn memory_unit(text: &[u8]) -> Option<u64> {
    Some(match text.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    })
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

/// Takes the module's arguments: `max-ops 1000`. Else says what is wrong with them.
fn take(args: &[RedisString]) -> Result<(), String> {
    for pair in args.chunks(2) {
        let (name, number) = match pair {
            [name, number] => (name, number),
            _ => {
                let name = pair.first().map_or(b"".as_slice(), |name| name);
                return Err(format!("{} has no value", Quoted::new(name)));
            }
        };
        let mut settings = SETTINGS.iter();
        let setting = settings
            .find(|setting| name.eq_ignore_ascii_case(setting.name.to_bytes()))
            .ok_or_else(|| {
                let names = SETTINGS.map(|setting| setting.name.to_string_lossy());
                format!("{} is none of {}", Quoted::new(name), names.join(", "))
            })?;
        let number = setting.parse(number).ok_or_else(|| {
            let (name, most) = (setting.name.to_string_lossy(), setting.most);
            format!("{name} takes 1 to {most}, not {}", Quoted::new(number))
        })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbers_as_redis_conf_has_them() {
        for (setting, text, expected) in [
            (&OPS, "1000", Some(1000)),
            (&OPS, "1", Some(1)),
            (&OPS, "0", None),
            (&OPS, "", None),
            (&OPS, "-1", None),
            (&OPS, "+1", None),
            (&OPS, "1k", None),
            (&OPS, "9223372036854775807", Some(i64::MAX)),
            (&OPS, "9223372036854775808", None),
            (&VALUE_BYTES, "16mb", Some(16 * MIB)),
            (&VALUE_BYTES, "1MB", Some(MIB)),
            (&VALUE_BYTES, "1m", Some(1_000_000)),
            (&VALUE_BYTES, "7b", Some(7)),
            (&VALUE_BYTES, "2Gb", Some(2048 * MIB)),
            (&VALUE_BYTES, "9223372036854775807gb", None),
            (&VALUE_BYTES, "mb", None),
            (&VALUE_BYTES, "1 mb", None),
            (&VALUE_BYTES, "1tb", None),
            (&EVENT_BYTES, "512mb", Some(512 * MIB)),
            (&EVENT_BYTES, "1gb", None),
        ] {
            assert_eq!(setting.parse(text.as_bytes()), expected, "{text}");
        }
    }
}
