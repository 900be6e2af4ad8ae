//! ACK … DELETE: an entry goes when every group and cursor is done with it.

use super::support::entries::seqs;
use super::support::readers::{both, consume, events, stream_of};
use super::support::{Conn, Server};

#[test]
fn an_entry_acknowledged_with_delete_goes_when_every_group_and_cursor_is_done_with_it() {
    for protocol in 0..2 {
        let server = Server::start();
        let mut redis = stream_of(&server, 5);
        let replica = Server::replica_of(&server);
        let reader = &mut both(&server)[protocol];
        let ids = consume(reader, "s GROUP g c").ids;
        assert_eq!(events(reader, "s GROUP h c COUNT 3"), "1 2 3");
        assert_eq!(events(reader, "s CURSOR k COUNT 1"), "1");
        for (command, left) in [
            ("DIRTY.ACK s GROUP g DELETE 1 2", "1 2 3 4 5"), // pending in h, and k is before it
            ("DIRTY.ACK s CURSOR k 4", "1 2 3 4 5"),
            (
                "DIRTY.CONSUME s GROUP h c ACK 1 2 DELETE COUNT 1",
                "1 3 4 5",
            ), // this reads 4
            ("DIRTY.ACK s GROUP h DELETE 3", "1 3 4 5"), // pending in g
            ("DIRTY.CONSUME s GROUP g c ACK 1 3 DELETE", "1 4 5"),
            ("DIRTY.ACK s GROUP h 1", "4 5"), // g has asked for it
            ("DIRTY.ACK s GROUP g DELETE 1", "4 5"),
            ("DIRTY.CONSUME s GROUP g c ACK 1 4", "4 5"), // nobody has asked
            ("DIRTY.CONSUME s GROUP g c ACK 1 5 DELETE", "4 5"), // h has not read it
            ("DIRTY.CONSUME s GROUP h c COUNT 1", "4 5"),
            ("DIRTY.ACK s GROUP h DELETE 4", "5"),
            ("DIRTY.ACK s GROUP h 5", "5"), // k has acknowledged 4 only
            ("DIRTY.ACK s CURSOR k 5", ""),
        ] {
            let id = |word: &str| match word.parse::<usize>() {
                // Neither counts nor protocol numbers: those are the words after ACK and COUNT.
                Ok(seq) => ids[seq - 1].clone(),
                Err(_) => word.to_string(),
            };
            let mut words: Vec<String> = command.split(' ').map(id).collect();
            for (at, word) in command.split(' ').enumerate() {
                let is_count = word == "COUNT" || (word == "ACK" && at > 0);
                if is_count {
                    words[at + 1] = command.split(' ').nth(at + 1).unwrap().to_string();
                }
            }
            let reply = reader.raw(&words);
            assert!(!reply.starts_with("ERR"), "{words:?}: {reply}");
            assert_eq!(seqs(&mut redis, "s"), left, "{command}");
        }
        server.wait_for_replica(&replica);
        assert_eq!(seqs(&mut replica.connect(), "s"), "");
        assert_eq!(replica.connect().digest(), redis.digest());
        // Nobody has missed what all were done with.
        redis.run("DIRTY.FLUSH user INSERT 6 0");
        for group in ["GROUP g c", "GROUP h c", "CURSOR k"] {
            let read = consume(reader, &format!("s {group}"));
            assert_eq!(
                (read.events, &*read.missed),
                (vec!["6".into()], "(0)"),
                "{group}"
            );
        }
    }
}

#[test]
fn somebody_elses_key_in_the_place_of_deletions_is_refused_before_anything_changes() {
    let server = Server::start();
    let mut redis = stream_of(&server, 1);
    let id = consume(&mut redis, "s GROUP g a").ids.remove(0);
    redis.run("SET s:done mine");
    let before = redis.digest();
    for command in [
        format!("DIRTY.ACK s GROUP g DELETE {id}"),
        format!("DIRTY.CONSUME s GROUP g a ACK 1 {id} DELETE"),
    ] {
        let refused = "WRONGTYPE the key \"s:done\" does not hold a sorted set";
        assert_eq!(redis.run(&command), refused);
    }
    assert_eq!(redis.digest(), before);
    assert_eq!(redis.run(&format!("DIRTY.ACK s GROUP g {id}")), "(1)");
}

