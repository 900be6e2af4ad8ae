//! What an operator sees of the module with the server's own tools.

use super::support::{Conn, Server, cases, wait_until};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet};

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => panic!("no array: {other:?}"),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::SimpleString(text) => text.clone(),
        other => panic!("no word: {other:?}"),
    }
}

/// The words of each entry of the slow log, the last one first, of commands that the client sent.
fn slow(redis: &mut Conn) -> Vec<Vec<String>> {
    let entries = items(redis.ok(&["SLOWLOG", "GET", "-1"])).into_iter();
    let words = entries.map(|entry| items(items(entry).swap_remove(3)));
    words
        .map(|words| words.iter().map(word).collect())
        .collect()
}

#[test]
fn the_slow_log_shows_a_flush_and_its_arguments_as_far_as_it_shows_any() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect("DIRTY.DECLARE user STREAM s MAXLEN 1 => OK");
    redis.expect("CONFIG SET slowlog-log-slower-than 0 => OK");
    let ops: String = (0..100)
        .map(|id| format!(" SNAPSHOT {id} 1 name {}", "x".repeat(200)))
        .collect();
    redis.run(&format!("DIRTY.FLUSH user{ops}"));
    redis.expect("CONFIG SET slowlog-log-slower-than -1 => OK");
    let flush = slow(&mut redis).swap_remove(0);
    assert_eq!(
        flush[..6],
        ["DIRTY.FLUSH", "user", "SNAPSHOT", "0", "1", "name"]
    );
    assert_eq!(flush[6], format!("{}... (72 more bytes)", "x".repeat(128)));
    assert_eq!(
        (flush.len(), flush[31].as_str()),
        (32, "... (471 more arguments)")
    );
}

#[test]
fn a_reader_that_waits_is_not_slow() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect("DIRTY.DECLARE user STREAM s => OK");
    redis.expect("CONFIG SET slowlog-log-slower-than 150000 => OK");
    redis.expect("CONFIG SET latency-monitor-threshold 150 => OK");
    redis.expect("CONFIG RESETSTAT => OK");
    let consume = "DIRTY.READ s FROM 0 BLOCK 300";
    assert!(redis.run(consume).starts_with("[events []"));
    let mut reader = server.connect();
    reader
        .send(&super::support::words("DIRTY.READ s FROM 0 BLOCK 20000"))
        .expect("a connection");
    server.wait_for_blocked(1);
    std::thread::sleep(std::time::Duration::from_millis(300));
    redis.expect("DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]");
    reader.receive().expect("a reply");
    assert_eq!(slow(&mut redis), Vec::<Vec<String>>::new());
    assert_eq!(redis.run("LATENCY LATEST"), "[]");
    let stats = redis.run("INFO commandstats");
    let stats = stats
        .split("\\r\\n")
        .find(|line| line.starts_with("cmdstat_dirty.read:"));
    let us = stats.and_then(|line| {
        line.split(",usec=")
            .nth(1)?
            .split(',')
            .next()?
            .parse::<u64>()
            .ok()
    });
    assert!(us.is_some_and(|us| us < 150_000), "{stats:?}");
}

#[test]
fn every_command_has_its_histogram_and_every_error_its_count() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect(
        "
DIRTY.DECLARE user STREAM s => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]
DIRTY.FLUSH user SNAPSHOT 1 1 a c => [update]
DIRTY.FLUSH other TOUCH 1 => NODECL no entity type is declared at \"other\"
DIRTY.FLUSH user UPDATE 2 0 => NOENTITY there is no entity \"2\"
DIRTY.FLUSH user UPDATE 2 0 => NOENTITY there is no entity \"2\"
",
    );
    let histogram = redis.run("LATENCY HISTOGRAM dirty.flush");
    assert!(
        histogram.starts_with("[dirty.flush [calls (5) histogram_usec ["),
        "{histogram}"
    );
    let stats = redis.run("INFO commandstats");
    for count in ["calls=5,", ",rejected_calls=0,failed_calls=3\\r"] {
        let flush = stats
            .split("cmdstat_dirty.flush:")
            .nth(1)
            .unwrap_or_default();
        assert!(flush.contains(count), "{count} in {stats}");
    }
    assert_eq!(redis.info("errorstat_NODECL"), "count=1");
    assert_eq!(redis.info("errorstat_NOENTITY"), "count=2");
}

