//! What is due, and for whom.

use super::super::lane::{Lane, Standing, flags};
use super::super::op::Op;
use super::super::pending::Pending;
use super::super::settings::Order;
use super::Consuming;
use crate::entity::event_id::EventId;

/// Something that is due.
pub(super) struct Due {
    pub since: u64,
    /// The first entry of its lane.
    pub id: EventId,
    /// Its holder went silent, and is still written down as such.
    pub is_held: bool,
}

impl Consuming<'_, '_> {
    /// Whether the consumer holds an event that was given alone.
    pub(super) fn holds_alone(&self) -> bool {
        self.number().is_some_and(|number| {
            let pending = self.act.pending();
            let lane = pending.and_then(|pending| pending.lanes_of(number).next());
            let first = lane.zip(pending).and_then(|(lane, pending)| {
                pending.entries_of(lane).find(|entry| entry.is(flags::HELD))
            });
            self.settings.max_deliveries.is_some()
                && first.is_some_and(|entry| entry.is(flags::ALONE))
        })
    }

    /// When a held lane comes again.
    pub(super) fn claim_ms(&self, lane: &Lane) -> u64 {
        let at = lane.at.min(self.act.now_ms).max(self.act.readers.since());
        at.saturating_add(self.settings.claim_ms)
    }

    pub(super) fn first_of(&self, standing: Standing) -> Option<EventId> {
        let pending = self.act.pending()?;
        Some(pending.first(pending.head(standing)?)?.id)
    }

    /// Whether events may be given that come alone, since their holder went silent.
    pub(super) fn may_give_silent(&self) -> bool {
        if self.settings.max_deliveries.is_none() {
            return true;
        }
        if self.given > 0 {
            return false;
        }
        // It holds nothing, or nothing that is not due itself.
        let own = self.own_claim_ms();
        own.is_none_or(|claim_ms| claim_ms <= self.act.now_ms)
    }

    /// When the youngest lane that the consumer holds comes again.
    fn own_claim_ms(&self) -> Option<u64> {
        let pending = self.act.pending()?;
        let list = pending.consumers.get(self.number()?)?.lanes;
        pending.lane(list.tail).map(|lane| self.claim_ms(lane))
    }

    /// When the oldest event became due whose holder went silent.
    pub(super) fn oldest_silent(&self) -> Option<Due> {
        let pending = self.act.pending()?;
        let mut oldest = None;
        if let Some(lane) = pending.head(Standing::Silent) {
            oldest = Some(Due {
                since: lane.at.min(self.act.now_ms),
                id: pending.first(lane)?.id,
                is_held: false,
            });
        }
        if let Some(lane) = pending.head(Standing::Held) {
            let since = self.claim_ms(lane);
            let id = pending.first(lane)?.id;
            let is_older = oldest.as_ref().is_none_or(|due| since < due.since);
            // Those that this call has given stand behind all others.
            if since <= self.act.now_ms && is_older && !self.batch.contains(&id) {
                oldest = Some(Due {
                    since,
                    id,
                    is_held: true,
                });
            }
        }
        oldest
    }

    pub(super) fn oldest_due(&self) -> Option<Due> {
        let pending = self.act.pending()?;
        let mut oldest: Option<Due> = None;
        let free = pending.head(Standing::Free);
        let free = free.map(|lane| (lane.at.min(self.act.now_ms), lane));
        let delayed = pending.delayed().next();
        for (since, lane) in free.into_iter().chain(delayed) {
            let is_older = oldest.as_ref().is_none_or(|due| since < due.since);
            if since <= self.act.now_ms && is_older {
                oldest = Some(Due {
                    since,
                    id: pending.first(lane)?.id,
                    is_held: false,
                });
            }
        }
        if self.may_give_silent() {
            let silent = self.oldest_silent();
            let since = oldest.as_ref().map_or(u64::MAX, |due| due.since);
            oldest = silent.filter(|silent| silent.since < since).or(oldest);
        }
        oldest
    }

    /// Whether those that hold something wait until events that come alone have been given.
    pub(super) fn waits_for_silent(&self) -> bool {
        if self.settings.max_deliveries.is_none() || self.held() == 0 {
            return false;
        }
        let claim_ms = self.settings.claim_ms;
        let oldest = self.oldest_silent();
        oldest.is_some_and(|due| due.since.saturating_add(claim_ms) <= self.act.now_ms)
    }

