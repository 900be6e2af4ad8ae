//! Readers, a copy of them that gets the deltas only, and commands on both.

use super::look_at;
use super::source::Source;
use crate::entity::event_id::EventId;
use crate::error::Error;
use crate::reading::model::fake::{Fake, event};
use crate::reading::{
    Again, Consume, Declare, Fail, Filter, Follow, From, Kind, Limits, Native, NativePending,
    OnDead, Order, Outcome, Place, Position, Prospect, Read, Reader, Readers, Refusal, Scan, Seed,
    SeekTo, Selector, Settings, Shard, Start,
};

pub struct Play {
    readers: Readers,
    copy: Readers,
    stream: Fake,
    now: u64,
    /// The state as it was behind the last command.
    pieces: Vec<Vec<u8>>,
    /// Positions that were told.
    told: Vec<Position>,
}

/// Groups first.
const NAMES: [&[u8]; 9] = [b"n", b"s", b"e", b"m", b"c", b"d", b"f", b"p", b"nobody"];
const CONSUMERS: [&[u8]; 4] = [b"c0", b"c1", b"c2", b"c3"];
const LIMITS: Limits = Limits {
    max_queued: 20,
    looked_at: 30,
    buried: 5,
};
/// No more events are added to a stream that has so many.
const ENTRIES: usize = 60;

fn keys() -> Vec<Box<[u8]>> {
    vec![b"x"[..].into(), b"y"[..].into()]
}

fn kind_of(name: &[u8]) -> Kind {
    match NAMES.iter().position(|other| *other == name) {
        Some(0..4) => Kind::Group,
        _ => Kind::Cursor,
    }
}

impl Play {
    pub fn new(readers: Readers, stream: Fake) -> Play {
        Play {
            copy: readers.clone(),
            pieces: readers.pieces(),
            readers,
            stream,
            now: 10_000,
            told: Vec::new(),
        }
    }

