//! Cursors: one position that only its reader moves; LAG, SHARD, SEEK, and WHERE with BLOCK.

use super::support::readers::{Read, consume, events, read, stream_of, waiting};
use super::support::{Conn, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

fn received(redis: &mut Conn) -> Read {
    read(&redis.receive().unwrap())
}

/// What a reader gets that acknowledges each batch with the next call, and how many calls it took.
fn read_all(redis: &mut Conn, reader: &str) -> (Vec<String>, usize) {
    let (mut all, mut ack) = (Vec::new(), String::new());
    for calls in 1..1000 {
        let batch = consume(redis, &format!("{reader} {ack}"));
        assert_eq!(batch.missed, "(0)");
        let is_last = batch.events.is_empty() && ack == format!("ACK {}", batch.position);
        all.extend(batch.events);
        if is_last {
            return (all, calls);
        }
        ack = format!("ACK {}", batch.position);
    }
    panic!("{reader} reads for ever");
}

#[test]
fn a_batch_comes_again_until_it_is_acknowledged_whoever_asks() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = stream_of(&server, 5);
    for mut connection in [server.connect(), server.connect(), server.connect()] {
        assert_eq!(events(&mut connection, "s CURSOR c COUNT 2"), "1 2");
    }
    let first = consume(&mut redis, "s CURSOR c COUNT 2");
    assert_eq!(first.position, first.ids[1]);
    // A part of a batch may be acknowledged, too.
    let part = &first.ids[0];
    assert_eq!(
        events(&mut redis, &format!("s CURSOR c ACK {part}")),
        "2 3 4 5"
    );
    server.kill();
    server.start_again();
    let mut redis = server.connect();
    assert_eq!(events(&mut redis, "s CURSOR c"), "2 3 4 5");
    assert_eq!(
        events(&mut redis, &format!("s CURSOR c ACK {}", first.position)),
        "3 4 5"
    );
    let rest = consume(&mut redis, "s CURSOR c").position;
    let nothing = consume(&mut redis, &format!("s CURSOR c ACK {rest}"));
    assert_eq!((nothing.events.len(), nothing.position), (0, rest));
}

#[test]
fn an_acknowledgement_never_moves_a_cursor_backwards() {
    let server = Server::start();
    let mut redis = stream_of(&server, 6);
    let ids = consume(&mut redis, "s CURSOR look").ids;
    let last = &ids[3];
    std::thread::sleep(Duration::from_millis(5)); // older than 0 ms
    for acknowledged in [
        format!("DIRTY.ACK s CURSOR c {last}"),
        format!("DIRTY.CONSUME s CURSOR c ACK {last} COUNT 1"),
    ] {
        redis.run("DIRTY.SEEK s CURSOR c 0");
        redis.run(&acknowledged);
        for id in ids[..4].iter().map(String::as_str).chain(["0-0", "1-99"]) {
            assert_eq!(redis.run(&format!("DIRTY.ACK s CURSOR c {id}")), "OK");
            let options = ["", "BLOCK 10", "LAG 0", "SHARD 0 1", "WHERE OPS IUD"];
            for options in options {
                let again = consume(
                    &mut redis,
                    &format!("s CURSOR c ACK {id} COUNT 1 {options}"),
                );
                assert_eq!(
                    (again.events.join(" ").as_str(), &*again.ids[0]),
                    ("5", &*ids[4])
                );
            }
        }
    }
}

#[test]
fn lag_holds_back_what_is_too_young() {
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    std::thread::sleep(Duration::from_millis(1500));
    redis.run("DIRTY.FLUSH user INSERT 3 0");
    let old = consume(&mut redis, "s CURSOR c LAG 1200");
    assert_eq!(old.events, ["1", "2"]);
    assert_eq!((&old.position, &*old.missed), (&old.ids[1], "(0)"));
    let none = consume(&mut redis, "s CURSOR c LAG 60000 BLOCK 20");
    assert_eq!((none.events.len(), &*none.missed), (0, "(0)"));
    assert_eq!(events(&mut redis, "s CURSOR c LAG 9007199254740992"), "");
    // Acknowledging more than that is the reader's own will.
    let third = consume(&mut redis, "s CURSOR c").position;
    assert_eq!(
        events(&mut redis, &format!("s CURSOR c ACK {third} LAG 1200")),
        ""
    );
    assert_eq!(events(&mut redis, "s CURSOR c"), "");
}

