//! Writers and readers of sixteen partitions, by the cluster-aware client of a library, while slots are moved and
//! primaries die: every change is one event, and the events of each entity are in order.
//!
//! `SOAK_SECONDS=600` goes on for longer.

use super::atomic::is_possible;
use super::nodes::{Mover, Nodes};
use crate::support::dice::Dice;
use crate::support::readers::{first_times, get};
use crate::support::text;
use redis::cluster::ClusterConnection;
use redis::{ConnectionLike, ErrorKind, RedisError, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const PARTITIONS: u64 = 16;
const WRITERS: u64 = 2;
const ENTITIES: u64 = 100;

/// Of each entity the numbers that a reader has handled.
type Handled = BTreeMap<u64, Vec<u64>>;

struct Load {
    nodes: Nodes,
    /// Primaries die: what counts is only what a replica has confirmed, and connections are lost.
    primaries_die: bool,
    is_ending: AtomicBool,
    /// The last number of each entity that was acknowledged.
    written: Mutex<BTreeMap<u64, u64>>,
    handled: Mutex<BTreeMap<String, Handled>>,
    flushes: AtomicU64,
}

/// Lets the readers come to an end, also when the test fails.
struct Ending<'l>(&'l AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// An event as a reader gets it: its seq, its entity, the old number and the new.
struct Event {
    seq: u64,
    entity: u64,
    old: Option<u64>,
    new: u64,
}

fn events(reply: &Value) -> Vec<Event> {
    let Value::Array(events) = get(reply, "events") else {
        panic!("no events: {}", text(reply))
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => text(value).parse().ok(),
    };
    let event = |event: &Value| {
        let Value::Array(changes) = get(event, "changes") else {
            panic!("no changes: {}", text(event))
        };
        let (old, new) = match changes.as_slice() {
            [_, Value::Array(pair)] => (number(&pair[0]), number(&pair[1])),
            _ => panic!("other changes: {}", text(event)),
        };
        let id = text(get(event, "id"));
        Event {
            seq: id.split_once('-').expect("an id").1.parse().expect("a seq"),
            entity: number(get(event, "entity-id")).expect("an entity"),
            old,
            new: new.expect("a number"),
        }
    };
    events.iter().map(event).collect()
}

fn command(line: &str) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    line.split_whitespace().for_each(|word| {
        command.arg(word);
    });
    command
}

impl Load {
    fn new(primaries_die: bool) -> Self {
        let load = Load {
            nodes: Nodes::start(),
            primaries_die,
            is_ending: AtomicBool::new(false),
            written: Mutex::default(),
            handled: Mutex::default(),
            flushes: AtomicU64::new(0),
        };
        let mut client = load.nodes.client();
        for n in 0..PARTITIONS {
            let declare =
                format!("DIRTY.DECLARE user{{{n}}} TYPES 1 n uint STREAM s{{{n}}} PAYLOAD FULL");
            load.ask(&mut client, &declare);
            for reader in ["GROUP g", "CURSOR all", "CURSOR waiting"] {
                let declare = format!("DIRTY.READER s{{{n}}} {reader} FROM 0");
                load.ask(&mut client, &declare);
            }
        }
        load
    }

