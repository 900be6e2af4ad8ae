//! What one command may ask for: at each limit it is carried out, one past it it is refused with LIMIT and
//! nothing has changed.

use super::support::{Conn, Server, cases};

fn started() -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    redis.expect(
        r#"
DIRTY.DECLARE user TYPES 1 n int STREAM s STREAM t FORMAT DEBEZIUM => OK
DIRTY.DECLARE stateless STATELESS STREAM s => OK
DIRTY.DECLARE versioned VERSION v STREAM s => OK
"#,
    );
    (server, redis)
}

/// How often anything was changed.
fn writes(redis: &mut Conn) -> String {
    redis.info("rdb_changes_since_last_save")
}

/// Runs a table of commands that are within the limits and of such as are not; those have no effect.
fn expect(redis: &mut Conn, table: &str) {
    for (command, reply) in cases(table) {
        let before = (redis.digest(), writes(redis));
        assert_eq!(redis.run(&command), reply, "{command}");
        if reply.starts_with("LIMIT") {
            assert_eq!((redis.digest(), writes(redis)), before, "{command}");
        }
    }
}

#[test]
fn an_entity_has_at_most_max_fields() {
    let (_server, mut redis) = started();
    redis.expect("DIRTY.FLUSH user SNAPSHOT old 4 a 1 b 1 c 1 d 1 => [insert]");
    redis.expect("CONFIG SET dirty.max-fields 3 => OK");
    expect(
        &mut redis,
        r#"
DIRTY.FLUSH user SNAPSHOT 1 3 a 1 b 1 c 1 => [insert]
DIRTY.FLUSH user SNAPSHOT 1 4 a 1 b 1 c 1 d 1 => LIMIT 4 fields of the entity "1", but dirty.max-fields is 3
DIRTY.FLUSH user INSERT 2 4 a 1 b 1 c 1 d 1 => LIMIT 4 fields of the entity "2", but dirty.max-fields is 3
DIRTY.FLUSH user SEED 2 4 a 1 b 1 c 1 d 1 => LIMIT 4 fields of the entity "2", but dirty.max-fields is 3
# NULL names fields, too.
DIRTY.FLUSH user UPDATE 1 1 a 2 NULL 2 b c => [update]
DIRTY.FLUSH user UPDATE 1 2 a 2 b 2 NULL 2 c d => LIMIT 4 fields of the entity "1", but dirty.max-fields is 3
# Together with those that are stored.
DIRTY.FLUSH user UPDATE 1 2 b 1 c 1 => [update]
DIRTY.FLUSH user UPDATE 1 1 d 1 => LIMIT 4 fields of the entity "1", but dirty.max-fields is 3
DIRTY.FLUSH user UPDATE 1 1 d 1 NULL 1 a => [update]
# In one command, each operation for itself.
DIRTY.FLUSH user TOUCH 1 UPDATE 1 1 a 1 => LIMIT 4 fields of the entity "1", but dirty.max-fields is 3
DIRTY.FLUSH user DELETE 1 SNAPSHOT 1 3 a 1 b 1 c 1 => [delete insert]
DIRTY.FLUSH user UPDATE 1 0 NULL 1 a UPDATE 1 1 d 1 => [update update]
# One that had more by other limits may change and shrink, but not grow.
DIRTY.FLUSH user UPDATE old 1 a 2 => [update]
DIRTY.FLUSH user UPDATE old 1 e 1 => LIMIT 5 fields of the entity "old", but dirty.max-fields is 3
DIRTY.FLUSH user UPDATE old 1 e 1 NULL 1 a => [update]
DIRTY.FLUSH user UPDATE old 0 NULL 1 b => [update]
DIRTY.FLUSH user TOUCH old DELETE old => [touch delete]
# JSON and MessagePack.
DIRTY.FLUSH user SNAPSHOT 3 JSON {"a":1,"b":null,"c":[1,2,3,4,5]} => [insert]
DIRTY.FLUSH user SNAPSHOT 3 JSON {"a":1,"b":null,"c":1,"d":1} => LIMIT 4 fields of the entity "3", but dirty.max-fields is 3
DIRTY.FLUSH user SNAPSHOT 3 MSGPACK \x83\xa1a\x01\xa1b\x01\xa1c\x01 => [update]
DIRTY.FLUSH user SNAPSHOT 3 MSGPACK \x84\xa1a\x01\xa1b\x01\xa1c\x01\xa1d\x01 => LIMIT 4 fields of the entity "3", but dirty.max-fields is 3
# A delete with a version.
DIRTY.FLUSH versioned DELETE 1 3 v 1 a 1 b 1 => [none]
DIRTY.FLUSH versioned DELETE 1 4 v 2 a 1 b 1 c 1 => [none]
# Types without snapshots, the old and the new state each.
DIRTY.FLUSH stateless UPDATE 1 3 a 1 2 b 1 2 c 1 2 => [update]
DIRTY.FLUSH stateless UPDATE 1 4 a 1 2 b 1 2 c 1 2 d 1 2 => LIMIT 4 fields of the entity "1", but dirty.max-fields is 3
DIRTY.FLUSH stateless UPDATE 1 JSON {"a":1,"b":1,"c":1} {"d":1} => [update]
DIRTY.FLUSH stateless UPDATE 1 JSON {} {"a":1,"b":1,"c":1,"d":1} => LIMIT 4 fields of the entity "1", but dirty.max-fields is 3
DIRTY.FLUSH stateless DELETE 1 3 a 1 b 1 c 1 => [delete]
DIRTY.FLUSH stateless DELETE 1 4 a 1 b 1 c 1 d 1 => LIMIT 4 fields of the entity "1", but dirty.max-fields is 3
# Pairs of META.
DIRTY.FLUSH user META 3 a 1 b 1 c 1 TOUCH 1 => [touch]
DIRTY.FLUSH user META 4 a 1 b 1 c 1 d 1 TOUCH 1 => LIMIT 4 pairs of META, but dirty.max-fields is 3
# What waits for its COMMIT is looked at when it comes.
DIRTY.FLUSH user DEFER token SNAPSHOT 9 4 a 1 b 1 c 1 d 1 => LIMIT 4 fields of the entity "9", but dirty.max-fields is 3
"#,
    );
}

