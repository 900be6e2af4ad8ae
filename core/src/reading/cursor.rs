//! Cursors, and READ, which keeps no state.

use super::act::{Act, Look, Outcome};
use super::filter::{Filter, Shard};
use super::lane::Failure;
use super::op::Op;
use super::position::{Position, Start};
use super::reader::Counter;
use super::readers::Readers;
use super::refusal::Refusal;
use super::settings::Kind;
use super::settle::Failed;
use super::snapshot::{Phase, Told, Wanted};
use super::stream::{Burial, Death, Delivery, Entry, Place, Stream, StreamInfo, Verdict};
use crate::entity::event_id::EventId;
use std::collections::BTreeMap;

/// `DIRTY.CONSUME stream CURSOR name [ACK position] [COUNT n]`.
#[derive(Clone, Debug)]
pub struct Follow<'a> {
    /// The cursor.
    pub cursor: &'a [u8],
    /// ACK.
    pub ack: Option<&'a Position>,
    /// COUNT.
    pub count: u32,
    /// A call that waits has passed over everything up to here, for this position's epoch.
    pub passed: Option<&'a Position>,
    /// This server is a primary. A replica only reads, and cannot tell whose a position is.
    pub is_primary: bool,
}

/// `DIRTY.READ stream FROM start [SHARD …] [MINAGE ms] [COUNT n] [WHERE …]`.
#[derive(Clone, Debug)]
pub struct Read<'a> {
    /// FROM.
    pub from: Start,
    /// SHARD.
    pub shard: Option<Shard>,
    /// MINAGE.
    pub min_age_ms: u64,
    /// WHERE.
    pub filter: &'a Filter,
    /// COUNT.
    pub count: u32,
    /// How many entries the call looks at without giving them.
    pub looked_at: u32,
    /// As in [`Follow`].
    pub is_primary: bool,
}

/// The reply of a cursor or of READ, besides the events, which the stream has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// How many events were given.
    pub given: u32,
    /// How many events cannot be read any longer; `None` if nobody knows.
    pub missed: Option<u64>,
    /// Another call now would find something, or has yet to look. False at the head of the stream.
    pub more: bool,
    /// Behind all that was looked at.
    pub position: Position,
    /// Where it began, before all that.
    pub from: EventId,
    /// Of a cursor in its snapshot phase.
    pub phase: Option<Told>,
}

impl Followed {
    /// Whether there is nothing to tell: then BLOCK waits, unless there is more.
    pub fn is_empty(&self) -> bool {
        self.given == 0 && self.missed == Some(0) && self.phase.is_none()
    }
}

/// Entries from a position on, for whom it may concern.
struct Walk<'w> {
    from: EventId,
    filter: &'w Filter,
    shard: Option<Shard>,
    min_age_ms: u64,
    count: u32,
    looked_at: u32,
}

/// What came of it.
struct Walked {
    given: u32,
    position: EventId,
    missed: Option<u64>,
    more: bool,
    young_until: Option<u64>,
}

impl Walk<'_> {
    fn run(&self, now_ms: u64, stream: &mut impl Stream) -> Walked {
        let mut walked = Walked {
            given: 0,
            position: self.from,
            missed: Some(0),
            more: false,
            young_until: None,
        };
        let mut gap = 0u64;
        let mut goes_back = false;
        let too_young = now_ms.saturating_sub(self.min_age_ms);
        let mut passed = 0u32;
        stream.scan(self.from, &mut |entry: &dyn Entry| {
            let id = entry.id();
            if self.min_age_ms > 0 && id.ms >= too_young {
                let age = self.min_age_ms.saturating_add(1);
                walked.young_until = Some(id.ms.saturating_add(age));
                return Verdict::Stop;
            }
            if walked.given >= self.count || passed >= self.looked_at {
                walked.more = true;
                return Verdict::Stop;
            }
            let between = id.seq.saturating_sub(walked.position.seq).saturating_sub(1);
            if between > 0 && entry.is_event() {
                gap = gap.saturating_add(between);
            }
            if walked.position == self.from && id.seq <= self.from.seq {
                goes_back = entry.is_event();
            }
            walked.position = id;
            let takes = (self.filter.is_empty() || entry.passes(self.filter))
                && self.shard.is_none_or(|shard| entry.is_of(shard));
            match takes {
                true => {
                    walked.given = walked.given.saturating_add(1);
                    Verdict::Give(Delivery::default())
                }
                false => {
                    passed = passed.saturating_add(1);
                    Verdict::Pass
                }
            }
        });
        // Ids made by hand count nothing: no more are gone than were ever added.
        if gap > 0 {
            // What the server does not tell, nobody knows.
            walked.missed = stream.info().ok().map(|info| gap.min(info.lost()));
        }
        if goes_back && is_of_another(self.from, stream) {
            walked.missed = None;
        }
        walked
    }
}

