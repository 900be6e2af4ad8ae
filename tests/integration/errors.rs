//! Every wrong use of every command: its exact reply, and that nothing came of it.

use super::support::wrong::{seed, seeded, state};
use super::support::{Server, cases, words};
use std::fmt::Write;
use std::time::{Duration, Instant};

const TABLES: &[&str] = &[
    DECLARE, FLUSH, COMMIT, ABORT, DEFERRED, GET, INFO, READER, CONSUME, READ, ACK, HOLD, FAIL,
    LEAVE, PENDING, REDRIVE, DISCARD, PAUSE, SEEK, FORGET, STATS, DELTA, SCAN, RECONCILE,
];

const DECLARE: &str = include_str!("errors/declare.txt");
const FLUSH: &str = include_str!("errors/flush.txt");
const COMMIT: &str = include_str!("errors/commit.txt");
const ABORT: &str = include_str!("errors/abort.txt");
const DEFERRED: &str = include_str!("errors/deferred.txt");
const GET: &str = include_str!("errors/get.txt");
const INFO: &str = include_str!("errors/info.txt");
const READER: &str = include_str!("errors/reader.txt");
const CONSUME: &str = include_str!("errors/consume.txt");
const READ: &str = include_str!("errors/read.txt");
const ACK: &str = include_str!("errors/ack.txt");
const HOLD: &str = include_str!("errors/hold.txt");
const FAIL: &str = include_str!("errors/fail.txt");
const LEAVE: &str = include_str!("errors/leave.txt");
const PENDING: &str = include_str!("errors/pending.txt");
const REDRIVE: &str = include_str!("errors/redrive.txt");
const DISCARD: &str = include_str!("errors/discard.txt");
const PAUSE: &str = include_str!("errors/pause.txt");
const SEEK: &str = include_str!("errors/seek.txt");
const FORGET: &str = include_str!("errors/forget.txt");
const STATS: &str = include_str!("errors/stats.txt");
const DELTA: &str = include_str!("errors/delta.txt");
const SCAN: &str = include_str!("errors/scan.txt");
const RECONCILE: &str = include_str!("errors/reconcile.txt");

#[test]
fn wrong_declarations_are_refused_and_change_nothing() {
    is_refused(DECLARE);
}

#[test]
fn wrong_flushes_are_refused_and_change_nothing() {
    is_refused(FLUSH);
}

#[test]
fn wrong_commits_are_refused_and_change_nothing() {
    is_refused(COMMIT);
}

#[test]
fn wrong_aborts_are_refused_and_change_nothing() {
    is_refused(ABORT);
}

#[test]
fn wrong_deferreds_are_refused_and_change_nothing() {
    is_refused(DEFERRED);
}

#[test]
fn wrong_gets_are_refused_and_change_nothing() {
    is_refused(GET);
}

#[test]
fn wrong_scans_are_refused_and_change_nothing() {
    is_refused(SCAN);
}

#[test]
fn wrong_reconciliations_are_refused_and_change_nothing() {
    is_refused(RECONCILE);
}

#[test]
fn wrong_infos_are_refused_and_change_nothing() {
    is_refused(INFO);
}

#[test]
fn wrong_readers_are_refused_and_change_nothing() {
    is_refused(READER);
}

#[test]
fn wrong_consumes_are_refused_and_change_nothing() {
    is_refused(CONSUME);
}

#[test]
fn wrong_reads_are_refused_and_change_nothing() {
    is_refused(READ);
}

#[test]
fn wrong_acks_are_refused_and_change_nothing() {
    is_refused(ACK);
}

#[test]
fn wrong_holds_are_refused_and_change_nothing() {
    is_refused(HOLD);
}

#[test]
fn wrong_failures_are_refused_and_change_nothing() {
    is_refused(FAIL);
}

#[test]
fn who_is_not_there_cannot_leave_and_changes_nothing() {
    is_refused(LEAVE);
}

#[test]
fn wrong_looks_at_what_is_pending_are_refused_and_change_nothing() {
    is_refused(PENDING);
}