#[test]
fn trimming_that_is_slow_is_an_event_of_the_latency_monitor() {
    for (retention, threshold, is_told) in [
        ("MAXLEN 1", 1, true),
        ("MAXLEN ~ 1", 1, true),
        ("MAXLEN 1 ONFULL KEEP", 1, true),
        ("MAXAGE 1", 1, true),
        ("MAXLEN 1", 0, false), // off
        ("MAXLEN 1", 1_000_000, false),
        ("MAXLEN 1000000", 1, false),
    ] {
        let server = Server::with(&["--stream-node-max-entries", "1"]);
        let mut redis = server.connect();
        let fill = "for i = 1, 50000 do redis.call('XADD', 's', '*', 'a', 'b') end";
        redis.ok(&["EVAL", fill, "0"]);
        redis.ok(&[
            "CONFIG",
            "SET",
            "latency-monitor-threshold",
            &threshold.to_string(),
        ]);
        std::thread::sleep(std::time::Duration::from_millis(5)); // MAXAGE 1
        assert_eq!(
            redis.run(&format!("DIRTY.DECLARE user STREAM s {retention}")),
            "OK"
        );
        redis.expect("DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]");
        let latest = redis.run("LATENCY LATEST");
        assert_eq!(
            latest.contains("[dirty-trim ("),
            is_told,
            "{retention} {threshold}: {latest}"
        );
        let history = redis.run("LATENCY HISTORY dirty-trim");
        assert_eq!(
            history != "[]",
            is_told,
            "{retention} {threshold}: {history}"
        );
        let doctor = redis.run("LATENCY DOCTOR");
        let told = doctor.contains("dirty-trim: 1 latency spikes");
        assert_eq!(told, is_told, "{doctor}");
    }
}

#[test]
fn monitor_shows_a_flush_as_it_was_sent_and_nothing_of_what_it_does() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect("DIRTY.DECLARE user STREAM s MAXLEN 1 STREAM t => OK");
    let mut monitor = server.connect();
    monitor.expect("MONITOR => OK");
    redis.expect(
        r"
DIRTY.FLUSH user META 1 actor admin SNAPSHOT \x0042 1 name \xff => [insert]
DIRTY.FLUSH user UPDATE \x0042 1 name b DELETE \x0042 => [update delete]
PING => PONG
",
    );
    let mut seen = Vec::new();
    while !seen
        .last()
        .is_some_and(|line: &String| line.ends_with("\"PING\""))
    {
        let line = word(&monitor.receive().expect("a line"));
        seen.push(line.split_once("] ").expect("who sent it").1.to_string());
    }
    assert_eq!(
        seen,
        [
            r#""DIRTY.FLUSH" "user" "META" "1" "actor" "admin" "SNAPSHOT" "\x0042" "1" "name" "\xff""#,
            r#""DIRTY.FLUSH" "user" "UPDATE" "\x0042" "1" "name" "b" "DELETE" "\x0042""#,
            r#""PING""#
        ]
    );
}

/// The module's fields of a section of INFO, each a line `name:number`.
fn fields(redis: &mut Conn, section: &str) -> BTreeMap<String, u64> {
    let Value::BulkString(info) = redis.ok(&["INFO", section]) else {
        panic!("INFO {section} is no text")
    };
    let info = String::from_utf8(info).expect("UTF-8");
    let lines = info
        .split("\r\n")
        .skip_while(|line| *line != "# dirty")
        .skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line}"));
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(
                name.starts_with("dirty_") && name.chars().all(plain),
                "{line}"
            );
            (
                name.to_string(),
                value.parse().unwrap_or_else(|_| panic!("{line}")),
            )
        })
        .collect()
}

#[test]
fn exporters_get_every_field_of_info_as_a_number() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect(
        "
DIRTY.DECLARE user STREAM s => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a b SNAPSHOT 2 1 a b => [insert insert]
DIRTY.FLUSH user UPDATE 3 0 => NOENTITY there is no entity \"3\"
",
    );
    let told = fields(&mut redis, "dirty");
    assert_eq!(told["dirty_ops_insert"], 2);
    assert_eq!((told["dirty_flushes"], told["dirty_errors"]), (1, 1));
    for section in ["modules", "everything"] {
        assert_eq!(fields(&mut redis, section), told, "INFO {section}");
    }
    redis.expect("CONFIG RESETSTAT => OK");
    assert_eq!(fields(&mut redis, "dirty"), told);
    // The default one is asked for every few seconds by all sorts of programs, and the server leaves modules out.
    assert!(fields(&mut redis, "default").is_empty());
    // redis_exporter runs this, and wants names and numbers by turns, all of them texts.
    let script = include_str!("../../scripts/redis_exporter.lua");
    let words: Vec<String> = items(redis.ok(&["EVAL", script, "0", "0"]))
        .iter()
        .map(word)
        .collect();
    let exported = words
        .chunks(2)
        .map(|pair| (pair[0].clone(), pair[1].parse().expect("a number")));
    assert_eq!(exported.collect::<BTreeMap<String, u64>>(), told);
}

