//! In a cluster: keys of one declaration, and of what is derived from its own, in one slot.

use crate::support::{Server, cases};

const CROSS_SLOT: &str = r#"
DIRTY.DECLARE user{7} STREAM user-changes
  => CROSSSLOT the key "user-changes" is in another slot than the key that it belongs to; give all of them the same {tag}
DIRTY.DECLARE user{7} STREAM a{7} STREAM b{8}
  => CROSSSLOT the key "b{8}" is in another slot than the key that it belongs to; give all of them the same {tag}
DIRTY.DECLARE user{7} PREFIX user: STREAM a{7}
  => CROSSSLOT the key "user:" is in another slot than the key that it belongs to; give all of them the same {tag}
DIRTY.DECLARE user{7} PREFIX {8}: STREAM a{7}
  => CROSSSLOT the key "{8}:" is in another slot than the key that it belongs to; give all of them the same {tag}
DIRTY.DECLARE user STREAM {user}-changes
  => CROSSSLOT the key "user:" is in another slot than the key that it belongs to; give all of them the same {tag}
DIRTY.DECLARE user{7} TAGS 1 ID dirty=A
  => CROSSSLOT the key "dirty_A" is in another slot than the key that it belongs to; give all of them the same {tag}
DIRTY.DECLARE user{7} STREAM a{7} DB 1
  => ERR this cluster has no other databases: DB and POOL are refused
DIRTY.DECLARE user{7} TAGS 1 ID dirtyStream=a{7}/p/ POOL p 1
  => ERR this cluster has no other databases: DB and POOL are refused
"#;

#[test]
fn in_a_cluster_all_keys_of_a_declaration_must_be_in_its_slot() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let mut redis = server.connect();
    redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    let before = redis.digest();
    redis.expect(CROSS_SLOT);
    assert_eq!(redis.digest(), before);
    redis.expect(
        r#"
DIRTY.DECLARE user{7} STREAM a{7} STREAM {7}b => OK
DIRTY.DECLARE user PREFIX {user}: STREAM {user}-changes => OK
DIRTY.FLUSH user{7} SNAPSHOT 1 1 a b => [insert]
HGETALL user{7}:1 => [a b]
XLEN {7}b => (1)
DIRTY.FLUSH user{7} ONCE t DEFER t INSERT 2 0 => [deferred]
DIRTY.DEFERRED user{7} MINAGE 600000 => []
DIRTY.COMMIT user{7} t => [[insert]]
DIRTY.ABORT user{7} t => (0)
TYPE user{7}@once:t => string
DIRTY.FLUSH user SNAPSHOT 1 1 a b => [insert]
"#,
    );
    // The prefix and the stream have the tag, but the declaration's key, which others are derived from.
    let before = redis.digest();
    for (command, key) in cases(OTHER_SLOT) {
        let crossed = format!(
            "CROSSSLOT the key \"{key}\" is in another slot than the key that it belongs to; \
             give all of them the same {{tag}}"
        );
        assert_eq!(redis.run(&command), crossed, "{command}");
    }
    assert_eq!(redis.digest(), before);
    // A dead stream is a key that the command names.
    let reply = redis.run("DIRTY.READER a{7} GROUP g FROM 0 DEAD dead{8}");
    assert!(reply.starts_with("CROSSSLOT Keys in request"), "{reply}");
    // Who needs no readers needs no tag.
    redis.run("XADD plain 1-1 a b");
    for look in ["DIRTY.READ plain FROM 0", "DIRTY.STATS plain"] {
        let reply = redis.run(look);
        assert!(reply.starts_with('['), "{look}: {reply}");
    }
}

/// Lines `command => how its reply begins`.
const RESTORED: &str = r#"
DIRTY.FLUSH user{8} SNAPSHOT 1 1 a c => CROSSSLOT the key "user{7}:"
DIRTY.FLUSH user{8} SNAPSHOT 1 1 a b => CROSSSLOT the key "user{7}:"
DIRTY.FLUSH user{8} DEFER t SNAPSHOT 1 1 a c => CROSSSLOT the key "user{7}:"
DIRTY.COMMIT user{8} t => CROSSSLOT the key "user{7}:"
DIRTY.GET user{8} 1 => CROSSSLOT the key "user{7}:"
DIRTY.FLUSH less{8} TOUCH 1 => CROSSSLOT the key "of{7}"
DIRTY.INFO user{8} => [name
"#;

#[test]
fn a_declaration_that_was_restored_in_another_slot_writes_and_reads_nothing() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let mut redis = server.connect();
    redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server.wait_for_line("CLUSTER INFO", "cluster_state:ok");
    redis.expect(
        "DIRTY.DECLARE user{7} STREAM a{7} => OK\n\
         DIRTY.DECLARE less{7} STATELESS STREAM of{7} => OK\n\
         DIRTY.FLUSH less{7} TOUCH 1 => [touch]\n\
         DIRTY.FLUSH user{7} SNAPSHOT 1 1 a b => [insert]",
    );
    for name in ["user", "less"] {
        let dump = redis.value(&["DUMP", &format!("{name}{{7}}")]);
        let redis::Value::BulkString(payload) = dump else {
            panic!("{dump:?}");
        };
        let to = format!("{name}{{8}}");
        let restore: [&[u8]; 4] = [b"RESTORE", to.as_bytes(), b"0", &payload];
        assert_eq!(redis.raw(&restore), "OK");
    }
    let before = redis.digest();
    for (command, begins) in cases(RESTORED) {
        let reply = redis.run(&command);
        assert!(reply.starts_with(&begins), "{command}: {reply}");
        assert_eq!(redis.digest(), before, "{command}");
    }
}

/// Lines `command => the key that is in another slot`.
const OTHER_SLOT: &str = r#"
DIRTY.FLUSH user DEFER t INSERT 2 0 => user@deferred
DIRTY.COMMIT user t => user@deferred
DIRTY.ABORT user t => user@deferred
DIRTY.DEFERRED user => user@deferred
DIRTY.FLUSH user ONCE t INSERT 2 0 => user@once:t
DIRTY.FLUSH user ONCE t DEFER t INSERT 2 0 => user@once:t
DIRTY.READER plain GROUP g FROM 0 => plain:readers
DIRTY.READER plain CURSOR c FROM 0 => plain:readers
DIRTY.CONSUME plain GROUP g c => plain:readers
DIRTY.CONSUME plain CURSOR c => plain:readers
DIRTY.ACK plain GROUP g c 1-1 => plain:readers
DIRTY.HOLD plain GROUP g c => plain:readers
DIRTY.FAIL plain GROUP g c why 1-1 => plain:readers
DIRTY.LEAVE plain GROUP g c => plain:readers
DIRTY.PENDING plain GROUP g => plain:readers
DIRTY.REDRIVE plain GROUP g ALL => plain:readers
DIRTY.DISCARD plain GROUP g ALL => plain:readers
DIRTY.PAUSE plain GROUP g ON => plain:readers
DIRTY.SEEK plain GROUP g 0 => plain:readers
DIRTY.FORGET plain GROUP g => plain:readers
DIRTY._DELTA plain x => plain:readers
"#;
