use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::rights::{Access, Rights};
use crate::store::dead::Dead;
use crate::store::stream_state;
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::redrive::Request;
use dirty_streams_core::syntax::{Arg, integer, key, option, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.REDRIVE stream [DEAD key] [COUNT n] [id [id …]]
/// ```
///
/// Puts dead entries back at the end of their stream, without what says why they died: those with these
/// ids, else the oldest 100, COUNT at most. Replies how many.
pub struct Redrive;

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
    const ARITY: Arity = Arity::AtLeast(0);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args))?;
        // Its events are read, and taken from there.
        if let Some(key) = request.dead {
            let rights = Rights::of(call);
            rights.check(Access::Write, key)?;
            rights.check(Access::Read, key)?;
        }
        let dead = Dead::of(call.ctx, &call.key, request.dead)?;
        // Both are streams or nothing.
        stream_state::state(call.ctx, &call.key)?;
        dead.count()?;
        let count = dead.redrive(&request.ids, request.count)?;
        call.reply().unsigned(count);
        Ok(())
    }
}
