//! A stream and its readers are two keys: what becomes of readers when one of them, or both, go elsewhere.

use crate::support::story::{Story, short};
use crate::support::{Server, cases, words};

/// Commands, then the replies of `DIRTY.CONSUME` by group g and cursor c after them, and again when two events more were
/// published to `s`. Before, the group has read three of five events, and the cursor has acknowledged one.
const MOVED: &str = "
PING => #4 #5 | #2 #3 #4 #5 | #6 #7 | #2 #3 #4 #5 #6 #7
DEL_s => missed_? | missed_? | #1 #2 | #1 #2 missed_?
UNLINK_s => missed_? | missed_? | #1 #2 | #1 #2 missed_?
RENAME_s_t => missed_? | missed_? | #1 #2 | #1 #2 missed_?
MOVE_s_1 => missed_? | missed_? | #1 #2 | #1 #2 missed_?
PEXPIREAT_s_1 => missed_? | missed_? | #1 #2 | #1 #2 missed_?
SET_s_x;DEL_s => missed_? | missed_? | #1 #2 | #1 #2 missed_?
DEL_s:readers => no | no | no | no
UNLINK_s:readers => no | no | no | no
RENAME_s:readers_t:readers => no | no | no | no
MOVE_s:readers_1 => no | no | no | no
PEXPIREAT_s:readers_1 => no | no | no | no
DEL_s_s:readers => no | no | no | no
RENAME_s_t;RENAME_s:readers_t:readers => no | no | no | no
FLUSHDB => no | no | no | no
FLUSHALL_ASYNC => no | no | no | no
SWAPDB_0_1 => no | no | no | no
# There and back again.
RENAME_s_t;RENAME_t_s => #4 #5 | #2 #3 #4 #5 | #6 #7 | #2 #3 #4 #5 #6 #7
RENAME_s:readers_t;RENAME_t_s:readers => #4 #5 | #2 #3 #4 #5 | #6 #7 | #2 #3 #4 #5 #6 #7
SWAPDB_0_1;SWAPDB_1_0 => #4 #5 | #2 #3 #4 #5 | #6 #7 | #2 #3 #4 #5 #6 #7
COPY_s:readers_t;DEL_s:readers;RENAME_t_s:readers => #4 #5 | #2 #3 #4 #5 | #6 #7 | #2 #3 #4 #5 #6 #7
# Another stream takes the place, with fewer entries or none.
XADD_t_1-1_a_b;RENAME_t_s => 1-1 missed_? | 1-1 missed_? | #2 #3 | 1-1 #2 #3 missed_?
XADD_t_1-1_a_b;COPY_t_s_REPLACE => 1-1 missed_? | 1-1 missed_? | #2 #3 | 1-1 #2 #3 missed_?
XTRIM_s_MAXLEN_0 =>  |  | #6 #7 missed_2 | #6 #7 missed_4
";

fn run(story: &mut Story, command: &str) -> String {
    story.run(&command.replace('_', " "))
}

fn told(story: &mut Story, reader: &str) -> String {
    let reply = story.run(&format!("DIRTY.CONSUME s {reader}"));
    if reply.starts_with("NOREADER") {
        return "no".into();
    }
    let parts = reply
        .split(" | ")
        .filter(|part| !part.trim_start_matches("| ").starts_with("position"));
    let parts: Vec<String> = parts
        .map(|part| part.trim_start_matches("| ").replace("missed ", "missed_"))
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(" ")
}

#[test]
fn readers_go_on_are_begun_again_or_are_gone() {
    for (commands, expected) in cases(MOVED) {
        let mut story = Story::with(&["1", "2", "3", "4", "5"]);
        story.redis.run("DIRTY.READER s GROUP g FROM 0");
        story.redis.run("DIRTY.READER s CURSOR c FROM 0");
        let first = short(
            &story
                .redis
                .value(&words("DIRTY.CONSUME s GROUP g a COUNT 3")),
        );
        assert_eq!(first, "#1 #2 #3 | more");
        let read = crate::support::readers::consume(&mut story.redis, "s CURSOR c COUNT 1");
        let position = read.position.expect("a position");
        assert_eq!(
            story.run(&format!("DIRTY.ACK s CURSOR c {position}")),
            "(1)"
        );
        for command in commands.split(';') {
            let reply = run(&mut story, command);
            assert!(!reply.starts_with("ERR"), "{command}: {reply}");
        }
        let mut got = vec![told(&mut story, "GROUP g a"), told(&mut story, "CURSOR c")];
        if !got.contains(&"no".to_string()) {
            story.publish(&["6", "7"]);
        }
        got.extend([told(&mut story, "GROUP g a"), told(&mut story, "CURSOR c")]);
        assert_eq!(got.join(" | "), expected, "{commands}");
    }
}

/// Two keys that go together take everything along.
#[test]
fn readers_go_on_where_both_keys_went() {
    for commands in [
        "RENAME_s_t;RENAME_s:readers_t:readers",
        "COPY_s_t;COPY_s:readers_t:readers",
        "RENAME_s:readers_t:readers;RENAME_s_t",
    ] {
        let mut story = Story::with(&["1", "2", "3"]);
        story.expect(
            "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.FAIL s GROUP g a why DELAY 60000 #2 => [retry]
",
        );
        for command in commands.split(';') {
            run(&mut story, command);
        }
        let reply = story.run("DIRTY.CONSUME t GROUP g b");
        assert_eq!(reply, "#3", "{commands}");
        let pending = story.run("DIRTY.PENDING t GROUP g");
        for part in ["state held consumer a", "state delayed", "error why"] {
            assert!(pending.contains(part), "{commands}: {part} in {pending}");
        }
    }
}

