//! Commands of the module: how they are registered, and what the server passes when a client sends one.

use super::api::api;
use redis_module::{Context, RedisString, raw};
use std::cell::Cell;
use std::ffi::{CStr, c_int};

/// Answers a command, even if it fails or panics.
pub trait Handler {
    fn run(client: Client, argv: Argv);
}

/// The client whose command runs now.
pub struct Client<'c> {
    pub ctx: &'c Context,
    /// Whether it waits, which it can do once.
    pub(super) is_blocked: Cell<bool>,
}

/// A command as the server passes it, its name first.
pub struct Argv<'c> {
    strings: &'c [*mut raw::RedisModuleString],
}

impl<'c> Argv<'c> {
    /// The key and the arguments behind it; `None` if there is no key.
    pub fn key_and_args(self) -> Option<(RedisString, Vec<&'c [u8]>)> {
        let [_, key, args @ ..] = self.strings else {
            return None;
        };
        let args = args.iter();
        let args = args.map(|&arg| RedisString::string_as_slice(arg));
        // Of no context, so it may outlive this one.
        Some((RedisString::new(None, *key), args.collect()))
    }
}

/// Makes a command whose one key is its first argument.
pub fn register<H: Handler>(ctx: &Context, name: &CStr, flags: &CStr) -> bool {
    // SAFETY: a live context, strings that end with a NUL, a function that stays.
    let status = unsafe {
        api!(RedisModule_CreateCommand(
            ctx.ctx,
            name.as_ptr(),
            Some(enter::<H>),
            flags.as_ptr(),
            1,
            1,
            1
        ))
    };
    status == raw::REDISMODULE_OK as c_int
}

extern "C" fn enter<H: Handler>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    debug_assert!(argc > 0, "a command has a name");
    let argc = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the server passes argc strings that live throughout the call.
    let strings = unsafe { std::slice::from_raw_parts(argv, argc) };
    let client = Client {
        ctx: &Context::new(ctx),
        is_blocked: Cell::new(false),
    };
    H::run(client, Argv { strings });
    raw::REDISMODULE_OK as c_int
}
