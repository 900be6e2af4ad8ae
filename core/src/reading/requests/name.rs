//! Commands that name a reader, and nothing else: `DIRTY.FORGET stream GROUP|CURSOR name`,
//! `DIRTY.LEAVE stream GROUP group consumer`.

use super::shared::{end, member, reader};
use crate::args::Args;
use crate::error::Error;
use crate::reading::Kind;

/// GROUP group or CURSOR name.
pub fn parse_reader<'a>(mut args: Args<'a>) -> Result<(Kind, &'a [u8]), Error> {
    let reader = reader(&mut args)?;
    end(&mut args)?;
    Ok(reader)
}

/// GROUP group consumer.
pub fn parse_member<'a>(mut args: Args<'a>) -> Result<(&'a [u8], &'a [u8]), Error> {
    let member = member(&mut args)?;
    end(&mut args)?;
    Ok(member)
}
