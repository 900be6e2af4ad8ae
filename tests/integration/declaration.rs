//! DIRTY.DECLARE and DIRTY.INFO, the decision table through a running server, and the declaration as a
//! data type of the server's.

use super::support::entities::{names_of_type, started};
use super::support::{Conn, Server, cases, text, words};
use redis::Value;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is declared, and what DIRTY.INFO says of it in RESP3. `S(…)` stands for a stream with these
/// options, the others at their defaults; `_` is a space in them.
const DECLARATIONS: &str = r#"
DIRTY.DECLARE user STREAM s => {name: user, prefix: user:, types: {}, streams: [S(s)]}
dirty.declare user stream s => {name: user, prefix: user:, types: {}, streams: [S(s)]}
DIRTY.DECLARE user NAME Person PREFIX p STREAM s
  => {name: Person, prefix: p, types: {}, streams: [S(s)]}
# The name is the key without its tag.
DIRTY.DECLARE user{7} STREAM s => {name: user, prefix: user{7}:, types: {}, streams: [S(s)]}
DIRTY.DECLARE {app}user STREAM s => {name: user, prefix: {app}user:, types: {}, streams: [S(s)]}
DIRTY.DECLARE {user} STREAM s => {name: {user}, prefix: {user}:, types: {}, streams: [S(s)]}
DIRTY.DECLARE user{} STREAM s => {name: user{}, prefix: user{}:, types: {}, streams: [S(s)]}
# Types by word and by letter, in any case.
DIRTY.DECLARE user TYPES 7 a string b int c uint d float e bool f time g json STREAM s
  => {name: user, prefix: user:, types: {a: string, b: int, c: uint, d: float, e: bool,
  f: time, g: json}, streams: [S(s)]}
DIRTY.DECLARE user TYPES 7 a STRING b Int c uint d FLOAT e Bool f time g JSON STREAM s
  => {name: user, prefix: user:, types: {a: string, b: int, c: uint, d: float, e: bool,
  f: time, g: json}, streams: [S(s)]}
DIRTY.DECLARE user TYPES 0 STREAM s => {name: user, prefix: user:, types: {}, streams: [S(s)]}
# A field may have any name but @ and an empty one.
DIRTY.DECLARE user TYPES 3 STREAM int \x00 bool \x00\xff\x0d\x0a float STREAM s FIELDS 2 OPS \x00
  => {name: user, prefix: user:, types: {\x00: bool, \x00\xff\r\n: float, STREAM: int},
  streams: [S(s ops=ID fields=[\x00_OPS])]}
# Each option of a stream.
DIRTY.DECLARE user STREAM s OPS I => {name: user, prefix: user:, types: {}, streams: [S(s ops=I)]}
DIRTY.DECLARE user STREAM s OPS du
  => {name: user, prefix: user:, types: {}, streams: [S(s ops=UD)]}
DIRTY.DECLARE user STREAM s OPS DUI => {name: user, prefix: user:, types: {}, streams: [S(s)]}
DIRTY.DECLARE user STREAM s OPS none FIELDS 2 b a
  => {name: user, prefix: user:, types: {}, streams: [S(s ops=NONE fields=[a_b])]}
# FIELDS let inserts and deletes pass, and updates that change one of these; U would let all pass.
DIRTY.DECLARE user STREAM s FIELDS 2 b a
  => {name: user, prefix: user:, types: {}, streams: [S(s ops=ID fields=[a_b])]}
DIRTY.DECLARE user STREAM s OPS D FIELDS 1 a
  => {name: user, prefix: user:, types: {}, streams: [S(s ops=D fields=[a])]}
DIRTY.DECLARE user STREAM s OPS NONE => {name: user, prefix: user:, types: {}, streams: [S(s ops=NONE)]}
# None of them is as if FIELDS did not stand there.
DIRTY.DECLARE user STREAM s OPS U FIELDS 0
  => {name: user, prefix: user:, types: {}, streams: [S(s ops=U)]}
DIRTY.DECLARE user STREAM s FIELDS 0 => {name: user, prefix: user:, types: {}, streams: [S(s)]}
DIRTY.DECLARE user STREAM s MAXLEN 5
  => {name: user, prefix: user:, types: {}, streams: [S(s maxlen==_5)]}
DIRTY.DECLARE user STREAM s MAXLEN = 0
  => {name: user, prefix: user:, types: {}, streams: [S(s maxlen==_0)]}
