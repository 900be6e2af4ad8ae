//! What replicas and files know of pending, failed and dead events: each step replicates its effects, and
//! readers go on with the same lives after a failover or a restart.

use super::support::entries::{at_place, newest};
use super::support::readers::{consume, events, held, stream_of};
use super::support::replication::{AOF, appended};
use super::support::{Conn, Server, cases};

/// Times and ids as `ms`, so that what was appended can be compared.
fn effects(server: &Server, start: usize) -> (Vec<String>, usize) {
    let (commands, end) = appended(server, start);
    let word = |word: &str| match word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit())
    {
        true => "ms".to_string(),
        // An id within a longer text.
        false => match word.split_once('-') {
            Some((ms, seq)) if ms.len() == 13 => format!("ms-{seq}"),
            // As a sorted set orders it.
            Some((ms, seq)) if ms.len() == 20 => format!("0ms-{}", seq.trim_start_matches('0')),
            _ => word.to_string(),
        },
    };
    let command = |command: &String| command.split(' ').map(word).collect::<Vec<_>>().join(" ");
    (commands.iter().map(command).collect(), end)
}

/// Lines `command => what it replicates`, in this order; `#1` is the id of the first event. All of them but `-`,
/// which is nothing, are one transaction.
const EFFECTS: &str = r"
DIRTY.FAIL s GROUP g #1 why => MULTI | HSET s:failures ms-1 g ms ms 1 a why | PEXPIREAT s:failures ms | EXEC
DIRTY.FAIL s GROUP g #1 why NOW
  => MULTI | HSET s:failures ms-1 g ms ms 1 a why | PEXPIREAT s:failures ms
  | XCLAIM s g dirty:left 0 ms-1 TIME 0 RETRYCOUNT 1 FORCE JUSTID LASTID ms-3 | EXEC
DIRTY.FAIL s GROUP g #1 why MAXDELIVERIES 1
  => MULTI | XADD s:dead ms-1 s BYTES dead-id ms-1 dead-group g dead-consumer a dead-error why dead-deliveries 1
  dead-first ms dead-last ms | XACK s g ms-1 | HDEL s:failures ms-1 g | EXEC
DIRTY.REDRIVE s => MULTI | XADD s ms-5 s BYTES | XDEL s:dead ms-1 | EXEC
DIRTY.REDRIVE s => -
DIRTY.LEAVE s GROUP g nobody => -
DIRTY.LEAVE s GROUP g a
  => MULTI | XCLAIM s g dirty:left 0 ms-2 TIME 0 RETRYCOUNT 1 FORCE JUSTID LASTID ms-3
  | XCLAIM s g dirty:left 0 ms-3 TIME 0 RETRYCOUNT 1 FORCE JUSTID LASTID ms-3 | XGROUP DELCONSUMER s g a | EXEC
DIRTY.CONSUME s GROUP g b CLAIM 0 COUNT 2
  => MULTI | XCLAIM s g b 0 ms-2 TIME ms RETRYCOUNT 2 FORCE JUSTID LASTID ms-3
  | XCLAIM s g b 0 ms-3 TIME ms RETRYCOUNT 2 FORCE JUSTID LASTID ms-3 | EXEC
DIRTY.CONSUME s GROUP g b ACK 1 #2 DELETE CLAIM 60000 MAXPENDING 1
  => MULTI | XACK s g ms-2 | ZADD s:done 0 0ms-2 | PEXPIREAT s:done ms | EXEC
# The cursor k was before it.
DIRTY.ACK s CURSOR k #3 => MULTI | XGROUP SETID s k ms-3 | XDEL s ms-2 | ZREM s:done 0ms-2 | EXEC
DIRTY.ACK s GROUP g DELETE #2 #3 => MULTI | XACK s g ms-2 ms-3 | XDEL s ms-2 ms-3 | EXEC
";

#[test]
fn each_step_replicates_exactly_its_effects() {
    let server = Server::with(&AOF);
    let mut redis = stream_of(&server, 4);
    let ids = consume(&mut redis, "s GROUP g a COUNT 3").ids;
    consume(&mut redis, "s CURSOR k");
    let (_, mut start) = appended(&server, 0);
    let fill = |command: &str| {
        let ids = ids.iter().enumerate();
        ids.fold(command.to_string(), |c, (n, id)| {
            c.replace(&format!("#{}", n + 1), id)
        })
    };
    for (command, expected) in cases(EFFECTS) {
        let reply = redis.run(&fill(&command));
        let (commands, end) = effects(&server, start);
        let commands = match commands.join(" | ") {
            none if none.is_empty() => "-".to_string(),
            commands => commands,
        };
        assert_eq!(commands, expected, "{command}: {reply}");
        start = end;
    }
}