#[test]
fn a_command_has_at_most_max_ops() {
    let (_server, mut redis) = started();
    redis.expect(
        r#"
DIRTY.FLUSH user DEFER five TOUCH 1 TOUCH 1 TOUCH 1 TOUCH 1 TOUCH 1 => [deferred]
CONFIG SET dirty.max-ops 3 => OK
"#,
    );
    expect(
        &mut redis,
        r#"
DIRTY.FLUSH user SNAPSHOT 1 0 SNAPSHOT 2 0 SNAPSHOT 3 0 => [insert insert insert]
DIRTY.FLUSH user SNAPSHOT 4 0 SNAPSHOT 5 0 SNAPSHOT 6 0 SNAPSHOT 7 0 => LIMIT 4 operations, but dirty.max-ops is 3
DIRTY.FLUSH stateless TOUCH 1 TOUCH 1 TOUCH 1 TOUCH 1 => LIMIT 4 operations, but dirty.max-ops is 3
DIRTY.FLUSH user ONCE o DEFER d TOUCH 1 TOUCH 1 TOUCH 1 TOUCH 1 => LIMIT 4 operations, but dirty.max-ops is 3
DIRTY.GET user 1 1 1 => [[] [] []]
DIRTY.GET user 1 1 1 1 => LIMIT 4 ids, but dirty.max-ops is 3
# Commits count all their operations; a flush that was accepted can be committed by itself.
DIRTY.FLUSH user DEFER a TOUCH 1 TOUCH 2 => [deferred]
DIRTY.FLUSH user DEFER b TOUCH 1 TOUCH 2 => [deferred]
DIRTY.FLUSH user DEFER c TOUCH 3 => [deferred]
DIRTY.COMMIT user a b => LIMIT 4 operations, but dirty.max-ops is 3
DIRTY.COMMIT user a c unknown => [[touch touch] [touch] nil]
DIRTY.COMMIT user b five => LIMIT 7 operations, but dirty.max-ops is 3
DIRTY.COMMIT user five => [[touch touch touch touch touch]]
DIRTY.COMMIT user b => [[touch touch]]
"#,
    );
}

