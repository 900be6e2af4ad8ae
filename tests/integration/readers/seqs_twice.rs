//! Seqs that are given twice: what each reader sees of a stream whose last events never were, or that was begun again.
//! The table of docs/clusters.md, "Seqs that are given twice", is this one.

use crate::support::readers::{field, read};
use crate::support::{Conn, Server, cases, dumps, text, words};
use redis::Value;
use std::time::Duration;

/// Three events of a, b, c are known to all; readers have acknowledged a and b. Then come d and e, and all readers get
/// them, and acknowledge what they have got: `done` before the state is lost, `late` after it; or nobody has called, and all
/// are `behind`. Then events of d (and f, g, and so on) take the place; of those of a stream that is `trimmed` or `told`, which
/// was deleted, the last one is left, and before `told` ones DIRTY.READER came. Shown is what each reader gets then, with its
/// acknowledgement if that is late: groups of ORDER NONE, ENTITY, STREAM (with PENDING, as after a lost connection), a
/// cursor, a cursor that was in its snapshot phase, and DIRTY.READ from its position. `(a b)` are entities of a page, `?` is
/// a `missed` of null, `!2` two ids not held.
const SEEN: &str = "
failover late d => d !2 | d !2 | cx2 d !2 | c d ? | d (a b c d) ? begin | NOPOSITION
failover late d f g h i j => d f g h i j !2 | d f g h i j !2 | cx2 d f g h i j !2 | c d f g h i j ? | d f g h i j (a b c d f g h i j) ? begin | NOPOSITION
failover done d => cx2 d | cx2 d | cx2 d | c d | d (a b c d) begin | NOPOSITION
failover done d f g h i j => cx2 d f g h i j | cx2 d f g h i j | cx2 d f g h i j | c d f g h i j | d f g h i j (a b c d f g h i j) begin | NOPOSITION
failover behind d => cx2 d | cx2 d | cx2 d | c d | d (a b c d) begin | d
failover behind d f g h i j => cx2 d f g h i j | cx2 d f g h i j | cx2 d f g h i j | c d f g h i j | d f g h i j (a b c d f g h i j) begin | d f g h i j
crash late d => d !2 | d !2 | cx2 d !2 | c d ? | d (a b c d) ? begin | NOPOSITION
crash late d f g h i j => d f g h i j !2 | d f g h i j !2 | cx2 d f g h i j !2 | c d f g h i j ? | d f g h i j (a b c d f g h i j) ? begin | NOPOSITION
crash done d => cx2 d | cx2 d | cx2 d | c d | d (a b c d) begin | NOPOSITION
crash done d f g h i j => cx2 d f g h i j | cx2 d f g h i j | cx2 d f g h i j | c d f g h i j | d f g h i j (a b c d f g h i j) begin | NOPOSITION
crash behind d => cx2 d | cx2 d | cx2 d | c d | d (a b c d) begin | d
crash behind d f g h i j => cx2 d f g h i j | cx2 d f g h i j | cx2 d f g h i j | c d f g h i j | d f g h i j (a b c d f g h i j) begin | d f g h i j
backup late d => d !2 | d !2 | cx2 d !2 | c d ? | d (a b c d e) ? begin | NOPOSITION
backup late d f g h i j => d f g h i j !2 | d f g h i j !2 | cx2 d f g h i j !2 | c d f g h i j ? | d f g h i j (a b c d e f g h i j) ? begin | NOPOSITION
backup done d => cx2 d | cx2 d | cx2 d | c d | d (a b c d e) begin | NOPOSITION
backup done d f g h i j => cx2 d f g h i j | cx2 d f g h i j | cx2 d f g h i j | c d f g h i j | d f g h i j (a b c d e f g h i j) begin | NOPOSITION
backup behind d => cx2 d | cx2 d | cx2 d | c d | d (a b c d e) begin | d
backup behind d f g h i j => cx2 d f g h i j | cx2 d f g h i j | cx2 d f g h i j | c d f g h i j | d f g h i j (a b c d e f g h i j) begin | d f g h i j
stream late d => a b c d ? !3 | a b c d ? !3 | a b c d ? !2 | a b c d ? | a b c d (a b c d e) ? begin | NOPOSITION
stream late d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | c d f g h i j ? | d f g h i j (a b c d e f g h i j) ? begin | NOPOSITION
stream done d => a b c d ? | a b c d ? | a b c d ? | a b c d ? | a b c d ? | NOPOSITION
stream done d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | NOPOSITION
stream behind d => cx2 d | cx2 d | cx2 d | c d | d (a b c d e) begin | d
stream behind d f g h i j => cx2 d f g h i j | cx2 d f g h i j | cx2 d f g h i j | c d f g h i j | d f g h i j (a b c d e f g h i j) begin | d f g h i j
readers late d => d e d !2 | d e d !2 | cx2 d e d !2 | d | d | d
readers late d f g h i j => d e d f g h i j !2 | d e d f g h i j !2 | cx2 d e d f g h i j !2 | d f g h i j | d f g h i j | d f g h i j
readers done d => cx2 d e d | cx2 d e d | cx2 d e d | c d e d | d e d (a b c d e) begin | d
readers done d f g h i j => cx2 d e d f g h i j | cx2 d e d f g h i j | cx2 d e d f g h i j | c d e d f g h i j | d e d f g h i j (a b c d e f g h i j) begin | d f g h i j
readers behind d => cx2 d e d | cx2 d e d | cx2 d e d | c d e d | d e d (a b c d e) begin | d e d
readers behind d f g h i j => cx2 d e d f g h i j | cx2 d e d f g h i j | cx2 d e d f g h i j | c d e d f g h i j | d e d f g h i j (a b c d e f g h i j) begin | d e d f g h i j
deleted late d => d ? !3 | d ? !3 | d ? !2 | d ? | d (a b c d e) ? begin | NOPOSITION
deleted late d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j (a b c d e f g h i j) ? begin | NOPOSITION
deleted done d => d ? | d ? | d ? | d ? | d ? | NOPOSITION
deleted done d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | NOPOSITION
deleted behind d => d ? | d ? | d ? | d ? | d (a b c d e) ? begin | NOPOSITION
deleted behind d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j (a b c d e f g h i j) ? begin | NOPOSITION
trimmed late d f g h i j => j | j | j | j | j | j
trimmed late d f g h i j k => k missed 1 | k missed 1 | k missed 1 | k missed 1 | k missed 1 | k missed 1
trimmed done d f g h i j => j | j | j | j | j | j
trimmed behind d f g h i j k => k missed 4 | k missed 4 | k missed 4 | k missed 4 | k (a b c d e f g h i j k) missed 3 begin | k missed 3
told done d f g h i j k => k ? | k ? | k ? | k ? | k ? | k missed 1
setid late d => d ? | d ? | d ? | d ? | d (a b c d e) ? begin | NOPOSITION
setid late d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j (a b c d e f g h i j) ? begin | NOPOSITION
setid done d => d ? | d ? | d ? | d ? | d ? | NOPOSITION
setid done d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | NOPOSITION
setid behind d => d missed 1 | d missed 1 | d missed 1 | d missed 1 | d (a b c d e) begin | d
setid behind d f g h i j => d f g h i j missed 1 | d f g h i j missed 1 | d f g h i j missed 1 | d f g h i j missed 1 | d f g h i j (a b c d e f g h i j) begin | d f g h i j
setid-added late d => d ? !3 | d ? !3 | d ? !2 | d ? | d (a b c d e) ? begin | NOPOSITION
setid-added late d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j (a b c d e f g h i j) ? begin | NOPOSITION
setid-added done d => d ? | d ? | d ? | d ? | d ? | NOPOSITION
setid-added done d f g h i j => d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | d f g h i j ? | NOPOSITION
setid-added behind d => d missed 1 | d missed 1 | d missed 1 | d missed 1 | d (a b c d e) begin | d
setid-added behind d f g h i j => d f g h i j missed 1 | d f g h i j missed 1 | d f g h i j missed 1 | d f g h i j missed 1 | d f g h i j (a b c d e f g h i j) begin | d f g h i j
";

