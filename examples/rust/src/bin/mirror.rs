//! A consumer of Debezium's change events: keeps a copy of the table `user` in an SQLite database of its own.
//!
//! The crate sqlite-diff-rs reads the envelope and makes a changeset of SQLite's session extension of it, which
//! SQLite applies only if the row is as it was `before`. Where it stands in the stream is committed with the rows,
//! so each event counts once.

use redis::Commands;
use redis::streams::{StreamReadOptions, StreamReadReply};
use rusqlite::Connection;
use rusqlite::session::ConflictAction;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlite_diff_rs::debezium::{self, Envelope, Op};
use sqlite_diff_rs::{ChangeSet, DiffOps, SimpleTable};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const STREAM: &str = "user-cdc";
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, name TEXT, email TEXT, version INTEGER);
    CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT);
    INSERT OR IGNORE INTO position VALUES (1, '0');
";

/// A field that is null before and after is in no event; here it gets its place in the row.
#[derive(Deserialize, Serialize)]
struct User {
    id: u64,
    name: Option<String>,
    email: Option<String>,
    version: u64,
}

fn read_event(json: &str) -> Result<Envelope<Value>> {
    let event: Envelope<User> = debezium::parse(json)?;
    let row = |user: Option<User>| user.map(serde_json::to_value).transpose();
    Ok(Envelope {
        before: row(event.before)?,
        after: row(event.after)?,
        source: event.source,
        op: event.op,
        ts_ms: event.ts_ms,
        transaction: event.transaction,
    })
}

fn apply(sql: &Connection, event: &Envelope<Value>) -> Result<()> {
    let change = (event, &SimpleTable::new("user", &["id", "name", "email", "version"], &[0]));
    let changes: ChangeSet<_, String, Vec<u8>> = match event.op {
        Op::Update if event.before == event.after => return Ok(()), // a TOUCH, which changes nothing
        Op::Create => ChangeSet::new().insert(change.try_into()?),
        Op::Update => ChangeSet::new().update(change.try_into()?),
        Op::Delete => ChangeSet::new().delete(change.try_into()?),
        _ => return Ok(()), // none that the module writes
    };
    let no_filter = None::<fn(&str) -> bool>;
    sql.apply_strm(&mut changes.build().as_slice(), no_filter, |_, _| ConflictAction::SQLITE_CHANGESET_ABORT)?;
    println!("{:?} of {}", event.op, event.after.as_ref().or(event.before.as_ref()).unwrap_or(&Value::Null));
    Ok(())
}

fn main() -> Result<()> {
    let sql = Connection::open(std::env::var("MIRROR_DB").unwrap_or("mirror.db".into()))?;
    sql.execute_batch(TABLES)?;
    let url = std::env::var("REDIS_URL").unwrap_or("redis://localhost:6379".into());
    let mut redis = redis::Client::open(url)?.get_connection()?;

    // Until there is no more; a service would wait: `.block(1000)`.
    loop {
        let position: String = sql.query_one("SELECT id FROM position", [], |row| row.get(0))?;
        let options = StreamReadOptions::default().count(2);
        let reply: Option<StreamReadReply> = redis.xread_options(&[STREAM], &[position], &options)?;
        let Some(stream) = reply.and_then(|reply| reply.keys.into_iter().next()) else {
            break;
        };
        for entry in stream.ids {
            let json: String = entry.get("value").ok_or("an entry without a value")?;
            let transaction = sql.unchecked_transaction()?;
            apply(&transaction, &read_event(&json)?)?;
            transaction.execute("UPDATE position SET id = ?", [&entry.id])?;
            transaction.commit()?;
        }
    }
    let mut rows =
        sql.prepare("SELECT id || '|' || name || '|' || ifnull(email, 'null') || '|' || version FROM user")?;
    for row in rows.query_map([], |row| row.get::<_, String>(0))? {
        println!("{}", row?);
    }
    Ok(())
}