#[test]
fn wrong_redrives_are_refused_and_change_nothing() {
    is_refused(REDRIVE);
}

#[test]
fn wrong_discards_are_refused_and_change_nothing() {
    is_refused(DISCARD);
}

#[test]
fn wrong_pauses_are_refused_and_change_nothing() {
    is_refused(PAUSE);
}

#[test]
fn wrong_seeks_are_refused_and_change_nothing() {
    is_refused(SEEK);
}

#[test]
fn who_is_not_there_cannot_be_forgotten_and_changes_nothing() {
    is_refused(FORGET);
}

#[test]
fn wrong_stats_are_refused_and_change_nothing() {
    is_refused(STATS);
}

#[test]
fn wrong_changes_of_readers_are_refused_and_change_nothing() {
    is_refused(DELTA);
}

#[test]
fn no_refused_command_replicates_anything() {
    // A primary's own pings move the offset, too.
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let mut redis = server.connect();
    seed(&mut redis);
    let replica = Server::replica_of(&server);
    server.wait_for_replica(&replica);
    let before = redis.replicated();
    for (command, reply) in all_cases() {
        assert_eq!(redis.run(&command), reply, "{command}");
        assert_eq!(redis.replicated(), before, "{command}");
    }
    // The offset does move when something is replicated.
    redis.ok(&["SET", "a", "b"]);
    assert_ne!(redis.replicated(), before);
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
}

/// Wrong ones, and right ones that are past the limits; `REFUSALS=1000000` sends more.
#[test]
fn refused_commands_do_not_grow_the_memory() {
    let refusals = std::env::var("REFUSALS").ok();
    let refusals = refusals.map_or(20_000, |text| text.parse().expect("a number"));
    let (server, mut redis) = seeded();
    let mut all: Vec<Vec<Vec<u8>>> = all_cases().iter().map(|(line, _)| words(line)).collect();
    // One more byte than a setting allows, in each way to give it.
    redis.run("CONFIG SET dirty.max-fields 200");
    redis.run("CONFIG SET dirty.max-value-bytes 100000");
    let large = "x".repeat(100_001);
    let fields: Vec<String> = (0..201).map(|i| format!("f{i} 1")).collect();
    let json: Vec<String> = (0..201).map(|i| format!("\"f{i}\":1")).collect();
    for line in [
        format!("DIRTY.FLUSH user SNAPSHOT 1 1 a {large}"),
        format!("DIRTY.FLUSH user DEFER d SNAPSHOT 1 JSON {{\"a\":\"{large}\"}}"),
        format!("DIRTY.FLUSH user META 1 m {large} TOUCH 1"),
        format!("DIRTY.FLUSH user TOUCH {large}"),
        format!("DIRTY.FLUSH user SNAPSHOT 1 201 {}", fields.join(" ")),
        format!("DIRTY.FLUSH user SNAPSHOT 1 JSON {{{}}}", json.join(",")),
        format!("DIRTY.FLUSH user{}", " TOUCH 1".repeat(10_001)),
        format!("DIRTY.GET user{}", " 1".repeat(10_001)),
    ] {
        let reply = redis.run(&line);
        assert!(reply.starts_with("LIMIT "), "{reply}");
        all.push(words(&line));
    }
    let digest = redis.digest();
    let mut sent = all.iter().cycle();
    let mut memory_after = |times: usize| {
        for _ in 0..times.div_ceil(100) {
            let batch = sent.by_ref().take(100);
            for command in batch {
                redis.send(command).expect("sent");
            }
            for _ in 0..100 {
                redis.receive().expect("a reply");
            }
        }
        redis.ok(&["PING"]);
        // What a connection keeps for its next command goes with it.
        redis = server.connect();
        std::thread::sleep(Duration::from_millis(50));
        redis.used_memory()
    };
    memory_after(all.len().max(2_000)); // statistics come to be
    let before = memory_after(all.len());
    let after = memory_after(refusals);
    println!("used_memory {before}, after {refusals} refusals {after}");
    assert!(after - before < 20_000, "{} bytes", after - before);
    assert_eq!(redis.digest(), digest);
}

