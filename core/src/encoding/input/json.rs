//! A JSON object as the fields of an entity, in the order given.
//!
//! | JSON | field |
//! | --- | --- |
//! | `null` | null |
//! | string | string, its escapes decoded |
//! | `true`, `false` | bool |
//! | number | its digits as they are written, for the field's type to judge |
//! | array, object | json |

use super::flat_json;
use crate::entity::event::Bytes;
use crate::entity::field::Fields;
use crate::entity::value::{FieldType, InputValue};
use crate::error::{Error, Quoted};
use crate::unique::repeated;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

const FORMAT: &str = "JSON";

/// The fields of one object with nothing but white space around it, none of them twice.
pub fn decode(text: &[u8]) -> Result<Fields<'_>, Error> {
    let text = std::str::from_utf8(text).map_err(|error| Error::Malformed {
        format: FORMAT,
        offset: error.valid_up_to(),
        why: "it is not UTF-8".into(),
    })?;
    let fields = match flat_json::read(text) {
        Some(fields) => fields,
        None => parse(text)?,
    };
    let names = fields.iter().map(|(field, _)| &**field);
    match repeated(names) {
        Some((_, field)) => Err(Error::RepeatedField {
            format: FORMAT,
            field: Quoted::new(field),
        }),
        None => Ok(fields),
    }
}

/// Any object that there may be; it may name a field twice.
fn parse(text: &str) -> Result<Fields<'_>, Error> {
    let first = text.trim_start_matches([' ', '\t', '\r', '\n']);
    // serde_json would quote what it finds instead, however long.
    if !first.is_empty() && !first.starts_with('{') {
        return Err(Error::Malformed {
            format: FORMAT,
            offset: text.len().saturating_sub(first.len()),
            why: "expected an object".into(),
        });
    }
    let Members(members) =
        serde_json::from_str(text).map_err(|error| malformed(text, 0, &error))?;
    let members = members.into_iter();
    members
        .map(|(field, raw)| {
            let field = field.into_bytes();
            let value = value(text, &field, raw.get())?;
            Ok((field, value))
        })
        .collect()
}

/// The value that `raw` gives a field; `raw` is a part of `text`.
fn value<'a>(text: &str, field: &[u8], raw: &'a str) -> Result<Option<InputValue<'a>>, Error> {
    Ok(Some(match raw.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b'"') => {
            let decoded: Text = serde_json::from_str(raw).map_err(|error| {
                let start = raw.as_ptr().addr().saturating_sub(text.as_ptr().addr());
                malformed(raw, start, &error)
            })?;
            InputValue::Text(decoded.into_bytes())
        }
        Some(b't') => InputValue::Bool(true),
        Some(b'f') => InputValue::Bool(false),
        Some(b'[' | b'{') => {
            let json = InputValue::Plain(raw.as_bytes());
            InputValue::Json(FieldType::Json.coerce(field, json)?)
        }
        _ => InputValue::Number(raw.as_bytes().into()),
    }))
}

/// What serde_json says about the `text` that stands at `start` in the client's argument, its line
/// and column turned into the offset of the byte that it did not want.
fn malformed(text: &str, start: usize, error: &serde_json::Error) -> Error {
    let words = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let why = words.strip_suffix(&position).unwrap_or(&words);
    // A line counts the line feeds that were read, a column the bytes that were read after them.
    let lines = text.split_inclusive('\n');
    let lines = lines.take(error.line().saturating_sub(1)).map(str::len);
    let read = lines.fold(error.column(), usize::saturating_add);
    let last_read = read.saturating_sub(1);
    let is_control = |at| text.as_bytes().get(at).is_some_and(|byte| *byte < b' ');
    let offset = if error.classify() == Category::Eof {
        text.len()
    } else if why.starts_with("control character") && !is_control(last_read) {
        // The one byte that serde_json refuses before it has read it: this, in a value's string.
        read
    } else {
        last_read
    };
    Error::Malformed {
        format: FORMAT,
        offset: start.saturating_add(offset),
        why: why.into(),
    }
}

