use crate::redis::clock;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::declarations;
use crate::store::deferred::DeferredFlushes;
use dirty_streams_core::args::Args;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::stored;
use dirty_streams_core::syntax::{integer, key, option, Arg};
use std::ffi::CStr;

/// ```text
/// DIRTY.DEFERRED key [MINAGE ms]
/// ```
///
/// Replies the flushes that wait for their COMMIT, the oldest first: an array of `[token, age in ms, number
/// of operations]`. What cannot be read stands behind them as `[token, null, null]`, but not with MINAGE, since
/// nobody knows its age.
pub struct Deferred;

impl Command for Deferred {
    const NAME: &'static CStr = c"dirty.deferred";
    const SUMMARY: &'static CStr = c"Lists flushes that wait for their COMMIT.";
    const COMPLEXITY: &'static CStr = c"O(N log N) for all N flushes that wait at this key.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[key(c"key"), option(c"MINAGE", integer(c"ms"))];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["hash"];
    const ARITY: Arity = Arity::AtLeast(0);

    fn run(call: &Call) -> Result<(), Error> {
        let mut args = Args::new(call.args);
        let min_age_ms = match args.keyword("MINAGE") {
            true => Some(args.ms("MINAGE", 0)?),
            false => None,
        };
        if let Some(got) = args.take() {
            return Err(Error::UnknownOption(Quoted::new(got)));
        }
        declarations::load(call.ctx, &call.key)?;
        let deferred = DeferredFlushes::of(call.ctx, &call.key)?;
        let now_ms = clock::now_ms();
        let mut flushes = Vec::new();
        let mut unreadable = Vec::new();
        for (token, value) in deferred.all()? {
            let Some(flush) = stored::decode_readable(&value) else {
                if min_age_ms.is_none() {
                    unreadable.push(token);
                }
                continue;
            };
            let age_ms = now_ms.saturating_sub(flush.at_ms);
            if age_ms >= min_age_ms.unwrap_or(0) {
                flushes.push((flush.at_ms, token, age_ms, flush.operations));
            }
        }
        flushes.sort_unstable();
        unreadable.sort_unstable();
        let reply = call.reply();
        reply.array(flushes.len().saturating_add(unreadable.len()));
        for (_, token, age_ms, operations) in flushes {
            reply.array(3);
            reply.bytes(token);
            reply.unsigned(age_ms);
            reply.unsigned(operations);
        }
        for token in unreadable {
            reply.array(3);
            reply.bytes(token);
            reply.null();
            reply.null();
        }
        Ok(())
    }
}
