use super::consume::{acknowledge, advance, check_deletions, event_id, group, no_reader};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::keys;
use crate::syntax::{block, flag, key, one_of, text, Arg};
use std::ffi::CStr;

/// ```text
/// DIRTY.ACK stream GROUP group [DELETE] id [id …]
/// DIRTY.ACK stream CURSOR name id
/// ```
///
/// Replies for a group how many were pending, for a cursor `OK`; a cursor never moves backwards.
pub struct Ack;

impl Command for Ack {
    const NAME: &'static CStr = c"dirty.ack";
    const SUMMARY: &'static CStr = c"Acknowledges events that a group or cursor has read.";
    const COMPLEXITY: &'static CStr = c"O(N) for N ids; with DELETE O(N*G) for G groups.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        one_of(
            c"reader",
            &[
                block(
                    c"of-group",
                    &[
                        text(c"group").after(c"GROUP"),
                        flag(c"delete", c"DELETE"),
                        text(c"id").repeated(),
                    ],
                ),
                block(c"of-cursor", &[text(c"name").after(c"CURSOR"), text(c"id")]),
            ],
        ),
    ];
    const FLAGS: &'static CStr = c"write fast";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const MIN_ARGS: usize = 3;

    fn run(call: &Call) -> Result<(), Error> {
        match parse(Args::new(call.args))? {
            Acknowledged::Group { name, delete, ids } => {
                check_deletions(call, delete)?;
                let name = keys::string(name);
                let pending = acknowledge(call, &group(call, &name), &ids, delete)?;
                call.reply().integer(pending);
            }
            Acknowledged::Cursor { name, id } => {
                let text = keys::string(name);
                let cursor = group(call, &text);
                let state = cursor.state()?.ok_or_else(|| Error::NoSuchCursor {
                    stream: Quoted::new(&call.key),
                    name: Quoted::new(name),
                })?;
                state.check_cursor(name)?;
                advance(&cursor, state.position, id)?;
                call.reply().status(c"OK");
            }
        }
        Ok(())
    }
}

enum Acknowledged<'a> {
    Group {
        name: &'a [u8],
        delete: bool,
        ids: Vec<EventId>,
    },
    Cursor {
        name: &'a [u8],
        id: EventId,
    },
}

fn parse<'a>(mut args: Args<'a>) -> Result<Acknowledged<'a>, Error> {
    if args.keyword("GROUP") {
        let name = args.next("GROUP", "a group")?;
        let delete = args.keyword("DELETE");
        let mut ids = vec![event_id(&mut args, "GROUP")?];
        while !args.is_empty() {
            ids.push(event_id(&mut args, "GROUP")?);
        }
        Ok(Acknowledged::Group { name, delete, ids })
    } else if args.keyword("CURSOR") {
        let name = args.next("CURSOR", "a name")?;
        let id = event_id(&mut args, "CURSOR")?;
        match args.take() {
            None => Ok(Acknowledged::Cursor { name, id }),
            Some(got) => Err(Error::UnknownOption(Quoted::new(got))),
        }
    } else {
        Err(no_reader(args))
    }
}

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub fn try_parse(args: Args) -> Result<(), Error> {
    parse(args).map(drop)
}
