//! Groups with an ORDER: what fails, crashes, restarts or is promoted, the order stays.

use crate::support::dice::{Dice, rand};
use crate::support::readers::{consume, events, first_times};
use crate::support::story::{Story, got};
use crate::support::{Conn, Server, wait_until};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[test]
fn the_loop_of_one_worker_whose_handler_fails_once_handles_events_in_their_order() {
    for (order, entities) in [
        ("STREAM", ["1", "2", "3", "4", "5"]),
        ("ENTITY", ["1", "1", "1", "1", "1"]),
    ] {
        for fails in 1..=5u64 {
            for count in [1, 2, 100] {
                for delay in ["DELAY 0", "DELAY 30", ""] {
                    let mut story = Story::with(&entities);
                    story.expect(&format!(
                        "DIRTY.READER s GROUP g FROM 0 ORDER {order} CLAIM 60 MAXDELIVERIES 5 => OK"
                    ));
                    let handled = handle(&mut story.redis, fails, count, delay);
                    assert_eq!(
                        handled,
                        [1, 2, 3, 4, 5],
                        "{order}, {fails} fails, COUNT {count}, {delay}"
                    );
                }
            }
        }
    }
}

/// The loop of README: each batch is handled in order and acknowledged by the next call; an event that fails is told at
/// once, and the loop goes on with the next one, which the group may have taken back.
fn handle(redis: &mut Conn, fails: u64, count: usize, delay: &str) -> Vec<u64> {
    let (mut handled, mut ack, mut failed) = (Vec::new(), String::new(), false);
    let start = Instant::now();
    while handled.len() < 5 && start.elapsed() < Duration::from_secs(10) {
        let batch = consume(
            redis,
            &format!("s GROUP g w {ack} COUNT {count} BLOCK 5000"),
        );
        ack = String::new();
        let mut done = Vec::new();
        for id in &batch.ids {
            let seq: u64 = id
                .rsplit('-')
                .next()
                .expect("a seq")
                .parse()
                .expect("a seq");
            if seq == fails && !failed {
                failed = true;
                let fail = format!("DIRTY.FAIL s GROUP g w once {delay} {id}");
                assert_eq!(redis.run(&fail), "[retry]");
                break;
            }
            handled.push(seq);
            done.push(id.as_str());
        }
        if !done.is_empty() {
            ack = format!("ACK {} {}", done.len(), done.join(" "));
        }
    }
    redis.run(&format!("DIRTY.CONSUME s GROUP g w {ack} COUNT 1"));
    handled
}

