//! How groups and cursors read.

use super::batch::{Batch, Part};
use super::group::{advance, group};
use super::room::has_made_room;
use super::turn::{Turn, turn};
use crate::redis::clock;
use crate::redis::keys;
use crate::server::command::Call;
use crate::store::dead::{Dead, Death};
use crate::store::deletions::Deletions;
use crate::store::groups::{self, Group, GroupState, Pending, Whose};
use crate::store::last_ids;
use crate::store::stream_state;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::groups::LEFT;
use dirty_streams_core::reading::requests::consume::{
    CursorReader, GroupReader, Reader, Request, Start,
};
use redis_module::RedisString;
use std::collections::{HashSet, VecDeque};

/// How many entries one call looks at, at least, when a filter rejects most of them.
const LOOKED_AT: u64 = 10_000;

/// How many pending entries are listed in one go, at least: those that are gone or rejected make room for more.
const LISTED: u64 = 100;

/// How many entries one call moves to the dead stream at most.
const BURIED: usize = 1000;

/// The state of a reader from before it waited.
pub struct Waited {
    /// Where a cursor stood when it began.
    pub start: Option<EventId>,
    /// Past what its filter has rejected since.
    pub position: Option<EventId>,
    /// There may be more, which was not looked at yet.
    pub is_cut: bool,
    /// The stream's state when it began.
    pub stream: stream_state::StreamState,
}

/// Acknowledges what is to be, then reads. A reader that has waited has acknowledged already.
/// If it is calm, nothing has become claimable since it looked.
pub fn read(
    call: &Call,
    request: &Request,
    waited: Option<(&mut Waited, bool)>,
) -> Result<Batch, Error> {
    let name = keys::string(request.reader.name());
    let group = group(call, &name);
    let state = match group.state()? {
        Some(state) => state,
        None => {
            let position = match &waited {
                Some((waited, _)) => waited.resume(call, &group)?,
                None => position(request.from, call)?,
            };
            group.create(position)?;
            GroupState {
                consumers: 0,
                pending: 0,
                position,
            }
        }
    };
    let reading = ReadCall {
        call,
        group: &group,
        request,
        is_waking: waited.is_some(),
        is_calm: waited.as_ref().is_some_and(|(_, is_calm)| *is_calm),
    };
    match &request.reader {
        Reader::Group(reader) => reading.of_group(reader, state),
        Reader::Cursor(reader) => {
            state.check_cursor(&name)?;
            let position = match (waited, reader.ack) {
                (Some((waited, _)), _) => {
                    if waited.start != Some(state.position) {
                        // Somebody has moved it.
                        waited.start = Some(state.position);
                        waited.position = None;
                    }
                    waited.position.unwrap_or(state.position)
                }
                (None, Some(id)) => advance(&group, state.position, id)?,
                (None, None) => state.position,
            };
            reading.of_cursor(reader, position)
        }
    }
}

struct ReadCall<'r> {
    call: &'r Call<'r>,
    group: &'r Group<'r>,
    request: &'r Request<'r>,
    /// Only native commands may run then.
    is_waking: bool,
    is_calm: bool,
}

