//! Bytes that no primary wrote, in payloads and in DIRTY._DELTA.

use crate::support::deltas::deltas;
use crate::support::dice::Dice;
use crate::support::dumps::{crc64, dump, forgeries};
use crate::support::turmoil::Turmoil;
use crate::support::users::{is_no_key, user};
use crate::support::{Conn, Server, wait_until, words};

/// What a DUMP ends with: the checksum.
const CHECKSUM: usize = 8;

/// What a client does with readers, whatever they are. `$` is the key of the stream.
const USES: &[&str] = &[
    "DIRTY.CONSUME $ GROUP g a COUNT 3",
    "DIRTY.CONSUME $ GROUP h b PENDING COUNT 3",
    "DIRTY.CONSUME $ CURSOR c COUNT 3",
    "DIRTY.ACK $ GROUP g a FORCE 1-1 1-2 1-3",
    "DIRTY.FAIL $ GROUP h c0 why FORCE FATAL 1-1 1-2",
    "DIRTY.LEAVE $ GROUP g c0",
    "DIRTY.REDRIVE $ GROUP h ALL",
    "DIRTY.PENDING $ GROUP g",
    "DIRTY.STATS $",
    "MEMORY USAGE $:readers",
    "COPY $:readers copied REPLACE",
];

fn use_it(redis: &mut Conn, stream: &str) {
    for template in USES {
        let command = template.replace('$', stream);
        let reply = redis.run(&command);
        assert!(!reply.contains("internal"), "{command}: {reply}");
    }
}

/// A server with readers of all kinds and something of everything in them.
fn filled() -> (Server, Conn) {
    let server = Server::with(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]);
    let mut redis = server.connect();
    Turmoil::begin(&mut redis, 7).steps(&mut redis, 300);
    (server, redis)
}

#[test]
fn a_forged_payload_of_readers_is_refused_or_sound() {
    let (server, mut redis) = filled();
    let payload = dump(&mut redis, "s:readers");
    let body = &payload[..payload.len() - CHECKSUM];
    assert_eq!(payload[body.len()..], crc64(body).to_le_bytes());
    // The server presses long strings, and a forged one would seldom be unpacked.
    redis.ok(&["CONFIG", "SET", "rdbcompression", "no"]);
    let payload = dump(&mut redis, "s:readers");
    let body = &payload[..payload.len() - CHECKSUM];
    let (mut refused, mut restored) = (0, 0);
    for (n, forged) in forgeries(body).iter().enumerate() {
        // The longest part of the state is alike.
        if n % 5 != 0 {
            continue;
        }
        let forged = [forged, &crc64(forged).to_le_bytes()[..]].concat();
        let restore: [&[u8]; 5] = [b"RESTORE", b"f:readers", b"0", &forged, b"REPLACE"];
        match redis.raw(&restore).as_str() {
            "OK" => restored += 1,
            error => {
                assert!(error.starts_with("ERR "), "{error}");
                refused += 1;
                continue;
            }
        }
        // What was let in is kept like any other.
        let digest = redis.run("DEBUG DIGEST-VALUE f:readers");
        let kept = dump(&mut redis, "f:readers");
        let restore: [&[u8]; 5] = [b"RESTORE", b"again", b"0", &kept, b"REPLACE"];
        assert_eq!(redis.raw(&restore), "OK");
        assert_eq!(redis.run("DEBUG DIGEST-VALUE again"), digest);
        use_it(&mut redis, "f");
        redis.run("DEL f f:dead");
    }
    println!("{refused} refused, {restored} restored");
    assert!(
        refused > 1000 && restored > 100,
        "{refused} refused, {restored} restored"
    );
    assert!(!server.log().contains("panic"), "{}", server.log());
}

#[test]
fn a_hostile_change_is_refused_whole_or_leaves_sound_readers_everywhere() {
    let (server, mut redis) = filled();
    let replica = Server::replica_of(&server);
    let written = deltas(&server);
    assert!(written.len() > 50, "{}", written.len());
    let whole = dump(&mut redis, "s:readers");
    let mut dice = Dice(0x1234_5678);
    let (mut refused, mut taken) = (0, 0);
    for n in 0..3000 {
        let args = &written[dice.roll(written.len() as u64) as usize];
        let mut args = args.clone();
        spoil(args.last_mut().expect("a delta"), &mut dice);
        let mut command = vec![b"DIRTY._DELTA".to_vec()];
        command.extend(args);
        let before = (n % 10 == 0).then(|| (redis.digest(), redis.replicated()));
        match redis.raw(&command).as_str() {
            "OK" => {
                taken += 1;
                use_it(&mut redis, "s");
                let restore: [&[u8]; 5] = [b"RESTORE", b"s:readers", b"0", &whole, b"REPLACE"];
                assert_eq!(redis.raw(&restore), "OK");
            }
            "ERR a change of readers does not fit those at \"s:readers\"" => {
                refused += 1;
                if let Some(before) = before {
                    assert_eq!((redis.digest(), redis.replicated()), before);
                }
            }
            other => panic!("{other}"),
        }
    }
    println!("{refused} refused, {taken} taken");
    assert!(
        refused > 500 && taken > 100,
        "{refused} refused, {taken} taken"
    );
    let digest = redis.digest();
    wait_until("the same digest", || replica.connect().digest() == digest);
    redis.ok(&["DEBUG", "LOADAOF"]);
    assert_eq!(redis.digest(), digest);
    assert!(!server.log().contains("panic"), "{}", server.log());
    assert!(!replica.log().contains("panic"), "{}", replica.log());
}

