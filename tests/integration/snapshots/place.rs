//! Where the primary is, and clients that go there.

use super::super::support::text;
use redis::{Connection, Value};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where the primary is, and how often others took over from one that died with its last writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Primary {
    pub port: u16,
    pub era: u64,
}

#[derive(Default)]
pub struct Place(Mutex<Primary>);

impl Place {
    pub fn now(&self) -> Primary {
        *self.0.lock().expect("the primary")
    }

    pub fn move_to(&self, primary: Primary) {
        *self.0.lock().expect("the primary") = primary;
    }
}

/// Outlasts servers. A command without an answer is sent again.
pub struct Client<'p> {
    place: &'p Place,
    connection: Option<(Primary, Connection)>,
}

/// What a client meets while servers come and go.
const PASSING: [&str; 4] = ["LOADING", "READONLY", "MASTERDOWN", "UNBLOCKED"];

impl<'p> Client<'p> {
    pub fn new(place: &'p Place) -> Self {
        Client {
            place,
            connection: None,
        }
    }

    pub fn crash(&mut self) {
        self.connection = None;
    }

    /// The reply, and in which era it was given.
    pub fn ask(&mut self, line: &str) -> (Value, u64) {
        let mut command = redis::Cmd::new();
        line.split(' ')
            .filter(|word| !word.is_empty())
            .for_each(|word| {
                command.arg(word);
            });
        let (mut replies, era) = self.send(&command.get_packed_command(), 1);
        (replies.pop().expect("a reply"), era)
    }

    /// The same of commands that are sent together.
    pub fn send(&mut self, packed: &[u8], commands: usize) -> (Vec<Value>, u64) {
        let start = Instant::now();
        loop {
            if let Some(done) = self.try_send(packed, commands) {
                return done;
            }
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(240), "no answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn try_send(&mut self, packed: &[u8], commands: usize) -> Option<(Vec<Value>, u64)> {
        let primary = self.place.now();
        let kept = self.connection.take();
        let mut connection = match kept.filter(|(at, _)| *at == primary) {
            Some((_, connection)) => connection,
            None => connect(primary.port)?,
        };
        connection.send_packed_command(packed).ok()?;
        let replies = (0..commands).map(|_| connection.recv_response());
        let replies: Vec<Value> = replies.collect::<Result<_, _>>().ok()?;
        let is_passing = |reply: &Value| match reply {
            Value::ServerError(error) => PASSING.contains(&error.code()),
            _ => false,
        };
        if replies.iter().any(is_passing) {
            return None;
        }
        self.connection = Some((primary, connection));
        Some((replies, primary.era))
    }
}

fn connect(port: u16) -> Option<Connection> {
    let client = redis::Client::open(("127.0.0.1", port)).ok()?;
    let connection = client.get_connection().ok()?;
    let patience = Some(Duration::from_secs(60));
    connection.set_read_timeout(patience).ok()?;
    Some(connection)
}

/// A reply that is no error.
pub fn right(reply: &Value) -> &Value {
    assert!(!matches!(reply, Value::ServerError(_)), "{}", text(reply));
    reply
}
