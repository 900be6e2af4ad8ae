//! A panic at each entry from Redis: a line in the log, the safest answer, and the server goes on. The
//! module is another build of it, with a command that lets the next entry of a name panic.

use super::support::{Conn, Server, cases, wait_until};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// Built once; cargo knows when it is fresh.
static MODULE: LazyLock<PathBuf> = LazyLock::new(|| {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--features", "deliberate-panic"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8(output.stdout).expect("text");
    let path = messages
        .split('"')
        .find(|word| word.ends_with("libdirty_streams.so"));
    // A copy: another build may take its place.
    let built = PathBuf::from(path.expect("the module's path"));
    let copy = built.with_file_name("libdirty_streams_that_panics.so");
    std::fs::copy(built, &copy).expect("a copy");
    copy
});

const INTERNAL: &str = "ERR internal error in the module dirty, see the server's log";

fn started(options: &[&str]) -> (Server, Conn) {
    let server = Server::of(MODULE.clone(), options);
    let redis = server.connect();
    (server, redis)
}

/// The next entry of this name panics.
fn arm(redis: &mut Conn, entry: &str) {
    assert_eq!(redis.raw(&["DIRTY.PANIC", entry]), "OK");
}

/// The log tells of the panic, whatever is in its words, and the server is still the same.
fn survived(server: &Server, entry: &str) {
    let log = server.log();
    for line in [
        "deliberate %s%n ",
        &format!("at {entry}"),
        &format!("dirty: {entry} panicked; the server goes on"),
    ] {
        assert!(log.contains(line), "{line} of {entry}: {log}");
    }
    assert_eq!(server.connect().run("PING"), "PONG");
    assert!(!log.contains("BUG REPORT"), "{log}");
}

#[test]
fn a_command_that_panics_is_answered_and_changes_nothing() {
    let (server, mut redis) = started(&[]);
    redis.expect("DIRTY.DECLARE user STREAM s => OK");
    redis.expect("DIRTY.FLUSH user SNAPSHOT 1 2 a 1 b 2 => [insert]");
    let before = redis.digest();
    for (entry, command) in [
        ("a command", "DIRTY.FLUSH user SNAPSHOT 1 1 a 2"),
        ("a command", "DIRTY.DECLARE other STREAM s"),
        ("a command", "DIRTY.CONSUME s GROUP g c"),
        ("a command", "DIRTY.GET user 1"),
        ("a command", "DIRTY.SCAN user 0"),
        ("a command", "DIRTY.RECONCILE user BEGIN r"),
        ("a field", "DIRTY.FLUSH user SNAPSHOT 1 1 a 2"),
        ("a field", "DIRTY.GET user 1"),
        ("a field", "DIRTY.SCAN user 0"),
        ("a refusal", "DIRTY.FLUSH nothing SNAPSHOT 1 1 a 2"),
    ] {
        arm(&mut redis, entry);
        assert_eq!(redis.run(command), INTERNAL, "{entry}: {command}");
        survived(&server, entry);
        assert_eq!(redis.digest(), before, "{entry}: {command}");
    }
    redis.expect("DIRTY.FLUSH user SNAPSHOT 1 2 a 1 b 3 => [update]");
    let info = redis.run("INFO dirty");
    assert!(info.contains("dirty_errors:10"), "{info}");
}

#[test]
fn an_event_that_panics_is_told_as_an_entry_and_the_others_as_ever() {
    let (server, mut redis) = started(&[]);
    redis.expect("DIRTY.DECLARE user STREAM s => OK");
    redis.expect("DIRTY.FLUSH user INSERT 1 0 INSERT 2 0 => [insert insert]");
    redis.expect("DIRTY.READER s GROUP g FROM 0 => OK");
    arm(&mut redis, "an event");
    let got = redis.run("DIRTY.CONSUME s GROUP g c");
    survived(&server, "an event");
    let (first, second) = got.split_once("] [id").expect("two");
    assert!(first.contains("fields [s "), "{got}");
    assert!(second.contains("entity-id 2"), "{got}");
    // The reply is whole, so this connection goes on.
    assert_eq!(redis.run("PING"), "PONG");
}

