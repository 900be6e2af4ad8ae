//! The checker of turns: which events of each key are not finished, and who was last given them. It knows what was
//! added, given and answered, and nothing of the state.

use super::super::*;
use crate::entity::event_id::EventId;
use std::collections::{BTreeMap, BTreeSet};

pub const CLAIM: u64 = 1000;

/// An event that is neither acknowledged nor dead.
struct Known {
    lane: Option<u8>,
    /// To whom it was given, unless that one has given it back or it was taken.
    holder: Option<u32>,
    /// When it was given, or held on.
    at: u64,
    /// It was dead, and is in the stream's dead stream.
    redriven: bool,
}

/// The events of a key.
#[derive(Default)]
struct Lane {
    unfinished: BTreeSet<EventId>,
    held: BTreeSet<EventId>,
    dead: BTreeSet<EventId>,
}

pub struct Turns {
    order: Order,
    parks: bool,
    known: BTreeMap<EventId, Known>,
    lanes: BTreeMap<u8, Lane>,
    held_by: BTreeMap<u32, BTreeSet<EventId>>,
    dead: BTreeMap<EventId, Option<u8>>,
}

impl Turns {
    pub fn of(settings: &Settings) -> Turns {
        Turns {
            order: settings.order.clone(),
            parks: settings.on_dead == OnDead::Park,
            known: BTreeMap::new(),
            lanes: BTreeMap::new(),
            held_by: BTreeMap::new(),
            dead: BTreeMap::new(),
        }
    }

    /// How many are not finished.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The lowest that is not finished and must be in the stream.
    pub fn lowest(&self) -> Option<EventId> {
        let mut known = self.known.iter();
        known.find(|(_, known)| !known.redriven).map(|(id, _)| *id)
    }

    pub fn dead(&self) -> Vec<EventId> {
        self.dead.keys().copied().collect()
    }

    pub fn lane(&self, id: EventId) -> Option<u8> {
        self.known.get(&id).and_then(|known| known.lane)
    }

    pub fn add(&mut self, id: EventId, key: Option<u8>) {
        let lane = match self.order {
            Order::Stream => Some(0),
            _ => key,
        };
        self.insert(id, lane, false);
    }

    fn insert(&mut self, id: EventId, lane: Option<u8>, redriven: bool) {
        let known = Known {
            lane,
            holder: None,
            at: 0,
            redriven,
        };
        let before = self.known.insert(id, known);
        assert!(before.is_none(), "{id} is there already");
        if let Some(lane) = lane {
            self.lanes.entry(lane).or_default().unfinished.insert(id);
        }
    }

    /// What the group gives in one reply.
    pub fn give(&mut self, consumer: u32, batch: &[EventId], now: u64) {
        let mut last: BTreeMap<u8, EventId> = BTreeMap::new();
        for id in batch {
            let known = self.known.get(id);
            let known = known.unwrap_or_else(|| panic!("{id} is finished, or never was"));
            match known.lane {
                Some(lane) => {
                    let before = last.insert(lane, *id);
                    self.assert_turn(lane, *id, before, now);
                    if before.is_none() {
                        self.take_lane(lane, *id, now);
                    }
                }
                None => {
                    self.assert_silent(*id, *id, now);
                    self.let_go(*id);
                }
            }
            let known = self.known.get_mut(id).expect("it was there");
            (known.holder, known.at) = (Some(consumer), now);
            if let Some(lane) = known.lane {
                self.lanes.entry(lane).or_default().held.insert(*id);
            }
            self.held_by.entry(consumer).or_default().insert(*id);
        }
    }

    /// Every earlier one of its key is finished, or in the batch before it.
    fn assert_turn(&self, lane: u8, id: EventId, before: Option<EventId>, now: u64) {
        let own = &self.lanes[&lane];
        let next = match before {
            None => own.unfinished.first().copied(),
            Some(before) => own.unfinished.range(before..).nth(1).copied(),
        };
        assert_eq!(next, Some(id), "out of turn in the lane {lane} at {now}");
        if self.parks {
            let dead = own.dead.first().filter(|dead| **dead < id);
            assert_eq!(dead, None, "{id} passes a dead one that parks its key");
        }
    }

    /// While somebody holds events of a key, nobody gets more of it.
    fn take_lane(&mut self, lane: u8, id: EventId, now: u64) {
        let held = std::mem::take(&mut self.lanes.entry(lane).or_default().held);
        for other in held {
            self.assert_silent(other, id, now);
            self.let_go(other);
        }
    }

    fn assert_silent(&self, held: EventId, given: EventId, now: u64) {
        let known = &self.known[&held];
        if let Some(holder) = known.holder {
            let since = now - known.at;
            assert!(
                since >= CLAIM,
                "{given} is given while c{holder} holds {held}, for {since} ms"
            );
        }
    }

