//! VERSION: what is not newer than what is stored, or than what was deleted, is stale.

use super::carried::read_all;
use super::events::{decode, events};
use super::flush::{declared, expect_operations};
use super::replication::{appended, AOF};
use super::support::{cases, text, Conn, Server};
use std::time::Duration;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Tables of `expect_operations`, each with what is declared before it on an empty server.
const OPERATIONS: &[(&str, &str)] = &[
    // An entity that is there.
    (
        "VERSION v STREAM s",
        r#"
SNAPSHOT 1 2 v 5 a x => insert | v 5 a x | 1
SNAPSHOT 1 2 v 5 a x => stale | v 5 a x | 1
SNAPSHOT 1 2 v 5 a y => stale | v 5 a x | 1
SNAPSHOT 1 2 v 4 a y => stale | v 5 a x | 1
SNAPSHOT 1 2 v -6 a y => stale | v 5 a x | 1
# A version is a number, not a text.
SNAPSHOT 1 2 v 05 a y => stale | v 5 a x | 1
SNAPSHOT 1 2 v 10 a x => update | v 10 a x | 2
SNAPSHOT 1 2 v 9 a y => stale | v 10 a x | 2
SNAPSHOT 1 2 a x v +11 => update | v 11 a x | 3
SNAPSHOT 1 1 v 12 => update | v 12 | 4
SNAPSHOT 1 1 v 12 NULL 1 b => stale | v 12 | 4
INSERT 1 1 v 12 => stale | v 12 | 4
INSERT 1 2 v 11 a z => stale | v 12 | 4
INSERT 1 1 v 13 => EXISTS entity "1" exists with other values | v 12 | 4
UPDATE 1 1 v 12 => stale | v 12 | 4
UPDATE 1 2 v 11 a x => stale | v 12 | 4
UPDATE 1 2 a x v 13 => update | v 13 a x | 5
UPDATE 1 1 v 14 NULL 1 a => update | v 14 | 6
SEED 1 2 v 14 a x => stale | v 14 | 6
SEED 1 2 v 15 a x => seed | v 15 a x | 6
SEED 1 2 v 15 a x => stale | v 15 a x | 6
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
DELETE 1 1 v 5 => stale | @ 5 | 2
DELETE 1 1 v 4 => stale | @ 5 | 2
DELETE 1 => none | @ 5 | 2
SNAPSHOT 1 2 v 5 a x => stale | @ 5 | 2
SNAPSHOT 1 2 v 4 a x => stale | @ 5 | 2
INSERT 1 2 v 5 a x => stale | @ 5 | 2
SEED 1 2 v 5 a x => stale | @ 5 | 2
UPDATE 1 2 v 5 a x => stale | @ 5 | 2
UPDATE 1 2 v 6 a x => NOENTITY there is no entity "1" | @ 5 | 2
TOUCH 1 => NOENTITY there is no entity "1" | @ 5 | 2
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
SNAPSHOT 1 1 v 1 SNAPSHOT 1 1 v 1 SNAPSHOT 1 2 v 2 a x => insert stale update | v 2 a x | 2
DELETE 1 1 v 2 SNAPSHOT 1 1 v 2 => delete stale | @ 2 | 3
INSERT 1 2 v 3 a y DELETE 1 INSERT 1 1 v 3 INSERT 1 1 v 4 => insert delete stale insert | v 4 | 6
DELETE 1 1 v 3 DELETE 1 1 v 5 DELETE 1 1 v 6 DELETE 1 => stale delete none none | @ 6 | 7
UPDATE 1 1 v 6 TOUCH 1 => NOENTITY there is no entity "1" | @ 6 | 7
SNAPSHOT 1 1 v 7 DELETE 1 SEED 1 2 v 8 b y UPDATE 1 1 v 9 => insert delete seed update | v 9 b y | 10
SNAPSHOT 2 1 v 1 SNAPSHOT 1 2 v 10 a x DELETE 2 1 v 1 => insert update delete | v 10 a x | 13
SNAPSHOT 1 1 v 11 SNAPSHOT 1 2 v 12 a => ERR SNAPSHOT lacks a value | v 10 a x | 13
SNAPSHOT 1 1 v 11 SNAPSHOT 2 1 a x => BADVALUE field "v" must give the entity's version
  | v 10 a x | 13
"#,
    ),
    (
        "VERSION v STREAM s",
        r#"
SNAPSHOT 1 1 v -9223372036854775808 => insert | v -9223372036854775808 | 1
SNAPSHOT 1 1 v -9223372036854775808 => stale | v -9223372036854775808 | 1
DELETE 1 => delete | @ -9223372036854775808 | 2
INSERT 1 1 v -9223372036854775807 => insert | v -9223372036854775807 | 3
UPDATE 1 1 v 0 => update | v 0 | 4
UPDATE 1 1 v -0 => stale | v 0 | 4
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
SNAPSHOT 1 1 v 0 => stale | v 0 | 1
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
fn what_is_not_newer_is_stale() {
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
DIRTY.FLUSH user SNAPSHOT 1 2 v 7 n 1 => [stale]
DIRTY.FLUSH user DELETE 1 => [delete]
HGETALL user:1 => [@ 7]
# The marker of one that has fields is no tombstone, and no tombstone is an entity.
HSET user:1 @ 9 n 1 => (1)
DIRTY.FLUSH user UPDATE 1 1 v 3 => [update]
HGETALL user:1 => [n 1 v 3]
"#,
    );
    assert_eq!(
        read_all(&server, "s"),
        [
            "entity-id: 1, op: update",
            "entity-id: 1, op: update, changes: {v: [old (-5)], a: [x y]}",
            "entity-id: 1, op: update, changes: {v: [nil (-6)]}",
            "entity-id: 1, op: delete, changes: {a: [y nil], v: [\"\" nil]}",
            "entity-id: 1, op: delete, changes: {v: [1.5 nil]}",
            "entity-id: 1, op: delete, changes: {v: [(7) nil]}",
            "entity-id: 1, op: update, changes: {v: [nil (3)]}",
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
fn with_events_a_stale_operation_has_changed_and_published_nothing() {
    let (_server, mut redis) = declared("VERSION v STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user SEED 1 2 v 5 a x => [seed]
DIRTY.FLUSH user WITHEVENTS SNAPSHOT 1 2 v 5 a y DELETE 1 1 v 4 DELETE 2 1 v 1 UPDATE 2 1 v 1
  => [[stale [] []] [stale [] []] [none [] []] [stale [] []]]
EXISTS s => (0)
"#,
    );
}

#[test]
fn a_tombstone_is_a_hash_that_expires() {
    for (declaration, lifetime_ms) in [
        ("VERSION v STREAM s", DAY_MS),
        ("VERSION v TOMBSTONE 5000 STREAM s", 5_000),
        ("VERSION v TOMBSTONE 9007199254740992 STREAM s", 1 << 53),
    ] {
        let (_server, mut redis) = declared(declaration);
        for (before, delete, hash) in [
            (
                "DIRTY.FLUSH user SEED 1 2 v 5 a x",
                "DELETE 1 1 v 5",
                "[@ 5]",
            ),
            ("DIRTY.FLUSH user SEED 1 2 v 6 a x", "DELETE 1", "[@ 6]"),
            ("DEL user:1", "DELETE 1 1 v 7", "[@ 7]"),
            // An older tombstone, and an entity, with a time to live that somebody gave them.
            ("PEXPIRE user:1 1000", "DELETE 1 1 v 8", "[@ 8]"),
            ("PERSIST user:1", "DELETE 1 1 v 9", "[@ 9]"),
            (
                "DIRTY.FLUSH user SEED 1 2 v 10 a x",
                "TOUCH 1",
                "[v 10 a x]",
            ),
            ("PEXPIRE user:1 1000", "DELETE 1 2 v 10 a x", "[@ 10]"),
            ("DIRTY.GET user 1", "SEED 1 1 v 11 DELETE 1", "[@ 11]"),
        ] {
            redis.run(before);
            let from = now_ms(&mut redis);
            let reply = redis.run(&format!("DIRTY.FLUSH user {delete}"));
            assert!(
                reply.starts_with('[') && !reply.contains("stale"),
                "{delete}: {reply}"
            );
            let to = now_ms(&mut redis);
            assert_eq!(redis.run("HGETALL user:1"), hash, "{delete}");
            let expires = number(&redis.run("PEXPIRETIME user:1"));
            match delete {
                // Nor does an entity inherit its tombstone's.
                "TOUCH 1" => assert_eq!(expires, -1),
                _ => {
                    let since = expires - lifetime_ms;
                    assert!(
                        (from..=to).contains(&since),
                        "{delete}: {from} {since} {to}"
                    );
                    assert_eq!(redis.run("DIRTY.GET user 1"), "[nil]");
                }
            }
        }
    }
}

/// What somebody does by hand to a tombstone of the version 5, an operation and its effect, and the hash that
/// is left: with no time to live (`for ever`), with the tombstone's, or with that of the user's.
const BY_HAND: &str = r#"
HSET $ a x | SNAPSHOT 1 2 v 6 a y => update | a y v 6 | for ever
HSET $ a x | SNAPSHOT 1 1 v 6 => update | v 6 | for ever
HSET $ a x | SNAPSHOT 1 2 v 1 a x => update | a x v 1 | for ever
HSET $ a x | UPDATE 1 1 v 6 => update | a x v 6 | for ever
HSET $ a x | UPDATE 1 1 v 6 NULL 1 a => update | v 6 | for ever
HSET $ a x | SEED 1 2 v 6 a x => seed | a x v 6 | for ever
HSET $ a x | SEED 1 2 v 6 b x => seed | v 6 b x | for ever
HSET $ a x | TOUCH 1 => touch | a x | for ever
HSET $ a x | SNAPSHOT 1 1 v 6 UPDATE 1 1 v 7 => update update | v 7 | for ever
HSET $ a x | DELETE 1 => delete | | none
HSET $ a x | DELETE 1 1 v 6 => delete | @ 6 | tombstone
HSET $ a x | DELETE 1 1 v 6 SNAPSHOT 1 1 v 7 => delete insert | v 7 | for ever
HSET $ a x | INSERT 1 2 v 6 a x => EXISTS entity "1" exists with other values | @ 5 a x | tombstone
HSET $ a x | SNAPSHOT 1 1 a x => BADVALUE field "v" must give the entity's version | @ 5 a x | tombstone
# Nothing changes, but whoever is told so must not lose it.
HSET $ a x v 7 | SNAPSHOT 1 2 v 7 a x => stale | a x v 7 | for ever
HSET $ a x v 7 | INSERT 1 2 v 7 a x => stale | a x v 7 | for ever
HSET $ a x v 7 | UPDATE 1 1 v 6 => stale | a x v 7 | for ever
HSET $ a x v 7 | SEED 1 1 v 6 => stale | a x v 7 | for ever
HSET $ a x v 7 | DELETE 1 1 v 6 => stale | a x v 7 | for ever
HSET $ a x v 7 | DELETE 1 => delete | @ 7 | tombstone
HSET $ @ 9 a x | UPDATE 1 1 v 6 => update | a x v 6 | for ever
HSET $ @ junk | SNAPSHOT 1 1 v 6 => update | v 6 | for ever
HSET $ @ junk | TOUCH 1 => touch | @ "" | for ever
# A tombstone by another version is one.
HSET $ @ 9 | SNAPSHOT 1 1 v 8 => stale | @ 9 | tombstone
HSET $ @ 9 | SNAPSHOT 1 1 v 10 => insert | v 10 | for ever
HSET $ @ 9 | DELETE 1 1 v 10 => none | @ 10 | tombstone
PERSIST $ | SNAPSHOT 1 1 v 5 => stale | @ 5 | for ever
PERSIST $ | SNAPSHOT 1 1 v 6 => insert | v 6 | for ever
PERSIST $ | DELETE 1 1 v 6 => none | @ 6 | tombstone
PERSIST $ ; HSET $ a x | UPDATE 1 1 v 6 => update | a x v 6 | for ever
EXPIREAT $ 32503680000 | INSERT 1 1 v 6 => insert | v 6 | for ever
EXPIREAT $ 32503680000 | SNAPSHOT 1 1 v 5 => stale | @ 5 | user
EXPIREAT $ 32503680000 ; HSET $ a x | UPDATE 1 1 v 6 => update | a x v 6 | for ever
HDEL $ @ | INSERT 1 1 v 1 => insert | v 1 | for ever
# Without a tombstone's marker it is an entity whose time to live is the user's.
HSET $ a x ; HDEL $ @ | UPDATE 1 1 v 6 => update | a x v 6 | tombstone
HSET $ @ "" | UPDATE 1 1 v 6 => update | v 6 | tombstone
HSET $ a x ; HDEL $ @ ; EXPIREAT $ 32503680000 | UPDATE 1 1 v 6 => update | a x v 6 | user
HSET $ a x ; HDEL $ @ ; EXPIREAT $ 32503680000 | TOUCH 1 => touch | a x | user
"#;

/// As above, of a type that is without VERSION by now.
const BY_HAND_WITHOUT_VERSION: &str = r#"
HSET $ a x | SNAPSHOT 1 1 a x => none | a x | for ever
HSET $ a x | INSERT 1 1 a x => none | a x | for ever
HSET $ a x | UPDATE 1 0 => none | a x | for ever
HSET $ a x | UPDATE 1 1 a x => none | a x | for ever
HSET $ a x | SEED 1 1 a x => none | a x | for ever
HSET $ a x | SNAPSHOT 1 0 => update | @ "" | for ever
HSET $ a x | UPDATE 1 0 NULL 1 a => update | @ "" | for ever
HSET $ a x | UPDATE 1 0 NULL 1 a UPDATE 1 0 SNAPSHOT 1 0 => update none none | @ "" | for ever
HSET $ a x | SNAPSHOT 1 0 SNAPSHOT 1 1 b x => update update | b x | for ever
HSET $ a x | DELETE 1 => delete | | none
HSET $ @ junk | SNAPSHOT 1 0 => none | @ "" | for ever
"#;

#[test]
fn a_tombstone_that_was_touched_by_hand_takes_no_entity_with_it() {
    let mut server = Server::with(&AOF);
    let replica = Server::replica_of(&server);
    let mut redis = server.connect();
    let tables = [
        ("VERSION v TOMBSTONE 60000", BY_HAND),
        ("", BY_HAND_WITHOUT_VERSION),
    ];
    let tables = tables.map(|(declaration, table)| (declaration, cases(table)));
    let all = tables.iter().flat_map(|(declaration, table)| {
        let table = table.iter();
        table.map(move |(case, outcome)| (declaration, case, outcome))
    });
    for (nth, (declaration, case, outcome)) in all.enumerate() {
        redis.run("DIRTY.DECLARE user VERSION v TOMBSTONE 60000 STREAM s");
        let (id, key) = (format!("1{nth}"), format!("user:1{nth}"));
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 v 5 DELETE {id}"));
        redis.run(&format!("DIRTY.DECLARE user {declaration} STREAM s"));
        let (by_hand, operation) = case.split_once(" | ").expect("an operation");
        for command in by_hand.split(" ; ") {
            let reply = redis.run(&command.replace('$', &key));
            assert!(
                ["(0)", "(1)", "(2)"].contains(&&*reply),
                "{command}: {reply}"
            );
        }
        let parts: Vec<&str> = outcome.split('|').map(str::trim).collect();
        let [effect, hash, lives] = parts[..] else {
            panic!("{outcome}");
        };
        let operation = operation
            .replace("DELETE 1", &format!("DELETE {id}"))
            .replace("TOUCH 1", &format!("TOUCH {id}"))
            .replace("INSERT 1", &format!("INSERT {id}"))
            .replace("UPDATE 1", &format!("UPDATE {id}"))
            .replace("SEED 1", &format!("SEED {id}"))
            .replace("SNAPSHOT 1", &format!("SNAPSHOT {id}"));
        let reply = redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let effect = effect.replace("\"1\"", &format!("\"{id}\""));
        let is_it = reply == effect || reply == format!("[{effect}]");
        assert!(is_it, "{case}: {reply}");
        assert_eq!(
            redis.run(&format!("HGETALL {key}")),
            format!("[{hash}]"),
            "{case}"
        );
        let ttl = number(&redis.run(&format!("PTTL {key}")));
        let is_it = match lives {
            "for ever" => ttl == -1,
            "tombstone" => (1..=60_000).contains(&ttl),
            "user" => ttl > 60_000,
            _ => ttl == -2,
        };
        assert!(is_it, "{case}: {ttl} ms to live");
        server.wait_for_replica(&replica);
        assert_eq!(replica.connect().digest(), redis.digest(), "{case}");
    }
    let before = redis.digest();
    server.restart();
    assert_eq!(server.connect().digest(), before);
}

#[test]
fn what_was_buried_may_come_back_when_its_tombstone_is_gone() {
    let (_server, mut redis) = declared("VERSION v TOMBSTONE 1 STREAM s");
    for active in ["1", "0"] {
        redis.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", active]);
        for late in ["SNAPSHOT 1 1 v 3", "INSERT 1 1 v 3", "SEED 1 1 v 3"] {
            redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 v 9 DELETE 1");
            std::thread::sleep(Duration::from_millis(5));
            let reply = redis.run(&format!("DIRTY.FLUSH user {late}"));
            assert!(
                ["[insert]", "[seed]"].contains(&reply.as_str()),
                "{late}: {reply}"
            );
            assert_eq!(redis.run("HGETALL user:1"), "[v 3]", "{late}");
            assert_eq!(redis.run("PTTL user:1"), "(-1)", "{late}");
        }
        redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 v 9 DELETE 1");
        std::thread::sleep(Duration::from_millis(5));
        let reply = redis.run("DIRTY.FLUSH user UPDATE 1 1 v 3");
        assert_eq!(reply, "NOENTITY there is no entity \"1\"");
        assert_eq!(redis.run("EXISTS user:1"), "(0)");
    }
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
DIRTY.FLUSH user SNAPSHOT 1 1 v 5 SNAPSHOT 2 1 v 1 SNAPSHOT 3 1 v 1 => [stale update update]
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
DIRTY.FLUSH user TOUCH 1 => NOENTITY there is no entity "1"
HGETALL user:1 => [@ 5]
DIRTY.FLUSH user INSERT 1 1 v 1 => [insert]
HGETALL user:1 => [v 1]
PTTL user:1 => (-1)
DIRTY.FLUSH user DELETE 1 INSERT 1 0 => [delete insert]
HGETALL user:1 => [@ ""]
"#,
    );
}

#[test]
fn what_becomes_of_a_touched_tombstone_is_replicated_and_told() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user VERSION v STREAM s PAYLOAD KEYS");
    redis.ok(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    let mut heard = server.connect();
    heard.ok(&["PSUBSCRIBE", "__keyspace@*"]);
    for (operation, expected, events) in [
        (
            "UPDATE 1 1 v 6",
            vec![
                "MULTI",
                "HSET user:1 v 6",
                "HDEL user:1 @",
                "PERSIST user:1",
                "XADD s ms-1 s BYTES",
                "EXEC",
            ],
            vec!["hset", "hdel", "persist"],
        ),
        (
            "TOUCH 1",
            vec![
                "MULTI",
                "HDEL user:1 @",
                "PERSIST user:1",
                "XADD s ms-2 s BYTES",
                "EXEC",
            ],
            vec!["hdel", "persist"],
        ),
        // Once is enough.
        ("TOUCH 1", vec!["XADD s ms-3 s BYTES"], vec![]),
    ] {
        if !events.is_empty() {
            redis.run("DEL user:1");
            redis.run("DIRTY.FLUSH user DELETE 1 1 v 5");
            redis.run("HSET user:1 a x");
        }
        redis.run("PUBLISH __keyspace@ from-here");
        let (_, start) = appended(&server, 0);
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        redis.run("PUBLISH __keyspace@ to-here");
        let (commands, _) = appended(&server, start);
        let commands: Vec<String> = commands
            .into_iter()
            .filter(|c| !c.starts_with("PUBLISH"))
            .collect();
        assert_eq!(commands, expected, "{operation}");
        let mut told = Vec::new();
        let mut is_here = false;
        loop {
            let message = text(&heard.receive().expect("a message"));
            if message.ends_with("to-here]") {
                break;
            }
            if let Some((_, event)) = message.split_once(":user:1 ").filter(|_| is_here) {
                told.push(event.trim_end_matches(']').to_string());
            }
            is_here |= message.ends_with("from-here]");
        }
        assert_eq!(told, events, "{operation}");
    }
}

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
    for (operations, expected) in [
        (
            "DELETE 1 1 v 1",
            vec!["MULTI", "HSET user:1 @ 1", "PEXPIREAT user:1 MS", "EXEC"],
        ),
        ("DELETE 1 1 v 1", vec![]),
        ("SNAPSHOT 1 1 v 1", vec![]),
        ("DELETE 1", vec![]),
        ("UPDATE 1 1 v 2", vec![]),
        (
            "DELETE 1 1 v 2",
            vec![
                "MULTI",
                "DEL user:1",
                "HSET user:1 @ 2",
                "PEXPIREAT user:1 MS",
                "EXEC",
            ],
        ),
        (
            "SNAPSHOT 1 2 v 3 a x",
            vec![
                "MULTI",
                "DEL user:1",
                "HSET user:1 v 3 a x",
                "XADD s ms-1 s BYTES",
                "EXEC",
            ],
        ),
        ("INSERT 1 2 v 3 a y", vec![]),
        ("DELETE 1 1 v 2", vec![]),
        (
            "DELETE 1",
            vec![
                "MULTI",
                "DEL user:1",
                "HSET user:1 @ 3",
                "PEXPIREAT user:1 MS",
                "XADD s ms-2 s BYTES",
                "EXEC",
            ],
        ),
    ] {
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        let (commands, end) = appended(&server, start);
        let commands: Vec<String> = commands.into_iter().map(without_time).collect();
        assert_eq!(commands, expected, "{operations}");
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

fn now_ms(redis: &mut Conn) -> i64 {
    let script = "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)";
    number(&redis.raw(&["EVAL", script, "0"]))
}

fn number(reply: &str) -> i64 {
    reply.trim_matches(['(', ')']).parse().expect("a number")
}