fn spoil(delta: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..dice.roll(3) {
        if delta.is_empty() {
            return;
        }
        let at = dice.roll(delta.len() as u64) as usize;
        match dice.roll(6) {
            0 => delta.truncate(at),
            1 => delta.insert(at, dice.roll(256) as u8),
            2 => drop(delta.remove(at)),
            3 => delta[at] = dice.roll(41) as u8,
            4 => {
                let part: Vec<u8> = delta[at..].iter().copied().take(12).collect();
                delta.extend(part);
            }
            _ => delta[at] ^= 1 << dice.roll(8),
        }
    }
}

#[test]
fn bytes_that_nobody_wrote_change_nothing() {
    let (_server, mut redis) = filled();
    redis.ok(&["SET", "text:readers", "x"]);
    let before = (redis.digest(), redis.replicated());
    redis.expect(
        r#"
DIRTY._DELTA s x => ERR a change of readers does not fit those at "s:readers"
DIRTY._DELTA s "" => ERR a change of readers does not fit those at "s:readers"
DIRTY._DELTA s \x01\x01\x63 => ERR a change of readers does not fit those at "s:readers"
DIRTY._DELTA s \x01\x00\x00\x01\x00\x06\x06 => ERR a change of readers does not fit those at "s:readers"
DIRTY._DELTA s:readers LOAD x => ERR a change of readers does not fit those at "s:readers"
DIRTY._DELTA s => ERR wrong number of arguments for 'dirty._delta' command
DIRTY._DELTA s LOAD x y => ERR wrong number of arguments for 'dirty._delta' command
DIRTY._DELTA other LOAD x => ERR a change of readers does not fit those at "other"
DIRTY._DELTA text \x01 => WRONGTYPE the key "text:readers" does not hold readers of a stream
DIRTY._DELTA s LOAD \x01 => WRONGTYPE the key "s" does not hold readers of a stream
RESTORE r 0 \x07\x81 => ERR DUMP payload version or checksum are wrong
"#,
    );
    assert_eq!((redis.digest(), redis.replicated()), before);
}

#[test]
fn who_may_not_write_the_stream_may_not_change_its_readers() {
    let (server, mut redis) = filled();
    let delta = deltas(&server).pop().expect("a delta");
    let before = (redis.digest(), redis.replicated());
    for rights in ["~other +@all", "%R~s +@all", "~s +@all -dirty._delta"] {
        let mut app = user(&server, rights);
        for words in [
            vec![&b"DIRTY._DELTA"[..], b"s", b"\x01"],
            vec![b"DIRTY._DELTA", b"s", &delta[1]],
        ] {
            let reply = app.raw(&words);
            assert!(
                is_no_key(&reply) || reply.starts_with("NOPERM"),
                "{rights}: {reply}"
            );
        }
    }
    assert_eq!((redis.digest(), redis.replicated()), before);
    // A piece names the readers' own key.
    let mut app = user(&server, "~s +@all");
    let reply = app.run("DIRTY._DELTA s:readers LOAD x");
    assert!(is_no_key(&reply), "{reply}");
    let words = words("DIRTY._DELTA s x");
    assert!(app.raw(&words).starts_with("ERR a change of readers"));
}

#[test]
fn a_change_that_is_refused_takes_no_more_memory_than_it_is_long() {
    const ITEMS: usize = 8 << 20;
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("XADD s 1-1 a b");
    redis.run("DIRTY.READER s GROUP g FROM 0");
    // A run of as many items as two bytes each can be; there is no reader, or no such event.
    let count = [0x80, 0x80, 0x80, 0x04];
    let run = |head: &[u8], item: &[u8]| [head, &count, &item.repeat(ITEMS)].concat();
    let before = server.most_memory();
    for delta in [run(&[1, 38], &[0, 2]), run(&[1, 1, 0, 39], &[0, 2])] {
        let reply = redis.raw(&[&b"DIRTY._DELTA"[..], b"s", &delta]);
        assert!(reply.starts_with("ERR "), "{reply}");
        let took = server.most_memory() - before;
        let most = 6 * u64::try_from(delta.len() >> 10).expect("small");
        assert!(took < most, "{took} KiB for {} bytes", delta.len());
    }
}