impl Walked {
    /// Gives a page of snapshots if the walk has reached the stream's end.
    fn read_on(
        &mut self,
        phase: &mut Phase,
        walk: &Walk,
        stream: &mut impl Stream,
    ) -> Result<Told, Refusal> {
        let mut begins = false;
        if self.more {
            phase.at = phase.at.next();
        } else {
            let wanted = Wanted {
                filter: walk.filter,
                shard: walk.shard,
            };
            let left = walk.count.saturating_sub(self.given);
            let (at, given, is_first) = phase.read(self.given > 0, left, &wanted, stream)?;
            self.given = self.given.saturating_add(given);
            phase.at = at;
            begins = is_first;
        }
        let is_over = phase.is_over_at(&phase.at);
        self.more |= !is_over;
        Ok(Told {
            is_over,
            scanned: phase.at.scanned,
            begins,
        })
    }
}

/// Whether this stream may have given an id: it is not beyond the last one, and if it is absent, the
/// entries beside it leave room for its seq. Entries that others made tell nothing.
pub(super) fn is_given(id: EventId, last: EventId, stream: &mut impl Stream) -> bool {
    if id == EventId::default() {
        return true;
    }
    if id > last {
        return false;
    }
    // Events count from 1: seq 0 and the id before it stand for a time, and took nobody's place.
    if id.seq == 0 || id.seq == u64::MAX {
        return true;
    }
    let before = stream.last_up_to(id);
    if before.is_some_and(|(before, _)| before == id) {
        return true;
    }
    let mut after = None;
    stream.scan(id, &mut |entry: &dyn Entry| {
        after = Some((entry.id(), entry.is_event()));
        Verdict::Stop
    });
    match (before, after) {
        (Some((_, false)), _) | (_, Some((_, false))) => true,
        (before, after) => {
            before.is_none_or(|(before, _)| before.seq < id.seq)
                && after.is_none_or(|(after, _)| id.seq < after.seq)
        }
    }
}

/// Whether a position is of another stream, if the first event behind it has a seq that is not higher: its own entry is
/// not there. Nobody can have called while the other stream was shorter than this one, or all would know.
pub(super) fn is_of_another(from: EventId, stream: &mut impl Stream) -> bool {
    // As above: these are nobody's seqs.
    let counts = from.seq != 0 && from.seq != u64::MAX;
    counts && stream.last_up_to(from).map(|(id, _)| id) != Some(from)
}

/// Where a cursor stands, and the changes that bring it there: they are made when nothing can refuse the call any longer.
struct Stands {
    at: EventId,
    epoch: u64,
    phase: Option<Phase>,
    /// What it has missed, nobody knows.
    unknown: bool,
    /// The stream was begun again.
    again: Option<StreamInfo>,
    changes: Vec<Op<'static>>,
}

impl Stands {
    fn of(act: &Act, again: Option<StreamInfo>) -> Self {
        let reader = act.reader();
        let mut stands = Stands {
            at: act.position(),
            epoch: reader.map_or(0, |reader| reader.epoch()),
            phase: act.phase(),
            unknown: reader.is_some_and(|reader| reader.missed_unknown),
            again,
            changes: Vec::new(),
        };
        if again.is_some() {
            stands.at = EventId::default();
            stands.unknown = true;
            if let Some(phase) = &mut stands.phase {
                phase.at = phase.at.again();
            }
        }
        stands
    }

