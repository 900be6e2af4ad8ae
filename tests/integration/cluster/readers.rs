//! The readers of a stream while its slot is moved: two keys, one state, at one node at a time.

use super::atomic::{is_possible, move_atomically};
use super::pair::Pair;
use crate::support::{Conn, Server, text, wait_until, words};
use std::thread::sleep;
use std::time::Duration;

/// What there is before each case. `%` is the case's own tag.
const BEFORE: &str = "
DIRTY.DECLARE u{%} STATELESS STREAM s{%} STREAM n{%} OPS D
DIRTY.FLUSH u{%} INSERT 1 0 INSERT 2 0 INSERT 3 0 INSERT 4 0
DIRTY.FLUSH u{%} DELETE 1
DIRTY.READER s{%} GROUP g FROM 0 MAXDELIVERIES 2
DIRTY.READER s{%} GROUP d FROM 0 DEAD else{%}
DIRTY.READER s{%} CURSOR c FROM 0
DIRTY.CONSUME s{%} GROUP g a COUNT 2
DIRTY.CONSUME s{%} GROUP d a COUNT 1
XADD s{%}:dead 1-1 a b
XADD else{%} 1-1 a b
";

/// Lines `command => the keys that it needs | how its reply begins`.
const CASES: &str = "
DIRTY.CONSUME s{%} GROUP g b => s{%} s{%}:readers | [events [[id
DIRTY.CONSUME s{%} GROUP g a PENDING => s{%} s{%}:readers | [events [[id
DIRTY.CONSUME s{%} CURSOR c => s{%} s{%}:readers | [events [[id
DIRTY.CONSUME s{%} CURSOR c BLOCK 10 => s{%} s{%}:readers | [events [[id
DIRTY.ACK s{%} GROUP g a FORCE 1-1 => s{%} s{%}:readers | [1-1]
DIRTY.ACK s{%} CURSOR c 1-1/1 => s{%} s{%}:readers | (0)
DIRTY.HOLD s{%} GROUP g a => s{%} s{%}:readers | []
DIRTY.LEAVE s{%} GROUP g a => s{%} s{%}:readers | (2)
DIRTY.FAIL s{%} GROUP g a why 1-1 => s{%} s{%}:readers | [not-held]
DIRTY.FAIL s{%} GROUP g a why FATAL @ => s{%} s{%}:readers s{%}:dead | [dead]
DIRTY.FAIL s{%} GROUP d a why FATAL @ => s{%} s{%}:readers else{%} | [dead]
DIRTY.FAIL s{%} CURSOR c why @ => s{%} s{%}:readers s{%}:dead | [dead]
DIRTY.PENDING s{%} GROUP g => s{%}:readers s{%} | [[id
DIRTY.REDRIVE s{%} GROUP g ALL => s{%} s{%}:readers s{%}:dead | (0)
DIRTY.DISCARD s{%} GROUP g ALL => s{%} s{%}:readers s{%}:dead | (0)
DIRTY.PAUSE s{%} GROUP g ON => s{%} s{%}:readers | OK
DIRTY.SEEK s{%} GROUP g 0 => s{%} s{%}:readers | OK
DIRTY.SEEK s{%} CURSOR c $ => s{%} s{%}:readers | OK
DIRTY.FORGET s{%} GROUP g => s{%} s{%}:readers | (1)
DIRTY.READER s{%} GROUP g => s{%} s{%}:readers | OK
DIRTY.READER s{%} GROUP new FROM 0 => s{%} s{%}:readers | OK
DIRTY.READER n{%} GROUP g FROM 0 => n{%} n{%}:readers | OK
DIRTY.CONSUME n{%} GROUP g a => n{%} n{%}:readers | NOREADER
DIRTY.FORGET n{%} GROUP g => n{%} n{%}:readers | (0)
DIRTY.READER none{%} GROUP g FROM 0 => none{%} none{%}:readers | OK
DIRTY.READ s{%} FROM 0 => s{%} | [events [[id
DIRTY.STATS s{%} => s{%} s{%}:readers s{%}:dead | [length
";

const REFUSED: &str = "TRYAGAIN the slot is being moved to another node";

/// The id of the first event, for `@`.
fn first_id(redis: &mut Conn, tag: u32) -> String {
    let first = redis.run(&format!("XRANGE s{{{tag}}} - + COUNT 1"));
    first
        .trim_matches('[')
        .split(' ')
        .next()
        .expect("an id")
        .to_string()
}

#[test]
fn readers_are_worked_on_where_both_keys_are_or_not_at_all() {
    let mut pair = Pair::start();
    let (mut tag, mut refused) = (0, 0);
    for (command, expected) in crate::support::cases(CASES) {
        let (keys, expected) = expected.split_once(" | ").expect("keys and a reply");
        let needed = keys.split(' ').count();
        for moved in 0..1u32 << needed {
            tag += 1;
            let named = |text: &str| text.replace('%', &tag.to_string());
            let keys = named(keys);
            for line in named(BEFORE).lines().filter(|line| !line.is_empty()) {
                let reply = pair.source.redis.run(line);
                assert!(!reply.contains("ERR"), "{line}: {reply}");
            }
            let id = first_id(&mut pair.source.redis, tag);
            let command = named(&command).replace('@', &id);
            let there: Vec<&str> = keys
                .split(' ')
                .enumerate()
                .filter(|(index, _)| moved >> index & 1 == 1)
                .map(|(_, key)| key)
                .collect();
            let mut exists = |key: &&str| pair.source.redis.run(&format!("EXISTS {key}")) == "(1)";
            let all = keys.split(' ').collect::<Vec<_>>();
            if !there.iter().all(&mut exists) {
                // As little as it can be here it can be there.
                pair.source.redis.run("FLUSHALL");
                continue;
            }
            let is_missing = !all.iter().all(&mut exists);
            let slot = pair.source.redis.run(&format!("CLUSTER KEYSLOT {{{tag}}}"));
            let slot = slot.trim_matches(['(', ')']);
            pair.begin(slot);
            pair.migrate(&there);
            let what = format!("{command}, when {there:?} have left");
            let before = pair.state();
            let reply = pair.run(&command);
            if !is_missing && (there.is_empty() || there.len() == needed) {
                assert!(reply.starts_with(expected), "{what}: {reply}");
                pair.finish(slot);
            } else {
                assert!(reply.starts_with(REFUSED), "{what}: {reply}");
                assert_eq!(pair.state(), before, "{what}");
                refused += 1;
                pair.finish(slot);
                let reply = pair.run(&command);
                assert!(reply.starts_with(expected), "{what}, and later: {reply}");
            }
            // A slot that was given away is empty: nothing was made where it had been.
            assert_eq!(pair.source.redis.run("DBSIZE"), "(0)", "{what}");
        }
        pair.target.redis.run("FLUSHALL");
    }
    println!("{tag} cases, {refused} refused");
    assert!(tag > 60 && refused > 40, "{tag} cases, {refused} refused");
}

/// A change that somebody sends by hand makes no second state either.
#[test]
fn a_change_sent_by_hand_makes_no_second_state() {
    let mut pair = Pair::start();
    for line in BEFORE
        .replace('%', "7")
        .lines()
        .filter(|line| !line.is_empty())
    {
        pair.source.redis.run(line);
    }
    let slot = text(&pair.source.redis.ok(&["CLUSTER", "KEYSLOT", "{7}"]));
    let slot = slot.trim_matches(['(', ')']);
    pair.begin(slot);
    pair.migrate(&["s{7}:readers"]);
    // A reader is made: Make, number 0, a group, "g", 0-0, epoch 0, two words.
    let mut command = words("DIRTY._DELTA s{7} x");
    command[2] = [&[1, 4, 0, 0, 1, b'g', 0, 0, 0][..], &[0; 16]].concat();
    let reply = pair.source.redis.raw(&command);
    assert!(reply.starts_with("TRYAGAIN"), "{reply}");
    let here = pair
        .source
        .redis
        .run(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
    assert!(!here.contains("readers"), "{here}");
    pair.finish(slot);
    assert!(
        pair.target
            .redis
            .raw(&command)
            .starts_with("ERR a change of readers")
    );
}

/// Waiting calls of all kinds go on until their stream leaves, and are told where it is.
#[test]
fn readers_that_wait_are_told_when_one_of_the_keys_leaves() {
    for first in ["s{7}", "s{7}:readers"] {
        let mut pair = Pair::start();
        for line in BEFORE
            .replace('%', "7")
            .lines()
            .filter(|line| !line.is_empty())
        {
            pair.source.redis.run(line);
        }
        for reader in [
            "GROUP w FROM $",
            "GROUP o FROM $ ORDER STREAM",
            "CURSOR k FROM $",
        ] {
            assert_eq!(
                pair.source
                    .redis
                    .run(&format!("DIRTY.READER s{{7}} {reader}")),
                "OK"
            );
        }
        let mut readers: Vec<Conn> = ["GROUP w a", "GROUP o a", "CURSOR k"]
            .map(|reader| {
                let mut client = pair.source.server.connect();
                let line = format!("DIRTY.CONSUME s{{7}} {reader} BLOCK 0");
                client.send(&words(&line)).expect("sent");
                client
            })
            .into();
        pair.source.server.wait_for_blocked(3);
        let slot = text(&pair.source.redis.ok(&["CLUSTER", "KEYSLOT", "{7}"]));
        let slot = slot.trim_matches(['(', ')']);
        pair.begin(slot);
        sleep(Duration::from_millis(1200));
        pair.source.server.wait_for_blocked(3);
        pair.migrate(&[first]);
        for client in &mut readers {
            let reply = text(&client.receive().expect("a reply"));
            assert!(reply.starts_with("TRYAGAIN"), "{first}: {reply}");
        }
        pair.finish(slot);
        let reply = pair.run("DIRTY.CONSUME s{7} GROUP w a");
        assert!(reply.starts_with("[events [] missed (0)"), "{reply}");
        assert_eq!(pair.source.redis.run("DBSIZE"), "(0)");
    }
}

/// As workers do that go where errors send them.
struct Worker {
    conns: [Conn; 2],
    at: usize,
}

impl Worker {
    fn run(&mut self, command: &str) -> String {
        for _ in 0..2000 {
            let reply = self.conns[self.at].run(command);
            match reply.split(' ').next().unwrap_or_default() {
                "MOVED" => self.at = 1 - self.at,
                "TRYAGAIN" | "CLUSTERDOWN" | "UNBLOCKED" => sleep(Duration::from_millis(2)),
                _ => return reply,
            }
        }
        panic!("no answer to {command}");
    }

    /// One round: an event, and what a consumer does.
    fn round(&mut self, n: u64, given: &mut Vec<String>) {
        assert_eq!(
            self.run(&format!("DIRTY.FLUSH u{{7}} INSERT {n} 0")),
            "[insert]"
        );
        if n.is_multiple_of(40) {
            // One that is made while the slot is under way.
            self.run(&format!("DIRTY.READER s{{7}} GROUP new{n} FROM 0"));
            self.run(&format!("DIRTY.CONSUME s{{7}} GROUP new{n} a COUNT 3"));
        }
        let reply = self.run("DIRTY.CONSUME s{7} GROUP g a COUNT 2");
        for id in reply
            .split("[id ")
            .skip(1)
            .map(|rest| rest.split(' ').next().expect("an id"))
        {
            assert!(!given.contains(&id.to_string()), "{id} comes again");
            given.push(id.into());
            if !n.is_multiple_of(7) {
                let reply = self.run(&format!("DIRTY.ACK s{{7}} GROUP g a {id}"));
                assert_eq!(reply, "[]", "{id}");
            }
        }
    }
}

#[test]
fn under_load_a_slot_is_moved_as_a_whole_with_all_that_readers_hold() {
    if !is_possible() {
        return;
    }
    let mut pair = Pair::start();
    let redis = &mut pair.source.redis;
    redis.ok(&["DIRTY.DECLARE", "u{7}", "STATELESS", "STREAM", "s{7}"]);
    redis.ok(&["DIRTY.READER", "s{7}", "GROUP", "g", "FROM", "0"]);
    let slot = text(&redis.ok(&["CLUSTER", "KEYSLOT", "{7}"]));
    let slot = slot.trim_matches(['(', ')']).to_string();
    let connect = |server: &Server| server.connect();
    let mut worker = Worker {
        conns: [connect(&pair.source.server), connect(&pair.target.server)],
        at: 0,
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (given, n) = std::thread::scope(|scope| {
        let works = scope.spawn(|| {
            let (mut given, mut n) = (Vec::new(), 0);
            while !stop.load(std::sync::atomic::Ordering::SeqCst) || n < 100 {
                n += 1;
                worker.round(n, &mut given);
            }
            (given, n)
        });
        for _ in 0..4 {
            sleep(Duration::from_millis(100));
            let Pair { source, target } = &mut pair;
            move_atomically(&mut source.redis, &mut target.redis, &slot, &target.id);
            pair.swap();
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        works.join().expect("its events")
    });
    assert_eq!(given.len() as u64, n, "each came once");
    assert!(n > 100, "{n} rounds");
    wait_until("one owner", || pair.target.redis.run("DBSIZE") == "(0)");
    let pending = pair
        .source
        .redis
        .run("DIRTY.PENDING s{7} GROUP g COUNT 10000");
    assert_eq!(pending.matches("state held").count() as u64, n / 7, "{n}");
}
