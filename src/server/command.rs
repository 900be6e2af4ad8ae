//! A command, and one call of it.

use crate::redis::reply::Reply;
use dirty_streams_core::error::Error;
use dirty_streams_core::syntax::Arg;
use redis_module::{raw, Context, RedisString};
use std::ffi::CStr;

/// A command of the module. `run` replies itself, unless it returns an error: then nothing may have
/// been replied or changed.
pub trait Command {
    /// As clients write it, in lower case.
    const NAME: &'static CStr;
    /// One line of COMMAND DOCS.
    const SUMMARY: &'static CStr;
    /// How long it takes, in COMMAND DOCS.
    const COMPLEXITY: &'static CStr;
    /// What proxies and clients that send it to several servers should know; the words are Redis's own.
    const TIPS: &'static CStr = c"";
    /// What its syntax line says, in COMMAND DOCS.
    const ARGS: &'static [Arg];
    const FLAGS: &'static CStr;
    /// What it does with its key, so what a user must be allowed to do with it.
    const KEY_USE: KeyUse;
    /// The types of native data it works on, which name ACL categories.
    const DATA: &'static [&'static str];
    /// How few arguments there may be behind the key.
    const MIN_ARGS: usize;

    fn run(call: &Call) -> Result<(), Error>;
}

#[derive(Clone, Copy)]
pub enum KeyUse {
    Read,
    /// Tells nothing of what the key holds.
    Write,
    ReadAndWrite,
}

impl KeyUse {
    pub fn flags(self) -> u32 {
        match self {
            KeyUse::Read => raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS,
            KeyUse::Write => raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_UPDATE,
            KeyUse::ReadAndWrite => {
                raw::REDISMODULE_CMD_KEY_RW
                    | raw::REDISMODULE_CMD_KEY_ACCESS
                    | raw::REDISMODULE_CMD_KEY_UPDATE
            }
        }
    }
}

/// One call of a command.
pub struct Call<'c> {
    pub ctx: &'c Context,
    /// The command's one key, its first argument.
    pub key: RedisString,
    /// The arguments behind the key.
    pub args: &'c [&'c [u8]],
    pub caller: Caller<'c>,
}

impl<'c> Call<'c> {
    pub fn reply(&self) -> Reply<'c> {
        Reply::new(self.ctx)
    }
}

/// On whose behalf something is done. Where nobody is behind it, everything is allowed.
pub enum Caller<'c> {
    /// Of the context.
    Own,
    /// Who has waited: by a timer, its context has no user.
    Waiting(Option<&'c [u8]>),
}