DIRTY.DECLARE user STREAM s MAXLEN ~ 9223372036854775807
  => {name: user, prefix: user:, types: {}, streams: [S(s maxlen=~_9223372036854775807)]}
DIRTY.DECLARE user STREAM s PAYLOAD keys
  => {name: user, prefix: user:, types: {}, streams: [S(s payload=KEYS)]}
DIRTY.DECLARE user STREAM s PAYLOAD CHANGES
  => {name: user, prefix: user:, types: {}, streams: [S(s)]}
DIRTY.DECLARE user STREAM s PAYLOAD Full FORMAT MsgPack
  => {name: user, prefix: user:, types: {}, streams: [S(s payload=FULL)]}
DIRTY.DECLARE user STREAM s DB 15
  => {name: user, prefix: user:, types: {}, streams: [S(s db=<15>)]}
DIRTY.DECLARE user STREAM s DB 0
  => {name: user, prefix: user:, types: {}, streams: [S(s db=<0>)]}
DIRTY.DECLARE user STREAM s MAXLEN 5 ONFULL keep
  => {name: user, prefix: user:, types: {}, streams: [S(s maxlen==_5 onfull=KEEP)]}
DIRTY.DECLARE user STREAM s ONFULL REFUSE MAXAGE 60000 MAXLEN ~ 5
  => {name: user, prefix: user:, types: {}, streams: [S(s maxlen=~_5 onfull=REFUSE maxage=<60000>)]}
DIRTY.DECLARE user STREAM s MAXAGE 9007199254740992
  => {name: user, prefix: user:, types: {}, streams: [S(s maxage=<9007199254740992>)]}
DIRTY.DECLARE user STREAM s FORMAT fluxaorm2
  => {name: user, prefix: user:, types: {}, streams: [S(s format=FLUXAORM2)]}
DIRTY.DECLARE user STREAM s FORMAT FLUXAORM2 PAYLOAD KEYS
  => {name: user, prefix: user:, types: {}, streams: [S(s payload=KEYS format=FLUXAORM2)]}
DIRTY.DECLARE user STREAM s FORMAT FLUXAORM1
  => {name: user, prefix: user:, types: {}, streams: [S(s payload=FULL format=FLUXAORM1)]}
DIRTY.DECLARE user STREAM s PAYLOAD IMAGES FORMAT DEBEZIUM STREAM t FORMAT DEBEZIUM
  => {name: user, prefix: user:, types: {},
  streams: [S(s payload=IMAGES format=DEBEZIUM) S(t payload=IMAGES format=DEBEZIUM)]}
DIRTY.DECLARE user STREAM s FORMAT DEBEZIUM IDFIELD pk safenumbers STREAM t FORMAT flat
  => {name: user, prefix: user:, types: {},
  streams: [S(s payload=IMAGES format=DEBEZIUM idfield=pk safenumbers=true) S(t payload=IMAGES format=FLAT)]}
# Each option of the type as a whole; a version is an integer even if nobody says so.
DIRTY.DECLARE user STREAM s STATELESS SOFTDELETE \xff\x00
  => {name: user, prefix: user:, stateless: true, version: nil, tombstone: nil, softdelete: \xff\x00, types: {}, streams: [S(s)]}
DIRTY.DECLARE user VERSION v STREAM s
  => {name: user, prefix: user:, stateless: false, version: v, tombstone: (86400000), softdelete: nil, types: {v: int}, streams: [S(s)]}
DIRTY.DECLARE user TOMBSTONE 0 STREAM s VERSION v TYPES 2 a int v uint
  => {name: user, prefix: user:, stateless: false, version: v, tombstone: (0), softdelete: nil, types: {a: int, v: uint}, streams: [S(s)]}
# Several streams, in the order given; options between them.
DIRTY.DECLARE user STREAM b OPS I STREAM a PAYLOAD KEYS NAME n STREAM c MAXLEN ~ 9 TYPES 1 x int
  => {name: n, prefix: user:, types: {x: int},
  streams: [S(b ops=I) S(a payload=KEYS) S(c maxlen=~_9)]}
# Tags of both generations, alone and beside streams.
DIRTY.DECLARE user TAGS 3 ID dirtyStream=A,B//ID Name required Status required;dirtyStream=B
  => {name: user, prefix: user:, types: {}, streams: [S(A format=FLUXAORM2) S(B ops=ID fields=[Status] format=FLUXAORM2)]}
