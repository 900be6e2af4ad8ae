use super::consume::{reply_position, when_to_look};
use super::events::Events;
use super::syntax::{BLOCK, COUNT, FORM, MIN_AGE, SHARD, WHERE};
use crate::redis::reply::Reply;
use crate::redis::{clock, flags};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::server::rights::Rights;
use crate::server::waiting::{self, Await};
use crate::store::cluster;
use crate::store::source::{Giver, Source};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::read::Request;
use dirty_streams_core::reading::{self, Followed, Position, Prospect, Start, Wake};
use dirty_streams_core::syntax::{Arg, key, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.READ stream FROM start [SHARD index count] [MINAGE ms] [COUNT n] [BLOCK ms] [RAW|JSON]
///     [WHERE filter [filter …]]
///
/// start:   0, $, a position, an event id, or a time in ms
/// filter:  ENTITY name | ID n id [id …] | OPS ops | FIELDS n field [field …] | META name value
/// ```
///
/// Reads events from a position that the caller keeps. Replies as DIRTY.CONSUME does for a cursor.
pub struct Read;

impl Command for Read {
    const NAME: &'static CStr = c"dirty.read";
    const SUMMARY: &'static CStr =
        c"Reads events of a stream from a position that the caller keeps.";
    const COMPLEXITY: &'static CStr = c"O(N) for N events given or passed over.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        text(c"start").after(c"FROM"),
        SHARD,
        MIN_AGE,
        COUNT,
        BLOCK,
        FORM,
        WHERE,
    ];
    const FLAGS: &'static CStr = c"readonly blocking";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(2);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args), &config::limits())?;
        let events = Events::new(call.reply(), request.batch.form);
        let count = request.batch.count;
        let block = request.batch.block.filter(|_| flags::may_block(call.ctx));
        let looked_at = waiting::looked_at(block.is_some());
        let from = request.from;
        let (followed, due_ms, events) =
            read(call, &request, from, count, true, looked_at, events)?;
        match block.filter(|_| followed.is_empty()) {
            None => {
                reply_position(events, &followed);
                Ok(())
            }
            Some(timeout_ms) => {
                let awaited = Box::new(WaitingRead {
                    request,
                    position: followed.position,
                    more: followed.more,
                });
                let due_ms = when_to_look(followed.more, due_ms);
                waiting::wait(call, None, timeout_ms, due_ms, awaited)
            }
        }
    }
}

fn read<G: Giver>(
    call: &Call,
    request: &Request,
    from: Start,
    count: u32,
    is_first: bool,
    looked_at: u32,
    giver: G,
) -> Result<(Followed, Option<u64>, G), Error> {
    // It writes to no dead stream.
    let may = |_, _: &[u8]| Ok(());
    let mut source = Source::new(call.ctx, &call.key, &may, giver);
    source.open()?;
    if source.is_missing() {
        source.elsewhere(|_| cluster::check_missing(call.ctx, &call.key, &call.key))?;
    }
    let read = reading::Read {
        from,
        shard: request.shard,
        min_age_ms: request.min_age_ms,
        filter: &request.filter,
        count,
        looked_at,
        // Where a call that waits goes on was looked at before.
        is_primary: is_first && flags::is_primary(call.ctx),
    };
    let read = read.read(clock::now_ms(), &mut source);
    let (followed, due_ms) = read.map_err(|refusal| source.refused(refusal))?;
    Ok((followed, due_ms, source.giver))
}

/// A call that waits.
struct WaitingRead {
    request: Request,
    /// It has read, or passed over, all up to here.
    position: Position,
    /// It has yet to look at what is behind that.
    more: bool,
}

impl WaitingRead {
    fn from(&self) -> Start {
        Start::After(self.position.id)
    }
}

impl Await for WaitingRead {
    fn prospect(&mut self, call: &Call) -> Result<Prospect, Error> {
        let looked_at = waiting::LOOKED_AT;
        let (followed, due_ms, ()) =
            read(call, &self.request, self.from(), 1, false, looked_at, ())?;
        if !followed.is_empty() {
            return Ok(Prospect::Some);
        }
        self.position = followed.position;
        self.more = followed.more;
        Ok(Prospect::None(when_to_look(self.more, due_ms)))
    }

    fn serve(&mut self, call: &Call) -> Result<(), Error> {
        Rights::of(call).check_still::<Read>(call)?;
        let batch = self.request.batch;
        let events = Events::new(call.reply(), batch.form);
        let count = batch.count;
        let looked_at = waiting::LOOKED_AT;
        let (followed, _, events) = read(
            call,
            &self.request,
            self.from(),
            count,
            false,
            looked_at,
            events,
        )?;
        reply_position(events, &followed);
        Ok(())
    }

    fn give_up(&mut self, reply: Reply) {
        let followed = Followed {
            given: 0,
            missed: Some(0),
            more: self.more,
            position: self.position.clone(),
            from: self.position.id,
            phase: None,
        };
        reply_position(Events::new(reply, self.request.batch.form), &followed);
    }

    fn reset(&mut self, _: &Call) {}

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