    /// Sends a command until it is answered. What the server or the client gives up on is sent again, what the
    /// module refuses for any other reason is a fault.
    fn ask(&self, client: &mut ClusterConnection, line: &str) -> Value {
        let start = Instant::now();
        loop {
            match client.req_command(&command(line)) {
                Ok(value) => return value,
                Err(error) => {
                    assert!(self.is_passing(&error), "{line}: {error}");
                    if error.code().is_none() {
                        // It asks a node that is gone again and again, where a new one asks the others.
                        if let Ok(anew) = self.nodes.try_client() {
                            *client = anew;
                        }
                    }
                }
            }
            assert!(
                start.elapsed() < Duration::from_secs(40),
                "no answer to {line}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_passing(&self, error: &RedisError) -> bool {
        match error.code() {
            Some(code) => match code {
                "TRYAGAIN" | "ASK" | "MOVED" => true,
                "CLUSTERDOWN" | "READONLY" | "LOADING" | "MASTERDOWN" | "UNBLOCKED" => {
                    self.primaries_die
                }
                _ => false,
            },
            // A connection was lost, or there is none.
            None => self.primaries_die || error.kind() == ErrorKind::ClusterConnectionNotFound,
        }
    }

    /// A flush that a replica has. WAIT speaks of what was written through its own connection, so both go there
    /// together; and when the first was lost on its way, so is its WAIT. Valkey's WAIT speaks of what was
    /// written indeed, which a flush sent again may not do.
    fn flush(&self, client: &mut ClusterConnection, partition: u64, line: &str) {
        let start = Instant::now();
        loop {
            let mut together = command(line).get_packed_command();
            let write = format!("INCR sent{{{partition}}}");
            together.extend(command(&write).get_packed_command());
            together.extend(command("WAIT 1 500").get_packed_command());
            let replies = client.req_packed_commands(&together, 0, 3);
            match replies.as_deref() {
                Ok([Value::Array(_), _, Value::Int(replicas)]) if *replicas > 0 => return,
                Ok([Value::Array(_), _, Value::Int(_)]) => {}
                // The client leaves redirections in a pipeline to us; it follows them here.
                _ => drop(self.ask(client, line)),
            }
            let waited = start.elapsed() < Duration::from_secs(40);
            assert!(waited, "no replica has {line}: {replies:?}");
        }
    }

    /// Flushes versions of entities that nobody else flushes.
    fn write(&self, writer: u64, until: Instant) {
        let mut client = self.nodes.client();
        let mut dice = Dice(writer + 1);
        let mut numbers = BTreeMap::new();
        while Instant::now() < until {
            let id = dice.roll(ENTITIES) * WRITERS + writer;
            let number = numbers.entry(id).or_insert(0);
            *number += 1;
            let partition = id % PARTITIONS;
            let line = format!("DIRTY.FLUSH user{{{partition}}} SNAPSHOT {id} 1 n {number}");
            match self.primaries_die {
                true => self.flush(&mut client, partition, &line),
                false => drop(self.ask(&mut client, &line)),
            }
            self.flushes.fetch_add(1, SeqCst);
        }
        self.written.lock().unwrap().extend(numbers);
    }

    /// Reads these partitions by turns until there is nothing left.
    fn read(&self, reader: &str, options: &str, partitions: &[u64]) {
        let mut client = self.nodes.client();
        let mut acks: BTreeMap<u64, String> = BTreeMap::new();
        let mut handled = Handled::new();
        let mut idle = 0;
        let of_group = options.starts_with("GROUP");
        while idle < 3 {
            let mut has_read = false;
            for partition in partitions {
                let ack = acks.remove(partition).unwrap_or_default();
                let line = format!("DIRTY.CONSUME s{{{partition}}} {options} {ack} COUNT 50");
                let reply = self.ask(&mut client, &line);
                // Who has read what the next primary never got is told that nobody knows.
                let missed = text(get(&reply, "missed"));
                let is_known = missed == "(0)" || self.primaries_die && missed == "nil";
                assert!(is_known, "{line}: missed {missed}");
                let events = events(&reply);
                for event in &events {
                    handled.entry(event.entity).or_default().push(event.new);
                }
                has_read |= !events.is_empty();
                let ack = match (of_group, get(&reply, "events")) {
                    (false, _) => format!("ACK {}", text(get(&reply, "position"))),
                    (true, Value::Array(events)) if !events.is_empty() => {
                        let ids: Vec<_> =
                            events.iter().map(|event| text(get(event, "id"))).collect();
                        format!("ACK {} {}", ids.len(), ids.join(" "))
                    }
                    _ => String::new(),
                };
                acks.insert(*partition, ack);
            }
            idle = match has_read || !self.is_ending.load(SeqCst) {
                true => 0,
                false => idle + 1,
            };
        }
        let mut all = self.handled.lock().unwrap();
        let all = all.entry(reader.into()).or_default();
        for (entity, numbers) in handled {
            all.entry(entity).or_default().extend(numbers);
        }
    }

    /// Those of the partitions.
    fn slots(&self) -> Vec<u16> {
        let mut redis = self.nodes.connect(self.nodes.ports[0]);
        let slot = |n: u64| match redis.ok(&["CLUSTER", "KEYSLOT", &n.to_string()]) {
            Value::Int(slot) => u16::try_from(slot).expect("a slot"),
            other => panic!("no slot: {other:?}"),
        };
        (0..PARTITIONS).map(slot).collect()
    }

    /// Writes and reads while something happens.
    fn run(&self, mut happens: impl FnMut(Instant)) {
        let seconds =
            std::env::var("SOAK_SECONDS").map_or(8, |text| text.parse().expect("seconds"));
        let until = Instant::now() + Duration::from_secs(seconds);
        let all: Vec<u64> = (0..PARTITIONS).collect();
        std::thread::scope(|threads| {
            let ending = Ending(&self.is_ending);
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| threads.spawn(move || self.write(writer, until)))
                .collect();
            let all = &all;
            threads.spawn(|| self.read("group", "GROUP g a PENDING", all));
            threads.spawn(|| self.read("group", "GROUP g b PENDING", all));
            threads.spawn(|| self.read("cursor", "CURSOR all", all));
            threads.spawn(|| self.read("waiting", "CURSOR waiting BLOCK 300", &[3]));
            while Instant::now() < until {
                happens(until);
            }
            let done: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            drop(ending);
            assert!(
                done.iter().all(Result::is_ok),
                "a writer has seen something wrong"
            );
        });
        self.check_streams();
        self.check_readers();
    }

    /// Each stream has each number of each entity once, in order, and ends as the snapshots are.
    fn check_streams(&self) {
        let mut client = self.nodes.client();
        let written = self.written.lock().unwrap();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let read = format!("DIRTY.READ s{{{partition}}} FROM 0 COUNT 10000000");
            for (index, event) in events(&self.ask(&mut client, &read)).iter().enumerate() {
                assert_eq!(event.seq, index as u64 + 1, "s{{{partition}}}");
                let Event {
                    entity, old, new, ..
                } = event;
                assert_eq!(entity % PARTITIONS, partition);
                assert_eq!(*old, last.get(entity).copied(), "entity {entity}, to {new}");
                assert_eq!(*new, old.unwrap_or(0) + 1, "entity {entity}");
                last.insert(*entity, *new);
            }
        }
        assert_eq!(last, *written);
        for (entity, number) in last {
            let partition = entity % PARTITIONS;
            let snapshot = self.ask(
                &mut client,
                &format!("DIRTY.GET user{{{partition}}} {entity}"),
            );
            assert_eq!(
                text(&snapshot),
                format!("[[n ({number})]]"),
                "entity {entity}"
            );
        }
    }

