//! SINGLE: whose turn it is in a group with one active consumer.
//!
//! Nothing is recorded for it. The active consumer reads or, with nothing to read, sends an empty read, which sets its
//! idle time to 0; the others do not touch the group. So the active consumer is the one with the shortest idle time, as
//! long as that is within the lease.

use crate::store::groups::{Consumer, Group};
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::groups::LEFT;
use redis_module::RedisString;

#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Mine {
        /// It was another's, or nobody's: pending entries come first, no matter which consumer was reading them.
        is_new: bool,
        /// Whether entries are pending that others were reading: they come first.
        others_hold: bool,
        /// Whether it has pending entries itself.
        holds: bool,
    },
    Others {
        /// When the lease runs out, if the active one stays silent.
        free_in_ms: u64,
    },
}

/// Whose turn it is, without taking it.
pub fn turn(group: &Group, consumer: &RedisString, lease_ms: u64) -> Result<Turn, Error> {
    let mut consumers = group.consumers()?;
    let is_recent = |other: &Consumer| other.name != LEFT && other.idle_ms < lease_ms;
    if consumers.iter().filter(|other| is_recent(other)).count() > 1 {
        // A server that has just read its AOF takes all consumers for new ones. It still knows when entries were
        // delivered, and the last one went to the active consumer.
        let mut pending = group.pending_after(None, LOOKED_AT)?;
        pending.retain(|pending| pending.idle_ms < lease_ms && pending.consumer.as_slice() != LEFT);
        if let Some(newest) = pending.iter().min_by_key(|pending| pending.idle_ms) {
            let others = consumers.iter_mut();
            for other in others.filter(|other| *other.name != *newest.consumer) {
                other.idle_ms = other.idle_ms.max(lease_ms);
            }
        }
    }
    Ok(decide(&consumers, consumer, lease_ms))
}

/// The number of pending entries that are looked at for that.
const LOOKED_AT: u64 = 1000;

fn decide(consumers: &[Consumer], own: &[u8], lease_ms: u64) -> Turn {
    let readers = consumers.iter().filter(|other| other.name != LEFT);
    match readers.min_by_key(|reader| reader.idle_ms) {
        Some(active) if active.name != own && active.idle_ms < lease_ms => Turn::Others {
            free_in_ms: lease_ms.saturating_sub(active.idle_ms),
        },
        active => Turn::Mine {
            is_new: active.is_none_or(|active| active.name != own || active.idle_ms >= lease_ms),
            others_hold: consumers
                .iter()
                .any(|other| other.name != own && other.pending > 0),
            holds: consumers
                .iter()
                .any(|consumer| consumer.name == own && consumer.pending > 0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_idle_for_the_shortest_time_is_active_until_its_lease_is_over() {
        let mine = |is_new, others_hold, holds| Turn::Mine {
            is_new,
            others_hold,
            holds,
        };
        let others = |free_in_ms| Turn::Others { free_in_ms };
        for (consumers, expected) in [
            (vec![], mine(true, false, false)),
            (vec![("me", 0, 5)], mine(false, false, false)),
            (vec![("me", 3, 500)], mine(true, false, true)),
            (vec![("other", 0, 40)], others(60)),
            (vec![("other", 0, 99), ("me", 0, 100)], others(1)),
            (vec![("other", 7, 100)], mine(true, true, false)),
            (
                vec![("other", 7, 50), ("me", 1, 20)],
                mine(false, true, true),
            ),
            (
                vec![("other", 0, 50), ("third", 0, 20), ("me", 0, 60)],
                others(80),
            ),
            // The consumer of entries left behind never reads.
            (
                vec![("dirty:left", 2, 0), ("me", 0, 60)],
                mine(false, true, false),
            ),
        ] {
            let known: Vec<Consumer> = consumers
                .iter()
                .map(|(name, pending, idle_ms)| Consumer {
                    name: name.as_bytes().to_vec(),
                    pending: *pending,
                    idle_ms: *idle_ms,
                })
                .collect();
            assert_eq!(decide(&known, b"me", 100), expected, "{consumers:?}");
        }
    }
}
