use super::consume::group;
use crate::redis::keys;
use crate::redis::keyspace;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::groups::Whose;
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::consume::{consumer, no_group};
use dirty_streams_core::syntax::{Arg, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.LEAVE stream GROUP group consumer
/// ```
///
/// Removes a consumer; what it holds is due at once to whoever claims next. Replies how many entries.
pub struct Leave;

impl Command for Leave {
    const NAME: &'static CStr = c"dirty.leave";
    const SUMMARY: &'static CStr = c"Removes a consumer and hands on what it has not acknowledged.";
    const COMPLEXITY: &'static CStr = c"O(N) for N entries that it holds.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        text(c"group").after(c"GROUP"),
        text(c"consumer"),
    ];
    const FLAGS: &'static CStr = c"write";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(3);

    fn run(call: &Call) -> Result<(), Error> {
        let mut args = Args::new(call.args);
        if !args.keyword("GROUP") {
            return Err(no_group(args));
        }
        let name = args.name("GROUP", "a group")?;
        let consumer = keys::string(consumer(&mut args)?);
        let name = keys::string(name);
        let group = group(call, &name);
        let Some(_) = group.state()? else {
            call.reply().integer(0);
            return Ok(());
        };
        let mut left = 0i64;
        loop {
            let held = group.pending(&Whose::Own(&consumer), AT_ONCE)?;
            if held.is_empty() {
                break;
            }
            left = left.saturating_add(group.hand_on(&held)?);
        }
        group.remove_consumer(&consumer)?;
        keyspace::wake(call.ctx, &call.key);
        call.reply().integer(left);
        Ok(())
    }
}

const AT_ONCE: u64 = 1000;
