//! Random flushes, trims, deletions and reads, against a model that knows of every event which reader got
//! it, can still get it, or was told that it missed it.
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
    /// Keeps so many.
    Trim {
        left: usize,
    },
    /// Deletes those at these places.
    Delete {
        places: Vec<usize>,
    },
    Read(Reading),
    Reload,
}

#[derive(Clone, Debug)]
struct Reading {
    reader: usize,
    consumer: u8,
    count: usize,
    /// With a filter: only entity `even`.
    even: bool,
    /// Groups: so many of the consumer's pending ones; cursors: all before.
    ack: usize,
    /// Groups: its own pending ones, too.
    pending: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let reading = (
        0..READERS.len(),
        0..2u8,
        1..6usize,
        any::<bool>(),
        0..3usize,
        any::<bool>(),
    );
    let reading = reading.prop_map(|(reader, consumer, count, even, ack, pending)| {
        Step::Read(Reading {
            reader,
            consumer,
            count: if count == 5 { 100 } else { count },
            even,
            ack,
            pending,
        })
    });
    prop_oneof![
        4 => (0..4usize, 0..3usize).prop_map(|(even, odd)| Step::Flush { even, odd }),
        1 => (0..8usize).prop_map(|left| Step::Trim { left }),
        2 => vec(0..12usize, 1..4).prop_map(|places| Step::Delete { places }),
        8 => reading,
        1 => Just(Step::Reload),
    ]
}

fn history() -> impl Strategy<Value = (Option<usize>, Vec<Step>)> {
    (prop::option::of(1..6usize), vec(step(), 1..40))
}

/// Seqs of events say which they are.
#[derive(Default)]
struct Model {
    last: u64,
    /// Seq and whether it is of `even`.
    alive: BTreeMap<u64, bool>,
    readers: BTreeMap<usize, Position>,
}

#[derive(Clone, Default)]
struct Position {
    /// The first event that it could have got.
    first: u64,
    /// Up to here all is read or missed.
    seq: u64,
    /// What a cursor would acknowledge.
    offered: u64,
    /// Of a group: by seq its consumer and how often it was delivered.
    pending: BTreeMap<u64, (u8, u64)>,
    /// Every new event, in order of delivery; those that the filter rejected; how many were missed.
    got: Vec<u64>,
    rejected: Vec<u64>,
    missed: u64,
}

impl Model {
    fn trim(&mut self, left: usize) {
        while self.alive.len() > left {
            self.alive.pop_first();
        }
    }

    fn lost_between(&self, after: u64, before: u64) -> u64 {
        let between = before.saturating_sub(after).saturating_sub(1);
        let alive = self.alive.range(after + 1..before.max(after + 1)).count();
        between - alive as u64
    }

    /// The consumer's own pending events and their deliveries, and how many of them are gone.
    fn read_pending(&self, at: &mut Position, reading: &Reading) -> (Vec<(u64, u64)>, u64) {
        let (mut events, mut missed) = (Vec::new(), 0);
        let own = at.pending.iter();
        let own = own.filter(|(_, held)| held.0 == reading.consumer);
        let own: Vec<u64> = own.map(|(seq, _)| *seq).collect();
        for seq in own {
            if events.len() == reading.count {
                break;
            }
            match self.alive.get(&seq) {
                None => {
                    at.pending.remove(&seq);
                    missed += 1;
                }
                Some(even) if reading.even && !even => {
                    at.pending.remove(&seq);
                }
                Some(_) => {
                    let held = at.pending.get_mut(&seq).unwrap();
                    held.1 += 1;
                    events.push((seq, held.1));
                }
            }
        }
        (events, missed)
    }

    /// Events and their deliveries, and how many are told missed.
    fn read(&mut self, reading: &Reading) -> (Vec<(u64, u64)>, u64) {
        let is_group = reading.reader < 2;
        let beginning = self
            .alive
            .keys()
            .next()
            .map_or(self.last, |first| first - 1);
        let mut at = self.readers.remove(&reading.reader).unwrap_or(Position {
            first: beginning + 1,
            seq: beginning,
            offered: beginning,
            ..Position::default()
        });
        let (mut events, mut missed, mut left) = (Vec::new(), 0, reading.count);
        let takes = |seq: &u64| !reading.even || self.alive[seq];
        if is_group && reading.pending {
            (events, missed) = self.read_pending(&mut at, reading);
            left -= events.len();
        }
        let mut position = at.seq;
        let mut new = Vec::new();
        if left > 0 {
            for seq in self.alive.range(position + 1..).map(|(seq, _)| *seq) {
                new.push(seq);
                missed += self.lost_between(position, seq);
                at.missed += if is_group {
                    self.lost_between(position, seq)
                } else {
                    0
                };
                position = seq;
                if takes(&seq) {
                    events.push((seq, 1));
                    left -= 1;
                    if is_group {
                        at.pending.insert(seq, (reading.consumer, 1));
                    }
                }
                if left == 0 {
                    break;
                }
            }
            if left > 0 {
                let lost = self.last - position;
                missed += lost;
                at.missed += if is_group { lost } else { 0 };
                position = self.last;
            }
        }
        at.offered = position;
        if is_group {
            at.seq = position;
            let (got, rejected): (Vec<u64>, Vec<u64>) = new.into_iter().partition(takes);
            at.got.extend(got);
            at.rejected.extend(rejected);
        }
        self.readers.insert(reading.reader, at);
        (events, missed)
    }
}

