//! One of everything that a wrong command could touch.

use super::{Conn, Server};

/// What `seeded` runs.
const SEED: &[&str] = &[
    "DIRTY.DECLARE user TYPES 7 s string i int u uint f float b bool t time j json \
     STREAM user-changes PAYLOAD FULL MAXLEN = 100 STREAM user-status OPS NONE FIELDS 1 status",
    "DIRTY.FLUSH user SNAPSHOT 1 2 status active i 5 SNAPSHOT 2 0",
    "DIRTY.READER user-changes GROUP workers FROM 0",
    "DIRTY.CONSUME user-changes GROUP workers w1 COUNT 1",
    "DIRTY.READER user-changes CURSOR reader FROM 0",
    // A key of each other type, also where snapshots are.
    "SET string text",
    "SET poor:dead text",
    "RPUSH list a",
    "HSET hash a 1",
    "SADD set a",
    "ZADD zset 1 a",
    "XADD stream 1-1 a b",
    "XGROUP CREATE stream readers 0",
    "XREADGROUP GROUP readers r1 STREAMS stream >",
    "XGROUP CREATE stream place 0",
    "SET user:string text",
    "RPUSH user:list a",
    "SADD user:set a",
    "ZADD user:zset 1 a",
    "XADD user:stream 1-1 a b",
    "DIRTY.DECLARE user:declaration STREAM anything",
    // Entity types whose second stream is none, or can take no more.
    "DIRTY.DECLARE to-string STREAM fine STREAM string",
    "DIRTY.DECLARE to-list STREAM fine STREAM list",
    "DIRTY.DECLARE to-hash STREAM fine STREAM hash",
    "DIRTY.DECLARE to-set STREAM fine STREAM set",
    "DIRTY.DECLARE to-zset STREAM fine STREAM zset",
    "DIRTY.DECLARE to-declaration STREAM fine STREAM user",
    "DIRTY.DECLARE to-elsewhere STREAM fine STREAM there DB 1",
    "DIRTY.DECLARE to-full STREAM fine STREAM full",
    "DIRTY.DECLARE to-last STREAM fine STREAM last",
    "XADD full 18446744073709551615-18446744073709551615 a b",
    "XADD last 18446744073709551615-18446744073709551614 a b",
    // Streams whose dead, or whose readers, have no place.
    "DIRTY.READER full GROUP team FROM 0",
    "DIRTY.CONSUME full GROUP team t1",
    "SET full:dead text",
    "SET last:readers text",
    // Groups that hold an event, have given one up, can bury none; one with an order.
    "DIRTY.READER stream CURSOR mark FROM 0 SHARD 0 2",
    "DIRTY.READER stream GROUP team FROM 0 REVISION 5",
    "DIRTY.CONSUME stream GROUP team t1",
    "DIRTY.READER stream GROUP dying FROM 0 DEAD graves",
    "DIRTY.CONSUME stream GROUP dying t1",
    "DIRTY.FAIL stream GROUP dying t1 why FATAL 1-1",
    "DIRTY.READER stream GROUP lost FROM 0 DEAD turned",
    "DIRTY.CONSUME stream GROUP lost t1",
    "SET turned text",
    "DIRTY.READER stream GROUP packed FROM 0 DEAD filled",
    "DIRTY.CONSUME stream GROUP packed t1",
    "XADD filled 18446744073709551615-18446744073709551615 a b",
    "DIRTY.READER stream GROUP ordered FROM 0 ORDER META m ONDEAD PARK",
    // One whose second stream has no room, since a group has read nothing.
    "DIRTY.DECLARE to-no-room STREAM fine STREAM no-room MAXLEN 1 ONFULL REFUSE",
    "XGROUP CREATE no-room readers 0 MKSTREAM",
    "XADD no-room 1-1 a b",
    // Snapshots would be stored at the key of a stream, at the key of a declaration.
    "DIRTY.DECLARE over PREFIX o: STREAM o:1",
    "DIRTY.DECLARE itself PREFIX it STREAM its-changes",
    "SELECT 1",
    "SET there text",
    "SELECT 0",
    // Types with other rules.
    "DIRTY.DECLARE versioned VERSION v TYPES 1 i int STREAM versioned-changes",
    "DIRTY.FLUSH versioned SNAPSHOT 1 2 v 5 a x SNAPSHOT 2 1 v 5 DELETE 2 1 v 6",
    "DIRTY.DECLARE stateless STATELESS TYPES 1 i int STREAM stateless-changes",
    "DIRTY.DECLARE numbered STREAM its-numbers STREAM numbers FORMAT FLUXAORM2",
    "DIRTY.DECLARE numbered1 STREAM numbers1 FORMAT FLUXAORM1",
    // What waits, what was done once, and what is neither, at keys of the declarations' own.
    "DIRTY.FLUSH user DEFER waiting SNAPSHOT 1 1 status gone",
    "DIRTY.FLUSH user DEFER failing UPDATE 404 0",
    "HSET user@deferred junk text",
    "SET to-list@deferred text",
    "DIRTY.FLUSH user ONCE done DELETE 404",
    "SET user@once:foreign text",
    "RPUSH user@once:list a",
    "DIRTY.DECLARE taken PREFIX taken@ STREAM taken-changes",
];

const STREAMS: &[&str] = &[
    "stream",
    "user-changes",
    "full",
    "last",
    "no-room",
    "user:stream",
];

pub fn seeded() -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    seed(&mut redis);
    (server, redis)
}

pub fn seed(redis: &mut Conn) {
    for command in SEED {
        let reply = redis.run(command);
        let fails = reply.starts_with("ERR") || reply.starts_with("WRONGTYPE");
        assert!(!fails, "{command}: {reply}");
    }
}

/// All there is: the digest knows nothing of native groups, and not how many keys there are. Of readers it knows all
/// but who waits, which STATS would tell.
pub fn state(redis: &mut Conn) -> Vec<String> {
    let mut state = vec![redis.digest(), redis.run("DBSIZE")];
    for stream in STREAMS {
        state.push(redis.run(&format!("XINFO STREAM {stream} FULL")));
        state.push(redis.run(&format!("DUMP {stream}:readers")));
    }
    state
}
