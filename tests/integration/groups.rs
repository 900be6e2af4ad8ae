//! Groups: CLAIM, MAXPENDING, MAXDELIVERIES and WHERE, beside native clients.

use super::support::entries::seqs;
use super::support::readers::{both, consume, events, held, reply, stream_of, waiting};
use super::support::users::user;
use super::support::{Conn, Server, text, wait_until};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many entries are pending, as XPENDING counts them.
fn pending(redis: &mut Conn, group: &str) -> usize {
    let summary = redis.run(&format!("XPENDING s {group}"));
    let count = summary[2..].split(')').next();
    count.unwrap().parse().unwrap()
}

#[test]
fn idle_entries_are_claimed_whoever_held_them_and_those_that_are_gone_are_told() {
    for protocol in 0..2 {
        let server = Server::start();
        let mut redis = stream_of(&server, 8);
        let reader = &mut both(&server)[protocol];
        let first = consume(reader, "s GROUP g a COUNT 3");
        assert_eq!(events(reader, "s GROUP g b COUNT 3"), "4 5 6");
        redis.run("XTRIM s MAXLEN = 7");
        redis.run(&format!("XDEL s {}", first.ids[2]));
        assert_eq!(events(reader, "s GROUP g c CLAIM 60000 COUNT 1"), "7");
        let claimed = consume(reader, "s GROUP g b CLAIM 0 COUNT 5");
        // Its own, too; and others in place of those that are gone.
        assert_eq!(claimed.events.join(" "), "2x2 4x2 5x2 6x2 7x2");
        assert_eq!(claimed.missed, "(2)");
        assert_eq!(held(&mut redis, "g"), "2:b:2 4:b:2 5:b:2 6:b:2 7:b:2");
        // Told once; and where all of them are gone, nothing is pending any longer.
        assert_eq!(consume(reader, "s GROUP g d CLAIM 0").missed, "(0)");
        redis.run("XTRIM s MAXLEN 0");
        let claimed = consume(reader, "s GROUP g e CLAIM 0");
        let told = (claimed.events.len(), &*claimed.missed);
        assert_eq!(told, (0, "(6)"));
        assert_eq!(held(&mut redis, "g"), "");
        assert_eq!(consume(reader, "s GROUP g e CLAIM 0").missed, "(0)");
    }
}

#[test]
fn a_consumer_gets_its_own_pending_entries_first_and_no_others() {
    let server = Server::start();
    stream_of(&server, 6);
    for (protocol, reader) in both(&server).iter_mut().enumerate() {
        let group = format!("s GROUP g{protocol}");
        assert_eq!(events(reader, &format!("{group} a COUNT 2")), "1 2");
        assert_eq!(events(reader, &format!("{group} b COUNT 2")), "3 4");
        let again = format!("{group} b PENDING COUNT 3");
        assert_eq!(events(reader, &again), "3x2 4x2 5");
        assert_eq!(events(reader, &again), "3x3 4x3 5x2");
        assert_eq!(events(reader, &format!("{group} c PENDING")), "6");
        // Own ones first, then idle ones, none twice.
        let all = events(reader, &format!("{group} b PENDING CLAIM 0"));
        assert_eq!(all, "3x4 4x4 5x3 1x2 2x2 6x2");
    }
}

