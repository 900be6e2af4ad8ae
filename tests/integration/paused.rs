//! Writes that are paused, by CLIENT PAUSE or for a failover: a reader that wakes meanwhile would write, which
//! ends the server. So it waits on, and gets its events when writes go on.

use super::support::{Conn, Server, text, wait_until, words};
use std::process::Command;
use std::time::{Duration, Instant};

/// Every kind of reader, each at the end of a stream without events: how it is declared, and how it waits. DIRTY.READ
/// needs none, but wakes by the same ways.
const READERS: [[&str; 2]; 11] = [
    ["GROUP g", "CONSUME s GROUP g c"],
    ["GROUP g", "CONSUME s GROUP g c RAW COUNT 1"],
    ["GROUP g", "CONSUME s GROUP g c PENDING JSON"],
    ["GROUP g WHERE ENTITY user", "CONSUME s GROUP g c"],
    [
        "GROUP g CLAIM 100000 MAXDELIVERIES 3",
        "CONSUME s GROUP g c",
    ],
    ["GROUP g ORDER STREAM", "CONSUME s GROUP g c"],
    ["GROUP g ORDER ENTITY MAXPENDING 5", "CONSUME s GROUP g c"],
    ["CURSOR g", "CONSUME s CURSOR g"],
    ["CURSOR g SHARD 0 1", "CONSUME s CURSOR g"],
    ["CURSOR g MINAGE 20", "CONSUME s CURSOR g"],
    ["CURSOR other", "READ s FROM 0"],
];

/// A reader of the stream `s` that is declared, and waits.
fn waiting(server: &Server, reader: [&str; 2], block: &str) -> Conn {
    waiting_from("0", server, reader, block)
}

fn waiting_from(start: &str, server: &Server, [declared, call]: [&str; 2], block: &str) -> Conn {
    let mut client = server.connect();
    client.expect(&format!("DIRTY.READER s {declared} FROM {start} => OK"));
    let call = call.replace("FROM 0", &format!("FROM {start}"));
    let command = format!("DIRTY.{call} BLOCK {block}");
    client.send(&words(&command)).expect("sent");
    server.wait_for_blocked(1);
    client
}

/// With JSON as without.
fn reply(client: &mut Conn) -> String {
    let reply = text(&client.receive().expect("a reply"));
    reply.replace("\\\":\\\"", " ").replace("\\\":[", " [")
}

/// A server whose every write is seen by its file, and with it would be by replicas.
fn server() -> (Server, Conn) {
    let server = Server::with(&["--appendonly", "yes"]);
    let redis = server.connect();
    (server, redis)
}

fn anew(redis: &mut Conn) {
    redis.run("FLUSHALL");
    redis.run("DIRTY.DECLARE user STREAM s");
}

/// Nobody has been served, and the server goes on.
fn waits_on(server: &Server, case: &str) {
    // Long enough for the timer to look, more than once.
    std::thread::sleep(Duration::from_millis(150));
    let clients = server.connect().run("INFO clients");
    assert!(
        clients.contains("blocked_clients:1\\r"),
        "{case}: {clients}"
    );
}

/// What was written is in the file, as it is in memory.
fn is_whole(redis: &mut Conn, case: &str) {
    assert!(
        redis
            .run("INFO dirty")
            .contains("dirty_consumers_blocked:0"),
        "{case}"
    );
    let digest = redis.digest();
    assert_eq!(redis.run("DEBUG LOADAOF"), "OK", "{case}");
    assert_eq!(redis.digest(), digest, "{case}");
}

/// What a reader got first, apart from ids.
fn got(client: &mut Conn) -> String {
    let reply = reply(client);
    let known = ["entity-id 7", "fields [", "entity-id 8"];
    let first = known.into_iter().find(|known| reply.contains(known));
    first.map_or(reply, String::from)
}

#[test]
fn a_reader_whose_stream_is_written_while_writes_are_paused_gets_its_events_when_they_go_on() {
    let (server, mut redis) = server();
    // Each in a transaction that also pauses writes: the reader is woken when it is over.
    for write in [
        "DIRTY.FLUSH user INSERT 7 0",
        "DIRTY.COMMIT user t",
        "XADD s * a b",
        "RENAME other s",
        "COPY other s REPLACE",
        "SWAPDB 0 1",
    ] {
        for reader in READERS {
            let mut replies = Vec::new();
            let pauses: &[&str] = match write.contains("FLUSH") {
                true => &["PING", "CLIENT PAUSE 60000 WRITE", "CLIENT PAUSE 300 ALL"],
                false => &["PING", "CLIENT PAUSE 60000 WRITE"],
            };
            for &pause in pauses {
                let case = format!("{write}, {pause}, {reader:?}");
                anew(&mut redis);
                let mut client = waiting(&server, reader, "0");
                for command in [
                    "DIRTY.FLUSH user DEFER t INSERT 7 0",
                    "XADD other 5-1 a b",
                    "COPY other s DB 1",
                    "COPY s:readers s:readers DB 1",
                    "MULTI",
                    write,
                    pause,
                ] {
                    redis.run(command);
                }
                let done = redis.run("EXEC");
                assert!(!done.contains("ERR"), "{case}: {done}");
                match pause {
                    "PING" => (),
                    "CLIENT PAUSE 60000 WRITE" => {
                        waits_on(&server, &case);
                        redis.run("CLIENT UNPAUSE");
                    }
                    _ => (), // whoever asks waits until the pause ends by itself
                }
                // Whoever was not to be woken is now.
                redis.run("DIRTY.DECLARE user STREAM s");
                redis.run("DIRTY.FLUSH user INSERT 8 0");
                replies.push(got(&mut client));
                is_whole(&mut redis, &case);
            }
            assert!(
                replies.iter().all(|reply| *reply == replies[0]),
                "{write}, {reader:?}: {replies:?}"
            );
            if write.starts_with("DIRTY") && !reader[1].contains("RAW") {
                assert_ne!(replies[0], "entity-id 8", "{write}, {reader:?}");
            }
        }
    }
}

