//! A group and its simple model: who holds what, how often it was delivered, what is
//! finished. After each step a copy that got the delta, and the state decoded from its bytes, are equal.

use super::super::*;
use super::fake::Fake;
use crate::entity::event_id::EventId;
use std::collections::{BTreeMap, BTreeSet};

pub const CLAIM: u64 = 1000;
const CONSUMERS: [&[u8]; 4] = [b"c0", b"c1", b"c2", b"c3"];

/// What the model knows of an event that is not finished.
#[derive(Clone, Debug)]
struct Known {
    key: u8,
    /// Who holds it.
    holder: Option<usize>,
    deliveries: u16,
    failures: u32,
    /// When it was delivered, HOLD renewed it, or it failed.
    at: u64,
    due: u64,
    /// It came free since its holder went silent.
    silent: bool,
}

impl Known {
    /// An event that nobody has had yet.
    fn new(key: u8) -> Self {
        Known {
            key,
            holder: None,
            deliveries: 0,
            failures: 0,
            at: 0,
            due: 0,
            silent: false,
        }
    }
}

pub struct World {
    settings: Settings,
    readers: Readers,
    copy: Readers,
    stream: Fake,
    now: u64,
    known: BTreeMap<EventId, Known>,
    /// Of the stream: finished for the group.
    finished: BTreeSet<EventId>,
    /// When each consumer was last seen.
    seen: [u64; 4],
    steps: u64,
    /// The clock did: then only what comes too early is wrong.
    went_back: bool,
}

impl World {
    pub fn new(settings: Settings) -> World {
        let mut world = World {
            settings: settings.clone(),
            readers: Readers::new(),
            copy: Readers::new(),
            stream: Fake::default(),
            now: 10_000,
            known: BTreeMap::new(),
            finished: BTreeSet::new(),
            seen: [10_000; 4],
            steps: 0,
            went_back: false,
        };
        let declare = Declare {
            kind: Kind::Group,
            name: b"g",
            from: Some(From::Start(Start::Beginning)),
            settings,
            revision: None,
            seed: Seed(1, 2),
        };
        let outcome = world
            .readers
            .declare(&declare, world.now, &mut world.stream)
            .unwrap();
        world.follow(outcome.delta);
        world
    }

    /// The copy gets the delta, and must be equal then.
    fn follow(&mut self, delta: Option<Vec<u8>>) {
        if let Some(delta) = &delta {
            assert!(self.copy.apply(delta), "the copy refuses {delta:?}");
        }
        self.readers.assert_sound();
        self.steps += 1;
        if self.steps.is_multiple_of(4) || delta.is_some() {
            assert_eq!(
                self.readers.pieces(),
                self.copy.pieces(),
                "the copy differs"
            );
        }
    }

    fn is_keyed(&self) -> bool {
        self.settings.order != Order::None
    }

    /// Whether the order lets a consumer have this event now, `batch` being what came before it.
    fn assert_in_order(&self, id: EventId, key: u8, who: usize, batch: &[EventId]) {
        if !self.is_keyed() {
            return;
        }
        let same = |other: u8| self.settings.order == Order::Stream || other == key;
        for (earlier, content) in self.stream.entries.range(..id) {
            let other = content.key.unwrap();
            if same(other) && !self.finished.contains(earlier) && !batch.contains(earlier) {
                panic!(
                    "{id} of key {key} comes to c{who} before {earlier}: {:?}",
                    self.known
                );
            }
        }
        for (other_id, other) in &self.known {
            if same(other.key) && other.holder.is_some() && !batch.contains(other_id) {
                panic!("{id} comes to c{who} while {other_id} of its key is held");
            }
        }
    }

