//! The application: `signup save ID NAME EMAIL`, `signup delete ID` or `signup reconcile`.
//!
//! The simple way: SQL commits, then the row is flushed. What comes in between is not told, until the row is flushed
//! again, or `reconcile` makes Redis equal to the table: every night, say, and after an outage. The steps in between are
//! lost: the Python example has the way that loses nothing. An id must not be used again after `delete`, unless its
//! version goes on from there: one that begins at 1 once more is `stale` as long as the tombstone lives, a day.

use redis::{Cmd, Connection, RedisResult, cmd};
use rusqlite::{Row, named_params};
use std::collections::HashMap;
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

const DECLARATION: &str = "user VERSION version TYPES 2 id int version int \
                           STREAM user-changes PAYLOAD FULL STREAM user-cdc FORMAT DEBEZIUM";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT, email TEXT, version INTEGER)";

struct User {
    id: i64,
    name: String,
    email: Option<String>,
    version: i64,
}

impl User {
    fn from_row(row: &Row) -> rusqlite::Result<User> {
        Ok(User { id: row.get("id")?, name: row.get("name")?, email: row.get("email")?, version: row.get("version")? })
    }

    /// May be sent again: nothing has changed then. A row that was read before another's flush is `stale`.
    fn snapshot(&self, flush: &mut Cmd) {
        flush.arg("SNAPSHOT").arg(self.id).arg(3 + self.email.iter().len());
        flush.arg("id").arg(self.id).arg("name").arg(&self.name).arg("version").arg(self.version);
        if let Some(email) = &self.email {
            flush.arg("email").arg(email);
        }
    }
}

/// SQL has committed. Sends the flush and says what came of it.
fn tell(id: i64, what: &str, flush: &Cmd) -> RedisResult<()> {
    match connect().and_then(|mut redis| flush.query::<Vec<String>>(&mut redis)) {
        Ok(effects) => println!("user {id}: {}", effects.join(" ")),
        Err(error) if error.is_io_error() => println!("user {id}: {what}, but Redis is away"),
        Err(error) => Err(error)?,
    }
    Ok(())
}

/// Makes Redis equal to the table, while others save and delete. Returns the numbers of the run.
fn reconcile(sql: &rusqlite::Connection, redis: &mut Connection, run: &str) -> Result<Status, Box<dyn Error>> {
    cmd("DIRTY.RECONCILE").arg(&["user", "BEGIN", run]).exec(redis)?;
    // Rows that were read before BEGIN may be older than what others have flushed.
    let rows = sql.prepare("SELECT * FROM users ORDER BY id")?;
    let rows: Vec<User> = { rows }.query_map([], User::from_row)?.collect::<Result<_, _>>()?;
    for page in rows.chunks(200) {
        let mut flush = cmd("DIRTY.FLUSH");
        flush.arg(&["user", "RUN", run]);
        page.iter().for_each(|user| user.snapshot(&mut flush));
        flush.exec(redis)?;
    }
    loop {
        // Each call counts, then deletes, some of those that only Redis has. More than 1 % of all, or 10, are refused.
        let status: Status = cmd("DIRTY.RECONCILE").arg(&["user", "SWEEP", run]).query(redis)?;
        if status["phase"] == "done" {
            return Ok(status);
        }
    }
}

type Status = HashMap<String, String>;

fn connect() -> RedisResult<Connection> {
    let url = std::env::var("REDIS_URL").unwrap_or("redis://localhost:6379".into());
    let mut redis = redis::Client::open(url)?.get_connection()?;
    // The same again changes nothing.
    cmd("DIRTY.DECLARE").arg(DECLARATION.split(' ').collect::<Vec<_>>()).exec(&mut redis)?;
    Ok(redis)
}

fn main() -> Result<(), Box<dyn Error>> {
    let sql = rusqlite::Connection::open(std::env::var("USERS_DB").unwrap_or("users.db".into()))?;
    sql.execute_batch(TABLE)?;

    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["save", id, name, email] => {
            let user = sql.query_one(
                "INSERT INTO users VALUES (:id, :name, :email, 1) ON CONFLICT (id) DO UPDATE \
                 SET name = excluded.name, email = excluded.email, version = version + 1 RETURNING *",
                named_params! { ":id": id, ":name": name, ":email": (email != "-").then_some(email) },
                User::from_row,
            )?;
            let mut flush = cmd("DIRTY.FLUSH");
            user.snapshot(flush.arg("user"));
            tell(user.id, "saved", &flush)?;
        }
        ["delete", id] => {
            let user = sql.query_one("DELETE FROM users WHERE id = ? RETURNING *", [id], User::from_row)?;
            let mut flush = cmd("DIRTY.FLUSH");
            flush.arg(&["user", "DELETE", id, "1", "version"]).arg(user.version + 1);
            tell(user.id, "deleted", &flush)?;
        }
        ["reconcile"] => {
            let mut redis = connect()?;
            let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().to_string();
            match reconcile(&sql, &mut redis, &run) {
                Ok(status) => {
                    let numbers = ["same", "repaired", "stale", "newer", "deleted"];
                    println!("{}", numbers.map(|name| format!("{name} {}", status[name])).join(", "));
                }
                Err(error) => {
                    // What was repaired stays so; the next run begins from the beginning.
                    let _ = cmd("DIRTY.RECONCILE").arg(&["user", "ABORT", &run]).exec(&mut redis);
                    Err(error)?;
                }
            }
        }
        _ => Err("usage: signup save ID NAME EMAIL|- | delete ID | reconcile")?,
    }
    Ok(())
}
