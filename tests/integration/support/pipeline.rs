//! One step of a pipeline, under whatever happens: writers count the entities of `user{p}` up, which publishes to
//! `s{p}`; consumers fold these numbers into the entities of `sum{p}`, by flushes that acknowledge what they fold. A
//! number that is folded twice, never, or before its turn is seen in the sum; one that is delivered before its turn is
//! seen at once.

use super::dice::Dice;
use super::readers::get;
use super::{Conn, text, wait_until, words};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CLAIM: u64 = 300;
const ENTITIES: u64 = 24;
pub const WRITERS: u64 = 2;
pub const WORKERS: u64 = 4;

/// What came of a command.
pub enum Answer {
    Reply(Value),
    /// An error, by its code.
    Refused(String),
    /// The connection was lost: nobody knows whether it was carried out.
    Lost,
}

/// A client's way to the servers.
pub trait Link {
    /// Sends a command until a server takes it.
    fn ask(&mut self, line: &str) -> Answer;
    /// Whether what was written last will be there whatever happens.
    fn is_safe(&mut self) -> bool;
    /// Another number after each loss: then the servers may be further back than they were.
    fn life(&self) -> u64;

    /// Sends a command until it is answered.
    fn tell(&mut self, line: &str) -> Value {
        loop {
            match self.ask(line) {
                Answer::Reply(value) => return value,
                Answer::Refused(error) => panic!("{line}: {error}"),
                Answer::Lost => {}
            }
        }
    }
}

pub struct Pipeline {
    partitions: u64,
    is_ending: AtomicBool,
    /// The last number of each entity.
    written: Mutex<BTreeMap<u64, u64>>,
    pub flushes: AtomicU64,
    pub refused: AtomicU64,
    pub failed: AtomicU64,
    pub redriven: AtomicU64,
    pub crashes: AtomicU64,
}

/// The orders that the partitions have by turns.
const READERS: [&str; 4] = [
    "ORDER ENTITY",
    "ORDER ENTITY MAXDELIVERIES 65535",
    "ORDER META of ONDEAD PARK",
    "ORDER STREAM",
];

/// Whether events of a partition die, and are brought back in front of the later ones of their keys.
fn has_deaths(p: u64) -> bool {
    READERS[p as usize % READERS.len()].contains("PARK")
}

/// The numbers of an entity in a batch, with their ids, and the sum that they are folded into.
struct Work {
    entity: u64,
    events: Vec<(String, u64)>,
    count: u64,
    hash: u64,
}

/// Depends on the order, and on every number.
fn fold(hash: u64, number: u64) -> u64 {
    (hash * 31 + number) % 1_000_003
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(*number).expect("a count"),
        other => text(other).parse().expect("a number"),
    }
}

struct Worker {
    name: String,
    dice: Dice,
    /// Where it may hold what it does not know of.
    pending: BTreeSet<u64>,
}

impl Pipeline {
    pub fn new(partitions: u64) -> Pipeline {
        Pipeline {
            partitions,
            is_ending: AtomicBool::new(false),
            written: Mutex::default(),
            flushes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            redriven: AtomicU64::new(0),
            crashes: AtomicU64::new(0),
        }
    }

    pub fn declare(&self, link: &mut impl Link) {
        for (p, reader) in (0..self.partitions).zip(READERS.iter().cycle()) {
            for line in [
                format!("DIRTY.DECLARE user{{{p}}} TYPES 1 n uint STREAM s{{{p}}} PAYLOAD FULL"),
                format!(
                    "DIRTY.DECLARE sum{{{p}}} TYPES 2 n uint h uint STREAM t{{{p}}} PAYLOAD FULL"
                ),
                format!("DIRTY.READER s{{{p}}} GROUP g FROM 0 {reader} CLAIM {CLAIM}"),
            ] {
                link.tell(&line);
            }
        }
        wait_until("what is declared is safe", || link.is_safe());
    }

    /// Counts entities up that nobody else does.
    pub fn write(&self, link: &mut impl Link, writer: u64, until: Instant) {
        let mut dice = Dice(writer + 1);
        let mut numbers = BTreeMap::new();
        while Instant::now() < until {
            // The lesser of two is often a low one.
            let id = dice.roll(ENTITIES).min(dice.roll(ENTITIES)) * WRITERS + writer;
            let number = numbers.entry(id).or_insert(0);
            *number += 1;
            let p = id % self.partitions;
            let line = format!("DIRTY.FLUSH user{{{p}}} META 1 of {id} SNAPSHOT {id} 1 n {number}");
            link.tell(&line);
            while !link.is_safe() {
                link.tell(&line);
            }
            // Consumers should nearly keep up.
            std::thread::sleep(Duration::from_millis(1));
        }
        self.written.lock().unwrap().extend(numbers);
    }

    /// The writers have come to their end: consumers go on until there is nothing left.
    pub fn end(&self) {
        self.is_ending.store(true, SeqCst);
    }

