//! `DIRTY.PAUSE stream GROUP group ON|OFF`.

use super::shared::{end, group};
use crate::args::Args;
use crate::error::{Error, Quoted};

/// A group, and whether it is to pause.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The group.
    pub group: &'a [u8],
    /// ON.
    pub on: bool,
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let group = group(&mut args)?;
        let on = args.keyword("ON");
        if !on && !args.keyword("OFF") {
            return Err(Error::NotOneOf {
                of: "PAUSE",
                choices: "ON or OFF",
                got: Quoted::new(args.take().unwrap_or_default()),
            });
        }
        end(&mut args)?;
        Ok(Request { group, on })
    }
}
