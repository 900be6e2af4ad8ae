//! The arguments of DIRTY.FAIL.

use super::consume::{event_id, max_deliveries, no_group};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};

/// DIRTY.FAIL: the handling of an event has failed.
pub struct Request<'a> {
    /// The group's name.
    pub group: &'a [u8],
    /// The pending event whose handling has failed.
    pub id: EventId,
    /// The reason, in the client's words.
    pub message: &'a [u8],
    /// NOW: whether the event is due again at once.
    pub now: bool,
    /// MAXDELIVERIES: after how many deliveries the group gives up on the event.
    pub max_deliveries: Option<u64>,
    /// DEAD: the stream of events that the group gave up on.
    pub dead: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Parses the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        if !args.keyword("GROUP") {
            return Err(no_group(args));
        }
        let mut request = Request {
            group: args.name("GROUP", "a group")?,
            id: event_id(&mut args, "FAIL")?,
            message: args.next("FAIL", "a message")?,
            now: false,
            max_deliveries: None,
            dead: None,
        };
        while !args.is_empty() {
            let again = if args.keyword("NOW") {
                std::mem::replace(&mut request.now, true).then_some("NOW")
            } else if args.keyword("MAXDELIVERIES") {
                let max = max_deliveries(&mut args)?;
                request.max_deliveries.replace(max).map(|_| "MAXDELIVERIES")
            } else if args.keyword("DEAD") {
                let key = args.name("DEAD", "a key")?;
                request.dead.replace(key).map(|_| "DEAD")
            } else {
                let got = args.take().unwrap_or_default();
                return Err(Error::UnknownOption(Quoted::new(got)));
            };
            if let Some(option) = again {
                return Err(Error::Repeated(option));
            }
        }
        match request.dead.is_some() && request.max_deliveries.is_none() {
            true => Err(Error::Needs("DEAD", "MAXDELIVERIES")),
            false => Ok(request),
        }
    }
}
