//! From the declaration, the stored snapshots and the operations asked for, to the writes and events that
//! follow. Nothing is written here, so a plan that fails has changed nothing.

use super::diff::{Diff, Scope, Types};
use super::outcome::Effect;
use super::planner::{Plan, Planner, Step};
use super::publish::{Happening, Images};
use super::request::{Request, Requests};
use super::state::{Snapshots, Stored, Write};
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
use crate::keyword::Word;
use std::collections::{HashMap, HashSet};

/// Decides what each operation of these flushes does, in order, later ones seeing what earlier ones did.
pub fn plan<'a>(
    declaration: &Declaration,
    origin: Origin,
    limits: Limits,
    flushes: Vec<Requests<'a>>,
    stored: &mut impl Snapshots,
) -> Result<Plan<'a>, Error> {
    let mut planner = Planner::new(declaration, origin, limits);
    // Only of an entity that comes again is the new state remembered.
    let again = repeated(&flushes);
    let mut states: HashMap<&[u8], Stored<'a>> = HashMap::new();
    for requests in flushes {
        planner.meta = requests.meta;
        planner.with_events = requests.with_events;
        for (id, request) in requests.list {
            let of_token = |error: Error| error.of_token(requests.token);
            let known = match again.contains(id) {
                true => states.remove(id),
                false => None,
            };
            let state = match known {
                Some(state) => state,
                None if declaration.stateless => Stored::Nothing,
                None => {
                    let given = request.fields().next().map_or(&[][..], Vec::as_slice);
                    let state = stored.load(id, given).map_err(of_token)?;
                    let fields = state.entity().map_or(0, Snapshot::len);
                    planner.work(fields).map_err(of_token)?;
                    state
                }
            };
            let step = planner.step(id, request, &state).map_err(of_token)?;
            if again.contains(id) {
                states.insert(id, state.after(step.write.as_ref()));
            }
            planner.plan.steps.push(step);
        }
    }
    Ok(planner.plan)
}

