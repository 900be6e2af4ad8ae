//! Who reads, and who knows what they must have read.

use super::place::{Client, Place, right};
use super::{Dice, Folder, Reply, Size, State, TYPES, Truth, View, entity};
use crate::support::folding::Id;
use crate::support::text;
use redis::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How each begins, behind `DIRTY.READER s CURSOR name FROM SNAPSHOT`, with its COUNT.
pub const READERS: [(&str, u64); 10] = [
    ("2 user order", 1000),
    ("2 order user", 250),
    ("2 user order WHERE ENTITY user", 500),
    ("1 order WHERE ENTITY order", 300),
    ("2 user order SHARD 0 3", 1000),
    ("2 user order SHARD 1 3", 700),
    ("2 user order SHARD 2 3", 400),
    ("2 user order WHERE FIELDS 1 n", 1000),
    ("2 user order WHERE ID 5 1 2 3 4 1000", 200),
    ("2 user order", 2000),
];
/// The one that sleeps now and then until events are gone that it has not read.
const SLEEPER: usize = 9;

fn view(reader: usize) -> View {
    match reader {
        2 => View::Type("user"),
        3 => View::Type("order"),
        4..=6 => View::Shard(u16::try_from(reader - 4).expect("an index"), 3),
        8 => View::Ids(BTreeSet::from([1, 2, 3, 4, 1000])),
        _ => View::All,
    }
}

/// That a reader had this state at this position.
struct Claim {
    reader: usize,
    era: u64,
    at: Id,
    sum: u64,
}

#[derive(Default)]
struct Counts {
    /// Positions at which a reader's state was compared.
    compared: AtomicU64,
    crashes: AtomicU64,
    /// Phases that came to their end.
    phases: AtomicU64,
    read: AtomicU64,
    told_of_retention: AtomicU64,
    told_of_lost: AtomicU64,
    /// SEEKs that their primary had not sent when it died.
    seeks_lost: AtomicU64,
}

pub struct Crowd<'p> {
    pub size: Size,
    pub place: &'p Place,
    are_writers_to_stop: AtomicBool,
    is_ending: AtomicBool,
    /// Readers that have come to their end.
    ended: AtomicUsize,
    /// How far each reader is, and who finds the truth: the seq of its position.
    seen: [AtomicU64; READERS.len() + 1],
    /// Begin again, from the state.
    again: [AtomicBool; READERS.len()],
    is_over: [AtomicBool; READERS.len()],
    claims: Mutex<Vec<Claim>>,
    truth: Mutex<Option<Truth>>,
    folded: Mutex<Vec<(usize, State)>>,
    counts: Counts,
}

/// Lets all readers come to an end, also when the test fails.
pub struct Ends<'c>(&'c AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Lets all come to an end when somebody has seen something wrong.
pub struct Fails<'c>(&'c Crowd<'c>);

impl Drop for Fails<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_writers();
            self.0.is_ending.store(true, SeqCst);
        }
    }
}

/// A reader that has come to its end, in any case.
struct Ended<'c>(&'c AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody has failed")
}

impl<'p> Crowd<'p> {
    pub fn new(size: Size, place: &'p Place) -> Self {
        Crowd {
            size,
            place,
            are_writers_to_stop: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
            seen: Default::default(),
            again: Default::default(),
            is_over: Default::default(),
            claims: Mutex::default(),
            truth: Mutex::default(),
            folded: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub fn ends(&self) -> Ends<'_> {
        Ends(&self.is_ending)
    }

    pub fn ends_if_it_fails(&self) -> Fails<'_> {
        Fails(self)
    }

    pub fn stop_writers(&self) {
        self.are_writers_to_stop.store(true, SeqCst);
    }

    pub fn are_writers_to_stop(&self) -> bool {
        self.are_writers_to_stop.load(SeqCst)
    }

    fn is_ending(&self) -> bool {
        self.is_ending.load(SeqCst)
    }

    /// Readers are declared, where this is stored.
    pub fn begin(&self, seeded: State) {
        let mut client = Client::new(self.place);
        for (nth, (from, _)) in READERS.iter().enumerate() {
            let line = format!("DIRTY.READER s CURSOR c{nth} FROM SNAPSHOT {from}");
            assert_eq!(text(&client.ask(&line).0), "OK", "{line}");
        }
        let views = (0..READERS.len()).map(view).collect();
        *lock(&self.truth) = Some(Truth::new(seeded, views));
    }

    /// How many events the slowest is behind the newest one, those apart that sleep.
    pub fn behind(&self, newest: &Value) -> u64 {
        let Some(newest) = newest_id(newest) else {
            return 0;
        };
        let seen = self.seen.iter().map(|seen| seen.load(SeqCst));
        newest.seq.saturating_sub(seen.min().unwrap_or(0))
    }

    /// All readers begin again. They may be told so before this returns, but have not read all.
    pub fn begin_again(&self) {
        for (is_over, again) in self.is_over.iter().zip(&self.again) {
            is_over.store(false, SeqCst);
            again.store(true, SeqCst);
        }
    }

