//! Random sequences of right, half right and senseless commands of the module and of Redis, on the same
//! keys: the server lives, no error is an internal one, everybody is answered, and a replica and a server
//! that loads the AOF have the same data. `SEQUENCES_SECONDS=600` goes on for longer, `SEED=` repeats a run
//! as far as time lets it.

use super::support::{text, wait_until, Conn, Server};
use redis::Value;
use std::time::{Duration, Instant};

const KEYS: &[&str] = &["user", "order", "row", "doc", "seen"];
const STREAMS: &[&str] = &["s", "t", "u", "s:dead", "s:failures"];
const OTHERS: &[&str] = &[
    "user:1",
    "order:1",
    "user@deferred",
    "user@once:k",
    "row@deferred",
    "",
    "other",
    "\u{0}\u{ff}",
];
const IDS: &[&str] = &[
    "1",
    "2",
    "3",
    "42",
    "x",
    "",
    "18446744073709551615",
    "\r\n%n%s\0",
];
const FIELDS: &[&str] = &["a", "b", "n", "v", "gone", "j", "", "@", "%n", "\0"];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "7",
    "-5",
    "x",
    "true",
    "1.50",
    "1e400",
    "{\"k\":[1,null]}",
    "[[[[[[]]]]]]",
    "18446744073709551615",
    "2026-01-02T04:04:05+01:00",
    "%s%n",
    "\u{1}\r\n\0",
    "9223372036854775808",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "100",
    "4294967296",
    "9007199254740992",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "",
    "1.5",
    "0x10",
    "+1",
    "007",
];
const GROUPS: &[&str] = &["g", "h", "c", "dirty:left", ""];
const TOKENS: &[&str] = &["k", "l", "", "\0"];
const WORDS: &[&str] = &[
    "NULL", "JSON", "MSGPACK", "GROUP", "CURSOR", "ACK", "BLOCK", "COUNT", "WHERE", "STREAM",
    "META", "SNAPSHOT", "DELETE", "ONCE", "DEFER", "FROM", "$", "0", "1-1", "-", "1", "5", "DEAD",
    "TAGS",
];

/// What a DUMP payload of a module's type begins with.
const MODULE_TYPE: u8 = 7;

type Words = Vec<Vec<u8>>;

