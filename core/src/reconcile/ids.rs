//! A queue of ids, in blocks: to free a million of them one by one would hold the server up for 20 ms.

use std::collections::VecDeque;

/// Bytes that a block has, unless its only id is longer.
const BLOCK: usize = 1 << 16;

type Length = u32;
const LENGTH: usize = size_of::<Length>();

/// Ids, each with its length before it.
#[derive(Debug, Default)]
pub struct Ids {
    blocks: VecDeque<Vec<u8>>,
    /// Where the first id begins in the first block.
    front: usize,
}

impl Ids {
    /// Adds an id behind the others. None is longer than 4 GB, since no key is.
    pub fn push(&mut self, id: &[u8]) {
        let Ok(length) = Length::try_from(id.len()) else {
            return;
        };
        let size = id.len().saturating_add(LENGTH);
        let fits = |block: &Vec<u8>| block.len().saturating_add(size) <= BLOCK;
        if !self.blocks.back().is_some_and(fits) {
            self.blocks.push_back(Vec::new());
        }
        if let Some(block) = self.blocks.back_mut() {
            block.extend(length.to_le_bytes());
            block.extend(id);
        }
    }

    /// All ids, from the first on.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut blocks = self.blocks.iter();
        let mut rest = blocks.next().and_then(|block| block.get(self.front..));
        std::iter::from_fn(move || {
            if rest.is_some_and(<[u8]>::is_empty) {
                rest = blocks.next().map(Vec::as_slice);
            }
            let (id, behind) = first(rest?)?;
            rest = Some(behind);
            Some(id)
        })
    }

    /// The first id.
    pub fn front(&self) -> Option<&[u8]> {
        self.iter().next()
    }

    /// Takes the first id away. Whether there was one.
    pub fn pop_front(&mut self) -> bool {
        let Some(id) = self.front() else {
            return false;
        };
        let size = id.len().saturating_add(LENGTH);
        self.front = self.front.saturating_add(size);
        if self
            .blocks
            .front()
            .is_some_and(|block| self.front >= block.len())
        {
            self.blocks.pop_front();
            self.front = 0;
        }
        true
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        *self = Ids::default();
    }

    /// The bytes that the blocks take.
    #[cfg(test)]
    fn memory(&self) -> usize {
        let blocks = self.blocks.iter().map(Vec::capacity);
        blocks.fold(0, usize::saturating_add)
    }
}

/// The first id of a block, and what is behind it.
fn first(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = block.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(Length::from_le_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_come_as_they_went_and_longer_ones_than_a_block_too() {
        let ids = [b"1".to_vec(), Vec::new(), vec![7; BLOCK + 1], b"2".to_vec()];
        let mut queue = Ids::default();
        ids.iter().for_each(|id| queue.push(id));
        assert!(queue.iter().eq(ids.iter().map(Vec::as_slice)));
        for id in &ids {
            assert_eq!(queue.front(), Some(id.as_slice()));
            assert!(queue.pop_front());
        }
        assert!(queue.is_empty() && !queue.pop_front() && queue.memory() == 0);
    }

    #[test]
    fn a_million_ids_are_few_blocks() {
        let mut queue = Ids::default();
        for n in 0..1_000_000u32 {
            queue.push(format!("{n:012}").as_bytes());
        }
        assert!(queue.blocks.len() < 300, "{} blocks", queue.blocks.len());
        assert!(queue.memory() < 20_000_000, "{} bytes", queue.memory());
    }

    proptest! {
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec(prop::option::of(0..9000usize), 0..200)) {
            let (mut queue, mut model) = (Ids::default(), VecDeque::new());
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Some(length) => {
                        let id = [n.to_le_bytes().as_slice(), &vec![0; length]].concat();
                        queue.push(&id);
                        model.push_back(id);
                    }
                    None => prop_assert_eq!(queue.pop_front(), model.pop_front().is_some()),
                }
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert!(queue.iter().eq(model.iter().map(Vec::as_slice)));
            }
        }
    }
}
