//! CONSUME CURSOR, ACK, FAIL.

use crate::support::story::{Story, short};

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
