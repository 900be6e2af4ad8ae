//! FLUSH … ACK: one step of a pipeline. `user` publishes to `s`; what is derived is flushed to `sum`, which publishes to
//! `t`.

use crate::support::replication::{AOF, appended};
use crate::support::story::{Story, short};
use crate::support::{Server, cases, words};

const DECLARE: &str = "DIRTY.DECLARE sum TYPES 1 n int STREAM t PAYLOAD FULL";

/// A story with events of these entities, of which consumer `a` holds the first `held`.
fn story(server: Server, reader: &str, entities: &[&str], held: usize) -> Story {
    let mut story = Story::on(server);
    assert_eq!(story.run(DECLARE), "OK");
    story.publish(entities);
    let read = format!("DIRTY.READER s GROUP g FROM 0 {reader}");
    assert_eq!(story.run(read.trim()), "OK");
    story.run(&format!("DIRTY.CONSUME s GROUP g a COUNT {held}"));
    story
}

#[test]
fn a_flush_acknowledges_what_its_consumer_holds_or_does_nothing() {
    let mut story = story(Server::start(), "", &["1", "2", "3", "4"], 3);
    story.expect(
        "
DIRTY.CONSUME s GROUP g b => #4
DIRTY.FLUSH sum ACK s GROUP g a 2 #1 #2 SNAPSHOT 1 1 n 5 => [insert]
DIRTY.PENDING s GROUP g CONSUMER a =>
 [[id #3 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key nil]]
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 6 => NOTHELD the consumer does not hold #1
DIRTY.FLUSH sum ACK s GROUP g a 2 #3 #4 SNAPSHOT 1 1 n 6 => NOTHELD the consumer does not hold #4
DIRTY.GET sum 1 => [[n (5)]]
DIRTY.FLUSH sum META 1 ACK x ACK s GROUP g a 2 #3 #3 WITHEVENTS SNAPSHOT 1 1 n 6 => [[update [n] [t #2]]]
DIRTY.ACK s GROUP g a #3 => [#3]
",
    );
}

/// Nothing is written, replicated or acknowledged.
const REFUSED: &str = "
DIRTY.FLUSH sum ACK s GROUP g a 1 #9 TOUCH 1 => NOTHELD the consumer does not hold 1-9
DIRTY.FLUSH sum ACK s GROUP g b 1 #1 TOUCH 1 => NOTHELD the consumer does not hold #1
DIRTY.FLUSH sum ACK s GROUP g a 3 #1 #3 #2 SNAPSHOT 1 0 => NOTHELD the consumer does not hold #3
DIRTY.FLUSH sum ACK s GROUP h a 1 #1 SNAPSHOT 1 0 => NOREADER there is no group \"h\" on \"s\"
DIRTY.FLUSH sum ACK s GROUP c a 1 #1 SNAPSHOT 1 0 => ERR \"c\" is a cursor
DIRTY.FLUSH sum ACK none GROUP g a 1 #1 SNAPSHOT 1 0 => NOREADER there is no group \"g\" on \"none\"
DIRTY.FLUSH sum ACK sum GROUP g a 1 #1 SNAPSHOT 1 0 => NOREADER there is no group \"g\" on \"sum\"
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 UPDATE 7 1 n 1 => NOENTITY there is no entity \"7\"
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n x => BADVALUE field \"n\" takes a 64-bit signed integer, not \"x\"
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 0 INSERT 1 1 n 1 => EXISTS entity \"1\" exists with other values
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 => ERR a flush requires at least one operation
DIRTY.FLUSH sum ACK s GROUP g a 0 TOUCH 1 => ERR ACK requires an id
DIRTY.FLUSH sum ACK s GROUP g a 2 #1 TOUCH 1 => ERR invalid event id \"TOUCH\", expected ms-seq
DIRTY.FLUSH sum ACK s GROUP g a 1 x TOUCH 1 => ERR invalid event id \"x\", expected ms-seq
DIRTY.FLUSH sum ACK s GROUP g a x #1 TOUCH 1 => ERR the count of ACK must be an integer, 0 or more, not \"x\"
DIRTY.FLUSH sum ACK s GROUP g \"\" 1 #1 TOUCH 1 => ERR GROUP requires a consumer, not an empty one
DIRTY.FLUSH sum ACK s GROUP \"\" a 1 #1 TOUCH 1 => ERR GROUP requires a group, not an empty one
DIRTY.FLUSH sum ACK \"\" GROUP g a 1 #1 TOUCH 1 => ERR ACK requires a stream, not an empty one
DIRTY.FLUSH sum ACK s CURSOR c a 1 #1 TOUCH 1 => ERR the reader must be GROUP, not \"CURSOR\"
DIRTY.FLUSH sum ACK => ERR ACK requires a stream
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 ACK s GROUP g a 1 #1 TOUCH 1 => ERR ACK is given twice
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 DEFER t TOUCH 1 => ERR ACK and DEFER cannot be combined
DIRTY.FLUSH sum DRYRUN ACK s GROUP g a 1 #1 TOUCH 1 => ERR ACK and DRYRUN cannot be combined
DIRTY.FLUSH sum TOUCH 1 ACK s GROUP g a 1 #1 => ERR ACK must stand before the operations
DIRTY.FLUSH none ACK s GROUP g a 1 #1 TOUCH 1 => NODECL no entity type is declared at \"none\"
";

#[test]
fn a_flush_that_is_refused_acknowledges_nothing_and_an_acknowledgement_that_is_refused_flushes_nothing()
 {
    let mut story = story(Server::with(&AOF), "", &["1", "2", "3"], 2);
    story.run("DIRTY.READER s CURSOR c FROM 0");
    let mut before = (story.redis.digest(), story.redis.replicated());
    for (command, reply) in cases(REFUSED) {
        assert_eq!(story.run(&command), reply, "{command}");
        let after = (story.redis.digest(), story.redis.replicated());
        assert_eq!(after, before, "{command}");
        before = after;
    }
    // A full stream refuses the flush, after the events were found to be held.
    story.expect(
        "
DIRTY.DECLARE full STATELESS STREAM f MAXLEN 1 ONFULL REFUSE => OK
DIRTY.READER f GROUP g FROM 0 => OK
DIRTY.FLUSH full TOUCH 1 => [touch]
",
    );
    let before = (story.redis.digest(), story.redis.replicated());
    let full = story.run("DIRTY.FLUSH full ACK s GROUP g a 1 #1 TOUCH 1");
    assert!(full.starts_with("FULL "), "{full}");
    assert_eq!((story.redis.digest(), story.redis.replicated()), before);
    story.expect("DIRTY.CONSUME s GROUP g a PENDING COUNT 2 => #1:2 #2:2 | more");
}

/// A command, and all that it appends to the append-only file.
const REPLICATED: &str = "
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 5
 => MULTI, HSET sum:1 n 5, XADD t ms-1 BYTES BYTES, DIRTY._DELTA s BYTES, EXEC
DIRTY.FLUSH sum ACK s GROUP g a 1 #2 SNAPSHOT 1 1 n 5 => DIRTY._DELTA s BYTES
DIRTY.FLUSH sum ONCE k 60000 ACK s GROUP g a 1 #3 SEED 2 0
 => MULTI, HSET sum:2 @ BYTES, DIRTY._DELTA s BYTES, SET sum@once:k BYTES, EXEC
DIRTY.FLUSH sum ONCE k 60000 ACK s GROUP g a 1 #3 SEED 2 0 =>\x20
DIRTY.FLUSH sum ACK s GROUP g a 1 #4 TOUCH 9
 => MULTI, XDEL s:dead ms-1, DIRTY._DELTA s BYTES, EXEC
";

#[test]
fn replicas_and_files_get_the_flush_and_the_acknowledgement_as_one_unit() {
    let server = Server::with(&AOF);
    let mut story = story(server, "", &["1", "2", "3", "4"], 4);
    story.run("DIRTY.FAIL s GROUP g a why FATAL #4");
    story.run("DIRTY.REDRIVE s GROUP g ALL");
    story.expect("DIRTY.CONSUME s GROUP g a => #4");
    let replica = Server::replica_of(&story.server);
    let mut start = appended(&story.server, 0).1;
    for (command, expected) in cases(REPLICATED) {
        let reply = story.run(&command);
        assert!(reply.starts_with('['), "{command}: {reply}");
        let (commands, end) = appended(&story.server, start);
        let shown: Vec<String> = commands.iter().map(|line| shown(line)).collect();
        assert_eq!(shown.join(", "), expected.trim_start(), "{command}");
        start = end;
    }
    story.server.wait_for_replica(&replica);
    let digest = story.redis.digest();
    assert_eq!(replica.connect().digest(), digest);
    story.expect("DEBUG LOADAOF => OK");
    assert_eq!(story.redis.digest(), digest);
    story.expect("DIRTY.PENDING s GROUP g => []");
}

/// Without bytes, times and the words behind a key's value.
fn shown(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["SET", key, ..] => format!("SET {key} BYTES"),
        ["HSET", key, "@", ..] => format!("HSET {key} @ BYTES"),
        ["XADD", key, id, ..] => format!("XADD {key} {id} BYTES BYTES"),
        _ => line.to_string(),
    }
}

#[test]
fn a_flush_that_is_sent_again_hears_that_its_work_is_done_or_its_first_reply() {
    let mut story = story(Server::start(), "", &["1", "2"], 2);
    story.expect(
        "
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 INSERT 1 1 n 1 => [insert]
DIRTY.FLUSH sum UPDATE 1 1 n 2 => [update]
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 INSERT 1 1 n 1 => NOTHELD the consumer does not hold #1
DIRTY.FLUSH sum ONCE t ACK s GROUP g a 1 #2 UPDATE 1 1 n 3 => [update]
DIRTY.FLUSH sum DELETE 1 => [delete]
DIRTY.FLUSH sum ONCE t ACK s GROUP g a 1 #2 UPDATE 1 1 n 3 => [update]
DIRTY.FLUSH sum ONCE t ACK => [update]
DIRTY.FLUSH sum ACK s GROUP g a 1 #2 UPDATE 1 1 n 3 => NOTHELD the consumer does not hold #2
DIRTY.GET sum 1 => [nil]
",
    );
}

#[test]
fn an_event_that_was_taken_from_a_consumer_cannot_be_flushed_by_it() {
    let mut story = story(
        Server::start(),
        "ORDER ENTITY CLAIM 200",
        &["1", "1", "2"],
        2,
    );
    story.expect(
        "
wait 250 => -
DIRTY.CONSUME s GROUP g b COUNT 1 => #1:2 | more
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 1 => NOTHELD the consumer does not hold #1
DIRTY.FLUSH sum ACK s GROUP g a 1 #2 SNAPSHOT 1 1 n 2 => NOTHELD the consumer does not hold #2
DIRTY.FLUSH sum ACK s GROUP g b 1 #1 SNAPSHOT 1 1 n 1 => [insert]
DIRTY.CONSUME s GROUP g b COUNT 1 => #2:2 | more
DIRTY.FAIL s GROUP g b why DELAY 0 #2 => [retry]
DIRTY.FLUSH sum ACK s GROUP g b 1 #2 SNAPSHOT 1 1 n 2 => NOTHELD the consumer does not hold #2
",
    );
}

#[test]
fn the_acknowledgement_wakes_those_who_wait_for_its_keys() {
    let mut story = story(Server::start(), "ORDER ENTITY", &["1", "2", "1"], 2);
    let mut waiting = story.server.connect();
    waiting
        .send(&words("DIRTY.CONSUME s GROUP g a PENDING"))
        .unwrap();
    waiting.receive().unwrap();
    story.expect("DIRTY.ACK s GROUP g a #3 #2 => []");
    story.publish(&["1"]);
    waiting
        .send(&words("DIRTY.CONSUME s GROUP g b BLOCK 0"))
        .unwrap();
    story.server.wait_for_blocked(1);
    story.expect("DIRTY.FLUSH sum ACK s GROUP g a 1 #1 TOUCH 1 => [none]");
    assert_eq!(short(&waiting.receive().unwrap()), "#4");
}

#[test]
fn listeners_hear_of_both_when_both_are_done() {
    let mut story = story(Server::start(), "", &["1"], 1);
    story.expect("CONFIG SET notify-keyspace-events EA => OK");
    let mut listener = story.server.connect();
    listener.ok(&["PSUBSCRIBE", "__keyevent@0__:*"]);
    story.expect("DIRTY.FLUSH sum ONCE o ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 1 => [insert]");
    let heard = [(); 5].map(|()| {
        let message = crate::support::text(&listener.receive().expect("a message"));
        let words = message.trim_end_matches(']').split(' ').skip(2);
        words.collect::<Vec<_>>().join(" ")
    });
    let heard = heard.map(|line| line.replace("__keyevent@0__:", ""));
    assert_eq!(
        heard,
        [
            "set sum@once:o",
            "expire sum@once:o",
            "hset sum:1",
            "xadd t",
            "dirty.readers s:readers",
        ]
    );
}

#[test]
fn it_works_in_transactions_and_scripts() {
    let mut story = story(Server::start(), "", &["1", "2", "3"], 3);
    let transaction = [
        "MULTI",
        "DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 1",
        "DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 2",
        "DIRTY.ACK s GROUP g a #1 #2",
        "EXEC",
    ];
    let transaction = transaction.map(|command| story.words(command));
    let replies = transaction.map(|command| short(&story.redis.value(&command)));
    assert_eq!(
        replies[4],
        "[[insert] NOTHELD the consumer does not hold #1 [#1]]"
    );
    story.expect("DIRTY.GET sum 1 => [[n (1)]]");
    let id = String::from_utf8(story.words("#3").remove(0)).expect("an id");
    let script = format!(
        "return redis.call('DIRTY.FLUSH',KEYS[1],'ACK',KEYS[2],'GROUP','g','a','1','{id}','TOUCH','1')"
    );
    let call = |redis: &mut crate::support::Conn| redis.raw(&["EVAL", &script, "2", "sum", "s"]);
    assert_eq!(call(&mut story.redis), "[touch]");
    assert!(call(&mut story.redis).contains("NOTHELD the consumer does not hold"));
    story.expect("DIRTY.PENDING s GROUP g => []");
}

#[test]
fn what_is_acknowledged_goes_when_the_next_event_is_added() {
    let mut story = story(Server::start(), "", &[], 1);
    story.expect(
        "
DIRTY.DECLARE user STATELESS STREAM s MAXLEN 0 ONFULL KEEP => OK
DIRTY.DECLARE chain STATELESS STREAM s MAXLEN 0 ONFULL KEEP => OK
",
    );
    story.publish(&["1", "2"]);
    story.expect(
        "
DIRTY.CONSUME s GROUP g a => #1 #2
DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 1 => [insert]
XLEN s => (2)
",
    );
    story.publish(&["3"]);
    story.expect(
        "
XLEN s => (2)
DIRTY.FLUSH chain ACK s GROUP g a 1 #2 INSERT 1 0 => [insert]
XLEN s => (2)
DIRTY.CONSUME s GROUP g a => #3 #4
",
    );
}

#[test]
fn the_stream_is_a_key_of_the_command_wherever_the_word_stands() {
    let mut story = story(Server::start(), "", &["1"], 1);
    story.expect(
        "
COMMAND GETKEYS DIRTY.FLUSH k ACK s GROUP g c 1 1-1 TOUCH 1 => [k s]
COMMAND GETKEYS DIRTY.FLUSH k META 1 ACK x WITHEVENTS ONCE ACK 5 ack s GROUP g c 1 1-1 TOUCH 1 => [k s]
COMMAND GETKEYS DIRTY.FLUSH k META 2 ACK x a ACK ONCE ACK TOUCH ACK => [k]
COMMAND GETKEYS DIRTY.FLUSH k SNAPSHOT ACK 1 ACK s => [k]
COMMAND GETKEYS DIRTY.FLUSH k ACK s => [k s]
COMMAND GETKEYSANDFLAGS DIRTY.FLUSH k ACK s => [[k [RW update]] [s [RW update]]]
COMMAND GETKEYSANDFLAGS DIRTY.FLUSH k TOUCH 1 => [[k [RW update]]]
COMMAND GETKEYS DIRTY.FLUSH k ACK => [k]
ACL SETUSER u on nopass +@all -acl ~sum => OK
ACL SETUSER v on nopass +@all -acl ~sum %W~s => OK
AUTH u x => OK
DIRTY.FLUSH sum META 1 ACK s SNAPSHOT 1 0 => [insert]
DIRTY.FLUSH sum ACK s GROUP g a 1 1-1 SNAPSHOT 1 1 n 1 =>
 NOPERM this user has no permissions to access one of the keys used as arguments
AUTH v x => OK
DIRTY.FLUSH sum ACK s GROUP g a 1 1-1 SNAPSHOT 1 1 n 1 => NOTHELD the consumer does not hold 1-1
",
    );
}

#[test]
fn a_dead_stream_that_is_named_asks_for_the_users_rights_before_anything_changes() {
    let mut story = story(Server::start(), "DEAD d", &["1"], 1);
    story.expect(
        "
DIRTY.FAIL s GROUP g a why FATAL #1 => [dead]
DIRTY.REDRIVE s GROUP g ALL => (1)
DIRTY.CONSUME s GROUP g a => #1
ACL SETUSER u on nopass +@all ~sum ~s => OK
",
    );
    let flush = story.words("DIRTY.FLUSH sum ACK s GROUP g a 1 #1 SNAPSHOT 1 1 n 1");
    let before = (story.redis.digest(), story.redis.replicated());
    let mut user = story.server.connect();
    user.ok(&["AUTH", "u", "x"]);
    assert_eq!(
        user.raw(&flush),
        "NOPERM this user may not write the key \"d\""
    );
    assert_eq!((story.redis.digest(), story.redis.replicated()), before);
    assert_eq!(story.redis.raw(&flush), "[insert]");
    story.expect("XLEN d => (0)");
}

#[test]
fn in_a_cluster_the_stream_is_in_the_slot_of_the_declaration() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let mut redis = server.connect();
    redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    redis.expect(
        "
DIRTY.DECLARE sum{1} STREAM t{1} => OK
DIRTY.DECLARE user{1} STREAM s{1} => OK
DIRTY.READER s{1} GROUP g FROM 0 => OK
DIRTY.FLUSH sum{1} ACK s{2} GROUP g c 1 1-1 SNAPSHOT 1 0 =>
 CROSSSLOT Keys in request don't hash to the same slot
DIRTY.FLUSH sum{1} ACK s{1} GROUP g c 1 1-1 SNAPSHOT 1 0 => NOTHELD the consumer does not hold 1-1
",
    );
}
