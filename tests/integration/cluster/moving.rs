//! Every command while a slot is moved, with any of its keys at either node: it does what it always does if
//! all its keys are at one, else it is refused and nothing has changed. When the slot has arrived, so does it.

use super::pair::Pair;
use crate::support::wait_until;

/// What there is before each case. `%` is the case's own tag.
const BEFORE: &str = r#"
DIRTY.DECLARE u{%} STREAM s{%} STREAM i{%} OPS I
DIRTY.FLUSH u{%} ONCE known SNAPSHOT 1 1 n 1
DIRTY.FLUSH u{%} DEFER waits UPDATE 1 1 n 5
DIRTY.DECLARE u{%}:d STREAM s{%}
DIRTY.DECLARE new{%} STREAM none{%}
DIRTY.FLUSH new{%} SEED 1 1 n 1
DIRTY.DECLARE less{%} STATELESS STREAM of{%}
DIRTY.FLUSH less{%} TOUCH 1
XADD w{%} 1-1 a 1
XADD w{%} 1-2 a 2
DIRTY.READER w{%} GROUP g FROM 0
DIRTY.READER w{%} GROUP r FROM 0
DIRTY.READER w{%} CURSOR c FROM 0
DIRTY.CONSUME w{%} GROUP g c
DIRTY.FAIL w{%} GROUP g c oops FATAL 1-1
DIRTY.CONSUME w{%} GROUP r c
DIRTY.FAIL w{%} GROUP r c oops FATAL 1-1
DIRTY.REDRIVE w{%} GROUP r ALL
XADD fresh{%} 1-1 a 1
DIRTY.READER fresh{%} GROUP g FROM 0
DIRTY.CONSUME fresh{%} GROUP g c
XADD fresh{%} 1-2 a 2
XADD bare{%} 1-1 a b
XGROUP CREATE bare{%} native 0
DIRTY.DECLARE whole{%} STREAM news{%} PAYLOAD FULL
DIRTY.FLUSH whole{%} SNAPSHOT 1 1 n 1
DIRTY.READER news{%} CURSOR k FROM SNAPSHOT 1 whole{%}
"#;

