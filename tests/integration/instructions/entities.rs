//! What reads all entities of a type, against the server's own commands; and what a run of RECONCILE must not hold the
//! server up with. Each has a database of its own, since SCAN looks at all keys.

use super::super::support::readers::{field, get};
use super::super::support::{Conn, text};
use super::{ENTITIES, Walk, flush, run, words};
use redis::Value;

const NATIVE: &str = "SCAN 100, HGETALL of 10 fields, each";
const SNAPSHOT: &str = "CONSUME 100 of SNAPSHOT, ACK, each";
const SCAN: &str = "DIRTY.SCAN 100, each";

/// Calls that are made once.
pub const ONCE: [&str; 4] = [
    "SWEEP counts again",
    "SWEEP counts again, many missing",
    "ABORT",
    "ABORT, many missing",
];

/// As in `readers`. A count that begins forgets what the one before it has marked, in the tables that it looks at.
pub const GOALS: [(&str, f64, &str); 4] = [
    (SNAPSHOT, 2.0, NATIVE),
    (SCAN, 2.0, NATIVE),
    (
        "SWEEP counts again, many missing",
        1.5,
        "SWEEP counts again",
    ),
    ("ABORT, many missing", 3.0, "ABORT"),
];

pub fn walks(redis: &mut Conn) -> Vec<Walk> {
    for (database, entities) in [(1, ENTITIES), (2, ENTITIES), (3, 20 * ENTITIES)] {
        redis.run(&format!("SELECT {database}"));
        redis.run("DIRTY.DECLARE all TYPES 1 logins int STREAM s PAYLOAD FULL");
        for entities in (0..entities).collect::<Vec<_>>().chunks(ENTITIES) {
            run(redis, &seeded(entities[0]));
        }
    }
    redis.run("SELECT 1");
    redis.run("DIRTY.READER s CURSOR c FROM SNAPSHOT 1 all");
    redis.run("SELECT 0");
    let walk = |name, units, prepare, walk| Walk {
        name,
        units,
        prepare,
        walk,
    };
    vec![
        walk(NATIVE, ENTITIES, |redis| select(redis, 1), native),
        walk(SNAPSHOT, ENTITIES, |redis| select(redis, 1), bootstrap),
        walk(SCAN, ENTITIES, |redis| select(redis, 1), scan),
        walk("SWEEP counts again", 1, |redis| counted(redis, 2), sweep),
        walk("ABORT", 1, |_| (), abort),
        walk(
            "SWEEP counts again, many missing",
            1,
            |redis| counted(redis, 3),
            sweep,
        ),
        walk("ABORT, many missing", 1, |_| (), abort),
    ]
}

/// A thousand entities, which nobody is told of.
fn seeded(from: usize) -> Vec<super::Words> {
    let mut commands = flush("all", 7);
    for (command, n) in commands.iter_mut().zip(from..) {
        command[2] = "SEED".into();
        command[3] = format!("user-{n:06}");
    }
    commands
}

fn select(redis: &mut Conn, database: u8) {
    redis.run(&format!("SELECT {database}"));
}

/// A page of the server's SCAN, and where the next begins.
fn page(reply: &Value) -> (String, &[Value]) {
    match reply {
        Value::Array(page) => match page.as_slice() {
            [next, Value::Array(found)] => (text(next), found),
            _ => panic!("{}", text(reply)),
        },
        _ => panic!("{}", text(reply)),
    }
}

fn native(redis: &mut Conn) {
    let (mut cursor, mut read) = ("0".to_string(), 0);
    loop {
        let line = format!("SCAN {cursor} MATCH all:* COUNT 100 TYPE hash");
        let reply = redis.value(&words(line));
        let (next, keys) = page(&reply);
        let commands = keys
            .iter()
            .map(|key| words(format!("HGETALL {}", text(key))));
        let commands: Vec<_> = commands.collect();
        run(redis, &commands);
        read += keys.len();
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(read, ENTITIES);
}

fn scan(redis: &mut Conn) {
    let (mut cursor, mut read) = ("0".to_string(), 0);
    loop {
        let reply = redis.value(&words(format!("DIRTY.SCAN all {cursor} COUNT 100")));
        let (next, entities) = page(&reply);
        read += entities.len();
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(read, ENTITIES);
}

fn bootstrap(redis: &mut Conn) {
    let (mut ack, mut read) = (String::new(), 0);
    loop {
        let reply = redis.value(&words(format!("DIRTY.CONSUME s CURSOR c {ack}")));
        let Value::Array(events) = get(&reply, "events") else {
            panic!("{}", text(&reply));
        };
        read += events.len();
        ack = format!("ACK {}", text(get(&reply, "position")));
        if field(&reply, "phase").is_none_or(|phase| text(&phase) == "stream") {
            break;
        }
    }
    assert_eq!(read, ENTITIES);
}

/// A run that has counted all entities as missing.
fn counted(redis: &mut Conn, database: u8) {
    select(redis, database);
    assert_eq!(redis.run("DIRTY.RECONCILE all BEGIN r"), "OK");
    for _ in 0..1000 {
        let sweep = "DIRTY.RECONCILE all SWEEP r DRYRUN MAXDELETE 100%";
        if redis.run(sweep).contains("phase done") {
            return;
        }
    }
    panic!("it counts without an end");
}

/// A page of the next count.
fn sweep(redis: &mut Conn) {
    let reply = redis.run("DIRTY.RECONCILE all SWEEP r DRYRUN COUNT 100");
    assert!(reply.contains("phase counting scanned (10"), "{reply}");
}

fn abort(redis: &mut Conn) {
    assert_eq!(redis.run("DIRTY.RECONCILE all ABORT r"), "(1)");
}
