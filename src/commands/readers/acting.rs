//! What the commands of readers have in common: they work on the readers of the call's stream, and wake others.

use crate::redis::keys;
use crate::server::command::{Call, Caller};
use crate::server::rights::Rights;
use crate::server::waiting;
use crate::store::readers;
use crate::store::source::{self, Giver, Source};
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::{Kind, Outcome, Readers, Refusal};

/// Lets the call work on the readers of its stream; `reader` is the one that it names.
pub fn act<R>(
    call: &Call,
    reader: &[u8],
    run: impl FnOnce(&mut Readers, u64, &mut Source<'_, ()>) -> Result<Outcome<R>, Refusal>,
) -> Result<R, Error> {
    act_and_give(call, reader, (), run).map(|(outcome, ())| outcome.reply)
}

/// The same, for a call that gives events.
pub fn act_and_give<R, G: Giver>(
    call: &Call,
    reader: &[u8],
    giver: G,
    run: impl FnOnce(&mut Readers, u64, &mut Source<'_, G>) -> Result<Outcome<R>, Refusal>,
) -> Result<(Outcome<R>, G), Error> {
    let may = |access, key: &[u8]| Rights::of(call).check_named(call, access, key);
    let mut source = Source::new(call.ctx, &call.key, &may, giver);
    source.set_woken(matches!(call.caller, Caller::Waiting(_)));
    let done = readers::act(source, reader, call.ctx, run)?;
    waiting::wake(
        call.ctx,
        &call.key,
        reader,
        done.outcome.wake,
        done.next_due_ms,
    );
    Ok((done.outcome, done.giver))
}

/// Refuses declarations whose snapshots cannot begin what the call's stream goes on with.
pub fn check_snapshots(call: &Call, keys: &[&[u8]]) -> Result<(), Error> {
    let may = |access, key: &[u8]| Rights::of(call).check_named(call, access, key);
    source::check(call.ctx, &call.key)?;
    let source = Source::new(call.ctx, &call.key, &may, ());
    let mut keys = keys.iter();
    keys.try_for_each(|key| source.check_snapshots(&keys::string(key)).map(drop))
}

/// Replies an array of ids.
pub fn reply_ids(call: &Call, ids: &[EventId]) {
    let reply = call.reply();
    reply.array(ids.len());
    for id in ids {
        reply.bytes(id.text());
    }
}

/// Whether the stream has a reader of this name.
pub fn has(call: &Call, name: &[u8]) -> Result<bool, Error> {
    let found = readers::look(call.ctx, &call.key, |readers, _| {
        readers.get(name).is_some()
    })?;
    Ok(found.unwrap_or(false))
}

/// Looks, on behalf of a call that waits, what its reader would find. Nothing is written or given.
pub fn look<R>(
    call: &Call,
    kind: Kind,
    reader: &[u8],
    run: impl FnOnce(&mut Readers, u64, &mut Source<'_, ()>) -> Result<R, Refusal>,
) -> Result<R, Error> {
    let may = |_, _: &[u8]| Ok(());
    let mut source = Source::new(call.ctx, &call.key, &may, ());
    let found = readers::look(call.ctx, &call.key, |readers, now_ms| {
        source.open()?;
        Ok(run(readers, now_ms, &mut source))
    })?;
    let found = found.transpose()?;
    let found = found.unwrap_or_else(|| Err(Refusal::NoReader(kind, reader.to_vec())));
    found.map_err(|refusal| source.refused(refusal))
}
