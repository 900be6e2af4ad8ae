//! Types of fields, values as clients give them, and the canonical text of each.

use super::bytes::Bytes;
use super::json;
use super::number::{MAX_DIGITS, Number};
use super::{decimal, number};
use crate::error::{Error, Quoted};
use std::borrow::Cow;
use time::{Date, Month, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A field's value as a client gave it. The field's type decides what it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputValue<'a> {
    /// The bytes that stand in a field list.
    Plain(&'a [u8]),
    /// A string of JSON; a str or bin of MessagePack.
    Text(Bytes<'a>),
    /// A number as JSON writes it; the digits of a MessagePack integer.
    Number(Bytes<'a>),
    /// A MessagePack float, as [`double_text`] writes it.
    Float(Bytes<'a>),
    Bool(bool),
    /// A MessagePack timestamp, as the canonical text of type time.
    Time(Bytes<'a>),
    /// An array or object, as the canonical text of type json.
    Json(Bytes<'a>),
}

impl<'a> InputValue<'a> {
    /// What is stored of it where no type is declared.
    pub fn text(&self) -> &[u8] {
        match self {
            InputValue::Plain(text) => text,
            InputValue::Text(text)
            | InputValue::Number(text)
            | InputValue::Float(text)
            | InputValue::Time(text)
            | InputValue::Json(text) => text,
            InputValue::Bool(value) => bool_text(*value),
        }
    }

    pub fn into_text(self) -> Bytes<'a> {
        match self {
            InputValue::Plain(text) => text.into(),
            InputValue::Text(text)
            | InputValue::Number(text)
            | InputValue::Float(text)
            | InputValue::Time(text)
            | InputValue::Json(text) => text,
            InputValue::Bool(value) => bool_text(value).into(),
        }
    }

    /// The text if it stands in the client's command.
    pub fn borrowed(&self) -> Option<&'a [u8]> {
        match self {
            InputValue::Plain(text)
            | InputValue::Text(Cow::Borrowed(text))
            | InputValue::Number(Cow::Borrowed(text))
            | InputValue::Float(Cow::Borrowed(text))
            | InputValue::Time(Cow::Borrowed(text))
            | InputValue::Json(Cow::Borrowed(text)) => Some(text),
            InputValue::Bool(value) => Some(bool_text(*value)),
            _ => None,
        }
    }

    /// The type that it gives a field without a declared one.
    pub fn own_type(&self) -> FieldType {
        match self {
            InputValue::Plain(_) | InputValue::Text(_) => FieldType::String,
            InputValue::Number(text) => type_of_number(text),
            InputValue::Float(_) => FieldType::Float,
            InputValue::Bool(_) => FieldType::Bool,
            InputValue::Time(_) => FieldType::Time,
            InputValue::Json(_) => FieldType::Json,
        }
    }

    /// As an error shows it.
    fn quoted(&self) -> Quoted {
        match self {
            InputValue::Bool(true) => Quoted::new(b"true"),
            InputValue::Bool(false) => Quoted::new(b"false"),
            value => Quoted::new(value.text()),
        }
    }
}

fn bool_text(value: bool) -> &'static [u8] {
    match value {
        true => b"1",
        false => b"0",
    }
}

/// The type of a number that keeps its digits as they are written: one that loses none of them.
fn type_of_number(text: &[u8]) -> FieldType {
    let is_whole = text.iter().all(|byte| !matches!(byte, b'.' | b'e' | b'E'));
    let types: &[FieldType] = match is_whole {
        true => &[FieldType::Int, FieldType::Uint, FieldType::Decimal(None)],
        false => &[FieldType::Float, FieldType::Decimal(None)],
    };
    let mut types = types.iter().copied();
    types
        .find(|field_type| field_type.holds(text))
        .unwrap_or_default()
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
    /// With exactly so many digits behind the point, if that is said.
    Decimal(Option<u16>),
    Date,
    DateTime,
}

impl FieldType {
    const ALL: [(FieldType, &'static str, u8); 10] = [
        (FieldType::String, "string", b's'),
        (FieldType::Int, "int", b'i'),
        (FieldType::Uint, "uint", b'u'),
        (FieldType::Float, "float", b'f'),
        (FieldType::Decimal(None), "decimal", b'd'),
        (FieldType::Bool, "bool", b'b'),
        (FieldType::Time, "time", b't'),
        (FieldType::Date, "date", b'y'),
        (FieldType::DateTime, "datetime", b'w'),
        (FieldType::Json, "json", b'j'),
    ];

    /// The words of TYPES, for an error.
    pub const CHOICES: &'static str = "string, int, uint, float, decimal, decimal:n (n from 0 to 1000), bool, time, \
        date, datetime or json";

    /// A word of TYPES.
    pub fn parse(word: &[u8]) -> Option<Self> {
        match word.split_at_checked(8) {
            Some((name, scale)) if name.eq_ignore_ascii_case(b"decimal:") => {
                let scale = u16::try_from(decimal::parse(scale)?).ok()?;
                let fits = usize::from(scale) <= MAX_DIGITS;
                fits.then_some(FieldType::Decimal(Some(scale)))
            }
            _ => {
                let mut all = Self::ALL.iter();
                all.find(|(_, name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
                    .map(|(field_type, ..)| *field_type)
            }
        }
    }

    /// The `t` of an event's values.
    pub fn from_letter(text: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(.., letter)| text == [*letter])
            .map(|(field_type, ..)| *field_type)
    }

    /// The word of TYPES.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            FieldType::Decimal(Some(scale)) => format!("decimal:{scale}").into(),
            other => other.row().1.into(),
        }
    }

    /// The `t` of an event's values; it does not tell a decimal's scale.
    pub fn letter(self) -> u8 {
        self.row().2
    }

    fn row(self) -> &'static (FieldType, &'static str, u8) {
        let of_event = match self {
            FieldType::Decimal(_) => FieldType::Decimal(None),
            other => other,
        };
        Self::ALL
            .iter()
            .find(|(field_type, ..)| *field_type == of_event)
            .unwrap_or(&Self::ALL[0])
    }

    fn expected(self) -> Cow<'static, str> {
        match self {
            FieldType::String => "a string",
            FieldType::Int => "a 64-bit signed integer",
            FieldType::Uint => "a 64-bit unsigned integer",
            FieldType::Float => "a finite number",
            FieldType::Decimal(None) => "a number of at most 1000 digits",
            FieldType::Decimal(Some(scale)) => {
                let behind = format!("at most {scale} of them behind the point");
                return format!("a number whose canonical text has at most 1000 digits, {behind}")
                    .into();
            }
            FieldType::Bool => "1, 0, true or false",
            FieldType::Time => "an RFC 3339 time with its zone, such as 2026-01-02T03:04:05Z",
            FieldType::Date => "a date, YYYY-MM-DD",
            FieldType::DateTime => "a date and time without a zone, YYYY-MM-DDThh:mm:ss",
            FieldType::Json => json::EXPECTED,
        }
        .into()
    }

    /// The one text that stands for this value: equal values of a type have equal texts.
    ///
    /// | type | canonical text |
    /// | --- | --- |
    /// | string | the bytes |
    /// | int, uint | decimal |
    /// | float | the shortest that reads back the same, without exponent between 1e-5 and 1e21 |
    /// | decimal | no exponent, no zeros in front or at the end; with a scale, exactly so many digits behind the point |
    /// | bool | `1` or `0` |
    /// | time | RFC 3339 in UTC with `Z`, fraction only if not zero |
    /// | date | `YYYY-MM-DD` |
    /// | datetime | `YYYY-MM-DDThh:mm:ss`, fraction only if not zero |
    /// | json | no white space between tokens, keys in the order given, numbers as [`Number::to_json`] has them |
    pub fn canonical(self, text: &[u8]) -> Option<Cow<'_, [u8]>> {
        let owned = match self {
            FieldType::String => return Some(Cow::Borrowed(text)),
            FieldType::Int | FieldType::Uint if number::is_plain_integer(text) => {
                // It fits either, but for its sign.
                let fits = self == FieldType::Int || !text.starts_with(b"-");
                return fits.then_some(Cow::Borrowed(text));
            }
            FieldType::Int => i64::try_from(integer(text)?).ok()?.to_string(),
            FieldType::Uint => u64::try_from(integer(text)?).ok()?.to_string(),
            FieldType::Float => canonical_float(double(text)?)?,
            FieldType::Decimal(scale) => Number::parse(text)?.to_decimal(scale)?,
            FieldType::Bool => canonical_bool(text)?.into(),
            FieldType::Time => canonical_time(utf8(text)?)?,
            FieldType::Date => return is_date(text).then_some(Cow::Borrowed(text)),
            FieldType::DateTime => canonical_datetime(text)?,
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
    pub fn interpret(self, text: &[u8]) -> (FieldType, Cow<'_, [u8]>) {
        match self.canonical(text) {
            Some(canonical) => (self, canonical),
            None => (FieldType::String, text.into()),
        }
    }

    /// Whether a text of a field without a declared type is a value of this one, as it is written. A number
    /// keeps zeros that say nothing, but no double stands for digits that it does not have.
    pub fn holds(self, text: &[u8]) -> bool {
        match self {
            FieldType::Float => {
                let Some(double) = double(text) else {
                    return false;
                };
                let texts = [canonical_float(double), double_text(double)];
                let mut texts = texts.iter().flatten();
                texts.any(|same| Number::parse(same.as_bytes()) == Number::parse(text))
            }
            _ => self
                .canonical(text)
                .is_some_and(|canonical| *canonical == *text),
        }
    }

    /// The canonical text of a value that a client gives a field of this type.
    pub fn coerce<'a>(self, field: &[u8], value: InputValue<'a>) -> Result<Bytes<'a>, Error> {
        let text = match (self, value) {
            (FieldType::String, value @ InputValue::Bool(_)) => {
                return Err(self.refuse(field, &value));
            }
            (FieldType::String, value) => return Ok(value.into_text()),
            (FieldType::Json, InputValue::Plain(text)) => text.into(),
            // What the snapshot says in JSON stays JSON: `"5"` is not `5`.
            (FieldType::Json, value) => {
                return match value.json() {
                    Some(json) => Ok(json),
                    None => Err(self.refuse(field, &value)),
                };
            }
            (FieldType::Bool, InputValue::Bool(value)) => return Ok(bool_text(value).into()),
            // It would become 1 or 0, which nobody means by true or false.
            (_, value @ InputValue::Bool(_)) => return Err(self.refuse(field, &value)),
            (FieldType::Time, InputValue::Time(text)) => return Ok(text),
            (_, value) => value.into_text(),
        };
        let bad = |text: &[u8]| self.refuse(field, &InputValue::Plain(text));
        match text {
            Cow::Borrowed(text) => self.canonical(text).ok_or_else(|| bad(text)),
            Cow::Owned(text) => match self.canonical(&text) {
                Some(Cow::Owned(canonical)) => Ok(canonical.into()),
                Some(Cow::Borrowed(_)) => Ok(text.into()),
                None => Err(bad(&text)),
            },
        }
    }

    fn refuse(self, field: &[u8], value: &InputValue) -> Error {
        let lacks_zone = self == FieldType::Time && canonical_datetime(value.text()).is_some();
        Error::BadValue {
            field: Quoted::new(field),
            expected: match lacks_zone {
                true => "an RFC 3339 time with its zone (datetime takes one without a zone)".into(),
                false => self.expected(),
            },
            got: value.quoted(),
        }
    }
}

