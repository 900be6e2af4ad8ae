//! Operations on types that keep no snapshots: each brings what was before.

use super::plan::Planner;
use super::publish::{Happening, Images};
use super::{Effect, Fields, Request, Step};
use crate::entity::diff::Types;
use crate::entity::event::{Bytes, Change, Value};
use crate::entity::operation::Operation;
use crate::entity::snapshot::MARKER;
use crate::error::{Error, Quoted};
use std::collections::BTreeMap;

/// Fields and their values by name, none null.
type State<'a> = BTreeMap<Bytes<'a>, Value<'a>>;

impl<'a> Planner<'_, 'a> {
    pub fn stateless(&mut self, id: &'a [u8], request: Request<'a>) -> Result<Step<'a>, Error> {
        let (operation, old, new) = match request {
            Request::Insert(new) => (Operation::Insert, Fields::new(), new),
            Request::Replace { old, new } => (Operation::Update, old, new),
            Request::Delete(old) => (Operation::Delete, old.unwrap_or_default(), Fields::new()),
            Request::Snapshot(_) => return Err(Error::NeedsSnapshots("SNAPSHOT")),
            Request::Seed(_) => return Err(Error::NeedsSnapshots("SEED")),
            Request::Update(_) | Request::Touch => return Err(Error::Internal), // not parsed so, not sent here
        };
        let (old, new) = (self.state(old)?, self.state(new)?);
        let changes = changes(&old, &new);
        if operation == Operation::Update && changes.is_empty() {
            return Ok(self.nothing(id, Effect::None));
        }
        let turned = match operation {
            Operation::Delete => None,
            operation => self.turned(&changes, operation == Operation::Update),
        };
        let operation = turned.unwrap_or(operation);
        let happening = Happening {
            fake: turned.is_some(),
            changes: &changes,
            images: Images {
                before: old.into_iter().collect(),
                after: new.into_iter().collect(),
            },
            ..Happening::new(operation)
        };
        let publications = self.publish(id, &happening)?;
        Ok(self.done(id, operation.into(), &changes, None, publications))
    }

    fn state(&self, fields: Fields<'a>) -> Result<State<'a>, Error> {
        let types = Types::new(self.declaration, &fields);
        let mut nulls = State::new();
        let mut state = State::new();
        for (field, value) in fields {
            if *field == *MARKER {
                return Err(Error::ReservedField);
            }
            if state.contains_key(&field) || nulls.contains_key(&field) {
                return Err(Error::DuplicateField(Quoted::new(&field)));
            }
            match value {
                Some(given) => {
                    let value = types.take(&field, given)?;
                    state.insert(field, Some(value));
                }
                None => {
                    nulls.insert(field, None);
                }
            }
        }
        Ok(state)
    }
}

/// What differs, in the order of names. A text of two types is one value: `5` is `"5"`, as it is where
/// snapshots are kept.
fn changes<'a>(old: &State<'a>, new: &State<'a>) -> Vec<Change<'a>> {
    let text = |value: &Value<'a>| value.as_ref().map(|(_, text)| text.clone());
    let value = |state: &State<'a>, field: &Bytes<'a>| state.get(field).cloned().flatten();
    let gone = old.keys().filter(|field| !new.contains_key(*field));
    let mut fields: Vec<_> = gone.chain(new.keys()).collect();
    fields.sort_unstable();
    let changes = fields.into_iter().map(|field| Change {
        field: field.clone(),
        old: value(old, field),
        new: value(new, field),
    });
    changes
        .filter(|change| text(&change.old) != text(&change.new))
        .collect()
}
