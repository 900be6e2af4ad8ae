//! REDRIVE and DISCARD: what becomes of the dead.

use super::act::{Act, Outcome};
use super::lane::Standing;
use super::op::{End, Op};
use super::readers::Readers;
use super::refusal::Refusal;
use super::settings::{Kind, Order, Settings};
use super::stream::{DeadEntry, Selector, Stream, Verdict};
use crate::entity::event_id::EventId;
use std::collections::HashSet;

/// A dead entry of the reader that is meant.
struct Dead {
    /// Its entry in the dead stream.
    dead: EventId,
    /// Its original id.
    id: EventId,
    /// Its key's hash.
    key: u64,
}

impl Act<'_> {
    /// The entries of the dead stream that belong to the reader and are selected, in their order.
    fn select(&self, selector: &Selector, stream: &mut impl Stream) -> Vec<Dead> {
        let Some(reader) = self.reader() else {
            return Vec::new();
        };
        let (order, seed) = (&reader.settings.order, reader.seed);
        let ids: HashSet<EventId> = match selector {
            Selector::Ids(ids) => ids.iter().copied().collect(),
            _ => HashSet::new(),
        };
        let by_id = matches!(selector, Selector::Ids(_));
        let pending = self.pending();
        let mut selected = Vec::new();
        stream.scan_dead(&mut |entry: &dyn DeadEntry| {
            let origin = entry.origin();
            let origin = origin.filter(|origin| *origin.reader == *reader.name);
            // The state names some entries, whatever their stream was called.
            let is_known = |id| {
                let key = entry.key(order, seed);
                let known = pending.map(|p| [p.redriven(id), p.parked_dead(key, id)]);
                known.is_some_and(|known| known.contains(&Some(entry.id())))
            };
            let origin = origin.filter(|origin| origin.is_ours || is_known(origin.id));
            if let Some(origin) = origin {
                let is_meant = match by_id {
                    true => ids.contains(&origin.id),
                    false => entry.is_selected(selector, order),
                };
                if is_meant {
                    selected.push(Dead {
                        dead: entry.id(),
                        id: origin.id,
                        key: entry.key(order, seed),
                    });
                }
            }
            true
        });
        selected
    }

    /// Delayed events that are selected.
    fn select_delayed(&self, selector: &Selector, stream: &mut impl Stream) -> Vec<EventId> {
        let Some((reader, pending)) = self.reader().zip(self.pending()) else {
            return Vec::new();
        };
        let is_delayed = |id: &EventId| {
            let lane = pending.lane_of(*id);
            lane.is_some_and(|lane| {
                let is_first = pending.first(lane).is_some_and(|first| first.id == *id);
                is_first && lane.standing == Standing::Delayed
            })
        };
        if let Selector::Ids(ids) = selector {
            return ids.iter().copied().filter(is_delayed).collect();
        }
        let delayed = pending
            .delayed()
            .filter_map(|(_, lane)| pending.first(lane));
        let delayed: Vec<EventId> = delayed.map(|first| first.id).collect();
        let order = &reader.settings.order;
        let mut is_meant = |id: &EventId| {
            let mut is_meant = *selector == Selector::All;
            if !is_meant {
                stream.look_up(self.place(*id), &mut |entry| {
                    is_meant = entry.is_selected(selector, order);
                    Verdict::Pass
                });
            }
            is_meant
        };
        delayed.into_iter().filter(|id| is_meant(id)).collect()
    }
}

fn check(selector: &Selector, settings: &Settings) -> Result<(), Refusal> {
    match selector {
        Selector::Key(_) if !matches!(settings.order, Order::Meta(_)) => Err(Refusal::KeyNeedsMeta),
        _ => Ok(()),
    }
}

impl Readers {
    /// `DIRTY.REDRIVE`: how many dead events come back to the group, and delayed ones become due.
    pub fn redrive(
        &mut self,
        group: &[u8],
        selector: &Selector,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<u64>, Refusal> {
        let mut act = Act::on(self, Kind::Group, group, now_ms)?;
        check(selector, &act.settings())?;
        if !stream.may_change_dead() {
            return Err(Refusal::NoDeadRights);
        }
        act.observe(stream)?;
        let mut redriven = 0u64;
        for id in act.select_delayed(selector, stream) {
            act.change(Op::Due(id));
            redriven = redriven.saturating_add(1);
        }
        let position = act.position();
        for Dead { dead, id, key } in act.select(selector, stream) {
            let is_pending = act
                .pending()
                .is_some_and(|pending| pending.entry(id).is_some());
            // What is unread comes anyway.
            if !is_pending && id <= position {
                act.change(Op::Redrive { id, key, dead });
                redriven = redriven.saturating_add(1);
            }
        }
        Ok(act.end(redriven, None))
    }

    /// `DIRTY.DISCARD`: how many dead events are given up for good. Keys that they parked go on.
    pub fn discard(
        &mut self,
        kind: Kind,
        name: &[u8],
        selector: &Selector,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<u64>, Refusal> {
        let mut act = Act::on(self, kind, name, now_ms)?;
        check(selector, &act.settings())?;
        if !stream.may_change_dead() {
            return Err(Refusal::NoDeadRights);
        }
        act.observe(stream)?;
        let mut discarded = 0u64;
        for Dead { dead, id, key } in act.select(selector, stream) {
            let pending = act.pending();
            let redriven = pending.and_then(|pending| pending.redriven(id));
            let is_held = pending
                .and_then(|p| p.lane_of(id))
                .is_some_and(|lane| lane.held > 0);
            if redriven == Some(dead) {
                if is_held {
                    // Somebody works on it.
                    continue;
                }
                act.change(Op::Finish {
                    id,
                    end: End::Dropped,
                });
            }
            let parked = act
                .pending()
                .and_then(|pending| pending.parked_dead(key, id));
            if parked == Some(dead) {
                act.change(Op::Unpark { key, id });
            }
            stream.unbury(dead);
            discarded = discarded.saturating_add(1);
        }
        // Keys whose dead event somebody deleted by hand.
        for (key, id) in act.orphans(selector, stream) {
            act.change(Op::Unpark { key, id });
            discarded = discarded.saturating_add(1);
        }
        Ok(act.end(discarded, None))
    }
}

impl Act<'_> {
    /// Parked keys that are selected and whose dead entry is gone.
    fn orphans(&self, selector: &Selector, stream: &mut impl Stream) -> Vec<(u64, EventId)> {
        let Some((reader, pending)) = self.reader().zip(self.pending()) else {
            return Vec::new();
        };
        let key = match (selector, &reader.settings.order) {
            (Selector::Entity(name, id), Order::Entity) => {
                Some(super::key_hash::key_hash(reader.seed, &[name, id]))
            }
            (Selector::Key(value), _) => Some(super::key_hash::key_hash(reader.seed, &[value])),
            _ => None,
        };
        let is_meant = |(other, parked): &(u64, super::pending::Parked)| match selector {
            Selector::All => true,
            Selector::Ids(ids) => ids.contains(&parked.id),
            _ => key == Some(*other),
        };
        let parked = pending.parked().filter(is_meant);
        let mut orphans = Vec::new();
        for (key, parked) in parked {
            let place = super::stream::Place::Dead {
                id: parked.id,
                dead: parked.dead,
            };
            if !stream.look_up(place, &mut |_| Verdict::Pass) {
                orphans.push((key, parked.id));
            }
        }
        orphans
    }
}
