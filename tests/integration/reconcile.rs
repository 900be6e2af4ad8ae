//! DIRTY.RECONCILE and FLUSH … RUN: the snapshots become equal to the application's rows, while writers go on.

use super::support::dice::Dice;
use super::support::readers::get;
use super::support::{Conn, Server, text, words};
use redis::Value;
use std::collections::BTreeMap;

const DECLARE: &str = "DIRTY.DECLARE user TYPES 1 age int STREAM s";

fn declared(declaration: &str) -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    assert_eq!(redis.run(declaration), "OK");
    (server, redis)
}

/// SWEEP until the run is done.
fn sweep(redis: &mut Conn, options: &str) -> Value {
    loop {
        let reply = redis.value(&words(&format!("DIRTY.RECONCILE user SWEEP r {options}")));
        if text(get(&reply, "phase")) == "done" {
            return reply;
        }
    }
}

fn numbers(status: &Value, names: &str) -> Vec<i64> {
    let number = |name| match get(status, name) {
        Value::Int(n) => *n,
        other => panic!("{name}: {}", text(other)),
    };
    names.split(' ').map(number).collect()
}

#[test]
fn a_run_repairs_inserts_and_deletes_with_events() {
    let (_server, mut redis) = declared(DECLARE);
    redis.expect(
        "
DIRTY.FLUSH user SNAPSHOT 1 1 age 1 SNAPSHOT 2 1 age 2 SNAPSHOT 3 1 age 3 => [insert insert insert]
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.FLUSH user RUN r SNAPSHOT 1 1 age 1 SNAPSHOT 2 1 age 20 SNAPSHOT 4 1 age 4 => [none update insert]
DIRTY.RECONCILE user STATUS r => \
[phase rows scanned (0) seen (3) same (1) repaired (2) stale (0) newer (0) foreign (0) missing (0) deleted (0)]
DIRTY.RECONCILE user SWEEP r => \
[phase deleting scanned (4) seen (3) same (1) repaired (2) stale (0) newer (0) foreign (0) missing (1) deleted (0)]
DIRTY.RECONCILE user SWEEP r => \
[phase done scanned (4) seen (3) same (1) repaired (2) stale (0) newer (0) foreign (0) missing (1) deleted (1)]
DIRTY.RECONCILE user SWEEP r => \
[phase done scanned (4) seen (3) same (1) repaired (2) stale (0) newer (0) foreign (0) missing (1) deleted (1)]
DIRTY.GET user 1 2 3 4 => [[age (1)] [age (20)] nil [age (4)]]
",
    );
    let events = super::support::readers::read_all(&_server, "s");
    assert_eq!(
        events[3..],
        [
            "entity-id: 2, op: update, changes: {age: [(2) (20)]}, meta: {reconcile: r}",
            "entity-id: 4, op: insert, meta: {reconcile: r}",
            "entity-id: 3, op: delete, meta: {reconcile: r}",
        ]
    );
}

#[test]
fn what_any_flush_has_named_since_begin_is_newer_than_its_row() {
    let (_server, mut redis) = declared(DECLARE);
    for id in ["1", "2", "3", "4", "5", "6"] {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age 0"));
    }
    redis.run("DIRTY.FLUSH user DEFER before UPDATE 5 1 age 5");
    redis.expect(
        "
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.FLUSH user UPDATE 1 1 age 10 => [update]
DIRTY.FLUSH user UPDATE 2 1 age old => BADVALUE field \"age\" takes a 64-bit signed integer, not \"old\"
DIRTY.FLUSH user DEFER waits UPDATE 3 1 age 30 => [deferred]
DIRTY.FLUSH user DRYRUN UPDATE 4 1 age 40 => [update]
DIRTY.COMMIT user before => [[update]]
DIRTY.FLUSH user INSERT 7 1 age 70 => [insert]
DIRTY.FLUSH user DELETE 8 => [none]
DIRTY.FLUSH user RUN r SNAPSHOT 1 1 age 1 SNAPSHOT 2 1 age 2 SNAPSHOT 3 1 age 3 SNAPSHOT 4 1 age 4 SNAPSHOT 5 1 age 5 \
SNAPSHOT 8 1 age 8 => [newer newer newer update newer newer]
DIRTY.RECONCILE user SWEEP r => \
[phase deleting scanned (7) seen (6) same (0) repaired (1) stale (0) newer (5) foreign (0) missing (1) deleted (0)]
DIRTY.FLUSH user UPDATE 6 1 age 60 => [update]
DIRTY.RECONCILE user SWEEP r => \
[phase done scanned (7) seen (6) same (0) repaired (1) stale (0) newer (5) foreign (0) missing (0) deleted (0)]
DIRTY.GET user 6 7 8 => [[age (60)] [age (70)] nil]
",
    );
}

