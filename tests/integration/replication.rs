//! Effects are replicated, not commands: what replicas and the AOF get is native writes with the ids
//! that were given, as one transaction, and nothing for a flush that failed or changed nothing.

use super::support::{Conn, Server};

/// The commands in the append-only file from `start` on, one a line, ids shortened to `ms-seq`.
pub fn appended(server: &Server, start: usize) -> (Vec<String>, usize) {
    let dir = server.dir.path().join("appendonlydir");
    let file = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .unwrap();
    let bytes = std::fs::read(file).unwrap();
    let mut rest = &bytes[start..];
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let words = number(&mut rest, b'*');
        let words: Vec<String> = (0..words).map(|_| word(&mut rest)).collect();
        commands.push(words.join(" "));
    }
    (commands, bytes.len())
}

fn number(rest: &mut &[u8], sign: u8) -> usize {
    assert_eq!(rest[0], sign);
    let end = rest.iter().position(|&byte| byte == b'\r').unwrap();
    let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
    *rest = &rest[end + 2..];
    number
}

fn word(rest: &mut &[u8]) -> String {
    let length = number(rest, b'$');
    let word = &rest[..length];
    *rest = &rest[length + 2..];
    let is_id = |text: &str| match text.split_once('-') {
        Some((ms, seq)) => {
            ms.len() == 13 && ms.bytes().chain(seq.bytes()).all(|b| b.is_ascii_digit())
        }
        None => false,
    };
    match std::str::from_utf8(word) {
        Ok(text) if is_id(text) => format!("ms-{}", text.split_once('-').unwrap().1),
        Ok(text) if !text.bytes().any(|byte| byte.is_ascii_control()) => text.to_string(),
        _ => "BYTES".into(),
    }
}

/// An append-only file that is written at once, without its preamble.
pub const AOF: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--aof-use-rdb-preamble",
    "no",
];

#[test]
fn each_command_replicates_exactly_its_effects() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    let declare =
        "DIRTY.DECLARE user NAME user PREFIX user: STREAM s OPS IUD MAXLEN = 4 ONFULL TRIM PAYLOAD CHANGES \
        FORMAT MSGPACK STREAM t OPS NONE FIELDS 1 status PAYLOAD CHANGES FORMAT MSGPACK";
    redis.run("SELECT 0");
    let (_, mut start) = appended(&server, 0);
    for (command, expected) in [
        // A select precedes the first command of all.
        ("SET x 1", vec!["SELECT 0", "SET x 1"]),
        (
            "DIRTY.DECLARE user STREAM s MAXLEN 4 STREAM t OPS none FIELDS 1 status",
            vec![declare],
        ),
        (
            "DIRTY.DECLARE user STREAM s MAXLEN 4 STREAM t OPS none FIELDS 1 status",
            vec![],
        ),
        (
            "DIRTY.FLUSH user SNAPSHOT 1 2 name A status on",
            vec![
                "MULTI",
                "HSET user:1 name A status on",
                "XADD s ms-1 s BYTES",
                "EXEC",
            ],
        ),
        ("DIRTY.FLUSH user SNAPSHOT 1 2 name A status on", vec![]),
        ("DIRTY.FLUSH user INSERT 1 1 name B", vec![]),
        ("DIRTY.FLUSH user UPDATE 2 1 name B", vec![]),
        ("DIRTY.FLUSH user DELETE 2 DELETE 3", vec![]),
        ("DIRTY.FLUSH user UPDATE 1 1 name B UPDATE 9 0", vec![]),
        (
            "DIRTY.FLUSH user SNAPSHOT 1 1 status off",
            vec![
                "MULTI",
                "HSET user:1 status off",
                "HDEL user:1 name",
                "XADD s ms-2 s BYTES",
                "XADD t ms-1 s BYTES",
                "EXEC",
            ],
        ),
        (
            "DIRTY.FLUSH user SEED 2 1 name C",
            vec!["HSET user:2 name C"],
        ),
        ("DIRTY.FLUSH user TOUCH 2", vec!["XADD s ms-3 s BYTES"]),
        (
            "DIRTY.FLUSH user UPDATE 2 0 NULL 1 name INSERT 3 0 DELETE 1",
            vec![
                "MULTI",
                "HSET user:2 @ ",
                "HDEL user:2 name",
                "XADD s ms-4 s BYTES",
                "HSET user:3 @ ",
                "XADD s ms-5 s BYTES",
                "DEL user:1",
                "XADD s ms-6 s BYTES",
                "XTRIM s MAXLEN = 4",
                "EXEC",
            ],
        ),
        ("DIRTY.GET user 1 2", vec![]),
        ("DIRTY.INFO user", vec![]),
    ] {
        redis.run(command);
        let (commands, end) = appended(&server, start);
        assert_eq!(commands, expected, "{command}");
        start = end;
    }
}

