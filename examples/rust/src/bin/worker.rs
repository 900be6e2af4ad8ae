//! The mailer: `worker NAME` is one of its group's workers, until it is told to end (SIGTERM, Ctrl-C).

use redis::{Connection, FromRedisValue, ParsingError, RedisError, RedisResult, ToRedisArgs, Value, cmd};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

const STREAM: &str = "user-changes";
const GROUP: &str = "mailer";

static ENDED: AtomicBool = AtomicBool::new(false);

struct Batch {
    events: Vec<Event>,
    /// `None` if nobody knows how many.
    missed: Option<u64>,
    not_held: Vec<String>,
}

struct Event {
    id: String,
    entity: String,
    entity_id: String,
    op: String,
    changes: HashMap<String, (Option<String>, Option<String>)>,
    deliveries: u32,
}

/// What stands behind the name, null if nothing does.
fn take<T: FromRedisValue>(map: &mut HashMap<String, Value>, name: &str) -> Result<T, ParsingError> {
    T::from_redis_value(map.remove(name).unwrap_or(Value::Nil))
}

impl FromRedisValue for Batch {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let map = &mut HashMap::from_redis_value(value)?;
        Ok(Batch { events: take(map, "events")?, missed: take(map, "missed")?, not_held: take(map, "not-held")? })
    }
}

impl FromRedisValue for Event {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let map = &mut HashMap::from_redis_value(value)?;
        Ok(Event {
            id: take(map, "id")?,
            entity: take(map, "entity")?,
            entity_id: take(map, "entity-id")?,
            op: take(map, "op")?,
            changes: take(map, "changes")?,
            deliveries: take(map, "deliveries")?,
        })
    }
}

enum Problem {
    /// This worker was silent for too long, and another one has the event.
    Taken,
    Redis(RedisError),
    Mail(String),
}

impl From<RedisError> for Problem {
    fn from(error: RedisError) -> Self {
        Problem::Redis(error)
    }
}

/// An event may come twice; a real mailer would send its id along, so that the mail goes out once.
fn handle(event: &Event, mut hold: impl FnMut() -> Result<(), Problem>) -> Result<(), Problem> {
    let new = |field| event.changes.get(field).and_then(|(_, new)| new.as_deref());
    match (event.op.as_str(), event.changes.get("name")) {
        ("insert", _) => {
            let Some(email) = new("email") else {
                return Ok(());
            };
            if !email.contains('@') {
                return Err(Problem::Mail(format!("'{email}' is no address")));
            }
            if email.ends_with("@slow.example") {
                // A mail server that takes its time.
                for _ in 0..6 {
                    sleep(Duration::from_millis(400));
                    hold()?;
                }
            }
            println!("welcome, {} <{email}>", new("name").unwrap_or_default());
        }
        ("update", Some((Some(old), Some(new)))) => println!("{old} is {new} now"),
        _ => {}
    }
    Ok(())
}

struct Worker {
    name: String,
    /// What was handled and not acknowledged yet.
    done: Vec<String>,
}

impl Worker {
    fn call<T: FromRedisValue>(&self, redis: &mut Connection, command: &str, args: impl ToRedisArgs) -> RedisResult<T> {
        cmd(command).arg(STREAM).arg("GROUP").arg(GROUP).arg(&self.name).arg(args).query(redis)
    }

    /// Reads on one connection until that is lost.
    fn run(&mut self, redis: &mut Connection) -> RedisResult<()> {
        let mut pending = Some("PENDING"); // at first: what a worker of this name has not finished
        while !ENDED.load(Ordering::Relaxed) {
            // Each call acknowledges what came of the one before.
            let ack = ("ACK", self.done.len(), &self.done);
            let batch: Batch = self.call(redis, "DIRTY.CONSUME", (ack, pending, "BLOCK", 1000))?;
            self.done.clear();
            // After a lost reply they may be what the lost call has acknowledged.
            for id in pending.map_or(batch.not_held, |_| Vec::new()) {
                println!("{id} was handled here, but this worker was silent for too long: another one has it");
            }
            pending = None;
            if batch.missed != Some(0) {
                println!("events are lost ({:?}): load the users from SQL", batch.missed);
            }
            self.handle(redis, batch.events)?;
        }
        if !self.done.is_empty() {
            () = self.call(redis, "DIRTY.ACK", &self.done)?;
        }
        // What it holds goes to the others.
        self.call(redis, "DIRTY.LEAVE", None::<&str>)
    }

    fn handle(&mut self, redis: &mut Connection, events: Vec<Event>) -> RedisResult<()> {
        let mut held: Vec<&Event> = events.iter().collect();
        for event in &events {
            if !held.iter().any(|one| one.id == event.id) {
                continue;
            }
            // Whatever takes longer than the group's CLAIM says in between that it goes on.
            let hold = || {
                let ids: Vec<&str> = held.iter().map(|one| one.id.as_str()).collect();
                let not_held: Vec<String> = self.call(redis, "DIRTY.HOLD", ids)?;
                held.retain(|one| !not_held.contains(&one.id));
                if not_held.contains(&event.id) { Err(Problem::Taken) } else { Ok(()) }
            };
            match handle(event, hold) {
                Ok(()) => self.done.push(event.id.clone()),
                Err(Problem::Taken) => {}
                Err(Problem::Redis(error)) => return Err(error),
                Err(Problem::Mail(why)) => {
                    // Twice as late each time. MAXDELIVERIES of the group says when it is enough.
                    let delay = 100 * 2_u64.pow(event.deliveries);
                    let [fate]: [String; 1] = self.call(redis, "DIRTY.FAIL", (&why, "DELAY", delay, &event.id))?;
                    println!("{why}, delivery {}: {fate}", event.deliveries);
                    // In order: what this user did after comes again, behind this event.
                    held.retain(|one| (&one.entity, &one.entity_id) != (&event.entity, &event.entity_id));
                }
            }
        }
        Ok(())
    }
}

/// A lost connection, or what a failover or a restart may answer: call again.
fn passes(error: &RedisError) -> bool {
    let codes = ["UNBLOCKED", "READONLY", "LOADING", "TRYAGAIN", "OOM"];
    error.is_io_error() || error.code().is_some_and(|code| codes.contains(&code))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: worker NAME")?;
    ctrlc::set_handler(|| ENDED.store(true, Ordering::Relaxed))?;
    let url = std::env::var("REDIS_URL").unwrap_or("redis://localhost:6379".into());
    let client = redis::Client::open(url)?;
    let mut worker = Worker { name, done: Vec::new() };
    loop {
        match client.get_connection().and_then(|mut redis| worker.run(&mut redis)) {
            Ok(()) => return Ok(()),
            Err(error) if passes(&error) && !ENDED.load(Ordering::Relaxed) => sleep(Duration::from_millis(200)),
            Err(error) => Err(error)?,
        }
    }
}
