//! Another module changes keys from within a flush, at each event that the flush causes: the server lives, the reply is an
//! answer, replicas hold the same, and each effect that the reply tells of has its event, once.

use super::support::{Conn, Server, meddler, text, words};
use std::collections::HashSet;
use std::time::Duration;

/// Lines `declaration | what happens before | flush`, the last two of commands, which begin with DIRTY.FLUSH user unless they
/// are others. `#` is the id of the event that was consumed.
const FLUSHES: &str = "
STREAM s | SNAPSHOT 1 2 a x b y | SNAPSHOT 1 2 a z b y
STREAM s | SNAPSHOT 1 2 a x b y | SNAPSHOT 1 1 b y
STREAM s | SNAPSHOT 1 2 a x b y | SNAPSHOT 1 0
STREAM s | SNAPSHOT 2 1 a x | SNAPSHOT 1 2 a z b y
STREAM s | | SNAPSHOT 1 2 a z b y
STREAM s | SNAPSHOT 1 2 a x b y; XADD s * a b | UPDATE 1 6 a z c 1 d 1 e 1 f 1 g 1
STREAM s | SNAPSHOT 1 2 a x b y; XADD s * a b; PEXPIRE s 1 | UPDATE 1 6 a z c 1 d 1 e 1 f 1 g 1
STREAM s | SNAPSHOT 1 8 a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 | UPDATE 1 1 a z
STREAM s | SNAPSHOT 1 8 a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8; PEXPIRE s 1 | UPDATE 1 1 a z
STREAM s | SNAPSHOT 2 1 a x | INSERT 1 1 a z
STREAM s | SNAPSHOT 1 1 a x SNAPSHOT 2 1 a x | DELETE 1 DELETE 2 DELETE 3
STREAM s | SNAPSHOT 1 1 a x; PEXPIRE s 1 | DELETE 1
STREAM s | SNAPSHOT 1 1 a x | DELETE 1 SNAPSHOT 1 1 a z TOUCH 1
STREAM s | SNAPSHOT 1 1 a x | TOUCH 1 TOUCH 2
STREAM s | | TOUCH 1 TOUCH 2
STREAM s | SNAPSHOT 2 1 a x | SEED 1 1 a z
STREAM s | SNAPSHOT 1 1 a x SNAPSHOT 3 1 a x | SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z SNAPSHOT 3 1 a z
STREAM s | SNAPSHOT 1 1 a x; PEXPIRE user:1 1 | SNAPSHOT 1 1 a z
STREAM s | SNAPSHOT 1 1 a x SNAPSHOT 2 1 a x; PEXPIRE user:2 1 | SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z
STREAM s | SNAPSHOT 1 1 a x; PEXPIRE s 1 | SNAPSHOT 1 1 a z
STREAM s | SNAPSHOT 1 1 a x SNAPSHOT 2 1 a x; PEXPIRE s 1; PEXPIRE user:1 1 | SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z
STREAM s STREAM t | SNAPSHOT 1 1 a x; PEXPIRE t 1 | SNAPSHOT 1 1 a z TOUCH 2
STREAM s STREAM t | SNAPSHOT 1 1 a x; DEL t | SNAPSHOT 1 1 a z
STREAM t STREAM s | SNAPSHOT 1 1 a x; PEXPIRE t 1 | SNAPSHOT 1 1 a z
STREAM s DB 3 | SNAPSHOT 1 1 a x | SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z
STREAM s DB 3 STREAM t | SNAPSHOT 1 1 a x; PEXPIRE t 1 | SNAPSHOT 1 1 a z
STREAM s MAXLEN 2 | SNAPSHOT 1 1 a x TOUCH 1 TOUCH 1 | SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z
STREAM s MAXAGE 1 | SNAPSHOT 1 1 a x; PEXPIRE user:1 1 | SNAPSHOT 1 1 a z
STREAM s MAXAGE 1 MAXLEN 2 ONFULL KEEP | SNAPSHOT 1 1 a x; PEXPIRE user:1 1 | TOUCH 1
STREAM s MAXLEN 2 ONFULL KEEP | SNAPSHOT 1 1 a x TOUCH 1; XGROUP CREATE s g $ | SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z
STREAM s MAXLEN 2 ONFULL REFUSE | SNAPSHOT 1 1 a x TOUCH 1; XGROUP CREATE s g $ | SNAPSHOT 1 1 a z
STREAM s MAXLEN 2 ONFULL REFUSE | SNAPSHOT 1 1 a x TOUCH 1; XGROUP CREATE s g 0 | SNAPSHOT 1 1 a z
STREAM s MAXLEN 2 ONFULL REFUSE | SNAPSHOT 1 1 a x TOUCH 1 | SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z
STREAM s | SNAPSHOT 1 1 a x; DIRTY.READER s GROUP g FROM 0; DIRTY.CONSUME s GROUP g c | ACK s GROUP g c 1 # SNAPSHOT 1 1 a z
STREAM s | SNAPSHOT 1 1 a x; DIRTY.READER s GROUP g FROM 0; DIRTY.CONSUME s GROUP g c; PEXPIRE s 1 | ACK s GROUP g c 1 # TOUCH 1
STREAM s | SNAPSHOT 1 1 a x | ONCE token SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z
STREAM s | SNAPSHOT 1 1 a x | DEFER t SNAPSHOT 1 1 a z SNAPSHOT 2 1 a z; DIRTY.COMMIT user t
STREAM s | SNAPSHOT 1 1 a x; DEFER t SNAPSHOT 1 1 a z; PEXPIRE s 1 | DIRTY.COMMIT user t
VERSION v STREAM s | SNAPSHOT 1 1 v 1 | DELETE 1 1 v 2
VERSION v STREAM s | SNAPSHOT 1 1 v 1; DELETE 1 1 v 2 | SNAPSHOT 1 2 v 3 a z SNAPSHOT 2 1 v 3
STATELESS STREAM s | TOUCH 1 | TOUCH 1 TOUCH 2
STATELESS STREAM s | TOUCH 1; PEXPIRE s 1 | TOUCH 1 TOUCH 2
STATELESS STREAM s | TOUCH 1; XADD s * a b | TOUCH 1
STATELESS STREAM s DB 3 | TOUCH 1; XADD s * a b | TOUCH 1
STATELESS STREAM s STREAM t | TOUCH 1; PEXPIRE t 1 | TOUCH 1 TOUCH 2
";