#[test]
fn a_value_has_at_most_max_value_bytes() {
    let (_server, mut redis) = started();
    redis.expect("DIRTY.FLUSH user SNAPSHOT old 1 a longer => [insert]");
    redis.expect("DIRTY.FLUSH user DEFER waits SNAPSHOT 7 1 a 12345 => [deferred]");
    redis.expect("CONFIG SET dirty.max-value-bytes 4 => OK");
    expect(
        &mut redis,
        r#"
DIRTY.FLUSH user SNAPSHOT 1 1 a 1234 => [insert]
DIRTY.FLUSH user SNAPSHOT 1 1 a 12345 => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SNAPSHOT 1 2 a 1234 n 01234 => LIMIT 5 bytes in the value of "n", but dirty.max-value-bytes is 4
DIRTY.FLUSH user INSERT 2 1 a 12345 => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.FLUSH user UPDATE 1 1 a 12345 => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SEED 2 1 a 12345 => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.GET user 12345 => LIMIT 5 bytes in the name "12345", but dirty.max-value-bytes is 4
DIRTY.FLUSH stateless INSERT 1 1 a 12345 => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
# Its text, however it is written.
DIRTY.FLUSH user SNAPSHOT 1 JSON {"a":"\u0001\u0002\u0003\u0004"} => [update]
DIRTY.FLUSH user SNAPSHOT 1 JSON {"a":"12345"} => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SNAPSHOT 1 JSON {"a":[12]} => [update]
DIRTY.FLUSH user SNAPSHOT 1 JSON {"a":[123]} => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SNAPSHOT 1 MSGPACK \x81\xa1a\xa41234 => [update]
DIRTY.FLUSH user SNAPSHOT 1 MSGPACK \x81\xa1a\xa512345 => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SNAPSHOT 1 MSGPACK \x81\xa1a\xce\xff\xff\xff\xff => LIMIT 10 bytes in the value of "a", but dirty.max-value-bytes is 4
# Old ones, names, ids and META go where values go.
DIRTY.FLUSH stateless UPDATE 1 1 a 1234 1 => [update]
DIRTY.FLUSH stateless UPDATE 1 1 a 12345 1 => LIMIT 5 bytes in the value of "a", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SNAPSHOT 1234 1 name x => [insert]
DIRTY.FLUSH user SNAPSHOT 12345 0 => LIMIT 5 bytes in the name "12345", but dirty.max-value-bytes is 4
DIRTY.FLUSH user TOUCH 12345 => LIMIT 5 bytes in the name "12345", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SNAPSHOT 1 1 names x => LIMIT 5 bytes in the name "names", but dirty.max-value-bytes is 4
DIRTY.FLUSH user SNAPSHOT new 0 NULL 1 names => LIMIT 5 bytes in the name "names", but dirty.max-value-bytes is 4
DIRTY.FLUSH user META 1 name 1234 TOUCH 1234 => [touch]
DIRTY.FLUSH user META 1 names 1 TOUCH 1 => LIMIT 5 bytes in the name "names", but dirty.max-value-bytes is 4
DIRTY.FLUSH user META 1 name 12345 TOUCH 1 => LIMIT 5 bytes in the value of "name", but dirty.max-value-bytes is 4
# What is stored stays, and what was accepted is carried out.
DIRTY.FLUSH user UPDATE old 1 b 1 => [update]
DIRTY.COMMIT user waits => [[insert]]
"#,
    );
}

