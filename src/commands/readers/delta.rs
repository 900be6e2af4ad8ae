use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::readers::{self, Change};
use dirty_streams_core::error::Error;
use dirty_streams_core::syntax::{Arg, flag, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY._DELTA key [LOAD] delta
/// ```
///
/// Internal: repeats a change of readers, which a primary, an AOF or a slot's former owner sends.
pub struct Delta;

impl Command for Delta {
    const NAME: &'static CStr = c"dirty._delta";
    const SUMMARY: &'static CStr = c"Internal: repeats a change of a stream's readers.";
    const COMPLEXITY: &'static CStr = c"O(N) for N changes.";
    const ARGS: &'static [Arg] = &[key(c"key"), flag(c"load", c"LOAD"), text(c"delta")];
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream", "dangerous"];
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(call: &Call) -> Result<(), Error> {
        let name = Self::NAME.to_str().unwrap_or_default();
        let change = Change::parse(call.args).ok_or(Error::WrongArity(name))?;
        readers::repeat(call.ctx, &call.key, &change, call.args)?;
        call.reply().status(c"OK");
        Ok(())
    }
}
