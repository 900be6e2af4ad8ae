//! The arguments of DIRTY.CONSUME.

use crate::args::Args;
use crate::entity::decimal;
use crate::entity::event_id::EventId;
use crate::entity::limits::Limits;
use crate::entity::operation::Operations;
use crate::error::{Error, Quoted};
use crate::reading::filters::{Filter, Shard};
use crate::reading::groups::LEFT;
use std::collections::BTreeSet;

/// DIRTY.CONSUME: a reader, its options, and the filter of its events.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// GROUP or CURSOR, with the options of either.
    pub reader: Reader<'a>,
    /// FROM: where a new reader starts.
    pub from: Start,
    /// COUNT: the maximum number of events.
    pub count: u64,
    /// BLOCK: how long to wait in ms; 0 waits for ever.
    pub block: Option<i64>,
    /// RAW: whether entries are replied as they are stored.
    pub raw: bool,
    /// WHERE and SHARD.
    pub filter: Filter<'a>,
}

/// A reader of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Reader<'a> {
    /// A consumer of a group.
    Group(GroupReader<'a>),
    /// A cursor.
    Cursor(CursorReader<'a>),
}

impl<'a> Reader<'a> {
    /// The name of the group or cursor.
    pub fn name(&self) -> &'a [u8] {
        match self {
            Reader::Group(group) => group.name,
            Reader::Cursor(cursor) => cursor.name,
        }
    }

    /// The error for a word that is not an option of this reader. It names the other reader if that has the option.
    fn refusal(&self, got: &[u8]) -> Error {
        let (other, options): (_, &[&str]) = match self {
            Reader::Group(_) => ("CURSOR", &["LAG", "SHARD"]),
            Reader::Cursor(_) => (
                "GROUP",
                &[
                    "PENDING",
                    "CLAIM",
                    "MAXDELIVERIES",
                    "DEAD",
                    "SINGLE",
                    "MAXPENDING",
                ],
            ),
        };
        match options
            .iter()
            .find(|option| got.eq_ignore_ascii_case(option.as_bytes()))
        {
            Some(option) => Error::Needs(option, other),
            None => Error::UnknownOption(Quoted::new(got)),
        }
    }
}

/// GROUP and its options.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GroupReader<'a> {
    /// The group's name.
    pub name: &'a [u8],
    /// The consumer's name.
    pub consumer: &'a [u8],
    /// ACK: the events that were handled.
    pub ack: Vec<EventId>,
    /// ACK … DELETE: whether entries that every group has acknowledged are deleted.
    pub delete: bool,
    /// PENDING: whether the consumer's own pending events come first.
    pub pending: bool,
    /// CLAIM: how long an event must have been pending before it is taken over.
    pub claim_ms: Option<u64>,
    /// MAXDELIVERIES: how often an event may be delivered.
    pub max_deliveries: Option<u64>,
    /// DEAD: the stream of events that the group gave up on.
    pub dead: Option<&'a [u8]>,
    /// SINGLE: how long the active consumer may be silent.
    pub lease_ms: Option<u64>,
    /// MAXPENDING: how many events the consumer may hold.
    pub max_pending: Option<u64>,
}

/// CURSOR and its options.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CursorReader<'a> {
    /// The cursor's name.
    pub name: &'a [u8],
    /// ACK: the last event that was handled.
    pub ack: Option<EventId>,
    /// LAG: the minimum age of the events that are delivered.
    pub lag_ms: Option<u64>,
}

/// FROM: where a new reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest entry that still exists.
    Beginning,
    /// At entries that are added from now on.
    Now,
    /// Behind this id.
    After(EventId),
    /// At this time, in milliseconds since 1970.
    SinceMs(u64),
}

const DEFAULT_COUNT: u64 = 100;

impl<'a> Request<'a> {
    /// Parses the arguments behind the stream.
    pub fn parse(mut args: Args<'a>, limits: &Limits) -> Result<Self, Error> {
        let reader = if args.keyword("GROUP") {
            Reader::Group(GroupReader {
                name: args.name("GROUP", "a group")?,
                consumer: consumer(&mut args)?,
                ..GroupReader::default()
            })
        } else if args.keyword("CURSOR") {
            Reader::Cursor(CursorReader {
                name: args.name("CURSOR", "a name")?,
                ..CursorReader::default()
            })
        } else {
            return Err(no_reader(args));
        };
        let mut request = Request {
            reader,
            from: Start::Beginning,
            count: DEFAULT_COUNT,
            block: None,
            raw: false,
            filter: Filter::default(),
        };
        let mut seen = Vec::new();
        while !args.is_empty() {
            let option = request.option(&mut args, limits)?;
            if seen.contains(&option) {
                return Err(Error::Repeated(option));
            }
            seen.push(option);
        }
        match &request.reader {
            Reader::Group(group) if group.dead.is_some() && group.max_deliveries.is_none() => {
                Err(Error::Needs("DEAD", "MAXDELIVERIES"))
            }
            Reader::Group(_) | Reader::Cursor(_) => Ok(request),
        }
    }

