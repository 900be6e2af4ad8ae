//! `missed`: every reader that comes too late for an event is told of it, and nobody else.

use crate::support::readers::{consume, field, read, stream_of, waiting};
use crate::support::{Conn, Server, text, words};

const READERS: [&str; 2] = ["GROUP g c", "CURSOR c"];

/// What a reader gets, and how many it missed: `4 5 (3)`.
fn told(redis: &mut Conn, reader: &str) -> String {
    let read = consume(redis, &format!("s {reader}"));
    format!("{} {}", read.events.join(" "), read.missed)
}

fn declare(redis: &mut Conn, start: &str) {
    for reader in ["GROUP g", "CURSOR c"] {
        let declared = redis.run(&format!("DIRTY.READER s {reader} FROM {start}"));
        assert_eq!(declared, "OK", "{reader}");
    }
}

fn flush(redis: &mut Conn, ids: std::ops::RangeInclusive<usize>) {
    for id in ids {
        redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
    }
}

/// The entry ids of the events 1, 2, 3…, before anything happens to them.
fn ids(redis: &mut Conn) -> Vec<String> {
    let looked = redis.value(&words("DIRTY.READ s FROM 0 COUNT 1000"));
    read(&looked).ids
}

/// Acknowledges for a cursor all that it is given.
fn acknowledge(redis: &mut Conn, reader: &str) {
    if reader.starts_with("CURSOR") {
        let position = consume(redis, &format!("s {reader} COUNT 1000")).position;
        redis.run(&format!(
            "DIRTY.ACK s {reader} {}",
            position.expect("a position")
        ));
    }
}

/// Ten events; a reader has read 3 of them, another all. What is done then, and what the first is told; `{n}` is the
/// id of event n.
const GONE: &[(&str, &str)] = &[
    ("", "4 5 6 7 8 9 10 (0)"),
    ("XTRIM s MAXLEN = 7", "4 5 6 7 8 9 10 (0)"),
    ("XTRIM s MAXLEN = 6", "5 6 7 8 9 10 (1)"),
    ("XTRIM s MAXLEN = 1", "10 (6)"),
    ("XTRIM s MINID = {6}", "6 7 8 9 10 (2)"),
    ("XDEL s {1} {2} {3}", "4 5 6 7 8 9 10 (0)"),
    ("XDEL s {4} {5}", "6 7 8 9 10 (2)"),
    ("XDEL s {3} {7}", "4 5 6 8 9 10 (1)"),
    ("XDEL s {5} {7} {8}", "4 6 9 10 (3)"),
    (
        "DIRTY.DECLARE user STREAM s MAXLEN 2 | DIRTY.FLUSH user INSERT 11 0",
        "10 11 (6)",
    ),
    (
        "DIRTY.DECLARE user STREAM s MAXLEN 2 | DIRTY.FLUSH user INSERT 11 0 INSERT 12 0 INSERT 13 0",
        "12 13 (8)",
    ),
    // What is gone from the end is told when more comes.
    ("XDEL s {10}", "4 5 6 7 8 9 (0) 20 (1)"),
    ("XDEL s {4} {6} {9} {10}", "5 7 8 (2) 20 (2)"),
    ("XDEL s {2} {4} {5} {6} {7} {8} {9} {10}", " (0) 20 (7)"),
    ("XTRIM s MAXLEN = 0", " (0) 20 (7)"),
];

