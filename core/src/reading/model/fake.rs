//! A stream and its dead stream in memory.

use super::super::refusal::Refusal;
use super::super::snapshot::{Snapshots, Wanted};
use super::super::stream::*;
use crate::entity::event::Event;
use crate::entity::event_id::EventId;
use crate::entity::operation::Operation;
use std::collections::BTreeMap;

/// What an entry is: an event of the entity "e" with an id of one byte, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub key: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct DeadContent {
    pub content: Content,
    pub death: Death,
}

#[derive(Clone, Default)]
pub struct Fake {
    pub entries: BTreeMap<EventId, Content>,
    pub last: EventId,
    pub added: u64,
    pub dead: BTreeMap<EventId, DeadContent>,
    pub dead_seq: u64,
    /// What was given since it was last taken: the id under which, and the delivery.
    pub given: Vec<(EventId, Delivery)>,
    pub no_dead_rights: bool,
    /// The entities that are stored, each with its state.
    pub stored: BTreeMap<u8, u64>,
    /// Those of them that were read since it was last taken.
    pub read: Vec<(u8, u64)>,
    /// The process: places of another one mean nothing.
    pub life: u8,
    /// The declarations cannot be read as they are.
    pub no_snapshots: bool,
    pub infos: u32,
    /// XINFO fails.
    pub tells_nothing: bool,
    /// The dead stream takes no entry.
    pub dead_is_full: bool,
}

pub fn event(key: u8) -> Event<'static> {
    Event {
        entity: b"e".into(),
        id: vec![key].into(),
        operation: Operation::Insert,
        changes: Default::default(),
        before: Default::default(),
        after: Default::default(),
        touch: false,
        version: None,
        meta: vec![(b"m".into(), vec![key].into())].into(),
    }
}

impl Fake {
    pub fn add(&mut self, now_ms: u64, key: u8) -> EventId {
        let id = self.last.following(now_ms).unwrap();
        self.entries.insert(id, Content { key: Some(key) });
        (self.last, self.added) = (id, self.added + 1);
        id
    }

    pub fn add_other(&mut self, id: EventId) {
        self.entries.insert(id, Content { key: None });
        (self.last, self.added) = (id, self.added + 1);
    }

    /// Deleted as a whole, and perhaps begun again.
    pub fn delete_all(&mut self) {
        self.entries.clear();
        (self.last, self.added) = Default::default();
    }

    pub fn take_given(&mut self) -> Vec<(EventId, Delivery)> {
        std::mem::take(&mut self.given)
    }
}

fn show(id: EventId, content: Content, see: &mut dyn FnMut(&dyn Entry) -> Verdict) -> Verdict {
    let event = content.key.map(event);
    see(&Decoded {
        id,
        event: event.as_ref(),
    })
}

struct FakeDead<'d> {
    id: EventId,
    dead: &'d DeadContent,
    event: Option<Event<'static>>,
}

impl Entry for FakeDead<'_> {
    fn id(&self) -> EventId {
        self.id
    }
    fn is_event(&self) -> bool {
        self.event.is_some()
    }
    fn passes(&self, filter: &super::super::Filter) -> bool {
        filter.takes(self.event.as_ref())
    }
    fn is_of(&self, shard: super::super::Shard) -> bool {
        shard.takes(self.event.as_ref())
    }
    fn key(&self, order: &super::super::Order, seed: super::super::Seed) -> u64 {
        order.key(seed, self.event.as_ref())
    }
    fn is_selected(&self, selector: &Selector, order: &super::super::Order) -> bool {
        selector.takes(order, self.event.as_ref())
    }
}

impl DeadEntry for FakeDead<'_> {
    fn origin(&self) -> Option<Origin<'_>> {
        Some(Origin {
            id: self.dead.death.id,
            is_ours: true,
            reader: &self.dead.death.reader,
        })
    }
}

impl Stream for Fake {
    fn last(&mut self) -> Option<EventId> {
        self.entries.keys().next_back().copied()
    }

