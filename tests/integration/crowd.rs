//! A thousand readers that wait.

use super::support::{Conn, Server, text, words};

const READERS: usize = 1000;

fn started() -> (Server, Conn) {
    let server = Server::with(&["--maxclients", "2000"]);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    (server, redis)
}

/// As many connections that wait, each in a command of its own.
fn waiting(server: &Server, command: impl Fn(usize) -> String) -> Vec<Conn> {
    let readers: Vec<Conn> = (0..READERS)
        .map(|reader| {
            let mut redis = server.connect();
            redis.send(&words(&command(reader))).expect("a connection");
            redis
        })
        .collect();
    server.wait_for_blocked(READERS);
    readers
}

/// What the module says of it.
fn blocked(redis: &mut Conn) -> String {
    let info = redis.run("INFO dirty");
    let (_, blocked) = info
        .split_once("dirty_consumers_blocked:")
        .expect("a counter");
    let number = blocked.split("\\r\\n").next();
    number.unwrap_or_default().to_string()
}

fn reply(redis: &mut Conn) -> String {
    text(&redis.receive().expect("a reply"))
}

#[test]
fn a_thousand_consumers_of_one_group_wake_in_the_order_in_which_they_came() {
    let (server, mut redis) = started();
    let consumer = |reader| format!("DIRTY.CONSUME s GROUP g c{reader} COUNT 1 BLOCK 0");
    let mut readers: Vec<Conn> = Vec::new();
    for reader in 0..READERS {
        let mut redis = server.connect();
        redis.send(&words(&consumer(reader))).expect("a connection");
        // The order in which they are read must be the order in which they come.
        if reader % 50 == 0 {
            server.wait_for_blocked(reader + 1);
        }
        readers.push(redis);
    }
    server.wait_for_blocked(READERS);
    for entity in 0..READERS {
        redis.run(&format!("DIRTY.FLUSH user INSERT {entity} 0"));
    }
    let mut got: Vec<usize> = Vec::new();
    for reader in &mut readers {
        let woken = reply(reader);
        let (_, id) = woken.split_once("entity_id ").expect("an event");
        got.push(
            id.split(' ')
                .next()
                .and_then(|id| id.parse().ok())
                .expect("an id"),
        );
    }
    // Those that came within one turn of the server's may be in any order among themselves.
    let late = got
        .iter()
        .enumerate()
        .map(|(place, id)| place.abs_diff(*id));
    assert!(late.max() < Some(60), "{got:?}");
    got.sort_unstable();
    assert_eq!(got, (0..READERS).collect::<Vec<_>>());
    assert_eq!(blocked(&mut redis), "0");
}

#[test]
fn a_thousand_readers_of_as_many_streams_cost_nothing_and_vanish_with_their_connections() {
    let (server, mut redis) = started();
    for claim in ["", "CLAIM 60000"] {
        let mut readers = waiting(&server, |reader| {
            format!("DIRTY.CONSUME s{reader} GROUP g c {claim} BLOCK 0")
        });
        assert_eq!(blocked(&mut redis), READERS.to_string());
        // A flush elsewhere wakes nobody.
        redis.run("DIRTY.FLUSH user SNAPSHOT 1 0 DELETE 1");
        let used = |redis: &mut Conn| -> f64 {
            let seconds = ["used_cpu_user", "used_cpu_sys"].map(|field| redis.info(field));
            seconds
                .iter()
                .map(|text| text.parse::<f64>().expect("seconds"))
                .sum()
        };
        let before = used(&mut redis);
        std::thread::sleep(std::time::Duration::from_millis(500));
        let spent = used(&mut redis) - before;
        assert!(spent < 0.25, "{spent} s of CPU in half a second");
        for (number, reader) in readers.iter_mut().enumerate().step_by(100) {
            redis.run(&format!("XADD s{number} * a b"));
            assert!(reply(reader).contains("fields [a b]"));
        }
        drop(readers);
        server.wait_for_blocked(0);
        assert_eq!(blocked(&mut redis), "0");
        redis.run("FLUSHALL");
        redis.run("DIRTY.DECLARE user STREAM s");
    }
}

#[test]
fn what_fails_or_is_left_wakes_a_reader_that_claims() {
    for then in ["FAIL s GROUP g ID broken NOW", "LEAVE s GROUP g w1"] {
        let (server, mut redis) = started();
        redis.run("DIRTY.FLUSH user INSERT 7 0");
        let read = redis.run("DIRTY.CONSUME s GROUP g w1");
        let (_, id) = read.split_once("[id ").expect("an event");
        let id = id.split(' ').next().expect("an id");
        let mut reader = server.connect();
        let command = "DIRTY.CONSUME s GROUP g w2 CLAIM 60000 BLOCK 20000";
        reader.send(&words(command)).expect("a connection");
        server.wait_for_blocked(1);
        let start = std::time::Instant::now();
        redis.run(&format!("DIRTY.{}", then.replace("ID", id)));
        let woken = reply(&mut reader);
        assert!(woken.contains("entity_id 7"), "{then}: {woken}");
        assert!(start.elapsed().as_secs() < 5, "{then}");
    }
}

/// 7.0.15 remembers a client that a timer's write has woken in vain, also when it is gone. Later servers do
/// not, and may let it wait on.
#[test]
fn a_reader_that_a_timer_wakes_in_vain_may_be_killed() {
    let (server, mut redis) = started();
    redis.run("DIRTY.FLUSH user INSERT 7 0");
    redis.run("DIRTY.CONSUME s GROUP g crashed");
    let wait = |command: &str| {
        let mut reader = server.connect();
        let id = reader.run("CLIENT ID");
        reader.send(&words(command)).expect("a connection");
        (reader, id.trim_matches(['(', ')']).to_string())
    };
    let _timer = wait("DIRTY.CONSUME other GROUP g w SINGLE 200 BLOCK 0");
    let (mut vain, id) = wait("DIRTY.CONSUME s:dead GROUP g x BLOCK 0 WHERE OPS D");
    let _buries = wait("DIRTY.CONSUME s GROUP g y CLAIM 100 MAXDELIVERIES 1 BLOCK 3000");
    server.wait_for_line("XLEN s:dead", "(1)");
    // Where nothing else is safe, it is not in vain at all: it is answered.
    let patience = std::time::Duration::from_millis(500);
    vain.connection
        .set_read_timeout(Some(patience))
        .expect("a timeout");
    match vain.receive() {
        Ok(answer) => assert!(text(&answer).starts_with("[events [] ")),
        Err(error) => assert!(error.is_timeout(), "{error}"),
    }
    redis.run(&format!("CLIENT KILL ID {id}"));
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(redis.run("PING"), "PONG");
}

#[test]
fn who_holds_what_others_left_is_no_consumer() {
    let (_server, mut redis) = started();
    let error = "ERR the consumer \"dirty:left\" is reserved";
    assert_eq!(redis.run("DIRTY.CONSUME s GROUP g dirty:left"), error);
    assert_eq!(redis.run("DIRTY.LEAVE s GROUP g dirty:left"), error);
}
