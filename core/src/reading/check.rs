//! Whether a delta fits a state: each op is about readers, consumers and entries that are there when its
//! turn comes, and what is made is not there yet. Looked at before anything is changed.

use super::delta::Parser;
use super::op::Op;
use super::readers::Readers;
use super::settings::Kind;
use super::slab::NIL;
use crate::entity::event_id::EventId;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a delta's ops so far would have changed.
struct Overlay<'r> {
    readers: &'r Readers,
    selected: Option<u32>,
    made: HashMap<u32, Kind>,
    names: HashSet<&'r [u8]>,
    forgotten: HashSet<u32>,
    begun_again: bool,
    /// Readers that a SEEK moved: which entries they have then is not followed up.
    sought: HashSet<u32>,
    entries: HashMap<(u32, EventId), bool>,
    consumers: HashMap<(u32, u32), bool>,
    consumer_names: HashSet<(u32, &'r [u8])>,
}

/// Whether the ops of a delta, from anywhere, can be run on these readers: then where those readers stand that it
/// selects. Each op is looked at by itself, so that what is refused takes no memory.
pub fn fits<'r>(readers: &'r Readers, delta: &'r [u8]) -> Option<BTreeMap<u32, EventId>> {
    let mut overlay = Overlay {
        readers,
        selected: None,
        made: HashMap::new(),
        names: HashSet::new(),
        forgotten: HashSet::new(),
        begun_again: false,
        sought: HashSet::new(),
        entries: HashMap::new(),
        consumers: HashMap::new(),
        consumer_names: HashSet::new(),
    };
    let mut positions = BTreeMap::new();
    let position = |number| readers.reader(number).map(|reader| reader.position);
    Parser::new(delta)?.walk(|number| position(number).unwrap_or_default(), &mut |op| {
        if let Op::Select(number) = op
            && let Some(position) = position(number)
        {
            positions.insert(number, position);
        }
        overlay.fits(&op)
    })?;
    Some(positions)
}

fn yes(condition: bool) -> Option<()> {
    condition.then_some(())
}

impl<'r> Overlay<'r> {
    fn has_reader(&self, number: u32) -> bool {
        !self.forgotten.contains(&number)
            && (self.made.contains_key(&number) || self.readers.reader(number).is_some())
    }

    fn kind(&self, number: u32) -> Option<Kind> {
        let made = self.made.get(&number).copied();
        made.or_else(|| self.readers.reader(number).map(|reader| reader.kind()))
    }

    fn selected(&self) -> Option<u32> {
        self.selected.filter(|number| self.has_reader(*number))
    }

    /// The selected group.
    fn group(&self) -> Option<u32> {
        self.selected()
            .filter(|number| self.kind(*number) == Some(Kind::Group))
    }

    fn has_entry(&self, group: u32, id: EventId) -> bool {
        if let Some(known) = self.entries.get(&(group, id)) {
            return *known;
        }
        let reader = self.readers.reader(group).filter(|_| !self.begun_again);
        let reader = reader.filter(|_| !self.made.contains_key(&group));
        let group = reader.and_then(|reader| reader.group());
        group.is_some_and(|group| group.pending.entry(id).is_some())
    }

    fn entry(&mut self, id: EventId, is_there: bool, stays: bool) -> Option<()> {
        let group = self.group()?;
        yes(!self.sought.contains(&group))?;
        yes(self.has_entry(group, id) == is_there)?;
        self.entries.insert((group, id), stays);
        Some(())
    }

    fn has_consumer(&self, number: u32) -> Option<()> {
        let group = self.group()?;
        if let Some(known) = self.consumers.get(&(group, number)) {
            return yes(*known);
        }
        let reader = self.readers.reader(group);
        let reader = reader.filter(|_| !self.made.contains_key(&group));
        let pending = &reader?.group()?.pending;
        pending.consumers.get(number).map(|_| ())
    }

    fn fits(&mut self, op: &Op<'r>) -> Option<()> {
        match op {
            Op::Now(_) | Op::Seen { .. } => Some(()),
            Op::Select(number) => {
                self.selected = Some(*number);
                self.selected().map(|_| ())
            }
            Op::BegunAgain { .. } => {
                self.begun_again = true;
                self.entries.clear();
                Some(())
            }
            Op::Make {
                number, kind, name, ..
            } => {
                // A number is made only once, and names are not given again within a delta.
                yes(!self.made.contains_key(number) && self.readers.reader(*number).is_none())?;
                yes(!name.is_empty() && self.readers.number(name).is_none())?;
                yes(self.names.insert(name))?;
                self.made.insert(*number, *kind);
                self.selected = Some(*number);
                self.selected().map(|_| ())
            }
            Op::Set { settings, .. } => {
                let number = self.selected()?;
                yes(settings.shard.is_none() || self.kind(number) == Some(Kind::Cursor))
            }
            Op::Position { .. } | Op::Missed { .. } | Op::Count { .. } => {
                self.selected().map(|_| ())
            }
            Op::Phase(_) => {
                let number = self.selected()?;
                yes(self.kind(number) == Some(Kind::Cursor))
            }
            Op::Forget => {
                let number = self.selected()?;
                self.forgotten.insert(number);
                Some(())
            }
            Op::Seek { .. } => {
                let number = self.selected()?;
                self.sought.insert(number);
                Some(())
            }
            Op::Pause(_) | Op::Clamp | Op::Unpark { .. } | Op::Park { .. } => {
                self.group().map(|_| ())
            }
            Op::Next { consumer, .. } => match consumer {
                Some(_) => self.group().map(|_| ()),
                None => Some(()),
            },
            Op::Consumer { number, name } => {
                let group = self.group()?;
                yes(!name.is_empty() && self.has_consumer(*number).is_none())?;
                yes(!self.consumers.contains_key(&(group, *number)))?;
                let known = self.readers.reader(group).and_then(|reader| reader.group());
                let known = known.and_then(|group| group.pending.consumers.number(name));
                yes(known.is_none() && self.consumer_names.insert((group, name)))?;
                self.consumers.insert((group, *number), true);
                Some(())
            }
            Op::ForgetConsumer(number) => {
                self.has_consumer(*number)?;
                let group = self.group()?;
                self.consumers.insert((group, *number), false);
                Some(())
            }
            Op::Turn(Some(consumer))
            | Op::SilenceAll(consumer)
            | Op::LeaveAll(consumer)
            | Op::RenewAll(consumer) => self.has_consumer(*consumer),
            Op::Turn(None) => self.group().map(|_| ()),
            Op::Fail { id, .. }
            | Op::Due(id)
            | Op::Silence(id)
            | Op::Renew(id)
            | Op::Failure { id, .. }
            | Op::Redriven { id, .. } => self.entry(*id, true, true),
            Op::Finish { id, .. } | Op::Die { id, .. } => self.entry(*id, true, false),
            Op::Give { consumer, id, .. } => {
                self.has_consumer(*consumer)?;
                self.entry(*id, true, true)
            }
            Op::Deliver { consumer, id, .. } => {
                self.has_consumer(*consumer)?;
                self.entry(*id, false, true)
            }
            Op::Queue { id, .. } | Op::Redrive { id, .. } => self.entry(*id, false, true),
            Op::Load(loaded) => {
                // Who was silent may be forgotten; who holds may not.
                if loaded.flags & super::lane::flags::HELD != 0 || loaded.holder != NIL {
                    self.has_consumer(loaded.holder)?;
                }
                self.entry(loaded.id, false, true)
            }
        }
    }
}
