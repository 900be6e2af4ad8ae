//! The planner derives writes and events from the declaration, the stored snapshots and the requested
//! operations. It writes nothing, so a plan that fails has changed nothing.

use super::action::{Action, Flush};
use super::diff::{Diff, Scope, Types};
use super::outcome::Effect;
use super::planner::{Plan, Planner, Publication, Step};
use super::publish::{Audience, Images, Mutation};
use super::soft_delete::{Flag, OfReaders};
use super::state::{EntityState, Snapshots, Write};
use crate::encoding::event::Origin;
use crate::entity::decimal;
use crate::entity::declaration::Declaration;
use crate::entity::event::{Bytes, Change, Version};
use crate::entity::field::Fields;
use crate::entity::limits::Limits;
use crate::entity::operation::Operation;
use crate::entity::snapshot::Snapshot;
use crate::error::{Error, Quoted};
use crate::keyword::Keyword;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Plans the operations of these flushes in order. Each operation sees the effects of the earlier ones.
pub fn plan<'a>(
    declaration: &Declaration,
    origin: Origin,
    limits: Limits,
    flushes: Vec<Flush<'a>>,
    stored: &mut impl Snapshots,
) -> Result<Plan<'a>, Error> {
    let mut planner = Planner::new(declaration, origin, limits, flushes.len());
    let mut again = Again {
        ids: repeated(&flushes),
        states: BTreeMap::new(),
    };
    for flush in flushes {
        planner.meta = flush.meta;
        planner.with_events = flush.with_events;
        planner.force = flush.force;
        planner.repairs = flush.repairs;
        planner.limited = flush.token.is_none();
        let steps = Vec::with_capacity(flush.actions.len());
        planner.plan.flushes.push(steps);
        for (id, action) in flush.actions {
            let planned = planner.operation(id, action, &mut again, stored);
            planned.map_err(|error| error.of_token(flush.token))?;
        }
    }
    Ok(planner.plan)
}

/// The entities with several operations. Only their new states are remembered.
struct Again<'a> {
    ids: BTreeSet<&'a [u8]>,
    states: BTreeMap<&'a [u8], EntityState<'a>>,
}

