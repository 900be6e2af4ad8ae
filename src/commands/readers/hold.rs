use super::acting::{act, reply_ids};
use super::syntax::{GROUP, IDS};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::hold::Request;
use dirty_streams_core::syntax::{Arg, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.HOLD stream GROUP group consumer [id [id …]]
/// ```
///
/// Makes what the consumer holds, these events or all, as young as if just delivered. Replies an array of the ids that it
/// does not hold.
pub struct Hold;

impl Command for Hold {
    const NAME: &'static CStr = c"dirty.hold";
    const SUMMARY: &'static CStr = c"Says that a consumer still works on events that it holds.";
    const COMPLEXITY: &'static CStr = c"O(N) for N events.";
    const ARGS: &'static [Arg] = &[key(c"stream"), GROUP, text(c"consumer"), IDS.optional()];
    const FLAGS: &'static CStr = c"write fast";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(3);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args))?;
        let ids = Some(request.ids.as_slice()).filter(|ids| !ids.is_empty());
        let not_held = act(call, request.group, |readers, now_ms, source| {
            readers.hold(request.group, request.consumer, ids, now_ms, source)
        })?;
        reply_ids(call, &not_held);
        Ok(())
    }
}
