//! DIRTY.CONSUME and DIRTY.ACK: groups and cursors, and what their replies look like.

use super::support::Server;
use super::support::readers::{consume, events, stream_of};

#[test]
fn replies_are_right_in_both_protocols() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user TYPES 6 a int b uint c float d bool e time f json STREAM s");
    redis.run("DIRTY.FLUSH user INSERT \\xff 0");
    redis.run(
        "DIRTY.FLUSH user UPDATE \\xff 8 a -5 b 18446744073709551615 c 0.10 d true \
         e 2026-01-02T04:04:05+01:00 f [1,2] g text \\xfe \\x00",
    );
    redis.run("DIRTY.FLUSH user UPDATE \\xff 2 d 0 b 7 NULL 1 a");
    let ids: Vec<String> = consume(&mut redis, "s CURSOR c").ids;
    let [first, second, third] = &ids[..] else {
        panic!("{ids:?}");
    };
    let resp2 = format!(
        "[events [\
         [id {first} entity user entity_id \\xff op insert deliveries (1)] \
         [id {second} entity user entity_id \\xff op update changes [\
         a [nil (-5)] b [nil 18446744073709551615] c [nil 0.1] d [nil (1)] \
         e [nil 2026-01-02T03:04:05Z] f [nil [1,2]] g [nil text] \\xfe [nil \\x00]] deliveries (1)] \
         [id {third} entity user entity_id \\xff op update changes [\
         d [(1) (0)] b [18446744073709551615 (7)] a [(-5) nil]] deliveries (1)]] \
         position nil missed (0)]"
    );
    assert_eq!(redis.run("DIRTY.CONSUME s GROUP g c"), resp2);
    let resp3 = format!(
        "{{events: [\
         {{id: {first}, entity: user, entity_id: \\xff, op: insert}} \
         {{id: {second}, entity: user, entity_id: \\xff, op: update, changes: {{\
         a: [nil (-5)], b: [nil 18446744073709551615], c: [nil 0.1], d: [nil true], \
         e: [nil 2026-01-02T03:04:05Z], f: [nil [1,2]], g: [nil text], \\xfe: [nil \\x00]}}}} \
         {{id: {third}, entity: user, entity_id: \\xff, op: update, changes: {{\
         d: [true false], b: [18446744073709551615 (7)], a: [(-5) nil]}}}}], \
         position: {third}, missed: (0)}}"
    );
    let mut resp3_client = server.connect_resp3();
    assert_eq!(resp3_client.run("DIRTY.CONSUME s CURSOR c"), resp3);
    assert_eq!(
        resp3_client.run("DIRTY.CONSUME s GROUP g c"),
        "{events: [], position: nil, missed: (0)}"
    );
    assert_eq!(
        redis.run("DIRTY.CONSUME s CURSOR other FROM $"),
        format!("[events [] position {third} missed (0)]")
    );
}

#[test]
fn a_group_shares_the_work_and_gives_pending_entries_again() {
    let server = Server::start();
    let mut redis = stream_of(&server, 6);
    let first = consume(&mut redis, "s GROUP g a COUNT 2");
    assert_eq!(first.events, ["1", "2"]);
    assert_eq!(events(&mut redis, "s GROUP g b COUNT 2"), "3 4");
    // After a restart a asks for what it holds; what was new comes behind it.
    assert_eq!(
        events(&mut redis, "s GROUP g a PENDING COUNT 3"),
        "1x2 2x2 5"
    );
    let ack = first.ids.join(" ");
    assert_eq!(
        events(
            &mut redis,
            &format!("s GROUP g a ACK 2 {ack} PENDING COUNT 10")
        ),
        "5x2 6"
    );
    // b has died: a takes over its entries, none of them twice.
    assert_eq!(
        events(&mut redis, "s GROUP g a PENDING CLAIM 0"),
        "5x3 6x2 3x2 4x2"
    );
    assert_eq!(events(&mut redis, "s GROUP g b PENDING"), "");
    assert_eq!(events(&mut redis, "s GROUP g b CLAIM 60000"), "");
    redis.run("DEBUG SLEEP 0.02");
    assert_eq!(
        events(&mut redis, "s GROUP g b CLAIM 20 COUNT 3"),
        "3x3 4x3 5x4"
    );
    assert_eq!(redis.run("DIRTY.ACK s GROUP g 1-1"), "(0)");
    assert_eq!(redis.run(&format!("DIRTY.ACK s GROUP g {ack}")), "(0)");
    let held = consume(&mut redis, "s GROUP g b PENDING COUNT 2")
        .ids
        .join(" ");
    assert_eq!(redis.run(&format!("DIRTY.ACK s GROUP g {held} 1-1")), "(2)");
    assert_eq!(redis.run(&format!("DIRTY.ACK s GROUP g {held}")), "(0)");
}

