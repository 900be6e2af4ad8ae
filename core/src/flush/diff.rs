//! The changes between a stored state and the fields of a flush.

use super::state::Write;
use crate::entity::declaration::Declaration;
use crate::entity::event::{Bytes, Change, Value};
use crate::entity::field::Fields;
use crate::entity::snapshot::{Finder, MARKER, NOTHING, Snapshot, is_same};
use crate::entity::value::{FieldType, InputValue};
use crate::error::{Error, Quoted};
use crate::unique::{Marks, Seen};
use std::collections::BTreeMap;

/// Whether the fields of a flush are all there are, or only those to change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Whole,
    Named,
}

/// The types of an entity's fields: those that are declared, else those that the flush gives.
pub struct Types<'d, 'a> {
    declaration: &'d Declaration,
    /// The types of undeclared fields, except strings.
    given: BTreeMap<Bytes<'a>, FieldType>,
}

impl<'d, 'a> Types<'d, 'a> {
    pub fn new(declaration: &'d Declaration, fields: &Fields<'a>) -> Self {
        let mut given = BTreeMap::new();
        for (field, value) in fields {
            match value {
                None | Some(InputValue::Plain(_) | InputValue::Text(_)) => {}
                Some(value) => {
                    if declaration.declared_type(field).is_none() {
                        given.insert(field.clone(), value.own_type());
                    }
                }
            }
        }
        Types { declaration, given }
    }

    pub fn declared(declaration: &'d Declaration) -> Self {
        Types {
            declaration,
            given: BTreeMap::new(),
        }
    }

    fn given(&self, field: &[u8]) -> FieldType {
        match self.given.is_empty() {
            true => FieldType::String,
            false => self.given.get(field).copied().unwrap_or_default(),
        }
    }

    /// A stored text with its field's type. Without a declared type, different texts are different values: the
    /// text has the type that the flush gives the field only if it is in the canonical form of that type.
    #[inline]
    pub fn value<'t>(&self, field: &[u8], text: &'t [u8]) -> Value<'t> {
        // Most entities have strings only.
        if self.declaration.types.is_empty() && self.given.is_empty() {
            return Some((FieldType::String, text.into()));
        }
        Some(self.typed(field, text))
    }

    #[inline(never)]
    fn typed<'t>(&self, field: &[u8], text: &'t [u8]) -> (FieldType, Bytes<'t>) {
        match self.declaration.declared_type(field) {
            Some(declared) => declared.interpret(text),
            None => match self.given(field) {
                FieldType::String => (FieldType::String, text.into()),
                given if given.holds(text) => (given, text.into()),
                _ => (FieldType::String, text.into()),
            },
        }
    }

    /// Whether a value equals the stored text of a field without a declared type. This is the common case, so it
    /// is checked first.
    fn is_same(&self, field: &[u8], given: &InputValue, stored: Option<&[u8]>) -> bool {
        stored.is_some_and(|stored| is_same(stored, given.text()))
            && self.declaration.declared_type(field).is_none()
    }

    /// A given value, if it fits its field. Where no type is declared it is taken as it was written.
    #[inline(always)]
    pub fn coerce(
        &self,
        field: &[u8],
        given: InputValue<'a>,
    ) -> Result<(FieldType, Bytes<'a>), Error> {
        match self.declaration.declared_type(field) {
            Some(declared) => Ok((declared, declared.coerce(field, given)?)),
            None => Ok((self.given(field), given.into_text())),
        }
    }
}

/// The changes for which there is room at once, when there is one.
const FEW: usize = 4;

/// The changes between a stored state and the fields of a flush.
pub struct Diff<'s, 'a> {
    /// New values to store.
    set: Vec<(Bytes<'a>, Bytes<'a>)>,
    /// Stored fields that become null.
    unset: Vec<Bytes<'s>>,
    pub changes: Vec<Change<'s>>,
    /// The fields that are named as null and were null before.
    pub nulls: Vec<Bytes<'a>>,
    /// The number of fields afterwards.
    remaining: usize,
    /// The bytes of names and values that come, and those that go.
    added: usize,
    removed: usize,
}

