use super::flush::{execute, reply};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::store::deferred::DeferredFlushes;
use crate::store::{cluster, declarations, runs};
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::limits::Limits;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::stored;
use dirty_streams_core::flush::{Answer, Flush, Request};
use dirty_streams_core::syntax::{Arg, key, text};
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
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(call: &Call) -> Result<(), Error> {
        let declared = declarations::load(call.ctx, &call.key)?;
        let declaration = &*declared;
        Args::new(call.args).names("COMMIT", "a token")?;
        cluster::check(call.ctx, &call.key, declaration)?;
        let deferred = DeferredFlushes::of(call.ctx, &call.key)?;
        // The flush under each token; a token that is named again finds nothing any more.
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(call.args.len());
        for token in call.args {
            let value = match seen.insert(*token) {
                true => deferred.get(token)?,
                false => None,
            };
            let Some(value) = value else {
                found.push(UnderToken::Nothing);
                continue;
            };
            found.push(match stored::decode_deferred(&value) {
                // Its UPDATE would be read in another way.
                Some(flush) if flush.stateless != declaration.stateless => {
                    return Err(Error::DeferredOtherwise(Quoted::new(token)));
                }
                Some(flush) => UnderToken::Flush(flush),
                // It must not keep others from being carried out.
                None if call.args.len() > 1 => UnderToken::Unreadable,
                None => return Err(deferred.not_one(token)),
            });
        }
        let pairs = call.args.iter().zip(&found).enumerate();
        let args: Vec<(_, Vec<&[u8]>)> = pairs
            .filter_map(|(index, (token, flush))| {
                let UnderToken::Flush(flush) = flush else {
                    return None;
                };
                let args = flush.args.iter();
                Some(((index, *token), args.map(|arg| arg.as_slice()).collect()))
            })
            .collect();
        let (mut flushes, mut done) = (Vec::new(), Vec::new());
        let mut unknown = HashSet::new();
        for ((index, token), args) in &args {
            // Each was within the limits when it came.
            match Request::parse(Args::new(args), declaration.stateless, &Limits::NONE) {
                // DEFER takes no ACK.
                Ok(request) if request.ack.is_none() => {
                    done.push(*token);
                    flushes.push(Flush {
                        token: Some(token),
                        ..request.flush
                    });
                }
                // A later version of the module may have more operations.
                _ if call.args.len() > 1 => {
                    unknown.insert(*index);
                }
                _ => return Err(deferred.not_one(token)),
            }
        }
        if flushes.len() > 1 {
            let ops = flushes.iter().map(|flush| flush.actions.len());
            config::limits().check_ops(ops.fold(0, usize::saturating_add))?;
        }
        let actions = flushes.iter().flat_map(|flush| &flush.actions);
        runs::see_others(&declared, actions.map(|(id, _)| *id));
        let (writes, outcomes) = execute::<Commit>(call, declaration, flushes, None)?;
        let mut outcomes = outcomes.into_iter();
        let removed = match done.is_empty() {
            true => Ok(0),
            false => deferred.remove(&done),
        };
        // Listeners may commit too, and must not find these tokens.
        writes.notify();
        removed?;
        call.reply().array(found.len());
        for (index, found) in found.iter().enumerate() {
            match found {
                UnderToken::Flush(_) if !unknown.contains(&index) => {
                    let outcomes = outcomes.next().unwrap_or_default();
                    reply(call.reply(), &Answer::Done(outcomes));
                }
                UnderToken::Unreadable | UnderToken::Flush(_) => {
                    call.reply().array(1);
                    call.reply().status(c"unreadable");
                }
                UnderToken::Nothing => call.reply().null(),
            }
        }
        Ok(())
    }
}

/// The value under a token.
enum UnderToken {
    Nothing,
    /// Something else than a flush, or one that a later version of the module wrote.
    Unreadable,
    Flush(stored::DeferredFlush),
}
