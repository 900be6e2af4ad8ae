//! A declaration as the arguments of DIRTY.DECLARE behind its key. Clients send them, and RDB files (encoding
//! version 1: their number, then each as a string) and AOF rewrites hold them. All three have the same parser, so
//! a forged DUMP payload cannot declare anything that a client could not. Checks that depend on the key, the
//! server or the user are made elsewhere, since a declaration may be renamed, copied, or loaded by another server.
//!
//! ```text
//! [NAME name] [PREFIX prefix] [STATELESS]
//! [VERSION field [TOMBSTONE ms]] [SOFTDELETE field]
//! [TYPES n field type [field type …]]
//! [STREAM stream [OPS ops] [FIELDS n field [field …]]
//!                [MAXLEN [=|~] count [ONFULL TRIM|KEEP|REFUSE]] [MAXAGE ms]
//!                [PAYLOAD KEYS|CHANGES|FULL|IMAGES]
//!                [FORMAT MSGPACK|FLUXAORM|FLUXAORM1|DEBEZIUM] [DB index]] …
//! [TAGS n field tag [field tag …]] [POOL code db] …
//! ```

use crate::args::Args;
use crate::entity::declaration::{
    default_name, Declaration, Format, MaxLen, OnFull, Payload, Stream, VersionField,
};
use crate::entity::operation::Operations;
use crate::entity::snapshot::MARKER;
use crate::entity::tags::{self, Pools, Tag};
use crate::entity::value::FieldType;
use crate::error::{Error, Quoted};
use crate::keyword::Keyword;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The declaration that these arguments make. The key gives the defaults of NAME and PREFIX.
pub fn decode(key: &[u8], args: Args) -> Result<Declaration, Error> {
    let request = Request::parse(args)?;
    let prefix = request
        .prefix
        .map_or_else(|| [key, b":"].concat(), <[u8]>::to_vec);
    if prefix.is_empty() {
        return Err(Error::EmptyPrefix);
    }
    let mut types = request.types.unwrap_or_default();
    let version = versioning(request.version, request.tombstone_ms, &mut types)?;
    if version.is_some() && request.stateless.is_some() {
        return Err(Error::NeedsSnapshots("VERSION"));
    }
    if let Some(field) = request
        .soft_delete
        .filter(|_| request.soft_delete == request.version)
    {
        return Err(Error::SameField {
            options: "VERSION and SOFTDELETE",
            field: Quoted::new(field),
        });
    }
    let of_tags = tags::streams(&request.tags.unwrap_or_default(), &request.pools)?;
    let streams = streams(request.streams, of_tags)?;
    Ok(Declaration {
        name: request
            .name
            .map_or_else(|| default_name(key), <[u8]>::to_vec),
        prefix,
        stateless: request.stateless.is_some(),
        version,
        soft_delete: request.soft_delete.map(<[u8]>::to_vec),
        types,
        streams,
    })
}

/// How long a deleted entity's version is remembered by default: a day.
const TOMBSTONE_MS: u64 = 24 * 60 * 60 * 1000;

/// A version is an integer, so its field has a type even if TYPES does not give one.
fn versioning(
    field: Option<&[u8]>,
    tombstone_ms: Option<u64>,
    types: &mut BTreeMap<Vec<u8>, FieldType>,
) -> Result<Option<VersionField>, Error> {
    let Some(field) = field else {
        return match tombstone_ms {
            Some(_) => Err(Error::Needs("TOMBSTONE", "VERSION")),
            None => Ok(None),
        };
    };
    match types.entry(field.to_vec()).or_insert(FieldType::Int) {
        FieldType::Int | FieldType::Uint => {}
        other => {
            return Err(Error::NotOneOf {
                of: "the type of the VERSION field",
                choices: "int or uint",
                got: Quoted::new(other.name().as_bytes()),
            })
        }
    }
    Ok(Some(VersionField {
        field: field.to_vec(),
        tombstone_ms: tombstone_ms.unwrap_or(TOMBSTONE_MS),
    }))
}