#[test]
fn the_events_of_a_command_have_at_most_max_event_bytes() {
    let (server, mut redis) = started();
    redis.expect("DIRTY.DECLARE one STREAM s PAYLOAD IMAGES => OK");
    redis.expect("DIRTY.FLUSH one INSERT 1 1 a 0 => [insert]");
    // One event: its own bytes, its field's name, and 64.
    let update = |size: usize| format!("DIRTY.FLUSH one UPDATE 1 1 a {}", "x".repeat(size));
    let mut least = None;
    redis.expect("CONFIG SET dirty.max-event-bytes 400 => OK");
    let too_large =
        "LIMIT the events of this command are larger than dirty.max-event-bytes, which is 400";
    for size in (1..400).rev() {
        let before = (redis.digest(), writes(&mut redis));
        let reply = redis.run(&update(size));
        if reply == "[update]" {
            least = Some(size);
            break;
        }
        assert_eq!(reply, too_large);
        assert_eq!((redis.digest(), writes(&mut redis)), before);
    }
    // {et: one, id: 1, ft: 2, b: {a: {t: s, v: 0}}, a: {a: {t: s, v: …}}}
    let others = 1 + 7 + 4 + 4 + (2 + 1 + 2 + 1 + 4 + 4) + (2 + 1 + 2 + 1 + 4 + 2);
    assert_eq!(
        least,
        Some(400 - 64 - 1 - others - 3),
        "a str 16 has three bytes before its text"
    );
    // Each of several counts, and those of the same text in several streams do.
    redis.expect("DIRTY.DECLARE two STREAM s PAYLOAD KEYS STREAM t PAYLOAD KEYS => OK");
    redis.expect("DIRTY.FLUSH two SEED 1 0 => [seed]");
    let touch = |n: usize| format!("DIRTY.FLUSH two{}", " TOUCH 1".repeat(n));
    let bytes = 2 * (64 + 1 + 1 + 7 + 4 + 4);
    assert_eq!(redis.run(&touch(400 / bytes)), "[touch touch]");
    assert_eq!(redis.run(&touch(400 / bytes + 1)), too_large);
    // A Debezium event is many times its value here.
    redis.expect("CONFIG SET dirty.max-event-bytes 64mb => OK");
    redis.expect("CONFIG SET dirty.max-value-bytes 64mb => OK");
    redis.expect("DIRTY.DECLARE deb STREAM d FORMAT DEBEZIUM => OK");
    let large = vec![1u8; 12 << 20];
    let flush: [&[u8]; 7] = [
        b"DIRTY.FLUSH",
        b"deb",
        b"SNAPSHOT",
        b"1",
        b"1",
        b"a",
        &large,
    ];
    let before = redis.digest();
    let was = server.most_memory();
    assert!(redis.raw(&flush).starts_with("LIMIT the events"));
    let taken = server.most_memory() - was;
    assert!(taken < 300 << 10, "{taken} KiB");
    assert_eq!(redis.digest(), before);
}

/// Lines `flush => reply` of entities `1`, `2` and `3`, which have more fields and bytes than the limits allow now.
const SHRINKING: &str = r#"
# Setting by setting: as many fields and bytes as before, or fewer.
SNAPSHOT 1 4 a xxxx b yyyy c zzzz d 0000 => [none]
SNAPSHOT 1 4 a xxxx b yyyy c zzzz d 1111 => [update]
SNAPSHOT 1 4 a xxxx b yyyy c zzzz d 111 => [update]
SNAPSHOT 1 3 a xxxxxx b yyyyyy c zzz NULL 2 d e => [update]
UPDATE 1 2 a yyyyyy b xxxxxx => [update]
UPDATE 1 0 NULL 4 c p q r => [update]
TOUCH 1 => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
SNAPSHOT 1 3 a y b x name "" => LIMIT 3 fields of the entity "1", but dirty.max-fields is 2
UPDATE 1 1 a yyyyyyy => LIMIT 7 bytes in the value of "a", but dirty.max-value-bytes is 3
# It may grow again as far as the limits allow; its event is not excused then.
UPDATE 1 2 a y b x => [update]
UPDATE 1 1 a yy => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
# One by one, all can be deleted; together they are what a command may not publish.
DELETE 2 DELETE 3 => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
TOUCH 1 DELETE 2 => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
# META comes from the command.
META 1 m x DELETE 2 => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
META 1 m x UPDATE 2 0 NULL 1 a => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
SEED 1 1 a y DELETE 2 => [seed delete]
DELETE 3 => [delete]
DELETE 3 => [none]
DEFER t DELETE long-id => [deferred]
DEFER u UPDATE long-id 0 NULL 1 a => [deferred]
DEFER v SNAPSHOT long-id 3 a xxx b yyyy c zzzz => [deferred]
DEFER w SNAPSHOT long-id 5 a xxx b yyyy c zzzz d 1 e 1
  => LIMIT 5 fields of the entity "long-id", but dirty.max-fields is 2
