//! The declaration as a data type of its own, `dirtydecl`: an RDB file, an AOF rewrite and DUMP hold it as
//! the arguments of DIRTY.DECLARE that make it.

use super::writes::Writes;
use crate::redis::keys::{self, wrong_type, Key};
use crate::redis::{api::api, guard, log};
use dirty_streams_core::args::Args;
use dirty_streams_core::encoding;
use dirty_streams_core::entity::declaration::{Declaration, Replacement};
use dirty_streams_core::error::{Error, Quoted};
use redis_module::native_types::RedisType;
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// Of the bytes in an RDB file or a DUMP, as this version of the module writes them. Which other ones it
/// reads stands in `read`: all earlier ones, so that every file of an older module loads.
const ENCODING_VERSION: i32 = 1;

const EXPECTED: &str = "a declaration";

/// Not one of the server's events, so its class is that of modules.
const DECLARED: &std::ffi::CStr = c"dirty.declare";

static TYPE: RedisType = RedisType::new(
    "dirtydecl",
    ENCODING_VERSION,
    raw::RedisModuleTypeMethods {
        version: raw::REDISMODULE_TYPE_METHOD_VERSION as u64,
        rdb_load: Some(rdb_load),
        rdb_save: Some(rdb_save),
        aof_rewrite: Some(aof_rewrite),
        mem_usage: Some(mem_usage),
        digest: Some(digest),
        free: Some(free),
        aux_load: None,
        aux_save: None,
        aux_save_triggers: 0,
        free_effort: None,
        unlink: None,
        copy: Some(copy),
        defrag: None,
        mem_usage2: None,
        free_effort2: None,
        unlink2: None,
        copy2: None,
        aux_save2: None,
    },
);

pub fn register(ctx: &Context) -> bool {
    TYPE.create_data_type(ctx.ctx).is_ok()
}

/// The entity type declared at a key. It is shared, not lent: opening other keys may expire them, and
/// another module may answer that by deleting this one.
pub fn load(ctx: &Context, name: &RedisString) -> Result<Arc<Declaration>, Error> {
    let key = Key::read(ctx, name);
    let declaration = get(&key, name)?.cloned();
    declaration.ok_or_else(|| Error::NoDeclaration(Quoted::new(name)))
}

/// Whether a key holds a declaration; `None` if there is no such key.
pub fn is_at(ctx: &Context, name: &RedisString) -> Option<bool> {
    let key = Key::glance(ctx, name);
    if key.is_missing() {
        return None;
    }
    // SAFETY: an open key; of one that is no module's value the type is null.
    let found = unsafe { api!(RedisModule_ModuleTypeGetType(key.raw())) };
    Some(found == raw_type())
}

/// Declares, unless the one that stands is the same or has a higher revision. A primary's word is always taken: a
/// replica or AOF may hold another revision than the primary compared with.
pub fn put(
    writes: &mut Writes,
    name: &RedisString,
    new: Declaration,
    is_trusted: bool,
) -> Result<Replacement, Error> {
    let ctx = writes.context();
    let replacement = {
        let key = Key::read(ctx, name);
        let standing = get(&key, name)?.map(Arc::as_ref);
        match is_trusted {
            true if standing == Some(&new) => Replacement::Same,
            true => Replacement::New,
            false => new.replaces(standing, name)?,
        }
    };
    if replacement != Replacement::New {
        return Ok(replacement);
    }
    let args = arguments(&new);
    let key = Key::write(ctx, name);
    let value = boxed(Arc::new(new));
    // SAFETY: a key open for writing; the value is of this type and belongs to the key from now on.
    unsafe { api!(RedisModule_ModuleTypeSetValue(key.raw(), raw_type(), value)) };
    writes.replicate(c"DIRTY.DECLARE", name, &args);
    writes.changed(name, raw::REDISMODULE_NOTIFY_MODULE, DECLARED, None);
    Ok(Replacement::New)
}

/// What is declared at an open key; the borrow lasts as long as the key is open.
fn get<'k>(key: &'k Key, name: &[u8]) -> Result<Option<&'k Arc<Declaration>>, Error> {
    if !key.holds(name, raw::REDISMODULE_KEYTYPE_MODULE, EXPECTED)? {
        return Ok(None);
    }
    // SAFETY: an open key; a value of our type is what `boxed` made.
    unsafe {
        if api!(RedisModule_ModuleTypeGetType(key.raw())) != raw_type() {
            return Err(wrong_type(name, EXPECTED));
        }
        let value: *const Arc<Declaration> = api!(RedisModule_ModuleTypeGetValue(key.raw())).cast();
        Ok(value.as_ref())
    }
}

fn raw_type() -> *mut raw::RedisModuleType {
    *TYPE.raw_type.borrow()
}

/// # Safety
/// The value must be one of this data type.
unsafe fn declaration<'v>(value: *const c_void) -> &'v Arc<Declaration> {
    // SAFETY: as the caller promises.
    unsafe { &*value.cast::<Arc<Declaration>>() }
}

