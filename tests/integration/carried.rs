//! What a flush sends along with its events and gets back: META, IMAGES, WITHEVENTS.

use super::support::entities::declared;
use super::support::readers::{read_all, without_ms};

/// Those of `s`, one a line.
fn read(server: &super::support::Server) -> String {
    read_all(server, "s").join("\n")
}

#[test]
fn meta_travels_in_every_event_of_its_command_only() {
    let (server, mut redis) = declared("STREAM s STREAM t PAYLOAD KEYS");
    redis.run("DIRTY.FLUSH user META 2 actor 7 trace\\x00 \\xff INSERT 1 0 DELETE 1");
    redis.run("DIRTY.FLUSH user META 0 INSERT 1 0");
    assert_eq!(
        read(&server),
        "entity-id: 1, op: insert, meta: {actor: 7, trace\\x00: \\xff}\n\
         entity-id: 1, op: delete, meta: {actor: 7, trace\\x00: \\xff}\n\
         entity-id: 1, op: insert"
    );
    redis.run("DIRTY.READER t GROUP g FROM 0");
    let flat = redis.run("DIRTY.CONSUME t GROUP g c COUNT 1");
    let expected = "entity-id 1 op insert meta [actor 7 trace\\x00 \\xff] deliveries (1)";
    assert!(flat.contains(expected), "{flat}");
    // Bytes: str where it is UTF-8, bin where it is not, behind all other keys.
    let entry = redis.run("XRANGE t - + COUNT 1");
    let bytes = "\\x84\\xa2et\\xa4user\\xa2id\\x01\\xa2ft\\x01\\xa1m\\x82\\xa5actor\\xa17\\xa6trace\\x00\\xc4\\x01\\xff";
    assert!(entry.contains(bytes), "{entry}");
}

#[test]
fn images_are_all_fields_before_and_after() {
    let (server, mut redis) = declared("TYPES 1 n int STREAM s PAYLOAD IMAGES");
    for operation in [
        "INSERT 1 2 b x n 1",
        "UPDATE 1 2 a y n 02",
        "TOUCH 1",
        "SNAPSHOT 1 0",
        "TOUCH 1",
        "SNAPSHOT 1 1 c \\xff",
        "DELETE 1",
    ] {
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
    }
    assert_eq!(
        read(&server),
        "entity-id: 1, op: insert, after: {b: x, n: (1)}\n\
         entity-id: 1, op: update, before: {b: x, n: (1)}, after: {a: y, b: x, n: (2)}\n\
         entity-id: 1, op: touch, before: {a: y, b: x, n: (2)}, after: {a: y, b: x, n: (2)}\n\
         entity-id: 1, op: update, before: {a: y, b: x, n: (2)}\n\
         entity-id: 1, op: update\n\
         entity-id: 1, op: update, after: {c: \\xff}\n\
         entity-id: 1, op: delete, before: {c: \\xff}"
    );
}

#[test]
fn images_of_large_entities_are_in_the_order_of_names() {
    let (server, mut redis) = declared("STREAM s PAYLOAD IMAGES");
    let fields: Vec<String> = (0..600).rev().map(|n| format!("f{n:03} {n}")).collect();
    redis.run(&format!(
        "DIRTY.FLUSH user INSERT 1 600 {}",
        fields.join(" ")
    ));
    redis.run("DIRTY.FLUSH user DELETE 1");
    let expected: Vec<String> = (0..600).map(|n| format!("f{n:03}: {n}")).collect();
    let expected = expected.join(", ");
    let expected = format!(
        "entity-id: 1, op: insert, after: {{{expected}}}\n\
         entity-id: 1, op: delete, before: {{{expected}}}"
    );
    assert!(read(&server) == expected);
}

#[test]
fn with_events_the_reply_names_what_changed_and_what_was_published() {
    let (_server, mut redis) = declared("STREAM s STREAM t OPS NONE FIELDS 1 b");
    for (command, expected) in [
        (
            "WITHEVENTS INSERT 1 2 a 1 b 2 INSERT 1 2 a 1 b 2",
            "[[insert [a b] [s ID-1]] [none [] []]]",
        ),
        (
            "WITHEVENTS META 1 x y SNAPSHOT 1 1 b 3",
            "[[update [b a] [s ID-2 t ID-1]]]",
        ),
        (
            "META 1 x y WITHEVENTS TOUCH 1",
            "[[touch [] [s ID-3 t ID-2]]]",
        ),
        (
            "WITHEVENTS SEED 2 1 z 1 DELETE 2",
            "[[seed [z] []] [delete [z] [s ID-4]]]",
        ),
        (
            "WITHEVENTS DELETE 1 DELETE 1",
            "[[delete [b] [s ID-5]] [none [] []]]",
        ),
    ] {
        let reply = redis.run(&format!("DIRTY.FLUSH user {command}"));
        let words: Vec<String> = reply.split(' ').map(without_ms).collect();
        assert_eq!(words.join(" "), expected, "{command}");
    }
    // The ids are those of the entries.
    let reply = redis.run("DIRTY.FLUSH user WITHEVENTS INSERT 9 0");
    let id = reply.rsplit(' ').next().map(|id| id.trim_end_matches(']'));
    let last = redis.run("XREVRANGE s + - COUNT 1");
    assert_eq!(
        last.split(' ').next().map(|id| id.trim_start_matches('[')),
        id
    );
}
