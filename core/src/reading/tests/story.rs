//! Plays stories: what is done, and what comes of it. Events are named by their seq; their keys are
//! letters. After each line a copy that got the delta is equal.

use super::super::model::fake::Fake;
use super::super::*;
use crate::entity::event_id::EventId;

/// Times are in ms since this.
const START: u64 = 100_000;

struct Story {
    readers: Readers,
    copy: Readers,
    stream: Fake,
    now: u64,
    wake: Wake,
    due: Option<u64>,
    sizes: Vec<usize>,
}

pub fn run(name: &str, story: &str) {
    let mut at = Story {
        readers: Readers::new(),
        copy: Readers::new(),
        stream: Fake::default(),
        now: START,
        wake: Wake::None,
        due: None,
        sizes: Vec::new(),
    };
    for (index, line) in story.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (command, expected) = match line.split_once(" -> ") {
            Some((command, expected)) => (command.trim(), Some(expected.trim())),
            None => (
                line.trim_end_matches(" ->"),
                line.ends_with("->").then_some(""),
            ),
        };
        let words: Vec<&str> = command.split_whitespace().collect();
        let result = at.act(words[0], &words[1..]);
        if let Some(expected) = expected {
            assert_eq!(result, expected, "{name}, line {}: {line}", index + 1);
        }
        at.readers.assert_sound();
        assert_eq!(
            at.readers.pieces(),
            at.copy.pieces(),
            "{name}, line {}: the copy",
            index + 1
        );
    }
}

fn option<'w>(words: &[&'w str], name: &str) -> Option<&'w str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

impl Story {
    fn id(&self, seq: &str) -> EventId {
        let seq: u64 = seq.parse().unwrap();
        let known = self
            .stream
            .entries
            .keys()
            .chain(self.stream.dead.values().map(|d| &d.death.id));
        let known = known.copied().find(|id| id.seq == seq);
        known.unwrap_or(EventId { ms: START, seq })
    }

    fn ids(&self, words: &[&str]) -> Vec<EventId> {
        let numbers = words.iter().flat_map(|word| word.split(','));
        numbers
            .filter(|n| n.parse::<u64>().is_ok())
            .map(|n| self.id(n))
            .collect()
    }

    fn done<R>(&mut self, outcome: Result<Outcome<R>, Refusal>) -> Result<R, String> {
        let outcome = outcome.map_err(|refusal| refusal.error(b"s", b"s:dead").to_string())?;
        (self.wake, self.due) = (outcome.wake, outcome.due_ms);
        if let Some(delta) = outcome.delta {
            assert!(self.copy.apply(&delta), "the copy refuses {delta:?}");
            self.sizes.push(delta.len());
        }
        Ok(outcome.reply)
    }

    fn given(&mut self) -> Vec<String> {
        let given = self.stream.take_given().into_iter();
        given
            .map(
                |(id, delivery)| match (delivery.deliveries, delivery.failures) {
                    (0, _) => format!("{}", id.seq),
                    (deliveries, 0) => format!("{}:{deliveries}", id.seq),
                    (deliveries, failures) => format!("{}:{deliveries}/{failures}", id.seq),
                },
            )
            .collect()
    }

    fn start(&self, text: &str) -> Start {
        match text {
            "0" => Start::Beginning,
            "$" => Start::End,
            text => match text.strip_prefix('@') {
                Some(ms) => Start::Since(START + ms.parse::<u64>().unwrap()),
                None => Start::After(self.id(text)),
            },
        }
    }

