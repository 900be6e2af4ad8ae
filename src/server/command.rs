//! A command, and one call of it.

use crate::redis::commands::{Argv, Client};
use crate::redis::reply::Reply;
use dirty_streams_core::error::Error;
use dirty_streams_core::syntax::Arg;
use redis_module::{Context, RedisString};
use std::ffi::{CStr, c_int};

pub use crate::redis::command_info::KeyUse;

/// A command of the module. `run` replies itself, unless it returns an error: then nothing may have
/// been replied or changed.
pub trait Command {
    /// As clients write it, in lower case.
    const NAME: &'static CStr;
    /// One line of COMMAND DOCS.
    const SUMMARY: &'static CStr;
    /// How long it takes, in COMMAND DOCS.
    const COMPLEXITY: &'static CStr;
    /// Hints for proxies and clients that send it to several servers, in Redis's own words.
    const TIPS: &'static CStr = c"";
    /// Its syntax line, for COMMAND DOCS.
    const ARGS: &'static [Arg];
    const FLAGS: &'static CStr;
    /// How it uses its key, which decides the rights that a user needs.
    const KEY_USE: KeyUse;
    /// The types of native data it works on, which name ACL categories.
    const DATA: &'static [&'static str];
    const ARITY: Arity;

    /// Of a command with the flag getkeys-api: the keys that it names besides its first, by their places among the
    /// arguments behind that.
    fn other_keys(_args: &[&[u8]]) -> Vec<(usize, KeyUse)> {
        Vec::new()
    }

    fn run(call: &Call) -> Result<(), Error>;
}

/// How many arguments there are behind the key.
#[derive(Clone, Copy)]
pub enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

impl Arity {
    pub fn min(self) -> usize {
        match self {
            Arity::Exactly(n) | Arity::AtLeast(n) => n,
        }
    }

    pub fn allows(self, args: usize) -> bool {
        match self {
            Arity::Exactly(n) => args == n,
            Arity::AtLeast(n) => args >= n,
        }
    }

    /// The number that the server uses: it counts the command's name and its key, too, and a negative number is a
    /// minimum.
    pub fn words(self) -> c_int {
        let words = c_int::try_from(self.min().saturating_add(2));
        debug_assert!(words.is_ok(), "no command has that many arguments");
        let words = words.unwrap_or(c_int::MAX);
        match self {
            Arity::Exactly(_) => words,
            Arity::AtLeast(_) => words.saturating_neg(),
        }
    }
}

/// One call of a command.
pub struct Call<'c> {
    pub ctx: &'c Context,
    /// The name by which rights know the command.
    pub command: &'static CStr,
    /// The command's one key, its first argument.
    pub key: RedisString,
    /// The arguments behind the key.
    pub args: &'c [&'c [u8]],
    /// All of it as the server has it; empty for a client that has waited.
    pub argv: Argv<'c>,
    pub caller: Caller<'c>,
}

impl<'c> Call<'c> {
    pub fn reply(&self) -> Reply<'c> {
        Reply::new(self.ctx)
    }
}

/// The party on whose behalf a command runs. Without a user everything is allowed.
pub enum Caller<'c> {
    /// The client that has sent the command.
    Client(Client<'c>),
    /// A client that has waited, by its user's name: a timer's context has no user.
    Waiting(Option<&'c [u8]>),
}
