//! CONSUME CURSOR, ACK, FAIL.

use crate::support::readers::{consume, events, read};
use crate::support::story::{Story, short};
use crate::support::{Server, words};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn position(story: &mut Story, command: &str) -> String {
    let words = story.words(command);
    let reply = crate::support::text(&story.redis.value(&words));
    let position = reply.split("position ").nth(1).expect("a position");
    position.trim_matches(']').into()
}

#[test]
fn a_cursor_moves_by_ack_alone_and_never_back() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect(
        "
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s CURSOR c COUNT 2 => #1 #2 | more | position #2
DIRTY.CONSUME s CURSOR c COUNT 2 => #1 #2 | more | position #2
",
    );
    let second = position(&mut story, "DIRTY.CONSUME s CURSOR c COUNT 2");
    assert_eq!(story.run(&format!("DIRTY.ACK s CURSOR c {second}")), "(1)");
    assert_eq!(story.run(&format!("DIRTY.ACK s CURSOR c {second}")), "(0)");
    story.expect("DIRTY.CONSUME s CURSOR c => #3 | position #3");
    // A position of before a SEEK moves nothing.
    story.expect("DIRTY.SEEK s CURSOR c 0 => OK");
    assert_eq!(
        story.run(&format!("DIRTY.CONSUME s CURSOR c ACK {second} COUNT 1")),
        "#1 | more | position #1"
    );
}

#[test]
fn a_cursor_writes_nothing_while_it_is_read() {
    let mut story = Story::with(&["1", "2"]);
    story.expect("DIRTY.READER s CURSOR c FROM 0 => OK");
    let before = (story.redis.replicated(), story.redis.digest());
    story.expect("DIRTY.CONSUME s CURSOR c => #1 #2 | position #2");
    assert_eq!((story.redis.replicated(), story.redis.digest()), before);
}

#[test]
fn an_event_that_a_cursor_cannot_handle_goes_to_the_dead_stream() {
    Story::with(&["1", "2"]).expect(
        "
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.FAIL s CURSOR c why #2 #9 => [dead not-held]
XLEN s:dead => (1)
DIRTY.DISCARD s CURSOR c IDS 1 #2 => (1)
EXISTS s:dead => (1)
XLEN s:dead => (0)
",
    );
}

#[test]
fn shards_share_the_entities() {
    let mut story = Story::with(&["1", "2", "3", "4", "5", "6"]);
    story.expect("DIRTY.READER s CURSOR a FROM 0 SHARD 0 2 => OK");
    story.expect("DIRTY.READER s CURSOR b FROM 0 SHARD 1 2 => OK");
    let mut all: Vec<String> = Vec::new();
    for cursor in ["a", "b"] {
        let words = story.words(&format!("DIRTY.CONSUME s CURSOR {cursor}"));
        let reply = short(&story.redis.value(&words));
        let events = reply.split(" |").next().expect("events");
        all.extend(events.split(' ').map(str::to_string));
    }
    all.sort();
    assert_eq!(all, ["#1", "#2", "#3", "#4", "#5", "#6"]);
    story.expect(
        "DIRTY.READER s CURSOR a SHARD 0 3 => ERR SHARD cannot change: make another cursor",
    );
}

#[test]
fn a_running_cursors_late_acknowledgement_does_not_undo_a_seek() {
    for start in ["0", "#2", "$", "1"] {
        let mut story = Story::with(&["1", "2", "3", "4"]);
        story.expect("DIRTY.READER s CURSOR c FROM 0 => OK");
        let old = ["COUNT 1", "COUNT 3", ""]
            .map(|count| position(&mut story, &format!("DIRTY.CONSUME s CURSOR c {count}")));
        let epoch = old[0].split('/').nth(1).expect("an epoch").to_string();
        story.expect(&format!("DIRTY.SEEK s CURSOR c {start} => OK"));
        let expected = story.run("DIRTY.CONSUME s CURSOR c COUNT 9");
        let before = story.redis.digest();
        for late in old
            .into_iter()
            .chain([format!("#4/{epoch}"), format!("#1/{epoch}")])
        {
            assert_eq!(story.run(&format!("DIRTY.ACK s CURSOR c {late}")), "(0)");
            let again = story.run(&format!("DIRTY.CONSUME s CURSOR c ACK {late} COUNT 9"));
            assert_eq!(again, expected, "{start}: {late}");
        }
        assert_eq!(story.redis.digest(), before);
        // An event's id alone says of no epoch that it is the present one.
        let bare = story.run("DIRTY.ACK s CURSOR c #4");
        assert!(bare.starts_with("ERR "), "{bare}");
        assert_eq!(story.redis.digest(), before);
    }
}

