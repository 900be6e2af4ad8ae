//! Each FORMAT as readers of the stream find it: FluxaORM's own bytes, Debezium's envelope.

use super::support::entities::declared;
use super::support::{Conn, Server, text};
use redis::Value;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Written by the library FluxaORM v2.
#[derive(Deserialize)]
struct V2 {
    vectors: Vec<V2Vector>,
}

#[derive(Deserialize)]
struct V2Vector {
    name: String,
    event: V2Event,
    s_hex: String,
}

#[derive(Deserialize)]
struct V2Event {
    entity: String,
    id: u64,
    flush_type: u8,
    changes: Option<BTreeMap<String, V2Change>>,
}

#[derive(Deserialize)]
struct V2Change {
    old: V2Value,
    new: V2Value,
}

#[derive(Deserialize)]
struct V2Value {
    null: bool,
    #[serde(rename = "type")]
    letter: String,
    text: String,
}

/// Written by the library FluxaORM v1.
#[derive(Deserialize)]
struct V1 {
    vectors: Vec<V1Vector>,
}

#[derive(Deserialize)]
struct V1Vector {
    name: String,
    bind: BTreeMap<String, Json>,
    action: String,
    entity: String,
    id: String,
    s_hex: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of the stream's last entry.
fn last(redis: &mut Conn, stream: &str) -> Vec<(String, Vec<u8>)> {
    let reply = redis.ok(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]);
    let Value::Array(entries) = reply else {
        panic!("no entries")
    };
    let [Value::Array(entry)] = entries.as_slice() else {
        panic!("no entry")
    };
    let Value::Array(words) = &entry[1] else {
        panic!("no fields")
    };
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => bytes.clone(),
        other => panic!("{}", text(other)),
    };
    words
        .chunks_exact(2)
        .map(|pair| (text(&pair[0]), bytes(&pair[1])))
        .collect()
}

/// Runs a flush that must have this effect.
fn flush(redis: &mut Conn, effect: &str, words: &[&str]) {
    let words: Vec<&str> = ["DIRTY.FLUSH", "user"]
        .iter()
        .chain(words)
        .copied()
        .collect();
    assert_eq!(
        text(&redis.value(&words)),
        format!("[{effect}]"),
        "{words:?}"
    );
}

fn type_of(V2Change { old, new }: &V2Change) -> &'static str {
    let given = if new.null { old } else { new };
    match given.letter.as_str() {
        "s" => "string",
        "i" => "int",
        "u" => "uint",
        "f" => "float",
        "b" => "bool",
        "t" => "time",
        other => panic!("{other}"),
    }
}

#[test]
fn fluxaorm_entries_have_the_bytes_of_the_library() {
    let vectors: V2 =
        serde_json::from_str(include_str!("../vectors/fluxaorm-v2.json")).expect("vectors");
    let server = Server::start();
    let mut redis = server.connect();
    assert_eq!(vectors.vectors.len(), 12);
    for V2Vector { name, event, s_hex } in vectors.vectors {
        redis.run("FLUSHALL");
        let id = event.id.to_string();
        let changes = event.changes.unwrap_or_default();
        let types: Vec<String> = changes
            .iter()
            .flat_map(|(field, change)| [field.clone(), type_of(change).to_string()])
            .collect();
        let count = changes.len().to_string();
        let mut declare = vec![
            "DIRTY.DECLARE",
            "user",
            "NAME",
            &event.entity,
            "TYPES",
            &count,
        ];
        declare.extend(types.iter().map(String::as_str));
        declare.extend(["STREAM", "s", "FORMAT", "FLUXAORM2"]);
        redis.ok(&declare);
        // Of one side: fields that are not null, and the names of those that are.
        let side = |side: fn(&V2Change) -> &V2Value| {
            let (nulls, set): (Vec<_>, Vec<_>) =
                changes.iter().partition(|(_, change)| side(change).null);
            let mut words = vec![set.len().to_string()];
            for (field, change) in set {
                words.extend([field.clone(), side(change).text.clone()]);
            }
            words.extend(["NULL".to_string(), nulls.len().to_string()]);
            words.extend(nulls.into_iter().map(|(field, _)| field.clone()));
            words
        };
        let (old, new) = (side(|change| &change.old), side(|change| &change.new));
        let with = |op, fields: &[String]| {
            let words = [op, id.as_str()].into_iter().map(str::to_string);
            words.chain(fields.iter().cloned()).collect::<Vec<_>>()
        };
        let run = |redis: &mut Conn, effect, words: Vec<String>| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            flush(redis, effect, &words);
        };
        match event.flush_type {
            1 => flush(&mut redis, "insert", &["INSERT", &id, "1", "Name", "x"]),
            2 => {
                run(&mut redis, "seed", with("SEED", &old));
                run(&mut redis, "update", with("UPDATE", &new));
            }
            _ => {
                flush(&mut redis, "seed", &["SEED", &id, "1", "Name", "x"]);
                flush(&mut redis, "delete", &["DELETE", &id]);
            }
        }
        let entry = last(&mut redis, "s");
        assert_eq!(entry.len(), 1, "{name}");
        assert_eq!(
            (entry[0].0.as_str(), hex(&entry[0].1)),
            ("s", s_hex),
            "{name}"
        );
    }
}

