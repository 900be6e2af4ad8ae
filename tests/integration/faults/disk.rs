//! A disk that takes no more: who cannot be written down is refused, and nothing is half there.

use crate::support::{Conn, Server};
use std::process::Command;

/// Whatever changes something.
const WRITES: [&str; 17] = [
    "DIRTY.DECLARE other STREAM s",
    "DIRTY.FLUSH user SNAPSHOT 1 1 a changed INSERT new 0",
    "DIRTY.FLUSH user ONCE t DELETE 1",
    "DIRTY.FLUSH user DEFER t DELETE 1",
    "DIRTY.COMMIT user waiting",
    "DIRTY.ABORT user waiting",
    "DIRTY.READER s GROUP new FROM 0",
    "DIRTY.CONSUME s GROUP g other",
    "DIRTY.CONSUME s CURSOR c",
    "DIRTY.ACK s GROUP g me FORCE 1-1",
    "DIRTY.HOLD s GROUP g me",
    "DIRTY.FAIL s GROUP g me why FATAL 1-1",
    "DIRTY.LEAVE s GROUP g me",
    "DIRTY.REDRIVE s GROUP g ALL",
    "DIRTY.DISCARD s GROUP g ALL",
    "DIRTY.PAUSE s GROUP g ON",
    "DIRTY.SEEK s CURSOR c $",
];

fn refuses_all(redis: &mut Conn, code: &str) {
    // Not even PING is answered.
    let before = redis.run("DEBUG DIGEST");
    for command in WRITES {
        let reply = redis.run(command);
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    assert_eq!(redis.run("DEBUG DIGEST"), before);
    assert_eq!(redis.run("DIRTY.GET user 1"), "[[a b]]");
    let looked = redis.run("DIRTY.READ s FROM 0");
    assert!(looked.starts_with("[events [[id "), "{looked}");
}

fn seed(redis: &mut Conn) {
    redis.expect(
        "DIRTY.DECLARE user STREAM s => OK\n\
         DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]\n\
         DIRTY.FLUSH user DEFER waiting DELETE 1 => [deferred]\n\
         DIRTY.READER s GROUP g FROM 0 => OK\n\
         DIRTY.READER s CURSOR c FROM 0 => OK",
    );
    redis.run("DIRTY.CONSUME s GROUP g me");
}

/// No file of the server's may grow beyond what it is: what a full disk answers, write by write.
fn limit_files(server: &Server, bytes: &str) {
    let limited = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--fsize={bytes}:unlimited"))
        .status();
    assert!(limited.expect("prlimit").success());
}

#[test]
fn with_a_full_disk_writes_are_refused_and_go_on_when_there_is_room() {
    let options = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let mut server = Server::that_survives_large_files(&options);
    let mut redis = server.connect();
    seed(&mut redis);
    limit_files(&server, "30000");
    // Until the log cannot be written any longer; the server tells within a second or so.
    let mut n = 0;
    let refusal = loop {
        n += 1;
        let flush = format!("DIRTY.FLUSH user SNAPSHOT filler 1 n {n}");
        let reply = redis.run(&flush);
        if !["[insert]", "[update]"].contains(&reply.as_str()) {
            break reply;
        }
        assert!(n < 100_000, "nothing is refused");
    };
    assert!(refusal.starts_with("MISCONF"), "{refusal}");
    refuses_all(&mut redis, "MISCONF");
    limit_files(&server, "unlimited");
    server.wait_for_line("INFO persistence", "aof_last_write_status:ok");
    redis.expect("DIRTY.FLUSH user SNAPSHOT filler 1 n last => [update]");
    let length = redis.run("XLEN s");
    assert_eq!(
        length,
        format!("({})", n + 1),
        "one event for each that was taken"
    );
    let digest = redis.digest();
    server.restart();
    assert_eq!(server.connect().digest(), digest, "{}", server.log());
}

#[test]
fn when_snapshots_of_the_server_fail_writes_are_refused() {
    let server = Server::with(&["--save", "3600 1", "--dbfilename", "taken"]);
    let mut redis = server.connect();
    seed(&mut redis);
    std::fs::create_dir(server.dir.path().join("taken")).unwrap();
    redis.run("BGSAVE");
    server.wait_for_line("INFO persistence", "rdb_last_bgsave_status:err");
    refuses_all(&mut redis, "MISCONF");
}

#[test]
fn without_enough_replicas_writes_are_refused() {
    let server = Server::start();
    let mut redis = server.connect();
    seed(&mut redis);
    redis.run("CONFIG SET min-replicas-to-write 1");
    refuses_all(&mut redis, "NOREPLICAS");
}

#[test]
fn a_read_only_replica_refuses_writes() {
    let primary = Server::start();
    seed(&mut primary.connect());
    let replica = Server::replica_of(&primary);
    primary.wait_for_replica(&replica);
    refuses_all(&mut replica.connect(), "READONLY");
}
