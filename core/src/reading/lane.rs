//! What pending is made of: entries, the lanes they are in, and the lists in which lanes stand.

use super::index::HasId;
use super::slab::{NIL, Slab};
use crate::entity::event_id::EventId;

/// An event that a group has not finished. 32 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its id in the stream.
    pub id: EventId,
    /// The lane it is in.
    pub lane: u32,
    /// The next entry of the lane; of the last one, the first.
    pub next: u32,
    /// The previous entry of the lane; of the first one, the last.
    pub prev: u32,
    /// How often it was delivered, as MAXDELIVERIES counts.
    pub deliveries: u16,
    /// See [`flags`].
    pub flags: u8,
}

/// What is to be known of an entry.
pub mod flags {
    /// The lane's holder holds it.
    pub const HELD: u8 = 1;
    /// It was delivered at least once, or brought back: it is due, not queued, when its lane is free.
    pub const GIVEN: u8 = 2;
    /// Its last holder went silent.
    pub const SILENT: u8 = 4;
    /// It was given alone: its holder gets nothing more until it is finished.
    pub const ALONE: u8 = 8;
    /// It comes from the dead stream.
    pub const REDRIVEN: u8 = 16;
    /// There is a [`super::Failure`] of it.
    pub const FAILED: u8 = 32;
    /// All of them.
    pub const ALL: u8 = 63;
}

impl Entry {
    /// Whether it has one of these flags.
    pub fn is(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

impl HasId for Entry {
    fn id(&self) -> EventId {
        self.id
    }
}

/// The unfinished events of one key, in order; without a key, a single one. 48 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// The key's hash, 0 for none.
    pub key: u64,
    /// Held: when it was delivered or HOLD renewed it. Else: since or from when it is due.
    pub at: u64,
    /// The consumer that holds it, or the last that did.
    pub holder: u32,
    /// The first entry; [`NIL`] for a parked lane that has none.
    pub first: u32,
    /// How many entries are held.
    pub held: u32,
    /// Neighbours in the list where it stands, and among its holder's lanes.
    pub links: [Links; 2],
    /// Where it stands.
    pub standing: Standing,
}

/// Neighbours in a list.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// The one before, or [`NIL`].
    pub prev: u32,
    /// The one behind, or [`NIL`].
    pub next: u32,
}

/// No neighbours.
pub const UNLINKED: Links = Links {
    prev: NIL,
    next: NIL,
};

/// Which of a lane's links a list uses.
#[derive(Clone, Copy, Debug)]
pub enum Chain {
    /// Those of the list where it stands.
    Standing = 0,
    /// Those of its holder's list.
    Holder = 1,
}

/// Where a lane stands. By its first entry, unless somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A consumer holds events of it.
    Held = 0,
    /// Its first event is due again, by FAIL, LEAVE or REDRIVE.
    Free = 1,
    /// Its first event is due again, since its holder went silent.
    Silent = 2,
    /// Its first event was never delivered, and waited for the key.
    Queued = 3,
    /// Its first event has failed and is due later.
    Delayed = 4,
    /// An event of its key is dead, and it waits for REDRIVE or DISCARD.
    Parked = 5,
    /// There is no lane at this place.
    Vacant = 6,
}

impl Standing {
    /// The one with this number, [`Standing::Vacant`] not included.
    pub fn from_number(number: u8) -> Option<Standing> {
        [
            Standing::Held,
            Standing::Free,
            Standing::Silent,
            Standing::Queued,
            Standing::Delayed,
            Standing::Parked,
        ]
        .into_iter()
        .find(|standing| *standing as u8 == number)
    }
}

/// What is known of an event that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How often.
    pub failures: u32,
    /// When first.
    pub first_ms: u64,
    /// When last.
    pub last_ms: u64,
    /// From when it may be given again; 0 once it was.
    pub due_ms: u64,
    /// In whose name it failed last.
    pub consumer: Box<[u8]>,
    /// The last message, its first [`Failure::MESSAGE`] bytes.
    pub message: Box<[u8]>,
}

impl Failure {
    /// No more of a message is kept.
    pub const MESSAGE: usize = 1024;

