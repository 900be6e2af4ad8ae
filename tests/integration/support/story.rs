//! Tables of commands on readers of the stream `s`, with short replies.
//!
//! `#3` is the id of the third event. A reply with events is written as `#1 #2:2!1 | more | missed 3 | not-held #4 |
//! position #2`: of #2 it is the second delivery, and it failed once; `more` stands there if it is true, `missed` if it
//! is not 0. In other replies a time of today is `T`.

use super::{Conn, Server, cases, text, words};
use redis::Value;

pub struct Story {
    pub server: Server,
    pub redis: Conn,
    /// The ids that the stream has had.
    ids: Vec<String>,
}

impl Story {
    /// A server where `user` publishes to `s`.
    pub fn begin() -> Story {
        Story::on(Server::start())
    }

    pub fn on(server: Server) -> Story {
        let mut redis = server.connect();
        redis.ok(&["DIRTY.DECLARE", "user", "STATELESS", "STREAM", "s"]);
        Story {
            server,
            redis,
            ids: Vec::new(),
        }
    }

    /// A story with events of these entities.
    pub fn with(entities: &[&str]) -> Story {
        let mut story = Story::begin();
        story.publish(entities);
        story
    }

    pub fn publish(&mut self, entities: &[&str]) {
        for entity in entities {
            self.redis
                .ok(&["DIRTY.FLUSH", "user", "INSERT", entity, "0"]);
        }
    }

    pub fn run(&mut self, command: &str) -> String {
        let words = self.words(command);
        short(&self.redis.value(&words))
    }

    /// The words of a command with the ids that it means.
    pub fn words(&mut self, command: &str) -> Vec<Vec<u8>> {
        if command.contains('#') {
            self.ids.extend(ids(&mut self.redis));
        }
        let ids = &self.ids;
        let command: Vec<String> = command
            .split(' ')
            .map(|word| match word.strip_prefix('#') {
                Some(rest) => {
                    let (seq, behind) = rest.split_once('/').map_or((rest, ""), |(a, b)| (a, b));
                    let id = ids.iter().find(|id| id.ends_with(&format!("-{seq}")));
                    let id = id.cloned().unwrap_or_else(|| format!("1-{seq}"));
                    match behind {
                        "" => id,
                        behind => format!("{id}/{behind}"),
                    }
                }
                None => word.into(),
            })
            .collect();
        words(&command.join(" "))
    }

    /// A connection in which this command waits.
    pub fn wait(&mut self, command: &str) -> Conn {
        let mut client = self.server.connect();
        let words = self.words(command);
        let before = super::readers::blocked(&self.server);
        client.send(&words).expect("sent");
        self.server.wait_for_blocked(before + 1);
        client
    }

    pub fn expect(&mut self, table: &str) {
        for (command, reply) in cases(table) {
            if let Some(ms) = command.strip_prefix("wait ") {
                let ms = ms.parse().expect("a time");
                std::thread::sleep(std::time::Duration::from_millis(ms));
                continue;
            }
            assert_eq!(self.run(&command), reply, "{command}");
        }
    }
}

/// The reply to a command that was sent.
pub fn got(client: &mut Conn) -> String {
    short(&client.receive().expect("a reply"))
}

/// Those that the stream and the dead stream know.
fn ids(redis: &mut Conn) -> Vec<String> {
    let mut ids = Vec::new();
    if let Value::Array(entries) = redis.ok(&["XRANGE", "s", "-", "+"]) {
        for entry in entries {
            if let Value::Array(parts) = entry {
                ids.push(text(&parts[0]));
            }
        }
    }
    ids
}

fn member<'v>(map: &'v [Value], name: &str) -> Option<&'v Value> {
    let pair = map.chunks(2).find(|pair| text(&pair[0]) == name)?;
    pair.get(1)
}

/// A reply as the tables write it.
pub fn short(value: &Value) -> String {
    match value {
        Value::Array(map) if map.first().is_some_and(|first| text(first) == "events") => {
            let Some(Value::Array(events)) = member(map, "events") else {
                return text(value);
            };
            let mut parts = vec![events.iter().map(event).collect::<Vec<_>>().join(" ")];
            if member(map, "more").is_some_and(|more| matches!(more, Value::Int(1))) {
                parts.push("more".into());
            }
            match member(map, "missed") {
                Some(Value::Int(0)) => {}
                Some(Value::Int(n)) => parts.push(format!("missed {n}")),
                _ => parts.push("missed ?".into()),
            }
            if let Some(Value::Array(ids)) = member(map, "not-held")
                && !ids.is_empty()
            {
                let ids: Vec<String> = ids.iter().map(|id| plain(&text(id))).collect();
                parts.push(format!("not-held {}", ids.join(" ")));
            }
            if let Some(position) = member(map, "position") {
                let position = text(position);
                let id = position.split('/').next().unwrap_or_default();
                parts.push(format!("position {}", plain(id)));
            }
            let line = parts.join(" | ");
            line.trim().to_string()
        }
        // Newer servers have fewer words for it.
        value if text(value) == "NOPERM No permissions to access a key" => {
            "NOPERM this user has no permissions to access one of the keys used as arguments".into()
        }
        value => {
            let mut line = Vec::new();
            for word in text(value).split(' ') {
                // How long ago something was, in ms, is different each time.
                match line.last().is_some_and(|last| last == "idle-ms") && word != "nil" {
                    true => line.push("-".to_string()),
                    false => line.push(plain_word(word)),
                }
            }
            line.join(" ")
        }
    }
}

fn event(value: &Value) -> String {
    let Value::Array(map) = value else {
        return text(value);
    };
    let mut line = member(map, "id")
        .map(|id| plain(&text(id)))
        .unwrap_or_default();
    if let Some(Value::Int(n)) = member(map, "deliveries").filter(|n| **n != Value::Int(1)) {
        line += &format!(":{n}");
    }
    if let Some(Value::Int(n)) = member(map, "failures") {
        line += &format!("!{n}");
    }
    if let Some(dead) = member(map, "dead") {
        line += &short(dead);
    }
    line
}

/// `#3` for the id of an event.
fn plain(id: &str) -> String {
    match id.split_once('-') {
        Some((ms, seq)) if ms.len() == 13 => format!("#{seq}"),
        _ => id.into(),
    }
}

fn plain_word(word: &str) -> String {
    let inner = word
        .trim_start_matches(['[', '('])
        .trim_end_matches([']', ')']);
    let is_time = inner.len() == 13 && inner.bytes().all(|byte| byte.is_ascii_digit());
    let shown = match is_time {
        true => "T".to_string(),
        false => plain(inner),
    };
    word.replacen(inner, &shown, 1)
}
