//! Random work of all kinds of readers on the stream `s`.

use super::dice::Dice;
use super::readers::field;
use super::story::short;
use super::{Conn, text, words};
use redis::Value;

/// Groups of every kind. Their times are short, so that all that time does happens.
pub const GROUPS: [&str; 4] = ["g", "h", "m", "o"];

const READERS: &str = "
DIRTY.READER s GROUP g FROM 0 CLAIM 20 MAXDELIVERIES 3
DIRTY.READER s GROUP h FROM 0 CLAIM 20 ORDER ENTITY ONDEAD PARK
DIRTY.READER s GROUP m FROM 0 CLAIM 60000 ORDER META k MAXPENDING 20 DEAD d WHERE OPS ID
DIRTY.READER s GROUP o FROM 0 CLAIM 30 ORDER STREAM MINAGE 1
DIRTY.READER s CURSOR c FROM 0
DIRTY.READER s CURSOR k FROM 0 SHARD 1 2 WHERE ENTITY user REVISION 3
";

/// `$g` is a group, `$c` a consumer, `$n` a small number, `$i` ids that were given, `$m` some ms.
const COMMANDS: &[(u64, &str)] = &[
    (14, "DIRTY.FLUSH user META 1 k $n INSERT $n 0"),
    (4, "DIRTY.FLUSH user META 1 k $n DELETE $n"),
    (14, "DIRTY.CONSUME s GROUP $g $c COUNT $n"),
    (10, "DIRTY.CONSUME s GROUP $g $c ACK 2 $i $i COUNT $n"),
    (3, "DIRTY.CONSUME s GROUP $g $c PENDING COUNT $n"),
    (6, "DIRTY.ACK s GROUP $g $c $i $i $i"),
    (2, "DIRTY.ACK s GROUP $g $c FORCE $i"),
    (5, "DIRTY.FAIL s GROUP $g $c why $i $i"),
    (5, "DIRTY.FAIL s GROUP $g $c other DELAY $m $i"),
    (4, "DIRTY.FAIL s GROUP $g $c fatal FATAL $i $i"),
    (1, "DIRTY.FAIL s GROUP $g $c forced FORCE FATAL $i"),
    (2, "DIRTY.HOLD s GROUP $g $c"),
    (2, "DIRTY.HOLD s GROUP $g $c $i"),
    (2, "DIRTY.LEAVE s GROUP $g $c"),
    (2, "DIRTY.REDRIVE s GROUP $g ALL"),
    (2, "DIRTY.REDRIVE s GROUP $g IDS 2 $i $i"),
    (1, "DIRTY.REDRIVE s GROUP m KEY $n"),
    (1, "DIRTY.DISCARD s GROUP $g ENTITY user $n"),
    (1, "DIRTY.DISCARD s GROUP $g IDS 1 $i"),
    (1, "DIRTY.SEEK s GROUP $g $i"),
    (1, "DIRTY.SEEK s GROUP $g $"),
    (1, "DIRTY.SEEK s CURSOR c $i"),
    (1, "DIRTY.PAUSE s GROUP $g ON"),
    (3, "DIRTY.PAUSE s GROUP $g OFF"),
    (3, "DIRTY.CONSUME s CURSOR k COUNT $n"),
    (2, "DIRTY.FAIL s CURSOR c why $i"),
    (
        1,
        "DIRTY.READER s GROUP g CLAIM 20 MAXDELIVERIES 2 WHERE OPS IUD",
    ),
    (1, "DIRTY.READER s GROUP g CLAIM 20 MAXPENDING 5"),
    (1, "DIRTY.READER s CURSOR new FROM $i"),
    (1, "DIRTY.FORGET s CURSOR new"),
    (1, "XDEL s $i"),
    (1, "XTRIM s MAXLEN 30"),
    (1, "XDEL s:dead $i"),
];

pub struct Turmoil {
    dice: Dice,
    /// Some that were given.
    ids: Vec<String>,
    pub errors: u64,
}

impl Turmoil {
    pub fn begin(redis: &mut Conn, seed: u64) -> Turmoil {
        redis.ok(&["DIRTY.DECLARE", "user", "STATELESS", "STREAM", "s"]);
        for line in READERS.lines().filter(|line| !line.is_empty()) {
            assert_eq!(redis.run(line), "OK", "{line}");
        }
        Turmoil {
            dice: Dice(seed | 1),
            ids: vec!["1-1".into()],
            errors: 0,
        }
    }

