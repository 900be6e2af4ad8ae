//! An event or a snapshot of a reply as one JSON text, with the types of its values: for RESP2, and for clients that decode
//! all they get. The keys are those of the reply. A value of type `json` is written as it is, null as null.
//!
//! If one of its strings is not UTF-8, the text is `{"id":…,"base64":{…}}`, with the same keys and with each string in
//! base64. A name of a field or of META that is not UTF-8 is in base64, too.

use super::event::debezium::literal;
use crate::entity::event::{Event, Image, Value};
use crate::entity::value::FieldType;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::borrow::Cow;

/// What a reply tells besides the event.
#[derive(Clone, Debug, Default)]
pub struct Delivered<'e> {
    /// The entry's id.
    pub id: &'e [u8],
    /// How many times it was delivered; `None` for cursors.
    pub deliveries: Option<u16>,
    /// How many of its deliveries were failed.
    pub failures: u32,
    /// Set for an entry of a dead stream.
    pub dead: Option<Dead<'e>>,
}

/// Why an entry of a dead stream is there: the fields that the module added to it.
#[derive(Clone, Debug, Default)]
pub struct Dead<'e> {
    /// The event's id in its own stream.
    pub id: &'e [u8],
    /// Its own stream.
    pub stream: &'e [u8],
    /// The group or cursor that gave up on it.
    pub reader: &'e [u8],
    /// The consumer that failed, or fell silent.
    pub consumer: &'e [u8],
    /// The last message of a FAIL.
    pub error: &'e [u8],
    /// How many deliveries counted.
    pub deliveries: Option<u64>,
    /// How many of them were failed.
    pub failures: Option<u64>,
    /// When it first failed.
    pub first_ms: Option<u64>,
    /// When it died.
    pub last_ms: Option<u64>,
}

/// The content of an entry.
pub enum Content<'c, 'e> {
    /// The entry is an event.
    Event(&'c Event<'e>),
    /// The entry is not an event of this module: its fields and values by turns.
    Fields(Vec<&'c [u8]>),
}

/// Writes an entry as a JSON text.
pub fn event(delivered: &Delivered, content: &Content) -> Vec<u8> {
    either(delivered.id, |text| text.entry(delivered, content)).0
}

/// Writes the fields of the entity with this id as a JSON text, and tells whether it had to be in base64.
pub fn snapshot<'v>(id: &[u8], fields: &[(&[u8], Value<'v>)]) -> (Vec<u8>, bool) {
    either(id, |text| text.fields(fields))
}

/// The text, or the text in base64 if a string is not UTF-8, and whether that is so.
fn either(id: &[u8], write: impl Fn(&mut Text)) -> (Vec<u8>, bool) {
    let mut text = Text::default();
    write(&mut text);
    if !text.is_spoiled {
        return (text.out, false);
    }
    let mut text = Text {
        is_base64: true,
        ..Text::default()
    };
    text.open(b'{');
    text.key("id");
    text.plain(&String::from_utf8_lossy(id));
    text.key("base64");
    write(&mut text);
    text.close(b'}');
    (text.out, true)
}

#[derive(Default)]
struct Text {
    out: Vec<u8>,
    is_base64: bool,
    /// A string was not UTF-8.
    is_spoiled: bool,
}

impl Text {
    fn entry(&mut self, delivered: &Delivered, content: &Content) {
        self.open(b'{');
        self.string_at("id", delivered.id);
        match content {
            Content::Event(event) => self.event(event),
            Content::Fields(fields) => {
                self.key("fields");
                self.open(b'[');
                for field in fields {
                    self.comma();
                    self.string(field);
                }
                self.close(b']');
            }
        }
        if let Some(deliveries) = delivered.deliveries {
            self.number_at("deliveries", Some(deliveries.into()));
        }
        if delivered.failures > 0 {
            self.number_at("failures", Some(delivered.failures.into()));
        }
        if let Some(dead) = &delivered.dead {
            self.key("dead");
            self.open(b'{');
            self.string_at("id", dead.id);
            self.string_at("stream", dead.stream);
            self.string_at("reader", dead.reader);
            self.string_at("consumer", dead.consumer);
            self.string_at("error", dead.error);
            self.number_at("deliveries", dead.deliveries);
            self.number_at("failures", dead.failures);
            self.number_at("first-ms", dead.first_ms);
            self.number_at("last-ms", dead.last_ms);
            self.close(b'}');
        }
        self.close(b'}');
    }

    fn event(&mut self, event: &Event) {
        self.string_at("entity", &event.entity);
        self.string_at("entity-id", &event.id);
        self.string_at("op", event.op().as_bytes());
        if let Some(version) = event.version {
            self.key("version");
            self.out.extend_from_slice(version.to_string().as_bytes());
        }
        if !event.changes.is_empty() {
            self.key("changes");
            self.open(b'{');
            for change in event.changes.iter() {
                self.name(&change.field);
                self.open(b'[');
                self.value(&change.old);
                self.comma();
                self.value(&change.new);
                self.close(b']');
            }
            self.close(b'}');
        }
        self.image("before", &event.before);
        self.image("after", &event.after);
        if !event.meta.is_empty() {
            self.key("meta");
            self.open(b'{');
            for (name, value) in event.meta.iter() {
                self.name(name);
                self.string(value);
            }
            self.close(b'}');
        }
    }

    fn image(&mut self, key: &str, image: &Image) {
        if image.is_empty() {
            return;
        }
        self.key(key);
        self.open(b'{');
        for (field, value) in image.iter() {
            self.name(field);
            self.value(value);
        }
        self.close(b'}');
    }

