//! Random histories of commands on random declarations, against a simple model of what they mean.
//!
//! `HISTORIES=1000` tries more of them, `SEED=n` those of a run that failed.

mod generate;
mod model;

use super::support::dice::runner;
use super::support::{Conn, Server, text};
use generate::{Command, Declared, Stream, history};
use model::{Model, Reply, Told};
use proptest::test_runner::TestError;
use redis::Value;
use std::collections::{BTreeMap, BTreeSet};

type Bytes = Vec<u8>;

/// Snapshots as folding a stream's events gives them.
type Folded = BTreeMap<Bytes, BTreeMap<Bytes, Bytes>>;

/// The bytes of a value; typed ones as their canonical text, `None` for null.
fn bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::Nil => None,
        Value::BulkString(bytes) => Some(bytes.clone()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        other => panic!("no value: {}", text(other)),
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        other => panic!("no array: {}", text(other)),
    }
}

/// The pairs of a flat array.
fn pairs(value: Option<&Value>) -> impl Iterator<Item = (&Value, &Value)> {
    let items = value.map(items).unwrap_or_default();
    items.chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
}

fn get<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    let mut pairs = pairs(Some(map));
    pairs
        .find(|(key, _)| text(key) == name)
        .map(|(_, value)| value)
}

/// The events that a stream still has.
fn events(redis: &mut Conn, stream: &str) -> Vec<Value> {
    let reply = redis.ok(&["DIRTY.READ", stream, "FROM", "0", "COUNT", "100000"]);
    items(get(&reply, "events").expect("events")).to_vec()
}

fn image(event: &Value, name: &str) -> BTreeMap<Bytes, Bytes> {
    let pairs = pairs(get(event, name));
    pairs
        .filter_map(|(field, value)| Some((bytes(field)?, bytes(value)?)))
        .collect()
}

/// From FULL events: what changed, each old value as it was.
fn fold_full(
    event: &Value,
    fields: Option<BTreeMap<Bytes, Bytes>>,
) -> Option<BTreeMap<Bytes, Bytes>> {
    let op = text(get(event, "op").expect("an op"));
    let changes: Vec<_> = pairs(get(event, "changes"))
        .map(|(field, change)| {
            let change = items(change);
            (
                bytes(field).expect("a field"),
                bytes(&change[0]),
                bytes(&change[1]),
            )
        })
        .collect();
    if op == "delete" {
        return None;
    }
    let mut fields = match op.as_str() {
        "insert" => BTreeMap::new(),
        _ => fields.unwrap_or_default(),
    };
    for (field, old, new) in changes {
        assert_eq!(fields.get(&field).cloned(), old, "the old value");
        match new {
            Some(value) => fields.insert(field, value),
            None => fields.remove(&field),
        };
    }
    Some(fields)
}

/// From IMAGES events: what is after, and what was before as it was.
fn fold_images(
    event: &Value,
    fields: Option<BTreeMap<Bytes, Bytes>>,
) -> Option<BTreeMap<Bytes, Bytes>> {
    let op = text(get(event, "op").expect("an op"));
    if op != "insert" {
        assert_eq!(
            fields.unwrap_or_default(),
            image(event, "before"),
            "the state before"
        );
    }
    (op != "delete").then(|| image(event, "after"))
}

fn fold(redis: &mut Conn, stream: &str) -> Folded {
    let mut entities = Folded::new();
    for event in events(redis, stream) {
        let id = get(&event, "entity-id").and_then(bytes).expect("an id");
        let before = entities.remove(&id);
        let after = match stream {
            "full" => fold_full(&event, before),
            _ => fold_images(&event, before),
        };
        entities.extend(after.map(|after| (id, after)));
    }
    entities
}

/// A reply as the model says it: ids without their time, changed fields in any order.
fn told(value: &Value) -> Told {
    let (effect, changed, events) = match value {
        Value::Array(parts) => (&parts[0], &parts[1], &parts[2]),
        effect => {
            return Told {
                effect: text(effect).leak(),
                details: None,
            };
        }
    };
    let name = |value: &Value| String::from_utf8(bytes(value).expect("a name")).expect("UTF-8");
    let seq = |id: &Value| name(id).split('-').nth(1).and_then(|seq| seq.parse().ok());
    let changed = items(changed).iter().map(|field| &*name(field).leak());
    let events = pairs(Some(events)).map(|(stream, id)| match id {
        Value::Nil => (name(stream), None),
        id => (name(stream), Some(seq(id).expect("a seq"))),
    });
    Told {
        effect: text(effect).leak(),
        details: Some((changed.collect(), events.collect())),
    }
}

fn reply(command: &Command, value: &Value) -> Reply {
    let all = |value: &Value| items(value).iter().map(told).collect::<Vec<_>>();
    match (command, value) {
        (_, Value::ServerError(error)) => Reply::Error(error.code().to_string().leak()),
        (_, Value::Int(count)) => Reply::Count(usize::try_from(*count).expect("a count")),
        (Command::Commit(_), value) => {
            let flushes = items(value).iter();
            Reply::Commit(
                flushes
                    .map(|flush| (*flush != Value::Nil).then(|| all(flush)))
                    .collect(),
            )
        }
        (_, value) if text(value) == "[deferred]" => Reply::Deferred,
        (_, value) => Reply::Effects(all(value)),
    }
}