/// What three consumers on threads know of each other.
#[derive(Default)]
struct Shift {
    /// Consumer, seq, and whether it got the event again.
    handled: Mutex<Vec<(&'static str, u64, bool)>>,
    at_work: AtomicUsize,
    /// How many consumers may have died by now.
    may_die: AtomicUsize,
    deaths: Mutex<Vec<(&'static str, Instant, u64)>>,
    takeovers: Mutex<Vec<(&'static str, Instant)>>,
    done: AtomicBool,
}

impl Shift {
    fn work(&self, name: &'static str, mut conn: Conn, block: &str) {
        let (mut ack, mut was_active) = (String::new(), false);
        while !self.done.load(SeqCst) {
            let line = format!("s GROUP g {name} {ack} COUNT 5 BLOCK {block}");
            let batch = consume(&mut conn, &line);
            ack.clear();
            if batch.ids.is_empty() {
                continue;
            }
            assert_eq!(self.at_work.fetch_add(1, SeqCst), 0, "two are at work");
            if !std::mem::replace(&mut was_active, true) {
                self.takeovers
                    .lock()
                    .expect("alone")
                    .push((name, Instant::now()));
            }
            let seq = |id: &String| id[14..].parse::<u64>().expect("a seq");
            let seqs: Vec<u64> = batch.ids.iter().map(seq).collect();
            let mut deaths = self.deaths.lock().expect("alone");
            if deaths.len() < self.may_die.load(SeqCst) {
                drop(conn); // between delivery and acknowledgement
                deaths.push((name, Instant::now(), seqs[0]));
                self.at_work.fetch_sub(1, SeqCst);
                return;
            }
            drop(deaths);
            for (seq, event) in seqs.into_iter().zip(&batch.events) {
                std::thread::sleep(Duration::from_millis(1));
                let mut handled = self.handled.lock().expect("alone");
                handled.push((name, seq, event.contains('x')));
            }
            ack = format!("ACK {} {}", batch.ids.len(), batch.ids.join(" "));
            self.at_work.fetch_sub(1, SeqCst);
        }
    }

    /// Lets the consumer that is active die, and waits until another goes on.
    fn let_one_die(&self, redis: &mut Conn) {
        let handled = || self.handled.lock().expect("alone").len();
        let before = handled();
        let dead = 1 + self.may_die.fetch_add(1, SeqCst);
        wait_until("events handled after a death", || {
            redis.run("DIRTY.FLUSH user TOUCH 1");
            handled() > before + 10 && self.deaths.lock().expect("alone").len() == dead
        });
    }
}

/// Whoever is active when the signal comes vanishes with what it was given.
#[test]
fn when_the_holder_of_the_turn_dies_another_goes_on_with_what_it_held_in_order() {
    const CLAIM: Duration = Duration::from_millis(400);
    let mut story = Story::begin();
    story.expect("DIRTY.READER s GROUP g FROM 0 ORDER STREAM CLAIM 400 MAXDELIVERIES 5 => OK");
    let shift = Shift::default();
    std::thread::scope(|scope| {
        let shift = &shift;
        // One polls, the others wait; one speaks RESP3.
        let [a, b, c] = [
            story.server.connect(),
            story.server.connect_resp3(),
            story.server.connect(),
        ];
        scope.spawn(move || shift.work("a", a, "1000"));
        scope.spawn(move || shift.work("b", b, "5000"));
        scope.spawn(move || shift.work("c", c, "20"));
        for id in 1..=150 {
            story.redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
            if id % 50 == 0 && id < 150 {
                shift.let_one_die(&mut story.redis);
            }
        }
        wait_until("all to be handled", || {
            let last = story.redis.run("XLEN s");
            let last: usize = last.trim_matches(['(', ')']).parse().expect("a number");
            shift.handled.lock().expect("alone").len() >= last
        });
        shift.done.store(true, SeqCst);
    });
    let handled = shift.handled.into_inner().expect("alone");
    let deaths = shift.deaths.into_inner().expect("alone");
    let takeovers = shift.takeovers.into_inner().expect("alone");
    let seqs: Vec<u64> = handled.iter().map(|(_, seq, _)| *seq).collect();
    let all: Vec<u64> = (1..=seqs.len() as u64).collect();
    assert_eq!(seqs, all, "each once and in order");
    assert_eq!((deaths.len(), takeovers.len()), (2, 3));
    for ((dead, died, first), (heir, took_over)) in deaths.iter().zip(&takeovers[1..]) {
        assert_ne!(dead, heir);
        let after = took_over.duration_since(*died);
        assert!((CLAIM / 2..CLAIM * 5).contains(&after), "{after:?}");
        let held = handled.iter().find(|(_, seq, _)| seq == first);
        assert_eq!(
            held,
            Some(&(*heir, *first, true)),
            "what the dead one held comes first"
        );
    }
}

#[test]
fn whoever_has_not_the_turn_gets_nothing_and_every_sign_of_its_holder_keeps_it() {
    let mut story = Story::with(&["1", "2", "3", "4"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 ORDER STREAM CLAIM 900 => OK
DIRTY.CONSUME s GROUP g b COUNT 1 => #1 | more
DIRTY.ACK s GROUP g b #1 => []",
    );
    for sign in [
        "DIRTY.CONSUME s GROUP g b COUNT 1",
        "DIRTY.HOLD s GROUP g b",
        "DIRTY.ACK s GROUP g b 1-1",
        "DIRTY.FAIL s GROUP g b why 1-1",
        "DIRTY.CONSUME s GROUP g b COUNT 1 PENDING",
    ] {
        for _ in 0..2 {
            story.run(sign);
            story.expect("wait 600 => -\nDIRTY.CONSUME s GROUP g a =>\x20\nDIRTY.CONSUME s GROUP g c PENDING =>\x20");
        }
    }
    story.expect("wait 600 => -");
    let next = story.run("DIRTY.CONSUME s GROUP g a COUNT 1");
    assert!(next.starts_with("#2:"), "{next}");
    // Its former holder gets nothing by failing what it held, nor by asking for it.
    story.expect(
        "
DIRTY.FAIL s GROUP g b late DELAY 0 #2 => [not-held]
DIRTY.CONSUME s GROUP g b PENDING =>\x20
DIRTY.CONSUME s GROUP g a ACK 1 #2 => #3 #4
",
    );
}

#[test]
fn a_holder_of_the_turn_that_waits_keeps_it_until_its_connection_is_cut() {
    let mut story = Story::with(&["1"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 ORDER STREAM CLAIM 200 => OK
DIRTY.CONSUME s GROUP g a => #1
DIRTY.ACK s GROUP g a #1 => []",
    );
    let mut active = story.wait("DIRTY.CONSUME s GROUP g a BLOCK 0");
    let mut next = story.wait("DIRTY.CONSUME s GROUP g b BLOCK 0");
    story.expect("wait 600 => -");
    story.publish(&["2"]);
    assert_eq!(got(&mut active), "#2");
    // Now it is silent: whoever waits wakes with what it holds.
    let start = Instant::now();
    assert_eq!(got(&mut next), "#2:2");
    let waited = start.elapsed().as_millis();
    assert!((150..1500).contains(&waited), "{waited} ms");
    story.expect("DIRTY.ACK s GROUP g b #2 => []");
    let holder = story.wait("DIRTY.CONSUME s GROUP g b BLOCK 0");
    let mut heir = story.wait("DIRTY.CONSUME s GROUP g c BLOCK 0");
    let mut last = story.wait("DIRTY.CONSUME s GROUP g d BLOCK 0");
    drop(holder);
    story.server.wait_for_blocked(2);
    let start = Instant::now();
    story.publish(&["3"]);
    // One of them, not both; the other when that one is silent.
    assert_eq!(got(&mut heir), "#3");
    let waited = start.elapsed().as_millis();
    assert!((100..1500).contains(&waited), "{waited} ms");
    assert_eq!(got(&mut last), "#3:2");
}

#[test]
fn the_turn_is_handed_on_neither_by_a_promotion_nor_by_a_restart() {
    const CLAIM: u64 = 1500;
    for how in [
        "promotion",
        "stepping down and back",
        "AOF",
        "rewritten AOF",
        "RDB",
    ] {
        for order in ["STREAM", "ENTITY"] {
            let options: &[&str] = match how {
                "AOF" | "rewritten AOF" => &[
                    "--appendonly",
                    "yes",
                    "--appendfsync",
                    "always",
                    "--aof-use-rdb-preamble",
                    "no",
                ],
                "RDB" => &["--save", "3600 1"],
                _ => &[],
            };
            let mut story = Story::on(Server::with(options));
            let mut server_replica =
                (how == "promotion").then(|| Server::replica_of(&story.server));
            story.publish(&["1", "1", "1"]);
            story.expect(&format!(
                "DIRTY.READER s GROUP g FROM 0 ORDER {order} CLAIM {CLAIM} => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more"
            ));
            // Nearly silent for long enough, were the outage its own.
            std::thread::sleep(Duration::from_millis(CLAIM - 400));
            let mut redis = match &mut server_replica {
                Some(replica) => {
                    story.server.wait_for_replica(replica);
                    let mut redis = replica.connect();
                    redis.run("REPLICAOF NO ONE");
                    redis
                }
                None if how == "stepping down and back" => {
                    let mut redis = story.server.connect();
                    redis.run("REPLICAOF 127.0.0.1 1");
                    redis.run("REPLICAOF NO ONE");
                    redis
                }
                None => {
                    if how == "rewritten AOF" {
                        story.server.rewrite_aof();
                    }
                    story.server.restart();
                    story.server.connect()
                }
            };
            let start = Instant::now();
            let case = format!("{how}, ORDER {order}");
            let mut tries = 0;
            while start.elapsed() < Duration::from_millis(CLAIM - 300) {
                assert_eq!(events(&mut redis, "s GROUP g b"), "", "{case}");
                tries += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(tries > 3, "{case}");
            let next = consume(&mut redis, "s GROUP g b BLOCK 5000");
            assert_eq!(next.events[0], "1x2", "{case}");
            assert!(start.elapsed() < Duration::from_millis(3 * CLAIM), "{case}");
        }
    }
}

#[test]
fn what_many_held_comes_in_one_order_when_a_group_gets_one() {
    Story::with(&["1", "2", "1", "2", "1"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.CONSUME s GROUP g b => #2 #4
DIRTY.CONSUME s GROUP g c =>\x20
DIRTY.LEAVE s GROUP g b => (2)
DIRTY.LEAVE s GROUP g a => (1)
DIRTY.CONSUME s GROUP g c COUNT 1 => #2 | more
DIRTY.CONSUME s GROUP g d COUNT 2 => #1 #3
DIRTY.ACK s GROUP g d #1 => []
DIRTY.CONSUME s GROUP g e =>\x20
DIRTY.ACK s GROUP g d #3 => []
DIRTY.CONSUME s GROUP g e => #5
DIRTY.ACK s GROUP g c #2 => []
DIRTY.CONSUME s GROUP g e => #4
",
    );
}

/// Consumers on threads that fail, leave and vanish at random; the handler sees each entity's events in order.
#[test]
fn each_entitys_events_come_in_order_through_failures_departures_and_crashes() {
    const ENTITIES: u64 = 12;
    const ROUNDS: u64 = 15;
    let mut story = Story::begin();
    story.expect("DIRTY.READER s GROUP g FROM 0 ORDER ENTITY CLAIM 150 => OK");
    let seen: Mutex<Vec<(u64, u64)>> = Mutex::default();
    let acknowledged = AtomicUsize::new(0);
    let all = (ENTITIES * ROUNDS) as usize;
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let (seen, acknowledged, server) = (&seen, &acknowledged, &story.server);
            scope.spawn(move || {
                let mut dice = Dice(rand() | 1);
                let mut life = 0;
                while acknowledged.load(SeqCst) < all {
                    life += 1;
                    let mut redis = server.connect();
                    let group = format!("s GROUP g w{worker}-{life}");
                    let mut go_on = true;
                    while go_on && acknowledged.load(SeqCst) < all {
                        let batch = consume(&mut redis, &format!("{group} COUNT 5 BLOCK 50"));
                        go_on = work(
                            &mut redis,
                            &group,
                            &batch.ids,
                            &batch.events,
                            seen,
                            acknowledged,
                            &mut dice,
                        );
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            for entity in 0..ENTITIES {
                story.redis.run(&format!(
                    "DIRTY.FLUSH user UPDATE {entity} 1 n x{round} y{round}"
                ));
            }
        }
    });
    for entity in 0..ENTITIES {
        let seen = seen.lock().expect("alone");
        let of: Vec<u64> = seen
            .iter()
            .filter(|(e, _)| *e == entity)
            .map(|(_, s)| *s)
            .collect();
        let expected: Vec<u64> = (0..ROUNDS)
            .map(|round| round * ENTITIES + entity + 1)
            .collect();
        assert_eq!(first_times(&of), expected, "entity {entity}: {of:?}");
    }
}

/// Handles a batch; false when the worker vanishes.
fn work(
    redis: &mut Conn,
    group: &str,
    ids: &[String],
    events: &[String],
    seen: &Mutex<Vec<(u64, u64)>>,
    acknowledged: &AtomicUsize,
    dice: &mut Dice,
) -> bool {
    for (id, event) in ids.iter().zip(events) {
        match dice.roll(40) {
            0 => return false,
            1 => {
                redis.run(&format!("DIRTY.LEAVE {group}"));
                return false;
            }
            2..6 => {
                redis.run(&format!("DIRTY.FAIL {group} why DELAY 5 {id}"));
                return true;
            }
            _ => {}
        }
        let entity = event
            .split('x')
            .next()
            .expect("an entity")
            .parse()
            .expect("a number");
        let seq = id[14..].parse().expect("a seq");
        // Held at this moment, or it is another's by now.
        if redis.run(&format!("DIRTY.HOLD {group} {id}")) == "[]" {
            seen.lock().expect("alone").push((entity, seq));
        }
        if redis.run(&format!("DIRTY.ACK {group} {id}")) == "[]" {
            acknowledged.fetch_add(1, SeqCst);
        }
    }
    true
}
