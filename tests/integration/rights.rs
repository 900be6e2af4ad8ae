//! Who may declare, flush and read what.

use super::errors::{seeded, state};
use super::support::{Conn, Server};
use std::fmt::Write;

const MAY_NOT_DECLARE: &str = r#"
DIRTY.DECLARE user STREAM other => NOPERM this user may not write the key "other"
DIRTY.DECLARE user STREAM user-changes STREAM other
  => NOPERM this user may not write the key "other"
DIRTY.DECLARE user STREAM other DB 1 => NOPERM this user may not write the key "other"
DIRTY.DECLARE user TAGS 1 ID dirtyStream=other => NOPERM this user may not write the key "other"
DIRTY.DECLARE user TAGS 1 ID dirty=A => NOPERM this user may not write the key "dirty_A"
DIRTY.DECLARE user PREFIX other STREAM user-changes
  => NOPERM this user may not write the key "other"
DIRTY.DECLARE user PREFIX use STREAM user-changes
  => NOPERM this user may not write the key "use"
EVAL return\_redis.pcall('DIRTY.DECLARE',KEYS[1],'STREAM','other') 1 user
  => NOPERM this user may not write the key "other"
EVAL return\_redis.pcall('DIRTY.DECLARE','user','STREAM','other') 0
  => NOPERM this user may not write the key "other"
DIRTY.DECLARE other STREAM user-changes
  => NOPERM this user has no permissions to access one of the keys used as arguments
MULTI => OK
DIRTY.DECLARE user STREAM other => QUEUED
EXEC => [NOPERM this user may not write the key "other"]
"#;

#[test]
fn a_user_may_declare_only_what_that_user_may_write() {
    let (server, mut admin) = seeded();
    let mut app = user(&server, "+@all ~user*");
    let before = state(&mut admin);
    app.expect(MAY_NOT_DECLARE);
    assert_eq!(state(&mut admin), before);
    app.expect(
        r#"
DIRTY.DECLARE user STREAM user-changes STREAM user-audit => OK
DIRTY.DECLARE user2 STREAM user2-changes => OK
EVAL return\_redis.call('DIRTY.DECLARE',KEYS[1],'STREAM','user3-changes') 1 user3 => OK
"#,
    );
}

#[test]
fn who_may_write_a_part_of_the_keys_may_not_declare() {
    let (server, mut admin) = seeded();
    let before = state(&mut admin);
    for (rights, reply) in [
        (
            "~user ~user:*",
            "NOPERM this user may not write the key \"s\"",
        ),
        (
            "~user ~s",
            "NOPERM this user may not write the key \"user:\"",
        ),
        ("~user:* ~s", NO_KEY),
        (
            "~user ~user:* %R~s",
            "NOPERM this user may not write the key \"s\"",
        ),
        (
            "~user %R~user:* ~s",
            "NOPERM this user may not write the key \"user:\"",
        ),
        ("%R~user ~user:* ~s", NO_KEY),
    ] {
        let mut app = user(&server, &format!("+@all {rights}"));
        assert_eq!(app.run("DIRTY.DECLARE user STREAM s"), reply, "{rights}");
        assert_eq!(state(&mut admin), before, "{rights}");
    }
    let mut app = user(&server, "+@all ~user ~user:* ~s");
    assert_eq!(app.run("DIRTY.DECLARE user STREAM s"), "OK");
}

/// A right to the exact key that is the prefix, or to some of the keys it makes, is no right to all.
#[test]
fn a_prefix_needs_the_right_to_every_key_it_makes() {
    let (server, mut admin) = seeded();
    for (rights, allowed) in [
        ("~app ~s ~u", false),
        ("~app ~s ~u?", false),
        ("~app ~s ~u ~u1*", false),
        ("~app ~s ~u*", true),
    ] {
        let mut app = user(&server, &format!("+@all {rights}"));
        let reply = app.run("DIRTY.DECLARE app PREFIX u STREAM s");
        assert_eq!(reply == "OK", allowed, "{rights}: {reply}");
        admin.run("DEL app");
    }
    // Nothing that was not asked for is held against the user.
    let mut app = user(&server, "+dirty.declare ~app ~s ~u*");
    admin.run("ACL LOG RESET");
    assert_eq!(app.run("DIRTY.DECLARE app PREFIX u STREAM s"), "OK");
    assert_eq!(admin.run("ACL LOG"), "[]");
}

#[test]
fn the_declaration_lends_its_streams_and_snapshots_to_who_may_flush() {
    let (server, mut admin) = seeded();
    let mut app = user(&server, "+@all ~user");
    app.expect(
        r#"
DIRTY.FLUSH user SNAPSHOT 8 1 a b => [insert]
EVAL return\_redis.call('DIRTY.FLUSH',KEYS[1],'SNAPSHOT','8','1','a','c') 1 user => [update]
EVAL return\_redis.call('DIRTY.FLUSH','user','SNAPSHOT','8','1','a','d') 0 => [update]
MULTI => OK
DIRTY.FLUSH user DELETE 8 => QUEUED
EXEC => [[delete]]
"#,
    );
    // What it lends may not be written by hand, nor read.
    let before = state(&mut admin);
    for command in [
        "XADD user-changes * a b",
        "HSET user:8 a b",
        "DIRTY.CONSUME user-changes GROUP g c",
        "DIRTY.CONSUME user-changes CURSOR c",
        "DIRTY.ACK user-changes GROUP g 1-1",
        "DIRTY.FLUSH to-string SNAPSHOT 1 1 a b",
        "DIRTY.INFO to-string",
        "DIRTY.GET to-string 1",
    ] {
        assert_eq!(app.run(command), NO_KEY, "{command}");
    }
    assert_eq!(state(&mut admin), before);
    assert_eq!(admin.run("XLEN user-changes"), "(6)");
}

#[test]
fn a_command_asks_for_no_more_rights_on_its_key_than_it_needs() {
    const YES: &str = "OK";
    const NO: &str = r"This user has no permissions to access the \'user\' key";
    let (server, mut admin) = seeded();
    let mut wrong = String::new();
    for (rights, command, expected) in [
        ("%R~user", "DIRTY.GET user 1", YES),
        ("%R~user", "DIRTY.INFO user", YES),
        ("%R~user", "DIRTY.FLUSH user DELETE 1", NO),
        ("%R~user", "DIRTY.DECLARE user STREAM s", NO),
        ("%R~user", "DIRTY.CONSUME user CURSOR c", NO),
        ("%R~user", "DIRTY.ACK user CURSOR c 1-1", NO),
        ("%W~user", "DIRTY.FLUSH user DELETE 1", YES),
        ("%W~user", "DIRTY.GET user 1", NO),
        ("%W~user", "DIRTY.INFO user", NO),
        ("%W~user", "DIRTY.CONSUME user CURSOR c", NO),
    ] {
        user(&server, &format!("+@all {rights}"));
        let reply = admin.run(&format!("ACL DRYRUN app {command}"));
        if reply != expected {
            let _ = writeln!(wrong, "{rights}: {command}: {reply}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const NO_KEY: &str =
    "NOPERM this user has no permissions to access one of the keys used as arguments";

/// A connection of a user `app` with these rights and no others.
pub fn user(server: &Server, rights: &str) -> Conn {
    let mut admin = server.connect();
    let setuser = format!("ACL SETUSER app reset on >secret {rights}");
    assert_eq!(admin.run(&setuser), "OK");
    let mut app = server.connect();
    app.ok(&["AUTH", "app", "secret"]);
    app
}