/// `?` stands for what a client sent, in the command and in the reply.
const QUOTING: &str = r#"
DIRTY.FLUSH ? SNAPSHOT 1 0 => NODECL no entity type is declared at ?
DIRTY.GET ? 1 => NODECL no entity type is declared at ?
DIRTY.INFO ? => NODECL no entity type is declared at ?
DIRTY.SCAN ? 0 => NODECL no entity type is declared at ?
DIRTY.SCAN user ? => ERR invalid cursor ?, expected 0 or one that a reply gave
DIRTY.SCAN user 0 ? => ERR unknown option ?
DIRTY.RECONCILE ? BEGIN r => NODECL no entity type is declared at ?
DIRTY.RECONCILE user ? r => ERR RECONCILE must be BEGIN, SWEEP, ABORT or STATUS, not ?
DIRTY.RECONCILE user STATUS ? => NORUN there is no run ? of "user"; begin one
DIRTY.RECONCILE user SWEEP r MAXDELETE ? => ERR MAXDELETE must be a number or a part from 0% to 100%, not ?
DIRTY.FLUSH user RUN ? SNAPSHOT 1 0 => NORUN there is no run ? of "user"; begin one
DIRTY.FLUSH user ? => ERR unknown operation ?
DIRTY.FLUSH user SNAPSHOT 3 ? => ERR the count of SNAPSHOT must be an integer, 0 or more, not ?
DIRTY.FLUSH user SNAPSHOT 3 2 ? a ? b => ERR field ? is named twice
DIRTY.FLUSH user SNAPSHOT 3 1 i ? => BADVALUE field "i" takes a 64-bit signed integer, not ?
DIRTY.FLUSH user SNAPSHOT 3 1 j ? => BADVALUE field "j" takes JSON of at most 32 levels, without repeated keys and exponents of more than 14 digits, not ?
DIRTY.FLUSH user UPDATE ? 0 => NOENTITY there is no entity ?
DIRTY.FLUSH user INSERT ? 1 a b INSERT ? 1 a c => EXISTS entity ? exists with other values
DIRTY.FLUSH user DEFER ? FLY => ERR unknown operation "FLY"
DIRTY.FLUSH versioned SNAPSHOT 1 1 v ? => BADVALUE field "v" takes a 64-bit signed integer, not ?
DIRTY.FLUSH numbered TOUCH ?
  => BADVALUE the id ? is not a 64-bit unsigned integer, as FORMAT FLUXAORM2 of the stream "numbers" requires
DIRTY.COMMIT ? t => NODECL no entity type is declared at ?
DIRTY.ABORT ? t => NODECL no entity type is declared at ?
DIRTY.DEFERRED user ? => ERR unknown option ?
DIRTY.DECLARE new ? => ERR unknown option ?
DIRTY.DECLARE new STREAM s OPS ? => ERR OPS must be letters of IUD or NONE, not ?
DIRTY.DECLARE new STREAM s MAXLEN ? => ERR MAXLEN must be an integer from 0 to 9223372036854775807, not ?
DIRTY.DECLARE new STREAM ? STREAM ? => ERR stream ? is declared twice
DIRTY.DECLARE new STREAM s FIELDS 2 ? ? => ERR field ? is named twice
DIRTY.DECLARE ? STREAM ? => ERR stream ? would be one of the declaration's own keys
DIRTY.DECLARE new STREAM s POOL ? 1 POOL ? 1 => ERR pool ? is mapped twice
DIRTY.DECLARE new TAGS 1 ? dirtyStream=A
  => ERR bad tag "dirtyStream=A" of field ?: it names a stream that the tag of ID does not declare
DIRTY.READER stream ? g FROM 0 => ERR the reader must be GROUP or CURSOR, not ?
DIRTY.READER stream GROUP ? => ERR ? is new, so it requires FROM
DIRTY.READER stream CURSOR new FROM 0 ? => ERR unknown option ?
DIRTY.READER stream GROUP new FROM ?
  => ERR invalid FROM ?, expected 0, $, a position, an event id or a time in ms
