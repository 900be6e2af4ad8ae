use super::consume::{acknowledge, advance, check_deletions, group};
use crate::redis::keys;
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::reading::requests::ack::Request;
use dirty_streams_core::syntax::{Arg, block, flag, key, one_of, text};
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
    const ARITY: Arity = Arity::AtLeast(3);

    fn run(call: &Call) -> Result<(), Error> {
        match Request::parse(Args::new(call.args))? {
            Request::Group { name, delete, ids } => {
                check_deletions(call, delete)?;
                let name = keys::string(name);
                let pending = acknowledge(call, &group(call, &name), &ids, delete)?;
                call.reply().integer(pending);
            }
            Request::Cursor { name, id } => {
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
