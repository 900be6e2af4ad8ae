//! FORMAT FLUXAORM1: an entry as the Go library FluxaORM v1 writes it:
//!
//! | entry field | value |
//! | --- | --- |
//! | `s` | MessagePack map: field → value, below |
//! | `action` | `add`, `edit` or `delete` |
//! | `entity` | entity name |
//! | `id` | the id's text |
//!
//! | operation | action | fields of the map |
//! | --- | --- | --- |
//! | insert | `add` | `ID`, every field and its value, and the nulls |
//! | update | `edit` | the changed fields and their new values |
//! | delete | `delete` | `ID`, every field and its last value, and the nulls |
//! | delete by SOFTDELETE | `delete` | the changed fields and their new values; the flag is the id |
//! | TOUCH | `edit` | `ID`, every field and its value, and the nulls |
//!
//! `ID` is the id as a number, and comes first; an entity's own field of that name takes its place. Which nulls
//! there are is for the event to say: a change from null to null, or a null of an image.
//!
//! | type | value |
//! | --- | --- |
//! | int, uint | the smallest integer, in an unsigned form if it is not negative |
//! | float | str with 8 digits behind the point; a zero is `0`, but `0.00000000` in an update |
//! | bool | bool |
//! | null | nil |
//! | string, json, decimal, date | str, UTF-8 or not |
//! | time (in UTC), datetime | str, `2026-01-02 03:04:05` |
//!
//! The format does not carry all of an event. Updates and TOUCH have no old values; they are decoded as null. An
//! `ID` that equals the entry's id is not a change, and neither is a null where all fields are listed. Integers
//! that fit are of type int, and texts are strings. A delete without `ID` is one by SOFTDELETE. META and the
//! entity's version are not carried.

use super::Entry;
use super::msgpack::FIELD;
use super::msgpack_io::{Pairs, read_map, write_map, write_text};
use crate::entity::decimal;
use crate::entity::event::{Change, Event, Value};
use crate::entity::number::Number;
use crate::entity::operation::Operation;
use crate::entity::value::FieldType;
use rmp::encode::{write_bool, write_nil, write_sint, write_uint};
use serde::Deserialize;
use serde::de::{Error, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The entry's field that holds the action.
pub const ACTION: &[u8] = b"action";
/// The entry's field that holds the entity's name.
pub const ENTITY: &[u8] = b"entity";
/// The entry's field that holds the entity's id.
pub const ID: &[u8] = b"id";

/// The id among an entity's fields.
const ID_FIELD: &[u8] = b"ID";

/// The entry of an event.
pub fn encode(event: &Event) -> Entry {
    let action: &[u8] = match event.operation {
        Operation::Insert => b"add",
        Operation::Update => b"edit",
        Operation::Delete => b"delete",
    };
    vec![
        (FIELD.into(), bind(event)),
        (ACTION.into(), action.to_vec()),
        (ENTITY.into(), event.entity.to_vec()),
        (ID.into(), event.id.to_vec()),
    ]
}

/// The map of fields; `bind` is the library's name for it.
fn bind(event: &Event) -> Vec<u8> {
    let fake = event.changes.iter().any(|change| change.new.is_some());
    let last_values = event.operation == Operation::Delete && !fake;
    let changes = event.changes.iter().map(|change| match last_values {
        true => (&*change.field, &change.old),
        false => (&*change.field, &change.new),
    });
    let after = event.after.iter().map(|(field, value)| (&**field, value));
    let fields: Vec<_> = match event.touch {
        true => after.collect(),
        false => changes.collect(),
    };
    let all_fields = event.operation == Operation::Insert || last_values || event.touch;
    let with_id = all_fields && fields.iter().all(|(field, _)| *field != ID_FIELD);
    let mut bytes = Vec::with_capacity(128);
    write_map(&mut bytes, fields.len().saturating_add(with_id.into()));
    if with_id {
        write_text(&mut bytes, ID_FIELD);
        // Other ids were refused when the flush was planned.
        let _ = write_uint(&mut bytes, decimal::parse(&event.id).unwrap_or(0));
    }
    for (field, value) in fields {
        write_text(&mut bytes, field);
        write_value(&mut bytes, value, all_fields);
    }
    bytes
}

/// A zero of a float or decimal is written in another way where all fields are.
fn write_value(out: &mut Vec<u8>, value: &Value, all_fields: bool) {
    let Some((field_type, text)) = value else {
        let _ = write_nil(out);
        return;
    };
    match field_type {
        FieldType::Time | FieldType::DateTime => write_text(out, &wall_clock(text)),
        FieldType::Float => write_text(out, &float(text, all_fields)),
        FieldType::Decimal(_) if all_fields && is_zero(text) => write_text(out, b"0"),
        _ if write_number(out, *field_type, text).is_some() => {}
        _ => write_text(out, text),
    }
}

/// A float with 8 digits behind the point, rounded as a float, which moves large ones: the library does not know
/// better.
fn float(text: &[u8], short_zero: bool) -> Cow<'_, [u8]> {
    const SCALE: f64 = 1e8;
    let number = std::str::from_utf8(text).ok();
    let number = number.and_then(|text| text.parse::<f64>().ok());
    let Some(number) = number.filter(|number| number.is_finite()) else {
        return text.into();
    };
    if number == 0.0 && short_zero {
        return b"0".into();
    }
    let rounded = (number * SCALE).round() / SCALE;
    let rounded = if rounded.is_finite() { rounded } else { number };
    format!("{rounded:.8}").into_bytes().into()
}