DIRTY.READER stream GROUP new FROM GROUP ? => ERR there is no native group ? on "stream"
DIRTY.READER stream GROUP new FROM 0 ORDER ? => ERR ORDER must be NONE, ENTITY, STREAM or META, not ?
DIRTY.READER stream GROUP new FROM 0 ONDEAD ? => ERR ONDEAD must be SKIP or PARK, not ?
DIRTY.READER stream GROUP new FROM 0 CLAIM ? => ERR CLAIM must be an integer from 0 to 9007199254740992, not ?
DIRTY.READER stream GROUP new FROM 0 WHERE OPS ? => ERR OPS must be letters of IUD, not ?
DIRTY.READER ? GROUP g FROM 0 DEAD ? => ERR the stream ? cannot take its own dead
DIRTY.CONSUME stream ? g => ERR the reader must be GROUP or CURSOR, not ?
DIRTY.CONSUME stream GROUP ? c => NOREADER there is no group ? on "stream"
DIRTY.CONSUME ? CURSOR c => NOREADER there is no cursor "c" on ?
DIRTY.CONSUME stream CURSOR mark ? => ERR unknown option ?
DIRTY.CONSUME stream CURSOR mark ACK ? => ERR invalid position ?, expected one that a reply gave
DIRTY.READ stream FROM ? => ERR invalid FROM ?, expected 0, $, a position, an event id or a time in ms
DIRTY.READ stream FROM 0 ? => ERR unknown option ?
DIRTY.ACK stream GROUP team t1 ? => ERR invalid event id ?, expected ms-seq
DIRTY.ACK stream CURSOR mark ? => ERR invalid position ?, expected one that a reply gave
DIRTY.ACK stream CURSOR ? 1-1/5 => NOREADER there is no cursor ? on "stream"
DIRTY.HOLD stream GROUP team t1 ? => ERR invalid event id ?, expected ms-seq
DIRTY.FAIL stream GROUP ? t1 why 1-1 => NOREADER there is no group ? on "stream"
DIRTY.FAIL stream GROUP team t1 why ? => ERR invalid event id ?, expected ms-seq
DIRTY.FAIL stream GROUP team t1 why DELAY ? 1-1
  => ERR DELAY must be an integer from 0 to 9007199254740992, not ?
DIRTY.LEAVE stream ? g c => ERR the reader must be GROUP, not ?
DIRTY.PENDING stream GROUP team ? => ERR unknown option ?
DIRTY.PENDING stream GROUP team AFTER ? => ERR invalid event id ?, expected ms-seq
DIRTY.REDRIVE stream GROUP team ? => ERR the selector must be ALL, ENTITY, KEY or IDS, not ?
DIRTY.DISCARD stream CURSOR ? ALL => NOREADER there is no cursor ? on "stream"
DIRTY.PAUSE stream GROUP team ? => ERR PAUSE must be ON or OFF, not ?
DIRTY.SEEK stream GROUP team ? => ERR invalid start ?, expected 0, $, a position, an event id or a time in ms
DIRTY.READER stream CURSOR new FROM SNAPSHOT 1 ? => NODECL no entity type is declared at ?
DIRTY.SEEK stream CURSOR mark SNAPSHOT 1 ? => NODECL no entity type is declared at ?
DIRTY.FORGET stream ? team => ERR the reader must be GROUP or CURSOR, not ?
DIRTY._DELTA ? LOAD x => ERR a change of readers does not fit those at ?
"#;

