//! JSON objects as most clients write them: flat, with strings that have no escapes, and with integers. They are read
//! in one pass; all others are left to the parser.

use crate::entity::field::Fields;
use crate::entity::value::InputValue;

/// The members of a text, if it is such an object.
pub fn read(text: &str) -> Option<Fields<'_>> {
    let mut rest = Rest(text.as_bytes());
    rest.token(b'{')?;
    let mut fields = Fields::new();
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
        self.skip_space();
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
        let text = self.while_is(|byte| !matches!(byte, b'"' | b'\\' | ..=0x1f));
        self.0 = self.0.strip_prefix(b"\"")?;
        Some(text)
    }

    fn value(&mut self) -> Option<Option<InputValue<'a>>> {
        self.skip_space();
        Some(Some(match self.0.first()? {
            b'"' => {
                self.token(b'"')?;
                InputValue::Text(self.string()?.into())
            }
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

/// Whether digits are an integer as JSON writes it.
fn is_integer(digits: &[u8]) -> bool {
    let size = digits.strip_prefix(b"-").unwrap_or(digits);
    !matches!(size, [] | [b'0', _, ..]) && size.iter().all(u8::is_ascii_digit)
}
