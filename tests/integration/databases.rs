//! Users that are limited to some logical databases, as Valkey can from 9.1 on.

use super::support::readers::reply;
use super::support::users::{named, user};
use super::support::{Conn, Server, cases, skipped, words};
use std::fmt::Write;

/// A server with declarations whose streams are in other databases, if it limits users to databases.
fn limiting() -> Option<(Server, Conn)> {
    let server = Server::start();
    let mut admin = server.connect();
    if admin.run("ACL SETUSER probe db=0") != "OK" {
        skipped("the server limits no user to databases");
        return None;
    }
    admin.run("ACL DELUSER probe");
    for command in [
        "DIRTY.DECLARE near STREAM s",
        "DIRTY.DECLARE far STREAM s STREAM s1 DB 1",
        "DIRTY.DECLARE deletes STREAM s STREAM s1 OPS D DB 1",
        "DIRTY.FLUSH far DEFER t INSERT 7 1 a b",
        "DIRTY.FLUSH deletes INSERT 1 1 a b",
        "DIRTY.RECONCILE far BEGIN r",
        "DIRTY.RECONCILE deletes BEGIN r",
        "DIRTY.RECONCILE deletes SWEEP r",
    ] {
        let reply = admin.run(command);
        assert!(!reply.starts_with("ERR"), "{command}: {reply}");
    }
    Some((server, admin))
}

/// The state of both databases.
fn both(admin: &mut Conn) -> Vec<String> {
    let mut all = vec![admin.digest()];
    for database in ["0", "1"] {
        admin.ok(&["SELECT", database]);
        all.extend([
            admin.run("DBSIZE"),
            admin.run("XLEN s1"),
            admin.run("XLEN s"),
        ]);
    }
    admin.ok(&["SELECT", "0"]);
    all
}

const NO_DATABASE: &str = "NOPERM this user may not use the database \"1\" of the stream \"s1\"";

/// Lines `rights; command => reply`, of a client in the database 0. `no` is the refusal of the database 1.
const LIMITED: &str = r#"
+@all ~* db=0; DIRTY.DECLARE u STREAM s1 DB 1 => no
+@all ~* db=0; DIRTY.DECLARE u STREAM s STREAM s1 DB 1 => no
+@all ~* db=0; DIRTY.DECLARE u TAGS 1 ID dirtyStream=s1/P POOL P 1 => no
+@all ~* db=0; DIRTY.DECLARE u STREAM s1 DB 0 => OK
+@all ~* db=0; DIRTY.DECLARE u STREAM s1 => OK
+@all ~* db=0,1; DIRTY.DECLARE u STREAM s1 DB 1 => OK
+@all ~* alldbs; DIRTY.DECLARE u STREAM s1 DB 1 => OK
+@all ~* db=0 (+@all\_~*\_db=1); DIRTY.DECLARE u STREAM s1 DB 1 => OK
+@all ~* db=0 (+xadd\_~s1\_db=1); DIRTY.DECLARE u STREAM s1 DB 1 => OK
+@all ~* db=0 (+xadd\_~s2\_db=1); DIRTY.DECLARE u STREAM s1 DB 1 => no
+@all ~* db=0 (+xadd\_~s1\_db=2); DIRTY.DECLARE u STREAM s1 DB 1 => no
+@all ~* db=0 (+xread\_~s1\_db=1); DIRTY.DECLARE u STREAM s1 DB 1 => no
+@all ~* db=0 (+xadd\_%R~s1\_db=1); DIRTY.DECLARE u STREAM s1 DB 1 => no
# A right to keys of another database is none to those of this one.
+@all ~u ~s db=0 (+@all\_~u:*\_db=1); DIRTY.DECLARE u STREAM s => NOPERM this user may not write all keys with the prefix "u:"; that needs a pattern such as ~u:*
+@all ~u ~u:* db=0 (+@all\_~s1\_db=1); DIRTY.DECLARE u STREAM s1
  => NOPERM this user may not use the database "0" of the stream "s1"
