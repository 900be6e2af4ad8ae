//! The ids of a stream's entries, one by one.

use super::api::api;
use super::keys::Key;
use dirty_streams_core::entity::event_id::EventId;
use redis_module::raw;
use std::ffi::c_int;
use std::ptr::null_mut;

/// The ids of an open stream's entries, in order. Nothing is copied, where the reply of XRANGE would
/// hold a whole backlog in memory.
pub struct Ids<'k> {
    key: &'k Key,
}

impl<'k> Ids<'k> {
    /// From one id to another, both included.
    pub fn new(key: &'k Key, from: Option<EventId>, to: Option<EventId>) -> Self {
        let (mut from, mut to) = (from.map(raw), to.map(raw));
        let pointer = |id: &mut Option<_>| id.as_mut().map_or(null_mut(), |id| id as *mut _);
        // SAFETY: an open key and ids that are copied. A key without a stream is refused, and then there
        // are no ids.
        unsafe {
            api!(RedisModule_StreamIteratorStart(
                key.raw(),
                0,
                pointer(&mut from),
                pointer(&mut to)
            ))
        };
        Ids { key }
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
pub fn raw(EventId { ms, seq }: EventId) -> raw::RedisModuleStreamID {
    raw::RedisModuleStreamID { ms, seq }
}
