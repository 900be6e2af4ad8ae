use super::acting::{act, reply_ids};
use super::syntax::{CURSOR, FORCE, GROUP, IDS};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::ack::Request;
use dirty_streams_core::syntax::{Arg, block, key, one_of, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.ACK stream GROUP group consumer [FORCE] id [id …]
/// DIRTY.ACK stream CURSOR name position
/// ```
///
/// Acknowledges events. Replies for a group an array of the ids that the consumer did not hold, for a cursor 1 if it moved,
/// else 0.
pub struct Ack;

impl Command for Ack {
    const NAME: &'static CStr = c"dirty.ack";
    const SUMMARY: &'static CStr =
        c"Acknowledges events of a group, or up to a position of a cursor.";
    const COMPLEXITY: &'static CStr = c"O(N) for N ids.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        one_of(
            c"reader",
            &[
                block(c"of-group", &[GROUP, text(c"consumer"), FORCE, IDS]),
                block(c"of-cursor", &[CURSOR, text(c"position")]),
            ],
        ),
    ];
    const FLAGS: &'static CStr = c"write fast";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(3);

    fn run(call: &Call) -> Result<(), Error> {
        match Request::parse(Args::new(call.args))? {
            Request::Group {
                group,
                consumer,
                force,
                ids,
            } => {
                let not_held = act(call, group, |readers, now_ms, source| {
                    readers.ack(group, consumer, force, &ids, now_ms, source)
                })?;
                reply_ids(call, &not_held);
            }
            Request::Cursor { name, position } => {
                let moved = act(call, name, |readers, now_ms, source| {
                    readers.ack_cursor(name, &position, now_ms, source)
                })?;
                call.reply().integer(i64::from(moved));
            }
        }
        Ok(())
    }
}
