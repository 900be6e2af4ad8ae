//! What is made once of a name that comes again and again, as those of streams and fields do.

use std::cell::Cell;

/// How many names are kept. Each has one place, by its hash.
const NAMES: usize = 256;

/// Longer names are not kept.
const LONGEST_NAME: usize = 64;

/// A name, and what was made of it: both stay until the server ends. Or, while the place is free, the hash of the last
/// name that came here.
type Place<T> = Result<(&'static [u8], &'static T), u64>;

/// One of the process: what each thread kept, a module that runs commands on new threads would lose with each of them.
pub struct Recurring<T: 'static> {
    places: [Cell<Place<T>>; NAMES],
}

// SAFETY: whoever makes or sends names runs a command, so it holds the server's lock: one thread at a time.
unsafe impl<T> Sync for Recurring<T> {}

impl<T> Recurring<T> {
    pub const fn new() -> Self {
        Recurring {
            places: [const { Cell::new(Err(0)) }; NAMES],
        }
    }

    /// What was made of this name. It is made when the name comes the second time in a row at its place: so names that
    /// come once, like those of fields that are made of ids, are not kept. `None` also if it cannot be made.
    pub fn get(&self, name: &[u8], make: impl FnOnce() -> Option<T>) -> Option<&'static T> {
        if name.len() > LONGEST_NAME {
            return None;
        }
        let hash = hash(name);
        let place = self
            .places
            .get(usize::try_from(hash).unwrap_or(0) % NAMES)?;
        match place.get() {
            Ok((kept, made)) => (kept == name).then_some(made),
            Err(last) if last != hash => {
                place.set(Err(hash));
                None
            }
            Err(_) => {
                let made: &'static T = Box::leak(Box::new(make()?));
                place.set(Ok((Box::leak(name.into()), made)));
                Some(made)
            }
        }
    }
}

/// Cheap: of the length, the first eight bytes and the last. Whoever makes many collide gains nothing, and loses what
/// this saves.
fn hash(name: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let spread = |hash: u64, word: u64| (hash ^ word).wrapping_mul(ODD).rotate_right(29);
    let length = u64::try_from(name.len()).unwrap_or(0);
    match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => {
            let hash = spread(length, u64::from_le_bytes(*first));
            spread(hash, u64::from_le_bytes(*last))
        }
        _ => name
            .iter()
            .fold(length, |hash, byte| spread(hash, u64::from(*byte))),
    }
}