DIRTY.DECLARE user TAGS 2 ID dirty=All,New:add|delete Age dirty=Age,All
  => {name: user, prefix: user:, types: {}, streams: [S(dirty_All fields=[Age] payload=FULL format=FLUXAORM1)
  S(dirty_New ops=ID payload=FULL format=FLUXAORM1) S(dirty_Age ops=NONE fields=[Age] payload=FULL format=FLUXAORM1)]}
DIRTY.DECLARE user TAGS 1 ID dirty=A:add,A:delete;dirtyStream=B//I,B//U
  => {name: user, prefix: user:, types: {}, streams: [S(dirty_A ops=ID payload=FULL format=FLUXAORM1)
  S(B ops=IU format=FLUXAORM2)]}
DIRTY.DECLARE user TAGS 2 ID orm:"redisCache;dirtyStream=U" Age `json:"age"\x20orm:"dirtyStream=U"`
  => {name: user, prefix: user:, types: {}, streams: [S(U fields=[Age] format=FLUXAORM2)]}
# A STREAM may give one of the tags' streams what a tag cannot say.
DIRTY.DECLARE user STREAM B FORMAT MSGPACK PAYLOAD IMAGES MAXLEN 5 TAGS 2 ID dirtyStream=A,B//ID Age dirtyStream=B
  => {name: user, prefix: user:, types: {},
  streams: [S(B ops=ID fields=[Age] maxlen==_5 payload=IMAGES) S(A format=FLUXAORM2)]}
DIRTY.DECLARE user STREAM dirty_Age MAXAGE 5 TAGS 1 Age dirty=Age
  => {name: user, prefix: user:, types: {},
  streams: [S(dirty_Age ops=NONE fields=[Age] maxage=<5> payload=FULL format=FLUXAORM1)]}
DIRTY.DECLARE user STREAM s OPS U TAGS 2 ID dirty=All Age dirty=Age
  => {name: user, prefix: user:, types: {},
  streams: [S(s ops=U) S(dirty_All payload=FULL format=FLUXAORM1)
  S(dirty_Age ops=NONE fields=[Age] payload=FULL format=FLUXAORM1)]}
DIRTY.DECLARE user POOL x 1 TAGS 1 ID dirtyStream=A/x/U,B/y,C//,D/y/D POOL y 2
  => {name: user, prefix: user:, types: {},
  streams: [S(A ops=U db=<1> format=FLUXAORM2) S(B db=<2> format=FLUXAORM2) S(C format=FLUXAORM2)
  S(D ops=D db=<2> format=FLUXAORM2)]}
# A revision.
DIRTY.DECLARE user REVISION 0 STREAM s
  => {name: user, prefix: user:, revision: (0), stateless: false, version: nil, tombstone: nil, softdelete: nil, types: {}, streams: [S(s)]}
DIRTY.DECLARE user STREAM s revision 9223372036854775807
  => {name: user, prefix: user:, revision: (9223372036854775807), stateless: false, version: nil, tombstone: nil, softdelete: nil, types: {}, streams: [S(s)]}
"#;

#[test]
fn a_declaration_is_told_as_it_is_in_force() {
    let (server, mut redis) = started();
    let mut resp3 = server.connect_resp3();
    for (command, info) in cases(DECLARATIONS) {
        let key = command.split(' ').nth(1).expect("a key");
        assert_eq!(redis.run(&command), "OK", "{command}");
        let told = resp3.value(&["DIRTY.INFO", key]);
        assert_eq!(text(&told), with_defaults(&info), "{command}");
        assert_eq!(redis.value(&["DIRTY.INFO", key]), flat(told), "{command}");
    }
}

