//! ONCE: the same token again gives the first reply again and does nothing.

use super::support::entities::declared;
use super::support::entries::sequence;
use super::support::replication::{AOF, appended};
use super::support::{Conn, Server, words};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A connection that shows the bytes of replies.
struct Socket(TcpStream);

impl Socket {
    fn resp2(server: &Server) -> Socket {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        Socket(stream)
    }

    fn resp3(server: &Server) -> Socket {
        let mut socket = Socket::resp2(server);
        assert!(socket.ask("HELLO 3").starts_with("%"));
        socket
    }

    /// The bytes of the reply, escaped.
    fn ask(&mut self, command: &str) -> String {
        const END: &[u8] = b"+PONG\r\n";
        let words = words(command);
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"PING\r\n");
        self.0.write_all(&bytes).expect("a connection");
        let mut reply = Vec::new();
        while !reply.ends_with(END) {
            let mut part = [0; 4096];
            let length = self.0.read(&mut part).expect("a reply");
            assert_ne!(length, 0, "closed after {}", reply.escape_ascii());
            reply.extend(&part[..length]);
        }
        reply.truncate(reply.len() - END.len());
        reply.escape_ascii().to_string()
    }
}

/// What a flush may change here and elsewhere.
fn state(redis: &mut Conn) -> [String; 2] {
    [redis.digest(), redis.replicated()]
}

#[test]
fn the_first_reply_comes_again_byte_for_byte() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let _replica = Server::replica_of(&server);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user VERSION v STREAM s STREAM t\\x00 OPS NONE FIELDS 1 b");
    let mut sockets = [Socket::resp2(&server), Socket::resp3(&server)];
    for (number, (flush, expected)) in [
        ("SNAPSHOT 1 2 v 1 a x", "*1\\r\\n+insert\\r\\n"),
        ("SNAPSHOT 1 2 v 1 a x", "*1\\r\\n+none\\r\\n"),
        ("SNAPSHOT 1 2 v 1 a y", "*1\\r\\n+conflict\\r\\n"),
        ("SNAPSHOT 1 2 v 0 a y", "*1\\r\\n+stale\\r\\n"),
        ("DELETE 404", "*1\\r\\n+none\\r\\n"),
        (
            "UPDATE 1 2 v 2 b y TOUCH 1 SEED 2 1 v 1 DELETE 1",
            "*4\\r\\n+update\\r\\n+touch\\r\\n+seed\\r\\n+delete\\r\\n",
        ),
        (
            "WITHEVENTS META 1 a b DELETE 1 INSERT 3 2 v 1 b x DELETE 3 DELETE 404",
            "*4\\r\\n*3\\r\\n+none\\r\\n*0\\r\\n*0\\r\\n\
             *3\\r\\n+insert\\r\\n*2\\r\\n$1\\r\\nv\\r\\n$1\\r\\nb\\r\\n*2\\r\\n$1\\r\\ns\\r\\n$15\\r\\nID-5\\r\\n\
             *3\\r\\n+delete\\r\\n*2\\r\\n$1\\r\\nb\\r\\n$1\\r\\nv\\r\\n*2\\r\\n$1\\r\\ns\\r\\n$15\\r\\nID-6\\r\\n\
             *3\\r\\n+none\\r\\n*0\\r\\n*0\\r\\n",
        ),
        (
            "WITHEVENTS INSERT 4 1 v 1 UPDATE 4 2 v 2 b \\xff",
            "*2\\r\\n*3\\r\\n+insert\\r\\n*1\\r\\n$1\\r\\nv\\r\\n*2\\r\\n$1\\r\\ns\\r\\n$15\\r\\nID-7\\r\\n\
             *3\\r\\n+update\\r\\n*2\\r\\n$1\\r\\nv\\r\\n$1\\r\\nb\\r\\n*4\\r\\n$1\\r\\ns\\r\\n$15\\r\\nID-8\\r\\n\
             $2\\r\\nt\\x00\\r\\n$15\\r\\nID-3\\r\\n",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (first, second) = (number % 2, 1 - number % 2);
        let command = format!("DIRTY.FLUSH user ONCE t{number} {flush}");
        let reply = sockets[first].ask(&command);
        assert_eq!(without_ms(&reply), expected, "{flush}");
        let before = state(&mut redis);
        std::thread::sleep(Duration::from_millis(2)); // another id would have another time
        assert_eq!(sockets[first].ask(&command), reply, "{flush}");
        assert_eq!(sockets[second].ask(&command), reply, "{flush}");
        assert_eq!(state(&mut redis), before, "{flush}");
    }
}

