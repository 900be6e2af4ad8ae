//! Users and what they may do, ACL LOG, and the ACL categories of commands.

use super::api::{self, api};
use super::{call, keys};
use dirty_streams_core::acl::Access;
use redis_module::{Context, RedisString, raw};
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::{NonNull, null_mut};

/// A user by name. Another module may have made one for itself, which the server does not know: what that one may
/// do cannot be looked at.
pub struct User {
    name: RedisString,
}

/// The answer to whether a user may do something.
pub enum Verdict {
    May,
    MayNot(Reason),
    /// The server does not know the user.
    Unknown,
}

/// Why something is refused, as ACL LOG tells it.
#[derive(Clone, Copy)]
pub enum Reason {
    Command,
    Key,
    Other(raw::RedisModuleACLLogEntryReason),
}

const COMMAND: raw::RedisModuleACLLogEntryReason =
    raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_CMD;
const KEY: raw::RedisModuleACLLogEntryReason =
    raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY;

/// A user as the server knows it now. It is looked up for each question, since the user may be deleted in between.
struct Known(NonNull<raw::RedisModuleUser>);

impl Drop for Known {
    fn drop(&mut self) {
        // SAFETY: received once, freed once.
        unsafe { api!(RedisModule_FreeModuleUser(self.0.as_ptr())) }
    }
}

/// Whether a user may send a command in a database. Valkey has it from 9.1 on, the first server that limits users
/// to some databases; the function that other servers have refuses limited users everything there.
type CheckPermissions = unsafe extern "C" fn(
    *mut raw::RedisModuleUser,
    *mut *mut raw::RedisModuleString,
    c_int,
    c_int,
    *mut raw::RedisModuleACLLogEntryReason,
) -> c_int;

fn check_permissions() -> Option<CheckPermissions> {
    let function = api::of_valkey(c"ValkeyModule_ACLCheckPermissions")?;
    // SAFETY: the type that the server declares the function with.
    Some(unsafe { std::mem::transmute::<*mut c_void, CheckPermissions>(function.as_ptr()) })
}

/// Whether this server limits users to some databases.
pub fn limits_databases() -> bool {
    check_permissions().is_some()
}

impl User {
    /// The user behind a context.
    pub fn current(ctx: &Context) -> Option<User> {
        if !call::has_user(ctx) {
            return None;
        }
        // SAFETY: there is a user, else the server would crash here; the name is freed when dropped.
        let name = unsafe {
            let name = api!(RedisModule_GetCurrentUserName(ctx.ctx));
            RedisString::from_redis_module_string(null_mut(), name)
        };
        Some(User { name })
    }

    pub fn named(name: &[u8]) -> User {
        User {
            name: keys::string(name),
        }
    }

