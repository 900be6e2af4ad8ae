//! The stream of a STATELESS type stays open from the look at it to its events: whatever else a command does, and
//! whatever happened to the stream since the last one, its events are there and on replicas.

use super::support::{Conn, Server, cases};

/// Lines `how it is declared | what happens before | flush => its reply | the ids' sequence numbers in s afterwards`. Before,
/// s has had three events, and the consumer c of the group g holds the first two.
const FLUSHES: &str = r#"
STREAM s | PING | TOUCH 1 => [touch] | 1 2 3 4
STREAM s | PING | TOUCH 1 TOUCH 2 TOUCH 1 => [touch touch touch] | 1 2 3 4 5 6
STREAM s | PING | UPDATE 1 1 a x x => [none] | 1 2 3
STREAM s | DEL s | TOUCH 1 TOUCH 2 => [touch touch] | 1 2
STREAM s | XTRIM s MAXLEN 0 | TOUCH 1 => [touch] | 4
STREAM s | XADD s 99999999999999-7 a b | TOUCH 1 => [touch] | 1 2 3 7 8
STREAM s | PEXPIREAT s 1 | TOUCH 1 => [touch] | 1
STREAM s | RENAME s r | TOUCH 1 => [touch] | 1
STREAM s | SET s text
  | TOUCH 1 => WRONGTYPE the key "s" does not hold a stream | -
STREAM s | PING | ACK s GROUP g c 1 #1 TOUCH 1 => [touch] | 1 2 3 4
STREAM s MAXLEN 2 | PING | TOUCH 1 => [touch] | 3 4
STREAM s MAXLEN 0 | PING | TOUCH 1 => [touch] |
STREAM s MAXLEN 0 | PING | TOUCH 1 TOUCH 1 => [touch touch] |
STREAM s MAXLEN 2 ONFULL KEEP | PING | TOUCH 1 => [touch] | 1 2 3 4
STREAM s MAXLEN 2 ONFULL KEEP | PING | ACK s GROUP g c 2 #1 #2 TOUCH 1 => [touch] | 3 4
STREAM s MAXLEN 3 ONFULL REFUSE | PING | TOUCH 1 => FULL* | 1 2 3
# The flush is judged before its own ACK counts.
STREAM s MAXLEN 3 ONFULL REFUSE | PING | ACK s GROUP g c 1 #1 TOUCH 1 => FULL* | 1 2 3
STREAM s MAXLEN 4 ONFULL REFUSE | PING | ACK s GROUP g c 1 #1 TOUCH 1 => [touch] | 1 2 3 4
STREAM s STREAM t | PING | TOUCH 1 TOUCH 2 => [touch touch] | 1 2 3 4 5
STREAM s STREAM t | SET t text
  | TOUCH 1 => WRONGTYPE the key "t" does not hold a stream | 1 2 3
STREAM s STREAM t | DEL s t | TOUCH 1 => [touch] | 1
"#;

/// Three events, two of which are held; their ids.
fn begin(redis: &mut Conn, streams: &str) -> Vec<String> {
    redis.expect(
        "FLUSHALL => OK
DIRTY.DECLARE user STATELESS STREAM s => OK
DIRTY.FLUSH user TOUCH 1 TOUCH 2 TOUCH 3 => [touch touch touch]
DIRTY.READER s GROUP g FROM 0 => OK",
    );
    let ids = super::support::readers::consume(redis, "s GROUP g c COUNT 2").ids;
    redis.run(&format!("DIRTY.DECLARE user STATELESS {streams}"));
    ids
}

/// Two commands, one directly after the other; the reply to the second.
fn run_both(redis: &mut Conn, around: &str, first: &str, second: &str) -> String {
    match around {
        "MULTI" => {
            redis.run("MULTI");
            redis.run(first);
            redis.run(second);
            redis.run("EXEC")
        }
        "EVAL" => {
            let split = first.split(' ').count().to_string();
            let script = "local n = tonumber(ARGV[1]) redis.call(unpack(ARGV, 2, n + 1)) \
                          return redis.pcall(unpack(ARGV, n + 2))";
            let mut words = vec!["EVAL", script, "0", &split];
            words.extend(first.split(' ').chain(second.split(' ')));
            redis.raw(&words)
        }
        _ => {
            redis.run(first);
            redis.run(second)
        }
    }
}

fn sequence(redis: &mut Conn) -> String {
    if redis.run("TYPE s") == "string" {
        return "-".into();
    }
    let seqs = super::support::entries::sequence(redis, "s");
    let seqs: Vec<String> = seqs.iter().map(ToString::to_string).collect();
    seqs.join(" ")
}

#[test]
fn a_stream_that_stays_open_gets_its_events_whatever_happened_to_it() {
    let server = Server::with(&["--appendonly", "yes"]);
    let mut redis = server.connect();
    for (line, outcome) in cases(FLUSHES) {
        let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let (reply, seqs) = outcome.split_once('|').expect("ids");
        let (reply, seqs) = (reply.trim(), seqs.trim());
        for around in ["plain", "MULTI", "EVAL"] {
            let case = format!("{line}, {around}");
            let ids = begin(&mut redis, parts[0]);
            let flush = parts[2].replace("#1", &ids[0]).replace("#2", &ids[1]);
            let flush = format!("DIRTY.FLUSH user {flush}");
            let got = run_both(&mut redis, around, parts[1], &flush);
            assert!(got.contains(reply.trim_end_matches('*')), "{case}: {got}");
            assert_eq!(sequence(&mut redis), seqs, "{case}");
            let digest = redis.digest();
            redis.expect("DEBUG LOADAOF => OK");
            assert_eq!(redis.digest(), digest, "{case}");
        }
    }
    let log = server.log();
    assert!(!log.contains("an event was lost"), "{log}");
}
