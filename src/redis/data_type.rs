//! A data type of the module's own: values that are shared, saved, rewritten, measured, digested and copied.

use super::api::api;
use super::guard;
use super::keys::{self, Key};
use redis_module::native_types::RedisType;
use redis_module::{Context, RedisString, raw};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::Arc;

/// A value of a data type, and the names under which a panic of each callback stands in the log. The server may
/// free it on a thread of its own.
pub trait Value: Send + Sync + Sized + 'static {
    /// Nine characters.
    const NAME: &'static str;
    /// Of the bytes in an RDB file or a DUMP, as they are written now.
    const ENCODING_VERSION: i32;
    const ENTRIES: Entries;
    /// The command that makes a value in an AOF. Its key comes first, then what `rewrite` tells.
    const COMMAND: &'static CStr;

    /// Writes it as an RDB file holds it.
    fn save(&self, writer: &mut PayloadWriter);

    /// Makes a value of what `save` wrote in this encoding version; `None` if that is bad.
    fn load(version: i32, reader: &mut PayloadReader) -> Option<Self>;

    /// Tells the arguments of each command that makes it, one command after the other.
    fn rewrite(&self, command: &mut dyn FnMut(&[&[u8]]));

    /// Tells what makes it different from others.
    fn digest(&self, part: &mut dyn FnMut(&[u8]));

    fn memory(&self) -> usize;

    /// How many allocations freeing it takes, about: with many the server frees it on another thread.
    fn free_effort(&self) -> usize;

    /// A value leaves its key: deleted, renamed, moved, expired or overwritten.
    fn on_unlink() {}

    /// The value of a copied key: this one, if it never changes.
    fn copy(shared: &Arc<Self>) -> Arc<Self>;
}

/// The names of the callbacks in the log, for panics.
pub struct Entries {
    pub load: &'static str,
    pub save: &'static str,
    pub rewrite: &'static str,
    pub measure: &'static str,
    pub digest: &'static str,
    pub free: &'static str,
    pub copy: &'static str,
}

/// One value in an RDB file or a payload of RESTORE.
pub struct PayloadReader<'r> {
    rdb: *mut raw::RedisModuleIO,
    server: PhantomData<&'r ()>,
}

/// A value on its way into an RDB file or a payload of DUMP.
pub struct PayloadWriter<'r> {
    rdb: *mut raw::RedisModuleIO,
    server: PhantomData<&'r ()>,
}

impl PayloadWriter<'_> {
    pub fn unsigned(&mut self, number: u64) {
        raw::save_unsigned(self.rdb, number);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        raw::save_slice(self.rdb, bytes);
    }
}

impl PayloadReader<'_> {
    pub fn unsigned(&mut self) -> Option<u64> {
        raw::load_unsigned(self.rdb).ok()
    }

    pub fn bytes(&mut self) -> Option<impl AsRef<[u8]> + use<>> {
        raw::load_string_buffer(self.rdb).ok()
    }
}

pub struct DataType<V> {
    raw: RedisType,
    values: PhantomData<fn() -> V>,
}

impl<V: Value> DataType<V> {
    pub const fn new() -> Self {
        let methods = raw::RedisModuleTypeMethods {
            version: raw::REDISMODULE_TYPE_METHOD_VERSION as u64,
            rdb_load: Some(rdb_load::<V>),
            rdb_save: Some(rdb_save::<V>),
            aof_rewrite: Some(aof_rewrite::<V>),
            mem_usage: Some(mem_usage::<V>),
            digest: Some(digest::<V>),
            free: Some(free::<V>),
            aux_load: None,
            aux_save: None,
            aux_save_triggers: 0,
            free_effort: Some(free_effort::<V>),
            unlink: Some(unlink::<V>),
            copy: Some(copy::<V>),
            defrag: None,
            mem_usage2: None,
            free_effort2: None,
            unlink2: None,
            copy2: None,
            aux_save2: None,
        };
        DataType {
            raw: RedisType::new(V::NAME, V::ENCODING_VERSION, methods),
            values: PhantomData,
        }
    }

    pub fn register(&self, ctx: &Context) -> bool {
        self.raw.create_data_type(ctx.ctx).is_ok()
    }

    /// Whether an open key holds such a value.
    pub fn is_of(&self, key: &Key) -> bool {
        // SAFETY: an open key or null; of one that is no module's value the type is null.
        let found = unsafe { api!(RedisModule_ModuleTypeGetType(key.raw())) };
        !found.is_null() && found == *self.raw.raw_type.borrow()
    }

    /// The value at an open key, if it is of this type. It is shared, not lent, since the key may be deleted next.
    pub fn get(&self, key: &Key) -> Option<Arc<V>> {
        if !self.is_of(key) {
            return None;
        }
        // SAFETY: an open key that holds a value of this type, which is what `boxed` made.
        unsafe {
            let value: *const Arc<V> = api!(RedisModule_ModuleTypeGetValue(key.raw())).cast();
            value.as_ref().cloned()
        }
    }

