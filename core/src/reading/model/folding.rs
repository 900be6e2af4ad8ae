//! A cursor that begins with a snapshot, and who folds what it gives: that equals what is stored.

use super::super::*;
use super::fake::Fake;
use crate::entity::event_id::EventId;
use std::collections::{BTreeMap, BTreeSet};

/// The writers, the reader, and what it has folded so far.
pub struct Folding {
    pub stream: Fake,
    pub readers: Readers,
    pub copy: Readers,
    pub now: u64,
    /// The state that each event leaves; `None` for a delete.
    told: BTreeMap<EventId, (u8, Option<u64>)>,
    state: u64,
    pub folded: BTreeMap<u8, u64>,
    /// What the reader has acknowledged so far.
    positions: Vec<Position>,
    named: BTreeSet<u8>,
    pub is_over: bool,
}

impl Folding {
    pub fn begin() -> Self {
        let mut world = Folding {
            stream: Fake::default(),
            readers: Readers::new(),
            copy: Readers::new(),
            now: 1000,
            told: BTreeMap::new(),
            state: 0,
            folded: BTreeMap::new(),
            positions: Vec::new(),
            named: BTreeSet::new(),
            is_over: false,
        };
        for key in [3, 5, 9, 200, 201, 255] {
            world.write(key, false);
        }
        let declare = Declare {
            kind: Kind::Cursor,
            name: b"c",
            from: Some(From::Snapshot(vec![b"x"[..].into(), b"y"[..].into()])),
            settings: Settings::default(),
            revision: None,
            seed: Seed(0, 0),
        };
        let outcome = world
            .readers
            .declare(&declare, world.now, &mut world.stream);
        world.repeat(outcome.unwrap().delta);
        world
    }

    pub fn repeat(&mut self, delta: Option<Vec<u8>>) {
        if let Some(delta) = delta {
            assert!(self.copy.apply(&delta));
        }
        assert_eq!(self.copy.pieces(), self.readers.pieces());
    }

    pub fn write(&mut self, key: u8, is_delete: bool) {
        self.state += 1;
        let state = (!is_delete).then_some(self.state);
        match state {
            Some(state) => drop(self.stream.stored.insert(key, state)),
            None => drop(self.stream.stored.remove(&key)),
        }
        let id = self.stream.add(self.now, key);
        self.told.insert(id, (key, state));
    }

    /// Reads; unless the reader crashes before it is done, it folds what it got and acknowledges that.
    pub fn read(&mut self, count: u32, crashes: bool) {
        let follow = Follow {
            cursor: b"c",
            ack: None,
            count,
            passed: None,
            is_primary: true,
        };
        let outcome = self.readers.follow(&follow, 10, self.now, &mut self.stream);
        let outcome = outcome.unwrap();
        let events = self.stream.take_given();
        let read = std::mem::take(&mut self.stream.read);
        self.repeat(outcome.delta);
        if crashes {
            return;
        }
        let reply = outcome.reply;
        assert_eq!(reply.given as usize, events.len() + read.len());
        assert_eq!(reply.missed, Some(0));
        let begins = reply.phase.is_some_and(|told| told.begins);
        for (id, _) in &events {
            let (key, state) = self.told[id];
            match state {
                Some(state) => drop(self.folded.insert(key, state)),
                None => drop(self.folded.remove(&key)),
            }
            self.named.insert(key);
        }
        if begins {
            // What the events before the first page named is as new as what is read.
            self.named = events.iter().map(|(id, _)| self.told[id].0).collect();
        }
        for (key, state) in read {
            // What was read is never older than what was told.
            assert!(self.folded.get(&key).is_none_or(|known| *known <= state));
            self.folded.insert(key, state);
            self.named.insert(key);
        }
        if reply.phase.is_some_and(|told| told.is_over) {
            self.folded.retain(|key, _| self.named.contains(key));
            self.is_over = true;
        }
        let outcome = self
            .readers
            .ack_cursor(b"c", &reply.position, self.now, &mut self.stream);
        let outcome = outcome.unwrap();
        self.repeat(outcome.delta);
        self.check(reply.position.id);
        self.positions.push(reply.position);
    }

    /// An acknowledgement that comes late: it moves nothing.
    pub fn repeat_ack(&mut self, n: usize) {
        let before = self.readers.pieces();
        let Some(position) = self.positions.get(n % self.positions.len().max(1)).cloned() else {
            return;
        };
        let outcome = self
            .readers
            .ack_cursor(b"c", &position, self.now, &mut self.stream);
        let outcome = outcome.unwrap();
        assert!(!outcome.reply);
        self.repeat(outcome.delta);
        assert_eq!(self.readers.pieces(), before);
    }

    /// At each position the folded state of what was named equals what was stored then.
    pub fn check(&self, position: EventId) {
        let mut stored: BTreeMap<u8, u64> = BTreeMap::new();
        for (_, (key, state)) in self.told.range(..=position) {
            match state {
                Some(state) => drop(stored.insert(*key, *state)),
                None => drop(stored.remove(key)),
            }
        }
        if self.is_over {
            assert_eq!(self.folded, stored);
        }
        for key in &self.named {
            assert_eq!(self.folded.get(key), stored.get(key), "{key}");
        }
    }

    /// One step of a history: a write, a read, a restart, an acknowledgement that comes late.
    pub fn step(&mut self, what: u8, n: u8, count: u32) {
        self.now += u64::from(n % 3);
        let key = n % 8 * 32;
        match what {
            0..=3 => self.write(key, false),
            4 => self.write(key, true),
            5 => self.read(count, true),
            6 if n.is_multiple_of(8) => self.stream.life = self.stream.life.wrapping_add(1),
            7 => {
                let pieces = self.readers.pieces();
                self.readers = Readers::decode(pieces.iter().map(Vec::as_slice)).unwrap();
            }
            8 => self.repeat_ack(n.into()),
            _ => self.read(count, false),
        }
    }

    /// Left alone it comes to the end.
    pub fn drain(&mut self) {
        for _ in 0..200 {
            self.read(3, false);
        }
        assert!(self.is_over);
        assert_eq!(self.folded, self.stream.stored);
    }
}
