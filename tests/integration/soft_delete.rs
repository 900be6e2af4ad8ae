//! SOFTDELETE: an entity whose flag is set is stored, and does not exist for readers.

use super::support::entities::{declared, expect_operations};
use super::support::readers::read_all;
use super::support::replication::{AOF, appended};
use super::support::{Server, cases, text};
use redis::Value;

/// Tables of `expect_operations`, each with what is declared before it on an empty server.
const OPERATIONS: &[(&str, &str)] = &[
    (
        "SOFTDELETE gone STREAM s",
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
UPDATE 1 1 gone no => delete | a x gone no | 18
UPDATE 1 1 gone null => hidden | a x gone null | 18
UPDATE 1 1 gone \_0 => hidden | a x gone  0 | 18
UPDATE 1 1 gone \x00 => hidden | a x gone \x00 | 18
UPDATE 1 1 gone 2026-01-02T03:04:05Z => hidden | a x gone 2026-01-02T03:04:05Z | 18
# Other fields of an entity that does not exist for readers.
UPDATE 1 1 a y => hidden | a y gone 2026-01-02T03:04:05Z | 18
UPDATE 1 1 GONE 1 => hidden | a y gone 2026-01-02T03:04:05Z GONE 1 | 18
TOUCH 1 => none | a y gone 2026-01-02T03:04:05Z GONE 1 | 18
INSERT 1 1 a y => EXISTS entity "1" exists with other values | a y gone 2026-01-02T03:04:05Z GONE 1 | 18
# Zero is zero in any notation, whatever its type.
UPDATE 1 1 gone 00 UPDATE 1 1 gone no => insert delete | a y gone no GONE 1 | 20
UPDATE 1 1 gone -0.0e7 UPDATE 1 1 gone 0.01 => insert delete | a y gone 0.01 GONE 1 | 22
UPDATE 1 JSON {"gone":0.0} UPDATE 1 JSON {"gone":true} => insert delete | a y gone 1 GONE 1 | 24
UPDATE 1 JSON {"gone":false} UPDATE 1 JSON {"gone":1e-400} => insert delete | a y gone 1e-400 GONE 1 | 26
# They have seen it go.
DELETE 1 => hidden | | 26
DELETE 1 => none | | 26
"#,
    ),
    // An entity that comes, or is seeded, flagged.
    (
        "SOFTDELETE gone STREAM s",
        r#"
INSERT 1 2 a x gone 1 => hidden | a x gone 1 | 0
INSERT 1 2 a x gone 1 => none | a x gone 1 | 0
UPDATE 1 1 gone 0 => insert | a x gone 0 | 1
DELETE 1 => delete | | 2
SNAPSHOT 1 1 gone 1 => hidden | gone 1 | 2
SNAPSHOT 1 0 => insert | @ "" | 3
SNAPSHOT 1 1 gone 1 => delete | gone 1 | 4
DELETE 1 => hidden | | 4
SNAPSHOT 1 1 gone 0 => insert | gone 0 | 5
# A SEED that nobody could be told of is refused; one that readers see nothing of is not.
SEED 1 2 gone 1 a x => ERR SEED cannot turn the field "gone" of SOFTDELETE: readers would not learn that entity "1" comes or goes; use SNAPSHOT | gone 0 | 5
SEED 1 2 gone false a x => seed | gone false a x | 5
SEED 1 0 => seed | @ "" | 5
UPDATE 1 1 gone 1 => delete | gone 1 | 6
SEED 1 1 gone 0 => ERR SEED cannot turn the field "gone" of SOFTDELETE: readers would not learn that entity "1" comes or goes; use SNAPSHOT | gone 1 | 6
SEED 1 0 => ERR SEED cannot turn the field "gone" of SOFTDELETE: readers would not learn that entity "1" comes or goes; use SNAPSHOT | gone 1 | 6
SEED 1 2 gone yes a x => seed | gone yes a x | 6
FORCE SEED 1 1 a x => ERR SEED cannot turn the field "gone" of SOFTDELETE: readers would not learn that entity "1" comes or goes; use SNAPSHOT | gone yes a x | 6
UPDATE 1 1 gone 0 SEED 1 1 gone 1 => ERR SEED cannot turn the field "gone" of SOFTDELETE: readers would not learn that entity "1" comes or goes; use SNAPSHOT | gone yes a x | 6
DELETE 1 SEED 1 1 gone 1 => hidden seed | gone 1 | 6
# In one command.
UPDATE 1 1 gone 0 UPDATE 1 1 gone 1 TOUCH 1 DELETE 1 INSERT 1 1 gone 1 SNAPSHOT 1 1 a x
  => insert delete none hidden hidden insert | a x | 9
"#,
    ),
    (
        "SOFTDELETE gone TYPES 1 gone int STREAM s",
        r#"
INSERT 1 1 gone -0 => insert | gone 0 | 1
UPDATE 1 1 gone 007 => delete | gone 7 | 2
UPDATE 1 1 gone +7 => none | gone 7 | 2
UPDATE 1 1 gone -1 => hidden | gone -1 | 2
UPDATE 1 1 gone 00 => insert | gone 0 | 3
UPDATE 1 1 gone 1 => delete | gone 1 | 4
UPDATE 1 0 NULL 1 gone => insert | @ "" | 5
UPDATE 1 1 gone yes => BADVALUE field "gone" takes a 64-bit signed integer, not "yes" | @ "" | 5
"#,
    ),
    (
        "SOFTDELETE gone TYPES 1 gone bool STREAM s",
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
        "SOFTDELETE gone TYPES 1 gone string STREAM s",
        r#"
INSERT 1 1 gone "" => insert | gone "" | 1
UPDATE 1 1 gone no => delete | gone no | 2
UPDATE 1 1 gone false => insert | gone false | 3
UPDATE 1 1 gone 0 => update | gone 0 | 4
UPDATE 1 1 gone 1 => delete | gone 1 | 5
UPDATE 1 1 gone 0.0 => insert | gone 0.0 | 6
"#,
    ),
    (
        "SOFTDELETE gone TYPES 1 gone float STREAM s",
        r#"
INSERT 1 1 gone -0.0 => insert | gone 0 | 1
UPDATE 1 1 gone 1e-300 => delete | gone 1e-300 | 2
UPDATE 1 1 gone 0e5 => insert | gone 0 | 3
"#,
    ),
    (
        "SOFTDELETE gone TYPES 1 gone decimal:2 STREAM s",
        r#"
INSERT 1 1 gone -0 => insert | gone 0.00 | 1
UPDATE 1 1 gone 0.01 => delete | gone 0.01 | 2
UPDATE 1 1 gone 0 => insert | gone 0.00 | 3
"#,
    ),
    (
        "SOFTDELETE gone TYPES 1 gone json STREAM s",
        r#"
INSERT 1 1 gone -0.0 => insert | gone 0 | 1
UPDATE 1 1 gone 1.0 => delete | gone 1 | 2
UPDATE 1 1 gone false => insert | gone false | 3
UPDATE 1 1 gone {} => delete | gone {} | 4
UPDATE 1 JSON {"gone":""} => insert | gone \"\" | 5
UPDATE 1 1 gone null => update | gone null | 6
UPDATE 1 JSON {"gone":"0"} => delete | gone \"0\" | 7
"#,
    ),
    (
        "SOFTDELETE gone TYPES 1 gone time STREAM s",
        r#"
INSERT 1 1 a x => insert | a x | 1
UPDATE 1 1 gone 2026-01-02T03:04:05Z => delete | a x gone 2026-01-02T03:04:05Z | 2
UPDATE 1 1 gone 2026-01-02T03:04:06Z => hidden | a x gone 2026-01-02T03:04:06Z | 2
UPDATE 1 0 NULL 1 gone => insert | a x | 3
"#,
    ),
    // With VERSION: what is stale turns nothing; a tombstone is left by a real delete only.
    (
        "SOFTDELETE gone VERSION v STREAM s",
        r#"
SNAPSHOT 1 2 v 1 gone 1 => hidden | v 1 gone 1 | 0
UPDATE 1 2 v 1 gone 0 => conflict | v 1 gone 1 | 0
UPDATE 1 2 v 2 gone 0 => insert | v 2 gone 0 | 1
UPDATE 1 2 v 3 gone 1 => delete | v 3 gone 1 | 2
SNAPSHOT 1 2 v 2 gone 0 => stale | v 3 gone 1 | 2
# What is not applied turns nothing.
SEED 1 2 v 2 gone 0 => stale | v 3 gone 1 | 2
SEED 1 2 v 3 gone 0 => conflict | v 3 gone 1 | 2
UPDATE 1 1 v 4 => hidden | v 4 gone 1 | 2
DELETE 1 1 v 3 => stale | v 4 gone 1 | 2
DELETE 1 1 v 4 => hidden | @ 4 | 2
SNAPSHOT 1 2 v 4 gone 0 => stale | @ 4 | 2
SNAPSHOT 1 2 v 5 gone 1 => hidden | v 5 gone 1 | 2
FORCE SNAPSHOT 1 1 v 5 => insert | v 5 | 3
FORCE UPDATE 1 2 v 5 gone 1 => delete | v 5 gone 1 | 4
FORCE DELETE 1 1 v 1 => hidden | @ 1 | 4
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

/// Lines `operation => event with PAYLOAD KEYS | CHANGES | FULL | IMAGES`; none where they get nothing.
const PAYLOADS: &str = r#"
INSERT 1 2 a x n 1 => insert | insert
  | insert, changes: {a: [nil x], n: [nil (1)]}
  | insert, after: {a: x, n: (1)}
# A delete like any other: of the last image that readers have seen.
UPDATE 1 2 gone true a y => delete | delete
  | delete, changes: {a: [x nil], n: [(1) nil]}
  | delete, before: {a: x, n: (1)}
UPDATE 1 1 n 2 => -
# All fields are new to a reader that has seen it deleted.
UPDATE 1 1 gone false => insert | insert, changes: {a: [nil y], gone: [nil false], n: [nil (2)]}
  | insert, changes: {a: [nil y], gone: [nil false], n: [nil (2)]}
  | insert, after: {a: y, gone: false, n: (2)}
SNAPSHOT 1 2 gone 1 b z => delete | delete
  | delete, changes: {a: [y nil], gone: [false nil], n: [(2) nil]}
  | delete, before: {a: y, gone: false, n: (2)}
SNAPSHOT 1 1 b z => insert | insert, changes: {b: [nil z]}
  | insert, changes: {b: [nil z]}
  | insert, after: {b: z}
UPDATE 1 1 gone 1 => delete | delete
  | delete, changes: {b: [z nil]}
  | delete, before: {b: z}
SNAPSHOT 1 0 => insert | insert | insert | insert
UPDATE 1 1 gone 1 => delete | delete | delete | delete
TOUCH 1 => -
DELETE 1 => -
INSERT 1 2 a x gone 1 => -
UPDATE 1 2 a y gone 0 => insert | insert, changes: {a: [nil y], gone: [nil false]}
  | insert, changes: {a: [nil y], gone: [nil false]}
  | insert, after: {a: y, gone: false}
"#;

#[test]
fn setting_the_flag_is_a_delete_and_clearing_it_an_insert_of_everything() {
    const STREAMS: [&str; 4] = ["keys", "changes", "full", "images"];
    let (server, mut redis) = declared(
        "SOFTDELETE gone TYPES 2 gone bool n int STREAM keys PAYLOAD KEYS STREAM changes \
         STREAM full PAYLOAD FULL STREAM images PAYLOAD IMAGES",
    );
    for (operation, expected) in cases(PAYLOADS) {
        redis.run(&format!("DEL {}", STREAMS.join(" ")));
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let published = STREAMS.map(|stream| read_all(&server, stream).join(", "));
        let published = published.map(|events| events.replace("entity-id: 1, op: ", ""));
        let expected: Vec<&str> = match expected.as_str() {
            "-" => vec![""; STREAMS.len()],
            events => events.split(" | ").collect(),
        };
        assert_eq!(published.as_slice(), expected, "{operation}");
    }
}

/// Lines `operation => streams that get an event of it`.
const WANTED: &str = r#"
INSERT 1 1 a x => i iu
UPDATE 1 1 gone 1 => d
UPDATE 1 1 a y => -
UPDATE 1 1 gone 2 => -
TOUCH 1 => -
UPDATE 1 1 gone 0 => i iu
UPDATE 1 1 gone "" => u iu none_gone
TOUCH 1 => u iu none_gone
SNAPSHOT 1 1 gone 1 => d
DELETE 1 => -
INSERT 1 1 gone 1 => -
SNAPSHOT 1 0 => i iu
DELETE 1 => d
"#;

#[test]
fn a_stream_gets_what_turned_by_its_letters_as_it_gets_any_insert_and_delete() {
    const STREAMS: [&str; 5] = ["i", "u", "d", "iu", "none_gone"];
    let (_server, mut redis) = declared(
        "SOFTDELETE gone STREAM i OPS I STREAM u OPS U STREAM d OPS D STREAM iu OPS IU \
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
    let (_server, mut redis) = declared("SOFTDELETE gone STREAM s OPS U");
    redis.expect(
        r#"
DIRTY.FLUSH user WITHEVENTS INSERT 1 2 a x gone 1 UPDATE 1 1 gone 0 SNAPSHOT 1 2 a y gone 1
  => [[hidden [a gone] []] [insert [gone] []] [delete [a gone] []]]
DIRTY.FLUSH user WITHEVENTS UPDATE 1 1 a z DELETE 1 => [[hidden [a] []] [hidden [a gone] []]]
"#,
    );
}

#[test]
fn of_a_stateless_type_the_old_and_new_values_say_what_turned() {
    let (server, mut redis) = declared(
        "STATELESS SOFTDELETE gone TYPES 1 gone bool STREAM s STREAM full PAYLOAD FULL STREAM images PAYLOAD IMAGES",
    );
    redis.expect(
        r#"
DIRTY.FLUSH user INSERT 1 2 a x gone 0 => [insert]
DIRTY.FLUSH user UPDATE 1 2 a x y gone false true => [delete]
DIRTY.FLUSH user UPDATE 1 1 gone true 1 => [none]
DIRTY.FLUSH user UPDATE 1 1 a x y => [update]
DIRTY.FLUSH user UPDATE 1 2 a x y gone true 0 => [insert]
DIRTY.FLUSH user UPDATE 1 2 a x y gone true 1 => [hidden]
DIRTY.FLUSH user UPDATE 1 JSON {"a":"x"} {"a":"y","gone":1} => [delete]
DIRTY.FLUSH user INSERT 1 2 a x gone 1 => [hidden]
DIRTY.FLUSH user DELETE 1 1 gone 1 => [hidden]
DIRTY.FLUSH user DELETE 1 1 gone 0 => [delete]
DIRTY.FLUSH user TOUCH 1 => [touch]
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
         delete\n\
         update, changes: {a: [x y]}\n\
         insert, changes: {a: [nil y], gone: [nil false]}\n\
         delete\n\
         delete\n\
         update"
    );
    assert_eq!(
        read("full"),
        "insert, changes: {a: [nil x], gone: [nil false]}\n\
         delete, changes: {a: [x nil], gone: [false nil]}\n\
         update, changes: {a: [x y]}\n\
         insert, changes: {a: [nil y], gone: [nil false]}\n\
         delete, changes: {a: [x nil]}\n\
         delete, changes: {gone: [false nil]}\n\
         update"
    );
    assert_eq!(
        read("images"),
        "insert, after: {a: x, gone: false}\n\
         delete, before: {a: x, gone: false}\n\
         update, before: {a: x}, after: {a: y}\n\
         insert, after: {a: y, gone: false}\n\
         delete, before: {a: x}\n\
         delete, before: {gone: false}\n\
         update"
    );
}

#[test]
fn a_reader_that_folds_the_events_has_the_entities_that_are_not_flagged() {
    let (server, mut redis) = declared("SOFTDELETE gone STREAM s PAYLOAD FULL");
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
        "entity-id: 2, op: delete, changes: {a: [y nil], gone: [0 nil]}"
    );
    assert_eq!(
        last(3),
        "entity-id: 3, op: insert, changes: {a: [nil x], b: [nil z], gone: [nil 0]}"
    );
}

/// Lines `operation => effect | what FORMAT FLUXAORM1 gets of it | what FORMAT DEBEZIUM gets`, as the library's own
/// entries are: S135 to S147 of its story. `ID` is left out.
const LIBRARY: &str = r#"
INSERT 201 3 Age 3 Name Ann FakeDelete false => insert | add Age 3 FakeDelete c2 Name Ann | c
UPDATE 201 1 Name Bea => update | edit Name Bea | u
UPDATE 201 1 FakeDelete true => delete | delete FakeDelete 201 | d
UPDATE 201 1 FakeDelete true => none | - | -
UPDATE 201 1 Age 4 => hidden | edit Age 4 | -
UPDATE 201 1 FakeDelete false => insert | edit FakeDelete 0 | c
UPDATE 201 2 FakeDelete true Name Cleo => delete | delete FakeDelete 201 Name Cleo | d
TOUCH 201 => none | edit Age 4 FakeDelete c3 Name Cleo | -
UPDATE 201 2 FakeDelete false Name Dora => insert | edit FakeDelete 0 Name Dora | c
UPDATE 201 1 FakeDelete true => delete | delete FakeDelete 201 | d
UPDATE 201 0 NULL 1 FakeDelete => insert | edit FakeDelete 0 | c
DELETE 201 => delete | delete Age 4 FakeDelete 192 Name Dora | d
INSERT 202 3 Age 0 Name Eve FakeDelete true => hidden | add Age 0 FakeDelete c3 Name Eve | -
DELETE 202 => hidden | delete Age 0 FakeDelete c3 Name Eve | -
"#;

/// The fields of each entry.
fn entries(reply: &Value) -> Vec<Vec<Value>> {
    let Value::Array(entries) = reply else {
        panic!("no entries");
    };
    let fields = entries.iter().map(|entry| match entry {
        Value::Array(parts) => match &parts[1] {
            Value::Array(fields) => fields.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    });
    fields.collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

/// The keys and values of a map of MessagePack, by name; bools as their bytes.
fn bind(bytes: &[u8]) -> String {
    let mut rest = &bytes[1..];
    let mut texts = Vec::new();
    while let Some((first, behind)) = rest.split_first() {
        let (text, length) = match *first {
            0xa0..=0xbf => {
                let length = usize::from(first & 0x1f);
                (behind[..length].escape_ascii().to_string(), length)
            }
            0xcc => (behind[0].to_string(), 1),
            0xc2 | 0xc3 => (format!("{first:x}"), 0),
            number => (number.to_string(), 0),
        };
        texts.push(text);
        rest = &behind[length..];
    }
    let mut pairs: Vec<String> = texts.chunks(2).map(|pair| pair.join(" ")).collect();
    pairs.sort();
    pairs.join(" ")
}

#[test]
fn a_stream_of_fluxaorm_1_gets_all_of_it_as_the_library_sends_it() {
    let (server, mut redis) = declared(
        "SOFTDELETE FakeDelete TYPES 2 Age uint FakeDelete bool STREAM library FORMAT FLUXAORM1 \
         STREAM debezium FORMAT DEBEZIUM",
    );
    for (operation, expected) in cases(LIBRARY) {
        redis.run("DEL library debezium");
        let effect = redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let library = redis.ok(&["XRANGE", "library", "-", "+"]);
        let library = match &entries(&library)[..] {
            [] => "-".to_string(),
            [fields] => format!("{} {}", text(&fields[3]), bind(&bytes(&fields[1]))),
            more => panic!("{more:?}"),
        };
        let debezium = redis.run("XRANGE debezium - +").replace('\\', "");
        let debezium = debezium
            .split_once("\"op\":\"")
            .map_or("-", |(_, op)| &op[..1]);
        let sorted = |line: &str| {
            let mut parts: Vec<String> = line.split(" | ").map(String::from).collect();
            let mut words: Vec<&str> = parts[1].split(' ').collect();
            let action = words.remove(0);
            let mut pairs: Vec<String> = words.chunks(2).map(|pair| pair.join(" ")).collect();
            pairs.retain(|pair| !pair.starts_with("ID "));
            pairs.sort();
            parts[1] = format!("{action} {}", pairs.join(" "));
            parts.join(" | ")
        };
        let got = format!(
            "{} | {library} | {debezium}",
            effect.trim_matches(['[', ']'])
        );
        assert_eq!(sorted(&got), sorted(&expected), "{operation}");
    }
    drop(server);
}

/// Lines `operation => before and after of the event in FORMAT DEBEZIUM`.
const IMAGES: &str = r#"
INSERT 1 1 a x => "before":null,"after":{"a":"x"}
UPDATE 1 2 a y gone 1 => "before":{"a":"x"},"after":null
UPDATE 1 1 gone 0 => "before":null,"after":{"a":"y","gone":"0"}
SNAPSHOT 1 1 gone 1 => "before":{"a":"y","gone":"0"},"after":null
"#;

#[test]
fn debezium_has_no_image_after_a_delete_and_none_before_an_insert() {
    let (_server, mut redis) = declared("SOFTDELETE gone STREAM s FORMAT DEBEZIUM");
    for (operation, expected) in cases(IMAGES) {
        redis.run("DEL s");
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let entry = redis.run("XRANGE s - +").replace('\\', "");
        assert!(
            entry.contains(&format!("{{{expected},")),
            "{operation}: {entry}"
        );
    }
}

#[test]
fn what_readers_are_not_told_is_replicated_without_an_event() {
    let server = Server::with(&AOF);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user SOFTDELETE gone STREAM s PAYLOAD KEYS");
    let (_, mut start) = appended(&server, 0);
    for (operation, expected) in [
        ("INSERT 1 2 a x gone 1", vec!["HSET user:1 a x gone 1"]),
        ("UPDATE 1 1 a y", vec!["HSET user:1 a y"]),
        ("TOUCH 1", vec![]),
        ("SEED 1 1 a x", vec![]),
        ("DRYRUN UPDATE 1 1 gone 0", vec![]),
        (
            "UPDATE 1 1 gone 0",
            vec!["MULTI", "HSET user:1 gone 0", "XADD s ms-1 s BYTES", "EXEC"],
        ),
        (
            "UPDATE 1 1 gone 1",
            vec!["MULTI", "HSET user:1 gone 1", "XADD s ms-2 s BYTES", "EXEC"],
        ),
        ("DELETE 1", vec!["DEL user:1"]),
    ] {
        redis.run(&format!("DIRTY.FLUSH user {operation}"));
        let (commands, end) = appended(&server, start);
        assert_eq!(commands, expected, "{operation}");
        start = end;
    }
}

#[test]
fn declared_over_rows_that_are_marked_already_it_publishes_nothing() {
    let (_server, mut redis) = declared("STREAM s");
    redis.expect(
        r#"
DIRTY.FLUSH user INSERT 1 1 gone 1 => [insert]
DIRTY.DECLARE user SOFTDELETE gone STREAM s => OK
XLEN s => (1)
DIRTY.FLUSH user SNAPSHOT 1 1 gone 1 => [none]
DIRTY.FLUSH user UPDATE 1 1 a x => [hidden]
XLEN s => (1)
DIRTY.GET user 1 => [[gone 1 a x]]
DIRTY.FLUSH user UPDATE 1 1 gone 0 => [insert]
XLEN s => (2)
"#,
    );
}
