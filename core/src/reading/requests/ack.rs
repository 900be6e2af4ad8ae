//! What DIRTY.ACK was asked for.

use super::consume::{event_id, no_reader};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};

pub enum Request<'a> {
    Group {
        name: &'a [u8],
        delete: bool,
        ids: Vec<EventId>,
    },
    Cursor {
        name: &'a [u8],
        id: EventId,
    },
}

impl<'a> Request<'a> {
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        if args.keyword("GROUP") {
            let name = args.next("GROUP", "a group")?;
            let delete = args.keyword("DELETE");
            let mut ids = vec![event_id(&mut args, "GROUP")?];
            while !args.is_empty() {
                ids.push(event_id(&mut args, "GROUP")?);
            }
            Ok(Request::Group { name, delete, ids })
        } else if args.keyword("CURSOR") {
            let name = args.next("CURSOR", "a name")?;
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