    fn fields(&mut self, fields: &[(&[u8], Value)]) {
        self.open(b'{');
        for (field, value) in fields {
            self.name(field);
            self.value(value);
        }
        self.close(b'}');
    }

    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Before all but the first of something.
    fn comma(&mut self) {
        if !matches!(self.out.last(), Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.plain(key);
        self.out.push(b':');
    }

    fn name(&mut self, name: &[u8]) {
        self.comma();
        match std::str::from_utf8(name) {
            Ok(name) => self.plain(name),
            Err(_) => {
                self.is_spoiled = true;
                self.plain(&STANDARD.encode(name));
            }
        }
        self.out.push(b':');
    }

    fn string_at(&mut self, key: &str, string: &[u8]) {
        self.key(key);
        self.string(string);
    }

    fn number_at(&mut self, key: &str, number: Option<u64>) {
        self.key(key);
        match number {
            Some(number) => self.out.extend_from_slice(number.to_string().as_bytes()),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    fn string(&mut self, string: &[u8]) {
        match std::str::from_utf8(string) {
            _ if self.is_base64 => self.plain(&STANDARD.encode(string)),
            Ok(string) => self.plain(string),
            Err(_) => {
                self.is_spoiled = true;
                self.plain("");
            }
        }
    }

    fn plain(&mut self, string: &str) {
        // Into memory, which takes everything.
        let _ = serde_json::to_writer(&mut self.out, string);
    }

    fn value(&mut self, value: &Value) {
        let Some((field_type, text)) = value else {
            self.out.extend_from_slice(b"null");
            return;
        };
        let raw = match field_type {
            FieldType::Json => canonical_json(text).map(Cow::Owned),
            field_type => literal(*field_type, text),
        };
        match raw {
            Some(raw) => self.out.extend_from_slice(raw.as_bytes()),
            None => self.string(text),
        }
    }
}

/// What anybody may have written as JSON is JSON only if it is.
fn canonical_json(text: &[u8]) -> Option<String> {
    crate::entity::json::canonical(std::str::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::event::Change;
    use crate::entity::operation::Operation;

    fn shown(value: &'static [u8], field_type: FieldType) -> String {
        let change = Change {
            field: b"f".into(),
            old: None,
            new: Some((field_type, value.into())),
        };
        let shown = Event {
            entity: b"user".into(),
            id: b"7".into(),
            operation: Operation::Update,
            changes: vec![change].into(),
            before: Default::default(),
            after: Default::default(),
            touch: false,
            version: Some(3),
            meta: vec![(b"m".into(), b"x".into())].into(),
        };
        let delivered = Delivered {
            id: b"5-1",
            deliveries: Some(2),
            failures: 1,
            dead: None,
        };
        String::from_utf8(event(&delivered, &Content::Event(&shown))).unwrap()
    }

    #[test]
    fn values_have_their_types() {
        for (value, field_type, expected) in [
            (b"a\"b".as_slice(), FieldType::String, r#""a\"b""#),
            (b"-5", FieldType::Int, "-5"),
            (
                b"18446744073709551615",
                FieldType::Uint,
                "18446744073709551615",
            ),
            (b"1", FieldType::Bool, "true"),
            (b"2.5", FieldType::Float, "2.5"),
            (b"10.50", FieldType::Decimal(Some(2)), r#""10.50""#),
            (br#"{"a":[1]}"#, FieldType::Json, r#"{"a":[1]}"#),
        ] {
            assert_eq!(
                shown(value, field_type),
                format!(
                    r#"{{"id":"5-1","entity":"user","entity-id":"7","op":"update","version":3,"changes":{{"f":[null,{expected}]}},"meta":{{"m":"x"}},"deliveries":2,"failures":1}}"#
                )
            );
        }
    }

    #[test]
    fn what_is_not_utf8_is_base64() {
        assert_eq!(
            shown(b"\xff", FieldType::String),
            r#"{"id":"5-1","base64":{"id":"NS0x","entity":"dXNlcg==","entity-id":"Nw==","op":"dXBkYXRl","version":3,"changes":{"f":[null,"/w=="]},"meta":{"m":"eA=="},"deliveries":2,"failures":1}}"#
        );
    }

    #[test]
    fn a_snapshot_is_its_fields() {
        let fields: [(&[u8], Value); 3] = [
            (b"name", Some((FieldType::String, b"Al".into()))),
            (b"age", Some((FieldType::Int, b"31".into()))),
            (b"gone", None),
        ];
        let (text, is_base64) = snapshot(b"7", &fields);
        assert_eq!(text, br#"{"name":"Al","age":31,"gone":null}"#);
        assert!(!is_base64);
        assert_eq!(snapshot(b"7", &[]), (b"{}".to_vec(), false));
    }

    #[test]
    fn a_snapshot_that_is_not_utf8_is_base64_with_its_id() {
        let fields: [(&[u8], Value); 3] = [
            (b"\xff", Some((FieldType::String, b"Al".into()))),
            (b"raw", Some((FieldType::String, b"\xff".into()))),
            (b"age", Some((FieldType::Int, b"31".into()))),
        ];
        let (text, is_base64) = snapshot(b"\xfe7", &fields);
        let expected =
            "{\"id\":\"\u{fffd}7\",\"base64\":{\"/w==\":\"QWw=\",\"raw\":\"/w==\",\"age\":31}}";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert!(is_base64);
    }

    #[test]
    fn other_entries_have_fields() {
        let delivered = Delivered {
            id: b"5-1",
            ..Delivered::default()
        };
        let content = Content::Fields(vec![b"a", b"1"]);
        let text = String::from_utf8(event(&delivered, &content)).unwrap();
        assert_eq!(text, r#"{"id":"5-1","fields":["a","1"]}"#);
    }
}
