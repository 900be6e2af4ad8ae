//! Snapshots as native hashes: read in one pass, written field by field.

use super::{cluster, declarations, writes::Writes};
use crate::redis::keys::{self, Key};
use crate::redis::{api::api, guard};
use dirty_streams_core::entity::declaration::{Declaration, Stream};
use dirty_streams_core::entity::event::Version;
use dirty_streams_core::entity::field::Field;
use dirty_streams_core::entity::overlap;
use dirty_streams_core::entity::snapshot::{SnapshotBuilder, MARKER};
use dirty_streams_core::error::{Error, Owner, Quoted};
use dirty_streams_core::flush::{self, Snapshots, Write};
use redis_module::{raw, Context, RedisString};
use std::ffi::{c_int, c_void};

/// The stored snapshots of one entity type.
pub struct Stored<'c> {
    ctx: &'c Context,
    /// The declaration's.
    key: &'c RedisString,
    declaration: &'c Declaration,
    /// What is missing here does not exist.
    is_settled: bool,
    cursor: *mut raw::RedisModuleScanCursor,
}

impl<'c> Stored<'c> {
    pub fn new(ctx: &'c Context, key: &'c RedisString, declaration: &'c Declaration) -> Self {
        Stored {
            ctx,
            key,
            declaration,
            is_settled: false,
            // SAFETY: freed when this is dropped.
            cursor: unsafe { api!(RedisModule_ScanCursorCreate()) },
        }
    }

    /// The key of a snapshot, if nothing else belongs there: neither a stream of the declaration, nor a key
    /// of its own, nor anything of another declaration.
    pub fn key_of(&mut self, id: &[u8]) -> Result<Vec<u8>, Error> {
        let declaration = self.declaration;
        let name = declaration.snapshot_key(id);
        let taken = |owner| Error::SnapshotIsTaken {
            id: Quoted::new(id),
            key: Quoted::new(&name),
            owner,
        };
        let has_it = |stream: &&Stream| {
            overlap::is_of_stream(declaration, stream, &name)
                && stream.is_in(keys::current_database(self.ctx))
        };
        if let Some(stream) = declaration.streams.iter().find(has_it) {
            let stream_key = Quoted::new(&stream.key);
            return Err(taken(match stream.key == name {
                true => Owner::IsStream(stream_key),
                false => Owner::Stream(stream_key),
            }));
        }
        if overlap::is_own(&name, self.key) {
            return Err(taken(match name.ends_with(overlap::DEFERRED) {
                true => Owner::Deferred,
                false => Owner::Once,
            }));
        }
        let owners = overlap::owners(&declaration.prefix, &name);
        let owners = owners.map_err(|too_many| Error::TooManySeparators {
            id: Quoted::new(id),
            got: too_many.got,
            separator: too_many.separator.into(),
        })?;
        for owner in owners {
            if *owner == **self.key {
                continue;
            }
            let owner_text = keys::string(owner);
            match declarations::is_at(self.ctx, &owner_text) {
                Some(true) => return Err(taken(Owner::Declaration(Quoted::new(owner)))),
                Some(false) => {}
                // It is in the snapshot's slot, since the tag is in the prefix.
                None => self.check_missing(&owner_text)?,
            }
        }
        Ok(name)
    }

    /// Refuses an id whose snapshot could not be stored, as far as that can be told now.
    pub fn check_id(&mut self, id: &[u8]) -> Result<(), Error> {
        let name = self.key_of(id)?;
        self.check_free(id, &name)
    }

    /// Refuses a snapshot's key that holds a declaration. Ids without separators are looked at no sooner.
    fn check_free(&self, id: &[u8], name: &[u8]) -> Result<(), Error> {
        if declarations::is_at(self.ctx, &keys::string(name)) != Some(true) {
            return Ok(());
        }
        Err(Error::SnapshotIsTaken {
            id: Quoted::new(id),
            key: Quoted::new(name),
            owner: match *name == **self.key {
                true => Owner::Itself,
                false => Owner::Declaration(Quoted::new(name)),
            },
        })
    }

    /// Refuses if a key that is missing here may be on another node of the cluster.
    fn check_missing(&mut self, missing: &RedisString) -> Result<(), Error> {
        if !self.is_settled {
            cluster::check_missing(self.ctx, self.key, missing)?;
            self.is_settled = true;
        }
        Ok(())
    }
}

impl Drop for Stored<'_> {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        unsafe { api!(RedisModule_ScanCursorDestroy(self.cursor)) }
    }
}

