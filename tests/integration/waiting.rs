//! What waits for its COMMIT, as a hash of the declaration's own: listed, dropped, kept, replicated.

use super::support::dumps::forgeries;
use super::support::entities::declared;
use super::support::readers::read_all;
use super::support::replication::{AOF, appended};
use super::support::{Conn, Server, cases, words};
use redis::Value;
use std::time::Duration;

/// A flush by hand, deferred at this time.
fn deferred_at(ms: u64, operations: u8) -> Vec<u8> {
    let (ms, operations) = (ms.to_be_bytes(), [operations]);
    [
        b"\x95\x01\xcf".as_slice(),
        &ms,
        &operations,
        b"\xc2\x92\xc4\x06DELETE\xc4\x011",
    ]
    .concat()
}

#[test]
fn deferred_tells_what_waits_the_oldest_first() {
    let (_server, mut redis) = declared("STREAM s");
    let script = "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)";
    let now = redis.raw(&["EVAL", script, "0"]);
    let now: u64 = now.trim_matches(['(', ')']).parse().expect("a time");
    assert_eq!(redis.run("DIRTY.DEFERRED user"), "[]");
    let mut put = |token: &[u8], at_ms, operations| {
        let waiting = deferred_at(at_ms, operations);
        redis.value(&[b"HSET".as_slice(), b"user@deferred", token, &waiting]);
    };
    put(b"b", now - 100_000, 3);
    put(b"\xff", now - 500_000, 1);
    put(b"c", now - 300_000, 2);
    // Those of one ms by token; when the clock goes back, nothing is younger than new.
    put(b"a", now - 100_000, 4);
    put(b"future", now + 100_000, 5);
    redis.run("DIRTY.FLUSH user DEFER new TOUCH 1 DELETE 2");
    let expected = [
        "\\xff 500 1 DELETE 1",
        "c 300 2 DELETE 1",
        "a 100 4 DELETE 1",
        "b 100 3 DELETE 1",
        "new 0 2 TOUCH 1 DELETE 2",
        "future 0 5 DELETE 1",
    ];
    for (options, count) in [
        ("", 6),
        ("MINAGE 0", 6),
        ("minage 50000", 4),
        ("MINAGE 100000", 4),
        ("MINAGE 200000", 2),
        ("MINAGE 500000", 1),
        ("MINAGE 600000", 0),
        ("MINAGE 9007199254740992", 0),
        ("COUNT 1", 1),
        ("COUNT 6", 6),
        ("COUNT 4294967295", 6),
        ("COUNT 3 MINAGE 50000", 3),
        ("minage 200000 count 3", 2),
    ] {
        let reply = redis.run(&format!("DIRTY.DEFERRED user {options}"));
        assert_eq!(in_seconds(&reply), expected[..count], "{options}");
    }
    // To be deferred again makes none younger.
    std::thread::sleep(Duration::from_millis(20));
    redis.run("DIRTY.FLUSH user DEFER new TOUCH 1 DELETE 2");
    let old = redis.run("DIRTY.DEFERRED user MINAGE 20");
    assert!(old.contains("[new ("), "{old}");
}

/// Each flush as `token age count` and its operations, the age in whole seconds.
fn in_seconds(reply: &str) -> Vec<String> {
    let flushes = reply
        .split("]]]")
        .map(|flush| flush.replace(['[', ']'], ""));
    let seconds = |age: &str| age.trim_matches(['(', ')']).parse::<u64>().expect("an age") / 1000;
    let flush = |flush: String| match flush.split_whitespace().collect::<Vec<_>>().as_slice() {
        [token, age, count, operations @ ..] => {
            format!(
                "{token} {} {} {}",
                seconds(age),
                count.trim_matches(['(', ')']),
                operations.join(" ")
            )
        }
        other => panic!("{other:?}"),
    };
    flushes
        .filter(|flush| !flush.is_empty())
        .map(flush)
        .collect()
}

