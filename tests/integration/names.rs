//! Ids that lead to other keys than a snapshot's: end users choose them, and must not reach what belongs to a
//! stream, or to another declaration.

use super::support::{Conn, Server, cases};

/// Every command that takes an id.
const COMMANDS: [&str; 12] = [
    // First, since what another flush has named is left alone.
    "DIRTY.FLUSH $type RUN run SNAPSHOT $id 1 a x",
    "DIRTY.FLUSH $type SNAPSHOT $id 1 a x",
    "DIRTY.FLUSH $type INSERT $id 1 a x",
    "DIRTY.FLUSH $type UPDATE $id 1 a x",
    "DIRTY.FLUSH $type DELETE $id",
    "DIRTY.FLUSH $type TOUCH $id",
    "DIRTY.FLUSH $type SEED $id 1 a x",
    "DIRTY.FLUSH $type SNAPSHOT good 1 a x DELETE $id",
    "DIRTY.FLUSH $type ONCE $id SNAPSHOT $id 1 a x",
    "DIRTY.FLUSH $type DEFER $id SNAPSHOT good 1 a x SNAPSHOT $id 1 a x",
    "DIRTY.GET $type $id",
    "DIRTY.GET $type good $id",
];

const DECLARED: &str = "
DIRTY.DECLARE user STREAM user:events STREAM elsewhere STREAM user:other DB 3 => OK
DIRTY.DECLARE below PREFIX s: STREAM s => OK
DIRTY.DECLARE odd PREFIX us STREAM odd-changes => OK
DIRTY.DECLARE part PREFIX pa STREAM part-changes => OK
DIRTY.DECLARE shop STREAM shop-changes => OK
DIRTY.DECLARE shop:user STREAM shop-user-changes => OK
DIRTY.DECLARE shop:user:vip STREAM shop-user-changes => OK
DIRTY.DECLARE shop:a@b STREAM shop-user-changes => OK
DIRTY.RECONCILE user BEGIN run => OK
DIRTY.RECONCILE below BEGIN run => OK
DIRTY.RECONCILE odd BEGIN run => OK
DIRTY.RECONCILE part BEGIN run => OK
DIRTY.RECONCILE shop BEGIN run => OK
DIRTY.RECONCILE shop:user BEGIN run => OK
DIRTY.RECONCILE shop:user:vip BEGIN run => OK
HSET shop:hash a x => (1)
HSET shop:user@deferred forged x => (1)
HSET shop:user:7 a x => (1)
";

/// Lines `declaration id => the rest of the error`, empty if the id is fine.
const IDS: &str = r#"
user events => which is the stream "user:events" of its declaration
user events:dead => below the stream "user:events" of its declaration
user events:readers => below the stream "user:events" of its declaration
user events:dead:x => below the stream "user:events" of its declaration
user events:42 => below the stream "user:events" of its declaration
user events: => below the stream "user:events" of its declaration
user events2 => ""
user event => ""
user x:events:dead => ""
# A stream in another database is none here.
user other:dead => ""
# With such a prefix no id is free to lie elsewhere: only the readers' keys are refused.
below dead => below the stream "s" of its declaration
below readers => below the stream "s" of its declaration
below 42 => ""
below a:b => ""
odd er:42 => which belongs to the declaration "user"
odd er@deferred => which belongs to the declaration "user"
odd er@x => which belongs to the declaration "user"
odd er2:42 => ""
# Ids without separators lead to declarations, too.
shop user => which belongs to the declaration "shop:user"
shop:user vip => which belongs to the declaration "shop:user:vip"
part rt => which is its declaration
odd er => which belongs to the declaration "user"
shop user:7 => which belongs to the declaration "shop:user"
shop user:new => which belongs to the declaration "shop:user"
shop user: => which belongs to the declaration "shop:user"
shop user:vip => which belongs to the declaration "shop:user"
shop user:vip:8 => which belongs to the declaration "shop:user"
shop user@deferred => which belongs to the declaration "shop:user"
shop user@once:token => which belongs to the declaration "shop:user"
shop user@example.com => which belongs to the declaration "shop:user"
shop a@b => which belongs to the declaration "shop:a@b"
shop a@b:1 => which belongs to the declaration "shop:a@b"
shop a@b@deferred => which belongs to the declaration "shop:a@b"
shop a@c => ""
shop users:7 => ""
shop hash:7 => ""
shop alice@example.com => ""
shop x:user:7 => ""
shop :user:7 => ""
# Its own key, and what lies above that, are no others.
part rt:42 => ""
part rt@x => ""
part rt@deferred => which holds its declaration's deferred flushes
part rt@once:t => which holds its declaration's replies of ONCE
shop @deferred => which is reserved for deferred flushes and replies of ONCE
shop:user 42 => ""
shop:user a:b => ""
shop:user vip:8 => which belongs to the declaration "shop:user:vip"
shop:user vip@deferred => which belongs to the declaration "shop:user:vip"
shop:user:vip 8 => ""
shop:user:vip a:b@c => ""
"#;