impl<'s, 'a: 's> Diff<'s, 'a> {
    pub fn new(
        types: &Types<'_, 'a>,
        state: Option<&'s Snapshot<'a>>,
        mut fields: Fields<'a>,
        scope: Scope,
    ) -> Result<Self, Error> {
        let state = state.unwrap_or(&NOTHING);
        let mut finder = Finder::new(state, fields.len());
        // Of a new entity all fields are changes; of others, most often few.
        let expected = match state.is_empty() {
            true => fields.len(),
            false => 0,
        };
        let mut diff = Diff {
            set: Vec::with_capacity(expected),
            unset: Vec::new(),
            changes: Vec::with_capacity(expected),
            nulls: Vec::new(),
            remaining: state.len(),
            added: 0,
            removed: 0,
        };
        let mut named = Marks::new(state.len());
        let mut others = Seen::with_capacity(expected);
        for (field, value) in &mut fields {
            if **field == *MARKER {
                return Err(Error::ReservedField);
            }
            let stored = finder.find(field);
            let is_new = match stored {
                Some((index, _)) => named.mark(index),
                None => others.insert(field.clone()),
            };
            if !is_new {
                return Err(Error::DuplicateField(Quoted::new(field)));
            }
            let stored = stored.map(|(_, old)| old);
            if let Some(given) = value
                && types.is_same(field, given, stored)
            {
                continue;
            }
            let field = std::mem::take(field);
            match (value.take(), stored) {
                (Some(given), _) => {
                    let new = types.coerce(&field, given)?;
                    diff.assign(types, field, new, stored);
                }
                (None, Some(old)) => diff.clear(types, field, old),
                (None, None) => diff.nulls.push(field),
            }
        }
        if scope == Scope::Whole && !named.are_all() {
            let stored = state.iter().enumerate();
            let left_out = stored.filter(|(index, _)| !named.has(*index));
            let mut left_out: Vec<_> = left_out.map(|(_, pair)| pair).collect();
            left_out.sort_unstable();
            for (field, old) in left_out {
                diff.clear(types, field.into(), old);
            }
        }
        Ok(diff)
    }

    fn assign(
        &mut self,
        types: &Types<'_, 'a>,
        field: Bytes<'a>,
        new: (FieldType, Bytes<'a>),
        stored: Option<&'s [u8]>,
    ) {
        if stored == Some(&*new.1) {
            return;
        }
        let old = stored.and_then(|old| types.value(&field, old));
        if old.as_ref() == Some(&new) {
            return; // stored in another text of the same value, before the type was declared
        }
        self.added = self.added.saturating_add(new.1.len());
        match stored {
            Some(stored) => self.removed = self.removed.saturating_add(stored.len()),
            None => {
                self.added = self.added.saturating_add(field.len());
                self.remaining = self.remaining.saturating_add(1);
            }
        }
        if self.set.capacity() == 0 {
            self.set = Vec::with_capacity(FEW);
        }
        self.set.push((field.clone(), new.1.clone()));
        self.change(Change {
            field,
            old,
            new: Some(new),
        });
    }

    fn clear(&mut self, types: &Types<'_, 'a>, field: Bytes<'s>, old: &'s [u8]) {
        debug_assert!(self.remaining > 0, "a stored field is counted");
        self.remaining = self.remaining.saturating_sub(1);
        self.removed = self
            .removed
            .saturating_add(field.len().saturating_add(old.len()));
        let old = types.value(&field, old);
        self.unset.push(field.clone());
        self.change(Change {
            field,
            old,
            new: None,
        });
    }

    #[inline(always)]
    fn change(&mut self, change: Change<'s>) {
        if self.changes.capacity() == 0 {
            self.changes = Vec::with_capacity(FEW);
        }
        self.changes.push(change);
    }

    /// The number of fields that the entity has afterwards.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Whether the entity has more bytes afterwards than before.
    pub fn grows(&self) -> bool {
        self.added > self.removed
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn into_write(self, state: Option<&Snapshot>) -> Write<'a> {
        let state = state.unwrap_or(&NOTHING);
        let mark = self.remaining == 0;
        // A tombstone's marker is another one than that of an entity without fields.
        let is_right = state.marked == mark && !(mark && state.buried);
        Write::Change {
            replaces_tombstone: false,
            persist: state.buried,
            set: self.set,
            unset: self.unset.into_iter().map(Bytes::into_owned).collect(),
            marker: (!is_right).then_some(mark),
        }
    }
}
