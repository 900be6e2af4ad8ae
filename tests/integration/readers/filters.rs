//! WHERE, of every format, for groups, cursors and READ; and what a rare event takes to be found.

use crate::support::readers::{consume, read};
use crate::support::story::{Story, got};
use crate::support::{Conn, Server, words};
use std::time::{Duration, Instant};

/// Six events: an insert, updates of `a` and `b`, an insert of another entity, a delete, an entry by hand.
const FLUSHES: [&str; 6] = [
    "DIRTY.FLUSH user META 2 actor me tenant \\x00 INSERT 1 2 a x b x",
    "DIRTY.FLUSH user META 1 actor you UPDATE 1 1 a y",
    "DIRTY.FLUSH user META 2 actor me tenant 7 UPDATE 1 1 b y",
    "DIRTY.FLUSH order META 1 actor me INSERT 2 1 a x",
    "DIRTY.FLUSH user DELETE 1",
    "XADD s * by hand",
];

/// A filter, and the seqs of the events that pass it.
const FILTERS: &[(&str, &str)] = &[
    ("ENTITY user", "1 2 3 5"),
    ("ENTITY order", "4"),
    ("ENTITY use", ""),
    ("ENTITY user ENTITY order", "1 2 3 4 5"),
    ("ENTITY nobody ENTITY order", "4"),
    ("OPS U", "2 3"),
    ("OPS di", "1 4 5"),
    ("OPS I OPS D", "1 4 5"),
    ("OPS IUD", "1 2 3 4 5"),
    ("ID 1 2", "4"),
    ("ID 2 1 2", "1 2 3 4 5"),
    ("ID 1 1 ID 1 2", "1 2 3 4 5"),
    ("ID 1 12", ""),
    ("ID 1 1 ENTITY user OPS U", "2 3"),
    ("ID 1 2 ENTITY user", ""),
    ("FIELDS 1 a", "1 2 4 5"),
    ("FIELDS 1 b", "1 3 4 5"),
    ("FIELDS 2 b a", "1 2 3 4 5"),
    ("FIELDS 1 a FIELDS 1 b", "1 2 3 4 5"),
    ("FIELDS 1 c", "1 4 5"),
    ("ENTITY user OPS U FIELDS 1 a", "2"),
    ("OPS ID ENTITY user", "1 5"),
    ("OPS U ENTITY order", ""),
];

/// For the formats that carry META.
const OF_META: &[(&str, &str)] = &[
    ("META actor me", "1 3 4"),
    ("META actor m", ""),
    ("META actor me META actor you", "1 2 3 4"),
    ("META tenant \\x00", "1"),
    ("META tenant \\x00 META tenant 7", "1 3"),
    ("META actor me META tenant 7", "3"),
    ("META actor you META actor me META tenant 7", "3"),
    ("META actor me ENTITY user OPS I", "1"),
    ("META actor me FIELDS 1 a", "1 4"),
];

/// What a reader gets until `more` is false, acknowledging all, and how many calls that takes.
fn to_the_head(redis: &mut Conn, reader: &str, options: &str) -> (String, usize) {
    let (mut seqs, mut ack) = (Vec::new(), String::new());
    for calls in 1..100 {
        let batch = consume(redis, &format!("s {reader} {ack} {options}"));
        assert_eq!(batch.missed, "(0)");
        let seq = |id: &String| id.split('-').nth(1).expect("a seq").to_string();
        seqs.extend(batch.ids.iter().map(seq));
        ack = match &batch.position {
            Some(position) => format!("ACK {position}"),
            None => format!("ACK {} {}", batch.ids.len(), batch.ids.join(" ")),
        };
        if !batch.more {
            consume(redis, &format!("s {reader} {ack} {options}"));
            return (seqs.join(" "), calls);
        }
    }
    panic!("{reader} reads for ever");
}