#[test]
fn deletions_that_were_asked_for_outlive_a_restart_and_wait_for_what_there_is_only() {
    let mut server = Server::with(&["--appendonly", "yes"]);
    let mut redis = stream_of(&server, 3);
    for group in ["g", "h"] {
        consume(&mut redis, &format!("s GROUP {group} a"));
    }
    let ids = consume(&mut redis, "s CURSOR look").ids;
    redis.run(&format!("DIRTY.ACK s CURSOR look {}", ids[2]));
    // Not there, trimmed, and not read yet.
    redis.run(&format!("XDEL s {}", ids[0]));
    redis.run("DIRTY.FLUSH user INSERT 4 0");
    let ack = format!(
        "DIRTY.ACK s GROUP g DELETE 1-1 {} 9999999999999-9 {}",
        ids[0], ids[1]
    );
    assert_eq!(redis.run(&ack), "(2)");
    assert_eq!(redis.run("ZCARD s:done"), "(1)");
    assert_eq!(redis.run(&ack), "(0)", "sent again");
    let ttl: i64 = redis
        .run("PTTL s:done")
        .trim_matches(['(', ')'])
        .parse()
        .unwrap();
    assert!((604_000_000..=604_800_000).contains(&ttl), "{ttl}");
    server.restart();
    let mut redis = server.connect();
    assert_eq!(redis.run(&format!("DIRTY.ACK s GROUP h {}", ids[1])), "(1)");
    assert_eq!(
        (seqs(&mut redis, "s"), redis.run("EXISTS s:done")),
        ("3 4".into(), "(0)".into())
    );
}

#[test]
fn wishes_to_delete_are_kept_as_long_as_they_can_come_true_only() {
    let server = Server::start();
    let mut redis = server.connect();
    let count = |redis: &mut Conn| redis.run("ZCARD s:done");
    // Trimmed before the other group has read them.
    redis.run("XGROUP CREATE s h $ MKSTREAM");
    for n in 1..=50 {
        redis.run(&format!("XADD s MAXLEN 10 1-{n} a b"));
        let id = consume(&mut redis, "s GROUP g a").ids.remove(0);
        redis.run(&format!("DIRTY.ACK s GROUP g DELETE {id}"));
    }
    assert_eq!(count(&mut redis), "(10)");
    // The one that held them up reads on without acknowledging, or is gone.
    for (way, left) in [
        ("DIRTY.SEEK s GROUP h 1-45", "(5)"),
        ("XGROUP DESTROY s h", "(0)"),
    ] {
        redis.run(way);
        redis.run("DIRTY.ACK s GROUP g DELETE 1-50");
        assert_eq!(
            (count(&mut redis), redis.run("XLEN s")),
            (left.to_string(), left.into()),
            "{way}"
        );
    }
}

#[test]
fn a_cursor_that_passes_many_wishes_at_once_grants_them_all() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.raw(&[
        "EVAL",
        "for i=1,3500 do redis.call('XADD','s','1-'..i,'a','b') end",
        "0",
    ]);
    redis.run("DIRTY.SEEK s CURSOR k 0");
    let ids = consume(&mut redis, "s GROUP g a COUNT 3500").ids.join(" ");
    redis.run(&format!("DIRTY.ACK s GROUP g DELETE {ids}"));
    assert_eq!(redis.run("ZCARD s:done"), "(3500)");
    redis.run("DIRTY.ACK s CURSOR k 1-3400");
    assert_eq!(
        (redis.run("XLEN s"), redis.run("ZCARD s:done")),
        ("(100)".into(), "(100)".into())
    );
}
