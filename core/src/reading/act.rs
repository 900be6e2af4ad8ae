//! A command at work: it reads the state, and each change it decides is run and written into its delta.

use super::consumers::Relieved;
use super::delta::Writer;
use super::lane::{Failure, Standing};
use super::op::{End, Op};
use super::pending::Pending;
use super::reader::{Group, Reader};
use super::readers::{Readers, SeenStream};
use super::refusal::Refusal;
use super::run::At;
use super::settings::{Kind, Settings};
use super::slab::NIL;
use super::stream::{Burial, Death, Place, Stream, StreamInfo};
use crate::entity::event_id::EventId;
use std::sync::Arc;

/// What a command comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<R> {
    /// What to reply.
    pub reply: R,
    /// What to replicate, if anything changed.
    pub delta: Option<Vec<u8>>,
    /// Whether waiting calls of the same reader may find something now.
    pub wake: Wake,
    /// When this call may find something without anybody's doing, if it waits.
    pub due_ms: Option<u64>,
}

/// Which waiting calls of a reader may find something now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// None.
    None,
    /// At most that many.
    Some(u32),
    /// All: they have other settings now, or no reader.
    All,
}

/// What a look at the stream's end tells.
pub(super) struct Look {
    /// The last entry that exists.
    pub last: Option<EventId>,
    /// The stream was begun again, and the readers do not know yet.
    pub again: Option<StreamInfo>,
}

pub(super) struct Act<'r> {
    pub readers: &'r mut Readers,
    pub now_ms: u64,
    /// The reader that the command is about.
    pub number: u32,
    at: At,
    selected: Option<u32>,
    writer: Option<Writer>,
    seen: Option<SeenStream>,
    available: u32,
    pub wake_all: bool,
    /// Something is gone that kept others from new events.
    pub makes_way: bool,
}

impl<'r> Act<'r> {
    pub fn begin(readers: &'r mut Readers, now_ms: u64) -> Self {
        readers.begin(now_ms);
        Act {
            readers,
            now_ms,
            number: NIL,
            at: At {
                reader: NIL,
                now_ms,
            },
            selected: None,
            writer: None,
            seen: None,
            available: 0,
            wake_all: false,
            makes_way: false,
        }
    }

    /// For a command about an existing reader.
    pub fn on(
        readers: &'r mut Readers,
        kind: Kind,
        name: &[u8],
        now_ms: u64,
    ) -> Result<Self, Refusal> {
        let number = match readers.number(name) {
            _ if name.is_empty() => return Err(Refusal::EmptyName),
            None => return Err(Refusal::NoReader(kind, name.into())),
            Some(number) => number,
        };
        match readers.reader(number).map(Reader::kind) {
            Some(other) if other == kind => (),
            Some(other) => return Err(Refusal::OtherKind(other, name.into())),
            None => return Err(Refusal::NoReader(kind, name.into())),
        }
        let mut act = Act::begin(readers, now_ms);
        act.number = number;
        act.available = act.available();
        if let Some(group) = act.group_mut() {
            group.pending.consumers.relieved = Relieved::None;
        }
        Ok(act)
    }

    /// The reader that the command is about. `on` has seen it.
    pub fn reader(&self) -> Option<&Reader> {
        self.readers.reader(self.number)
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.reader()
            .map(|reader| reader.settings.clone())
            .unwrap_or_default()
    }

    pub fn group(&self) -> Option<&Group> {
        self.reader().and_then(Reader::group)
    }

    pub fn group_mut(&mut self) -> Option<&mut Group> {
        self.readers
            .reader_mut(self.number)
            .and_then(Reader::group_mut)
    }

    pub fn pending(&self) -> Option<&Pending> {
        self.group().map(|group| &group.pending)
    }

    pub fn position(&self) -> EventId {
        self.reader()
            .map(|reader| reader.position)
            .unwrap_or_default()
    }

