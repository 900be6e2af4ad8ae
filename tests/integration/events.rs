//! Events as they stand in streams: their bytes, who gets them, and when they go.

use super::support::entities::declared;
use super::support::entries::{events, sequence};
use super::support::{Conn, Server, cases};

type Row = (&'static str, &'static [u8], &'static [u8], &'static [u8]);

/// Operations, and the events that the streams `keys`, `changes` and `full` get of each.
const OF_THE_CONTRACT: &[Row] = &[
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

#[test]
fn an_event_has_the_bytes_of_the_contract() {
    let (_server, mut redis) = declared(
        "TYPES 6 i int u uint f float b bool t time j json \
         STREAM keys PAYLOAD KEYS STREAM changes PAYLOAD CHANGES STREAM full PAYLOAD FULL",
    );
    for (operation, keys, changes, full) in OF_THE_CONTRACT {
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        for (stream, expected) in [("keys", keys), ("changes", changes), ("full", full)] {
            let events = events(&mut redis, stream);
            let last = events.last().map(Vec::as_slice);
            assert_eq!(last, Some(*expected), "{operation} {stream}");
        }
    }
    assert_eq!(
        redis.run("XLEN keys"),
        format!("({})", OF_THE_CONTRACT.len())
    );
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
    redis.run("CONFIG SET dirty.max-fields 65536");
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
TOUCH 1 => iud u iu ia none_a id_ab
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
