use super::flush::{execute, reply};
use crate::server::command::{Call, Command, KeyUse};
use crate::server::config;
use crate::store::derived::Deferred;
use crate::store::{cluster, declarations};
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::limits::Limits;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::stored as waiting;
use dirty_streams_core::flush::{Answer, Flush, Request};
use dirty_streams_core::syntax::{key, text, Arg};
use std::collections::HashSet;
use std::ffi::CStr;

/// ```text
/// DIRTY.COMMIT key token [token …]
/// ```
///
/// Carries out the flushes that wait under these tokens, in order, as one unit. Replies for each what
/// DIRTY.FLUSH would have replied, null for an unknown token.
pub struct Commit;

impl Command for Commit {
    const NAME: &'static CStr = c"dirty.commit";
    const SUMMARY: &'static CStr = c"Carries out flushes that were sent with DEFER.";
    const COMPLEXITY: &'static CStr = c"that of the flushes, see DIRTY.FLUSH.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[key(c"key"), text(c"token").repeated()];
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["hash", "stream"];
    const MIN_ARGS: usize = 1;

    fn run(call: &Call) -> Result<(), Error> {
        let declaration = &*declarations::load(call.ctx, &call.key)?;
        cluster::check(call.ctx, &call.key, declaration)?;
        let deferred = Deferred::of(call.ctx, &call.key)?;
        // What waits under each; a token that is named again finds nothing any more.
        let mut seen = HashSet::new();
        let mut waiting = Vec::with_capacity(call.args.len());
        for token in call.args {
            let value = match seen.insert(*token) {
                true => deferred.get(token)?,
                false => None,
            };
            let value = value.map(|value| {
                waiting::decode_deferred(&value).ok_or_else(|| deferred.not_one(token))
            });
            let value = value.transpose()?;
            // Its UPDATE would be read in another way.
            let is_other =
                |flush: &waiting::DeferredFlush| flush.stateless != declaration.stateless;
            if value.as_ref().is_some_and(is_other) {
                return Err(Error::DeferredOtherwise(Quoted::new(token)));
            }
            waiting.push(value);
        }
        let found = call.args.iter().zip(&waiting);
        let args: Vec<(&[u8], Vec<&[u8]>)> = found
            .filter_map(|(token, flush)| {
                let args = flush.as_ref()?.args.iter();
                Some((*token, args.map(|arg| arg.as_slice()).collect()))
            })
            .collect();
        let flushes: Result<Vec<_>, Error> = args
            .iter()
            .map(|(token, args)| {
                // Each was within the limits when it came.
                let stateless = declaration.stateless;
                let request = Request::parse(Args::new(args), stateless, &Limits::NONE);
                let flush = request.map_err(|error| error.of_token(Some(token)))?.flush;
                Ok(Flush {
                    token: Some(token),
                    ..flush
                })
            })
            .collect();
        let flushes = flushes?;
        if flushes.len() > 1 {
            let ops = flushes.iter().map(|flush| flush.actions.len());
            config::limits().check_ops(ops.fold(0, usize::saturating_add))?;
        }
        let (writes, outcomes) = execute(call, declaration, flushes)?;
        let mut outcomes = outcomes.into_iter();
        let done: Vec<&[u8]> = args.iter().map(|(token, _)| *token).collect();
        let removed = match done.is_empty() {
            true => Ok(0),
            false => deferred.remove(&done),
        };
        // Listeners may commit too, and must not find these tokens.
        writes.notify();
        removed?;
        call.reply().array(waiting.len());
        for value in waiting {
            match value.and_then(|_| outcomes.next()) {
                Some(outcomes) => reply(call.reply(), &Answer::Done(outcomes)),
                None => call.reply().null(),
            }
        }
        Ok(())
    }
}
