//! The filters of a reader: WHERE, and the SHARD of a cursor.

use crate::entity::event::Event;
use crate::entity::operation::Operations;
use crate::slot::CRC16;
use std::collections::{BTreeSet, HashSet};

/// Conditions that an event must meet, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// ENTITY: the name of the entity type.
    pub entity: Option<&'a [u8]>,
    /// OPS: the operations.
    pub operations: Option<Operations>,
    /// FIELDS: an update must change one of these.
    pub fields: Option<BTreeSet<&'a [u8]>>,
    /// META: pairs that the event must have, all of them.
    pub meta: BTreeSet<(&'a [u8], &'a [u8])>,
    /// SHARD: the reader's share of all entities.
    pub shard: Option<Shard>,
}

/// Reader `index` of `count`; entities are assigned by a hash of their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The reader's index, smaller than the count.
    pub index: u64,
    /// The number of readers.
    pub count: u64,
}

impl Filter<'_> {
    /// Whether every entry passes.
    pub fn is_empty(&self) -> bool {
        !self.has_where() && self.shard.is_none()
    }

    /// Whether WHERE asks for anything.
    pub fn has_where(&self) -> bool {
        let Filter {
            entity,
            operations,
            fields,
            meta,
            shard: _,
        } = self;
        entity.is_some() || operations.is_some() || fields.is_some() || !meta.is_empty()
    }

    /// Whether the reader gets an entry. `None` is an entry that the module did not write.
    pub fn takes(&self, event: Option<&Event>) -> bool {
        match event {
            Some(event) => self.takes_event(event),
            // Such an entry belongs to no entity, so the first shard gets it.
            None => !self.has_where() && self.shard.is_none_or(|shard| shard.index == 0),
        }
    }

    fn takes_event(&self, event: &Event) -> bool {
        let is_of = |shard: Shard| {
            let hash = u64::from(CRC16.checksum(&event.id));
            hash.checked_rem(shard.count) == Some(shard.index)
        };
        let has_meta = || {
            let meta = event.meta.iter();
            let meta: HashSet<(&[u8], &[u8])> =
                meta.map(|(name, value)| (&**name, &**value)).collect();
            self.meta.iter().all(|pair| meta.contains(pair))
        };
        self.entity.is_none_or(|entity| *event.entity == *entity)
            && self
                .operations
                .is_none_or(|operations| operations.contains(event.operation.into()))
            && self.fields.as_ref().is_none_or(|fields| {
                Operations::from(event.operation) != Operations::UPDATE || event.changed(fields)
            })
            && (self.meta.is_empty() || self.meta.len() <= event.meta.len() && has_meta())
            && self.shard.is_none_or(is_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::event::Change;
    use crate::entity::operation::Operation;
    use crate::entity::value::FieldType;

    fn event(operation: Operation) -> Event<'static> {
        let text = |text: &'static str| Some((FieldType::String, text.as_bytes().into()));
        Event {
            entity: b"user".into(),
            id: b"123456789".into(),
            operation,
            changes: vec![Change {
                field: b"a".into(),
                old: text("1"),
                new: text("2"),
            }]
            .into(),
            before: Default::default(),
            after: Default::default(),
            touch: false,
            version: None,
            meta: vec![(b"actor".into(), b"me".into())].into(),
        }
    }

    fn entity(name: &str) -> Filter<'_> {
        Filter {
            entity: Some(name.as_bytes()),
            ..Filter::default()
        }
    }

    fn operations(letters: &str) -> Filter<'_> {
        Filter {
            operations: Some(Operations::from_letters(letters.as_bytes()).unwrap()),
            ..Filter::default()
        }
    }

    fn fields<'a>(names: &[&'a str]) -> Filter<'a> {
        Filter {
            fields: Some(names.iter().map(|name| name.as_bytes()).collect()),
            ..Filter::default()
        }
    }

    fn meta<'a>(pairs: &[(&'a str, &'a str)]) -> Filter<'a> {
        let pairs = pairs.iter();
        Filter {
            meta: pairs
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect(),
            ..Filter::default()
        }
    }

    fn shard(index: u64, count: u64) -> Filter<'static> {
        Filter {
            shard: Some(Shard { index, count }),
            ..Filter::default()
        }
    }

    #[test]
    fn an_event_is_taken_if_all_of_the_filter_holds() {
        // The checksum of the id is 0x31c3.
        let of_other = Filter {
            shard: shard(3, 16).shard,
            ..entity("other")
        };
        for (filter, inserted, updated) in [
            (Filter::default(), true, true),
            (entity("user"), true, true),
            (entity("use"), false, false),
            (operations("U"), false, true),
            (operations("DI"), true, false),
            (fields(&["b", "a"]), true, true),
            (fields(&["b"]), true, false),
            (fields(&[]), true, false),
            (meta(&[("actor", "me")]), true, true),
            (meta(&[("actor", "you")]), false, false),
            (meta(&[("actor", "me"), ("x", "")]), false, false),
            (shard(3, 16), true, true),
            (shard(2, 16), false, false),
            (of_other, false, false),
        ] {
            let taken =
                [Operation::Insert, Operation::Update].map(|o| filter.takes(Some(&event(o))));
            assert_eq!(taken, [inserted, updated], "{filter:?}");
        }
    }

    #[test]
    fn entries_of_other_writers_pass_empty_filters_and_the_first_shard_only() {
        for (filter, taken) in [
            (Filter::default(), true),
            (entity("user"), false),
            (shard(0, 4), true),
            (shard(1, 4), false),
            (
                Filter {
                    operations: Some(Operations::all()),
                    ..shard(0, 4)
                },
                false,
            ),
        ] {
            assert_eq!(filter.takes(None), taken, "{filter:?}");
        }
    }
}
