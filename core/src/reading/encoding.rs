//! The whole state as bytes: a sequence of deltas of at most about 64 KiB that rebuild it, for RDB, DUMP, COPY
//! and AOF rewrite alike. What is volatile is not in it. The same state has the same bytes, so they are
//! its digest, too.

use super::delta::Writer;
use super::lane::{Lane, Standing, flags};
use super::op::Op;
use super::pending::{Loaded, Pending};
use super::reader::{Counter, Reader};
use super::readers::Readers;
use super::slab::NIL;
use crate::entity::event_id::EventId;

/// A piece ends when it is longer than that, less what one op may add.
const PIECE: usize = 60 * 1024;

/// Ops on their way to pieces.
struct Pieces<'s> {
    writer: Writer,
    is_empty: bool,
    selected: Option<(u32, EventId)>,
    sink: &'s mut dyn FnMut(&[u8]),
}

impl Pieces<'_> {
    fn push(&mut self, op: &Op) {
        if self.writer.len() > PIECE {
            self.cut();
        }
        if self.is_empty {
            // A rebuilt state's times are those that were, so its now is nobody's future.
            self.writer.push(&Op::Now(0), EventId::default());
            if let Some((number, position)) = self.selected {
                self.writer.push(&Op::Select(number), position);
            }
            self.is_empty = false;
        }
        self.writer.push(op, EventId::default());
    }

    fn cut(&mut self) {
        if !self.is_empty {
            let writer = std::mem::take(&mut self.writer);
            (self.sink)(&writer.finish());
            self.is_empty = true;
        }
    }
}

impl Readers {
    /// Tells the state's pieces, in order. Each is a delta for [`Readers::apply`].
    pub fn encode(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut pieces = Pieces {
            writer: Writer::default(),
            is_empty: true,
            selected: None,
            sink,
        };
        pieces.push(&Op::Seen {
            last: self.seen.last,
            added: self.seen.added,
        });
        for (number, reader) in &self.by_number {
            encode_reader(&mut pieces, *number, reader);
        }
        pieces.push(&Op::Next {
            reader: self.next,
            consumer: None,
        });
        pieces.cut();
    }

    /// The state from its pieces; `None` if they make no sense.
    pub fn decode<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Option<Readers> {
        let mut readers = Readers::default();
        for piece in pieces {
            readers.apply(piece).then_some(())?;
        }
        Some(readers)
    }
}

fn encode_reader(pieces: &mut Pieces, number: u32, reader: &Reader) {
    pieces.push(&Op::Make {
        number,
        kind: reader.kind(),
        name: &reader.name,
        position: reader.position,
        epoch: reader.epoch(),
        seed: (reader.seed.0, reader.seed.1),
    });
    pieces.selected = Some((number, reader.position));
    pieces.push(&Op::Set {
        settings: reader.settings.clone(),
        revision: reader.revision,
    });
    for counter in Counter::ALL {
        let n = reader.counters.get(counter);
        if n > 0 {
            pieces.push(&Op::Count { counter, n });
        }
    }
    if reader.missed_unknown {
        pieces.push(&Op::Missed {
            n: 0,
            unknown: true,
        });
    }
    if let Some(phase) = reader.phase() {
        pieces.push(&Op::Phase(Some(Box::new(phase.clone()))));
    }
    let Some(group) = reader.group() else {
        return;
    };
    let pending = &group.pending;
    if group.paused {
        pieces.push(&Op::Pause(true));
    }
    for (number, consumer) in pending.consumers.iter() {
        pieces.push(&Op::Consumer {
            number,
            name: &consumer.name,
        });
    }
    pieces.push(&Op::Next {
        reader: 0,
        consumer: Some(pending.consumers.next),
    });
    if group.turn.is_some() {
        pieces.push(&Op::Turn(group.turn));
    }
    for (key, parked) in pending.parked() {
        pieces.push(&Op::Park { key, parked });
    }
    encode_pending(pieces, pending);
}

fn encode_pending(pieces: &mut Pieces, pending: &Pending) {
    for standing in [
        Standing::Held,
        Standing::Free,
        Standing::Silent,
        Standing::Queued,
    ] {
        for lane in pending.standing(standing) {
            encode_lane(pieces, pending, lane);
        }
    }
    for (_, lane) in pending.delayed() {
        encode_lane(pieces, pending, lane);
    }
    for key in pending.parked_keys() {
        // Some are still held: those were told.
        let lane = pending.lane_by_key(key);
        if let Some(lane) = lane.filter(|lane| lane.standing == Standing::Parked) {
            encode_lane(pieces, pending, lane);
        }
    }
    let marked = pending
        .entries()
        .filter(|entry| entry.is(flags::FAILED | flags::REDRIVEN));
    for entry in marked {
        if let Some(failure) = pending.failure(entry.id) {
            pieces.push(&Op::Failure {
                id: entry.id,
                failure: failure.clone(),
            });
        }
        if let Some(dead) = pending.redriven(entry.id) {
            pieces.push(&Op::Redriven { id: entry.id, dead });
        }
    }
}

fn encode_lane(pieces: &mut Pieces, pending: &Pending, lane: &Lane) {
    // Else nobody asks any longer who the last holder was.
    let asks = |entry: &super::lane::Entry| entry.is(flags::HELD | flags::SILENT);
    let has_holder =
        pending.consumers.get(lane.holder).is_some() && pending.entries_of(lane).any(asks);
    for entry in pending.entries_of(lane) {
        pieces.push(&Op::Load(Loaded {
            id: entry.id,
            key: lane.key,
            deliveries: entry.deliveries,
            flags: entry.flags,
            standing: lane.standing,
            at: match lane.standing {
                Standing::Parked => 0,
                _ => lane.at,
            },
            holder: if has_holder { lane.holder } else { NIL },
        }));
    }
}

#[cfg(any(test, fuzzing))]
impl Readers {
    /// All pieces.
    pub(crate) fn pieces(&self) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        self.encode(&mut |piece| pieces.push(piece.to_vec()));
        pieces
    }
}
