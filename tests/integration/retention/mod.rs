//! What MAXAGE, MAXLEN and ONFULL leave of a stream, whoever has read how much of it.

mod tables;

use super::support::entries::entries;
use super::support::replication::{AOF, appended};
use super::support::{Conn, Server, cases, text, words};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tables::TABLES;

/// With nodes of 7 entries; a replica keeps its 100.
const SMALL_NODES: [&str; 4] = ["--stream-node-max-entries", "7", "--databases", "300"];

#[test]
fn a_stream_keeps_what_its_options_say_and_so_do_its_replica_and_its_files() {
    keeps_what_its_options_say(|database| database);
}

#[test]
fn a_stream_of_another_database_keeps_what_its_options_say() {
    keeps_what_its_options_say(|database| database + 100);
}

/// The database of the stream, by that of the declaration.
fn keeps_what_its_options_say(of_stream: fn(usize) -> usize) {
    let options = [SMALL_NODES.as_slice(), AOF.as_slice()].concat();
    let mut server = Server::with(&options);
    let replica = Server::with(&["--databases", "300"]);
    let port = server.port.to_string();
    replica.connect().ok(&["REPLICAOF", "127.0.0.1", &port]);
    replica.wait_for_line("INFO replication", "master_link_status:up");
    for (index, (options, lines)) in TABLES.iter().enumerate() {
        let mut case = Case::new(&server, index, of_stream(index), options);
        for (command, expected) in cases(lines) {
            case.run(&command, &expected);
        }
    }
    server.wait_for_replica(&replica);
    let digest = server.connect().digest();
    assert_eq!(replica.connect().digest(), digest);
    server.connect().ok(&["DEBUG", "RELOAD"]);
    assert_eq!(server.connect().digest(), digest, "from RDB");
    server.restart();
    assert_eq!(server.connect().digest(), digest, "from AOF");
}

/// The server trims a hundred nodes at a time when it trims whole nodes.
#[test]
fn one_command_that_adds_hundreds_of_nodes_leaves_what_is_to_stay() {
    let server = Server::with(&["--stream-node-max-entries", "1"]);
    let replica = Server::replica_of(&server);
    let mut redis = server.connect();
    redis.expect("DIRTY.DECLARE user STREAM s MAXLEN ~ 5 => OK");
    redis.expect("DIRTY.FLUSH user SEED 1 0 => [seed]");
    redis.run(&format!("DIRTY.FLUSH user{}", " TOUCH 1".repeat(350)));
    redis.expect("XLEN s => (5)");
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
}

/// Streams that have no room: a group has read none of their entries.
const FULL_STREAMS: &str = r#"
DIRTY.DECLARE user STREAM before PAYLOAD KEYS STREAM s OPS ID MAXLEN 2 ONFULL REFUSE
  STREAM after MAXLEN 1 STREAM new OPS D => OK
DIRTY.DECLARE far STREAM s DB 3 MAXLEN 1 ONFULL REFUSE STREAM t\xff\x0a MAXLEN 1 ONFULL REFUSE => OK
DIRTY.DECLARE both STREAM a MAXLEN 1 ONFULL REFUSE STREAM b MAXLEN 2 ONFULL REFUSE => OK
XGROUP CREATE s g 0 MKSTREAM => OK
XGROUP CREATE a g 0 MKSTREAM => OK
XGROUP CREATE b g 0 MKSTREAM => OK
XGROUP CREATE t\xff\x0a g $ MKSTREAM => OK
SELECT 3 => OK
XGROUP CREATE s g 0 MKSTREAM => OK
SELECT 0 => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a x => [insert]
DIRTY.FLUSH both SNAPSHOT 1 1 a x => [insert]
"#;

/// All that a refused flush could have changed.
fn all(redis: &mut Conn) -> Vec<String> {
    let streams = ["before", "s", "after", "a", "b"];
    let mut all = vec![
        redis.digest(),
        redis.replicated(),
        redis.run("INFO keyspace"),
    ];
    all.extend(streams.map(|stream| redis.run(&format!("XINFO STREAM {stream} FULL"))));
    all
}

fn full(stream: &str, events: usize, most: usize) -> String {
    format!(
        "FULL the stream {stream} cannot take {events} more: at most {most} entries may wait until every reader has \
         acknowledged them; the native group \"g\" is furthest behind"
    )
}

