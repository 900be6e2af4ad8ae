//! BLOCK: a reader waits, the server does not.

use super::support::readers::{consume, reply, waiting};
use super::support::{Conn, Server, wait_until, words};
use std::time::{Duration, Instant};

const READERS: [&str; 2] = ["GROUP g c", "CURSOR c"];

fn server() -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    (server, redis)
}

#[test]
fn a_reader_that_waits_wakes_on_the_next_event() {
    for reader in READERS {
        let (server, mut redis) = server();
        let mut reader = waiting(&server, reader, "0");
        assert_eq!(redis.run("PING"), "PONG");
        redis.run("DIRTY.FLUSH user INSERT 7 0");
        let woken = reply(&mut reader);
        assert!(woken.contains("entity_id 7 op insert"), "{woken}");
        assert_eq!(
            redis
                .run("INFO dirty")
                .matches("dirty_consumers_blocked:0")
                .count(),
            1
        );
    }
}

#[test]
fn native_readers_that_wait_wake_too() {
    let (server, mut redis) = server();
    for command in [
        "XREAD BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    ] {
        redis.run("DEL s");
        redis.run("XGROUP CREATE s g $ MKSTREAM");
        let mut reader = server.connect();
        reader.send(&words(command)).unwrap();
        server.wait_for_blocked(1);
        redis.run("DIRTY.FLUSH user SNAPSHOT 7 0 DELETE 7");
        assert!(reply(&mut reader).starts_with("[[s [["), "{command}");
    }
}

#[test]
fn a_reader_wakes_on_entries_by_hand_and_on_a_key_that_takes_the_streams_place() {
    for (others, expected) in [
        ("XADD s * a b", "fields [a b]"),
        ("RENAME t s", "fields [x y]"),
        ("COPY t s REPLACE", "fields [x y]"),
        ("RENAME larger s", "NOGROUP the stream \"s\" no longer has"),
        ("RENAME older s", "fields [x y]"),
        (
            "RENAME list s",
            "WRONGTYPE the key \"s\" does not hold a stream",
        ),
    ] {
        for kind in READERS {
            let (server, mut redis) = server();
            redis.run("XADD t * x y");
            redis.run("XADD older 1-0 x y");
            redis.run("DIRTY.FLUSH user SNAPSHOT 1 0 DELETE 1");
            redis.run(&format!("DIRTY.CONSUME s {kind}"));
            if kind.starts_with("GROUP") {
                redis.run("XTRIM s MAXLEN 0");
            } else {
                redis.run("DIRTY.ACK s CURSOR c 99999999999999-1");
            }
            // The same stream grown, but for its group.
            redis.run("COPY s larger");
            redis.run("XGROUP DESTROY larger g");
            redis.run("XGROUP DESTROY larger c");
            redis.run("XADD larger * x y");
            redis.run("RPUSH list x");
            let mut reader = waiting(&server, kind, "5000");
            redis.run(others);
            let woken = reply(&mut reader);
            assert!(woken.contains(expected), "{others}, {kind}: {woken}");
            assert_eq!(redis.run("PING"), "PONG");
        }
    }
}

#[test]
fn a_reader_whose_stream_is_deleted_waits_on_and_gets_what_comes() {
    for kind in READERS {
        let (server, mut redis) = server();
        redis.run("DIRTY.FLUSH user INSERT 1 0 DELETE 1 INSERT 1 0");
        let reader = format!("{kind} FROM $");
        redis.run(&format!("DIRTY.CONSUME s {reader}"));
        let mut reader = waiting(&server, &reader, "10000");
        // Within the same ms the new stream could look just like the old one, grown.
        redis.run("DEBUG SLEEP 0.002");
        redis.run("DEL s");
        redis.run("DIRTY.FLUSH user INSERT 2 0 INSERT 3 0 INSERT 4 0 INSERT 5 0");
        let woken = reply(&mut reader);
        assert!(woken.contains("entity_id 2"), "{kind}: {woken}");
    }
}

#[test]
fn a_reader_whose_group_is_destroyed_is_told() {
    for (kind, name) in READERS.iter().zip(["g", "c"]) {
        let (server, mut redis) = server();
        redis.run("DIRTY.FLUSH user INSERT 1 0");
        redis.run(&format!("DIRTY.CONSUME s {kind} FROM $"));
        let mut reader = waiting(&server, kind, "10000");
        redis.run(&format!("XGROUP DESTROY s {name}"));
        let told = format!(
            "NOGROUP the stream \"s\" no longer has \"{name}\", for which this reader waited"
        );
        assert_eq!(reply(&mut reader), told);
    }
}

