//! Events as stream entries, in each FORMAT.

pub mod debezium;
pub mod flat;
pub mod fluxaorm1;
pub mod fluxaorm2;
pub mod msgpack;
pub(crate) mod msgpack_io;
mod written;

use crate::entity::declaration::Format;
use crate::entity::event::Event;
use std::borrow::Cow;

/// An entry's fields and values.
pub type Entry = Vec<(Cow<'static, [u8]>, Vec<u8>)>;

/// The place and time of a flush, for formats that carry them, and the options of the stream that has the event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'o> {
    /// The declaration's key.
    pub key: &'o [u8],
    /// The logical database of that key.
    pub database: i32,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The options of FORMAT DEBEZIUM.
    pub style: debezium::Style<'o>,
}

/// Encodes an event; `None` if the entry would exceed `max` bytes, in most cases without encoding it.
pub fn encode(format: Format, event: &Event, origin: Origin, max: usize) -> Option<Entry> {
    let size_of_texts = event.size();
    // A format may leave out old values and shorten numbers, but it never shrinks an event to an eighth. Only FLAT
    // leaves out a whole image.
    if format != Format::Flat && size_of_texts / 8 > max {
        return None;
    }
    let entry = match format {
        Format::MsgPack => vec![(msgpack::FIELD.into(), msgpack::encode(event, size_of_texts))],
        Format::FluxaOrm2 => vec![(msgpack::FIELD.into(), fluxaorm2::encode(event))],
        Format::FluxaOrm1 => fluxaorm1::encode(event),
        Format::Debezium => debezium::encode(event, size_of_texts, origin, max)?,
        Format::Flat => flat::encode(event, origin.now_ms, max)?,
    };
    (size(&entry) <= max).then_some(entry)
}

/// The size of an entry in bytes.
pub fn size(entry: &Entry) -> usize {
    let sizes = entry
        .iter()
        .flat_map(|(field, value)| [field.len(), value.len()]);
    sizes.fold(0, usize::saturating_add)
}

