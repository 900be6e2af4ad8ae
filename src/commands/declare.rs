use crate::args::Args;
use crate::encoding;
use crate::error::Error;
use crate::redis::entry::{Call, Command};
use crate::redis::keys;
use crate::redis::writes::Writes;
use crate::redis::{cluster, declarations, rights};
use std::ffi::CStr;

/// ```text
/// DIRTY.DECLARE key
///   [NAME name] [PREFIX prefix] [TYPES n field type [field type …]]
///   [STREAM stream [OPS ops] [FIELDS n field [field …]] [MAXLEN [=|~] count]
///                  [PAYLOAD KEYS|CHANGES|FULL] [FORMAT MSGPACK] [DB index]] …
///   [TAGS n field tag [field tag …]] [POOL code db] …
/// ```
///
/// Replaces the declaration at the key as a whole; the same again changes nothing. Replies `OK`.
pub struct Declare;

impl Command for Declare {
    const NAME: &'static CStr = c"dirty.declare";
    const FLAGS: &'static CStr = c"write deny-oom";
    const MIN_ARGS: usize = 0;

    fn run(call: &Call) -> Result<(), Error> {
        let ctx = call.ctx;
        let declaration = encoding::declaration::decode(&call.key, Args::new(call.args))?;
        cluster::check(ctx, &call.key, &declaration)?;
        for stream in &declaration.streams {
            keys::in_database(ctx, stream.database, || {})?;
        }
        // The server has checked the key itself. A prefix is checked as the shortest key it can make.
        let streams = declaration
            .streams
            .iter()
            .map(|stream| stream.key.as_slice());
        rights::check_write(ctx, streams.chain([declaration.prefix.as_slice()]))?;

        let mut writes = Writes::new(ctx);
        declarations::put(&mut writes, &call.key, declaration)?;
        writes.notify();
        call.reply().status(c"OK");
        Ok(())
    }
}
