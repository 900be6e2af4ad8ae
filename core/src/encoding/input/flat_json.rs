//! JSON objects as most clients write them: flat, with strings that have no escapes, and with integers. They are read
//! in one pass; all others are left to the parser.

use crate::entity::field::Fields;
use crate::entity::value::InputValue;

/// The bytes that a member takes at least, as in `"a":1,`.
const LEAST_MEMBER: usize = 6;

/// The most members for which there is room from the start.
const ROOM: usize = 16;

/// The members of a text, if it is such an object.
pub fn read(text: &str) -> Option<Fields<'_>> {
    let mut rest = Rest(text.as_bytes());
    rest.token(b'{')?;
    let mut fields = Fields::with_capacity((text.len() / LEAST_MEMBER).min(ROOM));
    loop {
        rest.token(b'"')?;
        let name = rest.string()?;
        rest.token(b':')?;
        fields.push((name.into(), rest.value()?));
        if rest.token(b',').is_none() {
            break;
        }
    }
    rest.token(b'}')?;
    rest.skip_space();
    rest.0.is_empty().then_some(fields)
}

/// The bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    /// Takes this byte, and white space before it.
    fn token(&mut self, token: u8) -> Option<()> {
        if self.0.first() != Some(&token) {
            self.skip_space();
        }
        let (first, rest) = self.0.split_first()?;
        (*first == token).then(|| self.0 = rest)
    }

    /// Takes the bytes up to the first one that is none of these.
    fn while_is(&mut self, is_one: impl Fn(&u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !is_one(byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The rest of a string without escapes, and its end.
    fn string(&mut self) -> Option<&'a [u8]> {
        let mut length: usize = 0;
        loop {
            let rest = self.0.get(length..)?;
            let clean = match rest.first_chunk() {
                Some(eight) => clean_bytes(u64::from_le_bytes(*eight)),
                None => rest
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'\\' | ..=0x1f))?,
            };
            length = length.saturating_add(clean);
            if clean < size_of::<u64>() {
                break;
            }
        }
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest.strip_prefix(b"\"")?;
        Some(text)
    }

    fn value(&mut self) -> Option<Option<InputValue<'a>>> {
        if self.token(b'"').is_some() {
            return Some(Some(InputValue::Text(self.string()?.into())));
        }
        Some(Some(match self.0.first()? {
            b'-' | b'0'..=b'9' => {
                let digits = self.while_is(|byte| matches!(byte, b'-' | b'0'..=b'9'));
                is_integer(digits).then(|| InputValue::Number(digits.into()))?
            }
            _ => match self.while_is(u8::is_ascii_lowercase) {
                b"true" => InputValue::Bool(true),
                b"false" => InputValue::Bool(false),
                b"null" => return Some(None),
                _ => return None,
            },
        }))
    }
}

/// How many of eight bytes, the first of which is the lowest, stand before one that may end a string or is an escape.
fn clean_bytes(eight: u64) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    // The high bit of each byte that is less than `limit`; above the first one there may be others.
    let less = |bytes: u64, limit: u64| bytes.wrapping_sub(EACH.wrapping_mul(limit)) & !bytes;
    let is = |byte: u8| less(eight ^ EACH.wrapping_mul(byte.into()), 1);
    let found = (less(eight, 0x20) | is(b'"') | is(b'\\')) & EACH.wrapping_mul(0x80);
    usize::try_from(found.trailing_zeros() / u8::BITS).unwrap_or(0)
}

/// Whether digits are an integer as JSON writes it.
fn is_integer(digits: &[u8]) -> bool {
    let size = digits.strip_prefix(b"-").unwrap_or(digits);
    !matches!(size, [] | [b'0', _, ..]) && size.iter().all(u8::is_ascii_digit)
}
