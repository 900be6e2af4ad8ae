//! What one call of DIRTY.CONSUME delivers, and its reply.

use crate::encoding;
use crate::entity::event::Event;
use crate::entity::event_id::{missed, EventId};
use crate::error::Error;
use crate::redis::call;
use crate::redis::groups::{self, Entry, Group, Pending, Whose};
use crate::redis::reply::Reply;
use crate::redis::stats;
use redis_module::RedisString;
use std::collections::HashSet;

/// What one call delivers.
pub struct Batch {
    pub parts: Vec<Part>,
    /// The reader's before this batch, `None` if nothing can be missing behind it.
    pub before: Option<EventId>,
    /// What a cursor acknowledges, `None` for a group.
    pub position: Option<EventId>,
}

/// Entries as the server gave them.
pub enum Part {
    /// Delivered to a group for the first time.
    New(call::Reply),
    /// Delivered to a group before; those that the stream has lost are not among the entries.
    Again {
        entries: call::Reply,
        pending: Vec<Pending>,
    },
    /// Read by a cursor.
    Read(call::Reply),
}

/// An entry on its way to a reader.
struct Delivered<'r> {
    entry: Entry<'r>,
    fields: Vec<(&'r [u8], &'r [u8])>,
    deliveries: Option<i64>,
}

impl Batch {
    pub fn new(before: Option<EventId>, position: Option<EventId>) -> Self {
        Batch {
            parts: Vec::new(),
            before,
            position,
        }
    }

    pub fn empty(position: Option<EventId>) -> Self {
        Self::new(None, position)
    }

    /// Whether there is nothing to tell the reader: no entry, and none lost.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::New(entries) => groups::entries_of_stream(entries.view()).next().is_none(),
            Part::Again { pending, .. } => pending.is_empty(),
            Part::Read(entries) => groups::entries(entries.view()).next().is_none(),
        })
    }

    /// Adds pending entries, but none twice.
    pub fn claim(
        &mut self,
        group: &Group,
        consumer: &RedisString,
        whose: Whose,
        left: &mut u64,
    ) -> Result<(), Error> {
        if *left == 0 {
            return Ok(());
        }
        let have: HashSet<&[u8]> = self.parts.iter().flat_map(Part::claimed).collect();
        let most = left.saturating_add(u64::try_from(have.len()).unwrap_or(0));
        let mut pending = group.pending(&whose, most)?;
        pending.retain(|pending| !have.contains(pending.id.as_slice()));
        pending.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
        if pending.is_empty() {
            return Ok(());
        }
        *left = left.saturating_sub(u64::try_from(pending.len()).unwrap_or(u64::MAX));
        let entries = group.claim(consumer, &pending)?;
        self.parts.push(Part::Again { entries, pending });
        Ok(())
    }

    pub fn reply(&self, reply: Reply, raw: bool) {
        let delivered: Vec<Delivered> = self.parts.iter().flat_map(Part::delivered).collect();
        let events: Vec<Option<Event>> = delivered
            .iter()
            .map(|delivered| encoding::event::decode(&delivered.fields))
            .collect();
        stats::count(&stats::DELIVERED, delivered.len());
        reply.map(3);
        reply.bytes("events");
        reply.array(delivered.len());
        for (delivered, event) in delivered.iter().zip(&events) {
            match event {
                Some(event) if !raw => delivered.reply_event(reply, event),
                _ => delivered.reply_raw(reply),
            }
        }
        reply.bytes("position");
        match self.position {
            None => reply.null(),
            Some(position) => {
                let last = delivered
                    .last()
                    .and_then(|last| EventId::parse(last.entry.id));
                reply.bytes(last.unwrap_or(position).to_string());
            }
        }
        reply.bytes("missed");
        reply.unsigned(self.missed(&delivered, &events));
    }

    /// How many events this reader can no longer get: those before the new ones it gets, and pending
    /// entries that are gone.
    fn missed(&self, delivered: &[Delivered], events: &[Option<Event>]) -> u64 {
        let gone = self.parts.iter().map(|part| match part {
            Part::Again { entries, pending } => {
                pending.len().saturating_sub(entries.view().length())
            }
            Part::New(_) | Part::Read(_) => 0,
        });
        let gone = u64::try_from(gone.sum::<usize>()).unwrap_or(u64::MAX);
        let is_new = |delivered: &Delivered| delivered.deliveries.is_none_or(|times| times == 1);
        let new = delivered
            .iter()
            .zip(events)
            .filter_map(|(delivered, event)| {
                let id = EventId::parse(delivered.entry.id).filter(|_| is_new(delivered))?;
                Some((id, event.is_some()))
            });
        let before = self.before.map_or(0, |before| missed(before, new));
        before.saturating_add(gone)
    }
}

