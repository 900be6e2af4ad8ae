//! RAW and JSON.

use crate::support::readers::field;
use crate::support::story::Story;
use crate::support::{Conn, Server, words};
use redis::Value;

#[test]
fn events_come_decoded_raw_or_as_json() {
    let mut story = Story::begin();
    let redis = &mut story.redis;
    redis.ok(&[
        "DIRTY.DECLARE",
        "t",
        "TYPES",
        "1",
        "n",
        "int",
        "STREAM",
        "s",
        "PAYLOAD",
        "FULL",
    ]);
    redis.ok(&[
        "DIRTY.FLUSH",
        "t",
        "META",
        "1",
        "m",
        "x",
        "SNAPSHOT",
        "1",
        "1",
        "n",
        "7",
    ]);
    redis.run("DIRTY.FLUSH t SNAPSHOT \\xff 1 n 7");
    redis.run("XADD s 9999999999999-1 a b a c");
    let all = crate::support::text(&redis.ok(&["DIRTY.READ", "s", "FROM", "0"]));
    assert!(
        all.contains("entity t entity-id 1 op insert changes [n [nil (7)]] meta [m x]"),
        "{all}"
    );
    assert!(
        all.contains("[id 9999999999999-1 fields [a b a c]]"),
        "{all}"
    );
    let raw = crate::support::text(&redis.ok(&["DIRTY.READ", "s", "FROM", "0", "RAW"]));
    assert_eq!(raw.matches("fields [s ").count(), 2, "{raw}");
    let json = crate::support::text(&redis.ok(&["DIRTY.READ", "s", "FROM", "0", "JSON"]));
    for part in [
        r#"\"entity\":\"t\",\"entity-id\":\"1\",\"op\":\"insert\",\"changes\":{\"n\":[null,7]},\"meta\":{\"m\":\"x\"}}"#,
        r#"\"base64\":{"#,
        r#"{\"id\":\"9999999999999-1\",\"fields\":[\"a\",\"b\",\"a\",\"c\"]}"#,
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
}

#[test]
fn snapshots_come_typed_raw_or_as_json() {
    let server = Server::start();
    let mut redis = server.connect_resp3();
    redis.expect(
        r#"
DIRTY.DECLARE t TYPES 3 n int b bool j json STREAM s => OK
DIRTY.FLUSH t SNAPSHOT 7 4 n 07 b true j {"a":[1.0]} s x"y => [insert]
DIRTY.FLUSH t SNAPSHOT raw 1 s \xff => [insert]
DIRTY.FLUSH t SNAPSHOT \xfe 1 s x => [insert]
DIRTY.FLUSH t SNAPSHOT json 1 n 5 => [insert]
DIRTY.FLUSH t SNAPSHOT empty 0 => [insert]
DIRTY.GET t typed 7 => [{n: (7), b: true, j: {\"a\":[1]}, s: x\"y}]
DIRTY.GET t Raw 7 none => [{n: 7, b: 1, j: {\"a\":[1]}, s: x\"y} nil]
DIRTY.GET t RAW raw => [{s: \xff}]
DIRTY.GET t JSON 7 => [{\"n\":7,\"b\":true,\"j\":{\"a\":[1]},\"s\":\"x\\\"y\"}]
DIRTY.GET t JSON none => [nil]
DIRTY.GET t json empty 7 none => [{} {\"n\":7,\"b\":true,\"j\":{\"a\":[1]},\"s\":\"x\\\"y\"} nil]
DIRTY.GET t JSON 7 raw \xfe => [{\"n\":7,\"b\":true,\"j\":{\"a\":[1]},\"s\":\"x\\\"y\"} {\"id\":\"raw\",\"base64\":{\"s\":\"/w==\"}} {\"s\":\"x\"}]
# Of one id nobody expects another form.
DIRTY.GET t JSON raw => BADVALUE entity "raw" is not UTF-8, as JSON must be; use RAW
# The last word is an id, and so is what stands behind a form.
DIRTY.GET t json => [{n: (5)}]
DIRTY.GET t json json => [{\"n\":5}]
DIRTY.GET t TYPED json 7 => [{n: (5)} {n: (7), b: true, j: {\"a\":[1]}, s: x\"y}]
DIRTY.GET t 7 json => [{n: (7), b: true, j: {\"a\":[1]}, s: x\"y} {n: (5)}]
# SCAN has the same forms, of whatever is there.
DIRTY.FLUSH t DELETE 7 DELETE json DELETE empty DELETE \xfe => [delete delete delete delete]
DIRTY.SCAN t 0 => [0 [[raw {s: \xff}]]]
DIRTY.SCAN t 0 raw => [0 [[raw {s: \xff}]]]
DIRTY.SCAN t 0 COUNT 5 JSON => [0 [[raw {\"id\":\"raw\",\"base64\":{\"s\":\"/w==\"}}]]]
DIRTY.FLUSH t DELETE raw SNAPSHOT json 2 n 05 b 1 => [delete insert]
DIRTY.SCAN t 0 => [0 [[json {n: (5), b: true}]]]
DIRTY.SCAN t 0 RAW => [0 [[json {n: 5, b: 1}]]]
DIRTY.SCAN t 0 JSON => [0 [[json {\"n\":5,\"b\":true}]]]
"#,
    );
    // In RESP2 there are the same texts.
    let mut redis = server.connect();
    redis.expect(
        r#"
DIRTY.GET t JSON json none => [{\"n\":5,\"b\":true} nil]
DIRTY.GET t RAW json => [[n 5 b 1]]
DIRTY.SCAN t 0 JSON => [0 [[json {\"n\":5,\"b\":true}]]]
DIRTY.SCAN t 0 => [0 [[json [n (5) b (1)]]]]
"#,
    );
}

/// The parts of a reply as they are on the wire.
#[test]
fn more_is_a_boolean_and_what_nobody_knows_is_null_in_both_protocols() {
    let mut story = Story::with(&["1", "2"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
",
    );
    let mut resp3 = story.server.connect_resp3();
    let part = |redis: &mut Conn, command: &str, name: &str| {
        let reply = redis.value(&words(command));
        field(&reply, name).unwrap_or_else(|| panic!("{name} of {command}"))
    };
    let redis = &mut story.redis;
    let consume = "DIRTY.CONSUME s GROUP g a COUNT 1";
    let follow = "DIRTY.CONSUME s CURSOR c COUNT";
    for (command, resp2_more, resp3_more) in [
        (format!("{follow} 1"), Value::Int(1), Value::Boolean(true)),
        (format!("{follow} 9"), Value::Int(0), Value::Boolean(false)),
    ] {
        assert_eq!(part(redis, &command, "more"), resp2_more);
        assert_eq!(part(&mut resp3, &command, "more"), resp3_more);
    }
    for redis in [&mut *redis, &mut resp3] {
        assert_eq!(part(redis, consume, "missed"), Value::Int(0));
        assert_eq!(part(redis, consume, "not-held"), Value::Array(Vec::new()));
        let ack = format!("{consume} ACK 1 1-1");
        let not_held = Value::Array(vec![Value::BulkString(b"1-1".to_vec())]);
        assert_eq!(part(redis, &ack, "not-held"), not_held);
    }
    // Begun again, a stream has lost nobody knows how many.
    redis.expect("DEL s => (1)\nDIRTY.FLUSH user INSERT 3 0 => [insert]");
    for redis in [&mut *redis, &mut resp3] {
        let command = format!("{follow} 9");
        assert_eq!(part(redis, &command, "missed"), Value::Nil);
    }
    assert_eq!(
        part(redis, "DIRTY.CONSUME s GROUP g b", "missed"),
        Value::Nil
    );
    assert_eq!(
        part(&mut resp3, "DIRTY.CONSUME s GROUP g b", "missed"),
        Value::Int(0)
    );
}
