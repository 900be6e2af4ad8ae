//! How much a reader looks at for what it gets. What was trimmed while it was pending, and what WHERE rejects,
//! costs once, and no command holds the server for long.

use super::support::{Conn, Server};
use std::time::{Duration, Instant};

const PENDING: usize = 20_000;

/// A stream of so many events, all pending at another consumer of the group, delivered this often.
fn pending(server: &Server) -> Conn {
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STATELESS STREAM s");
    for batch in 0..PENDING / 1000 {
        let inserts = (0..1000).map(|id| format!(" INSERT {batch}-{id} 0"));
        let flush = format!("DIRTY.FLUSH user{}", inserts.collect::<String>());
        redis.run(&flush);
    }
    redis.run("XGROUP CREATE s g 0");
    redis.run(&format!(
        "XREADGROUP GROUP g other COUNT {PENDING} STREAMS s >"
    ));
    redis
}

/// How often a native command ran.
fn calls(redis: &mut Conn, command: &str) -> u64 {
    let stats = redis.run("INFO commandstats");
    let field = format!("cmdstat_{command}:calls=");
    let calls = stats
        .split(&field)
        .nth(1)
        .and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// Who asks, and what becomes of the entries before; PING leaves them.
const STALLS: &[(&str, &str)] = &[
    ("GROUP g me CLAIM 0 COUNT 1", "XTRIM s MAXLEN 0"),
    ("GROUP g other PENDING COUNT 1", "XTRIM s MAXLEN 0"),
    ("GROUP g other PENDING CLAIM 0 COUNT 1", "XTRIM s MAXLEN 0"),
    ("GROUP g me CLAIM 0 COUNT 1", "XTRIM s MAXLEN 1"),
    (
        "GROUP g me CLAIM 0 COUNT 7 MAXDELIVERIES 5",
        "XTRIM s MAXLEN 7",
    ),
    ("GROUP g me SINGLE 1 COUNT 1", "XTRIM s MAXLEN 1"),
    ("GROUP g me SINGLE 1 CLAIM 0 COUNT 1", "XTRIM s MAXLEN 1"),
    ("GROUP g me CLAIM 0 COUNT 1 WHERE ENTITY none", "PING"),
    ("GROUP g other PENDING COUNT 1 WHERE ENTITY none", "PING"),
    ("GROUP g me SINGLE 1 COUNT 1 WHERE META a b", "PING"),
    (
        "GROUP g me CLAIM 0 COUNT 3 MAXDELIVERIES 1",
        "XTRIM s MAXLEN 3",
    ),
];

#[test]
fn what_is_pending_and_gone_or_unwanted_is_listed_once_for_all_that_is_taken() {
    let server = Server::start();
    // Who asks, the consumer that holds the entries, what becomes of them, and how many are left for it.
    for &(reader, gone) in STALLS {
        let case = format!("{gone}, {reader}");
        let mut redis = pending(&server);
        redis.run(gone);
        // The filter or the trimming has made them fewer, in as many calls as that takes.
        let (mut asked, mut lost, mut got) = (0u64, 0usize, 0usize);
        redis.run("CONFIG RESETSTAT");
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        loop {
            let before = Instant::now();
            let reply = redis.run(&format!("DIRTY.CONSUME s {reader}"));
            longest = longest.max(before.elapsed());
            asked += 1;
            got += reply.matches("entity-id").count();
            let missed = reply
                .rsplit("missed (")
                .next()
                .and_then(|missed| missed.strip_suffix(")]"));
            lost += missed.expect("a count").parse::<usize>().expect("a number");
            if got > 0 || redis.run("XPENDING s g").starts_with("[(0)") {
                break;
            }
            assert!(asked < 30, "{case}: {reply}");
        }
        // Each call of ours is followed by one more of this test's.
        let listings = calls(&mut redis, "xpending") - asked;
        let most = PENDING as u64 / 100 + 10 * asked;
        assert!(listings <= most, "{case}: {listings} listings, not {most}");
        let claims = calls(&mut redis, "xclaim");
        assert!(claims <= PENDING as u64 + 100, "{case}: {claims}");
        // Generously, for a machine that is busy with other tests: a third of one it is, twelve and more it was.
        assert!(
            longest < Duration::from_secs(6),
            "{case}: {longest:?} of {:?}",
            start.elapsed()
        );

        match gone {
            "PING" => assert_eq!((lost, got), (0, 0), "{case}"),
            _ => {
                let left: usize = gone
                    .rsplit(' ')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .expect("a number");
                let worn = reader.contains("MAXDELIVERIES 1");
                assert_eq!(got, if worn { 0 } else { left }, "{case}");
                assert_eq!(lost, PENDING - left, "{case}");
                assert_eq!(
                    redis.run("XLEN s:dead"),
                    if worn {
                        format!("({left})")
                    } else {
                        "(0)".into()
                    }
                );
            }
        }
        redis.run("FLUSHALL");
    }
}

/// XINFO STREAM replies the first and the last entry, however large they are.
#[test]
fn the_state_of_a_stream_is_asked_for_once_however_many_entries_are_buried_or_redriven() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STATELESS STREAM s");
    redis.run("XGROUP CREATE s g 0 MKSTREAM");
    let inserts = (0..1000).map(|id| format!(" INSERT {id} 0"));
    let flush = format!("DIRTY.FLUSH user{}", inserts.collect::<String>());
    redis.run(&flush);
    redis.run("XREADGROUP GROUP g other COUNT 1000 STREAMS s >");
    for (command, dead) in [
        (
            "DIRTY.CONSUME s GROUP g me CLAIM 0 MAXDELIVERIES 1 COUNT 10",
            "(1000)",
        ),
        ("DIRTY.REDRIVE s COUNT 1000", "(0)"),
    ] {
        redis.run("CONFIG RESETSTAT");
        redis.run(command);
        assert!(calls(&mut redis, "xinfo|stream") < 10, "{command}");
        assert_eq!(redis.run("XLEN s:dead"), dead, "{command}");
    }
    // The entries that came back have the seqs behind the last one.
    assert_eq!(redis.run("XLEN s"), "(2000)");
    let last = redis.run("XREVRANGE s + - COUNT 1");
    assert!(last.contains("-2000"), "{last}");
}
