//! What a user may do. The server checks the keys that a command names, before it runs; here is checked
//! what a declaration names, when it is declared, a key behind DEAD, and once more who has waited.

use super::command::{Call, Caller, Command};
use crate::redis::{api, api::api, call, keys};
use dirty_streams_core::acl::{self, Pattern};
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, CStr};

pub use dirty_streams_core::acl::Access;

/// Whether this comes from a primary or an AOF: it was checked when it happened, and must happen here.
pub fn is_trusted(ctx: &Context) -> bool {
    // SAFETY: a live context.
    let flags = unsafe { api!(RedisModule_GetContextFlags(ctx.ctx)) } as u32;
    let trusted = raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING;
    flags & trusted != 0
}

/// The name of the user behind a context, which it may outlive.
pub fn user_name(ctx: &Context) -> Option<RedisString> {
    if !call::has_user(ctx) {
        return None;
    }
    // SAFETY: there is a user, else the server would crash here; the name is freed when dropped.
    unsafe {
        let name = api!(RedisModule_GetCurrentUserName(ctx.ctx));
        let none = std::ptr::null_mut();
        Some(RedisString::from_redis_module_string(none, name))
    }
}

/// Why something is refused, as ACL LOG tells it.
type Reason = raw::RedisModuleACLLogEntryReason;
const KEY: Reason = raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY;
const COMMAND: Reason = raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_CMD;

/// Whether a user may send a command in a database. Valkey has it from 9.1 on, the first server that limits users
/// to some databases; what others have for commands refuses everything there to who is limited.
type CheckPermissions = unsafe extern "C" fn(
    *mut raw::RedisModuleUser,
    *mut *mut raw::RedisModuleString,
    c_int,
    c_int,
    *mut Reason,
) -> c_int;

fn check_permissions() -> Option<CheckPermissions> {
    let function = api::of_valkey(c"ValkeyModule_ACLCheckPermissions")?;
    // SAFETY: the type that the server declares the function with.
    Some(unsafe {
        std::mem::transmute::<*mut std::ffi::c_void, CheckPermissions>(function.as_ptr())
    })
}

/// The rights of who is behind a call. What is refused is in ACL LOG, as is what the server refuses.
pub struct Rights<'c> {
    ctx: &'c Context,
    user: Option<User>,
}

/// A user by name; null for one that another module has made for itself. What that one may do cannot be
/// looked at, so it may not do what the server has not looked at either.
struct User {
    name: RedisString,
    raw: *mut raw::RedisModuleUser,
}

impl<'c> Rights<'c> {
    pub fn of(call: &'c Call) -> Self {
        let name = match call.caller {
            Caller::Own => user_name(call.ctx),
            Caller::Waiting(name) => name.map(keys::string),
        };
        let user = name.map(|name| {
            // SAFETY: a live name; the user is freed when dropped, before the command ends.
            let raw = unsafe { api!(RedisModule_GetModuleUserFromUserName(name.inner)) };
            User { name, raw }
        });
        Rights {
            ctx: call.ctx,
            user,
        }
    }

    /// Refuses unless this key may be read, or written.
    pub fn check(&self, access: Access, key: &[u8]) -> Result<(), Error> {
        match &self.user {
            Some(user) if !user.may(access, key) => Err(self.refuse(user, access, key)),
            _ => Ok(()),
        }
    }

    /// As `check`, of all keys of this database that begin with the prefix; ACL LOG has them as `prefix*`.
    pub fn check_prefix(
        &self,
        access: Access,
        prefix: &[u8],
        database: c_int,
    ) -> Result<(), Error> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        if user.may(access, prefix) && user.may_all(self.ctx, access, prefix, database) {
            return Ok(());
        }
        self.log(user, &[prefix, b"*"].concat(), KEY);
        Err(Error::MayNotAll {
            access,
            prefix: Quoted::new(prefix),
            pattern: Pattern::new(access, prefix),
        })
    }

    fn refuse(&self, user: &User, access: Access, key: &[u8]) -> Error {
        self.log(user, key, KEY);
        match access {
            Access::Read => Error::MayNotRead(Quoted::new(key)),
            Access::Write => Error::MayNotWrite(Quoted::new(key)),
        }
    }

    /// Refuses who may not write to a stream in the database where it lives. Only servers that limit users to
    /// databases refuse any: who may there neither send this command about this key, nor append by hand.
    pub fn check_database(
        &self,
        command: &CStr,
        key: &[u8],
        database: c_int,
        stream: &[u8],
    ) -> Result<(), Error> {
        let (Some(user), Some(check)) = (&self.user, check_permissions()) else {
            return Ok(());
        };
        let ours = [command.to_bytes(), key];
        let by_hand: [&[u8]; 5] = [b"XADD", stream, b"*", b"field", b"value"];
        // Whose rights cannot be looked at may do only what the server has looked at.
        let refused = match user.raw.is_null() {
            true => Some(KEY),
            false => user
                .refusal(check, &ours, database)
                .filter(|_| user.refusal(check, &by_hand, database).is_some()),
        };
        let Some(reason) = refused else {
            return Ok(());
        };
        self.log(user, stream, reason);
        Err(Error::MayNotUseDatabase {
            index: database,
            stream: Quoted::new(stream),
        })
    }

    /// Whether a command that has waited may still run. That is asked of its first words alone: they
    /// hold all that a right can be about.
    pub fn may_still_run<C: Command>(&self, call: &Call) -> bool {
        // Whose rights cannot be looked at had them when the command was sent.
        let Some(user) = self.user.as_ref().filter(|user| !user.raw.is_null()) else {
            return true;
        };
        self.refusal::<C>(user, call).is_none()
    }

    fn refusal<C: Command>(&self, user: &User, call: &Call) -> Option<Reason> {
        let args = call.args.iter().take(C::MIN_ARGS).copied();
        let words: Vec<&[u8]> = [C::NAME.to_bytes(), &call.key]
            .into_iter()
            .chain(args)
            .collect();
        match check_permissions() {
            Some(check) => user.refusal(check, &words, keys::current_database(call.ctx)),
            None => user.refusal_anywhere(&words),
        }
    }

    /// Refuses one that may not.
    pub fn check_still<C: Command>(&self, call: &Call) -> Result<(), Error> {
        let Some(user) = self
            .user
            .as_ref()
            .filter(|_| !self.may_still_run::<C>(call))
        else {
            return Ok(());
        };
        let may_key = user.may(Access::Read, &call.key) && user.may(Access::Write, &call.key);
        let (object, reason): (&[u8], _) = match may_key {
            true => (C::NAME.to_bytes(), COMMAND),
            false => (&call.key, KEY),
        };
        self.log(user, object, reason);
        Err(Error::MayNoLongerRead(Quoted::new(&call.key)))
    }

    fn log(&self, user: &User, object: &[u8], reason: Reason) {
        // A timer's context: ACL LOG tells of the client, which is refused again in its own.
        if !call::has_user(self.ctx) {
            return;
        }
        let object = keys::string(object);
        if !user.raw.is_null() {
            // SAFETY: a live context, user and object; the server copies what it keeps.
            unsafe {
                api!(RedisModule_ACLAddLogEntry(
                    self.ctx.ctx,
                    user.raw,
                    object.inner,
                    reason
                ));
            }
        }
    }
}

