use crate::args::Args;
use crate::encoding;
use crate::entity::declaration::Declaration;
use crate::error::{Error, Quoted};
use crate::redis::entry::{Call, Command, KeyUse};
use crate::redis::keys;
use crate::redis::rights::{self, Access, Rights};
use crate::redis::writes::Writes;
use crate::redis::{cluster, declarations, derived, streams};
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
            check(call, &declaration)?;
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
fn check(call: &Call, declaration: &Declaration) -> Result<(), Error> {
    let (ctx, key) = (call.ctx, call.key.as_slice());
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
    // GET lends what the snapshots hold, too; of a stream nothing is lent but writing.
    let rights = Rights::of(call);
    for stream in &declaration.streams {
        rights.check(Access::Write, &stream.key)?;
    }
    let unlikely = declaration.snapshot_key(UNLIKELY_ID);
    for access in [Access::Write, Access::Read] {
        rights.check(access, &declaration.prefix)?;
        rights.check_example(access, &unlikely, &declaration.snapshot_key(b"*"))?;
    }
    Ok(())
}
