use super::consume::{self, MAX_DELIVERIES, check_dead, group};
use crate::redis::clock;
use crate::redis::keys;
use crate::redis::keyspace;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::dead::{Dead, Death, Failure};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::reading::requests::fail::Request;
use dirty_streams_core::syntax::{Arg, flag, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.FAIL stream GROUP group id message [NOW] [MAXDELIVERIES n [DEAD key]]
/// ```
///
/// Says that handling a pending event has failed. It stays pending, due again after the reader's CLAIM
/// time or at once (NOW): `retry`. One that was delivered n times goes to the dead stream: `dead`.
pub struct Fail;

impl Command for Fail {
    const NAME: &'static CStr = c"dirty.fail";
    const SUMMARY: &'static CStr = c"Says that handling an event has failed.";
    const COMPLEXITY: &'static CStr = c"O(G) for G groups of the stream.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        text(c"group").after(c"GROUP"),
        text(c"id"),
        text(c"message"),
        flag(c"now", c"NOW"),
        MAX_DELIVERIES,
    ];
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(4);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args))?;
        check_dead(call, true, request.dead)?;
        let name = keys::string(request.group);
        let group = group(call, &name);
        if group.state()?.is_none() {
            return Err(Error::NoSuchGroup {
                stream: Quoted::new(&call.key),
                name: Quoted::new(request.group),
            });
        }
        let pending = group
            .pending_entry(request.id)?
            .ok_or_else(|| Error::NotPending {
                id: Quoted::new(request.id.to_string().as_bytes()),
                group: Quoted::new(request.group),
            })?;
        let dead = Dead::of(call.ctx, &call.key, request.dead)?;
        let now_ms = clock::now_ms();
        let before = dead.failure(&group, request.id)?;
        let first_ms = before.first_ms.unwrap_or(now_ms);
        let consumer = before.of(&pending);
        let deliveries = u64::try_from(pending.deliveries).unwrap_or(0);
        if request
            .max_deliveries
            .is_some_and(|most| deliveries >= most)
        {
            let death = Death {
                id: request.id,
                consumer,
                message: request.message,
                deliveries: pending.deliveries,
                first_ms,
                last_ms: now_ms,
            };
            dead.bury(&group, &death)?;
            consume::has_made_room(call);
            call.reply().status(c"dead");
            return Ok(());
        }
        let failure = Failure {
            first_ms: Some(first_ms),
            last_ms: Some(now_ms),
            consumer: consumer.to_vec(),
            message: request.message.to_vec(),
        };
        dead.note(&group, request.id, &failure)?;
        if request.now {
            // Were it left with its consumer, that would count as one which has just read.
            group.hand_on(&[pending])?;
            keyspace::wake(call.ctx, &call.key);
        }
        call.reply().status(c"retry");
        Ok(())
    }
}
