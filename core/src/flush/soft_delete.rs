//! SOFTDELETE: an entity whose flag is set is stored, but does not exist for readers.
//!
//! | flag before | flag after | readers are told |
//! | --- | --- | --- |
//! | not set, or no entity | not set | an insert or an update, as without SOFTDELETE |
//! | not set | set, or no entity | a delete |
//! | set | not set | an insert with the whole state |
//! | set, or no entity | set | nothing |
//! | set | no entity | nothing |
//!
//! To FluxaORM v1 a flagged entity is one like any other, except that the event that sets the flag is a delete.

use super::planner::Planner;
use super::publish::Images;
use crate::entity::declaration::Declaration;
use crate::entity::event::{Bytes, Change, Value};
use crate::entity::number::Number;
use crate::entity::operation::Operation;
use crate::entity::snapshot::Snapshot;
use crate::entity::value::FieldType;

/// An entity before and after an operation: whether it is stored, and whether its flag is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag {
    /// Whether the entity was stored before.
    pub existed: bool,
    /// Whether its flag was set before.
    pub before: bool,
    /// Whether its flag is set afterwards.
    pub after: bool,
}

impl Flag {
    /// Whether readers see the entity come or go, although it is stored before and after.
    pub fn turns(self) -> bool {
        self.existed && self.before != self.after
    }

    /// Whether the event that readers get may differ from the one that FluxaORM v1 writes.
    pub fn is_involved(self) -> bool {
        self.before || self.after
    }

    /// What readers are told of an operation that stores the entity; `None` if nothing.
    pub fn told(self) -> Option<Operation> {
        match (self.existed && !self.before, !self.after) {
            (false, true) => Some(Operation::Insert),
            (true, true) => Some(Operation::Update),
            (true, false) => Some(Operation::Delete),
            (false, false) => None,
        }
    }

    /// What FluxaORM v1 tells of it.
    pub fn told_by_library(self) -> Operation {
        match (self.existed, self.turns() && self.after) {
            (false, _) => Operation::Insert,
            (true, true) => Operation::Delete,
            (true, false) => Operation::Update,
        }
    }
}

/// What readers are told of an operation that turns the flag.
pub struct OfReaders<'s> {
    /// The state before and after.
    pub images: Images<'s>,
    /// A change to null for each field that they lose, if it is a delete.
    pub lost: Vec<Change<'s>>,
    /// Whether what they lose is stored, so that no client can make a delete of it large.
    pub is_lost_stored: bool,
    /// Whether the entity is stored and does not grow.
    pub shrinks: bool,
}

impl Planner<'_, '_> {
    /// Whether the flag of a stored entity is set.
    pub fn is_flagged(&self, state: &Snapshot) -> bool {
        is_hidden(self.declaration, state)
    }

    /// The same for the fields that a flush gives of a type without snapshots.
    pub fn is_any_flagged(&self, fields: &[(Bytes, Value)]) -> bool {
        self.declaration.soft_delete.as_ref().is_some_and(|flag| {
            let given = fields.iter().find(|(field, _)| **field == **flag);
            let text = given.and_then(|(_, value)| value.as_ref());
            text.is_some_and(|(_, text)| is_set(self.declaration.declared_type(flag), text))
        })
    }

    /// The flag before and after these changes of an entity whose flag `was_set` looks up.
    pub fn flag(&self, existed: bool, changes: &[Change], was_set: impl Fn() -> bool) -> Flag {
        let Some(field) = &self.declaration.soft_delete else {
            return Flag {
                existed,
                ..Flag::default()
            };
        };
        let declared = self.declaration.declared_type(field);
        let is_set = |value: Option<&[u8]>| value.is_some_and(|text| is_set(declared, text));
        let mut changes = changes.iter();
        let (before, after) = match changes.find(|change| *change.field == **field) {
            Some(change) => {
                let text = |value: &Option<(_, Bytes)>| {
                    is_set(value.as_ref().map(|(_, text)| text.as_ref()))
                };
                (text(&change.old), text(&change.new))
            }
            None => {
                let set = was_set();
                (set, set)
            }
        };
        Flag {
            existed,
            before,
            after,
        }
    }

    /// The changes as FluxaORM v1 writes them: its column holds the entity's id while the flag is set, else 0.
    pub fn changes_of_library<'s>(
        &self,
        id: &'s [u8],
        flag: Flag,
        changes: &[Change<'s>],
    ) -> Vec<Change<'s>> {
        let mut changes = changes.to_vec();
        if flag.turns() {
            let field = self.declaration.soft_delete.as_deref().unwrap_or_default();
            if let Some(change) = changes.iter_mut().find(|change| *change.field == *field) {
                let column: &[u8] = if flag.after { id } else { b"0" };
                change.new = Some((FieldType::Uint, column.into()));
            }
        }
        changes
    }
}

/// Whether an entity that is stored so does not exist for readers, since the flag of SOFTDELETE is set.
pub fn is_hidden(declaration: &Declaration, state: &Snapshot) -> bool {
    declaration.soft_delete.as_ref().is_some_and(|flag| {
        let mut fields = state.iter();
        let stored = fields.find(|(field, _)| *field == flag.as_slice());
        stored.is_some_and(|(field, text)| is_set(declaration.declared_type(field), text))
    })
}

/// Whether a text of the SOFTDELETE field says that the entity is deleted: anything but the empty text, `false` in
/// any case, and zero in any notation. Of a declared json field, null and the empty string do not say so either.
fn is_set(declared: Option<FieldType>, text: &[u8]) -> bool {
    let is_nothing = text.is_empty()
        || text.eq_ignore_ascii_case(b"false")
        || (declared == Some(FieldType::Json) && matches!(text, b"null" | b"\"\""))
        || Number::parse(text).is_some_and(|number| number.is_zero());
    !is_nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_nothing_false_and_zero_is_set() {
        let json = Some(FieldType::Json);
        let fixed = Some(FieldType::Decimal(Some(2)));
        for (declared, text, expected) in [
            (None, "", false),
            (None, "0", false),
            (None, "00", false),
            (None, "-0", false),
            (None, "0.0", false),
            (None, "0e5", false),
            (None, ".0", false),
            (None, "FALSE", false),
            (None, "1", true),
            (None, "0.01", true),
            (None, "1e-400", true),
            (None, " 0", true),
            (None, "null", true),
            (None, "no", true),
            (None, "\"\"", true),
            (None, "0x0", true),
            (Some(FieldType::String), "0.0", false),
            (Some(FieldType::Bool), "1", true),
            (fixed, "0.00", false),
            (fixed, "0.01", true),
            (json, "null", false),
            (json, "\"\"", false),
            (json, "false", false),
            (json, "0", false),
            (json, "{}", true),
            (json, "\"0\"", true),
            (Some(FieldType::Time), "2026-01-02T03:04:05Z", true),
        ] {
            assert_eq!(is_set(declared, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn readers_see_an_entity_as_long_as_its_flag_is_not_set() {
        use Operation::*;
        for (existed, before, after, told, library) in [
            (false, false, false, Some(Insert), Insert),
            (false, false, true, None, Insert),
            (true, false, false, Some(Update), Update),
            (true, false, true, Some(Delete), Delete),
            (true, true, false, Some(Insert), Update),
            (true, true, true, None, Update),
        ] {
            let flag = Flag {
                existed,
                before,
                after,
            };
            assert_eq!(flag.told(), told, "{flag:?}");
            assert_eq!(flag.told_by_library(), library, "{flag:?}");
        }
    }
}
