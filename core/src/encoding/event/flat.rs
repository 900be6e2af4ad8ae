//! FORMAT FLAT: an entry that needs no decoder, as Mainflux's services write theirs. Its fields are, in this order:
//!
//! | entry field | value |
//! | --- | --- |
//! | `operation` | the entity's name and `.create`, `.update` or `.remove` |
//! | `id` | the entity's id |
//! | `occurred_at` | RFC 3339 in UTC, with as many digits of a fraction as it takes, at most 9 |
//! | a field's name | its canonical text, as the snapshot has it |
//! | a name of META | its value |
//!
//! An insert and an update have all fields by name, without nulls; a TOUCH is an update, and a delete has none. A
//! pair of META takes the place of what has its name, the first three included. An entity's own field with the name
//! of one of these three is left out. All bytes are as they are, UTF-8 or not.
//!
//! The decoder takes the fields in any order. The operation may have more behind its word and a `_`: Mainflux's
//! `thing.update_group_and_profile` is an update. All other fields are `after`, as strings, since nothing tells META
//! from a field; those of a delete are META. Old values, types, the entity's version and what tells a TOUCH from an
//! update are not carried.

use super::Entry;
use super::msgpack_io::distinct;
use crate::entity::event::{Bytes, Event};
use crate::entity::operation::Operation;
use crate::entity::value::FieldType;
use std::borrow::Cow;
use std::collections::HashMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The entry's field that holds the entity's name and the operation.
pub const OPERATION: &[u8] = b"operation";
/// The entry's field that holds the entity's id.
pub const ID: &[u8] = b"id";
/// The entry's field that holds the time.
pub const OCCURRED_AT: &[u8] = b"occurred_at";

/// Encodes an event of this time, in milliseconds since 1970; `None` if it would exceed `max` bytes.
pub fn encode(event: &Event, now_ms: u64, max: usize) -> Option<Entry> {
    let image: &[_] = match event.operation {
        Operation::Insert | Operation::Update => &event.after,
        Operation::Delete => &[],
    };
    let word: &[u8] = match event.operation {
        Operation::Insert => b".create",
        Operation::Update => b".update",
        Operation::Delete => b".remove",
    };
    let operation = [&event.entity, word].concat();
    let own = [
        (OPERATION, Bytes::from(operation)),
        (ID, Bytes::from(&*event.id)),
        (OCCURRED_AT, Bytes::from(time(now_ms))),
    ];
    let fields = image
        .iter()
        .filter(|(field, _)| ![OPERATION, ID, OCCURRED_AT].contains(&&**field))
        .filter_map(|(field, value)| Some((&**field, Bytes::from(&*value.as_ref()?.1))));
    let mut pairs: Vec<(&[u8], Bytes)> = own.into_iter().chain(fields).collect();
    let indexes: HashMap<&[u8], usize> = match event.meta.is_empty() {
        true => HashMap::new(),
        false => pairs.iter().map(|(name, _)| *name).zip(0..).collect(),
    };
    for (name, value) in event.meta.iter() {
        let same = indexes.get(&**name).and_then(|index| pairs.get_mut(*index));
        match same {
            Some((_, replaced)) => *replaced = Bytes::from(&**value),
            None => pairs.push((name, Bytes::from(&**value))),
        }
    }
    let sizes = pairs
        .iter()
        .flat_map(|(name, value)| [name.len(), value.len()]);
    if sizes.fold(0, usize::saturating_add) > max {
        return None;
    }
    let entry = pairs.into_iter().map(|(name, value)| {
        let name = match name {
            OPERATION => Cow::Borrowed(OPERATION),
            ID => Cow::Borrowed(ID),
            OCCURRED_AT => Cow::Borrowed(OCCURRED_AT),
            other => Cow::Owned(other.to_vec()),
        };
        (name, value.into_owned())
    });
    Some(entry.collect())
}

