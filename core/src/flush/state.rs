//! What is stored of an entity, where it comes from, and what becomes of it.

use crate::entity::event::{Bytes, Version};
use crate::entity::field::Field;
use crate::entity::snapshot::Snapshot;
use crate::error::Error;

/// Where stored snapshots come from.
pub trait Snapshots {
    /// What is stored of an entity. What a flush gives it is most often what is stored already.
    fn load<'g>(&mut self, id: &[u8], given: &[Field<'g>]) -> Result<EntityState<'g>, Error>;
}

/// What is stored of an entity.
#[derive(Clone, Debug, Default)]
pub enum EntityState<'g> {
    /// The entity does not exist.
    #[default]
    Nothing,
    /// It was deleted, and this was its version.
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

    /// After a write, for later operations on the same entity in one command.
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
                EntityState::Entity(next)
            }
        }
    }
}

/// What becomes of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Write<'a> {
    /// The snapshot is deleted.
    Delete,
    /// It is deleted, and its version remembered.
    Bury {
        /// The version of the tombstone.
        version: Version,
        /// How long the tombstone stays, in ms.
        lifetime_ms: u64,
    },
    /// Fields of the snapshot are set and deleted.
    Change {
        /// In place of a tombstone.
        replaces_tombstone: bool,
        /// The fields to set, and their values.
        set: Vec<(Bytes<'a>, Bytes<'a>)>,
        /// The fields to delete.
        unset: Vec<Vec<u8>>,
        /// The marker of an entity without fields comes (true) or goes (false).
        marker: Option<bool>,
    },
}
