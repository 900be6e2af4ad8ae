//! `DIRTY.ACK stream GROUP group consumer [FORCE] id [id …]`, `DIRTY.ACK stream CURSOR name position`.

use super::shared::{consumer, end, position, reader, some_ids};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::Error;
use crate::reading::{Kind, Position};

/// What is acknowledged.
pub enum Request<'a> {
    /// Events of a group.
    Group {
        /// The group.
        group: &'a [u8],
        /// The consumer.
        consumer: &'a [u8],
        /// Whoever holds them, or nobody.
        force: bool,
        /// The events.
        ids: Vec<EventId>,
    },
    /// All events of a cursor up to a position.
    Cursor {
        /// The cursor.
        name: &'a [u8],
        /// As a reply gave it.
        position: Position,
    },
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (kind, name) = reader(&mut args)?;
        match kind {
            Kind::Group => Ok(Request::Group {
                group: name,
                consumer: consumer(&mut args)?,
                force: args.keyword("FORCE"),
                ids: some_ids(&mut args, "ACK")?,
            }),
            Kind::Cursor => {
                let position = position(&mut args, "ACK")?;
                end(&mut args)?;
                Ok(Request::Cursor { name, position })
            }
        }
    }
}
