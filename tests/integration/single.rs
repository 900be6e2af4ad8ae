//! SINGLE: one active consumer of a group, in order, one at a time, with failover.

use super::support::readers::{consume, events, held, reply, stream_of, waiting};
use super::support::{Conn, Server, wait_until};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// What a consumer has handled: its name, the event's seq, and whether it got it again.
type Handled = (&'static str, usize, bool);

/// What three consumers on threads know of each other.
#[derive(Default)]
struct Shift {
    handled: Mutex<Vec<Handled>>,
    at_work: AtomicUsize,
    /// How many consumers may have died by now.
    may_die: AtomicUsize,
    /// Who died, when, and the first event that it held.
    deaths: Mutex<Vec<(&'static str, Instant, usize)>>,
    takeovers: Mutex<Vec<(&'static str, Instant)>>,
    done: AtomicBool,
    at_the_end: AtomicBool,
}

impl Shift {
    fn work(&self, name: &'static str, mut conn: Conn, block: &str) {
        let (mut ack, mut was_active) = (String::new(), false);
        while !self.done.load(SeqCst) {
            let arguments = format!("s GROUP g {name} {ack} SINGLE 400 COUNT 5 BLOCK {block}");
            let batch = consume(&mut conn, &arguments);
            ack.clear();
            if batch.ids.is_empty() {
                continue;
            }
            assert_eq!(self.at_work.fetch_add(1, SeqCst), 0, "two are at work");
            if !std::mem::replace(&mut was_active, true) {
                let mut takeovers = self.takeovers.lock().unwrap();
                takeovers.push((name, Instant::now()));
            }
            let seqs: Vec<usize> = (batch.ids.iter())
                .map(|id| id.split('-').nth(1).unwrap().parse().unwrap())
                .collect();
            if self.deaths.lock().unwrap().len() < self.may_die.load(SeqCst) {
                drop(conn); // between delivery and acknowledgement
                let mut deaths = self.deaths.lock().unwrap();
                deaths.push((name, Instant::now(), seqs[0]));
                self.at_work.fetch_sub(1, SeqCst);
                return;
            }
            for (seq, event) in seqs.into_iter().zip(&batch.events) {
                std::thread::sleep(Duration::from_millis(1));
                let mut handled = self.handled.lock().unwrap();
                handled.push((name, seq, event.contains('x')));
            }
            ack = format!("ACK {} {}", batch.ids.len(), batch.ids.join(" "));
            self.at_work.fetch_sub(1, SeqCst);
        }
        self.at_the_end.store(true, SeqCst);
    }

    /// Lets the consumer that is active die, and waits until another goes on.
    fn let_one_die(&self, redis: &mut Conn) {
        let handled = || self.handled.lock().unwrap().len();
        let before = handled();
        let dead = 1 + self.may_die.fetch_add(1, SeqCst);
        wait_until("events handled after a death", || {
            redis.run("DIRTY.FLUSH user TOUCH 1");
            handled() > before + 10 && self.deaths.lock().unwrap().len() == dead
        });
    }

    fn end(&self, redis: &mut Conn) {
        wait_until("all to be handled", || {
            let groups = redis.run("XINFO GROUPS s");
            let last = redis.run("XREVRANGE s + - COUNT 1");
            groups.contains("pending (0)") && groups.contains(&last[2..20])
        });
        self.done.store(true, SeqCst);
        // Who waits for ever is woken, and those that have the turn no longer see the end.
        while !self.at_the_end.load(SeqCst) {
            redis.run("DIRTY.FLUSH user TOUCH 1");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Three consumers on threads. Whoever is active when the signal comes vanishes with what it was
/// delivered; before and after that, one at a time handles events.
#[test]
fn when_the_active_consumer_dies_another_goes_on_with_what_it_held_in_order() {
    const EVENTS: usize = 150;
    const LEASE: Duration = Duration::from_millis(400);
    let server = Server::start();
    let mut redis = stream_of(&server, 0);
    redis.run("XGROUP CREATE s g 0 MKSTREAM");
    let shift = Shift::default();
    std::thread::scope(|scope| {
        let shift = &shift;
        // One polls, the others wait; one speaks RESP3.
        let (a, b, c) = (server.connect(), server.connect_resp3(), server.connect());
        scope.spawn(move || shift.work("a", a, "0"));
        scope.spawn(move || shift.work("b", b, "5000"));
        scope.spawn(move || shift.work("c", c, "20"));
        for id in 1..=EVENTS {
            redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
            if id % 50 == 0 && id < EVENTS {
                shift.let_one_die(&mut redis);
            }
        }
        shift.end(&mut redis);
    });
    let handled = shift.handled.into_inner().unwrap();
    let deaths = shift.deaths.into_inner().unwrap();
    let takeovers = shift.takeovers.into_inner().unwrap();
    let seqs: Vec<usize> = handled.iter().map(|(_, seq, _)| *seq).collect();
    let all: Vec<usize> = (1..=seqs.len()).collect();
    assert_eq!(seqs, all, "each once and in order");
    assert_eq!((deaths.len(), takeovers.len()), (2, 3));
    for ((dead, died, first), (heir, took_over)) in deaths.iter().zip(&takeovers[1..]) {
        assert_ne!(dead, heir);
        let after = took_over.duration_since(*died);
        assert!((LEASE / 2..LEASE * 5).contains(&after), "{after:?}");
        let held = handled.iter().find(|(_, seq, _)| seq == first);
        // What the dead one held comes first.
        assert_eq!(held, Some(&(*heir, *first, true)));
    }
}

#[test]
fn whoever_is_not_active_gets_nothing_until_the_lease_is_over_and_then_what_is_pending_first() {
    for resp3 in [false, true] {
        let server = Server::start();
        let mut redis = stream_of(&server, 6);
        let open = || {
            if resp3 {
                server.connect_resp3()
            } else {
                server.connect()
            }
        };
        let (mut a, mut b, mut c) = (open(), open(), open());
        let first = consume(&mut a, "s GROUP g a SINGLE 300 COUNT 2");
        assert_eq!(first.events, ["1", "2"]);
        for options in ["", "COUNT 5", "PENDING CLAIM 0", "MAXDELIVERIES 1"] {
            let read = events(&mut b, &format!("s GROUP g b SINGLE 300 {options}"));
            assert_eq!(read, "", "{options}");
        }
        assert_eq!(events(&mut c, "s GROUP g c SINGLE 300 BLOCK 20"), "");
        // A call by the active one, though it finds nothing more, keeps the turn.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            assert_eq!(events(&mut a, "s GROUP g a SINGLE 300 MAXPENDING 2"), "");
            assert_eq!(events(&mut b, "s GROUP g b SINGLE 300"), "");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(310));
        assert_eq!(
            events(&mut b, "s GROUP g b SINGLE 300 COUNT 3"),
            "1x2 2x2 3"
        );
        assert_eq!(held(&mut redis, "g"), "1:b:2 2:b:2 3:b:1");
        // Its former holder may still acknowledge, and gets nothing for it.
        let late = format!("s GROUP g a ACK 1 {} SINGLE 300", first.ids[0]);
        assert_eq!(events(&mut a, &late), "");
        assert_eq!(held(&mut redis, "g"), "2:b:2 3:b:1");
        assert_eq!(
            a.run(&format!("DIRTY.ACK s GROUP g {}", first.ids[1])),
            "(1)"
        );
        assert_eq!(events(&mut b, "s GROUP g b SINGLE 300"), "4 5 6");
        assert_eq!(held(&mut redis, "g"), "3:b:1 4:b:1 5:b:1 6:b:1");
    }
}

#[test]
fn what_others_held_comes_in_order_however_many_there_were_and_before_what_is_new() {
    let server = Server::start();
    let mut redis = stream_of(&server, 9);
    // Without SINGLE they have shared, and died.
    for (name, seqs) in [("a", "1 2"), ("b", "3 4"), ("a", "5 6"), ("c", "7")] {
        assert_eq!(
            events(
                &mut redis,
                &format!("s GROUP g {name} COUNT {}", seqs.split(' ').count())
            ),
            seqs
        );
    }
    std::thread::sleep(Duration::from_millis(110));
    let mut next =
        |count: usize| events(&mut redis, &format!("s GROUP g d SINGLE 100 COUNT {count}"));
    assert_eq!(next(3), "1x2 2x2 3x2");
    assert_eq!(next(3), "4x2 5x2 6x2");
    assert_eq!(next(2), "7x2 8");
    assert_eq!(next(2), "9");
}

#[test]
fn a_blocked_active_reader_keeps_its_lease() {
    let server = Server::start();
    let mut redis = stream_of(&server, 0);
    let mut active = waiting(&server, "GROUP g a SINGLE 200", "0");
    let mut passive = server.connect_resp3();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(700) {
        assert_eq!(events(&mut passive, "s GROUP g b SINGLE 200"), "");
        std::thread::sleep(Duration::from_millis(20));
    }
    let consumers = redis.run("XINFO CONSUMERS s g");
    assert!(
        !consumers.contains("name b"),
        "who has no turn: {consumers}"
    );
    let mut waits = waiting(&server, "GROUP g c SINGLE 200", "0");
    redis.run("DIRTY.FLUSH user INSERT 7 0");
    assert!(reply(&mut active).contains("entity_id 7"));
    assert_eq!(held(&mut redis, "g"), "1:a:1");
    // Now it is silent: who waits wakes with what it holds.
    let start = Instant::now();
    let woken = reply(&mut waits);
    let waited = start.elapsed();
    assert!(
        woken.contains("entity_id 7") && woken.contains("deliveries (2)"),
        "{woken}"
    );
    assert!((150..1000).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn a_blocked_active_reader_whose_connection_is_cut_is_followed_by_one_that_waits() {
    let server = Server::start();
    let mut redis = stream_of(&server, 0);
    let active = waiting(&server, "GROUP g a SINGLE 200", "0");
    let mut first = waiting(&server, "GROUP g b SINGLE 200", "0");
    let mut second = waiting(&server, "GROUP g c SINGLE 200", "0");
    drop(active);
    server.wait_for_blocked(2);
    redis.run("DIRTY.FLUSH user INSERT 7 0");
    // One of them, not both; the other when that one is silent.
    let mut deliveries = [reply(&mut first), reply(&mut second)].map(|woken| {
        assert!(woken.contains("entity_id 7"), "{woken}");
        woken.split("deliveries ").nth(1).unwrap()[..3].to_string()
    });
    deliveries.sort();
    assert_eq!(deliveries, ["(1)", "(2)"]);
}

#[test]
fn the_active_one_leaves_and_the_next_goes_on_at_once() {
    for resp3 in [false, true] {
        let server = Server::start();
        let mut redis = stream_of(&server, 3);
        let mut next = if resp3 {
            server.connect_resp3()
        } else {
            server.connect()
        };
        assert_eq!(
            events(&mut redis, "s GROUP g a SINGLE 60000 COUNT 2"),
            "1 2"
        );
        assert_eq!(events(&mut next, "s GROUP g b SINGLE 60000"), "");
        assert_eq!(redis.run("DIRTY.LEAVE s GROUP g a"), "(2)");
        assert_eq!(events(&mut next, "s GROUP g b SINGLE 60000"), "1x2 2x2 3");
        assert_eq!(events(&mut redis, "s GROUP g a SINGLE 60000"), "");
    }
}

/// It was not its turn when it asked for them after a restart.
#[test]
fn who_takes_the_turn_anew_goes_on_with_what_it_held_itself() {
    for count in [1, 100] {
        let server = Server::start();
        let mut redis = stream_of(&server, 5);
        assert_eq!(
            events(&mut redis, "s GROUP g a SINGLE 500 COUNT 3"),
            "1 2 3"
        );
        std::thread::sleep(Duration::from_millis(510));
        let first = consume(&mut redis, "s GROUP g b SINGLE 500 COUNT 1");
        assert_eq!(first.events, ["1x2"]);
        redis.run(&format!("DIRTY.ACK s GROUP g {}", first.ids[0]));
        assert_eq!(events(&mut redis, "s GROUP g a SINGLE 500 PENDING"), "");
        std::thread::sleep(Duration::from_millis(510));
        let mut got = Vec::new();
        while got.len() < 4 {
            let next = format!("s GROUP g a SINGLE 500 COUNT {count}");
            let read = consume(&mut redis, &next).events;
            assert!(!read.is_empty(), "{got:?}");
            got.extend(read);
        }
        assert_eq!(got.join(" "), "2x2 3x2 4 5", "COUNT {count}");
    }
    // As the one that waits for it.
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    assert_eq!(events(&mut redis, "s GROUP g a SINGLE 200"), "1 2");
    std::thread::sleep(Duration::from_millis(210));
    assert_eq!(events(&mut redis, "s GROUP g b SINGLE 200 COUNT 1"), "1x2");
    let mut waits = waiting(&server, "GROUP g a SINGLE 200", "5000");
    assert!(reply(&mut waits).contains("entity_id 1"));
}

#[test]
fn who_has_lost_the_turn_does_not_get_it_back_by_failing_what_it_held() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    let held_by_a = consume(&mut redis, "s GROUP g a SINGLE 200 COUNT 2");
    std::thread::sleep(Duration::from_millis(210));
    // Only one of them is b's now.
    assert_eq!(events(&mut redis, "s GROUP g b SINGLE 200 COUNT 1"), "1x2");
    for id in &held_by_a.ids {
        let fail = format!("DIRTY.FAIL s GROUP g {id} late NOW");
        assert_eq!(redis.run(&fail), "retry");
        assert_eq!(events(&mut redis, "s GROUP g a SINGLE 200"), "");
    }
    assert_eq!(events(&mut redis, "s GROUP g b SINGLE 200"), "1x3 2x2 3");
    // Who failed is remembered.
    std::thread::sleep(Duration::from_millis(210));
    let reader = "s GROUP g c SINGLE 200 MAXDELIVERIES 2 COUNT 1";
    assert_eq!(events(&mut redis, reader), "3x2");
    let dead = redis.run("XRANGE s:dead - +");
    for consumer in [
        "dead-consumer b dead-error late dead-deliveries 3",
        "dead-consumer b dead-error late dead-deliveries 2",
    ] {
        assert!(dead.contains(consumer), "{dead}");
    }
}

/// All came just now, as far as a server knows that has just read its log.
#[test]
fn after_a_restart_the_one_that_was_active_still_is() {
    let options = [
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--aof-use-rdb-preamble",
        "no",
    ];
    for rewrite in [false, true] {
        let mut server = Server::with(&options);
        let mut redis = stream_of(&server, 1);
        let first = consume(&mut redis, "s GROUP g a SINGLE 100");
        redis.run(&format!("DIRTY.ACK s GROUP g {}", first.ids[0]));
        std::thread::sleep(Duration::from_millis(150));
        redis.run("DIRTY.FLUSH user INSERT 2 0");
        assert_eq!(events(&mut redis, "s GROUP g b SINGLE 100"), "2");
        if rewrite {
            redis.run("BGREWRITEAOF");
            server.wait_for_line("INFO persistence", "aof_rewrite_in_progress:0");
            server.wait_for_line("INFO persistence", "aof_last_bgrewrite_status:ok");
        }
        server.kill();
        server.start_again();
        let mut redis = server.connect();
        for lease in [5000, 3000] {
            assert_eq!(
                events(&mut redis, &format!("s GROUP g a SINGLE {lease}")),
                ""
            );
        }
        assert_eq!(events(&mut redis, "s GROUP g b SINGLE 5000 PENDING"), "2x2");
    }
}

#[test]
fn what_is_claimable_and_what_others_hold_come_in_one_order() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    let ids = consume(&mut redis, "s GROUP g a SINGLE 5000 CLAIM 200").ids;
    redis.run(&format!("DIRTY.FAIL s GROUP g {} why NOW", ids[2]));
    std::thread::sleep(Duration::from_millis(210));
    let next = events(&mut redis, "s GROUP g a SINGLE 5000 CLAIM 200");
    assert_eq!(next, "1x2 2x2 3x2");
}

#[test]
fn a_turn_that_comes_with_time_brings_what_there_is_room_for() {
    let server = Server::start();
    let mut redis = stream_of(&server, 1);
    let id = consume(&mut redis, "s GROUP g a SINGLE 300").ids.remove(0);
    redis.run(&format!("DIRTY.ACK s GROUP g {id}"));
    assert_eq!(events(&mut redis, "s GROUP g a SINGLE 300"), "");
    let mut waits = waiting(&server, "GROUP g b SINGLE 300 MAXPENDING 5", "0");
    redis.run("DIRTY.FLUSH user INSERT 2 0");
    let start = Instant::now();
    assert!(reply(&mut waits).contains("entity_id 2"));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_greatest_id_is_pending_like_any_other() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("XADD s 18446744073709551615-18446744073709551615 a b");
    assert_eq!(events(&mut redis, "s GROUP g a SINGLE 10"), "raw");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(events(&mut redis, "s GROUP g b SINGLE 10"), "rawx2");
    assert_eq!(events(&mut redis, "s GROUP g b SINGLE 1000"), "");
}
