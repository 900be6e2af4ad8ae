//! A MessagePack map as the fields of an entity, in the order given.
//!
//! | MessagePack | field |
//! | --- | --- |
//! | nil | null |
//! | str, bin | string, any bytes |
//! | true, false | bool |
//! | integer of any width | int if it fits, else uint |
//! | float 32, float 64 | float; of an integer all digits count; NaN and infinities are an error |
//! | extension -1, a timestamp | time; other extensions are an error |
//! | array, map | json: what JSON cannot hold is an error |
//!
//! Keys are str or bin, any bytes. Within json, bin is text too, a timestamp is a string with the
//! text of the time, a float that is an integer has all its digits, and a key must be str.

use crate::entity::field::Fields;
use crate::entity::json::MAX_DEPTH;
use crate::entity::value::{InputValue, double_text};
use crate::error::{Error, Quoted};
use crate::unique::Seen;
use rmp::{Marker, decode as read};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const FORMAT: &str = "MessagePack";

// What a field takes, in an error.
const TIMESTAMP: &str = "a MessagePack timestamp (extension type -1)";
const NESTED: &str = "a nested value that JSON can hold: at most 32 levels, text in UTF-8, \
    text keys without repetition, finite numbers";

/// The fields of one map with nothing around it, none of them twice.
pub fn decode(bytes: &[u8]) -> Result<Fields<'_>, Error> {
    let mut reader = Reader { bytes, rest: bytes };
    let Item::Map(count) = reader.item()? else {
        return Err(malformed(0, "expected a map"));
    };
    // Little capacity on the word of a header: it may promise four billion pairs.
    let capacity = usize::try_from(count).unwrap_or_default().min(64);
    let mut fields = Vec::with_capacity(capacity);
    let mut seen = Seen::with_capacity(capacity);
    for _ in 0..count {
        let offset = reader.offset();
        let (Item::Str(field) | Item::Bin(field)) = reader.item()? else {
            return Err(malformed(offset, "a key must be text"));
        };
        if !seen.insert(field) {
            return Err(Error::RepeatedField {
                format: FORMAT,
                field: Quoted::new(field),
            });
        }
        fields.push((field.into(), value(&mut reader, field)?));
    }
    match reader.rest.is_empty() {
        true => Ok(fields),
        false => Err(malformed(reader.offset(), "bytes after the end")),
    }
}

fn value<'a>(reader: &mut Reader<'a>, field: &[u8]) -> Result<Option<InputValue<'a>>, Error> {
    Ok(Some(match reader.item()? {
        Item::Nil => return Ok(None),
        Item::Str(text) | Item::Bin(text) => InputValue::Text(text.into()),
        Item::Bool(value) => InputValue::Bool(value),
        Item::Int(number) => InputValue::Number(number.to_string().into_bytes().into()),
        Item::Float(number) => {
            let bad = || bad_value(field, "a finite number", &number.to_string());
            let text = double_text(number).ok_or_else(bad)?;
            InputValue::Float(text.into_bytes().into())
        }
        Item::Ext(code, data) => {
            let bad = |got: String| bad_value(field, TIMESTAMP, &got);
            let time = timestamp(code, data).map_err(bad)?;
            InputValue::Time(time.into_bytes().into())
        }
        item @ (Item::Array(_) | Item::Map(_)) => {
            let mut json = Vec::new();
            nested(reader, field, item, 0, &mut json)?;
            InputValue::Json(json.into())
        }
    }))
}