#[test]
fn of_every_format_a_reader_gets_what_its_filter_takes_and_a_group_has_the_rest_acknowledged() {
    for format in ["MSGPACK", "FLUXAORM2", "FLUXAORM1", "DEBEZIUM"] {
        let server = Server::start();
        let mut redis = server.connect();
        for entity in ["user", "order"] {
            redis.run(&format!("DIRTY.DECLARE {entity} STREAM s FORMAT {format}"));
        }
        for flush in FLUSHES {
            assert!(redis.run(flush).len() > 5, "{format}: {flush}");
        }
        let filters = match format.starts_with("FLUXAORM") {
            true => FILTERS.to_vec(),
            false => [FILTERS, OF_META].concat(),
        };
        for (n, (filter, expected)) in filters.iter().enumerate() {
            let case = format!("{format} {filter}");
            for count in [1, 2, 100] {
                let (group, cursor) = (
                    format!("GROUP g{n}-{count}"),
                    format!("CURSOR c{n}-{count}"),
                );
                for reader in [&group, &cursor] {
                    let declare = format!("DIRTY.READER s {reader} FROM 0 WHERE {filter}");
                    assert_eq!(redis.run(&declare), "OK", "{case}");
                }
                let options = format!("COUNT {count}");
                let (of_group, _) = to_the_head(&mut redis, &format!("{group} w"), &options);
                let (of_cursor, _) = to_the_head(&mut redis, &cursor, &options);
                assert_eq!(
                    [&*of_group, &of_cursor],
                    [*expected; 2],
                    "{case} by {count}"
                );
                // Behind everything, whether it passed or not.
                let stats = redis.run("DIRTY.STATS s");
                assert_eq!(
                    stats.matches("lag (0)").count(),
                    stats.matches("lag (").count()
                );
                assert_eq!(
                    redis.run(&format!("DIRTY.PENDING s {group}")),
                    "[]",
                    "{case}"
                );
                for reader in [group, cursor] {
                    redis.run(&format!("DIRTY.FORGET s {reader}"));
                }
            }
            let looked = redis.value(&words(&format!("DIRTY.READ s FROM 0 WHERE {filter}")));
            let ids = read(&looked).ids;
            let seqs: Vec<&str> = ids.iter().filter_map(|id| id.split('-').nth(1)).collect();
            assert_eq!(seqs.join(" "), *expected, "{case}, READ");
        }
    }
}

#[test]
fn an_update_that_does_not_tell_which_fields_changed_passes_fields() {
    for (payload, format, expected) in [
        ("KEYS", "MSGPACK", "#1 #2 #3 #4"),
        ("CHANGES", "MSGPACK", "#1 #2 #4"),
        ("FULL", "MSGPACK", "#1 #2 #4"),
        ("KEYS", "FLUXAORM2", "#1 #2 #3 #4"),
        ("KEYS", "DEBEZIUM", "#1 #2 #3 #4"),
    ] {
        let mut story = Story::begin();
        let declare = format!("DIRTY.DECLARE t STREAM s PAYLOAD {payload} FORMAT {format}");
        let declared = story.run(&declare);
        if declared != "OK" {
            continue; // not every format has every payload
        }
        for flush in [
            "INSERT 1 2 a x b x",
            "UPDATE 1 1 a y",
            "UPDATE 1 1 b y",
            "DELETE 1",
        ] {
            story.run(&format!("DIRTY.FLUSH t {flush}"));
        }
        story.expect("DIRTY.READER s GROUP g FROM 0 WHERE FIELDS 1 a => OK");
        let got = story.run("DIRTY.CONSUME s GROUP g w");
        assert_eq!(got, expected, "{payload} {format}");
    }
}

