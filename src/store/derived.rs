//! Keys that a declaration has besides its snapshots and streams: `<key>@deferred`, a hash of flushes that
//! wait for their COMMIT by token, and `<key>@once:<token>`, strings with a time to live, the first reply to
//! a flush that was sent with ONCE. They are read and written by native commands.

use super::cluster;
use crate::redis::{call, keys};
use dirty_streams_core::entity::declaration::{Declaration, Stream};
use dirty_streams_core::entity::overlap::{self, DEFERRED, ONCE};
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{Context, RedisString};
use std::collections::HashMap;

/// Flushes that wait for their COMMIT.
pub struct Deferred<'c> {
    ctx: &'c Context,
    key: &'c RedisString,
    name: RedisString,
}

impl<'c> Deferred<'c> {
    pub fn of(ctx: &'c Context, key: &'c RedisString) -> Result<Self, Error> {
        let name = name(ctx, key, DEFERRED, b"")?;
        Ok(Deferred { ctx, key, name })
    }

    pub fn get(&self, token: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let token = keys::string(token);
        let reply = self.read(c"HGET", &[&self.name, &token])?;
        let value = reply.view().text().map(<[u8]>::to_vec);
        if value.is_none() {
            cluster::check_missing(self.ctx, self.key, &self.name)?;
        }
        Ok(value)
    }

    /// Tokens and what waits under them.
    pub fn all(&self) -> Result<HashMap<Vec<u8>, Vec<u8>>, Error> {
        let reply = self.read(c"HGETALL", &[&self.name])?;
        if reply.view().length() == 0 {
            cluster::check_missing(self.ctx, self.key, &self.name)?;
        }
        let texts: Vec<&[u8]> = reply.view().items().map(call::View::bytes).collect();
        let pairs = texts.chunks_exact(2);
        Ok(pairs
            .filter_map(|pair| Some((pair.first()?.to_vec(), pair.last()?.to_vec())))
            .collect())
    }

    pub fn put(&self, token: &[u8], value: &[u8]) -> Result<(), Error> {
        let (token, value) = (keys::string(token), keys::string(value));
        let args = [&self.name, &token, &value];
        call::effect(self.ctx, c"HSET", &args).map(drop)
    }

    /// How many of them there were.
    pub fn remove(&self, tokens: &[&[u8]]) -> Result<i64, Error> {
        let tokens: Vec<RedisString> = tokens.iter().map(|token| keys::string(token)).collect();
        let args: Vec<&RedisString> = std::iter::once(&self.name).chain(&tokens).collect();
        let reply = call::effect(self.ctx, c"HDEL", &args);
        let reply = reply.map_err(|error| self.wrong_type(error))?;
        let removed = reply.view().integer().unwrap_or(0);
        if removed == 0 {
            cluster::check_missing(self.ctx, self.key, &self.name)?;
        }
        Ok(removed)
    }

    pub fn not_one(&self, token: &[u8]) -> Error {
        Error::NotDeferred {
            token: Quoted::new(token),
            key: Quoted::new(&self.name),
        }
    }

    fn read(&self, command: &std::ffi::CStr, args: &[&RedisString]) -> Result<call::Reply, Error> {
        call::read(self.ctx, command, args).map_err(|error| self.wrong_type(error))
    }

    fn wrong_type(&self, error: Error) -> Error {
        wrong_type(error, &self.name, "a hash of deferred flushes")
    }
}

/// The first reply to a flush.
pub struct Once<'c> {
    ctx: &'c Context,
    key: &'c RedisString,
    name: RedisString,
}

impl<'c> Once<'c> {
    pub fn of(ctx: &'c Context, key: &'c RedisString, token: &[u8]) -> Result<Self, Error> {
        let name = name(ctx, key, ONCE, token)?;
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
        let reply = reply.map_err(|error| wrong_type(error, &self.name, EXPECTED))?;
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

const EXPECTED: &str = "the first reply to a flush";

/// A key derived from the declaration's. In a cluster it may be in another slot, if the key has no `{tag}`.
fn name(ctx: &Context, key: &[u8], kind: &[u8], token: &[u8]) -> Result<RedisString, Error> {
    let name = [key, kind, token].concat();
    cluster::check_key(ctx, key, &name)?;
    Ok(keys::string(&name))
}

fn wrong_type(error: Error, name: &[u8], expected: &'static str) -> Error {
    match error {
        Error::Server(message) if message.starts_with("WRONGTYPE") => {
            keys::wrong_type(name, expected)
        }
        error => error,
    }
}
