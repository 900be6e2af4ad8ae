//! Event ids: seq counts a stream's events without a gap, whatever happens to the stream.

use super::support::{Conn, Server};

const DECLARE: &str = "DIRTY.DECLARE user STREAM s";

fn declared(server: &Server) -> Conn {
    let mut redis = server.connect();
    assert_eq!(redis.run(DECLARE), "OK");
    redis
}

/// Publishes an event to `s`.
fn publish(redis: &mut Conn) {
    assert_eq!(
        redis.run("DIRTY.FLUSH user SNAPSHOT 1 0 DELETE 1"),
        "[insert delete]"
    );
}

/// The ms and seq of each entry.
fn ids(redis: &mut Conn, stream: &str) -> Vec<(u64, u64)> {
    let redis::Value::Array(entries) = redis.ok(&["XRANGE", stream, "-", "+"]) else {
        panic!("no entries");
    };
    let id = |entry: &redis::Value| match entry {
        redis::Value::Array(entry) => super::support::text(&entry[0]),
        other => panic!("{other:?}"),
    };
    entries
        .iter()
        .map(|entry| {
            let id = id(entry);
            let (ms, seq) = id.split_once('-').unwrap();
            (ms.parse().unwrap(), seq.parse().unwrap())
        })
        .collect()
}

fn seqs(redis: &mut Conn, stream: &str) -> Vec<u64> {
    ids(redis, stream).into_iter().map(|(_, seq)| seq).collect()
}

#[test]
fn seq_counts_from_one_and_ms_is_the_time() {
    let server = Server::start();
    let mut redis = declared(&server);
    let time = |redis: &mut Conn| -> u64 {
        let now = redis.run("EVAL return{redis.call('TIME')[1]} 0");
        now.trim_matches(['[', ']']).parse::<u64>().unwrap() * 1000
    };
    let before = time(&mut redis);
    for _ in 0..50 {
        publish(&mut redis);
    }
    let after = time(&mut redis) + 1000;
    let ids = ids(&mut redis, "s");
    assert!(ids.iter().map(|id| id.1).eq(1..=100));
    assert!(
        ids.iter().all(|id| (before..=after).contains(&id.0)),
        "{ids:?}"
    );
    assert!(ids.is_sorted());
}

#[test]
fn entity_types_that_share_a_stream_share_its_count() {
    let server = Server::start();
    let mut redis = declared(&server);
    redis.run("DIRTY.DECLARE order STREAM s STREAM own");
    for command in [
        "DIRTY.FLUSH user INSERT 1 0",
        "DIRTY.FLUSH order INSERT 1 0",
        "DIRTY.FLUSH order INSERT 2 0",
        "DIRTY.FLUSH user DELETE 1",
    ] {
        redis.run(command);
    }
    assert_eq!(seqs(&mut redis, "s"), [1, 2, 3, 4]);
    assert_eq!(seqs(&mut redis, "own"), [1, 2]);
}

