//! VERSION: an older operation is stale, one of the same version conflicts unless it changes nothing, and FORCE
//! repairs.

use super::support::Server;
use super::support::entities::{declared, expect_operations};
use super::support::entries::{decode, events};
use super::support::readers::read_all;
use super::support::replication::{AOF, appended};
use std::time::Duration;

/// Tables of `expect_operations`, each with what is declared before it on an empty server.
const OPERATIONS: &[(&str, &str)] = &[
    // An entity that is there.
    (
        "VERSION v STREAM s",
        r#"
SNAPSHOT 1 2 v 5 a x => insert | v 5 a x | 1
SNAPSHOT 1 2 v 5 a x => none | v 5 a x | 1
SNAPSHOT 1 2 v 5 a y => conflict | v 5 a x | 1
SNAPSHOT 1 1 v 5 => conflict | v 5 a x | 1
INSERT 1 2 v 5 a x => none | v 5 a x | 1
INSERT 1 2 v 5 a y => conflict | v 5 a x | 1
UPDATE 1 1 v 5 => none | v 5 a x | 1
UPDATE 1 2 v 5 a x => none | v 5 a x | 1
UPDATE 1 2 v 5 b x => conflict | v 5 a x | 1
UPDATE 1 1 v 5 NULL 1 a => conflict | v 5 a x | 1
UPDATE 1 1 v 5 NULL 1 b => none | v 5 a x | 1
SEED 1 2 v 5 a x => none | v 5 a x | 1
SEED 1 2 v 5 a y => conflict | v 5 a x | 1
SNAPSHOT 1 2 v 4 a y => stale | v 5 a x | 1
SNAPSHOT 1 2 v -6 a y => stale | v 5 a x | 1
# A version is a number, not a text.
SNAPSHOT 1 2 v 05 a x => none | v 5 a x | 1
SNAPSHOT 1 2 v 05 a y => conflict | v 5 a x | 1
SNAPSHOT 1 2 v 10 a x => update | v 10 a x | 2
SNAPSHOT 1 2 v 9 a y => stale | v 10 a x | 2
SNAPSHOT 1 2 a x v +11 => update | v 11 a x | 3
SNAPSHOT 1 1 v 12 => update | v 12 | 4
SNAPSHOT 1 1 v 12 NULL 1 b => none | v 12 | 4
INSERT 1 1 v 12 => none | v 12 | 4
INSERT 1 2 v 11 a z => stale | v 12 | 4
INSERT 1 1 v 13 => EXISTS entity "1" exists with other values | v 12 | 4
UPDATE 1 1 v 12 => none | v 12 | 4
UPDATE 1 2 v 11 a x => stale | v 12 | 4
UPDATE 1 2 a x v 13 => update | v 13 a x | 5
UPDATE 1 1 v 14 NULL 1 a => update | v 14 | 6
SEED 1 2 v 14 a x => conflict | v 14 | 6
SEED 1 2 v 15 a x => seed | v 15 a x | 6
SEED 1 2 v 15 a x => none | v 15 a x | 6
TOUCH 1 => touch | v 15 a x | 7
# What is wrong is wrong, however old it is.
SNAPSHOT 1 2 v 1 @ x => ERR the field "@" is reserved | v 15 a x | 7
UPDATE 1 2 v 1 v 2 => ERR field "v" is named twice | v 15 a x | 7
UPDATE 1 1 v 1 NULL 1 v => ERR field "v" is named twice | v 15 a x | 7
"#,
    ),
    // An entity that goes, and what comes late.
    (
        "VERSION v STREAM s",
        r#"
DELETE 1 => none | | 0
SNAPSHOT 1 2 v 5 a x => insert | v 5 a x | 1
DELETE 1 1 v 4 => stale | v 5 a x | 1
# Of a delete and a snapshot of one version the delete wins.
DELETE 1 1 v 5 => delete | @ 5 | 2
DELETE 1 1 v 5 => none | @ 5 | 2
DELETE 1 1 v 4 => stale | @ 5 | 2
DELETE 1 => none | @ 5 | 2
SNAPSHOT 1 2 v 5 a x => stale | @ 5 | 2
SNAPSHOT 1 2 v 4 a x => stale | @ 5 | 2
INSERT 1 2 v 5 a x => stale | @ 5 | 2
SEED 1 2 v 5 a x => stale | @ 5 | 2
UPDATE 1 2 v 5 a x => stale | @ 5 | 2
UPDATE 1 2 v 6 a x => NOENTITY there is no entity "1" | @ 5 | 2
TOUCH 1 => none | @ 5 | 2
SEED 1 2 v 5 a x TOUCH 1 SNAPSHOT 1 2 v 5 a x => stale none stale | @ 5 | 2
# A later delete of what is gone is no event, but it is remembered.
DELETE 1 2 v 7 a x => none | @ 7 | 2
SNAPSHOT 1 2 v 6 a x => stale | @ 7 | 2
SNAPSHOT 1 2 v 8 a x => insert | v 8 a x | 3
DELETE 1 2 v 10 b y => delete | @ 10 | 4
INSERT 1 1 v 10 => stale | @ 10 | 4
INSERT 1 1 v 11 => insert | v 11 | 5
DELETE 1 1 v 12 NULL 1 b => delete | @ 12 | 6
SEED 1 1 v 12 => stale | @ 12 | 6
SEED 1 1 v 13 => seed | v 13 | 6
# A delete without version is of the last one.
DELETE 1 => delete | @ 13 | 7
SNAPSHOT 1 1 v 13 => stale | @ 13 | 7
SNAPSHOT 1 1 v 14 => insert | v 14 | 8
"#,
    ),
    // A delete that comes before anything else.
    (
        "VERSION v STREAM s",
        r#"
DELETE 1 1 v 5 => none | @ 5 | 0
DELETE 1 1 v 3 => stale | @ 5 | 0
SNAPSHOT 1 1 v 5 => stale | @ 5 | 0
SNAPSHOT 1 1 v 6 => insert | v 6 | 1
"#,
    ),
    // Later operations of one command see what earlier ones did.
    (
        "VERSION v STREAM s",
        r#"
SNAPSHOT 1 1 v 1 SNAPSHOT 1 1 v 1 SNAPSHOT 1 2 v 2 a x => insert none update | v 2 a x | 2
DELETE 1 1 v 2 SNAPSHOT 1 1 v 2 => delete stale | @ 2 | 3
INSERT 1 2 v 3 a y DELETE 1 INSERT 1 1 v 3 INSERT 1 1 v 4 => insert delete stale insert | v 4 | 6
DELETE 1 1 v 3 DELETE 1 1 v 5 DELETE 1 1 v 6 DELETE 1 => stale delete none none | @ 6 | 7
UPDATE 1 1 v 6 TOUCH 1 => stale none | @ 6 | 7
SNAPSHOT 1 1 v 7 DELETE 1 SEED 1 2 v 8 b y UPDATE 1 1 v 9 => insert delete seed update | v 9 b y | 10
SNAPSHOT 2 1 v 1 SNAPSHOT 1 2 v 10 a x DELETE 2 1 v 1 => insert update delete | v 10 a x | 13
SNAPSHOT 1 1 v 11 SNAPSHOT 1 2 v 12 a => ERR SNAPSHOT requires a value | v 10 a x | 13
SNAPSHOT 1 1 v 11 SNAPSHOT 2 1 a x => BADVALUE field "v" must give the entity's version
  | v 10 a x | 13
"#,
    ),
    (
        "VERSION v STREAM s",
        r#"
SNAPSHOT 1 1 v -9223372036854775808 => insert | v -9223372036854775808 | 1
SNAPSHOT 1 1 v -9223372036854775808 => none | v -9223372036854775808 | 1
DELETE 1 => delete | @ -9223372036854775808 | 2
INSERT 1 1 v -9223372036854775807 => insert | v -9223372036854775807 | 3
UPDATE 1 1 v 0 => update | v 0 | 4
UPDATE 1 1 v -0 => none | v 0 | 4
UPDATE 1 1 v 9223372036854775806 => update | v 9223372036854775806 | 5
UPDATE 1 1 v 9223372036854775807 => update | v 9223372036854775807 | 6
SNAPSHOT 1 1 v 9223372036854775808
  => BADVALUE field "v" takes a 64-bit signed integer, not "9223372036854775808"
  | v 9223372036854775807 | 6
DELETE 1 1 v 9223372036854775808
  => BADVALUE field "v" takes a 64-bit signed integer, not "9223372036854775808"
  | v 9223372036854775807 | 6
DELETE 1 1 v 9223372036854775807 => delete | @ 9223372036854775807 | 7
SNAPSHOT 1 1 v 9223372036854775807 => stale | @ 9223372036854775807 | 7
"#,
    ),
    (
        "TYPES 1 v uint VERSION v STREAM s",
        r#"
SNAPSHOT 1 1 v 0 => insert | v 0 | 1
SNAPSHOT 1 1 v 0 => none | v 0 | 1
SNAPSHOT 1 1 v -1 => BADVALUE field "v" takes a 64-bit unsigned integer, not "-1" | v 0 | 1
SNAPSHOT 1 1 v 9223372036854775808 => update | v 9223372036854775808 | 2
SNAPSHOT 1 1 v 9223372036854775807 => stale | v 9223372036854775808 | 2
SNAPSHOT 1 1 v 18446744073709551615 => update | v 18446744073709551615 | 3
SNAPSHOT 1 1 v 18446744073709551614 => stale | v 18446744073709551615 | 3
DELETE 1 1 v 18446744073709551614 => stale | v 18446744073709551615 | 3
DELETE 1 => delete | @ 18446744073709551615 | 4
SNAPSHOT 1 1 v 18446744073709551615 => stale | @ 18446744073709551615 | 4
"#,
    ),
    // FORCE asks for no version, and for nothing else.
    (
        "VERSION v STREAM s",
        r#"
FORCE SNAPSHOT 1 2 v 5 a x => insert | v 5 a x | 1
FORCE SNAPSHOT 1 2 v 5 a x => none | v 5 a x | 1
FORCE SNAPSHOT 1 2 v 5 a y => update | v 5 a y | 2
FORCE UPDATE 1 2 v 3 a z => update | v 3 a z | 3
SNAPSHOT 1 2 v 3 a y => conflict | v 3 a z | 3
FORCE INSERT 1 2 v 3 a y => EXISTS entity "1" exists with other values | v 3 a z | 3
FORCE SEED 1 2 v 2 a w => seed | v 2 a w | 3
FORCE SNAPSHOT 1 1 a x => BADVALUE field "v" must give the entity's version | v 2 a w | 3
FORCE DELETE 1 1 v 1 => delete | @ 1 | 4
# A tombstone keeps the higher version, so what is late stays deleted.
FORCE DELETE 1 1 v 0 => none | @ 1 | 4
SNAPSHOT 1 1 v 1 => stale | @ 1 | 4
FORCE UPDATE 1 1 v 1 => NOENTITY there is no entity "1" | @ 1 | 4
FORCE TOUCH 1 => none | @ 1 | 4
FORCE SNAPSHOT 1 1 v 0 => insert | v 0 | 5
DELETE 1 1 v 9 => delete | @ 9 | 6
FORCE INSERT 1 1 v 1 SNAPSHOT 1 1 v 0 => insert update | v 0 | 8
FORCE META 0 WITHEVENTS DELETE 404 => [none [] []] | v 0 | 8
"#,
    ),
    // Where there is no VERSION it says nothing.
    (
        "STREAM s",
        r#"
FORCE SNAPSHOT 1 1 a x => insert | a x | 1
FORCE SNAPSHOT 1 1 a x => none | a x | 1
FORCE DELETE 1 => delete | | 2
FORCE UPDATE 1 0 => NOENTITY there is no entity "1" | | 2
"#,
    ),
    // Nothing is remembered.
    (
        "VERSION v TOMBSTONE 0 STREAM s",
        r#"
DELETE 1 1 v 5 => none | | 0
SNAPSHOT 1 1 v 5 => insert | v 5 | 1
DELETE 1 1 v 4 => stale | v 5 | 1
DELETE 1 1 v 5 => delete | | 2
SNAPSHOT 1 1 v 1 => insert | v 1 | 3
DELETE 1 => delete | | 4
SNAPSHOT 1 1 v 1 DELETE 1 SNAPSHOT 1 1 v 1 => insert delete insert | v 1 | 7
"#,
    ),
];

