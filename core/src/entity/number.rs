//! Numbers in decimal notation, exact: `-12`, `+.5`, `1.0` and `7E+3` are compared and written digit by digit.
//!
//! Nothing here allocates or loops by the size of an exponent. Time and memory are linear in the text.

/// How many digits a decimal may have, before and behind the point together.
pub const MAX_DIGITS: usize = 1000;

/// Exponents beyond this are taken for this. A text has fewer digits, so a number with such an exponent is
/// either enormous or next to nothing, whatever its digits are.
const MAX_EXPONENT: i64 = 1_000_000_000_000_000;

/// The value `0.DDD × 10^point`, where `DDD` are its digits without zeros at either end. Zero has no digits.
#[derive(Clone, Copy, Debug)]
pub struct Number<'t> {
    negative: bool,
    /// The digits as they stand before and behind the point in the text.
    whole: &'t [u8],
    fraction: &'t [u8],
    point: i64,
}

impl<'t> Number<'t> {
    /// A sign may stand in front, the digits before or behind the point may be left out, but not both, and an
    /// exponent may follow. There is no white space, no infinity and no NaN.
    pub fn parse(text: &'t [u8]) -> Option<Self> {
        let (negative, text) = sign(text);
        let (whole, rest) = digits(text);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            _ => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        let mut whole = without_leading_zeros(whole);
        let mut point = length(whole);
        let mut fraction = without_trailing_zeros(fraction);
        if whole.is_empty() {
            let significant = without_leading_zeros(fraction);
            point = length(significant).saturating_sub(length(fraction));
            fraction = significant;
        }
        if fraction.is_empty() {
            whole = without_trailing_zeros(whole);
        }
        let is_zero = whole.is_empty() && fraction.is_empty();
        Some(Number {
            negative: negative && !is_zero,
            whole,
            fraction,
            point: match is_zero {
                true => 0,
                false => point.saturating_add(exponent),
            },
        })
    }

    fn digits(&self) -> impl Iterator<Item = u8> + 't {
        self.whole.iter().chain(self.fraction).copied()
    }

    fn length(&self) -> i64 {
        length(self.whole).saturating_add(length(self.fraction))
    }

    /// Whether it is 0, of either sign.
    pub fn is_zero(&self) -> bool {
        self.length() == 0
    }

    /// How many digits stand behind the point when it is written without an exponent.
    fn scale(&self) -> i64 {
        self.length().saturating_sub(self.point).max(0)
    }

    /// The number if it is an integer of at most 20 digits.
    pub fn to_integer(self) -> Option<i128> {
        if self.scale() > 0 || self.point > 20 {
            return None;
        }
        let mut digits = self.digits();
        let size = (0..self.point).try_fold(0i128, |size, _| {
            let digit = digits.next().unwrap_or(b'0').saturating_sub(b'0');
            size.checked_mul(10)?.checked_add(digit.into())
        })?;
        Some(if self.negative {
            size.saturating_neg()
        } else {
            size
        })
    }

    /// The double that is nearest to it, if that is finite.
    pub fn to_double(self) -> Option<f64> {
        // The parser of the standard library is exact, but it stops counting at exponents that are large. So
        // it gets a normalized text: with more than 768 digits it matters only whether there are others.
        const DIGITS: usize = 800;
        if self.point < -400 {
            return Some(if self.negative { -0.0 } else { 0.0 });
        } else if self.point > 400 {
            return None;
        }
        let mut text = String::from(if self.negative { "-0." } else { "0." });
        text.extend(self.digits().take(DIGITS).map(char::from));
        if self.length() > length(&[0; DIGITS]) {
            text.push('1');
        }
        text.push_str(&format!("e{}", self.point));
        text.parse().ok().filter(|double: &f64| double.is_finite())
    }

    /// Its digits without exponent and without zeros that say nothing, if they are at most [`MAX_DIGITS`].
    /// With a scale, exactly so many stand behind the point, and a number that needs more has no such text.
    pub fn to_decimal(self, scale: Option<u16>) -> Option<String> {
        let needed = usize::try_from(self.scale()).ok()?;
        let scale = match scale.map(usize::from) {
            None => needed,
            Some(scale) if needed <= scale => scale,
            Some(_) => return None,
        };
        let before = usize::try_from(self.point.max(0)).ok()?;
        let fits = before.checked_add(scale)? <= MAX_DIGITS;
        fits.then(|| self.plain(before, scale))
    }

    /// So many digits before the point, so many behind it.
    fn plain(self, before: usize, scale: usize) -> String {
        let mut digits = self.digits();
        let mut next = || char::from(digits.next().unwrap_or(b'0'));
        let mut text = String::with_capacity(before.saturating_add(scale).saturating_add(3));
        if self.negative {
            text.push('-');
        }
        match before {
            0 => text.push('0'),
            _ => text.extend((0..before).map(|_| next())),
        }
        if scale > 0 {
            let zeros = usize::try_from(self.point.saturating_neg())
                .unwrap_or(0)
                .min(scale);
            text.push('.');
            text.extend(std::iter::repeat_n('0', zeros));
            text.extend((zeros..scale).map(|_| next()));
        }
        text
    }

    /// The one text that JSON has for this number here: that of a float, but with all digits. Without an
    /// exponent from 1e-5 up to 1e21. `None` if it has an exponent of more than 14 digits there.
    pub fn to_json(self) -> Option<String> {
        /// Below it, exponents are counted to their end: no text has as many digits as would make good for one
        /// that is not.
        const LIMIT: i64 = MAX_EXPONENT / 10;
        if self.is_zero() {
            return Some("0".into());
        }
        let exponent = self.point.saturating_sub(1);
        if exponent.abs() >= LIMIT {
            return None;
        }
        if (-4..=21).contains(&self.point) {
            let before = usize::try_from(self.point.max(0)).ok()?;
            return Some(self.plain(before, usize::try_from(self.scale()).ok()?));
        }
        let mantissa = Number { point: 1, ..self };
        let mut text = mantissa.plain(1, usize::try_from(mantissa.scale()).ok()?);
        text.push_str(&format!("e{exponent}"));
        Some(text)
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        let head = |number: &Self| (number.negative, number.point, number.length());
        head(self) == head(other) && self.digits().eq(other.digits())
    }
}

