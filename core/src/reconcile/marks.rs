//! What is known of the ids that a run has met: a few flags for each, at 8 bytes and the hash table's share.

use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

bitflags::bitflags! {
    /// What is known of an id. Each flag is a bit that the hash gives up.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u64 {
        /// The run has sent its row.
        const SENT = 1;
        /// A flush without RUN has named it since BEGIN.
        const NEWER = 2;
        /// SWEEP has found its snapshot.
        const FOUND = 4;
    }
}

/// Ids by a hash of 61 bits, whose seed nobody knows. Two ids of one hash are taken for one: then SWEEP leaves an
/// entity alone that it should have deleted. A million ids have such a pair once in 4,000,000 runs.
#[derive(Debug)]
pub struct Marks {
    hasher: RandomState,
    /// Many small tables: growing one must not hold the server up.
    tables: Vec<Table>,
    /// How often FOUND was forgotten.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Table {
    marks: HashTable<u64>,
    /// How often FOUND was forgotten when this table forgot it.
    forgotten: u64,
}

impl Table {
    /// A mark as it is told when FOUND was forgotten so often.
    fn flags(&self, mark: u64, forgotten: u64) -> Flags {
        let flags = Flags::from_bits_truncate(mark);
        match self.forgotten == forgotten {
            true => flags,
            false => flags.difference(Flags::FOUND),
        }
    }

    /// Forgets FOUND, unless it has.
    fn forget_found(&mut self, forgotten: u64) {
        if self.forgotten != forgotten {
            self.forgotten = forgotten;
            for mark in &mut self.marks {
                *mark &= !Flags::FOUND.bits();
            }
        }
    }
}

const TABLES: u64 = 256;

impl Marks {
    pub fn new() -> Self {
        Marks {
            hasher: RandomState::new(),
            tables: (0..TABLES).map(|_| Table::default()).collect(),
            forgotten: 0,
        }
    }

    /// What is known of an id.
    pub fn get(&self, id: &[u8]) -> Flags {
        let (table, hash) = self.place(id);
        let Some(table) = self.tables.get(table) else {
            return Flags::empty();
        };
        let found = table.marks.find(hash, |mark| is_of(*mark, hash));
        found.map_or(Flags::empty(), |mark| table.flags(*mark, self.forgotten))
    }

    /// Adds a flag. Returns what was known before.
    pub fn add(&mut self, id: &[u8], flag: Flags) -> Flags {
        let (table, hash) = self.place(id);
        let Some(table) = self.tables.get_mut(table) else {
            return Flags::empty();
        };
        table.forget_found(self.forgotten);
        match table.marks.find_mut(hash, |mark| is_of(*mark, hash)) {
            Some(mark) => {
                let before = Flags::from_bits_truncate(*mark);
                *mark |= flag.bits();
                before
            }
            None => {
                table.marks.insert_unique(hash, hash | flag.bits(), |mark| {
                    *mark & !Flags::all().bits()
                });
                Flags::empty()
            }
        }
    }

    /// Takes FOUND away from all ids: from a table's when one of them is marked next, since all together would hold the
    /// server up.
    pub fn forget_found(&mut self) {
        self.forgotten = self.forgotten.wrapping_add(1);
    }

    /// The bytes that the tables take.
    #[cfg(test)]
    fn memory(&self) -> usize {
        let tables = self.tables.iter();
        let tables = tables.map(|table| table.marks.allocation_size());
        tables.fold(0, usize::saturating_add)
    }

    /// The table of an id, and its hash without the bits of flags.
    fn place(&self, id: &[u8]) -> (usize, u64) {
        let hash = self.hasher.hash_one(id);
        // A table's own places come from the middle of the hash, and the flags from its end.
        let table = hash.rotate_left(8) % TABLES;
        let table = usize::try_from(table).unwrap_or(0);
        (table, hash & !Flags::all().bits())
    }
}

fn is_of(mark: u64, hash: u64) -> bool {
    mark & !Flags::all().bits() == hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_kept_by_id_and_add_up() {
        let mut marks = Marks::new();
        for n in 0..10_000u32 {
            let id = n.to_string();
            assert_eq!(marks.add(id.as_bytes(), Flags::SENT), Flags::empty());
            if n % 3 == 0 {
                assert_eq!(marks.add(id.as_bytes(), Flags::FOUND), Flags::SENT);
            }
        }
        for n in 0..10_000u32 {
            let found = match n % 3 {
                0 => Flags::SENT | Flags::FOUND,
                _ => Flags::SENT,
            };
            assert_eq!(marks.get(n.to_string().as_bytes()), found, "{n}");
        }
        assert_eq!(marks.get(b"x"), Flags::empty());
        for _ in 0..2 {
            marks.forget_found();
            for n in (0..10_000u32).step_by(100) {
                let id = n.to_string();
                assert_eq!(marks.get(id.as_bytes()), Flags::SENT, "{n}");
                assert_eq!(marks.add(id.as_bytes(), Flags::FOUND), Flags::SENT, "{n}");
                assert!(marks.get(id.as_bytes()).contains(Flags::FOUND), "{n}");
            }
            // In tables that were marked since, and that were not.
            assert_eq!(marks.get(b"3"), Flags::SENT);
        }
    }

    #[test]
    fn an_id_takes_16_bytes() {
        let mut marks = Marks::new();
        for n in 0..1_000_000u32 {
            marks.add(&n.to_le_bytes(), Flags::SENT);
        }
        let bytes = marks.memory() / 1_000_000;
        assert!(bytes <= 20, "{bytes} bytes an id");
    }
}
