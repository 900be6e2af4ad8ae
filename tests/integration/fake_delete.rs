//! FAKEDELETE: a field that stands for the delete of an entity that stays.

use super::carried::read_all;
use super::flush::{declared, expect_operations};
use super::support::cases;

/// Tables of `expect_operations`, each with what is declared before it on an empty server.
const OPERATIONS: &[(&str, &str)] = &[
    (
        "FAKEDELETE gone STREAM s",
        r#"
INSERT 1 1 a x => insert | a x | 1
# From null to anything else, and back to null.
UPDATE 1 1 gone yes => delete | a x gone yes | 2
UPDATE 1 1 gone yes => none | a x gone yes | 2
UPDATE 1 0 NULL 1 gone => insert | a x | 3
UPDATE 1 0 NULL 1 gone => none | a x | 3
SNAPSHOT 1 2 a x gone 1 => delete | a x gone 1 | 4
SNAPSHOT 1 1 a x => insert | a x | 5
# From null to nothing else.
UPDATE 1 1 gone "" => update | a x gone "" | 6
UPDATE 1 1 gone 0 => update | a x gone 0 | 7
UPDATE 1 1 gone false => update | a x gone false | 8
UPDATE 1 1 gone FALSE => update | a x gone FALSE | 9
UPDATE 1 0 NULL 1 gone => update | a x | 10
# From each of them to something, and back to each of them.
UPDATE 1 1 gone "" UPDATE 1 1 gone x => update delete | a x gone x | 12
UPDATE 1 1 gone 0 UPDATE 1 1 gone x => insert delete | a x gone x | 14
UPDATE 1 1 gone False UPDATE 1 1 gone x => insert delete | a x gone x | 16
UPDATE 1 1 gone "" => insert | a x gone "" | 17
# What looks like nothing but is not.
UPDATE 1 1 gone 00 => delete | a x gone 00 | 18
UPDATE 1 1 gone 0.0 => update | a x gone 0.0 | 19
UPDATE 1 1 gone no => update | a x gone no | 20
UPDATE 1 1 gone null => update | a x gone null | 21
UPDATE 1 1 gone \_0 => update | a x gone  0 | 22
UPDATE 1 1 gone \x00 => update | a x gone \x00 | 23
UPDATE 1 1 gone 2026-01-02T03:04:05Z => update | a x gone 2026-01-02T03:04:05Z | 24
# Other fields of an entity that counts as deleted.
UPDATE 1 1 a y => update | a y gone 2026-01-02T03:04:05Z | 25
UPDATE 1 1 GONE 1 => update | a y gone 2026-01-02T03:04:05Z GONE 1 | 26
TOUCH 1 => touch | a y gone 2026-01-02T03:04:05Z GONE 1 | 27
INSERT 1 1 a y => EXISTS entity "1" exists with other values | a y gone 2026-01-02T03:04:05Z GONE 1 | 27
# A real delete is one more.
DELETE 1 => delete | | 28
DELETE 1 => none | | 28
"#,
    ),
    // An entity that comes, or is seeded, flagged.
    (
        "FAKEDELETE gone STREAM s",
        r#"
INSERT 1 2 a x gone 1 => delete | a x gone 1 | 1
INSERT 1 2 a x gone 1 => none | a x gone 1 | 1
UPDATE 1 1 gone 0 => insert | a x gone 0 | 2
DELETE 1 => delete | | 3
SNAPSHOT 1 1 gone 1 => delete | gone 1 | 4
SNAPSHOT 1 0 => insert | @ "" | 5
SNAPSHOT 1 1 gone 1 => delete | gone 1 | 6
DELETE 1 => delete | | 7
SNAPSHOT 1 1 gone 0 => insert | gone 0 | 8
SEED 1 2 gone 1 a x => seed | gone 1 a x | 8
SEED 1 1 gone 1 => seed | gone 1 | 8
UPDATE 1 1 gone "" => insert | gone "" | 9
SEED 1 1 gone 1 => seed | gone 1 | 9
SEED 1 1 gone 0 => seed | gone 0 | 9
UPDATE 1 1 gone 1 => delete | gone 1 | 10
# In one command.
UPDATE 1 1 gone 0 UPDATE 1 1 gone 1 TOUCH 1 DELETE 1 INSERT 1 1 gone 1 SNAPSHOT 1 1 a x
  => insert delete touch delete delete insert | a x | 16
"#,
    ),
    (
        "FAKEDELETE gone TYPES 1 gone int STREAM s",
        r#"
INSERT 1 1 gone -0 => insert | gone 0 | 1
UPDATE 1 1 gone 007 => delete | gone 7 | 2
UPDATE 1 1 gone +7 => none | gone 7 | 2
UPDATE 1 1 gone -1 => update | gone -1 | 3
UPDATE 1 1 gone 00 => insert | gone 0 | 4
UPDATE 1 1 gone 1 => delete | gone 1 | 5
UPDATE 1 0 NULL 1 gone => insert | @ "" | 6
UPDATE 1 1 gone yes => BADVALUE field "gone" takes a 64-bit signed integer, not "yes" | @ "" | 6
"#,
    ),
    (
        "FAKEDELETE gone TYPES 1 gone bool STREAM s",
        r#"
INSERT 1 1 gone FALSE => insert | gone 0 | 1
UPDATE 1 1 gone true => delete | gone 1 | 2
UPDATE 1 1 gone 1 => none | gone 1 | 2
UPDATE 1 1 gone False => insert | gone 0 | 3
UPDATE 1 0 NULL 1 gone => update | @ "" | 4
UPDATE 1 1 gone 1 => delete | gone 1 | 5
"#,
    ),
    (
        "FAKEDELETE gone TYPES 1 gone string STREAM s",
        r#"
INSERT 1 1 gone "" => insert | gone "" | 1
UPDATE 1 1 gone no => delete | gone no | 2
UPDATE 1 1 gone false => insert | gone false | 3
UPDATE 1 1 gone 0 => update | gone 0 | 4
UPDATE 1 1 gone 1 => delete | gone 1 | 5
"#,
    ),
    (
        "FAKEDELETE gone TYPES 1 gone float STREAM s",
        r#"
INSERT 1 1 gone -0.0 => insert | gone 0 | 1
UPDATE 1 1 gone 1e-300 => delete | gone 1e-300 | 2
UPDATE 1 1 gone 0e5 => insert | gone 0 | 3
"#,
    ),
    (
        "FAKEDELETE gone TYPES 1 gone decimal:2 STREAM s",
        r#"
INSERT 1 1 gone -0 => insert | gone 0.00 | 1
UPDATE 1 1 gone 0.01 => delete | gone 0.01 | 2
UPDATE 1 1 gone 0 => insert | gone 0.00 | 3
"#,
    ),
    (
        "FAKEDELETE gone TYPES 1 gone json STREAM s",
        r#"
INSERT 1 1 gone -0.0 => insert | gone 0 | 1
UPDATE 1 1 gone 1.0 => delete | gone 1 | 2
UPDATE 1 1 gone false => insert | gone false | 3
"#,
    ),
    (
        "FAKEDELETE gone TYPES 1 gone time STREAM s",
        r#"
INSERT 1 1 a x => insert | a x | 1
UPDATE 1 1 gone 2026-01-02T03:04:05Z => delete | a x gone 2026-01-02T03:04:05Z | 2
UPDATE 1 1 gone 2026-01-02T03:04:06Z => update | a x gone 2026-01-02T03:04:06Z | 3
UPDATE 1 0 NULL 1 gone => insert | a x | 4
"#,
    ),
    // With VERSION: what is stale turns nothing; a tombstone is left by a real delete only.
    (
        "FAKEDELETE gone VERSION v STREAM s",
        r#"
SNAPSHOT 1 2 v 1 gone 1 => delete | v 1 gone 1 | 1
UPDATE 1 2 v 1 gone 0 => stale | v 1 gone 1 | 1
UPDATE 1 2 v 2 gone 0 => insert | v 2 gone 0 | 2
UPDATE 1 2 v 3 gone 1 => delete | v 3 gone 1 | 3
SNAPSHOT 1 2 v 2 gone 0 => stale | v 3 gone 1 | 3
DELETE 1 1 v 3 => delete | @ 3 | 4
SNAPSHOT 1 2 v 3 gone 0 => stale | @ 3 | 4
SNAPSHOT 1 2 v 4 gone 1 => delete | v 4 gone 1 | 5
SNAPSHOT 1 1 v 5 => insert | v 5 | 6
"#,
    ),
];