/// Writes out what a line of DECLARATIONS leaves to its default, and its streams.
fn with_defaults(info: &str) -> String {
    let unset =
        ", revision: nil, stateless: false, version: nil, tombstone: nil, softdelete: nil, types: ";
    let info = match info.contains("stateless: ") {
        true if info.contains("revision: ") => info.to_string(),
        true => info.replacen(", stateless: ", ", revision: nil, stateless: ", 1),
        false => info.replacen(", types: ", unset, 1),
    };
    let mut parts = info.split("S(");
    let mut told = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (options, rest) = part.split_once(')').expect("an end");
        let option = |name: &str, default: &str| {
            let value = options
                .split(' ')
                .find_map(|option| option.strip_prefix(name));
            value.unwrap_or(default).replace('_', " ")
        };
        let key = options.split(' ').next().unwrap_or_default();
        let (ops, fields) = (option("ops=", "IUD"), option("fields=", "[]"));
        let (maxlen, payload) = (option("maxlen=", "nil"), option("payload=", "CHANGES"));
        let trim = if maxlen == "nil" { "nil" } else { "TRIM" };
        let (onfull, format) = (option("onfull=", trim), option("format=", "MSGPACK"));
        let number = |name| option(name, "nil").replace('<', "(").replace('>', ")");
        let (maxage, db) = (number("maxage="), number("db="));
        let idfield = option("idfield=", "nil");
        let safenumbers = option("safenumbers=", "false");
        told += &format!(
            "{{stream: {key}, ops: {ops}, fields: {fields}, maxlen: {maxlen}, onfull: {onfull}, \
             maxage: {maxage}, payload: {payload}, format: {format}, idfield: {idfield}, \
             safenumbers: {safenumbers}, db: {db}}}{rest}"
        );
    }
    told
}

/// A reply in RESP3 as RESP2 has it.
fn flat(value: Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            Value::Array(
                pairs
                    .flat_map(|(key, value)| [flat(key), flat(value)])
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(flat).collect()),
        Value::Boolean(truth) => Value::Int(truth.into()),
        value => value,
    }
}

/// Each line's declarations are the same one.
const SAME: &[&[&str]] = &[
    &[
        "NAME n PREFIX p TYPES 2 a int b bool STREAM s OPS DI FIELDS 2 x y MAXLEN = 5 PAYLOAD FULL REVISION 1",
        "PREFIX p NAME n REVISION 1 STREAM s PAYLOAD FULL MAXLEN 5 FIELDS 2 y x OPS ID TYPES 2 b Bool a int",
        "REVISION 1 TYPES 2 b BOOL a INT STREAM s FIELDS 2 x y PAYLOAD full MAXLEN = 5 PREFIX p NAME n",
    ],
    &[
        "STREAM s",
        "STREAM s OPS IUD",
        "STREAM s PAYLOAD CHANGES FORMAT MSGPACK NAME user",
        "PREFIX user: NAME user TYPES 0 STREAM s FIELDS 0 OPS DIU",
        "STREAM s FORMAT MSGPACK TAGS 1 ID dirtyStream=s",
        "TAGS 2 Age required ID unique;dirtyStream=s//IUD POOL p 3 STREAM s FORMAT MSGPACK",
    ],
    &[
        "STREAM a DB 2 FORMAT FLUXAORM2 STREAM dirty_b OPS NONE FIELDS 1 f FORMAT FLUXAORM1",
        "TAGS 2 ID dirtyStream=a/p f dirty=b POOL p 2",
        "POOL q 1 POOL p 2 TAGS 2 f dirty=b ID dirtyStream=a/p/",
    ],
];

#[test]
fn the_same_again_in_any_order_changes_nothing_and_replicates_nothing() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let _replica = Server::replica_of(&server);
    let (mut redis, mut watching) = (server.connect(), server.connect());
    let declare = |same: &str| format!("DIRTY.DECLARE user {same}");
    let transaction = |watching: &mut Conn| {
        watching.run("MULTI");
        watching.run("PING");
        watching.run("EXEC")
    };
    let (mut told, mut digests) = (Vec::new(), Vec::new());
    for group in SAME {
        redis.run("DEL user");
        watching.run("WATCH user");
        assert_eq!(redis.run(&declare(group[0])), "OK");
        assert_eq!(transaction(&mut watching), "nil", "{}", group[0]);
        let before = (
            redis.digest(),
            redis.replicated(),
            redis.run("DIRTY.INFO user"),
        );
        for same in *group {
            watching.run("WATCH user");
            assert_eq!(redis.run(&declare(same)), "OK");
            let after = (
                redis.digest(),
                redis.replicated(),
                redis.run("DIRTY.INFO user"),
            );
            assert_eq!(after, before, "{same}");
            assert_eq!(transaction(&mut watching), "[PONG]", "{same}");
        }
        digests.push(before.0);
        told.push(before.2);
    }
    // Another group is another declaration, of another digest.
    for different in [digests, told] {
        assert!(different[0] != different[1] && different[1] != different[2]);
    }
}