impl ReadCall<'_> {
    fn of_group(&self, reader: &GroupReader, state: GroupState) -> Result<Batch, Error> {
        let group = self.group;
        if !self.is_waking && !reader.ack.is_empty() {
            acknowledge(self.call, group, &reader.ack, reader.delete)?;
        }
        let consumer = keys::string(reader.consumer);
        let mut batch = Batch::new(Some(state.position), None);
        let mut left = self.request.count;
        // The acknowledged entries may have been all; then there is nothing to look for.
        let is_pending = state.pending > 0;
        let nobody = keys::string(LEFT);
        let own = [Whose::Own(&consumer), Whose::Own(&nobody)];
        let claim_ms = reader.claim_ms.filter(|_| is_pending && !self.is_calm);
        let mut claims = Vec::new();
        let mut takes_all = false;
        match reader.lease_ms {
            None => {
                claims.extend(own.into_iter().filter(|_| reader.pending && is_pending));
                claims.extend(claim_ms.map(|ms| Whose::Idle { ms }));
            }
            // One pass, so that all comes in order.
            Some(lease_ms) => match turn(group, &consumer, lease_ms)? {
                Turn::Others { .. } => return Ok(Batch::empty(None)),
                Turn::Mine {
                    is_new,
                    others_hold,
                    ..
                } => {
                    group.touch(&consumer)?;
                    takes_all = is_new || reader.pending;
                    if takes_all {
                        claims.push(Whose::All);
                    } else if others_hold || claim_ms.is_some() {
                        claims.push(Whose::OthersOrIdle {
                            own: &consumer,
                            ms: claim_ms.unwrap_or(u64::MAX),
                        });
                    }
                }
            },
        }
        for whose in &claims {
            self.claim(&mut batch, reader, &consumer, whose, &mut left)?;
        }
        if takes_all && left == 0 {
            self.hand_on_rest(&batch, &consumer)?;
        }
        let room = match reader.max_pending {
            None => left,
            Some(most) => {
                let held = self.held(&consumer, most)?;
                left.min(most.saturating_sub(held))
            }
        };
        if room > 0 {
            self.new_entries(&mut batch, &consumer, room, state.position)?;
        }
        Ok(batch)
    }

    /// A consumer that has just taken its turn has no room for all that it held before: it goes on with
    /// the rest in its place among the others', not when it asks for its own.
    fn hand_on_rest(&self, batch: &Batch, consumer: &RedisString) -> Result<(), Error> {
        let given: HashSet<EventId> = batch.parts.iter().flat_map(Part::claimed).collect();
        let mut rest = self
            .group
            .pending(&Whose::Own(consumer), u64::from(u32::MAX))?;
        rest.retain(|pending| !given.contains(&pending.event_id()));
        match rest.is_empty() {
            true => Ok(()),
            false => self.group.hand_on(&rest).map(drop),
        }
    }

    /// How many entries a consumer holds, as far as that matters.
    fn held(&self, consumer: &RedisString, most: u64) -> Result<u64, Error> {
        let held = self.group.pending(&Whose::Own(consumer), most)?;
        Ok(u64::try_from(held.len()).unwrap_or(u64::MAX))
    }

    /// Delivers new entries, and acknowledges those that the filter rejects.
    fn new_entries(
        &self,
        batch: &mut Batch,
        consumer: &RedisString,
        mut left: u64,
        mut position: EventId,
    ) -> Result<(), Error> {
        let mut looked_at = 0u64;
        loop {
            let Some(entries) = self.group.read_new(consumer, left)? else {
                return Ok(());
            };
            let part = Part::new(entries, &self.request.filter);
            let (length, kept) = (part.length(), part.kept());
            position = part.last().unwrap_or(position);
            let rejected = part.rejected();
            if !rejected.is_empty() {
                self.reject(&rejected)?;
            }
            batch.parts.push(part);
            looked_at = looked_at.saturating_add(length);
            if length < left {
                break; // the stream's end
            }
            debug_assert!(kept <= left, "no more was asked for");
            left = left.saturating_sub(kept);
            if left == 0 || looked_at >= LOOKED_AT {
                batch.is_cut = left > 0;
                return Ok(());
            }
        }
        let (end, lost) = self.lost_at_the_end(position)?;
        if lost > 0 {
            // Told once.
            self.group.set_position(end)?;
            batch.lost = batch.lost.saturating_add(lost);
        }
        Ok(())
    }

    /// Acknowledges what the filter does not take.
    fn reject(&self, ids: &[EventId]) -> Result<(), Error> {
        self.group.acknowledge(ids)?;
        Deletions::of(self.call.ctx, &self.call.key).settle(ids)
    }

    /// The stream's last id, and how many events that came after a position are gone from its end.
    fn lost_at_the_end(&self, position: EventId) -> Result<(EventId, u64), Error> {
        let (ctx, stream) = (self.call.ctx, &self.call.key);
        let last = match self.is_waking {
            true => stream_state::state(ctx, stream)?.unwrap_or_default().last,
            false => last_ids::get(ctx, keys::current_database(ctx), stream)?,
        };
        let gap = match last > position {
            true => last.seq.saturating_sub(position.seq),
            false => 0,
        };
        if gap == 0 {
            return Ok((position, 0));
        }
        // Ids made by hand count nothing: no more are gone than were ever added.
        let lost = stream_state::state(ctx, stream)?.unwrap_or_default().lost;
        Ok((last, gap.min(u64::try_from(lost).unwrap_or(0))))
    }

    /// Adds pending entries, but none twice, and those that were delivered too often to the dead. Others
    /// take the place of what is not delivered after all: a reader that gets none has none left.
    fn claim(
        &self,
        batch: &mut Batch,
        reader: &GroupReader,
        consumer: &RedisString,
        whose: &Whose,
        left: &mut u64,
    ) -> Result<(), Error> {
        let (mut buried, mut looked_at) = (0usize, 0u64);
        let have: HashSet<EventId> = batch.parts.iter().flat_map(Part::claimed).collect();
        // Those that were listed and not looked at yet, the oldest first. Nobody else runs meanwhile, so they
        // stay as they are, and none is listed twice.
        let mut listed = VecDeque::new();
        let (mut after, mut is_last) = (None, false);
        while *left > 0 {
            if listed.is_empty() {
                if is_last {
                    return Ok(());
                }
                let most = (*left).max(LISTED);
                let page = self.group.pending_of(whose, after, most)?;
                is_last = u64::try_from(page.len()).unwrap_or(u64::MAX) < most;
                after = page.last().map(Pending::event_id);
                let new = page
                    .into_iter()
                    .filter(|pending| !have.contains(&pending.event_id()));
                listed.extend(new);
                continue;
            }
            let most = usize::try_from(*left).unwrap_or(usize::MAX);
            let pending = listed.drain(..most.min(listed.len()));
            let is_worn = |pending: &Pending| {
                let deliveries = u64::try_from(pending.deliveries).unwrap_or(0);
                reader.max_deliveries.is_some_and(|most| deliveries >= most)
            };
            let (worn, pending): (Vec<_>, Vec<_>) = pending.partition(is_worn);
            buried = buried.saturating_add(worn.len());
            for worn in &worn {
                self.bury(batch, reader, worn)?;
                has_made_room(self.call);
            }
            if !pending.is_empty() {
                let entries = self.group.claim(consumer, &pending)?;
                let part = Part::again(entries, &pending, &self.request.filter);
                let claimed = u64::try_from(pending.len()).unwrap_or(u64::MAX);
                debug_assert!(part.length() <= claimed, "an answer to what was claimed");
                // Entries that the stream no longer has are not pending any more.
                let gone = claimed.saturating_sub(part.length());
                batch.lost = batch.lost.saturating_add(gone);
                let rejected = part.rejected();
                if !rejected.is_empty() {
                    self.reject(&rejected)?;
                }
                has_made_room(self.call);
                *left = left.saturating_sub(part.kept());
                looked_at = looked_at.saturating_add(claimed);
                // Rejected entries and those that are gone concern nobody any longer.
                if part.kept() > 0 {
                    batch.parts.push(part);
                }
            }
            if *left > 0 && (buried >= BURIED || looked_at >= LOOKED_AT) {
                batch.is_cut = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn bury(&self, batch: &mut Batch, reader: &GroupReader, worn: &Pending) -> Result<(), Error> {
        let dead = Dead::of(self.call.ctx, &self.call.key, reader.dead)?;
        let id = worn.event_id();
        let failure = dead.failure(self.group, id)?;
        let now_ms = clock::now_ms();
        // The delivery time of entries that FAIL NOW and LEAVE have made due is not known any longer.
        let last_ms = failure.last_ms.max(worn.delivered_ms(now_ms));
        let last_ms = last_ms.unwrap_or(now_ms);
        let message = match failure.message.as_slice() {
            b"" => format!("delivered {} times and not acknowledged", worn.deliveries).into_bytes(),
            message => message.to_vec(),
        };
        let death = Death {
            id,
            consumer: failure.of(worn),
            message: &message,
            deliveries: worn.deliveries,
            first_ms: failure.first_ms.unwrap_or(last_ms),
            last_ms,
        };
        if !dead.bury(self.group, &death)? {
            batch.lost = batch.lost.saturating_add(1);
        }
        Ok(())
    }

    fn of_cursor(&self, reader: &CursorReader, start: EventId) -> Result<Batch, Error> {
        let until = match reader.lag_ms {
            None => EventId::MAX,
            // Older than that: what has this very age is not.
            Some(ms) => EventId {
                ms: clock::now_ms().saturating_sub(ms),
                seq: 0,
            }
            .preceding(),
        };
        let mut batch = Batch::new(Some(start), Some(start));
        let (mut left, mut looked_at, mut position) = (self.request.count, 0u64, start);
        loop {
            let (ctx, stream) = (self.call.ctx, &self.call.key);
            let Some(entries) = groups::range(ctx, stream, position, until, left)? else {
                break;
            };
            let part = Part::read(entries, &self.request.filter);
            let (length, kept) = (part.length(), part.kept());
            position = part.last().unwrap_or(position);
            batch.position = Some(position);
            batch.parts.push(part);
            looked_at = looked_at.saturating_add(length);
            if length < left {
                break; // the end of what it may have
            }
            debug_assert!(kept <= left, "no more was asked for");
            left = left.saturating_sub(kept);
            if left == 0 || looked_at >= LOOKED_AT {
                batch.is_cut = left > 0;
                return Ok(batch);
            }
        }
        let (end, lost) = self.lost_at_the_end(position)?;
        if lost > 0 && end <= until {
            batch.position = Some(end);
            batch.lost = lost;
        }
        Ok(batch)
    }
}

/// Acknowledges entries for a group; with `delete` they go when every group has.
pub fn acknowledge(
    call: &Call,
    group: &Group,
    ids: &[EventId],
    delete: bool,
) -> Result<i64, Error> {
    let acknowledged = group.acknowledge(ids)?;
    if acknowledged > 0 {
        // In a cluster, a stream without a tag has no failures that could be forgotten.
        if let Ok(dead) = Dead::of(call.ctx, &call.key, None) {
            dead.forget(group, ids)?;
        }
        has_made_room(call);
    }
    let deletions = Deletions::of(call.ctx, &call.key);
    match delete {
        true => deletions.ask(group, ids)?,
        false => deletions.settle(ids)?,
    }
    Ok(acknowledged)
}

/// The stream's last id. It may not exist, and one may be known all the same: a node of a cluster that loses a
/// slot it has keys of deletes them and tells nobody.
fn last(call: &Call) -> Result<EventId, Error> {
    match keys::Key::read(call.ctx, &call.key).is_missing() {
        true => Ok(EventId::default()),
        false => last_ids::get(call.ctx, keys::current_database(call.ctx), &call.key),
    }
}

/// The position of a reader that starts here.
pub fn position(start: Start, call: &Call) -> Result<EventId, Error> {
    match start {
        Start::Beginning => {
            // Just before the first entry there is: what was trimmed earlier was not missed.
            match groups::first(call.ctx, &call.key)? {
                Some(first) => Ok(first.preceding()),
                None => last(call),
            }
        }
        Start::Now => last(call),
        // Events count from 1: unless others have added it, this is a time, and no event before the
        // first one of that ms was missed.
        Start::After(id) if id.seq == 0 => {
            let entry = groups::entry(call.ctx, &call.key, id)?;
            Ok(match entry.view().length() {
                0 => id.preceding(),
                _ => id,
            })
        }
        Start::After(id) => Ok(id),
        Start::SinceMs(ms) => Ok(EventId { ms, seq: 0 }.preceding()),
    }
}
