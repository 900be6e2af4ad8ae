//! How entries come and go, and where their lanes stand then.

use super::super::lane::{Chain, Entry, Lane, Standing, UNLINKED, flags};
use super::super::slab::NIL;
use super::{Pending, spread};
use crate::entity::event_id::EventId;

impl Pending {
    /// Adds an entry that nobody holds, at its place in the lane of its key.
    pub fn insert(&mut self, id: EventId, key: u64, given: u8, now_ms: u64) {
        if let Some((_, lane, becomes_first)) = self.add(id, key, given, 0) {
            let held = self.lanes.get(lane).is_some_and(|lane| lane.held > 0);
            if becomes_first && !held {
                self.relist(lane, now_ms);
            }
        }
    }

    /// Adds an entry; its place, its lane's, and whether it is the first there. Then the lane stands nowhere
    /// (unless it is held), and is to be relisted.
    pub(super) fn add(
        &mut self,
        id: EventId,
        key: u64,
        given: u8,
        deliveries: u16,
    ) -> Option<(u32, u32, bool)> {
        let lane = match self.find_key(key) {
            Some(lane) => lane,
            None => self.add_lane(key)?,
        };
        let first = self.lanes.get(lane)?.first;
        let place = self.entries.push(Entry {
            id,
            lane,
            next: self.entries.len(),
            prev: self.entries.len(),
            deliveries,
            flags: given,
        })?;
        self.index.insert(&self.entries, id, place);
        let Some(first_entry) = self.entries.get(first).copied() else {
            self.unlist(lane);
            self.lanes.get_mut(lane)?.first = place;
            return Some((place, lane, true));
        };
        let becomes_first = id < first_entry.id;
        let mut after = first_entry.prev;
        if becomes_first {
            if self.lanes.get(lane)?.held == 0 {
                self.unlist(lane);
            }
            self.lanes.get_mut(lane)?.first = place;
        } else {
            // New events are the last of their key.
            while let Some(entry) = self.entries.get(after).filter(|entry| entry.id > id) {
                after = entry.prev;
            }
        }
        let next = self.entries.get(after)?.next;
        self.entries.get_mut(after)?.next = place;
        self.entries.get_mut(next)?.prev = place;
        let entry = self.entries.get_mut(place)?;
        (entry.prev, entry.next) = (after, next);
        Some((place, lane, becomes_first))
    }

    pub(super) fn add_lane(&mut self, key: u64) -> Option<u32> {
        let lane = Lane {
            key,
            at: 0,
            holder: NIL,
            first: NIL,
            held: 0,
            links: [UNLINKED; 2],
            standing: Standing::Vacant,
        };
        let place = loop {
            let Some(hole) = self.holes.pop() else {
                break self.lanes.push(lane)?;
            };
            // The lanes may have become fewer than that since.
            let place = self.lanes.get_mut(hole);
            if let Some(vacant) = place.filter(|lane| lane.standing == Standing::Vacant) {
                *vacant = lane;
                break hole;
            }
        };
        // Not vacant: it waits to be listed.
        self.lanes.get_mut(place)?.standing = Standing::Parked;
        if key != 0 {
            let lanes = &self.lanes;
            let hash = |lane: &u32| lanes.get(*lane).map_or(0, |lane| spread(lane.key));
            if let Some(table) = self.keys.table_mut(key) {
                table.insert_unique(spread(key), place, hash);
            }
        }
        Some(place)
    }

    /// Takes a lane from where it stands; then it stands nowhere, as if parked.
    pub(super) fn unlist(&mut self, lane: u32) {
        let Some(own) = self.lanes.get_mut(lane) else {
            return;
        };
        let Lane {
            at, first, holder, ..
        } = *own;
        let standing = std::mem::replace(&mut own.standing, Standing::Parked);
        if standing == Standing::Parked {
            return;
        }
        if let Some(list) = self.lists.get_mut(standing as usize) {
            list.remove(&mut self.lanes, lane, Chain::Standing);
        }
        match standing {
            Standing::Held => {
                if let Some(consumer) = self.consumers.get_mut(holder) {
                    consumer.lanes.remove(&mut self.lanes, lane, Chain::Holder);
                }
            }
            Standing::Delayed => {
                if let Some(first) = self.entries.get(first) {
                    self.delayed.remove(&(at, first.id));
                }
            }
            _ => (),
        }
    }