#[test]
fn a_run_repairs_equal_versions_and_leaves_higher_ones() {
    let (_server, mut redis) =
        declared("DIRTY.DECLARE user VERSION v TYPES 2 age int v int STREAM s");
    redis.expect(
        "
DIRTY.FLUSH user SNAPSHOT 1 2 v 5 age 1 SNAPSHOT 2 2 v 5 age 2 SNAPSHOT 3 2 v 5 age 3 => [insert insert insert]
DIRTY.FLUSH user SNAPSHOT 4 2 v 5 age 4 SNAPSHOT 5 2 v 5 age 5 DELETE 5 1 v 6 => [insert insert delete]
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.FLUSH user RUN r SNAPSHOT 1 2 v 5 age 10 SNAPSHOT 2 2 v 4 age 20 SNAPSHOT 3 2 v 6 age 30 SNAPSHOT 5 2 v 6 age 5 => \
[update stale update stale]
DIRTY.FLUSH user RUN r FORCE SNAPSHOT 2 2 v 4 age 20 SNAPSHOT 5 2 v 5 age 5 => [update insert]
DIRTY.RECONCILE user SWEEP r => \
[phase deleting scanned (5) seen (4) same (0) repaired (4) stale (2) newer (0) foreign (0) missing (1) deleted (0)]
DIRTY.RECONCILE user SWEEP r => \
[phase done scanned (5) seen (4) same (0) repaired (4) stale (2) newer (0) foreign (0) missing (1) deleted (1)]
HGETALL user:4 => [@ 5]
DIRTY.FLUSH user SNAPSHOT 4 2 v 5 age 4 => [stale]
",
    );
}

#[test]
fn a_tombstone_wins_against_a_row_of_its_own_version_until_force() {
    let (_server, mut redis) = declared("DIRTY.DECLARE user VERSION v TYPES 1 v int STREAM s");
    redis.expect(
        "
DIRTY.FLUSH user SNAPSHOT 1 1 v 5 SNAPSHOT 2 1 v 5 SNAPSHOT 3 1 v 5 => [insert insert insert]
DIRTY.FLUSH user DELETE 1 DELETE 2 1 v 5 => [delete delete]
DIRTY.RECONCILE user BEGIN a => OK
DIRTY.RECONCILE user SWEEP a => \
[phase deleting scanned (1) seen (0) same (0) repaired (0) stale (0) newer (0) foreign (0) missing (1) deleted (0)]
DIRTY.RECONCILE user SWEEP a => \
[phase done scanned (1) seen (0) same (0) repaired (0) stale (0) newer (0) foreign (0) missing (1) deleted (1)]
DIRTY.RECONCILE user BEGIN b => OK
DIRTY.FLUSH user RUN b SNAPSHOT 1 1 v 5 SNAPSHOT 2 1 v 5 SNAPSHOT 3 1 v 5 => [stale stale stale]
DIRTY.GET user 1 2 3 => [nil nil nil]
DIRTY.FLUSH user RUN b SNAPSHOT 1 1 v 6 => [insert]
DIRTY.FLUSH user RUN b FORCE SNAPSHOT 2 1 v 5 SNAPSHOT 3 1 v 5 => [insert insert]
DIRTY.RECONCILE user SWEEP b => \
[phase done scanned (3) seen (3) same (0) repaired (3) stale (3) newer (0) foreign (0) missing (0) deleted (0)]
",
    );
}

