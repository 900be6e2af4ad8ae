//! A run of a reconciliation: it makes the snapshots equal to the rows of the application's database, while writers go
//! on.
//!
//! | command | function |
//! | --- | --- |
//! | RECONCILE … BEGIN | [`Run::new`] |
//! | FLUSH without RUN, and COMMIT | [`Run::name`] for each id |
//! | FLUSH … RUN | [`Run::is_newer`] before, [`Run::send`] after each operation |
//! | RECONCILE … SWEEP | [`Run::begin_count`], [`Run::find`] and [`Run::end_count`]; then [`Run::next_missing`] and [`Run::delete`] |
//! | RECONCILE … STATUS | [`Run::status`] |
//!
//! The application reads its rows after BEGIN. So an id that another flush has named since then may be newer than its
//! row, and the run leaves it alone: it neither repairs nor deletes it.

mod ids;
mod marks;
pub mod request;

use crate::flush::Effect;
use ids::Ids;
use marks::{Flags, Marks};

/// One run.
#[derive(Debug)]
pub struct Run {
    name: Vec<u8>,
    phase: Phase,
    marks: Marks,
    status: Status,
    /// Whether the run has sent an id with a colon. Without one, ids with colons may be keys that the application has
    /// below the prefix for itself.
    has_colons: bool,
    /// Whether it had when SWEEP began to count.
    counts_colons: bool,
    /// The ids that SWEEP has found and nobody had named then.
    missing: Ids,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Rows are sent.
    #[default]
    Rows,
    /// SWEEP counts what nobody has named.
    Counting,
    /// SWEEP deletes what it has counted.
    Deleting,
    /// Nothing is left to do.
    Done,
}

impl Phase {
    /// As replies call it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Rows => "rows",
            Phase::Counting => "counting",
            Phase::Deleting => "deleting",
            Phase::Done => "done",
        }
    }
}

/// What STATUS and SWEEP reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How far the run is.
    pub phase: Phase,
    /// How many snapshots SWEEP has found since it began to count.
    pub scanned: u64,
    /// How many ids the run has sent.
    pub seen: u64,
    /// Rows that were stored already.
    pub same: u64,
    /// Rows that changed what was stored.
    pub repaired: u64,
    /// Rows of an older version than what is stored.
    pub stale: u64,
    /// Rows of ids that another flush had named since BEGIN.
    pub newer: u64,
    /// Snapshots that SWEEP leaves alone, since the run has no ids like theirs.
    pub foreign: u64,
    /// Snapshots that SWEEP is to delete, or has deleted.
    pub missing: u64,
    /// Those that it has deleted.
    pub deleted: u64,
}

/// How many snapshots SWEEP may delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxDelete {
    /// The larger of 10 and 1 % of the snapshots.
    Default,
    /// So many.
    Count(u64),
    /// A part of the snapshots, in percent.
    Percent(u8),
}

impl MaxDelete {
    /// The number for so many snapshots.
    fn of(self, scanned: u64) -> u64 {
        let percent = |n: u8| {
            let part = u128::from(scanned).saturating_mul(u128::from(n));
            u64::try_from(part / 100).unwrap_or(u64::MAX)
        };
        match self {
            MaxDelete::Default => percent(1).max(10),
            MaxDelete::Count(n) => n,
            MaxDelete::Percent(n) => percent(n),
        }
    }
}

/// More would be deleted than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// How many would be deleted.
    pub missing: u64,
    /// How many snapshots there are.
    pub scanned: u64,
    /// How many may be deleted.
    pub allowed: u64,
}

/// For each id that SWEEP deletes it looks at so many that it leaves alone, at most.
const LOOKED_AT: usize = 10;