/// All streams, without duplicates. A stream of TAGS may also be given as a STREAM, for the options that a tag
/// cannot give; the tag then gives operations, triggers and the database.
fn streams(requests: Vec<StreamRequest>, of_tags: Vec<Stream>) -> Result<Vec<Stream>, Error> {
    let mut streams: Vec<Stream> = Vec::new();
    let mut indexes: HashMap<Vec<u8>, (usize, bool)> = HashMap::new();
    for request in requests {
        let stream = request.stream()?;
        let index = (streams.len(), request.leaves_all_to_tags());
        if indexes.insert(stream.key.clone(), index).is_some() {
            return Err(Error::DuplicateStream(Quoted::new(&stream.key)));
        }
        streams.push(stream);
    }
    for tagged in of_tags {
        match indexes.get(&tagged.key) {
            None => streams.push(tagged),
            Some((_, false)) => return Err(Error::DuplicateStream(Quoted::new(&tagged.key))),
            Some((index, true)) => {
                if let Some(stream) = streams.get_mut(*index) {
                    stream.operations = tagged.operations;
                    stream.triggers = tagged.triggers;
                    stream.database = tagged.database;
                }
            }
        }
    }
    match streams.is_empty() {
        true => Err(Error::NoStreams),
        false => Ok(streams),
    }
}

/// The arguments that make this declaration at any key, with the value of every option.
pub fn encode(declaration: &Declaration) -> Vec<Vec<u8>> {
    let mut args: Vec<Vec<u8>> = Vec::new();
    let mut put = |words: &[&[u8]]| args.extend(words.iter().map(|word| word.to_vec()));
    put(&[b"NAME", &declaration.name, b"PREFIX", &declaration.prefix]);
    if declaration.stateless {
        put(&[b"STATELESS"]);
    }
    if let Some(version) = &declaration.version {
        put(&[
            b"VERSION",
            &version.field,
            b"TOMBSTONE",
            version.tombstone_ms.to_string().as_bytes(),
        ]);
    }
    if let Some(field) = &declaration.soft_delete {
        put(&[b"SOFTDELETE", field]);
    }
    if !declaration.types.is_empty() {
        put(&[b"TYPES", declaration.types.len().to_string().as_bytes()]);
        for (field, field_type) in &declaration.types {
            put(&[field, field_type.name().as_bytes()]);
        }
    }
    for stream in &declaration.streams {
        put(&[
            b"STREAM",
            &stream.key,
            b"OPS",
            stream.operations.name().as_bytes(),
        ]);
        if !stream.triggers.is_empty() {
            put(&[b"FIELDS", stream.triggers.len().to_string().as_bytes()]);
            for field in &stream.triggers {
                put(&[field]);
            }
        }
        if let Some(max_len) = stream.max_len {
            put(&[
                b"MAXLEN",
                max_len.sign().as_bytes(),
                max_len.count.to_string().as_bytes(),
                b"ONFULL",
                max_len.on_full.name().as_bytes(),
            ]);
        }
        if let Some(max_age_ms) = stream.max_age_ms {
            put(&[b"MAXAGE", max_age_ms.to_string().as_bytes()]);
        }
        put(&[
            b"PAYLOAD",
            stream.payload.name().as_bytes(),
            b"FORMAT",
            stream.format.name().as_bytes(),
        ]);
        if let Some(database) = stream.database {
            put(&[b"DB", database.to_string().as_bytes()]);
        }
    }
    args
}

impl MaxLen {
    /// The sign before the count: `~` if entries beyond it may stay, else `=`.
    pub fn sign(self) -> &'static str {
        match self.approximate {
            true => "~",
            false => "=",
        }
    }
}

/// The arguments as the client gave them, before defaults are applied.
#[derive(Default)]
struct Request<'a> {
    name: Option<&'a [u8]>,
    prefix: Option<&'a [u8]>,
    stateless: Option<()>,
    version: Option<&'a [u8]>,
    tombstone_ms: Option<u64>,
    soft_delete: Option<&'a [u8]>,
    types: Option<BTreeMap<Vec<u8>, FieldType>>,
    streams: Vec<StreamRequest<'a>>,
    tags: Option<Vec<Tag<'a>>>,
    pools: Pools<'a>,
}