#[test]
fn hidden_entities_go_silently_and_tombstones_stay() {
    let (server, mut redis) = declared("DIRTY.DECLARE user SOFTDELETE gone STREAM s");
    redis.expect(
        "
DIRTY.FLUSH user SNAPSHOT 1 1 a x SNAPSHOT 2 1 gone 1 => [insert hidden]
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.RECONCILE user SWEEP r => \
[phase deleting scanned (2) seen (0) same (0) repaired (0) stale (0) newer (0) foreign (0) missing (2) deleted (0)]
DIRTY.RECONCILE user SWEEP r => \
[phase done scanned (2) seen (0) same (0) repaired (0) stale (0) newer (0) foreign (0) missing (2) deleted (2)]
",
    );
    assert_eq!(super::support::readers::read_all(&server, "s").len(), 2);
}

#[test]
fn keys_of_others_below_the_prefix_are_left_alone() {
    let (_server, mut redis) = declared("DIRTY.DECLARE user STREAM user:events");
    redis.expect(
        "
DIRTY.DECLARE user:admin STREAM t => OK
DIRTY.FLUSH user:admin SNAPSHOT 1 1 a x => [insert]
HSET user:cache:1 a x => (1)
HSET user:events:dead2 a x => (1)
HSET other a x => (1)
SET user:string x => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a x => [insert]
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.RECONCILE user SWEEP r => \
[phase deleting scanned (2) seen (0) same (0) repaired (0) stale (0) newer (0) foreign (1) missing (1) deleted (0)]
DIRTY.RECONCILE user ABORT r => (1)
DIRTY.RECONCILE user ABORT r => (0)
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.FLUSH user RUN r SNAPSHOT 2:3 1 a x => [insert]
DIRTY.RECONCILE user SWEEP r => \
[phase deleting scanned (3) seen (1) same (0) repaired (1) stale (0) newer (0) foreign (0) missing (2) deleted (0)]
DIRTY.RECONCILE user SWEEP r => \
[phase done scanned (3) seen (1) same (0) repaired (1) stale (0) newer (0) foreign (0) missing (2) deleted (2)]
EXISTS user:cache:1 user:1 user:admin:1 user:events:dead2 other user:string => (4)
",
    );
}

#[test]
fn more_than_allowed_is_refused_with_the_numbers() {
    let (_server, mut redis) = declared(DECLARE);
    for id in 0..50 {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 age {id}"));
    }
    redis.run("DIRTY.RECONCILE user BEGIN r");
    for id in 0..20 {
        redis.run(&format!("DIRTY.FLUSH user RUN r SNAPSHOT {id} 1 age {id}"));
    }
    redis.expect(
        "
DIRTY.RECONCILE user SWEEP r => LIMIT 30 of 50 entities would be deleted; MAXDELETE allows 10
DIRTY.RECONCILE user SWEEP r MAXDELETE 59% => LIMIT 30 of 50 entities would be deleted; MAXDELETE allows 29
DIRTY.FLUSH user RUN r SNAPSHOT 20 1 age 20 => [none]
",
    );
    assert_eq!(redis.run("EXISTS user:49"), "(1)");
    // One that only counts deletes nothing, neither before nor in between.
    let status = sweep(&mut redis, "MAXDELETE 29 DRYRUN");
    assert_eq!(numbers(&status, "missing deleted"), [29, 0]);
    let begun = redis.run("DIRTY.RECONCILE user SWEEP r MAXDELETE 29");
    assert!(begun.contains("phase deleting"), "{begun}");
    let status = sweep(&mut redis, "MAXDELETE 29 DRYRUN");
    assert_eq!(numbers(&status, "missing deleted"), [29, 0]);
    assert_eq!(redis.run("EXISTS user:49"), "(1)");
    let status = sweep(&mut redis, "MAXDELETE 29 COUNT 7");
    assert_eq!(
        numbers(&status, "scanned seen missing deleted"),
        [50, 21, 29, 29]
    );
}