    /// Changes the state, and writes it down.
    pub fn change(&mut self, op: Op) {
        let writer = self.writer.get_or_insert_with(|| {
            let mut writer = Writer::default();
            writer.push(&Op::Now(self.now_ms), EventId::default());
            writer
        });
        let is_global = matches!(
            op,
            Op::Now(_) | Op::Select(_) | Op::Seen { .. } | Op::BegunAgain { .. } | Op::Make { .. }
        );
        if !is_global && self.selected != Some(self.number) {
            let position = self
                .readers
                .reader(self.number)
                .map(|reader| reader.position);
            writer.push(&Op::Select(self.number), position.unwrap_or_default());
            self.selected = Some(self.number);
            self.at.reader = self.number;
        }
        writer.push(&op, EventId::default());
        if let Op::Make { number, .. } = op {
            self.number = number;
            self.selected = Some(number);
        }
        self.readers.run(&mut self.at, &op);
    }

    /// Whether anything was changed.
    pub fn has_changed(&self) -> bool {
        self.writer.is_some()
    }

    /// Ends the command.
    pub fn end<R>(mut self, reply: R, due_ms: Option<u64>) -> Outcome<R> {
        if self.has_changed()
            && let Some(seen) = self.seen.take().filter(|seen| *seen != self.readers.seen)
        {
            self.change(Op::Seen {
                last: seen.last,
                added: seen.added,
            });
        }
        let more = self.available().saturating_sub(self.available);
        let wake = match more {
            _ if self.wake_all => Wake::All,
            0 if self.makes_way || self.relieves_one_that_waits() => Wake::Some(1),
            0 => Wake::None,
            more => Wake::Some(more),
        };
        Outcome {
            reply,
            delta: self.writer.map(Writer::finish),
            wake,
            due_ms,
        }
    }

    /// Whether a consumer that waits holds less now: it may have been at MAXPENDING, or hold a key back.
    fn relieves_one_that_waits(&self) -> bool {
        let Some(group) = self.group().filter(|group| !group.paused) else {
            return false;
        };
        let consumers = &group.pending.consumers;
        match consumers.relieved {
            Relieved::None => false,
            Relieved::One(number) => {
                let seen = group.presence.get(consumers.name(number));
                seen.is_some_and(|seen| seen.waiting > 0)
            }
            Relieved::Several => true,
        }
    }

    /// How many lanes, and turns, anybody may take.
    fn available(&self) -> u32 {
        let Some(group) = self.group().filter(|group| !group.paused) else {
            return 0;
        };
        let lists = [Standing::Free, Standing::Silent, Standing::Queued];
        let lists = lists.map(|standing| group.pending.list(standing).len);
        let turn = match &self.settings().order {
            super::settings::Order::Stream => u32::from(group.turn.is_none()),
            _ => 0,
        };
        lists.into_iter().fold(turn, u32::saturating_add)
    }

    // The stream

    /// Looks whether the stream is still the one that the readers know.
    pub fn look(&mut self, stream: &mut impl Stream) -> Result<Look, Refusal> {
        let seen = self.readers.seen;
        let last = stream.last();
        if let Some(id) = last
            && (id == seen.last || (id > seen.last && id.seq > seen.last.seq))
        {
            self.seen = Some(SeenStream {
                last: id,
                added: seen.added,
            });
            return Ok(Look { last, again: None });
        }
        let info = stream.info()?;
        let went_back = info.last < seen.last || info.added < seen.added;
        let is_beyond = |reader: &Reader| reader.position > info.last;
        // The seqs of events count the entries, so one that came behind the last we saw makes more of them
        // than its seq; unless that was made by hand, when its entry is mostly still there.
        let mut has_fewer = || {
            info.last > seen.last
                && info.added <= seen.last.seq
                && stream.last_up_to(seen.last).map(|(id, _)| id) != Some(seen.last)
        };
        let is_other = went_back || self.readers.all().any(is_beyond) || has_fewer();
        let now = SeenStream {
            last: info.last,
            added: info.added,
        };
        self.seen = Some(now);
        Ok(Look {
            last,
            again: is_other.then_some(info),
        })
    }