#[test]
fn fluxaorm1_entries_have_the_bytes_of_the_library() {
    let vectors: V1 =
        serde_json::from_str(include_str!("../vectors/fluxaorm-v1.json")).expect("vectors");
    let server = Server::start();
    let mut redis = server.connect();
    assert_eq!(vectors.vectors.len(), 8);
    for vector in vectors.vectors {
        let V1Vector { name, bind, id, .. } = vector;
        redis.run("FLUSHALL");
        redis.ok(&[
            "DIRTY.DECLARE",
            "user",
            "NAME",
            &vector.entity,
            "SOFTDELETE",
            "FakeDelete",
            "STREAM",
            "dirty_All",
            "FORMAT",
            "FLUXAORM1",
        ]);
        let new = serde_json::to_string(&bind).expect("JSON");
        match vector.action.as_str() {
            "add" => flush(&mut redis, "insert", &["INSERT", &id, "0"]),
            action => {
                // Something else before: what is null now was not.
                let old = |json: &Json| if json.is_null() { "\"old\"" } else { "null" };
                let old = bind
                    .iter()
                    .map(|(field, json)| format!("\"{field}\":{}", old(json)));
                let old = format!("{{{}}}", old.collect::<Vec<_>>().join(","));
                flush(&mut redis, "seed", &["SEED", &id, "JSON", &old]);
                let effect = if action == "delete" {
                    "delete"
                } else {
                    "update"
                };
                flush(&mut redis, effect, &["UPDATE", &id, "JSON", &new]);
            }
        }
        let entry = last(&mut redis, "dirty_All");
        let told: Vec<(&str, String)> = entry
            .iter()
            .map(|(field, value)| match field.as_str() {
                "s" => ("s", hex(value)),
                field => (field, String::from_utf8_lossy(value).into_owned()),
            })
            .collect();
        let expected = [
            ("s", vector.s_hex),
            ("action", vector.action),
            ("entity", vector.entity),
            ("id", id),
        ];
        assert_eq!(told, expected, "{name}");
    }
}

/// Operations on entity 7 of a type with two declared fields, and the map that FLUXAORM1 has of each.
const NULLS: [(&str, &str, &[u8]); 6] = [
    (
        "",
        "INSERT 7 1 Name x NULL 1 Email",
        b"\x85\xa2ID\x07\xa4Name\xa1x\xa3Age\xc0\xa4Gone\xc0\xa5Email\xc0",
    ),
    // Nulls that were null before are no change, and are not written.
    (
        "",
        "UPDATE 7 JSON {\"Name\":\"y\",\"Email\":null,\"Age\":null}",
        b"\x81\xa4Name\xa1y",
    ),
    (
        "",
        "TOUCH 7",
        b"\x84\xa2ID\x07\xa4Name\xa1y\xa3Age\xc0\xa4Gone\xc0",
    ),
    (
        "",
        "DELETE 7",
        b"\x84\xa2ID\x07\xa4Name\xa1y\xa3Age\xc0\xa4Gone\xc0",
    ),
    (
        "STATELESS",
        "INSERT 7 JSON {\"Email\":null,\"Age\":1}",
        b"\x84\xa2ID\x07\xa3Age\x01\xa4Gone\xc0\xa5Email\xc0",
    ),
    (
        "STATELESS",
        "DELETE 7 1 Gone 1",
        b"\x83\xa2ID\x07\xa4Gone\xc3\xa3Age\xc0",
    ),
];

