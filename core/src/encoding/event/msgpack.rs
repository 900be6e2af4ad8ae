//! FORMAT MSGPACK: an entry has one field, `s`, a MessagePack map with these keys, in this order, empty
//! ones left out:
//!
//! | key | value |
//! | --- | --- |
//! | `et` | entity name |
//! | `id` | uint where the id is a plain decimal that fits 64 bits unsigned, else text |
//! | `ft` | 1 insert, 2 update, 3 delete |
//! | `ch` | map: field → `{"o": param, "n": param}` |
//! | `b`, `a` | map: field → param: all fields before, after (PAYLOAD IMAGES) |
//! | `v` | uint or int: the entity's own version (VERSION) |
//! | `m` | map: name → value, both text (META) |
//!
//! A param is `{"t": type, "v": text}`, type one of `s i u f d b t y w j`, or `{"n": true}` for null. Texts
//! that are not UTF-8 are written as bin instead of str.
//!
//! The decoder also accepts the names that FORMAT FLUXAORM2 gives these keys, nil for no changes, type and text of
//! a null beside its `n`, and, as `omitempty` implies, an empty string without `v`.

use super::msgpack_io::{
    Decoder, distinct, write_map, write_number, write_text, write_text_or_bin,
};
use super::written::{Piece, Written};
use crate::entity::decimal;
use crate::entity::event::{Bytes, Change, Event, Image, Pair, Value};
use crate::entity::operation::Operation;
use crate::entity::value::FieldType;

/// The entry's field.
pub const FIELD: &[u8] = b"s";

/// The value of the entry's field, for an event of this [`size`](Event::size).
pub fn encode(event: &Event, size: usize) -> Vec<u8> {
    let Event {
        changes,
        before,
        after,
        meta,
        ..
    } = event;
    let optional = [
        !changes.is_empty(),
        !before.is_empty(),
        !after.is_empty(),
        event.version.is_some(),
        !meta.is_empty(),
    ];
    let present = optional.into_iter().filter(|present| *present).count();

    // A change takes at least 23 bytes more than its texts, a field of an image 9.
    let images = before.len().saturating_add(after.len());
    let keys = changes
        .len()
        .saturating_mul(23)
        .saturating_add(images.saturating_mul(9));
    let mut bytes = Vec::with_capacity(size.saturating_add(keys).saturating_add(96));
    let out = &mut bytes;
    write_map(out, present.saturating_add(3));
    write_text(out, b"et");
    write_text_or_bin(out, &event.entity);
    write_text(out, b"id");
    match decimal::parse(&event.id) {
        Some(number) => write_number(out, number.into()),
        None => write_text_or_bin(out, &event.id),
    }
    write_text(out, b"ft");
    write_number(out, flush_type(event.operation).into());
    if !changes.is_empty() {
        write_text(out, b"ch");
        write_map(out, changes.len());
        for change in changes.iter() {
            write_text_or_bin(out, &change.field);
            // A map of two, and its first key.
            out.extend_from_slice(&[0x82, 0xa1, b'o']);
            write_param(out, &change.old);
            write_text(out, b"n");
            write_param(out, &change.new);
        }
    }
    write_images(out, before, after);
    if let Some(version) = event.version {
        write_text(out, b"v");
        write_number(out, version);
    }
    if !meta.is_empty() {
        write_text(out, b"m");
        write_map(out, meta.len());
        for (name, value) in meta.iter() {
            write_text_or_bin(out, name);
            write_text_or_bin(out, value);
        }
    }
    bytes
}

/// Writes the images that are not empty.
fn write_images(out: &mut Vec<u8>, before: &Image, after: &Image) {
    let mut written = Written::default();
    if !before.is_empty() {
        write_text(out, b"b");
        write_map(out, before.len());
        written = Written::new(before, out.len());
        for (field, value) in before.iter() {
            write_field(out, field, value);
            written.add(out.len());
        }
    }
    if !after.is_empty() {
        write_text(out, b"a");
        write_map(out, after.len());
        for piece in written.pieces(after) {
            match piece {
                Piece::Copy(place) => out.extend_from_within(place),
                Piece::Field(field, value) => write_field(out, field, value),
            }
        }
    }
}

fn write_field(out: &mut Vec<u8>, field: &[u8], value: &Value) {
    write_text_or_bin(out, field);
    write_param(out, value);
}