    /// It may outlive the context.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    fn known(&self) -> Option<Known> {
        // SAFETY: a live name; the user is freed when dropped.
        let raw = unsafe { api!(RedisModule_GetModuleUserFromUserName(self.name.inner)) };
        NonNull::new(raw).map(Known)
    }

    /// Whether the user may send this command in this database. Servers that do not limit users to databases
    /// do not look at it.
    pub fn may_send(&self, command: &CStr, args: &[&[u8]], database: c_int) -> Verdict {
        let Some(known) = self.known() else {
            return Verdict::Unknown;
        };
        let strings: Vec<RedisString> = std::iter::once(command.to_bytes())
            .chain(args.iter().copied())
            .map(keys::string)
            .collect();
        let mut argv: Vec<_> = strings.iter().map(|string| string.inner).collect();
        let argc = c_int::try_from(argv.len()).unwrap_or(0);
        let (user, argv) = (known.0.as_ptr(), argv.as_mut_ptr());
        let mut reason = COMMAND;
        let status = match check_permissions() {
            // SAFETY: a user that is there, live strings, the first of them a name, and a reason to fill in.
            Some(check) => unsafe { check(user, argv, argc, database, &mut reason) },
            // SAFETY: as above.
            None => unsafe { api!(RedisModule_ACLCheckCommandPermissions(user, argv, argc)) },
        };
        match status == raw::REDISMODULE_OK as c_int {
            true => Verdict::May,
            false => Verdict::MayNot(match reason {
                COMMAND => Reason::Command,
                KEY => Reason::Key,
                other => Reason::Other(other),
            }),
        }
    }

    /// Whether the user may read, or write, this key. An unknown user may not.
    pub fn may(&self, access: Access, key: &[u8]) -> bool {
        let flags = match access {
            Access::Read => raw::REDISMODULE_CMD_KEY_ACCESS,
            Access::Write => {
                raw::REDISMODULE_CMD_KEY_INSERT
                    | raw::REDISMODULE_CMD_KEY_UPDATE
                    | raw::REDISMODULE_CMD_KEY_DELETE
            }
        };
        let key = keys::string(key);
        self.known().is_some_and(|known| {
            // SAFETY: a user that is there, and a live key.
            let status = unsafe {
                api!(RedisModule_ACLCheckKeyPermissions(
                    known.0.as_ptr(),
                    key.inner,
                    flags as c_int
                ))
            };
            status == raw::REDISMODULE_OK as c_int
        })
    }

    /// The text of the user's ACL, as far as it is about keys.
    pub fn rules(&self, ctx: &Context) -> Option<Vec<u8>> {
        let known = self.known()?;
        // SAFETY: read after the server has filled it in.
        let Some(rules) = (unsafe { raw::RedisModule_GetModuleUserACLString }) else {
            return self.asked_rules(ctx);
        };
        // SAFETY: a user that is there; the text is freed when dropped.
        let rules =
            unsafe { RedisString::from_redis_module_string(null_mut(), rules(known.0.as_ptr())) };
        Some(rules.to_vec())
    }

    /// The same from Redis 7.0.0 to 7.0.5, which do not tell it to modules.
    fn asked_rules(&self, ctx: &Context) -> Option<Vec<u8>> {
        let reply = call::ask(ctx, c"ACL", &[&keys::string(b"GETUSER"), &self.name]).ok()?;
        let reply = reply.view();
        let mut text = reply.field(b"keys")?.bytes().to_vec();
        for selector in reply.field(b"selectors")?.items() {
            text.extend_from_slice(b" (");
            text.extend_from_slice(selector.field(b"keys")?.bytes());
            text.extend_from_slice(b" -@all)");
        }
        Some(text)
    }

    /// Writes a refusal to ACL LOG. An entry names the client, so a timer, whose context has none, writes none.
    pub fn log_refusal(&self, ctx: &Context, object: &[u8], reason: Reason) {
        if !call::has_user(ctx) {
            return;
        }
        let Some(known) = self.known() else {
            return;
        };
        let reason = match reason {
            Reason::Command => COMMAND,
            Reason::Key => KEY,
            Reason::Other(other) => other,
        };
        let object = keys::string(object);
        // SAFETY: a live context of a client, a user that is there, a live object; the server copies what it
        // keeps.
        unsafe {
            api!(RedisModule_ACLAddLogEntry(
                ctx.ctx,
                known.0.as_ptr(),
                object.inner,
                reason
            ));
        }
    }
}

/// Makes an ACL category, while the module is loaded. `None` on servers that do not let modules have any, such as
/// Redis 7.0; false if there is no room for it.
pub fn add_category(ctx: &Context, name: &str) -> Option<bool> {
    // SAFETY: read while the module is loaded, after the server has filled it in.
    let add = unsafe { raw::RedisModule_AddACLCategory }?;
    let name = CString::new(name).ok()?;
    // SAFETY: a live context, and a name that the server copies.
    Some(unsafe { add(ctx.ctx, name.as_ptr()) } == raw::REDISMODULE_OK as c_int)
}

/// Puts a command of the module into categories, while it is loaded. `None` where `add_category` is that, too;
/// false if the server refuses.
pub fn assign_categories(ctx: &Context, command: &CStr, categories: &str) -> Option<bool> {
    // SAFETY: as in `add_category`.
    let assign = unsafe { raw::RedisModule_SetCommandACLCategories }?;
    let Ok(categories) = CString::new(categories) else {
        return Some(false);
    };
    // SAFETY: a live context, and strings that end with a NUL; a command that is not ours is null.
    let status = unsafe {
        let command = api!(RedisModule_GetCommand(ctx.ctx, command.as_ptr()));
        if command.is_null() {
            return Some(false);
        }
        assign(command, categories.as_ptr())
    };
    Some(status == raw::REDISMODULE_OK as c_int)
}
