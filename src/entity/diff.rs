//! What changes between a stored state and the fields of a flush.

use super::declaration::Declaration;
use super::event::Change;
use super::flush::{Fields, Write};
use super::snapshot::{Finder, Snapshot, MARKER, NOTHING};
use super::value::FieldType;
use crate::error::{Error, Quoted};
use std::borrow::Cow;
use std::collections::HashSet;

/// Whether the fields of a flush are all there are, or only those to change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Whole,
    Named,
}

/// What changes between a stored state and the fields of a flush.
pub struct Diff<'s, 'a> {
    /// New values to store.
    set: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    /// Stored fields that become null.
    unset: Vec<&'s [u8]>,
    pub changes: Vec<Change<'s>>,
    /// How many fields there are afterwards.
    remaining: usize,
}

impl<'s, 'a: 's> Diff<'s, 'a> {
    pub fn new(
        declaration: &Declaration,
        state: Option<&'s Snapshot>,
        fields: Fields<'a>,
        scope: Scope,
    ) -> Result<Self, Error> {
        let state = state.unwrap_or(&NOTHING);
        let mut finder = Finder::new(state, fields.len());
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
                    let text = canonical(field_type, field, text)?;
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

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn into_write(self, state: Option<&Snapshot>) -> Write<'a> {
        let marked = state.is_some_and(|state| state.marked);
        let mark = self.remaining == 0;
        Write::Change {
            set: self.set,
            unset: self.unset.into_iter().map(<[u8]>::to_vec).collect(),
            marker: (marked != mark).then_some(mark),
        }
    }
}

/// The canonical text of a value for a field.
fn canonical<'a>(
    field_type: FieldType,
    field: &[u8],
    text: Cow<'a, [u8]>,
) -> Result<Cow<'a, [u8]>, Error> {
    match text {
        Cow::Borrowed(text) => field_type.check(field, text),
        Cow::Owned(text) => Ok(field_type.check(field, &text)?.into_owned().into()),
    }
}
