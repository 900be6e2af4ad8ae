//! READER.

use crate::support::story::Story;

#[test]
fn nothing_but_reader_makes_a_reader() {
    let mut story = Story::with(&["1"]);
    let nobody = "NOREADER there is no group \"g\" on \"s\"";
    for command in [
        "CONSUME s GROUP g c",
        "CONSUME s GROUP g c BLOCK 10",
        "ACK s GROUP g c 1-1",
        "HOLD s GROUP g c",
        "FAIL s GROUP g c why 1-1",
        "LEAVE s GROUP g c",
        "PENDING s GROUP g",
        "REDRIVE s GROUP g ALL",
        "DISCARD s GROUP g ALL",
        "PAUSE s GROUP g ON",
        "SEEK s GROUP g 0",
    ] {
        assert_eq!(story.run(&format!("DIRTY.{command}")), nobody, "{command}");
    }
    story.expect(
        "
DIRTY.FORGET s GROUP g => (0)
EXISTS s:readers => (0)
DIRTY.READER s GROUP g => ERR \"g\" is new, so it requires FROM
EXISTS s:readers => (0)
DIRTY.READER s GROUP g FROM 0 => OK
DIRTY.READER s CURSOR g FROM 0 => ERR \"g\" is a group
DIRTY.CONSUME s CURSOR g => ERR \"g\" is a group
DIRTY.FORGET s GROUP g => (1)
EXISTS s:readers => (0)
",
    );
}

#[test]
fn settings_are_replaced_as_a_whole_and_an_older_revision_changes_nothing() {
    Story::with(&["1", "2"]).expect(
        "
DIRTY.READER s GROUP g FROM 0 WHERE ID 1 2 REVISION 2 => OK
DIRTY.CONSUME s GROUP g a COUNT 1 => #2
DIRTY.READER s GROUP g CLAIM 5 => KEPT
DIRTY.READER s GROUP g CLAIM 5 REVISION 1 => KEPT
DIRTY.READER s GROUP g CLAIM 5 REVISION 2 => ERR REVISION 2 has other settings
DIRTY.READER s GROUP g WHERE ID 1 2 REVISION 2 => OK
DIRTY.READER s GROUP g ORDER STREAM REVISION 3 => ERR ORDER can change only while nothing is pending, queued or parked
DIRTY.ACK s GROUP g a #2 => []
DIRTY.READER s GROUP g ORDER STREAM REVISION 3 => OK
",
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    Story::with(&["1"]).expect(
        "
DIRTY.READER s GROUP \"\" FROM 0 => ERR GROUP requires a group, not an empty one
DIRTY.READER s CURSOR \"\" FROM 0 => ERR CURSOR requires a name, not an empty one
DIRTY.READER \"\" GROUP g FROM 0 => ERR dirty.reader requires a key, not an empty one
DIRTY.READER s GROUP g FROM 0 DEAD \"\" => ERR DEAD requires a key, not an empty one
DIRTY.READER s GROUP g FROM 0 DEAD s => ERR the stream \"s\" cannot take its own dead
DIRTY.READER s GROUP g FROM 0 ONDEAD PARK => ERR PARK requires an ORDER
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 1 => ERR MAXDELIVERIES must be an integer from 2 to 65535, not \"1\"
DIRTY.READER s GROUP g FROM 0 SHARD 0 2 => ERR SHARD requires CURSOR
DIRTY.READER s CURSOR c FROM 0 CLAIM 5 => ERR CLAIM requires GROUP
DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user =>
 ERR SNAPSHOT cannot begin with \"user\": it is STATELESS and has no snapshots
DIRTY.READER s GROUP c FROM SNAPSHOT 1 user => ERR SNAPSHOT requires CURSOR
DIRTY.READER s GROUP g FROM 9999999999999-5 => ERR #5 is beyond the end of the stream
DIRTY.READER s GROUP g FROM 0 CLAIM 5 CLAIM 5 => ERR CLAIM is given twice
SET k v => OK
DIRTY.READER k GROUP g FROM 0 => WRONGTYPE the key \"k\" does not hold a stream
SET s:readers v => OK
DIRTY.READER s GROUP g FROM 0 => WRONGTYPE the key \"s:readers\" does not hold readers of a stream
",
    );
}

#[test]
fn the_server_is_told_every_key_that_a_declaration_names() {
    Story::begin().expect(
        "
COMMAND GETKEYS DIRTY.READER s GROUP g FROM 0 DEAD d => [s d]
COMMAND GETKEYS DIRTY.READER s GROUP DEAD FROM 0 => [s]
COMMAND GETKEYS DIRTY.CONSUME s GROUP g c => [s]
ACL SETUSER u on nopass +@all ~s => OK
AUTH u x => OK
DIRTY.READER s GROUP g FROM 0 DEAD d => NOPERM this user has no permissions to access one of the keys used as arguments
DIRTY.READER s GROUP g FROM 0 => OK
",
    );
}