/// Numbers as random as need be.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545F4914F6CDD1D) >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// One that is short and mostly one of the first.
    fn number(&mut self) -> &'static str {
        let most = if self.one_in(8) { NUMBERS.len() } else { 7 };
        NUMBERS[self.below(most)]
    }

    /// A template: a space between words, `$x` something of a kind.
    fn fill(&mut self, template: &str) -> Words {
        let mut words: Words = Vec::new();
        for word in template.split(' ') {
            let bytes = match word {
                "$key" => self.of(KEYS).into(),
                "$stream" => self.of(STREAMS).into(),
                "$any" => self.any_key().into(),
                "$id" => self.of(IDS).into(),
                "$field" => self.of(FIELDS).into(),
                "$value" => self.of(VALUES).into(),
                "$n" => self.number().into(),
                "$ms" => self.of(&["0", "1", "5", "20"]).into(),
                "$wait" => self.of(&["1", "5", "20", "40"]).into(),
                "$later" => self.of(&["1", "5", "10000000"]).into(),
                "$group" => self.of(GROUPS).into(),
                "$token" => self.of(TOKENS).into(),
                "$event" => {
                    format!("{}-{}", self.of(&["0", "1", "5"]), self.below(40)).into_bytes()
                }
                "$start" => self
                    .of(&["0", "$", "1", "0-3", "1-1", "99999999999999"])
                    .into(),
                "$fields" => {
                    words.extend(self.fields());
                    continue;
                }
                "$ops" => {
                    for _ in 0..1 + self.below(3) {
                        let op = self.operation();
                        words.extend(op);
                    }
                    continue;
                }
                "$options" => {
                    let options = self.options();
                    words.extend(options);
                    continue;
                }
                word => word.as_bytes().to_vec(),
            };
            words.push(bytes);
        }
        words
    }

    fn any_key(&mut self) -> &'static str {
        let kinds = [KEYS, STREAMS, OTHERS];
        let kind = kinds[self.below(3)];
        self.of(kind)
    }

    fn fields(&mut self) -> Words {
        match self.below(8) {
            0 => self.fill("JSON {\"a\":1,\"j\":[true],\"v\":5}"),
            1 => vec![b"MSGPACK".into(), b"\x83\xa1a\xc0\xa1n\x07\xa1v\x09".into()],
            2 => self.fill("JSON $value"),
            3 => self.fill("0"),
            4 => self.fill("1 $field $value NULL 1 $field"),
            _ => {
                let count = 1 + self.below(3);
                let mut words: Words = vec![count.to_string().into_bytes()];
                for _ in 0..count {
                    words.extend(self.fill("$field $value"));
                }
                words
            }
        }
    }

    fn operation(&mut self) -> Words {
        let template = self.of(&[
            "SNAPSHOT $id $fields",
            "SNAPSHOT $id $fields",
            "SNAPSHOT 1 $fields",
            "INSERT $id $fields",
            "UPDATE 1 $fields",
            "UPDATE $id $fields",
            "DELETE $id",
            "DELETE 1 1 v $value",
            "TOUCH $id",
            "SEED $id $fields",
            "UPDATE 1 1 a $value $value",
            "UPDATE 1 JSON {} {\"a\":1}",
        ]);
        self.fill(template)
    }

    fn options(&mut self) -> Words {
        let mut words = Vec::new();
        for _ in 0..self.below(4) {
            let template = self.of(&[
                "ACK 1 $event",
                "ACK $event",
                "ACK 2 $event $event DELETE",
                "PENDING",
                "CLAIM $ms",
                "MAXDELIVERIES $n",
                "MAXDELIVERIES 1 DEAD $any",
                "SINGLE $n",
                "MAXPENDING $n",
                "FROM $start",
                "COUNT $n",
                "BLOCK $wait",
                "RAW",
                "WHERE OPS IU",
                "LAG $ms",
                "SHARD 0 2",
                "WHERE FIELDS 1 $field META $field $value",
                "WHERE ENTITY $key",
            ]);
            words.extend(self.fill(template));
        }
        words
    }

    fn command(&mut self) -> Words {
        const DIRTY: &[&str] = &[
            "DIRTY.DECLARE user TYPES 2 n int j json STREAM s FIELDS 1 a STREAM t PAYLOAD FULL MAXLEN 20",
            "DIRTY.DECLARE order VERSION v TOMBSTONE $later FAKEDELETE gone STREAM s PAYLOAD IMAGES",
            "DIRTY.DECLARE row STATELESS STREAM t FORMAT DEBEZIUM STREAM u DB 1",
            "DIRTY.DECLARE doc STREAM u FORMAT FLUXAORM STREAM v FORMAT FLUXAORM1 MAXLEN 10 ONFULL REFUSE",
            "DIRTY.DECLARE seen PREFIX user: STREAM s MAXLEN ~ 10 ONFULL KEEP MAXAGE 50",
            "DIRTY.DECLARE $any STREAM $any FORMAT $value PREFIX $any",
            "DIRTY.DECLARE $any TAGS 2 ID dirty=A:add,B $field dirty=C STREAM dirty_A PAYLOAD KEYS",
            "DIRTY.FLUSH $key $ops", "DIRTY.FLUSH $key $ops", "DIRTY.FLUSH $key $ops",
            "DIRTY.FLUSH $key $ops", "DIRTY.FLUSH $key WITHEVENTS META 1 $field $value $ops",
            "DIRTY.FLUSH $key ONCE $token $later $ops", "DIRTY.FLUSH $key DEFER $token $ops",
            "DIRTY.FLUSH $key DEFER $token $ops", "DIRTY.FLUSH $any $ops",
            "DIRTY.COMMIT $key $token $token", "DIRTY.COMMIT $key $token", "DIRTY.ABORT $key $token",
            "DIRTY.DEFERRED $key MINAGE $n", "DIRTY.GET $key $id $id", "DIRTY.GET $any $id",
            "DIRTY.INFO $any", "DIRTY.CONSUME $stream GROUP $group $group $options",
            "DIRTY.CONSUME $stream GROUP g c $options", "DIRTY.CONSUME s GROUP g c CLAIM 0 MAXDELIVERIES 1",
            "DIRTY.CONSUME $stream CURSOR $group $options", "DIRTY.CONSUME $any CURSOR k $options",
            "DIRTY.ACK $stream GROUP $group $event", "DIRTY.ACK $stream CURSOR $group $event",
            "DIRTY.SEEK $stream GROUP $group $start", "DIRTY.SEEK $stream CURSOR $group $start",
            "DIRTY.FAIL $stream GROUP $group $event $value NOW",
            "DIRTY.FAIL s GROUP g $event $value MAXDELIVERIES $n", "DIRTY.LEAVE $stream GROUP $group c",
            "DIRTY.REDRIVE $stream COUNT $n", "DIRTY.REDRIVE $stream DEAD $any", "DIRTY.STATS $any",
        ];
        const NATIVE: &[&str] = &[
            "DEL $any",
            "UNLINK $stream",
            "RENAME $any $any",
            "COPY $any $any REPLACE",
            "SET $any $value",
            "HSET $any $field $value",
            "HSET user:1 $field $value",
            "HDEL user:1 $field",
            "HSET user@deferred $token $value",
            "PEXPIRE $any $later",
            "PERSIST $any",
            "XADD $stream * $field $value",
            "XADD $stream * s $value",
            "XADD $stream $event a b",
            "XTRIM $stream MAXLEN $n",
            "XDEL $stream $event",
            "XGROUP CREATE $stream $group $start MKSTREAM",
            "XGROUP DESTROY $stream $group",
            "XGROUP SETID $stream $group $start",
            "XGROUP DELCONSUMER $stream $group c",
            "XREADGROUP GROUP g c COUNT 3 STREAMS s >",
            "XACK $stream $group $event",
            "XAUTOCLAIM $stream $group d 0 0 COUNT 2",
            "XCLAIM $stream $group d 0 $event",
            "XSETID $stream $event",
            "MOVE $any 1",
            "TYPE $any",
            "DUMP $key",
            "MEMORY USAGE $any",
            "DEBUG DIGEST-VALUE $any",
            "INFO dirty",
            "OBJECT ENCODING $any",
            "SELECT 0",
            "SWAPDB 0 1",
            "BGREWRITEAOF",
            "COMMAND GETKEYS DIRTY.FLUSH $any 1",
            "CONFIG SET dirty.max-fields $n",
            "CONFIG SET dirty.max-ops 10000",
            "CONFIG SET dirty.max-value-bytes $n",
            "CONFIG SET dirty.max-value-bytes 16mb",
            "CONFIG SET dirty.max-fields 10000",
            "CONFIG SET dirty.max-event-bytes 200",
            "CONFIG SET dirty.max-event-bytes 64mb",
        ];
        let native = self.one_in(3);
        // What clears everything is rare, or nothing would ever be there.
        if self.one_in(400) {
            let all = self.of(&["FLUSHALL", "FLUSHDB ASYNC"]);
            return self.fill(all);
        }
        let template = self.of(if native { NATIVE } else { DIRTY });
        let words = self.fill(template);
        let mut words = match self.below(10) {
            0 => self.mutated(words),
            1 if !native => {
                let mut words: Words = words[..1].to_vec();
                for _ in 0..self.below(8) {
                    let kinds = [WORDS, NUMBERS, FIELDS, VALUES, KEYS, STREAMS];
                    let kind = kinds[self.below(kinds.len())];
                    words.push(self.of(kind).into());
                }
                words
            }
            _ => words,
        };
        // This client has no time to wait for long.
        let block = words
            .iter()
            .position(|word| word.eq_ignore_ascii_case(b"BLOCK"));
        if let Some(ms) = block.and_then(|at| words.get_mut(at + 1)) {
            *ms = b"5".into();
        }
        words
    }

    /// With a word left out, doubled, changed or moved; never the command's own.
    fn mutated(&mut self, mut words: Words) -> Words {
        if words.len() < 3 {
            return words;
        }
        for _ in 0..1 + self.below(2) {
            let at = 1 + self.below(words.len() - 1);
            match self.below(5) {
                0 if words.len() > 2 => drop(words.remove(at)),
                1 => words.insert(at, words[at].clone()),
                2 => words[at] = self.of(WORDS).into(),
                3 => words[at] = self.number().into(),
                _ => {
                    let other = 1 + self.below(words.len() - 1);
                    words.swap(at, other);
                }
            }
        }
        words
    }
}

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

