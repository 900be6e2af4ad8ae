//! What only newer servers have, beside the module's own: fields with a time to live, deletes that know groups.

use super::support::story::Story;
use super::support::{Conn, Server, skipped};

fn has(redis: &mut Conn, command: &str) -> bool {
    redis.run(&format!("COMMAND INFO {command}")) != "[nil]"
}

#[test]
fn a_field_whose_time_is_up_is_null_and_one_that_is_set_has_no_time_any_more() {
    let primary = Server::start();
    let mut redis = primary.connect();
    if !has(&mut redis, "HPEXPIRE") {
        return skipped("fields have no time to live here");
    }
    let replica = Server::replica_of(&primary);
    redis.expect(
        "
DIRTY.DECLARE user STREAM s PAYLOAD FULL
  STREAM t PAYLOAD IMAGES => OK
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.FLUSH user SNAPSHOT 1 3 a 1 b 1 c 1 => [insert]
HPEXPIRE user:1 30 FIELDS 1 b => [(1)]
",
    );
    primary.wait_for_line("HLEN user:1", "(2)");
    redis.expect(
        "
DIRTY.GET user 1 => [[a 1 c 1]]
DIRTY.SCAN user 0 => [0 [[1 [a 1 c 1]]]]
HEXPIRE user:1 1000 FIELDS 2 a c => [(1) (1)]
DIRTY.FLUSH user UPDATE 1 1 a 1 => [none]
HTTL user:1 FIELDS 1 a => [(1000)]
DIRTY.FLUSH user UPDATE 1 2 a 2 b 2 => [update]
HTTL user:1 FIELDS 3 a b c => [(-1) (-1) (1000)]
HMGET user:1 a b c => [2 2 1]
DIRTY.FLUSH user SNAPSHOT 1 1 c 2 => [update]
HTTL user:1 FIELDS 1 c => [(-1)]
",
    );
    primary.wait_for_replica(&replica);
    let mut copy = replica.connect();
    copy.expect("HTTL user:1 FIELDS 3 a b c => [(-2) (-2) (-1)]");
    assert_eq!(redis.run("DEBUG DIGEST"), copy.run("DEBUG DIGEST"));
}

/// The server still counts fields whose time is up, until it removes them, and with them a hash that has no others.
#[test]
fn an_entity_stays_if_its_last_field_becomes_null_while_the_time_of_the_others_is_up() {
    let server = Server::start();
    let mut redis = server.connect();
    if !has(&mut redis, "HPEXPIRE") {
        return skipped("fields have no time to live here");
    }
    redis.expect(
        "
DEBUG SET-ACTIVE-EXPIRE 0 => OK
DIRTY.DECLARE user STREAM s => OK
DIRTY.FLUSH user SNAPSHOT 1 4 a 1 b 1 c 1 d 1 => [insert]
HPEXPIRE user:1 1 FIELDS 3 a b c => [(1) (1) (1)]
DIRTY.DECLARE row VERSION v STREAM s => OK
DIRTY.FLUSH row SNAPSHOT 1 1 v 5 DELETE 1 => [insert delete]
HSET row:1 a 1 b 1 c 1 d 1 => (4)
HPEXPIRE row:1 1 FIELDS 4 a b c d => [(1) (1) (1) (1)]
",
    );
    server.wait_for_line("DIRTY.GET user 1", "[[d 1]]");
    server.wait_for_line("DIRTY.GET row 1", "[nil]");
    redis.expect(
        "
HLEN user:1 => (4)
HLEN row:1 => (5)
DIRTY.FLUSH user UPDATE 1 0 NULL 1 d => [update]
DIRTY.FLUSH row UPDATE 1 2 v 6 a 1 => NOENTITY there is no entity \"1\"
DEBUG SET-ACTIVE-EXPIRE 1 => OK
",
    );
    server.wait_for_line("HLEN user:1", "(1)");
    redis.expect("DIRTY.GET user 1 => [[]]");
}

/// XTRIM … ACKED, XDELEX … ACKED and XACKDEL ask native groups alone: our readers are told of what is gone as ever.
#[test]
fn a_delete_that_asks_native_groups_asks_no_reader_of_ours() {
    let mut story = Story::with(&["1", "2", "3", "4", "5", "6"]);
    if !has(&mut story.redis, "XACKDEL") {
        return skipped("no delete asks groups here");
    }
    story.expect("XGROUP CREATE s native 0 => OK");
    let read = story.run("XREADGROUP GROUP native w COUNT 2 STREAMS s >");
    assert!(read.contains("#1") && read.contains("#2"), "{read}");
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g w COUNT 1 => #1 | more
XDELEX s ACKED IDS 2 #1 #3 => [(2) (2)]
XACKDEL s native ACKED IDS 1 #2 => [(1)]
XTRIM s MAXLEN = 3 ACKED => (0)
XACKDEL s native ACKED IDS 1 #1 => [(1)]
DIRTY.ACK s GROUP g w #1 => []
DIRTY.CONSUME s GROUP g w COUNT 1 => #3 | more | missed 1
XDELEX s DELREF IDS 1 #4 => [(1)]
DIRTY.CONSUME s GROUP g w => #5 #6 | missed 1
DIRTY.CONSUME s CURSOR c => #3 #5 #6 | missed 3 | position #6
",
    );
}