    fn consume(&mut self, who: usize, count: u32, pending: bool, ack: Vec<EventId>) {
        let limits = Limits {
            max_queued: 20,
            looked_at: 30,
            buried: 5,
        };
        let held: Vec<EventId> = self.held_by(who);
        let call = Consume {
            group: b"g",
            consumer: CONSUMERS[who],
            ack: &ack,
            pending,
            count,
        };
        let dead_before: BTreeSet<EventId> = self.stream.dead.keys().copied().collect();
        let outcome = self
            .readers
            .consume(&call, limits, self.now, &mut self.stream)
            .unwrap();
        self.seen[who] = self.now;
        // ACK
        let expected: Vec<EventId> = {
            let mut left: BTreeSet<EventId> = held.iter().copied().collect();
            ack.iter().copied().filter(|id| !left.remove(id)).collect()
        };
        assert_eq!(outcome.reply.not_held, expected, "not-held");
        for id in &ack {
            if held.contains(id) {
                self.finish(*id);
            }
        }
        if pending {
            for known in self
                .known
                .values_mut()
                .filter(|known| known.holder == Some(who))
            {
                (known.holder, known.due, known.silent) = (None, 0, true);
            }
        }
        let before = self.known.clone();
        // The dead
        for (_, dead) in self
            .stream
            .dead
            .clone()
            .iter()
            .filter(|(id, _)| !dead_before.contains(id))
        {
            let id = dead.death.id;
            let known = self.known.get(&id).expect("what dies was delivered");
            assert!(known.deliveries >= self.settings.max_deliveries.unwrap());
            assert_eq!(known.deliveries, dead.death.deliveries);
            self.finish(id);
        }
        // What is gone from the stream and was not given is finished: it was missed.
        let group_position = self.readers.get(b"g").unwrap().position;
        let gone: Vec<EventId> = self
            .known
            .keys()
            .copied()
            .filter(|id| {
                let pending = &self.readers.get(b"g").unwrap().group().unwrap().pending;
                pending.entry(*id).is_none()
            })
            .collect();
        for id in gone {
            assert!(!self.stream.entries.contains_key(&id), "{id} was lost");
            self.finish(id);
        }
        let given = self.stream.take_given();
        assert_eq!(given.len() as u32, outcome.reply.given);
        assert!(given.len() as u32 <= count);
        let mut batch: Vec<EventId> = Vec::new();
        let mut alone = None;
        for (id, delivery) in given {
            let key = self.known.get(&id).map(|known| known.key);
            let key = key.unwrap_or_else(|| self.stream.entries[&id].key.unwrap());
            assert!(!self.finished.contains(&id), "{id} is finished");
            assert!(!batch.contains(&id), "{id} twice");
            if let Some(known) = self.known.get(&id) {
                assert!(known.due <= self.now, "{id} is due later");
            }
            // What of its lane is held, itself or others of its key, must have been silent: the lane was
            // claimed as a whole.
            let holder = self.lane_holder(key, id, &batch);
            let has_turn = self.settings.order == Order::Stream && holder != Some(who);
            if let Some(holder) = holder {
                let silent = match has_turn {
                    true => self.seen[holder],
                    false => self.lane_at(key, id),
                };
                assert!(
                    silent + CLAIM <= self.now,
                    "c{holder} holds {id}, or another of its key"
                );
                self.release_lane(key, id);
            }
            self.assert_in_order(id, key, who, &batch);
            batch.push(id);
            let known = self.known.entry(id).or_insert(Known::new(key));
            // What its holder's silence brought comes alone, to who holds nothing that is not silent itself.
            if known.silent && self.settings.max_deliveries.is_some() {
                assert_eq!(outcome.reply.given, 1, "{id} does not come alone");
                alone = Some(id);
            }
            known.silent = false;
            known.holder = Some(who);
            known.deliveries += 1;
            known.at = self.now;
            known.due = 0;
            assert_eq!(delivery.deliveries, known.deliveries, "deliveries of {id}");
            assert_eq!(delivery.failures, known.failures, "failures of {id}");
        }
        if outcome.reply.given == 0 && !outcome.reply.more && count > 0 {
            self.assert_nothing_for(who, group_position);
        }
        self.follow(outcome.delta);
        // Nobody holds less than the model thinks, unless it was silent too long.
        let state = self.state_held();
        for (id, holder) in self.model_held() {
            if state.get(&id) != Some(&holder) {
                let key = self.known[&id].key;
                let known = std::mem::replace(&mut self.known, before.clone());
                let is_expired = self.lane_at(key, id) + CLAIM <= self.now;
                let is_silent =
                    self.settings.order == Order::Stream && self.seen[holder] + CLAIM <= self.now;
                self.known = known;
                assert!(is_expired || is_silent, "c{holder} lost {id}");
                let known = self.known.get_mut(&id).unwrap();
                (known.holder, known.silent) = (None, true);
            }
        }
        assert_eq!(self.model_held(), state);
        if alone.is_some() {
            assert_eq!(
                self.held_by(who).len(),
                1,
                "c{who} holds more than {alone:?}"
            );
        }
    }

