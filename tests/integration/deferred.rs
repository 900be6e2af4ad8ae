//! DEFER and COMMIT: a flush that waits for the database, and what comes of it then.

use super::support::entities::declared;
use super::support::readers::{read_all, without_ms};
use super::support::{Server, cases, leaks, words};
use std::time::Duration;

#[test]
fn the_diff_is_made_at_commit_against_the_snapshot_of_that_moment() {
    let (server, mut redis) = declared("STREAM s PAYLOAD FULL");
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 1 a x => [insert]
DIRTY.FLUSH user DEFER t SNAPSHOT 1 2 a x b y DELETE 2 UPDATE 3 1 c w => [deferred]
# Nothing is changed and nothing is published yet.
HGETALL user:1 => [a x]
XLEN s => (1)
DIRTY.GET user 2 3 => [nil nil]
DIRTY.FLUSH user UPDATE 1 2 b y c z SEED 2 1 a x SEED 3 1 c v => [update seed seed]
DIRTY.COMMIT user t => [[update delete update]]
HGETALL user:1 => [a x b y]
EXISTS user:2 => (0)
HGETALL user:3 => [c w]
# The effect, too, is that of the moment.
DIRTY.FLUSH user DEFER u SNAPSHOT 4 1 a x INSERT 5 1 a x SNAPSHOT 1 0 => [deferred]
DIRTY.FLUSH user SNAPSHOT 4 1 a x INSERT 5 1 a x DELETE 1 => [insert insert delete]
DIRTY.COMMIT user u => [[none none insert]]
"#,
    );
    assert_eq!(
        read_all(&server, "s")[2..5],
        [
            "entity-id: 1, op: update, changes: {c: [z nil]}",
            "entity-id: 2, op: delete, changes: {a: [x nil]}",
            "entity-id: 3, op: update, changes: {c: [v w]}",
        ]
    );
}

#[test]
fn several_tokens_are_carried_out_in_the_order_given() {
    let (server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user DEFER c DELETE 1 INSERT 2 0 => [deferred]
DIRTY.FLUSH user DEFER b UPDATE 1 1 a y TOUCH 1 => [deferred]
DIRTY.FLUSH user DEFER a INSERT 1 1 a x => [deferred]
DIRTY.FLUSH user DEFER other DELETE 2 => [deferred]
DIRTY.COMMIT user x a b x b c a => [nil [insert] [update touch] nil nil [delete insert] nil]
DIRTY.COMMIT user a b c => [nil nil nil]
HLEN user@deferred => (1)
DIRTY.COMMIT user other => [[delete]]
EXISTS user@deferred user:1 user:2 => (0)
DIRTY.COMMIT user other => [nil]
# A token that was carried out, or dropped, may come again.
DIRTY.FLUSH user DEFER a INSERT 1 1 a z => [deferred]
DIRTY.ABORT user a => (1)
DIRTY.FLUSH user DEFER a INSERT 1 1 a w => [deferred]
DIRTY.COMMIT user a => [[insert]]
HGETALL user:1 => [a w]
"#,
    );
    let events: Vec<String> = read_all(&server, "s")
        .iter()
        .map(|event| event.replace("entity-id: ", "").replace(", op:", ""))
        .collect();
    assert_eq!(
        events,
        [
            "1 insert",
            "1 update, changes: {a: [x y]}",
            "1 update",
            "1 delete",
            "2 insert",
            "2 delete",
            "1 insert"
        ]
    );
}

