//! A server that may throw data away when memory is short says so.

use crate::support::{Conn, Server};

/// What INFO says of it.
fn told(redis: &mut Conn) -> String {
    let info = redis.run("INFO dirty");
    let value = info.split("dirty_eviction_may_lose_data:").nth(1);
    value.expect("the field")[..1].to_string()
}

/// How often the log warns.
fn warnings(server: &Server) -> usize {
    server.log().matches("evicts declarations").count()
}

#[test]
fn an_eviction_policy_that_may_drop_declarations_is_warned_about() {
    let server = Server::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut redis = server.connect();
    assert_eq!(told(&mut redis), "1");
    assert_eq!(warnings(&server), 1);
    for (setting, value, may_lose, warned) in [
        ("maxmemory-policy", "allkeys-random", "1", 1), // as before
        ("maxmemory-policy", "volatile-ttl", "0", 1),
        ("maxmemory-policy", "noeviction", "0", 1),
        ("maxmemory-policy", "allkeys-lfu", "1", 2),
        ("maxmemory", "0", "0", 2),
        ("hz", "20", "0", 2),
        ("maxmemory", "1gb", "1", 3),
    ] {
        redis.ok(&["CONFIG", "SET", setting, value]);
        let told_of = told(&mut redis);
        assert_eq!(
            (&*told_of, warnings(&server)),
            (may_lose, warned),
            "{setting} {value}"
        );
    }
    let line = server.log();
    let line = line
        .lines()
        .find(|line| line.contains("evicts declarations"));
    assert!(line.unwrap().contains("maxmemory-policy allkeys-lru"));
}

#[test]
fn without_such_a_policy_nothing_is_said() {
    let server = Server::start();
    assert_eq!(told(&mut server.connect()), "0");
    assert_eq!(warnings(&server), 0);
}