    /// Who holds the event, or others of its key that are not of this batch.
    fn lane_holder(&self, key: u8, id: EventId, batch: &[EventId]) -> Option<usize> {
        let (keyed, whole) = (self.is_keyed(), self.settings.order == Order::Stream);
        let mut lane = self.known.iter().filter(|(other, known)| {
            **other == id || keyed && (whole || known.key == key) && !batch.contains(other)
        });
        lane.find_map(|(_, known)| known.holder)
    }

    /// When the lane of an event was last delivered or renewed.
    fn lane_at(&self, key: u8, id: EventId) -> u64 {
        if !self.is_keyed() {
            return self.known[&id].at;
        }
        let same = |known: &&Known| self.settings.order == Order::Stream || known.key == key;
        let held = self
            .known
            .values()
            .filter(same)
            .filter(|known| known.holder.is_some());
        held.map(|known| known.at).max().unwrap_or(0)
    }

    fn release_lane(&mut self, key: u8, id: EventId) {
        let (keyed, whole) = (self.is_keyed(), self.settings.order == Order::Stream);
        for (other, known) in &mut self.known {
            if *other == id || keyed && (whole || known.key == key) {
                known.silent |= known.holder.is_some();
                known.holder = None;
            }
        }
    }

    fn assert_nothing_for(&self, who: usize, position: EventId) {
        let pending_unheld = self.known.values().filter(|known| known.holder.is_none());
        let holds = self.known.values().any(|known| known.holder == Some(who));
        let is_plain = self.settings.order == Order::None && self.settings.max_deliveries.is_none();
        if is_plain && !self.went_back {
            let due = pending_unheld.filter(|known| known.due <= self.now).count();
            assert_eq!(
                due, 0,
                "c{who} gets nothing, though something is due: {:?}",
                self.known
            );
            let unread = self
                .stream
                .entries
                .range(position.succeeding().unwrap()..)
                .count();
            assert!(unread == 0 || holds, "c{who} gets nothing new");
        }
    }

