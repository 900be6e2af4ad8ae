//! RAW and JSON.

use crate::support::story::Story;

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
