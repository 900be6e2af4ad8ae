//! What those say who deploy and operate: READER, FORGET, PAUSE, SEEK.

use super::act::{Act, Outcome};
use super::key_hash::Seed;
use super::lane::{Standing, flags};
use super::op::Op;
use super::pending::Loaded;
use super::position::Start;
use super::readers::Readers;
use super::refusal::Refusal;
use super::settings::{Kind, Order, Settings};
use super::slab::NIL;
use super::snapshot::{Phase, Scan};
use super::stream::{Entry, Stream, Verdict};
use crate::entity::event_id::EventId;
use std::sync::Arc;

/// `DIRTY.READER stream GROUP|CURSOR name [FROM start] …`.
#[derive(Clone, Debug)]
pub struct Declare<'a> {
    /// A group or a cursor.
    pub kind: Kind,
    /// Its name.
    pub name: &'a [u8],
    /// FROM. Passed over if the reader is there.
    pub from: Option<From<'a>>,
    /// All the others.
    pub settings: Settings,
    /// REVISION.
    pub revision: Option<u64>,
    /// Chosen at random by the module, for a new reader's key hashes.
    pub seed: Seed,
}

/// Where a new reader starts.
#[derive(Clone, Debug)]
pub enum From<'a> {
    /// At a place in the stream.
    Start(Start),
    /// At the stream's end, after the snapshots of these declarations; for a cursor.
    Snapshot(Vec<Box<[u8]>>),
    /// Where a native group is, which the module destroys when this succeeds.
    Native(&'a Native),
}

/// Where SEEK moves a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// To a place in the stream.
    Start(Start),
    /// To the stream's end, after the snapshots of these declarations; for a cursor.
    Snapshot(Vec<Box<[u8]>>),
}

/// What a native group has.
#[derive(Clone, Debug, Default)]
pub struct Native {
    /// Its last delivered id.
    pub position: EventId,
    /// Its pending entries, by id.
    pub pending: Vec<NativePending>,
}

/// A pending entry of a native group.
#[derive(Clone, Debug)]
pub struct NativePending {
    /// Its id.
    pub id: EventId,
    /// Who holds it.
    pub consumer: Vec<u8>,
    /// How often it was delivered.
    pub deliveries: u64,
    /// When last, in ms.
    pub delivered_ms: u64,
}

/// What READER replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// `OK`: the reader is as declared.
    Ok,
    /// `KEPT`: a higher REVISION stands.
    Kept,
}

/// The position of a reader that starts there.
pub(super) fn resolve(start: Start, stream: &mut impl Stream) -> Result<EventId, Refusal> {
    match start {
        // Just before the first entry there is: what was trimmed earlier was not missed.
        Start::Beginning => {
            let mut first = None;
            stream.scan(EventId::default(), &mut |entry: &dyn Entry| {
                first = Some(entry.id());
                Verdict::Stop
            });
            Ok(match first {
                Some(first) => first.preceding(),
                None => stream.info()?.last,
            })
        }
        Start::End => Ok(stream.info()?.last),
        Start::After(id) => {
            let last = stream.info()?.last;
            if id > last {
                return Err(Refusal::BeyondEnd(id));
            }
            // Events count from 1: unless others have added it, this is a time, and no event before the
            // first one of that ms was missed.
            let exists = stream.last_up_to(id).is_some_and(|(found, _)| found == id);
            Ok(match id.seq == 0 && !exists {
                true => id.preceding(),
                false => id,
            })
        }
        Start::Since(ms) => {
            let last = stream.info()?.last;
            Ok(EventId { ms, seq: 0 }.preceding().min(last))
        }
    }
}