    /// If all wait: who is told that there is nothing gets nothing, nor do the others of whom that is told. Who is told
    /// that there may be something does not come back without any progress.
    fn assert_prospects(&mut self) {
        let mut readers = self.readers.clone();
        for consumer in CONSUMERS {
            readers.set_waiting(b"g", consumer, true, self.now);
        }
        let limits = Limits {
            max_queued: 20,
            looked_at: 30,
            buried: 5,
        };
        let call = |consumer| Consume {
            group: b"g",
            consumer,
            ack: &[],
            pending: false,
            count: 3,
        };
        let getting = CONSUMERS.into_iter().filter(|consumer| {
            let (mut readers, mut stream) = (readers.clone(), self.stream.clone());
            let outcome = readers.consume(&call(consumer), limits, self.now, &mut stream);
            outcome.unwrap().reply.given > 0
        });
        let getting: Vec<&[u8]> = getting.collect();
        for consumer in CONSUMERS {
            let mut stream = self.stream.clone();
            let prospect = readers.prospect(&call(consumer), limits, self.now, &mut stream);
            let may_get = readers.may_get(b"g", consumer, self.now);
            if prospect == Ok(Prospect::Some) {
                let (mut readers, mut stream) = (readers.clone(), self.stream.clone());
                let outcome = readers.consume(&call(consumer), limits, self.now, &mut stream);
                let outcome = outcome.unwrap();
                let got_on = outcome.delta.is_some() || !outcome.reply.is_empty();
                assert!(got_on, "{consumer:?} is called for nothing");
                let is_again = outcome.reply.missed.is_none();
                assert!(may_get || is_again, "{consumer:?} may get something");
            }
            let mut told = getting.iter().filter(|other| match &prospect {
                Ok(Prospect::None(_)) => **other == consumer,
                Ok(Prospect::ForNobody(_)) => true,
                Ok(Prospect::ForOne(one, _)) => ***other != **one,
                Ok(Prospect::Some) => false,
                Err(refusal) => panic!("{refusal:?}"),
            });
            assert_eq!(told.next(), None, "{consumer:?} is told {prospect:?}");
        }
        // What one has looked at the next does not look at, now or after other commands.
        let glance = readers
            .get(b"g")
            .and_then(Reader::group)
            .map(|group| group.glance);
        let number = self.readers.number(b"g").unwrap_or_default();
        let group = self.readers.reader_mut(number).and_then(Reader::group_mut);
        if let Some((group, glance)) = group.zip(glance) {
            group.glance = glance;
        }
    }

    /// Who waits, and is told when to look again, would get nothing before, if nobody does anything meanwhile.
    fn assert_due_times(&self, all_wait: bool) {
        let changes = self.known.values().map(|known| known.at + CLAIM);
        let dues = self.known.values().map(|known| known.due);
        let silences = self.seen.iter().map(|seen| seen + CLAIM);
        let times: BTreeSet<u64> = changes.chain(dues).chain(silences).collect();
        let limits = Limits::default();
        for consumer in CONSUMERS {
            let mut readers = self.readers.clone();
            for other in CONSUMERS {
                if all_wait || other == consumer {
                    readers.set_waiting(b"g", other, true, self.now);
                }
            }
            let call = Consume {
                group: b"g",
                consumer,
                ack: &[],
                pending: false,
                count: 3,
            };
            let mut stream = self.stream.clone();
            let prospect = readers.prospect(&call, limits, self.now, &mut stream);
            let (Prospect::None(due) | Prospect::ForNobody(due) | Prospect::ForOne(_, due)) =
                prospect.unwrap()
            else {
                continue;
            };
            let due = due.unwrap_or(self.now + 10 * CLAIM);
            let before = times.range(self.now..due).copied();
            for now in before.chain([due - 1]) {
                let (mut readers, mut stream) = (readers.clone(), self.stream.clone());
                let outcome = readers.consume(&call, limits, now, &mut stream).unwrap();
                let told = format!("{consumer:?} is told {due} and may have something at {now}");
                assert_eq!(outcome.reply.given, 0, "{told}");
            }
        }
    }

    fn held_by(&self, who: usize) -> Vec<EventId> {
        let known = self
            .known
            .iter()
            .filter(|(_, known)| known.holder == Some(who));
        known.map(|(id, _)| *id).collect()
    }

    fn finish(&mut self, id: EventId) {
        self.known.remove(&id);
        self.finished.insert(id);
    }

    fn model_held(&self) -> BTreeMap<EventId, usize> {
        let held = self.known.iter();
        held.filter_map(|(id, known)| Some((*id, known.holder?)))
            .collect()
    }

    /// Who holds what, by the listing. Events whose holder the model thinks silent, but whose lane was not
    /// asked for yet, are still held there.
    fn state_held(&self) -> BTreeMap<EventId, usize> {
        let listed = self
            .readers
            .list_pending(b"g", None, None, usize::MAX, self.now)
            .unwrap();
        let held = listed
            .into_iter()
            .filter(|listed| listed.state == ListedState::Held);
        held.map(|listed| {
            let name = listed.consumer.unwrap();
            let who = CONSUMERS
                .iter()
                .position(|consumer| **consumer == *name)
                .unwrap();
            (listed.id, who)
        })
        .collect()
    }

