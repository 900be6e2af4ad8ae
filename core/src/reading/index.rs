//! Ids in order, and where their entries are: blocks of places whose entries' ids ascend, and a tree of the
//! blocks. Ids mostly come in order and go anywhere; 4 to 16 bytes an entry, the lowest id and a page of ids
//! for the asking.

use super::slab::Slab;
use crate::entity::event_id::EventId;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Something that has an id.
pub trait HasId {
    /// Its id.
    fn id(&self) -> EventId;
}

/// The places of a slab's values, in the order of their ids.
#[derive(Clone, Default)]
pub struct Index {
    /// By an id that is not greater than any in the block, and greater than all in the block before.
    blocks: BTreeMap<EventId, Vec<u32>>,
}

impl Index {
    const FULL: usize = 128;
    const SPARSE: usize = 32;
    /// Two blocks become one if they are not longer together.
    const JOINED: usize = 96;

    fn block(&self, id: EventId) -> Option<(EventId, &Vec<u32>)> {
        // What is wanted is mostly new, and the last block is found at once.
        let last = self.blocks.last_key_value().filter(|(key, _)| **key <= id);
        let (key, block) = last.or_else(|| self.blocks.range(..=id).next_back())?;
        Some((*key, block))
    }

    fn search<T: HasId>(slab: &Slab<T>, block: &[u32], id: EventId) -> Result<usize, usize> {
        let id_at = |place: &u32| slab.get(*place).map_or(EventId::MAX, T::id);
        // The seqs of events have no gaps, so an entry is mostly where its seq says.
        if let Some(first) = block.first() {
            let guess = id.seq.wrapping_sub(id_at(first).seq);
            let guess = usize::try_from(guess).unwrap_or(usize::MAX);
            if block.get(guess).is_some_and(|place| id_at(place) == id) {
                return Ok(guess);
            }
        }
        block.binary_search_by_key(&id, id_at)
    }

    /// Where the value with this id is.
    pub fn find<T: HasId>(&self, slab: &Slab<T>, id: EventId) -> Option<u32> {
        let (_, block) = self.block(id)?;
        let index = Self::search(slab, block, id).ok()?;
        block.get(index).copied()
    }

    /// The highest id.
    pub fn last<T: HasId>(&self, slab: &Slab<T>) -> Option<EventId> {
        let (_, block) = self.blocks.last_key_value()?;
        slab.get(*block.last()?).map(T::id)
    }

    /// Adds a place whose value has this id, which the index does not have yet.
    pub fn insert<T: HasId>(&mut self, slab: &Slab<T>, id: EventId, place: u32) {
        // Mostly it is the highest.
        if let Some(mut block) = self.blocks.last_entry() {
            let block = block.get_mut();
            let last = block.last().and_then(|place| slab.get(*place)).map(T::id);
            if block.len() < Self::FULL && last.is_some_and(|last| last < id) {
                return block.push(place);
            }
        }
        let Some((&key, block)) = self.blocks.range_mut(..=id).next_back() else {
            // Lower than all: the first block takes it, under a lower key.
            match self.blocks.pop_first() {
                Some((_, mut block)) if block.len() < Self::FULL => {
                    block.insert(0, place);
                    self.blocks.insert(id, block);
                }
                first => {
                    self.blocks.extend(first);
                    self.blocks.insert(id, vec![place]);
                }
            }
            return;
        };
        let at = match Self::search(slab, block, id) {
            Ok(at) | Err(at) => at,
        };
        if block.len() < Self::FULL {
            block.insert(at.min(block.len()), place);
        } else if at >= block.len() {
            let mut block = Vec::with_capacity(Self::FULL);
            block.push(place);
            self.blocks.insert(id, block);
        } else {
            let upper = block.split_off(Self::FULL.wrapping_div(2));
            let Some(upper_id) = upper.first().and_then(|place| slab.get(*place)).map(T::id) else {
                return;
            };
            self.blocks.insert(upper_id, upper);
            let half = if id < upper_id { key } else { upper_id };
            if let Some(block) = self.blocks.get_mut(&half) {
                let at = match Self::search(slab, block, id) {
                    Ok(at) | Err(at) => at,
                };
                block.insert(at.min(block.len()), place);
            }
        }
    }

    /// Says that the value with this id is at another place. Looks at places alone, not at values, which
    /// are anywhere in memory.
    pub fn relocate(&mut self, id: EventId, from: u32, to: u32) {
        if let Some((_, block)) = self.blocks.range_mut(..=id).next_back()
            && let Some(place) = block.iter_mut().find(|place| **place == from)
        {
            *place = to;
        }
    }

    /// Removes an id. Where its value is.
    pub fn remove<T: HasId>(&mut self, slab: &Slab<T>, id: EventId) -> Option<u32> {
        let (&key, block) = self.blocks.range_mut(..=id).next_back()?;
        let index = Self::search(slab, block, id).ok()?;
        let place = block.remove(index);
        let length = block.len();
        if length == 0 {
            self.blocks.remove(&key);
        } else if length <= Self::SPARSE {
            self.join_next(key, length);
        }
        Some(place)
    }

    fn join_next(&mut self, key: EventId, length: usize) {
        let next = self.blocks.range((Excluded(key), Unbounded)).next();
        let next = next.map(|(next, block)| (*next, block.len()));
        let next = next.filter(|(_, other)| length.saturating_add(*other) <= Self::JOINED);
        let next = next.and_then(|(next, _)| self.blocks.remove(&next));
        if let Some(block) = self.blocks.get_mut(&key) {
            match next {
                Some(next) => block.extend(next),
                None => block.shrink_to(length.saturating_mul(2)),
            }
        }
    }

    /// All places, by ascending ids.
    pub fn places(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.values().flatten().copied()
    }

    /// The places of the values behind an id, by ascending ids.
    pub fn after<'i, T: HasId>(
        &'i self,
        slab: &'i Slab<T>,
        id: EventId,
    ) -> impl Iterator<Item = u32> + 'i {
        let from = self.block(id).map_or(id, |(key, _)| key);
        let places = self.blocks.range(from..).flat_map(|(_, block)| block);
        let behind = move |place: &&u32| slab.get(**place).is_none_or(|value| value.id() <= id);
        places.skip_while(behind).copied()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let places = self.blocks.values().map(Vec::capacity);
        let places = places.fold(0usize, usize::saturating_add).saturating_mul(4);
        // A block's key and vector, in tree nodes that are half full at worst.
        places.saturating_add(self.blocks.len().saturating_mul(80))
    }
}
