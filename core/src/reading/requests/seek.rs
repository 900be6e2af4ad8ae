//! `DIRTY.SEEK stream GROUP|CURSOR name start`.

use super::shared::{end, reader, start};
use crate::args::Args;
use crate::error::Error;
use crate::reading::{Kind, Start};

/// A reader, and where it is to go on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// A group or a cursor.
    pub kind: Kind,
    /// Its name.
    pub name: &'a [u8],
    /// Where to.
    pub start: Start,
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (kind, name) = reader(&mut args)?;
        let start = start(&mut args, "start")?;
        end(&mut args)?;
        Ok(Request { kind, name, start })
    }
}