    fn ack(&mut self, who: usize, ids: Vec<EventId>) {
        let held = self.held_by(who);
        let outcome = self
            .readers
            .ack(
                b"g",
                CONSUMERS[who],
                false,
                &ids,
                self.now,
                &mut self.stream,
            )
            .unwrap();
        self.seen[who] = self.now;
        let expected: Vec<EventId> = ids
            .iter()
            .copied()
            .filter(|id| !held.contains(id))
            .collect();
        assert_eq!(outcome.reply, expected);
        for id in ids.into_iter().filter(|id| held.contains(id)) {
            self.finish(id);
        }
        self.follow(outcome.delta);
    }

    fn fail(&mut self, who: usize, ids: Vec<EventId>, again: Again) {
        let held = self.held_by(who);
        let call = Fail {
            group: b"g",
            consumer: CONSUMERS[who],
            message: b"oh",
            force: false,
            again,
            ids: &ids,
        };
        let outcome = self
            .readers
            .fail(&call, self.now, &mut self.stream)
            .unwrap();
        self.seen[who] = self.now;
        let ends: BTreeMap<EventId, Failed> = ids
            .iter()
            .copied()
            .zip(outcome.reply.iter().copied())
            .collect();
        let mut failed: Vec<(EventId, u8)> = Vec::new();
        for (id, end) in &ends {
            if !held.contains(id) {
                assert_eq!(*end, Failed::NotHeld);
                continue;
            }
            let key = self.known[id].key;
            let same = |other: u8| {
                self.is_keyed() && (self.settings.order == Order::Stream || other == key)
            };
            if failed.iter().any(|(_, other)| same(*other)) {
                assert_eq!(*end, Failed::Retry);
                continue;
            }
            failed.push((*id, key));
            let known = self.known.get_mut(id).unwrap();
            known.failures += 1;
            let is_worn = self
                .settings
                .max_deliveries
                .is_some_and(|n| known.deliveries >= n);
            let dies = is_worn || again == Again::Never;
            let is_there = self.stream.entries.contains_key(id);
            match (dies, is_there) {
                (false, _) => {
                    assert_eq!(*end, Failed::Retry);
                    known.holder = None;
                    known.due = self.now
                        + match again {
                            Again::After(ms) => ms,
                            _ => 1000,
                        };
                }
                (true, true) => {
                    assert_eq!(*end, Failed::Dead);
                    self.finish(*id);
                }
                (true, false) => self.finish(*id),
            }
        }
        // Later ones of a failed key are given back.
        let (keyed, whole) = (self.is_keyed(), self.settings.order == Order::Stream);
        for (id, key) in failed {
            for (other, known) in self
                .known
                .range_mut(id..)
                .skip_while(|(other, _)| **other == id)
            {
                if keyed && (whole || known.key == key) && known.holder == Some(who) {
                    known.holder = None;
                    known.deliveries -= 1;
                    assert!(*other > id);
                }
            }
        }
        self.follow(outcome.delta);
        assert_eq!(self.model_held(), self.state_held());
    }

    fn leave(&mut self, who: usize) {
        let held = self.held_by(who);
        let outcome = self
            .readers
            .leave(b"g", CONSUMERS[who], self.now, &mut self.stream)
            .unwrap();
        assert_eq!(outcome.reply as usize, held.len());
        for id in held {
            let known = self.known.get_mut(&id).unwrap();
            (known.holder, known.due) = (None, 0);
            known.deliveries -= 1;
        }
        self.follow(outcome.delta);
    }

    fn hold(&mut self, who: usize, ids: Option<Vec<EventId>>) {
        let held = self.held_by(who);
        let outcome = self
            .readers
            .hold(
                b"g",
                CONSUMERS[who],
                ids.as_deref(),
                self.now,
                &mut self.stream,
            )
            .unwrap();
        self.seen[who] = self.now;
        let ids = ids.unwrap_or_else(|| held.clone());
        for id in ids.into_iter().filter(|id| held.contains(id)) {
            self.known.get_mut(&id).unwrap().at = self.now;
        }
        self.follow(outcome.delta);
    }

