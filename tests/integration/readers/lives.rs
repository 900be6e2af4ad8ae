//! What replicas and files know of pending, failed and dead events: readers go on with the same lives after a failover, a
//! restart, a crash, a copy.

use crate::support::Server;
use crate::support::replication::{AOF, appended};
use crate::support::story::Story;
use crate::support::{Conn, cases};

/// Lines `command => how many commands it replicates`: the effect on the readers is one, `dirty._delta`, and what else is
/// written stands with it in one transaction.
const EFFECTS: &str = r"
DIRTY.READER s GROUP g FROM 0 MAXDELIVERIES 2 => dirty._delta
DIRTY.READER s GROUP g MAXDELIVERIES 2 => -
DIRTY.READER s GROUP new => -
DIRTY.CONSUME s GROUP g a COUNT 3 => dirty._delta
DIRTY.CONSUME s GROUP g a COUNT 1 ACK 1 1-1 => dirty._delta
DIRTY.CONSUME s GROUP g a => -
DIRTY.PENDING s GROUP g => -
DIRTY.STATS s => -
DIRTY.READ s FROM 0 => -
DIRTY.ACK s GROUP g a 1-1 => -
DIRTY.ACK s GROUP g a #1 => dirty._delta
DIRTY.HOLD s GROUP g a #2 => dirty._delta
DIRTY.HOLD s GROUP g b #2 => -
DIRTY.FAIL s GROUP g a why DELAY 0 #2 => dirty._delta
DIRTY.FAIL s GROUP g a why #1 => -
DIRTY.FAIL s GROUP g a why FATAL #3 => MULTI XADD dirty._delta EXEC
DIRTY.LEAVE s GROUP g nobody => -
DIRTY.CONSUME s GROUP g b COUNT 1 => dirty._delta
DIRTY.LEAVE s GROUP g b => dirty._delta
DIRTY.REDRIVE s GROUP g IDS 1 #3 => dirty._delta
DIRTY.REDRIVE s GROUP g IDS 1 #1 => -
DIRTY.CONSUME s GROUP g b => dirty._delta
DIRTY.ACK s GROUP g b #3 => MULTI XDEL dirty._delta EXEC
DIRTY.SEEK s GROUP g $ => dirty._delta
DIRTY.PAUSE s GROUP g ON => dirty._delta
DIRTY.PAUSE s GROUP g ON => -
DIRTY.PAUSE s GROUP g OFF => dirty._delta
DIRTY.READER s CURSOR c FROM 0 => dirty._delta
DIRTY.CONSUME s CURSOR c => -
DIRTY.ACK s CURSOR c 1-1/1 => -
DIRTY.FAIL s CURSOR c why #2 => MULTI XADD dirty._delta EXEC
DIRTY.DISCARD s CURSOR c ALL => XDEL
DIRTY.DISCARD s CURSOR c ALL => -
DIRTY.SEEK s CURSOR c $ => dirty._delta
DIRTY.FORGET s CURSOR c => dirty._delta
DIRTY.FORGET s CURSOR c => -
";

#[test]
fn each_step_replicates_its_effects_in_one_command_and_no_step_without_effect_any() {
    let mut story = Story::on(Server::with(&AOF));
    story.publish(&["1", "2", "3", "4"]);
    let (_, mut start) = appended(&story.server, 0);
    let mut wrong = Vec::new();
    for (command, expected) in cases(EFFECTS) {
        let reply = story.run(&command);
        let (commands, end) = appended(&story.server, start);
        let names: Vec<&str> = commands
            .iter()
            .filter_map(|c| c.split(' ').next())
            .collect();
        let got = match names.is_empty() {
            true => "-".to_string(),
            false => names.join(" "),
        };
        if !got.eq_ignore_ascii_case(&expected) {
            wrong.push(format!("{command}: {got}: {reply}"));
        }
        start = end;
    }
    assert_eq!(wrong, [""; 0]);
}

/// Deliveries, failures, deaths, positions of three groups and a cursor.
fn live(story: &mut Story) {
    story.publish(&["1", "2", "3", "4", "5", "1", "2", "3", "4", "5"]);
    story.expect(
        "
DIRTY.READER s GROUP g FROM 0 CLAIM 2000 MAXDELIVERIES 2 => OK
DIRTY.READER s GROUP h FROM 0 ORDER ENTITY ONDEAD PARK CLAIM 2000 => OK
DIRTY.READER s GROUP i FROM 0 ORDER STREAM CLAIM 2000 => OK
DIRTY.READER s CURSOR c FROM #3 => OK
DIRTY.CONSUME s GROUP g a COUNT 6 => #1 #2 #3 #4 #5 #6 | more
DIRTY.CONSUME s GROUP g b COUNT 2 => #7 #8 | more
DIRTY.FAIL s GROUP g a one DELAY 0 #1 => [retry]
DIRTY.FAIL s GROUP g a two DELAY 60000 #2 => [retry]
DIRTY.FAIL s GROUP g a three FATAL #3 => [dead]
DIRTY.ACK s GROUP g a #4 => []
DIRTY.LEAVE s GROUP g b => (2)
DIRTY.CONSUME s GROUP g c COUNT 1 => #1:2!1 | more
DIRTY.CONSUME s GROUP h a COUNT 1 => #1 | more
DIRTY.FAIL s GROUP h a parks FATAL #1 => [dead]
DIRTY.CONSUME s GROUP h a => #2 #3 #4 #5 #7 #8 #9 #10
DIRTY.ACK s GROUP h a #2 #3 #4 #7 => []
DIRTY.CONSUME s GROUP i a COUNT 2 => #1 #2 | more
DIRTY.REDRIVE s GROUP g IDS 1 #3 => (1)
",
    );
}

