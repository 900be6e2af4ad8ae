//! The retention of streams: MAXAGE and MAXLEN trim a stream after a command's last event, and ONFULL says which
//! entries they must leave and when there is no room.

use super::{readers, writes::Writes};
use crate::redis::keys::{self, Key};
use crate::redis::keyspace::Class;
use crate::redis::stream::Ids;
use crate::redis::{latency, log};
use dirty_streams_core::entity::declaration::{MaxLen, OnFull, Stream};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::{Error, Quoted};
use redis_module::{Context, RedisString};

/// How many too many `MAXLEN ~` lets pile up under KEEP and REFUSE before the groups are asked. Asking
/// costs more than appending does, and whole nodes, which make `~` cheap under TRIM, do not spare it: so
/// it is done once for a hundred events. That is what a node holds, if nobody has set it otherwise.
const APPROXIMATELY: u64 = 100;

/// The retention of a stream that is about to get events. Its key is open in all that follows, except while its readers
/// are asked, and its database selected.
pub struct Retention<'d> {
    stream: &'d Stream,
    /// Set once it was asked for. The events that a command adds do not move it.
    floor: Option<Floor>,
}

/// Entries with an id before this one may go, since every group has acknowledged them. `None`: all may.
type Floor = Option<EventId>;

impl<'d> Retention<'d> {
    pub fn new(stream: &'d Stream) -> Self {
        Retention {
            stream,
            floor: None,
        }
    }

    /// Whether the readers may be asked, for which the stream is closed.
    pub fn may_ask(&self) -> bool {
        let max_len = self.stream.max_len.as_ref();
        max_len.is_some_and(|max_len| max_len.on_full != OnFull::Trim)
    }

