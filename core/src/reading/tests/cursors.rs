//! Random histories of a cursor: what its reader gets and is told to have missed is what came.

use super::super::model::fake::Fake;
use super::super::*;
use crate::entity::event_id::EventId;
use proptest::prelude::*;

fn run(steps: Vec<(u8, u8, u16)>) {
    let mut stream = Fake::default();
    let (mut readers, mut copy) = (Readers::new(), Readers::new());
    let mut now = 1000;
    let declare = Declare {
        kind: Kind::Cursor,
        name: b"c",
        from: Some(From::Start(Start::Beginning)),
        settings: Settings::default(),
        revision: None,
        seed: Seed(0, 0),
    };
    let outcome = readers.declare(&declare, now, &mut stream).unwrap();
    assert!(copy.apply(&outcome.delta.unwrap()));
    // The reader's own count: the seq up to which it has acknowledged, what it got, what it was told.
    let mut acknowledged = EventId::default();
    let mut positions: Vec<Position> = Vec::new();
    let mut unknown = false;
    for (what, n, at) in steps {
        now += u64::from(at % 50);
        match what % 8 {
            0 | 1 => {
                for _ in 0..=n % 7 {
                    stream.add(now, n);
                }
            }
            2 => {
                for _ in 0..n % 4 {
                    stream.entries.pop_first();
                }
            }
            3 => {
                let pieces = readers.pieces();
                readers = Readers::decode(pieces.iter().map(Vec::as_slice)).unwrap();
            }
            4 if at % 16 == 0 && readers.seen().last > EventId::default() => {
                stream.delete_all();
                unknown = true;
            }
            5 if !positions.is_empty() && !unknown => {
                // An old position: it moves nothing back.
                let old = &positions[usize::from(at) % positions.len()];
                let outcome = readers.ack_cursor(b"c", old, now, &mut stream).unwrap();
                assert_eq!(outcome.reply, old.id > acknowledged);
                acknowledged = acknowledged.max(old.id);
                outcome
                    .delta
                    .into_iter()
                    .for_each(|delta| assert!(copy.apply(&delta)));
            }
            // A stream begun again that has outgrown the old one cannot be told from it.
            _ if unknown && stream.added > readers.seen().last.seq => return,
            _ => {
                let ack = positions
                    .last()
                    .filter(|_| at % 2 == 0 && !unknown)
                    .cloned();
                acknowledged = acknowledged.max(ack.as_ref().map_or(acknowledged, |ack| ack.id));
                let follow = Follow {
                    cursor: b"c",
                    ack: ack.as_ref(),
                    count: u32::from(n % 5),
                    passed: None,
                    is_primary: true,
                };
                let outcome = readers.follow(&follow, 100, now, &mut stream).unwrap();
                if ack.is_none() {
                    assert_eq!(outcome.delta, None, "reading writes nothing");
                }
                outcome
                    .delta
                    .into_iter()
                    .for_each(|delta| assert!(copy.apply(&delta)));
                let given: Vec<EventId> =
                    stream.take_given().into_iter().map(|(id, _)| id).collect();
                if unknown {
                    assert_eq!(outcome.reply.missed, None, "nobody knows");
                    // Its first position of the new stream makes it known again, if there is one.
                    acknowledged = EventId::default();
                    positions.clear();
                    if given.is_empty() {
                        continue;
                    }
                    let first = outcome.reply.position.clone();
                    let outcome = readers.ack_cursor(b"c", &first, now, &mut stream).unwrap();
                    assert!(outcome.reply);
                    assert!(copy.apply(&outcome.delta.unwrap()));
                    (acknowledged, unknown) = (first.id, false);
                    positions.push(first);
                    continue;
                }
                let from = acknowledged.succeeding().unwrap();
                let there: Vec<EventId> = stream.entries.range(from..).map(|(id, _)| *id).collect();
                let count = usize::from(n % 5);
                assert_eq!(given, there.iter().copied().take(count).collect::<Vec<_>>());
                assert_eq!(outcome.reply.more, there.len() > count);
                let last = given.last().copied().unwrap_or(acknowledged);
                assert_eq!(outcome.reply.position.id, last);
                let behind = last.seq - acknowledged.seq - given.len() as u64;
                assert_eq!(outcome.reply.missed, Some(behind));
                positions.push(outcome.reply.position);
            }
        }
        assert_eq!(readers.pieces(), copy.pieces());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_cursor_gives_what_comes_in_order_and_tells_what_is_missed(
        steps in prop::collection::vec(any::<(u8, u8, u16)>(), 0..200),
    ) {
        run(steps);
    }
}