#[test]
fn a_part_of_a_batch_may_be_acknowledged_by_an_events_id_and_the_epoch() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect("DIRTY.READER s CURSOR c FROM 0 => OK");
    let last = position(&mut story, "DIRTY.CONSUME s CURSOR c");
    let epoch = last.split('/').nth(1).expect("an epoch").to_string();
    story.expect(&format!(
        "
DIRTY.ACK s CURSOR c #2/{epoch} => (1)
DIRTY.CONSUME s CURSOR c => #3 | position #3
DIRTY.ACK s CURSOR c #1/{epoch} => (0)
DIRTY.ACK s CURSOR c #2/{epoch} => (0)
DIRTY.ACK s CURSOR c 0-0/{epoch} => (0)
DIRTY.CONSUME s CURSOR c ACK #3/{epoch} => | position #3
"
    ));
}

/// A batch comes again until it is acknowledged, whoever asks, also after a crash.
#[test]
fn a_cursor_is_where_it_was_acknowledged_after_a_crash_and_with_more_readers() {
    let server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut story = Story::on(server);
    story.publish(&["1", "2", "3", "4", "5"]);
    story.expect("DIRTY.READER s CURSOR c FROM 0 => OK");
    for _ in 0..3 {
        let mut other = story.server.connect();
        assert_eq!(events(&mut other, "s CURSOR c COUNT 2"), "1 2");
    }
    let two = position(&mut story, "DIRTY.CONSUME s CURSOR c COUNT 2");
    assert_eq!(story.run(&format!("DIRTY.ACK s CURSOR c {two}")), "(1)");
    story.server.kill();
    story.server.start_again();
    story.redis = story.server.connect();
    story.expect("DIRTY.CONSUME s CURSOR c => #3 #4 #5 | position #5");
}

#[test]
fn four_shards_see_every_event_once_and_each_entity_in_order() {
    let mut story = Story::begin();
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..4 {
        for entity in 0..30 {
            // Numbers, texts, bytes.
            let id = match entity % 3 {
                0 => format!("{entity}"),
                1 => format!("id-{entity}"),
                _ => format!("\\xff{entity}"),
            };
            story.run(&format!("DIRTY.FLUSH user INSERT {id} 0"));
            *written.entry(id).or_default() += 1;
        }
        story.run(&format!("XADD s * foreign {round}"));
    }
    for batch in ["COUNT 7", "COUNT 1000", "COUNT 1"] {
        let mut shards: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        let mut got: BTreeMap<String, usize> = BTreeMap::new();
        for shard in 0..4 {
            let reader = format!("s CURSOR c{shard}");
            story.run(&format!("DIRTY.READER {reader} FROM 0 SHARD {shard} 4"));
            let mut ack = String::new();
            loop {
                let read = consume(&mut story.redis, &format!("{reader} {ack} {batch}"));
                assert_eq!(read.missed, "(0)");
                ack = format!("ACK {}", read.position.expect("a position"));
                assert!(read.ids.is_sorted_by_key(|id| (
                    id[..13].to_string(),
                    id[14..].parse::<u64>().expect("a seq")
                )));
                for event in read.events {
                    shards.entry(event.clone()).or_default().insert(shard);
                    *got.entry(event).or_default() += 1;
                }
                if !read.more {
                    break;
                }
            }
            story.run(&format!("DIRTY.FORGET {reader}"));
        }
        assert_eq!(shards.remove("raw"), Some([0].into()));
        assert_eq!(got.remove("raw"), Some(4));
        assert_eq!(got, written);
        assert!(
            shards.values().all(|shards| shards.len() == 1),
            "{shards:?}"
        );
        let used: BTreeSet<usize> = shards.into_values().flatten().collect();
        assert_eq!(used.len(), 4);
    }
}

