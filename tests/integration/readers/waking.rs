//! What ends a wait, and what does not: writes, time, other commands, and what befalls the keys.

use crate::support::readers::{blocked, field};
use crate::support::story::{Story, got};
use crate::support::{Conn, Server, leaks, text, wait_until, words};
use std::time::{Duration, Instant};

/// Of every kind.
const DECLARED: [&str; 4] = [
    "GROUP g FROM 0",
    "GROUP o FROM 0 ORDER ENTITY",
    "CURSOR c FROM 0",
    "CURSOR f FROM 0 WHERE ENTITY user",
];

const CALLS: [&str; 5] = [
    "CONSUME s GROUP g w",
    "CONSUME s GROUP o w",
    "CONSUME s CURSOR c",
    "CONSUME s CURSOR f",
    "READ s FROM $",
];

fn declared() -> Story {
    let mut story = Story::begin();
    declare(&mut story);
    story
}

fn declare(story: &mut Story) {
    for reader in DECLARED {
        story.expect(&format!("DIRTY.READER s {reader} => OK"));
    }
}

fn all_wait(story: &mut Story, block: u32) -> Vec<Conn> {
    let wait = |call: &&str| story.wait(&format!("DIRTY.{call} BLOCK {block}"));
    CALLS.iter().map(wait).collect()
}

/// How another command gives a waiting consumer `w` of the group `g` the event 1, which `holder` has.
const BY_COMMANDS: &[(&str, &str, &str)] = &[
    ("", "DIRTY.LEAVE s GROUP g holder", "#1"),
    ("ORDER STREAM", "DIRTY.LEAVE s GROUP g holder", "#1"),
    ("ORDER ENTITY", "DIRTY.LEAVE s GROUP g holder", "#1"),
    ("", "DIRTY.FAIL s GROUP g holder why DELAY 0 #1", "#1:2!1"),
    ("", "DIRTY.FAIL s GROUP g holder why DELAY 60 #1", "#1:2!1"),
    ("CLAIM 900", "DIRTY.FAIL s GROUP g holder why #1", "#1:2!1"),
    ("", "DIRTY.FAIL s GROUP g me why FORCE DELAY 0 #1", "#1:2!1"),
    (
        "ORDER ENTITY",
        "DIRTY.FAIL s GROUP g holder why DELAY 0 #1",
        "#1:2!1",
    ),
    ("", "DIRTY.SEEK s GROUP g 0", "#1"),
    ("CLAIM 900", "PING", "#1:2"),
    ("CLAIM 900 MAXDELIVERIES 3", "PING", "#1:2"),
    ("CLAIM 900 ORDER STREAM", "PING", "#1:2"),
    ("CLAIM 900 ORDER ENTITY", "PING", "#1:2"),
    ("", "DIRTY.READER s GROUP g CLAIM 90", "#1:2"),
];

#[test]
fn whatever_gives_an_event_back_wakes_one_that_waits() {
    for (settings, command, expected) in BY_COMMANDS {
        let mut story = Story::with(&["1"]);
        story.expect(&format!(
            "DIRTY.READER s GROUP g FROM 0 {settings} => OK\nDIRTY.CONSUME s GROUP g holder => #1"
        ));
        let mut first = story.wait("DIRTY.CONSUME s GROUP g w BLOCK 20000");
        let _second = story.wait("DIRTY.CONSUME s GROUP g v BLOCK 20000");
        let start = Instant::now();
        story.run(command);
        assert_eq!(got(&mut first), *expected, "{settings}: {command}");
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(3),
            "{settings}: {command}: {took:?}"
        );
        if !settings.contains("CLAIM") && !command.contains("CLAIM") {
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(blocked(&story.server), 1, "{settings}: {command}");
        }
    }
}

