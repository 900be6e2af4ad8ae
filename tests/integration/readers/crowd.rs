//! A thousand readers that wait.

use crate::support::readers::{consume, read};
use crate::support::{Conn, Server, words};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const READERS: usize = 1000;

/// The n-th of them and whom it takes events from: groups in every order, with a filter or without, cursors, and READ.
fn kind(n: usize) -> (&'static str, String) {
    match n % 8 {
        0 => ("none", format!("CONSUME s GROUP none w{n} COUNT 1")),
        1 => ("stream", format!("CONSUME s GROUP stream w{n} COUNT 1")),
        2 => ("entity", format!("CONSUME s GROUP entity w{n} COUNT 1")),
        3 => ("meta", format!("CONSUME s GROUP meta w{n} COUNT 1")),
        4 => ("some", format!("CONSUME s GROUP some w{n} COUNT 1")),
        5 => ("cursor", "CONSUME s CURSOR cursor".into()),
        6 => ("rare", "CONSUME s CURSOR rare".into()),
        _ => ("read", "READ s FROM 0".into()),
    }
}

const DECLARED: [&str; 7] = [
    "GROUP none FROM 0",
    "GROUP stream FROM 0 ORDER STREAM",
    "GROUP entity FROM 0 ORDER ENTITY",
    "GROUP meta FROM 0 ORDER META m",
    "GROUP some FROM 0 WHERE OPS D",
    "CURSOR cursor FROM 0",
    "CURSOR rare FROM 0 WHERE OPS D",
];

fn started() -> (Server, Conn) {
    let server = Server::with(&["--maxclients", "2000"]);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STATELESS STREAM s");
    for reader in DECLARED {
        assert_eq!(redis.run(&format!("DIRTY.READER s {reader}")), "OK");
    }
    (server, redis)
}

/// Connections that wait, in the order in which they came.
fn waiting(server: &Server, call: impl Fn(usize) -> String) -> Vec<Conn> {
    let mut readers: Vec<Conn> = (0..READERS).map(|_| server.connect()).collect();
    for (n, reader) in readers.iter_mut().enumerate() {
        let line = format!("DIRTY.{} BLOCK 30000", call(n));
        reader.send(&words(&line)).expect("sent");
        // The order in which the server reads them must be the order in which they were sent.
        if n % 20 == 19 {
            server.wait_for_blocked(n + 1);
        }
    }
    server.wait_for_blocked(READERS);
    readers
}

fn seqs(reply: &redis::Value) -> Vec<u64> {
    let ids = read(reply).ids;
    let seq = |id: &String| id[14..].parse().expect("a seq");
    ids.iter().map(seq).collect()
}

#[test]
fn a_thousand_readers_of_every_kind_are_served_in_the_order_in_which_they_came() {
    let (server, mut redis) = started();
    let mut readers = waiting(&server, |n| kind(n).1);
    let of_kind = READERS / 8;
    // Deletes of as many entities as a kind has readers: every filter takes them, and each group's consumers share them.
    for n in 0..of_kind {
        redis.run(&format!("DIRTY.FLUSH user DELETE {n}"));
    }
    // In the stream's order one consumer has the turn: the next gets something when it has left.
    let mut got: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (n, reader) in readers.iter_mut().enumerate() {
        let (name, _) = kind(n);
        let seqs = seqs(
            &reader
                .receive()
                .unwrap_or_else(|error| panic!("{n}, {name}: {error}")),
        );
        if name == "stream" {
            let id = id_of(&mut redis, seqs[0]);
            redis.run(&format!("DIRTY.ACK s GROUP stream w{n} {id}"));
            redis.run(&format!("DIRTY.LEAVE s GROUP stream w{n}"));
        }
        got.entry(name).or_default().extend(&seqs);
    }
    for name in ["none", "stream", "entity", "meta", "some"] {
        let got = &got[name];
        let mut sorted = got.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (1..=of_kind as u64).collect::<Vec<_>>(), "{name}");
        // Those that came within one turn of the server's may be in any order among themselves.
        let late = (1..)
            .zip(got)
            .map(|(place, seq): (u64, &u64)| place.abs_diff(*seq));
        assert!(late.max() < Some(20), "{name}: {got:?}");
    }
    // Those that take nothing from each other all wake with the first event.
    for name in ["cursor", "rare", "read"] {
        assert_eq!(got[name], vec![1; of_kind], "{name}");
    }
    server.wait_for_line("INFO dirty", "dirty_consumers_blocked:0");
}

