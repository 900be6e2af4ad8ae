//! Files of other versions of the module: those of every earlier encoding load, and mean what they meant; one
//! of a later encoding is refused with a word in the log.
//!
//! `tests/vectors/encoding-1.rdb` was saved by version 0.1.0 on Redis 7.0.15, and `encoding-1.txt` has what it
//! answered then. Neither is ever written again: whoever makes encoding 2 adds files of that.

use super::support::dumps::{crc64, dump};
use super::support::entities::HARD_ONES;
use super::support::{Conn, Server, cases, module, output_of_one_that_ends, server};
use std::path::{Path, PathBuf};

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

/// A server that has loaded this file.
fn loaded(rdb: &[u8]) -> Server {
    let mut server = Server::start();
    server.kill();
    std::fs::write(server.dir.path().join("dump.rdb"), rdb).expect("a file");
    server.start_again();
    server
}

#[test]
fn a_file_of_encoding_1_loads_and_means_what_it_meant() {
    let rdb = std::fs::read(vector("encoding-1.rdb")).expect("the file");
    let server = loaded(&rdb);
    let mut redis = server.connect();
    let answers = std::fs::read_to_string(vector("encoding-1.txt")).expect("the answers");
    let answers = cases(&answers);
    assert!(answers.len() > 30);
    for (question, answer) in answers {
        assert_eq!(redis.run(&question), answer, "{question}");
    }
    assert!(!server.log().contains("dirty:"), "{}", server.log());
}

/// Everything that the module stores, in keys that live for ever.
const STORED: &str = r"
DIRTY.DECLARE order NAME orders PREFIX o: VERSION rev TOMBSTONE 9007199254740992 SOFTDELETE hidden
  TYPES 7 a string b int c uint d float e bool f time g json
  REVISION 3 STREAM order-changes OPS ID FIELDS 2 a b MAXLEN = 1000 ONFULL KEEP MAXAGE 9007199254740992 PAYLOAD FULL
  STREAM order-images MAXLEN ~ 1000 ONFULL REFUSE PAYLOAD IMAGES DB 3 STREAM order-keys PAYLOAD KEYS
  STREAM order-debezium FORMAT DEBEZIUM => OK
DIRTY.DECLARE stateless STATELESS STREAM stateless-changes => OK
DIRTY.DECLARE fluxa TAGS 2 ID dirtyStream=Flux/p/IUD Age dirty=Age POOL p 2
  STREAM fluxa-1 FORMAT FLUXAORM1 STREAM fluxa-2 FORMAT FLUXAORM2 => OK
DIRTY.FLUSH order META 1 actor admin SNAPSHOT 1 8 rev 1 a \x00\xff b -1 c 18446744073709551615 d 1.50 e true
  f 2026-01-02T04:04:05+01:00 g {} => [insert]
DIRTY.FLUSH order SNAPSHOT empty 1 rev 1 SNAPSHOT gone 1 rev 7 DELETE gone => [insert insert delete]
DIRTY.FLUSH order UPDATE 1 2 rev 2 b 5 UPDATE empty 2 rev 2 hidden 1 => [update delete]
DIRTY.FLUSH order ONCE once 9007199254740992 SNAPSHOT 2 1 rev 1 => [insert]
DIRTY.FLUSH order DEFER waiting UPDATE 1 2 rev 3 b 6 => [deferred]
DIRTY.FLUSH stateless ONCE once 9007199254740992 INSERT 1 1 a b UPDATE 1 1 a b c => [insert update]
DIRTY.FLUSH fluxa SNAPSHOT 7 2 Age 5 Name x SNAPSHOT 7 2 Age 6 Name x => [insert update]
DIRTY.READER order-changes GROUP g FROM 0 CLAIM 9007199254740992 MAXDELIVERIES 3 => OK
DIRTY.READER order-changes GROUP other FROM 0 ORDER STREAM CLAIM 9007199254740992 MAXPENDING 2 REVISION 7 => OK
DIRTY.READER order-changes GROUP parked FROM 0 ORDER ENTITY ONDEAD PARK CLAIM 9007199254740992
  WHERE ENTITY orders ID 4 1 2 empty gone OPS IUD => OK
