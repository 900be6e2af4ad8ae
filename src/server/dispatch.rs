//! Where clients' commands come in.

use super::rights::Caller;
use super::{docs, stats};
use crate::redis::reply::Reply;
use crate::redis::{api::api, guard};
use dirty_streams_core::error::{Error, INTERNAL};
use dirty_streams_core::syntax::Arg;
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, CStr};

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

pub fn register<C: Command>(ctx: &Context) -> bool {
    let name = C::NAME.as_ptr();
    // SAFETY: a live context, strings that end with a NUL, a function that stays.
    let status = unsafe {
        let flags = C::FLAGS.as_ptr();
        api!(RedisModule_CreateCommand(
            ctx.ctx,
            name,
            Some(enter::<C>),
            flags,
            1,
            1,
            1
        ))
    };
    status == raw::REDISMODULE_OK as c_int && docs::describe::<C>(ctx)
}

extern "C" fn enter<C: Command>(
    raw_ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    let ctx = Context::new(raw_ctx);
    if let Err(error) = call::<C, ()>("a command", &ctx, argv, argc, C::run) {
        refuse(&ctx, &error);
    }
    raw::REDISMODULE_OK as c_int
}

pub fn refuse(ctx: &Context, error: &Error) {
    stats::count(&stats::ERRORS, 1);
    let line = guard::catch("a refusal", || error.to_string());
    Reply::new(ctx).error(line.as_deref().unwrap_or(INTERNAL));
}

/// Runs a command, or what is left of it to do, on the arguments the server passes.
pub fn call<C: Command, T>(
    entry: &'static str,
    ctx: &Context,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
    run: impl FnOnce(&Call) -> Result<T, Error>,
) -> Result<T, Error> {
    guard::refuse(entry, || {
        let argc = usize::try_from(argc).unwrap_or(0);
        // SAFETY: the server passes argc strings that live throughout the call.
        let argv = unsafe { std::slice::from_raw_parts(argv, argc) };
        let (&key, rest) = match argv {
            [_, key, rest @ ..] if rest.len() >= C::MIN_ARGS => (key, rest),
            _ => return Err(Error::WrongArity(C::NAME.to_str().unwrap_or_default())),
        };
        let args: Vec<&[u8]> = rest
            .iter()
            .map(|&arg| RedisString::string_as_slice(arg))
            .collect();
        let key = RedisString::new(std::ptr::NonNull::new(ctx.ctx), key);
        run(&Call {
            ctx,
            key,
            args: &args,
            caller: Caller::Own,
        })
    })
}