impl Part {
    /// Ids that are claimed already.
    fn claimed(&self) -> impl Iterator<Item = &[u8]> {
        let pending = match self {
            Part::Again { pending, .. } => pending.as_slice(),
            Part::New(_) | Part::Read(_) => &[],
        };
        pending.iter().map(|pending| pending.id.as_slice())
    }

    fn delivered(&self) -> Vec<Delivered<'_>> {
        match self {
            Part::New(reply) => groups::entries_of_stream(reply.view())
                .map(|entry| Delivered::new(entry, Some(1)))
                .collect(),
            Part::Read(reply) => groups::entries(reply.view())
                .map(|entry| Delivered::new(entry, None))
                .collect(),
            Part::Again { entries, pending } => {
                // Both are in the order of their ids.
                let mut pending = pending.iter();
                let entries = groups::entries(entries.view());
                entries
                    .map(|entry| {
                        let before = pending.find(|pending| pending.id.as_slice() == entry.id);
                        let before = before.map_or(1, |pending| pending.deliveries);
                        Delivered::new(entry, Some(before.saturating_add(1)))
                    })
                    .collect()
            }
        }
    }
}

impl<'r> Delivered<'r> {
    fn new(entry: Entry<'r>, deliveries: Option<i64>) -> Self {
        Delivered {
            entry,
            fields: entry.fields(),
            deliveries,
        }
    }

    fn reply_event(&self, reply: Reply, event: &Event) {
        let optional = [
            !event.changes.is_empty(),
            !event.before.is_empty(),
            !event.after.is_empty(),
            !event.meta.is_empty(),
            self.deliveries.is_some(),
        ];
        let pairs = optional.into_iter().filter(|present| *present).count();
        reply.map(pairs.saturating_add(4));
        reply.bytes("id");
        reply.bytes(self.entry.id);
        reply.bytes("entity");
        reply.bytes(&event.entity);
        reply.bytes("entity_id");
        reply.bytes(&event.id);
        reply.bytes("op");
        reply.bytes(event.op());
        if !event.changes.is_empty() {
            reply.bytes("changes");
            reply.map(event.changes.len());
            for change in event.changes.iter() {
                reply.bytes(&change.field);
                reply.array(2);
                reply.value(&change.old);
                reply.value(&change.new);
            }
        }
        for (name, image) in [("before", &event.before), ("after", &event.after)] {
            if !image.is_empty() {
                reply.bytes(name);
                reply.map(image.len());
                for (field, value) in image.iter() {
                    reply.bytes(field);
                    reply.value(value);
                }
            }
        }
        if !event.meta.is_empty() {
            reply.bytes("meta");
            reply.map(event.meta.len());
            for (name, value) in event.meta.iter() {
                reply.bytes(name);
                reply.bytes(value);
            }
        }
        self.reply_deliveries(reply);
    }

    /// The entry's own fields, in its order, any of them more than once if it is so.
    fn reply_raw(&self, reply: Reply) {
        reply.map(if self.deliveries.is_some() { 3 } else { 2 });
        reply.bytes("id");
        reply.bytes(self.entry.id);
        reply.bytes("fields");
        reply.array(self.fields.len().saturating_mul(2));
        for (field, value) in &self.fields {
            reply.bytes(field);
            reply.bytes(value);
        }
        self.reply_deliveries(reply);
    }

    fn reply_deliveries(&self, reply: Reply) {
        if let Some(deliveries) = self.deliveries {
            reply.bytes("deliveries");
            reply.integer(deliveries);
        }
    }
}
