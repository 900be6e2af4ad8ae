use super::acting::act;
use super::syntax::GROUP;
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::pause::Request;
use dirty_streams_core::syntax::{Arg, key, one_of, word};
use std::ffi::CStr;

/// ```text
/// DIRTY.PAUSE stream GROUP group ON|OFF
/// ```
///
/// Stops a group from giving events, or lets it go on. Replies `OK`.
pub struct Pause;

impl Command for Pause {
    const NAME: &'static CStr = c"dirty.pause";
    const SUMMARY: &'static CStr = c"Stops a group from giving events, or lets it go on.";
    const COMPLEXITY: &'static CStr = c"O(1).";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        GROUP,
        one_of(c"state", &[word(c"on", c"ON"), word(c"off", c"OFF")]),
    ];
    const FLAGS: &'static CStr = c"write fast";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(3);

    fn run(call: &Call) -> Result<(), Error> {
        let Request { group, on } = Request::parse(Args::new(call.args))?;
        act(call, group, |readers, now_ms, source| {
            readers.pause(group, on, now_ms, source)
        })?;
        call.reply().status(c"OK");
        Ok(())
    }
}