#[test]
fn who_had_not_read_what_is_gone_is_told_the_exact_number_and_others_are_not() {
    for &(done, expected) in GONE {
        let server = Server::start();
        let mut redis = stream_of(&server, 10);
        let ids = ids(&mut redis);
        for name in ["behind", "done"] {
            redis.run(&format!("DIRTY.READER s GROUP g-{name} FROM 0"));
            redis.run(&format!("DIRTY.READER s CURSOR {name} FROM 0"));
        }
        for (name, count) in [("behind", 3), ("done", 10)] {
            consume(&mut redis, &format!("s GROUP g-{name} c COUNT {count}"));
            let read = consume(&mut redis, &format!("s CURSOR {name} COUNT {count}"));
            let position = read.position.expect("a position");
            redis.run(&format!("DIRTY.ACK s CURSOR {name} {position}"));
        }
        for command in done.split(" | ").filter(|command| !command.is_empty()) {
            let command = (1..=10).fold(command.to_string(), |command, n| {
                command.replace(&format!("{{{n}}}"), &ids[n - 1])
            });
            let reply = redis.run(&command);
            assert!(reply.starts_with(['(', '[', 'O']), "{command}: {reply}");
        }
        let (now, later) = match expected.split_once(") ") {
            Some((now, later)) => (format!("{now})"), later),
            None => (expected.to_string(), "20 (0)"),
        };
        // Who had read all is told only of what came since, and of none of what was before.
        let new = match done.matches("INSERT").count() {
            0 => " (0)",
            1 => "11 (0)",
            _ => "12 13 (1)",
        };
        let mut all = Vec::new();
        for name in ["behind", "done"] {
            let expected = if name == "behind" { &*now } else { new };
            let (group, cursor) = (format!("GROUP g-{name} c"), format!("CURSOR {name}"));
            assert_eq!(told(&mut redis, &group), expected, "{name} after {done}");
            assert_eq!(told(&mut redis, &group), " (0)", "again after {done}");
            // A cursor is told until it has acknowledged.
            assert_eq!(told(&mut redis, &cursor), expected, "{name} after {done}");
            assert_eq!(told(&mut redis, &cursor), expected, "again after {done}");
            acknowledge(&mut redis, &cursor);
            assert_eq!(
                told(&mut redis, &cursor),
                " (0)",
                "acknowledged after {done}"
            );
            all.extend([(group, name), (cursor, name)]);
        }
        redis.run("DIRTY.DECLARE user STREAM s");
        flush(&mut redis, 20..=20);
        for (reader, name) in all {
            let expected = if name == "behind" { later } else { "20 (0)" };
            // Had it read the event that is gone, the end of the stream is none to it.
            assert_eq!(
                told(&mut redis, &reader),
                expected,
                "{reader} later, after {done}"
            );
        }
    }
}

#[test]
fn a_number_is_told_with_the_batch_that_it_precedes() {
    let server = Server::start();
    let mut redis = stream_of(&server, 12);
    let ids = ids(&mut redis);
    declare(&mut redis, "0");
    for n in [1, 4, 5, 9, 11, 12] {
        redis.run(&format!("XDEL s {}", ids[n - 1]));
    }
    flush(&mut redis, 13..=13);
    for reader in READERS {
        for expected in ["2 3 (1)", "6 7 (2)", "8 10 (1)", "13 (2)", " (0)"] {
            let read = consume(&mut redis, &format!("s {reader} COUNT 2"));
            let got = format!("{} {}", read.events.join(" "), read.missed);
            assert_eq!(got, expected, "{reader}");
            if let Some(position) = read.position {
                redis.run(&format!("DIRTY.ACK s CURSOR c {position}"));
            }
        }
    }
}

#[test]
fn what_a_filter_another_shard_or_min_age_takes_is_not_missed() {
    let server = Server::start();
    let mut redis = stream_of(&server, 10);
    let all = ids(&mut redis);
    for (reader, settings) in [
        ("GROUP g", "WHERE OPS D"),
        ("CURSOR c", "WHERE OPS D"),
        ("CURSOR c0", "SHARD 0 2"),
        ("CURSOR c1", "SHARD 1 2"),
        ("GROUP old", "MINAGE 60000"),
    ] {
        redis.run(&format!("DIRTY.READER s {reader} FROM 0 {settings}"));
    }
    redis.run("DIRTY.FLUSH user DELETE 5");
    for n in [2, 7, 8] {
        redis.run(&format!("XDEL s {}", all[n - 1]));
    }
    for reader in READERS {
        assert_eq!(told(&mut redis, reader), "5 (3)", "{reader}");
    }
    // Each shard may have lost them: whose they were is not known any more.
    for (shard, expected) in [(0, "1 3 5 9 5 (3)"), (1, "4 6 10 (3)")] {
        assert_eq!(told(&mut redis, &format!("CURSOR c{shard}")), expected);
    }
    assert_eq!(
        told(&mut redis, "GROUP old w"),
        " (0)",
        "they are too young to be missed"
    );
    std::thread::sleep(std::time::Duration::from_millis(5));
    redis.run("DIRTY.READER s GROUP old MINAGE 1");
    assert_eq!(told(&mut redis, "GROUP old w"), "1 3 4 5 6 9 10 5 (3)");
    // Rejected or not, what was looked at is behind the reader.
    acknowledge(&mut redis, "CURSOR c");
    redis.run("XTRIM s MAXLEN 0");
    flush(&mut redis, 20..=22);
    redis.run("XTRIM s MAXLEN 1");
    for reader in READERS {
        // Nothing passes the filter, and yet the number must be told, without waiting.
        let blocking = format!("{reader} BLOCK 0");
        assert_eq!(told(&mut redis, &blocking), " (2)", "{reader}");
    }
}

