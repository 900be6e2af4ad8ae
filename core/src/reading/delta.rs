//! A delta: what one command changed, as bytes, and back to ops. See [`Op`] for the table.
//!
//! A delta is the byte [`VERSION`] and ops. Neighbouring ops of one kind and the same parameters are one
//! run: an event that was delivered or acknowledged takes two or three bytes.

use super::lane::{Failure, Standing};
use super::op::{End, Op};
use super::pending::{Loaded, Parked};
use super::reader::Counter;
use super::settings::Kind;
use super::settings_wire::{put_settings, take_settings};
use super::slab::NIL;
use super::snapshot::{Phase, Scan};
use super::wire::{Bytes, put_bytes, put_difference, put_id, put_number};
use crate::entity::event_id::EventId;
use std::sync::Arc;

/// The first byte of a delta.
pub const VERSION: u8 = 1;

/// Ops on their way to bytes.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// The run that is open: its tag and parameters, how many items, and their bytes.
    head: Vec<u8>,
    n: u64,
    items: Vec<u8>,
    next_head: Vec<u8>,
    base: Base,
}

/// What differences are against.
#[derive(Clone, Copy, Debug, Default)]
struct Base {
    id: EventId,
    at: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            out: vec![VERSION],
            head: Vec::new(),
            n: 0,
            items: Vec::with_capacity(256),
            next_head: Vec::new(),
            base: Base::default(),
        }
    }
}

impl Writer {
    /// How many bytes there are so far.
    pub fn len(&self) -> usize {
        let run = self.head.len().saturating_add(self.items.len());
        self.out.len().saturating_add(run).saturating_add(10)
    }