/// Consumers on threads, of which some vanish between delivery and acknowledgement.
#[test]
fn concurrent_consumers_that_crash_lose_nothing_and_share_nothing() {
    const EVENTS: usize = 400;
    let server = Server::start();
    let work = |consumer: usize| {
        let [resp2, resp3] = both(&server);
        let mut redis = if consumer < 3 { resp2 } else { resp3 };
        let (mut ack, mut handled) = (String::new(), Vec::new());
        for call in 0.. {
            let arguments =
                format!("s GROUP g c{consumer} {ack} CLAIM 1500 MAXPENDING 7 COUNT 7 BLOCK 3000");
            let batch = consume(&mut redis, &arguments);
            if batch.ids.is_empty() {
                return handled;
            }
            if consumer >= 3 && call == 5 {
                return handled; // its connection is cut
            }
            ack = format!("ACK {} {}", batch.ids.len(), batch.ids.join(" "));
            handled.extend(batch.events);
        }
        handled
    };
    let mut redis = stream_of(&server, 0);
    redis.run("DIRTY.CONSUME s GROUP g c0");
    let handled: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..6).map(|n| scope.spawn(move || work(n))).collect();
        for id in 0..EVENTS {
            redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
        }
        let handled = workers.into_iter().map(|worker| worker.join().unwrap());
        handled.flatten().collect()
    });
    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    let mut again = 0;
    for event in &handled {
        let id = event.split('x').next().unwrap().parse().unwrap();
        *times.entry(id).or_default() += 1;
        again += usize::from(event.contains('x'));
    }
    assert_eq!(times.len(), EVENTS, "each was handled");
    assert_eq!(handled.len(), EVENTS, "and by one consumer only");
    // What three consumers took with them.
    assert!((3..=21).contains(&again), "{again}");
    assert_eq!(pending(&mut redis, "g"), 0);
}

#[test]
fn a_consumer_gets_no_more_new_entries_than_it_may_hold() {
    let server = Server::start();
    let mut redis = stream_of(&server, 9);
    let [mut reader, mut other] = both(&server);
    let held = consume(&mut reader, "s GROUP g a MAXPENDING 3");
    assert_eq!(held.events, ["1", "2", "3"]);
    assert_eq!(events(&mut reader, "s GROUP g a MAXPENDING 3"), "");
    let ack = format!("s GROUP g a ACK 1 {} MAXPENDING 3", held.ids[1]);
    assert_eq!(events(&mut reader, &ack), "4");
    // Each consumer has its own measure, and COUNT still counts.
    assert_eq!(
        events(&mut other, "s GROUP g b MAXPENDING 3 COUNT 2"),
        "5 6"
    );
    assert_eq!(events(&mut other, "s GROUP g b MAXPENDING 3 COUNT 2"), "7");
    // It bounds new entries only, and what is claimed counts.
    let claimed = events(&mut other, "s GROUP g b CLAIM 0 MAXPENDING 7");
    assert_eq!(claimed, "1x2 3x2 4x2 5x2 6x2 7x2 8");
    assert_eq!(
        events(&mut other, "s GROUP g b MAXPENDING 7 PENDING COUNT 2"),
        "1x3 3x3"
    );
    // An entry that comes does not wake a reader that holds enough; what it acknowledges does.
    let mut waits = waiting(&server, "GROUP g b MAXPENDING 7", "250");
    redis.run("DIRTY.FLUSH user INSERT 10 0");
    assert_eq!(reply(&mut waits), "[events [] position nil missed (0)]");
    let all = format!(
        "s GROUP g b ACK 2 {} {} MAXPENDING 7",
        held.ids[0], held.ids[2]
    );
    assert_eq!(events(&mut other, &all), "9 10");
}

#[test]
fn an_entry_claimed_once_too_often_goes_to_the_dead_stream() {
    for (protocol, (option, dead)) in [("", "s:dead"), ("DEAD other", "other")].iter().enumerate() {
        let server = Server::start();
        let mut redis = stream_of(&server, 6);
        let reader = &mut both(&server)[protocol];
        assert_eq!(events(reader, "s GROUP g a COUNT 2"), "1 2");
        assert_eq!(events(reader, "s GROUP g b CLAIM 0 COUNT 3"), "1x2 2x2 3");
        let claim = format!("CLAIM 0 MAXDELIVERIES 2 {option}");
        // In place of the dead ones come others, up to COUNT.
        let claimed = consume(reader, &format!("s GROUP g c {claim} COUNT 2"));
        assert_eq!(
            (claimed.events.join(" ").as_str(), &*claimed.missed),
            ("3x2 4", "(0)")
        );
        assert_eq!(seqs(&mut redis, dead), "1 2");
        assert_eq!(seqs(&mut redis, "s"), "1 2 3 4 5 6");
        assert_eq!(held(&mut redis, "g"), "3:c:2 4:c:1");
        // Also by PENDING, and what the stream has no longer does not die, but is missed.
        redis.run("XTRIM s MAXLEN 3");
        let own = consume(
            reader,
            &format!("s GROUP g c PENDING MAXDELIVERIES 2 {option} COUNT 1"),
        );
        assert_eq!(
            (own.events.join(" ").as_str(), &*own.missed),
            ("4x2", "(1)")
        );
        let own = events(
            reader,
            &format!("s GROUP g c PENDING MAXDELIVERIES 2 {option} COUNT 1"),
        );
        assert_eq!(own, "5");
        assert_eq!(seqs(&mut redis, dead), "1 2 3");
        let fields = redis.run(&format!("XREVRANGE {dead} + - COUNT 1"));
        assert!(fields.contains("dead-deliveries 2 dead-first"), "{fields}");
        assert!(fields.contains("-4 dead-group g dead-consumer c dead-error delivered 2 times and not acknowledged dead-"), "{fields}");
    }
}

