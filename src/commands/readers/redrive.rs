use super::acting::act;
use super::syntax::{GROUP, SELECTOR};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::select::Request;
use dirty_streams_core::syntax::{Arg, key};
use std::ffi::CStr;

/// ```text
/// DIRTY.REDRIVE stream GROUP group selector
///
/// selector: ALL | ENTITY name id | KEY value | IDS n id [id …]
/// ```
///
/// Brings dead events back to the group that gave up on them, and makes delayed ones due. Replies how many.
pub struct Redrive;

impl Command for Redrive {
    const NAME: &'static CStr = c"dirty.redrive";
    const SUMMARY: &'static CStr = c"Brings dead events back to the group that gave up on them.";
    const COMPLEXITY: &'static CStr = c"O(N) for N entries of the dead stream and delayed events.";
    const ARGS: &'static [Arg] = &[key(c"stream"), GROUP, SELECTOR];
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(3);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse_redrive(Args::new(call.args))?;
        let redriven = act(call, request.name, |readers, now_ms, source| {
            readers.redrive(request.name, &request.selector, now_ms, source)
        })?;
        call.reply().unsigned(redriven);
        Ok(())
    }
}
