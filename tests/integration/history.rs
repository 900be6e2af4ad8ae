//! Random histories of flushes against a simple model of what a flush means.

use super::support::{text, Conn, Server};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use redis::Value;
use std::collections::BTreeMap;

type Fields = BTreeMap<&'static str, &'static str>;
type Entities = BTreeMap<&'static str, Fields>;

#[derive(Clone, Debug)]
enum Op {
    Snapshot(Fields),
    Insert(Fields),
    Update(BTreeMap<&'static str, Option<&'static str>>),
    Delete,
    Touch,
    Seed(Fields),
}

const IDS: [&str; 3] = ["1", "x", "\u{0}\u{e9}"];
const FIELDS: [&str; 4] = ["a", "b", "status", "\u{1}"];
const VALUES: [&str; 4] = ["", "1", "two", "\r\n\u{0}"];

fn fields() -> impl Strategy<Value = Fields> {
    let pair = (
        prop::sample::select(&FIELDS[..]),
        prop::sample::select(&VALUES[..]),
    );
    prop::collection::btree_map(pair.0, pair.1, 0..4)
}

fn op() -> impl Strategy<Value = Op> {
    let some = prop::option::of(prop::sample::select(&VALUES[..]));
    let named = prop::collection::btree_map(prop::sample::select(&FIELDS[..]), some, 0..4);
    prop_oneof![
        4 => fields().prop_map(Op::Snapshot),
        2 => fields().prop_map(Op::Insert),
        3 => named.prop_map(Op::Update),
        2 => Just(Op::Delete),
        1 => Just(Op::Touch),
        1 => fields().prop_map(Op::Seed),
    ]
}

/// Commands of a few operations each.
fn history() -> impl Strategy<Value = Vec<Vec<(&'static str, Op)>>> {
    let step = (prop::sample::select(&IDS[..]), op());
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..25)
}

