//! Random sequences of right, half right and senseless commands of the module and of Redis, on the same
//! keys: the server lives, no error is an internal one, everybody is answered, and a replica and a server
//! that loads the AOF have the same data. `SEQUENCES_SECONDS=600` goes on for longer, `SEED=` repeats a run
//! as far as time lets it.

mod random;

use super::support::dice::rand;
use super::support::dumps::crc64;
use super::support::{Conn, Server, text, wait_until};
use random::{Random, Words};
use redis::Value;
use std::time::{Duration, Instant};

/// What a DUMP payload of a module's type begins with.
const MODULE_TYPE: u8 = 7;

fn shown(words: &Words) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.escape_ascii().to_string())
        .collect();
    words.join(" ")
}

/// No error within a reply is the module's own fault.
fn look_at(reply: &Value, command: &str) {
    match reply {
        Value::Array(items) | Value::Set(items) => {
            items.iter().for_each(|item| look_at(item, command))
        }
        Value::Map(pairs) => pairs.iter().for_each(|(_, value)| look_at(value, command)),
        Value::ServerError(_) => {
            let error = text(reply);
            assert!(!error.contains("internal error"), "{command}: {error}");
            let code = error.split(' ').next().unwrap_or_default();
            let is_code = code.bytes().all(|byte| byte.is_ascii_uppercase());
            assert!(is_code && !code.is_empty(), "{command}: {error}");
        }
        _ => {}
    }
}

/// A client that asks and may wait.
struct Reader {
    conn: Conn,
    asked: Option<String>,
}

impl Reader {
    fn new(server: &Server) -> Reader {
        Reader {
            conn: server.connect(),
            asked: None,
        }
    }
}

