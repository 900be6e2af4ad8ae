//! What calls that wait have learned of a stream, for one another. Volatile: in no digest, delta or encoding.

use super::op::Op;
use crate::entity::event_id::EventId;

/// How far those that wait for a group have looked beyond its position, and found nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// WHERE rejects everything up to here.
    passed: EventId,
    /// Everything up to here is rejected, or waits for events of its key.
    looked: EventId,
    /// How many of those wait for their key.
    pub taken: u32,
}

impl Glance {
    /// Where to look on.
    pub fn from(&self, position: EventId) -> EventId {
        position.max(self.passed).max(self.looked)
    }

    /// An entry that WHERE rejects.
    pub fn reject(&mut self, id: EventId) {
        match self.taken {
            0 => self.passed = id,
            _ => self.looked = id,
        }
    }

    /// An entry whose key is taken.
    pub fn take(&mut self, id: EventId) {
        self.looked = id;
        self.taken = self.taken.saturating_add(1);
    }

    /// The reader changes: any change may free a key, some may change what WHERE rejects or where the reader stands.
    pub fn forget(&mut self, op: &Op) {
        let passed = match op {
            Op::Set { .. } | Op::Seek { .. } => EventId::default(),
            _ => self.passed,
        };
        *self = Glance {
            passed,
            ..Glance::default()
        };
    }
}
