//! Streams: the ids of their entries one by one, appending and trimming. The server refuses keys that hold
//! something else, or that are not open for writing.

use super::api::api;
use super::keys::Key;
use dirty_streams_core::entity::event_id::EventId;
use redis_module::{RedisString, raw};
use std::cell::{OnceCell, RefCell};
use std::ffi::{c_int, c_long};
use std::ptr::null_mut;

/// The ids of an open stream's entries, in order. Nothing is copied, where the reply of XRANGE would
/// hold a whole backlog in memory.
pub struct Ids<'k> {
    key: &'k Key<'k>,
}

impl Key<'_> {
    /// The ids from one to another, both included.
    pub fn ids(&self, from: Option<EventId>, to: Option<EventId>) -> Ids<'_> {
        let (mut from, mut to) = (from.map(raw), to.map(raw));
        let pointer = |id: &mut Option<_>| id.as_mut().map_or(null_mut(), |id| id as *mut _);
        // SAFETY: an open key and ids that are copied. A key without a stream is refused, and then there
        // are no ids.
        unsafe {
            api!(RedisModule_StreamIteratorStart(
                self.raw(),
                0,
                pointer(&mut from),
                pointer(&mut to)
            ))
        };
        Ids { key: self }
    }

    /// Appends an entry of these fields and values by turns. Whether the stream took it.
    pub fn append(&mut self, id: EventId, entry: &[RedisString]) -> bool {
        let mut argv: Vec<_> = entry.iter().map(|arg| arg.inner).collect();
        debug_assert!(argv.len() % 2 == 0, "a field without a value");
        let pairs = c_long::try_from(argv.len() / 2).unwrap_or(0);
        // SAFETY: an open key or null, an id that is copied, and as many pairs of strings.
        let status = unsafe {
            api!(RedisModule_StreamAdd(
                self.raw(),
                0,
                &mut raw(id),
                argv.as_mut_ptr(),
                pairs
            ))
        };
        status == raw::REDISMODULE_OK as c_int
    }

    /// Removes all entries before this id. How many there were.
    pub fn trim_before(&mut self, id: EventId) -> u64 {
        // SAFETY: an open key or null; the id is only read.
        let gone = unsafe { api!(RedisModule_StreamTrimByID(self.raw(), 0, &mut raw(id))) };
        u64::try_from(gone).unwrap_or(0) // refused
    }

    /// Removes the oldest entries until `length` are left; approximately means in whole nodes, some of them at
    /// a time. How many went.
    pub fn trim_to(&mut self, length: u64, approximately: bool) -> u64 {
        let flags = match approximately {
            true => raw::REDISMODULE_STREAM_TRIM_APPROX as c_int,
            false => 0,
        };
        // A longer stream does not exist, so nothing would go.
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        // SAFETY: an open key or null.
        let gone = unsafe { api!(RedisModule_StreamTrimByLength(self.raw(), flags, length)) };
        u64::try_from(gone).unwrap_or(0) // refused
    }
}

impl Iterator for Ids<'_> {
    type Item = EventId;

    fn next(&mut self) -> Option<EventId> {
        let (key, ok) = (self.key.raw(), raw::REDISMODULE_OK as c_int);
        let mut id = raw(EventId::default());
        // SAFETY: an open key; the server answers that there is no iterator or entry left. It finds the
        // next entry only if all fields of this one were passed over, and makes no strings of them that
        // are not asked for.
        unsafe {
            if api!(RedisModule_StreamIteratorNextID(key, &mut id, null_mut())) != ok {
                return None;
            }
            while api!(RedisModule_StreamIteratorNextField(
                key,
                null_mut(),
                null_mut()
            )) == ok
            {}
        }
        let raw::RedisModuleStreamID { ms, seq } = id;
        Some(EventId { ms, seq })
    }
}

impl Drop for Ids<'_> {
    fn drop(&mut self) {
        // SAFETY: an open key; without an iterator this does nothing.
        unsafe { api!(RedisModule_StreamIteratorStop(self.key.raw())) };
    }
}

/// The entries of an open stream one by one, with their fields. A key has one iterator at a time.
///
/// The server ends by an assertion if the next entry is asked for before all fields of this one were passed
/// over, so that is done here.
pub struct Entries<'k, 'c> {
    key: &'k mut Key<'c>,
    has_fields: bool,
    /// How many fields this entry has.
    count: c_long,
}