/// RFC 3339 in UTC; the last ms of the year 9999 for what is later.
fn time(now_ms: u64) -> Vec<u8> {
    const LAST_MS: u64 = 253_402_300_799_999;
    let ns = i128::from(now_ms.min(LAST_MS)).saturating_mul(1_000_000);
    let time = OffsetDateTime::from_unix_timestamp_nanos(ns);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(&Rfc3339);
    debug_assert!(time.is_ok(), "its year has four digits");
    time.unwrap_or_default().into_bytes()
}

/// Decodes an event from an entry's fields. `None` if one of the three names is missing, the operation is another
/// one, the time is none, or a field is repeated.
pub fn decode<'e>(fields: &[(&'e [u8], &'e [u8])]) -> Option<Event<'e>> {
    let (mut operation, mut id, mut occurred_at) = (None, None, None);
    let mut others = Vec::new();
    for (name, value) in fields {
        let slot = match *name {
            OPERATION => &mut operation,
            ID => &mut id,
            OCCURRED_AT => &mut occurred_at,
            name => {
                others.push((Bytes::from(name), *value));
                continue;
            }
        };
        if slot.replace(*value).is_some() {
            return None;
        }
    }
    let (entity, operation) = read_operation(operation?)?;
    FieldType::Time.canonical(occurred_at?)?;
    let id = id?;
    if !distinct(others.iter().map(|(name, _)| name)) {
        return None;
    }
    let (after, meta) = match operation {
        Operation::Delete => (Vec::new(), others),
        Operation::Insert | Operation::Update => (others, Vec::new()),
    };
    let after = after
        .into_iter()
        .map(|(name, text)| (name, Some((FieldType::String, text.into()))));
    let meta = meta.into_iter().map(|(name, text)| (name, text.into()));
    Some(Event {
        entity: entity.into(),
        id: id.into(),
        operation,
        changes: Cow::Borrowed(&[]),
        before: Cow::Borrowed(&[]),
        after: after.collect(),
        touch: false,
        version: None,
        meta: meta.collect(),
    })
}

/// The entity's name and the operation.
fn read_operation(text: &[u8]) -> Option<(&[u8], Operation)> {
    let point = text.iter().rposition(|byte| *byte == b'.')?;
    let (entity, word) = text.split_at_checked(point)?;
    let word = word.get(1..)?;
    let word = word.split(|byte| *byte == b'_').next()?;
    let operation = match word {
        b"create" => Operation::Insert,
        b"update" => Operation::Update,
        b"remove" => Operation::Delete,
        _ => return None,
    };
    Some((entity, operation))
}

#[cfg(test)]
mod tests {
    use super::super::tests::event;
    use super::*;
    use crate::entity::event::{Pair, Value};

    const NOW: u64 = 1_767_323_045_120;