#[test]
fn a_stream_of_another_database_is_written_there() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s DB 2 STREAM t");
    let (_, start) = appended(&server, 0);
    redis.run("DIRTY.FLUSH user INSERT 1 1 a b");
    redis.run("SET x 1");
    let (commands, _) = appended(&server, start);
    assert_eq!(
        commands,
        [
            "MULTI",
            "HSET user:1 a b",
            "SELECT 2",
            "XADD s ms-1 s BYTES",
            "SELECT 0",
            "XADD t ms-1 s BYTES",
            "EXEC",
            "SET x 1",
        ]
    );
}

#[test]
fn everything_within_one_transaction_or_script_is_one_transaction() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    let (_, start) = appended(&server, 0);
    for command in [
        "MULTI",
        "DIRTY.FLUSH user INSERT 1 1 a b",
        "DIRTY.FLUSH user DELETE 1",
        "EXEC",
    ] {
        redis.run(command);
    }
    let script = "return redis.call('DIRTY.FLUSH','user','INSERT','1','1','a','b')";
    assert_eq!(redis.raw(&["EVAL", script, "0"]), "[insert]");
    let (commands, _) = appended(&server, start);
    let insert = |seq| {
        [
            "HSET user:1 a b".to_string(),
            format!("XADD s ms-{seq} s BYTES"),
        ]
    };
    let mut expected = vec!["MULTI".to_string()];
    expected.extend(insert(1));
    expected.extend([
        "DEL user:1".into(),
        "XADD s ms-2 s BYTES".into(),
        "EXEC".into(),
    ]);
    expected.push("MULTI".into());
    expected.extend(insert(3));
    expected.push("EXEC".into());
    assert_eq!(commands, expected);
}

/// A history with everything in it, among it bytes of all kinds.
pub fn history(redis: &mut Conn) {
    for command in [
        "DIRTY.DECLARE user TYPES 1 age int STREAM s MAXLEN ~ 100 STREAM t OPS NONE FIELDS 1 age",
        "DIRTY.DECLARE order{1} STREAM s PAYLOAD FULL STREAM u DB 3 PAYLOAD KEYS",
        "DIRTY.FLUSH user SNAPSHOT 1 3 name A age 007 x\\x00\\xff \\x0d\\x0a SNAPSHOT \\x00\\xfe 0",
        "DIRTY.FLUSH user SNAPSHOT 1 1 age 8 UPDATE 1 1 b c INSERT 5 1 age 1 DELETE 5",
        "DIRTY.FLUSH user DELETE 1 SEED 7 1 a b TOUCH 7",
        "DIRTY.FLUSH order{1} INSERT 1 2 a b c d",
        "DIRTY.FLUSH order{1} DELETE 1",
        "DIRTY.FLUSH user UPDATE 9 0",
        "DIRTY.CONSUME s GROUP g c COUNT 2",
        "DIRTY.READ s FROM 0",
        "DIRTY.CONSUME new GROUP g c",
        "DIRTY.CONSUME t GROUP g c PENDING CLAIM 0",
    ] {
        redis.run(command);
    }
    for n in 0..300 {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {} 1 age {n}", n % 10));
    }
}

#[test]
fn a_replica_has_the_same_data_as_its_primary() {
    let primary = Server::start();
    let replica = Server::replica_of(&primary);
    let mut redis = primary.connect();
    history(&mut redis);
    primary.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
    // The digest does not see groups.
    let groups = "XINFO STREAM s FULL";
    assert_eq!(
        replica.connect().run("XPENDING s g"),
        redis.run("XPENDING s g")
    );
    let last = |text: String| text.split("last-delivered-id ").nth(1).unwrap()[..20].to_string();
    assert_eq!(last(replica.connect().run(groups)), last(redis.run(groups)));
}