/// A value of the data type, which belongs to the server from now on.
fn boxed(declaration: Arc<Declaration>) -> *mut c_void {
    Box::into_raw(Box::new(declaration)).cast()
}

/// Those of DIRTY.DECLARE that make it, behind the key.
fn arguments(declaration: &Declaration) -> Vec<RedisString> {
    let args = encoding::declaration::encode(declaration);
    args.iter().map(|arg| keys::string(arg)).collect()
}

unsafe extern "C" fn rdb_save(rdb: *mut raw::RedisModuleIO, value: *mut c_void) {
    // Encoded before anything is written. In a forked child a panic ends the saving; where there is none
    // (SAVE, DUMP) the value stays empty, and loading says that it is bad.
    guard::save("saving a declaration", || {
        // SAFETY: the server passes a value of this type.
        let args = encoding::declaration::encode(unsafe { declaration(value) });
        raw::save_unsigned(rdb, u64::try_from(args.len()).unwrap_or(0));
        for arg in args {
            raw::save_slice(rdb, &arg);
        }
    });
}

unsafe extern "C" fn rdb_load(rdb: *mut raw::RedisModuleIO, version: c_int) -> *mut c_void {
    let loaded = guard::catch("loading a declaration", || {
        Some(boxed(Arc::new(read(rdb, version)?)))
    });
    // Of null the server says that the payload is bad.
    loaded.flatten().unwrap_or(std::ptr::null_mut())
}

fn read(rdb: *mut raw::RedisModuleIO, version: c_int) -> Option<Declaration> {
    match version {
        1 => read_1(rdb),
        // What its bytes mean is not known, so none is read. The server says that it cannot load them.
        _ => {
            log::warning(&format!(
                "a declaration is stored in encoding version {version}, but this version of the module reads \
                 {ENCODING_VERSION} at most: load it with the version that wrote it, or a later one"
            ));
            None
        }
    }
}

/// An unsigned n, then n strings: the arguments of DIRTY.DECLARE.
fn read_1(rdb: *mut raw::RedisModuleIO) -> Option<Declaration> {
    let count = raw::load_unsigned(rdb).ok()?;
    let mut args = Vec::new(); // no capacity on the payload's word
    for _ in 0..count {
        args.push(raw::load_string_buffer(rdb).ok()?);
    }
    let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
    // No key is known here, and none is needed: what is saved has NAME and PREFIX.
    encoding::declaration::decode_stored(b"", Args::new(&args)).ok()
}

unsafe extern "C" fn aof_rewrite(
    aof: *mut raw::RedisModuleIO,
    key: *mut raw::RedisModuleString,
    value: *mut c_void,
) {
    guard::save("rewriting a declaration", || {
        // SAFETY: the server passes a value of this type.
        let args = arguments(unsafe { declaration(value) });
        let argv: Vec<*mut raw::RedisModuleString> = args.iter().map(|arg| arg.inner).collect();
        // SAFETY: format `sv` takes a string, a pointer and a length, which live throughout the call.
        unsafe {
            api!(RedisModule_EmitAOF(
                aof,
                c"DIRTY.DECLARE".as_ptr(),
                c"sv".as_ptr(),
                key,
                argv.as_ptr(),
                argv.len(),
            ));
        }
    });
}

unsafe extern "C" fn mem_usage(value: *const c_void) -> usize {
    guard::catch("measuring a declaration", || {
        // SAFETY: the server passes a value of this type.
        unsafe { declaration(value) }.memory()
    })
    .unwrap_or(0)
}

unsafe extern "C" fn digest(digest: *mut raw::RedisModuleDigest, value: *mut c_void) {
    let _ = guard::catch("digesting a declaration", || {
        // SAFETY: the server passes a value of this type.
        for arg in encoding::declaration::encode(unsafe { declaration(value) }) {
            // SAFETY: the digest the server passes, and bytes with their length.
            unsafe {
                api!(RedisModule_DigestAddStringBuffer(
                    digest,
                    arg.as_ptr().cast::<c_char>(),
                    arg.len(),
                ));
            }
        }
        // SAFETY: as above.
        unsafe { api!(RedisModule_DigestEndSequence(digest)) };
    });
}

/// May run on a background thread, which an Arc of plain data does not mind.
unsafe extern "C" fn free(value: *mut c_void) {
    let _ = guard::catch("freeing a declaration", || {
        // SAFETY: a value of this type, boxed once, and given back by the server once.
        drop(unsafe { Box::from_raw(value.cast::<Arc<Declaration>>()) });
    });
}

unsafe extern "C" fn copy(
    _from: *mut raw::RedisModuleString,
    _to: *mut raw::RedisModuleString,
    value: *const c_void,
) -> *mut c_void {
    let copied = guard::catch("copying a declaration", || {
        // SAFETY: the server passes a value of this type.
        boxed(Arc::clone(unsafe { declaration(value) }))
    });
    // Of null the server says that it cannot be copied.
    copied.unwrap_or(std::ptr::null_mut())
}
