//! Bytes that readers are made of, from anywhere: deltas, and the pieces of an RDB file or of RESTORE.

use super::play::Play;
use super::source::Source;
use crate::entity::event_id::EventId;
use crate::reading::model::fake::Fake;
use crate::reading::model::rich::rich;
use crate::reading::{
    Counter, Declare, End, Failure, Filter, From, Kind, Loaded, Op, Order, Parked, Parser, Phase,
    Readers, Scan, Seed, Settings, Shard, Standing, Start, Writer,
};
use std::sync::{Arc, OnceLock};

/// Readers that hostile bytes meet, and their stream.
struct Held {
    readers: Readers,
    stream: Fake,
}

/// Without any readers, and at each point of four histories.
fn held() -> &'static [Held] {
    static HELD: OnceLock<Vec<Held>> = OnceLock::new();
    HELD.get_or_init(|| {
        let mut held = vec![Held {
            readers: Readers::new(),
            stream: Fake::default(),
        }];
        let orders = [
            Order::None,
            Order::Entity,
            Order::Stream,
            Order::Meta(b"m".to_vec()),
        ];
        for order in orders {
            let (stream, deltas, last) = rich(order);
            let all = deltas.into_iter().map(|(before, _)| before).chain([last]);
            held.extend(all.map(|readers| Held {
                readers,
                stream: stream.clone(),
            }));
        }
        held
    })
}

/// One cursor.
pub fn with_cursor(settings: Settings) -> Readers {
    let mut readers = Readers::new();
    let declare = Declare {
        kind: Kind::Cursor,
        name: b"c",
        from: Some(From::Start(Start::Beginning)),
        settings,
        revision: None,
        seed: Seed(0, 0),
    };
    let made = readers.declare(&declare, 0, &mut Fake::default());
    made.expect("a cursor");
    readers
}

/// A delta as this program writes it: its ops, told once more.
fn rewritten(readers: &Readers, delta: &[u8]) -> Option<Vec<u8>> {
    let mut writer = Writer::default();
    let mut begun_again = false;
    let position = |number| readers.position_of(number).unwrap_or_default();
    Parser::new(delta)?.walk(position, &mut |op| {
        let base = match op {
            Op::Select(number) if !begun_again => position(number),
            _ => EventId::default(),
        };
        begun_again |= matches!(op, Op::BegunAgain { .. });
        writer.push(&op, base);
        Some(())
    })?;
    Some(writer.finish())
}

/// A delta that is refused changes nothing. One that is accepted leaves a sound state, which is no larger than the delta,
/// and its ops are the same when they are written again.
fn apply(readers: &mut Readers, delta: &[u8]) -> bool {
    let before = readers.clone();
    if !readers.apply(delta) {
        assert_eq!(
            readers.pieces(),
            before.pieces(),
            "what is refused changes nothing"
        );
        return false;
    }
    readers.assert_sound();
    assert!(
        readers.size() <= before.size() + delta.len(),
        "entries from nowhere"
    );
    let most = before.bytes() + delta.len() * 600 + 65_536;
    assert!(
        readers.bytes() <= most,
        "memory from nowhere: {}",
        readers.bytes()
    );
    let written = rewritten(&before, delta).expect("what was accepted");
    let mut other = before.clone();
    assert!(other.apply(&written), "its ops, once more");
    assert_eq!(other.pieces(), readers.pieces());
    assert_eq!(rewritten(&before, &written), Some(written));
    true
}

/// What is accepted is written and read again, copied, listed and measured.
fn look_at(readers: &Readers) {
    readers.assert_sound();
    let saved = readers.pieces();
    let loaded = Readers::decode(saved.iter().map(Vec::as_slice)).expect("pieces of our own");
    loaded.assert_sound();
    assert_eq!(loaded.pieces(), saved);
    assert_eq!(readers.clone().pieces(), saved);
    for reader in readers.iter() {
        let listed = readers.list_pending(&reader.name, None, None, 100_000, 5000);
        let pending = reader.group().map(|group| group.pending.len() as usize);
        assert_eq!(listed.ok().map(|listed| listed.len()), pending);
    }
    readers.stats(1000, 5000);
    readers.floor();
    assert!(readers.bytes() >= readers.size());
}

