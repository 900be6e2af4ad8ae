//! `DIRTY.HOLD stream GROUP group consumer [id …]`.

use super::shared::{ids, member};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::Error;

/// What is held on.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The group.
    pub group: &'a [u8],
    /// The consumer.
    pub consumer: &'a [u8],
    /// The events; without any, all that the consumer holds.
    pub ids: Vec<EventId>,
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (group, consumer) = member(&mut args)?;
        Ok(Request {
            group,
            consumer,
            ids: ids(&mut args, "HOLD")?,
        })
    }
}