impl<'a> InputValue<'a> {
    /// As the canonical text of type json, if it has one.
    fn json(&self) -> Option<Bytes<'a>> {
        Some(match self {
            InputValue::Plain(_) | InputValue::Text(_) | InputValue::Time(_) => {
                serde_json::to_vec(utf8(self.text())?).ok()?.into()
            }
            InputValue::Number(Cow::Borrowed(number)) => json::canonical_number(number)?,
            InputValue::Number(number) => json::canonical_number(number)?.into_owned().into(),
            // The texts of doubles are those of JSON.
            InputValue::Float(text) | InputValue::Json(text) => text.clone(),
            InputValue::Bool(true) => b"true".as_slice().into(),
            InputValue::Bool(false) => b"false".as_slice().into(),
        })
    }
}

fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

fn integer(text: &[u8]) -> Option<i128> {
    Number::parse(text)?.to_integer()
}

/// A double as JSON writes numbers, unless it is infinite or not a number. One that is an integer has all its
/// digits. Others are known by their shortest text: what somebody meant who wrote 0.1 is not
/// 0.1000000000000000055511151231257827.
pub fn double_text(double: f64) -> Option<String> {
    // Up to here the shortest digits are all digits, and beyond it every double is an integer.
    const SHORT: f64 = 9_007_199_254_740_992.0;
    if double.abs() <= SHORT || !double.is_finite() {
        return canonical_float(double);
    }
    // Rust writes the shortest digits and then zeros; with a precision it writes all of them.
    Number::parse(format!("{double:.0}").as_bytes())?.to_json()
}