/// What one reader does while writes are paused, and what another that waits gets when they go on.
#[test]
fn what_others_give_back_while_writes_are_paused_comes_when_they_go_on() {
    let (server, mut redis) = server();
    for (declared, before, gives) in [
        ("GROUP g MAXPENDING 1", "", "DIRTY.ACK s GROUP g c $id"),
        (
            "GROUP g",
            "DIRTY.CONSUME s GROUP g other",
            "DIRTY.LEAVE s GROUP g c",
        ),
        (
            "GROUP g",
            "DIRTY.CONSUME s GROUP g other",
            "DIRTY.FAIL s GROUP g c why DELAY 0 $id",
        ),
        ("GROUP g ORDER STREAM", "", "DIRTY.LEAVE s GROUP g c"),
        (
            "GROUP g ORDER STREAM",
            "",
            "DIRTY.FAIL s GROUP g c why FORCE FATAL $id",
        ),
        (
            "GROUP g",
            "DIRTY.CONSUME s GROUP g other",
            "DIRTY.SEEK s GROUP g 0",
        ),
        (
            "GROUP g",
            "DIRTY.PAUSE s GROUP g ON",
            "DIRTY.PAUSE s GROUP g OFF",
        ),
    ] {
        anew(&mut redis);
        redis.run("DIRTY.FLUSH user INSERT 1 0 INSERT 2 0");
        redis.expect(&format!("DIRTY.READER s {declared} FROM 0 => OK"));
        let held = redis.run("DIRTY.CONSUME s GROUP g c COUNT 1");
        let id = held.split(' ').nth(2).expect("an id").to_string();
        if !before.is_empty() {
            redis.run(before);
        }
        let call = match declared.contains("MAXPENDING") {
            true => "CONSUME s GROUP g c",
            false => "CONSUME s GROUP g waits",
        };
        let mut client = waiting(&server, [declared, call], "0");
        let command = gives.replace("$id", &id);
        redis.run("MULTI");
        redis.run(&command);
        redis.run("CLIENT PAUSE 60000 WRITE");
        let done = redis.run("EXEC");
        assert!(
            done.ends_with(" OK]") && !done.contains("ERR"),
            "{command}: {done}"
        );
        waits_on(&server, &command);
        redis.run("CLIENT UNPAUSE");
        if command.contains("FATAL") {
            // The turn stays with its holder.
            redis.run("DIRTY.LEAVE s GROUP g c");
        }
        let got = client.receive();
        let got = got.map_or_else(|error| error.to_string(), |got| text(&got));
        assert!(got.contains("entity-id "), "{declared}, {command}: {got}");
        is_whole(&mut redis, &command);
    }
}

#[test]
fn an_event_that_time_brings_while_writes_are_paused_comes_when_they_go_on() {
    let (server, mut redis) = server();
    for (declared, before) in [
        ("GROUP g CLAIM 300", "DIRTY.CONSUME s GROUP g other"),
        (
            "GROUP g CLAIM 300 MAXDELIVERIES 2 DEAD d",
            "DIRTY.CONSUME s GROUP g other\nDIRTY.CONSUME s GROUP g other PENDING",
        ),
        (
            "GROUP g CLAIM 300 WHERE ENTITY user",
            "DIRTY.CONSUME s GROUP g other",
        ),
        (
            "GROUP g CLAIM 300 ORDER STREAM",
            "DIRTY.CONSUME s GROUP g other",
        ),
        (
            "GROUP g CLAIM 300 ORDER ENTITY",
            "DIRTY.CONSUME s GROUP g other",
        ),
        ("GROUP g MINAGE 300", "PING"),
        ("CURSOR c MINAGE 300", "PING"),
    ] {
        anew(&mut redis);
        redis.expect(&format!("DIRTY.READER s {declared} FROM 0 => OK"));
        redis.run("DIRTY.FLUSH user INSERT 7 0");
        before.lines().for_each(|command| drop(redis.run(command)));
        let call = match declared.starts_with("CURSOR") {
            true => "CONSUME s CURSOR c",
            false => "CONSUME s GROUP g c",
        };
        let mut client = waiting(&server, [declared, call], "0");
        redis.run("CLIENT PAUSE 60000 WRITE");
        std::thread::sleep(Duration::from_millis(350));
        waits_on(&server, declared);
        redis.run("CLIENT UNPAUSE");
        if declared.contains("DEAD") {
            wait_until("a death", || redis.run("XLEN d") == "(1)");
            // There is nothing else.
            assert!(reply(&mut client).starts_with("[events [] "));
        } else {
            let got = reply(&mut client);
            assert!(got.contains("entity-id 7"), "{declared}: {got}");
        }
        is_whole(&mut redis, declared);
    }
}

