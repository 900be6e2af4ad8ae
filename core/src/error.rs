//! Every error a user can see: one variant, one wording, one code.
//!
//! The codes are those of the contract (`ERR`, `NODECL`, `EXISTS`, …). An error is one line. Bytes that a
//! client sent are quoted in it, shortened, with unprintable bytes escaped.

use crate::acl::{Access, Pattern};
use crate::entity::event_id::EventId;
use std::borrow::Cow;
use std::fmt;

/// Bytes a client sent, made fit to stand in a one-line error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// More than this of a value is noise in an error.
    const MAX: usize = 64;

    /// Quotes bytes, escapes what is not printable, and shortens what is long.
    pub fn new(bytes: &[u8]) -> Self {
        let shown = bytes.get(..Self::MAX).unwrap_or(bytes);
        let mut text = String::with_capacity(shown.len().saturating_add(5));
        text.push('"');
        for &byte in shown {
            match byte {
                b'\'' => text.push('\''),
                _ => text.extend(std::ascii::escape_default(byte).map(char::from)),
            }
        }
        text.push('"');
        if shown.len() < bytes.len() {
            text.push_str("...");
        }
        Quoted(text)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reply when the module itself has failed; the details are in the server's log.
pub const INTERNAL: &str = "ERR internal error in the module dirty, see the server's log";

/// Everything that a client can be told instead of a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the wording says what each field holds
pub enum Error {
    /// The whole command is too short or, for commands of fixed length, too long.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(&'static str),
    /// An option or operation ended before its arguments did.
    #[error("ERR {of} requires {what}")]
    Missing {
        of: &'static str,
        what: &'static str,
    },
    /// A name is empty, as that of a variable that was never set.
    #[error("ERR {of} requires {what}, not an empty one")]
    Empty {
        of: &'static str,
        what: &'static str,
    },
    /// A word stands where an option is expected.
    #[error("ERR unknown option {0}")]
    UnknownOption(Quoted),
    /// A word stands where an operation of a flush is expected.
    #[error("ERR unknown operation {0}")]
    UnknownOperation(Quoted),
    /// The same option was given twice.
    #[error("ERR {0} is given twice")]
    Repeated(&'static str),
    /// An option of a flush stands behind its operations.
    #[error("ERR {0} must stand before the operations")]
    OptionBehind(&'static str),
    /// Two options of a flush exclude each other.
    #[error("ERR {0} and {1} cannot be combined")]
    Exclusive(&'static str, &'static str),
    /// A SEED would make an entity come or go for readers, who are not told of it.
    #[error(
        "ERR SEED cannot turn the field {field} of SOFTDELETE: readers would not learn that entity {id} comes or goes; use SNAPSHOT"
    )]
    SeedTurns { field: Quoted, id: Quoted },
    /// An option of a STREAM was given outside the options of a STREAM.
    #[error("ERR {0} must stand among the options of a STREAM")]
    NeedsStream(&'static str),
    /// A number is out of range, or the argument is not a number.
    #[error("ERR {of} must be an integer from {min} to {max}, not {got}")]
    NotANumber {
        of: &'static str,
        min: u64,
        max: u64,
        got: Quoted,
    },
    /// A count of arguments is not a number.
    #[error("ERR the count of {of} must be an integer, 0 or more, not {got}")]
    NotACount { of: &'static str, got: Quoted },
    /// An event id does not have the form `ms-seq`.
    #[error("ERR invalid event id {0}, expected ms-seq")]
    NotAnId(Quoted),
    /// A reader cannot start there.
    #[error("ERR invalid {of} {got}, expected 0, $, a position, an event id or a time in ms")]
    NotAStart { of: &'static str, got: Quoted },
    /// The index of a SHARD is not smaller than the number of shards.
    #[error("ERR SHARD {index} of {count} does not exist: they count from 0")]
    NoSuchShard { index: u64, count: u64 },
    /// An argument is not one of a few keywords.
    #[error("ERR {of} must be {choices}, not {got}")]
    NotOneOf {
        of: &'static str,
        choices: &'static str,
        got: Quoted,
    },
    /// A tag of TAGS is wrong.
    #[error("ERR bad tag {tag} of field {field}: {why}")]
    BadTag {
        field: Quoted,
        tag: Quoted,
        why: TagFault,
    },
    /// A list of fields names one of them twice.
    #[error("ERR field {0} is named twice")]
    DuplicateField(Quoted),
    /// META gives two values for one name.
    #[error("ERR META {0} is named twice")]
    DuplicateMeta(Quoted),
    /// A declaration declares a stream twice.
    #[error("ERR stream {0} is declared twice")]
    DuplicateStream(Quoted),
    /// FIELDS of a stream that gets every update anyway.
    #[error("ERR FIELDS of the stream {stream} would filter nothing beside U in OPS; {remedy}")]
    FieldsBesideUpdates {
        stream: Quoted,
        remedy: &'static str,
    },
    /// A declaration differs from the one that stands, but has the same revision.
    #[error(
        "ERR the revision {revision} of {key} is declared with other content; give the new one a higher REVISION"
    )]
    SameRevision { revision: u64, key: Quoted },
    /// A declaration maps a pool code twice.
    #[error("ERR pool {0} is mapped twice")]
    DuplicatePool(Quoted),
    /// The marker of a snapshot cannot be a field.
    #[error("ERR the field \"@\" is reserved")]
    ReservedField,
    /// A declaration has no stream.
    #[error("ERR a declaration requires at least one stream")]
    NoStreams,
    /// An option has no meaning without another one.
    #[error("ERR {0} requires {1}")]
    Needs(&'static str, &'static str),
    /// An option or operation has no meaning for a STATELESS type.
    #[error("ERR {0} requires the snapshots that STATELESS does not keep")]
    NeedsSnapshots(&'static str),
    /// A DELETE has fields that nothing would read.
    #[error("ERR DELETE takes fields only with VERSION or STATELESS")]
    FieldsOfDelete,
    /// A flush of a type with VERSION does not give the version.
    #[error("BADVALUE field {0} must give the entity's version")]
    NoVersion(Quoted),
    /// A stream's format has numeric ids only.
    #[error(
        "BADVALUE the id {id} is not a 64-bit unsigned integer, as FORMAT {format} of the stream {stream} requires"
    )]
    IdNotNumeric {
        id: Quoted,
        format: &'static str,
        stream: Quoted,
    },
    /// A format has no room for a payload.
    #[error("ERR FORMAT {format} cannot carry PAYLOAD {payload}")]
    PayloadOfFormat {
        format: &'static str,
        payload: &'static str,
    },
    /// A flush has no operations.
    #[error("ERR a flush requires at least one operation")]
    NoOperations,
    /// A stream of a declaration would live at one of the declaration's own keys.
    #[error("ERR stream {0} would be one of the declaration's own keys")]
    StreamIsKey(Quoted),
    /// A stream in another database, in a cluster.
    #[error("ERR this cluster has no other databases: DB and POOL are refused")]
    DatabaseInCluster,
    /// The server has fewer databases.
    #[error("ERR the database \"{index}\" of the stream {stream} is out of range")]
    NoSuchDatabase { index: u32, stream: Quoted },
    /// A stream has no group or cursor of this name.
    #[error("NOREADER there is no {kind} {name} on {stream}")]
    NoReader {
        kind: &'static str,
        name: Quoted,
        stream: Quoted,
    },
    /// A reader is of the other kind: `kind` is what it is.
    #[error("ERR {name} is a {kind}")]
    OtherKind { kind: &'static str, name: Quoted },
    /// FROM GROUP of a native group that does not exist.
    #[error("ERR there is no native group {name} on {stream}")]
    NoNativeGroup { name: Quoted, stream: Quoted },
    /// A position is not one that a reply gave.
    #[error("ERR invalid position {0}, expected one that a reply gave")]
    NotAPosition(Quoted),
    /// A reader that does not exist is to be changed without FROM.
    #[error("ERR {0} is new, so it requires FROM")]
    NeedsFrom(Quoted),
    /// A reader cannot start there.
    #[error("ERR {0} is beyond the end of the stream")]
    BeyondEnd(EventId),
    /// Settings of a reader that do not go together, or may not change now.
    #[error("ERR {0}")]
    Flaw(&'static str),
    /// Settings differ from those of the same revision.
    #[error("ERR REVISION {0} has other settings")]
    RevisionDiffers(u64),
    /// A flush acknowledges an event that its consumer does not hold.
    #[error("NOTHELD the consumer does not hold {0}")]
    NotHeld(EventId),
    /// The stream did not give this position.
    #[error("NOPOSITION this stream did not give the position {0}")]
    NoPosition(EventId),
    /// A change of readers does not fit those at a key.
    #[error("ERR a change of readers does not fit those at {0}")]
    BadDelta(Quoted),
    /// Readers at a key are in use by another command.
    #[error("TRYAGAIN the readers at {0} are at work for another command")]
    Busy(Quoted),
    /// SNAPSHOT names a declaration twice.
    #[error("ERR SNAPSHOT names {0} twice")]
    DuplicateKey(Quoted),
    /// The snapshots of a declaration cannot begin what its stream goes on with.
    #[error("ERR SNAPSHOT cannot begin with {key}: {why}")]
    NoBeginning { key: Quoted, why: &'static str },
    /// A cursor of SCAN is not one that a reply gave.
    #[error("ERR invalid cursor {0}, expected 0 or one that a reply gave")]
    NotACursor(Quoted),
    /// A key has no run of this name.
    #[error("NORUN there is no run {run} of {key}; begin one")]
    NoRun { run: Quoted, key: Quoted },
    /// A key has another run.
    #[error("EXISTS the run {run} of {key} has not ended")]
    RunExists { run: Quoted, key: Quoted },
    /// SWEEP would delete more than MAXDELETE allows.
    #[error("LIMIT {missing} of {scanned} entities would be deleted; MAXDELETE allows {allowed}")]
    WouldDelete {
        missing: u64,
        scanned: u64,
        allowed: u64,
    },
    /// The dead stream of a stream is the stream itself.
    #[error("ERR the stream {0} cannot take its own dead")]
    DeadIsStream(Quoted),
    /// A dead stream at a key that the readers of a stream need.
    #[error("ERR DEAD cannot be {0}: keys that end in :readers hold readers")]
    DeadIsReaders(Quoted),
    /// A stream's last id is the greatest one.
    #[error("ERR the stream {0} has exhausted its ids")]
    IdsExhausted(Quoted),
    /// A stream takes no entry, for a reason that the server does not tell.
    #[error("ERR the stream {0} takes no entry")]
    TakesNothing(Quoted),
    /// A key holds no declaration.
    #[error("NODECL no entity type is declared at {0}")]
    NoDeclaration(Quoted),
    /// INSERT of an entity that exists with other values.
    #[error("EXISTS entity {0} exists with other values")]
    Exists(Quoted),
    /// UPDATE of an entity that does not exist.
    #[error("NOENTITY there is no entity {0}")]
    NoEntity(Quoted),
    /// A value does not fit its field's type.
    #[error("BADVALUE field {field} takes {expected}, not {got}")]
    BadValue {
        field: Quoted,
        expected: Cow<'static, str>,
        got: Quoted,
    },
    /// JSON has no room for the bytes of the one entity that DIRTY.GET is asked for.
    #[error("BADVALUE entity {0} is not UTF-8, as JSON must be; use RAW")]
    NotUtf8(Quoted),
    /// One of the flushes of a COMMIT has failed.
    #[error("{error}, in the flush that waits under the token {token}")]
    OfToken { error: Box<Error>, token: Quoted },
    /// Two options of a declaration name the same field.
    #[error("ERR {options} cannot both be {field}")]
    SameField {
        options: &'static str,
        field: Quoted,
    },
    /// The token of a DEFER belongs to another flush.
    #[error("EXISTS another flush waits under the token {0}")]
    TokenTaken(Quoted),
    /// The token of a DEFER belongs to something else.
    #[error(
        "EXISTS the token {0} already holds something that this version cannot read; abort it or use another"
    )]
    TokenUnreadable(Quoted),
    /// STATELESS came or went since the DEFER.
    #[error(
        "ERR STATELESS was switched since the flush under the token {0} was deferred; abort it"
    )]
    DeferredOtherwise(Quoted),
    /// The value under a token was not written by DEFER.
    #[error(
        "WRONGTYPE the field {token} of the key {key} is not a deferred flush that this version can read"
    )]
    NotDeferred { token: Quoted, key: Quoted },
    /// An argument is not valid JSON or MessagePack; `offset` is in bytes from its beginning.
    #[error("BADVALUE malformed {format} at byte {offset}: {why}")]
    Malformed {
        format: &'static str,
        offset: usize,
        why: String,
    },
    /// A JSON or MessagePack snapshot has a field twice.
    #[error("BADVALUE field {field} stands twice in the {format}")]
    RepeatedField { format: &'static str, field: Quoted },
    /// A key has another type than it must; `database` is set if it is not the client's own.
    #[error("WRONGTYPE the key {key}{} does not hold {expected}", OfDatabase(*.database))]
    WrongType {
        key: Quoted,
        database: Option<u32>,
        expected: &'static str,
    },
    /// The snapshot of an entity would be stored at a key that belongs to something else.
    #[error("WRONGTYPE the snapshot of entity {id} would be stored at {key}, {owner}")]
    SnapshotIsTaken {
        id: Quoted,
        key: Quoted,
        owner: Owner,
    },
    /// To check an id with that many separators, too many keys would have to be looked at.
    #[error("ERR the id {id} contains {separator:?} {got} times; at most {max} are allowed")]
    TooManySeparators {
        id: Quoted,
        separator: char,
        got: usize,
        max: usize,
    },
    /// A declaration at a key of its own that another declaration has.
    #[error("ERR the key {key} belongs to the declaration {declaration}")]
    KeyIsOfDeclaration { key: Quoted, declaration: Quoted },
    /// A prefix below which another declaration has keys of its own.
    #[error("ERR the prefix {prefix} leads to keys of the declaration {declaration}")]
    PrefixIsOfDeclaration { prefix: Quoted, declaration: Quoted },
    /// A declaration at a key that the readers of its stream need.
    #[error("ERR the key {key} belongs to the stream {stream}, whose readers need it")]
    KeyIsOfStream { key: Quoted, stream: Quoted },
    /// A key is in another cluster slot than the key it is derived from.
    #[error(
        "CROSSSLOT the key {0} is in another slot than the key that it belongs to; give all of them the same {{tag}}"
    )]
    CrossSlot(Quoted),
    /// A slot is being moved, and this node does not have all that the command needs.
    #[error(
        "TRYAGAIN the slot is being moved to another node, and not all keys of this command are here; send it again"
    )]
    TryAgain,
    /// The user has no right to read a key.
    #[error("NOPERM this user may not read the key {0}")]
    MayNotRead(Quoted),
    /// The user has no right to write a key.
    #[error("NOPERM this user may not write the key {0}")]
    MayNotWrite(Quoted),
    /// The user has no right to read, or to write, all keys that a prefix makes.
    #[error(
        "NOPERM this user may not {access} all keys with the prefix {prefix}; that needs {pattern}"
    )]
    MayNotAll {
        access: Access,
        prefix: Quoted,
        pattern: Pattern,
    },
    /// The server limits users to databases, and this user may not use the database of a stream.
    #[error("NOPERM this user may not use the database \"{index}\" of the stream {stream}")]
    MayNotUseDatabase { index: i32, stream: Quoted },
    /// The user lost the right to read a stream while a reader waited.
    #[error("NOPERM this user may no longer consume the stream {0}")]
    MayNoLongerRead(Quoted),
    /// WHERE asks for more than a setting allows.
    #[error("LIMIT more than {max} filters and fields in WHERE, but {setting} is {max}")]
    TooManyFilters { setting: &'static str, max: usize },
    /// A command asks for more than a setting allows.
    #[error("LIMIT {got} {what}{}, but {setting} is {max}", Name(.of))]
    TooMuch {
        got: usize,
        what: &'static str,
        of: Option<Quoted>,
        setting: &'static str,
        max: usize,
    },
    /// The name of a reader or consumer.
    #[error(
        "LIMIT the name {name} has {got} bytes; names of readers and consumers have at most {max}"
    )]
    NameTooLong {
        name: Quoted,
        got: usize,
        max: usize,
    },
    /// All events of one command together are larger than a setting allows.
    #[error("LIMIT the events of this command are larger than {setting}, which is {max}")]
    EventsTooLarge { setting: &'static str, max: usize },
    /// An event is larger than any may be.
    #[error("LIMIT an event of this command is larger than {0} bytes, and no setting allows that")]
    EventTooLarge(usize),
    /// One DIRTY.GET would reply too many fields or bytes.
    #[error("LIMIT these entities are too large for one reply; name fewer ids")]
    EntitiesTooLarge,
    /// The operations of one command look at more fields than its field budget.
    #[error(
        "LIMIT the operations of this command look at more than {0} fields in total, where a written field counts as ten"
    )]
    FieldBudgetExceeded(usize),
    /// A stream with ONFULL REFUSE has no room for the events of a flush; `database` is set if it is not the
    /// client's own.
    #[error("FULL the stream {stream}{} cannot take {events} more: at most {count} entries may wait until every reader has acknowledged them{}", OfDatabase(*.database), AndBehind(.behind))]
    Full {
        stream: Quoted,
        database: Option<u32>,
        events: usize,
        count: u64,
        behind: Option<Behind>,
    },
    /// A native command that the module ran has failed; its error is passed on.
    #[error("{0}")]
    Server(String),
    /// The module itself has failed; the details are in the server's log.
    #[error("{}", INTERNAL)]
    Internal,
}