#[test]
fn whatever_clients_send_the_server_lives_and_its_copies_agree() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("SEQUENCES_SECONDS").unwrap_or(8);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("SEED").unwrap_or_else(|| time.expect("a time").as_nanos() as u64);
    println!("SEED={seed}");
    let mut random = Random(seed | 1);

    let mut server = Server::with(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    let replica = Server::replica_of(&server);
    let mut conns = [server.connect(), server.connect_resp3()];
    let reader = || Reader {
        conn: server.connect(),
        asked: None,
    };
    let mut readers: Vec<Reader> = (0..4).map(|_| reader()).collect();
    let (mut commands, mut errors) = (0u64, 0u64);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        commands += 1;
        match random.below(40) {
            0 => {
                // Some of it waits, for a moment.
                let which = random.below(readers.len());
                let reader = &mut readers[which];
                if let Some(asked) = reader.asked.take() {
                    let reply = reader.conn.receive();
                    match reply {
                        Ok(reply) => look_at(&reply, &asked),
                        Err(error) => panic!("nobody answers {asked}: {error}"),
                    }
                }
                let template = random.of(&[
                    "DIRTY.CONSUME $stream GROUP g d BLOCK $wait",
                    "DIRTY.CONSUME $stream GROUP g c CLAIM $ms BLOCK $wait $options",
                    "DIRTY.CONSUME $stream GROUP h c SINGLE $wait BLOCK $wait",
                    "DIRTY.CONSUME $stream CURSOR k LAG $ms BLOCK $wait",
                    "DIRTY.READ $stream FROM 0 BLOCK $wait WHERE OPS D",
                    "XREADGROUP GROUP g d BLOCK $wait STREAMS s >",
                ]);
                let command = random.fill(template);
                reader.conn.send(&command).expect("sent");
                reader.asked = Some(shown(&command));
            }
            1 => {
                // Gone while it waits.
                let which = random.below(readers.len());
                let mut gone = std::mem::replace(&mut readers[which], reader());
                if gone.asked.is_none() {
                    let words = random.fill("DIRTY.CONSUME $stream GROUP g e BLOCK 0");
                    let _ = gone.conn.send(&words);
                }
                if random.one_in(2) {
                    conns[0].run("CLIENT KILL TYPE normal SKIPME yes");
                    conns[1] = server.connect_resp3();
                    readers = (0..4).map(|_| reader()).collect();
                }
            }
            2 | 3 => {
                conns[0].run("MULTI");
                for _ in 0..random.below(5) {
                    let command = random.command();
                    if !command[0].starts_with(b"SELECT") {
                        conns[0].raw(&command);
                    }
                }
                let end = if random.one_in(6) { "DISCARD" } else { "EXEC" };
                look_at(&conns[0].value(&[end]), end);
            }
            4 => {
                let command = random.command();
                let mut script: Words = vec![
                    b"EVAL".into(),
                    b"return redis.pcall(unpack(ARGV))".into(),
                    b"0".into(),
                ];
                script.extend(command);
                look_at(&conns[0].value(&script), &shown(&script));
            }
            5 => {
                // What one dumped, another restores, perhaps damaged.
                let key = random.any_key();
                if let Value::BulkString(mut payload) = conns[0].value(&["DUMP", key]) {
                    let body = payload.len() - 8;
                    // Redis's own types are its own affair: damaged streams end it.
                    if payload[0] == MODULE_TYPE && random.one_in(2) {
                        let at = 1 + random.below(body - 3);
                        payload[at] = random.below(256) as u8;
                    }
                    let crc = super::data_type::crc64(&payload[..body]).to_le_bytes();
                    payload[body..].copy_from_slice(&crc);
                    let to = random.any_key().as_bytes();
                    let words: [&[u8]; 5] = [b"RESTORE", to, b"0", &payload, b"REPLACE"];
                    look_at(&conns[0].value(&words), "RESTORE");
                }
            }
            _ => {
                let command = random.command();
                let which = random.below(conns.len());
                let reply = conns[which].try_run(&command);
                let reply = reply.unwrap_or_else(|error| {
                    panic!("SEED={seed} {}: {error}\n{}", shown(&command), server.log())
                });
                errors += u64::from(matches!(reply, Value::ServerError(_)));
                look_at(&reply, &shown(&command));
            }
        }
    }
    println!("{commands} commands, {errors} errors");
    for reader in &mut readers {
        if reader.asked.take().is_some() {
            reader.conn.receive().expect("a reply to who waits");
        }
    }
    let log = server.log();
    assert!(
        !log.contains("panicked") && !log.contains("BUG REPORT"),
        "{log}"
    );
    // What has a moment to live is gone by then, everywhere.
    let settled = |redis: &mut Conn| {
        for database in ["0", "1"] {
            redis.ok(&["SELECT", database]);
            redis.ok(&["KEYS", "*"]);
        }
        redis.ok(&["SELECT", "0"]);
    };
    std::thread::sleep(Duration::from_millis(150));
    let mut redis = server.connect();
    settled(&mut redis);
    let digest = redis.digest();
    server.wait_for_replica(&replica);
    wait_until("the same digest", || replica.connect().digest() == digest);
    server.wait_for_line("INFO persistence", "aof_rewrite_in_progress:0");
    server.restart();
    assert_eq!(
        server.connect().digest(),
        digest,
        "SEED={seed} {}",
        server.log()
    );
    assert_eq!(redis_errors(&replica), 0);
}

/// Commands that the replica could not apply.
fn redis_errors(replica: &Server) -> u64 {
    let info = replica.connect().run("INFO stats");
    let line = info
        .split("\\r\\n")
        .find_map(|line| line.strip_prefix("unexpected_error_replies:"));
    line.expect("a number").parse().expect("a number")
}