#[test]
fn a_field_that_is_set_is_a_delete_and_one_that_is_unset_an_insert() {
    for (declaration, table) in OPERATIONS {
        let (_server, mut redis) = declared(declaration);
        expect_operations(&mut redis, table);
    }
}

/// Lines `operation => event with PAYLOAD KEYS | CHANGES | FULL | IMAGES`.
const PAYLOADS: &str = r#"
INSERT 1 2 a x n 1 => insert | insert
  | insert, changes: {a: [nil x], n: [nil (1)]}
  | insert, after: {a: x, n: (1)}
UPDATE 1 2 gone true a y => delete | delete, changes: {gone: [nil true], a: [x y]}
  | delete, changes: {gone: [nil true], a: [x y]}
  | delete, before: {a: x, n: (1)}, after: {a: y, gone: true, n: (1)}
UPDATE 1 1 n 2 => update | update, changes: {n: [(1) (2)]}
  | update, changes: {n: [(1) (2)]}
  | update, before: {a: y, gone: true, n: (1)}, after: {a: y, gone: true, n: (2)}
# All fields are new to who has seen it deleted.
UPDATE 1 1 gone false => insert | insert
  | insert, changes: {a: [nil y], gone: [nil false], n: [nil (2)]}
  | insert, after: {a: y, gone: false, n: (2)}