/// Writes an item of the field's value, with all that it contains, as JSON without white space.
/// `level` is how many arrays and maps it stands in: it bounds the recursion.
fn nested(
    reader: &mut Reader,
    field: &[u8],
    item: Item,
    level: usize,
    json: &mut Vec<u8>,
) -> Result<(), Error> {
    let bad = |got: &str| bad_value(field, NESTED, got);
    let inner = level.saturating_add(1);
    match item {
        Item::Array(_) | Item::Map(_) if inner > MAX_DEPTH => {
            return Err(bad(&format!("{inner} levels")));
        }
        Item::Nil => write(json, &()),
        Item::Bool(value) => write(json, &value),
        Item::Int(number) => write(json, &number),
        Item::Float(number) => match double_text(number) {
            Some(text) => json.extend_from_slice(text.as_bytes()),
            None => return Err(bad(&number.to_string())),
        },
        Item::Str(text) | Item::Bin(text) => match std::str::from_utf8(text) {
            Ok(text) => write(json, text),
            Err(_) => return Err(bad("text that is not UTF-8")),
        },
        Item::Ext(code, data) => write(json, &timestamp(code, data).map_err(|got| bad(&got))?),
        Item::Array(count) => {
            json.push(b'[');
            for index in 0..count {
                if index > 0 {
                    json.push(b',');
                }
                let item = reader.item()?;
                nested(reader, field, item, inner, json)?;
            }
            json.push(b']');
        }
        Item::Map(count) => {
            let mut seen = Seen::new();
            json.push(b'{');
            for index in 0..count {
                if index > 0 {
                    json.push(b',');
                }
                let Item::Str(key) = reader.item()? else {
                    return Err(bad("a key that is no text"));
                };
                if !seen.insert(key) {
                    return Err(bad("a repeated key"));
                }
                nested(reader, field, Item::Str(key), inner, json)?;
                json.push(b':');
                let item = reader.item()?;
                nested(reader, field, item, inner, json)?;
            }
            json.push(b'}');
        }
    }
    Ok(())
}

fn write(json: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing to memory cannot fail, and JSON has all of what is written here.
    let _ = serde_json::to_writer(json, value);
}

/// The canonical text of a timestamp, or in a few words what it is instead.
fn timestamp(code: i8, data: &[u8]) -> Result<String, String> {
    if code != -1 {
        return Err(format!("extension type {code}"));
    }
    // In 8 bytes there are 30 bits of nanoseconds and 34 of seconds, in 12 there are 32 and 64.
    let bytes = data.iter().take(12).map(|byte| u128::from(*byte));
    let number = bytes.fold(0, |number, byte| number << 8 | byte);
    let (nanoseconds, seconds) = match data.len() {
        4 => (0, number),
        8 => (number >> 34, number & 0x3_ffff_ffff),
        12 => (number >> 64, number),
        length => return Err(format!("a timestamp of length {length}")),
    };
    if nanoseconds >= 1_000_000_000 {
        return Err(format!("a timestamp with {nanoseconds} nanoseconds"));
    }
    // Of 12 bytes the last 8 are signed; `as` drops the others.
    let since_1970 = i128::from(seconds as i64)
        .saturating_mul(1_000_000_000)
        .saturating_add_unsigned(nanoseconds);
    let time = OffsetDateTime::from_unix_timestamp_nanos(since_1970).ok();
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.ok_or_else(|| "a timestamp outside the years 0 to 9999".into())
}

fn malformed(offset: usize, why: &str) -> Error {
    Error::Malformed {
        format: FORMAT,
        offset,
        why: why.into(),
    }
}

fn bad_value(field: &[u8], expected: &'static str, got: &str) -> Error {
    Error::BadValue {
        field: Quoted::new(field),
        expected: expected.into(),
        got: Quoted::new(got.as_bytes()),
    }
}

