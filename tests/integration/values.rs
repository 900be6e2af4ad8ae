//! Values in every notation and every type: one value has one text, wherever it comes from, and no digit of
//! a number is lost on the way.

use super::support::entities::declared;
use super::support::{Conn, Server};
use redis::Value;

/// How a snapshot with one field `f` is given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Given {
    List,
    Json,
    /// The value in hex.
    MsgPack,
}

impl Given {
    /// The words behind the id, or of an UPDATE of a type that is STATELESS.
    fn words(self, values: &[&str]) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = match self {
            Given::List => vec![b"1".into(), b"f".into()],
            Given::Json => vec![b"JSON".into()],
            Given::MsgPack => vec![b"MSGPACK".into()],
        };
        words.extend(values.iter().map(|value| match self {
            Given::List => value.as_bytes().to_vec(),
            Given::Json => format!("{{\"f\":{value}}}").into_bytes(),
            Given::MsgPack => {
                let digits: Vec<char> = value.chars().collect();
                let bytes = digits.chunks(2).map(String::from_iter);
                let bytes = bytes.map(|byte| u8::from_str_radix(&byte, 16).expect("hex"));
                b"\x81\xa1f".iter().copied().chain(bytes).collect()
            }
        }));
        words
    }
}

fn flush(redis: &mut Conn, operation: &str, given: Given, values: &[&str]) -> String {
    let mut words: Vec<Vec<u8>> = ["DIRTY.FLUSH", "user", operation, "1"]
        .map(Into::into)
        .to_vec();
    words.extend(given.words(values));
    redis.raw(&words)
}

/// Notations of one number, and its text in a field of each type.
struct Number {
    notations: &'static [(Given, &'static str)],
    texts: &'static [(&'static str, &'static str)],
}

use Given::{Json, List, MsgPack};