#[test]
fn exporters_get_the_numbers_of_the_readers_of_streams_that_they_name() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect(
        "
DIRTY.DECLARE user STREAM s => OK
DIRTY.READER s GROUP mailer FROM 0 ORDER ENTITY => OK
DIRTY.READER s CURSOR search FROM 0 => OK
DIRTY.FLUSH user INSERT 1 0 INSERT 2 0 INSERT 3 0 => [insert insert insert]
",
    );
    redis.ok(&["DIRTY.CONSUME", "s", "GROUP", "mailer", "m1", "COUNT", "2"]);
    let script = include_str!("../../scripts/redis_exporter.lua");
    let none = "local streams = {}";
    assert!(script.contains(none));
    let script = script.replace(none, "local streams = { 's', 'no-stream' }");
    let words: Vec<String> = items(redis.ok(&["EVAL", &script, "0", "0"]))
        .iter()
        .map(word)
        .collect();
    let exported: BTreeMap<&str, u64> = words
        .chunks(2)
        .map(|pair| (pair[0].as_str(), pair[1].parse().expect("a number")))
        .collect();
    for (name, value) in [
        ("s/length", 3),
        ("s/dead", 0),
        ("s/mailer/lag", 1),
        ("s/mailer/pending", 2),
        ("s/mailer/held-keys", 2),
        ("s/mailer/stalled", 0),
        ("s/search/lag", 3),
        ("no-stream/length", 0),
    ] {
        assert_eq!(exported.get(name), Some(&value), "{name}: {exported:?}");
    }
    assert!(exported.contains_key("dirty_flushes"));
}

#[test]
fn every_field_of_info_is_in_the_manual() {
    let server = Server::start();
    let told: BTreeSet<String> = fields(&mut server.connect(), "dirty").into_keys().collect();
    let manual = super::support::manual::manual().concat();
    let untold: Vec<&String> = told
        .iter()
        .filter(|field| !manual.contains(&format!("`{field}`")))
        .collect();
    assert!(untold.is_empty(), "{untold:?}");
}

#[test]
fn a_declaration_bears_to_be_looked_at() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect("DIRTY.DECLARE user TYPES 1 a int STREAM s => OK");
    redis.expect("CONFIG SET maxmemory-policy allkeys-lru => OK");
    // What is left out is any reply, but no error of the module's.
    for (command, reply) in cases(
        "
OBJECT ENCODING user => raw
OBJECT REFCOUNT user => (1)
OBJECT IDLETIME user => (0)
OBJECT FREQ user => ERR An LFU maxmemory policy is not selected
CONFIG SET maxmemory-policy allkeys-lfu => OK
OBJECT FREQ user => (
OBJECT IDLETIME user => ERR An LFU maxmemory policy is selected
CONFIG SET maxmemory-policy noeviction => OK
OBJECT HELP => [OBJECT
MEMORY USAGE user => (
MEMORY USAGE user SAMPLES 0 => (
MEMORY USAGE nobody => nil
MEMORY STATS => [peak.allocated
MEMORY DOCTOR => 
MEMORY MALLOC-STATS => 
MEMORY PURGE => OK
DEBUG OBJECT user => Value at:0x
DEBUG SDSLEN user => ERR Not an sds encoded string.
DEBUG LISTPACK user => ERR Not a listpack encoded object.
DEBUG HTSTATS-KEY user => ERR The value stored at the specified key is not represented using an hash table
DEBUG DIGEST-VALUE user => [
DEBUG STRUCTSIZE => bits:64
TYPE user => dirtydecl
",
    ) {
        let got = redis.run(&command);
        assert!(got.starts_with(&reply), "{command}: {got}");
        assert_eq!(redis.run("PING"), "PONG", "{command}");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn module_list_has_the_version_of_the_package() {
    let server = Server::start();
    let mut redis = server.connect();
    let mut version = 0;
    for part in env!("CARGO_PKG_VERSION").split('.') {
        version = version * 100 + part.parse::<u32>().expect("a number");
    }
    let list = redis.run("MODULE LIST");
    assert!(
        list.contains(&format!("[name dirty ver ({version}) path /")),
        "{list}"
    );
    let modules = redis.run("INFO modules");
    assert!(
        modules.contains(&format!("module:name=dirty,ver={version},api=1,")),
        "{modules}"
    );
    wait_until("the module's own log line", || {
        server.log().contains("Module 'dirty' loaded from")
    });
}