#[test]
fn a_value_in_an_error_is_quoted_escaped_and_bounded() {
    let long = "x".repeat(1_000);
    let values: [(&[u8], &str); 5] = [
        (b"a\r\nb\0c", r#""a\r\nb\x00c""#),
        (b"-ERR 'a' \"b\" \\", r#""-ERR 'a' \"b\" \\""#),
        (b"\xff\xfe\x80", r#""\xff\xfe\x80""#),
        ("é\t".as_bytes(), r#""\xc3\xa9\t""#),
        (long.as_bytes(), &format!("\"{}\"...", &long[..64])),
    ];
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    for (command, reply) in cases(QUOTING) {
        for (value, quoted) in values {
            let mut words = words(&command);
            for word in words.iter_mut().filter(|word| *word == b"?") {
                *word = value.to_vec();
            }
            assert_eq!(redis.raw(&words), reply.replace('?', quoted), "{command}");
        }
    }
    assert_eq!(state(&mut redis), before);
}

#[test]
fn a_field_named_twice_is_found_in_lists_of_any_length() {
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    for length in [2, 15, 16, 17, 18, 33, 1000] {
        let fields: Vec<String> = (1..length).map(|i| format!("f{i}")).collect();
        let (values, nulls) = (fields.join(" x "), fields.join(" "));
        for twice in [1, length / 2, length - 1].map(|i| format!("f{}", i.max(1))) {
            let one_less = length - 1;
            for command in [
                format!("DIRTY.FLUSH user SNAPSHOT 3 {length} {values} x {twice} y"),
                format!("DIRTY.FLUSH user INSERT 3 {length} {twice} y {values} x"),
                format!("DIRTY.FLUSH user UPDATE 1 {one_less} {values} x NULL 1 {twice}"),
                format!("DIRTY.FLUSH user SEED 3 0 NULL {length} {nulls} {twice}"),
                format!("DIRTY.DECLARE new STREAM s FIELDS {length} {nulls} {twice}"),
            ] {
                let reply = format!("ERR field \"{twice}\" is named twice");
                assert_eq!(redis.run(&command), reply, "{length}");
            }
        }
    }
    assert_eq!(state(&mut redis), before);
}

#[test]
fn hostile_sizes_are_refused_before_long() {
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    let json = many(1_000_000, "", |_| "[".into());
    let deletes = many(100_000, " ", |_| "DELETE 3".into());
    let again = many(10_000, " ", |_| "SNAPSHOT 3 1 a b DELETE 3".into());
    let streams = many(50_000, " ", |i| format!("STREAM s{i}"));
    let pools = many(50_000, " ", |i| format!("POOL p{i} 1"));
    let tags = many(30_000, " ", |i| format!("f{i} dirty=A{i}"));
    let tag = many(50_000, ",", |i| format!("A{i}"));
    let acks = many(100_000, " ", |i| format!("7-{i}"));
    redis.run("CONFIG SET dirty.max-ops 100000");
    let mut slow = Vec::new();
    let deep = "BADVALUE field \"j\" takes JSON of at most 32 levels, without repeated keys and exponents of more than 14 digits, not";
    for (command, reply) in [
        (
            format!("DIRTY.FLUSH user SNAPSHOT 3 1 j {json}"),
            format!("{deep} \"{}\"...", &json[..64]).as_str(),
        ),
        (
            format!("DIRTY.FLUSH user {deletes} FLY"),
            "ERR unknown operation \"FLY\"",
        ),
        (
            format!("DIRTY.FLUSH user {again} UPDATE 4 0"),
            "NOENTITY there is no entity \"4\"",
        ),
        (
            format!("DIRTY.DECLARE new {streams} STREAM s1"),
            "ERR stream \"s1\" is declared twice",
        ),
        (
            format!("DIRTY.DECLARE new STREAM s {pools} POOL p1 1"),
            "ERR pool \"p1\" is mapped twice",
        ),
        (
            format!("DIRTY.DECLARE new TAGS 30001 {tags} f f STREAM dirty_A1 OPS I"),
            "ERR stream \"dirty_A1\" is declared twice",
        ),
        (
            format!("DIRTY.DECLARE new TAGS 1 ID dirty={tag};dirtyStream=dirty_A1"),
            "ERR stream \"dirty_A1\" is declared twice",
        ),
        (
            format!("DIRTY.ACK stream GROUP team t1 {acks} x"),
            "ERR invalid event id \"x\", expected ms-seq",
        ),
    ] {
        let start = Instant::now();
        assert_eq!(redis.run(&command), reply, "{}", &command[..60]);
        if start.elapsed() > Duration::from_secs(2) {
            slow.push((command[..60].to_string(), start.elapsed()));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
    assert_eq!(state(&mut redis), before);
}

#[test]
fn in_a_transaction_or_a_script_a_refused_command_changes_nothing_but_the_others_count() {
    let (_server, mut redis) = seeded();
    let before = state(&mut redis);
    redis.expect(
        r#"
MULTI => OK
DIRTY.FLUSH user UPDATE 3 1 a b => QUEUED
DIRTY.DECLARE new => QUEUED
DIRTY.GET nothing 1 => QUEUED
EXEC => [NOENTITY there is no entity "3" ERR a declaration requires at least one stream
  NODECL no entity type is declared at "nothing"]
MULTI => OK
DIRTY.FLUSH user SNAPSHOT 3 0 => QUEUED
DIRTY.FLUSH user => ERR wrong number of arguments for 'dirty.flush' command
EXEC => EXECABORT Transaction discarded because of previous errors.
EVAL return\_redis.pcall('DIRTY.FLUSH','user','UPDATE','3','1','a','b') 1 user
  => NOENTITY there is no entity "3"
"#,
    );
    assert_eq!(state(&mut redis), before);
    redis.expect(
        r#"
MULTI => OK
DIRTY.FLUSH user SNAPSHOT 3 1 a b => QUEUED
DIRTY.FLUSH user UPDATE 4 1 a b => QUEUED
EXEC => [[insert] NOENTITY there is no entity "4"]
HGETALL user:3 => [a b]
EXISTS user:4 => (0)
"#,
    );
}

/// Without memory: whoever reads goes on reading.
const WITHOUT_MEMORY: &str = r#"
CONFIG SET maxmemory 1 => OK
DIRTY.DECLARE new STREAM s => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.FLUSH user SNAPSHOT 3 1 a b => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.FLUSH user DELETE 1 => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.FLUSH user DEFER t DELETE 1 => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.COMMIT user waiting => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.READER stream GROUP new FROM 0 => OOM command not allowed when used memory > 'maxmemory'.
DIRTY._DELTA stream x => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.FAIL stream GROUP team t1 why 1-1 => OOM command not allowed when used memory > 'maxmemory'.
DIRTY.REDRIVE stream GROUP dying ALL => OOM command not allowed when used memory > 'maxmemory'.
# Who reads goes on reading.
DIRTY.LEAVE stream GROUP team nobody => (0)
DIRTY.GET user 2 => [[]]
DIRTY.DEFERRED versioned => []
DIRTY.ACK stream GROUP team t1 5-5 => [5-5]
DIRTY.HOLD stream GROUP team t1 5-5 => [5-5]
DIRTY.DISCARD stream GROUP dying IDS 1 5-5 => (0)
DIRTY.FORGET stream GROUP nobody => (0)
DIRTY.PENDING stream GROUP dying => []
DIRTY.READ stream FROM $ RAW => [events [] missed (0) more (0) position 1-1/0]
CONFIG SET maxmemory 0 => OK
"#;

const READ_ONLY_SCRIPTS: &str = r#"
EVAL_RO return\_redis.pcall('DIRTY.DECLARE','new','STREAM','s') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.FLUSH','user','DELETE','1') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.COMMIT','user','waiting') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.ABORT','user','waiting') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.call('DIRTY.DEFERRED','versioned') 0 => []
EVAL_RO return\_redis.pcall('DIRTY.CONSUME','user-changes','CURSOR','reader') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.READER','stream','GROUP','new','FROM','0') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.ACK','stream','GROUP','team','t1','1-1') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.HOLD','stream','GROUP','team','t1') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.SEEK','stream','GROUP','team','0') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.FAIL','stream','GROUP','team','t1','why','1-1') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.LEAVE','stream','GROUP','team','t1') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.REDRIVE','stream','GROUP','dying','ALL') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.DISCARD','stream','GROUP','dying','ALL') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.PAUSE','stream','GROUP','team','ON') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY.FORGET','stream','GROUP','team') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.pcall('DIRTY._DELTA','stream','x') 0
  => ERR Write commands are not allowed from read-only scripts.
