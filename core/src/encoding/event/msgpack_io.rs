//! MessagePack as several formats read and write it: texts, numbers, arrays, and maps in the order of their bytes.

use crate::encoding::plain::is_utf8;
use crate::entity::event::Bytes;
use rmp::{Marker, encode};
use rmp_serde::{Deserializer, decode};
use serde::Deserialize;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// No event is nested this deeply; entries of other writers may be.
const MAX_DEPTH: usize = 16;

/// Decodes bytes that are exactly one MessagePack map of this type.
pub fn read_map<'e, T: Deserialize<'e>>(bytes: &'e [u8]) -> Option<T> {
    // Serde would also take an array for a struct.
    let marker = Marker::from_u8(*bytes.first()?);
    if !matches!(marker, Marker::FixMap(_) | Marker::Map16 | Marker::Map32) {
        return None;
    }
    let mut deserializer = Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    let map = T::deserialize(&mut deserializer).ok()?;
    // Any further value would be refused as a bool, or be one; only the end of the bytes has no marker.
    match bool::deserialize(&mut deserializer) {
        Err(decode::Error::InvalidMarkerRead(_)) => Some(map), // the end
        _ => None,
    }
}

/// Decodes MessagePack value by value. `None` always means that the next value is of another type, or cut off.
pub struct Decoder<'e> {
    rest: &'e [u8],
}

impl<'e> Decoder<'e> {
    pub fn new(bytes: &'e [u8]) -> Self {
        Decoder { rest: bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn marker(&self) -> Option<Marker> {
        self.rest.first().map(|byte| Marker::from_u8(*byte))
    }

    /// The header of a map: the number of its pairs.
    pub fn map(&mut self) -> Option<u32> {
        rmp::decode::read_map_len(&mut self.rest).ok()
    }

    /// The header of an array of this length.
    pub fn array_of(&mut self, length: u32) -> Option<()> {
        (self.array()? == length).then_some(())
    }

    /// The header of an array: its length.
    fn array(&mut self) -> Option<u32> {
        rmp::decode::read_array_len(&mut self.rest).ok()
    }

    pub fn is_at_text(&self) -> bool {
        use Marker::{Bin8, Bin16, Bin32, FixStr, Str8, Str16, Str32};
        matches!(
            self.marker(),
            Some(FixStr(_) | Str8 | Str16 | Str32 | Bin8 | Bin16 | Bin32)
        )
    }

    /// A str, which need not be UTF-8, or a bin.
    pub fn text(&mut self) -> Option<&'e [u8]> {
        let length = match self.marker()? {
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                rmp::decode::read_bin_len(&mut self.rest).ok()?
            }
            _ => rmp::decode::read_str_len(&mut self.rest).ok()?,
        };
        let (text, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(text)
    }

    /// An int or uint.
    pub fn number(&mut self) -> Option<i128> {
        match self.marker()? {
            Marker::U64 => rmp::decode::read_u64(&mut self.rest).ok().map(i128::from),
            _ => rmp::decode::read_int::<i64, _>(&mut self.rest)
                .ok()
                .map(i128::from),
        }
    }

    /// An int or uint that fits 64 bits unsigned.
    pub fn unsigned(&mut self) -> Option<u64> {
        u64::try_from(self.number()?).ok()
    }

    pub fn boolean(&mut self) -> Option<bool> {
        rmp::decode::read_bool(&mut self.rest).ok()
    }

    /// Nil, or a value that `read` decodes.
    pub fn or_nil<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.marker()? {
            Marker::Null => rmp::decode::read_nil(&mut self.rest).ok().map(|()| None),
            _ => read(self).map(Some),
        }
    }

    /// The bytes that are still to be decoded.
    pub fn rest(&self) -> &'e [u8] {
        self.rest
    }

    /// The pairs of a map, each decoded by `read`. Go writes nil for an empty map.
    pub fn elements<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let pairs = self.or_nil(Self::map)?.unwrap_or(0);
        // No capacity is reserved: the header may promise four billion pairs.
        (0..pairs).map(|_| read(self)).collect()
    }

    /// The elements of an array, each decoded by `read`.
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.array()?;
        // No capacity is reserved: the header may promise four billion elements.
        (0..length).map(|_| read(self)).collect()
    }

    /// Skips any value.
    pub fn skip(&mut self) -> Option<()> {
        if self.is_at_text() {
            return self.text().map(drop);
        }
        let mut deserializer = Deserializer::new(&mut self.rest);
        deserializer.set_max_depth(MAX_DEPTH);
        IgnoredAny::deserialize(&mut deserializer).ok().map(drop)
    }
}

// Writing to memory cannot fail, so the results are ignored.

/// A str of any bytes, as Go writes it; serde knows only those that are UTF-8.
#[inline]
pub fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(short @ ..32) => out.push(Marker::FixStr(short).to_u8()),
        _ => write_long_header(out, text.len()),
    }
    out.extend_from_slice(text);
}

