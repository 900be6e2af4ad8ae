//! Flushes carried out: planned, checked against their streams, applied, told.

use super::ack;
use crate::redis::clock;
use crate::redis::commands::Arguments;
use crate::redis::reply::Reply;
use crate::redis::{keys, others};
use crate::server::command::{Call, Command};
use crate::server::rights::Rights;
use crate::server::{config, stats};
use crate::store::snapshots::{self, SnapshotKeys, SnapshotReader};
use crate::store::streams::{self, Publisher};
use crate::store::writes::Writes;
use dirty_streams_core::encoding::event::Origin;
use dirty_streams_core::entity::declaration::Declaration;
use dirty_streams_core::error::Error;
use dirty_streams_core::flush::{self, Answer, Details, Outcome, Plan, Publication, Step, plan};
use redis_module::RedisString;

/// Where and when the events of this call arise.
pub fn origin<'c>(call: &'c Call) -> Origin<'c> {
    Origin {
        key: &call.key,
        database: keys::current_database(call.ctx),
        now_ms: clock::now_ms(),
        ..Origin::default()
    }
}

/// Carries out flushes as one unit, with what is acknowledged, and returns the outcome of each operation. The caller
/// notifies listeners, when nothing is left to write.
pub fn execute<'c, C: Command>(
    call: &Call<'c>,
    declaration: &Declaration,
    flushes: Vec<flush::Flush>,
    ack: Option<&flush::Ack>,
) -> Result<(Writes<'c>, Vec<Vec<Outcome>>), Error> {
    let ctx = call.ctx;
    let origin = origin(call);
    // To acknowledge opens other keys before the streams are written.
    let since = ack.is_none().then(others::Since::now);
    let mut snapshots = SnapshotReader::new(ctx, &call.key, declaration);
    let plan = plan(
        declaration,
        origin,
        config::limits(),
        flushes,
        &mut snapshots,
    )?;
    let publishers = prepare::<C>(call, declaration, &plan, origin, since)?;
    let keys = snapshots.into_keys();
    let (writes, outcomes) = ack::with(call, ack, || {
        apply(call, declaration, plan, keys, publishers, origin.now_ms)
    })?;
    stats::count(&stats::FLUSHES, outcomes.len());
    Ok((writes, outcomes))
}

/// The outcomes that flushes would have as one unit. Whatever would refuse them does so; nothing changes.
pub fn dry_run<C: Command>(
    call: &Call,
    declaration: &Declaration,
    flushes: Vec<flush::Flush>,
) -> Result<Vec<Vec<Outcome>>, Error> {
    let origin = origin(call);
    let mut snapshots = SnapshotReader::new(call.ctx, &call.key, declaration);
    let plan = plan(
        declaration,
        origin,
        config::limits(),
        flushes,
        &mut snapshots,
    )?;
    prepare::<C>(call, declaration, &plan, origin, None)?;
    let outcome = |step: Step| {
        let streams = step.publications.iter();
        let streams = streams.filter_map(|p| declaration.streams.get(p.stream));
        let events = streams.map(|stream| (stream.key.clone(), None));
        Outcome {
            effect: step.effect,
            details: step.changed.map(|changed| Details {
                changed,
                events: events.collect(),
            }),
        }
    };
    let flushes = plan.flushes.into_iter();
    Ok(flushes
        .map(|steps| steps.into_iter().map(outcome).collect())
        .collect())
}

