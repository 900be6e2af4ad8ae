//! What a flush asks for, and what comes of it.

mod plan;
mod publish;
mod stateless;

pub use plan::{check, plan};

use super::event::{Bytes, Pair, Version};
use super::event_id::EventId;
use super::snapshot::Snapshot;
use super::value::InputValue;
use crate::encoding::event::Entry;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::ffi::CStr;

/// All that one flush asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests<'a> {
    /// Under which it waited for its COMMIT.
    pub token: Option<&'a [u8]>,
    /// Pairs that travel in every event.
    pub meta: Vec<Pair<'a>>,
    /// Whether the reply names changed fields and events.
    pub with_events: bool,
    /// Each with the id of the entity it is on, in order.
    pub list: Vec<(&'a [u8], Request<'a>)>,
}

/// One operation of a flush, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    Snapshot(Fields<'a>),
    Insert(Fields<'a>),
    Update(Fields<'a>),
    /// UPDATE of a type that keeps no snapshots.
    Replace {
        old: Fields<'a>,
        new: Fields<'a>,
    },
    /// The fields are there for the version, and for types that keep no snapshots.
    Delete(Option<Fields<'a>>),
    Touch,
    Seed(Fields<'a>),
}

impl<'a> Request<'a> {
    /// What it gives the entity; of a replacement, the old and the new.
    pub fn fields(&self) -> impl Iterator<Item = &Fields<'a>> {
        let (one, other) = match self {
            Request::Snapshot(fields)
            | Request::Insert(fields)
            | Request::Update(fields)
            | Request::Seed(fields)
            | Request::Delete(Some(fields)) => (Some(fields), None),
            Request::Replace { old, new } => (Some(old), Some(new)),
            Request::Delete(None) | Request::Touch => (None, None),
        };
        one.into_iter().chain(other)
    }
}

/// A field and its new value; `None` is null.
pub type Field<'a> = (Bytes<'a>, Option<InputValue<'a>>);
pub type Fields<'a> = Vec<Field<'a>>;

/// What one operation came to: an element of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Insert,
    Update,
    Delete,
    None,
    Stale,
    Touch,
    Seed,
}

impl Effect {
    pub fn name(self) -> &'static CStr {
        match self {
            Effect::Insert => c"insert",
            Effect::Update => c"update",
            Effect::Delete => c"delete",
            Effect::None => c"none",
            Effect::Stale => c"stale",
            Effect::Touch => c"touch",
            Effect::Seed => c"seed",
        }
    }
}

/// The reply to a flush.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It waits for its COMMIT.
    Deferred,
    /// What came of each operation.
    Done(Vec<Outcome>),
}

/// What a client is told of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub effect: Effect,
    /// If it asked WITHEVENTS.
    pub details: Option<Details>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    pub changed: Vec<ByteBuf>,
    /// Streams and the ids that they gave.
    pub events: Vec<(ByteBuf, EventId)>,
}

/// Where stored snapshots come from.
pub trait Snapshots {
    /// What is stored of an entity. What a flush gives it is most often what is stored already.
    fn load<'g>(&mut self, id: &[u8], given: &[Field<'g>]) -> Result<Stored<'g>, Error>;
}

/// What is stored of an entity.
#[derive(Clone, Debug, Default)]
pub enum Stored<'g> {
    #[default]
    Nothing,
    /// It was deleted, and this was its version.
    Tombstone(Version),
    Entity(Snapshot<'g>),
}

impl<'g> Stored<'g> {
    pub fn entity(&self) -> Option<&Snapshot<'g>> {
        match self {
            Stored::Entity(snapshot) => Some(snapshot),
            Stored::Nothing | Stored::Tombstone(_) => None,
        }
    }

    /// After a write, for later operations on the same entity in one command.
    fn after(self, write: Option<&Write>) -> Self {
        match write {
            None => self,
            Some(Write::Delete) => Stored::Nothing,
            Some(Write::Bury { version, .. }) => Stored::Tombstone(*version),
            Some(Write::Change {
                set, unset, marker, ..
            }) => {
                let mut next = match self {
                    Stored::Entity(snapshot) => snapshot,
                    Stored::Nothing | Stored::Tombstone(_) => Snapshot::default(),
                };
                next.change(set, unset);
                next.marked = marker.unwrap_or(next.marked);
                Stored::Entity(next)
            }
        }
    }
}

/// What flushes do, in order.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    pub steps: Vec<Step<'a>>,
    /// Encoded events; streams with the same payload and format share one.
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
pub struct Step<'a> {
    pub id: &'a [u8],
    pub effect: Effect,
    /// The fields that changed, if the reply is to name them and the events.
    pub changed: Option<Vec<ByteBuf>>,
    pub write: Option<Write<'a>>,
    pub publications: Vec<Publication>,
}

/// An event for a stream, both by index: of the declaration's streams, of the plan's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    pub stream: usize,
    pub entry: usize,
}

/// What becomes of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Write<'a> {
    Delete,
    /// It is deleted, and its version remembered.
    Bury {
        version: Version,
        lifetime_ms: u64,
    },
    Change {
        /// In place of a tombstone.
        anew: bool,
        set: Vec<(Bytes<'a>, Bytes<'a>)>,
        unset: Vec<Vec<u8>>,
        /// The marker of an entity without fields comes (true) or goes (false).
        marker: Option<bool>,
    },
}
