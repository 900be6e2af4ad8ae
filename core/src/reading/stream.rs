//! What the rules ask of the stream and its dead stream. The module answers from Redis, tests from memory.

use super::filter::{Filter, Shard};
use super::key_hash::Seed;
use super::refusal::Refusal;
use super::settings::Order;
use super::snapshot::{Snapshots, Wanted};
use crate::entity::event::Event;
use crate::entity::event_id::EventId;

/// The stream of the readers, and the dead stream of the reader that a command names.
pub trait Stream {
    /// The last entry that exists. Cheap: asked at each call.
    fn last(&mut self) -> Option<EventId>;

    /// What XINFO tells; zeros if there is no stream. Expensive: asked when it matters. If the server does not tell,
    /// the command is refused, with the server's own error.
    fn info(&mut self) -> Result<StreamInfo, Refusal>;

    /// The last entry that exists up to this id, and whether it is an event.
    fn last_up_to(&mut self, id: EventId) -> Option<(EventId, bool)>;

    /// Shows the entries behind an id, in order, until `visit` says [`Verdict::Stop`]. What it says of each
    /// is final: an entry with [`Verdict::Give`] belongs to the reply.
    fn scan(&mut self, after: EventId, visit: &mut dyn FnMut(&dyn Entry) -> Verdict);

    /// Shows one entry; false if it is not there.
    fn look_up(&mut self, place: Place, visit: &mut dyn FnMut(&dyn Entry) -> Verdict) -> bool;

    /// Shows all entries of the dead stream, from the first, until `visit` returns false.
    fn scan_dead(&mut self, visit: &mut dyn FnMut(&dyn DeadEntry) -> bool);

    /// Whether the user may write and delete in the dead stream. Asked before the first change that needs it.
    fn may_change_dead(&mut self) -> bool;

    /// Copies the entry at `place` to the end of the dead stream, with its own fields and those of the
    /// death.
    fn bury(&mut self, place: Place, death: &Death) -> Burial;

    /// Deletes an entry of the dead stream, if it is there.
    fn unbury(&mut self, dead: EventId);

    /// Whether a place that [`Stream::read_snapshots`] gave still means something. The beginning, which is empty, always
    /// does.
    fn knows(&mut self, place: &[u8]) -> bool;

    /// Gives those of about `count` stored entities of a declaration that are wanted, from a place on. `None` if they
    /// cannot be read, as the declaration is now.
    fn read_snapshots(
        &mut self,
        declaration: &[u8],
        place: &[u8],
        count: u32,
        wanted: &Wanted,
    ) -> Option<Snapshots>;
}

/// What came of an attempt to bury an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burial {
    /// This is its entry in the dead stream.
    Buried(EventId),
    /// There is no entry at that place.
    Gone,
    /// The dead stream took no entry.
    Refused,
}

/// An entry as it is shown: decoded at most once, when it is first asked for more than its id.
pub trait Entry {
    /// Its id in the stream where it is.
    fn id(&self) -> EventId;
    /// Whether it is an event of the module.
    fn is_event(&self) -> bool;
    /// [`Filter::takes`] of its event.
    fn passes(&self, filter: &Filter) -> bool;
    /// [`Shard::takes`] of its event.
    fn is_of(&self, shard: Shard) -> bool;
    /// [`Order::key`] of its event.
    fn key(&self, order: &Order, seed: Seed) -> u64;
    /// [`Selector::takes`] of its event.
    fn is_selected(&self, selector: &Selector, order: &Order) -> bool;
}

/// An entry of a dead stream.
pub trait DeadEntry: Entry {
    /// What its `dead-…` fields say, if it has them.
    fn origin(&self) -> Option<Origin<'_>>;
}

/// Where a dead entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'e> {
    /// `dead-id`: its id in its own stream.
    pub id: EventId,
    /// Whether `dead-stream` is the stream of these readers.
    pub is_ours: bool,
    /// `dead-reader`: the name of the group or cursor that gave up.
    pub reader: &'e [u8],
}

/// An entry whose event is decoded already. It implements [`Entry`] by the domain's functions.
pub struct Decoded<'e, 'd> {
    /// The entry's id.
    pub id: EventId,
    /// Its event, if it is one.
    pub event: Option<&'e Event<'d>>,
}

impl Entry for Decoded<'_, '_> {
    fn id(&self) -> EventId {
        self.id
    }

    fn is_event(&self) -> bool {
        self.event.is_some()
    }

    fn passes(&self, filter: &Filter) -> bool {
        filter.takes(self.event)
    }

    fn is_of(&self, shard: Shard) -> bool {
        shard.takes(self.event)
    }

    fn key(&self, order: &Order, seed: Seed) -> u64 {
        order.key(seed, self.event)
    }

    fn is_selected(&self, selector: &Selector, order: &Order) -> bool {
        selector.takes(order, self.event)
    }
}

/// Which dead events REDRIVE and DISCARD mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// All of the reader's.
    All,
    /// Those of an entity: name and id.
    Entity(Vec<u8>, Vec<u8>),
    /// Those of a key; for ORDER META alone.
    Key(Vec<u8>),
    /// Those with these original ids.
    Ids(Vec<EventId>),
}

impl Selector {
    /// Whether an event is meant, as far as it tells. Ids are compared elsewhere.
    pub fn takes(&self, order: &Order, event: Option<&Event>) -> bool {
        match self {
            Selector::All | Selector::Ids(_) => true,
            Selector::Entity(name, id) => {
                event.is_some_and(|event| *event.entity == **name && *event.id == **id)
            }
            Selector::Key(value) => order.meta_value(event) == Some(value),
        }
    }
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the stream.
    Stream(EventId),
    /// A redriven event: in the dead stream, as `dead`; it is given with its original id.
    Dead {
        /// Its id in the stream that it came from.
        id: EventId,
        /// Its entry in the dead stream.
        dead: EventId,
    },
}

/// What becomes of an entry that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes into the reply.
    Give(Delivery),
    /// It does not.
    Pass,
    /// It does not, and nothing more is wanted. For a scan it counts as not shown.
    Stop,
}

/// What a reply says of an event besides the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Under which id it is given, if not the entry's own (redriven events).
    pub id: Option<EventId>,
    /// How often it was delivered, this time included; 0 for cursors and READ.
    pub deliveries: u16,
    /// How often it failed.
    pub failures: u32,
}

/// What XINFO STREAM tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamInfo {
    /// The last id that was given.
    pub last: EventId,
    /// `entries-added`.
    pub added: u64,
    /// How many entries there are.
    pub length: u64,
}

impl StreamInfo {
    /// How many entries are gone.
    pub fn lost(self) -> u64 {
        self.added.saturating_sub(self.length)
    }
}

/// The circumstances of a death: the `dead-…` fields, of which the module adds `dead-stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// `dead-id`.
    pub id: EventId,
    /// `dead-reader`.
    pub reader: Vec<u8>,
    /// `dead-consumer`: who failed last, or went silent; empty for cursors.
    pub consumer: Vec<u8>,
    /// `dead-error`.
    pub error: Vec<u8>,
    /// `dead-deliveries`.
    pub deliveries: u16,
    /// `dead-failures`.
    pub failures: u32,
    /// `dead-first`: ms of the first failure, or of the end of the last delivery.
    pub first_ms: u64,
    /// `dead-last`: ms of the last failure or silence.
    pub last_ms: u64,
}