    pub fn steps(&mut self, redis: &mut Conn, steps: usize) {
        for _ in 0..steps {
            self.step(redis);
        }
    }

    pub fn step(&mut self, redis: &mut Conn) {
        if self.dice.roll(20) == 0 {
            self.follow(redis);
        }
        // Once in a while the stream is begun again, or all readers are.
        match self.dice.roll(600) {
            0 => drop(redis.run("DEL s")),
            1 => drop(redis.run("DIRTY.FORGET s GROUP g")),
            2 => drop(redis.run(READERS.lines().nth(1).expect("a reader"))),
            _ => (),
        }
        let command = self.command();
        let reply = redis.value(&words(&command));
        if let Value::ServerError(_) = reply {
            let error = text(&reply);
            assert!(!error.contains("internal"), "{command}: {error}");
            self.errors += 1;
        }
        self.note(&reply);
    }

    /// Reads as a cursor, and acknowledges.
    fn follow(&mut self, redis: &mut Conn) {
        let reply = redis.value(&words("DIRTY.CONSUME s CURSOR c COUNT 5"));
        if let Some(position) = field(&reply, "position") {
            let position = text(&position);
            redis.run(&format!("DIRTY.CONSUME s CURSOR c ACK {position} COUNT 1"));
        }
    }

    fn note(&mut self, reply: &Value) {
        let is_map = matches!(reply, Value::Array(items) if items.first().is_some_and(|first| text(first) == "events"));
        let events = is_map.then(|| field(reply, "events")).flatten();
        let Some(Value::Array(events)) = events else {
            return;
        };
        let ids = events.iter().filter_map(|event| field(event, "id"));
        self.ids.extend(ids.map(|id| text(&id)));
        let old = self.ids.len().saturating_sub(30);
        self.ids.drain(..old);
    }

    fn command(&mut self) -> String {
        let all = COMMANDS.iter().map(|(weight, _)| weight).sum();
        let mut roll = self.dice.roll(all);
        let (_, template) = COMMANDS
            .iter()
            .find(|(weight, _)| {
                let found = roll < *weight;
                roll = roll.saturating_sub(*weight);
                found
            })
            .expect("a command");
        let words = template.split(' ').map(|word| match word {
            "$g" => GROUPS[self.dice.roll(4) as usize].to_string(),
            "$c" => format!("c{}", self.dice.roll(3)),
            "$n" => (1 + self.dice.roll(6)).to_string(),
            "$m" => [0, 1, 20, 60_000][self.dice.roll(4) as usize].to_string(),
            "$i" => self.ids[self.dice.roll(self.ids.len() as u64) as usize].clone(),
            word => word.to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// All that a server tells of the readers and that does not depend on the time, or on who decides.
pub fn told(redis: &mut Conn) -> Vec<String> {
    let mut all = vec![redis.run("DEBUG DIGEST-VALUE s:readers")];
    for group in GROUPS {
        let words = words(&format!("DIRTY.PENDING s GROUP {group} COUNT 10000"));
        let pending = short(&redis.value(&words));
        // What is delayed comes due meanwhile.
        all.push(pending.replace("state delayed", "state free"));
    }
    all.push(steady(&redis.ok(&["DIRTY.STATS", "s"])));
    all
}

fn steady(stats: &Value) -> String {
    const VOLATILE: [&str; 7] = [
        "idle-ms",
        "stalled",
        "oldest-unread-ms",
        "oldest-event-ms",
        "bytes",
        "due",
        "consumers",
    ];
    match stats {
        Value::Array(items)
            if items
                .iter()
                .any(|item| text(item) == "name" || text(item) == "readers") =>
        {
            let pairs = items
                .chunks(2)
                .filter(|pair| !VOLATILE.contains(&text(&pair[0]).as_str()));
            let pairs = pairs.map(|pair| match pair {
                [name, value] => format!("{} {}", text(name), steady(value)),
                _ => String::new(),
            });
            pairs.collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => items.iter().map(steady).collect::<Vec<_>>().join(" "),
        other => text(other),
    }
}

/// What is told here and there is the same; else where it differs first.
pub fn assert_same(told: &[String], before: &[String], what: &str) {
    for (told, before) in told.iter().zip(before) {
        let same = told
            .bytes()
            .zip(before.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let near = |text: &str| {
            let from = same.saturating_sub(200);
            text.chars().skip(from).take(400).collect::<String>()
        };
        assert!(told == before, "{what}:\n{}\n{}", near(told), near(before));
    }
    assert_eq!(told.len(), before.len(), "{what}");
}
