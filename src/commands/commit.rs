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
/// DIRTY.FLUSH would have replied, null for an unknown token, `[unreadable]` for one under which no flush
/// of this version of the module waits; if that is the only one, it is an error.
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
        Args::new(call.args).names("COMMIT", "a token")?;
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
            let Some(value) = value else {
                waiting.push(Waiting::Nothing);
                continue;
            };
            waiting.push(match waiting::decode_deferred(&value) {
                // Its UPDATE would be read in another way.
                Some(flush) if flush.stateless != declaration.stateless => {
                    return Err(Error::DeferredOtherwise(Quoted::new(token)));
                }
                Some(flush) => Waiting::Flush(flush),
                // It must not keep others from being carried out.
                None if call.args.len() > 1 => Waiting::Unreadable,
                None => return Err(deferred.not_one(token)),
            });
        }
        let found = call.args.iter().zip(&waiting);
        let args: Vec<(&[u8], Vec<&[u8]>)> = found
            .filter_map(|(token, flush)| {
                let Waiting::Flush(flush) = flush else {
                    return None;
                };
                let args = flush.args.iter();
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
        let (writes, outcomes) = execute::<Commit>(call, declaration, flushes)?;
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
        for waiting in waiting {
            match waiting {
                Waiting::Flush(_) => {
                    let outcomes = outcomes.next().unwrap_or_default();
                    reply(call.reply(), &Answer::Done(outcomes));
                }
                Waiting::Unreadable => {
                    call.reply().array(1);
                    call.reply().status(c"unreadable");
                }
                Waiting::Nothing => call.reply().null(),
            }
        }
        Ok(())
    }
}

/// What is found under a token.
enum Waiting {
    Nothing,
    /// Something else than a flush, or one that a later version of the module wrote.
    Unreadable,
    Flush(waiting::DeferredFlush),
}