impl User {
    /// Why the user may not send this command in this database. The user must be there.
    fn refusal(&self, check: CheckPermissions, words: &[&[u8]], database: c_int) -> Option<Reason> {
        let mut reason = COMMAND;
        let status = with_argv(words, |argv, argc| {
            // SAFETY: a user that is there, and live words.
            unsafe { check(self.raw, argv, argc, database, &mut reason) }
        });
        (status != raw::REDISMODULE_OK as c_int).then_some(reason)
    }

    /// The same, on servers where no user is limited to databases.
    fn refusal_anywhere(&self, words: &[&[u8]]) -> Option<Reason> {
        let status = with_argv(words, |argv, argc| {
            // SAFETY: as above.
            unsafe { api!(RedisModule_ACLCheckCommandPermissions(self.raw, argv, argc)) }
        });
        (status != raw::REDISMODULE_OK as c_int).then_some(COMMAND)
    }

    fn may_all(&self, ctx: &Context, access: Access, prefix: &[u8], database: c_int) -> bool {
        let text = self.acl(ctx);
        text.is_some_and(|text| acl::covers(&text, access, prefix, database))
    }

    /// The text of the user's ACL, as far as it is about keys.
    fn acl(&self, ctx: &Context) -> Option<Vec<u8>> {
        if self.raw.is_null() {
            return None;
        }
        // SAFETY: read after the server has filled it in.
        let Some(text) = (unsafe { raw::RedisModule_GetModuleUserACLString }) else {
            return self.asked_acl(ctx);
        };
        // SAFETY: a user that is there; the text is freed when dropped.
        let text =
            unsafe { RedisString::from_redis_module_string(std::ptr::null_mut(), text(self.raw)) };
        Some(text.to_vec())
    }

    /// The same from Redis 7.0.0 to 7.0.5, which do not tell it to modules.
    fn asked_acl(&self, ctx: &Context) -> Option<Vec<u8>> {
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

    fn may(&self, access: Access, key: &[u8]) -> bool {
        let flags = match access {
            Access::Read => raw::REDISMODULE_CMD_KEY_ACCESS,
            Access::Write => {
                raw::REDISMODULE_CMD_KEY_INSERT
                    | raw::REDISMODULE_CMD_KEY_UPDATE
                    | raw::REDISMODULE_CMD_KEY_DELETE
            }
        };
        let key = keys::string(key);
        // SAFETY: a user that is there, and a live key.
        !self.raw.is_null()
            && unsafe {
                api!(RedisModule_ACLCheckKeyPermissions(
                    self.raw,
                    key.inner,
                    flags as c_int
                ))
            } == raw::REDISMODULE_OK as c_int
    }
}

/// Words as the server takes them.
fn with_argv<T>(
    words: &[&[u8]],
    run: impl FnOnce(*mut *mut raw::RedisModuleString, c_int) -> T,
) -> T {
    let words: Vec<RedisString> = words.iter().map(|word| keys::string(word)).collect();
    let mut argv: Vec<*mut raw::RedisModuleString> = words.iter().map(|word| word.inner).collect();
    let argc = c_int::try_from(argv.len()).unwrap_or(0);
    run(argv.as_mut_ptr(), argc)
}

impl Drop for User {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: received once, freed once.
            unsafe { api!(RedisModule_FreeModuleUser(self.raw)) }
        }
    }
}
