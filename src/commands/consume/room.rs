//! Readers that wait until they hold less than MAXPENDING.

use crate::redis::keyspace;
use crate::server::command::Call;
use dirty_streams_core::reading::requests::consume::{Reader, Request};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A waiting reader for whom an ACK elsewhere may make room.
pub struct WaitsForRoom;

static WAIT_FOR_ROOM: AtomicUsize = AtomicUsize::new(0);

/// Says that somebody holds less now.
pub fn has_made_room(call: &Call) {
    if WAIT_FOR_ROOM.load(Relaxed) > 0 {
        keyspace::wake(call.ctx, &call.key);
    }
}

impl WaitsForRoom {
    pub fn of(request: &Request) -> Option<Self> {
        match &request.reader {
            Reader::Group(reader) if reader.max_pending.is_some() => {
                WAIT_FOR_ROOM.fetch_add(1, Relaxed);
                Some(WaitsForRoom)
            }
            _ => None,
        }
    }
}

impl Drop for WaitsForRoom {
    fn drop(&mut self) {
        WAIT_FOR_ROOM.fetch_sub(1, Relaxed);
    }
}