/// The nearest double. It may be infinite or not a number.
fn double(text: &[u8]) -> Option<f64> {
    // The standard library does not count an exponent to its end that makes good for this many digits.
    const LONG: usize = 1000;
    match text.len() <= LONG {
        true => utf8(text)?.parse().ok(),
        false => Number::parse(text)?.to_double(),
    }
}

/// The text of type float for a double, unless that is infinite or not a number.
pub fn canonical_float(number: f64) -> Option<String> {
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
        match integer(text)? {
            1 => Some("1"),
            0 => Some("0"),
            _ => None,
        }
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

/// Two or four digits.
fn digits(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0u16, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// `YYYY-MM-DD`, a day that there is.
fn is_date(text: &[u8]) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return false;
    };
    let [year, month, day] = [&[*y1, *y2, *y3, *y4][..], &[*m1, *m2], &[*d1, *d2]].map(digits);
    let date = || {
        let month = Month::try_from(u8::try_from(month?).ok()?).ok()?;
        Date::from_calendar_date(year?.into(), month, u8::try_from(day?).ok()?).ok()
    };
    date().is_some()
}

fn canonical_datetime(text: &[u8]) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    let [
        b'T' | b't' | b' ',
        h1,
        h2,
        b':',
        m1,
        m2,
        b':',
        s1,
        s2,
        fraction @ ..,
    ] = rest
    else {
        return None;
    };
    let in_range = |tens: &u8, ones: &u8, below| digits(&[*tens, *ones]).is_some_and(|n| n < below);
    if !is_date(date) || !in_range(h1, h2, 24) || !in_range(m1, m2, 60) || !in_range(s1, s2, 60) {
        return None;
    }
    let fraction = match fraction {
        [] => "",
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            digits.iter().all(u8::is_ascii_digit).then_some(())?;
            utf8(fraction)?.trim_end_matches('0').trim_end_matches('.')
        }
        _ => return None,
    };
    let time = utf8(rest.get(1..9)?)?;
    Some(format!("{}T{time}{fraction}", utf8(date)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Texts = [(&'static str, Option<&'static str>)];

    /// Of each type: texts, and the canonical text of each, if it is one of the type.
    const CANONICAL: &[(FieldType, &Texts)] = &[
        (FieldType::String, &[("", Some("")), (" a ", Some(" a "))]),
        (
            FieldType::Int,
            &[
                ("5", Some("5")),
                ("+5", Some("5")),
                ("007", Some("7")),
                ("-0", Some("0")),
                ("-9223372036854775808", Some("-9223372036854775808")),
                ("9223372036854775808", None),
                ("", None),
                (" 5", None),
                ("5.0", Some("5")),
                ("7E+3", Some("7000")),
                ("-12.50e1", Some("-125")),
                ("9223372036854775807.0", Some("9223372036854775807")),
                ("9223372036854775807.5", None),
                ("9223372036854775808.0", None),
                ("0.9999999999999999999999", None),
                ("1e-400", None),
                ("1e999999999", None),
                ("0e999999999", Some("0")),
            ],
        ),
        (
            FieldType::Uint,
            &[
                ("-0", Some("0")),
                ("-0.0", Some("0")),
                ("1.8446744073709551615e19", Some("18446744073709551615")),
                ("18446744073709551615", Some("18446744073709551615")),
                ("18446744073709551616", None),
                ("-1", None),
            ],
        ),
        (
            FieldType::Float,
            &[
                ("1.50", Some("1.5")),
                ("1.5", Some("1.5")),
                ("1e2", Some("100")),
                ("-0.0", Some("0")),
                ("0.00001", Some("0.00001")),
                ("0.000001", Some("1e-6")),
                ("1e20", Some("100000000000000000000")),
                ("1e21", Some("1e21")),
                ("-2.5e-7", Some("-2.5e-7")),
                ("0.1", Some("0.1")),
                ("5e-324", Some("5e-324")),
                ("nan", None),
                ("inf", None),
                ("1e999", None),
                ("", None),
                ("1e-400", Some("0")),
                ("0.9999999999999999999999", Some("1")),
                ("1e999999999", None),
            ],
        ),
        (
            FieldType::Decimal(None),
            &[
                ("10.50", Some("10.5")),
                ("+007", Some("7")),
                ("-0.00", Some("0")),
                ("1e-3", Some("0.001")),
                ("9999999999999999.99", Some("9999999999999999.99")),
                ("1e1000", None),
                ("NaN", None),
                ("", None),
            ],
        ),
        (
            FieldType::Decimal(Some(2)),
            &[
                ("10.5", Some("10.50")),
                ("-0", Some("0.00")),
                ("10.505", None),
            ],
        ),
        (FieldType::Decimal(Some(0)), &[("1e2", Some("100"))]),
        (
            FieldType::Bool,
            &[
                ("true", Some("1")),
                ("TRUE", Some("1")),
                ("1", Some("1")),
                ("false", Some("0")),
                ("0", Some("0")),
                ("1.0", Some("1")),
                ("-0", Some("0")),
                ("2", None),
                ("yes", None),
            ],
        ),
        (
            FieldType::Date,
            &[
                ("2026-01-02", Some("2026-01-02")),
                ("0000-02-29", Some("0000-02-29")),
                ("2026-02-29", None),
                ("2026-13-01", None),
                ("2026-1-2", None),
                ("2026-01-02T00:00:00", None),
                ("10000-01-01", None),
                ("", None),
            ],
        ),
        (
            FieldType::DateTime,
            &[
                ("2026-01-02T03:04:05", Some("2026-01-02T03:04:05")),
                ("2026-01-02 03:04:05", Some("2026-01-02T03:04:05")),
                ("2026-01-02t03:04:05.000", Some("2026-01-02T03:04:05")),
                ("2026-01-02T23:59:59.1200", Some("2026-01-02T23:59:59.12")),
                (
                    "2026-01-02T23:59:59.123456789",
                    Some("2026-01-02T23:59:59.123456789"),
                ),
                ("2026-01-02T23:59:59.1234567890", None),
                ("2026-01-02T23:59:59.", None),
                ("2026-01-02T23:59:60", None),
                ("2026-01-02T24:00:00", None),
                ("2026-01-02T23:60:00", None),
                ("2026-01-02T03:04:05Z", None),
                ("2026-01-02T03:04:05+01:00", None),
                ("2026-01-02x03:04:05", None),
                ("2026-02-30T03:04:05", None),
                ("2026-01-02T03:04", None),
                ("2026-01-02", None),
            ],
        ),
        (
            FieldType::Time,
            &[
                ("2026-01-02T04:04:05+01:00", Some("2026-01-02T03:04:05Z")),
                ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
                ("2026-01-02T03:04:05.500Z", Some("2026-01-02T03:04:05.5Z")),
                ("2026-01-02T03:04:05.000Z", Some("2026-01-02T03:04:05Z")),
                (
                    "2026-01-02 03:04:05.123456789Z",
                    Some("2026-01-02T03:04:05.123456789Z"),
                ),
                ("2026-01-02t03:04:05z", Some("2026-01-02T03:04:05Z")),
                ("2026-01-02x03:04:05Z", None),
                ("2026-01-02T03:04:05.1234567891Z", None),
                ("2016-12-31T23:59:60Z", None),
                ("2026-02-30T03:04:05Z", None),
                ("9999-12-31T23:59:59-01:00", None),
                ("2026-01-02", None),
                ("1767323045", None),
            ],
        ),
        (
            FieldType::Json,
            &[
                (
                    r#" { "b" : [ 1 , 2.0 ] , "a" : "x y\" z" } "#,
                    Some(r#"{"b":[1,2],"a":"x y\" z"}"#),
                ),
                ("null", Some("null")),
                ("\"\\\\\" ", Some("\"\\\\\"")),
                ("", None),
                ("{", None),
                ("{} {}", None),
                ("[1,]", None),
                ("NaN", None),
            ],
        ),
    ];

    #[test]
    fn each_type_has_one_text_for_equal_values() {
        let all = CANONICAL.iter().flat_map(|(field_type, texts)| {
            texts
                .iter()
                .map(move |(text, canonical)| (field_type, text, canonical))
        });
        for (field_type, text, canonical) in all {
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
        assert!(
            FieldType::Json
                .canonical(nested(1_000_000).as_bytes())
                .is_none()
        );
    }

    #[test]
    fn values_that_are_not_utf8_fit_strings_only() {
        for (field_type, ..) in FieldType::ALL {
            let fits = field_type.canonical(b"\"\xff\"").is_some();
            assert_eq!(fits, field_type == FieldType::String, "{field_type:?}");
        }
    }

    #[test]
    fn types_are_named_by_words() {
        for (field_type, name, letter) in FieldType::ALL {
            assert_eq!(
                FieldType::parse(name.to_uppercase().as_bytes()),
                Some(field_type)
            );
            assert_eq!(field_type.name(), name);
            assert_eq!(FieldType::from_letter(&[letter]), Some(field_type));
            assert_eq!(FieldType::parse(&[letter]), None);
        }
        for (word, scale) in [("decimal:0", 0), ("DECIMAL:2", 2), ("decimal:1000", 1000)] {
            let field_type = FieldType::Decimal(Some(scale));
            assert_eq!(FieldType::parse(word.as_bytes()), Some(field_type));
            assert_eq!(field_type.name(), word.to_lowercase());
            assert_eq!(field_type.letter(), b'd');
        }
        for word in [
            "text",
            "",
            "decimal:",
            "decimal:x",
            "decimal:02",
            "decimal:-1",
            "decimal:1001",
            "int:2",
        ] {
            assert_eq!(FieldType::parse(word.as_bytes()), None, "{word}");
        }
    }

    fn plain(text: &str) -> InputValue<'_> {
        InputValue::Plain(text.as_bytes())
    }

    fn number(text: &str) -> InputValue<'_> {
        InputValue::Number(text.as_bytes().into())
    }

    fn float(double: f64) -> InputValue<'static> {
        InputValue::Float(double_text(double).unwrap().into_bytes().into())
    }

    const TYPES: [FieldType; 9] = [
        FieldType::String,
        FieldType::Int,
        FieldType::Uint,
        FieldType::Float,
        FieldType::Decimal(None),
        FieldType::Decimal(Some(2)),
        FieldType::Bool,
        FieldType::Date,
        FieldType::Json,
    ];

    /// What a field of each of these types makes of a value, or an empty text if it refuses it.
    fn coerced(value: &InputValue) -> [String; 9] {
        TYPES.map(|field_type| {
            let text = field_type.coerce(b"f", value.clone());
            text.map_or(String::new(), |text| {
                String::from_utf8(text.into_owned()).unwrap()
            })
        })
    }

    /// Notations of values, and the text that each of `TYPES` has for them: a `-` where it refuses them.
    const NOTATIONS: &str = r#"
plain 1.0 => 1.0 1 1 1 1 1.00 1 - 1
number 1.0 => 1.0 1 1 1 1 1.00 1 - 1
number 1 => 1 1 1 1 1 1.00 1 - 1
float 1 => 1 1 1 1 1 1.00 1 - 1
text 1.0 => 1.0 1 1 1 1 1.00 1 - "1.0"
plain -0 => -0 0 0 0 0 0.00 0 - 0
number -0 => -0 0 0 0 0 0.00 0 - 0
number -0.0 => -0.0 0 0 0 0 0.00 0 - 0
float -0.0 => 0 0 0 0 0 0.00 0 - 0
number 7E+3 => 7E+3 7000 7000 7000 7000 7000.00 - - 7000
plain 10.50 => 10.50 - - 10.5 10.5 10.50 - - 10.5
float 10.5 => 10.5 - - 10.5 10.5 10.50 - - 10.5
float 0.1 => 0.1 - - 0.1 0.1 0.10 - - 0.1
number 1e-400 => 1e-400 - - 0 0.{399}1 - - - 1e-400
number 1e400 => 1e400 - - - 1{400} 1{400}.00 - - 1e400
number 1e999999999 => 1e999999999 - - - - - - - 1e999999999
# 2^60: all digits, but for type float the shortest text that is the same double.
float 1152921504606846976 => 1152921504606846976 1152921504606846976 1152921504606846976 1152921504606847000
  1152921504606846976 1152921504606846976.00 - - 1152921504606846976
number 1152921504606846976 => 1152921504606846976 1152921504606846976 1152921504606846976 1152921504606847000
  1152921504606846976 1152921504606846976.00 - - 1152921504606846976
number 12345678901234567.89 => 12345678901234567.89 - - 12345678901234568
  12345678901234567.89 12345678901234567.89 - - 12345678901234567.89
float 9223372036854775808 => 9223372036854775808 - 9223372036854775808 9223372036854776000
  9223372036854775808 9223372036854775808.00 - - 9223372036854775808
float 1e21 => 1e21 - - 1e21 1000000000000000000000 1000000000000000000000.00 - - 1e21
float 1e23 => 9.9999999999999991611392e22 - - 1e23
  99999999999999991611392 99999999999999991611392.00 - - 9.9999999999999991611392e22
float 1e16 => 10000000000000000 10000000000000000 10000000000000000 10000000000000000
  10000000000000000 10000000000000000.00 - - 10000000000000000
float 1e-7 => 1e-7 - - 1e-7 0.0000001 - - - 1e-7
bool true => - - - - - - 1 - true
bool false => - - - - - - 0 - false
json [1] => [1] - - - - - - - [1]
text 2026-01-02 => 2026-01-02 - - - - - - 2026-01-02 "2026-01-02"
plain x => x - - - - - - - -
"#;

    fn noted<'t>(notation: &str, text: &'t str) -> InputValue<'t> {
        match notation {
            "plain" => plain(text),
            "number" => number(text),
            "float" => float(text.parse().unwrap()),
            "bool" => InputValue::Bool(text.parse().unwrap()),
            "json" => InputValue::Json(text.as_bytes().into()),
            "text" => InputValue::Text(text.as_bytes().into()),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn each_type_has_its_text_of_each_notation() {
        let table = NOTATIONS
            .replace("\n ", "")
            .replace("{399}", &"0".repeat(399))
            .replace("{400}", &"0".repeat(400));
        let lines: Vec<&str> = table.lines().filter(|line| line.contains(" => ")).collect();
        assert_eq!(lines.len(), 29);
        for line in lines {
            let (value, expected) = line.split_once(" => ").unwrap();
            let (notation, text) = value.split_once(' ').unwrap();
            let got = coerced(&noted(notation, text));
            let expected: Vec<&str> = expected.split_whitespace().collect();
            let got = got.map(|text| if text.is_empty() { "-".into() } else { text });
            assert_eq!(got.as_slice(), expected, "{value}");
        }
    }

    #[test]
    fn a_number_without_a_declared_type_has_the_first_type_that_loses_no_digit() {
        let digits = "1".repeat(1001);
        for (text, expected) in [
            ("5", FieldType::Int),
            ("-9223372036854775808", FieldType::Int),
            ("9223372036854775808", FieldType::Uint),
            ("18446744073709551616", FieldType::Decimal(None)),
            ("-9223372036854775809", FieldType::Decimal(None)),
            ("-0", FieldType::String),
            (&digits, FieldType::String),
            ("1.0", FieldType::Float),
            ("1.50", FieldType::Float),
            ("0.1", FieldType::Float),
            ("1e2", FieldType::Float),
            ("1e300", FieldType::Float),
            ("1152921504606846976.0", FieldType::Float),
            ("1152921504606846977.0", FieldType::String),
            ("12345678901234567.89", FieldType::Decimal(None)),
            ("12345678901234567.890", FieldType::String),
            ("1e999", FieldType::String),
            ("1e-400", FieldType::String),
        ] {
            assert_eq!(number(text).own_type(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_type_refuses_is_told_with_what_it_takes() {
        let time = "2026-01-02T03:04:05";
        for (field_type, value, expected) in [
            (
                FieldType::Int,
                number("1.5"),
                "a 64-bit signed integer, not \"1.5\"",
            ),
            (
                FieldType::Decimal(Some(2)),
                number("0.125"),
                "a number whose canonical text has at most 1000 digits, at most 2 of them behind the point, not \"0.125\"",
            ),
            (
                FieldType::Time,
                plain(time),
                "an RFC 3339 time with its zone (datetime takes one without a zone), not \"2026-01-02T03:04:05\"",
            ),
            (
                FieldType::Time,
                plain("yesterday"),
                "an RFC 3339 time with its zone, such as 2026-01-02T03:04:05Z, not \"yesterday\"",
            ),
            (
                FieldType::Time,
                plain("2026-02-30T03:04:05"),
                "an RFC 3339 time with its zone, such as 2026-01-02T03:04:05Z, not \"2026-02-30T03:04:05\"",
            ),
            (
                FieldType::String,
                InputValue::Bool(true),
                "a string, not \"true\"",
            ),
            (
                FieldType::Date,
                InputValue::Bool(false),
                "a date, YYYY-MM-DD, not \"false\"",
            ),
        ] {
            let error = field_type.coerce(b"f", value).unwrap_err().to_string();
            assert_eq!(error, format!("BADVALUE field \"f\" takes {expected}"));
        }
    }

    /// The same number in each notation: of a field list, of JSON, of MessagePack.
    fn notations(integer: i64) -> Vec<InputValue<'static>> {
        let mut all = Vec::new();
        for text in [
            integer.to_string(),
            format!("{integer}.0"),
            format!("{integer}.000e0"),
            format!("{integer}0E-1"),
            format!("{integer}000.0e-3"),
        ] {
            all.push(InputValue::Text(text.clone().into_bytes().into()));
            all.push(InputValue::Number(text.into_bytes().into()));
        }
        let double = integer as f64;
        if double as i128 == i128::from(integer) {
            all.push(float(double));
        }
        all
    }

    proptest! {
        #[test]
        fn a_number_has_one_text_however_it_is_written(integer: i64, small in -9_000_000i64..9_000_000) {
            for integer in [integer, small] {
                for field_type in TYPES.into_iter().skip(1) {
                    let mut first = None;
                    for value in notations(integer) {
                        if field_type == FieldType::Json && matches!(value, InputValue::Text(_)) {
                            continue; // a string
                        }
                        let shown = format!("{value:?}");
                        let text = field_type.coerce(b"f", value).ok();
                        if let Some(text) = &text {
                            let again = field_type.canonical(text);
                            prop_assert_eq!(again.as_deref(), Some(&**text), "{:?} of {}", field_type, shown);
                        }
                        let first = first.get_or_insert_with(|| text.clone());
                        prop_assert_eq!(&*first, &text, "{:?} of {}", field_type, shown);
                    }
                }
            }
        }

        #[test]
        fn the_texts_of_floats_are_those_of_json(double in proptest::num::f64::NORMAL) {
            for text in [canonical_float(double).unwrap(), double_text(double).unwrap()] {
                let json = json::canonical_number(text.as_bytes());
                prop_assert_eq!(json.as_deref(), Some(text.as_bytes()));
                prop_assert_eq!(text.parse(), Ok(double));
                prop_assert!(FieldType::Float.holds(text.as_bytes()), "{}", text);
            }
        }
    }
}