#[test]
fn nulls_are_nil_where_fluxaorm1_writes_all_columns() {
    let server = Server::start();
    let mut redis = server.connect();
    for (stateless, operation, expected) in NULLS {
        redis.run(&format!(
            "DIRTY.DECLARE user {stateless} TYPES 2 Age uint Gone bool STREAM s FORMAT FLUXAORM1"
        ));
        let reply = redis.run(&format!("DIRTY.FLUSH user {operation}"));
        assert!(reply.starts_with('['), "{operation}: {reply}");
        let entry = last(&mut redis, "s");
        assert_eq!(
            entry[0].1.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{operation}"
        );
    }
}

/// Operations on entity 1 of a declaration with all formats, and what each stream's reader is told: the
/// event behind `op: `, as RESP3 has it.
const TOLD: [(&str, [&str; 4]); 7] = [
    (
        "INSERT 1 JSON {\"a\":\"x\",\"n\":5}",
        [
            "insert",
            "insert, changes: {a: [nil x], n: [nil (5)]}",
            "insert, after: {a: x, n: (5)}",
            "insert, after: {a: x, n: 5, actor: me}",
        ],
    ),
    (
        "UPDATE 1 JSON {\"a\":\"y\",\"f\":100.0}",
        [
            "update, changes: {a: [x y], f: [nil 100]}",
            "update, changes: {a: [nil y], f: [nil 100.00000000]}",
            "update, before: {a: x, n: 5}, after: {a: y, f: 100, n: 5}",
            "update, after: {a: y, f: 100.0, n: 5, actor: me}",
        ],
    ),
    (
        "TOUCH 1",
        [
            "update",
            "update, changes: {a: [nil y], f: [nil 100.0], n: [nil 5]}",
            "touch, before: {a: y, f: 100.0, n: 5}, after: {a: y, f: 100.0, n: 5}",
            "update, after: {a: y, f: 100.0, n: 5, actor: me}",
        ],
    ),
    (
        "UPDATE 1 JSON {\"gone\":true,\"f\":null,\"n\":null}",
        [
            "delete",
            "delete, changes: {gone: [nil (1)], f: [nil nil], n: [nil nil]}",
            "delete, before: {a: y, f: 100.0, n: 5}",
            "delete, meta: {actor: me}",
        ],
    ),
    (
        "UPDATE 1 JSON {\"gone\":false}",
        [
            "insert, changes: {a: [nil y], gone: [nil false]}",
            "update, changes: {gone: [nil (0)]}",
            "insert, after: {a: y, gone: false}",
            "insert, after: {a: y, gone: 0, actor: me}",
        ],
    ),
    (
        "SNAPSHOT 1 1 a \\xff\\x00",
        [
            "update, changes: {a: [y \\xff\\x00], gone: [0 nil]}",
            "update, changes: {a: [nil \\xff\\x00], gone: [nil nil]}",
            "update, before: {a: y, gone: 0}, after: {a: \\xff\\x00}",
            "update, after: {a: \\xff\\x00, actor: me}",
        ],
    ),
    (
        "DELETE 1",
        [
            "delete",
            "delete, changes: {a: [\\xff\\x00 nil]}",
            "delete, before: {a: \\xff\\x00}",
            "delete, meta: {actor: me}",
        ],
    ),
];

#[test]
fn events_of_every_format_are_understood() {
    let (server, mut redis) = declared(
        "SOFTDELETE gone STREAM fluxaorm FORMAT FLUXAORM2 STREAM fluxaorm1 FORMAT FLUXAORM1 \
         STREAM debezium FORMAT DEBEZIUM STREAM flat FORMAT FLAT",
    );
    let mut resp3 = server.connect_resp3();
    let streams = ["fluxaorm", "fluxaorm1", "debezium", "flat"];
    for stream in streams {
        redis.run(&format!("DIRTY.READER {stream} GROUP g FROM 0"));
    }
    for (operation, events) in TOLD {
        let command = format!("DIRTY.FLUSH user META 1 actor me {operation}");
        assert!(!redis.run(&command).contains("ERR"), "{operation}");
        for (stream, expected) in streams.iter().zip(events) {
            let reply = resp3.run(&format!("DIRTY.CONSUME {stream} GROUP g c"));
            let (_, told) = reply
                .split_once("entity: user, entity-id: 1, op: ")
                .expect("an event");
            let told = told.split(", deliveries: ").next().expect("its end");
            let expected = match *stream {
                "debezium" => format!("{expected}, meta: {{actor: me}}"),
                _ => expected.to_string(),
            };
            assert_eq!(told, expected, "{stream}: {operation}");
        }
    }
}

