//! The arguments of DIRTY.REDRIVE.

use super::consume::event_id;
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};

const DEFAULT_COUNT: u64 = 100;

/// DIRTY.REDRIVE: which dead events return to their stream.
pub struct Request<'a> {
    /// DEAD: the stream of dead events.
    pub dead: Option<&'a [u8]>,
    /// COUNT: the maximum number of events.
    pub count: u64,
    /// The ids of the events; the oldest ones if there are no ids.
    pub ids: Vec<EventId>,
}

impl<'a> Request<'a> {
    /// Parses the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (mut dead, mut count, mut ids) = (None, None, Vec::new());
        while !args.is_empty() {
            if args.keyword("DEAD") {
                if dead.replace(args.name("DEAD", "a key")?).is_some() {
                    return Err(Error::Repeated("DEAD"));
                }
            } else if args.keyword("COUNT") {
                let number = args.number("COUNT", "a number", 1..=u64::from(u32::MAX))?;
                if count.replace(number).is_some() {
                    return Err(Error::Repeated("COUNT"));
                }
            } else if args
                .peek()
                .and_then(<[u8]>::first)
                .is_some_and(u8::is_ascii_digit)
            {
                ids.push(event_id(&mut args, "REDRIVE")?);
            } else {
                let got = args.take().unwrap_or_default();
                return Err(Error::UnknownOption(Quoted::new(got)));
            }
        }
        Ok(Request {
            dead,
            // A client that names ids means all of them.
            count: count.unwrap_or(DEFAULT_COUNT.max(u64::try_from(ids.len()).unwrap_or(u64::MAX))),
            ids,
        })
    }
}