#[test]
fn callbacks_of_the_data_type_and_of_events_that_panic_do_the_least_harm() {
    let (server, mut redis) = started(&[]);
    redis.expect(
        r#"
DIRTY.DECLARE user STREAM s => OK
DIRTY.DECLARE more STREAM s => OK
SET gone text => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a 1 => [insert]
"#,
    );
    for (command, reply) in cases(
        r#"
INFO dirty => ""
XADD s 99999999999999-9 a b => 99999999999999-9
COPY user copied => ERR module key failed to copy
MEMORY USAGE user => *
DEBUG DIGEST-VALUE user => *
DEL more => (1)
DEL gone => (1)
FLUSHDB => OK
"#,
    ) {
        let entry = match command.split(' ').next() {
            Some("INFO") => "INFO",
            Some("XADD") => "a keyspace event",
            Some("COPY") => "copying a declaration",
            Some("MEMORY") => "measuring a declaration",
            Some("DEBUG") => "digesting a declaration",
            Some("DEL") if command == "DEL gone" => match tells_of_removed_keys(&mut redis) {
                true => "a removed key",
                false => continue,
            },
            Some("DEL") => "freeing a declaration",
            _ => "a server event",
        };
        arm(&mut redis, entry);
        let got = redis.run(&command);
        assert!(
            got == reply || (reply == "*" && !got.starts_with("ERR")),
            "{command}: {got}"
        );
        survived(&server, entry);
        if entry == "a keyspace event" {
            // What the module believes of the stream is wrong now, and it finds out.
            redis.expect(
                "DIRTY.FLUSH user WITHEVENTS SNAPSHOT 1 1 a 2 => [[update [a] [s 99999999999999-10]]]",
            );
        }
    }
}

/// Whether the server tells modules of keys that go, as it has since 7.2.
fn tells_of_removed_keys(redis: &mut Conn) -> bool {
    !redis.info("redis_version").starts_with("7.0.")
}

#[test]
fn a_save_or_rewrite_that_panics_fails_and_leaves_the_file_that_was_there() {
    let (mut server, mut redis) = started(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    redis.expect("DIRTY.DECLARE user STREAM s => OK");
    for (entry, command, status) in [
        ("saving a declaration", "BGSAVE", "rdb_last_bgsave_status"),
        (
            "rewriting a declaration",
            "BGREWRITEAOF",
            "aof_last_bgrewrite_status",
        ),
    ] {
        arm(&mut redis, entry); // for each child that is forked
        redis.run(command);
        server.wait_for_line("INFO persistence", &format!("{status}:err"));
        survived(&server, entry);
        arm(&mut redis, "nothing");
        redis.run(command);
        server.wait_for_line("INFO persistence", &format!("{status}:ok"));
    }
    let digest = redis.digest();
    server.restart();
    assert_eq!(server.connect().digest(), digest);
}

#[test]
fn a_dump_that_panics_cannot_be_restored_and_a_restore_that_panics_restores_nothing() {
    let (server, mut redis) = started(&[]);
    redis.expect("DIRTY.DECLARE user STREAM s => OK");
    let dump = |redis: &mut Conn| match redis.value(&["DUMP", "user"]) {
        redis::Value::BulkString(payload) => payload,
        other => panic!("{other:?}"),
    };
    let whole = dump(&mut redis);
    arm(&mut redis, "saving a declaration");
    let empty = dump(&mut redis);
    survived(&server, "saving a declaration");
    let mut restore = |payload: &[u8]| {
        let words: [&[u8]; 5] = [b"RESTORE", b"restored", b"0", payload, b"REPLACE"];
        redis.raw(&words)
    };
    assert_eq!(restore(&empty), "ERR Bad data format");
    assert_eq!(restore(&whole), "OK");
    arm(&mut server.connect(), "loading a declaration");
    assert_eq!(restore(&whole), "ERR Bad data format");
    survived(&server, "loading a declaration");
}

#[test]
fn who_waits_is_answered_when_what_would_wake_it_panics() {
    let (server, mut redis) = started(&[]);
    redis.expect(
        r#"
DIRTY.DECLARE user STREAM s => OK
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g other => [events [] missed (0) more (0) not-held []]
"#,
    );
    let empty = "[events [] missed (0) more (0) not-held []]";
    // What panics, how long the client waits, whether an event comes meanwhile, its reply.
    for (entry, wait, event, reply) in [
        ("a look", "20000", true, INTERNAL),
        ("a wake-up", "20000", true, INTERNAL),
        ("a woken client", "20000", true, INTERNAL),
        ("a client that goes", "20000", true, "*"),
        ("the end of a wait", "300", false, INTERNAL),
        // Held by another consumer, so that the client looks again when it is due.
        // That may be before it is.
        ("a look", "20000", false, "[events ["),
        ("a wake-up", "20000", false, INTERNAL),
        ("the end of a wait", "20000", false, INTERNAL),
        ("a timer", "600", false, empty),
    ] {
        redis.run("DIRTY.FLUSH user TOUCH 1");
        redis.run("FLUSHALL");
        redis.run("DIRTY.DECLARE user STREAM s");
        redis.run("DIRTY.READER s GROUP g FROM 0 CLAIM 300");
        if !event {
            redis.run("DIRTY.FLUSH user SNAPSHOT 1 0");
            redis.run("DIRTY.CONSUME s GROUP g other");
        }
        let mut reader = server.connect();
        let command = format!("DIRTY.CONSUME s GROUP g me BLOCK {wait}");
        let words: Vec<&str> = command.split(' ').collect();
        reader.send(&words).expect("sent");
        server.wait_for_blocked(1);
        arm(&mut redis, entry);
        if event {
            redis.run("DIRTY.FLUSH user SNAPSHOT 1 0");
        }
        let got = super::support::text(&reader.receive().expect("a reply"));
        match reply {
            "*" => assert!(got.starts_with("[events [["), "{entry}: {got}"),
            "[events [" => assert!(got.starts_with(reply), "{entry}: {got}"),
            reply => assert_eq!(got, reply, "{entry} {wait}"),
        }
        wait_until("the log", || {
            server.log().contains(&format!("{entry} panicked"))
        });
        survived(&server, entry);
        wait_until("nobody to wait", || {
            redis
                .run("INFO dirty")
                .contains("dirty_consumers_blocked:0")
        });
    }
}

#[test]
fn a_module_that_panics_while_it_is_loaded_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = super::support::server()
        .args([
            "--unixsocket",
            "socket",
            "--port",
            "0",
            "--loadmodule",
            MODULE.to_str().expect("a path"),
        ])
        .env("DIRTY_PANIC", "loading the module")
        .current_dir(dir.path())
        .output()
        .expect("redis-server");
    let log = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("dirty: loading the module panicked"), "{log}");
    assert!(!log.contains("BUG REPORT"), "{log}");
}

