//! Readers FROM SNAPSHOT while the slot of all that they read is moved to another node, and back.

use super::atomic::{is_possible, move_atomically};
use super::pair::Pair;
use crate::support::dice::{Dice, rand};
use crate::support::folding::{Folder, Id, Reply, State, TYPES, Truth, View, entity};
use crate::support::{text, words};
use redis::Value;

const READERS: [(&str, &str); 5] = [
    ("2 user{7} order{7}", ""),
    ("2 order{7} user{7}", "WHERE ENTITY order"),
    ("2 user{7} order{7}", "SHARD 0 2"),
    ("2 user{7} order{7}", "SHARD 1 2"),
    ("1 user{7}", "WHERE ENTITY user"),
];

fn views() -> [View; 5] {
    [
        View::All,
        View::Type("order"),
        View::Shard(0, 2),
        View::Shard(1, 2),
        View::Type("user"),
    ]
}

/// Of each type, at first.
const ENTITIES: u64 = 400;

struct World {
    pair: Pair,
    slot: String,
    dice: Dice,
    readers: Vec<Folder>,
    truth: Truth,
    position: String,
    number: u64,
    /// Replies that were compared, and calls that were refused while the slot was under way.
    compared: u32,
    refused: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut pair = Pair::start();
        let redis = &mut pair.source.redis;
        let mut state = State::default();
        for name in TYPES {
            let declare =
                format!("DIRTY.DECLARE {name}{{7}} TYPES 1 n int STREAM s{{7}} PAYLOAD FULL");
            assert_eq!(redis.run(&declare), "OK");
            let seeds = (0..ENTITIES).map(|id| format!(" SEED {id} 1 n 1"));
            redis.run(&format!(
                "DIRTY.FLUSH {name}{{7}}{}",
                seeds.collect::<String>()
            ));
            for id in 0..ENTITIES {
                state.put(entity(name, &id.to_string()).expect("an entity"), 1);
            }
        }
        for (nth, (from, rest)) in READERS.iter().enumerate() {
            let declare = format!("DIRTY.READER s{{7}} CURSOR c{nth} FROM SNAPSHOT {from} {rest}");
            assert_eq!(redis.run(&declare), "OK", "{declare}");
        }
        let slot = text(&redis.ok(&["CLUSTER", "KEYSLOT", "7"]));
        let readers = views().into_iter().enumerate();
        World {
            pair,
            slot: slot.trim_matches(['(', ')']).into(),
            dice: Dice(seed | 1),
            readers: readers
                .map(|(nth, view)| Folder::new(&format!("c{nth}"), view))
                .collect(),
            truth: Truth::new(state, views().into()),
            position: "0".into(),
            number: 1,
            compared: 0,
            refused: 0,
        }
    }

    /// As a client of a cluster that gives up at TRYAGAIN.
    fn ask(&mut self, line: &str) -> Option<Value> {
        let words = words(line);
        let Pair { source, target } = &mut self.pair;
        let mut reply = source.redis.value(&words);
        if let Value::ServerError(error) = &reply {
            match error.code() {
                "ASK" => drop(target.redis.ok(&["ASKING"])),
                "MOVED" => (),
                "TRYAGAIN" => {
                    self.refused += 1;
                    return None;
                }
                _ => panic!("{line}: {error:?}"),
            }
            reply = target.redis.value(&words);
        }
        match &reply {
            Value::ServerError(error) if error.code() == "TRYAGAIN" => {
                self.refused += 1;
                None
            }
            Value::ServerError(error) => panic!("{line}: {error:?}"),
            _ => Some(reply),
        }
    }

    fn step(&mut self) {
        match self.dice.roll(3) {
            0 => self.write(),
            _ => {
                let nth = self.dice.roll(READERS.len() as u64);
                self.read(nth as usize);
            }
        }
    }

    fn write(&mut self) {
        self.number += 1;
        let (name, id) = (
            TYPES[self.dice.roll(2) as usize],
            self.dice.roll(ENTITIES * 5 / 4),
        );
        let operation = match self.dice.roll(5) {
            0 => format!("DELETE {id}"),
            _ => format!("SNAPSHOT {id} 1 n {}", self.number),
        };
        self.ask(&format!("DIRTY.FLUSH {name}{{7}} {operation}"));
    }

    fn read(&mut self, nth: usize) {
        let ack = self.readers[nth].ack();
        let count = 20 + 10 * nth;
        let line = format!("DIRTY.CONSUME s{{7}} CURSOR c{nth} {ack} COUNT {count}");
        let Some(reply) = self.ask(&line) else {
            return;
        };
        let reply = Reply::of(&reply);
        assert_eq!(reply.missed, Some(0));
        if self.dice.roll(10) == 0 {
            return self.readers[nth].crash(&reply, &mut self.dice);
        }
        self.readers[nth].take(&reply);
        if self.readers[nth].is_over {
            self.compare(nth, Id::of(&reply.position));
        }
    }

    fn compare(&mut self, nth: usize, at: Id) {
        loop {
            let line = format!("DIRTY.READ s{{7}} FROM {} COUNT 1000", self.position);
            let Some(reply) = self.ask(&line) else {
                return;
            };
            let reply = Reply::of(&reply);
            self.truth.take(&reply);
            self.position.clone_from(&reply.position);
            if !reply.more {
                break;
            }
        }
        if at.seq > 0 {
            let sum = self.readers[nth].state.sum();
            assert_eq!(
                Some(sum),
                self.truth.sum_at(nth, at),
                "reader {nth} at {at:?}"
            );
            self.compared += 1;
        }
    }

    /// All begin again, and come to their end, unless the slot begins to move before.
    fn begin_again(&mut self) {
        for (nth, (from, _)) in READERS.iter().enumerate() {
            let seek = format!("DIRTY.SEEK s{{7}} CURSOR c{nth} SNAPSHOT {from}");
            assert_eq!(text(&self.ask(&seek).expect("a reply")), "OK");
            self.readers[nth].begin_again();
        }
        (0..30).for_each(|_| self.step());
        assert!(self.readers.iter().any(|reader| !reader.is_over));
    }

    fn come_to_the_end(&mut self) {
        for _ in 0..20_000 {
            if self.readers.iter().all(|reader| reader.is_over) {
                return;
            }
            self.step();
        }
        panic!("readers that do not come to their end");
    }

    /// Key by key.
    fn move_slot(&mut self) {
        let slot = self.slot.clone();
        self.pair.begin(&slot);
        loop {
            let keys = self
                .pair
                .source
                .redis
                .run(&format!("CLUSTER GETKEYSINSLOT {slot} 50"));
            let keys: Vec<&str> = keys.trim_matches(['[', ']']).split_whitespace().collect();
            if keys.is_empty() {
                break;
            }
            self.pair.migrate(&keys);
            (0..6).for_each(|_| self.step());
        }
        self.pair.finish(&slot);
        self.pair.swap();
    }
}

fn check(rounds: u32, move_slot: impl Fn(&mut World)) -> World {
    let seed = rand();
    println!("seed {seed}");
    let mut world = World::new(seed);
    for _ in 0..rounds {
        world.begin_again();
        move_slot(&mut world);
        world.come_to_the_end();
    }
    println!(
        "compared at {} positions, {} refused",
        world.compared, world.refused
    );
    assert!(world.compared > 50, "{}", world.compared);
    world
}

#[test]
fn readers_from_a_snapshot_have_the_state_at_every_position_while_their_slot_is_moved_key_by_key() {
    let world = check(4, World::move_slot);
    assert!(
        world.refused > 0,
        "nothing is asked while the slot is under way"
    );
}

#[test]
fn readers_from_a_snapshot_have_the_state_at_every_position_when_their_slot_is_moved_as_a_whole() {
    if !is_possible() {
        return;
    }
    check(4, |world| {
        let (slot, Pair { source, target }) = (&world.slot, &mut world.pair);
        move_atomically(&mut source.redis, &mut target.redis, slot, &target.id);
        world.pair.swap();
    });
}
