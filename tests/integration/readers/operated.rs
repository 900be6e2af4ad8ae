//! PAUSE, SEEK, FORGET, STATS.

use crate::support::story::Story;

#[test]
fn a_paused_group_gives_nothing_and_takes_acknowledgements() {
    Story::with(&["1", "2"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.PAUSE s GROUP g ON => OK
DIRTY.CONSUME s GROUP g a =>\x20
DIRTY.ACK s GROUP g a #1 => []
DIRTY.READER s GROUP g CLAIM 5 => OK
DIRTY.CONSUME s GROUP g a =>\x20
DIRTY.PAUSE s GROUP g OFF => OK
DIRTY.CONSUME s GROUP g a => #2
DIRTY.PAUSE s GROUP g MAYBE => ERR PAUSE must be ON or OFF, not \"MAYBE\"
",
    );
}

#[test]
fn a_group_moves_forward_and_back() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM $ => OK
DIRTY.CONSUME s GROUP g a =>\x20
DIRTY.SEEK s GROUP g #1 => OK
DIRTY.CONSUME s GROUP g a => #2 #3
DIRTY.SEEK s GROUP g 0 => OK
DIRTY.CONSUME s GROUP g b => #1 #2 #3
DIRTY.ACK s GROUP g a #2 => [#2]
DIRTY.SEEK s GROUP g $ => OK
DIRTY.CONSUME s GROUP g b =>\x20
",
    );
}

#[test]
fn stats_tell_of_every_reader_whoever_keeps_its_state() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 3 WHERE ID 2 1 2 => OK
DIRTY.READER s CURSOR c FROM #2 SHARD 0 1 => OK
XGROUP CREATE s n 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
",
    );
    let stats = story.run("DIRTY.STATS s");
    for part in [
        "length (3)",
        "dead (0)",
        "name g kind group lag (2)",
        "missed (0) position #1",
        "where [ID 2 1 2]",
        "delivered (1) redelivered (0) acknowledged (0) failed (0) died (0) rejected (0) missed-total (0)",
        "order NONE claim-ms (60000) max-pending (10000) max-deliveries (3) on-dead SKIP pending (1) held (1)",
        "consumers [[name a pending (1)",
        "name c kind cursor lag (1)",
        "name n kind native lag (3)",
    ] {
        assert!(stats.contains(part), "{part} in {stats}");
    }
    let alone = story.run("DIRTY.STATS none");
    assert!(alone.ends_with("readers []]"), "{alone}");
}
