//! DIRTY.FLUSH: what each operation stores, replies and publishes.

use super::support::entities::{declared, expect_operations};
use super::support::entries::{decode, events, sequence};
use super::support::{Conn, Server, cases, leaks, words};
use redis::Value;
use std::time::Duration;

/// Tables of `expect_operations`, each on an empty server.
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
        expect_operations(&mut redis, table);
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
int => 5: +5 05 005 5.0 5. 50e-1 .5E+1 | -5 6 0
int => 0: -0 +0 00 | 1
int => -9223372036854775808: -09223372036854775808 | 9223372036854775807
int => 9223372036854775807: 9223372036854775807.0 92233720368547758070e-1 | 9223372036854775806.0
uint => 0: -0 -0.0 0e999999999 | 1
uint => 18446744073709551615: +18446744073709551615 018446744073709551615 1.8446744073709551615e19 | 18446744073709551614
float => 1.5: 1.50 15e-1 0.15e1 1.5000000000000000000001 | 1.51 -1.5 1
float => 100: 1e2 100.0 1E+2 | 1000
float => 0: -0 0.0 -0.0 0e9 1e-999 | 1e-300
float => 0.1: 0.10 1e-1 0.1000000000000000055511151231257827 | 0.10000000000000002
float => 0.00001: 1e-5 | 0.000011
float => 9.9e-6: 0.0000099 | 0.00001
float => 100000000000000000000: 1e20 | 1e21
float => 1e21: 1000000000000000000000 1e+21 | 1e20
float => -2.5e-7: -0.00000025 | 2.5e-7
bool => 1: true TRUE True 1.0 01 | 0 false
bool => 0: false FALSE False -0 0e5 | 1 true
time => 2026-01-02T03:04:05Z: 2026-01-02T04:04:05+01:00 2026-01-01T22:04:05-05:00
  2026-01-02T03:04:05.000Z 2026-01-02T03:04:05+00:00 2026-01-02T08:49:05+05:45
  | 2026-01-02T03:04:05.1Z 2026-01-02T03:04:06Z 2026-01-02T03:04:05+01:00
time => 2026-01-02T03:04:05.123456789Z: 2026-01-02T02:04:05.123456789-01:00
  | 2026-01-02T03:04:05.123456788Z 2026-01-02T03:04:05.123Z
time => 2026-01-02T03:04:05.5Z: 2026-01-02T03:04:05.500Z | 2026-01-02T03:04:05Z
time => 1999-12-31T23:30:00Z: 2000-01-01T00:00:00+00:30 | 2000-01-01T00:00:00Z
decimal => 0: -0 0.00 -0e5 000 | 0.01
decimal => 10.5: 10.50 +010.500 1.05e1 105E-1 | 10.51 -10.5
decimal => 9999999999999999.99: 9999999999999999.990 | 9999999999999999.98 10000000000000000
decimal:2 => 10.50: 10.5 10.500 1.05e1 | 10.51
decimal:0 => 10: 10.0 1e1 | 11
date => 2026-01-02: 2026-01-02 | 2026-01-03
datetime => 2026-01-02T03:04:05: 2026-01-02\_03:04:05 2026-01-02t03:04:05.000 | 2026-01-02T03:04:05.1
datetime => 2026-01-02T03:04:05.120000001: 2026-01-02\_03:04:05.120000001 | 2026-01-02T03:04:05.12
json => {"b":[1,2.5],"a":"x\_y"}: {\_"b":\_[\_1\_,\x092.5]\x0a,"a"\_:"x\_y"\_}\x0d\x0a
  {"b":[1.0,250e-2],"a":"x\_y"}
  | {"a":"x\_y","b":[1,2.5]} {"b":[1,2],"a":"x\_y"} {"b":[1,2.5],"a":"x\_\_y"}
json => [0,10000000000000000,1e21,12345678901234567.89]: [-0,1e16,1E+21,12345678901234567.890]
  [-0.0,10000000000000000.0,1000000000000000000000,1234567890123456789e-2]
  | [0,10000000000000000,1e21,12345678901234567.88]
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
    redis.run("CONFIG SET dirty.max-fields 20000");
    let pairs: Vec<String> = (0..20_000).map(|i| format!("f{i} x")).collect();
    redis.run(&format!(
        "DIRTY.FLUSH user SEED 1 20000 {}",
        pairs.join(" ")
    ));
    for operations in [
        "TOUCH 1 UPDATE 1 1 f1 x ",
        "UPDATE 1 1 f1 y UPDATE 1 1 f1 x ",
    ] {
        let before = redis.cpu();
        let reply = redis.run(&format!("DIRTY.FLUSH user {}", operations.repeat(1500)));
        assert!(reply.starts_with('['), "{reply}");
        let took = redis.cpu() - before;
        assert!(took < Duration::from_secs(1), "{operations}: {took:?}");
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
    let memory_after = |times: usize| {
        for operation in operations.iter().cycle().take(times) {
            redis.run(&format!("DIRTY.FLUSH user {operation}"));
            redis.run("DIRTY.GET user 1 2");
        }
        redis.used_memory()
    };
    assert!(!leaks(7_000, 20_000, memory_after));
}

#[test]
fn a_large_flush_leaves_little_memory_behind() {
    let (server, mut redis) = declared("STREAM s");
    let pairs: String = (0..10).map(|field| format!(" f{field} x")).collect();
    let inserts: Vec<String> = (0..5_000)
        .map(|id| format!("INSERT {id} 10{pairs}"))
        .collect();
    let large = format!("DIRTY.FLUSH user DRYRUN {}", inserts.join(" "));
    redis.run("DIRTY.FLUSH user DRYRUN INSERT 1 0");
    let before = redis.used_memory();
    let reply = redis.run(&large);
    assert!(reply.starts_with("[insert insert"), "{reply}");
    // What a connection keeps for its next command goes with it.
    redis = server.connect();
    std::thread::sleep(Duration::from_millis(50));
    let kept = redis.used_memory() - before;
    // 16 KiB of each of 32 sizes of blocks, at most.
    assert!(kept < 600 << 10, "{kept} bytes");
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
        ("TOUCH 1", "[none]", "[]", "(0)"),
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

pub fn bulk(bytes: &[u8]) -> Value {
    Value::BulkString(bytes.to_vec())
}

pub fn flush<'a>(operations: &[&'a [u8]]) -> Vec<&'a [u8]> {
    [&[b"DIRTY.FLUSH".as_slice(), b"user"], operations].concat()
}