    /// What was refused has changed nothing, and neither has what wrote no delta. The copy follows.
    fn done<R>(&mut self, before: &Before, outcome: Result<Outcome<R>, Refusal>) -> Option<R> {
        self.readers.assert_sound();
        let pieces = self.readers.pieces();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(refusal) => {
                assert_eq!(pieces, before.pieces, "{refusal:?} has changed something");
                assert_eq!(self.stream.dead.len(), before.dead, "{refusal:?}");
                assert_eq!(self.stream.dead_seq, before.dead_seq, "{refusal:?}");
                assert!(self.stream.given.is_empty(), "{refusal:?} gave something");
                let error = refusal.error(b"s", b"s:dead");
                if error != Error::Internal {
                    look_at(&error);
                }
                return None;
            }
        };
        match &outcome.delta {
            None => assert_eq!(pieces, before.pieces, "a change that is not told"),
            Some(delta) => assert!(self.copy.apply(delta), "the copy refuses {delta:?}"),
        }
        self.copy.assert_sound();
        assert_eq!(self.copy.pieces(), pieces, "the copy differs");
        self.pieces = pieces;
        Some(outcome.reply)
    }

    fn before(&self) -> Before {
        Before {
            pieces: self.pieces.clone(),
            dead: self.stream.dead.len(),
            dead_seq: self.stream.dead_seq,
        }
    }

    fn declare(
        &mut self,
        name: &[u8],
        kind: Kind,
        from: Option<From>,
        settings: Settings,
        revision: Option<u64>,
    ) {
        let before = self.before();
        let call = Declare {
            kind,
            name,
            from,
            settings,
            revision,
            seed: Seed(1, 2),
        };
        let outcome = self.readers.declare(&call, self.now, &mut self.stream);
        self.done(&before, outcome);
    }

    /// One of each kind.
    pub fn declare_all(&mut self) {
        for (index, name) in NAMES.into_iter().take(8).enumerate() {
            let mut settings = Settings {
                claim_ms: 1000,
                ..Settings::default()
            };
            match index {
                1 => settings.order = Order::Stream,
                2 => (settings.order, settings.on_dead) = (Order::Entity, OnDead::Park),
                3 => settings.order = Order::Meta(b"m".to_vec()),
                5 | 6 => {
                    let index = index as u64 - 5;
                    settings.shard = Some(Shard { index, count: 2 });
                }
                _ => (),
            }
            if matches!(index, 1 | 2) {
                settings.max_deliveries = Some(2);
            }
            let from = match index {
                7 => From::Snapshot(keys()),
                _ => From::Start(Start::Beginning),
            };
            self.declare(name, kind_of(name), Some(from), settings, None);
        }
    }

    fn consume(
        &mut self,
        group: &[u8],
        consumer: &[u8],
        ack: &[EventId],
        pending: bool,
        count: u32,
    ) {
        let before = self.before();
        let call = Consume {
            group,
            consumer,
            ack,
            pending,
            count,
        };
        let outcome = self
            .readers
            .consume(&call, LIMITS, self.now, &mut self.stream);
        let Some(reply) = self.done(&before, outcome) else {
            return;
        };
        let given = self.stream.take_given();
        assert_eq!(given.len() as u32, reply.given);
        assert!(reply.given <= count);
        let held = self.held(group, consumer);
        let mut ids: Vec<EventId> = given.iter().map(|(id, _)| *id).collect();
        assert!(
            ids.iter().all(|id| held.contains(id)),
            "what is given is held"
        );
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), given.len(), "nothing is given twice");
        for (_, delivery) in given {
            assert!(delivery.deliveries > 0);
        }
    }

    fn held(&self, group: &[u8], consumer: &[u8]) -> Vec<EventId> {
        let listed = self
            .readers
            .list_pending(group, Some(consumer), None, usize::MAX, self.now);
        let listed = listed.unwrap_or_default().into_iter();
        listed.map(|listed| listed.id).collect()
    }

    /// If a call that waits is told that there is nothing, a call that reads gets nothing. To ask changes nothing.
    fn prospect(&mut self, group: &[u8], consumer: &[u8]) {
        let before = self.before();
        let call = Consume {
            group,
            consumer,
            ack: &[],
            pending: false,
            count: 3,
        };
        let prospect = self
            .readers
            .prospect(&call, LIMITS, self.now, &mut self.stream);
        assert_eq!(self.readers.pieces(), before.pieces);
        self.stream.take_given();
        let nothing = match &prospect {
            Ok(Prospect::None(_) | Prospect::ForNobody(_)) => true,
            Ok(Prospect::ForOne(one, _)) => **one != *consumer,
            _ => false,
        };
        if nothing {
            let (mut readers, mut stream) = (self.readers.clone(), self.stream.clone());
            let outcome = readers.consume(&call, LIMITS, self.now, &mut stream);
            assert!(
                outcome.is_ok_and(|outcome| outcome.reply.given == 0),
                "{prospect:?}"
            );
        }
    }

    fn follow(&mut self, cursor: &[u8], ack: Option<&Position>, count: u32, is_primary: bool) {
        let before = self.before();
        let call = Follow {
            cursor,
            ack,
            count,
            passed: None,
            is_primary,
        };
        let outcome = self
            .readers
            .follow(&call, LIMITS.looked_at, self.now, &mut self.stream);
        let Some(reply) = self.done(&before, outcome) else {
            return;
        };
        let settings = self
            .readers
            .get(cursor)
            .map(|reader| reader.settings.clone());
        let settings = settings.unwrap_or_default();
        let filter = match reply.phase {
            Some(_) => Filter {
                operations: None,
                meta: Default::default(),
                ..settings.filter.clone()
            },
            None => settings.filter.clone(),
        };
        let ids = self.assert_all_given(reply.from, reply.position.id, &filter, settings.shard);
        let read = std::mem::take(&mut self.stream.read);
        assert_eq!(ids + read.len(), reply.given as usize);
        assert!(reply.phase.is_some() || read.is_empty());
        let text = reply.position.text();
        assert_eq!(Position::parse(&text).as_ref(), Some(&reply.position));
        self.told.push(reply.position);
    }

    /// What was given is all that there is between two ids, and passes.
    fn assert_all_given(
        &mut self,
        from: EventId,
        to: EventId,
        filter: &Filter,
        shard: Option<Shard>,
    ) -> usize {
        let given = self.stream.take_given();
        let given: Vec<EventId> = given.into_iter().map(|(id, _)| id).collect();
        let entries = self.stream.entries.iter();
        let entries = entries.filter(|(id, _)| **id > from && **id <= to);
        let passing = entries.filter(|(_, content)| {
            let event = content.key.map(event);
            let event = event.as_ref();
            filter.takes(event) && shard.is_none_or(|shard| shard.takes(event))
        });
        let expected: Vec<EventId> = passing.map(|(id, _)| *id).collect();
        assert_eq!(given, expected, "all that passes between {from} and {to}");
        given.len()
    }

    fn read(&mut self, from: Start, source: &mut Source) {
        let filter = filter(source);
        let shard = source.one_in(3).then_some(Shard { index: 1, count: 2 });
        let read = Read {
            from,
            shard,
            min_age_ms: source.of(&[0, 0, 0, 5]),
            filter: &filter,
            count: u32::from(source.byte() % 9),
            looked_at: LIMITS.looked_at,
            is_primary: !source.one_in(4),
        };
        match read.read(self.now, &mut self.stream) {
            Ok((reply, _)) => {
                let given = self.assert_all_given(reply.from, reply.position.id, &filter, shard);
                assert_eq!(given, reply.given as usize);
                assert!(reply.given <= read.count);
                self.told.push(reply.position);
            }
            Err(refusal) => assert!(self.stream.given.is_empty(), "{refusal:?}"),
        }
    }

    fn ack(&mut self, group: &[u8], consumer: &[u8], force: bool, ids: &[EventId]) {
        let before = self.before();
        let held = self.held(group, consumer);
        let outcome = self
            .readers
            .ack(group, consumer, force, ids, self.now, &mut self.stream);
        let Some(not_held) = self.done(&before, outcome) else {
            return;
        };
        assert!(not_held.iter().all(|id| ids.contains(id)));
        let rest = self.held(group, consumer);
        for id in ids {
            assert!(!rest.contains(id), "{id} is finished");
        }
        let others = rest.iter().all(|id| held.contains(id));
        assert!(others, "nobody holds more by an ACK");
    }

    fn fail(&mut self, group: &[u8], consumer: &[u8], force: bool, again: Again, ids: &[EventId]) {
        let before = self.before();
        let call = Fail {
            group,
            consumer,
            message: b"because",
            force,
            again,
            ids,
        };
        let outcome = self.readers.fail(&call, self.now, &mut self.stream);
        if let Some(ends) = self.done(&before, outcome) {
            assert_eq!(ends.len(), ids.len());
        }
    }

    fn hold(&mut self, group: &[u8], consumer: &[u8], ids: Option<&[EventId]>) {
        let before = self.before();
        let held = self.held(group, consumer);
        let outcome = self
            .readers
            .hold(group, consumer, ids, self.now, &mut self.stream);
        if self.done(&before, outcome).is_some() && !self.has_begun_again() {
            assert_eq!(self.held(group, consumer), held);
        }
    }

    /// The last command has seen that the stream is another one.
    fn has_begun_again(&self) -> bool {
        let mut readers = self.readers.iter();
        readers.all(|reader| reader.missed_unknown && reader.position == EventId::default())
    }

    fn leave(&mut self, group: &[u8], consumer: &[u8]) {
        let before = self.before();
        let outcome = self
            .readers
            .leave(group, consumer, self.now, &mut self.stream);
        if self.done(&before, outcome).is_some() {
            assert_eq!(self.held(group, consumer), []);
        }
    }

    fn ack_cursor(&mut self, cursor: &[u8], position: &Position) {
        let before = self.before();
        let was = self.readers.get(cursor).map(|reader| reader.position);
        let outcome = self
            .readers
            .ack_cursor(cursor, position, self.now, &mut self.stream);
        if let Some(true) = self.done(&before, outcome) {
            let now = self.readers.get(cursor).map(|reader| reader.position);
            assert!(now >= was || self.has_begun_again() || was > now);
            assert_eq!(now, Some(position.id));
        }
    }

    fn settle_dead(&mut self, name: &[u8], selector: &Selector, is_redrive: bool) {
        let before = self.before();
        let (readers, stream) = (&mut self.readers, &mut self.stream);
        let outcome = match is_redrive {
            true => readers.redrive(name, selector, self.now, stream),
            false => readers.discard(kind_of(name), name, selector, self.now, stream),
        };
        self.done(&before, outcome);
    }

    fn seek(&mut self, name: &[u8], to: &SeekTo) {
        let before = self.before();
        let kind = self.readers.get(name).map_or(Kind::Group, Reader::kind);
        let outcome = self
            .readers
            .seek(kind, name, to, self.now, &mut self.stream);
        self.done(&before, outcome);
    }

    /// Everything is measured and listed; the state comes from its bytes as it was.
    pub fn look(&self) {
        let stats = self.readers.stats(LIMITS.max_queued, self.now);
        assert_eq!(stats.len(), self.readers.len());
        let floor = self.readers.floor();
        for reader in self.readers.iter() {
            assert!(floor <= reader.position.succeeding().or(Some(EventId::MAX)));
            let Some(group) = reader.group() else {
                continue;
            };
            let listed = self
                .readers
                .list_pending(&reader.name, None, None, usize::MAX, self.now);
            let listed = listed.expect("a group");
            assert_eq!(listed.len() as u32, group.pending.len());
            let mut of_stream = listed
                .iter()
                .filter(|listed| matches!(listed.place, Place::Stream(_)));
            assert!(of_stream.all(|listed| floor <= Some(listed.id)));
            assert!(listed.windows(2).all(|two| two[0].id < two[1].id));
            self.readers.next_due(&reader.name, self.now);
            assert!(self.readers.ready(&reader.name, self.now, 7) <= 7);
        }
        let pieces = self.readers.pieces();
        let loaded = Readers::decode(pieces.iter().map(Vec::as_slice)).expect("its own bytes");
        loaded.assert_sound();
        assert_eq!(loaded.pieces(), pieces);
    }

    /// Whatever the state is, commands work on it, at one of three times.
    pub fn use_all(&mut self, how: u8) {
        let names: Vec<(Kind, Vec<u8>)> = self
            .readers
            .iter()
            .take(4)
            .map(|reader| (reader.kind(), reader.name.to_vec()))
            .collect();
        self.now = [5000, 1 << 50, 0][usize::from(how % 3)];
        for (kind, name) in &names {
            match kind {
                Kind::Cursor => self.use_cursor(name),
                Kind::Group => self.use_group(name),
            }
            let to = match how % 2 {
                0 => Start::Beginning,
                _ => Start::End,
            };
            self.seek(name, &SeekTo::Start(to));
        }
        self.look();
    }

    fn use_cursor(&mut self, name: &[u8]) {
        self.follow(name, None, 5, false);
        self.follow(name, None, 5, true);
        if let Some(position) = self.told.last().cloned() {
            self.follow(name, Some(&position), 5, true);
            self.ack_cursor(name, &position);
        }
        let before = self.before();
        let ids: Vec<EventId> = self.stream.entries.keys().copied().take(2).collect();
        let outcome = self
            .readers
            .fail_cursor(name, b"no", &ids, self.now, &mut self.stream);
        self.done(&before, outcome);
        self.settle_cursor(name);
    }

    fn settle_cursor(&mut self, name: &[u8]) {
        let before = self.before();
        let outcome = self.readers.discard(
            Kind::Cursor,
            name,
            &Selector::All,
            self.now,
            &mut self.stream,
        );
        self.done(&before, outcome);
    }

    fn use_group(&mut self, name: &[u8]) {
        for pending in [false, true] {
            self.prospect(name, b"c1");
            self.consume(name, b"c1", &[], pending, 5);
        }
        let held = self.held(name, b"c1");
        self.hold(name, b"c1", Some(&held));
        self.ack(name, b"c1", false, held.get(..1).unwrap_or(&[]));
        self.fail(name, b"c1", true, Again::Default, &held);
        self.consume(name, b"c2", &held, false, 5);
        self.leave(name, b"c2");
        self.leave(name, b"c1");
        let before = self.before();
        let outcome = self
            .readers
            .redrive(name, &Selector::All, self.now, &mut self.stream);
        self.done(&before, outcome);
    }
}

