//! Giving: lanes from their first event on, and new events.

use super::super::cursor::is_of_another;
use super::super::lane::{Lane, Standing, flags};
use super::super::op::{End, Op};
use super::super::refusal::Refusal;
use super::super::settings::Order;
use super::super::stream::{Burial, Delivery, Entry, Stream, Verdict};
use super::Consuming;
use crate::entity::event_id::EventId;

impl Consuming<'_, '_> {
    /// Takes the turn, if there is one to take.
    pub(super) fn take_turn(&mut self) -> u32 {
        let number = match self.number {
            Some(number) => number,
            None => self.act.consumer(self.consumer),
        };
        self.number = Some(number);
        if self.settings.order != Order::Stream {
            return number;
        }
        let turn = self.act.group().and_then(|group| group.turn);
        if turn != Some(number) {
            if let Some(other) = turn {
                self.act.change(Op::SilenceAll(other));
            }
            self.act.change(Op::Turn(Some(number)));
        }
        number
    }

    /// An event is given.
    fn count(&mut self, id: EventId) {
        self.given = self.given.saturating_add(1);
        self.left = self.left.saturating_sub(1);
        if self.settings.claim_ms == 0 {
            self.batch.insert(id);
        }
    }

    pub(super) fn may_change_dead(&mut self, stream: &mut impl Stream) -> Result<bool, Refusal> {
        if !stream.may_change_dead() {
            if !self.act.has_changed() {
                return Err(Refusal::NoDeadRights);
            }
            // What was done stays done; the next call is refused.
            self.is_cut = true;
            return Ok(false);
        }
        Ok(true)
    }

    /// Gives the events of a free lane, from its first on, as many as may be. Whether it got anywhere.
    pub(super) fn give_lane(
        &mut self,
        id: EventId,
        stream: &mut impl Stream,
    ) -> Result<bool, Refusal> {
        let pending = self.act.pending();
        let lane = pending.and_then(|pending| pending.lane_of(id)).copied();
        let first = lane
            .zip(pending)
            .and_then(|(lane, pending)| pending.first(&lane));
        let (Some(lane), Some(first)) = (lane, first) else {
            return Ok(false);
        };
        if lane.held > 0 {
            return Ok(false);
        }
        // One that stands among those that are due was due before the clock went back.
        let due = (lane.standing != Standing::Delayed).then_some(first.id);
        let mut next = Some(first.id);
        let mut moved = false;
        while let Some(id) = next.filter(|_| self.left > 0 && !self.alone && !self.is_cut) {
            let pending = self.act.pending();
            let entry = pending.and_then(|pending| pending.entry(id)).copied();
            let Some(entry) = entry else {
                break;
            };
            next = pending.and_then(|pending| pending.next_in_lane(&entry));
            let parked = pending.and_then(|pending| pending.parked_by(lane.key));
            if parked.is_some_and(|parked| parked < id) {
                break;
            }
            if !entry.is(flags::GIVEN) && self.room() == 0 {
                // It is queued behind those that come again.
                break;
            }
            let failure = pending.and_then(|pending| pending.failure(id));
            if due != Some(id) && failure.is_some_and(|failure| failure.due_ms > self.act.now_ms) {
                break;
            }
            let failures = failure.map_or(0, |failure| failure.failures);
            let max_deliveries = self.settings.max_deliveries;
            let is_alone = max_deliveries.is_some() && entry.is(flags::SILENT);
            if is_alone && !self.may_give_silent() {
                break;
            }
            if is_alone && max_deliveries.is_some_and(|most| entry.deliveries >= most) {
                if !self.may_change_dead(stream)? {
                    break;
                }
                match self.act.bury(id, stream) {
                    Burial::Buried(_) => (),
                    Burial::Gone => self.missed = self.missed.saturating_add(1),
                    Burial::Refused if !self.act.has_changed() => return Err(Refusal::NotBuried),
                    Burial::Refused => {
                        // The next call is refused.
                        self.is_cut = true;
                        break;
                    }
                }
                moved = true;
                self.buried = self.buried.saturating_add(1);
                self.is_cut |= self.buried >= self.limits.buried;
                continue;
            }
            if entry.is(flags::REDRIVEN) && !self.settings.filter.is_empty() {
                // WHERE may reject it; then it leaves the dead stream.
                if !self.may_change_dead(stream)? {
                    break;
                }
            }
            let delivery = Delivery {
                id: entry.is(flags::REDRIVEN).then_some(id),
                deliveries: entry.deliveries.saturating_add(1),
                failures,
            };
            let settings = self.settings.clone();
            let mut passes = false;
            let found = stream.look_up(self.act.place(id), &mut |entry| {
                passes = settings.filter.is_empty() || entry.passes(&settings.filter);
                match passes {
                    true => Verdict::Give(delivery),
                    false => Verdict::Pass,
                }
            });
            moved = true;
            if found && passes {
                let consumer = self.take_turn();
                if is_alone && self.held() > 0 {
                    // Whatever else it holds is due, too.
                    self.act.change(Op::SilenceAll(consumer));
                }
                self.act.change(Op::Give {
                    consumer,
                    id,
                    alone: is_alone,
                });
                self.count(id);
                self.alone = is_alone;
                if lane.key != 0 {
                    self.keys.insert(lane.key);
                }
                continue;
            }
            if !found {
                self.missed = self.missed.saturating_add(1);
            }
            let end = if found { End::Rejected } else { End::Gone };
            self.act.finish(id, end, stream);
            self.looked_at = self.looked_at.saturating_add(1);
            self.is_cut |= self.looked_at >= self.limits.looked_at;
        }
        Ok(moved)
    }

