//! CONSUME of a group: ACK; PENDING; what is due; queued events of free keys; new ones.

mod due;
mod give;

use super::act::{Act, Outcome};
use super::lane::{Lane, Standing, flags};
use super::op::Op;
use super::readers::Readers;
use super::refusal::Refusal;
use super::settings::{Kind, Order, Settings};
use super::stream::Stream;
use crate::entity::event_id::EventId;
use std::collections::HashSet;
use std::sync::Arc;

/// `DIRTY.CONSUME stream GROUP group consumer [ACK n id …] [PENDING] [COUNT n]`. A call that has waited
/// asks again without ACK and PENDING.
#[derive(Clone, Debug)]
pub struct Consume<'a> {
    /// The group.
    pub group: &'a [u8],
    /// The consumer.
    pub consumer: &'a [u8],
    /// ACK.
    pub ack: &'a [EventId],
    /// PENDING.
    pub pending: bool,
    /// COUNT.
    pub count: u32,
}

/// What one call may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `dirty.max-queued`: how many entries a group may keep that nobody holds.
    pub max_queued: u32,
    /// How many entries one call looks at without giving them.
    pub looked_at: u32,
    /// How many events one call moves to the dead stream.
    pub buried: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_queued: 1_000_000,
            looked_at: 10_000,
            buried: 1_000,
        }
    }
}

/// The reply, besides the events, which the stream has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// How many events were given.
    pub given: u32,
    /// Of ACK: what the consumer did not hold.
    pub not_held: Vec<EventId>,
    /// How many events the group can no longer get; `None` if nobody knows.
    pub missed: Option<u64>,
    /// Another call now would find something, or has yet to look.
    pub more: bool,
}

impl Consumed {
    /// Whether there is nothing to tell: then BLOCK waits, unless there is more.
    pub fn is_empty(&self) -> bool {
        self.given == 0 && self.not_held.is_empty() && self.missed == Some(0)
    }
}

/// What a waiting call would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// Perhaps something: it is worth asking.
    Some,
    /// Nothing, before this time in ms if nobody does anything.
    None(Option<u64>),
    /// The same, and for no other call of the reader either.
    ForNobody(Option<u64>),
    /// The same, and for no other call but those of this consumer, which has the turn.
    ForOne(Box<[u8]>, Option<u64>),
}

/// A call at work.
struct Consuming<'a, 'r> {
    act: Act<'r>,
    consumer: &'a [u8],
    /// Its number, if it has one.
    number: Option<u32>,
    settings: Arc<Settings>,
    limits: Limits,
    /// How many events may still be given.
    left: u32,
    given: u32,
    missed: u64,
    looked_at: u32,
    buried: u32,
    /// Keys of which this batch has events: it may bring more of them.
    keys: HashSet<u64>,
    /// With CLAIM 0, what was given: it is due at once, but not for this call.
    batch: HashSet<EventId>,
    /// An event was given alone: nothing else comes.
    alone: bool,
    /// There may be more, which was not looked at.
    is_cut: bool,
    /// When the next new event is old enough.
    young_until: Option<u64>,
}

