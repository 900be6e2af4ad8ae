//! `DIRTY.PENDING stream GROUP group [CONSUMER consumer] [AFTER id] [COUNT n]`.

use super::shared::{Once, event_id, group, name};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::Error;

/// A page of what a group has not finished.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The group.
    pub group: &'a [u8],
    /// CONSUMER.
    pub consumer: Option<&'a [u8]>,
    /// AFTER.
    pub after: Option<EventId>,
    /// COUNT.
    pub count: usize,
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let mut request = Request {
            group: group(&mut args)?,
            consumer: None,
            after: None,
            count: 100,
        };
        Once::default().all(&mut args, |args| {
            Ok(Some(if args.keyword("CONSUMER") {
                request.consumer = Some(name(args, "CONSUMER", "a consumer")?);
                "CONSUMER"
            } else if args.keyword("AFTER") {
                request.after = Some(event_id(args, "AFTER")?);
                "AFTER"
            } else if args.keyword("COUNT") {
                let n = args.number("COUNT", "a number", 1..=u64::from(u32::MAX))?;
                request.count = usize::try_from(n).unwrap_or(usize::MAX);
                "COUNT"
            } else {
                return Ok(None);
            }))
        })?;
        Ok(request)
    }
}