DEFER w UPDATE 404 1 a xxxx => LIMIT 4 bytes in the value of "a", but dirty.max-value-bytes is 3
"#;

#[test]
fn a_delete_or_a_flush_that_shrinks_its_entity_is_not_held_back() {
    let (_server, mut redis) = started();
    redis.expect("DIRTY.DECLARE user STREAM s PAYLOAD IMAGES STREAM t PAYLOAD FULL => OK");
    for id in ["1", "2", "3", "long-id"] {
        redis.run(&format!(
            "DIRTY.FLUSH user SNAPSHOT {id} 4 a xxxx b yyyy c zzzz d 0000"
        ));
    }
    for (setting, value) in [("fields", 2), ("value-bytes", 3), ("event-bytes", 1)] {
        redis.expect(&format!("CONFIG SET dirty.max-{setting} {value} => OK"));
    }
    for (flush, expected) in super::support::cases(SHRINKING) {
        let before = redis.digest();
        let reply = redis.run(&format!("DIRTY.FLUSH user {flush}"));
        assert_eq!(reply, expected, "{flush}");
        if expected.starts_with("LIMIT") {
            assert_eq!(redis.digest(), before, "{flush}");
        }
    }
    redis.expect("DIRTY.COMMIT user v => [[update]]");
    redis.expect("DIRTY.COMMIT user u => [[update]]");
    redis.expect("DIRTY.COMMIT user t => [[delete]]");
    // A flag that is set is a delete, although the entity grows by it.
    redis.expect(
        r#"
CONFIG SET dirty.max-event-bytes 64mb => OK
CONFIG SET dirty.max-value-bytes 64mb => OK
DIRTY.DECLARE soft SOFTDELETE gone STREAM s PAYLOAD IMAGES => OK
DIRTY.FLUSH soft INSERT 1 1 a xxxxxxxxxxxxxxxxx => [insert]
CONFIG SET dirty.max-event-bytes 1 => OK
CONFIG SET dirty.max-fields 1 => OK
DIRTY.FLUSH soft UPDATE 1 2 gone 1 b 1 => LIMIT 2 fields of the entity "1", but dirty.max-fields is 1
DIRTY.FLUSH soft UPDATE 1 1 gone 1 => [delete]
CONFIG SET dirty.max-fields 2 => OK
DIRTY.FLUSH soft UPDATE 1 0 NULL 1 gone => [insert]
DIRTY.FLUSH soft UPDATE 1 1 b 1
  => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
DIRTY.DECLARE given STATELESS SOFTDELETE gone STREAM s PAYLOAD IMAGES => OK
DIRTY.FLUSH given UPDATE 1 1 gone 0 1
  => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
DIRTY.FLUSH given DELETE 1 1 a x
  => LIMIT the events of this command are larger than dirty.max-event-bytes, which is 1
"#,
    );
}

/// Without the limit such a command would hold the server for half a minute.
#[test]
fn no_command_looks_at_more_fields_than_it_can_in_a_moment() {
    let (_server, mut redis) = started();
    redis.expect("DIRTY.DECLARE u STREAM u-s OPS NONE FIELDS 1 never PAYLOAD IMAGES => OK");
    let fields: Vec<String> = (0..5000).map(|i| format!("f{i} v")).collect();
    redis.run(&format!("DIRTY.FLUSH u SEED 1 5000 {}", fields.join(" ")));
    let updates = |n: usize| {
        let updates: Vec<String> = (0..n).map(|i| format!("UPDATE 1 1 f1 {i}")).collect();
        format!("DIRTY.FLUSH u {}", updates.join(" "))
    };
    // 5000 are loaded; each operation tells them in images and counts an eighth of them for finding one,
    // which is given, written and changed.
    let most = (10_000_000 - 5000) / (5000 + 5000 / 8 + 1 + 10 + 1);
    let before = (redis.digest(), writes(&mut redis));
    assert_eq!(
        redis.run(&updates(most + 1)),
        "LIMIT the operations of this command look at more than 10000000 fields in total, where a written field counts as ten"
    );
    assert_eq!((redis.digest(), writes(&mut redis)), before);
    assert!(redis.run(&updates(most)).starts_with("[update"));
    let ids = " 1".repeat(2001);
    assert_eq!(
        redis.run(&format!("DIRTY.GET u{ids}")),
        "LIMIT these entities are too large for one reply; name fewer ids"
    );
}