fn command(ops: &[(&'static str, Op)]) -> Vec<Vec<u8>> {
    let mut words = vec!["DIRTY.FLUSH".to_string(), "user".into()];
    for (id, op) in ops {
        let (name, values, nulls) = match op {
            Op::Snapshot(fields) => ("SNAPSHOT", Some(fields.clone()), vec![]),
            Op::Insert(fields) => ("INSERT", Some(fields.clone()), vec![]),
            Op::Seed(fields) => ("SEED", Some(fields.clone()), vec![]),
            Op::Delete => ("DELETE", None, vec![]),
            Op::Touch => ("TOUCH", None, vec![]),
            Op::Update(named) => {
                let values = named.iter().filter_map(|(f, v)| Some((*f, (*v)?)));
                let nulls = named.iter().filter(|(_, v)| v.is_none());
                (
                    "UPDATE",
                    Some(values.collect()),
                    nulls.map(|(f, _)| *f).collect(),
                )
            }
        };
        words.extend([name.to_string(), id.to_string()]);
        if let Some(values) = values {
            words.push(values.len().to_string());
            words.extend(
                values
                    .iter()
                    .flat_map(|(f, v)| [f.to_string(), v.to_string()]),
            );
        }
        if !nulls.is_empty() {
            words.extend(["NULL".to_string(), nulls.len().to_string()]);
            words.extend(nulls.into_iter().map(str::to_string));
        }
    }
    words.into_iter().map(String::into_bytes).collect()
}

/// What a flush of these operations means: the effects, or the code of the error, and how many events
/// each of the streams `all`, `inserted` and `status` gets.
fn model(
    entities: &mut Entities,
    ops: &[(&'static str, Op)],
) -> Result<(Vec<&'static str>, [usize; 3]), &'static str> {
    let mut next = entities.clone();
    let mut effects = Vec::new();
    let mut events = [0; 3];
    for (id, op) in ops {
        let old = next.get(id).cloned();
        let new = match (op, &old) {
            (Op::Insert(fields), Some(old)) if fields != old => return Err("EXISTS"),
            (Op::Update(_) | Op::Touch, None) => return Err("NOENTITY"),
            (Op::Snapshot(fields) | Op::Insert(fields) | Op::Seed(fields), _) => {
                Some(fields.clone())
            }
            (Op::Delete, _) => None,
            (Op::Touch, Some(old)) => Some(old.clone()),
            (Op::Update(named), Some(old)) => {
                let mut new = old.clone();
                for (field, value) in named {
                    match value {
                        Some(value) => new.insert(field, value),
                        None => new.remove(field),
                    };
                }
                Some(new)
            }
        };
        let status =
            |fields: &Option<Fields>| fields.as_ref().and_then(|f| f.get("status").copied());
        effects.push(match (op, &old, &new) {
            (Op::Touch, ..) => {
                events[0] += 1;
                "touch"
            }
            (_, old, new) if old == new => "none",
            (Op::Seed(_), ..) => "seed",
            (_, None, _) => {
                events[0] += 1;
                events[1] += 1;
                "insert"
            }
            (_, _, None) => {
                events[0] += 1;
                "delete"
            }
            (_, old, new) => {
                events[0] += 1;
                events[2] += usize::from(status(old) != status(new));
                "update"
            }
        });
        match new {
            Some(fields) => next.insert(id, fields),
            None => next.remove(id),
        };
    }
    *entities = next;
    Ok((effects, events))
}

/// Reads a stream to its end and folds its FULL events into entities.
fn fold(redis: &mut Conn) -> BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>> {
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => Some(bytes.clone()),
        Value::Nil => None,
        other => panic!("{}", text(other)),
    };
    let mut entities = BTreeMap::new();
    let Value::Map(reply) =
        redis.ok(&["DIRTY.CONSUME", "all", "CURSOR", "fold", "COUNT", "100000"])
    else {
        panic!("no map");
    };
    let Value::Array(events) = &reply[0].1 else {
        panic!("no events");
    };
    for event in events {
        let Value::Map(event) = event else {
            panic!("no map");
        };
        let get = |name: &str| {
            event
                .iter()
                .find(|(key, _)| text(key) == name)
                .map(|(_, v)| v.clone())
        };
        let id = bytes(&get("entity_id").unwrap()).unwrap();
        if text(&get("op").unwrap()) == "delete" {
            entities.remove(&id);
            continue;
        }
        let fields: &mut BTreeMap<_, _> = entities.entry(id).or_default();
        let Some(Value::Map(changes)) = get("changes") else {
            continue;
        };
        for (field, change) in changes {
            let (field, Value::Array(change)) = (bytes(&field).unwrap(), change) else {
                panic!("no change");
            };
            assert_eq!(
                fields.get(&field).cloned(),
                bytes(&change[0]),
                "the old value"
            );
            match bytes(&change[1]) {
                Some(value) => fields.insert(field, value),
                None => fields.remove(&field),
            };
        }
    }
    entities
}

fn check(redis: &mut Conn, replica: &mut Conn, history: &[Vec<(&'static str, Op)>]) {
    redis.run("FLUSHALL");
    redis.run(
        "DIRTY.DECLARE user STREAM all PAYLOAD FULL STREAM inserted OPS I PAYLOAD KEYS \
         STREAM status OPS NONE FIELDS 1 status",
    );
    let mut entities = Entities::new();
    let mut total = [0usize; 3];
    let mut seeded = false;
    for ops in history {
        let command = command(ops);
        let before = redis.digest();
        let reply = redis.raw(&command);
        match model(&mut entities, ops) {
            Err(code) => {
                assert!(reply.starts_with(code), "{ops:?}: {reply}");
                assert_eq!(redis.digest(), before, "{ops:?}");
            }
            Ok((effects, events)) => {
                assert_eq!(reply, format!("[{}]", effects.join(" ")), "{ops:?}");
                seeded |= effects.contains(&"seed");
                for (total, events) in total.iter_mut().zip(events) {
                    *total += events;
                }
            }
        }
    }
    // Every stream has its events, counted without a gap.
    for (stream, total) in ["all", "inserted", "status"].iter().zip(total) {
        let reply = redis.run(&format!("XREVRANGE {stream} + - COUNT 1"));
        let seq = reply
            .split(['-', ' '])
            .nth(1)
            .map_or(0, |seq| seq.parse().unwrap());
        assert_eq!(
            (redis.run(&format!("XLEN {stream}")), seq),
            (format!("({total})"), total)
        );
    }
    // The snapshots are the entities, no more and no less than a hash each.
    let keys = redis.run("DBSIZE");
    let streams = total.iter().filter(|total| **total > 0).count();
    assert_eq!(keys, format!("({})", 1 + streams + entities.len()));
    for (id, fields) in &entities {
        let hash = redis.value(&[b"HGETALL", [b"user:", id.as_bytes()].concat().as_slice()]);
        let Value::Map(pairs) = hash else {
            panic!("{}", text(&hash));
        };
        let stored: BTreeMap<String, String> =
            pairs.iter().map(|(f, v)| (text(f), text(v))).collect();
        let bulk = |text_: &str| text(&Value::BulkString(text_.as_bytes().to_vec()));
        let mut expected: BTreeMap<String, String> =
            fields.iter().map(|(f, v)| (bulk(f), bulk(v))).collect();
        if fields.is_empty() {
            expected.insert("@".into(), bulk(""));
        }
        assert_eq!(stored, expected, "{id:?}");
    }
    // Folding all events gives the snapshots, unless some were seeded past them.
    if !seeded {
        let owned = |text: &str| text.as_bytes().to_vec();
        let expected: BTreeMap<_, BTreeMap<_, _>> = entities
            .iter()
            .map(|(id, fields)| {
                (
                    owned(id),
                    fields.iter().map(|(f, v)| (owned(f), owned(v))).collect(),
                )
            })
            .collect();
        assert_eq!(fold(redis), expected);
    }
    let digest = redis.digest();
    redis.run("DEBUG RELOAD");
    assert_eq!(redis.digest(), digest);
    redis.run("WAIT 1 5000");
    assert_eq!(replica.digest(), digest);
}

#[test]
fn every_history_does_what_the_model_says() {
    let primary = Server::start();
    let replica = Server::replica_of(&primary);
    let mut redis = primary.connect_resp3();
    let mut follower = replica.connect();
    let cases = std::env::var("HISTORIES").map_or(60, |cases| cases.parse().expect("a number"));
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let connections = std::cell::RefCell::new((&mut redis, &mut follower));
    let result = TestRunner::new(config).run(&history(), |history| {
        let mut connections = connections.borrow_mut();
        let (redis, follower) = &mut *connections;
        check(redis, follower, &history);
        Ok(())
    });
    if let Err(TestError::Fail(why, history)) = result {
        let commands: Vec<String> = history
            .iter()
            .map(|ops| text(&Value::BulkString(command(ops).join(&b' '))))
            .collect();
        panic!("{why}, after\n{}", commands.join("\n"));
    }
}