DIRTY.READER order-changes GROUP meta FROM 0 ORDER META actor DEAD order-graves MINAGE 5 WHERE META actor admin FIELDS 1 b => OK
DIRTY.READER order-changes CURSOR c FROM 0 SHARD 0 1 MINAGE 1 DEAD order-graves WHERE ENTITY orders REVISION 9 => OK
DIRTY.READER order-images GROUP fresh FROM 0 => OK
DIRTY.PAUSE order-changes GROUP meta ON => OK
";

/// What it is asked after loading; nothing in the answers is of then.
const QUESTIONS: &str = r"
DIRTY.GET order 1 2 empty gone nobody
DIRTY.GET fluxa 7
DIRTY.READER order-changes GROUP g CLAIM 9007199254740992 MAXDELIVERIES 3
DIRTY.READER order-changes GROUP other REVISION 6
DIRTY.READER order-changes GROUP other ORDER STREAM CLAIM 9007199254740992 MAXPENDING 2 REVISION 7
DIRTY.READER order-changes GROUP other ORDER STREAM CLAIM 9007199254740992 REVISION 7
DIRTY.READER order-changes CURSOR c SHARD 0 1 MINAGE 1 DEAD order-graves WHERE ENTITY orders REVISION 9
DIRTY.READER order-changes CURSOR c SHARD 1 2 MINAGE 1 DEAD order-graves WHERE ENTITY orders REVISION 10
DIRTY.CONSUME order-changes GROUP g a PENDING
DIRTY.CONSUME order-changes GROUP g b COUNT 2
DIRTY.CONSUME order-changes GROUP g b
DIRTY.CONSUME order-changes GROUP other a
DIRTY.CONSUME order-changes GROUP other b PENDING
DIRTY.CONSUME order-changes GROUP parked a
DIRTY.CONSUME order-changes GROUP parked b PENDING
DIRTY.DISCARD order-changes GROUP parked ALL
DIRTY.CONSUME order-changes GROUP parked a
DIRTY.CONSUME order-changes GROUP meta a
DIRTY.PAUSE order-changes GROUP meta OFF
DIRTY.CONSUME order-changes GROUP meta a
DIRTY.CONSUME order-changes CURSOR c
DIRTY.CONSUME order-images GROUP fresh a
DIRTY.READ order-keys FROM 0
DIRTY.READ order-debezium FROM 0
DIRTY.READ stateless-changes FROM 0
DIRTY.READ fluxa-1 FROM 0
DIRTY.READ fluxa-2 FROM 0
DIRTY.READ order-changes:dead FROM 0
DIRTY.READ order-graves FROM 0 RAW
DIRTY.REDRIVE order-changes GROUP g ALL
DIRTY.CONSUME order-changes GROUP g c COUNT 1
DIRTY.FORGET order-changes GROUP meta
DIRTY.FORGET order-changes GROUP nobody
HGETALL o:1
HGETALL o:empty
HGETALL o:gone
DIRTY.FLUSH order SNAPSHOT gone 1 rev 7
DIRTY.FLUSH order ONCE once SNAPSHOT 9 1 rev 1
DIRTY.FLUSH stateless ONCE once INSERT 9 1 a b
DIRTY.FLUSH order DEFER waiting TOUCH 9
DIRTY.COMMIT order waiting
DIRTY.COMMIT order waiting
DIRTY.FLUSH order UPDATE 1 2 rev 3 b 7
DIRTY.FLUSH order SNAPSHOT gone 1 rev 8
DIRTY.FLUSH fluxa SNAPSHOT 7 2 Age 6 Name x SNAPSHOT 7 2 Age 7 Name x
DIRTY.FLUSH plain SNAPSHOT 1 1 a b
DIRTY.FLUSH full SNAPSHOT 1 2 a 5 x y
";