#[test]
fn a_version_decides_whether_an_operation_is_applied() {
    for (declaration, table) in OPERATIONS {
        let (_server, mut redis) = declared(declaration);
        expect_operations(&mut redis, table);
    }
}

#[test]
fn a_version_that_no_flush_gave_counts_if_it_is_a_number() {
    let (server, mut redis) = declared("VERSION v TYPES 1 n int STREAM s PAYLOAD FULL");
    redis.expect(
        r#"
HSET user:1 v old a x => (2)
DIRTY.GET user 1 => [[v old a x]]
DIRTY.FLUSH user TOUCH 1 => [touch]
DIRTY.FLUSH user SNAPSHOT 1 2 v -5 a y => [update]
HGETALL user:1 => [v -5 a y]
HDEL user:1 v => (1)
DIRTY.FLUSH user UPDATE 1 1 v -6 => [update]
HSET user:1 v "" => (0)
# Nothing is known of what is deleted, so nothing is remembered.
DIRTY.FLUSH user DELETE 1 => [delete]
EXISTS user:1 => (0)
HSET user:1 v 1.5 => (1)
DIRTY.FLUSH user DELETE 1 1 v -7 => [delete]
HGETALL user:1 => [@ -7]
DEL user:1 => (1)
# A number is one in any text.
HSET user:1 v +007 => (1)
DIRTY.FLUSH user SNAPSHOT 1 2 v 7 n 1 => [conflict]
DIRTY.FLUSH user SNAPSHOT 1 1 v 7 => [none]
DIRTY.FLUSH user DELETE 1 => [delete]
HGETALL user:1 => [@ 7]
# The marker of one that has fields is no tombstone, but its version counts.
HSET user:1 @ 9 n 1 => (1)
DIRTY.FLUSH user UPDATE 1 1 v 3 => [stale]
HGETALL user:1 => [@ 9 n 1]
DIRTY.FLUSH user UPDATE 1 1 v 10 => [update]
HGETALL user:1 => [n 1 v 10]
"#,
    );
    assert_eq!(
        read_all(&server, "s"),
        [
            "entity-id: 1, op: update",
            "entity-id: 1, op: update, version: (-5), changes: {v: [old (-5)], a: [x y]}",
            "entity-id: 1, op: update, version: (-6), changes: {v: [nil (-6)]}",
            "entity-id: 1, op: delete, changes: {a: [y nil], v: [\"\" nil]}",
            "entity-id: 1, op: delete, version: (-7), changes: {v: [1.5 nil]}",
            "entity-id: 1, op: delete, version: (7), changes: {v: [(7) nil]}",
            "entity-id: 1, op: update, version: (10), changes: {v: [nil (10)]}",
        ]
    );
}

