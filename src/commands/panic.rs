use crate::redis::guard::deliberate;
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::entity::decimal;
use dirty_streams_core::error::Error;
use dirty_streams_core::syntax::{Arg, key};
use std::ffi::CStr;

/// ```text
/// DIRTY.PANIC entry [passes]
/// ```
pub struct Panic;

impl Command for Panic {
    const NAME: &'static CStr = c"dirty.panic";
    const SUMMARY: &'static CStr = c"Lets the next entry of this name panic.";
    const COMPLEXITY: &'static CStr = c"O(1)";
    const ARGS: &'static [Arg] = &[key(c"entry")];
    const FLAGS: &'static CStr = c"fast";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &[];
    const ARITY: Arity = Arity::AtLeast(0);

    fn run(call: &Call) -> Result<(), Error> {
        let passes = call.args.first().copied().and_then(decimal::parse);
        deliberate::arm(&call.key, passes.unwrap_or(0));
        call.reply().status(c"OK");
        Ok(())
    }
}