/// The reply to a command that is followed by another write, both as they are or in a transaction or a script.
fn run_within(client: &mut Conn, around: &str, command: &str) -> String {
    let after = "SET here text";
    match around {
        "plain" => {
            let got = client.run(command);
            client.run(after);
            got
        }
        "MULTI" => {
            client.run("MULTI");
            client.run(command);
            client.run(after);
            let got = client.run("EXEC");
            let got = got
                .strip_prefix('[')
                .and_then(|got| got.strip_suffix(" OK]"));
            got.expect("two replies").to_string()
        }
        _ => {
            let script = "local got = redis.pcall(unpack(ARGV)) redis.call('SET', KEYS[1], 'text') return got";
            let mut words = vec!["EVAL", script, "1", "here"];
            words.extend(command.split(' '));
            client.raw(&words)
        }
    }
}

/// The events of keys that were told, up to the message `end`.
fn heard_until_the_end(listener: &mut Conn) -> String {
    let mut events: Vec<String> = Vec::new();
    loop {
        let message = super::support::text(&listener.receive().expect("a message"));
        let message = message.trim_matches([' ', ']', ')', '"']);
        match message.rsplit([' ', '"']).next().expect("an event") {
            "end" => return events.join(" "),
            event => events.push(event.to_string()),
        }
    }
}

/// A command, which time that it goes to the other database panics, its reply, and the keys that listeners hear of.
const ELSEWHERE: &[(&str, usize, &str, &str)] = &[
    ("DIRTY.DECLARE other STREAM o DB 3", 0, INTERNAL, ""),
    ("DIRTY.FLUSH user SNAPSHOT 1 1 a 2", 0, INTERNAL, ""),
    ("DIRTY.FLUSH user SNAPSHOT 1 1 a 2", 1, INTERNAL, "hset"),
    ("DIRTY.FLUSH user SNAPSHOT 1 1 a 2", 2, "[update]", "hset"),
    (
        "DIRTY.FLUSH user SNAPSHOT 1 1 a 2",
        3,
        "[update]",
        "hset xadd",
    ),
    // Its stream stays open from the look to the append.
    ("DIRTY.FLUSH seen TOUCH 1", 0, INTERNAL, ""),
    ("DIRTY.FLUSH seen TOUCH 1", 1, INTERNAL, ""),
    ("DIRTY.FLUSH seen TOUCH 1", 2, "[touch]", ""),
    ("DIRTY.FLUSH seen TOUCH 1", 3, "[touch]", "xadd"),
    ("DIRTY.COMMIT user t", 0, INTERNAL, ""),
    ("DIRTY.COMMIT user t", 1, INTERNAL, "hset"),
];

