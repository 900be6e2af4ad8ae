//! Whether a state is sound: every list, count and index agrees with every other.

use super::Readers;
use super::lane::{Standing, flags};
use super::pending::Pending;
use std::collections::BTreeMap;

impl Readers {
    /// Panics if anything disagrees.
    pub fn assert_sound(&self) {
        for reader in self.iter() {
            if let Some(group) = reader.group() {
                assert_sound(&group.pending);
            }
        }
        assert_eq!(self.by_name.len(), self.by_number.len());
    }
}

fn assert_sound(pending: &Pending) {
    let entries: Vec<_> = pending.entries().copied().collect();
    assert_eq!(entries.len() as u32, pending.len(), "index");
    assert!(entries.windows(2).all(|w| w[0].id < w[1].id), "ascending");
    for entry in &entries {
        assert!(pending.entry(entry.id).is_some(), "{} is found", entry.id);
        assert_eq!(entry.is(flags::FAILED), pending.failure(entry.id).is_some());
        assert_eq!(
            entry.is(flags::REDRIVEN),
            pending.redriven(entry.id).is_some()
        );
    }
    let mut in_lanes = 0;
    let mut held = 0;
    let mut by_holder: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    let mut lanes = Vec::new();
    for standing in [
        Standing::Held,
        Standing::Free,
        Standing::Silent,
        Standing::Queued,
    ] {
        let of: Vec<_> = pending.standing(standing).copied().collect();
        assert_eq!(of.len() as u32, pending.list(standing).len);
        assert!(
            of.windows(2).all(|w| w[0].at <= w[1].at),
            "{standing:?} by time"
        );
        assert!(of.iter().all(|lane| lane.standing == standing));
        lanes.extend(of);
    }
    for (due, lane) in pending.delayed() {
        assert_eq!((lane.standing, lane.at), (Standing::Delayed, due));
        lanes.push(*lane);
    }
    for key in pending.parked_keys() {
        let lane = pending.lane_by_key(key).expect("a parked key has a lane");
        let waits = pending
            .first(lane)
            .is_none_or(|first| Some(first.id) > pending.parked_by(key));
        assert_eq!(lane.standing == Standing::Parked, waits && lane.held == 0);
        if lane.standing == Standing::Parked {
            lanes.push(*lane);
        }
    }
    for lane in &lanes {
        let of: Vec<_> = pending.entries_of(lane).copied().collect();
        assert!(of.windows(2).all(|w| w[0].id < w[1].id), "a lane in order");
        in_lanes += of.len();
        let held_here = of.iter().filter(|entry| entry.is(flags::HELD)).count() as u32;
        assert_eq!(held_here, lane.held);
        assert_eq!(lane.held > 0, lane.standing == Standing::Held);
        held += held_here;
        if lane.held > 0 {
            let (lanes, entries) = by_holder.entry(lane.holder).or_default();
            *lanes += 1;
            *entries += held_here;
        }
        if lane.key != 0 {
            let found = pending.lane_by_key(lane.key).unwrap();
            assert_eq!(found.first, lane.first, "found by key");
        } else {
            assert_eq!(of.len(), 1);
        }
        let Some(first) = of.first() else {
            assert_eq!(lane.standing, Standing::Parked);
            continue;
        };
        match lane.standing {
            Standing::Free => assert!(first.is(flags::GIVEN) && !first.is(flags::SILENT)),
            Standing::Silent => assert!(first.is(flags::SILENT)),
            Standing::Queued => assert!(!first.is(flags::GIVEN)),
            _ => (),
        }
    }
    assert_eq!(
        in_lanes,
        entries.len(),
        "every entry is in a lane that stands somewhere"
    );
    assert_eq!(held, pending.held());
    for (number, consumer) in pending.consumers.iter() {
        let (lanes, entries) = by_holder.get(&number).copied().unwrap_or_default();
        assert_eq!((consumer.lanes.len, consumer.held), (lanes, entries));
        assert_eq!(pending.lanes_of(number).count() as u32, lanes);
    }
}
