//! The delivery of one call of DIRTY.CONSUME, and its reply.

use crate::redis::reply::{Reply, Token};
use crate::redis::{call, guard};
use crate::server::stats;
use crate::store::groups::{self, Pending, StreamEntry};
use dirty_streams_core::encoding::event;
use dirty_streams_core::entity::event::Event;
use dirty_streams_core::entity::event_id::{EventId, missed};
use dirty_streams_core::reading::filters::Filter;
use std::collections::HashSet;

/// The entries that one call delivers.
pub struct Batch {
    pub parts: Vec<Part>,
    /// The reader's position before this batch, `None` if nothing can be missing behind it.
    pub before: Option<EventId>,
    /// Behind all that was looked at: what a cursor acknowledges, `None` for a group.
    pub position: Option<EventId>,
    /// Events that were lost behind all others, or while they were pending.
    pub lost: u64,
    /// There may be more that was not looked at, since the filter rejected too much.
    pub is_cut: bool,
}

/// Entries as the server gave them.
pub struct Part {
    reply: call::Reply,
    delivery: Delivery,
    length: u64,
    /// By place: those that the reader does not want.
    rejected: HashSet<usize>,
}

enum Delivery {
    /// Delivered to a group for the first time.
    New,
    /// Delivered to a group before, this often.
    Again { deliveries: Vec<(EventId, i64)> },
    /// Read by a cursor.
    Read,
}

/// An entry on its way to a reader.
struct Delivered<'r> {
    entry: StreamEntry<'r>,
    fields: Vec<(&'r [u8], &'r [u8])>,
    deliveries: Option<i64>,
    /// This reader meets it for the first time.
    is_new: bool,
    is_rejected: bool,
}

impl Batch {
    pub fn new(before: Option<EventId>, position: Option<EventId>) -> Self {
        Batch {
            parts: Vec::new(),
            before,
            position,
            lost: 0,
            is_cut: false,
        }
    }

    pub fn empty(position: Option<EventId>) -> Self {
        Self::new(None, position)
    }

    /// Whether there is nothing to tell the reader: no entry, and none lost.
    pub fn is_empty(&self) -> bool {
        if self.lost > 0 || self.kept() > 0 {
            return false;
        }
        // Without an entry there is no gap before it.
        let seen = self.parts.iter().any(|part| part.length() > 0);
        let decoded = self.decoded();
        let new = decoded.filter_map(|(delivered, event)| delivered.first_met(&event));
        !seen || self.missed(new) == 0
    }

    pub fn reply(&self, reply: Reply, raw: bool) {
        let count = usize::try_from(self.kept()).unwrap_or(usize::MAX);
        stats::count(&stats::DELIVERED, count);
        reply.map(3);
        reply.token(Token::Events);
        reply.array(count);
        let mut new = Vec::with_capacity(count);
        for (delivered, event) in self.decoded() {
            new.extend(delivered.first_met(&event));
            match event {
                _ if delivered.is_rejected => (),
                Some(event) if !raw => delivered.reply_event(reply, &event),
                _ => delivered.reply_raw(reply),
            }
        }
        reply.token(Token::Position);
        match self.position {
            None => reply.null(),
            Some(position) => reply.bytes(position.text()),
        }
        reply.token(Token::Missed);
        reply.unsigned(self.missed(new));
    }

    /// How many entries the reader gets.
    fn kept(&self) -> u64 {
        let kept = self.parts.iter().map(Part::kept);
        kept.fold(0, u64::saturating_add)
    }

    /// All entries, and the events in them.
    fn decoded(&self) -> impl Iterator<Item = (Delivered<'_>, Option<Event<'_>>)> {
        let delivered = self.parts.iter().flat_map(Part::delivered);
        delivered.map(|delivered| {
            // The reply has begun, so even a panic must not end it.
            let event = guard::catch("an event", || event::decode(&delivered.fields));
            (delivered, event.flatten())
        })
    }

    /// How many events this reader can no longer get: those before the new ones it gets, and what was
    /// found lost already.
    fn missed(&self, new: impl IntoIterator<Item = (EventId, bool)>) -> u64 {
        let before = self.before.map_or(0, |before| missed(before, new));
        before.saturating_add(self.lost)
    }
}

impl Part {
    /// New entries for a group, of which it rejects some.
    pub fn new(reply: call::Reply, filter: &Filter) -> Self {
        Self::filtered(reply, Delivery::New, filter)
    }

    /// Entries for a cursor.
    pub fn read(reply: call::Reply, filter: &Filter) -> Self {
        Self::filtered(reply, Delivery::Read, filter)
    }

    /// Entries that were pending.
    pub fn again(reply: call::Reply, pending: &[Pending], filter: &Filter) -> Self {
        let deliveries = pending.iter();
        let deliveries = deliveries.map(|p| (p.event_id(), p.deliveries.saturating_add(1)));
        let delivery = Delivery::Again {
            deliveries: deliveries.collect(),
        };
        Self::filtered(reply, delivery, filter)
    }

