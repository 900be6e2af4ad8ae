//! What a flush does: from the declaration, the stored snapshots and the operations asked for, to the
//! writes and events that follow. Nothing is written here, so a plan that fails has changed nothing.

use super::declaration::{Declaration, Payload, Stream};
use super::event::{Change, Event};
use super::operation::{Operation, Operations};
use super::snapshot::{Finder, Snapshot, MARKER, NOTHING};
use super::value::FieldType;
use crate::encoding;
use crate::error::{Error, Quoted};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;

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
    pub const ALL: [Effect; 6] = [
        Effect::Insert,
        Effect::Update,
        Effect::Delete,
        Effect::None,
        Effect::Touch,
        Effect::Seed,
    ];

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
    /// Encoded events; streams with the same payload share one.
    pub payloads: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub struct Step<'a> {
    pub id: &'a [u8],
    pub effect: Effect,
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
    requests: Vec<(&'a [u8], Request<'a>)>,
    stored: &mut impl Snapshots,
) -> Result<Plan<'a>, Error> {
    let mut planner = Planner {
        declaration,
        plan: Plan::default(),
    };
    // Only an entity that comes again needs its new state remembered.
    let mut states: HashMap<&[u8], Option<Snapshot>> = HashMap::new();
    let many = requests.len() > 1;
    for (id, request) in requests {
        let loaded;
        let state = match states.get(id) {
            Some(state) => state,
            None => {
                loaded = stored.load(id)?;
                &loaded
            }
        };
        let step = planner.step(id, request, state.as_ref())?;
        if many {
            let after = after(state.as_ref(), step.write.as_ref());
            states.insert(id, after);
        }
        planner.plan.steps.push(step);
    }
    Ok(planner.plan)
}

struct Planner<'d, 'a> {
    declaration: &'d Declaration,
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
            write: None,
            publications: Vec::new(),
        };
        let (effect, diff) = match (request, state) {
            (Request::Touch, None) => return Err(Error::NoEntity(Quoted::new(id))),
            (Request::Touch, Some(_)) => {
                return Ok(Step {
                    effect: Effect::Touch,
                    publications: self.touch(id),
                    ..none
                })
            }
            (Request::Delete, None) => return Ok(none),
            (Request::Delete, Some(state)) => {
                return Ok(Step {
                    effect: Effect::Delete,
                    write: Some(Write::Delete),
                    publications: self.delete(id, state),
                    ..none
                })
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
        let publications = match effect {
            Effect::Insert => self.publish(id, Operation::Insert, &diff.changes),
            Effect::Update => self.publish(id, Operation::Update, &diff.changes),
            _ => Vec::new(),
        };
        Ok(Step {
            effect,
            write: Some(diff.into_write(state)),
            publications,
            ..none
        })
    }

    fn delete(&mut self, id: &[u8], state: &Snapshot) -> Vec<Publication> {
        let declaration = self.declaration;
        let full = |stream: &Stream| {
            stream.payload == Payload::Full && stream.operations.contains(Operations::DELETE)
        };
        let mut changes: Vec<Change> = Vec::new();
        if declaration.streams.iter().any(full) {
            changes.extend(state.iter().map(|(field, value)| Change {
                field: field.into(),
                old: declaration.value(field, value),
                new: None,
            }));
            // A large hash gives its fields in an order of its own; events have one.
            changes.sort_by(|a, b| a.field.cmp(&b.field));
        }
        self.publish(id, Operation::Delete, &changes)
    }

    /// Every stream with `U` gets an update without changes.
    fn touch(&mut self, id: &[u8]) -> Vec<Publication> {
        let wanted = |stream: &Stream| stream.operations.contains(Operations::UPDATE);
        self.encode(id, Operation::Update, &[], wanted)
    }

    fn publish(&mut self, id: &[u8], operation: Operation, changes: &[Change]) -> Vec<Publication> {
        self.encode(id, operation, changes, |stream| {
            stream.publishes(operation, changes.iter().map(|change| &*change.field))
        })
    }

    fn encode(
        &mut self,
        id: &[u8],
        operation: Operation,
        changes: &[Change],
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

/// Which of the changes a payload carries.
fn carried<'c, 'a>(
    payload: Payload,
    operation: Operation,
    changes: &'c [Change<'a>],
) -> &'c [Change<'a>] {
    match (payload, operation) {
        (Payload::Full, _) | (Payload::Changes, Operation::Update) => changes,
        (Payload::Keys, _) | (Payload::Changes, Operation::Insert | Operation::Delete) => &[],
    }
}

/// Whether the fields of a flush are all there are, or only those to change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Whole,
    Named,
}

