//! Keyspace notifications, WATCH and client-side caching see the writes like those of any command.

use super::support::entities::declared;
use super::support::{Conn, Server, cases, text};
use redis::{PushKind, Value};

/// Lines `operations => keyspace events`.
const NOTICES: &str = r#"
SNAPSHOT 1 2 a x b y => hset user:1, xadd s, xadd limited
SNAPSHOT 1 2 a x b y => -
INSERT 1 2 a x b y => -
UPDATE 1 1 a x => -
UPDATE 1 1 a y => hset user:1, xadd s, xadd a, xadd limited, xtrim limited
UPDATE 1 1 c x NULL 1 b => hset user:1, hdel user:1, xadd s, xadd limited, xtrim limited
SNAPSHOT 1 1 a y => hdel user:1, xadd s, xadd limited, xtrim limited
SNAPSHOT 1 0 => hset user:1, hdel user:1, xadd s, xadd a, xadd limited, xtrim limited
SNAPSHOT 1 0 => -
TOUCH 1 => xadd s, xadd a, xadd limited, xtrim limited
DELETE 1 => del user:1, xadd s, xadd limited, xtrim limited
DELETE 1 => -
SEED 1 1 a x => hset user:1
SEED 1 1 a x => -
SEED 1 0 NULL 1 a => hset user:1, hdel user:1
SNAPSHOT 2 0 DELETE 2 TOUCH 1
  => hset user:2, xadd s, xadd limited, del user:2, xadd s, xadd limited, xadd s, xadd a,
  xadd limited, xtrim limited
# Refused.
SNAPSHOT 3 1 a x UPDATE 4 0 => -
INSERT 1 1 a x => -
"#;

#[test]
fn keyspace_listeners_hear_of_what_changed_and_of_nothing_else() {
    let server = Server::with(&["--notify-keyspace-events", "KEA"]);
    let (mut redis, mut heard) = (server.connect(), server.connect());
    redis.run("DIRTY.DECLARE user STREAM s STREAM a OPS NONE FIELDS 1 a STREAM limited MAXLEN 1");
    listen(&mut heard);
    for (operations, expected) in cases(NOTICES) {
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        assert_eq!(notices(&mut redis, &mut heard), expected, "{operations}");
    }
}

/// Lines `command => keyspace events`.
const OTHER_NOTICES: &str = r#"
DIRTY.DECLARE user VERSION v STREAM s => dirty.declare user
DIRTY.DECLARE user VERSION v STREAM s => -
DIRTY.DECLARE user VERSION v STREAM s FLY => -
DIRTY.FLUSH user SNAPSHOT 1 1 v 1 => hset user:1, xadd s
# A tombstone.
DIRTY.FLUSH user DELETE 1 1 v 2 => del user:1, hset user:1, expire user:1, xadd s
DIRTY.FLUSH user DELETE 1 1 v 2 => -
DIRTY.FLUSH user SNAPSHOT 1 1 v 3 => del user:1, hset user:1, xadd s
DIRTY.DECLARE user STREAM s => dirty.declare user
"#;

#[test]
fn keyspace_listeners_hear_of_declarations_and_tombstones() {
    let server = Server::with(&["--notify-keyspace-events", "KEA"]);
    let (mut redis, mut heard) = (server.connect(), server.connect());
    listen(&mut heard);
    for (command, expected) in cases(OTHER_NOTICES) {
        redis.run(&command);
        assert_eq!(notices(&mut redis, &mut heard), expected, "{command}");
    }
}

