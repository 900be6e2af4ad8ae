//! The state of one entity: its fields that are not null.

use super::bytes::is_equal;
use super::event::Version;
use super::field::Field;
use super::value::InputValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The reserved hash field. If it is empty, the entity exists, and all its fields are null. If it is the only
/// field and not empty, the entity is deleted, and the marker holds its version.
pub const MARKER: &[u8] = b"@";

/// Fields and values in the order in which they were stored. Fields that equal those of a flush borrow its
/// bytes; the bytes of the others share one buffer. So reading an entity of 500 fields takes a few allocations
/// instead of a thousand.
#[derive(Clone, Debug, Default)]
pub struct Snapshot<'g> {
    bytes: Vec<u8>,
    fields: Vec<FieldBytes<'g>>,
    /// The number of stored fields that were not loaded.
    pub others: usize,
    /// Whether the stored hash has the marker, which it should have if and only if there are no fields.
    pub marked: bool,
    /// Whether the marker is not empty: it is that of a tombstone, to which somebody has added fields. The
    /// hash has a tombstone's time to live, too.
    pub buried: bool,
    /// The version in such a marker, if it is one.
    pub buried_version: Option<Version>,
}

/// The bytes of a field's name and value.
#[derive(Clone, Debug)]
enum FieldBytes<'g> {
    Borrowed(&'g [u8], &'g [u8]),
    Own(Range<usize>, Range<usize>),
}

/// The state of an entity that does not exist yet.
pub static NOTHING: Snapshot = Snapshot {
    bytes: Vec::new(),
    fields: Vec::new(),
    others: 0,
    marked: false,
    buried: false,
    buried_version: None,
};

impl<'g> Snapshot<'g> {
    /// An empty snapshot with room for this many fields.
    pub fn with_capacity(fields: usize) -> Self {
        Snapshot {
            bytes: Vec::new(),
            fields: Vec::with_capacity(fields),
            others: 0,
            marked: false,
            buried: false,
            buried_version: None,
        }
    }

    /// Adds a field, whose bytes are borrowed.
    pub fn borrow(&mut self, field: &'g [u8], value: &'g [u8]) {
        self.fields.push(FieldBytes::Borrowed(field, value));
    }

    /// Adds a field, whose bytes are copied.
    pub fn push(&mut self, field: &[u8], value: &[u8]) {
        let field = FieldBytes::Own(self.append(field), self.append(value));
        self.fields.push(field);
    }

    fn append(&mut self, text: &[u8]) -> Range<usize> {
        if self.bytes.capacity() == 0 {
            // Enough for fields of ordinary size.
            self.bytes = Vec::with_capacity(self.fields.capacity().saturating_mul(32));
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        start..self.bytes.len()
    }

    /// Sets fields and deletes others, in place.
    pub fn change<N: AsRef<[u8]>, V: AsRef<[u8]>, U: AsRef<[u8]>>(
        &mut self,
        set: &[(N, V)],
        unset: &[U],
    ) {
        let mut finder = Finder::new(self, set.len().saturating_add(unset.len()));
        let mut index_of = |field: &[u8]| finder.find(field).map(|(index, _)| index);
        let old: Vec<_> = set
            .iter()
            .map(|(field, _)| index_of(field.as_ref()))
            .collect();
        let gone: HashSet<_> = unset
            .iter()
            .filter_map(|field| index_of(field.as_ref()))
            .collect();
        for ((field, value), old) in set.iter().zip(old) {
            // The old bytes stay in the buffer, unused.
            let new = FieldBytes::Own(self.append(field.as_ref()), self.append(value.as_ref()));
            match old.and_then(|index| self.fields.get_mut(index)) {
                Some(bytes) => *bytes = new,
                None => self.fields.push(new),
            }
        }
        if gone.is_empty() {
            return;
        }
        let mut index = 0usize..;
        self.fields
            .retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
    }

    /// The number of fields, with those that were not loaded.
    pub fn len(&self) -> usize {
        self.fields.len().saturating_add(self.others)
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of bytes that are not borrowed.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The field at an index, and its value.
    #[inline]
    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        Some(match self.fields.get(index)? {
            FieldBytes::Borrowed(field, value) => (field, value),
            FieldBytes::Own(field, value) => (
                self.bytes.get(field.clone())?,
                self.bytes.get(value.clone())?,
            ),
        })
    }

    /// All loaded fields and their values, in the order in which they were stored.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.fields.len()).filter_map(|index| self.at(index))
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Snapshot<'_> {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(pairs: I) -> Self {
        let mut snapshot = Snapshot::default();
        for (field, value) in pairs {
            snapshot.push(field, value);
        }
        snapshot
    }
}

/// Builds a snapshot field by field, and borrows from the fields of a flush where they are equal.
pub struct SnapshotBuilder<'f, 'g> {
    /// The snapshot so far.
    pub snapshot: Snapshot<'g>,
    /// The fields of the flush that are still to be compared.
    given: std::slice::Iter<'f, Field<'g>>,
}

