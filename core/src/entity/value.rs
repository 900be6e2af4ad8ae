//! Types of fields and the canonical text of their values.

use super::json;
use crate::error::{Error, Quoted};
use std::borrow::Cow;
use time::{format_description::well_known::Rfc3339, OffsetDateTime, UtcOffset};

/// A field's value as a client gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<'a> {
    pub text: Cow<'a, [u8]>,
    /// The type that a JSON or MessagePack snapshot gives it, the text then in its canonical form;
    /// `None` for plain text.
    pub field_type: Option<FieldType>,
    /// As JSON wrote a number. Without a type it is one that only a declared type can hold.
    pub number: Option<&'a [u8]>,
}

impl<'a> Given<'a> {
    pub fn plain(text: &'a [u8]) -> Self {
        Given {
            text: text.into(),
            field_type: None,
            number: None,
        }
    }

    pub fn typed(field_type: FieldType, text: Cow<'a, [u8]>) -> Self {
        Given {
            text,
            field_type: Some(field_type),
            number: None,
        }
    }

    /// Refuses what a field cannot take that has no declared type.
    pub fn check_untyped(&self, field: &[u8]) -> Result<(), Error> {
        let Some(number) = self.number.filter(|_| self.field_type.is_none()) else {
            return Ok(());
        };
        let is_whole = number
            .iter()
            .all(|byte| !matches!(byte, b'.' | b'e' | b'E'));
        Err(Error::BadValue {
            field: Quoted::new(field),
            expected: match is_whole {
                true => "a 64-bit integer",
                false => FieldType::Float.expected(),
            },
            got: Quoted::new(number),
        })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FieldType {
    #[default]
    String,
    Int,
    Uint,
    Float,
    Bool,
    Time,
    Json,
}

impl FieldType {
    const ALL: [(FieldType, &'static str, u8); 7] = [
        (FieldType::String, "string", b's'),
        (FieldType::Int, "int", b'i'),
        (FieldType::Uint, "uint", b'u'),
        (FieldType::Float, "float", b'f'),
        (FieldType::Bool, "bool", b'b'),
        (FieldType::Time, "time", b't'),
        (FieldType::Json, "json", b'j'),
    ];

    /// The words of TYPES, for an error.
    pub const CHOICES: &'static str = "string, int, uint, float, bool, time or json";

    /// A word of TYPES, or its first letter.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name, letter)| {
                word.eq_ignore_ascii_case(name.as_bytes()) || word.eq_ignore_ascii_case(&[*letter])
            })
            .map(|(field_type, ..)| *field_type)
    }