EVAL_RO return\_redis.call('DIRTY.PENDING','stream','GROUP','dying') 0 => []
"#;

const ON_A_REPLICA: &str = r#"
DIRTY.DECLARE new STREAM s => READONLY You can't write against a read only replica.
DIRTY.FLUSH user DELETE 1 => READONLY You can't write against a read only replica.
DIRTY.FLUSH user ONCE done DELETE 1 => READONLY You can't write against a read only replica.
DIRTY.COMMIT user waiting => READONLY You can't write against a read only replica.
DIRTY.ABORT user waiting => READONLY You can't write against a read only replica.
DIRTY.DEFERRED versioned => []
DIRTY.CONSUME user-changes CURSOR reader => READONLY You can't write against a read only replica.
DIRTY.READER stream GROUP new FROM 0 => READONLY You can't write against a read only replica.
DIRTY.ACK stream GROUP team t1 1-1 => READONLY You can't write against a read only replica.
DIRTY.HOLD stream GROUP team t1 => READONLY You can't write against a read only replica.
DIRTY.SEEK stream GROUP team 0 => READONLY You can't write against a read only replica.
DIRTY.FAIL stream GROUP team t1 why 1-1 => READONLY You can't write against a read only replica.
DIRTY.LEAVE stream GROUP team t1 => READONLY You can't write against a read only replica.
DIRTY.REDRIVE stream GROUP dying ALL => READONLY You can't write against a read only replica.
DIRTY.DISCARD stream GROUP dying ALL => READONLY You can't write against a read only replica.
DIRTY.PAUSE stream GROUP team ON => READONLY You can't write against a read only replica.
DIRTY.FORGET stream GROUP team => READONLY You can't write against a read only replica.
DIRTY._DELTA stream x => READONLY You can't write against a read only replica.
DIRTY.PENDING stream GROUP dying => []
DIRTY.READ stream FROM $ RAW => [events [] missed (0) more (0) position 1-1/0]
DIRTY.GET user 1 => [[status active i (5)]]
DIRTY.GET nothing 1 => NODECL no entity type is declared at "nothing"
"#;

