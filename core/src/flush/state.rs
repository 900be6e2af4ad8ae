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

    /// The same for an operation that looks only at the given fields. The others may be counted instead of loaded.
    fn load_given<'g>(&mut self, id: &[u8], given: &[Field<'g>]) -> Result<EntityState<'g>, Error> {
        self.load(id, given)
    }
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

impl Write<'_> {
    /// Whether only fields change, of a snapshot that is there.
    pub fn is_of_fields(&self) -> bool {
        match self {
            Write::Delete | Write::Bury { .. } => false,
            Write::Change {
                replaces_tombstone,
                persist,
                ..
            } => !replaces_tombstone && !persist,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use crate::encoding::declaration;
    use crate::encoding::event::Origin;
    use crate::entity::limits::Limits;
    use crate::entity::snapshot::SnapshotBuilder;
    use crate::entity::value::InputValue;
    use crate::flush::{Action, Flush, plan};
    use proptest::prelude::*;

    /// One stored entity.
    struct Stored {
        snapshot: Snapshot<'static>,
        /// Whether fields that nobody asks for are left out.
        parts: bool,
    }

    impl Stored {
        fn read<'g>(
            &self,
            given: &[Field<'g>],
            is_wanted: impl Fn(&[u8]) -> bool,
        ) -> EntityState<'g> {
            let mut builder = SnapshotBuilder::new(self.snapshot.len(), given);
            for (field, value) in self.snapshot.iter().filter(|(field, _)| is_wanted(field)) {
                builder.push(field, value);
            }
            let mut read = builder.snapshot;
            read.others = self.snapshot.len() - read.len();
            (read.marked, read.buried) = (self.snapshot.marked, self.snapshot.buried);
            read.buried_version = self.snapshot.buried_version;
            EntityState::Entity(read)
        }
    }

    impl Snapshots for Stored {
        fn load<'g>(&mut self, _: &[u8], given: &[Field<'g>]) -> Result<EntityState<'g>, Error> {
            Ok(self.read(given, |_| true))
        }

        fn load_given<'g>(
            &mut self,
            id: &[u8],
            given: &[Field<'g>],
        ) -> Result<EntityState<'g>, Error> {
            let is_given = |field: &[u8]| given.iter().any(|(name, _)| **name == *field);
            match self.parts {
                true => Ok(self.read(given, is_given)),
                false => self.load(id, given),
            }
        }
    }

    const DECLARATIONS: [&str; 6] = [
        "STREAM s",
        "STREAM s PAYLOAD FULL STREAM t PAYLOAD KEYS STREAM u FORMAT FLAT FIELDS 1 a",
        "VERSION a TYPES 1 b int STREAM s STREAM t FORMAT FLUXAORM2",
        "VERSION c STREAM s FORMAT FLUXAORM1",
        "SOFTDELETE b STREAM s PAYLOAD FULL",
        "STREAM s STREAM t PAYLOAD IMAGES STREAM u FORMAT DEBEZIUM",
    ];

    fn text() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "0", "1", "2", "01", "x"]).prop_map(String::from)
    }

    fn field() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "c", "d", "e", "@"]).prop_map(String::from)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]
        #[test]
        fn an_update_looks_at_no_other_fields_than_it_gives(
            stored in prop::collection::btree_map("[a-e]", text(), 0..5),
            buried in prop::option::of(prop::option::of(0..3i128)),
            given in prop::collection::vec((field(), prop::option::of(text())), 0..4),
            settings in any::<[bool; 4]>(),
        ) {
            let [force, with_events, again, whole] = settings;
            let mut snapshot = Snapshot::default();
            for (field, value) in &stored {
                snapshot.push(field.as_bytes(), value.as_bytes());
            }
            snapshot.marked = snapshot.is_empty() || buried.is_some();
            (snapshot.buried, snapshot.buried_version) = (buried.is_some(), buried.flatten());
            let fields: Vec<Field> = given
                .iter()
                .map(|(name, value)| {
                    let value = value.as_ref().map(|value| InputValue::Plain(value.as_bytes()));
                    (name.as_bytes().into(), value)
                })
                .collect();
            for declared in DECLARATIONS {
                let words: Vec<&[u8]> = declared.split(' ').map(str::as_bytes).collect();
                let declared = declaration::decode(b"user", Args::new(&words)).expect("a declaration");
                let planned = |parts| {
                    let first = match whole {
                        true => Action::Snapshot(fields.clone()),
                        false => Action::Update(fields.clone()),
                    };
                    let mut actions = vec![(b"1".as_slice(), first)];
                    if again {
                        actions.push((b"1", Action::Snapshot(fields.clone())));
                    }
                    let flush = Flush { actions, force, with_events, ..Flush::default() };
                    let mut stored = Stored { snapshot: snapshot.clone(), parts };
                    let plan = plan(&declared, Origin::default(), Limits::NONE, vec![flush], &mut stored);
                    format!("{plan:?}")
                };
                prop_assert_eq!(planned(true), planned(false));
            }
        }
    }
}
