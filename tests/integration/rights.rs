//! Who may declare, flush and read what.

use super::support::users::{is_no_key, user};
use super::support::wrong::{seeded, state};
use super::support::{Conn, Server, cases, leaks, skipped};
use std::fmt::Write;
use std::process::Command;

const MAY_NOT_DECLARE: &str = r#"
DIRTY.DECLARE user STREAM other => NOPERM this user may not write the key "other"
DIRTY.DECLARE user STREAM user-changes STREAM other
  => NOPERM this user may not write the key "other"
DIRTY.DECLARE user STREAM other DB 1 => NOPERM this user may not write the key "other"
DIRTY.DECLARE user TAGS 1 ID dirtyStream=other => NOPERM this user may not write the key "other"
DIRTY.DECLARE user TAGS 1 ID dirty=A => NOPERM this user may not write the key "dirty_A"
DIRTY.DECLARE user PREFIX other STREAM user-changes
  => NOPERM this user may not write all keys with the prefix "other"; that needs a pattern such as ~other*
DIRTY.DECLARE user PREFIX use STREAM user-changes
  => NOPERM this user may not write all keys with the prefix "use"; that needs a pattern such as ~use*
EVAL return\_redis.pcall('DIRTY.DECLARE',KEYS[1],'STREAM','other') 1 user
  => NOPERM this user may not write the key "other"
EVAL return\_redis.pcall('DIRTY.DECLARE','user','STREAM','other') 0
  => NOPERM this user may not write the key "other"
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
    let other = app.run("DIRTY.DECLARE other STREAM user-changes");
    assert!(is_no_key(&other), "{other}");
    assert_eq!(state(&mut admin), before);
    app.expect(
        r#"
DIRTY.DECLARE user STREAM user-changes STREAM user-audit => OK
DIRTY.DECLARE user2 STREAM user2-changes => OK
EVAL return\_redis.call('DIRTY.DECLARE',KEYS[1],'STREAM','user3-changes') 1 user3 => OK
"#,
    );
}

/// Lines `command => what ACL LOG tells of it`: the reason, and the key by the name that the reply has.
const LOGGED: &str = r#"
DIRTY.DECLARE other STREAM s => key other toplevel
DIRTY.DECLARE user STREAM user-changes STREAM other => key other module
DIRTY.DECLARE user PREFIX other STREAM user-changes => key other* module
DIRTY.DECLARE user PREFIX s STREAM user-changes => key s* module
DIRTY.READER user-changes GROUP new FROM 0 DEAD other => key other toplevel
DIRTY.REDRIVE user-changes GROUP g ALL => key graves module
DIRTY.DISCARD user-changes GROUP g ALL => key graves module
EVAL return\_redis.pcall('DIRTY.DECLARE','user','STREAM','other') 0 => key other module
XADD other * a b => key other toplevel
"#;

#[test]
fn acl_log_tells_of_each_refusal() {
    let (server, mut admin) = seeded();
    admin.run("DIRTY.READER user-changes GROUP g FROM 0 DEAD graves");
    let mut app = user(&server, "+@all ~user* ~s");
    for (command, told) in cases(LOGGED) {
        admin.run("ACL LOG RESET");
        let reply = app.run(&command);
        assert!(reply.starts_with("NOPERM"), "{command}: {reply}");
        let log = admin.run("ACL LOG");
        let word = |name: &str| {
            let (_, rest) = log.split_once(&format!("{name} ")).unwrap_or_default();
            rest.split(' ').next().unwrap_or_default().to_string()
        };
        let got = ["reason", "object", "context"].map(word).join(" ");
        assert_eq!(got, told, "{command}: {log}");
        assert_eq!(word("username"), "app", "{command}: {log}");
        assert_eq!(log.matches("username").count(), 1, "{command}: {log}");
    }
}

