//! STATELESS: each flush brings its own old values, and nothing but events is kept.

use super::support::entities::declared;
use super::support::entries::decode;
use super::support::readers::{read_all, without_ms};
use super::support::replication::{AOF, appended};
use super::support::{Server, cases};

/// Lines `operations => effects or an error | how many events`.
const OPERATIONS: &str = r#"
INSERT 1 1 a x => insert | 1
# Nobody remembers that there is one, or what it is.
INSERT 1 1 a x => insert | 1
INSERT 1 1 a y => insert | 1
INSERT 1 0 => insert | 1
INSERT 1 0 NULL 1 a => insert | 1
INSERT 1 1 a x NULL 2 b c => insert | 1
UPDATE 2 1 a x y => update | 1
UPDATE 2 1 a x y => update | 1
UPDATE 2 2 a x y c z z => update | 1
# Equal old and new values are no change; so are those that are equal for their type.
UPDATE 2 1 a x x => none | 0
UPDATE 2 0 => none | 0
UPDATE 2 1 f 1.50 15e-1 => none | 0
UPDATE 2 2 f 1.5 1.5 b true TRUE => none | 0
UPDATE 2 1 b true 0 => update | 1
UPDATE 2 1 a "" "" => none | 0
UPDATE 2 1 a "" 0 => update | 1
UPDATE 2 1 a \x00 \xff => update | 1
DELETE 1 => delete | 1
DELETE 1 => delete | 1
DELETE 1 1 a x => delete | 1
DELETE 1 0 => delete | 1
DELETE 1 2 a x b 1 NULL 1 c => delete | 1
TOUCH 404 => touch | 1
# A field by any name, ids and values that look like numbers and words.
INSERT DELETE 1 DELETE DELETE DELETE DELETE => insert delete | 2
DELETE 5 DELETE 6 2 a x b 0 DELETE 7 => delete delete delete | 3
UPDATE 5 2 UPDATE 5 6 NULL 7 8 TOUCH 5 => update touch | 2
INSERT 1 1 a x UPDATE 1 1 a x x UPDATE 1 1 a x y DELETE 1 1 a y DELETE 1
  => insert none update delete delete | 4
meta 1 a b insert 1 0 => insert | 1
# What such a type cannot do.
SNAPSHOT 1 1 a x => ERR SNAPSHOT requires the snapshots that STATELESS does not keep | 0
SEED 1 1 a x => ERR SEED requires the snapshots that STATELESS does not keep | 0
INSERT 1 1 a x SEED 1 0 => ERR SEED requires the snapshots that STATELESS does not keep | 0
UPDATE 1 1 a x => ERR UPDATE requires a new value | 0
UPDATE 1 1 a => ERR UPDATE requires an old value | 0
UPDATE 1 1 => ERR UPDATE requires a field | 0
UPDATE 1 1 a x y z => ERR unknown operation "z" | 0
UPDATE 1 1 a x y NULL 1 b => ERR unknown operation "NULL" | 0
UPDATE 1 2 a x y a x y => ERR field "a" is named twice | 0
UPDATE 1 1 @ x y => ERR the field "@" is reserved | 0
UPDATE 1 1 f x 1 => BADVALUE field "f" takes a finite number, not "x" | 0
UPDATE 1 1 f 1 x => BADVALUE field "f" takes a finite number, not "x" | 0
INSERT 1 1 @ x => ERR the field "@" is reserved | 0
INSERT 1 0 NULL 1 @ => ERR the field "@" is reserved | 0
INSERT 1 1 a x NULL 1 a => ERR field "a" is named twice | 0
INSERT 1 0 NULL 2 a a => ERR field "a" is named twice | 0
DELETE 1 1 @ x => ERR the field "@" is reserved | 0
DELETE 1 2 a x a x => ERR field "a" is named twice | 0
DELETE 1 1 b 2 => BADVALUE field "b" takes 1, 0, true or false, not "2" | 0
DELETE 1 1 a => ERR DELETE requires a value | 0
INSERT 1 0 UPDATE 2 1 f 1 x => BADVALUE field "f" takes a finite number, not "x" | 0
"#;

