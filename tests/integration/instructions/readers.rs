//! The paths of readers, and what each may cost against another.

use super::super::support::readers::read;
use super::super::support::{Conn, Server, text};
use super::{ENTITIES, Path, Words, flush, run, words};
use redis::Value;

const NATIVE: &str = "XREADGROUP 100, XACK 100, each";
const CONSUME: &str = "CONSUME 100, ACK 100, each";
const IN_ORDER: &str = "CONSUME 100, ACK 100, ORDER ENTITY, each";

/// What is asked of a path: so many times the instructions of another one at most. Of wake-ups `make bench` asks it, since
/// most of what they cost is the kernel's, which is not counted here.
pub const GOALS: [(&str, f64, &str); 9] = [
    (CONSUME, 0.85, NATIVE),
    (IN_ORDER, 1.3, CONSUME),
    ("CONSUME 100 behind 10000 of held keys, each", 2.0, IN_ORDER),
    (
        "CONSUME of nothing, NONE, many pending",
        1.2,
        "CONSUME of nothing, NONE",
    ),
    (
        "CONSUME of nothing, ENTITY, many pending",
        1.2,
        "CONSUME of nothing, ENTITY",
    ),
    (
        "CONSUME of nothing, STREAM, many pending",
        1.2,
        "CONSUME of nothing, STREAM",
    ),
    ("HOLD of 1 event, many pending", 1.2, "HOLD of 1 event"),
    ("FAIL of 1 event, many pending", 1.2, "FAIL of 1 event"),
    (
        "LEAVE with 1 event, many pending",
        1.2,
        "LEAVE with 1 event",
    ),
];

/// Events of entities that are numbered, a hundred in each command.
fn updates(entity_type: &str, entities: std::ops::Range<usize>, keys: usize) -> Vec<Words> {
    let entities: Vec<usize> = entities.collect();
    let batch = |entities: &[usize]| {
        let ops = entities
            .iter()
            .map(|n| format!("UPDATE user-{} 1 logins 0 1", n % keys));
        let ops: Vec<String> = ops.collect();
        words(format!("DIRTY.FLUSH {entity_type} {}", ops.join(" ")))
    };
    entities.chunks(100).map(batch).collect()
}

/// The ids of a stream's entries behind the first ones.
fn ids(redis: &mut Conn, stream: &str, from: usize) -> Vec<String> {
    let Value::Array(entries) = redis.ok(&["XRANGE", stream, "-", "+"]) else {
        panic!("entries");
    };
    let id = |entry: &Value| match entry {
        Value::Array(entry) => text(&entry[0]).trim_matches('"').to_string(),
        other => panic!("{other:?}"),
    };
    entries[from..].iter().map(id).collect()
}

/// A batch is read, and acknowledged with the next.
fn consume(reader: &str, ids: &[String]) -> Vec<Words> {
    let consume = |ids: &[String]| {
        let ids = ids.join(" ");
        words(format!("DIRTY.CONSUME {reader} me ACK 100 {ids} COUNT 100"))
    };
    ids.chunks(100).map(consume).collect()
}

/// The same, natively.
fn native(stream: &str, ids: &[String]) -> Vec<Words> {
    let read = |ids: &[String]| {
        [
            words(format!("XACK {stream} native {}", ids.join(" "))),
            words(format!(
                "XREADGROUP GROUP native me COUNT 100 STREAMS {stream} >"
            )),
        ]
    };
    ids.chunks(100).flat_map(read).collect()
}