#[derive(Default)]
struct StreamRequest<'a> {
    key: &'a [u8],
    operations: Option<Operations>,
    triggers: Option<BTreeSet<Vec<u8>>>,
    max_len: Option<MaxLen>,
    on_full: Option<OnFull>,
    max_age_ms: Option<u64>,
    payload: Option<Payload>,
    format: Option<Format>,
    database: Option<u32>,
}

impl<'a> Request<'a> {
    fn parse(mut args: Args<'a>) -> Result<Self, Error> {
        let mut request = Request::default();
        // Whether the options of a STREAM may follow.
        let mut in_stream = false;
        while !args.is_empty() {
            let was_in_stream = std::mem::replace(&mut in_stream, false);
            if args.keyword("NAME") {
                set(&mut request.name, "NAME", args.next("NAME", "a name")?)?;
            } else if args.keyword("PREFIX") {
                set(
                    &mut request.prefix,
                    "PREFIX",
                    args.next("PREFIX", "a prefix")?,
                )?;
            } else if args.keyword("STATELESS") {
                set(&mut request.stateless, "STATELESS", ())?;
            } else if args.keyword("VERSION") {
                set(
                    &mut request.version,
                    "VERSION",
                    field(&mut args, "VERSION")?,
                )?;
            } else if args.keyword("TOMBSTONE") {
                let ms = args.ms("TOMBSTONE", 0)?;
                set(&mut request.tombstone_ms, "TOMBSTONE", ms)?;
            } else if args.keyword("SOFTDELETE") {
                let field = field(&mut args, "SOFTDELETE")?;
                set(&mut request.soft_delete, "SOFTDELETE", field)?;
            } else if args.keyword("TYPES") {
                set(&mut request.types, "TYPES", types(&mut args)?)?;
            } else if args.keyword("TAGS") {
                set(&mut request.tags, "TAGS", tags(&mut args)?)?;
            } else if args.keyword("POOL") {
                let code = args.next("POOL", "a code")?;
                let database = database(&mut args, "POOL")?;
                if request.pools.insert(code, database).is_some() {
                    return Err(Error::DuplicatePool(Quoted::new(code)));
                }
            } else if args.keyword("STREAM") {
                in_stream = true;
                request.streams.push(StreamRequest {
                    key: args.next("STREAM", "a stream")?,
                    ..StreamRequest::default()
                });
            } else {
                in_stream = true;
                let stream = request.streams.last_mut().filter(|_| was_in_stream);
                option_of_stream(&mut args, stream)?;
            }
        }
        Ok(request)
    }
}

/// Reads one option of a STREAM. Without a stream it is parsed all the same, for the more specific error.
fn option_of_stream<'a>(
    args: &mut Args<'a>,
    stream: Option<&mut StreamRequest<'a>>,
) -> Result<(), Error> {
    let mut nowhere = StreamRequest::default();
    let homeless = stream.is_none();
    let stream = stream.unwrap_or(&mut nowhere);
    let option = if args.keyword("OPS") {
        set(&mut stream.operations, "OPS", operations(args)?)?;
        "OPS"
    } else if args.keyword("FIELDS") {
        set(&mut stream.triggers, "FIELDS", triggers(args)?)?;
        "FIELDS"
    } else if args.keyword("MAXLEN") {
        set(&mut stream.max_len, "MAXLEN", max_len(args)?)?;
        "MAXLEN"
    } else if args.keyword("ONFULL") {
        set(&mut stream.on_full, "ONFULL", args.word("ONFULL")?)?;
        "ONFULL"
    } else if args.keyword("MAXAGE") {
        set(&mut stream.max_age_ms, "MAXAGE", args.ms("MAXAGE", 1)?)?;
        "MAXAGE"
    } else if args.keyword("PAYLOAD") {
        set(&mut stream.payload, "PAYLOAD", args.word("PAYLOAD")?)?;
        "PAYLOAD"
    } else if args.keyword("FORMAT") {
        set(&mut stream.format, "FORMAT", args.word("FORMAT")?)?;
        "FORMAT"
    } else if args.keyword("DB") {
        set(&mut stream.database, "DB", database(args, "DB")?)?;
        "DB"
    } else {
        let got = args.take().unwrap_or_default();
        return Err(Error::UnknownOption(Quoted::new(got)));
    };
    match homeless {
        true => Err(Error::NeedsStream(option)),
        false => Ok(()),
    }
}

