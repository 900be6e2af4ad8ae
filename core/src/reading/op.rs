//! The changes of readers. A command is a list of them; so are a delta and an encoded state.

use super::lane::Failure;
use super::pending::{Loaded, Parked};
use super::reader::Counter;
use super::settings::{Kind, Settings};
use super::snapshot::Phase;
use crate::entity::event_id::EventId;
use std::sync::Arc;

/// One change. Those of entries and of one reader are about the reader that [`Op::Select`] or [`Op::Make`]
/// named before.
///
/// | tag | op | body |
/// | --- | --- | --- |
/// | 0 | Now | number: ms |
/// | 1 | Select | number |
/// | 2 | Seen | id against 0-0, number: added |
/// | 3 | BegunAgain | id against 0-0, number: added |
/// | 4 | Make | number, kind byte, bytes: name, id against 0-0, number: epoch, 2 words: seed |
/// | 5 | Set | settings (see `settings_wire.rs`), 0 or 1 and number: revision |
/// | 6 | Forget | |
/// | 7 | Position | id, number: rejected |
/// | 8 | Seek | id, number: epoch |
/// | 9 | Pause | 0 or 1 |
/// | 10 | Missed | number, 0 or 1: unknown from now on |
/// | 11 | Count | byte: counter, number |
/// | 12 | Consumer | number, bytes: name |
/// | 13 | ForgetConsumer | number |
/// | 14 | Turn | number + 1, or 0 |
/// | 15 | SilenceAll | number: consumer |
/// | 16 | LeaveAll | number: consumer |
/// | 17 | RenewAll | number: consumer |
/// | 18 | Clamp | |
/// | 19 | Fail | id, number: due, bytes: consumer, bytes: message |
/// | 20 | Die | id, 0 or 1 and id: the dead entry that parks the key |
/// | 21 | Due | id |
/// | 22 | Redrive | id, word: key, id: the dead entry |
/// | 23 | Unpark | word: key, id |
/// | 24 | Park | word: key, id, id: the dead entry |
/// | 25 | Failure | id, numbers: failures, first, last, due, bytes: consumer, bytes: message |
/// | 26 | Redriven | id, id: the dead entry |
/// | 27 | Next | numbers: the next reader, the next consumer of this one + 1, or 0 |
/// | 28 | Phase | 0, or 1, number: n, n bytes: keys, numbers: page, key, scanned, bytes: place |
/// | 32 | Finish, a run | byte: end; n, n ids |
/// | 33 | Give, a run | number: consumer; n, n ids |
/// | 34 | Give alone, a run | the same |
/// | 35 | Deliver without keys, a run | the same |
/// | 36 | Deliver with keys, a run | number: consumer; n, n of id, word: key |
/// | 37 | Queue, a run | n, n of id, word: key |
/// | 38 | Silence, a run | n, n ids |
/// | 39 | Renew, a run | n, n ids |
/// | 40 | Load, a run | byte: standing, number: holder, 0 or 1: with keys; n, n of id, number: deliveries, byte: flags, number: at − the at before, word: key |
///
/// Dead entries' ids are against their events', all other ids against the id that stood before, the first
/// against the position of the reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Op<'a> {
    /// The time at which all that follows happens.
    Now(u64),
    /// What follows is about the reader with this number.
    Select(u32),
    /// The stream was looked at.
    Seen {
        /// Its last id.
        last: EventId,
        /// Its entries-added, as far as known.
        added: u64,
    },
    /// The stream was begun again: all readers stand at its beginning, and nothing is pending.
    BegunAgain {
        /// Its last id.
        last: EventId,
        /// Its entries-added.
        added: u64,
    },
    /// A reader is made. It is selected.
    Make {
        /// Its number.
        number: u32,
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: &'a [u8],
        /// Where it starts.
        position: EventId,
        /// A cursor's epoch.
        epoch: u64,
        /// The seed of its key hashes.
        seed: (u64, u64),
    },
    /// The reader's settings are replaced.
    Set {
        /// All of them.
        settings: Arc<Settings>,
        /// Their revision.
        revision: Option<u64>,
    },
    /// The reader is forgotten.
    Forget,
    /// The reader moves on: a group has looked at all up to here, a cursor acknowledges it.
    Position {
        /// Up to here.
        id: EventId,
        /// How many of those were rejected.
        rejected: u64,
    },
    /// SEEK.
    Seek {
        /// The new position.
        id: EventId,
        /// A cursor's new epoch.
        epoch: u64,
    },
    /// The snapshot phase of the cursor is there, or it has ended.
    Phase(Option<Box<Phase>>),
    /// PAUSE.
    Pause(bool),
    /// The reader was told how many events it missed.
    Missed {
        /// How many, if that is known.
        n: u64,
        /// It is still to be told that nobody knows.
        unknown: bool,
    },
    /// A counter goes up.
    Count {
        /// Which.
        counter: Counter,
        /// By how much.
        n: u64,
    },
    /// A consumer gets a number.
    Consumer {
        /// The number.
        number: u32,
        /// Its name.
        name: &'a [u8],
    },
    /// A consumer is forgotten.
    ForgetConsumer(u32),
    /// Who has the turn.
    Turn(Option<u32>),
    /// A consumer counts as silent with all that it holds.
    SilenceAll(u32),
    /// A consumer hands on all that it holds.
    LeaveAll(u32),
    /// All that a consumer holds is as young as if just delivered.
    RenewAll(u32),
    /// Times in the future become now.
    Clamp,
    /// An event failed.
    Fail {
        /// Which.
        id: EventId,
        /// From when it may be given again.
        due_ms: u64,
        /// In whose name.
        consumer: &'a [u8],
        /// Why.
        message: &'a [u8],
    },
    /// An event died.
    Die {
        /// Which.
        id: EventId,
        /// The dead entry that parks its key.
        parked: Option<EventId>,
    },
    /// A delayed event is due now.
    Due(EventId),
    /// A dead event is brought back.
    Redrive {
        /// Its original id.
        id: EventId,
        /// Its key's hash, or 0.
        key: u64,
        /// Its entry in the dead stream.
        dead: EventId,
    },
    /// A dead event keeps its key no longer.
    Unpark {
        /// The key's hash.
        key: u64,
        /// The dead event.
        id: EventId,
    },
    /// A dead event keeps its key (a state is rebuilt).
    Park {
        /// The key's hash.
        key: u64,
        /// The dead event.
        parked: Parked,
    },
    /// What is known of an entry's failures (a state is rebuilt).
    Failure {
        /// The entry.
        id: EventId,
        /// What is known.
        failure: Failure,
    },
    /// An entry is redriven (a state is rebuilt).
    Redriven {
        /// The entry.
        id: EventId,
        /// Its entry in the dead stream.
        dead: EventId,
    },
    /// Numbers that were given are not given again (a state is rebuilt).
    Next {
        /// The next reader's number.
        reader: u32,
        /// The next number of a consumer of the selected group.
        consumer: Option<u32>,
    },
    /// An entry is finished.
    Finish {
        /// Which.
        id: EventId,
        /// How.
        end: End,
    },
    /// A consumer gets an entry that is pending or queued.
    Give {
        /// The consumer.
        consumer: u32,
        /// Which.
        id: EventId,
        /// It is given alone.
        alone: bool,
    },
    /// A consumer gets a new entry.
    Deliver {
        /// The consumer.
        consumer: u32,
        /// Which.
        id: EventId,
        /// Its key's hash, or 0.
        key: u64,
    },
    /// A new entry waits for its key.
    Queue {
        /// Which.
        id: EventId,
        /// Its key's hash.
        key: u64,
    },
    /// The holder of an entry's lane went silent.
    Silence(EventId),
    /// An entry's lane is as young as if just delivered.
    Renew(EventId),
    /// An entry as it was (a state is rebuilt).
    Load(Loaded),
}

/// How an entry is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Acknowledged.
    Acknowledged = 0,
    /// WHERE rejects it now.
    Rejected = 1,
    /// It is gone from its stream; it counts as missed.
    Gone = 2,
    /// Discarded, or dropped by a SEEK.
    Dropped = 3,
}

impl End {
    /// The one with this number.
    pub fn from_number(number: u8) -> Option<End> {
        let all = [End::Acknowledged, End::Rejected, End::Gone, End::Dropped];
        all.into_iter().find(|end| *end as u8 == number)
    }
}
