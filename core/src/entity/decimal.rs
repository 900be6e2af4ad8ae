//! Plain decimal numbers: ids of entities, parts of event ids, counts.

/// Parses plain decimal digits without sign, leading zeros or white space, as Redis itself writes them.
pub fn parse(text: &[u8]) -> Option<u64> {
    let (number, rest) = leading(text)?;
    rest.is_empty().then_some(number)
}

/// The number that a text begins with, and what comes behind it.
pub fn leading(text: &[u8]) -> Option<(u64, &[u8])> {
    if let [b'0', rest @ ..] = text {
        return Some((0, rest));
    }
    let mut number = 0u64;
    let mut rest = text;
    while let [byte, behind @ ..] = rest
        && byte.is_ascii_digit()
    {
        let digit = byte.wrapping_sub(b'0');
        number = number.checked_mul(10)?.checked_add(digit.into())?;
        rest = behind;
    }
    (rest.len() < text.len()).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_canonical() {
        for (text, number) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1x", None),
            ("x", None),
        ] {
            assert_eq!(parse(text.as_bytes()), number, "{text:?}");
        }
    }
}