#[test]
fn a_replica_with_nodes_of_another_size_holds_the_same_entries() {
    let primary = Server::with(&["--stream-node-max-entries", "10"]);
    let replica = Server::replica_of(&primary);
    replica
        .connect()
        .ok(&["CONFIG", "SET", "stream-node-max-entries", "37"]);
    let mut redis = primary.connect();
    redis.run("DIRTY.DECLARE user STREAM s MAXLEN ~ 50");
    // Seven events a command, trimmed once: what is left is seldom just 50.
    let touch = "TOUCH 1 ".repeat(7);
    redis.run("DIRTY.FLUSH user SEED 1 0");
    for _ in 0..43 {
        redis.run(&format!("DIRTY.FLUSH user {touch}"));
    }
    assert_ne!(redis.run("XLEN s"), "(50)");
    primary.wait_for_replica(&replica);
    assert_eq!(replica.connect().run("XLEN s"), redis.run("XLEN s"));
    assert_eq!(replica.connect().digest(), redis.digest());
}

/// What its primary has accepted it takes, even what it would refuse itself.
#[test]
fn a_replica_with_fewer_databases_has_the_same_declarations() {
    let primary = Server::start();
    let replica = Server::with(&["--databases", "2"]);
    let port = primary.port.to_string();
    replica.connect().ok(&["REPLICAOF", "127.0.0.1", &port]);
    replica.wait_for_line("INFO replication", "master_link_status:up");
    let mut redis = primary.connect();
    redis.expect("DIRTY.DECLARE user STREAM near STREAM far DB 5 => OK");
    primary.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
}

#[test]
fn a_replica_refuses_writes() {
    let primary = Server::start();
    primary.connect().run("DIRTY.DECLARE user STREAM s");
    let replica = Server::replica_of(&primary);
    let mut redis = replica.connect();
    for command in [
        "DIRTY.DECLARE user STREAM t",
        "DIRTY.FLUSH user INSERT 1 0",
        "DIRTY.CONSUME s GROUP g c",
        "DIRTY.READ s FROM 0",
        "DIRTY.ACK s CURSOR c 1-1",
    ] {
        let reply = redis.run(command);
        assert_eq!(
            reply, "READONLY You can't write against a read only replica.",
            "{command}"
        );
    }
    assert_eq!(redis.run("DIRTY.GET user 1"), "[nil]");
}

#[test]
fn a_promoted_replica_goes_on_with_groups_and_cursors_where_they_were() {
    let mut primary = Server::start();
    let replica = Server::replica_of(&primary);
    let mut redis = primary.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    for id in 1..=10 {
        redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
    }
    redis.run("DIRTY.CONSUME s GROUP g c COUNT 4");
    redis.run("DIRTY.CONSUME s GROUP g other PENDING CLAIM 0 COUNT 3");
    let position = redis.run("DIRTY.READ s FROM 0 COUNT 6");
    let position = position.split("position ").nth(1).unwrap();
    let position = position.split(' ').next().unwrap();
    redis.run(&format!("DIRTY.ACK s CURSOR k {position}"));
    let pending = redis.run("XPENDING s g - + 10 other");
    primary.wait_for_replica(&replica);
    primary.kill();
    let mut promoted = replica.connect();
    promoted.ok(&["REPLICAOF", "NO", "ONE"]);
    // Without how long they are idle.
    let without_idle = |text: &str| -> Vec<String> {
        let rows = text.split('[').filter(|row| row.contains('-'));
        let words = |row: &str| row.split(' ').map(str::to_string).collect::<Vec<_>>();
        rows.map(|row| [words(row)[0].clone(), words(row)[3].clone()].concat())
            .collect()
    };
    assert_eq!(
        without_idle(&promoted.run("XPENDING s g - + 10 other")),
        without_idle(&pending)
    );
    let entities = |reply: String| -> Vec<String> {
        let ids = reply.split("entity-id ").skip(1);
        ids.map(|rest| rest.split(' ').next().unwrap().to_string())
            .collect()
    };
    assert_eq!(
        entities(promoted.run("DIRTY.CONSUME s GROUP g c")),
        ["5", "6", "7", "8", "9", "10"]
    );
    assert_eq!(
        entities(promoted.run("DIRTY.READ s FROM 0")),
        ["7", "8", "9", "10"]
    );
}