fn declared() -> (Server, Conn) {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let mut redis = server.connect();
    redis.expect(DECLARED);
    (server, redis)
}

#[test]
fn no_id_leads_to_the_keys_of_a_stream_or_of_another_declaration() {
    let (server, mut redis) = declared();
    let _replica = Server::replica_of(&server);
    for (case, why) in cases(IDS) {
        let (entity_type, id) = case.split_once(' ').expect("an id");
        let prefix = match entity_type {
            "below" => "s:",
            "odd" => "us",
            "part" => "pa",
            _ => &format!("{entity_type}:"),
        };
        let error = format!(
            "WRONGTYPE the snapshot of entity \"{id}\" would be stored at \"{prefix}{id}\", {why}"
        );
        let before = (redis.digest(), redis.replicated());
        for command in COMMANDS {
            let command = command.replace("$type", entity_type).replace("$id", id);
            if why == "\"\"" {
                // Some of them are right only after others.
                let reply = redis.run(&command);
                assert!(!reply.starts_with("WRONGTYPE"), "{command}: {reply}");
                continue;
            }
            assert_eq!(redis.run(&command), error, "{command}");
            let after = (redis.digest(), redis.replicated());
            assert_eq!(after, before, "{command}");
        }
    }
}

#[test]
fn an_id_that_became_anothers_since_its_deferral_is_refused_at_commit() {
    let (_server, mut redis) = declared();
    redis.expect(
        r#"
DIRTY.FLUSH shop DEFER t SNAPSHOT 1 1 a x SNAPSHOT later:1 1 a x => [deferred]
DIRTY.FLUSH shop DEFER v SNAPSHOT 1 1 a x SNAPSHOT later 1 a x => [deferred]
DIRTY.FLUSH shop DEFER u SNAPSHOT later@x 1 a x => [deferred]
DIRTY.DECLARE shop:later STREAM shop-user-changes => OK
DIRTY.COMMIT shop t
  => WRONGTYPE the snapshot of entity "later:1" would be stored at "shop:later:1", which belongs to the declaration "shop:later", in the flush that waits under the token "t"
DIRTY.COMMIT shop u
  => WRONGTYPE the snapshot of entity "later@x" would be stored at "shop:later@x", which belongs to the declaration "shop:later", in the flush that waits under the token "u"
DIRTY.COMMIT shop v
  => WRONGTYPE the snapshot of entity "later" would be stored at "shop:later", which belongs to the declaration "shop:later", in the flush that waits under the token "v"
EXISTS shop:1 shop:later:1 shop:later@x shop-changes => (0)
# What is no longer declared is nobody's.
DEL shop:later => (1)
DIRTY.COMMIT shop t u v => [[insert insert] [insert] [none insert]]
"#,
    );
}

#[test]
fn nobody_forges_a_flush_of_another_type_by_an_id() {
    let (_server, mut redis) = declared();
    redis.expect(
        r#"
DEL shop:user@deferred => (1)
DIRTY.FLUSH shop:user DEFER real SNAPSHOT 1 1 a secret => [deferred]
ACL SETUSER clerk on >pw ~shop ~shop-changes +dirty.get +dirty.flush => OK
AUTH clerk pw => OK
DIRTY.GET shop user@deferred
  => WRONGTYPE the snapshot of entity "user@deferred" would be stored at "shop:user@deferred", which belongs to the declaration "shop:user"
DIRTY.FLUSH shop UPDATE user@deferred 1 forged x
  => WRONGTYPE the snapshot of entity "user@deferred" would be stored at "shop:user@deferred", which belongs to the declaration "shop:user"
DIRTY.GET shop user:7
  => WRONGTYPE the snapshot of entity "user:7" would be stored at "shop:user:7", which belongs to the declaration "shop:user"
"#,
    );
}

