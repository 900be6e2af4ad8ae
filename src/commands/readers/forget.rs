use super::acting::act;
use super::syntax::{KIND, NAME};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::name::parse_reader;
use dirty_streams_core::syntax::{Arg, key};
use std::ffi::CStr;

/// ```text
/// DIRTY.FORGET stream GROUP|CURSOR name
/// ```
///
/// Removes a group or cursor and all that is kept of it. Replies 1, or 0 if there was none.
pub struct Forget;

impl Command for Forget {
    const NAME: &'static CStr = c"dirty.forget";
    const SUMMARY: &'static CStr = c"Removes a group or cursor and all that is kept of it.";
    const COMPLEXITY: &'static CStr = c"O(N) for N events that it has not finished.";
    const ARGS: &'static [Arg] = &[key(c"stream"), KIND, NAME];
    const FLAGS: &'static CStr = c"write";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(2);

    fn run(call: &Call) -> Result<(), Error> {
        let (kind, name) = parse_reader(Args::new(call.args))?;
        let was_there = act(call, name, |readers, now_ms, _| {
            readers.forget(kind, name, now_ms)
        })?;
        call.reply().integer(i64::from(was_there));
        Ok(())
    }
}