#[test]
fn a_run_that_has_ended_or_never_began_is_told_so() {
    let (server, mut redis) = declared(DECLARE);
    let no_run = "NORUN there is no run \"r\" of \"user\"; begin one";
    for (ending, gone) in [
        ("PING", false),
        ("DIRTY.DECLARE user TYPES 1 age int STREAM s", false),
        ("DIRTY.DECLARE user TYPES 1 age int STREAM s STREAM t", true),
        ("DIRTY.RECONCILE user ABORT r", true),
        ("DIRTY.RECONCILE user ABORT other", false),
        ("RENAME user elsewhere", true),
    ] {
        redis.run(DECLARE);
        assert_eq!(redis.run("DIRTY.RECONCILE user BEGIN r"), "OK", "{ending}");
        redis.run(ending);
        redis.run(DECLARE);
        let status = redis.run("DIRTY.RECONCILE user STATUS r");
        assert_eq!(status == no_run, gone, "{ending}: {status}");
        redis.run("DIRTY.RECONCILE user ABORT r");
    }
    redis.expect(
        "
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.RECONCILE user BEGIN other => EXISTS the run \"r\" of \"user\" has not ended
DIRTY.FLUSH user RUN other SNAPSHOT 1 0 => NORUN there is no run \"other\" of \"user\"; begin one
FLUSHALL => OK
DIRTY.DECLARE user TYPES 1 age int STREAM s => OK
DIRTY.RECONCILE user BEGIN other => OK
DIRTY.FLUSH user RUN other ONCE x SNAPSHOT 1 0 => ERR ONCE and RUN cannot be combined
DIRTY.FLUSH user RUN other DRYRUN SNAPSHOT 1 0 => ERR RUN and DRYRUN cannot be combined
DIRTY.FLUSH user RUN other DELETE 1 => ERR RUN and DELETE cannot be combined
DIRTY.FLUSH user RUN other META 1 reconcile x SNAPSHOT 1 0 => ERR META \"reconcile\" is named twice
DIRTY.DECLARE flat STATELESS STREAM s => OK
DIRTY.RECONCILE flat BEGIN r => ERR RECONCILE requires the snapshots that STATELESS does not keep
DIRTY.RECONCILE none BEGIN r => NODECL no entity type is declared at \"none\"
",
    );
    drop(server);
}

#[test]
fn a_run_ends_with_its_process_and_with_the_primary_that_has_it() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = server.connect();
    let no_run = "NORUN there is no run \"r\" of \"user\"; begin one";
    redis.run(DECLARE);
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 age 1");
    assert_eq!(redis.run("DIRTY.RECONCILE user BEGIN r"), "OK");
    server.kill();
    server.start_again();
    let mut redis = server.connect();
    assert_eq!(redis.run("DIRTY.RECONCILE user SWEEP r"), no_run);
    assert_eq!(redis.run("DIRTY.RECONCILE user BEGIN r"), "OK");
    let replica = Server::replica_of(&server);
    server.wait_for_replica(&replica);
    let mut promoted = replica.connect();
    promoted.run("REPLICAOF NO ONE");
    assert_eq!(promoted.run("DIRTY.RECONCILE user STATUS r"), no_run);
    // A primary that was a replica meanwhile has not heard of every flush.
    redis.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port));
    redis.run("REPLICAOF NO ONE");
    assert_eq!(redis.run("DIRTY.RECONCILE user STATUS r"), no_run);
    assert_eq!(redis.run("EXISTS user:1"), "(1)");
}