    /// The same, for a command that writes: if the stream was begun again, so are the readers.
    pub fn observe(&mut self, stream: &mut impl Stream) -> Result<Option<EventId>, Refusal> {
        let look = self.look(stream)?;
        if let Some(info) = look.again {
            self.begin_again(info);
        }
        Ok(look.last)
    }

    /// The readers learn that the stream was begun again.
    pub fn begin_again(&mut self, info: StreamInfo) {
        self.seen = None;
        self.wake_all = true;
        self.change(Op::BegunAgain {
            last: info.last,
            added: info.added,
        });
    }

    /// What a new reader knows of the stream.
    pub fn set_seen(&mut self, info: StreamInfo) {
        self.seen = Some(SeenStream {
            last: info.last,
            added: info.added,
        });
    }

    // Consumers

    /// The consumer calls.
    pub fn touch(&mut self, consumer: &[u8]) {
        let now_ms = self.now_ms;
        if let Some(group) = self.group_mut() {
            group.presence.touch(consumer, now_ms);
        }
    }

    /// The number of a consumer that gets something.
    pub fn consumer(&mut self, name: &[u8]) -> u32 {
        let Some(consumers) = self.pending().map(|pending| &pending.consumers) else {
            return NIL;
        };
        if let Some(number) = consumers.number(name) {
            return number;
        }
        let number = match consumers.next {
            // Only after hostile deltas: the lowest number that is free.
            NIL => (0..NIL).find(|n| consumers.get(*n).is_none()).unwrap_or(0),
            next => next,
        };
        self.change(Op::Consumer { number, name });
        number
    }

    /// When a consumer began to be silent; `None` while it waits.
    pub fn silent_since(&self, consumer: u32) -> Option<u64> {
        let since = self.readers.since();
        let group = self.group()?;
        let name = group.pending.consumers.name(consumer);
        match group.presence.get(name) {
            Some(seen) if seen.waiting > 0 => None,
            Some(seen) => Some(seen.at_ms.max(since)),
            None => Some(since),
        }
    }

    /// Forgets consumers that hold nothing, do not wait and were silent for a day. Those that are part of the
    /// state only if the command changes something else: a call that finds nothing writes nothing.
    pub fn sweep_consumers(&mut self) {
        const DAY: u64 = 86_400_000;
        const EVERY: u64 = 600_000;
        let now_ms = self.now_ms;
        let Some(group) = self.group_mut() else {
            return;
        };
        if group.presence.next_sweep_ms > now_ms {
            return;
        }
        group.presence.next_sweep_ms = now_ms.saturating_add(EVERY);
        let idle = |at_ms: u64| now_ms.saturating_sub(at_ms) >= DAY;
        let Some(group) = self.group() else { return };
        let known = group.pending.consumers.iter();
        let known = known.filter(|(number, consumer)| {
            let silent = self.silent_since(*number);
            consumer.held == 0 && group.turn != Some(*number) && silent.is_some_and(idle)
        });
        let known: Vec<u32> = known.map(|(number, _)| number).collect();
        let seen = group.presence.iter();
        let seen = seen.filter(|(_, seen)| seen.waiting == 0 && idle(seen.at_ms));
        let seen: Vec<Vec<u8>> = seen.map(|(name, _)| name.to_vec()).collect();
        if self.has_changed() {
            for number in known {
                self.change(Op::ForgetConsumer(number));
            }
        }
        if let Some(group) = self.group_mut() {
            for name in seen {
                group.presence.forget(&name);
            }
        }
    }

    // Ends of entries

    /// Whether an entry is held by the consumer with this name.
    pub fn holds(&self, consumer: &[u8], id: EventId) -> bool {
        let number = self
            .pending()
            .and_then(|pending| pending.consumers.number(consumer));
        number.is_some_and(|number| self.is_holder(number, id))
    }