#[test]
fn nothing_is_refused_that_another_server_has_accepted() {
    let aof = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no"];
    let mut server = Server::with(&aof);
    let mut redis = server.connect();
    let low = |redis: &mut Conn| {
        for setting in [
            "max-fields",
            "max-ops",
            "max-value-bytes",
            "max-event-bytes",
        ] {
            redis.ok(&["CONFIG", "SET", &format!("dirty.{setting}"), "1"]);
        }
    };
    let replica = Server::replica_of(&server);
    low(&mut replica.connect());
    redis.expect(
        r#"
DIRTY.DECLARE user TYPES 2 a int b int STREAM s FIELDS 2 a b STREAM t => OK
DIRTY.FLUSH user META 2 m 11 n 22 SNAPSHOT 1 2 a 11 b 22 SNAPSHOT 2 2 a 11 b 22 => [insert insert]
DIRTY.FLUSH user DEFER token SNAPSHOT 3 2 a 11 b 22 => [deferred]
"#,
    );
    let digest = redis.digest();
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), digest);
    drop(replica);
    // And by whoever has it loaded.
    low(&mut redis);
    redis.expect("DEBUG LOADAOF => OK");
    assert_eq!(redis.digest(), digest);
    redis.expect("DEBUG RELOAD => OK");
    assert_eq!(redis.digest(), digest);
    server.restart();
    assert_eq!(server.connect().digest(), digest);
}

#[test]
fn a_reader_gives_at_most_max_fields_filters() {
    let (server, mut redis) = started();
    redis.expect(
        "CONFIG SET dirty.max-fields 4 => OK\n\
         DIRTY.FLUSH user META 2 a b c d INSERT 1 1 x 1 => [insert]",
    );
    let refused = "LIMIT more than 4 filters and fields in WHERE, but dirty.max-fields is 4";
    let often = "META a b ".repeat(20);
    for command in [
        "READER s GROUP g FROM 0",
        "READER s CURSOR c FROM 0",
        "READER s GROUP g FROM 0 CLAIM 5",
        "READER s CURSOR d FROM 0 SHARD 0 1 MINAGE 0",
        "READ s FROM 0",
        "READ s FROM 0 SHARD 0 1 MINAGE 0",
    ] {
        for (filters, is_fine) in [
            ("META a b META a c META a d META a e", true),
            ("META a b META a c META a d META a e META a f", false),
            (
                "META a b META b b META b a META a a META b c META a f",
                false,
            ),
            // Those that are said twice count once.
            (&often, true),
            ("FIELDS 9 a a a a b b b b c", true),
            ("META a b FIELDS 2 a a META a b ENTITY user META a b", true),
            ("META a b FIELDS 2 a b ENTITY user META a b", false),
            ("FIELDS 3 a b c", true),
            ("FIELDS 4 a b c d", false),
            ("FIELDS 400 a b c d", false),
            ("META a b FIELDS 4 a b c d", false),
            ("FIELDS 2 a b META a b", true),
            ("FIELDS 2 a b META a b ENTITY user", false),
            ("FIELDS 2 a b ENTITY user OPS I", false),
            ("FIELDS 1 a OPS IUD ENTITY user", true),
        ] {
            let before = (redis.digest(), writes(&mut redis));
            let reply = redis.run(&format!("DIRTY.{command} WHERE {filters}"));
            if is_fine {
                let is_taken = reply == "OK" || reply.starts_with("[events [");
                assert!(is_taken, "{command} {filters}: {reply}");
                continue;
            }
            assert_eq!(reply, refused, "{command} {filters}");
            assert_eq!((redis.digest(), writes(&mut redis)), before, "{filters}");
        }
    }
    // Who waits goes on by the limits of when it came.
    let mut client = server.connect();
    redis.run("DIRTY.READER s GROUP g2 FROM $ WHERE META a b META c d ENTITY user");
    let wait = "DIRTY.CONSUME s GROUP g2 c BLOCK 10000";
    client.send(&super::support::words(wait)).expect("sent");
    server.wait_for_blocked(1);
    redis.expect(
        "CONFIG SET dirty.max-fields 2 => OK\n\
         DIRTY.FLUSH user META 2 a b c d INSERT 2 0 => [insert]",
    );
    let got = super::support::text(&client.receive().expect("a reply"));
    assert!(got.contains("entity-id 2"), "{got}");
}

