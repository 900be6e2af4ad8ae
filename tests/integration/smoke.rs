//! The main job, end to end.

use super::support::Server;

#[test]
fn a_snapshot_becomes_events_that_a_group_and_a_cursor_read() {
    let server = Server::start();
    let mut redis = server.connect();
    let declare =
        "DIRTY.DECLARE user STREAM user-changes STREAM user-status OPS NONE FIELDS 1 status";
    assert_eq!(redis.run(declare), "OK");
    for (command, reply) in [
        (
            "DIRTY.FLUSH user SNAPSHOT 42 2 name Alice status active",
            "[insert]",
        ),
        (
            "DIRTY.FLUSH user SNAPSHOT 42 2 name Alice status banned",
            "[update]",
        ),
        (
            "DIRTY.FLUSH user SNAPSHOT 42 2 name Alice status banned",
            "[none]",
        ),
        ("HGETALL user:42", "[name Alice status banned]"),
        ("DIRTY.GET user 42 43", "[[name Alice status banned] nil]"),
        ("XLEN user-changes", "(2)"),
        ("XLEN user-status", "(1)"),
    ] {
        assert_eq!(redis.run(command), reply, "{command}");
    }
    redis.run("DIRTY.READER user-changes GROUP mailers FROM 0");
    let read = redis.run("DIRTY.CONSUME user-changes GROUP mailers m1");
    assert!(read.contains("op insert deliveries (1)"), "{read}");
    assert!(
        read.contains("op update changes [status [active banned]]"),
        "{read}"
    );
    assert!(
        read.ends_with("] missed (0) more (0) not-held []]"),
        "{read}"
    );
    let read = server.connect_resp3().run("DIRTY.READ user-status FROM 0");
    assert!(
        read.contains("changes: {status: [active banned]}"),
        "{read}"
    );
}
