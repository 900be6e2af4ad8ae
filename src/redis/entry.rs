//! Where Redis calls in: commands are registered here, and a panic that gets this far becomes an error
//! reply and a line in the log instead of the end of the server.

use super::reply::Reply;
use super::{api::api, stats};
use crate::error::Error;
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// A command of the module. `run` replies itself, unless it returns an error: then nothing may have
/// been replied or changed.
pub trait Command {
    /// As clients write it, in lower case.
    const NAME: &'static CStr;
    const FLAGS: &'static CStr;
    /// How few arguments there may be behind the key.
    const MIN_ARGS: usize;

    fn run(call: &Call) -> Result<(), Error>;
}

/// One call of a command.
pub struct Call<'c> {
    pub ctx: &'c Context,
    /// The command's one key, its first argument.
    pub key: RedisString,
    /// The arguments behind the key.
    pub args: &'c [&'c [u8]],
}

impl<'c> Call<'c> {
    pub fn reply(&self) -> Reply<'c> {
        Reply::new(self.ctx)
    }
}

pub fn register<C: Command>(ctx: &Context) -> bool {
    // SAFETY: a live context, strings that end with a NUL, a function that stays.
    let status = unsafe {
        api!(RedisModule_CreateCommand(
            ctx.ctx,
            C::NAME.as_ptr(),
            Some(enter::<C>),
            C::FLAGS.as_ptr(),
            1,
            1,
            1,
        ))
    };
    status == raw::REDISMODULE_OK as c_int
}

extern "C" fn enter<C: Command>(
    raw_ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    let ctx = Context::new(raw_ctx);
    if let Err(error) = call::<C, ()>(&ctx, argv, argc, C::run) {
        refuse(&ctx, &error);
    }
    raw::REDISMODULE_OK as c_int
}

pub fn refuse(ctx: &Context, error: &Error) {
    stats::count(&stats::ERRORS, 1);
    Reply::new(ctx).error(&error.to_string());
}

/// Runs a command, or what is left of it to do, on the arguments the server passes.
pub fn call<C: Command, T>(
    ctx: &Context,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
    run: impl FnOnce(&Call) -> Result<T, Error>,
) -> Result<T, Error> {
    guard(ctx, || {
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
        })
    })
}

fn guard<T>(ctx: &Context, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(_) => {
            // The panic's own words are in the log already, by the hook.
            ctx.log_warning("dirty: a command panicked; it was answered with an error");
            Err(Error::Internal)
        }
    }
}

/// Panics are written to the server's log, where somebody looks.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        redis_module::MODULE_CONTEXT.log_warning(&format!("dirty: {panic}"));
    }));
}
