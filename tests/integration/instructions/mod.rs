//! How many instructions the main paths take, against those in `instructions.tsv`: what makes one slower
//! is seen in review, as a line of that file that changed. Callgrind counts them in the whole server, from
//! the reading of the command to the reply, however busy the machine is. `make bench` takes those of flushes
//! from here (INSTRUCTIONS=print) and compares them with its goals.

mod entities;
mod floor;
mod flushes;
mod readers;

use super::support::{Conn, Server, skipped};
use redis::Value;
use std::process::Command;

/// How far a path may be from what is written.
const TOLERANCE: f64 = 0.10;
/// If this native command is as far off, it is another server's, or another C library's. The module hears
/// nothing of it, as it does of XADD.
const NATIVE: &str = "HSET of 10 fields";
const OTHER_SERVER: f64 = 0.04;

const ENTITIES: usize = 1000;

/// Nine fields that stay as they are; the tenth is `logins`.
const CONSTANT: &str = "name Alice email alice@example.com status active country AT city Vienna plan premium \
    language de created 2026-01-02 referrer newsletter";

type Words = Vec<String>;

/// A path, and what is counted of it: so many units.
struct Path {
    name: &'static str,
    commands: Vec<Words>,
    units: usize,
}

/// A path whose commands depend on the replies before them, and what is done before it counts.
struct Walk {
    name: &'static str,
    units: usize,
    prepare: fn(&mut Conn),
    walk: fn(&mut Conn),
}

fn words(line: String) -> Words {
    line.split_whitespace().map(String::from).collect()
}

fn each(command: impl Fn(usize) -> String) -> Vec<Words> {
    (0..ENTITIES).map(|entity| words(command(entity))).collect()
}

fn flush(entity_type: &str, logins: usize) -> Vec<Words> {
    each(|id| {
        format!("DIRTY.FLUSH {entity_type} SNAPSHOT user-{id:06} 10 {CONSTANT} logins {logins}")
    })
}

/// A hundred entities in each command.
fn batches(logins: usize) -> Vec<Words> {
    let batch = |ops: &[Words]| {
        let ops = ops.iter().flat_map(|flush| flush[2..].to_vec());
        words("DIRTY.FLUSH batch".into())
            .into_iter()
            .chain(ops)
            .collect()
    };
    flush("batch", logins).chunks(100).map(batch).collect()
}

/// Sends everything, then takes all replies.
fn run(redis: &mut Conn, commands: &[Words]) {
    for commands in commands.chunks(50) {
        for command in commands {
            redis.send(command).expect("a connection");
        }
        for command in commands {
            let reply = redis.receive().expect("a reply");
            assert!(
                !matches!(reply, Value::ServerError(_)),
                "{command:?}: {reply:?}"
            );
        }
    }
}

/// The flushes, each prepared so that it does the same work with every command.
fn paths(redis: &mut Conn) -> Vec<Path> {
    for entity_type in ["update", "unchanged", "batch"] {
        redis.run(&format!(
            "DIRTY.DECLARE {entity_type} STREAM {entity_type}-changes"
        ));
        run(redis, &flush(entity_type, 0));
    }
    redis.run("DIRTY.DECLARE stateless STATELESS STREAM stateless-changes");
    let hset = |logins| each(|id| format!("HSET user-{id:06} {CONSTANT} logins {logins}"));
    let xadd = || each(|_| format!("XADD plain-changes * s {}", "x".repeat(63)));
    let stateless = || each(|id| format!("DIRTY.FLUSH stateless UPDATE user-{id:06} 1 logins 0 1"));
    for commands in [hset(0), xadd(), stateless()] {
        run(redis, &commands);
    }

    let path = |name, commands, units| Path {
        name,
        commands,
        units,
    };
    let mut paths = vec![
        path(NATIVE, hset(1), ENTITIES),
        path("XADD of 63 bytes", xadd(), ENTITIES),
        path(
            "FLUSH, 1 of 10 fields changed",
            flush("update", 1),
            ENTITIES,
        ),
        path("FLUSH, nothing changed", flush("unchanged", 0), ENTITIES),
        path("FLUSH of 100 entities, each", batches(1), ENTITIES),
        path("FLUSH, STATELESS UPDATE of 1 field", stateless(), ENTITIES),
    ];
    paths.extend(flushes::paths(redis));
    paths
}

/// Tells callgrind something, and whether it was there to hear it: of a server that is a script it is not.
fn control(server: &Server, arg: &str) -> bool {
    let mut control = Command::new("callgrind_control");
    let done = control.arg(arg).arg(server.pid().to_string()).output();
    let done = done.expect("callgrind_control");
    assert!(done.status.success(), "{arg}");
    !String::from_utf8_lossy(&done.stdout).contains("not detected")
}

/// What was counted: each path by its name, and the instructions for each unit of it.
struct Counts<'s> {
    server: &'s Server,
    counts: Vec<(&'static str, usize)>,
}