    /// The bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_run();
        self.out
    }

    fn end_run(&mut self) {
        if self.n > 0 {
            self.out.append(&mut self.head);
            put_number(&mut self.out, self.n);
            self.out.append(&mut self.items);
            self.n = 0;
        }
    }

    fn id(&mut self, id: EventId) {
        put_id(&mut self.out, self.base.id, id);
        self.base.id = id;
    }

    fn item(&mut self, head: &[u8], id: EventId) {
        if self.n == 0 || self.head != head {
            self.end_run();
            self.head.clear();
            self.head.extend_from_slice(head);
        }
        self.n = self.n.saturating_add(1);
        put_id(&mut self.items, self.base.id, id);
        self.base.id = id;
    }

    /// Adds an op. `position` is that of the reader that the op selects.
    pub fn push(&mut self, op: &Op, position: EventId) {
        // Kept, since most ops are items of runs.
        let mut head = std::mem::take(&mut self.next_head);
        head.clear();
        let is_item = self.push_item(op, &mut head);
        self.next_head = head;
        if !is_item {
            self.end_run();
            self.push_single(op, position);
        }
    }

    /// Adds the op to a run, if it is an item of one.
    fn push_item(&mut self, op: &Op, head: &mut Vec<u8>) -> bool {
        match op {
            Op::Finish { id, end } => self.item(&[32, *end as u8], *id),
            Op::Give {
                consumer,
                id,
                alone,
            } => {
                head.push(if *alone { 34 } else { 33 });
                put_number(head, (*consumer).into());
                self.item(head, *id);
            }
            Op::Deliver { consumer, id, key } => {
                head.push(if *key == 0 { 35 } else { 36 });
                put_number(head, (*consumer).into());
                self.item(head, *id);
                if *key != 0 {
                    self.items.extend_from_slice(&key.to_le_bytes());
                }
            }
            Op::Queue { id, key } => {
                self.item(&[37], *id);
                self.items.extend_from_slice(&key.to_le_bytes());
            }
            Op::Silence(id) => self.item(&[38], *id),
            Op::Renew(id) => self.item(&[39], *id),
            Op::Load(loaded) => {
                head.extend([40, loaded.standing as u8]);
                put_number(head, loaded.holder.into());
                head.push(u8::from(loaded.key != 0));
                self.item(head, loaded.id);
                put_number(&mut self.items, loaded.deliveries.into());
                self.items.push(loaded.flags);
                put_difference(&mut self.items, self.base.at, loaded.at);
                self.base.at = loaded.at;
                if loaded.key != 0 {
                    self.items.extend_from_slice(&loaded.key.to_le_bytes());
                }
            }
            _ => return false,
        }
        true
    }

    fn push_single(&mut self, op: &Op, position: EventId) {
        let zero = EventId::default();
        let out = &mut self.out;
        match op {
            Op::Now(ms) => {
                out.push(0);
                put_number(out, *ms);
            }
            Op::Select(number) => {
                out.push(1);
                put_number(out, (*number).into());
                self.base = Base {
                    id: position,
                    at: 0,
                };
            }
            Op::Seen { last, added } | Op::BegunAgain { last, added } => {
                out.push(if matches!(op, Op::Seen { .. }) { 2 } else { 3 });
                put_id(out, zero, *last);
                put_number(out, *added);
            }
            Op::Make {
                number,
                kind,
                name,
                position,
                epoch,
                seed,
            } => {
                out.push(4);
                put_number(out, (*number).into());
                out.push(u8::from(*kind == Kind::Cursor));
                put_bytes(out, name);
                put_id(out, zero, *position);
                put_number(out, *epoch);
                out.extend_from_slice(&seed.0.to_le_bytes());
                out.extend_from_slice(&seed.1.to_le_bytes());
                self.base = Base::default();
            }
            Op::Set { settings, revision } => {
                out.push(5);
                put_settings(out, settings);
                out.push(u8::from(revision.is_some()));
                put_number(out, revision.unwrap_or(0));
            }
            Op::Forget => out.push(6),
            Op::Position { id, rejected } => {
                out.push(7);
                self.id(*id);
                put_number(&mut self.out, *rejected);
            }
            Op::Seek { id, epoch } => {
                out.push(8);
                self.id(*id);
                put_number(&mut self.out, *epoch);
            }
            Op::Pause(on) => out.extend([9, u8::from(*on)]),
            Op::Missed { n, unknown } => {
                out.push(10);
                put_number(out, *n);
                out.push(u8::from(*unknown));
            }
            Op::Count { counter, n } => {
                out.extend([11, *counter as u8]);
                put_number(out, *n);
            }
            Op::Consumer { number, name } => {
                out.push(12);
                put_number(out, (*number).into());
                put_bytes(out, name);
            }
            Op::ForgetConsumer(consumer) => self.consumer(13, *consumer),
            Op::Turn(turn) => {
                out.push(14);
                put_number(
                    out,
                    turn.map_or(0, |turn| u64::from(turn).saturating_add(1)),
                );
            }
            Op::SilenceAll(consumer) => self.consumer(15, *consumer),
            Op::LeaveAll(consumer) => self.consumer(16, *consumer),
            Op::RenewAll(consumer) => self.consumer(17, *consumer),
            Op::Clamp => out.push(18),
            Op::Fail {
                id,
                due_ms,
                consumer,
                message,
            } => {
                out.push(19);
                self.id(*id);
                put_number(&mut self.out, *due_ms);
                put_bytes(&mut self.out, consumer);
                put_bytes(&mut self.out, message);
            }
            Op::Die { id, parked } => {
                out.push(20);
                self.id(*id);
                self.out.push(u8::from(parked.is_some()));
                if let Some(dead) = parked {
                    put_id(&mut self.out, *id, *dead);
                }
            }
            Op::Due(id) => {
                out.push(21);
                self.id(*id);
            }
            Op::Redrive { id, key, dead } => {
                out.push(22);
                self.id(*id);
                self.out.extend_from_slice(&key.to_le_bytes());
                put_id(&mut self.out, *id, *dead);
            }
            Op::Unpark { key, id } => {
                out.push(23);
                out.extend_from_slice(&key.to_le_bytes());
                self.id(*id);
            }
            Op::Park { key, parked } => {
                out.push(24);
                out.extend_from_slice(&key.to_le_bytes());
                self.id(parked.id);
                put_id(&mut self.out, parked.id, parked.dead);
            }
            Op::Failure { id, failure } => {
                out.push(25);
                self.id(*id);
                let out = &mut self.out;
                put_number(out, failure.failures.into());
                put_number(out, failure.first_ms);
                put_number(out, failure.last_ms);
                put_number(out, failure.due_ms);
                put_bytes(out, &failure.consumer);
                put_bytes(out, &failure.message);
            }
            Op::Redriven { id, dead } => {
                out.push(26);
                self.id(*id);
                put_id(&mut self.out, *id, *dead);
            }
            Op::Next { reader, consumer } => {
                out.push(27);
                put_number(out, (*reader).into());
                put_number(
                    out,
                    consumer.map_or(0, |next| u64::from(next).saturating_add(1)),
                );
            }
            Op::Phase(phase) => {
                out.extend([28, u8::from(phase.is_some())]);
                if let Some(Phase { keys, at }) = phase.as_deref() {
                    put_number(out, u64::try_from(keys.len()).unwrap_or(0));
                    keys.iter().for_each(|key| put_bytes(out, key));
                    put_number(out, at.page);
                    put_number(out, at.key.into());
                    put_number(out, at.scanned);
                    put_bytes(out, &at.place);
                }
            }
            // Runs, which `push` has written.
            _ => debug_assert!(false, "{op:?} is no single op"),
        }
    }

    fn consumer(&mut self, tag: u8, consumer: u32) {
        self.out.push(tag);
        put_number(&mut self.out, consumer.into());
    }
}

