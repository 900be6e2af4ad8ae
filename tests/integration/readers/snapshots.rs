//! Cursors FROM SNAPSHOT: first the entities as they are, then the events, and nothing of either is lost.

use crate::support::dice::{Dice, rand};
use crate::support::readers::{field, get};
use crate::support::{Conn, Server, text, words};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

const DECLARE: &str = "DIRTY.DECLARE user TYPES 1 age int STREAM s PAYLOAD FULL";

fn declared() -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    assert_eq!(redis.run(DECLARE), "OK");
    (server, redis)
}

#[test]
fn what_cannot_begin_a_stream_is_refused_and_makes_no_reader() {
    let (_server, mut redis) = declared();
    redis.expect(
        "
DIRTY.DECLARE flat STATELESS STREAM s => OK
DIRTY.DECLARE elsewhere STREAM t PAYLOAD FULL => OK
DIRTY.DECLARE changes STREAM s => OK
DIRTY.DECLARE inserts STREAM s OPS I PAYLOAD FULL => OK
DIRTY.DECLARE images STREAM s PAYLOAD IMAGES => OK
DIRTY.DECLARE debezium STREAM s FORMAT DEBEZIUM => OK
SET text x => OK
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 flat => \
ERR SNAPSHOT cannot begin with \"flat\": it is STATELESS and has no snapshots
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 elsewhere => \
ERR SNAPSHOT cannot begin with \"elsewhere\": it does not publish to this stream
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 changes => \
ERR SNAPSHOT cannot begin with \"changes\": the stream's inserts do not bring the fields, as PAYLOAD FULL or IMAGES would
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 inserts => \
ERR SNAPSHOT cannot begin with \"inserts\": the stream does not get all operations, as OPS IUD would say
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 none => NODECL no entity type is declared at \"none\"
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 text => WRONGTYPE the key \"text\" does not hold a declaration
DIRTY.READER s CURSOR c FROM SNAPSHOT 0 => ERR SNAPSHOT requires a key
DIRTY.READER s CURSOR c FROM SNAPSHOT 2 user => ERR SNAPSHOT requires a key
DIRTY.READER s CURSOR c FROM SNAPSHOT 2 user user => ERR SNAPSHOT names \"user\" twice
DIRTY.READER s GROUP g FROM SNAPSHOT 1 user => ERR SNAPSHOT requires CURSOR
EXISTS s:readers => (0)
DIRTY.READER s CURSOR c FROM SNAPSHOT 3 user images debezium => OK
DIRTY.SEEK s CURSOR c SNAPSHOT 1 flat => \
ERR SNAPSHOT cannot begin with \"flat\": it is STATELESS and has no snapshots
DIRTY.SEEK s CURSOR c SNAPSHOT 1 user => OK
COMMAND GETKEYS DIRTY.READER s CURSOR c DEAD d FROM SNAPSHOT 2 user images => [s user images d]
COMMAND GETKEYS DIRTY.SEEK s CURSOR c SNAPSHOT 1 user => [s user]
",
    );
}

