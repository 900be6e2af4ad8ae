//! What a history of commands means, said as simply as possible.

use super::generate::{Command, Declared, Fields, Flush, Op, Stream};
use std::collections::{BTreeMap, BTreeSet};

/// Fields and their texts.
pub type State = BTreeMap<&'static str, &'static str>;

#[derive(Clone)]
pub struct Model {
    declared: Declared,
    pub entities: BTreeMap<&'static str, State>,
    /// Versions of deleted entities.
    pub tombstones: BTreeMap<&'static str, u64>,
    /// Of each stream the events it ever got: entity and operation.
    pub events: Vec<Vec<(&'static str, &'static str)>>,
    pub deferred: BTreeMap<&'static str, Flush>,
    /// First replies.
    pub once: BTreeMap<&'static str, Reply>,
    /// Something was stored that no event tells of.
    pub seeded: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Error(&'static str),
    Deferred,
    Effects(Vec<Told>),
    /// Of each token.
    Commit(Vec<Option<Vec<Told>>>),
    Count(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub effect: &'static str,
    /// Changed fields, and streams with the seq of their events.
    pub details: Option<(BTreeSet<&'static str>, Events)>,
}

/// Streams and the seq of what they got.
type Events = Vec<(String, usize)>;

/// What one operation does to its entity.
struct Happened {
    effect: &'static str,
    /// I, U, D or T for a TOUCH, if it is published.
    operation: Option<char>,
    changed: BTreeSet<&'static str>,
}

impl Model {
    pub fn new(declared: &Declared) -> Self {
        Model {
            declared: declared.clone(),
            entities: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            events: vec![Vec::new(); declared.streams.len()],
            deferred: BTreeMap::new(),
            once: BTreeMap::new(),
            seeded: false,
        }
    }

    pub fn run(&mut self, command: &Command) -> Reply {
        let mut next = self.clone();
        let reply = match command {
            Command::Flush(flush) => next.flush(flush),
            Command::Commit(tokens) => next.commit(tokens),
            Command::Abort(tokens) => {
                let gone = tokens
                    .iter()
                    .filter_map(|token| next.deferred.remove(token));
                Ok(Reply::Count(gone.count()))
            }
        };
        match reply {
            Ok(reply) => {
                *self = next;
                reply
            }
            Err(code) => Reply::Error(code),
        }
    }

    fn flush(&mut self, flush: &Flush) -> Result<Reply, &'static str> {
        if let Some(first) = flush.once.and_then(|token| self.once.get(token)) {
            return Ok(first.clone());
        }
        let reply = match flush.defer {
            Some(token) => {
                self.check(flush)?;
                let kept = Flush {
                    once: None,
                    defer: None,
                    ..flush.clone()
                };
                if self.deferred.get(token).is_some_and(|known| *known != kept) {
                    return Err("EXISTS");
                }
                self.deferred.insert(token, kept);
                Reply::Deferred
            }
            None => {
                let before = self.events.clone();
                let effects = self.all(flush)?;
                self.check_room(&before)?;
                Reply::Effects(effects)
            }
        };
        if let Some(token) = flush.once {
            self.once.insert(token, reply.clone());
        }
        Ok(reply)
    }

    fn commit(&mut self, tokens: &[&'static str]) -> Result<Reply, &'static str> {
        let before = self.events.clone();
        let mut told = Vec::new();
        for token in tokens {
            told.push(match self.deferred.remove(token) {
                Some(flush) => Some(self.all(&flush)?),
                None => None,
            });
        }
        self.check_room(&before)?;
        Ok(Reply::Commit(told))
    }

    /// What no state could make right.
    fn check(&self, flush: &Flush) -> Result<(), &'static str> {
        for (id, op) in &flush.ops {
            self.check_op(id, op)?;
        }
        Ok(())
    }

    fn check_op(&self, id: &str, op: &Op) -> Result<(), &'static str> {
        let numeric = self.declared.streams.iter().any(Stream::is_numeric);
        if numeric && id.parse::<u64>().is_err() {
            return Err("BADVALUE");
        }
        let given = match op {
            Op::Snapshot(given) | Op::Insert(given) | Op::Update(given) | Op::Seed(given) => given,
            Op::Delete(Some(given)) => given,
            Op::Delete(None) | Op::Touch | Op::Replace(..) => return Ok(()),
        };
        match self.declared.version && version(&given.fields).is_none() {
            true => Err("BADVALUE"),
            false => Ok(()),
        }
    }

    fn all(&mut self, flush: &Flush) -> Result<Vec<Told>, &'static str> {
        let mut told = Vec::new();
        for (id, op) in &flush.ops {
            self.check_op(id, op)?;
            let happened = match self.declared.stateless {
                true => self.stateless(op),
                false => self.stateful(id, op)?,
            };
            let events = self.publish(id, &happened);
            told.push(Told {
                effect: happened.effect,
                details: flush.with_events.then_some((happened.changed, events)),
            });
        }
        Ok(told)
    }

    fn stateless(&self, op: &Op) -> Happened {
        let none = State::new();
        let (operation, old, new) = match op {
            Op::Insert(given) => ('I', none, state(&given.fields)),
            Op::Delete(given) => {
                let old = given.as_ref().map(|given| state(&given.fields));
                ('D', old.unwrap_or_default(), none)
            }
            Op::Replace(old, new) => {
                let (old, new) = old.replaced(new);
                ('U', state(&old), state(&new))
            }
            Op::Touch => ('T', none.clone(), none),
            other => panic!("{other:?} of a stateless type"),
        };
        self.happened(operation, &old, &new)
    }

    fn stateful(&mut self, id: &'static str, op: &Op) -> Result<Happened, &'static str> {
        let old = self.entities.get(id).cloned();
        let known = match &old {
            Some(old) => old.get("v").and_then(|text| text.parse().ok()),
            None => self.tombstones.get(id).copied(),
        }
        .filter(|_| self.declared.version);
        let given = match op {
            Op::Touch if old.is_none() => return Err("NOENTITY"),
            Op::Touch => {
                let old = old.unwrap_or_default();
                return Ok(self.happened('T', &old, &old));
            }
            Op::Delete(given) => {
                let given = given.as_ref().and_then(|given| version(&given.fields));
                return Ok(self.delete(id, old, known, given));
            }
            Op::Snapshot(given) | Op::Insert(given) | Op::Update(given) | Op::Seed(given) => given,
            Op::Replace(..) => panic!("a replacement of what is stored"),
        };
        if self.declared.version && known.is_some() && version(&given.fields) <= known {
            return Ok(unchanged("stale"));
        }
        let new = match (op, &old) {
            (Op::Update(_), None) => return Err("NOENTITY"),
            (Op::Update(given), Some(old)) => {
                let mut new = old.clone();
                for (name, value) in &given.fields {
                    match value {
                        Some(value) => new.insert(name, value.text),
                        None => new.remove(name),
                    };
                }
                new
            }
            (Op::Insert(given), Some(old)) if state(&given.fields) != *old => return Err("EXISTS"),
            _ => state(&given.fields),
        };
        if old.as_ref() == Some(&new) {
            return Ok(unchanged("none"));
        }
        self.tombstones.remove(id);
        self.entities.insert(id, new.clone());
        let operation = if old.is_none() { 'I' } else { 'U' };
        let mut happened = self.happened(operation, &old.unwrap_or_default(), &new);
        if matches!(op, Op::Seed(_)) {
            self.seeded = true;
            happened.effect = "seed";
            happened.operation = None;
        }
        Ok(happened)
    }

    fn delete(
        &mut self,
        id: &'static str,
        old: Option<State>,
        known: Option<u64>,
        given: Option<u64>,
    ) -> Happened {
        let given = given.filter(|_| self.declared.version);
        // Of a delete and a snapshot of one version the delete wins.
        if given.is_some_and(|given| known > Some(given))
            || (old.is_none() && given.is_some() && known >= given)
        {
            return unchanged("stale");
        }
        if old.is_none() && given.is_none() {
            return unchanged("none");
        }
        self.entities.remove(id);
        if let Some(version) = given.or(known).filter(|_| self.declared.tombstones) {
            self.tombstones.insert(id, version);
        }
        match old {
            None => unchanged("none"),
            Some(old) => self.happened('D', &old, &State::new()),
        }
    }

    fn happened(&self, operation: char, old: &State, new: &State) -> Happened {
        let names = old.keys().chain(new.keys());
        let changed: BTreeSet<_> = names
            .filter(|name| old.get(*name) != new.get(*name))
            .copied()
            .collect();
        let set = |state: &State| state.get("gone") == Some(&"1");
        let operation = match (operation, set(old), set(new)) {
            ('I' | 'U', false, true) if self.declared.fake_delete => 'D',
            ('U', true, false) if self.declared.fake_delete => 'I',
            ('U', ..) if changed.is_empty() => 'N',
            (operation, ..) => operation,
        };
        let effect = match operation {
            'I' => "insert",
            'U' => "update",
            'D' => "delete",
            'T' => "touch",
            _ => "none",
        };
        Happened {
            effect,
            operation: Some(operation).filter(|operation| *operation != 'N'),
            changed,
        }
    }

    fn publish(&mut self, id: &'static str, happened: &Happened) -> Events {
        let Some(operation) = happened.operation else {
            return Vec::new();
        };
        let fields = self.entities.get(id).is_some_and(|state| !state.is_empty());
        let mut told = Vec::new();
        for (stream, events) in self.declared.streams.iter().zip(&mut self.events) {
            let triggered = !stream.triggers.is_disjoint(&happened.changed);
            let wanted = match operation {
                'T' => stream.ops.contains('U'),
                'U' => stream.ops.contains('U') || triggered,
                operation => stream.ops.contains(operation),
            };
            if wanted {
                let op = match (operation, stream.format, stream.payload) {
                    ('T', "DEBEZIUM", _) => "touch",
                    ('T', _, "IMAGES") if fields => "touch",
                    ('T', ..) => "update",
                    _ => happened.effect,
                };
                events.push((id, op));
                told.push((stream.name.clone(), events.len()));
            }
        }
        told
    }

    /// ONFULL REFUSE.
    fn check_room(&self, before: &[Vec<(&str, &str)>]) -> Result<(), &'static str> {
        let streams = self.declared.streams.iter().zip(before).zip(&self.events);
        for ((stream, before), after) in streams {
            if let (Some((count, "REFUSE")), true) = (stream.max_len, stream.behind) {
                if after.len() > before.len() && after.len() > count {
                    return Err("FULL");
                }
            }
        }
        Ok(())
    }

    /// How many entries each stream has.
    pub fn lengths(&self) -> Vec<usize> {
        let streams = self.declared.streams.iter().zip(&self.events);
        streams
            .map(|(stream, events)| match stream.max_len {
                Some((count, on_full)) if on_full == "TRIM" || !stream.behind => {
                    events.len().min(count)
                }
                _ => events.len(),
            })
            .collect()
    }

    /// Every key that there is.
    pub fn keys(&self) -> BTreeSet<Vec<u8>> {
        let snapshots = self.entities.keys().chain(self.tombstones.keys());
        let snapshots = snapshots.map(|id| format!("user:{id}"));
        let streams = self.declared.streams.iter().zip(&self.events);
        let streams = streams
            .filter(|(stream, events)| stream.behind || !events.is_empty())
            .map(|(stream, _)| stream.name.clone());
        let once = self.once.keys().map(|token| format!("user@once:{token}"));
        let deferred = (!self.deferred.is_empty()).then(|| "user@deferred".to_string());
        let all = ["user".to_string()].into_iter().chain(snapshots);
        let all = all.chain(streams).chain(once).chain(deferred);
        all.map(String::into_bytes).collect()
    }
}

fn state(fields: &Fields) -> State {
    let fields = fields.iter();
    fields
        .filter_map(|(name, value)| Some((*name, (*value)?.text)))
        .collect()
}

fn unchanged(effect: &'static str) -> Happened {
    Happened {
        effect,
        operation: None,
        changed: BTreeSet::new(),
    }
}

fn version(fields: &Fields) -> Option<u64> {
    fields.get("v").copied().flatten()?.text.parse().ok()
}