/// What the other module does at an event.
const ANSWERS: [&str; 25] = [
    "DEL user:1",
    "UNLINK user:1",
    "DELETE.KEY user:1",
    "SET user:1 text",
    "SET.KEY user:1",
    "RENAME user:1 elsewhere",
    "HSET user:1 a meddled m meddled",
    // Some servers move a value that gets a time to live.
    "PEXPIRE user:1 100000",
    "DEL user:2",
    "HSET user:2 a meddled",
    "PEXPIRE user:2 100000",
    "DEL user",
    "DIRTY.DECLARE user STREAM elsewhere",
    "PEXPIRE s 100000",
    "DEL s",
    "DELETE.KEY s",
    "SET s text",
    "SET.KEY s",
    "RENAME s elsewhere",
    "XADD s * f v",
    "XADD s 18446744073709551615-18446744073709551614 f v",
    "XTRIM s MAXLEN 0",
    "DIRTY.FLUSH user SNAPSHOT 1 1 a other",
    "DIRTY.FLUSH user DELETE 1 SNAPSHOT 2 1 a other",
    "FLUSHALL",
];

struct Case<'t> {
    declaration: &'t str,
    before: &'t str,
    flush: &'t str,
}

impl<'t> Case<'t> {
    fn of(line: &'t str) -> Self {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [declaration, before, flush] = parts[..] else {
            panic!("not three parts: {line}")
        };
        Case {
            declaration,
            before,
            flush,
        }
    }

    /// Where the stream s is.
    fn database(&self) -> &'static str {
        match self.declaration.contains("s DB 3") {
            true => "3",
            false => "0",
        }
    }
}

/// Whether an answer changes this key.
fn changes(answer: &str, key: &str) -> bool {
    match answer.split_once(' ') {
        Some(("DIRTY.FLUSH", operations)) => {
            ["s", "t"].contains(&key) || operations.contains(&key.replace("user:", " "))
        }
        Some((_, words)) => words.split(' ').next() == Some(key),
        None => true,
    }
}

/// Whether an answer makes the stream another, or sends a flush's events elsewhere. One that has expired may come back: while
/// listeners hear of a key, some servers take none away.
fn diverts_events(case: &Case, answer: &str) -> bool {
    let keeps = answer.starts_with("PEXPIRE") && !case.before.contains("PEXPIRE s");
    changes(answer, "s") && !keeps || answer.starts_with("DIRTY.DECLARE")
}

/// The server itself, in HSET, XADD and DEL too, is not up to a change of the key that it tells of: it is about to use its
/// value, and tells replicas of its own change behind the other. When a key is about to go, it forbids changes of any.
fn is_beyond_the_server(event: &str, answer: &str) -> bool {
    let (name, key) = event.split_once(' ').expect("an event and a key");
    let is_under_way = match name {
        "new" => true,
        "expired" => answer != "FLUSHALL",
        _ => key.contains('@') && name != "keymiss",
    };
    name.starts_with("key:") || is_under_way && changes(answer, key)
}