#[test]
fn deferred_takes_no_more_memory_than_one_flush_however_many_wait() {
    let (server, mut redis) = declared("STREAM s");
    let fields: Vec<String> = (0..1000).map(|i| format!("f{i} v")).collect();
    let operation = |id| format!("SNAPSHOT {id} 1000 {}", fields.join(" "));
    let operations = (0..10).map(operation).collect::<Vec<_>>().join(" ");
    for token in 0..100 {
        let flush = format!("DIRTY.FLUSH user DEFER t{token} {operations}");
        assert_eq!(redis.run(&flush), "[deferred]");
    }
    // One that breaks off behind its head is found only when it would be told.
    redis.run(r"HSET user@deferred cut \x95\x01\x05\x01\xc2\x91\xc4\x03FLY");
    for (options, told) in [("", 101), ("COUNT 1", 1), ("MINAGE 0", 100), ("COUNT 5", 5)] {
        let was = server.most_memory();
        let Value::Array(list) = redis.value(&words(&format!("DIRTY.DEFERRED user {options}")))
        else {
            panic!("{options}");
        };
        assert_eq!(list.len(), told, "{options}");
        let taken = server.most_memory() - was;
        assert!(taken < 32 << 10, "{options}: {taken} KiB");
    }
}

/// Flushes that wait, and how DIRTY.DEFERRED tells their operations.
const TOLD: &str = r#"
META 1 a b WITHEVENTS SNAPSHOT 1 1 a x INSERT 2 JSON {"a":"y"} UPDATE 3 0 NULL 1 a DELETE 4 TOUCH 5 SEED \xff\x00 0
  => (6) [[SNAPSHOT 1] [INSERT 2] [UPDATE 3] [DELETE 4] [TOUCH 5] [SEED \xff\x00]]
TOUCH DELETE delete TOUCH => (2) [[TOUCH DELETE] [DELETE TOUCH]]
UPDATE 1 MSGPACK \x80 UPDATE 1 0 => (2) [[UPDATE 1] [UPDATE 1]]
"#;

#[test]
fn deferred_tells_the_operations_of_each() {
    let (_server, mut redis) = declared("STREAM s");
    let told = |redis: &mut Conn, key: &str| {
        let reply = redis.run(&format!("DIRTY.DEFERRED {key}"));
        let behind_age = reply.splitn(3, ' ').nth(2).unwrap_or_default();
        behind_age.trim_end_matches("]]").to_string() + "]]"
    };
    for (operations, expected) in cases(TOLD) {
        redis.run("DEL user@deferred");
        let flush = format!("DIRTY.FLUSH user DEFER t {operations}");
        assert_eq!(redis.run(&flush), "[deferred]", "{flush}");
        assert_eq!(told(&mut redis, "user"), expected, "{flush}");
    }
    redis.expect(
        "DIRTY.DECLARE visit STATELESS STREAM visits => OK\n\
         DIRTY.FLUSH visit DEFER t UPDATE 1 1 a old new DELETE 2 1 a last => [deferred]\n\
         DIRTY.DECLARE visit STREAM visits => OK",
    );
    // Its UPDATE is read as it was sent, whatever the type is now.
    assert_eq!(told(&mut redis, "visit"), "(2) [[UPDATE 1] [DELETE 2]]");
    // A flush that DIRTY.FLUSH did not write cannot be read.
    let odd = b"\x95\x01\x05\x03\xc2\x91\xc4\x03FLY";
    redis.value(&[b"HSET".as_slice(), b"user@deferred", b"t", odd]);
    let reply = redis.run("DIRTY.DEFERRED user");
    assert_eq!(reply, "[[t nil nil nil]]");
}