/// What a stream and its groups are, but for how long somebody was idle.
fn snapshot(redis: &mut Conn) -> [String; 4] {
    [
        redis.digest(),
        held(redis, "g"),
        redis.run("XINFO STREAM s"),
        redis.run("DBSIZE"),
    ]
}

#[test]
fn a_dead_key_that_cannot_be_one_is_refused_before_anything_changes() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    let first = consume(&mut redis, "s GROUP g a COUNT 2");
    for command in ["RPUSH list x", "SET s:dead x"] {
        redis.run(command);
    }
    let ack = format!("ACK 1 {} DELETE", first.ids[0]);
    let before = snapshot(&mut redis);
    for (options, error) in [
        ("", "WRONGTYPE the key \"s:dead\" does not hold a stream"),
        (
            "DEAD list",
            "WRONGTYPE the key \"list\" does not hold a stream",
        ),
        ("DEAD s", "ERR the stream \"s\" cannot take its own dead"),
        (
            "DEAD user",
            "WRONGTYPE the key \"user\" does not hold a stream",
        ),
    ] {
        for reader in &mut both(&server) {
            for command in [
                format!("DIRTY.CONSUME s GROUP g b {ack} CLAIM 0 MAXDELIVERIES 1 {options}"),
                format!("DIRTY.CONSUME s GROUP g b CLAIM 0 MAXDELIVERIES 9 BLOCK 0 {options}"),
                format!("DIRTY.CONSUME s GROUP new b MAXDELIVERIES 9 {options}"),
                format!(
                    "DIRTY.FAIL s GROUP g {} why MAXDELIVERIES 1 {options}",
                    first.ids[1]
                ),
            ] {
                assert_eq!(reader.run(&command), error, "{command}");
                assert_eq!(snapshot(&mut redis), before, "{command}");
            }
        }
    }
    // Without MAXDELIVERIES nobody dies of CONSUME.
    assert_eq!(events(&mut redis, "s GROUP g b CLAIM 0 COUNT 2"), "1x2 2x2");
}

#[test]
fn a_named_dead_key_needs_rights_and_the_default_one_comes_with_its_stream() {
    let server = Server::start();
    let mut redis = stream_of(&server, 4);
    let no = "NOPERM this user may not write the key \"other\"";
    for rights in ["~s", "~s %R~other"] {
        let mut app = user(&server, &format!("+@all {rights}"));
        let id = consume(&mut app, "s GROUP g a CLAIM 0 COUNT 1").ids[0].clone();
        let before = snapshot(&mut redis);
        for command in [
            "DIRTY.CONSUME s GROUP g a CLAIM 0 MAXDELIVERIES 1 DEAD other",
            &format!("DIRTY.FAIL s GROUP g {id} why MAXDELIVERIES 1 DEAD other"),
            "DIRTY.REDRIVE s DEAD other",
        ] {
            assert_eq!(app.run(command), no, "{rights}: {command}");
            assert_eq!(snapshot(&mut redis), before, "{rights}: {command}");
        }
        let fail = format!("DIRTY.FAIL s GROUP g {id} why MAXDELIVERIES 1");
        assert_eq!(app.run(&fail), "dead", "{rights}");
        assert!(app.run("XLEN s:dead").starts_with("NOPERM"));
    }
    assert_eq!(seqs(&mut redis, "s:dead"), "1 2");
    assert_eq!(
        user(&server, "+@all ~s").run("DIRTY.REDRIVE s COUNT 1"),
        "(1)"
    );
    let mut app = user(&server, "+@all ~s ~other");
    consume(&mut app, "s GROUP g a COUNT 1");
    events(&mut app, "s GROUP g a CLAIM 0 MAXDELIVERIES 1 DEAD other");
    assert_eq!(seqs(&mut redis, "other"), "1");
}