/// A payload for RESTORE, or what an RDB file holds: pieces of readers, each with its length in two bytes before it. With
/// the first one that does not fit, nothing is loaded.
pub fn payload(bytes: &[u8]) {
    let mut readers = Readers::new();
    let mut rest = bytes;
    while let Some((length, more)) = rest.split_at_checked(2) {
        let length = usize::from(length[0]) << 8 | usize::from(length[1]);
        let (piece, more) = more.split_at(length.min(more.len()));
        if !apply(&mut readers, piece) {
            return;
        }
        rest = more;
    }
    look_at(&readers);
    let saved: usize = readers.pieces().iter().map(Vec::len).sum();
    assert!(
        saved <= 64 * bytes.len() + 256,
        "{saved} bytes of {}",
        bytes.len()
    );
    let how = bytes.last().copied().unwrap_or(0);
    let held = held();
    let stream = &held[usize::from(how % 2) * (held.len() - 1)].stream;
    Play::new(readers, stream.clone()).use_all(how / 2);
}

/// Deltas that no primary wrote. The first byte selects the readers that are there, the second what follows: the bytes of
/// one delta, or choices from which deltas of ops are made that are about what is there.
pub fn delta(bytes: &[u8]) {
    let [chosen, how, rest @ ..] = bytes else {
        return;
    };
    let held = held();
    let Held { readers, stream } = &held[usize::from(*chosen) % held.len()];
    let mut readers = readers.clone();
    let mut is_other = false;
    if how % 2 == 0 {
        is_other = apply(&mut readers, rest);
    } else {
        let mut source = Source(rest);
        let pool = Pool::of(&readers);
        while let Some(more) = source.next() {
            let mut writer = Writer::default();
            for _ in 0..=more % 6 {
                let op = pool.op(&mut source);
                let base = match op {
                    Op::Select(number) => readers.position_of(number).unwrap_or_default(),
                    _ => EventId::default(),
                };
                writer.push(&op, base);
            }
            is_other |= apply(&mut readers, &writer.finish());
        }
    }
    if is_other {
        look_at(&readers);
        Play::new(readers, stream.clone()).use_all(how / 2);
    }
}

/// What ops may be about.
struct Pool {
    ids: Vec<EventId>,
    keys: Vec<u64>,
}

const TIMES: [u64; 8] = [0, 1, 1000, 2700, 5000, 9000, 1 << 50, u64::MAX];
const NAMES: [&[u8]; 10] = [b"g", b"c", b"h", b"x", b"y", b"c0", b"c1", b"c2", b"d", b""];

impl Pool {
    fn of(readers: &Readers) -> Pool {
        let mut pool = Pool {
            ids: vec![EventId::default(), EventId::MAX, EventId { ms: 9, seq: 9 }],
            keys: vec![0, 1, 2],
        };
        let groups = readers.iter().filter_map(|reader| reader.group());
        for pending in groups.map(|group| &group.pending) {
            let all = pending.entries().map(|entry| entry.id);
            pool.ids.extend(all.take(12));
            pool.keys
                .extend(pending.parked().map(|(key, _)| key).take(4));
            for standing in [Standing::Held, Standing::Free, Standing::Queued] {
                let lanes = pending.standing(standing).take(4);
                pool.keys.extend(lanes.map(|lane| lane.key));
            }
        }
        let position = readers.iter().map(|reader| reader.position);
        pool.ids.extend(position);
        pool
    }

    fn settings(&self, source: &mut Source) -> Settings {
        let order = [
            Order::None,
            Order::Entity,
            Order::Stream,
            Order::Meta(b"m".to_vec()),
        ];
        let order = source.of(&order);
        let shard = source.one_in(4).then_some(Shard { index: 1, count: 2 });
        let limit = source.byte();
        let ids = match source.one_in(4) {
            true => [vec![source.byte() % 8]].into(),
            false => Default::default(),
        };
        Settings {
            order,
            claim_ms: source.of(&TIMES),
            max_pending: u32::from(limit % 5),
            max_deliveries: (limit > 127).then_some(u16::from(limit % 4)),
            on_dead: match source.one_in(2) {
                true => crate::reading::OnDead::Park,
                false => crate::reading::OnDead::Skip,
            },
            shard,
            min_age_ms: source.of(&[0, 0, 0, 1, 5000, u64::MAX]),
            filter: Filter {
                ids,
                ..Filter::default()
            },
            dead: None,
        }
    }

