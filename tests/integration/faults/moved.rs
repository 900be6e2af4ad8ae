//! Every key that the module writes, moved about as operators do: what comes back is what went.

use crate::support::readers::consume;
use crate::support::{Conn, Server, words};

/// Keys of every kind: a declaration, snapshots, streams, their readers with all that these may hold, a dead stream,
/// what waits for COMMIT, a token.
fn seed(redis: &mut Conn) -> Vec<String> {
    redis.expect(
        r#"
DIRTY.DECLARE user VERSION v TOMBSTONE 3600000 STREAM s STREAM t FORMAT DEBEZIUM => OK
DIRTY.FLUSH user SNAPSHOT 1 2 v 1 a b SNAPSHOT 2 1 v 1 SNAPSHOT 3 1 v 1 SNAPSHOT 4 1 v 1
  => [insert insert insert insert]
DIRTY.FLUSH user SNAPSHOT 5 1 v 1 DELETE 5 1 v 2 => [insert delete]
DIRTY.FLUSH user ONCE token SNAPSHOT 1 2 v 2 a c => [update]
DIRTY.FLUSH user DEFER waiting SNAPSHOT 1 2 v 3 a d => [deferred]
"#,
    );
    redis.expect(
        "DIRTY.READER s GROUP g FROM 0 CLAIM 0 => OK\n\
         DIRTY.READER s GROUP h FROM 0 CLAIM 0 MAXDELIVERIES 9 => OK\n\
         DIRTY.READER s GROUP o FROM 0 ORDER ENTITY ONDEAD PARK WHERE OPS IUD META a b REVISION 3 => OK\n\
         DIRTY.READER s GROUP o ORDER ENTITY ONDEAD PARK REVISION 4 => OK",
    );
    let ids = consume(redis, "s GROUP g me COUNT 4").ids;
    consume(redis, "s GROUP h me");
    consume(redis, "s GROUP o me");
    for command in [
        format!("DIRTY.FAIL s GROUP g me first FATAL {}", ids[0]),
        format!("DIRTY.FAIL s GROUP g me second {}", ids[1]),
        format!("DIRTY.ACK s GROUP g me {}", ids[2]),
        format!("DIRTY.FAIL s GROUP o me third FATAL {}", ids[0]),
        "DIRTY.PAUSE s GROUP o ON".into(),
        format!("DIRTY.READER t CURSOR k FROM {} SHARD 0 2", ids[1]),
    ] {
        let reply = redis.run(&command);
        assert!(
            ["[dead]", "[retry]", "[]", "OK"].contains(&&*reply),
            "{command}: {reply}"
        );
    }
    let mut keys: Vec<String> = words(&redis.run("KEYS *").replace(['[', ']'], " "))
        .into_iter()
        .map(|key| String::from_utf8(key).unwrap())
        .collect();
    keys.sort();
    let expected = "s s:dead s:readers t t:readers user user:1 user:2 user:3 user:4 user:5 \
                    user@deferred user@once:token";
    assert_eq!(keys.join(" "), expected);
    keys
}

/// What the same clients do next, and what they are told; times and ids apart.
fn goes_on(redis: &mut Conn) -> Vec<String> {
    goes_on_by(redis, |redis, command| redis.run(command))
}

fn goes_on_by(redis: &mut Conn, mut run: impl FnMut(&mut Conn, &str) -> String) -> Vec<String> {
    let mut replies = Vec::new();
    for command in [
        "DIRTY.INFO user",
        "DIRTY.FLUSH user SNAPSHOT 5 1 v 1",
        "DIRTY.FLUSH user ONCE token SNAPSHOT 1 2 v 9 a z",
        "DIRTY.COMMIT user waiting",
        "DIRTY.FLUSH user SNAPSHOT 2 2 v 2 b c SNAPSHOT 6 1 v 1",
        "DIRTY.GET user 1 2 3 4 5 6",
        "DIRTY.PENDING s GROUP g",
        "DIRTY.CONSUME s GROUP g me PENDING COUNT 2",
        "DIRTY.CONSUME s GROUP h me PENDING",
        "DIRTY.READ t FROM 0 COUNT 3",
        "XRANGE s:dead - +",
        "DIRTY.REDRIVE s GROUP g ALL",
        "DIRTY.PENDING s GROUP g",
        "DIRTY.CONSUME s GROUP o other",
        "DIRTY.PAUSE s GROUP o OFF",
        "DIRTY.DISCARD s GROUP o ALL",
        "DIRTY.CONSUME s GROUP o me PENDING",
        "DIRTY.CONSUME t CURSOR k",
        "DIRTY.READER s GROUP o REVISION 2",
        "DIRTY.STATS s",
        "XRANGE s - +",
    ] {
        let reply = run(redis, command);
        replies.push(format!("{command}: {}", without_times(&reply)));
    }
    replies
}