/// The same readers go on as before.
fn goes_on(redis: &mut Conn, story: &mut Story) {
    std::mem::swap(redis, &mut story.redis);
    story.expect(
        "
DIRTY.CONSUME s GROUP i b =>\x20
DIRTY.CONSUME s GROUP g d COUNT 3 => #7 #8 #3 | more
DIRTY.FAIL s GROUP g c one\\_again #1 => [dead]
DIRTY.ACK s GROUP g a #5 #6 => []
DIRTY.ACK s GROUP g d #7 #8 #3 => []
DIRTY.PENDING s GROUP g =>
 [[id #2 state delayed consumer nil idle-ms nil due-ms (T) deliveries (1) failures (1) error two key nil]]
DIRTY.CONSUME s GROUP g e => #9 #10
DIRTY.CONSUME s GROUP h b =>\x20
DIRTY.ACK s GROUP h a #5 #8 #9 #10 => []
DIRTY.REDRIVE s GROUP h ALL => (1)
DIRTY.CONSUME s GROUP h b => #1 #6
DIRTY.CONSUME s CURSOR c => #4 #5 #6 #7 #8 #9 #10 | position #10
DIRTY.CONSUME s GROUP i a ACK 2 #1 #2 COUNT 1 => #3 | more
",
    );
    let dead = story.run("DIRTY.READ s:dead FROM 0 WHERE ID 1 1");
    for part in [
        "reader h consumer a error parks deliveries (1) failures (1)",
        "reader g consumer c error one again deliveries (2) failures (2)",
    ] {
        assert!(dead.contains(part), "{dead}");
    }
    std::mem::swap(redis, &mut story.redis);
}

#[test]
fn a_promoted_replica_goes_on_with_the_same_lives() {
    let mut story = Story::begin();
    let replica = Server::replica_of(&story.server);
    live(&mut story);
    story.server.wait_for_replica(&replica);
    let mut promoted = replica.connect();
    assert_eq!(promoted.digest(), story.redis.digest());
    story.server.kill();
    promoted.ok(&["REPLICAOF", "NO", "ONE"]);
    goes_on(&mut promoted, &mut story);
}

#[test]
fn a_server_started_from_its_files_goes_on_with_the_same_lives() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    for (options, save, crashes) in [
        (&["--save", "3600 1"][..], "PING", false),
        (&always, "PING", true),
        (&AOF, "PING", false),
        (&always, "BGREWRITEAOF", true),
        (&AOF, "BGREWRITEAOF", false),
    ] {
        let mut story = Story::on(Server::with(options));
        live(&mut story);
        if save == "BGREWRITEAOF" {
            story.server.rewrite_aof();
        }
        let before = story.redis.digest();
        match crashes {
            true => {
                story.server.kill();
                story.server.start_again();
            }
            false => story.server.restart(),
        }
        let mut redis = story.server.connect();
        assert_eq!(redis.digest(), before, "{options:?} {save}");
        goes_on(&mut redis, &mut story);
    }
}

#[test]
fn renamed_copied_moved_and_restored_with_its_readers_a_stream_goes_on() {
    for how in ["RENAME", "COPY", "MOVE", "RESTORE"] {
        let mut story = Story::begin();
        live(&mut story);
        let mut redis = story.server.connect();
        let keys = ["s", "s:readers", "s:dead"];
        match how {
            "RENAME" => {
                // There and back: nothing in it knows its key's name.
                for key in keys {
                    redis.run(&format!("RENAME {key} x{key}"));
                }
                for key in keys {
                    redis.run(&format!("RENAME x{key} {key}"));
                }
            }
            "COPY" => {
                for key in keys {
                    redis.run(&format!("COPY {key} x{key}"));
                    redis.run(&format!("DEL {key}"));
                    redis.run(&format!("COPY x{key} {key}"));
                }
            }
            "MOVE" => {
                for key in keys {
                    redis.run(&format!("MOVE {key} 1"));
                }
                redis.run("SELECT 1");
            }
            _ => {
                for key in keys {
                    let dump = redis.value(&["DUMP", key]);
                    let redis::Value::BulkString(dump) = dump else {
                        panic!("no dump of {key}");
                    };
                    redis.run(&format!("DEL {key}"));
                    let restored = redis.raw(&[b"RESTORE".as_slice(), key.as_bytes(), b"0", &dump]);
                    assert_eq!(restored, "OK");
                }
            }
        }
        goes_on(&mut redis, &mut story);
    }
}
