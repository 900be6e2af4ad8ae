//! Streams: the ids of their entries one by one, appending and trimming. The server refuses keys that hold
//! something else, or that are not open for writing.

use super::api::api;
use super::keys::Key;
use dirty_streams_core::entity::event_id::EventId;
use redis_module::{RedisString, raw};
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

/// An id as the server has it.
fn raw(EventId { ms, seq }: EventId) -> raw::RedisModuleStreamID {
    raw::RedisModuleStreamID { ms, seq }
}