const NUMBERS: &[Number] = &[
    Number {
        notations: &[
            (List, "5"),
            (List, "+5"),
            (List, "05"),
            (List, "5.0"),
            (List, "50E-1"),
            (List, ".5e1"),
            (Json, "5"),
            (Json, "5.0"),
            (Json, "5.000"),
            (Json, "50E-1"),
            (Json, "0.5e+1"),
            (MsgPack, "05"),
            (MsgPack, "cc05"),
            (MsgPack, "d30000000000000005"),
            (MsgPack, "ca40a00000"),
            (MsgPack, "cb4014000000000000"),
        ],
        texts: &[
            ("int", "5"),
            ("uint", "5"),
            ("float", "5"),
            ("decimal", "5"),
            ("decimal:2", "5.00"),
            ("decimal:0", "5"),
            ("json", "5"),
        ],
    },
    Number {
        notations: &[
            (List, "0"),
            (List, "-0"),
            (List, "-0.0"),
            (List, "0e999999999"),
            (Json, "0"),
            (Json, "-0"),
            (Json, "-0.0"),
            (Json, "0.0"),
            (Json, "-0E-99999999999999999999"),
            (MsgPack, "00"),
            (MsgPack, "ca80000000"),
            (MsgPack, "cb8000000000000000"),
            (MsgPack, "cb0000000000000000"),
        ],
        texts: &[
            ("int", "0"),
            ("uint", "0"),
            ("float", "0"),
            ("decimal", "0"),
            ("decimal:2", "0.00"),
            ("bool", "0"),
            ("json", "0"),
        ],
    },
    Number {
        notations: &[
            (List, "1"),
            (List, "1.0"),
            (Json, "1"),
            (Json, "1e0"),
            (MsgPack, "01"),
            (MsgPack, "ca3f800000"),
        ],
        texts: &[("bool", "1"), ("int", "1"), ("json", "1")],
    },
    // 2^60, which a double holds, though its shortest text has other digits.
    Number {
        notations: &[
            (List, "1152921504606846976"),
            (List, "1152921504606846976.0"),
            (List, "1.152921504606846976e18"),
            (Json, "1152921504606846976"),
            (Json, "1152921504606846976.0"),
            (Json, "11529215046068469760e-1"),
            (MsgPack, "cf1000000000000000"),
            (MsgPack, "cb43b0000000000000"),
            (MsgPack, "ca5d800000"),
        ],
        texts: &[
            ("int", "1152921504606846976"),
            ("uint", "1152921504606846976"),
            ("decimal", "1152921504606846976"),
            ("decimal:1", "1152921504606846976.0"),
            ("float", "1152921504606847000"),
        ],
    },
    Number {
        notations: &[
            (List, "9223372036854775807"),
            (List, "9223372036854775807.0"),
            (List, "922337203685477580700e-2"),
            (Json, "9223372036854775807"),
            (Json, "9223372036854775807.0"),
            (Json, "9.223372036854775807E+18"),
            (MsgPack, "cf7fffffffffffffff"),
        ],
        texts: &[
            ("int", "9223372036854775807"),
            ("uint", "9223372036854775807"),
            ("decimal", "9223372036854775807"),
            ("float", "9223372036854776000"),
            ("json", "9223372036854775807"),
        ],
    },
    Number {
        notations: &[
            (List, "1.5"),
            (List, "1.50"),
            (List, "15e-1"),
            (Json, "1.5"),
            (Json, "1.50"),
            (Json, "0.15e1"),
            (MsgPack, "ca3fc00000"),
            (MsgPack, "cb3ff8000000000000"),
        ],
        texts: &[
            ("float", "1.5"),
            ("decimal", "1.5"),
            ("decimal:2", "1.50"),
            ("json", "1.5"),
        ],
    },
    Number {
        notations: &[
            (List, "1e16"),
            (List, "10000000000000000"),
            (Json, "1e16"),
            (Json, "1E+16"),
            (Json, "10000000000000000.0"),
            (MsgPack, "cb4341c37937e08000"),
            (MsgPack, "cf002386f26fc10000"),
        ],
        texts: &[
            ("int", "10000000000000000"),
            ("float", "10000000000000000"),
            ("json", "10000000000000000"),
            ("decimal", "10000000000000000"),
        ],
    },
    Number {
        notations: &[
            (List, "1e21"),
            (List, "1000000000000000000000"),
            (Json, "1e21"),
            (Json, "1000000000000000000000.0"),
            (MsgPack, "cb444b1ae4d6e2ef50"),
        ],
        texts: &[
            ("float", "1e21"),
            ("json", "1e21"),
            ("decimal", "1000000000000000000000"),
        ],
    },
];

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[test]
fn every_notation_of_a_number_is_the_same_value_in_every_type() {
    let (_server, mut redis) = declared("STREAM s");
    for Number { notations, texts } in NUMBERS {
        for (field_type, text) in *texts {
            let types = format!("TYPES 1 f {field_type}");
            redis.run(&format!("DIRTY.DECLARE user {types} STREAM s"));
            let notations: Vec<_> = notations
                .iter()
                .filter(|(given, text)| *given != List || *field_type != "json" || is_json(text))
                .collect();
            for first in &notations {
                redis.run("DEL user:1");
                let case = format!("{field_type} {first:?}");
                assert_eq!(
                    flush(&mut redis, "SNAPSHOT", first.0, &[first.1]),
                    "[insert]",
                    "{case}"
                );
                assert_eq!(redis.run("HGET user:1 f"), *text, "{case}");
                for again in &notations {
                    let reply = flush(&mut redis, "SNAPSHOT", again.0, &[again.1]);
                    assert_eq!(reply, "[none]", "{case} {again:?}");
                }
            }
            redis.run(&format!("DIRTY.DECLARE user STATELESS {types} STREAM s"));
            for (given, old) in &notations {
                for (_, new) in notations.iter().filter(|(other, _)| other == given) {
                    let reply = flush(&mut redis, "UPDATE", *given, &[old, new]);
                    assert_eq!(reply, "[none]", "{field_type} {given:?} {old} {new}");
                }
            }
        }
    }
}

