//! Hashes, field by field. The server refuses keys that hold something else, or that are not open for writing.

use super::api::api;
use super::guard;
use super::keys::Key;
use dirty_streams_core::error::Error;
use redis_module::{RedisString, raw};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Where a scan is; it serves one scan after the other.
pub struct ScanCursor {
    raw: *mut raw::RedisModuleScanCursor,
}

impl ScanCursor {
    pub fn new() -> Self {
        ScanCursor {
            // SAFETY: takes nothing; destroyed when this is dropped.
            raw: unsafe { api!(RedisModule_ScanCursorCreate()) },
        }
    }
}

impl Drop for ScanCursor {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        unsafe { api!(RedisModule_ScanCursorDestroy(self.raw)) }
    }
}

/// A scan that is under way.
struct Scan<F> {
    each: F,
    /// No field was left out by a panic.
    is_whole: bool,
}

impl Key<'_> {
    /// Hands over every field and its value, in no order; an error if one was left out.
    pub fn scan(
        &self,
        cursor: &mut ScanCursor,
        each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Error> {
        let mut scan = Scan {
            each,
            is_whole: true,
        };
        scan_with(self, cursor, &mut scan);
        match scan.is_whole {
            true => Ok(()),
            false => Err(Error::Internal),
        }
    }

    pub fn set_field(&mut self, field: &RedisString, value: &RedisString) {
        self.hash_set(field, value.inner);
    }

    /// A hash without fields is gone, and its time to live with it.
    pub fn remove_field(&mut self, field: &RedisString) {
        // REDISMODULE_HASH_DELETE, a macro that bindings do not have: a value that is no pointer.
        self.hash_set(field, std::ptr::without_provenance_mut(1));
    }

    fn hash_set(&mut self, field: &RedisString, value: *mut raw::RedisModuleString) {
        let end: *mut raw::RedisModuleString = null_mut();
        let flags = raw::REDISMODULE_HASH_NONE as c_int;
        // SAFETY: an open key or null; one pair of a field and a live value or the mark of no value, up to a
        // null.
        unsafe {
            api!(RedisModule_HashSet(
                self.raw(),
                flags,
                field.inner,
                value,
                end
            ))
        };
    }
}

fn scan_with<F: FnMut(&[u8], &[u8])>(key: &Key, cursor: &mut ScanCursor, scan: &mut Scan<F>) {
    let scan: *mut Scan<F> = scan;
    // SAFETY: an open key or null, a cursor of ours, and a scan that outlives the calls.
    unsafe {
        api!(RedisModule_ScanCursorRestart(cursor.raw));
        while api!(RedisModule_ScanKey(
            key.raw(),
            cursor.raw,
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