/// What others may do to a stream that holds the events 1 to 4, and the seqs it holds when two more
/// events were published.
#[test]
fn the_count_goes_on_from_the_streams_last_id_whatever_others_did_to_it() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let mut redis = declared(&server);
    for (others, expected) in [
        (vec![], vec![1, 2, 3, 4, 5, 6]),
        (vec!["DEL s"], vec![1, 2]),
        (vec!["UNLINK s"], vec![1, 2]),
        (vec!["PEXPIRE s 1", "DEBUG SLEEP 0.01"], vec![1, 2]),
        (vec!["XTRIM s MAXLEN 0"], vec![5, 6]),
        (vec!["XSETID s 99999999999999-41"], vec![1, 2, 3, 4, 42, 43]),
        (
            vec!["XADD s 99999999999999-7 a b"],
            vec![1, 2, 3, 4, 7, 8, 9],
        ),
        (
            vec!["DEBUG SLEEP 0.002", "XADD s * a b"],
            vec![1, 2, 3, 4, 0, 1, 2],
        ),
        (vec!["SET s x", "DEL s"], vec![1, 2]),
        (vec!["RENAME s t"], vec![1, 2]),
        (
            vec!["XADD t 99999999999999-9 a b", "RENAME t s"],
            vec![9, 10, 11],
        ),
        (
            vec!["XADD t 99999999999999-9 a b", "COPY t s REPLACE"],
            vec![9, 10, 11],
        ),
        (vec!["MOVE s 1"], vec![1, 2]),
        (
            vec![
                "MOVE s 1",
                "SELECT 1",
                "XADD s 99999999999999-9 a b",
                "MOVE s 0",
                "SELECT 0",
            ],
            vec![1, 2, 3, 4, 9, 10, 11],
        ),
        (vec!["SWAPDB 0 1", "SWAPDB 0 1"], vec![1, 2, 3, 4, 5, 6]),
        (vec!["SWAPDB 0 1", DECLARE], vec![1, 2]),
        (
            vec![
                "SELECT 1",
                "XADD s 1-9 a b",
                "SELECT 0",
                "SWAPDB 0 1",
                DECLARE,
            ],
            vec![9, 10, 11],
        ),
        (vec!["FLUSHDB", DECLARE], vec![1, 2]),
        (vec!["FLUSHALL ASYNC", DECLARE], vec![1, 2]),
        (vec!["DEBUG RELOAD"], vec![1, 2, 3, 4, 5, 6]),
        (vec!["SORT l STORE s", "DEL s"], vec![1, 2]),
    ] {
        redis.run("FLUSHALL");
        redis.run(DECLARE);
        publish(&mut redis);
        publish(&mut redis);
        for command in &others {
            redis.run(command);
        }
        publish(&mut redis);
        assert_eq!(seqs(&mut redis, "s"), expected, "after {others:?}");
        assert!(ids(&mut redis, "s").is_sorted(), "after {others:?}");
    }
}

/// Valkey 8.1.1 takes a client along when it tells a module that listens of an event in another database.
#[test]
fn who_moves_or_copies_a_key_to_another_database_stays_in_the_own_one() {
    let server = Server::start();
    let mut redis = declared(&server);
    redis.expect(
        r#"
COPY user copy DB 1 => (1)
EXISTS user => (1)
MOVE user 1 => (1)
EXISTS copy user => (0)
SELECT 1 => OK
EXISTS copy user => (2)
"#,
    );
}

#[test]
fn what_a_restored_stream_held_counts_on() {
    let server = Server::start();
    let mut redis = declared(&server);
    publish(&mut redis);
    let redis::Value::BulkString(dump) = redis.ok(&["DUMP", "s"]) else {
        panic!("no dump");
    };
    publish(&mut redis);
    redis.value(&[b"RESTORE".as_slice(), b"s", b"0", &dump, b"REPLACE"]);
    publish(&mut redis);
    assert_eq!(seqs(&mut redis, "s"), [1, 2, 3, 4]);
}

#[test]
fn others_may_touch_the_stream_within_a_transaction_or_script() {
    let server = Server::start();
    let mut redis = declared(&server);
    publish(&mut redis);
    for command in [
        "MULTI",
        "DIRTY.FLUSH user INSERT 1 0",
        "XADD s 99999999999999-41 a b",
        "DIRTY.FLUSH user DELETE 1",
        "EXEC",
    ] {
        redis.run(command);
    }
    assert_eq!(seqs(&mut redis, "s"), [1, 2, 3, 41, 42]);
    let script = "redis.call('DIRTY.FLUSH','user','INSERT','1','0') \
        redis.call('DEL','s') \
        redis.call('DIRTY.FLUSH','user','DELETE','1')";
    redis.value(&["EVAL", script, "0"]);
    assert_eq!(seqs(&mut redis, "s"), [1]);
}

