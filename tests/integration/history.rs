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

type Folded = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes.clone()),
        Value::Nil => None,
        other => panic!("{}", text(other)),
    }
}

fn pairs(map: Option<&Value>) -> &[(Value, Value)] {
    match map {
        Some(Value::Map(pairs)) => pairs,
        None => &[],
        Some(other) => panic!("no map: {}", text(other)),
    }
}

fn get<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    let pair = pairs(Some(map)).iter().find(|(key, _)| text(key) == name);
    pair.map(|(_, value)| value)
}

/// Reads a stream to its end; `apply` says what an event that is no delete does to its entity.
fn fold_with(
    redis: &mut Conn,
    stream: &str,
    apply: impl Fn(&Value, &mut BTreeMap<Vec<u8>, Vec<u8>>),
) -> Folded {
    let mut entities = Folded::new();
    let reply = redis.ok(&["DIRTY.CONSUME", stream, "CURSOR", "fold", "COUNT", "100000"]);
    let Some(Value::Array(events)) = get(&reply, "events") else {
        panic!("no events");
    };
    for event in events {
        let id = get(event, "entity_id").and_then(bytes).expect("an id");
        if get(event, "op").map(text).as_deref() == Some("delete") {
            entities.remove(&id);
        } else {
            apply(event, entities.entry(id).or_default());
        }
    }
    entities
}

/// From FULL events: what changed, each old value as it was.
fn fold(redis: &mut Conn) -> Folded {
    fold_with(redis, "all", |event, fields| {
        for (field, change) in pairs(get(event, "changes")) {
            let (field, Value::Array(change)) = (bytes(field).expect("a field"), change) else {
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
    })
}

/// From IMAGES events: what is after, and what was before as it was.
fn fold_images(redis: &mut Conn) -> Folded {
    let image = |map: Option<&Value>| -> BTreeMap<Vec<u8>, Vec<u8>> {
        let pairs = pairs(map).iter();
        pairs
            .filter_map(|(f, v)| Some((bytes(f)?, bytes(v)?)))
            .collect()
    };
    fold_with(redis, "images", |event, fields| {
        assert_eq!(*fields, image(get(event, "before")), "the state before");
        *fields = image(get(event, "after"));
    })
}

fn check(redis: &mut Conn, replica: &mut Conn, history: &[Vec<(&'static str, Op)>]) {
    redis.run("FLUSHALL");
    redis.run(
        "DIRTY.DECLARE user STREAM all PAYLOAD FULL STREAM inserted OPS I PAYLOAD KEYS \
         STREAM status OPS NONE FIELDS 1 status STREAM images PAYLOAD IMAGES",
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
    let [all, ..] = total;
    let total: Vec<usize> = total.into_iter().chain([all]).collect();
    let streams = ["all", "inserted", "status", "images"];
    for (stream, total) in streams.iter().zip(&total) {
        let reply = redis.run(&format!("XREVRANGE {stream} + - COUNT 1"));
        let seq = reply
            .split(['-', ' '])
            .nth(1)
            .map_or(0, |seq| seq.parse().unwrap());
        assert_eq!(
            (redis.run(&format!("XLEN {stream}")), seq),
            (format!("({total})"), *total)
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
        assert_eq!(fold_images(redis), expected);
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