fn write_param(out: &mut Vec<u8>, value: &Value) {
    match value {
        Some((field_type, text)) => {
            // A map of two, all but its last text.
            out.extend_from_slice(&[0x82, 0xa1, b't', 0xa1, field_type.letter(), 0xa1, b'v']);
            write_text_or_bin(out, text);
        }
        None => {
            write_map(out, 1);
            write_text(out, b"n");
            let _ = rmp::encode::write_bool(out, true);
        }
    }
}

/// Decodes an event; `None` if the bytes are truncated, have other types, or are followed by others.
pub fn decode(bytes: &[u8]) -> Option<Event<'_>> {
    let mut decoder = Decoder::new(bytes);
    let event = read_event(&mut decoder)?;
    decoder.is_at_end().then_some(event)
}

/// The `ft` of an event.
pub fn flush_type(operation: Operation) -> u8 {
    match operation {
        Operation::Insert => 1,
        Operation::Update => 2,
        Operation::Delete => 3,
    }
}

// Decoding: keys are texts in any order, and unknown ones are ignored, so that later versions may add some.

fn read_event<'e>(decoder: &mut Decoder<'e>) -> Option<Event<'e>> {
    let (mut entity, mut id, mut operation) = (None, None, None);
    let (mut changes, mut before, mut after) = (None, None, None);
    let (mut version, mut meta) = (None, None);
    for _ in 0..decoder.map()? {
        match decoder.text()? {
            b"et" => once(&mut entity, decoder.text()?)?,
            b"id" => once(&mut id, read_id(decoder)?)?,
            b"ft" => once(&mut operation, read_operation(decoder)?)?,
            b"ch" | b"ch,omitempty" => once(&mut changes, read_changes(decoder)?)?,
            b"b" => once(&mut before, read_image(decoder)?)?,
            b"a" => once(&mut after, read_image(decoder)?)?,
            b"v" => once(&mut version, decoder.or_nil(Decoder::number)?)?,
            b"m" => once(&mut meta, read_meta(decoder)?)?,
            _ => decoder.skip()?,
        }
    }
    Some(Event {
        entity: entity?.into(),
        id: id?,
        operation: operation?,
        changes: changes.unwrap_or_default().into(),
        before: before.unwrap_or_default().into(),
        after: after.unwrap_or_default().into(),
        touch: false,
        version: version.flatten(),
        meta: meta.unwrap_or_default().into(),
    })
}

/// A text, or an unsigned integer in decimal.
fn read_id<'e>(decoder: &mut Decoder<'e>) -> Option<Bytes<'e>> {
    match decoder.is_at_text() {
        true => Some(decoder.text()?.into()),
        false => {
            let number = u64::try_from(decoder.number()?).ok()?;
            Some(number.to_string().into_bytes().into())
        }
    }
}

fn read_operation(decoder: &mut Decoder) -> Option<Operation> {
    match decoder.number()? {
        1 => Some(Operation::Insert),
        2 => Some(Operation::Update),
        3 => Some(Operation::Delete),
        _ => None,
    }
}

fn read_changes<'e>(decoder: &mut Decoder<'e>) -> Option<Vec<Change<'e>>> {
    let read = |decoder: &mut Decoder<'e>| {
        let field = decoder.text()?.into();
        let (mut old, mut new) = (None, None);
        for _ in 0..decoder.map()? {
            match decoder.text()? {
                b"o" => once(&mut old, read_param(decoder)?)?,
                b"n" => once(&mut new, read_param(decoder)?)?,
                _ => decoder.skip()?,
            }
        }
        let (old, new) = (old?, new?);
        Some(Change { field, old, new })
    };
    let changes = decoder.elements(read)?;
    distinct(changes.iter().map(|change| &change.field)).then_some(changes)
}

fn read_image<'e>(decoder: &mut Decoder<'e>) -> Option<Vec<(Bytes<'e>, Value<'e>)>> {
    read_pairs(decoder, read_param)
}

fn read_meta<'e>(decoder: &mut Decoder<'e>) -> Option<Vec<Pair<'e>>> {
    read_pairs(decoder, |decoder| Some(decoder.text()?.into()))
}

