//! What a flush does: from the declaration, the stored snapshots and the operations asked for, to the
//! writes and events that follow. Nothing is written here, so a plan that fails has changed nothing.

use super::declaration::{Declaration, Payload, Stream};
use super::diff::{Diff, Scope};
use super::event::{Bytes, Change, Event, Image, Pair, Value};
use super::operation::{Operation, Operations};
use super::snapshot::Snapshot;
use crate::encoding;
use crate::error::{Error, Quoted};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CStr;

/// All that a flush asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests<'a> {
    /// Pairs that travel in every event.
    pub meta: Vec<Pair<'a>>,
    /// Whether the reply names changed fields and events.
    pub with_events: bool,
    /// Each with the id of the entity it is on, in order.
    pub list: Vec<(&'a [u8], Request<'a>)>,
}

/// One operation of a flush, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    Snapshot(Fields<'a>),
    Insert(Fields<'a>),
    Update(Fields<'a>),
    Delete,
    Touch,
    Seed(Fields<'a>),
}

/// Fields and their new values; `None` is null.
pub type Fields<'a> = Vec<(&'a [u8], Option<Cow<'a, [u8]>>)>;

/// What one operation came to: an element of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Insert,
    Update,
    Delete,
    None,
    Touch,
    Seed,
}

impl Effect {
    pub fn name(self) -> &'static CStr {
        match self {
            Effect::Insert => c"insert",
            Effect::Update => c"update",
            Effect::Delete => c"delete",
            Effect::None => c"none",
            Effect::Touch => c"touch",
            Effect::Seed => c"seed",
        }
    }
}

/// Where stored snapshots come from.
pub trait Snapshots {
    /// The entity's state, `None` if there is no such entity.
    fn load(&mut self, id: &[u8]) -> Result<Option<Snapshot>, Error>;
}

/// What a whole flush does, in order.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    pub steps: Vec<Step<'a>>,
    /// Whether the reply names changed fields and events.
    pub with_events: bool,
    /// Encoded events; streams with the same payload share one.
    pub payloads: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub struct Step<'a> {
    pub id: &'a [u8],
    pub effect: Effect,
    /// The fields that changed, if the reply is to name them.
    pub changed: Vec<Vec<u8>>,
    pub write: Option<Write<'a>>,
    pub publications: Vec<Publication>,
}

/// An event for a stream, both by index: of the declaration's streams, of the plan's payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    pub stream: usize,
    pub payload: usize,
}

/// What becomes of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Write<'a> {
    Delete,
    Change {
        set: Vec<(&'a [u8], Cow<'a, [u8]>)>,
        unset: Vec<Vec<u8>>,
        /// The marker of an entity without fields comes (true) or goes (false).
        marker: Option<bool>,
    },
}

/// Decides what each operation does, in order, later ones seeing what earlier ones did.
pub fn plan<'a>(
    declaration: &Declaration,
    requests: Requests<'a>,
    stored: &mut impl Snapshots,
) -> Result<Plan<'a>, Error> {
    let Requests {
        meta,
        with_events,
        list,
    } = requests;
    let mut planner = Planner {
        declaration,
        meta: &meta,
        plan: Plan {
            with_events,
            ..Plan::default()
        },
    };
    // Only of an entity that comes again is the new state remembered.
    let again = repeated(&list);
    let mut states: HashMap<&[u8], Option<Snapshot>> = HashMap::new();
    for (id, request) in list {
        let state = match states.remove(id) {
            Some(state) => state,
            None => stored.load(id)?,
        };
        let step = planner.step(id, request, state.as_ref())?;
        if again.contains(id) {
            states.insert(id, after(state, step.write.as_ref()));
        }
        planner.plan.steps.push(step);
    }
    Ok(planner.plan)
}

/// The ids that are named more than once.
fn repeated<'a>(list: &[(&'a [u8], Request)]) -> HashSet<&'a [u8]> {
    if list.len() < 2 {
        return HashSet::new();
    }
    let mut seen = HashSet::with_capacity(list.len());
    let ids = list.iter().map(|(id, _)| *id);
    ids.filter(|id| !seen.insert(*id)).collect()
}

struct Planner<'d, 'a> {
    declaration: &'d Declaration,
    meta: &'d [Pair<'a>],
    plan: Plan<'a>,
}

