//! Native groups beside ours.

use crate::support::story::Story;

#[test]
fn a_native_group_is_taken_over_in_one_step() {
    Story::with(&["1", "2", "3", "4"]).expect(
        "
XGROUP CREATE s n 0 => OK
XGROUP CREATE s m 0 => OK
DIRTY.READER s GROUP g FROM GROUP none => ERR there is no native group \"none\" on \"s\"
XACK s n #1 => (0)
",
    );
    let mut story = Story::with(&["1", "2", "3", "4"]);
    story.redis.ok(&["XGROUP", "CREATE", "s", "n", "0"]);
    story.redis.ok(&[
        "XREADGROUP",
        "GROUP",
        "n",
        "a",
        "COUNT",
        "3",
        "STREAMS",
        "s",
        ">",
    ]);
    story.expect(
        "
XACK s n #2 => (1)
DIRTY.READER s GROUP g FROM GROUP n => OK
XINFO GROUPS s => []
DIRTY.CONSUME s GROUP g b => #4
DIRTY.CONSUME s GROUP g a PENDING => #1:2 #3:2
",
    );
}

#[test]
fn our_commands_leave_native_groups_alone() {
    let mut story = Story::with(&["1", "2"]);
    story.redis.ok(&["XGROUP", "CREATE", "s", "g", "0"]);
    story
        .redis
        .ok(&["XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", ">"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a => #1 #2
DIRTY.ACK s GROUP g a #1 #2 => []
DIRTY.FORGET s GROUP g => (1)
XLEN s => (2)
XACK s g #1 #2 => (2)
",
    );
}
