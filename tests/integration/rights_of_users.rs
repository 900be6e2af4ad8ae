//! What users with few rights can do, command by command, and what ACL LOG tells of what they cannot.

use super::support::readers::{blocked, held, reply as reply_to};
use super::support::users::{is_no_key, named, user};
use super::support::wrong::{seeded, state};
use super::support::{Conn, Server, wait_until, words};
use std::fmt::Write;

/// A user may only flush, another only read, another look after readers, another only declare: what each is replied.
/// `command`, `key` and `dead other` are the server's own refusals, `key other` and `key grave` the module's, `prefix other` too;
/// `[events…` begins like that.
const USERS: [(&str, &str); 4] = [
    (
        "flusher",
        "+dirty.flush +dirty.commit +dirty.abort +dirty.deferred ~user",
    ),
    (
        "reader",
        "+dirty.consume +dirty.read +dirty.ack +dirty.hold +dirty.fail +dirty.leave +dirty.pending +dirty.stats ~s",
    ),
    (
        "operator",
        "+dirty.reader +dirty.redrive +dirty.discard +dirty.pause +dirty.seek +dirty.forget ~s",
    ),
    ("declarer", "+dirty.declare ~user ~user:* ~s"),
];

const EACH_COMMAND: &str = r"
DIRTY.DECLARE user STREAM s                     | command   | command   | command | OK
DIRTY.DECLARE user PREFIX user:x: STREAM s      | command   | command   | command | OK
DIRTY.DECLARE user STREAM s                     | command   | command   | command | OK
DIRTY.DECLARE user STREAM s STREAM other        | command   | command   | command | key other
DIRTY.DECLARE user PREFIX other STREAM s        | command   | command   | command | prefix other
DIRTY.DECLARE other STREAM s                    | command   | command   | command | key
DIRTY.FLUSH user SNAPSHOT 9 1 a b               | [insert]  | command   | command | command
DIRTY.FLUSH user ONCE o DEFER t TOUCH 1         | [deferred] | command  | command | command
DIRTY.FLUSH other TOUCH 1                       | key       | command   | command | command
DIRTY.COMMIT user t                             | [[touch]] | command   | command | command
DIRTY.COMMIT other t                            | key       | command   | command | command
DIRTY.ABORT user t1                             | (1)       | command   | command | command
DIRTY.ABORT other t1                            | key       | command   | command | command
DIRTY.DEFERRED user                             | []        | command   | command | command
DIRTY.DEFERRED other                            | key       | command   | command | command
DIRTY.GET user 1                                | command   | command   | command | command
DIRTY.INFO user                                 | command   | command   | command | command
DIRTY.READER s GROUP n FROM 0                   | command   | command   | OK      | command
DIRTY.READER s CURSOR r FROM 0                  | command   | command   | OK      | command
DIRTY.READER s GROUP m FROM 0 DEAD other        | command   | command   | dead other | command
DIRTY.READER other GROUP n FROM 0               | command   | command   | key     | command
DIRTY.CONSUME s GROUP g c COUNT 1               | command   | [events…  | command | command
DIRTY.CONSUME s CURSOR r                        | command   | [events…  | command | command
DIRTY.CONSUME other CURSOR r                    | command   | key       | command | command
DIRTY.READ s FROM 0                             | command   | [events…  | command | command
DIRTY.READ other FROM 0                         | command   | key       | command | command
DIRTY.HOLD s GROUP g b                          | command   | []        | command | command
DIRTY.HOLD other GROUP g b                      | command   | key       | command | command
DIRTY.FAIL s GROUP g b why 1-1                  | command   | [retry]   | command | command
DIRTY.FAIL s GROUP g b why FATAL 1-2            | command   | [dead]    | command | command
DIRTY.FAIL s GROUP d b why FATAL 1-1            | command   | key grave | command | command
DIRTY.FAIL other GROUP g b why 1-1              | command   | key       | command | command
DIRTY.PENDING s GROUP g                         | command   | [[id…     | command | command
DIRTY.PENDING other GROUP g                     | command   | key       | command | command
DIRTY.REDRIVE s GROUP g ALL                     | command   | command   | (2)     | command
DIRTY.REDRIVE s GROUP d ALL                     | command   | command   | key grave | command
DIRTY.REDRIVE other GROUP g ALL                 | command   | command   | key     | command
DIRTY.DISCARD s GROUP g ALL                     | command   | command   | (1)     | command
DIRTY.DISCARD s GROUP d ALL                     | command   | command   | key grave | command
DIRTY.DISCARD other GROUP g ALL                 | command   | command   | key     | command
DIRTY.ACK s GROUP g c 1-3                       | command   | []        | command | command
DIRTY.ACK other GROUP g c 1-3                   | command   | key       | command | command
DIRTY.PAUSE s GROUP g ON                        | command   | command   | OK      | command
DIRTY.PAUSE other GROUP g ON                    | command   | command   | key     | command
DIRTY.SEEK s GROUP g 0                          | command   | command   | OK      | command
DIRTY.SEEK other GROUP g 0                      | command   | command   | key     | command
DIRTY.LEAVE s GROUP g b                         | command   | (0)       | command | command
DIRTY.LEAVE other GROUP g b                     | command   | key       | command | command
DIRTY.FORGET s GROUP n                          | command   | command   | (1)     | command
DIRTY.FORGET other GROUP n                      | command   | command   | key     | command
DIRTY.STATS s                                   | command   | [length…  | command | command
DIRTY.STATS other                               | command   | key       | command | command
DIRTY._DELTA s x                                | command   | command   | command | command
XADD s * a b                                    | command   | command   | command | command
HSET user:1 a c                                 | command   | command   | command | command
XADD s:dead * a b                               | command   | command   | command | command
DEL s:readers                                   | command   | command   | command | command
DEL user                                        | command   | command   | command | command
";

/// Whether a reply is the one of the table, and what ACL LOG is to have of it.
fn judged(expected: &str, reply: &str, name: &str, key: &str, user: &str) -> (bool, String) {
    match expected {
        "command" => (
            is_no_command(reply, name, user),
            format!("command context toplevel object {name} username {user}"),
        ),
        "key" => (
            is_no_key(reply),
            format!("key context toplevel object {key} username {user}"),
        ),
        "dead other" => (
            is_no_key(reply),
            format!("key context toplevel object other username {user}"),
        ),
        "key other" | "key grave" => {
            let key = &expected[4..];
            (
                reply == format!("NOPERM this user may not write the key \"{key}\""),
                format!("key context module object {key} username {user}"),
            )
        }
        "prefix other" => (
            reply.starts_with("NOPERM this user may not write all keys with the prefix \"other\""),
            format!("key context module object other* username {user}"),
        ),
        expected => match expected.strip_suffix('…') {
            Some(start) => (reply.starts_with(start), String::new()),
            None => (reply == expected, String::new()),
        },
    }
}

#[test]
fn who_may_only_flush_or_read_or_operate_or_declare_can_do_no_more() {
    let server = Server::start();
    let mut admin = server.connect();
    admin.run("CONFIG SET repl-ping-replica-period 3600");
    let _replica = Server::replica_of(&server);
    // The key `other` would do for each command.
    for command in [
        "DIRTY.DECLARE user STREAM s",
        "DIRTY.DECLARE other STREAM s",
        "XADD s 1-1 a b",
        "XADD s 1-2 a b",
        "XADD s 1-3 a b",
        "DIRTY.READER s GROUP g FROM 0",
        "DIRTY.CONSUME s GROUP g b COUNT 2",
        "DIRTY.READER s GROUP d FROM 0 DEAD grave",
        "DIRTY.CONSUME s GROUP d b COUNT 1",
        "DIRTY.FLUSH user SEED 1 1 a b",
        "DIRTY.FLUSH user DEFER t1 TOUCH 1",
    ] {
        let reply = admin.run(command);
        assert!(!reply.starts_with("ERR"), "{command}: {reply}");
    }
    let mut users = USERS.map(|(name, rights)| (name, named(&server, name, rights)));
    let state = |admin: &mut Conn| {
        let groups = admin.run("XINFO STREAM s FULL");
        (
            admin.digest(),
            admin.run("DBSIZE"),
            groups,
            admin.replicated(),
        )
    };
    let mut wrong = String::new();
    for line in EACH_COMMAND.lines().filter(|line| !line.is_empty()) {
        let mut columns = line.split('|').map(str::trim);
        let command = columns.next().expect("a command");
        let mut names = command.split(' ');
        let (name, key) = (names.next().unwrap_or(""), names.next().unwrap_or(""));
        for ((user, app), expected) in users.iter_mut().zip(columns) {
            admin.run("ACL LOG RESET");
            let before = state(&mut admin);
            let reply = app.run(command);
            let log = denied(&mut admin);
            let name = name.to_lowercase();
            let (is_right, logged) = judged(expected, &reply, &name, key, user);
            if !is_right || log != logged {
                let _ = writeln!(wrong, "{user}: {command}: {reply}; ACL LOG: {log}");
            }
            if !logged.is_empty() && state(&mut admin) != before {
                let _ = writeln!(wrong, "{user}: {command} has changed something");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Each names a key that is not the user's, by another way.
const OTHERS: &str = r"
STREAM other                            | other
STREAM s STREAM other                   | other
STREAM other DB 1                       | other
STREAM s DB 1 STREAM other DB 2         | other
TAGS 1 ID dirtyStream=other             | other
TAGS 1 ID dirtyStream=other/P POOL P 1  | other
TAGS 1 ID dirty=A                       | dirty_A
TAGS 2 ID dirtyStream=s a dirty=A       | dirty_A
STREAM strong                           | strong
STREAM strong:1                         | strong:1
STREAM strong@deferred                  | strong@deferred
STREAM strong@once:t                    | strong@once:t
STREAM s:dead                           | s:dead
STREAM s:readers                        | s:readers
";

#[test]
fn nobody_declares_a_way_to_keys_of_others_and_acl_log_tells_of_the_attempt() {
    let (server, mut admin) = seeded();
    admin.run("DIRTY.DECLARE strong STREAM s");
    admin.run("DIRTY.FLUSH strong SNAPSHOT 1 1 a b");
    let mut app = user(&server, "+@all -acl ~user ~user:* ~s");
    for line in OTHERS.lines().filter(|line| !line.is_empty()) {
        let (how, key) = line.split_once('|').expect("two columns");
        let command = format!("DIRTY.DECLARE user {}", how.trim());
        let key = key.trim();
        let no = format!("NOPERM this user may not write the key \"{key}\"");
        let logged = format!("key context module object {key} username app");
        let before = state(&mut admin);
        for lines in [
            vec![command.clone()],
            vec!["MULTI".into(), command.clone(), "EXEC".into()],
            vec![format!(
                r"EVAL return\_redis.pcall(unpack(ARGV)) 0 {command}"
            )],
        ] {
            admin.run("ACL LOG RESET");
            let replies: Vec<String> = lines.iter().map(|line| app.run(line)).collect();
            let reply = replies.last().map_or("", |reply| reply);
            assert_eq!(reply.trim_matches(['[', ']']), no, "{lines:?}");
            assert_eq!(denied(&mut admin), logged, "{lines:?}");
            let client = admin.run("ACL LOG");
            assert!(client.contains(" user=app "), "{lines:?}: {client}");
            assert_eq!(state(&mut admin), before, "{lines:?}");
        }
    }
    // There is nobody to ask on a replica's link and in an AOF; what happened happens there too.
    admin.run("ACL LOG RESET");
    let replica = Server::replica_of(&server);
    let mut weak = user(&replica, "+@all ~user");
    admin.run("DIRTY.DECLARE user STREAM other");
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), admin.digest());
    assert!(
        weak.run("DIRTY.DECLARE user STREAM s")
            .starts_with("READONLY ")
    );
    assert_eq!(denied(&mut replica.connect()), "");
    assert_eq!(denied(&mut admin), "");
}

#[test]
fn a_declaration_needs_a_stream_to_write_and_a_prefix_to_read_and_write() {
    let (server, mut admin) = seeded();
    for (rights, expected) in [
        ("%W~user ~user:* %W~s", "OK"),
        (
            "~user %W~user:* ~s",
            r#"NOPERM this user may not read all keys with the prefix "user:"; that needs a pattern such as %R~user:*"#,
        ),
        (
            "~user ~user: %W~user:* ~s",
            r#"NOPERM this user may not read all keys with the prefix "user:"; that needs a pattern such as %R~user:*"#,
        ),
        (
            "~user ~user: ~s",
            r#"NOPERM this user may not write all keys with the prefix "user:"; that needs a pattern such as ~user:*"#,
        ),
        (
            "~user ~user:* %R~s",
            r#"NOPERM this user may not write the key "s""#,
        ),
    ] {
        admin.run("ACL LOG RESET");
        let mut app = user(&server, &format!("+dirty.declare {rights}"));
        assert_eq!(app.run("DIRTY.DECLARE user STREAM s"), expected, "{rights}");
        // That of a prefix is logged as the keys that it makes.
        let object = match expected.contains("prefix") {
            true => Some("user:*"),
            false => expected.split('"').nth(1),
        };
        let logged = object.map(|key| format!("key context module object {key} username app"));
        assert_eq!(denied(&mut admin), logged.unwrap_or_default(), "{rights}");
    }
}

/// What would write to, or delete from, the dead stream of the group `g`, and its reply if the user may.
const BURIES: [(&str, &str); 5] = [
    ("DIRTY.FAIL s GROUP g a why FATAL 1-2", "[dead]"),
    ("DIRTY.REDRIVE s GROUP g IDS 1 1-1", "(1)"),
    ("DIRTY.DISCARD s GROUP g IDS 1 1-2", "(1)"),
    // One that dies of silence.
    (
        "DIRTY.CONSUME s GROUP g c PENDING COUNT 1",
        "[events [[id 1-1 ",
    ),
    ("DIRTY.READER s GROUP g DEAD other CLAIM 5", "OK"),
];

#[test]
fn a_dead_key_must_be_the_users_to_write() {
    let server = Server::start();
    let mut admin = server.connect();
    for (rights, may) in [
        ("~s", false),
        ("~s %R~other", false),
        ("~s %W~other", true),
        ("~s ~other", true),
    ] {
        admin.run("FLUSHALL");
        for command in [
            "XADD s 1-1 a b",
            "XADD s 1-2 a b",
            "XADD s 1-3 a b",
            "XADD s 1-4 a b",
            "DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 DEAD other",
            "DIRTY.CONSUME s GROUP g a COUNT 2",
            "DIRTY.CONSUME s GROUP g c COUNT 1",
            "DIRTY.CONSUME s GROUP g c PENDING",
            "DIRTY.FAIL s GROUP g a why FATAL 1-1",
        ] {
            let reply = admin.run(command);
            assert!(!reply.starts_with("ERR"), "{command}: {reply}");
        }
        let mut app = user(&server, &format!("+@all {rights}"));
        for (command, reply) in BURIES {
            admin.run("ACL LOG RESET");
            let before = admin.digest();
            let got = app.run(command);
            if may {
                assert!(got.starts_with(reply), "{rights}: {command}: {got}");
                assert_eq!(denied(&mut admin), "", "{rights}: {command}");
                continue;
            }
            let (is_right, context) = match command.starts_with("DIRTY.READER") {
                true => (is_no_key(&got), "toplevel"),
                false => (got == NO_OTHER, "module"),
            };
            assert!(is_right, "{rights}: {command}: {got}");
            let logged = format!("key context {context} object other username app");
            assert_eq!(denied(&mut admin), logged, "{rights}: {command}");
            assert_eq!(admin.digest(), before, "{rights}: {command}");
        }
    }
    // What a key holds that is not the user's is not told either.
    admin.run("SET secret text");
    let mut app = user(&server, "+@all ~s");
    let reply = app.run("DIRTY.READER s GROUP new FROM 0 DEAD secret");
    assert!(is_no_key(&reply), "{reply}");
    let script =
        r"EVAL return\_redis.pcall('DIRTY.READER','s','GROUP','new','FROM','0','DEAD','secret') 0";
    let reply = app.run(script);
    // 7.0 and Valkey have other words for it in scripts.
    let is_refused = reply.starts_with("NOPERM ")
        || reply.contains("can't access")
        || reply.contains("No permissions");
    assert!(is_refused, "{reply}");
    assert_eq!(admin.run("EXISTS s:readers"), "(1)");
    assert!(!admin.run("DIRTY.STATS s").contains("name new "));
}

const NO_OTHER: &str = "NOPERM this user may not write the key \"other\"";

/// COPY and RESTORE tell the module nothing of who sends them: README warns of it. RENAME gives nothing
/// that its rights on both keys do not give anyway.
#[test]
fn a_declaration_goes_on_lending_under_another_name() {
    let server = Server::start();
    let mut admin = server.connect();
    admin.run("DIRTY.DECLARE strong STREAM secret");
    let mut app = user(&server, "+@all %R~strong ~mine*");
    for command in [
        "RENAME strong mine",
        "COPY mine strong",
        "XADD secret * a b",
    ] {
        let reply = app.run(command);
        assert!(is_no_key(&reply), "{command}: {reply}");
    }
    app.expect(
        r"
COPY strong mine => (1)
DIRTY.FLUSH mine SNAPSHOT 1 1 a b => [insert]
RENAME mine mine2 => OK
DIRTY.FLUSH mine2 SNAPSHOT 1 1 a c => [update]
",
    );
    assert_eq!(admin.run("XLEN secret"), "(2)");
    // The prefix is the one that was declared, whatever the key is called.
    assert_eq!(admin.run("KEYS *:*"), "[strong:1]");
    let mut app = user(&server, "+@all -restore -copy %R~strong ~mine*");
    for command in ["COPY strong mine3", "RESTORE mine3 0 x"] {
        let reply = app.run(command);
        assert!(reply.starts_with("NOPERM "), "{command}: {reply}");
    }
}

const READ: &str = "[RO access]";
const WRITE: &str = "[RW update]";
const BOTH: &str = "[RW access update]";

#[test]
fn the_server_knows_each_commands_one_key_and_what_becomes_of_it() {
    let server = Server::start();
    let mut redis = server.connect();
    for (flags, command) in [
        (WRITE, "DIRTY.DECLARE k STREAM other PREFIX p"),
        (WRITE, "DIRTY.COMMIT k t u"),
        (WRITE, "DIRTY.ABORT k t u"),
        (READ, "DIRTY.DEFERRED k"),
        (READ, "DIRTY.GET k 1 2"),
        (READ, "DIRTY.INFO k"),
        (BOTH, "DIRTY.CONSUME k GROUP g c ACK 1 1-1 PENDING COUNT 5"),
        (BOTH, "DIRTY.CONSUME k GROUP dead c"),
        (BOTH, "DIRTY.CONSUME k CURSOR DEAD JSON"),
        (READ, "DIRTY.READ k FROM 0 WHERE META dead other"),
        (WRITE, "DIRTY.ACK k GROUP g c 1-1"),
        (WRITE, "DIRTY.HOLD k GROUP g c"),
        (WRITE, "DIRTY.SEEK k CURSOR c 0"),
        (BOTH, "DIRTY.FAIL k GROUP g c dead FATAL 1-1"),
        (WRITE, "DIRTY.LEAVE k GROUP g c"),
        (READ, "DIRTY.PENDING k GROUP g"),
        (BOTH, "DIRTY.REDRIVE k GROUP dead ENTITY dead other"),
        (BOTH, "DIRTY.DISCARD k GROUP dead ALL"),
        (WRITE, "DIRTY.PAUSE k GROUP g ON"),
        (WRITE, "DIRTY.FORGET k GROUP g"),
        (READ, "DIRTY.STATS k"),
        (BOTH, "DIRTY._DELTA k x"),
    ] {
        let keys = |redis: &mut Conn, which: &str| redis.run(&format!("COMMAND {which} {command}"));
        assert_eq!(keys(&mut redis, "GETKEYS"), "[k]", "{command}");
        let expected = format!("[[k {flags}]]");
        assert_eq!(keys(&mut redis, "GETKEYSANDFLAGS"), expected, "{command}");
        let name = command.split(' ').next().unwrap_or("");
        let info = redis.run(&format!("COMMAND INFO {name}"));
        // What ACK of a flush names is told by getkeys-api.
        let names_more = name == "DIRTY.FLUSH";
        let flags = match names_more {
            true => flags.replace(']', " incomplete]"),
            false => flags.into(),
        };
        let spec = format!(
            "[[flags {flags} begin_search [type index spec [index (1)]] \
             find_keys [type range spec [lastkey (0) keystep (1) limit (0)]]]]"
        );
        assert!(info.contains(&spec), "{info}");
        assert_eq!(info.contains("movablekeys"), names_more, "{info}");
    }
}

/// The dead stream of a reader is a key of DIRTY.READER, wherever it stands, and no other word is.
#[test]
fn the_server_knows_the_keys_of_a_reader() {
    let server = Server::start();
    let mut redis = server.connect();
    for (command, keys) in [
        ("GROUP g FROM 0", "[[k F]]"),
        ("GROUP g FROM 0 DEAD other", "[[k F] [other W]]"),
        (
            "GROUP DEAD FROM GROUP dead dead other CLAIM 5",
            "[[k F] [other W]]",
        ),
        ("CURSOR DEAD DEAD DEAD FROM 0", "[[k F] [DEAD W]]"),
        ("GROUP g ORDER META DEAD FROM 0", "[[k F]]"),
        (
            "GROUP g FROM 0 WHERE META DEAD other ENTITY DEAD",
            "[[k F]]",
        ),
        ("GROUP g DEAD a FROM 0 WHERE META DEAD a", "[[k F] [a W]]"),
        (
            "GROUP g FROM 0 WHERE FIELDS 2 DEAD a DEAD a",
            "[[k F] [a W]]",
        ),
        ("GROUP g FROM 0 DEAD k", "[[k F] [k W]]"),
    ] {
        let got = redis.run(&format!("COMMAND GETKEYSANDFLAGS DIRTY.READER k {command}"));
        let got = got.replace(BOTH, "F").replace(WRITE, "W");
        assert_eq!(got, keys, "{command}");
    }
    let info = redis.run("COMMAND INFO DIRTY.READER");
    assert!(info.contains("movablekeys"), "{info}");
}

/// What is taken from a user while a reader of that user's waits, and what the reader is told then.
const TAKEN: [(&str, &str, &str); 5] = [
    ("+@all", "", "[events [["),
    (
        "resetkeys ~other",
        "key context module object s username app",
        "NOPERM this user may no longer consume the stream \"s\"",
    ),
    (
        "resetkeys %W~s",
        "key context module object s username app",
        "NOPERM this user may no longer consume the stream \"s\"",
    ),
    (
        "-dirty.consume",
        "command context module object dirty.consume username app",
        "NOPERM this user may no longer consume the stream \"s\"",
    ),
    // Who is turned off may stay connected, and do all as before.
    ("off", "", "[events [["),
];

#[test]
fn a_reader_that_waits_reads_nothing_once_its_rights_are_taken_away() {
    let server = Server::start();
    let mut admin = server.connect();
    for (taken, logged, expected) in TAKEN {
        for how in ["an event", "the timer"] {
            admin.run("FLUSHALL");
            admin.run("ACL LOG RESET");
            let mut app = user(&server, "+@all ~s ~other");
            admin.run("XADD s 1-1 a b");
            let claim = match how {
                "an event" => "",
                _ => " CLAIM 300",
            };
            admin.run(&format!("DIRTY.READER s GROUP g FROM 0{claim}"));
            admin.run("DIRTY.CONSUME s GROUP g a");
            let command = "DIRTY.CONSUME s GROUP g b BLOCK 10000";
            app.send(&words(command)).expect("sent");
            wait_until("a reader that waits", || blocked(&server) == 1);
            assert_eq!(admin.run(&format!("ACL SETUSER app {taken}")), "OK");
            if how == "an event" {
                admin.run("XADD s 1-2 a b");
            }
            let case = format!("{taken}, woken by {how}");
            let reply = reply_to(&mut app);
            assert!(reply.starts_with(expected), "{case}: {reply}");
            let read = match expected.starts_with("NOPERM") {
                true => "(0)",
                false => "(1)",
            };
            let pending = admin.run("DIRTY.PENDING s GROUP g CONSUMER b");
            assert_eq!(pending == "[]", read == "(0)", "{case}: {pending}");
            assert_eq!(denied(&mut admin), logged, "{case}");
            let log = admin.run("ACL LOG");
            assert!(
                logged.is_empty() || log.contains(" user=app "),
                "{case}: {log}"
            );
            assert!(!log.contains("count (2)"), "{case}: {log}");
            wait_until("nobody waits", || blocked(&server) == 0);
        }
    }
}

/// A timer has no user: the rights are those of who waits.
#[test]
fn a_reader_that_waits_buries_nothing_where_its_user_may_no_longer_write() {
    let server = Server::start();
    let mut admin = server.connect();
    let mut app = user(&server, "+@all ~s ~other");
    admin.run("XADD s 1-1 a b");
    admin.run("DIRTY.READER s GROUP g FROM 0 CLAIM 500 MAXDELIVERIES 2 DEAD other");
    admin.run("DIRTY.CONSUME s GROUP g a");
    admin.run("DIRTY.CONSUME s GROUP g a PENDING");
    let command = "DIRTY.CONSUME s GROUP g b BLOCK 10000";
    app.send(&words(command)).expect("sent");
    wait_until("a reader that waits", || blocked(&server) == 1);
    admin.run("ACL SETUSER app resetkeys ~s %R~other");
    assert_eq!(
        reply_to(&mut app),
        "NOPERM this user may not write the key \"other\""
    );
    assert_eq!(
        denied(&mut admin),
        "key context module object other username app"
    );
    assert_eq!(admin.run("EXISTS other"), "(0)");
    assert_eq!(held(&mut admin, "g"), "1:a:2");
}

/// As one of a group, by DIRTY.READ, which needs the right to read alone.
#[test]
fn a_call_without_a_reader_that_waits_reads_nothing_once_its_rights_are_taken_away() {
    let server = Server::start();
    let mut admin = server.connect();
    for (taken, logged) in [
        ("resetkeys %R~s", ""),
        ("resetkeys %W~s", "key context module object s username app"),
        ("resetkeys", "key context module object s username app"),
        (
            "-dirty.read",
            "command context module object dirty.read username app",
        ),
    ] {
        admin.run("FLUSHALL");
        admin.run("ACL LOG RESET");
        let mut app = user(&server, "+@all ~s");
        app.send(&words("DIRTY.READ s FROM 0 BLOCK 10000"))
            .expect("sent");
        wait_until("a reader that waits", || blocked(&server) == 1);
        assert_eq!(admin.run(&format!("ACL SETUSER app {taken}")), "OK");
        admin.run("XADD s 1-1 a b");
        let reply = reply_to(&mut app);
        assert_eq!(
            reply.starts_with("[events [["),
            logged.is_empty(),
            "{taken}: {reply}"
        );
        assert_eq!(denied(&mut admin), logged, "{taken}");
    }
}

/// Redis 7.0 serves it, later ones look again, as ours does on all of them.
#[test]
fn a_native_reader_that_waits_and_loses_its_rights() {
    let server = Server::start();
    let mut admin = server.connect();
    let mut app = user(&server, "+@all ~s");
    admin.run("XGROUP CREATE s g 0 MKSTREAM");
    app.send(&words("XREADGROUP GROUP g b BLOCK 10000 STREAMS s >"))
        .expect("sent");
    wait_until("a reader that waits", || {
        admin.info("blocked_clients") == "1"
    });
    admin.run("ACL SETUSER app resetkeys");
    admin.run("XADD s 1-1 a b");
    let reply = reply_to(&mut app);
    let is_old = admin.info("redis_version").starts_with("7.0.");
    assert_eq!(reply.starts_with("NOPERM "), !is_old, "{reply}");
}

/// What ACL LOG tells: of each refusal the reason, the context, the object and who.
fn denied(admin: &mut Conn) -> String {
    let log = admin.run("ACL LOG");
    let entries = log.split("reason ").skip(1);
    let entries: Vec<&str> = entries
        .map(|entry| entry.split(" age-seconds ").next().unwrap_or(""))
        .collect();
    entries.join("; ")
}

/// 7.0 does not name the user.
fn is_no_command(reply: &str, command: &str, user: &str) -> bool {
    let no = format!("has no permissions to run the '{command}' command");
    [
        format!("NOPERM this user {no}"),
        format!("NOPERM User {user} {no}"),
    ]
    .contains(&reply.into())
}