/// Whether it is an integer of at most 18 digits, written as this program writes integers.
pub fn is_plain_integer(text: &[u8]) -> bool {
    let digits = match text {
        [b'0'] => return true,
        [b'-', digits @ ..] => digits,
        digits => digits,
    };
    matches!(digits, [b'1'..=b'9', rest @ ..] if rest.len() < 18 && rest.iter().all(u8::is_ascii_digit))
}

fn length(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// The digits that stand first, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    end.and_then(|end| text.split_at_checked(end))
        .unwrap_or((text, &[]))
}

fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, text) = sign(text);
    let (digits, rest) = digits(text);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let exponent = digits.iter().fold(0i64, |exponent, digit| {
        let digit = i64::from(digit.saturating_sub(b'0'));
        exponent.saturating_mul(10).saturating_add(digit)
    });
    let exponent = exponent.min(MAX_EXPONENT);
    Some(if negative {
        exponent.saturating_neg()
    } else {
        exponent
    })
}

fn without_leading_zeros(mut digits: &[u8]) -> &[u8] {
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    digits
}

fn without_trailing_zeros(mut digits: &[u8]) -> &[u8] {
    while let [rest @ .., b'0'] = digits {
        digits = rest;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        Number::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_number_has_an_integer_a_decimal_and_a_text_in_json() {
        for (text, integer, decimal, json) in [
            ("0", Some(0), "0", "0"),
            ("-0", Some(0), "0", "0"),
            ("+0.000", Some(0), "0", "0"),
            ("-0e999999999999999999999999", Some(0), "0", "0"),
            ("007", Some(7), "7", "7"),
            ("+5", Some(5), "5", "5"),
            ("5.", Some(5), "5", "5"),
            (".5", None, "0.5", "0.5"),
            ("7E+3", Some(7000), "7000", "7000"),
            ("-1200e-2", Some(-12), "-12", "-12"),
            ("1.50", None, "1.5", "1.5"),
            ("0.0012e2", None, "0.12", "0.12"),
            ("0.00001", None, "0.00001", "0.00001"),
            ("0.000001", None, "0.000001", "1e-6"),
            ("-12.5e-8", None, "-0.000000125", "-1.25e-7"),
            (
                "1e20",
                None,
                "100000000000000000000",
                "100000000000000000000",
            ),
            ("1e21", None, "1000000000000000000000", "1e21"),
            (
                "99999999999999999999",
                Some(99_999_999_999_999_999_999),
                "99999999999999999999",
                "99999999999999999999",
            ),
            (
                "12345678901234567890123.5",
                None,
                "12345678901234567890123.5",
                "1.23456789012345678901235e22",
            ),
            (
                "0.9999999999999999999999",
                None,
                "0.9999999999999999999999",
                "0.9999999999999999999999",
            ),
            (
                "9223372036854775807.0",
                Some(i64::MAX.into()),
                "9223372036854775807",
                "9223372036854775807",
            ),
        ] {
            let number = number(text);
            assert_eq!(number.to_integer(), integer, "{text}");
            assert_eq!(number.to_decimal(None).as_deref(), Some(decimal), "{text}");
            assert_eq!(number.to_json().as_deref(), Some(json), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "-", "+", ".", "-.", "e5", "1e", "1e+", "1e5.0", "1.2.3", " 1", "1 ", "--1", "+-1",
            "0x1", "1_0", "inf", "NaN", "1e 5", "1,5", "١",
        ] {
            assert!(Number::parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_scale_is_exact_and_digits_are_limited() {
        let ones = "1".repeat(1000);
        let too_many = "1".repeat(1001);
        for (text, scale, expected) in [
            ("10.5", Some(2), Some("10.50")),
            ("10.500", Some(2), Some("10.50")),
            ("1e1", Some(2), Some("10.00")),
            ("-0", Some(2), Some("0.00")),
            ("0.005", Some(2), None),
            ("-0.07", Some(2), Some("-0.07")),
            ("10.5", Some(0), None),
            ("10.0", Some(0), Some("10")),
            ("0.5", Some(1000), Some(&*format!("0.5{}", "0".repeat(999)))),
            ("1", Some(1000), None),
            (&ones, None, Some(&ones)),
            (&too_many, None, None),
            (&ones, Some(1), None),
            ("1e999", None, Some(&*format!("1{}", "0".repeat(999)))),
            ("1e1000", None, None),
            ("1e-1000", None, Some(&*format!("0.{}1", "0".repeat(999)))),
            ("1e-1001", None, None),
            ("1e99999999999999999999", None, None),
            ("1e-99999999999999999999", None, None),
        ] {
            let decimal = number(text).to_decimal(scale);
            assert_eq!(decimal.as_deref(), expected, "{text} {scale:?}");
        }
    }

    #[test]
    fn the_nearest_double_is_found_however_the_number_is_written() {
        let zeros = "0".repeat(1_000_000);
        // 2^53 + 1 lies halfway between two doubles; a digit far behind decides.
        let half = format!("9007199254740993.{zeros}");
        for (text, double) in [
            (half.clone(), Some(9007199254740992.0)),
            (half + "1", Some(9007199254740994.0)),
            (format!("0.{zeros}15e1000001"), Some(1.5)),
            (format!("15{zeros}e-1000001"), Some(1.5)),
            ("1e-400".into(), Some(0.0)),
            ("5e-324".into(), Some(5e-324)),
            ("2e-324".into(), Some(0.0)),
            ("1.7976931348623157e308".into(), Some(f64::MAX)),
            ("1.7976931348623159e308".into(), None),
            ("-1e309".into(), None),
            ("1e999999999999999999999".into(), None),
            ("-1e-999999999999999999999".into(), Some(0.0)),
        ] {
            let short = &text[..text.len().min(30)];
            assert_eq!(number(&text).to_double(), double, "{short}");
        }
    }

    #[test]
    fn hostile_numbers_are_answered_fast() {
        let start = std::time::Instant::now();
        for text in [
            "1e999999999",
            "1e-999999999",
            "-1e999999999999999999999999999999",
        ] {
            let number = number(text);
            let answers = (number.to_integer(), number.to_decimal(Some(5)));
            assert_eq!(answers, (None, None), "{text}");
        }
        let digits = "1".repeat(10_000_000);
        for text in [
            digits.clone(),
            format!("0.{digits}"),
            format!("1e{digits}"),
            format!("0.{digits}e{digits}"),
        ] {
            let number = number(&text);
            assert_eq!(number.to_integer(), None);
            assert_eq!(number.to_decimal(None), None);
            assert!(number == number);
            number.to_double();
            number.to_json();
        }
        // Work that grows with the exponent takes minutes; machines may be busy.
        assert!(start.elapsed() < std::time::Duration::from_secs(60));
    }

    /// A number, written in some way: its digits, where the point stands among them, zeros at both ends.
    pub fn written(integer: i128, point: usize, zeros: (usize, usize), sign: &str) -> String {
        let size = format!("{}{}", integer.unsigned_abs(), "0".repeat(zeros.1));
        let size = format!(
            "{}{size}",
            "0".repeat(zeros.0.max((point + 1).saturating_sub(size.len())))
        );
        let (whole, fraction) = size.split_at(size.len() - point);
        let exponent = i64::try_from(point).unwrap() - i64::try_from(zeros.1).unwrap();
        let minus = if integer < 0 { "-" } else { sign };
        format!("{minus}{whole}.{fraction}e{exponent}")
    }

    proptest! {
        #[test]
        fn an_integer_is_exact_however_it_is_written(
            integer: i64,
            point in 0usize..40,
            zeros in (0usize..30, 0usize..30),
        ) {
            let text = written(integer.into(), point, zeros, "+");
            prop_assert_eq!(number(&text).to_integer(), Some(integer.into()), "{}", text);
            prop_assert_eq!(number(&text).to_decimal(None), Some(integer.to_string()), "{}", text);
            prop_assert!(number(&text) == number(&integer.to_string()));
        }

        #[test]
        fn canonical_texts_are_fixed_points_and_the_same_number(
            text in r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,2})?",
        ) {
            for canonical in [number(&text).to_decimal(None), number(&text).to_json()] {
                let canonical = canonical.unwrap();
                prop_assert!(number(&canonical) == number(&text), "{} {}", text, canonical);
            }
            let [decimal, json] = [number(&text).to_decimal(None), number(&text).to_json()].map(Option::unwrap);
            prop_assert_eq!(number(&decimal).to_decimal(None), Some(decimal.clone()));
            prop_assert_eq!(number(&json).to_json(), Some(json));
        }

        #[test]
        fn the_double_is_that_of_the_standard_library(
            text in r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?",
        ) {
            let expected = text.parse().ok().filter(|double: &f64| double.is_finite());
            prop_assert_eq!(number(&text).to_double(), expected);
        }
    }
}