/// What there was before a command.
struct Before {
    pieces: Vec<Vec<u8>>,
    dead: usize,
    dead_seq: u64,
}

fn filter(source: &mut Source) -> Filter {
    let what = source.byte();
    let mut filter = Filter::default();
    if what % 4 == 1 {
        filter.ids = (0..what / 64 + 1).map(|key| vec![key]).collect();
    }
    if what % 8 == 2 {
        filter.meta = [(b"m".to_vec(), [vec![1], vec![2]].into())].into();
    }
    if what % 16 == 3 {
        filter.entities = [b"e".to_vec()].into();
    }
    filter
}

impl Play {
    /// An event that a command may name.
    fn id(&self, group: &[u8], source: &mut Source) -> EventId {
        let choice = source.byte();
        let pending = self.readers.list_pending(group, None, None, 20, self.now);
        let pending = pending.unwrap_or_default();
        if choice < 160 && !pending.is_empty() {
            return pending[usize::from(choice) % pending.len()].id;
        }
        let entries = &self.stream.entries;
        match entries.len() {
            0 => EventId {
                ms: u64::from(choice) * 100,
                seq: choice.into(),
            },
            len => *entries
                .keys()
                .nth(usize::from(choice) % len)
                .expect("one of them"),
        }
    }

    fn ids(&self, group: &[u8], source: &mut Source) -> Vec<EventId> {
        (0..source.byte() % 5)
            .map(|_| self.id(group, source))
            .collect()
    }

