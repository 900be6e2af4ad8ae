//! The search for duplicate names, and for those that are missing.

use std::collections::HashSet;
use std::hash::Hash;

/// The set of names so far.
pub struct Seen<N> {
    few: Vec<N>,
    /// A bit for each of the few, by which most names are known to be new without a comparison.
    sketch: u64,
    /// All names, once they are too many to be compared one by one.
    many: Option<HashSet<N>>,
}

impl<N: AsRef<[u8]> + Eq + Hash> Default for Seen<N> {
    fn default() -> Self {
        Seen::new()
    }
}

impl<N: AsRef<[u8]> + Eq + Hash> Seen<N> {
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
            sketch: 0,
            many: None,
        }
    }

    /// Adds a name; returns `false` if it is there already.
    #[inline]
    pub fn insert(&mut self, name: N) -> bool {
        let bit = bit_of(name.as_ref());
        if self.sketch & bit != 0 || self.few.len() >= Self::FEW {
            return self.compare(name);
        }
        self.sketch |= bit;
        self.few.push(name);
        true
    }

    /// The same for a name that the sketch does not know to be new, or that has no room among the few.
    #[inline(never)]
    fn compare(&mut self, name: N) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(name);
        }
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return true;
        }
        // It does not know any name to be new.
        self.sketch = u64::MAX;
        let many = self.many.get_or_insert_default();
        many.extend(self.few.drain(..));
        many.insert(name)
    }
}

/// One of 64 bits, by the length of a name and its ends.
#[inline]
fn bit_of(name: &[u8]) -> u64 {
    let [first, last] =
        [name.first(), name.last()].map(|byte| byte.map_or(0, |byte| usize::from(*byte)));
    let mixed = first.wrapping_mul(7) ^ last.wrapping_mul(29) ^ name.len().wrapping_mul(13);
    bit_at(mixed % FEW_MARKS).unwrap_or(1)
}

/// The first name that occurred before, and its index.
pub fn repeated<N: AsRef<[u8]> + Copy + Eq + Hash>(
    names: impl Iterator<Item = N>,
) -> Option<(usize, N)> {
    let (least, most) = names.size_hint();
    if most.is_some_and(|most| most < 2) {
        return None;
    }
    let mut seen = Seen::with_capacity(least);
    names.enumerate().find(|(_, name)| !seen.insert(*name))
}

/// Which of a known number of things were met, by index.
pub struct Marks {
    /// The first 64.
    few: u64,
    /// The others.
    many: Vec<bool>,
    things: usize,
}

impl Marks {
    /// None of this many.
    pub fn new(things: usize) -> Self {
        Marks {
            few: 0,
            many: vec![false; things.saturating_sub(FEW_MARKS)],
            things,
        }
    }

    /// Marks one; returns `false` if it is marked already, or not one of them.
    #[inline]
    pub fn mark(&mut self, index: usize) -> bool {
        match bit_at(index) {
            Some(bit) => {
                let is_new = self.few & bit == 0;
                self.few |= bit;
                is_new
            }
            None => {
                let mark = self.many.get_mut(index.saturating_sub(FEW_MARKS));
                mark.is_some_and(|mark| !std::mem::replace(mark, true))
            }
        }
    }

    /// Whether this one is marked.
    pub fn has(&self, index: usize) -> bool {
        match bit_at(index) {
            Some(bit) => self.few & bit != 0,
            None => {
                let mark = self.many.get(index.saturating_sub(FEW_MARKS));
                mark.copied().unwrap_or_default()
            }
        }
    }

    /// Whether all are marked.
    pub fn are_all(&self) -> bool {
        let all = match bit_at(self.things) {
            Some(bit) => bit.wrapping_sub(1),
            None => u64::MAX,
        };
        self.few == all && self.many.iter().all(|mark| *mark)
    }
}

const FEW_MARKS: usize = 64;

#[inline]
fn bit_at(index: usize) -> Option<u64> {
    1u64.checked_shl(u32::try_from(index).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repetition_is_found_among_few_names_and_many() {
        for length in [0usize, 1, 2, 31, 32, 33, 34, 100] {
            // Those of one length share a bit of the sketch.
            for begin in ["", "names of one first byte and one last byte "] {
                let names: Vec<String> = (0..length).map(|n| format!("{begin}{n} ")).collect();
                let names = || names.iter().map(String::as_bytes);
                assert_eq!(repeated(names()), None, "{length}");
                for again in names() {
                    let names = names().chain([again, b"0 "]);
                    assert_eq!(
                        repeated(names),
                        Some((length, again)),
                        "{again:?} of {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn each_mark_is_set_once() {
        for things in [0, 1, 63, 64, 65, 66, 200] {
            let mut marks = Marks::new(things);
            for index in (0..things).rev() {
                assert!(!marks.are_all(), "{things}");
                assert!(!marks.has(index), "{index} of {things}");
                assert!(marks.mark(index), "{index} of {things}");
                assert!(!marks.mark(index), "{index} of {things}");
                assert!(marks.has(index), "{index} of {things}");
            }
            assert!(marks.are_all(), "{things}");
        }
    }
}
