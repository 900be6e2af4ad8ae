//! FORMAT DEBEZIUM: an entry as Debezium Server's Redis sink writes it, in its extended message format,
//! without schemas. Both values are JSON, always UTF-8:
//!
//! | entry field | value |
//! | --- | --- |
//! | `key` | `{"id":` number where the id is a plain decimal that fits 64 bits unsigned, else name `}` |
//! | `value` | the envelope |
//!
//! | envelope | value |
//! | --- | --- |
//! | `before`, `after` | object: field's name → value, all fields (PAYLOAD IMAGES), null where only the other one has the field; or null |
//! | `source` | `version` of the module, `connector` `"dirty"`, `name` (the declaration's key), `ts_ms`, `db` (the index as text), `table` (entity's name); `meta` (object: name → name) and `binary` (array of names) if not empty |
//! | `op` | `c` insert, `u` update, `d` delete; a TOUCH is a `u` whose images are equal |
//! | `ts_ms` | when it happened; `source` says the same |
//!
//! An insert has no `before`, a delete no `after`. With
//! IDFIELD both images begin with the id under that name, as it stands in `key`; it takes the place of a field of
//! that name.
//!
//! | type | value |
//! | --- | --- |
//! | int, uint | number; with SAFENUMBERS a string if it, or the id, is beyond 2^53 - 1, which a double may not hold |
//! | float | number with a point or an exponent: `100.0` |
//! | bool | true or false |
//! | string, decimal, time, date, datetime, json | string |
//!
//! JSON has no bytes. A field with a text that is not UTF-8, before or after, is named in
//! `source.binary`, and its strings are base64 (standard, padded), as Debezium writes bytes. A name
//! (of an entity, a key, a field, META and its values, an id) that is not UTF-8 is written as `base64:`
//! and its base64, and so is one that begins with `base64:` itself.
//!
//! The decoder accepts members in any order and ignores unknown ones. Integers that fit are of type int, others
//! of type uint; numbers with a point or an exponent are floats, and nested values are of type json. A null field
//! is treated as a missing one, the op `r` and a `u` with equal images as a TOUCH. The entity's version is not carried.

use super::msgpack_io::{Pairs, Text, distinct};
use super::written::{Field, Piece, Written};
use super::{Entry, Origin};
use crate::encoding::plain::{is_plain, is_utf8};
use crate::entity::decimal;
use crate::entity::event::{Bytes, Event, Image, Pair, Value};
use crate::entity::operation::Operation;
use crate::entity::snapshot::is_same;
use crate::entity::value::FieldType;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::ops::Range;

/// The entry's field that holds the key.
pub const KEY: &[u8] = b"key";
/// The entry's field that holds the envelope.
pub const VALUE: &[u8] = b"value";

const CONNECTOR: &[u8] = b"dirty";

/// What the source of every event begins with.
const SOURCE: &str = concat!(
    "{\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\",\"connector\":\"dirty\",\"name\":"
);

/// The prefix of names that are written as base64.
const ESCAPE: &str = "base64:";

/// How a stream has its entries written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Style<'s> {
    /// IDFIELD: the name of the id among the fields of the images.
    pub id_field: Option<&'s [u8]>,
    /// SAFENUMBERS: whether integers that a double may not hold are strings.
    pub safe_numbers: bool,
}

/// The largest integer up to which doubles hold all of them.
const SAFE: u64 = 9_007_199_254_740_991;

/// Encodes an event of this [`size`](Event::size); `None` if a value would exceed `max` bytes. An unprintable byte takes
/// six.
pub fn encode(event: &Event, size: usize, origin: Origin, max: usize) -> Option<Entry> {
    let (before, after) = match event.operation {
        Operation::Insert => (None, Some(&*event.after)),
        Operation::Update => (Some(&*event.before), Some(&*event.after)),
        Operation::Delete => (Some(&*event.before), None),
    };
    let mut envelope = Envelope {
        event,
        origin,
        before,
        after,
        binary: BTreeSet::new(),
    };
    // Names and values with their signs take about twice the size of their texts.
    let capacity = size.saturating_mul(2).saturating_add(320).min(max);
    let mut json = Json::new(capacity, max);
    if envelope.write(&mut json).is_none() {
        // Few events have texts that are not UTF-8, so they are looked for only now.
        envelope.binary = envelope.find_binary();
        if envelope.binary.is_empty() {
            return None;
        }
        json.bytes.clear();
        envelope.write(&mut json)?;
    }
    let mut key = Json::new(48, max);
    key.raw("{\"id\":")?;
    envelope.write_id(&mut key)?;
    key.raw("}")?;
    Some(vec![(KEY.into(), key.bytes), (VALUE.into(), json.bytes)])
}