/// Ids as `ID-seq`.
fn without_ms(reply: &str) -> String {
    let lines: Vec<String> = reply
        .split("\\r\\n")
        .map(|line| match line.split_once('-') {
            Some((ms, seq)) if ms.len() == 13 => format!("ID-{seq}"),
            _ => line.into(),
        })
        .collect();
    lines.join("\\r\\n")
}

#[test]
fn what_no_diff_recognises_is_done_once() {
    let (_server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user INSERT 1 1 a x => [insert]
DIRTY.FLUSH user ONCE a TOUCH 1 => [touch]
DIRTY.FLUSH user ONCE a TOUCH 1 => [touch]
DIRTY.FLUSH user UPDATE 1 1 a y UPDATE 1 1 a x => [update update]
DIRTY.FLUSH user ONCE b UPDATE 1 1 a y UPDATE 1 1 a z => [update update]
DIRTY.FLUSH user ONCE b UPDATE 1 1 a y UPDATE 1 1 a z => [update update]
# Nor does it do anything when somebody else has written in between.
DIRTY.FLUSH user ONCE c UPDATE 1 1 a w => [update]
DIRTY.FLUSH user UPDATE 1 1 a v => [update]
DIRTY.FLUSH user ONCE c UPDATE 1 1 a w => [update]
HGETALL user:1 => [a v]
XLEN s => (8)
DIRTY.DECLARE user STATELESS STREAM s => OK
DIRTY.FLUSH user ONCE d INSERT 9 0 DELETE 9 => [insert delete]
DIRTY.FLUSH user ONCE d INSERT 9 0 DELETE 9 => [insert delete]
XLEN s => (10)
# A token is one for all that is declared at its key, and for nothing else.
DIRTY.FLUSH user ONCE c INSERT 8 0 => [update]
DIRTY.DECLARE order STATELESS STREAM s => OK
DIRTY.FLUSH order ONCE c INSERT 8 0 => [insert]
XLEN s => (11)
# Options in any order, in any case.
DIRTY.FLUSH user META 1 a b once e INSERT 7 1 a x => [insert]
DIRTY.FLUSH user WITHEVENTS ONCE e 900 META 0 INSERT 7 1 a x => [insert]
XLEN s => (12)
"#,
    );
}

#[test]
fn another_body_under_the_same_token_gives_the_first_reply() {
    let (_server, mut redis) = declared("TYPES 1 i int STREAM s");
    redis.run("DIRTY.FLUSH user ONCE t INSERT 1 1 a x");
    let before = redis.digest();
    for operations in [
        "INSERT 1 1 a y",
        "DELETE 1",
        "TOUCH 1 TOUCH 1",
        "WITHEVENTS SNAPSHOT 2 0",
        // Also one that would be refused.
        "UPDATE 404 0",
        "INSERT 2 1 i junk",
        "SNAPSHOT 2 1 @ x",
        "DEFER d DELETE 1",
    ] {
        let reply = redis.run(&format!("DIRTY.FLUSH user ONCE t 5 {operations}"));
        assert_eq!(reply, "[insert]", "{operations}");
        assert_eq!(redis.digest(), before, "{operations}");
    }
    assert_eq!(redis.run("EXISTS user@deferred"), "(0)");
}

