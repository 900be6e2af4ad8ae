//! FORMAT FLUXAORM2: an entry has one field, `s`, the bytes that the Go library FluxaORM v2 writes. Its
//! encoder keeps `,omitempty` as part of the keys' names and leaves nothing out:
//!
//! | key | value |
//! | --- | --- |
//! | `et` | entity name |
//! | `id` | uint |
//! | `ft` | 1 insert, 2 update, 3 delete |
//! | `ch,omitempty` | map: field → `{"o": param, "n": param}`; nil if there are none |
//!
//! A param is a map of `n,omitempty` (bool: it is null), `t,omitempty` (type, one of `s i u f b t j`)
//! and `v,omitempty` (text); both texts are empty for null. A decimal, date or datetime is a string. Texts are str, UTF-8 or not. Images, META,
//! the entity's version and what tells a TOUCH from an update have no place in it.
//!
//! The decoder of MSGPACK also decodes this format.

use super::msgpack::flush_type;
use super::msgpack_io::{write_map, write_number, write_text};
use crate::entity::decimal;
use crate::entity::event::{Event, Value};
use crate::entity::value::FieldType;
use rmp::encode::{write_bool, write_nil};

/// The value of the entry's field.
pub fn encode(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let out = &mut bytes;
    write_map(out, 4);
    write_text(out, b"et");
    write_text(out, &event.entity);
    write_text(out, b"id");
    // Other ids were refused when the flush was planned.
    write_number(out, decimal::parse(&event.id).unwrap_or(0).into());
    write_text(out, b"ft");
    write_number(out, flush_type(event.operation).into());
    write_text(out, b"ch,omitempty");
    if event.changes.is_empty() {
        let _ = write_nil(out);
        return bytes;
    }
    write_map(out, event.changes.len());
    for change in event.changes.iter() {
        write_text(out, &change.field);
        write_map(out, 2);
        write_text(out, b"o");
        write_param(out, &change.old);
        write_text(out, b"n");
        write_param(out, &change.new);
    }
    bytes
}

fn write_param(out: &mut Vec<u8>, value: &Value) {
    write_map(out, 3);
    write_text(out, b"n,omitempty");
    let _ = write_bool(out, value.is_none());
    let letter = value.as_ref().map(|(field_type, _)| letter(*field_type));
    write_text(out, b"t,omitempty");
    write_text(out, letter.as_slice());
    let text = value.as_ref().map(|(_, text)| &**text);
    write_text(out, b"v,omitempty");
    write_text(out, text.unwrap_or_default());
}

/// The library has no letters for decimals, dates and datetimes: to it they are strings.
fn letter(field_type: FieldType) -> u8 {
    match field_type {
        FieldType::Decimal(_) | FieldType::Date | FieldType::DateTime => FieldType::String.letter(),
        other => other.letter(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{event, unhex};
    use super::*;
    use crate::encoding::event::msgpack::decode;
    use crate::entity::event::Change;
    use crate::entity::operation::Operation;
    use crate::entity::value::FieldType;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        event: VectorEvent,
        s_hex: String,
    }

    #[derive(Deserialize)]
    struct VectorEvent {
        entity: String,
        id: u64,
        flush_type: u8,
        changes: Option<BTreeMap<String, VectorChange>>,
    }

    #[derive(Deserialize)]
    struct VectorChange {
        old: Param,
        new: Param,
    }

    #[derive(Deserialize)]
    struct Param {
        null: bool,
        r#type: String,
        text: String,
    }

    impl Param {
        fn value(&self) -> Value<'_> {
            let field_type = || FieldType::from_letter(self.r#type.as_bytes()).unwrap();
            (!self.null).then(|| (field_type(), self.text.as_bytes().into()))
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_go_library() {
        let vectors = include_str!("../../../../tests/vectors/fluxaorm-v2.json");
        let vectors: Vectors = serde_json::from_str(vectors).unwrap();
        for Vector { name, event, s_hex } in vectors.vectors {
            let changes = event.changes.unwrap_or_default();
            let changes = changes.iter().map(|(field, change)| Change {
                field: field.as_bytes().into(),
                old: change.old.value(),
                new: change.new.value(),
            });
            let event = Event {
                entity: event.entity.as_bytes().into(),
                operation: match event.flush_type {
                    1 => Operation::Insert,
                    2 => Operation::Update,
                    3 => Operation::Delete,
                    other => panic!("{other}"),
                },
                changes: changes.collect(),
                ..super::super::tests::event(event.id.to_string().as_bytes())
            };
            assert_eq!(encode(&event), unhex(&s_hex), "{name}");
            assert_eq!(decode(&unhex(&s_hex)), Some(event), "{name}");
        }
    }

    #[test]
    fn texts_are_str_even_if_they_are_not_utf8() {
        let changes = vec![Change {
            field: b"\xff".into(),
            old: None,
            new: Some((FieldType::String, b"\xfe\0".into())),
        }];
        let event = Event {
            entity: b"\x80".into(),
            changes: changes.into(),
            ..event(b"7")
        };
        let expected = b"\x84\xa2et\xa1\x80\xa2id\x07\xa2ft\x02\xacch,omitempty\x81\xa1\xff\x82\
            \xa1o\x83\xabn,omitempty\xc3\xabt,omitempty\xa0\xabv,omitempty\xa0\
            \xa1n\x83\xabn,omitempty\xc2\xabt,omitempty\xa1s\xabv,omitempty\xa2\xfe\0";
        assert_eq!(encode(&event), expected);
        assert_eq!(decode(expected), Some(event));
    }

    #[test]
    fn an_id_that_is_no_number_is_0() {
        assert_eq!(
            encode(&event(b"x")),
            b"\x84\xa2et\xa4user\xa2id\x00\xa2ft\x02\xacch,omitempty\xc0"
        );
    }

    #[test]
    fn names_of_both_kinds_are_not_mixed_for_one_thing() {
        let bytes = b"\x85\xa2et\xa4user\xa2id\x07\xa2ft\x02\xa2ch\x80\xacch,omitempty\xc0";
        assert_eq!(decode(bytes), None);
    }
}
