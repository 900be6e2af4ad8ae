//! Which events a reader wants: WHERE, and the SHARD of a cursor.

use crate::entity::event::Event;
use crate::entity::operation::{Operation, Operations};
use crate::slot::CRC16;
use std::collections::{BTreeMap, BTreeSet};

/// WHERE. Filters of one kind, and META of one name, mean *one of these*; different kinds must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// ENTITY: names of entities; empty for all.
    pub entities: BTreeSet<Vec<u8>>,
    /// ID: ids of entities; empty for all.
    pub ids: BTreeSet<Vec<u8>>,
    /// OPS; several OPS join.
    pub operations: Option<Operations>,
    /// FIELDS, of updates: one of these changed. Several FIELDS join.
    pub fields: Option<BTreeSet<Vec<u8>>>,
    /// META: for each name, the values.
    pub meta: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

/// Reader `index` of `count`; entities are assigned by a hash of their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    /// At least 1.
    pub count: u64,
}

impl Filter {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
            && self.ids.is_empty()
            && self.operations.is_none()
            && self.fields.is_none()
            && self.meta.is_empty()
    }

    /// The words behind WHERE that say the same.
    pub fn args(&self) -> Vec<Vec<u8>> {
        let mut args: Vec<Vec<u8>> = Vec::new();
        let mut list = |word: &[u8], names: &BTreeSet<Vec<u8>>| {
            args.extend([word.to_vec(), names.len().to_string().into_bytes()]);
            args.extend(names.iter().cloned());
        };
        if !self.ids.is_empty() {
            list(b"ID", &self.ids);
        }
        if let Some(fields) = &self.fields {
            list(b"FIELDS", fields);
        }
        for entity in &self.entities {
            args.extend([b"ENTITY".to_vec(), entity.clone()]);
        }
        if let Some(operations) = self.operations {
            args.extend([b"OPS".to_vec(), operations.name().into_bytes()]);
        }
        for (name, values) in &self.meta {
            for value in values {
                args.extend([b"META".to_vec(), name.clone(), value.clone()]);
            }
        }
        args
    }

    /// Whether an entry passes; `None` is one that is no event, which passes an empty filter only.
    pub fn takes(&self, event: Option<&Event>) -> bool {
        match event {
            Some(event) => self.takes_event(event),
            None => self.is_empty(),
        }
    }

    fn takes_event(&self, event: &Event) -> bool {
        let has_meta = |(name, values): (&Vec<u8>, &BTreeSet<Vec<u8>>)| {
            let mut pairs = event.meta.iter();
            pairs.any(|(other, value)| **other == **name && values.contains(&**value))
        };
        (self.entities.is_empty() || self.entities.contains(&*event.entity))
            && (self.ids.is_empty() || self.ids.contains(&*event.id))
            && self
                .operations
                .is_none_or(|operations| operations.contains(event.operation.into()))
            && self
                .fields
                .as_ref()
                .is_none_or(|fields| changes_one_of(event, fields))
            && self.meta.iter().all(has_meta)
    }
}

/// Whether FIELDS lets an event pass: it is no update, one of the fields changed, or it does not tell.
fn changes_one_of(event: &Event, fields: &BTreeSet<Vec<u8>>) -> bool {
    let tells = event.touch
        || !event.changes.is_empty()
        || !event.before.is_empty()
        || !event.after.is_empty();
    if event.operation != Operation::Update || !tells {
        return true;
    }
    let fields = fields.iter().map(Vec::as_slice).collect();
    event.changed(&fields)
}

impl Shard {
    /// Whether an entry belongs to this shard. What is of no entity belongs to the first.
    pub fn takes(self, event: Option<&Event>) -> bool {
        match event {
            Some(event) => {
                let hash = u64::from(CRC16.checksum(&event.id));
                hash.checked_rem(self.count) == Some(self.index)
            }
            None => self.index == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::event::Change;
    use crate::entity::value::FieldType;

    fn event(operation: Operation, field: &'static str) -> Event<'static> {
        let text = |text: &'static str| Some((FieldType::String, text.as_bytes().into()));
        let change = Change {
            field: field.as_bytes().into(),
            old: text("1"),
            new: text("2"),
        };
        let changes = Some(change).filter(|_| !field.is_empty());
        Event {
            entity: b"user".into(),
            id: b"123456789".into(),
            operation,
            changes: changes.into_iter().collect::<Vec<_>>().into(),
            before: Default::default(),
            after: Default::default(),
            touch: false,
            version: None,
            meta: vec![(b"actor".into(), b"me".into())].into(),
        }
    }

    fn set(names: &[&str]) -> BTreeSet<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn one_of_each_kind_is_enough_and_every_kind_must_hold() {
        let insert = event(Operation::Insert, "a");
        let update = event(Operation::Update, "a");
        let keys_only = event(Operation::Update, "");
        let entities = |filter: &mut Filter, names: &[&str]| filter.entities = set(names);
        let ids = |filter: &mut Filter, ids: &[&str]| filter.ids = set(ids);
        let fields = |filter: &mut Filter, names: &[&str]| filter.fields = Some(set(names));
        let actors = |filter: &mut Filter, values: &[&str]| {
            filter.meta = BTreeMap::from([(b"actor".to_vec(), set(values))]);
        };
        type Set<'s> = &'s dyn Fn(&mut Filter);
        let table: [(Set, [bool; 3]); 11] = [
            (&|_| (), [true; 3]),
            (&|filter| entities(filter, &["x", "user"]), [true; 3]),
            (&|filter| entities(filter, &["x"]), [false; 3]),
            (&|filter| ids(filter, &["1", "123456789"]), [true; 3]),
            (&|filter| ids(filter, &["12345678"]), [false; 3]),
            (
                &|filter| filter.operations = Some(Operations::UPDATE),
                [false, true, true],
            ),
            (&|filter| fields(filter, &["a", "b"]), [true; 3]),
            // PAYLOAD KEYS does not tell which fields changed: it passes.
            (&|filter| fields(filter, &["b"]), [true, false, true]),
            (&|filter| actors(filter, &["you", "me"]), [true; 3]),
            (&|filter| actors(filter, &["you"]), [false; 3]),
            (
                &|filter| {
                    actors(filter, &["me"]);
                    entities(filter, &["x"]);
                },
                [false; 3],
            ),
        ];
        for (set, taken) in table {
            let mut filter = Filter::default();
            set(&mut filter);
            let passed = [&insert, &update, &keys_only].map(|event| filter.takes(Some(event)));
            assert_eq!(passed, taken, "{filter:?}");
            assert_eq!(filter.takes(None), filter.is_empty());
        }
    }

    #[test]
    fn a_shard_takes_its_entities_and_the_first_what_is_no_event() {
        // The checksum of the id is 0x31c3.
        let event = event(Operation::Insert, "a");
        for (index, taken, other) in [(3, true, false), (0, false, true)] {
            let shard = Shard { index, count: 16 };
            assert_eq!(shard.takes(Some(&event)), taken);
            assert_eq!(shard.takes(None), other);
        }
    }
}