    /// Reads one option and returns its name.
    fn option(&mut self, args: &mut Args<'a>, limits: &Limits) -> Result<&'static str, Error> {
        let of_reader = match &mut self.reader {
            Reader::Group(group) => group.option(args)?,
            Reader::Cursor(cursor) => cursor.option(args, &mut self.filter)?,
        };
        if let Some(option) = of_reader {
            return Ok(option);
        }
        if args.keyword("FROM") {
            self.from = Start::parse("FROM", args.next("FROM", "a start")?)?;
            Ok("FROM")
        } else if args.keyword("COUNT") {
            let max = u64::from(u32::MAX);
            self.count = args.number("COUNT", "a number", 1..=max)?;
            Ok("COUNT")
        } else if args.keyword("BLOCK") {
            let ms = args.ms("BLOCK", 0)?;
            let ms = i64::try_from(ms);
            debug_assert!(ms.is_ok(), "times are at most 2^53 ms");
            self.block = Some(ms.unwrap_or(i64::MAX));
            Ok("BLOCK")
        } else if args.keyword("RAW") {
            self.raw = true;
            Ok("RAW")
        } else if args.keyword("WHERE") {
            self.filter.parse(args, limits)?;
            Ok("WHERE")
        } else {
            Err(self.reader.refusal(args.take().unwrap_or_default()))
        }
    }
}

impl<'a> GroupReader<'a> {
    fn option(&mut self, args: &mut Args<'a>) -> Result<Option<&'static str>, Error> {
        Ok(Some(if args.keyword("ACK") {
            for _ in 0..args.count("ACK")? {
                self.ack.push(event_id(args, "ACK")?);
            }
            self.delete = args.keyword("DELETE");
            "ACK"
        } else if args.keyword("PENDING") {
            self.pending = true;
            "PENDING"
        } else if args.keyword("CLAIM") {
            self.claim_ms = Some(args.ms("CLAIM", 0)?);
            "CLAIM"
        } else if args.keyword("MAXDELIVERIES") {
            self.max_deliveries = Some(max_deliveries(args)?);
            "MAXDELIVERIES"
        } else if args.keyword("DEAD") {
            self.dead = Some(args.name("DEAD", "a key")?);
            "DEAD"
        } else if args.keyword("SINGLE") {
            self.lease_ms = Some(args.ms("SINGLE", 1)?);
            "SINGLE"
        } else if args.keyword("MAXPENDING") {
            let max = i64::MAX.unsigned_abs();
            self.max_pending = Some(args.number("MAXPENDING", "a number", 1..=max)?);
            "MAXPENDING"
        } else {
            return Ok(None);
        }))
    }
}

impl<'a> CursorReader<'a> {
    fn option(
        &mut self,
        args: &mut Args<'a>,
        filter: &mut Filter<'a>,
    ) -> Result<Option<&'static str>, Error> {
        Ok(Some(if args.keyword("ACK") {
            self.ack = Some(event_id(args, "ACK")?);
            "ACK"
        } else if args.keyword("LAG") {
            self.lag_ms = Some(args.ms("LAG", 0)?);
            "LAG"
        } else if args.keyword("SHARD") {
            let last = u64::from(u32::MAX);
            let index = args.number("SHARD", "an index", 0..=last)?;
            let count = args.number("SHARD", "a count", 1..=last)?;
            if index >= count {
                return Err(Error::NoSuchShard { index, count });
            }
            filter.shard = Some(Shard { index, count });
            "SHARD"
        } else {
            return Ok(None);
        }))
    }
}

impl<'a> Filter<'a> {
    /// Reads filters up to the first argument that is not a filter.
    fn parse(&mut self, args: &mut Args<'a>, limits: &Limits) -> Result<(), Error> {
        let mut found = 0usize;
        loop {
            limits.check_filters(found)?;
            let again = if args.keyword("ENTITY") {
                let entity = args.name("ENTITY", "a name")?;
                self.entity.replace(entity).map(|_| "ENTITY")
            } else if args.keyword("OPS") {
                let operations = operations(args)?;
                self.operations.replace(operations).map(|_| "OPS")
            } else if args.keyword("FIELDS") {
                let mut fields = BTreeSet::new();
                let count = args.count("FIELDS")?;
                // As many as there are: of those that are missing the client is told.
                found = found.saturating_add(count.min(args.remaining()));
                limits.check_filters(found)?;
                for _ in 0..count {
                    fields.insert(args.next("FIELDS", "a field")?);
                }
                self.fields.replace(fields).map(|_| "FIELDS")
            } else if args.keyword("META") {
                let name = args.next("META", "a name")?;
                self.meta.insert((name, args.next("META", "a value")?));
                None
            } else if found > 0 {
                return Ok(());
            } else {
                return Err(Error::Missing {
                    of: "WHERE",
                    what: "a filter: ENTITY, OPS, FIELDS or META",
                });
            };
            if let Some(filter) = again {
                return Err(Error::Repeated(filter));
            }
            found = found.saturating_add(1);
        }
    }
}

fn operations(args: &mut Args) -> Result<Operations, Error> {
    let letters = args.next("OPS", "its operations")?;
    Operations::from_letters(&letters.to_ascii_uppercase()).ok_or_else(|| Error::NotOneOf {
        of: "OPS",
        choices: "letters of IUD",
        got: Quoted::new(letters),
    })
}

/// A consumer's name, which must not be the reserved one.
pub fn consumer<'a>(args: &mut Args<'a>) -> Result<&'a [u8], Error> {
    match args.name("GROUP", "a consumer")? {
        LEFT => Err(Error::ReservedConsumer),
        consumer => Ok(consumer),
    }
}

