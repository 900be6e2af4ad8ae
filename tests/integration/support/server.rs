//! A redis-server of one's own, with the module loaded.

use super::conn::{Conn, open};
use super::wait_until;
use redis::{Client, RedisConnectionInfo};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server with the module, stopped by its process id when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    pub dir: TempDir,
    options: Vec<String>,
    module: PathBuf,
    start: Start,
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// With options as on redis-server's command line.
    pub fn with(options: &[&str]) -> Server {
        Server::starting(Start::Plain, module(), options)
    }

    /// One whose files may be limited (`prlimit`), as a full disk does.
    pub fn that_survives_large_files(options: &[&str]) -> Server {
        Server::starting(Start::SurvivesLargeFiles, module(), options)
    }

    /// Under callgrind, which counts nothing until it is told to; with another module, if there is one.
    pub fn counting_instructions(other: Option<&str>) -> Server {
        // The server's cron would be counted, too: it runs as seldom as can be.
        let mut options = vec!["--hz", "1", "--dynamic-hz", "no"];
        if let Some(other) = other {
            options.extend(["--loadmodule", other]);
        }
        Server::starting(Start::CountingInstructions, module(), &options)
    }

    /// With another build of the module.
    pub fn of(module: PathBuf, options: &[&str]) -> Server {
        Server::starting(Start::Plain, module, options)
    }

    fn starting(start: Start, module: PathBuf, options: &[&str]) -> Server {
        let dir = tempfile::tempdir().expect("a folder");
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        // Somebody else may take the port between asking for a free one and using it.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(start, &module, port, &dir, &options);
            if answers(port, &mut child) {
                return Server {
                    child,
                    port,
                    dir,
                    options,
                    module,
                    start,
                };
            }
        }
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("no server starts; its log:\n{log}");
    }

    /// As a replica of another server, in step with it.
    pub fn replica_of(primary: &Server) -> Server {
        let replica = Server::start();
        let port = primary.port.to_string();
        replica.connect().ok(&["REPLICAOF", "127.0.0.1", &port]);
        replica.wait_for_line("INFO replication", "master_link_status:up");
        replica
    }

    /// Stops it as an operator does, saving what its options say, and starts it on the same files.
    pub fn restart(&mut self) {
        let _ = self.connect().try_run(&["SHUTDOWN"]);
        let _ = self.child.wait();
        self.start_again();
    }

    /// As the kernel or a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a running server");
        self.child.wait().expect("its end");
    }

    /// As an operator does who looks into the log.
    pub fn start_again(&mut self) {
        let cut = |server: &Server| server.log().matches("Truncating the AOF").count();
        let before = cut(self);
        self.child = spawn(
            self.start,
            &self.module,
            self.port,
            &self.dir,
            &self.options,
        );
        assert!(answers(self.port, &mut self.child), "{}", self.log());
        if cut(self) > before {
            // Half a transaction may be left in it, which the next start would carry out: docs/operating.md.
            self.rewrite_aof();
        }
    }

    pub fn rewrite_aof(&self) {
        self.connect().run("BGREWRITEAOF");
        for line in [
            "aof_rewrite_in_progress:0",
            "aof_rewrite_scheduled:0",
            "aof_last_bgrewrite_status:ok",
        ] {
            self.wait_for_line("INFO persistence", line);
        }
    }

    /// The part of the append-only file that grows.
    pub fn growing_aof(&self) -> std::path::PathBuf {
        let files = std::fs::read_dir(self.dir.path().join("appendonlydir")).expect("a folder");
        let mut paths = files.map(|file| file.expect("a file").path());
        let growing = paths.find(|path| path.to_string_lossy().ends_with(".incr.aof"));
        growing.expect("a file that grows")
    }

    /// The most memory that the process has held at once, in KiB. The server's own used_memory_peak looks between
    /// commands only.
    pub fn most_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
        size.and_then(|size| size.parse().ok()).expect("a size")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A RESP2 connection.
    pub fn connect(&self) -> Conn {
        self.open(RedisConnectionInfo::default())
    }

    pub fn connect_resp3(&self) -> Conn {
        let resp3 = redis::ProtocolVersion::RESP3;
        self.open(RedisConnectionInfo::default().set_protocol(resp3))
    }

    fn open(&self, info: RedisConnectionInfo) -> Conn {
        open(self.port, info)
    }

    /// Waits until the reply to a command has this line.
    pub fn wait_for_line(&self, command: &str, line: &str) {
        let mut connection = self.connect();
        wait_until(&format!("{line} in {command}"), || {
            connection.run(command).contains(line)
        });
    }

    /// Waits until as many clients are blocked.
    pub fn wait_for_blocked(&self, clients: usize) {
        self.wait_for_line("INFO clients", &format!("blocked_clients:{clients}\\r"));
    }

    /// Waits until the replica has everything the primary has written.
    pub fn wait_for_replica(&self, replica: &Server) {
        let offset = |server: &Server| -> u64 {
            let offset = server.connect().replicated();
            offset.parse().expect("an offset")
        };
        // The primary's own offset must be read after its last write was counted; it may ping in between.
        let wanted = offset(self);
        wait_until("the replica's offset", || offset(replica) >= wanted);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the server's process begins.
#[derive(Clone, Copy)]
enum Start {
    Plain,
    /// A write beyond the limit of a file's size is an error, and not the process's end.
    SurvivesLargeFiles,
    /// In valgrind's machine, which is no slower or faster for what else the real one does.
    CountingInstructions,
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn spawn(start: Start, module: &Path, port: u16, dir: &TempDir, options: &[String]) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.path().join("log"))
        .expect("a log");
    let mut command = match start {
        Start::Plain => server(),
        Start::SurvivesLargeFiles => {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
                .arg(server().get_program());
            shell
        }
        Start::CountingInstructions => {
            let mut valgrind = Command::new("valgrind");
            valgrind
                .args(["--tool=callgrind", "--instr-atstart=no"])
                .arg("--callgrind-out-file=callgrind")
                .arg(server().get_program());
            valgrind
        }
    };
    command
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .args([
            "--enable-debug-command",
            "yes",
            "--repl-diskless-sync-delay",
            "0",
        ])
        .args(options_of_all().split_whitespace())
        .args(["--loadmodule", module.to_str().expect("a path")])
        .args(options)
        .current_dir(dir.path())
        .stdout(Stdio::from(log.try_clone().expect("a log")))
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server does not start: {error}"))
}