#[test]
fn a_cursor_that_is_moved_back_while_its_reader_waits_replays() {
    let (server, mut redis) = server();
    for id in 1..=5 {
        redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
    }
    redis.run("DIRTY.CONSUME s CURSOR c");
    redis.run("DIRTY.ACK s CURSOR c 99999999999999-1");
    let mut reader = waiting(&server, "CURSOR c", "10000");
    redis.run("XGROUP SETID s c 0");
    redis.run("DIRTY.FLUSH user INSERT 6 0");
    let woken = reply(&mut reader);
    for id in 1..=6 {
        assert!(woken.contains(&format!("entity_id {id}")), "{woken}");
    }
}

#[test]
fn the_time_is_up_after_so_many_ms() {
    let (server, mut redis) = server();
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    for (reader, expected) in [
        ("GROUP g c FROM $", "[events [] position nil missed (0)]"),
        (
            "CURSOR c FROM 99999999999999-1",
            "[events [] position 99999999999999-1 missed (0)]",
        ),
    ] {
        let start = Instant::now();
        let mut reader = waiting(&server, reader, "150");
        assert_eq!(reply(&mut reader), expected);
        let waited = start.elapsed();
        assert!((150..5000).contains(&waited.as_millis()), "{waited:?}");
    }
    let mut resp3 = server.connect_resp3();
    assert_eq!(
        resp3.run("DIRTY.CONSUME s GROUP g c BLOCK 20"),
        "{events: [], position: nil, missed: (0)}"
    );
}

#[test]
fn client_unblock_ends_the_wait() {
    let (server, mut redis) = server();
    for (how, expected) in [
        ("", "[events [] position nil missed (0)]"),
        ("TIMEOUT", "[events [] position nil missed (0)]"),
        ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        let mut reader = server.connect();
        let id = reader.run("CLIENT ID");
        reader
            .send(&words("DIRTY.CONSUME s GROUP g c BLOCK 0"))
            .unwrap();
        server.wait_for_blocked(1);
        let id = id.trim_matches(['(', ')']);
        assert_eq!(redis.run(&format!("CLIENT UNBLOCK {id} {how}")), "(1)");
        assert_eq!(reply(&mut reader), expected);
        // It is a client like any other again.
        assert_eq!(reader.run("PING"), "PONG");
    }
    assert!(
        redis
            .run("INFO dirty")
            .contains("dirty_consumers_blocked:0")
    );
}

#[test]
fn nobody_waits_in_a_transaction_or_script() {
    let (_server, mut redis) = server();
    let empty = "[events [] position nil missed (0)]";
    redis.run("MULTI");
    redis.run("DIRTY.CONSUME s GROUP g c BLOCK 0");
    assert_eq!(redis.run("EXEC"), format!("[{empty}]"));
    let script = "return redis.call('DIRTY.CONSUME', 's', 'GROUP', 'g', 'c', 'BLOCK', '0')";
    assert_eq!(redis.raw(&["EVAL", script, "0"]), empty);
    let function = "#!lua name=l\nredis.register_function('f', function() \
        return redis.call('DIRTY.CONSUME', 's', 'GROUP', 'g', 'c', 'BLOCK', '0') end)";
    redis.raw(&["FUNCTION", "LOAD", function]);
    assert_eq!(redis.run("FCALL f 0"), empty);
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    assert!(redis.raw(&["EVAL", script, "0"]).contains("entity_id 1"));
}

#[test]
fn readers_are_served_in_the_order_they_came() {
    let (server, mut redis) = server();
    let names = ["a", "b", "c", "d"];
    let mut readers: Vec<Conn> = names
        .iter()
        .map(|name| waiting(&server, &format!("GROUP g {name} COUNT 1"), "0"))
        .collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        redis.run(&format!("DIRTY.FLUSH user INSERT {number} 0"));
        let woken = reply(reader);
        assert!(woken.contains(&format!("entity_id {number}")), "{woken}");
        assert!(woken.ends_with("missed (0)]"), "{woken}");
    }
    // Cursors do not take anything from each other: all of them wake.
    let mut readers: Vec<Conn> = names
        .iter()
        .map(|name| waiting(&server, &format!("CURSOR c{name} FROM $"), "0"))
        .collect();
    redis.run("DIRTY.FLUSH user INSERT last 0");
    for reader in &mut readers {
        assert!(reply(reader).contains("entity_id last"));
    }
}

