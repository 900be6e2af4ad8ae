//! The state of one entity: its fields that are not null.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The reserved hash field. Empty, it stands for an entity all of whose fields are null; alone and not
/// empty, for a deleted entity, whose version it holds.
pub const MARKER: &[u8] = b"@";

/// Fields and values in the order they were stored, all bytes in one buffer: reading an entity of 500
/// fields costs a few allocations, not a thousand.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// Whether the stored hash has the marker; it should, if and only if there are no fields.
    pub marked: bool,
}

/// The state of an entity that does not exist yet.
pub static NOTHING: Snapshot = Snapshot {
    bytes: Vec::new(),
    fields: Vec::new(),
    marked: false,
};

impl Snapshot {
    /// With room for so many fields of ordinary size.
    pub fn with_capacity(fields: usize) -> Self {
        Snapshot {
            bytes: Vec::with_capacity(fields.saturating_mul(32)),
            fields: Vec::with_capacity(fields),
            marked: false,
        }
    }

    pub fn push(&mut self, field: &[u8], value: &[u8]) {
        let mut append = |text: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(text);
            start..self.bytes.len()
        };
        let pair = (append(field), append(value));
        self.fields.push(pair);
    }

    /// Gives fields values and takes others away, in place.
    pub fn change<N: AsRef<[u8]>, V: AsRef<[u8]>, U: AsRef<[u8]>>(
        &mut self,
        set: &[(N, V)],
        unset: &[U],
    ) {
        let mut finder = Finder::new(self, set.len().saturating_add(unset.len()));
        let mut place = |field: &[u8]| finder.find(field).map(|(index, _)| index);
        let old: Vec<_> = set.iter().map(|(field, _)| place(field.as_ref())).collect();
        let gone: HashSet<_> = unset
            .iter()
            .filter_map(|field| place(field.as_ref()))
            .collect();
        for ((field, value), old) in set.iter().zip(old) {
            let value = value.as_ref();
            let start = self.bytes.len();
            match old.and_then(|index| self.fields.get_mut(index)) {
                Some((_, place)) => {
                    self.bytes.extend_from_slice(value); // the old bytes stay, unused
                    *place = start..self.bytes.len();
                }
                None => self.push(field.as_ref(), value),
            }
        }
        if gone.is_empty() {
            return;
        }
        let mut index = 0usize..;
        self.fields
            .retain(|_| index.next().is_some_and(|index| !gone.contains(&index)));
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let (field, value) = self.fields.get(index)?;
        Some((
            self.bytes.get(field.clone())?,
            self.bytes.get(value.clone())?,
        ))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).filter_map(|index| self.at(index))
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Snapshot {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(pairs: I) -> Self {
        let mut snapshot = Snapshot::default();
        for (field, value) in pairs {
            snapshot.push(field, value);
        }
        snapshot
    }
}

/// Finds fields by name. Clients name them in the order in which they were first stored, more often
/// than not, so the place after the last hit is tried first. Else the entity is searched, or indexed
/// if both it and the fields to find are many.
pub struct Finder<'s> {
    snapshot: &'s Snapshot,
    expected: usize,
    indexed: bool,
    index: Option<HashMap<&'s [u8], usize>>,
}

impl<'s> Finder<'s> {
    /// To index a field takes about as long as to pass over so many.
    const SEARCHED: usize = 32;

    pub fn new(snapshot: &'s Snapshot, fields_to_find: usize) -> Self {
        Finder {
            snapshot,
            expected: 0,
            indexed: snapshot.len() > Self::SEARCHED && fields_to_find > Self::SEARCHED,
            index: None,
        }
    }

    pub fn find(&mut self, field: &[u8]) -> Option<(usize, &'s [u8])> {
        let snapshot = self.snapshot;
        let is_it = |&index: &usize| snapshot.at(index).is_some_and(|(name, _)| name == field);
        let found = if is_it(&self.expected) {
            self.expected
        } else if !self.indexed {
            (0..snapshot.len()).find(is_it)?
        } else {
            *self
                .index
                .get_or_insert_with(|| {
                    let names = snapshot.iter().map(|(name, _)| name);
                    names.zip(0..).collect()
                })
                .get(field)?
        };
        self.expected = found.saturating_add(1);
        Some((found, snapshot.at(found)?.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
