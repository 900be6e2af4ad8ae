//! `DIRTY.PENDING`: what a group has not finished, by id, page by page.

use super::lane::{Entry, Lane, Standing, flags};
use super::pending::Pending;
use super::reader::Reader;
use super::readers::Readers;
use super::refusal::Refusal;
use super::settings::Kind;
use super::stream::Place;
use crate::entity::event_id::EventId;

/// An entry of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: EventId,
    /// Where the module finds it, to tell its key.
    pub place: Place,
    /// What it waits for.
    pub state: ListedState,
    /// Who holds it, or, of a queued one, the events of its key before it.
    pub consumer: Option<Vec<u8>>,
    /// Of a held one: how long its holder has not renewed it.
    pub idle_ms: Option<u64>,
    /// When it comes (again): a held, delayed or free one.
    pub due_ms: Option<u64>,
    /// How often it was delivered.
    pub deliveries: u16,
    /// How often it failed.
    pub failures: u32,
    /// The last message.
    pub error: Option<Vec<u8>>,
}

/// What an entry waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedState {
    /// A consumer holds it.
    Held,
    /// It failed, and comes later.
    Delayed,
    /// It comes to whoever asks.
    Free,
    /// It waits behind others of its key.
    Queued,
    /// Its key is parked.
    Parked,
}

impl ListedState {
    /// As replies tell it.
    pub fn name(self) -> &'static str {
        match self {
            ListedState::Held => "held",
            ListedState::Delayed => "delayed",
            ListedState::Free => "free",
            ListedState::Queued => "queued",
            ListedState::Parked => "parked",
        }
    }
}

impl Readers {
    /// A page: up to `count` entries behind an id, of all consumers or of one.
    pub fn list_pending(
        &self,
        group: &[u8],
        consumer: Option<&[u8]>,
        after: Option<EventId>,
        count: usize,
        now_ms: u64,
    ) -> Result<Vec<Listed>, Refusal> {
        let reader = match self.get(group) {
            None => return Err(Refusal::NoReader(Kind::Group, group.into())),
            Some(reader) => reader,
        };
        let Some(own) = reader.group() else {
            return Err(Refusal::OtherKind(Kind::Cursor, group.into()));
        };
        let pending = &own.pending;
        let list = |entry: &Entry| self.listed(reader, pending, entry, now_ms);
        let Some(consumer) = consumer else {
            let entries: Box<dyn Iterator<Item = &Entry>> = match after {
                None => Box::new(pending.entries()),
                Some(id) => Box::new(pending.after(id)),
            };
            return Ok(entries.take(count).filter_map(list).collect());
        };
        let Some(number) = pending.consumers.number(consumer) else {
            return Ok(Vec::new());
        };
        let lanes = pending.lanes_of(number);
        let held = lanes.flat_map(|lane| pending.entries_of(lane));
        let held =
            held.filter(|entry| entry.is(flags::HELD) && after.is_none_or(|id| entry.id > id));
        let mut held: Vec<&Entry> = held.collect();
        held.sort_unstable_by_key(|entry| entry.id);
        Ok(held.into_iter().take(count).filter_map(list).collect())
    }

    fn listed(
        &self,
        reader: &Reader,
        pending: &Pending,
        entry: &Entry,
        now_ms: u64,
    ) -> Option<Listed> {
        let lane: &Lane = pending.lane(entry.lane)?;
        let is_first = pending
            .first(lane)
            .is_some_and(|first| first.id == entry.id);
        let state = match lane.standing {
            _ if entry.is(flags::HELD) => ListedState::Held,
            Standing::Parked => ListedState::Parked,
            Standing::Held | Standing::Queued | Standing::Vacant => ListedState::Queued,
            _ if !is_first => ListedState::Queued,
            Standing::Delayed if lane.at > now_ms => ListedState::Delayed,
            Standing::Delayed | Standing::Free | Standing::Silent => ListedState::Free,
        };
        let failure = pending.failure(entry.id);
        let since = lane.at.min(now_ms).max(self.since());
        let claim_ms = reader.settings.claim_ms;
        let holder = Some(lane.holder).filter(|_| state == ListedState::Held);
        let waits_for = match (state, lane.standing) {
            (ListedState::Queued, Standing::Held) => Some(lane.holder),
            _ => holder,
        };
        Some(Listed {
            id: entry.id,
            place: match pending.redriven(entry.id) {
                Some(dead) => Place::Dead { id: entry.id, dead },
                None => Place::Stream(entry.id),
            },
            state,
            consumer: waits_for.map(|holder| pending.consumers.name(holder).to_vec()),
            idle_ms: holder.map(|_| now_ms.saturating_sub(since)),
            due_ms: match state {
                ListedState::Held => Some(since.saturating_add(claim_ms)),
                ListedState::Delayed | ListedState::Free => Some(lane.at),
                ListedState::Queued | ListedState::Parked => None,
            },
            deliveries: entry.deliveries,
            failures: failure.map_or(0, |failure| failure.failures),
            error: failure.map(|failure| failure.message.to_vec()),
        })
    }
}
