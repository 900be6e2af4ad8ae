//! What puts a stored state right: FORCE, DRYRUN, a token of ONCE that is answered first, TOUCH of anything.

use super::support::entities::declared;
use super::support::readers::read_all;
use super::support::replication::{AOF, appended};
use super::support::{Conn, Server, cases};

/// What a flush may change here and elsewhere.
fn state(redis: &mut Conn) -> [String; 2] {
    [redis.digest(), redis.replicated()]
}

/// Lines `flush => reply of DRYRUN | reply of the flush`, each after the others. Ids of events are `ID`.
const DRY: &str = r#"
INSERT 1 2 v 1 a x => [insert] | [insert]
WITHEVENTS UPDATE 1 2 v 2 a y => [[update [v a] [s nil t nil]]] | [[update [v a] [s ID t ID]]]
WITHEVENTS SNAPSHOT 1 2 v 2 a z SNAPSHOT 1 2 v 1 a z SNAPSHOT 1 2 v 2 a y
  => [[conflict [] []] [stale [] []] [none [] []]] | [[conflict [] []] [stale [] []] [none [] []]]
WITHEVENTS FORCE SNAPSHOT 1 3 v 2 a y b z => [[update [b] [s nil]]] | [[update [b] [s ID]]]
# Operations see what those before them would do.
DELETE 1 DELETE 1 1 v 2 INSERT 1 1 v 3 TOUCH 1 => [delete none insert touch] | [delete none insert touch]
WITHEVENTS META 1 a b TOUCH 1 SEED 2 1 v 1 TOUCH 3
  => [[touch [] [s nil t nil]] [seed [v] []] [none [] []]] | [[touch [] [s ID t ID]] [seed [v] []] [none [] []]]
SNAPSHOT 4 2 v 1 gone 1 => [hidden] | [hidden]
UPDATE 4 1 v 2 NULL 1 gone => [insert] | [insert]
DELETE 5 1 v 1 => [none] | [none]
INSERT 1 2 v 9 a q => EXISTS entity "1" exists with other values | EXISTS entity "1" exists with other values
UPDATE 404 1 v 1 => NOENTITY there is no entity "404" | NOENTITY there is no entity "404"
SNAPSHOT 1 0 => BADVALUE field "v" must give the entity's version | BADVALUE field "v" must give the entity's version
SNAPSHOT list 1 v 1 => WRONGTYPE the key "user:list" does not hold a hash | WRONGTYPE the key "user:list" does not hold a hash
"#;

#[test]
fn a_dry_run_tells_the_effects_and_changes_nothing() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let _replica = Server::replica_of(&server);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user VERSION v SOFTDELETE gone STREAM s STREAM t OPS NONE FIELDS 1 a");
    redis.run("RPUSH user:list x");
    redis.run("CONFIG SET notify-keyspace-events KEA");
    let mut heard = server.connect();
    heard.ok(&["PSUBSCRIBE", "__keyspace@*"]);
    for (flush, expected) in cases(DRY) {
        let (dry, real) = expected.split_once(" | ").expect("two replies");
        let before = state(&mut redis);
        let counted = counters(&mut redis);
        redis.run("PUBLISH __keyspace@ from-here");
        let reply = redis.run(&format!("DIRTY.FLUSH user DRYRUN {flush}"));
        assert_eq!(reply, dry, "{flush}");
        redis.run("PUBLISH __keyspace@ to-here");
        while !super::support::text(&heard.receive().expect("a message")).ends_with("from-here]") {}
        let next = super::support::text(&heard.receive().expect("a message"));
        assert!(next.ends_with("to-here]"), "{flush}: {next}");
        assert_eq!(redis.digest(), before[0], "{flush}");
        assert_eq!(counters(&mut redis), counted, "{flush}");
        let reply = redis.run(&format!("DIRTY.FLUSH user {flush}"));
        assert_eq!(without_ids(&reply), real, "{flush}");
    }
    // Not even the next id is another one.
    let length = redis.run("XLEN s").replace(['(', ')'], "");
    let last = redis.run("XREVRANGE s + - COUNT 1");
    assert!(last.contains(&format!("-{length} [")), "{length}: {last}");
}

