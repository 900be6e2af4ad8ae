mod ack;
mod execute;

pub use execute::{dry_run, execute, reply};

use crate::redis::clock;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::store::deferred::DeferredFlushes;
use crate::store::once::Once;
use crate::store::snapshots::SnapshotReader;
use crate::store::{cluster, declarations};
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::declaration::Declaration;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::stored;
use dirty_streams_core::flush::{Ack, Answer, Options, Request, check, plan};
use dirty_streams_core::syntax::{Arg, block, flag, integer, key, one_of, option, text, word};
use std::ffi::CStr;

/// ```text
/// DIRTY.FLUSH key [META n name value [name value …]] [WITHEVENTS] [FORCE] [ONCE token [ms]]
///             [DEFER token|DRYRUN|ACK stream GROUP group consumer n id [id …]] op [op …]
///
/// op:      SNAPSHOT id fields     the whole state: insert if new, else update
///          INSERT id fields       EXISTS if there is a different one
///          UPDATE id fields       only these fields; NOENTITY if there is none
///          UPDATE id change       of a STATELESS type, which has no SNAPSHOT and SEED
///          DELETE id [fields]     no change if there is none; fields only for VERSION, or the last ones
///          TOUCH id               publish an update without changes; no change if there is none
///          SEED id fields         store the whole state and publish nothing
///
/// fields:  n field value [field value …] [NULL n field [field …]]
///          JSON object
///          MSGPACK map
///
/// change:  n field old new [field old new …]
///          JSON old new
///          MSGPACK old new
/// ```
///
/// One unit: everything is checked first, then everything is applied, or nothing is. Replies an array
/// with the effect of each op: `insert`, `update`, `delete`, `none`, `stale`, `conflict`, `hidden`, `touch` or
/// `seed`; WITHEVENTS makes each element `[effect, [changed field …], [stream, event id, …]]`; DEFER replies
/// `[deferred]`; DRYRUN only tells the effects. ACK acknowledges events in the same unit: if the consumer does not hold
/// one of them, nothing happens and `NOTHELD` names it.
pub struct Flush;

impl Command for Flush {
    const NAME: &'static CStr = c"dirty.flush";
    const SUMMARY: &'static CStr = c"Stores what became of entities and publishes what changed.";
    const COMPLEXITY: &'static CStr = c"for each operation O(F), F being the fields that are stored and given, and O(S) for the S bytes of each stream's event; with PAYLOAD IMAGES, O(F log F). Trimming adds O(T) for T entries that go. ONFULL KEEP and REFUSE add O(G+P) where a stream is full, for its groups and their pending entries. ACK adds O(A) for A events.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"key"),
        option(c"META", block(c"meta", META)),
        flag(c"withevents", c"WITHEVENTS"),
        flag(c"force", c"FORCE"),
        option(c"ONCE", block(c"once", ONCE)),
        one_of(
            c"mode",
            &[
                text(c"token").after(c"DEFER"),
                word(c"dryrun", c"DRYRUN"),
                block(c"acknowledged", ACK).after(c"ACK"),
            ],
        )
        .optional(),
        one_of(
            c"op",
            &[
                block(c"whole-or-part", &[WITH_FIELDS, text(c"id"), FIELDS]),
                block(c"stateless-update", &[text(c"id"), CHANGE]).after(c"UPDATE"),
                block(c"delete", &[text(c"id"), FIELDS.optional()]).after(c"DELETE"),
                text(c"id").after(c"TOUCH"),
            ],
        )
        .repeated(),
    ];
    const FLAGS: &'static CStr = c"write deny-oom getkeys-api";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &["hash", "stream"];
    const ARITY: Arity = Arity::AtLeast(1);

    fn other_keys(args: &[&[u8]]) -> Vec<(usize, KeyUse)> {
        let place = Ack::place(args).map(|place| (place, KeyUse::Write));
        place.into_iter().collect()
    }

    fn run(call: &Call) -> Result<(), Error> {
        let ctx = call.ctx;
        let options = Options::parse(Args::new(call.args));
        // A token that is known is answered, whatever else is wrong by now. If it is not, other faults go first.
        let once = options.once().map(|asked| {
            let once = Once::of(ctx, &call.key, asked.token)?;
            let answer = first_answer(&once)?;
            Ok((once, answer))
        });
        if let Some(Ok((_, Some(answer)))) = &once {
            reply(call.reply(), answer);
            return Ok(());
        }
        let declaration = &*declarations::load(ctx, &call.key)?;
        cluster::check(ctx, &call.key, declaration)?;
        let mut request = options.finish(declaration.stateless, &config::limits())?;
        let once = match (once, request.once) {
            (Some(once), Some(asked)) => {
                let (once, _) = once?;
                once.check(declaration)?;
                Some((once, asked.lifetime_ms))
            }
            _ => None,
        };
        let ack = request.ack.take();
        if let Some(ack) = &ack {
            ack::check(call, ack)?;
        }
        let (writes, answer) = match request.defer {
            Some(token) => (None, defer(call, declaration, token, request)?),
            None if request.dry_run => {
                let mut done = dry_run::<Flush>(call, declaration, vec![request.flush])?;
                (None, Answer::Done(done.pop().unwrap_or_default()))
            }
            None => {
                let (writes, mut done) =
                    execute::<Flush>(call, declaration, vec![request.flush], ack.as_ref())?;
                (Some(writes), Answer::Done(done.pop().unwrap_or_default()))
            }
        };
        let remembered = once.map_or(Ok(()), |(once, lifetime_ms)| {
            let value = stored::encode_answer(&answer);
            once.set(&value, clock::now_ms(), lifetime_ms)
        });
        // A listener may answer by the same flush, so it hears when the token is there.
        if let Some(writes) = writes {
            writes.notify();
        }
        remembered?;
        reply(call.reply(), &answer);
        Ok(())
    }
}