/// Lines `what is deferred | what happens then => error of COMMIT | what undoes it`.
const FAILING: &str = r#"
UPDATE 404 0 | PING => NOENTITY there is no entity "404" | DIRTY.FLUSH user SEED 404 0
TOUCH 404 UPDATE 404 0 | PING => NOENTITY there is no entity "404" | DIRTY.FLUSH user SEED 404 0
DELETE 1 UPDATE 1 0 | PING => NOENTITY there is no entity "1" | DIRTY.ABORT user bad
UPDATE 1 1 b y | DIRTY.FLUSH user DELETE 1 => NOENTITY there is no entity "1" | DIRTY.FLUSH user SEED 1 0
INSERT 1 1 a z | PING => EXISTS entity "1" exists with other values | DIRTY.FLUSH user DELETE 1
INSERT 8 1 a z | PING => EXISTS entity "8" exists with other values | DIRTY.ABORT user good
INSERT string 0 | PING => WRONGTYPE the key "user:string" does not hold a hash | DEL user:string
INSERT 2 0 | SET t text => WRONGTYPE the key "t" does not hold a stream | DEL t
INSERT 2 0 | XADD t 18446744073709551615-18446744073709551615 a b
  => ERR the stream "t" has exhausted its ids | DEL t
# A type that is declared anew in between.
INSERT 2 1 a x | DIRTY.DECLARE user TYPES 1 a int STREAM s STREAM t
  => BADVALUE field "a" takes a 64-bit signed integer, not "x" | DIRTY.DECLARE user STREAM s STREAM t
INSERT 2 1 a x | DIRTY.DECLARE user VERSION v STREAM s STREAM t
  => BADVALUE field "v" must give the entity's version | DIRTY.DECLARE user STREAM s STREAM t
UPDATE 1 1 a x | DIRTY.DECLARE user STATELESS STREAM s STREAM t
  => ERR STATELESS was switched since the flush under the token "bad" was deferred; abort it | DIRTY.DECLARE user STREAM s STREAM t
SEED 2 0 | DIRTY.DECLARE user STATELESS STREAM s STREAM t
  => ERR STATELESS was switched since the flush under the token "bad" was deferred; abort it | DIRTY.DECLARE user STREAM s STREAM t
INSERT x 0 | DIRTY.DECLARE user STREAM s STREAM t FORMAT FLUXAORM2
  => BADVALUE the id "x" is not a 64-bit unsigned integer, as FORMAT FLUXAORM2 of the stream "t" requires
  | DIRTY.DECLARE user STREAM s STREAM t
INSERT 2 0 | DEL user => NODECL no entity type is declared at "user" | DIRTY.DECLARE user STREAM s STREAM t
"#;

#[test]
fn one_token_that_fails_leaves_all_of_them_and_changes_nothing() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let replica = Server::replica_of(&server);
    let mut redis = server.connect();
    for (case, outcome) in cases(FAILING) {
        let (bad, then) = case.split_once(" | ").expect("what happens");
        let (error, undo) = outcome.split_once(" | ").expect("what undoes it");
        redis.expect(
            "FLUSHALL => OK\n\
             DIRTY.DECLARE user STREAM s STREAM t => OK\n\
             SET user:string text => OK\n\
             DIRTY.FLUSH user INSERT 1 1 a x => [insert]\n\
             DIRTY.FLUSH user DEFER good INSERT 8 1 a x => [deferred]\n\
             DIRTY.FLUSH user DEFER better INSERT 9 0 DELETE 9 => [deferred]",
        );
        let defer = format!("DIRTY.FLUSH user DEFER bad {bad}");
        assert_eq!(redis.run(&defer), "[deferred]", "{case}");
        redis.run(then);
        let before = (redis.digest(), redis.replicated());
        for commit in ["good bad better", "bad", "none good good bad"] {
            if error.contains("\"8\"") && commit == "bad" {
                continue; // alone it would be right
            }
            let reply = redis.run(&format!("DIRTY.COMMIT user {commit}"));
            // What is wrong with one of them is told with its token.
            let reply = reply.replace("token \"good\"", "token \"bad\"");
            let of_token = format!("{error}, in the flush that waits under the token \"bad\"");
            let is_told = reply == error || reply == of_token;
            assert!(is_told, "{case}: {commit}: {reply}");
            assert_eq!(
                (redis.digest(), redis.replicated()),
                before,
                "{case}: {commit}"
            );
        }
        // It can be put right.
        redis.run(undo);
        let reply = redis.run("DIRTY.COMMIT user good bad better");
        assert!(reply.starts_with('['), "{case}: {reply}");
        assert_eq!(redis.run("EXISTS user@deferred"), "(0)", "{case}");
        server.wait_for_replica(&replica);
        assert_eq!(replica.connect().digest(), redis.digest(), "{case}");
    }
}

