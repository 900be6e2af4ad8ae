//! What time alone brings to a reader that waits: a pending entry becomes claimable, the lease of the
//! active consumer runs out, an event becomes old enough.

use super::options::{Options, Reader};
use super::turn::{turn, Turn};
use crate::entity::event_id::EventId;
use crate::error::Error;
use crate::redis::blocking::Look;
use crate::redis::groups::{self, Group, Whose};
use crate::redis::{keys, streams};
use redis_module::{Context, RedisString};

/// Of the reader's options those that time has a part in.
pub struct Watch {
    name: RedisString,
    kind: Kind,
}

enum Kind {
    Group {
        consumer: RedisString,
        claim_ms: Option<u64>,
        lease_ms: Option<u64>,
        /// MAXPENDING may stand against new entries: then only writes wake.
        takes_new: bool,
    },
    Cursor {
        lag_ms: Option<u64>,
    },
}

/// A shorter time than this is not worth a timer.
const SHORTEST_MS: u64 = 10;

/// So many pending entries are looked at to find the one that is claimable first.
const LOOKED_AT: u64 = 1000;

impl Watch {
    pub fn new(options: &Options) -> Self {
        Watch {
            name: keys::string(options.reader.name()),
            kind: match &options.reader {
                Reader::Group(group) => Kind::Group {
                    consumer: keys::string(group.consumer),
                    claim_ms: group.claim_ms,
                    lease_ms: group.lease_ms,
                    takes_new: group.max_pending.is_none(),
                },
                Reader::Cursor(cursor) => Kind::Cursor {
                    lag_ms: cursor.lag_ms,
                },
            },
        }
    }

    /// A cursor's position is where it has read to.
    pub fn look(
        &self,
        ctx: &Context,
        stream: &RedisString,
        position: Option<EventId>,
    ) -> Result<Look, Error> {
        let group = Group {
            ctx,
            stream,
            name: &self.name,
        };
        match &self.kind {
            Kind::Cursor { lag_ms: None } => Ok(Look::Never),
            Kind::Cursor { lag_ms: Some(ms) } => {
                look_at_age(&group, position.unwrap_or_default(), *ms)
            }
            Kind::Group {
                claim_ms: None,
                lease_ms: None,
                ..
            } => Ok(Look::Never),
            // A group that is gone: the stream was deleted, and a write will wake us.
            Kind::Group { .. } if group.state()?.is_none() => Ok(Look::Never),
            Kind::Group {
                consumer,
                claim_ms,
                lease_ms,
                takes_new,
            } => {
                let lease = match lease_ms {
                    None => Look::Never,
                    Some(ms) => match turn(&group, consumer, *ms)? {
                        // Not our turn: whatever is claimable is another's to claim.
                        Turn::Others { free_in_ms } => return Ok(later(free_in_ms)),
                        Turn::Mine {
                            others_hold: true, ..
                        }
                        | Turn::Mine {
                            is_new: true,
                            holds: true,
                            ..
                        } => return Ok(Look::Wake),
                        Turn::Mine { .. } if *takes_new && has_new(&group)? => {
                            return Ok(Look::Wake)
                        }
                        Turn::Mine { .. } => {
                            // A reader that waits is not silent.
                            group.touch(consumer)?;
                            later(ms / 2)
                        }
                    },
                };
                let claim = match claim_ms {
                    None => Look::Never,
                    Some(ms) => look_at_claimable(&group, *ms)?,
                };
                Ok(lease.sooner(claim))
            }
        }
    }
}

fn later(ms: u64) -> Look {
    Look::Later(ms.max(SHORTEST_MS))
}

fn look_at_claimable(group: &Group, claim_ms: u64) -> Result<Look, Error> {
    if !group.pending(&Whose::Idle { ms: claim_ms }, 1)?.is_empty() {
        return Ok(Look::Wake);
    }
    // What is pending later than now is not claimable before.
    let pending = group.pending_after(None, LOOKED_AT)?;
    let idle_ms = pending.iter().map(|pending| pending.idle_ms).max();
    Ok(later(claim_ms.saturating_sub(idle_ms.unwrap_or(0))))
}

/// Whether the group has something to read.
fn has_new(group: &Group) -> Result<bool, Error> {
    let Some(state) = group.state()? else {
        return Ok(false);
    };
    let next = groups::range(group.ctx, group.stream, state.position, EventId::MAX, 1)?;
    Ok(next.is_some_and(|reply| groups::entries(reply.view()).next().is_some()))
}

/// Whether the next entry is old enough.
fn look_at_age(cursor: &Group, position: EventId, lag_ms: u64) -> Result<Look, Error> {
    let next = groups::range(cursor.ctx, cursor.stream, position, EventId::MAX, 1)?;
    let next = next.as_ref().and_then(|reply| {
        let entry = groups::entries(reply.view()).next()?;
        EventId::parse(entry.id)
    });
    let Some(next) = next else {
        return Ok(Look::Never);
    };
    // Older than lag_ms, so one ms more.
    let due_ms = next.ms.saturating_add(lag_ms).saturating_add(1);
    Ok(match due_ms.saturating_sub(streams::now_ms()) {
        0 => Look::Wake,
        ms => Look::Later(ms),
    })
}