impl StreamRequest<'_> {
    fn stream(&self) -> Result<Stream, Error> {
        let default = Stream::new(self.key);
        let format = self.format.unwrap_or(default.format);
        let payloads = format.payloads();
        let payload = self.payload.or(payloads.first().copied());
        let payload = payload.unwrap_or(default.payload);
        if !payloads.contains(&payload) {
            return Err(Error::PayloadOfFormat {
                format: format.name(),
                payload: payload.name(),
            });
        }
        let max_len = match (self.max_len, self.on_full) {
            (None, Some(_)) => return Err(Error::Needs("ONFULL", "MAXLEN")),
            (max_len, None) => max_len,
            (Some(max_len), Some(on_full)) => Some(MaxLen { on_full, ..max_len }),
        };
        Ok(Stream {
            operations: self.operations.unwrap_or(default.operations),
            triggers: self.triggers.clone().unwrap_or_default(),
            max_len,
            max_age_ms: self.max_age_ms,
            payload,
            format,
            database: self.database,
            ..default
        })
    }

    /// Whether it has none of the options that a tag gives.
    fn leaves_all_to_tags(&self) -> bool {
        self.operations.is_none() && self.triggers.is_none() && self.database.is_none()
    }
}

fn set<T>(option: &mut Option<T>, name: &'static str, value: T) -> Result<(), Error> {
    match option.replace(value) {
        Some(_) => Err(Error::Repeated(name)),
        None => Ok(()),
    }
}

fn field<'a>(args: &mut Args<'a>, of: &'static str) -> Result<&'a [u8], Error> {
    match args.next(of, "a field")? {
        MARKER => Err(Error::ReservedField),
        field => Ok(field),
    }
}

fn types(args: &mut Args) -> Result<BTreeMap<Vec<u8>, FieldType>, Error> {
    let mut types = BTreeMap::new();
    for _ in 0..args.count("TYPES")? {
        let field = field(args, "TYPES")?;
        let word = args.next("TYPES", "a type")?;
        let field_type = FieldType::parse(word).ok_or_else(|| Error::NotOneOf {
            of: "a type of TYPES",
            choices: FieldType::CHOICES,
            got: Quoted::new(word),
        })?;
        if types.insert(field.to_vec(), field_type).is_some() {
            return Err(Error::DuplicateField(Quoted::new(field)));
        }
    }
    Ok(types)
}

fn tags<'a>(args: &mut Args<'a>) -> Result<Vec<Tag<'a>>, Error> {
    let mut tags = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..args.count("TAGS")? {
        let field = field(args, "TAGS")?;
        if !seen.insert(field) {
            return Err(Error::DuplicateField(Quoted::new(field)));
        }
        let tag = args.next("TAGS", "a tag")?;
        tags.push(Tag { field, tag });
    }
    Ok(tags)
}

fn triggers(args: &mut Args) -> Result<BTreeSet<Vec<u8>>, Error> {
    let mut triggers = BTreeSet::new();
    for _ in 0..args.count("FIELDS")? {
        let field = field(args, "FIELDS")?;
        if !triggers.insert(field.to_vec()) {
            return Err(Error::DuplicateField(Quoted::new(field)));
        }
    }
    Ok(triggers)
}

fn operations(args: &mut Args) -> Result<Operations, Error> {
    let word = args.next("OPS", "its operations")?;
    if word.eq_ignore_ascii_case(b"NONE") {
        return Ok(Operations::empty());
    }
    Operations::from_letters(&word.to_ascii_uppercase()).ok_or_else(|| Error::NotOneOf {
        of: "OPS",
        choices: "letters of IUD or NONE",
        got: Quoted::new(word),
    })
}

fn max_len(args: &mut Args) -> Result<MaxLen, Error> {
    let approximate = args.keyword("~");
    if !approximate {
        args.keyword("=");
    }
    // Redis counts a stream's entries in a signed 64-bit integer.
    let count = args.number("MAXLEN", "a count", 0..=i64::MAX.unsigned_abs())?;
    Ok(MaxLen {
        count,
        approximate,
        on_full: OnFull::Trim,
    })
}

