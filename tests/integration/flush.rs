//! DIRTY.FLUSH: what each operation stores, replies and publishes.

use super::support::{cases, text, words, Conn, Server};
use redis::{PushKind, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Lines `operations => effects | fields of entity 1 afterwards | events in the stream afterwards`, each
/// table on an empty server. The entity exists if it has fields, be it the marker alone.
const OPERATIONS: &[&str] = &[
    r#"
SNAPSHOT 1 2 a x b y => insert | a x b y | 1
SNAPSHOT 1 2 a x b y => none | a x b y | 1
SNAPSHOT 1 2 b y a x => none | a x b y | 1
snapshot 1 2 a x b z => update | a x b z | 2
# What is left out becomes null, as what is named so; a null field that is null stays so.
SNAPSHOT 1 1 a x => update | a x | 3
SNAPSHOT 1 1 a x NULL 1 b => none | a x | 3
SNAPSHOT 1 2 a x b y null 2 c d => update | a x b y | 4
SNAPSHOT 1 1 a x NULL 1 b => update | a x | 5
SNAPSHOT 1 1 c x => update | c x | 6
# Nothing is something: an empty value is not null, an entity without fields exists.
SNAPSHOT 1 1 c "" => update | c "" | 7
SNAPSHOT 1 1 c "" => none | c "" | 7
SNAPSHOT 1 0 => update | @ "" | 8
SNAPSHOT 1 0 => none | @ "" | 8
SNAPSHOT 1 0 NULL 2 a b => none | @ "" | 8
SNAPSHOT 1 1 a x => update | a x | 9
"#,
    r#"
SNAPSHOT 1 0 => insert | @ "" | 1
SNAPSHOT 1 0 NULL 0 => none | @ "" | 1
DELETE 1 => delete | | 2
SNAPSHOT 1 0 NULL 1 a => insert | @ "" | 3
"#,
    r#"
INSERT 1 2 a x b y => insert | a x b y | 1
INSERT 1 2 b y a x => none | a x b y | 1
INSERT 1 2 a x b y NULL 1 c => none | a x b y | 1
DELETE 1 => delete | | 2
INSERT 1 1 a x NULL 1 b => insert | a x | 3
DELETE 1 => delete | | 4
INSERT 1 0 => insert | @ "" | 5
INSERT 1 0 NULL 1 a => none | @ "" | 5
"#,
    r#"
INSERT 1 2 a x b y => insert | a x b y | 1
UPDATE 1 1 a x => none | a x b y | 1
UPDATE 1 0 => none | a x b y | 1
UPDATE 1 0 NULL 1 c => none | a x b y | 1
UPDATE 1 1 a z => update | a z b y | 2
UPDATE 1 1 c w => update | a z b y c w | 3
UPDATE 1 0 NULL 1 b => update | a z c w | 4
UPDATE 1 1 d v NULL 2 a b => update | c w d v | 5
UPDATE 1 0 NULL 2 c d => update | @ "" | 6
UPDATE 1 0 NULL 2 c d => none | @ "" | 6
UPDATE 1 0 => none | @ "" | 6
UPDATE 1 1 a "" => update | a "" | 7
"#,
    r#"
DELETE 1 => none | | 0
INSERT 1 1 a x => insert | a x | 1
DELETE 1 => delete | | 2
DELETE 1 => none | | 2
INSERT 1 0 => insert | @ "" | 3
DELETE 1 => delete | | 4
"#,
    r#"
INSERT 1 1 a x => insert | a x | 1
TOUCH 1 => touch | a x | 2
TOUCH 1 => touch | a x | 3
TOUCH 1 TOUCH 1 => touch touch | a x | 5
UPDATE 1 0 NULL 1 a => update | @ "" | 6
TOUCH 1 => touch | @ "" | 7
"#,
    r#"
SEED 1 2 a x b y => seed | a x b y | 0
SEED 1 2 a x b y => none | a x b y | 0
SEED 1 1 a z => seed | a z | 0
SNAPSHOT 1 1 a z => none | a z | 0
SNAPSHOT 1 1 a x => update | a x | 1
SEED 1 0 => seed | @ "" | 1
SEED 1 0 => none | @ "" | 1
DELETE 1 => delete | | 2
SEED 1 0 NULL 1 a => seed | @ "" | 2
SEED 1 1 a x NULL 1 b => seed | a x | 2
"#,
    // Later operations see what earlier ones did.
    r#"
SNAPSHOT 1 1 a x SNAPSHOT 1 1 a x SNAPSHOT 1 1 a y => insert none update | a y | 2
UPDATE 1 1 a x UPDATE 1 1 a y => update update | a y | 4
DELETE 1 DELETE 1 => delete none | | 5
INSERT 1 1 a x DELETE 1 => insert delete | | 7
INSERT 1 0 UPDATE 1 1 a x TOUCH 1 => insert update touch | a x | 10
UPDATE 1 1 b y UPDATE 1 0 NULL 1 a UPDATE 1 0 NULL 1 b => update update update | @ "" | 13
UPDATE 1 1 a x SNAPSHOT 1 0 UPDATE 1 1 b y => update update update | b y | 16
DELETE 1 INSERT 1 1 a x INSERT 1 1 a x => delete insert none | a x | 18
DELETE 1 SEED 1 1 a y SNAPSHOT 1 1 a x => delete seed update | a x | 20
DELETE 1 SNAPSHOT 1 0 => delete insert | @ "" | 22
SNAPSHOT 2 1 a x SNAPSHOT 1 1 a x DELETE 2 TOUCH 1 => insert update delete touch | a x | 26
"#,
];

#[test]
fn each_operation_does_what_it_says() {
    for table in OPERATIONS {
        let (_server, mut redis) = declared("STREAM s");
        for (operations, outcome) in cases(table) {
            let outcome: Vec<&str> = outcome.split('|').map(str::trim).collect();
            let [effects, fields, events] = outcome.as_slice() else {
                panic!("{operations}: {outcome:?}");
            };
            let reply = redis.run(&format!("DIRTY.FLUSH user {operations}"));
            assert_eq!(reply, format!("[{effects}]"), "{operations}");
            let hash = redis.run("HGETALL user:1");
            assert_eq!(hash, format!("[{fields}]"), "{operations}");
            assert_eq!(redis.run("XLEN s"), format!("({events})"), "{operations}");
            let exists = redis.run("DIRTY.GET user 1") != "[nil]";
            assert_eq!(exists, !fields.is_empty(), "{operations}");
        }
    }
}

#[test]
fn a_command_that_is_sent_again_changes_nothing() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let _replica = Server::replica_of(&server);
    let mut redis = server.connect();
    redis.expect(
        "DIRTY.DECLARE user TYPES 3 f float b bool t time STREAM s PAYLOAD FULL MAXLEN 5 => OK\n\
         DIRTY.FLUSH user SEED 3 1 a x SEED 4 1 a x SEED 5 2 a x f 2 => [seed seed seed]",
    );
    let commands = [
        "SNAPSHOT 1 2 f 1.50 b true => insert",
        "SNAPSHOT 1 0 => update",
        "INSERT 2 3 f 1e2 t 2026-01-02T04:04:05+01:00 a \\x00 NULL 1 b => insert",
        "UPDATE 3 1 a y NULL 1 b => update",
        "UPDATE 3 0 NULL 1 a => update",
        "DELETE 4 => delete",
        "SEED 5 1 f 3.0 => seed",
        "SNAPSHOT 1 1 a x INSERT 6 0 UPDATE 3 1 a z DELETE 2 SEED 7 1 b 0
         => update insert update delete seed",
    ];
    for (operations, effects) in cases(&commands.join("\n")) {
        let command = format!("DIRTY.FLUSH user {operations}");
        assert_eq!(redis.run(&command), format!("[{effects}]"), "{command}");
        let before = (redis.digest(), redis.replicated());
        let none = vec!["none"; effects.split(' ').count()].join(" ");
        assert_eq!(redis.run(&command), format!("[{none}]"), "{command}");
        assert_eq!((redis.digest(), redis.replicated()), before, "{command}");
    }
}

