//! One event that kills its worker, or fails, dies alone.

use crate::support::readers::consume;
use crate::support::story::Story;
use std::collections::BTreeMap;
use std::time::Duration;

/// How a worker comes back after its crash.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Again {
    /// Under its name, asking for what it held.
    ByPending,
    /// Under a new name, when CLAIM has passed.
    ByClaim,
}

/// Works until nothing is left; it crashes on the entity `poison`. How often each event was handled.
fn work_with_crashes(story: &mut Story, again: Again, count: usize) -> BTreeMap<String, usize> {
    let mut handled = BTreeMap::new();
    let (mut life, mut first, mut ack, mut idle) = (0, true, String::new(), 0);
    while idle < 8 {
        let (name, pending) = match again {
            Again::ByPending if first => ("w".to_string(), "PENDING"),
            Again::ByPending => ("w".to_string(), ""),
            Again::ByClaim => (format!("w{life}"), ""),
        };
        let line = format!("s GROUP g {name} {ack} {pending} COUNT {count}");
        let batch = consume(&mut story.redis, &line);
        (first, ack) = (false, String::new());
        if batch.events.is_empty() {
            idle += 1;
            std::thread::sleep(Duration::from_millis(25));
            continue;
        }
        idle = 0;
        let crashes = batch
            .events
            .iter()
            .position(|event| event.starts_with("poison"));
        for event in &batch.events[..crashes.unwrap_or(batch.events.len())] {
            let name = event.split('x').next().expect("an entity").to_string();
            *handled.entry(name).or_insert(0) += 1;
        }
        match crashes {
            // What it has handled of the batch is not acknowledged.
            Some(_) => (life, first) = (life + 1, true),
            None => ack = format!("ACK {} {}", batch.ids.len(), batch.ids.join(" ")),
        }
    }
    handled
}

#[test]
fn of_a_batch_held_by_a_worker_that_crashes_on_one_event_again_and_again_that_one_dies() {
    for order in ["NONE", "ENTITY", "META none", "STREAM"] {
        for again in [Again::ByPending, Again::ByClaim] {
            for count in [20, 3] {
                let case = format!("ORDER {order}, {again:?}, COUNT {count}");
                let mut story = Story::begin();
                story.expect(&format!(
                    "DIRTY.READER s GROUP g FROM 0 ORDER {order} CLAIM 100 MAXDELIVERIES 3 => OK"
                ));
                let entities = ["1", "2", "3", "4", "poison", "6", "7", "8", "9", "10"];
                story.publish(&entities);
                let handled = work_with_crashes(&mut story, again, count);
                assert_eq!(story.run("DIRTY.PENDING s GROUP g"), "[]", "{case}");
                let dead = story.run("DIRTY.READ s:dead FROM 0");
                assert!(
                    dead.starts_with("#1[id #5 stream s reader g consumer w")
                        && dead.contains(
                            "error delivered 3 times and not acknowledged deliveries (3)"
                        ),
                    "{case}: {dead}"
                );
                assert_eq!(story.run("XLEN s:dead"), "(1)", "{case}");
                let others: Vec<&str> = handled.keys().map(String::as_str).collect();
                assert_eq!(
                    others,
                    ["1", "10", "2", "3", "4", "6", "7", "8", "9"],
                    "{case}"
                );
            }
        }
    }
}

/// Works until nothing is left; the handler fails on the entity `poison`. What it handled, in order.
fn work_with_failures(story: &mut Story, name: &str) -> Vec<String> {
    let (mut handled, mut ack, mut idle) = (Vec::new(), String::new(), 0);
    while idle < 5 {
        let batch = consume(&mut story.redis, &format!("s GROUP g {name} {ack}"));
        idle = if batch.ids.is_empty() { idle + 1 } else { 0 };
        let mut done = Vec::new();
        for (id, event) in batch.ids.iter().zip(&batch.events) {
            if event.starts_with("poison") {
                let fail = format!("DIRTY.FAIL s GROUP g {name} poisoned DELAY 0 {id}");
                story.redis.run(&fail);
            } else {
                handled.push(event.clone());
                done.push(id.clone());
            }
        }
        ack = format!("ACK {} {}", done.len(), done.join(" "));
    }
    handled
}

#[test]
fn of_five_events_read_in_order_one_that_fails_always_dies_and_no_other() {
    for order in ["NONE", "ENTITY", "META none", "STREAM"] {
        for place in 0..5 {
            let mut story = Story::begin();
            story.expect(&format!(
                "DIRTY.READER s GROUP g FROM 0 ORDER {order} MAXDELIVERIES 3 => OK"
            ));
            let mut entities = ["1", "2", "3", "4", "5"];
            entities[place] = "poison";
            story.publish(&entities);
            work_with_failures(&mut story, "w");
            let case = format!("ORDER {order}, {place}");
            assert_eq!(story.run("XLEN s:dead"), "(1)", "{case}");
            let dead = story.run("DIRTY.READ s:dead FROM 0");
            let expected =
                "error poisoned deliveries (3) failures (3) first-ms (T) last-ms (T)] | position";
            assert!(
                dead.starts_with(&format!("#1[id #{} ", place + 1)) && dead.contains(expected),
                "{case}: {dead}"
            );
            assert_eq!(story.run("DIRTY.PENDING s GROUP g"), "[]", "{case}");
            let stats = story.run("DIRTY.STATS s");
            assert!(
                stats.contains("acknowledged (4) failed (3) died (1)"),
                "{case}: {stats}"
            );
        }
    }
}

#[test]
fn rolling_restarts_with_leave_bring_no_event_nearer_to_its_death() {
    for order in ["NONE", "ENTITY", "STREAM"] {
        let mut story = Story::with(&["1", "2", "3"]);
        story.expect(&format!(
            "DIRTY.READER s GROUP g FROM 0 ORDER {order} MAXDELIVERIES 2 => OK"
        ));
        for restart in 0..10 {
            let batch = story.run(&format!("DIRTY.CONSUME s GROUP g w{restart}"));
            assert_eq!(batch, "#1 #2 #3", "ORDER {order}, restart {restart}");
            assert_eq!(
                story.run(&format!("DIRTY.LEAVE s GROUP g w{restart}")),
                "(3)"
            );
        }
        story.expect(
            "
DIRTY.CONSUME s GROUP g w => #1 #2 #3
DIRTY.FAIL s GROUP g w first DELAY 0 #1 => [retry]
",
        );
        story.run("DIRTY.LEAVE s GROUP g w");
        // The failure counts, and leaving behind it does not.
        let batch = story.run("DIRTY.CONSUME s GROUP g v COUNT 1");
        assert!(batch.starts_with('#'), "ORDER {order}: {batch}");
        story.run("DIRTY.LEAVE s GROUP g v");
        let batch = story.run("DIRTY.CONSUME s GROUP g u");
        assert!(batch.contains("#1:2!1"), "ORDER {order}: {batch}");
        assert_eq!(story.run("DIRTY.FAIL s GROUP g u second #1"), "[dead]");
        assert_eq!(story.run("XLEN s:dead"), "(1)", "ORDER {order}");
    }
}
