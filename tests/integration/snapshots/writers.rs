//! Who flushes.

use super::place::{Client, right};
use super::{Crowd, Dice, State, TYPES, entity};
use redis::Value;
use std::time::{Duration, Instant};

pub const WRITERS: u64 = 2;

/// Operations of a command, and commands of a pipeline.
const OPERATIONS: u64 = 20;
const COMMANDS: u64 = 5;

fn pack(command: &[String]) -> Vec<u8> {
    let mut packed = redis::Cmd::new();
    for word in command {
        packed.arg(word);
    }
    packed.get_packed_command()
}

fn flush(entity_type: &str) -> Vec<String> {
    vec!["DIRTY.FLUSH".into(), entity_type.into()]
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(' ').map(String::from)
}

/// What is there before the readers: nobody is told of it.
pub fn seed(crowd: &Crowd) -> State {
    let (mut client, mut state) = (Client::new(crowd.place), State::default());
    let each = crowd.size.entities / TYPES.len() as u64;
    for entity_type in TYPES {
        let ids: Vec<u64> = (0..each).collect();
        for ids in ids.chunks(500) {
            let mut command = flush(entity_type);
            for id in ids {
                command.extend(words(&format!("SEED {id} 2 n {} m 0", id + 1)));
                let entity = entity(entity_type, &id.to_string()).expect("an entity");
                state.put(entity, u32::try_from(id + 1).expect("a number"));
            }
            let (replies, _) = client.send(&pack(&command), 1);
            right(&replies[0]);
        }
    }
    state
}

/// Changes the entities that are this writer's, until the end.
pub fn write(crowd: &Crowd, writer: u64, seed: u64) {
    let mut client = Client::new(crowd.place);
    let mut dice = Dice(seed.wrapping_add(writer * 1001) | 1);
    let mut number = crowd.size.entities * 2;
    let (begin, mut sent) = (Instant::now(), 0);
    let _ends = crowd.ends_if_it_fails();
    while !crowd.are_writers_to_stop() {
        let mut packed = Vec::new();
        for _ in 0..COMMANDS {
            let mut command = flush(TYPES[dice.roll(2) as usize]);
            for _ in 0..OPERATIONS {
                number += 1;
                let id = dice.roll(crowd.size.ids() / WRITERS) * WRITERS + writer;
                command.extend(words(&match dice.roll(10) {
                    0 => format!("DELETE {id}"),
                    1 => format!("SNAPSHOT {id} 2 n 1 m {number}"),
                    _ => format!("SNAPSHOT {id} 2 n {number} m 0"),
                }));
            }
            packed.extend(pack(&command));
        }
        packed.extend(pack(&Vec::from_iter(words("XREVRANGE s + - COUNT 1"))));
        let commands = usize::try_from(COMMANDS).expect("a number") + 1;
        let (mut replies, _) = client.send(&packed, commands);
        let newest = replies.pop().expect("the last event");
        assert!(
            replies
                .iter()
                .all(|reply| matches!(right(reply), Value::Array(_)))
        );
        sent += COMMANDS * OPERATIONS;
        let due = Duration::from_millis(sent * WRITERS * 1000 / crowd.size.rate);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        wait_for_readers(crowd, &mut client, newest);
    }
}

/// Where the machine is slower than the rate, nobody is to be left behind retention but one who sleeps.
fn wait_for_readers(crowd: &Crowd, client: &mut Client, mut newest: Value) {
    while !crowd.are_writers_to_stop() && crowd.behind(&newest) > crowd.size.kept / 2 {
        std::thread::sleep(Duration::from_millis(10));
        newest = client.ask("XREVRANGE s + - COUNT 1").0;
    }
}
