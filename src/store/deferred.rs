//! `<key>@deferred`: a hash of flushes that wait for their COMMIT, by token.

use super::{cluster, own_keys};
use crate::redis::{call, keys};
use dirty_streams_core::entity::overlap::DEFERRED;
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{Context, RedisString};
use std::ffi::CStr;

/// Flushes that wait for their COMMIT.
pub struct DeferredFlushes<'c> {
    ctx: &'c Context,
    key: &'c RedisString,
    name: RedisString,
}

impl<'c> DeferredFlushes<'c> {
    pub fn of(ctx: &'c Context, key: &'c RedisString) -> Result<Self, Error> {
        let name = own_keys::name(ctx, key, DEFERRED, b"")?;
        Ok(DeferredFlushes { ctx, key, name })
    }

    pub fn get(&self, token: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.read_value(token, <[u8]>::to_vec)
    }

    /// Reads what waits under a token, without a copy of it.
    pub fn read_value<T>(
        &self,
        token: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, Error> {
        let token = keys::string(token);
        let reply = self.read(c"HGET", &[&self.name, &token])?;
        let value = reply.view().text().map(read);
        if value.is_none() {
            cluster::check_missing(self.ctx, self.key, &self.name)?;
        }
        Ok(value)
    }

    /// Under which something waits. The values together may be larger than memory allows to copy: read them one by
    /// one.
    pub fn tokens(&self) -> Result<Vec<Vec<u8>>, Error> {
        let reply = self.read(c"HKEYS", &[&self.name])?;
        if reply.view().length() == 0 {
            cluster::check_missing(self.ctx, self.key, &self.name)?;
        }
        let tokens = reply.view().items();
        Ok(tokens.map(|token| token.bytes().to_vec()).collect())
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

    fn read(&self, command: &CStr, args: &[&RedisString]) -> Result<call::Reply, Error> {
        call::read(self.ctx, command, args).map_err(|error| self.wrong_type(error))
    }

    fn wrong_type(&self, error: Error) -> Error {
        own_keys::wrong_type(error, &self.name, "a hash of deferred flushes")
    }
}