/// The value of MAXDELIVERIES.
pub fn max_deliveries(args: &mut Args) -> Result<u64, Error> {
    let max = i64::MAX.unsigned_abs();
    args.number("MAXDELIVERIES", "a number", 1..=max)
}

impl Start {
    /// Parses `0`, `$`, an event id or a time in ms, the value of `of`.
    pub fn parse(of: &'static str, text: &[u8]) -> Result<Self, Error> {
        match text {
            b"$" => Ok(Start::Now),
            b"0" => Ok(Start::Beginning),
            text => EventId::parse(text)
                .map(Start::After)
                .or_else(|| decimal::parse(text).map(Start::SinceMs))
                .ok_or_else(|| Error::NotAStart {
                    of,
                    got: Quoted::new(text),
                }),
        }
    }
}

/// The error for an argument in place of GROUP or CURSOR.
pub fn no_reader(args: Args) -> Error {
    not_among(args, "GROUP or CURSOR")
}

/// The error for an argument in place of GROUP.
pub fn no_group(args: Args) -> Error {
    not_among(args, "GROUP")
}

fn not_among(mut args: Args, choices: &'static str) -> Error {
    Error::NotOneOf {
        of: "the reader",
        choices,
        got: Quoted::new(args.take().unwrap_or_default()),
    }
}

/// An event id, as an argument of `of`.
pub fn event_id(args: &mut Args, of: &'static str) -> Result<EventId, Error> {
    let text = args.next(of, "an id")?;
    EventId::parse(text).ok_or_else(|| Error::NotAnId(Quoted::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let request =
            Request::parse(Args::new(&words), &Limits::NONE).map_err(|error| error.to_string())?;
        let reader = match request.reader {
            Reader::Group(GroupReader {
                ack,
                pending,
                claim_ms,
                ..
            }) => format!("group {} {pending} {claim_ms:?}", ack.len()),
            Reader::Cursor(CursorReader { ack, .. }) => format!("cursor {ack:?}"),
        };
        let Request {
            from,
            count,
            block,
            raw,
            ..
        } = request;
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
    fn options_of_the_other_reader_and_unknown_ones_are_refused() {
        for (line, error) in [
            ("", "ERR the reader must be GROUP or CURSOR, not \"\""),
            ("GROUP g", "ERR GROUP requires a consumer"),
            ("CURSOR c PENDING", "ERR PENDING requires GROUP"),
            ("CURSOR c claim 5", "ERR CLAIM requires GROUP"),
            ("GROUP g c LAG 5", "ERR LAG requires CURSOR"),
            ("CURSOR c LIMIT 5", "ERR unknown option \"LIMIT\""),
            ("CURSOR c RAW RAW", "ERR RAW is given twice"),
            ("GROUP g c ACK 2 1-1", "ERR ACK requires an id"),
            (
                "GROUP g c ACK 1 1",
                "ERR invalid event id \"1\", expected ms-seq",
            ),
        ] {
            assert_eq!(parse(line), Err(error.into()), "{line}");
        }
    }
}