#[test]
fn pending_entries_that_vanish_are_told_to_who_would_get_them_again() {
    for again in ["PENDING", ""] {
        for max in ["", "MAXDELIVERIES 5"] {
            let server = Server::start();
            let mut redis = stream_of(&server, 6);
            let ids = ids(&mut redis);
            redis.run(&format!("DIRTY.READER s GROUP g FROM 0 CLAIM 40 {max}"));
            consume(&mut redis, "s GROUP g c COUNT 4");
            redis.run(&format!("DIRTY.ACK s GROUP g c {}", ids[0]));
            // Acknowledged, pending, pending, still to read.
            for n in [1, 2, 4, 5] {
                redis.run(&format!("XDEL s {}", ids[n - 1]));
            }
            if again.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            let (mut events, mut missed) = (Vec::new(), 0);
            for _ in 0..4 {
                let read = consume(&mut redis, &format!("s GROUP g c {again}"));
                missed += read
                    .missed
                    .trim_matches(['(', ')'])
                    .parse::<u64>()
                    .expect("a number");
                redis.run(&format!("DIRTY.ACK s GROUP g c {} 1-1", read.ids.join(" ")));
                events.extend(read.events);
            }
            assert_eq!(events, ["3x2", "6"], "{again} {max}");
            assert_eq!(missed, 3, "{again} {max}");
            assert_eq!(redis.run("DIRTY.PENDING s GROUP g"), "[]");
        }
    }
}

/// Every reader of a stream says one number, whatever was done to the stream by hand.
#[test]
fn what_others_do_to_ids_counts_the_same_for_every_reader_and_in_stats() {
    for (by_hand, expected) in [
        ("XADD s 99999999999999-0 a b", 0),
        ("XADD s 99999999999999-77 a b", 0),
        ("XSETID s {ms}-500", 0),
        ("XSETID s 99999999999999-500", 0),
        (
            "XSETID s {ms}-500 ENTRIESADDED 500 MAXDELETEDID {ms}-499",
            497,
        ),
        ("XSETID s {ms}-3 ENTRIESADDED 400 MAXDELETEDID 0-0", 0),
        ("XDEL s {second}", 1),
        // A seq that begins again, and one that jumps.
        ("XADD s 99999999999999-0 a b | XDEL s {second}", 1),
        ("XADD s 99999999999999-77 a b | XDEL s {second}", 1),
        ("XSETID s {ms}-500 | XDEL s {second}", 1),
        ("XDEL s {last} | XADD s 99999999999999-0 a b", 0),
        ("XADD s 99999999999999-77 a b | XDEL s 99999999999999-77", 1),
    ] {
        let server = Server::start();
        let mut redis = stream_of(&server, 3);
        declare(&mut redis, "0");
        redis.run("XGROUP CREATE s n 0");
        let all = ids(&mut redis);
        let (second, last) = (all[1].clone(), all[2].clone());
        let ms = last.split('-').next().expect("a time");
        for command in by_hand
            .replace("{ms}", ms)
            .replace("{second}", &second)
            .replace("{last}", &last)
            .split(" | ")
        {
            let reply = redis.run(command);
            assert!(!reply.starts_with("ERR"), "{command}: {reply}");
        }
        flush(&mut redis, 4..=4);
        let stats = redis.value(&words("DIRTY.STATS s"));
        let Some(redis::Value::Array(readers)) = field(&stats, "readers") else {
            panic!("no readers");
        };
        let mut all: Vec<(String, String)> = Vec::new();
        for reader in &readers {
            let name = text(&field(reader, "name").expect("a name"));
            all.push((
                format!("STATS of {name}"),
                text(&field(reader, "missed").expect("missed")),
            ));
        }
        let looked = redis.value(&words("DIRTY.READ s FROM 0"));
        all.push(("READ".into(), read(&looked).missed));
        for reader in READERS {
            all.push((
                reader.into(),
                consume(&mut redis, &format!("s {reader}")).missed,
            ));
        }
        for (who, missed) in &all {
            assert_eq!(
                missed,
                &format!("({expected})"),
                "{who} after {by_hand}: {all:?}"
            );
        }
    }
}

