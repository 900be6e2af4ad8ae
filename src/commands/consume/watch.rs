//! Changes for a waiting reader that time alone brings: a pending entry becomes claimable, the lease of the
//! active consumer runs out, an event becomes old enough.

use super::turn::{Turn, turn};
use crate::redis::clock;
use crate::redis::keys;
use crate::server::blocking::Look;
use crate::store::groups::{self, Group, Whose};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::consume::{Reader, Request};
use redis_module::{Context, RedisString};
use std::time::{Duration, Instant};

/// Of the reader's options those that time has a part in.
pub struct Watch {
    name: RedisString,
    awaited: Awaited,
    calm: Option<Calm>,
}

/// As long as this lasts, nothing that is pending is to be had: looking through all of it for each write
/// to the stream would take too long.
struct Calm {
    /// When time may change that; `None` if it cannot.
    until: Option<Instant>,
    /// How many entries had been handed on so far.
    handed_on: u64,
}

enum Awaited {
    Group {
        consumer: RedisString,
        claim_ms: Option<u64>,
        lease_ms: Option<u64>,
        max_pending: Option<u64>,
    },
    Cursor {
        lag_ms: Option<u64>,
    },
}

/// A shorter time than this is not worth a timer.
const SHORTEST_MS: u64 = 10;

/// The number of pending entries in a page, when the one that is claimable first is looked for.
const LOOKED_AT: u64 = 1000;

/// The number of such pages.
const PAGES: usize = 5;

impl Watch {
    pub fn new(request: &Request) -> Self {
        Watch {
            name: keys::string(request.reader.name()),
            awaited: match &request.reader {
                Reader::Group(group) => Awaited::Group {
                    consumer: keys::string(group.consumer),
                    claim_ms: group.claim_ms,
                    lease_ms: group.lease_ms,
                    max_pending: group.max_pending,
                },
                Reader::Cursor(cursor) => Awaited::Cursor {
                    lag_ms: cursor.lag_ms,
                },
            },
            calm: None,
        }
    }

    /// Whether nothing that was pending when it looked last can have become claimable.
    pub fn is_calm(&self) -> bool {
        self.calm.as_ref().is_some_and(|calm| {
            calm.handed_on == groups::handed_on()
                && calm.until.is_none_or(|until| Instant::now() < until)
        })
    }

    /// A cursor's position is where it has read to.
    pub fn look(
        &mut self,
        ctx: &Context,
        stream: &RedisString,
        position: Option<EventId>,
    ) -> Result<Look, Error> {
        let group = Group {
            ctx,
            stream,
            name: &self.name,
        };
        let is_calm = self.is_calm();
        match &self.awaited {
            Awaited::Cursor { lag_ms: None } => Ok(Look::Never),
            Awaited::Cursor { lag_ms: Some(ms) } => {
                look_at_age(&group, position.unwrap_or_default(), *ms)
            }
            Awaited::Group {
                claim_ms: None,
                lease_ms: None,
                ..
            } => {
                self.calm = Some(Calm::new(None));
                Ok(Look::Never)
            }
            Awaited::Group {
                consumer,
                claim_ms,
                lease_ms,
                max_pending,
            } => {
                let Some(state) = group.state()? else {
                    // The stream was deleted, and a write will wake us.
                    return Ok(Look::Never);
                };
                let lease = match lease_ms {
                    None => Look::Never,
                    Some(ms) => match turn(&group, consumer, *ms)? {
                        // Not our turn: claimable entries are another's to claim.
                        Turn::Others { free_in_ms } => return Ok(later(free_in_ms)),
                        Turn::Mine {
                            others_hold: true, ..
                        }
                        | Turn::Mine {
                            is_new: true,
                            holds: true,
                            ..
                        } => return Ok(Look::Wake),
                        Turn::Mine { .. }
                            if has_new(&group, state.position)?
                                && has_room(&group, consumer, *max_pending)? =>
                        {
                            return Ok(Look::Wake);
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
                    Some(ms) => {
                        if !is_calm {
                            self.calm = claimable_in(&group, *ms)?
                                .map(|ms| Calm::new(Some(Duration::from_millis(ms))));
                        }
                        match &self.calm {
                            None => Look::Wake,
                            Some(calm) => later(calm.left_ms()),
                        }
                    }
                };
                Ok(lease.sooner(claim))
            }
        }
    }
}

fn later(ms: u64) -> Look {
    Look::Later(ms.max(SHORTEST_MS))
}

impl Calm {
    fn new(lasts: Option<Duration>) -> Self {
        Calm {
            until: lasts.and_then(|lasts| Instant::now().checked_add(lasts)),
            handed_on: groups::handed_on(),
        }
    }

    fn left_ms(&self) -> u64 {
        let left = self
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(u64::MAX, |left| {
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        })
    }
}

/// In how many ms the first of what is pending is claimable; `None` if one is now.
fn claimable_in(group: &Group, claim_ms: u64) -> Result<Option<u64>, Error> {
    if !group.pending(&Whose::Idle { ms: claim_ms }, 1)?.is_empty() {
        return Ok(None);
    }
    // No command tells which has been idle longest: ask for those that were idle longer than the ones
    // known so far.
    let mut idle_ms = 0;
    let mut page = group.pending_after(None, LOOKED_AT)?;
    for _ in 0..PAGES {
        let Some(longest) = page.iter().map(|pending| pending.idle_ms).max() else {
            break;
        };
        idle_ms = longest;
        let ms = longest.saturating_add(1);
        page = group.pending(&Whose::Idle { ms }, LOOKED_AT)?;
    }
    // Entries that become pending later are not claimable before.
    Ok(Some(claim_ms.saturating_sub(idle_ms).max(SHORTEST_MS)))
}

/// Whether the consumer may hold one more.
fn has_room(group: &Group, consumer: &RedisString, most: Option<u64>) -> Result<bool, Error> {
    let Some(most) = most else {
        return Ok(true);
    };
    let held = group.pending(&Whose::Own(consumer), most)?.len();
    Ok(u64::try_from(held).unwrap_or(u64::MAX) < most)
}

/// Whether the group has something to read.
fn has_new(group: &Group, position: EventId) -> Result<bool, Error> {
    Ok(groups::next(group.ctx, group.stream, position)?.is_some())
}

/// Whether the next entry is old enough.
fn look_at_age(cursor: &Group, position: EventId, lag_ms: u64) -> Result<Look, Error> {
    let Some(next) = groups::next(cursor.ctx, cursor.stream, position)? else {
        return Ok(Look::Never);
    };
    // Older than lag_ms, so one ms more.
    let due_ms = next.ms.saturating_add(lag_ms).saturating_add(1);
    Ok(match due_ms.saturating_sub(clock::now_ms()) {
        0 => Look::Wake,
        ms => Look::Later(ms),
    })
}