impl Readers {
    /// Reads as a consumer of a group. The stream is shown what is given, in order.
    pub fn consume(
        &mut self,
        call: &Consume,
        limits: Limits,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Consumed>, Refusal> {
        if call.consumer.is_empty() {
            return Err(Refusal::EmptyName);
        }
        let mut act = Act::on(self, Kind::Group, call.group, now_ms)?;
        act.check_dead_rights(call.consumer, call.ack, false, stream)?;
        let last = act.observe(stream)?;
        act.touch(call.consumer);
        let not_held = act.acknowledge(call.consumer, call.ack, false, stream);
        let mut consuming = Consuming::begin(act, call, limits);
        let more = consuming.read(call.pending, last, stream)?;
        let due_ms = consuming.due_ms();
        let Consuming {
            mut act,
            given,
            missed,
            alone,
            buried,
            ..
        } = consuming;
        act.makes_way = alone || buried > 0;
        let unknown = act.reader().is_some_and(|reader| reader.missed_unknown);
        if unknown {
            act.change(Op::Missed {
                n: 0,
                unknown: false,
            });
        }
        act.sweep_consumers();
        let reply = Consumed {
            given,
            not_held,
            missed: (!unknown).then_some(missed),
            more,
        };
        Ok(act.end(reply, due_ms))
    }
}

impl Readers {
    /// Whether a call that waits would get something now. Changes nothing, so it may be asked where nothing may be
    /// written. What it has looked at is remembered for other calls of the group.
    pub fn prospect(
        &mut self,
        call: &Consume,
        limits: Limits,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Prospect, Refusal> {
        let mut act = Act::on(self, Kind::Group, call.group, now_ms)?;
        let look = act.look(stream)?;
        if look.again.is_some() || act.reader().is_some_and(|reader| reader.missed_unknown) {
            return Ok(Prospect::Some);
        }
        let mut consuming = Consuming::begin(act, call, limits);
        Ok(
            match consuming.may_get() && consuming.has_some(look.last, stream) {
                true => Prospect::Some,
                false => consuming.nothing(),
            },
        )
    }

    /// Whether it depends on the stream if a call that waits would get something, or is certain. As far as the group
    /// knows its stream, which another call must have looked at.
    pub fn may_get(&mut self, group: &[u8], consumer: &[u8], now_ms: u64) -> bool {
        let call = Consume {
            group,
            consumer,
            ack: &[],
            pending: false,
            count: 1,
        };
        let act = Act::on(self, Kind::Group, group, now_ms);
        act.is_ok_and(|act| Consuming::begin(act, &call, Limits::default()).may_get())
    }
}

impl Readers {
    /// When something of a group comes due, for whom it may concern: what is held, delayed, or another's turn.
    pub fn next_due(&self, group: &[u8], now_ms: u64) -> Option<u64> {
        let reader = self.get(group)?;
        let group = reader.group().filter(|group| !group.paused)?;
        let claim_ms = reader.settings.claim_ms;
        let pending = &group.pending;
        let held = pending.head(Standing::Held).map(|lane| {
            let at = lane.at.min(now_ms).max(self.since());
            at.saturating_add(claim_ms)
        });
        let delayed = pending.delayed().next().map(|(due, _)| due);
        let turn = group.turn.and_then(|turn| {
            let seen = group.presence.get(pending.consumers.name(turn));
            match seen {
                Some(seen) if seen.waiting > 0 => None,
                seen => {
                    let at = seen.map_or(0, |seen| seen.at_ms).max(self.since());
                    Some(at.saturating_add(claim_ms))
                }
            }
        });
        held.into_iter().chain(delayed).chain(turn).min()
    }
}

impl<'a, 'r> Consuming<'a, 'r> {
    fn begin(act: Act<'r>, call: &Consume<'a>, limits: Limits) -> Self {
        let settings = act.settings();
        let number = act
            .pending()
            .and_then(|pending| pending.consumers.number(call.consumer));
        Consuming {
            act,
            consumer: call.consumer,
            number,
            settings,
            limits,
            left: call.count,
            given: 0,
            missed: 0,
            looked_at: 0,
            buried: 0,
            keys: HashSet::new(),
            batch: HashSet::new(),
            alone: false,
            is_cut: false,
            young_until: None,
        }
    }
}

impl Readers {
    /// How many lanes of a group, up to this many, consumers that ask after each other may take now, as far as the group
    /// itself tells.
    pub fn ready(&self, group: &[u8], now_ms: u64, most: u32) -> u32 {
        let Some((reader, group)) = self
            .get(group)
            .and_then(|reader| Some((reader, reader.group()?)))
        else {
            return 0;
        };
        let settings = &reader.settings;
        if settings.order == Order::Stream {
            return most.min(1);
        }
        let pending = &group.pending;
        let lists = [Standing::Free, Standing::Silent, Standing::Queued];
        let free = lists.map(|standing| pending.list(standing).len);
        let free = free.into_iter().fold(0, u32::saturating_add);
        let cap = usize::try_from(most).unwrap_or(usize::MAX);
        let is_due = |lane: &&Lane| {
            let at = lane.at.min(now_ms).max(self.since());
            at.saturating_add(settings.claim_ms) <= now_ms
        };
        let held = pending.standing(Standing::Held).take_while(is_due);
        let delayed = pending.delayed().take_while(|(due, _)| *due <= now_ms);
        let due = held
            .take(cap)
            .count()
            .saturating_add(delayed.take(cap).count());
        let due = u32::try_from(due).unwrap_or(most);
        free.saturating_add(due).min(most)
    }
}

impl Consuming<'_, '_> {
    /// Gives what there is to give; whether there is more.
    fn read(
        &mut self,
        pending: bool,
        last: Option<EventId>,
        stream: &mut impl Stream,
    ) -> Result<bool, Refusal> {
        self.clamp();
        let mut own = Vec::new();
        if pending {
            let first = self.first_held();
            if first.is_some_and(|id| self.is_worn(id)) {
                self.may_change_dead(stream)?;
            }
            own = self.take_back();
        }
        if self.act.group().is_none_or(|group| group.paused) || !self.may_take() {
            return Ok(false);
        }
        if self.holds_alone() {
            return Ok(false);
        }
        for id in own {
            // Its lane may have been given with an earlier one.
            let entry = self.act.pending().and_then(|pending| pending.entry(id));
            if self.left > 0 && !self.alone && entry.is_some_and(|e| !e.is(flags::HELD)) {
                self.give_lane(id, stream)?;
            }
        }
        while self.left > 0 && !self.alone && !self.is_cut {
            let Some(due) = self.oldest_due() else {
                break;
            };
            if due.is_held {
                // What is refused must not have changed anything.
                if self.is_worn(due.id) && !self.may_change_dead(stream)? {
                    break;
                }
                self.act.change(Op::Silence(due.id));
            }
            if !self.give_lane(due.id, stream)? {
                break;
            }
        }
        if self.alone {
            return Ok(false);
        }
        let room = match self.waits_for_silent() {
            true => 0,
            false => self.room(),
        };
        let by_room = self.left.min(room);
        if by_room == 0 && self.left > 0 {
            return Ok(self.is_cut);
        }
        self.left = by_room;
        while self.left > 0 && !self.is_cut {
            let head = self.first_of(Standing::Queued);
            let Some(id) = head else {
                break;
            };
            if !self.give_lane(id, stream)? {
                break;
            }
        }
        let has_new = last > Some(self.act.position());
        let mut more = self.is_cut;
        if has_new && !self.is_cut {
            // At MAXPENDING there is nothing for this consumer.
            more = self.read_new(stream) && self.room() > 0 || self.is_cut;
        }
        let is_due = self.left == 0 && self.oldest_due().is_some();
        let is_queued = self.left == 0 && self.first_of(Standing::Queued).is_some();
        Ok(more || is_due || is_queued && self.room() > 0)
    }