#[test]
fn the_version_is_in_every_event() {
    let (_server, mut redis) =
        declared("VERSION v TYPES 1 v int STREAM s PAYLOAD KEYS STREAM i PAYLOAD IMAGES");
    let event = |kind: u8, rest: &[u8]| {
        let kind = [b"\xa2ft".as_slice(), &[kind], rest].concat();
        move |pairs: u8| {
            [
                &[0x80 | pairs],
                b"\xa2et\xa4user\xa2id\x01".as_slice(),
                &kind,
            ]
            .concat()
        }
    };
    let least = b"\xa1v\xd3\x80\0\0\0\0\0\0\0";
    for (operations, kind, pairs, version) in [
        (
            "META 1 a b SNAPSHOT 1 1 v -9223372036854775808",
            1,
            5,
            [least.as_slice(), b"\xa1m\x81\xa1a\xa1b"].concat(),
        ),
        ("UPDATE 1 1 v -1", 2, 4, b"\xa1v\xff".to_vec()),
        ("UPDATE 1 1 v 0", 2, 4, b"\xa1v\0".to_vec()),
        ("TOUCH 1", 2, 4, b"\xa1v\0".to_vec()),
        ("UPDATE 1 1 v 300", 2, 4, b"\xa1v\xcd\x01\x2c".to_vec()),
        // A delete has its own version, or the last one.
        ("DELETE 1 1 v 301", 3, 4, b"\xa1v\xcd\x01\x2d".to_vec()),
        ("INSERT 1 1 v 302", 1, 4, b"\xa1v\xcd\x01\x2e".to_vec()),
        ("DELETE 1", 3, 4, b"\xa1v\xcd\x01\x2e".to_vec()),
    ] {
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        let expected = event(kind, &version)(pairs);
        assert_eq!(
            events(&mut redis, "s").last(),
            Some(&expected),
            "{operations}"
        );
    }
    redis.run("DIRTY.DECLARE user VERSION v TYPES 1 v uint STREAM s PAYLOAD IMAGES");
    redis.run("DIRTY.FLUSH user INSERT 1 1 v 18446744073709551615");
    let image = b"\xa1a\x81\xa1v\x82\xa1t\xa1u\xa1v\xb418446744073709551615";
    let most = b"\xa1v\xcf\xff\xff\xff\xff\xff\xff\xff\xff";
    let expected = event(1, &[image.as_slice(), most].concat())(5);
    assert_eq!(events(&mut redis, "s").last(), Some(&expected));
    // A type without VERSION has none, whatever its fields are called.
    redis.run("DIRTY.DECLARE user STREAM s PAYLOAD KEYS");
    redis.run("DIRTY.FLUSH user INSERT 2 1 v 5");
    let events = events(&mut redis, "s");
    assert_eq!(events.last().map(|event| decode(event).v), Some(None));
}

