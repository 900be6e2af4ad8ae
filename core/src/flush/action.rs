//! The operations that a flush requests.

use crate::entity::event::Pair;
use crate::entity::field::{Field, Fields};

/// One flush: its operations, and the options that apply to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flush<'a> {
    /// The token under which it waited for its COMMIT.
    pub token: Option<&'a [u8]>,
    /// META: pairs that every event carries.
    pub meta: Vec<Pair<'a>>,
    /// WITHEVENTS: whether the reply names changed fields and events.
    pub with_events: bool,
    /// RUN: whether it repairs what is stored with the same version.
    pub repairs: bool,
    /// FORCE: whether it applies whatever the versions say.
    pub force: bool,
    /// The operations in order, each with the id of its entity.
    pub actions: Vec<(&'a [u8], Action<'a>)>,
}

/// One operation of a flush, as the client requests it.
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
    /// DELETE; fields give the version, or the last values of a type that keeps no snapshots.
    Delete(Option<Fields<'a>>),
    /// TOUCH: publish an update without changes.
    Touch,
    /// SEED: store the whole state and publish nothing.
    Seed(Fields<'a>),
    /// A row of a run whose entity another flush has named since the run began.
    Newer,
}

impl<'a> Action<'a> {
    /// The word of DIRTY.FLUSH for it.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Snapshot(_) => "SNAPSHOT",
            Action::Insert(_) => "INSERT",
            Action::Update(_) | Action::Replace { .. } => "UPDATE",
            Action::Delete(_) => "DELETE",
            Action::Touch => "TOUCH",
            Action::Seed(_) => "SEED",
            Action::Newer => "SNAPSHOT",
        }
    }

    /// The fields that it gives the entity; a replacement has two lists, old and new.
    pub fn fields(&self) -> [&[Field<'a>]; 2] {
        match self {
            Action::Snapshot(fields)
            | Action::Insert(fields)
            | Action::Update(fields)
            | Action::Seed(fields)
            | Action::Delete(Some(fields)) => [fields, &[]],
            Action::Replace { old, new } => [old, new],
            Action::Delete(None) | Action::Touch | Action::Newer => [&[], &[]],
        }
    }
}
