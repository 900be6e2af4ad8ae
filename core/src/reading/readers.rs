//! All readers of one stream: the value at `<stream>:readers`.

use super::act::Wake;
use super::reader::{Reader, Role};
use crate::entity::event_id::EventId;
use std::collections::BTreeMap;

/// The groups and cursors of a stream, in one space of names.
#[derive(Clone, Default)]
pub struct Readers {
    /// Boxed: a node of the tree has room for eleven.
    pub(super) by_number: BTreeMap<u32, Box<Reader>>,
    pub(super) by_name: BTreeMap<Box<[u8]>, u32>,
    /// The number of the next reader. None has a number that another had.
    pub(super) next: u32,
    /// The stream as it was last seen.
    pub(super) seen: SeenStream,
    /// Volatile: nobody's silence began before this, in ms. `None` until the first command.
    pub(super) since_ms: Option<u64>,
    /// Volatile: the time of the last command.
    pub(super) latest_ms: u64,
}

/// What is known of the stream from the last look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenStream {
    /// Its last id, as far as it was seen.
    pub last: EventId,
    /// Its entries-added, when it was last asked for.
    pub added: u64,
}

impl Readers {
    /// No readers.
    pub fn new() -> Self {
        Readers::default()
    }

    /// Whether there are none: then the key goes.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The reader of a name.
    pub fn get(&self, name: &[u8]) -> Option<&Reader> {
        self.by_number.get(self.by_name.get(name)?).map(Box::as_ref)
    }

    pub(super) fn number(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Where a reader stands.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn position_of(&self, number: u32) -> Option<EventId> {
        Some(self.reader(number)?.position)
    }

    pub(super) fn reader(&self, number: u32) -> Option<&Reader> {
        self.by_number.get(&number).map(Box::as_ref)
    }

    pub(super) fn reader_mut(&mut self, number: u32) -> Option<&mut Reader> {
        self.by_number.get_mut(&number).map(Box::as_mut)
    }

    /// All readers, by number.
    pub(super) fn all(&self) -> impl Iterator<Item = &Reader> {
        self.by_number.values().map(Box::as_ref)
    }

    /// All readers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Reader> {
        let numbers = self.by_name.values();
        numbers.filter_map(|number| self.by_number.get(number).map(Box::as_ref))
    }

    /// The stream as it was last seen.
    pub fn seen(&self) -> SeenStream {
        self.seen
    }

    /// The lowest id that a reader has pending, queued or unread: KEEP and REFUSE go up to it. `None`
    /// without readers.
    pub fn floor(&self) -> Option<EventId> {
        self.all().map(Reader::floor).min()
    }

    /// This server begins to decide (start, promotion, RESTORE, a slot that arrived): everything held and
    /// everybody counts as seen now. A decoded value does so at its first command by itself.
    pub fn restart(&mut self, now_ms: u64) {
        self.since_ms = Some(now_ms);
        for reader in self.by_number.values_mut() {
            if let Role::Group(group) = &mut reader.role {
                group.presence = Default::default();
            }
        }
    }

    /// Somebody looks, before any command perhaps: nobody's silence began before the first look at a decoded value.
    pub fn see(&mut self, now_ms: u64) {
        self.since_ms.get_or_insert(now_ms);
    }

    /// A command begins. If the clock went back, nobody was seen later than now.
    pub(super) fn begin(&mut self, now_ms: u64) {
        let since_ms = self.since_ms.get_or_insert(now_ms);
        if now_ms < self.latest_ms {
            *since_ms = now_ms.min(*since_ms);
            let readers = self.by_number.values_mut();
            let groups = readers.filter_map(|reader| reader.group_mut());
            for group in groups {
                group.presence.clamp(now_ms);
            }
        }
        self.latest_ms = now_ms;
    }

    /// When silence can have begun at the earliest.
    pub(super) fn since(&self) -> u64 {
        self.since_ms.unwrap_or(0)
    }

    /// A call of a consumer begins to wait in BLOCK, or ends to, however it ends. Volatile. Who waits is not
    /// silent: when the consumer that has the turn (ORDER STREAM) ends its wait, the others that wait ask
    /// again, since only now it is known when they may take the turn.
    pub fn set_waiting(&mut self, group: &[u8], consumer: &[u8], waits: bool, now_ms: u64) -> Wake {
        let number = self.number(group);
        let reader = number.and_then(|number| self.reader_mut(number));
        let Some(group) = reader.and_then(Reader::group_mut) else {
            return Wake::None;
        };
        group.presence.set_waiting(consumer, waits, now_ms);
        let number = group.pending.consumers.number(consumer);
        match !waits && number.is_some() && group.turn == number {
            true => Wake::All,
            false => Wake::None,
        }
    }

    /// How many entries and readers there are: what freeing them costs.
    pub fn size(&self) -> usize {
        let groups = self.all().filter_map(Reader::group);
        let sizes = groups.map(|group| usize::try_from(group.pending.len()).unwrap_or(usize::MAX));
        sizes.fold(self.len(), usize::saturating_add)
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        let readers = self.all().map(Reader::bytes);
        readers.fold(size_of::<Readers>(), usize::saturating_add)
    }
}