#[test]
fn a_clock_that_goes_back_does_not() {
    let server = Server::start();
    let mut redis = declared(&server);
    // The stream's last event is of the future, as it is after the clock was set back.
    redis.run("XADD s 99999999999999-0 a b");
    publish(&mut redis);
    assert_eq!(
        ids(&mut redis, "s"),
        [
            (99999999999999, 0),
            (99999999999999, 1),
            (99999999999999, 2)
        ]
    );
}

#[test]
fn a_stream_at_the_last_seq_starts_to_count_anew() {
    let server = Server::start();
    let mut redis = declared(&server);
    redis.run("XADD s 99999999999999-18446744073709551615 a b");
    publish(&mut redis);
    let ids = ids(&mut redis, "s");
    assert_eq!(ids[1..], [(100000000000000, 1), (100000000000000, 2)]);
}

#[test]
fn a_server_that_was_a_replica_meanwhile_counts_on_from_what_it_got() {
    let server = Server::start();
    let mut redis = declared(&server);
    publish(&mut redis);
    let other = Server::start();
    let mut primary = declared(&other);
    primary.run("XADD s 1-9 a b");
    redis.ok(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]);
    server.wait_for_line("INFO replication", "master_link_status:up");
    let mut redis = server.connect();
    redis.ok(&["REPLICAOF", "NO", "ONE"]);
    publish(&mut redis);
    assert_eq!(seqs(&mut redis, "s"), [9, 10, 11]);
}

#[test]
fn the_count_survives_restarts_and_promotion() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = declared(&server);
    publish(&mut redis);
    server.kill();
    server.start_again();
    publish(&mut server.connect());
    let mut replica = Server::replica_of(&server);
    publish(&mut server.connect());
    server.wait_for_replica(&replica);
    server.kill();
    let mut promoted = replica.connect();
    promoted.ok(&["REPLICAOF", "NO", "ONE"]);
    publish(&mut promoted);
    assert!(seqs(&mut promoted, "s").into_iter().eq(1..=8));
    promoted.ok(&["SAVE"]);
    replica.kill();
    replica.start_again();
    let mut restarted = replica.connect();
    publish(&mut restarted);
    assert!(seqs(&mut restarted, "s").into_iter().eq(1..=10));
}

/// Lines `commands of one client; …`, each with a number of flushes that are events of `s` in the database 1.
const WAYS_TO_FLUSH: &str = r"
F => (1)
MULTI; F; EXEC => (1)
MULTI; F; F; GET x; F; EXEC => (3)
MULTI; SELECT 5; D; F; F; SELECT 0; F; EXEC => (3)
MULTI; SELECT 1; D; F; SELECT 5; F; SELECT 0; EXEC => (2)
E => (1)
MULTI; E; F; E; EXEC => (3)
MULTI; F; DISCARD => (0)
WATCH s; MULTI; F; EXEC => (1)
MULTI; DEFER; COMMIT; EXEC => (1)
SELECT 1; F; SELECT 0 => (1)
# As others write to it.
SELECT 1; X; SELECT 0 => (1)
MULTI; F; SELECT 1; X; SELECT 0; F; EXEC => (3)
MULTI; F; SELECT 1; X; F; SELECT 5; F; SELECT 0; EXEC => (4)
MULTI; F; X; F; EXEC => (2)
S => (1)
MULTI; S; EXEC => (1)
MULTI; F; S; F; S; EXEC => (4)
";

