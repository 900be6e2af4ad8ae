//! Snapshots as native hashes: read in one pass, written field by field.

use super::{cluster, declarations, writes::Writes};
use crate::redis::commands::{Arguments, Lent};
use crate::redis::hash::AT_ONCE as FOUND_AT_ONCE;
use crate::redis::keys::{self, Key, Type};
use crate::redis::keyspace::Class;
use dirty_streams_core::entity::declaration::{Declaration, Stream};
use dirty_streams_core::entity::event::Version;
use dirty_streams_core::entity::field::Field;
use dirty_streams_core::entity::overlap;
use dirty_streams_core::entity::snapshot::{MARKER, SnapshotBuilder};
use dirty_streams_core::error::{Error, Owner, Quoted};
use dirty_streams_core::flush::{EntityState, Snapshots, Write};
use redis_module::{Context, RedisString};
use std::iter::Peekable;
use std::ops::Deref;
use std::vec;

/// The stored snapshots of one entity type.
pub struct SnapshotReader<'c> {
    ctx: &'c Context,
    /// The declaration's.
    key: &'c RedisString,
    declaration: &'c Declaration,
    /// Keys that are missing here do not exist elsewhere either.
    is_settled: bool,
    /// The keys of what was loaded, in that order.
    loaded: Vec<RedisString>,
}

impl<'c> SnapshotReader<'c> {
    pub fn new(ctx: &'c Context, key: &'c RedisString, declaration: &'c Declaration) -> Self {
        SnapshotReader {
            ctx,
            key,
            declaration,
            is_settled: false,
            loaded: Vec::new(),
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
        if !overlap::has_separator(id) {
            return Ok(name);
        }
        let owners = overlap::owners(&declaration.prefix, &name);
        let owners = owners.map_err(|too_many| Error::TooManySeparators {
            id: Quoted::new(id),
            got: too_many.got,
            max: overlap::MAX_SEPARATORS,
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
        match overlap::is_reserved(&declaration.prefix, &name) {
            true => Err(taken(Owner::Reserved)),
            false => Ok(name),
        }
    }

    /// Whether an entity is stored. Reads its fields only if it may be a tombstone.
    pub fn exists(&mut self, id: &[u8]) -> Result<bool, Error> {
        let name = keys::string(&self.key_of(id)?);
        let key = Key::read(self.ctx, &name);
        match key.holds(&name, Type::Hash, "a hash")? && key.length() > 1 {
            true => Ok(true),
            false => Ok(self.load(id, &[])?.entity().is_some()),
        }
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

impl<'c> SnapshotReader<'c> {
    /// The snapshot of an entity, open; `None` if it is missing.
    fn open(&mut self, id: &[u8]) -> Result<Option<Key<'c>>, Error> {
        let name = keys::string(&self.key_of(id)?);
        let key = Key::read(self.ctx, &name);
        let holds = key.holds(&name, Type::Hash, "a hash");
        if holds.is_err() {
            self.check_free(id, &name)?;
        }
        let is_there = holds?;
        if !is_there {
            self.check_missing(&name)?;
        }
        self.loaded.push(name);
        Ok(is_there.then_some(key))
    }
}

fn collect<'g>(key: &Key, given: &[Field<'g>]) -> Result<EntityState<'g>, Error> {
    let mut collected = Collected::new(key.length(), given);
    key.scan(|field, value| collected.take(field, value))?;
    Ok(collected.into_state())
}

impl Snapshots for SnapshotReader<'_> {
    fn load<'g>(&mut self, id: &[u8], given: &[Field<'g>]) -> Result<EntityState<'g>, Error> {
        match self.open(id)? {
            Some(key) => collect(&key, given),
            None => Ok(EntityState::Nothing),
        }
    }

    fn load_given<'g>(&mut self, id: &[u8], given: &[Field<'g>]) -> Result<EntityState<'g>, Error> {
        let Some(key) = self.open(id)? else {
            return Ok(EntityState::Nothing);
        };
        let length = key.length();
        if let Some(names) = names_to_find(given, length) {
            let mut collected = Collected::new(length, given);
            key.find(&names, |field, value| collected.take(field, value));
            // Whether a tombstone has fields, their number does not tell.
            if collected.tombstone.is_none() {
                collected.leave_out_others(length);
                return Ok(collected.into_state());
            }
        }
        collect(&key, given)
    }
}

/// The marker and the given fields, each once, if it takes less to find them in a hash of this length than to read it
/// all: to find a field takes about as long as to read one. If all become null, it matters whether there are others,
/// and the length does not tell, since fields whose time to live is up count in it until the server removes them.
fn names_to_find<'f>(given: &'f [Field], length: usize) -> Option<Vec<&'f [u8]>> {
    let is_short = given.len() < FOUND_AT_ONCE && given.len().saturating_add(2) <= length;
    if !is_short || given.iter().all(|(_, value)| value.is_none()) {
        return None;
    }
    let mut names = Vec::with_capacity(FOUND_AT_ONCE);
    names.push(MARKER);
    for name in given.iter().map(|(name, _)| &**name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

struct Collected<'f, 'g> {
    fields: SnapshotBuilder<'f, 'g>,
    /// The version that the marker holds.
    tombstone: Option<Version>,
}

impl<'f, 'g> Collected<'f, 'g> {
    fn new(length: usize, given: &'f [Field<'g>]) -> Self {
        Collected {
            fields: SnapshotBuilder::new(length, given),
            tombstone: None,
        }
    }

    fn into_state(self) -> EntityState<'g> {
        let mut snapshot = self.fields.snapshot;
        match self.tombstone {
            Some(version) if snapshot.is_empty() => EntityState::Tombstone(version),
            version => {
                snapshot.buried_version = version;
                EntityState::Entity(snapshot)
            }
        }
    }

    /// Counts the fields of a hash of this length that were not taken.
    fn leave_out_others(&mut self, length: usize) {
        let snapshot = &mut self.fields.snapshot;
        let marker = usize::from(snapshot.marked);
        snapshot.others = length.saturating_sub(marker).saturating_sub(snapshot.len());
    }

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