#[test]
fn a_begin_that_is_sent_again_forgets_nothing() {
    let (_server, mut redis) = declared(DECLARE);
    redis.expect(
        "
DIRTY.FLUSH user SNAPSHOT 1 1 age 1 SNAPSHOT 2 1 age 2 SNAPSHOT 3 1 age 3 => [insert insert insert]
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.FLUSH user UPDATE 1 1 age 10 => [update]
DIRTY.FLUSH user RUN r SNAPSHOT 2 1 age 2 => [none]
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.FLUSH user RUN r SNAPSHOT 1 1 age 1 => [newer]
DIRTY.RECONCILE user SWEEP r => \
[phase deleting scanned (3) seen (2) same (1) repaired (0) stale (0) newer (1) foreign (0) missing (1) deleted (0)]
DIRTY.RECONCILE user BEGIN r => EXISTS the run \"r\" of \"user\" has not ended
DIRTY.RECONCILE user SWEEP r => \
[phase done scanned (3) seen (2) same (1) repaired (0) stale (0) newer (1) foreign (0) missing (1) deleted (1)]
DIRTY.GET user 1 2 3 => [[age (10)] [age (2)] nil]
",
    );
}

#[test]
fn a_flush_through_a_copy_of_the_declaration_is_newer_too() {
    let (_server, mut redis) = declared(DECLARE);
    redis.expect(
        "
DIRTY.FLUSH user SNAPSHOT 1 1 age 1 SNAPSHOT 2 1 age 2 => [insert insert]
DIRTY.RECONCILE user BEGIN r => OK
COPY user other => (1)
DIRTY.FLUSH other UPDATE 1 1 age 10 => [update]
DIRTY.FLUSH user RUN r SNAPSHOT 1 1 age 1 => [newer]
DIRTY.RECONCILE other STATUS r => NORUN there is no run \"r\" of \"other\"; begin one
",
    );
}

/// The application's rows, version and age by id, and what it sends to Redis.
struct App<'r> {
    redis: &'r mut Conn,
    rows: BTreeMap<u64, (u64, u64)>,
    /// The last version of each id, of deleted rows, too.
    versions: BTreeMap<u64, u64>,
    dice: Dice,
    versioned: bool,
}

