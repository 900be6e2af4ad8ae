//! `DIRTY.FAIL stream GROUP group consumer message [FORCE] [DELAY ms | FATAL] id [id …]`,
//! `DIRTY.FAIL stream CURSOR name message id [id …]`.

use super::shared::{consumer, reader, some_ids};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::Error;
use crate::reading::{Again, Kind};

/// What failed.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The group or cursor.
    pub name: &'a [u8],
    /// What only a group has; `None` for a cursor.
    pub group: Option<OfGroup<'a>>,
    /// Why.
    pub message: &'a [u8],
    /// The events.
    pub ids: Vec<EventId>,
}

/// What only the failure in a group has.
#[derive(Clone, Copy, Debug)]
pub struct OfGroup<'a> {
    /// The consumer.
    pub consumer: &'a [u8],
    /// Whoever holds them, or nobody.
    pub force: bool,
    /// When they come again.
    pub again: Again,
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (kind, name) = reader(&mut args)?;
        let consumer = match kind {
            Kind::Group => Some(consumer(&mut args)?),
            Kind::Cursor => None,
        };
        let message = args.next("FAIL", "a message")?;
        let group = match consumer {
            None => None,
            Some(consumer) => {
                let force = args.keyword("FORCE");
                let again = if args.keyword("DELAY") {
                    Again::After(args.ms("DELAY", 0)?)
                } else if args.keyword("FATAL") {
                    Again::Never
                } else {
                    Again::Default
                };
                let force = force || args.keyword("FORCE");
                let other = match again {
                    Again::After(_) => "FATAL",
                    Again::Never => "DELAY",
                    Again::Default => "",
                };
                if !other.is_empty() && args.keyword(other) {
                    return Err(Error::Exclusive("DELAY", "FATAL"));
                }
                Some(OfGroup {
                    consumer,
                    force,
                    again,
                })
            }
        };
        Ok(Request {
            name,
            group,
            message,
            ids: some_ids(&mut args, "FAIL")?,
        })
    }
}
