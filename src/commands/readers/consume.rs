use super::acting::act_and_give;
use super::events::{Events, reply_missed, reply_more, reply_not_held};
use super::syntax::{ACK_IDS, BLOCK, COUNT, CURSOR, FORM, GROUP};
use crate::redis::flags;
use crate::redis::reply::{Reply, Token};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::server::rights::Rights;
use crate::server::waiting::{self, Await};
use crate::store::readers::Seat;
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::consume::{Reader, Request};
use dirty_streams_core::reading::requests::shared::{Batch, Form};
use dirty_streams_core::reading::{
    Consume as ConsumeCall, Consumed, Follow, Followed, Kind, Outcome, Position, Prospect, Readers,
    Wake,
};
use dirty_streams_core::syntax::{Arg, block, flag, key, one_of, option, text};
use std::ffi::CStr;
use std::sync::Arc;

/// ```text
/// DIRTY.CONSUME stream GROUP group consumer [ACK n id [id …]] [PENDING] [COUNT n] [BLOCK ms] [RAW|JSON]
/// DIRTY.CONSUME stream CURSOR name [ACK position] [COUNT n] [BLOCK ms] [RAW|JSON]
/// ```
///
/// First ACK; then for a group what the consumer held (PENDING), what is due, new events; at most COUNT (100) together.
/// With nothing to give BLOCK waits, except in MULTI and scripts. Replies a map of `events`, `missed`, `more`, and
/// `not-held` for a group or `position` for a cursor.
pub struct Consume;