#[test]
fn a_reader_that_acknowledges_and_waits_has_acknowledged() {
    let (server, mut redis) = server();
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    let id = redis.run("XRANGE s - +")[2..]
        .split(' ')
        .next()
        .unwrap()
        .to_string();
    redis.run("DIRTY.CONSUME s GROUP g c");
    let mut group = waiting(&server, &format!("GROUP g c ACK 1 {id}"), "0");
    assert!(redis.run("XPENDING s g").starts_with("[(0)"));
    let mut cursor = waiting(&server, &format!("CURSOR k ACK {id}"), "0");
    redis.run("DIRTY.FLUSH user INSERT 2 0");
    for reader in [&mut group, &mut cursor] {
        let woken = reply(reader);
        assert!(
            woken.contains("entity_id 2") && !woken.contains("entity_id 1"),
            "{woken}"
        );
    }
}

#[test]
fn a_thousand_readers_wait_and_vanish_with_their_connections() {
    let (server, mut redis) = server();
    let mut readers: Vec<Conn> = (0..1000).map(|_| server.connect()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        let command = format!("DIRTY.CONSUME s GROUP g c{number} COUNT 1 BLOCK 0");
        reader.send(&words(&command)).unwrap();
    }
    server.wait_for_blocked(1000);
    assert!(
        redis
            .run("INFO dirty")
            .contains("dirty_consumers_blocked:1000")
    );
    redis.run("DIRTY.FLUSH user INSERT 0 0");
    assert!(reply(&mut readers[0]).contains("entity_id 0"));
    drop(readers);
    server.wait_for_line("INFO dirty", "dirty_consumers_blocked:0");
    // Nobody who has gone takes an event with them.
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    assert!(
        redis
            .run("DIRTY.CONSUME s GROUP g c")
            .contains("entity_id 1")
    );
}

#[test]
fn waiting_and_reading_do_not_grow_the_memory() {
    let (server, mut redis) = server();
    let mut reader = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s MAXLEN 10");
    redis.ok(&["CONFIG", "SET", "hz", "500"]); // so that a ms is not ten times as long
    let mut memory_after = |times: usize| {
        for _ in 0..times {
            for waits in ["GROUP g c CLAIM 60000", "CURSOR c"] {
                reader.run(&format!("DIRTY.CONSUME s {waits} BLOCK 1"));
                let command = format!("DIRTY.CONSUME s {waits} BLOCK 5000");
                reader.send(&words(&command)).unwrap();
                let event = redis.run("DIRTY.FLUSH user WITHEVENTS SNAPSHOT 1 0 TOUCH 1");
                let got = reply(&mut reader);
                let (_, id) = got.split_once("[id ").expect("an event");
                let id = id.split(' ').next().unwrap_or_default();
                assert!(event.contains(id), "{got}");
                match waits {
                    "CURSOR c" => reader.run(&format!("DIRTY.ACK s CURSOR c {id}")),
                    _ => {
                        reader.run(&format!("DIRTY.FAIL s GROUP g {id} why NOW"));
                        reader.run(&format!("DIRTY.FAIL s GROUP g {id} why MAXDELIVERIES 1"));
                        reader.run("DIRTY.REDRIVE s");
                        reader.run("DIRTY.CONSUME s GROUP g d COUNT 100");
                        reader.run("DIRTY.LEAVE s GROUP g d");
                        reader.run("DIRTY.SEEK s GROUP g $");
                        redis.run("DEL s s:dead s:failures s:done user:1");
                        reader.run("DIRTY.STATS s")
                    }
                };
            }
        }
        redis.used_memory()
    };
    memory_after(100);
    let before = memory_after(10);
    let grown = memory_after(300) - before;
    assert!(grown < 20_000, "{grown} bytes");
}