fn is_zero(text: &[u8]) -> bool {
    Number::parse(text).is_some_and(|number| number.is_zero())
}

/// `2026-01-02 03:04:05`: no fraction, no `T` and no zone, which is UTC where there is one.
fn wall_clock(text: &[u8]) -> Cow<'_, [u8]> {
    match (text.get(..10), text.get(10), text.get(11..19)) {
        (Some(date), Some(b'T'), Some(time)) => [date, b" ", time].concat().into(),
        _ => text.into(),
    }
}

/// Writes a number or a bool; `None`, and nothing is written, if the text is neither, whatever its type.
fn write_number(out: &mut Vec<u8>, field_type: FieldType, text: &[u8]) -> Option<()> {
    let utf8 = std::str::from_utf8(text).ok();
    let written = match field_type {
        FieldType::Int => write_sint(out, utf8?.parse().ok()?).is_ok(),
        FieldType::Uint => write_uint(out, utf8?.parse().ok()?).is_ok(),
        FieldType::Bool => write_bool(out, bool_of(text)?).is_ok(),
        FieldType::String
        | FieldType::Float
        | FieldType::Decimal(_)
        | FieldType::Time
        | FieldType::Date
        | FieldType::DateTime
        | FieldType::Json => return None,
    };
    written.then_some(())
}

fn bool_of(text: &[u8]) -> Option<bool> {
    match text {
        b"1" => Some(true),
        b"0" => Some(false),
        _ => None,
    }
}

/// Decodes an event from the values of an entry's fields. `None` if the action is unknown, a field is repeated, or
/// the map holds nested values.
pub fn decode<'e>(
    bind: &'e [u8],
    action: &[u8],
    entity: &'e [u8],
    id: &'e [u8],
) -> Option<Event<'e>> {
    let bind: Pairs<Native> = read_map(bind)?;
    let operation = match action {
        b"add" => Operation::Insert,
        b"edit" => Operation::Update,
        b"delete" => Operation::Delete,
        _ => return None,
    };
    let last_values = operation == Operation::Delete && bind.get(ID_FIELD).is_some();
    let all_fields = operation == Operation::Insert || last_values;
    let mut changes = Vec::with_capacity(bind.0.len());
    for (field, Native(value)) in bind.0 {
        if (*field == *ID_FIELD && is_number(&value, id)) || (value.is_none() && all_fields) {
            continue;
        }
        let (old, new) = match last_values {
            true => (value, None),
            false => (None, value),
        };
        changes.push(Change { field, old, new });
    }
    Some(Event {
        entity: entity.into(),
        id: id.into(),
        operation,
        changes: changes.into(),
        before: Cow::Borrowed(&[]),
        after: Cow::Borrowed(&[]),
        touch: false,
        version: None,
        meta: Cow::Borrowed(&[]),
    })
}

