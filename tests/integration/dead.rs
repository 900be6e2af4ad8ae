//! The life of a poisoned event, from its first failure to its return: FAIL, the dead stream, REDRIVE,
//! LEAVE.

use super::support::entries::{at_place, ids, newest, seqs};
use super::support::readers::{both, consume, events, held, reply, stream_of, waiting};
use super::support::{Conn, Server};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FAILURES: &str = "s:failures";

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// What the last entry of the dead stream has besides its own fields: id, group, consumer, error and
/// deliveries, and the times of the first and the last failure.
fn newest_dead(redis: &mut Conn, own: &[(String, String)]) -> (Vec<String>, Vec<u64>) {
    let dead = newest(redis, "s:dead");
    let (fields, why) = dead.split_at(dead.len() - 7);
    assert_eq!(fields, own, "its own fields");
    let names: Vec<&str> = why.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "dead-id dead-group dead-consumer dead-error dead-deliveries dead-first dead-last"
    );
    let mut values: Vec<String> = why.iter().map(|(_, value)| value.clone()).collect();
    let times = values.split_off(5);
    let times = times.iter().map(|ms| ms.parse().unwrap());
    (values, times.collect())
}

#[test]
fn a_poisoned_event_fails_is_tried_again_dies_and_comes_back() {
    for resp3 in [false, true] {
        let server = Server::start();
        let mut redis = stream_of(&server, 2);
        let mut reader = if resp3 {
            server.connect_resp3()
        } else {
            server.connect()
        };
        let own = at_place(&mut redis, "s", 0);
        let id = consume(&mut reader, "s GROUP g a COUNT 1").ids[0].clone();
        let fail = |message: &[u8], rest: &[&str]| -> Vec<Vec<u8>> {
            let mut words: Vec<Vec<u8>> = ["DIRTY.FAIL", "s", "GROUP", "g", &id]
                .map(Into::into)
                .into();
            words.push(message.into());
            words.extend(rest.iter().map(|word| word.as_bytes().to_vec()));
            words
        };
        // It stays pending, and is due after the reader's own time.
        let first_at = now_ms();
        let limit = ["MAXDELIVERIES", "3"];
        assert_eq!(reader.raw(&fail(b"first", &limit)), "retry");
        assert_eq!(held(&mut redis, "g"), "1:a:1");
        assert_eq!(events(&mut reader, "s GROUP g b CLAIM 5000 COUNT 1"), "2");
        let between = now_ms();
        sleep(30);
        assert_eq!(events(&mut reader, "s GROUP g b CLAIM 30 COUNT 1"), "1x2");
        // At once; that counts as no delivery.
        assert_eq!(
            reader.raw(&fail(b"second", &[&["NOW"][..], &limit].concat())),
            "retry"
        );
        assert_eq!(held(&mut redis, "g"), "1:dirty:left:2 2:b:1");
        assert_eq!(events(&mut reader, "s GROUP g c\\xc3 CLAIM 5000"), "1x3");
        let message = b"\0\r\n\xff third: \xe2\x82\xac ";
        let last_at = now_ms();
        assert_eq!(reader.raw(&fail(message, &limit)), "dead");
        assert_eq!(held(&mut redis, "g"), "2:b:1");
        assert_eq!(redis.run("EXISTS s:failures"), "(0)");
        assert_eq!(seqs(&mut redis, "s"), "1 2", "other groups still read it");
        let (values, times) = newest_dead(&mut redis, &own);
        let error = message.escape_ascii().to_string();
        assert_eq!(values, [&*id, "g", r"c\xc3", &*error, "3"]);
        assert!((first_at..=between).contains(&times[0]), "{times:?}");
        assert!((last_at..=now_ms()).contains(&times[1]), "{times:?}");
        // No longer this group's, until it comes back as a new event like any other.
        let again = reader.raw(&fail(b"x", &[]));
        assert_eq!(
            again,
            format!("ERR \"{id}\" is not pending in the group \"g\"")
        );
        assert_eq!(reader.run("DIRTY.REDRIVE s"), "(1)");
        assert_eq!(
            (seqs(&mut redis, "s"), seqs(&mut redis, "s:dead")),
            ("1 2 3".into(), "".into())
        );
        assert_eq!(newest(&mut redis, "s"), own);
        let read = consume(&mut reader, "s GROUP g b");
        assert_eq!((read.events, &*read.missed), (vec!["1".to_string()], "(0)"));
        assert_eq!(reader.run("DIRTY.REDRIVE s"), "(0)");
        assert_eq!(seqs(&mut redis, "s"), "1 2 3");
    }
}