#[test]
fn with_events_a_stale_or_conflicting_operation_has_changed_and_published_nothing() {
    let (_server, mut redis) = declared("VERSION v STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user SEED 1 2 v 5 a x => [seed]
DIRTY.FLUSH user WITHEVENTS SNAPSHOT 1 2 v 5 a y DELETE 1 1 v 4 DELETE 2 1 v 1 UPDATE 2 1 v 1 SEED 1 2 v 4 a y
  => [[conflict [] []] [stale [] []] [none [] []] [stale [] []] [stale [] []]]
EXISTS s => (0)
"#,
    );
}

#[test]
fn a_time_to_live_of_the_users_lasts_as_long_as_the_entity() {
    let (_server, mut redis) = declared("VERSION v STREAM s");
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 v 5");
    redis.ok(&["PEXPIREAT", "user:1", "32503680000000"]);
    for operation in [
        "SNAPSHOT 1 1 v 5",
        "SNAPSHOT 1 2 v 6 a x",
        "UPDATE 1 1 v 7",
        "DELETE 1 1 v 1",
    ] {
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let expires = redis.run("PEXPIRETIME user:1");
        assert_eq!(expires, "(32503680000000)", "{operation}");
    }
    // One that has expired was not deleted: nothing is remembered.
    redis.run("DEBUG SET-ACTIVE-EXPIRE 0");
    redis.ok(&["PEXPIRE", "user:1", "1"]);
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(redis.run("DIRTY.FLUSH user INSERT 1 1 v 1"), "[insert]");
    assert_eq!(redis.run("PTTL user:1"), "(-1)");
}