fn is_number(value: &Value, decimal: &[u8]) -> bool {
    match value {
        Some((FieldType::Int | FieldType::Uint, text)) => **text == *decimal,
        _ => false,
    }
}

/// A value whose type is that of its MessagePack.
struct Native<'e>(Value<'e>);

impl<'de: 'e, 'e> Deserialize<'de> for Native<'e> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NativeVisitor;

        impl<'de> Visitor<'de> for NativeVisitor {
            type Value = Native<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a single value")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Native(None))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                let text: &[u8] = if value { b"1" } else { b"0" };
                Ok(Native(Some((FieldType::Bool, text.into()))))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(owned(FieldType::Int, number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                let fits = i64::try_from(number).is_ok();
                let field_type = if fits {
                    FieldType::Int
                } else {
                    FieldType::Uint
                };
                Ok(owned(field_type, number.to_string()))
            }

            // 32-bit floats are widened to their exact value.
            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                // Written with an exponent, since without one it may have hundreds of digits.
                let text = format!("{number:e}");
                match FieldType::Float.canonical(text.as_bytes()) {
                    Some(text) => Ok(Native(Some((FieldType::Float, text.into_owned().into())))),
                    None => Err(E::custom("not a finite number")),
                }
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(borrowed(text.as_bytes()))
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(borrowed(bytes))
            }
        }

        deserializer.deserialize_any(NativeVisitor)
    }
}

fn borrowed(text: &[u8]) -> Native<'_> {
    Native(Some((FieldType::String, text.into())))
}

