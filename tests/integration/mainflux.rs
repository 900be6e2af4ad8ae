//! FORMAT FLAT as the subscriber of Mainflux reads it: an entry's fields are its event, decoded by `operation`.

use super::support::{Conn, Server, text};
use redis::Value;
use std::collections::BTreeMap;

/// An entry's fields as the subscriber's client gives them: a map of strings.
type Fields = BTreeMap<String, String>;

/// What the subscriber makes of an entry: the action and its members, then what all events have. `None` if it does
/// not know the operation: it logs that, and goes on.
fn decode(fields: &Fields) -> Option<String> {
    let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
    // JSON that cannot be parsed is left out, as is none.
    let json = |name: &str| -> Option<serde_json::Value> { serde_json::from_str(&text(name)).ok() };
    let metadata = || json("metadata").map_or("-".into(), |json| json.to_string());
    let (id, name) = (text("id"), text("name"));
    let (group, profile) = (text("group_id"), text("profile_id"));
    let action = match text("operation").as_str() {
        "thing.create" => format!("ThingCreated {id} {group} {profile} {name} {}", metadata()),
        "thing.update" => format!("ThingUpdated {id} {profile} {name} {}", metadata()),
        "thing.update_group_and_profile" => {
            format!("ThingGroupAndProfileUpdated {id} {profile} {group}")
        }
        "thing.remove" => format!("ThingRemoved {id}"),
        "profile.create" => format!("ProfileCreated {id} {group} {name} {}", metadata()),
        "profile.update" => {
            let config = json("config").map_or("-".into(), |json| json.to_string());
            format!("ProfileUpdated {id} {name} {config} {}", metadata())
        }
        "profile.remove" => format!("ProfileRemoved {id}"),
        "group.remove" => {
            let things: Vec<String> = match text("thing_ids") {
                things if things.is_empty() => Vec::new(),
                things => things.split(',').map(String::from).collect(),
            };
            format!("GroupRemoved {id} {things:?}")
        }
        "org.create" => format!("OrgCreated {id}"),
        "org.remove" => format!("OrgRemoved {id}"),
        _ => return None,
    };
    let user = (
        text("jwt_identity_user_id"),
        text("jwt_identity_user_email"),
    );
    // In RFC 3339; the zero time if it is something else.
    let at = text("occurred_at");
    let is_time = at.ends_with('Z') && at.get(10..11) == Some("T") && at.len() >= 20;
    let at = if is_time { "then" } else { "never" };
    let (org, group) = (text("evt_org_id"), text("evt_group_id"));
    Some(format!(
        "{action} by {} {} in {org} {group} {at}",
        user.0, user.1
    ))
}

