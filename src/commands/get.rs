use crate::redis::reply::Reply;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::store::snapshots::SnapshotReader;
use crate::store::{cluster, declarations};
use dirty_streams_core::args::Args;
use dirty_streams_core::encoding::text as json;
use dirty_streams_core::entity::declaration::Declaration;
use dirty_streams_core::entity::snapshot::{NOTHING, Snapshot};
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::Snapshots;
use dirty_streams_core::syntax::{Arg, key, one_of, text, word};
use std::ffi::CStr;

/// Of one reply.
const MAX_FIELDS: usize = 10_000_000;
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// ```text
/// DIRTY.GET key [TYPED|RAW|JSON] id [id …]
/// ```
///
/// Replies an array: for each id the snapshot, or null if there is no such entity. A snapshot is a map from field to typed
/// value; with RAW to the stored text; with JSON it is one JSON text.
pub struct Get;

/// How a snapshot is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Typed,
    Raw,
    Json,
}

impl Form {
    /// The word before the ids. The last word is always an id.
    fn take(args: &mut Args) -> Self {
        if args.remaining() < 2 || args.keyword("TYPED") {
            Form::Typed
        } else if args.keyword("RAW") {
            Form::Raw
        } else if args.keyword("JSON") {
            Form::Json
        } else {
            Form::Typed
        }
    }
}

impl Command for Get {
    const NAME: &'static CStr = c"dirty.get";
    const SUMMARY: &'static CStr = c"Returns snapshots of entities.";
    const COMPLEXITY: &'static CStr = c"O(F) for all F fields of these entities.";
    const TIPS: &'static CStr = c"nondeterministic_output_order";
    const ARGS: &'static [Arg] = &[
        key(c"key"),
        one_of(
            c"form",
            &[
                word(c"typed", c"TYPED"),
                word(c"raw", c"RAW"),
                word(c"json", c"JSON"),
            ],
        )
        .optional(),
        text(c"id").repeated(),
    ];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["hash"];
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(call: &Call) -> Result<(), Error> {
        let declaration = declarations::load(call.ctx, &call.key)?;
        cluster::check(call.ctx, &call.key, &declaration)?;
        let limits = config::limits();
        let mut args = Args::new(call.args);
        let form = Form::take(&mut args);
        limits.check_ids(args.remaining())?;
        let ids = args.names("GET", "an id")?;
        for id in ids {
            limits.check_name(id)?;
        }
        let mut stored = SnapshotReader::new(call.ctx, &call.key, &declaration);
        let (mut fields, mut bytes) = (0usize, 0usize);
        let load = |id: &&[u8]| {
            if declaration.stateless {
                return Ok(Default::default());
            }
            let entity = stored.load(id, &[])?;
            let snapshot = entity.entity().unwrap_or(&NOTHING);
            fields = fields.saturating_add(snapshot.len());
            bytes = bytes.saturating_add(snapshot.size());
            // The same id may be named again and again.
            match fields > MAX_FIELDS || bytes > MAX_BYTES {
                true => Err(Error::EntitiesTooLarge),
                false => Ok(entity),
            }
        };
        let entities: Result<Vec<_>, _> = ids.iter().map(load).collect();
        let (entities, reply) = (entities?, call.reply());
        let snapshots = ids.iter().zip(&entities);
        let snapshots = snapshots.map(|(id, entity)| entity.entity().map(|found| (*id, found)));
        if form == Form::Json {
            return reply_json(reply, snapshots, &declaration);
        }
        reply.array(entities.len());
        for snapshot in snapshots {
            let Some((_, snapshot)) = snapshot else {
                reply.null();
                continue;
            };
            reply.map(snapshot.len());
            for (field, text) in snapshot.iter() {
                reply.bytes(field);
                match form {
                    Form::Raw => reply.bytes(text),
                    _ => reply.value(&declaration.value(field, text)),
                }
            }
        }
        Ok(())
    }
}

/// Of one id that is not UTF-8 nothing is replied: who asks for one entity expects its fields.
fn reply_json<'s>(
    reply: Reply,
    snapshots: impl ExactSizeIterator<Item = Option<(&'s [u8], &'s Snapshot<'s>)>>,
    declaration: &Declaration,
) -> Result<(), Error> {
    let is_one = snapshots.len() == 1;
    if !is_one {
        reply.array(snapshots.len());
    }
    for snapshot in snapshots {
        let text = snapshot.map(|(id, snapshot)| {
            let fields = snapshot.iter();
            let fields = fields.map(|(field, text)| (field, declaration.value(field, text)));
            let fields: Vec<_> = fields.collect();
            (id, json::snapshot(id, &fields))
        });
        if let Some((id, (_, true))) = &text
            && is_one
        {
            return Err(Error::NotUtf8(Quoted::new(id)));
        }
        if is_one {
            reply.array(1);
        }
        reply.text(text.as_ref().map(|(_, (text, _))| text.as_slice()));
    }
    Ok(())
}
