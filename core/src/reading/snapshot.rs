//! The snapshot phase of a cursor, FROM SNAPSHOT: it gets the entities as they are, a page at a time, before it only
//! follows the stream.
//!
//! Each call gives the events behind the cursor's position first. Only when they reach the stream's end in this very call
//! are entities read, as they are at that moment. So an entity's events that come later are newer than what was read of
//! it, and none that comes later is older.

use super::act::Act;
use super::filter::{Filter, Shard};
use super::refusal::Refusal;
use super::stream::Stream;
use crate::entity::decimal;
use crate::entity::event::Event;

/// How many replies an acknowledged position may be ahead. A replica that took over may lack some; a number that somebody
/// made up must not be the last there is, or no later page would end the phase.
const MAX_PAGES_AHEAD: u64 = 1 << 32;

/// The phase while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The declarations whose snapshots are read, one after the other.
    pub keys: Vec<Box<[u8]>>,
    /// What comes next.
    pub at: Scan,
}

/// How far the phase is: a part of the cursor's position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// How many replies were acknowledged: an earlier one's position acknowledges nothing.
    pub page: u64,
    /// The index of the declaration that is being read; behind the last one nothing is left.
    pub key: u32,
    /// How many entities were looked at.
    pub scanned: u64,
    /// Where in that declaration's snapshots, in the words of who reads them; empty at the beginning.
    pub place: Box<[u8]>,
}

/// What a reply tells of the phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Nothing is left to be read: the next call is one of a cursor like any other.
    pub is_over: bool,
    /// How many entities were looked at.
    pub scanned: u64,
    /// The first page, or it begins again.
    pub begins: bool,
}

/// Some snapshots that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// How many were looked at.
    pub scanned: u32,
    /// How many of those were given.
    pub given: u32,
    /// Where to go on, if there may be more.
    pub next: Option<Box<[u8]>>,
}

/// The entities that a reader wants.
pub struct Wanted<'w> {
    /// WHERE.
    pub filter: &'w Filter,
    /// SHARD.
    pub shard: Option<Shard>,
}

impl Wanted<'_> {
    /// Whether it wants an entity that was read. An operation, changed fields and META are none of it.
    pub fn takes(&self, read: &Event) -> bool {
        let Filter { entities, ids, .. } = self.filter;
        (entities.is_empty() || entities.contains(&*read.entity))
            && (ids.is_empty() || ids.contains(&*read.id))
            && self.shard.is_none_or(|shard| shard.takes(Some(read)))
    }
}

impl Filter {
    /// The filter of events while the phase lasts: without OPS and META, which would leave out changes of what was read.
    pub(super) fn of_phase(&self) -> Filter {
        Filter {
            operations: None,
            meta: Default::default(),
            ..self.clone()
        }
    }
}

impl Scan {
    /// `page.key.scanned.place`; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Scan> {
        let mut parts = text.splitn(4, |byte| *byte == b'.');
        let mut number = || decimal::parse(parts.next()?);
        let (page, key, scanned) = (number()?, number()?, number()?);
        Some(Scan {
            page,
            key: u32::try_from(key).ok()?,
            scanned,
            place: parts.next()?.into(),
        })
    }

    /// As it is parsed.
    pub fn text(&self) -> Vec<u8> {
        let Scan {
            page, key, scanned, ..
        } = self;
        let mut text = format!("{page}.{key}.{scanned}.").into_bytes();
        text.extend_from_slice(&self.place);
        text
    }

    /// Whether a later reply gave this place than the other.
    pub(super) fn follows(&self, other: &Scan) -> bool {
        let ahead = self.page.checked_sub(other.page);
        ahead.is_some_and(|ahead| (1..=MAX_PAGES_AHEAD).contains(&ahead))
    }

    /// The same place as a later reply gives it.
    pub(super) fn next(&self) -> Scan {
        Scan {
            page: self.page.saturating_add(1),
            ..self.clone()
        }
    }

    /// The same phase from its beginning.
    pub(super) fn again(&self) -> Scan {
        Scan {
            page: self.page,
            ..Scan::default()
        }
    }
}

impl Phase {
    /// Whether nothing is left to be read at this place.
    pub(super) fn is_over_at(&self, at: &Scan) -> bool {
        let keys = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        at.key >= keys
    }

    /// Reads the next page, about `count` entities, and tells how many were given. What fails when the reply has begun,
    /// since something was given, is told by the next call.
    pub(super) fn read(
        &self,
        has_given: bool,
        count: u32,
        wanted: &Wanted,
        stream: &mut impl Stream,
    ) -> Result<(Scan, u32, bool), Refusal> {
        let mut at = self.at.next();
        if !stream.knows(&at.place) {
            at = at.again();
        }
        let begins = at.key == 0 && at.place.is_empty();
        let mut given = 0u32;
        while let Some(key) = self.keys.get(usize::try_from(at.key).unwrap_or(usize::MAX)) {
            let left = count.saturating_sub(given).max(1);
            let read = stream.read_snapshots(key, &at.place, left, wanted);
            let Some(read) = read else {
                match has_given || given > 0 {
                    true => break,
                    false => return Err(Refusal::NoSnapshots),
                }
            };
            at.scanned = at.scanned.saturating_add(read.scanned.into());
            given = given.saturating_add(read.given);
            match read.next {
                Some(place) => {
                    at.place = place;
                    break;
                }
                None => {
                    at.key = at.key.saturating_add(1);
                    at.place = Box::default();
                }
            }
            if given >= count {
                break;
            }
        }
        Ok((at, given, begins))
    }
}

impl Act<'_> {
    /// The cursor's snapshot phase, if it lasts.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.reader().and_then(|reader| reader.phase()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_parsed_whole() {
        for text in ["0.0.0.", "1.2.3.45-67", "9.0.1.x.y"] {
            let scan = Scan::parse(text.as_bytes()).unwrap();
            assert_eq!(scan.text(), text.as_bytes());
        }
        for text in ["", "1.2.3", "x.2.3.", "01.2.3.", "1.4294967296.3."] {
            assert_eq!(Scan::parse(text.as_bytes()), None, "{text}");
        }
    }
}