/// The exact words, and that a refused command leaves everything as it was: in its own stream, in others,
/// in databases that had nothing yet.
#[test]
fn a_flush_for_which_a_stream_has_no_room_is_refused_as_a_whole() {
    // A primary's own pings move the offset, too.
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let replica = Server::replica_of(&server);
    let mut redis = server.connect();
    redis.expect(FULL_STREAMS);
    server.wait_for_replica(&replica);
    let before = all(&mut redis);
    for (command, reply) in [
        // The first two fit, all three do not.
        (
            "DIRTY.FLUSH user DELETE 1 SNAPSHOT 2 0 SNAPSHOT 3 0",
            full("\"s\"", 3, 2),
        ),
        (
            "DIRTY.FLUSH user SNAPSHOT 1 1 a y DELETE 1 INSERT 1 0",
            full("\"s\"", 2, 2),
        ),
        // Of two streams the one is full, the other not, and the other way round.
        ("DIRTY.FLUSH both SNAPSHOT 1 1 a y", full("\"a\"", 1, 1)),
        (
            "DIRTY.FLUSH far SNAPSHOT 1 0 SNAPSHOT 2 0",
            full("\"s\" of database 3", 2, 1),
        ),
    ] {
        assert_eq!(redis.run(command), reply, "{command}");
        assert_eq!(all(&mut redis), before, "{command}");
    }
    // So it is in a transaction, whose other commands count.
    for command in [
        "MULTI",
        "DIRTY.FLUSH both TOUCH 1",
        "DIRTY.FLUSH both DELETE 2",
    ] {
        redis.run(command);
    }
    let exec = format!("[{} [none]]", full("\"a\"", 1, 1));
    assert_eq!(redis.run("EXEC"), exec);
    assert_eq!(all(&mut redis), before);
    // Where there is room, the same commands do what they say.
    redis.expect(
        r#"
XGROUP DESTROY s g => (1)
XGROUP DESTROY a g => (1)
DIRTY.FLUSH user DELETE 1 SNAPSHOT 2 0 SNAPSHOT 3 0 => [delete insert insert]
DIRTY.FLUSH both SNAPSHOT 1 1 a y => [update]
XLEN s => (2)
XLEN a => (1)
XLEN b => (2)
DIRTY.FLUSH far SNAPSHOT 1 0 => [insert]
"#,
    );
    let reply = redis.run("DIRTY.FLUSH both TOUCH 1");
    assert_eq!(reply, full("\"b\"", 1, 2));
    redis.run("SELECT 3");
    redis.run("XGROUP DESTROY s g");
    redis.run("SELECT 0");
    let reply = redis.run("DIRTY.FLUSH far TOUCH 1");
    assert_eq!(reply, full("\"t\\xff\\n\"", 1, 1));
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
}

/// Lines `command -> what it replicates => what listeners are told`; OLD is a time longer ago than MAXAGE.
const GONE: &str = r"
XADD s OLD-1 a b -> XADD s ms-1 a b => xadd
XADD s OLD-2 a b -> XADD s ms-2 a b => xadd
XGROUP CREATE s g 0 -> XGROUP CREATE s g 0 => xgroup-create
# Too old and too many, but nobody has read them.
DIRTY.FLUSH user TOUCH 1 -> XADD s ms-3 s BYTES => xadd
XGROUP SETID s g OLD-1 -> XGROUP SETID s g ms-1 => xgroup-setid
# One of them was read; the next one is where age must stop.
DIRTY.FLUSH user TOUCH 1 -> MULTI | XADD s ms-4 s BYTES | XTRIM s MINID = ms-2 | EXEC => xadd xtrim
XGROUP DESTROY s g -> XGROUP DESTROY s g => xgroup-destroy
# Another is too old, and then there is still one too many.
DIRTY.FLUSH user TOUCH 1 TOUCH 1 -> MULTI | XADD s ms-5 s BYTES | XADD s ms-6 s BYTES
  | XTRIM s MINID = ms-0 | XTRIM s MAXLEN = 2 | EXEC => xadd xadd xtrim xtrim
DIRTY.FLUSH user TOUCH 1 -> MULTI | XADD s ms-7 s BYTES | XTRIM s MAXLEN = 2 | EXEC => xadd xtrim
DEL s -> DEL s => del
XADD s OLD-8 a b -> XADD s ms-8 a b => xadd
DIRTY.FLUSH user TOUCH 1 -> MULTI | XADD s ms-9 s BYTES | XTRIM s MINID = ms-0 | EXEC => xadd xtrim
# Neither too old nor too many.
DIRTY.FLUSH user TOUCH 1 -> XADD s ms-10 s BYTES => xadd
";