#[test]
fn native_clients_and_readers_work_on_one_group_each_seeing_what_the_other_did() {
    let server = Server::start();
    let mut redis = stream_of(&server, 8);
    redis.run("XGROUP CREATE s g 0");
    for (protocol, mut reader) in both(&server).into_iter().enumerate() {
        if protocol == 1 {
            redis.run("XGROUP DESTROY s g");
            redis.run("XGROUP CREATE s g 0");
        }
        redis.run("XREADGROUP GROUP g native COUNT 2 STREAMS s >");
        let read = consume(&mut reader, "s GROUP g dirty COUNT 3");
        assert_eq!(read.events, ["3", "4", "5"]);
        redis.run("XREADGROUP GROUP g native COUNT 1 STREAMS s >");
        assert_eq!(
            held(&mut redis, "g"),
            "1:native:1 2:native:1 3:dirty:1 4:dirty:1 5:dirty:1 6:native:1"
        );
        assert_eq!(
            redis.run(&format!("XACK s g {} {}", read.ids[0], read.ids[0])),
            "(1)"
        );
        assert_eq!(
            events(&mut reader, "s GROUP g dirty PENDING COUNT 2"),
            "4x2 5x2"
        );
        assert_eq!(
            redis.run(&format!("DIRTY.ACK s GROUP g {}", read.ids[1])),
            "(1)"
        );
        let start = &read.ids[1];
        redis.run(&format!("XAUTOCLAIM s g native 0 {start} COUNT 1"));
        assert_eq!(
            held(&mut redis, "g"),
            "1:native:1 2:native:1 5:native:3 6:native:1"
        );
        // What a native client claims by XAUTOCLAIM counts as a delivery, also on the way to the dead.
        let claimed = events(
            &mut reader,
            "s GROUP g dirty CLAIM 0 MAXDELIVERIES 3 COUNT 3",
        );
        assert_eq!(claimed, "1x2 2x2 6x2");
        assert_eq!(held(&mut redis, "g"), "1:dirty:2 2:dirty:2 6:dirty:2");
        // A native client's own pending entries, and what is new, follow on.
        redis.run("XREADGROUP GROUP g native STREAMS s >");
        assert_eq!(events(&mut reader, "s GROUP g native PENDING"), "7x2 8x2");
        assert_eq!(redis.run("XGROUP DELCONSUMER s g native"), "(2)");
        assert_eq!(redis.run("XGROUP SETID s g 0"), "OK");
        assert_eq!(events(&mut reader, "s GROUP g late COUNT 1"), "1");
    }
}