fn id_of(redis: &mut Conn, seq: u64) -> String {
    let looked = redis.value(&words(&format!("DIRTY.READ s FROM 0 COUNT {seq}")));
    read(&looked).ids.pop().expect("an id")
}

/// What comes by time or by another's doing is handed out one by one.
#[test]
fn a_thousand_consumers_get_what_comes_again_one_by_one_in_their_order() {
    for (settings, wakes) in [
        ("", "DIRTY.LEAVE s GROUP g holder"),
        ("CLAIM 8000", ""),
        ("ORDER ENTITY", "DIRTY.LEAVE s GROUP g holder"),
        ("MINAGE 3500", ""),
    ] {
        let (server, mut redis) = started();
        let line = format!("DIRTY.READER s GROUP g FROM 0 {settings}");
        assert_eq!(redis.run(&line), "OK");
        let claim = settings.contains("CLAIM") || !wakes.is_empty();
        if claim {
            flush(&mut redis, READERS);
            let held = consume(&mut redis, "s GROUP g holder COUNT 1000");
            assert_eq!(held.ids.len(), READERS);
        }
        let mut readers = waiting(&server, |n| format!("CONSUME s GROUP g w{n} COUNT 1"));
        if !claim {
            flush(&mut redis, READERS);
        }
        if !wakes.is_empty() {
            redis.run(wakes);
        }
        let start = Instant::now();
        let mut got = Vec::new();
        for (n, reader) in readers.iter_mut().enumerate() {
            let reply = reader
                .receive()
                .unwrap_or_else(|error| panic!("{n}, {settings}: {error}"));
            got.extend(seqs(&reply));
        }
        let took = start.elapsed();
        let late = (1..)
            .zip(&got)
            .map(|(place, seq): (u64, &u64)| place.abs_diff(*seq));
        assert!(late.max() < Some(20), "{settings}: {got:?}");
        got.sort_unstable();
        assert_eq!(got, (1..=READERS as u64).collect::<Vec<_>>(), "{settings}");
        assert!(took < Duration::from_secs(20), "{settings}: {took:?}");
    }
}

fn flush(redis: &mut Conn, n: usize) {
    let ops: String = (0..n).map(|n| format!(" INSERT e{n} 0")).collect();
    redis.run(&format!("DIRTY.FLUSH user{ops}"));
}

#[test]
fn a_thousand_readers_of_quiet_streams_cost_nothing_and_vanish_with_their_connections() {
    let (server, mut redis) = started();
    for stream in 0..READERS {
        redis.run(&format!(
            "DIRTY.READER s{stream} GROUP g FROM 0 CLAIM 60000"
        ));
        redis.run(&format!(
            "DIRTY.READER s{stream} CURSOR c FROM 0 WHERE OPS D"
        ));
    }
    let mut readers = waiting(&server, |n| match n % 3 {
        0 => format!("CONSUME s{n} GROUP g w"),
        1 => format!("CONSUME s{n} CURSOR c"),
        _ => format!("READ s{n} FROM 0 MINAGE 5"),
    });
    server.wait_for_line("INFO dirty", &format!("dirty_consumers_blocked:{READERS}"));
    // A flush elsewhere wakes nobody.
    flush(&mut redis, 3);
    let used = |redis: &mut Conn| -> f64 {
        let seconds = ["used_cpu_user", "used_cpu_sys"].map(|field| redis.info(field));
        seconds
            .iter()
            .map(|text| text.parse::<f64>().expect("seconds"))
            .sum()
    };
    let before = used(&mut redis);
    std::thread::sleep(Duration::from_millis(500));
    let spent = used(&mut redis) - before;
    assert!(spent < 0.25, "{spent} s of CPU in half a second");
    for (n, reader) in readers.iter_mut().enumerate().step_by(99) {
        redis.run(&format!("XADD s{n} 1-{n} a b"));
        let got = read(&reader.receive().expect("a reply"));
        assert_eq!(got.events, ["raw"], "{n}");
    }
    drop(readers);
    server.wait_for_blocked(0);
    server.wait_for_line("INFO dirty", "dirty_consumers_blocked:0");
    // Nobody who has gone takes an event along.
    redis.run("XADD s0 5-5 a b");
    assert_eq!(consume(&mut redis, "s0 GROUP g v").ids, ["5-5"]);
}

