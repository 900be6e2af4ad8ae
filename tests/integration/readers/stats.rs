//! STATS: what everybody is, how far, and since when.

use crate::support::dice::{Dice, rand};
use crate::support::readers::{consume, field, waiting};
use crate::support::story::Story;
use crate::support::{Conn, Server, text, words};
use redis::Value;

fn reader(redis: &mut Conn, name: &str) -> Value {
    let stats = redis.value(&words("DIRTY.STATS s"));
    let Some(Value::Array(readers)) = field(&stats, "readers") else {
        panic!("{}", text(&stats));
    };
    let found = readers
        .into_iter()
        .find(|reader| text(&field(reader, "name").expect("a name")) == name);
    found.unwrap_or_else(|| panic!("no {name} in {}", text(&stats)))
}

fn of(redis: &mut Conn, name: &str, part: &str) -> String {
    let value = field(&reader(redis, name), part);
    text(&value.unwrap_or_else(|| panic!("no {part}")))
}

fn number(redis: &mut Conn, name: &str, part: &str) -> u64 {
    let text = of(redis, name, part);
    text.trim_matches(['(', ')']).parse().expect("a number")
}

/// A part of what STATS says of each consumer: `name part`.
fn consumers(redis: &mut Conn, group: &str, part: &str) -> Vec<(String, u64)> {
    let Some(Value::Array(consumers)) = field(&reader(redis, group), "consumers") else {
        panic!("no consumers");
    };
    let one = |consumer: &Value| {
        let number = text(&field(consumer, part).expect(part));
        let name = text(&field(consumer, "name").expect("a name"));
        (
            name,
            number.trim_matches(['(', ')']).parse().expect("a number"),
        )
    };
    consumers.iter().map(one).collect()
}

#[test]
fn a_kind_is_always_right_and_the_other_kinds_commands_are_refused() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = server.connect();
    redis.expect(
        "DIRTY.DECLARE user STATELESS STREAM s => OK
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
XGROUP CREATE s n 0 MKSTREAM => OK",
    );
    let replica = Server::replica_of(&server);
    let check = |redis: &mut Conn, at: &str| {
        let kinds = ["g", "c", "n"].map(|name| of(redis, name, "kind"));
        assert_eq!(kinds, ["group", "cursor", "native"], "{at}");
    };
    check(&mut redis, "on an empty stream");
    let waits = waiting(&server, "GROUP g a", "0");
    let also = waiting(&server, "CURSOR c", "0");
    check(&mut redis, "while both are waited on");
    drop((waits, also));
    server.wait_for_blocked(0);
    redis.run("DIRTY.FLUSH user INSERT 1 0");
    consume(&mut redis, "s GROUP g a");
    check(&mut redis, "with something pending");
    redis.run("DIRTY.LEAVE s GROUP g a");
    check(&mut redis, "after LEAVE");
    redis.run("XTRIM s MAXLEN 0");
    consume(&mut redis, "s GROUP g a");
    check(&mut redis, "with nothing pending");
    let refused = "ERR \"g\" is a group";
    let before = redis.digest();
    for command in [
        "CONSUME s CURSOR g",
        "CONSUME s CURSOR g BLOCK 0",
        "ACK s CURSOR g 1-1/1",
        "SEEK s CURSOR g $",
        "FAIL s CURSOR g why 1-1",
        "FORGET s CURSOR g",
        "READER s CURSOR g FROM 0",
    ] {
        assert_eq!(redis.run(&format!("DIRTY.{command}")), refused, "{command}");
    }
    for command in [
        "CONSUME s GROUP c a",
        "ACK s GROUP c a FORCE 1-1",
        "SEEK s GROUP c $",
        "LEAVE s GROUP c a",
        "PENDING s GROUP c",
        "PAUSE s GROUP c ON",
        "FORGET s GROUP c",
        "READER s GROUP c FROM 0",
    ] {
        let refused = "ERR \"c\" is a cursor";
        assert_eq!(redis.run(&format!("DIRTY.{command}")), refused, "{command}");
    }
    assert_eq!(redis.digest(), before);
    server.wait_for_replica(&replica);
    check(&mut replica.connect(), "on a replica");
    server.restart();
    check(&mut server.connect(), "after a restart");
}

