//! The group or cursor that a call is about.

use crate::redis::keys;
use crate::server::command::Call;
use crate::store::deletions::Deletions;
use crate::store::groups::Group;
use crate::store::last_ids;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use redis_module::RedisString;

/// A group or cursor of the stream that the call is about.
pub fn group<'c>(call: &'c Call, name: &'c RedisString) -> Group<'c> {
    Group {
        ctx: call.ctx,
        stream: &call.key,
        name,
    }
}

/// Moves a cursor on to this id, never back, and not past the stream's last: what comes is to be read.
pub fn advance(cursor: &Group, position: EventId, id: EventId) -> Result<EventId, Error> {
    let database = keys::current_database(cursor.ctx);
    let last = last_ids::get(cursor.ctx, database, cursor.stream)?;
    let next = id.min(last);
    if next <= position {
        return Ok(position);
    }
    cursor.set_position(next)?;
    Deletions::of(cursor.ctx, cursor.stream).settle_all()?;
    Ok(next)
}
