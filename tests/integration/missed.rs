//! `missed`: every reader that comes too late for an event is told of it, and nobody else.

mod histories;

use super::support::readers::{consume, read, stream_of, waiting};
use super::support::{Conn, Server, text};

const READERS: [&str; 2] = ["GROUP g c", "CURSOR c"];

/// What a reader gets, and how many it missed: `4 5 (3)`.
fn told(redis: &mut Conn, reader: &str) -> String {
    let read = consume(redis, &format!("s {reader}"));
    format!("{} {}", read.events.join(" "), read.missed)
}

fn flush(redis: &mut Conn, ids: std::ops::RangeInclusive<usize>) {
    for id in ids {
        redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
    }
}

/// The entry ids of the events 1, 2, 3…, before anything happens to them.
fn ids(redis: &mut Conn) -> Vec<String> {
    let ids = consume(redis, "s CURSOR ids COUNT 1000").ids;
    redis.run("XGROUP DESTROY s ids");
    ids
}

/// Deletes events by their number.
fn delete(redis: &mut Conn, ids: &[String], numbers: &[usize]) {
    for number in numbers {
        assert_eq!(redis.run(&format!("XDEL s {}", ids[number - 1])), "(1)");
    }
}

/// Makes a reader, with all events before it.
fn begin(redis: &mut Conn, reader: &str) {
    let name = reader.strip_suffix(" c").filter(|name| *name != "CURSOR");
    let seek = format!("DIRTY.SEEK s {} 0", name.unwrap_or(reader));
    assert_eq!(redis.run(&seek), "OK");
}

