//! Where clients' commands come in.

use super::command::{Call, Caller, Command};
use super::{docs, rights, stats};
use crate::redis::reply::Reply;
use crate::redis::{api::api, guard};
use dirty_streams_core::error::{Error, INTERNAL};
use redis_module::{raw, Context, RedisString};
use std::ffi::c_int;

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
        // A key that was renamed to this one may be in an AOF.
        if RedisString::string_as_slice(key).is_empty() && !rights::is_trusted(ctx) {
            return Err(Error::Empty {
                of: C::NAME.to_str().unwrap_or_default(),
                what: "a key",
            });
        }
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
