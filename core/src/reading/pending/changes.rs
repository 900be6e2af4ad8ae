//! What happens to a group's events: deliveries and their ends.

use super::super::lane::{Chain, Entry, Failure, Standing, flags};
use super::super::slab::NIL;
use super::{Parked, Pending};
use crate::entity::event_id::EventId;

impl Pending {
    /// The clock went back: times of held and due lanes that are in the future become now, and so do those of
    /// failures, whose delays begin again.
    pub fn clamp(&mut self, now_ms: u64) {
        for standing in [
            Standing::Held,
            Standing::Free,
            Standing::Silent,
            Standing::Queued,
        ] {
            self.clamp_list(standing, now_ms);
        }
        let late = self.delayed().filter_map(|(_, lane)| self.first(lane));
        let late = late.filter(|first| self.failed_after(first.id, now_ms));
        let late: Vec<EventId> = late.map(|first| first.id).collect();
        for id in late {
            let Some(lane) = self.entry(id).map(|entry| entry.lane) else {
                continue;
            };
            self.unlist(lane);
            if let Some(failure) = self.failures.get_mut(&id) {
                let delay_ms = failure.due_ms.saturating_sub(failure.last_ms);
                failure.due_ms = now_ms.saturating_add(delay_ms);
                failure.last_ms = now_ms;
            }
            self.relist(lane, now_ms);
        }
    }

    /// Whether an event failed later than now.
    pub fn failed_after(&self, id: EventId, now_ms: u64) -> bool {
        self.failure(id)
            .is_some_and(|failure| failure.last_ms > now_ms)
    }

    /// A consumer gets a new entry.
    pub fn deliver(&mut self, id: EventId, key: u64, consumer: u32, now_ms: u64) {
        if key == 0 {
            return self.deliver_alone(id, consumer, now_ms);
        }
        if let Some((place, lane, _)) = self.add(id, key, 0, 0) {
            self.hold_entry(place, lane, consumer, false, now_ms);
        }
    }