+@all ~u ~u:* ~s db=0 (+@all\_~x\_db=1); DIRTY.DECLARE u STREAM s => OK
# A declaration lends its streams, but not their databases.
+dirty.flush ~far db=0; DIRTY.FLUSH far SNAPSHOT 1 1 a b => no
+dirty.flush ~far db=0; DIRTY.FLUSH far DEFER v SNAPSHOT 1 1 a b => [deferred]
+dirty.commit ~far db=0; DIRTY.COMMIT far t => no
+dirty.commit ~far db=0,1; DIRTY.COMMIT far t => [[insert]]
+dirty.flush ~far db=0,1; DIRTY.FLUSH far SNAPSHOT 1 1 a b => [insert]
+dirty.flush ~far db=0 (+dirty.flush\_~far\_db=1); DIRTY.FLUSH far SNAPSHOT 1 1 a b => [insert]
+dirty.flush ~far db=0 (+xadd\_~s1\_db=1); DIRTY.FLUSH far SNAPSHOT 1 1 a b => [insert]
+dirty.flush ~far db=0 (+dirty.flush\_~near\_db=1); DIRTY.FLUSH far SNAPSHOT 1 1 a b => no
+dirty.flush ~far alldbs; DIRTY.FLUSH far SNAPSHOT 1 1 a b => [insert]
+dirty.flush ~near db=0; DIRTY.FLUSH near SNAPSHOT 1 1 a b => [insert]
# Only what is written there counts.
+dirty.flush ~deletes db=0; DIRTY.FLUSH deletes SNAPSHOT 2 1 a b => [insert]
+dirty.flush ~deletes db=0; DIRTY.FLUSH deletes SNAPSHOT 2 1 a b DELETE 1 => no
# A run writes as flushes do.
+dirty.flush ~far db=0; DIRTY.FLUSH far RUN r SNAPSHOT 1 1 a b => no
+dirty.flush ~far db=0,1; DIRTY.FLUSH far RUN r SNAPSHOT 1 1 a b => [insert]
+dirty.reconcile ~far db=0; DIRTY.RECONCILE far BEGIN r => OK
+dirty.reconcile ~deletes db=0; DIRTY.RECONCILE deletes SWEEP r => no
+dirty.reconcile ~deletes db=0,1; DIRTY.RECONCILE deletes SWEEP r
  => [phase done scanned (1) seen (0) same (0) repaired (0) stale (0) newer (0) foreign (0) missing (1) deleted (1)]
"#;

#[test]
fn who_is_limited_to_databases_neither_declares_nor_flushes_into_others() {
    let mut wrong = String::new();
    for (line, expected) in cases(LIMITED) {
        let (rights, command) = line.split_once("; ").expect("rights and a command");
        for around in ["plain", "MULTI", "EVAL"] {
            let Some((server, mut admin)) = limiting() else {
                return;
            };
            let mut app = user(&server, &format!("+multi +exec +eval {rights}"));
            admin.run("ACL LOG RESET");
            let before = both(&mut admin);
            let got = match around {
                "plain" => app.run(command),
                "MULTI" => {
                    app.run("MULTI");
                    app.run(command);
                    let all = app.run("EXEC");
                    let all = all.strip_prefix('[').and_then(|all| all.strip_suffix(']'));
                    all.expect("an array").to_string()
                }
                _ => {
                    let words = command.replace(' ', "','");
                    let script = format!("return redis.pcall('{words}')");
                    app.raw(&["EVAL", &script, "0"])
                }
            };
            let expected = match expected.as_str() {
                "no" => NO_DATABASE,
                reply => reply,
            };
            let what = format!("{around}: {line}");
            if got != expected {
                let _ = writeln!(wrong, "{what}: {got}");
            }
            if expected.starts_with("NOPERM") {
                let log = admin.run("ACL LOG");
                let is_logged = log.contains("username app") && log.contains("context module");
                if !is_logged || both(&mut admin) != before {
                    let _ = writeln!(wrong, "{what}: not logged, or changed: {log}");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_replica_and_a_restart_take_what_somebody_limited_has_flushed_and_others_too() {
    let Some((server, mut admin)) = limiting() else {
        return;
    };
    let replica = Server::replica_of(&server);
    let mut app = user(&server, "+dirty.flush ~far db=0,1");
    assert_eq!(app.run("DIRTY.FLUSH far SNAPSHOT 1 1 a b"), "[insert]");
    server.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), admin.digest());
}

#[test]
fn who_is_limited_to_databases_waits_and_is_served_there() {
    let Some((server, mut admin)) = limiting() else {
        return;
    };
    let mut reader = named(&server, "reader", "+dirty.consume +select ~* db=1");
    reader.ok(&["SELECT", "1"]);
    admin.ok(&["SELECT", "1"]);
    for group in ["g", "h"] {
        admin.expect(&format!("DIRTY.READER s1 GROUP {group} FROM 0 => OK"));
    }
    admin.ok(&["SELECT", "0"]);
    let mut waits = named(&server, "waits", "+dirty.consume +select ~* db=1");
    waits.ok(&["SELECT", "1"]);
    for (waiting, (reader, group)) in [(&mut reader, "g"), (&mut waits, "h")]
        .into_iter()
        .enumerate()
    {
        let consume = format!("DIRTY.CONSUME s1 GROUP {group} c BLOCK 20000");
        reader.send(&words(&consume)).expect("a connection");
        server.wait_for_blocked(waiting + 1);
    }
    // The other one's database is taken away meanwhile.
    admin.run("ACL SETUSER waits resetdbs db=0");
    admin.run("DIRTY.FLUSH far SNAPSHOT 1 1 a b");
    let served = reply(&mut reader);
    assert!(served.contains("insert"), "{served}");
    let refused = reply(&mut waits);
    assert!(refused.starts_with("NOPERM"), "{refused}");
}
