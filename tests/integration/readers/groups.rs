//! CONSUME GROUP, ACK, HOLD, FAIL, LEAVE, PENDING.

use crate::support::story::Story;

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
