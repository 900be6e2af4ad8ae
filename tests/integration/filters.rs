//! WHERE in groups: what a reader wants of every format; what it does not is acknowledged at once.

use super::support::readers::{blocked, both, consume, field, held, reply, waiting};
use super::support::{Conn, Server, text, words};

/// Five events: inserts 1 and 4, updates of `a` and `b`, a delete.
const FLUSHES: [&str; 5] = [
    "DIRTY.FLUSH user META 2 actor me tenant \\x00 INSERT 1 2 a x b x",
    "DIRTY.FLUSH user META 1 actor you UPDATE 1 1 a y",
    "DIRTY.FLUSH user META 2 actor me tenant 7 UPDATE 1 1 b y",
    "DIRTY.FLUSH order META 1 actor me INSERT 2 1 a x",
    "DIRTY.FLUSH user DELETE 1",
];

/// A filter, and the seqs of the events it takes.
const FILTERS: &[(&str, &str)] = &[
    ("ENTITY user", "1 2 3 5"),
    ("ENTITY order", "4"),
    ("ENTITY use", ""),
    ("OPS U", "2 3"),
    ("OPS di", "1 4 5"),
    ("OPS IUD", "1 2 3 4 5"),
    ("FIELDS 1 a", "1 2 4 5"),
    ("FIELDS 1 b", "1 3 4 5"),
    ("FIELDS 2 b a", "1 2 3 4 5"),
    ("FIELDS 1 c", "1 4 5"),
    ("ENTITY user OPS U FIELDS 1 a", "2"),
    ("OPS ID ENTITY user", "1 5"),
    ("OPS U ENTITY order", ""),
];

/// For the formats that carry META.
const OF_META: &[(&str, &str)] = &[
    ("META actor me", "1 3 4"),
    ("META actor m", ""),
    ("META tenant \\x00", "1"),
    ("META actor me META tenant 7", "3"),
    ("META actor me ENTITY user OPS I", "1"),
    ("META actor me FIELDS 1 a", "1 4"),
];

fn stream(server: &Server, format: &str) -> Conn {
    let mut redis = server.connect();
    for entity in ["user", "order"] {
        let declared = redis.run(&format!("DIRTY.DECLARE {entity} STREAM s FORMAT {format}"));
        assert_eq!(declared, "OK");
    }
    redis
}

#[test]
fn a_group_gets_what_its_filter_takes_and_has_acknowledged_the_rest() {
    for format in ["MSGPACK", "FLUXAORM2", "FLUXAORM1", "DEBEZIUM"] {
        let server = Server::start();
        let mut redis = stream(&server, format);
        for flush in FLUSHES {
            let reply = redis.run(flush);
            assert!(reply.starts_with('['), "{format}: {reply}");
        }
        let replica = Server::replica_of(&server);
        let filters = match format.starts_with("FLUXAORM") {
            true => FILTERS.to_vec(),
            false => [FILTERS, OF_META].concat(),
        };
        let last = redis.run("XREVRANGE s + - COUNT 1")[2..]
            .split(' ')
            .next()
            .unwrap()
            .to_string();
        for (protocol, reader) in both(&server).iter_mut().enumerate() {
            for (number, (filter, expected)) in filters.iter().enumerate() {
                let case = format!("{format} {filter}");
                let group = format!("g{protocol}-{number}");
                let seqs = |ids: &[String]| -> String {
                    let seqs = ids.iter().map(|id| id.split('-').nth(1).unwrap());
                    seqs.collect::<Vec<_>>().join(" ")
                };
                let read = consume(reader, &format!("s GROUP {group} c WHERE {filter} COUNT 2"));
                let rest = consume(reader, &format!("s GROUP {group} c WHERE {filter}"));
                let got = seqs(&[read.ids.clone(), rest.ids].concat());
                assert_eq!(got, *expected, "{case}");
                assert_eq!((&*read.missed, &*rest.missed), ("(0)", "(0)"), "{case}");
                let expected: Vec<String> = expected
                    .split_whitespace()
                    .map(|seq| format!("{seq}:c:1"))
                    .collect();
                assert_eq!(held(&mut redis, &group), expected.join(" "), "{case}");
                let info = redis.run("XINFO GROUPS s");
                let of_group = info.split(&format!("name {group} ")).nth(1).unwrap();
                assert!(
                    of_group.split(']').next().unwrap().contains(&last),
                    "{case}: {info}"
                );
                server.wait_for_replica(&replica);
                assert_eq!(
                    held(&mut replica.connect(), &group),
                    expected.join(" "),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn what_a_filter_rejects_of_pending_and_claimed_entries_is_acknowledged_too() {
    let server = Server::start();
    let mut redis = stream(&server, "MSGPACK");
    for flush in FLUSHES {
        redis.run(flush);
    }
    redis.run("XADD s * by hand");
    for (protocol, reader) in both(&server).iter_mut().enumerate() {
        let group = format!("g{protocol}");
        consume(reader, &format!("s GROUP {group} a COUNT 2"));
        consume(reader, &format!("s GROUP {group} b COUNT 2"));
        let own = consume(
            reader,
            &format!("s GROUP {group} a PENDING COUNT 1 WHERE OPS U"),
        );
        assert_eq!(own.ids.len(), 1);
        assert_eq!(held(&mut redis, &group), "2:a:2 3:b:1 4:b:1");
        let claimed = consume(reader, &format!("s GROUP {group} c CLAIM 0 WHERE OPS I"));
        assert_eq!(claimed.events, ["2x2"]);
        // What is no event of ours fits no filter.
        assert_eq!(held(&mut redis, &group), "4:c:2");
    }
}

#[test]
fn a_reader_with_a_filter_waits_past_what_it_rejects() {
    let server = Server::start();
    let mut redis = stream(&server, "MSGPACK");
    let mut resp2 = waiting(&server, "GROUP g c WHERE OPS D", "20000");
    let mut resp3 = server.connect_resp3();
    let command = "DIRTY.CONSUME s GROUP h c WHERE ENTITY user META actor root BLOCK 20000";
    resp3.send(&words(command)).unwrap();
    server.wait_for_blocked(2);
    for flush in FLUSHES[..4].iter().chain(&["XADD s * by hand"]) {
        redis.run(flush);
        assert_eq!(blocked(&server), 2);
        assert_eq!([held(&mut redis, "g"), held(&mut redis, "h")], ["", ""]);
    }
    redis.run("DIRTY.FLUSH user META 1 actor root DELETE 1");
    let woken = reply(&mut resp2);
    assert!(
        woken.contains("op delete meta [actor root] deliveries (1)]]"),
        "{woken}"
    );
    assert!(woken.ends_with("missed (0)]"), "{woken}");
    let woken = resp3.receive().unwrap();
    assert_eq!(text(&field(&woken, "missed").unwrap()), "(0)");
    assert!(text(&woken).contains("meta: {actor: root}"));
    assert_eq!(blocked(&server), 0);
}
