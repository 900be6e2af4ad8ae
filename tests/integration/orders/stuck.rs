//! What hangs, is poisoned or piles up concerns its own keys alone.

use crate::support::story::Story;
use crate::support::{Conn, Server, words};
use redis::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const CONSUMERS: usize = 20;
const KEYS: u64 = 100_000;
const EVENTS: u64 = 200_000;

/// Each of the keys twice.
fn publish(redis: &mut Conn) {
    assert_eq!(redis.run("DIRTY.DECLARE user STATELESS STREAM s"), "OK");
    for first in (0..EVENTS).step_by(1000) {
        let operations: String = (first..first + 1000)
            .map(|n| format!(" TOUCH {}", n % KEYS))
            .collect();
        redis.raw(&words(&format!("DIRTY.FLUSH user{operations}")));
    }
}

/// CONSUME, with a reply that a test reads fast: the ids.
const CONSUME: &str = "local reply = redis.call('DIRTY.CONSUME', KEYS[1], unpack(ARGV)) \
    local ids = {} \
    for place, event in ipairs(reply[2]) do ids[place] = event[2] end \
    return {table.concat(ids, ' '), reply[6]}";

/// The events of a batch, ids and entities, and whether there is more.
fn batch(redis: &mut Conn, consumer: usize, ack: &[String], n: u64) -> (Vec<(String, u64)>, bool) {
    let ack = match ack.len() {
        0 => String::new(),
        count => format!("ACK {count} {}", ack.join(" ")),
    };
    let mut line = words("EVAL script 1 s");
    line[1] = CONSUME.into();
    line.extend(words(&format!("GROUP g c{consumer} {ack} COUNT {n}")));
    let Value::Array(reply) = redis.value(&line) else {
        panic!("no reply to {line:?}")
    };
    let ids = match &reply[0] {
        Value::BulkString(ids) => String::from_utf8_lossy(ids).into_owned(),
        other => panic!("no ids: {other:?}"),
    };
    let event = |id: &str| {
        let (_, seq) = id.split_once('-').expect("an id");
        let seq: u64 = seq.parse().expect("a number");
        (id.to_string(), (seq - 1) % KEYS)
    };
    let is_more = reply[1] == Value::Int(1);
    (ids.split_whitespace().map(event).collect(), is_more)
}

/// What goes wrong in a run.
struct Trouble {
    /// Consumer 0 hangs with so many events.
    hangs_with: u64,
    poisoned: BTreeSet<u64>,
    /// Options of the group, and of FAIL.
    options: [String; 2],
}

/// Lets consumers take turns until all events are handled, but those of keys that hang or are poisoned. How many events
/// of other keys each call has given, and how long it took.
fn throughput(trouble: &Trouble) -> (f64, Duration) {
    let server = Server::start();
    let mut redis = server.connect();
    publish(&mut redis);
    let [options, delay] = &trouble.options;
    let reader = format!("DIRTY.READER s GROUP g FROM 0 ORDER ENTITY {options}");
    assert_eq!(redis.raw(&words(&reader)), "OK");
    let mut stuck = trouble.poisoned.clone();
    let first = usize::from(trouble.hangs_with > 0);
    if trouble.hangs_with > 0 {
        let (held, _) = batch(&mut redis, 0, &[], trouble.hangs_with);
        assert_eq!(held.len() as u64, trouble.hangs_with);
        stuck.extend(held.into_iter().map(|(_, entity)| entity));
    }
    let wanted = EVENTS - stuck.len() as u64 * (EVENTS / KEYS);
    let mut acks = vec![Vec::new(); CONSUMERS];
    let (mut handled, mut calls, mut idle, mut failed) = (0, 0, 0, 0);
    let begun = Instant::now();
    let consumers = (first..CONSUMERS).cycle();
    for consumer in consumers {
        let ack = std::mem::take(&mut acks[consumer]);
        let (events, more) = batch(&mut redis, consumer, &ack, 100);
        calls += 1;
        idle = if events.is_empty() && !more {
            idle + 1
        } else {
            0
        };
        assert!(
            idle < 3 * CONSUMERS,
            "nothing comes any more: {handled} of {wanted}"
        );
        let is_bad = |(_, entity): &&(String, u64)| trouble.poisoned.contains(entity);
        let (bad, good): (Vec<_>, Vec<_>) = events.iter().partition(is_bad);
        handled += good
            .iter()
            .filter(|(_, entity)| !stuck.contains(entity))
            .count() as u64;
        acks[consumer] = good.into_iter().map(|(id, _)| id.clone()).collect();
        if !bad.is_empty() {
            failed += bad.len();
            let ids: Vec<&str> = bad.iter().map(|(id, _)| id.as_str()).collect();
            let ids = ids.join(" ");
            let line = format!("DIRTY.FAIL s GROUP g c{consumer} poison {delay} {ids}");
            redis.value(&words(&line));
        }
        if handled >= wanted {
            break;
        }
    }
    assert_eq!(failed > 0, !trouble.poisoned.is_empty());
    println!("{handled} events of other keys in {calls} calls, {failed} failures {options}");
    (handled as f64 / f64::from(calls), begun.elapsed())
}

#[test]
fn a_consumer_that_hangs_and_a_hundred_poisoned_keys_cost_the_others_less_than_a_twentieth() {
    let none = || [String::new(), String::new()];
    let (healthy, took) = throughput(&Trouble {
        hangs_with: 0,
        poisoned: BTreeSet::new(),
        options: none(),
    });
    // Only who hangs goes silent: between two calls of a consumer are as many as there are consumers, a hundredth of
    // all calls.
    let claim = (took / 5).as_millis().max(1000);
    let group = format!("CLAIM {claim} MAXDELIVERIES 60000");
    let delay = format!("DELAY {}", 3 * claim);
    for (hangs_with, options) in [
        (100, none()),
        // Each of these comes again in a call of its own.
        (50, [group, delay]),
    ] {
        let (hurt, _) = throughput(&Trouble {
            hangs_with,
            poisoned: (0..100).map(|n| n * 997 + 500).collect(),
            options: options.clone(),
        });
        assert!(
            hurt >= 0.95 * healthy,
            "{hurt} of {healthy} a call, {options:?}"
        );
    }
}

#[test]
fn what_is_queued_is_bounded_counted_and_told() {
    let mut story = Story::with(&["1", "1", "1", "1", "1", "2", "3"]);
    let stats = |story: &mut Story, parts: &[&str]| {
        let stats = story.run("DIRTY.STATS s");
        for part in parts {
            assert!(stats.contains(part), "{part} in {stats}");
        }
    };
    story.expect(
        "
CONFIG SET dirty.max-queued 3 => OK
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
",
    );
    stats(&mut story, &["queued (0)", "held-keys (1)", "stalled (0)"]);
    story.expect("DIRTY.CONSUME s GROUP g b =>\x20");
    stats(
        &mut story,
        &["queued (3)", "held-keys (1)", "stalled (1)", "position #4"],
    );
    // Nobody gets anything new until some are done, and then everybody does.
    story.expect(
        "
DIRTY.CONSUME s GROUP g b =>\x20
DIRTY.CONSUME s GROUP g a ACK 1 #1 COUNT 2 => #2 #3 | more
DIRTY.CONSUME s GROUP g b => #6 #7
",
    );
    stats(
        &mut story,
        &["queued (2)", "held-keys (3)", "stalled (0)", "position #7"],
    );
}