const META: &[Arg] = &[
    integer(c"n"),
    block(c"pair", &[text(c"name"), text(c"value")]).repeated(),
];
const ACK: &[Arg] = &[
    text(c"stream"),
    text(c"group").after(c"GROUP"),
    text(c"consumer"),
    integer(c"n"),
    text(c"id").repeated(),
];
const ONCE: &[Arg] = &[text(c"token"), integer(c"ms").optional()];
const WITH_FIELDS: Arg = one_of(
    c"what",
    &[
        word(c"snapshot", c"SNAPSHOT"),
        word(c"insert", c"INSERT"),
        word(c"update", c"UPDATE"),
        word(c"seed", c"SEED"),
    ],
);
const FIELDS: Arg = one_of(
    c"fields",
    &[
        block(
            c"listed",
            &[
                integer(c"n"),
                block(c"given", &[text(c"field"), text(c"value")]).repeated(),
                option(c"NULL", block(c"nulls", NULLS)),
            ],
        ),
        text(c"object").after(c"JSON"),
        text(c"map").after(c"MSGPACK"),
    ],
);
const NULLS: &[Arg] = &[integer(c"n"), text(c"field").repeated()];
/// Of a STATELESS type.
const CHANGE: Arg = one_of(
    c"change",
    &[
        block(
            c"listed",
            &[
                integer(c"n"),
                block(c"changed", &[text(c"field"), text(c"old"), text(c"new")]).repeated(),
            ],
        ),
        block(c"json", OLD_AND_NEW).after(c"JSON"),
        block(c"msgpack", OLD_AND_NEW).after(c"MSGPACK"),
    ],
);
const OLD_AND_NEW: &[Arg] = &[text(c"old"), text(c"new")];

/// The answer that a flush with the same token got before.
fn first_answer(once: &Once) -> Result<Option<Answer>, Error> {
    match once.get()? {
        None => Ok(None),
        Some(bytes) => match stored::decode_answer(&bytes) {
            Some(answer) => Ok(Some(answer)),
            None => Err(once.not_one()),
        },
    }
}

/// Keeps a flush for its COMMIT.
fn defer(
    call: &Call,
    declaration: &Declaration,
    token: &[u8],
    request: Request,
) -> Result<Answer, Error> {
    let operations = u64::try_from(request.flush.actions.len()).unwrap_or(u64::MAX);
    if !declaration.stateless {
        let mut snapshots = SnapshotReader::new(call.ctx, &call.key, declaration);
        for (id, _) in &request.flush.actions {
            snapshots.check_id(id)?;
        }
    }
    let limits = config::limits();
    let origin = execute::origin(call);
    if let Err(error) = check(declaration, origin, limits, request.flush) {
        if !error.is_of_a_setting() {
            return Err(error);
        }
        // The entity as it is stored may be larger still, and a flush that does not let it grow is not limited.
        let args = Args::new(&request.kept);
        let flush = Request::parse(args, declaration.stateless, &limits)?.flush;
        let mut snapshots = SnapshotReader::new(call.ctx, &call.key, declaration);
        let planned = plan(declaration, origin, limits, vec![flush], &mut snapshots);
        if planned.is_err_and(|error| error.is_of_a_setting()) {
            return Err(error);
        }
    }
    let deferred = DeferredFlushes::of(call.ctx, &call.key)?;
    let (now_ms, stateless) = (clock::now_ms(), declaration.stateless);
    let value = stored::encode_deferred(now_ms, operations, stateless, &request.kept);
    match deferred.get(token)? {
        None => deferred.put(token, &value)?,
        Some(known) => {
            // The same again is a client that has lost the reply. Another flush must not vanish.
            let args = |bytes: &[u8]| {
                let flush = stored::decode_deferred(bytes);
                flush.map(|flush| (flush.stateless, flush.args))
            };
            if args(&known) != args(&value) {
                let token = Quoted::new(token);
                return Err(match stored::is_readable(&known) {
                    true => Error::TokenTaken(token),
                    false => Error::TokenUnreadable(token),
                });
            }
        }
    }
    Ok(Answer::Deferred)
}