    fn let_go(&mut self, id: EventId) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        let (lane, holder) = (known.lane, known.holder.take());
        if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(&lane)) {
            lane.held.remove(&id);
        }
        if let Some(held) = holder.and_then(|holder| self.held_by.get_mut(&holder)) {
            held.remove(&id);
        }
    }

    fn finish(&mut self, id: EventId) -> Option<u8> {
        self.let_go(id);
        let lane = self.known.remove(&id).and_then(|known| known.lane);
        if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(&lane)) {
            lane.unfinished.remove(&id);
        }
        lane
    }

    fn holds(&self, consumer: u32, id: EventId) -> bool {
        let known = self.known.get(&id);
        known.is_some_and(|known| known.holder == Some(consumer))
    }

    /// A consumer that was told that it does not hold an event must have been silent.
    fn lose(&mut self, consumer: u32, id: EventId, now: u64) {
        if self.holds(consumer, id) {
            let since = now - self.known[&id].at;
            assert!(since >= CLAIM, "c{consumer} lost {id} after {since} ms");
            self.let_go(id);
        }
    }

    pub fn acknowledge(&mut self, consumer: u32, id: EventId, accepted: bool, now: u64) {
        match accepted {
            true => {
                assert!(self.holds(consumer, id), "c{consumer} does not hold {id}");
                self.finish(id);
            }
            false => self.lose(consumer, id, now),
        }
    }

    pub fn hold(&mut self, consumer: u32, ids: Option<&[EventId]>, lost: &[EventId], now: u64) {
        let held = self.held_by.get(&consumer);
        let all: Vec<EventId> = held.into_iter().flatten().copied().collect();
        let Some(ids) = ids else {
            // What it does not hold any longer is not told; it was silent then.
            for id in all {
                let known = self.known.get_mut(&id).expect("it is held");
                if known.at + CLAIM > now {
                    known.at = now;
                }
            }
            return;
        };
        for id in ids {
            match lost.contains(id) {
                true => self.lose(consumer, *id, now),
                false => {
                    assert!(self.holds(consumer, *id), "c{consumer} does not hold {id}");
                    self.known.get_mut(id).expect("it is held").at = now;
                }
            }
        }
    }

    pub fn fail(&mut self, consumer: u32, ids: &[EventId], ends: &[Failed], now: u64) {
        for (id, end) in ids.iter().zip(ends) {
            match end {
                Failed::NotHeld => self.lose(consumer, *id, now),
                _ => assert!(self.holds(consumer, *id), "c{consumer} does not hold {id}"),
            }
        }
        for (id, end) in ids.iter().zip(ends) {
            if *end == Failed::NotHeld {
                continue;
            }
            // The later ones of its key are given back.
            let lane = self.lane(*id).and_then(|lane| self.lanes.get(&lane));
            let held = lane.map(|lane| lane.held.range(*id..).copied().collect());
            let held: Vec<EventId> = held.unwrap_or_default();
            held.into_iter().for_each(|id| self.let_go(id));
            self.let_go(*id);
            if *end == Failed::Dead {
                self.die(*id);
            }
        }
    }

    /// It died since its holder was silent.
    pub fn die_in_silence(&mut self, id: EventId, now: u64) {
        assert!(self.known.contains_key(&id), "{id} is finished");
        match self.lane(id) {
            Some(lane) => self.take_lane(lane, id, now),
            None => self.assert_silent(id, id, now),
        }
        self.die(id);
    }

    fn die(&mut self, id: EventId) {
        let lane = self.finish(id);
        self.dead.insert(id, lane);
        if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(&lane)) {
            lane.dead.insert(id);
        }
    }

    pub fn redrive(&mut self, ids: &[EventId]) {
        for id in ids {
            let lane = self.forget_dead(*id);
            self.insert(*id, lane, true);
        }
    }

    pub fn discard(&mut self, ids: &[EventId]) {
        for id in ids {
            self.forget_dead(*id);
        }
    }

    fn forget_dead(&mut self, id: EventId) -> Option<u8> {
        let lane = self.dead.remove(&id).expect("a dead one");
        if let Some(lane) = lane.and_then(|lane| self.lanes.get_mut(&lane)) {
            lane.dead.remove(&id);
        }
        lane
    }

    /// A consumer gives back all that it holds. How many that were.
    pub fn release(&mut self, consumer: u32) -> usize {
        let held = self.held_by.remove(&consumer).unwrap_or_default();
        for id in &held {
            self.let_go(*id);
        }
        held.len()
    }

    /// Whoever holds something counts as seen now. What was held too long may have been taken already.
    pub fn restart(&mut self, now: u64) {
        let held = self.known.values_mut();
        let held = held.filter(|known| known.holder.is_some() && known.at + CLAIM > now);
        held.for_each(|known| known.at = now);
    }
}
