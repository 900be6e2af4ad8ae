//! How consumers settle what they hold: ACK, HOLD, FAIL, LEAVE.

use super::act::{Act, Outcome};
use super::lane::Failure;
use super::op::{End, Op};
use super::readers::Readers;
use super::refusal::Refusal;
use super::settings::Kind;
use super::stream::{Burial, Stream, Verdict};
use crate::entity::event_id::EventId;
use std::collections::{BTreeMap, HashSet};

/// `DIRTY.FAIL stream GROUP group consumer message [FORCE] [DELAY ms | FATAL] id …`.
#[derive(Clone, Debug)]
pub struct Fail<'a> {
    /// The group.
    pub group: &'a [u8],
    /// The consumer.
    pub consumer: &'a [u8],
    /// Why.
    pub message: &'a [u8],
    /// Whoever holds them, or nobody.
    pub force: bool,
    /// When they come again.
    pub again: Again,
    /// The events.
    pub ids: &'a [EventId],
}

/// When a failed event comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// After the smaller of 1,000 ms and CLAIM.
    Default,
    /// DELAY ms.
    After(u64),
    /// FATAL: never.
    Never,
}

/// What became of a failed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It comes again.
    Retry,
    /// It is dead.
    Dead,
    /// The consumer does not hold it.
    NotHeld,
}

impl Act<'_> {
    /// Finishes what the consumer holds of these (with `force`: whatever is pending); the others.
    pub(super) fn acknowledge(
        &mut self,
        consumer: &[u8],
        ids: &[EventId],
        force: bool,
        stream: &mut impl Stream,
    ) -> Vec<EventId> {
        let mut not_held = Vec::new();
        let number = self
            .pending()
            .and_then(|pending| pending.consumers.number(consumer));
        // The youngest first: nothing has to take their places then.
        for &id in ids.iter().rev() {
            let is_its = match force {
                true => self.may_settle(consumer, id, force),
                false => number.is_some_and(|number| self.is_holder(number, id)),
            };
            match is_its {
                true => self.finish(id, End::Acknowledged, stream),
                false => not_held.push(id),
            }
        }
        not_held.reverse();
        not_held
    }

    fn check_held(&self, consumer: &[u8], ids: &[EventId]) -> Result<(), Refusal> {
        match ids.iter().find(|id| !self.holds(consumer, **id)) {
            Some(id) => Err(Refusal::NotHeld(*id)),
            None => Ok(()),
        }
    }

    fn may_settle(&self, consumer: &[u8], id: EventId, force: bool) -> bool {
        match force {
            true => self
                .pending()
                .is_some_and(|pending| pending.entry(id).is_some()),
            false => self.holds(consumer, id),
        }
    }

    /// Refuses before anything is done, if acknowledging these changes a dead stream that the user may not
    /// change.
    pub(super) fn check_dead_rights(
        &self,
        consumer: &[u8],
        ids: &[EventId],
        force: bool,
        stream: &mut impl Stream,
    ) -> Result<(), Refusal> {
        let Some(pending) = self.pending().filter(|pending| pending.redriven_len() > 0) else {
            return Ok(());
        };
        let mut ids = ids.iter();
        let changes =
            |id: &EventId| pending.redriven(*id).is_some() && self.may_settle(consumer, *id, force);
        match ids.any(changes) && !stream.may_change_dead() {
            true => Err(Refusal::NoDeadRights),
            false => Ok(()),
        }
    }
}