#[test]
fn debezium_entries_are_the_documented_envelope() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("SELECT 2");
    redis.run("DIRTY.DECLARE user{1} TYPES 5 u uint t time j json b bool f float STREAM s{1} FORMAT DEBEZIUM");
    redis.run(
        "DIRTY.FLUSH user{1} META 2 actor \\xff trace 1 INSERT 18446744073709551615 6 u 18446744073709551615 \
         t 2026-01-02T04:04:05+01:00 j [1,2] b true f 1e2 bytes \\x00\\xff INSERT \\xff\\x00 0",
    );
    let mut envelope = |index: usize| {
        let entries = redis.ok(&["XRANGE", "s{1}", "-", "+"]);
        let Value::Array(entries) = entries else {
            panic!("no entries")
        };
        let Value::Array(entry) = &entries[index] else {
            panic!("no entry")
        };
        let id = text(&entry[0]);
        let Value::Array(words) = &entry[1] else {
            panic!("no fields")
        };
        let json = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).expect("UTF-8"),
            other => panic!("{}", text(other)),
        };
        assert_eq!(
            (text(&words[0]), text(&words[2])),
            ("key".into(), "value".into())
        );
        let ms = id.split('-').next().expect("ms").to_string();
        (json(&words[1]), json(&words[3]).replace(&ms, "MS"))
    };
    let version = env!("CARGO_PKG_VERSION");
    let source = format!(
        "{{\"version\":\"{version}\",\"connector\":\"dirty\",\"name\":\"user{{1}}\",\"ts_ms\":MS,\"db\":\"2\",\
         \"table\":\"user\",\"meta\":{{\"actor\":\"base64:/w==\",\"trace\":\"1\"}}"
    );
    let (key, value) = envelope(0);
    assert_eq!(key, "{\"id\":18446744073709551615}");
    assert_eq!(
        value,
        format!(
            "{{\"before\":null,\"after\":{{\"b\":true,\"bytes\":\"AP8=\",\"f\":100.0,\"j\":\"[1,2]\",\
             \"t\":\"2026-01-02T03:04:05Z\",\"u\":18446744073709551615}},\"source\":{source},\"binary\":[\"bytes\"]}},\
             \"op\":\"c\",\"ts_ms\":MS}}"
        )
    );
    let (key, value) = envelope(1);
    assert_eq!(key, "{\"id\":\"base64:/wA=\"}");
    assert_eq!(
        value,
        format!(
            "{{\"before\":null,\"after\":{{}},\"source\":{source}}},\"op\":\"c\",\"ts_ms\":MS}}"
        )
    );
    let mut resp3 = server.connect_resp3();
    resp3.run("SELECT 2");
    let reply = resp3.run("DIRTY.READ s{1} FROM 0");
    for part in [
        "entity: user, entity-id: 18446744073709551615, op: insert, after: {b: true, bytes: \\x00\\xff, f: 100, j: [1,2], \
         t: 2026-01-02T03:04:05Z, u: 18446744073709551615}, meta: {actor: \\xff, trace: 1}",
        "entity-id: \\xff\\x00, op: insert, meta: {actor: \\xff, trace: 1}",
    ] {
        assert!(reply.contains(part), "{reply}");
    }
}

/// Operations, and the key, `op` and the images of each in the streams `plain`, `keyed` and `safe`.
const STYLES: &[(&str, [&str; 3])] = &[
    (
        "INSERT 18446744073709551615 2 n -9007199254740992 u 9007199254740991",
        [
            r#"{"id":18446744073709551615} "c" null {"n":-9007199254740992,"u":9007199254740991}"#,
            r#"{"id":18446744073709551615} "c" null {"n":-9007199254740992,"pk":18446744073709551615,"u":9007199254740991}"#,
            r#"{"id":"18446744073709551615"} "c" null {"n":"18446744073709551615","u":9007199254740991}"#,
        ],
    ),
    (
        "TOUCH 18446744073709551615",
        [
            r#"{"id":18446744073709551615} "u" {"n":-9007199254740992,"u":9007199254740991} {"n":-9007199254740992,"u":9007199254740991}"#,
            r#"{"id":18446744073709551615} "u" {"n":-9007199254740992,"pk":18446744073709551615,"u":9007199254740991} {"n":-9007199254740992,"pk":18446744073709551615,"u":9007199254740991}"#,
            r#"{"id":"18446744073709551615"} "u" {"n":"18446744073709551615","u":9007199254740991} {"n":"18446744073709551615","u":9007199254740991}"#,
        ],
    ),
    (
        "INSERT a 0",
        [
            r#"{"id":"a"} "c" null {}"#,
            r#"{"id":"a"} "c" null {"pk":"a"}"#,
            r#"{"id":"a"} "c" null {"n":"a"}"#,
        ],
    ),
    (
        "DELETE a",
        [
            r#"{"id":"a"} "d" {} null"#,
            r#"{"id":"a"} "d" {"pk":"a"} null"#,
            r#"{"id":"a"} "d" {"n":"a"} null"#,
        ],
    ),
    // A delete that leaves the entity there has no row afterwards either.
    (
        "UPDATE 18446744073709551615 1 gone 1",
        [
            r#"{"id":18446744073709551615} "d" {"n":-9007199254740992,"u":9007199254740991} null"#,
            r#"{"id":18446744073709551615} "d" {"n":-9007199254740992,"pk":18446744073709551615,"u":9007199254740991} null"#,
            r#"{"id":"18446744073709551615"} "d" {"n":"18446744073709551615","u":9007199254740991} null"#,
        ],
    ),
];

