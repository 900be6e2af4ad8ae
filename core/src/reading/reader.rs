//! One reader: a group or a cursor.

use super::consumers::Presence;
use super::glance::Glance;
use super::key_hash::Seed;
use super::pending::Pending;
use super::settings::{Kind, Settings};
use super::snapshot::Phase;
use crate::entity::event_id::EventId;
use std::sync::Arc;

/// A group or a cursor of a stream.
#[derive(Clone)]
pub struct Reader {
    /// Its name, which no other reader of the stream has.
    pub name: Box<[u8]>,
    /// As DIRTY.READER declared them.
    pub settings: Arc<Settings>,
    /// REVISION of the settings.
    pub revision: Option<u64>,
    /// Everything up to here was looked at (a group) or acknowledged (a cursor).
    pub position: EventId,
    /// Events were missed, and nobody knows how many: the reader is still to be told.
    pub missed_unknown: bool,
    /// What happened since it was made.
    pub counters: Counters,
    /// The seed of its key hashes.
    pub seed: Seed,
    /// What only a group or only a cursor has.
    pub role: Role,
}

/// What only a group or only a cursor has.
#[derive(Clone)]
pub enum Role {
    /// A group.
    Group(Box<Group>),
    /// A cursor.
    Cursor {
        /// When it was made or last moved by SEEK, in ms, always greater than before.
        epoch: u64,
        /// FROM SNAPSHOT, while entities are left to be read.
        phase: Option<Box<Phase>>,
    },
}

/// What a group has besides what every reader has.
#[derive(Clone, Default)]
pub struct Group {
    /// What it has not finished, and its consumers.
    pub pending: Pending,
    /// PAUSE ON.
    pub paused: bool,
    /// ORDER STREAM: the consumer that has the turn.
    pub turn: Option<u32>,
    /// When its consumers were last seen. Volatile.
    pub presence: Presence,
    /// What its waiting calls know of the stream. Volatile.
    pub glance: Glance,
    /// The new event that the last call which came so far had no room to queue, and its key. Volatile.
    pub stopped_at: Option<(EventId, u64)>,
}

impl Group {
    /// Whether nothing new is given, since the next event waits for its key and as many as `max_queued` wait already.
    pub fn is_stalled(&self, position: EventId, max_queued: u32) -> bool {
        let pending = &self.pending;
        let waits = |key| pending.parked_by(key).is_some() || pending.lane_by_key(key).is_some();
        let is_next = |(id, key): (EventId, u64)| id > position && waits(key);
        pending.len().saturating_sub(pending.held()) >= max_queued
            && self.stopped_at.is_some_and(is_next)
    }
}

impl Reader {
    /// Whether it is a group or a cursor.
    pub fn kind(&self) -> Kind {
        match self.role {
            Role::Group(_) => Kind::Group,
            Role::Cursor { .. } => Kind::Cursor,
        }
    }

    /// The group, if it is one.
    pub fn group(&self) -> Option<&Group> {
        match &self.role {
            Role::Group(group) => Some(group),
            Role::Cursor { .. } => None,
        }
    }

    /// Whether events that it may give are in its dead stream.
    pub fn reads_dead(&self) -> bool {
        self.group()
            .is_some_and(|group| group.pending.redriven_len() > 0)
    }

    /// The same, to be changed.
    pub fn group_mut(&mut self) -> Option<&mut Group> {
        match &mut self.role {
            Role::Group(group) => Some(group),
            Role::Cursor { .. } => None,
        }
    }

    /// A cursor's epoch; 0 for a group.
    pub fn epoch(&self) -> u64 {
        match self.role {
            Role::Group(_) => 0,
            Role::Cursor { epoch, .. } => epoch,
        }
    }

    /// The snapshot phase of a cursor, if it lasts.
    pub fn phase(&self) -> Option<&Phase> {
        match &self.role {
            Role::Group(_) => None,
            Role::Cursor { phase, .. } => phase.as_deref(),
        }
    }

    /// The lowest id that the stream must still have for this reader.
    pub fn floor(&self) -> EventId {
        let unread = self.position.succeeding().unwrap_or(EventId::MAX);
        let lowest = self.group().and_then(|group| group.pending.lowest());
        lowest.map_or(unread, |lowest| lowest.min(unread))
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        let group = self.group().map_or(0, |group| {
            let volatile = group.presence.bytes();
            group.pending.bytes().saturating_add(volatile)
        });
        let name = self.name.len().saturating_mul(2);
        group.saturating_add(name).saturating_add(512)
    }
}

/// What is counted of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Events given, the first time or again.
    Delivered,
    /// Events given again.
    Redelivered,
    /// Events acknowledged by a consumer.
    Acknowledged,
    /// FAIL of an event.
    Failed,
    /// Events that went to the dead stream.
    Died,
    /// Events that WHERE rejected.
    Rejected,
    /// Events that were told to be missed.
    Missed,
}

impl Counter {
    /// All, by their numbers.
    pub const ALL: [Counter; 7] = [
        Counter::Delivered,
        Counter::Redelivered,
        Counter::Acknowledged,
        Counter::Failed,
        Counter::Died,
        Counter::Rejected,
        Counter::Missed,
    ];

    /// The one with this number.
    pub fn from_number(number: u8) -> Option<Counter> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; 7]);

impl Counters {
    /// A counter's value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// Counts on.
    pub fn add(&mut self, counter: Counter, n: u64) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value = value.saturating_add(n);
        }
    }
}