    /// Gives new events, acknowledges those that WHERE rejects, and queues those of held keys. Whether
    /// there is more.
    pub(super) fn read_new(&mut self, stream: &mut impl Stream) -> bool {
        let start = self.act.position();
        let mut position = start;
        let (mut rejected, mut gap, mut more) = (0u64, 0u64, false);
        let mut goes_back = false;
        let is_unknown = self
            .act
            .reader()
            .is_some_and(|reader| reader.missed_unknown);
        let seed = self
            .act
            .reader()
            .map(|reader| reader.seed)
            .unwrap_or_default();
        let settings = self.settings.clone();
        let has_filter = !settings.filter.is_empty();
        let too_young = self.act.now_ms.saturating_sub(settings.min_age_ms);
        stream.scan(start, &mut |entry: &dyn Entry| {
            let id = entry.id();
            if settings.min_age_ms > 0 && id.ms >= too_young {
                let age = settings.min_age_ms.saturating_add(1);
                self.young_until = Some(id.ms.saturating_add(age));
                return Verdict::Stop;
            }
            if self.left == 0 {
                more = true;
                return Verdict::Stop;
            }
            if self.looked_at >= self.limits.looked_at {
                self.is_cut = true;
                return Verdict::Stop;
            }
            let between = id.seq.saturating_sub(position.seq).saturating_sub(1);
            let verdict = if has_filter && !entry.passes(&settings.filter) {
                rejected = rejected.saturating_add(1);
                self.looked_at = self.looked_at.saturating_add(1);
                Verdict::Pass
            } else {
                let key = entry.key(&settings.order, seed);
                match self.meet(id, key) {
                    Some(verdict) => verdict,
                    None => return Verdict::Stop,
                }
            };
            if between > 0 && entry.is_event() {
                gap = gap.saturating_add(between);
            }
            if position == start && id.seq <= start.seq {
                goes_back = entry.is_event();
            }
            position = id;
            verdict
        });
        if position != start {
            self.act.change(Op::Position {
                id: position,
                rejected,
            });
        }
        if goes_back && !is_unknown && is_of_another(start, stream) {
            self.act.change(Op::Missed {
                n: 0,
                unknown: true,
            });
            return more;
        }
        // Ids made by hand count nothing: no more are gone than were ever added.
        if gap > 0 && !is_unknown {
            let missed = stream.info().map(|info| gap.min(info.lost()));
            // What the server does not tell, nobody knows: it is too late to refuse the call.
            let (n, unknown) = missed.map_or((0, true), |missed| (missed, false));
            self.missed = self.missed.saturating_add(n);
            if n > 0 || unknown {
                self.act.change(Op::Missed { n, unknown });
            }
        }
        more
    }

