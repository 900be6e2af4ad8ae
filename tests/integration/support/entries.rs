//! The entries of a stream, and the events in them.

use super::{Conn, text};
use redis::Value;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the tests need of an event, read by another decoder than the module's.
#[derive(Deserialize)]
pub struct Event {
    pub id: u64,
    #[serde(default)]
    pub v: Option<i64>,
    #[serde(default)]
    pub ch: BTreeMap<String, Change>,
}

#[derive(Deserialize)]
pub struct Change {
    pub o: Param,
    pub n: Param,
}

#[derive(Deserialize)]
pub struct Param {
    pub v: Option<String>,
}

pub fn decode(event: &[u8]) -> Event {
    rmp_serde::from_slice(event).expect("an event")
}

/// The bytes of a stream's events, whose entries have nothing else.
pub fn events(redis: &mut Conn, stream: &str) -> Vec<Vec<u8>> {
    entries(redis, stream)
        .into_iter()
        .map(|(_, event)| event)
        .collect()
}

/// The seqs of a stream's entries.
pub fn sequence(redis: &mut Conn, stream: &str) -> Vec<usize> {
    let seq = |(id, _): (String, _)| id.split_once('-').and_then(|(_, seq)| seq.parse().ok());
    let seqs: Option<Vec<usize>> = entries(redis, stream).into_iter().map(seq).collect();
    seqs.expect("ids")
}

/// Each entry's id, and the value of its one field.
pub fn entries(redis: &mut Conn, stream: &str) -> Vec<(String, Vec<u8>)> {
    let Value::Array(entries) = redis.value(&["XRANGE", stream, "-", "+"]) else {
        panic!("no stream {stream}");
    };
    let entry = |entry: &Value| {
        let Value::Array(parts) = entry else {
            panic!("{entry:?}");
        };
        match parts.as_slice() {
            [id, Value::Array(fields)] => match fields.as_slice() {
                [field, Value::BulkString(value)] => {
                    assert!(["s", "a"].contains(&text(field).as_str()));
                    (text(id), value.clone())
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    entries.iter().map(entry).collect()
}

/// The last entry of a stream, its fields in their order.
pub fn newest(redis: &mut Conn, stream: &str) -> Vec<(String, String)> {
    let Value::Array(entries) = redis.value(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]) else {
        panic!("no {stream}");
    };
    let Some(Value::Array(entry)) = entries.first() else {
        panic!("nothing in {stream}");
    };
    let Value::Array(fields) = &entry[1] else {
        panic!("{entry:?}");
    };
    let pairs = fields.chunks(2);
    pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}