/// Batch after batch, each of events of 100 entities, of which there are 1,000. There is one batch more to read, so each
/// call has one to read and one to acknowledge.
pub fn batches(redis: &mut Conn) -> Vec<Path> {
    redis.run("DIRTY.DECLARE read STREAM read-changes");
    run(redis, &flush("read", 0));
    redis.run("XGROUP CREATE read-changes native $");
    redis.run("DIRTY.READER read-changes GROUP g FROM $ CLAIM 36000000");
    redis.run("DIRTY.READER read-changes GROUP ordered FROM $ ORDER ENTITY CLAIM 36000000");
    run(redis, &flush("read", 1));
    run(redis, &flush("read", 2)[..100]);
    let ids = ids(redis, "read-changes", ENTITIES);
    let ids = &ids[..ENTITIES];
    redis.run("XREADGROUP GROUP native me COUNT 100 STREAMS read-changes >");
    for group in ["g", "ordered"] {
        redis.run(&format!(
            "DIRTY.CONSUME read-changes GROUP {group} me COUNT 100"
        ));
    }
    let path = |name, commands| Path {
        name,
        commands,
        units: ENTITIES,
    };
    vec![
        path(NATIVE, native("read-changes", ids)),
        path(CONSUME, consume("read-changes GROUP g", ids)),
        path(IN_ORDER, consume("read-changes GROUP ordered", ids)),
        path("CONSUME 100 behind 10000 of held keys, each", behind(redis)),
    ]
}

/// Somebody holds the first event of each of 100 keys, and 10,000 later ones are queued.
fn behind(redis: &mut Conn) -> Vec<Words> {
    redis.run("DIRTY.DECLARE held STATELESS STREAM held-changes");
    redis.run("DIRTY.READER held-changes GROUP g FROM $ ORDER ENTITY CLAIM 36000000");
    run(redis, &updates("held", 0..10_100, 100));
    redis.run("DIRTY.CONSUME held-changes GROUP g slow COUNT 100");
    run(redis, &updates("held", 11_000..12_100, 1_000_000));
    let ids = ids(redis, "held-changes", 10_100);
    // A call that has looked at many may end before it has given as many as it was asked for.
    let mut held = Vec::new();
    while held.len() < 100 {
        let count = 100 - held.len();
        let call = words(format!(
            "DIRTY.CONSUME held-changes GROUP g me COUNT {count}"
        ));
        held.extend(read(&redis.value(&call)).ids);
    }
    assert_eq!(held, ids[..100], "what is acknowledged first");
    consume("held-changes GROUP g", &ids[..ENTITIES])
}

/// Calls that must not cost more where much is pending.
pub fn much_pending(redis: &mut Conn) -> Vec<Path> {
    let mut paths = Vec::new();
    for (names, events) in [(FEW, 200), (MANY, 20_000)] {
        paths.extend(with_pending(redis, names, events));
    }
    paths
}

type Names = (&'static str, [&'static str; 6]);

const FEW: Names = (
    "few",
    [
        "CONSUME of nothing, NONE",
        "CONSUME of nothing, ENTITY",
        "CONSUME of nothing, STREAM",
        "HOLD of 1 event",
        "FAIL of 1 event",
        "LEAVE with 1 event",
    ],
);
const MANY: Names = (
    "many",
    [
        "CONSUME of nothing, NONE, many pending",
        "CONSUME of nothing, ENTITY, many pending",
        "CONSUME of nothing, STREAM, many pending",
        "HOLD of 1 event, many pending",
        "FAIL of 1 event, many pending",
        "LEAVE with 1 event, many pending",
    ],
);

fn with_pending(redis: &mut Conn, (entity_type, names): Names, events: usize) -> Vec<Path> {
    let stream = format!("{entity_type}-changes");
    redis.run(&format!(
        "DIRTY.DECLARE {entity_type} STATELESS STREAM {stream}"
    ));
    for order in ["NONE", "ENTITY", "STREAM"] {
        let settings = format!("FROM $ ORDER {order} MAXPENDING 1000000 CLAIM 36000000");
        redis.run(&format!("DIRTY.READER {stream} GROUP {order} {settings}"));
    }
    run(redis, &updates(entity_type, 0..events, events));
    let each = |command: &dyn Fn(usize) -> String| -> Vec<Words> {
        (0..100).map(|n| words(command(n))).collect()
    };
    run(
        redis,
        &each(&|n| format!("DIRTY.CONSUME {stream} GROUP NONE one-{n} COUNT 1")),
    );
    for order in ["NONE", "ENTITY", "STREAM"] {
        redis.run(&format!(
            "DIRTY.CONSUME {stream} GROUP {order} me COUNT {events} RAW"
        ));
    }
    let ids = ids(redis, &stream, 100);
    let nothing = |order: &str| each(&|_| format!("DIRTY.CONSUME {stream} GROUP {order} other"));
    let commands = [
        nothing("NONE"),
        nothing("ENTITY"),
        nothing("STREAM"),
        each(&|n| format!("DIRTY.HOLD {stream} GROUP NONE me {}", ids[n])),
        each(&|n| {
            format!(
                "DIRTY.FAIL {stream} GROUP NONE me why DELAY 3600000 {}",
                ids[n]
            )
        }),
        each(&|n| format!("DIRTY.LEAVE {stream} GROUP NONE one-{n}")),
    ];
    let paths = names.into_iter().zip(commands);
    let path = |(name, commands)| Path {
        name,
        commands,
        units: 100,
    };
    paths.map(path).collect()
}