impl Readers {
    /// `DIRTY.ACK stream GROUP group consumer [FORCE] id …`: the ids that it did not hold.
    pub fn ack(
        &mut self,
        group: &[u8],
        consumer: &[u8],
        force: bool,
        ids: &[EventId],
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Vec<EventId>>, Refusal> {
        let mut act = Act::on(self, Kind::Group, group, now_ms)?;
        act.check_dead_rights(consumer, ids, force, stream)?;
        act.observe(stream)?;
        if !force {
            act.touch(consumer);
        }
        let not_held = act.acknowledge(consumer, ids, force, stream);
        Ok(act.end(not_held, None))
    }

    /// Refuses if the consumer does not hold all of these: the first part of `FLUSH … ACK`, before the flush is planned.
    pub fn check_held(
        &mut self,
        group: &[u8],
        consumer: &[u8],
        ids: &[EventId],
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let act = Act::on(self, Kind::Group, group, now_ms)?;
        act.check_held(consumer, ids)
    }

    /// `FLUSH … ACK stream GROUP group consumer n id …`: all of them, or nothing.
    ///
    /// A client that has lost the reply sends the same again. If the first one was carried out, nobody holds the events any
    /// longer, or another does who got them again since; if it was not, the consumer holds them still, unless they were
    /// taken meanwhile. So the second one has its effect exactly if the first one had none, and `NOTHELD` always says that
    /// this work is to be dropped: it is done, or another does it. A first one that was delayed on its way, and comes after
    /// the second, is refused likewise. What else the consumer holds it may learn by `CONSUME … PENDING`.
    pub fn ack_all(
        &mut self,
        group: &[u8],
        consumer: &[u8],
        ids: &[EventId],
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<()>, Refusal> {
        let mut act = Act::on(self, Kind::Group, group, now_ms)?;
        if act.look(stream)?.again.is_some() {
            // Nothing of the stream that was is held any longer.
            if let Some(id) = ids.first() {
                return Err(Refusal::NotHeld(*id));
            }
        }
        act.check_held(consumer, ids)?;
        act.check_dead_rights(consumer, ids, false, stream)?;
        act.touch(consumer);
        act.acknowledge(consumer, ids, false, stream);
        Ok(act.end((), None))
    }

    /// `DIRTY.HOLD stream GROUP group consumer [id …]`, all that it holds without ids: the ids that it does
    /// not hold.
    pub fn hold(
        &mut self,
        group: &[u8],
        consumer: &[u8],
        ids: Option<&[EventId]>,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Vec<EventId>>, Refusal> {
        let mut act = Act::on(self, Kind::Group, group, now_ms)?;
        act.observe(stream)?;
        act.touch(consumer);
        let mut not_held = Vec::new();
        match ids {
            Some(ids) => {
                for &id in ids {
                    match act.holds(consumer, id) {
                        true => act.change(Op::Renew(id)),
                        false => not_held.push(id),
                    }
                }
            }
            None => {
                let consumers = act.pending().map(|pending| &pending.consumers);
                let number = consumers.and_then(|consumers| {
                    let number = consumers.number(consumer)?;
                    consumers.get(number).filter(|c| c.held > 0).map(|_| number)
                });
                if let Some(number) = number {
                    act.change(Op::RenewAll(number));
                }
            }
        }
        Ok(act.end(not_held, None))
    }

    /// `DIRTY.FAIL` of a group: what became of each id, in their order.
    pub fn fail(
        &mut self,
        call: &Fail,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Vec<Failed>>, Refusal> {
        let mut act = Act::on(self, Kind::Group, call.group, now_ms)?;
        let settings = act.settings();
        let dies = |act: &Act, id: EventId| {
            let deliveries = act
                .pending()
                .and_then(|p| p.entry(id))
                .map_or(0, |e| e.deliveries);
            let is_worn = settings
                .max_deliveries
                .is_some_and(|most| deliveries >= most);
            is_worn || call.again == Again::Never
        };
        let mut ids = call.ids.iter();
        let changes_dead =
            |id: &EventId| act.may_settle(call.consumer, *id, call.force) && dies(&act, *id);
        if ids.any(changes_dead) && !stream.may_change_dead() {
            return Err(Refusal::NoDeadRights);
        }
        act.observe(stream)?;
        if !call.force {
            act.touch(call.consumer);
        }
        let delay_ms = match call.again {
            Again::After(ms) => ms,
            Again::Default | Again::Never => settings.claim_ms.min(1000),
        };
        let mut sorted = call.ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let is_its = |id: &&EventId| act.may_settle(call.consumer, **id, call.force);
        let its: HashSet<EventId> = sorted.iter().filter(is_its).copied().collect();
        let mut failed_keys = HashSet::new();
        let mut became = BTreeMap::new();
        for id in sorted {
            let key = act
                .pending()
                .and_then(|p| p.lane_of(id))
                .map_or(0, |lane| lane.key);
            if !its.contains(&id) {
                became.insert(id, Failed::NotHeld);
                continue;
            }
            if key != 0 && failed_keys.contains(&key) {
                // Given back behind the first one that failed.
                became.insert(id, Failed::Retry);
                continue;
            }
            failed_keys.insert(key);
            act.change(Op::Fail {
                id,
                due_ms: now_ms.saturating_add(delay_ms),
                consumer: call.consumer,
                message: Failure::kept(call.message),
            });
            let end = match dies(&act, id) {
                false => Failed::Retry,
                true if !stream.look_up(act.place(id), &mut |_| Verdict::Pass) => {
                    // It is gone from its stream: the next call is to find that, and to tell it.
                    act.change(Op::Due(id));
                    Failed::Retry
                }
                true => match act.bury(id, stream) {
                    Burial::Buried(_) => Failed::Dead,
                    Burial::Gone => Failed::NotHeld,
                    Burial::Refused => Failed::Retry,
                },
            };
            became.insert(id, end);
        }
        let became = call.ids.iter().map(|id| became.get(id).copied());
        let became = became.map(|end| end.unwrap_or(Failed::NotHeld)).collect();
        Ok(act.end(became, None))
    }

    /// `DIRTY.LEAVE stream GROUP group consumer`: how many events others may take.
    pub fn leave(
        &mut self,
        group: &[u8],
        consumer: &[u8],
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<u32>, Refusal> {
        let mut act = Act::on(self, Kind::Group, group, now_ms)?;
        act.observe(stream)?;
        let consumers = act.pending().map(|pending| &pending.consumers);
        let number = consumers.and_then(|consumers| consumers.number(consumer));
        let held = consumers
            .zip(number)
            .and_then(|(consumers, n)| consumers.get(n));
        let held = held.map_or(0, |consumer| consumer.held);
        if let Some(number) = number {
            if held > 0 {
                act.change(Op::LeaveAll(number));
            }
            if act.group().is_some_and(|group| group.turn == Some(number)) {
                act.change(Op::Turn(None));
            }
            // Whose silence made events due is told if they die: then it stays for a day.
            let is_silent = |lane: &super::lane::Lane| lane.holder == number;
            let silent = act.pending().map(|pending| {
                let mut lanes = pending.standing(super::lane::Standing::Silent).take(100);
                lanes.any(is_silent)
            });
            if silent == Some(false) {
                act.change(Op::ForgetConsumer(number));
            }
        }
        if let Some(group) = act.group_mut() {
            let waits = group
                .presence
                .get(consumer)
                .is_some_and(|seen| seen.waiting > 0);
            if !waits {
                group.presence.forget(consumer);
            }
        }
        Ok(act.end(held, None))
    }
}