#[test]
fn a_page_is_read_when_the_events_have_come_to_their_end() {
    let (_server, mut redis) = declared();
    redis.run("DIRTY.DECLARE user TYPES 1 age int SOFTDELETE gone STREAM s PAYLOAD FULL");
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 age 1 SNAPSHOT 2 1 age 2 SNAPSHOT 3 2 age 3 gone 1");
    redis.run("DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user WHERE OPS D META who me");
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 age 10 SNAPSHOT 2 1 age 20");
    let shown = |reply: &Value| {
        let Some(Value::Array(events)) = field(reply, "events") else {
            panic!("{}", text(reply));
        };
        let event = |event: &Value| {
            let part = |name| field(event, name).map_or_else(String::new, |value| text(&value));
            format!("{} {} {}", part("op"), part("entity-id"), part("after"))
        };
        let mut events: Vec<String> = events.iter().map(event).collect();
        events.sort();
        let rest = ["phase", "scanned", "begin", "more"];
        let rest =
            rest.map(|name| field(reply, name).map_or_else(String::new, |value| text(&value)));
        format!("{} | {}", events.join(", "), rest.join(" "))
    };
    // OPS and META wait for the stream's phase. COUNT is spent on events: then no page is read.
    let reply = redis.value(&words("DIRTY.CONSUME s CURSOR c COUNT 1"));
    assert_eq!(shown(&reply), "update 1  | snapshot (0)  (1)");
    let reply = redis.value(&words("DIRTY.CONSUME s CURSOR c COUNT 10"));
    let page = "read 1 [age (10)], read 2 [age (20)], update 1 , update 2  | stream (3) (1) (0)";
    assert_eq!(shown(&reply), page);
    // Only the position of the whole reply acknowledges it.
    let position = text(&field(&reply, "position").expect("a position"));
    let id = position.split('/').next().expect("an id");
    let epoch = position.split('/').nth(1).expect("an epoch");
    for (ack, moved) in [(format!("{id}/{epoch}"), "(0)"), (position, "(1)")] {
        assert_eq!(
            redis.run(&format!("DIRTY.ACK s CURSOR c {ack}")),
            moved,
            "{ack}"
        );
    }
    redis.run("DIRTY.FLUSH user META 1 who me DELETE 1");
    redis.run("DIRTY.FLUSH user DELETE 2");
    let reply = redis.value(&words("DIRTY.CONSUME s CURSOR c"));
    assert_eq!(shown(&reply), "delete 1  |    (0)");
}

/// A reader that keeps what it folds with its position, as one in SQL would.
#[derive(Clone, Default)]
struct Folded {
    cursor: String,
    /// How often the scan has begun.
    begun: u32,
    ages: BTreeMap<String, String>,
    named: BTreeSet<String>,
    position: Option<String>,
    is_over: bool,
    missed: bool,
}

impl Folded {
    fn of(cursor: &str) -> Self {
        Folded {
            cursor: cursor.into(),
            ..Folded::default()
        }
    }

    /// One call, and what comes of it. False at the head of the stream.
    fn read(&mut self, redis: &mut Conn, count: u64) -> bool {
        let cursor = &self.cursor;
        let ack = self
            .position
            .as_ref()
            .map_or_else(String::new, |at| format!("ACK {at}"));
        let reply = redis.value(&words(&format!(
            "DIRTY.CONSUME s CURSOR {cursor} {ack} COUNT {count}"
        )));
        let Some(Value::Array(events)) = field(&reply, "events") else {
            panic!("{}", text(&reply));
        };
        if field(&reply, "begin").is_some() {
            self.named.clear();
            self.begun += 1;
        }
        for event in &events {
            let part = |name| field(event, name);
            let id = text(&part("entity-id").expect("an id"));
            self.named.insert(id.clone());
            let age = match text(&part("op").expect("an op")).as_str() {
                "delete" => None,
                "read" => Some(text(get(&part("after").expect("a state"), "age"))),
                _ => part("changes").map(|changes| match get(&changes, "age") {
                    Value::Array(pair) => text(&pair[1]),
                    _ => panic!("{}", text(event)),
                }),
            };
            match age {
                Some(age) => drop(self.ages.insert(id, age)),
                None => drop(self.ages.remove(&id)),
            }
        }
        self.missed |= text(&field(&reply, "missed").expect("a count")) != "(0)";
        self.position = Some(text(&field(&reply, "position").expect("a position")));
        if field(&reply, "phase").is_some_and(|phase| text(&phase) == "stream") {
            let named = &self.named;
            self.ages.retain(|id, _| named.contains(id));
            self.is_over = true;
        }
        !matches!(field(&reply, "more"), Some(Value::Int(0)))
    }
}

