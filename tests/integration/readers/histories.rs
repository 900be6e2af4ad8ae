//! Random flushes, trims, deletions, reloads and reads, against a model that knows of every event which reader got it, can
//! still get it, or was told that it missed it.
//!
//! `HISTORIES=1000` tries more of them, `SEED=n` those of a run that failed.

use crate::support::readers::{Read, consume};
use crate::support::{Conn, Server, text};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestError;
use std::collections::BTreeMap;

/// The last two are cursors.
const READERS: [&str; 4] = ["GROUP g", "GROUP h", "CURSOR c", "CURSOR d"];

#[derive(Clone, Debug)]
enum Step {
    /// Events of the entities `even` and `odd`.
    Flush {
        even: usize,
        odd: usize,
    },
    /// Keeps this many.
    Trim {
        left: usize,
    },
    /// Deletes those at these places, from the end.
    Delete {
        places: Vec<usize>,
    },
    /// A reader gets only events of `even`, or all.
    Declare {
        reader: usize,
        even: bool,
    },
    Read(Reading),
    Reload,
}

#[derive(Clone, Debug)]
struct Reading {
    reader: usize,
    consumer: u8,
    count: usize,
    /// Groups: this many of the consumer's pending ones; cursors: all before.
    ack: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let reading = (0..READERS.len(), 0..2u8, 1..6usize, 0..3usize);
    let reading = reading.prop_map(|(reader, consumer, count, ack)| {
        Step::Read(Reading {
            reader,
            consumer,
            count: if count == 5 { 100 } else { count },
            ack,
        })
    });
    prop_oneof![
        4 => (0..4usize, 0..3usize).prop_map(|(even, odd)| Step::Flush { even, odd }),
        1 => (0..8usize).prop_map(|left| Step::Trim { left }),
        2 => vec(0..12usize, 1..4).prop_map(|places| Step::Delete { places }),
        1 => (0..READERS.len(), any::<bool>()).prop_map(|(reader, even)| Step::Declare { reader, even }),
        8 => reading,
        1 => Just(Step::Reload),
    ]
}

/// Seqs of events say which they are.
#[derive(Default)]
struct Model {
    last: u64,
    /// Seq and whether it is of `even`.
    alive: BTreeMap<u64, bool>,
    readers: [Position; 4],
}

#[derive(Clone, Default)]
struct Position {
    even: bool,
    /// Up to here all is read or missed.
    seq: u64,
    /// What a cursor would acknowledge.
    offered: u64,
    /// Of a group: by seq its consumer.
    pending: BTreeMap<u64, u8>,
    /// How many a group got, had rejected, and missed.
    told: u64,
}

impl Model {
    fn trim(&mut self, left: usize) {
        while self.alive.len() > left {
            self.alive.pop_first();
        }
    }

    /// The events, and how many are told missed: those that are gone before an event that is there.
    fn read(&mut self, reading: &Reading) -> (Vec<u64>, u64, bool) {
        let is_group = reading.reader < 2;
        let at = &mut self.readers[reading.reader];
        let (mut events, mut missed, mut position, mut more) = (Vec::new(), 0, at.seq, false);
        for (&seq, &even) in self.alive.range(at.seq + 1..) {
            if events.len() == reading.count {
                more = true;
                break;
            }
            missed += seq - position - 1;
            at.told += if is_group { seq - position } else { 0 };
            position = seq;
            if !at.even || even {
                events.push(seq);
                at.pending.insert(seq, reading.consumer);
            }
        }
        at.offered = position;
        if is_group {
            at.seq = position;
        }
        (events, missed, more)
    }
}