impl Counts<'_> {
    fn add(
        &mut self,
        redis: &mut Conn,
        name: &'static str,
        units: usize,
        act: impl FnOnce(&mut Conn),
    ) {
        let nth = self.counts.len() + 1;
        assert!(control(self.server, "--instr=on"));
        act(redis);
        // Its reply comes when those of clients that waited have gone out.
        redis.run("PING");
        assert!(control(self.server, "--instr=off"));
        assert!(control(self.server, "--dump"));
        let dump = self.server.dir.path().join(format!("callgrind.{nth}"));
        let dump =
            std::fs::read_to_string(&dump).unwrap_or_else(|error| panic!("{dump:?}: {error}"));
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: usize = total.expect("a total").parse().expect("a number");
        self.counts.push((name, total / units));
    }

    fn path(&mut self, redis: &mut Conn, path: &Path) {
        self.add(redis, path.name, path.units, |redis| {
            run(redis, &path.commands)
        });
    }

    fn walk(&mut self, redis: &mut Conn, walk: &Walk) {
        (walk.prepare)(redis);
        self.add(redis, walk.name, walk.units, walk.walk);
    }

    /// Flushes, beside HSET and XADD, and their floors if floor.c is there.
    fn flushes(&mut self, redis: &mut Conn) {
        for path in &paths(redis) {
            self.path(redis, path);
        }
        if floor::module().is_some() {
            for walk in &floor::WALKS {
                self.walk(redis, walk);
            }
            floor::check_effects(redis);
        }
        flushes::check_effects(redis);
    }

    /// Readers, and what reads all entities.
    fn reads(&mut self, redis: &mut Conn) {
        let mut paths = readers::batches(redis);
        paths.extend(readers::much_pending(redis));
        let walks = entities::walks(redis);
        for path in &paths {
            self.path(redis, path);
        }
        for walk in &walks {
            self.walk(redis, walk);
        }
        redis.run("SELECT 0");
        // The server's cron looks at each client, so there are only those that are counted.
        for waiters in readers::WAITERS {
            let (waiting, path) = readers::Waiting::begin(self.server, waiters);
            self.path(redis, &path);
            waiting.end();
        }
        readers::check_effects(redis);
    }
}

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/integration/instructions.tsv"
);

/// The counts in the file, which must be those of these paths.
fn written(names: &[&str]) -> Vec<usize> {
    let written = std::fs::read_to_string(FILE).expect("instructions.tsv");
    let written: Vec<(&str, usize)> = written
        .lines()
        .map(|line| line.split_once('\t').expect("a path and a count"))
        .map(|(name, count)| (name, count.parse().expect("a number")))
        .collect();
    assert_eq!(
        written.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        names
    );
    written.into_iter().map(|(_, count)| count).collect()
}

/// What happens once only is counted with what the server does by itself meanwhile: it is good for goals alone.
fn is_steady(name: &str) -> bool {
    !entities::ONCE.contains(&name)
}

/// The paths that take more instructions than they may against another.
fn beyond_goals(counted: &[(&str, usize)]) -> Vec<String> {
    let count = |name: &str| {
        let found = counted.iter().find(|(other, _)| *other == name);
        found.expect(name).1 as f64
    };
    let goals = readers::GOALS.into_iter().chain(entities::GOALS);
    let beyond = goals.filter(|(name, factor, of)| count(name) > count(of) * factor);
    let line = |(name, factor, of)| {
        let times = count(name) / count(of);
        format!("{name}: {times:.2} times \"{of}\", not {factor}\n")
    };
    beyond.map(line).collect()
}

fn lines(counted: &[(&str, usize)]) -> String {
    let lines = counted.iter();
    lines
        .map(|(name, count)| format!("{name}\t{count}\n"))
        .collect()
}

#[test]
fn the_main_paths_take_as_many_instructions_as_is_written() {
    let floor = floor::module();
    let server = Server::counting_instructions(floor.as_deref());
    if !control(&server, "--instr=off") {
        return skipped("callgrind does not look into this server");
    }
    let mut redis = server.connect();
    let mut counts = Counts {
        server: &server,
        counts: Vec::new(),
    };
    counts.flushes(&mut redis);
    let asked = std::env::var("INSTRUCTIONS").unwrap_or_default();
    if asked == "print" {
        return print!("{}", lines(&counts.counts));
    }
    counts.reads(&mut redis);
    let all = counts.counts;
    let beyond = beyond_goals(&all);
    let counted: Vec<_> = all
        .into_iter()
        .filter(|(name, _)| is_steady(name))
        .collect();
    let found = lines(&counted);
    if asked == "write" {
        std::fs::write(FILE, &found).expect("a file");
    }

    let (names, counts): (Vec<&str>, Vec<usize>) = counted.into_iter().unzip();
    let written = written(&names);
    let off = |nth: usize| (counts[nth] as f64 / written[nth] as f64 - 1.0).abs();
    if off(0) > OTHER_SERVER {
        return skipped(&format!(
            "{NATIVE} is another count on this server:\n{found}"
        ));
    }
    let far: Vec<&str> = (1..names.len())
        .filter(|nth| off(*nth) > TOLERANCE)
        .map(|nth| names[nth])
        .collect();
    assert!(
        far.is_empty(),
        "more than 10 % more or less than in {FILE}: {far:?}; now it is\n{found}\
         If that is as it must be: INSTRUCTIONS=write cargo test --test integration instructions"
    );
    assert!(beyond.is_empty(), "{}", beyond.concat());
}
