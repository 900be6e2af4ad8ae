use super::flush::{execute, reply, Parsed};
use crate::args::Args;
use crate::encoding::waiting;
use crate::entity::flush::Answer;
use crate::error::Error;
use crate::redis::derived::Deferred;
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::{cluster, declarations};
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
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::Write;
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
            waiting.push(value.transpose()?);
        }
        let args: Vec<Vec<&[u8]>> = waiting
            .iter()
            .flatten()
            .map(|flush| flush.args.iter().map(|arg| arg.as_slice()).collect())
            .collect();
        let flushes: Result<Vec<_>, Error> = args
            .iter()
            .map(|args| Ok(Parsed::parse(Args::new(args), declaration.stateless)?.requests))
            .collect();
        let mut outcomes = execute(call, declaration, flushes?)?.into_iter();
        let done = call.args.iter().zip(&waiting);
        let done: Vec<&[u8]> = done
            .filter_map(|(token, value)| value.as_ref().map(|_| *token))
            .collect();
        if !done.is_empty() {
            deferred.remove(&done)?;
        }
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