fn assert_same(replies: &[String], expected: &[String], way: &str) {
    assert_eq!(replies.len(), expected.len());
    for (reply, expected) in replies.iter().zip(expected) {
        assert_eq!(reply, expected, "{way}");
    }
}

/// Numbers of a stream's ms, of ages and of memory differ between runs.
fn without_times(reply: &str) -> String {
    let is_time = |digits: &str| digits.len() >= 13;
    let mut out = String::new();
    let mut digits = String::new();
    for c in reply.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        out += if is_time(&digits) { "ms" } else { &digits };
        digits.clear();
        out.push(c);
    }
    let mut kept = Vec::new();
    let mut words = out.split(' ');
    while let Some(word) = words.next() {
        kept.push(word);
        let varies = ["bytes", "idle-ms", "oldest-event-ms", "oldest-unread-ms"].contains(&word)
            || word.ends_with("-seconds");
        if varies {
            words.next();
        }
    }
    kept.join(" ")
}

fn raw(redis: &mut Conn, words: &[&[u8]]) -> Vec<u8> {
    match redis.value(words) {
        redis::Value::BulkString(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

type Way = fn(&mut Conn, &str, &Server);

/// How a key goes away and comes back.
const WAYS: [(&str, Way); 7] = [
    ("COPY", |redis, key, _| {
        let copy = format!(
            "COPY {key} elsewhere => (1)\nDEL {key} => (1)\nCOPY elsewhere {key} => (1)\nDEL elsewhere => (1)"
        );
        redis.expect(&copy);
    }),
    ("COPY DB", |redis, key, _| {
        let copy = format!(
            "COPY {key} {key} DB 1 => (1)\nDEL {key} => (1)\nSELECT 1 => OK\nCOPY {key} {key} DB 0 => (1)\nDEL {key} => (1)\nSELECT 0 => OK"
        );
        redis.expect(&copy);
    }),
    ("RENAME", |redis, key, _| {
        redis.expect(&format!(
            "RENAME {key} elsewhere => OK\nRENAME elsewhere {key} => OK"
        ));
    }),
    ("MOVE", |redis, key, _| {
        let there =
            format!("MOVE {key} 1 => (1)\nSELECT 1 => OK\nMOVE {key} 0 => (1)\nSELECT 0 => OK");
        redis.expect(&there);
    }),
    ("SWAPDB", |redis, _, _| {
        redis.expect("SWAPDB 0 1 => OK\nSWAPDB 1 0 => OK");
    }),
    ("RESTORE", |redis, key, _| {
        let dump = raw(redis, &[b"DUMP", key.as_bytes()]);
        let ttl = redis.run(&format!("PTTL {key}"));
        let ttl = ttl.trim_matches(['(', ')']).replace("-1", "0");
        let words: [&[u8]; 5] = [
            b"RESTORE",
            key.as_bytes(),
            ttl.as_bytes(),
            &dump,
            b"REPLACE",
        ];
        redis.run(&format!("DEL {key}"));
        assert_eq!(redis.raw(&words), "OK");
    }),
    ("MIGRATE", |redis, key, other| {
        let port = other.port;
        redis.expect(&format!("MIGRATE 127.0.0.1 {port} {key} 0 5000 => OK"));
        let mut there = other.connect();
        let back = redis.run("CONFIG GET port");
        let back = back
            .trim_matches(['[', ']'])
            .split(' ')
            .next_back()
            .unwrap();
        there.expect(&format!("MIGRATE 127.0.0.1 {back} {key} 0 5000 => OK"));
    }),
];

#[test]
fn a_key_that_was_moved_about_is_what_it_was() {
    let untouched = {
        let server = Server::start();
        let mut redis = server.connect();
        seed(&mut redis);
        goes_on(&mut redis)
    };
    let other = Server::start();
    for (name, way) in WAYS {
        let server = Server::start();
        let mut redis = server.connect();
        let keys = seed(&mut redis);
        let digest = redis.digest();
        for key in &keys {
            way(&mut redis, key, &other);
        }
        assert_eq!(redis.digest(), digest, "{name}");
        assert_same(&goes_on(&mut redis), &untouched, name);
    }
}

#[test]
fn what_was_saved_and_loaded_is_what_it_was() {
    let untouched = {
        let server = Server::start();
        let mut redis = server.connect();
        seed(&mut redis);
        goes_on(&mut redis)
    };
    for preamble in ["yes", "no"] {
        for way in ["DEBUG RELOAD", "DEBUG LOADAOF", "BGREWRITEAOF", "restart"] {
            let options = ["--appendonly", "yes", "--aof-use-rdb-preamble", preamble];
            let mut server = Server::with(&options);
            let mut redis = server.connect();
            seed(&mut redis);
            let digest = redis.digest();
            match way {
                "restart" => server.restart(),
                "BGREWRITEAOF" => {
                    redis.run(way);
                    server.wait_for_line("INFO persistence", "aof_rewrite_in_progress:0");
                    server.wait_for_line("INFO persistence", "aof_last_bgrewrite_status:ok");
                    server.restart();
                }
                way => assert_eq!(redis.run(way), "OK"),
            }
            let mut redis = server.connect();
            assert_eq!(redis.digest(), digest, "{way} {preamble}");
            assert_same(
                &goes_on(&mut redis),
                &untouched,
                &format!("{way} {preamble}"),
            );
        }
    }
}

#[test]
fn in_a_transaction_and_in_a_script_every_command_does_the_same() {
    type Around = fn(&mut Conn, &str) -> String;
    let ways: [(&str, Around); 4] = [
        ("MULTI", |redis, command| {
            redis.expect("MULTI => OK");
            assert_eq!(redis.run(command), "QUEUED");
            let replies = redis.run("EXEC");
            replies[1..replies.len() - 1].to_string()
        }),
        ("EVAL", |redis, command| in_script(redis, "EVAL", command)),
        ("a script within MULTI", |redis, command| {
            redis.expect("MULTI => OK");
            assert_eq!(in_script(redis, "EVAL", command), "QUEUED");
            let replies = redis.run("EXEC");
            replies[1..replies.len() - 1].to_string()
        }),
        ("FCALL", |redis, command| {
            let library = "#!lua name=around\nredis.register_function('around', \
                           function(keys, args) return redis.call(unpack(args)) end)";
            redis.raw(&["FUNCTION", "LOAD", "REPLACE", library]);
            in_script(redis, "FCALL", command)
        }),
    ];
    let run = |way: Around| {
        let server = Server::start();
        let replica = Server::replica_of(&server);
        let mut redis = server.connect();
        seed(&mut redis);
        let replies = goes_on_by(&mut redis, way);
        server.wait_for_replica(&replica);
        assert_eq!(replica.connect().digest(), redis.digest());
        replies
    };
    let plain = run(|redis, command| redis.run(command));
    for (name, way) in ways {
        assert_same(&run(way), &plain, name);
    }
}

fn in_script(redis: &mut Conn, by: &str, command: &str) -> String {
    let script = match by {
        "EVAL" => "return redis.call(unpack(ARGV))",
        _ => "around",
    };
    let mut words_of_it: Vec<Vec<u8>> = vec![by.into(), script.into(), "0".into()];
    words_of_it.extend(words(command));
    redis.raw(&words_of_it)
}
