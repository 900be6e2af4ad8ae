//! What is on disk is what was in memory: RDB, AOF with and without preamble, after a stop and after a
//! kill.

use super::support::replication::{AOF, history};
use super::support::{Server, text};

#[test]
fn a_server_started_from_its_files_has_the_same_data() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    for (options, before_the_end) in [
        (&[][..], vec!["SAVE"]),
        (&["--save", "3600 1"], vec![]), // saved by SHUTDOWN
        (&always, vec![]),
        (&always, vec!["BGREWRITEAOF"]),
        (&AOF, vec![]),
        (&AOF, vec!["BGREWRITEAOF"]),
    ] {
        let mut server = Server::with(options);
        let mut redis = server.connect();
        history(&mut redis);
        for command in &before_the_end {
            match *command {
                "BGREWRITEAOF" => server.rewrite_aof(),
                command => drop(redis.run(command)),
            }
        }
        let groups = "XINFO GROUPS s";
        let (digest, position) = (redis.digest(), redis.run(groups));
        let declared = redis.run("DIRTY.INFO order{1}");
        server.restart();
        let mut redis = server.connect();
        let case = format!("{options:?} {before_the_end:?}: {}", server.log());
        assert_eq!(redis.digest(), digest, "{case}");
        assert_eq!(redis.run("DIRTY.INFO order{1}"), declared, "{case}");
        let last = |text: &str| {
            text.split("last-delivered-id ")
                .nth(1)
                .map(|t| t[..20].to_string())
        };
        assert_eq!(last(&redis.run(groups)), last(&position), "{case}");
    }
}

#[test]
fn a_killed_server_has_whole_flushes_only() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    server.connect().run("DIRTY.DECLARE user STREAM s");
    let mut acknowledged = 0;
    for round in 0..3 {
        let mut redis = server.connect();
        // Some flushes are on their way, their replies not awaited, when the server dies.
        for n in 0..200 {
            let flush =
                format!("DIRTY.FLUSH user INSERT {round}-{n} 1 n {n} UPDATE {round}-{n} 1 m 1");
            redis.send(&super::support::words(&flush)).unwrap();
        }
        for _ in 0..100 {
            redis.receive().unwrap();
            acknowledged += 1;
        }
        server.kill();
        server.start_again();
        let mut redis = server.connect();
        let number = |text: String| text.trim_matches(['(', ')']).parse::<usize>().unwrap();
        let snapshots = number(redis.run("DBSIZE")) - 2; // the declaration and the stream
        let events = number(redis.run("XLEN s"));
        assert_eq!(
            events,
            2 * snapshots,
            "each insert and update has its event"
        );
        assert!(snapshots >= acknowledged, "{snapshots} of {acknowledged}");
        acknowledged = snapshots;
    }
}

/// Whatever may be declared, and wherever its key goes, is still there after each way to disk and back.
#[test]
fn a_flush_of_which_the_aof_has_a_part_is_gone_and_comes_once_when_it_is_sent_again() {
    let flush = "DIRTY.FLUSH user SNAPSHOT 1 1 n 1 SNAPSHOT 2 1 n 2 SNAPSHOT 3 1 n 3";
    // From the end: within EXEC, behind the command before it, within that, and within earlier ones.
    for cut in [1, 14, 15, 40, 100, 200, 300] {
        let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
        server.connect().run("DIRTY.DECLARE user STREAM s");
        let declared = server.growing_aof().metadata().unwrap().len();
        server.connect().run(flush);
        server.kill();
        let mut options = std::fs::File::options();
        let file = options.write(true).open(server.growing_aof()).unwrap();
        let length = file.metadata().unwrap().len() - cut;
        assert!(length > declared, "a cut of {cut} is within the flush");
        file.set_len(length).unwrap();

        server.start_again();
        let mut redis = server.connect();
        assert_eq!(redis.run("DBSIZE"), "(1)", "a cut of {cut}");
        assert_eq!(redis.run(flush), "[insert insert insert]", "a cut of {cut}");
        server.kill();
        server.start_again();
        assert_eq!(server.connect().run("XLEN s"), "(3)", "a cut of {cut}");
    }
}

#[test]
fn what_was_accepted_can_be_loaded() {
    let mut server = Server::with(&AOF);
    let mut redis = server.connect();
    for (declare, then) in [
        ("DIRTY.DECLARE a STREAM s", vec!["RENAME a \"\""]),
        ("DIRTY.DECLARE b STREAM t", vec!["RENAME b t"]),
        // Fields beside U, which only tags give.
        (
            "DIRTY.DECLARE e REVISION 5 TAGS 2 ID dirty=A Age dirty=A",
            vec![],
        ),
        ("DIRTY.DECLARE c STREAM u", vec!["COPY c u"]),
        ("DIRTY.DECLARE d STREAM v DB 3", vec!["MOVE d 3"]),
        ("DIRTY.DECLARE \\x00\\xff STREAM \\xfe\\x0d\\x0a", vec![]),
    ] {
        assert_eq!(redis.run(declare), "OK", "{declare}");
        for command in then {
            let reply = redis.run(command);
            assert!(reply == "OK" || reply == "(1)", "{command}: {reply}");
        }
    }
    let digest = redis.digest();
    assert_eq!(redis.run("DEBUG RELOAD"), "OK");
    assert_eq!(redis.digest(), digest);
    redis.run("BGREWRITEAOF");
    server.wait_for_line("INFO persistence", "aof_rewrite_in_progress:0");
    server.wait_for_line("INFO persistence", "aof_last_bgrewrite_status:ok");
    server.restart();
    assert_eq!(server.connect().digest(), digest, "{}", server.log());
    let replica = Server::replica_of(&server);
    assert_eq!(replica.connect().digest(), digest);
}

/// Where the server's SCAN is means nothing to another process: one that went on saw 1,537 of 2,000 keys.
#[test]
fn a_scan_that_goes_on_behind_a_restart_leaves_no_entity_out() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM s");
    for ids in (0..2000).collect::<Vec<_>>().chunks(500) {
        let seeds = ids.iter().map(|id| format!(" SEED {id} 1 a x"));
        let flush = format!("DIRTY.FLUSH user{}", seeds.collect::<String>());
        redis.run(&flush);
    }
    let mut seen = std::collections::BTreeSet::new();
    let (mut cursor, mut pages) = ("0".to_string(), 0);
    loop {
        let page = redis.ok(&["DIRTY.SCAN", "user", &cursor, "COUNT", "100"]);
        let redis::Value::Array(page) = page else {
            panic!("no page");
        };
        let redis::Value::Array(entities) = &page[1] else {
            panic!("no entities");
        };
        for entity in entities {
            let redis::Value::Array(entity) = entity else {
                panic!("no entity");
            };
            seen.insert(text(&entity[0]));
        }
        (cursor, pages) = (text(&page[0]), pages + 1);
        if cursor == "0" {
            break;
        }
        if pages == 8 {
            server.kill();
            server.start_again();
            redis = server.connect();
            // From here on it goes through all of them.
            seen.clear();
        }
    }
    assert!(pages > 8 && seen.len() == 2000, "{} in {pages}", seen.len());
}