/// Lines `command => keys that it needs | its reply`, or how it begins (…). What is needed and does not exist
/// may be at the other node for all that either knows, so while the slot is moved such a command is refused. One that
/// walks over all keys of the slot, which is marked by `all`, is refused until the slot has arrived.
const CASES: &str = r#"
DIRTY.FLUSH u{%} SNAPSHOT 1 1 n 2 => u{%} u{%}:1 s{%} | [update]
DIRTY.FLUSH u{%} SNAPSHOT 1 1 n 1 => u{%} u{%}:1 | [none]
DIRTY.FLUSH u{%} UPDATE 1 1 n 2 => u{%} u{%}:1 s{%} | [update]
DIRTY.FLUSH u{%} INSERT 1 1 n 1 => u{%} u{%}:1 | [none]
DIRTY.FLUSH u{%} DELETE 1 => u{%} u{%}:1 s{%} | [delete]
DIRTY.FLUSH u{%} TOUCH 1 => u{%} u{%}:1 s{%} | [touch]
DIRTY.FLUSH u{%} SEED 1 1 n 2 => u{%} u{%}:1 | [seed]
DIRTY.FLUSH u{%} DELETE 1 SNAPSHOT 1 0 => u{%} u{%}:1 s{%} i{%} | [delete insert]
DIRTY.FLUSH u{%} SNAPSHOT 2 1 n 2 => u{%} u{%}:2 s{%} i{%} | [insert]
DIRTY.FLUSH u{%} SNAPSHOT 1 1 n 2 SNAPSHOT 2 1 n 2 => u{%} u{%}:1 u{%}:2 s{%} i{%} | [update insert]
DIRTY.FLUSH u{%} INSERT 2 0 => u{%} u{%}:2 s{%} i{%} | [insert]
DIRTY.FLUSH u{%} UPDATE 2 0 => u{%} u{%}:2 | NOENTITY…
DIRTY.FLUSH u{%} TOUCH 2 => u{%} u{%}:2 | [none]
DIRTY.FLUSH u{%} DELETE 2 => u{%} u{%}:2 | [none]
DIRTY.FLUSH u{%} SEED 2 0 => u{%} u{%}:2 | [seed]
DIRTY.FLUSH new{%} UPDATE 1 1 n 2 => new{%} new{%}:1 none{%} | [update]
DIRTY.FLUSH u{%} ONCE known SNAPSHOT 1 1 n 1 => u{%} u{%}@once:known | [insert]
DIRTY.FLUSH u{%} ONCE other SNAPSHOT 1 1 n 2 => u{%} u{%}@once:other u{%}:1 s{%} | [update]
DIRTY.FLUSH u{%} DEFER other UPDATE 1 1 n 6 => u{%} u{%}@deferred | [deferred]
DIRTY.FLUSH u{%} DEFER waits UPDATE 1 1 n 5 => u{%} u{%}@deferred | [deferred]
DIRTY.FLUSH new{%} DEFER other UPDATE 1 1 n 6 => new{%} new{%}@deferred | [deferred]
DIRTY.COMMIT u{%} waits => u{%} u{%}@deferred u{%}:1 s{%} | [[update]]
DIRTY.COMMIT u{%} other => u{%} u{%}@deferred | [nil]
DIRTY.COMMIT new{%} other => new{%} new{%}@deferred | [nil]
DIRTY.ABORT u{%} waits => u{%} u{%}@deferred | (1)
DIRTY.ABORT u{%} other => u{%} u{%}@deferred | (0)
DIRTY.ABORT new{%} waits => new{%} new{%}@deferred | (0)
DIRTY.DEFERRED u{%} => u{%} u{%}@deferred | [[waits…
DIRTY.DEFERRED new{%} => new{%} new{%}@deferred | []
DIRTY.GET u{%} 1 => u{%} u{%}:1 | [[n 1]]
DIRTY.GET u{%} 1 2 => u{%} u{%}:1 u{%}:2 | [[n 1] nil]
DIRTY.GET u{%} a:1 => u{%} u{%}:a u{%}:a:1 | [nil]
DIRTY.GET u{%} d:1 => u{%} u{%}:d | WRONGTYPE the snapshot of entity…
DIRTY.GET u{%} d@deferred => u{%} u{%}:d | WRONGTYPE the snapshot of entity…
DIRTY.FLUSH u{%} SNAPSHOT d:1 0 => u{%} u{%}:d | WRONGTYPE the snapshot of entity…
DIRTY.FLUSH u{%} DEFER other DELETE d:1 => u{%} u{%}:d | WRONGTYPE the snapshot of entity…
DIRTY.FLUSH u{%} DEFER other DELETE a:1 => u{%} u{%}:a u{%}@deferred | [deferred]
DIRTY.SCAN u{%} 0 COUNT 1000 => all u{%} u{%}:1 | [0 [[1 [n 1]]]]
DIRTY.RECONCILE u{%} BEGIN r => u{%} | OK
DIRTY.RECONCILE u{%} STATUS r => u{%} | NORUN…
DIRTY.RECONCILE u{%} SWEEP r => u{%} | NORUN…
DIRTY.RECONCILE u{%} ABORT r => u{%} | (0)
DIRTY.FLUSH u{%} RUN r SNAPSHOT 1 1 n 2 => u{%} | NORUN…
DIRTY.INFO u{%} => u{%} | [name…
DIRTY.DECLARE u{%} STREAM s{%} => u{%} | OK
DIRTY.FLUSH less{%} INSERT 2 1 a b => less{%} of{%} | [insert]
EVAL return\_redis.call('DIRTY.FLUSH',KEYS[1],'UPDATE','1','1','n','2') 1 u{%}
  => u{%} u{%}:1 s{%} | [update]
DIRTY.READER w{%} GROUP g CLAIM 5 => w{%} w{%}:readers | OK
DIRTY.READER w{%} GROUP new FROM 0 DEAD w{%}:dead => w{%} w{%}:readers w{%}:dead | OK
DIRTY.READER bare{%} GROUP g FROM 0 => bare{%} bare{%}:readers | OK
DIRTY.READER bare{%} CURSOR g FROM GROUP native => bare{%} bare{%}:readers | OK
DIRTY.CONSUME bare{%} GROUP g c => bare{%} bare{%}:readers | NOREADER…
DIRTY.CONSUME w{%} GROUP g c ACK 1 1-2 => w{%} w{%}:readers | [events [] missed (0) more (0) not-held []]
DIRTY.CONSUME w{%} GROUP g c PENDING => w{%} w{%}:readers | [events [[id 1-2 fields [a 2] deliveries (2)]]…
# What is given again comes from the dead stream.
DIRTY.CONSUME w{%} GROUP r d => w{%} w{%}:readers w{%}:dead | [events [[id 1-1 fields [a 1]…
DIRTY.CONSUME w{%} CURSOR c => w{%} w{%}:readers | [events [[id 1-1…
DIRTY.CONSUME fresh{%} GROUP g c => fresh{%} fresh{%}:readers | [events [[id 1-2 fields [a 2]…
DIRTY.READER news{%} CURSOR new FROM SNAPSHOT 1 whole{%} => news{%} news{%}:readers whole{%} | OK
DIRTY.SEEK news{%} CURSOR k SNAPSHOT 1 whole{%} => news{%} news{%}:readers whole{%} | OK
DIRTY.CONSUME news{%} CURSOR k COUNT 10000 => all news{%} news{%}:readers whole{%} | [events [[id nil entity…
DIRTY.READ w{%} FROM 0 => w{%} | [events [[id 1-1…
DIRTY.READ bare{%} FROM 0 => bare{%} | [events [[id 1-1…
DIRTY.ACK w{%} GROUP g c 1-2 => w{%} w{%}:readers | []
DIRTY.ACK fresh{%} GROUP g c 1-1 => fresh{%} fresh{%}:readers | []
DIRTY.ACK w{%} GROUP r c FORCE 1-1 => w{%} w{%}:readers w{%}:dead | []
DIRTY.ACK w{%} CURSOR c 1-2/1 => w{%} w{%}:readers | (0)
DIRTY.FLUSH u{%} ACK w{%} GROUP g c 1 1-2 SNAPSHOT 1 1 n 1 => u{%} u{%}:1 w{%} w{%}:readers | [none]
DIRTY.FLUSH u{%} ACK w{%} GROUP g c 1 1-2 DELETE 1 => u{%} u{%}:1 s{%} w{%} w{%}:readers | [delete]
DIRTY.FLUSH u{%} ACK w{%} GROUP g c 1 1-1 DELETE 1
  => u{%} w{%} w{%}:readers | NOTHELD the consumer does not hold 1-1
DIRTY.HOLD w{%} GROUP g c => w{%} w{%}:readers | []
DIRTY.FAIL w{%} GROUP g c again 1-2 => w{%} w{%}:readers | [retry]
DIRTY.FAIL w{%} GROUP g c again FATAL 1-2 => w{%} w{%}:readers w{%}:dead | [dead]
DIRTY.FAIL fresh{%} GROUP g c again FATAL 1-1 => fresh{%} fresh{%}:readers fresh{%}:dead | [dead]
DIRTY.FAIL w{%} CURSOR c again 1-2 => w{%} w{%}:readers w{%}:dead | [dead]
DIRTY.LEAVE w{%} GROUP g c => w{%} w{%}:readers | (1)
DIRTY.PENDING w{%} GROUP g => w{%} w{%}:readers | [[id 1-2 state held…
DIRTY.REDRIVE w{%} GROUP g ALL => w{%} w{%}:readers w{%}:dead | (1)
DIRTY.REDRIVE fresh{%} GROUP g ALL => fresh{%} fresh{%}:readers fresh{%}:dead | (0)
DIRTY.DISCARD w{%} GROUP g ALL => w{%} w{%}:readers w{%}:dead | (1)
DIRTY.DISCARD w{%} CURSOR c ALL => w{%} w{%}:readers w{%}:dead | (0)
DIRTY.PAUSE w{%} GROUP g ON => w{%} w{%}:readers | OK
DIRTY.SEEK w{%} GROUP g 0 => w{%} w{%}:readers | OK
DIRTY.SEEK w{%} CURSOR c $ => w{%} w{%}:readers | OK
DIRTY.FORGET w{%} GROUP g => w{%} w{%}:readers | (1)
DIRTY.FORGET bare{%} GROUP g => bare{%} bare{%}:readers | (0)
DIRTY.STATS w{%} => w{%} w{%}:readers w{%}:dead | [length (2)…
DIRTY.STATS fresh{%} => fresh{%} fresh{%}:readers fresh{%}:dead | [length (2)…
"#;

/// In the module's words, or in the server's where a command names several keys.
const REFUSED: [&str; 2] = [
    "TRYAGAIN the slot is being moved to another node, and not all keys of this command are here; send it again",
    "TRYAGAIN Multiple keys request during rehashing of slot",
];

fn assert_reply(reply: &str, expected: &str, what: &str) {
    match expected.strip_suffix('…') {
        Some(begins) => assert!(reply.starts_with(begins), "{what}: {reply}"),
        None => assert_eq!(reply, expected, "{what}"),
    }
}

#[test]
fn a_command_is_carried_out_where_all_its_keys_are_or_refused_and_nothing_has_changed() {
    let mut pair = Pair::start();
    let mut tag = 0;
    let mut refused = 0;
    for (command, expected) in crate::support::cases(CASES) {
        let (keys, expected) = expected.split_once(" | ").expect("keys and a reply");
        let (keys, walks) = match keys.strip_prefix("all ") {
            Some(keys) => (keys, true),
            None => (keys, false),
        };
        let needed = keys.split(' ').count();
        for moved in 0..1u32 << needed {
            tag += 1;
            let named = |text: &str| text.replace('%', &tag.to_string());
            pair.empty(); // or each digest covers more
            let (command, keys) = (named(&command), named(keys));
            for line in named(BEFORE).lines().filter(|line| !line.is_empty()) {
                let words = crate::support::words(line);
                let reply = pair.source.redis.value(&words);
                assert!(
                    !matches!(reply, redis::Value::ServerError(_)),
                    "{line}: {reply:?}"
                );
            }
            let slot = pair.source.redis.run(&format!("CLUSTER KEYSLOT {{{tag}}}"));
            let slot = slot.trim_matches(['(', ')']);
            let (mut here, mut there, mut missing) = (Vec::new(), Vec::new(), Vec::new());
            for (index, key) in keys.split(' ').enumerate() {
                let exists = pair.source.redis.run(&format!("EXISTS {key}")) == "(1)";
                match (exists, moved >> index & 1) {
                    (false, 0) => missing.push(key),
                    (false, _) => {} // as little as it can be here it can be there
                    (true, 0) => here.push(key),
                    (true, _) => there.push(key),
                }
            }
            if here.len() + there.len() + missing.len() < needed {
                continue;
            }
            pair.begin(slot);
            pair.migrate(&there);
            let what = format!("{command}, when {there:?} have left");
            let before = pair.state();
            let reply = pair.run(&command);
            if !walks && missing.is_empty() && (here.is_empty() || there.is_empty()) {
                assert_reply(&reply, expected, &what);
                pair.finish(slot);
                continue;
            }
            // A script adds its own words.
            let is_refused = REFUSED.iter().any(|words| reply.starts_with(words));
            assert!(is_refused, "{what}: {reply}");
            assert_eq!(pair.state(), before, "{what}");
            refused += 1;
            pair.finish(slot);
            assert_reply(&pair.run(&command), expected, &what);
        }
    }
    assert!(tag > 200 && refused > 100, "{tag} cases, {refused} refused");
}

/// It is at one node, and knows nothing of what others flush at the other.
#[test]
fn a_run_waits_while_its_slot_is_moved_and_ends_when_the_declaration_leaves() {
    let mut pair = Pair::start();
    let redis = &mut pair.source.redis;
    redis.expect(
        "
DIRTY.DECLARE u{7} STREAM s{7} => OK
DIRTY.FLUSH u{7} SNAPSHOT 1 1 n 1 SNAPSHOT 2 1 n 2 => [insert insert]
DIRTY.RECONCILE u{7} BEGIN r => OK
",
    );
    let slot = redis.run("CLUSTER KEYSLOT {7}");
    let slot = slot.trim_matches(['(', ')']).to_string();
    pair.begin(&slot);
    let row = |id: u32| format!("DIRTY.FLUSH u{{7}} RUN r SNAPSHOT {id} 1 n {id}");
    assert_eq!(pair.run(&row(1)), "[none]");
    assert_eq!(pair.run(&row(3)), REFUSED[0]);
    assert_eq!(pair.run("DIRTY.RECONCILE u{7} SWEEP r"), REFUSED[0]);
    let status = pair.run("DIRTY.RECONCILE u{7} STATUS r");
    assert!(status.starts_with("[phase rows "), "{status}");
    pair.migrate(&["u{7}"]);
    for command in [
        &row(1),
        "DIRTY.RECONCILE u{7} STATUS r",
        "DIRTY.RECONCILE u{7} SWEEP r",
    ] {
        let reply = pair.run(command);
        assert!(reply.starts_with("NORUN "), "{command}: {reply}");
    }
    pair.finish(&slot);
    pair.swap();
    pair.source.redis.expect(
        "
DIRTY.RECONCILE u{7} SWEEP r => NORUN there is no run \"r\" of \"u{7}\"; begin one
DIRTY.RECONCILE u{7} BEGIN r => OK
DIRTY.FLUSH u{7} RUN r SNAPSHOT 1 1 n 1 => [none]
DIRTY.RECONCILE u{7} SWEEP r
  => [phase deleting scanned (2) seen (1) same (1) repaired (0) stale (0) newer (0) foreign (0) missing (1) deleted (0)]
DIRTY.RECONCILE u{7} SWEEP r
  => [phase done scanned (2) seen (1) same (1) repaired (0) stale (0) newer (0) foreign (0) missing (1) deleted (1)]
",
    );
}

#[test]
fn a_stream_that_leaves_and_comes_back_goes_on_with_its_ids_groups_and_cursors() {
    let mut pair = Pair::start();
    let redis = &mut pair.source.redis;
    redis.ok(&["DIRTY.DECLARE", "u{7}", "STREAM", "s{7}"]);
    let slot = redis.run("CLUSTER KEYSLOT {7}");
    let slot = slot.trim_matches(['(', ')']);
    let mut number = 0;
    let mut flush = |pair: &mut Pair| {
        number += 1;
        let flush = format!("DIRTY.FLUSH u{{7}} WITHEVENTS SNAPSHOT 1 1 n {number}");
        let reply = pair.source.redis.run(&flush);
        assert!(
            reply.ends_with(&format!("-{number}]]]")),
            "{flush}: {reply}"
        );
    };
    flush(&mut pair);
    let redis = &mut pair.source.redis;
    redis.expect(
        "DIRTY.READER s{7} GROUP g FROM 0 => OK\nDIRTY.READER s{7} CURSOR all FROM 0 => OK",
    );
    redis.run("DIRTY.CONSUME s{7} GROUP g c COUNT 1");
    for _ in 0..4 {
        flush(&mut pair);
        flush(&mut pair);
        pair.begin(slot);
        pair.finish(slot);
        pair.swap();
        flush(&mut pair);
        // One is pending from the beginning, and three more were written since the last time.
        for (reader, events) in [("CURSOR all", 0), ("GROUP g c", 3)] {
            let reply = pair
                .source
                .redis
                .run(&format!("DIRTY.CONSUME s{{7}} {reader} COUNT 1000"));
            let read = reply.matches("entity-id").count();
            assert!(reply.contains(" missed (0) more (0) "), "{reader}: {reply}");
            assert!(events == 0 || read == events, "{reader}: {reply}");
        }
    }
    assert_eq!(pair.source.redis.run("XLEN s{7}"), "(13)");
    let pending = pair.source.redis.run("DIRTY.PENDING s{7} GROUP g");
    assert_eq!(pending.matches("state held").count(), 13, "{pending}");
}

/// A node that loses a slot to a claim of a greater epoch deletes the keys it still has, and tells no listener.
#[test]
fn a_stream_that_was_taken_away_without_a_word_begins_anew() {
    let mut pair = Pair::start();
    pair.source
        .redis
        .ok(&["DIRTY.DECLARE", "u{7}", "STREAM", "s{7}"]);
    for number in 1..=3 {
        pair.source
            .redis
            .run(&format!("DIRTY.FLUSH u{{7}} SNAPSHOT 1 1 n {number}"));
    }
    let slot = pair.source.redis.run("CLUSTER KEYSLOT {7}");
    let slot = slot.trim_matches(['(', ')']).to_string();
    for _ in 0..2 {
        let words = ["CLUSTER", "SETSLOT", &slot, "IMPORTING", &pair.source.id];
        pair.target.redis.ok(&words);
        let words = ["CLUSTER", "SETSLOT", &slot, "NODE", &pair.target.id];
        pair.target.redis.ok(&words);
        wait_until("the other node's claim", || {
            pair.source
                .redis
                .run("DIRTY.INFO u{7}")
                .starts_with("MOVED")
        });
        pair.swap();
        let redis = &mut pair.source.redis;
        assert_eq!(redis.run("EXISTS u{7} s{7} u{7}:1 s{7}:readers"), "(0)");
        redis.ok(&["DIRTY.DECLARE", "u{7}", "STREAM", "s{7}"]);
        redis.expect("DIRTY.READER s{7} CURSOR c FROM $ => OK");
        let reply = redis.run("DIRTY.CONSUME s{7} CURSOR c");
        assert!(
            reply.starts_with("[events [] missed (0) more (0) position 0-0/"),
            "{reply}"
        );
        let reply = redis.run("DIRTY.FLUSH u{7} WITHEVENTS SNAPSHOT 1 1 n 1");
        assert!(reply.ends_with("-1]]]"), "{reply}");
    }
}