fn stored(redis: &mut Conn) -> BTreeMap<String, String> {
    let mut ages = BTreeMap::new();
    let mut cursor = "0".to_string();
    loop {
        let Value::Array(page) = redis.value(&words(&format!("DIRTY.SCAN user {cursor}"))) else {
            panic!("no page");
        };
        let Value::Array(entities) = &page[1] else {
            panic!("no entities");
        };
        for entity in entities {
            let Value::Array(pair) = entity else {
                panic!("no pair");
            };
            ages.insert(text(&pair[0]), text(get(&pair[1], "age")));
        }
        cursor = text(&page[0]);
        if cursor == "0" {
            return ages;
        }
    }
}

#[test]
fn what_a_reader_folds_equals_the_snapshots_through_crashes_and_restarts() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = server.connect();
    assert_eq!(redis.run(DECLARE), "OK");
    let seed = rand();
    let mut dice = Dice(seed | 1);
    for id in 0..300 {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age {id}"));
    }
    assert_eq!(
        redis.run("DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user"),
        "OK"
    );
    let mut kept = Folded::of("c");
    for _ in 0..400 {
        match dice.roll(30) {
            0..=14 => {
                let (id, age) = (dice.roll(400), dice.roll(1000));
                redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age {age}"));
            }
            15..=18 => {
                let id = dice.roll(400);
                redis.run(&format!("DIRTY.FLUSH user DELETE {id}"));
            }
            // A reader that dies before it keeps what it has read.
            19..=21 => drop(kept.clone().read(&mut redis, 1 + dice.roll(9))),
            22 if dice.roll(4) == 0 => {
                server.kill();
                server.start_again();
                redis = server.connect();
            }
            _ => drop(kept.read(&mut redis, 1 + dice.roll(9))),
        }
    }
    while kept.read(&mut redis, 50) {}
    assert!(kept.is_over && !kept.missed, "seed {seed}");
    assert_eq!(kept.ages, stored(&mut redis), "seed {seed}");
}

#[test]
fn ten_readers_at_once_each_fold_what_is_stored_while_writers_go_on() {
    let (server, mut redis) = declared();
    for id in 0..2000 {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age {id}"));
    }
    for reader in 0..10 {
        let declare = format!(
            "DIRTY.READER s CURSOR c{reader} FROM SNAPSHOT 1 user SHARD {} 2",
            reader % 2
        );
        assert_eq!(redis.run(&declare), "OK");
    }
    let seed = rand();
    let is_written = AtomicBool::new(false);
    let folded: Vec<BTreeMap<String, String>> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut redis, mut dice) = (server.connect(), Dice(seed | 1));
            for age in 0..4000 {
                let id = dice.roll(2500);
                redis.run(&match dice.roll(4) {
                    0 => format!("DIRTY.FLUSH user DELETE {id}"),
                    _ => format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age {age}"),
                });
            }
            is_written.store(true, Ordering::Release);
        });
        let reader = |name: String| {
            let (mut redis, is_written) = (server.connect(), &is_written);
            scope.spawn(move || {
                let mut kept = Folded::of(&name);
                loop {
                    let is_last = is_written.load(Ordering::Acquire);
                    if !kept.read(&mut redis, 100) && is_last {
                        assert!(kept.is_over && !kept.missed);
                        return kept.ages;
                    }
                }
            })
        };
        let readers: Vec<_> = (0..10).map(|n| reader(format!("c{n}"))).collect();
        let folded = readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader"));
        folded.collect()
    });
    let all = stored(&mut redis);
    for pair in folded.chunks(2) {
        let mut both = pair[0].clone();
        both.extend(pair[1].clone());
        assert_eq!(both.len(), pair[0].len() + pair[1].len());
        assert_eq!(both, all, "seed {seed}");
    }
}