fn owned(field_type: FieldType, text: String) -> Native<'static> {
    Native(Some((field_type, text.into_bytes().into())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{event, unhex};
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        bind: BTreeMap<String, serde_json::Value>,
        action: String,
        entity: String,
        id: String,
        s_hex: String,
    }

    fn value(json: &serde_json::Value) -> Value<'static> {
        use serde_json::Value as Json;
        Some(match json {
            Json::Null => return None,
            Json::Bool(value) => (FieldType::Bool, if *value { b"1" } else { b"0" }.into()),
            Json::String(text) => (FieldType::String, text.clone().into_bytes().into()),
            Json::Number(number) => {
                let field_type = match number {
                    _ if number.is_i64() => FieldType::Int,
                    _ if number.is_u64() => FieldType::Uint,
                    _ => FieldType::Float,
                };
                (field_type, number.to_string().into_bytes().into())
            }
            other => panic!("{other}"),
        })
    }

    #[test]
    fn the_bytes_are_those_of_the_go_library() {
        let vectors = include_str!("../../../../tests/vectors/fluxaorm-v1.json");
        let vectors: Vectors = serde_json::from_str(vectors).unwrap();
        for vector in vectors.vectors {
            let operation = match vector.action.as_str() {
                "add" => Operation::Insert,
                "edit" => Operation::Update,
                "delete" => Operation::Delete,
                other => panic!("{other}"),
            };
            let fields = vector.bind.iter().filter(|(field, _)| *field != "ID");
            let changes = fields.map(|(field, json)| change(field.as_bytes(), None, value(json)));
            let event = Event {
                entity: vector.entity.as_bytes().into(),
                operation,
                changes: changes.collect(),
                ..event(vector.id.as_bytes())
            };
            let name = vector.name;
            let s = unhex(&vector.s_hex);
            let entry: [(&[u8], &[u8]); 4] = [
                (b"s", &s),
                (b"action", vector.action.as_bytes()),
                (b"entity", vector.entity.as_bytes()),
                (b"id", vector.id.as_bytes()),
            ];
            let encoded = encode(&event);
            let encoded: Vec<_> = encoded.iter().map(|(f, v)| (&**f, &**v)).collect();
            assert_eq!(encoded, entry, "{name}");
            assert_eq!(super::super::decode(&entry), Some(event), "{name}");
        }
    }

    fn change<'a>(field: &'a [u8], old: Value<'a>, new: Value<'a>) -> Change<'a> {
        Change {
            field: field.into(),
            old,
            new,
        }
    }

    fn int(text: &str) -> Value<'_> {
        Some((FieldType::Int, text.as_bytes().into()))
    }

    fn text(text: &[u8]) -> Value<'_> {
        Some((FieldType::String, text.into()))
    }

    #[test]
    fn which_values_are_written_and_with_an_id_or_not() {
        use Operation::*;
        let ab = |old, new| vec![change(b"a", old, new), change(b"b", None, None)];
        for (operation, changes, expected) in [
            (
                Insert,
                ab(None, int("1")),
                &b"\x83\xa2ID\x2a\xa1a\x01\xa1b\xc0"[..],
            ),
            (Update, ab(int("1"), int("2")), b"\x82\xa1a\x02\xa1b\xc0"),
            (
                Delete,
                ab(int("1"), None),
                b"\x83\xa2ID\x2a\xa1a\x01\xa1b\xc0",
            ),
            (Delete, ab(int("1"), int("2")), b"\x82\xa1a\x02\xa1b\xc0"),
            (Delete, vec![], b"\x81\xa2ID\x2a"),
            (
                Insert,
                vec![change(b"ID", None, text(b"x"))],
                b"\x81\xa2ID\xa1x",
            ),
            (
                Delete,
                vec![change(b"ID", text(b"x"), None)],
                b"\x81\xa2ID\xa1x",
            ),
        ] {
            let event = Event {
                operation,
                changes: changes.into(),
                ..event(b"42")
            };
            assert_eq!(bind(&event), expected, "{event:?}");
        }
    }

    #[test]
    fn a_touch_is_an_edit_with_every_field() {
        let after = [(b"b".into(), int("1")), (b"a".into(), text(b"x"))];
        let touch = Event {
            before: after.as_slice().into(),
            after: after.as_slice().into(),
            touch: true,
            ..event(b"42")
        };
        let entry = encode(&touch);
        assert_eq!(entry[0].1, b"\x83\xa2ID\x2a\xa1b\x01\xa1a\xa1x");
        assert_eq!(entry[1].1, b"edit");
    }

    #[test]
    fn values_are_native() {
        use FieldType::*;
        for (field_type, text, expected) in [
            (Int, "127", &b"\x7f"[..]),
            (Int, "128", b"\xcc\x80"),
            (Int, "-32", b"\xe0"),
            (Int, "-33", b"\xd0\xdf"),
            (Int, "-129", b"\xd1\xff\x7f"),
            (Int, "-9223372036854775808", b"\xd3\x80\0\0\0\0\0\0\0"),
            (Uint, "65536", b"\xce\0\x01\0\0"),
            (Float, "1", b"\xaa1.00000000"),
            (Float, "0", b"\xaa0.00000000"),
            (Float, "-0.0", b"\xab-0.00000000"),
            (Float, "1e-9", b"\xaa0.00000000"),
            (Float, "0.000000005", b"\xaa0.00000001"),
            (Float, "-1.50", b"\xab-1.50000000"),
            (Float, "123456789.123456789", b"\xb2123456789.12345681"),
            (Float, "1e20", b"\xbe100000000000000000000.00000000"),
            (Bool, "0", b"\xc2"),
            (Time, "2026", b"\xa42026"),
            (Json, "[1]", b"\xa3[1]"),
            (String, "5", b"\xa15"),
            // Not what their type says.
            (Int, "x", b"\xa1x"),
            (Uint, "-1", b"\xa2-1"),
            (Float, "inf", b"\xa3inf"),
            (Bool, "yes", b"\xa3yes"),
        ] {
            let mut out = Vec::new();
            write_value(&mut out, &Some((field_type, text.as_bytes().into())), false);
            assert_eq!(out, expected, "{field_type:?} {text}");
        }
        let mut out = Vec::new();
        write_value(&mut out, &Some((Int, b"\xff".into())), false);
        assert_eq!(out, b"\xa1\xff");
        for (text, expected) in [
            ("0", &b"\xa10"[..]),
            ("-0.0", b"\xa10"),
            ("1e-9", b"\xaa0.00000000"),
        ] {
            let mut out = Vec::new();
            write_value(&mut out, &Some((Float, text.as_bytes().into())), true);
            assert_eq!(out, expected, "{text}");
        }
        for (text, all_fields, expected) in [
            ("0.00", true, &b"\xa10"[..]),
            ("0.00", false, b"\xa40.00"),
            ("0.01", true, b"\xa40.01"),
            ("x", true, b"\xa1x"),
        ] {
            let mut out = Vec::new();
            write_value(
                &mut out,
                &Some((Decimal(Some(2)), text.as_bytes().into())),
                all_fields,
            );
            assert_eq!(out, expected, "{text} {all_fields}");
        }
        // A float that cannot be rounded has all the digits that Go gives it.
        let mut out = Vec::new();
        write_value(&mut out, &Some((Float, b"1e308".into())), true);
        assert!(out.starts_with(b"\xda\x01\x3e1000000000000000010979"));
        assert_eq!(out.len(), 321);
    }

    #[test]
    fn what_the_library_may_write_is_understood() {
        for (action, bind, changes) in [
            ("add", &b"\x82\xa2ID\x2a\xa1a\xc0"[..], vec![]),
            ("add", b"\x81\xa1a\x01", vec![change(b"a", None, int("1"))]),
            (
                "edit",
                b"\x81\xa2ID\x2b",
                vec![change(b"ID", None, int("43"))],
            ),
            (
                "edit",
                b"\x81\xa2ID\xa242",
                vec![change(b"ID", None, text(b"42"))],
            ),
            ("edit", b"\x81\xa1a\xc0", vec![change(b"a", None, None)]),
            (
                "edit",
                b"\x81\xa1a\xc4\x01\xff",
                vec![change(b"a", None, text(b"\xff"))],
            ),
            (
                "edit",
                b"\x81\xc4\x01\xff\xd3\0\0\0\0\0\0\0\x05",
                vec![change(b"\xff", None, int("5"))],
            ),
            (
                "edit",
                b"\x81\xa1a\xca\x3f\x80\0\0",
                vec![change(b"a", None, Some((FieldType::Float, b"1".into())))],
            ),
            (
                "delete",
                b"\x82\xa1a\x01\xa2ID\xcc\x2a",
                vec![change(b"a", int("1"), None)],
            ),
            (
                "delete",
                b"\x81\xa1a\x01",
                vec![change(b"a", None, int("1"))],
            ),
        ] {
            let event = decode(bind, action.as_bytes(), b"user", b"42");
            let event = event.unwrap_or_else(|| panic!("{action} {bind:?}"));
            assert_eq!(&*event.changes, changes, "{action} {bind:?}");
        }
    }

    #[test]
    fn other_peoples_entries_are_none() {
        for (action, bind) in [
            ("add", &b"\xc0"[..]),
            ("add", b"\x91\x01"),
            ("add", b"\x81\x01\x01"),
            ("add", b"\x81\xa1a\x90"),
            ("add", b"\x81\xa1a\x80"),
            ("add", b"\x81\xa1a\xd4\x01\x01"),
            ("add", b"\x81\xa1a\xcb\x7f\xf0\0\0\0\0\0\0"),
            ("add", b"\x81\xa1a\xcb\x7f\xf8\0\0\0\0\0\0"),
            ("add", b"\x82\xa1a\x01\xa1a\x01"),
            ("add", b"\x82\xa2ID\x2a\xa2ID\x2a"),
            ("add", b"\x80\xc0"),
            ("add", b"\x80\x91"),
            ("insert", b"\x80"),
            ("ADD", b"\x80"),
            ("", b"\x80"),
        ] {
            let event = decode(bind, action.as_bytes(), b"user", b"42");
            assert_eq!(event, None, "{action} {bind:?}");
        }
    }
}