impl<'a> Planner<'_, 'a> {
    fn step(
        &mut self,
        id: &'a [u8],
        request: Request<'a>,
        state: Option<&Snapshot>,
    ) -> Result<Step<'a>, Error> {
        let declaration = self.declaration;
        let none = Step {
            id,
            effect: Effect::None,
            changed: Vec::new(),
            write: None,
            publications: Vec::new(),
        };
        let (effect, diff) = match (request, state) {
            (Request::Touch, None) => return Err(Error::NoEntity(Quoted::new(id))),
            (Request::Touch, Some(_)) => {
                let images = self.images(state, &[]);
                let wanted = |stream: &Stream| stream.operations.contains(Operations::UPDATE);
                return Ok(Step {
                    effect: Effect::Touch,
                    publications: self.encode(id, Operation::Update, &[], &images, wanted),
                    ..none
                });
            }
            (Request::Delete, None) => return Ok(none),
            (Request::Delete, Some(state)) => {
                let changes = self.changes_of_delete(state);
                let mut images = self.images(Some(state), &[]);
                images.after.clear();
                return Ok(Step {
                    effect: Effect::Delete,
                    changed: self.changed(&changes),
                    write: Some(Write::Delete),
                    publications: self.publish(id, Operation::Delete, &changes, &images),
                    ..none
                });
            }
            (Request::Update(_), None) => return Err(Error::NoEntity(Quoted::new(id))),
            (Request::Update(fields), Some(state)) => {
                let diff = Diff::new(declaration, Some(state), fields, Scope::Named)?;
                (Effect::Update, diff)
            }
            (Request::Insert(fields), Some(state)) => {
                let diff = Diff::new(declaration, Some(state), fields, Scope::Whole)?;
                if !diff.is_empty() {
                    return Err(Error::Exists(Quoted::new(id)));
                }
                return Ok(none);
            }
            (Request::Seed(fields), state) => {
                let diff = Diff::new(declaration, state, fields, Scope::Whole)?;
                (Effect::Seed, diff)
            }
            (Request::Insert(fields) | Request::Snapshot(fields), None) => {
                let diff = Diff::new(declaration, None, fields, Scope::Whole)?;
                (Effect::Insert, diff)
            }
            (Request::Snapshot(fields), Some(state)) => {
                let diff = Diff::new(declaration, Some(state), fields, Scope::Whole)?;
                (Effect::Update, diff)
            }
        };
        if state.is_some() && diff.is_empty() {
            return Ok(none);
        }
        let operation = match effect {
            Effect::Insert => Some(Operation::Insert),
            Effect::Update => Some(Operation::Update),
            _ => None,
        };
        let publications = match operation {
            Some(operation) => {
                let images = self.images(state, &diff.changes);
                self.publish(id, operation, &diff.changes, &images)
            }
            None => Vec::new(),
        };
        Ok(Step {
            effect,
            changed: self.changed(&diff.changes),
            write: Some(diff.into_write(state)),
            publications,
            ..none
        })
    }

    /// The names of what changed, if anybody wants them.
    fn changed(&self, changes: &[Change]) -> Vec<Vec<u8>> {
        let names = changes.iter().map(|change| change.field.to_vec());
        names.filter(|_| self.plan.with_events).collect()
    }

    /// Every field to null, if anybody wants that.
    fn changes_of_delete<'s>(&self, state: &'s Snapshot) -> Vec<Change<'s>> {
        let declaration = self.declaration;
        let full = |stream: &Stream| {
            stream.payload == Payload::Full && stream.operations.contains(Operations::DELETE)
        };
        let mut changes: Vec<Change> = Vec::new();
        if self.plan.with_events || declaration.streams.iter().any(full) {
            changes.extend(state.iter().map(|(field, value)| Change {
                field: field.into(),
                old: declaration.value(field, value),
                new: None,
            }));
            // A large hash gives its fields in an order of its own; events have one.
            changes.sort_by(|a, b| a.field.cmp(&b.field));
        }
        changes
    }

    /// All fields before and after these changes, if anybody wants that.
    fn images<'s>(&self, state: Option<&'s Snapshot>, changes: &[Change<'s>]) -> Images<'s> {
        let declaration = self.declaration;
        let wants = |stream: &Stream| stream.payload == Payload::Images;
        if !declaration.streams.iter().any(wants) {
            return Images::default();
        }
        let pairs = state.into_iter().flat_map(Snapshot::iter);
        let before: BTreeMap<Bytes, Value> = pairs
            .map(|(field, text)| (field.into(), declaration.value(field, text)))
            .collect();
        let mut after = before.clone();
        for Change { field, new, .. } in changes {
            match new {
                Some(_) => after.insert(field.clone(), new.clone()),
                None => after.remove(field),
            };
        }
        Images {
            before: before.into_iter().collect(),
            after: after.into_iter().collect(),
        }
    }

    fn publish(
        &mut self,
        id: &[u8],
        operation: Operation,
        changes: &[Change],
        images: &Images,
    ) -> Vec<Publication> {
        self.encode(id, operation, changes, images, |stream| {
            stream.publishes(operation, changes.iter().map(|change| &*change.field))
        })
    }

    fn encode(
        &mut self,
        id: &[u8],
        operation: Operation,
        changes: &[Change],
        images: &Images,
        wanted: impl Fn(&Stream) -> bool,
    ) -> Vec<Publication> {
        let mut publications: Vec<Publication> = Vec::new();
        for (index, stream) in self.declaration.streams.iter().enumerate() {
            if !wanted(stream) {
                continue;
            }
            let same = publications.iter().find(|earlier| {
                let earlier = self.declaration.streams.get(earlier.stream);
                earlier.is_some_and(|earlier| earlier.payload == stream.payload)
            });
            let payload = match same {
                Some(earlier) => earlier.payload,
                None => {
                    let event = Event {
                        entity: self.declaration.name.as_slice().into(),
                        id: id.into(),
                        operation,
                        changes: carried(stream.payload, operation, changes).into(),
                        before: images.carried(stream.payload, &images.before),
                        after: images.carried(stream.payload, &images.after),
                        meta: self.meta.into(),
                    };
                    self.plan.payloads.push(encoding::msgpack::encode(&event));
                    self.plan.payloads.len().saturating_sub(1)
                }
            };
            publications.push(Publication {
                stream: index,
                payload,
            });
        }
        publications
    }
}

