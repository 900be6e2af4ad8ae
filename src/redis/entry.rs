//! Where clients' commands come in.

use super::reply::Reply;
use super::rights::Caller;
use super::{api::api, categories, guard, stats};
use crate::error::{Error, INTERNAL};
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, CStr};

/// A command of the module. `run` replies itself, unless it returns an error: then nothing may have
/// been replied or changed.
pub trait Command {
    /// As clients write it, in lower case.
    const NAME: &'static CStr;
    /// One line of COMMAND DOCS.
    const SUMMARY: &'static CStr;
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
    fn flags(self) -> u32 {
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
    status == raw::REDISMODULE_OK as c_int && describe::<C>(ctx)
}

/// Tells the server more of a command than it can be created with.
fn describe<C: Command>(ctx: &Context) -> bool {
    let key_spec = |begin_search_type, flags: u32, find_keys_type| raw::RedisModuleCommandKeySpec {
        notes: std::ptr::null(),
        flags: flags.into(),
        begin_search_type,
        bs: raw::RedisModuleCommandKeySpec__bindgen_ty_1 {
            index: raw::RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_1 { pos: 1 },
        },
        find_keys_type,
        fk: raw::RedisModuleCommandKeySpec__bindgen_ty_2 {
            range: raw::RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 {
                lastkey: 0,
                keystep: 1,
                limit: 0,
            },
        },
    };
    // The first argument, and an element of no type that ends the array. A key behind DEAD is none that
    // the server knows: it is in the stream's slot, so clients find the node without it, and many of them
    // ask the server for the keys of each single command that says to have them elsewhere. To look for the
    // word DEAD would not do for CONSUME anyway (WHERE ENTITY dead). `rights` checks it instead.
    let mut key_specs = [
        key_spec(
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX,
            C::KEY_USE.flags(),
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE,
        ),
        key_spec(
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INVALID,
            0,
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_OMITTED,
        ),
    ];
    // At least so many words, the command's name and its key among them.
    let words = c_int::try_from(C::MIN_ARGS.saturating_add(2)).unwrap_or(c_int::MAX);
    let info = raw::RedisModuleCommandInfo {
        version: &INFO_VERSION,
        summary: C::SUMMARY.as_ptr(),
        complexity: std::ptr::null(),
        since: c"0.1.0".as_ptr(),
        history: std::ptr::null_mut(),
        tips: std::ptr::null(),
        arity: words.saturating_neg(),
        key_specs: key_specs.as_mut_ptr(),
        args: std::ptr::null_mut(),
    };
    // SAFETY: a live context, a command that was just created; the server copies what it is told.
    let status = unsafe {
        let command = api!(RedisModule_GetCommand(ctx.ctx, C::NAME.as_ptr()));
        categories::assign::<C>(ctx, command);
        api!(RedisModule_SetCommandInfo(command, &info))
    };
    status == raw::REDISMODULE_OK as c_int
}

/// How large the structures are that `describe` fills in, for servers that know larger ones.
static INFO_VERSION: raw::RedisModuleCommandInfoVersion = raw::RedisModuleCommandInfoVersion {
    version: 1,
    sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
    sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
    sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
};

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