impl<'c> Key<'c> {
    /// The entries from one id to another, both included; from behind if `reverse`.
    pub fn entries(
        &mut self,
        from: Option<EventId>,
        to: Option<EventId>,
        reverse: bool,
    ) -> Entries<'_, 'c> {
        let (mut from, mut to) = (from.map(raw), to.map(raw));
        let pointer = |id: &mut Option<_>| id.as_mut().map_or(null_mut(), |id| id as *mut _);
        let flags = match reverse {
            true => raw::REDISMODULE_STREAM_ITERATOR_REVERSE as c_int,
            false => 0,
        };
        // SAFETY: an open key or null, and ids that are copied. A key without a stream is refused, and then
        // there are no entries.
        unsafe {
            api!(RedisModule_StreamIteratorStart(
                self.raw(),
                flags,
                pointer(&mut from),
                pointer(&mut to)
            ))
        };
        Entries {
            key: self,
            has_fields: false,
            count: 0,
        }
    }

    /// The id of the last entry that there is.
    pub fn last_entry(&mut self) -> Option<EventId> {
        self.entries(None, None, true).next_id()
    }

    /// Deletes an entry. False if it is not there, or the key is not open for writing.
    pub fn delete_entry(&mut self, id: EventId) -> bool {
        // SAFETY: an open key or null; the id is only read.
        let status = unsafe { api!(RedisModule_StreamDelete(self.raw(), &mut raw(id))) };
        status == raw::REDISMODULE_OK as c_int
    }
}

impl Entries<'_, '_> {
    /// The next entry's id.
    pub fn next_id(&mut self) -> Option<EventId> {
        let (key, ok) = (self.key.raw(), raw::REDISMODULE_OK as c_int);
        let mut id = raw(EventId::default());
        // SAFETY: an open key or null; the server answers that there is no iterator, entry or field left. It makes
        // no strings of fields that are not asked for.
        unsafe {
            if self.has_fields {
                while api!(RedisModule_StreamIteratorNextField(
                    key,
                    null_mut(),
                    null_mut()
                )) == ok
                {}
            }
            self.has_fields = api!(RedisModule_StreamIteratorNextID(
                key,
                &mut id,
                &mut self.count
            )) == ok;
        }
        let raw::RedisModuleStreamID { ms, seq } = id;
        self.has_fields.then_some(EventId { ms, seq })
    }

    /// The fields of this entry and their values, if they were not taken yet.
    fn take_fields(&mut self) -> Taken {
        if !std::mem::take(&mut self.has_fields) {
            return Taken::None;
        }
        if self.count == 1 {
            let pair = self.next_field();
            return pair.map_or(Taken::None, |pair| Taken::One([pair]));
        }
        Taken::Many(std::iter::from_fn(|| self.next_field()).collect())
    }

    fn next_field(&mut self) -> Option<(RedisString, RedisString)> {
        let (mut field, mut value) = (null_mut(), null_mut());
        // SAFETY: an open key or null; strings that the server makes are freed when dropped.
        unsafe {
            let status = api!(RedisModule_StreamIteratorNextField(
                self.key.raw(),
                &mut field,
                &mut value
            ));
            let owned = |raw| RedisString::from_redis_module_string(null_mut(), raw);
            (status == raw::REDISMODULE_OK as c_int).then(|| (owned(field), owned(value)))
        }
    }
}

/// Fields that were copied. Most entries have one.
enum Taken {
    None,
    One([(RedisString, RedisString); 1]),
    Many(Vec<(RedisString, RedisString)>),
}

impl Drop for Entries<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: an open key or null; without an iterator this does nothing.
        unsafe { api!(RedisModule_StreamIteratorStop(self.key.raw())) };
    }
}

/// The fields of an iterator's entry, copied when they are first asked for.
pub struct LazyFields<'e, 'k, 'c> {
    entries: RefCell<&'e mut Entries<'k, 'c>>,
    fields: OnceCell<Taken>,
}

impl<'e, 'k, 'c> LazyFields<'e, 'k, 'c> {
    pub fn of(entries: &'e mut Entries<'k, 'c>) -> Self {
        LazyFields {
            entries: RefCell::new(entries),
            fields: OnceCell::new(),
        }
    }
}

/// Fields of an entry and their values, in its order.
pub trait Fields {
    fn fields(&self) -> &[(RedisString, RedisString)];
}

impl Fields for LazyFields<'_, '_, '_> {
    fn fields(&self) -> &[(RedisString, RedisString)] {
        let taken = self.fields.get_or_init(|| {
            let entries = self.entries.try_borrow_mut();
            entries.map_or(Taken::None, |mut entries| entries.take_fields())
        });
        match taken {
            Taken::None => &[],
            Taken::One(fields) => fields,
            Taken::Many(fields) => fields,
        }
    }
}

/// An id as the server has it.
fn raw(EventId { ms, seq }: EventId) -> raw::RedisModuleStreamID {
    raw::RedisModuleStreamID { ms, seq }
}