#[test]
fn a_new_filter_is_asked_of_what_comes_again_and_rejects_for_good() {
    let mut story = Story::with(&["1", "2", "3", "4", "5"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY CLAIM 400 => OK
DIRTY.CONSUME s GROUP g a COUNT 3 => #1 #2 #3 | more
DIRTY.FAIL s GROUP g a why DELAY 400 #1 => [retry]
DIRTY.LEAVE s GROUP g a => (2)
DIRTY.CONSUME s GROUP g b COUNT 1 => #2 | more
DIRTY.READER s GROUP g ORDER ENTITY CLAIM 400 WHERE ID 2 3 5 => OK
wait 450 => -
DIRTY.CONSUME s GROUP g c => #3 #5
DIRTY.PENDING s GROUP g CONSUMER b => []
DIRTY.ACK s GROUP g c #3 #5 => []
DIRTY.PENDING s GROUP g => []
DIRTY.READER s GROUP g ORDER ENTITY CLAIM 400 => OK
DIRTY.CONSUME s GROUP g c =>\x20
",
    );
}

/// 30,000 events of others, then one `rare`, then 3,000 of others.
fn rare() -> Story {
    let mut story = Story::begin();
    let mut others = |from: usize, to: usize| {
        for first in (from..to).step_by(1000) {
            let ops: String = (first..first + 1000)
                .map(|n| format!(" INSERT {n} 0"))
                .collect();
            story.redis.run(&format!("DIRTY.FLUSH user{ops}"));
        }
    };
    others(0, 30_000);
    story.publish(&["rare"]);
    let ops: String = (0..3000).map(|n| format!(" DELETE {n}")).collect();
    story.redis.run(&format!("DIRTY.FLUSH user{ops}"));
    story
}

const RARE: &str = "WHERE ID 1 rare";

#[test]
fn a_bounded_reader_of_rare_events_stops_at_the_head_and_not_before() {
    let mut story = rare();
    story.expect(&format!(
        "DIRTY.READER s GROUP g FROM 0 {RARE} => OK\nDIRTY.READER s CURSOR c FROM 0 {RARE} => OK"
    ));
    for count in ["COUNT 1", "COUNT 10", "COUNT 4000"] {
        story.expect("DIRTY.SEEK s GROUP g 0 => OK\nDIRTY.SEEK s CURSOR c 0 => OK");
        for reader in ["GROUP g w", "CURSOR c"] {
            let before = story.redis.cpu();
            let (seqs, calls) = to_the_head(&mut story.redis, reader, count);
            assert_eq!(seqs, "30001", "{reader} {count}");
            assert!(
                (2..=6).contains(&calls),
                "{calls} calls of {reader} {count}"
            );
            let took = story.redis.cpu() - before;
            assert!(took < Duration::from_secs(2), "{reader} {count}: {took:?}");
        }
    }
    // The same for a reader that keeps its own position.
    let (mut from, mut seqs) = ("0".to_string(), Vec::new());
    loop {
        let looked = words(&format!("DIRTY.READ s FROM {from} {RARE}"));
        let looked = read(&story.redis.value(&looked));
        seqs.extend(looked.ids.iter().map(|id| id[14..].to_string()));
        from = looked.position.expect("a position");
        if !looked.more {
            break;
        }
    }
    assert_eq!(seqs, ["30001"]);
}

/// It need not know that there was something to pass over.
#[test]
fn a_reader_that_waits_and_acknowledges_only_what_it_handled_gets_the_rare_event() {
    let mut story = rare();
    story.expect(&format!(
        "DIRTY.READER s GROUP g FROM 0 {RARE} => OK\nDIRTY.READER s CURSOR c FROM 0 {RARE} => OK"
    ));
    for call in ["CONSUME s CURSOR c", "READ s FROM 0 WHERE ID 1 rare"] {
        let call = call.replace(" WHERE", " BLOCK 20000 WHERE");
        let block = if call.contains("BLOCK") {
            ""
        } else {
            "BLOCK 20000"
        };
        let start = Instant::now();
        let reply = story.run(&format!("DIRTY.{call} {block}"));
        assert!(reply.starts_with("#30001"), "{call}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(5), "{call}");
    }
    let (mut seqs, mut ack) = (Vec::new(), String::new());
    while seqs.is_empty() {
        let batch = consume(&mut story.redis, &format!("s GROUP g w {ack} BLOCK 20000"));
        assert!(batch.more || !batch.ids.is_empty(), "it stops early");
        if !batch.ids.is_empty() {
            ack = format!("ACK 1 {}", batch.ids[0]);
        }
        seqs.extend(batch.ids);
    }
    assert!(seqs[0].ends_with("-30001"));
    assert_eq!(
        story
            .redis
            .run(&format!("DIRTY.ACK s GROUP g w {}", seqs[0])),
        "[]"
    );
    // Behind it there is nothing for either.
    let position = consume(&mut story.redis, "s CURSOR c BLOCK 20000").position;
    let position = position.expect("a position");
    for reader in ["GROUP g w".to_string(), format!("CURSOR c ACK {position}")] {
        let start = Instant::now();
        let line = format!("s {reader} BLOCK 300");
        assert_eq!(consume(&mut story.redis, &line).events.len(), 0, "{line}");
        assert!(start.elapsed() >= Duration::from_millis(295), "{line}");
    }
}

#[test]
fn while_a_reader_looks_for_a_rare_event_others_are_served() {
    let mut story = rare();
    story.expect("DIRTY.READER s CURSOR c FROM 0 WHERE ID 1 nowhere => OK");
    let mut waits = story.wait("DIRTY.CONSUME s CURSOR c BLOCK 0");
    let start = Instant::now();
    for _ in 0..20 {
        story.expect("PING => PONG");
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    // It goes on from where it has looked, also when its place is moved meanwhile.
    story.expect("DIRTY.SEEK s CURSOR c 0 => OK");
    story.publish(&["nowhere"]);
    assert!(got(&mut waits).starts_with("#33002 | position #33002"));
}

#[test]
fn a_filtered_reader_waits_past_what_it_rejects_and_knows_how_far_it_has_looked() {
    let mut story = Story::begin();
    for reader in ["GROUP g", "CURSOR c"] {
        story.expect(&format!("DIRTY.READER s {reader} FROM 0 WHERE OPS D => OK"));
    }
    let mut waits = [
        "CONSUME s GROUP g w BLOCK 20000",
        "CONSUME s CURSOR c BLOCK 20000",
        "READ s FROM 0 BLOCK 20000 WHERE OPS D",
    ]
    .map(|call| story.wait(&format!("DIRTY.{call}")));
    story.publish(&["1", "2"]);
    story.run("XADD s 9999999999999-3 foreign entry");
    std::thread::sleep(Duration::from_millis(30));
    story.server.wait_for_blocked(3);
    story.run("DIRTY.FLUSH user DELETE 1");
    story.publish(&["3"]);
    let [group, cursor, looks] = &mut waits;
    assert_eq!(got(group), "#4");
    for reader in [cursor, looks] {
        assert_eq!(got(reader), "#4 | position #4");
    }
    // Given up, a cursor tells how far it has looked.
    let reply = story.run("DIRTY.READ s FROM #4 BLOCK 50 WHERE OPS D");
    assert_eq!(reply, "| position #5");
    let reply = story.run("DIRTY.CONSUME s CURSOR c COUNT 1 BLOCK 50");
    assert_eq!(reply, "#4 | more | position #4");
}
