use super::acting::act;
use super::syntax::{KIND, NAME, SELECTOR};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::select::Request;
use dirty_streams_core::syntax::{Arg, key};
use std::ffi::CStr;

/// ```text
/// DIRTY.DISCARD stream GROUP|CURSOR name selector
///
/// selector: ALL | ENTITY name id | KEY value | IDS n id [id …]
/// ```
///
/// Removes dead events of a group or cursor for good; keys that they parked go on. Replies how many.
pub struct Discard;

impl Command for Discard {
    const NAME: &'static CStr = c"dirty.discard";
    const SUMMARY: &'static CStr = c"Removes dead events of a group or cursor for good.";
    const COMPLEXITY: &'static CStr = c"O(N) for N entries of the dead stream.";
    const ARGS: &'static [Arg] = &[key(c"stream"), KIND, NAME, SELECTOR];
    const FLAGS: &'static CStr = c"write";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(3);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse_discard(Args::new(call.args))?;
        let Request {
            kind,
            name,
            selector,
        } = &request;
        let discarded = act(call, name, |readers, now_ms, source| {
            readers.discard(*kind, name, selector, now_ms, source)
        })?;
        call.reply().unsigned(discarded);
        Ok(())
    }
}