    fn filtered(reply: call::Reply, delivery: Delivery, filter: &Filter) -> Self {
        let mut part = Part {
            reply,
            delivery,
            length: 0,
            rejected: HashSet::new(),
        };
        part.length = u64::try_from(part.entries().count()).unwrap_or(u64::MAX);
        if !filter.is_empty() {
            let takes = |entry: StreamEntry| filter.takes(event::decode(&entry.fields()).as_ref());
            let entries = part.entries().enumerate();
            part.rejected = entries
                .filter_map(|(place, entry)| (!takes(entry)).then_some(place))
                .collect();
        }
        part
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = StreamEntry<'_>> {
        let view = self.reply.view();
        let entries = match self.delivery {
            Delivery::New => groups::of_stream(view),
            Delivery::Again { .. } | Delivery::Read => Some(view),
        };
        entries.into_iter().flat_map(groups::entries)
    }

    /// How many entries it has, rejected ones too.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many the reader gets.
    pub fn kept(&self) -> u64 {
        let rejected = u64::try_from(self.rejected.len()).unwrap_or(u64::MAX);
        debug_assert!(rejected <= self.length(), "its own entries");
        self.length().saturating_sub(rejected)
    }

    /// Ids of entries that were pending.
    pub fn claimed(&self) -> Vec<EventId> {
        match &self.delivery {
            Delivery::Again { deliveries } => deliveries.iter().map(|(id, _)| *id).collect(),
            Delivery::New | Delivery::Read => Vec::new(),
        }
    }

    pub fn last(&self) -> Option<EventId> {
        let last = self.entries().next_back();
        last.and_then(|entry| entry.event_id())
    }

    pub fn rejected(&self) -> Vec<EventId> {
        if self.rejected.is_empty() {
            return Vec::new();
        }
        let entries = self.entries().enumerate();
        let rejected = entries.filter(|(place, _)| self.rejected.contains(place));
        rejected.filter_map(|(_, entry)| entry.event_id()).collect()
    }

    fn delivered(&self) -> impl Iterator<Item = Delivered<'_>> {
        // Both are in the order of their ids.
        let mut again = match &self.delivery {
            Delivery::Again { deliveries } => deliveries.as_slice(),
            Delivery::New | Delivery::Read => &[],
        }
        .iter();
        let entries = self.entries().enumerate();
        entries.map(move |(place, entry)| Delivered {
            entry,
            fields: entry.fields(),
            deliveries: match self.delivery {
                Delivery::Read => None,
                Delivery::New => Some(1),
                Delivery::Again { .. } => {
                    let id = entry.event_id();
                    again.find(|(again, _)| Some(*again) == id).map(|(_, n)| *n)
                }
            },
            is_new: !matches!(self.delivery, Delivery::Again { .. }),
            is_rejected: self.rejected.contains(&place),
        })
    }
}

impl<'r> Delivered<'r> {
    /// The id, and whether it is an event's, of what this reader meets for the first time.
    fn first_met(&self, event: &Option<Event>) -> Option<(EventId, bool)> {
        let id = self.entry.event_id().filter(|_| self.is_new)?;
        Some((id, event.is_some()))
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
        reply.token(Token::Id);
        reply.part(self.entry.id);
        reply.token(Token::Entity);
        reply.bytes(&event.entity);
        reply.token(Token::EntityId);
        reply.bytes(&event.id);
        reply.token(Token::Op);
        reply.token(op(event));
        if !event.changes.is_empty() {
            reply.token(Token::Changes);
            reply.map(event.changes.len());
            for change in event.changes.iter() {
                reply.bytes(&change.field);
                reply.array(2);
                reply.value(&change.old);
                reply.value(&change.new);
            }
        }
        for (name, image) in [(Token::Before, &event.before), (Token::After, &event.after)] {
            if !image.is_empty() {
                reply.token(name);
                reply.map(image.len());
                for (field, value) in image.iter() {
                    reply.bytes(field);
                    reply.value(value);
                }
            }
        }
        if !event.meta.is_empty() {
            reply.token(Token::Meta);
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
        reply.token(Token::Id);
        reply.part(self.entry.id);
        reply.token(Token::Fields);
        reply.part(self.entry.fields);
        self.reply_deliveries(reply);
    }

    fn reply_deliveries(&self, reply: Reply) {
        if let Some(deliveries) = self.deliveries {
            reply.token(Token::Deliveries);
            reply.integer(deliveries);
        }
    }
}

fn op(event: &Event) -> Token {
    match event.op() {
        "insert" => Token::Insert,
        "delete" => Token::Delete,
        "touch" => Token::Touch,
        _ => Token::Update,
    }
}