#[test]
fn a_stream_that_expires_while_writes_are_paused_is_made_again_afterwards() {
    let (server, mut redis) = server();
    for reader in READERS {
        anew(&mut redis);
        redis.run("DIRTY.FLUSH user INSERT 1 0");
        let mut client = waiting_from("$", &server, reader, "0");
        redis.run("PEXPIRE s 50");
        redis.run("CLIENT PAUSE 60000 WRITE");
        waits_on(&server, reader[0]);
        redis.run("CLIENT UNPAUSE");
        redis.run("DEBUG SLEEP 0.002");
        redis.run("DIRTY.FLUSH user INSERT 7 0");
        let mut got = reply(&mut client);
        if got.starts_with("[events [] missed nil ") {
            // One that gets only what is older is told at once that the stream began again.
            std::thread::sleep(Duration::from_millis(50));
            client
                .send(&words(&format!("DIRTY.{} BLOCK 5000", reader[1])))
                .expect("sent");
            got = reply(&mut client);
        }
        assert!(
            got.contains("entity-id 7") || got.contains("fields ["),
            "{reader:?}: {got}"
        );
        is_whole(&mut redis, reader[0]);
    }
}

#[test]
fn the_time_of_a_wait_runs_while_writes_are_paused() {
    let (server, mut redis) = server();
    for reader in READERS {
        anew(&mut redis);
        let start = Instant::now();
        let mut client = waiting(&server, reader, "400");
        for command in [
            "MULTI",
            "DIRTY.FLUSH user INSERT 7 0",
            "CLIENT PAUSE 60000 WRITE",
            "EXEC",
        ] {
            redis.run(command);
        }
        let got = reply(&mut client);
        assert!(got.starts_with("[events []"), "{reader:?}: {got}");
        assert!(start.elapsed() >= Duration::from_millis(400), "{reader:?}");
        redis.run("CLIENT UNPAUSE");
        // It was nobody's.
        redis
            .send(&words(&format!("DIRTY.{} BLOCK 5000", reader[1])))
            .expect("sent");
        let got = reply(&mut redis);
        assert!(
            got.contains("entity-id 7") || got.contains("fields ["),
            "{reader:?}: {got}"
        );
        is_whole(&mut redis, reader[0]);
    }
}

#[test]
fn a_failover_that_takes_its_time_ends_no_server_and_no_wait_that_it_gives_up() {
    let primary = Server::with(&["--appendonly", "yes"]);
    let replica = Server::replica_of(&primary);
    let mut redis = primary.connect();
    let signal = |signal: &str| {
        let done = Command::new("kill")
            .args([signal, &replica.pid().to_string()])
            .status();
        assert!(done.expect("kill").success());
    };
    for reader in READERS {
        anew(&mut redis);
        let mut client = waiting(&primary, reader, "0");
        primary.wait_for_replica(&replica);
        signal("-STOP");
        redis.run("MULTI");
        redis.run("DIRTY.FLUSH user INSERT 7 0");
        redis.run("FAILOVER");
        assert_eq!(redis.run("EXEC"), "[[insert] OK]", "{reader:?}");
        waits_on(&primary, reader[0]);
        assert_eq!(
            redis.info("master_failover_state"),
            "waiting-for-sync",
            "{reader:?}"
        );
        assert_eq!(redis.run("FAILOVER ABORT"), "OK", "{reader:?}");
        let got = reply(&mut client);
        assert!(
            got.contains("entity-id 7") || got.contains("fields ["),
            "{reader:?}: {got}"
        );
        signal("-CONT");
        primary.wait_for_replica(&replica);
        assert_eq!(redis.digest(), replica.connect().digest(), "{reader:?}");
    }
    // One that is carried out.
    anew(&mut redis);
    let mut client = waiting(&primary, READERS[0], "0");
    primary.wait_for_replica(&replica);
    for command in ["MULTI", "DIRTY.FLUSH user INSERT 7 0", "FAILOVER", "EXEC"] {
        redis.run(command);
    }
    let told = client.receive().map(|reply| text(&reply));
    assert!(
        told.as_ref().is_err()
            || told
                .as_ref()
                .is_ok_and(|told| told.starts_with("UNBLOCKED ")),
        "{told:?}"
    );
    replica.wait_for_line("INFO replication", "role:master");
    let got = replica.connect().run("DIRTY.CONSUME s GROUP g c");
    assert!(got.contains("entity-id 7"), "{got}");
    assert_eq!(redis.run("PING"), "PONG");
}