/// Refuses what no state of the entities could make right, for a flush that waits for its COMMIT.
pub fn check(
    declaration: &Declaration,
    origin: Origin,
    limits: Limits,
    requests: Requests,
) -> Result<(), Error> {
    let mut planner = Planner::new(declaration, origin, limits);
    for (id, request) in requests.list {
        match planner.step(id, request, &Stored::Nothing) {
            Ok(_) | Err(Error::NoEntity(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The ids that are named more than once.
fn repeated<'a>(flushes: &[Requests<'a>]) -> HashSet<&'a [u8]> {
    let ids = || flushes.iter().flat_map(|flush| &flush.list);
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

/// Of so many known fields each operation counts one, when it finds those that it is about.
const KNOWN: usize = 8;

/// What a field counts that is written. Redis takes 0.3 µs for it, and up to 6 µs in a hash of some 500
/// short fields, a listpack, which is searched.
const WRITTEN: usize = 10;

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
        request: Request<'a>,
        stored: &Stored<'a>,
    ) -> Result<Step<'a>, Error> {
        self.check_id(id)?;
        let given = request.fields().map(Vec::len);
        let given = given.fold(0, usize::saturating_add);
        let known = stored.entity().map_or(0, Snapshot::len);
        self.work(given.saturating_add(known / KNOWN))?;
        let mut step = self.decide(id, request, stored)?;
        if step.write.is_none() {
            step.write = stored.entity().and_then(exhume);
        }
        Ok(step)
    }

    fn decide(
        &mut self,
        id: &'a [u8],
        request: Request<'a>,
        stored: &Stored<'a>,
    ) -> Result<Step<'a>, Error> {
        match request {
            Request::Touch => self.touch(id, stored),
            request if self.declaration.stateless => self.stateless(id, request),
            Request::Delete(fields) => self.delete(id, fields, stored),
            Request::Snapshot(fields) => self.store(id, Storing::Snapshot, fields, stored),
            Request::Insert(fields) => self.store(id, Storing::Insert, fields, stored),
            Request::Update(fields) => self.store(id, Storing::Update, fields, stored),
            Request::Seed(fields) => self.store(id, Storing::Seed, fields, stored),
            Request::Replace { .. } => Err(Error::Internal), // parsed for stateless types only
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

    fn touch(&mut self, id: &'a [u8], stored: &Stored) -> Result<Step<'a>, Error> {
        let state = stored.entity();
        if state.is_none() && !self.declaration.stateless {
            return Err(Error::NoEntity(Quoted::new(id)));
        }
        let types = Types::declared(self.declaration);
        let images = match self.wants_images(Operation::Update, true) {
            true => self.images(&types, state, &[])?,
            false => Images::default(),
        };
        let happening = Happening {
            touch: true,
            images,
            version: self.known_version(stored),
            ..Happening::new(Operation::Update)
        };
        let publications = self.publish(id, &happening)?;
        Ok(self.done(id, Effect::Touch, &[], None, publications))
    }

    fn store(
        &mut self,
        id: &'a [u8],
        storing: Storing,
        fields: Fields<'a>,
        stored: &Stored<'a>,
    ) -> Result<Step<'a>, Error> {
        let state = stored.entity();
        let types = Types::new(self.declaration, &fields);
        let version = self.version_in(&fields)?;
        let scope = match storing {
            Storing::Update => Scope::Named,
            Storing::Snapshot | Storing::Insert | Storing::Seed => Scope::Whole,
        };
        let diff = Diff::new(&types, state, fields, scope)?;
        // One that had more before, by other limits or by other hands, may still change.
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
        self.work(diff.changes.len().saturating_mul(WRITTEN))?;
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
            let mut happening = Happening {
                fake: turned.is_some(),
                version,
                ..Happening::new(operation)
            };
            if self.wants_images(operation, false) || happening.is_return() {
                happening.images = self.images(&types, state, &diff.changes)?;
            }
            happening.changes = &diff.changes;
            publications = self.publish(id, &happening)?;
        }
        let changed = self.changed(&diff.changes);
        let mut write = diff.into_write(state);
        if let Write::Change { anew, .. } = &mut write {
            *anew = matches!(stored, Stored::Tombstone(_));
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
        stored: &Stored<'a>,
    ) -> Result<Step<'a>, Error> {
        let given = match fields {
            None => None,
            Some(_) if self.declaration.version.is_none() => return Err(Error::FieldsOfDelete),
            Some(fields) => {
                let version = self.version_in(&fields)?;
                // Only the version counts, but what is sent must be right.
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
        let Stored::Entity(state) = stored else {
            return Ok(match given {
                Some(_) if known >= given => self.nothing(id, Effect::Stale),
                // It may overtake the flushes that it ends; they must find out.
                given => Step {
                    write: bury(given),
                    ..self.nothing(id, Effect::None)
                },
            });
        };
        // Of a delete and a flush of the same version the delete wins, in whatever order they come.
        if given.is_some() && known > given {
            return Ok(self.nothing(id, Effect::Stale));
        }
        let version = given.or(known);
        let write = bury(version).unwrap_or(Write::Delete);
        let types = Types::declared(self.declaration);
        let changes = self.changes_of_delete(state);
        let mut happening = Happening {
            version,
            ..Happening::new(Operation::Delete)
        };
        if self.wants_images(Operation::Delete, false) {
            happening.images = self.images(&types, Some(state), &[])?.of_delete();
        }
        happening.changes = &changes;
        let publications = self.publish(id, &happening)?;
        Ok(self.done(id, Effect::Delete, &changes, Some(write), publications))
    }

    /// FAKEDELETE: the operation that a change of the field stands for.
    pub fn turned(&self, changes: &[Change], exists: bool) -> Option<Operation> {
        let field = self.declaration.fake_delete.as_ref()?;
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

    /// That of the entity, or of its tombstone.
    fn known_version(&self, stored: &Stored) -> Option<Version> {
        let declared = self.declaration.version.as_ref()?;
        match stored {
            Stored::Nothing => None,
            Stored::Tombstone(version) => Some(*version),
            Stored::Entity(snapshot) => {
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
        self.work(state.map_or(0, Snapshot::len))?;
        Ok(Images::new(types, state, changes))
    }

    /// Every field to null, if anybody wants that.
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
        // A large hash gives its fields in an order of its own; events have one.
        changes.sort_by(|a, b| a.field.cmp(&b.field));
        changes
    }
}

/// What makes an ordinary entity of a tombstone to which somebody has added fields. Whoever is told of the
/// entity, if only that nothing changes, must not lose it when the tombstone's time is up.
fn exhume<'a>(snapshot: &Snapshot) -> Option<Write<'a>> {
    snapshot.buried.then(|| Write::Change {
        anew: false,
        persist: true,
        set: Vec::new(),
        unset: Vec::new(),
        marker: Some(snapshot.is_empty()),
    })
}

fn parse_version(text: &[u8]) -> Option<Version> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether a FAKEDELETE field says that the entity counts as deleted.
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
        fn load<'g>(&mut self, id: &[u8], _: &[Field<'g>]) -> Result<Stored<'g>, Error> {
            self.loads += 1;
            let known = self.states.get(id).cloned();
            Ok(known.map_or(Stored::Nothing, Stored::Entity))
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
            fake_delete: None,
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

    fn all<'a>(list: Vec<(&'a [u8], Request<'a>)>) -> Requests<'a> {
        Requests {
            list,
            ..Requests::default()
        }
    }

    /// The effect, which streams publish, and what is written, of each request on entity 1.
    fn planned(requests: Vec<Request>) -> Result<Vec<String>, String> {
        let list = requests.into_iter().map(|r| (b"1".as_slice(), r)).collect();
        let plan = plan(
            &declaration(),
            Origin::default(),
            Limits::NONE,
            vec![all(list)],
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
        Ok(plan.steps.iter().map(step).collect())
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
            let update = Request::Update(vec![(b"a".into(), Some(value))]);
            assert_eq!(planned(vec![update]), Ok(vec!["None [] -".into()]));
        }
    }

    #[test]
    fn each_request_has_its_effect_its_write_and_its_streams() {
        use Request::*;
        for (requests, expected) in [
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
            assert_eq!(planned(requests.clone()), Ok(expected), "{requests:?}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_fulfilled_fails_the_whole_plan() {
        use Request::*;
        for (requests, error) in [
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
            assert_eq!(planned(requests), Err(error.into()));
        }
    }

    #[test]
    fn streams_of_one_payload_share_an_entry_and_an_entity_is_loaded_once() {
        let mut fake = stored();
        let delete = || (b"1".as_slice(), Request::Delete(None));
        let touch = (b"1".as_slice(), Request::Touch);
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
