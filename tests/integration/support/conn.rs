//! Connections: commands as short texts, and replies likewise.

use super::cases::{cases, text, words};
use redis::{Client, Connection, RedisConnectionInfo, Value};
use std::time::Duration;

/// A RESP2 connection to a server that somebody else has started.
pub fn connect(port: u16) -> Conn {
    open(port, RedisConnectionInfo::default())
}

pub fn open(port: u16, info: RedisConnectionInfo) -> Conn {
    let address = redis::ConnectionAddr::Tcp("127.0.0.1".into(), port);
    let info = redis::IntoConnectionInfo::into_connection_info(address)
        .expect("an address")
        .set_redis_settings(info);
    let client = Client::open(info).expect("a client");
    let connection = client.get_connection().expect("a connection");
    // A reply that does not come is a failure, not a test that hangs.
    let patience = Some(Duration::from_secs(30));
    connection.set_read_timeout(patience).expect("a timeout");
    Conn { connection }
}

pub struct Conn {
    pub connection: Connection,
}

impl Conn {
    /// `None` if nobody is there.
    pub fn try_to(port: u16) -> Option<Conn> {
        let client = Client::open(("127.0.0.1", port)).ok()?;
        let connection = client.get_connection().ok()?;
        let patience = Some(Duration::from_secs(10));
        connection.set_read_timeout(patience).ok()?;
        Some(Conn { connection })
    }

    /// Runs a command as `words` splits it and gives the reply as `text` writes it.
    pub fn run(&mut self, command: &str) -> String {
        self.raw(&words(command))
    }

    /// As `run`, of words given as bytes.
    pub fn raw(&mut self, words: &[impl AsRef<[u8]>]) -> String {
        text(&self.value(words))
    }

    /// Runs a command that must not fail.
    pub fn ok(&mut self, words: &[&str]) -> Value {
        match self.value(words) {
            Value::ServerError(error) => panic!("{words:?}: {error:?}"),
            value => value,
        }
    }

    pub fn value(&mut self, words: &[impl AsRef<[u8]>]) -> Value {
        match self.try_run(words) {
            Ok(value) => value,
            Err(error) => panic!("the connection fails: {error}"),
        }
    }

    /// Errors the server answers come as values, others (a lost connection) as errors.
    pub fn try_run(&mut self, words: &[impl AsRef<[u8]>]) -> redis::RedisResult<Value> {
        self.send(words)?;
        self.receive()
    }

    /// Sends without waiting for the reply.
    pub fn send(&mut self, words: &[impl AsRef<[u8]>]) -> redis::RedisResult<()> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word.as_ref());
        }
        self.connection
            .send_packed_command(&command.get_packed_command())
    }

    pub fn receive(&mut self) -> redis::RedisResult<Value> {
        self.connection.recv_response()
    }

    /// A field of INFO, the module's own too.
    pub fn info(&mut self, field: &str) -> String {
        let info = self.run("INFO everything");
        let prefix = format!("{field}:");
        let value = info
            .split("\\r\\n")
            .find_map(|line| line.strip_prefix(&prefix));
        value
            .unwrap_or_else(|| panic!("{field} in {info}"))
            .to_string()
    }

    /// How many bytes were replicated so far.
    pub fn replicated(&mut self) -> String {
        self.info("master_repl_offset")
    }

    /// The CPU time that the server's thread for commands has used: others on the machine do not count.
    pub fn cpu(&mut self) -> Duration {
        let info = self.run("INFO cpu");
        let part = |kind: &str| {
            let field = format!("used_cpu_{kind}_main_thread:");
            let (_, rest) = info.split_once(&field).expect("a time");
            let seconds = rest.split("\\r").next().expect("seconds");
            seconds.parse::<f64>().expect("seconds")
        };
        Duration::from_secs_f64(part("user") + part("sys"))
    }

    pub fn used_memory(&mut self) -> i64 {
        self.info("used_memory").parse().expect("bytes")
    }

    /// Runs a table of `cases` and compares every reply.
    pub fn expect(&mut self, table: &str) {
        for (command, reply) in cases(table) {
            assert_eq!(self.run(&command), reply, "{command}");
        }
    }

    /// The data set, and how many changes the server has counted: whoever writes nothing changes neither.
    pub fn written(&mut self) -> (String, String) {
        let changes = self.info("rdb_changes_since_last_save");
        (self.digest(), changes)
    }

    /// `PING` answers, and the data set is as it was.
    pub fn digest(&mut self) -> String {
        assert_eq!(self.run("PING"), "PONG");
        self.run("DEBUG DIGEST")
    }
}
