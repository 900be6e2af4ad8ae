//! READ.

use crate::support::Server;
use crate::support::story::Story;

#[test]
fn read_looks_from_a_position_that_the_caller_keeps() {
    Story::with(&["1", "2", "3"]).expect(
        "
DIRTY.READ s FROM 0 COUNT 2 => #1 #2 | more | position #2
DIRTY.READ s FROM #2 => #3 | position #3
DIRTY.READ s FROM #2/0 => #3 | position #3
DIRTY.READ s FROM $ => | position #3
DIRTY.READ s FROM 0 WHERE ID 2 1 3 => #1 #3 | position #3
DIRTY.READ s FROM 0 WHERE OPS I => #1 #2 #3 | position #3
DIRTY.READ s FROM 0 MINAGE 60000 => | position #0
DIRTY.READ s FROM 9999999999999-1 => NOPOSITION this stream did not give the position #1
DIRTY.READ s FROM 1-1/2/3 => ERR invalid FROM \"1-1/2/3\", expected 0, $, a position, an event id or a time in ms
DIRTY.READ none FROM 0 => | position 0-0
EXISTS none none:readers s:readers => (0)
",
    );
}

#[test]
fn read_works_on_a_replica_and_wakes_there() {
    let mut story = Story::with(&["1"]);
    let replica = Server::replica_of(&story.server);
    story.server.wait_for_replica(&replica);
    let mut reader = replica.connect();
    let words = story.words("DIRTY.READ s FROM #1 BLOCK 10000");
    reader.send(&words).expect("sent");
    replica.wait_for_blocked(1);
    story.publish(&["2"]);
    let got = crate::support::story::short(&reader.receive().expect("a reply"));
    assert_eq!(got, "#2 | position #2");
}
