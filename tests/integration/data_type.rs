//! The declaration as a value of its own type: saved, loaded, copied, forged, freed.

use super::support::dumps::{crc64, dump, forgeries};
use super::support::entities::{HARD_ONES, names_of_type, started};
use super::support::{Conn, Server, cases, wait_until, words};
use redis::Value;

/// Declares the hard ones and a large one, and gives their keys.
fn declare_hard_ones(redis: &mut Conn) -> Vec<String> {
    let fields: Vec<String> = (0..1000).map(|i| format!("{i}{}", "x".repeat(i))).collect();
    let large = format!(
        "DIRTY.DECLARE large STREAM s FIELDS 1000 {}",
        fields.join(" ")
    );
    let mut commands: Vec<String> = cases(HARD_ONES).into_iter().map(|(c, _)| c).collect();
    commands.push(large);
    let mut keys = Vec::new();
    for command in commands {
        assert_eq!(redis.run(&command), "OK", "{command}");
        keys.extend(command.split(' ').nth(1).map(String::from));
    }
    keys
}

/// What DIRTY.INFO says of each, and the data set's digest.
fn told(redis: &mut Conn, keys: &[String]) -> Vec<String> {
    let told = keys
        .iter()
        .map(|key| redis.run(&format!("DIRTY.INFO {key}")));
    let mut told: Vec<String> = told.collect();
    assert!(
        told.iter().all(|told| told.starts_with("[name ")),
        "{told:?}"
    );
    told.push(redis.digest());
    told
}

#[test]
fn declarations_survive_a_reload_and_a_restart_from_an_rdb_file() {
    let (mut server, mut redis) = started();
    let keys = declare_hard_ones(&mut redis);
    let before = told(&mut redis, &keys);
    assert_eq!(redis.run("DEBUG RELOAD"), "OK");
    assert_eq!(told(&mut redis, &keys), before);
    assert_eq!(redis.run("SAVE"), "OK");
    server.restart();
    assert_eq!(told(&mut server.connect(), &keys), before);
}

#[test]
fn declarations_survive_a_restart_from_an_aof_of_commands() {
    for rewritten in [false, true] {
        let mut server = Server::with(AOF);
        let mut redis = server.connect();
        let keys = declare_hard_ones(&mut redis);
        let before = told(&mut redis, &keys);
        if rewritten {
            rewrite_aof(&server);
            assert_eq!(told(&mut redis, &keys), before);
        }
        server.restart();
        assert_eq!(
            told(&mut server.connect(), &keys),
            before,
            "rewritten: {rewritten}"
        );
    }
}

const AOF: &[&str] = &["--appendonly", "yes", "--aof-use-rdb-preamble", "no"];

fn rewrite_aof(server: &Server) {
    let mut redis = server.connect();
    redis.ok(&["BGREWRITEAOF"]);
    wait_until("the rewrite of the AOF", || {
        let info = redis.run("INFO persistence");
        let running = ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"];
        !running.iter().any(|line| info.contains(line))
    });
    server.wait_for_line("INFO persistence", "aof_last_bgrewrite_status:ok");
    let base = server
        .dir
        .path()
        .join("appendonlydir/appendonly.aof.2.base.aof");
    let base = std::fs::read(base).expect("the base file");
    assert!(base.windows(13).any(|window| window == b"DIRTY.DECLARE"));
}

#[test]
fn a_declaration_that_was_renamed_to_an_empty_key_survives_a_rewrite() {
    let mut server = Server::with(AOF);
    let mut redis = server.connect();
    redis.expect(
        r#"
DIRTY.DECLARE user STREAM s => OK
RENAME user "" => OK
DIRTY.INFO "" => ERR dirty.info requires a key, not an empty one
"#,
    );
    rewrite_aof(&server);
    server.restart();
    let mut redis = server.connect();
    redis.expect(
        r#"
RENAME "" user => OK
DIRTY.FLUSH user INSERT 1 0 => [insert]
XLEN s => (1)
"#,
    );
}

/// Each line is appended to an AOF whose base holds a declaration of revision 5.
const IN_AN_AOF: &[&str] = &[
    "STREAM t REVISION 4",
    "STREAM t REVISION 5",
    "STREAM t REVISION 6",
    "STREAM t",
    "STREAM s OPS IUD FIELDS 1 a REVISION 5",
];