/// Whether an answer takes the stream away before the flush's last event is appended, which then begins another.
fn is_without_stream(case: &Case, event: &str, answer: &str) -> bool {
    let takes = ["DEL s", "DELETE.KEY s", "RENAME s elsewhere", "FLUSHALL"].contains(&answer);
    let starts = [
        "new user:",
        "keymiss user:",
        "expired ",
        "filter:xinfo",
        "filter:no-such",
    ];
    let is_early = starts.iter().any(|start| event.starts_with(start));
    takes && is_early && !case.declaration.contains("ONFULL")
}

fn commands(text: &str) -> impl Iterator<Item = String> {
    let commands = text.split(';').map(str::trim).filter(|one| !one.is_empty());
    commands.map(|command| {
        let others = ["DIRTY.", "PEXPIRE ", "XADD ", "DEL ", "XGROUP "];
        match others.iter().any(|start| command.starts_with(start)) {
            true => command.to_string(),
            false => format!("DIRTY.FLUSH user {command}"),
        }
    })
}

/// How many entries s ever got; none if it is missing or no stream.
fn added(redis: &mut Conn, case: &Case) -> usize {
    redis.run(&format!("SELECT {}", case.database()));
    let info = redis.run("XINFO STREAM s");
    redis.run("SELECT 0");
    let (_, rest) = info.split_once("entries-added (").unwrap_or(("", "0)"));
    let (count, _) = rest.split_once(')').expect("a number");
    count.parse().expect("a number")
}

/// Everything is as a flush wants to find it; the commands of the flush.
fn begin(redis: &mut Conn, case: &Case) -> Vec<String> {
    meddler::listen(redis);
    redis.run("FLUSHALL");
    redis.run(&format!("DIRTY.DECLARE user {}", case.declaration));
    let mut consumed = String::new();
    for command in commands(case.before) {
        if command.starts_with("XADD s ") {
            redis.run(&format!("SELECT {}", case.database()));
        }
        let size = redis.run("DBSIZE");
        let reply = redis.run(&command);
        if command.starts_with("PEXPIRE ") && redis.run("DBSIZE") != size {
            return begin(redis, case); // It was up at once, on a busy machine.
        }
        redis.run("SELECT 0");
        assert!(!reply.contains("ERR"), "{command}: {reply}");
        if command.starts_with("DIRTY.CONSUME") {
            let (_, rest) = reply.split_once("[[id ").expect("an event");
            consumed = rest.split(' ').next().expect("an id").to_string();
        }
    }
    if case.before.contains("PEXPIRE") {
        std::thread::sleep(Duration::from_millis(2));
    }
    let flush = commands(case.flush);
    flush.map(|one| one.replace('#', &consumed)).collect()
}

/// The events of a flush that nobody meddles with. Those that come when all is done are tried once, with any flush.
fn events(redis: &mut Conn, case: &Case, notices: &mut HashSet<String>) -> Vec<String> {
    let commands = begin(redis, case);
    meddler::listen(redis);
    for command in commands {
        redis.run(&command);
    }
    let mut known = HashSet::new();
    let mut events = meddler::heard(redis);
    events.retain(|event| {
        let name = event.split(' ').next().expect("a name");
        // Commands that were sent, by the replica too, or that the module calls at any time.
        let others = ["dirty.", "meddle", "replconf", "config"];
        let command = name.strip_prefix("filter:");
        let is_outside = command.is_some_and(|name| others.iter().any(|one| name.starts_with(one)));
        let is_within = ["new", "keymiss", "expired"].contains(&name) || name.contains(':');
        let seen = if is_within { &mut known } else { &mut *notices };
        !is_outside && seen.insert(event.clone())
    });
    events
}

/// How many effects with an event a reply tells of.
fn published(reply: &str) -> usize {
    let words = reply.split(['[', ']', ' ']);
    let effects = ["insert", "update", "delete", "touch"];
    words.filter(|word| effects.contains(word)).count()
}

/// A flush, in which another module answers an event; what is wrong with that.
fn meddle(redis: &mut Conn, case: &Case, event: &str, answer: &str) -> Option<String> {
    let commands = begin(redis, case);
    let before = match case.before.contains("PEXPIRE s") {
        true => 0,
        false => added(redis, case),
    };
    let place = match answer.split(' ').nth(1) {
        Some("s") => case.database(),
        _ => "0",
    };
    meddler::arm(redis, event, place, answer);
    let mut replies = Vec::new();
    for command in commands {
        match redis.try_run(&words(&command)) {
            Ok(reply) => replies.push(text(&reply)),
            Err(error) => return Some(error.to_string()),
        }
    }
    let heard = meddler::heard(redis);
    let told = format!("{replies:?}, {heard:?}");
    if !heard.iter().any(|one| one.starts_with("answered ")) {
        return Some(format!("nobody meddled: {told}"));
    }
    let is_answer = |reply: &String| {
        let starts_well = reply.starts_with(|c: char| c == '[' || c.is_ascii_uppercase());
        starts_well && !reply.contains('\n') && !reply.contains("internal error")
    };
    if !replies.iter().all(is_answer) {
        return Some(format!("no answer: {told}"));
    }
    let expected: usize = replies.iter().map(|reply| published(reply)).sum();
    let before = match is_without_stream(case, event, answer) {
        true => 0,
        false => before,
    };
    let got = added(redis, case).saturating_sub(before);
    let is_lost = expected > 0 && got == 0 && is_without_stream(case, event, answer);
    let is_wrong = is_lost || !diverts_events(case, answer) && got != expected;
    is_wrong.then(|| format!("{got} events, not {expected}: {told}"))
}

