//! Readers that wait on a stream that leaves.

use super::pair::Pair;
use crate::support::Conn;

const REFUSED: &str = "TRYAGAIN the slot is being moved";

/// Readers, and how each waits; DIRTY.READ needs none.
const READERS: [(&str, &str); 7] = [
    ("CURSOR a", "CONSUME s{7} CURSOR a"),
    ("CURSOR b MINAGE 50", "CONSUME s{7} CURSOR b"),
    ("GROUP g", "CONSUME s{7} GROUP g c"),
    ("GROUP h CLAIM 1000", "CONSUME s{7} GROUP h c"),
    ("GROUP i ORDER STREAM", "CONSUME s{7} GROUP i c"),
    (
        "GROUP j ORDER ENTITY MAXDELIVERIES 3",
        "CONSUME s{7} GROUP j c",
    ),
    ("", "READ s{7} FROM $"),
];

fn start() -> (Pair, String) {
    let mut pair = Pair::start();
    let redis = &mut pair.source.redis;
    redis.ok(&["DIRTY.DECLARE", "u{7}", "STREAM", "s{7}"]);
    redis.ok(&["XGROUP", "CREATE", "s{7}", "made", "0", "MKSTREAM"]);
    for (reader, _) in READERS.iter().filter(|(reader, _)| !reader.is_empty()) {
        let declare = format!("DIRTY.READER s{{7}} {reader} FROM $");
        assert_eq!(redis.run(&declare), "OK", "{declare}");
    }
    let slot = redis.run("CLUSTER KEYSLOT {7}");
    (pair, slot.trim_matches(['(', ')']).into())
}

/// All of READERS, waiting at the source.
fn blocked(pair: &Pair) -> Vec<Conn> {
    let server = &pair.source.server;
    let readers = READERS.iter().map(|(_, call)| {
        let mut reader = server.connect();
        let line = format!("DIRTY.{call} BLOCK 0");
        reader.send(&crate::support::words(&line)).expect("sent");
        reader
    });
    let readers = readers.collect();
    server.wait_for_blocked(READERS.len());
    readers
}

#[test]
fn a_reader_whose_stream_or_whose_state_leaves_is_told_before_the_whole_slot_has_moved() {
    for leaves in ["s{7}", "s{7}:readers"] {
        let (mut pair, slot) = start();
        let mut readers = blocked(&pair);
        pair.begin(&slot);
        std::thread::sleep(std::time::Duration::from_millis(1500));
        // What they wait for is still here.
        pair.source.server.wait_for_blocked(READERS.len());
        pair.migrate(&[leaves]);
        for (reader, (_, call)) in readers.iter_mut().zip(READERS) {
            if leaves.ends_with(":readers") && call.starts_with("READ") {
                continue;
            }
            let reply = crate::support::text(&reader.receive().expect("a reply"));
            assert!(reply.starts_with(REFUSED), "{leaves}: {call}: {reply}");
        }
    }
}

#[test]
fn a_reader_is_sent_after_its_slot() {
    let (mut pair, slot) = start();
    let mut readers = blocked(&pair);
    pair.begin(&slot);
    pair.finish(&slot);
    for (reader, (_, call)) in readers.iter_mut().zip(READERS) {
        let reply = crate::support::text(&reader.receive().expect("a reply"));
        let is_sent = reply.starts_with("MOVED ") || reply.starts_with(REFUSED);
        assert!(is_sent, "{call}: {reply}");
    }
}

#[test]
fn a_reader_that_followed_its_stream_waits_there() {
    let (mut pair, slot) = start();
    pair.begin(&slot);
    pair.migrate(&["s{7}", "s{7}:readers", "u{7}"]);
    for (n, (declared, call)) in (1..).zip(READERS) {
        let name: Vec<&str> = declared.split(' ').take(2).collect();
        if !declared.is_empty() {
            let seek = format!("DIRTY.SEEK s{{7}} {} $", name.join(" "));
            assert_eq!(pair.target.run_asking(&seek), "OK", "{seek}");
        }
        let mut reader = pair.target.server.connect();
        reader.ok(&["ASKING"]);
        let words = crate::support::words(&format!("DIRTY.{call} BLOCK 0"));
        reader.send(&words).expect("sent");
        pair.target.server.wait_for_blocked(1);
        std::thread::sleep(std::time::Duration::from_millis(1200));
        // Its seq goes on, as that of an event does: else the server would be asked, and refuses that here.
        let add = format!("XADD s{{7}} 1-{n} a b");
        pair.target.run_asking(&add);
        let reply = crate::support::text(&reader.receive().expect("a reply"));
        assert!(reply.starts_with("[events [[id "), "{call}: {reply}");
        assert!(reply.contains("a b"), "{call}: {reply}");
    }
}

/// What no command names has left while the reader waited: nothing may be buried here.
#[test]
fn a_reader_that_waited_buries_nothing_where_the_dead_have_left() {
    let (mut pair, slot) = start();
    let redis = &mut pair.source.redis;
    redis.expect(
        "XADD s{7} 1-1 a b => 1-1\n\
         XADD s{7}:dead 1-1 a b => 1-1\n\
         DIRTY.READER s{7} GROUP dying FROM 0 CLAIM 1500 MAXDELIVERIES 2 => OK",
    );
    redis.run("DIRTY.CONSUME s{7} GROUP dying c");
    redis.run("DIRTY.CONSUME s{7} GROUP dying c PENDING");
    let mut reader = pair.source.server.connect();
    let words = "DIRTY.CONSUME s{7} GROUP dying d BLOCK 0";
    reader.send(&crate::support::words(words)).expect("sent");
    pair.source.server.wait_for_blocked(1);
    pair.begin(&slot);
    pair.migrate(&["s{7}:dead"]);
    let reply = crate::support::text(&reader.receive().expect("a reply"));
    assert!(reply.starts_with(REFUSED), "{reply}");
    let held = "DIRTY.PENDING s{7} GROUP dying CONSUMER c";
    let pending = pair.source.redis.run(held);
    assert!(pending.contains("deliveries (2)"), "{pending}");
    pair.finish(&slot);
    assert_eq!(pair.target.redis.run("XLEN s{7}:dead"), "(1)");
    // What is held counts as held from the move on.
    pair.swap();
    crate::support::wait_until("a death", || {
        let reply = pair.source.redis.run("DIRTY.CONSUME s{7} GROUP dying d");
        assert!(reply.starts_with("[events [] "), "{reply}");
        pair.source.redis.run("XLEN s{7}:dead") == "(2)"
    });
    assert_eq!(pair.source.redis.run(held), "[]");
}