#[test]
fn the_same_may_be_deferred_again_but_nothing_else_under_its_token() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let _replica = Server::replica_of(&server);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    redis.run("DIRTY.FLUSH user DEFER \\xff WITHEVENTS META 1 a b INSERT 1 1 a \\x00 DELETE 2");
    let before = (redis.digest(), redis.replicated());
    for (flush, same) in [
        (
            "DEFER \\xff WITHEVENTS META 1 a b INSERT 1 1 a \\x00 DELETE 2",
            true,
        ),
        (
            "WITHEVENTS META 1 a b DEFER \\xff INSERT 1 1 a \\x00 DELETE 2",
            true,
        ),
        ("META 1 a b DEFER \\xff INSERT 1 1 a \\x00 DELETE 2", false),
        ("WITHEVENTS DEFER \\xff INSERT 1 1 a \\x00 DELETE 2", false),
        (
            "DEFER \\xff WITHEVENTS META 1 a c INSERT 1 1 a \\x00 DELETE 2",
            false,
        ),
        (
            "DEFER \\xff WITHEVENTS META 1 a b INSERT 1 1 a x DELETE 2",
            false,
        ),
        (
            "DEFER \\xff WITHEVENTS META 1 a b INSERT 1 1 a \\x00",
            false,
        ),
        (
            "DEFER \\xff WITHEVENTS META 1 a b DELETE 2 INSERT 1 1 a \\x00",
            false,
        ),
        ("DEFER \\xff TOUCH 1", false),
    ] {
        let reply = redis.run(&format!("DIRTY.FLUSH user {flush}"));
        let expected = match same {
            true => "[deferred]",
            false => "EXISTS another flush waits under the token \"\\xff\"",
        };
        assert_eq!(reply, expected, "{flush}");
        assert_eq!((redis.digest(), redis.replicated()), before, "{flush}");
    }
}

/// Lines `flush => error`.
const NEVER_RIGHT: &str = r#"
SNAPSHOT 1 1 i x => BADVALUE field "i" takes a 64-bit signed integer, not "x"
UPDATE 404 1 i x => BADVALUE field "i" takes a 64-bit signed integer, not "x"
INSERT 1 0 SEED 1 1 i x => BADVALUE field "i" takes a 64-bit signed integer, not "x"
INSERT 1 1 @ x => ERR the field "@" is reserved
UPDATE 404 0 NULL 1 @ => ERR the field "@" is reserved
UPDATE 404 2 a x a x => ERR field "a" is named twice
SNAPSHOT 1 1 a x NULL 1 a => ERR field "a" is named twice
DELETE 1 1 a x => ERR DELETE takes fields only with VERSION or STATELESS
UPDATE 404 0 FLY => ERR unknown operation "FLY"
SNAPSHOT 1 => ERR SNAPSHOT requires a count
META 2 a b a c DELETE 1 => ERR META "a" is named twice
DEFER u DELETE 1 => ERR DEFER is given twice
"#;

