//! ACK … DELETE: an entry goes when every group and cursor of its stream has acknowledged it. Until then it
//! is remembered that somebody wants it gone, in the sorted set `<stream>:done`, for a week after the last
//! such wish: whoever acknowledges last need not ask again.
//!
//! Only native commands run here, so that readers may be woken to it.

use super::groups::{self, Group, State};
use super::{call, cluster, keys};
use crate::entity::event_id::EventId;
use crate::error::Error;
use redis_module::{Context, RedisString};
use std::collections::BTreeSet;
use std::ffi::CStr;

const DONE: &[u8] = b":done";
const DONE_MS: &str = "604800000";

/// So many remembered entries are looked at for one move of a cursor.
const AT_ONCE: &str = "1000";

/// The deletions that a stream's readers have asked for.
pub struct Deletions<'c> {
    ctx: &'c Context,
    stream: &'c RedisString,
    key: RedisString,
}

impl<'c> Deletions<'c> {
    /// `None` in a cluster, if the stream's name fixes no slot for a key beside it.
    pub fn of(ctx: &'c Context, stream: &'c RedisString) -> Option<Self> {
        let key = [stream, DONE].concat();
        cluster::check_key(ctx, stream, &key).ok()?;
        Some(Deletions {
            ctx,
            stream,
            key: keys::string(&key),
        })
    }

    /// Refuses if something else is stored there, or what is may be on another node of a cluster.
    pub fn check(&self) -> Result<(), Error> {
        match self.exist()? {
            true => Ok(()),
            false => cluster::check_missing(self.ctx, self.stream, &self.key),
        }
    }

    fn exist(&self) -> Result<bool, Error> {
        let holds = call::read(self.ctx, c"TYPE", &[&self.key])?;
        match holds.view().text() {
            Some(b"zset") => Ok(true),
            Some(b"none") => Ok(false),
            _ => Err(keys::wrong_type(&self.key, "a sorted set")),
        }
    }

    /// Deletes those of these entries, which the group has acknowledged, that all others have, too, and
    /// remembers the rest.
    pub fn ask(&self, group: &Group, ids: &[EventId]) -> Result<(), Error> {
        let Some(State { position, .. }) = group.state()? else {
            return Ok(());
        };
        // What it has not read yet it cannot have acknowledged.
        let read = ids.iter().copied().filter(|id| *id <= position);
        let waiting = self.delete_and_forget(read.collect())?;
        let mut words = Vec::new();
        for id in waiting {
            // Nobody waits for what was gone before.
            if groups::entry(self.ctx, self.stream, id)?.view().length() > 0 {
                words.extend([keys::string(b"0"), member(id)]);
            }
        }
        if words.is_empty() {
            return Ok(());
        }
        let args: Vec<&RedisString> = std::iter::once(&self.key).chain(&words).collect();
        call::write(self.ctx, c"ZADD", &args)?;
        let ms = keys::string(DONE_MS.as_bytes());
        call::write(self.ctx, c"PEXPIRE", &[&self.key, &ms]).map(drop)
    }

    /// A group has acknowledged these: what others asked for may be due now.
    pub fn settle(&self, ids: &[EventId]) -> Result<(), Error> {
        // A key of somebody else's by that name is no reason to refuse what is done already.
        if ids.is_empty() || !self.exist().unwrap_or(false) {
            return Ok(());
        }
        let members: Vec<RedisString> = ids.iter().copied().map(member).collect();
        let args: Vec<&RedisString> = std::iter::once(&self.key).chain(&members).collect();
        let scores = call::read(self.ctx, c"ZMSCORE", &args)?;
        let scored = scores.view().items().zip(ids);
        let asked = scored.filter(|(score, _)| score.text().is_some());
        self.delete_and_forget(asked.map(|(_, id)| *id).collect())
            .map(drop)
    }

    /// As `settle`, for a cursor that moved on.
    pub fn settle_range(&self, after: EventId, until: EventId) -> Result<(), Error> {
        if !self.exist().unwrap_or(false) {
            return Ok(());
        }
        let bound = |sign: &[u8], id| keys::string(&[sign, member(id).as_slice()].concat());
        let args = [
            &self.key,
            &bound(b"(", after),
            &bound(b"[", until),
            &keys::string(b"LIMIT"),
            &keys::string(b"0"),
            &keys::string(AT_ONCE.as_bytes()),
        ];
        let asked = call::read(self.ctx, c"ZRANGEBYLEX", &args)?;
        let ids = asked.view().items().filter_map(|id| event_id(id.bytes()));
        self.delete_and_forget(ids.collect()).map(drop)
    }

    /// Deletes those that every group has acknowledged, and forgets that somebody has asked for it; the
    /// others come back.
    fn delete_and_forget(&self, ids: BTreeSet<EventId>) -> Result<BTreeSet<EventId>, Error> {
        let waiting = groups::unacknowledged(self.ctx, self.stream, &ids)?;
        let done: Vec<EventId> = ids.difference(&waiting).copied().collect();
        if done.is_empty() {
            return Ok(waiting);
        }
        let entries = done
            .iter()
            .map(|id| keys::string(id.to_string().as_bytes()));
        self.remove(c"XDEL", self.stream, entries)?;
        let members = done.into_iter().map(member);
        self.remove(c"ZREM", &self.key, members)?;
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
