use crate::redis::clock;
use crate::redis::reply::Reply;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::declarations;
use crate::store::deferred::DeferredFlushes;
use dirty_streams_core::args::Args;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::stored::{self, DeferredFlush};
use dirty_streams_core::syntax::{Arg, integer, key, option};
use std::ffi::CStr;

/// ```text
/// DIRTY.DEFERRED key [MINAGE ms] [COUNT n]
/// ```
///
/// Replies the flushes that wait for their COMMIT, the oldest first: an array of `[token, age in ms, number
/// of operations, [[operation, id], …]]`. What cannot be read stands behind them as `[token, null, null, null]`, but
/// not with MINAGE, since nobody knows its age.
pub struct Deferred;

impl Command for Deferred {
    const NAME: &'static CStr = c"dirty.deferred";
    const SUMMARY: &'static CStr =
        c"Lists flushes that wait for their COMMIT, with their operations.";
    const COMPLEXITY: &'static CStr = c"O(N log N) for all N flushes that wait at this key, and O(S) for their S bytes, with COUNT as well.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"key"),
        option(c"MINAGE", integer(c"ms")),
        option(c"COUNT", integer(c"n")),
    ];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["hash"];
    const ARITY: Arity = Arity::AtLeast(0);

    fn run(call: &Call) -> Result<(), Error> {
        let mut args = Args::new(call.args);
        let (mut min_age_ms, mut count) = (None, None);
        while !args.is_empty() {
            let again = if args.keyword("MINAGE") {
                let ms = args.ms("MINAGE", 0)?;
                min_age_ms.replace(ms).map(|_| "MINAGE")
            } else if args.keyword("COUNT") {
                let number = args.number("COUNT", "a number", 1..=u64::from(u32::MAX))?;
                count.replace(number).map(|_| "COUNT")
            } else {
                let got = args.take().unwrap_or_default();
                return Err(Error::UnknownOption(Quoted::new(got)));
            };
            if let Some(option) = again {
                return Err(Error::Repeated(option));
            }
        }
        declarations::load(call.ctx, &call.key)?;
        let deferred = DeferredFlushes::of(call.ctx, &call.key)?;
        let now_ms = clock::now_ms();
        let (mut waiting, mut unreadable) = (Vec::new(), Vec::new());
        for token in deferred.tokens()? {
            match deferred.read_value(&token, stored::deferred_at)?.flatten() {
                Some(at_ms) => waiting.push((at_ms, token)),
                None => unreadable.push(token),
            }
        }
        let is_old = |at_ms| now_ms.saturating_sub(at_ms) >= min_age_ms.unwrap_or(0);
        waiting.retain(|(at_ms, _)| is_old(*at_ms));
        waiting.sort_unstable();
        let count = count.map_or(usize::MAX, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        });
        let (reply, mut told) = (call.reply(), 0usize);
        reply.begin_array();
        // One after the other, since a flush takes many times its bytes once it is parsed.
        for (at_ms, token) in waiting {
            if told >= count {
                break;
            }
            let age_ms = now_ms.saturating_sub(at_ms);
            // Nothing has changed since the token was read, so there is a value.
            let value = deferred.read_value(&token, stored::decode_deferred);
            let flush = value.ok().flatten().flatten();
            match flush.and_then(|flush| tell(reply, &token, age_ms, &flush)) {
                Some(()) => told = told.saturating_add(1),
                None => unreadable.push(token),
            }
        }
        if min_age_ms.is_none() {
            unreadable.sort_unstable();
            for token in unreadable.iter().take(count.saturating_sub(told)) {
                reply.array(4);
                reply.bytes(token);
                reply.null();
                reply.null();
                reply.null();
                told = told.saturating_add(1);
            }
        }
        reply.end_array(told);
        Ok(())
    }
}

/// `None`, and nothing is told, if this version of the module knows no such flush.
fn tell(reply: Reply, token: &[u8], age_ms: u64, flush: &DeferredFlush) -> Option<()> {
    flush.with_request(|request| {
        reply.array(4);
        reply.bytes(token);
        reply.unsigned(age_ms);
        reply.unsigned(flush.operations);
        let actions = request.flush.actions;
        reply.array(actions.len());
        for (id, action) in actions {
            reply.array(2);
            reply.bytes(action.name());
            reply.bytes(id);
        }
    })
}
