//! What readers cost in memory and time: nothing that grows with what they have done, little for what is pending.
//!
//! The long forms have a million of everything: `cargo test --release --test integration -- --ignored a_million`.

use crate::support::readers::field;
use crate::support::turmoil::{Turmoil, assert_same, told};
use crate::support::{Conn, Server, text, wait_until, words};
use redis::Value;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Commands on their way at once.
const PIPE: u64 = 500;

fn bytes(redis: &mut Conn, command: &str) -> u64 {
    match redis.value(&words(command)) {
        Value::Int(bytes) => bytes.try_into().expect("bytes"),
        other => panic!("{command}: {}", text(&other)),
    }
}

/// Sends the commands for each number, and then takes the replies.
fn pipelined(
    redis: &mut Conn,
    numbers: std::ops::Range<u64>,
    commands: impl Fn(u64) -> Vec<String>,
) {
    let mut at = numbers.start;
    while at < numbers.end {
        let end = numbers.end.min(at + PIPE);
        let sent: Vec<String> = (at..end).flat_map(&commands).collect();
        for command in &sent {
            redis.send(&words(command)).expect("sent");
        }
        for command in &sent {
            let reply = redis.receive().expect("a reply");
            assert!(
                !matches!(reply, Value::ServerError(_)),
                "{command}: {}",
                text(&reply)
            );
        }
        at = end;
    }
}

/// Rounds of every kind of work, each of which ends as it began. Their seqs go on.
fn rounds(redis: &mut Conn, numbers: std::ops::Range<u64>) {
    pipelined(redis, numbers, |n| {
        let mut commands = vec![format!("XADD s MAXLEN 50 1-{n} f v")];
        commands.extend([
            format!("DIRTY.CONSUME s GROUP g a ACK 1 1-{} COUNT 1 RAW", n - 1),
            "DIRTY.CONSUME s GROUP f a COUNT 1 RAW".into(),
        ]);
        commands.push(match n % 10 {
            0 => format!("DIRTY.FAIL s GROUP f a {} FATAL 1-{n}", "why".repeat(100)),
            1 => format!(
                "DIRTY.FAIL s GROUP f a {} DELAY 60000 1-{n}",
                "why".repeat(100)
            ),
            _ => format!("DIRTY.ACK s GROUP f a 1-{n}"),
        });
        match n % 10 {
            0 => commands.push("DIRTY.DISCARD s GROUP f ALL".into()),
            1 => commands.push(format!("DIRTY.ACK s GROUP f a FORCE 1-{n}")),
            2 => commands.push(format!(
                "DIRTY.CONSUME s GROUP o c{} RAW COUNT 100",
                n % 1000
            )),
            // Back, which drops what is pending, and to the end.
            3 => commands.extend([
                "DIRTY.SEEK s GROUP o 0".into(),
                "DIRTY.SEEK s GROUP o $".into(),
            ]),
            4 => commands.push("DIRTY.CONSUME s CURSOR c RAW COUNT 100".into()),
            5 => commands.push("DIRTY.SEEK s CURSOR c $".into()),
            6 => commands.extend([
                "DIRTY.READER s CURSOR new FROM 0".into(),
                "DIRTY.FORGET s CURSOR new".into(),
            ]),
            7 => commands.push("DIRTY.LEAVE s GROUP f a".into()),
            _ => commands.push("DIRTY.READ s FROM $".into()),
        }
        commands
    });
}

/// Waits that end by an event, by time, and by the client's end.
fn waits(server: &Server, redis: &mut Conn, seq: u64) {
    let mut clients: Vec<Conn> = [
        "GROUP w a BLOCK 0",
        "CURSOR w2 BLOCK 0",
        "GROUP w b BLOCK 1",
        "GROUP w gone BLOCK 0",
    ]
    .map(|reader| {
        let mut client = server.connect();
        client
            .send(&words(&format!("DIRTY.CONSUME s {reader}")))
            .expect("sent");
        client
    })
    .into();
    drop(clients.pop());
    let _ = clients[2].receive();
    redis.ok(&["XADD", "s", &format!("1-{seq}"), "f", "v"]);
    let _ = (clients[0].receive(), clients[1].receive());
    redis.run(&format!("DIRTY.ACK s GROUP w a 1-{seq}"));
    redis.run("DIRTY.SEEK s CURSOR w2 $");
    drop(clients);
    server.wait_for_blocked(0);
}