#[test]
fn every_option_counts_in_the_digest() {
    let (_server, mut redis) = started();
    let mut seen = BTreeMap::new();
    for declared in [
        "STREAM s",
        "NAME n STREAM s",
        "PREFIX n STREAM s",
        "TYPES 1 a int STREAM s",
        "TYPES 1 a uint STREAM s",
        "TYPES 1 b int STREAM s",
        "TYPES 2 a int b int STREAM s",
        "STREAM t",
        "STREAM s STREAM t",
        "STREAM s OPS NONE",
        "STREAM s OPS I",
        "STREAM s OPS U",
        "STREAM s OPS D",
        "STREAM s FIELDS 1 a",
        "STREAM s FIELDS 1 b",
        "STREAM s FIELDS 2 a b",
        "STREAM s OPS NONE FIELDS 2 a b",
        "REVISION 0 STREAM s",
        "REVISION 1 STREAM s",
        "STREAM s MAXLEN 1",
        "STREAM s MAXLEN ~ 1",
        "STREAM s MAXLEN 2",
        "STREAM s PAYLOAD KEYS",
        "STREAM s PAYLOAD FULL",
        "STREAM s DB 1",
        "STREAM s DB 2",
    ] {
        redis.run("DEL user");
        assert_eq!(redis.run(&format!("DIRTY.DECLARE user {declared}")), "OK");
        let digest = redis.run("DEBUG DIGEST-VALUE user");
        assert_eq!(seen.insert(digest, declared), None, "{declared}");
    }
}

#[test]
fn a_new_declaration_replaces_the_old_one_as_a_whole() {
    let (_server, mut redis) = started();
    redis.expect(
        r#"
DIRTY.DECLARE user NAME n PREFIX p TYPES 1 a int STREAM s MAXLEN 1 PAYLOAD KEYS STREAM t => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a 5 => [insert]
DIRTY.DECLARE user STREAM t OPS U => OK
DIRTY.INFO user => [name user prefix user: revision nil stateless (0) version nil tombstone nil softdelete nil types []
  streams [[stream t ops U fields [] maxlen nil onfull nil maxage nil payload CHANGES format MSGPACK idfield nil safenumbers (0) db nil]]]
# The old snapshots and events stay where they are.
HGETALL p1 => [a 5]
DIRTY.GET user 1 => [nil]
DIRTY.FLUSH user SNAPSHOT 1 1 a x => [insert]
DIRTY.FLUSH user SNAPSHOT 1 1 a y => [update]
XLEN s => (1)
XLEN t => (2)
"#,
    );
}

/// What two processes of a rolling deployment declare, one after the other, and what comes of it.
const REVISIONS: &str = r#"
DIRTY.DECLARE user STREAM s REVISION 5 => OK
DIRTY.DECLARE user STREAM s STREAM new REVISION 6 => OK
# The old ones' restarts, and those of ones that are older still.
DIRTY.DECLARE user STREAM s REVISION 5 => KEPT
DIRTY.DECLARE user REVISION 0 STREAM s STREAM new => KEPT
DIRTY.DECLARE user STREAM s => KEPT
DIRTY.DECLARE user STREAM s STREAM new => KEPT
DIRTY.FLUSH user INSERT 1 0 => [insert]
XLEN new => (1)
# The same content may be declared again, other content not.
DIRTY.DECLARE user REVISION 6 STREAM s OPS IUD STREAM new => OK
DIRTY.DECLARE user STREAM s REVISION 6
  => ERR the revision 6 of "user" is declared with other content; give the new one a higher REVISION
DIRTY.DECLARE user STREAM s STREAM new TYPES 1 a int REVISION 6
  => ERR the revision 6 of "user" is declared with other content; give the new one a higher REVISION
# A bad one is bad, whatever its revision.
DIRTY.DECLARE user STREAM user REVISION 1 => ERR stream "user" would be one of the declaration's own keys
DIRTY.DECLARE user REVISION 1 => ERR a declaration requires at least one stream
# So the old content comes back with a higher one, or when nothing stands.
DIRTY.DECLARE user STREAM s REVISION 7 => OK
DIRTY.FLUSH user INSERT 2 0 => [insert]
XLEN new => (1)
COPY user copy => (1)
DIRTY.DECLARE copy STREAM s => KEPT
DIRTY.DECLARE copy NAME user PREFIX user: STREAM s REVISION 7 => OK
DEL user => (1)
DIRTY.DECLARE user STREAM s => OK
DIRTY.DECLARE user STREAM t => OK
DIRTY.DECLARE user STREAM t REVISION 0 => OK
DIRTY.DECLARE user STREAM s => KEPT
"#;

