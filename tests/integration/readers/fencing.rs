//! What one consumer holds, no other finishes.

use crate::support::cases;
use crate::support::story::Story;

/// How consumer `c1` loses event 1, and whether a group in the stream's order loses it so, too: there the turn stays
/// with `c1` but for silence and LEAVE.
const LOSSES: &[(&str, bool)] = &[
    ("wait 620 => -", true),
    ("DIRTY.LEAVE s GROUP g c1 => (1)", true),
    ("DIRTY.FAIL s GROUP g c1 why DELAY 0 #1 => [retry]", false),
    (
        "DIRTY.FAIL s GROUP g operator why FORCE DELAY 0 #1 => [retry]",
        false,
    ),
    ("DIRTY.SEEK s GROUP g 0 => OK", false),
    (
        "DIRTY.FAIL s GROUP g c1 why FATAL #1 => [dead]\nDIRTY.REDRIVE s GROUP g ALL => (1)",
        false,
    ),
    (
        "DIRTY.FORGET s GROUP g => (1)\nDIRTY.READER s GROUP g FROM 0 => OK",
        true,
    ),
    (
        "DEL s:readers => (1)\nDIRTY.READER s GROUP g FROM 0 => OK",
        true,
    ),
];

const LATE: &str = "
DIRTY.ACK s GROUP g c1 #1 => [#1]
DIRTY.CONSUME s GROUP g c1 ACK 1 #1 => | not-held #1
DIRTY.FAIL s GROUP g c1 late #1 => [not-held]
DIRTY.FAIL s GROUP g c1 late DELAY 0 #1 => [not-held]
DIRTY.FAIL s GROUP g c1 late FATAL #1 => [not-held]
DIRTY.HOLD s GROUP g c1 #1 => [#1]
DIRTY.HOLD s GROUP g c1 => []
";

#[test]
fn late_answers_for_an_event_that_another_has_now_change_nothing_and_are_told() {
    for (loss, of_stream) in LOSSES {
        for order in ["NONE", "ENTITY", "META m", "STREAM"] {
            if order == "STREAM" && !of_stream {
                continue;
            }
            let mut story = Story::with(&["1"]);
            let settings = "CLAIM 600 MAXDELIVERIES 9";
            story.expect(&format!(
                "DIRTY.READER s GROUP g FROM 0 ORDER {order} {settings} => OK\n\
                 DIRTY.CONSUME s GROUP g c1 => #1"
            ));
            story.expect(loss);
            let taken = story.run("DIRTY.CONSUME s GROUP g c3");
            assert!(taken.starts_with("#1"), "{loss}, {order}: {taken}");
            let pending = story.run("DIRTY.PENDING s GROUP g");
            assert!(pending.contains("consumer c3"), "{loss}: {pending}");
            let before = story.redis.written();
            for (late, reply) in cases(LATE) {
                assert_eq!(story.run(&late), reply, "{loss}, {order}: {late}");
                assert_eq!(story.redis.written(), before, "{loss}, {order}: {late}");
            }
            story.expect("DIRTY.LEAVE s GROUP g c1 => (0)");
            story.expect(
                "
DIRTY.ACK s GROUP g c3 #1 => []
DIRTY.ACK s GROUP g c3 #1 => [#1]
DIRTY.PENDING s GROUP g => []
",
            );
        }
    }
}

#[test]
fn of_a_list_only_what_the_consumer_does_not_hold_is_told() {
    Story::with(&["1", "2", "3", "4"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.CONSUME s GROUP g b COUNT 1 => #3 | more
DIRTY.HOLD s GROUP g a #1 #3 #4 #2 => [#3 #4]
DIRTY.FAIL s GROUP g a why DELAY 60000 #3 #1 #4 #1 => [not-held retry not-held retry]
DIRTY.CONSUME s GROUP g a ACK 4 #4 #2 #3 #2 COUNT 1 => #4 | not-held #4 #2 #3
DIRTY.ACK s GROUP g a 0-0 0-1 18446744073709551615-18446744073709551615 #4 =>
 [0-0 0-1 18446744073709551615-18446744073709551615]
DIRTY.PENDING s GROUP g CONSUMER b =>
 [[id #3 state held consumer b idle-ms - due-ms (T) deliveries (1) failures (0) error nil key nil]]
",
    );
}

#[test]
fn an_operator_acts_whoever_holds_an_event_or_nobody() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.ACK s GROUP g operator #1 => [#1]
DIRTY.ACK s GROUP g operator FORCE #1 => []
DIRTY.FAIL s GROUP g operator why FORCE DELAY 60000 #2 => [retry]
DIRTY.ACK s GROUP g a #2 => [#2]
DIRTY.FAIL s GROUP g operator stuck FORCE FATAL #2 #3 => [dead not-held]
XLEN s:dead => (1)
DIRTY.PENDING s GROUP g => []
DIRTY.CONSUME s GROUP g a => #3
",
    );
}