/// The keys of the snapshots that were loaded, to write them in the same order.
pub struct SnapshotKeys {
    prefix: usize,
    loaded: Peekable<vec::IntoIter<RedisString>>,
}

impl SnapshotReader<'_> {
    pub fn into_keys(self) -> SnapshotKeys {
        SnapshotKeys {
            prefix: self.declaration.prefix.len(),
            loaded: self.loaded.into_iter().peekable(),
        }
    }
}

impl SnapshotKeys {
    /// The key of the entity with this id; `None` if it was not loaded, or was taken before.
    pub fn take(&mut self, id: &[u8]) -> Option<RedisString> {
        let prefix = self.prefix;
        self.loaded.next_if(|name| name.get(prefix..) == Some(id))
    }
}

/// Applies a write to the snapshot of an entity. Nothing here can fail: the key was looked at before. Fields and values
/// may be arguments of the command.
pub fn write(
    writes: &mut Writes,
    name: &RedisString,
    write: &Write,
    arguments: &mut Arguments,
    now_ms: u64,
) {
    let mut key = Key::write(writes.context(), name);
    match write {
        Write::Delete => delete(writes, &mut key, name),
        Write::Bury {
            version,
            lifetime_ms,
        } => {
            delete(writes, &mut key, name);
            let version = version.to_string();
            let marker = (MARKER, version.as_bytes());
            let none = &mut Arguments::default();
            set_fields(writes, &mut key, name, none, [marker].into_iter());
            expire(writes, &mut key, name, now_ms.saturating_add(*lifetime_ms));
        }
        Write::Change {
            replaces_tombstone,
            persist,
            set,
            unset,
            marker,
        } => {
            if *replaces_tombstone {
                delete(writes, &mut key, name);
            }
            // Setting comes first: a hash without fields would vanish, with its time to live.
            let mark = (*marker == Some(true)).then_some((MARKER, b"".as_slice()));
            let set = set.iter().map(|(field, value)| (&**field, &**value));
            set_fields(writes, &mut key, name, arguments, set.chain(mark));
            let unmark = (*marker == Some(false)).then_some(MARKER);
            let unset = unset.iter().map(Vec::as_slice);
            unset_fields(writes, &mut key, name, unset.chain(unmark));
            if *persist {
                self::persist(writes, &mut key, name);
            }
        }
    }
}

/// Also takes away its time to live.
fn delete(writes: &mut Writes, key: &mut Key, name: &RedisString) {
    if key.delete() {
        writes.replicate(c"DEL", name, []);
        writes.changed(name, Class::Generic, c"del", None);
    }
}

fn expire(writes: &mut Writes, key: &mut Key, name: &RedisString, at_ms: u64) {
    let at_ms = i64::try_from(at_ms);
    debug_assert!(at_ms.is_ok(), "lifetimes are at most 2^53 ms");
    let at_ms = at_ms.unwrap_or(i64::MAX);
    key.expire_at(at_ms);
    let at_ms = keys::string(at_ms.to_string().as_bytes());
    writes.replicate(c"PEXPIREAT", name, [&at_ms]);
    writes.changed(name, Class::Generic, c"expire", None);
}

fn persist(writes: &mut Writes, key: &mut Key, name: &RedisString) {
    if key.persist() {
        writes.replicate(c"PERSIST", name, []);
        writes.changed(name, Class::Generic, c"persist", None);
    }
}

/// A field or a value to store.
enum Text<'c> {
    Lent(Lent<'c>),
    Own(RedisString),
}

impl Deref for Text<'_> {
    type Target = RedisString;

    fn deref(&self) -> &RedisString {
        match self {
            Text::Lent(text) => text,
            Text::Own(text) => text,
        }
    }
}

fn set_fields<'a>(
    writes: &mut Writes,
    key: &mut Key,
    name: &RedisString,
    arguments: &mut Arguments,
    set: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    // Those of JSON and MessagePack are no arguments.
    let mut are_arguments = true;
    let mut string = |bytes, make: fn(&[u8]) -> RedisString| {
        let found = are_arguments.then(|| arguments.string(bytes)).flatten();
        are_arguments = found.is_some();
        found.map_or_else(|| Text::Own(make(bytes)), Text::Lent)
    };
    let strings: Vec<[Text; 2]> = set
        .map(|(field, value)| [string(field, keys::name), string(value, keys::string)])
        .collect();
    if strings.is_empty() {
        return;
    }
    key.set_fields(&strings);
    let args = strings.iter().flatten().map(|text| &**text);
    writes.replicate(c"HSET", name, args);
    writes.changed(name, Class::Hash, c"hset", None);
}

fn unset_fields<'a>(
    writes: &mut Writes,
    key: &mut Key,
    name: &RedisString,
    unset: impl Iterator<Item = &'a [u8]>,
) {
    let strings: Vec<RedisString> = unset.map(keys::name).collect();
    if strings.is_empty() {
        return;
    }
    key.remove_fields(&strings);
    writes.replicate(c"HDEL", name, &strings);
    writes.changed(name, Class::Hash, c"hdel", None);
}
