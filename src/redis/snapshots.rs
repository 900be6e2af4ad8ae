//! Snapshots as native hashes: read in one pass, written field by field.

use super::keys::{self, Key};
use super::{api::api, writes::Writes};
use crate::entity::declaration::{Declaration, Stream};
use crate::entity::flush::{Snapshots, Write};
use crate::entity::snapshot::{Snapshot, MARKER};
use crate::error::{Error, Quoted};
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, c_void};

/// The stored snapshots of one entity type.
pub struct Stored<'c> {
    ctx: &'c Context,
    declaration: &'c Declaration,
    cursor: *mut raw::RedisModuleScanCursor,
}

impl<'c> Stored<'c> {
    pub fn new(ctx: &'c Context, declaration: &'c Declaration) -> Self {
        Stored {
            ctx,
            declaration,
            // SAFETY: freed when this is dropped.
            cursor: unsafe { api!(RedisModule_ScanCursorCreate()) },
        }
    }
}

impl Drop for Stored<'_> {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        unsafe { api!(RedisModule_ScanCursorDestroy(self.cursor)) }
    }
}

impl Snapshots for Stored<'_> {
    fn load(&mut self, id: &[u8]) -> Result<Option<Snapshot>, Error> {
        let name = self.declaration.snapshot_key(id);
        let here = keys::current_database(self.ctx);
        let is_stream = |stream: &Stream| stream.key == name && stream.is_in(here);
        if self.declaration.streams.iter().any(is_stream) {
            return Err(Error::SnapshotIsStream {
                id: Quoted::new(id),
                key: Quoted::new(&name),
            });
        }
        let key = Key::read(self.ctx, &keys::string(&name));
        if !key.holds(&name, raw::REDISMODULE_KEYTYPE_HASH, "a hash")? {
            return Ok(None);
        }
        let mut snapshot = Snapshot::with_capacity(key.length());
        let collected: *mut Snapshot = &mut snapshot;
        // SAFETY: an open hash, a cursor of ours, and a snapshot that outlives the scan.
        unsafe {
            api!(RedisModule_ScanCursorRestart(self.cursor));
            while api!(RedisModule_ScanKey(
                key.raw(),
                self.cursor,
                Some(collect),
                collected.cast(),
            )) != 0
            {}
        }
        Ok(Some(snapshot))
    }
}

unsafe extern "C" fn collect(
    _key: *mut raw::RedisModuleKey,
    field: *mut raw::RedisModuleString,
    value: *mut raw::RedisModuleString,
    collected: *mut c_void,
) {
    // SAFETY: the snapshot that `load` passes in, which nobody else touches meanwhile.
    let snapshot = unsafe { &mut *collected.cast::<Snapshot>() };
    let field = RedisString::string_as_slice(field);
    if field == MARKER {
        snapshot.marked = true;
    } else if !value.is_null() {
        snapshot.push(field, RedisString::string_as_slice(value));
    }
}

/// Applies a write to the snapshot of an entity. Nothing here can fail: the key was looked at before.
pub fn write(writes: &mut Writes, declaration: &Declaration, id: &[u8], write: &Write) {
    let ctx = writes.context();
    let name = keys::string(&declaration.snapshot_key(id));
    let key = Key::write(ctx, &name);
    match write {
        Write::Delete => {
            // SAFETY: a key open for writing.
            unsafe { api!(RedisModule_DeleteKey(key.raw())) };
            writes.replicate(c"DEL", &name, []);
            writes.changed(&name, raw::REDISMODULE_NOTIFY_GENERIC, c"del", None);
        }
        Write::Change { set, unset, marker } => {
            // Setting comes first: a hash without fields would vanish, with its time to live.
            let mark = (*marker == Some(true)).then_some((MARKER, b"".as_slice()));
            let set = set.iter().map(|(field, value)| (*field, &**value));
            set_fields(writes, &key, &name, set.chain(mark));
            let unmark = (*marker == Some(false)).then_some(MARKER);
            let unset = unset.iter().map(Vec::as_slice);
            unset_fields(writes, &key, &name, unset.chain(unmark));
        }
    }
}

fn set_fields<'a>(
    writes: &mut Writes,
    key: &Key,
    name: &RedisString,
    set: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    let strings: Vec<[RedisString; 2]> = set
        .map(|(field, value)| [keys::string(field), keys::string(value)])
        .collect();
    if strings.is_empty() {
        return;
    }
    for [field, value] in &strings {
        hash_set(key, field.inner, value.inner);
    }
    writes.replicate(c"HSET", name, strings.iter().flatten());
    writes.changed(name, raw::REDISMODULE_NOTIFY_HASH, c"hset", None);
}

fn unset_fields<'a>(
    writes: &mut Writes,
    key: &Key,
    name: &RedisString,
    unset: impl Iterator<Item = &'a [u8]>,
) {
    // REDISMODULE_HASH_DELETE, a macro that bindings do not have: a value that is no pointer.
    let delete = std::ptr::without_provenance_mut(1);
    let strings: Vec<RedisString> = unset.map(keys::string).collect();
    if strings.is_empty() {
        return;
    }
    for field in &strings {
        hash_set(key, field.inner, delete);
    }
    writes.replicate(c"HDEL", name, &strings);
    writes.changed(name, raw::REDISMODULE_NOTIFY_HASH, c"hdel", None);
}

fn hash_set(key: &Key, field: *mut raw::RedisModuleString, value: *mut raw::RedisModuleString) {
    let end: *mut raw::RedisModuleString = std::ptr::null_mut();
    let flags = raw::REDISMODULE_HASH_NONE as c_int;
    // SAFETY: a hash or missing key open for writing; pairs of strings up to a null.
    unsafe { api!(RedisModule_HashSet(key.raw(), flags, field, value, end)) };
}