#[test]
fn what_the_server_itself_refuses_changes_nothing() {
    let (server, mut redis) = seeded();
    let before = state(&mut redis);
    redis.expect(WITHOUT_MEMORY);
    redis.expect(READ_ONLY_SCRIPTS);
    assert_eq!(state(&mut redis), before);

    let replica = Server::replica_of(&server);
    let mut redis = replica.connect();
    let before = redis.digest();
    redis.expect(ON_A_REPLICA);
    assert_eq!(redis.digest(), before);
}

/// Each command of the table gets its reply, in RESP2 and RESP3, and changes nothing.
fn is_refused(table: &str) {
    let (server, mut redis) = seeded();
    let mut resp3 = server.connect_resp3();
    let before = state(&mut redis);
    let mut wrong = String::new();
    for (command, reply) in cases(table) {
        let got = [redis.run(&command), resp3.run(&command)];
        if got.iter().any(|got| *got != reply) {
            let _ = writeln!(wrong, "{command}\n     got: {got:?}\nexpected: {reply}");
        }
        assert_eq!(state(&mut redis), before, "{command}");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(!server.log().contains("panic"), "{}", server.log());
}

fn all_cases() -> Vec<(String, String)> {
    TABLES.iter().flat_map(|table| cases(table)).collect()
}

fn many(n: usize, between: &str, one: impl Fn(usize) -> String) -> String {
    (0..n).map(one).collect::<Vec<_>>().join(between)
}