fn memory_stays(each: u64) {
    let server = Server::start();
    let mut redis = server.connect();
    for reader in [
        "GROUP g FROM 0",
        "GROUP f FROM 0 MAXDELIVERIES 5",
        "GROUP o FROM 0 ORDER STREAM CLAIM 1",
        "CURSOR c FROM 0",
        "GROUP w FROM $",
        "CURSOR w2 FROM $",
    ] {
        assert_eq!(redis.run(&format!("DIRTY.READER s {reader}")), "OK");
    }
    let mut next = 1;
    let mut after = |rounds_of: u64| {
        rounds(&mut redis, next..next + rounds_of);
        next += rounds_of;
        for _ in 0..20 {
            waits(&server, &mut redis, next);
            next += 1;
        }
        // Back, which drops what is pending, and to the end.
        for group in ["g", "f", "o", "w"] {
            redis.run(&format!("DIRTY.SEEK s GROUP {group} 0"));
            redis.run(&format!("DIRTY.SEEK s GROUP {group} $"));
        }
        redis.run("MEMORY PURGE");
        (
            redis.used_memory(),
            bytes(&mut redis, "MEMORY USAGE s:readers"),
        )
    };
    after(2000);
    let before = after(each);
    let then = after(each);
    println!("{before:?}, {then:?}");
    // Of each round a byte would be more.
    assert!(
        (then.0 - before.0).unsigned_abs() < each.max(100_000),
        "{before:?}, {then:?}"
    );
    assert!(
        then.1 < 100_000 && then.1.abs_diff(before.1) < 20_000,
        "{before:?}, {then:?}"
    );
}

#[test]
fn what_is_done_leaves_no_memory_behind() {
    memory_stays(10_000);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_rounds_leave_no_memory_behind() {
    memory_stays(500_000);
}

/// A group with so many pending entries.
fn pending(server: &Server, entries: u64) -> Conn {
    let mut redis = server.connect();
    let script = "for i=1,ARGV[1] do redis.call('XADD','s','1-'..i,'f','v') end";
    redis.ok(&["EVAL", script, "0", &entries.to_string()]);
    redis.ok(&[
        "DIRTY.READER",
        "s",
        "GROUP",
        "g",
        "FROM",
        "0",
        "MAXPENDING",
        "4000000",
    ]);
    let mut given = 0;
    while given < entries {
        let consume = format!("DIRTY.CONSUME s GROUP g c{} COUNT 10000 RAW", given % 7);
        let reply = redis.value(&words(&consume));
        let Some(Value::Array(events)) = field(&reply, "events") else {
            panic!("{}", text(&reply));
        };
        assert!(!events.is_empty());
        given += events.len() as u64;
    }
    redis
}

/// The longest that another client waits for a reply.
fn longest_wait(server: &Server, during: impl FnOnce()) -> Duration {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut redis = server.connect();
            let mut longest = Duration::ZERO;
            while !is_over.load(SeqCst) {
                let start = Instant::now();
                redis.run("PING");
                longest = longest.max(start.elapsed());
                std::thread::sleep(Duration::from_micros(500));
            }
            longest
        });
        during();
        is_over.store(true, SeqCst);
        asks.join().expect("its time")
    })
}

fn milliseconds(redis: &mut Conn, command: &str) -> u128 {
    let start = Instant::now();
    let reply = redis.run(command);
    assert!(!reply.starts_with("ERR"), "{command}: {reply}");
    start.elapsed().as_millis()
}

