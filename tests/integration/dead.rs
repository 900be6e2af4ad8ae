//! The life of a poisoned event, from its first failure to its return: FAIL, the dead stream, REDRIVE,
//! LEAVE, and what replicas and files know of it.

use super::blocking::{reply, waiting};
use super::consume::{consume, events, stream_of};
use super::groups::{both, held, seqs};
use super::replication::{appended, AOF};
use super::support::{text, Conn, Server};
use redis::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FAILURES: &str = "s:failures";

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// The last entry of a stream, its fields in their order.
fn newest(redis: &mut Conn, stream: &str) -> Vec<(String, String)> {
    let Value::Array(entries) = redis.value(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]) else {
        panic!("no {stream}");
    };
    let Some(Value::Array(entry)) = entries.first() else {
        panic!("nothing in {stream}");
    };
    let Value::Array(fields) = &entry[1] else {
        panic!("{entry:?}");
    };
    let pairs = fields.chunks(2);
    pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

/// The ids of a stream's entries.
fn ids(redis: &mut Conn, stream: &str) -> Vec<String> {
    let entries = redis.run(&format!("XRANGE {stream} - +"));
    let words = entries.split("[[").flat_map(|part| part.split("] ["));
    let ids = words.filter_map(|part| part.trim_matches('[').split(' ').next());
    ids.filter(|id| id.len() > 14 && id.contains('-'))
        .map(str::to_string)
        .collect()
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
        let own = newest_of(&mut redis, "s", 0);
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
        assert_eq!(held(&mut redis, "g"), "1:b:2 2:b:1");
        assert_eq!(events(&mut reader, "s GROUP g c\\xc3 CLAIM 5000"), "1x3");
        let message = b"\0\r\n\xff third: \xe2\x82\xac ";
        let last_at = now_ms();
        assert_eq!(reader.raw(&fail(message, &limit)), "dead");
        assert_eq!(held(&mut redis, "g"), "2:b:1");
        assert_eq!(redis.run("EXISTS s:failures"), "(0)");
        assert_eq!(seqs(&mut redis, "s"), "1 2", "other groups still read it");
        let dead = newest(&mut redis, "s:dead");
        let why = &dead[dead.len() - 7..];
        assert_eq!(dead[..dead.len() - 7], own, "its own fields");
        let names = [
            "id",
            "group",
            "consumer",
            "error",
            "deliveries",
            "first",
            "last",
        ];
        assert!(
            why.iter()
                .zip(names)
                .all(|(field, name)| field.0 == format!("dead-{name}")),
            "{why:?}"
        );
        let values: Vec<&str> = why.iter().map(|(_, value)| value.as_str()).collect();
        let error = message.escape_ascii().to_string();
        assert_eq!(values[..5], [&id, "g", r"c\xc3", &error, "3"]);
        let times: Vec<u64> = values[5..].iter().map(|ms| ms.parse().unwrap()).collect();
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

/// The fields of a stream's entry at a place.
fn newest_of(redis: &mut Conn, stream: &str, place: usize) -> Vec<(String, String)> {
    let id = ids(redis, stream)[place].clone();
    let Value::Array(entries) = redis.value(&["XRANGE", stream, &id, &id]) else {
        panic!("no {id}");
    };
    let Value::Array(entry) = &entries[0] else {
        panic!("{entries:?}");
    };
    let Value::Array(fields) = &entry[1] else {
        panic!("{entry:?}");
    };
    fields
        .chunks(2)
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect()
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
        let fields = newest_of(&mut redis, "s:dead", place);
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
            newest_of(&mut redis, "s", 12),
            [("a".into(), "b".into()), ("dead-id".into(), "1-1".into())]
        );
    }
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

/// Times and ids as `ms`, so that what was appended can be compared.
fn effects(server: &Server, start: usize) -> (Vec<String>, usize) {
    let (commands, end) = appended(server, start);
    let word = |word: &str| match word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit())
    {
        true => "ms".to_string(),
        // An id within a longer text.
        false => match word.split_once('-') {
            Some((ms, seq)) if ms.len() == 13 => format!("ms-{seq}"),
            _ => word.to_string(),
        },
    };
    let command = |command: &String| command.split(' ').map(word).collect::<Vec<_>>().join(" ");
    (commands.iter().map(command).collect(), end)
}

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
    let claim = |to: &str, seq: u64, time: &str, count: u64| {
        format!(
            "XCLAIM s g {to} 0 ms-{seq} TIME {time} RETRYCOUNT {count} FORCE JUSTID LASTID ms-3"
        )
    };
    let died = "dead-group g dead-consumer a dead-error why dead-deliveries";
    let transaction = |commands: &[String]| -> Vec<String> {
        let (first, last) = (["MULTI".to_string()], ["EXEC".to_string()]);
        [&first[..], commands, &last[..]].concat()
    };
    let failure = [
        "HSET s:failures ms-1 g ms ms why".to_string(),
        "PEXPIREAT s:failures ms".into(),
    ];
    for (command, expected) in [
        ("DIRTY.FAIL s GROUP g #1 why", transaction(&failure)),
        (
            "DIRTY.FAIL s GROUP g #1 why NOW",
            transaction(&[&failure[..], &[claim("a", 1, "0", 1)]].concat()),
        ),
        (
            "DIRTY.FAIL s GROUP g #1 why MAXDELIVERIES 1",
            transaction(&[
                format!(
                    "XADD s:dead ms-1 s BYTES dead-id ms-1 {died} 1 dead-first ms dead-last ms"
                ),
                "XACK s g ms-1".into(),
                "HDEL s:failures ms-1 g".into(),
            ]),
        ),
        (
            "DIRTY.REDRIVE s",
            transaction(&["XADD s ms-5 s BYTES".into(), "XDEL s:dead ms-1".into()]),
        ),
        ("DIRTY.REDRIVE s", vec![]),
        ("DIRTY.LEAVE s GROUP g nobody", vec![]),
        (
            "DIRTY.LEAVE s GROUP g a",
            transaction(&[
                claim("dirty:left", 2, "0", 1),
                claim("dirty:left", 3, "0", 1),
                "XGROUP DELCONSUMER s g a".into(),
            ]),
        ),
        (
            "DIRTY.CONSUME s GROUP g b CLAIM 0 COUNT 2",
            transaction(&[claim("b", 2, "ms", 2), claim("b", 3, "ms", 2)]),
        ),
        (
            "DIRTY.CONSUME s GROUP g b ACK 1 #2 DELETE CLAIM 60000 MAXPENDING 1",
            vec!["XACK s g ms-2".into()],
        ),
        (
            "DIRTY.ACK s CURSOR k #3",
            vec!["XGROUP SETID s k ms-3 ENTRIESREAD 3".into()],
        ),
        (
            "DIRTY.ACK s GROUP g DELETE #2 #3",
            transaction(&["XACK s g ms-2 ms-3".into(), "XDEL s ms-2 ms-3".into()]),
        ),
    ] {
        let reply = redis.run(&fill(command));
        let (commands, end) = effects(&server, start);
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
    let first = newest_of(redis, "s:dead", 1);
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
