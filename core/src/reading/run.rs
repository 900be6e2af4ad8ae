//! Running ops: on the primary as a command decides them, elsewhere as a delta brings them.

use super::glance::Glance;
use super::lane::Failure;
use super::op::{End, Op};
use super::reader::{Counter, Counters, Group, Reader, Role};
use super::readers::{Readers, SeenStream};
use super::settings::Kind;
use crate::entity::event_id::EventId;

/// Which reader ops are about, and when they happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct At {
    /// The selected reader's number.
    pub reader: u32,
    /// In ms.
    pub now_ms: u64,
}

impl Readers {
    /// Runs an op. Total: an op about something that is not there does nothing.
    pub(super) fn run(&mut self, at: &mut At, op: &Op) {
        match op {
            Op::Now(ms) => at.now_ms = *ms,
            Op::Select(number) => at.reader = *number,
            Op::Seen { last, added } => {
                self.seen = SeenStream {
                    last: *last,
                    added: *added,
                };
            }
            Op::BegunAgain { last, added } => {
                self.seen = SeenStream {
                    last: *last,
                    added: *added,
                };
                for reader in self.by_number.values_mut() {
                    reader.position = EventId::default();
                    reader.missed_unknown = true;
                    match &mut reader.role {
                        Role::Group(group) => {
                            group.pending.clear();
                            group.glance = Glance::default();
                        }
                        Role::Cursor { phase, .. } => {
                            if let Some(phase) = phase {
                                phase.at = phase.at.again();
                            }
                        }
                    }
                }
            }
            Op::Make {
                number,
                kind,
                name,
                position,
                epoch,
                seed,
            } => {
                at.reader = *number;
                let role = match kind {
                    Kind::Group => Role::Group(Box::default()),
                    Kind::Cursor => Role::Cursor {
                        epoch: *epoch,
                        phase: None,
                    },
                };
                let reader = Reader {
                    name: (*name).into(),
                    settings: Default::default(),
                    revision: None,
                    position: *position,
                    missed_unknown: false,
                    counters: Counters::default(),
                    seed: super::key_hash::Seed(seed.0, seed.1),
                    role,
                };
                self.by_number.insert(*number, Box::new(reader));
                self.by_name.insert((*name).into(), *number);
                self.next = self.next.max(number.saturating_add(1));
            }
            Op::Forget => {
                if let Some(reader) = self.by_number.remove(&at.reader) {
                    self.by_name.remove(&reader.name);
                }
            }
            Op::Next { reader, consumer } => {
                self.next = self.next.max(*reader);
                let group = self.reader_mut(at.reader).and_then(Reader::group_mut);
                if let (Some(group), Some(next)) = (group, consumer) {
                    let consumers = &mut group.pending.consumers;
                    consumers.next = consumers.next.max(*next);
                }
            }
            op => {
                if let Some(reader) = self.by_number.get_mut(&at.reader) {
                    reader.run(op, at.now_ms);
                }
            }
        }
    }
}

impl Reader {
    fn run(&mut self, op: &Op, now_ms: u64) {
        if let Role::Group(group) = &mut self.role {
            group.glance.forget(op);
        }
        match op {
            Op::Set { settings, revision } => {
                self.settings = settings.clone();
                self.revision = *revision;
            }
            Op::Position { id, rejected } => {
                self.position = *id;
                self.counters.add(Counter::Rejected, *rejected);
            }
            Op::Missed { n, unknown } => {
                self.counters.add(Counter::Missed, *n);
                self.missed_unknown = *unknown;
            }
            Op::Count { counter, n } => self.counters.add(*counter, *n),
            Op::Seek { id, epoch } => self.seek(*id, *epoch, now_ms),
            Op::Phase(now) => {
                if let Role::Cursor { phase, .. } = &mut self.role {
                    *phase = now.clone();
                }
            }
            op => {
                if let Role::Group(group) = &mut self.role {
                    group.run(op, now_ms, &mut self.counters);
                }
            }
        }
    }

    fn seek(&mut self, to: EventId, new_epoch: u64, now_ms: u64) {
        let from = std::mem::replace(&mut self.position, to);
        match &mut self.role {
            Role::Cursor { epoch, phase } => {
                *epoch = new_epoch;
                *phase = None;
            }
            Role::Group(group) if to < from => {
                let pending = &mut group.pending;
                pending.unpark_where(now_ms, |parked| parked.id > to);
                pending.retain(now_ms, |entry| entry.id <= to);
            }
            Role::Group(group) => group.pending.drop_waiting(to, now_ms),
        }
    }
}

impl Group {
    fn run(&mut self, op: &Op, now_ms: u64, counters: &mut Counters) {
        let pending = &mut self.pending;
        match op {
            Op::Pause(on) => self.paused = *on,
            Op::Consumer { number, name } => pending.consumers.add(*number, name),
            Op::ForgetConsumer(consumer) => {
                pending.forget_consumer(*consumer, now_ms);
                if self.turn == Some(*consumer) {
                    self.turn = None;
                }
            }
            Op::Turn(turn) => self.turn = *turn,
            Op::SilenceAll(consumer) => pending.silence_all(*consumer, now_ms),
            Op::LeaveAll(consumer) => pending.leave_all(*consumer, now_ms),
            Op::RenewAll(consumer) => pending.renew_all(*consumer, now_ms),
            Op::Clamp => pending.clamp(now_ms),
            Op::Fail {
                id,
                due_ms,
                consumer,
                message,
            } => {
                counters.add(Counter::Failed, 1);
                let before = pending.failure(*id);
                let failures = before.map_or(0, |failure| failure.failures);
                let failure = Failure {
                    failures: failures.saturating_add(1),
                    first_ms: before.map_or(now_ms, |failure| failure.first_ms),
                    last_ms: now_ms,
                    due_ms: *due_ms,
                    consumer: (*consumer).into(),
                    message: (*message).into(),
                };
                pending.fail(*id, failure, now_ms);
            }
            Op::Die { id, parked } => {
                counters.add(Counter::Died, 1);
                pending.die(*id, *parked, now_ms);
            }
            Op::Due(id) => pending.make_due(*id, now_ms),
            Op::Redrive { id, key, dead } => pending.redrive(*id, *dead, *key, now_ms),
            Op::Unpark { key, id } => pending.unpark(*key, *id, now_ms),
            Op::Park { key, parked } => pending.park(*key, *parked),
            Op::Failure { id, failure } => pending.set_failure(*id, failure.clone()),
            Op::Redriven { id, dead } => pending.set_redriven(*id, *dead),
            Op::Finish { id, end } => {
                match end {
                    End::Acknowledged => counters.add(Counter::Acknowledged, 1),
                    End::Rejected => counters.add(Counter::Rejected, 1),
                    End::Gone => counters.add(Counter::Missed, 1),
                    End::Dropped => (),
                }
                pending.finish(*id, now_ms);
            }
            Op::Give {
                consumer,
                id,
                alone,
            } => {
                counters.add(Counter::Delivered, 1);
                if pending.give(*id, *consumer, *alone, now_ms) {
                    counters.add(Counter::Redelivered, 1);
                }
            }
            Op::Deliver { consumer, id, key } => {
                counters.add(Counter::Delivered, 1);
                pending.deliver(*id, *key, *consumer, now_ms);
            }
            Op::Queue { id, key } => pending.insert(*id, *key, 0, now_ms),
            Op::Silence(id) => pending.silence(*id, now_ms),
            Op::Renew(id) => pending.renew(*id, now_ms),
            Op::Load(loaded) => pending.load(loaded),
            _ => (),
        }
    }
}
