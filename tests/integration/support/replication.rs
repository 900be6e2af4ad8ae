//! What a server replicates, as its append-only file has it.

use super::{Conn, Server};

/// The commands in the append-only file from `start` on, one a line, ids shortened to `ms-seq`.
pub fn appended(server: &Server, start: usize) -> (Vec<String>, usize) {
    let dir = server.dir.path().join("appendonlydir");
    let file = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .unwrap();
    let bytes = std::fs::read(file).unwrap();
    let mut rest = &bytes[start..];
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let words = number(&mut rest, b'*');
        let words: Vec<String> = (0..words).map(|_| word(&mut rest)).collect();
        commands.push(words.join(" "));
    }
    (commands, bytes.len())
}

fn number(rest: &mut &[u8], sign: u8) -> usize {
    assert_eq!(rest[0], sign);
    let end = rest.iter().position(|&byte| byte == b'\r').unwrap();
    let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
    *rest = &rest[end + 2..];
    number
}

fn word(rest: &mut &[u8]) -> String {
    let length = number(rest, b'$');
    let word = &rest[..length];
    *rest = &rest[length + 2..];
    let is_id = |text: &str| match text.split_once('-') {
        Some((ms, seq)) => {
            ms.len() == 13 && ms.bytes().chain(seq.bytes()).all(|b| b.is_ascii_digit())
        }
        None => false,
    };
    match std::str::from_utf8(word) {
        Ok(text) if is_id(text) => format!("ms-{}", text.split_once('-').unwrap().1),
        Ok(text) if !text.bytes().any(|byte| byte.is_ascii_control()) => text.to_string(),
        _ => "BYTES".into(),
    }
}

/// An append-only file that is written at once, without its preamble.
pub const AOF: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--aof-use-rdb-preamble",
    "no",
];

/// A history with everything in it, among it bytes of all kinds.
pub fn history(redis: &mut Conn) {
    for command in [
        "DIRTY.DECLARE user TYPES 1 age int STREAM s MAXLEN ~ 100 STREAM t OPS NONE FIELDS 1 age",
        "DIRTY.DECLARE order{1} STREAM s PAYLOAD FULL STREAM u DB 3 PAYLOAD KEYS",
        "DIRTY.FLUSH user SNAPSHOT 1 3 name A age 007 x\\x00\\xff \\x0d\\x0a SNAPSHOT \\x00\\xfe 0",
        "DIRTY.FLUSH user SNAPSHOT 1 1 age 8 UPDATE 1 1 b c INSERT 5 1 age 1 DELETE 5",
        "DIRTY.FLUSH user DELETE 1 SEED 7 1 a b TOUCH 7",
        "DIRTY.FLUSH order{1} INSERT 1 2 a b c d",
        "DIRTY.FLUSH order{1} DELETE 1",
        "DIRTY.FLUSH user UPDATE 9 0",
        "DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 3",
        "DIRTY.READER s CURSOR k FROM 0 SHARD 0 2 WHERE ENTITY user",
        "DIRTY.READER new GROUP g FROM 0",
        "DIRTY.READER t GROUP g FROM 0 ORDER ENTITY CLAIM 0 ONDEAD PARK",
        "DIRTY.CONSUME s GROUP g c COUNT 2",
        "DIRTY.CONSUME s CURSOR k",
        "DIRTY.CONSUME t GROUP g c",
        "DIRTY.CONSUME t GROUP g d PENDING",
        "DIRTY.HOLD t GROUP g d",
        "DIRTY.LEAVE t GROUP g d",
        "DIRTY.PAUSE t GROUP g ON",
        "DIRTY.SEEK s CURSOR k $",
    ] {
        redis.run(command);
    }
    for n in 0..300 {
        redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {} 1 age {n}", n % 10));
    }
}