#[test]
fn a_cursor_moves_by_acknowledgement_only_and_never_back() {
    let server = Server::start();
    let mut redis = stream_of(&server, 5);
    let first = consume(&mut redis, "s CURSOR c COUNT 2");
    assert_eq!(first.events, ["1", "2"]);
    assert_eq!(first.position, first.ids[1]);
    assert_eq!(consume(&mut redis, "s CURSOR c COUNT 2"), first);
    let second = consume(
        &mut redis,
        &format!("s CURSOR c ACK {} COUNT 2", first.position),
    );
    assert_eq!(second.events, ["3", "4"]);
    assert_eq!(
        redis.run(&format!("DIRTY.ACK s CURSOR c {}", second.position)),
        "OK"
    );
    for stale in [&first.position, &first.ids[0], "0-0"] {
        assert_eq!(redis.run(&format!("DIRTY.ACK s CURSOR c {stale}")), "OK");
        assert_eq!(events(&mut redis, &format!("s CURSOR c ACK {stale}")), "5");
    }
    // An id past the stream's end must not make it skip what comes.
    assert_eq!(redis.run("DIRTY.ACK s CURSOR c 99999999999999-9"), "OK");
    assert_eq!(events(&mut redis, "s CURSOR c"), "");
    redis.run("DIRTY.FLUSH user INSERT 6 0");
    assert_eq!(events(&mut redis, "s CURSOR c"), "6");
    assert_eq!(events(&mut redis, "s CURSOR other"), "1 2 3 4 5 6");
}

#[test]
fn readers_start_where_from_says_on_first_use_only() {
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    redis.run("DEBUG SLEEP 0.01");
    redis.run("DIRTY.FLUSH user INSERT 3 0 INSERT 4 0");
    let ids = consume(&mut redis, "s CURSOR all").ids;
    let third_ms = ids[2].split('-').next().unwrap();
    for (from, expected) in [
        ("", "1 2 3 4".to_string()),
        ("FROM 0", "1 2 3 4".into()),
        ("FROM $", "".into()),
        (&format!("FROM {}", ids[0]), "2 3 4".into()),
        (&format!("FROM {third_ms}"), "3 4".into()),
        ("FROM 99999999999999", "".into()),
        ("FROM 18446744073709551615", "".into()),
        ("FROM 18446744073709551615-18446744073709551615", "".into()),
        ("FROM 0-0", "1 2 3 4".into()),
    ] {
        let name = from.replace(' ', "");
        let group = format!("s GROUP g{name} c {from}");
        let cursor = format!("s CURSOR c{name} {from}");
        assert_eq!(events(&mut redis, &group), expected, "{group}");
        assert_eq!(events(&mut redis, &cursor), expected, "{cursor}");
        // Later it goes on where it is.
        assert_eq!(events(&mut redis, &format!("s GROUP g{name} c FROM 0")), "");
        assert_eq!(
            events(&mut redis, &format!("s CURSOR c{name} FROM 0")),
            expected
        );
    }
}

#[test]
fn a_reader_that_comes_before_the_first_event_misses_none() {
    let server = Server::start();
    let mut redis = server.connect();
    for reader in [
        "GROUP g c",
        "CURSOR k",
        "GROUP now c FROM $",
        "CURSOR later FROM $",
    ] {
        assert_eq!(
            redis
                .run(&format!("DIRTY.CONSUME s {reader}"))
                .split(" position")
                .next(),
            Some("[events []")
        );
    }
    let mut redis = stream_of(&server, 3);
    for reader in [
        "GROUP g c",
        "CURSOR k",
        "GROUP now c FROM $",
        "CURSOR later FROM $",
    ] {
        assert_eq!(
            events(&mut redis, &format!("s {reader}")),
            "1 2 3",
            "{reader}"
        );
    }
}

#[test]
fn native_commands_and_dirty_consume_work_on_the_same_group() {
    let server = Server::start();
    let mut redis = stream_of(&server, 4);
    redis.run("XGROUP CREATE s g 0");
    redis.run("XREADGROUP GROUP g native COUNT 1 STREAMS s >");
    let second = consume(&mut redis, "s GROUP g dirty COUNT 2");
    assert_eq!(second.events, ["2", "3"]);
    assert_eq!(redis.run(&format!("XACK s g {}", second.ids[0])), "(1)");
    assert_eq!(events(&mut redis, "s GROUP g dirty CLAIM 0"), "1x2 3x2 4");
    assert_eq!(
        redis
            .run("XAUTOCLAIM s g native 0 0 JUSTID")
            .matches('-')
            .count(),
        4
    );
    assert_eq!(redis.run("XINFO GROUPS s"), redis.run("XINFO GROUPS s"));
}