/// The events of the key `s` that were told, up to a message on the channel `done`.
fn told(heard: &mut Conn) -> String {
    let mut told = Vec::new();
    loop {
        let message = text(&heard.receive().expect("a message"));
        if message == "[message done x]" {
            return told.join(" ");
        }
        let notice = message.strip_prefix("[pmessage __keyevent@* __keyevent@0__:");
        let notice = notice.and_then(|notice| notice.strip_suffix(" s]"));
        told.push(notice.unwrap_or_else(|| panic!("{message}")).to_string());
    }
}

#[test]
fn what_goes_is_replicated_and_told_and_nothing_else_is() {
    let options = [AOF.as_slice(), &["--notify-keyspace-events", "KEA"]].concat();
    let server = Server::with(&options);
    let (mut redis, mut heard) = (server.connect(), server.connect());
    redis.run("DIRTY.DECLARE user STREAM s MAXAGE 600000 MAXLEN 2 ONFULL KEEP PAYLOAD KEYS");
    redis.run("DIRTY.FLUSH user SEED 1 0");
    heard.ok(&["PSUBSCRIBE", "__keyevent@*"]);
    heard.ok(&["SUBSCRIBE", "done"]);
    let old = now_ms() - 600_001;
    let (_, mut start) = appended(&server, 0);
    for (line, notices) in cases(GONE) {
        let (command, effects) = line.split_once(" -> ").expect("effects");
        let command = command.replace("OLD", &old.to_string());
        redis.run(&command);
        let (commands, end) = appended(&server, start);
        assert_eq!(commands.join(" | "), effects, "{command}");
        start = end;
        redis.ok(&["PUBLISH", "done", "x"]);
        assert_eq!(told(&mut heard), notices, "{command}");
    }
}

#[test]
fn age_is_told_to_the_millisecond() {
    let (_server, mut redis) = started("STREAM s MAXAGE 600000");
    // One entry for each ms from a second before what may be kept now to ten after it.
    let script =
        "for i = 0, 11000 do redis.call('XADD', KEYS[1], (ARGV[1] + i) .. '-1', 'a', 'b') end";
    let first = (now_ms() - 601_000).to_string();
    redis.ok(&["EVAL", script, "1", "s", &first]);
    redis.expect("DIRTY.FLUSH user TOUCH 1 => [touch]");
    let left = entries(&mut redis, "s");
    let ms = |(id, _): &(String, Vec<u8>)| -> u64 {
        let ms = id.split_once('-').expect("an id").0;
        ms.parse().expect("ms")
    };
    let (first, last) = (left.first().map(ms), left.last().map(ms));
    assert_eq!(first, last.map(|now| now - 600_000));
}

/// The entries that a group keeps, and the flushes that are refused for them, may be many: neither is
/// looked at one by one, each time.
#[test]
fn a_backlog_costs_nothing() {
    const MANY: usize = 200_000;
    let (_server, mut redis) = started("STREAM s MAXLEN 3 ONFULL KEEP");
    let script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], i .. '-1', 'a', 'b') end";
    redis.ok(&["EVAL", script, "1", "s", &MANY.to_string()]);
    redis.run("XGROUP CREATE s g 0");
    let mut thousand = |declared: &str, position: usize, reply: &str| {
        redis.run(&format!("DIRTY.DECLARE user STREAM s {declared}"));
        redis.run(&format!("XGROUP SETID s g {position}-1"));
        let start = Instant::now();
        for _ in 0..1000 {
            let got = redis.run("DIRTY.FLUSH user TOUCH 1");
            assert!(got.starts_with(reply), "{declared} {position}: {got}");
        }
        let time = start.elapsed();
        assert!(
            time < Duration::from_secs(4),
            "{declared} {position}: {time:?}"
        );
        redis.run("XLEN s")
    };
    for position in [0, MANY / 2, MANY - 3] {
        let left = thousand("MAXLEN 3 ONFULL REFUSE", position, "FULL");
        assert_eq!(left, format!("({MANY})"));
    }
    let left = thousand("MAXLEN 3 ONFULL KEEP", 0, "[touch]");
    assert_eq!(left, format!("({})", MANY + 1000));
    assert_eq!(thousand("MAXLEN 3 ONFULL KEEP", MANY, "[touch]"), "(2000)");
}