    /// Waits until all have read all entities.
    pub fn wait_until_all_are_over(&self, patience: Duration) {
        let start = Instant::now();
        while !self.is_over.iter().all(|is_over| is_over.load(SeqCst)) {
            let over: Vec<bool> = self.is_over.iter().map(|is| is.load(SeqCst)).collect();
            assert!(start.elapsed() < patience, "{over:?}");
            assert!(!self.is_ending(), "somebody has seen something wrong");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait_until_one_was_told_of_retention(&self, patience: Duration) {
        let start = Instant::now();
        while self.counts.told_of_retention.load(SeqCst) == 0 {
            assert!(start.elapsed() < patience, "nobody has slept long enough");
            assert!(!self.is_ending(), "somebody has seen something wrong");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A reader, until there is nothing left.
    pub fn read(&self, nth: usize, seed: u64) {
        let (_fails, _ended) = (Fails(self), Ended(&self.ended));
        let mut client = Client::new(self.place);
        let mut dice = Dice(seed.wrapping_add(7919 * nth as u64) | 1);
        let mut folder = Folder::new(&format!("c{nth}"), view(nth));
        let (mut era, mut sleeps) = (0, false);
        loop {
            if self.again[nth].swap(false, SeqCst) {
                self.seek(&mut client, &mut folder, nth);
            }
            if nth == SLEEPER && folder.is_over && !sleeps && dice.roll(100) == 0 {
                sleeps = self.sleep(&mut client, &folder);
            }
            let (cursor, ack) = (&folder.cursor, folder.ack());
            // A million entities are not to be a million calls.
            let count = READERS[nth].1 * (1 + self.size.entities / 100_000);
            let line = format!("DIRTY.CONSUME s CURSOR {cursor} {ack} COUNT {count} BLOCK 50");
            let is_last = self.is_ending();
            let (reply, now) = client.ask(&line);
            let reply = Reply::of(right(&reply));
            let (before, slept) = (std::mem::replace(&mut era, now), sleeps);
            sleeps = false;
            // Of what it has applied of the last one nobody knows any more whether it happened.
            let is_unsure = folder.is_torn && before != now;
            if self.is_missing(&reply, slept, before != now) || is_unsure {
                self.seek(&mut client, &mut folder, nth);
                continue;
            }
            assert!(!slept, "retention was too fast, untold");
            if !folder.is_over && reply.phase.is_none() {
                // The primary that was told so is dead.
                assert!(now > 0, "no phase");
                self.counts.seeks_lost.fetch_add(1, SeqCst);
                self.seek(&mut client, &mut folder, nth);
                continue;
            }
            if dice.roll(25) == 0 && !is_last {
                self.counts.crashes.fetch_add(1, SeqCst);
                client.crash();
                folder.crash(&reply, &mut dice);
                continue;
            }
            self.take(nth, &mut folder, &reply, era);
            if is_last && folder.is_over && !reply.more {
                lock(&self.folded).push((nth, folder.state));
                return;
            }
        }
    }

    /// Whether a reader was told that something is missing, which must have a reason.
    fn is_missing(&self, reply: &Reply, slept: bool, has_lost: bool) -> bool {
        match reply.missed {
            Some(0) => return false,
            Some(n) => {
                assert!(slept || has_lost, "{n} are missing");
                self.counts.told_of_retention.fetch_add(1, SeqCst);
            }
            None => {
                assert!(has_lost, "nobody knows what is missing");
                self.counts.told_of_lost.fetch_add(1, SeqCst);
            }
        }
        true
    }

    fn take(&self, nth: usize, folder: &mut Folder, reply: &Reply, era: u64) {
        folder.take(reply);
        let read = reply.events.iter().filter(|event| event.is_read).count();
        self.counts.read.fetch_add(read as u64, SeqCst);
        let at = Id::of(&reply.position);
        self.seen[nth].store(at.seq, SeqCst);
        if !folder.is_over {
            return;
        }
        if reply.phase.is_some() {
            self.counts.phases.fetch_add(1, SeqCst);
        }
        if !self.again[nth].load(SeqCst) {
            self.is_over[nth].store(true, SeqCst);
        }
        let sum = folder.state.sum();
        let claim = Claim {
            reader: nth,
            era,
            at,
            sum,
        };
        lock(&self.claims).push(claim);
    }

    fn seek(&self, client: &mut Client, folder: &mut Folder, nth: usize) {
        let from = READERS[nth].0;
        let from = from
            .split(" WHERE")
            .next()
            .and_then(|from| from.split(" SHARD").next());
        let from = from.expect("keys");
        let line = format!("DIRTY.SEEK s CURSOR {} SNAPSHOT {from}", folder.cursor);
        assert_eq!(text(&client.ask(&line).0), "OK", "{line}");
        folder.begin_again();
    }

    /// Until the next event that it would read is gone. False if it never was.
    fn sleep(&self, client: &mut Client, folder: &Folder) -> bool {
        let position = folder.position.as_ref().expect("a position");
        let (at, era) = (Id::of(position).seq, self.place.now().era);
        let mine = &self.seen[SLEEPER];
        mine.store(u64::MAX, SeqCst);
        let mut is_gone = false;
        while !is_gone && !self.is_ending() && self.place.now().era == era {
            std::thread::sleep(Duration::from_millis(20));
            let oldest = client.ask("XRANGE s - + COUNT 1").0;
            is_gone = newest_id(&oldest).is_some_and(|id| id.seq > at + 1);
        }
        mine.store(at, SeqCst);
        is_gone && self.place.now().era == era
    }

    /// Reads every event, and compares what readers claim.
    pub fn find_truth(&self) {
        let _fails = Fails(self);
        let mut truth = lock(&self.truth).take().expect("what is seeded");
        let mut client = Client::new(self.place);
        let mut position = "0".to_string();
        loop {
            let is_last = self.ended.load(SeqCst) == READERS.len();
            let line = format!("DIRTY.READ s FROM {position} COUNT 1000 BLOCK 50");
            let (reply, era) = client.ask(&line);
            if text(&reply).starts_with("NOPOSITION") {
                position = undo(&mut truth, &mut client);
                continue;
            }
            let reply = Reply::of(right(&reply));
            assert_eq!(reply.missed, Some(0), "who finds the truth is too slow");
            truth.take(&reply);
            position = reply.position;
            self.seen[READERS.len()].store(truth.last.seq, SeqCst);
            self.compare(&truth, era);
            if is_last && !reply.more {
                let claims = lock(&self.claims);
                let left = claims.iter().filter(|claim| claim.era == era).count();
                assert_eq!(left, 0, "claims beyond the last event");
                *lock(&self.truth) = Some(truth);
                return;
            }
        }
    }

    fn compare(&self, truth: &Truth, era: u64) {
        lock(&self.claims).retain(|claim| {
            if claim.at.seq > truth.last.seq || claim.era > era {
                return true;
            }
            match truth.sum_at(claim.reader, claim.at) {
                Some(sum) => {
                    self.counts.compared.fetch_add(1, SeqCst);
                    assert_eq!(claim.sum, sum, "reader {} at {:?}", claim.reader, claim.at);
                }
                // A state that nobody has any more, or one before the first event.
                None => {
                    let is_known = claim.era < era || claim.at == Id::default();
                    assert!(is_known, "reader {} at {:?}", claim.reader, claim.at);
                }
            }
            false
        });
    }

    /// All have come to what the server has.
    pub fn check(&self) {
        let stored = stored(&mut Client::new(self.place));
        let truth = lock(&self.truth).take().expect("the truth");
        assert_eq!(truth.state.difference(&stored), None);
        for (nth, state) in lock(&self.folded).iter() {
            let wanted = stored.of(&view(*nth));
            assert_eq!(state.difference(&wanted), None, "reader {nth}");
        }
        let Counts {
            compared,
            crashes,
            phases,
            read,
            told_of_retention,
            told_of_lost,
            seeks_lost,
        } = &self.counts;
        println!(
            "{} entities, {} events; ten readers read {read:?} entities in {phases:?} phases, crashed {crashes:?} times, \
             were told {told_of_retention:?} times of retention and {told_of_lost:?} times of lost events, lost \
             {seeks_lost:?} SEEKs; compared at {compared:?} positions",
            stored.entities().count(),
            truth.events,
        );
        assert!(phases.load(SeqCst) >= 10 && compared.load(SeqCst) > 100);
        assert!(crashes.load(SeqCst) > 0 && told_of_retention.load(SeqCst) > 0);
    }
}

/// Of a reply with one entry.
fn newest_id(entries: &Value) -> Option<Id> {
    let Value::Array(entries) = entries else {
        return None;
    };
    match entries.first()? {
        Value::Array(entry) => Some(Id::of(text(&entry[0]).trim_matches('"'))),
        _ => None,
    }
}

/// Forgets the events that a new primary does not have.
fn undo(truth: &mut Truth, client: &mut Client) -> String {
    let mut n = 1;
    loop {
        truth.undo(n);
        let Id { ms, seq } = truth.last;
        let found = client.ask(&format!("XRANGE s {ms}-{seq} {ms}-{seq}")).0;
        if newest_id(&found).is_some() {
            return format!("{ms}-{seq}");
        }
        n *= 2;
    }
}

fn stored(client: &mut Client) -> State {
    let mut state = State::default();
    for entity_type in TYPES {
        let mut cursor = "0".to_string();
        loop {
            let line = format!("DIRTY.SCAN {entity_type} {cursor} COUNT 1000");
            let Value::Array(page) = client.ask(&line).0 else {
                panic!("no page");
            };
            let Value::Array(entities) = &page[1] else {
                panic!("no entities");
            };
            for found in entities {
                let Value::Array(pair) = found else {
                    panic!("no pair");
                };
                let number = crate::support::readers::get(&pair[1], "n");
                let number = text(number).trim_matches(['(', ')']).parse().expect("n");
                let entity = entity(entity_type, &text(&pair[0])).expect("an entity");
                state.put(entity, number);
            }
            cursor = text(&page[0]);
            if cursor == "0" {
                break;
            }
        }
    }
    state
}
