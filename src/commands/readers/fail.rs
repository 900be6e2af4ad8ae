use super::acting::act;
use super::syntax::{CURSOR, FORCE, GROUP, IDS};
use crate::server::command::{Arity, Call, Command, KeyUse};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::fail::Request;
use dirty_streams_core::reading::{self, Failed};
use dirty_streams_core::syntax::{Arg, block, integer, key, one_of, text, word};
use std::ffi::CStr;

/// ```text
/// DIRTY.FAIL stream GROUP group consumer message [FORCE] [DELAY ms|FATAL] id [id …]
/// DIRTY.FAIL stream CURSOR name message id [id …]
/// ```
///
/// Says that handling events has failed, and why. Replies an array: for each id `retry`, `dead` or `not-held`.
pub struct Fail;

impl Command for Fail {
    const NAME: &'static CStr = c"dirty.fail";
    const SUMMARY: &'static CStr = c"Says that handling events has failed, and why.";
    const COMPLEXITY: &'static CStr = c"O(N) for N ids.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        one_of(
            c"reader",
            &[
                block(
                    c"of-group",
                    &[
                        GROUP,
                        text(c"consumer"),
                        text(c"message"),
                        FORCE,
                        one_of(
                            c"again",
                            &[integer(c"ms").after(c"DELAY"), word(c"fatal", c"FATAL")],
                        )
                        .optional(),
                        IDS,
                    ],
                ),
                block(c"of-cursor", &[CURSOR, text(c"message"), IDS]),
            ],
        ),
    ];
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(4);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args))?;
        let (name, ids) = (request.name, request.ids.as_slice());
        let became = act(call, name, |readers, now_ms, source| match request.group {
            Some(group) => {
                let fail = reading::Fail {
                    group: name,
                    consumer: group.consumer,
                    message: request.message,
                    force: group.force,
                    again: group.again,
                    ids,
                };
                readers.fail(&fail, now_ms, source)
            }
            None => readers.fail_cursor(name, request.message, ids, now_ms, source),
        })?;
        let reply = call.reply();
        reply.array(became.len());
        for failed in became {
            reply.bytes(match failed {
                Failed::Retry => "retry",
                Failed::Dead => "dead",
                Failed::NotHeld => "not-held",
            });
        }
        Ok(())
    }
}
