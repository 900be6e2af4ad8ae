//! CONSUME GROUP, ACK, HOLD, FAIL, LEAVE, PENDING.

use crate::support::readers::{consume, events, read};
use crate::support::story::{Story, got};
use crate::support::{Conn, words};

#[test]
fn a_group_gives_each_event_to_one_consumer_until_it_is_acknowledged() {
    Story::with(&["1", "2", "3", "4"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.CONSUME s GROUP g b COUNT 2 => #2 #3 | more
DIRTY.CONSUME s GROUP g a ACK 1 #1 => #4
DIRTY.CONSUME s GROUP g a ACK 2 #1 #2 => | not-held #1 #2
DIRTY.ACK s GROUP g b #2 #4 => [#4]
DIRTY.ACK s GROUP g b FORCE #4 => []
DIRTY.CONSUME s GROUP g b ACK 1 #3 =>\x20
DIRTY.PENDING s GROUP g => []
",
    );
}

#[test]
fn what_nobody_finishes_comes_again_after_claim_and_hold_renews_it() {
    Story::with(&["1", "2"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 CLAIM 300 => OK
DIRTY.CONSUME s GROUP g a => #1 #2
wait 200 => -
DIRTY.HOLD s GROUP g a #2 #9 => [1-9]
wait 200 => -
DIRTY.CONSUME s GROUP g b => #1:2
DIRTY.CONSUME s GROUP g a ACK 2 #1 #2 => | not-held #1
DIRTY.CONSUME s GROUP g b PENDING => #1:3
",
    );
}

#[test]
fn failed_events_come_again_and_die_in_the_end() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.FAIL s GROUP g a why DELAY 0 #1 #3 => [retry not-held]
DIRTY.CONSUME s GROUP g a COUNT 1 => #1:2!1 | more
DIRTY.FAIL s GROUP g a again #1 => [dead]
DIRTY.FAIL s GROUP g a poison FATAL #2 => [dead]
XLEN s:dead => (2)
DIRTY.CONSUME s:dead GROUP g a => NOREADER there is no group \"g\" on \"s:dead\"
DIRTY.READER s:dead GROUP d FROM 0 => OK
DIRTY.CONSUME s:dead GROUP d a =>
 #1[id #1 stream s reader g consumer a error again deliveries (2) failures (2) first-ms (T) last-ms (T)]
 #2[id #2 stream s reader g consumer a error poison deliveries (1) failures (1) first-ms (T) last-ms (T)]
",
    );
}

