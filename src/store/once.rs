//! `<key>@once:<token>`: strings with a time to live, each the first reply to a flush that was sent with ONCE.

use super::{cluster, own_keys};
use crate::redis::{call, keys};
use dirty_streams_core::entity::declaration::{Declaration, Stream};
use dirty_streams_core::entity::overlap::{self, ONCE};
use dirty_streams_core::error::Error;
use redis_module::{Context, RedisString};

const EXPECTED: &str = "the first reply to a flush";

/// The first reply to a flush.
pub struct Once<'c> {
    ctx: &'c Context,
    key: &'c RedisString,
    name: RedisString,
}

impl<'c> Once<'c> {
    pub fn of(ctx: &'c Context, key: &'c RedisString, token: &[u8]) -> Result<Self, Error> {
        let name = own_keys::name(ctx, key, ONCE, token)?;
        Ok(Once { ctx, key, name })
    }

    /// Refuses if the key is, or belongs to, a stream of the declaration. The flush, or a reader, may be about to
    /// make it, and the reply would take its place.
    pub fn check(&self, declaration: &Declaration) -> Result<(), Error> {
        let here = keys::current_database(self.ctx);
        let is_it = |stream: &Stream| {
            overlap::is_at_or_below(&self.name, &stream.key) && stream.is_in(here)
        };
        match declaration.streams.iter().any(is_it) {
            true => Err(keys::wrong_type(&self.name, EXPECTED)),
            false => Ok(()),
        }
    }

    pub fn get(&self) -> Result<Option<Vec<u8>>, Error> {
        let reply = call::read(self.ctx, c"GET", &[&self.name]);
        let reply = reply.map_err(|error| own_keys::wrong_type(error, &self.name, EXPECTED))?;
        let value = reply.view().text().map(<[u8]>::to_vec);
        if value.is_none() {
            cluster::check_missing(self.ctx, self.key, &self.name)?;
        }
        Ok(value)
    }

    /// Nobody else has written the key since `get` found nothing there.
    pub fn set(&self, value: &[u8], now_ms: u64, lifetime_ms: u64) -> Result<(), Error> {
        let until = now_ms.saturating_add(lifetime_ms).to_string();
        let (value, until) = (keys::string(value), keys::string(until.as_bytes()));
        let args = [&self.name, &value, &keys::string(b"PXAT"), &until];
        call::effect(self.ctx, c"SET", &args).map(drop)
    }

    pub fn not_one(&self) -> Error {
        keys::wrong_type(&self.name, EXPECTED)
    }
}