#[test]
fn a_type_that_is_declared_anew_goes_on_with_what_is_stored() {
    let (_server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 2 v 5 a x SNAPSHOT 2 2 v junk a x SNAPSHOT 3 0 => [insert insert insert]
DIRTY.DECLARE user VERSION v STREAM s => OK
DIRTY.FLUSH user SNAPSHOT 1 1 v 5 SNAPSHOT 2 1 v 1 SNAPSHOT 3 1 v 1 => [conflict update update]
HGETALL user:3 => [v 1]
DIRTY.FLUSH user DELETE 1 => [delete]
# Another field, which none of them has.
DIRTY.DECLARE user VERSION w STREAM s => OK
DIRTY.FLUSH user SNAPSHOT 2 1 w -9 => [update]
DIRTY.FLUSH user SNAPSHOT 1 1 w 5 => [stale]
# Without VERSION a tombstone is no entity, and is not looked at.
DIRTY.DECLARE user STREAM s => OK
DIRTY.GET user 1 => [nil]
DIRTY.FLUSH user DELETE 1 => [none]
DIRTY.FLUSH user TOUCH 1 => [none]
HGETALL user:1 => [@ 5]
DIRTY.FLUSH user INSERT 1 1 v 1 => [insert]
HGETALL user:1 => [v 1]
PTTL user:1 => (-1)
DIRTY.FLUSH user DELETE 1 INSERT 1 0 => [delete insert]
HGETALL user:1 => [@ ""]
"#,
    );
}

