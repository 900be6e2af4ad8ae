use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::store::snapshots::SnapshotReader;
use crate::store::{cluster, declarations};
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::snapshot::NOTHING;
use dirty_streams_core::error::Error;
use dirty_streams_core::flush::Snapshots;
use dirty_streams_core::syntax::{Arg, key, text};
use std::ffi::CStr;

/// Of one reply.
const MAX_FIELDS: usize = 10_000_000;
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// ```text
/// DIRTY.GET key id [id …]
/// ```
///
/// Replies an array: for each id the typed snapshot as a map, or null if there is no such entity.
pub struct Get;

impl Command for Get {
    const NAME: &'static CStr = c"dirty.get";
    const SUMMARY: &'static CStr = c"Returns typed snapshots of entities.";
    const COMPLEXITY: &'static CStr = c"O(F) for all F fields of these entities.";
    const TIPS: &'static CStr = c"nondeterministic_output_order";
    const ARGS: &'static [Arg] = &[key(c"key"), text(c"id").repeated()];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["hash"];
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(call: &Call) -> Result<(), Error> {
        let declaration = declarations::load(call.ctx, &call.key)?;
        cluster::check(call.ctx, &call.key, &declaration)?;
        let limits = config::limits();
        limits.check_ids(call.args.len())?;
        let ids = Args::new(call.args).names("GET", "an id")?;
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
        reply.array(entities.len());
        for entity in entities {
            let Some(snapshot) = entity.entity() else {
                reply.null();
                continue;
            };
            reply.map(snapshot.len());
            for (field, text) in snapshot.iter() {
                reply.bytes(field);
                reply.value(&declaration.value(field, text));
            }
        }
        Ok(())
    }
}
