use redis::{FromRedisValue, Value, cmd};
use std::collections::HashMap;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut redis = redis::Client::open(std::env::var("REDIS_URL")?)?.get_connection()?;
    let declaration = ["book", "TYPES", "1", "pages", "int", "STREAM", "book-changes"];
    cmd("DIRTY.DECLARE").arg(&declaration).exec(&mut redis)?;
    let reader = ["book-changes", "GROUP", "printer"];
    cmd("DIRTY.READER").arg(&reader).arg("FROM").arg(0).exec(&mut redis)?;
    for book in [r#"{"title": "Dune", "pages": 412}"#, r#"{"title": "Dune", "pages": 604}"#] {
        cmd("DIRTY.FLUSH").arg(&["book", "SNAPSHOT", "1", "JSON", book]).exec(&mut redis)?;
    }

    let batch: HashMap<String, Value> = cmd("DIRTY.CONSUME").arg(&reader).arg("p1").query(&mut redis)?;
    for event in Vec::<HashMap<String, Value>>::from_redis_value_ref(&batch["events"])? {
        let text = |name| String::from_redis_value_ref(&event[name]);
        println!("{} {} {:?}", text("op")?, text("entity-id")?, event.get("changes"));
        cmd("DIRTY.ACK").arg(&reader).arg("p1").arg(text("id")?).exec(&mut redis)?;
    }
    Ok(())
}