    fn info(&mut self) -> Result<StreamInfo, Refusal> {
        self.infos += 1;
        if self.tells_nothing {
            return Err(Refusal::StreamUnknown);
        }
        Ok(StreamInfo {
            last: self.last,
            added: self.added,
            length: self.entries.len() as u64,
        })
    }

    fn last_up_to(&mut self, id: EventId) -> Option<(EventId, bool)> {
        let (id, content) = self.entries.range(..=id).next_back()?;
        Some((*id, content.key.is_some()))
    }

    fn scan(&mut self, after: EventId, visit: &mut dyn FnMut(&dyn Entry) -> Verdict) {
        let from = after.succeeding().unwrap();
        for (id, content) in self.entries.range(from..) {
            match show(*id, *content, visit) {
                Verdict::Give(delivery) => self.given.push((*id, delivery)),
                Verdict::Pass => (),
                Verdict::Stop => return,
            }
        }
    }

    fn look_up(&mut self, place: Place, visit: &mut dyn FnMut(&dyn Entry) -> Verdict) -> bool {
        let (id, content) = match place {
            Place::Stream(id) => (id, self.entries.get(&id).copied()),
            Place::Dead { id, dead } => (id, self.dead.get(&dead).map(|dead| dead.content)),
        };
        let Some(content) = content else {
            return false;
        };
        if let Verdict::Give(delivery) = show(id, content, visit) {
            self.given.push((id, delivery));
        }
        true
    }

    fn scan_dead(&mut self, visit: &mut dyn FnMut(&dyn DeadEntry) -> bool) {
        for (id, dead) in &self.dead {
            let event = dead.content.key.map(event);
            if !visit(&FakeDead {
                id: *id,
                dead,
                event,
            }) {
                return;
            }
        }
    }

    fn may_change_dead(&mut self) -> bool {
        !self.no_dead_rights
    }

    fn bury(&mut self, place: Place, death: &Death) -> Burial {
        let content = match place {
            Place::Stream(id) => self.entries.get(&id).copied(),
            Place::Dead { dead, .. } => self.dead.get(&dead).map(|dead| dead.content),
        };
        let Some(content) = content else {
            return Burial::Gone;
        };
        if self.dead_is_full {
            return Burial::Refused;
        }
        self.dead_seq += 1;
        let id = EventId {
            ms: 1,
            seq: self.dead_seq,
        };
        let death = death.clone();
        self.dead.insert(id, DeadContent { content, death });
        Burial::Buried(id)
    }

    fn unbury(&mut self, dead: EventId) {
        self.dead.remove(&dead);
    }

    fn knows(&mut self, place: &[u8]) -> bool {
        place.is_empty() || place.first() == Some(&self.life)
    }

    /// Of the declaration "x" the entities below 128, of another one the rest. A step looks at two entities at least.
    fn read_snapshots(
        &mut self,
        declaration: &[u8],
        place: &[u8],
        count: u32,
        wanted: &Wanted,
    ) -> Option<Snapshots> {
        if self.no_snapshots {
            return None;
        }
        let (first, last) = match declaration {
            b"x" => (0, 127),
            _ => (128, 255),
        };
        // Each process has an order of its own.
        let rank = |key: u8| key.wrapping_mul(self.life.wrapping_mul(2).wrapping_add(1));
        let from = place.get(1).copied().unwrap_or(0);
        let mut page: Vec<(u8, u64)> = self
            .stored
            .range(first..=last)
            .filter(|(key, _)| rank(**key) >= from)
            .map(|(key, state)| (*key, *state))
            .collect();
        page.sort_by_key(|(key, _)| rank(*key));
        let count = count.max(2) as usize;
        let next = page
            .get(count)
            .map(|(key, _)| [self.life, rank(*key)].into());
        let shown = &page[..count.min(page.len())];
        let given: Vec<(u8, u64)> = shown
            .iter()
            .filter(|(key, _)| wanted.takes(&event(*key)))
            .copied()
            .collect();
        let snapshots = Snapshots {
            scanned: shown.len() as u32,
            given: given.len() as u32,
            next,
        };
        self.read.extend(given);
        Some(snapshots)
    }
}
