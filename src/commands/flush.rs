use crate::args::Args;
use crate::entity::declaration::Declaration;
use crate::entity::event::Pair;
use crate::entity::event_id::EventId;
use crate::entity::flush::{plan, Fields, Plan, Publication, Request, Requests};
use crate::error::{Error, Quoted};
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::snapshots::{self, Stored};
use crate::redis::streams::{self, Publisher};
use crate::redis::writes::Writes;
use crate::redis::{cluster, declarations, stats};
use redis_module::Context;
use std::collections::HashSet;
use std::ffi::CStr;

/// ```text
/// DIRTY.FLUSH key [META n name value [name value …]] [WITHEVENTS] op [op …]
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
/// with the effect of each op: `insert`, `update`, `delete`, `none`, `touch` or `seed`; WITHEVENTS makes
/// each element `[effect, [changed field …], [stream, event id, …]]`.
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
        let (writes, published) = apply(ctx, declaration, &plan, publishers, now_ms);
        writes.notify();

        let reply = call.reply();
        let mut published = published.as_slice();
        reply.array(plan.steps.len());
        for (index, step) in plan.steps.iter().enumerate() {
            stats::count_effect(step.effect);
            if !plan.with_events {
                reply.status(step.effect.name());
                continue;
            }
            reply.array(3);
            reply.status(step.effect.name());
            reply.array(step.changed.len());
            step.changed.iter().for_each(|field| reply.bytes(field));
            // They are in the order of the steps.
            let of_step = published.partition_point(|event| event.step <= index);
            let (events, others) = published.split_at(of_step);
            published = others;
            reply.array(events.len().saturating_mul(2));
            for event in events {
                reply.bytes(event.stream);
                reply.bytes(event.id.to_string());
            }
        }
        stats::count(&stats::FLUSHES, 1);
        Ok(())
    }
}

fn parse<'a>(mut args: Args<'a>) -> Result<Requests<'a>, Error> {
    let mut requests = Requests::default();
    let mut seen_meta = false;
    loop {
        if args.keyword("META") {
            if std::mem::replace(&mut seen_meta, true) {
                return Err(Error::Repeated("META"));
            }
            requests.meta = meta(&mut args)?;
        } else if args.keyword("WITHEVENTS") {
            if std::mem::replace(&mut requests.with_events, true) {
                return Err(Error::Repeated("WITHEVENTS"));
            }
        } else {
            break;
        }
    }
    if args.is_empty() {
        return Err(Error::NoOperations);
    }
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
        requests.list.push(request);
    }
    Ok(requests)
}

fn meta<'a>(args: &mut Args<'a>) -> Result<Vec<Pair<'a>>, Error> {
    let count = args.count("META")?;
    let mut pairs: Vec<Pair> = Vec::with_capacity(count.min(args.remaining()));
    let mut seen = HashSet::new();
    for _ in 0..count {
        let name = args.next("META", "a name")?;
        if !seen.insert(name) {
            return Err(Error::DuplicateMeta(Quoted::new(name)));
        }
        pairs.push((name.into(), args.next("META", "a value")?.into()));
    }
    Ok(pairs)
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

/// An event as it was appended, for a reply that tells of it.
struct Published<'d> {
    step: usize,
    stream: &'d [u8],
    id: EventId,
}

/// Writes and publishes what was planned. Everything was looked at before, so nothing here fails.
fn apply<'c, 'd>(
    ctx: &'c Context,
    declaration: &'d Declaration,
    plan: &Plan,
    mut publishers: Vec<Option<Publisher<'d>>>,
    now_ms: u64,
) -> (Writes<'c>, Vec<Published<'d>>) {
    let mut writes = Writes::new(ctx);
    let mut published = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        if let Some(write) = &step.write {
            snapshots::write(&mut writes, declaration, step.id, write);
        }
        for Publication { stream, payload } in &step.publications {
            let publisher = publishers.get_mut(*stream).and_then(Option::as_mut);
            if let (Some(publisher), Some(payload)) = (publisher, plan.payloads.get(*payload)) {
                let id = publisher.append(&mut writes, payload, now_ms);
                let told = id.filter(|_| plan.with_events);
                published.extend(told.map(|id| Published {
                    step: index,
                    stream: publisher.stream(),
                    id,
                }));
                stats::count(&stats::EVENTS, 1);
            }
        }
    }
    (writes, published)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let requests = parse(Args::new(&words)).map_err(|error| error.to_string())?;
        let shown = requests.list.iter().map(|(id, request)| {
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
        let meta = match requests.meta.len() {
            0 => String::new(),
            pairs => format!("meta {pairs}: "),
        };
        Ok(meta + &shown.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn operations_follow_each_other() {
        for (line, expected) in [
            ("SNAPSHOT 1 0", "snapshot 1 0-0"),
            ("meta 1 META META DELETE 1", "meta 1: delete 1 0-0"),
            ("META 0 TOUCH 1", "touch 1 0-0"),
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
            ("META 1 a b", "ERR a flush needs at least one operation"),
            ("META 2 a b DELETE", "ERR META lacks a value"),
            ("META 2 a b a c TOUCH 1", "ERR META \"a\" is named twice"),
            ("META 0 META 0 TOUCH 1", "ERR META is given twice"),
            ("WITHEVENTS", "ERR a flush needs at least one operation"),
            (
                "WITHEVENTS WITHEVENTS TOUCH 1",
                "ERR WITHEVENTS is given twice",
            ),
            ("TOUCH 1 META 0", "ERR unknown operation \"META\""),
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