    fn declare(&mut self, kind: Kind, words: &[&str]) -> String {
        let number = |name: &str| option(words, name).map(|n| n.parse::<u64>().unwrap());
        let bytes = |text: &str| text.as_bytes().to_vec();
        let letters = |text: &str| text.bytes().map(|key| vec![key]).collect();
        let settings = Settings {
            order: match option(words, "order") {
                Some("stream") => Order::Stream,
                Some("entity") => Order::Entity,
                Some("meta") => Order::Meta(b"m".to_vec()),
                _ => Order::None,
            },
            claim_ms: number("claim").unwrap_or(1000),
            max_pending: number("maxpending").unwrap_or(10_000) as u32,
            max_deliveries: number("max").map(|n| n as u16),
            on_dead: match words.contains(&"park") {
                true => OnDead::Park,
                false => OnDead::Skip,
            },
            dead: option(words, "dead").map(bytes),
            shard: number("shard").map(|index| Shard { index, count: 2 }),
            min_age_ms: number("minage").unwrap_or(0),
            filter: Filter {
                ids: option(words, "where").map(letters).unwrap_or_default(),
                ..Filter::default()
            },
        };
        let declare = Declare {
            kind,
            name: words[0].as_bytes(),
            from: option(words, "from").map(|from| From::Start(self.start(from))),
            settings,
            revision: number("revision"),
            seed: Seed(1, 2),
        };
        let outcome = self.readers.declare(&declare, self.now, &mut self.stream);
        self.done(outcome)
            .map_or_else(|e| e, |declared| format!("{declared:?}").to_uppercase())
    }

    fn selector(&self, words: &[&str]) -> Selector {
        match words {
            ["all", ..] => Selector::All,
            [entity, ..] if entity.starts_with("e=") => {
                Selector::Entity(b"e".to_vec(), entity.as_bytes()[2..].to_vec())
            }
            [key, ..] if key.starts_with("key=") => Selector::Key(key.as_bytes()[4..].to_vec()),
            ids => Selector::Ids(self.ids(ids)),
        }
    }