/// Values that a type does not take, in whatever way they are given.
const REFUSED: &[(&str, &[(Given, &str)])] = &[
    (
        "int",
        &[
            (List, "1.5"),
            (Json, "1.5"),
            (MsgPack, "ca3fc00000"),
            (List, "0.9999999999999999999999"),
            (Json, "0.9999999999999999999999"),
            (List, "1e-400"),
            (Json, "1e-400"),
            (Json, "1e400"),
            (Json, "1e999999999"),
            (List, "-1e999999999999999999999"),
            (List, "9223372036854775808.0"),
            (Json, "9223372036854775808"),
            (MsgPack, "cf8000000000000000"),
            (MsgPack, "cb43e0000000000000"),
            (Json, "true"),
            (MsgPack, "c3"),
            (Json, "[5]"),
            (Json, "\"5 \""),
        ],
    ),
    (
        "uint",
        &[
            (List, "-1"),
            (Json, "-1.0"),
            (MsgPack, "ff"),
            (MsgPack, "cbbff0000000000000"),
            (Json, "18446744073709551616"),
        ],
    ),
    (
        "float",
        &[
            (List, "1e309"),
            (Json, "1e309"),
            (Json, "-1e999999999"),
            (List, "inf"),
            (Json, "false"),
            (MsgPack, "cb7ff0000000000000"),
        ],
    ),
    (
        "decimal",
        &[
            (List, "1e1000"),
            (Json, "1e1000"),
            (Json, "1e-1001"),
            (Json, "1e999999999"),
            (List, "NaN"),
            (Json, "true"),
        ],
    ),
    (
        "decimal:2",
        &[
            (List, "0.125"),
            (Json, "0.125"),
            (MsgPack, "cb3fc0000000000000"),
            (Json, "1e-3"),
            (Json, "1e998"),
        ],
    ),
    (
        "bool",
        &[(List, "2"), (Json, "0.5"), (MsgPack, "02"), (List, "yes")],
    ),
    (
        "date",
        &[
            (List, "2026-02-29"),
            (Json, "\"2026-01-02T00:00:00\""),
            (Json, "20260102"),
            (MsgPack, "d6ff00000000"),
        ],
    ),
    (
        "datetime",
        &[
            (List, "2026-01-02T03:04:05Z"),
            (Json, "\"2026-01-02\""),
            (Json, "5"),
            (MsgPack, "d6ff00000000"),
        ],
    ),
    (
        "time",
        &[
            (List, "2026-01-02T03:04:05"),
            (Json, "\"2026-01-02 03:04:05\""),
            (MsgPack, "05"),
        ],
    ),
    (
        "json",
        &[
            (List, "6e600000000000000"),
            (Json, "6e600000000000000"),
            (Json, "6E+600000000000000"),
            (Json, "-60e599999999999999"),
            (List, "[1e-100000000000000]"),
            (Json, "[1e-100000000000000]"),
            (Json, "10e99999999999999"),
        ],
    ),
];

#[test]
fn what_a_type_cannot_hold_is_refused_however_it_is_given() {
    let (_server, mut redis) = declared("STREAM s");
    for (field_type, values) in REFUSED {
        redis.run(&format!(
            "DIRTY.DECLARE user TYPES 1 f {field_type} STREAM s"
        ));
        for (given, value) in *values {
            let reply = flush(&mut redis, "SNAPSHOT", *given, &[value]);
            let begin = "BADVALUE field \"f\" takes ";
            assert!(
                reply.starts_with(begin),
                "{field_type} {given:?} {value}: {reply}"
            );
        }
        assert_eq!(redis.run("EXISTS user:1 s"), "(0)", "{field_type}");
    }
}

#[test]
fn versions_with_a_point_are_as_exact_as_others() {
    let (_server, mut redis) = declared("VERSION rev STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 JSON {"rev":1767323045123456001.0} => [insert]
DIRTY.FLUSH user SNAPSHOT 1 JSON {"rev":1767323045123456002.0} => [update]
DIRTY.FLUSH user SNAPSHOT 1 JSON {"rev":1767323045123456002} => [none]
DIRTY.FLUSH user SNAPSHOT 1 1 rev 1767323045123456002.0 => [none]
DIRTY.FLUSH user SNAPSHOT 1 2 rev 1767323045123456001.0 a x => [stale]
DIRTY.FLUSH user SNAPSHOT 1 1 rev 1.767323045123456003e18 => [update]
DIRTY.FLUSH user SNAPSHOT 1 MSGPACK \x81\xa3rev\xcf\x18\x86\xca\xf2\x23\xf1\xfc\x03 => [none]
DIRTY.FLUSH user SNAPSHOT 1 MSGPACK \x81\xa3rev\xcb\x43\xd0\x00\x00\x00\x00\x00\x00 => [update]
HGET user:1 rev => 4611686018427387904
DIRTY.FLUSH user DELETE 1 JSON {"rev":4611686018427387905.0} => [delete]
HGET user:1 @ => 4611686018427387905
DIRTY.FLUSH user SNAPSHOT 1 JSON {"rev":4611686018427387905.5}
  => BADVALUE field "rev" takes a 64-bit signed integer, not "4611686018427387905.5"
"#,
    );
}