/// All fields of an entity by name, before and after an operation.
#[derive(Default)]
struct Images<'s> {
    before: Vec<(Bytes<'s>, Value<'s>)>,
    after: Vec<(Bytes<'s>, Value<'s>)>,
}

impl<'s> Images<'s> {
    fn carried<'i>(&self, payload: Payload, image: &'i [(Bytes<'s>, Value<'s>)]) -> Image<'i>
    where
        's: 'i,
    {
        match payload {
            Payload::Images => image.into(),
            _ => Cow::Borrowed(&[]),
        }
    }
}

/// Which of the changes a payload carries.
fn carried<'c, 'a>(
    payload: Payload,
    operation: Operation,
    changes: &'c [Change<'a>],
) -> &'c [Change<'a>] {
    match (payload, operation) {
        (Payload::Full, _) | (Payload::Changes, Operation::Update) => changes,
        (Payload::Keys | Payload::Images, _) => &[],
        (Payload::Changes, Operation::Insert | Operation::Delete) => &[],
    }
}

/// The state after a write, for later operations on the same entity in one command.
fn after(state: Option<Snapshot>, write: Option<&Write>) -> Option<Snapshot> {
    match write {
        None => state,
        Some(Write::Delete) => None,
        Some(Write::Change { set, unset, marker }) => {
            let mut next = state.unwrap_or_default();
            next.change(set, unset);
            next.marked = marker.unwrap_or(next.marked);
            Some(next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored states by id; counts how often each is loaded.
    #[derive(Default)]
    struct Fake {
        states: HashMap<Vec<u8>, Snapshot>,
        loads: usize,
    }

    impl Snapshots for Fake {
        fn load(&mut self, id: &[u8]) -> Result<Option<Snapshot>, Error> {
            self.loads += 1;
            Ok(self.states.get(id).cloned())
        }
    }

    fn fields<'a>(pairs: &[(&'a str, &'a str)]) -> Fields<'a> {
        let pairs = pairs.iter();
        pairs
            .map(|(field, value)| (field.as_bytes(), Some(value.as_bytes().into())))
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
        let plan = plan(&declaration(), all(list), &mut stored()).map_err(|e| e.to_string())?;
        let step = |step: &Step| {
            let streams: Vec<usize> = step.publications.iter().map(|p| p.stream).collect();
            let write = match &step.write {
                None => "-".into(),
                Some(Write::Delete) => "delete".into(),
                Some(Write::Change { set, unset, marker }) => {
                    format!("set {} unset {} marker {marker:?}", set.len(), unset.len())
                }
            };
            format!("{:?} {streams:?} {write}", step.effect)
        };
        Ok(plan.steps.iter().map(step).collect())
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
                vec![Update(vec![(b"b", None), (b"c", None)])],
                vec!["Update [0, 1, 2] set 0 unset 1 marker None"],
            ),
            (
                vec![Delete, Delete, Insert(fields(&[("a", "1")]))],
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
            (vec![Delete, Touch], "NOENTITY there is no entity \"1\""),
            (
                vec![Delete, Update(vec![])],
                "NOENTITY there is no entity \"1\"",
            ),
            (
                vec![Snapshot(fields(&[("a", "1"), ("c", "1"), ("c", "2")]))],
                "ERR field \"c\" is named twice",
            ),
            (
                vec![Update(vec![(b"@", None)])],
                "ERR the field \"@\" is reserved",
            ),
        ] {
            assert_eq!(planned(requests), Err(error.into()));
        }
    }

    #[test]
    fn streams_of_one_payload_share_its_bytes_and_an_entity_is_loaded_once() {
        let mut fake = stored();
        let delete = || (b"1".as_slice(), Request::Delete);
        let touch = (b"1".as_slice(), Request::Touch);
        let plan = plan(
            &declaration(),
            all(vec![touch, delete(), delete()]),
            &mut fake,
        )
        .unwrap();
        assert_eq!(fake.loads, 1);
        // One for each of the two payloads of the touch and of the delete.
        assert_eq!(plan.payloads.len(), 4);
    }
}