#[test]
fn each_operation_is_told_and_nothing_is_kept() {
    let (_server, mut redis) = declared("STATELESS TYPES 2 f float b bool STREAM s");
    redis.run("XGROUP CREATE s g 0 MKSTREAM");
    let mut events = 0;
    for (operations, outcome) in cases(OPERATIONS) {
        let (effects, more) = outcome.split_once(" | ").expect("events");
        let expected = match effects.starts_with(char::is_uppercase) {
            true => effects.to_string(),
            false => format!("[{effects}]"),
        };
        let reply = redis.run(&format!("DIRTY.FLUSH user {operations}"));
        assert_eq!(reply, expected, "{operations}");
        events += more.parse::<usize>().expect("a number");
        assert_eq!(redis.run("XLEN s"), format!("({events})"), "{operations}");
        // The declaration and the stream.
        assert_eq!(redis.run("DBSIZE"), "(2)", "{operations}");
        let get = redis.run("DIRTY.GET user 1 2 404");
        assert_eq!(get, "[nil nil nil]", "{operations}");
    }
}

/// Lines `operation => event with PAYLOAD KEYS | CHANGES | FULL | IMAGES`; `-` for none.
const PAYLOADS: &str = r#"
INSERT 1 2 b x n 07 => insert | insert
  | insert, changes: {b: [nil x], n: [nil (7)]}
  | insert, after: {b: x, n: (7)}
INSERT 1 1 b x NULL 1 a => insert | insert | insert, changes: {b: [nil x]} | insert, after: {b: x}
INSERT 1 0 => insert | insert | insert | insert
# Of an update those are images that it brings; changes stand in the order of names.
UPDATE 1 3 n 7 8 b x y c z z => update
  | update, changes: {b: [x y], n: [(7) (8)]}
  | update, changes: {b: [x y], n: [(7) (8)]}
  | update, before: {b: x, c: z, n: (7)}, after: {b: y, c: z, n: (8)}
UPDATE 1 1 b x x => - | - | - | -
DELETE 1 2 n 8 b y => delete | delete
  | delete, changes: {b: [y nil], n: [(8) nil]}
  | delete, before: {b: y, n: (8)}
DELETE 1 => delete | delete | delete | delete
DELETE 1 0 NULL 1 b => delete | delete | delete | delete
TOUCH 1 => update | update | update | update
"#;

#[test]
fn an_event_has_what_the_flush_brings() {
    let (server, mut redis) = declared(
        "STATELESS TYPES 1 n int STREAM keys PAYLOAD KEYS STREAM changes \
         STREAM full PAYLOAD FULL STREAM images PAYLOAD IMAGES",
    );
    for (operation, expected) in cases(PAYLOADS) {
        redis.run("DEL keys changes full images");
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let published = ["keys", "changes", "full", "images"].map(|stream| {
            let last = read_all(&server, stream).pop();
            last.map_or("-".into(), |last| last.replace("entity-id: 1, op: ", ""))
        });
        let expected: Vec<&str> = expected.split(" | ").collect();
        assert_eq!(published.as_slice(), expected, "{operation}");
    }
}

#[test]
fn a_stream_gets_what_it_asked_for() {
    const STREAMS: [&str; 5] = ["i", "u", "d", "none_a", "da"];
    let (_server, mut redis) = declared(
        "STATELESS STREAM i OPS I STREAM u OPS U STREAM d OPS D STREAM none_a OPS NONE FIELDS 1 a \
         STREAM da OPS D FIELDS 1 a",
    );
    for (operation, wanted) in [
        ("INSERT 1 1 a x", "i"),
        ("UPDATE 1 1 a x y", "u none_a da"),
        ("UPDATE 1 2 a x x b x y", "u"),
        ("UPDATE 1 1 a x x", ""),
        ("DELETE 1 1 a x", "d da"),
        ("DELETE 1", "d da"),
        ("TOUCH 1", "u none_a da"),
    ] {
        redis.run(&format!("DEL {}", STREAMS.join(" ")));
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let mut got = STREAMS.to_vec();
        got.retain(|stream| redis.run(&format!("XLEN {stream}")) == "(1)");
        assert_eq!(got.join(" "), wanted, "{operation}");
    }
}