/// Sent to `u` here, or to that of another database, which publishes to the same stream.
fn flushed(redis: &mut Conn, step: &str, turn: usize) {
    let flush = format!("DIRTY.FLUSH u INSERT {turn} 1 a b");
    let declare = "DIRTY.DECLARE u STREAM s DB 1 STREAM t";
    let reply = match step {
        "F" => redis.run(&flush),
        "D" => redis.run(declare),
        "E" => {
            let words = flush.replace(' ', "','");
            let script = format!("return redis.call('{words}')");
            redis.raw(&["EVAL", &script, "0"])
        }
        "DEFER" => redis.run(&format!("DIRTY.FLUSH u DEFER token INSERT {turn} 1 a b")),
        "COMMIT" => redis.run("DIRTY.COMMIT u token"),
        // The next id as the module would give it; S by a script that goes to the database by itself.
        "X" | "S" => {
            let select = match step {
                "S" => "redis.call('SELECT', 1) ",
                _ => "",
            };
            let script = "local info = redis.call('XINFO','STREAM','s') \
                for i = 1, #info, 2 do if info[i] == 'last-generated-id' then \
                local ms, seq = info[i+1]:match('(%d+)-(%d+)') \
                return redis.call('XADD','s',ms..'-'..(seq+1),'a','b') end end";
            redis.raw(&["EVAL", &format!("{select}{script}"), "0"])
        }
        step => redis.run(step),
    };
    let fails = ["ERR", "WRONGTYPE", "NOENTITY"];
    assert!(
        !fails.iter().any(|code| reply.contains(code)),
        "{step}: {reply}"
    );
}

#[test]
fn the_seqs_of_a_stream_of_another_database_go_on_however_its_flushes_are_sent() {
    let server = Server::start();
    let (mut redis, mut other) = (server.connect(), server.connect());
    other.run("SELECT 1");
    // Streams of the same names in other databases, where they are none of the declaration's.
    for database in ["0", "5"] {
        redis.run(&format!("SELECT {database}"));
        redis.run("XADD s 9999999999999-5 a b");
    }
    redis.run("SELECT 0");
    redis.run("DIRTY.DECLARE u STREAM s DB 1 STREAM t");
    let (mut turn, mut added) = (0, 0);
    let mut flush = |redis: &mut Conn, steps: &str| {
        for step in steps.split("; ") {
            turn += 1;
            flushed(redis, step, turn);
        }
    };
    for (steps, events) in super::support::cases(WAYS_TO_FLUSH) {
        // What is remembered of the stream is used before and after.
        for _ in 0..3 {
            flush(&mut redis, "F");
        }
        flush(&mut redis, &steps);
        flush(&mut redis, "F");
        let events: u64 = events.trim_matches(['(', ')']).parse().expect("a number");
        added += events + 4;
        let seqs = seqs(&mut other, "s");
        assert!(seqs.iter().copied().eq(1..=added), "{steps}: {seqs:?}");
        // The client is where it was.
        assert_eq!(redis.run("EXISTS u s t"), "(3)", "{steps}");
        let missed = other.run("DIRTY.READ s FROM 0 COUNT 1000");
        assert!(
            missed.contains("] missed (0) more (0) "),
            "{steps}: {missed}"
        );
    }
}

/// Within MULTI the server does not tell of which database an event is: whatever touches a stream there makes the
/// module ask for its last id again.
#[test]
fn a_stream_of_another_database_that_is_replaced_within_a_transaction_is_looked_at_again() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE u STREAM s DB 1");
    redis.run("XADD x 5-700 a b");
    for (turn, (replace, first)) in [
        ("COPY x s DB 1 REPLACE", 701),
        (
            "EVAL return\\_redis.call('COPY','x','s','DB','1','REPLACE') 0",
            701,
        ),
        ("SWAPDB 1 2", 1),
        ("SWAPDB 1 2", 703),
    ]
    .into_iter()
    .enumerate()
    {
        let flush = format!("DIRTY.FLUSH u SNAPSHOT 1 1 a {turn}");
        redis.run(&flush);
        for command in ["MULTI", replace, &format!("{flush}1"), "EXEC"] {
            let reply = redis.run(command);
            assert!(!reply.contains("ERR"), "{command}: {reply}");
        }
        redis.run("SELECT 1");
        let last = ids(&mut redis, "s").last().map(|id| id.1);
        redis.run("SELECT 0");
        assert_eq!(last, Some(first), "{turn}: {replace}");
    }
}