/// A value, or the header of an array or a map, which says how many values or pairs follow.
enum Item<'a> {
    Nil,
    Bool(bool),
    /// From `i64::MIN` to `u64::MAX`.
    Int(i128),
    Float(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    /// An extension's type and data.
    Ext(i8, &'a [u8]),
    Array(u32),
    Map(u32),
}

struct Reader<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// How many bytes were read.
    fn offset(&self) -> usize {
        self.bytes.len().saturating_sub(self.rest.len())
    }

    fn item(&mut self) -> Result<Item<'a>, Error> {
        use Marker::*;
        let first = self.rest.first().ok_or_else(|| self.ends_early())?;
        Ok(match Marker::from_u8(*first) {
            Null => self.read(read::read_nil).map(|()| Item::Nil)?,
            True | False => Item::Bool(self.read(read::read_bool)?),
            FixPos(_) | FixNeg(_) | U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 => {
                Item::Int(self.read(read::read_int)?)
            }
            F32 => Item::Float(self.read(read::read_f32)?.into()),
            F64 => Item::Float(self.read(read::read_f64)?),
            FixStr(_) | Str8 | Str16 | Str32 => {
                let length = self.read(read::read_str_len)?;
                Item::Str(self.take(length)?)
            }
            Bin8 | Bin16 | Bin32 => {
                let length = self.read(read::read_bin_len)?;
                Item::Bin(self.take(length)?)
            }
            FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 | Ext8 | Ext16 | Ext32 => {
                let header = self.read(read::read_ext_meta)?;
                Item::Ext(header.typeid, self.take(header.size)?)
            }
            FixArray(_) | Array16 | Array32 => Item::Array(self.read(read::read_array_len)?),
            FixMap(_) | Map16 | Map32 => Item::Map(self.read(read::read_map_len)?),
            Reserved => return Err(malformed(self.offset(), "the byte 0xc1 begins no value")),
        })
    }

    /// Reads what the marker promises, so that only the end of the bytes can be in the way.
    fn read<T, E>(&mut self, read: impl FnOnce(&mut &'a [u8]) -> Result<T, E>) -> Result<T, Error> {
        read(&mut self.rest).map_err(|_| self.ends_early())
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], Error> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let split = self.rest.split_at_checked(length);
        let (taken, rest) = split.ok_or_else(|| self.ends_early())?;
        self.rest = rest;
        Ok(taken)
    }

    fn ends_early(&self) -> Error {
        malformed(self.bytes.len(), "it ends too early")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::value::FieldType;
    use proptest::collection::{hash_map, vec};
    use proptest::prelude::*;
    use std::borrow::Cow;
    use std::time::{Duration, Instant};

    const NESTED: &str = "a nested value that JSON can hold: at most 32 levels, \
        text in UTF-8, text keys without repetition, finite numbers";

    /// A map with these bytes as the value of its only field `f`.
    fn of(value: &[u8]) -> Vec<u8> {
        [b"\x81\xa1f", value].concat()
    }

    /// The lines of a table: bytes in hex, ` = `, and what they give.
    fn rows(table: &str) -> impl Iterator<Item = (Vec<u8>, &str)> {
        let rows = table.lines().filter_map(|line| line.split_once(" = "));
        rows.map(|(hex, given)| {
            let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
            let pairs = digits.chunks(2).map(String::from_iter);
            let bytes = pairs.map(|pair| u8::from_str_radix(&pair, 16).unwrap());
            (bytes.collect(), given)
        })
    }

    fn error(bytes: &[u8]) -> String {
        match decode(bytes) {
            Ok(fields) => panic!("{bytes:02x?} gave {fields:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn assert_value(value: &[u8], field_type: FieldType, text: &[u8]) {
        let bytes = of(value);
        let fields = decode(&bytes).unwrap();
        let [(field, Some(given))] = &fields[..] else {
            panic!("{value:02x?} gave {fields:?}");
        };
        let got = (&**field, given.own_type(), given.text());
        let expected = (b"f".as_slice(), field_type, text);
        assert_eq!(got, expected, "{value:02x?}");
        assert!(field_type.holds(text), "{value:02x?}");
    }

    const VALUES: &str = r#"
        c2 = bool 0
        c3 = bool 1
        00 = int 0
        7f = int 127
        ff = int -1
        e0 = int -32
        cc ff = int 255
        cd ffff = int 65535
        ce ffffffff = int 4294967295
        cf 0000000000000005 = int 5
        cf 7fffffffffffffff = int 9223372036854775807
        cf 8000000000000000 = uint 9223372036854775808
        cf ffffffffffffffff = uint 18446744073709551615
        d0 80 = int -128
        d1 8000 = int -32768
        d2 80000000 = int -2147483648
        d3 8000000000000000 = int -9223372036854775808
        ca 3fc00000 = float 1.5
        ca 3dcccccd = float 0.10000000149011612
        ca 80000000 = float 0
        cb 3fb999999999999a = float 0.1
        cb 0000000000000001 = float 5e-324
        cb 43b0000000000000 = float 1152921504606846976
        cb 44b52d02c7e14af6 = float 9.9999999999999991611392e22
        a2 c3a9 = string é
        d9 01 61 = string a
        da 0001 61 = string a
        db 00000001 61 = string a
        c4 01 61 = string a
        c5 0001 61 = string a
        c6 00000001 61 = string a
        d6 ff 00000000 = time 1970-01-01T00:00:00Z
        d6 ff ffffffff = time 2106-02-07T06:28:15Z
        d7 ff 7735940000000001 = time 1970-01-01T00:00:01.5Z
        d7 ff ee6b27ffffffffff = time 2514-05-30T01:53:03.999999999Z
        c7 0c ff 00000001 0000000000000000 = time 1970-01-01T00:00:00.000000001Z
        c7 0c ff 3b9ac9ff ffffffffffffffff = time 1969-12-31T23:59:59.999999999Z
        c7 0c ff 00000000 fffffff1868b8400 = time 0000-01-01T00:00:00Z
        c7 0c ff 00000000 0000003afff4417f = time 9999-12-31T23:59:59Z
        c7 04 ff 00000001 = time 1970-01-01T00:00:01Z
        c7 08 ff 0000000000000001 = time 1970-01-01T00:00:01Z
        c8 0004 ff 00000001 = time 1970-01-01T00:00:01Z
        c9 00000004 ff 00000001 = time 1970-01-01T00:00:01Z
        90 = json []
        80 = json {}
        dc 0002 01 02 = json [1,2]
        dd 00000001 c0 = json [null]
        de 0001 a161 01 = json {"a":1}
        df 00000002 a162 c2 a161 c3 = json {"b":false,"a":true}
        92 cf ffffffffffffffff e0 = json [18446744073709551615,-32]
        93 a0 a4 225c0a00 c402c3a9 = json ["","\"\\\n\u0000","é"]
        92 ca 3fc00000 cb 4059000000000000 = json [1.5,100]
        93 ca 80000000 cb 8000000000000000 00 = json [0,0,0]
        93 cb 4341c37937e08000 cb 444b1ae4d6e2ef50 cb 3e7ad7f29abcaf48 = json [10000000000000000,1e21,1e-7]
        91 cb 43b0000000000000 = json [1152921504606846976]
        91 d6 ff 00000000 = json ["1970-01-01T00:00:00Z"]
        81 a161 81 a161 92 80 81 a0 a161 = json {"a":{"a":[{},{"":"a"}]}}
    "#;

    #[test]
    fn every_encoding_has_its_type_and_canonical_text() {
        for (value, given) in rows(VALUES) {
            let (field_type, text) = given.split_once(' ').unwrap();
            let field_type = FieldType::parse(field_type.as_bytes()).unwrap();
            assert_value(&value, field_type, text.as_bytes());
        }
        let long = [b'x'; 65_536];
        for (header, text) in [
            (b"\xa0".as_slice(), b"".as_slice()),
            (b"\xa2", b"\xff\0"),
            (b"\xc4\x02", b"\xff\0"),
            (b"\xd9\xff", &long[..255]),
            (b"\xda\xff\xff", &long[..65_535]),
            (b"\xdb\0\x01\0\0", &long),
            (b"\xc6\0\x01\0\0", &long),
        ] {
            assert_value(&[header, text].concat(), FieldType::String, text);
        }
    }

    #[test]
    fn fields_keep_their_order_and_borrow_what_is_bytes() {
        let pairs = b"\xa1b\xa1x\xc4\x02\xff\0\xc0\xd9\0\xc4\x01y\xa1B\xa0";
        for header in [b"\x84".as_slice(), b"\xde\0\x04", b"\xdf\0\0\0\x04"] {
            let bytes = [header, pairs].concat();
            let fields = decode(&bytes).unwrap();
            let names: Vec<&[u8]> = fields.iter().map(|(field, _)| &**field).collect();
            assert_eq!(names, [b"b".as_slice(), b"\xff\0", b"", b"B"]);
            assert_eq!(fields[1].1, None);
            for (field, given) in &fields {
                assert!(matches!(field, Cow::Borrowed(_)));
                let borrowed = given.as_ref().map(InputValue::borrowed);
                assert!(matches!(borrowed, None | Some(Some(_))));
            }
        }
        assert_eq!(decode(b"\x80"), Ok(vec![]));
    }

    const ERRORS: &str = r#"
         = malformed MessagePack at byte 0: it ends too early
        81 = malformed MessagePack at byte 1: it ends too early
        df 0000 = malformed MessagePack at byte 3: it ends too early
        81 a166 = malformed MessagePack at byte 3: it ends too early
        81 a166 a5 616263 = malformed MessagePack at byte 7: it ends too early
        81 a166 db ffffffff 616263 = malformed MessagePack at byte 11: it ends too early
        81 a166 c9 ffffffff ff = malformed MessagePack at byte 9: it ends too early
        81 a166 dd ffffffff 01 = malformed MessagePack at byte 9: it ends too early
        81 a166 df ffffffff a161 01 = malformed MessagePack at byte 11: it ends too early
        df ffffffff a161 01 = malformed MessagePack at byte 8: it ends too early
        7b 22 61 22 3a 31 7d = malformed MessagePack at byte 0: expected a map
        81 01 01 = malformed MessagePack at byte 1: a key must be text
        82 a161 01 c0 01 = malformed MessagePack at byte 4: a key must be text
        c1 = malformed MessagePack at byte 0: the byte 0xc1 begins no value
        81 c1 = malformed MessagePack at byte 1: the byte 0xc1 begins no value
        81 a166 c1 = malformed MessagePack at byte 3: the byte 0xc1 begins no value
        81 a166 92 01 c1 = malformed MessagePack at byte 5: the byte 0xc1 begins no value
        80 80 = malformed MessagePack at byte 1: bytes after the end
        81 a166 01 0a = malformed MessagePack at byte 4: bytes after the end
        82 a161 01 a161 01 = field "a" stands twice in the MessagePack
        83 a161 c0 a162 01 c40161 c0 = field "a" stands twice in the MessagePack
        82 a2ff00 01 d902ff00 c1 = field "\xff\x00" stands twice in the MessagePack
    "#;

    #[test]
    fn what_is_no_map_with_each_field_once_is_refused() {
        for (bytes, why) in rows(ERRORS) {
            assert_eq!(error(&bytes), format!("BADVALUE {why}"), "{bytes:02x?}");
        }
    }

    const BAD_FLOATS: &str = "
        ca 7fc00000 = NaN
        ca 7f800000 = inf
        cb 7ff8000000000000 = NaN
        cb fff0000000000000 = -inf
    ";
    const BAD_TIMES: &str = "
        d4 05 00 = extension type 5
        d8 80 00000000000000000000000000000000 = extension type -128
        d4 ff 00 = a timestamp of length 1
        c7 00 ff = a timestamp of length 0
        d7 ff ee6b280000000000 = a timestamp with 1000000000 nanoseconds
        c7 0c ff ffffffff 0000000000000000 = a timestamp with 4294967295 nanoseconds
        c7 0c ff 00000000 0000003afff44180 = a timestamp outside the years 0 to 9999
        c7 0c ff 00000000 fffffff1868b83ff = a timestamp outside the years 0 to 9999
    ";
    const BAD_JSON: &str = "
        91 a1ff = text that is not UTF-8
        91 c401ff = text that is not UTF-8
        81 a1ff 01 = text that is not UTF-8
        81 c40161 01 = a key that is no text
        81 01 01 = a key that is no text
        91 81 c0 01 = a key that is no text
        82 a161 01 d90161 01 = a repeated key
        91 82 a0 80 a0 80 = a repeated key
        91 ca 7fc00000 = NaN
        81 a161 cb 7ff0000000000000 = inf
        91 d4 05 00 = extension type 5
    ";

    #[test]
    fn a_value_that_no_type_holds_is_named_with_its_field() {
        let float = "a finite number";
        let time = "a MessagePack timestamp (extension type -1)";
        for (table, expected) in [(BAD_FLOATS, float), (BAD_TIMES, time), (BAD_JSON, NESTED)] {
            for (value, got) in rows(table) {
                let expected = format!("BADVALUE field \"f\" takes {expected}, not \"{got}\"");
                assert_eq!(error(&of(&value)), expected, "{value:02x?}");
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let arrays = |depth: usize| of(&[vec![0x91; depth - 1], vec![0x90]].concat());
        let maps = |depth: usize| of(&[b"\x81\xa1a".repeat(depth - 1), vec![0x80]].concat());
        for bytes in [arrays(32), maps(32)] {
            assert!(decode(&bytes).is_ok());
        }
        let expected = format!("BADVALUE field \"f\" takes {NESTED}, not \"33 levels\"");
        for depth in [33, 10_000, 1_000_000] {
            assert_eq!(error(&arrays(depth)), expected);
            assert_eq!(error(&maps(depth)), expected);
        }
    }

    const RICH: &[u8] = b"\x89\xa1a\xa3abc\xc4\x01b\xc5\0\x02\xff\0\
        \xa1c\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1d\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\
        \xa1e\xc3\xa1f\xc0\xa1g\xd6\xff\0\0\0\x05\xa1h\x92\x82\xa1x\x90\xa1y\xd1\x80\0\
        \xd9\x02hi\xa1i\xde\0\x01\xa0\x81\xa1z\xca\x3f\xc0\0\0";

    #[test]
    fn no_part_of_a_map_is_one() {
        assert_eq!(decode(RICH).unwrap().len(), 9);
        for end in 0..RICH.len() {
            let expected = format!("malformed MessagePack at byte {end}: it ends too early");
            assert_eq!(error(&RICH[..end]), format!("BADVALUE {expected}"));
        }
    }

    #[test]
    fn hostile_bytes_are_answered_fast() {
        let pair = |n: u32| [b"\xa5", format!("{n:05}").as_bytes(), b"\x92\x80\x01"].concat();
        let pairs: Vec<u8> = (0..50_000).flat_map(pair).collect();
        let headers = b"\xdd\xff\xff\xff\xff".repeat(31);
        for (header, rest, fits) in [
            (b"\xde\xc3\x50".as_slice(), &pairs[..], true),
            (b"\xdf\xff\xff\xff\xff", &pairs, false),
            (b"\x81\xa1f\xde\xc3\x50", &pairs, true),
            (b"\x81\xa1f\xdf\xff\xff\xff\xff", &pairs, false),
            (b"\x81\xa1f\xdd\xff\xff\xff\xff", &[0xc0; 250_000], false),
            (b"\x81\xa1f\xdd\0\x01\xe8\x48", &[0x80; 125_000], true),
            (b"\x81\xa1f\x91\xdb\0\x0f\x42\x40", &[1; 1_000_000], true),
            (b"\x81\xa1f", &headers, false),
        ] {
            let bytes = [header, rest].concat();
            let start = Instant::now();
            assert_eq!(decode(&bytes).is_ok(), fits, "{header:02x?}");
            let taken = start.elapsed();
            assert!(taken < Duration::from_secs(10), "{header:02x?}: {taken:?}");
        }
    }

    /// Whatever is decoded can be taken as it is by a field of its type.
    fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
        match decode(bytes) {
            Ok(fields) => {
                for given in fields.into_iter().filter_map(|(_, given)| given) {
                    prop_assert!(given.own_type().holds(given.text()), "{:?}", given);
                }
            }
            Err(Error::Malformed { offset, .. }) => prop_assert!(offset <= bytes.len()),
            Err(_) => {}
        }
        Ok(())
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<(bool, i64, u64)>().prop_map(|all| serde_json::json!(all)),
            proptest::num::f64::NORMAL.prop_map(|double| small(double).into()),
            any::<Option<String>>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let map = hash_map(any::<String>(), inner.clone(), 0..5);
            let map = map.prop_map(|map| serde_json::Value::Object(map.into_iter().collect()));
            prop_oneof![vec(inner, 0..5).prop_map(Into::into), map]
        })
    }

    /// A double that others write as this crate does: not a large integer, of which they leave digits out.
    fn small(double: f64) -> f64 {
        match double.abs() < 9e15 {
            true => double,
            false => 1.0 / double,
        }
    }

    /// Whether serde_json writes each double as this crate does. Where two texts are equally short and equally near, as
    /// with 822850541293149.25, either is right.
    fn has_one_text(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Number(number) if number.is_f64() => {
                let own = format!("{:e}", number.as_f64().unwrap());
                let canonical =
                    |text: &str| FieldType::Json.canonical(text.as_bytes()).unwrap().to_vec();
                canonical(&own) == canonical(&number.to_string())
            }
            serde_json::Value::Array(items) => items.iter().all(has_one_text),
            serde_json::Value::Object(members) => members.values().all(has_one_text),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_fields_or_an_error(bytes in vec(any::<u8>(), 0..64)) {
            check(&bytes)?;
            check(&of(&bytes))?;
        }

        #[test]
        fn a_map_with_a_byte_changed_is_fields_or_an_error(at in 0..RICH.len(), byte: u8) {
            let mut bytes = RICH.to_vec();
            bytes[at] = byte;
            check(&bytes)?;
        }

        #[test]
        fn what_others_encode_is_the_same_in_json(value in json()) {
            let bytes = rmp_serde::to_vec(&serde_json::json!({ "f": [value] })).unwrap();
            let fields = decode(&bytes).unwrap();
            prop_assume!(has_one_text(&value));
            let text = serde_json::json!([value]).to_string();
            let canonical = FieldType::Json.canonical(text.as_bytes());
            prop_assert_eq!(Some(fields[0].1.as_ref().unwrap().text()), canonical.as_deref());
            check(&bytes)?;
        }
    }
}
