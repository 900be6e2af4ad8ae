//! PAUSE, SEEK, FORGET, STATS.

use crate::support::readers::field;
use crate::support::story::Story;
use crate::support::{Conn, Server, text, words};
use redis::Value;

#[test]
fn a_paused_group_gives_nothing_and_takes_acknowledgements() {
    Story::with(&["1", "2"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.PAUSE s GROUP g ON => OK
DIRTY.CONSUME s GROUP g a =>\x20
DIRTY.ACK s GROUP g a #1 => []
DIRTY.READER s GROUP g CLAIM 5 => OK
DIRTY.CONSUME s GROUP g a =>\x20
DIRTY.PAUSE s GROUP g OFF => OK
DIRTY.CONSUME s GROUP g a => #2
DIRTY.PAUSE s GROUP g MAYBE => ERR PAUSE must be ON or OFF, not \"MAYBE\"
",
    );
}

#[test]
fn a_group_moves_forward_and_back() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM $ => OK
DIRTY.CONSUME s GROUP g a =>\x20
DIRTY.SEEK s GROUP g #1 => OK
DIRTY.CONSUME s GROUP g a => #2 #3
DIRTY.SEEK s GROUP g 0 => OK
DIRTY.CONSUME s GROUP g b => #1 #2 #3
DIRTY.ACK s GROUP g a #2 => [#2]
DIRTY.SEEK s GROUP g $ => OK
DIRTY.CONSUME s GROUP g b =>\x20
",
    );
}

#[test]
fn stats_tell_of_every_reader_whoever_keeps_its_state() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 3 WHERE ID 2 1 2 => OK
DIRTY.READER s CURSOR c FROM #2 SHARD 0 1 => OK
XGROUP CREATE s n 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
",
    );
    let stats = story.run("DIRTY.STATS s");
    for part in [
        "length (3)",
        "dead (0)",
        "name g kind group lag (2)",
        "missed (0) position #1",
        "where [ID 2 1 2]",
        "delivered (1) redelivered (0) acknowledged (0) failed (0) died (0) rejected (0) missed-total (0)",
        "order NONE claim-ms (60000) max-pending (10000) max-deliveries (3) on-dead SKIP pending (1) held (1)",
        "consumers [[name a pending (1)",
        "name c kind cursor lag (1)",
        "name n kind native lag (3)",
    ] {
        assert!(stats.contains(part), "{part} in {stats}");
    }
    let alone = story.run("DIRTY.STATS none");
    assert!(alone.ends_with("readers []]"), "{alone}");
}

/// A reader of DIRTY.STATS as `name value` pairs, without times and bytes.
fn stats_of(redis: &mut Conn, reader: &str) -> Vec<(String, String)> {
    let stats = redis.ok(&["DIRTY.STATS", "s"]);
    let Some(Value::Array(readers)) = field(&stats, "readers") else {
        panic!("{}", text(&stats));
    };
    let is_meant = |other: &&Value| field(other, "name").is_some_and(|name| text(&name) == reader);
    let Some(Value::Array(found)) = readers.iter().find(is_meant) else {
        panic!("{}", text(&stats));
    };
    let pairs = found.chunks_exact(2);
    let pairs = pairs.map(|pair| (text(&pair[0]), text(&pair[1])));
    pairs.filter(|(name, _)| name != "bytes").collect()
}