#[test]
fn an_aof_is_obeyed_whatever_the_revision() {
    for (base, declared) in ["yes", "no"]
        .into_iter()
        .flat_map(|base| IN_AN_AOF.iter().map(move |d| (base, d)))
    {
        let args = ["--appendonly", "yes", "--aof-use-rdb-preamble", base];
        let mut server = Server::with(&args);
        let mut redis = server.connect();
        redis.expect("DIRTY.DECLARE user STREAM s REVISION 5 => OK");
        redis.ok(&["BGREWRITEAOF"]);
        wait_until("the rewrite of the AOF", || {
            let info = redis.run("INFO persistence");
            let running = ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"];
            !running.iter().any(|line| info.contains(line))
        });
        server.kill();
        let folder = server.dir.path().join("appendonlydir");
        let increments = std::fs::read_dir(&folder).expect("a folder");
        let increment = increments
            .map(|entry| entry.expect("an entry").path())
            .find(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .expect("an increment");
        let line = format!("DIRTY.DECLARE user {declared}");
        let mut bytes = std::fs::read(&increment).expect("the increment");
        let arguments = words(&line);
        let mut push = |text: String| bytes.extend(text.bytes());
        push(format!("*{}\r\n", arguments.len()));
        for argument in arguments {
            let argument = String::from_utf8(argument).expect("text");
            push(format!("${}\r\n{argument}\r\n", argument.len()));
        }
        std::fs::write(&increment, bytes).expect("a file");
        server.start_again();
        let info = server.connect().run("DIRTY.INFO user");
        let is_tagged = declared.contains("FIELDS");
        let stream = if is_tagged {
            "[stream s ops IUD fields [a] "
        } else {
            "[stream t ops IUD fields [] "
        };
        assert!(info.contains(stream), "{declared}: {info}");
        let revision = declared
            .split("REVISION ")
            .nth(1)
            .map_or("nil".into(), |n| format!("({n})"));
        assert!(
            info.contains(&format!("revision {revision} ")),
            "{declared}: {info}"
        );
    }
}

#[test]
fn a_declaration_that_was_renamed_to_its_streams_name_survives_a_rewrite() {
    let mut server = Server::with(AOF);
    let mut redis = server.connect();
    redis.expect(
        r#"
DIRTY.DECLARE user STREAM s => OK
RENAME user s => OK
DIRTY.FLUSH s SNAPSHOT 1 1 a b => WRONGTYPE the key "s" does not hold a stream
"#,
    );
    let before = told(&mut redis, &["s".into()]);
    rewrite_aof(&server);
    server.restart();
    assert_eq!(told(&mut server.connect(), &["s".into()]), before);
}

#[test]
fn a_declaration_is_dumped_copied_renamed_and_moved_like_any_value() {
    let (_server, mut redis) = started();
    for key in declare_hard_ones(&mut redis) {
        let declared = redis.run(&format!("DIRTY.INFO {key}"));
        let digest = redis.run(&format!("DEBUG DIGEST-VALUE {key}"));
        let payload = dump(&mut redis, &key);
        let restore: [&[u8]; 4] = [b"RESTORE", b"restored", b"0", &payload];
        assert_eq!(redis.raw(&restore), "OK", "{key}");
        for command in [
            &format!("COPY {key} copied"),
            &format!("COPY {key} elsewhere DB 1"),
            "COPY copied renamed",
            "RENAME renamed newname",
            "COPY copied moved",
            "MOVE moved 1",
        ] {
            let reply = redis.run(command);
            assert!(
                ["OK", "(1)"].contains(&reply.as_str()),
                "{command}: {reply}"
            );
        }
        for (database, names) in [("1", ["elsewhere", "moved"]), ("0", ["copied", "newname"])] {
            redis.ok(&["SELECT", database]);
            for name in names {
                assert_eq!(redis.run(&format!("DIRTY.INFO {name}")), declared, "{name}");
                assert_eq!(
                    redis.run(&format!("DEBUG DIGEST-VALUE {name}")),
                    digest,
                    "{name}"
                );
                redis.ok(&["DEL", name]);
            }
        }
        assert_eq!(redis.run("DIRTY.INFO restored"), declared, "{key}");
        assert_eq!(redis.run("DEBUG DIGEST-VALUE restored"), digest, "{key}");
        redis.ok(&["DEL", "restored"]);
    }
}

#[test]
fn a_copy_is_a_declaration_of_its_own() {
    let (_server, mut redis) = started();
    redis.expect(
        r#"
DIRTY.DECLARE user STREAM s => OK
COPY user client => (1)
DIRTY.DECLARE user STREAM t => OK
# It keeps what it was copied from: name, prefix and streams.
DIRTY.FLUSH client SNAPSHOT 1 1 a b => [insert]
EXISTS s t => (1)
HGETALL user:1 => [a b]
DEL user => (1)
DIRTY.FLUSH client SNAPSHOT 1 1 a c => [update]
DIRTY.FLUSH user SNAPSHOT 1 1 a c => NODECL no entity type is declared at "user"
"#,
    );
}

#[test]
fn the_server_knows_the_type() {
    let (_server, mut redis) = started();
    let mut keys = declare_hard_ones(&mut redis);
    redis.ok(&["SET", "other", "x"]);
    keys.sort();
    let found = names_of_type(&mut redis, "dirtydecl");
    assert_eq!(found.len(), keys.len(), "{found:?}");
    assert!(!found.contains(&"other".into()));
    redis.expect(
        r#"
TYPE plain => dirtydecl
OBJECT ENCODING plain => raw
EXISTS plain => (1)
GET plain => WRONGTYPE Operation against a key holding the wrong kind of value
HGETALL plain => WRONGTYPE Operation against a key holding the wrong kind of value
PEXPIRE plain 100000 => (1)
PERSIST plain => (1)
# A lapsed one is declared no more.
PEXPIRE plain 0 => (1)
DIRTY.FLUSH plain SNAPSHOT 1 1 a b => NODECL no entity type is declared at "plain"
SET tags x => OK
DIRTY.INFO tags => WRONGTYPE the key "tags" does not hold a declaration
"#,
    );
    let mut memory = |key: &str| match redis.value(&["MEMORY", "USAGE", key]) {
        Value::Int(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    assert!(
        (50..2_000).contains(&memory("words")),
        "{}",
        memory("words")
    );
    assert!(
        (500_000..1_000_000).contains(&memory("large")),
        "{}",
        memory("large")
    );
}

#[test]
fn the_memory_of_a_declaration_comes_back_however_it_goes() {
    let (_server, mut redis) = started();
    let fields: Vec<String> = (0..1000)
        .map(|i| format!("a-field-of-some-length-{i}"))
        .collect();
    let fields = fields.join(" ");
    let declare = format!("DIRTY.DECLARE user STREAM s FIELDS 1000 {fields}");
    redis.run(&declare);
    let payload = dump(&mut redis, "user");
    // The last string is cut off, with the end of the value.
    let (body, footer) = payload.split_at(payload.len() - FOOTER);
    let cut = [&body[..body.len() - 8], footer].concat();
    redis.run("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
    let mut memory_after = |rounds: usize| {
        for _ in 0..rounds {
            for gone in [
                "DEL user",
                "UNLINK user",
                "FLUSHALL",
                "FLUSHALL ASYNC",
                "SET user x",
                "RENAME other user",
            ] {
                redis.ok(&["SET", "other", "x"]);
                redis.ok(&["DEL", "user"]);
                assert_eq!(redis.run(&declare), "OK");
                redis.run(gone);
            }
            redis.ok(&["DEL", "user"]);
            assert_eq!(redis.run(&declare), "OK");
            assert_eq!(redis.run("DIRTY.DECLARE user STREAM other"), "OK");
            let restore: [&[u8]; 5] = [b"RESTORE", b"user", b"0", &payload, b"REPLACE"];
            assert_eq!(redis.raw(&restore), "OK");
            let restore: [&[u8]; 5] = [b"RESTORE", b"user", b"0", &cut, b"REPLACE"];
            assert_eq!(redis.raw(&restore), "ERR Bad data format");
            assert_eq!(redis.run("FLUSHALL"), "OK");
        }
        wait_until("the background", || {
            redis
                .run("INFO memory")
                .contains("lazyfree_pending_objects:0")
        });
        redis.used_memory()
    };
    memory_after(3);
    let before = memory_after(1);
    let grown = memory_after(50) - before;
    // One declaration that stays each time would be 50 times 50 kB.
    assert!(grown < 100_000, "{grown} bytes");
}

/// Of a DUMP payload: two bytes of version, eight of checksum.
const FOOTER: usize = 10;

#[test]
fn a_forged_payload_is_refused_or_restored_but_never_ends_the_server() {
    let (server, mut redis) = started();
    redis.expect(
        r#"
DIRTY.DECLARE user NAME n REVISION 7 TYPES 1 a int STREAM s OPS ID FIELDS 2 x y MAXLEN ~ 5 PAYLOAD FULL
  STREAM t DB 3 => OK
DEBUG SET-SKIP-CHECKSUM-VALIDATION 1 => OK
"#,
    );
    let payload = dump(&mut redis, "user");
    let (body, footer) = payload.split_at(payload.len() - FOOTER);
    let (mut refused, mut restored) = (0, 0);
    for forged in forgeries(body) {
        let forged = [&forged, footer].concat();
        let restore: [&[u8]; 5] = [b"RESTORE", b"forged", b"0", &forged, b"REPLACE"];
        match redis.raw(&restore).as_str() {
            "OK" => restored += 1,
            error => {
                assert!(error.starts_with("ERR "), "{error}");
                refused += 1;
                continue;
            }
        }
        let info = redis.run("DIRTY.INFO forged");
        let other = info.starts_with("WRONGTYPE ");
        assert!(other || info.starts_with("[name "), "{info}");
        let flush = redis.run("DIRTY.FLUSH forged SNAPSHOT 1 1 a 5");
        assert!(flush == "[insert]" || !flush.starts_with('['), "{flush}");
        assert_eq!(redis.run("PING"), "PONG");
        // What was let in can be kept like any other.
        if !other {
            let kept = dump(&mut redis, "forged");
            let restore: [&[u8]; 4] = [b"RESTORE", b"again", b"0", &kept];
            assert_eq!(redis.raw(&restore), "OK", "{info}");
            assert_eq!(redis.run("DIRTY.INFO again"), info);
        }
        redis.ok(&["FLUSHALL"]);
    }
    assert!(
        refused > 1000 && restored > 100,
        "{refused} refused, {restored} restored"
    );
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// What a client sends that may do nothing but RESTORE: the checksum is right, whatever is in it.
#[test]
fn a_forged_payload_with_the_right_checksum_does_no_harm_either() {
    let (server, mut redis) = started();
    redis.expect(
        r#"
DIRTY.DECLARE user NAME n PREFIX p VERSION v TOMBSTONE 5 SOFTDELETE f REVISION 7 TYPES 1 a int STREAM s OPS ID
  FIELDS 2 x y MAXLEN ~ 5 ONFULL KEEP MAXAGE 7 PAYLOAD FULL STREAM t DB 3 FORMAT DEBEZIUM => OK
"#,
    );
    let payload = dump(&mut redis, "user");
    let body = &payload[..payload.len() - 8];
    assert_eq!(payload[body.len()..], crc64(body).to_le_bytes());
    let (mut refused, mut restored) = (0, 0);
    for forged in forgeries(body) {
        let forged = [&*forged, &crc64(&forged).to_le_bytes()].concat();
        let restore: [&[u8]; 5] = [b"RESTORE", b"forged", b"0", &forged, b"REPLACE"];
        match redis.raw(&restore).as_str() {
            "OK" => restored += 1,
            error => {
                assert!(error.starts_with("ERR "), "{error}");
                refused += 1;
                continue;
            }
        }
        for command in [
            "DIRTY.INFO forged",
            "DIRTY.FLUSH forged SNAPSHOT 1 3 a 5 v 7 f 0 DELETE 1",
            "COPY forged copied REPLACE",
            "DEBUG DIGEST-VALUE forged",
            "MEMORY USAGE forged",
        ] {
            let reply = redis.run(command);
            assert!(!reply.contains("internal"), "{command}: {reply}");
        }
        redis.ok(&["FLUSHALL"]);
    }
    assert!(
        refused > 1000 && restored > 100,
        "{refused} refused, {restored} restored"
    );
    assert!(!server.log().contains("panic"), "{}", server.log());
}
