//! What a history of commands means, said as simply as possible.

use super::generate::{Command, Declared, Fields, Flush, Op, Stream};
use std::cmp::Ordering;
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

/// Streams and the seq of what they got, if it is known.
type Events = Vec<(String, Option<usize>)>;

impl Reply {
    /// That of a DRYRUN.
    fn without_ids(self) -> Reply {
        let Reply::Effects(mut told) = self else {
            return self;
        };
        for Told { details, .. } in &mut told {
            let events = details.iter_mut().flat_map(|(_, events)| events);
            events.for_each(|(_, seq)| *seq = None);
        }
        Reply::Effects(told)
    }
}

/// What one operation does to its entity.
struct Happened {
    effect: &'static str,
    /// I, U, D or T for a TOUCH, if it is published.
    operation: Option<char>,
    /// The same for FORMAT FLUXAORM1, to which SOFTDELETE hides nothing.
    library: Option<char>,
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
            Command::Flush(flush) if flush.dry_run => {
                let reply = next.flush(flush).map(Reply::without_ids);
                next = self.clone();
                reply
            }
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
                false => self.stateful(id, op, flush.force)?,
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

    fn stateful(
        &mut self,
        id: &'static str,
        op: &Op,
        force: bool,
    ) -> Result<Happened, &'static str> {
        let old = self.entities.get(id).cloned();
        let known = match &old {
            Some(old) => old.get("v").and_then(|text| text.parse().ok()),
            None => self.tombstones.get(id).copied(),
        }
        .filter(|_| self.declared.version);
        let given = match op {
            Op::Touch if old.is_none() => return Ok(unchanged("none")),
            Op::Touch => {
                let old = old.unwrap_or_default();
                return Ok(self.happened('T', &old, &old));
            }
            Op::Delete(given) => {
                let given = given.as_ref().and_then(|given| version(&given.fields));
                return Ok(self.delete(id, known, given, force));
            }
            Op::Snapshot(given) | Op::Insert(given) | Op::Update(given) | Op::Seed(given) => given,
            Op::Replace(..) => panic!("a replacement of what is stored"),
        };
        // What the entity would be, whatever its version.
        let new = match (op, &old) {
            (Op::Update(given), Some(old)) => updated(old, &given.fields),
            _ => state(&given.fields),
        };
        if let (Some(known), false) = (known.filter(|_| self.declared.version), force) {
            let given = version(&given.fields).expect("checked before");
            let effect = match (given.cmp(&known), &old) {
                (Ordering::Greater, _) => None,
                (Ordering::Equal, Some(old)) if *old == new => Some("none"),
                (Ordering::Equal, Some(_)) => Some("conflict"),
                (Ordering::Equal | Ordering::Less, _) => Some("stale"),
            };
            if let Some(effect) = effect {
                return Ok(unchanged(effect));
            }
        }
        match (op, &old) {
            (Op::Update(_), None) => return Err("NOENTITY"),
            (Op::Insert(_), Some(old)) if new != *old => return Err("EXISTS"),
            _ => {}
        }
        if old.as_ref() == Some(&new) {
            return Ok(unchanged("none"));
        }
        let turns = old
            .as_ref()
            .is_some_and(|old| self.is_set(old) != self.is_set(&new));
        if matches!(op, Op::Seed(_)) && turns {
            return Err("ERR");
        }
        self.tombstones.remove(id);
        self.entities.insert(id, new.clone());
        let operation = if old.is_none() { 'I' } else { 'U' };
        let mut happened = self.happened(operation, &old.unwrap_or_default(), &new);
        if matches!(op, Op::Seed(_)) {
            self.seeded = true;
            happened.effect = "seed";
            happened.operation = None;
            happened.library = None;
        }
        Ok(happened)
    }

    fn delete(
        &mut self,
        id: &'static str,
        known: Option<u64>,
        given: Option<u64>,
        force: bool,
    ) -> Happened {
        let given = given.filter(|_| self.declared.version);
        // Of a delete and a snapshot of one version the delete wins.
        if given.is_some_and(|given| known > Some(given)) && !force {
            return unchanged("stale");
        }
        let is_buried = given.is_none() || given == known;
        let exists = self.entities.contains_key(id);
        // Of a tombstone the higher version stays, FORCE or not.
        if !exists && (is_buried || known > given) {
            return unchanged("none");
        }
        let old = self.entities.remove(id);
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
        let library = match (operation, self.is_set(old), self.is_set(new)) {
            ('U', false, true) => 'D',
            ('U', ..) if changed.is_empty() => 'N',
            (operation, ..) => operation,
        };
        // To readers an entity whose flag is set is none.
        let (was, is) = match operation {
            'I' => (false, !self.is_set(new)),
            'D' => (!self.is_set(old), false),
            _ => (!self.is_set(old), !self.is_set(new)),
        };
        let operation = match (operation, was, is) {
            ('T', true, _) => 'T',
            (_, false, true) => 'I',
            (_, true, false) => 'D',
            ('U', ..) if changed.is_empty() => 'N',
            (_, true, true) => 'U',
            ('T', false, _) => 'N',
            (_, false, false) => 'H',
        };
        let effect = match operation {
            'I' => "insert",
            'U' => "update",
            'D' => "delete",
            'T' => "touch",
            'H' => "hidden",
            _ => "none",
        };
        Happened {
            effect,
            operation: Some(operation).filter(|operation| !"NH".contains(*operation)),
            library: Some(library).filter(|operation| *operation != 'N'),
            changed,
        }
    }

    /// Whether the flag of SOFTDELETE is set.
    fn is_set(&self, state: &State) -> bool {
        self.declared.soft_delete && state.get("gone") == Some(&"1")
    }

    fn publish(&mut self, id: &'static str, happened: &Happened) -> Events {
        let fields = self.entities.get(id).is_some_and(|state| !state.is_empty());
        let mut told = Vec::new();
        for (stream, events) in self.declared.streams.iter().zip(&mut self.events) {
            let operation = match stream.format {
                "FLUXAORM1" => happened.library,
                _ => happened.operation,
            };
            let Some(operation) = operation else {
                continue;
            };
            let triggered = !stream.triggers.is_disjoint(&happened.changed);
            let wanted = match operation {
                'T' => stream.ops.contains('U') || !stream.triggers.is_empty(),
                'U' => stream.ops.contains('U') || triggered,
                operation => stream.ops.contains(operation),
            };
            if wanted {
                let op = match (operation, stream.format, stream.payload) {
                    ('T', "DEBEZIUM", _) => "touch",
                    ('T', _, "IMAGES") if fields => "touch",
                    ('T', ..) | ('U', ..) => "update",
                    ('I', ..) => "insert",
                    _ => "delete",
                };
                events.push((id, op));
                told.push((stream.name.clone(), Some(events.len())));
            }
        }
        told
    }

    /// ONFULL REFUSE.
    fn check_room(&self, before: &[Vec<(&str, &str)>]) -> Result<(), &'static str> {
        let streams = self.declared.streams.iter().zip(before).zip(&self.events);
        for ((stream, before), after) in streams {
            if let (Some((count, "REFUSE")), true) = (stream.max_len, stream.behind)
                && after.len() > before.len()
                && after.len() > count
            {
                return Err("FULL");
            }
        }
        Ok(())
    }

    /// The entities that readers see.
    pub fn visible(&self) -> impl Iterator<Item = (&&'static str, &State)> {
        let entities = self.entities.iter();
        entities.filter(|(_, state)| !self.is_set(state))
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
        library: None,
        changed: BTreeSet::new(),
    }
}

/// The fields of an entity after an update.
fn updated(old: &State, fields: &Fields) -> State {
    let mut new = old.clone();
    for (name, value) in fields {
        match value {
            Some(value) => new.insert(name, value.text),
            None => new.remove(name),
        };
    }
    new
}

fn version(fields: &Fields) -> Option<u64> {
    fields.get("v").copied().flatten()?.text.parse().ok()
}