impl App<'_> {
    /// Changes a row; the flush that tells it is lost if `is_lost`.
    fn change(&mut self, is_lost: bool) {
        let id = self.dice.roll(30);
        let version = self.versions.entry(id).or_default();
        *version += 1;
        let version = *version;
        let age = self.dice.roll(5);
        let is_deleted = self.dice.roll(3) == 0;
        match is_deleted {
            true => drop(self.rows.remove(&id)),
            false => drop(self.rows.insert(id, (version, age))),
        }
        if is_lost {
            return;
        }
        let command = match (is_deleted, self.versioned) {
            (true, true) => format!("DIRTY.FLUSH user DELETE {id} 1 v {version}"),
            (true, false) => format!("DIRTY.FLUSH user DELETE {id}"),
            (false, _) => format!("DIRTY.FLUSH user {}", self.snapshot(id, (version, age))),
        };
        let reply = self.redis.run(&command);
        assert!(reply.starts_with('['), "{command}: {reply}");
    }

    fn snapshot(&self, id: u64, (version, age): (u64, u64)) -> String {
        match self.versioned {
            true => format!("SNAPSHOT {id} 2 age {age} v {version}"),
            false => format!("SNAPSHOT {id} 1 age {age}"),
        }
    }

    /// The ages by id, as Redis has them.
    fn stored(&mut self) -> BTreeMap<u64, u64> {
        let Value::Array(page) = self.redis.value(&words("DIRTY.SCAN user 0 COUNT 1000")) else {
            panic!("no page");
        };
        let Value::Array(entities) = &page[1] else {
            panic!("no entities");
        };
        let entity = |entity: &Value| {
            let Value::Array(pair) = entity else {
                panic!("no pair");
            };
            let Value::Int(age) = get(&pair[1], "age") else {
                panic!("no age in {}", text(entity));
            };
            (text(&pair[0]).parse().expect("an id"), *age as u64)
        };
        entities.iter().map(entity).collect()
    }

    fn ages(&self) -> BTreeMap<u64, u64> {
        let rows = self.rows.iter();
        rows.map(|(id, (_, age))| (*id, *age)).collect()
    }

    fn reconcile(&mut self) {
        self.redis.run("DIRTY.RECONCILE user BEGIN r");
        let mut rest: Vec<u64> = (0..30).collect();
        while !rest.is_empty() {
            // A page of rows is read, and sent when some may have changed.
            let page: Vec<u64> = rest.drain(..rest.len().min(7)).collect();
            let rows = page
                .iter()
                .filter_map(|id| Some((*id, *self.rows.get(id)?)));
            let rows: Vec<String> = rows.map(|(id, row)| self.snapshot(id, row)).collect();
            for _ in 0..self.dice.roll(4) {
                self.change(false);
            }
            if !rows.is_empty() {
                let command = format!("DIRTY.FLUSH user RUN r {}", rows.join(" "));
                for _ in 0..=self.dice.roll(2) {
                    let reply = self.redis.run(&command);
                    assert!(reply.starts_with('['), "{command}: {reply}");
                }
            }
        }
        loop {
            let count = 1 + self.dice.roll(9);
            let command = format!("DIRTY.RECONCILE user SWEEP r MAXDELETE 100% COUNT {count}");
            let reply = self.redis.value(&words(&command));
            if text(get(&reply, "phase")) == "done" {
                return;
            }
            if self.dice.roll(3) == 0 {
                self.change(false);
            }
        }
    }
}

/// What the events say that the ages are.
fn folded(redis: &mut Conn) -> BTreeMap<u64, u64> {
    let reply = redis.value(&words("DIRTY.READ s FROM 0 COUNT 100000"));
    let mut ages = BTreeMap::new();
    let Value::Array(events) = get(&reply, "events") else {
        panic!("no events");
    };
    for event in events {
        let id: u64 = text(get(event, "entity-id")).parse().expect("an id");
        let age = match get(event, "changes") {
            Value::Nil => continue,
            changes => match get(changes, "age") {
                Value::Nil => continue,
                Value::Array(pair) => pair.clone(),
                other => panic!("{}", text(other)),
            },
        };
        let number = |value: &Value| match value {
            Value::Int(n) => Some(*n as u64),
            _ => None,
        };
        let before = match number(&age[1]) {
            Some(new) => ages.insert(id, new),
            None => ages.remove(&id),
        };
        assert_eq!(before, number(&age[0]), "{}", text(event));
    }
    ages
}

#[test]
fn after_a_run_the_snapshots_and_the_events_equal_the_rows() {
    let server = Server::start();
    let mut redis = server.connect();
    let seed = super::support::dice::rand();
    for history in 0..60 {
        let versioned = history % 2 == 0;
        redis.run("FLUSHALL");
        let version = if versioned { "VERSION v" } else { "" };
        let types = "TYPES 2 age int v int STREAM s PAYLOAD FULL";
        redis.run(&format!("DIRTY.DECLARE user {version} {types}"));
        let mut app = App {
            redis: &mut redis,
            rows: BTreeMap::new(),
            versions: BTreeMap::new(),
            dice: Dice(seed.wrapping_add(history) | 1),
            versioned,
        };
        for _ in 0..60 {
            let is_lost = app.dice.roll(3) == 0;
            app.change(is_lost);
        }
        app.reconcile();
        let (rows, stored) = (app.ages(), app.stored());
        assert_eq!(stored, rows, "seed {seed}, history {history}");
        assert_eq!(folded(&mut redis), rows, "seed {seed}, history {history}");
    }
}
