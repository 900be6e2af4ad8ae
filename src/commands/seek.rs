use super::consume::{self, group};
use crate::redis::keys;
use crate::redis::keyspace;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::deletions::Deletions;
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::consume::{Start, no_reader};
use dirty_streams_core::syntax::{Arg, key, one_of, text, word};
use std::ffi::CStr;

/// ```text
/// DIRTY.SEEK stream GROUP|CURSOR name start
/// ```
///
/// Moves a group or cursor anywhere, forward or back, and makes it if there is none; what is pending
/// stays so. The start is what FROM of DIRTY.CONSUME takes. Replies `OK`.
pub struct Seek;

impl Command for Seek {
    const NAME: &'static CStr = c"dirty.seek";
    const SUMMARY: &'static CStr = c"Moves a group or cursor to another place in its stream.";
    const COMPLEXITY: &'static CStr = c"O(G) for G groups of the stream; more if entries wait for DELETE, up to 10,000 of which are looked at.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        one_of(
            c"reader",
            &[word(c"group", c"GROUP"), word(c"cursor", c"CURSOR")],
        ),
        text(c"name"),
        text(c"start"),
    ];
    const FLAGS: &'static CStr = c"write";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::Exactly(3);

    fn run(call: &Call) -> Result<(), Error> {
        let mut args = Args::new(call.args);
        let is_cursor = args.keyword("CURSOR");
        if !is_cursor && !args.keyword("GROUP") {
            return Err(no_reader(args));
        }
        let name = args.name("SEEK", "a name")?;
        let start = Start::parse("start", args.next("SEEK", "a start")?)?;
        let text = keys::string(name);
        let group = group(call, &text);
        let state = group.state()?;
        if let Some(state) = state.filter(|_| is_cursor) {
            state.check_cursor(name)?;
        }
        let position = consume::position(start, call)?;
        match state {
            Some(_) => group.set_position(position)?,
            None => group.create(position)?,
        }
        Deletions::of(call.ctx, &call.key).settle_all()?;
        keyspace::wake(call.ctx, &call.key);
        call.reply().status(c"OK");
        Ok(())
    }
}
