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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let requests = parse(Args::new(&words)).map_err(|error| error.to_string())?;
        let shown = requests.iter().map(|(id, request)| {
            let (name, fields) = match request {
                Request::Snapshot(fields) => ("snapshot", fields.as_slice()),
                Request::Insert(fields) => ("insert", fields.as_slice()),
                Request::Update(fields) => ("update", fields.as_slice()),
                Request::Seed(fields) => ("seed", fields.as_slice()),
                Request::Delete => ("delete", [].as_slice()),
                Request::Touch => ("touch", [].as_slice()),
            };
            let nulls = fields.iter().filter(|(_, value)| value.is_none()).count();
            format!("{name} {} {}-{nulls}", id.escape_ascii(), fields.len())
        });
        Ok(shown.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn operations_follow_each_other() {
        for (line, expected) in [
            ("SNAPSHOT 1 0", "snapshot 1 0-0"),
            ("snapshot 1 2 a b c d null 1 e", "snapshot 1 3-1"),
            ("DELETE DELETE TOUCH 1", "delete DELETE 0-0, touch 1 0-0"),
            (
                "INSERT 1 1 NULL NULL UPDATE 2 0 NULL 2 a b SEED 3 1 a b",
                "insert 1 1-0, update 2 2-2, seed 3 1-0",
            ),
        ] {
            assert_eq!(parse_line(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_ends_too_early_or_is_no_operation_is_refused() {
        for (line, error) in [
            ("SNAPSHOT", "ERR SNAPSHOT lacks an id"),
            ("SNAPSHOT 1", "ERR SNAPSHOT lacks a count"),
            ("SNAPSHOT 1 2 a b c", "ERR SNAPSHOT lacks a value"),
            ("UPDATE 1 0 NULL 2 a", "ERR NULL lacks a field"),
            ("DELETE 1 2", "ERR unknown operation \"2\""),
            (
                "SEED 1 4294967296999999999999 a b",
                "ERR the count of SEED must be an integer, 0 or more, not \"4294967296999999999999\"",
            ),
        ] {
            assert_eq!(parse_line(line), Err(error.into()), "{line}");
        }
    }
}