#[test]
fn native_and_other_consumers_at_once_share_each_event_once() {
    const EVENTS: usize = 300;
    let server = Server::start();
    let mut redis = stream_of(&server, 0);
    redis.run("XGROUP CREATE s g 0 MKSTREAM");
    let native = |consumer: String| {
        let mut redis = server.connect();
        let mut seqs = Vec::new();
        loop {
            let read = format!("XREADGROUP GROUP g {consumer} COUNT 3 BLOCK 500 STREAMS s >");
            let reply = redis.run(&read);
            if reply == "nil" {
                return seqs;
            }
            for word in reply.split(['[', ' ']) {
                if let Some((ms, seq)) = word.split_once('-').filter(|(ms, _)| ms.len() == 13) {
                    assert_eq!(redis.run(&format!("XACK s g {ms}-{seq}")), "(1)");
                    seqs.push(seq.parse::<usize>().unwrap());
                }
            }
        }
    };
    let ours = |consumer: String, mut redis: Conn| {
        let (mut seqs, mut ack) = (Vec::new(), String::new());
        loop {
            let command = format!("s GROUP g {consumer} {ack} COUNT 3 BLOCK 500");
            let ids = consume(&mut redis, &command).ids;
            if ids.is_empty() {
                return seqs;
            }
            ack = format!("ACK {} {}", ids.len(), ids.join(" "));
            seqs.extend(
                ids.iter()
                    .map(|id| id.split('-').nth(1).unwrap().parse::<usize>().unwrap()),
            );
        }
    };
    let mut seqs: Vec<usize> = std::thread::scope(|scope| {
        let [resp2, resp3] = both(&server);
        let (native, ours) = (&native, &ours);
        let workers = [
            scope.spawn(|| native("n1".into())),
            scope.spawn(|| native("n2".into())),
            scope.spawn(|| ours("d1".into(), resp2)),
            scope.spawn(|| ours("d2".into(), resp3)),
        ];
        server.wait_for_blocked(4);
        for id in 0..EVENTS {
            redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
        }
        let shares = workers.map(|worker| worker.join().unwrap());
        assert!(
            shares.iter().all(|share| !share.is_empty()),
            "each has a share"
        );
        shares.concat()
    });
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=EVENTS).collect::<Vec<_>>());
    assert_eq!(pending(&mut redis, "g"), 0);
}

#[test]
fn who_waits_to_claim_is_not_told_of_what_it_does_not_get() {
    for resp3 in [false, true] {
        let server = Server::start();
        let mut redis = stream_of(&server, 3);
        assert_eq!(events(&mut redis, "s GROUP g a"), "1 2 3");
        // The filter rejects them, or they were delivered too often.
        for (options, left) in [("WHERE OPS D", 0), ("MAXDELIVERIES 1", 0)] {
            redis.run("XGROUP SETID s g 0");
            redis.run("XGROUP DELCONSUMER s g a");
            assert_eq!(events(&mut redis, "s GROUP g a"), "1 2 3");
            let mut waits = match resp3 {
                true => server.connect_resp3(),
                false => server.connect(),
            };
            let line = format!("DIRTY.CONSUME s GROUP g b CLAIM 100 BLOCK 600 {options}");
            let start = Instant::now();
            waits.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
            wait_until("the entries to be gone", || {
                pending(&mut redis, "g") == left
            });
            assert!(start.elapsed() < Duration::from_millis(500));
            let reply = text(&waits.receive().unwrap());
            assert!(
                start.elapsed() > Duration::from_millis(550),
                "{options}: {reply}"
            );
            assert!(reply.contains("events") && reply.contains("[]"), "{reply}");
        }
        assert_eq!(seqs(&mut redis, "s:dead"), "1 2 3");
        // And those that it gets come at their time.
        redis.run("DIRTY.FLUSH user DELETE 1");
        assert_eq!(events(&mut redis, "s GROUP g a FROM $"), "1");
        let start = Instant::now();
        let claimed = "s GROUP g b CLAIM 200 BLOCK 5000 MAXDELIVERIES 2 WHERE OPS D";
        assert_eq!(events(&mut redis, claimed), "1x2");
        assert!((190..1000).contains(&start.elapsed().as_millis()));
    }
}

