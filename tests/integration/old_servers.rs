//! Servers that are too old for the module refuse it, and go on with their data. `make test-servers` gets
//! one, Redis 6.2, and names it in REDIS_6_SERVER.

use super::support::{Conn, free_port, module, output_of_one_that_ends, skipped, wait_until};
use std::path::Path;
use std::process::{Command, Stdio};

const NEEDED: &str =
    "dirty: the module needs Redis 7.0 or later, or Valkey; this server has no RedisModule_";

/// The old server in this folder, with its output in the file `log`.
fn old_server(folder: &Path) -> Option<Command> {
    let Ok(program) = std::env::var("REDIS_6_SERVER") else {
        skipped("REDIS_6_SERVER names no old server");
        return None;
    };
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut server = Command::new(program);
    server
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .current_dir(folder)
        .stdout(Stdio::from(log));
    Some(server)
}

#[test]
fn a_server_that_is_too_old_refuses_to_load_the_module_and_keeps_its_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut server) = old_server(folder.path()) else {
        return;
    };
    let port = free_port();
    let mut child = server
        .args(["--port", &port.to_string()])
        .spawn()
        .expect("a server");
    let mut redis = None;
    wait_until("the old server", || {
        redis = Conn::try_to(port);
        redis.is_some()
    });
    let mut redis = redis.expect("a connection");
    redis.expect("SET kept text => OK");
    let module = module();
    let module = module.to_str().expect("a path");
    // Refusing it leaves nothing behind that a second attempt would stumble over.
    for attempt in 1..=3 {
        for arguments in [&[][..], &["max-ops", "7"], &["nonsense"]] {
            let load: Vec<&str> = ["MODULE", "LOAD", module]
                .into_iter()
                .chain(arguments.iter().copied())
                .collect();
            assert_eq!(
                redis.raw(&load),
                "ERR Error loading the extension. Please check the server logs.",
                "{attempt}"
            );
        }
        redis.expect(
            "GET kept => text\n\
             MODULE LIST => []\n\
             COMMAND INFO DIRTY.FLUSH => [nil]\n\
             XADD s 1-1 a b => 1-1\n\
             DEL s => (1)\n\
             INFO dirty => \"\"",
        );
    }
    let _ = child.kill();
    let _ = child.wait();
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert_eq!(log.matches(NEEDED).count(), 9, "{log}");
    assert!(!log.contains("BUG REPORT"), "{log}");
}

#[test]
fn a_server_that_is_too_old_does_not_start_with_the_module_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut server) = old_server(folder.path()) else {
        return;
    };
    let port = free_port().to_string();
    let module = module();
    server
        .args(["--port", &port, "--loadmodule"])
        .arg(&module)
        .args(["max-ops", "7"]);
    let output = output_of_one_that_ends(&mut server);
    let log = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(NEEDED), "{log}");
    assert!(!log.contains("BUG REPORT"), "{log}");
}