#[test]
fn any_bytes_are_fields_values_and_ids() {
    let (_server, mut redis) = declared("STREAM s PAYLOAD FULL");
    let large = vec![b'x'; 1 << 20];
    let all: Vec<u8> = (0..=255).collect();
    let odd: &[&[u8]] = &[
        b"",
        b"\0",
        b"\xff",
        b"\r\n",
        b" ",
        b"@@",
        b"NULL",
        b"SNAPSHOT",
        b"a\0b",
        "h\u{e9}".as_bytes(),
        &all,
        &large,
    ];
    for (index, bytes) in odd.iter().enumerate() {
        let id = [b"user:".as_slice(), bytes].concat();
        let snapshot = flush(&[b"SNAPSHOT", bytes, b"2", bytes, bytes, b"f", bytes]);
        let show = &bytes[..bytes.len().min(40)];
        assert_eq!(redis.raw(&snapshot), "[insert]", "{show:?}");
        assert_eq!(redis.raw(&snapshot), "[none]", "{show:?}");
        let value = |redis: &mut Conn, field: &[u8]| redis.value(&[b"HGET".as_slice(), &id, field]);
        assert_eq!(value(&mut redis, bytes), bulk(bytes), "{show:?}");
        assert_eq!(value(&mut redis, b"f"), bulk(bytes), "{show:?}");
        let get = redis.value(&[b"DIRTY.GET".as_slice(), b"user", bytes]);
        let [field, value, f] = [bytes, bytes, b"f".as_slice()].map(bulk);
        // A hash of long values gives its fields in an order of its own.
        let orders = [[&field, &value, &f, &value], [&f, &value, &field, &value]];
        let orders =
            orders.map(|pairs| Value::Array(vec![Value::Array(pairs.map(Value::clone).to_vec())]));
        assert!(orders.contains(&get), "{show:?}");
        let update = flush(&[b"UPDATE", bytes, b"1", b"f", b"other", b"NULL", b"1", bytes]);
        assert_eq!(redis.raw(&update), "[update]", "{show:?}");
        assert_eq!(
            redis.raw(&[b"HGETALL".as_slice(), &id]),
            "[f other]",
            "{show:?}"
        );
        assert_eq!(
            redis.raw(&flush(&[b"DELETE", bytes])),
            "[delete]",
            "{show:?}"
        );
        assert_eq!(redis.run("XLEN s"), format!("({})", (index + 1) * 3));
    }
    assert_eq!(redis.run("DBSIZE"), "(2)");
}

#[test]
fn many_operations_of_one_command_are_published_in_their_order() {
    let (_server, mut redis) = declared("STREAM s PAYLOAD KEYS");
    let operations: Vec<String> = (0..2000).map(|i| format!("SNAPSHOT {i} 1 a {i}")).collect();
    let reply = redis.run(&format!("DIRTY.FLUSH user {}", operations.join(" ")));
    assert_eq!(reply, format!("[{}]", vec!["insert"; 2000].join(" ")));
    let ids: Vec<u64> = events(&mut redis, "s")
        .iter()
        .map(|event| decode(event).id)
        .collect();
    assert_eq!(ids, (0..2000).collect::<Vec<u64>>());
    assert_eq!(redis.run("DBSIZE"), "(2002)");
}

/// Lines `type => canonical text: other texts of the same value | texts of other values`.
const SAME_VALUES: &str = r#"
int => 5: +5 05 005 | -5 6 0
int => 0: -0 +0 00 | 1
int => -9223372036854775808: -09223372036854775808 | 9223372036854775807
uint => 18446744073709551615: +18446744073709551615 018446744073709551615 | 18446744073709551614
float => 1.5: 1.50 15e-1 0.15e1 1.5000000000000000000001 | 1.51 -1.5 1
float => 100: 1e2 100.0 1E+2 | 1000
float => 0: -0 0.0 -0.0 0e9 1e-999 | 1e-300
float => 0.1: 0.10 1e-1 0.1000000000000000055511151231257827 | 0.10000000000000002
float => 0.00001: 1e-5 | 0.000011
float => 9.9e-6: 0.0000099 | 0.00001
float => 100000000000000000000: 1e20 | 1e21
float => 1e21: 1000000000000000000000 1e+21 | 1e20
float => -2.5e-7: -0.00000025 | 2.5e-7
bool => 1: true TRUE True | 0 false
bool => 0: false FALSE False | 1 true
time => 2026-01-02T03:04:05Z: 2026-01-02T04:04:05+01:00 2026-01-01T22:04:05-05:00
  2026-01-02T03:04:05.000Z 2026-01-02T03:04:05+00:00 2026-01-02T08:49:05+05:45
  | 2026-01-02T03:04:05.1Z 2026-01-02T03:04:06Z 2026-01-02T03:04:05+01:00
time => 2026-01-02T03:04:05.123456789Z: 2026-01-02T02:04:05.123456789-01:00
  | 2026-01-02T03:04:05.123456788Z 2026-01-02T03:04:05.123Z