#[test]
fn a_token_is_remembered_for_a_day_or_as_long_as_it_is_told() {
    let (_server, mut redis) = declared("STREAM s");
    let now_ms = {
        let script = "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)";
        move |redis: &mut Conn| number(&redis.raw(&["EVAL", script, "0"]))
    };
    for (once, token, lifetime_ms) in [
        ("ONCE t", "t", DAY_MS),
        ("ONCE u 5000", "u", 5_000),
        ("ONCE v 9007199254740992", "v", 1 << 53),
        ("ONCE 7", "7", DAY_MS),
        ("ONCE 8 60000", "8", 60_000),
    ] {
        let key = format!("user@once:{token}");
        let from = now_ms(&mut redis);
        redis.run(&format!("DIRTY.FLUSH user {once} DELETE 404"));
        let to = now_ms(&mut redis);
        let expires = number(&redis.run(&format!("PEXPIRETIME {key}")));
        let since = expires - lifetime_ms;
        assert!((from..=to).contains(&since), "{once}: {from} {since} {to}");
        assert_eq!(redis.run(&format!("TYPE {key}")), "string");
        // The same again does not make it last longer.
        redis.run(&format!("PEXPIRE {key} 100000"));
        let expires = redis.run(&format!("PEXPIRETIME {key}"));
        redis.run(&format!("DIRTY.FLUSH user {once} DELETE 404"));
        assert_eq!(redis.run(&format!("PEXPIRETIME {key}")), expires, "{once}");
    }
    // After that it acts again, also where the server has not swept the key.
    for active in ["1", "0"] {
        redis.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", active]);
        redis.run("DIRTY.FLUSH user SEED 1 0");
        let before = sequence(&mut redis, "s").len();
        for flush in 1..=3 {
            let reply = redis.run("DIRTY.FLUSH user ONCE short 1 TOUCH 1");
            assert_eq!(reply, "[touch]");
            assert_eq!(sequence(&mut redis, "s").len(), before + flush);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(redis.run("EXISTS user@once:short"), "(0)");
}

#[test]
fn a_token_may_be_any_bytes() {
    let (_server, mut redis) = declared("STATELESS STREAM s");
    let long = vec![b'x'; 100_000];
    let tokens: &[&[u8]] = &[
        b"\0",
        b"\xff\xfe",
        b"\r\n",
        b" ",
        b"*",
        b"5",
        b"ONCE",
        b"DELETE",
        b"user@once:",
        &long,
    ];
    for (index, token) in tokens.iter().enumerate() {
        let flush = [
            b"DIRTY.FLUSH".as_slice(),
            b"user",
            b"ONCE",
            token,
            b"TOUCH",
            b"1",
        ];
        let with_ms = [
            b"DIRTY.FLUSH".as_slice(),
            b"user",
            b"ONCE",
            token,
            b"900",
            b"DELETE",
            b"1",
        ];
        for flush in [flush.as_slice(), &flush, &with_ms] {
            let show = &token[..token.len().min(20)];
            assert_eq!(redis.raw(flush), "[touch]", "{show:?}");
            assert_eq!(redis.run("XLEN s"), format!("({})", index + 1), "{show:?}");
        }
        let key = [b"user@once:".as_slice(), token].concat();
        assert_eq!(redis.raw(&[b"TYPE".as_slice(), &key]), "string");
    }
    assert_eq!(redis.run("DBSIZE"), format!("({})", tokens.len() + 2));
}

#[test]
fn a_refused_flush_does_not_use_its_token_up() {
    let (_server, mut redis) = declared("TYPES 1 i int STREAM s STREAM t");
    redis.run("DIRTY.FLUSH user SEED 1 1 a x");
    redis.run("DIRTY.FLUSH user DEFER taken TOUCH 1");
    redis.run("SET user:string text");
    let before = redis.digest();
    for refused in [
        "UPDATE 404 0",
        "INSERT 1 1 a y",
        "INSERT 2 1 i junk",
        "INSERT 2 1 @ x",
        "INSERT 2 0 INSERT string 0",
        "DEFER taken DELETE 1",
        "DEFER new INSERT 2 1 i junk",
        "FLY 1",
        "",
    ] {
        let reply = redis.run(&format!("DIRTY.FLUSH user ONCE token {refused}"));
        assert!(!reply.starts_with('['), "{refused}: {reply}");
        assert_eq!(redis.digest(), before, "{refused}");
    }
    redis.ok(&["SET", "t", "text"]);
    let reply = redis.run("DIRTY.FLUSH user ONCE token INSERT 2 0");
    assert!(reply.starts_with("WRONGTYPE"), "{reply}");
    assert_eq!(redis.run("EXISTS user@once:token user:2 s"), "(0)");
    redis.ok(&["DEL", "t"]);
    assert_eq!(
        redis.run("DIRTY.FLUSH user ONCE token INSERT 2 0"),
        "[insert]"
    );
    assert_eq!(
        redis.run("DIRTY.FLUSH user ONCE token UPDATE 404 0"),
        "[insert]"
    );
}

#[test]
fn a_key_that_holds_something_else_is_left_alone() {
    let (_server, mut redis) = declared("STREAM s");
    for make in [
        "RPUSH user@once:t a",
        "HSET user@once:t a b",
        "SADD user@once:t a",
        "ZADD user@once:t 1 a",
        "XADD user@once:t 1-1 a b",
        "RENAME x user@once:t",
        // Strings that are no reply: foreign, cut short, of a later version.
        "SET user@once:t text",
        "SET user@once:t \"\"",
        "SET user@once:t 5",
        "SET user@once:t \\x92\\x01",
        "SET user@once:t \\x92\\x02\\xa8deferred",
        "SET user@once:t \\x92\\x01\\x81\\xa4done\\xdd\\xff\\xff\\xff\\xff",
    ] {
        redis.run("DEL user@once:t");
        redis.run("DIRTY.DECLARE x STREAM x-changes");
        redis.run(make);
        let before = redis.digest();
        for flush in ["INSERT 1 1 a x", "DELETE 1", "DEFER d INSERT 1 0"] {
            let reply = redis.run(&format!("DIRTY.FLUSH user ONCE t {flush}"));
            assert_eq!(
                reply, "WRONGTYPE the key \"user@once:t\" does not hold the first reply to a flush",
                "{make}"
            );
            assert_eq!(redis.digest(), before, "{make}");
        }
    }
    redis.run("DEL user@once:t");
    assert_eq!(
        redis.run("DIRTY.FLUSH user ONCE t INSERT 1 1 a x"),
        "[insert]"
    );
}

/// The token's key is the declaration's own: neither a snapshot nor a stream can be there.
#[test]
fn no_event_and_no_snapshot_is_lost_to_a_token() {
    let (_server, mut redis) = declared("PREFIX user@ STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user ONCE t INSERT once:t 1 a x
  => WRONGTYPE the snapshot of entity "once:t" would be stored at "user@once:t", which holds its declaration's replies of ONCE
DIRTY.DECLARE user STREAM user@once:t
  => ERR stream "user@once:t" would be one of the declaration's own keys
# By another name it is a stream like any, until the declaration takes the name that fits.
DIRTY.DECLARE other STREAM user@once:t => OK
RENAME other user => OK
DIRTY.FLUSH user ONCE t INSERT 1 1 a x
  => WRONGTYPE the key "user@once:t" does not hold the first reply to a flush
DIRTY.FLUSH user ONCE u INSERT 1 1 a x => [insert]
XLEN user@once:t => (1)
DIRTY.FLUSH user ONCE t INSERT 2 1 a x
  => WRONGTYPE the key "user@once:t" does not hold the first reply to a flush
"#,
    );
}

#[test]
fn in_a_transaction_and_in_a_script_a_token_counts_at_once() {
    let (_server, mut redis) = declared("STATELESS STREAM s");
    redis.expect(
        r#"
MULTI => OK
DIRTY.FLUSH user ONCE t INSERT 1 0 => QUEUED
DIRTY.FLUSH user ONCE t DELETE 1 => QUEUED
DIRTY.FLUSH user ONCE u DELETE 1 => QUEUED
EXEC => [[insert] [insert] [delete]]
XLEN s => (2)
EVAL return\_{redis.call('DIRTY.FLUSH','user','ONCE','v','TOUCH','1'),redis.call('DIRTY.FLUSH','user','ONCE','v','DELETE','1'),redis.call('DIRTY.FLUSH','user','ONCE','t','TOUCH','1')} 1 user
  => [[touch] [touch] [insert]]
XLEN s => (3)
MULTI => OK
DIRTY.FLUSH user ONCE w INSERT 1 0 => QUEUED
DISCARD => OK
DIRTY.FLUSH user ONCE w DELETE 1 => [delete]
"#,
    );
}

#[test]
fn a_flush_is_deferred_once() {
    let (_server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user ONCE t DEFER d INSERT 1 1 a x => [deferred]
DIRTY.FLUSH user DEFER d ONCE t INSERT 1 1 a x => [deferred]
HLEN user@deferred => (1)
DIRTY.COMMIT user d => [[insert]]
# Who has lost the reply does not defer it again.
DIRTY.FLUSH user ONCE t DEFER d INSERT 1 1 a x => [deferred]
EXISTS user@deferred => (0)
DIRTY.COMMIT user d => [nil]
# What waits has no token to use up.
DIRTY.FLUSH user DEFER d TOUCH 1 => [deferred]
DIRTY.FLUSH user ONCE u DEFER d TOUCH 1 => [deferred]
DIRTY.COMMIT user d => [[touch]]
EXISTS user@once:u => (1)
XLEN s => (2)
"#,
    );
}

#[test]
fn each_command_replicates_exactly_its_effects() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    let (_, mut start) = appended(&server, 0);
    for (flush, expected) in [
        (
            "ONCE t INSERT 1 1 a x",
            vec![
                "MULTI",
                "HSET user:1 a x",
                "XADD s ms-1 s BYTES",
                "SET user@once:t BYTES PXAT MS",
                "EXEC",
            ],
        ),
        ("ONCE t INSERT 1 1 a x", vec![]),
        ("ONCE t DELETE 1", vec![]),
        (
            "ONCE u 5000 INSERT 1 1 a x",
            vec!["SET user@once:u BYTES PXAT MS"],
        ),
        ("ONCE v INSERT 1 1 a y", vec![]),
        ("ONCE v 1.5 INSERT 2 1 a y", vec![]),
        (
            "ONCE v DEFER d DELETE 1",
            vec![
                "MULTI",
                "HSET user@deferred d BYTES",
                "SET user@once:v BYTES PXAT MS",
                "EXEC",
            ],
        ),
        ("ONCE v DEFER d DELETE 1", vec![]),
    ] {
        redis.run(&format!("DIRTY.FLUSH user {flush}"));
        let (commands, end) = appended(&server, start);
        let commands: Vec<String> = commands.into_iter().map(without_time).collect();
        assert_eq!(commands, expected, "{flush}");
        start = end;
    }
}

/// The absolute time of a `SET … PXAT` as `MS`.
fn without_time(command: String) -> String {
    match command.rsplit_once(" PXAT ") {
        Some((set, at)) if at.len() == 13 && at.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{set} PXAT MS")
        }
        _ => command,
    }
}

