use crate::redis::keys;
use crate::server::command::{Call, Command, KeyUse};
use crate::server::rights::{self, Access, Rights};
use crate::store::writes::Writes;
use crate::store::{cluster, declarations, streams};
use dirty_streams_core::args::Args;
use dirty_streams_core::encoding;
use dirty_streams_core::entity::declaration::Declaration;
use dirty_streams_core::entity::overlap;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::syntax::{block, flag, integer, key, one_of, option, text, word, Arg};
use std::ffi::CStr;

/// ```text
/// DIRTY.DECLARE key
///   [NAME name] [PREFIX prefix] [STATELESS]
///   [VERSION field [TOMBSTONE ms]] [SOFTDELETE field]
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
    const COMPLEXITY: &'static CStr = c"O(N) for N arguments.";
    const ARGS: &'static [Arg] = &[
        key(c"key"),
        option(c"NAME", text(c"name")),
        option(c"PREFIX", text(c"prefix")),
        flag(c"stateless", c"STATELESS"),
        option(c"VERSION", block(c"version", VERSION)),
        option(c"SOFTDELETE", text(c"field")),
        option(c"TYPES", block(c"types", TYPES)),
        option(c"STREAM", block(c"stream-options", STREAM)).repeated_with_token(),
        option(c"TAGS", block(c"tags", TAGS)),
        option(c"POOL", block(c"pool", POOL)).repeated_with_token(),
    ];
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

const VERSION: &[Arg] = &[text(c"field"), option(c"TOMBSTONE", integer(c"ms"))];
const TYPES: &[Arg] = &[
    integer(c"n"),
    block(c"typed", &[text(c"field"), text(c"type")]).repeated(),
];
const TAGS: &[Arg] = &[
    integer(c"n"),
    block(c"tagged", &[text(c"field"), text(c"tag")]).repeated(),
];
const POOL: &[Arg] = &[text(c"code"), integer(c"db")];
const STREAM: &[Arg] = &[
    text(c"stream"),
    option(c"OPS", text(c"ops")),
    option(
        c"FIELDS",
        block(c"fields", &[integer(c"n"), text(c"field").repeated()]),
    ),
    option(c"MAXLEN", block(c"maxlen", MAX_LEN)),
    option(c"MAXAGE", integer(c"ms")),
    option(
        c"PAYLOAD",
        one_of(
            c"payload",
            &[
                word(c"keys", c"KEYS"),
                word(c"changes", c"CHANGES"),
                word(c"full", c"FULL"),
                word(c"images", c"IMAGES"),
            ],
        ),
    ),
    option(
        c"FORMAT",
        one_of(
            c"format",
            &[
                word(c"msgpack", c"MSGPACK"),
                word(c"fluxaorm", c"FLUXAORM"),
                word(c"fluxaorm1", c"FLUXAORM1"),
                word(c"debezium", c"DEBEZIUM"),
            ],
        ),
    ),
    option(c"DB", integer(c"index")),
];
const MAX_LEN: &[Arg] = &[
    one_of(
        c"how",
        &[word(c"equal", c"="), word(c"approximately", c"~")],
    )
    .optional(),
    integer(c"count"),
    option(
        c"ONFULL",
        one_of(
            c"onfull",
            &[
                word(c"trim", c"TRIM"),
                word(c"keep", c"KEEP"),
                word(c"refuse", c"REFUSE"),
            ],
        ),
    ),
];

/// What depends on the key, this server and the user.
fn check(call: &Call, declaration: &Declaration) -> Result<(), Error> {
    let (ctx, key) = (call.ctx, call.key.as_slice());
    cluster::check(ctx, key, declaration)?;
    let here = keys::current_database(ctx);
    for stream in &declaration.streams {
        if stream.is_in(here) && overlap::collide(&stream.key, key) {
            let stream_key = Quoted::new(&stream.key);
            return Err(match stream.key.starts_with(key) {
                true => Error::StreamIsKey(stream_key),
                false => Error::KeyIsOfStream {
                    key: Quoted::new(key),
                    stream: stream_key,
                },
            });
        }
        keys::in_database(ctx, stream.database, || {})
            .ok_or_else(|| streams::no_such_database(stream))?;
    }
    // The server has checked the key itself. GET lends what the snapshots hold, too; of a stream nothing is lent
    // but writing, and never its database: each flush is checked for that again.
    let rights = Rights::of(call);
    for stream in &declaration.streams {
        rights.check(Access::Write, &stream.key)?;
        let database = stream.database_from(here);
        rights.check_database(Declare::NAME, &stream.key, database, &stream.key)?;
    }
    for access in [Access::Write, Access::Read] {
        rights.check_prefix(access, &declaration.prefix, here)?;
    }
    Ok(())
}