time => 2026-01-02T03:04:05.5Z: 2026-01-02T03:04:05.500Z | 2026-01-02T03:04:05Z
time => 1999-12-31T23:30:00Z: 2000-01-01T00:00:00+00:30 | 2000-01-01T00:00:00Z
json => {"b":[1,2.0],"a":"x\_y"}: {\_"b":\_[\_1\_,\x092.0]\x0a,"a"\_:"x\_y"\_}\x0d\x0a
  | {"a":"x\_y","b":[1,2.0]} {"b":[1,2],"a":"x\_y"} {"b":[1,2.0],"a":"x\_\_y"}
json => null: \_null\_ | 0 {} "null"
string => 1.50: 1.50 | 1.5 1.50\_
string => \xff\x00: \xff\x00 | \xff
"#;

#[test]
fn equal_values_of_a_type_are_no_change() {
    let (_server, mut redis) = declared("STREAM s");
    for (field_type, row) in cases(SAME_VALUES) {
        let (canonical, rest) = row.split_once(": ").expect("texts");
        let (same, other) = rest.split_once(" | ").expect("others");
        redis.run(&format!(
            "DIRTY.DECLARE user TYPES 1 f {field_type} STREAM s"
        ));
        let stored = |redis: &mut Conn| redis.value(&["HGET", "user:1", "f"]);
        let expected = Value::BulkString(words(canonical).remove(0));
        for first in same.split_whitespace().chain([canonical]) {
            redis.ok(&["DEL", "user:1"]);
            let reply = redis.run(&format!("DIRTY.FLUSH user SNAPSHOT 1 1 f {first}"));
            assert_eq!(reply, "[insert]", "{field_type} {first}");
            assert_eq!(stored(&mut redis), expected, "{field_type} {first}");
            for again in same.split_whitespace().chain([canonical]) {
                for operation in ["SNAPSHOT", "INSERT", "UPDATE", "SEED"] {
                    let reply = redis.run(&format!("DIRTY.FLUSH user {operation} 1 1 f {again}"));
                    assert_eq!(reply, "[none]", "{field_type} {first} {again}");
                }
            }
        }
        for other in other.split_whitespace() {
            let seed = format!("DIRTY.FLUSH user SEED 1 1 f {canonical}");
            redis.run(&seed);
            let reply = redis.run(&format!("DIRTY.FLUSH user UPDATE 1 1 f {other}"));
            assert_eq!(reply, "[update]", "{field_type} {canonical} {other}");
        }
    }
}

#[test]
fn what_somebody_stored_by_hand_is_an_old_value_like_any() {
    let (_server, mut redis) = declared("TYPES 3 f float i int b bool STREAM s");
    redis.expect(
        r#"
HSET user:1 f 1.50 i 007 b true a x => (4)
# Equal values are no change, and nothing is written: not even a nicer text.
DIRTY.FLUSH user SNAPSHOT 1 4 f 1.5 i 7 b 1 a x => [none]
DIRTY.FLUSH user INSERT 1 4 f 1.5 i 7 b 1 a x => [none]
HGETALL user:1 => [f 1.50 i 007 b true a x]
DIRTY.FLUSH user UPDATE 1 1 f 1.6 => [update]
HGETALL user:1 => [f 1.6 i 007 b true a x]
# A value that does not fit the type is what it is.
HSET user:1 i many => (0)
DIRTY.GET user 1 => [[f 1.6 i many b (1) a x]]
DIRTY.FLUSH user UPDATE 1 1 i 5 => [update]
# Types declared later.
DIRTY.DECLARE user TYPES 2 i int a json STREAM s => OK
DIRTY.FLUSH user UPDATE 1 1 i 05 => [none]
# The marker put by hand, beside other fields or without them, is no field.
HSET user:2 @ x a y => (2)
DIRTY.GET user 2 => [[a y]]
DIRTY.FLUSH user UPDATE 2 0 => [none]
DIRTY.FLUSH user SNAPSHOT 2 0 => [update]
HLEN user:2 => (1)
HEXISTS user:2 @ => (1)
DIRTY.FLUSH user SNAPSHOT 2 1 b x => [update]
HGETALL user:2 => [b x]
HDEL user:2 b => (1)
DIRTY.FLUSH user DELETE 2 => [none]
"#,
    );
    let changes: Vec<Vec<u8>> = events(&mut redis, "s");
    let expected: &[&[u8]] = &[
        b"\x84\xa2et\xa4user\xa2id\x01\xa2ft\x02\xa2ch\x81\xa1f\
          \x82\xa1o\x82\xa1t\xa1f\xa1v\xa31.5\xa1n\x82\xa1t\xa1f\xa1v\xa31.6",
        b"\x84\xa2et\xa4user\xa2id\x01\xa2ft\x02\xa2ch\x81\xa1i\
          \x82\xa1o\x82\xa1t\xa1s\xa1v\xa4many\xa1n\x82\xa1t\xa1i\xa1v\xa15",
        b"\x84\xa2et\xa4user\xa2id\x02\xa2ft\x02\xa2ch\x81\xa1a\
          \x82\xa1o\x82\xa1t\xa1s\xa1v\xa1y\xa1n\x81\xa1n\xc3",
        b"\x84\xa2et\xa4user\xa2id\x02\xa2ft\x02\xa2ch\x81\xa1b\
          \x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1s\xa1v\xa1x",
    ];
    assert_eq!(changes, expected);
}