#[test]
fn a_number_without_a_type_keeps_its_digits_and_each_of_them_is_a_change() {
    for types in ["", "TYPES 1 f string"] {
        let (_server, mut redis) = declared(&format!("{types} STREAM s"));
        let mut before = None;
        for digits in [
            "12345678901234567.89",
            "12345678901234567.88",
            "12345678901234567.880",
            "0.9999999999999999999999",
            "1",
            "1.0",
            "1e0",
            "18446744073709551616",
            "1e999999999",
            "-0",
        ] {
            let reply = flush(&mut redis, "SNAPSHOT", Json, &[digits]);
            let expected = if before.is_some() {
                "[update]"
            } else {
                "[insert]"
            };
            assert_eq!(reply, expected, "{types} {digits} after {before:?}");
            assert_eq!(redis.run("HGET user:1 f"), digits, "{types}");
            assert_eq!(
                flush(&mut redis, "SNAPSHOT", Json, &[digits]),
                "[none]",
                "{types} {digits}"
            );
            assert_eq!(
                flush(&mut redis, "SNAPSHOT", List, &[digits]),
                "[none]",
                "{types} {digits}"
            );
            before = Some(digits);
        }
        // A MessagePack float that is an integer has all its digits, another the shortest text.
        for (float, text) in [
            ("cb8000000000000000", "0"),
            ("cb43b0000000000000", "1152921504606846976"),
            ("ca3dcccccd", "0.10000000149011612"),
            ("cb444b1ae4d6e2ef50", "1e21"),
            ("cb44b52d02c7e14af6", "9.9999999999999991611392e22"),
        ] {
            assert_eq!(
                flush(&mut redis, "SNAPSHOT", MsgPack, &[float]),
                "[update]",
                "{text}"
            );
            assert_eq!(redis.run("HGET user:1 f"), text);
        }
    }
}

