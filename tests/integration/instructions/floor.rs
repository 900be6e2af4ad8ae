//! How few instructions the flushes could take: those of scripts/bench/floor.c, which makes only the calls of the module
//! API that cannot be avoided. `make bench` asks for them, by the path of that module in FLOOR_MODULE.

use super::super::support::text;
use super::{Conn, ENTITIES, Walk, Words, batches, each, flush, flushes, run};
use redis::Value;

/// The module of floor.c, if it is to be counted.
pub fn module() -> Option<String> {
    std::env::var("FLOOR_MODULE").ok()
}

/// A floor is called by the name of its path, and this before it.
pub const WALKS: [Walk; 9] = [
    floor(
        "floor: FLUSH, 1 of 10 fields changed",
        |redis| as_long_as(redis, "update-changes"),
        |redis| run(redis, &by("FLOOR.FLUSH", flush("update", 2))),
    ),
    floor(
        "floor: FLUSH, nothing changed",
        |_| (),
        |redis| run(redis, &by("FLOOR.FLUSH", flush("unchanged", 0))),
    ),
    floor(
        "floor: FLUSH of 100 entities, each",
        |redis| as_long_as(redis, "batch-changes"),
        |redis| run(redis, &by("FLOOR.FLUSH", batches(2))),
    ),
    floor(
        "floor: FLUSH, STATELESS UPDATE of 1 field",
        |redis| as_long_as(redis, "stateless-changes"),
        |redis| {
            let update = |id| format!("FLOOR.STATELESS stateless UPDATE user-{id:06} 1 logins 0 1");
            run(redis, &each(update));
        },
    ),
    floor(
        "floor: FLUSH UPDATE of 1 of 10 fields",
        |redis| as_long_as(redis, "updated-changes"),
        |redis| run(redis, &flushes::updates("FLOOR.UPDATE", 2)),
    ),
    floor(
        "floor: FLUSH INSERT of 10 fields",
        |redis| as_long_as(redis, "inserted-changes"),
        |redis| run(redis, &flushes::inserts("FLOOR.INSERT", "flor")),
    ),
    floor(
        "floor: FLUSH as JSON, 1 of 10 fields changed",
        |redis| as_long_as(redis, "json-changes"),
        |redis| run(redis, &flushes::objects("FLOOR.JSON", 2)),
    ),
    floor(
        "floor: FLUSH, PAYLOAD IMAGES",
        |redis| as_long_as(redis, "images-changes"),
        |redis| run(redis, &by("FLOOR.FLUSH", flush("images", 2))),
    ),
    floor(
        "floor: FLUSH, FORMAT DEBEZIUM",
        |redis| as_long_as(redis, "debezium-changes"),
        |redis| run(redis, &by("FLOOR.DEBEZIUM", flush("debezium", 2))),
    ),
];

const fn floor(name: &'static str, prepare: fn(&mut Conn), walk: fn(&mut Conn)) -> Walk {
    Walk {
        name,
        units: ENTITIES,
        prepare,
        walk,
    }
}

/// The same commands, of the other module.
fn by(name: &str, mut commands: Vec<Words>) -> Vec<Words> {
    commands
        .iter_mut()
        .for_each(|command| command[0] = name.into());
    commands
}

/// The floor's events are as long as the last one of this stream.
fn as_long_as(redis: &mut Conn, stream: &str) {
    let Value::Array(entries) = redis.ok(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]) else {
        panic!("entries of {stream}");
    };
    let value = match entries.as_slice() {
        [Value::Array(entry)] => match entry.as_slice() {
            [_, Value::Array(words)] => words.last(),
            _ => None,
        },
        _ => None,
    };
    let Some(Value::BulkString(bytes)) = value else {
        panic!("{}", text(&Value::Array(entries)));
    };
    assert_eq!(redis.run(&format!("FLOOR.EVENTS {}", bytes.len())), "OK");
}

/// Each floor has stored what its flush says, and published so many events.
pub fn check_effects(redis: &mut Conn) {
    for (command, reply) in [
        ("XLEN floor-changes-0", "(7000)"),
        ("XLEN floor-stateless-changes", "(1000)"),
        ("HLEN inserted:flor-000999", "(10)"),
        ("HGET inserted:flor-000999 logins", "1"),
        ("HGET update:user-000999 logins", "2"),
        ("HGET batch:user-000999 logins", "2"),
        ("HGET updated:user-000999 logins", "2"),
        ("HGET json:user-000999 logins", "2"),
        ("HGET images:user-000999 logins", "2"),
        ("HGET debezium:user-000999 logins", "2"),
    ] {
        assert_eq!(redis.run(command), reply, "{command}");
    }
}
