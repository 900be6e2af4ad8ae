use super::acting::{act, check_snapshots};
use super::syntax::{KIND, NAME, SNAPSHOT};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::SeekTo;
use dirty_streams_core::reading::requests::seek::{Request, To};
use dirty_streams_core::reading::requests::shared::places_of_snapshot_keys;
use dirty_streams_core::syntax::{Arg, key, one_of, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.SEEK stream GROUP|CURSOR name start
///
/// start:   place | SNAPSHOT n key [key …]
/// place:   0, $, a position, an event id, or a time in ms
/// ```
///
/// Moves a group or cursor to another place in its stream, forward or back. Replies `OK`.
pub struct Seek;

impl Command for Seek {
    const NAME: &'static CStr = c"dirty.seek";
    const SUMMARY: &'static CStr = c"Moves a group or cursor to another place in its stream.";
    const COMPLEXITY: &'static CStr = c"O(N) for N events of the group that are dropped.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        KIND,
        NAME,
        one_of(c"start", &[text(c"place"), SNAPSHOT]),
    ];
    const FLAGS: &'static CStr = c"write getkeys-api";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(3);

    fn other_keys(args: &[&[u8]]) -> Vec<(usize, KeyUse)> {
        match Request::parse(Args::new(args)) {
            Ok(Request {
                to: To::Snapshot(keys),
                ..
            }) => {
                let places = places_of_snapshot_keys(args, &keys);
                places.map(|place| (place, KeyUse::Read)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn run(call: &Call) -> Result<(), Error> {
        let Request { kind, name, to } = Request::parse(Args::new(call.args))?;
        let to = match to {
            To::Start(start) => SeekTo::Start(start),
            To::Snapshot(keys) => {
                check_snapshots(call, &keys)?;
                SeekTo::Snapshot(keys.into_iter().map(Into::into).collect())
            }
        };
        act(call, name, |readers, now_ms, source| {
            readers.seek(kind, name, &to, now_ms, source)
        })?;
        call.reply().status(c"OK");
        Ok(())
    }
}