/// What lets a waiting consumer have event 2, which is new, queued, dead or held back.
const BY_ROOM: &[(&str, &str, &str)] = &[
    // Settings, what is done before, and what lets `w` have #2.
    (
        "MAXPENDING 1",
        "DIRTY.CONSUME s GROUP g w => #1",
        "DIRTY.ACK s GROUP g w #1",
    ),
    (
        "MAXPENDING 1",
        "DIRTY.CONSUME s GROUP g w => #1",
        "DIRTY.FAIL s GROUP g w why FATAL #1",
    ),
    (
        "MAXPENDING 1",
        "DIRTY.CONSUME s GROUP g w => #1",
        "DIRTY.ACK s GROUP g me FORCE #1",
    ),
    (
        "MAXPENDING 1",
        "DIRTY.CONSUME s GROUP g w => #1",
        "DIRTY.FAIL s GROUP g w why DELAY 60000 #1",
    ),
    (
        "ORDER ENTITY",
        "DIRTY.CONSUME s GROUP g holder COUNT 1 => #1 | more",
        "DIRTY.ACK s GROUP g holder #1",
    ),
    (
        "ORDER ENTITY",
        "DIRTY.CONSUME s GROUP g holder COUNT 1 => #1 | more",
        "DIRTY.FAIL s GROUP g holder why FATAL #1",
    ),
    (
        "ORDER STREAM",
        "DIRTY.CONSUME s GROUP g w COUNT 1 => #1 | more",
        "DIRTY.ACK s GROUP g w #1",
    ),
    (
        "ORDER ENTITY ONDEAD PARK",
        "DIRTY.CONSUME s GROUP g holder COUNT 1 => #1 | more\nDIRTY.FAIL s GROUP g holder why FATAL #1 => [dead]",
        "DIRTY.DISCARD s GROUP g ALL",
    ),
    (
        "",
        "DIRTY.CONSUME s GROUP g w COUNT 1 => #1 | more\nDIRTY.PAUSE s GROUP g ON => OK",
        "DIRTY.PAUSE s GROUP g OFF",
    ),
    (
        "MINAGE 60000",
        "PING => PONG",
        "DIRTY.READER s GROUP g MINAGE 1",
    ),
    (
        "",
        "DIRTY.CONSUME s GROUP g x => #1 #2\nDIRTY.FAIL s GROUP g x why FATAL #1 #2 => [dead dead]",
        "DIRTY.REDRIVE s GROUP g IDS 1 #2",
    ),
    (
        "",
        "DIRTY.CONSUME s GROUP g x => #1 #2\nDIRTY.FAIL s GROUP g x why DELAY 60000 #1 #2 => [retry retry]",
        "DIRTY.REDRIVE s GROUP g IDS 1 #2",
    ),
];

#[test]
fn whatever_makes_room_or_lifts_a_bar_wakes_one_that_waits() {
    for (settings, before, command) in BY_ROOM {
        let mut story = Story::with(&["1", "1"]);
        story.expect(&format!("DIRTY.READER s GROUP g FROM 0 {settings} => OK"));
        story.expect(before);
        let mut waits = story.wait("DIRTY.CONSUME s GROUP g w BLOCK 20000");
        std::thread::sleep(Duration::from_millis(20));
        story.server.wait_for_blocked(1);
        let start = Instant::now();
        let done = story.run(command);
        assert!(!done.starts_with("ERR"), "{command}: {done}");
        let reply = got(&mut waits);
        assert!(reply.contains('#'), "{settings}: {command}: {reply}");
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(3),
            "{settings}: {command}: {took:?}"
        );
    }
}

#[test]
fn what_gives_a_waiting_reader_nothing_leaves_it_waiting() {
    let mut story = declared();
    story.publish(&["1"]);
    for call in &CALLS[..4] {
        let reply = story.run(&format!("DIRTY.{call}"));
        if let Some((reader, _)) = call.split_once("CURSOR").map(|(_, name)| (name, "")) {
            let words = story.words(&format!("DIRTY.{call}"));
            let reply = crate::support::text(&story.redis.value(&words));
            let position = reply.split("position ").nth(1).expect("a position");
            let position = position.trim_matches(']');
            story.run(&format!("DIRTY.ACK s CURSOR{reader} {position}"));
        }
        assert!(reply.starts_with("#1"), "{call}: {reply}");
    }
    let _waits = all_wait(&mut story, 0);
    for command in [
        "DIRTY.HOLD s GROUP g w",
        "DIRTY.ACK s GROUP g w 1-1",
        "DIRTY.PENDING s GROUP g",
        "DIRTY.STATS s",
        "DIRTY.READER s GROUP g CLAIM 50000",
        "DIRTY.READER s CURSOR c MINAGE 1",
        "DIRTY.READER s GROUP other FROM 0",
        "DIRTY.SEEK s GROUP other $",
        "DIRTY.FORGET s GROUP other",
        "DIRTY.PAUSE s GROUP g ON",
        "DIRTY.PAUSE s GROUP g OFF",
        "DIRTY.SEEK s GROUP g $",
        "DIRTY.SEEK s CURSOR c $",
        "DIRTY.ACK s GROUP g w #1",
        "DIRTY.REDRIVE s GROUP g ALL",
        "XTRIM s MAXLEN 0",
        "XGROUP CREATE s n 0",
        "DIRTY.DECLARE user STATELESS STREAM s MAXLEN 5",
    ] {
        let reply = story.run(command);
        assert!(!reply.starts_with("NO"), "{command}: {reply}");
        std::thread::sleep(Duration::from_millis(15));
        assert_eq!(blocked(&story.server), CALLS.len(), "{command}: {reply}");
    }
}