#[test]
fn a_reader_with_lag_wakes_when_the_event_is_old_enough() {
    let server = Server::start();
    let mut redis = stream_of(&server, 0);
    // The event is there before the reader, and comes while it waits; with others behind it.
    for filter in ["", "SHARD 0 2 ", "WHERE ENTITY user "] {
        redis.run("DIRTY.FLUSH user DELETE 1 DELETE 2 DELETE 3");
        redis.run("DEL s");
        redis.run("DIRTY.FLUSH user INSERT 1 0");
        let flushed = Instant::now();
        let mut early = waiting(&server, "CURSOR early LAG 400", "0");
        assert_eq!(received(&mut early).events, ["1"]);
        assert_old(flushed.elapsed(), 395);

        let mut late = waiting(
            &server,
            &format!("CURSOR late FROM $ LAG 400 {filter}"),
            "0",
        );
        redis.run("DIRTY.FLUSH user INSERT 2 0");
        let flushed = Instant::now();
        std::thread::sleep(Duration::from_millis(150));
        redis.run("DIRTY.FLUSH user INSERT 3 0"); // shall not wake it earlier, nor later
        let two = received(&mut late);
        let waited = flushed.elapsed();
        // The slots of 1 and 3 are even, that of 2 is odd.
        if filter.starts_with("SHARD") {
            assert_eq!(two.events, ["3"]);
            assert_old(waited, 545);
        } else {
            assert_eq!(two.events, ["2"]);
            assert_old(waited, 395);
        }
    }
    // The time to wait is up first.
    let start = Instant::now();
    redis.run("DIRTY.FLUSH user INSERT 4 0");
    let mut short = waiting(&server, "CURSOR short LAG 60000", "100");
    assert_eq!(received(&mut short).events.len(), 0);
    assert_old(start.elapsed(), 100);
}

fn assert_old(waited: Duration, ms: u128) {
    assert!(
        (ms..ms + 3000).contains(&waited.as_millis()),
        "{waited:?}, not {ms} ms"
    );
}

#[test]
fn four_shards_see_every_event_once_and_each_entity_in_order() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    let mut written = BTreeMap::new();
    for round in 0..5 {
        for entity in 0..40 {
            // Numbers, texts, bytes.
            let id = match entity % 3 {
                0 => format!("{entity}"),
                1 => format!("id-{entity}"),
                _ => format!("\\xff{entity}"),
            };
            redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 round {round}"));
            *written.entry(id).or_insert(0) += 1;
        }
        redis.run(&format!("XADD s * foreign {round}"));
    }
    for batch in ["COUNT 7", "COUNT 1000", "COUNT 1"] {
        let mut shards_of: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        let mut got = BTreeMap::new();
        let mut ids = Vec::new();
        for shard in 0..4 {
            let mut ack = String::new();
            loop {
                let reader = format!("s CURSOR c{shard} SHARD {shard} 4 {batch} {ack}");
                let read = consume(&mut redis, &reader);
                if read.events.is_empty() {
                    break;
                }
                assert_eq!(read.missed, "(0)");
                ack = format!("ACK {}", read.position);
                for event in &read.events {
                    shards_of.entry(event.clone()).or_default().insert(shard);
                    *got.entry(event.clone()).or_insert(0) += 1;
                }
                // In order, and so are those of each entity.
                assert!(read.ids.is_sorted_by_key(|id| key(id)));
                ids.extend(read.ids);
            }
            redis.run(&format!("XGROUP DESTROY s c{shard}"));
        }
        assert_eq!(shards_of.remove("raw"), Some([0].into()));
        assert_eq!(got.remove("raw"), Some(5));
        assert_eq!(got, written);
        assert!(
            shards_of.values().all(|shards| shards.len() == 1),
            "{shards_of:?}"
        );
        let used: BTreeSet<usize> = shards_of.into_values().flatten().collect();
        assert_eq!(used.len(), 4);
        let unique: BTreeSet<&String> = ids.iter().collect();
        assert_eq!((unique.len(), ids.len()), (205, 205));
    }
    // As Redis Cluster hashes: the checksum of 123456789 is 0x31c3.
    redis.run("DIRTY.FLUSH user INSERT 123456789 0");
    for (shard, is_in) in [(0, false), (1, false), (2, false), (3, true)] {
        let reader = format!("s CURSOR d{shard} SHARD {shard} 4 COUNT 1000");
        let events = events(&mut redis, &reader);
        assert_eq!(events.ends_with(" 123456789"), is_in, "{shard}");
    }
}

