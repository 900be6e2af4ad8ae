//! Random commands, of words that mean something to the module and to Redis.

use redis::Value;
use std::collections::VecDeque;

const KEYS: &[&str] = &["user", "order", "row", "doc", "seen"];

const STREAMS: &[&str] = &["s", "t", "u", "s:dead", "s:readers"];

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

const GROUPS: &[&str] = &["g", "h", "o", "q", "m", "c", "k", "x", ""];

const TOKENS: &[&str] = &["k", "l", "", "\0"];

const WORDS: &[&str] = &[
    "NULL", "JSON", "MSGPACK", "GROUP", "CURSOR", "ACK", "BLOCK", "COUNT", "WHERE", "STREAM",
    "META", "SNAPSHOT", "DELETE", "ONCE", "DEFER", "FROM", "$", "0", "1-1", "-", "1", "5", "DEAD",
    "TAGS", "ORDER", "FORCE", "ALL", "IDS", "ENTITY", "ON", "PARK", "JSON", "LOAD", "RUN", "BEGIN",
    "SWEEP", "DRYRUN",
];

/// Templates of commands: `Random::fill` fills them.
const DIRTY: &[&str] = &[
    "DIRTY.DECLARE user TYPES 2 n int j json STREAM s FIELDS 1 a STREAM t PAYLOAD FULL MAXLEN 20",
    "DIRTY.DECLARE order VERSION v TOMBSTONE $later SOFTDELETE gone STREAM s PAYLOAD IMAGES",
    "DIRTY.DECLARE row STATELESS STREAM t FORMAT DEBEZIUM STREAM u DB 1",
    "DIRTY.DECLARE doc STREAM u FORMAT FLUXAORM2 STREAM v FORMAT FLUXAORM1 MAXLEN 10 ONFULL REFUSE",
    "DIRTY.DECLARE seen PREFIX user: STREAM s MAXLEN ~ 10 ONFULL KEEP MAXAGE 50",
    "DIRTY.DECLARE $any STREAM $any FORMAT $value PREFIX $any",
    "DIRTY.DECLARE $any TAGS 2 ID dirty=A:add,B $field dirty=C STREAM dirty_A PAYLOAD KEYS",
    "DIRTY.FLUSH $key $ops",
    "DIRTY.FLUSH $key FORCE $ops",
    "DIRTY.FLUSH $key DRYRUN WITHEVENTS $ops",
    "DIRTY.FLUSH $key $ops",
    "DIRTY.FLUSH $key $ops",
    "DIRTY.FLUSH $key $ops",
    "DIRTY.FLUSH $key WITHEVENTS META 1 $field $value $ops",
    "DIRTY.FLUSH $key ONCE $token $later $ops",
    "DIRTY.FLUSH $key DEFER $token $ops",
    "DIRTY.FLUSH $key DEFER $token $ops",
    "DIRTY.FLUSH $any $ops",
    "DIRTY.COMMIT $key $token $token",
    "DIRTY.COMMIT $key $token",
    "DIRTY.ABORT $key $token",
    "DIRTY.DEFERRED $key MINAGE $n",
    "DIRTY.GET $key $id $id",
    "DIRTY.GET $any $id",
    "DIRTY.SCAN $key 0 COUNT $n",
    "DIRTY.SCAN $any $scan JSON",
    "DIRTY.SCAN $key $scan COUNT 1 RAW",
    "DIRTY.RECONCILE $key BEGIN $token",
    "DIRTY.RECONCILE $key BEGIN k",
    "DIRTY.FLUSH $key RUN $token $ops",
    "DIRTY.FLUSH $key RUN k SNAPSHOT 1 $fields SNAPSHOT $id $fields",
    "DIRTY.FLUSH $key RUN k FORCE WITHEVENTS SNAPSHOT $id $fields",
    "DIRTY.RECONCILE $key SWEEP k MAXDELETE 100%",
    "DIRTY.RECONCILE $key SWEEP $token MAXDELETE $n COUNT $n",
    "DIRTY.RECONCILE $key SWEEP k DRYRUN MAXDELETE 100%",
    "DIRTY.RECONCILE $any STATUS $token",
    "DIRTY.RECONCILE $key ABORT $token",
    "DIRTY.INFO $any",
    "DIRTY.READER $stream GROUP g FROM $start CLAIM $ms MAXDELIVERIES 2",
    "DIRTY.READER $stream GROUP o FROM $start ORDER ENTITY ONDEAD PARK CLAIM $ms",
    "DIRTY.READER $stream GROUP q FROM $start ORDER STREAM CLAIM $ms MAXDELIVERIES 2",
    "DIRTY.READER $stream GROUP m FROM $start ORDER META $field CLAIM $ms ONDEAD PARK",
    "DIRTY.READER $stream GROUP h FROM $start $settings",
    "DIRTY.READER $stream GROUP $group FROM $start $settings $settings",
    "DIRTY.READER $stream CURSOR k FROM $start",
    "DIRTY.READER $stream CURSOR x FROM SNAPSHOT 2 $key $key SHARD 1 2",
    "DIRTY.READER $stream CURSOR $group FROM SNAPSHOT 1 $key $settings",
    "DIRTY.READER t CURSOR k FROM SNAPSHOT 1 user",
    "DIRTY.READER $stream CURSOR $group FROM $start SHARD 0 2 $settings",
    "DIRTY.READER $stream GROUP $group FROM GROUP $group $settings",
    "DIRTY.READER $any GROUP $group $settings",
    "DIRTY.CONSUME $stream GROUP $group $group $options",
    "DIRTY.CONSUME $stream GROUP g c $options",
    "DIRTY.CONSUME s GROUP g c $options",
    "DIRTY.CONSUME s GROUP o $group $options",
    "DIRTY.CONSUME $stream GROUP q c $options",
    "DIRTY.CONSUME $stream GROUP m c $options",
    "DIRTY.CONSUME $stream CURSOR x ACK $position $options",
    "DIRTY.CONSUME $stream CURSOR $group $options",
    "DIRTY.CONSUME $any CURSOR k $options",
    "DIRTY.READ $stream FROM $start $options",
    "DIRTY.READ $any FROM $event MINAGE $ms SHARD 1 2",
    "DIRTY.ACK $stream GROUP $group c $event",
    "DIRTY.ACK $stream GROUP $group c FORCE $event $event",
    "DIRTY.ACK $stream CURSOR $group $position",
    "DIRTY.HOLD $stream GROUP $group c",
    "DIRTY.HOLD $stream GROUP $group c $event",
    "DIRTY.SEEK $stream GROUP $group $start",
    "DIRTY.SEEK $stream CURSOR $group $start",
    "DIRTY.SEEK $stream CURSOR $group SNAPSHOT 1 $any",
    "DIRTY.SEEK t CURSOR k SNAPSHOT 1 user",
    "DIRTY.SEEK s CURSOR k SNAPSHOT 2 order doc",
    "DIRTY.CONSUME t CURSOR k ACK $position $options",
    "DIRTY.FAIL $stream GROUP $group c $value $event",
    "DIRTY.FAIL $stream GROUP $group c $value FORCE DELAY $ms $event $event",
    "DIRTY.FAIL s GROUP $group c $value FORCE FATAL $event $event $event",
    "DIRTY.FAIL $stream CURSOR $group $value $event",
    "DIRTY.LEAVE $stream GROUP $group c",
    "DIRTY.PENDING $stream GROUP $group COUNT $n",
    "DIRTY.PENDING $stream GROUP $group CONSUMER c AFTER $event",
    "DIRTY.PAUSE $stream GROUP $group ON",
    "DIRTY.PAUSE $stream GROUP $group OFF",
    "DIRTY.REDRIVE $stream GROUP $group ALL",
    "DIRTY.REDRIVE $stream GROUP $group ENTITY $key $id",
    "DIRTY.REDRIVE $stream GROUP $group IDS 2 $event $event",
    "DIRTY.DISCARD $stream GROUP $group ALL",
    "DIRTY.DISCARD $stream CURSOR $group IDS 1 $event",
    "DIRTY.REDRIVE $stream GROUP m KEY $value",
    "DIRTY.DISCARD $stream GROUP h KEY $value",
    "DIRTY.DISCARD $stream GROUP o ENTITY $key $id",
    "DIRTY.FAIL $stream GROUP $group c $value DELAY $ms FORCE $event",
    "DIRTY.SEEK $stream GROUP $group $event",
    "DIRTY.SEEK $stream CURSOR $group $position",
    "DIRTY.FLUSH $key ACK $stream GROUP $group c 1 $event $ops",
    "DIRTY.FORGET $stream GROUP $group",
    "DIRTY.FORGET $stream CURSOR $group",
    "DIRTY._DELTA $any $value",
    "DIRTY._DELTA $stream LOAD $value",
    "DIRTY.STATS $any",
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

pub type Words = Vec<Vec<u8>>;

/// Numbers as random as need be, and what replies have told.
pub struct Random {
    state: u64,
    /// Ids of entries.
    ids: VecDeque<Vec<u8>>,
    /// Positions of cursors.
    positions: VecDeque<Vec<u8>>,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random {
            state: seed | 1,
            ids: VecDeque::new(),
            positions: VecDeque::new(),
        }
    }

    pub fn below(&mut self, n: usize) -> usize {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545F4914F6CDD1D) >> 33) as usize % n
    }

    /// Keeps ids and positions of a reply: later commands name them.
    pub fn learn(&mut self, reply: &Value) {
        match reply {
            Value::Array(items) | Value::Set(items) => {
                items.iter().take(40).for_each(|item| self.learn(item));
            }
            Value::Map(pairs) => pairs.iter().for_each(|(_, value)| self.learn(value)),
            Value::BulkString(text) if text.len() < 100 => {
                let mut parts = text.split(|byte| *byte == b'/');
                let id = parts.next().unwrap_or_default();
                let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
                let is_id = id.contains(&b'-') && id[0] != b'-' && id.iter().all(is_digit);
                let kept = match parts.next() {
                    None => &mut self.ids,
                    Some(_) => &mut self.positions,
                };
                if is_id {
                    kept.push_back(text.clone());
                    kept.drain(..kept.len().saturating_sub(30));
                }
            }
            _ => {}
        }
    }

    /// One that a reply told, mostly.
    fn told(&mut self, of: fn(&Random) -> &VecDeque<Vec<u8>>) -> Option<Vec<u8>> {
        let most = of(self).len();
        match most == 0 || self.one_in(4) {
            true => None,
            false => {
                let at = self.below(most);
                of(self).get(at).cloned()
            }
        }
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// One that is short and mostly one of the first.
    pub fn number(&mut self) -> &'static str {
        let most = if self.one_in(8) { NUMBERS.len() } else { 7 };
        NUMBERS[self.below(most)]
    }

    /// A template: a space between words, `$x` something of a kind.
    pub fn fill(&mut self, template: &str) -> Words {
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
                "$event" => match self.told(|random| &random.ids) {
                    Some(id) => id,
                    None => {
                        format!("{}-{}", self.of(&["0", "1", "5"]), self.below(40)).into_bytes()
                    }
                },
                "$position" => match self.told(|random| &random.positions) {
                    Some(position) => position,
                    None => self.position().into_bytes(),
                },
                "$scan" => format!("{}-{}", self.number(), self.number()).into_bytes(),
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
                "$settings" => {
                    let settings = self.settings();
                    words.extend(settings);
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

    /// A third of them as of a cursor in its snapshot phase.
    fn position(&mut self) -> String {
        let place = format!("0-{}/{}", self.below(40), self.number());
        if !self.one_in(3) {
            return place;
        }
        let (key, scanned, at) = (self.below(3), self.number(), self.number());
        let end = self.of(&["", "-1", "-0", "-x"]);
        format!("{place}/{}.{key}.{scanned}.{at}{end}", self.number())
    }

    pub fn any_key(&mut self) -> &'static str {
        let kinds = [KEYS, STREAMS, OTHERS];
        let kind = kinds[self.below(3)];
        self.of(kind)
    }

    pub fn fields(&mut self) -> Words {
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

    pub fn operation(&mut self) -> Words {
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

    pub fn options(&mut self) -> Words {
        self.some_of(&[
            "ACK 1 $event",
            "ACK $position",
            "ACK 2 $event $event",
            "PENDING",
            "COUNT $n",
            "BLOCK $wait",
            "RAW",
            "JSON",
            "WHERE OPS IU",
        ])
    }

    /// Of a reader.
    pub fn settings(&mut self) -> Words {
        self.some_of(&[
            "CLAIM $ms",
            "MAXDELIVERIES $n",
            "MAXPENDING $n",
            "DEAD $any",
            "DEAD t",
            "ORDER STREAM",
            "ORDER ENTITY",
            "ORDER META $field",
            "ONDEAD PARK",
            "ORDER NONE",
            "ONDEAD SKIP",
            "MINAGE $ms",
            "SHARD 0 2",
            "REVISION $n",
            "WHERE FIELDS 1 $field META $field $value",
            "WHERE ENTITY $key ID 1 $id OPS IU",
        ])
    }

    fn some_of(&mut self, templates: &[&str]) -> Words {
        let mut words = Vec::new();
        for _ in 0..self.below(4) {
            let template = self.of(templates);
            words.extend(self.fill(template));
        }
        words
    }

    pub fn command(&mut self) -> Words {
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
    pub fn mutated(&mut self, mut words: Words) -> Words {
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
