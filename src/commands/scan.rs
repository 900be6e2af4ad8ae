use super::readers::syntax::{COUNT, FORM};
use crate::redis::reply::Reply;
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::store::walk::{self, Place};
use crate::store::{cluster, declarations};
use dirty_streams_core::args::Args;
use dirty_streams_core::encoding::text;
use dirty_streams_core::entity::declaration::Declaration;
use dirty_streams_core::entity::snapshot::Snapshot;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::flush::Snapshots;
use dirty_streams_core::reading::requests::shared::{Form, Once};
use dirty_streams_core::syntax::{self, Arg, key};
use std::ffi::CStr;

/// How many snapshots a page has, about.
const DEFAULT_COUNT: usize = 100;

/// Of one reply.
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// ```text
/// DIRTY.SCAN key cursor [COUNT n] [RAW|JSON]
/// ```
///
/// Replies the next cursor and an array of `[id, snapshot]`. The cursor 0 begins, and is the last that is replied.
pub struct Scan;

impl Command for Scan {
    const NAME: &'static CStr = c"dirty.scan";
    const SUMMARY: &'static CStr = c"Walks over the typed snapshots of an entity type.";
    const COMPLEXITY: &'static CStr = c"O(N+F) for the N keys that are looked at and the F fields of the snapshots; O(K) for all K keys of the database in a whole walk.";
    const TIPS: &'static CStr = c"nondeterministic_output";
    const ARGS: &'static [Arg] = &[key(c"key"), syntax::text(c"cursor"), COUNT, FORM];
    const FLAGS: &'static CStr = c"readonly";
    const KEY_USE: KeyUse = KeyUse::Read;
    const DATA: &'static [&'static str] = &["hash"];
    const ARITY: Arity = Arity::AtLeast(1);

    fn run(call: &Call) -> Result<(), Error> {
        let Request { place, count, form } = Request::parse(Args::new(call.args))?;
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
            reply_snapshot(reply, form, declaration, id, snapshot);
        }
        Ok(())
    }
}

fn reply_snapshot(
    reply: Reply,
    form: Form,
    declaration: &Declaration,
    id: &[u8],
    snapshot: &Snapshot,
) {
    let typed = |(field, text)| (field, declaration.value(field, text));
    match form {
        Form::Json => {
            let fields: Vec<_> = snapshot.iter().map(typed).collect();
            let (text, _) = text::snapshot(id, &fields);
            reply.bytes(text);
        }
        Form::Typed => {
            reply.map(snapshot.len());
            for (field, value) in snapshot.iter().map(typed) {
                reply.bytes(field);
                reply.value(&value);
            }
        }
        Form::Raw => {
            reply.map(snapshot.len());
            for (field, text) in snapshot.iter() {
                reply.bytes(field);
                reply.bytes(text);
            }
        }
    }
}

/// The arguments behind the key.
struct Request {
    place: Place,
    count: usize,
    form: Form,
}

impl Request {
    fn parse(mut args: Args) -> Result<Self, Error> {
        let cursor = args.next("SCAN", "a cursor")?;
        let place = Place::parse(cursor).ok_or_else(|| Error::NotACursor(Quoted::new(cursor)))?;
        let mut request = Request {
            place,
            count: DEFAULT_COUNT,
            form: Form::Typed,
        };
        Once::default().all(&mut args, |args| {
            Ok(Some(if args.keyword("COUNT") {
                let count = args.number("COUNT", "a number", 1..=u64::from(u32::MAX))?;
                request.count = usize::try_from(count).unwrap_or(usize::MAX);
                "COUNT"
            } else if args.keyword("RAW") {
                request.form = Form::Raw;
                "RAW or JSON"
            } else if args.keyword("JSON") {
                request.form = Form::Json;
                "RAW or JSON"
            } else {
                return Ok(None);
            }))
        })?;
        Ok(request)
    }
}
