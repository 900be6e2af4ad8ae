//! A replica that is promoted in the middle of work.

use crate::support::dice::{Dice, rand};
use crate::support::readers::{consume, events, field};
use crate::support::turmoil::{assert_same, told};
use crate::support::{Conn, Server, text, wait_until, words};
use redis::Value;
use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A primary with readers of `s`, and its replica.
fn pair(readers: &[&str]) -> (Server, Server) {
    let server = Server::start();
    let mut redis = server.connect();
    redis.ok(&["DIRTY.DECLARE", "user", "STATELESS", "STREAM", "s"]);
    for reader in readers {
        assert_eq!(redis.run(&format!("DIRTY.READER s {reader}")), "OK");
    }
    let replica = Server::replica_of(&server);
    (server, replica)
}

fn publish(redis: &mut Conn, entities: &[&str]) {
    for entity in entities {
        redis.ok(&["DIRTY.FLUSH", "user", "INSERT", entity, "0"]);
    }
}

/// The moment from which on everybody counts as seen.
fn promote(primary: &Server, replica: &Server) -> (Conn, Instant) {
    primary.wait_for_replica(replica);
    let mut redis = replica.connect();
    let start = Instant::now();
    redis.ok(&["REPLICAOF", "NO", "ONE"]);
    (redis, start)
}

fn wait_for(start: Instant, ms: u64) {
    let at = start + Duration::from_millis(ms);
    sleep(at.saturating_duration_since(Instant::now()));
}

#[test]
fn what_is_held_counts_as_seen_when_a_replica_is_promoted() {
    for (reader, again) in [
        ("", "1x2"),
        ("MAXDELIVERIES 3", "1x2"),
        ("ORDER ENTITY", "1x2"),
    ] {
        let (primary, replica) = pair(&[&format!("GROUP g FROM 0 CLAIM 1000 {reader}")]);
        let mut redis = primary.connect();
        publish(&mut redis, &["1"]);
        assert_eq!(events(&mut redis, "s GROUP g a"), "1");
        sleep(Duration::from_millis(700));
        let (mut redis, start) = promote(&primary, &replica);
        wait_for(start, 500);
        // The outage is nobody's silence.
        assert_eq!(events(&mut redis, "s GROUP g b"), "", "{reader}");
        wait_for(start, 1100);
        assert_eq!(events(&mut redis, "s GROUP g b"), again, "{reader}");
    }
}

/// Nobody need have asked the new primary for the time to count.
#[test]
fn silence_begins_with_the_promotion_and_not_with_the_first_call_after_it() {
    let (primary, replica) = pair(&[
        "GROUP g FROM 0 CLAIM 500",
        "GROUP o FROM 0 CLAIM 500 ORDER STREAM",
    ]);
    let mut redis = primary.connect();
    publish(&mut redis, &["1"]);
    assert_eq!(events(&mut redis, "s GROUP g a"), "1");
    assert_eq!(events(&mut redis, "s GROUP o a"), "1");
    let (mut redis, start) = promote(&primary, &replica);
    wait_for(start, 600);
    assert_eq!(events(&mut redis, "s GROUP g b"), "1x2");
    assert_eq!(events(&mut redis, "s GROUP o b"), "1x2");
}

#[test]
fn the_turn_is_not_handed_on_early_by_a_promotion() {
    for held in [true, false] {
        let (primary, replica) = pair(&["GROUP g FROM 0 CLAIM 1000 ORDER STREAM"]);
        let mut redis = primary.connect();
        publish(&mut redis, &["1", "2", "3"]);
        let first = consume(&mut redis, "s GROUP g a COUNT 1");
        if !held {
            redis.run(&format!("DIRTY.ACK s GROUP g a {}", first.ids[0]));
        }
        sleep(Duration::from_millis(700));
        let (mut redis, start) = promote(&primary, &replica);
        wait_for(start, 500);
        assert_eq!(events(&mut redis, "s GROUP g b"), "", "held: {held}");
        // Who has the turn is heard of, and keeps it.
        let next = events(&mut redis, "s GROUP g a COUNT 1");
        assert_eq!(next, if held { "" } else { "2" });
        wait_for(start, 1200);
        assert_eq!(events(&mut redis, "s GROUP g b"), "", "held: {held}");
        wait_for(start, 1700);
        let expected = if held { "1x2 2 3" } else { "2x2 3" };
        assert_eq!(events(&mut redis, "s GROUP g b"), expected);
    }
}

/// What a worker knows, after WAIT.
#[derive(Default)]
struct Known {
    published: u64,
    done: BTreeSet<String>,
    /// Numbers in the order of their first delivery, by group.
    seen: Vec<u64>,
}

fn number(event: &Value) -> (String, u64) {
    let id = text(&field(event, "id").expect("an id"));
    let entity = text(&field(event, "entity-id").expect("an entity"));
    (id, entity.parse().expect("a number"))
}

impl Known {
    fn work(&mut self, redis: &mut Conn, dice: &mut Dice, rounds: usize) {
        let wait = |redis: &mut Conn| assert_eq!(redis.run("WAIT 1 5000"), "(1)");
        for _ in 0..rounds {
            let number = (self.published + 1).to_string();
            publish(redis, &[&number]);
            self.published += 1;
            let consumer = ["a", "b"][dice.roll(2) as usize];
            let reply = redis.value(&words(&format!(
                "DIRTY.CONSUME s GROUP g {consumer} COUNT 3"
            )));
            self.take(redis, "g", consumer, &reply, dice);
            let reply = redis.value(&words("DIRTY.CONSUME s GROUP o a PENDING COUNT 3"));
            self.take(redis, "o", "a", &reply, dice);
            wait(redis);
        }
    }