    /// REFUSE: whether there is room for `events` more, the last of them with this id.
    pub fn check_room<'c>(
        &mut self,
        ctx: &'c Context,
        key: &mut Key<'c>,
        name: &RedisString,
        events: usize,
        last: EventId,
    ) -> Result<(), Error> {
        let Some(MaxLen {
            count: limit,
            on_full: OnFull::Refuse,
            ..
        }) = self.stream.max_len
        else {
            return Ok(());
        };
        let length = length(key);
        let added = u64::try_from(events).unwrap_or(u64::MAX);
        let excess = length.saturating_add(added).saturating_sub(limit);
        if excess == 0 {
            return Ok(());
        }
        // With nobody to wait for, the events themselves may go as well.
        let Some(floor) = self.floor(ctx, key, name)?.filter(|floor| *floor <= last) else {
            return Ok(());
        };
        // Either enough may go or few enough must stay: both say the same, and whichever is counted
        // sooner bounds what a refusal costs, however far past its count the stream is.
        let has_room = match length.checked_sub(excess) {
            None => false, // more than the stream may ever hold
            Some(stay) if stay < excess => {
                count(key.ids(Some(floor), None), stay.saturating_add(1)) <= stay
            }
            Some(_) => acknowledged(key, Some(floor), excess) == excess,
        };
        match has_room {
            true => Ok(()),
            false => {
                let first = first(key).unwrap_or_default();
                let ask = || readers::furthest_behind(ctx, name, first);
                Err(Error::Full {
                    stream: Quoted::new(&self.stream.key),
                    database: None,
                    events,
                    count: limit,
                    behind: key.closed_while(ctx, name, ask)?,
                })
            }
        }
    }

    /// Trims what has become too old or too many.
    pub fn trim<'c>(
        &mut self,
        key: &mut Key<'c>,
        name: &RedisString,
        writes: &mut Writes<'c>,
        now_ms: u64,
    ) {
        let trimmed = self
            .trim_old(key, name, writes, now_ms)
            .and_then(|()| self.trim_excess(key, name, writes));
        if let Err(error) = trimmed {
            // The events are there, and what should have gone goes with the next ones.
            log::warning(&format!(
                "the stream {} was not trimmed: {error}",
                Quoted::new(&self.stream.key)
            ));
        }
    }

    fn trim_old<'c>(
        &mut self,
        key: &mut Key<'c>,
        name: &RedisString,
        writes: &mut Writes<'c>,
        now_ms: u64,
    ) -> Result<(), Error> {
        let Some(max_age_ms) = self.stream.max_age_ms else {
            return Ok(());
        };
        let ms = now_ms.saturating_sub(max_age_ms);
        let oldest = EventId { ms, seq: 0 };
        if first(key).is_none_or(|first| first >= oldest) {
            return Ok(());
        }
        let ctx = writes.context();
        latency::watch(ctx, latency::TRIM, || {
            let floor = self.floor(ctx, key, name)?;
            let least = floor.map_or(oldest, |floor| floor.min(oldest));
            if key.trim_before(least) > 0 {
                self.tell(writes, name, "MINID", &least.to_string());
            }
            Ok(())
        })
    }

    fn trim_excess<'c>(
        &mut self,
        key: &mut Key<'c>,
        name: &RedisString,
        writes: &mut Writes<'c>,
    ) -> Result<(), Error> {
        let Some(MaxLen {
            count: limit,
            approximate,
            on_full,
        }) = self.stream.max_len
        else {
            return Ok(());
        };
        let mut before = length(key);
        let excess = before.saturating_sub(limit);
        if excess == 0 {
            return Ok(());
        }
        let ctx = writes.context();
        latency::watch(ctx, latency::TRIM, || -> Result<(), Error> {
            match (on_full, approximate) {
                (OnFull::Trim, false) => {
                    key.trim_to(limit, false);
                }
                (OnFull::Trim, true) => {
                    // The server trims a hundred nodes at a time, and one command may have added more.
                    while key.trim_to(limit, true) > 0 {}
                }
                (OnFull::Keep | OnFull::Refuse, true) if excess < APPROXIMATELY => {}
                (OnFull::Keep | OnFull::Refuse, _) => {
                    let floor = self.floor(ctx, key, name)?;
                    before = length(key); // as another module may have left it
                    let excess = before.saturating_sub(limit);
                    let gone = acknowledged(key, floor, excess);
                    debug_assert!(gone <= excess, "no more is counted");
                    if gone > 0 {
                        key.trim_to(before.saturating_sub(gone), false);
                    }
                }
            }
            Ok(())
        })?;
        // The length that is left, not the one that was asked for: a replica whose nodes have another size must
        // end with the same entries.
        let left = length(key);
        if left < before {
            self.tell(writes, name, "MAXLEN", &left.to_string());
        }
        Ok(())
    }

    fn floor<'c>(
        &mut self,
        ctx: &'c Context,
        key: &mut Key<'c>,
        name: &RedisString,
    ) -> Result<Floor, Error> {
        if let Some(known) = self.floor {
            return Ok(known);
        }
        let floor = match self.may_ask() {
            true => {
                let first = first(key).unwrap_or_default();
                key.closed_while(ctx, name, || readers::floor(ctx, name, first))?
            }
            false => None,
        };
        self.floor = Some(floor);
        Ok(floor)
    }

    fn tell(&self, writes: &mut Writes, name: &RedisString, strategy: &str, threshold: &str) {
        let effect = [strategy, "=", threshold].map(|word| keys::string(word.as_bytes()));
        writes.replicate(c"XTRIM", name, &effect);
        let database = self.stream.database;
        writes.changed(name, Class::Stream, c"xtrim", database);
    }
}

/// How many of the oldest entries may go, up to `most`. Looks at no more than that.
fn acknowledged(key: &Key, floor: Floor, most: u64) -> u64 {
    match floor {
        Some(floor) => count(key.ids(None, Some(floor.preceding())), most),
        None => most.min(length(key)),
    }
}

fn length(key: &Key) -> u64 {
    u64::try_from(key.length()).unwrap_or(u64::MAX)
}

fn first(key: &Key) -> Option<EventId> {
    key.ids(None, None).next()
}

fn count(ids: Ids, most: u64) -> u64 {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    u64::try_from(ids.take(most).count()).unwrap_or(u64::MAX)
}