/// A server under fire, its replica and its clients.
struct Run {
    seed: u64,
    random: Random,
    server: Server,
    replica: Server,
    conns: [Conn; 2],
    readers: Vec<Reader>,
    errors: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let server = Server::with(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
        Run {
            seed,
            random: Random::new(seed),
            replica: Server::replica_of(&server),
            conns: [server.connect(), server.connect_resp3()],
            readers: (0..4).map(|_| Reader::new(&server)).collect(),
            errors: 0,
            server,
        }
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0 => self.wait(),
            1 => self.vanish(),
            2 | 3 => self.transaction(),
            4 => self.script(),
            5 => self.restore(),
            _ => self.command(),
        }
    }

    /// Some of it waits, for a moment.
    fn wait(&mut self) {
        let Run {
            random, readers, ..
        } = self;
        let which = random.below(readers.len());
        let reader = &mut readers[which];
        if let Some(asked) = reader.asked.take() {
            let reply = reader.conn.receive();
            match reply {
                Ok(reply) => {
                    look_at(&reply, &asked);
                    random.learn(&reply);
                }
                Err(error) => panic!("nobody answers {asked}: {error}"),
            }
        }
        let template = random.of(&[
            "DIRTY.CONSUME $stream GROUP g d BLOCK $wait",
            "DIRTY.CONSUME $stream GROUP g c BLOCK $wait $options",
            "DIRTY.CONSUME $stream GROUP h c BLOCK $wait",
            "DIRTY.CONSUME $stream GROUP o $group BLOCK $wait",
            "DIRTY.CONSUME $stream GROUP q $group BLOCK $wait",
            "DIRTY.CONSUME $stream GROUP m d BLOCK $wait",
            "DIRTY.CONSUME $stream CURSOR k BLOCK $wait",
            "DIRTY.CONSUME $stream CURSOR x ACK $position BLOCK $wait",
            "DIRTY.READ $stream FROM $start BLOCK $wait",
            "DIRTY.READ $stream FROM $ BLOCK $wait WHERE OPS D",
            "XREADGROUP GROUP g d BLOCK $wait STREAMS s >",
        ]);
        let command = random.fill(template);
        reader.conn.send(&command).expect("sent");
        reader.asked = Some(shown(&command));
    }

    /// A client is gone while it waits.
    fn vanish(&mut self) {
        let which = self.random.below(self.readers.len());
        let mut gone = std::mem::replace(&mut self.readers[which], Reader::new(&self.server));
        if gone.asked.is_none() {
            let words = self.random.fill("DIRTY.CONSUME $stream GROUP g e BLOCK 0");
            let _ = gone.conn.send(&words);
        }
        if self.random.one_in(2) {
            self.conns[0].run("CLIENT KILL TYPE normal SKIPME yes");
            self.conns[1] = self.server.connect_resp3();
            self.readers = (0..4).map(|_| Reader::new(&self.server)).collect();
        }
    }

    fn transaction(&mut self) {
        let Run {
            random,
            conns: [conn, _],
            ..
        } = self;
        conn.run("MULTI");
        for _ in 0..random.below(5) {
            let command = random.command();
            if !command[0].starts_with(b"SELECT") {
                conn.raw(&command);
            }
        }
        let end = if random.one_in(6) { "DISCARD" } else { "EXEC" };
        look_at(&conn.value(&[end]), end);
    }

    fn script(&mut self) {
        let command = self.random.command();
        let mut script: Words = vec![
            b"EVAL".into(),
            b"return redis.pcall(unpack(ARGV))".into(),
            b"0".into(),
        ];
        script.extend(command);
        look_at(&self.conns[0].value(&script), &shown(&script));
    }

    /// What one dumped, another restores, perhaps damaged.
    fn restore(&mut self) {
        let Run {
            random,
            conns: [conn, _],
            ..
        } = self;
        let key = random.any_key();
        if let Value::BulkString(mut payload) = conn.value(&["DUMP", key]) {
            let body = payload.len() - 8;
            // Redis's own types are its own affair: damaged streams end it.
            if payload[0] == MODULE_TYPE && random.one_in(2) {
                let at = 1 + random.below(body - 3);
                payload[at] = random.below(256) as u8;
            }
            let crc = crc64(&payload[..body]).to_le_bytes();
            payload[body..].copy_from_slice(&crc);
            let to = random.any_key().as_bytes();
            let words: [&[u8]; 5] = [b"RESTORE", to, b"0", &payload, b"REPLACE"];
            look_at(&conn.value(&words), "RESTORE");
        }
    }

    fn command(&mut self) {
        let command = self.random.command();
        let which = self.random.below(self.conns.len());
        let reply = self.conns[which].try_run(&command);
        let reply = reply.unwrap_or_else(|error| {
            let log = self.server.log();
            panic!("SEED={} {}: {error}\n{log}", self.seed, shown(&command))
        });
        self.errors += u64::from(matches!(reply, Value::ServerError(_)));
        self.random.learn(&reply);
        look_at(&reply, &shown(&command));
    }

    /// Everybody is answered, and the copies are the same.
    fn finish(mut self) {
        for reader in &mut self.readers {
            if reader.asked.take().is_some() {
                reader.conn.receive().expect("a reply to who waits");
            }
        }
        let Run {
            seed,
            mut server,
            replica,
            ..
        } = self;
        let log = server.log();
        assert!(
            !log.contains("panicked") && !log.contains("BUG REPORT"),
            "{log}"
        );
        // What has a moment to live is gone by then, everywhere.
        std::thread::sleep(Duration::from_millis(150));
        let mut redis = server.connect();
        for database in ["0", "1"] {
            redis.ok(&["SELECT", database]);
            redis.ok(&["KEYS", "*"]);
        }
        redis.ok(&["SELECT", "0"]);
        let digest = redis.digest();
        server.wait_for_replica(&replica);
        wait_until("the same digest", || replica.connect().digest() == digest);
        server.wait_for_line("INFO persistence", "aof_rewrite_in_progress:0");
        server.restart();
        let restarted = server.connect().digest();
        assert_eq!(restarted, digest, "SEED={seed} {}", server.log());
        assert_eq!(redis_errors(&replica), 0);
    }
}

#[test]
fn whatever_clients_send_the_server_lives_and_its_copies_agree() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("SEQUENCES_SECONDS").unwrap_or(8);
    let seed = number("SEED").unwrap_or_else(rand);
    println!("SEED={seed}");
    let mut run = Run::new(seed);
    let mut commands = 0u64;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        commands += 1;
        run.step();
    }
    println!("{commands} commands, {} errors", run.errors);
    run.finish();
}

/// Commands that the replica could not apply.
fn redis_errors(replica: &Server) -> u64 {
    let info = replica.connect().run("INFO stats");
    let line = info
        .split("\\r\\n")
        .find_map(|line| line.strip_prefix("unexpected_error_replies:"));
    line.expect("a number").parse().expect("a number")
}