/// `most_ms` is for what the server does with one large value while everybody waits.
fn large_states_are_kept_and_go(entries: u64, most_ms: u128) {
    let server = Server::with(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    let mut redis = server.connect();
    redis.ok(&["DIRTY.READER", "x", "CURSOR", "c", "FROM", "0"]);
    let before = redis.used_memory();
    drop(redis);
    let mut redis = pending(&server, entries);
    let each = bytes(&mut redis, "MEMORY USAGE s:readers") / entries;
    assert!((20..=100).contains(&each), "{each} bytes an entry");
    let digest = redis.run("DEBUG DIGEST-VALUE s:readers");
    let used = redis.used_memory();
    redis.ok(&["COPY", "s:readers", "copied"]);
    let copied = redis.used_memory() - used;
    let each = copied as u64 / entries;
    assert!(
        (20..=100).contains(&each),
        "{each} bytes an entry, of {copied}"
    );
    let stall = longest_wait(&server, || server.rewrite_aof());
    println!("{each} bytes an entry; AOF rewrite stalls others for {stall:?}");
    assert!(stall.as_millis() < most_ms, "{stall:?}");
    pieces_are_small(&server);
    for gone in ["UNLINK copied", "FLUSHALL ASYNC"] {
        let ms = milliseconds(&mut redis, gone);
        println!("{gone}: {ms} ms");
        assert!(ms < most_ms / 2, "{gone}: {ms} ms");
        if gone.starts_with("UNLINK") {
            redis.ok(&["DEBUG", "LOADAOF"]);
            assert_eq!(
                redis.run("DEBUG DIGEST-VALUE s:readers"),
                digest,
                "from the rewritten file"
            );
        }
    }
    wait_until("the background", || {
        redis
            .run("INFO memory")
            .contains("lazyfree_pending_objects:0")
    });
    let left = redis.used_memory() - before;
    assert!(left < copied / 4 + 3_000_000, "{left} bytes are left");
}

/// An AOF rewrite writes bounded pieces.
fn pieces_are_small(server: &Server) {
    let folder = std::fs::read_dir(server.dir.path().join("appendonlydir")).expect("a folder");
    let mut files = folder.map(|file| file.expect("a file").path());
    let base = files.find(|path| path.to_string_lossy().ends_with(".base.aof"));
    let file = std::fs::read(base.expect("a rewritten file")).expect("its bytes");
    let commands = crate::support::deltas::commands(&file);
    let pieces: Vec<usize> = commands
        .iter()
        .filter(|words| words[0] == b"DIRTY._DELTA" && words[1] == b"s:readers")
        .map(|words| words[3].len())
        .collect();
    assert!(pieces.len() > 2, "{pieces:?}");
    assert!(
        pieces.iter().all(|length| *length <= 64 * 1024),
        "{pieces:?}"
    );
}

#[test]
fn large_states_are_rewritten_in_pieces_and_freed_in_the_background() {
    large_states_are_kept_and_go(100_000, 500);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_pending_entries_are_rewritten_in_pieces_and_freed_in_the_background() {
    large_states_are_kept_and_go(1_000_000, 500);
}

/// All kinds of work, then none: what is left is what a new server has that is told the same readers.
#[test]
fn after_random_work_memory_is_what_it_is_said_to_be() {
    let server = Server::start();
    let mut redis = server.connect();
    Turmoil::begin(&mut redis, 5).steps(&mut redis, 1500);
    let before = told(&mut redis);
    let said = bytes(&mut redis, "MEMORY USAGE s:readers");
    let used = redis.used_memory();
    redis.ok(&["COPY", "s:readers", "copied"]);
    let copied = (redis.used_memory() - used).unsigned_abs();
    assert!(
        said < 2 * copied && copied < 3 * said,
        "{said} said, {copied} used"
    );
    redis.ok(&["RENAME", "copied", "s:readers"]);
    assert_same(&told(&mut redis), &before, "a copy");
}

#[test]
fn readers_that_are_gone_or_never_were_leave_nothing_and_few_take_little() {
    const KEYS: u64 = 20_000;
    let server = Server::start();
    let mut redis = server.connect();
    let declare = |redis: &mut Conn| {
        pipelined(redis, 0..KEYS, |n| {
            vec![format!("DIRTY.READER s{n} GROUP g FROM 0")]
        });
    };
    declare(&mut redis);
    redis.run("FLUSHALL SYNC");
    let before = redis.used_memory();
    declare(&mut redis);
    let each = (redis.used_memory() - before) / KEYS as i64;
    assert!(each < 2_000, "{each} bytes a key");
    redis.run("FLUSHALL SYNC");
    for _ in 0..KEYS {
        redis.run("DIRTY.CONSUME nothing GROUP g c");
    }
    let left = redis.used_memory() - before;
    assert!(left < 100_000, "{left} bytes");
}