    fn start(&self, source: &mut Source) -> Start {
        match source.byte() % 6 {
            0 => Start::Beginning,
            1 => Start::End,
            2 => Start::Since(self.now.saturating_sub(source.short().into())),
            3 => Start::Since(u64::MAX),
            _ => Start::After(self.id(b"", source)),
        }
    }

    fn position(&self, source: &mut Source) -> Position {
        let choice = source.byte();
        if choice < 200 && !self.told.is_empty() {
            let last = self.told.len() - 1;
            return self.told[last - usize::from(choice % 16).min(last)].clone();
        }
        Position {
            id: self.id(b"", source),
            epoch: source.of(&[0, 10_000, 10_001, u64::MAX]),
            scan: source.one_in(3).then(|| Scan {
                page: source.of(&[0, 1, 2, u64::MAX]),
                key: source.byte().into(),
                scanned: 0,
                place: source.of(&[&b""[..], b"\0\x05", b"\x01", b"z"]).into(),
            }),
        }
    }

    fn settings(&self, kind: Kind, source: &mut Source) -> Settings {
        let mut settings = Settings {
            min_age_ms: source.of(&[0, 0, 0, 50, u64::MAX]),
            filter: filter(source),
            ..Settings::default()
        };
        let what = source.byte();
        if kind == Kind::Cursor {
            let (index, count) = (u64::from(what % 3), u64::from(what / 16));
            settings.shard = (count > 1).then_some(Shard { index, count });
            return settings;
        }
        settings.order = match what % 4 {
            0 => Order::None,
            1 => Order::Stream,
            2 => Order::Entity,
            _ => Order::Meta(if what > 250 {
                b"other".to_vec()
            } else {
                b"m".to_vec()
            }),
        };
        settings.claim_ms = source.of(&[1000, 0, 1, u64::MAX]);
        settings.max_pending = source.of(&[10_000, 1, 3]);
        settings.max_deliveries = source.of(&[None, Some(2), Some(3), Some(u16::MAX)]);
        if what & 16 == 16 {
            settings.on_dead = OnDead::Park;
        }
        settings
    }