/// The name of a path, its stream, the reader of each client, and the call in which each waits.
pub const WAITERS: [[&str; 4]; 6] = [
    [
        "wake-up of XREAD, each of 100",
        "w0",
        "",
        "XREAD BLOCK 0 STREAMS w0 $",
    ],
    [
        "wake-up of READ, each of 100",
        "w1",
        "",
        "DIRTY.READ w1 FROM $ BLOCK 0",
    ],
    [
        "wake-up of cursors, each of 100",
        "w2",
        "CURSOR @ FROM $",
        "DIRTY.CONSUME w2 CURSOR @ BLOCK 0",
    ],
    [
        "wake-up of cursors with WHERE, each of 100",
        "w3",
        "CURSOR @ FROM $ WHERE ID 1 1",
        "DIRTY.CONSUME w3 CURSOR @ BLOCK 0",
    ],
    [
        "wake-up of groups, each of 100",
        "w4",
        "GROUP @ FROM $",
        "DIRTY.CONSUME w4 GROUP @ me BLOCK 0",
    ],
    [
        "wake-up of groups with WHERE, each of 100",
        "w5",
        "GROUP @ FROM $ WHERE ID 1 1",
        "DIRTY.CONSUME w5 GROUP @ me BLOCK 0",
    ],
];

/// Clients that wait for one event of a stream.
pub struct Waiting(Vec<Conn>);

impl Waiting {
    pub fn begin(server: &Server, [name, stream, reader, call]: [&'static str; 4]) -> (Self, Path) {
        let mut redis = server.connect();
        redis.run(&format!(
            "DIRTY.DECLARE of-{stream} STATELESS STREAM {stream}"
        ));
        let event = format!("DIRTY.FLUSH of-{stream} INSERT 1 0");
        redis.run(&event);
        let client = |n: usize| {
            let named = |text: &str| text.replace('@', &format!("reader-{n}"));
            if !reader.is_empty() {
                let reply = redis.run(&format!("DIRTY.READER {stream} {}", named(reader)));
                assert_eq!(reply, "OK");
            }
            let mut client = server.connect();
            client.send(&words(named(call))).expect("a connection");
            client
        };
        let clients: Vec<Conn> = (0..100).map(client).collect();
        server.wait_for_blocked(clients.len());
        let path = Path {
            name,
            commands: vec![words(event)],
            units: clients.len(),
        };
        (Waiting(clients), path)
    }

    /// Each has got the event.
    pub fn end(self) {
        for mut client in self.0 {
            let reply = client.receive().expect("a reply");
            match text(&reply).starts_with("[[w0") {
                true => (),
                false => assert_eq!(read(&reply).events, ["1"]),
            }
        }
    }
}

/// What the last call of each has given.
pub fn check_effects(redis: &mut Conn) {
    for leave in [
        "DIRTY.LEAVE read-changes GROUP g me",
        "DIRTY.LEAVE read-changes GROUP ordered me",
        "DIRTY.LEAVE held-changes GROUP g me",
    ] {
        assert_eq!(redis.run(leave), "(100)", "{leave}");
    }
}
