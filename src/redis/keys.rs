//! Open keys, and the logical database a context is in.

use super::api::api;
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{raw, Context, RedisString};
use std::ffi::c_int;

/// A key opened for reading or writing, closed when dropped.
///
/// Opening an expired key deletes it, so look at nothing that was cached of a key before it is open.
pub struct Key {
    raw: *mut raw::RedisModuleKey,
}

impl Key {
    pub fn read(ctx: &Context, name: &RedisString) -> Key {
        Self::open(ctx, name, raw::REDISMODULE_READ)
    }

    /// For a look that is no use of the key: where the server knows how (Redis 7.2, Valkey), it neither counts
    /// as one, nor is told of, nor deletes a key that has expired.
    pub fn glance(ctx: &Context, name: &RedisString) -> Key {
        let quietly = raw::REDISMODULE_OPEN_KEY_NOTOUCH
            | raw::REDISMODULE_OPEN_KEY_NONOTIFY
            | raw::REDISMODULE_OPEN_KEY_NOSTATS
            | raw::REDISMODULE_OPEN_KEY_NOEXPIRE;
        Self::open(ctx, name, raw::REDISMODULE_READ | quietly)
    }

    /// Changes nothing by itself; signal, replicate and notify what is changed through it.
    pub fn write(ctx: &Context, name: &RedisString) -> Key {
        Self::open(ctx, name, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE)
    }

    fn open(ctx: &Context, name: &RedisString, mode: u32) -> Key {
        // SAFETY: the context and the name live throughout the call, which retains the name.
        let key = unsafe { api!(RedisModule_OpenKey(ctx.ctx, name.inner, mode as c_int)) };
        Key { raw: key.cast() }
    }

    /// Null for a missing key that was opened for reading; the API takes that everywhere it is used.
    pub fn raw(&self) -> *mut raw::RedisModuleKey {
        self.raw
    }

    fn kind(&self) -> u32 {
        // SAFETY: an open key or null, which is of the empty type.
        unsafe { api!(RedisModule_KeyType(self.raw)) as u32 }
    }

    pub fn is_missing(&self) -> bool {
        self.kind() == raw::REDISMODULE_KEYTYPE_EMPTY as u32
    }

    /// Whether there is such a key; one that holds something else is an error.
    pub fn holds(&self, name: &[u8], kind: isize, expected: &'static str) -> Result<bool, Error> {
        if self.is_missing() {
            Ok(false)
        } else if self.kind() == kind as u32 {
            Ok(true)
        } else {
            Err(wrong_type(name, expected))
        }
    }

    /// The number of a hash's fields, a stream's entries.
    pub fn length(&self) -> usize {
        // SAFETY: an open key or null, which has the length 0.
        unsafe { api!(RedisModule_ValueLength(self.raw)) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once; null is allowed.
        unsafe { api!(RedisModule_CloseKey(self.raw)) }
    }
}

pub fn wrong_type(key: &[u8], expected: &'static str) -> Error {
    Error::WrongType {
        key: Quoted::new(key),
        database: None,
        expected,
    }
}

/// A string of the server's that belongs to no context, so it may outlive this command.
pub fn string(bytes: &[u8]) -> RedisString {
    RedisString::create_from_slice(std::ptr::null_mut(), bytes)
}

/// The database that a command runs in. Within `in_database` do not ask: in MULTI, Valkey 9.1 answers with the
/// transaction's database there, not with the one that was selected.
pub fn current_database(ctx: &Context) -> c_int {
    // SAFETY: a live context.
    unsafe { api!(RedisModule_GetSelectedDb(ctx.ctx)) }
}

/// Runs something in another logical database, and comes back, also from a panic: the guard catches it, and the
/// client goes on. `None` for the index is this one; for the result, that there is no such database. It cannot be
/// nested, since `current_database` cannot.
pub fn in_database<T>(ctx: &Context, database: Option<u32>, run: impl FnOnce() -> T) -> Option<T> {
    let Some(index) = database else {
        return Some(run());
    };
    let database = c_int::try_from(index).ok()?;
    let back = Back {
        ctx,
        database: current_database(ctx),
    };
    if !select(ctx, database) {
        return None;
    }
    #[cfg(feature = "deliberate-panic")]
    super::guard::deliberate::strike("another database");
    let result = run();
    drop(back);
    Some(result)
}

/// Comes back to a database when dropped.
struct Back<'c> {
    ctx: &'c Context,
    database: c_int,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        select(self.ctx, self.database);
    }
}

/// Whether there is such a database.
fn select(ctx: &Context, database: c_int) -> bool {
    // SAFETY: a live context; an index out of range is refused by the server.
    let status = unsafe { api!(RedisModule_SelectDb(ctx.ctx, database)) };
    status == raw::REDISMODULE_OK as c_int
}