/// What the key belongs to at which a snapshot would be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Owner {
    /// It is the declaration itself.
    #[error("which is its declaration")]
    Itself,
    /// It is this stream of the declaration.
    #[error("which is the stream {0} of its declaration")]
    IsStream(Quoted),
    /// It is where the declaration's flushes wait for their COMMIT.
    #[error("which holds its declaration's deferred flushes")]
    Deferred,
    /// It is where a reply of the declaration's is kept.
    #[error("which holds its declaration's replies of ONCE")]
    Once,
    /// It lies below this stream of the declaration.
    #[error("below the stream {0} of its declaration")]
    Stream(Quoted),
    /// A declaration there would keep deferred flushes or replies of ONCE in it.
    #[error("which is reserved for deferred flushes and replies of ONCE")]
    Reserved,
    /// It is the key of this declaration, lies below it, or is one of its own keys.
    #[error("which belongs to the declaration {0}")]
    Declaration(Quoted),
}

/// What is wrong with a tag of TAGS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagFault {
    /// A part of the tag names no stream.
    #[error("a stream's name is empty")]
    EmptyName,
    /// A `dirtyStream` tag has other letters than `IUD`.
    #[error("operations must be letters of IUD")]
    UnknownOpLetter,
    /// A `dirty` tag has other words than `add`, `edit` and `delete`.
    #[error("operations must be add, edit or delete, joined by |")]
    UnknownOpWord,
    /// A part of a `dirty` tag has more than a name and operations.
    #[error("a stream has more than one colon")]
    TooManyColons,
    /// The tag of an ordinary field has operations or a pool.
    #[error("only the tag of ID may give operations or a pool")]
    OpsOnField,
    /// The tag of an ordinary field names a stream that the entity does not have.
    #[error("it names a stream that the tag of ID does not declare")]
    UndeclaredStream,
    /// A quote is not closed, or stands where Go's struct tags have none.
    #[error("the quotes are not those of a Go struct tag")]
    Quote,
    /// A pool code stands for no database.
    #[error("no POOL maps the code {0}")]
    UnmappedPool(Quoted),
}

