//! What belongs to a reader, no call says; and a mistyped name makes nothing.

use crate::support::Server;
use crate::support::readers::blocked;
use crate::support::story::{Story, got};

/// Options of READER, with what the commands of earlier drafts took.
const POLICY: &[&str] = &[
    "WHERE OPS D",
    "WHERE ENTITY other",
    "DEAD elsewhere",
    "CLAIM 0",
    "MAXDELIVERIES 2",
    "MAXPENDING 1",
    "ONDEAD PARK",
    "ORDER STREAM",
    "MINAGE 5",
    "LAG 5",
    "FROM 0",
    "FROM $",
    "SHARD 0 2",
    "SINGLE 1000",
    "REVISION 9",
    "NOW",
    "DELETE",
];

#[test]
fn no_call_but_reader_says_how_a_group_is_read() {
    let mut story = Story::with(&["1", "2", "3", "4", "5"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 3 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
",
    );
    let before = story.redis.written();
    for policy in POLICY {
        for command in [
            "CONSUME s GROUP g a {}",
            "CONSUME s GROUP g b COUNT 1 {} BLOCK 0",
            "CONSUME s CURSOR c {}",
            "CONSUME s CURSOR c ACK #2 {}",
            "ACK s GROUP g a {} #1",
            "ACK s GROUP g a #1 {}",
            "ACK s CURSOR c #1 {}",
            "FAIL s GROUP g a why {} #1",
            "FAIL s GROUP g a why #1 {}",
            "FAIL s CURSOR c why #1 {}",
            "HOLD s GROUP g a {}",
            "LEAVE s GROUP g a {}",
            "PENDING s GROUP g {}",
            "REDRIVE s GROUP g ALL {}",
            "DISCARD s GROUP g ALL {}",
            "PAUSE s GROUP g ON {}",
            "SEEK s GROUP g 0 {}",
            "FORGET s GROUP g {}",
        ] {
            let line = format!("DIRTY.{}", command.replace("{}", policy));
            let reply = story.run(&line);
            assert!(reply.starts_with("ERR "), "{line}: {reply}");
        }
    }
    assert_eq!(story.redis.written(), before);
    story.expect("DIRTY.CONSUME s GROUP g b => #2 #3 #4 #5");
}

#[test]
fn whoever_only_looks_changes_nothing_for_any_reader() {
    let mut story = Story::with(&["1", "2", "3", "4", "5"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.FAIL s GROUP g a why FATAL #1 => [dead]
",
    );
    let before = story.redis.written();
    for _ in 0..3 {
        for look in [
            "READ s FROM 0 WHERE OPS D",
            "READ s FROM 0 SHARD 1 3 MINAGE 1",
            "READ s:dead FROM 0",
            "READ s FROM $ BLOCK 10",
            "CONSUME s CURSOR c COUNT 2",
            "CONSUME s CURSOR c BLOCK 10",
            "PENDING s GROUP g",
            "PENDING s GROUP g CONSUMER a AFTER #1",
            "STATS s",
            "STATS s:dead",
        ] {
            let reply = story.run(&format!("DIRTY.{look}"));
            assert!(!reply.starts_with("ERR"), "{look}: {reply}");
        }
    }
    assert_eq!(story.redis.written(), before);
    story.expect(
        "
DIRTY.CONSUME s GROUP g b => #2 #3 #4 #5
DIRTY.CONSUME s CURSOR c => #1 #2 #3 #4 #5 | position #5
DIRTY.REDRIVE s GROUP g ALL => (1)
",
    );
}

#[test]
fn the_dead_of_every_worker_are_where_the_reader_says_and_redrive_finds_them() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 DEAD elsewhere => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #1 | more
DIRTY.CONSUME s GROUP g b COUNT 1 => #2 | more
DIRTY.CONSUME s GROUP g c COUNT 1 => #3
DIRTY.FAIL s GROUP g a why FATAL #1 => [dead]
DIRTY.FAIL s GROUP g operator why FORCE FATAL #2 => [dead]
DIRTY.READER s GROUP g CLAIM 50 MAXDELIVERIES 2 DEAD elsewhere => OK
wait 60 => -
DIRTY.CONSUME s GROUP g d => #3:2
wait 60 => -
DIRTY.CONSUME s GROUP g e =>\x20
XLEN elsewhere => (3)
EXISTS s:dead => (0)
DIRTY.REDRIVE s GROUP g IDS 2 #1 #3 => (2)
DIRTY.REDRIVE s GROUP g ALL => (1)
DIRTY.READER s GROUP g CLAIM 50 MAXDELIVERIES 2 => ERR DEAD can change only while nothing is parked or redriven
DIRTY.CONSUME s GROUP g a => #1 #3 #2
DIRTY.ACK s GROUP g a #1 #2 #3 => []
EXISTS elsewhere => (1)
XLEN elsewhere => (0)
",
    );
}

