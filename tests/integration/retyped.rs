//! A field whose type is declared again while entities have values of the older one: everything that reads such a
//! value, or compares with it, goes on.

use super::support::readers::get;
use super::support::{Conn, Server, text, words};
use redis::Value;
use serde_json::{Value as Json, json};

/// A type, another value of it than any that is stored, and that value as canonical text.
const TYPES: [(&str, &str, &str); 11] = [
    ("string", "q", "q"),
    ("int", "-99", "-99"),
    ("uint", "99", "99"),
    ("float", "99.5", "99.5"),
    ("decimal", "99.750", "99.75"),
    ("decimal:2", "99.5", "99.50"),
    ("bool", "false", "0"),
    ("time", "2027-01-02T03:04:05+01:00", "2027-01-02T02:04:05Z"),
    ("date", "2027-01-02", "2027-01-02"),
    ("datetime", "2027-01-02 03:04:05", "2027-01-02T03:04:05"),
    ("json", "[ ]", "[]"),
];

/// A value as it is stored: its type, its text, and that text as a value of each of TYPES. A `-` says that it does
/// not fit, so it is a string there.
struct Stored {
    field_type: &'static str,
    text: &'static str,
    as_types: [&'static str; 11],
}

const fn stored(
    field_type: &'static str,
    text: &'static str,
    as_types: [&'static str; 11],
) -> Stored {
    Stored {
        field_type,
        text,
        as_types,
    }
}

#[rustfmt::skip]
const STORED: [Stored; 17] = [
    stored("string", "Alice", ["Alice", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    stored("string", "", ["", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    stored("string", "007", ["007", "7", "7", "7", "7", "7.00", "-", "-", "-", "-", "-"]),
    stored("string", "true", ["true", "-", "-", "-", "-", "-", "1", "-", "-", "-", "true"]),
    stored("string", "2026-01-02 03:04:05", ["2026-01-02 03:04:05", "-", "-", "-", "-", "-", "-", "-", "-",
        "2026-01-02T03:04:05", "-"]),
    stored("int", "-7", ["-7", "-7", "-", "-7", "-7", "-7.00", "-", "-", "-", "-", "-7"]),
    stored("uint", "18446744073709551615", ["18446744073709551615", "-", "18446744073709551615",
        "18446744073709552000", "18446744073709551615", "18446744073709551615.00", "-", "-", "-", "-",
        "18446744073709551615"]),
    stored("float", "0.1", ["0.1", "-", "-", "0.1", "0.1", "0.10", "-", "-", "-", "-", "0.1"]),
    stored("float", "1e21", ["1e21", "-", "-", "1e21", "1000000000000000000000", "1000000000000000000000.00",
        "-", "-", "-", "-", "1e21"]),
    stored("decimal", "1.125", ["1.125", "-", "-", "1.125", "1.125", "-", "-", "-", "-", "-", "1.125"]),
    stored("decimal:2", "10.50", ["10.50", "-", "-", "10.5", "10.5", "10.50", "-", "-", "-", "-", "10.5"]),
    stored("bool", "1", ["1", "1", "1", "1", "1", "1.00", "1", "-", "-", "-", "1"]),
    stored("time", "2026-01-02T03:04:05Z", ["2026-01-02T03:04:05Z", "-", "-", "-", "-", "-", "-",
        "2026-01-02T03:04:05Z", "-", "-", "-"]),
    stored("date", "2026-01-02", ["2026-01-02", "-", "-", "-", "-", "-", "-", "-", "2026-01-02", "-", "-"]),
    stored("datetime", "2026-01-02T03:04:05", ["2026-01-02T03:04:05", "-", "-", "-", "-", "-", "-", "-", "-",
        "2026-01-02T03:04:05", "-"]),
    stored("json", r#"{"a":[1,"x"]}"#, [r#"{"a":[1,"x"]}"#, "-", "-", "-", "-", "-", "-", "-", "-", "-",
        r#"{"a":[1,"x"]}"#]),
    stored("json", "5", ["5", "5", "5", "5", "5", "5.00", "-", "-", "-", "-", "5"]),
];

/// Each PAYLOAD and FORMAT is a stream.
const STREAMS: &str = "STREAM full PAYLOAD FULL STREAM images PAYLOAD IMAGES STREAM changes PAYLOAD CHANGES \
    STREAM keys PAYLOAD KEYS STREAM v2 FORMAT FLUXAORM2 STREAM v1 FORMAT FLUXAORM1 STREAM debezium FORMAT DEBEZIUM \
    STREAM flat FORMAT FLAT";

/// A type and a canonical text of it.
#[derive(Clone, Copy)]
struct Typed<'t>(&'t str, &'t str);

impl Typed<'_> {
    /// As JSON has it in replies.
    fn json(self) -> Json {
        let Typed(field_type, text) = self;
        match field_type {
            "int" | "uint" | "json" => serde_json::from_str(text).expect("a text of JSON"),
            "float" => json!(text.parse::<f64>().expect("a float")),
            "bool" => json!(text == "1"),
            _ => json!(text),
        }
    }

    /// As FORMAT DEBEZIUM carries it, which has no values of JSON in JSON.
    fn debezium(self) -> Json {
        match self {
            Typed("json", text) => json!(text),
            other => other.json(),
        }
    }

    /// As FluxaORM v1 has it.
    fn v1(self) -> Json {
        match self {
            Typed("float", text) => {
                let float: f64 = text.parse().expect("a float");
                let rounded = (float * 1e8).round() / 1e8;
                json!(format!("{rounded:.8}"))
            }
            Typed("time" | "datetime", text) => json!(text[..19].replace('T', " ")),
            other => other.debezium(),
        }
    }
}

/// The events of an UPDATE of `g` of entity 2, an UPDATE of `f` of entity 1, and the DELETE of 2.
fn expected(stream: &str, old: Typed, new: Typed) -> Vec<Json> {
    let of = |value: Typed| match stream {
        "debezium" => value.debezium(),
        "v1" => value.v1(),
        "flat" => json!(value.1),
        _ => value.json(),
    };
    let (old, new) = (of(old), of(new));
    let parts = match stream {
        "keys" => [json!({}), json!({}), json!({})],
        "full" | "changes" | "v2" | "v1" => {
            let seen = if stream == "v1" { &Json::Null } else { &old };
            let gone = match stream {
                "full" | "v1" => json!({"changes": {"f": [old, null], "g": ["1", null]}}),
                _ => json!({}),
            };
            let inserted = json!({"changes": {"g": [null, "1"]}});
            [inserted, json!({"changes": {"f": [seen, new]}}), gone]
        }
        "flat" => [
            json!({"after": {"f": old, "g": "1"}}),
            json!({"after": {"f": new}}),
            json!({}),
        ],
        _ => [
            json!({"before": {"f": old}, "after": {"f": old, "g": "1"}}),
            json!({"before": {"f": old}, "after": {"f": new}}),
            json!({"before": {"f": old, "g": "1"}}),
        ],
    };
    let operations = ["update", "update", "delete"]
        .into_iter()
        .zip(["2", "1", "2"]);
    let with_parts = operations.zip(parts).map(|((op, id), parts)| {
        let mut event = json!({"entity": "user", "entity-id": id, "op": op});
        let event_fields = event.as_object_mut().expect("an object");
        event_fields.extend(parts.as_object().expect("an object").clone());
        event
    });
    with_parts.collect()
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn parsed(value: &Value) -> Json {
    let Value::BulkString(text) = value else {
        panic!("{}", text(value))
    };
    serde_json::from_slice(text).expect("a text of JSON")
}

/// The events of a reply, without their ids.
fn events(reply: &Value) -> Vec<Json> {
    let Value::Array(events) = get(reply, "events") else {
        panic!("{}", text(reply))
    };
    let events = events.iter().map(|event| {
        let mut event = parsed(event);
        event.as_object_mut().expect("an object").remove("id");
        event
    });
    events.collect()
}

/// GET, SCAN and the page of a cursor have the value as the type says that stands now.
fn reads(redis: &mut Conn, stored: &str, now: Typed) {
    let fields = json!({"f": now.json()});
    let Value::Array(got) = redis.ok(&["DIRTY.GET", "user", "JSON", "1"]) else {
        panic!("no snapshot")
    };
    assert_eq!(parsed(&got[0]), fields);
    let raw = [bulk("f"), bulk(stored)];
    let raw = Value::Array(vec![Value::Array(raw.to_vec())]);
    assert_eq!(redis.ok(&["DIRTY.GET", "user", "RAW", "1"]), raw);
    redis.ok(&["DIRTY.GET", "user", "TYPED", "1", "2"]);
    let Value::Array(scan) = redis.ok(&["DIRTY.SCAN", "user", "0", "JSON"]) else {
        panic!("no scan")
    };
    let Value::Array(found) = &scan[1] else {
        panic!("{}", text(&scan[1]))
    };
    let snapshots = found.iter().map(|entity| match entity {
        Value::Array(entity) => parsed(&entity[1]),
        other => panic!("{}", text(other)),
    });
    let snapshots: Vec<Json> = snapshots.collect();
    assert_eq!(snapshots, [fields.clone(), fields.clone()]);
    let page = redis.value(&words("DIRTY.CONSUME full CURSOR c COUNT 100 JSON"));
    let mut read = events(&page);
    read.sort_by_key(|event| event["entity-id"].to_string());
    let read_of = |id| json!({"entity": "user", "entity-id": id, "op": "read", "after": fields});
    assert_eq!(read, ["1", "2"].map(read_of));
}

/// The row that stands already changes nothing. One that fits no more is refused, and changes nothing either.
fn rows(redis: &mut Conn, stored: &str, fits: bool) {
    let digest = redis.digest();
    let mut flush = |options: &[&str]| {
        let words = [&["DIRTY.FLUSH", "user"], options];
        let rows = [
            "SNAPSHOT", "1", "1", "f", stored, "SNAPSHOT", "2", "1", "f", stored,
        ];
        redis.raw(&[&words.concat()[..], &rows].concat())
    };
    let both = match fits {
        true => "[none none]",
        false => "BADVALUE",
    };
    for options in [&[][..], &["DRYRUN"]] {
        let reply = flush(options);
        assert!(reply.starts_with(both), "{reply}");
    }
    assert_eq!(redis.run("DIRTY.RECONCILE user BEGIN r"), "OK");
    let words = [
        "DIRTY.FLUSH",
        "user",
        "RUN",
        "r",
        "SNAPSHOT",
        "1",
        "1",
        "f",
        stored,
    ];
    let more = ["SNAPSHOT", "2", "1", "f", stored];
    let reply = redis.raw(&[&words[..], &more].concat());
    assert!(reply.starts_with(both), "{reply}");
    if fits {
        let sweep = redis.run("DIRTY.RECONCILE user SWEEP r MAXDELETE 0");
        let nothing = "seen (2) same (2) repaired (0) stale (0) newer (0) foreign (0) missing (0) deleted (0)";
        assert!(sweep.contains(nothing), "{sweep}");
    }
    redis.run("DIRTY.RECONCILE user ABORT r");
    assert_eq!(redis.digest(), digest);
}

fn check(redis: &mut Conn, row: &Stored, column: usize) {
    let (field_type, new, new_text) = TYPES[column];
    let fits = row.as_types[column] != "-";
    let now = match fits {
        true => Typed(field_type, row.as_types[column]),
        false => Typed("string", row.text),
    };
    redis.run("FLUSHALL");
    let declare = |types: &str| format!("DIRTY.DECLARE user TYPES 1 f {types} {STREAMS}");
    assert_eq!(redis.run(&declare(row.field_type)), "OK");
    let seed = ["DIRTY.FLUSH", "user", "SEED", "1", "1", "f", row.text];
    let seed = [&seed[..], &["SEED", "2", "1", "f", row.text]].concat();
    assert_eq!(redis.raw(&seed), "[seed seed]");
    let cursor = "DIRTY.READER full CURSOR c FROM SNAPSHOT 1 user";
    assert_eq!(redis.run(cursor), "OK");
    assert_eq!(redis.run(&declare(field_type)), "OK");
    reads(redis, row.text, now);
    rows(redis, row.text, fits);
    let update = ["DIRTY.FLUSH", "user", "UPDATE", "2", "1", "g", "1"];
    let update = [&update[..], &["UPDATE", "1", "1", "f", new, "DELETE", "2"]].concat();
    assert_eq!(redis.raw(&update), "[update update delete]");
    for stream in STREAMS.split("STREAM ").skip(1) {
        let stream = stream.split(' ').next().expect("a name");
        let read = redis.value(&words(&format!("DIRTY.READ {stream} FROM 0 JSON")));
        let new = Typed(field_type, new_text);
        assert_eq!(events(&read), expected(stream, now, new), "{stream}");
    }
}

#[test]
fn a_value_of_an_older_type_is_read_compared_and_told() {
    let server = Server::start();
    let mut redis = server.connect();
    for row in &STORED {
        for (column, (field_type, ..)) in TYPES.iter().enumerate() {
            println!("{} {:?} as {field_type}", row.field_type, row.text);
            check(&mut redis, row, column);
        }
    }
}
