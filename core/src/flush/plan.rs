//! The planner derives writes and events from the declaration, the stored snapshots and the requested
//! operations. It writes nothing, so a plan that fails has changed nothing.

use super::action::{Action, Flush};
use super::diff::{Diff, Scope, Types};
use super::outcome::Effect;
use super::planner::{Plan, Planner, Step};
use super::publish::{Images, Mutation};
use super::state::{EntityState, Snapshots, Write};
use crate::encoding::event::Origin;
use crate::entity::decimal;
use crate::entity::declaration::Declaration;
use crate::entity::event::{Change, Value, Version};
use crate::entity::field::Fields;
use crate::entity::limits::Limits;
use crate::entity::number::Number;
use crate::entity::operation::Operation;
use crate::entity::snapshot::Snapshot;
use crate::entity::value::FieldType;
use crate::error::{Error, Quoted};
use crate::keyword::Keyword;
use std::collections::{HashMap, HashSet};

/// Plans the operations of these flushes in order. Each operation sees the effects of the earlier ones.
pub fn plan<'a>(
    declaration: &Declaration,
    origin: Origin,
    limits: Limits,
    flushes: Vec<Flush<'a>>,
    stored: &mut impl Snapshots,
) -> Result<Plan<'a>, Error> {
    let mut planner = Planner::new(declaration, origin, limits);
    // New states are remembered only for entities with several operations.
    let again = repeated(&flushes);
    let mut states: HashMap<&[u8], EntityState<'a>> = HashMap::new();
    for flush in flushes {
        planner.meta = flush.meta;
        planner.with_events = flush.with_events;
        planner
            .plan
            .flushes
            .push(Vec::with_capacity(flush.actions.len()));
        for (id, action) in flush.actions {
            let of_token = |error: Error| error.of_token(flush.token);
            let known = match again.contains(id) {
                true => states.remove(id),
                false => None,
            };
            let state = match known {
                Some(state) => state,
                None if declaration.stateless => EntityState::Nothing,
                None => {
                    let given = action.fields().next().map_or(&[][..], Vec::as_slice);
                    let state = stored.load(id, given).map_err(of_token)?;
                    let fields = state.entity().map_or(0, Snapshot::len);
                    planner.spend(fields).map_err(of_token)?;
                    state
                }
            };
            let step = planner.step(id, action, &state).map_err(of_token)?;
            if again.contains(id) {
                states.insert(id, state.after(step.write.as_ref()));
            }
            if let Some(steps) = planner.plan.flushes.last_mut() {
                steps.push(step);
            }
        }
    }
    Ok(planner.plan)
}