    fn native(&self, source: &mut Source) -> Native {
        let mut ids = self.ids(b"", source);
        ids.sort();
        ids.dedup();
        let pending = ids.into_iter().map(|id| NativePending {
            id,
            consumer: source.of(&CONSUMERS).to_vec(),
            deliveries: source.of(&[1, 2, 0, u64::MAX]),
            delivered_ms: source.of(&[self.now, 0, u64::MAX, 9_000]),
        });
        Native {
            pending: pending.collect(),
            position: self.stream.last,
        }
    }

    fn declare_one(&mut self, name: &[u8], source: &mut Source) {
        let kind = match (kind_of(name), source.one_in(16)) {
            (Kind::Group, false) | (Kind::Cursor, true) => Kind::Group,
            _ => Kind::Cursor,
        };
        let native = self.native(source);
        let from = match source.byte() % 6 {
            0 => None,
            1 => Some(From::Native(&native)),
            2 if kind == Kind::Cursor => Some(From::Snapshot(keys())),
            _ => Some(From::Start(self.start(source))),
        };
        let settings = self.settings(kind, source);
        let revision = source.of(&[None, None, Some(1), Some(2), Some(u64::MAX)]);
        self.declare(name, kind, from, settings, revision);
    }

    /// One command, or what happens to the stream, the server and the clock.
    pub fn step(&mut self, what: u8, source: &mut Source) {
        match what % 32 {
            0..=2 => self.add(source),
            23 => {
                let from = self.start(source);
                self.read(from, source);
            }
            24 => {
                self.now = self
                    .now
                    .saturating_add(source.of(&[1, 1001, 400, 2000, 86_400_000]))
            }
            25 => self.now = self.now.saturating_sub(source.short().into()),
            26..=28 => self.spoil(source),
            29 => self.restart(source),
            31 => self.look(),
            what => {
                let name = match source.byte() {
                    choice @ 0..250 => NAMES[usize::from(choice) % 8],
                    _ => NAMES[8],
                };
                match kind_of(name) {
                    Kind::Group => self.act_on_group(what, name, source),
                    Kind::Cursor => self.act_on_cursor(what, name, source),
                }
            }
        }
    }