    /// The `t` of an event's values.
    pub fn from_letter(text: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(.., letter)| text == [*letter])
            .map(|(field_type, ..)| *field_type)
    }

    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The `t` of an event's values.
    pub fn letter(self) -> u8 {
        self.row().2
    }

    fn row(self) -> &'static (FieldType, &'static str, u8) {
        Self::ALL
            .iter()
            .find(|(field_type, ..)| *field_type == self)
            .unwrap_or(&Self::ALL[0])
    }

    fn expected(self) -> &'static str {
        match self {
            FieldType::String => "bytes",
            FieldType::Int => "a 64-bit signed integer",
            FieldType::Uint => "a 64-bit unsigned integer",
            FieldType::Float => "a finite number",
            FieldType::Bool => "1, 0, true or false",
            FieldType::Time => "an RFC 3339 time",
            FieldType::Json => json::EXPECTED,
        }
    }

    /// The one text that stands for this value: equal values of a type have equal texts.
    ///
    /// | type | canonical text |
    /// | --- | --- |
    /// | string | the bytes |
    /// | int, uint | decimal |
    /// | float | the shortest that reads back the same, without exponent between 1e-5 and 1e21 |
    /// | bool | `1` or `0` |
    /// | time | RFC 3339 in UTC with `Z`, fraction only if not zero |
    /// | json | no white space between tokens, keys in the order given |
    pub fn canonical(self, text: &[u8]) -> Option<Cow<'_, [u8]>> {
        let owned = match self {
            FieldType::String => return Some(Cow::Borrowed(text)),
            FieldType::Int => utf8(text)?.parse::<i64>().ok()?.to_string(),
            FieldType::Uint => utf8(text)?.parse::<u64>().ok()?.to_string(),
            FieldType::Float => canonical_float(utf8(text)?.parse().ok()?)?,
            FieldType::Bool => canonical_bool(text)?.into(),
            FieldType::Time => canonical_time(utf8(text)?)?,
            FieldType::Json => json::canonical(utf8(text)?)?,
        };
        // The common case, a value that is canonical already, keeps the caller's bytes.
        Some(if owned.as_bytes() == text {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(owned.into_bytes())
        })
    }

    /// A stored text as a value of this type. One that does not fit, stored before the type was declared
    /// or by hand, is what it is: a string.
    pub fn of(self, text: &[u8]) -> (FieldType, Cow<'_, [u8]>) {
        match self.canonical(text) {
            Some(canonical) => (self, canonical),
            None => (FieldType::String, text.into()),
        }
    }

    /// The canonical text of a value that a client gives a field of this type.
    pub fn take<'a>(self, field: &[u8], given: Given<'a>) -> Result<Cow<'a, [u8]>, Error> {
        let Given {
            text,
            field_type,
            number,
        } = given;
        let bad = |text: &[u8]| Error::BadValue {
            field: Quoted::new(field),
            expected: self.expected(),
            got: Quoted::new(text),
        };
        let text = match field_type {
            // In JSON numbers stay as they are written.
            _ if self == FieldType::Json && number.is_some() => number.unwrap_or_default().into(),
            Some(same) if same == self => return Ok(text),
            // It would become 1 or 0, which nobody means by true or false.
            Some(FieldType::Bool) if self != FieldType::Json => {
                return Err(Error::BadValue {
                    field: Quoted::new(field),
                    expected: match self {
                        FieldType::String => "a string",
                        other => other.expected(),
                    },
                    got: Quoted::new(&FieldType::Bool.json(&text).unwrap_or_default()),
                })
            }
            _ if self == FieldType::String => return Ok(text),
            // What the snapshot says in JSON stays JSON: `"5"` is not `5`.
            Some(other) if self == FieldType::Json => match other.json(&text) {
                Some(json) => return Ok(json.into()),
                None => return Err(bad(&text)),
            },
            _ => text,
        };
        match text {
            Cow::Borrowed(text) => self.canonical(text).ok_or_else(|| bad(text)),
            Cow::Owned(text) => match self.canonical(&text) {
                Some(canonical) => Ok(canonical.into_owned().into()),
                None => Err(bad(&text)),
            },
        }
    }

    /// A canonical text of this type as JSON, if it is UTF-8.
    fn json(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            FieldType::Int | FieldType::Uint | FieldType::Json => Some(text.to_vec()),
            // It stays told from an integer.
            FieldType::Float => Some(match text.iter().any(|byte| matches!(byte, b'.' | b'e')) {
                true => text.to_vec(),
                false => [text, b".0"].concat(),
            }),
            FieldType::Bool => Some(if text == b"1" { "true" } else { "false" }.into()),
            FieldType::String | FieldType::Time => serde_json::to_vec(utf8(text)?).ok(),
        }
    }
}

fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

fn canonical_float(number: f64) -> Option<String> {
    let size = number.abs();
    if !size.is_finite() {
        None
    } else if size == 0.0 {
        Some("0".into()) // -0 equals 0, so it must not be a change
    } else if (1e-5..1e21).contains(&size) {
        Some(number.to_string())
    } else {
        Some(format!("{number:e}"))
    }
}

fn canonical_bool(text: &[u8]) -> Option<&'static str> {
    if text == b"1" || text.eq_ignore_ascii_case(b"true") {
        Some("1")
    } else if text == b"0" || text.eq_ignore_ascii_case(b"false") {
        Some("0")
    } else {
        None
    }
}

