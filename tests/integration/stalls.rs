//! How much a reader looks at for what it gets. What was trimmed while it was pending, and what WHERE rejects,
//! costs once, and no command holds the server for long.

use super::support::readers::consume;
use super::support::{Conn, Server};
use std::time::Duration;

const PENDING: usize = 20_000;

/// A stream of so many events, all held by another consumer of the group.
fn pending(server: &Server, declared: &str) -> Conn {
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STATELESS STREAM s");
    for batch in 0..PENDING / 1000 {
        let inserts = (0..1000).map(|id| format!(" INSERT {batch}-{id} 0"));
        let flush = format!("DIRTY.FLUSH user{}", inserts.collect::<String>());
        redis.run(&flush);
    }
    let reader = format!("DIRTY.READER s GROUP g FROM 0 MAXPENDING {PENDING} {declared}");
    assert_eq!(redis.run(&reader), "OK", "{reader}");
    redis.run(&format!("DIRTY.CONSUME s GROUP g other COUNT {PENDING}"));
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

/// Options of the group, who asks, what becomes of the entries before, and how many are left.
const STALLS: &[(&str, &str, &str, usize)] = &[
    ("CLAIM 0", "me COUNT 1", "XTRIM s MAXLEN 0", 0),
    ("", "other PENDING COUNT 1", "XTRIM s MAXLEN 0", 0),
    ("CLAIM 0", "other PENDING COUNT 1", "XTRIM s MAXLEN 0", 0),
    ("CLAIM 0", "me COUNT 1", "XTRIM s MAXLEN 1", 1),
    (
        "CLAIM 0 MAXDELIVERIES 5",
        "me COUNT 7",
        "XTRIM s MAXLEN 1",
        1,
    ),
    (
        "CLAIM 0 MAXDELIVERIES 5",
        "me COUNT 7",
        "XTRIM s MAXLEN 0",
        0,
    ),
    ("CLAIM 0 ORDER STREAM", "me COUNT 1", "XTRIM s MAXLEN 1", 1),
    ("CLAIM 0 ORDER ENTITY", "me COUNT 1", "XTRIM s MAXLEN 1", 1),
    (
        "ORDER ENTITY",
        "other PENDING COUNT 1",
        "XTRIM s MAXLEN 0",
        0,
    ),
    (
        "CLAIM 0",
        "me COUNT 1",
        "DIRTY.READER s GROUP g CLAIM 0 WHERE ENTITY none",
        0,
    ),
    (
        "",
        "other PENDING COUNT 1",
        "DIRTY.READER s GROUP g WHERE META a b",
        0,
    ),
];

#[test]
fn what_is_pending_and_gone_or_unwanted_is_looked_at_once_for_all_that_is_taken() {
    let server = Server::start();
    for &(declared, reader, gone, left) in STALLS {
        let case = format!("{declared}, {gone}, {reader}");
        let mut redis = pending(&server, declared);
        redis.run(gone);
        // The filter or the trimming has made them fewer, in as many calls as that takes.
        let (mut asked, mut lost, mut got) = (0u64, 0usize, 0usize);
        redis.run("CONFIG RESETSTAT");
        let mut longest = Duration::ZERO;
        loop {
            let before = redis.cpu();
            let reply = redis.run(&format!("DIRTY.CONSUME s GROUP g {reader}"));
            longest = longest.max(redis.cpu() - before);
            asked += 1;
            got += reply.matches("entity-id").count();
            let missed = reply
                .rsplit("missed (")
                .next()
                .and_then(|rest| rest.split(')').next());
            lost += missed.expect("a count").parse::<usize>().expect("a number");
            if got > 0 || redis.run("DIRTY.PENDING s GROUP g COUNT 1") == "[]" {
                break;
            }
            // Whoever asks again finds something.
            assert!(reply.contains("more (1)"), "{case}: {reply}");
            assert!(asked < 30, "{case}: {reply}");
        }
        let natively = calls(&mut redis, "xinfo|stream");
        assert!(natively <= asked, "{case}: {natively} looks at the stream");
        assert!(longest < Duration::from_secs(1), "{case}: {longest:?}");
        assert_eq!(got, left, "{case}");
        let gone_for_good = if gone.starts_with("XTRIM") {
            PENDING - left
        } else {
            0
        };
        assert_eq!(lost, gone_for_good, "{case}");
        redis.run("FLUSHALL");
    }
}

/// XINFO STREAM replies the first and the last entry, however large they are.
#[test]
fn the_state_of_a_stream_is_asked_for_once_however_many_entries_are_buried_or_redriven() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STATELESS STREAM s");
    redis.run("DIRTY.READER s GROUP g FROM 0");
    let inserts = (0..1000).map(|id| format!(" INSERT {id} 0"));
    let flush = format!("DIRTY.FLUSH user{}", inserts.collect::<String>());
    redis.run(&flush);
    let ids = consume(&mut redis, "s GROUP g other COUNT 1000")
        .ids
        .join(" ");
    for (command, dead) in [
        (
            format!("DIRTY.FAIL s GROUP g other why FATAL {ids}"),
            "(1000)",
        ),
        ("DIRTY.REDRIVE s GROUP g ALL".into(), "(1000)"),
        ("DIRTY.CONSUME s GROUP g other COUNT 1000".into(), "(1000)"),
        (format!("DIRTY.ACK s GROUP g other {ids}"), "(0)"),
    ] {
        redis.run("CONFIG RESETSTAT");
        let reply = redis.run(&command);
        assert!(!reply.starts_with("ERR"), "{reply}");
        assert!(calls(&mut redis, "xinfo|stream") < 10, "{}", &command[..30]);
        assert_eq!(redis.run("XLEN s:dead"), dead, "{}", &command[..30]);
    }
    // Nothing was appended to the stream itself.
    assert_eq!(redis.run("XLEN s"), "(1000)");
}