fn key(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').unwrap();
    (ms.parse().unwrap(), seq.parse().unwrap())
}

#[test]
fn seek_replays_from_any_start_and_makes_what_is_not_there() {
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    redis.run("DEBUG SLEEP 0.01");
    redis.run("DIRTY.FLUSH user INSERT 3 0 INSERT 4 0");
    let ids = consume(&mut redis, "s CURSOR look").ids;
    let third_ms = ids[2].split('-').next().unwrap();
    let before_third = ids[2].replace("-3", "-2");
    for (start, expected) in [
        ("0", "1 2 3 4"),
        ("$", ""),
        (&ids[0], "2 3 4"),
        (&ids[3], ""),
        (third_ms, "3 4"),
        (&before_third, "3 4"),
        ("99999999999999", ""),
        ("0-0", "1 2 3 4"),
        (&ids[1], "3 4"),
    ] {
        for reader in ["CURSOR c", "GROUP g"] {
            let new = format!("{reader}{start}");
            for reader in [reader, &new] {
                assert_eq!(redis.run(&format!("DIRTY.SEEK s {reader} {start}")), "OK");
                let (kind, _) = reader.split_once(' ').unwrap();
                let consumer = if kind == "GROUP" { "me" } else { "" };
                let read = consume(&mut redis, &format!("s {reader} {consumer} FROM 0"));
                assert_eq!(
                    (read.events.join(" ").as_str(), &*read.missed),
                    (expected, "(0)"),
                    "{reader} from {start}"
                );
            }
        }
    }
    // And of a stream that is not there.
    for reader in ["CURSOR c", "GROUP g"] {
        for (stream, start) in [("new", "0"), ("newer", "$"), ("newest", "5")] {
            assert_eq!(
                redis.run(&format!("DIRTY.SEEK {stream} {reader} {start}")),
                "OK"
            );
            assert_eq!(redis.run(&format!("XLEN {stream}")), "(0)");
        }
    }
    let groups = redis.run("XINFO GROUPS newest");
    assert_eq!(
        groups
            .matches("last-delivered-id 4-18446744073709551615")
            .count(),
        2
    );
}

#[test]
fn what_is_pending_stays_so_when_its_group_seeks() {
    let server = Server::start();
    let mut redis = stream_of(&server, 4);
    let read = consume(&mut redis, "s GROUP g c");
    redis.run(&format!("DIRTY.ACK s GROUP g {}", read.ids[0]));
    let pending = redis.run("XPENDING s g");
    assert!(pending.starts_with("[(3) "), "{pending}");
    for start in ["$", &read.ids[3]] {
        assert_eq!(redis.run(&format!("DIRTY.SEEK s GROUP g {start}")), "OK");
        assert_eq!(redis.run("XPENDING s g"), pending);
        assert_eq!(events(&mut redis, "s GROUP g c"), "");
    }
    redis.run("DIRTY.SEEK s GROUP g 0");
    assert_eq!(redis.run("XPENDING s g"), pending);
    // Replayed, they are pending once.
    assert_eq!(events(&mut redis, "s GROUP g d"), "1 2 3 4");
    let pending = redis.run("XPENDING s g");
    assert!(pending.ends_with("[[d 4]]]"), "{pending}");
    assert_eq!(events(&mut redis, "s GROUP g c PENDING"), "");
}