fn read_pairs<'e, T>(
    decoder: &mut Decoder<'e>,
    value: impl Fn(&mut Decoder<'e>) -> Option<T>,
) -> Option<Vec<(Bytes<'e>, T)>> {
    let read = |decoder: &mut Decoder<'e>| Some((Bytes::from(decoder.text()?), value(decoder)?));
    let pairs = decoder.elements(read)?;
    distinct(pairs.iter().map(|(name, _)| name)).then_some(pairs)
}

fn read_param<'e>(decoder: &mut Decoder<'e>) -> Option<Value<'e>> {
    // As it is written here, in a fifth of the time.
    if let [0x82, 0xa1, b't', 0xa1, letter, 0xa1, b'v', rest @ ..] = decoder.rest()
        && let Some(field_type) = FieldType::from_letter(&[*letter])
        && let mut behind = Decoder::new(rest)
        && let Some(text) = behind.text()
    {
        *decoder = behind;
        return Some(Some((field_type, text.into())));
    }
    let (mut null, mut letter, mut text) = (None, None, None);
    for _ in 0..decoder.map()? {
        match decoder.text()? {
            b"n" | b"n,omitempty" => once(&mut null, decoder.boolean()?)?,
            b"t" | b"t,omitempty" => once(&mut letter, decoder.or_nil(Decoder::text)?)?,
            b"v" | b"v,omitempty" => once(&mut text, decoder.or_nil(Decoder::text)?)?,
            _ => decoder.skip()?,
        }
    }
    if null == Some(true) {
        return Some(None);
    }
    let field_type = FieldType::from_letter(letter.flatten()?)?;
    match (field_type, text.flatten()) {
        (_, Some(text)) => Some(Some((field_type, text.into()))),
        (FieldType::String, None) => Some(Some((field_type, Bytes::default()))),
        _ => None,
    }
}