#[test]
fn a_quiet_stream_has_no_lag_and_the_oldest_unread_event_tells_the_delay() {
    let mut story = Story::with(&["1"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
XGROUP CREATE s n 0 => OK
wait 120 => -",
    );
    let redis = &mut story.redis;
    for name in ["g", "c", "n"] {
        assert_eq!(of(redis, name, "lag"), "(1)", "{name}");
        assert!(number(redis, name, "oldest-unread-ms") >= 120, "{name}");
    }
    redis.run("XREADGROUP GROUP n a STREAMS s >");
    consume(redis, "s GROUP g a");
    let position = consume(redis, "s CURSOR c").position.expect("a position");
    redis.run(&format!("DIRTY.ACK s CURSOR c {position}"));
    std::thread::sleep(std::time::Duration::from_millis(60));
    for name in ["g", "c", "n"] {
        let parts = ["lag", "oldest-unread-ms"].map(|part| of(redis, name, part));
        assert_eq!(parts, ["(0)", "(0)"], "{name}: all is read");
    }
    // Trimmed, there is nothing left to be late for.
    redis.run("DIRTY.FLUSH user INSERT 2 0");
    redis.run("XTRIM s MAXLEN 0");
    for name in ["g", "c", "n"] {
        let parts = ["lag", "oldest-unread-ms", "missed"].map(|part| of(redis, name, part));
        assert_eq!(parts, ["(0)", "(0)", "(1)"], "{name}");
    }
}

#[test]
fn a_native_group_has_missed_what_is_gone_also_without_other_readers() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect(
        "DIRTY.DECLARE user STREAM s => OK
DIRTY.FLUSH user INSERT 1 0 INSERT 2 0 INSERT 3 0 => [insert insert insert]
XGROUP CREATE s n 0 => OK
XTRIM s MAXLEN 1 => (2)",
    );
    for other in ["", "DIRTY.READER s GROUP g FROM 0"] {
        if !other.is_empty() {
            redis.run(other);
        }
        assert_eq!(number(&mut redis, "n", "missed"), 2, "after {other:?}");
        assert_eq!(number(&mut redis, "n", "lag"), 1, "after {other:?}");
    }
}

#[test]
fn of_a_stream_that_was_begun_again_nobody_knows_what_was_missed_and_all_is_unread() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM $ => OK
DIRTY.CONSUME s GROUP g a => #1 #2 #3
DEL s => (1)
DIRTY.FLUSH user INSERT 1 0 INSERT 2 0 => [insert insert]",
    );
    let redis = &mut story.redis;
    for name in ["g", "c"] {
        let parts = ["lag", "missed"].map(|part| of(redis, name, part));
        assert_eq!(parts, ["(2)", "nil"], "{name}");
    }
    assert_eq!(consume(redis, "s GROUP g a").missed, "nil");
    assert_eq!(of(redis, "g", "missed"), "(0)");
}

#[test]
fn a_consumer_that_waits_is_not_idle() {
    let mut story = Story::with(&["1"]);
    story.expect("DIRTY.READER s GROUP g FROM 0 => OK\nDIRTY.CONSUME s GROUP g works => #1");
    let waits = story.wait("DIRTY.CONSUME s GROUP g waits BLOCK 0");
    let _other = story.wait("DIRTY.CONSUME s GROUP g other BLOCK 0");
    story.expect("wait 600 => -");
    let redis = &mut story.redis;
    let names = |of: &[(String, u64)]| {
        let each = of.iter().map(|(name, number)| format!("{name} {number}"));
        each.collect::<Vec<_>>().join(", ")
    };
    let waiting = consumers(redis, "g", "waiting");
    assert_eq!(names(&waiting), "other 1, waits 1, works 0");
    let pending = consumers(redis, "g", "pending");
    assert_eq!(names(&pending), "other 0, waits 0, works 1");
    for (name, idle_ms) in consumers(redis, "g", "idle-ms") {
        assert_eq!(idle_ms >= 600, name == "works", "{name}: {idle_ms} ms");
    }
    drop(waits);
    story.server.wait_for_blocked(1);
    story.expect("wait 100 => -");
    let redis = &mut story.redis;
    assert_eq!(
        names(&consumers(redis, "g", "waiting")),
        "other 1, waits 0, works 0"
    );
    let idle = consumers(redis, "g", "idle-ms");
    assert!(
        idle[1].1 >= 100 && idle[1].1 < 600,
        "since it went: {idle:?}"
    );
}

