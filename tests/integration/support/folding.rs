//! Entities whose only field is a number, what readers FROM SNAPSHOT make of them, and what must come of it.

use super::dice::Dice;
use super::text;
use redis::Value;
use std::collections::{BTreeSet, VecDeque};

/// The types, which share a stream. An entity is a number: those of the second type are odd.
pub const TYPES: [&str; 2] = ["user", "order"];

/// The number of an entity.
pub fn entity(entity_type: &str, id: &str) -> Option<usize> {
    let nth = TYPES.iter().position(|name| *name == entity_type)?;
    Some(id.parse::<usize>().ok()? * TYPES.len() + nth)
}

/// Its type and its id.
pub fn name(entity: usize) -> (&'static str, usize) {
    (TYPES[entity % TYPES.len()], entity / TYPES.len())
}

/// Some of the entities.
#[derive(Clone, Debug)]
pub enum View {
    All,
    Type(&'static str),
    Ids(BTreeSet<usize>),
    Shard(u16, u16),
}

impl View {
    pub fn shows(&self, entity: usize) -> bool {
        let (entity_type, id) = name(entity);
        match self {
            View::All => true,
            View::Type(name) => *name == entity_type,
            View::Ids(ids) => ids.contains(&id),
            View::Shard(index, count) => crc16(id.to_string().as_bytes()) % count == *index,
        }
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc: u16, _| {
            match crc & 0x8000 {
                0 => crc << 1,
                _ => crc << 1 ^ 0x1021,
            }
        })
    })
}

/// The number of each entity, 0 for one that does not exist, with a sum that tells whether two are the same.
#[derive(Clone, Debug, Default)]
pub struct State {
    numbers: Vec<u32>,
    sum: u64,
}

impl State {
    pub fn get(&self, entity: usize) -> u32 {
        self.numbers.get(entity).copied().unwrap_or(0)
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn put(&mut self, entity: usize, number: u32) -> u32 {
        if self.numbers.len() <= entity {
            self.numbers.resize(entity + 1, 0);
        }
        let old = std::mem::replace(&mut self.numbers[entity], number);
        let after = self.sum.wrapping_sub(share(entity, old));
        self.sum = after.wrapping_add(share(entity, number));
        old
    }

    /// Those that exist.
    pub fn entities(&self) -> impl Iterator<Item = (usize, u32)> {
        let numbers = self.numbers.iter().copied().enumerate();
        numbers.filter(|(_, number)| *number > 0)
    }

    pub fn of(&self, view: &View) -> State {
        let mut state = State::default();
        for (entity, number) in self.entities().filter(|(entity, _)| view.shows(*entity)) {
            state.put(entity, number);
        }
        state
    }

    /// Where two differ first.
    pub fn difference(&self, other: &State) -> Option<(usize, u32, u32)> {
        let entities = 0..self.numbers.len().max(other.numbers.len());
        let both = entities.map(|entity| (entity, self.get(entity), other.get(entity)));
        both.into_iter().find(|(_, ours, theirs)| ours != theirs)
    }
}

/// What an entity adds to the sum.
fn share(entity: usize, number: u32) -> u64 {
    if number == 0 {
        return 0;
    }
    let mixed = (entity as u64) << 32 | u64::from(number);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// A part of a map that RESP2 gives as names and values in turn.
fn part<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    let Value::Array(flat) = map else {
        panic!("{}", text(map));
    };
    let mut pairs = flat.chunks_exact(2);
    pairs.find(|pair| is(&pair[0], name)).map(|pair| &pair[1])
}

fn is(value: &Value, name: &str) -> bool {
    word(value) == name
}

fn word(value: &Value) -> &str {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).expect("a word"),
        Value::SimpleString(text) => text,
        other => panic!("{}", text(other)),
    }
}

fn number(value: &Value) -> u32 {
    match value {
        Value::Nil => 0,
        Value::Int(number) => u32::try_from(*number).expect("a number"),
        other => panic!("{}", text(other)),
    }
}