#[test]
fn refused_and_accepted_declarations_do_not_grow_the_memory() {
    let (server, mut admin) = seeded();
    let mut app = user(&server, "+@all ~user*");
    let memory_after = |times: usize| {
        for _ in 0..times {
            for (command, reply) in [
                ("DIRTY.DECLARE user STREAM other", "NOPERM"),
                ("DIRTY.DECLARE user STREAM user-1", "OK"),
                ("DIRTY.DECLARE user STREAM user-2", "OK"),
            ] {
                let got = app.run(command);
                assert!(got.starts_with(reply), "{command}: {got}");
            }
        }
        admin.run("ACL LOG RESET");
        admin.used_memory()
    };
    assert!(!leaks(2_000, 20_000, memory_after));
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
            "NOPERM this user may not write all keys with the prefix \"user:\"; that needs a pattern such as ~user:*",
        ),
        ("~user:* ~s", BY_THE_SERVER),
        (
            "~user ~user:* %R~s",
            "NOPERM this user may not write the key \"s\"",
        ),
        (
            "~user %R~user:* ~s",
            "NOPERM this user may not write all keys with the prefix \"user:\"; that needs a pattern such as ~user:*",
        ),
        ("%R~user ~user:* ~s", BY_THE_SERVER),
        // Who may not read what is there may not lend it to who gets.
        (
            "~user %W~user:* ~s",
            "NOPERM this user may not read all keys with the prefix \"user:\"; that needs a pattern such as %R~user:*",
        ),
    ] {
        let mut app = user(&server, &format!("+@all {rights}"));
        let refused = app.run("DIRTY.DECLARE user STREAM s");
        match reply {
            BY_THE_SERVER => assert!(is_no_key(&refused), "{rights}: {refused}"),
            reply => assert_eq!(refused, reply, "{rights}"),
        }
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

/// Lines `rights to keys of the prefix => what is refused`, or nothing.
const PREFIXES: &str = r"
~user:* => -
~u* => -
~* => -
allkeys => -
~other:* ~user:* => -
%R~user:* %W~user:* => -
%RW~us* => -
~us\x5cer:* => -
(~user:*\_+get) => -
(%R~user:*\_+get) (%W~us*\_+set) => -
# Each of these allows the prefix itself and keys that it makes, but not all of them.
~user*[^0-9] => write user:*
~user*: => write user:*
~user: ~user:?* => write user:*
~user: ~user:1* => write user:*
~user: ~user:[^a]* => write user:*
~use?:* => write user:*
~[u]ser:* => write user:*
~*: => write user:*
~user: ~user:\x5c* => write user:*
~user: ~user:[* => write user:*
(~user*[^0-9]\_+get) => write user:*
~user:* (~user*[^0-9]\_+get) => -
%R~user:* %W~user*[^0-9] => write user:*
%W~user:* %R~user*[^0-9] => read user:*
%W~user:* => read user:*
%R~user:* => write user:*
# Patterns of this kind are believed nowhere, also where they would do.
~user*?*[^0-9]* ~user: => write user:*
";

/// What is told to be needed for the prefix `user:`.
fn pattern(access: &str) -> &'static str {
    match access {
        "read" => "%R~user:*",
        _ => "~user:*",
    }
}

#[test]
fn the_pattern_that_a_refusal_names_is_enough() {
    let (server, mut admin) = seeded();
    for prefix in [
        "user:",
        "*",
        "a?[b]",
        "a\\x5cb",
        "{tag}:",
        "it's",
        "\\xff\\x01\\x22:",
        "~%R~",
    ] {
        let declare = format!("DIRTY.DECLARE app PREFIX {prefix} STREAM s");
        let grant = |pattern: &str| {
            let set = Command::new("sh")
                .args(["-c", "printf '%s\\n' \"$1\" | redis-cli -p $2", "sh"])
                .arg(format!("ACL SETUSER app {pattern}"))
                .arg(server.port.to_string())
                .output()
                .expect("redis-cli");
            assert_eq!(
                String::from_utf8_lossy(&set.stdout).trim(),
                "OK",
                "{pattern}"
            );
        };
        for may_write in [false, true] {
            admin.run("DEL app");
            let mut app = user(&server, "+@all ~app ~s");
            let reply = app.run(&declare);
            let (_, pattern) = reply.rsplit_once(" such as ").expect("a pattern");
            if may_write {
                grant(&pattern.replacen('~', "%W~", 1));
                let reply = app.run(&declare);
                let (_, pattern) = reply.rsplit_once(" such as ").expect("a pattern");
                assert!(pattern.contains("%R~"), "{reply}");
                grant(pattern);
            } else {
                grant(pattern);
            }
            assert_eq!(app.run(&declare), "OK", "{pattern}");
        }
    }
}

#[test]
fn only_a_star_behind_a_literal_gives_a_user_all_keys_of_a_prefix() {
    let (server, mut admin) = seeded();
    admin.run("HSET user:42 name Alice");
    let before = state(&mut admin);
    let mut wrong = String::new();
    for (rights, refused) in cases(PREFIXES) {
        let mut app = user(&server, &format!("+@all ~app ~s {rights}"));
        admin.run("ACL LOG RESET");
        let reply = app.run("DIRTY.DECLARE app PREFIX user: STREAM s");
        let log = admin.run("ACL LOG");
        let (expected, logged) = match refused.split_once(' ') {
            None => ("OK".to_string(), "[]".to_string()),
            Some((access, key)) => (
                format!(
                    "NOPERM this user may not {access} all keys with the prefix \"user:\"; that needs a pattern such as {}",
                    pattern(access)
                ),
                format!("reason key context module object {key} username app"),
            ),
        };
        if reply != expected || !log.contains(&logged) {
            let _ = writeln!(wrong, "{rights}: {reply}; ACL LOG: {log}");
        }
        admin.run("DEL app");
        assert_eq!(state(&mut admin), before, "{rights}");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
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
DIRTY.RECONCILE user BEGIN r => OK
DIRTY.FLUSH user RUN r SNAPSHOT 1 2 status active i 5 SNAPSHOT 9 1 a b => [none insert]
DIRTY.RECONCILE user SWEEP r COUNT 1000
  => [phase deleting scanned (3) seen (2) same (1) repaired (1) stale (0) newer (0) foreign (0) missing (1) deleted (0)]
DIRTY.RECONCILE user SWEEP r
  => [phase done scanned (3) seen (2) same (1) repaired (1) stale (0) newer (0) foreign (0) missing (1) deleted (1)]
DIRTY.FLUSH user DELETE 9 => [delete]
DIRTY.SCAN user 0 COUNT 1000 => [0 [[1 [status active i (5)]]]]
"#,
    );
    // What it lends may not be written by hand, nor read.
    let before = state(&mut admin);
    for command in [
        "XADD user-changes * a b",
        "HSET user:8 a b",
        "DIRTY.CONSUME user-changes GROUP workers c",
        "DIRTY.READ user-changes FROM 0",
        "DIRTY.ACK user-changes GROUP workers w1 1-1",
        "DIRTY.READER user-changes GROUP new FROM 0",
        "DIRTY.FLUSH to-string SNAPSHOT 1 1 a b",
        "DIRTY.INFO to-string",
        "DIRTY.GET to-string 1",
        "DIRTY.SCAN to-string 0",
        "DIRTY.RECONCILE to-string BEGIN r",
    ] {
        let reply = app.run(command);
        assert!(is_no_key(&reply), "{command}: {reply}");
    }
    assert_eq!(state(&mut admin), before);
    assert_eq!(admin.run("XLEN user-changes"), "(9)");
}

#[test]
fn the_declaration_lends_its_own_keys_to_who_may_defer_and_flush_once() {
    let (server, mut admin) = seeded();
    admin.run("HDEL user@deferred junk");
    let mut app = user(&server, "+@all %W~user");
    app.expect(
        r#"
DIRTY.FLUSH user ONCE t DEFER t SNAPSHOT 8 1 a b => [deferred]
DIRTY.FLUSH user DEFER u DELETE 8 => [deferred]
EVAL return\_redis.call('DIRTY.COMMIT','user','t') 0 => [[insert]]
DIRTY.COMMIT user u unknown => [[delete] nil]
DIRTY.FLUSH user ONCE v TOUCH 1 => [touch]
DIRTY.FLUSH user ONCE v TOUCH 1 => [touch]
DIRTY.FLUSH user DEFER w DELETE 8 => [deferred]
DIRTY.ABORT user w failing => (2)
"#,
    );
    // What it lends may not be read or written by hand.
    let before = state(&mut admin);
    for command in [
        "HGETALL user@deferred",
        "HDEL user@deferred waiting",
        "DEL user@once:t",
        "GET user@once:t",
        "DIRTY.DEFERRED user",
        "DIRTY.COMMIT versioned t",
        "DIRTY.ABORT versioned t",
    ] {
        let reply = app.run(command);
        assert!(is_no_key(&reply), "{command}: {reply}");
    }
    assert_eq!(state(&mut admin), before);
    let mut reader = user(&server, "+@all %R~user");
    let waiting = reader.run("DIRTY.DEFERRED user");
    assert!(waiting.starts_with("[[waiting ("), "{waiting}");
    for command in [
        "DIRTY.COMMIT user waiting",
        "DIRTY.ABORT user waiting",
        "DIRTY.FLUSH user DEFER t TOUCH 1",
    ] {
        let reply = reader.run(command);
        assert!(is_no_key(&reply), "{command}: {reply}");
    }
    assert_eq!(state(&mut admin), before);
}

const YES: &str = "OK";
// Who it is that has none is "This user" in 7.0, and later the user's name.
const NO: &str = r"has no permissions to access the \'user\' key";

/// Rights, a command, and whether they are enough.
const NEEDED: &[(&str, &str, &str)] = &[
    ("%R~user", "DIRTY.GET user 1", YES),
    ("%R~user", "DIRTY.INFO user", YES),
    ("%R~user", "DIRTY.SCAN user 0", YES),
    ("%R~user", "DIRTY.RECONCILE user STATUS r", NO),
    ("%R~user", "DIRTY.FLUSH user RUN r SNAPSHOT 1 0", NO),
    ("%R~user", "DIRTY.FLUSH user DELETE 1", NO),
    ("%R~user", "DIRTY.DECLARE user STREAM s", NO),
    ("%R~user", "DIRTY.FLUSH user DEFER t DELETE 1", NO),
    ("%R~user", "DIRTY.COMMIT user t", NO),
    ("%R~user", "DIRTY.ABORT user t", NO),
    ("%R~user", "DIRTY.DEFERRED user", YES),
    ("%R~user", "DIRTY.STATS user", YES),
    ("%R~user", "DIRTY.PENDING user GROUP g", YES),
    ("%R~user", "DIRTY.READ user FROM 0", YES),
    ("%R~user", "DIRTY.ACK user CURSOR c 1-1/1", NO),
    ("%R~user", "DIRTY.ACK user GROUP g c 1-1", NO),
    ("%R~user", "DIRTY.HOLD user GROUP g c", NO),
    ("%R~user", "DIRTY.LEAVE user GROUP g c", NO),
    ("%R~user", "DIRTY.PAUSE user GROUP g ON", NO),
    ("%R~user", "DIRTY.SEEK user CURSOR c 0", NO),
    ("%R~user", "DIRTY.FORGET user GROUP g", NO),
    ("%R~user", "DIRTY.READER user GROUP g FROM 0", NO),
    ("%R~user", "DIRTY.CONSUME user GROUP g c", NO),
    ("%R~user", "DIRTY.FAIL user GROUP g c why 1-1", NO),
    ("%R~user", "DIRTY.REDRIVE user GROUP g ALL", NO),
    ("%R~user", "DIRTY.DISCARD user GROUP g ALL", NO),
    ("%R~user", "DIRTY._DELTA user x", NO),
    ("%W~user", "DIRTY.STATS user", NO),
    ("%W~user", "DIRTY.PENDING user GROUP g", NO),
    ("%W~user", "DIRTY.READ user FROM 0", NO),
    ("%W~user", "DIRTY.ACK user CURSOR c 1-1/1", YES),
    ("%W~user", "DIRTY.ACK user GROUP g c 1-1", YES),
    ("%W~user", "DIRTY.HOLD user GROUP g c", YES),
    ("%W~user", "DIRTY.LEAVE user GROUP g c", YES),
    ("%W~user", "DIRTY.PAUSE user GROUP g ON", YES),
    ("%W~user", "DIRTY.SEEK user CURSOR c 0", YES),
    ("%W~user", "DIRTY.FORGET user GROUP g", YES),
    ("%W~user", "DIRTY.READER user GROUP g FROM 0", NO),
    ("%W~user", "DIRTY.CONSUME user GROUP g c", NO),
    ("%W~user", "DIRTY.FAIL user GROUP g c why 1-1", NO),
    ("%W~user", "DIRTY.REDRIVE user GROUP g ALL", NO),
    ("%W~user", "DIRTY.DISCARD user GROUP g ALL", NO),
    ("%W~user", "DIRTY._DELTA user x", NO),
    ("%W~user", "DIRTY.DECLARE user STREAM s", YES),
    ("%W~user", "DIRTY.FLUSH user DELETE 1", YES),
    ("%W~user", "DIRTY.FLUSH user ONCE t DEFER t DELETE 1", YES),
    ("%W~user", "DIRTY.COMMIT user t u", YES),
    ("%W~user", "DIRTY.ABORT user t u", YES),
    ("%W~user", "DIRTY.DEFERRED user", NO),
    ("%W~user", "DIRTY.GET user 1", NO),
    ("%W~user", "DIRTY.INFO user", NO),
    ("%W~user", "DIRTY.SCAN user 0", NO),
    ("%W~user", "DIRTY.RECONCILE user BEGIN r", YES),
    ("%W~user", "DIRTY.RECONCILE user SWEEP r", YES),
    ("%W~user", "DIRTY.FLUSH user RUN r SNAPSHOT 1 0", YES),
    // What reads and writes, and what puts into another stream what this one holds.
    ("%R~user %W~user", "DIRTY.CONSUME user GROUP g c", YES),
    ("%R~user %W~user", "DIRTY.FAIL user GROUP g c why 1-1", YES),
    ("~user", "DIRTY.READER user GROUP g FROM 0", YES),
    ("~user", "DIRTY.READER user GROUP g FROM 0 DEAD user", YES),
    // The declarations behind SNAPSHOT are read.
    (
        "~s %R~user",
        "DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user",
        YES,
    ),
    (
        "~s %W~user",
        "DIRTY.READER s CURSOR c FROM SNAPSHOT 1 user",
        NO,
    ),
    ("%W~s %R~user", "DIRTY.SEEK s CURSOR c SNAPSHOT 1 user", YES),
    ("%W~s %W~user", "DIRTY.SEEK s CURSOR c SNAPSHOT 1 user", NO),
];

#[test]
fn a_command_asks_for_no_more_rights_on_its_key_than_it_needs() {
    let (server, mut admin) = seeded();
    let mut wrong = String::new();
    for (rights, command, expected) in NEEDED {
        user(&server, &format!("+@all {rights}"));
        let reply = admin.run(&format!("ACL DRYRUN app {command}"));
        if !reply.ends_with(*expected) {
            let _ = writeln!(wrong, "{rights}: {command}: {reply}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const BY_THE_SERVER: &str = "NOPERM in the server's own words";

/// All categories that there are, and the commands of ours that are in one of them, if it is there.
const CATEGORIES: [(&str, &str); 9] = [
    (
        "dirty",
        "_delta abort ack commit consume declare deferred discard fail flush forget get hold info leave pause pending \
         read reader reconcile redrive scan seek stats",
    ),
    ("read", "deferred get info pending read scan stats"),
    (
        "write",
        "_delta abort ack commit consume declare discard fail flush forget hold leave pause reader reconcile redrive \
         seek",
    ),
    ("hash", "abort commit deferred flush get reconcile scan"),
    (
        "stream",
        "_delta ack commit consume discard fail flush forget hold leave pause pending read reader reconcile \
         redrive seek stats",
    ),
    ("blocking", "consume read"),
    ("fast", "abort ack hold pause"),
    (
        "slow",
        "_delta commit consume declare deferred discard fail flush forget get info leave pending read reader reconcile \
         redrive scan seek stats",
    ),
    ("dangerous", "_delta"),
];

#[test]
fn the_commands_are_in_acl_categories_where_the_server_lets_them() {
    let (server, mut admin) = seeded();
    if !has_own_category(&mut admin) {
        // 7.0: they are in none at all.
        for (category, _) in &CATEGORIES[1..] {
            let all = admin.run(&format!("ACL CAT {category}"));
            assert!(!all.contains("dirty."), "{category}: {all}");
        }
        let setuser = "ACL SETUSER app +@dirty";
        let refused = admin.run(setuser);
        assert!(refused.contains("Unknown command or category"), "{refused}");
        return;
    }
    // Redis 7.4 knows the category, and lists no command of a module in any.
    let lists_modules = admin.run("ACL CAT dirty") != "[]";
    for (category, expected) in CATEGORIES.into_iter().filter(|_| lists_modules) {
        let all = admin.run(&format!("ACL CAT {category}"));
        let mut ours: Vec<&str> = all
            .trim_matches(['[', ']'])
            .split(' ')
            .filter_map(|command| command.strip_prefix("dirty."))
            .collect();
        ours.sort_unstable();
        assert_eq!(ours.join(" "), expected, "{category}");
    }
    let mut app = user(&server, "+@dirty ~*");
    assert_eq!(
        app.run("DIRTY.FLUSH user SNAPSHOT 8 1 a b"),
        "[insert]",
        "@dirty is enough"
    );
    let refused = app.run("GET user");
    assert!(refused.starts_with("NOPERM "), "{refused}");
    let mut app = user(&server, "+@all -@dirty ~*");
    let refused = app.run("DIRTY.FLUSH user DELETE 8");
    assert!(refused.starts_with("NOPERM "), "{refused}");
    let mut app = user(&server, "+@read ~*");
    assert_eq!(app.run("DIRTY.GET user 8"), "[[a b]]");
    let refused = app.run("DIRTY.FLUSH user DELETE 8");
    assert!(refused.starts_with("NOPERM "), "{refused}");
}

#[test]
fn a_user_in_the_configuration_may_have_the_category() {
    if !has_own_category(&mut Server::start().connect()) {
        return skipped("the server has no ACL categories of modules");
    }
    let server = Server::with(&["--user", "app", "on", ">secret", "+@dirty", "~*"]);
    let mut app = server.connect();
    app.ok(&["AUTH", "app", "secret"]);
    assert_eq!(app.run("DIRTY.DECLARE user STREAM s"), "OK");
}

fn has_own_category(admin: &mut Conn) -> bool {
    admin.run("ACL CAT").contains(" dirty")
}