    fn take(
        &mut self,
        redis: &mut Conn,
        group: &str,
        consumer: &str,
        reply: &Value,
        dice: &mut Dice,
    ) {
        let Some(Value::Array(events)) = field(reply, "events") else {
            panic!("{}", text(reply));
        };
        for (id, number) in events.iter().map(number) {
            let name = format!("{group} {id}");
            assert!(!self.done.contains(&name), "{name} comes again");
            if group == "o" && !self.seen.contains(&number) {
                self.seen.push(number);
            }
            match dice.roll(3) {
                0 if group == "g" => {
                    let fail = format!("DIRTY.FAIL s GROUP {group} {consumer} why DELAY 5 {id}");
                    assert_eq!(redis.run(&fail), "[retry]");
                }
                1 if group == "g" => {}
                _ => {
                    let ack = format!("DIRTY.ACK s GROUP {group} {consumer} {id}");
                    assert_eq!(redis.run(&ack), "[]");
                    self.done.insert(name);
                }
            }
        }
    }

    /// In the end everything is done once by both groups.
    fn finish(mut self, redis: &mut Conn) {
        let mut dice = Dice(2);
        let start = Instant::now();
        while self.done.len() < 2 * self.published as usize {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{} of {}",
                self.done.len(),
                self.published
            );
            for consumer in ["a", "b"] {
                let reply = redis.value(&words(&format!(
                    "DIRTY.CONSUME s GROUP g {consumer} PENDING COUNT 9"
                )));
                self.take(redis, "g", consumer, &reply, &mut dice);
            }
            let reply = redis.value(&words("DIRTY.CONSUME s GROUP o a PENDING COUNT 9"));
            self.take(redis, "o", "a", &reply, &mut dice);
        }
        let all: Vec<u64> = (1..=self.published).collect();
        assert_eq!(self.seen, all, "in the order of the stream");
    }
}

#[test]
fn after_promotions_under_wait_nothing_is_lost_or_done_again() {
    let (mut primary, mut replica) = pair(&[
        "GROUP g FROM 0 CLAIM 60000 MAXDELIVERIES 1000",
        "GROUP o FROM 0 CLAIM 60000 ORDER STREAM",
    ]);
    let mut known = Known::default();
    let mut dice = Dice(rand() | 1);
    for _ in 0..4 {
        let mut redis = primary.connect();
        known.work(&mut redis, &mut dice, 15);
        let before = told(&mut redis);
        let (mut promoted, _) = promote(&primary, &replica);
        assert_same(&told(&mut promoted), &before, "the new primary");
        let port = replica.port.to_string();
        redis.ok(&["REPLICAOF", "127.0.0.1", &port]);
        primary.wait_for_line("INFO replication", "master_link_status:up");
        replica.wait_for_line("INFO replication", "connected_slaves:1");
        std::mem::swap(&mut primary, &mut replica);
    }
    known.finish(&mut primary.connect());
}

/// FAILOVER pauses writes, while a claim comes due and consumers wait.
#[test]
fn a_failover_while_consumers_wait_and_claims_come_due_loses_nothing() {
    let (primary, replica) = pair(&[
        "GROUP g FROM 0 CLAIM 150 MAXDELIVERIES 2",
        "CURSOR c FROM 0 MINAGE 100",
    ]);
    let mut redis = primary.connect();
    publish(&mut redis, &["1", "2"]);
    assert_eq!(events(&mut redis, "s GROUP g a"), "1 2");
    let mut waiting: Vec<Conn> = ["GROUP g b", "GROUP g c", "CURSOR c"]
        .map(|reader| {
            let mut client = primary.connect();
            let line = format!("DIRTY.CONSUME s {reader} BLOCK 20000");
            client.send(&words(&line)).expect("sent");
            client
        })
        .into();
    primary.wait_for_line("INFO replication", "state=online");
    // The replica is slow, so that the pause lasts.
    let pid = replica.pid().to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status();
        assert!(sent.expect("sh").success());
    };
    signal("STOP");
    publish(&mut redis, &["3"]);
    redis.ok(&["FAILOVER", "TO", "127.0.0.1", &replica.port.to_string()]);
    sleep(Duration::from_millis(600));
    signal("CONT");
    wait_until("the new primary", || {
        replica.connect().run("ROLE").starts_with("[master")
    });
    primary.wait_for_line("INFO replication", "master_link_status:up");
    for client in &mut waiting {
        // Served before, or told to ask elsewhere.
        let reply = client
            .receive()
            .map_or_else(|error| error.to_string(), |reply| text(&reply));
        assert!(!reply.contains("internal"), "{reply}");
    }
    let mut redis = replica.connect();
    assert!(primary.connect().run("PING") == "PONG" && !primary.log().contains("BUG REPORT"));
    let start = Instant::now();
    let mut done = BTreeSet::new();
    while done.len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(10), "{done:?}");
        let read = consume(&mut redis, "s GROUP g d");
        for (id, event) in read.ids.iter().zip(&read.events) {
            redis.run(&format!("DIRTY.ACK s GROUP g d {id}"));
            done.insert(event.split('x').next().expect("an entity").to_string());
        }
        let dead = text(&redis.ok(&["XRANGE", "s:dead", "-", "+"]));
        if done.len() + dead.matches("dead-id").count() >= 3 {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    primary.wait_for_line("INFO replication", "master_link_status:up");
    replica.wait_for_replica(&primary);
    let digest = redis.digest();
    wait_until("the same digest", || primary.connect().digest() == digest);
}
