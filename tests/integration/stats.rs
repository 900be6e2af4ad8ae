//! DIRTY.STATS: what the native commands say of a stream and its groups, and what they cannot say.

use super::support::dice::rand;
use super::support::readers::{consume, stream_of};
use super::support::{Conn, Server, text, words};
use redis::Value;
use std::collections::BTreeMap;

/// A flat array or a map, by name.
fn map(value: &Value) -> BTreeMap<String, Value> {
    let pairs: Vec<(&Value, &Value)> = match value {
        Value::Array(flat) => flat.chunks_exact(2).map(|p| (&p[0], &p[1])).collect(),
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        other => panic!("no map: {}", text(other)),
    };
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| (text(name), value.clone()))
        .collect()
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        other => panic!("no array: {}", text(other)),
    }
}

fn asked(redis: &mut Conn, command: &str) -> Value {
    redis.value(&words(command))
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        other => panic!("no number: {}", text(other)),
    }
}

/// `lag missed pending` of a group.
fn behind(redis: &mut Conn, name: &str) -> String {
    let stats = map(&asked(redis, "DIRTY.STATS s"));
    let groups = items(&stats["groups"]).iter().map(map);
    let group = groups
        .into_iter()
        .find(|group| text(&group["name"]) == name);
    let group = group.unwrap_or_else(|| panic!("no {name}"));
    ["lag", "missed", "pending"]
        .map(|field| number(&group[field]).to_string())
        .join(" ")
}

/// What STATS says is what the native commands say.
fn agrees(redis: &mut Conn) {
    let stats = map(&asked(redis, "DIRTY.STATS s"));
    let now: u64 = redis.run("TIME")[1..11].parse().unwrap();
    let stream = map(&asked(redis, "XINFO STREAM s"));
    assert_eq!(stats["length"], stream["length"]);
    assert_eq!(stats["last-id"], stream["last-generated-id"]);
    assert_eq!(stats["bytes"], asked(redis, "MEMORY USAGE s SAMPLES 0"));
    let first = match &stream["first-entry"] {
        Value::Array(entry) => entry[0].clone(),
        none => none.clone(),
    };
    assert_eq!(stats["first-id"], first);
    is_ago(&stats["oldest-event-seconds"], &first, now);
    let groups = asked(redis, "XINFO GROUPS s");
    let (told, groups) = (items(&stats["groups"]), items(&groups));
    assert_eq!(told.len(), groups.len());
    for (told, group) in told.iter().map(map).zip(groups.iter().map(map)) {
        for field in ["name", "pending", "last-delivered-id"] {
            assert_eq!(told[field], group[field]);
        }
        let name = text(&group["name"]);
        let position = text(&group["last-delivered-id"]);
        let entries = asked(redis, &format!("XRANGE s ({position} +"));
        let lag = i64::try_from(items(&entries).len()).unwrap();
        assert_eq!(told["lag"], Value::Int(lag), "{name}");
        // Redis loses count by deletions.
        if group["lag"] != Value::Nil && stream["entries-added"] == stream["length"] {
            assert_eq!(told["lag"], group["lag"], "{name}");
        }
        if position == "0-0" {
            assert_eq!(told["last-delivered-seconds"], Value::Nil);
        } else {
            is_ago(
                &told["last-delivered-seconds"],
                &group["last-delivered-id"],
                now,
            );
        }
        let pending = asked(redis, &format!("XPENDING s {name}"));
        assert_eq!(told["pending"], items(&pending)[0]);
        assert_eq!(told["lowest-pending-id"], items(&pending)[1]);
        is_ago(&told["lowest-pending-seconds"], &items(&pending)[1], now);
        let native = asked(redis, &format!("XINFO CONSUMERS s {name}"));
        let consumers = items(&told["consumers"]);
        assert_eq!(consumers.len(), items(&native).len());
        for (told, native) in consumers
            .iter()
            .map(map)
            .zip(items(&native).iter().map(map))
        {
            assert_eq!(told["name"], native["name"]);
            assert_eq!(told["pending"], native["pending"]);
            let later = number(&native["idle"]) - number(&told["idle-ms"]);
            assert!((0..1000).contains(&later), "{later} ms");
        }
        let kind = match consumers.is_empty() && told["pending"] == Value::Int(0) {
            true => "cursor",
            false => "group",
        };
        assert_eq!(text(&told["kind"]), kind);
    }
}