/// Acknowledges for a cursor all that it has been given.
fn acknowledge(redis: &mut Conn, reader: &str) {
    if let Some(name) = reader.strip_prefix("CURSOR ") {
        let position = consume(redis, &format!("s {reader} COUNT 1000")).position;
        redis.run(&format!("DIRTY.ACK s CURSOR {name} {position}"));
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
    ("XDEL s {10}", "4 5 6 7 8 9 (1)"),
    ("XDEL s {4} {6} {9} {10}", "5 7 8 (4)"),
    ("XDEL s {2} {4} {5} {6} {7} {8} {9} {10}", " (7)"),
    ("XTRIM s MAXLEN = 0", " (7)"),
    (
        "DIRTY.DECLARE user STREAM s MAXLEN 2 | DIRTY.FLUSH user INSERT 11 0",
        "10 11 (6)",
    ),
    (
        "DIRTY.DECLARE user STREAM s MAXLEN 2 | DIRTY.FLUSH user INSERT 11 0 INSERT 12 0 INSERT 13 0",
        "12 13 (8)",
    ),
];

#[test]
fn who_had_not_read_what_is_gone_is_told_the_exact_number_and_others_are_not() {
    for &(done, expected) in GONE {
        let server = Server::start();
        let mut redis = stream_of(&server, 10);
        let ids = ids(&mut redis);
        for reader in ["GROUP g-behind c", "CURSOR behind"] {
            consume(&mut redis, &format!("s {reader} COUNT 3"));
        }
        for reader in ["GROUP g-done c", "CURSOR done"] {
            consume(&mut redis, &format!("s {reader}"));
        }
        redis.run(&format!("DIRTY.ACK s CURSOR behind {}", ids[2]));
        redis.run(&format!("DIRTY.ACK s CURSOR done {}", ids[9]));
        for command in done.split(" | ").filter(|command| !command.is_empty()) {
            let command = (1..=10).fold(command.to_string(), |command, n| {
                command.replace(&format!("{{{n}}}"), &ids[n - 1])
            });
            let reply = redis.run(&command);
            assert!(reply.starts_with(['(', '[', 'O']), "{command}: {reply}");
        }
        // Who had read all is told only of what came since.
        let new = match done.matches("INSERT").count() {
            0 => " (0)",
            1 => "11 (0)",
            _ => "12 13 (1)",
        };
        let mut resp3 = server.connect_resp3();
        let number = expected.rsplit(' ').next().unwrap();
        let twin = resp3.run("DIRTY.CONSUME s CURSOR behind");
        assert!(
            twin.ends_with(&format!("missed: {number}}}")),
            "{done}: {twin}"
        );
        for name in ["behind", "done"] {
            let expected = if name == "behind" { expected } else { new };
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
        }
        nobody_is_told_twice(&mut redis, done);
    }
}

/// More comes, and what was missed before is not told again.
fn nobody_is_told_twice(redis: &mut Conn, done: &str) {
    flush(redis, 20..=20);
    for reader in [
        "GROUP g-behind d",
        "CURSOR behind",
        "GROUP g-done d",
        "CURSOR done",
    ] {
        let read = consume(redis, &format!("s {reader}"));
        assert_eq!(read.events.last().unwrap(), "20", "{done}");
        if !done.contains("MAXLEN 2") {
            assert_eq!(read.missed, "(0)", "{done}");
        }
    }
}

#[test]
fn a_number_is_told_with_the_batch_that_it_precedes() {
    let server = Server::start();
    let mut redis = stream_of(&server, 12);
    let ids = ids(&mut redis);
    for reader in READERS {
        begin(&mut redis, reader);
    }
    delete(&mut redis, &ids, &[1, 4, 5, 9, 11, 12]);
    for reader in READERS {
        for expected in ["2 3 (1)", "6 7 (2)", "8 10 (1)", " (2)", " (0)"] {
            let read = consume(&mut redis, &format!("s {reader} COUNT 2"));
            assert_eq!(
                format!("{} {}", read.events.join(" "), read.missed),
                expected,
                "{reader}"
            );
            if reader.starts_with("CURSOR") {
                redis.run(&format!("DIRTY.ACK s CURSOR c {}", read.position));
            }
        }
    }
}

#[test]
fn what_a_filter_or_another_shard_takes_is_not_missed() {
    let server = Server::start();
    let mut redis = stream_of(&server, 10);
    let all = ids(&mut redis);
    for reader in ["GROUP g", "CURSOR c", "CURSOR c0", "CURSOR c1"] {
        redis.run(&format!("DIRTY.SEEK s {reader} 0"));
    }
    redis.run("DIRTY.FLUSH user DELETE 5");
    delete(&mut redis, &all, &[2, 7, 8]);
    for reader in READERS {
        let filtered = format!("{reader} WHERE OPS D");
        assert_eq!(told(&mut redis, &filtered), "5 (3)");
    }
    // Each shard may have lost them: whose they were is not known any more.
    for (shard, expected) in [(0, "1 3 5 9 5 (3)"), (1, "4 6 10 (3)")] {
        let sharded = format!("CURSOR c{shard} SHARD {shard} 2");
        assert_eq!(told(&mut redis, &sharded), expected);
    }
    // Rejected or not, what was looked at is behind the reader.
    acknowledge(&mut redis, "CURSOR c");
    redis.run("XTRIM s MAXLEN 0");
    for reader in READERS {
        assert_eq!(told(&mut redis, &format!("{reader} WHERE OPS D")), " (0)");
    }
    flush(&mut redis, 20..=22);
    redis.run("XTRIM s MAXLEN 1");
    for reader in READERS {
        // Nothing passes the filter, and yet the number must be told.
        assert_eq!(told(&mut redis, &format!("{reader} WHERE OPS D")), " (2)");
    }
}

#[test]
fn a_reader_with_lag_is_told_when_it_would_have_read() {
    let server = Server::start();
    let mut redis = stream_of(&server, 4);
    let ids = ids(&mut redis);
    redis.run("DIRTY.SEEK s CURSOR c 0");
    delete(&mut redis, &ids, &[1, 4]);
    assert_eq!(told(&mut redis, "CURSOR c LAG 60000"), " (0)");
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(told(&mut redis, "CURSOR c LAG 10"), "2 3 (2)");
}

#[test]
fn a_reader_that_waits_is_told_when_it_wakes() {
    for reader in READERS {
        for filter in ["", "WHERE ENTITY user"] {
            let server = Server::start();
            let mut redis = stream_of(&server, 5);
            consume(&mut redis, &format!("s {reader}"));
            acknowledge(&mut redis, reader);
            redis.run("DIRTY.DECLARE user STREAM s MAXLEN 2");
            let mut waits = waiting(&server, &format!("{reader} {filter}"), "10000");
            redis.run("DIRTY.FLUSH user INSERT 6 0 INSERT 7 0 INSERT 8 0 INSERT 9 0 INSERT 10 0");
            let woken = read(&waits.receive().unwrap());
            assert_eq!(
                (woken.events.join(" ").as_str(), &*woken.missed),
                ("9 10", "(3)"),
                "{reader}"
            );
            acknowledge(&mut redis, reader);
            // One that has something to be told does not wait.
            flush(&mut redis, 11..=12);
            redis.run("XTRIM s MAXLEN 0");
            assert_eq!(
                told(&mut redis, &format!("{reader} BLOCK 0 {filter}")),
                " (2)"
            );
            // Trimmed while it waits: told with the next event.
            acknowledge(&mut redis, reader);
            flush(&mut redis, 13..=13);
            consume(&mut redis, &format!("s {reader}"));
            acknowledge(&mut redis, reader);
            let mut waits = waiting(&server, &format!("{reader} WHERE OPS D"), "10000");
            flush(&mut redis, 14..=14); // rejected
            redis.run("XTRIM s MAXLEN 0");
            redis.run("MULTI");
            redis.run("DIRTY.FLUSH user INSERT 15 0");
            redis.run("XTRIM s MAXLEN 0");
            redis.run("DIRTY.FLUSH user DELETE 1");
            redis.run("EXEC");
            let woken = read(&waits.receive().unwrap());
            assert_eq!(
                (woken.events.join(" ").as_str(), &*woken.missed),
                ("1", "(1)"),
                "{reader}"
            );
        }
    }
}

#[test]
fn pending_entries_that_vanish_are_told_to_who_asks_for_them() {
    for again in [
        "PENDING",
        "CLAIM 0",
        "CLAIM 0 MAXDELIVERIES 5",
        "PENDING CLAIM 0",
    ] {
        let server = Server::start();
        let mut redis = stream_of(&server, 6);
        let ids = ids(&mut redis);
        consume(&mut redis, "s GROUP g c COUNT 4");
        redis.run(&format!("XACK s g {}", ids[0]));
        // Acknowledged, pending, pending, still to read.
        delete(&mut redis, &ids, &[1, 2, 4, 5]);
        assert_eq!(
            told(&mut redis, &format!("GROUP g c {again}")),
            "3x2 6 (3)",
            "{again}"
        );
        assert!(told(&mut redis, &format!("GROUP g c {again}")).ends_with(" (0)"));
        assert!(redis.run("XPENDING s g").starts_with("[(2) "));
        // A worn one is not there to be buried.
        delete(&mut redis, &ids, &[3]);
        let told = told(&mut redis, "GROUP g c CLAIM 0 MAXDELIVERIES 1");
        assert_eq!(
            (told.as_str(), redis.run("XLEN s:dead").as_str()),
            (" (1)", "(1)")
        );
    }
}

#[test]
fn entries_by_others_count_nothing() {
    for id in ["*", "99999999999999-0", "99999999999999-77"] {
        let server = Server::start();
        let mut redis = stream_of(&server, 3);
        let known = ids(&mut redis);
        for reader in READERS {
            begin(&mut redis, reader);
        }
        redis.run(&format!("XADD s {id} foreign entry"));
        flush(&mut redis, 4..=5);
        redis.run("XADD s * foreign entry");
        for reader in READERS {
            let look = match reader {
                "CURSOR c" => "CURSOR look",
                _ => "GROUP g-look c",
            };
            assert_eq!(
                told(&mut redis, &format!("{look} FROM 0")),
                "1 2 3 raw 4 5 raw (0)",
                "{id}"
            );
            assert_eq!(
                told(&mut redis, &format!("{reader} COUNT 2")),
                "1 2 (0)",
                "{id}"
            );
            acknowledge_up_to(&mut redis, reader, &known[1]);
        }
        delete(&mut redis, &known, &[3]);
        let all = ids(&mut redis);
        redis.run(&format!("XDEL s {}", all[3])); // event 4
        for reader in READERS {
            // A foreign entry hides what was lost before it, and makes up nothing.
            assert_eq!(told(&mut redis, reader), "raw 5 raw (1)", "{reader} {id}");
        }
    }
    // A stream of theirs alone, trimmed.
    let server = Server::start();
    let mut redis = server.connect();
    for reader in READERS {
        told(&mut redis, reader);
    }
    for seq in [5, 9, 100] {
        redis.run(&format!("XADD s 7-{seq} a b"));
    }
    for reader in READERS {
        assert_eq!(told(&mut redis, reader), "raw raw raw (0)");
    }
}

fn acknowledge_up_to(redis: &mut Conn, reader: &str, id: &str) {
    if let Some(name) = reader.strip_prefix("CURSOR ") {
        redis.run(&format!("DIRTY.ACK s CURSOR {name} {id}"));
    }
}

#[test]
fn a_stream_that_is_deleted_and_written_again_is_a_new_one() {
    for deleted in [
        "DEL s",
        "UNLINK s",
        "FLUSHDB",
        "RENAME s old",
        "PEXPIRE s 1",
    ] {
        let server = Server::start();
        let mut redis = stream_of(&server, 5);
        let mut position = String::new();
        for reader in READERS {
            position = consume(&mut redis, &format!("s {reader} COUNT 3")).ids[2].clone();
        }
        redis.run(deleted);
        std::thread::sleep(std::time::Duration::from_millis(5));
        redis.run("DIRTY.DECLARE user STREAM s");
        flush(&mut redis, 11..=14);
        let ids = ids(&mut redis);
        assert!(ids[0].ends_with("-1"), "{deleted}: {ids:?}");
        // Its groups went with it: they begin anew, and read all that there is.
        assert_eq!(
            told(&mut redis, "GROUP g c COUNT 2"),
            "11 12 (0)",
            "{deleted}"
        );
        // Also a cursor that brings a position of old.
        let brought = told(&mut redis, &format!("CURSOR c ACK {position} COUNT 2"));
        assert_eq!(brought, "11 12 (0)", "{deleted}");
        acknowledge_up_to(&mut redis, "CURSOR c", &ids[1]);
        delete(&mut redis, &ids, &[3]);
        for reader in READERS {
            assert_eq!(told(&mut redis, reader), "14 (1)", "{deleted}, {reader}");
        }
    }
}

#[test]
fn a_stream_that_is_written_again_while_a_reader_waits_is_told_from_its_beginning() {
    for reader in READERS {
        let server = Server::start();
        let mut redis = stream_of(&server, 6);
        consume(&mut redis, &format!("s {reader} FROM $"));
        acknowledge(&mut redis, reader);
        redis.run("DIRTY.DECLARE user STREAM s MAXLEN 2");
        let mut waits = waiting(&server, reader, "10000");
        redis.run("DEL s");
        redis.run("DIRTY.FLUSH user INSERT 11 0 INSERT 12 0 INSERT 13 0 INSERT 14 0 INSERT 15 0");
        let reply = waits.receive().unwrap();
        let woken = read(&reply);
        assert_eq!(
            (woken.events.join(" ").as_str(), &*woken.missed),
            ("14 15", "(3)"),
            "{}",
            text(&reply)
        );
    }
}

#[test]
fn a_reader_that_starts_at_a_time_has_missed_nothing_before_it() {
    let server = Server::start();
    let mut redis = stream_of(&server, 5);
    redis.run("DEBUG SLEEP 0.01");
    flush(&mut redis, 6..=8);
    let ids = ids(&mut redis);
    redis.run("XTRIM s MAXLEN 5"); // 4 5 6 7 8
    let ms = ids[5].split('-').next().unwrap();
    for (start, expected) in [
        (ms.to_string(), "6 7 8 (0)"),
        (format!("{ms}-0"), "6 7 8 (0)"),
        ("1".into(), "4 5 6 7 8 (0)"),
        ("1-0".into(), "4 5 6 7 8 (0)"),
        ("0".into(), "4 5 6 7 8 (0)"),
        // Whoever names an event, or the very beginning, wants to know.
        (ids[0].clone(), "4 5 6 7 8 (2)"),
    ] {
        for (reader, consumer) in [("CURSOR c", ""), ("GROUP g", "me")] {
            assert_eq!(redis.run(&format!("DIRTY.SEEK s {reader} {start}")), "OK");
            let read = told(&mut redis, &format!("{reader} {consumer}"));
            assert_eq!(read, expected, "{reader} at {start}");
            let new = format!("{reader}{start} {consumer} FROM {start}");
            assert_eq!(told(&mut redis, &new), expected, "{new}");
        }
    }
}

#[test]
fn a_number_alone_ends_the_waiting() {
    for (reader, is_later) in [
        ("GROUP g c", false),
        ("CURSOR c", false),
        ("CURSOR c LAG 200", true),
    ] {
        let server = Server::start();
        let mut redis = stream_of(&server, 0);
        told(&mut redis, reader);
        flush(&mut redis, 1..=3);
        let second = ids(&mut redis)[1].clone();
        redis.run(&format!("XDEL s {second}"));
        let start = std::time::Instant::now();
        let filtered = format!("{reader} BLOCK 5000 WHERE OPS D");
        assert_eq!(told(&mut redis, &filtered), " (1)", "{reader}");
        let waited = start.elapsed().as_millis();
        assert!(waited < 3000 && (!is_later || waited > 100), "{waited} ms");
    }
}

#[test]
fn no_more_are_missed_than_there_ever_were() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    for reader in READERS {
        consume(&mut redis, &format!("s {reader}"));
        acknowledge(&mut redis, reader);
    }
    redis.run("XADD s 99999999999999-77 foreign entry");
    redis.run("XDEL s 99999999999999-77");
    for reader in READERS {
        assert_eq!(told(&mut redis, reader), " (1)", "{reader}");
    }
}