impl Error {
    /// Adds the token under which the failed flush waited, if it waited.
    pub fn of_token(self, token: Option<&[u8]>) -> Self {
        match token {
            None => self,
            Some(token) => Error::OfToken {
                error: Box::new(self),
                token: Quoted::new(token),
            },
        }
    }

    /// Whether more of something is asked for than a setting allows.
    pub fn is_of_a_setting(&self) -> bool {
        matches!(self, Error::TooMuch { .. } | Error::EventsTooLarge { .. })
    }

    /// Whether a stream with ONFULL REFUSE has no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. })
    }

    /// Whether a limit is exceeded, in whatever flush.
    pub fn is_limit(&self) -> bool {
        match self {
            Error::TooManyFilters { .. }
            | Error::NameTooLong { .. }
            | Error::TooMuch { .. }
            | Error::EventsTooLarge { .. }
            | Error::EventTooLarge(_)
            | Error::EntitiesTooLarge
            | Error::FieldBudgetExceeded(_) => true,
            Error::OfToken { error, .. } => error.is_limit(),
            _ => false,
        }
    }

    /// Adds the database to an error about a key or stream that is not in the client's own.
    pub fn in_database(mut self, of_another: Option<u32>) -> Self {
        if let Error::WrongType { database, .. } | Error::Full { database, .. } = &mut self {
            *database = of_another;
        }
        self
    }
}