/// What befalls the key of the stream, and what each kind of reader is told: first that it need not be told at all.
const OF_THE_STREAM: &[(&str, &str)] = &[
    ("DEL s", "waits"),
    ("UNLINK s", "waits"),
    ("RENAME s elsewhere", "waits"),
    ("PEXPIRE s 1", "waits"),
    (
        "RENAME list s",
        "WRONGTYPE the key \"s\" does not hold a stream",
    ),
    ("RENAME older s", "#2"),
    ("COPY older s REPLACE", "#2"),
    ("RENAME larger s", "#1"),
    ("XADD s 9999999999999-9 a b", "#9"),
];

#[test]
fn a_reader_whose_stream_goes_waits_on_and_one_whose_stream_is_replaced_reads_that() {
    for (command, expected) in OF_THE_STREAM {
        let mut story = declared();
        // Each reader has read the first event, and waits for more.
        story.publish(&["1"]);
        story.run("DEBUG SLEEP 0.003");
        for (reader, _) in [
            ("GROUP g", 0),
            ("GROUP o", 0),
            ("CURSOR c", 0),
            ("CURSOR f", 0),
        ] {
            story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
        }
        story.expect(
            "XADD older 5-2 a b => 5-2
COPY s larger => (1)
DIRTY.DECLARE another STATELESS STREAM larger => OK
RPUSH list x => (1)",
        );
        story.run("DIRTY.FLUSH another INSERT 7 0");
        let mut waits = all_wait(&mut story, 20_000);
        story.run(command);
        std::thread::sleep(Duration::from_millis(30));
        for (n, client) in waits.iter_mut().enumerate() {
            let case = format!("{command}: {}", CALLS[n]);
            match *expected {
                "waits" => {}
                told if told.starts_with('W') => assert_eq!(got(client), told, "{case}"),
                _ if n == 4 || n == 3 => {} // READ stands beyond a stream that is older; the filter takes no other's
                _ => {
                    let reply = got(client);
                    assert!(
                        reply.contains("5-2") || reply.contains('#'),
                        "{case}: {reply}"
                    );
                }
            }
        }
        if *expected == "waits" {
            story.server.wait_for_blocked(CALLS.len());
            story.run("DEBUG SLEEP 0.003");
            story.publish(&["2"]);
            for (n, client) in waits.iter_mut().enumerate() {
                let reply = got(client);
                let case = format!("{command}: {}: {reply}", CALLS[n]);
                assert!(reply.starts_with("#1"), "{case}");
                assert!(reply.contains("missed ?"), "{case}");
            }
        }
    }
}

/// What befalls the key of the readers.
const OF_THE_READERS: &[&str] = &[
    "DEL s:readers",
    "UNLINK s:readers",
    "RENAME s:readers elsewhere",
    "PEXPIRE s:readers 1",
    "FLUSHALL",
    "FLUSHDB ASYNC",
    "RESTORE s:readers 0 OTHER REPLACE",
    "COPY other:readers s:readers REPLACE",
    "SWAPDB 0 1",
    "MOVE s:readers 1",
];

