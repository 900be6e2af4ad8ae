//! DIRTY.PENDING and STATS of groups with an order: what waits, for whom, and why.

use crate::support::story::Story;

#[test]
fn pending_tells_held_delayed_queued_parked_and_free_events_with_key_holder_and_error() {
    let mut story = Story::with(&["1", "2", "1", "3", "2", "1"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER ENTITY ONDEAD PARK => OK
DIRTY.CONSUME s GROUP g a COUNT 2 => #1 #2 | more
DIRTY.CONSUME s GROUP g b => #4
DIRTY.FAIL s GROUP g a why DELAY 60000 #2 => [retry]
DIRTY.FAIL s GROUP g b bad FATAL #4 => [dead]
",
    );
    story.publish(&["3"]);
    story.expect(
        "
DIRTY.CONSUME s GROUP g b =>\x20
DIRTY.PENDING s GROUP g =>
 [[id #1 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key [user 1]]
 [id #2 state delayed consumer nil idle-ms nil due-ms (T) deliveries (1) failures (1) error why key [user 2]]
 [id #3 state queued consumer a idle-ms nil due-ms nil deliveries (0) failures (0) error nil key [user 1]]
 [id #5 state queued consumer nil idle-ms nil due-ms nil deliveries (0) failures (0) error nil key [user 2]]
 [id #6 state queued consumer a idle-ms nil due-ms nil deliveries (0) failures (0) error nil key [user 1]]
 [id #7 state parked consumer nil idle-ms nil due-ms nil deliveries (0) failures (0) error nil key [user 3]]]
DIRTY.PENDING s GROUP g CONSUMER a =>
 [[id #1 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key [user 1]]]
DIRTY.LEAVE s GROUP g a => (1)
DIRTY.PENDING s GROUP g COUNT 1 =>
 [[id #1 state free consumer nil idle-ms nil due-ms (T) deliveries (0) failures (0) error nil key [user 1]]]
DIRTY.REDRIVE s GROUP g ENTITY user 3 => (1)
DIRTY.PENDING s GROUP g AFTER #3 COUNT 1 =>
 [[id #4 state free consumer nil idle-ms nil due-ms (T) deliveries (0) failures (0) error nil key [user 3]]]
DIRTY.CONSUME s GROUP g b => #1 #3 #6 #4 #7
",
    );
}

#[test]
fn pending_tells_the_keys_of_an_order_by_meta_and_none_where_there_are_none() {
    let mut story = Story::begin();
    for meta in ["META 1 m x", "META 1 o x"] {
        story.run(&format!("DIRTY.FLUSH user {meta} INSERT 1 0"));
    }
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 ORDER META m => OK
DIRTY.READER s GROUP h FROM 0 ORDER STREAM => OK
DIRTY.CONSUME s GROUP g a => #1 #2
DIRTY.PENDING s GROUP g =>
 [[id #1 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key x]
 [id #2 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key nil]]
DIRTY.CONSUME s GROUP h a COUNT 1 => #1 | more
DIRTY.PENDING s GROUP h =>
 [[id #1 state held consumer a idle-ms - due-ms (T) deliveries (1) failures (0) error nil key nil]]
",
    );
}
