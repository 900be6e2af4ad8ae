//! What a user may write. The server checks the keys a command names; the ones a declaration names are
//! checked here, once, when it is declared.

use super::{api::api, call, keys};
use crate::error::{Error, Quoted};
use redis_module::{raw, Context};
use std::ffi::c_int;

/// Whether this comes from a primary or an AOF: it was checked when it happened, and must happen here.
pub fn is_trusted(ctx: &Context) -> bool {
    // SAFETY: a live context.
    let flags = unsafe { api!(RedisModule_GetContextFlags(ctx.ctx)) } as u32;
    let trusted = raw::REDISMODULE_CTX_FLAGS_REPLICATED | raw::REDISMODULE_CTX_FLAGS_LOADING;
    flags & trusted != 0
}

/// Refuses unless the user behind the context may write all these keys, and says so in ACL LOG; where there
/// is no user, everything is allowed.
pub fn check_write<'k>(
    ctx: &Context,
    names: impl IntoIterator<Item = &'k [u8]>,
) -> Result<(), Error> {
    check(ctx, names.into_iter().map(|name| (name, name)))
}

/// As `check_write`, of the keys of a pattern, for all of which one stands.
pub fn check_write_all(ctx: &Context, pattern: &[u8], one: &[u8]) -> Result<(), Error> {
    check(ctx, [(one, pattern)])
}

/// Keys, and by which names they are told of.
fn check<'k>(
    ctx: &Context,
    names: impl IntoIterator<Item = (&'k [u8], &'k [u8])>,
) -> Result<(), Error> {
    if !call::has_user(ctx) {
        return Ok(());
    }
    let wanted = raw::REDISMODULE_CMD_KEY_ACCESS
        | raw::REDISMODULE_CMD_KEY_INSERT
        | raw::REDISMODULE_CMD_KEY_UPDATE
        | raw::REDISMODULE_CMD_KEY_DELETE;
    // SAFETY: there is a user, else the server would crash here; the name is freed when dropped, and
    // the user right after its last use.
    unsafe {
        let name = api!(RedisModule_GetCurrentUserName(ctx.ctx));
        let name = redis_module::RedisString::from_redis_module_string(ctx.ctx, name);
        let user = api!(RedisModule_GetModuleUserFromUserName(name.inner));
        let refused = names.into_iter().find(|(key, _)| {
            let key = keys::string(key);
            user.is_null()
                || api!(RedisModule_ACLCheckKeyPermissions(
                    user,
                    key.inner,
                    wanted as c_int
                )) != raw::REDISMODULE_OK as c_int
        });
        let refused = refused.map(|(_, told)| told);
        if !user.is_null() {
            if let Some(told) = refused {
                let (told, reason) = (
                    keys::string(told),
                    raw::RedisModuleACLLogEntryReason_REDISMODULE_ACL_LOG_KEY,
                );
                api!(RedisModule_ACLAddLogEntry(
                    ctx.ctx, user, told.inner, reason
                ));
            }
            api!(RedisModule_FreeModuleUser(user));
        }
        match refused {
            Some(told) => Err(Error::NoPermission(Quoted::new(told))),
            None => Ok(()),
        }
    }
}
