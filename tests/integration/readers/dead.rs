//! REDRIVE and DISCARD.

use crate::support::entries::newest;
use crate::support::readers::consume;
use crate::support::story::Story;
use crate::support::{Server, text, words};

#[test]
fn redriven_events_come_back_to_the_group_that_gave_them_up_and_to_nobody_else() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s GROUP h FROM 0 => OK
DIRTY.CONSUME s GROUP g a => #1 #2 #3
DIRTY.CONSUME s GROUP h a ACK 0 => #1 #2 #3
DIRTY.FAIL s GROUP g a why FATAL #1 #2 => [dead dead]
DIRTY.REDRIVE s GROUP h ALL => (0)
DIRTY.REDRIVE s GROUP g IDS 0 => (0)
DIRTY.REDRIVE s GROUP g IDS 1 #2 => (1)
XLEN s => (3)
XLEN s:dead => (2)
DIRTY.CONSUME s GROUP g b => #2
DIRTY.ACK s GROUP g b #2 => []
XLEN s:dead => (1)
DIRTY.REDRIVE s GROUP g ENTITY user 1 => (1)
XDEL s #1 => (1)
DIRTY.CONSUME s GROUP g b => #1
DIRTY.DISCARD s GROUP g ALL => (0)
DIRTY.ACK s GROUP g b #1 => []
XLEN s:dead => (0)
DIRTY.REDRIVE s GROUP g KEY x => ERR KEY requires a group with ORDER META
",
    );
}