#[test]
fn a_lower_revision_changes_nothing_and_replicates_nothing() {
    let server = Server::with(&["--repl-ping-replica-period", "3600"]);
    let replica = Server::replica_of(&server);
    let mut redis = server.connect();
    for (command, reply) in cases(REVISIONS) {
        let before = (redis.digest(), redis.replicated());
        assert_eq!(redis.run(&command), reply, "{command}");
        if reply == "KEPT" || reply.starts_with("ERR ") {
            assert_eq!((redis.digest(), redis.replicated()), before, "{command}");
        }
    }
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), redis.digest());
    assert_eq!(
        replica.connect().run("DIRTY.INFO user"),
        redis.run("DIRTY.INFO user")
    );
}

#[test]
fn who_may_not_declare_is_not_told_of_a_higher_revision() {
    let (server, mut redis) = started();
    redis.run("DIRTY.DECLARE user STREAM s REVISION 5");
    redis.run("ACL SETUSER someone on nopass +@all ~user ~user:* ~s");
    let mut someone = server.connect();
    someone.expect(
        r#"
AUTH someone any => OK
DIRTY.DECLARE user STREAM s => KEPT
DIRTY.DECLARE user STREAM s REVISION 4 => KEPT
DIRTY.DECLARE user STREAM t => NOPERM this user may not write the key "t"
DIRTY.DECLARE user STREAM t REVISION 4 => NOPERM this user may not write the key "t"
DIRTY.DECLARE user STREAM t REVISION 5 => NOPERM this user may not write the key "t"
DIRTY.DECLARE user STREAM s PREFIX p REVISION 4 => NOPERM this user may not write all keys with the prefix "p"; that needs a pattern such as ~p*
"#,
    );
}

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
    bad: Vec<Bad>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    tags: BTreeMap<String, String>,
    op: String,
    changed: Vec<String>,
    publishes_to: Vec<String>,
}

#[derive(Deserialize)]
struct Bad {
    tags: BTreeMap<String, String>,
    why: String,
}

fn vectors() -> Vectors {
    let json = include_str!("../vectors/decision.json");
    serde_json::from_str(json).expect("the vectors")
}

fn declare_tags(redis: &mut Conn, tags: &BTreeMap<String, String>) -> String {
    let count = tags.len().to_string();
    let mut command = vec!["DIRTY.DECLARE", "entity", "TAGS", &count];
    command.extend(
        tags.iter()
            .flat_map(|(field, tag)| [field.as_str(), tag.as_str()]),
    );
    redis.raw(&command)
}

/// Each stream there is with its length, in order.
fn streams_and_lengths(redis: &mut Conn) -> Vec<String> {
    let names = names_of_type(redis, "stream");
    let lengths = names
        .iter()
        .map(|name| format!("{name} {}", redis.run(&format!("XLEN {name}"))));
    lengths.collect()
}

/// Fields of this value, and one that never changes.
fn fields(changed: &[String], value: &str) -> String {
    let pairs: String = changed
        .iter()
        .map(|field| format!("{field} {value} "))
        .collect();
    format!("{} {pairs}Nobodys x", changed.len() + 1)
}

#[test]
fn the_right_streams_publish_in_every_case_of_the_vectors() {
    let (_server, mut redis) = started();
    let cases = vectors().cases;
    assert_eq!(cases.len(), 50);
    for case in &cases {
        let (old, new) = (fields(&case.changed, "old"), fields(&case.changed, "new"));
        let operations = match case.op.as_str() {
            "insert" => vec![format!("SNAPSHOT 1 {new}"), format!("INSERT 1 {new}")],
            "update" => vec![format!("SNAPSHOT 1 {new}"), format!("UPDATE 1 {new}")],
            "delete" => vec!["DELETE 1".into()],
            other => panic!("{other}"),
        };
        for operation in operations {
            redis.ok(&["FLUSHALL"]);
            assert_eq!(declare_tags(&mut redis, &case.tags), "OK", "{}", case.name);
            if case.op != "insert" {
                let seed = format!("DIRTY.FLUSH entity SEED 1 {old}");
                assert_eq!(redis.run(&seed), "[seed]", "{}", case.name);
            }
            assert!(streams_and_lengths(&mut redis).is_empty(), "{}", case.name);
            let effect = match case.changed.is_empty() && case.op == "update" {
                true => "[none]".into(),
                false => format!("[{}]", case.op),
            };
            let flush = format!("DIRTY.FLUSH entity {operation}");
            assert_eq!(redis.run(&flush), effect, "{}: {flush}", case.name);
            let wanted = case
                .publishes_to
                .iter()
                .map(|stream| format!("{stream} (1)"));
            let wanted: Vec<String> = wanted.collect();
            assert_eq!(
                streams_and_lengths(&mut redis),
                wanted,
                "{}: {flush}",
                case.name
            );
        }
    }
}

