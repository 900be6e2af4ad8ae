use crate::redis::{flags, keys};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::rights::{Access, Rights};
use crate::store::writes::Writes;
use crate::store::{cluster, declarations, streams};
use dirty_streams_core::args::Args;
use dirty_streams_core::encoding;
use dirty_streams_core::entity::declaration::{Declaration, Replacement};
use dirty_streams_core::entity::overlap;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::syntax::{Arg, block, flag, integer, key, one_of, option, text, word};
use redis_module::Context;
use std::ffi::CStr;

/// ```text
/// DIRTY.DECLARE key
///   [NAME name] [PREFIX prefix] [REVISION n] [STATELESS]
///   [VERSION field [TOMBSTONE ms]] [SOFTDELETE field]
///   [TYPES n field type [field type …]]
///   [STREAM stream [OPS ops] [FIELDS n field [field …]]
///                  [MAXLEN [=|~] count [ONFULL TRIM|KEEP|REFUSE]] [MAXAGE ms]
///                  [PAYLOAD KEYS|CHANGES|FULL|IMAGES]
///                  [FORMAT MSGPACK|FLUXAORM2|FLUXAORM1|FLAT|DEBEZIUM [IDFIELD name] [SAFENUMBERS]]
///                  [DB index]] …
///   [TAGS n field tag [field tag …]] [POOL code db] …
/// ```
///
/// Replaces the declaration at the key as a whole; the same again changes nothing. Replies `OK`, or `KEPT` if the
/// one that stands has a higher revision, and so changes nothing either.
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
        option(c"REVISION", integer(c"n")),
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
    const ARITY: Arity = Arity::AtLeast(0);

    fn run(call: &Call) -> Result<(), Error> {
        let ctx = call.ctx;
        let args = Args::new(call.args);
        let is_trusted = flags::is_repeated(ctx);
        let declaration = match is_trusted {
            true => encoding::declaration::decode_stored(&call.key, args)?,
            false => encoding::declaration::decode(&call.key, args)?,
        };
        // Users who may not declare it do not learn what stands there.
        if !is_trusted {
            check(call, &declaration)?;
        }
        let mut writes = Writes::new(ctx);
        let replacement = declarations::put(&mut writes, &call.key, declaration, is_trusted)?;
        writes.notify();
        call.reply().status(match replacement {
            Replacement::Kept => c"KEPT",
            Replacement::Same | Replacement::New => c"OK",
        });
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
                word(c"fluxaorm2", c"FLUXAORM2"),
                word(c"fluxaorm1", c"FLUXAORM1"),
                word(c"flat", c"FLAT"),
                block(c"debezium", DEBEZIUM),
            ],
        ),
    ),
    option(c"DB", integer(c"index")),
];
const DEBEZIUM: &[Arg] = &[
    word(c"debezium", c"DEBEZIUM"),
    option(c"IDFIELD", text(c"name")),
    flag(c"safenumbers", c"SAFENUMBERS"),
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

/// Refuses where another declaration has the flushes and replies that it keeps.
fn check_others(ctx: &Context, key: &[u8], declaration: &Declaration) -> Result<(), Error> {
    let is_declared = |owner: &&[u8]| {
        let is_other = *owner != key;
        is_other && declarations::is_at(ctx, &keys::string(owner)) == Some(true)
    };
    let mut owners = overlap::owners_of_prefix(key).into_iter();
    let is_own = |owner: &&[u8]| overlap::is_own(key, owner) && is_declared(owner);
    if let Some(owner) = owners.find(is_own) {
        return Err(Error::KeyIsOfDeclaration {
            key: Quoted::new(key),
            declaration: Quoted::new(owner),
        });
    }
    if declaration.stateless {
        return Ok(());
    }
    let prefix = declaration.prefix.as_slice();
    let mut owners = overlap::owners_of_prefix(prefix).into_iter();
    match owners.find(is_declared) {
        Some(owner) => Err(Error::PrefixIsOfDeclaration {
            prefix: Quoted::new(prefix),
            declaration: Quoted::new(owner),
        }),
        None => Ok(()),
    }
}

/// The checks that depend on the key, this server and the user.
fn check(call: &Call, declaration: &Declaration) -> Result<(), Error> {
    let (ctx, key) = (call.ctx, call.key.as_slice());
    cluster::check(ctx, key, declaration)?;
    check_others(ctx, key, declaration)?;
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
        keys::with_database(ctx, stream.database, || {})
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