#[test]
fn what_can_never_be_right_is_refused_at_once() {
    let (_server, mut redis) = declared("TYPES 1 i int STREAM s");
    redis.expect(
        r#"
DIRTY.DECLARE versioned VERSION v STREAM s => OK
DIRTY.DECLARE numbered STREAM s STREAM n FORMAT FLUXAORM2 => OK
DIRTY.DECLARE numbered1 STREAM n1 FORMAT FLUXAORM1 STREAM s => OK
DIRTY.DECLARE stateless TYPES 1 i int STATELESS STREAM s => OK
"#,
    );
    let before = redis.digest();
    for (flush, error) in cases(NEVER_RIGHT) {
        let reply = redis.run(&format!("DIRTY.FLUSH user DEFER t {flush}"));
        assert_eq!(reply, error, "{flush}");
        assert_eq!(redis.digest(), before, "{flush}");
    }
    redis.expect(
        r#"
DIRTY.FLUSH versioned DEFER t SNAPSHOT 1 1 a x => BADVALUE field "v" must give the entity's version
DIRTY.FLUSH versioned DEFER t DELETE 1 UPDATE 1 0 NULL 1 v
  => BADVALUE field "v" must give the entity's version
DIRTY.FLUSH versioned DEFER t DELETE 1 1 a x => BADVALUE field "v" must give the entity's version
DIRTY.FLUSH versioned DEFER t INSERT 1 1 v new
  => BADVALUE field "v" takes a 64-bit signed integer, not "new"
DIRTY.FLUSH numbered DEFER t INSERT 1 0 INSERT x 0
  => BADVALUE the id "x" is not a 64-bit unsigned integer, as FORMAT FLUXAORM2 of the stream "n" requires
DIRTY.FLUSH numbered DEFER t TOUCH 01
  => BADVALUE the id "01" is not a 64-bit unsigned integer, as FORMAT FLUXAORM2 of the stream "n" requires
DIRTY.FLUSH numbered1 DEFER t DELETE 18446744073709551616
  => BADVALUE the id "18446744073709551616" is not a 64-bit unsigned integer, as FORMAT FLUXAORM1 of the stream "n1" requires
DIRTY.FLUSH stateless DEFER t SNAPSHOT 1 0
  => ERR SNAPSHOT requires the snapshots that STATELESS does not keep
DIRTY.FLUSH stateless DEFER t UPDATE 1 1 i 1 x
  => BADVALUE field "i" takes a 64-bit signed integer, not "x"
DIRTY.FLUSH nothing DEFER t DELETE 1 => NODECL no entity type is declared at "nothing"
"#,
    );
    assert_eq!(redis.digest(), before);
    // What may come to be right is not.
    for flush in [
        "UPDATE 404 1 i 5",
        "TOUCH 404",
        "INSERT 1 1 i 5",
        "DELETE 404",
        "UPDATE 1 0 DELETE 1 UPDATE 1 0",
    ] {
        let reply = redis.run(&format!(
            "DIRTY.FLUSH user DEFER {} {flush}",
            flush.replace(' ', "_")
        ));
        assert_eq!(reply, "[deferred]", "{flush}");
    }
}

#[test]
fn meta_and_with_events_are_kept_with_each_flush() {
    let (server, mut redis) = declared("STREAM s STREAM t PAYLOAD KEYS");
    redis.run("DIRTY.FLUSH user DEFER a META 2 actor 7 trace\\x00 \\xff WITHEVENTS INSERT 1 2 b x a y INSERT 2 0");
    redis.run("DIRTY.FLUSH user DEFER b UPDATE 1 1 a z");
    redis.run("DIRTY.FLUSH user META 1 actor 8 DEFER c DELETE 2");
    redis.run("DIRTY.FLUSH user WITHEVENTS DEFER d DELETE 1 DELETE 1");
    let reply = redis.run("DIRTY.COMMIT user a b c d");
    let reply: Vec<String> = reply.split(' ').map(without_ms).collect();
    assert_eq!(
        reply.join(" "),
        "[[[insert [b a] [s ID-1 t ID-1]] [insert [] [s ID-2 t ID-2]]] [update] [delete] \
         [[delete [a b] [s ID-5 t ID-5]] [none [] []]]]"
    );
    assert_eq!(
        read_all(&server, "s"),
        [
            "entity-id: 1, op: insert, meta: {actor: 7, trace\\x00: \\xff}",
            "entity-id: 2, op: insert, meta: {actor: 7, trace\\x00: \\xff}",
            "entity-id: 1, op: update, changes: {a: [y z]}",
            "entity-id: 2, op: delete, meta: {actor: 8}",
            "entity-id: 1, op: delete",
        ]
    );
}