#[test]
fn many_groups_of_one_stream_wake_without_looking_at_each_other() {
    let (server, mut redis) = server();
    let mut time = |command: &str| {
        let mut readers: Vec<Conn> = (0..500).map(|_| server.connect()).collect();
        for (number, reader) in readers.iter_mut().enumerate() {
            let group = format!("g{number}");
            redis.run(&format!("XGROUP CREATE s {group} 0 MKSTREAM"));
            reader
                .send(&words(
                    &command.replace("GROUP g", &format!("GROUP {group}")),
                ))
                .unwrap();
        }
        server.wait_for_blocked(500);
        let start = Instant::now();
        redis.run("DIRTY.FLUSH user INSERT 7 0");
        for reader in &mut readers {
            let reply = reply(reader);
            assert!(reply.contains("-1 "), "{reply}");
        }
        redis.run("DEL s user:7");
        start.elapsed()
    };
    // Other tests run beside this one.
    let mut least = |command| (0..3).map(|_| time(command)).min().expect("a time");
    let ours = least("DIRTY.CONSUME s GROUP g c BLOCK 0");
    let native = least("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    // Each looking at all takes twenty times as long.
    assert!(ours < native * 7, "{ours:?} against {native:?}");
}

#[test]
fn a_primary_that_becomes_a_replica_sends_its_readers_away() {
    let (server, mut redis) = server();
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    let mut readers: Vec<Conn> = TIMED
        .iter()
        .map(|reader| waiting(&server, reader, "0"))
        .collect();
    let primary = Server::start();
    redis.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    for reader in &mut readers {
        let reply = reply(reader);
        assert!(reply.starts_with("UNBLOCKED"), "{reply}");
    }
    // Nobody's timer writes to a replica.
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(redis.run("PING"), "PONG");
}

/// Readers that wait for a write, and for what comes with time.
const TIMED: [&str; 4] = [
    "GROUP g c FROM $",
    "GROUP h c CLAIM 100 FROM $",
    "GROUP i c SINGLE 100 FROM $",
    "CURSOR k LAG 100 FROM $",
];

#[test]
fn readers_that_wait_when_the_primary_steps_down_read_on_from_the_new_one() {
    let (primary, mut redis) = server();
    let replica = Server::replica_of(&primary);
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    // What these hold is claimable after the failover only.
    for group in ["h", "i"] {
        redis.run(&format!("DIRTY.CONSUME s GROUP {group} gone"));
    }
    let mut readers: Vec<Conn> = TIMED
        .iter()
        .map(|reader| waiting(&primary, &reader.replace("100", "20000"), "0"))
        .collect();
    primary.wait_for_replica(&replica);
    let to = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 10000", replica.port);
    assert_eq!(redis.run(&to), "OK");
    for reader in &mut readers {
        let reply = reply(reader);
        assert!(reply.starts_with("UNBLOCKED"), "{reply}");
    }
    replica.wait_for_line("INFO replication", "role:master");
    let mut redis = replica.connect();
    redis.run("DIRTY.FLUSH user INSERT 2 0");
    for (reader, expected) in TIMED
        .iter()
        .zip([&["2"][..], &["2", "1"], &["2", "1"], &["2"]])
    {
        let mut got = Vec::new();
        wait_until("all that is to be read", || {
            let read = consume(
                &mut redis,
                &format!("s {reader} PENDING BLOCK 200")
                    .replace("k LAG 100 FROM $ PENDING", "k LAG 100"),
            );
            got.extend(read.events);
            expected
                .iter()
                .all(|id| got.iter().any(|event| event.split('x').next() == Some(id)))
        });
    }
}

#[test]
fn a_server_with_waiting_readers_stops_at_once() {
    let (mut server, _) = server();
    let _readers: Vec<Conn> = (0..12)
        .map(|reader| waiting(&server, TIMED[reader % TIMED.len()], "0"))
        .collect();
    let start = Instant::now();
    server.restart();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_a_woken_reader_takes_is_replicated() {
    let (primary, mut redis) = server();
    let replica = Server::replica_of(&primary);
    let mut group = waiting(&primary, "GROUP g c", "0");
    let mut created = waiting(&primary, "GROUP h c FROM $", "0");
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    reply(&mut group);
    reply(&mut created);
    primary.wait_for_replica(&replica);
    for group in ["g", "h"] {
        let pending = format!("XPENDING s {group}");
        assert!(redis.run(&pending).starts_with("[(1)"));
        assert_eq!(replica.connect().run(&pending), redis.run(&pending));
    }
}

/// Its time is up in the moment in which its timer finds something.
#[test]
fn a_reader_is_answered_once_whatever_comes_at_the_same_time() {
    let (server, mut redis) = server();
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    redis.run("DIRTY.CONSUME s GROUP g gone");
    let mut reader = server.connect();
    let mut claimed = 0;
    for ms in (1..12).chain((1..12).rev()).cycle().take(400) {
        let command = format!("DIRTY.CONSUME s GROUP g c CLAIM {ms} BLOCK {ms}");
        claimed += usize::from(!consume(&mut reader, &command[14..]).events.is_empty());
        // What stands next is the answer to this, and no second one to that.
        assert_eq!(reader.run("PING"), "PONG");
    }
    assert!(claimed > 50, "{claimed}");
}
