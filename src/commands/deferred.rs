use crate::redis::clock;
use crate::redis::reply::Reply;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::declarations;
use crate::store::deferred::DeferredFlushes;
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::limits::Limits;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::stored::{self, DeferredFlush};
use dirty_streams_core::flush::Request;
use dirty_streams_core::syntax::{integer, key, option, Arg};
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
    const COMPLEXITY: &'static CStr = c"O(N log N) for all N flushes that wait at this key, and O(S) for the S bytes of those that are told.";
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
                flushes.push(Waiting {
                    token,
                    age_ms,
                    flush,
                });
            }
        }
        flushes.sort_unstable_by(|a, b| (a.flush.at_ms, &a.token).cmp(&(b.flush.at_ms, &b.token)));
        unreadable.sort_unstable();
        if let Some(count) = count.and_then(|count| usize::try_from(count).ok()) {
            flushes.truncate(count);
            unreadable.truncate(count.saturating_sub(flushes.len()));
        }
        let reply = call.reply();
        reply.array(flushes.len().saturating_add(unreadable.len()));
        for waiting in flushes {
            waiting.tell(reply);
        }
        for token in unreadable {
            reply.array(4);
            reply.bytes(token);
            reply.null();
            reply.null();
            reply.null();
        }
        Ok(())
    }
}

struct Waiting {
    token: Vec<u8>,
    age_ms: u64,
    flush: DeferredFlush,
}

impl Waiting {
    fn tell(&self, reply: Reply) {
        let Waiting {
            token,
            age_ms,
            flush,
        } = self;
        reply.array(4);
        reply.bytes(token);
        reply.unsigned(*age_ms);
        reply.unsigned(flush.operations);
        let args: Vec<&[u8]> = flush.args.iter().map(Vec::as_slice).collect();
        // It was within the limits when it came. What DIRTY.FLUSH did not write may have any arguments.
        let request = Request::parse(Args::new(&args), flush.stateless, &Limits::NONE);
        let Ok(request) = request else {
            return reply.null();
        };
        let actions = request.flush.actions;
        reply.array(actions.len());
        for (id, action) in actions {
            reply.array(2);
            reply.bytes(action.name());
            reply.bytes(id);
        }
    }
}