/// Counters of effects and events.
fn counters(redis: &mut Conn) -> Vec<String> {
    let info = redis.run("INFO dirty");
    let lines = info.split("\\r\\n").filter(|line| {
        ["dirty_ops", "dirty_flushes", "dirty_events"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    lines.map(String::from).collect()
}

/// Ids of events as `ID`.
fn without_ids(reply: &str) -> String {
    let words = reply.split(' ').map(|word| {
        let end = word.trim_end_matches(']');
        let is_id = end.split_once('-').is_some_and(|(ms, _)| ms.len() == 13);
        match is_id {
            true => word.replace(end, "ID"),
            false => word.into(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_dry_run_is_refused_where_the_flush_would_be() {
    let (_server, mut redis) = declared("STREAM s MAXLEN 1 ONFULL REFUSE");
    redis.expect(
        r#"
XGROUP CREATE s g $ MKSTREAM => OK
DIRTY.FLUSH user INSERT 1 0 => [insert]
DIRTY.FLUSH user DRYRUN INSERT 2 0
  => FULL the stream "s" cannot take 1 more: at most 1 entries may wait until every reader has acknowledged them; the native group "g" is furthest behind
DIRTY.FLUSH user DRYRUN SEED 2 0 => [seed]
DIRTY.FLUSH user DRYRUN SNAPSHOT 1 0 => [none]
CONFIG SET dirty.max-ops 1 => OK
DIRTY.FLUSH user DRYRUN DELETE 1 DELETE 1 => LIMIT 2 operations, but dirty.max-ops is 1
DIRTY.DECLARE stateless STATELESS STREAM t => OK
DIRTY.FLUSH stateless DRYRUN WITHEVENTS INSERT 1 1 a x => [[insert [a] [t nil]]]
EXISTS t user:2 => (0)
"#,
    );
}

#[test]
fn a_flush_that_waits_keeps_its_force() {
    let (mut server, mut redis) = declared("VERSION v STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 2 v 5 a x => [insert]
DIRTY.FLUSH user FORCE DEFER a SNAPSHOT 1 2 v 3 a y => [deferred]
DIRTY.FLUSH user DEFER b SNAPSHOT 1 2 v 2 a z => [deferred]
DIRTY.FLUSH user DEFER c FORCE WITHEVENTS UPDATE 1 2 v 1 a w => [deferred]
# The same flush without it is another one.
DIRTY.FLUSH user DEFER a SNAPSHOT 1 2 v 3 a y => EXISTS another flush waits under the token "a"
DIRTY.FLUSH user DEFER a FORCE SNAPSHOT 1 2 v 3 a y => [deferred]
"#,
    );
    redis.run("SAVE");
    server.restart();
    let mut redis = server.connect();
    assert_eq!(
        without_ids(&redis.run("DIRTY.COMMIT user a b c")),
        "[[update] [stale] [[update [v a] [s ID]]]]"
    );
    assert_eq!(redis.run("HGETALL user:1"), "[v 1 a w]");
}

#[test]
fn a_known_token_is_answered_before_anything_else_is_looked_at() {
    let (_server, mut redis) = declared("TYPES 1 i int STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user ONCE t INSERT 1 1 a x => [insert]
DIRTY.FLUSH user ONCE d DEFER waits DELETE 1 => [deferred]
"#,
    );
    let before = redis.digest();
    let malformed = [
        "ONCE t",
        "ONCE t FLY 1",
        "ONCE t 0 DELETE 1",
        "ONCE t 5 ONCE u DELETE 1",
        "ONCE t UPDATE 1 1 i x",
        "ONCE t SNAPSHOT 1 JSON {",
        "ONCE t META 5 a b",
        "ONCE t DRYRUN DELETE 1",
        "META 1 a b FORCE ONCE t",
    ];
    for flush in malformed {
        let reply = redis.run(&format!("DIRTY.FLUSH user {flush}"));
        assert_eq!(reply, "[insert]", "{flush}");
    }
    // A token that cannot be found, or is not known, answers nothing.
    for (flush, error) in [
        (
            "META 2 a b ONCE t",
            "ERR a flush requires at least one operation",
        ),
        (
            "META x ONCE t DELETE 1",
            "ERR the count of META must be an integer, 0 or more, not \"x\"",
        ),
        ("ONCE u FLY 1", "ERR unknown operation \"FLY\""),
        (
            "DELETE 1 ONCE t",
            "ERR ONCE must stand before the operations",
        ),
    ] {
        let reply = redis.run(&format!("DIRTY.FLUSH user {flush}"));
        assert_eq!(reply, error, "{flush}");
    }
    assert_eq!(redis.digest(), before);
    // Whatever is declared by now, and if nothing is.
    redis.expect(
        r#"
DIRTY.DECLARE user STATELESS STREAM other => OK
DIRTY.FLUSH user ONCE t INSERT 1 1 a x => [insert]
DIRTY.FLUSH user ONCE t SEED 1 0 => [insert]
DEL user => (1)
DIRTY.FLUSH user ONCE t INSERT 1 1 a x => [insert]
DIRTY.FLUSH user ONCE d DEFER waits DELETE 1 => [deferred]
DIRTY.FLUSH user ONCE u INSERT 1 1 a x => NODECL no entity type is declared at "user"
CONFIG SET dirty.max-ops 1 => OK
DIRTY.FLUSH user ONCE t DELETE 1 DELETE 2 => [insert]
"#,
    );
}

#[test]
fn a_touch_reaches_every_stream_that_an_update_could_reach() {
    let streams = ["u", "iud", "id", "trigger", "id_trigger"];
    let declaration = "STREAM u OPS U STREAM iud STREAM id OPS ID STREAM trigger OPS NONE FIELDS 1 never \
                       STREAM id_trigger OPS ID FIELDS 2 a b";
    for (stateless, operations, effects) in [
        ("", "SEED 1 1 a x TOUCH 1", "[seed touch]"),
        ("", "TOUCH 404", "[none]"),
        ("STATELESS", "TOUCH 404", "[touch]"),
    ] {
        let (server, mut redis) = declared(&format!("{stateless} {declaration}"));
        assert_eq!(
            redis.run(&format!("DIRTY.FLUSH user {operations}")),
            effects
        );
        let got: Vec<&str> = streams
            .into_iter()
            .filter(|stream| redis.run(&format!("EXISTS {stream}")) == "(1)")
            .collect();
        match effects {
            "[none]" => assert!(got.is_empty(), "{got:?}"),
            _ => {
                assert_eq!(got, ["u", "iud", "trigger", "id_trigger"]);
                for stream in got {
                    assert_eq!(read_all(&server, stream).len(), 1, "{stream}");
                }
            }
        }
    }
}

/// `SEED 1 … TOUCH 1` over a tombstone once refused the whole batch.
#[test]
fn a_batch_with_a_tombstone_in_it_goes_on() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user VERSION v STREAM s PAYLOAD KEYS");
    redis.run("DIRTY.FLUSH user DELETE 1 1 v 5");
    let (_, start) = appended(&server, 0);
    redis.expect(
        "DIRTY.FLUSH user SEED 1 1 v 5 TOUCH 1 SEED 2 1 v 1 TOUCH 2 => [stale none seed touch]",
    );
    assert_eq!(
        appended(&server, start).0,
        ["MULTI", "HSET user:2 v 1", "XADD s ms-1 s BYTES", "EXEC"]
    );
}

#[test]
fn conflicts_and_hidden_changes_are_counted() {
    let (_server, mut redis) = declared("VERSION v SOFTDELETE gone STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 1 2 v 1 gone 1 SNAPSHOT 1 2 v 1 gone 2 SNAPSHOT 1 1 v 1 => [hidden conflict conflict]
DIRTY.FLUSH user DRYRUN SNAPSHOT 1 2 v 1 gone 2 DELETE 1 => [conflict hidden]
DIRTY.FLUSH user ONCE t SNAPSHOT 1 2 v 1 gone 2 UPDATE 1 2 v 2 a x => [conflict hidden]
DIRTY.FLUSH user ONCE t DELETE 1 => [conflict hidden]
"#,
    );
    let info = redis.run("INFO dirty");
    for line in [
        "dirty_ops_conflict:3",
        "dirty_ops_hidden:2",
        "dirty_events_published:0",
    ] {
        assert!(info.contains(&format!("{line}\\r")), "{line} in {info}");
    }
}