/// ` of database N`, or nothing for the client's own.
struct OfDatabase(Option<u32>);

impl fmt::Display for OfDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(database) => write!(f, " of database {database}"),
            None => Ok(()),
        }
    }
}

/// The reader of a stream that is furthest behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// `group`, `cursor` or `native group`.
    pub kind: &'static str,
    /// Its name.
    pub name: Quoted,
}

/// Who is furthest behind, or nothing.
struct AndBehind<'b>(&'b Option<Behind>);

impl fmt::Display for AndBehind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Behind { kind, name }) => write!(f, "; the {kind} {name} is furthest behind"),
            None => Ok(()),
        }
    }
}

/// A space and a name, or nothing.
struct Name<'n>(&'n Option<Quoted>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_bytes_are_printable_and_bounded() {
        for (bytes, expected) in [
            (b"abc".as_slice(), r#""abc""#),
            (b"", r#""""#),
            (b"O'Brien \"x\" \\", r#""O'Brien \"x\" \\""#),
            (b"a\r\nb\0\xff", r#""a\r\nb\x00\xff""#),
        ] {
            assert_eq!(Quoted::new(bytes).to_string(), expected);
        }
        let long = Quoted::new(&[b'x'; 100_000]).to_string();
        assert_eq!(long.len(), 64 + 2 + 3);
        assert!(long.ends_with("\"..."));
    }
}
