//! Keys that a declaration has besides its snapshots and streams, named after its own. They are read and written by
//! native commands.

use super::cluster;
use crate::redis::keys;
use dirty_streams_core::error::Error;
use redis_module::{Context, RedisString};

/// Such a key's name. In a cluster it may be in another slot, if the key has no `{tag}`.
pub fn name(ctx: &Context, key: &[u8], kind: &[u8], token: &[u8]) -> Result<RedisString, Error> {
    let name = [key, kind, token].concat();
    cluster::check_key(ctx, key, &name)?;
    Ok(keys::string(&name))
}

/// Interprets an error of a native command: a key of another type gets the module's own wording.
pub fn wrong_type(error: Error, name: &[u8], expected: &'static str) -> Error {
    match error {
        Error::Server(message) if message.starts_with("WRONGTYPE") => {
            keys::wrong_type(name, expected)
        }
        error => error,
    }
}
