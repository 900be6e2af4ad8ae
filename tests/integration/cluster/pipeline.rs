//! One step of a pipeline while slots are moved.

use super::nodes::{Mover, Nodes};
use crate::support::dice::Dice;
use crate::support::pipeline::{Answer, Link, Pipeline, WORKERS, WRITERS};
use redis::ConnectionLike;
use redis::cluster::ClusterConnection;
use std::time::{Duration, Instant};

const PARTITIONS: u64 = 8;

/// A client of a library that knows clusters.
struct ToCluster {
    client: ClusterConnection,
    life: u64,
}

impl ToCluster {
    fn new(nodes: &Nodes) -> ToCluster {
        ToCluster {
            client: nodes.client(),
            life: 0,
        }
    }
}

impl Link for ToCluster {
    fn ask(&mut self, line: &str) -> Answer {
        let start = Instant::now();
        let mut command = redis::Cmd::new();
        line.split_whitespace().for_each(|word| {
            command.arg(word);
        });
        loop {
            assert!(
                start.elapsed() < Duration::from_secs(40),
                "no answer: {line}"
            );
            let error = match self.client.req_command(&command) {
                Ok(value) => return Answer::Reply(value),
                Err(error) => error,
            };
            match error.code() {
                Some("TRYAGAIN" | "ASK" | "MOVED") => std::thread::sleep(Duration::from_millis(5)),
                Some(code) => return Answer::Refused(code.to_string()),
                None => {
                    self.life += 1;
                    return Answer::Lost;
                }
            }
        }
    }

    fn is_safe(&mut self) -> bool {
        true
    }

    fn life(&self) -> u64 {
        self.life
    }
}

#[test]
fn every_event_has_its_effect_once_and_in_order_while_slots_are_moved() {
    let nodes = Nodes::start();
    let pipeline = Pipeline::new(PARTITIONS);
    pipeline.declare(&mut ToCluster::new(&nodes));
    let mut redis = nodes.connect(nodes.ports[0]);
    let slots: Vec<u16> = (0..PARTITIONS)
        .map(
            |n| match redis.ok(&["CLUSTER", "KEYSLOT", &n.to_string()]) {
                redis::Value::Int(slot) => u16::try_from(slot).expect("a slot"),
                other => panic!("no slot: {other:?}"),
            },
        )
        .collect();
    let seconds = std::env::var("SOAK_SECONDS").map_or(8, |text| text.parse().expect("seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut moved = 0;
    std::thread::scope(|threads| {
        let (nodes, pipeline) = (&nodes, &pipeline);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                threads.spawn(move || pipeline.write(&mut ToCluster::new(nodes), writer, until))
            })
            .collect();
        for worker in 0..WORKERS {
            threads.spawn(move || pipeline.work(&mut ToCluster::new(nodes), worker));
        }
        let mut mover = Mover::new(nodes);
        let mut dice = Dice(5);
        while Instant::now() < until {
            let slot = slots[dice.roll(PARTITIONS) as usize];
            mover.shift(slot, || {
                std::thread::sleep(Duration::from_millis(1 + dice.roll(10)))
            });
            moved += 1;
        }
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        pipeline.end();
        assert!(written.iter().all(Result::is_ok), "a writer failed");
    });
    pipeline.check(&mut ToCluster::new(&nodes));
    let again = nodes.errors("TRYAGAIN");
    println!("{moved} slots moved, {again} TRYAGAIN");
    assert!(moved > 5 && again > 0);
}