/// Stores the value of a key; `None` if the key is repeated.
fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn encode(event: &Event) -> Vec<u8> {
        super::encode(event, event.size())
    }

    fn text(bytes: &[u8]) -> Value<'_> {
        Some((FieldType::String, bytes.into()))
    }

    fn update<'a>(id: &'a [u8], changes: Vec<Change<'a>>) -> Event<'a> {
        Event {
            entity: b"user".into(),
            id: id.into(),
            operation: Operation::Update,
            changes: changes.into(),
            before: Cow::Borrowed(&[]),
            after: Cow::Borrowed(&[]),
            touch: false,
            version: None,
            meta: Cow::Borrowed(&[]),
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_contract() {
        let event = update(
            b"42",
            vec![Change {
                field: b"status".into(),
                old: text(b"active"),
                new: None,
            }],
        );
        let expected = b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\x81\xa6status\
            \x82\xa1o\x82\xa1t\xa1s\xa1v\xa6active\xa1n\x81\xa1n\xc3";
        assert_eq!(encode(&event), expected);

        let insert = Event {
            operation: Operation::Insert,
            ..update(b"\xff\x00", vec![])
        };
        let expected = b"\x83\xa2et\xa4user\xa2id\xc4\x02\xff\x00\xa2ft\x01";
        assert_eq!(encode(&insert), expected);
    }

    #[test]
    fn images_stand_between_changes_and_meta() {
        let before = [(b"x".into(), text(b"1"))];
        let after = [(b"x".into(), text(b"2")), (b"y".into(), text(b"3"))];
        let event = Event {
            before: before.as_slice().into(),
            after: after.as_slice().into(),
            ..update(b"42", vec![])
        };
        let expected =
            b"\x85\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa1b\x81\xa1x\x82\xa1t\xa1s\xa1v\xa11\
            \xa1a\x82\xa1x\x82\xa1t\xa1s\xa1v\xa12\xa1y\x82\xa1t\xa1s\xa1v\xa13";
        assert_eq!(encode(&event), expected);
        assert_eq!(decode(expected), Some(event.clone()));
        assert_eq!(event.op(), "update");
        let touch = Event {
            after: event.before.clone(),
            ..event
        };
        assert_eq!(
            decode(&encode(&touch)).map(|event| event.op()),
            Some("touch")
        );
    }

    #[test]
    fn meta_comes_last() {
        let pairs: [Pair; 2] = [(b"actor".into(), b"7".into()), (b"\xff".into(), b"".into())];
        let event = Event {
            meta: pairs.as_slice().into(),
            ..update(b"42", vec![])
        };
        let expected =
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa1m\x82\xa5actor\xa17\xc4\x01\xff\xa0";
        assert_eq!(encode(&event), expected);
        assert_eq!(decode(expected), Some(event));
    }

    #[test]
    fn the_version_stands_before_meta() {
        for (version, bytes) in [
            (0, &b"\x00"[..]),
            (-1, b"\xff"),
            (i64::MIN.into(), b"\xd3\x80\0\0\0\0\0\0\0"),
            (u64::MAX.into(), b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ] {
            let event = Event {
                version: Some(version),
                meta: vec![(b"a".into(), b"b".into())].into(),
                ..update(b"42", vec![])
            };
            let expected = [
                &b"\x85\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa1v"[..],
                bytes,
                b"\xa1m\x81\xa1a\xa1b",
            ];
            assert_eq!(encode(&event), expected.concat(), "{version}");
            assert_eq!(decode(&expected.concat()), Some(event), "{version}");
        }
    }

    #[test]
    fn ids_are_numbers_only_where_the_text_comes_back_the_same() {
        for (id, number) in [
            ("0", true),
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("007", false),
            ("-1", false),
            ("", false),
            ("a", false),
        ] {
            let bytes = encode(&update(id.as_bytes(), vec![]));
            let str_marker = bytes[12] & 0xe0 == 0xa0;
            assert_eq!(!str_marker, number, "{id}");
            assert_eq!(&*decode(&bytes).unwrap().id, id.as_bytes());
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_no_part_of_it_is() {
        let event = update(
            b"\0id\xfe",
            vec![
                Change {
                    field: b"a".into(),
                    old: None,
                    new: text(b"\xff\xff"),
                },
                Change {
                    field: b"\x80".into(),
                    old: Some((FieldType::Int, b"-5".into())),
                    new: Some((FieldType::Json, b"{}".into())),
                },
            ],
        );
        let bytes = encode(&event);
        assert_eq!(decode(&bytes), Some(event));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
        for more in [
            b"\x00", b"\xc0", b"\xc2", b"\x91", b"\x81", b"\xcc", b"\xc1",
        ] {
            assert_eq!(decode(&[&bytes[..], more].concat()), None, "{more:?}");
        }
    }

    #[test]
    fn other_peoples_bytes_are_no_event() {
        for bytes in [
            b"".as_slice(),
            b"hello",
            b"\x80",
            b"\xc1",
            b"\xdf\xff\xff\xff\xff",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\x09",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\xdf\xff\xff\xff\xff",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\x81\xa1a\x82\xa1o\x80\xa1n\x80",
            b"\x93\xa4user\x2a\x02",
            b"\x83\xa2et\x07\xa2id\x2a\xa2ft\x02",
            b"\x83\xa2et\xa4user\xa2id\x2a\xa2ft\xcb\x40\0\0\0\0\0\0\0",
            b"\x83\xa2et\xa4user\xa2id\xff\xa2ft\x02",
            b"\x82\xa2et\xa4user\xa2id\x2a",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ft\x02",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa1v\xa11",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa1m\x82\xa1a\xa0\xa1a\xa0",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa1m\x81\xa1a\x01",
            b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa1a\x81\xa1x\x81\xa1t\xa1i",
            &[0x91; 100_000],
        ] {
            assert_eq!(decode(bytes), None, "{:?}", &bytes[..bytes.len().min(40)]);
        }
    }

    #[test]
    fn what_an_encoder_that_knows_omitempty_leaves_out_is_empty() {
        let bytes = b"\x84\xa2et\xa4user\xa2id\x2a\xa2ft\x02\xa2ch\x81\xa1a\
            \x82\xa1o\x83\xa1n\xc3\xa1t\xa0\xa1v\xa0\xa1n\x81\xa1t\xa1s";
        let change = Change {
            field: b"a".into(),
            old: None,
            new: text(b""),
        };
        assert_eq!(decode(bytes), Some(update(b"42", vec![change])));
    }

    #[test]
    fn unknown_keys_are_passed_over() {
        let bytes = b"\x84\xa2et\xa4user\xa2zz\x93\x01\x80\xc0\xa2id\x2a\xa2ft\x02";
        assert_eq!(decode(bytes), Some(update(b"42", vec![])));
    }
}
