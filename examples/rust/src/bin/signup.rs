//! The application: `signup save ID NAME EMAIL`, `signup delete ID` or `signup reconcile`.
//!
//! The simple way: SQL commits, then the row is flushed. Whatever comes in between, the next flush of that row
//! publishes what changed; `reconcile` does not wait for one. Steps in between are lost, and deletes of rows that no
//! flush told of: the Python example has the way that loses nothing. An id must not be used again after `delete`, unless
//! its version goes on from there: one that begins at 1 once more is `stale` as long as the tombstone lives, a day.

use redis::{Connection, RedisResult, cmd};
use rusqlite::{Row, named_params};

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
    fn flush(&self, redis: &mut Connection) -> RedisResult<Vec<String>> {
        let mut flush = cmd("DIRTY.FLUSH");
        flush.arg("user").arg("SNAPSHOT").arg(self.id).arg(3 + self.email.iter().len());
        flush.arg("id").arg(self.id).arg("name").arg(&self.name).arg("version").arg(self.version);
        if let Some(email) = &self.email {
            flush.arg("email").arg(email);
        }
        flush.query(redis)
    }
}

fn connect() -> RedisResult<Connection> {
    let url = std::env::var("REDIS_URL").unwrap_or("redis://localhost:6379".into());
    let mut redis = redis::Client::open(url)?.get_connection()?;
    // The same again changes nothing.
    cmd("DIRTY.DECLARE").arg(DECLARATION.split(' ').collect::<Vec<_>>()).exec(&mut redis)?;
    Ok(redis)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
            // Committed.
            match connect().and_then(|mut redis| user.flush(&mut redis)) {
                Ok(effects) => println!("user {id}: {}", effects.join(" ")),
                Err(error) if error.is_io_error() => {
                    println!("user {id}: saved, but Redis is away")
                }
                Err(error) => Err(error)?,
            }
        }
        ["delete", id] => {
            let user = sql.query_one("DELETE FROM users WHERE id = ? RETURNING *", [id], User::from_row)?;
            let delete = ["user", "DELETE", id, "1", "version"];
            let effects: Vec<String> = cmd("DIRTY.FLUSH").arg(&delete).arg(user.version + 1).query(&mut connect()?)?;
            println!("user {id}: {}", effects.join(" "));
        }
        ["reconcile"] => {
            let mut redis = connect()?;
            for user in sql.prepare("SELECT * FROM users ORDER BY id")?.query_map([], User::from_row)? {
                let user = user?;
                println!("user {}: {}", user.id, user.flush(&mut redis)?.join(" "));
            }
        }
        _ => Err("usage: signup save ID NAME EMAIL|- | delete ID | reconcile")?,
    }
    Ok(())
}
