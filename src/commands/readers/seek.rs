use super::acting::act;
use super::syntax::{KIND, NAME};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::seek::Request;
use dirty_streams_core::syntax::{Arg, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.SEEK stream GROUP|CURSOR name start
///
/// start:   0, $, a position, an event id, or a time in ms
/// ```
///
/// Moves a group or cursor to another place in its stream, forward or back. Replies `OK`.
pub struct Seek;

impl Command for Seek {
    const NAME: &'static CStr = c"dirty.seek";
    const SUMMARY: &'static CStr = c"Moves a group or cursor to another place in its stream.";
    const COMPLEXITY: &'static CStr = c"O(N) for N events of the group that are dropped.";
    const ARGS: &'static [Arg] = &[key(c"stream"), KIND, NAME, text(c"start")];
    const FLAGS: &'static CStr = c"write";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(3);

    fn run(call: &Call) -> Result<(), Error> {
        let Request { kind, name, start } = Request::parse(Args::new(call.args))?;
        act(call, name, |readers, now_ms, source| {
            readers.seek(kind, name, start, now_ms, source)
        })?;
        call.reply().status(c"OK");
        Ok(())
    }
}
