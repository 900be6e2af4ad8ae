//! VERSION: whether an operation is newer than the state that is stored.

use super::outcome::Effect;
use super::planner::Planner;
use super::state::EntityState;
use crate::entity::event::Version;
use crate::entity::field::Fields;
use crate::entity::snapshot::Snapshot;
use crate::entity::value::FieldType;
use crate::error::{Error, Quoted};
use std::cmp::Ordering;

impl<'a> Planner<'_, 'a> {
    /// The version that a flush must give if the type has one.
    pub fn version_in(&self, fields: &Fields<'a>) -> Result<Option<Version>, Error> {
        let Some(declared) = &self.declaration.version else {
            return Ok(None);
        };
        let field = declared.field.as_slice();
        let named = fields.iter().find(|(name, _)| **name == *field);
        let Some((_, Some(given))) = named else {
            return Err(Error::NoVersion(Quoted::new(field)));
        };
        let field_type = self
            .declaration
            .declared_type(field)
            .unwrap_or(FieldType::Int);
        Ok(parse_version(&field_type.coerce(field, given.clone())?))
    }

    /// The version of the entity, or of its tombstone. Of a tombstone to which somebody has added fields it is the
    /// greater one of the two.
    pub fn known_version(&self, stored: &EntityState) -> Option<Version> {
        let declared = self.declaration.version.as_ref()?;
        match stored {
            EntityState::Nothing => None,
            EntityState::Tombstone(version) => Some(*version),
            EntityState::Entity(snapshot) => {
                own_version(snapshot, &declared.field).max(snapshot.buried_version)
            }
        }
    }

    /// Whether the entity is a tombstone to which somebody has added fields, and its version still the tombstone's.
    pub fn is_buried(&self, entity: &Snapshot) -> bool {
        let declared = self.declaration.version.as_ref();
        declared
            .is_some_and(|declared| entity.buried_version > own_version(entity, &declared.field))
    }

    /// The effect of an operation that stores fields with this version, if it must not be applied. `is_same` says
    /// that it would change nothing.
    pub fn outdated(
        &self,
        stored: &EntityState,
        given: Option<Version>,
        is_same: bool,
    ) -> Option<Effect> {
        if self.force {
            return None;
        }
        let exists = stored
            .entity()
            .is_some_and(|entity| !self.is_buried(entity));
        match given?.cmp(&self.known_version(stored)?) {
            Ordering::Greater => None,
            Ordering::Equal if exists && is_same => Some(Effect::None),
            Ordering::Equal if exists && self.repairs => None,
            Ordering::Equal if exists => Some(Effect::Conflict),
            Ordering::Equal | Ordering::Less => Some(Effect::Stale),
        }
    }

    /// The effect of a DELETE with this version, if it changes nothing. Of a delete and a snapshot of one version
    /// the delete wins, whichever comes first. A tombstone keeps its version against a lower one, also with FORCE:
    /// there is no entity to delete, and a late snapshot would come back below it.
    pub fn outdated_delete(&self, stored: &EntityState, given: Option<Version>) -> Option<Effect> {
        let exists = stored.entity().is_some();
        match given?.cmp(&self.known_version(stored)?) {
            Ordering::Greater => None,
            Ordering::Equal if exists => None,
            Ordering::Equal => Some(Effect::None),
            Ordering::Less if self.force && exists => None,
            Ordering::Less if self.force => Some(Effect::None),
            Ordering::Less => Some(Effect::Stale),
        }
    }
}

/// The version in the entity's own field.
fn own_version(snapshot: &Snapshot, field: &[u8]) -> Option<Version> {
    let (_, text) = snapshot.iter().find(|(name, _)| *name == field)?;
    parse_version(text)
}

fn parse_version(text: &[u8]) -> Option<Version> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::event::Origin;
    use crate::entity::declaration::{Declaration, VersionField};
    use crate::entity::limits::Limits;

    #[test]
    fn a_version_decides_by_the_state_and_by_force() {
        let declaration = Declaration {
            name: b"user".to_vec(),
            prefix: b"user:".to_vec(),
            revision: None,
            stateless: false,
            version: Some(VersionField {
                field: b"v".to_vec(),
                tombstone_ms: 1,
            }),
            soft_delete: None,
            types: Default::default(),
            streams: Vec::new(),
        };
        let entity = |version: &str| {
            let pair = [(b"v".as_slice(), version.as_bytes())];
            EntityState::Entity(Snapshot::from_iter(pair))
        };
        use Effect::{Conflict, None as Same, Stale};
        // The state; the version; the effects of an operation that changes nothing and one that changes
        // something, of a DELETE, and of the two with FORCE.
        for (state, given, same, other, delete, forced, forced_delete) in [
            (EntityState::Nothing, 5, None, None, None, None, None),
            (entity("5"), 6, None, None, None, None, None),
            (entity("5"), 5, Some(Same), Some(Conflict), None, None, None),
            (
                entity("5"),
                4,
                Some(Stale),
                Some(Stale),
                Some(Stale),
                None,
                None,
            ),
            (entity("x"), 4, None, None, None, None, None),
            (EntityState::Tombstone(5), 6, None, None, None, None, None),
            (
                EntityState::Tombstone(5),
                5,
                Some(Stale),
                Some(Stale),
                Some(Same),
                None,
                Some(Same),
            ),
            (
                EntityState::Tombstone(5),
                4,
                Some(Stale),
                Some(Stale),
                Some(Stale),
                None,
                Some(Same),
            ),
        ] {
            let mut planner = Planner::new(&declaration, Origin::default(), Limits::NONE, 0);
            let of = |planner: &Planner, is_same| planner.outdated(&state, Some(given), is_same);
            assert_eq!(of(&planner, true), same, "{state:?} {given}");
            assert_eq!(of(&planner, false), other, "{state:?} {given}");
            let of_delete = planner.outdated_delete(&state, Some(given));
            assert_eq!(of_delete, delete, "{state:?} {given}");
            planner.force = true;
            assert_eq!(of(&planner, false), forced, "{state:?} {given}");
            let of_delete = planner.outdated_delete(&state, Some(given));
            assert_eq!(of_delete, forced_delete, "{state:?} {given}");
        }
    }
}
