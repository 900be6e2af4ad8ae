//! Operations on types that keep no snapshots: each one gives the old values itself.

use super::action::Action;
use super::diff::Types;
use super::outcome::Effect;
use super::planner::{Planner, Step};
use super::publish::{Audience, Images, Mutation};
use super::soft_delete::OfReaders;
use crate::entity::event::{Bytes, Change, Value};
use crate::entity::field::Fields;
use crate::entity::operation::Operation;
use crate::entity::snapshot::MARKER;
use crate::error::{Error, Quoted};
use crate::unique::repeated;

/// Fields and their values, sorted by name, without nulls.
type SortedFields<'a> = Vec<(Bytes<'a>, Value<'a>)>;

impl<'a> Planner<'_, 'a> {
    pub fn stateless(&mut self, id: &'a [u8], action: Action<'a>) -> Result<Step<'a>, Error> {
        let (operation, old, new) = match action {
            Action::Insert(new) => (Operation::Insert, Fields::new(), new),
            Action::Replace { old, new } => (Operation::Update, old, new),
            Action::Delete(old) => (Operation::Delete, old.unwrap_or_default(), Fields::new()),
            Action::Snapshot(_) => return Err(Error::NeedsSnapshots("SNAPSHOT")),
            Action::Seed(_) => return Err(Error::NeedsSnapshots("SEED")),
            Action::Update(_) | Action::Touch | Action::Newer => return Err(Error::Internal), // not parsed so, not sent here
        };
        let nulls = match self.has_library() {
            true => nulls(&old, &new),
            false => Vec::new(),
        };
        let (old, new) = (self.sorted(old)?, self.sorted(new)?);
        let changes = changes(&old, &new);
        if operation == Operation::Update && changes.is_empty() {
            return Ok(self.nothing(id, Effect::None));
        }
        let was_set = || self.is_any_flagged(&old);
        let flag = self.flag(operation != Operation::Insert, &changes, was_set);
        if flag.is_involved() && operation != Operation::Delete {
            let lost = match flag.told() {
                Some(Operation::Delete) => self::changes(&old, &SortedFields::new()),
                _ => Vec::new(),
            };
            let images = Images {
                before: old,
                after: new,
            };
            let of_readers = OfReaders {
                images,
                lost,
                is_lost_stored: false,
                shrinks: false,
            };
            let (effect, publications) =
                self.tell_of_flagged(id, flag, None, of_readers, &changes, &nulls)?;
            return Ok(self.done(id, effect, &changes, None, publications));
        }
        let mutation = Mutation {
            changes: &changes,
            nulls: &nulls,
            images: Images {
                before: old,
                after: new,
            },
            ..Mutation::new(operation)
        };
        let hidden = operation == Operation::Delete && flag.before;
        let audience = Audience {
            readers: Some(&mutation).filter(|_| !hidden),
            library: Some(&mutation),
        };
        let publications = self.publish(id, audience)?;
        let effect = match hidden {
            true => Effect::Hidden,
            false => operation.into(),
        };
        Ok(self.done(id, effect, &changes, None, publications))
    }

    fn sorted(&self, fields: Fields<'a>) -> Result<SortedFields<'a>, Error> {
        let types = Types::new(self.declaration, &fields);
        let again = repeated(fields.iter().map(|(field, _)| &**field));
        let again = again.map(|(index, _)| index);
        let mut sorted = SortedFields::with_capacity(fields.len());
        for (index, (field, value)) in fields.into_iter().enumerate() {
            if *field == *MARKER {
                return Err(Error::ReservedField);
            }
            if again == Some(index) {
                return Err(Error::DuplicateField(Quoted::new(&field)));
            }
            if let Some(given) = value {
                let value = types.coerce(&field, given)?;
                sorted.push((field, Some(value)));
            }
        }
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(sorted)
    }
}

/// The fields that are named as null; of an update they may have been another value.
fn nulls<'a>(old: &Fields<'a>, new: &Fields<'a>) -> Vec<Bytes<'a>> {
    let fields = old.iter().chain(new);
    let nulls = fields.filter(|(_, value)| value.is_none());
    nulls.map(|(field, _)| field.clone()).collect()
}

/// The differences, sorted by name. Equal texts of two types are the same value: `5` equals `"5"`, as it does
/// with stored snapshots.
fn changes<'a>(old: &SortedFields<'a>, new: &SortedFields<'a>) -> Vec<Change<'a>> {
    let mut sides = [old, new].map(|fields| fields.iter().peekable());
    let mut changes = Vec::with_capacity(old.len().max(new.len()));
    loop {
        // Both are sorted, so the smaller of the two first names comes next.
        let next = sides.iter_mut().filter_map(|side| side.peek().copied());
        let Some(field) = next.map(|(field, _)| field).min() else {
            return changes;
        };
        let [old, new] = sides.each_mut().map(|side| {
            let (_, value) = side.next_if(|(name, _)| name == field)?;
            value.as_ref()
        });
        if old.map(|(_, text)| text) != new.map(|(_, text)| text) {
            changes.push(Change {
                field: field.clone(),
                old: old.cloned(),
                new: new.cloned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::value::FieldType;
    use proptest::collection::btree_map;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::collections::{BTreeMap, BTreeSet};

    type Model = BTreeMap<&'static [u8], Value<'static>>;

    fn model() -> impl Strategy<Value = Model> {
        let one_of = |letters: &'static [u8]| select(letters.chunks(1).collect::<Vec<_>>());
        let types = select(&[FieldType::String, FieldType::Int][..]);
        let value = (types, one_of(b"12"));
        let value = value.prop_map(|(field_type, text)| Some((field_type, text.into())));
        btree_map(one_of(b"abcdefgh"), value, 0..8)
    }

    proptest! {
        #[test]
        fn differences_in_text_are_listed_by_name(old in model(), new in model()) {
            let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            let value = |model: &Model, name| model.get(name).cloned().flatten();
            let text = |value: &Value| value.as_ref().map(|(_, text)| text.to_vec());
            let all = names.into_iter().map(|name| Change {
                field: (*name).into(),
                old: value(&old, name),
                new: value(&new, name),
            });
            let expected: Vec<_> = all.filter(|c| text(&c.old) != text(&c.new)).collect();
            let [old, new] = [old, new].map(|model| {
                let pairs = model.into_iter();
                pairs.map(|(name, value)| (name.into(), value)).collect()
            });
            prop_assert_eq!(changes(&old, &new), expected);
        }
    }
}
