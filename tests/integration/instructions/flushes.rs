//! The ways to flush beside those in `paths`: an operation of its own, an input and events of their own.

use super::{CONSTANT, Conn, ENTITIES, Path, Words, each, flush, run, words};

/// The types whose entities exist before they are counted, and what their streams have.
const TYPES: [(&str, &str); 4] = [
    ("updated", ""),
    ("json", ""),
    ("images", "PAYLOAD IMAGES"),
    ("debezium", "FORMAT DEBEZIUM"),
];

/// A flush of one field that it names.
pub fn updates(command: &str, logins: usize) -> Vec<Words> {
    each(|id| format!("{command} updated UPDATE user-{id:06} 1 logins {logins}"))
}

/// Entities that do not exist yet.
pub fn inserts(command: &str, prefix: &str) -> Vec<Words> {
    each(|id| format!("{command} inserted INSERT {prefix}-{id:06} 10 {CONSTANT} logins 1"))
}

/// The same entities as those of `flush`, as objects.
pub fn objects(command: &str, logins: usize) -> Vec<Words> {
    let pairs = words(format!("{CONSTANT} logins {logins}"));
    let members = pairs
        .chunks(2)
        .map(|pair| format!("{:?}: {:?}", pair[0], pair[1]));
    let object = format!("{{{}}}", members.collect::<Vec<_>>().join(", "));
    let mut commands = each(|id| format!("{command} json SNAPSHOT user-{id:06} JSON"));
    commands
        .iter_mut()
        .for_each(|command| command.push(object.clone()));
    commands
}

pub fn paths(redis: &mut Conn) -> Vec<Path> {
    for (entity_type, options) in TYPES {
        redis.run(&format!(
            "DIRTY.DECLARE {entity_type} STREAM {entity_type}-changes {options}"
        ));
        run(redis, &flush(entity_type, 0));
    }
    redis.run("DIRTY.DECLARE inserted STREAM inserted-changes");
    // The stream is there, as it is for all but the first one.
    run(redis, &inserts("DIRTY.FLUSH", "first")[..1]);
    let path = |name, commands| Path {
        name,
        commands,
        units: ENTITIES,
    };
    vec![
        path("FLUSH UPDATE of 1 of 10 fields", updates("DIRTY.FLUSH", 1)),
        path("FLUSH INSERT of 10 fields", inserts("DIRTY.FLUSH", "user")),
        path(
            "FLUSH as JSON, 1 of 10 fields changed",
            objects("DIRTY.FLUSH", 1),
        ),
        path("FLUSH, PAYLOAD IMAGES", flush("images", 1)),
        path("FLUSH, FORMAT DEBEZIUM", flush("debezium", 1)),
    ]
}

/// What was counted is what the names say.
pub fn check_effects(redis: &mut Conn) {
    for (command, reply) in [
        ("XLEN update-changes", "(2000)"),
        ("XLEN unchanged-changes", "(1000)"),
        ("XLEN batch-changes", "(2000)"),
        ("XLEN stateless-changes", "(2000)"),
        ("XLEN updated-changes", "(2000)"),
        ("XLEN inserted-changes", "(1001)"),
        ("XLEN json-changes", "(2000)"),
        ("XLEN images-changes", "(2000)"),
        ("XLEN debezium-changes", "(2000)"),
    ] {
        assert_eq!(redis.run(command), reply, "{command}");
    }
}