    /// When something comes due for this consumer that is not yet.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let now_ms = self.act.now_ms;
        let group = self.act.group().filter(|group| !group.paused)?;
        if let (Some(turn), Order::Stream) = (group.turn, &self.settings.order)
            && self.number() != Some(turn)
        {
            let silent = self.act.silent_since(turn)?;
            let claim_ms = silent.saturating_add(self.settings.claim_ms);
            if claim_ms > now_ms {
                return Some(claim_ms);
            }
        }
        let pending = &group.pending;
        let delayed = pending.delayed().next().map(|(due, _)| due);
        let times = [self.silent_ms(pending), delayed, self.young_until];
        let later = times.into_iter().flatten().filter(|at| *at > now_ms);
        later.min()
    }

    /// From when this consumer may have what its holder's silence brings. If such events come alone, the first may be
    /// due for long, and this consumer be the next who may have it: as soon as what it holds is due, too.
    fn silent_ms(&self, pending: &Pending) -> Option<u64> {
        let silent = pending.head(Standing::Silent).map(|lane| lane.at);
        let held = pending.head(Standing::Held).map(|lane| self.claim_ms(lane));
        let first = silent.into_iter().chain(held).min()?;
        match self.own_claim_ms() {
            Some(own) if self.settings.max_deliveries.is_some() => Some(first.max(own)),
            _ => Some(first),
        }
    }

    /// Whether an event dies instead of being given again.
    pub(super) fn is_worn(&self, id: EventId) -> bool {
        let entry = self.act.pending().and_then(|pending| pending.entry(id));
        let most = self.settings.max_deliveries;
        most.zip(entry)
            .is_some_and(|(most, entry)| entry.deliveries >= most)
    }

    pub(super) fn first_held(&self) -> Option<EventId> {
        let (pending, number) = (self.act.pending()?, self.number()?);
        let lane = pending.lanes_of(number).next()?;
        let mut entries = pending.entries_of(lane);
        entries
            .find(|entry| entry.is(flags::HELD))
            .map(|entry| entry.id)
    }

    /// The clock may have gone back.
    pub(super) fn clamp(&mut self) {
        let now_ms = self.act.now_ms;
        let lists = [Standing::Held, Standing::Free, Standing::Silent];
        let is_late = self.act.pending().is_some_and(|pending| {
            let mut tails = lists.into_iter().filter_map(|list| pending.tail(list));
            tails.any(|lane| lane.at > now_ms)
        });
        if is_late || self.is_delay_late() {
            self.act.change(Op::Clamp);
        }
    }

    /// Whether the event that is due first after a delay failed later than now.
    pub(super) fn is_delay_late(&self) -> bool {
        self.act.pending().is_some_and(|pending| {
            let delayed = pending.delayed().next();
            let first = delayed.and_then(|(_, lane)| pending.first(lane));
            first.is_some_and(|first| pending.failed_after(first.id, self.act.now_ms))
        })
    }

    /// ORDER STREAM: whether it has the turn, or may take it. Then nobody else holds anything.
    pub(super) fn may_take(&mut self) -> bool {
        let Some(turn) = self.act.group().and_then(|group| group.turn) else {
            return true;
        };
        if self.settings.order != Order::Stream || self.number() == Some(turn) {
            return true;
        }
        let silent = self.act.silent_since(turn);
        let now_ms = self.act.now_ms;
        let claim_ms = self.settings.claim_ms;
        silent.is_some_and(|since| since.saturating_add(claim_ms) <= now_ms)
    }

    /// How many queued and new events MAXPENDING allows.
    pub(super) fn room(&self) -> u32 {
        self.settings.max_pending.saturating_sub(self.held())
    }

    pub(super) fn held(&self) -> u32 {
        let pending = self.act.pending();
        let number = self.number();
        let consumer = number.and_then(|number| pending?.consumers.get(number));
        consumer.map_or(0, |consumer| consumer.held)
    }

    pub(super) fn number(&self) -> Option<u32> {
        self.number
    }
}