/// Operations, in this order, and what the flush of each replicates.
const EFFECTS: &[(&str, &[&str])] = &[
    (
        "DELETE 1 1 v 1",
        &["MULTI", "HSET user:1 @ 1", "PEXPIREAT user:1 MS", "EXEC"],
    ),
    ("DELETE 1 1 v 1", &[]),
    ("SNAPSHOT 1 1 v 1", &[]),
    ("DELETE 1", &[]),
    ("UPDATE 1 1 v 2", &[]),
    (
        "DELETE 1 1 v 2",
        &[
            "MULTI",
            "DEL user:1",
            "HSET user:1 @ 2",
            "PEXPIREAT user:1 MS",
            "EXEC",
        ],
    ),
    (
        "SNAPSHOT 1 2 v 3 a x",
        &[
            "MULTI",
            "DEL user:1",
            "HSET user:1 v 3 a x",
            "XADD s ms-1 s BYTES",
            "EXEC",
        ],
    ),
    ("INSERT 1 2 v 3 a y", &[]),
    ("DELETE 1 1 v 2", &[]),
    ("DRYRUN FORCE SNAPSHOT 1 2 v 1 a y", &[]),
    (
        "FORCE SNAPSHOT 1 2 v 3 a y",
        &["MULTI", "HSET user:1 a y", "XADD s ms-2 s BYTES", "EXEC"],
    ),
    (
        "DELETE 1",
        &[
            "MULTI",
            "DEL user:1",
            "HSET user:1 @ 3",
            "PEXPIREAT user:1 MS",
            "XADD s ms-3 s BYTES",
            "EXEC",
        ],
    ),
    ("DELETE 1 1 v 3", &[]),
    ("FORCE DELETE 1 1 v 2", &[]),
    ("TOUCH 1", &[]),
];

#[test]
fn each_command_replicates_exactly_its_effects() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user VERSION v STREAM s PAYLOAD KEYS");
    let (commands, mut start) = appended(&server, 0);
    assert_eq!(
        commands.last().map(String::as_str),
        Some(
            "DIRTY.DECLARE user NAME user PREFIX user: VERSION v TOMBSTONE 86400000 \
             TYPES 1 v int STREAM s OPS IUD PAYLOAD KEYS FORMAT MSGPACK"
        )
    );
    for (operations, expected) in EFFECTS {
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        let (commands, end) = appended(&server, start);
        let commands: Vec<String> = commands.into_iter().map(without_time).collect();
        assert_eq!(commands, *expected, "{operations}");
        start = end;
    }
}

/// The absolute time of a `PEXPIREAT` as `MS`.
fn without_time(command: String) -> String {
    match command.strip_prefix("PEXPIREAT user:1 ") {
        Some(at) if at.len() == 13 && at.bytes().all(|byte| byte.is_ascii_digit()) => {
            "PEXPIREAT user:1 MS".into()
        }
        _ => command,
    }
}