/// `missed` is null once, or until a cursor acknowledges: nobody knows what was in the stream that is gone.
#[test]
fn a_stream_that_is_deleted_and_written_again_is_read_from_its_beginning_and_nobody_knows_what_was_missed()
 {
    for deleted in ["DEL s", "UNLINK s", "RENAME s old", "PEXPIRE s 1"] {
        for block in ["", "BLOCK 1000"] {
            let server = Server::start();
            let mut redis = stream_of(&server, 5);
            declare(&mut redis, "0");
            let first = consume(&mut redis, "s GROUP g c COUNT 3");
            let position = consume(&mut redis, "s CURSOR c COUNT 3")
                .position
                .expect("a position");
            redis.run(&format!("DIRTY.ACK s CURSOR c {position}"));
            redis.run(deleted);
            std::thread::sleep(std::time::Duration::from_millis(5));
            flush(&mut redis, 11..=14);
            let case = format!("{deleted} {block}");
            let late = format!("s GROUP g c ACK 1 {} COUNT 2 {block}", first.ids[0]);
            let read = consume(&mut redis, &late);
            assert_eq!(
                (read.events.join(" "), &*read.missed),
                ("11 12".into(), "nil"),
                "{case}"
            );
            assert_eq!(told(&mut redis, "GROUP g c COUNT 1"), "13 (0)", "{case}");
            // A position of the old stream moves nothing.
            for _ in 0..2 {
                let late = format!("CURSOR c ACK {position} COUNT 2 {block}");
                assert_eq!(told(&mut redis, &late), "11 12 nil", "{case}");
            }
            let position = consume(&mut redis, "s CURSOR c COUNT 2")
                .position
                .expect("a position");
            assert_eq!(
                redis.run(&format!("DIRTY.ACK s CURSOR c {position}")),
                "(1)"
            );
            assert_eq!(told(&mut redis, "CURSOR c"), "13 14 (0)", "{case}");
        }
    }
}

#[test]
fn a_reader_that_waits_is_told_when_it_wakes_with_a_filter_or_without() {
    for reader in READERS {
        for filter in ["", "WHERE OPS ID"] {
            let server = Server::start();
            let mut redis = stream_of(&server, 5);
            for name in ["GROUP g", "CURSOR c"] {
                redis.run(&format!("DIRTY.READER s {name} FROM $ {filter}"));
            }
            redis.run("DIRTY.DECLARE user STREAM s MAXLEN 2");
            let mut waits = waiting(&server, reader, "10000");
            redis.run("DIRTY.FLUSH user INSERT 6 0 INSERT 7 0 INSERT 8 0 INSERT 9 0 INSERT 10 0");
            let woken = read(&waits.receive().expect("a reply"));
            let got = (woken.events.join(" "), &*woken.missed);
            assert_eq!(got, ("9 10".into(), "(3)"), "{reader} {filter}");
            acknowledge(&mut redis, reader);
            // The stream goes, and comes again within the wait.
            let mut waits = waiting(&server, reader, "10000");
            redis.run("DEBUG SLEEP 0.002");
            redis.run("DEL s");
            redis.run("DIRTY.FLUSH user INSERT 21 0 INSERT 22 0");
            let woken = read(&waits.receive().expect("a reply"));
            let got = (woken.events.join(" "), &*woken.missed);
            assert_eq!(got, ("21 22".into(), "nil"), "{reader} {filter}");
        }
    }
}