/// The declaration lends its streams: who flushes needs no right to look at their groups.
#[test]
fn who_may_only_flush_has_the_stream_trimmed_and_is_refused_like_anybody() {
    let (server, mut redis) =
        started("STREAM s MAXLEN 2 ONFULL KEEP STREAM r MAXLEN 2 ONFULL REFUSE");
    redis.ok(&["ACL", "SETUSER", "app", "on", ">p", "~user", "+dirty.flush"]);
    redis.run("XGROUP CREATE s g 0 MKSTREAM");
    let mut app = server.connect();
    app.expect(
        r#"
AUTH app p => OK
DIRTY.FLUSH user TOUCH 1 TOUCH 1 TOUCH 1 => [touch touch touch]
"#,
    );
    redis.expect(
        r#"
XGROUP SETID s g $ => OK
XGROUP CREATE r g 0 => OK
XLEN s => (3)
XLEN r => (2)
"#,
    );
    let refused = app.run("DIRTY.FLUSH user TOUCH 1");
    assert!(refused.starts_with("FULL"), "{refused}");
    redis.expect("XGROUP DESTROY r g => (1)");
    app.expect("DIRTY.FLUSH user TOUCH 1 => [touch]");
    redis.expect("XLEN s => (2)");
}

#[test]
fn in_a_cluster_a_stream_is_kept_and_refused_as_elsewhere() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let mut redis = server.connect();
    redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    redis.expect(
        r#"
DIRTY.DECLARE user{7} STREAM s{7} MAXLEN 2 ONFULL KEEP STREAM r{7} OPS D MAXLEN 1 ONFULL REFUSE => OK
XGROUP CREATE s{7} g 0 MKSTREAM => OK
XGROUP CREATE r{7} g 0 MKSTREAM => OK
DIRTY.FLUSH user{7} SNAPSHOT 1 0 TOUCH 1 TOUCH 1 => [insert touch touch]
XLEN s{7} => (3)
XGROUP SETID s{7} g $ => OK
DIRTY.FLUSH user{7} DELETE 1 SNAPSHOT 1 0 => [delete insert]
XLEN s{7} => (2)
DIRTY.FLUSH user{7} DELETE 1
  => FULL the stream "r{7}" cannot take 1 more: at most 1 entries may wait until every reader has acknowledged them; the native group "g" is furthest behind
XGROUP DESTROY r{7} g => (1)
DIRTY.FLUSH user{7} DELETE 1 => [delete]
"#,
    );
}

/// The one that holds the stream back, among several of each kind.
#[test]
fn a_refusal_names_the_reader_that_is_furthest_behind() {
    let (_server, mut redis) = started("STREAM s MAXLEN 1 ONFULL REFUSE");
    redis.expect(
        "
DIRTY.READER s GROUP b FROM 0 => OK
DIRTY.READER s GROUP a FROM 0 => OK
DIRTY.READER s CURSOR c FROM 0 => OK
XGROUP CREATE s n 0 MKSTREAM => OK
DIRTY.FLUSH user INSERT 8 0 => [insert]
",
    );
    let id = redis.run("XINFO STREAM s");
    let id = id.split("last-generated-id ").nth(1).expect("an id");
    let id = id.split([' ', ']']).next().expect("an id").to_string();
    for (behind, moves) in [
        ("group \"a\"", "DIRTY.CONSUME s GROUP a w".to_string()),
        // What is held is not done.
        ("group \"a\"", format!("DIRTY.ACK s GROUP a w {id}")),
        ("group \"b\"", "DIRTY.SEEK s GROUP b $".to_string()),
        ("cursor \"c\"", "DIRTY.FORGET s CURSOR c".to_string()),
        (
            "native group \"n\"",
            "XREADGROUP GROUP n w STREAMS s >".to_string(),
        ),
        ("native group \"n\"", format!("XACK s n {id}")),
    ] {
        let refused = redis.run("DIRTY.FLUSH user INSERT 9 0");
        let named = format!("acknowledged them; the {behind} is furthest behind");
        assert!(refused.ends_with(&named), "{moves}: {refused}");
        redis.run(&moves);
    }
    assert_eq!(redis.run("DIRTY.FLUSH user INSERT 9 0"), "[insert]");
}

fn started(declared: &str) -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    assert_eq!(redis.run(&format!("DIRTY.DECLARE user {declared}")), "OK");
    redis.run("DIRTY.FLUSH user SEED 1 0");
    (server, redis)
}

struct Case {
    options: String,
    /// Where the declaration is, and where its stream.
    here: Conn,
    there: Conn,
    database: usize,
    now_ms: u64,
    /// By seq.
    ids: HashMap<usize, String>,
}