impl<'f, 'g> SnapshotBuilder<'f, 'g> {
    /// A builder for a stored hash of this many fields and the fields of a flush.
    pub fn new(fields: usize, given: &'f [Field<'g>]) -> Self {
        SnapshotBuilder {
            snapshot: Snapshot::with_capacity(fields),
            given: given.iter(),
        }
    }

    /// Adds a field. Clients usually name fields in the order in which they were first stored, so each stored field
    /// is compared with only one of theirs.
    pub fn push(&mut self, field: &[u8], value: &[u8]) {
        let next = self.given.as_slice().first();
        let Some((name, given)) = next.filter(|(name, _)| is_equal(name, field)) else {
            return self.snapshot.push(field, value);
        };
        self.given.next();
        let text = given.as_ref().and_then(InputValue::borrowed);
        match (name, text) {
            (Cow::Borrowed(name), Some(text)) if is_equal(text, value) => {
                self.snapshot.borrow(name, text);
            }
            _ => self.snapshot.push(field, value),
        }
    }
}

/// Whether two texts are equal. Texts at the same address are not compared.
#[inline]
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    std::ptr::eq(a, b) || a == b
}

/// Finds fields by name. Clients usually name them in the order in which they were first stored, so the field
/// after the last hit is tried first. Otherwise the snapshot is searched, or indexed if it has many fields and
/// many are to be found.
pub struct Finder<'s> {
    snapshot: &'s Snapshot<'s>,
    expected: usize,
    indexed: bool,
    index: Option<HashMap<&'s [u8], usize>>,
}

impl<'s> Finder<'s> {
    /// Indexing a field costs about as much as passing over 32.
    const SEARCHED: usize = 32;

    /// A finder of this many fields in a snapshot.
    pub fn new(snapshot: &'s Snapshot<'s>, fields_to_find: usize) -> Self {
        Finder {
            snapshot,
            expected: 0,
            indexed: snapshot.fields.len() > Self::SEARCHED && fields_to_find > Self::SEARCHED,
            index: None,
        }
    }

    /// The index and the value of a field.
    #[inline]
    pub fn find(&mut self, field: &[u8]) -> Option<(usize, &'s [u8])> {
        let found = match self.value_at(self.expected, field) {
            Some(found) => found,
            None if self.snapshot.fields.is_empty() => return None,
            None => self.search(field)?,
        };
        self.expected = found.0.saturating_add(1);
        Some(found)
    }

    #[inline]
    fn value_at(&self, index: usize, field: &[u8]) -> Option<(usize, &'s [u8])> {
        match self.snapshot.at(index)? {
            (name, value) if is_same(name, field) => Some((index, value)),
            _ => None,
        }
    }

    #[inline(never)]
    fn search(&mut self, field: &[u8]) -> Option<(usize, &'s [u8])> {
        let snapshot = self.snapshot;
        if !self.indexed {
            let mut indexes = 0..snapshot.fields.len();
            return indexes.find_map(|index| self.value_at(index, field));
        }
        let index = self.index.get_or_insert_with(|| {
            let names = snapshot.iter().map(|(name, _)| name);
            names.zip(0..).collect()
        });
        let found = *index.get(field)?;
        self.value_at(found, field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_changed_in_place() {
        let mut snapshot: Snapshot = [("a", "1"), ("b", "2"), ("c", "3")]
            .map(|(field, value)| (field.as_bytes(), value.as_bytes()))
            .into_iter()
            .collect();
        snapshot.change(&[("b", "two"), ("d", "4")], &["a", "other"]);
        let pairs: Vec<_> = snapshot.iter().collect();
        let expected = [("b", "two"), ("c", "3"), ("d", "4")];
        assert_eq!(pairs, expected.map(|(f, v)| (f.as_bytes(), v.as_bytes())));
    }

    #[test]
    fn fields_are_found_in_any_order_in_short_and_long_snapshots() {
        for length in [0usize, 1, 5, 32, 33, 500] {
            let names: Vec<String> = (0..length).map(|i| format!("field{i}")).collect();
            let snapshot: Snapshot = names
                .iter()
                .map(|name| (name.as_bytes(), &name.as_bytes()[5..]))
                .collect();
            let mut finder = Finder::new(&snapshot, length);
            for index in (0..length).rev().chain(0..length) {
                let value = index.to_string();
                assert_eq!(
                    finder.find(names[index].as_bytes()),
                    Some((index, value.as_bytes()))
                );
                assert_eq!(finder.find(b"other"), None);
            }
        }
    }

    fn text() -> impl Strategy<Value = &'static [u8]> {
        prop::sample::select(b"abc".chunks(1).collect::<Vec<_>>())
    }

    proptest! {
        /// Whatever a flush gives: in another order, more, less, null, not as text of its own.
        #[test]
        fn a_snapshot_is_read_as_it_is_stored(
            stored in prop::collection::vec((text(), text()), 0..4),
            given in prop::collection::vec((text(), prop::option::of((text(), any::<bool>()))), 0..4),
        ) {
            let given: Vec<Field> = given
                .into_iter()
                .map(|(name, value)| {
                    let value = value.map(|(text, owned)| match owned {
                        true => InputValue::Text(text.to_vec().into()),
                        false => InputValue::Plain(text),
                    });
                    (name.into(), value)
                })
                .collect();
            let mut builder = SnapshotBuilder::new(stored.len(), &given);
            for (field, value) in &stored {
                builder.push(field, value);
            }
            let read: Vec<_> = builder.snapshot.iter().collect();
            prop_assert_eq!(read, stored);
        }
    }
}