    /// The part of a message that is kept. If it is UTF-8, it does not end inside a character.
    pub fn kept(message: &[u8]) -> &[u8] {
        let Some(head) = message.get(..Self::MESSAGE) else {
            return message;
        };
        let whole = match std::str::from_utf8(head) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => head.len(),
        };
        head.get(..whole).unwrap_or(head)
    }
}

/// A list of lanes.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The first, or [`NIL`].
    pub head: u32,
    /// The last, or [`NIL`].
    pub tail: u32,
    /// How many.
    pub len: u32,
}

impl Default for List {
    fn default() -> Self {
        List {
            head: NIL,
            tail: NIL,
            len: 0,
        }
    }
}

fn links(lanes: &mut Slab<Lane>, lane: u32, chain: Chain) -> Option<&mut Links> {
    lanes.get_mut(lane)?.links.get_mut(chain as usize)
}

/// The lane behind this one in a list, [`NIL`] at its end.
pub fn next(lanes: &Slab<Lane>, lane: u32, chain: Chain) -> u32 {
    let links = lanes.get(lane).and_then(|l| l.links.get(chain as usize));
    links.map_or(NIL, |links| links.next)
}

impl List {
    /// Adds a lane at the end.
    pub fn push(&mut self, lanes: &mut Slab<Lane>, lane: u32, chain: Chain) {
        let prev = self.tail;
        if let Some(links) = links(lanes, lane, chain) {
            *links = Links { prev, next: NIL };
        }
        match links(lanes, prev, chain) {
            Some(links) => links.next = lane,
            None => self.head = lane,
        }
        self.tail = lane;
        self.len = self.len.saturating_add(1);
    }

    /// Takes a lane out.
    pub fn remove(&mut self, lanes: &mut Slab<Lane>, lane: u32, chain: Chain) {
        let Some(own) = links(lanes, lane, chain) else {
            return;
        };
        let Links { prev, next } = std::mem::replace(own, UNLINKED);
        match links(lanes, prev, chain) {
            Some(links) => links.next = next,
            None => self.head = next,
        }
        match links(lanes, next, chain) {
            Some(links) => links.prev = prev,
            None => self.tail = prev,
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Says that a lane of the list is at another place now.
    pub fn relocate(&mut self, lanes: &mut Slab<Lane>, from: u32, to: u32, chain: Chain) {
        let Some(own) = links(lanes, to, chain) else {
            return;
        };
        let Links { prev, next } = *own;
        match links(lanes, prev, chain) {
            Some(links) => links.next = to,
            None if self.head == from => self.head = to,
            None => (),
        }
        match links(lanes, next, chain) {
            Some(links) => links.prev = to,
            None if self.tail == from => self.tail = to,
            None => (),
        }
    }

    /// The lanes in order.
    pub fn iter(self, lanes: &Slab<Lane>, chain: Chain) -> impl Iterator<Item = u32> + '_ {
        let first = Some(self.head).filter(|lane| *lane != NIL);
        std::iter::successors(first, move |lane| {
            Some(next(lanes, *lane, chain)).filter(|lane| *lane != NIL)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_ends_with_a_whole_character() {
        let long = |before: usize, end: &[u8]| [&vec![b'x'; before], end].concat();
        for (message, expected) in [
            (long(1024, b""), 1024),
            (long(1024, b"y"), 1024),
            (long(1023, "é".as_bytes()), 1023),
            (long(1022, "éé".as_bytes()), 1024),
            (long(1021, "😀".as_bytes()), 1021),
            (long(1020, "😀".as_bytes()), 1024),
            // Other bytes than UTF-8, and messages that are short enough.
            (long(1023, b"\xffx"), 1024),
            ([b"\xff", &*long(1022, "é".as_bytes())].concat(), 1024),
            (long(7, b"\xc3"), 8),
        ] {
            let kept = Failure::kept(&message);
            assert_eq!(kept.len(), expected, "of {}", message.len());
            assert!(message.starts_with(kept));
        }
    }

    #[test]
    fn sizes_are_as_promised() {
        assert_eq!(size_of::<Entry>(), 32);
        assert_eq!(size_of::<Lane>(), 48);
    }
}