/// The questions and the answers of a server that has loaded the file, as ever after.
fn answers(rdb: &[u8], declared: Vec<String>) -> String {
    let server = loaded(rdb);
    let mut redis = server.connect();
    let mut questions = Vec::new();
    for key in declared {
        let payload: String = dump(&mut redis, &key)
            .iter()
            .map(|byte| format!("\\x{byte:02x}"))
            .collect();
        questions.push(format!("DIRTY.INFO {key}"));
        questions.push(format!("RESTORE restored 0 {payload} REPLACE"));
        questions.push("DIRTY.INFO restored".into());
    }
    questions.extend(QUESTIONS.trim().lines().map(String::from));
    let answers = questions
        .iter()
        .map(|question| format!("{question} => {}\n", redis.run(question)));
    answers.collect()
}

/// Once for each encoding: `cargo test --test integration write_the_files -- --ignored`.
#[test]
#[ignore = "it writes the files that the others read"]
fn write_the_files_of_this_encoding() {
    let written = vector("encoding-1.rdb");
    assert!(!written.exists(), "{written:?} is never written again");
    let server = Server::start();
    let mut redis = server.connect();
    let mut declared = Vec::new();
    for (command, reply) in cases(HARD_ONES).into_iter().chain(cases(STORED)) {
        assert_eq!(redis.run(&command), reply, "{command}");
        if let Some(rest) = command.strip_prefix("DIRTY.DECLARE ") {
            declared.extend(rest.split(' ').next().map(String::from));
        }
    }
    let ids: Vec<String> = ids(&mut redis, "order-changes");
    for (command, reply) in hold(&ids) {
        let got = redis.run(&command);
        assert!(got.starts_with(reply), "{command}: {got}");
    }
    redis.ok(&["SAVE"]);
    let rdb = std::fs::read(server.dir.path().join("dump.rdb")).expect("the file");
    std::fs::write(vector("encoding-1.txt"), answers(&rdb, declared)).expect("a file");
    std::fs::write(written, rdb).expect("a file");
}

/// Events that readers hold, have failed, were given once more, are to come again, died, are queued and parked.
fn hold(ids: &[String]) -> Vec<(String, &'static str)> {
    let later = 9_007_199_254_740_992u64;
    let events = "[events [[";
    let g = "order-changes GROUP g a";
    vec![
        (format!("DIRTY.CONSUME {g} COUNT 4"), events),
        (format!("DIRTY.ACK {g} {}", ids[0]), "[]"),
        (format!("DIRTY.FAIL {g} why FATAL {}", ids[1]), "[dead]"),
        (
            format!("DIRTY.FAIL {g} \\xff\\x00 DELAY {later} {}", ids[2]),
            "[retry]",
        ),
        (
            "DIRTY.CONSUME order-changes GROUP other b COUNT 1".into(),
            events,
        ),
        (
            "DIRTY.CONSUME order-changes GROUP parked a COUNT 1".into(),
            events,
        ),
        (
            "DIRTY.CONSUME order-changes GROUP parked b".into(),
            "[events [",
        ),
        (
            format!(
                "DIRTY.FAIL order-changes GROUP parked a why FATAL {}",
                ids[0]
            ),
            "[dead]",
        ),
        (
            format!("DIRTY.FAIL order-changes CURSOR c why {}", ids[3]),
            "[dead]",
        ),
        ("DIRTY.SEEK order-changes CURSOR c 1".into(), "OK"),
    ]
}

fn ids(redis: &mut Conn, stream: &str) -> Vec<String> {
    let entries = redis.run(&format!("XRANGE {stream} - +"));
    let words = entries.split(['[', ']', ' ']).map(String::from);
    words
        .filter(|word| word.split_once('-').is_some_and(|(ms, _)| ms.len() == 13))
        .collect()
}