#[test]
fn an_acknowledgement_elsewhere_makes_room_for_a_reader_that_waits() {
    let server = Server::start();
    let mut redis = stream_of(&server, 4);
    let held = consume(&mut redis, "s GROUP g a COUNT 2");
    let mut waits = waiting(&server, "GROUP g a MAXPENDING 2", "10000");
    let start = Instant::now();
    redis.run(&format!("DIRTY.ACK s GROUP g {}", held.ids[0]));
    assert!(reply(&mut waits).contains("entity_id 3"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_failed_now_is_anybodys_that_claims_or_asks_for_what_is_pending() {
    for options in ["CLAIM 60000", "PENDING"] {
        for consumer in ["a", "b"] {
            let server = Server::start();
            let mut redis = stream_of(&server, 1);
            let id = consume(&mut redis, "s GROUP g a").ids.remove(0);
            redis.run(&format!("DIRTY.FAIL s GROUP g {id} why NOW"));
            let next = format!("s GROUP g {consumer} {options}");
            assert_eq!(events(&mut redis, &next), "1x2", "{next}");
        }
    }
}

/// Who fails it for good, and who claims it, makes room as an acknowledgement does.
#[test]
fn room_that_is_made_in_other_ways_is_announced_too() {
    for way in [
        "DIRTY.FAIL s GROUP g #1 why MAXDELIVERIES 1",
        "DIRTY.CONSUME s GROUP g b CLAIM 0 COUNT 1",
    ] {
        let server = Server::start();
        let mut redis = stream_of(&server, 2);
        let id = consume(&mut redis, "s GROUP g a COUNT 1").ids.remove(0);
        let mut waits = waiting(&server, "GROUP g a MAXPENDING 1", "10000");
        let start = Instant::now();
        redis.run(&way.replace("#1", &id));
        assert!(reply(&mut waits).contains("entity_id 2"), "{way}");
        assert!(start.elapsed() < Duration::from_secs(5), "{way}");
    }
}

/// Even when who buries takes nothing itself.
#[test]
fn room_that_a_death_makes_is_announced() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    let id = consume(&mut redis, "s GROUP g a COUNT 1").ids.remove(0);
    consume(&mut redis, "s GROUP g b COUNT 1");
    redis.run(&format!("XCLAIM s g a 0 {id} IDLE 60000 RETRYCOUNT 5"));
    let mut waits = waiting(&server, "GROUP g a MAXPENDING 1", "10000");
    let start = Instant::now();
    let buries = consume(
        &mut redis,
        "s GROUP g b CLAIM 30000 MAXDELIVERIES 5 MAXPENDING 1",
    );
    assert!(buries.events.is_empty(), "{:?}", buries.events);
    assert_eq!(redis.run("XLEN s:dead"), "(1)");
    assert!(reply(&mut waits).contains("entity_id 3"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Readers that have nothing to claim for a while do not look through all that is pending at each write.
#[test]
fn many_pending_entries_do_not_slow_writes_down_while_readers_wait_to_claim() {
    const PENDING: usize = 50_000;
    let server = Server::start();
    let mut redis = server.connect();
    let fill = format!("for i=1,{PENDING} do redis.call('XADD','s','1-'..i,'a','b') end");
    redis.raw(&["EVAL", &fill, "0"]);
    redis.run("XGROUP CREATE s g 0");
    redis.run(&format!(
        "XREADGROUP GROUP g gone COUNT {PENDING} STREAMS s >"
    ));
    let mut readers: Vec<Conn> = (0..10)
        .map(|reader| waiting(&server, &format!("GROUP g r{reader} CLAIM 60000"), "0"))
        .collect();
    let start = Instant::now();
    for reader in &mut readers[..9] {
        redis.run("XADD s * a b");
        assert!(reply(reader).contains("fields"));
    }
    let taken = start.elapsed();
    assert!(taken < Duration::from_millis(500), "{taken:?}");
    // What is handed on is had at once.
    redis.run("DIRTY.FAIL s GROUP g 1-7 why NOW");
    assert!(reply(&mut readers[9]).contains("1-7"));
}

#[test]
fn the_one_that_is_claimable_first_wakes_wherever_it_stands() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.raw(&[
        "EVAL",
        "for i=1,2500 do redis.call('XADD','s','1-'..i,'a','b') end",
        "0",
    ]);
    consume(&mut redis, "s GROUP g a COUNT 2500");
    std::thread::sleep(Duration::from_millis(1500));
    // All but one were delivered again.
    consume(&mut redis, "s GROUP g a PENDING COUNT 2000");
    redis.raw(&[
        "EVAL",
        "for i=2001,2499 do redis.call('XCLAIM','s','g','a',0,'1-'..i) end",
        "0",
    ]);
    let start = Instant::now();
    let claimed = consume(&mut redis, "s GROUP g b CLAIM 4000 BLOCK 0");
    assert_eq!(claimed.ids, ["1-2500"]);
    let taken = start.elapsed();
    assert!(taken < Duration::from_millis(3900), "{taken:?}");
}