fn is_ago(seconds: &Value, id: &Value, now: u64) {
    if *id == Value::Nil {
        assert_eq!(*seconds, Value::Nil);
        return;
    }
    let id = text(id);
    let then: u64 = id.split('-').next().unwrap().parse().unwrap();
    let expected = i64::try_from(now.saturating_sub(then / 1000)).unwrap();
    let got = number(seconds);
    assert!(
        (expected - 1..=expected + 1).contains(&got),
        "{got} s since {id}, {now}"
    );
}

#[test]
fn every_number_is_what_the_native_commands_say() {
    let seed = std::env::var("SEED").map_or_else(|_| rand(), |seed| seed.parse().unwrap());
    eprintln!("SEED={seed}"); // shown if this fails
    let mut state = seed | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let server = Server::start();
    for _ in 0..15 {
        let mut redis = server.connect();
        redis.run("FLUSHALL");
        redis.run("DIRTY.DECLARE user STREAM s");
        redis.run("DIRTY.FLUSH user INSERT 1 0");
        for _ in 0..30 {
            let (a, b) = (random(3), random(3));
            let command = match random(13) {
                0..3 => format!("DIRTY.FLUSH user{}", " TOUCH 1".repeat(1 + b as usize)),
                3 => "XADD s * foreign entry".into(),
                4 => format!("XTRIM s MAXLEN = {}", random(12)),
                5..7 => {
                    let ids = consume(&mut redis, "s CURSOR look COUNT 1000").ids;
                    let count = ids.len().max(1) as u64;
                    match ids.get(random(count) as usize) {
                        Some(id) => format!("XDEL s {id}"),
                        None => "PING".into(),
                    }
                }
                7..10 => format!("DIRTY.CONSUME s GROUP g{a} c{b} COUNT {}", 1 + random(4)),
                10 => format!("DIRTY.CONSUME s GROUP g{a} c{b} CLAIM 0 MAXDELIVERIES 3"),
                11 => {
                    let read = consume(&mut redis, &format!("s CURSOR k{a} COUNT 3"));
                    format!("DIRTY.ACK s CURSOR k{a} {}", read.position)
                }
                _ => format!("DIRTY.SEEK s GROUP g{a} {}", if b == 0 { "$" } else { "0" }),
            };
            let reply = redis.run(&command);
            assert!(!reply.starts_with("ERR"), "{command}: {reply}");
            agrees(&mut redis);
        }
    }
}

#[test]
fn lag_and_missed_are_exact_where_the_native_ones_are_not_known() {
    let server = Server::start();
    let mut redis = stream_of(&server, 10);
    let ids = consume(&mut redis, "s CURSOR ids").ids;
    redis.run("DIRTY.SEEK s CURSOR ids 0");
    consume(&mut redis, "s GROUP g c COUNT 3");
    assert_eq!(behind(&mut redis, "g"), "7 0 3");
    redis.run(&format!("XDEL s {}", ids[5]));
    assert!(
        redis
            .run("XINFO GROUPS s")
            .contains("name g consumers (1) pending (3)")
    );
    assert!(redis.run("XINFO GROUPS s").contains("lag nil"));
    for (deleted, group, cursor) in [
        (None, "6 1 3", "9 1 0"),
        (Some(0), "6 1 3", "8 2 0"), // read by the group: pending, but not missed
        (Some(9), "5 2 3", "7 3 0"),
        (Some(3), "4 3 3", "6 4 0"),
        (Some(6), "3 4 3", "5 5 0"),
    ] {
        if let Some(place) = deleted {
            redis.run(&format!("XDEL s {}", ids[place]));
        }
        assert_eq!(behind(&mut redis, "g"), group, "{deleted:?}");
        assert_eq!(behind(&mut redis, "ids"), cursor, "{deleted:?}");
        agrees(&mut redis);
    }
    // What CONSUME then tells is what STATS said.
    assert_eq!(consume(&mut redis, "s GROUP g c").missed, "(4)");
    assert_eq!(consume(&mut redis, "s CURSOR ids").missed, "(5)");
    assert_eq!(behind(&mut redis, "g"), "0 0 6");
    redis.run("XTRIM s MAXLEN 0");
    assert_eq!(behind(&mut redis, "ids"), "0 10 0");
    agrees(&mut redis);
}