#[test]
fn abort_drops_and_counts() {
    let (_server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
DIRTY.ABORT user a => (0)
DIRTY.FLUSH user DEFER a INSERT 1 0 => [deferred]
DIRTY.FLUSH user DEFER b INSERT 2 0 => [deferred]
DIRTY.FLUSH user DEFER c INSERT 3 0 => [deferred]
DIRTY.ABORT user x a b a => (2)
DIRTY.ABORT user a b => (0)
DIRTY.COMMIT user a b => [nil nil]
HLEN user@deferred => (1)
DIRTY.ABORT user c => (1)
# The hash vanishes with its last flush.
DBSIZE => (1)
DIRTY.DEFERRED user => []
"#,
    );
}

#[test]
fn what_waits_survives_restarts_and_failover() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    for options in [&["--save", "3600 1"][..], &always, &AOF] {
        let mut primary = Server::with(options);
        let replica = Server::replica_of(&primary);
        let mut redis = primary.connect();
        for command in [
            "DIRTY.DECLARE user STREAM s",
            "DIRTY.FLUSH user DEFER \\xff META 1 a b INSERT 1 1 a \\x00\\xff",
            "DIRTY.FLUSH user DEFER gone DELETE 1",
            "DIRTY.FLUSH user DEFER done SEED 2 0",
            "DIRTY.ABORT user gone",
            "DIRTY.COMMIT user done",
        ] {
            redis.run(command);
        }
        std::thread::sleep(Duration::from_millis(20));
        let digest = redis.digest();
        primary.wait_for_replica(&replica);
        primary.restart();
        let mut promoted = replica.connect();
        promoted.ok(&["REPLICAOF", "NO", "ONE"]);
        for (server, redis) in [
            (&primary, &mut primary.connect()),
            (&replica, &mut promoted),
        ] {
            assert_eq!(redis.digest(), digest, "{options:?}");
            let waiting = redis.run("DIRTY.DEFERRED user MINAGE 20");
            let (start, end) = ("[[\\xff (", ") (1) [[INSERT 1]]]]");
            assert!(
                waiting.starts_with(start) && waiting.ends_with(end),
                "{waiting}"
            );
            redis.expect(
                "DIRTY.COMMIT user gone done \\xff => [nil nil [insert]]\n\
                 HGETALL user:1 => [a \\x00\\xff]",
            );
            let read = read_all(server, "s");
            assert_eq!(read, ["entity-id: 1, op: insert, meta: {a: b}"]);
        }
    }
}

#[test]
fn something_else_in_the_hash_is_told_and_left_alone() {
    let (_server, mut redis) = declared("STREAM s");
    redis.run("DIRTY.FLUSH user DEFER good INSERT 1 0");
    let junk: &[&[u8]] = &[
        b"",
        b"text",
        b"5",
        b"\x95\x01\x05\x01\xc2",
        b"\x95\x02\x05\x01\xc2\x92\xc4\x06DELETE\xc4\x011",
        b"\x95\x01\x05\x01\xc2\xdd\xff\xff\xff\xff",
        b"\xff",
    ];
    let not_one = "WRONGTYPE the field \"j\" of the key \"user@deferred\" is not a deferred flush that this version can read";
    let taken = "EXISTS the token \"j\" already holds something that this version cannot read; abort it or use another";
    for junk in junk {
        redis.value(&[b"HSET".as_slice(), b"user@deferred", b"j", junk]);
        let before = redis.digest();
        for (command, reply) in [
            ("DIRTY.COMMIT user j", not_one),
            ("DIRTY.DEFERRED user MINAGE 60000", "[]"),
            ("DIRTY.FLUSH user DEFER j DELETE 1", taken),
        ] {
            assert_eq!(redis.run(command), reply, "{}", junk.escape_ascii());
            assert_eq!(redis.digest(), before, "{}", junk.escape_ascii());
        }
    }
    redis.expect(
        "DIRTY.ABORT user j => (1)\n\
         DIRTY.COMMIT user good => [[insert]]",
    );
}

