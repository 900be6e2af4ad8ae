//! The canonical text of JSON values.

use super::bytes::Bytes;
use super::number::{Number, is_plain_integer};
use crate::unique::Seen;
use serde::de::IgnoredAny;
use serde_bytes::ByteBuf;
use std::borrow::Cow;

/// How deep a JSON value may be nested.
pub const MAX_DEPTH: usize = 32;

/// What `canonical` takes, for an error.
pub const EXPECTED: &str =
    "JSON of at most 32 levels, without repeated keys and exponents of more than 14 digits";

/// Drops the white space between tokens, and gives equal numbers one text, with all their digits: `1.0`,
/// `1e0` and `1` are `1`. Strings stay as they are written.
///
/// `None` for what is no JSON, is nested too deep, has a number beyond [`canonical_number`], or an object with a key twice, however it is
/// escaped: readers disagree about which of the two counts.
pub fn canonical(text: &str) -> Option<String> {
    // This checks the grammar, and does so without recursion; the rest relies on it.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut tokens = String::with_capacity(text.len());
    // What is open, outermost first: the keys so far of an object, `None` for an array.
    let mut open: Vec<Option<Seen<Cow<[u8]>>>> = Vec::new();
    let (mut rest, mut previous) = (text, 0);
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(&first) = rest.as_bytes().first() else {
            return Some(tokens);
        };
        let length = match first {
            b'"' => string_length(rest)?,
            b'-' | b'0'..=b'9' => number_length(rest),
            // Words go byte by byte.
            _ => 1,
        };
        let (token, after) = rest.split_at_checked(length)?;
        match first {
            b'[' | b'{' if open.len() >= MAX_DEPTH => return None,
            b'[' | b'{' => open.push((first == b'{').then(Seen::new)),
            b']' | b'}' => {
                open.pop();
            }
            b'"' if matches!(previous, b'{' | b',') => {
                if let Some(Some(keys)) = open.last_mut()
                    && !keys.insert(unescaped(token)?)
                {
                    return None;
                }
            }
            _ => {}
        }
        match first {
            b'-' | b'0'..=b'9' => match canonical_number(token.as_bytes())? {
                Cow::Borrowed(_) => tokens.push_str(token),
                Cow::Owned(number) => tokens.push_str(std::str::from_utf8(&number).ok()?),
            },
            _ => tokens.push_str(token),
        }
        (rest, previous) = (after, first);
    }
}

/// The one text of a number that JSON wrote. `None` if its exponent has more than 14 digits there: such numbers
/// would have several.
pub fn canonical_number(text: &[u8]) -> Option<Bytes<'_>> {
    if is_plain_integer(text) {
        return Some(text.into());
    }
    let number = Number::parse(text)?.to_json()?;
    Some(match number.as_bytes() == text {
        true => text.into(),
        false => number.into_bytes().into(),
    })
}

/// The length of the number that stands first.
fn number_length(text: &str) -> usize {
    let in_number = |byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let mut bytes = text.bytes();
    bytes
        .position(|byte| !in_number(byte))
        .unwrap_or(text.len())
}

/// The length of the string that stands first, with both its quotes.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    let inside = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    inside.checked_add(2)
}