const FLUSH: &str = "DIRTY.FLUSH user WITHEVENTS ONCE t\\x00 META 1 a b UPDATE 1 1 a y TOUCH 1";

#[test]
fn a_token_is_known_after_a_restart_and_to_a_promoted_replica() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    for options in [&["--save", "3600 1"][..], &always, &AOF] {
        let mut primary = Server::with(options);
        let replica = Server::replica_of(&primary);
        let mut redis = primary.connect();
        redis.run("DIRTY.DECLARE user STREAM s");
        redis.run("DIRTY.FLUSH user SEED 1 1 a x");
        let reply = redis.run(FLUSH);
        assert!(reply.starts_with("[[update [a] [s "), "{reply}");
        let expires = redis.run("PEXPIRETIME user@once:t\\x00");
        let digest = redis.digest();
        primary.wait_for_replica(&replica);
        primary.restart();
        let mut promoted = replica.connect();
        promoted.ok(&["REPLICAOF", "NO", "ONE"]);
        for redis in [&mut primary.connect(), &mut promoted] {
            assert_eq!(redis.digest(), digest, "{options:?}");
            assert_eq!(redis.run(FLUSH), reply, "{options:?}");
            assert_eq!(
                redis.run("PEXPIRETIME user@once:t\\x00"),
                expires,
                "{options:?}"
            );
            assert_eq!(redis.digest(), digest, "{options:?}");
            assert_eq!(redis.run("DIRTY.FLUSH user ONCE t TOUCH 1"), "[touch]");
        }
    }
}

fn number(reply: &str) -> i64 {
    reply.trim_matches(['(', ')']).parse().expect("a number")
}
