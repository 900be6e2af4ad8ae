//! What DIRTY.CONSUME was asked for.

use crate::args::Args;
use crate::entity::decimal;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};

#[derive(Debug, PartialEq, Eq)]
pub struct Options<'a> {
    pub reader: Reader<'a>,
    pub from: Start,
    pub count: u64,
    /// How long to wait in ms, 0 for ever.
    pub block: Option<i64>,
    pub raw: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Reader<'a> {
    Group {
        name: &'a [u8],
        consumer: &'a [u8],
        ack: Vec<EventId>,
        pending: bool,
        claim: Option<u64>,
    },
    Cursor {
        name: &'a [u8],
        ack: Option<EventId>,
    },
}

/// FROM: where a reader starts that has not read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Everything that is still there.
    Beginning,
    /// Only what comes.
    Now,
    After(EventId),
    SinceMs(u64),
}

const DEFAULT_COUNT: u64 = 100;

impl<'a> Options<'a> {
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let reader = if args.keyword("GROUP") {
            Reader::Group {
                name: args.next("GROUP", "a group")?,
                consumer: args.next("GROUP", "a consumer")?,
                ack: Vec::new(),
                pending: false,
                claim: None,
            }
        } else if args.keyword("CURSOR") {
            Reader::Cursor {
                name: args.next("CURSOR", "a name")?,
                ack: None,
            }
        } else {
            return Err(no_reader(args));
        };
        let mut options = Options {
            reader,
            from: Start::Beginning,
            count: DEFAULT_COUNT,
            block: None,
            raw: false,
        };
        let mut seen = Vec::new();
        while !args.is_empty() {
            let option = options.option(&mut args)?;
            if seen.contains(&option) {
                return Err(Error::Repeated(option));
            }
            seen.push(option);
        }
        Ok(options)
    }

    /// Reads one option and says which.
    fn option(&mut self, args: &mut Args<'a>) -> Result<&'static str, Error> {
        match &mut self.reader {
            Reader::Group { ack, .. } if args.keyword("ACK") => {
                for _ in 0..args.count("ACK")? {
                    ack.push(event_id(args, "ACK")?);
                }
                return Ok("ACK");
            }
            Reader::Group { pending, .. } if args.keyword("PENDING") => {
                *pending = true;
                return Ok("PENDING");
            }
            Reader::Group { claim, .. } if args.keyword("CLAIM") => {
                *claim = Some(args.ms("CLAIM", 0)?);
                return Ok("CLAIM");
            }
            Reader::Cursor { ack, .. } if args.keyword("ACK") => {
                *ack = Some(event_id(args, "ACK")?);
                return Ok("ACK");
            }
            _ => {}
        }
        if args.keyword("FROM") {
            self.from = Start::parse(args.next("FROM", "a start")?)?;
            Ok("FROM")
        } else if args.keyword("COUNT") {
            let most = u64::from(u32::MAX);
            self.count = args.number("COUNT", "a number", 1..=most)?;
            Ok("COUNT")
        } else if args.keyword("BLOCK") {
            let ms = args.ms("BLOCK", 0)?;
            self.block = Some(i64::try_from(ms).unwrap_or(i64::MAX));
            Ok("BLOCK")
        } else if args.keyword("RAW") {
            self.raw = true;
            Ok("RAW")
        } else {
            let got = args.take().unwrap_or_default();
            Err(Error::UnknownOption(Quoted::new(got)))
        }
    }
}

impl Start {
    fn parse(text: &[u8]) -> Result<Self, Error> {
        match text {
            b"$" => Ok(Start::Now),
            b"0" => Ok(Start::Beginning),
            text => EventId::parse(text)
                .map(Start::After)
                .or_else(|| decimal::parse(text).map(Start::SinceMs))
                .ok_or_else(|| Error::NotAStart(Quoted::new(text))),
        }
    }
}

/// The error of what stands where GROUP or CURSOR must.
pub fn no_reader(mut args: Args) -> Error {
    Error::NotOneOf {
        of: "the reader",
        choices: "GROUP or CURSOR",
        got: Quoted::new(args.take().unwrap_or_default()),
    }
}

/// An id that a client acknowledges.
pub fn event_id(args: &mut Args, of: &'static str) -> Result<EventId, Error> {
    let text = args.next(of, "an id")?;
    EventId::parse(text).ok_or_else(|| Error::NotAnId(Quoted::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let options = Options::parse(Args::new(&words)).map_err(|error| error.to_string())?;
        let reader = match options.reader {
            Reader::Group {
                ack,
                pending,
                claim,
                ..
            } => format!("group {} {pending} {claim:?}", ack.len()),
            Reader::Cursor { ack, .. } => format!("cursor {ack:?}"),
        };
        let Options {
            from,
            count,
            block,
            raw,
            ..
        } = options;
        Ok(format!("{reader} {from:?} {count} {block:?} {raw}"))
    }

    #[test]
    fn options_come_in_any_order_and_have_defaults() {
        for (line, expected) in [
            ("GROUP g c", "group 0 false None Beginning 100 None false"),
            (
                "group g c raw block 0 count 7 from $ claim 5 pending ack 2 1-1 2-2",
                "group 2 true Some(5) Now 7 Some(0) true",
            ),
            (
                "CURSOR c FROM 17 ACK 3-4 BLOCK 10",
                "cursor Some(EventId { ms: 3, seq: 4 }) SinceMs(17) 100 Some(10) false",
            ),
            (
                "CURSOR c FROM 17-2",
                "cursor None After(EventId { ms: 17, seq: 2 }) 100 None false",
            ),
        ] {
            assert_eq!(parse(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_belongs_to_the_other_reader_or_to_none_is_refused() {
        for (line, error) in [
            ("", "ERR the reader must be GROUP or CURSOR, not \"\""),
            ("GROUP g", "ERR GROUP lacks a consumer"),
            ("CURSOR c PENDING", "ERR unknown option \"PENDING\""),
            ("CURSOR c CLAIM 5", "ERR unknown option \"CLAIM\""),
            ("CURSOR c RAW RAW", "ERR RAW is given twice"),
            ("GROUP g c ACK 2 1-1", "ERR ACK lacks an id"),
            (
                "GROUP g c ACK 1 1",
                "ERR invalid event id \"1\", expected ms-seq",
            ),
        ] {
            assert_eq!(parse(line), Err(error.into()), "{line}");
        }
    }
}
