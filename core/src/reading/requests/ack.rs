//! The arguments of DIRTY.ACK.

use super::consume::{event_id, no_reader};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};

/// DIRTY.ACK: a reader acknowledges events.
pub enum Request<'a> {
    /// Events of a group.
    Group {
        /// The group's name.
        name: &'a [u8],
        /// DELETE: whether entries that every group has acknowledged are deleted.
        delete: bool,
        /// The events that were handled.
        ids: Vec<EventId>,
    },
    /// A cursor moves.
    Cursor {
        /// The cursor's name.
        name: &'a [u8],
        /// The last event that was handled.
        id: EventId,
    },
}

impl<'a> Request<'a> {
    /// Parses the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        if args.keyword("GROUP") {
            let name = args.name("GROUP", "a group")?;
            let delete = args.keyword("DELETE");
            let mut ids = vec![event_id(&mut args, "GROUP")?];
            while !args.is_empty() {
                ids.push(event_id(&mut args, "GROUP")?);
            }
            Ok(Request::Group { name, delete, ids })
        } else if args.keyword("CURSOR") {
            let name = args.name("CURSOR", "a name")?;
            let id = event_id(&mut args, "CURSOR")?;
            match args.take() {
                None => Ok(Request::Cursor { name, id }),
                Some(got) => Err(Error::UnknownOption(Quoted::new(got))),
            }
        } else {
            Err(no_reader(args))
        }
    }
}
