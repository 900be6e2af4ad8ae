//! Writers that never stop while servers are killed and replaced.
//!
//! `SOAK_SECONDS=600` goes on for longer.

use crate::support::{Conn, Server, text, wait_until, words};
use redis::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const WRITERS: u64 = 3;
/// Entities of one command: all of them are changed, or none.
const TOGETHER: u64 = 3;
/// Every so many steps the entities are deleted.
const LIFE: u64 = 7;

struct Load {
    /// Where the primary is now.
    port: AtomicU16,
    /// Whether a step is acknowledged only when a replica has it.
    waits: bool,
    is_ending: AtomicBool,
    /// How often a command had to be sent again.
    again: AtomicU64,
}

impl Load {
    fn new(server: &Server, waits: bool) -> Self {
        Load {
            port: AtomicU16::new(server.port),
            waits,
            is_ending: AtomicBool::new(false),
            again: AtomicU64::new(0),
        }
    }

    /// Lets all writers write while something happens. How many steps each has made.
    fn during(&self, happens: impl FnOnce()) -> Vec<u64> {
        struct Ends<'l>(&'l AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(true, SeqCst);
            }
        }
        std::thread::scope(|threads| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| threads.spawn(move || self.write(writer)))
                .collect();
            // Also if it fails: the writers are waited for.
            let ends = Ends(&self.is_ending);
            happens();
            drop(ends);
            let steps = writers.into_iter().map(|writer| writer.join().unwrap());
            steps.collect()
        })
    }

    /// Steps until the end, each acknowledged before the next begins. How many.
    fn write(&self, writer: u64) -> u64 {
        let mut step = 0;
        while !self.is_ending.load(SeqCst) {
            step += 1;
            self.carry_out(writer, step);
        }
        step
    }

    /// Sends the commands of a step until all of them are answered, if need be several times.
    fn carry_out(&self, writer: u64, step: u64) {
        let operations: String = (0..TOGETHER)
            .map(|entity| match step % LIFE {
                0 => format!(" DELETE {writer}-{entity}"),
                _ => format!(" SNAPSHOT {writer}-{entity} 1 n {step}"),
            })
            .collect();
        let commands = match step % 4 {
            0 => vec![
                format!("DIRTY.FLUSH user DEFER d{writer}-{step}{operations}"),
                format!("DIRTY.COMMIT user d{writer}-{step}"),
            ],
            1 => vec![format!(
                "DIRTY.FLUSH user ONCE o{writer}-{step}{operations}"
            )],
            _ => vec![format!("DIRTY.FLUSH user{operations}")],
        };
        let start = Instant::now();
        while self.try_once(&commands).is_none() {
            self.again.fetch_add(1, SeqCst);
            let waited = start.elapsed();
            assert!(
                waited < Duration::from_secs(60),
                "no answer to {commands:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn try_once(&self, commands: &[String]) -> Option<()> {
        CONNECTION.with_borrow_mut(|kept| {
            let port = self.port.load(SeqCst);
            let mut connection = match kept.take().filter(|(at, _)| *at == port) {
                Some((_, connection)) => connection,
                None => Conn::try_to(port)?,
            };
            for command in commands {
                let reply = connection.try_run(&words(command)).ok()?;
                match &reply {
                    Value::ServerError(error) if passes(error.code()) => return None,
                    Value::ServerError(error) => panic!("{command}: {error:?}"),
                    _ => {}
                }
            }
            if self.waits {
                // Valkey's WAIT speaks of what was written through this connection: a flush that was sent
                // again may not have written.
                connection.try_run(&["INCR", "sent"]).ok()?;
                let replicas = connection.try_run(&["WAIT", "1", "2000"]).ok()?;
                if text(&replicas) == "(0)" {
                    return None;
                }
            }
            *kept = Some((port, connection));
            Some(())
        })
    }
}

thread_local! {
    static CONNECTION: std::cell::RefCell<Option<(u16, Conn)>> = const { std::cell::RefCell::new(None) };
}

/// What a client meets while servers come and go, and tries again.
fn passes(code: &str) -> bool {
    ["LOADING", "READONLY", "MASTERDOWN"].contains(&code)
}

/// Of an entity in a stream: what each event changed, in order.
type Changes = BTreeMap<String, Vec<[String; 2]>>;

/// All events of a stream, as a cursor reads them that misses none.
fn changes(redis: &mut Conn, stream: &str) -> (Changes, u64) {
    let (mut changes, mut count, mut ack) = (Changes::new(), 0, String::new());
    redis.ok(&["DIRTY.READER", stream, "CURSOR", "check", "FROM", "0"]);
    loop {
        let read = format!("DIRTY.CONSUME {stream} CURSOR check {ack} COUNT 1000");
        let reply = redis.value(&words(&read));
        let part = |name: &str| crate::support::readers::field(&reply, name).unwrap();
        assert_eq!(text(&part("missed")), "(0)", "{stream}");
        let Value::Array(events) = part("events") else {
            panic!("{}", text(&reply))
        };
        if events.is_empty() {
            return (changes, count);
        }
        for event in &events {
            count += 1;
            let part = |name: &str| text(&crate::support::readers::field(event, name).unwrap());
            // Of an event that counts from 1, without a gap.
            let id = part("id");
            if !id.ends_with(&format!("-{count}")) {
                for look in [
                    format!("XREVRANGE {stream} {id} - COUNT 9"),
                    format!("XRANGE {stream} {id} + COUNT 9"),
                    format!("XINFO STREAM {stream}"),
                    format!("DIRTY.STATS {stream}"),
                ] {
                    println!("{look}: {}", redis.run(&look));
                }
            }
            assert!(
                id.ends_with(&format!("-{count}")),
                "{id} is number {count} of {stream}"
            );
            let change = part("changes").replace(['[', ']'], "");
            let mut words = change.split(' ').skip(1).map(str::to_string);
            let change = [words.next().unwrap(), words.next().unwrap()];
            changes.entry(part("entity-id")).or_default().push(change);
        }
        ack = format!("ACK {}", text(&part("position")));
    }
}

/// Each step has changed each entity once, in order, in both streams; snapshots are what the last one
/// left.
fn check(redis: &mut Conn, steps: &[u64]) -> u64 {
    let value = |step: u64| match step % LIFE {
        0 => "nil".to_string(),
        _ => format!("({step})"),
    };
    let (first, count) = changes(redis, "s");
    let (second, _) = changes(redis, "t");
    assert!(first == second, "both streams have all events");
    for (writer, last) in steps.iter().enumerate() {
        for entity in 0..TOGETHER {
            let id = format!("{writer}-{entity}");
            let expected: Vec<[String; 2]> =
                (1..=*last).map(|n| [value(n - 1), value(n)]).collect();
            assert_eq!(first[&id], expected, "the events of {id}");
            let snapshot = match value(*last).as_str() {
                "nil" => "[nil]".to_string(),
                n => format!("[[n {n}]]"),
            };
            assert_eq!(redis.run(&format!("DIRTY.GET user {id}")), snapshot);
        }
    }
    assert_eq!(redis.run("EXISTS user@deferred"), "(0)");
    count
}

const DECLARE: &str =
    "DIRTY.DECLARE user TYPES 1 n int STREAM s PAYLOAD FULL STREAM t PAYLOAD FULL";

fn seconds(default: u64) -> Duration {
    let seconds = std::env::var("SOAK_SECONDS");
    Duration::from_secs(seconds.map_or(default, |text| text.parse().expect("seconds")))
}

/// A time between kills that looks random.
fn pause(round: u64) {
    let ms = 300 + (round * 7919 + 13) % 700;
    std::thread::sleep(Duration::from_millis(ms));
}

#[test]
fn what_was_acknowledged_outlives_every_kill_whole_once_and_in_order() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    assert_eq!(server.connect().run(DECLARE), "OK");
    let load = Load::new(&server, false);
    let mut kills = 0;
    let end = Instant::now() + seconds(6);
    let steps = load.during(|| {
        while Instant::now() < end {
            pause(kills);
            server.kill();
            server.start_again();
            kills += 1;
        }
    });
    let events = check(&mut server.connect(), &steps);
    println!(
        "{events} events, {kills} kills, {:?} sent again",
        load.again
    );
    assert!(
        kills >= 3 && steps.iter().all(|last| *last > 20),
        "{steps:?}"
    );
}

