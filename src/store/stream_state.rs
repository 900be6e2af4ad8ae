//! The state of a stream, by XINFO STREAM.

use crate::redis::keys::{Key, Type};
use crate::redis::{call, keys};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use redis_module::{Context, RedisString};

/// How far a stream is.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamState {
    pub last: EventId,
    /// How many entries it ever got.
    pub added: i64,
    /// How many of them are gone.
    pub lost: i64,
}

impl StreamState {
    pub fn length(&self) -> u64 {
        u64::try_from(self.added.saturating_sub(self.lost)).unwrap_or(0)
    }
}

/// `None` if there is no such key.
pub fn state(ctx: &Context, stream: &RedisString) -> Result<Option<StreamState>, Error> {
    match call::read(ctx, c"XINFO", &[&keys::string(b"STREAM"), stream]) {
        Ok(reply) => {
            let field = |name| reply.view().field(name);
            let last = field(b"last-generated-id".as_slice());
            let last = last.and_then(|id| EventId::parse(id.bytes()));
            let number = |name| field(name).and_then(call::View::integer);
            let (added, length) = (number(b"entries-added"), number(b"length"));
            let state = last
                .zip(added.zip(length))
                .map(|(last, (added, length))| StreamState {
                    last,
                    added,
                    lost: added.saturating_sub(length),
                });
            state.map(Some).ok_or(Error::Internal)
        }
        Err(error) => missing_is_none(stream, error),
    }
}

/// Interprets an error of a native command on a stream: a missing key becomes `None`, and a key of another type gets
/// the module's own wording.
pub fn missing_is_none<T>(stream: &[u8], error: Error) -> Result<Option<T>, Error> {
    match error {
        Error::Server(message) if message.contains("no such key") => Ok(None),
        Error::Server(message) if message.starts_with("WRONGTYPE") => {
            Err(keys::wrong_type(stream, "a stream"))
        }
        error => Err(error),
    }
}

/// The last entry that exists, at little cost. `None` if the key holds something else than a stream.
pub fn last_entry(ctx: &Context, stream: &RedisString) -> Option<Option<EventId>> {
    let mut key = Key::read(ctx, stream);
    key.holds(stream, Type::Stream, "a stream").ok()?;
    Some(key.last_entry())
}
