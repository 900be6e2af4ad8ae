//! The stored state of an entity, its source, and the writes that change it.

use crate::entity::event::{Bytes, Version};
use crate::entity::field::Field;
use crate::entity::snapshot::Snapshot;
use crate::error::Error;

/// The source of stored snapshots.
pub trait Snapshots {
    /// Loads the state of an entity. `given` are the fields of the flush, most of which usually equal the stored
    /// ones, so the snapshot can borrow them.
    fn load<'g>(&mut self, id: &[u8], given: &[Field<'g>]) -> Result<EntityState<'g>, Error>;
}

/// The stored state of an entity.
#[derive(Clone, Debug, Default)]
pub enum EntityState<'g> {
    /// The entity does not exist.
    #[default]
    Nothing,
    /// The entity was deleted, and this was its version.
    Tombstone(Version),
    /// The entity exists.
    Entity(Snapshot<'g>),
}

impl<'g> EntityState<'g> {
    /// The snapshot of an entity that exists.
    pub fn entity(&self) -> Option<&Snapshot<'g>> {
        match self {
            EntityState::Entity(snapshot) => Some(snapshot),
            EntityState::Nothing | EntityState::Tombstone(_) => None,
        }
    }

    /// The snapshot of an entity that exists.
    pub fn into_entity(self) -> Option<Snapshot<'g>> {
        match self {
            EntityState::Entity(snapshot) => Some(snapshot),
            EntityState::Nothing | EntityState::Tombstone(_) => None,
        }
    }

    /// The state after a write, for later operations of the same command.
    pub fn after(self, write: Option<&Write>) -> Self {
        match write {
            None => self,
            Some(Write::Delete) => EntityState::Nothing,
            Some(Write::Bury { version, .. }) => EntityState::Tombstone(*version),
            Some(Write::Change {
                set, unset, marker, ..
            }) => {
                let mut next = match self {
                    EntityState::Entity(snapshot) => snapshot,
                    EntityState::Nothing | EntityState::Tombstone(_) => Snapshot::default(),
                };
                next.change(set, unset);
                next.marked = marker.unwrap_or(next.marked);
                if marker.is_some() {
                    next.buried = false;
                    next.buried_version = None;
                }
                EntityState::Entity(next)
            }
        }
    }
}

/// A change of a stored snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// The snapshot is deleted.
    Delete,
    /// The snapshot is deleted, and a tombstone remembers its version.
    Bury {
        /// The version of the tombstone.
        version: Version,
        /// How long the tombstone stays, in ms.
        lifetime_ms: u64,
    },
    /// Fields of the snapshot are set and deleted.
    Change {
        /// Whether the snapshot replaces a tombstone.
        replaces_tombstone: bool,
        /// Whether to take its time to live away, which was a tombstone's.
        persist: bool,
        /// The fields to set, and their values.
        set: Vec<(Bytes<'a>, Bytes<'a>)>,
        /// The fields to delete.
        unset: Vec<Vec<u8>>,
        /// Whether the marker of an entity without fields is set (true) or deleted (false).
        marker: Option<bool>,
    },
}