/// Runs commands and notes what the longest has cost.
struct Costs {
    redis: Conn,
    all: Vec<(u64, String)>,
}

impl Costs {
    fn run(&mut self, command: &str) -> String {
        let before = self.redis.cpu();
        let reply = self.redis.run(command);
        let cost = self.redis.cpu() - before;
        let cost = u64::try_from(cost.as_micros()).expect("µs");
        let begin = command.chars().take(40).collect();
        self.all.push((cost, begin));
        reply
    }

    fn sweep(&mut self, run: &str, until: &str, options: &str) {
        let command = format!("DIRTY.RECONCILE user SWEEP {run} MAXDELETE 100% {options}");
        loop {
            let reply = self.run(&command);
            assert!(reply.starts_with("[phase"), "{reply}");
            if reply.contains(&format!("phase {until}")) {
                return;
            }
        }
    }
}

/// `ENTITIES=1000000` has more of them.
#[test]
fn no_call_of_a_run_over_many_entities_holds_the_server_for_long() {
    let entities = std::env::var("ENTITIES").map_or(100_000, |text| text.parse().expect("n"));
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user TYPES 1 age int STREAM s MAXLEN 1000");
    let fill = "for id = ARGV[1], ARGV[2] - 1 do redis.call('HSET', 'user:' .. id, 'age', 1) end";
    for from in (0..entities).step_by(20_000) {
        let (from, to) = (from.to_string(), (from + 20_000).min(entities).to_string());
        redis.ok(&["EVAL", fill, "0", &from, &to]);
    }
    let mut costs = Costs {
        redis: server.connect(),
        all: Vec::new(),
    };
    for run in ["aborted", "r"] {
        assert_eq!(
            costs.run(&format!("DIRTY.RECONCILE user BEGIN {run}")),
            "OK"
        );
        let half: Vec<usize> = (0..entities / 2).collect();
        for ids in half
            .chunks(200)
            .take(if run == "r" { half.len() } else { 1 })
        {
            let rows = ids.iter().map(|id| format!(" SNAPSHOT {id} 1 age 1"));
            costs.run(&format!(
                "DIRTY.FLUSH user RUN {run}{}",
                rows.collect::<String>()
            ));
        }
        costs.sweep(run, "done", "DRYRUN");
        costs.sweep(run, "deleting", "");
        if run == "aborted" {
            assert_eq!(costs.run("DIRTY.RECONCILE user ABORT aborted"), "(1)");
        }
    }
    costs.sweep("r", "done", "");
    assert_eq!(redis.run("DBSIZE"), format!("({})", entities / 2 + 2));
    costs.all.sort();
    let median = costs.all[costs.all.len() / 2].0;
    let (longest, command) = costs.all.last().expect("a command");
    println!(
        "{entities} entities: half take up to {median} µs, the longest {longest} µs: {command}"
    );
    // On a machine that is slower than ours everything takes longer.
    let goal = 5000.max(5 * median);
    assert!(*longest <= goal, "{longest} µs, not {goal}: {command}");
}
