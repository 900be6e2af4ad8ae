use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::walk::{self, Place};
use crate::store::{cluster, declarations};
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::snapshot::Snapshot;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::Snapshots;
use dirty_streams_core::syntax::{Arg, integer, key, option, text};
use std::ffi::CStr;

/// How many snapshots a page has, about.
const DEFAULT_COUNT: u64 = 100;

/// Of one reply.
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// ```text
/// DIRTY.SCAN key cursor [COUNT n]
/// ```
///
/// Replies the next cursor and an array of `[id, snapshot]`. The cursor 0 begins, and is the last that is replied.
pub struct Scan;

impl Command for Scan {
    const NAME: &'static CStr = c"dirty.scan";
    const SUMMARY: &'static CStr = c"Walks over the typed snapshots of an entity type.";
    const COMPLEXITY: &'static CStr = c"O(N+F) for the N keys that are looked at and the F fields of the snapshots; O(K) for all K keys of the database in a whole walk.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[
        key(c"key"),
        text(c"cursor"),
        option(c"COUNT", integer(c"n")),
    ];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["hash"];
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(call: &Call) -> Result<(), Error> {
        let mut args = Args::new(call.args);
        let cursor = args.next("SCAN", "a cursor")?;
        let place = Place::parse(cursor).ok_or_else(|| Error::NotACursor(Quoted::new(cursor)))?;
        let count = match args.keyword("COUNT") {
            true => args.number("COUNT", "a number", 1..=u64::from(u32::MAX))?,
            false => DEFAULT_COUNT,
        };
        if let Some(got) = args.take() {
            return Err(Error::UnknownOption(Quoted::new(got)));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let declaration = &*declarations::load(call.ctx, &call.key)?;
        cluster::check(call.ctx, &call.key, declaration)?;
        let mut found: Vec<(Vec<u8>, Snapshot)> = Vec::new();
        let mut bytes = 0usize;
        let place = walk::page(
            call.ctx,
            &call.key,
            declaration,
            place,
            count,
            |snapshots, id| {
                let Some(snapshot) = snapshots.load(id, &[])?.into_entity() else {
                    return Ok(false);
                };
                bytes = bytes.saturating_add(snapshot.size());
                found.push((id.to_vec(), snapshot));
                match bytes > MAX_BYTES {
                    true => Err(Error::EntitiesTooLarge),
                    false => Ok(true),
                }
            },
        )?;
        let reply = call.reply();
        reply.array(2);
        reply.bytes(place.to_string());
        reply.array(found.len());
        for (id, snapshot) in &found {
            reply.array(2);
            reply.bytes(id);
            reply.map(snapshot.len());
            for (field, text) in snapshot.iter() {
                reply.bytes(field);
                reply.value(&declaration.value(field, text));
            }
        }
        Ok(())
    }
}
