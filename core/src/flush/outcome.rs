//! The outcome of a flush: its reply.

use crate::entity::event_id::EventId;
use crate::entity::operation::Operation;
use std::ffi::CStr;

/// The effect of one operation: an element of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The entity was inserted.
    Insert,
    /// The entity was updated.
    Update,
    /// The entity was deleted.
    Delete,
    /// Nothing changed.
    None,
    /// The operation was ignored, since a newer version is stored.
    Stale,
    /// An update without changes was published.
    Touch,
    /// The state was stored and nothing published.
    Seed,
    /// The operation was not applied: the same version is stored with another content.
    Conflict,
    /// The state was stored or deleted, and readers were not told, since for them there is no such entity.
    Hidden,
    /// A row of a run was left alone: another flush had named its entity since the run began.
    Newer,
}

impl Effect {
    const ALL: [Effect; 10] = [
        Effect::Insert,
        Effect::Update,
        Effect::Delete,
        Effect::None,
        Effect::Stale,
        Effect::Touch,
        Effect::Seed,
        Effect::Conflict,
        Effect::Hidden,
        Effect::Newer,
    ];

    /// The effect that has this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|effect| effect.name().to_bytes() == name)
    }

    /// As replies and stored answers call it.
    pub fn name(self) -> &'static CStr {
        match self {
            Effect::Insert => c"insert",
            Effect::Update => c"update",
            Effect::Delete => c"delete",
            Effect::None => c"none",
            Effect::Stale => c"stale",
            Effect::Touch => c"touch",
            Effect::Seed => c"seed",
            Effect::Conflict => c"conflict",
            Effect::Hidden => c"hidden",
            Effect::Newer => c"newer",
        }
    }
}

impl From<Operation> for Effect {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Insert => Effect::Insert,
            Operation::Update => Effect::Update,
            Operation::Delete => Effect::Delete,
        }
    }
}

/// The reply to a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It waits for its COMMIT.
    Deferred,
    /// It was carried out; one outcome for each operation.
    Done(Vec<Outcome>),
}

/// The outcome of one operation, as the client learns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The effect of the operation.
    pub effect: Effect,
    /// The changed fields and events, if the flush has WITHEVENTS.
    pub details: Option<Details>,
}

/// The changed fields and the events of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The names of the changed fields.
    pub changed: Vec<Vec<u8>>,
    /// The streams that got an event, and the ids of the events; a DRYRUN has no ids.
    pub events: Vec<(Vec<u8>, Option<EventId>)>,
}