/// Deliveries, failures, deaths, positions: all that a reader's life depends on.
fn lives(redis: &mut Conn) -> Vec<String> {
    let mut lives = vec![redis.digest()];
    for group in ["g", "h"] {
        lives.push(held(redis, group));
        let groups = redis.run("XINFO GROUPS s");
        let of_group = groups.split(&format!("name {group} ")).nth(1).unwrap();
        let position = of_group.split("last-delivered-id ").nth(1).unwrap();
        lives.push(position.split([' ', ']']).next().unwrap().into());
    }
    for key in ["s:failures", "s:dead"] {
        lives.push(redis.run(&format!("EXISTS {key}")));
    }
    lives
}

fn live(redis: &mut Conn) {
    let ids = consume(redis, "s GROUP g a COUNT 6").ids;
    consume(redis, "s GROUP g b COUNT 2");
    consume(redis, "s GROUP h a COUNT 4");
    redis.run(&format!("DIRTY.FAIL s GROUP g {} one NOW", ids[0]));
    redis.run(&format!("DIRTY.FAIL s GROUP g {} two", ids[1]));
    redis.run(&format!(
        "DIRTY.FAIL s GROUP g {} three MAXDELIVERIES 1",
        ids[2]
    ));
    redis.run(&format!(
        "DIRTY.CONSUME s GROUP h a ACK 1 {} DELETE WHERE OPS D",
        ids[3]
    ));
    redis.run(&format!("DIRTY.ACK s GROUP g DELETE {}", ids[3]));
    redis.run("DIRTY.LEAVE s GROUP g b");
    consume(redis, "s GROUP g c CLAIM 60000 COUNT 1");
}

/// The same readers go on as before: what is due at once, counts, first failures.
fn goes_on(redis: &mut Conn, first_ms: &str) {
    assert_eq!(
        held(redis, "g"),
        "1:c:2 2:a:1 5:a:1 6:a:1 7:dirty:left:1 8:dirty:left:1"
    );
    assert_eq!(
        events(redis, "s GROUP g c CLAIM 3600000 COUNT 3"),
        "7x2 8x2 9"
    );
    assert_eq!(
        events(redis, "s GROUP g c CLAIM 0 MAXDELIVERIES 2 COUNT 3"),
        "2x2 5x2 6x2"
    );
    let dead = newest(redis, "s:dead");
    assert_eq!(redis.run("XLEN s:dead"), "(2)");
    assert!(
        dead.contains(&("dead-deliveries".into(), "2".into())),
        "{dead:?}"
    );
    let first = at_place(redis, "s:dead", 1);
    assert!(
        first.contains(&("dead-error".into(), "one".into())),
        "{first:?}"
    );
    assert!(
        first.contains(&("dead-first".into(), first_ms.into())),
        "{first:?}"
    );
    assert_eq!(redis.run("DIRTY.REDRIVE s"), "(2)");
}

#[test]
fn a_promoted_replica_goes_on_with_the_same_lives() {
    let mut primary = Server::start();
    let replica = Server::replica_of(&primary);
    let mut redis = stream_of(&primary, 10);
    live(&mut redis);
    let first_ms = first_failure(&mut redis);
    primary.wait_for_replica(&replica);
    let mut promoted = replica.connect();
    assert_eq!(lives(&mut promoted), lives(&mut redis));
    primary.kill();
    promoted.ok(&["REPLICAOF", "NO", "ONE"]);
    goes_on(&mut promoted, &first_ms);
}

/// Of the first entry in the group g.
fn first_failure(redis: &mut Conn) -> String {
    let failures = redis.run("HVALS s:failures");
    let first = failures.trim_matches(['[', ']']).split(' ').next();
    first.unwrap().to_string()
}

#[test]
fn a_server_started_from_its_files_goes_on_with_the_same_lives() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    for (options, save) in [
        (&["--save", "3600 1"][..], "PING"),
        (&always, "PING"),
        (&AOF, "PING"),
        (&AOF, "BGREWRITEAOF"),
    ] {
        let mut server = Server::with(options);
        let mut redis = stream_of(&server, 10);
        live(&mut redis);
        redis.run(save);
        server.wait_for_line("INFO persistence", "aof_rewrite_in_progress:0");
        let (before, first_ms) = (lives(&mut redis), first_failure(&mut redis));
        server.restart();
        let mut redis = server.connect();
        assert_eq!(lives(&mut redis), before, "{options:?} {save}");
        goes_on(&mut redis, &first_ms);
    }
}
