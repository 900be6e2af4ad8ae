//! The module's settings: `dirty.…` in redis.conf and CONFIG, or behind the module's path as it is loaded.

use crate::redis::log;
use crate::redis::settings::{self, Setting};
use dirty_streams_core::entity::decimal;
use dirty_streams_core::entity::limits::Limits;
use dirty_streams_core::error::Quoted;
use dirty_streams_core::reading;
use redis_module::{Context, RedisString};

/// As redis.conf may have it.
fn parse(setting: &Setting, text: &[u8]) -> Option<i64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match setting.is_memory {
        true => memory_unit(unit)?,
        false if unit.is_empty() => 1,
        false => return None,
    };
    let number = decimal::parse(number)?.checked_mul(unit)?;
    let number = i64::try_from(number).ok()?;
    (1..=setting.max).contains(&number).then_some(number)
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

/// Some 100 MiB of entries that a group keeps for keys that others hold.
static QUEUED: Setting = Setting::new(c"max-queued", 1_000_000, u32::MAX as i64, false);

static SETTINGS: [&Setting; 5] = [&FIELDS, &OPS, &VALUE_BYTES, &EVENT_BYTES, &QUEUED];

/// What one call of a reader may cost.
pub fn reading_limits() -> reading::Limits {
    reading::Limits {
        max_queued: u32::try_from(QUEUED.get()).unwrap_or(u32::MAX),
        ..reading::Limits::default()
    }
}

/// In force now.
pub fn limits() -> Limits {
    Limits {
        fields: size(&FIELDS),
        ops: size(&OPS),
        value_bytes: size(&VALUE_BYTES),
        event_bytes: size(&EVENT_BYTES),
    }
}

fn size(setting: &Setting) -> usize {
    let size = usize::try_from(setting.get());
    debug_assert!(size.is_ok(), "the server allows 1 and more");
    size.unwrap_or(usize::MAX)
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
    SETTINGS.iter().all(|setting| setting.register(ctx)) && settings::load(ctx)
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
        let number = parse(setting, number).ok_or_else(|| {
            let (name, max) = (setting.name.to_string_lossy(), setting.max);
            format!("{name} takes 1 to {max}, not {}", Quoted::new(number))
        })?;
        setting.set(number);
    }
    Ok(())
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
            assert_eq!(parse(setting, text.as_bytes()), expected, "{text}");
        }
    }
}