/// Calls on a reader that is not there; `R` is it.
const ON_NOBODY: &[(&str, &str)] = &[
    ("CONSUME R w", "GROUP"),
    ("CONSUME R w BLOCK 0", "GROUP"),
    ("CONSUME R w ACK 1 1-1 PENDING", "GROUP"),
    ("ACK R w 1-1", "GROUP"),
    ("ACK R w FORCE 1-1", "GROUP"),
    ("HOLD R w", "GROUP"),
    ("FAIL R w why 1-1", "GROUP"),
    ("LEAVE R w", "GROUP"),
    ("PENDING R", "GROUP"),
    ("REDRIVE R ALL", "GROUP"),
    ("DISCARD R ALL", "GROUP"),
    ("PAUSE R ON", "GROUP"),
    ("SEEK R 0", "GROUP"),
    ("SEEK R $", "GROUP"),
    ("CONSUME R", "CURSOR"),
    ("CONSUME R BLOCK 0", "CURSOR"),
    ("CONSUME R ACK 1-1/1", "CURSOR"),
    ("ACK R 1-1/1", "CURSOR"),
    ("FAIL R why 1-1", "CURSOR"),
    ("DISCARD R ALL", "CURSOR"),
    ("SEEK R 0", "CURSOR"),
];

#[test]
fn a_mistyped_stream_or_reader_makes_nothing_is_not_waited_on_and_stops_no_writer() {
    let mut story = Story::begin();
    let declare = "DIRTY.DECLARE user STATELESS STREAM s MAXLEN 2 ONFULL REFUSE";
    story.expect(&format!(
        "{declare} => OK\nDIRTY.READER s GROUP runners FROM 0 => OK\nDIRTY.READER s CURSOR c FROM 0 => OK"
    ));
    let before = story.redis.digest();
    for (command, kind) in ON_NOBODY {
        for (stream, name) in [("s", "runers"), ("strem", "runners"), ("strem", "c")] {
            let reader = format!("{stream} {kind} {name}");
            let line = format!("DIRTY.{}", command.replacen(" R", &format!(" {reader}"), 1));
            let kind = kind.to_lowercase();
            let told = format!("NOREADER there is no {kind} \"{name}\" on \"{stream}\"");
            assert_eq!(story.run(&line), told, "{line}");
        }
    }
    story.expect(
        "
EXISTS strem strem:readers => (0)
DIRTY.FORGET s GROUP runers => (0)
DIRTY.FORGET strem CURSOR c => (0)
DIRTY.READER s GROUP runers => ERR \"runers\" is new, so it requires FROM
DIRTY.READER strem CURSOR c WHERE OPS D => ERR \"c\" is new, so it requires FROM
",
    );
    assert_eq!(story.redis.digest(), before);
    // Only the readers that were declared are waited for.
    story.publish(&["1", "2"]);
    story.expect(
        "
DIRTY.CONSUME s GROUP runners w => #1 #2
DIRTY.ACK s GROUP runners w #1 #2 => []
DIRTY.FORGET s CURSOR c => (1)
",
    );
    story.publish(&["3"]);
    story.expect("DIRTY.CONSUME s GROUP runners w => #3");
}

#[test]
fn a_group_that_is_forgotten_while_its_workers_loop_is_not_made_again_by_them() {
    let mut story = Story::with(&["1", "2", "3"]);
    story.expect(
        "
DIRTY.READER s GROUP mailer FROM 0 => OK
DIRTY.CONSUME s GROUP mailer w ACK 0 => #1 #2 #3
DIRTY.ACK s GROUP mailer w #1 #2 #3 => []
",
    );
    let nobody = "NOREADER there is no group \"mailer\" on \"s\"";
    let mut worker = story.wait("DIRTY.CONSUME s GROUP mailer w BLOCK 0");
    story.expect("DIRTY.FORGET s GROUP mailer => (1)");
    assert_eq!(got(&mut worker), nobody);
    for _ in 0..3 {
        assert_eq!(story.run("DIRTY.CONSUME s GROUP mailer w BLOCK 0"), nobody);
    }
    story.publish(&["4"]);
    story.expect("DIRTY.READER s GROUP mailer FROM $ => OK");
    story.publish(&["5"]);
    story.expect("DIRTY.CONSUME s GROUP mailer w BLOCK 0 => #5");
    assert_eq!(blocked(&story.server), 0);
}

