//! Slots that are moved as a whole (CLUSTER MIGRATESLOTS), and clusters with several databases: Valkey from 9.0 on.

use super::pair::{Node, Pair};
use crate::support::{Conn, Server, skipped, text, wait_until, words};
use redis::Value;

/// Whether the server moves slots as a whole, and may have databases in a cluster.
pub fn is_possible() -> bool {
    let server = Server::start();
    let is_possible = server.connect().run("CONFIG GET cluster-databases") != "[]";
    if !is_possible {
        skipped("the server cannot move slots as a whole, nor have databases in a cluster");
    }
    is_possible
}

/// Moves a slot, and waits until both nodes know.
pub fn move_atomically(here: &mut Conn, there: &mut Conn, slot: &str, target: &str) {
    let words = [
        "CLUSTER",
        "MIGRATESLOTS",
        "SLOTSRANGE",
        slot,
        slot,
        "NODE",
        target,
    ];
    here.ok(&words);
    wait_until("the end of a move", || {
        let Value::Array(all) = here.ok(&["CLUSTER", "GETSLOTMIGRATIONS"]) else {
            panic!("no moves")
        };
        let last = all.first().map(text).unwrap_or_default();
        assert!(!last.contains("state failed"), "{last}");
        last.contains("state success")
    });
    wait_until("the new owner", || {
        let slots = there.run(&format!("CLUSTER COUNTKEYSINSLOT {slot}"));
        let shards = there.run("CLUSTER NODES");
        let own = shards.split("\\n").find(|line| line.contains("myself"));
        slots != "(0)" && own.is_some_and(|line| has(line, slot))
    });
}

/// Whether a line of CLUSTER NODES has the slot.
fn has(line: &str, slot: &str) -> bool {
    let slot: u16 = slot.parse().expect("a slot");
    line.split(' ').skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
        first.is_ok_and(|first| first <= slot) && last.is_ok_and(|last| slot <= last)
    })
}

const FILL: &[&str] = &[
    "DIRTY.DECLARE user{7} VERSION v STREAM s{7} PAYLOAD FULL MAXLEN 1000 ONFULL KEEP STREAM t{7} OPS D",
    "DIRTY.FLUSH user{7} SNAPSHOT 1 2 v 1 a \\x00\\xff SNAPSHOT 2 1 v 1 SNAPSHOT 3 1 v 1 DELETE 2 1 v 2",
    "DIRTY.FLUSH user{7} ONCE o SNAPSHOT 4 1 v 1",
    "DIRTY.FLUSH user{7} DEFER d SNAPSHOT 5 1 v 1",
    "DIRTY.DECLARE far{7} STREAM far-s{7} DB 1",
    "DIRTY.FLUSH far{7} SNAPSHOT 1 1 a b DELETE 1",
    "DIRTY.READER s{7} GROUP g FROM 0 MAXDELIVERIES 2",
    "DIRTY.READER s{7} GROUP h FROM 0 ORDER ENTITY ONDEAD PARK WHERE OPS IU",
    "DIRTY.READER s{7} CURSOR all FROM 0",
    "DIRTY.CONSUME s{7} GROUP g c COUNT 2",
    "DIRTY.CONSUME s{7} GROUP g c PENDING",
    "DIRTY.CONSUME s{7} GROUP g c PENDING",
    "DIRTY.CONSUME s{7} GROUP h c",
    "XGROUP CREATE s{7} native 0",
];

/// What is asked on each side of a move.
const ASKED: &[&str] = &[
    "DIRTY.INFO user{7}",
    "DIRTY.GET user{7} 1 2 3 4 5",
    "HKEYS user{7}@deferred",
    "XRANGE s{7} - +",
    "XRANGE t{7} - +",
    "XINFO GROUPS s{7}",
    "DUMP s{7}:readers",
    "XRANGE s{7}:dead - +",
    "DEBUG DIGEST-VALUE user{7} user{7}:1 user{7}:2 user{7}:3 user{7}:4 s{7} s{7}:readers t{7} user{7}@deferred user{7}@once:o",
];

fn asked(node: &mut Node) -> Vec<String> {
    ASKED
        .iter()
        .map(|command| node.redis.run(command))
        .collect()
}

/// That of the last entry of the stream.
fn last_seq(node: &mut Node) -> u64 {
    let read = node.redis.run("XREVRANGE s{7} + - COUNT 1");
    let seq = read
        .split_once('-')
        .and_then(|(_, rest)| rest.split(' ').next());
    let seq = seq.and_then(|seq| seq.parse().ok());
    seq.expect("an entry")
}

