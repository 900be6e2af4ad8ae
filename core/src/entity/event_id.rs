//! Ids of events: `ms-seq`, where seq counts the stream's events without a gap.

use super::decimal;
use std::fmt;

/// The id of a stream's entry, `ms-seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// When the entry was added, in milliseconds since 1970.
    pub ms: u64,
    /// The position among the stream's events.
    pub seq: u64,
}

impl EventId {
    /// The greatest id.
    pub const MAX: EventId = EventId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// The id of the event after this one: seq is one more, ms is now unless the clock went back.
    ///
    /// If a stream was filled up to the last seq by hand, counting restarts in the next millisecond. Returns `None`
    /// if there is no greater id.
    pub fn following(self, now_ms: u64) -> Option<EventId> {
        let ms = now_ms.max(self.ms);
        match self.seq.checked_add(1) {
            Some(seq) => Some(EventId { ms, seq }),
            None if ms > self.ms => Some(EventId { ms, seq: 1 }),
            None => Some(EventId {
                ms: ms.checked_add(1)?,
                seq: 1,
            }),
        }
    }

    /// The greatest id smaller than this one; 0-0 for 0-0.
    pub fn preceding(self) -> EventId {
        match (self.ms, self.seq) {
            (0, 0) => self,
            (ms, 0) => EventId {
                ms: ms.saturating_sub(1),
                seq: u64::MAX,
            },
            (ms, seq) => EventId {
                ms,
                seq: seq.saturating_sub(1),
            },
        }
    }

    /// The smallest id greater than this one; `None` for the greatest id.
    pub fn succeeding(self) -> Option<EventId> {
        Some(match self.seq.checked_add(1) {
            Some(seq) => EventId { seq, ..self },
            None => EventId {
                ms: self.ms.checked_add(1)?,
                seq: 0,
            },
        })
    }

    /// Parses `ms-seq`, both in plain decimal.
    pub fn parse(text: &[u8]) -> Option<EventId> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let (ms, seq) = (text.get(..dash)?, text.get(dash.checked_add(1)?..)?);
        Some(EventId {
            ms: decimal::parse(ms)?,
            seq: decimal::parse(seq)?,
        })
    }

    /// As it is displayed, in memory of the caller's.
    pub fn write(self, text: &mut [u8; 41]) -> &[u8] {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (
            ms.format(self.ms).as_bytes(),
            seq.format(self.seq).as_bytes(),
        );
        let mut length = 0usize;
        for part in [ms, b"-", seq] {
            let end = length.saturating_add(part.len());
            if let Some(place) = text.get_mut(length..end) {
                place.copy_from_slice(part);
            }
            length = end;
        }
        text.get(..length).unwrap_or_default()
    }

    /// The displayed form, made without the formatter, whose cost per event would be measurable.
    pub fn text(self) -> String {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        [ms.format(self.ms), "-", seq.format(self.seq)].concat()
    }
}

/// The number of events that a reader at a position has missed, by the gaps between the seqs that it has read.
/// `read` lists ids in order, and whether each is an event of the module. Entries of other writers have arbitrary
/// ids, so only a gap before an event counts.
pub fn missed(position: EventId, read: impl IntoIterator<Item = (EventId, bool)>) -> u64 {
    let mut before = position;
    let mut missed = 0u64;
    for (id, is_event) in read {
        if is_event {
            let gap = id.seq.saturating_sub(before.seq).saturating_sub(1);
            missed = missed.saturating_add(gap);
        }
        before = id;
    }
    missed
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> EventId {
        EventId { ms, seq }
    }

    #[test]
    fn the_following_id_counts_on_and_never_goes_back_in_time() {
        for (last, now, next) in [
            (id(0, 0), 5, Some(id(5, 1))),
            (id(5, 1), 5, Some(id(5, 2))),
            (id(5, 2), 9, Some(id(9, 3))),
            (id(9, 3), 2, Some(id(9, 4))),
            (id(5, u64::MAX), 9, Some(id(9, 1))),
            (id(5, u64::MAX), 5, Some(id(6, 1))),
            (id(u64::MAX, 7), 5, Some(id(u64::MAX, 8))),
            (EventId::MAX, 5, None),
        ] {
            assert_eq!(last.following(now), next, "{last} at {now}");
        }
    }

    #[test]
    fn the_preceding_id_is_the_next_smaller_one() {
        for (at, before) in [
            (id(0, 0), id(0, 0)),
            (id(3, 0), id(2, u64::MAX)),
            (id(3, 4), id(3, 3)),
        ] {
            assert_eq!(at.preceding(), before);
        }
    }

    #[test]
    fn the_succeeding_id_is_the_next_greater_one() {
        for (at, after) in [
            (id(0, 0), Some(id(0, 1))),
            (id(3, 4), Some(id(3, 5))),
            (id(3, u64::MAX), Some(id(4, 0))),
            (EventId::MAX, None),
        ] {
            assert_eq!(at.succeeding(), after);
            assert_eq!(after.map_or(at, EventId::preceding), at);
        }
    }

    #[test]
    fn gaps_in_the_seqs_of_events_are_missed() {
        for (position, read, expected) in [
            (id(0, 0), vec![], 0),
            (id(0, 0), vec![(id(5, 1), true), (id(5, 2), true)], 0),
            (id(5, 2), vec![(id(9, 3), true)], 0),
            (id(5, 2), vec![(id(9, 6), true), (id(9, 8), true)], 4),
            // By hand: XADD * starts at 0, other ids are anything.
            (id(5, 7), vec![(id(9, 0), false), (id(9, 1), true)], 0),
            (id(5, 7), vec![(id(9, 900), false), (id(9, 901), true)], 0),
            (id(5, 7), vec![(id(9, 1), true)], 0),
            (id(5, u64::MAX), vec![(id(9, 4), true)], 0),
        ] {
            assert_eq!(
                missed(position, read.clone()),
                expected,
                "{position} {read:?}"
            );
        }
    }

    #[test]
    fn an_id_has_one_text() {
        for id in [id(0, 0), id(5, 17), EventId::MAX] {
            let mut text = [0; 41];
            assert_eq!(id.write(&mut text), id.text().as_bytes());
        }
    }

    #[test]
    fn only_whole_ids_are_read() {
        assert_eq!(EventId::parse(b"12-34"), Some(id(12, 34)));
        assert_eq!(
            EventId::parse(EventId::MAX.to_string().as_bytes()),
            Some(EventId::MAX)
        );
        for bad in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-*",
            "1-2-3",
            "a-b",
            "18446744073709551616-0",
        ] {
            assert_eq!(EventId::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