#[test]
fn readers_go_to_another_database_with_their_stream() {
    for commands in [
        "MOVE_s_1;MOVE_s:readers_1;SELECT_1",
        "MOVE_s:readers_1;MOVE_s_1;SELECT_1",
        "COPY_s_s_DB_1;COPY_s:readers_s:readers_DB_1;SELECT_1",
        "SWAPDB_0_1;SELECT_1",
    ] {
        let mut story = Story::with(&["1", "2", "3"]);
        story.redis.run("DIRTY.READER s GROUP g FROM 0");
        assert_eq!(
            story.run("DIRTY.CONSUME s GROUP g a COUNT 2"),
            "#1 #2 | more"
        );
        for command in commands.split(';') {
            run(&mut story, command);
        }
        assert_eq!(
            story.run("DIRTY.CONSUME s GROUP g a ACK 1 #1"),
            "#3",
            "{commands}"
        );
    }
}

/// Dead events name the stream in which they died. Those that keep a key parked, and those that were redriven, are known
/// to the group besides; the others are left.
#[test]
fn behind_a_rename_parked_keys_are_redriven_and_discarded() {
    for (command, next) in [
        ("REDRIVE t GROUP g ALL", "#1 #2"),
        ("REDRIVE t GROUP g ENTITY user 1", "#1 #2"),
        ("DISCARD t GROUP g ALL", "#2"),
        ("DISCARD t GROUP g IDS 1 #1", "#2"),
    ] {
        let mut story = Story::with(&["1", "1", "2"]);
        story.expect(
            "DIRTY.READER s GROUP g FROM 0 ORDER ENTITY ONDEAD PARK => OK
DIRTY.READER s GROUP skips FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.FAIL s GROUP g a oh FATAL #1 => [dead]
DIRTY.CONSUME s GROUP skips a COUNT 1 => #1 | more
DIRTY.FAIL s GROUP skips a oh FATAL #1 => [dead]
DIRTY.CONSUME s GROUP g a => #3
DIRTY.ACK s GROUP g a #3 => []
RENAME s t => OK
RENAME s:readers t:readers => OK
RENAME s:dead t:dead => OK
DIRTY.REDRIVE t GROUP skips ALL => (0)
DIRTY.DISCARD t GROUP skips ALL => (0)",
        );
        assert_eq!(story.run(&format!("DIRTY.{command}")), "(1)", "{command}");
        assert_eq!(story.run("DIRTY.CONSUME t GROUP g a"), next, "{command}");
        if next == "#1 #2" {
            // Given back, it is known as one that was redriven.
            story.expect("DIRTY.LEAVE t GROUP g a => (2)\nDIRTY.DISCARD t GROUP g ALL => (1)");
        }
        assert_eq!(story.run("XLEN t:dead"), "(1)", "{command}");
    }
}

/// What is restored from a backup may be older or younger than its stream.
#[test]
fn restored_readers_are_behind_their_stream_or_begun_again() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.redis.run("DIRTY.READER s GROUP g FROM 0");
    assert_eq!(story.run("DIRTY.CONSUME s GROUP g a COUNT 1"), "#1 | more");
    let readers = crate::support::dumps::dump(&mut story.redis, "s:readers");
    let stream = crate::support::dumps::dump(&mut story.redis, "s");
    assert_eq!(story.run("DIRTY.CONSUME s GROUP g a"), "#2 #3");
    let restore = |story: &mut Story, key: &[u8], payload: &[u8]| {
        let words: [&[u8]; 5] = [b"RESTORE", key, b"0", payload, b"REPLACE"];
        assert_eq!(story.redis.raw(&words), "OK");
    };
    // Older readers: what came since comes again.
    restore(&mut story, b"s:readers", &readers);
    assert_eq!(story.run("DIRTY.CONSUME s GROUP g a"), "#2 #3");
    // An older stream: the readers stand beyond its end, and begin again.
    story.publish(&["4"]);
    assert_eq!(story.run("DIRTY.CONSUME s GROUP g a"), "#4");
    restore(&mut story, b"s", &stream);
    assert_eq!(
        story.run("DIRTY.CONSUME s GROUP g a"),
        "#1 #2 #3 | missed ?"
    );
}

/// The copy and the rest are another's: nothing of one moves the other.
#[test]
fn a_value_that_another_key_takes_is_wrong_there_and_right_when_it_comes_back() {
    let mut story = Story::on(Server::start());
    story.publish(&["1"]);
    story.redis.run("DIRTY.READER s GROUP g FROM 0");
    let wrong = "WRONGTYPE the key \"s:readers\" does not hold readers of a stream";
    story.redis.ok(&["RENAME", "s:readers", "x"]);
    for value in ["SET s:readers x", "DIRTY.DECLARE s:readers STREAM other"] {
        story.redis.run("DEL s:readers");
        assert_eq!(story.redis.run(value), "OK");
        for command in [
            "DIRTY.READER s GROUP g FROM 0",
            "DIRTY.CONSUME s GROUP g a BLOCK 1",
            "DIRTY.PENDING s GROUP g",
            "DIRTY.STATS s",
            "DIRTY.FORGET s GROUP g",
        ] {
            assert_eq!(story.run(command), wrong, "{value}, {command}");
        }
    }
    story.redis.ok(&["RENAME", "x", "s:readers"]);
    assert_eq!(story.run("DIRTY.CONSUME s GROUP g a"), "#1");
}