#[test]
fn what_was_forged_is_refused_or_taken_but_never_ends_the_server() {
    let (server, mut redis) = declared("STREAM s");
    redis.run("DIRTY.FLUSH user DEFER t WITHEVENTS META 1 a b SNAPSHOT 1 1 a x TOUCH 1 DELETE 2");
    redis.run("DIRTY.FLUSH user ONCE t WITHEVENTS SNAPSHOT 1 1 a x TOUCH 1 DELETE 2");
    let mut stored = |command: &str| match redis.value(&words(command)) {
        Value::BulkString(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let waiting = forgeries(&stored("HGET user@deferred t"));
    let answers = forgeries(&stored("GET user@once:t"));
    let (mut refused, mut taken) = (0, 0);
    let mut count = |reply: String| match reply.starts_with('[') {
        true => taken += 1,
        false => refused += 1,
    };
    for forged in waiting {
        redis.value(&[b"HSET".as_slice(), b"user@deferred", b"t", &forged]);
        let deferred = redis.run("DIRTY.DEFERRED user");
        assert!(
            deferred.starts_with("[[t (") || deferred == "[[t nil nil nil]]",
            "{deferred}"
        );
        count(redis.run("DIRTY.COMMIT user t"));
        assert_eq!(redis.run("PING"), "PONG");
    }
    for forged in answers {
        redis.value(&[b"SET".as_slice(), b"user@once:t", &forged]);
        count(redis.run("DIRTY.FLUSH user ONCE t DELETE 1"));
        assert_eq!(redis.run("PING"), "PONG");
    }
    assert!(
        refused > 1000 && taken > 500,
        "{refused} refused, {taken} taken"
    );
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// Values under a token that are no flush of this version of the module.
const UNREADABLE: &[&str] = &[
    "\"\"",
    "text",
    "\\xff",
    "\\xc0",
    "\\x90",
    // A later version, with the same content and with more.
    "\\x95\\x02\\x05\\x01\\xc2\\x92\\xc4\\x06DELETE\\xc4\\x011",
    "\\x96\\x02\\x05\\x01\\xc2\\x92\\xc4\\x06DELETE\\xc4\\x011\\x05",
    // Cut off, and longer than it says.
    "\\x95\\x01\\x05\\x01\\xc2\\x92\\xc4\\x06DELETE",
    "\\x95\\x01\\x05\\x01\\xc2\\xdd\\xff\\xff\\xff\\xff",
    // In the form of this version, but not what it can carry out.
    "\\x95\\x01\\x05\\x01\\xc2\\x90",
    "\\x95\\x01\\x05\\x01\\xc2\\x91\\xc4\\x03FLY",
    "\\x95\\x01\\x05\\x01\\xc2\\x91\\xc4\\x06DELETE",
    "\\x95\\x01\\x05\\x01\\xc2\\x93\\xc4\\x03FLY\\xc4\\x06DELETE\\xc4\\x011",
];

#[test]
fn what_cannot_be_read_under_one_token_keeps_no_other_from_being_told_and_carried_out() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let replica = Server::replica_of(&server);
    let mut redis = server.connect();
    for value in UNREADABLE {
        redis.run("FLUSHALL");
        redis.expect(&format!(
            r#"
DIRTY.DECLARE user STREAM s => OK
DIRTY.FLUSH user DEFER good INSERT 1 1 a x => [deferred]
DIRTY.FLUSH user DEFER better WITHEVENTS UPDATE 1 0 => [deferred]
HSET user@deferred bad {value} => (1)
HSET user@deferred also {value} => (1)
"#
        ));
        they_are_listed_behind_the_others(&mut redis, value);
        let before = (redis.digest(), redis.replicated());
        redis.expect(
            r#"
DIRTY.COMMIT user bad
  => WRONGTYPE the field "bad" of the key "user@deferred" is not a deferred flush that this version can read
DIRTY.COMMIT user bad unknown => [[unreadable] nil]
DIRTY.COMMIT user bad also bad => [[unreadable] [unreadable] nil]
DIRTY.FLUSH user DEFER bad DELETE 1
  => EXISTS the token "bad" already holds something that this version cannot read; abort it or use another
"#,
        );
        assert_eq!((redis.digest(), redis.replicated()), before, "{value:?}");
        redis.expect(
            r#"
DIRTY.COMMIT user bad good unknown better also
  => [[unreadable] [insert] nil [[none [] []]] [unreadable]]
HGETALL user:1 => [a x]
XLEN s => (1)
HLEN user@deferred => (2)
DIRTY.COMMIT user bad good unknown better also => [[unreadable] nil nil nil [unreadable]]
# What makes way for others is dropped by whoever knows that it may be.
DIRTY.ABORT user bad also unknown => (2)
EXISTS user@deferred => (0)
DIRTY.FLUSH user DEFER bad DELETE 1 => [deferred]
DIRTY.COMMIT user bad => [[delete]]
"#,
        );
        server.wait_for_replica(&replica);
        assert_eq!(replica.connect().digest(), redis.digest(), "{value:?}");
    }
}

/// Two flushes can be read, and the two tokens `also` and `bad` cannot.
fn they_are_listed_behind_the_others(redis: &mut Conn, value: &str) {
    let list = redis.run("DIRTY.DEFERRED user");
    assert_eq!(list.matches("]]] [").count(), 2, "{value:?}: {list}");
    assert!(
        list.ends_with(" [also nil nil nil] [bad nil nil nil]]"),
        "{value:?}: {list}"
    );
    // COUNT takes what can be read first.
    let some = |redis: &mut Conn, count| redis.run(&format!("DIRTY.DEFERRED user COUNT {count}"));
    assert_eq!(
        without_numbers(&some(redis, 4)),
        without_numbers(&list),
        "{value:?}"
    );
    let three = list.replace(" [bad nil nil nil]", "");
    assert_eq!(
        without_numbers(&some(redis, 3)),
        without_numbers(&three),
        "{value:?}"
    );
    let two = three.replace(" [also nil nil nil]", "");
    assert_eq!(
        without_numbers(&some(redis, 2)),
        without_numbers(&two),
        "{value:?}"
    );
    // Nobody knows how old they are, and those who ask for old ones drop what they find.
    let old = redis.run("DIRTY.DEFERRED user MINAGE 9007199254740992");
    assert_eq!(old, "[]", "{value:?}");
    let any = redis.run("DIRTY.DEFERRED user MINAGE 0");
    assert_eq!(any.matches("] [").count(), 1, "{value:?}: {any}");
}

/// A list without its ages, and without the numbers of operations.
fn without_numbers(list: &str) -> String {
    let words = list.split(' ').filter(|word| !word.starts_with('('));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_key_that_holds_something_else_is_left_alone() {
    let (_server, mut redis) = declared("PREFIX user@ STREAM s");
    for make in [
        "SET user@deferred text",
        "RPUSH user@deferred a",
        "SADD user@deferred a",
        "ZADD user@deferred 1 a",
        "XADD user@deferred 1-1 a b",
        "RENAME x user@deferred",
    ] {
        redis.run("DEL user@deferred");
        redis.run("DIRTY.DECLARE x STREAM x-changes");
        let made = redis.run(make);
        assert!(!made.starts_with("ERR"), "{make}: {made}");
        let before = redis.digest();
        for command in [
            "DIRTY.FLUSH user DEFER t DELETE 1",
            "DIRTY.COMMIT user t",
            "DIRTY.ABORT user t",
            "DIRTY.DEFERRED user",
        ] {
            let error =
                "WRONGTYPE the key \"user@deferred\" does not hold a hash of deferred flushes";
            assert_eq!(redis.run(command), error, "{make}: {command}");
            assert_eq!(redis.digest(), before, "{make}: {command}");
        }
    }
    // It is neither a snapshot's nor a stream's.
    redis.expect(
        r#"
DEL user@deferred => (1)
DIRTY.FLUSH user INSERT deferred 1 a x
  => WRONGTYPE the snapshot of entity "deferred" would be stored at "user@deferred", which holds its declaration's deferred flushes
DIRTY.GET user deferred
  => WRONGTYPE the snapshot of entity "deferred" would be stored at "user@deferred", which holds its declaration's deferred flushes
DIRTY.DECLARE user STREAM s STREAM user@deferred
  => ERR stream "user@deferred" would be one of the declaration's own keys
DIRTY.DECLARE user STREAM user@deferred DB 1 => OK
"#,
    );
}

#[test]
fn each_command_replicates_exactly_its_effects() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s MAXLEN 2 PAYLOAD KEYS");
    let (_, mut start) = appended(&server, 0);
    for (command, expected) in [
        (
            "FLUSH user DEFER a INSERT 1 1 a x",
            vec!["HSET user@deferred a BYTES"],
        ),
        ("FLUSH user DEFER a INSERT 1 1 a x", vec![]),
        ("FLUSH user DEFER a INSERT 1 1 a y", vec![]),
        (
            "FLUSH user DEFER b UPDATE 1 1 a y DELETE 1",
            vec!["HSET user@deferred b BYTES"],
        ),
        (
            "FLUSH user DEFER c UPDATE 404 0",
            vec!["HSET user@deferred c BYTES"],
        ),
        (
            "FLUSH user DEFER d DELETE 1",
            vec!["HSET user@deferred d BYTES"],
        ),
        ("DEFERRED user", vec![]),
        ("COMMIT user a c b", vec![]),
        ("COMMIT user x", vec![]),
        (
            "COMMIT user a x b a",
            vec![
                "MULTI",
                "HSET user:1 a x",
                "XADD s ms-1 s BYTES",
                "HSET user:1 a y",
                "XADD s ms-2 s BYTES",
                "DEL user:1",
                "XADD s ms-3 s BYTES",
                "XTRIM s MAXLEN = 2",
                "HDEL user@deferred a b",
                "EXEC",
            ],
        ),
        ("COMMIT user a b", vec![]),
        ("COMMIT user d", vec!["HDEL user@deferred d"]),
        ("ABORT user x", vec![]),
        ("ABORT user c x", vec!["HDEL user@deferred c x"]),
        ("ABORT user c", vec![]),
    ] {
        redis.run(&format!("DIRTY.{command}"));
        let (commands, end) = appended(&server, start);
        assert_eq!(commands, expected, "{command}");
        start = end;
    }
}

/// Lines `command => keys whose watchers fail`.
const TOUCHED: &str = r#"
FLUSH user DEFER t UPDATE 1 1 a z => user@deferred
FLUSH user DEFER old UPDATE 1 1 a y => -
DEFERRED user => -
ABORT user old => user@deferred
ABORT user none => -
COMMIT user old => user:1 s user@deferred
COMMIT user nothing => user@deferred
COMMIT user none => -
COMMIT user old bad => -
"#;

#[test]
fn a_watching_transaction_fails_when_a_commit_changed_its_key_and_else_does_not() {
    let (server, mut redis) = declared("STREAM s");
    let mut watching = server.connect();
    for (command, changed) in cases(TOUCHED) {
        for key in ["user", "user:1", "s", "user@deferred"] {
            redis.expect(
                "FLUSHALL => OK\n\
                 DIRTY.DECLARE user STREAM s => OK\n\
                 DIRTY.FLUSH user INSERT 1 1 a x => [insert]\n\
                 DIRTY.FLUSH user DEFER old UPDATE 1 1 a y => [deferred]\n\
                 DIRTY.FLUSH user DEFER nothing UPDATE 1 1 a x => [deferred]\n\
                 DIRTY.FLUSH user DEFER bad UPDATE 404 0 => [deferred]",
            );
            watching.ok(&["WATCH", key]);
            redis.run(&format!("DIRTY.{command}"));
            watching.ok(&["MULTI"]);
            watching.ok(&["PING"]);
            let expected = match changed.split(' ').any(|changed| changed == key) {
                true => "nil",
                false => "[PONG]",
            };
            assert_eq!(watching.run("EXEC"), expected, "{command}: {key}");
        }
    }
}