impl Readers {
    /// Makes a reader, or replaces the settings of one.
    pub fn declare(
        &mut self,
        call: &Declare,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Declared>, Refusal> {
        if call.name.is_empty() {
            return Err(Refusal::EmptyName);
        }
        if let Some(flaw) = call.settings.flaw() {
            return Err(Refusal::Flaw(flaw));
        }
        match self.number(call.name) {
            Some(_) => self.replace(call, now_ms, stream),
            None => self.make(call, now_ms, stream),
        }
    }

    fn make(
        &mut self,
        call: &Declare,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Declared>, Refusal> {
        let position = match &call.from {
            None => return Err(Refusal::NeedsFrom(call.name.into())),
            Some(From::Start(start)) => resolve(*start, stream)?,
            Some(From::Snapshot(_)) => resolve(Start::End, stream)?,
            Some(From::Native(native)) if call.kind == Kind::Group => native.position,
            Some(From::Native(native)) => {
                let lowest = native.pending.iter().map(|pending| pending.id).min();
                lowest.map_or(native.position, |id| id.preceding().min(native.position))
            }
        };
        let mut act = Act::begin(self, now_ms);
        // The other readers first learn if the stream is another one.
        match act.readers.is_empty() {
            true => {
                let info = stream.info()?;
                act.set_seen(info);
            }
            false => drop(act.observe(stream)?),
        }
        let number = act.readers.free_number();
        let Seed(a, b) = call.seed;
        act.change(Op::Make {
            number,
            kind: call.kind,
            name: call.name,
            position,
            epoch: match call.kind {
                Kind::Group => 0,
                Kind::Cursor => now_ms,
            },
            seed: (a, b),
        });
        act.change(Op::Set {
            settings: Arc::new(call.settings.clone()),
            revision: call.revision,
        });
        match (&call.from, call.kind) {
            (Some(From::Native(native)), Kind::Group) => act.take_over(native, call, stream),
            (Some(From::Snapshot(keys)), Kind::Cursor) => act.begin_phase(keys),
            _ => (),
        }
        Ok(act.end(Declared::Ok, None))
    }

    fn replace(
        &mut self,
        call: &Declare,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Declared>, Refusal> {
        let mut act = Act::on(self, call.kind, call.name, now_ms)?;
        let (settings, revision) = match act.reader() {
            Some(reader) => (reader.settings.clone(), reader.revision),
            None => return Err(Refusal::NoReader(call.kind, call.name.into())),
        };
        let is_same = *settings == call.settings;
        match (revision, call.revision) {
            (Some(stands), Some(new)) if new == stands => match is_same {
                true => return Ok(act.end(Declared::Ok, None)),
                false => return Err(Refusal::RevisionDiffers(stands)),
            },
            (Some(stands), new) if new.is_none_or(|new| new < stands) => {
                return Ok(act.end(Declared::Kept, None));
            }
            _ if is_same && revision == call.revision => {
                return Ok(act.end(Declared::Ok, None));
            }
            _ => (),
        }
        if settings.shard != call.settings.shard {
            return Err(Refusal::ShardFixed);
        }
        // What a stream that is gone has left does not fix anything.
        let is_other = act.look(stream)?.again.is_some();
        if let Some(pending) = act.pending().filter(|_| !is_other) {
            if settings.order != call.settings.order && !pending.is_empty() {
                return Err(Refusal::OrderFixed);
            }
            let is_fixed = pending.parked_len() > 0 || pending.redriven_len() > 0;
            if settings.dead != call.settings.dead && is_fixed {
                return Err(Refusal::DeadFixed);
            }
        }
        act.observe(stream)?;
        let has_turn = act.group().is_some_and(|group| group.turn.is_some());
        if has_turn && call.settings.order != Order::Stream {
            act.change(Op::Turn(None));
        }
        act.change(Op::Set {
            settings: Arc::new(call.settings.clone()),
            revision: call.revision,
        });
        act.wake_all = true;
        Ok(act.end(Declared::Ok, None))
    }

    /// `DIRTY.FORGET`: whether there was such a reader. A name of the other kind is refused.
    pub fn forget(
        &mut self,
        kind: Kind,
        name: &[u8],
        now_ms: u64,
    ) -> Result<Outcome<bool>, Refusal> {
        if name.is_empty() {
            return Err(Refusal::EmptyName);
        }
        if self.number(name).is_none() {
            return Ok(Act::begin(self, now_ms).end(false, None));
        }
        let mut act = Act::on(self, kind, name, now_ms)?;
        act.change(Op::Forget);
        act.wake_all = true;
        Ok(act.end(true, None))
    }

    /// `DIRTY.PAUSE`.
    pub fn pause(
        &mut self,
        group: &[u8],
        on: bool,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<()>, Refusal> {
        let mut act = Act::on(self, Kind::Group, group, now_ms)?;
        act.observe(stream)?;
        if act.group().is_some_and(|group| group.paused != on) {
            act.change(Op::Pause(on));
            act.wake_all |= !on;
        }
        Ok(act.end((), None))
    }

    /// `DIRTY.SEEK`.
    pub fn seek(
        &mut self,
        kind: Kind,
        name: &[u8],
        start: &SeekTo,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<()>, Refusal> {
        let mut act = Act::on(self, kind, name, now_ms)?;
        let id = match start {
            SeekTo::Start(start) => resolve(*start, stream)?,
            SeekTo::Snapshot(_) => resolve(Start::End, stream)?,
        };
        act.observe(stream)?;
        let epoch = match act.reader().map(|reader| reader.epoch()) {
            Some(epoch) if kind == Kind::Cursor => now_ms.max(epoch.saturating_add(1)),
            _ => 0,
        };
        if act.reader().is_some_and(|reader| reader.missed_unknown) {
            act.change(Op::Missed {
                n: 0,
                unknown: false,
            });
        }
        act.change(Op::Seek { id, epoch });
        if let SeekTo::Snapshot(keys) = start {
            act.begin_phase(keys);
        }
        act.wake_all = true;
        Ok(act.end((), None))
    }
}

impl Act<'_> {
    fn begin_phase(&mut self, keys: &[Box<[u8]>]) {
        self.change(Op::Phase(Some(Box::new(Phase {
            keys: keys.to_vec(),
            at: Scan::default(),
        }))));
    }

    /// A native group's pending entries become the new group's: held in ORDER NONE, else due.
    fn take_over(&mut self, native: &Native, call: &Declare, stream: &mut impl Stream) {
        let keeps_holders = call.settings.order == Order::None;
        let mut pending: Vec<&NativePending> = native.pending.iter().collect();
        // As they would have come to stand in the list.
        match keeps_holders {
            true => pending.sort_by_key(|pending| (pending.delivered_ms, pending.id)),
            false => pending.sort_by_key(|pending| pending.id),
        }
        for native in pending {
            if self
                .pending()
                .is_some_and(|pending| pending.entry(native.id).is_some())
            {
                continue;
            }
            let mut key = 0;
            let mut exists = keeps_holders;
            if !keeps_holders {
                let order = &call.settings.order;
                exists = stream.look_up(self.place(native.id), &mut |entry: &dyn Entry| {
                    key = entry.key(order, call.seed);
                    Verdict::Pass
                });
            }
            if !exists {
                self.change(Op::Count {
                    counter: super::reader::Counter::Missed,
                    n: 1,
                });
                continue;
            }
            let is_held = keeps_holders && !native.consumer.is_empty();
            let holder = match is_held {
                true => self.consumer(&native.consumer),
                false => NIL,
            };
            self.change(Op::Load(Loaded {
                id: native.id,
                key,
                deliveries: u16::try_from(native.deliveries).unwrap_or(u16::MAX),
                flags: flags::GIVEN | if is_held { flags::HELD } else { 0 },
                standing: match is_held {
                    true => Standing::Held,
                    false => Standing::Free,
                },
                at: native.delivered_ms.min(self.now_ms),
                holder,
            }));
        }
    }
}
