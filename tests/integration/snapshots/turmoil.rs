//! Servers that die, and others that take over.

use super::place::{Place, Primary};
use super::{Crowd, Dice, Size};
use crate::support::Server;
use std::time::{Duration, Instant};

/// What was answered is in the kernel's hands, and outlives the process.
const OPTIONS: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "no",
    "--repl-backlog-size",
    "64mb",
];

pub struct Turmoil<'p> {
    place: &'p Place,
    primary: Server,
    replica: Server,
    dice: Dice,
    size: Size,
}

impl<'p> Turmoil<'p> {
    pub fn start(size: Size, seed: u64, place: &'p Place) -> Self {
        let primary = Server::with(&OPTIONS);
        let mut redis = primary.connect();
        for entity_type in super::TYPES {
            let stream = format!("STREAM s PAYLOAD FULL MAXLEN = {}", size.kept);
            let declare = format!("DIRTY.DECLARE {entity_type} TYPES 2 n int m int {stream}");
            assert_eq!(redis.run(&declare), "OK");
        }
        place.move_to(Primary {
            port: primary.port,
            era: 0,
        });
        Turmoil {
            place,
            replica: replica_of(&primary),
            primary,
            dice: Dice(seed | 1),
            size,
        }
    }

    /// Round after round all readers begin again, and in the middle of it something happens.
    pub fn rage(&mut self, crowd: &Crowd, patience: Duration) {
        let end = Instant::now() + Duration::from_secs(self.size.seconds);
        let (mut rounds, mut happened) = (0, [0; 4]);
        // How long it takes when nothing happens.
        let start = Instant::now();
        crowd.wait_until_all_are_over(patience);
        let whole = u64::try_from(start.elapsed().as_millis()).expect("some ms");
        while Instant::now() < end || rounds < 4 {
            println!("{} s: round {rounds}", start.elapsed().as_secs());
            crowd.begin_again();
            std::thread::sleep(Duration::from_millis(self.dice.roll(whole + 1)));
            let what = rounds % 4;
            match what {
                0 => self.kill(),
                1 => self.replace(),
                2 => self.fail_over(),
                // That retention may be too fast for one that sleeps.
                _ => (),
            }
            happened[what] += 1;
            rounds += 1;
            crowd.wait_until_all_are_over(patience);
        }
        let [kills, replaced, failovers, _] = happened;
        println!(
            "{kills} kills, {replaced} replicas of dead primaries promoted, {failovers} failovers"
        );
        crowd.wait_until_one_was_told_of_retention(patience);
    }

    /// As a power cut, and on from the file.
    fn kill(&mut self) {
        self.primary.kill();
        self.primary.start_again();
        in_step(&self.primary, &self.replica);
    }

    /// The primary dies with what it has not sent: for a moment it is cut off.
    fn replace(&mut self) {
        let Primary { era, .. } = self.place.now();
        self.replica.connect().ok(&["REPLICAOF", "NO", "ONE"]);
        std::thread::sleep(Duration::from_millis(self.dice.roll(300)));
        self.primary.kill();
        self.place.move_to(Primary {
            port: self.replica.port,
            era: era + 1,
        });
        let next = replica_of(&self.replica);
        self.primary = std::mem::replace(&mut self.replica, next);
    }

    /// As an operator does it: nothing is lost.
    fn fail_over(&mut self) {
        self.primary.connect().ok(&["FAILOVER"]);
        wait_for("role:master", &self.replica);
        std::mem::swap(&mut self.primary, &mut self.replica);
        let Primary { era, .. } = self.place.now();
        self.place.move_to(Primary {
            port: self.primary.port,
            era,
        });
        in_step(&self.primary, &self.replica);
    }
}

fn replica_of(primary: &Server) -> Server {
    let replica = Server::with(&OPTIONS);
    let port = primary.port.to_string();
    replica.connect().ok(&["REPLICAOF", "127.0.0.1", &port]);
    in_step(primary, &replica);
    replica
}

/// The replica has all that the primary has now.
fn in_step(primary: &Server, replica: &Server) {
    wait_for("master_link_status:up", replica);
    wait_for("state=online", primary);
}

/// A million entities take longer than tests wait otherwise.
fn wait_for(line: &str, server: &Server) {
    let start = Instant::now();
    while !server.connect().run("INFO replication").contains(line) {
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(180),
            "{line}: {}",
            server.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