/// A JSON text of at most `max` bytes. `None` means that it would be longer.
struct Json {
    bytes: Vec<u8>,
    max: usize,
}

impl Json {
    fn new(capacity: usize, max: usize) -> Self {
        Json {
            bytes: Vec::with_capacity(capacity),
            max,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let length = self.bytes.len().saturating_add(bytes.len());
        (length <= self.max).then(|| self.bytes.extend_from_slice(bytes))
    }

    fn raw(&mut self, json: &str) -> Option<()> {
        self.push(json.as_bytes())
    }

    /// Ends what has a comma behind each element.
    fn close(&mut self, end: u8) -> Option<()> {
        match self.bytes.last_mut() {
            Some(comma @ b',') => {
                *comma = end;
                Some(())
            }
            _ => self.push(&[end]),
        }
    }

    /// Copies elements that were written before. Where the last one stood, its comma may have become an end.
    fn copy(&mut self, place: Range<usize>) -> Option<()> {
        let length = self.bytes.len().saturating_add(place.len());
        (length <= self.max).then(|| {
            self.bytes.extend_from_within(place);
            if let Some(comma) = self.bytes.last_mut() {
                *comma = b',';
            }
        })
    }

    fn number(&mut self, number: u64) -> Option<()> {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// A string that stands for itself.
    fn plain(&mut self, text: &[u8]) -> Option<()> {
        let length = self.bytes.len().saturating_add(text.len());
        (length.saturating_add(2) <= self.max).then(|| {
            self.bytes.push(b'"');
            self.bytes.extend_from_slice(text);
            self.bytes.push(b'"');
        })
    }

    fn string(&mut self, text: &str) -> Option<()> {
        // All strings can be written, so only their length may be wrong.
        serde_json::to_writer(self, text).ok()
    }

    fn base64(&mut self, prefix: &str, bytes: &[u8]) -> Option<()> {
        self.string(&format!("{prefix}{}", STANDARD.encode(bytes)))
    }

    /// See [`unescape`].
    fn name(&mut self, name: &[u8]) -> Option<()> {
        if name.starts_with(ESCAPE.as_bytes()) {
            return self.base64(ESCAPE, name);
        }
        if is_plain(name) {
            return self.plain(name);
        }
        match std::str::from_utf8(name) {
            Ok(name) => self.string(name),
            Err(_) => self.base64(ESCAPE, name),
        }
    }
}

impl io::Write for Json {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.push(bytes) {
            Some(()) => Ok(bytes.len()),
            None => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written of an event.
struct Envelope<'e, 'a> {
    event: &'e Event<'a>,
    origin: Origin<'e>,
    before: Option<&'e [Field<'a>]>,
    after: Option<&'e [Field<'a>]>,
    /// The fields whose strings are base64.
    binary: BTreeSet<&'e [u8]>,
}

impl<'e> Envelope<'e, '_> {
    /// The fields that have a text that is not UTF-8.
    fn find_binary(&self) -> BTreeSet<&'e [u8]> {
        let images = [self.before, self.after].into_iter().flatten().flatten();
        let binary = images.filter_map(|(field, value)| {
            let (_, text) = value.as_ref()?;
            (!self.is_id(field) && !is_utf8(text)).then_some(&**field)
        });
        binary.collect()
    }

    /// Whether it is the field of IDFIELD, which is not written, whatever it holds: the id is there.
    fn is_id(&self, field: &[u8]) -> bool {
        self.origin.style.id_field == Some(field)
    }

    /// Writes the envelope, members in the order of Debezium's documentation. `None` if it is too long, or a text that
    /// is not UTF-8 is in none of the fields of `binary`.
    fn write(&self, json: &mut Json) -> Option<()> {
        let mut now = itoa::Buffer::new();
        let now = now.format(self.origin.now_ms);
        json.raw("{\"before\":")?;
        self.write_images(json)?;
        json.raw(",\"source\":")?;
        self.write_source(json, now)?;
        json.raw(match self.event.operation {
            Operation::Insert => ",\"op\":\"c\",\"ts_ms\":",
            // Also a TOUCH: who counts rows without a key would count an `r` once more.
            Operation::Update => ",\"op\":\"u\",\"ts_ms\":",
            Operation::Delete => ",\"op\":\"d\",\"ts_ms\":",
        })?;
        json.raw(now)?;
        json.raw("}")
    }

