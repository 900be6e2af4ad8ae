use crate::args::Args;
use crate::entity::declaration::Declaration;
use crate::entity::flush::{plan, Fields, Plan, Publication, Request};
use crate::error::{Error, Quoted};
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::snapshots::{self, Stored};
use crate::redis::streams::{self, Publisher};
use crate::redis::writes::Writes;
use crate::redis::{cluster, declarations, stats};
use redis_module::Context;
use std::ffi::CStr;

/// ```text
/// DIRTY.FLUSH key op [op …]
///
/// op:  SNAPSHOT id fields     the whole state: insert if new, else update
///      INSERT   id fields     EXISTS if there is a different one
///      UPDATE   id fields     only these fields; NOENTITY if there is none
///      DELETE   id            no change if there is none
///      TOUCH    id            publish an update without changes; NOENTITY if there is none
///      SEED     id fields     store the whole state and publish nothing
///
/// fields:  n field value [field value …] [NULL n field [field …]]
/// ```
///
/// One unit: everything is checked first, then everything is applied, or nothing is. Replies an array
/// with the effect of each op: `insert`, `update`, `delete`, `none`, `touch` or `seed`.
pub struct Flush;

impl Command for Flush {
    const NAME: &'static CStr = c"dirty.flush";
    const SUMMARY: &'static CStr = c"Stores what became of entities and publishes what changed.";
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::Write;
    const MIN_ARGS: usize = 1;

    fn run(call: &Call) -> Result<(), Error> {
        let ctx = call.ctx;
        let requests = parse(Args::new(call.args))?;
        let declaration = &*declarations::load(ctx, &call.key)?;
        cluster::check(ctx, &call.key, declaration)?;
        let plan = plan(declaration, requests, &mut Stored::new(ctx, declaration))?;
        let now_ms = streams::now_ms();
        let publishers = prepare(ctx, declaration, &plan, now_ms)?;
        apply(ctx, declaration, &plan, publishers, now_ms).notify();

        let reply = call.reply();
        reply.array(plan.steps.len());
        for step in &plan.steps {
            stats::count_effect(step.effect);
            reply.status(step.effect.name());
        }
        stats::count(&stats::FLUSHES, 1);
        Ok(())
    }
}

fn parse<'a>(mut args: Args<'a>) -> Result<Vec<(&'a [u8], Request<'a>)>, Error> {
    let mut requests = Vec::new();
    while !args.is_empty() {
        let request = if args.keyword("SNAPSHOT") {
            let id = args.next("SNAPSHOT", "an id")?;
            (id, Request::Snapshot(fields(&mut args, "SNAPSHOT")?))
        } else if args.keyword("INSERT") {
            let id = args.next("INSERT", "an id")?;
            (id, Request::Insert(fields(&mut args, "INSERT")?))
        } else if args.keyword("UPDATE") {
            let id = args.next("UPDATE", "an id")?;
            (id, Request::Update(fields(&mut args, "UPDATE")?))
        } else if args.keyword("DELETE") {
            (args.next("DELETE", "an id")?, Request::Delete)
        } else if args.keyword("TOUCH") {
            (args.next("TOUCH", "an id")?, Request::Touch)
        } else if args.keyword("SEED") {
            let id = args.next("SEED", "an id")?;
            (id, Request::Seed(fields(&mut args, "SEED")?))
        } else {
            let got = args.take().unwrap_or_default();
            return Err(Error::UnknownOperation(Quoted::new(got)));
        };
        requests.push(request);
    }
    Ok(requests)
}

fn fields<'a>(args: &mut Args<'a>, of: &'static str) -> Result<Fields<'a>, Error> {
    let count = args.count(of)?;
    let mut fields = Vec::with_capacity(count.min(args.remaining()));
    for _ in 0..count {
        let field = args.next(of, "a field")?;
        fields.push((field, Some(args.next(of, "a value")?.into())));
    }
    if args.keyword("NULL") {
        for _ in 0..args.count("NULL")? {
            fields.push((args.next("NULL", "a field")?, None));
        }
    }
    Ok(fields)
}

/// The streams that get events, by index of the declaration, each found fit to take them.
fn prepare<'d>(
    ctx: &Context,
    declaration: &'d Declaration,
    plan: &Plan,
    now_ms: u64,
) -> Result<Vec<Option<Publisher<'d>>>, Error> {
    // How many events each is to take, and the largest.
    let mut loads = vec![(0usize, 0usize); declaration.streams.len()];
    for publication in plan.steps.iter().flat_map(|step| &step.publications) {
        let payload = plan.payloads.get(publication.payload);
        if let (Some(load), Some(payload)) = (loads.get_mut(publication.stream), payload) {
            *load = (load.0.saturating_add(1), load.1.max(payload.len()));
        }
    }
    let streams = declaration.streams.iter().zip(loads);
    streams
        .map(|(stream, (events, largest))| match events {
            0 => Ok(None),
            _ => Publisher::prepare(ctx, stream, now_ms, events, largest).map(Some),
        })
        .collect()
}

/// Writes and publishes what was planned. Everything was looked at before, so nothing here fails.
fn apply<'c>(
    ctx: &'c Context,
    declaration: &Declaration,
    plan: &Plan,
    mut publishers: Vec<Option<Publisher>>,
    now_ms: u64,
) -> Writes<'c> {
    let mut writes = Writes::new(ctx);
    for step in &plan.steps {
        if let Some(write) = &step.write {
            snapshots::write(&mut writes, declaration, step.id, write);
        }
        for Publication { stream, payload } in &step.publications {
            let publisher = publishers.get_mut(*stream).and_then(Option::as_mut);
            if let (Some(publisher), Some(payload)) = (publisher, plan.payloads.get(*payload)) {
                publisher.append(&mut writes, payload, now_ms);
                stats::count(&stats::EVENTS, 1);
            }
        }
    }
    writes
}
