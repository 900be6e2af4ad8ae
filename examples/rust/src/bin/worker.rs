//! The mailer: reads user-changes as one of its group's workers, until it is told to end (SIGTERM, Ctrl-C).

use redis::{Connection, FromRedisValue, ParsingError, RedisError, RedisResult, Value, cmd};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const STREAM: &str = "user-changes";
const GROUP: &str = "mailer";
const ME: &str = "mailer-1";

static ENDED: AtomicBool = AtomicBool::new(false);

struct Batch {
    events: Vec<Event>,
    missed: u64,
}

struct Event {
    id: String,
    op: String,
    changes: HashMap<String, (Option<String>, Option<String>)>,
    deliveries: u64,
}

/// What stands behind the name, null if nothing does.
fn take<T: FromRedisValue>(map: &mut HashMap<String, Value>, name: &str) -> Result<T, ParsingError> {
    T::from_redis_value(map.remove(name).unwrap_or(Value::Nil))
}

impl FromRedisValue for Batch {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let map = &mut HashMap::from_redis_value(value)?;
        Ok(Batch { events: take(map, "events")?, missed: take(map, "missed")? })
    }
}

impl FromRedisValue for Event {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let map = &mut HashMap::from_redis_value(value)?;
        Ok(Event {
            id: take(map, "id")?,
            op: take(map, "op")?,
            changes: take(map, "changes")?,
            deliveries: take(map, "deliveries")?,
        })
    }
}

/// An event may come twice; a real mailer would send its id along, so that the mail goes out once.
fn handle(event: &Event) -> Result<(), String> {
    let new = |field| event.changes.get(field).and_then(|(_, new)| new.as_deref());
    match (event.op.as_str(), event.changes.get("name")) {
        ("insert", _) => {
            let Some(email) = new("email") else {
                return Ok(());
            };
            if !email.contains('@') {
                return Err(format!("'{email}' is no address"));
            }
            println!("welcome, {} <{email}>", new("name").unwrap_or_default());
        }
        ("update", Some((Some(old), Some(new)))) => println!("{old} is {new} now"),
        _ => {}
    }
    Ok(())
}

/// Reads on one connection until that is lost. `done` is what was handled and not acknowledged yet.
fn work(redis: &mut Connection, done: &mut Vec<String>) -> RedisResult<()> {
    let mut options = vec!["PENDING"]; // at first: what a worker of this name has not finished
    while !ENDED.load(Ordering::Relaxed) {
        // Each call acknowledges what came of the one before.
        let mut consume = cmd("DIRTY.CONSUME");
        consume.arg(STREAM).arg("GROUP").arg(GROUP).arg(ME).arg("ACK").arg(done.len()).arg(&*done);
        consume.arg(&options).arg("CLAIM").arg(60_000).arg("BLOCK").arg(1000);
        let batch: Batch = consume.query(redis)?;
        done.clear();
        options.clear();
        if batch.missed > 0 {
            println!("{} events are lost: load the users from SQL", batch.missed);
        }
        for event in batch.events {
            match handle(&event) {
                Ok(()) => done.push(event.id),
                Err(why) => {
                    // NOW keeps this story short. Without it the event comes again after CLAIM's minute, so that an outage of
                    // seconds does not make everything dead.
                    let mut fail = cmd("DIRTY.FAIL");
                    fail.arg(STREAM).arg("GROUP").arg(GROUP).arg(event.id).arg(&why);
                    let fate: String = fail.arg("NOW").arg("MAXDELIVERIES").arg(3).query(redis)?;
                    println!("{why}, delivery {}: {fate}", event.deliveries);
                }
            }
        }
    }
    if !done.is_empty() {
        cmd("DIRTY.ACK").arg(STREAM).arg("GROUP").arg(GROUP).arg(&*done).exec(redis)?;
    }
    // What it holds goes to the others.
    cmd("DIRTY.LEAVE").arg(STREAM).arg("GROUP").arg(GROUP).arg(ME).exec(redis)
}

/// A lost connection, or what a failover, a restart or XGROUP DESTROY may answer: call again.
fn passes(error: &RedisError) -> bool {
    let codes = ["UNBLOCKED", "READONLY", "LOADING", "NOGROUP", "TRYAGAIN", "OOM"];
    error.is_io_error() || error.code().is_some_and(|code| codes.contains(&code))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ctrlc::set_handler(|| ENDED.store(true, Ordering::Relaxed))?;
    let url = std::env::var("REDIS_URL").unwrap_or("redis://localhost:6379".into());
    let client = redis::Client::open(url)?;
    let mut done = Vec::new();
    loop {
        match client.get_connection().and_then(|mut redis| work(&mut redis, &mut done)) {
            Ok(()) => return Ok(()),
            Err(error) if passes(&error) && !ENDED.load(Ordering::Relaxed) => {
                std::thread::sleep(Duration::from_millis(200))
            }
            Err(error) => Err(error)?,
        }
    }
}