#[test]
fn large_entities_change_like_small_ones() {
    let value = |i: usize, round: usize| format!("{}{round}", "v".repeat(i % 100));
    let pairs = |fields: std::ops::Range<usize>, round: usize| -> Vec<String> {
        fields
            .map(|i| format!("f{i:03} {}", value(i, round)))
            .collect()
    };
    let flush = |operation: &str, pairs: &[String]| {
        format!(
            "DIRTY.FLUSH user {operation} 1 {} {}",
            pairs.len(),
            pairs.join(" ")
        )
    };
    let (_server, mut redis) = declared("STREAM s PAYLOAD FULL");
    let first = pairs(0..600, 1);
    let backwards: Vec<String> = first.iter().rev().cloned().collect();
    let half = [pairs(0..200, 1), pairs(200..300, 2)].concat();
    for (command, effect, fields, changed) in [
        (flush("SNAPSHOT", &first), "insert", 600, 600),
        (flush("SNAPSHOT", &first), "none", 600, 0),
        (flush("SNAPSHOT", &backwards), "none", 600, 0),
        (flush("INSERT", &backwards), "none", 600, 0),
        (flush("UPDATE", &first[400..]), "none", 600, 0),
        (flush("UPDATE", &pairs(599..600, 2)), "update", 600, 1),
        (flush("UPDATE", &pairs(599..601, 1)), "update", 601, 2),
        // 200 stay, 100 change, 301 go.
        (flush("SNAPSHOT", &half), "update", 300, 401),
        (flush("SNAPSHOT", &half), "none", 300, 0),
        (flush("SNAPSHOT", &[]), "update", 1, 300),
        (flush("SNAPSHOT", &first), "update", 600, 600),
        ("DIRTY.FLUSH user DELETE 1".into(), "delete", 0, 600),
    ] {
        let before = events(&mut redis, "s").len();
        let show = &command[..command.len().min(60)];
        assert_eq!(redis.run(&command), format!("[{effect}]"), "{show}");
        assert_eq!(redis.run("HLEN user:1"), format!("({fields})"), "{show}");
        if fields == 600 {
            assert_eq!(redis.run("OBJECT ENCODING user:1"), "hashtable");
        }
        let events = events(&mut redis, "s");
        assert_eq!(
            events.len() - before,
            usize::from(effect != "none"),
            "{show}"
        );
        if let Some(event) = events.get(before) {
            assert_eq!(decode(event).ch.len(), changed, "{show}");
        }
    }
    // Field by field: what stayed is not in the event, what went is null, what changed has both.
    let last = &events(&mut redis, "s")[3];
    let changes = decode(last).ch;
    for (field, old, new) in [
        ("f199", None, None),
        ("f200", Some(value(200, 1)), Some(value(200, 2))),
        ("f299", Some(value(299, 1)), Some(value(299, 2))),
        ("f300", Some(value(300, 1)), None),
        ("f600", Some(value(600, 1)), None),
    ] {
        let change = changes
            .get(field)
            .map(|change| (change.o.v.clone(), change.n.v.clone()));
        assert_eq!(change, old.map(|old| (Some(old), new)), "{field}");
    }
}

