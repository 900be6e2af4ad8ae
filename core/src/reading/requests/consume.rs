//! `DIRTY.CONSUME stream GROUP group consumer [ACK n id …] [PENDING] [COUNT n] [BLOCK ms] [RAW|JSON]`,
//! `DIRTY.CONSUME stream CURSOR name [ACK position] [COUNT n] [BLOCK ms] [RAW|JSON]`.

use super::shared::{Batch, Once, consumer, counted_ids, position, reader};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::Error;
use crate::reading::{Kind, Position};

/// Who reads, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The reader.
    pub reader: Reader<'a>,
    /// COUNT, BLOCK, RAW and JSON.
    pub batch: Batch,
}

/// A group's consumer, or a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader<'a> {
    /// A consumer of a group.
    Group {
        /// The group.
        group: &'a [u8],
        /// The consumer.
        consumer: &'a [u8],
        /// ACK.
        ack: Vec<EventId>,
        /// PENDING.
        pending: bool,
    },
    /// A cursor.
    Cursor {
        /// Its name.
        name: &'a [u8],
        /// ACK.
        ack: Option<Position>,
    },
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (kind, name) = reader(&mut args)?;
        let mut reader = match kind {
            Kind::Group => Reader::Group {
                group: name,
                consumer: consumer(&mut args)?,
                ack: Vec::new(),
                pending: false,
            },
            Kind::Cursor => Reader::Cursor { name, ack: None },
        };
        let mut batch = Batch::default();
        Once::default().all(&mut args, |args| match reader.option(args)? {
            Some(option) => Ok(Some(option)),
            None => batch.option(args),
        })?;
        Ok(Request { reader, batch })
    }
}

impl Reader<'_> {
    fn option(&mut self, args: &mut Args) -> Result<Option<&'static str>, Error> {
        match self {
            Reader::Group { ack, .. } if args.keyword("ACK") => {
                *ack = counted_ids(args, "ACK")?;
                Ok(Some("ACK"))
            }
            Reader::Group { pending, .. } if args.keyword("PENDING") => {
                *pending = true;
                Ok(Some("PENDING"))
            }
            Reader::Cursor { ack, .. } if args.keyword("ACK") => {
                *ack = Some(position(args, "ACK")?);
                Ok(Some("ACK"))
            }
            Reader::Cursor { .. } if args.keyword("PENDING") => {
                Err(Error::Needs("PENDING", "GROUP"))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let request = Request::parse(Args::new(&words)).map_err(|error| error.to_string())?;
        let reader = match request.reader {
            Reader::Group { ack, pending, .. } => format!("group {} {pending}", ack.len()),
            Reader::Cursor { ack, .. } => format!("cursor {ack:?}"),
        };
        let Batch { count, block, form } = request.batch;
        Ok(format!("{reader} {count} {block:?} {form:?}"))
    }

    #[test]
    fn options_come_in_any_order_and_have_defaults() {
        for (line, expected) in [
            ("GROUP g c", "group 0 false 100 None Typed"),
            (
                "group g c raw block 0 count 7 pending ack 2 1-1 2-2",
                "group 2 true 7 Some(0) Raw",
            ),
            ("GROUP g c ACK 0", "group 0 false 100 None Typed"),
            (
                "CURSOR c ACK 3-4/5 BLOCK 10 JSON",
                "cursor Some(Position { id: EventId { ms: 3, seq: 4 }, epoch: 5, scan: None }) 100 Some(10) Json",
            ),
        ] {
            assert_eq!(parse(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_belongs_to_the_other_reader_or_to_none_is_refused() {
        for (line, error) in [
            ("", "ERR the reader must be GROUP or CURSOR, not \"\""),
            ("GROUP g", "ERR GROUP requires a consumer"),
            ("CURSOR c PENDING", "ERR PENDING requires GROUP"),
            ("CURSOR c claim 5", "ERR unknown option \"claim\""),
            ("CURSOR c RAW JSON", "ERR RAW or JSON is given twice"),
            ("GROUP g c ACK 2 1-1", "ERR ACK requires an id"),
            (
                "GROUP g c ACK 1 1",
                "ERR invalid event id \"1\", expected ms-seq",
            ),
            (
                "CURSOR c ACK 1-1",
                "ERR invalid position \"1-1\", expected one that a reply gave",
            ),
        ] {
            assert_eq!(parse(line), Err(error.into()), "{line}");
        }
    }
}