#[test]
fn who_leaves_hands_on_at_once() {
    Story::with(&["1", "2"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 => OK
DIRTY.CONSUME s GROUP g a => #1 #2
DIRTY.LEAVE s GROUP g a => (2)
DIRTY.LEAVE s GROUP g a => (0)
DIRTY.CONSUME s GROUP g b => #1 #2
",
    );
}

#[test]
fn pending_lists_what_a_group_has_not_finished_page_by_page() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.FAIL s GROUP g a why DELAY 60000 #2 => [retry]
DIRTY.PENDING s GROUP g COUNT 1 =>
 [[id #1 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key [user 1]]]
DIRTY.PENDING s GROUP g AFTER #1 =>
 [[id #2 state delayed consumer nil idle-ms nil due-ms (T) deliveries (1) failures (1) error why key [user 2]]]
DIRTY.PENDING s GROUP g CONSUMER b => []
DIRTY.PENDING s GROUP h => NOREADER there is no group \"h\" on \"s\"
",
    );
}

#[test]
fn a_group_in_the_streams_order_has_one_consumer_at_a_time() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER STREAM CLAIM 300 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.CONSUME s GROUP g b =>\x20
DIRTY.CONSUME s GROUP g a ACK 1 #1 COUNT 2 => #2 #3
DIRTY.FAIL s GROUP g a why DELAY 0 #2 => [retry]
DIRTY.CONSUME s GROUP g a => #2:2!1 #3
DIRTY.LEAVE s GROUP g a => (2)
DIRTY.CONSUME s GROUP g b COUNT 1 => #2:2!1
",
    );
}

#[test]
fn a_consumer_gets_its_own_events_again_by_pending_first_and_nobody_elses() {
    Story::with(&["1", "2", "3", "4", "5", "6"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.CONSUME s GROUP g b COUNT 2 => #3 #4 | more
DIRTY.CONSUME s GROUP g b PENDING COUNT 3 => #3:2 #4:2 #5 | more
DIRTY.CONSUME s GROUP g b PENDING COUNT 2 => #3:3 #4:3 | more
DIRTY.CONSUME s GROUP g c PENDING => #5:2 #6
DIRTY.CONSUME s GROUP g b ACK 2 #3 #4 PENDING =>\x20
DIRTY.CONSUME s GROUP g a PENDING COUNT 1 ACK 1 #1 => #2:2
DIRTY.CONSUME s GROUP g a =>\x20
",
    );
}

#[test]
fn a_consumer_gets_no_more_new_events_than_it_may_hold() {
    let mut story = Story::with(&["1", "2", "3", "4", "5", "6", "7", "8"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXPENDING 3 CLAIM 1000 => OK
DIRTY.CONSUME s GROUP g a => #1 #2 #3
DIRTY.CONSUME s GROUP g a =>\x20
DIRTY.CONSUME s GROUP g a ACK 1 #2 => #4
DIRTY.CONSUME s GROUP g b COUNT 2 => #5 #6 | more
DIRTY.CONSUME s GROUP g b COUNT 2 => #7
DIRTY.LEAVE s GROUP g a => (3)
DIRTY.CONSUME s GROUP g b => #1 #3 #4
DIRTY.ACK s GROUP g b #1 #3 #4 => []
DIRTY.CONSUME s GROUP g b =>\x20
DIRTY.READER s GROUP g MAXPENDING 4 CLAIM 1000 => OK
DIRTY.CONSUME s GROUP g b => #8
",
    );
    // An event that comes does not wake a consumer that holds enough.
    let mut waits = story.wait("DIRTY.CONSUME s GROUP g b BLOCK 150");
    story.publish(&["9"]);
    assert_eq!(got(&mut waits), "");
}

#[test]
fn a_dead_key_that_cannot_be_one_is_refused_before_anything_changes() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 CLAIM 40 MAXDELIVERIES 2 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
SET s:dead text => OK
RPUSH list x => (1)
",
    );
    let before = story.redis.digest();
    let wrong = "WRONGTYPE the key \"s:dead\" does not hold a stream";
    for command in [
        "FAIL s GROUP g a why FATAL #1",
        "FAIL s GROUP g b why FORCE FATAL #2",
        "FAIL s CURSOR c why #1",
        "REDRIVE s GROUP g ALL",
        "DISCARD s GROUP g ALL",
    ] {
        assert_eq!(story.run(&format!("DIRTY.{command}")), wrong, "{command}");
        assert_eq!(story.redis.digest(), before, "{command}");
    }
    // What does not change the dead stream goes on.
    story.expect(
        "
wait 50 => -
DIRTY.CONSUME s GROUP g b => #1:2
DIRTY.ACK s GROUP g b #1 => []
DIRTY.CONSUME s GROUP g b => #2:2
wait 50 => -
",
    );
    let before = story.redis.digest();
    assert_eq!(
        story.run("DIRTY.CONSUME s GROUP g c"),
        wrong,
        "one would die"
    );
    assert_eq!(story.redis.digest(), before);
    story.expect(
        "
DEL s:dead => (1)
DIRTY.CONSUME s GROUP g c => #3
XLEN s:dead => (1)
",
    );
}

#[test]
fn replies_are_right_in_both_protocols() {
    let mut story = Story::begin();
    story.expect(
        "DIRTY.DECLARE t TYPES 6 a int b uint c float d bool e time f json STREAM s => OK
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.FLUSH t INSERT \\xff 0 => [insert]
DIRTY.FLUSH t UPDATE \\xff 8 a -5 b 18446744073709551615 c 0.10 d true e 2026-01-02T04:04:05+01:00
 f [1,2] g text \\xfe \\x00 => [update]
DIRTY.FLUSH t UPDATE \\xff 2 d 0 b 7 NULL 1 a => [update]",
    );
    let ids = read(&story.redis.value(&words("DIRTY.READ s FROM 0"))).ids;
    let [first, second, third] = &ids[..] else {
        panic!("{ids:?}");
    };
    let resp2 = format!(
        "[events [\
         [id {first} entity t entity-id \\xff op insert deliveries (1)] \
         [id {second} entity t entity-id \\xff op update changes [\
         a [nil (-5)] b [nil 18446744073709551615] c [nil 0.1] d [nil (1)] \
         e [nil 2026-01-02T03:04:05Z] f [nil [1,2]] g [nil text] \\xfe [nil \\x00]] deliveries (1)] \
         [id {third} entity t entity-id \\xff op update changes [\
         d [(1) (0)] b [18446744073709551615 (7)] a [(-5) nil]] deliveries (1)]] \
         missed (0) more (0) not-held []]"
    );
    assert_eq!(story.redis.run("DIRTY.CONSUME s GROUP g c"), resp2);
    let mut resp3 = story.server.connect_resp3();
    let reply = resp3.run("DIRTY.CONSUME s CURSOR c");
    let expected = format!(
        "{{events: [\
         {{id: {first}, entity: t, entity-id: \\xff, op: insert}} \
         {{id: {second}, entity: t, entity-id: \\xff, op: update, changes: {{\
         a: [nil (-5)], b: [nil 18446744073709551615], c: [nil 0.1], d: [nil true], \
         e: [nil 2026-01-02T03:04:05Z], f: [nil [1,2]], g: [nil text], \\xfe: [nil \\x00]}}}} \
         {{id: {third}, entity: t, entity-id: \\xff, op: update, changes: {{\
         d: [true false], b: [18446744073709551615 (7)], a: [(-5) nil]}}}}], \
         missed: (0), more: false, position: {third}/"
    );
    assert!(reply.starts_with(&expected), "{reply}");
    let empty = "{events: [], missed: (0), more: false, not-held: []}";
    assert_eq!(resp3.run("DIRTY.CONSUME s GROUP g c"), empty);
    let not_held = "{events: [], missed: (0), more: false, not-held: [1-1]}";
    assert_eq!(resp3.run("DIRTY.CONSUME s GROUP g c ACK 1 1-1"), not_held);
    story.expect("DEL s => (1)");
    let unknown = "{events: [], missed: nil, more: false, not-held: []}";
    assert_eq!(resp3.run("DIRTY.CONSUME s GROUP g c"), unknown);
}

#[test]
fn entries_that_are_no_events_are_delivered_raw_and_stop_no_reader() {
    let mut story = Story::with(&["1"]);
    story.expect(
        "DIRTY.READER s GROUP g FROM 0 ORDER ENTITY => OK
DIRTY.READER s CURSOR c FROM 0 => OK",
    );
    for (n, entry) in [
        "a b a c",
        "s hello",
        "s \\xc1",
        "s \\x91\\x91",
        "\\xff \\x00",
    ]
    .iter()
    .enumerate()
    {
        story.run(&format!("XADD s 9999999999999-{n} {entry}"));
    }
    story.redis.value(&[
        b"XADD".as_slice(),
        b"s",
        b"9999999999999-7",
        b"s",
        b"\x81\xa2et\xdf\xff\xff\xff\xff",
    ]);
    let greatest = "18446744073709551615-18446744073709551615";
    story.run(&format!("XADD s {greatest} a b"));
    for reader in ["GROUP g c", "CURSOR c"] {
        let events = events(&mut story.redis, &format!("s {reader}"));
        assert_eq!(events, "1 raw raw raw raw raw raw raw", "{reader}");
    }
    // The greatest id is pending like any other.
    story.expect(&format!(
        "DIRTY.LEAVE s GROUP g c => (8)\nDIRTY.ACK s GROUP g me FORCE {greatest} => []"
    ));
    let mut resp3 = story.server.connect_resp3();
    let raw = resp3.run("DIRTY.READ s FROM 0 COUNT 2");
    assert!(raw.contains("fields: [a b a c]}"), "{raw}");
    let raw = resp3.run("DIRTY.CONSUME s GROUP g d COUNT 1 RAW");
    assert!(raw.contains("fields: [s \\x83\\xa2et"), "{raw}");
    assert!(raw.contains("deliveries: (1)}]"), "{raw}");
}

/// Consumers on threads, of which some vanish between delivery and acknowledgement.
#[test]
fn concurrent_consumers_that_crash_lose_nothing_and_share_nothing() {
    const EVENTS: usize = 400;
    let mut story = Story::begin();
    story.expect("DIRTY.READER s GROUP g FROM 0 CLAIM 1500 MAXPENDING 7 => OK");
    let work = |consumer: usize, mut redis: Conn| {
        let (mut ack, mut handled) = (String::new(), Vec::new());
        for call in 0.. {
            let line = format!("s GROUP g c{consumer} {ack} COUNT 7 BLOCK 3000");
            let batch = consume(&mut redis, &line);
            if batch.ids.is_empty() || consumer >= 3 && call == 5 {
                return handled; // its connection is cut
            }
            ack = format!("ACK {} {}", batch.ids.len(), batch.ids.join(" "));
            handled.extend(batch.events);
        }
        handled
    };
    let handled: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|n| {
                let redis = match n % 2 {
                    0 => story.server.connect(),
                    _ => story.server.connect_resp3(),
                };
                scope.spawn(move || work(n, redis))
            })
            .collect();
        for id in 0..EVENTS {
            story.redis.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
        }
        let handled = workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"));
        handled.flatten().collect()
    });
    let of = |event: &String| event.split('x').next().and_then(|id| id.parse().ok());
    let handled_ids: Option<Vec<usize>> = handled.iter().map(of).collect();
    let mut ids = handled_ids.expect("numbers");
    ids.sort_unstable();
    assert_eq!(
        ids,
        (0..EVENTS).collect::<Vec<_>>(),
        "each, and by one consumer only"
    );
    let again = handled.iter().filter(|event| event.contains('x')).count();
    assert!(
        (3..=21).contains(&again),
        "{again}, what three consumers took along"
    );
    assert_eq!(story.run("DIRTY.PENDING s GROUP g"), "[]");
}

#[test]
fn numbers_bound_what_is_delivered() {
    let mut story = Story::begin();
    let ops: String = (0..150).map(|n| format!(" INSERT {n} 0")).collect();
    story.run(&format!("DIRTY.FLUSH user{ops}"));
    story.expect("DIRTY.READER s GROUP g FROM 0 => OK\nDIRTY.READER s CURSOR c FROM 0 => OK");
    for (call, expected) in [
        ("CURSOR c", 100),
        ("CURSOR c COUNT 4294967295", 150),
        ("CURSOR c COUNT 1", 1),
        ("GROUP g a", 100),
        ("GROUP g a COUNT 4294967295", 50),
    ] {
        let read = consume(&mut story.redis, &format!("s {call}"));
        assert_eq!(read.events.len(), expected, "{call}");
        assert_eq!(
            read.more,
            ["CURSOR c", "CURSOR c COUNT 1", "GROUP g a"].contains(&call)
        );
    }
}
