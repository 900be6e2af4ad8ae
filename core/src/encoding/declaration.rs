//! A declaration as the arguments of DIRTY.DECLARE behind its key. Clients send them, and RDB files (encoding
//! version 1: their number, then each as a string) and AOF rewrites hold them. All three have the same parser, so
//! a forged DUMP payload cannot declare anything that a client could not; only FIELDS beside `U` come to a client by
//! TAGS alone. Checks that depend on the key, the
//! server or the user are made elsewhere, since a declaration may be renamed, copied, or loaded by another server.
//!
//! ```text
//! [NAME name] [PREFIX prefix] [REVISION n] [STATELESS]
//! [VERSION field [TOMBSTONE ms]] [SOFTDELETE field]
//! [TYPES n field type [field type …]]
//! [STREAM stream [OPS ops] [FIELDS n field [field …]]
//!                [MAXLEN [=|~] count [ONFULL TRIM|KEEP|REFUSE]] [MAXAGE ms]
//!                [PAYLOAD KEYS|CHANGES|FULL|IMAGES]
//!                [FORMAT MSGPACK|FLUXAORM2|FLUXAORM1|FLAT|DEBEZIUM [IDFIELD name] [SAFENUMBERS]]
//!                [DB index]] …
//! [TAGS n field tag [field tag …]] [POOL code db] …
//! ```

use crate::args::Args;
use crate::entity::declaration::{
    Declaration, Format, MaxLen, OnFull, Payload, Stream, VersionField, default_name,
};
use crate::entity::operation::Operations;
use crate::entity::snapshot::MARKER;
use crate::entity::tags::{self, Pools, Tag};
use crate::entity::value::FieldType;
use crate::error::{Error, Quoted};
use crate::keyword::Keyword;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The declaration that a client makes by these arguments. The key gives the defaults of NAME and PREFIX.
pub fn decode(key: &[u8], args: Args) -> Result<Declaration, Error> {
    let request = Request::parse(args)?;
    if let Some(stream) = request.streams.iter().find(|stream| stream.filters_all()) {
        return Err(Error::FieldsBesideUpdates {
            stream: Quoted::new(stream.key),
            remedy: match stream.operations {
                Some(Operations::UPDATE) => "for updates of these fields alone give OPS NONE",
                _ => "leave U out of OPS",
            },
        });
    }
    declare(key, request)
}

/// As [`decode`], of what [`encode`] has made: in it the FIELDS that come from TAGS stand beside `U`.
pub fn decode_stored(key: &[u8], args: Args) -> Result<Declaration, Error> {
    declare(key, Request::parse(args)?)
}

fn declare(key: &[u8], request: Request) -> Result<Declaration, Error> {
    let prefix = request
        .prefix
        .map_or_else(|| [key, b":"].concat(), <[u8]>::to_vec);
    let name = request
        .name
        .map_or_else(|| default_name(key), <[u8]>::to_vec);
    if name.is_empty() {
        return Err(Error::Empty {
            of: "NAME",
            what: "a name",
        });
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
    let streams = streams(&request.streams, of_tags)?;
    Ok(Declaration {
        name,
        prefix,
        revision: request.revision,
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
            });
        }
    }
    Ok(Some(VersionField {
        field: field.to_vec(),
        tombstone_ms: tombstone_ms.unwrap_or(TOMBSTONE_MS),
    }))
}