/// An event of an entity: its number before, where it tells that, and after; none that leaves the number alone.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub entity: usize,
    pub is_read: bool,
    pub old: Option<u32>,
    pub new: Option<u32>,
}

impl Event {
    fn of(event: &Value) -> Event {
        let part = |name| part(event, name);
        let (Some(entity_type), Some(id)) = (part("entity"), part("entity-id")) else {
            panic!("{}", text(event));
        };
        let op = part("op").map(word).expect("an op");
        let changed = part("changes").and_then(|changes| self::part(changes, "n"));
        let (old, new) = match (op, changed) {
            ("read", _) => (
                None,
                part("after")
                    .and_then(|after| self::part(after, "n"))
                    .map(number),
            ),
            ("delete", _) => (None, Some(0)),
            (_, Some(Value::Array(pair))) => (Some(number(&pair[0])), Some(number(&pair[1]))),
            (_, _) => (None, None),
        };
        assert!(op != "read" || new.is_some(), "{}", text(event));
        Event {
            entity: entity(word(entity_type), word(id)).expect("an entity"),
            is_read: op == "read",
            old,
            new,
        }
    }
}

/// The reply of CONSUME or READ.
pub struct Reply {
    pub events: Vec<Event>,
    /// Of the stream's events.
    pub ids: Vec<Id>,
    /// `0`, or whatever says that something is missing.
    pub missed: Option<i64>,
    pub more: bool,
    pub begins: bool,
    pub phase: Option<String>,
    pub position: String,
}

impl Reply {
    pub fn of(reply: &Value) -> Reply {
        let Some(Value::Array(events)) = part(reply, "events") else {
            panic!("{}", text(reply));
        };
        let ids = events.iter().filter_map(|event| match part(event, "id") {
            None | Some(Value::Nil) => None,
            Some(id) => Some(Id::of(word(id))),
        });
        Reply {
            events: events.iter().map(Event::of).collect(),
            ids: ids.collect(),
            missed: match part(reply, "missed") {
                Some(Value::Int(missed)) => Some(*missed),
                _ => None,
            },
            more: !matches!(part(reply, "more"), Some(Value::Int(0))),
            begins: part(reply, "begin").is_some(),
            phase: part(reply, "phase").map(|phase| word(phase).to_string()),
            position: part(reply, "position")
                .map(word)
                .expect("a position")
                .into(),
        }
    }
}

/// The id of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub ms: u64,
    pub seq: u64,
}

impl Id {
    /// As an id or a position shows it.
    pub fn of(text: &str) -> Id {
        let id = text.split('/').next().expect("an id");
        let (ms, seq) = id.split_once('-').expect("ms-seq");
        Id {
            ms: ms.parse().expect("ms"),
            seq: seq.parse().expect("a seq"),
        }
    }
}

/// What a reader keeps as durably as its rows.
pub struct Folder {
    pub cursor: String,
    pub view: View,
    pub state: State,
    /// In which build each entity was named last.
    named: Vec<u32>,
    build: u32,
    pub position: Option<String>,
    /// All entities were read.
    pub is_over: bool,
    /// A part of a reply was applied, without its position.
    pub is_torn: bool,
}

impl Folder {
    pub fn new(cursor: &str, view: View) -> Folder {
        Folder {
            cursor: cursor.into(),
            view,
            state: State::default(),
            named: Vec::new(),
            build: 0,
            position: None,
            is_over: false,
            is_torn: false,
        }
    }

    /// The next call behind `DIRTY.CONSUME stream CURSOR name`.
    pub fn ack(&self) -> String {
        let position = self.position.as_ref();
        position.map_or_else(String::new, |position| format!("ACK {position}"))
    }

    /// It begins again from the state.
    pub fn begin_again(&mut self) {
        self.position = None;
        self.is_over = false;
        self.is_torn = false;
    }