    fn redrive(&mut self) {
        let outcome = self
            .readers
            .redrive(b"g", &Selector::All, self.now, &mut self.stream)
            .unwrap();
        for (_, dead) in self.stream.dead.clone() {
            let id = dead.death.id;
            if self.finished.remove(&id) {
                let key = dead.content.key.unwrap();
                self.known.insert(id, Known::new(key));
            }
        }
        for known in self.known.values_mut() {
            known.due = 0;
        }
        self.follow(outcome.delta);
    }

    fn seek(&mut self, at: u16) {
        let entries: Vec<EventId> = self.stream.entries.keys().copied().collect();
        let start = match (at / 8) % 4 {
            0 => Start::End,
            1 => Start::Beginning,
            _ if entries.is_empty() => return,
            _ => Start::After(entries[usize::from(at) % entries.len()]),
        };
        let before = self.readers.get(b"g").unwrap().position;
        let outcome = self
            .readers
            .seek(
                Kind::Group,
                b"g",
                &SeekTo::Start(start),
                self.now,
                &mut self.stream,
            )
            .unwrap();
        let to = self.readers.get(b"g").unwrap().position;
        if to < before {
            // What is behind it comes again as new.
            self.known.retain(|id, _| *id <= to);
            self.finished.retain(|id| *id <= to);
        } else {
            // What was unread or queued before it does not come.
            for id in entries.into_iter().filter(|id| *id <= to) {
                if !self.known.contains_key(&id) {
                    self.finished.insert(id);
                }
            }
            // What waits for an earlier event of its key is dropped, too.
            let group = self.readers.get(b"g").unwrap().group().unwrap();
            let known = self.known.range(..=to);
            let dropped = known.filter(|(id, _)| group.pending.entry(**id).is_none());
            let dropped: Vec<EventId> = dropped.map(|(id, _)| *id).collect();
            for id in dropped {
                assert!(self.is_keyed() && self.known[&id].holder.is_none());
                self.finish(id);
            }
        }
        self.follow(outcome.delta);
    }

    fn restart(&mut self) {
        let pieces = self.readers.pieces();
        let decoded = Readers::decode(pieces.iter().map(Vec::as_slice)).expect("its own bytes");
        decoded.assert_sound();
        assert_eq!(decoded.pieces(), pieces);
        self.readers = decoded;
        // Everything held, and everybody, counts as seen at the first command.
        self.readers.restart(self.now);
        self.seen = [self.now; 4];
        for known in self
            .known
            .values_mut()
            .filter(|known| known.holder.is_some())
        {
            known.at = known.at.max(self.now);
        }
    }

    fn begin_again(&mut self) {
        if self.readers.seen().last == EventId::default() {
            return;
        }
        self.stream.delete_all();
        self.stream.dead.clear();
        let call = Consume {
            group: b"g",
            consumer: CONSUMERS[0],
            ack: &[],
            pending: false,
            count: 0,
        };
        let outcome = self
            .readers
            .consume(&call, Limits::default(), self.now, &mut self.stream)
            .unwrap();
        assert_eq!(outcome.reply.missed, None, "nobody knows what was missed");
        self.seen[0] = self.now;
        self.known.clear();
        self.finished.clear();
        self.follow(outcome.delta);
        let reader = self.readers.get(b"g").unwrap();
        assert_eq!(reader.position, EventId::default());
    }