/// Where the number of the encoding is in these bytes, which hold as many values of the type as there are places: in
/// the last ten bits of the data type's id.
fn encodings(of: &str, bytes: &[u8]) -> Vec<usize> {
    // The length of a 64-bit number, and what the type's name comes to.
    let mut id = vec![0x81];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = of.bytes().fold(0u64, |id, letter| {
        let place = letters
            .iter()
            .position(|other| *other == letter)
            .expect("a letter");
        id << 6 | place as u64
    });
    id.extend((number << 10).to_be_bytes());
    let (name, low) = (&id[..8], &id[8..]);
    assert_eq!(low, [0]);
    let places = bytes.windows(9).enumerate();
    let places = places.filter(|(_, window)| window[..8] == *name);
    places.map(|(at, _)| at + 8).collect()
}

/// Of a type, in the log.
fn refusal(of: &str, encoding: u8) -> String {
    let (what, it) = match of {
        "dirtydecl" => ("a declaration is", "it"),
        _ => ("readers are", "them"),
    };
    format!(
        "dirty: {what} stored in encoding version {encoding}, but this version of the module reads 1 at \
         most: load {it} with the version that wrote {it}, or a later one"
    )
}

#[test]
fn a_payload_of_an_unknown_encoding_is_refused_and_the_log_says_why() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect("DIRTY.DECLARE user STREAM s => OK\nDIRTY.READER s GROUP g FROM 0 => OK");
    for (of, key) in [("dirtydecl", "user"), ("dirtysubs", "s:readers")] {
        let payload = dump(&mut redis, key);
        let body = &payload[..payload.len() - 8];
        let places = encodings(of, body);
        assert_eq!(places.len(), 1, "{body:?}");
        assert_eq!(body[places[0]], 1, "the present encoding");
        for encoding in [0, 2, 255] {
            let mut other = body.to_vec();
            other[places[0]] = encoding;
            let other = [&other[..], &crc64(&other).to_le_bytes()].concat();
            let restore: [&[u8]; 5] = [b"RESTORE", key.as_bytes(), b"0", &other, b"REPLACE"];
            let reply = redis.raw(&restore);
            assert_eq!(reply, "ERR Bad data format", "{encoding}");
            let refusal = refusal(of, encoding);
            assert!(server.log().contains(&refusal), "{}", server.log());
            redis.expect("DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]");
            redis.expect("DIRTY.FLUSH user DELETE 1 => [delete]");
            assert_eq!(redis.run("DIRTY.FORGET s GROUP nobody"), "(0)");
        }
    }
}

#[test]
fn a_server_with_a_file_of_an_unknown_encoding_does_not_start_and_the_log_says_why() {
    does_not_start("dirtydecl", 5);
    does_not_start("dirtysubs", 1);
}

/// A server with the file in which a value of this type, of which it has more than so many, has another encoding.
fn does_not_start(of: &str, most: usize) {
    let mut rdb = std::fs::read(vector("encoding-1.rdb")).expect("the file");
    let places = encodings(of, &rdb);
    assert!(places.len() > most, "{places:?}");
    rdb[places[0]] = 2;
    let checksum = rdb.len() - 8;
    let sum = crc64(&rdb[..checksum]).to_le_bytes();
    rdb[checksum..].copy_from_slice(&sum);
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("dump.rdb"), &rdb).expect("a file");
    let output = output_of_one_that_ends(
        server()
            .args(["--port", "0", "--unixsocket", "socket", "--loadmodule"])
            .arg(module())
            .current_dir(dir.path()),
    );
    let log = String::from_utf8_lossy(&output.stdout);
    // Of its own accord; with 0, if the server finds that the file is sound but for us.
    assert!(output.status.code().is_some(), "{log}");
    assert!(log.contains(&refusal(of, 2)), "{log}");
    assert!(
        !log.contains("CRASHED") && !log.contains("BUG REPORT"),
        "{log}"
    );
    // Nothing was written over it.
    assert_eq!(
        std::fs::read(dir.path().join("dump.rdb")).expect("the file"),
        rdb
    );
}
