//! What DIRTY.READER declares of a reader.

use super::filter::{Filter, Shard};
use super::key_hash::{key_hash, Seed};
use crate::entity::event::Event;

/// Whether a reader is a group or a cursor; both share the names of a stream's readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each event goes to one consumer and is acknowledged on its own.
    Group,
    /// A position that every reader of it shares.
    Cursor,
}

/// The settings of a reader. They are replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// ORDER, of a group.
    pub order: Order,
    /// CLAIM, of a group: what nobody has finished for that many ms comes again.
    pub claim_ms: u64,
    /// MAXPENDING, of a group: a consumer that holds that many gets nothing queued or new.
    pub max_pending: u32,
    /// MAXDELIVERIES, of a group: 2 to 65,535.
    pub max_deliveries: Option<u16>,
    /// ONDEAD, of a group.
    pub on_dead: OnDead,
    /// DEAD: the dead stream, if it is not the default one.
    pub dead: Option<Vec<u8>>,
    /// SHARD, of a cursor.
    pub shard: Option<Shard>,
    /// MINAGE: events younger than that many ms are not read yet.
    pub min_age_ms: u64,
    /// WHERE.
    pub filter: Filter,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            order: Order::None,
            claim_ms: 60_000,
            max_pending: 10_000,
            max_deliveries: None,
            on_dead: OnDead::Skip,
            dead: None,
            shard: None,
            min_age_ms: 0,
            filter: Filter::default(),
        }
    }
}

/// In which order a group's events are handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// None at all.
    None,
    /// The whole stream is one key; its holder keeps the turn.
    Stream,
    /// By entity: its name and id.
    Entity,
    /// By the value of a META pair of this name.
    Meta(Vec<u8>),
}

/// What an event's death means to the later events of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDead {
    /// They go on.
    Skip,
    /// They wait until the dead event is redriven or discarded.
    Park,
}

impl Order {
    /// The hash of the key that an entry has in this order; 0 if it is in no order.
    pub fn key(&self, seed: Seed, event: Option<&Event>) -> u64 {
        match self {
            Order::None => 0,
            Order::Stream => 1,
            Order::Entity => event.map_or(0, |event| key_hash(seed, &[&event.entity, &event.id])),
            Order::Meta(_) => self
                .meta_value(event)
                .map_or(0, |value| key_hash(seed, &[value])),
        }
    }

    /// The value of the META pair by which this order goes.
    pub fn meta_value<'e>(&self, event: Option<&'e Event>) -> Option<&'e [u8]> {
        let Order::Meta(name) = self else {
            return None;
        };
        let mut pairs = event?.meta.iter();
        let (_, value) = pairs.find(|(other, _)| **other == **name)?;
        Some(value)
    }

    /// Whether events have keys, and a look ahead of held ones makes sense.
    pub fn looks_ahead(&self) -> bool {
        matches!(self, Order::Entity | Order::Meta(_))
    }
}

impl Settings {
    /// What does not go together, or is out of range; `None` if all is well.
    pub fn flaw(&self) -> Option<&'static str> {
        let has_order = self.order != Order::None;
        match self {
            _ if self.on_dead == OnDead::Park && !has_order => Some("PARK requires an ORDER"),
            _ if self.max_deliveries.is_some_and(|n| n < 2) => {
                Some("MAXDELIVERIES must be at least 2")
            }
            _ if self.shard.is_some_and(|s| s.index >= s.count) => {
                Some("the index of SHARD must be less than its count")
            }
            _ if self.dead.as_ref().is_some_and(Vec::is_empty) => {
                Some("the key of DEAD must not be empty")
            }
            _ => None,
        }
    }
}