    /// ACK of a cursor; whether it moves.
    fn advance(
        &mut self,
        position: &Position,
        last: Option<EventId>,
        stream: &mut impl Stream,
    ) -> Result<bool, Refusal> {
        if position.epoch > self.epoch {
            // Another primary gave it, whose last writes were lost: with them the SEEK that began this epoch.
            self.lose_track();
        }
        if position.epoch != self.epoch {
            return Ok(false);
        }
        let is_new = match (&position.scan, &self.phase) {
            (None, None) => position.id > self.at,
            // Of one page only the whole can be acknowledged, with the events before it.
            (Some(scan), Some(phase)) => scan.follows(&phase.at) && position.id >= self.at,
            (None, Some(_)) | (Some(_), None) => false,
        };
        // Of one beyond it is asked, too: it may be of another primary, which had come farther.
        if !is_new && position.id <= self.at {
            return Ok(false);
        }
        let last = match (last, self.again) {
            (Some(last), _) if last >= position.id => last,
            // The look has learnt it just now.
            (_, Some(info)) => info.last,
            (_, None) => stream.info()?.last,
        };
        if !is_given(position.id, last, stream) {
            // Another stream gave it.
            self.lose_track();
            return Ok(false);
        }
        if !is_new {
            return Ok(false);
        }
        if self.unknown {
            self.unknown = false;
            self.changes.push(Op::Missed {
                n: 0,
                unknown: false,
            });
        }
        if position.id > self.at {
            self.at = position.id;
            self.changes.push(Op::Position {
                id: position.id,
                rejected: 0,
            });
        }
        if let (Some(scan), Some(phase)) = (&position.scan, &mut self.phase) {
            phase.at = scan.clone();
            if phase.is_over_at(scan) {
                self.phase = None;
            }
            let left = self.phase.clone().map(Box::new);
            self.changes.push(Op::Phase(left));
        }
        Ok(true)
    }

    /// What this reader had meanwhile, nobody knows.
    fn lose_track(&mut self) {
        self.unknown = true;
        self.changes.push(Op::Missed {
            n: 0,
            unknown: true,
        });
    }

    /// Makes the changes.
    fn reach(self, act: &mut Act) {
        if let Some(info) = self.again {
            act.begin_again(info);
        }
        for change in &self.changes {
            act.change(change.clone());
        }
    }
}