/// The old primary went on alone for a while; its readers then read on from the new one.
#[test]
fn after_a_split_brain_a_cursor_gets_everything_of_the_new_primary() {
    for lost in [1, 5, 40] {
        let old = Server::start();
        let mut redis = stream_of(&old, 3);
        redis.run("DIRTY.READER s CURSOR c FROM 0");
        redis.run("DIRTY.READER s GROUP g FROM 0");
        let new = Server::replica_of(&old);
        old.wait_for_replica(&new);
        let mut promoted = new.connect();
        promoted.ok(&["REPLICAOF", "NO", "ONE"]);
        // Both are written to within the same time.
        for n in 0..lost.max(10) {
            // One id may not be given by both.
            std::thread::sleep(std::time::Duration::from_millis(2));
            if n < lost {
                redis.run(&format!("DIRTY.FLUSH user INSERT lost{n} 0"));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
            if n < 10 {
                promoted.run(&format!("DIRTY.FLUSH user INSERT new{n} 0"));
            }
        }
        let read_there = consume(&mut redis, "s CURSOR c");
        assert_eq!(read_there.events.len(), 3 + lost);
        let position = read_there.position.expect("a position");
        let held = consume(&mut redis, "s GROUP g w").ids;
        redis.run(&format!("DIRTY.ACK s CURSOR c {position}"));
        let moved = promoted.run(&format!("DIRTY.ACK s CURSOR c {position}"));
        assert_eq!(moved, "(0)", "{lost} lost");
        let mut got = consume(&mut promoted, &format!("s CURSOR c ACK {position}"));
        assert_eq!(got.missed, "nil", "{lost} lost");
        got.events.retain(|event| event.starts_with("new"));
        assert_eq!(got.events.len(), 10, "{lost} lost");
        let position = got.position.expect("a position");
        assert_eq!(
            promoted.run(&format!("DIRTY.ACK s CURSOR c {position}")),
            "(1)"
        );
        assert_eq!(told(&mut promoted, "CURSOR c"), " (0)");
        // The same by READ, with a position of its own.
        let foreign = held.last().expect("an id");
        let looked = promoted.run(&format!("DIRTY.READ s FROM {foreign}"));
        assert!(looked.starts_with("NOPOSITION "), "{looked}");
        // A group that held lost events is told that it does not hold them here.
        let ack = promoted.run(&format!("DIRTY.ACK s GROUP g w {}", held.join(" ")));
        assert_eq!(ack.split(' ').count(), held.len(), "{ack}");
        assert_eq!(consume(&mut promoted, "s GROUP g w").events.len(), 13);
    }
}

#[test]
fn a_reader_that_starts_at_a_time_or_at_the_beginning_has_missed_nothing_before_it() {
    let server = Server::start();
    let mut redis = stream_of(&server, 5);
    redis.run("DEBUG SLEEP 0.01");
    flush(&mut redis, 6..=8);
    let ids = ids(&mut redis);
    redis.run("XTRIM s MAXLEN 5"); // 4 5 6 7 8
    let ms = ids[5].split('-').next().expect("a time");
    for (n, (start, expected)) in [
        (ms.to_string(), "6 7 8 (0)"),
        (format!("{ms}-0"), "6 7 8 (0)"),
        ("1".into(), "4 5 6 7 8 (0)"),
        ("1-0".into(), "4 5 6 7 8 (0)"),
        ("0".into(), "4 5 6 7 8 (0)"),
        // Whoever names an event wants to know.
        (ids[0].clone(), "4 5 6 7 8 (2)"),
    ]
    .into_iter()
    .enumerate()
    {
        for (reader, consumer) in [("CURSOR c", ""), ("GROUP g", "me")] {
            let new = format!("s {reader}{n}");
            assert_eq!(redis.run(&format!("DIRTY.READER {new} FROM {start}")), "OK");
            let got = told(&mut redis, &format!("{reader}{n} {consumer}"));
            assert_eq!(got, expected, "{reader} at {start}");
            assert_eq!(redis.run(&format!("DIRTY.SEEK {new} {start}")), "OK");
            if reader.starts_with("CURSOR") {
                let got = told(&mut redis, &format!("{reader}{n} {consumer}"));
                assert_eq!(got, expected, "SEEK {reader} to {start}");
            }
        }
        let looked = redis.value(&words(&format!("DIRTY.READ s FROM {start}")));
        let looked = read(&looked);
        assert_eq!(
            format!("{} {}", looked.events.join(" "), looked.missed),
            expected,
            "{start}"
        );
    }
    // And of a stream that was emptied before.
    redis.run("XTRIM s MAXLEN 0");
    declare(&mut redis, "0");
    flush(&mut redis, 15..=15);
    for reader in READERS {
        assert_eq!(told(&mut redis, reader), "15 (0)", "{reader}");
    }
}
