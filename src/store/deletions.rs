//! ACK … DELETE: an entry goes when every group and cursor of its stream has acknowledged it. Until then it
//! is remembered that somebody wants it gone, in the sorted set `<stream>:done`, for a week after the last
//! such wish, so that the last reader to acknowledge need not ask again.
//!
//! Only native commands run here, so that readers may be woken to it.

use super::cluster;
use super::groups::{self, Group, GroupState};
use crate::redis::{call, keys};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use redis_module::{Context, RedisString};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ops::Bound;

const DONE: &[u8] = b":done";
const DONE_MS: &str = "604800000";

/// The number of remembered entries that are looked at in one page, and the number of pages for one command.
const AT_ONCE: &str = "1000";
const AT_MOST: usize = 10;

/// The deletions that a stream's readers have asked for.
pub struct Deletions<'c> {
    ctx: &'c Context,
    stream: &'c RedisString,
    /// `None` in a cluster, if the stream's name fixes no slot for a key beside it: then nothing is
    /// remembered, and the last reader must ask.
    key: Option<RedisString>,
}

impl<'c> Deletions<'c> {
    pub fn of(ctx: &'c Context, stream: &'c RedisString) -> Self {
        let key = [stream, DONE].concat();
        let is_here = cluster::check_key(ctx, stream, &key).is_ok();
        Deletions {
            ctx,
            stream,
            key: is_here.then(|| keys::string(&key)),
        }
    }

    /// Refuses if something else is stored there, or what is may be on another node of a cluster.
    pub fn check(&self) -> Result<(), Error> {
        match &self.key {
            Some(key) if !self.exist(key)? => cluster::check_missing(self.ctx, self.stream, key),
            _ => Ok(()),
        }
    }

    fn exist(&self, key: &RedisString) -> Result<bool, Error> {
        let holds = call::read(self.ctx, c"TYPE", &[key])?;
        match holds.view().text() {
            Some(b"zset") => Ok(true),
            Some(b"none") => Ok(false),
            _ => Err(keys::wrong_type(key, "a sorted set")),
        }
    }

    /// The key that holds wishes, if there are any. A foreign key of that name does not make a command fail that has
    /// already done its work.
    fn asked(&self) -> Option<&RedisString> {
        let key = self.key.as_ref()?;
        self.exist(key).unwrap_or(false).then_some(key)
    }

    /// Deletes those of these entries, which the group has acknowledged, that all others have, too, and
    /// remembers the rest.
    pub fn ask(&self, group: &Group, ids: &[EventId]) -> Result<(), Error> {
        let Some(GroupState { position, .. }) = group.state()? else {
            return Ok(());
        };
        // It cannot have acknowledged entries that it has not read yet.
        let read = ids.iter().copied().filter(|id| *id <= position);
        let waiting = self.delete(read.collect())?;
        let Some(key) = &self.key else {
            return Ok(());
        };
        let mut words = Vec::new();
        for id in waiting {
            // Nobody waits for what was gone before.
            if groups::entry(self.ctx, self.stream, id)?.view().length() > 0 {
                words.extend([keys::string(b"0"), member(id)]);
            }
        }
        if !words.is_empty() {
            let args: Vec<&RedisString> = std::iter::once(key).chain(&words).collect();
            call::write(self.ctx, c"ZADD", &args)?;
            let ms = keys::string(DONE_MS.as_bytes());
            call::write(self.ctx, c"PEXPIRE", &[key, &ms])?;
        }
        self.settle_all()
    }

    /// A group has acknowledged these: what others asked for may be due now.
    pub fn settle(&self, ids: &[EventId]) -> Result<(), Error> {
        let Some(key) = self.asked().filter(|_| !ids.is_empty()) else {
            return Ok(());
        };
        let members: Vec<RedisString> = ids.iter().copied().map(member).collect();
        let args: Vec<&RedisString> = std::iter::once(key).chain(&members).collect();
        let scores = call::read(self.ctx, c"ZMSCORE", &args)?;
        let scored = scores.view().items().zip(ids);
        let asked = scored.filter(|(score, _)| score.text().is_some());
        let asked = asked.map(|(_, id)| *id).collect();
        self.delete(asked).map(drop)
    }

    /// Readers have moved, or are gone: deletions that others asked for may be due now.
    pub fn settle_all(&self) -> Result<(), Error> {
        let Some(key) = self.asked() else {
            return Ok(());
        };
        let first = groups::first(self.ctx, self.stream)?;
        // Trimmed entries need no deletion.
        let trimmed = first.map_or(Bound::Unbounded, Bound::Excluded);
        let before = [key, &keys::string(b"-"), &bound(trimmed, b"+")];
        call::write(self.ctx, c"ZREMRANGEBYLEX", &before)?;
        let positions = groups::all(self.ctx, self.stream)?;
        let lowest = positions.iter().map(|(_, state)| state.position).min();
        let mut from = Bound::Unbounded;
        for _ in 0..AT_MOST {
            let args = [
                key,
                &bound(from, b"-"),
                &bound(lowest.map_or(Bound::Unbounded, Bound::Included), b"+"),
                &keys::string(b"LIMIT"),
                &keys::string(b"0"),
                &keys::string(AT_ONCE.as_bytes()),
            ];
            let page = call::read(self.ctx, c"ZRANGEBYLEX", &args)?;
            let ids = page.view().items().filter_map(|id| event_id(id.bytes()));
            let ids: BTreeSet<EventId> = ids.collect();
            let Some(last) = ids.last().copied() else {
                break;
            };
            from = Bound::Excluded(last);
            self.delete(ids)?;
        }
        Ok(())
    }

    /// Deletes those that every group has acknowledged, and forgets that somebody has asked for it; the
    /// others come back.
    fn delete(&self, ids: BTreeSet<EventId>) -> Result<BTreeSet<EventId>, Error> {
        let waiting = groups::unacknowledged(self.ctx, self.stream, &ids)?;
        let done: Vec<EventId> = ids.difference(&waiting).copied().collect();
        if done.is_empty() {
            return Ok(waiting);
        }
        let entries = done.iter().map(|id| keys::string(id.text().as_bytes()));
        self.remove(c"XDEL", self.stream, entries)?;
        if let Some(key) = &self.key {
            self.remove(c"ZREM", key, done.into_iter().map(member))?;
        }
        Ok(waiting)
    }

    fn remove(
        &self,
        command: &CStr,
        key: &RedisString,
        elements: impl Iterator<Item = RedisString>,
    ) -> Result<(), Error> {
        let elements: Vec<RedisString> = elements.collect();
        let args: Vec<&RedisString> = std::iter::once(key).chain(&elements).collect();
        call::write(self.ctx, command, &args).map(drop)
    }
}

/// An end of a range of the sorted set.
fn bound(id: Bound<EventId>, unbounded: &[u8]) -> RedisString {
    let with = |sign: &[u8], id| keys::string(&[sign, member(id).as_slice()].concat());
    match id {
        Bound::Included(id) => with(b"[", id),
        Bound::Excluded(id) => with(b"(", id),
        Bound::Unbounded => keys::string(unbounded),
    }
}

/// The sorted set orders by bytes: numbers with all their zeros.
fn member(id: EventId) -> RedisString {
    keys::string(format!("{:020}-{:020}", id.ms, id.seq).as_bytes())
}

fn event_id(member: &[u8]) -> Option<EventId> {
    let (ms, seq) = std::str::from_utf8(member).ok()?.split_once('-')?;
    Some(EventId {
        ms: ms.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}