#[test]
fn any_bytes_are_tokens_and_wait() {
    let (_server, mut redis) = declared("STREAM s");
    let large = vec![b'x'; 1 << 20];
    let odd: &[&[u8]] = &[b"\0", b"\xff", b"\r\n", b"DEFER", b"MINAGE", b"@", &large];
    for (index, bytes) in odd.iter().enumerate() {
        let id = index.to_string();
        let flush: &[&[u8]] = &[
            b"DIRTY.FLUSH",
            b"user",
            b"DEFER",
            bytes,
            b"INSERT",
            id.as_bytes(),
            b"1",
            b"a",
            bytes,
        ];
        assert_eq!(redis.raw(flush), "[deferred]");
        assert_eq!(
            redis.raw(&[b"DIRTY.COMMIT".as_slice(), b"user", bytes]),
            "[[insert]]"
        );
        let stored = redis.value(&["HGET", &format!("user:{index}"), "a"]);
        assert!(
            stored == redis::Value::BulkString(bytes.to_vec()),
            "{index}"
        );
    }
}

#[test]
fn in_a_transaction_and_in_a_script_it_is_the_same() {
    let (server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
MULTI => OK
DIRTY.FLUSH user DEFER a INSERT 1 1 a x => QUEUED
DIRTY.FLUSH user DEFER b DELETE 1 => QUEUED
DIRTY.COMMIT user a => QUEUED
HGETALL user:1 => QUEUED
DIRTY.ABORT user a b => QUEUED
DIRTY.DEFERRED user => QUEUED
EXEC => [[deferred] [deferred] [[insert]] [a x] (1) []]
EVAL redis.call('DIRTY.FLUSH','user','DEFER','t','DELETE','1')\_return\_redis.call('DIRTY.COMMIT','user','t','u') 1 user
  => [[delete] nil]
EVAL return\_redis.pcall('DIRTY.COMMIT','nothing','t') 0 => NODECL no entity type is declared at "nothing"
"#,
    );
    server.connect_resp3().expect(
        r#"
DIRTY.FLUSH user DEFER t INSERT 1 0 DELETE 2 => [deferred]
DIRTY.COMMIT user x t => [nil [insert none]]
DIRTY.DEFERRED user => []
"#,
    );
}

#[test]
fn deferred_flushes_of_every_kind_of_type_mean_what_others_mean() {
    let (server, mut redis) = declared("VERSION v STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user DEFER a SNAPSHOT 1 1 v 5 => [deferred]
DIRTY.FLUSH user DEFER b DELETE 1 1 v 7 => [deferred]
DIRTY.FLUSH user DEFER c SNAPSHOT 1 1 v 6 => [deferred]
DIRTY.COMMIT user a b c => [[insert] [delete] [stale]]
HGETALL user:1 => [@ 7]
DEL s => (1)
DIRTY.DECLARE user STATELESS SOFTDELETE gone STREAM s => OK
DIRTY.FLUSH user DEFER a INSERT 1 1 a x UPDATE 1 1 gone 0 1 DELETE 1 1 a x TOUCH 1 => [deferred]
DIRTY.COMMIT user a => [[insert delete delete touch]]
"#,
    );
    let expected = [
        "entity-id: 1, op: insert",
        "entity-id: 1, op: delete",
        "entity-id: 1, op: delete",
        "entity-id: 1, op: update",
    ];
    assert_eq!(read_all(&server, "s"), expected);
}