#[test]
fn an_entry_that_a_reader_buries_says_what_is_known_of_it() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    let before = now_ms();
    let read = consume(&mut redis, "s GROUP g a");
    let delivered = now_ms();
    sleep(20);
    // 1 was never said to have failed, 2 was, 3 was and is due at once.
    for (id, rest) in [(&read.ids[1], ""), (&read.ids[2], "NOW")] {
        assert_eq!(
            redis.run(&format!("DIRTY.FAIL s GROUP g {id} broken {rest}")),
            "retry"
        );
    }
    let failed = now_ms();
    sleep(20);
    assert_eq!(
        events(&mut redis, "s GROUP g b CLAIM 0 MAXDELIVERIES 1"),
        ""
    );
    let mut deaths = Vec::new();
    for place in 0..3 {
        let fields = at_place(&mut redis, "s:dead", place);
        let value = |name: &str| {
            fields
                .iter()
                .find(|(field, _)| field == name)
                .unwrap()
                .1
                .clone()
        };
        let ms = |name: &str| value(name).parse::<u64>().unwrap();
        deaths.push((value("dead-error"), ms("dead-first"), ms("dead-last")));
    }
    let unknown = "delivered 1 times and not acknowledged";
    assert_eq!(
        [&*deaths[0].0, &*deaths[1].0, &*deaths[2].0],
        [unknown, "broken", "broken"]
    );
    assert!((before..=delivered).contains(&deaths[0].1), "{deaths:?}");
    assert_eq!(deaths[0].1, deaths[0].2);
    for (_, first, last) in &deaths[1..] {
        assert!((delivered..=failed).contains(first), "{deaths:?}");
        assert!((first..=&failed).contains(&last), "{deaths:?}");
    }
    // And after LEAVE, when nobody knows any longer since when it was held.
    redis.run("DIRTY.FLUSH user INSERT 4 0");
    assert_eq!(events(&mut redis, "s GROUP g a"), "4");
    redis.run("DIRTY.LEAVE s GROUP g a");
    assert_eq!(
        events(&mut redis, "s GROUP g b CLAIM 0 MAXDELIVERIES 1"),
        ""
    );
    let fields = newest(&mut redis, "s:dead");
    for name in ["dead-first", "dead-last"] {
        let (_, ms) = fields.iter().find(|(field, _)| field == name).unwrap();
        assert!(
            (failed..=now_ms()).contains(&ms.parse().unwrap()),
            "{fields:?}"
        );
    }
}

#[test]
fn failures_are_forgotten_once_their_event_is_acknowledged() {
    let server = Server::start();
    let mut redis = stream_of(&server, 4);
    for (protocol, reader) in both(&server).iter_mut().enumerate() {
        let group = format!("g{protocol}");
        let ids = consume(reader, &format!("s GROUP {group} a")).ids;
        for id in &ids {
            assert_eq!(
                reader.run(&format!("DIRTY.FAIL s GROUP {group} {id} why")),
                "retry"
            );
        }
        let ttl = redis.run(&format!("PTTL {FAILURES}"));
        assert!(
            ttl.trim_matches(['(', ')']).parse::<u64>().unwrap() > 600_000_000,
            "{ttl}"
        );
        assert_eq!(redis.run(&format!("HLEN {FAILURES}")), "(4)");
        reader.run(&format!("DIRTY.ACK s GROUP {group} {}", ids[0]));
        reader.run(&format!(
            "DIRTY.CONSUME s GROUP {group} a ACK 2 {} {}",
            ids[1], ids[2]
        ));
        assert_eq!(redis.run(&format!("HLEN {FAILURES}")), "(1)");
        // One that fails anew, once redriven, has another first failure: not that of its former life.
        reader.run(&format!(
            "DIRTY.FAIL s GROUP {group} {} why MAXDELIVERIES 1",
            ids[3]
        ));
        assert_eq!(redis.run(&format!("EXISTS {FAILURES}")), "(0)");
    }
}