impl Case {
    fn new(server: &Server, here: usize, there: usize, options: &str) -> Case {
        let mut case = Case {
            options: options.into(),
            here: server.connect(),
            there: server.connect(),
            database: there,
            now_ms: now_ms(),
            ids: HashMap::new(),
        };
        case.here.ok(&["SELECT", &here.to_string()]);
        case.there.ok(&["SELECT", &there.to_string()]);
        let declare = format!("DIRTY.DECLARE user STREAM s {options} DB {there}");
        assert_eq!(case.here.run(&declare), "OK");
        case.here.expect("DIRTY.FLUSH user SEED 1 0 => [seed]");
        case
    }

    fn run(&mut self, command: &str, expected: &str) {
        let before = self.state();
        let reply = match command.strip_prefix('+') {
            Some(events) => {
                let events: usize = events.parse().expect("a number");
                let touches = "TOUCH 1 ".repeat(events);
                let reply = self.here.run(&format!("DIRTY.FLUSH user {touches}"));
                let code = reply.split(' ').next().unwrap_or_default();
                match code.starts_with("[touch") {
                    true => "ok".into(),
                    false => code.to_string(),
                }
            }
            None => {
                let words: Vec<Vec<u8>> = words(command);
                let mut words: Vec<Vec<u8>> = words.into_iter().map(|w| self.word(w)).collect();
                if let Some((_, cursor)) = command.split_once("DIRTY.ACK s CURSOR ") {
                    let epoch = self.epoch(cursor.split(' ').next().expect("a name"));
                    let position = words.last_mut().expect("a position");
                    position.extend(format!("/{epoch}").into_bytes());
                }
                if command.starts_with("DIRTY.DECLARE") {
                    words.push(self.database.to_string().into_bytes());
                }
                let here = ["DIRTY.FLUSH", "DIRTY.DECLARE", "EVAL"];
                match here.iter().any(|start| command.starts_with(start)) {
                    true => self.here.raw(&words),
                    false => self.there.raw(&words),
                }
            }
        };
        let case = format!("{}: {command}: {reply}", self.options);
        let (wanted, left) = expected
            .split_once(" | ")
            .expect("a reply and what is left");
        match wanted {
            "*" => assert!(!reply.starts_with("ERR"), "{case}"),
            wanted => assert_eq!(reply, wanted, "{case}"),
        }
        if wanted == "FULL" {
            assert_eq!(self.state(), before, "{case}");
        }
        assert_eq!(self.left(), left, "{case}");
    }

    /// That of a cursor, which is in its positions.
    fn epoch(&mut self, cursor: &str) -> String {
        let stats = self.there.run("DIRTY.STATS s");
        let (_, of_it) = stats
            .split_once(&format!("name {cursor} kind cursor "))
            .expect("a cursor");
        let (_, position) = of_it.split_once(" position ").expect("its position");
        let (_, epoch) = position.split_once('/').expect("its epoch");
        epoch.split(' ').next().unwrap_or_default().into()
    }

    /// `#n`, `old` and `young` as they are meant.
    fn word(&self, word: Vec<u8>) -> Vec<u8> {
        let Ok(text) = String::from_utf8(word.clone()) else {
            return word;
        };
        if let Some(seq) = text.strip_prefix('#') {
            return self.ids[&seq.parse().expect("a seq")].clone().into_bytes();
        }
        for (name, age_ms) in [("old", 600_001), ("young", 570_000)] {
            if let Some(seq) = text.strip_prefix(name) {
                return format!("{}{seq}", self.now_ms - age_ms).into_bytes();
            }
        }
        word
    }

    /// The seqs of the entries there are, `1..4` from 1 to 4, `-` if there are none.
    fn left(&mut self) -> String {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (id, _) in entries(&mut self.there, "s") {
            let seq = id.split_once('-').expect("an id").1;
            let seq: usize = seq.parse().expect("a seq");
            self.ids.insert(seq, id);
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => runs.push((seq, seq)),
            }
        }
        let runs = runs.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}..{last}"),
        });
        match runs.collect::<Vec<_>>().join(" ") {
            none if none.is_empty() => "-".into(),
            runs => runs,
        }
    }

    fn state(&mut self) -> [String; 3] {
        let (here, there) = (&mut self.here, &mut self.there);
        [
            here.digest(),
            here.run("DBSIZE"),
            there.run("XINFO STREAM s FULL COUNT 0"),
        ]
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.expect("a time").as_millis()).expect("ms")
}
