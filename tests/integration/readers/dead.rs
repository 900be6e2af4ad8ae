//! REDRIVE and DISCARD.

use crate::support::story::Story;

#[test]
fn redriven_events_come_back_to_the_group_that_gave_them_up_and_to_nobody_else() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s GROUP h FROM 0 => OK
DIRTY.CONSUME s GROUP g a => #1 #2 #3
DIRTY.CONSUME s GROUP h a ACK 0 => #1 #2 #3
DIRTY.FAIL s GROUP g a why FATAL #1 #2 => [dead dead]
DIRTY.REDRIVE s GROUP h ALL => (0)
DIRTY.REDRIVE s GROUP g IDS 0 => (0)
DIRTY.REDRIVE s GROUP g IDS 1 #2 => (1)
XLEN s => (3)
XLEN s:dead => (2)
DIRTY.CONSUME s GROUP g b => #2
DIRTY.ACK s GROUP g b #2 => []
XLEN s:dead => (1)
DIRTY.REDRIVE s GROUP g ENTITY user 1 => (1)
XDEL s #1 => (1)
DIRTY.CONSUME s GROUP g b => #1
DIRTY.DISCARD s GROUP g ALL => (0)
DIRTY.ACK s GROUP g b #1 => []
XLEN s:dead => (0)
DIRTY.REDRIVE s GROUP g KEY x => ERR KEY requires a group with ORDER META
",
    );
}

#[test]
fn a_parked_key_waits_until_its_dead_event_is_redriven_or_discarded() {
    Story::with(&["1", "2", "1", "1"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY ONDEAD PARK => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.FAIL s GROUP g a why FATAL #1 => [dead]
DIRTY.CONSUME s GROUP g a => #2
DIRTY.REDRIVE s GROUP g ALL => (1)
DIRTY.CONSUME s GROUP g b => #1 #3 #4
DIRTY.FAIL s GROUP g b why FATAL #1 => [dead]
DIRTY.CONSUME s GROUP g b =>\x20
DIRTY.DISCARD s GROUP g ENTITY user 1 => (1)
DIRTY.CONSUME s GROUP g b => #3 #4
XLEN s:dead => (0)
",
    );
}

#[test]
fn another_dead_stream_is_asked_of_the_user_whose_call_writes_there() {
    let mut story = Story::with(&["1", "2"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 DEAD d => OK
DIRTY.CONSUME s GROUP g a => #1 #2
ACL SETUSER u on nopass +@all ~s => OK
AUTH u x => OK
DIRTY.FAIL s GROUP g a why FATAL #1 => NOPERM this user may not write the key \"d\"
DIRTY.FAIL s GROUP g a why DELAY 0 #1 => [retry]
AUTH default x => OK
EXISTS d s:dead => (0)
SET d v => OK
DIRTY.FAIL s GROUP g a why FATAL #2 => WRONGTYPE the key \"d\" does not hold a stream
DIRTY.PENDING s GROUP g CONSUMER a COUNT 1 =>
 [[id #2 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key nil]]
",
    );
}