    /// Writes both images, each an object or null.
    fn write_images(&self, json: &mut Json) -> Option<()> {
        let (before, after) = (
            self.before.unwrap_or_default(),
            self.after.unwrap_or_default(),
        );
        // Most changes leave the names of the fields as they are.
        let is_same = |((a, _), (b, _)): (&Field, &Field)| is_same(a, b);
        let has_same_names = before.len() == after.len() && before.iter().zip(after).all(is_same);
        let nulls = |one, other| match has_same_names {
            true => Vec::new(),
            false => only_in(one, other),
        };
        let mut written = Written::default();
        match self.before {
            Some(image) => {
                self.open(json)?;
                written = Written::new(image, json.bytes.len());
                for (field, value) in image {
                    self.write_field(json, field, value)?;
                    written.add(json.bytes.len());
                }
                self.close(json, nulls(after, before))?;
            }
            None => json.raw("null")?,
        }
        json.raw(",\"after\":")?;
        match self.after {
            Some(image) => {
                self.open(json)?;
                for piece in written.pieces(image) {
                    match piece {
                        Piece::Copy(place) => json.copy(place)?,
                        Piece::Field(field, value) => self.write_field(json, field, value)?,
                    }
                }
                self.close(json, nulls(before, after))
            }
            None => json.raw("null"),
        }
    }

    /// Writes what an image begins with.
    fn open(&self, json: &mut Json) -> Option<()> {
        json.raw("{")?;
        if let Some(name) = self.origin.style.id_field {
            json.name(name)?;
            json.raw(":")?;
            self.write_id(json)?;
            json.raw(",")?;
        }
        Some(())
    }

    /// Writes what an image ends with. Fields that only the other image has are null, as in a table's row, which has
    /// all columns.
    fn close(&self, json: &mut Json, nulls: Vec<&[u8]>) -> Option<()> {
        for field in nulls {
            self.write_field(json, field, &None)?;
        }
        json.close(b'}')
    }

    /// Writes a field and its value with a comma, unless the id takes its place.
    fn write_field(&self, json: &mut Json, field: &[u8], value: &Value) -> Option<()> {
        if self.is_id(field) {
            return Some(());
        }
        json.name(field)?;
        json.raw(":")?;
        match value {
            Some((field_type, text)) => self.write_value(json, field, *field_type, text)?,
            None => json.raw("null")?,
        }
        json.raw(",")
    }

    fn write_value(
        &self,
        json: &mut Json,
        field: &[u8],
        field_type: FieldType,
        text: &[u8],
    ) -> Option<()> {
        let is_safe =
            |literal: &str| !self.origin.style.safe_numbers || is_safe(field_type, literal);
        if let Some(literal) = literal(field_type, text).filter(|literal| is_safe(literal)) {
            return json.raw(&literal);
        }
        if !self.binary.is_empty() && self.binary.contains(field) {
            return json.base64("", text);
        }
        if is_plain(text) {
            return json.plain(text);
        }
        json.string(std::str::from_utf8(text).ok()?)
    }

    /// Writes the entity's id.
    fn write_id(&self, json: &mut Json) -> Option<()> {
        match decimal::parse(&self.event.id) {
            Some(number) if number <= SAFE || !self.origin.style.safe_numbers => {
                json.number(number)
            }
            _ => json.name(&self.event.id),
        }
    }

    /// Writes where the event comes from.
    fn write_source(&self, json: &mut Json, now: &str) -> Option<()> {
        json.raw(SOURCE)?;
        json.name(self.origin.key)?;
        json.raw(",\"ts_ms\":")?;
        json.raw(now)?;
        json.raw(",\"db\":\"")?;
        json.raw(itoa::Buffer::new().format(self.origin.database))?;
        json.raw("\",\"table\":")?;
        json.name(&self.event.entity)?;
        if !self.event.meta.is_empty() {
            json.raw(",\"meta\":{")?;
            for (name, value) in self.event.meta.iter() {
                json.name(name)?;
                json.raw(":")?;
                json.name(value)?;
                json.raw(",")?;
            }
            json.close(b'}')?;
        }
        if !self.binary.is_empty() {
            json.raw(",\"binary\":[")?;
            for field in &self.binary {
                json.name(field)?;
                json.raw(",")?;
            }
            json.close(b']')?;
        }
        json.raw("}")
    }
}

/// The fields that one image has and another has not.
fn only_in<'i>(one: &'i [Field], other: &[Field]) -> Vec<&'i [u8]> {
    if one.is_empty() {
        return Vec::new();
    }
    let known: BTreeSet<&[u8]> = other.iter().map(|(field, _)| &**field).collect();
    let fields = one.iter().map(|(field, _)| &**field);
    fields.filter(|field| !known.contains(field)).collect()
}