fn database(args: &mut Args, of: &'static str) -> Result<u32, Error> {
    let index = args.number(of, "a database's index", 0..=i32::MAX.unsigned_abs().into())?;
    let index = u32::try_from(index);
    debug_assert!(index.is_ok(), "it is in the range");
    Ok(index.unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Declaration, Error> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        decode(b"user", Args::new(&words))
    }

    #[test]
    fn a_declaration_is_the_arguments_that_make_it() {
        for (typed, canonical) in [
            ("STREAM s", "NAME user PREFIX user: STREAM s OPS IUD PAYLOAD CHANGES FORMAT MSGPACK"),
            (
                "stream s ops du fields 2 b a maxlen 10 payload full name N prefix p: types 2 z int a bool",
                "NAME N PREFIX p: TYPES 2 a bool z int STREAM s OPS UD FIELDS 2 a b MAXLEN = 10 ONFULL TRIM \
                 PAYLOAD FULL FORMAT MSGPACK",
            ),
            (
                "STREAM s OPS NONE MAXLEN ~ 5 FORMAT msgpack STREAM t DB 3 PAYLOAD KEYS",
                "NAME user PREFIX user: STREAM s OPS NONE MAXLEN ~ 5 ONFULL TRIM PAYLOAD CHANGES \
                 FORMAT MSGPACK STREAM t OPS IUD PAYLOAD KEYS FORMAT MSGPACK DB 3",
            ),
            (
                "TAGS 2 ID dirtyStream=A/p/I,B//D Age dirtyStream=B POOL p 2",
                "NAME user PREFIX user: STREAM A OPS I PAYLOAD CHANGES FORMAT MSGPACK DB 2 \
                 STREAM B OPS D FIELDS 1 Age PAYLOAD CHANGES FORMAT MSGPACK",
            ),
            (
                "STREAM B FORMAT FLUXAORM MAXLEN 9 TAGS 2 ID dirtyStream=A,B//D Age dirtyStream=B",
                "NAME user PREFIX user: STREAM B OPS D FIELDS 1 Age MAXLEN = 9 ONFULL TRIM \
                 PAYLOAD CHANGES FORMAT FLUXAORM STREAM A OPS IUD PAYLOAD CHANGES FORMAT MSGPACK",
            ),
            (
                "stateless softdelete gone stream s onfull keep maxlen 5 maxage 100 format debezium",
                "NAME user PREFIX user: STATELESS SOFTDELETE gone STREAM s OPS IUD MAXLEN = 5 ONFULL KEEP \
                 MAXAGE 100 PAYLOAD IMAGES FORMAT DEBEZIUM",
            ),
            (
                "version v stream s format fluxaorm1 tombstone 7 types 1 a bool",
                "NAME user PREFIX user: VERSION v TOMBSTONE 7 TYPES 2 a bool v int \
                 STREAM s OPS IUD PAYLOAD FULL FORMAT FLUXAORM1",
            ),
            (
                "stream s types 5 a DECIMAL b decimal:0 c decimal:1000 d Date e datetime",
                "NAME user PREFIX user: TYPES 5 a decimal b decimal:0 c decimal:1000 d date e datetime \
                 STREAM s OPS IUD PAYLOAD CHANGES FORMAT MSGPACK",
            ),
            (
                "VERSION v TYPES 1 v uint STREAM s",
                "NAME user PREFIX user: VERSION v TOMBSTONE 86400000 TYPES 1 v uint \
                 STREAM s OPS IUD PAYLOAD CHANGES FORMAT MSGPACK",
            ),
        ] {
            let declaration = parse(typed).unwrap();
            let args = encode(&declaration);
            let words: Vec<_> = args.iter().map(|w| String::from_utf8_lossy(w)).collect();
            let expected: Vec<_> = canonical.split_whitespace().collect();
            assert_eq!(words, expected);
            assert_eq!(parse(&words.join(" ")), Ok(declaration));
        }
    }

    #[test]
    fn a_count_promises_nothing() {
        for line in [
            "TYPES 4294967295 a",
            "STREAM s FIELDS 4294967295 a",
            "TAGS 4294967295 ID",
        ] {
            assert!(matches!(parse(line), Err(Error::Missing { .. })), "{line}");
        }
    }
}
