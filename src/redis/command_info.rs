//! Descriptions of commands for the server: COMMAND DOCS, their keys, their arity.

use super::api::api;
use dirty_streams_core::syntax::{Arg, ArgType, Repeats};
use redis_module::{Context, raw};
use std::ffi::{CStr, c_int};
use std::ptr;

/// How a command uses its key, which decides the rights that a user needs.
#[derive(Clone, Copy)]
pub enum KeyUse {
    Read,
    /// Tells nothing of what the key holds.
    Write,
    ReadAndWrite,
}

impl KeyUse {
    pub(super) fn flags(self) -> u32 {
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

pub struct CommandInfo {
    pub name: &'static CStr,
    pub summary: &'static CStr,
    pub complexity: &'static CStr,
    pub since: &'static CStr,
    /// Empty if there are none.
    pub tips: &'static CStr,
    /// The number of words, the name included; a negative number is a minimum.
    pub arity: c_int,
    pub key_use: KeyUse,
    /// Whether there may be other keys, which the command tells itself.
    pub has_other_keys: bool,
    pub args: &'static [Arg],
}

/// Tells the server of a command of the module, once.
pub fn describe(ctx: &Context, info: &CommandInfo) -> bool {
    let incomplete = match info.has_other_keys {
        true => raw::REDISMODULE_CMD_KEY_INCOMPLETE,
        false => 0,
    };
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
    // The first argument, and an element of no type that ends the array.
    let mut key_specs = [
        key_spec(
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX,
            info.key_use.flags() | incomplete,
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE,
        ),
        key_spec(
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INVALID,
            0,
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_OMITTED,
        ),
    ];
    let mut elements = Elements::default();
    let raw_info = raw::RedisModuleCommandInfo {
        version: &INFO_VERSION,
        summary: info.summary.as_ptr(),
        complexity: info.complexity.as_ptr(),
        since: info.since.as_ptr(),
        history: ptr::null_mut(),
        tips: match info.tips.is_empty() {
            true => ptr::null(),
            false => info.tips.as_ptr(),
        },
        arity: info.arity,
        key_specs: key_specs.as_mut_ptr(),
        args: elements.array(info.args),
    };
    // SAFETY: a live context, and a name that ends with a NUL; a command that is not ours is null. The server
    // copies what it is told, while `key_specs` and `elements` live.
    let status = unsafe {
        let command = api!(RedisModule_GetCommand(ctx.ctx, info.name.as_ptr()));
        if command.is_null() {
            return false;
        }
        api!(RedisModule_SetCommandInfo(command, &raw_info))
    };
    drop(elements);
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

/// The element that ends an array.
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