#[test]
fn a_number_without_a_type_is_told_as_the_type_that_loses_no_digit() {
    let (server, mut redis) = declared("STREAM s STREAM d FORMAT DEBEZIUM");
    redis.run(r#"DIRTY.FLUSH user SNAPSHOT 1 JSON {"a":0}"#);
    redis.run(
        r#"DIRTY.FLUSH user SNAPSHOT 1 JSON {"a":5,"b":1.50,"c":12345678901234567.89,"d":18446744073709551616,"e":1e999}"#,
    );
    let told = server.connect_resp3().run("DIRTY.READ s FROM 0");
    let changes = "changes: {a: [(0) (5)], b: [nil 1.5], c: [nil 12345678901234567.89], \
        d: [nil 18446744073709551616], e: [nil 1e999]}";
    assert!(told.contains(changes), "{told}");
    let told = redis.run("XREVRANGE d + - COUNT 1");
    let after = r#"\"after\":{\"a\":5,\"b\":1.5,\"c\":\"12345678901234567.89\",\"d\":\"18446744073709551616\",\"e\":\"1e999\"}"#;
    assert!(told.contains(after), "{told}");
}

#[test]
fn numbers_in_json_have_one_text_nested_or_not() {
    let (_server, mut redis) = declared("TYPES 1 f json STREAM s");
    // The same value by JSON, as a list's text, and by MessagePack.
    for (json, msgpack, text) in [
        ("-0", "cb8000000000000000", "0"),
        ("-0.0", "ca80000000", "0"),
        (
            "[-0,-0.0,0.0,0]",
            "94cb8000000000000000ca80000000cb000000000000000000",
            "[0,0,0,0]",
        ),
        ("1E+16", "cb4341c37937e08000", "10000000000000000"),
        ("[1e16]", "91cb4341c37937e08000", "[10000000000000000]"),
        ("{\"a\":1e21}", "81a161cb444b1ae4d6e2ef50", "{\"a\":1e21}"),
        ("1e21", "cb444b1ae4d6e2ef50", "1e21"),
        (
            "1152921504606846976.0",
            "cb43b0000000000000",
            "1152921504606846976",
        ),
        (
            "[1152921504606846976]",
            "91cb43b0000000000000",
            "[1152921504606846976]",
        ),
        ("[1.0,1e0]", "92cb3ff000000000000001", "[1,1]"),
        ("[0.00000010]", "91cb3e7ad7f29abcaf48", "[1e-7]"),
    ] {
        redis.run("DEL user:1");
        assert_eq!(flush(&mut redis, "SNAPSHOT", Json, &[json]), "[insert]");
        let stored = redis.value(&["HGET", "user:1", "f"]);
        assert_eq!(stored, Value::BulkString(text.into()), "{json}");
        for (given, value) in [(MsgPack, msgpack), (List, json), (List, text), (Json, text)] {
            assert_eq!(
                flush(&mut redis, "SNAPSHOT", given, &[value]),
                "[none]",
                "{given:?} {value}"
            );
        }
    }
}

#[test]
fn decimals_dates_and_datetimes_are_strings_to_readers() {
    let (server, mut redis) = declared(
        "TYPES 4 d decimal m decimal:2 y date w datetime STREAM s STREAM debezium FORMAT DEBEZIUM \
         STREAM v2 FORMAT FLUXAORM2 STREAM v1 FORMAT FLUXAORM1",
    );
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 JSON {"d":12345678901234567.890,"m":10.5,"y":"2026-01-02","w":"2026-01-02\_03:04:05.50"}
  => [insert]
DIRTY.GET user 1 => [[d 12345678901234567.89 m 10.50 y 2026-01-02 w 2026-01-02T03:04:05.5]]
"#,
    );
    assert!(
        redis
            .run("DIRTY.INFO user")
            .contains("d decimal m decimal:2 w datetime y date")
    );
    redis.run("DIRTY.FLUSH user UPDATE 1 4 d -0.0 m 1e1 y 2026-01-03 w 2026-01-02T03:04:05");
    let mut resp3 = server.connect_resp3();
    let told = resp3.run("DIRTY.READ s FROM 0");
    for change in [
        "d: [12345678901234567.89 0]",
        "m: [10.50 10.00]",
        "y: [2026-01-02 2026-01-03]",
        "w: [2026-01-02T03:04:05.5 2026-01-02T03:04:05]",
    ] {
        assert!(told.contains(change), "{change}: {told}");
    }
    let entry = redis.run("XREVRANGE s + - COUNT 1");
    for param in [
        "\\x82\\xa1t\\xa1d\\xa1v\\xa10",
        "\\xa1t\\xa1d\\xa1v\\xa510.00",
        "\\xa1t\\xa1y\\xa1v\\xaa2026-01-03",
        "\\xa1t\\xa1w\\xa1v\\xb32026-01-02T03:04:05",
    ] {
        assert!(entry.contains(param), "{param}: {entry}");
    }
    let told = redis.run("XREVRANGE debezium + - COUNT 1");
    let after = r#"\"after\":{\"d\":\"0\",\"m\":\"10.00\",\"w\":\"2026-01-02T03:04:05\",\"y\":\"2026-01-03\"}"#;
    assert!(told.contains(after), "{told}");
    // To the library's second generation they are strings, to its first texts to the second.
    let told = redis.run("XREVRANGE v2 + - COUNT 1");
    assert!(
        told.contains("\\xabt,omitempty\\xa1s\\xabv,omitempty\\xa510.00"),
        "{told}"
    );
    let told = redis.run("XRANGE v1 - + COUNT 1");
    for pair in [
        "\\xa1d\\xb412345678901234567.89",
        "\\xa1m\\xa510.50",
        "\\xa1y\\xaa2026-01-02",
        "\\xa1w\\xb32026-01-02 03:04:05",
    ] {
        assert!(told.contains(pair), "{pair}: {told}");
    }
}

#[test]
fn hostile_numbers_are_answered_at_once() {
    let server = Server::start();
    let mut redis = server.connect();
    let digits = "1".repeat(1_000_000);
    for field_type in [
        "int",
        "uint",
        "float",
        "decimal",
        "decimal:9",
        "bool",
        "json",
        "string",
    ] {
        redis.run(&format!(
            "DIRTY.DECLARE user TYPES 1 f {field_type} STREAM s"
        ));
        for value in [
            digits.clone(),
            format!("0.{digits}"),
            format!("1e{digits}"),
            format!("{digits}.{}e-{digits}", &digits[..1000]),
            "1e999999999".into(),
            "1e-999999999".into(),
        ] {
            for given in [List, Json] {
                let start = std::time::Instant::now();
                flush(&mut redis, "SNAPSHOT", given, &[&value]);
                // What is not linear takes minutes; machines may be busy.
                let taken = start.elapsed();
                assert!(
                    taken.as_secs() < 5,
                    "{field_type} {}: {taken:?}",
                    &value[..10]
                );
            }
        }
    }
    assert_eq!(redis.value(&["PING"]), Value::SimpleString("PONG".into()));
}
