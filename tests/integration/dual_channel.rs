//! Replication by two connections at once, which Valkey from 8.0 on has.

use super::support::readers::consume;
use super::support::{Server, skipped, words};

/// The full sync goes by one connection, what is written meanwhile by the other.
#[test]
fn a_full_sync_by_two_channels_has_what_was_flushed_and_read_meanwhile() {
    let options = ["--repl-diskless-sync", "yes"];
    let primary = Server::with(&options);
    let mut redis = primary.connect();
    let set = redis.run("CONFIG SET dual-channel-replication-enabled yes");
    if set != "OK" {
        return skipped("replication has one channel here");
    }
    redis.expect(
        "
DIRTY.DECLARE user STREAM s PAYLOAD FULL => OK
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user => OK
DEBUG POPULATE 200000 filler 100 => OK
",
    );
    let replica = Server::with(&["--dual-channel-replication-enabled", "yes"]);
    let port = primary.port.to_string();
    replica.connect().ok(&["REPLICAOF", "127.0.0.1", &port]);
    let mut during = 0;
    for n in 0..5000 {
        let flush = format!("DIRTY.FLUSH user SNAPSHOT {} 1 v {n}", n % 50);
        redis.ok(&flush.split(' ').collect::<Vec<_>>());
        let read = consume(&mut redis, "s GROUP g w COUNT 3");
        if let Some(id) = read.ids.first() {
            redis.run(&format!("DIRTY.ACK s GROUP g w {id}"));
        }
        let position = consume(&mut redis, "s CURSOR c COUNT 5").position;
        let ack = format!("DIRTY.ACK s CURSOR c {}", position.expect("a position"));
        redis.value(&words(&ack));
        if !redis.run("INFO replication").contains("state=online") {
            during += 1;
        } else if n > during + 200 {
            break;
        }
    }
    assert!(during > 0, "nothing was written during the sync");
    assert!(
        replica.log().contains("ual channel") || primary.log().contains("ual channel"),
        "{}",
        replica.log()
    );
    replica.wait_for_line("INFO replication", "master_link_status:up");
    primary.wait_for_replica(&replica);
    assert_eq!(redis.digest(), replica.connect().digest());
}