/// The streams that get events, by index of the declaration, each found fit to take them.
///
/// A declaration lends its streams, but not the databases where they are: on servers that limit users to
/// some, the user who flushes must be allowed to do so there, too.
fn prepare<'d, 'c, C: Command>(
    call: &Call<'c>,
    declaration: &'d Declaration,
    plan: &Plan,
    origin: Origin,
    since: Option<others::Since>,
) -> Result<Vec<Option<Publisher<'d, 'c>>>, Error> {
    // How many events each is to take.
    let mut loads = vec![0usize; declaration.streams.len()];
    for publication in plan.steps().flat_map(|step| &step.publications) {
        if let Some(load) = loads.get_mut(publication.stream) {
            *load = load.saturating_add(1);
        }
    }
    // One of several could stay open while another is opened, which may have expired.
    let since = since.filter(|_| declaration.streams.len() == 1);
    let streams = declaration.streams.iter().zip(loads);
    streams
        .map(|(stream, events)| match events {
            0 => Ok(None),
            _ => {
                if !stream.is_in(origin.database) {
                    let database = stream.database_from(origin.database);
                    let rights = Rights::of(call);
                    rights.check_database(C::NAME, &call.key, database, &stream.key)?;
                }
                let publisher =
                    Publisher::prepare(call.ctx, &call.key, stream, origin.now_ms, events, since)?;
                Ok(Some(publisher))
            }
        })
        .collect()
}

/// Writes and publishes what was planned. Everything was looked at before, so nothing here fails.
fn apply<'c, 'd>(
    call: &Call<'c>,
    declaration: &'d Declaration,
    plan: Plan,
    mut snapshot_keys: SnapshotKeys,
    publishers: Vec<Option<Publisher<'d, 'c>>>,
    now_ms: u64,
) -> (Writes<'c>, Vec<Vec<Outcome>>) {
    let mut writes = Writes::new(call.ctx);
    // Closed before listeners hear of anything, also after a panic.
    let mut publishers = publishers;
    let mut arguments = Arguments::new(call.argv, call.args);
    // That of the last entry: streams that share one follow each other.
    let mut entry_args: Option<(usize, Vec<RedisString>)> = None;
    let mut outcome = |step: Step| {
        let key = snapshot_keys.take(step.id);
        arguments.pass(step.id);
        if let Some(write) = &step.write {
            if !write.is_of_fields() {
                // A key that is made or deleted lets other modules run.
                publishers.iter_mut().flatten().for_each(Publisher::close);
            }
            // An entity that comes again was loaded once.
            let key = key.unwrap_or_else(|| keys::string(&declaration.snapshot_key(step.id)));
            snapshots::write(&mut writes, &key, write, &mut arguments, now_ms);
        }
        let mut details = step.changed.map(|changed| Details {
            changed,
            events: Vec::new(),
        });
        for Publication { stream, entry } in step.publications {
            let publisher = publishers.get_mut(stream).and_then(Option::as_mut);
            let known = entry_args.take().filter(|(known, _)| *known == entry);
            let (_, args) = entry_args.insert(known.unwrap_or_else(|| {
                let entry_fields = plan.entries.get(entry);
                (
                    entry,
                    entry_fields.map_or_else(Vec::new, streams::entry_args),
                )
            }));
            if let Some(publisher) = publisher {
                let id = publisher.append(&mut writes, args, now_ms);
                if let (Some(details), Some(id)) = (&mut details, id) {
                    let stream = publisher.stream().to_vec();
                    details.events.push((stream, Some(id)));
                }
                stats::count(&stats::EVENTS, 1);
            }
        }
        stats::count_effect(step.effect);
        Outcome {
            effect: step.effect,
            details,
        }
    };
    let flushes = plan.flushes.into_iter();
    let outcomes = flushes
        .map(|steps| steps.into_iter().map(&mut outcome).collect())
        .collect();
    (writes, outcomes)
}

pub fn reply(reply: Reply, answer: &Answer) {
    let outcomes = match answer {
        Answer::Deferred => {
            reply.array(1);
            return reply.status(c"deferred");
        }
        Answer::Done(outcomes) => outcomes,
    };
    reply.array(outcomes.len());
    for Outcome { effect, details } in outcomes {
        let Some(Details { changed, events }) = details else {
            reply.status(effect.name());
            continue;
        };
        reply.array(3);
        reply.status(effect.name());
        reply.array(changed.len());
        changed.iter().for_each(|field| reply.bytes(field));
        reply.array(events.len().saturating_mul(2));
        for (stream, id) in events {
            reply.bytes(stream);
            match id {
                Some(id) => reply.bytes(id.text()),
                None => reply.null(),
            }
        }
    }
}