#[test]
fn readers_that_start_anywhere_have_their_lag() {
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    redis.run("DEBUG SLEEP 0.01");
    redis.run("DIRTY.FLUSH user INSERT 3 0 INSERT 4 0");
    let ids = consume(&mut redis, "s CURSOR look").ids;
    let ms = |place: usize| ids[place].split('-').next().unwrap().to_string();
    for (start, expected) in [
        ("0".into(), "4 0 0"),
        ("$".into(), "0 0 0"),
        (ms(2), "2 0 0"), // a time: before the first event of that ms, whatever its seq
        (format!("{}-0", ms(2)), "2 0 0"),
        ("99999999999999-1".into(), "0 0 0"),
        ("99999999999999".into(), "0 0 0"),
        (ids[1].clone(), "2 0 0"),
        ("1".into(), "4 0 0"),
    ] {
        redis.run(&format!("DIRTY.SEEK s CURSOR c {start}"));
        assert_eq!(behind(&mut redis, "c"), expected, "{start}");
        agrees(&mut redis);
    }
}

#[test]
fn entries_by_others_count_as_lag_and_never_as_missed() {
    for id in ["*", "99999999999999-0", "99999999999999-77"] {
        let server = Server::start();
        let mut redis = stream_of(&server, 3);
        redis.run("DIRTY.SEEK s CURSOR c 0");
        redis.run(&format!("XADD s {id} foreign entry"));
        redis.run("DIRTY.FLUSH user INSERT 4 0 INSERT 5 0");
        assert_eq!(behind(&mut redis, "c"), "6 0 0", "{id}");
        redis.run("DIRTY.SEEK s CURSOR c $");
        assert_eq!(behind(&mut redis, "c"), "0 0 0", "{id}");
        agrees(&mut redis);
    }
}

#[test]
fn a_dead_event_is_counted_until_it_is_redriven() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    let read = consume(&mut redis, "s GROUP g c");
    redis.run("DIRTY.SEEK s CURSOR k 0");
    let dead = |redis: &mut Conn| number(&map(&asked(redis, "DIRTY.STATS s"))["dead"]);
    assert_eq!(dead(&mut redis), 0);
    for id in &read.ids[..2] {
        let failed = redis.run(&format!("DIRTY.FAIL s GROUP g {id} no NOW MAXDELIVERIES 1"));
        assert_eq!(failed, "dead");
    }
    assert_eq!(
        (dead(&mut redis), behind(&mut redis, "g")),
        (2, "0 0 1".into())
    );
    assert_eq!(redis.run("DIRTY.REDRIVE s COUNT 1"), "(1)");
    assert_eq!(
        (dead(&mut redis), behind(&mut redis, "g")),
        (1, "1 0 1".into())
    );
    assert_eq!(redis.run("DIRTY.REDRIVE s"), "(1)");
    assert_eq!(
        (dead(&mut redis), behind(&mut redis, "g")),
        (0, "2 0 1".into())
    );
    assert_eq!(behind(&mut redis, "k"), "5 0 0");
    let stats = redis.run("DIRTY.STATS s");
    assert!(stats.starts_with("[length (5) "), "{stats}");
    agrees(&mut redis);
}