/// Refuses a flush that could not succeed whatever the state of its entities, before it waits for its COMMIT.
pub fn check(
    declaration: &Declaration,
    origin: Origin,
    limits: Limits,
    flush: Flush,
) -> Result<(), Error> {
    let mut planner = Planner::new(declaration, origin, limits, 0);
    for (id, action) in flush.actions {
        match planner.step(id, action, &EntityState::Nothing) {
            Ok(_) | Err(Error::NoEntity(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The ids that occur more than once.
fn repeated<'a>(flushes: &[Flush<'a>]) -> BTreeSet<&'a [u8]> {
    let actions = || flushes.iter().flat_map(|flush| &flush.actions);
    // As those of a batch often are, and as one alone is.
    if actions().is_sorted_by(|(a, _), (b, _)| a < b) {
        return BTreeSet::new();
    }
    let mut seen = HashSet::with_capacity(actions().count());
    let ids = actions().map(|(id, _)| *id);
    ids.filter(|id| !seen.insert(*id)).collect()
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
    /// Whether all that an operation looks at are the fields that it gives. That of the version is always one of them.
    fn looks_at_given(&self, action: &Action) -> bool {
        matches!(action, Action::Update(_))
            && self.declaration.soft_delete.is_none()
            && !self.wants_images(Operation::Update, false)
    }

    /// Adds the step of an operation to the plan.
    fn operation(
        &mut self,
        id: &'a [u8],
        action: Action<'a>,
        again: &mut Again<'a>,
        stored: &mut impl Snapshots,
    ) -> Result<(), Error> {
        let comes_again = again.ids.contains(id);
        let known = match comes_again {
            true => again.states.remove(id),
            false => None,
        };
        let state = match known {
            Some(state) => state,
            None if self.declaration.stateless || matches!(action, Action::Newer) => {
                EntityState::Nothing
            }
            None => {
                let [given, _] = action.fields();
                let state = match self.looks_at_given(&action) && !comes_again {
                    true => stored.load_given(id, given)?,
                    false => stored.load(id, given)?,
                };
                self.spend(state.entity().map_or(0, Snapshot::len))?;
                state
            }
        };
        let step = self.step(id, action, &state)?;
        if comes_again {
            again.states.insert(id, state.after(step.write.as_ref()));
        }
        if let Some(steps) = self.plan.flushes.last_mut() {
            steps.push(step);
        }
        Ok(())
    }

    fn step(
        &mut self,
        id: &'a [u8],
        action: Action<'a>,
        stored: &EntityState<'a>,
    ) -> Result<Step<'a>, Error> {
        self.check_id(id)?;
        let given = action.fields().map(<[_]>::len);
        let given = given.into_iter().fold(0, usize::saturating_add);
        let known = stored.entity().map_or(0, Snapshot::len);
        self.spend(given.saturating_add(known / LOOKUP_COST_DIVISOR))?;
        let mut step = self.decide(id, action, stored)?;
        if step.write.is_none() {
            step.write = stored.entity().and_then(|entity| self.exhume(entity));
        }
        Ok(step)
    }

    #[inline(always)]
    fn decide(
        &mut self,
        id: &'a [u8],
        action: Action<'a>,
        stored: &EntityState<'a>,
    ) -> Result<Step<'a>, Error> {
        match action {
            Action::Newer => Ok(self.nothing(id, Effect::Newer)),
            Action::Touch => {
                self.check_given(id, &action)?;
                self.touch(id, stored)
            }
            action if self.declaration.stateless => {
                self.check_given(id, &action)?;
                self.stateless(id, action)
            }
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

    /// Refuses ids, fields and values beyond the limits, in an operation that nothing stored can excuse.
    fn check_given(&self, id: &[u8], action: &Action) -> Result<(), Error> {
        if self.limited {
            self.limits.check_name(id)?;
            for fields in action.fields() {
                self.limits.check_count(id, fields.len())?;
                self.limits.check_texts(id, fields)?;
            }
        }
        Ok(())
    }

    fn touch(&mut self, id: &'a [u8], stored: &EntityState) -> Result<Step<'a>, Error> {
        let state = stored.entity();
        if state.is_none() && !self.declaration.stateless {
            return Ok(self.nothing(id, Effect::None));
        }
        let hidden = state.is_some_and(|state| self.is_flagged(state));
        if hidden && !self.has_library() {
            return Ok(self.nothing(id, Effect::None));
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
        let audience = Audience {
            readers: Some(&mutation).filter(|_| !hidden),
            library: Some(&mutation),
        };
        let publications = self.publish(id, audience)?;
        let effect = if hidden { Effect::None } else { Effect::Touch };
        Ok(self.done(id, effect, &[], None, publications))
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
        let given = fields.len();
        let too_long = match self.limited {
            true => self.limits.check_texts(id, &fields).err(),
            false => None,
        };
        let diff = Diff::new(&types, state, fields, scope)?;
        let was_set = || state.is_some_and(|state| self.is_flagged(state));
        let flag = self.flag(state.is_some(), &diff.changes, was_set);
        // An entity that exceeds a limit already, since the limit was higher or another client wrote the hash, may
        // change as long as it does not grow. To set its flag is to delete it, so there is room for the flag.
        let room = usize::from(flag.told() == Some(Operation::Delete));
        if diff.remaining() > state.map_or(0, Snapshot::len).saturating_add(room) {
            if self.limited {
                self.limits.check_count(id, given)?;
            }
            self.limits.check_count(id, diff.remaining())?;
        }
        if let (Some(error), true) = (too_long, diff.grows() || state.is_none()) {
            return Err(error);
        }
        if let Some(effect) = self.outdated(stored, version, diff.is_empty()) {
            return Ok(self.nothing(id, effect));
        }
        match (storing, state) {
            (Storing::Update, None) => return Err(Error::NoEntity(Quoted::new(id))),
            (Storing::Insert, Some(_)) if !diff.is_empty() => {
                return Err(Error::Exists(Quoted::new(id)));
            }
            (_, Some(_)) if diff.is_empty() => return Ok(self.nothing(id, Effect::None)),
            _ => {}
        }
        self.spend(diff.changes.len().saturating_mul(WRITE_COST))?;
        let mut publications = Vec::new();
        let mut effect = Effect::Seed;
        if storing != Storing::Seed {
            (effect, publications) = self.tell(id, flag, version, &types, state, &diff)?;
        } else if flag.turns() {
            let field = self.declaration.soft_delete.as_deref();
            return Err(Error::SeedTurns {
                field: Quoted::new(field.unwrap_or_default()),
                id: Quoted::new(id),
            });
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

    /// The effect and the events of changes that are stored.
    fn tell<'s>(
        &mut self,
        id: &'s [u8],
        flag: Flag,
        version: Option<Version>,
        types: &Types,
        state: Option<&'s Snapshot>,
        diff: &Diff<'s, 's>,
    ) -> Result<(Effect, Vec<Publication>), Error> {
        let changes = diff.changes.as_slice();
        let shrinks = state.is_some() && !diff.grows();
        let told = flag.told();
        let returns = told == Some(Operation::Insert) && flag.existed;
        let images = match told {
            Some(operation) if returns || self.wants_images(operation, false) => {
                self.images(types, state, changes)?
            }
            _ => Images::default(),
        };
        let Some(operation) = told.filter(|_| !flag.is_involved()) else {
            let lost = match (told, state) {
                (Some(Operation::Delete), Some(state)) if self.wants_full(Operation::Delete) => {
                    self.changes_of_delete(state)
                }
                _ => Vec::new(),
            };
            let of_readers = OfReaders {
                images,
                lost,
                is_lost_stored: true,
                shrinks,
            };
            return self.tell_of_flagged(id, flag, version, of_readers, changes, &diff.nulls);
        };
        let mutation = Mutation {
            images,
            version,
            changes,
            nulls: &diff.nulls,
            excused: shrinks,
            ..Mutation::new(operation)
        };
        let publications = self.publish(id, Audience::all(&mutation))?;
        Ok((operation.into(), publications))
    }

    /// The same if SOFTDELETE has a say: readers and FluxaORM v1 see different things.
    pub fn tell_of_flagged<'s>(
        &mut self,
        id: &'s [u8],
        flag: Flag,
        version: Option<Version>,
        of_readers: OfReaders<'s>,
        changes: &[Change<'s>],
        nulls: &[Bytes<'s>],
    ) -> Result<(Effect, Vec<Publication>), Error> {
        let OfReaders {
            images,
            lost,
            is_lost_stored,
            shrinks,
        } = of_readers;
        let told = flag.told();
        let returns = told == Some(Operation::Insert) && flag.existed;
        let found = if returns { images.as_changes() } else { lost };
        let for_readers = told.map(|operation| Mutation {
            returns,
            version,
            changes: &found,
            // Setting the flag is a delete, which no limit holds back.
            excused: shrinks || (is_lost_stored && operation == Operation::Delete),
            images: match operation {
                Operation::Delete => images.of_delete(),
                Operation::Insert | Operation::Update => images,
            },
            ..Mutation::new(operation)
        });
        let for_library = match self.has_library() {
            true => self.changes_of_library(id, flag, changes),
            false => Vec::new(),
        };
        let operation = flag.told_by_library();
        let library = Mutation {
            version,
            soft: operation == Operation::Delete,
            changes: &for_library,
            nulls,
            excused: shrinks,
            ..Mutation::new(operation)
        };
        let audience = Audience {
            readers: for_readers.as_ref(),
            library: Some(&library),
        };
        let publications = self.publish(id, audience)?;
        Ok((told.map_or(Effect::Hidden, Effect::from), publications))
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
        if let Some(effect) = self.outdated_delete(stored, given) {
            return Ok(self.nothing(id, effect));
        }
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
            return Ok(Step {
                // A DELETE may overtake earlier flushes, which must find its version.
                write: bury(given),
                ..self.nothing(id, Effect::None)
            });
        };
        let version = given.or_else(|| self.known_version(stored));
        let write = bury(version).unwrap_or(Write::Delete);
        let types = Types::declared(self.declaration);
        let changes = self.changes_of_delete(state);
        let mut mutation = Mutation {
            version,
            excused: true,
            ..Mutation::new(Operation::Delete)
        };
        if self.wants_images(Operation::Delete, false) {
            mutation.images = self.images(&types, Some(state), &[])?.of_delete();
        }
        mutation.changes = &changes;
        let hidden = self.is_flagged(state);
        let audience = Audience {
            readers: Some(&mutation).filter(|_| !hidden),
            library: Some(&mutation),
        };
        let publications = self.publish(id, audience)?;
        let effect = match hidden {
            true => Effect::Hidden,
            false => Effect::Delete,
        };
        Ok(self.done(id, effect, &changes, Some(write), publications))
    }

    /// What makes an ordinary entity of a tombstone to which somebody has added fields. Whoever is told of the
    /// entity, if only that nothing changes, must not lose it when the tombstone's time is up. The marker stays as
    /// long as only it holds the version that the entity was deleted with.
    fn exhume(&self, snapshot: &Snapshot) -> Option<Write<'a>> {
        let is_needed = self.is_buried(snapshot);
        snapshot.buried.then(|| Write::Change {
            replaces_tombstone: false,
            persist: true,
            set: Vec::new(),
            unset: Vec::new(),
            marker: (!is_needed).then(|| snapshot.is_empty()),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::event;
    use crate::entity::declaration::{Format, Payload, Stream};
    use crate::entity::field::Field;
    use crate::entity::operation::Operations;
    use crate::entity::value::InputValue;
    use std::collections::HashMap;

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
            revision: None,
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
            (vec![Touch], vec!["Touch [0, 1, 2] -"]),
            (
                vec![Delete(None), Touch],
                vec!["Delete [0, 1] delete", "None [] -"],
            ),
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

    /// An entity with SOFTDELETE and a stream for readers, one for FluxaORM v1: for each action on the entity 1 the
    /// effect, and the operation that each of the two is told.
    fn told(state: &[(&str, &str)], stateless: bool, action: Action) -> Result<String, String> {
        let mut library = Stream::new(b"library");
        library.format = Format::FluxaOrm1;
        library.payload = Payload::Full;
        let declaration = Declaration {
            stateless,
            soft_delete: Some(b"gone".to_vec()),
            streams: vec![Stream::new(b"readers"), library],
            ..declaration()
        };
        let mut fake = Fake::default();
        if !state.is_empty() {
            let pairs = state.iter().map(|(f, v)| (f.as_bytes(), v.as_bytes()));
            fake.states.insert(b"1".to_vec(), pairs.collect());
        }
        let flush = all(vec![(b"1".as_slice(), action)]);
        let (origin, limits) = (Origin::default(), Limits::NONE);
        let plan = plan(&declaration, origin, limits, vec![flush], &mut fake);
        let plan = plan.map_err(|error| error.to_string())?;
        let step = plan.steps().next().expect("a step");
        let told = |stream: usize| {
            let publication = step.publications.iter().find(|p| p.stream == stream)?;
            let entry = plan.entries.get(publication.entry)?;
            let pairs: Vec<_> = entry.iter().map(|(f, v)| (&**f, v.as_slice())).collect();
            Some(event::decode(&pairs)?.operation.name())
        };
        let [readers, library] = [0, 1].map(|stream| told(stream).unwrap_or("-"));
        Ok(format!(
            "{} {readers} {library}",
            step.effect.name().to_str().unwrap()
        ))
    }

    #[test]
    fn readers_do_not_see_a_flagged_entity_and_fluxaorm_1_does() {
        use Action::*;
        let (live, flagged) = ([("a", "1")], [("a", "1"), ("gone", "1")]);
        let none: &[(&str, &str)] = &[];
        for (state, action, expected) in [
            (none, Insert(fields(&live)), "insert insert insert"),
            (none, Insert(fields(&flagged)), "hidden - insert"),
            (none, Seed(fields(&flagged)), "seed - -"),
            (&live, Snapshot(fields(&flagged)), "delete delete delete"),
            (&live, Update(fields(&[("a", "2")])), "update update update"),
            (
                &live,
                Update(fields(&[("gone", "0")])),
                "update update update",
            ),
            (&live, Seed(fields(&[("a", "2")])), "seed - -"),
            (&live, Delete(None), "delete delete delete"),
            (&live, Touch, "touch update update"),
            (&flagged, Snapshot(fields(&live)), "insert insert update"),
            (
                &flagged,
                Update(fields(&[("gone", "0.0")])),
                "insert insert update",
            ),
            (&flagged, Update(fields(&[("a", "2")])), "hidden - update"),
            (&flagged, Update(fields(&[("gone", "1")])), "none - -"),
            (&flagged, Seed(fields(&[("gone", "2")])), "seed - -"),
            (&flagged, Delete(None), "hidden - delete"),
            (&flagged, Touch, "none - update"),
        ] {
            let told = told(state, false, action.clone());
            assert_eq!(told.as_deref(), Ok(expected), "{state:?} {action:?}");
        }
        let refused = "ERR SEED cannot turn the field \"gone\" of SOFTDELETE: readers would not learn that \
                       entity \"1\" comes or goes; use SNAPSHOT";
        for (state, fields_of) in [(&live[..], &flagged[..]), (&flagged, &live)] {
            let seeded = told(state, false, Seed(fields(fields_of)));
            assert_eq!(seeded, Err(refused.into()), "{state:?}");
        }
        let replace = |old: &[(&'static str, &'static str)], new| Replace {
            old: fields(old),
            new: fields(new),
        };
        for (action, expected) in [
            (Insert(fields(&flagged)), "hidden - insert"),
            (replace(&live, &flagged), "delete delete delete"),
            (replace(&flagged, &live), "insert insert update"),
            (
                replace(&flagged, &[("a", "2"), ("gone", "1")]),
                "hidden - update",
            ),
            (replace(&live, &[("a", "2")]), "update update update"),
            (Delete(Some(fields(&flagged))), "hidden - delete"),
            (Delete(Some(fields(&live))), "delete delete delete"),
            (Delete(None), "delete delete delete"),
        ] {
            let told = told(&[], true, action.clone());
            assert_eq!(told.as_deref(), Ok(expected), "{action:?}");
        }
    }

    /// The effects of flushes where one field of one byte, and an event of one, are all that a flush may have.
    fn limited(actions: Vec<(&'static [u8], Action<'static>)>) -> Result<Vec<Effect>, String> {
        let limits = Limits {
            fields: 1,
            ops: usize::MAX,
            value_bytes: 1,
            event_bytes: 1,
        };
        let mut images = Stream::new(b"images");
        images.payload = Payload::Images;
        let declaration = Declaration {
            streams: vec![images],
            ..declaration()
        };
        let mut fake = Fake::default();
        for id in [b"1", b"2"] {
            let pairs = [("a", "xxx"), ("b", "y"), ("c", "z")];
            let pairs = pairs.map(|(f, v)| (f.as_bytes(), v.as_bytes()));
            fake.states.insert(id.to_vec(), pairs.into_iter().collect());
        }
        let empty = [(b"a".as_slice(), b"".as_slice())];
        fake.states
            .insert(b"3".to_vec(), empty.into_iter().collect());
        let origin = Origin::default();
        let plan = plan(&declaration, origin, limits, vec![all(actions)], &mut fake);
        let effects = |plan: Plan| plan.steps().map(|step| step.effect).collect::<Vec<_>>();
        plan.map(effects).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_hold_back_what_grows_and_nothing_else() {
        use Action::*;
        let null = |field: &'static str| (field.as_bytes().into(), None);
        for action in [
            Delete(None),
            Snapshot(fields(&[("a", "xxx"), ("b", "y")])),
            Snapshot(fields(&[("a", "xx"), ("b", "yy"), ("c", "z")])),
            Update(vec![null("a"), null("b"), null("longer")]),
            Update(fields(&[("a", "yyy")])),
        ] {
            let effects = limited(vec![(b"1", action.clone())]);
            assert!(effects.is_ok(), "{action:?}: {effects:?}");
        }
        let fields_of =
            |got| format!("LIMIT {got} fields of the entity \"1\", but dirty.max-fields is 1");
        let events =
            "LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1";
        let long = "LIMIT 4 bytes in the value of \"a\", but dirty.max-value-bytes is 1";
        for (actions, error) in [
            (vec![Update(fields(&[("d", "")]))], fields_of(4)),
            (
                vec![Snapshot(fields(&[
                    ("a", ""),
                    ("b", ""),
                    ("c", ""),
                    ("d", ""),
                ]))],
                fields_of(4),
            ),
            (vec![Update(fields(&[("a", "xxxx")]))], long.to_string()),
            (
                vec![Update(fields(&[("b", ""), ("c", "zz")])), Touch],
                events.into(),
            ),
            (vec![Update(vec![null("c")]), Delete(None)], events.into()),
            (vec![Touch], events.into()),
        ] {
            let actions = actions.into_iter().map(|action| (b"1".as_slice(), action));
            assert_eq!(limited(actions.collect()), Err(error));
        }
        // One that grows within the other limits is not excused.
        let grows = vec![(b"3".as_slice(), Update(fields(&[("a", "x")])))];
        assert_eq!(limited(grows), Err(events.into()));
        let both = [b"1".as_slice(), b"2"].map(|id| (id, Delete(None)));
        assert_eq!(limited(both.into()), Err(events.into()));
    }

    /// Whether an action on an entity of two long fields stays within 500 bytes of events.
    fn within(
        formats: &[Format],
        stateless: bool,
        meta: &'static str,
        action: &Action<'static>,
    ) -> Result<(), String> {
        let streams = formats.iter().map(|format| Stream {
            format: *format,
            payload: match format {
                Format::FluxaOrm1 => Payload::Full,
                _ => Payload::Images,
            },
            ..Stream::new(b"s")
        });
        let declaration = Declaration {
            stateless,
            soft_delete: Some(b"gone".to_vec()),
            streams: streams.collect(),
            ..declaration()
        };
        let mut fake = Fake::default();
        let pairs = [("a", long()), ("b", long())].map(|(f, v)| (f.as_bytes(), v.as_bytes()));
        let state = pairs.into_iter().collect();
        fake.states.insert(b"1".to_vec(), state);
        let flush = Flush {
            meta: match meta {
                "" => Vec::new(),
                meta => vec![(b"m".into(), meta.as_bytes().into())],
            },
            ..all(vec![(b"1", action.clone())])
        };
        let limits = Limits {
            event_bytes: 500,
            ..Limits::NONE
        };
        let origin = Origin::default();
        let plan = plan(&declaration, origin, limits, vec![flush], &mut fake);
        plan.map(|_| ()).map_err(|error| error.to_string())
    }

    fn long() -> &'static str {
        "x".repeat(1000).leak()
    }

    #[test]
    fn the_bytes_of_a_command_are_counted_whatever_it_does() {
        use Action::*;
        let shrink = || Update(vec![(b"a".into(), None)]);
        let flag_and_grow = || Update(fields(&[("gone", "1"), ("c", long())]));
        let flagged = fields(&[("gone", "1")]);
        let replace = Replace {
            old: fields(&[("a", long())]),
            new: flagged.clone(),
        };
        let some: &'static str = "y".repeat(200).leak();
        use Format::{Debezium, Flat, FluxaOrm1, MsgPack};
        let refused = "LIMIT the events of this command are larger than dirty.max-event-bytes, which \
                       is 500";
        for (formats, stateless, meta, action, passes) in [
            (&[MsgPack; 20][..], false, "", Delete(None), true),
            (&[MsgPack; 20], false, "", shrink(), true),
            (&[Debezium; 20], false, "", Delete(None), true),
            (&[Debezium, FluxaOrm1], false, "", Delete(None), true),
            (&[MsgPack; 20], false, "", flag_and_grow(), true),
            (&[MsgPack, FluxaOrm1], false, "", Update(flagged), true),
            // META counts for each stream, in JSON as its longest form.
            (&[MsgPack; 2], false, some, Delete(None), true),
            (&[MsgPack; 3], false, some, Delete(None), false),
            (&[Flat; 3], false, some, Delete(None), false),
            (&[Debezium], false, some, Delete(None), false),
            (&[FluxaOrm1; 3], false, some, Delete(None), true),
            (&[MsgPack; 3], false, some, shrink(), false),
            // An operation that changes nothing.
            (&[MsgPack], false, "", Touch, false),
            // Values that are not stored.
            (&[FluxaOrm1, MsgPack], false, "", flag_and_grow(), false),
            (&[MsgPack], true, "", replace, false),
            (
                &[MsgPack],
                true,
                "",
                Delete(Some(fields(&[("a", long())]))),
                false,
            ),
            (
                &[MsgPack],
                true,
                "",
                Delete(Some(fields(&[("a", "x")]))),
                true,
            ),
        ] {
            let expected = if passes {
                Ok(())
            } else {
                Err(refused.to_string())
            };
            let case = format!("{formats:?} {stateless} {} {action:?}", meta.len());
            assert_eq!(
                within(formats, stateless, meta, &action),
                expected,
                "{case}"
            );
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