/// For the last group that has it still to handle, it is dead, or passed over.
#[test]
fn an_event_that_others_want_deleted_goes_when_nobody_will_handle_it() {
    const READ: &str = "XREADGROUP GROUP b me STREAMS s > => [[s [[1-1 [a b]]]]]";
    let server = Server::start();
    let mut redis = server.connect();
    for (before, then, dead) in [
        (
            READ,
            "DIRTY.FAIL s GROUP b 1-1 why MAXDELIVERIES 1 => dead",
            1,
        ),
        (
            READ,
            "DIRTY.CONSUME s GROUP b you CLAIM 0 MAXDELIVERIES 1 => [events [] position nil missed (0)]",
            1,
        ),
        ("", "DIRTY.SEEK s GROUP b 1-1 => OK", 0),
        ("", "DIRTY.SEEK s CURSOR b $ => OK", 0),
        ("", "DIRTY.ACK s CURSOR b 1-1 => OK", 0),
    ] {
        redis.expect(
            r#"
FLUSHALL => OK
XADD s 1-1 a b => 1-1
XGROUP CREATE s a 0 => OK
XGROUP CREATE s b 0 => OK
XREADGROUP GROUP a me STREAMS s > => [[s [[1-1 [a b]]]]]
"#,
        );
        redis.expect(before);
        redis.expect("DIRTY.ACK s GROUP a DELETE 1-1 => (1)\nXLEN s => (1)");
        redis.expect(then);
        assert_eq!(redis.run("XLEN s"), "(0)", "{then}");
        assert_eq!(redis.run("EXISTS s:done"), "(0)", "{then}");
        assert_eq!(redis.run("XLEN s:dead"), format!("({dead})"), "{then}");
    }
}

#[test]
fn redrive_takes_the_ones_it_is_told_and_leaves_what_others_keep_there_as_it_is() {
    for dead in ["s:dead", "other"] {
        let server = Server::start();
        let mut redis = stream_of(&server, 6);
        let named = if dead == "other" { "DEAD other" } else { "" };
        events(&mut redis, "s GROUP g a");
        events(
            &mut redis,
            &format!("s GROUP g a PENDING MAXDELIVERIES 1 {named}"),
        );
        let ids = ids(&mut redis, dead);
        assert_eq!(ids.len(), 6);
        redis.run(&format!("XADD {dead} * a b dead-id 1-1"));
        redis.run(&format!("XADD {dead} * dead-id 1 dead-group 1 dead-consumer 1 dead-error 1 dead-deliveries 1 dead-first 1 dead-last 1"));
        for (options, reply, left, length) in [
            ("COUNT 2", "(2)", 6, "(8)"),
            (
                &*format!("{} {} {}", ids[4], ids[3], ids[4]),
                "(2)",
                4,
                "(10)",
            ),
            (&ids[0], "(0)", 4, "(10)"),
            (&format!("{} {} COUNT 1", ids[2], ids[5]), "(1)", 3, "(11)"),
            ("", "(3)", 0, "(14)"),
            ("", "(0)", 0, "(14)"),
        ] {
            assert_eq!(
                redis.run(&format!("DIRTY.REDRIVE s {named} {options}")),
                reply,
                "{options}"
            );
            assert_eq!(
                redis.run(&format!("XLEN {dead}")),
                format!("({left})"),
                "{options}"
            );
            assert_eq!(redis.run("XLEN s"), length, "{options}");
        }
        // Events are what they were, and come in the order of their deaths or as they were named.
        assert_eq!(events(&mut redis, "s GROUP g b"), "1 2 5 4 3 6 raw raw");
        assert_eq!(newest(&mut redis, "s").len(), 7);
        assert_eq!(
            at_place(&mut redis, "s", 12),
            [("a".into(), "b".into()), ("dead-id".into(), "1-1".into())]
        );
    }
}

