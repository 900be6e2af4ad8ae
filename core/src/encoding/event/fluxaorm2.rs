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
//! A param is a map of `n,omitempty` (bool: it is null), `t,omitempty` (type) and `v,omitempty` (text); both texts
//! are empty for null. Texts are str, UTF-8 or not.
//!
//! | type | `t` | `v` |
//! | --- | --- | --- |
//! | string, decimal, date, datetime | `s` | the canonical text |
//! | int, uint, bool, json | `i` `u` `b` `j` | the canonical text |
//! | float | `f` | as Go prints it: shortest digits, with an exponent (a sign, two digits or more) below 1e-4 and from 1e6 |
//! | time | `t` | the canonical text without its fraction |
//!
//! Images, META, the entity's version and what tells a TOUCH from an update have no place in it.
//!
//! The decoder of MSGPACK also decodes this format.

use super::msgpack::flush_type;
use super::msgpack_io::{write_map, write_number, write_text};
use crate::entity::decimal;
use crate::entity::event::{Event, Value};
use crate::entity::value::FieldType;
use rmp::encode::{write_bool, write_nil};
use std::borrow::Cow;

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
    write_text(out, b"v,omitempty");
    match value {
        Some((FieldType::Float, text)) => write_text(out, &float(text)),
        Some((FieldType::Time, text)) => write_text(out, &whole_seconds(text)),
        Some((_, text)) => write_text(out, text),
        None => write_text(out, b""),
    }
}

/// A float as Go's `fmt.Sprint` prints it, if exponents begin at 1e6.
fn float(text: &[u8]) -> Cow<'_, [u8]> {
    let number = std::str::from_utf8(text).ok();
    let Some(number) = number.and_then(|text| text.parse::<f64>().ok()) else {
        return text.into();
    };
    // The shortest digits that read back the same, and the exponent that goes with them.
    let shortest = format!("{number:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else {
        return text.into(); // infinite, or not a number
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match exponent {
        -4..=5 => number.to_string(),
        ..=-5 => format!("{digits}e-{:02}", exponent.unsigned_abs()),
        6.. => format!("{digits}e+{exponent:02}"),
    }
    .into_bytes()
    .into()
}

/// A time in UTC without its fraction.
fn whole_seconds(text: &[u8]) -> Cow<'_, [u8]> {
    match (text.get(..19), text.get(19)) {
        (Some(seconds), Some(b'.')) => [seconds, b"Z"].concat().into(),
        _ => text.into(),
    }
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

    #[derive(Deserialize)]
    struct Params {
        vectors: Vec<ParamVector>,
    }

    /// A Go value and the param that the library made of it.
    #[derive(Deserialize)]
    struct ParamVector {
        name: String,
        go_value: String,
        null: bool,
        r#type: String,
        #[serde(default)]
        text: Option<String>,
        #[serde(default)]
        text_hex: Option<String>,
        hex: String,
        back: String,
    }

    impl ParamVector {
        /// The value as a snapshot holds it; `None` if no snapshot can hold it.
        fn stored(&self) -> Option<Value<'static>> {
            if self.null {
                return Some(None);
            }
            let field_type = FieldType::from_letter(self.r#type.as_bytes()).unwrap();
            let text = match (&self.text, &self.text_hex) {
                (Some(text), _) => text.clone().into_bytes(),
                (None, Some(hex)) => unhex(hex),
                (None, None) => panic!("{}", self.name),
            };
            let text = match field_type {
                FieldType::Float => {
                    let bits = self.back.strip_prefix("float64 bits ").unwrap();
                    let number = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
                    // A float field has no minus zero; a number in JSON keeps its digits, and has one.
                    let canonical = match number == 0.0 {
                        true => Some(number.to_string()),
                        false => crate::entity::value::canonical_float(number),
                    };
                    canonical?.into_bytes()
                }
                FieldType::Time => {
                    let given = match self.go_value.as_str() {
                        "time.Time{}" => "0001-01-01 00:00:00 UTC".into(),
                        "time.Unix(0, 0)" => "1970-01-01 00:00:00 UTC".into(),
                        other => other.replace("sql.NullTime{", "").replace(", true}", ""),
                    };
                    let given = given
                        .replace(" UTC", "Z")
                        .replace(" +", "+")
                        .replacen(' ', "T", 1);
                    FieldType::Time.canonical(given.as_bytes())?.into_owned()
                }
                _ => text,
            };
            Some(Some((field_type, text.into())))
        }
    }

    /// No snapshot holds these: a float is finite, and a time has a year of four digits.
    const NOT_STORED: [&str; 5] = [
        "math.NaN()",
        "math.Inf(1)",
        "math.Inf(-1)",
        "10000-01-01 00:00:00 UTC",
        "-0001-01-01 00:00:00 UTC",
    ];

    #[test]
    fn values_have_the_texts_that_go_gives_them() {
        let vectors = include_str!("../../../../tests/vectors/fluxaorm-v2-params.json");
        let vectors: Params = serde_json::from_str(vectors).unwrap();
        assert_eq!(vectors.vectors.len(), 102);
        let mut not_stored = Vec::new();
        for vector in &vectors.vectors {
            let Some(value) = vector.stored() else {
                not_stored.push(vector.go_value.as_str());
                continue;
            };
            let mut param = Vec::new();
            write_param(&mut param, &value);
            assert_eq!(param, unhex(&vector.hex), "{} {value:?}", vector.name);
            let change = [Change {
                field: b"f".into(),
                old: None,
                new: value,
            }];
            let event = Event {
                changes: change.as_slice().into(),
                ..event(b"1")
            };
            let bytes = encode(&event);
            let read = decode(&bytes).unwrap();
            let (read, given) = (&read.changes[0].new, &change[0].new);
            let number = |value: &Value| -> Option<f64> {
                let (_, text) = value.as_ref().filter(|(t, _)| *t == FieldType::Float)?;
                std::str::from_utf8(text).unwrap().parse().ok()
            };
            assert_eq!(number(read), number(given), "{}", vector.name);
        }
        assert_eq!(not_stored, NOT_STORED);
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