/// What waits at `<key>@deferred` would be taken for flushes of a declaration that is made there later.
#[test]
fn nobody_plants_a_flush_for_a_type_that_is_declared_later() {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE shop STREAM shop-changes");
    redis.run("DIRTY.RECONCILE shop BEGIN run");
    for (id, taken) in [
        ("later@deferred", true),
        ("later@once:t", true),
        ("later:x@once:t", true),
        ("later@example.com", false),
        ("deferred@once", false),
    ] {
        for command in COMMANDS {
            let command = command.replace("$type", "shop").replace("$id", id);
            let reply = redis.run(&command);
            let is_told = reply.ends_with("reserved for deferred flushes and replies of ONCE");
            assert_eq!(is_told, taken, "{command}: {reply}");
        }
    }
    assert_eq!(
        redis.run("DIRTY.DECLARE shop:later STREAM later-changes"),
        "OK"
    );
    assert_eq!(redis.run("DIRTY.DEFERRED shop:later"), "[]");
}

#[test]
fn the_readers_of_a_stream_find_their_keys_whatever_ids_are_sent() {
    let (_server, mut redis) = declared();
    for id in ["events:dead", "events:readers"] {
        let reply = redis.run(&format!("DIRTY.FLUSH user SNAPSHOT {id} 1 a x"));
        assert!(reply.starts_with("WRONGTYPE"), "{id}: {reply}");
    }
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 1 a x");
    redis.expect("DIRTY.READER user:events GROUP g FROM 0 => OK");
    for command in [
        "DIRTY.CONSUME user:events GROUP g c",
        "DIRTY.STATS user:events",
    ] {
        let reply = redis.run(command);
        assert!(reply.starts_with('['), "{command}: {reply}");
    }
}

#[test]
fn an_id_has_sixteen_colons_at_most() {
    let (_server, mut redis) = declared();
    for separator in [":", "@"] {
        for (count, is_fine) in [(16, true), (17, false), (10_000, false)] {
            let id = format!("x{}", separator.repeat(count));
            let before = redis.digest();
            for command in COMMANDS {
                if is_fine && (command.contains("UPDATE") || command.contains("TOUCH")) {
                    continue;
                }
                let command = command.replace("$type", "shop").replace("$id", &id);
                let reply = redis.run(&command);
                if is_fine {
                    assert!(reply.starts_with('['), "{command}: {reply}");
                    continue;
                }
                let start = format!("ERR the id \"{}", &id[..17]);
                let end = format!(" contains '{separator}' {count} times; at most 16 are allowed");
                assert!(reply.starts_with(&start), "{command}: {reply}");
                assert!(reply.ends_with(&end), "{command}: {reply}");
                assert_eq!(redis.digest(), before, "{command}");
            }
        }
    }
}

/// They have no snapshots, so an id leads nowhere.
#[test]
fn ids_of_stateless_types_are_free() {
    let (_server, mut redis) = declared();
    redis.run("DIRTY.DECLARE shop STATELESS STREAM shop:events");
    for id in [
        "events:dead",
        "user:7",
        "user@deferred",
        "::::::::::::::::::",
    ] {
        let before = redis.run("DBSIZE");
        redis.expect(&format!(
            "DIRTY.FLUSH shop INSERT {id} 1 a x => [insert]\n\
             DIRTY.GET shop {id} => [nil]\n\
             DIRTY.FLUSH shop DEFER t INSERT {id} 1 a x => [deferred]\n\
             DIRTY.COMMIT shop t => [[insert]]\n\
             DEL shop:events => (1)\n\
             DBSIZE => {before}"
        ));
    }
}

#[test]
fn only_ids_with_separators_have_keys_looked_at() {
    let (_server, mut redis) = declared();
    redis.run("CONFIG SET notify-keyspace-events KEAmxe");
    let mut looked = |id: &str| {
        redis.run("CONFIG RESETSTAT");
        redis.run(&format!("DIRTY.GET shop {id}"));
        let misses: usize = redis.info("keyspace_misses").parse().expect("a number");
        misses
    };
    let plain = looked("42");
    assert_eq!(plain, 1, "the snapshot's own");
    // Where the server can, it does not count a look in passing.
    assert!((1..=3).contains(&looked("a:b")));
    assert!((1..=18).contains(&looked("a::::::::::::::::")));
}

