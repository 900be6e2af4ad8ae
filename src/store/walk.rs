//! A walk over the snapshots of an entity type, a page at a time, by the server's SCAN.

use super::cluster;
use super::snapshots::SnapshotReader;
use crate::redis::call;
use crate::redis::keys;
use crate::redis::random;
use crate::redis::server_events::{Event, EventListener, listen};
use dirty_streams_core::entity::decimal;
use dirty_streams_core::entity::declaration::Declaration;
use dirty_streams_core::error::Error;
use redis_module::{Context, RedisString};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The key space through which walks go. Where the server's SCAN is means nothing in another process, nor when the
/// data set was loaded or swapped: a walk that began before begins again.
static KEY_SPACE: AtomicU64 = AtomicU64::new(0);

struct Changed;

impl EventListener for Changed {
    const ENTRY: &'static str = "another data set";

    fn on_event(_ctx: &Context) {
        renew();
    }
}

fn renew() {
    let [number, _] = random::numbers();
    KEY_SPACE.store(number, Relaxed);
}

pub fn register(ctx: &Context) -> bool {
    renew();
    [Event::FlushDb, Event::SwapDb, Event::Loading]
        .into_iter()
        .all(|event| listen::<Changed>(ctx, event))
}

/// Where a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cursor of the server's SCAN; 0 at the beginning, and behind the end.
    at: u64,
    key_space: u64,
}

impl Place {
    pub fn beginning() -> Self {
        Place {
            at: 0,
            key_space: KEY_SPACE.load(Relaxed),
        }
    }

    /// As it is displayed, or `0` for the beginning. One of another key space becomes the beginning.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text == b"0" {
            return Some(Place::beginning());
        }
        let mut parts = text.splitn(2, |byte| *byte == b'-');
        let at = decimal::parse(parts.next()?).filter(|at| *at > 0)?;
        let key_space = decimal::parse(parts.next()?)?;
        Some(Place { at, key_space }.here())
    }

    /// This place, or the beginning if it is of another key space.
    pub fn here(self) -> Self {
        let beginning = Place::beginning();
        match self.key_space == beginning.key_space {
            true => self,
            false => beginning,
        }
    }

    /// Whether the walk begins here, or has ended.
    pub fn is_end(self) -> bool {
        self.at == 0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.is_end() {
            true => f.write_str("0"),
            false => write!(f, "{}-{}", self.at, self.key_space),
        }
    }
}

/// For each snapshot that a page is to have it looks at this many keys of the database at most.
const LOOKED_AT: usize = 10;

/// Shows the ids of about `count` entities from this place on, fewer where other keys stand between them. `show` tells
/// whether there is such an entity: its key may hold a tombstone. Returns the place of the next page. The id of an entity
/// that is stored throughout a walk is shown at least once.
pub fn page(
    ctx: &Context,
    key: &RedisString,
    declaration: &Declaration,
    place: Place,
    count: usize,
    mut show: impl FnMut(&mut SnapshotReader, &[u8]) -> Result<bool, Error>,
) -> Result<Place, Error> {
    if declaration.stateless {
        return Ok(Place::beginning());
    }
    check_rest(ctx, key, declaration)?;
    let pattern = keys::string(&pattern(&declaration.prefix));
    let (with_pattern, with_count) = (keys::string(b"MATCH"), keys::string(b"COUNT"));
    let (with_type, hash) = (keys::string(b"TYPE"), keys::string(b"hash"));
    let mut snapshots = SnapshotReader::new(ctx, key, declaration);
    let mut place = place.here();
    let (mut shown, mut steps) = (0usize, 0usize);
    loop {
        let at = keys::string(place.at.to_string().as_bytes());
        // The last step of many is not another whole page.
        let step = count.saturating_sub(shown).max(1).to_string();
        let step = keys::string(step.as_bytes());
        let args = [
            &at,
            &with_pattern,
            &pattern,
            &with_count,
            &step,
            &with_type,
            &hash,
        ];
        let reply = call::read(ctx, c"SCAN", &args)?;
        let (next, found) = (reply.view().at(0), reply.view().at(1));
        let (Some(next), Some(found)) = (next, found) else {
            return Err(Error::Internal);
        };
        place.at = decimal::parse(next.bytes()).ok_or(Error::Internal)?;
        for name in found.items() {
            let Some(id) = name.bytes().strip_prefix(&*declaration.prefix) else {
                continue;
            };
            if id.is_empty() || !is_snapshot(&mut snapshots, id)? {
                continue;
            }
            if show(&mut snapshots, id)? {
                shown = shown.saturating_add(1);
            }
        }
        steps = steps.saturating_add(1);
        if place.is_end() || shown >= count || steps >= LOOKED_AT {
            return Ok(place);
        }
    }
}

/// Whether a flush could have stored a snapshot under this id: other keys may lie below the prefix, too.
fn is_snapshot(snapshots: &mut SnapshotReader, id: &[u8]) -> Result<bool, Error> {
    match snapshots.key_of(id) {
        Ok(_) => Ok(true),
        Err(Error::SnapshotIsTaken { .. } | Error::TooManySeparators { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses while the slot is being moved: its keys are on two nodes then.
fn check_rest(ctx: &Context, key: &RedisString, declaration: &Declaration) -> Result<(), Error> {
    let [one, other] = random::numbers();
    let missing = [
        &*declaration.prefix,
        format!("@once:{one:x}{other:x}").as_bytes(),
    ]
    .concat();
    cluster::check_missing(ctx, key, &keys::string(&missing))
}

/// The glob pattern of all keys that begin with these bytes.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len().saturating_add(1));
    for byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written_and_begins_again_in_another_key_space() {
        KEY_SPACE.store(7, Relaxed);
        let place = Place {
            at: 12,
            key_space: 7,
        };
        assert_eq!(place.to_string(), "12-7");
        assert_eq!(Place::parse(b"12-7"), Some(place));
        assert_eq!(Place::parse(b"12-8"), Some(Place::beginning()));
        assert_eq!(Place::beginning().to_string(), "0");
        for text in ["", "12", "-", "0-7", "12-", "x-7", "012-7", "12-7-1"] {
            assert_eq!(Place::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_means_the_prefix_and_nothing_else() {
        assert_eq!(pattern(b"a*[b]?\\^:"), b"a\\*\\[b\\]\\?\\\\\\^:*");
    }
}