#[test]
fn a_reader_that_waits_replays_when_it_is_moved_back() {
    for (reader, acknowledge) in [("CURSOR c", "DIRTY.ACK s CURSOR c"), ("GROUP g me", "")] {
        for (start, expected) in [("0", "1 2 3 4 5"), ("$", "6")] {
            let server = Server::start();
            let mut redis = stream_of(&server, 5);
            let position = consume(&mut redis, "s CURSOR look").position;
            consume(&mut redis, &format!("s {reader}"));
            redis.run(&format!("{acknowledge} {position}"));
            let mut reading = waiting(&server, reader, "10000");
            let kind = reader.trim_end_matches(" me");
            assert_eq!(redis.run(&format!("DIRTY.SEEK s {kind} {start}")), "OK");
            redis.run("DIRTY.FLUSH user INSERT 6 0");
            let woken = received(&mut reading);
            let events: Vec<&str> = woken
                .events
                .iter()
                .map(|e| e.split('x').next().unwrap())
                .collect();
            assert_eq!(
                (events.join(" ").as_str(), &*woken.missed),
                (expected, "(0)"),
                "{reader}"
            );
        }
    }
}

#[test]
fn the_position_moves_past_what_was_filtered() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    redis.run("DIRTY.DECLARE order STREAM s");
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 a 1");
    redis.run("DIRTY.FLUSH order META 1 actor me SNAPSHOT 2 1 a 1");
    redis.run("DIRTY.FLUSH order META 2 actor you trace x UPDATE 2 1 a 2");
    redis.run("DIRTY.FLUSH user UPDATE 1 1 b 2 DELETE 1");
    redis.run("XADD s * foreign entry");
    let last = consume(&mut redis, "s CURSOR all").position;
    for (filter, expected) in [
        ("ENTITY user", "1 1 1"),
        ("ENTITY order OPS U", "2"),
        ("OPS ID", "1 2 1"),
        ("OPS u FIELDS 1 a", "2"),
        ("FIELDS 2 b c", "1 2 1 1"),
        ("META actor you", "2"),
        ("META actor you META trace x", "2"),
        ("META actor nobody", ""),
        ("ENTITY nobody", ""),
    ] {
        let reader = format!("s CURSOR c WHERE {filter}");
        let read = consume(&mut redis, &reader);
        assert_eq!(read.events.join(" "), expected, "{filter}");
        assert_eq!((&read.position, &*read.missed), (&last, "(0)"), "{filter}");
        // With any COUNT, none is passed over.
        for count in 1..4 {
            redis.run("DIRTY.SEEK s CURSOR c 0");
            let (all, _) = read_all(
                &mut redis,
                &format!("s CURSOR c COUNT {count} WHERE {filter}"),
            );
            assert_eq!(all.join(" "), expected, "{filter} by {count}");
        }
        redis.run("DIRTY.SEEK s CURSOR c 0");
    }
}

#[test]
fn a_reader_with_a_filter_waits_for_what_passes_it() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    for (kind, expected_position) in [("CURSOR c", true), ("GROUP g me", false)] {
        let mut reader = waiting(&server, &format!("{kind} FROM $ WHERE OPS D"), "10000");
        for id in 1..=3 {
            redis.run(&format!("DIRTY.FLUSH user TOUCH {id}"));
        }
        redis.run("XADD s * foreign entry");
        server.wait_for_blocked(1);
        redis.run("DIRTY.FLUSH user DELETE 1 SNAPSHOT 1 0");
        let woken = received(&mut reader);
        assert_eq!(
            (woken.events.join(" ").as_str(), &*woken.missed),
            ("1", "(0)"),
            "{kind}"
        );
        let last = consume(&mut redis, "s CURSOR look COUNT 1000").position;
        assert_eq!(woken.position == last, expected_position, "{kind}");
        // Given up, it knows how far it has looked.
        if expected_position {
            redis.run(&format!("DIRTY.ACK s CURSOR c {last}"));
        }
        let mut reader = waiting(&server, &format!("{kind} WHERE OPS D"), "500");
        redis.run("DIRTY.FLUSH user TOUCH 2");
        let last = consume(&mut redis, "s CURSOR look COUNT 1000").position;
        let nothing = received(&mut reader);
        assert_eq!((nothing.events.len(), &*nothing.missed), (0, "(0)"));
        let expected = if expected_position { &last } else { "nil" };
        assert_eq!(nothing.position, expected, "{kind}");
    }
}