#[test]
fn a_declaration_that_has_expired_is_none() {
    let (_server, mut redis) = declared();
    redis.run("DEBUG SET-ACTIVE-EXPIRE 0");
    redis.run("PEXPIRE shop:user 1");
    std::thread::sleep(std::time::Duration::from_millis(5));
    redis.expect(
        "DEL shop:user@deferred => (1)\n\
         DIRTY.FLUSH shop SNAPSHOT user:new 1 a x => [insert]\n\
         DIRTY.GET shop user:new => [[a x]]\n\
         EXISTS shop:user => (0)",
    );
}

#[test]
fn a_declaration_comes_below_another_where_no_entity_is_in_its_place() {
    let (_server, mut redis) = declared();
    redis.expect(
        r#"
DIRTY.FLUSH shop SNAPSHOT job 1 a x SNAPSHOT job:1 1 a x => [insert insert]
DIRTY.DECLARE shop:job STREAM job-changes
  => WRONGTYPE the key "shop:job" does not hold a declaration
DIRTY.FLUSH shop DELETE job => [delete]
DIRTY.DECLARE shop:job STREAM job-changes => OK
# What lay below is an entity of the new type from now on.
DIRTY.GET shop:job 1 => [[a x]]
DIRTY.GET shop job:1
  => WRONGTYPE the snapshot of entity "job:1" would be stored at "shop:job:1", which belongs to the declaration "shop:job"
DIRTY.FLUSH shop SNAPSHOT job 1 a x
  => WRONGTYPE the snapshot of entity "job" would be stored at "shop:job", which belongs to the declaration "shop:job"
"#,
    );
}

#[test]
fn a_declaration_and_its_streams_do_not_share_keys() {
    let (_server, mut redis) = declared();
    redis.expect(
        r#"
DIRTY.DECLARE new STREAM new => ERR stream "new" would be one of the declaration's own keys
DIRTY.DECLARE new STREAM new@once => ERR stream "new@once" would be one of the declaration's own keys
DIRTY.DECLARE new:dead STREAM new => ERR the key "new:dead" belongs to the stream "new", whose readers need it
DIRTY.DECLARE new:readers STREAM new => ERR the key "new:readers" belongs to the stream "new", whose readers need it
EXISTS new new:dead new:readers => (0)
DIRTY.DECLARE new:dead STREAM new DB 1 => OK
DIRTY.DECLARE new:x STREAM new => OK
DIRTY.FLUSH new:x SNAPSHOT 1 0 => [insert]
"#,
    );
}

/// Lines `what is declared besides y => the rest of the error`, empty if it may be.
const BESIDES: &str = r#"
y@deferred STREAM s => the key "y@deferred" belongs to the declaration "y"
y@once:t STREAM s => the key "y@once:t" belongs to the declaration "y"
y@once: STREAM s => the key "y@once:" belongs to the declaration "y"
x PREFIX y@ STREAM s => the prefix "y@" leads to keys of the declaration "y"
x PREFIX y@d STREAM s => the prefix "y@d" leads to keys of the declaration "y"
x PREFIX y@deferred STREAM s => the prefix "y@deferred" leads to keys of the declaration "y"
x PREFIX y@once:t STREAM s => the prefix "y@once:t" leads to keys of the declaration "y"
y@ STREAM s => ""
y@x STREAM s => ""
y@deferred2 STREAM s => ""
y@once STREAM s => the prefix "y@once:" leads to keys of the declaration "y"
y@once PREFIX x: STREAM s => ""
y PREFIX y@ STREAM s => ""
x PREFIX y: STREAM s => ""
x PREFIX y@x STREAM s => ""
x PREFIX z@ STREAM s => ""
x PREFIX hash@ STREAM s => ""
x STATELESS PREFIX y@ STREAM s => ""
"#;

#[test]
fn nothing_is_declared_where_another_declaration_keeps_flushes_and_replies() {
    let server = Server::start();
    let mut redis = server.connect();
    for (declared, why) in cases(BESIDES) {
        redis.run("FLUSHALL");
        redis.run("DIRTY.DECLARE y STREAM y-changes");
        redis.run("HSET hash a x");
        let before = redis.digest();
        let reply = redis.run(&format!("DIRTY.DECLARE {declared}"));
        if why == "\"\"" {
            assert_eq!(reply, "OK", "{declared}");
            continue;
        }
        assert_eq!(reply, format!("ERR {why}"), "{declared}");
        assert_eq!(redis.digest(), before, "{declared}");
        // Nobody keeps anything there without a declaration.
        redis.run("DEL y");
        assert_eq!(redis.run(&format!("DIRTY.DECLARE {declared}")), "OK");
    }
}
