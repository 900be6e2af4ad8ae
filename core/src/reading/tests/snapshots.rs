//! Random histories of a cursor that begins with a snapshot: what it folds equals what is stored.

use super::super::*;
use super::fake::Fake;
use crate::entity::event_id::EventId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The writers, the reader, and what it has folded so far.
struct World {
    stream: Fake,
    readers: Readers,
    copy: Readers,
    now: u64,
    /// The state that each event leaves; `None` for a delete.
    told: BTreeMap<EventId, (u8, Option<u64>)>,
    state: u64,
    folded: BTreeMap<u8, u64>,
    /// What the reader has acknowledged so far.
    positions: Vec<Position>,
    named: BTreeSet<u8>,
    is_over: bool,
}

impl World {
    fn new() -> Self {
        let mut world = World {
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

    fn repeat(&mut self, delta: Option<Vec<u8>>) {
        if let Some(delta) = delta {
            assert!(self.copy.apply(&delta));
        }
        assert_eq!(self.copy.pieces(), self.readers.pieces());
    }

    fn write(&mut self, key: u8, is_delete: bool) {
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
    fn read(&mut self, count: u32, crashes: bool) {
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
    fn repeat_ack(&mut self, n: usize) {
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
    fn check(&self, position: EventId) {
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
}

proptest! {
    #[test]
    fn what_a_snapshot_cursor_folds_equals_what_is_stored(
        steps in prop::collection::vec((0..12u8, any::<u8>(), 1..6u32), 1..120),
    ) {
        let mut world = World::new();
        for (what, n, count) in steps {
            world.now += u64::from(n % 3);
            let key = n % 8 * 32;
            match what {
                0..=3 => world.write(key, false),
                4 => world.write(key, true),
                5 => world.read(count, true),
                6 if n % 8 == 0 => world.stream.life += 1,
                7 => {
                    let pieces = world.readers.pieces();
                    world.readers = Readers::decode(pieces.iter().map(Vec::as_slice)).unwrap();
                }
                8 => world.repeat_ack(n.into()),
                _ => world.read(count, false),
            }
        }
        // Left alone it comes to the end.
        for _ in 0..200 {
            world.read(3, false);
        }
        prop_assert!(world.is_over);
        prop_assert_eq!(&world.folded, &world.stream.stored);
    }
}

#[test]
fn a_page_that_cannot_be_read_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.stream.no_snapshots = true;
    let follow = Follow {
        cursor: b"c",
        ack: None,
        count: 5,
        passed: None,
        is_primary: true,
    };
    let refused = world
        .readers
        .follow(&follow, 10, world.now, &mut world.stream);
    assert_eq!(refused.err(), Some(Refusal::NoSnapshots));
    assert_eq!(world.copy.pieces(), world.readers.pieces());
}

#[test]
fn a_position_that_no_reply_can_have_given_moves_nothing() {
    let mut world = World::new();
    for (page, moves) in [(u64::MAX, false), ((1 << 32) + 1, false), (3, true)] {
        let cursor = world.readers.get(b"c").unwrap();
        let scan = Scan {
            page,
            ..Scan::default()
        };
        let position = Position {
            id: cursor.position,
            epoch: cursor.epoch(),
            scan: Some(scan),
        };
        let outcome = world
            .readers
            .ack_cursor(b"c", &position, world.now, &mut world.stream);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.reply, moves, "{page}");
        world.repeat(outcome.delta);
    }
    for _ in 0..8 {
        world.read(3, false);
    }
    assert!(world.is_over);
}

#[test]
fn seek_ends_the_phase_or_begins_it_again() {
    let mut world = World::new();
    let phase = |world: &World| world.readers.get(b"c").unwrap().phase().is_some();
    let snapshot = SeekTo::Snapshot(vec![b"x"[..].into()]);
    for (to, expected) in [
        (SeekTo::Start(Start::End), false),
        (snapshot.clone(), true),
        (snapshot, true),
        (SeekTo::Start(Start::Beginning), false),
    ] {
        let sought = world
            .readers
            .seek(Kind::Cursor, b"c", &to, world.now, &mut world.stream);
        world.repeat(sought.unwrap().delta);
        assert_eq!(phase(&world), expected);
    }
}
