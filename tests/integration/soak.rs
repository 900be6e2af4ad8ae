//! Writers, readers of all kinds that crash between delivery and ACK, a stream that is trimmed, a server
//! that is killed again and again: every event is handled by everybody, in order where that is promised.
//!
//! `SOAK_SECONDS=600` goes on for longer.

use super::support::dice::Dice;
use super::support::readers::{first_times, get};
use super::support::{Conn, Server, text};
use redis::{Connection, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const WRITERS: u64 = 2;
const ENTITIES: u64 = 20;
const SHARDS: [&str; 4] = ["shard0", "shard1", "shard2", "shard3"];

const READERS: [&str; 10] = [
    "GROUP workers CLAIM 300",
    "GROUP by-stream CLAIM 300 ORDER STREAM",
    "GROUP by-entity CLAIM 300 ORDER ENTITY",
    "GROUP filtered CLAIM 300 WHERE ENTITY user OPS IU",
    "CURSOR all",
    "CURSOR old MINAGE 100",
    "CURSOR shard0 SHARD 0 4",
    "CURSOR shard1 SHARD 1 4",
    "CURSOR shard2 SHARD 2 4",
    "CURSOR shard3 SHARD 3 4",
];

/// What a reader has handled: of each entity its numbers, in the order of delivery.
type Handled = BTreeMap<String, Vec<u64>>;

/// A client that comes back when the server does.
struct Client {
    port: u16,
    connection: Option<Connection>,
}

impl Client {
    fn new(port: u16) -> Self {
        Client {
            port,
            connection: None,
        }
    }

    /// As a process that crashes: what it was told is forgotten.
    fn crash(&mut self) {
        self.connection = None;
    }

    /// Sends a command until it is answered, if need be several times.
    fn ask(&mut self, words: &[String]) -> Value {
        self.ask_again(words, words)
    }

    /// As `ask`, with other words once the connection was lost: nobody knows what became of the first.
    fn ask_again(&mut self, words: &[String], again: &[String]) -> Value {
        let start = Instant::now();
        let mut words = words;
        loop {
            match self.try_ask(words) {
                Some(Value::ServerError(error)) if error.code() == "LOADING" => {}
                Some(value) => return value,
                None => {
                    self.connection = None;
                    words = again;
                }
            }
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(30), "no answer to {words:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn try_ask(&mut self, words: &[String]) -> Option<Value> {
        if self.connection.is_none() {
            let client = redis::Client::open(("127.0.0.1", self.port)).ok()?;
            let connection = client.get_connection().ok()?;
            connection
                .set_read_timeout(Some(Duration::from_secs(10)))
                .ok()?;
            self.connection = Some(connection);
        }
        let connection = self.connection.as_mut()?;
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        connection
            .send_packed_command(&command.get_packed_command())
            .ok()?;
        connection.recv_response().ok()
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_string).collect()
}

/// Ids of the events in a reply, each with its entity and number.
fn events(reply: &Value) -> Vec<(String, String, u64)> {
    let Value::Array(events) = get(reply, "events") else {
        panic!("no events: {}", text(reply))
    };
    let event = |event: &Value| {
        // `[n [old (new)]]`
        let changes = text(get(event, "changes")).replace(['[', ']', '(', ')'], "");
        let new = changes.rsplit(' ').next().map(str::to_string);
        let number = new.and_then(|new| new.parse().ok());
        (
            text(get(event, "id")),
            text(get(event, "entity-id")),
            number.unwrap_or_else(|| panic!("no number: {}", text(event))),
        )
    };
    events.iter().map(event).collect()
}

struct Soak {
    port: u16,
    /// Writers have stopped: readers go on until there is nothing left.
    is_ending: AtomicBool,
    /// The last number that was written, by entity.
    written: Mutex<BTreeMap<String, u64>>,
    handled: Mutex<BTreeMap<String, Handled>>,
    crashes: AtomicU64,
}

impl Soak {
    fn write(&self, writer: u64, until: Instant) {
        let mut client = Client::new(self.port);
        let mut dice = Dice(writer + 1);
        let mut numbers: BTreeMap<u64, u64> = BTreeMap::new();
        while Instant::now() < until {
            // Each writer has entities of its own.
            let id = dice.roll(ENTITIES) * WRITERS + writer;
            let number = numbers.entry(id).or_default();
            *number += 1;
            let reply = client.ask(&words(&format!(
                "DIRTY.FLUSH user SNAPSHOT {id} 1 n {number}"
            )));
            let reply = text(&reply);
            assert!(
                ["[insert]", "[update]", "[none]"].contains(&reply.as_str()),
                "{reply}"
            );
        }
        let numbers = numbers
            .into_iter()
            .map(|(id, number)| (id.to_string(), number));
        self.written.lock().unwrap().extend(numbers);
    }

    fn note(&self, reader: &str, events: &[(String, String, u64)]) {
        let mut handled = self.handled.lock().unwrap();
        let handled = handled.entry(reader.to_string()).or_default();
        for (_, entity, number) in events {
            handled.entry(entity.clone()).or_default().push(*number);
        }
    }

    /// A consumer of a group, until the group has nothing left. One in so many batches it crashes, and
    /// comes back under its name or leaves what it holds to the others.
    fn consume(&self, group: &str, consumer: u64) {
        let mut client = Client::new(self.port);
        let mut dice = Dice(consumer * 7 + 3);
        let (mut name, mut ack, mut pending) = (format!("w{consumer}"), Vec::new(), "PENDING");
        let mut idle = 0;
        while idle < 15 {
            let done = std::mem::take(&mut ack);
            let count = done.len();
            let line = |pending| {
                words(&format!(
                    "DIRTY.CONSUME s GROUP {group} {name} ACK {count} {} {pending} COUNT 20 BLOCK 50",
                    done.join(" ")
                ))
            };
            let reply = client.ask_again(&line(pending), &line("PENDING"));
            assert_eq!(text(get(&reply, "missed")), "(0)", "{group}");
            let events = events(&reply);
            pending = "";
            idle = match events.is_empty() && self.is_ending.load(SeqCst) {
                true => idle + 1,
                false => 0,
            };
            if !events.is_empty() && dice.roll(12) == 0 && !self.is_ending.load(SeqCst) {
                self.crashes.fetch_add(1, SeqCst);
                client.crash();
                match dice.roll(2) {
                    0 => pending = "PENDING",
                    _ => name = format!("w{consumer}-{}", dice.roll(1_000_000)),
                }
                continue;
            }
            self.note(group, &events);
            ack = events.into_iter().map(|(id, ..)| id).collect();
        }
    }

    /// A cursor, likewise.
    fn follow(&self, cursor: &str) {
        let mut client = Client::new(self.port);
        let mut dice = Dice(cursor.len() as u64 * 31 + 5);
        let mut ack = String::new();
        let mut idle = 0;
        while idle < 15 {
            let line = format!("DIRTY.CONSUME s CURSOR {cursor} {ack} COUNT 20 BLOCK 50");
            let reply = client.ask(&words(&line));
            assert_eq!(text(get(&reply, "missed")), "(0)", "{cursor}");
            let events = events(&reply);
            ack.clear();
            let position = text(get(&reply, "position"));
            if dice.roll(12) == 0 && !self.is_ending.load(SeqCst) {
                self.crashes.fetch_add(1, SeqCst);
                client.crash();
                continue;
            }
            idle = match events.is_empty() && self.is_ending.load(SeqCst) {
                true => idle + 1,
                false => 0,
            };
            self.note(cursor, &events);
            ack = format!("ACK {position}");
        }
    }

    /// Every reader got every number of every entity, in order where that is promised.
    fn check(&self, kills: u64) {
        let written = self.written.lock().unwrap();
        let mut handled = self.handled.lock().unwrap();
        let shards: Vec<Handled> = SHARDS
            .iter()
            .filter_map(|shard| handled.remove(*shard))
            .collect();
        let mut of_shards = Handled::new();
        for (entity, numbers) in shards.into_iter().flatten() {
            // Each entity is one shard's alone.
            assert_eq!(of_shards.insert(entity, numbers), None);
        }
        handled.insert("shards".into(), of_shards);
        let total: u64 = written.values().sum();
        println!(
            "{total} events, {kills} kills, {} crashes of readers",
            self.crashes.load(SeqCst)
        );
        assert!(total > 100 && kills > 0, "{total} events, {kills} kills");
        let readers: Vec<&str> = handled.keys().map(String::as_str).collect();
        assert_eq!(
            readers,
            [
                "all",
                "by-entity",
                "by-stream",
                "filtered",
                "old",
                "shards",
                "workers"
            ]
        );
        for (reader, handled) in handled.iter() {
            for (entity, last) in written.iter() {
                let numbers = handled
                    .get(entity)
                    .map(|numbers| first_times(numbers))
                    .unwrap_or_default();
                let all: Vec<u64> = (1..=*last).collect();
                if ["workers", "filtered"].contains(&reader.as_str()) {
                    // Claimed work is in no order, but complete.
                    let numbers: BTreeSet<u64> = numbers.into_iter().collect();
                    assert_eq!(
                        numbers,
                        all.into_iter().collect(),
                        "{reader}, entity {entity}"
                    );
                } else {
                    assert_eq!(numbers, all, "{reader}, entity {entity}");
                }
            }
        }
    }
}

fn nothing_is_stuck(redis: &mut Conn) {
    let stats = redis.ok(&["DIRTY.STATS", "s"]);
    let Value::Array(readers) = get(&stats, "readers") else {
        panic!("no readers")
    };
    assert_eq!(readers.len(), READERS.len());
    for reader in readers {
        let name = text(get(reader, "name"));
        let fields: &[&str] = match text(get(reader, "kind")).as_str() {
            "group" => &["lag", "missed", "pending", "queued", "missed-total"],
            _ => &["lag", "missed"],
        };
        for field in fields {
            assert_eq!(text(get(reader, field)), "(0)", "{field} of {name}");
        }
    }
}

#[test]
fn nothing_is_lost_stuck_or_out_of_order_however_often_everything_crashes() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(15, |text| text.parse().expect("seconds"));
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = server.connect();
    let declared = redis
        .run("DIRTY.DECLARE user TYPES 1 n int STREAM s PAYLOAD FULL MAXLEN = 300 ONFULL KEEP");
    assert_eq!(declared, "OK");
    // Who is there from the start misses nothing.
    for reader in READERS {
        redis.expect(&format!("DIRTY.READER s {reader} FROM 0 => OK"));
    }
    let soak = Soak {
        port: server.port,
        is_ending: AtomicBool::new(false),
        written: Mutex::default(),
        handled: Mutex::default(),
        crashes: AtomicU64::new(0),
    };
    let soak = &soak;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut kills = 0;
    std::thread::scope(|threads| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| threads.spawn(move || soak.write(writer, until)))
            .collect();
        for consumer in 0..3 {
            threads.spawn(move || soak.consume("workers", consumer));
            threads.spawn(move || soak.consume("by-stream", consumer));
            threads.spawn(move || soak.consume("by-entity", consumer));
        }
        threads.spawn(|| soak.consume("filtered", 0));
        threads.spawn(|| soak.follow("all"));
        threads.spawn(|| soak.follow("old"));
        for shard in SHARDS {
            threads.spawn(move || soak.follow(shard));
        }
        let mut dice = Dice(11);
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1000 + dice.roll(2500)));
            server.kill();
            kills += 1;
            server.start_again();
        }
        for writer in writers {
            writer.join().expect("a writer that has seen nothing wrong");
        }
        soak.is_ending.store(true, SeqCst);
    });
    soak.check(kills);
    let mut redis = server.connect();
    nothing_is_stuck(&mut redis);
}