struct Run<'r> {
    redis: &'r mut Conn,
    model: Model,
    /// By seq.
    ids: BTreeMap<u64, String>,
    max: Option<usize>,
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
                    // From the end.
                    if let Some(seq) = self.model.alive.keys().rev().nth(*place).copied() {
                        let deleted = self.redis.run(&format!("XDEL s {}", self.ids[&seq]));
                        assert_eq!(deleted, "(1)");
                        self.model.alive.remove(&seq);
                    }
                }
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
            let ops = " TOUCH 1".repeat(number);
            let reply = self
                .redis
                .ok(&format!("DIRTY.FLUSH {entity} WITHEVENTS{ops}")
                    .split(' ')
                    .collect::<Vec<_>>());
            for id in text(&reply)
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
        let reader = READERS[reading.reader];
        let is_group = reading.reader < 2;
        if let Some(at) = self.model.readers.get_mut(&reading.reader) {
            if is_group {
                let own = at
                    .pending
                    .iter()
                    .filter(|(_, held)| held.0 == reading.consumer);
                let own: Vec<u64> = own.map(|(seq, _)| *seq).take(reading.ack).collect();
                options += &format!(" ACK {}", own.len());
                for seq in own {
                    options += &format!(" {}", self.ids[&seq]);
                    at.pending.remove(&seq);
                }
            } else if reading.ack > 0 && at.offered > at.seq {
                options += &format!(" ACK {}", self.ids[&at.offered]);
                at.seq = at.offered;
            }
        }
        if is_group && reading.pending {
            options += " PENDING";
        }
        if reading.even {
            options += " WHERE ENTITY even";
        }
        let consumer = if is_group {
            format!("c{}", reading.consumer)
        } else {
            String::new()
        };
        let command = format!("s {reader} {consumer} {options}");
        let read = consume(self.redis, &command);
        let (events, missed) = self.model.read(reading);
        assert_eq!(delivered(&read), events, "{command}");
        assert_eq!(read.missed, format!("({missed})"), "{command}");
        if !is_group {
            let seq = read.position.rsplit('-').next().map(str::to_string);
            let offered = self.model.readers[&reading.reader].offered;
            assert_eq!(seq, Some(offered.to_string()), "{command}");
        }
    }

    /// DIRTY.STATS says what can still be got, and what will be told.
    fn check_stats(&mut self) {
        let stats = text(&self.redis.value(&["DIRTY.STATS", "s"]));
        for (reader, at) in &self.model.readers {
            let name = READERS[*reader].split(' ').nth(1).unwrap();
            let lag = self.model.alive.range(at.seq + 1..).count() as u64;
            let missed = self.model.last - at.seq - lag;
            let pending = at.pending.len();
            let group = stats
                .split("[name ")
                .find(|group| group.starts_with(&format!("{name} ")));
            let group = group.unwrap_or_else(|| panic!("{name} in {stats}"));
            for expected in [
                format!(" lag ({lag}) pending ({pending}) "),
                format!(" missed ({missed}) "),
            ] {
                assert!(group.contains(&expected), "{expected}: {group}");
            }
        }
    }

    /// Every event was got once or missed, by every group, in order.
    fn finish(mut self) {
        for (reader, name) in READERS.iter().enumerate().take(2) {
            let reading = Reading {
                reader,
                consumer: 0,
                count: 1000,
                even: false,
                ack: 0,
                pending: false,
            };
            self.read(&reading);
            self.read(&reading);
            let at = &self.model.readers[&reader];
            assert!(at.got.is_sorted_by(|a, b| a < b));
            let told = at.got.len() as u64 + at.rejected.len() as u64 + at.missed;
            assert_eq!(told, self.model.last + 1 - at.first, "{name}");
        }
    }
}

/// Seqs and deliveries, as the reply gives them.
fn delivered(read: &Read) -> Vec<(u64, u64)> {
    let events = read.ids.iter().zip(&read.events);
    events
        .map(|(id, event)| {
            let seq = id.split('-').nth(1).unwrap().parse().unwrap();
            let times = event
                .split_once('x')
                .map_or(1, |(_, times)| times.parse().unwrap());
            (seq, times)
        })
        .collect()
}

fn check(redis: &mut Conn, max: Option<usize>, history: &[Step]) {
    redis.run("FLUSHALL");
    let max_text = max.map_or(String::new(), |max| format!(" MAXLEN = {max}"));
    for entity in ["even", "odd"] {
        redis.run(&format!("DIRTY.DECLARE {entity} STREAM s{max_text}"));
        redis.run(&format!("DIRTY.FLUSH {entity} SEED 1 0"));
    }
    let mut run = Run {
        redis,
        model: Model::default(),
        ids: BTreeMap::new(),
        max,
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
    let result = runner.run(&history(), |(max, history)| {
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
