//! What STATS and INFO tell of a reader, as far as its state knows.

use super::act::Act;
use super::consumers::Seen;
use super::lane::Standing;
use super::reader::{Counter, Counters, Reader};
use super::readers::Readers;
use super::refusal::Refusal;
use super::settings::{Kind, Settings};
use super::snapshot::Scan;
use super::stream::Stream;
use crate::entity::event_id::EventId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A reader in numbers. What the stream must be asked for is left to the module: how many entries are
/// behind `position`, how old the first of them is (`oldest-unread-ms`: 0 if there is none), what is missed.
#[derive(Clone, Debug)]
pub struct ReaderStats {
    /// Its name.
    pub name: Vec<u8>,
    /// Its kind.
    pub kind: Kind,
    /// Its settings.
    pub settings: Arc<Settings>,
    /// Their REVISION.
    pub revision: Option<u64>,
    /// Everything up to here was looked at (a group) or acknowledged (a cursor).
    pub position: EventId,
    /// A cursor's epoch.
    pub epoch: u64,
    /// How far a cursor is in its snapshot phase, if that lasts.
    pub scan: Option<Scan>,
    /// The declarations of that phase.
    pub scan_keys: Vec<Box<[u8]>>,
    /// Nobody knows what it missed, and it was not told so yet.
    pub missed_unknown: bool,
    /// What happened since it was made.
    pub counters: Counters,
    /// Entries that were given or brought back, and are not finished.
    pub pending: u32,
    /// Of these, those that somebody holds.
    pub held: u32,
    /// The lowest entry that is not finished and is in the stream.
    pub lowest: Option<EventId>,
    /// Lanes whose first event would be given now.
    pub due: u32,
    /// Entries that nobody holds.
    pub queued: u32,
    /// Keys of which somebody holds events.
    pub held_keys: u32,
    /// Keys that a dead event keeps.
    pub parked_keys: u32,
    /// Redriven events that are not finished.
    pub redriven: u32,
    /// Nothing new is given, since the next event has no room to wait for its key. Only a primary knows.
    pub stalled: bool,
    /// PAUSE ON.
    pub paused: bool,
    /// ORDER STREAM: who has the turn.
    pub turn: Option<Vec<u8>>,
    /// The consumers, by name.
    pub consumers: Vec<ConsumerStats>,
    /// Bytes of memory.
    pub bytes: usize,
}

/// A consumer in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerStats {
    /// Its name.
    pub name: Vec<u8>,
    /// How many entries it holds.
    pub held: u32,
    /// How long it was silent; 0 while it waits.
    pub idle_ms: u64,
    /// It is in BLOCK now.
    pub waiting: bool,
}

/// Readers of whatever streams, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many are groups.
    pub groups: u64,
    /// How many are cursors.
    pub cursors: u64,
    /// Groups with PAUSE ON.
    pub paused: u64,
    /// Groups that give nothing new, since the next event has no room to wait for its key.
    pub stalled: u64,
    /// Entries that were given or brought back, and are not finished.
    pub pending: u64,
    /// Lanes whose first event would be given now.
    pub due: u64,
    /// Entries that nobody holds.
    pub queued: u64,
    /// Keys of which somebody holds events.
    pub held_keys: u64,
    /// Keys that a dead event keeps.
    pub parked_keys: u64,
    /// What happened since they were made.
    pub counters: Counters,
}

impl Readers {
    /// Adds all readers to the totals. `max_queued` is `dirty.max-queued`.
    pub fn add_to(&self, totals: &mut Totals, max_queued: u32, now_ms: u64) {
        for reader in self.iter() {
            let stats = self.numbers_of(reader, max_queued, now_ms);
            let add = |to: &mut u64, n: u64| *to = to.saturating_add(n);
            match stats.kind {
                Kind::Group => add(&mut totals.groups, 1),
                Kind::Cursor => add(&mut totals.cursors, 1),
            }
            add(&mut totals.paused, stats.paused.into());
            add(&mut totals.stalled, stats.stalled.into());
            add(&mut totals.pending, stats.pending.into());
            add(&mut totals.due, stats.due.into());
            add(&mut totals.queued, stats.queued.into());
            add(&mut totals.held_keys, stats.held_keys.into());
            add(&mut totals.parked_keys, stats.parked_keys.into());
            for counter in Counter::ALL {
                totals.counters.add(counter, stats.counters.get(counter));
            }
        }
    }

