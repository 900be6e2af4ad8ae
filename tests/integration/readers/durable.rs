//! The state of readers on replicas and in files.

use crate::support::Server;
use crate::support::story::Story;

/// Something of everything that readers keep.
fn fill(story: &mut Story) {
    story.publish(&["1", "2", "3", "1", "2", "3", "4", "5"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 => OK
DIRTY.READER s GROUP h FROM 0 ORDER ENTITY ONDEAD PARK => OK
DIRTY.READER s GROUP i FROM 0 ORDER STREAM WHERE OPS IUD META a b => OK
DIRTY.READER s CURSOR c FROM #3 SHARD 0 2 MINAGE 1 REVISION 7 => OK
DIRTY.CONSUME s GROUP g a COUNT 3 => #1 #2 #3 | more
DIRTY.FAIL s GROUP g a why DELAY 60000 #1 => [retry]
DIRTY.FAIL s GROUP g a why FATAL #2 => [dead]
DIRTY.REDRIVE s GROUP g IDS 1 #2 => (1)
DIRTY.CONSUME s GROUP h a COUNT 2 => #1 #2 | more
DIRTY.CONSUME s GROUP h b COUNT 2 => #3 #6 | more
DIRTY.FAIL s GROUP h a why FATAL #1 => [dead]
DIRTY.CONSUME s GROUP i a =>\x20
DIRTY.PAUSE s GROUP i ON => OK
DIRTY.LEAVE s GROUP h b => (2)
",
    );
}

fn value(redis: &mut crate::support::Conn, key: &str) -> String {
    redis.run(&format!("DEBUG DIGEST-VALUE {key}"))
}

#[test]
fn replica_aof_rdb_and_copy_have_the_same_readers() {
    let server = Server::with(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    let mut story = Story::on(server);
    let replica = Server::replica_of(&story.server);
    fill(&mut story);
    story.server.wait_for_replica(&replica);
    let before = value(&mut story.redis, "s:readers");
    assert_ne!(before, "[0000000000000000000000000000000000000000]");
    assert_eq!(value(&mut replica.connect(), "s:readers"), before);
    assert_eq!(story.redis.digest(), replica.connect().digest());
    story.expect("DEBUG LOADAOF => OK");
    assert_eq!(
        value(&mut story.redis, "s:readers"),
        before,
        "from the growing AOF"
    );
    story.server.rewrite_aof();
    story.expect("DEBUG LOADAOF => OK");
    assert_eq!(
        value(&mut story.redis, "s:readers"),
        before,
        "from a rewritten AOF"
    );
    story.expect("DEBUG RELOAD => OK");
    assert_eq!(
        value(&mut story.redis, "s:readers"),
        before,
        "from an RDB file"
    );
    story.expect("COPY s:readers t:readers => (1)");
    assert_eq!(value(&mut story.redis, "t:readers"), before, "a copy");
    // The copy is another: what is done to one does not change the other.
    story.expect("DIRTY.FORGET t CURSOR c => (1)");
    assert_eq!(value(&mut story.redis, "s:readers"), before);
    story.expect("RENAME s:readers x => OK");
    story.server.rewrite_aof();
    story.expect("DEBUG LOADAOF => OK");
    assert_eq!(value(&mut story.redis, "x"), before, "under any name");
}

#[test]
fn an_effect_is_one_command_of_few_bytes() {
    let mut story = Story::begin();
    story.expect("DIRTY.READER s GROUP g FROM 0 => OK");
    let entities: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let entities: Vec<&str> = entities.iter().map(String::as_str).collect();
    story.publish(&entities);
    let replica = Server::replica_of(&story.server);
    story.server.wait_for_replica(&replica);
    let before: u64 = story.redis.replicated().parse().expect("bytes");
    let mut ack = String::new();
    for n in 0..100 {
        let reply = story.run(&format!("DIRTY.CONSUME s GROUP g c {ack}COUNT 3"));
        assert!(reply.starts_with(&format!("#{}", 3 * n + 1)), "{reply}");
        ack = format!("ACK 3 #{} #{} #{} ", 3 * n + 1, 3 * n + 2, 3 * n + 3);
    }
    let after: u64 = story.redis.replicated().parse().expect("bytes");
    let each = (after - before) / 300;
    assert!(each <= 40, "{each} bytes an event");
}

#[test]
fn bytes_that_nobody_wrote_change_nothing() {
    let mut story = Story::begin();
    fill(&mut story);
    let before = story.redis.digest();
    let bad = "ERR a change of readers does not fit those at \"s:readers\"";
    for command in [
        "DIRTY._DELTA s x",
        "DIRTY._DELTA s \"\"",
        "DIRTY._DELTA s:readers LOAD x",
    ] {
        assert_eq!(story.run(command), bad, "{command}");
    }
    story.expect(
        "
DIRTY._DELTA s => ERR wrong number of arguments for 'dirty._delta' command
DIRTY._DELTA s LOAD x y => ERR wrong number of arguments for 'dirty._delta' command
DIRTY._DELTA other LOAD x => ERR a change of readers does not fit those at \"other\"
RESTORE r 0 \\x07\\x81 => ERR DUMP payload version or checksum are wrong
",
    );
    assert_eq!(story.redis.digest(), before);
}

#[test]
fn who_may_not_write_the_stream_may_not_change_its_readers() {
    Story::begin().expect(
        "
ACL SETUSER u on nopass +@all ~other => OK
AUTH u x => OK
DIRTY._DELTA s x => NOPERM this user has no permissions to access one of the keys used as arguments
",
    );
}

#[test]
fn keep_and_refuse_wait_for_readers_and_for_native_groups() {
    let mut story = Story::begin();
    story.redis.ok(&[
        "DIRTY.DECLARE",
        "user",
        "STATELESS",
        "STREAM",
        "s",
        "MAXLEN",
        "0",
        "ONFULL",
        "KEEP",
    ]);
    story.expect("DIRTY.READER s GROUP g FROM 0 => OK");
    story.publish(&["1", "2"]);
    story.expect(
        "
XLEN s => (2)
DIRTY.CONSUME s GROUP g a => #1 #2
DIRTY.ACK s GROUP g a #1 => []
",
    );
    story.publish(&["3"]);
    story.expect("XLEN s => (2)");
    story.redis.ok(&["XGROUP", "CREATE", "s", "n", "0"]);
    story.expect("DIRTY.ACK s GROUP g a #2 => []");
    story.publish(&["4"]);
    story.expect("XLEN s => (3)");
}
