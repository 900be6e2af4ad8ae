//! What a flush asks for.

use crate::entity::event::Pair;
use crate::entity::field::Fields;

/// All that one flush asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flush<'a> {
    /// Under which it waited for its COMMIT.
    pub token: Option<&'a [u8]>,
    /// Pairs that travel in every event.
    pub meta: Vec<Pair<'a>>,
    /// Whether the reply names changed fields and events.
    pub with_events: bool,
    /// Each with the id of the entity it is on, in order.
    pub actions: Vec<(&'a [u8], Action<'a>)>,
}

/// One operation of a flush, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// SNAPSHOT: the whole state; insert if it is new, else update.
    Snapshot(Fields<'a>),
    /// INSERT: the whole state of a new entity.
    Insert(Fields<'a>),
    /// UPDATE: only these fields.
    Update(Fields<'a>),
    /// UPDATE of a type that keeps no snapshots.
    Replace {
        /// The values before.
        old: Fields<'a>,
        /// The values after.
        new: Fields<'a>,
    },
    /// The fields are there for the version, and for types that keep no snapshots.
    Delete(Option<Fields<'a>>),
    /// TOUCH: publish an update without changes.
    Touch,
    /// SEED: store the whole state and publish nothing.
    Seed(Fields<'a>),
}

impl<'a> Action<'a> {
    /// What it gives the entity; of a replacement, the old and the new.
    pub fn fields(&self) -> impl Iterator<Item = &Fields<'a>> {
        let (one, other) = match self {
            Action::Snapshot(fields)
            | Action::Insert(fields)
            | Action::Update(fields)
            | Action::Seed(fields)
            | Action::Delete(Some(fields)) => (Some(fields), None),
            Action::Replace { old, new } => (Some(old), Some(new)),
            Action::Delete(None) | Action::Touch => (None, None),
        };
        one.into_iter().chain(other)
    }
}