/// Members in the order given. A value stays text: as text a number is exact, and nesting costs no
/// recursion.
struct Members<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A string, borrowed where it has no escapes; a plain `Cow` would never be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Text<'a> {
    fn into_bytes(self) -> Bytes<'a> {
        match self.0 {
            Cow::Borrowed(text) => text.as_bytes().into(),
            Cow::Owned(text) => text.into_bytes().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FieldType::{Bool, Decimal, Float, Int, Json, Uint};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    /// Each field with its type where none is declared, and its text.
    fn shown(fields: &Fields) -> Vec<(String, Option<(FieldType, String)>)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = fields.iter();
        fields
            .map(|(field, given)| {
                let given = given.as_ref();
                let given = given.map(|given| (given.own_type(), text(given.text())));
                (text(field), given)
            })
            .collect()
    }

    fn error(text: &[u8]) -> String {
        match decode(text) {
            Ok(fields) => panic!("{:?} gave {fields:?}", String::from_utf8_lossy(text)),
            Err(error) => error.to_string(),
        }
    }

    /// A value as it is written, and the type and the text that it has.
    const VALUES: &[(&str, FieldType, &str)] = &[
        (r#""""#, FieldType::String, ""),
        (r#""5""#, FieldType::String, "5"),
        (r#"" a ""#, FieldType::String, " a "),
        (
            r#""\"\\\/\b\f\n\r\t""#,
            FieldType::String,
            "\"\\/\u{8}\u{c}\n\r\t",
        ),
        (
            r#""\u00e9é\ud83d\ude00\u0000""#,
            FieldType::String,
            "éé😀\0",
        ),
        ("true", Bool, "1"),
        ("false", Bool, "0"),
        ("0", Int, "0"),
        ("-0", FieldType::String, "-0"),
        ("-1", Int, "-1"),
        ("9223372036854775807", Int, "9223372036854775807"),
        ("-9223372036854775808", Int, "-9223372036854775808"),
        ("9223372036854775808", Uint, "9223372036854775808"),
        ("18446744073709551615", Uint, "18446744073709551615"),
        ("1.0", Float, "1.0"),
        ("1.50", Float, "1.50"),
        ("-0.0", Float, "-0.0"),
        ("1e2", Float, "1e2"),
        ("1E2", Float, "1E2"),
        ("1e21", Float, "1e21"),
        ("-2.5E-7", Float, "-2.5E-7"),
        ("18446744073709551616.0", Float, "18446744073709551616.0"),
        (
            "18446744073709551617.0",
            FieldType::String,
            "18446744073709551617.0",
        ),
        ("0.1", Float, "0.1"),
        ("1.7976931348623157e308", Float, "1.7976931348623157e308"),
        ("1e-999", FieldType::String, "1e-999"),
        (
            "0.9999999999999999999999",
            Decimal(None),
            "0.9999999999999999999999",
        ),
        (
            "18446744073709551616",
            Decimal(None),
            "18446744073709551616",
        ),
        ("[]", Json, "[]"),
        ("{ }", Json, "{}"),
        (
            r#"{ "b" : [ 1e999 , "\u0061 b" ] , "a" : null }"#,
            Json,
            r#"{"b":[1e999,"\u0061 b"],"a":null}"#,
        ),
    ];

    #[test]
    fn each_value_has_its_type_and_text() {
        for &(raw, field_type, text) in VALUES {
            for text_of_all in [
                format!("{{\"f\":{raw}}}"),
                format!(" \r\n\t{{ \"f\"\n: {raw}\t}}\n"),
                format!("{{\"\\u0066\":{raw}}}"),
            ] {
                let fields = decode(text_of_all.as_bytes()).unwrap();
                let expected = vec![("f".into(), Some((field_type, text.into())))];
                assert_eq!(shown(&fields), expected, "{raw}");
                assert!(field_type.holds(text.as_bytes()), "{raw}");
            }
        }
        assert_eq!(decode(b"{}"), Ok(vec![]));
        assert_eq!(decode(b" {\n} "), Ok(vec![]));
    }

    #[test]
    fn fields_keep_their_order_and_null_is_no_value() {
        let fields =
            decode(b"{\"b\":1,\"a\":null,\"\":\"x\",\"$serde_json::private::RawValue\":2}")
                .unwrap();
        assert_eq!(
            shown(&fields),
            [
                ("b".into(), Some((Int, "1".into()))),
                ("a".into(), None),
                ("".into(), Some((FieldType::String, "x".into()))),
                (
                    "$serde_json::private::RawValue".into(),
                    Some((Int, "2".into()))
                ),
            ]
        );
    }

    #[test]
    fn what_is_canonical_already_is_borrowed() {
        let text = br#"{"a":"x","b":[1,"y"],"c":-5,"d":1.50,"e":18446744073709551615}"#;
        for (field, given) in decode(text).unwrap() {
            assert!(matches!(field, Cow::Borrowed(_)), "{field:?}");
            assert!(
                matches!(given.unwrap().into_text(), Cow::Borrowed(_)),
                "{field:?}"
            );
        }
        for (field, given) in decode(br#"{"\u0061":"\n","\u0062":[ ]}"#).unwrap() {
            assert!(matches!(field, Cow::Owned(_)), "{field:?}");
            assert!(
                matches!(given.unwrap().into_text(), Cow::Owned(_)),
                "{field:?}"
            );
        }
    }

    /// A text, the byte where it goes wrong, and why.
    const MALFORMED: &[(&[u8], usize, &str)] = &[
        (b"", 0, "EOF while parsing a value"),
        (b" \n", 2, "EOF while parsing a value"),
        (b"{", 1, "EOF while parsing an object"),
        (b"{\"a", 3, "EOF while parsing a string"),
        (b"{\"a\"", 4, "EOF while parsing an object"),
        (b"{\"a\":", 5, "EOF while parsing a value"),
        (b"{\"a\":[1,\n", 9, "EOF while parsing a value"),
        (b"{\"a\":[\n", 7, "EOF while parsing a list"),
        (b"{\"a\":1", 6, "EOF while parsing an object"),
        (b"5", 0, "expected an object"),
        (b" \"{}\"", 1, "expected an object"),
        (b"\n\n[{}]", 2, "expected an object"),
        (b"null", 0, "expected an object"),
        (b"\xef\xbb\xbf{}", 0, "expected an object"),
        (b"\x0b{}", 0, "expected an object"),
        (b"{} x", 3, "trailing characters"),
        (b"{}\n\n {}", 5, "trailing characters"),
        (b"{}\0", 2, "trailing characters"),
        (b"{\"a\":1,}", 7, "trailing comma"),
        (b"{\"a\":1,\n}", 8, "trailing comma"),
        (b"{\"a\":[1,]}", 8, "expected value"),
        (b"{,}", 1, "key must be a string"),
        (b"{a:1}", 1, "key must be a string"),
        (b"{\"a\":1 \"b\":2}", 7, "expected `,` or `}`"),
        (b"{\"a\":[1 2]}", 8, "expected `,` or `]`"),
        (b"{\"a\" 1}", 5, "expected `:`"),
        (b"{\"a\":nul}", 8, "expected ident"),
        (b"{\"a\":NaN}", 5, "expected value"),
        (b"{\"a\":'x'}", 5, "expected value"),
        (b"{\"a\":01}", 6, "invalid number"),
        (b"{\"a\":-x}", 6, "invalid number"),
        (b"{\"a\":1.}", 7, "invalid number"),
        (b"{\"a\":1e\n}", 7, "invalid number"),
        (b"{\"a\":+1}", 5, "expected value"),
        // The second line; characters of two bytes before it, and an error on a line feed itself.
        (
            b"{\n\"\xc3\xa9\":\"\xc3\xa9\",x}",
            12,
            "key must be a string",
        ),
        (
            b"{\"a\":1,\r\n\r\n  \"b\":2\n  \"c\":3}",
            21,
            "expected `,` or `}`",
        ),
        (b"{\"a\"\n\n:\n1.\n}", 10, "invalid number"),
        (b"{\"\\x\":1}", 3, "invalid escape"),
        (b"{\"a\":\n\"\\x\"}", 8, "invalid escape"),
        (
            b"{\"a\nb\":1}",
            3,
            "control character (\\u0000-\\u001F) found while parsing a string",
        ),
        (
            b"{\n\"a\":\"b\x7f\n\"}",
            9,
            "control character (\\u0000-\\u001F) found while parsing a string",
        ),
        (
            b"{\"a\":\"\x01\n\"}",
            6,
            "control character (\\u0000-\\u001F) found while parsing a string",
        ),
        (
            b"{\n\"a\":1,\n\"b\":\"\\ud800\"}",
            20,
            "unexpected end of hex escape",
        ),
        (
            b"{\"\\udc00\":1}",
            7,
            "lone leading surrogate in hex escape",
        ),
        (b"{\"a\":\"x\xff\"}", 7, "it is not UTF-8"),
        (b"{\"a\":\"\xed\xa0\x80\"}", 6, "it is not UTF-8"),
        (b"{\"a\":\"\xc3", 6, "it is not UTF-8"),
    ];

    #[test]
    fn malformed_text_is_told_with_the_byte_where_it_goes_wrong() {
        for &(text, offset, why) in MALFORMED {
            let expected = format!("BADVALUE malformed JSON at byte {offset}: {why}");
            let shown = String::from_utf8_lossy(text);
            assert_eq!(error(text), expected, "{shown:?}");
        }
    }

    #[test]
    fn a_nested_value_that_is_none_is_named_with_its_field() {
        let nested = "BADVALUE field \"f\" takes JSON of at most 32 levels, without repeated keys and exponents of more than 14 digits, not ";
        let deep = format!("\"{}\"...", "[".repeat(64));
        for (raw, expected) in [
            (
                r#"{"a":1,"\u0061":2}"#.into(),
                format!("{nested}{}", r#""{\"a\":1,\"\\u0061\":2}""#),
            ),
            (
                "[".repeat(33) + &"]".repeat(33),
                format!("{nested}\"{}{}\"...", "[".repeat(33), "]".repeat(31)),
            ),
            (
                "[".repeat(10_000) + &"]".repeat(10_000),
                nested.to_string() + &deep,
            ),
            (
                "[".repeat(1_000_000) + &"]".repeat(1_000_000),
                nested.to_string() + &deep,
            ),
        ] as [(String, String); 4]
        {
            assert_eq!(error(format!("{{\"f\":{raw}}}").as_bytes()), expected);
        }
        let levels = "[".repeat(32) + &"]".repeat(32);
        assert!(decode(format!("{{\"f\":{levels}}}").as_bytes()).is_ok());
    }

    #[test]
    fn a_field_stands_once() {
        for (text, field) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":1,"b":2,"\u0061":null}"#, "a"),
            (r#"{"\u00e9":1,"é":1e999}"#, r"\xc3\xa9"),
            (r#"{"":1,"":2}"#, ""),
        ] {
            let expected = format!("BADVALUE field \"{field}\" stands twice in the JSON");
            assert_eq!(error(text.as_bytes()), expected);
        }
    }

    const RICH: &str = "{\"a\":\"x\\u00e9\\ud83d\\ude00é\",\n \"b\":[1,{\"c\":[]}],\"d\":-1.5e3,\"e\":true,\
        \"f\":null,\"g\":18446744073709551615,\"é\":{\"x\":false}}";

    #[test]
    fn no_part_of_a_text_is_one() {
        assert_eq!(decode(RICH.as_bytes()).unwrap().len(), 7);
        for end in 0..RICH.len() {
            let cut = &RICH.as_bytes()[..end];
            match decode(cut) {
                Err(Error::Malformed { offset, .. }) => assert!(offset <= end, "cut at {end}"),
                other => panic!("cut at {end}: {other:?}"),
            }
        }
    }

    #[test]
    fn hostile_text_is_answered_fast() {
        let all =
            |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<String>();
        for (name, text, fits) in [
            ("opened", "{\"a\":".repeat(1_000_000), false),
            (
                "opened arrays",
                "{\"a\":".to_string() + &"[".repeat(1_000_000),
                false,
            ),
            (
                "fields",
                format!("{{{}\"z\":0}}", all(50_000, &|n| format!("\"{n}\":{n},"))),
                true,
            ),
            (
                "nested fields",
                format!(
                    "{{{}\"z\":0}}",
                    all(10_000, &|n| format!("\"{n}\":[[[{{}}]]],"))
                ),
                true,
            ),
            (
                "numbers",
                format!("{{\"a\":[{}0]}}", "1,".repeat(250_000)),
                true,
            ),
            (
                "digits",
                format!("{{\"a\":{}}}", "1".repeat(1_000_000)),
                true,
            ),
            (
                "decimals",
                format!("{{\"a\":0.{}}}", "1".repeat(1_000_000)),
                true,
            ),
            (
                "escapes",
                format!("{{\"a\":\"{}\"}}", "\\u0041".repeat(100_000)),
                true,
            ),
            ("lines", "\n".repeat(1_000_000) + "{\"a\":x}", false),
        ] {
            let start = Instant::now();
            assert_eq!(decode(text.as_bytes()).is_ok(), fits, "{name}");
            let taken = start.elapsed();
            // What is not linear takes minutes; machines may be busy.
            assert!(taken < Duration::from_secs(10), "{name}: {taken:?}");
        }
    }

    /// Whatever is decoded can be taken as it is by a field of its type; what is not is told exactly.
    fn check(text: &[u8]) -> Result<(), TestCaseError> {
        match decode(text) {
            Ok(fields) => {
                for (field, given) in fields {
                    let Some(given) = given else {
                        continue;
                    };
                    prop_assert!(given.own_type().holds(given.text()), "field {:?}", field);
                }
            }
            // UTF-8 is looked at first.
            Err(Error::Malformed { why, .. }) if why == "it is not UTF-8" => {}
            // Up to there it could have gone on: what is cut there lacks only more.
            Err(Error::Malformed { offset, .. }) => match decode(&text[..offset]) {
                Err(Error::Malformed { why, .. }) => {
                    let cut = ["EOF", "invalid number", "it is not UTF-8"];
                    prop_assert!(cut.iter().any(|cut| why.starts_with(cut)), "{}", why);
                }
                _ => prop_assert!(offset < text.len()),
            },
            Err(_) => {}
        }
        Ok(())
    }

    /// Most sequences of these are no JSON.
    const FLAT: [&str; 24] = [
        "\"a\":",
        "\"a\":",
        "\"\u{e9}\":",
        "\"\":",
        ",",
        ",",
        ",",
        " ",
        "\"x\"",
        "\"\\u0061\"",
        "\"\t\"",
        "0",
        "-",
        "-0",
        "01",
        "15",
        "1.0",
        "1e2",
        "true",
        "null",
        "nul",
        "[]",
        "{",
        "}",
    ];

    #[test]
    fn an_object_that_clients_write_is_read_in_one_pass() {
        for (text, fields) in [
            ("{\"a\":\"\u{e9}\"}", 1),
            (
                " {\n \"a\" : 1 ,\t\"b\":-20, \"c\":null,\"d\":true,\"e\":false } \r\n",
                5,
            ),
        ] {
            let read = flat_json::read(text).unwrap();
            assert_eq!(read.len(), fields);
            assert_eq!(Ok(read), parse(text));
        }
    }

    #[test]
    fn a_string_ends_at_its_quote_wherever_in_eight_bytes_that_is() {
        for (length, at) in (0..20).flat_map(|length| (0..=length).map(move |at| (length, at))) {
            for special in (0..=0x7f_u8)
                .map(char::from)
                .chain("\u{80}\u{a2}é😀".chars())
            {
                let mut string = "x".repeat(length);
                string.insert(at, special);
                for text in [
                    format!("{{\"a\":\"{string}\"}}"),
                    format!("{{\"{string}\":1}}"),
                ] {
                    let read = flat_json::read(&text);
                    let is_plain = special >= ' ' && !matches!(special, '"' | '\\');
                    assert_eq!(read.is_some(), is_plain, "{text:?}");
                    if let Some(read) = read {
                        assert_eq!(Ok(read), parse(&text), "{text:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_fields_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            check(&bytes)?;
        }

        #[test]
        fn any_tokens_are_fields_or_an_error(
            members in r#"([\[\]{},:"\\ 0-9eEu.\n-]|"[a-c]":|"\\ud8|null|true|-?1e9|,|\[\]){0,16}"#,
        ) {
            check(format!("{{{members}}}").as_bytes())?;
            check(format!("{{\"f\":{members}}}").as_bytes())?;
        }

        #[test]
        fn a_text_with_a_byte_changed_is_fields_or_an_error(at in 0..RICH.len(), byte: u8) {
            let mut bytes = RICH.as_bytes().to_vec();
            bytes[at] = byte;
            check(&bytes)?;
        }

        /// Whatever is read in one pass.
        #[test]
        fn flat_objects_are_read_as_the_parser_reads_them(
            tokens in proptest::collection::vec(prop::sample::select(FLAT.to_vec()), 0..12),
        ) {
            let text = format!("{{{}}}", tokens.concat());
            for text in [text.as_str(), &tokens.concat()] {
                if let Some(fields) = flat_json::read(text) {
                    prop_assert_eq!(Ok(fields), parse(text), "{:?}", text);
                }
            }
        }

        #[test]
        fn any_strings_come_back(field: String, value: String) {
            let text = serde_json::json!({ field.as_str(): value }).to_string();
            let fields = decode(text.as_bytes()).unwrap();
            prop_assert_eq!(shown(&fields), [(field, Some((FieldType::String, value)))]);
        }

        #[test]
        fn any_numbers_come_back(int: i64, uint: u64, float in proptest::num::f64::NORMAL) {
            let text = format!("{{\"i\":{int},\"u\":{uint},\"f\":{float:e}}}");
            let fields = decode(text.as_bytes()).unwrap();
            let texts = shown(&fields).into_iter().map(|(_, given)| given.unwrap().1);
            let texts: Vec<String> = texts.collect();
            prop_assert_eq!(texts[0].parse(), Ok(int));
            prop_assert_eq!(texts[1].parse(), Ok(uint));
            prop_assert_eq!(texts[2].parse(), Ok(float));
        }
    }
}