const GROUPS: [(&str, &str); 3] = [("n", "NONE"), ("e", "ENTITY"), ("o", "STREAM")];

/// A stream, and what its readers have got that they can acknowledge.
struct Life {
    server: Server,
    /// A primary that is no longer the one.
    lost: Option<Server>,
    redis: Conn,
    flushed: usize,
    /// Of each group, then the position of c and p; of DIRTY.READ its last one.
    got: Vec<String>,
    position: String,
}

impl Life {
    fn begin() -> Life {
        let server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
        let mut redis = server.connect();
        assert_eq!(redis.run("DIRTY.DECLARE user STREAM s PAYLOAD FULL"), "OK");
        let mut life = Life {
            server,
            lost: None,
            redis,
            flushed: 0,
            got: Vec::new(),
            position: String::new(),
        };
        life.flush("a b c");
        for (group, order) in GROUPS {
            life.ok(&format!(
                "DIRTY.READER s GROUP {group} FROM 0 ORDER {order}"
            ));
            let got = life.ids(&format!("DIRTY.CONSUME s GROUP {group} w"));
            life.ok(&format!(
                "DIRTY.ACK s GROUP {group} w {} {}",
                got[0], got[1]
            ));
        }
        life.ok("DIRTY.READER s CURSOR c FROM 0");
        life.ok("DIRTY.READER s CURSOR p FROM SNAPSHOT 1 user");
        let reply = life.value("DIRTY.CONSUME s CURSOR c COUNT 2");
        let position = read(&reply).position.expect("a position");
        life.ok(&format!("DIRTY.ACK s CURSOR c {position}"));
        life
    }