#[test]
fn whatever_another_module_does_within_a_flush_the_server_lives_and_replicas_hold_the_same() {
    let server = Server::with(&["--loadmodule", meddler::module()]);
    let mut redis = server.connect();
    redis.expect("DEBUG SET-ACTIVE-EXPIRE 0 => OK");
    let replica = Server::replica_of(&server);
    let mut copy = replica.connect();
    let (mut notices, mut count) = (HashSet::new(), 0);
    for line in FLUSHES.lines().filter(|line| !line.is_empty()) {
        let case = Case::of(line);
        for event in events(&mut redis, &case, &mut notices) {
            let answers = ANSWERS.into_iter();
            for answer in answers.filter(|answer| !is_beyond_the_server(&event, answer)) {
                let problem = meddle(&mut redis, &case, &event, answer);
                let log = if problem.is_some() {
                    server.log()
                } else {
                    String::new()
                };
                assert_eq!(problem, None, "{line}, at {event}: {answer}\n{log}");
                let digest = redis.digest();
                let mut looks = 0..1_000;
                while copy.digest() != digest {
                    assert!(
                        looks.next().is_some(),
                        "{line}, at {event}: {answer}: replicas differ"
                    );
                    std::thread::sleep(Duration::from_millis(1));
                }
                count += 1;
            }
        }
    }
    assert!(count > 1_000, "only {count} cases");
    assert!(!server.log().contains("BUG REPORT"), "{}", server.log());
}

/// The numbers of the events that a flush publishes.
fn numbers(redis: &mut Conn, operations: &str) -> Vec<u64> {
    let reply = redis.run(&format!("DIRTY.FLUSH user WITHEVENTS {operations}"));
    let words = reply.split(['[', ']', ' ']);
    let ids = words.filter_map(|word| word.split_once('-'));
    ids.map(|(_, number)| number.parse().expect("a number"))
        .collect()
}

#[test]
fn events_are_numbered_on_after_a_flush_in_which_another_module_added_an_entry() {
    let server = Server::with(&["--loadmodule", meddler::module()]);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    let mut given = numbers(&mut redis, "INSERT 1 0 TOUCH 1");
    meddler::arm(&mut redis, "new user:2", "0", "XADD s * f v");
    given.extend(numbers(&mut redis, "INSERT 2 0 TOUCH 2 TOUCH 2"));
    let heard = meddler::heard(&mut redis);
    assert!(heard.iter().any(|one| one.starts_with("answered ")));
    // A number that comes again in the same millisecond would be refused, and the right one asked for.
    std::thread::sleep(Duration::from_millis(3));
    given.extend(numbers(&mut redis, "TOUCH 2"));
    assert_eq!(given.len(), 6);
    assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
}

#[test]
fn a_command_that_runs_while_the_server_is_asked_for_a_text_is_answered_too() {
    let server = Server::with(&["--loadmodule", meddler::module()]);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    redis.run("DIRTY.FLUSH user INSERT 1 1 a b");
    // The first reply that has such texts asks for them.
    meddler::arm(&mut redis, "filter:echo ", "0", "DIRTY.READ s FROM 0");
    let reply = redis.run("DIRTY.READ s FROM 0");
    assert!(reply.contains("entity-id 1"), "{reply}");
    let heard = meddler::heard(&mut redis);
    let answer = heard.iter().find(|one| one.starts_with("answered "));
    assert!(answer.is_some_and(|one| !one.contains('-')), "{heard:?}");
}

#[test]
fn a_command_that_runs_while_a_cluster_is_asked_for_its_databases_is_answered_too() {
    let server = Server::with(&[
        "--cluster-enabled",
        "yes",
        "--loadmodule",
        meddler::module(),
    ]);
    let mut redis = server.connect();
    redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    let declare = "DIRTY.DECLARE user{1} STREAM s{1} DB 3";
    meddler::arm(&mut redis, "filter:config ", "0", declare);
    let refused = "ERR this cluster has no other databases: DB and POOL are refused";
    assert_eq!(redis.run(declare), refused);
    let heard = meddler::heard(&mut redis);
    assert!(heard.contains(&format!("answered -{refused}")), "{heard:?}");
}