impl Command for Consume {
    const NAME: &'static CStr = c"dirty.consume";
    const SUMMARY: &'static CStr =
        c"Acknowledges events of a stream and reads the next, as a group or cursor.";
    const COMPLEXITY: &'static CStr =
        c"O(A+N) for A events acknowledged and N given or passed over.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        one_of(
            c"reader",
            &[
                block(
                    c"as-group",
                    &[
                        GROUP,
                        text(c"consumer"),
                        ACK_IDS,
                        flag(c"pending", c"PENDING"),
                        COUNT,
                        BLOCK,
                        FORM,
                    ],
                ),
                block(
                    c"as-cursor",
                    &[
                        CURSOR,
                        option(c"ACK", text(c"position")),
                        COUNT,
                        BLOCK,
                        FORM,
                    ],
                ),
            ],
        ),
    ];
    const FLAGS: &'static CStr = c"write blocking";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(2);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args))?;
        let Batch { count, block, form } = request.batch;
        let block = block.filter(|_| flags::may_block(call.ctx));
        match request.reader {
            Reader::Group {
                group,
                consumer,
                ack,
                pending,
            } => {
                let consume = ConsumeCall {
                    group,
                    consumer,
                    ack: &ack,
                    pending,
                    count,
                };
                let (outcome, events) = consume_group(call, &consume, form)?;
                let Consumed { more, .. } = outcome.reply;
                match block.filter(|_| outcome.reply.is_empty() && !more) {
                    None => reply_group(events, &outcome.reply),
                    Some(timeout_ms) => {
                        let group = waiting::name_of(call, group);
                        let consumer = consumer.into();
                        let awaited = Box::new(WaitingGroup {
                            seat: Seat::take(call.ctx, &call.key, &group, &consumer)?,
                            group: Arc::clone(&group),
                            consumer,
                            count,
                            form,
                        });
                        waiting::wait(call, Some(group), timeout_ms, outcome.due_ms, awaited)?;
                    }
                }
            }
            Reader::Cursor { name, ack } => {
                let looked_at = waiting::looked_at(block.is_some());
                let (outcome, events) =
                    follow(call, name, ack.as_ref(), None, (count, form), looked_at)?;
                let followed = &outcome.reply;
                match block.filter(|_| followed.is_empty()) {
                    None => reply_position(events, followed),
                    Some(timeout_ms) => {
                        let name = waiting::name_of(call, name);
                        let awaited = Box::new(WaitingCursor {
                            name: Arc::clone(&name),
                            count,
                            form,
                            passed: followed.position.clone(),
                            more: followed.more,
                        });
                        let due_ms = when_to_look(followed.more, outcome.due_ms);
                        waiting::wait(call, Some(name), timeout_ms, due_ms, awaited)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn consume_group<'c>(
    call: &Call<'c>,
    consume: &ConsumeCall,
    form: Form,
) -> Result<(Outcome<Consumed>, Events<'c>), Error> {
    let events = Events::new(call.reply(), form);
    let limits = config::reading_limits();
    act_and_give(call, consume.group, events, |readers, now_ms, source| {
        readers.consume(consume, limits, now_ms, source)
    })
}

fn reply_group(events: Events, consumed: &Consumed) {
    let reply = events.end();
    reply_missed(reply, consumed.missed);
    reply_more(reply, consumed.more);
    reply_not_held(reply, &consumed.not_held);
}

fn follow<'c>(
    call: &Call<'c>,
    cursor: &[u8],
    ack: Option<&Position>,
    passed: Option<&Position>,
    (count, form): (u32, Form),
    looked_at: u32,
) -> Result<(Outcome<Followed>, Events<'c>), Error> {
    let events = Events::open(call.reply(), form);
    let follow = Follow {
        cursor,
        ack,
        count,
        passed,
        is_primary: flags::is_primary(call.ctx),
    };
    act_and_give(call, cursor, events, |readers, now_ms, source| {
        readers.follow(&follow, looked_at, now_ms, source)
    })
}

/// When a call that waits looks again without anybody's doing: one that has not yet seen the stream's end does at once.
pub fn when_to_look(more: bool, due_ms: Option<u64>) -> Option<u64> {
    match more {
        true => Some(0),
        false => due_ms,
    }
}

/// The reply of a cursor, and of READ.
pub fn reply_position(events: Events, followed: &Followed) {
    let pairs = followed
        .phase
        .map_or(0, |told| if told.begins { 3 } else { 2 });
    events.end_with(pairs, |reply| {
        reply_missed(reply, followed.missed);
        reply_more(reply, followed.more);
        reply.token(Token::Position);
        reply.bytes(followed.position.text());
        if let Some(told) = followed.phase {
            reply.token(Token::Phase);
            reply.status(if told.is_over { c"stream" } else { c"snapshot" });
            reply.token(Token::Scanned);
            reply.number(Some(told.scanned));
            if told.begins {
                reply.token(Token::Begin);
                reply.boolean(true);
            }
        }
    });
}

/// A consumer of a group that waits.
struct WaitingGroup {
    group: Arc<[u8]>,
    consumer: Arc<[u8]>,
    count: u32,
    form: Form,
    seat: Seat,
}

impl WaitingGroup {
    fn call(&self) -> ConsumeCall<'_> {
        ConsumeCall {
            group: &self.group,
            consumer: &self.consumer,
            ack: &[],
            pending: false,
            count: self.count,
        }
    }
}

impl Await for WaitingGroup {
    fn prospect(&mut self, call: &Call) -> Result<Prospect, Error> {
        let limits = config::reading_limits();
        super::acting::look(call, Kind::Group, &self.group, |readers, now_ms, source| {
            readers.prospect(&self.call(), limits, now_ms, source)
        })
    }

    fn serve(&mut self, call: &Call) -> Result<(), Error> {
        Rights::of(call).check_still::<Consume>(call)?;
        let (outcome, events) = consume_group(call, &self.call(), self.form)?;
        reply_group(events, &outcome.reply);
        Ok(())
    }

    fn give_up(&mut self, reply: Reply) {
        let consumed = Consumed {
            missed: Some(0),
            ..Consumed::default()
        };
        reply_group(Events::new(reply, self.form), &consumed);
    }

    fn reset(&mut self, call: &Call) {
        self.seat.take_again(call.ctx, &call.key);
    }

    fn takes(&self) -> bool {
        true
    }

    fn is_looking(&self) -> bool {
        false
    }

    fn may_get(&mut self) -> bool {
        let may_get =
            |readers: &mut Readers, now_ms| readers.may_get(&self.group, &self.consumer, now_ms);
        self.seat.look(may_get).unwrap_or(true)
    }

    fn share(&self, most: u32) -> (u32, u32) {
        let ready = |readers: &mut Readers, now_ms| readers.ready(&self.group, now_ms, most);
        (self.seat.look(ready).unwrap_or(0), self.count)
    }

    fn consumer(&self) -> Option<&[u8]> {
        Some(&self.consumer)
    }

    fn end(&mut self) -> Wake {
        self.seat.leave()
    }
}

/// A reader of a cursor that waits.
struct WaitingCursor {
    name: Arc<[u8]>,
    count: u32,
    form: Form,
    /// It has looked at everything up to here, and nothing was for it.
    passed: Position,
    /// It has yet to look at what is behind that.
    more: bool,
}

impl Await for WaitingCursor {
    fn prospect(&mut self, call: &Call) -> Result<Prospect, Error> {
        let follow = Follow {
            cursor: &self.name,
            ack: None,
            count: 1,
            passed: Some(&self.passed),
            is_primary: flags::is_primary(call.ctx),
        };
        let outcome =
            super::acting::look(call, Kind::Cursor, &self.name, |readers, now_ms, source| {
                readers.follow(&follow, waiting::LOOKED_AT, now_ms, source)
            })?;
        if !outcome.reply.is_empty() {
            return Ok(Prospect::Some);
        }
        self.passed = outcome.reply.position;
        self.more = outcome.reply.more;
        Ok(Prospect::None(when_to_look(self.more, outcome.due_ms)))
    }

    fn serve(&mut self, call: &Call) -> Result<(), Error> {
        Rights::of(call).check_still::<Consume>(call)?;
        let passed = Some(&self.passed);
        let batch = (self.count, self.form);
        let looked_at = waiting::LOOKED_AT;
        let (outcome, events) = follow(call, &self.name, None, passed, batch, looked_at)?;
        reply_position(events, &outcome.reply);
        Ok(())
    }

    fn give_up(&mut self, reply: Reply) {
        let followed = Followed {
            given: 0,
            missed: Some(0),
            more: self.more,
            position: self.passed.clone(),
            from: self.passed.id,
            phase: None,
        };
        reply_position(Events::new(reply, self.form), &followed);
    }

    fn reset(&mut self, _: &Call) {
        self.passed.epoch = 0;
    }

    fn takes(&self) -> bool {
        false
    }

    fn is_looking(&self) -> bool {
        self.more
    }

    fn may_get(&mut self) -> bool {
        true
    }

    fn share(&self, most: u32) -> (u32, u32) {
        (most, 0)
    }

    fn consumer(&self) -> Option<&[u8]> {
        None
    }

    fn end(&mut self) -> Wake {
        Wake::None
    }
}