    fn value(&mut self, command: &str) -> Value {
        self.redis.value(&words(command))
    }

    fn ok(&mut self, command: &str) {
        let reply = self.redis.run(command);
        assert!(!reply.starts_with(['E', 'N', 'W']), "{command}: {reply}");
    }

    fn ids(&mut self, command: &str) -> Vec<String> {
        let reply = self.value(command);
        read(&reply).ids
    }

    fn flush(&mut self, entities: &str) {
        for entity in entities.split(' ') {
            // No id is given twice.
            std::thread::sleep(Duration::from_millis(2));
            self.flushed += 1;
            let flush = format!("DIRTY.FLUSH user SNAPSHOT {entity} 1 v {}", self.flushed);
            self.ok(&flush);
        }
    }

    /// Everybody reads d and e, and acknowledges it if it is to be done.
    fn read_on(&mut self, when: &str) {
        let done = when == "done";
        self.flush("d e");
        if when == "behind" {
            self.position = self.ids("DIRTY.READ s FROM 0")[2].clone();
            return;
        }
        for (group, _) in GROUPS {
            // Of ORDER STREAM nothing more comes while something is held.
            let ack = match group {
                "o" => format!("ACK 1 {}", self.ids("DIRTY.READ s FROM 0")[2]),
                _ => String::new(),
            };
            self.ids(&format!("DIRTY.CONSUME s GROUP {group} w {ack}"));
            let pending = self.value(&format!("DIRTY.PENDING s GROUP {group}"));
            let Value::Array(rows) = pending else {
                panic!("{}", text(&pending))
            };
            let held = rows
                .iter()
                .map(|row| text(&field(row, "id").expect("an id")));
            let held: Vec<String> = held.collect();
            assert_eq!(held.len(), if group == "o" { 2 } else { 3 });
            self.got.push(format!("{} {}", held.len(), held.join(" ")));
            if done {
                self.ok(&format!("DIRTY.ACK s GROUP {group} w {}", held.join(" ")));
            }
        }
        for cursor in ["c", "p"] {
            let reply = self.value(&format!("DIRTY.CONSUME s CURSOR {cursor}"));
            let position = read(&reply).position.expect("a position");
            if done {
                self.ok(&format!("DIRTY.ACK s CURSOR {cursor} {position}"));
            }
            self.got.push(position);
        }
        let reply = self.value("DIRTY.READ s FROM 0");
        self.position = read(&reply).position.expect("a position");
    }

    /// Each reader's next reply, and the one after it, when this one is acknowledged.
    fn seen(&mut self, when: &str, case: &str) -> String {
        let mut all = Vec::new();
        for (n, reader) in [
            "GROUP n w",
            "GROUP e w",
            "GROUP o w",
            "CURSOR c",
            "CURSOR p",
        ]
        .into_iter()
        .enumerate()
        {
            let ack = match self.got.get(n).filter(|_| when == "late") {
                Some(got) => format!("ACK {got}"),
                None => String::new(),
            };
            let pending = if n < 3 { "PENDING" } else { "" };
            let reply = self.value(&format!("DIRTY.CONSUME s {reader} {ack} {pending}"));
            all.push(short(&reply));
            if let Some(position) = field(&reply, "position") {
                let next = format!("DIRTY.CONSUME s {reader} ACK {}", text(&position));
                let next = self.value(&next);
                assert_eq!(short(&next), "", "{reader} again: {case}");
            }
        }
        let from = format!("DIRTY.READ s FROM {}", self.position);
        all.push(match self.redis.run(&from).starts_with("NOPOSITION ") {
            true => "NOPOSITION".into(),
            false => short(&self.value(&from)),
        });
        all.join(" | ")
    }