impl Snapshots for Stored<'_> {
    fn load<'g>(
        &mut self,
        id: &[u8],
        given: &[Field<'g>],
    ) -> Result<flush::EntityState<'g>, Error> {
        let name = self.key_of(id)?;
        let name_text = keys::string(&name);
        let key = Key::read(self.ctx, &name_text);
        let holds = key.holds(&name, raw::REDISMODULE_KEYTYPE_HASH, "a hash");
        if holds.is_err() {
            self.check_free(id, &name)?;
        }
        if !holds? {
            self.check_missing(&name_text)?;
            return Ok(flush::EntityState::Nothing);
        }
        let mut collected = Collected {
            fields: SnapshotBuilder::new(key.length(), given),
            tombstone: None,
            is_whole: true,
        };
        let target: *mut Collected = &mut collected;
        // SAFETY: an open hash, a cursor of ours, and a target that outlives the scan.
        unsafe {
            api!(RedisModule_ScanCursorRestart(self.cursor));
            while api!(RedisModule_ScanKey(
                key.raw(),
                self.cursor,
                Some(collect),
                target.cast(),
            )) != 0
            {}
        }
        if !collected.is_whole {
            return Err(Error::Internal);
        }
        let mut snapshot = collected.fields.snapshot;
        Ok(match collected.tombstone {
            Some(version) if snapshot.is_empty() => flush::EntityState::Tombstone(version),
            version => {
                snapshot.buried_version = version;
                flush::EntityState::Entity(snapshot)
            }
        })
    }
}

struct Collected<'f, 'g> {
    fields: SnapshotBuilder<'f, 'g>,
    /// The version that the marker holds.
    tombstone: Option<Version>,
    /// No field was left out by a panic.
    is_whole: bool,
}

unsafe extern "C" fn collect(
    _key: *mut raw::RedisModuleKey,
    field: *mut raw::RedisModuleString,
    value: *mut raw::RedisModuleString,
    collected: *mut c_void,
) {
    // SAFETY: what `load` passes in, which nobody else touches meanwhile.
    let collected = unsafe { &mut *collected.cast::<Collected>() };
    if value.is_null() {
        return;
    }
    let taken = guard::catch("a field", || {
        let field = RedisString::string_as_slice(field);
        collected.take(field, RedisString::string_as_slice(value));
    });
    collected.is_whole &= taken.is_some();
}

impl Collected<'_, '_> {
    fn take(&mut self, field: &[u8], value: &[u8]) {
        if field == MARKER {
            self.fields.snapshot.marked = true;
            self.fields.snapshot.buried = !value.is_empty();
            let text = std::str::from_utf8(value).ok();
            self.tombstone = text.and_then(|text| text.parse().ok());
        } else {
            self.fields.push(field, value);
        }
    }
}

/// Applies a write to the snapshot of an entity. Nothing here can fail: the key was looked at before.
pub fn write(
    writes: &mut Writes,
    declaration: &Declaration,
    id: &[u8],
    write: &Write,
    now_ms: u64,
) {
    let ctx = writes.context();
    let name = keys::string(&declaration.snapshot_key(id));
    let key = Key::write(ctx, &name);
    match write {
        Write::Delete => delete(writes, &key, &name),
        Write::Bury {
            version,
            lifetime_ms,
        } => {
            delete(writes, &key, &name);
            let version = version.to_string();
            let marker = (MARKER, version.as_bytes());
            set_fields(writes, &key, &name, [marker].into_iter());
            expire(writes, &key, &name, now_ms.saturating_add(*lifetime_ms));
        }
        Write::Change {
            replaces_tombstone,
            persist,
            set,
            unset,
            marker,
        } => {
            if *replaces_tombstone {
                delete(writes, &key, &name);
            }
            // Setting comes first: a hash without fields would vanish, with its time to live.
            let mark = (*marker == Some(true)).then_some((MARKER, b"".as_slice()));
            let set = set.iter().map(|(field, value)| (&**field, &**value));
            set_fields(writes, &key, &name, set.chain(mark));
            let unmark = (*marker == Some(false)).then_some(MARKER);
            let unset = unset.iter().map(Vec::as_slice);
            unset_fields(writes, &key, &name, unset.chain(unmark));
            if *persist {
                self::persist(writes, &key, &name);
            }
        }
    }
}

/// Also takes away its time to live.
fn delete(writes: &mut Writes, key: &Key, name: &RedisString) {
    if key.is_missing() {
        return;
    }
    // SAFETY: a key open for writing.
    unsafe { api!(RedisModule_DeleteKey(key.raw())) };
    writes.replicate(c"DEL", name, []);
    writes.changed(name, raw::REDISMODULE_NOTIFY_GENERIC, c"del", None);
}

fn expire(writes: &mut Writes, key: &Key, name: &RedisString, at_ms: u64) {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    // SAFETY: a key open for writing, which was just made.
    unsafe { api!(RedisModule_SetAbsExpire(key.raw(), at_ms)) };
    let at_ms = keys::string(at_ms.to_string().as_bytes());
    writes.replicate(c"PEXPIREAT", name, [&at_ms]);
    writes.changed(name, raw::REDISMODULE_NOTIFY_GENERIC, c"expire", None);
}

fn persist(writes: &mut Writes, key: &Key, name: &RedisString) {
    let forever = raw::REDISMODULE_NO_EXPIRE.into();
    // SAFETY: a key open for writing, which holds a hash.
    unsafe {
        if api!(RedisModule_GetExpire(key.raw())) == forever {
            return;
        }
        api!(RedisModule_SetExpire(key.raw(), forever));
    }
    writes.replicate(c"PERSIST", name, []);
    writes.changed(name, raw::REDISMODULE_NOTIFY_GENERIC, c"persist", None);
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