#[test]
fn many_groups_of_one_stream_wake_without_looking_at_each_other() {
    const GROUPS: usize = 500;
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STATELESS STREAM s");
    let mut time = |command: &str, make: &str| {
        let mut readers: Vec<Conn> = (0..GROUPS).map(|_| server.connect()).collect();
        for (n, reader) in readers.iter_mut().enumerate() {
            let group = format!("g{n}");
            redis.run(&make.replace("NAME", &group));
            let line = command.replace("GROUP g", &format!("GROUP {group}"));
            reader.send(&words(&line)).expect("sent");
        }
        server.wait_for_blocked(GROUPS);
        let start = Instant::now();
        redis.run("DIRTY.FLUSH user INSERT 7 0");
        for reader in &mut readers {
            reader.receive().expect("a reply");
        }
        redis.run("DEL s s:readers");
        start.elapsed()
    };
    // Other tests run beside this one.
    let mut least = |command, make| (0..3).map(|_| time(command, make)).min().expect("a time");
    let ours = least(
        "DIRTY.CONSUME s GROUP g c BLOCK 0",
        "DIRTY.READER s GROUP NAME FROM 0",
    );
    let native = least(
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
        "XGROUP CREATE s NAME 0 MKSTREAM",
    );
    // Each looking at all takes twenty times as long.
    assert!(ours < native * 7, "{ours:?} against {native:?}");
}