#[test]
fn a_parked_key_waits_until_its_dead_event_is_redriven_or_discarded() {
    Story::with(&["1", "2", "1", "1"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY ONDEAD PARK => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.FAIL s GROUP g a why FATAL #1 => [dead]
DIRTY.CONSUME s GROUP g a => #2
DIRTY.REDRIVE s GROUP g ALL => (1)
DIRTY.CONSUME s GROUP g b => #1 #3 #4
DIRTY.FAIL s GROUP g b why FATAL #1 => [dead]
DIRTY.CONSUME s GROUP g b =>\x20
DIRTY.DISCARD s GROUP g ENTITY user 1 => (1)
DIRTY.CONSUME s GROUP g b => #3 #4
XLEN s:dead => (0)
",
    );
}

#[test]
fn another_dead_stream_is_asked_of_the_user_whose_call_writes_there() {
    let mut story = Story::with(&["1", "2"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 DEAD d => OK
DIRTY.CONSUME s GROUP g a => #1 #2
ACL SETUSER u on nopass +@all ~s => OK
AUTH u x => OK
DIRTY.FAIL s GROUP g a why FATAL #1 => NOPERM this user may not write the key \"d\"
DIRTY.FAIL s GROUP g a why DELAY 0 #1 => [retry]
AUTH default x => OK
EXISTS d s:dead => (0)
SET d v => OK
DIRTY.FAIL s GROUP g a why FATAL #2 => WRONGTYPE the key \"d\" does not hold a stream
DIRTY.PENDING s GROUP g CONSUMER a COUNT 1 =>
 [[id #2 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key nil]]
",
    );
}

/// What stands in the dead stream, without reading it as events.
fn dead_fields(story: &mut Story) -> Vec<(String, String)> {
    newest(&mut story.redis, "s:dead")
}

#[test]
fn a_dead_entry_keeps_its_own_fields_and_says_what_is_known_of_its_end() {
    let mut story = Story::with(&["1", "2"]);
    let own = newest(&mut story.redis, "s");
    story.expect("DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 3 => OK");
    let before = now_ms();
    story.expect(
        "
DIRTY.CONSUME s GROUP g a => #1 #2
DIRTY.FAIL s GROUP g a first DELAY 0 #2 => [retry]
wait 20 => -
DIRTY.CONSUME s GROUP g c\\xc3 => #2:2!1
DIRTY.FAIL s GROUP g c\\xc3 \\x00\\x0d\\x0a\\xff\\_third FATAL #2 => [dead]
",
    );
    let dead = dead_fields(&mut story);
    let (fields, why) = dead.split_at(own.len());
    assert_eq!(fields, own, "its own fields");
    let of = |name: &str| {
        let field = why.iter().find(|(field, _)| field == name);
        field
            .unwrap_or_else(|| panic!("{name} in {why:?}"))
            .1
            .clone()
    };
    let id = story.run("XREVRANGE s + - COUNT 1");
    assert!(id.starts_with("[[#2"), "{id}");
    for (name, expected) in [
        ("dead-stream", "s"),
        ("dead-reader", "g"),
        ("dead-consumer", "c\\xc3"),
        ("dead-error", "\\x00\\r\\n\\xff third"),
        ("dead-deliveries", "2"),
        ("dead-failures", "2"),
    ] {
        assert_eq!(of(name), expected, "{name}");
    }
    assert!(of("dead-id").ends_with("-2"));
    let times: Vec<u64> = ["dead-first", "dead-last"]
        .map(|name| of(name).parse().expect("a time"))
        .into();
    assert!(before <= times[0] && times[0] + 20 <= times[1] && times[1] <= now_ms());
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("a time").as_millis()).expect("a time")
}

/// The state that each entity ends in for a reader that folds events, by the last one of it that comes.
fn fold(story: &mut Story, calls: &[&str]) -> Vec<String> {
    let mut last = std::collections::BTreeMap::new();
    for call in calls {
        let batch = consume(&mut story.redis, call);
        for (id, entity) in batch.ids.iter().zip(&batch.events) {
            let entity = entity.split('x').next().expect("an entity").to_string();
            last.insert(entity, id[14..].to_string());
        }
        if !batch.ids.is_empty() && call.contains(" GROUP ") {
            let ack = call.replace("s GROUP", "DIRTY.ACK s GROUP");
            story.redis.run(&format!("{ack} {}", batch.ids.join(" ")));
        }
    }
    last.into_iter()
        .map(|(entity, seq)| format!("{entity} {seq}"))
        .collect()
}

#[test]
fn redriven_events_go_to_no_other_reader_and_in_order_never_behind_newer_ones() {
    for (order, on_dead) in [
        ("ENTITY", "PARK"),
        ("STREAM", "PARK"),
        ("META none", "SKIP"),
    ] {
        let mut story = Story::with(&["1", "2"]);
        story.expect(&format!(
            "
DIRTY.READER s GROUP g FROM 0 ORDER {order} ONDEAD {on_dead} => OK
DIRTY.READER s GROUP other FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g w COUNT 1 => #1 | more
DIRTY.FAIL s GROUP g w why FATAL #1 => [dead]
"
        ));
        story.publish(&["1", "2"]);
        let all = ["1 3".to_string(), "2 4".to_string()];
        assert_eq!(fold(&mut story, &["s GROUP other w"]), all);
        if on_dead == "PARK" {
            let mut got = fold(&mut story, &["s GROUP g w", "s GROUP g w"]);
            got.retain(|last| last.starts_with("1 "));
            assert_eq!(got, [""; 0], "ORDER {order}: the entity waits");
        }
        let before = (story.run("XLEN s"), story.run("XINFO STREAM s"));
        story.expect("DIRTY.REDRIVE s GROUP g ALL => (1)");
        assert_eq!((story.run("XLEN s"), story.run("XINFO STREAM s")), before);
        let folded = fold(&mut story, &["s GROUP g w", "s GROUP g w", "s GROUP g w"]);
        if on_dead == "PARK" {
            assert!(
                folded.contains(&"1 3".to_string()),
                "ORDER {order}: {folded:?}"
            );
        }
        story.expect(
            "
DIRTY.CONSUME s GROUP other w =>\x20
DIRTY.CONSUME s CURSOR c => #1 #2 #3 #4 | position #4
DIRTY.READ s FROM 0 => #1 #2 #3 #4 | position #4
DIRTY.PENDING s GROUP g => []
XLEN s:dead => (0)
",
        );
    }
}

#[test]
fn a_list_that_is_empty_or_left_out_never_means_everything() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g a => #1 #2 #3
DIRTY.FAIL s GROUP g a why FATAL #1 #2 => [dead dead]
DIRTY.FAIL s CURSOR c why #3 => [dead]
",
    );
    let before = story.redis.digest();
    for command in [
        "REDRIVE s GROUP g",
        "REDRIVE s GROUP g IDS",
        "REDRIVE s GROUP g IDS 0",
        "REDRIVE s GROUP g IDS 1",
        "REDRIVE s GROUP g IDS 0 #1",
        "REDRIVE s GROUP g IDS 2 #1",
        "REDRIVE s GROUP g ENTITY",
        "REDRIVE s GROUP g ENTITY user",
        "REDRIVE s GROUP g ALL #1",
        "REDRIVE s GROUP g #1",
        "REDRIVE s GROUP g COUNT 5",
        "REDRIVE s CURSOR c ALL",
        "DISCARD s GROUP g",
        "DISCARD s GROUP g IDS",
        "DISCARD s GROUP g IDS 0",
        "DISCARD s GROUP g IDS 0 #1",
        "DISCARD s GROUP g ENTITY user",
        "DISCARD s CURSOR c",
        "DISCARD s CURSOR c IDS 0",
        "ACK s GROUP g a",
        "ACK s GROUP g a FORCE",
        "ACK s CURSOR c",
        "FAIL s GROUP g a why",
        "FAIL s GROUP g a why FATAL",
        "FAIL s GROUP g a why FORCE FATAL",
        "FAIL s CURSOR c why",
        "CONSUME s GROUP g a ACK 0 COUNT 1",
    ] {
        let reply = story.run(&format!("DIRTY.{command}"));
        assert!(
            reply.starts_with("ERR ") || reply == "(0)" || reply.is_empty(),
            "{command}: {reply}"
        );
        assert_eq!(story.redis.digest(), before, "{command}: {reply}");
    }
    story.expect("DIRTY.PENDING s GROUP g COUNT 1 AFTER #3 => []\nXLEN s:dead => (3)");
}

/// How what a group has failed is finished, one way each: nothing of the failures must stay.
const FINISHES: &[&str] = &[
    "ACK s GROUP g a IDS",
    "ACK s GROUP g operator FORCE IDS",
    "FAIL s GROUP g operator why FORCE FATAL IDS",
    "SEEK s GROUP g 0",
    "trim",
    "filter",
    "stream",
];

#[test]
fn nothing_stays_of_failures_once_their_events_are_finished_however_they_are() {
    const EVENTS: usize = 200;
    let entities: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    let entities: Vec<&str> = entities.iter().map(String::as_str).collect();
    let message = "m".repeat(900);
    for finish in FINISHES {
        let mut story = Story::with(&entities);
        story.expect("DIRTY.READER s GROUP g FROM 0 => OK");
        let empty = bytes(&mut story);
        let ids = consume(&mut story.redis, "s GROUP g a COUNT 1000")
            .ids
            .join(" ");
        let fail = |delay: u32| format!("DIRTY.FAIL s GROUP g a {message} DELAY {delay} {ids}");
        story.redis.run(&fail(0));
        if finish.starts_with("ACK s GROUP g a") {
            // It must hold them.
            consume(&mut story.redis, "s GROUP g a COUNT 1000");
        }
        assert!(
            bytes(&mut story) > empty + 200 * EVENTS,
            "{finish}: they are kept"
        );
        match *finish {
            "trim" => drop(story.run("XTRIM s MAXLEN 0")),
            "filter" => drop(story.run("DIRTY.READER s GROUP g WHERE OPS D")),
            "stream" => drop(story.run("DEL s")),
            command => drop(story.run(&format!("DIRTY.{}", command.replace("IDS", &ids)))),
        }
        for _ in 0..3 {
            let given = consume(&mut story.redis, "s GROUP g b COUNT 1000").ids;
            assert!(given.is_empty() || finish.starts_with("SEEK"), "{finish}");
            if !given.is_empty() {
                let ids = given.join(" ");
                story.redis.run(&format!("DIRTY.ACK s GROUP g b {ids}"));
            }
        }
        assert_eq!(story.run("DIRTY.PENDING s GROUP g"), "[]", "{finish}");
        let left = bytes(&mut story);
        assert!(
            left < empty + 4096,
            "{finish}: {left} bytes, {empty} at first"
        );
        story.expect("EXISTS s:failures s:done => (0)");
    }
}

/// Of the readers.
fn bytes(story: &mut Story) -> usize {
    let usage = story.run("MEMORY USAGE s:readers");
    usage.trim_matches(['(', ')']).parse().expect("bytes")
}

#[test]
fn an_error_of_an_earlier_life_is_no_reason_of_a_later_death() {
    for life in [
        "DIRTY.FAIL s GROUP g a earlier FATAL #1 => [dead]\nDIRTY.REDRIVE s GROUP g ALL => (1)",
        "DIRTY.FAIL s GROUP g a earlier DELAY 0 #1 => [retry]\nDIRTY.SEEK s GROUP g 0 => OK",
        "DIRTY.FAIL s GROUP g a earlier DELAY 0 #1 => [retry]\nDIRTY.FORGET s GROUP g => (1)
DIRTY.READER s GROUP g FROM 0 CLAIM 50 MAXDELIVERIES 2 => OK",
    ] {
        let mut story = Story::with(&["1"]);
        story.expect(
            "DIRTY.READER s GROUP g FROM 0 CLAIM 50 MAXDELIVERIES 2 => OK
DIRTY.CONSUME s GROUP g a => #1",
        );
        story.expect(life);
        story.expect(
            "
DIRTY.CONSUME s GROUP g b => #1
wait 60 => -
DIRTY.CONSUME s GROUP g c => #1:2
wait 60 => -
DIRTY.CONSUME s GROUP g d =>\x20
XLEN s:dead => (1)
",
        );
        let dead = story.run("DIRTY.READ s:dead FROM 0");
        let expected =
            "consumer c error delivered 2 times and not acknowledged deliveries (2) failures (0)";
        assert!(dead.contains(expected), "{life}: {dead}");
    }
}

#[test]
fn a_dead_stream_is_read_like_any_other_whatever_the_format_of_its_events() {
    for format in ["MSGPACK", "FLUXAORM2", "FLUXAORM1", "DEBEZIUM"] {
        let mut story = Story::begin();
        for entity in ["a", "b"] {
            story.run(&format!("DIRTY.DECLARE {entity} STREAM s FORMAT {format}"));
        }
        for flush in [
            "a INSERT 1 1 x \\xff",
            "b INSERT 2 1 x y",
            "a UPDATE 1 1 x z",
            "a DELETE 1",
        ] {
            let flushed = story.run(&format!("DIRTY.FLUSH {flush}"));
            assert!(flushed.starts_with('['), "{format}: {flushed}");
        }
        story.expect(
            "
XADD s 9999999999999-9 by hand => #9
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g w => #1 #2 #3 #4 #9
DIRTY.FAIL s GROUP g w why FATAL #1 #2 #3 #4 #9 => [dead dead dead dead dead]
DIRTY.READER s:dead GROUP all FROM 0 => OK
DIRTY.READER s:dead GROUP some FROM 0 WHERE ENTITY a OPS UD => OK
DIRTY.READER s:dead CURSOR one FROM 0 WHERE ID 1 2 => OK
",
        );
        let seqs = |story: &mut Story, call: &str| {
            let reply = consume(&mut story.redis, call);
            let mut got = Vec::new();
            for (id, entity) in reply.ids.iter().zip(&reply.events) {
                got.push(format!(
                    "{entity}@{}",
                    id.rsplit('-').next().unwrap_or_default()
                ));
            }
            got.join(" ")
        };
        let all = seqs(&mut story, "s:dead GROUP all w");
        assert_eq!(all, "1@1 2@2 1@3 1@4 raw@5", "{format}");
        assert_eq!(
            seqs(&mut story, "s:dead GROUP some w"),
            "1@3 1@4",
            "{format}"
        );
        assert_eq!(seqs(&mut story, "s:dead CURSOR one"), "2@2", "{format}");
        for form in ["", "RAW", "JSON"] {
            let reply = story.run(&format!("DIRTY.READ s:dead FROM 0 {form}"));
            assert!(!reply.contains("ERR"), "{format} {form}: {reply}");
        }
        // All of a client that decodes UTF-8.
        let json = story.redis.value(&words("DIRTY.READ s:dead FROM 0 JSON"));
        let texts = text(&json);
        assert_eq!(texts.matches("\\x").count(), 0, "{format}: {texts}");
        let of_each = texts.matches("dead\\\":{").count();
        assert_eq!(of_each, 5, "{format}: {texts}");
    }
}

#[test]
fn a_replica_knows_what_has_left_the_dead_stream_as_its_primary_does() {
    let mut story = Story::with(&["1", "2", "3", "4"]);
    let replica = Server::replica_of(&story.server);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a => #1 #2 #3 #4
DIRTY.FAIL s GROUP g a why FATAL #1 #2 #3 #4 => [dead dead dead dead]
DIRTY.DISCARD s GROUP g IDS 1 #1 => (1)
DIRTY.REDRIVE s GROUP g IDS 1 #4 => (1)
DIRTY.CONSUME s GROUP g a => #4
DIRTY.ACK s GROUP g a #4 => []
",
    );
    story.server.wait_for_replica(&replica);
    let mut told = |command: &str| {
        let there = replica.connect().run(command);
        assert_eq!(story.redis.run(command), there, "{command}");
        there
    };
    let dead = told("XINFO STREAM s:dead");
    assert!(!dead.contains("max-deleted-entry-id 0-0"), "{dead}");
    told("DEBUG DIGEST");
}