    fn act(&mut self, command: &str, words: &[&str]) -> String {
        let seqs = |ids: Vec<EventId>| {
            let seqs = ids.iter().map(|id| id.seq.to_string());
            seqs.collect::<Vec<_>>().join(" ")
        };
        let missed = |missed: Option<u64>| match missed {
            Some(0) => String::new(),
            Some(n) => format!(" missed={n}"),
            None => " missed=null".into(),
        };
        let more = |more: bool| if more { " more" } else { "" };
        let count = option(words, "n").map_or(100, |n| n.parse().unwrap());
        let first = words.first().copied().unwrap_or_default().as_bytes();
        match command {
            "group" => self.declare(Kind::Group, words),
            "cursor" => self.declare(Kind::Cursor, words),
            "add" => {
                for key in words.iter().flat_map(|word| word.bytes()) {
                    self.stream.add(self.now, key);
                }
                String::new()
            }
            "other" => {
                let mut numbers = words.iter().map(|n| n.parse::<u64>().unwrap());
                let ms = START + numbers.next().unwrap();
                let seq = numbers.next().unwrap();
                self.stream.add_other(EventId { ms, seq });
                String::new()
            }
            "at" => {
                self.now = START + words[0].parse::<u64>().unwrap();
                String::new()
            }
            "del" => {
                for id in self.ids(words) {
                    self.stream.entries.remove(&id).unwrap();
                }
                String::new()
            }
            "delete" => {
                self.stream.delete_all();
                String::new()
            }
            "undead" => {
                self.stream.dead.clear();
                String::new()
            }
            "untold" => {
                self.stream.tells_nothing = !self.stream.tells_nothing;
                String::new()
            }
            "full" => {
                self.stream.dead_is_full = !self.stream.dead_is_full;
                String::new()
            }
            "norights" => {
                self.stream.no_dead_rights = !self.stream.no_dead_rights;
                String::new()
            }
            "restart" => {
                let pieces = self.readers.pieces();
                self.readers = Readers::decode(pieces.iter().map(Vec::as_slice)).unwrap();
                String::new()
            }
            "read" => {
                let ack = option(words, "ack")
                    .map(|ids| self.ids(&[ids]))
                    .unwrap_or_default();
                let consume = Consume {
                    group: option(words, "group").unwrap_or("g").as_bytes(),
                    consumer: first,
                    ack: &ack,
                    pending: words.contains(&"pending"),
                    count,
                };
                let limits = Limits {
                    max_queued: 5,
                    looked_at: 50,
                    buried: 5,
                };
                let outcome = self
                    .readers
                    .consume(&consume, limits, self.now, &mut self.stream);
                match self.done(outcome) {
                    Err(refusal) => refusal,
                    Ok(reply) => {
                        let mut text = self.given().join(" ");
                        if !reply.not_held.is_empty() {
                            text += &format!(" not-held={}", seqs(reply.not_held));
                        }
                        text += &missed(reply.missed);
                        text += more(reply.more);
                        text.trim().into()
                    }
                }
            }
            "follow" => {
                let ack = option(words, "ack").map(|text| match text.split_once('/') {
                    Some((seq, epoch)) => {
                        Position::new(self.id(seq), START + epoch.parse::<u64>().unwrap())
                    }
                    None => {
                        let epoch = self.readers.get(first).unwrap().epoch();
                        Position::new(self.id(text), epoch)
                    }
                });
                let follow = Follow {
                    cursor: first,
                    ack: ack.as_ref(),
                    count,
                    passed: None,
                    is_primary: true,
                };
                let outcome = self.readers.follow(&follow, 50, self.now, &mut self.stream);
                match self.done(outcome) {
                    Err(refusal) => refusal,
                    Ok(reply) => {
                        let mut text = self.given().join(" ");
                        text += &format!(" | {}", reply.position.id.seq);
                        text += &missed(reply.missed);
                        text += more(reply.more);
                        text.trim().into()
                    }
                }
            }
            "look" => {
                let filter = Filter::default();
                let read = Read {
                    from: self.start(words[0]),
                    shard: None,
                    min_age_ms: 0,
                    filter: &filter,
                    count,
                    looked_at: 50,
                    is_primary: !words.contains(&"replica"),
                };
                match read.read(self.now, &mut self.stream) {
                    Err(refusal) => refusal.error(b"s", b"s:dead").to_string(),
                    Ok((reply, _)) => {
                        let mut text = self.given().join(" ");
                        text += &format!(" | {}", reply.position.id.seq);
                        text += &missed(reply.missed);
                        text += more(reply.more);
                        text.trim().into()
                    }
                }
            }
            "ack" => {
                let force = words.contains(&"force");
                let ids = self.ids(words);
                let outcome =
                    self.readers
                        .ack(b"g", first, force, &ids, self.now, &mut self.stream);
                self.done(outcome).map_or_else(|e| e, seqs)
            }
            "ackall" => {
                let ids = self.ids(words);
                let outcome = self
                    .readers
                    .ack_all(b"g", first, &ids, self.now, &mut self.stream);
                self.done(outcome).map_or_else(|e| e, |()| "OK".into())
            }
            "hold" => {
                let ids = self.ids(words);
                let ids = Some(&*ids).filter(|ids| !ids.is_empty());
                let outcome = self
                    .readers
                    .hold(b"g", first, ids, self.now, &mut self.stream);
                self.done(outcome).map_or_else(|e| e, seqs)
            }
            "fail" => {
                let ids = self.ids(words);
                let delay = option(words, "delay").map(|ms| Again::After(ms.parse().unwrap()));
                let fatal = words.contains(&"fatal").then_some(Again::Never);
                let fail = Fail {
                    group: b"g",
                    consumer: first,
                    message: option(words, "m").unwrap_or("oh").as_bytes(),
                    force: words.contains(&"force"),
                    again: fatal.or(delay).unwrap_or(Again::Default),
                    ids: &ids,
                };
                let outcome = self.readers.fail(&fail, self.now, &mut self.stream);
                self.done(outcome).map_or_else(
                    |e| e,
                    |ends| {
                        let ends = ends.iter().map(|end| match end {
                            Failed::Retry => "retry",
                            Failed::Dead => "dead",
                            Failed::NotHeld => "not-held",
                        });
                        ends.collect::<Vec<_>>().join(" ")
                    },
                )
            }
            "failcursor" => {
                let ids = self.ids(words);
                let outcome =
                    self.readers
                        .fail_cursor(first, b"oh", &ids, self.now, &mut self.stream);
                self.done(outcome)
                    .map_or_else(|e| e, |ends| format!("{ends:?}"))
            }
            "leave" => {
                let outcome = self.readers.leave(b"g", first, self.now, &mut self.stream);
                self.done(outcome).map_or_else(|e| e, |n| n.to_string())
            }
            "redrive" => {
                let selector = self.selector(words);
                let outcome = self
                    .readers
                    .redrive(b"g", &selector, self.now, &mut self.stream);
                self.done(outcome).map_or_else(|e| e, |n| n.to_string())
            }
            "discard" => {
                let selector = self.selector(words);
                let outcome =
                    self.readers
                        .discard(Kind::Group, b"g", &selector, self.now, &mut self.stream);
                self.done(outcome).map_or_else(|e| e, |n| n.to_string())
            }
            "pause" => {
                let on = words == ["on"];
                let outcome = self.readers.pause(b"g", on, self.now, &mut self.stream);
                self.done(outcome).map_or_else(|e| e, |()| "OK".into())
            }
            "seek" => {
                let kind = self
                    .readers
                    .get(first)
                    .map_or(Kind::Group, |reader| reader.kind());
                let start = self.start(words[1]);
                let outcome = self.readers.seek(
                    kind,
                    first,
                    &SeekTo::Start(start),
                    self.now,
                    &mut self.stream,
                );
                self.done(outcome).map_or_else(|e| e, |()| "OK".into())
            }
            "forget" => {
                let kind = match words.get(1) {
                    Some(&"cursor") => Kind::Cursor,
                    _ => Kind::Group,
                };
                let outcome = self.readers.forget(kind, first, self.now);
                self.done(outcome).map_or_else(|e| e, |was| was.to_string())
            }
            "waits" => {
                let waits = words[1] == "on";
                self.wake = self.readers.set_waiting(b"g", first, waits, self.now);
                String::new()
            }
            "pending" => {
                let after = option(words, "after").map(|seq| self.id(seq));
                let consumer = option(words, "c").map(str::as_bytes);
                let listed =
                    self.readers
                        .list_pending(b"g", consumer, after, count as usize, self.now);
                let listed = listed.unwrap().into_iter().map(|listed| {
                    let mut text = format!("{} {}", listed.id.seq, listed.state.name());
                    if let Some(consumer) = listed.consumer {
                        text += &format!(" {}", String::from_utf8(consumer).unwrap());
                    }
                    text
                });
                listed.collect::<Vec<_>>().join(", ")
            }
            "dead" => {
                let dead = self.stream.dead.values().map(|dead| {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let death = &dead.death;
                    let (reader, consumer) = (text(&death.reader), text(&death.consumer));
                    format!(
                        "{} {reader} {consumer} {}/{} {}",
                        death.id.seq,
                        death.deliveries,
                        death.failures,
                        text(&death.error)
                    )
                });
                dead.collect::<Vec<_>>().join(", ")
            }
            "wake" => format!("{:?}", self.wake),
            "due" => self
                .due
                .map_or("never".into(), |due| (due - START).to_string()),
            "floor" => self
                .readers
                .floor()
                .map_or("none".into(), |floor| floor.seq.to_string()),
            "stats" => {
                let stats = &self.readers.stats(5, self.now)[0];
                let counters = Counter::ALL.map(|counter| stats.counters.get(counter));
                format!(
                    "due={} queued={} keys={} parked={} stalled={} {counters:?}",
                    stats.due, stats.queued, stats.held_keys, stats.parked_keys, stats.stalled
                )
            }
            "consumers" => {
                let stats = &self.readers.stats(5, self.now)[0];
                let names = stats.consumers.iter().map(|consumer| {
                    let name = String::from_utf8(consumer.name.clone()).unwrap();
                    format!("{name} {} {}", consumer.held, consumer.idle_ms)
                });
                names.collect::<Vec<_>>().join(", ")
            }
            "size" => self
                .sizes
                .last()
                .map_or("none".into(), |size| size.to_string()),
            "infos" => std::mem::take(&mut self.stream.infos).to_string(),
            other => panic!("{other:?}?"),
        }
    }
}
