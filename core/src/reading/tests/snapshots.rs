//! Random histories of a cursor that begins with a snapshot: what it folds equals what is stored.

use super::super::model::folding::Folding;
use super::super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_a_snapshot_cursor_folds_equals_what_is_stored(
        steps in prop::collection::vec((0..12u8, any::<u8>(), 1..6u32), 1..120),
    ) {
        let mut world = Folding::begin();
        for (what, n, count) in steps {
            world.step(what, n, count);
        }
        world.drain();
    }
}

/// With an ACK, too: a call that is refused tells no replica of anything. And of a stream that was begun again.
#[test]
fn a_page_that_cannot_be_read_is_refused_and_changes_nothing() {
    for (acknowledges, begins_again) in [(false, false), (true, false), (true, true)] {
        let mut world = Folding::begin();
        let follow = |world: &mut Folding, ack: Option<&Position>| {
            let follow = Follow {
                cursor: b"c",
                ack,
                count: 2,
                passed: None,
                is_primary: true,
            };
            let (now, stream) = (world.now, &mut world.stream);
            world.readers.follow(&follow, 10, now, stream)
        };
        let first = follow(&mut world, None).unwrap().reply.position;
        if begins_again {
            world.stream.delete_all();
        }
        world.stream.no_snapshots = true;
        let before = world.readers.pieces();
        let ack = Some(&first).filter(|_| acknowledges);
        let refused = follow(&mut world, ack);
        assert_eq!(refused.err(), Some(Refusal::NoSnapshots));
        assert_eq!(world.readers.pieces(), before, "{ack:?}");
        // The same call goes on when the page can be read.
        world.stream.no_snapshots = false;
        let outcome = follow(&mut world, ack).unwrap();
        assert_eq!(outcome.delta.is_some(), acknowledges);
        world.repeat(outcome.delta);
    }
}

#[test]
fn a_position_that_no_reply_can_have_given_moves_nothing() {
    let mut world = Folding::begin();
    for (page, moves) in [(u64::MAX, false), ((1 << 32) + 1, false), (3, true)] {
        let cursor = world.readers.get(b"c").unwrap();
        let scan = Scan {
            page,
            ..Scan::default()
        };
        let position = Position {
            id: cursor.position,
            epoch: cursor.epoch(),
            scan: Some(scan),
        };
        let outcome = world
            .readers
            .ack_cursor(b"c", &position, world.now, &mut world.stream);
        let outcome = outcome.unwrap();
        assert_eq!(outcome.reply, moves, "{page}");
        world.repeat(outcome.delta);
    }
    for _ in 0..8 {
        world.read(3, false);
    }
    assert!(world.is_over);
}

#[test]
fn seek_ends_the_phase_or_begins_it_again() {
    let mut world = Folding::begin();
    let phase = |world: &Folding| world.readers.get(b"c").unwrap().phase().is_some();
    let snapshot = SeekTo::Snapshot(vec![b"x"[..].into()]);
    for (to, expected) in [
        (SeekTo::Start(Start::End), false),
        (snapshot.clone(), true),
        (snapshot, true),
        (SeekTo::Start(Start::Beginning), false),
    ] {
        let sought = world
            .readers
            .seek(Kind::Cursor, b"c", &to, world.now, &mut world.stream);
        world.repeat(sought.unwrap().delta);
        assert_eq!(phase(&world), expected);
    }
}