#[test]
fn a_seek_that_is_lost_with_its_primary_is_told() {
    let (server, mut redis) = declared();
    for id in 0..100 {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age {id}"));
    }
    redis.run("DIRTY.READER s CURSOR c FROM 0");
    let replica = Server::replica_of(&server);
    server.wait_for_replica(&replica);
    let mut promoted = replica.connect();
    promoted.run("REPLICAOF NO ONE");
    assert_eq!(redis.run("DIRTY.SEEK s CURSOR c SNAPSHOT 1 user"), "OK");
    let mut kept = Folded::of("c");
    kept.read(&mut redis, 1);
    assert!(!kept.missed);
    // The new primary knows no such position, nor a phase.
    kept.read(&mut promoted, 1);
    assert!(kept.missed && !kept.is_over);
    assert_eq!(promoted.run("DIRTY.SEEK s CURSOR c SNAPSHOT 1 user"), "OK");
    kept = Folded::of("c");
    while kept.read(&mut promoted, 1) {}
    assert!(kept.is_over && !kept.missed);
    assert_eq!(kept.ages, stored(&mut promoted));
}

/// The cursor of the new primary is in its phase still.
#[test]
fn what_a_reader_has_beyond_its_phase_and_its_primary_lost_is_told() {
    let (server, mut redis) = declared();
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 age 1 SNAPSHOT 2 1 age 2");
    redis.run("DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user");
    let replica = Server::replica_of(&server);
    server.wait_for_replica(&replica);
    let mut promoted = replica.connect();
    promoted.run("REPLICAOF NO ONE");
    let mut kept = Folded::of("c");
    assert!(!kept.read(&mut redis, 100) && kept.is_over);
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 age 10");
    assert!(!kept.read(&mut redis, 100) && !kept.missed);
    kept.read(&mut promoted, 100);
    assert!(kept.missed);
}

#[test]
fn behind_a_promotion_the_scan_begins_again_and_leaves_nothing_out() {
    let (server, mut redis) = declared();
    for id in 0..500 {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age {id}"));
    }
    redis.run("DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user");
    let replica = Server::replica_of(&server);
    let mut kept = Folded::of("c");
    for _ in 0..10 {
        assert!(kept.read(&mut redis, 20));
    }
    let before = kept.ages.len();
    assert!(!kept.is_over && before >= 200);
    // STATS shows that it has not come to the stream yet.
    let shown = redis.run("DIRTY.STATS s");
    let position = shown.split("position ").nth(1).expect("a position");
    let position = position.split(' ').next().expect("a position");
    assert_eq!(position.split('/').count(), 3, "{position}");
    redis.run("DIRTY.FLUSH user DELETE 7 SNAPSHOT 8 1 age 88");
    server.wait_for_replica(&replica);
    let mut redis = replica.connect();
    redis.run("REPLICAOF NO ONE");
    redis.run("DIRTY.FLUSH user SNAPSHOT 9 1 age 99");
    while kept.read(&mut redis, 20) {}
    assert!(kept.is_over && !kept.missed && kept.begun == 2);
    assert_eq!(kept.ages, stored(&mut redis));
}

/// An ACK that comes with such a call is not carried out, here or on the replica, and may be sent again.
#[test]
fn a_call_whose_page_cannot_be_read_acknowledges_nothing_anywhere() {
    let (server, mut redis) = declared();
    // More than one step of SCAN ever takes.
    let entities: String = (0..200)
        .map(|n| format!(" SNAPSHOT {n} 1 age {n}"))
        .collect();
    redis.run(&format!("DIRTY.FLUSH user{entities}"));
    redis.run("DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user");
    let replica = Server::replica_of(&server);
    let reply = redis.value(&words("DIRTY.CONSUME s CURSOR c COUNT 1"));
    let position = text(&field(&reply, "position").expect("a position"));
    redis.run("DEL user");
    let before = redis.digest();
    let consume = format!("DIRTY.CONSUME s CURSOR c ACK {position} COUNT 1");
    let error = redis.run(&consume);
    assert!(error.starts_with("NODECL "), "{error}");
    assert_eq!(redis.digest(), before);
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), before);
    redis.run(DECLARE);
    let reply = redis.value(&words(&consume));
    assert!(field(&reply, "position").is_some(), "{}", text(&reply));
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
}
