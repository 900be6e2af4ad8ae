//! `DIRTY.REDRIVE stream GROUP group selector`, `DIRTY.DISCARD stream GROUP|CURSOR name selector`; a selector is
//! `ALL`, `ENTITY name id`, `KEY value` or `IDS n id …`.

use super::shared::{counted_ids, end, group, name, reader};
use crate::args::Args;
use crate::error::{Error, Quoted};
use crate::reading::{Kind, Selector};

/// Dead events of a reader.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// A group or a cursor.
    pub kind: Kind,
    /// Its name.
    pub name: &'a [u8],
    /// Which of them.
    pub selector: Selector,
}

impl<'a> Request<'a> {
    /// From the arguments of REDRIVE behind the stream.
    pub fn parse_redrive(mut args: Args<'a>) -> Result<Self, Error> {
        let name = group(&mut args)?;
        Self::parse(Kind::Group, name, args)
    }

    /// From the arguments of DISCARD behind the stream.
    pub fn parse_discard(mut args: Args<'a>) -> Result<Self, Error> {
        let (kind, name) = reader(&mut args)?;
        Self::parse(kind, name, args)
    }

    fn parse(kind: Kind, name: &'a [u8], mut args: Args<'a>) -> Result<Self, Error> {
        let selector = selector(&mut args)?;
        end(&mut args)?;
        Ok(Request {
            kind,
            name,
            selector,
        })
    }
}

fn selector(args: &mut Args) -> Result<Selector, Error> {
    if args.keyword("ALL") {
        Ok(Selector::All)
    } else if args.keyword("ENTITY") {
        let entity = name(args, "ENTITY", "a name")?.to_vec();
        Ok(Selector::Entity(
            entity,
            name(args, "ENTITY", "an id")?.to_vec(),
        ))
    } else if args.keyword("KEY") {
        Ok(Selector::Key(args.next("KEY", "a value")?.to_vec()))
    } else if args.keyword("IDS") {
        Ok(Selector::Ids(counted_ids(args, "IDS")?))
    } else {
        Err(Error::NotOneOf {
            of: "the selector",
            choices: "ALL, ENTITY, KEY or IDS",
            got: Quoted::new(args.take().unwrap_or_default()),
        })
    }
}