    /// The same, of an entry without a key, whose lane has nothing else.
    fn deliver_alone(&mut self, id: EventId, consumer: u32, now_ms: u64) {
        let Some(lane) = self.add_lane(0) else {
            return;
        };
        let place = self.entries.len();
        let entry = Entry {
            id,
            lane,
            next: place,
            prev: place,
            deliveries: 1,
            flags: flags::HELD | flags::GIVEN,
        };
        if self.entries.push(entry).is_none() {
            return self.drop_lane(lane);
        }
        self.index.insert(&self.entries, id, place);
        self.held = self.held.saturating_add(1);
        if let Some(lane) = self.lanes.get_mut(lane) {
            (lane.first, lane.held, lane.holder) = (place, 1, consumer);
        }
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.held = consumer.held.saturating_add(1);
        }
        self.clamp_list(Standing::Held, now_ms);
        self.list_at(lane, Standing::Held, now_ms);
    }

    /// A consumer gets an entry that was there; whether it had been delivered before.
    pub fn give(&mut self, id: EventId, consumer: u32, alone: bool, now_ms: u64) -> bool {
        let Some(place) = self.index.find(&self.entries, id) else {
            return false;
        };
        let Some(entry) = self.entries.get(place).copied() else {
            return false;
        };
        if entry.is(flags::HELD) {
            self.silence(id, now_ms);
        }
        self.hold_entry(place, entry.lane, consumer, alone, now_ms);
        entry.is(flags::GIVEN)
    }

    pub(super) fn hold_entry(
        &mut self,
        place: u32,
        lane: u32,
        consumer: u32,
        alone: bool,
        now_ms: u64,
    ) {
        let own = self.lanes.get(lane).map(|lane| (lane.held, lane.holder));
        if own.is_some_and(|(held, holder)| held > 0 && holder != consumer) {
            self.release_lane(lane, EventId::default(), now_ms, |entry| {
                entry.flags |= flags::SILENT;
            });
        }
        let held = self.lanes.get(lane).map_or(0, |lane| lane.held);
        if held == 0 {
            self.unlist(lane);
        }
        let Some(entry) = self.entries.get_mut(place) else {
            return;
        };
        entry.flags |= flags::HELD | flags::GIVEN;
        entry.flags &= !flags::SILENT;
        if alone {
            entry.flags |= flags::ALONE;
        }
        entry.deliveries = entry.deliveries.saturating_add(1);
        if entry.is(flags::FAILED)
            && let Some(failure) = self.failures.get_mut(&entry.id)
        {
            failure.due_ms = 0;
        }
        self.held = self.held.saturating_add(1);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.held = held.saturating_add(1);
            lane.holder = consumer;
        }
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.held = consumer.held.saturating_add(1);
        }
        if held == 0 {
            self.relist(lane, now_ms);
        }
    }

    /// The holder of the entry's lane went silent: nobody holds the lane, and its events are due.
    pub fn silence(&mut self, id: EventId, now_ms: u64) {
        let lane = self.entry(id).map(|entry| entry.lane);
        let is_held = |lane: &u32| self.lanes.get(*lane).is_some_and(|lane| lane.held > 0);
        if let Some(lane) = lane.filter(is_held) {
            self.release_lane(lane, EventId::default(), now_ms, |entry| {
                entry.flags |= flags::SILENT;
            });
        }
    }

    pub(super) fn release_all(
        &mut self,
        consumer: u32,
        now_ms: u64,
        change: impl Fn(&mut Entry) + Copy,
    ) {
        while let Some(list) = self.consumers.get(consumer).map(|c| c.lanes) {
            if list.head == NIL {
                return;
            }
            self.release_lane(list.head, EventId::default(), now_ms, change);
        }
    }

    /// A consumer went silent with all that it holds.
    pub fn silence_all(&mut self, consumer: u32, now_ms: u64) {
        self.release_all(consumer, now_ms, |entry| entry.flags |= flags::SILENT);
    }

    /// A consumer hands on all that it holds: these deliveries do not count.
    pub fn leave_all(&mut self, consumer: u32, now_ms: u64) {
        self.release_all(consumer, now_ms, |entry| {
            entry.deliveries = entry.deliveries.saturating_sub(1);
        });
    }

    /// The entry's lane is as young as if just delivered, if it is held.
    pub fn renew(&mut self, id: EventId, now_ms: u64) {
        let Some(lane) = self.entry(id).map(|entry| entry.lane) else {
            return;
        };
        if self.lanes.get(lane).is_some_and(|lane| lane.held > 0) {
            self.unlist(lane);
            self.relist(lane, now_ms);
        }
    }

    /// Everything that a consumer holds is as young as if just delivered.
    pub fn renew_all(&mut self, consumer: u32, now_ms: u64) {
        let lanes: Vec<u32> = match self.consumers.get(consumer) {
            Some(consumer) => consumer.lanes.iter(&self.lanes, Chain::Holder).collect(),
            None => return,
        };
        for lane in lanes {
            self.unlist(lane);
            self.relist(lane, now_ms);
        }
    }

    /// An event failed: it is due at a time, and the later events of its key that were held are given back.
    pub fn fail(&mut self, id: EventId, failure: Failure, now_ms: u64) {
        let Some(place) = self.index.find(&self.entries, id) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(place) else {
            return;
        };
        entry.flags |= flags::FAILED | flags::GIVEN;
        entry.flags &= !flags::SILENT;
        let lane = entry.lane;
        self.failures.insert(id, failure);
        self.release(place);
        self.release_lane(lane, id, now_ms, |entry| {
            entry.deliveries = entry.deliveries.saturating_sub(1);
        });
    }

    /// An event died. The later events of its key that were held are given back; with `parked` they wait.
    pub fn die(&mut self, id: EventId, parked: Option<EventId>, now_ms: u64) {
        let Some(entry) = self.entry(id).copied() else {
            return;
        };
        let key = self.lanes.get(entry.lane).map_or(0, |lane| lane.key);
        if let Some(dead) = parked.filter(|_| key != 0) {
            self.parked.insert((key, id), dead);
        }
        if entry.is(flags::HELD)
            && let Some(behind) = id.succeeding()
        {
            self.release_lane(entry.lane, behind, now_ms, |entry| {
                entry.deliveries = entry.deliveries.saturating_sub(1);
            });
        }
        self.finish(id, now_ms);
    }

    /// A delayed event is due now.
    pub fn make_due(&mut self, id: EventId, now_ms: u64) {
        let Some(lane) = self.entry(id).map(|entry| entry.lane) else {
            return;
        };
        if let Some(failure) = self.failures.get_mut(&id) {
            failure.due_ms = 0;
        }
        if self
            .lanes
            .get(lane)
            .is_some_and(|lane| lane.standing == Standing::Delayed)
        {
            self.unlist(lane);
            self.relist(lane, now_ms);
        }
    }

    /// A dead event comes back in front of the later ones of its key, and keeps them no longer.
    pub fn redrive(&mut self, id: EventId, dead: EventId, key: u64, now_ms: u64) {
        self.parked.remove(&(key, id));
        self.redriven.insert(id, dead);
        self.insert(id, key, flags::GIVEN | flags::REDRIVEN, now_ms);
        // If it is not the first of a lane that was parked: that stands again.
        self.stand(key, now_ms);
    }

    /// A dead event keeps its key no longer.
    pub fn unpark(&mut self, key: u64, id: EventId, now_ms: u64) {
        if self.parked.remove(&(key, id)).is_some() {
            self.stand(key, now_ms);
        }
    }

    /// Forgets a consumer. What it holds, which should be nothing, is silent.
    pub fn forget_consumer(&mut self, consumer: u32, now_ms: u64) {
        self.silence_all(consumer, now_ms);
        self.consumers.remove(consumer);
    }

    /// Drops every entry that is not to be kept.
    pub fn retain(&mut self, now_ms: u64, keep: impl Fn(&Entry) -> bool) {
        let dropped = self.entries().filter(|entry| !keep(entry));
        let dropped: Vec<EventId> = dropped.map(|entry| entry.id).collect();
        for id in dropped {
            self.finish(id, now_ms);
        }
    }

    /// Drops, up to an id, what waits and nobody holds: what [`Pending::waits`] of, and the dead events that keep
    /// their keys.
    pub fn drop_waiting(&mut self, to: EventId, now_ms: u64) {
        let up_to = self.entries().take_while(|entry| entry.id <= to);
        let waiting = up_to.filter(|entry| self.waits(entry));
        let waiting: Vec<EventId> = waiting.map(|entry| entry.id).collect();
        for id in waiting {
            self.finish(id, now_ms);
        }
        self.unpark_where(now_ms, |parked| parked.id <= to);
    }

    /// Whether an entry is queued or parked, as DIRTY.PENDING says: nobody holds it, and it was never given or waits
    /// for an earlier event of its key, even if it was given before.
    fn waits(&self, entry: &Entry) -> bool {
        let Some(lane) = self.lanes.get(entry.lane) else {
            return false;
        };
        let is_first = self.first(lane).is_some_and(|first| first.id == entry.id);
        let is_due = is_first && entry.is(flags::GIVEN) && lane.standing != Standing::Parked;
        !entry.is(flags::HELD) && !is_due
    }

    /// Drops parked keys by the dead event that keeps them.
    pub fn unpark_where(&mut self, now_ms: u64, is_dropped: impl Fn(Parked) -> bool) {
        let parked = self.parked().filter(|(_, parked)| is_dropped(*parked));
        let parked: Vec<(u64, EventId)> = parked.map(|(key, parked)| (key, parked.id)).collect();
        for (key, id) in parked {
            self.unpark(key, id, now_ms);
        }
    }
}