    fn add(&mut self, source: &mut Source) {
        let what = source.byte();
        for n in 0..=what % 6 {
            if self.stream.entries.len() < ENTRIES {
                let key = (what / 6).wrapping_add(n) % 6 + 126;
                let id = self.stream.add(self.now, key);
                self.stream.stored.insert(key, id.seq);
            }
        }
    }

    fn act_on_group(&mut self, what: u8, name: &[u8], source: &mut Source) {
        let consumer = source.of(&CONSUMERS);
        match what {
            3..=7 => {
                let held = self.held(name, consumer);
                let how = source.byte();
                let ack = match how % 4 {
                    0 => self.ids(name, source),
                    1 => held,
                    _ => Vec::new(),
                };
                self.consume(name, consumer, &ack, how & 16 == 16, u32::from(how / 32));
            }
            8 | 9 => {
                let ids = self.ids(name, source);
                self.ack(name, consumer, source.one_in(3), &ids);
            }
            10 => {
                let before = self.before();
                let ids = self.ids(name, source);
                let outcome =
                    self.readers
                        .ack_all(name, consumer, &ids, self.now, &mut self.stream);
                self.done(&before, outcome);
            }
            11 | 12 => {
                let again = match source.byte() % 6 {
                    0 | 1 => Again::Default,
                    2 => Again::After(0),
                    3 => Again::After(u64::MAX),
                    4 => Again::After(500),
                    _ => Again::Never,
                };
                let ids = self.ids(name, source);
                self.fail(name, consumer, source.one_in(3), again, &ids);
            }
            13 => {
                let ids = self.ids(name, source);
                let all = source.one_in(2);
                self.hold(name, consumer, (!all).then_some(&ids));
            }
            14 => self.leave(name, consumer),
            15 => {
                let to = SeekTo::Start(self.start(source));
                self.seek(name, &to);
            }
            16 => {
                let before = self.before();
                let on = source.one_in(3);
                let outcome = self.readers.pause(name, on, self.now, &mut self.stream);
                self.done(&before, outcome);
            }
            17 | 18 => {
                let selector = self.selector(name, source);
                self.settle_dead(name, &selector, source.one_in(2));
            }
            19 => self.forget(name, source),
            20 => self.declare_one(name, source),
            _ => {
                let waits = source.one_in(2);
                self.readers.set_waiting(name, consumer, waits, self.now);
                self.prospect(name, consumer);
            }
        }
    }

