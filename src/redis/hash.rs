//! Hashes, field by field. The server refuses keys that hold something else, or that are not open for writing.

use super::api::api;
use super::guard;
use super::keys::{self, Key};
use dirty_streams_core::error::Error;
use redis_module::{RedisString, raw};
use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// Where a scan is. One serves one scan after the other, since no scan begins within another; it stays until the server
/// ends.
fn cursor() -> *mut raw::RedisModuleScanCursor {
    static CURSOR: AtomicPtr<raw::RedisModuleScanCursor> = AtomicPtr::new(null_mut());
    let mut cursor = CURSOR.load(Relaxed);
    if cursor.is_null() {
        // SAFETY: takes nothing. Whoever scans holds the server's lock, so there is only one of them.
        cursor = unsafe { api!(RedisModule_ScanCursorCreate()) };
        CURSOR.store(cursor, Relaxed);
    }
    cursor
}

/// A scan that is under way.
struct Scan<F> {
    each: F,
    /// No field was left out by a panic.
    is_whole: bool,
}

/// Fields in one call of the server's functions, which take any number, but not from Rust.
pub const AT_ONCE: usize = 4;

impl Key<'_> {
    /// Hands over every field and its value, in no order; an error if one was left out. `each` scans nothing.
    pub fn scan(&self, each: impl FnMut(&[u8], &[u8])) -> Result<(), Error> {
        let mut scan = Scan {
            each,
            is_whole: true,
        };
        scan_with(self, &mut scan);
        match scan.is_whole {
            true => Ok(()),
            false => Err(Error::Internal),
        }
    }

    /// Hands over the fields that exist of these, at most AT_ONCE.
    pub fn find(&self, names: &[&[u8]], mut each: impl FnMut(&[u8], &[u8])) {
        let mut fields = [null_mut(); AT_ONCE];
        let mut values = [null_mut::<raw::RedisModuleString>(); AT_ONCE];
        let strings: Vec<RedisString> = names
            .iter()
            .take(AT_ONCE)
            .map(|name| keys::name(name))
            .collect();
        fields
            .iter_mut()
            .zip(&strings)
            .for_each(|(field, string)| *field = string.inner);
        let [a, b, c, d] = fields;
        let [of_a, of_b, of_c, of_d] = values.each_mut().map(|value| &raw mut *value);
        let end: *mut raw::RedisModuleString = null_mut();
        let flags = raw::REDISMODULE_HASH_NONE as c_int;
        // SAFETY: an open key or null; pairs of a live string and a place for a new one, up to a null.
        unsafe {
            api!(RedisModule_HashGet(
                self.raw(),
                flags,
                a,
                of_a,
                b,
                of_b,
                c,
                of_c,
                d,
                of_d,
                end
            ))
        };
        let values = values.map(|value| {
            // Owned by whoever asked. Each is freed, also if one panics.
            (!value.is_null()).then(|| RedisString::from_redis_module_string(null_mut(), value))
        });
        for (name, value) in names.iter().zip(&values) {
            if let Some(value) = value {
                each(name, value);
            }
        }
    }

    pub fn set_fields<S: Deref<Target = RedisString>>(&mut self, fields: &[[S; 2]]) {
        for fields in fields.chunks(AT_ONCE) {
            let pairs = fields
                .iter()
                .map(|[field, value]| [field.inner, value.inner]);
            self.hash_set(pairs);
        }
    }

    /// A hash without fields is gone, and its time to live with it.
    pub fn remove_fields(&mut self, fields: &[RedisString]) {
        // REDISMODULE_HASH_DELETE, a macro that bindings do not have: a value that is no pointer.
        let gone = std::ptr::without_provenance_mut(1);
        for fields in fields.chunks(AT_ONCE) {
            self.hash_set(fields.iter().map(|field| [field.inner, gone]));
        }
    }

    /// At most AT_ONCE pairs of a field and its value or the mark of no value.
    fn hash_set(&mut self, pairs: impl Iterator<Item = [*mut raw::RedisModuleString; 2]>) {
        let mut args = [[null_mut(); 2]; AT_ONCE];
        args.iter_mut()
            .zip(pairs)
            .for_each(|(arg, pair)| *arg = pair);
        let [a, b, c, d] = args;
        let end: *mut raw::RedisModuleString = null_mut();
        let flags = raw::REDISMODULE_HASH_NONE as c_int;
        // SAFETY: an open key or null; pairs of live strings, up to a null.
        unsafe {
            api!(RedisModule_HashSet(
                self.raw(),
                flags,
                a[0],
                a[1],
                b[0],
                b[1],
                c[0],
                c[1],
                d[0],
                d[1],
                end
            ))
        };
    }
}

fn scan_with<F: FnMut(&[u8], &[u8])>(key: &Key, scan: &mut Scan<F>) {
    let scan: *mut Scan<F> = scan;
    let cursor = cursor();
    // SAFETY: an open key or null, a cursor that stays, and a scan that outlives the calls.
    unsafe {
        api!(RedisModule_ScanCursorRestart(cursor));
        while api!(RedisModule_ScanKey(
            key.raw(),
            cursor,
            Some(on_field::<F>),
            scan.cast(),
        )) != 0
        {}
    }
}

unsafe extern "C" fn on_field<F: FnMut(&[u8], &[u8])>(
    _key: *mut raw::RedisModuleKey,
    field: *mut raw::RedisModuleString,
    value: *mut raw::RedisModuleString,
    scan: *mut c_void,
) {
    // SAFETY: what `scan_with` passes in, which nobody else touches meanwhile.
    let scan = unsafe { &mut *scan.cast::<Scan<F>>() };
    if value.is_null() {
        return; // a set
    }
    let taken = guard::catch("a field", || {
        let field = RedisString::string_as_slice(field);
        (scan.each)(field, RedisString::string_as_slice(value));
    });
    scan.is_whole &= taken.is_some();
}
