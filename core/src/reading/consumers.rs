//! The consumers of a group: those that are part of its state, by number, and when each was last seen,
//! which the primary alone knows.

use super::lane::List;
use std::collections::BTreeMap;

/// A consumer that holds something, or did.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name.
    pub name: Box<[u8]>,
    /// The lanes that it holds, in the order of the list of held lanes.
    pub lanes: List,
    /// How many entries it holds.
    pub held: u32,
}

/// Which consumers hold less than when the present command began: their calls that wait may have room now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relieved {
    /// None.
    #[default]
    None,
    /// One, by its number.
    One(u32),
    /// More than one.
    Several,
}

/// The consumers of a group.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    by_number: BTreeMap<u32, Consumer>,
    by_name: BTreeMap<Box<[u8]>, u32>,
    /// The next one's number.
    pub next: u32,
    /// Of the present command; in no delta or encoding.
    pub relieved: Relieved,
}

impl Consumers {
    /// A consumer's number.
    pub fn number(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The consumer with a number.
    pub fn get(&self, number: u32) -> Option<&Consumer> {
        self.by_number.get(&number)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Consumer> {
        self.by_number.get_mut(&number)
    }

    /// A consumer's name; empty if it is forgotten.
    pub fn name(&self, number: u32) -> &[u8] {
        self.get(number).map_or(b"", |consumer| &consumer.name)
    }

    /// One of a consumer's entries is held by it no longer.
    pub fn relieve(&mut self, number: u32) {
        if let Some(consumer) = self.by_number.get_mut(&number) {
            consumer.held = consumer.held.saturating_sub(1);
            self.relieved = match self.relieved {
                Relieved::None => Relieved::One(number),
                Relieved::One(other) if other == number => Relieved::One(number),
                _ => Relieved::Several,
            };
        }
    }

    /// Makes a consumer, whose number and name are not taken.
    pub fn add(&mut self, number: u32, name: &[u8]) {
        let consumer = Consumer {
            name: name.into(),
            lanes: List::default(),
            held: 0,
        };
        self.by_number.insert(number, consumer);
        self.by_name.insert(name.into(), number);
        self.next = self.next.max(number.saturating_add(1));
    }

    /// Forgets a consumer that holds nothing.
    pub fn remove(&mut self, number: u32) {
        if let Some(consumer) = self.by_number.remove(&number) {
            self.by_name.remove(&consumer.name);
        }
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Consumer)> {
        self.by_number
            .iter()
            .map(|(number, consumer)| (*number, consumer))
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        let names = self.iter().map(|(_, consumer)| consumer.name.len());
        let names = names.fold(0usize, usize::saturating_add).saturating_mul(2);
        names.saturating_add(self.by_number.len().saturating_mul(120))
    }
}

/// When consumers were last seen. Volatile: in no digest, delta or encoding.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    seen: BTreeMap<Box<[u8]>, Seen>,
    /// When idle ones are looked for next.
    pub next_sweep_ms: u64,
}

/// When one consumer was last seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// In ms.
    pub at_ms: u64,
    /// How many of its calls wait in BLOCK.
    pub waiting: u32,
}

impl Presence {
    /// A consumer calls.
    pub fn touch(&mut self, name: &[u8], now_ms: u64) {
        match self.seen.get_mut(name) {
            Some(seen) => seen.at_ms = now_ms,
            None => {
                let seen = Seen {
                    at_ms: now_ms,
                    waiting: 0,
                };
                self.seen.insert(name.into(), seen);
            }
        }
    }

    /// A call of the consumer begins to wait, or ends to.
    pub fn set_waiting(&mut self, name: &[u8], waits: bool, now_ms: u64) {
        self.touch(name, now_ms);
        if let Some(seen) = self.seen.get_mut(name) {
            seen.waiting = match waits {
                true => seen.waiting.saturating_add(1),
                false => seen.waiting.saturating_sub(1),
            };
        }
    }

    /// Nobody was seen later than now.
    pub fn clamp(&mut self, now_ms: u64) {
        for seen in self.seen.values_mut() {
            seen.at_ms = seen.at_ms.min(now_ms);
        }
        self.next_sweep_ms = self.next_sweep_ms.min(now_ms);
    }

    /// What is known of a consumer.
    pub fn get(&self, name: &[u8]) -> Option<Seen> {
        self.seen.get(name).copied()
    }

    /// Forgets a consumer.
    pub fn forget(&mut self, name: &[u8]) {
        self.seen.remove(name);
    }

    /// All that are known.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Seen)> {
        self.seen.iter().map(|(name, seen)| (&**name, *seen))
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        let names = self.seen.keys().map(|name| name.len());
        let names = names.fold(0usize, usize::saturating_add);
        names.saturating_add(self.seen.len().saturating_mul(64))
    }
}
