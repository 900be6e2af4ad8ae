//! `DIRTY.SEEK stream GROUP|CURSOR name start`.

use super::shared::{end, reader, snapshot_keys, start};
use crate::args::Args;
use crate::error::Error;
use crate::reading::{Kind, Start};

/// A reader, and where it is to go on.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// A group or a cursor.
    pub kind: Kind,
    /// Its name.
    pub name: &'a [u8],
    /// Where to.
    pub to: To<'a>,
}

/// Where a reader is to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// A place in the stream.
    Start(Start),
    /// SNAPSHOT n key ….
    Snapshot(Vec<&'a [u8]>),
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (kind, name) = reader(&mut args)?;
        let to = match args.keyword("SNAPSHOT") {
            true if kind != Kind::Cursor => return Err(Error::Needs("SNAPSHOT", "CURSOR")),
            true => To::Snapshot(snapshot_keys(&mut args)?),
            false => To::Start(start(&mut args, "start")?),
        };
        end(&mut args)?;
        Ok(Request { kind, name, to })
    }
}
