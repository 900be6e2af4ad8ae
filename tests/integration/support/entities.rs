//! Entity types: declared, and flushed by tables of operations.

use super::{Conn, Server, cases, text};
use redis::Value;

/// A server with the entity type `user`.
pub fn declared(declaration: &str) -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    let declare = format!("DIRTY.DECLARE user {declaration}");
    assert_eq!(redis.run(&declare), "OK", "{declare}");
    (server, redis)
}

/// Lines `operations => effects or an error | fields of entity 1 afterwards | events in the stream
/// afterwards`. The entity exists if it has fields, be it the marker alone; a marker with a version in it
/// is a deleted one's.
pub fn expect_operations(redis: &mut Conn, table: &str) {
    for (operations, outcome) in cases(table) {
        let outcome: Vec<&str> = outcome.split('|').map(str::trim).collect();
        let [effects, fields, events] = outcome.as_slice() else {
            panic!("{operations}: {outcome:?}");
        };
        let expected = match effects.starts_with(char::is_uppercase) {
            true => effects.to_string(),
            false => format!("[{effects}]"),
        };
        let reply = redis.run(&format!("DIRTY.FLUSH user {operations}"));
        assert_eq!(reply, expected, "{operations}");
        let hash = redis.run("HGETALL user:1");
        assert_eq!(hash, format!("[{fields}]"), "{operations}");
        assert_eq!(redis.run("XLEN s"), format!("({events})"), "{operations}");
        let exists = redis.run("DIRTY.GET user 1") != "[nil]";
        let tombstone = fields.starts_with("@ ") && *fields != "@ \"\"";
        assert_eq!(exists, !fields.is_empty() && !tombstone, "{operations}");
    }
}

pub fn started() -> (Server, Conn) {
    let server = Server::start();
    let redis = server.connect();
    (server, redis)
}

pub fn names_of_type(redis: &mut Conn, kind: &str) -> Vec<String> {
    let found = redis.value(&["SCAN", "0", "COUNT", "1000", "TYPE", kind]);
    let Value::Array(found) = found else {
        panic!("{found:?}");
    };
    let [_, Value::Array(names)] = found.as_slice() else {
        panic!("{found:?}");
    };
    let mut names: Vec<String> = names.iter().map(text).collect();
    names.sort();
    names
}

/// Declarations that are hard to keep: odd names, every option, sizes.
pub const HARD_ONES: &str = r#"
DIRTY.DECLARE plain STREAM s => OK
DIRTY.DECLARE full NAME n PREFIX p TYPES 2 a int b json REVISION 9223372036854775807
  STREAM s OPS DI FIELDS 2 x y MAXLEN ~ 5 PAYLOAD FULL STREAM t OPS NONE DB 3 MAXLEN = 0 PAYLOAD KEYS => OK
DIRTY.DECLARE \x00\xff\x0d\x0a NAME \x00 PREFIX \xff STREAM \x0d\x0a FIELDS 2 \xff \x00 => OK
DIRTY.DECLARE revised REVISION 0 STREAM s OPS NONE FIELDS 1 a => OK
DIRTY.DECLARE words NAME STREAM PREFIX NAME TYPES 1 TYPES int STREAM STREAM FIELDS 1 OPS => OK
DIRTY.DECLARE tags TAGS 2 ID dirty=All,New:add|delete Age dirty=Age => OK
"#;