fn owned(state: &model::State) -> BTreeMap<Bytes, Bytes> {
    let pairs = state.iter();
    pairs
        .map(|(field, value)| (field.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn check_stored(redis: &mut Conn, model: &Model) {
    let keys = redis.ok(&["KEYS", "*"]);
    let keys: BTreeSet<Bytes> = items(&keys).iter().filter_map(bytes).collect();
    assert_eq!(keys, model.keys());
    let buried = model.tombstones.iter().map(|(id, version)| {
        let marker = (b"@".to_vec(), version.to_string().into_bytes());
        (*id, [marker].into())
    });
    let entities = model.entities.iter().map(|(id, state)| {
        let mut stored = owned(state);
        if stored.is_empty() {
            stored.insert(b"@".to_vec(), Bytes::new());
        }
        (*id, stored)
    });
    for (id, expected) in buried.chain(entities) {
        let hash = redis.value(&[b"HGETALL", [b"user:", id.as_bytes()].concat().as_slice()]);
        let stored: BTreeMap<Bytes, Bytes> = pairs(Some(&hash))
            .filter_map(|(field, value)| Some((bytes(field)?, bytes(value)?)))
            .collect();
        assert_eq!(stored, expected, "{id:?}");
    }
}

/// Exactly the events there should be, in order, counted without a gap.
fn check_events(redis: &mut Conn, declared: &Declared, model: &Model) {
    let streams = declared
        .streams
        .iter()
        .zip(&model.events)
        .zip(model.lengths());
    for ((Stream { name, behind, .. }, expected), length) in streams {
        assert_eq!(
            redis.run(&format!("XLEN {name}")),
            format!("({length})"),
            "{name}"
        );
        if expected.is_empty() && !behind {
            continue; // not even a key, which reading would make
        }
        let first = expected.len() - length + 1;
        let expected: Vec<_> = expected
            .iter()
            .zip(1..)
            .skip(first - 1)
            .map(|((id, op), seq)| (id.as_bytes().to_vec(), op.to_string(), seq))
            .collect();
        let got: Vec<_> = events(redis, name)
            .iter()
            .map(|event| {
                let id = text(get(event, "id").expect("an id"));
                let seq: usize = id
                    .split('-')
                    .nth(1)
                    .and_then(|seq| seq.parse().ok())
                    .expect("a seq");
                let entity = get(event, "entity-id").and_then(bytes);
                let op = get(event, "op").map(text);
                (entity.expect("an entity"), op.expect("an op"), seq)
            })
            .collect();
        assert_eq!(got, expected, "{name}");
    }
}

fn check(redis: &mut Conn, replica: &mut Conn, declared: &Declared, history: &[Command]) {
    redis.run("FLUSHALL");
    assert_eq!(redis.raw(&declared.words()), "OK");
    for stream in declared.streams.iter().filter(|stream| stream.behind) {
        redis.run(&format!("XGROUP CREATE {} slow 0 MKSTREAM", stream.name));
    }
    let mut model = Model::new(declared);
    for command in history {
        let before = redis.digest();
        let expected = model.run(command);
        let value = redis.value(&command.words(declared));
        assert_eq!(
            reply(command, &value),
            expected,
            "{command:?}: {}",
            text(&value)
        );
        let dry = matches!(command, Command::Flush(flush) if flush.dry_run);
        if dry || matches!(expected, Reply::Error(_)) {
            assert_eq!(redis.digest(), before, "{command:?}");
        }
    }
    check_stored(redis, &model);
    check_events(redis, declared, &model);
    // Folding all events gives the snapshots, unless some were seeded past them.
    if !model.seeded && !declared.stateless {
        let expected: Folded = model
            .visible()
            .map(|(id, state)| (id.as_bytes().to_vec(), owned(state)))
            .collect();
        for stream in ["full", "images", "debezium"] {
            if !model.events[0].is_empty() {
                let folded = fold(redis, stream);
                assert_eq!(folded, expected, "{stream}");
            }
        }
    }
    let digest = redis.digest();
    redis.run("DEBUG RELOAD");
    assert_eq!(redis.digest(), digest, "from the RDB file");
    redis.run("DEBUG LOADAOF");
    assert_eq!(redis.digest(), digest, "from the AOF");
    redis.run("WAIT 1 5000");
    assert_eq!(replica.digest(), digest, "on the replica");
}

#[test]
fn every_history_does_what_the_model_says() {
    let (seed, mut runner) = runner();
    let primary = Server::with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let replica = Server::replica_of(&primary);
    let mut redis = primary.connect();
    let mut follower = replica.connect();
    let connections = std::cell::RefCell::new((&mut redis, &mut follower));
    let result = runner.run(&history(), |(declared, history)| {
        let mut connections = connections.borrow_mut();
        let (redis, follower) = &mut *connections;
        check(redis, follower, &declared, &history);
        Ok(())
    });
    if let Err(TestError::Fail(why, (declared, history))) = result {
        let commands: Vec<String> = std::iter::once(declared.words())
            .chain(history.iter().map(|command| command.words(&declared)))
            .map(|words| text(&Value::BulkString(words.join(&b' '))))
            .collect();
        panic!("SEED={seed}: {why}, after\n{}", commands.join("\n"));
    }
}