#[test]
fn redrive_takes_all_that_are_named() {
    let server = Server::start();
    let mut redis = stream_of(&server, 150);
    events(&mut redis, "s GROUP g a COUNT 150");
    events(&mut redis, "s GROUP g a PENDING MAXDELIVERIES 1 COUNT 150");
    let ids = ids(&mut redis, "s:dead").join(" ");
    assert_eq!(redis.run(&format!("DIRTY.REDRIVE s {ids}")), "(150)");
}

#[test]
fn who_leaves_hands_on_what_it_holds_at_once() {
    for resp3 in [false, true] {
        let server = Server::start();
        let mut redis = stream_of(&server, 1200);
        let mut reader = if resp3 {
            server.connect_resp3()
        } else {
            server.connect()
        };
        consume(&mut reader, "s GROUP g a COUNT 1105");
        assert_eq!(events(&mut reader, "s GROUP g b COUNT 1"), "1106");
        redis.run("XTRIM s MAXLEN = 1195");
        assert_eq!(
            reader.run("DIRTY.LEAVE s GROUP g a"),
            "(1100)",
            "what the stream still has"
        );
        let consumers = redis.run("XINFO CONSUMERS s g");
        assert!(!consumers.contains("[name a "), "{consumers}");
        // Due at once, with what was counted, and to claimers only.
        let claimed = consume(&mut reader, "s GROUP g b CLAIM 60000 COUNT 1200");
        assert_eq!(claimed.events.len(), 1100 + 94);
        assert_eq!(
            [
                &*claimed.events[0],
                &*claimed.events[1099],
                &*claimed.events[1100]
            ],
            ["6x2", "1105x2", "1107"]
        );
        // A reader that waits with CLAIM gets them when it looks next.
        let mut waits = waiting(&server, "GROUP g c CLAIM 1500 COUNT 1", "0");
        for (who, count) in [("a", 0), ("nobody", 0), ("b", 1195)] {
            assert_eq!(
                reader.run(&format!("DIRTY.LEAVE s GROUP g {who}")),
                format!("({count})")
            );
        }
        assert_eq!(reader.run("DIRTY.LEAVE s GROUP none a"), "(0)");
        assert_eq!(reader.run("DIRTY.LEAVE none GROUP g a"), "(0)");
        assert_eq!(redis.run("EXISTS none"), "(0)");
        assert!(reply(&mut waits).contains("entity_id 6 "));
    }
}

/// `s:failures` may be anybody's key: what was acknowledged is, and nothing else is touched.
#[test]
fn a_key_of_somebody_elses_in_the_place_of_failures_stops_no_reader() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    redis.run("SET s:failures mine");
    let ids = consume(&mut redis, "s GROUP g a").ids;
    assert_eq!(redis.run(&format!("DIRTY.ACK s GROUP g {}", ids[0])), "(1)");
    let ack = format!("s GROUP g a ACK 1 {} CLAIM 0", ids[1]);
    assert_eq!(events(&mut redis, &ack), "3x2");
    let refused = "WRONGTYPE the key \"s:failures\" does not hold a hash";
    for command in [
        &format!("DIRTY.FAIL s GROUP g {} why", ids[2]),
        "DIRTY.CONSUME s GROUP g b CLAIM 0 MAXDELIVERIES 1",
    ] {
        assert_eq!(redis.run(command), refused);
    }
    assert_eq!(held(&mut redis, "g"), "3:a:2");
    assert_eq!(redis.run("GET s:failures"), "mine");
}
