//! Calls that wait.

use crate::support::story::{Story, short};
use crate::support::{Conn, words};
use std::time::{Duration, Instant};

fn waiting(story: &Story, commands: &[&str]) -> Vec<Conn> {
    let clients = commands.iter().enumerate().map(|(n, command)| {
        let mut client = story.server.connect();
        client.send(&words(command)).expect("sent");
        story.server.wait_for_blocked(n + 1);
        client
    });
    clients.collect()
}

fn got(client: &mut Conn) -> String {
    short(&client.receive().expect("a reply"))
}

#[test]
fn an_event_wakes_the_first_consumer_of_each_group_and_every_cursor() {
    let mut story = Story::begin();
    for reader in ["GROUP g", "GROUP h", "CURSOR c"] {
        story.redis.run(&format!("DIRTY.READER s {reader} FROM 0"));
    }
    let mut clients = waiting(
        &story,
        &[
            "DIRTY.CONSUME s GROUP g a BLOCK 0",
            "DIRTY.CONSUME s GROUP g b BLOCK 0",
            "DIRTY.CONSUME s GROUP h a BLOCK 0",
            "DIRTY.CONSUME s CURSOR c BLOCK 0",
            "DIRTY.CONSUME s CURSOR c BLOCK 0",
            "DIRTY.READ s FROM $ BLOCK 0",
        ],
    );
    story.publish(&["1"]);
    for n in [0, 2] {
        assert_eq!(got(&mut clients[n]), "#1", "{n}");
    }
    for n in [3, 4, 5] {
        assert_eq!(got(&mut clients[n]), "#1 | position #1", "{n}");
    }
    story.server.wait_for_blocked(1);
    story.publish(&["2"]);
    assert_eq!(got(&mut clients[1]), "#2");
}

#[test]
fn what_comes_due_wakes_one_consumer_when_it_does() {
    for (name, begin, wakes) in [
        ("CLAIM", "CLAIM 800", ""),
        ("a leave", "", "DIRTY.LEAVE s GROUP g holder"),
        (
            "a failure",
            "",
            "DIRTY.FAIL s GROUP g holder why DELAY 100 #1",
        ),
        ("SEEK", "", "DIRTY.SEEK s GROUP g 0"),
    ] {
        let mut story = Story::with(&["1"]);
        story
            .redis
            .run(&format!("DIRTY.READER s GROUP g FROM 0 {begin}"));
        story.expect("DIRTY.CONSUME s GROUP g holder => #1");
        let mut clients = waiting(
            &story,
            &[
                "DIRTY.CONSUME s GROUP g a BLOCK 20000",
                "DIRTY.CONSUME s GROUP g b BLOCK 20000",
            ],
        );
        if !wakes.is_empty() {
            story.run(wakes);
        }
        let start = Instant::now();
        assert!(got(&mut clients[0]).starts_with("#1"), "{name}");
        assert!(start.elapsed() < Duration::from_secs(2), "{name}");
        std::thread::sleep(Duration::from_millis(50));
        story.server.wait_for_blocked(1);
    }
}