#[test]
fn whoever_waits_for_a_reader_that_is_gone_is_told_whatever_took_it() {
    for command in OF_THE_READERS {
        let mut story = declared();
        story.expect(
            "XADD other 1-1 a b => 1-1
DIRTY.READER other GROUP another FROM 0 => OK",
        );
        let mut waits = all_wait(&mut story, 5000);
        let start = Instant::now();
        match command.contains("OTHER") {
            true => {
                let dump = story.redis.value(&words("DUMP other:readers"));
                let redis::Value::BulkString(dump) = dump else {
                    panic!("no dump");
                };
                story
                    .redis
                    .value(&[b"RESTORE".as_slice(), b"s:readers", b"0", &dump, b"REPLACE"]);
            }
            false => drop(story.run(command)),
        }
        for (n, client) in waits.iter_mut().enumerate().take(4) {
            let kind = if n < 2 { "group" } else { "cursor" };
            let name = ["g", "o", "c", "f"][n];
            let told = format!("NOREADER there is no {kind} \"{name}\" on \"s\"");
            assert_eq!(got(client), told, "{command}: {name}");
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{command}: {took:?}");
    }
}

/// How an older state of the readers, a copy of which is at `saved`, takes the place of theirs.
const OLDER_READERS: &[&str] = &[
    "RESTORE s:readers 0 SAVED REPLACE",
    "COPY saved s:readers REPLACE",
    "RENAME saved s:readers",
    "DEL s:readers;RENAME saved s:readers",
];

/// In that state `w` holds the first event; who waits has finished all three since.
#[test]
fn whoever_waits_goes_on_by_an_older_state_of_the_readers() {
    let readers = [
        ("GROUP g", "GROUP g w", "#2 #3"),
        ("GROUP o ORDER ENTITY", "GROUP o w", "#2 #3"),
        ("GROUP t ORDER STREAM CLAIM 300", "GROUP t w", "#1:2 #2 #3"),
        ("CURSOR c", "CURSOR c", "#1 #2 #3"),
    ];
    for how in OLDER_READERS {
        let mut story = Story::with(&["1", "2", "3"]);
        for (reader, call, _) in readers {
            story.expect(&format!("DIRTY.READER s {reader} FROM 0 => OK"));
            let first = story.run(&format!("DIRTY.CONSUME s {call} COUNT 1"));
            assert!(first.starts_with("#1 | more"), "{call}: {first}");
        }
        let saved = crate::support::dumps::dump(&mut story.redis, "s:readers");
        story.redis.ok(&["COPY", "s:readers", "saved"]);
        let reply = story.redis.value(&words("DIRTY.CONSUME s CURSOR c"));
        let last = text(&field(&reply, "position").expect("a position"));
        let mut waits = readers.map(|(_, call, _)| {
            let ack = match call.starts_with("GROUP") {
                true => {
                    story.run(&format!("DIRTY.CONSUME s {call} ACK 1 #1"));
                    "2 #2 #3"
                }
                false => &last,
            };
            story.wait(&format!("DIRTY.CONSUME s {call} ACK {ack} BLOCK 20000"))
        });
        for command in how.split(';') {
            let restore = [
                b"RESTORE".as_slice(),
                b"s:readers",
                b"0",
                &saved,
                b"REPLACE",
            ];
            match command.contains("SAVED") {
                true => drop(story.redis.value(&restore)),
                false => drop(story.run(command)),
            }
        }
        for ((_, call, expected), client) in readers.iter().zip(&mut waits) {
            let reply = got(client);
            assert!(reply.starts_with(expected), "{how}: {call}: {reply}");
        }
    }
}

#[test]
fn whoever_waits_for_a_group_without_room_to_queue_more_goes_on_when_there_is_room() {
    let mut story = Story::with(&["1", "1", "1", "2"]);
    story.expect(
        "CONFIG SET dirty.max-queued 1 => OK
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more",
    );
    let mut waits = story.wait("DIRTY.CONSUME s GROUP g b BLOCK 20000");
    let start = Instant::now();
    story.expect("CONFIG SET dirty.max-queued 2 => OK");
    assert_eq!(got(&mut waits), "#4");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_cursor_that_is_moved_while_its_reader_waits_reads_from_there() {
    let mut story = Story::with(&["1", "2", "3"]);
    for settings in ["", "WHERE OPS I", "MINAGE 1", "SHARD 0 1"] {
        story.expect(&format!(
            "DIRTY.READER s CURSOR k FROM $ {settings} => OK\nDIRTY.READER s GROUP h FROM $ => OK"
        ));
        for (seek, expected) in [
            ("DIRTY.SEEK s R 0", "#1 #2 #3"),
            ("DIRTY.SEEK s R #2", "#3"),
        ] {
            for (reader, call) in [("CURSOR k", "CURSOR k"), ("GROUP h", "GROUP h w")] {
                let mut waits = story.wait(&format!("DIRTY.CONSUME s {call} BLOCK 20000"));
                story.expect(&format!(
                    "{} => OK",
                    seek.replace(" R ", &format!(" {reader} "))
                ));
                let reply = got(&mut waits);
                assert!(reply.starts_with(expected), "{settings} {seek}: {reply}");
                story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
            }
        }
        story.expect("DIRTY.FORGET s CURSOR k => (1)\nDIRTY.FORGET s GROUP h => (1)");
    }
}

#[test]
fn a_wait_ends_at_its_time_or_by_client_unblock_with_an_empty_reply_or_the_error_asked_for() {
    let mut story = declared();
    story.publish(&["1"]);
    for reader in ["GROUP g", "GROUP o", "CURSOR c", "CURSOR f"] {
        story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
    }
    for (n, call) in CALLS.iter().enumerate() {
        let empty = if n < 2 { "" } else { "| position #1" };
        let before = story.redis.digest();
        let start = Instant::now();
        assert_eq!(
            story.run(&format!("DIRTY.{call} BLOCK 120")),
            empty,
            "{call}"
        );
        let waited = start.elapsed().as_millis();
        assert!((120..3000).contains(&waited), "{call}: {waited} ms");
        for (how, expected) in [
            ("", empty),
            (" TIMEOUT", empty),
            (" ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        ] {
            let mut client = story.server.connect();
            let id = client.run("CLIENT ID");
            client
                .send(&words(&format!("DIRTY.{call} BLOCK 0")))
                .expect("sent");
            story.server.wait_for_blocked(1);
            let id = id.trim_matches(['(', ')']);
            assert_eq!(story.run(&format!("CLIENT UNBLOCK {id}{how}")), "(1)");
            assert_eq!(got(&mut client), expected, "{call}{how}");
            // It is a client like any other again.
            assert_eq!(client.run("PING"), "PONG");
        }
        assert_eq!(story.redis.digest(), before, "{call}");
    }
    let mut resp3 = story.server.connect_resp3();
    for (call, expected) in [
        (
            "CONSUME s GROUP g w",
            "{events: [], missed: (0), more: false, not-held: []}",
        ),
        (
            "CONSUME s CURSOR c",
            "{events: [], missed: (0), more: false, position: ",
        ),
        (
            "READ s FROM $",
            "{events: [], missed: (0), more: false, position: ",
        ),
    ] {
        let reply = resp3.run(&format!("DIRTY.{call} BLOCK 20"));
        assert!(reply.starts_with(expected), "{call}: {reply}");
    }
}

#[test]
fn nobody_waits_in_a_transaction_a_script_or_a_function() {
    let mut story = declared();
    for (n, call) in CALLS.iter().enumerate() {
        let line = format!("DIRTY.{call} BLOCK 0");
        let start = Instant::now();
        story.run("MULTI");
        story.run(&line);
        let reply = story.redis.run("EXEC");
        assert!(
            reply.starts_with("[[events [] missed (0) more (0)"),
            "{call}: {reply}"
        );
        let quoted: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let script = format!("return redis.call({})", quoted.join(","));
        let reply = story.redis.raw(&["EVAL", &script, "1", "s"]);
        assert!(
            reply.starts_with("[events [] missed (0)"),
            "{call}: {reply}"
        );
        let function = format!(
            "#!lua name=l{n}\nredis.register_function('f{n}', function() return redis.call({}) end)",
            quoted.join(",")
        );
        story.redis.raw(&["FUNCTION", "LOAD", &function]);
        let reply = story.redis.run(&format!("FCALL f{n} 1 s"));
        assert!(
            reply.starts_with("[events [] missed (0)"),
            "{call}: {reply}"
        );
        assert!(start.elapsed() < Duration::from_secs(5), "{call}");
        story.publish(&["1"]);
        if n < 4 {
            let reply = story.redis.raw(&["EVAL", &script, "1", "s"]);
            assert!(reply.contains("entity-id 1"), "{call}: {reply}");
            story.run("XTRIM s MAXLEN 0");
        }
        for reader in ["GROUP g", "GROUP o", "CURSOR c", "CURSOR f"] {
            story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
        }
    }
    // A waiting one is served by what a transaction or script publishes, once it is over.
    let mut waits = all_wait(&mut story, 20_000);
    story.run("MULTI");
    story.run("DIRTY.FLUSH user INSERT 2 0");
    story.run("DIRTY.FLUSH user INSERT 3 0");
    story.run("EXEC");
    for client in &mut waits {
        let reply = got(client);
        assert_eq!(
            reply.matches('#').count() - reply.matches("position").count(),
            2,
            "{reply}"
        );
    }
}

#[test]
fn a_call_that_acknowledges_and_waits_has_acknowledged() {
    let mut story = Story::with(&["1"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g w => #1",
    );
    let position = story.words("DIRTY.READ s FROM 0");
    let stats = story.redis.run("DIRTY.STATS s");
    assert!(!position.is_empty());
    let epoch = stats
        .split("kind cursor")
        .nth(1)
        .and_then(|cursor| cursor.split('/').nth(1));
    let epoch = epoch
        .and_then(|rest| rest.split(' ').next())
        .expect("an epoch")
        .to_string();
    let mut group = story.wait("DIRTY.CONSUME s GROUP g w ACK 1 #1 BLOCK 0");
    story.expect("DIRTY.PENDING s GROUP g => []");
    let mut cursor = story.wait(&format!("DIRTY.CONSUME s CURSOR c ACK #1/{epoch} BLOCK 0"));
    story.publish(&["2"]);
    assert_eq!(got(&mut group), "#2");
    assert_eq!(got(&mut cursor), "#2 | position #2");
    // One that has ids to be told does not wait.
    let mut client = story.server.connect();
    client
        .send(&story.words("DIRTY.CONSUME s GROUP g w ACK 1 #1 BLOCK 0"))
        .expect("sent");
    assert_eq!(got(&mut client), "| not-held #1");
}

#[test]
fn clients_that_are_killed_or_gone_take_nothing_along() {
    let mut story = declared();
    for how in ["kill", "close", "kill while paused"] {
        let mut ids = Vec::new();
        let mut clients: Vec<Conn> = Vec::new();
        for call in CALLS {
            let mut client = story.server.connect();
            ids.push(client.run("CLIENT ID").trim_matches(['(', ')']).to_string());
            client
                .send(&words(&format!("DIRTY.{call} BLOCK 0")))
                .expect("sent");
            clients.push(client);
        }
        story.server.wait_for_blocked(CALLS.len());
        if how == "kill while paused" {
            story.run("CLIENT PAUSE 100 WRITE");
        }
        match how {
            "close" => clients.clear(),
            _ => ids
                .iter()
                .for_each(|id| drop(story.run(&format!("CLIENT KILL ID {id}")))),
        }
        story.server.wait_for_blocked(0);
        story
            .server
            .wait_for_line("INFO dirty", "dirty_consumers_blocked:0");
        if how == "kill while paused" {
            std::thread::sleep(Duration::from_millis(120));
        }
        story.publish(&["1"]);
        for call in &CALLS[..2] {
            let reply = story.run(&format!("DIRTY.{}", call.replace(" w", " v")));
            assert!(
                reply.starts_with('#') && !reply.contains(':'),
                "{how}, {call}: {reply}"
            );
        }
        story.run("XTRIM s MAXLEN 0");
        for reader in ["GROUP g", "GROUP o"] {
            story.run(&format!("DIRTY.FORGET s {reader}"));
        }
        declare(&mut story);
        for reader in ["GROUP g", "GROUP o", "CURSOR c", "CURSOR f"] {
            story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
        }
    }
}

#[test]
fn while_writes_are_paused_nobody_is_given_anything_and_then_everybody_is() {
    let mut story = declared();
    story.expect(
        "DIRTY.READER s GROUP again FROM 0 CLAIM 3000 => OK
DIRTY.READER s GROUP young FROM 0 MINAGE 3100 => OK
DIRTY.READER s GROUP turn FROM 0 ORDER STREAM CLAIM 3000 => OK",
    );
    story.publish(&["1"]);
    for group in ["again", "turn"] {
        story.run(&format!("DIRTY.CONSUME s GROUP {group} holder"));
    }
    for reader in ["GROUP g", "GROUP o", "CURSOR c", "CURSOR f"] {
        story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
    }
    let mut waits = all_wait(&mut story, 20_000);
    for group in ["again", "young", "turn"] {
        waits.push(story.wait(&format!("DIRTY.CONSUME s GROUP {group} w BLOCK 20000")));
    }
    story.run("MULTI");
    story.run("DIRTY.FLUSH user INSERT 2 0");
    story.run("CLIENT PAUSE 3500 WRITE");
    let start = Instant::now();
    story.run("EXEC");
    for (n, client) in waits.iter_mut().enumerate() {
        let reply = got(client);
        // DIRTY.READ writes nothing, and cursors do not either.
        let min = if (2..5).contains(&n) { 0 } else { 3450 };
        let waited = start.elapsed().as_millis();
        assert!((min..9000).contains(&waited), "{n}: {waited} ms: {reply}");
        assert!(reply.contains('#') || reply.is_empty(), "{n}: {reply}");
        if reply.is_empty() {
            // 7.0.15 ends its wait; it asks again.
            let again = CALLS.get(n).map(|call| format!("DIRTY.{call} BLOCK 2000"));
            let reply = again.map(|again| story.run(&again));
            assert!(reply.is_none_or(|reply| reply.contains('#')), "{n}");
        }
    }
    assert_eq!(story.run("PING"), "PONG");
}

#[test]
fn a_primary_that_becomes_a_replica_sends_its_readers_away() {
    let mut story = declared();
    story.expect("DIRTY.READER s GROUP timed FROM 0 MINAGE 3000 => OK");
    story.publish(&["1"]);
    for reader in ["GROUP g", "GROUP o", "CURSOR c", "CURSOR f"] {
        story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
    }
    let mut waits = all_wait(&mut story, 0);
    waits.push(story.wait("DIRTY.CONSUME s GROUP timed w BLOCK 0"));
    let primary = Server::start();
    story.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
    for (n, client) in waits.iter_mut().enumerate() {
        let reply = got(client);
        assert!(reply.starts_with("UNBLOCKED"), "{n}: {reply}");
    }
    // Nobody's timer writes to a replica.
    std::thread::sleep(Duration::from_millis(3000));
    assert_eq!(story.run("PING"), "PONG");
}

#[test]
fn readers_that_wait_when_the_primary_steps_down_read_on_from_the_new_one() {
    let mut story = declared();
    let replica = Server::replica_of(&story.server);
    story.expect("DIRTY.READER s GROUP turn FROM 0 ORDER STREAM CLAIM 3000 => OK");
    story.publish(&["1"]);
    story.expect("DIRTY.CONSUME s GROUP turn gone => #1");
    for reader in ["GROUP g", "GROUP o", "CURSOR c", "CURSOR f"] {
        story.expect(&format!("DIRTY.SEEK s {reader} $ => OK"));
    }
    let mut waits = all_wait(&mut story, 0);
    waits.push(story.wait("DIRTY.CONSUME s GROUP turn w BLOCK 0"));
    story.server.wait_for_replica(&replica);
    let to = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 10000", replica.port);
    assert_eq!(story.run(&to), "OK");
    for (n, client) in waits.iter_mut().enumerate() {
        let reply = got(client);
        assert!(reply.starts_with("UNBLOCKED"), "{n}: {reply}");
    }
    replica.wait_for_line("INFO replication", "role:master");
    let mut redis = replica.connect();
    redis.run("DIRTY.FLUSH user INSERT 2 0");
    for call in &CALLS[..4] {
        let reply = redis.run(&format!("DIRTY.{call} BLOCK 5000"));
        assert!(
            reply.contains("entity-id 2") && !reply.contains("entity-id 1"),
            "{call}: {reply}"
        );
    }
    let reply = redis.run("DIRTY.CONSUME s GROUP turn w BLOCK 10000");
    assert!(
        reply.contains("entity-id 1") && reply.contains("deliveries (2)"),
        "{reply}"
    );
}

#[test]
fn a_server_with_waiting_readers_stops_at_once() {
    let mut story = declared();
    let _waits = [all_wait(&mut story, 0), all_wait(&mut story, 0)];
    let start = Instant::now();
    story.server.restart();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_a_woken_consumer_takes_is_replicated() {
    let mut story = declared();
    story.expect("DIRTY.READER s GROUP timed FROM 0 MINAGE 60 => OK");
    let replica = Server::replica_of(&story.server);
    let mut waits = [
        story.wait("DIRTY.CONSUME s GROUP g w BLOCK 0"),
        story.wait("DIRTY.CONSUME s GROUP timed w BLOCK 0"),
    ];
    story.publish(&["1"]);
    for client in &mut waits {
        assert_eq!(got(client), "#1");
    }
    story.server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), story.redis.digest());
    let mut follower = replica.connect();
    for group in ["g", "timed"] {
        let pending = follower.run(&format!("DIRTY.PENDING s GROUP {group}"));
        assert!(pending.contains("consumer w"), "{pending}");
    }
}

/// Its time is up in the moment in which its timer finds something.
#[test]
fn a_reader_is_answered_once_whatever_comes_at_the_same_time() {
    let mut story = Story::with(&["1"]);
    let mut claimed = 0;
    for ms in (1..12).chain((1..12).rev()).cycle().take(300) {
        story.run(&format!("DIRTY.READER s GROUP g FROM 0 CLAIM {ms}"));
        let reply = story.run(&format!("DIRTY.CONSUME s GROUP g c{claimed} BLOCK {ms}"));
        claimed += usize::from(reply.contains('#'));
        // What stands next is the answer to this, and no second one to that.
        assert_eq!(story.run("PING"), "PONG");
    }
    assert!(claimed > 50, "{claimed}");
}

#[test]
fn native_readers_that_wait_wake_too() {
    let mut story = Story::begin();
    for command in [
        "XREAD BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP n c BLOCK 0 STREAMS s >",
    ] {
        story.run("DEL s");
        story.run("XGROUP CREATE s n $ MKSTREAM");
        let mut reader = story.wait(command);
        story.publish(&["7"]);
        let reply = crate::support::text(&reader.receive().expect("a reply"));
        assert!(reply.starts_with("[[s [["), "{command}: {reply}");
    }
}

#[test]
fn waiting_reading_failing_and_dying_do_not_grow_the_memory() {
    let mut story = Story::begin();
    story.run("CONFIG SET hz 500"); // so that a ms is not ten times as long
    let mut client = story.server.connect();
    let memory_after = |times: usize| {
        for n in 0..times {
            for reader in ["GROUP g", "GROUP o", "CURSOR c"] {
                let settings = if reader == "GROUP o" {
                    "ORDER ENTITY ONDEAD PARK"
                } else {
                    ""
                };
                story.run(&format!("DIRTY.READER s {reader} FROM 0 {settings}"));
                let call = match reader {
                    "CURSOR c" => "CONSUME s CURSOR c".to_string(),
                    reader => format!("CONSUME s {reader} w{n}"),
                };
                story.run(&format!("DIRTY.{call} BLOCK 1"));
                client
                    .send(&words(&format!("DIRTY.{call} BLOCK 5000")))
                    .expect("sent");
                wait_until("it waits", || blocked(&story.server) == 1);
                story.publish(&["1", "1"]);
                let reply = got(&mut client);
                assert!(reply.starts_with('#'), "{reply}");
                story.run("DIRTY.FAIL s GROUP g w FORCE why DELAY 0 #1");
                story.run(&format!("DIRTY.FAIL s {reader} w{n} why FATAL #1"));
                story.run("DIRTY.REDRIVE s GROUP g ALL");
                story.run("DIRTY.CONSUME s GROUP g d COUNT 100");
                story.run("DIRTY.LEAVE s GROUP g d");
                story.run("DIRTY.SEEK s GROUP g $");
                story.run(&format!("DIRTY.FORGET s {reader}"));
                story.run("DEL s s:dead s:readers");
                story.run("DIRTY.STATS s");
            }
        }
        story.redis.used_memory()
    };
    assert!(!leaks(100, 20_000, memory_after));
}

#[test]
fn an_event_that_is_long_due_comes_to_one_that_waits_and_holds_another() {
    let mut story = Story::with(&["1"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 CLAIM 600 MAXDELIVERIES 3 => OK\nDIRTY.CONSUME s GROUP g gone => #1",
    );
    std::thread::sleep(Duration::from_millis(300));
    story.publish(&["2"]);
    story.expect("DIRTY.CONSUME s GROUP g w => #2");
    let mut waiting = story.wait("DIRTY.CONSUME s GROUP g w BLOCK 5000");
    assert_eq!(got(&mut waiting), "#1:2");
}

/// Restores the readers as they were.
fn restore(story: &mut Story, dump: &redis::Value) {
    let redis::Value::BulkString(dump) = dump else {
        panic!("no dump");
    };
    let words = [b"RESTORE".as_slice(), b"s:readers", b"0", dump, b"REPLACE"];
    story.redis.value(&words);
}

#[test]
fn whoever_waits_when_its_readers_are_restored_waits_for_those() {
    let mut story = Story::begin();
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK",
    );
    let dump = story.redis.value(&words("DUMP s:readers"));
    story.expect(
        "DIRTY.READER s GROUP g WHERE OPS D => OK
DIRTY.READER s CURSOR c WHERE OPS D => OK",
    );
    let mut group = story.wait("DIRTY.CONSUME s GROUP g w BLOCK 20000");
    let mut cursor = story.wait("DIRTY.CONSUME s CURSOR c BLOCK 20000");
    story.publish(&["1", "2"]);
    story.server.wait_for_blocked(2);
    restore(&mut story, &dump);
    assert_eq!(got(&mut group), "#1 #2");
    assert!(got(&mut cursor).starts_with("#1 #2"));
}

#[test]
fn a_consumer_that_waits_has_not_gone_silent_when_its_readers_are_restored() {
    let mut story = Story::with(&["1"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 ORDER STREAM CLAIM 700 => OK
DIRTY.CONSUME s GROUP g w => #1
DIRTY.ACK s GROUP g w #1 => []",
    );
    // The one that came first would get the event if the other counted as silent.
    let mut other = story.wait("DIRTY.CONSUME s GROUP g v BLOCK 20000");
    story.server.wait_for_blocked(1);
    let mut turn = story.wait("DIRTY.CONSUME s GROUP g w BLOCK 20000");
    story.server.wait_for_blocked(2);
    let dump = story.redis.value(&words("DUMP s:readers"));
    restore(&mut story, &dump);
    std::thread::sleep(Duration::from_millis(1200));
    story.publish(&["2"]);
    assert_eq!(got(&mut turn), "#2");
    story.server.wait_for_blocked(1);
    story.run("DIRTY.ACK s GROUP g w #2");
    story.run("DIRTY.LEAVE s GROUP g w");
    story.publish(&["3"]);
    assert_eq!(got(&mut other), "#3");
}
