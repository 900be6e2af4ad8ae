//! Ten readers FROM SNAPSHOT at once, that crash, while writers flush without a pause, the server is killed, and replicas
//! take over: each reader's state equals the server's at every position behind its snapshot phase.
//!
//! `make snapshots` does so with a million entities.

mod crowd;
mod place;
mod turmoil;
mod writers;

use super::support::dice::{Dice, rand};
use super::support::folding::{Folder, Reply, State, TYPES, Truth, View, entity};
use crowd::Crowd;
use place::Place;
use std::time::Duration;

/// A number that the environment gives.
fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect(name))
}

/// How much there is, and how fast.
#[derive(Clone, Copy)]
pub struct Size {
    /// Entities that are there from the beginning.
    pub entities: u64,
    /// Flushed entities a second, where the machine gives it.
    pub rate: u64,
    /// Events that the stream keeps.
    pub kept: u64,
    pub seconds: u64,
}

impl Size {
    fn of_environment() -> Size {
        let (entities, rate) = (number("ENTITIES", 3000), number("RATE", 1500));
        Size {
            entities,
            rate,
            kept: (4 * rate).max(entities / 5),
            seconds: number("SOAK_SECONDS", 10),
        }
    }

    /// Ids of each type that writers use: some entities are new.
    pub fn ids(&self) -> u64 {
        self.entities * 5 / 4 / TYPES.len() as u64
    }
}

#[test]
fn each_of_ten_readers_has_the_servers_state_at_every_position_whatever_happens() {
    let size = Size::of_environment();
    let seed = rand();
    println!("seed {seed}");
    let place = Place::default();
    let mut turmoil = turmoil::Turmoil::start(size, seed, &place);
    let crowd = Crowd::new(size, &place);
    let seeded = writers::seed(&crowd);
    crowd.begin(seeded);
    let patience = Duration::from_secs(60 + size.entities / 2000);
    std::thread::scope(|threads| {
        let crowd = &crowd;
        let (ends, _fails) = (crowd.ends(), crowd.ends_if_it_fails());
        let write = |writer| threads.spawn(move || writers::write(crowd, writer, seed));
        let writers: Vec<_> = (0..writers::WRITERS).map(write).collect();
        threads.spawn(|| crowd.find_truth());
        for nth in 0..crowd::READERS.len() {
            threads.spawn(move || crowd.read(nth, seed));
        }
        turmoil.rage(crowd, patience);
        crowd.stop_writers();
        for writer in writers {
            writer.join().expect("a writer that has seen nothing wrong");
        }
        drop(ends);
    });
    crowd.check();
}
