//! What a group has not finished: the layout, and every change of it.
//!
//! All changes are total: whatever the state, they leave a sound one. Which changes make sense is decided by
//! the commands; a delta from elsewhere can spoil a group's progress, but not the program.

mod changes;
mod load;
mod standing;

pub use load::Loaded;

use super::consumers::Consumers;
use super::index::Index;
use super::lane::{Chain, Entry, Failure, Lane, List, Standing, flags};
use super::slab::Slab;
use crate::entity::event_id::EventId;
use hashbrown::HashTable;
use std::collections::BTreeMap;

/// A group's unfinished events.
#[derive(Clone, Default)]
pub struct Pending {
    entries: Slab<Entry>,
    index: Index,
    lanes: Slab<Lane>,
    /// Places in `lanes` that are vacant, and perhaps beyond its end.
    holes: Vec<u32>,
    keys: Keys,
    /// Held, Free, Silent and Queued lanes.
    lists: [List; 4],
    /// Delayed lanes: by due time, then by their first entry.
    delayed: BTreeMap<(u64, EventId), u32>,
    /// By key and id: dead events that keep the later ones of their key; their entries in the dead stream.
    parked: BTreeMap<(u64, EventId), EventId>,
    failures: BTreeMap<EventId, Failure>,
    /// By original id: their entries in the dead stream.
    redriven: BTreeMap<EventId, EventId>,
    /// The consumers, whose lists of lanes are linked through the lanes.
    pub consumers: Consumers,
    held: u32,
}

/// The dead event that keeps a parked lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its id in the stream.
    pub id: EventId,
    /// Its entry in the dead stream.
    pub dead: EventId,
}

/// Lanes by the hash of their key: many small tables, so that none grows for long.
#[derive(Clone, Default)]
struct Keys(Vec<HashTable<u32>>);

impl Keys {
    const TABLES: usize = 64;

    fn table(&self, key: u64) -> Option<&HashTable<u32>> {
        // The table's own hash takes the upper bits: the lower ones choose the table.
        let index = usize::try_from(key & 63).unwrap_or(0);
        self.0.get(index)
    }

    fn table_mut(&mut self, key: u64) -> Option<&mut HashTable<u32>> {
        if self.0.is_empty() {
            self.0.resize_with(Self::TABLES, HashTable::new);
        }
        let index = usize::try_from(key & 63).unwrap_or(0);
        self.0.get_mut(index)
    }
}

/// Spreads a key's hash once more: 63 and 64 tables below, its lower bits are all the same.
fn spread(key: u64) -> u64 {
    key.rotate_right(6)
}

impl Pending {
    /// How many entries there are.
    pub fn len(&self) -> u32 {
        self.entries.len()
    }