#[test]
fn what_a_replica_has_acknowledged_outlives_its_primary() {
    let mut primary = Server::start();
    assert_eq!(primary.connect().run(DECLARE), "OK");
    let mut replica = Server::replica_of(&primary);
    let load = Load::new(&primary, true);
    let mut promotions = 0;
    let end = Instant::now() + seconds(6);
    let steps = load.during(|| {
        while Instant::now() < end {
            pause(promotions);
            primary.kill();
            replica.connect().ok(&["REPLICAOF", "NO", "ONE"]);
            load.port.store(replica.port, SeqCst);
            let next = Server::replica_of(&replica);
            primary = std::mem::replace(&mut replica, next);
            promotions += 1;
        }
    });
    let mut redis = primary.connect();
    let events = check(&mut redis, &steps);
    primary.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
    println!(
        "{events} events, {promotions} promotions, {:?} sent again",
        load.again
    );
    assert!(
        promotions >= 3 && steps.iter().all(|last| *last > 20),
        "{steps:?}"
    );
}

/// A replica that is told to sync again and again while it reads has whole flushes only.
#[test]
fn a_replica_that_syncs_under_load_has_the_same_data() {
    let primary = Server::start();
    assert_eq!(primary.connect().run(DECLARE), "OK");
    let load = Load::new(&primary, false);
    let replica = Server::replica_of(&primary);
    let steps = load.during(|| {
        for _ in 0..3 {
            let mut redis = replica.connect();
            redis.ok(&["REPLICAOF", "NO", "ONE"]);
            // What it is now was the primary's state between two commands.
            let (first, _) = changes(&mut redis, "s");
            let (second, _) = changes(&mut redis, "t");
            assert!(first == second);
            for writer in 0..WRITERS {
                let of = |entity| first.get(&format!("{writer}-{entity}")).map(Vec::len);
                assert!((1..TOGETHER).all(|entity| of(entity) == of(0)));
            }
            redis.ok(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
            replica.wait_for_line("INFO replication", "master_link_status:up");
        }
    });
    primary.wait_for_replica(&replica);
    wait_until("the same data", || {
        replica.connect().digest() == primary.connect().digest()
    });
    check(&mut primary.connect(), &steps);
}
