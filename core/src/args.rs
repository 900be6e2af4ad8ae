//! A cursor over a command's arguments. Parsing reads like the syntax line, and leftover arguments are refused.

use crate::entity::decimal;
use crate::error::{Error, Quoted};
use crate::keyword::Keyword;

/// The arguments that are still to be read.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    rest: &'a [&'a [u8]],
}

impl<'a> Args<'a> {
    /// A cursor at the first of these arguments.
    pub fn new(args: &'a [&'a [u8]]) -> Self {
        Args { rest: args }
    }

    /// Whether all arguments were taken.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The number of arguments that are left: an upper bound for capacity that is reserved for a client's count.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next argument, as the `what` of the option `of`.
    pub fn next(&mut self, of: &'static str, what: &'static str) -> Result<&'a [u8], Error> {
        match self.take() {
            Some(arg) => Ok(arg),
            None => Err(Error::Missing { of, what }),
        }
    }

    /// The next argument as a name. An empty one is refused: it is a variable that the client forgot to set.
    pub fn name(&mut self, of: &'static str, what: &'static str) -> Result<&'a [u8], Error> {
        match self.next(of, what)? {
            [] => Err(Error::Empty { of, what }),
            name => Ok(name),
        }
    }

    /// All arguments that are left, as names of the same kind.
    pub fn names(&self, of: &'static str, what: &'static str) -> Result<&'a [&'a [u8]], Error> {
        match self.rest.iter().any(|name| name.is_empty()) {
            true => Err(Error::Empty { of, what }),
            false => Ok(self.rest),
        }
    }

    /// Takes the next argument, if there is one.
    pub fn take(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next argument, which stays.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.rest.first().copied()
    }

    /// The arguments that are left, which stay.
    pub fn rest(&self) -> &'a [&'a [u8]] {
        self.rest
    }

    /// The arguments between an earlier state of this cursor and now.
    pub fn since(&self, before: &Args<'a>) -> &'a [&'a [u8]] {
        debug_assert!(before.rest.len() >= self.rest.len(), "the later cursor");
        let taken = before.rest.len().saturating_sub(self.rest.len());
        before.rest.get(..taken).unwrap_or_default()
    }

    /// Takes the next argument if it is this keyword, in any case.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        let found = self
            .rest
            .first()
            .is_some_and(|arg| arg.eq_ignore_ascii_case(keyword.as_bytes()));
        if found {
            self.take();
        }
        found
    }

    /// A decimal number within the range.
    pub fn number(
        &mut self,
        of: &'static str,
        what: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, Error> {
        let arg = self.next(of, what)?;
        decimal::parse(arg)
            .filter(|number| range.contains(number))
            .ok_or_else(|| Error::NotANumber {
                of,
                min: *range.start(),
                max: *range.end(),
                got: Quoted::new(arg),
            })
    }

    /// A time in ms: at most some 285,000 years, so that adding it to the current time cannot overflow.
    pub fn ms(&mut self, of: &'static str, min: u64) -> Result<u64, Error> {
        self.number(of, "a time in ms", min..=1 << 53)
    }

    /// One of the option's keywords.
    pub fn word<K: Keyword>(&mut self, of: &'static str) -> Result<K, Error> {
        let word = self.next(of, "a word")?;
        K::parse(word).ok_or_else(|| Error::NotOneOf {
            of,
            choices: K::CHOICES,
            got: Quoted::new(word),
        })
    }

    /// The next `count` groups of N arguments, which are these of the option `of`.
    pub fn groups<const N: usize>(
        &mut self,
        count: usize,
        of: &'static str,
        whats: [&'static str; N],
    ) -> Result<&'a [[&'a [u8]; N]], Error> {
        match self.rest.split_at_checked(count.saturating_mul(N)) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken.as_chunks().0)
            }
            None => {
                let (_, of_last) = self.rest.as_chunks::<N>();
                let what = whats.get(of_last.len()).copied().unwrap_or_default();
                Err(Error::Missing { of, what })
            }
        }
    }

    /// The `n` that precedes n arguments or groups of arguments.
    pub fn count(&mut self, of: &'static str) -> Result<usize, Error> {
        let arg = self.next(of, "a count")?;
        decimal::parse(arg)
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| Error::NotACount {
                of,
                got: Quoted::new(arg),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_taken_in_any_case_only_when_they_stand_there() {
        let words: [&[u8]; 2] = [b"CoUnT", b"7"];
        let mut args = Args::new(&words);
        assert!(!args.keyword("BLOCK"));
        assert!(args.keyword("COUNT"));
        assert_eq!(args.number("COUNT", "a number", 1..=10), Ok(7));
        assert_eq!(
            args.number("COUNT", "a number", 1..=10),
            Err(Error::Missing {
                of: "COUNT",
                what: "a number"
            })
        );
    }
}