    pub fn take(&mut self, reply: &Reply) {
        self.tear(reply, reply.events.len());
        self.is_torn = false;
        self.position = Some(reply.position.clone());
        if reply.phase.as_deref() == Some("snapshot") {
            // It may begin again, too.
            self.is_over = false;
        }
        if reply.phase.as_deref() == Some("stream") {
            let old = self.state.entities().map(|(entity, _)| entity);
            let old = old.filter(|entity| self.named.get(*entity) != Some(&self.build));
            for entity in old.collect::<Vec<_>>() {
                self.state.put(entity, 0);
            }
            self.is_over = true;
        }
    }

    /// Applies only so many of a reply's events, as a reader does that crashes in the middle.
    pub fn tear(&mut self, reply: &Reply, events: usize) {
        self.is_torn = true;
        if reply.begins {
            self.build += 1;
        }
        for event in &reply.events[..events] {
            assert!(self.view.shows(event.entity), "{}: {event:?}", self.cursor);
            if self.named.len() <= event.entity {
                self.named.resize(event.entity + 1, 0);
            }
            self.named[event.entity] = self.build;
            if let Some(number) = event.new {
                self.state.put(event.entity, number);
            }
        }
    }

    /// One of these: it loses the reply, or what it has applied of it stays.
    pub fn crash(&mut self, reply: &Reply, dice: &mut Dice) {
        if dice.roll(2) == 0 {
            let part = dice.roll(reply.events.len() as u64 + 1);
            self.tear(reply, part as usize);
        }
    }
}

/// How many of the last events it remembers.
const REMEMBERED: usize = 1_000_000;

/// What all of the stream's events come to, one by one.
pub struct Truth {
    pub state: State,
    views: Vec<View>,
    sums: Vec<u64>,
    /// Each event, the number that was there before, and the sums behind it.
    log: VecDeque<(Id, usize, u32, Vec<u64>)>,
    pub last: Id,
    pub events: u64,
}

impl Truth {
    pub fn new(state: State, views: Vec<View>) -> Truth {
        let sums = views.iter().map(|view| state.of(view).sum()).collect();
        Truth {
            state,
            views,
            sums,
            log: VecDeque::new(),
            last: Id::default(),
            events: 0,
        }
    }

    /// Events in the order of the stream, which has no others.
    pub fn take(&mut self, reply: &Reply) {
        assert_eq!(reply.events.len(), reply.ids.len());
        for (event, id) in reply.events.iter().zip(&reply.ids) {
            assert!(!event.is_read, "{event:?} in the stream");
            assert_eq!(id.seq, self.last.seq + 1, "{event:?}");
            let before = self.state.get(event.entity);
            let old = event.old.unwrap_or(before);
            assert_eq!(old, before, "{event:?}");
            let new = event.new.unwrap_or(before);
            self.put(event.entity, new);
            self.last = *id;
            self.events += 1;
            self.log
                .push_back((*id, event.entity, before, self.sums.clone()));
        }
        let forgotten = self.log.len().saturating_sub(REMEMBERED);
        self.log.drain(..forgotten);
    }

    fn put(&mut self, entity: usize, number: u32) {
        let old = self.state.put(entity, number);
        for (view, sum) in self.views.iter().zip(&mut self.sums) {
            if view.shows(entity) {
                *sum = sum.wrapping_sub(share(entity, old));
                *sum = sum.wrapping_add(share(entity, number));
            }
        }
    }

    /// The last n events were lost with their primary.
    pub fn undo(&mut self, n: usize) {
        for _ in 0..n {
            let (_, entity, before, _) = self.log.pop_back().expect("an event that is remembered");
            self.put(entity, before);
            self.last = self.log.back().map_or(Id::default(), |(id, ..)| *id);
        }
    }

    /// The sum of a view at a position: `None` if it has come to no such event.
    pub fn sum_at(&self, view: usize, at: Id) -> Option<u64> {
        let first = self.log.front()?.0.seq;
        let nth = usize::try_from(at.seq.checked_sub(first)?).ok()?;
        let (id, _, _, sums) = self.log.get(nth)?;
        (*id == at).then(|| sums[view])
    }
}