    fn selector(&self, name: &[u8], source: &mut Source) -> Selector {
        match source.byte() % 4 {
            0 => Selector::All,
            1 => Selector::Entity(b"e".to_vec(), vec![source.byte() % 6 + 126]),
            2 => Selector::Key(vec![source.byte() % 6 + 126]),
            _ => {
                let dead = self.stream.dead.values().map(|dead| dead.death.id);
                let most = usize::from(source.byte() % 4);
                Selector::Ids(dead.take(most).chain(self.ids(name, source)).collect())
            }
        }
    }

    fn forget(&mut self, name: &[u8], source: &mut Source) {
        if source.one_in(3) {
            let before = self.before();
            let outcome = self.readers.forget(kind_of(name), name, self.now);
            self.done(&before, outcome);
        }
    }

    fn act_on_cursor(&mut self, what: u8, name: &[u8], source: &mut Source) {
        match what {
            3..=9 => {
                let how = source.byte();
                let position = self.position(source);
                let ack = Some(&position).filter(|_| how % 2 == 1);
                self.follow(name, ack, u32::from(how / 32), how & 30 != 30);
            }
            10..=13 => {
                let position = self.position(source);
                self.ack_cursor(name, &position);
            }
            14 => {
                let before = self.before();
                let ids = self.ids(name, source);
                let (now, stream) = (self.now, &mut self.stream);
                let outcome = self.readers.fail_cursor(name, b"no", &ids, now, stream);
                self.done(&before, outcome);
            }
            15 | 16 => {
                let to = match source.one_in(3) {
                    true => SeekTo::Snapshot(keys()),
                    false => SeekTo::Start(self.start(source)),
                };
                self.seek(name, &to);
            }
            17 | 18 => {
                let selector = self.selector(name, source);
                self.settle_dead(name, &selector, source.one_in(5));
            }
            19 => self.forget(name, source),
            _ => self.declare_one(name, source),
        }
    }

    /// What others do to the stream, and a server that is not well.
    fn spoil(&mut self, source: &mut Source) {
        let stream = &mut self.stream;
        match source.byte() % 16 {
            0..=3 => drop(stream.entries.pop_first()),
            4 | 5 => {
                let nth = usize::from(source.byte());
                let id = stream.entries.keys().nth(nth).copied();
                id.and_then(|id| stream.entries.remove(&id));
            }
            6 => stream.delete_all(),
            7 => stream.dead.clear(),
            8 => drop(stream.dead.pop_first()),
            9 | 10 => {
                // By hand, or XSETID.
                let (ms, seq) = (u64::from(source.byte()), u64::from(source.byte()));
                let ms = stream.last.ms.saturating_add(ms).max(1);
                let id = match ms > stream.last.ms {
                    true => EventId { ms, seq },
                    false => EventId {
                        ms,
                        seq: stream.last.seq.saturating_add(seq + 1),
                    },
                };
                match source.one_in(4) {
                    true => stream.last = id,
                    false => stream.add_other(id),
                }
            }
            11 => stream.no_dead_rights ^= true,
            12 => stream.tells_nothing ^= true,
            13 => stream.dead_is_full ^= true,
            14 => stream.no_snapshots ^= true,
            _ => {
                let key = source.byte() % 6 + 126;
                stream.stored.remove(&key);
            }
        }
    }

    /// A restart, or a failover to the copy.
    fn restart(&mut self, source: &mut Source) {
        if source.one_in(2) {
            std::mem::swap(&mut self.readers, &mut self.copy);
        } else {
            let pieces = self.readers.pieces();
            let loaded = Readers::decode(pieces.iter().map(Vec::as_slice));
            self.readers = loaded.expect("its own bytes");
        }
        self.stream.life = self.stream.life.wrapping_add(1);
        if source.one_in(2) {
            self.readers.restart(self.now);
        }
    }
}