/// Refuses a flush that could not succeed whatever the state of its entities, before it waits for its COMMIT.
pub fn check(
    declaration: &Declaration,
    origin: Origin,
    limits: Limits,
    flush: Flush,
) -> Result<(), Error> {
    let mut planner = Planner::new(declaration, origin, limits);
    for (id, action) in flush.actions {
        match planner.step(id, action, &EntityState::Nothing) {
            Ok(_) | Err(Error::NoEntity(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The ids that occur more than once.
fn repeated<'a>(flushes: &[Flush<'a>]) -> HashSet<&'a [u8]> {
    let ids = || flushes.iter().flat_map(|flush| &flush.actions);
    let count = ids().count();
    if count < 2 {
        return HashSet::new();
    }
    let mut seen = HashSet::with_capacity(count);
    ids()
        .map(|(id, _)| *id)
        .filter(|id| !seen.insert(*id))
        .collect()
}

/// Looking up fields in a stored entity of n fields costs n / 8 of the field budget.
const LOOKUP_COST_DIVISOR: usize = 8;

/// Writing a field costs this much of the field budget. Redis takes 0.3 µs for it, and up to 6 µs in a hash of
/// some 500 short fields, which is a listpack and searched linearly.
const WRITE_COST: usize = 10;

/// The operations that store fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Storing {
    Snapshot,
    Insert,
    Update,
    Seed,
}

impl<'d, 'a> Planner<'d, 'a> {
    fn step(
        &mut self,
        id: &'a [u8],
        action: Action<'a>,
        stored: &EntityState<'a>,
    ) -> Result<Step<'a>, Error> {
        self.check_id(id)?;
        let given = action.fields().map(Vec::len);
        let given = given.fold(0, usize::saturating_add);
        let known = stored.entity().map_or(0, Snapshot::len);
        self.spend(given.saturating_add(known / LOOKUP_COST_DIVISOR))?;
        let mut step = self.decide(id, action, stored)?;
        if step.write.is_none() {
            step.write = stored.entity().and_then(exhume);
        }
        Ok(step)
    }

    fn decide(
        &mut self,
        id: &'a [u8],
        action: Action<'a>,
        stored: &EntityState<'a>,
    ) -> Result<Step<'a>, Error> {
        match action {
            Action::Touch => self.touch(id, stored),
            action if self.declaration.stateless => self.stateless(id, action),
            Action::Delete(fields) => self.delete(id, fields, stored),
            Action::Snapshot(fields) => self.store(id, Storing::Snapshot, fields, stored),
            Action::Insert(fields) => self.store(id, Storing::Insert, fields, stored),
            Action::Update(fields) => self.store(id, Storing::Update, fields, stored),
            Action::Seed(fields) => self.store(id, Storing::Seed, fields, stored),
            Action::Replace { .. } => Err(Error::Internal), // parsed for stateless types only
        }
    }

    fn check_id(&self, id: &[u8]) -> Result<(), Error> {
        match self.numeric {
            Some(stream) if decimal::parse(id).is_none() => Err(Error::IdNotNumeric {
                id: Quoted::new(id),
                format: stream.format.name(),
                stream: Quoted::new(&stream.key),
            }),
            _ => Ok(()),
        }
    }

    fn touch(&mut self, id: &'a [u8], stored: &EntityState) -> Result<Step<'a>, Error> {
        let state = stored.entity();
        if state.is_none() && !self.declaration.stateless {
            return Err(Error::NoEntity(Quoted::new(id)));
        }
        let types = Types::declared(self.declaration);
        let images = match self.wants_images(Operation::Update, true) {
            true => self.images(&types, state, &[])?,
            false => Images::default(),
        };
        let mutation = Mutation {
            touch: true,
            images,
            version: self.known_version(stored),
            ..Mutation::new(Operation::Update)
        };
        let publications = self.publish(id, &mutation)?;
        Ok(self.done(id, Effect::Touch, &[], None, publications))
    }

    fn store(
        &mut self,
        id: &'a [u8],
        storing: Storing,
        fields: Fields<'a>,
        stored: &EntityState<'a>,
    ) -> Result<Step<'a>, Error> {
        let state = stored.entity();
        let types = Types::new(self.declaration, &fields);
        let version = self.version_in(&fields)?;
        let scope = match storing {
            Storing::Update => Scope::Named,
            Storing::Snapshot | Storing::Insert | Storing::Seed => Scope::Whole,
        };
        let diff = Diff::new(&types, state, fields, scope)?;
        // An entity that exceeds the limit already, since the limit was higher or another client wrote the hash, may
        // change as long as it does not grow.
        if diff.remaining() > state.map_or(0, Snapshot::len) {
            self.limits.check_count(id, diff.remaining())?;
        }
        if version.is_some_and(|version| self.known_version(stored) >= Some(version)) {
            return Ok(self.nothing(id, Effect::Stale));
        }
        match (storing, state) {
            (Storing::Update, None) => return Err(Error::NoEntity(Quoted::new(id))),
            (Storing::Insert, Some(_)) if !diff.is_empty() => {
                return Err(Error::Exists(Quoted::new(id)))
            }
            (_, Some(_)) if diff.is_empty() => return Ok(self.nothing(id, Effect::None)),
            _ => {}
        }
        self.spend(diff.changes.len().saturating_mul(WRITE_COST))?;
        let mut publications = Vec::new();
        let mut effect = Effect::Seed;
        if storing != Storing::Seed {
            let exists = state.is_some();
            let turned = self.turned(&diff.changes, exists);
            let operation = turned.unwrap_or(match exists {
                true => Operation::Update,
                false => Operation::Insert,
            });
            effect = operation.into();
            let mut mutation = Mutation {
                fake: turned.is_some(),
                version,
                ..Mutation::new(operation)
            };
            if self.wants_images(operation, false) || mutation.is_return() {
                mutation.images = self.images(&types, state, &diff.changes)?;
            }
            mutation.changes = &diff.changes;
            publications = self.publish(id, &mutation)?;
        }
        let changed = self.changed(&diff.changes);
        let mut write = diff.into_write(state);
        if let Write::Change {
            replaces_tombstone, ..
        } = &mut write
        {
            *replaces_tombstone = matches!(stored, EntityState::Tombstone(_));
        }
        Ok(Step {
            id,
            effect,
            changed,
            write: Some(write),
            publications,
        })
    }

    fn delete(
        &mut self,
        id: &'a [u8],
        fields: Option<Fields<'a>>,
        stored: &EntityState<'a>,
    ) -> Result<Step<'a>, Error> {
        let given = match fields {
            None => None,
            Some(_) if self.declaration.version.is_none() => return Err(Error::FieldsOfDelete),
            Some(fields) => {
                let version = self.version_in(&fields)?;
                // Only the version is used, but the other fields must be valid, too.
                Diff::new(
                    &Types::new(self.declaration, &fields),
                    None,
                    fields,
                    Scope::Whole,
                )?;
                version
            }
        };
        let known = self.known_version(stored);
        let bury = |version: Option<Version>| {
            let lifetime_ms = self
                .declaration
                .version
                .as_ref()
                .map_or(0, |v| v.tombstone_ms);
            let version = version.filter(|_| lifetime_ms > 0);
            version.map(|version| Write::Bury {
                version,
                lifetime_ms,
            })
        };
        let EntityState::Entity(state) = stored else {
            return Ok(match given {
                Some(_) if known >= given => self.nothing(id, Effect::Stale),
                // A DELETE may overtake earlier flushes, which must find its version.
                given => Step {
                    write: bury(given),
                    ..self.nothing(id, Effect::None)
                },
            });
        };
        // A delete wins against a flush of the same version, whichever comes first.
        if given.is_some() && known > given {
            return Ok(self.nothing(id, Effect::Stale));
        }
        let version = given.or(known);
        let write = bury(version).unwrap_or(Write::Delete);
        let types = Types::declared(self.declaration);
        let changes = self.changes_of_delete(state);
        let mut mutation = Mutation {
            version,
            ..Mutation::new(Operation::Delete)
        };
        if self.wants_images(Operation::Delete, false) {
            mutation.images = self.images(&types, Some(state), &[])?.of_delete();
        }
        mutation.changes = &changes;
        let publications = self.publish(id, &mutation)?;
        Ok(self.done(id, Effect::Delete, &changes, Some(write), publications))
    }

    /// SOFTDELETE: the operation that a change of the field represents.
    pub fn turned(&self, changes: &[Change], exists: bool) -> Option<Operation> {
        let field = self.declaration.soft_delete.as_ref()?;
        let change = changes.iter().find(|change| *change.field == **field)?;
        match (is_set(&change.old), is_set(&change.new)) {
            (false, true) => Some(Operation::Delete),
            (true, false) if exists => Some(Operation::Insert),
            _ => None,
        }
    }

    /// The version that a flush must give if the type has one.
    fn version_in(&self, fields: &Fields<'a>) -> Result<Option<Version>, Error> {
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

    /// The version of the entity, or of its tombstone.
    fn known_version(&self, stored: &EntityState) -> Option<Version> {
        let declared = self.declaration.version.as_ref()?;
        match stored {
            EntityState::Nothing => None,
            EntityState::Tombstone(version) => Some(*version),
            EntityState::Entity(snapshot) => {
                let mut fields = snapshot.iter();
                let (_, text) = fields.find(|(name, _)| *name == declared.field)?;
                parse_version(text)
            }
        }
    }

    fn images<'s>(
        &mut self,
        types: &Types,
        state: Option<&'s Snapshot>,
        changes: &[Change<'s>],
    ) -> Result<Images<'s>, Error> {
        self.spend(state.map_or(0, Snapshot::len))?;
        Ok(Images::new(types, state, changes))
    }

    /// A change to null for every field, if the reply or a stream needs them.
    fn changes_of_delete<'s>(&self, state: &'s Snapshot) -> Vec<Change<'s>> {
        if !self.with_events && !self.wants_full(Operation::Delete) {
            return Vec::new();
        }
        let declaration = self.declaration;
        let mut changes: Vec<Change> = state
            .iter()
            .map(|(field, value)| Change {
                field: field.into(),
                old: declaration.value(field, value),
                new: None,
            })
            .collect();
        // A large hash returns its fields in arbitrary order; events list them by name.
        changes.sort_by(|a, b| a.field.cmp(&b.field));
        changes
    }
}