/// Decodes an event of any format, by any writer; `None` if the entry is not an event. The names of the fields,
/// in any order, determine the format.
pub fn decode<'e>(fields: &[(&'e [u8], &'e [u8])]) -> Option<Event<'e>> {
    let value = |name: &[u8]| {
        let mut fields = fields.iter();
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| *value)
    };
    // The number of fields and the presence of each name exclude unknown and repeated fields. FLAT alone has fields
    // of any name, and three of its own, which the others lack.
    match fields.len() {
        1 => msgpack::decode(value(msgpack::FIELD)?),
        2 => debezium::decode(value(debezium::KEY)?, value(debezium::VALUE)?),
        4 if value(flat::OPERATION).is_none() => fluxaorm1::decode(
            value(msgpack::FIELD)?,
            value(fluxaorm1::ACTION)?,
            value(fluxaorm1::ENTITY)?,
            value(fluxaorm1::ID)?,
        ),
        _ => flat::decode(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::event::{Bytes, Change, Image, Pair, Value};
    use crate::entity::operation::Operation;
    use crate::entity::value::FieldType;
    use proptest::prelude::*;
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    const FORMATS: [Format; 5] = [
        Format::MsgPack,
        Format::FluxaOrm2,
        Format::FluxaOrm1,
        Format::Debezium,
        Format::Flat,
    ];

    /// An update of a user without anything else.
    pub fn event<'a>(id: &[u8]) -> Event<'a> {
        Event {
            entity: b"user".into(),
            id: id.to_vec().into(),
            operation: Operation::Update,
            changes: Cow::Borrowed(&[]),
            before: Cow::Borrowed(&[]),
            after: Cow::Borrowed(&[]),
            touch: false,
            version: None,
            meta: Cow::Borrowed(&[]),
        }
    }

    pub fn unhex(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn borrowed(entry: &Entry) -> Vec<(&[u8], &[u8])> {
        let fields = entry.iter();
        fields.map(|(field, value)| (&**field, &**value)).collect()
    }

    /// A value of each type, with what is hard to write.
    const VALUES: [(FieldType, &[u8]); 31] = [
        (FieldType::String, b""),
        (FieldType::String, b"plain"),
        (FieldType::String, b"\0"),
        (FieldType::String, b"\xff"),
        (FieldType::String, b"\"\\\x1f\x7f\r\n"),
        (FieldType::String, b"base64:"),
        (FieldType::String, "\u{fffd}\u{1f600}".as_bytes()),
        (FieldType::String, &[b'x'; 300]),
        (FieldType::String, &[0xfe; 300]),
        (FieldType::Int, b"0"),
        (FieldType::Int, b"-1"),
        (FieldType::Int, b"-129"),
        (FieldType::Int, b"-9223372036854775808"),
        (FieldType::Int, b"9223372036854775807"),
        (FieldType::Uint, b"128"),
        (FieldType::Uint, b"18446744073709551615"),
        (FieldType::Float, b"0"),
        (FieldType::Float, b"100"),
        (FieldType::Float, b"-2.5e-7"),
        (FieldType::Float, b"5e-324"),
        (FieldType::Float, b"100000000000000000000"),
        (FieldType::Float, b"1.7976931348623157e308"),
        (FieldType::Bool, b"1"),
        (FieldType::Bool, b"0"),
        (FieldType::Time, b"2026-01-02T03:04:05.5Z"),
        (FieldType::Json, br#"{"b":[1,2.5],"a":"x y\" z"}"#),
        (FieldType::Decimal(None), b"-12345678901234567890.125"),
        (FieldType::Decimal(None), b"0"),
        (FieldType::Date, b"2026-01-02"),
        (FieldType::DateTime, b"2026-01-02T03:04:05.000000001"),
        (FieldType::DateTime, b"2026-01-02T03:04:05"),
    ];

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let hard = VALUES.map(|(_, text)| text.to_vec()).to_vec();
        prop_oneof![
            prop::sample::select(hard),
            prop::collection::vec(any::<u8>(), 0..5),
            "[a-z:\"]{0,9}".prop_map(String::into_bytes),
        ]
    }

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            prop::sample::select(VALUES.to_vec()).prop_map(|(t, text)| Some((t, text.into()))),
            bytes().prop_map(|text| Some((FieldType::String, text.into()))),
            any::<f64>().prop_map(|number| {
                let text = format!("{number:e}");
                let text = FieldType::Float.canonical(text.as_bytes())?.into_owned();
                Some((FieldType::Float, text.into()))
            }),
        ]
    }

    /// Names, among them those that FORMAT FLAT has for fields of its own.
    fn names(own: &'static [&'static [u8]]) -> impl Strategy<Value = Bytes<'static>> {
        let own = prop::sample::select(own).prop_map(<[u8]>::to_vec);
        prop_oneof![9 => bytes(), 1 => own].prop_map(Bytes::from)
    }

    fn pairs<T: Clone + std::fmt::Debug + 'static>(
        name: impl Strategy<Value = Bytes<'static>>,
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Cow<'static, [(Bytes<'static>, T)]>> {
        let pairs = prop::collection::vec((name, value), 0..6);
        // Each name once, in an order that is not that of the names.
        pairs.prop_map(|mut pairs| {
            let seen: BTreeMap<_, _> = pairs.drain(..).collect();
            seen.into_iter().rev().collect()
        })
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop::sample::select(vec![
            Operation::Insert,
            Operation::Update,
            Operation::Delete,
        ])
    }

    /// An event with everything an event may have, more than any format carries.
    fn events() -> impl Strategy<Value = Event<'static>> {
        let field = || names(&[flat::OPERATION, flat::ID, flat::OCCURRED_AT]);
        let image = || {
            let value = value().prop_filter("no image has nulls", Option::is_some);
            pairs(field(), value)
        };
        let id = prop_oneof![
            any::<u64>().prop_map(|id| id.to_string().into_bytes()),
            bytes()
        ];
        let version = prop::option::of(prop_oneof![
            any::<i64>().prop_map(i128::from),
            any::<u64>().prop_map(i128::from),
        ]);
        // One named like the operation or the time makes another event of it, or none.
        let meta = pairs(names(&[flat::ID]), bytes().prop_map(Bytes::from));
        let texts = (bytes(), id, operation());
        let fields = (pairs(field(), (value(), value())), image(), image());
        (texts, fields, any::<bool>(), version, meta).prop_map(
            |((entity, id, operation), (changes, before, after), touch, version, meta)| {
                let changes = changes.into_owned().into_iter();
                let changes = changes.map(|(field, (old, new))| Change { field, old, new });
                Event {
                    entity: entity.into(),
                    id: id.into(),
                    operation,
                    changes: changes.collect(),
                    before,
                    after,
                    touch: touch && operation == Operation::Update,
                    version,
                    meta,
                }
            },
        )
    }

    /// The value with the type that a number, a bool or a string gives it.
    fn native<'v>(value: &Value<'v>) -> Value<'v> {
        value.clone().map(|(field_type, text)| match field_type {
            FieldType::Uint if FieldType::Int.canonical(&text).is_some() => (FieldType::Int, text),
            FieldType::Decimal(_)
            | FieldType::Time
            | FieldType::Date
            | FieldType::DateTime
            | FieldType::Json => (FieldType::String, text),
            same => (same, text),
        })
    }

    /// The value with the types that FluxaORM v2 has.
    fn of_library<'v>(value: &Value<'v>) -> Value<'v> {
        let value = value.clone();
        value.map(|(field_type, text)| match field_type {
            FieldType::Decimal(_) | FieldType::Date | FieldType::DateTime => {
                (FieldType::String, text)
            }
            FieldType::Time => {
                let text = [&text[..19], b"Z"].concat();
                (FieldType::Time, text.into())
            }
            same => (same, text),
        })
    }

    /// The value as FluxaORM v1 has it, which tells times to the second, and floats as texts.
    fn of_first_library<'v>(value: &Value<'v>) -> Value<'v> {
        let text = match value {
            Some((FieldType::Time | FieldType::DateTime, text)) => text,
            Some((FieldType::Float, text)) => return Some((FieldType::String, text.clone())),
            _ => return native(value),
        };
        let text = std::str::from_utf8(&text[..19]).unwrap().replace('T', " ");
        Some((FieldType::String, text.into_bytes().into()))
    }

    /// Without what the formats of FluxaORM do not carry of floats: v2 writes the same number in other digits, v1
    /// eight digits behind the point. Their own tests have the texts.
    fn without_floats<'e>(format: Format, event: Event<'e>) -> Event<'e> {
        if !format.has_numeric_ids() {
            return event;
        }
        let plain = |value: Value<'e>| match value {
            Some((FieldType::Float, _)) => Some((FieldType::Float, Bytes::from(&b"0"[..]))),
            Some((FieldType::String, text)) if format == Format::FluxaOrm1 && is_float(&text) => {
                Some((FieldType::String, Bytes::from(&b"0"[..])))
            }
            same => same,
        };
        let changes = event.changes.iter().cloned().map(|change| Change {
            old: plain(change.old),
            new: plain(change.new),
            ..change
        });
        Event {
            changes: changes.collect(),
            ..event
        }
    }

    fn is_float(text: &[u8]) -> bool {
        FieldType::Float.canonical(text).is_some()
    }

    /// A copy that borrows nothing; a `Cow` of borrowed things cannot simply be taken for one of longer lives.
    fn owned(event: Event) -> Event<'static> {
        let bytes = |bytes: &Bytes| Bytes::from(bytes.to_vec());
        let value = |value: &Value| value.as_ref().map(|(t, text)| (*t, bytes(text)));
        let image = |image: &Image| -> Image<'static> {
            let fields = image.iter();
            fields.map(|(field, v)| (bytes(field), value(v))).collect()
        };
        let changes = event.changes.iter().map(|change| Change {
            field: bytes(&change.field),
            old: value(&change.old),
            new: value(&change.new),
        });
        let meta = event.meta.iter();
        Event {
            entity: bytes(&event.entity),
            id: bytes(&event.id),
            operation: event.operation,
            changes: changes.collect(),
            before: image(&event.before),
            after: image(&event.after),
            touch: event.touch,
            version: event.version,
            meta: meta.map(|(name, v)| (bytes(name), bytes(v))).collect(),
        }
    }

    fn native_image<'i>(image: &Image<'i>) -> Image<'i> {
        let fields = image.iter();
        fields
            .map(|(field, value)| (field.clone(), native(value)))
            .collect()
    }

    fn carried_by_first_library(event: Event) -> Event {
        let fake = event.changes.iter().any(|change| change.new.is_some());
        let last_values = event.operation == Operation::Delete && !fake;
        let touch = || {
            let fields = event.after.iter().cloned();
            fields
                .map(|(field, new)| Change {
                    field,
                    old: None,
                    new,
                })
                .collect()
        };
        let fields: Vec<Change> = match event.touch {
            true => touch(),
            false => event.changes.to_vec(),
        };
        let changes = fields.into_iter().map(|change| Change {
            old: of_first_library(&change.old).filter(|_| last_values),
            new: of_first_library(&change.new),
            ..change
        });
        let all_fields = event.operation == Operation::Insert || last_values;
        let null = |change: &Change| change.old.is_none() && change.new.is_none();
        Event {
            changes: changes
                .filter(|change| !all_fields || !null(change))
                .collect(),
            before: Cow::Borrowed(&[]),
            after: Cow::Borrowed(&[]),
            touch: false,
            version: None,
            meta: Cow::Borrowed(&[]),
            ..event
        }
    }

    fn carried_flat<'e>(event: Event<'e>) -> Event<'e> {
        let text = |(field, value): &(Bytes<'e>, Value<'e>)| {
            let (_, text) = value.clone()?;
            // The event has these itself.
            let is_own = [flat::OPERATION, flat::ID, flat::OCCURRED_AT].contains(&&**field);
            (!is_own).then(|| (field.clone(), text))
        };
        let fields = event.after.iter().filter_map(text);
        let mut pairs: Vec<Pair> = match event.operation {
            Operation::Delete => Vec::new(),
            _ => fields.collect(),
        };
        let mut id = event.id.clone();
        for (name, value) in event.meta.iter() {
            if **name == *flat::ID {
                id = value.clone();
                continue;
            }
            match pairs.iter_mut().find(|pair| pair.0 == *name) {
                Some(pair) => pair.1 = value.clone(),
                None => pairs.push((name.clone(), value.clone())),
            }
        }
        let is_delete = event.operation == Operation::Delete;
        let (meta, fields) = pairs.into_iter().partition::<Vec<_>, _>(|_| is_delete);
        let fields = fields.into_iter();
        Event {
            id,
            changes: Cow::Borrowed(&[]),
            before: Cow::Borrowed(&[]),
            after: fields
                .map(|(field, text)| (field, Some((FieldType::String, text))))
                .collect(),
            touch: false,
            version: None,
            meta: meta.into(),
            ..event
        }
    }

    /// What a format carries of an event.
    fn carried<'e>(format: Format, event: &Event<'e>) -> Event<'e> {
        let none = || Cow::Borrowed(&[] as &[(Bytes, Value)]);
        let no_meta = || Cow::Borrowed(&[] as &[Pair]);
        let event = event.clone();
        match format {
            Format::MsgPack => Event {
                touch: false,
                ..event
            },
            Format::FluxaOrm2 => {
                let changes = event.changes.iter().map(|change| Change {
                    field: change.field.clone(),
                    old: of_library(&change.old),
                    new: of_library(&change.new),
                });
                Event {
                    changes: changes.collect(),
                    before: none(),
                    after: none(),
                    touch: false,
                    version: None,
                    meta: no_meta(),
                    ..event
                }
            }
            Format::FluxaOrm1 => carried_by_first_library(event),
            Format::Debezium => {
                let (before, after) = match event.operation {
                    Operation::Insert => (none(), native_image(&event.after)),
                    Operation::Update => (native_image(&event.before), native_image(&event.after)),
                    Operation::Delete => (native_image(&event.before), none()),
                };
                Event {
                    changes: Cow::Borrowed(&[]),
                    touch: event.operation == Operation::Update && before == after,
                    before,
                    after,
                    version: None,
                    ..event
                }
            }
            Format::Flat => carried_flat(event),
        }
    }

    /// The event with the fields that a reversed entry has.
    fn reversed(format: Format, event: Event<'static>) -> Event<'static> {
        if format != Format::Flat {
            return event;
        }
        let mut event = event;
        event.after.to_mut().reverse();
        event.meta.to_mut().reverse();
        event
    }

    fn config() -> ProptestConfig {
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(200)
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn events_are_read_back_as_far_as_the_format_carries_them(
            event in events(),
            number: u64,
            key in bytes(),
        ) {
            for format in FORMATS {
                let mut event = event.clone();
                if format.has_numeric_ids() {
                    event.id = number.to_string().into_bytes().into();
                }
                let origin = Origin { key: &key, now_ms: number, ..Origin::default() };
                let entry = encode(format, &event, origin, usize::MAX).unwrap();
                let mut fields = borrowed(&entry);
                let expected = Some(without_floats(format, carried(format, &event)));
                let read = |fields: &[(&[u8], &[u8])]| {
                    decode(fields).map(|event| without_floats(format, owned(event)))
                };
                prop_assert_eq!(read(&fields), expected.clone(), "{:?}", format);
                fields.reverse();
                let expected = expected.map(|event| reversed(format, owned(event)));
                prop_assert_eq!(read(&fields), expected, "{:?}", format);
            }
        }

        #[test]
        fn no_part_of_an_entry_is_an_event(event in events()) {
            for format in FORMATS {
                let entry = encode(format, &event, Origin::default(), usize::MAX).unwrap();
                let fields = borrowed(&entry);
                let own = match format {
                    Format::Flat => 3, // without the others it is another event
                    _ => fields.len(),
                };
                for index in 0..own {
                    let mut fewer = fields.clone();
                    fewer.remove(index);
                    prop_assert_eq!(decode(&fewer), None);
                    let mut twice = fields.clone();
                    twice.push(fields[index]);
                    prop_assert_eq!(decode(&twice), None);
                    let (name, value) = fields[index];
                    if [fluxaorm1::ENTITY, fluxaorm1::ID].contains(&name) {
                        continue; // any text is one
                    }
                    if format == Format::Flat {
                        continue; // has tests of its own
                    }
                    for end in 0..value.len() {
                        let mut cut = fields.clone();
                        cut[index].1 = &value[..end];
                        prop_assert_eq!(decode(&cut), None, "{:?} {:?} {}", format, name, end);
                    }
                }
            }
        }

        #[test]
        fn a_damaged_entry_is_an_event_or_none_and_never_a_panic(
            event in events(),
            at: prop::sample::Index,
            byte: u8,
        ) {
            for format in FORMATS {
                let mut entry = encode(format, &event, Origin::default(), usize::MAX).unwrap();
                for index in 0..entry.len() {
                    if !entry[index].1.is_empty() {
                        *at.get_mut(&mut entry[index].1) = byte;
                    }
                    if let Some(event) = decode(&borrowed(&entry)).map(owned) {
                        let again = encode(Format::MsgPack, &event, Origin::default(), usize::MAX).unwrap();
                        prop_assert_eq!(decode(&borrowed(&again)).map(owned), Some(carried(Format::MsgPack, &event)));
                    }
                }
            }
        }

        #[test]
        fn random_bytes_are_no_event(values in prop::array::uniform4(prop::collection::vec(any::<u8>(), 0..300))) {
            let [a, b, c, d] = &values;
            prop_assert_eq!(decode(&[(b"s", a)]), None);
            prop_assert_eq!(decode(&[(b"key", a), (b"value", b)]), None);
            prop_assert_eq!(decode(&[(b"s", a), (b"action", b), (b"entity", c), (b"id", d)]), None);
            prop_assert_eq!(decode(&[(a, b), (c, d)]), None);
            prop_assert_eq!(decode(&[(a, b)]), None);
        }
    }

    #[test]
    fn fields_that_no_format_has_are_none() {
        let s = msgpack::encode(&event(b"42"), 0);
        for names in [
            "",
            "x",
            "S",
            "s x",
            "s key",
            "s action entity x",
            "s action entity id x",
        ] {
            let fields = names
                .split_terminator(' ')
                .map(|name| (name.as_bytes(), &*s));
            assert_eq!(decode(&fields.collect::<Vec<_>>()), None, "{names}");
        }
    }

    #[test]
    fn other_peoples_entries_are_none_however_deep_or_boastful() {
        for value in [
            vec![0x91; 100_000],
            b"\x81\xa1a".repeat(100_000),
            [
                &b"\x84\xa2et\xa1u\xa2id\x01\xa2ft\x02\xa1x"[..],
                &[0x91; 100_000],
            ]
            .concat(),
            [
                &b"\x84\xa2et\xa1u\xa2id\x01\xa2ft\x02\xa1x"[..],
                &[0xc7; 100_000],
            ]
            .concat(),
            b"\xdf\xff\xff\xff\xff".to_vec(),
            b"\x81\xdb\xff\xff\xff\xffx".to_vec(),
            b"\x81\xa1a\xdd\xff\xff\xff\xff".to_vec(),
            b"\x81\xa1a\xc9\xff\xff\xff\xff\x01".to_vec(),
            b"[".repeat(100_000),
            br#"{"a":"#.repeat(100_000),
            [br#"{"before":null,"after":"#, &*br#"{"a":"#.repeat(100_000)].concat(),
        ] {
            let shown = &value[..value.len().min(40)];
            assert_eq!(decode(&[(b"s", &value)]), None, "{shown:?}");
            assert_eq!(decode(&[(b"key", &value), (b"value", &value)]), None);
            assert_eq!(decode(&[(b"key", b"{\"id\":1}"), (b"value", &value)]), None);
            let fields = [
                (&b"s"[..], &*value),
                (b"action", b"edit"),
                (b"entity", b"e"),
                (b"id", b"1"),
            ];
            assert_eq!(decode(&fields), None, "{shown:?}");
        }
    }
}