#[test]
fn a_group_with_consumers_is_no_cursor() {
    let server = Server::start();
    let mut redis = stream_of(&server, 2);
    consume(&mut redis, "s GROUP g c COUNT 1");
    for command in [
        "DIRTY.CONSUME s CURSOR g",
        "DIRTY.ACK s CURSOR g 99999999999999-1",
    ] {
        let refused = "ERR \"g\" is a group with consumers, not a cursor";
        assert_eq!(redis.run(command), refused);
    }
    assert_eq!(events(&mut redis, "s GROUP g c"), "2");
}

#[test]
fn what_is_no_event_is_delivered_raw_and_stops_no_reader() {
    let server = Server::start();
    let mut redis = stream_of(&server, 1);
    for entry in [
        "a b a c",
        "s hello",
        "s \\xc1",
        "s \\x91\\x91",
        "\\xff \\x00",
    ] {
        redis.run(&format!("XADD s * {entry}"));
    }
    redis.value(&[
        b"XADD".as_slice(),
        b"s",
        b"*",
        b"s",
        b"\x81\xa2et\xdf\xff\xff\xff\xff",
    ]);
    redis.run("DIRTY.FLUSH user INSERT 2 0");
    for reader in ["GROUP g c", "CURSOR c"] {
        assert_eq!(
            events(&mut redis, &format!("s {reader}")),
            "1 raw raw raw raw raw raw 2"
        );
    }
    let mut resp3 = server.connect_resp3();
    let raw = resp3.run("DIRTY.CONSUME s CURSOR c COUNT 2");
    assert!(raw.contains("fields: [a b a c]}"), "{raw}");
    let raw = resp3.run("DIRTY.CONSUME s GROUP raw c COUNT 1 RAW");
    assert!(raw.contains("fields: [s \\x83\\xa2et"), "{raw}");
    assert!(raw.contains("deliveries: (1)}]"), "{raw}");
}

#[test]
fn readers_are_told_how_many_events_they_missed() {
    let server = Server::start();
    let mut redis = stream_of(&server, 3);
    for reader in ["GROUP g c", "GROUP behind c", "CURSOR c", "CURSOR late"] {
        consume(&mut redis, &format!("s {reader} COUNT 1"));
    }
    let all = consume(&mut redis, "s CURSOR c");
    consume(&mut redis, "s GROUP g c");
    redis.run(&format!("DIRTY.ACK s CURSOR c {}", all.position));
    for id in 4..=10 {
        redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
    }
    redis.run("XTRIM s MAXLEN 5"); // 1 to 5 are gone
    let eighth = consume(&mut redis, "s CURSOR look").ids[2].clone();
    redis.run(&format!("XDEL s {eighth}"));
    for (reader, expected) in [
        ("GROUP g c", "(3)"),      // 4, 5 and 8
        ("GROUP behind c", "(5)"), // 2 to 5 and 8
        ("CURSOR c", "(3)"),
        ("CURSOR late", "(6)"), // it never acknowledged 1
        ("CURSOR new", "(1)"),  // it begins with what was there
        ("GROUP g c", "(0)"),
        ("GROUP behind c", "(0)"),
    ] {
        let read = consume(&mut redis, &format!("s {reader}"));
        assert_eq!(read.missed, expected, "{reader}");
    }
    // An entry that was delivered and is gone, and one that is still there.
    let pending = consume(&mut redis, "s GROUP behind c PENDING");
    assert_eq!(
        (pending.events.join(" ").as_str(), &*pending.missed),
        ("6x2 7x2 9x2 10x2", "(1)")
    );
    assert_eq!(
        consume(&mut redis, "s GROUP behind c PENDING").missed,
        "(0)"
    );
}

#[test]
fn a_new_reader_of_an_emptied_stream_has_missed_nothing() {
    let server = Server::start();
    let mut redis = stream_of(&server, 14);
    redis.run("XTRIM s MAXLEN 0");
    for reader in ["GROUP g c", "CURSOR k"] {
        assert_eq!(events(&mut redis, &format!("s {reader}")), "");
    }
    redis.run("DIRTY.FLUSH user INSERT 15 0");
    for reader in ["GROUP g c", "CURSOR k"] {
        let read = consume(&mut redis, &format!("s {reader}"));
        assert_eq!(
            (read.events.join(" ").as_str(), &*read.missed),
            ("15", "(0)")
        );
    }
}

#[test]
fn numbers_bound_what_is_delivered() {
    let server = Server::start();
    let mut redis = stream_of(&server, 150);
    assert_eq!(consume(&mut redis, "s CURSOR c").events.len(), 100);
    assert_eq!(consume(&mut redis, "s GROUP g c").events.len(), 100);
    assert_eq!(
        consume(&mut redis, "s CURSOR c COUNT 4294967295")
            .events
            .len(),
        150
    );
    assert_eq!(consume(&mut redis, "s GROUP g c COUNT 1").events, ["101"]);
    assert_eq!(
        consume(&mut redis, "s GROUP g d CLAIM 0 COUNT 3").events,
        ["1x2", "2x2", "3x2"]
    );
}
