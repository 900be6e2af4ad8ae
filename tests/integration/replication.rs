//! Effects are replicated, not commands: what replicas and the AOF get is native writes with the ids
//! that were given, as one transaction, and nothing for a flush that failed or changed nothing.

use super::support::Server;
use super::support::readers::held;
use super::support::replication::{AOF, appended, history};

const DECLARE: &str = "DIRTY.DECLARE user NAME user PREFIX user: STREAM s OPS IUD MAXLEN = 4 ONFULL TRIM PAYLOAD CHANGES \
        FORMAT MSGPACK STREAM t OPS NONE FIELDS 1 status PAYLOAD CHANGES FORMAT MSGPACK";

/// Commands, in this order, and what each of them replicates.
const EFFECTS: &[(&str, &[&str])] = &[
    // A select precedes the first command of all.
    ("SET x 1", &["SELECT 0", "SET x 1"]),
    (
        "DIRTY.DECLARE user STREAM s MAXLEN 4 STREAM t OPS none FIELDS 1 status",
        &[DECLARE],
    ),
    (
        "DIRTY.DECLARE user STREAM s MAXLEN 4 STREAM t OPS none FIELDS 1 status",
        &[],
    ),
    (
        "DIRTY.FLUSH user SNAPSHOT 1 2 name A status on",
        &[
            "MULTI",
            "HSET user:1 name A status on",
            "XADD s ms-1 s BYTES",
            "EXEC",
        ],
    ),
    ("DIRTY.FLUSH user SNAPSHOT 1 2 name A status on", &[]),
    ("DIRTY.FLUSH user INSERT 1 1 name B", &[]),
    ("DIRTY.FLUSH user UPDATE 2 1 name B", &[]),
    ("DIRTY.FLUSH user DELETE 2 DELETE 3", &[]),
    ("DIRTY.FLUSH user UPDATE 1 1 name B UPDATE 9 0", &[]),
    (
        "DIRTY.FLUSH user SNAPSHOT 1 1 status off",
        &[
            "MULTI",
            "HSET user:1 status off",
            "HDEL user:1 name",
            "XADD s ms-2 s BYTES",
            "XADD t ms-1 s BYTES",
            "EXEC",
        ],
    ),
    ("DIRTY.FLUSH user SEED 2 1 name C", &["HSET user:2 name C"]),
    (
        "DIRTY.FLUSH user TOUCH 2",
        &[
            "MULTI",
            "XADD s ms-3 s BYTES",
            "XADD t ms-2 s BYTES",
            "EXEC",
        ],
    ),
    (
        "DIRTY.FLUSH user UPDATE 2 0 NULL 1 name INSERT 3 0 DELETE 1",
        &[
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
    ("DIRTY.GET user 1 2", &[]),
    ("DIRTY.INFO user", &[]),
    ("DIRTY.SCAN user 0", &[]),
    // A run is of the primary alone, and what it repairs and deletes of all.
    ("DIRTY.RECONCILE user BEGIN r", &[]),
    ("DIRTY.FLUSH user RUN r SNAPSHOT 2 0", &[]),
    (
        "DIRTY.FLUSH user RUN r SNAPSHOT 4 1 name D",
        &[
            "MULTI",
            "HSET user:4 name D",
            "XADD s ms-7 s BYTES",
            "XTRIM s MAXLEN = 4",
            "EXEC",
        ],
    ),
    ("DIRTY.RECONCILE user STATUS r", &[]),
    ("DIRTY.RECONCILE user SWEEP r DRYRUN", &[]),
    ("DIRTY.RECONCILE user SWEEP r", &[]),
    (
        "DIRTY.RECONCILE user SWEEP r",
        &[
            "MULTI",
            "DEL user:3",
            "XADD s ms-8 s BYTES",
            "XTRIM s MAXLEN = 4",
            "EXEC",
        ],
    ),
    ("DIRTY.RECONCILE user SWEEP r", &[]),
    ("DIRTY.RECONCILE user BEGIN q", &[]),
    ("DIRTY.RECONCILE user ABORT q", &[]),
];

#[test]
fn each_command_replicates_exactly_its_effects() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("SELECT 0");
    let (_, mut start) = appended(&server, 0);
    for (command, expected) in EFFECTS {
        redis.run(command);
        let (commands, end) = appended(&server, start);
        assert_eq!(commands, *expected, "{command}");
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

#[test]
fn a_replica_has_the_same_data_as_its_primary() {
    let primary = Server::start();
    let replica = Server::replica_of(&primary);
    let mut redis = primary.connect();
    history(&mut redis);
    primary.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
    // The digest sees readers, too.
    for stream in ["s", "t", "new"] {
        let dump = format!("DUMP {stream}:readers");
        let readers = redis.run(&dump);
        assert_ne!(readers, "nil", "{stream}");
        assert_eq!(replica.connect().run(&dump), readers, "{stream}");
    }
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
        "DIRTY.FLUSH user RUN r SNAPSHOT 1 0",
        "DIRTY.RECONCILE user BEGIN r",
        "DIRTY.RECONCILE user STATUS r",
        "DIRTY.READER s GROUP g FROM 0",
        "DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user",
        "DIRTY.CONSUME s GROUP g c",
        "DIRTY.CONSUME s CURSOR c",
        "DIRTY.ACK s CURSOR c 1-1/1",
        "DIRTY.HOLD s GROUP g c",
        "DIRTY.FAIL s GROUP g c why 1-1",
        "DIRTY.LEAVE s GROUP g c",
        "DIRTY.REDRIVE s GROUP g ALL",
        "DIRTY.DISCARD s GROUP g ALL",
        "DIRTY.PAUSE s GROUP g ON",
        "DIRTY.SEEK s GROUP g 0",
        "DIRTY.SEEK s CURSOR c SNAPSHOT 1 user",
        "DIRTY.FORGET s GROUP g",
    ] {
        let reply = redis.run(command);
        assert_eq!(
            reply, "READONLY You can't write against a read only replica.",
            "{command}"
        );
    }
    redis.expect(
        "DIRTY.GET user 1 => [nil]\n\
         DIRTY.SCAN user 0 => [0 []]\n\
         DIRTY.READ s FROM 0 => [events [] missed (0) more (0) position 0-0/0]\n\
         DIRTY.PENDING s GROUP g => NOREADER there is no group \"g\" on \"s\"",
    );
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
    redis.run("DIRTY.READER s GROUP g FROM 0");
    redis.run("DIRTY.READER s CURSOR k FROM 0");
    redis.run("DIRTY.CONSUME s GROUP g c COUNT 4");
    redis.run("DIRTY.LEAVE s GROUP g c");
    redis.run("DIRTY.CONSUME s GROUP g other COUNT 3");
    let position = redis.run("DIRTY.CONSUME s CURSOR k COUNT 6");
    let position = position.split("position ").nth(1).unwrap();
    let position = position.trim_end_matches(']');
    redis.expect(&format!("DIRTY.ACK s CURSOR k {position} => (1)"));
    let pending = held(&mut redis, "g");
    assert_eq!(pending, "1:other:1 2:other:1 3:other:1 4:nil:0");
    primary.wait_for_replica(&replica);
    primary.kill();
    let mut promoted = replica.connect();
    promoted.ok(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(held(&mut promoted, "g"), pending);
    let entities = |reply: String| -> Vec<String> {
        let ids = reply.split("entity-id ").skip(1);
        ids.map(|rest| rest.split(' ').next().unwrap().to_string())
            .collect()
    };
    assert_eq!(
        entities(promoted.run("DIRTY.CONSUME s GROUP g c")),
        ["4", "5", "6", "7", "8", "9", "10"]
    );
    assert_eq!(
        entities(promoted.run("DIRTY.CONSUME s CURSOR k")),
        ["7", "8", "9", "10"]
    );
}