/// What a string stands for. As bytes, since JSON allows half of a surrogate pair, which is no text.
fn unescaped(string: &str) -> Option<Cow<'_, [u8]>> {
    if string.contains('\\') {
        let bytes: ByteBuf = serde_json::from_str(string).ok()?;
        return Some(Cow::Owned(bytes.into_vec()));
    }
    let inside = string.strip_prefix('"')?.strip_suffix('"')?;
    Some(Cow::Borrowed(inside.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[test]
    fn white_space_goes_and_equal_numbers_have_one_text() {
        for (text, expected) in [
            ("null", "null"),
            (" \t\r\n[ ] \n", "[]"),
            ("{ }", "{}"),
            (
                r#" { "b" : [ 1 , 2.5 ] , "a" : "x y\" z" } "#,
                r#"{"b":[1,2.5],"a":"x y\" z"}"#,
            ),
            ("[ 1e999 , -0 , 1.50 ]", "[1e999,0,1.5]"),
            ("[0,0.0,-0.0,0e5,-0E-7]", "[0,0,0,0,0]"),
            (
                "{\"a\":1.0,\"b\":[1e16,1E+21,12.5e-8]}",
                "{\"a\":1,\"b\":[10000000000000000,1e21,1.25e-7]}",
            ),
            ("[12345678901234567.890]", "[12345678901234567.89]"),
            ("0.9999999999999999999999", "0.9999999999999999999999"),
            ("1e99999999999999", "1e99999999999999"),
            ("[10E+99999999999998]", "[1e99999999999999]"),
            ("-0.1e-99999999999998", "-1e-99999999999999"),
            ("0e9999999999999999999", "0"),
            (r#" "\\" "#, r#""\\""#),
            (r#" "\\\" [ { , : " "#, r#""\\\" [ { , : ""#),
            ("[\"é\u{2028} \u{1f600}\" ]", "[\"é\u{2028} \u{1f600}\"]"),
            (r#"["\u0061 \ud800"]"#, r#"["\u0061 \ud800"]"#),
            ("[true , false,null]", "[true,false,null]"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
            assert_eq!(canonical(expected).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_json_has_no_canonical_text() {
        for text in [
            "",
            " ",
            "{",
            "]",
            "{} {}",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "NaN",
            "01",
            "nul",
            "\"a",
            "\"\\\"",
            "\"\u{1}\"",
            "\u{feff}1",
            // A number that would have several texts.
            "1e100000000000000",
            "[1,-10E+99999999999999]",
            "0.1e-99999999999999",
            "6e600000000000000",
            "6E+600000000000000",
            "60e599999999999999",
            "1e9999999999999999999",
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_object_has_each_key_once() {
        for (text, once) in [
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":1,"b":2,"a":3}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"\/":1,"/":2}"#, false),
            (r#"{"😀":1,"\ud83d\ude00":2}"#, false),
            (r#"{"\uD800":1,"\ud800":2}"#, false),
            (r#"{"":1,"":2}"#, false),
            (r#"[{"a":[{"b":1 , "c":{} , "b":2}]}]"#, false),
            (r#"{"a":{"x":1},"b":[1,"x"],"a":0}"#, false),
            (r#"{"a":{"a":{"a":"a"}},"b":{"a":["a","a"]}}"#, true),
            (r#"[{"a":1},{"a":2}]"#, true),
            (r#"{"a":1,"A":2,"\u0000a":3,"a ":4}"#, true),
            (r#"{"\ud800":1,"\ud801":2}"#, true),
            (r#"["a","a"]"#, true),
            (r#"{"a":"b","b":"a"}"#, true),
            (r#"{"a\"":1,"a\\":2,"a":3}"#, true),
        ] {
            assert_eq!(canonical(text).is_some(), once, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_counted_in_open_brackets() {
        let arrays = |depth| "[".repeat(depth) + &"]".repeat(depth);
        let objects = |depth| "{\"a\":".repeat(depth) + "0" + &"}".repeat(depth);
        for (depth, fits) in [(1, true), (32, true), (33, false), (10_000, false)] {
            assert_eq!(canonical(&arrays(depth)).is_some(), fits, "{depth}");
            assert_eq!(canonical(&objects(depth)).is_some(), fits, "{depth}");
        }
        let siblings = format!("[{0},{0},\"[[\"]", arrays(31));
        assert!(canonical(&siblings).is_some());
    }

    #[test]
    fn hostile_text_is_answered_fast() {
        let numbered = |n: usize| format!("\"{n}\":{{}},");
        for (name, text, fits) in [
            ("opened", "[".repeat(1_000_000), false),
            ("opened objects", "{\"a\":".repeat(1_000_000), false),
            (
                "nested",
                "[".repeat(1_000_000) + &"]".repeat(1_000_000),
                false,
            ),
            (
                "keys",
                format!(
                    "{{{}\"z\":0}}",
                    (0..50_000).map(numbered).collect::<String>()
                ),
                true,
            ),
            (
                "objects",
                format!("[{}0]", "{\"a\":0},".repeat(50_000)),
                true,
            ),
            (
                "escaped",
                format!("[\"{}\"]", "\\\\\\\"".repeat(250_000)),
                true,
            ),
        ] {
            let start = Instant::now();
            assert_eq!(canonical(&text).is_some(), fits, "{name}");
            let taken = start.elapsed();
            // What is not linear takes minutes; machines may be busy.
            assert!(taken < Duration::from_secs(10), "{name}: {taken:?}");
        }
    }

    /// All numbers as the doubles that they are nearest to: Value tells `1` from `1.0`.
    fn with_doubles(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Number(number) => (number.as_f64().unwrap() + 0.0).into(),
            Value::Array(values) => values.into_iter().map(with_doubles).collect(),
            Value::Object(members) => {
                let members = members.into_iter();
                members
                    .map(|(key, value)| (key, with_doubles(value)))
                    .collect()
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn canonical_text_is_a_fixed_point_and_the_same_value(
            text in r#"([\[\]{},:" \n0-9a-c]|\\u006[1-3]|"[ab]":|\[|\{\}|"c"|,|1e5){0,24}"#,
        ) {
            if let Some(once) = canonical(&text) {
                // Value refuses numbers beyond f64, which canonical text keeps.
                if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                    let again: serde_json::Value = serde_json::from_str(&once).unwrap();
                    prop_assert_eq!(with_doubles(again), with_doubles(value));
                }
                prop_assert_eq!(canonical(&once), Some(once));
            }
        }
    }
}