#[test]
fn a_shard_never_changes_so_that_no_event_is_lost_or_doubled_between_shards() {
    let mut story = Story::with(&["1", "2", "3", "4"]);
    story.expect(
        "
DIRTY.READER s CURSOR a FROM 0 SHARD 0 2 => OK
DIRTY.READER s CURSOR b FROM 0 SHARD 1 2 => OK
DIRTY.READER s CURSOR whole FROM 0 => OK
",
    );
    let before = story.redis.digest();
    for (cursor, shard) in [
        ("a", "SHARD 0 3"),
        ("a", "SHARD 1 2"),
        ("a", ""),
        ("b", "SHARD 1 3 REVISION 5"),
        ("b", "FROM 0 SHARD 0 2"),
        ("whole", "SHARD 0 1"),
        ("whole", "SHARD 0 2"),
    ] {
        let reply = story.run(&format!("DIRTY.READER s CURSOR {cursor} {shard}"));
        assert_eq!(
            reply, "ERR SHARD cannot change: make another cursor",
            "{cursor} {shard}"
        );
        assert_eq!(story.redis.digest(), before);
    }
    for bad in [
        "SHARD 2 2",
        "SHARD 0 0",
        "SHARD -1 2",
        "SHARD 0",
        "SHARD x 2",
    ] {
        let reply = story.run(&format!("DIRTY.READER s CURSOR new FROM 0 {bad}"));
        assert!(reply.starts_with("ERR "), "{bad}: {reply}");
    }
    for call in [
        "CONSUME s CURSOR a SHARD 0 2",
        "SEEK s CURSOR a 0 SHARD 0 2",
    ] {
        let reply = story.run(&format!("DIRTY.{call}"));
        assert!(reply.starts_with("ERR "), "{call}: {reply}");
    }
    // Other settings may change with the shard as it is.
    story.expect("DIRTY.READER s CURSOR a SHARD 0 2 WHERE OPS I => OK");
}

#[test]
fn readers_begin_and_seek_where_from_says() {
    let mut story = Story::with(&["1", "2"]);
    std::thread::sleep(Duration::from_millis(10));
    story.publish(&["3", "4"]);
    let ids = consume_ids(&mut story);
    let third_ms = ids[2].split('-').next().expect("a time").to_string();
    for (n, (start, expected)) in [
        ("0", "1 2 3 4"),
        ("0-0", "1 2 3 4"),
        ("$", ""),
        (&*ids[0], "2 3 4"),
        (&*ids[1], "3 4"),
        (&*ids[3], ""),
        (&*third_ms, "3 4"),
        (&*format!("{third_ms}-0"), "3 4"),
        (&*format!("{}/77", ids[1]), "3 4"),
        ("1", "1 2 3 4"),
        ("99999999999999", ""),
    ]
    .into_iter()
    .enumerate()
    {
        for (reader, consumer) in [("CURSOR c", ""), ("GROUP g", "w")] {
            let new = format!("{reader}{n}");
            story.expect(&format!("DIRTY.READER s {new} FROM {start} => OK"));
            let read = consume(&mut story.redis, &format!("s {new} {consumer}"));
            assert_eq!(
                (&*read.events.join(" "), &*read.missed),
                (expected, "(0)"),
                "{new} {start}"
            );
            // FROM is for new ones only.
            story.expect(&format!("DIRTY.READER s {new} FROM 0 => OK"));
            let again = events(&mut story.redis, &format!("s {new} {consumer}"));
            let stays = if consumer.is_empty() { expected } else { "" };
            assert_eq!(again, stays, "{new} {start}");
            story.expect(&format!(
                "DIRTY.SEEK s {new} $ => OK\nDIRTY.SEEK s {new} {start} => OK"
            ));
            let read = consume(&mut story.redis, &format!("s {new} {consumer}"));
            assert_eq!(&*read.missed, "(0)");
            if consumer.is_empty() {
                assert_eq!(read.events.join(" "), expected, "SEEK {new} {start}");
            }
        }
        let looked = story.run(&format!("DIRTY.READ s FROM {start} COUNT 1"));
        let first = expected.split(' ').next().unwrap_or_default();
        let first = if first.is_empty() {
            String::new()
        } else {
            format!("#{first}")
        };
        assert!(looked.starts_with(&first), "READ {start}: {looked}");
    }
}

fn consume_ids(story: &mut Story) -> Vec<String> {
    let value = story.redis.value(&words("DIRTY.READ s FROM 0"));
    read(&value).ids
}