SNAPSHOT 1 2 gone 1 b z => delete
  | delete, changes: {gone: [false true], b: [nil z], a: [y nil], n: [(2) nil]}
  | delete, changes: {gone: [false true], b: [nil z], a: [y nil], n: [(2) nil]}
  | delete, before: {a: y, gone: false, n: (2)}, after: {b: z, gone: true}
SNAPSHOT 1 1 b z => insert | insert
  | insert, changes: {b: [nil z]}
  | insert, after: {b: z}
UPDATE 1 1 gone 1 => delete | delete, changes: {gone: [nil true]}
  | delete, changes: {gone: [nil true]}
  | delete, before: {b: z}, after: {b: z, gone: true}
SNAPSHOT 1 0 => insert | insert | insert | insert
UPDATE 1 1 gone 1 => delete | delete, changes: {gone: [nil true]}
  | delete, changes: {gone: [nil true]}
  | delete, after: {gone: true}
# The real one tells what every delete tells.
DELETE 1 => delete | delete
  | delete, changes: {gone: [true nil]}
  | delete, before: {gone: true}
# One that comes flagged was not there before.
INSERT 1 2 a x gone 1 => delete | delete, changes: {a: [nil x], gone: [nil true]}
  | delete, changes: {a: [nil x], gone: [nil true]}
  | delete, after: {a: x, gone: true}
"#;

#[test]
fn the_event_of_a_fake_delete_has_what_changed_and_that_of_a_return_has_everything() {
    let (server, mut redis) = declared(
        "FAKEDELETE gone TYPES 2 gone bool n int STREAM keys PAYLOAD KEYS STREAM changes \
         STREAM full PAYLOAD FULL STREAM images PAYLOAD IMAGES",
    );
    for (operation, expected) in cases(PAYLOADS) {
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let published = ["keys", "changes", "full", "images"].map(|stream| {
            let last = read_all(&server, stream).pop().expect("an event");
            last.replace("entity-id: 1, op: ", "")
        });
        let expected: Vec<&str> = expected.split(" | ").collect();
        assert_eq!(published.as_slice(), expected, "{operation}");
    }
}

/// Lines `operation => streams that get an event of it`.
const WANTED: &str = r#"
INSERT 1 1 a x => i iu
UPDATE 1 1 gone 1 => d
UPDATE 1 1 a y => u iu
UPDATE 1 1 gone 2 => u iu none_gone
UPDATE 1 1 gone 0 => i iu
UPDATE 1 1 gone "" => u iu none_gone
SNAPSHOT 1 1 gone 1 => d
SEED 1 0 => -
SNAPSHOT 1 1 gone 1 => d
DELETE 1 => d
INSERT 1 1 gone 1 => d
"#;

#[test]
fn a_stream_gets_fake_deletes_and_returns_by_its_letters_as_it_gets_real_ones() {
    const STREAMS: [&str; 5] = ["i", "u", "d", "iu", "none_gone"];
    let (_server, mut redis) = declared(
        "FAKEDELETE gone STREAM i OPS I STREAM u OPS U STREAM d OPS D STREAM iu OPS IU \
         STREAM none_gone OPS NONE FIELDS 1 gone",
    );
    for (operation, wanted) in cases(WANTED) {
        redis.run(&format!("DEL {}", STREAMS.join(" ")));
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let mut got = STREAMS.to_vec();
        got.retain(|stream| redis.run(&format!("XLEN {stream}")) == "(1)");
        assert_eq!(got.join(" "), wanted.replace('-', ""), "{operation}");
    }
}