/// Reads on from the cursor as the subscriber does: XREAD of 100 entries, and SET of a key of its own.
fn read(redis: &mut Conn, stream: &str, cursor: &str) -> Vec<Fields> {
    let last = match redis.value(&["GET", cursor]) {
        Value::Nil => "0".to_string(),
        last => text(&last),
    };
    let Value::Array(streams) = redis.ok(&["XREAD", "COUNT", "100", "STREAMS", stream, &last])
    else {
        return Vec::new();
    };
    let Value::Array(stream) = &streams[0] else {
        panic!("no stream")
    };
    let Value::Array(entries) = &stream[1] else {
        panic!("no entries")
    };
    let mut events = Vec::new();
    for entry in entries {
        let Value::Array(entry) = entry else {
            panic!("no entry")
        };
        let Value::Array(words) = &entry[1] else {
            panic!("no fields")
        };
        let pairs = words.chunks(2);
        let fields: Fields = pairs
            .map(|pair| match (&pair[0], &pair[1]) {
                (Value::BulkString(name), Value::BulkString(value)) => {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
                    (text(name), text(value))
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(fields.len() * 2, words.len(), "no name twice: {fields:?}");
        events.push(fields);
        redis.ok(&["SET", cursor, &text(&entry[0])]);
    }
    events
}

const USER: &str = "jwt_identity_user_id u1 jwt_identity_user_email a@b.c evt_org_id o1";

/// A flush, and what the subscriber makes of the entry.
const STORY: [(&str, &str); 13] = [
    (
        "thing META 4 USER evt_group_id g1 INSERT t1 JSON {\"group_id\":\"g1\",\"profile_id\":\"p1\",\"name\":\"sensor\",\"metadata\":{\"floor\":3}}",
        "ThingCreated t1 g1 p1 sensor {\"floor\":3} by u1 a@b.c in o1 g1 then",
    ),
    // All fields are there, those that did not change too.
    (
        "thing META 3 USER UPDATE t1 1 name probe",
        "ThingUpdated t1 p1 probe {\"floor\":3} by u1 a@b.c in o1  then",
    ),
    (
        "thing META 4 USER operation thing.update_group_and_profile UPDATE t1 2 group_id g2 profile_id p2",
        "ThingGroupAndProfileUpdated t1 p2 g2 by u1 a@b.c in o1  then",
    ),
    // A null is no field.
    (
        "thing META 3 USER UPDATE t1 0 NULL 2 name metadata",
        "ThingUpdated t1 p2  - by u1 a@b.c in o1  then",
    ),
    ("thing TOUCH t1", "ThingUpdated t1 p2  - by   in   then"),
    (
        "thing META 3 USER DELETE t1",
        "ThingRemoved t1 by u1 a@b.c in o1  then",
    ),
    (
        "profile META 3 USER INSERT p1 JSON {\"group_id\":\"g1\",\"name\":\"lab\",\"config\":{\"content_type\":\"a\"}}",
        "ProfileCreated p1 g1 lab - by u1 a@b.c in o1  then",
    ),
    (
        "profile META 3 USER UPDATE p1 JSON {\"config\":{\"content_type\":\"b\"},\"metadata\":{}}",
        "ProfileUpdated p1 lab {\"content_type\":\"b\"} {} by u1 a@b.c in o1  then",
    ),
    (
        "profile META 3 USER DELETE p1",
        "ProfileRemoved p1 by u1 a@b.c in o1  then",
    ),
    (
        "group META 4 USER thing_ids t1,t2 DELETE g1",
        "GroupRemoved g1 [\"t1\", \"t2\"] by u1 a@b.c in o1  then",
    ),
    ("org META 4 USER evt_org_id o2 INSERT o2 1 name acme", ""),
    (
        "org META 3 USER INSERT o3 1 name acme",
        "OrgCreated o3 by u1 a@b.c in o1  then",
    ),
    (
        "org META 3 USER DELETE o3",
        "OrgRemoved o3 by u1 a@b.c in o1  then",
    ),
];

#[test]
fn the_subscriber_of_mainflux_understands_every_entry() {
    let server = Server::start();
    let mut redis = server.connect();
    for entity in ["thing", "profile", "group", "org"] {
        let types = "TYPES 2 metadata json config json";
        redis.run(&format!(
            "DIRTY.DECLARE {entity} {types} STREAM mainflux.things FORMAT FLAT MAXLEN ~ 100000"
        ));
    }
    redis.run("DIRTY.FLUSH group SEED g1 1 name lab");
    let cursor = "mainflux:cursor:audit:mainflux.things";
    for (flush, expected) in STORY {
        let reply = redis.run(&format!("DIRTY.FLUSH {}", flush.replace("USER", USER)));
        if expected.is_empty() {
            // A name of META cannot be given twice.
            assert!(reply.starts_with("ERR"), "{flush}: {reply}");
            continue;
        }
        assert!(reply.starts_with('['), "{flush}: {reply}");
        let events = read(&mut redis, "mainflux.things", cursor);
        let told: Vec<_> = events.iter().map(decode).collect();
        assert_eq!(told, [Some(expected.to_string())], "{flush}: {events:?}");
    }
}

#[test]
fn fields_of_the_events_own_names_are_left_out_unless_meta_gives_them() {
    let server = Server::start();
    let mut redis = server.connect_resp3();
    redis.run("DIRTY.DECLARE thing STREAM s FORMAT FLAT");
    redis.run("DIRTY.FLUSH thing INSERT 7 4 id 8 operation x occurred_at never z \\xff\\x00");
    redis.run(
        "DIRTY.FLUSH thing META 4 id 9 operation thing.update_all occurred_at 2026-01-02T03:04:05.000000006Z \
         z me UPDATE 7 1 b 2",
    );
    let reply = redis.run("DIRTY.READ s FROM 0");
    for part in [
        "entity: thing, entity-id: 7, op: insert, after: {z: \\xff\\x00}}",
        "entity: thing, entity-id: 9, op: update, after: {b: 2, z: me}}",
    ] {
        assert!(reply.contains(part), "{reply}");
    }
    let reply = redis.run("XRANGE s - +");
    assert!(
        reply.contains(
            "[operation thing.update_all id 9 occurred_at 2026-01-02T03:04:05.000000006Z b 2 z me]"
        ),
        "{reply}"
    );
    // A reader's filters know an event in this format, too.
    let reply = redis.run("DIRTY.READ s FROM 0 WHERE OPS U ENTITY thing");
    assert!(
        reply.contains("entity-id: 9") && !reply.contains("entity-id: 7"),
        "{reply}"
    );
}
