//! `ACK` of a flush: events that are acknowledged with it, as one unit.

use crate::redis::keys;
use crate::server::command::Call;
use crate::server::rights::Rights;
use crate::server::waiting;
use crate::store::cluster;
use crate::store::readers::{self, Acted};
use crate::store::source::{May, Source};
use crate::store::writes::Writes;
use dirty_streams_core::error::Error;
use dirty_streams_core::flush::Ack;
use dirty_streams_core::reading::{Kind, Refusal, Wake};
use redis_module::RedisString;

/// Refuses unless the consumer holds all of the events. It is asked before the flush is looked at: a client that sends a
/// flush again must hear that it is done, not that its entities have changed since.
pub fn check(call: &Call, ack: &Ack) -> Result<(), Error> {
    let stream = keys::string(ack.stream);
    cluster::check_key(call.ctx, &call.key, &stream)?;
    let held = readers::look(call.ctx, &stream, |readers, now_ms| {
        readers.check_held(ack.group, ack.consumer, &ack.ids, now_ms)
    })?;
    let no_reader = || Err(Refusal::NoReader(Kind::Group, ack.group.to_vec()));
    let held = held.unwrap_or_else(no_reader);
    held.map_err(|refusal| refusal.error(&stream, b""))
}

/// Acknowledges the events while the flush is written, which nothing can refuse any more. `write` gets the writes of both.
pub fn with<'c, T>(
    call: &Call<'c>,
    ack: Option<&Ack>,
    write: impl FnOnce() -> (Writes<'c>, T),
) -> Result<(Writes<'c>, T), Error> {
    let Some(ack) = ack else {
        return Ok(write());
    };
    let stream = keys::string(ack.stream);
    let may = |access, key: &[u8]| Rights::of(call).check_named(call, access, key);
    // Retention knows of it already, and nobody else until the flush is written.
    let (acted, wake) = begin(call, ack, &stream, &may)?;
    let (mut writes, written) = write();
    acted.end(&mut writes);
    waiting::wake(call.ctx, &stream, ack.group, wake.0, wake.1);
    Ok((writes, written))
}

fn begin<'s>(
    call: &'s Call,
    ack: &Ack,
    stream: &'s RedisString,
    may: May<'s>,
) -> Result<(Acted<'s>, (Wake, Option<u64>)), Error> {
    let source = Source::new(call.ctx, stream, may, ());
    let (done, acted) = readers::begin(source, ack.group, call.ctx, |readers, now_ms, source| {
        readers.ack_all(ack.group, ack.consumer, &ack.ids, now_ms, source)
    })?;
    Ok((acted, (done.outcome.wake, done.next_due_ms)))
}