#[test]
fn with_events_the_reply_names_what_turned() {
    let (_server, mut redis) = declared("FAKEDELETE gone STREAM s OPS U");
    redis.expect(
        r#"
DIRTY.FLUSH user WITHEVENTS INSERT 1 2 a x gone 1 UPDATE 1 1 gone 0 SNAPSHOT 1 2 a y gone 1
  => [[delete [a gone] []] [insert [gone] []] [delete [a gone] []]]
"#,
    );
}

#[test]
fn of_a_stateless_type_the_old_and_new_values_say_what_turned() {
    let (server, mut redis) = declared(
        "STATELESS FAKEDELETE gone TYPES 1 gone bool STREAM s STREAM full PAYLOAD FULL STREAM images PAYLOAD IMAGES",
    );
    redis.expect(
        r#"
DIRTY.FLUSH user INSERT 1 2 a x gone 0 => [insert]
DIRTY.FLUSH user UPDATE 1 2 a x y gone false true => [delete]
DIRTY.FLUSH user UPDATE 1 1 gone true 1 => [none]
DIRTY.FLUSH user UPDATE 1 1 a x y => [update]
DIRTY.FLUSH user UPDATE 1 2 a x y gone true 0 => [insert]
DIRTY.FLUSH user INSERT 1 2 a x gone 1 => [delete]
DIRTY.FLUSH user DELETE 1 1 gone 1 => [delete]
DIRTY.FLUSH user DELETE 1 1 gone 0 => [delete]
"#,
    );
    let read = |stream| {
        read_all(&server, stream)
            .join("\n")
            .replace("entity-id: 1, op: ", "")
    };
    assert_eq!(
        read("s"),
        "insert\n\
         delete, changes: {a: [x y], gone: [false true]}\n\
         update, changes: {a: [x y]}\n\
         insert\n\
         delete, changes: {a: [nil x], gone: [nil true]}\n\
         delete\n\
         delete"
    );
    assert_eq!(
        read("full"),
        "insert, changes: {a: [nil x], gone: [nil false]}\n\
         delete, changes: {a: [x y], gone: [false true]}\n\
         update, changes: {a: [x y]}\n\
         insert, changes: {a: [nil y], gone: [nil false]}\n\
         delete, changes: {a: [nil x], gone: [nil true]}\n\
         delete, changes: {gone: [true nil]}\n\
         delete, changes: {gone: [false nil]}"
    );
    assert_eq!(
        read("images"),
        "insert, after: {a: x, gone: false}\n\
         delete, before: {a: x, gone: false}, after: {a: y, gone: true}\n\
         update, before: {a: x}, after: {a: y}\n\
         insert, after: {a: y, gone: false}\n\
         delete, after: {a: x, gone: true}\n\
         delete, before: {gone: true}\n\
         delete, before: {gone: false}"
    );
}

#[test]
fn who_folds_the_events_has_the_entities_that_are_not_flagged() {
    let (server, mut redis) = declared("FAKEDELETE gone STREAM s PAYLOAD FULL");
    for operations in [
        "INSERT 1 2 a x b y INSERT 2 1 a x INSERT 3 2 a x gone 1",
        "UPDATE 1 1 gone 1 UPDATE 2 2 gone 1 a y",
        "UPDATE 2 1 gone 0 UPDATE 3 2 gone 0 b z",
        "UPDATE 2 1 gone 1",
        "SNAPSHOT 1 3 a z b y c w DELETE 2",
    ] {
        redis.run(&format!("DIRTY.FLUSH user {operations}"));
    }
    let events = read_all(&server, "s");
    let last = |id: u8| {
        let mut events = events.iter().rev();
        events
            .find(|event| event.starts_with(&format!("entity-id: {id},")))
            .expect("an event")
    };
    assert_eq!(
        last(1),
        "entity-id: 1, op: insert, changes: {a: [nil z], b: [nil y], c: [nil w]}"
    );
    assert_eq!(
        last(2),
        "entity-id: 2, op: delete, changes: {a: [y nil], gone: [1 nil]}"
    );
    assert_eq!(
        last(3),
        "entity-id: 3, op: insert, changes: {a: [nil x], b: [nil z], gone: [nil 0]}"
    );
}