/// The same, of readers of a stream with the entries 1-1 to 1-4.
const NOTICES_OF_READERS: &str = r#"
DIRTY.READER s GROUP g FROM 0 DEAD d => dirty.readers s:readers
DIRTY.READER s GROUP g => dirty.readers s:readers
DIRTY.READER s GROUP g DEAD d => dirty.readers s:readers
DIRTY.READER s GROUP new => -
DIRTY.READER s CURSOR c FROM 0 => dirty.readers s:readers
DIRTY.CONSUME s GROUP g a COUNT 2 => dirty.readers s:readers
# A look changes nothing.
DIRTY.CONSUME s CURSOR c => -
DIRTY.READ s FROM 0 => -
DIRTY.PENDING s GROUP g => -
DIRTY.STATS s => -
DIRTY.ACK s GROUP g a 1-1 => dirty.readers s:readers
DIRTY.ACK s GROUP g a 1-1 => -
DIRTY.FAIL s GROUP g b why 1-2 => -
DIRTY.FAIL s GROUP g a why FATAL 1-2 => xadd d, dirty.readers s:readers
DIRTY.REDRIVE s GROUP g ALL => dirty.readers s:readers
DIRTY.REDRIVE s GROUP g ALL => -
DIRTY.CONSUME s GROUP g b COUNT 1 => dirty.readers s:readers
DIRTY.ACK s GROUP g b 1-2 => xdel d, dirty.readers s:readers
DIRTY.CONSUME s GROUP g b COUNT 1 => dirty.readers s:readers
DIRTY.FAIL s GROUP g b why FATAL 1-3 => xadd d, dirty.readers s:readers
DIRTY.DISCARD s GROUP g ALL => xdel d*
DIRTY.DISCARD s GROUP g ALL => -
DIRTY.PAUSE s GROUP g ON => dirty.readers s:readers
DIRTY.PAUSE s GROUP g ON => -
DIRTY.SEEK s GROUP g 1-1 => dirty.readers s:readers
DIRTY.SEEK s CURSOR c $ => dirty.readers s:readers
DIRTY.FORGET s GROUP nobody => -
DIRTY.FORGET s GROUP g => dirty.readers s:readers
DIRTY.FORGET s CURSOR c => del s:readers
DIRTY.FORGET s CURSOR c => -
"#;

#[test]
fn keyspace_listeners_hear_of_readers_that_changed_and_of_no_look() {
    let server = Server::with(&["--notify-keyspace-events", "KEA"]);
    let (mut redis, mut heard, mut watching) =
        (server.connect(), server.connect(), server.connect());
    for seq in 1..=4 {
        redis.run(&format!("XADD s 1-{seq} a b"));
    }
    listen(&mut heard);
    for (command, expected) in cases(NOTICES_OF_READERS) {
        watching.ok(&["WATCH", "s:readers"]);
        redis.run(&command);
        let notices = notices(&mut redis, &mut heard);
        match expected.strip_suffix('*') {
            Some(start) => assert!(notices.starts_with(start), "{command}: {notices}"),
            None => assert_eq!(notices, expected, "{command}"),
        }
        // So does a transaction that watches them.
        watching.ok(&["MULTI"]);
        let outcome = watching.run("EXEC");
        let has_changed = notices.contains("s:readers");
        assert_eq!(outcome == "nil", has_changed, "{command}: {outcome}");
    }
}

fn listen(heard: &mut Conn) {
    heard.ok(&["PSUBSCRIBE", "__keyevent@*"]);
    heard.ok(&["SUBSCRIBE", "done"]);
}

/// What was heard so far, `-` for nothing.
fn notices(redis: &mut Conn, heard: &mut Conn) -> String {
    redis.ok(&["PUBLISH", "done", "x"]);
    let mut notices = Vec::new();
    loop {
        let message = text(&heard.receive().expect("a message"));
        if message == "[message done x]" {
            break;
        }
        let notice = message.strip_prefix("[pmessage __keyevent@* __keyevent@0__:");
        let notice = notice.and_then(|notice| notice.strip_suffix(']'));
        notices.push(notice.unwrap_or_else(|| panic!("{message}")).to_string());
    }
    match notices.is_empty() {
        true => "-".into(),
        false => notices.join(", "),
    }
}