    fn text(text: &str) -> Value<'_> {
        Some((FieldType::String, text.as_bytes().into()))
    }

    fn fields<'a>(words: &[&'a str]) -> Vec<(Bytes<'a>, &'a str)> {
        let pairs = words.chunks(2);
        pairs
            .map(|pair| (pair[0].as_bytes().into(), pair[1]))
            .collect()
    }

    fn shown(entry: &Entry) -> String {
        let words = entry.iter().flat_map(|(name, value)| [&**name, value]);
        let words = words.map(|word| word.escape_ascii().to_string());
        words.collect::<Vec<_>>().join(" ")
    }

    /// An operation, the fields afterwards, META, and the entry.
    const ENTRIES: &[(Operation, &[&str], &[&str], &str)] = &[
        (
            Operation::Insert,
            &["name", "Alice"],
            &[],
            "operation user.create id 42 occurred_at 2026-01-02T03:04:05.12Z name Alice",
        ),
        (
            Operation::Update,
            &["a", "", "b", "2"],
            &["actor", "me"],
            "operation user.update id 42 occurred_at 2026-01-02T03:04:05.12Z a  b 2 actor me",
        ),
        (
            Operation::Delete,
            &["a", "1"],
            &["actor", "me"],
            "operation user.remove id 42 occurred_at 2026-01-02T03:04:05.12Z actor me",
        ),
        // META replaces where the name stands.
        (
            Operation::Update,
            &["a", "1", "b", "2"],
            &[
                "b",
                "x",
                "operation",
                "user.update_b",
                "id",
                "7",
                "occurred_at",
                "2026-01-02T03:04:05Z",
            ],
            "operation user.update_b id 7 occurred_at 2026-01-02T03:04:05Z a 1 b x",
        ),
        // Fields with the names of the event's own are left out.
        (
            Operation::Insert,
            &[
                "id",
                "43",
                "occurred_at",
                "never",
                "operation",
                "x",
                "z",
                "1",
            ],
            &[],
            "operation user.create id 42 occurred_at 2026-01-02T03:04:05.12Z z 1",
        ),
    ];

    #[test]
    fn an_entry_has_the_operation_the_id_the_time_and_the_fields_by_name() {
        for &(operation, after, meta, expected) in ENTRIES {
            let after: Vec<_> = fields(after)
                .into_iter()
                .map(|(f, v)| (f, text(v)))
                .collect();
            let meta: Vec<Pair> = fields(meta)
                .into_iter()
                .map(|(name, value)| (name, value.as_bytes().into()))
                .collect();
            let event = Event {
                operation,
                after: after.into(),
                meta: meta.into(),
                ..event(b"42")
            };
            let entry = encode(&event, NOW, usize::MAX).unwrap();
            assert_eq!(shown(&entry), expected);
        }
    }

    #[test]
    fn a_time_has_the_digits_it_takes() {
        for (now_ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (NOW, "2026-01-02T03:04:05.12Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(time(now_ms), expected.as_bytes());
        }
    }

    #[test]
    fn operations_are_understood_and_others_are_none() {
        use Operation::*;
        for (text, expected) in [
            ("user.create", Some(("user", Insert))),
            ("a.b.update", Some(("a.b", Update))),
            (".remove", Some(("", Delete))),
            ("thing.update_group_and_profile", Some(("thing", Update))),
            ("user.create_", Some(("user", Insert))),
            ("create", None),
            ("user.created", None),
            ("user.Create", None),
            ("user.", None),
            ("user._create", None),
            ("", None),
        ] {
            let expected = expected.map(|(entity, operation)| (entity.as_bytes(), operation));
            assert_eq!(read_operation(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn other_peoples_entries_are_none() {
        let good: [(&[u8], &[u8]); 3] = [
            (b"operation", b"user.create"),
            (b"id", b"42"),
            (b"occurred_at", b"2026-01-02T03:04:05.12Z"),
        ];
        assert!(decode(&good).is_some());
        let more = |pairs: &[(&'static [u8], &'static [u8])]| decode(&[&good, pairs].concat());
        assert!(more(&[(b"a", b"1"), (b"", b"")]).is_some());
        assert_eq!(more(&[(b"a", b"1"), (b"b", b"2"), (b"a", b"1")]), None);
        assert_eq!(more(&[(b"id", b"42")]), None);
        for (index, value) in [
            (0, &b"user.created"[..]),
            (0, b"thing"),
            (2, b"yesterday"),
            (2, b"2026-01-02T03:04:05"),
            (2, b""),
        ] {
            let mut other = good;
            other[index].1 = value;
            assert_eq!(decode(&other), None, "{value:?}");
        }
        for index in 0..3 {
            let mut fewer = good.to_vec();
            fewer.remove(index);
            assert_eq!(decode(&fewer), None, "{index}");
        }
    }

    #[test]
    fn an_entry_that_is_too_large_is_none() {
        let event = event(b"42");
        let entry = encode(&event, NOW, usize::MAX).unwrap();
        let size = super::super::size(&entry);
        assert_eq!(encode(&event, NOW, size), Some(entry));
        assert_eq!(encode(&event, NOW, size - 1), None);
    }
}