/// A delta's bytes on their way to ops.
pub struct Parser<'a> {
    bytes: Bytes<'a>,
    base: Base,
    begun_again: bool,
}

impl<'a> Parser<'a> {
    /// Refuses another version.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        (bytes.byte()? == VERSION).then_some(Parser {
            bytes,
            base: Base::default(),
            begun_again: false,
        })
    }

    /// Shows the ops, one by one, until one is refused: a delta that comes to nothing takes no memory. `position`
    /// tells where a reader stands before the delta. `None` if one was refused, or makes no sense.
    pub fn walk(
        mut self,
        position: impl Fn(u32) -> EventId,
        visit: &mut impl FnMut(Op<'a>) -> Option<()>,
    ) -> Option<()> {
        while !self.bytes.is_empty() {
            match self.bytes.byte()? {
                tag @ 32.. => self.run(tag, visit)?,
                tag => {
                    let op = self.single(tag)?;
                    match &op {
                        Op::Select(number) => {
                            let at_start = EventId::default();
                            let id = match self.begun_again {
                                true => at_start,
                                false => position(*number),
                            };
                            self.base = Base { id, at: 0 };
                        }
                        Op::Make { .. } => self.base = Base::default(),
                        Op::BegunAgain { .. } => self.begun_again = true,
                        _ => (),
                    }
                    visit(op)?;
                }
            }
        }
        Some(())
    }

    fn id(&mut self) -> Option<EventId> {
        self.base.id = self.bytes.id(self.base.id)?;
        Some(self.base.id)
    }

    fn dead(&mut self) -> Option<EventId> {
        self.bytes.id(self.base.id)
    }

    fn single(&mut self, tag: u8) -> Option<Op<'a>> {
        let zero = EventId::default();
        Some(match tag {
            0 => Op::Now(self.bytes.number()?),
            1 => Op::Select(self.bytes.small()?),
            2 => Op::Seen {
                last: self.bytes.id(zero)?,
                added: self.bytes.number()?,
            },
            3 => Op::BegunAgain {
                last: self.bytes.id(zero)?,
                added: self.bytes.number()?,
            },
            4 => Op::Make {
                number: self.bytes.small().filter(|number| *number < NIL)?,
                kind: match self.bytes.flag()? {
                    true => Kind::Cursor,
                    false => Kind::Group,
                },
                name: self.bytes.bytes()?,
                position: self.bytes.id(zero)?,
                epoch: self.bytes.number()?,
                seed: (self.bytes.word()?, self.bytes.word()?),
            },
            5 => {
                let settings = Arc::new(take_settings(&mut self.bytes)?);
                let has_revision = self.bytes.flag()?;
                let revision = self.bytes.number()?;
                Op::Set {
                    settings,
                    revision: has_revision.then_some(revision),
                }
            }
            6 => Op::Forget,
            7 => Op::Position {
                id: self.id()?,
                rejected: self.bytes.number()?,
            },
            8 => Op::Seek {
                id: self.id()?,
                epoch: self.bytes.number()?,
            },
            9 => Op::Pause(self.bytes.flag()?),
            10 => Op::Missed {
                n: self.bytes.number()?,
                unknown: self.bytes.flag()?,
            },
            11 => Op::Count {
                counter: Counter::from_number(self.bytes.byte()?)?,
                n: self.bytes.number()?,
            },
            12 => Op::Consumer {
                number: self.bytes.small().filter(|number| *number < NIL)?,
                name: self.bytes.bytes()?,
            },
            13 => Op::ForgetConsumer(self.bytes.small()?),
            14 => Op::Turn(match self.bytes.number()?.checked_sub(1) {
                None => None,
                Some(turn) => Some(u32::try_from(turn).ok()?),
            }),
            15 => Op::SilenceAll(self.bytes.small()?),
            16 => Op::LeaveAll(self.bytes.small()?),
            17 => Op::RenewAll(self.bytes.small()?),
            18 => Op::Clamp,
            19 => Op::Fail {
                id: self.id()?,
                due_ms: self.bytes.number()?,
                consumer: self.bytes.bytes()?,
                message: self.message()?,
            },
            20 => Op::Die {
                id: self.id()?,
                parked: match self.bytes.flag()? {
                    true => Some(self.dead()?),
                    false => None,
                },
            },
            21 => Op::Due(self.id()?),
            22 => Op::Redrive {
                id: self.id()?,
                key: self.bytes.word()?,
                dead: self.dead()?,
            },
            23 => Op::Unpark {
                key: self.bytes.word()?,
                id: self.id()?,
            },
            24 => {
                let key = self.bytes.word().filter(|key| *key != 0)?;
                let id = self.id()?;
                let dead = self.dead()?;
                Op::Park {
                    key,
                    parked: Parked { id, dead },
                }
            }
            25 => Op::Failure {
                id: self.id()?,
                failure: Failure {
                    failures: self.bytes.small()?,
                    first_ms: self.bytes.number()?,
                    last_ms: self.bytes.number()?,
                    due_ms: self.bytes.number()?,
                    consumer: self.bytes.bytes()?.into(),
                    message: self.message()?.into(),
                },
            },
            26 => Op::Redriven {
                id: self.id()?,
                dead: self.dead()?,
            },
            27 => Op::Next {
                reader: self.bytes.small()?,
                consumer: match self.bytes.number()?.checked_sub(1) {
                    None => None,
                    Some(next) => Some(u32::try_from(next).ok()?),
                },
            },
            28 => Op::Phase(match self.bytes.flag()? {
                true => Some(Box::new(self.phase()?)),
                false => None,
            }),
            _ => return None,
        })
    }

    fn phase(&mut self) -> Option<Phase> {
        let n = self.bytes.number()?;
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        for _ in 0..n {
            let key = self.bytes.bytes()?;
            keys.push(Some(key).filter(|key| !key.is_empty())?.into());
        }
        let at = Scan {
            page: self.bytes.number()?,
            key: self.bytes.small()?,
            scanned: self.bytes.number()?,
            place: self.bytes.bytes()?.into(),
        };
        (!keys.is_empty()).then_some(Phase { keys, at })
    }

    fn message(&mut self) -> Option<&'a [u8]> {
        let message = self.bytes.bytes()?;
        (message.len() <= Failure::MESSAGE).then_some(message)
    }

    /// The items of a run. Each takes two bytes at least, so a count that lies ends with the bytes.
    fn run(&mut self, tag: u8, visit: &mut impl FnMut(Op<'a>) -> Option<()>) -> Option<()> {
        let end = match tag {
            32 => End::from_number(self.bytes.byte()?)?,
            _ => End::Dropped,
        };
        let standing = match tag {
            40 => Standing::from_number(self.bytes.byte()?)?,
            _ => Standing::Held,
        };
        let consumer = match tag {
            33..=36 | 40 => self.bytes.small()?,
            _ => NIL,
        };
        let with_keys = match tag {
            36 | 37 => true,
            40 => self.bytes.flag()?,
            _ => false,
        };
        for _ in 0..self.bytes.number()? {
            let id = self.id()?;
            let loaded = match tag {
                40 => {
                    let deliveries = self.bytes.small()?;
                    let flags = self.bytes.byte()?;
                    self.base.at = self.bytes.difference(self.base.at)?;
                    (deliveries, flags)
                }
                _ => (0, 0),
            };
            let key = match with_keys {
                true => self.bytes.word().filter(|key| *key != 0)?,
                false => 0,
            };
            visit(match tag {
                32 => Op::Finish { id, end },
                33 | 34 => Op::Give {
                    consumer,
                    id,
                    alone: tag == 34,
                },
                35 | 36 => Op::Deliver { consumer, id, key },
                37 => Op::Queue { id, key },
                38 => Op::Silence(id),
                39 => Op::Renew(id),
                40 => Op::Load(Loaded {
                    id,
                    key,
                    deliveries: loaded.0,
                    flags: loaded.1,
                    standing,
                    at: self.base.at,
                    holder: consumer,
                }),
                _ => return None,
            })?;
        }
        Some(())
    }
}
