//! INFO: what the server tells of itself, and what it tells of the module.

use super::api::api;
use super::guard;
use redis_module::{Context, raw};
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

/// A section of INFO, freed when dropped.
pub struct ServerInfo<'c> {
    ctx: &'c Context,
    raw: *mut raw::RedisModuleServerInfoData,
}

impl<'c> ServerInfo<'c> {
    pub fn section(ctx: &'c Context, name: &CStr) -> Option<Self> {
        // SAFETY: a live context, and a name that ends with a NUL.
        let raw = unsafe { api!(RedisModule_GetServerInfo(ctx.ctx, name.as_ptr())) };
        (!raw.is_null()).then_some(ServerInfo { ctx, raw })
    }

    pub fn field(&self, name: &CStr) -> Option<&[u8]> {
        // SAFETY: what the server has told; a field's text lives as long.
        unsafe {
            let field = api!(RedisModule_ServerInfoGetFieldC(self.raw, name.as_ptr()));
            (!field.is_null()).then(|| CStr::from_ptr(field).to_bytes())
        }
    }
}

impl Drop for ServerInfo<'_> {
    fn drop(&mut self) {
        // SAFETY: received once, freed once.
        unsafe { api!(RedisModule_FreeServerInfo(self.ctx.ctx, self.raw)) }
    }
}

/// The module's part of INFO.
pub trait InfoSource {
    fn tell(section: &Section);
}

/// The section of INFO that is the module's own.
pub struct Section<'i> {
    ctx: *mut raw::RedisModuleInfoCtx,
    server: PhantomData<&'i ()>,
}

impl Section<'_> {
    pub fn field(&self, name: &CStr, value: u64) {
        // SAFETY: the context that the server has passed, which lives as long as this; the name ends with a NUL.
        unsafe {
            api!(RedisModule_InfoAddFieldULongLong(
                self.ctx,
                name.as_ptr(),
                value
            ))
        };
    }
}

/// Also replaces the crate's handler, which allocates in crash reports.
pub fn register<I: InfoSource>(ctx: &Context) -> bool {
    // SAFETY: a live context, and a function that stays as long as the module is loaded.
    let status = unsafe { api!(RedisModule_RegisterInfoFunc(ctx.ctx, Some(info::<I>))) };
    status == raw::REDISMODULE_OK as c_int
}

unsafe extern "C" fn info<I: InfoSource>(
    ctx: *mut raw::RedisModuleInfoCtx,
    _for_crash_report: c_int,
) {
    let _ = guard::catch("INFO", || {
        // SAFETY: the context that the server passes. The section's empty name makes it the module's own.
        let status = unsafe { api!(RedisModule_InfoAddSection(ctx, c"".as_ptr())) };
        // Else it was not asked for.
        if status == raw::REDISMODULE_OK as c_int {
            I::tell(&Section {
                ctx,
                server: PhantomData,
            });
        }
    });
}