#[test]
fn from_and_seek_beyond_the_end_are_errors_and_a_time_beyond_it_is_the_end() {
    let mut story = Story::with(&["1", "2"]);
    story.expect("DIRTY.READER s GROUP g FROM 0 => OK\nDIRTY.READER s CURSOR c FROM 0 => OK");
    let before = story.redis.digest();
    for command in [
        "READER s GROUP new FROM",
        "READER s CURSOR new FROM",
        "SEEK s GROUP g",
        "SEEK s CURSOR c",
        "READER none GROUP new FROM",
    ] {
        for (start, shown) in [
            ("9999999999999-5", "#5"),
            ("99999999999999-1", "99999999999999-1"),
            (
                "18446744073709551615-18446744073709551615",
                "18446744073709551615-18446744073709551615",
            ),
        ] {
            let beyond = format!("ERR {shown} is beyond the end of the stream");
            assert_eq!(story.run(&format!("DIRTY.{command} {start}")), beyond);
        }
    }
    assert_eq!(story.redis.digest(), before);
    story.expect(
        "
DIRTY.READER s GROUP h FROM 99999999999999 => OK
DIRTY.READER s CURSOR k FROM 18446744073709551615 => OK
DIRTY.SEEK s GROUP g 99999999999999 => OK
DIRTY.SEEK s CURSOR c 99999999999999 => OK
DIRTY.READER none GROUP h FROM 99999999999999 => OK
",
    );
    story.publish(&["3"]);
    story.expect(
        "
DIRTY.CONSUME s GROUP h a => #3
DIRTY.CONSUME s GROUP g a => #3
DIRTY.CONSUME s CURSOR k => #3 | position #3
DIRTY.CONSUME s CURSOR c => #3 | position #3
XADD none 5-1 a b => 5-1
DIRTY.CONSUME none GROUP h a => 5-1
",
    );
}

/// Each with one empty name.
const EMPTY: &[&str] = &[
    "READER \"\" GROUP g FROM 0",
    "READER s GROUP \"\" FROM 0",
    "READER s CURSOR \"\" FROM 0",
    "READER s GROUP n FROM 0 DEAD \"\"",
    "READER s CURSOR n FROM 0 DEAD \"\"",
    "READER s GROUP n FROM 0 WHERE ENTITY \"\"",
    "READER s GROUP n FROM 0 WHERE ID 1 \"\"",
    "READER s GROUP n FROM GROUP \"\"",
    "CONSUME \"\" GROUP g a",
    "CONSUME s GROUP \"\" a",
    "CONSUME s GROUP g \"\"",
    "CONSUME s GROUP g \"\" BLOCK 0",
    "CONSUME s CURSOR \"\"",
    "ACK s GROUP g \"\" 1-1",
    "ACK s CURSOR \"\" 1-1",
    "HOLD s GROUP g \"\"",
    "FAIL s GROUP g \"\" why 1-1",
    "FAIL s CURSOR \"\" why 1-1",
    "LEAVE s GROUP g \"\"",
    "PENDING s GROUP \"\"",
    "PENDING s GROUP g CONSUMER \"\"",
    "REDRIVE s GROUP g ENTITY \"\" 1",
    "REDRIVE s GROUP g ENTITY user \"\"",
    "DISCARD s GROUP g ENTITY user \"\"",
    "DISCARD s CURSOR \"\" ALL",
    "PAUSE s GROUP \"\" ON",
    "SEEK s GROUP \"\" 0",
    "FORGET s GROUP \"\"",
    "FORGET s CURSOR \"\"",
    "READ \"\" FROM 0",
    "STATS \"\"",
];

#[test]
fn empty_names_are_errors_wherever_one_is_said() {
    let mut story = Story::with(&["1"]);
    story.expect("DIRTY.READER s GROUP g FROM 0 => OK");
    let before = story.redis.digest();
    let told = |command: &&str| {
        let reply = story.run(&format!("DIRTY.{command}"));
        let is_told = reply.starts_with("ERR ") && reply.contains("not an empty one");
        (!is_told).then(|| format!("{command}: {reply}"))
    };
    let others: Vec<String> = EMPTY.iter().filter_map(told).collect();
    assert_eq!(others, [""; 0]);
    assert_eq!(story.redis.digest(), before);
}

#[test]
fn a_server_that_does_not_tell_how_far_a_stream_is_refuses_what_needs_it_and_changes_nothing() {
    const UNKNOWN: &str = "ERR unknown command 'XINFO', with args beginning with: 'STREAM' 's'";
    let mut story = Story::on(Server::with(&["--rename-command", "XINFO", ""]));
    story.run("XADD s 1-1 a b");
    for command in [
        "DIRTY.READER s GROUP g FROM 0",
        "DIRTY.READER s CURSOR c FROM $",
        "DIRTY.READ s FROM $",
        "DIRTY.READ s FROM 1-2",
    ] {
        let reply = story.run(command);
        assert!(reply.starts_with(UNKNOWN), "{command}: {reply}");
        assert_eq!(story.run("EXISTS s:readers"), "(0)", "{command}");
    }
}
