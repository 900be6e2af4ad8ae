use crate::entity::flush::Snapshots;
use crate::error::Error;
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::snapshots::Stored;
use crate::redis::{cluster, declarations};
use std::ffi::CStr;

/// ```text
/// DIRTY.GET key id [id …]
/// ```
///
/// Replies an array: for each id the typed snapshot as a map, or null if there is no such entity.
pub struct Get;

impl Command for Get {
    const NAME: &'static CStr = c"dirty.get";
    const SUMMARY: &'static CStr = c"Returns typed snapshots of entities.";
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["hash"];
    const MIN_ARGS: usize = 1;

    fn run(call: &Call) -> Result<(), Error> {
        let declaration = declarations::load(call.ctx, &call.key)?;
        cluster::check(call.ctx, &call.key, &declaration)?;
        let mut stored = Stored::new(call.ctx, &call.key, &declaration);
        let load = |id: &&[u8]| match declaration.stateless {
            true => Ok(Default::default()),
            false => stored.load(id),
        };
        let entities: Result<Vec<_>, _> = call.args.iter().map(load).collect();
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