/// 7.0.15 remembers a client that a timer's write has woken for nothing, also when it is gone. Later servers do not, and
/// may let it wait on.
#[test]
fn a_reader_that_a_timer_wakes_for_nothing_may_be_killed() {
    let (server, mut redis) = started();
    redis.run("DIRTY.READER s GROUP g FROM 0 CLAIM 100 MAXDELIVERIES 2");
    redis.run("DIRTY.READER s:dead GROUP g FROM 0 WHERE OPS D");
    flush(&mut redis, 1);
    consume(&mut redis, "s GROUP g crashed");
    std::thread::sleep(Duration::from_millis(110));
    assert_eq!(
        consume(&mut redis, "s GROUP g crashed-too").events,
        ["e0x2"]
    );
    let wait = |command: &str| {
        let mut reader = server.connect();
        let id = reader.run("CLIENT ID");
        reader.send(&words(command)).expect("sent");
        (reader, id.trim_matches(['(', ')']).to_string())
    };
    let (mut nothing, id) = wait("DIRTY.CONSUME s:dead GROUP g x BLOCK 0");
    let _buries = wait("DIRTY.CONSUME s GROUP g y BLOCK 3000");
    server.wait_for_line("XLEN s:dead", "(1)");
    // Where nothing else is safe, it is answered.
    let patience = Duration::from_millis(500);
    nothing
        .connection
        .set_read_timeout(Some(patience))
        .expect("a timeout");
    match nothing.receive() {
        Ok(answer) => assert_eq!(read(&answer).events, [""; 0]),
        Err(error) => assert!(error.is_timeout(), "{error}"),
    }
    redis.run(&format!("CLIENT KILL ID {id}"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(redis.run("PING"), "PONG");
}

#[test]
fn what_waits_behind_a_held_key_costs_those_that_wait_nothing() {
    let (server, mut redis) = started();
    redis.run("DIRTY.READER s GROUP g FROM 0 ORDER ENTITY");
    redis.run("DIRTY.FLUSH user INSERT 7 0");
    consume(&mut redis, "s GROUP g holder");
    let _readers: Vec<Conn> = (0..200)
        .map(|n| {
            let mut reader = server.connect();
            let line = format!("DIRTY.CONSUME s GROUP g w{n} BLOCK 0");
            reader.send(&words(&line)).expect("sent");
            reader
        })
        .collect();
    server.wait_for_blocked(200);
    let start = Instant::now();
    for _ in 0..300 {
        redis.run("DIRTY.FLUSH user DELETE 7");
    }
    // If each reads them all again for each, it takes 20 s.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    server.wait_for_blocked(200);
    assert_eq!(redis.run("XLEN s"), "(301)");
}

/// A group that has as much queued as it may gives nothing new to anybody, also not an empty answer.
#[test]
fn readers_of_a_group_that_is_stalled_wait() {
    let (server, mut redis) = started();
    redis.run("CONFIG SET dirty.max-queued 1");
    redis.run("DIRTY.READER s GROUP g FROM 0 ORDER ENTITY");
    redis.run("DIRTY.FLUSH user INSERT 7 0");
    consume(&mut redis, "s GROUP g holder");
    for _ in 0..3 {
        redis.run("DIRTY.FLUSH user DELETE 7");
    }
    let mut readers: Vec<Conn> = (0..3).map(|_| server.connect()).collect();
    for (n, reader) in readers.iter_mut().enumerate() {
        let line = format!("DIRTY.CONSUME s GROUP g w{n} BLOCK 0");
        reader.send(&words(&line)).expect("sent");
        server.wait_for_blocked(n + 1);
    }
    for n in 20..25 {
        redis.run(&format!("DIRTY.FLUSH user INSERT {n} 0"));
        std::thread::sleep(Duration::from_millis(20));
        server.wait_for_blocked(3);
    }
    redis.run("DIRTY.LEAVE s GROUP g holder");
    let got = read(&readers[0].receive().expect("a reply"));
    assert!(!got.ids.is_empty(), "{got:?}");
}

#[test]
fn readers_that_look_through_a_backlog_leave_the_server_to_others() {
    const BEHIND: usize = 20_000;
    let (server, mut redis) = started();
    for _ in 0..BEHIND / 5000 {
        flush(&mut redis, 5000);
    }
    redis.run("DIRTY.READER s CURSOR far FROM 0 WHERE ENTITY other");
    let mut readers: Vec<Conn> = (0..60).map(|_| server.connect()).collect();
    for (n, reader) in readers.iter_mut().enumerate() {
        let line = match n % 2 {
            0 => "DIRTY.READ s FROM 0 BLOCK 0 WHERE ENTITY other",
            _ => "DIRTY.CONSUME s CURSOR far BLOCK 0",
        };
        reader.send(&words(line)).expect("sent");
    }
    let mut worst = Duration::ZERO;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let asked = Instant::now();
        redis.run("DIRTY.FLUSH user INSERT e7 0");
        worst = worst.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    // Each looks at 10,000 for 20 ms in one go otherwise.
    server.wait_for_blocked(60);
    assert!(worst < Duration::from_millis(400), "{worst:?}");
    redis.run("DIRTY.DECLARE other STATELESS STREAM s");
    redis.run("DIRTY.FLUSH other INSERT 5 0");
    for (n, reader) in readers.iter_mut().enumerate() {
        let got = read(&reader.receive().expect("a reply"));
        assert_eq!(got.events, ["5"], "{n}");
    }
}

#[test]
fn nobody_is_answered_because_a_reader_of_another_stream_was_woken() {
    let (server, mut redis) = started();
    redis.run("DIRTY.READER s GROUP g FROM 0 WHERE OPS D");
    redis.run("DIRTY.READER t GROUP h FROM 0 CLAIM 60000");
    for n in 1..9 {
        redis.run(&format!("XADD t 1-{n} a b"));
    }
    let mut waiting: Vec<Conn> = (0..50).map(|_| server.connect()).collect();
    for (n, reader) in waiting.iter_mut().enumerate() {
        let line = format!("DIRTY.CONSUME s GROUP g w{n} BLOCK 0");
        reader.send(&words(&line)).expect("sent");
    }
    server.wait_for_blocked(50);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let mut worker = server.connect();
            scope.spawn(move || {
                while start.elapsed() < Duration::from_secs(2) {
                    let got = consume(&mut worker, &format!("t GROUP h k{n} COUNT 1 BLOCK 100"));
                    for id in got.ids {
                        worker.run(&format!("DIRTY.FAIL t GROUP h k{n} why DELAY 2 {id}"));
                    }
                }
            });
        }
        while start.elapsed() < Duration::from_secs(2) {
            redis.run("DIRTY.FLUSH user INSERT 7 0");
            // One call looks at 10,000 that it does not give.
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    server.wait_for_blocked(50);
    redis.run("DIRTY.FLUSH user DELETE 7");
    server.wait_for_blocked(49);
}

fn time_to_give_back() -> Duration {
    let (server, mut redis) = started();
    redis.run("DIRTY.READER s GROUP g FROM 0");
    flush(&mut redis, READERS);
    consume(&mut redis, "s GROUP g holder COUNT 1000");
    let mut readers = waiting(&server, |n| format!("CONSUME s GROUP g w{n} COUNT 1"));
    let start = Instant::now();
    redis.run("DIRTY.LEAVE s GROUP g holder");
    for (n, reader) in readers.iter_mut().enumerate() {
        let got = read(&reader.receive().expect("a reply"));
        assert_eq!(got.ids.len(), 1, "{n}");
    }
    start.elapsed()
}

#[test]
fn a_thousand_events_that_are_given_back_are_taken_at_once() {
    // One in each ms takes a second and a half. Other tests run beside this one.
    let fast = Duration::from_millis(900);
    assert!((0..4).any(|_| time_to_give_back() < fast));
}

#[test]
fn those_that_wait_for_a_reader_share_its_name() {
    const READERS: usize = 100;
    let (server, mut redis) = started();
    // Without what the server keeps of clients: their buffers, and the arguments of each call.
    let bytes = |redis: &mut Conn| -> i64 {
        let clients = redis.info("mem_clients_normal");
        redis.used_memory() - clients.parse::<i64>().expect("bytes")
    };
    let mut bytes_of_one = |name: &str| {
        redis.raw(&["DIRTY.READER", "s", "GROUP", name, "FROM", "0"]);
        let mut clients: Vec<Conn> = (0..READERS).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.run("PING");
        }
        let before = bytes(&mut redis);
        for (n, client) in clients.iter_mut().enumerate() {
            let consumer = format!("w{n}");
            let words = ["DIRTY.CONSUME", "s", "GROUP", name, &consumer, "BLOCK", "0"];
            client.send(&words).expect("sent");
        }
        server.wait_for_blocked(READERS);
        let bytes = (bytes(&mut redis) - before) / READERS as i64;
        drop(clients);
        server.wait_for_blocked(0);
        bytes
    };
    bytes_of_one("first"); // The server's buffers grow.
    let mut more = || bytes_of_one(&"g".repeat(1024)) - bytes_of_one("g");
    // Once in the arguments that the server keeps. What it says of its clients is as old as its last look at each, and
    // their buffers may have grown or shrunk since.
    let more: Vec<i64> = (0..4).map(|_| more()).collect();
    let least = more.iter().map(|bytes| bytes.abs()).min();
    assert!(least < Some(2 * 1024), "{more:?} bytes more");
}
