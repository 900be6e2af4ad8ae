//! Readers that wait on a stream that leaves.

use super::pair::Pair;
use crate::support::Conn;

const REFUSED: &str = "TRYAGAIN the slot is being moved";

/// Lines of options with which readers wait.
const READERS: [&str; 6] = [
    "CURSOR a",
    "CURSOR b LAG 50",
    "GROUP g c",
    "GROUP h c CLAIM 60000",
    "GROUP i c SINGLE 60000",
    "GROUP j c CLAIM 60000 MAXDELIVERIES 3",
];

fn start() -> (Pair, String) {
    let mut pair = Pair::start();
    let redis = &mut pair.source.redis;
    redis.ok(&["DIRTY.DECLARE", "u{7}", "STREAM", "s{7}"]);
    redis.ok(&["XGROUP", "CREATE", "s{7}", "made", "0", "MKSTREAM"]);
    let slot = redis.run("CLUSTER KEYSLOT {7}");
    (pair, slot.trim_matches(['(', ')']).into())
}

/// All of READERS, waiting at the source.
fn blocked(pair: &Pair) -> Vec<Conn> {
    let server = &pair.source.server;
    let readers = READERS.iter().map(|options| {
        let mut reader = server.connect();
        let line = format!("DIRTY.CONSUME s{{7}} {options} FROM $ BLOCK 0");
        reader.send(&crate::support::words(&line)).expect("sent");
        reader
    });
    let readers = readers.collect();
    server.wait_for_blocked(READERS.len());
    readers
}

#[test]
fn a_reader_whose_stream_leaves_is_told_before_the_whole_slot_has_moved() {
    let (mut pair, slot) = start();
    let mut readers = blocked(&pair);
    pair.begin(&slot);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    // What they wait for is still here.
    pair.source.server.wait_for_blocked(READERS.len());
    pair.migrate(&["s{7}"]);
    for (reader, options) in readers.iter_mut().zip(READERS) {
        let reply = crate::support::text(&reader.receive().expect("a reply"));
        assert!(reply.starts_with(REFUSED), "{options}: {reply}");
    }
    let again = "DIRTY.READ s{7} FROM 0 BLOCK 1";
    assert_eq!(pair.run(again), "[events [] position 0-0 missed (0)]");
}

#[test]
fn a_reader_is_sent_after_its_slot() {
    let (mut pair, slot) = start();
    let mut readers = blocked(&pair);
    pair.begin(&slot);
    pair.finish(&slot);
    for (reader, options) in readers.iter_mut().zip(READERS) {
        let reply = crate::support::text(&reader.receive().expect("a reply"));
        let is_sent = reply.starts_with("MOVED ") || reply.starts_with(REFUSED);
        assert!(is_sent, "{options}: {reply}");
    }
}

#[test]
fn a_reader_that_followed_its_stream_waits_there() {
    let (mut pair, slot) = start();
    pair.begin(&slot);
    pair.migrate(&["s{7}", "u{7}"]);
    for options in READERS
        .iter()
        .filter(|options| !options.contains("MAXDELIVERIES"))
    {
        let mut reader = pair.target.server.connect();
        reader.ok(&["ASKING"]);
        let words =
            crate::support::words(&format!("DIRTY.CONSUME s{{7}} {options} FROM $ BLOCK 0"));
        reader.send(&words).expect("sent");
        pair.target.server.wait_for_blocked(1);
        std::thread::sleep(std::time::Duration::from_millis(1200));
        pair.target.run_asking("XADD s{7} * a b");
        let reply = crate::support::text(&reader.receive().expect("a reply"));
        // One that time wakes may have nothing yet, but it is no error.
        assert!(reply.starts_with("[events ["), "{options}: {reply}");
        if ["CURSOR a", "GROUP g c"].contains(options) {
            assert!(reply.contains("a b"), "{options}: {reply}");
        }
    }
}

/// What no command names has left while the reader waited: nothing may be buried here.
#[test]
fn a_reader_that_waited_buries_nothing_where_the_dead_have_left() {
    let (mut pair, slot) = start();
    let redis = &mut pair.source.redis;
    redis.expect(
        "XADD s{7} 1-1 a b => 1-1\nXADD s{7}:dead 1-1 a b => 1-1\nHSET s{7}:failures a b => (1)",
    );
    redis.run("DIRTY.CONSUME s{7} GROUP g c");
    let mut reader = pair.source.server.connect();
    let words = "DIRTY.CONSUME s{7} GROUP g d CLAIM 1500 MAXDELIVERIES 1 BLOCK 0";
    reader.send(&crate::support::words(words)).expect("sent");
    pair.source.server.wait_for_blocked(1);
    pair.begin(&slot);
    pair.migrate(&["s{7}:dead"]);
    let reply = crate::support::text(&reader.receive().expect("a reply"));
    assert!(reply.starts_with(REFUSED), "{reply}");
    assert_eq!(
        pair.source.redis.run("XPENDING s{7} g"),
        "[(1) 1-1 1-1 [[c 1]]]"
    );
    pair.finish(&slot);
    assert_eq!(pair.target.redis.run("XLEN s{7}:dead"), "(1)");
    pair.swap();
    let again = "DIRTY.CONSUME s{7} GROUP g d CLAIM 0 MAXDELIVERIES 1";
    assert_eq!(
        pair.source.redis.run(again),
        "[events [] position nil missed (0)]"
    );
    assert_eq!(pair.source.redis.run("XLEN s{7}:dead"), "(2)");
}