/// What makes an ordinary entity of a tombstone to which somebody has added fields. Whoever is told of the
/// entity, if only that nothing changes, must not lose it when the tombstone's time is up.
fn exhume<'a>(snapshot: &Snapshot) -> Option<Write<'a>> {
    snapshot.buried.then(|| Write::Change {
        replaces_tombstone: false,
        persist: true,
        set: Vec::new(),
        unset: Vec::new(),
        marker: Some(snapshot.is_empty()),
    })
}

fn parse_version(text: &[u8]) -> Option<Version> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether a SOFTDELETE field says that the entity counts as deleted.
fn is_set(value: &Value) -> bool {
    let text = match value {
        None => return false,
        // The only type whose zero is not written as `0`.
        Some((FieldType::Decimal(Some(_)), text)) => {
            return Number::parse(text).is_none_or(|number| !number.is_zero());
        }
        Some((_, text)) => text,
    };
    !text.is_empty() && **text != *b"0" && !text.eq_ignore_ascii_case(b"false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::declaration::{Payload, Stream};
    use crate::entity::field::Field;
    use crate::entity::operation::Operations;
    use crate::entity::value::InputValue;

    /// Stored states by id; counts how often each is loaded.
    #[derive(Default)]
    struct Fake {
        states: HashMap<Vec<u8>, Snapshot<'static>>,
        loads: usize,
    }

    impl Snapshots for Fake {
        fn load<'g>(&mut self, id: &[u8], _: &[Field<'g>]) -> Result<EntityState<'g>, Error> {
            self.loads += 1;
            let known = self.states.get(id).cloned();
            Ok(known.map_or(EntityState::Nothing, EntityState::Entity))
        }
    }

    fn fields<'a>(pairs: &[(&'a str, &'a str)]) -> Fields<'a> {
        let pairs = pairs.iter();
        pairs
            .map(|(field, value)| {
                (
                    field.as_bytes().into(),
                    Some(InputValue::Plain(value.as_bytes())),
                )
            })
            .collect()
    }

    fn declaration() -> Declaration {
        let mut keys = Stream::new(b"keys");
        keys.payload = Payload::Keys;
        let mut triggered = Stream::new(b"triggered");
        triggered.operations = Operations::empty();
        triggered.triggers = [b"b".to_vec()].into();
        Declaration {
            name: b"user".to_vec(),
            prefix: b"user:".to_vec(),
            stateless: false,
            version: None,
            soft_delete: None,
            types: Default::default(),
            streams: vec![Stream::new(b"all"), keys, triggered],
        }
    }

    fn stored() -> Fake {
        let mut fake = Fake::default();
        let pairs = [("a", "1"), ("b", "2")].map(|(f, v)| (f.as_bytes(), v.as_bytes()));
        fake.states
            .insert(b"1".to_vec(), pairs.into_iter().collect());
        fake
    }

    fn all<'a>(actions: Vec<(&'a [u8], Action<'a>)>) -> Flush<'a> {
        Flush {
            actions,
            ..Flush::default()
        }
    }

    /// The effect, which streams publish, and what is written, of each action on entity 1.
    fn planned(actions: Vec<Action>) -> Result<Vec<String>, String> {
        let actions = actions.into_iter().map(|r| (b"1".as_slice(), r)).collect();
        let plan = plan(
            &declaration(),
            Origin::default(),
            Limits::NONE,
            vec![all(actions)],
            &mut stored(),
        )
        .map_err(|e| e.to_string())?;
        let step = |step: &Step| {
            let streams: Vec<usize> = step.publications.iter().map(|p| p.stream).collect();
            let write = match &step.write {
                None => "-".into(),
                Some(Write::Delete) => "delete".into(),
                Some(Write::Bury { version, .. }) => format!("bury {version}"),
                Some(Write::Change {
                    set, unset, marker, ..
                }) => {
                    format!("set {} unset {} marker {marker:?}", set.len(), unset.len())
                }
            };
            format!("{:?} {streams:?} {write}", step.effect)
        };
        Ok(plan.steps().map(step).collect())
    }

    #[test]
    fn a_value_of_any_type_is_no_change_where_its_text_is_stored() {
        for value in [
            InputValue::Text(b"1".into()),
            InputValue::Number(b"1".into()),
            InputValue::Float(b"1".into()),
            InputValue::Bool(true),
            InputValue::Json(b"1".into()),
        ] {
            let update = Action::Update(vec![(b"a".into(), Some(value))]);
            assert_eq!(planned(vec![update]), Ok(vec!["None [] -".into()]));
        }
    }

    #[test]
    fn each_action_has_its_effect_its_write_and_its_streams() {
        use Action::*;
        for (actions, expected) in [
            (
                vec![Snapshot(fields(&[("b", "2"), ("a", "1")]))],
                vec!["None [] -"],
            ),
            (
                vec![Snapshot(fields(&[("a", "2"), ("b", "2")]))],
                vec!["Update [0, 1] set 1 unset 0 marker None"],
            ),
            (
                vec![Snapshot(fields(&[("a", "1")]))],
                vec!["Update [0, 1, 2] set 0 unset 1 marker None"],
            ),
            (
                vec![Snapshot(vec![]), Snapshot(fields(&[("a", "1")]))],
                vec![
                    "Update [0, 1, 2] set 0 unset 2 marker Some(true)",
                    "Update [0, 1] set 1 unset 0 marker Some(false)",
                ],
            ),
            (
                vec![Update(vec![(b"b".into(), None), (b"c".into(), None)])],
                vec!["Update [0, 1, 2] set 0 unset 1 marker None"],
            ),
            (
                vec![Delete(None), Delete(None), Insert(fields(&[("a", "1")]))],
                vec![
                    "Delete [0, 1] delete",
                    "None [] -",
                    "Insert [0, 1] set 1 unset 0 marker None",
                ],
            ),
            (vec![Touch], vec!["Touch [0, 1] -"]),
            (
                vec![Seed(fields(&[("b", "3")])), Seed(fields(&[("b", "3")]))],
                vec!["Seed [] set 1 unset 1 marker None", "None [] -"],
            ),
        ] {
            let expected: Vec<String> = expected.into_iter().map(String::from).collect();
            assert_eq!(planned(actions.clone()), Ok(expected), "{actions:?}");
        }
    }

    #[test]
    fn a_action_that_cannot_be_fulfilled_fails_the_whole_plan() {
        use Action::*;
        for (actions, error) in [
            (
                vec![Touch, Insert(fields(&[("a", "2")]))],
                "EXISTS entity \"1\" exists with other values",
            ),
            (
                vec![Delete(None), Touch],
                "NOENTITY there is no entity \"1\"",
            ),
            (
                vec![Delete(None), Update(vec![])],
                "NOENTITY there is no entity \"1\"",
            ),
            (
                vec![Snapshot(fields(&[("a", "1"), ("c", "1"), ("c", "2")]))],
                "ERR field \"c\" is named twice",
            ),
            (
                vec![Update(vec![(b"@".into(), None)])],
                "ERR the field \"@\" is reserved",
            ),
        ] {
            assert_eq!(planned(actions), Err(error.into()));
        }
    }

    #[test]
    fn streams_of_one_payload_share_an_entry_and_an_entity_is_loaded_once() {
        let mut fake = stored();
        let delete = || (b"1".as_slice(), Action::Delete(None));
        let touch = (b"1".as_slice(), Action::Touch);
        let plan = plan(
            &declaration(),
            Origin::default(),
            Limits::NONE,
            vec![all(vec![touch, delete(), delete()])],
            &mut fake,
        )
        .unwrap();
        assert_eq!(fake.loads, 1);
        // One for each of the two payloads of the touch and of the delete.
        assert_eq!(plan.entries.len(), 4);
    }
}