    /// Every reader got every number; what a failover took back from the readers' positions, too, comes twice.
    fn check_readers(&self) {
        let (written, handled) = (self.written.lock().unwrap(), self.handled.lock().unwrap());
        assert_eq!(handled.len(), 3);
        for (reader, handled) in handled.iter() {
            for (entity, last) in written.iter() {
                if reader == "waiting" && entity % PARTITIONS != 3 {
                    continue;
                }
                let numbers = handled.get(entity).cloned().unwrap_or_default();
                let all: Vec<u64> = (1..=*last).collect();
                let what = format!("{reader}, entity {entity}");
                if reader == "group" {
                    // Two consumers share them, in no order of all.
                    let seen: BTreeSet<u64> = numbers.iter().copied().collect();
                    assert_eq!(seen, all.iter().copied().collect(), "{what}");
                    assert!(
                        self.primaries_die || numbers.len() == all.len(),
                        "{what}: {numbers:?}"
                    );
                } else if self.primaries_die {
                    assert_eq!(first_times(&numbers), all, "{what}");
                } else {
                    assert_eq!(numbers, all, "{what}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_while_slots_are_moved() {
    let load = Load::new(false);
    let slots = load.slots();
    let mut mover = Mover::new(&load.nodes);
    let mut dice = Dice(5);
    let mut moved = 0;
    load.run(|_| {
        let slot = slots[dice.roll(PARTITIONS) as usize];
        mover.shift(slot, || {
            std::thread::sleep(Duration::from_millis(1 + dice.roll(10)))
        });
        moved += 1;
    });
    let flushes = load.flushes.load(SeqCst);
    let (again, asked) = (load.nodes.errors("TRYAGAIN"), load.nodes.errors("ASK"));
    println!("{flushes} flushes, {moved} slots moved, {again} TRYAGAIN, {asked} ASK");
    assert!(flushes > 300 && moved > 5 && again > 0 && asked > 10);
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_while_slots_are_moved_as_a_whole() {
    if !is_possible() {
        return;
    }
    let load = Load::new(false);
    let slots = load.slots();
    let mut mover = Mover::new(&load.nodes);
    let mut dice = Dice(6);
    let mut moved = 0;
    load.run(|_| {
        mover.shift_atomically(slots[dice.roll(PARTITIONS) as usize]);
        moved += 1;
    });
    let flushes = load.flushes.load(SeqCst);
    let sent_on = load.nodes.errors("MOVED");
    println!("{flushes} flushes, {moved} slots moved, {sent_on} MOVED");
    assert!(flushes > 300 && moved > 2 && sent_on > 0);
}

#[test]
fn nothing_that_a_replica_has_confirmed_is_lost_doubled_or_out_of_order_when_primaries_die() {
    let load = Load::new(true);
    let mut dice = Dice(7);
    let mut deaths = 0;
    load.run(|_| {
        std::thread::sleep(Duration::from_millis(500 + dice.roll(500)));
        let primaries = load.nodes.primaries(load.nodes.ports[0]);
        let dies = primaries[dice.roll(3) as usize].port;
        let witness = load.nodes.ports.iter().find(|port| **port != dies);
        load.nodes.kill(dies);
        deaths += 1;
        crate::support::wait_until("a replica that takes over", || {
            let primaries = load.nodes.primaries(*witness.expect("another node"));
            let serving = primaries.iter().filter(|primary| !primary.slots.is_empty());
            serving.filter(|primary| primary.port != dies).count() == 3
        });
        load.nodes.start_again();
    });
    let flushes = load.flushes.load(SeqCst);
    println!("{flushes} flushes, {deaths} deaths");
    assert!(flushes > 200 && deaths > 0);
}