impl Readers {
    /// Reads through a cursor. Without ACK nothing is written. The stream is shown what is given, in order.
    pub fn follow(
        &mut self,
        call: &Follow,
        looked_at: u32,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Followed>, Refusal> {
        let mut act = Act::on(self, Kind::Cursor, call.cursor, now_ms)?;
        let look = match call.is_primary {
            true => act.look(stream)?,
            false => Look {
                last: stream.last(),
                again: None,
            },
        };
        let ack = call.ack.filter(|_| call.is_primary);
        let mut stands = Stands::of(&act, look.again);
        if let Some(position) = ack {
            stands.advance(position, look.last, stream)?;
        }
        let settings = act.settings();
        let epoch = stands.epoch;
        let passed = call.passed.filter(|passed| passed.epoch == epoch);
        let passed = passed.filter(|_| look.again.is_none());
        let from = passed.map_or(stands.at, |passed| passed.id.max(stands.at));
        let phase = stands.phase.clone();
        let of_phase = phase.as_ref().map(|_| settings.filter.of_phase());
        let walk = Walk {
            from,
            filter: of_phase.as_ref().unwrap_or(&settings.filter),
            shard: settings.shard,
            min_age_ms: match phase {
                Some(_) => 0,
                None => settings.min_age_ms,
            },
            count: call.count,
            looked_at,
        };
        let mut walked = match look.last > Some(from) {
            true => walk.run(now_ms, stream),
            false => walk.nothing(),
        };
        let mut position = Position::new(walked.position, epoch);
        let mut told = None;
        if let Some(mut phase) = phase {
            told = Some(walked.read_on(&mut phase, &walk, stream)?);
            position.scan = Some(phase.at);
        }
        let reply = Followed {
            given: walked.given,
            missed: walked.missed.filter(|_| !stands.unknown),
            more: walked.more,
            position,
            from,
            phase: told,
        };
        if ack.is_some() {
            stands.reach(&mut act);
        }
        Ok(act.end(reply, walked.young_until))
    }

    /// `DIRTY.ACK stream CURSOR name position`: whether it moved.
    pub fn ack_cursor(
        &mut self,
        cursor: &[u8],
        position: &Position,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<bool>, Refusal> {
        let mut act = Act::on(self, Kind::Cursor, cursor, now_ms)?;
        let look = act.look(stream)?;
        let mut stands = Stands::of(&act, look.again);
        let moved = stands.advance(position, look.last, stream)?;
        stands.reach(&mut act);
        Ok(act.end(moved, None))
    }

    /// `DIRTY.FAIL stream CURSOR name message id …`: copies the events to the dead stream. What is not in
    /// the stream is [`Failed::NotHeld`].
    pub fn fail_cursor(
        &mut self,
        cursor: &[u8],
        message: &[u8],
        ids: &[EventId],
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<Outcome<Vec<Failed>>, Refusal> {
        let mut act = Act::on(self, Kind::Cursor, cursor, now_ms)?;
        if !stream.may_change_dead() {
            return Err(Refusal::NoDeadRights);
        }
        act.observe(stream)?;
        let mut became: BTreeMap<EventId, Failed> = BTreeMap::new();
        let mut died = 0u64;
        for &id in ids {
            if became.contains_key(&id) {
                continue;
            }
            let death = Death {
                id,
                reader: cursor.to_vec(),
                consumer: Vec::new(),
                error: Failure::kept(message).to_vec(),
                deliveries: 0,
                failures: 1,
                first_ms: now_ms,
                last_ms: now_ms,
            };
            let end = match stream.bury(Place::Stream(id), &death) {
                Burial::Buried(_) => {
                    died = died.saturating_add(1);
                    Failed::Dead
                }
                Burial::Gone => Failed::NotHeld,
                Burial::Refused if died == 0 && !act.has_changed() => {
                    return Err(Refusal::NotBuried);
                }
                // It is where it was, and the cursor need not go past it.
                Burial::Refused => Failed::Retry,
            };
            became.insert(id, end);
        }
        if died > 0 {
            for counter in [Counter::Failed, Counter::Died] {
                act.change(Op::Count { counter, n: died });
            }
        }
        let became = ids.iter().map(|id| became.get(id).copied());
        let became = became.map(|end| end.unwrap_or(Failed::NotHeld)).collect();
        Ok(act.end(became, None))
    }
}

impl Walk<'_> {
    fn nothing(&self) -> Walked {
        Walked {
            given: 0,
            position: self.from,
            missed: Some(0),
            more: false,
            young_until: None,
        }
    }
}

impl Read<'_> {
    /// Reads a stream without any state. The stream is shown what is given, in order. The time is when the
    /// call should look again without anybody's doing, if it waits.
    pub fn read(
        &self,
        now_ms: u64,
        stream: &mut impl Stream,
    ) -> Result<(Followed, Option<u64>), Refusal> {
        let from = match self.from {
            Start::After(id) if !self.is_primary => id,
            // In a stream that does not exist yet, too: that one was never given.
            Start::After(id) => {
                let last = match stream.last() {
                    Some(last) if last >= id => last,
                    _ => stream.info()?.last,
                };
                if !is_given(id, last, stream) {
                    return Err(Refusal::NoPosition(id));
                }
                super::declare::resolve(self.from, stream)?
            }
            start => super::declare::resolve(start, stream)?,
        };
        let walk = Walk {
            from,
            filter: self.filter,
            shard: self.shard,
            min_age_ms: self.min_age_ms,
            count: self.count,
            looked_at: self.looked_at,
        };
        let walked = walk.run(now_ms, stream);
        let reply = Followed {
            given: walked.given,
            missed: walked.missed,
            more: walked.more,
            position: Position::new(walked.position, 0),
            from,
            phase: None,
        };
        Ok((reply, walked.young_until))
    }
}
