//! The answers of COMMAND DOCS and COMMAND INFO about a command.

use super::command::Command;
use crate::redis::command_info::{self, CommandInfo};
use redis_module::Context;
use std::ffi::CStr;

/// All commands are in the first version.
const SINCE: &CStr = c"0.1.0";

/// Of a command that was just created.
///
/// Its key specification tells of its first key alone. Others, behind a word such as DEAD, are told by the command itself
/// (`other_keys`): a specification that looks for a word would find it among names, too.
pub fn describe<C: Command>(ctx: &Context) -> bool {
    let info = CommandInfo {
        name: C::NAME,
        summary: C::SUMMARY,
        complexity: C::COMPLEXITY,
        since: SINCE,
        tips: C::TIPS,
        arity: C::ARITY.words(),
        key_use: C::KEY_USE,
        has_other_keys: has_other_keys::<C>(),
        args: C::ARGS,
    };
    command_info::describe(ctx, &info)
}

fn has_other_keys<C: Command>() -> bool {
    let mut flags = C::FLAGS.to_bytes().split(|byte| *byte == b' ');
    flags.any(|flag| flag == b"getkeys-api")
}
