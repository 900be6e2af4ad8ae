//! Each rule as a story: what is done, and what comes of it. See `story.rs` for the words.

use super::story::run;

macro_rules! stories {
    ($($name:ident: $story:literal)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name), $story);
            }
        )*
    };
}

stories! {
    each_event_goes_to_one_consumer: "
        group g from=0 -> OK
        add abcde
        read c1 n=2 -> 1:1 2:1 more
        read c2 n=2 -> 3:1 4:1 more
        read c1 ack=1,2 -> 5:1
        read c1 -> 
        pending -> 3 held c2, 4 held c2, 5 held c1
        pending c=c2 after=3 -> 4 held c2
        pending n=1 after=3 -> 4 held c2
        floor -> 3"
    with_claim_0_a_call_gives_each_event_once: "
        group g from=0 claim=0
        add abc
        read c1 n=10 -> 1:1 2:1 3:1
        read c2 n=10 -> 1:2 2:2 3:2
        read c2 n=2 -> 1:3 2:3 more
        read c2 pending n=10 -> 3:3 1:4 2:4
        add d
        read c1 n=4 -> 3:4 1:5 2:5 4:1
        read c1 n=10 -> 3:5 1:6 2:6 4:2"
    acknowledgements_of_what_others_hold_do_nothing_and_are_told: "
        group g from=0
        add abc
        read c1 n=2
        at 1000
        read c2 n=2 -> 1:2 2:2 more
        ack c1 1 2 3 -> 1 2 3
        read c1 ack=1 -> 3:1 not-held=1
        fail c1 1 -> not-held
        hold c1 1 3 -> 1
        ack c2 1 1 -> 1
        ack c9 force 2 7 -> 7
        pending -> 3 held c1"
    who_holds_something_may_have_what_is_long_due_as_soon_as_its_own_is_due: "
        group g from=0 claim=300 max=3
        add a
        read x -> 1:1
        at 200
        add b
        read c1 -> 2:1
        due -> 500
        at 400
        read c1 ->
        due -> 500
        at 500
        read c1 -> 1:2"
    who_waits_for_others_to_take_what_is_long_due_is_woken_then: "
        group g from=0 claim=300 max=3
        add ab
        read x n=1 -> 1:1 more
        at 200
        read c1 -> 2:1
        at 590
        hold c1
        add c
        at 600
        read c1 ->
        read c2 -> 1:2
        wake -> Some(1)
        read c1 -> 3:1"
    what_nobody_finishes_comes_again_after_claim_and_hold_renews_it: "
        group g from=0
        add ab
        read c1 -> 1:1 2:1
        due -> 1000
        at 600
        hold c1 2 ->
        at 1000
        read c2 -> 1:2
        due -> 1600
        at 1600
        read c2 -> 2:2
        at 2599
        hold c2 ->
        read c1 ->
        at 3598
        read c1 ->
        at 3599
        read c1 -> 1:3 2:3"
    a_failed_event_comes_after_its_delay_and_nothing_brings_it_sooner: "
        group g from=0 claim=5000
        add ab
        read c1 -> 1:1 2:1
        fail c1 1 -> retry
        wake -> None
        read c1 pending -> 2:2
        due -> 1000
        redrive 1 -> 1
        wake -> Some(1)
        read c2 -> 1:2/1
        fail c2 delay=0 1 -> retry
        wake -> Some(1)
        read c2 -> 1:3/2
        fail c2 delay=7000 m=late 1
        at 6999
        pending after=0 -> 1 delayed, 2 held c1
        read c3 -> 2:3
        at 7000
        read c3 -> 1:4/3"
    the_default_delay_is_no_longer_than_claim: "
        group g from=0 claim=300
        add a
        read c1
        fail c1 1 -> retry
        read c1 ->
        due -> 300"
    leaving_hands_on_at_once_and_does_not_count: "
        group g from=0 max=2
        add ab
        read c1 -> 1:1 2:1
        leave c1 -> 2
        wake -> Some(2)
        read c2 -> 1:1 2:1
        leave c1 -> 0
        leave c2 -> 2
        read c3 -> 1:1 2:1"
    deliveries_that_end_by_fail_or_silence_count_and_the_event_dies: "
        group g from=0 max=2
        add ab
        read c1 n=1 -> 1:1 more
        fail c1 delay=0 1 -> retry
        read c1 n=1 -> 1:2/1 more
        fail c1 m=second 1 -> dead
        dead -> 1 g c1 2/2 second
        read c1 -> 2:1
        at 1000
        read c2 -> 2:2
        at 2000
        read c3 -> 
        dead -> 1 g c1 2/2 second, 2 g c2 2/0 delivered 2 times and not acknowledged
        pending -> 
        stats -> due=0 queued=0 keys=0 parked=0 stalled=false [4, 2, 0, 2, 2, 0, 0]"
    events_queued_behind_one_that_comes_again_have_only_the_room_of_max_pending: "
        group g from=0 order=entity maxpending=2
        add aaaaa
        read c1 n=1 -> 1:1 more
        read c2 n=1 ->
        leave c1 -> 1
        read c3 -> 1:1 2:1
        read c3 ack=1,2 -> 3:1 4:1"
    what_the_server_does_not_tell_refuses_a_command_and_changes_nothing: "
        untold
        group g from=0 -> ERR internal error in the module dirty, see the server's log
        cursor c from=$ -> ERR internal error in the module dirty, see the server's log
        untold
        group g from=0 -> OK
        cursor c from=$ -> OK
        add abc
        read c1 n=2 -> 1:1 2:1 more
        del 3
        other 1 3
        del 3
        untold
        read c1 ack=1 -> ERR internal error in the module dirty, see the server's log
        ack c1 1 -> ERR internal error in the module dirty, see the server's log
        hold c1 1 -> ERR internal error in the module dirty, see the server's log
        fail c1 1 -> ERR internal error in the module dirty, see the server's log
        leave c1 -> ERR internal error in the module dirty, see the server's log
        follow c -> ERR internal error in the module dirty, see the server's log
        failcursor c 1 -> ERR internal error in the module dirty, see the server's log
        pending -> 1 held c1, 2 held c1
        untold
        read c1 ack=1,2 ->"
    an_event_stays_while_the_dead_stream_takes_nothing: "
        group g from=0 max=2
        cursor c from=0
        add ab
        read c1 -> 1:1 2:1
        full
        fail c1 fatal 1 -> retry
        failcursor c 1 -> ERR the stream \"s:dead\" takes no entry
        at 1000
        read c1 ack=2 -> 1:2/1
        at 2000
        read c2 -> more
        read c2 -> ERR the stream \"s:dead\" takes no entry
        pending -> 1 free
        full
        failcursor c 2 2 7 2 -> [Dead, Dead, NotHeld, Dead]
        read c2 ->
        dead -> 2 c  0/1 oh, 1 g c1 2/1 oh"
    fatal_kills_at_once: "
        group g from=0
        add a
        read c1
        fail c1 fatal m=no 1 -> dead
        dead -> 1 g c1 1/1 no"
    what_comes_again_by_silence_comes_alone: "
        group g from=0 max=3
        add abcd
        read c1 n=3 -> 1:1 2:1 3:1 more
        at 1000
        read c2 -> 1:2
        read c2 ->
        read c3 -> 2:2
        read c4 n=1 -> 3:2
        read c5 -> 4:1
        read c2 ack=1 -> "
    of_many_events_held_by_a_worker_that_dies_on_one_exactly_that_one_dies: "
        group g from=0 max=2
        add abcde
        read c1 -> 1:1 2:1 3:1 4:1 5:1
        at 1000
        read c1 pending -> 1:2
        read c1 ack=1 -> 2:2
        read c1 ack=2 -> 3:2
        at 1001
        read c1 pending -> 4:2
        dead -> 3 g c1 2/0 delivered 2 times and not acknowledged
        read c1 ack=4 -> 5:2
        read c1 ack=5 ->
        pending -> "
    who_holds_something_gets_nothing_new_once_one_has_been_due_for_claim: "
        group g from=0 max=3
        add ab
        read c1 n=1 -> 1:1 more
        at 900
        read c2 n=1 -> 2:1
        at 1000
        add cd
        read c2 n=1 -> 3:1 more
        hold c2 ->
        at 1899
        hold c2 ->
        at 2000
        read c2 n=1 ->
        read c2 n=1 ack=2,3 -> 1:2
        read c2 ack=1 -> 4:1"
    without_max_deliveries_pending_and_claim_give_as_many_as_count_allows: "
        group g from=0
        add abcd
        read c1 n=3 -> 1:1 2:1 3:1 more
        read c1 n=2 pending -> 1:2 2:2 more
        read c2 -> 3:2 4:1
        at 1000
        read c3 n=3 -> 1:3 2:3 3:3 more
        read c3 pending n=3 -> 1:4 2:4 3:4 more"
    max_pending_bounds_new_events_but_not_due_ones: "
        group g from=0 maxpending=2
        add abcd
        read c1 -> 1:1 2:1
        read c1 ->
        read c1 ack=1 -> 3:1
        read c2 -> 4:1
        leave c2 -> 1
        read c1 -> 4:1"
    events_are_given_when_they_are_old_enough: "
        group g from=0 minage=500
        cursor c from=0 minage=500
        add a
        at 100
        add b
        read c1 -> 
        due -> 501
        at 500
        read c1 -> 
        at 501
        read c1 -> 1:1
        due -> 601
        follow c -> 1 | 1
        due -> 601
        at 601
        read c1 -> 2:1
        follow c n=1 -> 1 | 1 more
        follow c ack=1 -> 2 | 2"
    rejected_events_are_acknowledged_and_a_new_where_is_asked_again: "
        group g from=0 where=ab
        add axbxa
        read c1 n=1 -> 1:1 more
        read c1 -> 3:1 5:1
        floor -> 1
        stats -> due=0 queued=0 keys=0 parked=0 stalled=false [3, 0, 0, 0, 0, 2, 0]
        group g where=b -> OK
        wake -> All
        at 1000
        read c2 -> 3:2
        pending -> 3 held c2
        stats -> due=0 queued=0 keys=0 parked=0 stalled=false [4, 1, 0, 0, 0, 4, 0]"
    a_group_is_told_once_how_many_it_missed_and_a_cursor_until_its_ack: "
        group g from=0
        cursor c from=0
        add abcdef
        read c1 n=1 -> 1:1 more
        del 2 3
        read c1 n=1 -> 4:1 missed=2 more
        read c1 n=1 -> 5:1 more
        follow c -> 1 4 5 6 | 6 missed=2
        follow c -> 1 4 5 6 | 6 missed=2
        follow c ack=6 -> | 6
        del 5
        at 1000
        read c2 n=2 -> 1:2 4:2 more
        read c2 n=1 -> 6:1 missed=1
        stats -> due=0 queued=0 keys=0 parked=0 stalled=false [0, 0, 0, 0, 0, 0, 0]"
    what_is_gone_from_the_end_is_told_when_more_comes: "
        cursor c from=0
        add ab
        follow c ack=2 -> | 2
        add cd
        del 3 4
        follow c -> | 2
        add e
        follow c -> 5 | 5 missed=2"
    ids_made_by_hand_count_nothing: "
        group g from=0
        add a
        other 5 900
        at 10
        add b
        read c1 -> 1:1 900:1 901:1
        other 20 0
        read c1 -> 0:1"
    a_new_reader_has_missed_nothing: "
        add abc
        del 1 2
        group g from=0
        read c1 -> 3:1
        group h from=$ -> OK
        read c1 group=h ->
        group i from=@0 -> OK
        read c1 group=i -> 3:1
        group j from=9 -> ERR 100000-9 is beyond the end of the stream
        group k from=@99 -> OK
        add d
        read c1 group=k -> 4:1"
    a_stream_begun_again_is_read_from_its_beginning: "
        group g from=0
        cursor c from=0
        add abc
        read c1 n=2 -> 1:1 2:1 more
        follow c ack=2 -> 3 | 3
        delete
        at 50
        follow c -> | 0 missed=null
        add xy
        follow c -> 1 2 | 2 missed=null
        read c1 n=1 ack=1 -> 1:1 not-held=1 missed=null more
        read c1 n=1 -> 2:1
        pending -> 1 held c1, 2 held c1
        follow c -> 1 2 | 2 missed=null
        follow c ack=2 -> | 2
        follow c -> | 2"
    a_stream_that_is_gone_drops_what_was_pending_at_the_first_write: "
        group g from=0
        add abc
        read c1 n=2
        delete
        ack c1 1 2 -> 1 2
        wake -> All
        floor -> 1
        read c1 -> missed=null
        read c1 -> 
        add a
        read c1 -> 1:1"
    a_quiet_stream_costs_no_info: "
        group g from=0
        add abc
        read c1
        infos
        read c1
        read c1
        add d
        read c1
        infos -> 0"
    a_cursor_is_moved_by_its_own_positions_alone: "
        cursor c from=0
        add abcde
        follow c n=2 -> 1 2 | 2 more
        follow c n=2 ack=2/7 -> 1 2 | 2 missed=null more
        follow c n=2 ack=2 -> 3 4 | 4 more
        follow c ack=1 -> 3 4 5 | 5
        at 40
        seek c 0 -> OK
        follow c n=1 ack=4/0 -> 1 | 1 more
        follow c n=1 ack=1 -> 2 | 2 more
        follow c ack=99 -> 2 3 4 5 | 5 missed=null
        follow c ack=5 -> | 5"
    a_position_whose_seq_was_given_to_another_moves_nothing: "
        cursor c from=0
        add ab
        del 2
        follow c ack=2 -> | 2
        add c
        follow c -> 3 | 3
        at 5
        add d
        look 1 n=1 -> 3 | 3 missed=1 more
        follow c ack=77 -> 3 4 | 4 missed=null
        look 77 -> NOPOSITION this stream did not give the position 100000-77"
    a_position_of_a_stream_that_is_gone_moves_nothing: "
        cursor c from=0
        add abc
        follow c -> 1 2 3 | 3
        delete
        at 50
        add xy
        look 3 -> NOPOSITION this stream did not give the position 100000-3
        follow c ack=3 -> 1 2 | 2 missed=null
        follow c ack=3 -> 1 2 | 2 missed=null
        follow c ack=2 -> | 2"
    a_time_is_no_position_of_an_event: "
        cursor c from=0
        add ab
        at 50
        add c
        del 2
        look 18446744073709551615 -> 3 | 3
        look 0 -> 1 3 | 3 missed=1
        follow c ack=18446744073709551615 -> 3 | 3"
    read_keeps_no_state: "
        add abc
        look 0 n=2 -> 1 2 | 2 more
        look 2 -> 3 | 3
        look $ -> | 3
        look 9 replica -> | 9
        look 9 -> NOPOSITION this stream did not give the position 100000-9"
    shards_share_the_entities: "
        cursor c from=0 shard=0
        cursor d from=0 shard=1
        add abcd
        other 5 0
        follow c -> 2 4 0 | 0
        follow d -> 1 3 | 0
        cursor c shard=1 -> ERR SHARD cannot change: make another cursor"
    a_cursor_fails_by_copying: "
        cursor c from=0
        add ab
        failcursor c 1 7 -> [Dead, NotHeld]
        dead -> 1 c  0/1 oh
        follow c -> 1 2 | 2"
    readers_are_declared_once_and_share_their_names: "
        group g -> ERR \"g\" is new, so it requires FROM
        read c1 -> NOREADER there is no group \"g\" on \"s\"
        group g from=0 -> OK
        cursor g from=0 -> ERR \"g\" is a group
        follow g -> ERR \"g\" is a group
        group g max=1 -> ERR MAXDELIVERIES must be at least 2
        group g park -> ERR PARK requires an ORDER
        group g claim=7 revision=3 -> OK
        group g claim=8 revision=2 -> KEPT
        group g claim=8 -> KEPT
        group g claim=8 revision=3 -> ERR REVISION 3 has other settings
        group g claim=7 revision=3 -> OK
        group g claim=8 revision=4 -> OK
        forget g cursor -> ERR \"g\" is a group
        forget g -> true
        forget g -> false
        wake -> None"
    order_and_dead_change_only_while_nothing_depends_on_them: "
        group g from=0
        add aa
        read c1 n=1
        group g order=entity -> ERR ORDER can change only while nothing is pending, queued or parked
        group g dead=d -> OK
        fail c1 fatal 1 -> dead
        group g order=entity -> OK
        redrive all -> 1
        group g order=entity dead=e -> ERR DEAD can change only while nothing is parked or redriven
        read c1 -> 1:1 2:1
        read c1 ack=1 ->
        group g order=entity dead=e -> OK"
    a_paused_group_gives_nothing: "
        group g from=0
        add ab
        read c1 n=1 -> 1:1 more
        pause on -> OK
        read c2 ->
        ack c1 1 ->
        pause off -> OK
        wake -> All
        read c2 -> 2:1"
    seek_back_drops_what_is_behind_it_and_seek_forward_what_is_queued: "
        group g from=0 order=entity
        add abaab
        read c1 n=1 -> 1:1 more
        read c2 -> 2:1 5:1
        pending -> 1 held c1, 2 held c2, 3 queued c1, 4 queued c1, 5 held c2
        seek g $ -> OK
        pending -> 1 held c1, 2 held c2, 5 held c2
        seek g 1 -> OK
        pending -> 1 held c1
        read c3 -> 2:1 5:1
        pending -> 1 held c1, 2 held c3, 3 queued c1, 4 queued c1, 5 held c3
        ack c2 2 -> 2"
    seek_forward_drops_what_a_dead_event_keeps: "
        group g from=0 order=entity park
        add aaab
        read c1 -> 1:1 2:1 3:1 4:1
        fail c1 fatal 1 -> dead
        pending -> 2 parked, 3 parked, 4 held c1
        seek g $ -> OK
        pending -> 4 held c1
        read c2 ->
        redrive all -> 1
        read c2 -> 1:1
        add a
        read c2 ack=1 -> 5:1"
    seek_forward_drops_what_waits_behind_a_delayed_or_due_event: "
        group g from=0 order=entity claim=5000
        add aaabbb
        read c1 -> 1:1 2:1 3:1 4:1 5:1 6:1
        fail c1 1 -> retry
        leave c1 -> 3
        pending -> 1 delayed, 2 queued, 3 queued, 4 free, 5 queued, 6 queued
        seek g $ -> OK
        pending -> 1 delayed, 4 free
        read c2 -> 4:1
        at 1000
        read c2 -> 1:2/1"
    a_failed_event_that_is_gone_is_told_by_the_next_call: "
        group g from=0 order=entity max=2 park
        add aabc
        read c1 -> 1:1 2:1 3:1 4:1
        del 1 3 4
        fail c1 fatal 1 -> retry
        dead -> 
        pending -> 1 free, 2 queued, 3 held c1, 4 held c1
        read c2 -> 2:1 missed=1
        fail c1 3 -> retry
        fail c1 delay=0 4 -> retry
        pending -> 2 held c2, 3 delayed, 4 free
        at 1500
        read c2 ack=2 -> missed=2
        pending -> "
    events_of_one_key_are_handled_in_order: "
        group g from=0 order=entity
        add abacab
        read c1 n=3 -> 1:1 2:1 3:1 more
        read c2 -> 4:1
        read c1 -> 
        read c1 ack=1 -> 
        wake -> None
        ack c1 3 ->
        wake -> Some(1)
        read c2 -> 5:1
        read c1 ack=2 -> 6:1"
    a_failed_event_takes_the_later_ones_of_its_key_with_it: "
        group g from=0 order=entity max=9
        add abaab
        read c1 -> 1:1 2:1 3:1 4:1 5:1
        fail c1 4 1 3 -> retry retry retry
        ack c1 3 2 -> 3
        pending -> 1 delayed, 3 queued, 4 queued, 5 held c1
        read c2 ->
        at 1000
        read c2 -> 1:2/1 3:1 4:1"
    a_later_failed_event_leaves_the_earlier_ones_held_and_holds_its_key_back: "
        group g from=0 order=entity
        add aaa
        read c1 -> 1:1 2:1 3:1
        fail c1 2 -> retry
        read c2 ->
        ack c1 1 ->
        read c2 ->
        due -> 1000
        at 1000
        read c2 -> 2:2/1 3:1"
    a_silent_holder_loses_its_keys_as_a_whole: "
        group g from=0 order=entity
        add aaab
        read c1 -> 1:1 2:1 3:1 4:1
        at 1000
        read c2 n=2 -> 1:2 2:2 more
        read c3 -> 4:2
        read c2 ack=1 -> 
        read c2 ack=2 -> 3:2"
    a_silent_holders_key_comes_one_by_one_with_max_deliveries: "
        group g from=0 order=entity max=2
        add aaa
        read c1 -> 1:1 2:1 3:1
        at 1000
        read c2 -> 1:2
        add ab
        read c3 -> 5:1
        read c2 ack=1 -> 2:2
        at 2000
        read c2 pending -> 3:2
        pending -> 3 held c2, 4 queued c2, 5 held c3
        dead -> 2 g c2 2/0 delivered 2 times and not acknowledged"
    a_parked_key_waits_for_its_dead_event: "
        group g from=0 order=entity park
        add abaab
        read c1 n=1 -> 1:1 more
        fail c1 fatal 1 -> dead
        read c1 -> 2:1 5:1
        pending -> 2 held c1, 3 parked, 4 parked, 5 held c1
        stats -> due=0 queued=2 keys=1 parked=1 stalled=false [3, 0, 0, 1, 1, 0, 0]
        redrive e=a -> 1
        read c2 -> 1:1 3:1 4:1
        fail c2 fatal 1 -> dead
        pending -> 2 held c1, 3 parked, 4 parked, 5 held c1
        discard 1 -> 1
        dead -> 
        read c2 -> 3:1 4:1"
    a_key_that_a_dead_event_parks_goes_on_when_that_was_deleted_by_hand: "
        group g from=0 order=meta park
        add aa
        read c1 n=1
        fail c1 fatal 1 -> dead
        undead
        redrive key=a -> 0
        read c1 ->
        discard key=a -> 1
        read c1 -> 2:1"
    what_came_before_the_dead_event_goes_on: "
        group g from=0 order=entity park
        add aaa
        read c1 -> 1:1 2:1 3:1
        fail c1 fatal 2 -> dead
        leave c1 -> 1
        read c2 -> 1:1
        read c2 ack=1 ->
        pending -> 3 parked
        redrive all -> 1
        read c2 -> 2:1 3:1"
    looking_ahead_is_bounded: "
        group g from=0 order=entity
        add aaaaaaaab
        read c1 n=1 -> 1:1 more
        read c2 ->
        stats -> due=0 queued=5 keys=1 parked=0 stalled=true [1, 0, 0, 0, 0, 0, 0]
        read c1 n=3 ack=1 -> 2:1 3:1 4:1 more
        read c2 -> 9:1"
    a_group_is_stalled_only_while_the_next_event_has_no_room: "
        group g from=0 order=entity claim=5000
        add abcde
        read c1 -> 1:1 2:1 3:1 4:1 5:1
        fail c1 1 2 3 4 5
        stats -> due=0 queued=5 keys=0 parked=0 stalled=false [5, 0, 0, 5, 0, 0, 0]
        add f
        read c1 -> 6:1
        add ag
        read c1 ack=6 ->
        stats -> due=0 queued=5 keys=0 parked=0 stalled=true [6, 0, 1, 5, 0, 0, 0]
        at 1000
        read c1 n=1 -> 1:2/1 more
        stats -> due=4 queued=4 keys=1 parked=0 stalled=false [7, 1, 1, 5, 0, 0, 0]
        ack c1 1 ->
        read c1 n=9 -> 2:2/1 3:2/1 4:2/1 5:2/1 7:1 8:1"
    the_next_event_is_not_stalled_once_its_key_is_free: "
        group g from=0 order=entity claim=5000
        add abcde
        read c1 -> 1:1 2:1 3:1 4:1 5:1
        fail c1 delay=9 1 2 3 4 5
        add a
        read c1 -> 
        ack c1 force 1 ->
        add b
        stats -> due=0 queued=4 keys=0 parked=0 stalled=false [5, 0, 1, 5, 0, 0, 0]
        read c1 -> 6:1
        stats -> due=0 queued=5 keys=1 parked=0 stalled=false [6, 0, 1, 5, 0, 0, 0]"
    an_event_without_a_key_is_in_no_order: "
        group g from=0 order=entity
        add a
        other 1 0
        other 1 1
        read c1 n=2 -> 1:1 0:1 more
        read c2 -> 1:1"
    the_stream_as_one_key_has_one_holder_at_a_time: "
        group g from=0 order=stream
        add abcd
        read c2 n=0 -> more
        read c1 n=2 -> 1:1 2:1 more
        read c2 ->
        due -> 1000
        at 500
        read c1 n=1 ack=1,2 -> 3:1 more
        at 1499
        read c2 ->
        hold c1 ->
        at 2498
        read c2 ->
        due -> 2499
        at 2499
        read c2 -> 3:2 4:1
        read c1 ack=3 -> not-held=3
        ack c2 3 4 ->
        add e
        read c1 ->
        leave c2 -> 0
        wake -> Some(1)
        read c1 -> 5:1"
    an_acknowledgement_wakes_the_waiting_calls_of_the_consumer_that_has_room_now: "
        group g from=0 maxpending=1
        add abc
        read c1 -> 1:1
        waits c1 on
        read c2 -> 2:1
        ack c2 2 ->
        wake -> None
        ack c1 1 ->
        wake -> Some(1)
        read c1 -> 3:1
        fail c1 fatal 3 -> dead
        wake -> Some(1)
        add d
        read c1 -> 4:1
        waits c1 off
        ack c1 4 ->
        wake -> None"
    waiting_is_no_silence: "
        group g from=0 order=stream
        add a
        read c1 -> 1:1
        ack c1 1 ->
        waits c1 on
        at 5000
        add b
        read c2 ->
        due -> never
        waits c1 off
        wake -> All
        at 5999
        read c2 ->
        at 6000
        read c2 -> 2:1"
    what_a_turns_holder_held_too_long_comes_to_it_again: "
        group g from=0 order=stream
        add ab
        read c1 -> 1:1 2:1
        at 999
        read c1 ->
        at 1000
        read c1 -> 1:2 2:2"
    redriven_events_come_back_to_the_group_and_leave_the_dead_stream_when_done: "
        group g from=0 max=2
        group h from=0
        add abc
        read c1 -> 1:1 2:1 3:1
        fail c1 fatal m=x 1 2 -> dead dead
        del 1 2
        redrive 1 3 -> 1
        redrive all -> 1
        redrive all -> 0
        read c2 -> 1:1 2:1
        ack c2 1 ->
        dead -> 2 g c1 1/1 x
        fail c2 fatal m=y 2 -> dead
        dead -> 2 g c2 1/1 y
        redrive e=b -> 1
        undead
        read c2 -> missed=1
        pending -> 3 held c1"
    discarding_gives_up: "
        group g from=0
        add abcd
        read c1
        fail c1 fatal 1 2 3 -> dead dead dead
        redrive 1 2 -> 2
        read c2 n=1 -> 1:1 more
        discard all -> 2
        dead -> 1 g c1 1/1 oh
        pending -> 1 held c2, 4 held c1
        discard key=a -> ERR KEY requires a group with ORDER META"
    who_may_not_change_the_dead_stream_changes_nothing: "
        group g from=0 max=2
        add ab
        read c1 -> 1:1 2:1
        norights
        fail c1 fatal 1 -> NOPERM this user may not write the key \"s:dead\"
        fail c1 2 -> retry
        at 1000
        read c2 -> 2:2/1
        fail c2 2 -> NOPERM this user may not write the key \"s:dead\"
        read c3 -> 1:2
        at 2000
        read c4 -> NOPERM this user may not write the key \"s:dead\"
        norights
        read c4 ->
        dead -> 2 g c2 2/1 oh, 1 g c3 2/0 delivered 2 times and not acknowledged"
    a_flush_acknowledges_all_or_nothing: "
        group g from=0
        add abc
        read c1 n=2
        ackall c1 1 3 -> NOTHELD the consumer does not hold 100000-3
        pending -> 1 held c1, 2 held c1
        ackall c1 1 2 -> OK
        ackall c1 1 -> NOTHELD the consumer does not hold 100000-1"
    an_outage_is_nobodys_silence: "
        group g from=0
        add a
        read c1 -> 1:1
        at 10000
        restart
        read c2 ->
        due -> 11000
        at 11000
        read c2 -> 1:2"
    who_was_silent_is_known_after_a_restart: "
        group g from=0 max=2
        add a
        read c1 -> 1:1
        at 1000
        read c2 -> 1:2
        pause on
        read c2 pending ->
        pending -> 1 free
        restart
        pause off
        read c3 ->
        dead -> 1 g c2 2/0 delivered 2 times and not acknowledged"
    a_position_beyond_the_end_moves_nothing_until_the_stream_is_there: "
        cursor c from=0
        add abc
        del 3
        follow c ack=3 -> | 3
        follow c ack=4 -> | 3 missed=null
        add d
        follow c ack=4 -> | 4"
    times_in_the_future_count_as_now: "
        group g from=0
        add ab
        at 100000
        read c1 n=1 -> 1:1 more
        at 0
        read c2 n=1 -> 2:1
        due -> 1000
        at 1000
        read c3 -> 1:2 2:2"
    delays_and_silence_do_not_outlast_a_clock_that_goes_back: "
        group g from=0 order=entity
        group h from=0 order=stream
        add ab
        at 100000
        read c1 -> 1:1 2:1
        read c1 group=h n=1 -> 1:1 more
        fail c1 delay=700 1 -> retry
        at 0
        read c2 ->
        due -> 700
        read c2 group=h ->
        due -> 1000
        at 700
        read c2 -> 1:2/1
        at 1000
        read c2 -> 2:2
        read c2 group=h -> 1:2 2:1"
    consumers_that_hold_nothing_are_forgotten_after_a_day: "
        group g from=0
        add abc
        read c1 n=1 -> 1:1 more
        read c2 n=1 ack=9 -> 2:1 not-held=9 more
        ack c2 2 ->
        waits c4 on
        consumers -> c1 1 0, c2 0 0, c4 0 0
        at 86400000
        hold c1 ->
        consumers -> c1 1 0, c2 0 86400000, c4 0 0
        read c3 n=1 -> 3:1
        consumers -> c1 1 0, c3 1 0, c4 0 0"
    an_event_in_batches_of_three_takes_few_bytes: "
        group g from=0
        add abcdefghijklm
        read worker-1234 n=3
        read worker-1234 n=3 ack=1,2,3
        size -> 29
        read worker-1234 n=3 ack=4,5,6
        size -> 29"
}
