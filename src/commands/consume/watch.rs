//! What time alone brings to a reader that waits: a pending entry becomes claimable, the lease of the
//! active consumer runs out, an event becomes old enough.

use super::options::{Options, Reader};
use super::turn::{turn, Turn};
use crate::args::Args;
use crate::encoding::event;
use crate::entity::event_id::{missed, EventId};
use crate::entity::filter::Filter;
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
        /// The call's arguments, if it has a filter.
        filtered: Option<Vec<Vec<u8>>>,
    },
}

/// A shorter time than this is not worth a timer.
const SHORTEST_MS: u64 = 10;

/// So many pending entries are looked at to find the one that is claimable first.
const LOOKED_AT: u64 = 1000;

impl Watch {
    /// Of what these arguments ask for.
    pub fn new(options: &Options, args: &[&[u8]]) -> Self {
        let own = || args.iter().map(|arg| arg.to_vec()).collect();
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
                    filtered: (!options.filter.is_empty()).then(own),
                },
            },
        }
    }

    /// Moves a cursor's position past what its filter rejects.
    pub fn look(
        &self,
        ctx: &Context,
        stream: &RedisString,
        position: &mut Option<EventId>,
    ) -> Result<Look, Error> {
        let group = Group {
            ctx,
            stream,
            name: &self.name,
        };
        match &self.kind {
            Kind::Cursor { lag_ms: None, .. } => Ok(Look::Never),
            Kind::Cursor {
                lag_ms: Some(ms),
                filtered: None,
            } => look_at_age(&group, position, *ms, &Filter::default()),
            Kind::Cursor {
                lag_ms: Some(ms),
                filtered: Some(args),
            } => {
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let filter = Options::parse(Args::new(&args))?.filter;
                look_at_age(&group, position, *ms, &filter)
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
                        Turn::Mine { others_hold: true } => return Ok(Look::Wake),
                        Turn::Mine { .. } if *takes_new && has_new(&group)? => {
                            return Ok(Look::Wake)
                        }
                        // A reader that waits is not silent.
                        Turn::Mine { .. } => later(ms / 2),
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

/// Whether there is something old enough that the filter takes. A reader that its timer wakes cannot wait
/// on, so what is rejected must not wake it.
fn look_at_age(
    cursor: &Group,
    position: &mut Option<EventId>,
    lag_ms: u64,
    filter: &Filter,
) -> Result<Look, Error> {
    let now_ms = streams::now_ms();
    let mut before = position.unwrap_or_default();
    let page = if filter.is_empty() { 1 } else { LOOKED_AT };
    let next = groups::range(cursor.ctx, cursor.stream, before, EventId::MAX, page)?;
    let Some(next) = next else {
        return Ok(Look::Never);
    };
    let mut looked_at = 0u64;
    for entry in groups::entries(next.view()) {
        let Some(id) = EventId::parse(entry.id) else {
            return Ok(Look::Wake);
        };
        // Older than lag_ms, so one ms more.
        let due_ms = id.ms.saturating_add(lag_ms).saturating_add(1);
        if let Some(ms) = due_ms.checked_sub(now_ms).filter(|ms| *ms > 0) {
            return Ok(Look::Later(ms));
        }
        let fields = entry.fields();
        let event = event::decode(&fields);
        if filter.takes(event.as_ref()) || missed(before, [(id, event.is_some())]) > 0 {
            return Ok(Look::Wake);
        }
        before = id;
        *position = Some(id);
        looked_at = looked_at.saturating_add(1);
    }
    // There may be more to look at, but not now: other clients wait, too.
    Ok(match looked_at >= page {
        true => later(0),
        false => Look::Never,
    })
}
