use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::declarations;
use crate::store::deferred::DeferredFlushes;
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::syntax::{Arg, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.ABORT key token [token …]
/// ```
///
/// Drops flushes that wait for their COMMIT. Replies how many there were.
pub struct Abort;

impl Command for Abort {
    const NAME: &'static CStr = c"dirty.abort";
    const SUMMARY: &'static CStr = c"Drops flushes that were sent with DEFER.";
    const COMPLEXITY: &'static CStr = c"O(N) for N tokens.";
    const ARGS: &'static [Arg] = &[key(c"key"), text(c"token").repeated()];
    const FLAGS: &'static CStr = c"write fast";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["hash"];
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(call: &Call) -> Result<(), Error> {
        declarations::load(call.ctx, &call.key)?;
        let tokens = Args::new(call.args).names("ABORT", "a token")?;
        let deferred = DeferredFlushes::of(call.ctx, &call.key)?;
        call.reply().integer(deferred.remove(tokens)?);
        Ok(())
    }
}