    /// Whether there is a new event that may be given, for whoever has room. What WHERE rejects, and what waits for held
    /// events of its key, is passed over, and not looked at again by the next call that waits.
    pub(super) fn has_new(&mut self, last: Option<EventId>, stream: &mut impl Stream) -> bool {
        let Some(group) = self.act.group() else {
            return false;
        };
        let mut glance = group.glance;
        let from = glance.from(self.act.position());
        if last <= Some(from) {
            return false;
        }
        let unheld = group.pending.len().saturating_sub(group.pending.held());
        let settings = self.settings.clone();
        let seed = self.act.reader().map(|reader| reader.seed);
        let seed = seed.unwrap_or_default();
        let too_young = self.act.now_ms.saturating_sub(settings.min_age_ms);
        let mut found = false;
        let mut looked_at = 0u32;
        stream.scan(from, &mut |entry: &dyn Entry| {
            let id = entry.id();
            if settings.min_age_ms > 0 && id.ms >= too_young {
                let age = settings.min_age_ms.saturating_add(1);
                self.young_until = Some(id.ms.saturating_add(age));
                return Verdict::Stop;
            }
            if looked_at >= self.limits.looked_at {
                // The rest is for a call that writes how far it came.
                found = true;
                return Verdict::Stop;
            }
            looked_at = looked_at.saturating_add(1);
            if settings.filter.is_empty() || entry.passes(&settings.filter) {
                let key = entry.key(&settings.order, seed);
                let is_taken = key != 0 && self.is_taken(key);
                if !is_taken {
                    found = true;
                    return Verdict::Stop;
                }
                // As `meet` does.
                let queued = unheld.saturating_add(glance.taken);
                if !settings.order.looks_ahead() || queued >= self.limits.max_queued {
                    return Verdict::Stop;
                }
                if glance.taken >= self.limits.looked_at {
                    // As many are worth being written down.
                    found = true;
                    return Verdict::Stop;
                }
                glance.take(id);
            } else {
                glance.reject(id);
            }
            Verdict::Pass
        });
        if let Some(group) = self.act.group_mut() {
            group.glance = glance;
        }
        found
    }

    /// Whether events of a key wait: those that are held, queued or parked.
    fn is_taken(&self, key: u64) -> bool {
        let pending = self.act.pending();
        pending.is_some_and(|pending| {
            pending.parked_by(key).is_some() || pending.lane_by_key(key).is_some()
        })
    }

    /// A new event: given, queued, or (`None`) not to be passed.
    pub(super) fn meet(&mut self, id: EventId, key: u64) -> Option<Verdict> {
        let pending = self.act.pending()?;
        if pending.highest() >= Some(id) && pending.entry(id).is_some() {
            // Redriven before the reader moved back behind it.
            return Some(Verdict::Pass);
        }
        // Nothing of the key may wait, and what is held must be of this batch.
        let is_free = |lane: &Lane| {
            let last = pending.last_of(lane);
            self.keys.contains(&key) && last.is_some_and(|entry| entry.is(flags::HELD))
        };
        let is_taken = key != 0
            && (pending.parked_by(key).is_some()
                || pending.lane_by_key(key).is_some_and(|lane| !is_free(lane)));
        if is_taken {
            let unheld = pending.len().saturating_sub(pending.held());
            if !self.settings.order.looks_ahead() {
                return None;
            }
            if unheld >= self.limits.max_queued {
                if let Some(group) = self.act.group_mut() {
                    group.stopped_at = Some((id, key));
                }
                return None;
            }
            self.act.change(Op::Queue { id, key });
            self.looked_at = self.looked_at.saturating_add(1);
            return Some(Verdict::Pass);
        }
        let consumer = self.take_turn();
        self.act.change(Op::Deliver { consumer, id, key });
        self.count(id);
        if key != 0 {
            self.keys.insert(key);
        }
        Some(Verdict::Give(Delivery {
            id: None,
            deliveries: 1,
            failures: 0,
        }))
    }

    /// PENDING: the consumer counts as gone silent. What it held, as far as there is room for it.
    pub(super) fn take_back(&mut self) -> Vec<EventId> {
        let Some(number) = self.number().filter(|_| self.held() > 0) else {
            return Vec::new();
        };
        let own = self.act.pending().map_or_else(Vec::new, |pending| {
            let lanes = pending.lanes_of(number);
            let most = usize::try_from(self.left.saturating_add(self.limits.buried));
            let held = lanes.filter_map(|lane| {
                let mut entries = pending.entries_of(lane);
                entries
                    .find(|entry| entry.is(flags::HELD))
                    .map(|entry| entry.id)
            });
            held.take(most.unwrap_or(usize::MAX)).collect()
        });
        self.act.change(Op::SilenceAll(number));
        own
    }
}
