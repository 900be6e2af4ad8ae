use super::consume::event_id;
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};
use crate::redis::dead::Dead;
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::rights::{Access, Rights};
use crate::redis::streams;
use crate::syntax::{integer, key, option, text, Arg};
use std::ffi::CStr;

/// ```text
/// DIRTY.REDRIVE stream [DEAD key] [COUNT n] [id [id …]]
/// ```
///
/// Puts dead entries back at the end of their stream, without what says why they died: those with these
/// ids, else the oldest 100, COUNT at most. Replies how many.
pub struct Redrive;

const DEFAULT_COUNT: u64 = 100;

impl Command for Redrive {
    const NAME: &'static CStr = c"dirty.redrive";
    const SUMMARY: &'static CStr = c"Puts events that a group gave up on back into their stream.";
    const COMPLEXITY: &'static CStr = c"O(N) for N events.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        option(c"DEAD", text(c"key")),
        option(c"COUNT", integer(c"n")),
        text(c"id").repeated().optional(),
    ];
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const MIN_ARGS: usize = 0;

    fn run(call: &Call) -> Result<(), Error> {
        let asked = Asked::parse(Args::new(call.args))?;
        // Its events are read, and taken from there.
        if let Some(key) = asked.dead {
            let rights = Rights::of(call);
            rights.check(Access::Write, key)?;
            rights.check(Access::Read, key)?;
        }
        let dead = Dead::of(call.ctx, &call.key, asked.dead)?;
        // Both are streams or nothing.
        streams::state(call.ctx, &call.key)?;
        dead.count()?;
        let count = dead.redrive(&asked.ids, asked.count)?;
        call.reply().unsigned(count);
        Ok(())
    }
}

struct Asked<'a> {
    dead: Option<&'a [u8]>,
    count: u64,
    ids: Vec<EventId>,
}

impl<'a> Asked<'a> {
    fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let (mut dead, mut count, mut ids) = (None, None, Vec::new());
        while !args.is_empty() {
            if args.keyword("DEAD") {
                if dead.replace(args.next("DEAD", "a key")?).is_some() {
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
        Ok(Asked {
            dead,
            // Who names them wants them all.
            count: count.unwrap_or(DEFAULT_COUNT.max(u64::try_from(ids.len()).unwrap_or(u64::MAX))),
            ids,
        })
    }
}

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub fn try_parse(args: Args) -> Result<(), Error> {
    Asked::parse(args).map(drop)
}