/// Whether a double holds the integer and its neighbours; other types are numbers that a double holds anyway.
fn is_safe(field_type: FieldType, literal: &str) -> bool {
    match field_type {
        FieldType::Int | FieldType::Uint => {
            let size = literal.trim_start_matches('-').parse::<u64>();
            size.is_ok_and(|size| size <= SAFE)
        }
        _ => true,
    }
}

/// The number, `true` or `false` of a value; `None` if it is written as a string.
pub(crate) fn literal(field_type: FieldType, text: &[u8]) -> Option<Cow<'_, str>> {
    match field_type {
        FieldType::Int | FieldType::Uint | FieldType::Float | FieldType::Bool => {}
        FieldType::String
        | FieldType::Decimal(_)
        | FieldType::Time
        | FieldType::Date
        | FieldType::DateTime
        | FieldType::Json => return None,
    }
    let canonical = match field_type.canonical(text)? {
        Cow::Borrowed(text) => Cow::Borrowed(std::str::from_utf8(text).ok()?),
        Cow::Owned(text) => Cow::Owned(String::from_utf8(text).ok()?),
    };
    Some(match (field_type, &*canonical) {
        (FieldType::Bool, "1") => "true".into(),
        (FieldType::Bool, _) => "false".into(),
        (FieldType::Float, number) if !number.contains(['.', 'e']) => format!("{number}.0").into(),
        _ => canonical,
    })
}

/// Decodes an event from the values of an entry's fields. `None` if the connector is another one, a value is not
/// JSON, or a member is missing or repeated.
pub fn decode<'e>(key: &'e [u8], value: &'e [u8]) -> Option<Event<'e>> {
    let value = object(std::str::from_utf8(value).ok()?)?;
    let source = object(value.get(b"source")?.get())?;
    if *string(source.get(b"connector")?)? != *CONNECTOR {
        return None;
    }
    let key = object(std::str::from_utf8(key).ok()?)?;
    let (operation, touch) = match &*string(value.get(b"op")?)? {
        b"c" => (Operation::Insert, false),
        b"u" => (Operation::Update, false),
        b"d" => (Operation::Delete, false),
        b"r" => (Operation::Update, true),
        _ => return None,
    };
    let binary: HashSet<Bytes> = match source.get(b"binary") {
        Some(binary) => {
            let names: Vec<&RawValue> = serde_json::from_str(binary.get()).ok()?;
            names.into_iter().map(name).collect::<Option<_>>()?
        }
        None => HashSet::new(),
    };
    let before = image(value.get(b"before")?, &binary)?;
    let after = image(value.get(b"after")?, &binary)?;
    Some(Event {
        entity: name(source.get(b"table")?)?,
        id: id(key.get(b"id")?)?,
        operation,
        changes: Cow::Borrowed(&[]),
        // An update changes something.
        touch: touch || (operation == Operation::Update && before == after),
        before,
        after,
        version: None,
        meta: match source.get(b"meta") {
            Some(pairs) => meta(pairs)?,
            None => Cow::Borrowed(&[]),
        },
    })
}

type Members<'e> = Pairs<'e, &'e RawValue>;

fn object(json: &str) -> Option<Members<'_>> {
    serde_json::from_str(json).ok()
}

fn string(json: &RawValue) -> Option<Bytes<'_>> {
    let Text(text) = serde_json::from_str(json.get()).ok()?;
    Some(text)
}

fn name(json: &RawValue) -> Option<Bytes<'_>> {
    unescape(string(json)?)
}

/// The bytes of a name; `None` if it has the prefix but no valid base64.
fn unescape(name: Bytes) -> Option<Bytes> {
    match name.strip_prefix(ESCAPE.as_bytes()) {
        Some(base64) => Some(STANDARD.decode(base64).ok()?.into()),
        None => Some(name),
    }
}

fn id(json: &RawValue) -> Option<Bytes<'_>> {
    let number = json.get().as_bytes();
    match decimal::parse(number) {
        Some(_) => Some(number.into()),
        None => name(json),
    }
}

fn image<'e>(json: &'e RawValue, binary: &HashSet<Bytes>) -> Option<Image<'e>> {
    if json.get() == "null" {
        return Some(Cow::Borrowed(&[]));
    }
    let mut image = Vec::new();
    for (field, json) in object(json.get())?.0 {
        let field = unescape(field)?;
        let value = value(json, binary.contains(&field))?;
        if value.is_some() {
            image.push((field, value));
        }
    }
    // Two names may represent the same field.
    distinct(image.iter().map(|(field, _)| field)).then(|| image.into())
}