struct Run<'r> {
    redis: &'r mut Conn,
    model: Model,
    /// By seq.
    ids: BTreeMap<u64, String>,
    max: Option<usize>,
    positions: [String; 4],
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Flush { even, odd } => self.flush(*even, *odd),
            Step::Trim { left } => {
                self.redis.run(&format!("XTRIM s MAXLEN = {left}"));
                self.model.trim(*left);
            }
            Step::Delete { places } => {
                for place in places {
                    if let Some(seq) = self.model.alive.keys().rev().nth(*place).copied() {
                        let deleted = self.redis.run(&format!("XDEL s {}", self.ids[&seq]));
                        assert_eq!(deleted, "(1)");
                        self.model.alive.remove(&seq);
                    }
                }
            }
            Step::Declare { reader, even } => {
                let filter = if *even { "WHERE ENTITY even" } else { "" };
                let line = format!("DIRTY.READER s {} {filter}", READERS[*reader]);
                assert_eq!(self.redis.run(&line), "OK");
                self.model.readers[*reader].even = *even;
            }
            Step::Reload => assert_eq!(self.redis.run("DEBUG RELOAD"), "OK"),
            Step::Read(reading) => self.read(reading),
        }
        self.check_stats();
    }

    fn flush(&mut self, even: usize, odd: usize) {
        for (entity, number) in [("even", even), ("odd", odd)] {
            if number == 0 {
                continue;
            }
            let line = format!(
                "DIRTY.FLUSH {entity} WITHEVENTS{}",
                " TOUCH 1".repeat(number)
            );
            let reply = self.redis.run(&line);
            for id in reply
                .split([' ', '[', ']'])
                .filter(|word| word.contains('-'))
            {
                self.model.last += 1;
                let seq = self.model.last;
                assert_eq!(id.split('-').nth(1), Some(seq.to_string().as_str()));
                self.ids.insert(seq, id.into());
                self.model.alive.insert(seq, entity == "even");
            }
            if let Some(max) = self.max {
                self.model.trim(max);
            }
        }
    }

    fn read(&mut self, reading: &Reading) {
        let mut options = format!("COUNT {}", reading.count);
        let name = READERS[reading.reader];
        let is_group = reading.reader < 2;
        let at = &mut self.model.readers[reading.reader];
        if is_group {
            let own = at
                .pending
                .iter()
                .filter(|(_, holder)| **holder == reading.consumer);
            let own: Vec<u64> = own.map(|(seq, _)| *seq).take(reading.ack).collect();
            options += &format!(" ACK {}", own.len());
            for seq in own {
                options += &format!(" {}", self.ids[&seq]);
                at.pending.remove(&seq);
            }
        } else if reading.ack > 0 && at.offered > at.seq {
            options += &format!(" ACK {}", self.positions[reading.reader]);
            at.seq = at.offered;
        }
        let consumer = match is_group {
            true => format!("c{}", reading.consumer),
            false => String::new(),
        };
        let command = format!("s {name} {consumer} {options}");
        let got = consume(self.redis, &command);
        let (events, missed, more) = self.model.read(reading);
        assert_eq!(seqs(&got), events, "{command}");
        assert_eq!(
            (&*got.missed, got.more),
            (&*format!("({missed})"), more),
            "{command}"
        );
        if let Some(position) = got.position {
            let seq = position.split(['-', '/']).nth(1).map(str::to_string);
            let offered = self.model.readers[reading.reader].offered;
            assert_eq!(seq, Some(offered.to_string()), "{command}");
            self.positions[reading.reader] = position;
        }
    }

    /// DIRTY.STATS says what can still be got, and what will be told.
    fn check_stats(&mut self) {
        let stats = text(&self.redis.value(&["DIRTY.STATS", "s"]));
        for (reader, at) in self.model.readers.iter().enumerate() {
            let name = READERS[reader].split(' ').nth(1).expect("a name");
            let lag = self.model.alive.range(at.seq + 1..).count() as u64;
            let missed = self.model.last - at.seq - lag;
            let found = stats
                .split("[name ")
                .find(|part| part.starts_with(&format!("{name} ")));
            let found = found.unwrap_or_else(|| panic!("{name} in {stats}"));
            let mut parts = vec![format!(" lag ({lag}) "), format!(" missed ({missed}) ")];
            if reader < 2 {
                parts.push(format!(" pending ({}) ", at.pending.len()));
            }
            for part in parts {
                assert!(found.contains(&part), "{part}: {found}");
            }
        }
    }

    /// Every event was got, rejected or missed once by every group, in order.
    fn finish(mut self) {
        self.flush(1, 0);
        for reader in 0..2 {
            self.read(&Reading {
                reader,
                consumer: 0,
                count: 1000,
                ack: 0,
            });
            assert_eq!(self.model.readers[reader].told, self.model.last);
        }
    }
}

fn seqs(read: &Read) -> Vec<u64> {
    let seq = |id: &String| id.split('-').nth(1).and_then(|seq| seq.parse().ok());
    read.ids.iter().filter_map(seq).collect()
}

fn check(redis: &mut Conn, max: Option<usize>, history: &[Step]) {
    redis.run("FLUSHALL");
    let max_text = max.map_or(String::new(), |max| format!(" MAXLEN = {max}"));
    for entity in ["even", "odd"] {
        redis.run(&format!("DIRTY.DECLARE {entity} STREAM s{max_text}"));
        redis.run(&format!("DIRTY.FLUSH {entity} SEED 1 0"));
    }
    for reader in READERS {
        assert_eq!(redis.run(&format!("DIRTY.READER s {reader} FROM 0")), "OK");
    }
    let mut run = Run {
        redis,
        model: Model::default(),
        ids: BTreeMap::new(),
        max,
        positions: Default::default(),
    };
    for step in history {
        run.step(step);
    }
    run.finish();
}

#[test]
fn every_event_is_got_or_missed_by_every_reader() {
    let (seed, mut runner) = crate::support::dice::runner();
    let server = Server::start();
    let redis = std::cell::RefCell::new(server.connect());
    let histories = (prop::option::of(1..6usize), vec(step(), 1..40));
    let result = runner.run(&histories, |(max, history)| {
        check(&mut redis.borrow_mut(), max, &history);
        Ok(())
    });
    if let Err(TestError::Fail(why, (max, history))) = result {
        let steps: Vec<String> = history.iter().map(|step| format!("{step:?}")).collect();
        panic!(
            "SEED={seed}: {why}, with MAXLEN {max:?}, after\n{}",
            steps.join("\n")
        );
    }
}