/// Lines `operations => keys that were changed`, each on the state of entities 1, `a x`, and 2, `a x b y`.
const TOUCHED: &str = r#"
SNAPSHOT 1 1 a y => user:1 s
SNAPSHOT 1 0 => user:1 s
UPDATE 1 1 b y => user:1 s
UPDATE 1 0 NULL 1 a => user:1 s
DELETE 1 => user:1 s
SNAPSHOT 2 1 a x => user:2 s
UPDATE 2 0 NULL 1 b => user:2 s
TOUCH 1 => s other
SEED 1 1 a y => user:1
INSERT 3 1 a x => user:3 s
SNAPSHOT 1 1 a y DELETE 2 => user:1 user:2 s
SEED 1 1 a y TOUCH 2 => user:1 s other
SNAPSHOT 1 1 a x => -
INSERT 1 1 a x => -
UPDATE 1 1 a x => -
UPDATE 1 0 NULL 1 b => -
SEED 1 1 a x => -
DELETE 3 => -
SNAPSHOT 1 1 a x DELETE 3 => -
INSERT 1 1 a y => -
UPDATE 3 1 a y => -
SNAPSHOT 1 1 a y UPDATE 3 1 a y => -
DELETE 1 FLY => -
"#;

const WATCHED: &[&str] = &["user", "user:1", "user:2", "user:3", "s", "other"];

fn prepare(redis: &mut Conn) {
    redis.expect(
        "FLUSHALL => OK\n\
         DIRTY.DECLARE user STREAM s STREAM other OPS NONE FIELDS 1 c => OK\n\
         DIRTY.FLUSH user SNAPSHOT 1 1 a x SNAPSHOT 2 2 a x b y => [insert insert]\n\
         DIRTY.READER other CURSOR c FROM 0 => OK",
    );
}

#[test]
fn a_watching_transaction_fails_when_a_flush_changed_its_key_and_else_does_not() {
    let (server, mut redis) = declared("STREAM s");
    let mut watching = server.connect();
    for (operations, changed) in cases(TOUCHED) {
        for key in WATCHED {
            prepare(&mut redis);
            watching.ok(&["WATCH", key]);
            redis.run(&format!("DIRTY.FLUSH user {operations}"));
            watching.ok(&["MULTI"]);
            watching.ok(&["PING"]);
            let expected = match changed.split(' ').any(|changed| changed == *key) {
                true => "nil",
                false => "[PONG]",
            };
            assert_eq!(watching.run("EXEC"), expected, "{operations}: {key}");
        }
    }
}

#[test]
fn client_side_caches_are_told_what_changed_and_nothing_else() {
    let (server, mut redis) = declared("STREAM s");
    let mut caching = server.connect_resp3();
    caching.ok(&["CLIENT", "TRACKING", "ON"]);
    for (operations, changed) in cases(TOUCHED) {
        prepare(&mut redis);
        invalidated(&mut caching);
        for key in WATCHED {
            caching.ok(&["EXISTS", key]);
        }
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
        let mut told = invalidated(&mut caching);
        told.sort();
        told.dedup();
        let mut changed: Vec<&str> = changed.split(' ').filter(|key| *key != "-").collect();
        changed.sort();
        assert_eq!(told, changed, "{operations}");
    }
}

/// Keys that the server has told this connection to forget.
fn invalidated(caching: &mut Conn) -> Vec<String> {
    caching.send(&["ECHO", "done"]).expect("a connection");
    let mut keys = Vec::new();
    loop {
        match caching.receive().expect("a reply") {
            Value::Push {
                kind: PushKind::Invalidate,
                data,
            } => match data.as_slice() {
                [Value::Array(invalid)] => keys.extend(invalid.iter().map(text)),
                other => assert_eq!(other, [Value::Nil], "FLUSHALL"),
            },
            reply => {
                assert_eq!(text(&reply), "done");
                return keys;
            }
        }
    }
}