    /// Consumes all partitions by turns.
    pub fn work(&self, link: &mut impl Link, number: u64) {
        let mut worker = Worker {
            name: format!("w{number}"),
            dice: Dice(number * 7 + 3),
            pending: BTreeSet::new(),
        };
        let mut busy = Instant::now();
        while !self.is_ending.load(SeqCst) || busy.elapsed() < Duration::from_millis(2500) {
            let before = busy;
            for p in 0..self.partitions {
                if self.step(link, &mut worker, p) {
                    busy = Instant::now();
                }
            }
            if busy == before {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Whether there was anything.
    fn step(&self, link: &mut impl Link, worker: &mut Worker, p: u64) -> bool {
        if has_deaths(p) && worker.dice.roll(8) == 0 {
            let redriven = link.tell(&format!("DIRTY.REDRIVE s{{{p}}} GROUP g ALL"));
            let redriven = number(&redriven);
            self.redriven.fetch_add(redriven, SeqCst);
            if redriven > 0 {
                return true;
            }
        }
        let pending = if worker.pending.remove(&p) {
            "PENDING "
        } else {
            ""
        };
        let name = worker.name.clone();
        let line = format!("DIRTY.CONSUME s{{{p}}} GROUP g {name} {pending}COUNT 12");
        let reply = match link.ask(&line) {
            Answer::Reply(reply) => reply,
            Answer::Refused(error) => panic!("{line}: {error}"),
            Answer::Lost => {
                worker.pending.insert(p);
                return true;
            }
        };
        let life = link.life();
        assert_eq!(text(get(&reply, "missed")), "(0)", "{line}");
        let batch = batch(&reply);
        if batch.is_empty() {
            return false;
        }
        if worker.dice.roll(20) == 0 {
            // Another process comes in its place.
            self.crashes.fetch_add(1, SeqCst);
            worker.name = format!("{}-{}", &name[..2], worker.dice.roll(1_000_000));
            return true;
        }
        if worker.dice.roll(30) == 0 {
            // It hangs, and then goes on with what it had.
            std::thread::sleep(Duration::from_millis(CLAIM + 100));
        }
        let mut works = Vec::new();
        for (entity, events) in batch {
            match self.prepare(link, worker, p, (entity, events), life) {
                Some(work) if work.events.is_empty() => {}
                Some(work) => works.push(work),
                None => break,
            }
        }
        let together = if worker.dice.roll(2) == 0 { 1 } else { 100 };
        for works in works.chunks(together) {
            self.flush(link, worker, p, works);
        }
        true
    }

    /// Reads the sum of an entity, and adds what was delivered; one in so many fails, and then the rest is left.
    fn prepare(
        &self,
        link: &mut impl Link,
        worker: &mut Worker,
        p: u64,
        (entity, mut events): (u64, Vec<(String, u64)>),
        life: u64,
    ) -> Option<Work> {
        let Answer::Reply(Value::Array(sums)) = link.ask(&format!("DIRTY.GET sum{{{p}}} {entity}"))
        else {
            worker.pending.insert(p);
            return None;
        };
        let (count, mut hash) = match &sums[0] {
            Value::Nil => (0, 0),
            sum => (number(get(sum, "n")), number(get(sum, "h"))),
        };
        let first = events[0].1;
        for (place, (id, number)) in (first..).zip(&events) {
            assert_eq!(*number, place, "{id} of entity {entity}: {events:?}");
        }
        // What is folded only grows, so this was so when it was delivered.
        let turn = count + 1;
        assert!(
            first <= turn || link.life() != life,
            "{first} of entity {entity} is delivered when {turn} is next"
        );
        if worker.dice.roll(12) == 0 {
            let place = worker.dice.roll(events.len() as u64) as usize;
            let again = match has_deaths(p) && worker.dice.roll(2) == 0 {
                true => "FATAL".to_string(),
                false => format!("DELAY {}", worker.dice.roll(2) * 50),
            };
            let (name, id) = (&worker.name, &events[place].0);
            let line = format!("DIRTY.FAIL s{{{p}}} GROUP g {name} oh {again} {id}");
            self.failed.fetch_add(1, SeqCst);
            if !matches!(link.ask(&line), Answer::Reply(_)) {
                worker.pending.insert(p);
            }
            events.truncate(place);
        }
        for (_, number) in &events {
            hash = fold(hash, *number);
        }
        Some(Work {
            entity,
            events,
            count,
            hash,
        })
    }

    /// Sends a flush that acknowledges, again if the reply was lost.
    fn flush(&self, link: &mut impl Link, worker: &mut Worker, p: u64, works: &[Work]) {
        let events = works.iter().flat_map(|work| &work.events);
        let ids: Vec<&str> = events.map(|(id, _)| id.as_str()).collect();
        let mut line = format!(
            "DIRTY.FLUSH sum{{{p}}} ACK s{{{p}}} GROUP g {} {} {}",
            worker.name,
            ids.len(),
            ids.join(" ")
        );
        for work in works {
            let count = work.count + work.events.len() as u64;
            line += &format!(" SNAPSHOT {} 2 n {count} h {}", work.entity, work.hash);
        }
        loop {
            match link.ask(&line) {
                Answer::Lost => {}
                Answer::Refused(error) => {
                    assert_eq!(error, "NOTHELD", "{line}");
                    self.refused.fetch_add(1, SeqCst);
                    worker.pending.insert(p);
                    return;
                }
                Answer::Reply(_) => {
                    self.flushes.fetch_add(1, SeqCst);
                    for work in works {
                        assert_eq!(work.events[0].1, work.count + 1, "{line}");
                    }
                    return;
                }
            }
        }
    }

    /// Every sum is that of all numbers in order, each folded once; the events tell the same, and nothing is left.
    pub fn check(&self, link: &mut impl Link) {
        let written = self.written.lock().unwrap();
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        for p in 0..self.partitions {
            let pending = link.tell(&format!("DIRTY.PENDING s{{{p}}} GROUP g COUNT 5"));
            assert_eq!(text(&pending), "[]", "s{{{p}}}");
            let dead = link.tell(&format!("XLEN s{{{p}}}:dead"));
            assert_eq!(text(&dead), "(0)", "s{{{p}}}:dead");
            let read = link.tell(&format!("DIRTY.READ t{{{p}}} FROM 0 COUNT 10000000"));
            let Value::Array(events) = get(&read, "events") else {
                panic!("no events: {}", text(&read))
            };
            for event in events {
                let entity = number(get(event, "entity-id"));
                let Value::Array(change) = get(get(event, "changes"), "n") else {
                    panic!("no change: {}", text(event))
                };
                let old = if change[0] == Value::Nil {
                    0
                } else {
                    number(&change[0])
                };
                let sum = sums.entry(entity).or_default();
                assert!(*sum == old && old < number(&change[1]), "{}", text(event));
                *sum = number(&change[1]);
            }
        }
        assert_eq!(sums, *written, "the last sums that were published");
        for (id, last) in written.iter() {
            let hash = (1..=*last).fold(0, fold);
            let p = id % self.partitions;
            let sum = link.tell(&format!("DIRTY.GET sum{{{p}}} {id}"));
            assert_eq!(
                text(&sum),
                format!("[[n ({last}) h ({hash})]]"),
                "entity {id}"
            );
        }
        let counts = [&self.flushes, &self.refused, &self.failed, &self.redriven];
        let [flushes, refused, failed, redriven] = counts.map(|count| count.load(SeqCst));
        let crashes = self.crashes.load(SeqCst);
        let events: u64 = written.values().sum();
        println!(
            "{events} events, {flushes} flushes, {refused} NOTHELD, {failed} failures, {redriven} redriven, \
             {crashes} crashes"
        );
        assert!(events > 100 && refused > 0 && failed > 5 && redriven > 0 && crashes > 2);
    }
}

/// The events of a reply: of each entity the ids and numbers, in order.
fn batch(reply: &Value) -> BTreeMap<u64, Vec<(String, u64)>> {
    let Value::Array(events) = get(reply, "events") else {
        panic!("no events: {}", text(reply))
    };
    let mut batch: BTreeMap<u64, Vec<(String, u64)>> = BTreeMap::new();
    for event in events {
        let Value::Array(change) = get(get(event, "changes"), "n") else {
            panic!("no change: {}", text(event))
        };
        let own = batch.entry(number(get(event, "entity-id"))).or_default();
        own.push((text(get(event, "id")), number(&change[1])));
    }
    batch
}

/// A connection to one server, or to its successor.
pub struct ToServer<'p> {
    /// Where the primary is now.
    pub port: &'p std::sync::atomic::AtomicU16,
    /// Whether a replica must have what is written.
    pub waits: bool,
    conn: Option<(u16, Conn)>,
    life: u64,
}

impl<'p> ToServer<'p> {
    pub fn new(port: &'p std::sync::atomic::AtomicU16, waits: bool) -> Self {
        ToServer {
            port,
            waits,
            conn: None,
            life: 0,
        }
    }

    fn lose(&mut self) {
        self.conn = None;
        self.life += 1;
    }
}

impl Link for ToServer<'_> {
    fn ask(&mut self, line: &str) -> Answer {
        let start = Instant::now();
        loop {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no answer: {line}"
            );
            let port = self.port.load(SeqCst);
            if self.conn.as_ref().is_none_or(|(at, _)| *at != port) {
                self.lose();
                self.conn = Conn::try_to(port).map(|conn| (port, conn));
            }
            let Some((_, conn)) = &mut self.conn else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            match conn.try_run(&words(line)) {
                Err(_) => {
                    self.lose();
                    return Answer::Lost;
                }
                Ok(Value::ServerError(error)) => match error.code() {
                    // It was not carried out.
                    "LOADING" | "READONLY" | "MASTERDOWN" => {
                        self.lose();
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    code => return Answer::Refused(code.to_string()),
                },
                Ok(value) => return Answer::Reply(value),
            }
        }
    }

    fn is_safe(&mut self) -> bool {
        if !self.waits {
            return true;
        }
        // Valkey's WAIT speaks of what was written through this connection: a flush that was sent again may not have.
        let (sent, waited) = (self.ask("INCR sent"), self.ask("WAIT 1 200"));
        matches!((sent, waited), (Answer::Reply(_), Answer::Reply(Value::Int(n))) if n > 0)
    }

    fn life(&self) -> u64 {
        self.life
    }
}
