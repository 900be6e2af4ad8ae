//! DEAD of a user who is limited to some databases, as Valkey can from 9.1 on: the call's own database counts.

use crate::support::users::user;
use crate::support::{Conn, Server, cases, skipped};

/// A server where readers have something to bury in `d` and to delete there, if it limits users to databases.
fn limiting() -> Option<(Server, Conn)> {
    let server = Server::start();
    let mut admin = server.connect();
    if admin.run("ACL SETUSER probe db=0") != "OK" {
        skipped("the server limits no user to databases");
        return None;
    }
    admin.run("ACL DELUSER probe");
    for command in [
        "XADD s 1-1 a b",
        "XADD s 1-2 a b",
        // One holds an event, one a redriven one, and of one an event is worn.
        "DIRTY.READER s GROUP g FROM 0 DEAD d",
        "DIRTY.CONSUME s GROUP g a",
        "DIRTY.READER s GROUP r FROM 0 DEAD d",
        "DIRTY.CONSUME s GROUP r a COUNT 1",
        "DIRTY.FAIL s GROUP r a why FATAL 1-1",
        "DIRTY.REDRIVE s GROUP r ALL",
        "DIRTY.CONSUME s GROUP r a COUNT 1",
        "DIRTY.READER s GROUP w FROM 0 DEAD d CLAIM 1 MAXDELIVERIES 2",
        "DIRTY.CONSUME s GROUP w a COUNT 1",
        "DIRTY.CONSUME s GROUP w a PENDING",
        "DIRTY.READER s GROUP p FROM 0 DEAD d",
        "DIRTY.CONSUME s GROUP p a COUNT 1",
        "DIRTY.FAIL s GROUP p a why FATAL 1-1",
        "DIRTY.READER s CURSOR c FROM 0 DEAD d",
    ] {
        let reply = admin.run(command);
        assert!(!reply.starts_with("ERR"), "{command}: {reply}");
    }
    Some((server, admin))
}

/// What calls write or delete in `d`.
const WRITES: [&str; 6] = [
    "DIRTY.FAIL s GROUP g a why FATAL 1-1",
    "DIRTY.FAIL s CURSOR c why 1-1",
    "DIRTY.ACK s GROUP r a 1-1",
    "DIRTY.CONSUME s GROUP r a ACK 1 1-1",
    "DIRTY.CONSUME s GROUP w b",
    "DIRTY.DISCARD s GROUP p ALL",
];

const NO_KEY: &str = "NOPERM this user may not write the key \"d\"";
const NO_DATABASE: &str = "NOPERM this user may not use the database \"0\" of the stream \"d\"";

/// Lines `rights => whether that will do`.
const RIGHTS: &str = r#"
+@all ~s db=0 => no key
+@all ~s %R~d db=0 => no key
+@all ~s ~d db=0 => yes
+@all ~s ~d alldbs => yes
+@all ~s db=0 (+@all\_~d\_db=0) => yes
+@all ~s db=0 (+xadd\_~d\_db=0,1) => yes
+@all ~s db=0 (+@all\_~d\_db=1) => no database
+@all ~s db=0 (+xadd\_~d\_db=1) => no database
+@all ~s db=0,1 (+@all\_~d\_db=1,2) => no database
+@all ~s db=0 (+xread\_~d\_db=0) => no database
"#;

#[test]
fn a_right_to_a_dead_stream_in_another_database_is_none_here() {
    for (rights, expected) in cases(RIGHTS) {
        let Some((server, mut admin)) = limiting() else {
            return;
        };
        let mut app = user(&server, &rights);
        for command in WRITES {
            let before = (admin.digest(), admin.replicated());
            let reply = app.run(command);
            let what = format!("{rights}; {command}: {reply}");
            match expected.as_str() {
                "no key" => assert_eq!(reply, NO_KEY, "{what}"),
                "no database" => assert_eq!(reply, NO_DATABASE, "{what}"),
                _ => assert!(!reply.contains("NOPERM"), "{what}"),
            }
            let is_same = (admin.digest(), admin.replicated()) == before;
            assert_eq!(is_same, expected != "yes", "{what}");
        }
    }
}