#[test]
fn min_age_and_a_pause_end_while_a_reader_waits() {
    let mut story = Story::begin();
    story.redis.run("DIRTY.READER s GROUP g FROM 0 MINAGE 200");
    story.redis.run("DIRTY.READER s CURSOR c FROM 0 MINAGE 200");
    story.redis.run("DIRTY.READER s GROUP p FROM 0");
    story.redis.run("DIRTY.PAUSE s GROUP p ON");
    let mut clients = waiting(
        &story,
        &[
            "DIRTY.CONSUME s GROUP g a BLOCK 20000",
            "DIRTY.CONSUME s CURSOR c BLOCK 20000",
            "DIRTY.READ s FROM 0 MINAGE 200 BLOCK 20000",
            "DIRTY.CONSUME s GROUP p a BLOCK 20000",
        ],
    );
    let start = Instant::now();
    story.publish(&["1"]);
    assert_eq!(got(&mut clients[0]), "#1");
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(got(&mut clients[1]), "#1 | position #1");
    assert_eq!(got(&mut clients[2]), "#1 | position #1");
    story.server.wait_for_blocked(1);
    story.expect("DIRTY.PAUSE s GROUP p OFF => OK");
    assert_eq!(got(&mut clients[3]), "#1");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_where_rejects_wakes_nobody_and_is_not_looked_at_again_and_again() {
    let mut story = Story::begin();
    story
        .redis
        .run("DIRTY.READER s GROUP g FROM 0 WHERE ID 1 rare");
    story
        .redis
        .run("DIRTY.READER s CURSOR c FROM 0 WHERE ID 1 rare");
    let mut clients = waiting(
        &story,
        &[
            "DIRTY.CONSUME s GROUP g a BLOCK 20000",
            "DIRTY.CONSUME s CURSOR c BLOCK 20000",
        ],
    );
    story.publish(&["1", "2", "3"]);
    std::thread::sleep(Duration::from_millis(50));
    story.server.wait_for_blocked(2);
    story.publish(&["rare"]);
    assert_eq!(got(&mut clients[0]), "#4");
    assert_eq!(got(&mut clients[1]), "#4 | position #4");
    let stats = story.run("DIRTY.STATS s");
    assert!(stats.contains("rejected (3)"), "{stats}");
}

#[test]
fn a_reader_that_is_forgotten_or_declared_otherwise_is_told() {
    let mut story = Story::with(&["1"]);
    story
        .redis
        .run("DIRTY.READER s GROUP g FROM 0 WHERE ID 1 other");
    story
        .redis
        .run("DIRTY.READER s CURSOR c FROM 0 WHERE ID 1 other");
    let mut clients = waiting(
        &story,
        &[
            "DIRTY.CONSUME s GROUP g a BLOCK 20000",
            "DIRTY.CONSUME s CURSOR c BLOCK 20000",
        ],
    );
    story.expect("DIRTY.READER s GROUP g => OK");
    story.expect("DIRTY.READER s CURSOR c => OK");
    // Group g has rejected the event when it was looked at; the cursor has not acknowledged it.
    assert_eq!(got(&mut clients[1]), "#1 | position #1");
    let mut again = waiting(&story, &[]);
    again.push(story.server.connect());
    story.expect("DIRTY.FORGET s GROUP g => (1)");
    assert_eq!(
        got(&mut clients[0]),
        "NOREADER there is no group \"g\" on \"s\""
    );
}

#[test]
fn the_end_of_a_wait_writes_nothing() {
    let mut story = Story::begin();
    story.redis.run("DIRTY.READER s GROUP g FROM 0");
    story.redis.run("DIRTY.READER s CURSOR c FROM 0");
    for reader in ["CONSUME s GROUP g a", "CONSUME s CURSOR c", "READ s FROM 0"] {
        let before = story.redis.digest();
        let mut client = story.server.connect();
        let id = client.run("CLIENT ID");
        let id = id.trim_matches(['(', ')']).to_string();
        client
            .send(&words(&format!("DIRTY.{reader} BLOCK 0")))
            .expect("sent");
        story.server.wait_for_blocked(1);
        assert_eq!(story.run(&format!("CLIENT UNBLOCK {id}")), "(1)");
        assert!(!got(&mut client).contains('#'));
        let start = Instant::now();
        client.run(&format!("DIRTY.{reader} BLOCK 50"));
        assert!(start.elapsed() >= Duration::from_millis(50));
        client
            .send(&words(&format!("DIRTY.{reader} BLOCK 0")))
            .expect("sent");
        story.server.wait_for_blocked(1);
        drop(client);
        story.server.wait_for_blocked(0);
        assert_eq!(story.redis.digest(), before, "{reader}");
        assert!(
            story
                .redis
                .run("INFO dirty")
                .contains("consumers_blocked:0"),
            "{reader}"
        );
    }
    story.publish(&["1"]);
    story.expect("DIRTY.CONSUME s GROUP g a => #1");
}

#[test]
fn nothing_is_written_while_writes_are_paused() {
    let mut story = Story::with(&["1"]);
    // A slow server gets to the pause before the claim, too.
    story.redis.run("DIRTY.READER s GROUP g FROM 0 CLAIM 600");
    story.expect("DIRTY.CONSUME s GROUP g holder => #1");
    let mut clients = waiting(&story, &["DIRTY.CONSUME s GROUP g a BLOCK 20000"]);
    let start = Instant::now();
    story.expect("CLIENT PAUSE 1000 WRITE => OK");
    assert_eq!(got(&mut clients[0]), "#1:2");
    assert!(
        start.elapsed() >= Duration::from_millis(950),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn rights_are_asked_for_again_when_there_is_something() {
    let mut story = Story::begin();
    story.redis.run("DIRTY.READER s GROUP g FROM 0");
    story.redis.run("ACL SETUSER u on nopass +@all ~s");
    let mut client = story.server.connect();
    client.run("AUTH u x");
    client
        .send(&words("DIRTY.CONSUME s GROUP g a BLOCK 20000"))
        .expect("sent");
    story.server.wait_for_blocked(1);
    story.redis.run("ACL SETUSER u -dirty.consume");
    story.publish(&["1"]);
    let reply = got(&mut client);
    assert_eq!(
        reply,
        "NOPERM this user may no longer consume the stream \"s\""
    );
    story.expect("DIRTY.CONSUME s GROUP g b => #1");
}

#[test]
fn a_thousand_waiting_consumers_get_one_event_each_in_their_order() {
    let mut story = Story::begin();
    story.redis.run("DIRTY.READER s GROUP g FROM 0");
    let mut clients: Vec<Conn> = (0..300)
        .map(|n| {
            let mut client = story.server.connect();
            let line = format!("DIRTY.CONSUME s GROUP g c{n} COUNT 1 BLOCK 20000");
            client.send(&words(&line)).expect("sent");
            client
        })
        .collect();
    story.server.wait_for_blocked(300);
    let entities: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let entities: Vec<&str> = entities.iter().map(String::as_str).collect();
    story.publish(&entities);
    let mut events: Vec<String> = clients.iter_mut().map(got).collect();
    for event in &mut events {
        *event = event.replace(" | more", "");
    }
    events.sort_by_key(|event| {
        event
            .trim_start_matches('#')
            .parse::<u64>()
            .expect("an event")
    });
    let expected: Vec<String> = (1..=300).map(|n| format!("#{n}")).collect();
    assert_eq!(events, expected);
}
