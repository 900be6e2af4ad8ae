//! What a deleted entity leaves behind: the version of its delete, until that expires.

use super::support::entities::declared;
use super::support::replication::{AOF, appended};
use super::support::{Conn, Server, cases, text};
use std::time::Duration;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

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
# The version that the entity was deleted with counts as long as only the marker holds it.
HSET $ a x | SNAPSHOT 1 2 v 1 a x => stale | @ 5 a x | for ever
HSET $ a x | SNAPSHOT 1 2 v 5 a x => stale | @ 5 a x | for ever
HSET $ a x | SNAPSHOT 1 1 v 1 SNAPSHOT 1 1 v 1 UPDATE 1 1 v 5 => stale stale stale | @ 5 a x | for ever
HSET $ a x | SNAPSHOT 1 1 v 1 SNAPSHOT 1 1 v 6 SNAPSHOT 1 1 v 5 => stale update stale | v 6 | for ever
HSET $ a x | INSERT 1 2 v 1 a x => stale | @ 5 a x | for ever
HSET $ a x | UPDATE 1 1 v 5 => stale | @ 5 a x | for ever
HSET $ a x | SEED 1 2 v 5 a x => stale | @ 5 a x | for ever
HSET $ a x | DELETE 1 1 v 4 => stale | @ 5 a x | for ever
HSET $ a x | DELETE 1 1 v 5 => delete | @ 5 | tombstone
HSET $ a x | TOUCH 1 SNAPSHOT 1 1 v 5 => touch stale | @ 5 a x | for ever
HSET $ a x v 3 | UPDATE 1 1 v 4 => stale | @ 5 a x v 3 | for ever
HSET $ a x v 3 | UPDATE 1 1 v 6 => update | a x v 6 | for ever
HSET $ a x v junk | UPDATE 1 1 v 5 => stale | @ 5 a x v junk | for ever
HSET $ a x v 5 | UPDATE 1 1 v 5 => none | a x v 5 | for ever
HSET $ a x v 3 | DELETE 1 => delete | @ 5 | tombstone
HSET $ @ 9 a x | UPDATE 1 1 v 9 => stale | @ 9 a x | for ever
HSET $ a x | UPDATE 1 1 v 6 => update | a x v 6 | for ever
HSET $ a x | UPDATE 1 1 v 6 NULL 1 a => update | v 6 | for ever
HSET $ a x | SEED 1 2 v 6 a x => seed | a x v 6 | for ever
HSET $ a x | SEED 1 2 v 6 b x => seed | v 6 b x | for ever
HSET $ a x | TOUCH 1 => touch | @ 5 a x | for ever
HSET $ a x | SNAPSHOT 1 1 v 6 UPDATE 1 1 v 7 => update update | v 7 | for ever
HSET $ a x | DELETE 1 => delete | @ 5 | tombstone
HSET $ a x | DELETE 1 1 v 6 => delete | @ 6 | tombstone
HSET $ a x | DELETE 1 1 v 6 SNAPSHOT 1 1 v 7 => delete insert | v 7 | for ever
HSET $ a x | INSERT 1 2 v 6 a x => EXISTS entity "1" exists with other values | @ 5 a x | tombstone
HSET $ a x | SNAPSHOT 1 1 a x => BADVALUE field "v" must give the entity's version | @ 5 a x | tombstone
# Nothing changes, but whoever is told so must not lose it.
HSET $ a x v 7 | SNAPSHOT 1 2 v 7 a x => none | a x v 7 | for ever
HSET $ a x v 7 | INSERT 1 2 v 7 a x => none | a x v 7 | for ever
HSET $ a x v 7 | INSERT 1 2 v 7 a y => conflict | a x v 7 | for ever
HSET $ a x v 7 | UPDATE 1 1 v 6 => stale | a x v 7 | for ever
HSET $ a x v 7 | SEED 1 1 v 6 => stale | a x v 7 | for ever
HSET $ a x v 7 | DELETE 1 1 v 6 => stale | a x v 7 | for ever
HSET $ a x v 7 | DELETE 1 => delete | @ 7 | tombstone
HSET $ @ 9 a x | UPDATE 1 1 v 10 => update | a x v 10 | for ever
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
            vec!["MULTI", "PERSIST user:1", "XADD s ms-2 s BYTES", "EXEC"],
            vec!["persist"],
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

fn now_ms(redis: &mut Conn) -> i64 {
    let script = "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)";
    number(&redis.raw(&["EVAL", script, "0"]))
}

fn number(reply: &str) -> i64 {
    reply.trim_matches(['(', ')']).parse().expect("a number")
}