#[test]
fn who_holds_what_and_what_failed_why_is_listed() {
    let mut story = Story::with(&["1", "2", "3", "1", "5"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY ONDEAD PARK CLAIM 60000 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.CONSUME s GROUP g b => #3 #5
DIRTY.FAIL s GROUP g b no\\_disk DELAY 50000 #3 => [retry]
DIRTY.FAIL s GROUP g a no\\_luck FATAL #1 => [dead]
DIRTY.LEAVE s GROUP g a => (1)
DIRTY.PENDING s GROUP g =>
 [[id #2 state free consumer nil idle-ms nil due-ms (T) deliveries (0) failures (0) error nil key [user 2]]
 [id #3 state delayed consumer nil idle-ms nil due-ms (T) deliveries (1) failures (1) error no disk key [user 3]]
 [id #4 state parked consumer nil idle-ms nil due-ms nil deliveries (0) failures (0) error nil key [user 1]]
 [id #5 state held consumer b idle-ms - due-ms (T) deliveries (1) failures (0) error nil key [user 5]]]
DIRTY.PENDING s GROUP g CONSUMER b =>
 [[id #5 state held consumer b idle-ms - due-ms (T) deliveries (1) failures (0) error nil key [user 5]]]
",
    );
    let redis = &mut story.redis;
    for (part, expected) in [
        ("pending", 4),
        ("held", 1),
        ("due", 1),
        ("queued", 3),
        ("held-keys", 1),
        ("parked-keys", 1),
        ("delivered", 4),
        ("failed", 2),
        ("died", 1),
    ] {
        assert_eq!(number(redis, "g", part), expected, "{part}");
    }
}

/// Lag as counted by hand.
fn agrees(redis: &mut Conn, names: &[&str]) {
    let stats = redis.value(&words("DIRTY.STATS s"));
    let stream = redis.value(&words("XINFO STREAM s"));
    for (ours, native) in [("length", "length"), ("last-id", "last-generated-id")] {
        assert_eq!(field(&stats, ours), field(&stream, native));
    }
    let bytes = redis.value(&words("MEMORY USAGE s SAMPLES 0"));
    assert_eq!(field(&stats, "bytes"), Some(bytes));
    for name in names {
        let position = of(redis, name, "position");
        let position = position.split('/').next().unwrap_or_default().to_string();
        let entries = redis.value(&words(&format!("XRANGE s ({position} +")));
        let Value::Array(entries) = entries else {
            panic!("no entries");
        };
        let lag = entries.len() as u64;
        assert_eq!(number(redis, name, "lag"), lag, "{name} at {position}");
        let seq: u64 = position
            .split('-')
            .nth(1)
            .expect("a seq")
            .parse()
            .expect("a seq");
        let last = text(&field(&stats, "last-id").expect("an id"));
        let last: u64 = last
            .split('-')
            .nth(1)
            .expect("a seq")
            .parse()
            .expect("a seq");
        let missed = last.saturating_sub(seq).saturating_sub(lag);
        assert_eq!(
            number(redis, name, "missed"),
            missed,
            "{name} at {position}"
        );
    }
}

#[test]
fn lag_and_missed_are_what_the_entries_say_after_any_history() {
    let seed = std::env::var("SEED").map_or_else(|_| rand(), |seed| seed.parse().expect("a seed"));
    eprintln!("SEED={seed}"); // shown if this fails
    let mut dice = Dice(seed | 1);
    let mut random = |below: u64| dice.roll(below);
    let server = Server::start();
    let mut redis = server.connect();
    let names = ["g", "h", "c"];
    for _ in 0..10 {
        redis.run("FLUSHALL");
        redis.run("DIRTY.DECLARE user STATELESS STREAM s");
        redis.run("DIRTY.FLUSH user INSERT 1 0");
        for reader in ["GROUP g", "GROUP h", "CURSOR c"] {
            redis.run(&format!(
                "DIRTY.READER s {reader} FROM 0 CLAIM 1 MAXDELIVERIES 3"
            ));
            redis.run(&format!("DIRTY.READER s {reader} FROM 0"));
        }
        for _ in 0..30 {
            let (a, b) = (random(2), random(3));
            let name = names[usize::try_from(a).expect("small")];
            let command = match random(12) {
                0..4 => format!("DIRTY.FLUSH user{}", " TOUCH 1".repeat(1 + b as usize)),
                4 => format!("XTRIM s MAXLEN = {}", random(12)),
                5..7 => {
                    let ids = consume(&mut redis, "s CURSOR c COUNT 1000").ids;
                    let count = ids.len().max(1) as u64;
                    match ids.get(random(count) as usize) {
                        Some(id) => format!("XDEL s {id}"),
                        None => "PING".into(),
                    }
                }
                7..10 => format!("DIRTY.CONSUME s GROUP {name} c{b} COUNT {}", 1 + random(4)),
                10 => {
                    let read = consume(&mut redis, "s CURSOR c COUNT 3");
                    format!(
                        "DIRTY.ACK s CURSOR c {}",
                        read.position.expect("a position")
                    )
                }
                _ => format!(
                    "DIRTY.SEEK s GROUP {name} {}",
                    if b == 0 { "$" } else { "0" }
                ),
            };
            let reply = redis.run(&command);
            assert!(!reply.starts_with("ERR"), "{command}: {reply}");
            agrees(&mut redis, &names);
        }
    }
}

#[test]
fn a_replica_says_the_same_and_nothing_is_written() {
    let mut story = Story::with(&["1", "2", "3", "4"]);
    let replica = Server::replica_of(&story.server);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
XDEL s #3 => (1)
DIRTY.FAIL s GROUP g a no FATAL #1 => [dead]
",
    );
    story.server.wait_for_replica(&replica);
    let mut follower = replica.connect();
    for (name, expected) in [("g", "(1) (1) (1)"), ("c", "(3) (1) nil")] {
        for redis in [&mut story.redis, &mut follower] {
            let pending = field(&reader(redis, name), "pending");
            let pending = pending.map_or("nil".into(), |pending| text(&pending));
            let told = [of(redis, name, "lag"), of(redis, name, "missed"), pending];
            assert_eq!(told.join(" "), expected, "{name}");
        }
    }
    // What only calls find out, a primary alone knows.
    assert_eq!(of(&mut story.redis, "g", "stalled"), "(0)");
    assert_eq!(of(&mut follower, "g", "stalled"), "nil");
    let before = story.redis.written();
    story.expect(
        "
DIRTY.STATS none => [length (0) bytes (0) oldest-event-ms nil first-id nil last-id 0-0 dead (0) readers []]
EXISTS none none:readers => (0)
EVAL_RO return\\_redis.call('DIRTY.STATS',KEYS[1])[2] 1 s => (3)
",
    );
    assert_eq!(story.redis.written(), before);
}

#[test]
fn a_cursor_tells_how_far_its_snapshot_phase_is() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s PAYLOAD FULL");
    for id in 0..300 {
        redis.run(&format!("DIRTY.FLUSH user SEED {id} 0"));
    }
    redis.run("DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user");
    redis.run("DIRTY.READER s CURSOR plain FROM 0");
    let phase = |redis: &mut Conn, cursor: &str| {
        ["phase", "scanned", "snapshot-keys"].map(|part| of(redis, cursor, part))
    };
    assert_eq!(phase(&mut redis, "plain"), ["stream", "nil", "[]"]);
    let mut scanned = "(0)".to_string();
    let mut pages = 0;
    loop {
        // What was given is not scanned until it is acknowledged.
        let reply = redis.value(&words("DIRTY.CONSUME s CURSOR c COUNT 10"));
        assert_eq!(phase(&mut redis, "c"), ["snapshot", &scanned, "[user]"]);
        let position = text(&field(&reply, "position").expect("a position"));
        assert_eq!(
            redis.run(&format!("DIRTY.ACK s CURSOR c {position}")),
            "(1)"
        );
        if text(&field(&reply, "phase").expect("a phase")) == "stream" {
            break;
        }
        scanned = text(&field(&reply, "scanned").expect("a number"));
        pages += 1;
    }
    assert!(pages > 5, "{pages} pages");
    assert_eq!(phase(&mut redis, "c"), ["stream", "nil", "[]"]);
}