fn meta(json: &RawValue) -> Option<Cow<'_, [Pair<'_>]>> {
    let members = object(json.get())?.0.into_iter();
    let pairs = members.map(|(key, value)| Some((unescape(key)?, name(value)?)));
    let pairs: Vec<_> = pairs.collect::<Option<_>>()?;
    distinct(pairs.iter().map(|(name, _)| name)).then(|| pairs.into())
}

/// A value whose type is that of its JSON.
fn value(json: &RawValue, binary: bool) -> Option<Value<'_>> {
    let text = json.get();
    let number = |field_type: FieldType| Some((field_type, field_type.canonical(text.as_bytes())?));
    Some(Some(match text.as_bytes().first()? {
        b'n' => return Some(None),
        b't' => (FieldType::Bool, Cow::Borrowed(b"1")),
        b'f' => (FieldType::Bool, Cow::Borrowed(b"0")),
        b'"' if binary => (
            FieldType::String,
            STANDARD.decode(string(json)?).ok()?.into(),
        ),
        b'"' => (FieldType::String, string(json)?),
        b'[' | b'{' => number(FieldType::Json)?,
        _ if text.contains(['.', 'e', 'E']) => number(FieldType::Float)?,
        _ => number(FieldType::Int).or_else(|| number(FieldType::Uint))?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::event;
    use super::*;

    const ORIGIN: Origin = Origin {
        key: b"shop:user",
        database: 3,
        now_ms: 1_700_000_000_123,
        style: Style {
            id_field: None,
            safe_numbers: false,
        },
    };

    fn source(more: &str) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            r#"{{"version":"{version}","connector":"dirty","name":"shop:user","ts_ms":1700000000123,"db":"3","table":"user"{more}}}"#
        )
    }

    fn encoded(event: &Event, origin: Origin) -> (String, String) {
        let [key, value]: [(Cow<[u8]>, Vec<u8>); 2] =
            encode(event, event.size(), origin, usize::MAX)
                .unwrap()
                .try_into()
                .unwrap();
        assert_eq!((&*key.0, &*value.0), (&b"key"[..], &b"value"[..]));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(key.1), text(value.1))
    }

    fn string(text: &[u8]) -> Value<'_> {
        Some((FieldType::String, text.into()))
    }

    #[test]
    fn the_envelope_tells_what_happened() {
        for (op, before, after, json_before, json_after) in [
            ("c", "", "1", "null", r#"{"a":"1"}"#),
            ("c", "", "", "null", "{}"),
            ("u", "1", "2", r#"{"a":"1"}"#, r#"{"a":"2"}"#),
            ("u", "1", "", r#"{"a":"1"}"#, r#"{"a":null}"#),
            ("u", "", "2", r#"{"a":null}"#, r#"{"a":"2"}"#),
            ("u", "1", "1", r#"{"a":"1"}"#, r#"{"a":"1"}"#),
            ("u", "", "", "{}", "{}"),
            ("d", "1", "", r#"{"a":"1"}"#, "null"),
            ("d", "", "", "{}", "null"),
        ] {
            let image = |text: &'static str| -> Image {
                let a = [(b"a".into(), string(text.as_bytes()))];
                let fields = a.into_iter().filter(|_| !text.is_empty());
                fields.collect()
            };
            let event = Event {
                operation: match op {
                    "c" => Operation::Insert,
                    "d" => Operation::Delete,
                    _ => Operation::Update,
                },
                touch: op == "u" && before == after,
                before: image(before),
                after: image(after),
                ..event(b"42")
            };
            let (key, value) = encoded(&event, ORIGIN);
            assert_eq!(key, r#"{"id":42}"#);
            let source = source("");
            let expected = format!(
                r#"{{"before":{json_before},"after":{json_after},"source":{source},"op":"{op}","ts_ms":1700000000123}}"#
            );
            assert_eq!(value, expected);
            assert_eq!(read(&key, &value), Some(event));
        }
    }

    #[test]
    fn an_entry_may_have_as_many_bytes_as_are_allowed() {
        // As base64 the first one takes fewer bytes than with its escapes, but that is known only with the second.
        let escaped = [b'\x01'; 100];
        for text in [&b"plain"[..], b"\xff"] {
            let before = [(b"a".into(), string(&escaped))];
            let after = [(b"a".into(), string(text))];
            let event = Event {
                before: before.as_slice().into(),
                after: after.as_slice().into(),
                ..event(b"42")
            };
            let entry = |max| encode(&event, event.size(), ORIGIN, max);
            let all = entry(usize::MAX).unwrap();
            let size = all[1].1.len();
            assert_eq!(entry(size), Some(all));
            assert_eq!(entry(size - 1), None);
        }
    }

    #[test]
    fn a_touch_is_an_update_that_changes_nothing_and_a_delete_has_no_after() {
        let image = [(b"a".into(), string(b"1"))];
        let touch = Event {
            touch: true,
            before: image.as_slice().into(),
            after: image.as_slice().into(),
            ..event(b"42")
        };
        let (key, value) = encoded(&touch, ORIGIN);
        assert!(value.contains(r#""op":"u""#), "{value}");
        assert_eq!(read(&key, &value).unwrap().op(), "touch");
        let value = value.replace(r#""op":"u""#, r#""op":"r""#);
        assert!(read(&key, &value).unwrap().touch);
        let delete = Event {
            operation: Operation::Delete,
            touch: false,
            ..touch
        };
        let (_, value) = encoded(&delete, ORIGIN);
        assert!(
            value.starts_with(r#"{"before":{"a":"1"},"after":null,"#),
            "{value}"
        );
    }

    #[test]
    fn the_id_is_a_field_of_the_images_and_large_numbers_are_strings_where_a_stream_says_so() {
        use FieldType::*;
        let number = |field_type, text: &'static str| Some((field_type, text.as_bytes().into()));
        let after = [
            (b"f".into(), number(Float, "9007199254740993000")),
            (b"id".into(), string(b"another")),
            (b"n".into(), number(Int, "-9007199254740992")),
            (b"s".into(), number(Int, "-9007199254740991")),
            (b"u".into(), number(Uint, "18446744073709551615")),
        ];
        let update = |id: &'static [u8]| Event {
            after: after.as_slice().into(),
            ..event(id)
        };
        let plain = r#""f":9007199254740993000.0,"id":"another","n":-9007199254740992,"s":-9007199254740991,"u":18446744073709551615}"#;
        let id_field = Some(&b"id"[..]);
        for (id, id_field, safe_numbers, key, before, after) in [
            (&b"7"[..], None, false, r#"{"id":7}"#, r#"{"f":null,"#, format!("{{{plain}")),
            (
                b"7",
                id_field,
                false,
                r#"{"id":7}"#,
                r#"{"id":7,"f":null,"n":null"#,
                format!(r#"{{"id":7,{}"#, plain.replace(r#""id":"another","#, "")),
            ),
            (
                b"9007199254740992",
                id_field,
                true,
                r#"{"id":"9007199254740992"}"#,
                r#"{"id":"9007199254740992","f":null,"#,
                r#"{"id":"9007199254740992","f":9007199254740993000.0,"n":"-9007199254740992","s":-9007199254740991,"u":"18446744073709551615"}"#.into(),
            ),
            (
                b"9007199254740991",
                Some(b"\xff"),
                true,
                r#"{"id":9007199254740991}"#,
                r#"{"base64:/w==":9007199254740991,"f":null,"#,
                r#"{"base64:/w==":9007199254740991,"f":9007199254740993000.0,"id":"another","#.into(),
            ),
        ] {
            let style = Style {
                id_field,
                safe_numbers,
            };
            let event = update(id);
            let (told, value) = encoded(&event, Origin { style, ..ORIGIN });
            assert_eq!(told, key);
            assert!(value.starts_with(&format!(r#"{{"before":{before}"#)), "{value}");
            assert!(value.contains(&format!(r#""after":{after}"#)), "{value}");
            let read = read(&told, &value).unwrap();
            assert_eq!(read.id, event.id);
        }
    }

    /// The id is a name: it is base64 in no other way, whatever the field holds that it takes the place of.
    #[test]
    fn the_bytes_of_a_field_whose_place_the_id_takes_tell_nothing_of_the_id() {
        let style = Style {
            id_field: Some(b"i"),
            safe_numbers: false,
        };
        let bytes =
            |field: &'static [u8]| (field.into(), Some((FieldType::String, b"\xff"[..].into())));
        let after = [bytes(b"i"), bytes(b"j")];
        for (id, written) in [(&b"abcd"[..], "\"abcd\""), (b"a b", "\"a b\""), (b"7", "7")] {
            let event = Event {
                before: Default::default(),
                after: after.as_slice().into(),
                ..event(id)
            };
            let (key, value) = encoded(&event, Origin { style, ..ORIGIN });
            let image = format!(r#""after":{{"i":{written},"j":"/w=="}}"#);
            assert!(value.contains(&image), "{value}");
            assert!(value.contains(r#""binary":["j"]"#), "{value}");
            let read = read(&key, &value).expect("an event");
            let told = read.after.iter().find(|(field, _)| **field == *b"i");
            let (_, text) = told.and_then(|(_, value)| value.clone()).expect("the id");
            assert_eq!((&*read.id, &*text), (id, id));
        }
    }

    #[test]
    fn values_are_written_by_their_type_and_read_by_their_json() {
        use FieldType::*;
        for (field_type, text, json, read) in [
            (Int, "-9223372036854775808", "-9223372036854775808", Int),
            (Uint, "18446744073709551615", "18446744073709551615", Uint),
            (Uint, "7", "7", Int),
            (Float, "100", "100.0", Float),
            (Float, "0", "0.0", Float),
            (Float, "-1.5", "-1.5", Float),
            (Float, "1e-6", "1e-6", Float),
            (Float, "1e21", "1e21", Float),
            (Float, "1000000000000000000", "1000000000000000000.0", Float),
            (Bool, "1", "true", Bool),
            (Bool, "0", "false", Bool),
            (String, "", r#""""#, String),
            (String, "5", r#""5""#, String),
            (String, "base64:", r#""base64:""#, String),
            (String, "\0\"\\\né", r#""\u0000\"\\\né""#, String),
            (
                Time,
                "2026-11-21T00:00:00Z",
                r#""2026-11-21T00:00:00Z""#,
                String,
            ),
            (Json, r#"{"a":[1]}"#, r#""{\"a\":[1]}""#, String),
            // Not what their type says.
            (Int, "x", r#""x""#, String),
            (Bool, "yes", r#""yes""#, String),
            (Float, "inf", r#""inf""#, String),
        ] {
            let given = Some((field_type, text.as_bytes().into()));
            let event = Event {
                after: vec![(b"f".into(), given)].into(),
                ..event(b"1")
            };
            let (key, value) = encoded(&event, ORIGIN);
            let expected = format!(r#"{{"before":{{"f":null}},"after":{{"f":{json}}},"source""#);
            assert!(
                value.starts_with(&expected),
                "{field_type:?} {text}: {value}"
            );
            let image = [(b"f".into(), Some((read, text.as_bytes().into())))];
            let decoded = decode(key.as_bytes(), value.as_bytes()).unwrap();
            assert_eq!(*decoded.after, image, "{field_type:?} {text}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_base64() {
        let before = [(b"a".into(), string(b"plain")), (b"b".into(), string(b"x"))];
        let after = [
            (b"a".into(), string(b"\xff\xfe")),
            (b"\xff".into(), string(b"\x80")),
        ];
        let meta = [
            (b"base64:".into(), b"\xff".into()),
            (b"\xff".into(), b"v".into()),
        ];
        let event = Event {
            entity: b"\xff".into(),
            before: before.as_slice().into(),
            after: after.as_slice().into(),
            meta: meta.as_slice().into(),
            ..event(b"\xff\xff")
        };
        let key = b"\xff";
        let (key, value) = encoded(&event, Origin { key, ..ORIGIN });
        assert_eq!(key, r#"{"id":"base64://8="}"#);
        let more = r#","meta":{"base64:YmFzZTY0Og==":"base64:/w==","base64:/w==":"v"},"binary":["a","base64:/w=="]"#;
        let source = source(more)
            .replace(r#""user""#, r#""base64:/w==""#)
            .replace("shop:user", "base64:/w==");
        let expected = format!(
            r#"{{"before":{{"a":"cGxhaW4=","b":"x","base64:/w==":null}},"after":{{"a":"//4=","base64:/w==":"gA==","b":null}},"source":{source},"op":"u","ts_ms":1700000000123}}"#
        );
        assert_eq!(value, expected);
        assert_eq!(decode(key.as_bytes(), value.as_bytes()), Some(event));
    }

    #[test]
    fn ids_are_numbers_where_they_come_back_the_same() {
        for (id, json) in [
            ("0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", r#""18446744073709551616""#),
            ("007", r#""007""#),
            ("-1", r#""-1""#),
            ("", r#""""#),
            ("base64:", r#""base64:YmFzZTY0Og==""#),
            ("a\"b", r#""a\"b""#),
        ] {
            let (key, value) = encoded(&event(id.as_bytes()), ORIGIN);
            assert_eq!(key, format!(r#"{{"id":{json}}}"#));
            let decoded = decode(key.as_bytes(), value.as_bytes());
            assert_eq!(decoded.unwrap().id, id.as_bytes());
        }
    }

    const KEY_42: &str = r#"{"id":42}"#;
    const PLAIN: &str = r#"{"before":null,"after":{"a":1},"source":{"connector":"dirty","table":"user"},"op":"c","ts_ms":1}"#;

    fn read(key: &str, value: &str) -> Option<Event<'static>> {
        // Read from leaked texts, so that tables of cases may build theirs.
        let [key, value] = [key, value].map(|text| text.as_bytes().to_vec().leak());
        decode(key, value)
    }

    #[test]
    fn members_come_in_any_order_with_others_and_nested_values_among_them() {
        let value = r#" { "ts_ms" : 1 , "transaction" : null , "op" : "u" , "source" : { "table" : "us\u0065r" ,
            "more" : [ { } ] , "connector" : "dirty" } , "after" : { "n" : null , "j" : [ 1 , { "x" : "y z" } ] ,
            "f" : 1E2 , "i" : -0 , "u" : 9223372036854775808 , "\u00e9" : "\ud83d\ude00" } , "before" : null } "#;
        let after = [
            ("j", FieldType::Json, r#"[1,{"x":"y z"}]"#),
            ("f", FieldType::Float, "100"),
            ("i", FieldType::Int, "0"),
            ("u", FieldType::Uint, "9223372036854775808"),
            ("é", FieldType::String, "\u{1f600}"),
        ];
        let after = after.map(|(f, t, v)| (f.as_bytes().into(), Some((t, v.as_bytes().into()))));
        let expected = Event {
            after: after.into_iter().collect(),
            ..event(b"42")
        };
        assert_eq!(read(r#"{"x":0,"id":42}"#, value), Some(expected.clone()));
        assert_eq!(read(r#"{"id":"42"}"#, value), Some(expected));
    }

    #[test]
    fn other_peoples_entries_are_none() {
        assert!(read(KEY_42, PLAIN).is_some());
        let keys = r#"{"id":null} {"id":1.5} {"id":-1} {"id":01} {"id":18446744073709551616}
            {"id":[1]} {"id":1,"id":1} {"id":1}x {"id":"base64:?"} {"id":"\ud800"} {} [42] 42 null"#;
        for key in keys.split_whitespace().chain([""]) {
            assert_eq!(read(key, PLAIN), None, "{key}");
        }
        for (from, to) in [
            ("dirty", "mysql"),
            (r#""connector":"dirty","#, ""),
            (r#""dirty""#, r#""dirty","connector":"dirty""#),
            (r#","table":"user""#, ""),
            (r#""user""#, "null"),
            (r#""user""#, r#""user","meta":null"#),
            (r#""user""#, r#""user","meta":{"a":1}"#),
            (r#""user""#, r#""u","meta":{"a":"","base64:YQ==":""}"#),
            (r#""user""#, r#""user","binary":"a""#),
            (r#""user""#, r#""user","binary":[1]"#),
            (r#"{"connector":"dirty","table":"user"}"#, "[]"),
            (r#""before":null,"#, ""),
            (r#""before":null"#, r#""before":null,"before":null"#),
            (r#""before":null"#, r#""before":[]"#),
            (r#""before":null"#, r#""before":1"#),
            (r#","op":"c""#, ""),
            (r#""op":"c""#, r#""op":"x""#),
            (r#""op":"c""#, r#""op":1"#),
            (r#"{"a":1}"#, r#"{"a":1,"a":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"base64:YQ==":2}"#),
            (r#"{"a":1}"#, r#"{"base64:YQ":1}"#),
            (r#"{"a":1}"#, r#"{"a":18446744073709551616}"#),
            (r#"{"a":1}"#, r#"{"a":-9223372036854775809}"#),
            (r#"{"a":1}"#, r#"{"a":1e999}"#),
            (r#"{"a":1}"#, r#"{"a":"\ud800"}"#),
            (r#"{"a":1}"#, r#"{"a":tru}"#),
            (r#"1},"source":{"#, r#""?"},"source":{"binary":["a"],"#),
        ] {
            let value = PLAIN.replacen(from, to, 1);
            assert_ne!(value, PLAIN, "{from}");
            assert_eq!(read(KEY_42, &value), None, "{value}");
        }
        assert_eq!(read(KEY_42, &format!("{PLAIN}x")), None);
        assert_eq!(read(KEY_42, &format!("[{PLAIN}]")), None);
        assert_eq!(decode(b"{\"id\":\"\xff\"}", PLAIN.as_bytes()), None);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let value = PLAIN.replace(r#""a":1"#, &format!(r#""a":{deep}"#));
        assert_eq!(read(KEY_42, &value), None);
        // What nobody looks at may be anything.
        let value = PLAIN.replace(r#""ts_ms":1"#, &format!(r#""x":{deep}"#));
        assert!(read(KEY_42, &value).is_some());
    }
}
