//! The module's settings: where they may stand, which of them counts, what is refused.

use super::support::{
    Conn, Server, answers, connect, free_port, module, output_of_one_that_ends, server,
};
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// A server that was started with a redis.conf of its own.
struct Configured {
    dir: TempDir,
    child: Child,
    port: u16,
}

impl Configured {
    fn with(lines: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // Somebody else may take the port before the server does.
        for _ in 0..5 {
            let port = free_port();
            let text = format!("port {port}\nenable-module-command yes\n{lines}");
            std::fs::write(dir.path().join("redis.conf"), text).expect("a file");
            let mut child = Configured::spawn(&dir);
            if answers(port, &mut child) {
                return Configured { dir, child, port };
            }
        }
        panic!("no server starts with {lines}");
    }

    fn spawn(dir: &TempDir) -> Child {
        server()
            .arg("redis.conf")
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server")
    }

    fn connect(&self) -> Conn {
        connect(self.port)
    }

    fn restart(&mut self) {
        let _ = self.connect().try_run(&["SHUTDOWN", "NOSAVE"]);
        self.child.wait().expect("its end");
        self.child = Configured::spawn(&self.dir);
        assert!(answers(self.port, &mut self.child));
    }

    /// The lines of its file that are about the module.
    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("redis.conf")).expect("a file");
        let lines = text
            .lines()
            .map(|line| line.replace(&module().display().to_string(), "PATH"));
        let mut lines: Vec<String> = lines
            .filter(|line| line.starts_with("loadmodule ") || line.starts_with("dirty."))
            .collect();
        lines.sort();
        lines
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the order of their names: of events, fields, ops and values.
fn settings(redis: &mut Conn) -> [i64; 4] {
    ["event-bytes", "fields", "ops", "value-bytes"].map(|name| {
        let reply = redis.run(&format!("CONFIG GET dirty.max-{name}"));
        let number = reply.trim_matches(['[', ']']).split(' ').nth(1);
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{reply}"))
    })
}

const MIB: i64 = 1024 * 1024;
const DEFAULTS: [i64; 4] = [64 * MIB, 10_000, 10_000, 16 * MIB];

#[test]
fn limits_are_settings_of_the_server() {
    let defaults = "[dirty.max-event-bytes 67108864 dirty.max-fields 10000 dirty.max-ops 10000 \
                    dirty.max-queued 1000000 \
                    dirty.max-value-bytes 16777216]";
    let sorted = |redis: &mut Conn| {
        let reply = redis.run("CONFIG GET dirty.*");
        let mut words: Vec<&str> = reply.trim_matches(['[', ']']).split(' ').collect();
        let mut pairs: Vec<String> = words.chunks_mut(2).map(|pair| pair.join(" ")).collect();
        pairs.sort();
        format!("[{}]", pairs.join(" "))
    };
    let server = Server::start();
    let mut redis = server.connect();
    assert_eq!(sorted(&mut redis), defaults);
    for (command, refused) in [
        (
            "CONFIG SET dirty.max-ops 0",
            "ERR CONFIG SET failed (possibly related to argument 'dirty.max-ops') - argument must be between 1 and 9223372036854775807 inclusive",
        ),
        (
            "CONFIG SET dirty.max-event-bytes 1gb",
            "ERR CONFIG SET failed (possibly related to argument 'dirty.max-event-bytes') - argument must be between 1 and 536870912 inclusive",
        ),
        (
            "CONFIG SET dirty.max-fields many",
            "ERR CONFIG SET failed (possibly related to argument 'dirty.max-fields') - argument couldn't be parsed into an integer",
        ),
    ] {
        assert_eq!(redis.run(command), refused);
    }
    assert_eq!(sorted(&mut redis), defaults);
    drop(server);

    // Arguments of the module are defaults, and redis.conf goes before them.
    let mut server = Server::with(&["max-ops", "7", "MAX-FIELDS", "8", "--dirty.max-fields", "9"]);
    let mut redis = server.connect();
    redis.expect("CONFIG GET dirty.max-ops => [dirty.max-ops 7]");
    redis.expect("CONFIG GET dirty.max-fields => [dirty.max-fields 9]");
    redis.expect("CONFIG SET dirty.max-value-bytes 1mb => OK");
    redis.expect("CONFIG GET dirty.max-value-bytes => [dirty.max-value-bytes 1048576]");
    server.restart();
    let mut redis = server.connect();
    redis.expect("CONFIG GET dirty.max-ops => [dirty.max-ops 7]");
    redis.expect("CONFIG GET dirty.max-value-bytes => [dirty.max-value-bytes 16777216]");
}