#[test]
fn a_filter_that_rejects_everything_answers_before_long_and_goes_on() {
    let server = Server::start();
    let mut redis = stream_of(&server, 0);
    for chunk in 0..50 {
        let ops: String = (0..1000)
            .map(|i| format!(" INSERT {} 0", chunk * 1000 + i))
            .collect();
        redis.run(&format!("DIRTY.FLUSH user{ops}"));
    }
    redis.run("DIRTY.FLUSH user DELETE 1");
    for options in ["COUNT 10", "COUNT 100", "", "COUNT 4000"] {
        redis.run("DIRTY.SEEK s CURSOR c 0");
        let start = Instant::now();
        let first = consume(&mut redis, &format!("s CURSOR c {options} WHERE OPS D"));
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(
            first.events.is_empty() && first.position.len() > 13,
            "{options}"
        );
        redis.run("DIRTY.SEEK s CURSOR c 0");
        let (all, calls) = read_all(&mut redis, &format!("s CURSOR c {options} WHERE OPS D"));
        assert_eq!(all, ["1"], "{options}");
        assert!((5..10).contains(&calls), "{calls} calls with {options}");
        // Who waits is not told before there is something, and others are served meanwhile.
        redis.run("DIRTY.SEEK s CURSOR c 0");
        let reader = format!("CURSOR c {options} WHERE OPS D");
        let mut waits = waiting(&server, &reader, "0");
        let start = Instant::now();
        assert_eq!(redis.run("PING"), "PONG");
        assert!(start.elapsed() < Duration::from_millis(500));
        assert_eq!(received(&mut waits).events, ["1"], "{options}");
    }
    // A group's are acknowledged.
    let found = consume(&mut redis, "s GROUP g me WHERE OPS D BLOCK 0");
    assert_eq!(
        (found.events.join(" ").as_str(), &*found.missed),
        ("1", "(0)")
    );
    assert!(redis.run("XPENDING s g").starts_with("[(1) "));
}

/// Its place is where it was moved to, and its filter goes on from there.
#[test]
fn a_cursor_that_is_moved_while_its_reader_waits_for_what_passes_a_filter() {
    let server = Server::start();
    let mut redis = stream_of(&server, 1);
    let id = consume(&mut redis, "s CURSOR look").ids.remove(0);
    for way in [
        format!("DIRTY.ACK s CURSOR k {id}"),
        "DIRTY.SEEK s CURSOR k 0".into(),
    ] {
        redis.run("DIRTY.SEEK s CURSOR k 0");
        let mut waits = waiting(&server, "CURSOR k WHERE OPS D", "0");
        redis.run(&way);
        redis.raw(&[
            "EVAL",
            "for i=1,25000 do redis.call('XADD','s','*','a','b') end",
            "0",
        ]);
        redis.run("DIRTY.FLUSH user DELETE 1 INSERT 1 0");
        assert_eq!(received(&mut waits).events, ["1"], "{way}");
        redis.run("XTRIM s MAXLEN 0");
        redis.run("DIRTY.FLUSH user TOUCH 1");
    }
}

#[test]
fn an_event_of_the_far_future_is_waited_for_without_looking_all_the_time() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("XADD s 18446744073709551614-1 a b");
    let _readers: Vec<Conn> = (0..8)
        .map(|n| waiting(&server, &format!("CURSOR k{n} LAG 0"), "0"))
        .collect();
    let cpu = |redis: &mut Conn| -> f64 { redis.info("used_cpu_user").parse().unwrap() };
    let before = cpu(&mut redis);
    std::thread::sleep(Duration::from_millis(500));
    assert!(cpu(&mut redis) - before < 0.05);
}