    fn op(&self, source: &mut Source) -> Op<'static> {
        let tag = source.byte();
        let id = source.of(&self.ids);
        let number = u32::from(source.byte() % 6);
        let time = source.of(&TIMES);
        let key = source.of(&self.keys);
        let name = source.of(&NAMES);
        match tag % 44 {
            0 => Op::Now(time),
            1 | 29 | 30 | 31 => Op::Select(number),
            2 => Op::Seen {
                last: id,
                added: time,
            },
            3 => Op::BegunAgain {
                last: id,
                added: time,
            },
            4 => Op::Make {
                number,
                kind: if source.one_in(2) {
                    Kind::Cursor
                } else {
                    Kind::Group
                },
                name,
                position: id,
                epoch: time,
                seed: (1, 2),
            },
            5 => Op::Set {
                settings: Arc::new(self.settings(source)),
                revision: source.one_in(2).then_some(time),
            },
            6 => Op::Forget,
            7 => Op::Position { id, rejected: time },
            8 => Op::Seek { id, epoch: time },
            9 => Op::Pause(source.one_in(2)),
            10 => Op::Missed {
                n: time,
                unknown: source.one_in(2),
            },
            11 => Op::Count {
                counter: source.of(&Counter::ALL),
                n: time,
            },
            12 => Op::Consumer { number, name },
            13 => Op::ForgetConsumer(number),
            14 => Op::Turn(source.one_in(2).then_some(number)),
            15 => Op::SilenceAll(number),
            16 => Op::LeaveAll(number),
            17 => Op::RenewAll(number),
            18 => Op::Clamp,
            19 => Op::Fail {
                id,
                due_ms: time,
                consumer: name,
                message: b"no",
            },
            20 => Op::Die {
                id,
                parked: source.one_in(2).then_some(EventId { ms: 1, seq: 5 }),
            },
            21 => Op::Due(id),
            22 => Op::Redrive {
                id,
                key,
                dead: EventId { ms: 1, seq: 1 },
            },
            23 => Op::Unpark { key, id },
            24 => Op::Park {
                key: key.max(1),
                parked: Parked {
                    id,
                    dead: EventId { ms: 1, seq: 2 },
                },
            },
            25 => Op::Failure {
                id,
                failure: Failure {
                    failures: number,
                    first_ms: time,
                    last_ms: source.of(&TIMES),
                    due_ms: source.of(&TIMES),
                    consumer: name.into(),
                    message: b"why"[..].into(),
                },
            },
            26 => Op::Redriven {
                id,
                dead: EventId { ms: 1, seq: 3 },
            },
            27 => Op::Next {
                reader: source.of(&[0, 5, u32::MAX]),
                consumer: source.one_in(2).then(|| source.of(&[0, 7, u32::MAX])),
            },
            28 => Op::Phase(source.one_in(2).then(|| {
                Box::new(Phase {
                    keys: vec![b"x"[..].into(), b"y"[..].into()],
                    at: Scan {
                        page: time,
                        key: number,
                        scanned: time,
                        place: source.of(&[&b""[..], b"\0\x05", b"z"]).into(),
                    },
                })
            })),
            32 => Op::Finish {
                id,
                end: End::from_number(source.byte() % 4).expect("one of four"),
            },
            33 | 34 => Op::Give {
                consumer: number,
                id,
                alone: tag % 44 == 34,
            },
            35 | 36 => Op::Deliver {
                consumer: number,
                id,
                key,
            },
            37 => Op::Queue {
                id,
                key: key.max(1),
            },
            38 => Op::Silence(id),
            39 => Op::Renew(id),
            _ => Op::Load(Loaded {
                id,
                key,
                deliveries: u16::from(source.byte() % 4),
                flags: source.byte() % 64,
                standing: Standing::from_number(source.byte() % 6).expect("one of six"),
                at: time,
                holder: match source.one_in(4) {
                    true => u32::MAX,
                    false => number,
                },
            }),
        }
    }
}
