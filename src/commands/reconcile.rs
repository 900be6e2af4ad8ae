use super::flush::execute;
use crate::redis::reply::Reply;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::store::cluster;
use crate::store::declarations::{self, Declared};
use crate::store::runs::Home;
use crate::store::walk::{self, Place};
use dirty_streams_core::args::Args;
use dirty_streams_core::error::Error;
use dirty_streams_core::flush::{Action, Flush, RUN};
use dirty_streams_core::reconcile::request::{Request, Step, Sweep};
use dirty_streams_core::reconcile::{Phase, Status, TooMany};
use dirty_streams_core::syntax::{Arg, block, flag, integer, key, one_of, option, text};
use std::ffi::CStr;

/// ```text
/// DIRTY.RECONCILE key BEGIN run
/// DIRTY.RECONCILE key SWEEP run [MAXDELETE n|n%] [DRYRUN] [COUNT n]
/// DIRTY.RECONCILE key ABORT run
/// DIRTY.RECONCILE key STATUS run
/// ```
///
/// Makes the snapshots equal to the rows of the application's database, which are sent by DIRTY.FLUSH with RUN between
/// BEGIN and SWEEP. SWEEP is repeated until `phase` is `done`: first it counts, COUNT (1,000) snapshots a call, what no
/// flush has named since BEGIN, then it deletes that, with events. BEGIN replies OK, ABORT 1 or 0, the others a map.
pub struct Reconcile;

impl Command for Reconcile {
    const NAME: &'static CStr = c"dirty.reconcile";
    const SUMMARY: &'static CStr =
        c"Makes the stored snapshots equal to the rows of the application's database.";
    const COMPLEXITY: &'static CStr =
        c"O(1); SWEEP as DIRTY.SCAN while it counts, and as DIRTY.FLUSH for what it deletes.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"key"),
        one_of(
            c"step",
            &[
                text(c"run").after(c"BEGIN"),
                block(
                    c"sweep",
                    &[
                        text(c"run"),
                        option(c"MAXDELETE", text(c"max")),
                        flag(c"dryrun", c"DRYRUN"),
                        option(c"COUNT", integer(c"n")),
                    ],
                )
                .after(c"SWEEP"),
                text(c"run").after(c"ABORT"),
                text(c"run").after(c"STATUS"),
            ],
        ),
    ];
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["hash", "stream"];
    const ARITY: Arity = Arity::AtLeast(2);

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args))?;
        let declaration = declarations::load(call.ctx, &call.key)?;
        cluster::check(call.ctx, &call.key, &declaration)?;
        if declaration.stateless {
            return Err(Error::NeedsSnapshots("RECONCILE"));
        }
        let home = Home::new(call.ctx, &call.key, &declaration);
        let run = request.run;
        match request.step {
            Step::Begin => {
                home.begin(call.ctx, run)?;
                call.reply().status(c"OK");
            }
            Step::Abort => call.reply().integer(i64::from(home.abort(run)?)),
            Step::Status => {
                let status = home.ask(run, |active| Ok(active.run.status()))?;
                reply_status(call.reply(), &status);
            }
            Step::Sweep(sweep) => {
                let phase = home.ask(run, |active| Ok(active.run.phase()))?;
                let status = match phase {
                    Phase::Rows | Phase::Counting => count(call, &home, &declaration, run, sweep)?,
                    Phase::Deleting if !sweep.is_dry => {
                        delete(call, &home, &declaration, run, sweep)?
                    }
                    // A dry one has nothing to count, and deletes nothing.
                    Phase::Deleting => home.ask(run, |active| {
                        Ok(Status {
                            phase: Phase::Done,
                            ..active.run.status()
                        })
                    })?,
                    Phase::Done => home.ask(run, |active| Ok(active.run.status()))?,
                };
                reply_status(call.reply(), &status);
            }
        }
        Ok(())
    }
}

/// Counts a page of what nobody has named.
fn count(
    call: &Call,
    home: &Home,
    declaration: &Declared,
    run: &[u8],
    sweep: Sweep,
) -> Result<Status, Error> {
    let place = home.ask(run, |active| {
        // Of another key space, it begins again.
        if active.place != active.place.here() || active.run.phase() == Phase::Rows {
            active.place = Place::beginning();
            active.run.begin_count();
        }
        Ok(active.place)
    })?;
    let mut found = Vec::new();
    let next = walk::page(
        call.ctx,
        &call.key,
        declaration,
        place,
        sweep.count,
        |snapshots, id| {
            let exists = snapshots.exists(id)?;
            if exists {
                found.push(id.to_vec());
            }
            Ok(exists)
        },
    )?;
    home.ask(run, |active| {
        found.iter().for_each(|id| active.run.find(id));
        active.place = next;
        if !next.is_end() {
            return Ok(active.run.status());
        }
        let ended = active.run.end_count(sweep.max_delete, sweep.is_dry);
        ended.map_err(
            |TooMany {
                 missing,
                 scanned,
                 allowed,
             }| Error::WouldDelete {
                missing,
                scanned,
                allowed,
            },
        )?;
        Ok(match sweep.is_dry {
            true => Status {
                phase: Phase::Done,
                ..active.run.status()
            },
            false => active.run.status(),
        })
    })
}

/// Of COUNT a page that deletes has this part: each delete is published, too, and takes about four times as long.
const DELETED: usize = 4;

/// Deletes a page of what was counted.
fn delete(
    call: &Call,
    home: &Home,
    declaration: &Declared,
    run: &[u8],
    sweep: Sweep,
) -> Result<Status, Error> {
    let mut count = sweep.count.div_ceil(DELETED).min(config::limits().ops);
    loop {
        let ids = home.ask(run, |active| Ok(active.run.next_missing(count)))?;
        let flush = Flush {
            meta: vec![(RUN.into(), run.into())],
            force: true,
            actions: ids.iter().map(|id| (&**id, Action::Delete(None))).collect(),
            ..Flush::default()
        };
        let (writes, outcomes) = match execute::<Reconcile>(call, declaration, vec![flush], None) {
            Ok(done) => done,
            // The events of fewer are smaller.
            Err(error) if error.is_of_a_setting() && ids.len() > 1 => {
                count = ids.len() / 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        let effects = outcomes.into_iter().flatten().map(|outcome| outcome.effect);
        let status = home.ask(run, |active| {
            active.run.delete(&ids, effects);
            Ok(active.run.status())
        });
        writes.notify();
        return status;
    }
}

fn reply_status(reply: Reply, status: &Status) {
    reply.map(10);
    reply.bytes("phase");
    reply.bytes(status.phase.name());
    for (name, n) in [
        ("scanned", status.scanned),
        ("seen", status.seen),
        ("same", status.same),
        ("repaired", status.repaired),
        ("stale", status.stale),
        ("newer", status.newer),
        ("foreign", status.foreign),
        ("missing", status.missing),
        ("deleted", status.deleted),
    ] {
        reply.bytes(name);
        reply.number(Some(n));
    }
}
