use crate::args::Args;
use crate::encoding;
use crate::entity::declaration::Declaration;
use crate::error::{Error, Quoted};
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::keys;
use crate::redis::writes::Writes;
use crate::redis::{cluster, declarations, derived, rights, streams};
use redis_module::Context;
use std::ffi::CStr;

/// ```text
/// DIRTY.DECLARE key
///   [NAME name] [PREFIX prefix] [STATELESS]
///   [VERSION field [TOMBSTONE ms]] [FAKEDELETE field]
///   [TYPES n field type [field type …]]
///   [STREAM stream [OPS ops] [FIELDS n field [field …]]
///                  [MAXLEN [=|~] count [ONFULL TRIM|KEEP|REFUSE]] [MAXAGE ms]
///                  [PAYLOAD KEYS|CHANGES|FULL|IMAGES]
///                  [FORMAT MSGPACK|FLUXAORM|FLUXAORM1|DEBEZIUM] [DB index]] …
///   [TAGS n field tag [field tag …]] [POOL code db] …
/// ```
///
/// Replaces the declaration at the key as a whole; the same again changes nothing. Replies `OK`.
pub struct Declare;

impl Command for Declare {
    const NAME: &'static CStr = c"dirty.declare";
    const SUMMARY: &'static CStr =
        c"Declares an entity type: its streams, fields and where its snapshots are.";
    const FLAGS: &'static CStr = c"write deny-oom";
    const KEY_USE: KeyUse = KeyUse::Write;
    const DATA: &'static [&'static str] = &[];
    const MIN_ARGS: usize = 0;

    fn run(call: &Call) -> Result<(), Error> {
        let ctx = call.ctx;
        let declaration = encoding::declaration::decode(&call.key, Args::new(call.args))?;
        if !rights::is_trusted(ctx) {
            check(ctx, &call.key, &declaration)?;
        }
        let mut writes = Writes::new(ctx);
        declarations::put(&mut writes, &call.key, declaration)?;
        writes.notify();
        call.reply().status(c"OK");
        Ok(())
    }
}

const UNLIKELY_ID: &[u8] = b"\x00\xff 9f86d081884c7d659a2feaa0c55ad015 \xff\x00";

/// What depends on the key, this server and the user.
fn check(ctx: &Context, key: &[u8], declaration: &Declaration) -> Result<(), Error> {
    cluster::check(ctx, key, declaration)?;
    let here = keys::current_database(ctx);
    for stream in &declaration.streams {
        if stream.is_in(here) && (stream.key == key || derived::is_one(key, &stream.key)) {
            return Err(Error::StreamIsKey(Quoted::new(&stream.key)));
        }
        keys::in_database(ctx, stream.database, || {})
            .ok_or_else(|| streams::no_such_database(stream))?;
    }
    // The server has checked the key itself. Of the keys that the prefix makes, the shortest and one
    // that nobody is allowed by chance stand for all: `u`, `u?` or `user:1*` are not enough.
    let streams = &declaration.streams;
    let streams = streams.iter().map(|stream| stream.key.as_slice());
    rights::check_write(ctx, streams.chain([declaration.prefix.as_slice()]))?;
    let all = declaration.snapshot_key(b"*");
    rights::check_write_all(ctx, &all, &declaration.snapshot_key(UNLIKELY_ID))
}
