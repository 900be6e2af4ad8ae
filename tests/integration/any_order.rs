//! Writers of a VERSION type whose flushes come in any order, some of them twice.

use super::support::entities::declared;
use super::support::entries::{decode, events};
use super::support::replication::AOF;
use super::support::{Conn, Server};
use std::collections::{BTreeMap, BTreeSet};

/// What writers send of one entity, in the order of their versions 1, 2, 3.
const WRITERS: &[&[&str]] = &[
    &["S", "S"],
    &["S", "D"],
    &["D", "S"],
    &["D", "D"],
    &["S", "S", "S"],
    &["S", "S", "D"],
    &["S", "D", "S"],
    &["D", "S", "S"],
    &["S", "D", "D"],
    &["D", "S", "D"],
    &["D", "D", "S"],
    &["D", "D", "D"],
];

/// The fields of a snapshot of this version: some stay, some change, some come and go.
fn fields(version: usize) -> String {
    let own = ["b one", "c two", "b three"];
    format!("v {version} a {} {}", version % 2, own[version - 1])
}

/// Every order of the flushes of these versions, each at most twice.
fn orders(versions: usize) -> BTreeSet<Vec<usize>> {
    let mut orders = BTreeSet::new();
    for doubled in 0..1u32 << versions {
        let twice = (1..=versions).filter(|version| doubled >> (version - 1) & 1 == 1);
        let mut rest: Vec<usize> = (1..=versions).chain(twice).collect();
        permute(&mut rest, 0, &mut orders);
    }
    orders
}

fn permute(list: &mut Vec<usize>, fixed: usize, orders: &mut BTreeSet<Vec<usize>>) {
    if fixed == list.len() {
        orders.insert(list.clone());
    }
    for next in fixed..list.len() {
        list.swap(fixed, next);
        permute(list, fixed + 1, orders);
        list.swap(fixed, next);
    }
}

#[test]
fn whatever_the_order_of_flushes_the_highest_version_stays() {
    let mut primary = Server::with(&AOF);
    let replica = Server::replica_of(&primary);
    let mut redis = primary.connect();
    redis.run("DIRTY.DECLARE user VERSION v STREAM s PAYLOAD FULL");
    // One entity for each order.
    let (mut id, mut events_of) = (0u64, BTreeMap::new());
    for writers in WRITERS {
        for order in orders(writers.len()) {
            id += 1;
            let mut published = 0;
            let mut highest = 0;
            for version in &order {
                let again = *version == highest;
                let flush = match writers[version - 1] {
                    "S" => format!("DIRTY.FLUSH user SNAPSHOT {id} 3 {}", fields(*version)),
                    _ => format!("DIRTY.FLUSH user DELETE {id} 1 v {version}"),
                };
                let reply = redis.run(&flush);
                // The same again is no change, be it a delete's tombstone or a snapshot.
                let unchanged = match (again, *version < highest) {
                    (true, _) => Some("[none]"),
                    (_, true) => Some("[stale]"),
                    _ => None,
                };
                match unchanged {
                    Some(effect) => assert_eq!(reply, effect, "{writers:?} {order:?}"),
                    None => assert_ne!(reply, "[stale]", "{writers:?} {order:?}"),
                }
                published += u64::from(!["[stale]", "[none]"].contains(&reply.as_str()));
                highest = highest.max(*version);
            }
            events_of.insert(id, published);
            let last = writers.len();
            let state = match writers[last - 1] {
                "S" => fields(last),
                _ => format!("@ {last}"),
            };
            let case = format!("{writers:?} {order:?}");
            let hash = sorted(&redis.run(&format!("HGETALL user:{id}")));
            assert_eq!(hash, sorted(&format!("[{state}]")), "{case}");
            let exists = redis.run(&format!("DIRTY.GET user {id}")) != "[nil]";
            assert_eq!(exists, writers[last - 1] == "S", "{case}");
        }
    }
    assert_eq!(id, 4 * 14 + 8 * 222, "all orders were tried");
    let mut versions: BTreeMap<u64, Vec<Option<i64>>> = BTreeMap::new();
    for event in events(&mut redis, "s") {
        let event = decode(&event);
        versions.entry(event.id).or_default().push(event.v);
    }
    for (id, published) in events_of {
        let versions = versions.remove(&id).unwrap_or_default();
        assert_eq!(versions.len() as u64, published, "{id}: {versions:?}");
        assert!(versions.iter().all(Option::is_some), "{id}: {versions:?}");
        assert!(versions.is_sorted_by(|a, b| a < b), "{id}: {versions:?}");
    }
    is_the_same_everywhere(&mut primary, &replica, id);
}

/// Tombstones' times to live among it.
fn is_the_same_everywhere(primary: &mut Server, replica: &Server, entities: u64) {
    let state = |redis: &mut Conn| -> (String, Vec<String>) {
        let expires = (1..=entities).map(|id| redis.run(&format!("PEXPIRETIME user:{id}")));
        let expires = expires.collect();
        (redis.digest(), expires)
    };
    let mut redis = primary.connect();
    let before = state(&mut redis);
    primary.wait_for_replica(replica);
    assert_eq!(state(&mut replica.connect()), before);
    redis.run("DEBUG RELOAD");
    assert_eq!(state(&mut redis), before);
    primary.restart();
    assert_eq!(state(&mut primary.connect()), before);
}

/// The fields of a hash in the order of names, however it stores them.
fn sorted(hash: &str) -> Vec<String> {
    let words: Vec<&str> = hash.trim_matches(['[', ']']).split(' ').collect();
    let mut pairs: Vec<String> = words.chunks(2).map(|pair| pair.join(" ")).collect();
    pairs.sort();
    pairs
}

#[test]
fn a_delete_and_a_snapshot_of_one_version_end_in_the_delete() {
    for order in [["S", "D"], ["D", "S"]] {
        for first in ["DELETE 1", "SNAPSHOT 1 2 v 4 a x"] {
            let (_server, mut redis) = declared("VERSION v STREAM s");
            redis.run(&format!("DIRTY.FLUSH user {first}"));
            for flush in order {
                match flush {
                    "S" => redis.run("DIRTY.FLUSH user SNAPSHOT 1 2 v 5 a y"),
                    _ => redis.run("DIRTY.FLUSH user DELETE 1 1 v 5"),
                };
            }
            assert_eq!(redis.run("HGETALL user:1"), "[@ 5]", "{first}, {order:?}");
        }
    }
}