#[test]
fn many_operations_on_one_large_entity_do_not_take_long() {
    let (_server, mut redis) = declared("STREAM s PAYLOAD KEYS MAXLEN 10");
    let pairs: Vec<String> = (0..20_000).map(|i| format!("f{i} x")).collect();
    redis.run(&format!(
        "DIRTY.FLUSH user SEED 1 20000 {}",
        pairs.join(" ")
    ));
    for operations in [
        "TOUCH 1 UPDATE 1 1 f1 x ",
        "UPDATE 1 1 f1 y UPDATE 1 1 f1 x ",
    ] {
        let start = Instant::now();
        let reply = redis.run(&format!("DIRTY.FLUSH user {}", operations.repeat(1500)));
        assert!(reply.starts_with('['), "{reply}");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{operations}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn flushes_do_not_grow_the_memory() {
    let (_server, mut redis) = declared("TYPES 1 f float STREAM s MAXLEN 10 STREAM t MAXLEN 10");
    let operations = [
        "SNAPSHOT 1 3 a x f 1.50 b y",
        "SNAPSHOT 1 2 a z f 1.5",
        "INSERT 1 2 a z f 1.5",
        "UPDATE 1 0 NULL 2 a f",
        "TOUCH 1 TOUCH 1 SEED 2 1 a x DELETE 2",
        "DELETE 1",
        "DELETE 1",
    ];
    let mut memory_after = |times: usize| {
        for operation in operations.iter().cycle().take(times) {
            redis.run(&format!("DIRTY.FLUSH user {operation}"));
            redis.run("DIRTY.GET user 1 2");
        }
        redis.used_memory()
    };
    memory_after(700);
    let before = memory_after(7);
    let grown = memory_after(7_000) - before;
    assert!(grown < 20_000, "{grown} bytes");
}

#[test]
fn get_gives_the_typed_snapshots() {
    let (server, mut redis) =
        declared("TYPES 7 s string i int u uint f float b bool t time j json STREAM x");
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 8 s x i -5 u 18446744073709551615 f 1.50 b true
  t 2026-01-02T04:04:05+01:00 j [\_1] a \x00 SNAPSHOT 2 0 SNAPSHOT 3 2 b 0 f -1e21
  => [insert insert insert]
DIRTY.GET user 1 => [[s x i (-5) u 18446744073709551615 f 1.5 b (1) t 2026-01-02T03:04:05Z
  j [1] a \x00]]
DIRTY.GET user 2 4 3 2 => [[] nil [b (0) f -1e21] []]
DIRTY.GET user "" => [nil]
"#,
    );
    server.connect_resp3().expect(
        r#"
DIRTY.GET user 1 => [{s: x, i: (-5), u: 18446744073709551615, f: 1.5, b: true,
  t: 2026-01-02T03:04:05Z, j: [1], a: \x00}]
DIRTY.GET user 2 4 3 => [{} nil {b: false, f: -1000000000000000000000}]
"#,
    );
}

#[test]
fn an_event_has_the_bytes_of_the_contract() {
    let (_server, mut redis) = declared(
        "TYPES 6 i int u uint f float b bool t time j json \
         STREAM keys PAYLOAD KEYS STREAM changes PAYLOAD CHANGES STREAM full PAYLOAD FULL",
    );
    // What the streams get: KEYS, CHANGES, FULL.
    type Row = (&'static str, &'static [u8], &'static [u8], &'static [u8]);
    let table: &[Row] = &[
        (
            "INSERT 42 2 a x i 5 NULL 1 c",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x01",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x01",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x01\xa2ch\x82\
              \xa1a\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1s\xa1v\xa1x\
              \xa1i\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1i\xa1v\xa15",
        ),
        (
            "UPDATE 42 2 a y c z",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x02",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\x82\
              \xa1a\x82\xa1o\x82\xa1t\xa1s\xa1v\xa1x\xa1n\x82\xa1t\xa1s\xa1v\xa1y\
              \xa1c\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1s\xa1v\xa1z",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\x82\
              \xa1a\x82\xa1o\x82\xa1t\xa1s\xa1v\xa1x\xa1n\x82\xa1t\xa1s\xa1v\xa1y\
              \xa1c\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1s\xa1v\xa1z",
        ),
        (
            "SNAPSHOT 42 2 a y i 5",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x02",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\x81\
              \xa1c\x82\xa1o\x82\xa1t\xa1s\xa1v\xa1z\xa1n\x81\xa1n\xc3",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\x81\
              \xa1c\x82\xa1o\x82\xa1t\xa1s\xa1v\xa1z\xa1n\x81\xa1n\xc3",
        ),
        (
            "TOUCH 42",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x02",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x02",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x02",
        ),
        (
            "DELETE 42",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x03",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x03",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x03\xa2ch\x82\
              \xa1a\x82\xa1o\x82\xa1t\xa1s\xa1v\xa1y\xa1n\x81\xa1n\xc3\
              \xa1i\x82\xa1o\x82\xa1t\xa1i\xa1v\xa15\xa1n\x81\xa1n\xc3",
        ),
        // Empty ones are left out: an entity without fields has no changes.
        (
            "INSERT 42 0",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x01",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x01",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x01",
        ),
        (
            "DELETE 42",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x03",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x03",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x03",
        ),
        // Each type by its letter, in its canonical text; texts that are not UTF-8 as bin.
        (
            "SNAPSHOT \\xff 8 a \\x00 b TRUE \\x80 \\xfe f 2.50 i 07 j {\\_} t 2026-01-02T03:04:05+00:00 u 9",
            b"\x83\xa2et\xa4user\xa2id\xc4\x01\xff\xa2ft\x01",
            b"\x83\xa2et\xa4user\xa2id\xc4\x01\xff\xa2ft\x01",
            b"\x84\xa2et\xa4user\xa2id\xc4\x01\xff\xa2ft\x01\xa2ch\x88\
              \xa1a\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1s\xa1v\xa1\0\
              \xa1b\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1b\xa1v\xa11\
              \xc4\x01\x80\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1s\xa1v\xc4\x01\xfe\
              \xa1f\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1f\xa1v\xa32.5\
              \xa1i\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1i\xa1v\xa17\
              \xa1j\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1j\xa1v\xa2{}\
              \xa1t\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1t\xa1v\xb42026-01-02T03:04:05Z\
              \xa1u\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1u\xa1v\xa19",
        ),
    ];
    for (operation, keys, changes, full) in table {
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        for (stream, expected) in [("keys", keys), ("changes", changes), ("full", full)] {
            let events = events(&mut redis, stream);
            let last = events.last().map(Vec::as_slice);
            assert_eq!(last, Some(*expected), "{operation} {stream}");
        }
    }
    assert_eq!(redis.run("XLEN keys"), format!("({})", table.len()));
}

#[test]
fn ids_are_numbers_where_the_text_comes_back_the_same() {
    let (_server, mut redis) = declared("STREAM s PAYLOAD KEYS");
    for (id, bytes) in [
        ("0", b"\x00".as_slice()),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("255", b"\xcc\xff"),
        ("256", b"\xcd\x01\x00"),
        ("65536", b"\xce\x00\x01\x00\x00"),
        ("4294967296", b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        (
            "18446744073709551615",
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        ("18446744073709551616", b"\xb418446744073709551616"),
        ("007", b"\xa3007"),
        ("00", b"\xa200"),
        ("-1", b"\xa2-1"),
        ("+1", b"\xa2+1"),
        ("1.0", b"\xa31.0"),
        ("\\_1", b"\xa2 1"),
        ("1e3", b"\xa31e3"),
        ("\"\"", b"\xa0"),
        ("a\\x00b", b"\xa3a\0b"),
        (
            "1f0e4b6c-9c51-4f1c-8e35-5a9a7a7c0d11",
            b"\xd9\x241f0e4b6c-9c51-4f1c-8e35-5a9a7a7c0d11",
        ),
        ("\\xc3\\xa9", b"\xa2\xc3\xa9"),
        ("\\xc3", b"\xc4\x01\xc3"),
    ] {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 0"));
        let expected = [b"\x83\xa2et\xa4user\xa2id", bytes, b"\xa2ft\x01"].concat();
        let events = events(&mut redis, "s");
        assert_eq!(events.last(), Some(&expected), "{id}");
    }
}

#[test]
fn texts_and_maps_of_any_length_have_the_shortest_header() {
    let (_server, mut redis) = declared("STREAM s PAYLOAD FULL");
    for (byte, length, header) in [
        (b'x', 31, b"\xbf".as_slice()),
        (b'x', 32, b"\xd9\x20"),
        (b'x', 255, b"\xd9\xff"),
        (b'x', 256, b"\xda\x01\x00"),
        (b'x', 65_535, b"\xda\xff\xff"),
        (b'x', 65_536, b"\xdb\x00\x01\x00\x00"),
        (0xff, 31, b"\xc4\x1f"),
        (0xff, 255, b"\xc4\xff"),
        (0xff, 256, b"\xc5\x01\x00"),
        (0xff, 65_536, b"\xc6\x00\x01\x00\x00"),
    ] {
        let text = vec![byte; length];
        let flush: [&[u8]; 7] = [
            b"DIRTY.FLUSH",
            b"user",
            b"SNAPSHOT",
            &text,
            b"1",
            &text,
            &text,
        ];
        assert_eq!(redis.raw(&flush), "[insert]", "{header:?}");
        let text = [header, &text].concat();
        let expected: &[&[u8]] = &[
            b"\x84\xa2et\xa4user\xa2id",
            &text,
            b"\xa2ft\x01\xa2ch\x81",
            &text,
            b"\x82\xa1o\x81\xa1n\xc3\xa1n\x82\xa1t\xa1s\xa1v",
            &text,
        ];
        let events = events(&mut redis, "s");
        assert!(events.last() == Some(&expected.concat()), "{header:?}");
    }
    for (fields, header) in [
        (15, b"\x8f".as_slice()),
        (16, b"\xde\x00\x10"),
        (65_536, b"\xdf\x00\x01\x00\x00"),
    ] {
        let pairs: Vec<String> = (0..fields).map(|i| format!("{i} x")).collect();
        redis.run(&format!(
            "DIRTY.FLUSH user SNAPSHOT 1 {fields} {}",
            pairs.join(" ")
        ));
        let start = [b"\x84\xa2et\xa4user\xa2id\x01\xa2ft\x01\xa2ch", header].concat();
        let events = events(&mut redis, "s");
        let last = events.last().expect("an event");
        assert!(last.starts_with(&start), "{fields}: {:?}", &last[..40]);
        redis.run("DIRTY.FLUSH user DELETE 1");
    }
    for (name, bytes) in [
        ("Person", b"\xa6Person".as_slice()),
        ("\\xff", b"\xc4\x01\xff"),
        ("\"\"", b"\xa0"),
    ] {
        redis.run(&format!("DIRTY.DECLARE user NAME {name} STREAM s"));
        redis.run("DIRTY.FLUSH user SNAPSHOT 7 0 DELETE 7");
        let expected = [b"\x83\xa2et", bytes, b"\xa2id\x07\xa2ft\x03"].concat();
        assert_eq!(events(&mut redis, "s").last(), Some(&expected), "{name}");
    }
}

/// Lines `operations => streams that get an event of it`, named for their operations and triggers.
const TRIGGERED: &str = r#"
SNAPSHOT 1 2 a x b x => iud i iu ia id_ab
SNAPSHOT 1 2 a x b x => -
UPDATE 1 1 a y => iud u iu ia none_a id_ab
UPDATE 1 1 b y => iud u iu id_ab
UPDATE 1 2 a x b x => iud u iu ia none_a id_ab
UPDATE 1 1 c x => iud u iu
UPDATE 1 1 a x => -
UPDATE 1 0 NULL 1 a => iud u iu ia none_a id_ab
UPDATE 1 1 a x NULL 1 c => iud u iu ia none_a id_ab
TOUCH 1 => iud u iu
SEED 1 1 a z => -
DELETE 1 => iud d id_ab
SEED 1 1 b z => -
DELETE 1 => iud d id_ab
DELETE 1 => -
INSERT 1 0 => iud i iu ia id_ab
"#;

#[test]
fn a_stream_gets_the_operations_and_triggers_it_asked_for() {
    const STREAMS: &[&str] = &["iud", "i", "u", "d", "iu", "ia", "none", "none_a", "id_ab"];
    let (_server, mut redis) = declared(
        "STREAM iud STREAM i OPS I STREAM u OPS U STREAM d OPS D STREAM iu OPS UI \
         STREAM ia OPS I FIELDS 1 a STREAM none OPS NONE STREAM none_a OPS NONE FIELDS 1 a \
         STREAM id_ab OPS DI FIELDS 2 b a",
    );
    let lengths = |redis: &mut Conn| -> Vec<String> {
        STREAMS
            .iter()
            .map(|stream| redis.run(&format!("XLEN {stream}")))
            .collect()
    };
    for (operations, wanted) in cases(TRIGGERED) {
        let before = lengths(&mut redis);
        let reply = redis.run(&format!("DIRTY.FLUSH user {operations}"));
        assert!(reply.starts_with('['), "{operations}: {reply}");
        let after = lengths(&mut redis);
        let grown = STREAMS.iter().zip(before.iter().zip(after));
        let grown: Vec<&str> = grown
            .filter(|(_, (b, a))| *b != a)
            .map(|(s, _)| *s)
            .collect();
        let wanted = wanted.replace('-', "");
        assert_eq!(grown.join(" "), wanted, "{operations}");
    }
    assert_eq!(redis.run("EXISTS none"), "(0)");
}

#[test]
fn a_stream_is_trimmed_to_its_length_when_an_event_is_added() {
    let (_server, mut redis) = declared("STREAM s MAXLEN = 3 PAYLOAD KEYS STREAM none MAXLEN 0");
    for (touches, left) in [
        (0, vec![1]),
        (1, vec![1, 2]),
        (1, vec![1, 2, 3]),
        (1, vec![2, 3, 4]),
    ] {
        let touches = "TOUCH 1 ".repeat(touches);
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT 1 1 a x {touches}"));
        assert_eq!(sequence(&mut redis, "s"), left);
        assert_eq!(redis.run("XLEN none"), "(0)");
    }
    // A command that adds more than the stream may hold leaves the last ones.
    redis.run(&format!("DIRTY.FLUSH user {}", "TOUCH 1 ".repeat(100)));
    assert_eq!(sequence(&mut redis, "s"), [102, 103, 104]);
    redis.expect(
        r#"
# A flush that adds nothing trims nothing, not even what a lower limit or another writer left.
DIRTY.DECLARE user STREAM s MAXLEN = 2 => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a x => [none]
XLEN s => (3)
XADD s 99999999999999-500 a b => 99999999999999-500
DIRTY.FLUSH user SEED 1 1 a y => [seed]
XLEN s => (4)
DIRTY.FLUSH user TOUCH 1 => [touch]
XLEN s => (2)
"#,
    );
    assert_eq!(sequence(&mut redis, "s"), [500, 501]);
}

#[test]
fn a_stream_is_trimmed_about_to_its_length_by_whole_nodes() {
    let server = Server::with(&["--stream-node-max-entries", "10"]);
    let mut redis = server.connect();
    redis.expect(
        "DIRTY.DECLARE user STREAM s MAXLEN ~ 25 PAYLOAD KEYS => OK\n\
         DIRTY.FLUSH user SNAPSHOT 1 0 => [insert]",
    );
    for added in 2..=200 {
        redis.run("DIRTY.FLUSH user TOUCH 1");
        let left = sequence(&mut redis, "s");
        assert!(
            (added.min(25)..=34).contains(&left.len()),
            "{} of {added}",
            left.len()
        );
        assert_eq!(left.last(), Some(&added));
        // Whole nodes went: what is left starts a node.
        assert_eq!(left.first().map(|first| first % 10), Some(1), "{added}");
    }
    // However many one command adds: the server trims 100 nodes at most at a time.
    for (touches, last) in [(1000, 1200), (3000, 4200), (3000, 7200)] {
        redis.run(&format!("DIRTY.FLUSH user {}", "TOUCH 1 ".repeat(touches)));
        let left = sequence(&mut redis, "s");
        assert!((25..=34).contains(&left.len()), "{} of {last}", left.len());
        assert_eq!(left.last(), Some(&last));
    }
}

#[test]
fn a_stream_that_nobody_asked_to_trim_is_never_trimmed() {
    let server = Server::with(&["--stream-node-max-entries", "10"]);
    let mut redis = server.connect();
    redis.expect(
        "DIRTY.DECLARE user STREAM all STREAM few MAXLEN 1 => OK\n\
         DIRTY.FLUSH user SNAPSHOT 1 0 => [insert]",
    );
    for _ in 0..10 {
        redis.run(&format!("DIRTY.FLUSH user {}", "TOUCH 1 ".repeat(500)));
    }
    assert_eq!(
        sequence(&mut redis, "all"),
        (1..=5001).collect::<Vec<usize>>()
    );
    assert_eq!(sequence(&mut redis, "few"), [5001]);
    redis.expect(
        r#"
DIRTY.DECLARE user STREAM few => OK
DIRTY.FLUSH user TOUCH 1 TOUCH 1 DELETE 1 => [touch touch delete]
XLEN all => (5001)
XLEN few => (4)
"#,
    );
}

/// Lines `operations => keyspace events`.
const NOTICES: &str = r#"
SNAPSHOT 1 2 a x b y => hset user:1, xadd s, xadd limited
SNAPSHOT 1 2 a x b y => -
INSERT 1 2 a x b y => -
UPDATE 1 1 a x => -
UPDATE 1 1 a y => hset user:1, xadd s, xadd a, xadd limited, xtrim limited
UPDATE 1 1 c x NULL 1 b => hset user:1, hdel user:1, xadd s, xadd limited, xtrim limited
SNAPSHOT 1 1 a y => hdel user:1, xadd s, xadd limited, xtrim limited
SNAPSHOT 1 0 => hset user:1, hdel user:1, xadd s, xadd a, xadd limited, xtrim limited
SNAPSHOT 1 0 => -
TOUCH 1 => xadd s, xadd limited, xtrim limited
DELETE 1 => del user:1, xadd s, xadd limited, xtrim limited
DELETE 1 => -
SEED 1 1 a x => hset user:1
SEED 1 1 a x => -
SEED 1 0 NULL 1 a => hset user:1, hdel user:1
SNAPSHOT 2 0 DELETE 2 TOUCH 1
  => hset user:2, xadd s, xadd limited, del user:2, xadd s, xadd limited, xadd s, xadd limited,
  xtrim limited
# Refused.
SNAPSHOT 3 1 a x UPDATE 4 0 => -
INSERT 1 1 a x => -
"#;

#[test]
fn keyspace_listeners_hear_of_what_changed_and_of_nothing_else() {
    let server = Server::with(&["--notify-keyspace-events", "KEA"]);
    let (mut redis, mut heard) = (server.connect(), server.connect());
    redis.run("DIRTY.DECLARE user STREAM s STREAM a OPS NONE FIELDS 1 a STREAM limited MAXLEN 1");
    heard.ok(&["PSUBSCRIBE", "__keyevent@*"]);
    heard.ok(&["SUBSCRIBE", "done"]);
    for (operations, expected) in cases(NOTICES) {
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        redis.ok(&["PUBLISH", "done", "x"]);
        let mut notices = Vec::new();
        loop {
            let message = text(&heard.receive().expect("a message"));
            if message == "[message done x]" {
                break;
            }
            let notice = message.strip_prefix("[pmessage __keyevent@* __keyevent@0__:");
            let notice = notice.and_then(|notice| notice.strip_suffix(']'));
            notices.push(notice.unwrap_or_else(|| panic!("{message}")).to_string());
        }
        let expected: Vec<&str> = expected
            .split(", ")
            .filter(|notice| *notice != "-")
            .collect();
        assert_eq!(notices, expected, "{operations}");
    }
}

/// Lines `operations => keys that were changed`, each on the state of entities 1 and 2, `a x`.
const TOUCHED: &str = r#"
SNAPSHOT 1 1 a y => user:1 s
SNAPSHOT 1 0 => user:1 s
UPDATE 1 1 b y => user:1 s
UPDATE 1 0 NULL 1 a => user:1 s
DELETE 1 => user:1 s
TOUCH 1 => s
SEED 1 1 a y => user:1
INSERT 3 1 a x => user:3 s
SNAPSHOT 1 1 a y DELETE 2 => user:1 user:2 s
SEED 1 1 a y TOUCH 2 => user:1 s
SNAPSHOT 1 1 a x => -
INSERT 1 1 a x => -
UPDATE 1 1 a x => -
UPDATE 1 0 NULL 1 b => -
SEED 1 1 a x => -
DELETE 3 => -
SNAPSHOT 1 1 a x DELETE 3 => -
INSERT 1 1 a y => -
UPDATE 3 1 a y => -
SNAPSHOT 1 1 a y UPDATE 3 1 a y => -
DELETE 1 FLY => -
"#;

const WATCHED: &[&str] = &["user", "user:1", "user:2", "user:3", "s", "other"];

fn prepare(redis: &mut Conn) {
    redis.expect(
        "FLUSHALL => OK\n\
         DIRTY.DECLARE user STREAM s STREAM other OPS NONE FIELDS 1 c => OK\n\
         DIRTY.FLUSH user SNAPSHOT 1 1 a x SNAPSHOT 2 1 a x => [insert insert]\n\
         DIRTY.CONSUME other CURSOR c => [events [] position 0-0 missed (0)]",
    );
}

#[test]
fn a_watching_transaction_fails_when_a_flush_changed_its_key_and_else_does_not() {
    let (server, mut redis) = declared("STREAM s");
    let mut watching = server.connect();
    for (operations, changed) in cases(TOUCHED) {
        for key in WATCHED {
            prepare(&mut redis);
            watching.ok(&["WATCH", key]);
            redis.run(&format!("DIRTY.FLUSH user {operations}"));
            watching.ok(&["MULTI"]);
            watching.ok(&["PING"]);
            let expected = match changed.split(' ').any(|changed| changed == *key) {
                true => "nil",
                false => "[PONG]",
            };
            assert_eq!(watching.run("EXEC"), expected, "{operations}: {key}");
        }
    }
}

#[test]
fn client_side_caches_are_told_what_changed_and_nothing_else() {
    let (server, mut redis) = declared("STREAM s");
    let mut caching = server.connect_resp3();
    caching.ok(&["CLIENT", "TRACKING", "ON"]);
    for (operations, changed) in cases(TOUCHED) {
        prepare(&mut redis);
        invalidated(&mut caching);
        for key in WATCHED {
            caching.ok(&["EXISTS", key]);
        }
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        let mut told = invalidated(&mut caching);
        told.sort();
        told.dedup();
        let mut changed: Vec<&str> = changed.split(' ').filter(|key| *key != "-").collect();
        changed.sort();
        assert_eq!(told, changed, "{operations}");
    }
}

/// Keys that the server has told this connection to forget.
fn invalidated(caching: &mut Conn) -> Vec<String> {
    caching.send(&["ECHO", "done"]).expect("a connection");
    let mut keys = Vec::new();
    loop {
        match caching.receive().expect("a reply") {
            Value::Push {
                kind: PushKind::Invalidate,
                data,
            } => match data.as_slice() {
                [Value::Array(invalid)] => keys.extend(invalid.iter().map(text)),
                other => assert_eq!(other, [Value::Nil], "FLUSHALL"),
            },
            reply => {
                assert_eq!(text(&reply), "done");
                return keys;
            }
        }
    }
}

#[test]
fn a_flush_in_a_transaction_or_a_script_does_and_replies_the_same() {
    let (server, mut redis) = declared("STREAM s PAYLOAD KEYS");
    redis.expect(
        r#"
MULTI => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a x DELETE 2 => QUEUED
DIRTY.FLUSH user SNAPSHOT 1 1 a x => QUEUED
HGETALL user:1 => QUEUED
XLEN s => QUEUED
DIRTY.FLUSH user UPDATE 1 1 a y TOUCH 1 => QUEUED
EXEC => [[insert none] [none] [a x] (1) [update touch]]
HGETALL user:1 => [a y]
MULTI => OK
DIRTY.FLUSH user DELETE 1 => QUEUED
DISCARD => OK
HGETALL user:1 => [a y]
EVAL return\_redis.call('DIRTY.FLUSH',KEYS[1],'SNAPSHOT',ARGV[1],1,'a',ARGV[2]) 1 user 1 z
  => [update]
EVAL local\_r=redis.call('DIRTY.FLUSH','user','DELETE','1')\_return\_r[1].ok 1 user => delete
EVAL redis.call('DIRTY.FLUSH','user','INSERT','1','0')\_return\_redis.call('XLEN','s') 1 user
  => (6)
DIRTY.GET user 1 => [[]]
"#,
    );
    server.connect_resp3().expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 1 a x DELETE 2 => [update none]
EVAL return\_redis.call('DIRTY.FLUSH','user','DELETE','1') 1 user => [delete]
"#,
    );
    assert_eq!(sequence(&mut redis, "s"), (1..=8).collect::<Vec<usize>>());
}

#[test]
fn a_snapshot_keeps_its_time_to_live_as_long_as_the_entity_lives() {
    let (_server, mut redis) = declared("STREAM s");
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 a x");
    assert_eq!(redis.run("PEXPIREAT user:1 32503680000000"), "(1)");
    for operation in [
        "SNAPSHOT 1 1 a y",
        "SNAPSHOT 1 1 b x",
        "UPDATE 1 1 c x NULL 1 b",
        "SNAPSHOT 1 0",
        "SNAPSHOT 1 1 a x",
        "UPDATE 1 0 NULL 1 a",
        "TOUCH 1",
        "SEED 1 1 b x",
        "SNAPSHOT 1 1 c x UPDATE 1 0 NULL 1 c UPDATE 1 1 d x",
    ] {
        let reply = redis.run(&format!("DIRTY.FLUSH user {operation}"));
        assert!(
            reply.starts_with('[') && !reply.contains("none"),
            "{operation}: {reply}"
        );
        assert_eq!(
            redis.run("PEXPIRETIME user:1"),
            "(32503680000000)",
            "{operation}"
        );
    }
    redis.expect(
        r#"
DIRTY.FLUSH user DELETE 1 INSERT 1 1 a x => [delete insert]
PEXPIRETIME user:1 => (-1)
"#,
    );
}

#[test]
fn what_has_expired_is_gone_even_if_the_server_has_not_swept_it_yet() {
    let (_server, mut redis) = declared("STREAM s");
    redis.run("DEBUG SET-ACTIVE-EXPIRE 0");
    for (operation, reply, fields, events) in [
        ("SNAPSHOT 1 1 b x", "[insert]", "[b x]", "(1)"),
        ("INSERT 1 1 b x", "[insert]", "[b x]", "(1)"),
        ("SEED 1 1 b x", "[seed]", "[b x]", "(0)"),
        ("DELETE 1", "[none]", "[]", "(0)"),
        (
            "UPDATE 1 1 b x",
            "NOENTITY there is no entity \"1\"",
            "[]",
            "(0)",
        ),
        ("TOUCH 1", "NOENTITY there is no entity \"1\"", "[]", "(0)"),
    ] {
        redis.ok(&["DEL", "user:1", "s"]);
        redis.run("DIRTY.FLUSH user SEED 1 2 a x b y");
        redis.ok(&["PEXPIRE", "user:1", "1"]);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(redis.run(&format!("DIRTY.FLUSH user {operation}")), reply);
        assert_eq!(redis.run("HGETALL user:1"), fields, "{operation}");
        assert_eq!(redis.run("XLEN s"), events, "{operation}");
        assert_eq!(
            redis.run("PTTL user:1") == "(-1)",
            fields != "[]",
            "{operation}"
        );
    }
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 a x");
    for key in ["user:1", "s", "user"] {
        redis.ok(&["PEXPIRE", key, "1"]);
        std::thread::sleep(Duration::from_millis(5));
        let (get, reply) = match key {
            "user:1" => ("DIRTY.GET user 1", "[nil]"),
            "s" => ("DIRTY.FLUSH user SNAPSHOT 1 1 a x", "[insert]"),
            _ => (
                "DIRTY.INFO user",
                "NODECL no entity type is declared at \"user\"",
            ),
        };
        assert_eq!(redis.run(get), reply);
    }
    assert_eq!(redis.run("XLEN s"), "(1)");
}

/// What the tests need of an event, read by another decoder than the module's.
#[derive(Deserialize)]
struct Event {
    id: u64,
    #[serde(default)]
    ch: BTreeMap<String, Change>,
}

#[derive(Deserialize)]
struct Change {
    o: Param,
    n: Param,
}

#[derive(Deserialize)]
struct Param {
    v: Option<String>,
}

fn decode(event: &[u8]) -> Event {
    rmp_serde::from_slice(event).expect("an event")
}

fn bulk(bytes: &[u8]) -> Value {
    Value::BulkString(bytes.to_vec())
}

fn flush<'a>(operations: &[&'a [u8]]) -> Vec<&'a [u8]> {
    [&[b"DIRTY.FLUSH".as_slice(), b"user"], operations].concat()
}

/// A server with the entity type `user`.
fn declared(declaration: &str) -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    let declare = format!("DIRTY.DECLARE user {declaration}");
    assert_eq!(redis.run(&declare), "OK", "{declare}");
    (server, redis)
}

/// The bytes of a stream's events, whose entries have nothing else.
fn events(redis: &mut Conn, stream: &str) -> Vec<Vec<u8>> {
    entries(redis, stream)
        .into_iter()
        .map(|(_, event)| event)
        .collect()
}

/// The seqs of a stream's entries.
fn sequence(redis: &mut Conn, stream: &str) -> Vec<usize> {
    let seq = |(id, _): (String, _)| id.split_once('-').and_then(|(_, seq)| seq.parse().ok());
    let seqs: Option<Vec<usize>> = entries(redis, stream).into_iter().map(seq).collect();
    seqs.expect("ids")
}

/// Each entry's id, and the value of its one field.
fn entries(redis: &mut Conn, stream: &str) -> Vec<(String, Vec<u8>)> {
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
