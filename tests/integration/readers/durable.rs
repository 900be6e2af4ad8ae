//! The state of readers on replicas and in files.

use crate::support::dice::{Dice, rand};
use crate::support::dumps::dump;
use crate::support::story::Story;
use crate::support::turmoil::{Turmoil, assert_same, told};
use crate::support::{Conn, Server, text, words};
use redis::Value;
use std::collections::BTreeSet;

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

fn value(redis: &mut Conn, key: &str) -> String {
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

/// After any history: on a replica, in files of each kind, one of them rewritten meanwhile, and in payloads.
#[test]
fn copies_of_any_kind_agree_after_random_work() {
    let seed =
        std::env::var("SEED").map_or_else(|_| rand(), |seed| seed.parse().expect("a number"));
    println!("SEED={seed}");
    let mut server = Server::with(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    let replica = Server::replica_of(&server);
    let mut redis = server.connect();
    let mut turmoil = Turmoil::begin(&mut redis, seed);
    for _ in 0..4 {
        turmoil.steps(&mut redis, 150);
        let before = told(&mut redis);
        redis.ok(&["DEBUG", "RELOAD"]);
        assert_same(&told(&mut redis), &before, "meanwhile, from an RDB file");
    }
    redis.run("BGREWRITEAOF");
    turmoil.steps(&mut redis, 400);
    assert!(turmoil.errors < 900, "{}", turmoil.errors);
    let before = told(&mut redis);
    let digest = redis.digest();
    server.wait_for_replica(&replica);
    assert_same(&told(&mut replica.connect()), &before, "a replica");
    assert_eq!(replica.connect().digest(), digest, "a replica");
    let late = Server::replica_of(&server);
    assert_same(
        &told(&mut late.connect()),
        &before,
        "a replica that comes later",
    );
    for (how, preamble) in [
        ("rewritten meanwhile", ""),
        ("commands", "no"),
        ("an RDB file", "yes"),
    ] {
        if !preamble.is_empty() {
            redis.ok(&["CONFIG", "SET", "aof-use-rdb-preamble", preamble]);
            server.rewrite_aof();
        }
        redis.ok(&["DEBUG", "LOADAOF"]);
        assert_same(&told(&mut redis), &before, how);
        assert_eq!(redis.digest(), digest, "{how}");
    }
    let payload = dump(&mut redis, "s:readers");
    let restore: [&[u8]; 5] = [b"RESTORE", b"s:readers", b"0", &payload, b"REPLACE"];
    assert_eq!(redis.raw(&restore), "OK");
    assert_same(&told(&mut redis), &before, "a payload");
    redis.ok(&["COPY", "s:readers", "x"]);
    redis.ok(&["RENAME", "x", "s:readers"]);
    assert_same(&told(&mut redis), &before, "a copy");
    server.restart();
    let mut redis = server.connect();
    assert_same(&told(&mut redis), &before, "a restart");
    // And it goes on there.
    turmoil.steps(&mut redis, 100);
}

/// A worker whose server is killed in the middle of what it has sent.
struct Killed {
    dice: Dice,
    published: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    dead: BTreeSet<u64>,
}

fn seq(id: &str) -> u64 {
    let seq = id.split('-').nth(1).and_then(|seq| seq.parse().ok());
    seq.unwrap_or_else(|| panic!("no id: {id}"))
}

fn ids(reply: &Value) -> Vec<String> {
    let events = crate::support::readers::field(reply, "events");
    let Some(Value::Array(events)) = events else {
        panic!("{}", text(reply));
    };
    let id = |event: &Value| text(&crate::support::readers::field(event, "id").expect("an id"));
    events.iter().map(id).collect()
}

impl Killed {
    /// Sends more than it gets replies to, and takes down what they say.
    fn work(&mut self, redis: &mut Conn) {
        for _ in 0..20 {
            let reply = redis.run("DIRTY.FLUSH user WITHEVENTS INSERT 1 0");
            let id = reply
                .rsplit(['[', ' ', ']'])
                .find(|word| word.contains('-'));
            self.published.insert(seq(id.expect("an id")));
        }
        for _ in 0..5 {
            let given = ids(&redis.value(&words("DIRTY.CONSUME s GROUP g c COUNT 3")));
            for id in &given {
                assert!(!self.acknowledged.contains(&seq(id)), "{id} comes again");
                assert!(!self.dead.contains(&seq(id)), "{id} comes again");
            }
            let [first, rest @ ..] = given.as_slice() else {
                continue;
            };
            match self.dice.roll(3) {
                0 => {
                    let reply = redis.run(&format!("DIRTY.FAIL s GROUP g c why FATAL {first}"));
                    assert_eq!(reply, "[dead]");
                    self.dead.insert(seq(first));
                }
                _ => {
                    assert_eq!(redis.run(&format!("DIRTY.ACK s GROUP g c {first}")), "[]");
                    self.acknowledged.insert(seq(first));
                }
            }
            // Of these nobody will know.
            for id in rest.iter().take(self.dice.roll(2) as usize) {
                let _ = redis.send(&words(&format!("DIRTY.HOLD s GROUP g c {id}")));
                let _ = redis.receive();
            }
        }
        for _ in 0..self.dice.roll(30) {
            let _ = redis.send(&words("DIRTY.CONSUME s GROUP g c COUNT 1"));
        }
    }

    fn check(&self, redis: &mut Conn) {
        redis.run("DIRTY.LEAVE s GROUP g c");
        let mut left = BTreeSet::new();
        loop {
            let given = ids(&redis.value(&words("DIRTY.CONSUME s GROUP g last COUNT 1000")));
            left.extend(given.iter().map(|id| seq(id)));
            if given.is_empty() {
                break;
            }
        }
        let done = &self.acknowledged | &self.dead;
        assert_eq!(&left & &done, BTreeSet::new(), "these come again");
        let missing: Vec<u64> = self
            .published
            .difference(&(&left | &done))
            .copied()
            .collect();
        assert!(missing.is_empty(), "{missing:?} are lost");
        assert!(done.len() > 20, "{done:?}");
        let dead = redis.ok(&["XRANGE", "s:dead", "-", "+"]);
        assert_eq!(text(&dead).matches("dead-id").count(), self.dead.len());
    }
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = server.connect();
    redis.ok(&["DIRTY.DECLARE", "user", "STATELESS", "STREAM", "s"]);
    assert_eq!(redis.run("DIRTY.READER s GROUP g FROM 0"), "OK");
    let mut killed = Killed {
        dice: Dice(rand() | 1),
        published: BTreeSet::new(),
        acknowledged: BTreeSet::new(),
        dead: BTreeSet::new(),
    };
    for _ in 0..6 {
        killed.work(&mut redis);
        server.kill();
        server.start_again();
        redis = server.connect();
    }
    killed.check(&mut redis);
}

#[test]
fn an_effect_is_one_command_of_few_bytes() {
    for (batch, most) in [(3, 40), (10, 18), (100, 9)] {
        let mut story = Story::begin();
        story.expect("DIRTY.READER s GROUP g FROM 0 => OK");
        let entities: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let entities: Vec<&str> = entities.iter().map(String::as_str).collect();
        story.publish(&entities);
        let replica = Server::replica_of(&story.server);
        story.server.wait_for_replica(&replica);
        let before: u64 = story.redis.replicated().parse().expect("bytes");
        let mut ack = String::new();
        for n in 0..300 / batch {
            let reply = story.run(&format!("DIRTY.CONSUME s GROUP g c {ack}COUNT {batch}"));
            let first = batch * n + 1;
            assert!(reply.starts_with(&format!("#{first}")), "{reply}");
            let ids: Vec<String> = (first..first + batch).map(|id| format!("#{id}")).collect();
            ack = format!("ACK {batch} {} ", ids.join(" "));
        }
        let after: u64 = story.redis.replicated().parse().expect("bytes");
        let each = (after - before) / 300;
        println!("{each} bytes an event in batches of {batch}");
        assert!(each <= most, "{each} bytes an event in batches of {batch}");
    }
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
