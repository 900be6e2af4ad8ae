//! Bytes that no primary wrote: deltas and states are refused whole, or leave a sound state.

use super::super::model::fake::Fake;
use super::super::model::rich::rich;
use super::super::op::{End, Op};
use super::super::*;
use crate::entity::event_id::EventId;
use proptest::prelude::*;

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::None), Just(Order::Entity), Just(Order::Stream)]
}

/// Changes bytes, cuts, or doubles a part.
fn spoil(bytes: &[u8], changes: &[(u16, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for &(at, how, byte) in changes {
        if bytes.is_empty() {
            return bytes;
        }
        let at = usize::from(at) % bytes.len();
        match how % 6 {
            0 | 1 => bytes[at] = byte,
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes.truncate(at),
            4 => bytes.insert(at, byte),
            _ => {
                let part: Vec<u8> = bytes[at..]
                    .iter()
                    .copied()
                    .take(usize::from(byte % 20))
                    .collect();
                bytes.extend(part);
            }
        }
    }
    bytes
}

/// Whatever the state is now, commands work on it.
fn use_it(readers: &mut Readers, stream: &mut Fake) {
    let names: Vec<(Kind, Vec<u8>)> = readers
        .iter()
        .map(|reader| (reader.kind(), reader.name.to_vec()))
        .collect();
    for now in [0, 5000, 1 << 50] {
        for (kind, name) in &names {
            if *kind == Kind::Cursor {
                let follow = Follow {
                    cursor: name,
                    ack: None,
                    count: 5,
                    passed: None,
                    is_primary: true,
                };
                readers.follow(&follow, 100, now, stream).unwrap();
                continue;
            }
            for pending in [false, true] {
                let consume = Consume {
                    group: name,
                    consumer: b"c1",
                    ack: &[],
                    pending,
                    count: 5,
                };
                readers
                    .consume(&consume, Limits::default(), now, stream)
                    .unwrap();
            }
            let ids: Vec<EventId> = stream.take_given().into_iter().map(|(id, _)| id).collect();
            let fail = Fail {
                group: name,
                consumer: b"c1",
                message: b"",
                force: true,
                again: Again::Default,
                ids: &ids,
            };
            readers.fail(&fail, now, stream).unwrap();
            readers.leave(name, b"c1", now, stream).unwrap();
            readers.list_pending(name, None, None, 1000, now).unwrap();
        }
        readers.stats(100, now);
        readers.floor();
        readers.assert_sound();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn spoiled_deltas_are_refused_whole_or_leave_a_sound_state(
        order in orders(),
        which: u16,
        changes in prop::collection::vec(any::<(u16, u8, u8)>(), 1..5),
    ) {
        let (mut stream, deltas, _) = rich(order);
        let (before, delta) = &deltas[usize::from(which) % deltas.len()];
        let mut readers = before.clone();
        if readers.apply(&spoil(delta, &changes)) {
            readers.assert_sound();
            use_it(&mut readers, &mut stream);
        } else {
            prop_assert_eq!(readers.pieces(), before.pieces());
        }
    }

    #[test]
    fn spoiled_states_are_refused_or_sound(
        order in orders(),
        changes in prop::collection::vec(any::<(u16, u8, u8)>(), 1..5),
    ) {
        let (mut stream, _, readers) = rich(order);
        let pieces: Vec<Vec<u8>> =
            readers.pieces().iter().map(|piece| spoil(piece, &changes)).collect();
        if let Some(mut readers) = Readers::decode(pieces.iter().map(Vec::as_slice)) {
            readers.assert_sound();
            let pieces = readers.pieces();
            let again = Readers::decode(pieces.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(again.pieces(), pieces);
            use_it(&mut readers, &mut stream);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_leave_a_sound_state(
        order in orders(),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let (mut stream, _, mut readers) = rich(order);
        let before = readers.pieces();
        // Most that is accepted needs a reader to be about.
        let delta = [&[super::super::delta::VERSION, 0, 1, 1, 0], &bytes[..]].concat();
        if readers.apply(&delta) {
            readers.assert_sound();
            use_it(&mut readers, &mut stream);
        } else {
            prop_assert_eq!(readers.pieces(), before);
        }
    }
}

#[test]
fn counts_that_lie_allocate_nothing() {
    let mut readers = rich(Order::None).2;
    for tag in 32..=40u8 {
        // The largest count, and no items.
        let mut delta = vec![1, 0, 0, 1, 0, tag];
        match tag {
            32 => delta.push(0),
            33..=36 => delta.push(0),
            40 => delta.extend([0, 0, 0]),
            _ => (),
        }
        delta.extend([255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
        assert!(!readers.apply(&delta), "tag {tag}");
    }
}

#[test]
fn a_delta_that_fits_only_at_first_is_refused_whole() {
    let (_, _, mut readers) = rich(Order::None);
    let id = readers
        .get(b"g")
        .unwrap()
        .group()
        .unwrap()
        .pending
        .entries()
        .next()
        .unwrap()
        .id;
    let gone = EventId { ms: 9, seq: 9 };
    let before = readers.pieces();
    let finish = |id| Op::Finish {
        id,
        end: End::Acknowledged,
    };
    let deliver = |id| Op::Deliver {
        consumer: 0,
        id,
        key: 0,
    };
    let unknown = Op::Give {
        consumer: 99,
        id,
        alone: false,
    };
    for (why, ops) in [
        ("twice", vec![finish(id), finish(id)]),
        ("not there", vec![finish(id), finish(gone)]),
        ("there already", vec![deliver(id)]),
        ("delivered twice", vec![deliver(gone), deliver(gone)]),
        ("nobody", vec![finish(id), unknown]),
        (
            "after SEEK",
            vec![Op::Seek { id: gone, epoch: 0 }, finish(id)],
        ),
        ("forgotten", vec![Op::Forget, finish(id)]),
        (
            "after the stream",
            vec![
                Op::BegunAgain {
                    last: gone,
                    added: 1,
                },
                finish(id),
            ],
        ),
        ("another reader", vec![Op::Select(77), finish(id)]),
    ] {
        let mut writer = super::super::delta::Writer::default();
        writer.push(&Op::Now(5), EventId::default());
        writer.push(&Op::Select(0), readers.get(b"g").unwrap().position);
        for op in &ops {
            writer.push(op, EventId::default());
        }
        assert!(!readers.apply(&writer.finish()), "{why}");
        assert_eq!(readers.pieces(), before, "{why}");
    }
    // And the first alone fits.
    let mut writer = super::super::delta::Writer::default();
    writer.push(&Op::Select(0), readers.get(b"g").unwrap().position);
    writer.push(&finish(id), EventId::default());
    assert!(readers.apply(&writer.finish()));
}
