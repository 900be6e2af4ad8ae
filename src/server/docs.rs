//! What the server is told of a command besides how to call it: COMMAND DOCS, its keys, its arity.

use super::acl_categories;
use super::command::Command;
use crate::redis::api::api;
use dirty_streams_core::syntax::{Arg, ArgType, Repeats};
use redis_module::{raw, Context};
use std::ffi::{c_int, CStr};
use std::ptr;

/// All commands are in the first version.
const SINCE: &CStr = c"0.1.0";

/// Of a command that was just created.
pub fn describe<C: Command>(ctx: &Context) -> bool {
    let key_spec = |begin_search_type, flags: u32, find_keys_type| raw::RedisModuleCommandKeySpec {
        notes: ptr::null(),
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
    let mut args = Elements::default();
    let info = raw::RedisModuleCommandInfo {
        version: &INFO_VERSION,
        summary: C::SUMMARY.as_ptr(),
        complexity: C::COMPLEXITY.as_ptr(),
        since: SINCE.as_ptr(),
        history: ptr::null_mut(),
        tips: match C::TIPS.is_empty() {
            true => ptr::null(),
            false => C::TIPS.as_ptr(),
        },
        arity: words.saturating_neg(),
        key_specs: key_specs.as_mut_ptr(),
        args: args.array(C::ARGS),
    };
    // SAFETY: a live context, a command that was just created; the server copies what it is told, while
    // `key_specs` and `args` live.
    let status = unsafe {
        let command = api!(RedisModule_GetCommand(ctx.ctx, C::NAME.as_ptr()));
        acl_categories::assign::<C>(ctx, command);
        api!(RedisModule_SetCommandInfo(command, &info))
    };
    drop(args);
    status == raw::REDISMODULE_OK as c_int
}

/// How large the structures are that are filled in here, for servers that know larger or smaller ones.
static INFO_VERSION: raw::RedisModuleCommandInfoVersion = raw::RedisModuleCommandInfoVersion {
    version: 1,
    sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
    sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
    sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
};

/// The arrays that the server reads, which point to each other: all of them live as long as this does.
#[derive(Default)]
struct Elements {
    arrays: Vec<Box<[raw::RedisModuleCommandArg]>>,
}

impl Elements {
    /// An array of these arguments and what is in them, ended by an element without a name.
    fn array(&mut self, args: &[Arg]) -> *mut raw::RedisModuleCommandArg {
        let mut array: Vec<_> = args.iter().map(|arg| self.element(arg)).collect();
        array.push(NOTHING);
        self.arrays.push(array.into());
        match self.arrays.last_mut() {
            Some(array) => array.as_mut_ptr(),
            None => ptr::null_mut(),
        }
    }

    fn element(&mut self, arg: &Arg) -> raw::RedisModuleCommandArg {
        let (type_, parts): (_, &[Arg]) = match &arg.arg_type {
            ArgType::Key => (raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_KEY, &[]),
            ArgType::Text => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
                &[],
            ),
            ArgType::Integer => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_INTEGER,
                &[],
            ),
            ArgType::PureToken => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_PURE_TOKEN,
                &[],
            ),
            ArgType::OneOf(parts) => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_ONEOF,
                parts,
            ),
            ArgType::Block(parts) => (
                raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_BLOCK,
                parts,
            ),
        };
        let optional = match arg.optional {
            true => raw::REDISMODULE_CMD_ARG_OPTIONAL,
            false => raw::REDISMODULE_CMD_ARG_NONE,
        };
        let repeats = match arg.repeats {
            Repeats::Never => raw::REDISMODULE_CMD_ARG_NONE,
            Repeats::Value => raw::REDISMODULE_CMD_ARG_MULTIPLE,
            Repeats::WithToken => {
                raw::REDISMODULE_CMD_ARG_MULTIPLE | raw::REDISMODULE_CMD_ARG_MULTIPLE_TOKEN
            }
        };
        raw::RedisModuleCommandArg {
            name: arg.name.as_ptr(),
            type_,
            key_spec_index: 0, // of a key; the server leaves it alone in all others
            token: arg.token.map_or(ptr::null(), CStr::as_ptr),
            flags: (optional | repeats) as c_int,
            subargs: match parts {
                [] => ptr::null_mut(), // the server wants none where there can be none
                parts => self.array(parts),
            },
            ..NOTHING
        }
    }
}

/// What ends an array.
const NOTHING: raw::RedisModuleCommandArg = raw::RedisModuleCommandArg {
    name: ptr::null(),
    type_: raw::RedisModuleCommandArgType_REDISMODULE_ARG_TYPE_STRING,
    key_spec_index: 0,
    token: ptr::null(),
    summary: ptr::null(),
    since: ptr::null(),
    flags: 0,
    deprecated_since: ptr::null(),
    subargs: ptr::null_mut(),
    display_text: ptr::null(),
};