    /// Lets a lane stand somewhere, at the end there.
    pub(super) fn list_at(&mut self, lane: u32, standing: Standing, at: u64) {
        let tail = self.list(standing).tail;
        let at = match self.lanes.get(tail) {
            Some(tail) if standing != Standing::Delayed => at.max(tail.at),
            _ => at,
        };
        let Some(own) = self.lanes.get_mut(lane) else {
            return;
        };
        (own.standing, own.at) = (standing, at);
        let (holder, first) = (own.holder, own.first);
        if let Some(list) = self.lists.get_mut(standing as usize) {
            list.push(&mut self.lanes, lane, Chain::Standing);
        }
        match standing {
            Standing::Held => {
                if let Some(consumer) = self.consumers.get_mut(holder) {
                    consumer.lanes.push(&mut self.lanes, lane, Chain::Holder);
                }
            }
            Standing::Delayed => {
                if let Some(first) = self.entries.get(first) {
                    self.delayed.insert((at, first.id), lane);
                }
            }
            _ => (),
        }
    }

    /// Lets a lane that stands nowhere stand where it belongs, or go if there is nothing in it.
    pub(super) fn relist(&mut self, lane: u32, now_ms: u64) {
        let Some(own) = self.lanes.get(lane) else {
            return;
        };
        if own.held > 0 {
            self.clamp_list(Standing::Held, now_ms);
            return self.list_at(lane, Standing::Held, now_ms);
        }
        let first = self.entries.get(own.first);
        let parked = self.parked_by(own.key);
        if parked.is_some_and(|id| first.is_none_or(|first| first.id > id)) {
            return;
        }
        let Some(first) = first else {
            return self.drop_lane(lane);
        };
        let failure = match first.is(flags::FAILED) {
            true => self.failures.get(&first.id),
            false => None,
        };
        let due = failure.map_or(0, |failure| failure.due_ms);
        let standing = match () {
            () if due > now_ms => return self.list_at(lane, Standing::Delayed, due),
            () if first.is(flags::SILENT) => Standing::Silent,
            () if first.is(flags::GIVEN) => Standing::Free,
            () => Standing::Queued,
        };
        self.clamp_list(standing, now_ms);
        self.list_at(lane, standing, now_ms);
    }

    /// Times in the future count as now.
    pub(super) fn clamp_list(&mut self, standing: Standing, now_ms: u64) {
        let mut lane = self.list(standing).tail;
        while let Some(late) = self.lanes.get_mut(lane).filter(|lane| lane.at > now_ms) {
            late.at = now_ms;
            let [links, _] = late.links;
            lane = links.prev;
        }
    }

    /// Removes a lane that stands nowhere and has no entries.
    pub(super) fn drop_lane(&mut self, lane: u32) {
        let Some(own) = self.lanes.get_mut(lane) else {
            return;
        };
        own.standing = Standing::Vacant;
        let key = own.key;
        if key != 0
            && let Some(table) = self.keys.table_mut(key)
        {
            if let Ok(found) = table.find_entry(spread(key), |other| *other == lane) {
                found.remove();
            }
            // Half as large a table is three quarters full then.
            if table.len() < table.capacity().wrapping_div(8).saturating_mul(3) {
                let lanes = &self.lanes;
                let hash = |lane: &u32| lanes.get(*lane).map_or(0, |lane| spread(lane.key));
                table.shrink_to(table.len(), hash);
            }
        }
        self.holes.push(lane);
        // A last lane that is too long to be moved is looked at seldom.
        if self.holes.len().is_power_of_two() {
            self.fill_holes();
        }
    }

    /// Moves the last lane into a hole, if that costs no more steps than there are holes: so it costs one
    /// step for each lane that went.
    pub(super) fn fill_holes(&mut self) {
        while let Some(last) = self.lanes.len().checked_sub(1) {
            let Some(own) = self.lanes.get(last).copied() else {
                return;
            };
            if own.standing == Standing::Vacant {
                self.lanes.pop();
                if self.lanes.len() == 0 {
                    self.holes = Vec::new();
                }
                continue;
            }
            let most = self.holes.len().saturating_add(1);
            let is_short = self.entries_of(&own).take(most).count() < most;
            if !is_short {
                return;
            }
            let hole = loop {
                match self.holes.pop() {
                    None => return,
                    Some(hole) if hole < last => break hole,
                    Some(_) => (),
                }
            };
            self.move_lane(last, hole, own);
        }
    }

    pub(super) fn move_lane(&mut self, from: u32, to: u32, own: Lane) {
        if let Some(place) = self.lanes.get_mut(to) {
            *place = own;
        }
        if let Some(list) = self.lists.get_mut(own.standing as usize) {
            list.relocate(&mut self.lanes, from, to, Chain::Standing);
        }
        if own.standing == Standing::Held
            && let Some(consumer) = self.consumers.get_mut(own.holder)
        {
            consumer
                .lanes
                .relocate(&mut self.lanes, from, to, Chain::Holder);
        }
        if own.standing == Standing::Delayed
            && let Some(first) = self.entries.get(own.first)
        {
            self.delayed.insert((own.at, first.id), to);
        }
        if own.key != 0
            && let Some(table) = self.keys.table_mut(own.key)
            && let Some(lane) = table.find_mut(spread(own.key), |other| *other == from)
        {
            *lane = to;
        }
        let mut place = own.first;
        while let Some(entry) = self.entries.get_mut(place) {
            entry.lane = to;
            place = entry.next;
            if place == own.first {
                break;
            }
        }
        self.lanes.pop();
    }