    /// A healthy consumer gets everything in the end.
    pub fn drain(&mut self) {
        let mut calls = 0;
        loop {
            self.now += CLAIM + 1;
            let ack = self.held_by(0);
            let before = self.finished.len();
            self.consume(0, 10, calls == 0, ack.clone());
            calls += 1;
            let is_parked = self
                .readers
                .get(b"g")
                .unwrap()
                .group()
                .unwrap()
                .pending
                .parked_len();
            if self.held_by(0).is_empty() && self.finished.len() == before {
                let position = self.readers.get(b"g").unwrap().position;
                let unread = position < self.stream.last().unwrap_or_default();
                if is_parked > 0 {
                    let outcome = self
                        .readers
                        .discard(
                            Kind::Group,
                            b"g",
                            &Selector::All,
                            self.now,
                            &mut self.stream,
                        )
                        .unwrap();
                    self.follow(outcome.delta);
                    // Redriven ones that nobody holds are discarded, too.
                    let group = self.readers.get(b"g").unwrap().group().unwrap();
                    let is_gone = |id: &EventId| group.pending.entry(*id).is_none();
                    let gone: Vec<EventId> = self.known.keys().copied().filter(is_gone).collect();
                    for id in gone {
                        assert!(self.known[&id].holder.is_none());
                        self.finish(id);
                    }
                } else if !unread && self.known.is_empty() {
                    break;
                }
            }
            assert!(calls < 2000, "{:?} are never given", self.known);
        }
        for id in self.stream.entries.keys() {
            assert!(self.finished.contains(id), "{id} was never given");
        }
    }

    pub fn step(&mut self, (what, who, n, at): (u8, u8, u8, u16)) {
        let who = usize::from(who % 4);
        if std::env::var_os("TRACE").is_some() {
            eprintln!(
                "{} who {who} n {n} at {at} now {} {:?}",
                what % 32,
                self.now,
                self.known
            );
        }
        let held = self.held_by(who);
        let some = |all: &[EventId]| -> Vec<EventId> {
            let most = usize::from(n % 5);
            all.iter()
                .copied()
                .skip(usize::from(at) % (all.len() + 1))
                .take(most)
                .collect()
        };
        match what % 32 {
            0..=5 => {
                for key in 0..=n % 6 {
                    self.stream.add(self.now, (n.wrapping_add(key)) % 5);
                }
            }
            6..=11 => self.consume(who, u32::from(n % 8), at % 5 == 0, Vec::new()),
            12..=15 => {
                let ack = if at % 2 == 0 { held } else { some(&held) };
                self.consume(who, u32::from(n % 8), false, ack);
            }
            16 | 17 => self.ack(who, some(&held)),
            // A ghost acknowledges what another holds, or nobody.
            18 => {
                let all: Vec<EventId> = self.known.keys().copied().collect();
                self.ack(who, some(&all));
            }
            19 | 20 => self.fail(who, some(&held), Again::After(u64::from(at % 3) * 400)),
            21 => {
                let all: Vec<EventId> = self.known.keys().copied().collect();
                self.fail(who, some(&all), Again::Default);
            }
            22 if at % 3 == 0 => self.fail(who, some(&held), Again::Never),
            22 if at % 8 == 1 => self.seek(at),
            23 => self.leave(who),
            24 => self.hold(who, (at % 2 == 0).then(|| some(&held))),
            25 | 26 => self.now += u64::from(at % 1500),
            27 if at % 5 == 0 => {
                // The clock goes back. Who waited for a delay may wait as long again, not longer.
                self.now = self.now.saturating_sub(u64::from(at % 4000)).max(10_000);
                let now = self.now;
                self.seen.iter_mut().for_each(|seen| *seen = now.min(*seen));
                for known in self.known.values_mut() {
                    (known.due, known.at) = (known.due.min(now), known.at.min(now));
                }
                self.went_back = true;
            }
            27 => self.now += CLAIM + 1,
            // Trimmed from the front, now and then.
            28 if at % 4 == 0 => {
                for _ in 0..n % 3 {
                    if let Some((id, _)) = self.stream.entries.pop_first()
                        && !self.known.contains_key(&id)
                    {
                        self.finished.insert(id);
                    }
                }
            }
            29 if at % 4 == 0 => self.restart(),
            30 if at % 3 == 0 => self.redrive(),
            31 if at % 40 == 0 => self.begin_again(),
            _ => (),
        }
        if at % 8 == 0 {
            self.assert_prospects();
            self.assert_due_times(at % 16 == 0);
        }
    }
}