#[test]
fn each_stream_of_debezium_has_its_own_style_also_after_a_restart() {
    let mut server = Server::with(&["--appendonly", "yes"]);
    let mut redis = server.connect();
    redis.run(
        "DIRTY.DECLARE user TYPES 2 n int u uint SOFTDELETE gone STREAM plain FORMAT DEBEZIUM \
         STREAM keyed FORMAT DEBEZIUM IDFIELD pk STREAM safe FORMAT DEBEZIUM SAFENUMBERS IDFIELD n",
    );
    let images = |redis: &mut Conn| {
        ["plain", "keyed", "safe"].map(|stream| {
            let entry = last(redis, stream);
            let text = |index: usize| String::from_utf8(entry[index].1.clone()).expect("UTF-8");
            let value: Json = serde_json::from_str(&text(1)).expect("JSON");
            let parts = ["op", "before", "after"].map(|name| value[name].to_string());
            format!("{} {}", text(0), parts.join(" "))
        })
    };
    let mut restarted = false;
    for (operation, expected) in STYLES {
        let reply = redis.run(&format!("DIRTY.FLUSH user {operation}"));
        assert!(reply.starts_with('['), "{operation}: {reply}");
        assert_eq!(images(&mut redis), *expected, "{operation}");
        if !restarted {
            // What is declared is in the AOF, and in what it is rewritten to.
            server.rewrite_aof();
            server.restart();
            redis = server.connect();
            restarted = true;
        }
    }
}

/// Readers find the event also where the field that the id takes the place of is not UTF-8.
#[test]
fn an_event_whose_id_takes_the_place_of_bytes_is_read() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s FORMAT DEBEZIUM IDFIELD i");
    let flush: [&[u8]; 7] = [
        b"DIRTY.FLUSH",
        b"user",
        b"SNAPSHOT",
        b"a b",
        b"1",
        b"i",
        b"\xff",
    ];
    redis.value(&flush);
    let reply = redis.run("DIRTY.READ s FROM 0");
    assert!(reply.contains("entity-id a b"), "{reply}");
    assert!(reply.contains("after [i a b]"), "{reply}");
}

#[test]
fn entries_of_others_are_no_events_in_any_format() {
    let server = Server::start();
    let mut redis = server.connect_resp3();
    for entry in [
        // Debezium's own connectors are others.
        "key {\"id\":1} value {\"before\":null,\"after\":{},\"source\":{\"connector\":\"mysql\",\"table\":\"t\"},\"op\":\"c\"}",
        "key {\"id\":1} value {\"before\":null,\"after\":{},\"source\":{\"connector\":\"dirty\",\"table\":\"t\"},\"op\":\"x\"}",
        "key 1 value 2",
        "operation user.created id 1 occurred_at 2026-01-02T03:04:05Z",
        "operation user.create id 1 occurred_at now",
        "operation user.create id 1",
        "key {\"id\":1}",
        "s \\x80 action add entity e id 1 more 1",
        "s \\x81\\xa1a\\x91\\x01 action edit entity e id 1",
        "s \\xc1 action edit entity e id 1",
        "s \\x80 action remove entity e id 1",
    ] {
        redis.run("DEL s");
        redis.run(&format!("XADD s * {entry}"));
        let reply = redis.run("DIRTY.READ s FROM 0");
        assert!(reply.contains(", fields: ["), "{entry}: {reply}");
    }
}