    /// Whether an entry is held by the consumer with this number.
    pub fn is_holder(&self, number: u32, id: EventId) -> bool {
        let Some(pending) = self.pending() else {
            return false;
        };
        let entry = pending.entry(id);
        let held = entry.filter(|entry| entry.is(super::lane::flags::HELD));
        let lane = held.and_then(|entry| pending.lane(entry.lane));
        lane.is_some_and(|lane| lane.holder == number)
    }

    /// Finishes an entry; a redriven one leaves the dead stream.
    pub fn finish(&mut self, id: EventId, end: End, stream: &mut impl Stream) {
        let dead = self.pending().and_then(|pending| pending.redriven(id));
        self.change(Op::Finish { id, end });
        if let Some(dead) = dead.filter(|_| end != End::Gone) {
            stream.unbury(dead);
        }
    }

    /// Where an entry is to be read.
    pub fn place(&self, id: EventId) -> Place {
        match self.pending().and_then(|pending| pending.redriven(id)) {
            Some(dead) => Place::Dead { id, dead },
            None => Place::Stream(id),
        }
    }

    /// Moves an entry to the dead stream; one that is gone is finished. If the dead stream takes nothing, the entry
    /// stays. The user's rights were looked at.
    pub fn bury(&mut self, id: EventId, stream: &mut impl Stream) -> Burial {
        let place = self.place(id);
        let Some(death) = self.death(id) else {
            return Burial::Gone;
        };
        let burial = stream.bury(place, &death);
        match burial {
            Burial::Buried(dead) => {
                if let Place::Dead { dead, .. } = place {
                    stream.unbury(dead);
                }
                let parks = self.settings().on_dead == super::settings::OnDead::Park;
                let parked = parks.then_some(dead);
                self.change(Op::Die { id, parked });
            }
            Burial::Gone => self.change(Op::Finish { id, end: End::Gone }),
            Burial::Refused => (),
        }
        burial
    }

    fn death(&self, id: EventId) -> Option<Death> {
        let (reader, pending) = (self.reader()?, self.pending()?);
        let entry = pending.entry(id)?;
        let failure = pending.failure(id);
        let is_silent = entry.is(super::lane::flags::SILENT);
        let consumer = match failure {
            Some(failure) if !is_silent => &failure.consumer,
            _ => pending.consumers.name(pending.lane_of(id)?.holder),
        };
        let error = match failure {
            Some(Failure { message, .. }) if !message.is_empty() => message.to_vec(),
            _ => format!("delivered {} times and not acknowledged", entry.deliveries).into_bytes(),
        };
        Some(Death {
            id,
            reader: reader.name.to_vec(),
            consumer: consumer.to_vec(),
            error,
            deliveries: entry.deliveries,
            failures: failure.map_or(0, |failure| failure.failures),
            first_ms: failure.map_or(self.now_ms, |failure| failure.first_ms),
            last_ms: match failure {
                Some(failure) if !is_silent => failure.last_ms,
                _ => self.now_ms,
            },
        })
    }
}

impl Readers {
    /// A number for a new reader.
    pub(super) fn free_number(&self) -> u32 {
        match self.next {
            // Only after hostile deltas.
            NIL => (0..NIL).find(|n| self.reader(*n).is_none()).unwrap_or(0),
            next => next,
        }
    }

    /// Applies a delta that a primary, the AOF or a slot's former owner wrote. False if it does not fit these
    /// readers: then nothing has changed.
    #[must_use]
    pub fn apply(&mut self, delta: &[u8]) -> bool {
        let (Some(positions), Some(parser)) = (
            super::check::fits(self, delta),
            super::delta::Parser::new(delta),
        ) else {
            return false;
        };
        let mut at = At {
            reader: NIL,
            now_ms: 0,
        };
        let position = |number| positions.get(&number).copied().unwrap_or_default();
        let ran = parser.walk(position, &mut |op| {
            self.run(&mut at, &op);
            Some(())
        });
        ran.is_some()
    }
}