#[test]
fn stats_tell_all_settings_and_numbers_of_a_reader() {
    let mut story = Story::with(&["1", "2", "1", "3"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY CLAIM 7000 MAXPENDING 9 MAXDELIVERIES 3 DEAD graves ONDEAD PARK MINAGE 0 WHERE OPS I REVISION 4 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.CONSUME s GROUP g b COUNT 1 => #2 | more
DIRTY.FAIL s GROUP g b why FATAL #2 => [dead]
DIRTY.CONSUME s GROUP g b => #4
DIRTY.PAUSE s GROUP g ON => OK
",
    );
    let numbers = stats_of(&mut story.redis, "g");
    let told = numbers
        .iter()
        .filter(|(name, _)| {
            ![
                "oldest-unread-ms",
                "position",
                "lowest-pending-id",
                "consumers",
            ]
            .contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name} {value}"));
    assert_eq!(
        told.collect::<Vec<_>>().join(", "),
        "name g, kind group, lag (0), missed (0), dead graves, min-age-ms (0), where [OPS I], revision (4), \
         delivered (3), redelivered (0), acknowledged (0), failed (1), died (1), rejected (0), missed-total (0), \
         order ENTITY, claim-ms (7000), max-pending (9), max-deliveries (3), on-dead PARK, pending (3), held (2), \
         due (0), queued (1), held-keys (2), parked-keys (1), stalled (0), paused (1), turn nil"
    );
    // Without entries to read nobody is late, however old the last one is.
    assert!(numbers.contains(&("oldest-unread-ms".into(), "(0)".into())));
    story.publish(&["5"]);
    std::thread::sleep(std::time::Duration::from_millis(5));
    let oldest = |story: &mut Story| {
        let numbers = stats_of(&mut story.redis, "g");
        let (_, ms) = numbers
            .into_iter()
            .find(|(name, _)| name == "oldest-unread-ms")
            .expect("an age");
        ms.trim_matches(['(', ')']).parse::<u64>().expect("an age")
    };
    assert!((5..5000).contains(&oldest(&mut story)));
}

/// As totals, and what was refused.
#[test]
fn info_adds_up_all_readers_of_all_streams() {
    let server = Server::with(&["--dirty.max-queued", "1"]);
    let mut story = Story::on(server);
    let told = |story: &mut Story, fields: &[&str]| {
        let numbers = fields.iter().map(|field| story.redis.info(field));
        numbers.collect::<Vec<_>>().join(" ")
    };
    let fields = [
        "groups",
        "cursors",
        "paused",
        "stalled",
        "pending",
        "due",
        "queued",
        "held_keys",
        "parked_keys",
        "delivered",
        "redelivered",
        "acknowledged",
        "failed",
        "died",
        "rejected",
        "missed",
    ];
    let fields = fields.map(|field| format!("dirty_readers_{field}"));
    let fields = fields.each_ref().map(String::as_str);
    assert_eq!(told(&mut story, &fields), "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
    story.publish(&["1", "1", "1", "2"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.READER other GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.PAUSE other GROUP g ON => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.CONSUME s GROUP g b =>\x20
DIRTY.READER nobody CURSOR x => ERR \"x\" is new, so it requires FROM
",
    );
    assert_eq!(told(&mut story, &fields), "2 1 1 1 2 0 1 1 0 1 0 0 0 0 0 0");
    story.expect(
        "
DIRTY.ACK s GROUP g a #1 => []
DIRTY.CONSUME s GROUP g a COUNT 1 => #2 | more
DIRTY.FAIL s GROUP g a why DELAY 0 #2 => [retry]
DIRTY.CONSUME s GROUP g a => #2:2!1 #3 #4
DIRTY.FORGET other GROUP g => (1)
",
    );
    assert_eq!(told(&mut story, &fields), "1 1 0 0 3 0 0 2 0 5 1 1 1 0 0 0");
    // At once: Valkey otherwise frees in a thread of its own, and INFO counts readers until then.
    story.expect("FLUSHALL SYNC => OK");
    assert_eq!(told(&mut story, &fields), "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
}

#[test]
fn info_counts_what_full_streams_and_limits_refused() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect(
        "
DIRTY.DECLARE user STREAM s MAXLEN 1 ONFULL REFUSE => OK
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]
DIRTY.FLUSH user SNAPSHOT 2 1 a b => FULL the stream \"s\" cannot take 1 more: at most 1 entries may wait until every reader has acknowledged them; the group \"g\" is furthest behind
DIRTY.FLUSH user DEFER t SNAPSHOT 2 1 a b => [deferred]
DIRTY.COMMIT user t => FULL the stream \"s\" cannot take 1 more: at most 1 entries may wait until every reader has acknowledged them; the group \"g\" is furthest behind
CONFIG SET dirty.max-event-bytes 1 => OK
DIRTY.COMMIT user t => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1, in the flush that waits under the token \"t\"
CONFIG SET dirty.max-ops 1 => OK
DIRTY.FLUSH user DELETE 1 DELETE 2 => LIMIT 2 operations, but dirty.max-ops is 1
DIRTY.GET user 1 2 => LIMIT 2 ids, but dirty.max-ops is 1
DIRTY.FLUSH user FLY => ERR unknown operation \"FLY\"
",
    );
    let counted = ["refused_full", "refused_limit", "errors"];
    let counted = counted.map(|name| redis.info(&format!("dirty_{name}")));
    assert_eq!(counted, ["2", "3", "6"]);
}

#[test]
fn totals_are_those_of_the_data_that_is_there() {
    let mut story = Story::with(&["1", "2"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a => #1 #2
COPY s:readers t:readers => (1)
",
    );
    let replica = Server::replica_of(&story.server);
    story.server.wait_for_replica(&replica);
    for redis in [&mut story.redis, &mut replica.connect()] {
        let told = ["groups", "pending", "delivered"];
        let told = told.map(|field| redis.info(&format!("dirty_readers_{field}")));
        assert_eq!(told, ["2", "4", "4"]);
    }
    let stats = story.redis.value(&words("DIRTY.STATS none"));
    assert_eq!(field(&stats, "readers"), Some(Value::Array(Vec::new())));
}

/// Who was seen when is in no file. Nobody is silent since 1970 for that.
#[test]
fn silence_begins_with_a_start_of_the_server_and_is_unknown_on_a_replica() {
    let server = Server::with(&["--appendonly", "yes"]);
    let mut story = Story::on(server);
    story.publish(&["1"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a => #1
",
    );
    let consumers = |redis: &mut Conn| {
        let stats = stats_of(redis, "g");
        let (_, consumers) = stats
            .into_iter()
            .find(|(name, _)| name == "consumers")
            .expect("them");
        consumers
    };
    let replica = Server::replica_of(&story.server);
    story.server.wait_for_replica(&replica);
    assert_eq!(
        consumers(&mut replica.connect()),
        "[[name a pending (1) idle-ms nil waiting nil]]"
    );
    story.server.restart();
    let told = consumers(&mut story.server.connect());
    let idle = told.strip_prefix("[[name a pending (1) idle-ms (");
    let idle = idle.and_then(|rest| rest.strip_suffix(") waiting (0)]]"));
    let idle: u64 = idle.expect("its idle time").parse().expect("a number");
    assert!(idle < 10_000, "{told}");
    replica.connect().run("REPLICAOF NO ONE");
    let promoted = consumers(&mut replica.connect());
    assert!(
        promoted.starts_with("[[name a pending (1) idle-ms ("),
        "{promoted}"
    );
}
