//! Every error a user can see: one variant, one wording, one code.
//!
//! The codes are those of the contract (`ERR`, `NODECL`, `EXISTS`, …). An error is one line, and what
//! a client sent stands in it quoted, shortened, with unprintable bytes escaped.

use crate::entity::event_id::EventId;
use std::borrow::Cow;
use std::fmt;

/// Bytes a client sent, made fit to stand in a one-line error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// More than this of a value is noise in an error.
    const MAX: usize = 64;

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

pub const INTERNAL: &str = "ERR internal error in the module dirty, see the server's log";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The whole command is too short or, for commands of fixed length, too long.
    WrongArity(&'static str),
    /// An option or operation ended before its arguments did.
    Missing {
        of: &'static str,
        what: &'static str,
    },
    UnknownOption(Quoted),
    UnknownOperation(Quoted),
    /// The same option twice.
    Repeated(&'static str),
    /// An option of a STREAM stands where none of them is open.
    NeedsStream(&'static str),
    NotANumber {
        of: &'static str,
        least: u64,
        most: u64,
        got: Quoted,
    },
    NotACount {
        of: &'static str,
        got: Quoted,
    },
    NotAnId(Quoted),
    NotAStart {
        of: &'static str,
        got: Quoted,
    },
    NoSuchShard {
        index: u64,
        count: u64,
    },
    NotOneOf {
        of: &'static str,
        choices: &'static str,
        got: Quoted,
    },
    BadTag {
        field: Quoted,
        tag: Quoted,
        why: TagFault,
    },
    DuplicateField(Quoted),
    DuplicateMeta(Quoted),
    DuplicateStream(Quoted),
    DuplicatePool(Quoted),
    ReservedField,
    NoStreams,
    /// An option that means nothing without another one.
    Needs(&'static str, &'static str),
    /// An option or operation of types that keep snapshots.
    NeedsSnapshots(&'static str),
    FieldsOfDelete,
    NoVersion(Quoted),
    IdNotNumeric {
        id: Quoted,
        format: &'static str,
        stream: Quoted,
    },
    PayloadOfFormat {
        format: &'static str,
        payload: &'static str,
    },
    NoOperations,
    EmptyPrefix,
    StreamIsKey(Quoted),
    DatabaseInCluster,
    NoSuchDatabase {
        index: u32,
        stream: Quoted,
    },
    /// No such group or cursor.
    NoReader {
        kind: &'static str,
        name: Quoted,
        stream: Quoted,
    },
    /// A reader of the other kind, which it is.
    OtherKind {
        kind: &'static str,
        name: Quoted,
    },
    /// FROM GROUP of a native group that is not there.
    NoNativeGroup {
        name: Quoted,
        stream: Quoted,
    },
    EmptyName {
        of: &'static str,
        what: &'static str,
    },
    EmptyStream,
    NotAPosition(Quoted),
    /// A new reader.
    NeedsFrom(Quoted),
    BeyondEnd(EventId),
    /// Settings of a reader that do not go together, or may not change now.
    Flaw(&'static str),
    RevisionDiffers(u64),
    NotHeld(EventId),
    NoPosition(EventId),
    /// A change of readers that does not fit those that stand here.
    BadDelta(Quoted),
    /// Readers at a key are at work for another command.
    Busy(Quoted),
    DeadIsStream(Quoted),
    IdsExhausted(Quoted),
    NoDeclaration(Quoted),
    Exists(Quoted),
    NoEntity(Quoted),
    BadValue {
        field: Quoted,
        expected: Cow<'static, str>,
        got: Quoted,
    },
    /// What is wrong with one of the flushes of a COMMIT.
    OfToken {
        error: Box<Error>,
        token: Quoted,
    },
    SameField {
        options: &'static str,
        field: Quoted,
    },
    /// A DEFER whose token another flush has.
    TokenTaken(Quoted),
    /// STATELESS came or went since the DEFER.
    DeferredOtherwise(Quoted),
    /// Something else under a token.
    NotDeferred {
        token: Quoted,
        key: Quoted,
    },
    /// A JSON or MessagePack snapshot that is none.
    Malformed {
        format: &'static str,
        /// Where in the client's argument, in bytes.
        offset: usize,
        why: String,
    },
    /// Of a JSON or MessagePack snapshot.
    RepeatedField {
        format: &'static str,
        field: Quoted,
    },
    WrongType {
        key: Quoted,
        /// If it is not the client's own.
        database: Option<u32>,
        expected: &'static str,
    },
    /// The snapshot of this entity would be stored where something else of its declaration is.
    SnapshotIsTaken {
        id: Quoted,
        key: Quoted,
        owner: Owner,
    },
    /// Of an id that would need too many keys to be looked at.
    TooManySeparators {
        id: Quoted,
        separator: char,
        got: usize,
        max: usize,
    },
    /// A declaration at a key that readers of its stream need.
    KeyIsOfStream {
        key: Quoted,
        stream: Quoted,
    },
    CrossSlot(Quoted),
    /// A slot is being moved, and this node does not have all that the command needs.
    TryAgain,
    MayNotRead(Quoted),
    MayNotWrite(Quoted),
    /// The server limits users to databases, and this one to others.
    MayNotUseDatabase {
        index: i32,
        stream: Quoted,
    },
    /// The rights were taken away while a reader waited.
    MayNoLongerRead(Quoted),
    /// More than a setting allows.
    TooMuch {
        got: usize,
        what: &'static str,
        of: Option<Quoted>,
        setting: &'static str,
        most: usize,
    },
    /// All events of one command.
    EventsTooLarge {
        setting: &'static str,
        most: usize,
    },
    /// All that a DIRTY.GET would give.
    EntitiesTooLarge,
    /// More fields than one command may look at.
    TooMuchWork(usize),
    /// A stream with ONFULL REFUSE has no room for the events of a flush.
    Full {
        stream: Quoted,
        /// If it is not the client's own.
        database: Option<u32>,
        events: usize,
        count: u64,
    },
    /// A native command that the module ran answered with an error; it speaks for itself.
    Server(String),
    Internal,
}

/// Whose a key is, at which a snapshot would be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It is a stream's or another key of the declaration itself.
    Itself,
    /// It lies below this stream of the declaration.
    Stream(Quoted),
    /// It is the key of this declaration, lies below it, or is one of its own.
    Declaration(Quoted),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFault {
    EmptyName,
    UnknownOpLetter,
    UnknownOpWord,
    TooManyColons,
    OpsOnField,
    UndeclaredStream,
    UnmappedPool(Quoted),
}

impl Error {
    /// Of the flush that waited under a token.
    pub fn of_token(self, token: Option<&[u8]>) -> Self {
        match token {
            None => self,
            Some(token) => Error::OfToken {
                error: Box::new(self),
                token: Quoted::new(token),
            },
        }
    }

    /// A key of the wrong type or a full stream, of this database if it is not the client's own.
    pub fn in_database(mut self, of_another: Option<u32>) -> Self {
        if let Error::WrongType { database, .. } | Error::Full { database, .. } = &mut self {
            *database = of_another;
        }
        self
    }
}

impl fmt::Display for TagFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TagFault::UnmappedPool(code) => return write!(f, "no POOL maps the code {code}"),
            TagFault::EmptyName => "a stream's name is empty",
            TagFault::UnknownOpLetter => "operations must be letters of IUD",
            TagFault::UnknownOpWord => "operations must be add, edit or delete, joined by |",
            TagFault::TooManyColons => "a stream has more than one colon",
            TagFault::OpsOnField => "only the tag of ID may give operations or a pool",
            TagFault::UndeclaredStream => "it names a stream that the tag of ID does not declare",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Error::*;
        match self {
            WrongArity(command) => {
                write!(f, "ERR wrong number of arguments for '{command}' command")
            }
            Missing { of, what } => write!(f, "ERR {of} lacks {what}"),
            UnknownOption(got) => write!(f, "ERR unknown option {got}"),
            UnknownOperation(got) => write!(f, "ERR unknown operation {got}"),
            Repeated(option) => write!(f, "ERR {option} is given twice"),
            NeedsStream(option) => write!(f, "ERR {option} must stand among the options of a STREAM"),
            NotANumber {
                of,
                least,
                most,
                got,
            } => write!(
                f,
                "ERR {of} must be an integer from {least} to {most}, not {got}"
            ),
            NotACount { of, got } => write!(f, "ERR the count of {of} must be an integer, 0 or more, not {got}"),
            NotAnId(got) => write!(f, "ERR invalid event id {got}, expected ms-seq"),
            NotAStart { of, got } => write!(
                f,
                "ERR invalid {of} {got}, expected 0, $, a position, an event id or a time in ms"
            ),
            NoSuchShard { index, count } => {
                write!(f, "ERR SHARD {index} of {count} does not exist: they count from 0")
            }
            NotOneOf { of, choices, got } => write!(f, "ERR {of} must be {choices}, not {got}"),
            BadTag { field, tag, why } => write!(f, "ERR bad tag {tag} of field {field}: {why}"),
            DuplicateField(field) => write!(f, "ERR field {field} is named twice"),
            DuplicateMeta(name) => write!(f, "ERR META {name} is named twice"),
            NoOperations => write!(f, "ERR a flush needs at least one operation"),
            DuplicateStream(stream) => write!(f, "ERR stream {stream} is declared twice"),
            DuplicatePool(code) => write!(f, "ERR pool {code} is mapped twice"),
            ReservedField => write!(f, "ERR the field \"@\" is reserved"),
            Needs(option, other) => write!(f, "ERR {option} needs {other}"),
            NeedsSnapshots(what) => {
                write!(f, "ERR {what} needs the snapshots that STATELESS does not keep")
            }
            FieldsOfDelete => write!(f, "ERR DELETE takes fields only with VERSION or STATELESS"),
            NoVersion(field) => write!(f, "BADVALUE field {field} must give the entity's version"),
            IdNotNumeric { id, format, stream } => write!(
                f,
                "BADVALUE the id {id} is not a 64-bit unsigned integer, as FORMAT {format} of the stream {stream} needs"
            ),
            PayloadOfFormat { format, payload } => {
                write!(f, "ERR FORMAT {format} cannot carry PAYLOAD {payload}")
            }
            NoStreams => write!(f, "ERR a declaration needs at least one stream"),
            EmptyPrefix => write!(f, "ERR PREFIX must not be empty"),
            StreamIsKey(stream) => {
                write!(f, "ERR stream {stream} would be one of the declaration's own keys")
            }
            DatabaseInCluster => write!(f, "ERR this cluster has no other databases: DB and POOL are refused"),
            NoSuchDatabase { index, stream } => write!(
                f,
                "ERR the database \"{index}\" of the stream {stream} is out of range"
            ),
            NoReader { kind, name, stream } => {
                write!(f, "NOREADER there is no {kind} {name} on {stream}")
            }
            OtherKind { kind, name } => write!(f, "ERR {name} is a {kind}"),
            NoNativeGroup { name, stream } => {
                write!(f, "ERR there is no native group {name} on {stream}")
            }
            EmptyName { of, what } => write!(f, "ERR {what} of {of} must not be empty"),
            EmptyStream => write!(f, "ERR the stream's name must not be empty"),
            NotAPosition(got) => {
                write!(f, "ERR invalid position {got}, expected one that a reply gave")
            }
            NeedsFrom(name) => write!(f, "ERR {name} is new, so it requires FROM"),
            BeyondEnd(id) => write!(f, "ERR {id} is beyond the end of the stream"),
            Flaw(flaw) => write!(f, "ERR {flaw}"),
            RevisionDiffers(n) => write!(f, "ERR REVISION {n} has other settings"),
            NotHeld(id) => write!(f, "NOTHELD the consumer does not hold {id}"),
            NoPosition(id) => write!(f, "NOPOSITION this stream did not give the position {id}"),
            BadDelta(key) => write!(f, "ERR a change of readers does not fit those at {key}"),
            Busy(key) => write!(f, "TRYAGAIN the readers at {key} are at work for another command"),
            DeadIsStream(stream) => write!(f, "ERR the stream {stream} cannot take its own dead"),
            IdsExhausted(stream) => write!(f, "ERR the stream {stream} has exhausted its ids"),
            NoDeclaration(key) => write!(f, "NODECL no entity type is declared at {key}"),
            Exists(id) => write!(f, "EXISTS entity {id} exists with other values"),
            NoEntity(id) => write!(f, "NOENTITY there is no entity {id}"),
            BadValue {
                field,
                expected,
                got,
            } => write!(f, "BADVALUE field {field} takes {expected}, not {got}"),
            OfToken { error, token } => {
                write!(f, "{error}, in the flush that waits under the token {token}")
            }
            SameField { options, field } => write!(f, "ERR {options} cannot both be {field}"),
            TokenTaken(token) => write!(f, "EXISTS another flush waits under the token {token}"),
            DeferredOtherwise(token) => write!(
                f,
                "ERR STATELESS was switched since the flush under the token {token} was deferred; abort it"
            ),
            NotDeferred { token, key } => write!(
                f,
                "WRONGTYPE the field {token} of the key {key} holds something else than a deferred flush"
            ),
            Malformed { format, offset, why } => {
                write!(f, "BADVALUE malformed {format} at byte {offset}: {why}")
            }
            RepeatedField { format, field } => {
                write!(f, "BADVALUE field {field} stands twice in the {format}")
            }
            WrongType {
                key,
                database: Some(database),
                expected,
            } => write!(
                f,
                "WRONGTYPE the key {key} of database {database} holds something else than {expected}"
            ),
            WrongType { key, expected, .. } => {
                write!(f, "WRONGTYPE the key {key} holds something else than {expected}")
            }
            SnapshotIsTaken { id, key, owner } => {
                write!(f, "WRONGTYPE the snapshot of entity {id} would be stored at {key}, ")?;
                match owner {
                    Owner::Itself => f.write_str("another key of its declaration"),
                    Owner::Stream(stream) => {
                        write!(f, "below the stream {stream} of its declaration")
                    }
                    Owner::Declaration(key) => write!(f, "which belongs to the declaration {key}"),
                }
            }
            TooManySeparators {
                id,
                separator,
                got,
                max,
            } => write!(
                f,
                "ERR the id {id} has {got} times {separator:?}, {max} times at most"
            ),
            KeyIsOfStream { key, stream } => write!(
                f,
                "ERR the key {key} belongs to the stream {stream}, whose readers need it"
            ),
            CrossSlot(key) => {
                write!(f, "CROSSSLOT the key {key} is in another slot than the key that it belongs to; give all of them the same {{tag}}")
            }
            TryAgain => f.write_str(
                "TRYAGAIN the slot is being moved to another node, and not all keys of this command are here; send it again",
            ),
            MayNotRead(key) => write!(f, "NOPERM this user may not read the key {key}"),
            MayNotWrite(key) => write!(f, "NOPERM this user may not write the key {key}"),
            MayNotUseDatabase { index, stream } => write!(
                f,
                "NOPERM this user may not use the database \"{index}\" of the stream {stream}"
            ),
            MayNoLongerRead(stream) => write!(
                f,
                "NOPERM this user may no longer consume the stream {stream}"
            ),
            TooMuch {
                got,
                what,
                of,
                setting,
                most,
            } => {
                write!(f, "LIMIT {got} {what}")?;
                if let Some(of) = of {
                    write!(f, " {of}")?;
                }
                write!(f, ", but {setting} is {most}")
            }
            EventsTooLarge { setting, most } => write!(
                f,
                "LIMIT the events of this command are larger than {setting}, which is {most}"
            ),
            EntitiesTooLarge => write!(f, "LIMIT these entities are too large for one reply; name fewer ids"),
            TooMuchWork(most) => write!(
                f,
                "LIMIT the operations of this command look at more than {most} fields all together, of which a written one counts ten"
            ),
            Full {
                stream,
                database,
                events,
                count,
            } => {
                write!(f, "FULL the stream {stream}")?;
                if let Some(database) = database {
                    write!(f, " of database {database}")?;
                }
                write!(
                    f,
                    " cannot take {events} more: at most {count} entries may wait until every group has acknowledged them"
                )
            }
            Server(message) => f.write_str(message),
            Internal => f.write_str(INTERNAL),
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