    /// There is nothing for this consumer. For whom there may be something all the same.
    fn nothing(&mut self) -> Prospect {
        let due_ms = self.due_ms();
        if !self.may_take() {
            let turn = self.act.group().and_then(|group| group.turn);
            let waits = turn.filter(|turn| self.act.silent_since(*turn).is_none());
            let consumers = self.act.pending().map(|pending| &pending.consumers);
            let name = consumers.zip(waits).map(|(all, turn)| all.name(turn));
            return match name {
                Some(name) => Prospect::ForOne(name.into(), due_ms),
                None => Prospect::ForNobody(due_ms),
            };
        }
        // Others differ by what they hold, and then they get less than one that holds nothing.
        let is_alike = self.settings.max_deliveries.is_none() && self.room() > 0;
        match is_alike || self.held() == 0 {
            true => Prospect::ForNobody(due_ms),
            false => Prospect::None(due_ms),
        }
    }

    /// Whether `read` would give something if new events were there.
    fn may_get(&mut self) -> bool {
        if self.act.group().is_none_or(|group| group.paused)
            || !self.may_take()
            || self.holds_alone()
        {
            return false;
        }
        self.has_due() || !self.waits_for_silent() && self.room() > 0
    }

    /// Whether `read` would give something, without giving it, if it may.
    fn has_some(&mut self, last: Option<EventId>, stream: &mut impl Stream) -> bool {
        self.has_due() || self.first_of(Standing::Queued).is_some() || self.has_new(last, stream)
    }

    /// Whether something is due. If the clock went back behind a failure, its delay begins again, which a call that may
    /// change something sees to.
    fn has_due(&self) -> bool {
        self.oldest_due().is_some() || self.is_delay_late()
    }
}
