use super::consume::{self, check_dead, event_id, group, max_deliveries, no_group, MAX_DELIVERIES};
use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};
use crate::redis::dead::{Dead, Death, Failure};
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::{blocking, keys, streams};
use crate::syntax::{flag, key, text, Arg};
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
    const MIN_ARGS: usize = 4;

    fn run(call: &Call) -> Result<(), Error> {
        let failed = Failed::parse(Args::new(call.args))?;
        check_dead(call, true, failed.dead)?;
        let name = keys::string(failed.group);
        let group = group(call, &name);
        if group.state()?.is_none() {
            return Err(Error::NoSuchGroup {
                stream: Quoted::new(&call.key),
                name: Quoted::new(failed.group),
            });
        }
        let pending = group
            .pending_entry(failed.id)?
            .ok_or_else(|| Error::NotPending {
                id: Quoted::new(failed.id.to_string().as_bytes()),
                group: Quoted::new(failed.group),
            })?;
        let dead = Dead::of(call.ctx, &call.key, failed.dead)?;
        let now_ms = streams::now_ms();
        let before = dead.failure(&group, failed.id)?;
        let first_ms = before.first_ms.unwrap_or(now_ms);
        let consumer = before.of(&pending);
        let deliveries = u64::try_from(pending.deliveries).unwrap_or(0);
        if failed.max_deliveries.is_some_and(|most| deliveries >= most) {
            let death = Death {
                id: failed.id,
                consumer,
                message: failed.message,
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
            message: failed.message.to_vec(),
        };
        dead.note(&group, failed.id, &failure)?;
        if failed.now {
            // Were it left with its consumer, that would count as one which has just read.
            group.hand_on(&[pending])?;
            blocking::signal(call.ctx, &call.key);
        }
        call.reply().status(c"retry");
        Ok(())
    }
}

struct Failed<'a> {
    group: &'a [u8],
    id: EventId,
    message: &'a [u8],
    now: bool,
    max_deliveries: Option<u64>,
    dead: Option<&'a [u8]>,
}

impl<'a> Failed<'a> {
    fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        if !args.keyword("GROUP") {
            return Err(no_group(args));
        }
        let mut failed = Failed {
            group: args.next("GROUP", "a group")?,
            id: event_id(&mut args, "FAIL")?,
            message: args.next("FAIL", "a message")?,
            now: false,
            max_deliveries: None,
            dead: None,
        };
        while !args.is_empty() {
            let again = if args.keyword("NOW") {
                std::mem::replace(&mut failed.now, true).then_some("NOW")
            } else if args.keyword("MAXDELIVERIES") {
                let most = max_deliveries(&mut args)?;
                failed.max_deliveries.replace(most).map(|_| "MAXDELIVERIES")
            } else if args.keyword("DEAD") {
                let key = args.next("DEAD", "a key")?;
                failed.dead.replace(key).map(|_| "DEAD")
            } else {
                let got = args.take().unwrap_or_default();
                return Err(Error::UnknownOption(Quoted::new(got)));
            };
            if let Some(option) = again {
                return Err(Error::Repeated(option));
            }
        }
        match failed.dead.is_some() && failed.max_deliveries.is_none() {
            true => Err(Error::Needs("DEAD", "MAXDELIVERIES")),
            false => Ok(failed),
        }
    }
}

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub fn try_parse(args: Args) -> Result<(), Error> {
    Failed::parse(args).map(drop)
}