/// All streams, without duplicates. A stream of TAGS may also be given as a STREAM, for the options that a tag
/// cannot give; the tag then gives operations, triggers and the database.
fn streams(requests: &[StreamRequest], of_tags: Vec<Stream>) -> Result<Vec<Stream>, Error> {
    let mut tagged: HashMap<Vec<u8>, usize> = HashMap::new();
    for (index, stream) in of_tags.iter().enumerate() {
        tagged.insert(stream.key.clone(), index);
    }
    let mut seen = HashSet::new();
    let mut streams: Vec<Stream> = Vec::new();
    for request in requests {
        let of_tag = tagged
            .get(request.key)
            .and_then(|index| of_tags.get(*index));
        let is_again = !seen.insert(request.key);
        if is_again || of_tag.is_some() && !request.leaves_all_to_tags() {
            return Err(Error::DuplicateStream(Quoted::new(request.key)));
        }
        streams.push(request.stream(of_tag)?);
    }
    let others = of_tags.into_iter();
    streams.extend(others.filter(|stream| !seen.contains(stream.key.as_slice())));
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
    if let Some(revision) = declaration.revision {
        put(&[b"REVISION", revision.to_string().as_bytes()]);
    }
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
        if let Some(name) = &stream.id_field {
            put(&[b"IDFIELD", name]);
        }
        if stream.safe_numbers {
            put(&[b"SAFENUMBERS"]);
        }
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
    revision: Option<u64>,
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
    id_field: Option<&'a [u8]>,
    safe_numbers: Option<()>,
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
                set(&mut request.name, "NAME", args.name("NAME", "a name")?)?;
            } else if args.keyword("PREFIX") {
                set(
                    &mut request.prefix,
                    "PREFIX",
                    args.name("PREFIX", "a prefix")?,
                )?;
            } else if args.keyword("REVISION") {
                // Replies and clients have signed integers.
                let max = i64::MAX.unsigned_abs();
                let revision = args.number("REVISION", "a number", 0..=max)?;
                set(&mut request.revision, "REVISION", revision)?;
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
                let code = args.name("POOL", "a code")?;
                let database = database(&mut args, "POOL")?;
                if request.pools.insert(code, database).is_some() {
                    return Err(Error::DuplicatePool(Quoted::new(code)));
                }
            } else if args.keyword("STREAM") {
                in_stream = true;
                request.streams.push(StreamRequest {
                    key: args.name("STREAM", "a stream")?,
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
    } else if args.keyword("IDFIELD") {
        let name = field(args, "IDFIELD")?;
        set(&mut stream.id_field, "IDFIELD", name)?;
        "IDFIELD"
    } else if args.keyword("SAFENUMBERS") {
        set(&mut stream.safe_numbers, "SAFENUMBERS", ())?;
        "SAFENUMBERS"
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
    /// The stream, if a tag gives the same one with what the tag says.
    fn stream(&self, of_tag: Option<&Stream>) -> Result<Stream, Error> {
        let default = match (of_tag, &self.triggers) {
            (Some(tagged), _) => tagged.clone(),
            (None, Some(triggers)) if !triggers.is_empty() => Stream {
                operations: Operations::INSERT | Operations::DELETE,
                triggers: triggers.clone(),
                ..Stream::new(self.key)
            },
            (None, _) => Stream::new(self.key),
        };
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
        let of_debezium = [
            ("IDFIELD", self.id_field.is_some()),
            ("SAFENUMBERS", self.safe_numbers.is_some()),
        ];
        let mut of_debezium = of_debezium.into_iter().filter(|(_, is_given)| *is_given);
        if let Some((option, _)) = of_debezium.next().filter(|_| format != Format::Debezium) {
            return Err(Error::Needs(option, "FORMAT DEBEZIUM"));
        }
        let max_len = match (self.max_len, self.on_full) {
            (None, Some(_)) => return Err(Error::Needs("ONFULL", "MAXLEN")),
            (max_len, None) => max_len,
            (Some(max_len), Some(on_full)) => Some(MaxLen { on_full, ..max_len }),
        };
        Ok(Stream {
            operations: self.operations.unwrap_or(default.operations),
            max_len,
            max_age_ms: self.max_age_ms,
            payload,
            format,
            id_field: self.id_field.map(<[u8]>::to_vec),
            safe_numbers: self.safe_numbers.is_some(),
            database: self.database.or(default.database),
            ..default
        })
    }

    /// Whether FIELDS stand beside `U`, which lets every update pass.
    fn filters_all(&self) -> bool {
        let updates = |operations: Operations| operations.contains(Operations::UPDATE);
        self.operations.is_some_and(updates)
            && self.triggers.as_ref().is_some_and(|t| !t.is_empty())
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
    match args.name(of, "a field")? {
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

    /// Arguments as they are typed, and those that make the same declaration.
    const CANONICAL: &[(&str, &str)] = &[
        (
            "STREAM s",
            "NAME user PREFIX user: STREAM s OPS IUD PAYLOAD CHANGES FORMAT MSGPACK",
        ),
        (
            "stream s ops d fields 2 b a maxlen 10 payload full name N prefix p: types 2 z int a bool",
            "NAME N PREFIX p: TYPES 2 a bool z int STREAM s OPS D FIELDS 2 a b MAXLEN = 10 ONFULL TRIM \
                 PAYLOAD FULL FORMAT MSGPACK",
        ),
        (
            "STREAM s OPS NONE MAXLEN ~ 5 FORMAT msgpack STREAM t DB 3 PAYLOAD KEYS",
            "NAME user PREFIX user: STREAM s OPS NONE MAXLEN ~ 5 ONFULL TRIM PAYLOAD CHANGES \
                 FORMAT MSGPACK STREAM t OPS IUD PAYLOAD KEYS FORMAT MSGPACK DB 3",
        ),
        (
            "TAGS 2 ID dirtyStream=A/p/I,B//D Age dirtyStream=B POOL p 2",
            "NAME user PREFIX user: STREAM A OPS I PAYLOAD CHANGES FORMAT FLUXAORM2 DB 2 \
                 STREAM B OPS D FIELDS 1 Age PAYLOAD CHANGES FORMAT FLUXAORM2",
        ),
        (
            "STREAM B FORMAT MSGPACK MAXLEN 9 TAGS 2 ID dirtyStream=A,B//D Age dirtyStream=B",
            "NAME user PREFIX user: STREAM B OPS D FIELDS 1 Age MAXLEN = 9 ONFULL TRIM \
                 PAYLOAD CHANGES FORMAT MSGPACK STREAM A OPS IUD PAYLOAD CHANGES FORMAT FLUXAORM2",
        ),
        (
            "STREAM A PAYLOAD KEYS STREAM dirty_B MAXAGE 5 TAGS 2 ID dirtyStream=A/p/ Age dirty=B POOL p 2",
            "NAME user PREFIX user: STREAM A OPS IUD PAYLOAD KEYS FORMAT FLUXAORM2 DB 2 \
                 STREAM dirty_B OPS NONE FIELDS 1 Age MAXAGE 5 PAYLOAD FULL FORMAT FLUXAORM1",
        ),
        (
            "STREAM s FIELDS 1 a STREAM t OPS NONE FIELDS 1 a STREAM u FIELDS 0 STREAM v OPS U FIELDS 0 \
                 REVISION 9223372036854775807",
            "NAME user PREFIX user: REVISION 9223372036854775807 \
                 STREAM s OPS ID FIELDS 1 a PAYLOAD CHANGES FORMAT MSGPACK \
                 STREAM t OPS NONE FIELDS 1 a PAYLOAD CHANGES FORMAT MSGPACK \
                 STREAM u OPS IUD PAYLOAD CHANGES FORMAT MSGPACK \
                 STREAM v OPS U PAYLOAD CHANGES FORMAT MSGPACK",
        ),
        (
            "stateless softdelete gone stream s onfull keep maxlen 5 maxage 100 format debezium",
            "NAME user PREFIX user: STATELESS SOFTDELETE gone STREAM s OPS IUD MAXLEN = 5 ONFULL KEEP \
                 MAXAGE 100 PAYLOAD IMAGES FORMAT DEBEZIUM",
        ),
        (
            "stream s safenumbers db 1 idfield id format debezium stream t format flat",
            "NAME user PREFIX user: STREAM s OPS IUD PAYLOAD IMAGES FORMAT DEBEZIUM IDFIELD id \
                 SAFENUMBERS DB 1 STREAM t OPS IUD PAYLOAD IMAGES FORMAT FLAT",
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
    ];

    #[test]
    fn a_declaration_is_the_arguments_that_make_it() {
        for &(typed, canonical) in CANONICAL {
            let declaration = parse(typed).unwrap();
            let args = encode(&declaration);
            let words: Vec<_> = args.iter().map(|w| String::from_utf8_lossy(w)).collect();
            let expected: Vec<_> = canonical.split_whitespace().collect();
            assert_eq!(words, expected);
            assert_eq!(parse(&words.join(" ")), Ok(declaration));
        }
    }

    #[test]
    fn fields_beside_u_come_by_tags_alone_and_are_stored() {
        let tagged = parse("TAGS 2 ID dirty=A Age dirty=A").unwrap();
        let stored = encode(&tagged);
        let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
        assert_eq!(decode_stored(b"other", Args::new(&stored)), Ok(tagged));
        let (none, without) = (
            "for updates of these fields alone give OPS NONE",
            "leave U out of OPS",
        );
        for (line, remedy) in [
            ("STREAM s OPS U FIELDS 1 a", none),
            ("STREAM s FIELDS 1 a OPS iud", without),
            ("STREAM t STREAM s OPS DU FIELDS 2 a b", without),
        ] {
            let stream = Quoted::new(b"s");
            let refused = Error::FieldsBesideUpdates { stream, remedy };
            assert_eq!(parse(line), Err(refused), "{line}");
        }
    }

    #[test]
    fn a_declaration_gives_way_to_one_of_a_higher_revision() {
        use crate::entity::declaration::Replacement::{Kept, New, Same};
        for (standing, new, expected) in [
            (None, "STREAM s", Ok(New)),
            (None, "STREAM s REVISION 0", Ok(New)),
            (Some("STREAM s"), "STREAM s", Ok(Same)),
            (Some("STREAM s"), "STREAM t", Ok(New)),
            (Some("STREAM s"), "STREAM s REVISION 0", Ok(New)),
            (Some("STREAM s REVISION 0"), "STREAM s", Ok(Kept)),
            (Some("STREAM s REVISION 5"), "STREAM t", Ok(Kept)),
            (Some("STREAM s REVISION 5"), "STREAM t REVISION 4", Ok(Kept)),
            (Some("STREAM s REVISION 5"), "STREAM s REVISION 4", Ok(Kept)),
            (
                Some("STREAM s REVISION 5"),
                "STREAM s OPS IUD REVISION 5",
                Ok(Same),
            ),
            (Some("STREAM s REVISION 5"), "STREAM t REVISION 5", Err(5)),
            (
                Some("STREAM s REVISION 5"),
                "STREAM s STREAM t REVISION 5",
                Err(5),
            ),
            (Some("STREAM s REVISION 5"), "STREAM t REVISION 6", Ok(New)),
            (Some("STREAM s REVISION 5"), "STREAM s REVISION 6", Ok(New)),
        ] {
            let standing = standing.map(|line| parse(line).unwrap());
            let expected = expected.map_err(|revision| Error::SameRevision {
                revision,
                key: Quoted::new(b"user"),
            });
            let found = parse(new).unwrap().replaces(standing.as_ref(), b"user");
            assert_eq!(found, expected, "{standing:?} {new}");
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