    /// Takes an entry out: it is finished, whatever its end.
    pub fn finish(&mut self, id: EventId, now_ms: u64) {
        let Some(place) = self.index.remove(&self.entries, id) else {
            return;
        };
        let Some(entry) = self.entries.get(place).copied() else {
            return;
        };
        self.release(place);
        if entry.is(flags::FAILED) {
            self.failures.remove(&id);
        }
        if entry.is(flags::REDRIVEN) {
            self.redriven.remove(&id);
        }
        let Some(own) = self.lanes.get(entry.lane) else {
            return;
        };
        let (key, was_first) = (own.key, own.first == place);
        let stands_anew = own.held == 0 && (was_first || entry.is(flags::HELD));
        if stands_anew {
            self.unlist(entry.lane);
        }
        // Out of the lane's ring, if it is not alone there.
        if entry.next == place {
            if key == 0 {
                self.drop_lane(entry.lane);
                return self.fill_entry(place);
            }
            if let Some(lane) = self.lanes.get_mut(entry.lane) {
                lane.first = NIL;
            }
        } else {
            if let Some(prev) = self.entries.get_mut(entry.prev) {
                prev.next = entry.next;
            }
            if let Some(next) = self.entries.get_mut(entry.next) {
                next.prev = entry.prev;
            }
            if let Some(lane) = self.lanes.get_mut(entry.lane).filter(|_| was_first) {
                lane.first = entry.next;
            }
        }
        self.fill_entry(place);
        if stands_anew {
            self.relist(entry.lane, now_ms);
        }
    }

    /// Nobody holds the entry any longer. The lane's standing is the caller's business.
    pub(super) fn release(&mut self, place: u32) {
        let Some(entry) = self
            .entries
            .get_mut(place)
            .filter(|entry| entry.is(flags::HELD))
        else {
            return;
        };
        entry.flags &= !(flags::HELD | flags::ALONE);
        let lane = entry.lane;
        self.held = self.held.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.held = lane.held.saturating_sub(1);
            self.consumers.relieve(lane.holder);
        }
    }

    /// Moves the last entry to a place whose own is no longer wanted.
    pub(super) fn fill_entry(&mut self, place: u32) {
        let last = self.entries.len().saturating_sub(1);
        if place != last {
            let Some(moved) = self.entries.get(last).copied() else {
                return;
            };
            self.index.relocate(moved.id, last, place);
            let is_alone = moved.next == last;
            if let Some(entry) = self.entries.get_mut(place) {
                *entry = moved;
                if is_alone {
                    (entry.next, entry.prev) = (place, place);
                }
            }
            if !is_alone {
                if let Some(prev) = self.entries.get_mut(moved.prev) {
                    prev.next = place;
                }
                if let Some(next) = self.entries.get_mut(moved.next) {
                    next.prev = place;
                }
            }
            if let Some(lane) = self.lanes.get_mut(moved.lane)
                && lane.first == last
            {
                lane.first = place;
            }
        }
        self.entries.pop();
    }

    /// For each held entry of the entry's lane, from `from` on: nobody holds it; `change` says how it goes
    /// on. The lane is relisted if nothing of it is held any longer.
    pub(super) fn release_lane(
        &mut self,
        lane: u32,
        from: EventId,
        now_ms: u64,
        change: impl Fn(&mut Entry),
    ) {
        let Some(own) = self.lanes.get(lane).copied() else {
            return;
        };
        if own.held > 0 {
            // It leaves its holder's list while it still stands among the held.
            let mut place = own.first;
            let mut left = own.held;
            while let Some(entry) = self.entries.get(place).copied() {
                if entry.is(flags::HELD) {
                    left = left.saturating_sub(1);
                    if entry.id >= from {
                        self.release(place);
                        if let Some(entry) = self.entries.get_mut(place) {
                            change(entry);
                        }
                    }
                }
                place = entry.next;
                if place == own.first || left == 0 {
                    break;
                }
            }
        }
        if self.lanes.get(lane).is_some_and(|lane| lane.held == 0) {
            self.unlist(lane);
            self.relist(lane, now_ms);
        }
    }

    pub(super) fn stand(&mut self, key: u64, now_ms: u64) {
        if let Some(lane) = self.find_key(key) {
            let stands_nowhere = |lane: &Lane| lane.standing == Standing::Parked;
            if self.lanes.get(lane).is_some_and(stands_nowhere) {
                self.relist(lane, now_ms);
            }
        }
    }
}
