//! Numbers, against arithmetic with pencil and paper: a number is written out, digit by digit, by moving its point.

use super::look_at;
use crate::entity::number::Number;
use crate::entity::value::{FieldType, InputValue};

/// A number without exponent: its sign, the digits before and behind the point without zeros that say nothing.
#[derive(Debug, PartialEq)]
struct Plain {
    minus: bool,
    whole: String,
    fraction: String,
}

/// Exponents beyond it are not written out.
const FAR: i64 = 10_000;

impl Plain {
    /// `None` if it is no number, an error with its sign and digits if its exponent is too far out.
    fn parse(text: &str) -> Option<Result<Plain, bool>> {
        let is_word = text
            .bytes()
            .any(|byte| matches!(byte, b'i' | b'I' | b'n' | b'N'));
        if is_word || text.parse::<f64>().is_err() {
            return None;
        }
        let minus = text.starts_with('-');
        let size = text.trim_start_matches(['-', '+']);
        let (size, exponent) = size.split_once(['e', 'E']).unwrap_or((size, "0"));
        let (whole, fraction) = size.split_once('.').unwrap_or((size, ""));
        let is_zero = !size.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
        let exponent = match exponent.parse::<i64>() {
            Ok(exponent) if exponent.abs() <= FAR => exponent,
            _ if is_zero => 0,
            _ => return Some(Err(exponent.starts_with('-'))),
        };
        let (mut whole, mut fraction) = (whole.to_owned(), fraction.to_owned());
        let zeros = "0".repeat(exponent.unsigned_abs() as usize);
        if exponent > 0 {
            fraction.push_str(&zeros);
            let rest = fraction.split_off(zeros.len());
            whole.push_str(&fraction);
            fraction = rest;
        } else {
            whole.insert_str(0, &zeros);
            let moved = whole.split_off(whole.len() - zeros.len());
            fraction.insert_str(0, &moved);
        }
        Some(Ok(Plain {
            minus: minus && !is_zero,
            whole: whole.trim_start_matches('0').into(),
            fraction: fraction.trim_end_matches('0').into(),
        }))
    }

    /// As type decimal has it.
    fn decimal(&self, scale: Option<usize>) -> Option<String> {
        let scale = scale.unwrap_or(self.fraction.len());
        if self.fraction.len() > scale || self.whole.len() + scale > 1000 {
            return None;
        }
        let sign = if self.minus { "-" } else { "" };
        let whole = match &*self.whole {
            "" => "0",
            whole => whole,
        };
        Some(match scale {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{:0<scale$}", self.fraction),
        })
    }
}

/// A number as JSON writes it.
fn is_json(text: &str) -> bool {
    let size = text.strip_prefix('-').unwrap_or(text);
    let (size, exponent) = size.split_once('e').unwrap_or((size, "0"));
    let (whole, fraction) = size.split_once('.').unwrap_or((size, "0"));
    let is_all = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let is_plain = whole == "0" || !whole.starts_with('0');
    is_plain && is_all(whole) && is_all(fraction) && is_all(exponent.trim_start_matches('-'))
}

/// Two texts, each with a type for it before it: two bytes, which are the scale of a decimal.
pub fn decimal(bytes: &[u8]) {
    let Some((scale, texts)) = bytes.split_at_checked(2) else {
        return;
    };
    // Mostly small ones, since most numbers have few digits.
    let scale = match scale[0] {
        0..=239 => u16::from(scale[1] % 12),
        _ => (u16::from(scale[0]) << 8 | u16::from(scale[1])) % 1001,
    };
    let mut texts = texts.splitn(2, |byte| *byte == b' ');
    let (one, other) = (texts.next().unwrap_or_default(), texts.next());
    look_at_number(one, scale);
    if let Some(other) = other {
        look_at_number(other, scale);
        compare(one, other);
    }
}

fn look_at_number(bytes: &[u8], scale: u16) {
    let plain = std::str::from_utf8(bytes).ok().and_then(Plain::parse);
    let number = Number::parse(bytes);
    assert_eq!(number.is_some(), plain.is_some(), "whether it is a number");
    let decimals = [None, Some(scale)].map(|scale| (FieldType::Decimal(scale), scale));
    for (field_type, scale) in decimals {
        let canonical = field_type.canonical(bytes);
        let expected = match &plain {
            Some(Ok(plain)) => plain.decimal(scale.map(usize::from)),
            // Too large, or too many digits behind the point.
            Some(Err(_)) | None => None,
        };
        let text = canonical.as_deref().map(String::from_utf8_lossy);
        assert_eq!(text.as_deref(), expected.as_deref(), "{field_type:?}");
        look_at_value(field_type, bytes, expected.as_deref());
    }
    let (Some(number), Some(plain)) = (number, plain) else {
        return;
    };
    let integer = match &plain {
        Ok(plain) if plain.fraction.is_empty() && plain.whole.len() <= 20 => plain
            .decimal(None)
            .and_then(|text| text.parse::<i128>().ok()),
        _ => None,
    };
    assert_eq!(number.to_integer(), integer);
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let double = text.parse::<f64>().ok().filter(|double| double.is_finite());
    assert_eq!(number.to_double(), double, "{text}");
    if let Some(json) = number.to_json() {
        assert!(is_json(&json), "{json}");
        let again = Number::parse(json.as_bytes()).expect("a number");
        assert!(again == number, "{json}");
        assert_eq!(again.to_json(), Some(json));
    } else {
        assert!(
            plain.is_err(),
            "a number that can be written out has its text in JSON"
        );
    }
}

/// A client's value comes to the same text, or to an error that names the field.
fn look_at_value(field_type: FieldType, bytes: &[u8], expected: Option<&str>) {
    let values = [
        InputValue::Plain(bytes),
        InputValue::Text(bytes.into()),
        InputValue::Number(bytes.into()),
    ];
    // A number comes from a parser that knows what is one.
    let number = usize::from(Number::parse(bytes).is_some());
    for value in values.into_iter().take(2 + number) {
        match field_type.coerce(b"f", value) {
            Ok(text) => assert_eq!(Some(&*text), expected.map(str::as_bytes)),
            Err(error) => {
                assert_eq!(expected, None, "{error}");
                look_at(&error);
            }
        }
    }
    if let Some(expected) = expected {
        let canonical = expected.as_bytes();
        assert!(field_type.holds(canonical), "{expected}");
        let again = field_type.canonical(canonical);
        assert_eq!(again.as_deref(), Some(canonical), "{field_type:?}");
    }
}

/// Numbers are equal if they are written out to the same digits.
fn compare(one: &[u8], other: &[u8]) {
    let numbers = Number::parse(one).zip(Number::parse(other));
    let plain = |bytes| std::str::from_utf8(bytes).ok().and_then(Plain::parse);
    let (Some((one, other)), Some(Ok(first)), Some(Ok(second))) =
        (numbers, plain(one), plain(other))
    else {
        return;
    };
    assert_eq!(one == other, first == second);
    assert_eq!(other == one, first == second);
}