#[test]
fn its_shape_is_the_same_in_both_protocols() {
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    let ids = consume(&mut redis, "s GROUP g \\xff COUNT 1").ids;
    redis.run("DIRTY.SEEK s CURSOR k $");
    let last = consume(&mut redis, "s CURSOR k").position;
    let first = &ids[0];
    let bytes = redis.run("MEMORY USAGE s SAMPLES 0");
    let idle = |text: String| {
        let (start, rest) = text.split_once("idle-ms").expect("idle-ms");
        let (_, end) = rest.split_once(')').expect("a number");
        format!("{start}idle-ms{end}")
    };
    assert_eq!(
        idle(redis.run("DIRTY.STATS s")),
        format!(
            "[length (2) bytes {bytes} oldest-event-seconds (0) first-id {first} last-id {last} \
             dead (0) groups [[name g kind group lag (1) pending (1) last-delivered-id {first} \
             last-delivered-seconds (0) lowest-pending-id {first} lowest-pending-seconds (0) \
             missed (0) consumers [[name \\xff pending (1) idle-ms]]] \
             [name k kind cursor lag (0) pending (0) last-delivered-id {last} \
             last-delivered-seconds (0) lowest-pending-id nil lowest-pending-seconds nil \
             missed (0) consumers []]]]"
        )
    );
    let mut resp3 = server.connect_resp3();
    assert_eq!(
        idle(resp3.run("DIRTY.STATS s")),
        format!(
            "{{length: (2), bytes: {bytes}, oldest-event-seconds: (0), first-id: {first}, \
             last-id: {last}, dead: (0), groups: [{{name: g, kind: group, lag: (1), pending: (1), \
             last-delivered-id: {first}, last-delivered-seconds: (0), lowest-pending-id: {first}, \
             lowest-pending-seconds: (0), missed: (0), \
             consumers: [{{name: \\xff, pending: (1), idle-ms}}]}} \
             {{name: k, kind: cursor, lag: (0), pending: (0), last-delivered-id: {last}, \
             last-delivered-seconds: (0), lowest-pending-id: nil, lowest-pending-seconds: nil, \
             missed: (0), consumers: []}}]}}"
        )
    );
}

#[test]
fn a_stream_that_is_not_there_or_empty_has_nothing() {
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    assert_eq!(
        redis.run("DIRTY.STATS new"),
        "[length (0) bytes (0) oldest-event-seconds nil first-id nil last-id 0-0 dead (0) groups []]"
    );
    assert_eq!(redis.run("EXISTS new"), "(0)");
    redis.run("DIRTY.SEEK s CURSOR c 0");
    let last = consume(&mut redis, "s CURSOR c").position;
    redis.run("XTRIM s MAXLEN 0");
    let stats = redis.run("DIRTY.STATS s");
    let nothing = format!("oldest-event-seconds nil first-id nil last-id {last} dead (0) ");
    assert!(
        stats.starts_with("[length (0) bytes (") && stats.contains(&nothing),
        "{stats}"
    );
    assert_eq!(behind(&mut redis, "c"), "0 2 0");
    redis.run("DIRTY.CONSUME new CURSOR c");
    let stats = redis.run("DIRTY.STATS new");
    assert!(
        stats.contains("last-id 0-0 dead (0) groups [[name c kind cursor lag (0)"),
        "{stats}"
    );
    assert!(
        stats.contains("last-delivered-id 0-0 last-delivered-seconds nil"),
        "{stats}"
    );
}

#[test]
fn a_replica_says_the_same_and_nothing_is_written() {
    let server = Server::start();
    let replica = Server::replica_of(&server);
    let mut redis = stream_of(&server, 20);
    let ids = consume(&mut redis, "s GROUP g c COUNT 5").ids;
    redis.run("DIRTY.SEEK s CURSOR k 0");
    redis.run(&format!("XDEL s {}", ids[3]));
    redis.run(&format!(
        "DIRTY.FAIL s GROUP g {} no NOW MAXDELIVERIES 1",
        ids[0]
    ));
    server.wait_for_replica(&replica);
    let mut follower = replica.connect();
    agrees(&mut follower);
    assert_eq!(behind(&mut follower, "g"), "15 0 4");
    assert_eq!(behind(&mut follower, "k"), behind(&mut redis, "k"));
    let (before, digest) = (redis.replicated(), redis.digest());
    for connection in [&mut redis, &mut follower] {
        let stats = map(&asked(connection, "DIRTY.STATS s"));
        assert_eq!(
            (&stats["length"], &stats["dead"]),
            (&Value::Int(19), &Value::Int(1))
        );
    }
    redis.run("DIRTY.STATS new");
    assert_eq!((redis.replicated(), redis.digest()), (before, digest));
    // It is a read for scripts and users, too.
    let script = redis.run("EVAL_RO return\\_redis.call('DIRTY.STATS',KEYS[1])[2] 1 s");
    assert_eq!(script, "(19)");
}