#[cold]
#[inline(never)]
fn write_long_header(out: &mut Vec<u8>, text_length: usize) {
    let _ = encode::write_str_len(out, length(text_length));
}

/// A str if the text is UTF-8, else a bin.
#[inline]
pub fn write_text_or_bin(out: &mut Vec<u8>, text: &[u8]) {
    if is_utf8(text) {
        return write_text(out, text);
    }
    write_bin(out, text);
}

/// A bin.
pub fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    let _ = encode::write_bin_len(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// A bool.
pub fn write_boolean(out: &mut Vec<u8>, value: bool) {
    let _ = encode::write_bool(out, value);
}

/// A nil.
pub fn write_nil(out: &mut Vec<u8>) {
    let _ = encode::write_nil(out);
}

/// The header of an array.
pub fn write_array(out: &mut Vec<u8>, elements: usize) {
    let _ = encode::write_array_len(out, length(elements));
}

/// The shortest int or uint. Versions and counts fit 64 bits.
pub fn write_number(out: &mut Vec<u8>, number: i128) {
    debug_assert!(
        (i64::MIN.into()..=u64::MAX.into()).contains(&number),
        "{number} fits 64 bits"
    );
    let _ = match u64::try_from(number) {
        Ok(number) => encode::write_uint(out, number),
        Err(_) => encode::write_sint(out, i64::try_from(number).unwrap_or(i64::MIN)),
    };
}

/// The header of a map.
#[inline]
pub fn write_map(out: &mut Vec<u8>, pairs: usize) {
    match u8::try_from(pairs) {
        Ok(few @ ..16) => out.push(Marker::FixMap(few).to_u8()),
        _ => write_long_map(out, pairs),
    }
}

#[cold]
#[inline(never)]
fn write_long_map(out: &mut Vec<u8>, pairs: usize) {
    let _ = encode::write_map_len(out, length(pairs));
}

/// Entries of 4 GiB and more are refused later, whatever their contents.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A str, which need not be UTF-8, or a bin; in JSON, a string.
pub struct Text<'e>(pub Bytes<'e>);

impl<'de: 'e, 'e> Deserialize<'de> for Text<'e> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text.as_bytes())))
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(bytes)))
            }

            // A JSON string with escapes.
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.as_bytes().to_vec())))
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

/// A map in the order of its bytes, without repeated names.
pub struct Pairs<'e, T>(pub Vec<(Bytes<'e>, T)>);

impl<T> Default for Pairs<'_, T> {
    fn default() -> Self {
        Pairs(Vec::new())
    }
}

impl<T> Pairs<'_, T> {
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        let mut pairs = self.0.iter();
        pairs.find(|pair| *pair.0 == *name).map(|pair| &pair.1)
    }
}

impl<'de: 'e, 'e, T: Deserialize<'de>> Deserialize<'de> for Pairs<'e, T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<'e, T>(PhantomData<(&'e (), T)>);

        impl<'de: 'e, 'e, T: Deserialize<'de>> Visitor<'de> for PairsVisitor<'e, T> {
            type Value = Pairs<'e, T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map, no name twice")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // No capacity is reserved: the header may promise four billion pairs.
                let mut pairs = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    pairs.push((name, map.next_value()?));
                }
                match distinct(pairs.iter().map(|(name, _)| name)) {
                    true => Ok(Pairs(pairs)),
                    false => Err(A::Error::custom("a name twice")),
                }
            }

            // Go writes nil for an empty map.
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Pairs::default())
            }
        }

        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// Whether no name is repeated.
pub fn distinct<'n>(names: impl Iterator<Item = &'n Bytes<'n>> + Clone) -> bool {
    // Images are sorted when they are written, and a map of one name is, too: neither needs a copy.
    if names.clone().is_sorted_by(|a, b| a < b) {
        return true;
    }
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.is_sorted_by(|a, b| a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_or_not_in_any_order() {
        for (names, expected) in [
            ("", true),
            ("a", true),
            ("a b c", true),
            ("c a b", true),
            ("a a", false),
            ("b a b", false),
            ("a b b", false),
        ] {
            let names = names.split_terminator(' ');
            let pairs: Vec<(Bytes, ())> = names.map(|name| (name.as_bytes().into(), ())).collect();
            let names = pairs.iter().map(|(name, _)| name);
            assert_eq!(distinct(names), expected, "{pairs:?}");
        }
    }

    #[test]
    fn lengths_take_the_fewest_bytes() {
        let header = |length: usize| {
            let mut out = Vec::new();
            write_text(&mut out, &vec![b'x'; length]);
            out.truncate(out.len() - length);
            out
        };
        assert_eq!(header(31), b"\xbf");
        assert_eq!(header(32), b"\xd9\x20");
        assert_eq!(header(256), b"\xda\x01\x00");
        assert_eq!(header(65536), b"\xdb\x00\x01\x00\x00");
    }
}