/// The server's program, without any options.
pub fn server() -> Command {
    Command::new(std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into()))
}

/// REDIS_OPTIONS: options that every server gets, as in `--io-threads 4`.
pub fn options_of_all() -> String {
    std::env::var("REDIS_OPTIONS").unwrap_or_default()
}

pub fn module() -> PathBuf {
    let built = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/release/libdirty_streams.so"
    );
    let module = std::env::var("DIRTY_MODULE").map_or_else(|_| built.into(), PathBuf::from);
    assert!(module.exists(), "{module:?} is not built; `make test` does");
    module
}

/// Whether the server takes commands before long.
pub fn answers(port: u16, child: &mut Child) -> bool {
    let start = Instant::now();
    let process = format!("process_id:{}\r\n", child.id());
    while start.elapsed() < Duration::from_secs(20) {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        let asked = Client::open(("127.0.0.1", port))
            .and_then(|client| client.get_connection())
            .and_then(|mut connection| {
                // Refused while it loads.
                redis::cmd("PING").query::<String>(&mut connection)?;
                redis::cmd("INFO")
                    .arg("server")
                    .query::<String>(&mut connection)
            });
        // Another test's server may be here, while ours has not found out that the port is taken.
        if asked.is_ok_and(|info| info.contains(&process)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// What a server says that must not start: one that does is a failure, not a test that hangs.
pub fn output_of_one_that_ends(command: &mut Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server");
    let start = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if start.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it started: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}