    /// Whether nothing is pending, queued, parked or redriven.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.parked.is_empty()
    }

    /// How many entries somebody holds.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// The entry with this id.
    pub fn entry(&self, id: EventId) -> Option<&Entry> {
        self.entries.get(self.index.find(&self.entries, id)?)
    }

    /// The highest id of an entry.
    pub fn highest(&self) -> Option<EventId> {
        self.index.last(&self.entries)
    }

    /// The lane at a place.
    pub fn lane(&self, lane: u32) -> Option<&Lane> {
        self.lanes.get(lane)
    }

    /// The lane that an entry is in.
    pub fn lane_of(&self, id: EventId) -> Option<&Lane> {
        self.lanes.get(self.entry(id)?.lane)
    }

    /// The lane of a key, if it has one.
    pub fn lane_by_key(&self, key: u64) -> Option<&Lane> {
        self.lanes.get(self.find_key(key)?)
    }

    fn find_key(&self, key: u64) -> Option<u32> {
        if key == 0 {
            return None;
        }
        let has_key = |lane: &u32| self.lanes.get(*lane).is_some_and(|lane| lane.key == key);
        self.keys.table(key)?.find(spread(key), has_key).copied()
    }

    /// The entry by which a lane stands.
    pub fn first(&self, lane: &Lane) -> Option<&Entry> {
        self.entries.get(lane.first)
    }

    /// The entries of a lane, in order.
    pub fn entries_of(&self, lane: &Lane) -> impl Iterator<Item = &Entry> {
        let first = lane.first;
        let start = self.entries.get(first);
        std::iter::successors(start, move |entry| {
            (entry.next != first).then(|| self.entries.get(entry.next))?
        })
    }

    /// The last entry of a lane.
    pub fn last_of(&self, lane: &Lane) -> Option<&Entry> {
        self.entries.get(self.first(lane)?.prev)
    }

    /// The entry behind this one in its lane.
    pub fn next_in_lane(&self, entry: &Entry) -> Option<EventId> {
        let first = self.lanes.get(entry.lane)?.first;
        let next = Some(entry.next).filter(|next| *next != first)?;
        self.entries.get(next).map(|entry| entry.id)
    }

    /// The list of lanes that stand so.
    pub fn list(&self, standing: Standing) -> List {
        self.lists
            .get(standing as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The lanes that stand so, in order.
    pub fn standing(&self, standing: Standing) -> impl Iterator<Item = &Lane> {
        let lanes = self.list(standing).iter(&self.lanes, Chain::Standing);
        lanes.filter_map(|lane| self.lanes.get(lane))
    }

    /// The first of the lanes that stand so.
    pub fn head(&self, standing: Standing) -> Option<&Lane> {
        self.lanes.get(self.list(standing).head)
    }

    /// The last of the lanes that stand so.
    pub fn tail(&self, standing: Standing) -> Option<&Lane> {
        self.lanes.get(self.list(standing).tail)
    }

    /// Delayed lanes and when they are due, the first first.
    pub fn delayed(&self) -> impl Iterator<Item = (u64, &Lane)> {
        let delayed = self.delayed.iter();
        delayed.filter_map(|((due, _), lane)| Some((*due, self.lanes.get(*lane)?)))
    }

    /// How many lanes are delayed.
    pub fn delayed_len(&self) -> usize {
        self.delayed.len()
    }

    /// The lanes that a consumer holds, in the order of delivery.
    pub fn lanes_of(&self, consumer: u32) -> impl Iterator<Item = &Lane> {
        let list = self.consumers.get(consumer).map(|consumer| consumer.lanes);
        let lanes = list.unwrap_or_default().iter(&self.lanes, Chain::Holder);
        lanes.filter_map(|lane| self.lanes.get(lane))
    }

    /// Dead events that keep their keys, by key and id.
    pub fn parked(&self) -> impl Iterator<Item = (u64, Parked)> + '_ {
        let parked = self.parked.iter();
        parked.map(|((key, id), dead)| {
            (
                *key,
                Parked {
                    id: *id,
                    dead: *dead,
                },
            )
        })
    }

    /// The keys that dead events keep.
    pub fn parked_keys(&self) -> impl Iterator<Item = u64> + '_ {
        let mut last = 0;
        let keys = self.parked.keys().map(|(key, _)| *key);
        keys.filter(move |key| std::mem::replace(&mut last, *key) != *key)
    }

    /// The first dead event that keeps a key: what comes before it goes on.
    pub fn parked_by(&self, key: u64) -> Option<EventId> {
        if self.parked.is_empty() {
            return None;
        }
        let all = (key, EventId::default())..=(key, EventId::MAX);
        self.parked.range(all).next().map(|((_, id), _)| *id)
    }

    /// The entry in the dead stream of an event that keeps its key.
    pub fn parked_dead(&self, key: u64, id: EventId) -> Option<EventId> {
        self.parked.get(&(key, id)).copied()
    }

    /// How many dead events keep their keys.
    pub fn parked_len(&self) -> usize {
        self.parked.len()
    }

    /// What is known of an event's failures.
    pub fn failure(&self, id: EventId) -> Option<&Failure> {
        self.failures.get(&id)
    }

    /// The entry of a redriven event in the dead stream.
    pub fn redriven(&self, id: EventId) -> Option<EventId> {
        self.redriven.get(&id).copied()
    }

    /// How many are redriven.
    pub fn redriven_len(&self) -> usize {
        self.redriven.len()
    }

    /// All entries, by id.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.index
            .places()
            .filter_map(|place| self.entries.get(place))
    }

    /// The entries behind an id, by id.
    pub fn after(&self, id: EventId) -> impl Iterator<Item = &Entry> {
        let places = self.index.after(&self.entries, id);
        places.filter_map(|place| self.entries.get(place))
    }

    /// The lowest entry that the stream must still have: redriven events are in the dead stream.
    pub fn lowest(&self) -> Option<EventId> {
        let mut entries = self.entries();
        entries
            .find(|entry| !entry.is(flags::REDRIVEN))
            .map(|entry| entry.id)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let tables = self
            .keys
            .0
            .iter()
            .map(|table| table.capacity().saturating_mul(6));
        let failures = self.failures.values();
        let failures = failures.map(|f| f.consumer.len().saturating_add(f.message.len()));
        [
            self.entries.bytes(),
            self.index.bytes(),
            self.lanes.bytes(),
            self.holes.capacity().saturating_mul(4),
            self.keys
                .0
                .capacity()
                .saturating_mul(size_of::<HashTable<u32>>()),
            tables.fold(0, usize::saturating_add),
            failures.fold(0, usize::saturating_add),
            self.failures.len().saturating_mul(128),
            self.delayed.len().saturating_mul(48),
            self.parked.len().saturating_mul(64),
            self.redriven.len().saturating_mul(56),
            self.consumers.bytes(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}