/// A panic while a command is in the database of its stream: at the look at the stream, as its event is
/// appended, as listeners are told.
#[test]
fn a_panic_in_another_database_leaves_the_client_in_its_own() {
    let (mut server, mut redis) = started(&["--appendonly", "yes"]);
    redis.expect("CONFIG SET notify-keyspace-events KA => OK");
    // The nth time that the command goes there panics, its reply, and the keys that listeners hear of.
    for &(command, passes, reply, heard) in ELSEWHERE {
        for own in [0, 5] {
            for around in ["plain", "MULTI", "script"] {
                let case = format!("{command} in {own}, {around}, {passes}");
                let mut client = server.connect();
                client.expect(&format!(
                    "SELECT {own} => OK\n\
                     FLUSHALL => OK\n\
                     DIRTY.DECLARE user STREAM s DB 3 => OK\n\
                     DIRTY.DECLARE seen STATELESS STREAM s DB 3 => OK\n\
                     DIRTY.FLUSH user SNAPSHOT 1 1 a 1 => [insert]\n\
                     DIRTY.FLUSH user DEFER t SNAPSHOT 1 1 a 2 => [deferred]"
                ));
                let mut listener = server.connect();
                listener.ok(&[
                    "PSUBSCRIBE",
                    &format!("__keyspace@{own}__:user:1"),
                    "__keyspace@3__:s",
                ]);
                listener.receive().expect("the second");
                redis.run(&format!("DIRTY.PANIC another\\_database {passes}"));
                let got = run_within(&mut client, around, command);
                assert_eq!(got, reply, "{case}");
                arm(&mut redis, "nothing");
                // The client is where it was, and so is what it wrote since.
                let info = client.run("CLIENT INFO");
                assert!(info.contains(&format!(" db={own} ")), "{case}: {info}");
                assert_eq!(client.run("EXISTS here"), "(1)", "{case}");
                redis.expect("SELECT 3 => OK");
                assert_eq!(redis.run("EXISTS here user:1"), "(0)", "{case}");
                redis.expect("PUBLISH __keyspace@3__:s end => (1)");
                assert_eq!(heard_until_the_end(&mut listener), heard, "{case}");
                // And nothing was written that replicas do not hear of.
                let digest = client.digest();
                assert_eq!(client.run("DEBUG LOADAOF"), "OK", "{case}");
                assert_eq!(client.digest(), digest, "{case}");
                let before = super::support::entries::sequence(&mut redis, "s").len();
                client.expect("DIRTY.FLUSH seen TOUCH 2 => [touch]");
                let after = super::support::entries::sequence(&mut redis, "s");
                assert!(
                    after.iter().copied().eq(1..=before + 1),
                    "{case}: {after:?}"
                );
            }
        }
    }
    assert!(!server.log().contains("BUG REPORT"), "{}", server.log());
    server.restart();
}

/// Readers change in memory before a flush that acknowledges is written, and replicas hear of it behind that.
#[test]
fn a_panic_in_a_flush_that_acknowledges_does_not_set_replicas_apart() {
    let (server, mut redis) = started(&["--appendonly", "yes"]);
    // The nth time that the flush goes to its stream's database panics, and what is pending then.
    for (passes, pending) in [("0", 1), ("1", 0)] {
        redis.expect(
            "FLUSHALL => OK
DIRTY.DECLARE user STATELESS STREAM s => OK
DIRTY.DECLARE sum STREAM t DB 3 => OK
DIRTY.FLUSH user TOUCH 1 => [touch]
DIRTY.READER s GROUP g FROM 0 => OK",
        );
        let batch = super::support::readers::consume(&mut redis, "s GROUP g a");
        redis.run(&format!("DIRTY.PANIC another\\_database {passes}"));
        let id = &batch.ids[0];
        let flush = format!("DIRTY.FLUSH sum ACK s GROUP g a 1 {id} SNAPSHOT 1 1 n 1");
        assert_eq!(redis.run(&flush), INTERNAL, "{passes}");
        let rows = redis.value(&["DIRTY.PENDING", "s", "GROUP", "g"]);
        let redis::Value::Array(rows) = rows else {
            panic!("no rows: {rows:?}")
        };
        assert_eq!(rows.len(), pending, "{passes}");
        let digest = redis.digest();
        redis.expect("DEBUG LOADAOF => OK");
        assert_eq!(redis.digest(), digest, "{passes}");
    }
    assert!(!server.log().contains("BUG REPORT"), "{}", server.log());
}