fn canonical_time(text: &str) -> Option<String> {
    // The parser takes any separator, cuts what is finer than a nanosecond, and has no leap seconds:
    // it would change the value silently.
    let bytes = text.as_bytes();
    let separated = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    let leap = bytes.get(17..19) == Some(b"60");
    let fraction = bytes.get(20..).unwrap_or_default();
    let digits = fraction
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let too_fine = bytes.get(19) == Some(&b'.') && digits > 9;
    if !separated || leap || too_fine {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    time.checked_to_offset(UtcOffset::UTC)?
        .format(&Rfc3339)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_text_for_equal_values() {
        use FieldType::*;
        for (field_type, text, canonical) in [
            (String, "", Some("")),
            (String, " a ", Some(" a ")),
            (Int, "5", Some("5")),
            (Int, "+5", Some("5")),
            (Int, "007", Some("7")),
            (Int, "-0", Some("0")),
            (Int, "-9223372036854775808", Some("-9223372036854775808")),
            (Int, "9223372036854775808", None),
            (Int, "", None),
            (Int, " 5", None),
            (Int, "5.0", None),
            (Uint, "18446744073709551615", Some("18446744073709551615")),
            (Uint, "18446744073709551616", None),
            (Uint, "-1", None),
            (Float, "1.50", Some("1.5")),
            (Float, "1.5", Some("1.5")),
            (Float, "1e2", Some("100")),
            (Float, "-0.0", Some("0")),
            (Float, "0.00001", Some("0.00001")),
            (Float, "0.000001", Some("1e-6")),
            (Float, "1e20", Some("100000000000000000000")),
            (Float, "1e21", Some("1e21")),
            (Float, "-2.5e-7", Some("-2.5e-7")),
            (Float, "0.1", Some("0.1")),
            (Float, "5e-324", Some("5e-324")),
            (Float, "nan", None),
            (Float, "inf", None),
            (Float, "1e999", None),
            (Float, "", None),
            (Bool, "true", Some("1")),
            (Bool, "TRUE", Some("1")),
            (Bool, "1", Some("1")),
            (Bool, "false", Some("0")),
            (Bool, "0", Some("0")),
            (Bool, "yes", None),
            (
                Time,
                "2026-01-02T04:04:05+01:00",
                Some("2026-01-02T03:04:05Z"),
            ),
            (Time, "2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            (
                Time,
                "2026-01-02T03:04:05.500Z",
                Some("2026-01-02T03:04:05.5Z"),
            ),
            (
                Time,
                "2026-01-02T03:04:05.000Z",
                Some("2026-01-02T03:04:05Z"),
            ),
            (
                Time,
                "2026-01-02 03:04:05.123456789Z",
                Some("2026-01-02T03:04:05.123456789Z"),
            ),
            (Time, "2026-01-02t03:04:05z", Some("2026-01-02T03:04:05Z")),
            (Time, "2026-01-02x03:04:05Z", None),
            (Time, "2026-01-02T03:04:05.1234567891Z", None),
            (Time, "2016-12-31T23:59:60Z", None),
            (Time, "2026-02-30T03:04:05Z", None),
            (Time, "9999-12-31T23:59:59-01:00", None),
            (Time, "2026-01-02", None),
            (Time, "1767323045", None),
            (
                Json,
                r#" { "b" : [ 1 , 2.0 ] , "a" : "x y\" z" } "#,
                Some(r#"{"b":[1,2.0],"a":"x y\" z"}"#),
            ),
            (Json, "null", Some("null")),
            (Json, "\"\\\\\" ", Some("\"\\\\\"")),
            (Json, "", None),
            (Json, "{", None),
            (Json, "{} {}", None),
            (Json, "[1,]", None),
            (Json, "NaN", None),
        ] {
            let got = field_type.canonical(text.as_bytes());
            assert_eq!(
                got.as_deref(),
                canonical.map(str::as_bytes),
                "{field_type:?} {text:?}"
            );
            // Canonical text is a fixed point.
            if let Some(text) = got {
                assert_eq!(field_type.canonical(&text).as_deref(), Some(&*text));
            }
        }
    }

    #[test]
    fn json_is_bounded_in_depth() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(FieldType::Json.canonical(nested(32).as_bytes()).is_some());
        assert!(FieldType::Json.canonical(nested(33).as_bytes()).is_none());
        assert!(FieldType::Json
            .canonical(nested(1_000_000).as_bytes())
            .is_none());
    }

    #[test]
    fn values_that_are_not_utf8_fit_strings_only() {
        for (field_type, ..) in FieldType::ALL {
            let fits = field_type.canonical(b"\"\xff\"").is_some();
            assert_eq!(fits, field_type == FieldType::String, "{field_type:?}");
        }
    }

    #[test]
    fn types_are_named_by_word_or_letter() {
        for (field_type, name, letter) in FieldType::ALL {
            assert_eq!(
                FieldType::parse(name.to_uppercase().as_bytes()),
                Some(field_type)
            );
            assert_eq!(FieldType::parse(&[letter]), Some(field_type));
        }
        assert_eq!(FieldType::parse(b"text"), None);
        assert_eq!(FieldType::parse(b""), None);
    }
}