#[test]
fn many_tokens_do_not_take_long() {
    let (_server, mut redis) = declared("STREAM s PAYLOAD KEYS");
    let before = redis.cpu();
    let tokens: Vec<String> = (0..5_000).map(|n| format!("token{n}")).collect();
    for token in &tokens {
        redis
            .send(&words(&format!(
                "DIRTY.FLUSH user DEFER {token} SNAPSHOT 1 1 a {token}"
            )))
            .expect("a connection");
    }
    for _ in &tokens {
        redis.receive().expect("a reply");
    }
    let unknown = " x".repeat(100_000);
    let commit = format!("DIRTY.COMMIT user {}{unknown}", tokens.join(" "));
    let (updates, nulls) = (" [update]".repeat(4_999), " nil".repeat(100_000));
    assert!(redis.run(&commit) == format!("[[insert]{updates}{nulls}]"));
    assert_eq!(redis.run("HGETALL user:1"), "[a token4999]");
    assert_eq!(redis.run("XLEN s"), "(5000)");
    let took = redis.cpu() - before;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn neither_waiting_flushes_nor_tokens_grow_the_memory() {
    let (_server, mut redis) = declared("VERSION v TOMBSTONE 1 STREAM s MAXLEN 10");
    let commands = [
        "DIRTY.FLUSH user DEFER a META 1 a b WITHEVENTS SNAPSHOT 1 2 v 5 a x DELETE 1",
        "DIRTY.FLUSH user DEFER a META 1 a b WITHEVENTS SNAPSHOT 1 2 v 5 a x DELETE 1",
        "DIRTY.FLUSH user DEFER b UPDATE 404 1 v 1",
        "DIRTY.DEFERRED user",
        "DIRTY.COMMIT user a b",
        "DIRTY.COMMIT user a x a",
        "DIRTY.ABORT user b x",
        "DIRTY.FLUSH user ONCE t WITHEVENTS SNAPSHOT 2 1 v 5 DELETE 2 1 v 6",
        "DIRTY.FLUSH user ONCE t DELETE 404",
        "DEL user@once:t user:1 user:2",
    ];
    let memory_after = |rounds: usize| {
        for _ in 0..rounds {
            for command in commands {
                redis.run(command);
            }
        }
        redis.used_memory()
    };
    assert!(!leaks(1_000, 20_000, memory_after));
}

#[test]
fn a_flush_is_counted_when_it_is_carried_out() {
    let (_server, mut redis) = declared("STREAM s");
    let mut counted = |command: &str, lines: [&str; 3]| {
        redis.run(command);
        let info = redis.run("INFO dirty");
        for line in lines {
            assert!(
                info.contains(&format!("dirty_{line}\\r")),
                "{command}: {line} in {info}"
            );
        }
    };
    counted(
        "DIRTY.FLUSH user DEFER a INSERT 1 0 DELETE 2",
        ["flushes:0", "ops_insert:0", "events_published:0"],
    );
    counted(
        "DIRTY.FLUSH user DEFER b TOUCH 1",
        ["flushes:0", "ops_touch:0", "errors:0"],
    );
    counted(
        "DIRTY.FLUSH user DEFER c UPDATE 404 0",
        ["flushes:0", "ops_touch:0", "errors:0"],
    );
    counted(
        "DIRTY.COMMIT user a c",
        ["flushes:0", "ops_insert:0", "errors:1"],
    );
    counted(
        "DIRTY.COMMIT user a x b",
        ["flushes:2", "ops_insert:1", "ops_none:1"],
    );
    counted(
        "DIRTY.COMMIT user a",
        ["flushes:2", "ops_touch:1", "events_published:2"],
    );
    counted(
        "DIRTY.FLUSH user ONCE t TOUCH 1",
        ["flushes:3", "ops_touch:2", "events_published:3"],
    );
    counted(
        "DIRTY.FLUSH user ONCE t TOUCH 1",
        ["flushes:3", "ops_touch:2", "events_published:3"],
    );
}
