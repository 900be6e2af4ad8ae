//! The search for duplicate names.

use std::collections::HashSet;
use std::hash::Hash;

/// The set of names so far.
pub struct Seen<N> {
    few: Vec<N>,
    /// All names, once they are too many to be compared one by one.
    many: HashSet<N>,
}

impl<N: Eq + Hash> Default for Seen<N> {
    fn default() -> Self {
        Seen::new()
    }
}

impl<N: Eq + Hash> Seen<N> {
    /// Hashing a name costs about 32 comparisons.
    const FEW: usize = 32;

    /// An empty set.
    pub fn new() -> Self {
        Seen::with_capacity(0)
    }

    /// An empty set with room for this many names, up to 32.
    pub fn with_capacity(names: usize) -> Self {
        Seen {
            few: Vec::with_capacity(names.min(Self::FEW)),
            many: HashSet::new(),
        }
    }

    /// Adds a name; returns `false` if it is there already.
    pub fn insert(&mut self, name: N) -> bool {
        if self.many.is_empty() {
            if self.few.contains(&name) {
                return false;
            }
            if self.few.len() < Self::FEW {
                self.few.push(name);
                return true;
            }
            self.many.extend(self.few.drain(..));
        }
        self.many.insert(name)
    }
}

/// The first name that occurred before.
pub fn repeated<N: Copy + Eq + Hash>(mut names: impl Iterator<Item = N>) -> Option<N> {
    let mut seen = Seen::with_capacity(names.size_hint().0);
    names.find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repetition_is_found_among_few_names_and_many() {
        for length in [0, 1, 2, 31, 32, 33, 34, 100] {
            let names = || 0..length;
            assert_eq!(repeated(names()), None, "{length}");
            for again in names() {
                let names = names().chain([again, 0]);
                assert_eq!(repeated(names), Some(again), "{again} of {length}");
            }
        }
    }
}
