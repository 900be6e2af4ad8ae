use super::acting::act;
use super::syntax::GROUP;
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::name::parse_member;
use dirty_streams_core::syntax::{Arg, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.LEAVE stream GROUP group consumer
/// ```
///
/// Removes a consumer, and hands on at once what it holds. Replies how many events others may take.
pub struct Leave;

impl Command for Leave {
    const NAME: &'static CStr = c"dirty.leave";
    const SUMMARY: &'static CStr = c"Removes a consumer and hands on at once what it holds.";
    const COMPLEXITY: &'static CStr = c"O(N) for N events that it holds.";
    const ARGS: &'static [Arg] = &[key(c"stream"), GROUP, text(c"consumer")];
    const FLAGS: &'static CStr = c"write";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(3);

    fn run(call: &Call) -> Result<(), Error> {
        let (group, consumer) = parse_member(Args::new(call.args))?;
        let left = act(call, group, |readers, now_ms, source| {
            readers.leave(group, consumer, now_ms, source)
        })?;
        call.reply().integer(i64::from(left));
        Ok(())
    }
}
