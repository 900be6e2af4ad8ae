//! Readers of a stream: what they are replied, what they hold, and those that wait.

use super::{Conn, Server, text, words};
use redis::Value;
use std::collections::BTreeSet;

/// A stream `s` with inserts of the entities 1 to n, and a connection.
pub fn stream_of(server: &Server, n: usize) -> Conn {
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    for id in 1..=n {
        redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
    }
    redis
}

/// The parts of a reply that tests look at.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// The entity of each event, or `raw`, with its deliveries if more than one: `7`, `7x2`.
    pub events: Vec<String>,
    pub ids: Vec<String>,
    /// Of a cursor and of DIRTY.READ.
    pub position: Option<String>,
    pub missed: String,
    pub more: bool,
}

pub fn consume(redis: &mut Conn, arguments: &str) -> Read {
    let reply = redis.value(&super::words(&format!("DIRTY.CONSUME {arguments}")));
    read(&reply)
}

/// Of a map, as either protocol writes it.
pub fn field(of: &Value, name: &str) -> Option<Value> {
    match of {
        Value::Array(flat) => {
            let at = flat.iter().step_by(2).position(|key| text(key) == name)?;
            Some(flat[2 * at + 1].clone())
        }
        Value::Map(pairs) => {
            let (_, value) = pairs.iter().find(|(key, _)| text(key) == name)?;
            Some(value.clone())
        }
        other => panic!("{}", text(other)),
    }
}

pub fn read(reply: &Value) -> Read {
    let Some(Value::Array(events)) = field(reply, "events") else {
        panic!("{}", text(reply));
    };
    let event = |event: &Value| {
        let id = field(event, "entity-id").map_or("raw".into(), |id| text(&id));
        match field(event, "deliveries") {
            Some(Value::Int(1)) | None => id,
            Some(deliveries) => format!("{id}x{}", text(&deliveries).trim_matches(['(', ')'])),
        }
    };
    let part = |name| text(&field(reply, name).expect(name));
    Read {
        events: events.iter().map(event).collect(),
        ids: events
            .iter()
            .map(|event| text(&field(event, "id").unwrap()))
            .collect(),
        position: field(reply, "position").map(|position| text(&position)),
        missed: part("missed"),
        more: matches!(
            field(reply, "more"),
            Some(Value::Int(1) | Value::Boolean(true))
        ),
    }
}

pub fn events(redis: &mut Conn, arguments: &str) -> String {
    consume(redis, arguments).events.join(" ")
}

/// All events of a stream, each without id and entity, as RESP3 has them.
pub fn read_all(server: &super::Server, stream: &str) -> Vec<String> {
    let read = format!("DIRTY.READ {stream} FROM 0 COUNT 1000");
    let reply = server.connect_resp3().run(&read);
    let events = reply.split("{id: ").skip(1).map(|event| {
        let (_, event) = event.split_once(", entity: user, ").expect("an event");
        let event = event.split("], missed: ").next().unwrap_or_default();
        event
            .trim_end()
            .strip_suffix('}')
            .expect("its end")
            .to_string()
    });
    events.collect()
}

/// `1795247741340-1]]` as `ID-1]]`.
pub fn without_ms(word: &str) -> String {
    match word.split_once('-') {
        Some((ms, seq)) if ms.len() == 13 && ms.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("ID-{seq}")
        }
        _ => word.to_string(),
    }
}

/// A connection that waits in DIRTY.CONSUME.
#[allow(dead_code)]
pub fn waiting(server: &Server, reader: &str, block: &str) -> Conn {
    let mut redis = server.connect();
    let before = blocked(server);
    let command = format!("DIRTY.CONSUME s {reader} BLOCK {block}");
    redis.send(&words(&command)).unwrap();
    server.wait_for_blocked(before + 1);
    redis
}

pub fn blocked(server: &Server) -> usize {
    let info = server.connect().run("INFO clients");
    let line = info
        .split("\\r\\n")
        .find_map(|line| line.strip_prefix("blocked_clients:"));
    line.unwrap().parse().unwrap()
}

pub fn reply(redis: &mut Conn) -> String {
    super::text(&redis.receive().unwrap())
}

/// The seqs of the events that a group has not finished, their consumers and deliveries: `1:a:2`.
pub fn held(redis: &mut Conn, group: &str) -> String {
    let rows = redis.value(&words(&format!("DIRTY.PENDING s GROUP {group} COUNT 100")));
    let Value::Array(rows) = rows else {
        panic!("{}", text(&rows));
    };
    let row = |row: &Value| {
        let part = |name| text(&field(row, name).expect(name));
        let id = part("id");
        let seq = id.split('-').nth(1).expect("an id");
        format!(
            "{seq}:{}:{}",
            part("consumer"),
            part("deliveries").trim_matches(['(', ')'])
        )
    };
    rows.iter().map(row).collect::<Vec<_>>().join(" ")
}

pub fn get<'v>(map: &'v Value, name: &str) -> &'v Value {
    let Value::Array(items) = map else {
        panic!("no map: {}", text(map))
    };
    let pair = items.chunks_exact(2).find(|pair| text(&pair[0]) == name);
    pair.map_or(&Value::Nil, |pair| &pair[1])
}

/// Repeats taken away: the order in which numbers came for the first time.
pub fn first_times(numbers: &[u64]) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    numbers
        .iter()
        .copied()
        .filter(|n| seen.insert(*n))
        .collect()
}