#[test]
fn a_slot_that_is_moved_as_a_whole_takes_everything_along_and_back() {
    if !is_possible() {
        return;
    }
    let mut pair = Pair::with(&["--cluster-databases", "2"]);
    let slot = text(&pair.source.redis.ok(&["CLUSTER", "KEYSLOT", "7"]));
    let slot = slot.trim_matches(['(', ')']);
    for command in FILL {
        let reply = pair.source.redis.run(command);
        assert!(!reply.starts_with("ERR"), "{command}: {reply}");
    }
    let mut next = 6;
    for turn in 0..4 {
        let before = asked(&mut pair.source);
        let Pair { source, target } = &mut pair;
        move_atomically(&mut source.redis, &mut target.redis, slot, &target.id);
        for ((command, before), after) in ASKED.iter().zip(before).zip(asked(&mut pair.target)) {
            assert_eq!(after, before, "{command}");
        }
        let moved = pair.source.redis.run("DIRTY.GET user{7} 1");
        assert!(moved.starts_with("MOVED"), "{moved}");
        pair.swap();
        // What both sides remember of the stream is of no harm.
        let seq = last_seq(&mut pair.source);
        for _ in 0..3 {
            let flush = format!("DIRTY.FLUSH user{{7}} SNAPSHOT {next} 1 v 1");
            assert_eq!(pair.source.redis.run(&flush), "[insert]");
            next += 1;
        }
        // In another database as well.
        for command in [
            "MULTI",
            "DIRTY.FLUSH far{7} SNAPSHOT 1 1 a b DELETE 1",
            "EXEC",
        ] {
            let reply = pair.source.redis.run(command);
            assert!(!reply.contains("ERR"), "{command}: {reply}");
        }
        pair.source.redis.run("SELECT 1");
        let far = pair
            .source
            .redis
            .run("DIRTY.READ far-s{7} FROM 0 COUNT 1000");
        pair.source.redis.run("SELECT 0");
        assert_eq!(far.matches("op insert").count(), turn + 2, "{far}");
        assert!(far.contains(" missed (0) more (0) "), "{far}");
        assert_eq!(last_seq(&mut pair.source), seq + 3);
        let read = pair
            .source
            .redis
            .run("DIRTY.CONSUME s{7} CURSOR all COUNT 1000");
        assert!(read.contains(" missed (0) more (0) "), "{read}");
        assert_eq!(
            pair.source
                .redis
                .run("DIRTY.FLUSH user{7} ONCE o SNAPSHOT 4 1 v 1"),
            "[insert]"
        );
    }
    assert_eq!(
        pair.source.redis.run("DIRTY.COMMIT user{7} d"),
        "[[insert]]"
    );
}

#[test]
fn a_reader_is_sent_after_a_slot_that_is_moved_as_a_whole() {
    if !is_possible() {
        return;
    }
    let mut pair = Pair::start();
    let slot = text(&pair.source.redis.ok(&["CLUSTER", "KEYSLOT", "7"]));
    let slot = slot.trim_matches(['(', ')']);
    pair.source.redis.expect(
        "DIRTY.DECLARE user{7} STREAM s{7} => OK\n\
         DIRTY.READER s{7} GROUP g FROM 0 => OK\n\
         DIRTY.READER s{7} CURSOR k FROM 0 => OK",
    );
    let mut readers = Vec::new();
    for how in [
        "CONSUME s{7} GROUP g c",
        "CONSUME s{7} CURSOR k",
        "READ s{7} FROM 0",
    ] {
        let mut reader = pair.source.server.connect();
        let consume = format!("DIRTY.{how} BLOCK 20000");
        reader.send(&words(&consume)).expect("a connection");
        readers.push(reader);
        pair.source.server.wait_for_blocked(readers.len());
    }
    let Pair { source, target } = &mut pair;
    move_atomically(&mut source.redis, &mut target.redis, slot, &target.id);
    for reader in &mut readers {
        let reply = text(&reader.receive().expect("a reply"));
        assert!(reply.starts_with("MOVED"), "{reply}");
    }
    assert_eq!(
        target.redis.run("DIRTY.FLUSH user{7} SNAPSHOT 1 0"),
        "[insert]"
    );
}

#[test]
fn a_cluster_with_databases_has_declarations_and_streams_in_each() {
    if !is_possible() {
        return;
    }
    let server = Server::with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-databases",
        "3",
        "--appendonly",
        "yes",
    ]);
    let mut redis = server.connect();
    redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    redis.expect(
        r#"
DIRTY.DECLARE user{7} STREAM a{7} DB 3
  => ERR the database "3" of the stream "a{7}" is out of range
DIRTY.DECLARE user{7} STREAM a{8} DB 1
  => CROSSSLOT the key "a{8}" is in another slot than the key that it belongs to; give all of them the same {tag}
DIRTY.DECLARE user{7} STREAM a{7} DB 1 STREAM b{7} => OK
DIRTY.FLUSH user{7} SNAPSHOT 1 1 a b SNAPSHOT 2 0 => [insert insert]
MULTI => OK
DIRTY.FLUSH user{7} SNAPSHOT 1 1 a c => QUEUED
EXEC => [[update]]
SELECT 1 => OK
EXISTS user{7} user{7}:1 b{7} => (0)
XLEN a{7} => (3)
DIRTY.DECLARE user{7} STREAM a{7} STREAM c{7} DB 0 => OK
DIRTY.FLUSH user{7} SNAPSHOT 1 1 a b DELETE 1 => [insert delete]
DIRTY.FLUSH user{7} ONCE t DEFER t INSERT 2 0 => [deferred]
DIRTY.COMMIT user{7} t => [[insert]]
DIRTY.GET user{7} 2 => [[]]
XLEN a{7} => (6)
SELECT 0 => OK
XLEN c{7} => (3)
DIRTY.GET user{7} 1 => [[a c]]
"#,
    );
    let before = redis.digest();
    let mut server = server;
    server.restart();
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    let mut redis = server.connect();
    assert_eq!(redis.digest(), before);
    redis.expect("DIRTY.FLUSH user{7} SNAPSHOT 1 1 a d => [update]");
    redis.run("SELECT 1");
    let read = redis.run("DIRTY.READ a{7} FROM 0 COUNT 100");
    assert!(read.contains(" missed (0) more (0) "), "{read}");
    assert_eq!(redis.run("XLEN a{7}"), "(7)");
}