/// What changes between a stored state and the fields of a flush.
struct Diff<'s, 'a> {
    /// New values to store.
    set: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    /// Stored fields that become null.
    unset: Vec<&'s [u8]>,
    changes: Vec<Change<'s>>,
    /// How many fields there are afterwards.
    remaining: usize,
}

impl<'s, 'a: 's> Diff<'s, 'a> {
    fn new(
        declaration: &Declaration,
        state: Option<&'s Snapshot>,
        fields: Fields<'a>,
        scope: Scope,
    ) -> Result<Self, Error> {
        let state = state.unwrap_or(&NOTHING);
        let mut finder = Finder::new(state);
        let mut diff = Diff {
            set: Vec::new(),
            unset: Vec::new(),
            changes: Vec::new(),
            remaining: state.len(),
        };
        let mut named = vec![false; state.len()];
        let mut others = HashSet::new();
        for (field, value) in fields {
            if field == MARKER {
                return Err(Error::ReservedField);
            }
            let stored = finder.find(field);
            let seen = stored.and_then(|(index, _)| named.get_mut(index));
            let again = match seen {
                Some(seen) => std::mem::replace(seen, true),
                None => !others.insert(field),
            };
            if again {
                return Err(Error::DuplicateField(Quoted::new(field)));
            }
            match (value, stored) {
                (Some(text), stored) => {
                    let field_type = declaration.field_type(field);
                    let text = check(field_type, field, text)?;
                    diff.assign(declaration, field, text, stored.map(|(_, old)| old));
                }
                (None, Some((_, old))) => diff.clear(declaration, field, old),
                (None, None) => {}
            }
        }
        if scope == Scope::Whole {
            let mut left_out: Vec<_> = state
                .iter()
                .zip(&named)
                .filter_map(|(pair, named)| (!named).then_some(pair))
                .collect();
            left_out.sort_unstable();
            for (field, old) in left_out {
                diff.clear(declaration, field, old);
            }
        }
        Ok(diff)
    }

    fn assign(
        &mut self,
        declaration: &Declaration,
        field: &'a [u8],
        text: Cow<'a, [u8]>,
        stored: Option<&'s [u8]>,
    ) {
        if stored == Some(&*text) {
            return;
        }
        let old = stored.and_then(|old| declaration.value(field, old));
        let new = Some((declaration.field_type(field), text.clone()));
        if old == new {
            return; // stored in another text of the same value, before the type was declared
        }
        if stored.is_none() {
            self.remaining = self.remaining.saturating_add(1);
        }
        self.changes.push(Change {
            field: field.into(),
            old,
            new,
        });
        self.set.push((field, text));
    }

    fn clear(&mut self, declaration: &Declaration, field: &'s [u8], old: &'s [u8]) {
        self.remaining = self.remaining.saturating_sub(1);
        self.changes.push(Change {
            field: field.into(),
            old: declaration.value(field, old),
            new: None,
        });
        self.unset.push(field);
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn into_write(self, state: Option<&Snapshot>) -> Write<'a> {
        let marked = state.is_some_and(|state| state.marked);
        let mark = self.remaining == 0;
        Write::Change {
            set: self.set,
            unset: self.unset.into_iter().map(<[u8]>::to_vec).collect(),
            marker: (marked != mark).then_some(mark),
        }
    }
}

fn check<'a>(
    field_type: FieldType,
    field: &[u8],
    text: Cow<'a, [u8]>,
) -> Result<Cow<'a, [u8]>, Error> {
    match text {
        Cow::Borrowed(text) => field_type.check(field, text),
        Cow::Owned(text) => Ok(field_type.check(field, &text)?.into_owned().into()),
    }
}

/// The state after a write, for later operations on the same entity in one command.
fn after(state: Option<&Snapshot>, write: Option<&Write>) -> Option<Snapshot> {
    match write {
        None => state.cloned(),
        Some(Write::Delete) => None,
        Some(Write::Change { set, unset, marker }) => {
            let unset: HashSet<&[u8]> = unset.iter().map(Vec::as_slice).collect();
            let mut new: HashMap<&[u8], &[u8]> = set.iter().map(|(f, v)| (*f, &**v)).collect();
            let mut next = Snapshot::default();
            for (field, value) in state.into_iter().flat_map(Snapshot::iter) {
                if !unset.contains(field) {
                    next.push(field, new.remove(field).unwrap_or(value));
                }
            }
            for (field, value) in set {
                if new.contains_key(field) {
                    next.push(field, value);
                }
            }
            next.marked = marker.unwrap_or(state.is_some_and(|state| state.marked));
            Some(next)
        }
    }
}