    /// Whether the next command that writes begins again with all readers, since the stream is another one. Changes
    /// nothing.
    pub fn begin_again(&mut self, now_ms: u64, stream: &mut impl Stream) -> Result<bool, Refusal> {
        let look = Act::begin(self, now_ms).look(stream)?;
        Ok(look.again.is_some())
    }

    /// All readers, by name. `max_queued` is `dirty.max-queued`.
    pub fn stats(&self, max_queued: u32, now_ms: u64) -> Vec<ReaderStats> {
        self.iter()
            .map(|reader| self.stats_of(reader, max_queued, now_ms))
            .collect()
    }

    fn stats_of(&self, reader: &Reader, max_queued: u32, now_ms: u64) -> ReaderStats {
        let turn = reader.group().and_then(|group| {
            let turn = group.turn?;
            Some(group.pending.consumers.name(turn).to_vec())
        });
        ReaderStats {
            name: reader.name.to_vec(),
            scan_keys: reader
                .phase()
                .map_or_else(Vec::new, |phase| phase.keys.clone()),
            turn,
            consumers: self.consumers_of(reader, now_ms),
            bytes: reader.bytes(),
            ..self.numbers_of(reader, max_queued, now_ms)
        }
    }

    /// All but names, consumers and bytes. Allocates nothing: INFO is told in crash reports, too.
    fn numbers_of(&self, reader: &Reader, max_queued: u32, now_ms: u64) -> ReaderStats {
        let group = reader.group();
        let pending = group.map(|group| &group.pending);
        let due = pending.map_or(0, |pending| {
            let since = |at: u64| at.min(now_ms).max(self.since());
            let claim_ms = reader.settings.claim_ms;
            let held = pending.standing(Standing::Held);
            let silent = held.take_while(|lane| since(lane.at).saturating_add(claim_ms) <= now_ms);
            let delayed = pending.delayed().take_while(|(due, _)| *due <= now_ms);
            let counts = [
                u32::try_from(silent.count()).unwrap_or(u32::MAX),
                u32::try_from(delayed.count()).unwrap_or(u32::MAX),
                pending.list(Standing::Free).len,
                pending.list(Standing::Silent).len,
            ];
            counts.into_iter().fold(0, u32::saturating_add)
        });
        let unheld = pending.map_or(0, |pending| pending.len().saturating_sub(pending.held()));
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let has_keys = reader.settings.order.looks_ahead();
        ReaderStats {
            name: Vec::new(),
            kind: reader.kind(),
            settings: reader.settings.clone(),
            revision: reader.revision,
            position: reader.position,
            epoch: reader.epoch(),
            scan: reader.phase().map(|phase| phase.at.clone()),
            scan_keys: Vec::new(),
            missed_unknown: reader.missed_unknown,
            counters: reader.counters,
            pending: pending.map_or(0, |pending| pending.len()),
            held: pending.map_or(0, |pending| pending.held()),
            lowest: pending.and_then(|pending| pending.lowest()),
            due,
            queued: unheld,
            held_keys: match (pending, has_keys) {
                (Some(pending), true) => pending.list(Standing::Held).len,
                _ => 0,
            },
            parked_keys: pending.map_or(0, |pending| number(pending.parked_keys().count())),
            redriven: pending.map_or(0, |pending| number(pending.redriven_len())),
            stalled: group.is_some_and(|group| group.is_stalled(reader.position, max_queued)),
            paused: group.is_some_and(|group| group.paused),
            turn: None,
            consumers: Vec::new(),
            bytes: 0,
        }
    }

    fn consumers_of(&self, reader: &Reader, now_ms: u64) -> Vec<ConsumerStats> {
        let Some(group) = reader.group() else {
            return Vec::new();
        };
        let mut consumers: BTreeMap<&[u8], (u32, Seen)> = BTreeMap::new();
        for (_, consumer) in group.pending.consumers.iter() {
            consumers.insert(&consumer.name, (consumer.held, Seen::default()));
        }
        for (name, seen) in group.presence.iter() {
            consumers.entry(name).or_default().1 = seen;
        }
        let stats = consumers.into_iter().map(|(name, (held, seen))| {
            let at = seen.at_ms.max(self.since());
            ConsumerStats {
                name: name.to_vec(),
                held,
                idle_ms: match seen.waiting {
                    0 => now_ms.saturating_sub(at),
                    _ => 0,
                },
                waiting: seen.waiting > 0,
            }
        });
        stats.collect()
    }
}