#[test]
fn meta_and_events_go_with_it() {
    let (server, mut redis) = declared("STATELESS STREAM s");
    let reply = redis.run(
        "DIRTY.FLUSH user WITHEVENTS META 1 actor 7 INSERT 1 2 b x a y \
         UPDATE 1 2 b x y a y y UPDATE 1 1 a x x DELETE 1 1 a x DELETE 1 TOUCH 1",
    );
    let reply: Vec<String> = reply.split(' ').map(without_ms).collect();
    assert_eq!(
        reply.join(" "),
        "[[insert [a b] [s ID-1]] [update [b] [s ID-2]] [none [] []] [delete [a] [s ID-3]] \
         [delete [] [s ID-4]] [touch [] [s ID-5]]]"
    );
    let read = read_all(&server, "s");
    assert_eq!(read.len(), 5);
    assert!(
        read.iter().all(|event| event.ends_with("meta: {actor: 7}")),
        "{read:?}"
    );
}

/// Whatever is where a snapshot would be is neither read nor changed.
#[test]
fn what_others_keep_at_a_snapshots_key_is_theirs() {
    let (_server, mut redis) = declared("STATELESS STREAM s");
    for make in [
        "HSET user:1 a x b y",
        "HSET user:1 @ 5",
        "SET user:1 text",
        "XADD user:1 1-1 a b",
        "DIRTY.DECLARE user:1 STREAM t",
    ] {
        redis.run("DEL user:1 s");
        redis.run(make);
        redis.run("PEXPIREAT user:1 32503680000000");
        let dump = redis.run("DUMP user:1");
        let other =
            "DIRTY.FLUSH user INSERT 1 1 a z UPDATE 1 1 a z w TOUCH 1 DELETE 1 1 a w DELETE 1";
        assert_eq!(
            redis.run(other),
            "[insert update touch delete delete]",
            "{make}"
        );
        assert_eq!(redis.run("DUMP user:1"), dump, "{make}");
        assert_eq!(
            redis.run("PEXPIRETIME user:1"),
            "(32503680000000)",
            "{make}"
        );
        assert_eq!(redis.run("DIRTY.GET user 1"), "[nil]", "{make}");
        let ids: Vec<u64> = super::support::entries::events(&mut redis, "s")
            .iter()
            .map(|event| decode(event).id)
            .collect();
        assert_eq!(ids, [1; 5], "{make}");
    }
    // Not even where a snapshot's key would be the stream's own.
    redis.expect(
        r#"
DIRTY.DECLARE user STATELESS PREFIX p STREAM ps STREAM t => OK
DIRTY.FLUSH user INSERT s 1 a x => [insert]
DIRTY.GET user s => [nil]
DIRTY.DECLARE user PREFIX p STREAM ps STREAM t => OK
DIRTY.FLUSH user INSERT s 1 a x
  => WRONGTYPE the snapshot of entity "s" would be stored at "ps", which is the stream "ps" of its declaration
"#,
    );
}

#[test]
fn a_type_that_becomes_stateless_leaves_its_snapshots_and_finds_them_again() {
    let (_server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 1 a x => [insert]
DIRTY.DECLARE user STATELESS STREAM s => OK
DIRTY.GET user 1 => [nil]
DIRTY.FLUSH user UPDATE 1 1 a x y => [update]
DIRTY.FLUSH user DELETE 1 => [delete]
HGETALL user:1 => [a x]
DIRTY.DECLARE user STREAM s => OK
DIRTY.GET user 1 => [[a x]]
DIRTY.FLUSH user SNAPSHOT 1 1 a x => [none]
"#,
    );
}

#[test]
fn only_events_are_replicated() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STATELESS STREAM s STREAM t OPS D");
    let (_, mut start) = appended(&server, 0);
    for (operations, expected) in [
        ("INSERT 1 1 a x", vec!["XADD s ms-1 s BYTES"]),
        ("UPDATE 1 1 a x x", vec![]),
        ("SEED 1 1 a x", vec![]),
        (
            "UPDATE 1 1 a x y DELETE 1 1 a y",
            vec![
                "MULTI",
                "XADD s ms-2 s BYTES",
                "XADD s ms-3 s BYTES",
                "XADD t ms-1 s BYTES",
                "EXEC",
            ],
        ),
        ("TOUCH 1", vec!["XADD s ms-4 s BYTES"]),
    ] {
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        let (commands, end) = appended(&server, start);
        assert_eq!(commands, expected, "{operations}");
        start = end;
    }
}
