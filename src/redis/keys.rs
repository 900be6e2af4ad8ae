//! Open keys, and the logical database a context is in.

use super::api::api;
use super::others;
use super::recurring::Recurring;
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{Context, RedisString, raw};
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::null_mut;

/// A key opened for reading or writing, closed when dropped. Its value is read through a shared borrow and changed
/// through a unique one, so that nothing changes below an iterator.
///
/// Opening an expired key deletes it, so look at nothing that was cached of a key before it is open.
///
/// One thing the compiler cannot see: the server keeps an open key's value by its address, and looks at it also to close
/// the key. So while a key is open, do not run a command that deletes or replaces that very key, or gives it a time to
/// live, do not open it a second time to change it, and let no other module run ([`others`]), which may do so.
pub struct Key<'c> {
    raw: *mut raw::RedisModuleKey,
    ctx: PhantomData<&'c Context>,
}

/// The type of a key's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Hash,
    Stream,
    /// A value of a module's data type.
    Module,
}

impl<'c> Key<'c> {
    /// No key, which is as one that is missing.
    pub fn closed() -> Self {
        Key {
            raw: null_mut(),
            ctx: PhantomData,
        }
    }

    pub fn read(ctx: &'c Context, name: &RedisString) -> Self {
        Self::open(ctx, name, raw::REDISMODULE_READ)
    }

    /// For a look that does not use the key: on servers that support it (Redis 7.2, Valkey), it does not count as an
    /// access, sends no event, and does not delete a key that has expired.
    pub fn glance(ctx: &'c Context, name: &RedisString) -> Self {
        let quietly = raw::REDISMODULE_OPEN_KEY_NOTOUCH
            | raw::REDISMODULE_OPEN_KEY_NONOTIFY
            | raw::REDISMODULE_OPEN_KEY_NOSTATS
            | raw::REDISMODULE_OPEN_KEY_NOEXPIRE;
        Self::open(ctx, name, raw::REDISMODULE_READ | quietly)
    }

    /// Changes nothing by itself; signal, replicate and notify what is changed through it.
    pub fn write(ctx: &'c Context, name: &RedisString) -> Self {
        Self::open(ctx, name, raw::REDISMODULE_READ | raw::REDISMODULE_WRITE)
    }

    fn open(ctx: &'c Context, name: &RedisString, mode: u32) -> Self {
        // SAFETY: the context and the name live throughout the call, which retains the name.
        let key = unsafe { api!(RedisModule_OpenKey(ctx.ctx, name.inner, mode as c_int)) };
        let key = Key {
            raw: key.cast(),
            ctx: PhantomData,
        };
        if key.is_missing() {
            // It may have just expired. And whoever writes to it makes it, which the server tells of.
            others::may_run();
        }
        key
    }

    /// Runs something while the key is closed, and opens it again for writing. It may be missing then.
    pub fn closed_while<T>(
        &mut self,
        ctx: &'c Context,
        name: &RedisString,
        run: impl FnOnce() -> T,
    ) -> T {
        self.close();
        let result = run();
        *self = Self::write(ctx, name);
        result
    }

    fn close(&mut self) {
        let raw = std::mem::replace(&mut self.raw, null_mut());
        // SAFETY: opened once, closed once; null is allowed, and stands for a missing key from now on.
        unsafe { api!(RedisModule_CloseKey(raw)) }
    }

    /// Null for a missing key that was opened for reading; the API takes that everywhere it is used.
    pub(super) fn raw(&self) -> *mut raw::RedisModuleKey {
        self.raw
    }

    fn type_number(&self) -> c_int {
        // SAFETY: an open key or null, which is of the empty type.
        unsafe { api!(RedisModule_KeyType(self.raw)) }
    }

    pub fn is_missing(&self) -> bool {
        self.type_number() == raw::REDISMODULE_KEYTYPE_EMPTY as c_int
    }

    /// Whether there is such a key; one that holds something else is an error.
    pub fn holds(&self, name: &[u8], wanted: Type, expected: &'static str) -> Result<bool, Error> {
        let wanted = match wanted {
            Type::Hash => raw::REDISMODULE_KEYTYPE_HASH,
            Type::Stream => raw::REDISMODULE_KEYTYPE_STREAM,
            Type::Module => raw::REDISMODULE_KEYTYPE_MODULE,
        };
        match self.type_number() {
            found if found == raw::REDISMODULE_KEYTYPE_EMPTY as c_int => Ok(false),
            found if found == wanted as c_int => Ok(true),
            _ => Err(wrong_type(name, expected)),
        }
    }

    /// The number of a hash's fields, a stream's entries.
    pub fn length(&self) -> usize {
        // SAFETY: an open key or null, which has the length 0.
        unsafe { api!(RedisModule_ValueLength(self.raw)) }
    }

    /// Deletes the key and its time to live; false if there was none, or if it is open for reading alone.
    pub fn delete(&mut self) -> bool {
        if self.is_missing() {
            return false;
        }
        others::may_run();
        // SAFETY: an open key that holds something; the server refuses one that is not open for writing.
        unsafe { api!(RedisModule_DeleteKey(self.raw)) == raw::REDISMODULE_OK as c_int }
    }

    /// Gives a key that holds something a time to live, which ends at this time in ms since 1970.
    pub fn expire_at(&mut self, at_ms: i64) {
        if !self.is_missing() {
            // SAFETY: an open key that holds something; the server refuses one that is not open for writing.
            unsafe { api!(RedisModule_SetAbsExpire(self.raw, at_ms)) };
        }
    }

    /// Takes a key's time to live away; false if it had none.
    pub fn persist(&mut self) -> bool {
        let forever = raw::REDISMODULE_NO_EXPIRE.into();
        if self.is_missing() {
            return false;
        }
        // SAFETY: an open key that holds something; the server refuses to change one that is not open for
        // writing.
        unsafe {
            api!(RedisModule_GetExpire(self.raw)) != forever
                && api!(RedisModule_SetExpire(self.raw, forever)) == raw::REDISMODULE_OK as c_int
        }
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        self.close();
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
    RedisString::create_from_slice(null_mut(), bytes)
}

/// The same of a name that comes again and again, as those of streams and fields do: it is made once and shared then.
pub fn name(bytes: &[u8]) -> RedisString {
    static NAMES: Recurring<RedisString> = Recurring::new();
    match NAMES.get(bytes, || Some(string(bytes))) {
        Some(kept) => RedisString::new(None, kept.inner),
        None => string(bytes),
    }
}

/// The database that a command runs in. Within `with_database` do not ask: in MULTI, Valkey 9.1 answers with the
/// transaction's database there, not with the one that was selected.
pub fn current_database(ctx: &Context) -> c_int {
    // SAFETY: a live context.
    unsafe { api!(RedisModule_GetSelectedDb(ctx.ctx)) }
}

/// Runs something in another logical database, and comes back, also from a panic: the guard catches it, and the
/// client goes on. `None` for the index is this one; for the result, that there is no such database. It cannot be
/// nested, since `current_database` cannot.
pub fn with_database<T>(
    ctx: &Context,
    database: Option<u32>,
    run: impl FnOnce() -> T,
) -> Option<T> {
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