#[test]
fn config_rewrite_keeps_settings_where_they_are() {
    let loadmodule = format!("loadmodule {}", module().display());
    // What stands in the file, the settings then, what is set, and the file afterwards.
    for (file, before, set, after) in [
        (
            format!("{loadmodule}\n"),
            DEFAULTS,
            "",
            vec!["loadmodule PATH"],
        ),
        (
            format!("{loadmodule} max-ops 1000\n"),
            [64 * MIB, 10_000, 1000, 16 * MIB],
            "dirty.max-value-bytes 1mb",
            vec!["dirty.max-value-bytes 1mb", "loadmodule PATH max-ops 1000"],
        ),
        // redis.conf goes before the module's arguments, above and below them.
        (
            format!(
                "dirty.max-ops 9\n{loadmodule} max-ops 7 max-fields 8\ndirty.max-event-bytes 2mb\n"
            ),
            [2 * MIB, 8, 9, 16 * MIB],
            "dirty.max-fields 5",
            vec![
                "dirty.max-event-bytes 2mb",
                "dirty.max-fields 5",
                "dirty.max-ops 9",
                "loadmodule PATH max-ops 7 max-fields 8",
            ],
        ),
        // A line that is there stays, also when it says what the arguments say; a new one is not needed.
        (
            format!("{loadmodule} max-ops 7\ndirty.max-ops 9\n"),
            [64 * MIB, 10_000, 9, 16 * MIB],
            "dirty.max-ops 7 dirty.max-fields 10000",
            vec!["dirty.max-ops 7", "loadmodule PATH max-ops 7"],
        ),
        (
            format!("{loadmodule} MAX-OPS 7 max-ops 6\n"),
            [64 * MIB, 10_000, 6, 16 * MIB],
            "dirty.max-fields 3 dirty.max-ops 10000",
            vec![
                "dirty.max-fields 3",
                "dirty.max-ops 10000",
                "loadmodule PATH MAX-OPS 7 max-ops 6",
            ],
        ),
    ] {
        let mut server = Configured::with(&file);
        let mut redis = server.connect();
        assert_eq!(settings(&mut redis), before, "{file}");
        if !set.is_empty() {
            assert_eq!(redis.run(&format!("CONFIG SET {set}")), "OK");
        }
        redis.expect("CONFIG REWRITE => OK");
        assert_eq!(server.lines(), after, "{file}");
        let now = settings(&mut redis);
        for _ in 0..2 {
            server.restart();
            let mut redis = server.connect();
            assert_eq!(settings(&mut redis), now, "{file}");
            redis.expect("CONFIG REWRITE => OK");
            assert_eq!(server.lines(), after, "{file}");
        }
    }
}

#[test]
fn settings_that_are_set_together_are_all_set_or_none() {
    let server = Server::start();
    let mut redis = server.connect();
    let refused = redis.run("CONFIG SET dirty.max-ops 7 dirty.max-fields 0");
    assert!(refused.starts_with("ERR CONFIG SET failed"), "{refused}");
    assert_eq!(settings(&mut redis), DEFAULTS);
    redis.expect("CONFIG SET dirty.max-ops 7 dirty.max-fields 8 => OK");
    redis.expect("CONFIG RESETSTAT => OK");
    assert_eq!(settings(&mut redis), [64 * MIB, 8, 7, 16 * MIB]);
}

#[test]
fn a_running_server_that_loads_the_module_takes_both_sorts_of_settings() {
    let server = Configured::with("");
    let mut redis = server.connect();
    let path = module().display().to_string();
    for refused in ["max-ops", "max-fields 8 max-ops 0", "max-ops 7 other 1"] {
        let reply = redis.run(&format!("MODULE LOAD {path} {refused}"));
        assert!(
            reply.starts_with("ERR Error loading the extension"),
            "{reply}"
        );
        assert_eq!(redis.run("PING"), "PONG");
    }
    let reply = redis.run(&format!("MODULE LOADEX {path} CONFIG dirty.max-ops 0"));
    assert!(
        reply.starts_with("ERR Error loading the extension"),
        "{reply}"
    );
    // Nothing is left of what was refused.
    let loaded = redis.run(&format!(
        "MODULE LOADEX {path} CONFIG dirty.max-ops 12 CONFIG dirty.max-event-bytes 1mb ARGS max-ops 5 max-value-bytes 6mb"
    ));
    assert_eq!(loaded, "OK");
    assert_eq!(settings(&mut redis), [MIB, 10_000, 12, 6 * MIB]);
    redis.expect("CONFIG REWRITE => OK");
    assert_eq!(
        server.lines(),
        [
            "dirty.max-event-bytes 1mb",
            "dirty.max-ops 12",
            "loadmodule PATH max-ops 5 max-value-bytes 6mb"
        ]
    );
}

#[test]
fn settings_that_are_none_stop_the_server_from_starting() {
    for (words, line) in [
        (
            vec!["max-ops"],
            "the module's arguments are not understood: \"max-ops\" has no value",
        ),
        (
            vec!["max-ops", "0"],
            "the module's arguments are not understood: max-ops takes 1 to 9223372036854775807, not \"0\"",
        ),
        (
            vec!["max-ops", "x%n"],
            "max-ops takes 1 to 9223372036854775807, not \"x%n\"",
        ),
        (
            vec!["max-event-bytes", "1gb"],
            "not understood: max-event-bytes takes 1 to 536870912, not \"1gb\"",
        ),
        (
            vec!["others", "1"],
            "not understood: \"others\" is none of max-fields, max-ops, max-value-bytes, max-event-bytes",
        ),
        (
            vec!["--dirty.max-ops", "0"],
            "configuration dirty.max-ops : argument must be between 1 and",
        ),
        (
            vec!["--dirty.max-fields", "many"],
            "configuration dirty.max-fields : argument couldn't be parsed into an integer",
        ),
        (
            vec!["--dirty.max-event-bytes", "1gb"],
            "configuration dirty.max-event-bytes : argument must be between 1 and 536870912",
        ),
        (
            vec!["--dirty.max-event-bytes", "-1"],
            "configuration dirty.max-event-bytes : argument must be a memory value",
        ),
        (
            vec!["--dirty.others", "1"],
            "Module Configuration detected without loadmodule directive or no ApplyConfig call",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let output = output_of_one_that_ends(
            server()
                .args(["--port", "0", "--unixsocket", "socket", "--loadmodule"])
                .arg(module())
                .args(&words)
                .current_dir(dir.path()),
        );
        let log = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {log}");
        assert!(log.contains(line), "{words:?}: {log}");
    }
}