    fn restore(&mut self, key: &str, payload: &[u8]) {
        let words: [&[u8]; 5] = [b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"];
        assert_eq!(self.redis.raw(&words), "OK");
    }

    /// The last events are lost, or all.
    fn lose(&mut self, how: &str, when: &str) {
        let before = ["s", "s:readers"].map(|key| dumps::dump(&mut self.redis, key));
        let file = self.server.growing_aof();
        let length = file.metadata().expect("a file").len();
        let last = self.ids("DIRTY.READ s FROM 0")[2].clone();
        if how == "failover" {
            let replica = Server::replica_of(&self.server);
            self.server.wait_for_replica(&replica);
            let mut promoted = replica.connect();
            promoted.ok(&["REPLICAOF", "NO", "ONE"]);
            self.read_on(when);
            self.redis = promoted;
            self.lost = Some(std::mem::replace(&mut self.server, replica));
            return;
        }
        self.read_on(when);
        match how {
            "crash" => {
                self.server.kill();
                let file = std::fs::File::options().write(true).open(file);
                file.and_then(|file| file.set_len(length)).expect("a cut");
                self.server.start_again();
                self.redis = self.server.connect();
            }
            "backup" => {
                self.restore("s", &before[0]);
                self.restore("s:readers", &before[1]);
            }
            "stream" => self.restore("s", &before[0]),
            "readers" => self.restore("s:readers", &before[1]),
            "deleted" | "trimmed" => self.ok("DEL s"),
            "told" => {
                self.ok("DEL s");
                self.ok("DIRTY.READER s GROUP e");
            }
            _ => {
                self.ok("XTRIM s MAXLEN 0");
                let added = if how == "setid" { 5 } else { 3 };
                // Behind XDEL newer servers refuse it.
                self.ok(&format!(
                    "XSETID s {last} ENTRIESADDED {added} MAXDELETEDID 0-0"
                ));
            }
        }
    }
}

/// `d x2 e (a b) ? !2 begin`.
fn short(reply: &Value) -> String {
    let Some(Value::Array(events)) = field(reply, "events") else {
        return text(reply);
    };
    let name = |event: &Value| {
        let entity = text(&field(event, "entity-id").expect("an entity"));
        match field(event, "deliveries") {
            Some(Value::Int(n)) if n > 1 => format!("{entity}x{n}"),
            _ => entity,
        }
    };
    let is_read = |event: &&Value| text(&field(event, "op").expect("an op")) == "read";
    let (page, events): (Vec<&Value>, Vec<&Value>) = events.iter().partition(is_read);
    let mut parts: Vec<String> = events.into_iter().map(name).collect();
    if !page.is_empty() {
        let mut page: Vec<String> = page.into_iter().map(name).collect();
        page.sort();
        parts.push(format!("({})", page.join(" ")));
    }
    match field(reply, "missed") {
        Some(Value::Int(0)) => {}
        Some(Value::Int(n)) => parts.push(format!("missed {n}")),
        _ => parts.push("?".into()),
    }
    match field(reply, "not-held") {
        Some(Value::Array(ids)) if !ids.is_empty() => parts.push(format!("!{}", ids.len())),
        _ => {}
    }
    if field(reply, "begin").is_some() {
        parts.push("begin".into());
    }
    parts.join(" ")
}

#[test]
fn each_reader_is_told_what_the_manual_says_where_seqs_are_given_twice() {
    let mut shown = String::new();
    for (case, _) in cases(SEEN) {
        let (how, rest) = case.split_once(' ').expect("done or late");
        let (when, new) = rest.split_once(' ').expect("new events");
        let mut life = Life::begin();
        life.lose(how, when);
        life.flush(new);
        if ["trimmed", "told"].contains(&how) {
            life.ok("XTRIM s MAXLEN 1");
        }
        shown += &format!("{case} => {}\n", life.seen(when, &case));
    }
    let wanted = SEEN
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let wanted: String = wanted.map(|line| format!("{line}\n")).collect();
    assert!(shown == wanted, "seen:\n{shown}\nwanted:\n{wanted}");
}

/// Within one ms both sides may give one id to two events: whoever stands there notices nothing.
#[test]
fn an_id_that_was_given_to_two_events_is_a_position_of_both() {
    let mut life = Life::begin();
    let all = life.ids("DIRTY.READ s FROM 0");
    life.ok("DEL s");
    for id in &all[1..] {
        life.ok(&format!("XADD s {id} another event"));
    }
    let reply = life.value(&format!("DIRTY.READ s FROM {}", all[1]));
    assert_eq!(read(&reply).ids, [all[2].clone()]);
}