    /// Puts a value at a key that is open for writing, and replaces its present one.
    pub fn set(&self, key: &mut Key, value: Arc<V>) {
        let raw_type = *self.raw.raw_type.borrow();
        if raw_type.is_null() || key.raw().is_null() {
            return;
        }
        let value = boxed(value);
        // SAFETY: an open key; the value is of this type, and the key's from now on.
        let status = unsafe { api!(RedisModule_ModuleTypeSetValue(key.raw(), raw_type, value)) };
        if status != raw::REDISMODULE_OK as c_int {
            // SAFETY: boxed above, and nobody has taken it: the key is not open for writing.
            drop(unsafe { Box::from_raw(value.cast::<Arc<V>>()) });
        }
    }
}

/// A value as the server holds it, to which it belongs from now on.
fn boxed<V>(value: Arc<V>) -> *mut c_void {
    Box::into_raw(Box::new(value)).cast()
}

/// # Safety
/// The value must be one of this data type.
unsafe fn value<'v, V>(value: *const c_void) -> &'v Arc<V> {
    // SAFETY: as the caller promises.
    unsafe { &*value.cast::<Arc<V>>() }
}

unsafe extern "C" fn rdb_save<V: Value>(rdb: *mut raw::RedisModuleIO, saved: *mut c_void) {
    // In a forked child a panic ends the saving; where there is none (SAVE, DUMP) the value stays empty, and
    // loading says that it is bad.
    guard::save(V::ENTRIES.save, || {
        let mut writer = PayloadWriter {
            rdb,
            server: PhantomData,
        };
        // SAFETY: the server passes a value of this type.
        unsafe { value::<V>(saved) }.save(&mut writer);
    });
}

unsafe extern "C" fn rdb_load<V: Value>(
    rdb: *mut raw::RedisModuleIO,
    version: c_int,
) -> *mut c_void {
    let loaded = guard::catch(V::ENTRIES.load, || {
        let mut reader = PayloadReader {
            rdb,
            server: PhantomData,
        };
        Some(boxed(Arc::new(V::load(version, &mut reader)?)))
    });
    // Of null the server says that the payload is bad.
    loaded.flatten().unwrap_or(null_mut())
}

unsafe extern "C" fn aof_rewrite<V: Value>(
    aof: *mut raw::RedisModuleIO,
    key: *mut raw::RedisModuleString,
    rewritten: *mut c_void,
) {
    guard::save(V::ENTRIES.rewrite, || {
        // SAFETY: the server passes a value of this type.
        unsafe { value::<V>(rewritten) }.rewrite(&mut |args| {
            let args: Vec<RedisString> = args.iter().map(|arg| keys::string(arg)).collect();
            let argv: Vec<*mut raw::RedisModuleString> = args.iter().map(|arg| arg.inner).collect();
            // SAFETY: format `sv` takes a string, a pointer and a length, which live throughout the call.
            unsafe {
                api!(RedisModule_EmitAOF(
                    aof,
                    V::COMMAND.as_ptr(),
                    c"sv".as_ptr(),
                    key,
                    argv.as_ptr(),
                    argv.len(),
                ));
            }
        });
    });
}

unsafe extern "C" fn mem_usage<V: Value>(measured: *const c_void) -> usize {
    guard::catch(V::ENTRIES.measure, || {
        // SAFETY: the server passes a value of this type.
        unsafe { value::<V>(measured) }.memory()
    })
    .unwrap_or(0)
}

unsafe extern "C" fn digest<V: Value>(digest: *mut raw::RedisModuleDigest, digested: *mut c_void) {
    let _ = guard::catch(V::ENTRIES.digest, || {
        // SAFETY: the server passes a value of this type.
        unsafe { value::<V>(digested) }.digest(&mut |part| {
            // SAFETY: the digest the server passes, and bytes with their length.
            unsafe {
                api!(RedisModule_DigestAddStringBuffer(
                    digest,
                    part.as_ptr().cast::<c_char>(),
                    part.len(),
                ));
            }
        });
        // SAFETY: as above.
        unsafe { api!(RedisModule_DigestEndSequence(digest)) };
    });
}

unsafe extern "C" fn free<V: Value>(freed: *mut c_void) {
    let _ = guard::catch(V::ENTRIES.free, || {
        // SAFETY: a value of this type, boxed once, and given back by the server once.
        drop(unsafe { Box::from_raw(freed.cast::<Arc<V>>()) });
    });
}

unsafe extern "C" fn unlink<V: Value>(_key: *mut raw::RedisModuleString, _value: *const c_void) {
    let _ = guard::catch("a value that leaves its key", V::on_unlink);
}

unsafe extern "C" fn free_effort<V: Value>(
    _key: *mut raw::RedisModuleString,
    freed: *const c_void,
) -> usize {
    guard::catch(V::ENTRIES.measure, || {
        // SAFETY: the server passes a value of this type.
        unsafe { value::<V>(freed) }.free_effort()
    })
    .unwrap_or(1)
}

unsafe extern "C" fn copy<V: Value>(
    _from: *mut raw::RedisModuleString,
    _to: *mut raw::RedisModuleString,
    copied: *const c_void,
) -> *mut c_void {
    let copy = guard::catch(V::ENTRIES.copy, || {
        // SAFETY: the server passes a value of this type.
        boxed(V::copy(unsafe { value::<V>(copied) }))
    });
    // Of null the server says that it cannot be copied.
    copy.unwrap_or(null_mut())
}
