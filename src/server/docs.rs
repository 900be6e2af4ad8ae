//! The answers of COMMAND DOCS and COMMAND INFO about a command.

use super::command::Command;
use crate::redis::command_info::{self, CommandInfo};
use redis_module::Context;
use std::ffi::CStr;

/// All commands are in the first version.
const SINCE: &CStr = c"0.1.0";

/// Of a command that was just created.
///
/// A key behind DEAD is not one that the server knows: it is in the stream's slot, so clients find the node without
/// it, and many of them ask the server for the keys of each single command that says to have them elsewhere. To look
/// for the word DEAD would not do for CONSUME anyway (WHERE ENTITY dead). `rights` checks it instead.
pub fn describe<C: Command>(ctx: &Context) -> bool {
    let info = CommandInfo {
        name: C::NAME,
        summary: C::SUMMARY,
        complexity: C::COMPLEXITY,
        since: SINCE,
        tips: C::TIPS,
        arity: C::ARITY.words(),
        key_use: C::KEY_USE,
        args: C::ARGS,
    };
    command_info::describe(ctx, &info)
}