impl Run {
    /// Begins a run.
    pub fn new(name: &[u8]) -> Self {
        Run {
            name: name.to_vec(),
            phase: Phase::Rows,
            marks: Marks::new(),
            status: Status::default(),
            has_colons: false,
            counts_colons: false,
            missing: Ids::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How far it is, and what it has done.
    pub fn status(&self) -> Status {
        Status {
            phase: self.phase,
            ..self.status
        }
    }

    /// A flush without RUN, or a COMMIT, has named an id, whatever came of it.
    pub fn see_other(&mut self, id: &[u8]) {
        if self.phase != Phase::Done {
            let before = self.marks.add(id, Flags::NEWER);
            self.unmiss(id, before);
        }
    }

    /// An id is named that SWEEP may have counted.
    fn unmiss(&mut self, id: &[u8], before: Flags) {
        if before == Flags::FOUND && !self.is_foreign(id) {
            self.status.missing = self.status.missing.saturating_sub(1);
        }
    }

    fn is_foreign(&self, id: &[u8]) -> bool {
        !self.counts_colons && id.contains(&b':')
    }

    fn is_named(&self, id: &[u8]) -> bool {
        self.marks.get(id).intersects(Flags::SENT | Flags::NEWER)
    }

    /// Whether an id may be newer than its row.
    pub fn is_newer(&self, id: &[u8]) -> bool {
        self.marks.get(id).contains(Flags::NEWER)
    }

    /// The run has sent a row, with this effect.
    pub fn send(&mut self, id: &[u8], effect: Effect) {
        let before = self.marks.add(id, Flags::SENT);
        self.unmiss(id, before);
        self.has_colons |= id.contains(&b':');
        let status = &mut self.status;
        if !before.contains(Flags::SENT) {
            status.seen = status.seen.saturating_add(1);
        }
        let counter = match effect {
            Effect::Newer => &mut status.newer,
            Effect::Stale => &mut status.stale,
            Effect::None => &mut status.same,
            _ => &mut status.repaired,
        };
        *counter = counter.saturating_add(1);
    }

    /// SWEEP begins to count.
    pub fn begin_count(&mut self) {
        self.marks.forget_found();
        self.missing.clear();
        self.phase = Phase::Counting;
        self.counts_colons = self.has_colons;
        self.status.scanned = 0;
        self.status.foreign = 0;
        self.status.missing = 0;
    }

    /// SWEEP has found a snapshot. It may find one twice.
    pub fn find(&mut self, id: &[u8]) {
        let before = self.marks.add(id, Flags::FOUND);
        if before.contains(Flags::FOUND) {
            return;
        }
        self.status.scanned = self.status.scanned.saturating_add(1);
        if before.intersects(Flags::SENT | Flags::NEWER) {
            return;
        }
        let counter = match self.is_foreign(id) {
            true => &mut self.status.foreign,
            false => {
                self.missing.push(id);
                &mut self.status.missing
            }
        };
        *counter = counter.saturating_add(1);
    }

    /// SWEEP has found all snapshots. A run that would delete too much goes back to its rows, and so does one that only
    /// counts.
    pub fn end_count(&mut self, max: MaxDelete, is_dry: bool) -> Result<(), TooMany> {
        let Status {
            scanned, missing, ..
        } = self.status;
        let allowed = max.of(scanned);
        self.phase = Phase::Rows;
        if missing > allowed {
            return Err(TooMany {
                missing,
                scanned,
                allowed,
            });
        }
        if !is_dry {
            self.phase = Phase::Deleting;
            self.end_if_nothing_is_missing();
        }
        Ok(())
    }

    /// Up to n of the ids that SWEEP deletes next. What was named since it counted is left alone. There may be more
    /// even if this finds none: it looks at so many ids only that the server is not held up.
    pub fn next_missing(&mut self, n: usize) -> Vec<Box<[u8]>> {
        let mut looked_at = n.saturating_mul(LOOKED_AT);
        while looked_at > 0 && self.missing.front().is_some_and(|id| self.is_named(id)) {
            self.missing.pop_front();
            looked_at = looked_at.saturating_sub(1);
        }
        self.end_if_nothing_is_missing();
        let ids = self.missing.iter().take(looked_at);
        ids.filter(|id| !self.is_named(id))
            .take(n)
            .map(Box::from)
            .collect()
    }

    /// SWEEP has deleted these ids, which [`Self::next_missing`] gave, with these effects.
    pub fn delete(&mut self, ids: &[Box<[u8]>], effects: impl Iterator<Item = Effect>) {
        let deleted = effects.filter(|effect| matches!(effect, Effect::Delete | Effect::Hidden));
        let deleted = u64::try_from(deleted.count()).unwrap_or(u64::MAX);
        self.status.deleted = self.status.deleted.saturating_add(deleted);
        if let Some(last) = ids.last() {
            while self.missing.front().is_some_and(|id| id != &**last) {
                self.missing.pop_front();
            }
            self.missing.pop_front();
        }
        self.end_if_nothing_is_missing();
    }

    fn end_if_nothing_is_missing(&mut self) {
        if self.phase == Phase::Deleting && self.missing.is_empty() {
            self.phase = Phase::Done;
            self.marks = Marks::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Something that happens to a run, with an id.
    #[derive(Clone, Debug)]
    enum Step {
        Other(u8),
        Send(u8),
        Store(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..40u8).prop_map(Step::Other),
            (0..40u8).prop_map(Step::Send),
            (0..40u8).prop_map(Step::Store),
        ]
    }

    fn name(id: u8) -> Vec<u8> {
        match id % 8 {
            0 => format!("{id}:x").into_bytes(),
            _ => id.to_string().into_bytes(),
        }
    }

    /// The snapshots, and the run with what a simple model knows of it.
    struct World {
        run: Run,
        stored: BTreeSet<Vec<u8>>,
        others: BTreeSet<Vec<u8>>,
        sent: BTreeSet<Vec<u8>>,
    }

    impl World {
        fn new() -> Self {
            World {
                run: Run::new(b"r"),
                stored: BTreeSet::new(),
                others: BTreeSet::new(),
                sent: BTreeSet::new(),
            }
        }

        fn take(&mut self, step: &Step) {
            if self.run.phase() == Phase::Done {
                return; // nothing is sent any more
            }
            match step {
                Step::Other(id) => {
                    self.others.insert(name(*id));
                    self.run.see_other(&name(*id));
                }
                Step::Send(id) => {
                    let id = name(*id);
                    let is_newer = self.others.contains(&id);
                    assert_eq!(self.run.is_newer(&id), is_newer);
                    let effect = match (is_newer, self.stored.contains(&id)) {
                        (true, _) => Effect::Newer,
                        (false, true) => Effect::None,
                        (false, false) => Effect::Insert,
                    };
                    self.run.send(&id, effect);
                    if !is_newer {
                        self.stored.insert(id.clone());
                    }
                    self.sent.insert(id);
                }
                // By a native command: nobody tells the run.
                Step::Store(id) => drop(self.stored.insert(name(*id))),
            }
        }

        /// Those that SWEEP is to delete, and those that it leaves to the application.
        fn unnamed(&self, has_colons: bool) -> (BTreeSet<Vec<u8>>, usize) {
            let stored = self.stored.iter();
            let unnamed =
                stored.filter(|id| !self.others.contains(*id) && !self.sent.contains(*id));
            let (foreign, missing): (Vec<_>, Vec<_>) =
                unnamed.partition(|id| !has_colons && id.contains(&b':'));
            (missing.into_iter().cloned().collect(), foreign.len())
        }

        fn count(&mut self, during: &[Step]) -> bool {
            let has_colons = self.sent.iter().any(|id| id.contains(&b':'));
            self.run.begin_count();
            // A scan shows what is stored throughout, some of it twice.
            let shown: Vec<Vec<u8>> = self.stored.iter().cloned().collect();
            for id in &shown {
                self.run.find(id);
            }
            let scanned = self.stored.len();
            for id in shown.iter().step_by(2) {
                self.run.find(id);
            }
            for step in during.iter().filter(|step| !matches!(step, Step::Store(_))) {
                self.take(step);
            }
            let (missing, foreign) = self.unnamed(has_colons);
            let status = self.run.status();
            assert_eq!(status.scanned, scanned as u64);
            assert_eq!(status.missing, missing.len() as u64);
            // One that is named later was counted as foreign before.
            assert!(status.foreign >= foreign as u64);
            has_colons
        }
    }

    proptest! {
        #[test]
        fn a_run_deletes_what_nobody_has_named_and_never_more_than_it_may(
            before in prop::collection::vec(step(), 0..60),
            during in prop::collection::vec(step(), 0..10),
            after in prop::collection::vec(step(), 0..10),
            max in 0..30u64,
            page in 1..7usize,
        ) {
            let mut world = World::new();
            before.iter().for_each(|step| world.take(step));
            let has_colons = world.count(&during);
            let (counted, _) = world.unnamed(has_colons);
            let ended = world.run.end_count(MaxDelete::Count(max), false);
            prop_assert_eq!(ended.is_err(), counted.len() as u64 > max);
            if ended.is_err() {
                prop_assert_eq!(world.run.phase(), Phase::Rows);
                return Ok(());
            }
            for step in after.iter().filter(|step| !matches!(step, Step::Store(_))) {
                world.take(step);
            }
            let (left, _) = world.unnamed(has_colons);
            let left: BTreeSet<_> = left.intersection(&counted).cloned().collect();
            let mut deleted = BTreeSet::new();
            while world.run.phase() == Phase::Deleting {
                let ids = world.run.next_missing(page);
                prop_assert!(ids.len() <= page);
                world.run.delete(&ids, ids.iter().map(|_| Effect::Delete));
                deleted.extend(ids.into_iter().map(Vec::from));
            }
            prop_assert_eq!(world.run.phase(), Phase::Done);
            prop_assert_eq!(&deleted, &left);
            prop_assert_eq!(world.run.status().deleted, deleted.len() as u64);
        }
    }

    #[test]
    fn the_limit_is_a_number_or_a_part_of_the_snapshots() {
        for (max, scanned, allowed) in [
            (MaxDelete::Default, 50, 10),
            (MaxDelete::Default, 5000, 50),
            (MaxDelete::Count(7), 5000, 7),
            (MaxDelete::Percent(0), 5000, 0),
            (MaxDelete::Percent(3), 99, 2),
            (MaxDelete::Percent(100), u64::MAX, u64::MAX),
        ] {
            assert_eq!(max.of(scanned), allowed, "{max:?} of {scanned}");
        }
    }

    #[test]
    fn a_dry_run_and_a_refused_one_go_back_to_their_rows() {
        let mut run = Run::new(b"r");
        for (max, is_dry, ended, phase) in [
            (1, false, false, Phase::Rows),
            (2, true, true, Phase::Rows),
            (2, false, true, Phase::Deleting),
        ] {
            run.begin_count();
            run.find(b"1");
            run.find(b"2");
            let count = run.end_count(MaxDelete::Count(max), is_dry);
            assert_eq!((count.is_ok(), run.phase()), (ended, phase));
        }
    }
}