#[test]
fn filters_given_often_are_looked_at_once() {
    let (_server, mut redis) = started();
    redis.run("CONFIG SET dirty.max-fields 1000000");
    for batch in 0..10 {
        let inserts = (0..1000).map(|id| format!(" INSERT {batch}-{id} 0"));
        let inserts = inserts.collect::<String>();
        redis.run(&format!("DIRTY.FLUSH stateless META 1 a b{inserts}"));
        // Which no filter takes, since they are no events.
        for _ in 0..100 {
            redis.run("XADD s * x y");
        }
    }
    let many = 100_000;
    for (filters, taken) in [
        ("META a b ".repeat(many), 10_000),
        (format!("META a b {}", "META a c ".repeat(many)), 10_000),
        ((0..many).map(|n| format!("META a {n} ")).collect(), 0),
        (format!("FIELDS {many} {}", "a ".repeat(many)), 10_000),
        (
            format!(
                "FIELDS {many} {}",
                (0..many).map(|n| format!("{n} ")).collect::<String>()
            ),
            10_000,
        ),
    ] {
        let before = redis.cpu();
        let reply = redis.run(&format!("DIRTY.READ s FROM 0 COUNT 20000 WHERE {filters}"));
        let took = redis.cpu() - before;
        assert_eq!(
            reply.matches("entity-id").count(),
            taken,
            "{}",
            &filters[..20]
        );
        // Less than a second it is, 19 it was.
        assert!(
            took < std::time::Duration::from_secs(5),
            "{}: {took:?}",
            &filters[..20]
        );
    }
}

#[test]
fn names_of_readers_and_consumers_have_at_most_1024_bytes() {
    let (_server, mut redis) = started();
    redis.run("XADD s 1-1 a b");
    redis.run("DIRTY.READER s GROUP g FROM 0");
    let fits = "n".repeat(1024);
    let long = "n".repeat(1025);
    let refused = format!(
        "LIMIT the name \"{}\"... has 1025 bytes; names of readers and consumers have at most 1024",
        &long[..64]
    );
    for command in [
        "READER s GROUP $ FROM 0",
        "READER s CURSOR $ FROM 0",
        "CONSUME s GROUP $ w",
        "CONSUME s GROUP g $",
        "CONSUME s CURSOR $",
        "ACK s GROUP g $ 1-1",
        "HOLD s GROUP g $",
        "FAIL s GROUP g $ oh 1-1",
        "LEAVE s GROUP g $",
        "PENDING s GROUP $",
        "REDRIVE s GROUP $ ALL",
        "PAUSE s GROUP $ ON",
        "SEEK s CURSOR $ 0",
        "FORGET s CURSOR $",
        "FLUSH user ACK s GROUP g $ 1 1-1 SNAPSHOT 1 0",
    ] {
        let before = (redis.digest(), writes(&mut redis));
        let run = format!("DIRTY.{}", command.replace('$', &long));
        assert_eq!(redis.run(&run), refused, "{command}");
        assert_eq!((redis.digest(), writes(&mut redis)), before, "{command}");
    }
    for command in [
        "READER s GROUP $ FROM 0",
        "CONSUME s GROUP $ $",
        "LEAVE s GROUP $ $",
    ] {
        let run = format!("DIRTY.{}", command.replace('$', &fits));
        let reply = redis.run(&run);
        assert!(!reply.starts_with("LIMIT"), "{command}: {reply}");
    }
    redis.expect(&format!("DIRTY.FORGET s GROUP {fits} => (1)"));
}
