//! Rebuilding what was pending, entry by entry.

use super::super::lane::{flags, Failure, List, Standing};
use super::{Parked, Pending};
use crate::entity::event_id::EventId;

impl Pending {
    /// What is known of an event's failures, when a state is rebuilt.
    pub fn set_failure(&mut self, id: EventId, failure: Failure) {
        let place = self.index.find(&self.entries, id);
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            entry.flags |= flags::FAILED;
            self.failures.insert(id, failure);
        }
    }

    /// A dead event keeps its key, when a state is rebuilt: before the entries come.
    pub fn park(&mut self, key: u64, parked: Parked) {
        if key == 0 {
            return;
        }
        self.parked.insert((key, parked.id), parked.dead);
        match self.find_key(key) {
            None => drop(self.add_lane(key)),
            Some(lane) => {
                if self.lanes.get(lane).is_some_and(|lane| lane.held == 0) {
                    self.unlist(lane);
                    self.relist(lane, 0);
                }
            }
        }
    }

    /// Adds an entry as it was, when a state is rebuilt: lanes come in the order in which they stand.
    pub fn load(&mut self, loaded: &Loaded) {
        let Loaded {
            id, key, mut flags, ..
        } = *loaded;
        flags &= flags::ALL & !flags::FAILED & !flags::REDRIVEN;
        if loaded.standing != Standing::Held || flags & flags::HELD == 0 {
            flags &= !flags::HELD & !flags::ALONE;
        }
        let added = self.add(id, key, flags & !flags::HELD, loaded.deliveries);
        let Some((place, lane, becomes_first)) = added else {
            return;
        };
        let is_held = flags & flags::HELD != 0;
        let Some(own) = self.lanes.get_mut(lane) else {
            return;
        };
        let was_held = own.held;
        if was_held == 0 {
            own.holder = loaded.holder;
        }
        if is_held {
            own.held = own.held.saturating_add(1);
            let holder = own.holder;
            self.held = self.held.saturating_add(1);
            if let Some(consumer) = self.consumers.get_mut(holder) {
                consumer.held = consumer.held.saturating_add(1);
            }
            if let Some(entry) = self.entries.get_mut(place) {
                entry.flags |= flags::HELD;
            }
        }
        let is_parked = self.parked_by(key).is_some_and(|parked| id > parked);
        if is_held && was_held == 0 {
            self.unlist(lane);
            self.list_at(lane, Standing::Held, loaded.at);
        } else if becomes_first && !is_held && was_held == 0 && !is_parked {
            // A lane is held by what is held of it, which comes later; else it stands by its first entry.
            let standing = match loaded.standing {
                Standing::Delayed => Standing::Delayed,
                _ if flags & flags::SILENT != 0 => Standing::Silent,
                _ if flags & flags::GIVEN != 0 => Standing::Free,
                _ => Standing::Queued,
            };
            self.list_at(lane, standing, loaded.at);
        }
    }

    /// A loaded entry is redriven.
    pub fn set_redriven(&mut self, id: EventId, dead: EventId) {
        let place = self.index.find(&self.entries, id);
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            entry.flags |= flags::REDRIVEN;
            self.redriven.insert(id, dead);
        }
    }

    /// Drops everything but the consumers.
    pub fn clear(&mut self) {
        let mut consumers = std::mem::take(&mut self.consumers);
        let numbers: Vec<u32> = consumers.iter().map(|(number, _)| number).collect();
        for number in numbers {
            if let Some(consumer) = consumers.get_mut(number) {
                (consumer.lanes, consumer.held) = (List::default(), 0);
            }
        }
        *self = Pending {
            consumers,
            ..Pending::default()
        };
    }
}

/// An entry as it was, when a state is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: EventId,
    /// Its key's hash, or 0.
    pub key: u64,
    /// How often it was delivered.
    pub deliveries: u16,
    /// See [`flags`].
    pub flags: u8,
    /// Where its lane stands.
    pub standing: Standing,
    /// The lane's time.
    pub at: u64,
    /// The lane's holder.
    pub holder: u32,
}