#[test]
fn the_bad_tags_of_the_vectors_are_refused_and_change_nothing() {
    let (_server, mut redis) = started();
    let bad = vectors().bad;
    assert_eq!(bad.len(), 8);
    for declared in [false, true] {
        if declared {
            assert_eq!(redis.run("DIRTY.DECLARE entity STREAM s"), "OK");
        }
        let before = redis.digest();
        for bad in &bad {
            let reply = declare_tags(&mut redis, &bad.tags);
            assert!(reply.starts_with("ERR bad tag "), "{}: {reply}", bad.why);
            assert_eq!(redis.digest(), before, "{}", bad.why);
        }
    }
}

#[test]
fn a_pool_puts_a_stream_into_another_database() {
    let server = Server::start();
    let replica = Server::replica_of(&server);
    server.connect().expect(
        r#"
SELECT 2 => OK
DIRTY.DECLARE user TAGS 2 ID dirtyStream=far/cache/,near Age dirtyStream=far POOL cache 3 => OK
DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]
DIRTY.FLUSH user SNAPSHOT 1 1 a c SNAPSHOT 2 1 a b => [update insert]
DBSIZE => (4)
XLEN near => (3)
EXISTS far => (0)
SELECT 3 => OK
DBSIZE => (1)
XLEN far => (3)
SELECT 0 => OK
DBSIZE => (0)
SELECT 2 => OK
DIRTY.DECLARE user STREAM far DB 3 MAXLEN = 2 STREAM near => OK
DIRTY.FLUSH user DELETE 1 => [delete]
XLEN near => (4)
# In a transaction and in a script, which go on in their own database.
MULTI => OK
DIRTY.FLUSH user SNAPSHOT 1 0 => QUEUED
DBSIZE => QUEUED
EXEC => [[insert] (4)]
EVAL redis.call('DIRTY.FLUSH','user','DELETE','1')\_return\_redis.call('DBSIZE') 1 user => (3)
SELECT 3 => OK
XLEN far => (2)
"#,
    );
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), server.connect().digest());
}

#[test]
fn who_watches_waits_and_listens_in_another_database_is_told() {
    let server = Server::with(&["--notify-keyspace-events", "KEA"]);
    let [mut redis, mut watching, mut waiting, mut heard] = [(); 4].map(|()| server.connect());
    redis.run("DIRTY.DECLARE user STREAM far DB 3 MAXLEN 1 STREAM near");
    redis.run("DIRTY.FLUSH user SNAPSHOT 1 0");
    for (connection, command) in [
        (&mut watching, "WATCH far"),
        (&mut waiting, "XREAD BLOCK 0 STREAMS far $"),
    ] {
        connection.ok(&["SELECT", "3"]);
        connection.send(&words(command)).expect("a connection");
    }
    server.wait_for_blocked(1);
    heard.ok(&["PSUBSCRIBE", "__keyspace@*"]);
    assert_eq!(redis.run("DIRTY.FLUSH user TOUCH 1"), "[touch]");
    let read = text(&waiting.receive().expect("a reply"));
    assert!(read.starts_with("[[far [["), "{read}");
    assert_eq!(text(&watching.receive().expect("a reply")), "OK");
    watching.expect("MULTI => OK\nPING => QUEUED\nEXEC => nil");
    let mut notices = Vec::new();
    for _ in 0..3 {
        let message = text(&heard.receive().expect("a message"));
        notices.extend(
            message
                .strip_prefix("[pmessage __keyspace@* ")
                .map(String::from),
        );
    }
    let expected = [
        "__keyspace@3__:far xadd]",
        "__keyspace@3__:far xtrim]",
        "__keyspace@0__:near xadd]",
    ];
    assert_eq!(notices, expected);
}
