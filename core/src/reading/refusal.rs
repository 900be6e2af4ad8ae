//! Why a command on readers is refused. Nothing has changed then.

use super::settings::Kind;
use crate::entity::event_id::EventId;
use crate::error::{Error, Quoted};

/// Why a command is refused. The module gives each its code and quotes names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// NOREADER: there is no such group or cursor.
    NoReader(Kind, Vec<u8>),
    /// The name is that of a reader of the other kind, which it is.
    OtherKind(Kind, Vec<u8>),
    /// A name is empty.
    EmptyName,
    /// A new reader needs FROM.
    NeedsFrom(Vec<u8>),
    /// A position beyond the stream's last id.
    BeyondEnd(EventId),
    /// Settings that do not go together.
    Flaw(&'static str),
    /// ORDER changes only while nothing is pending, queued or parked.
    OrderFixed,
    /// DEAD changes only while nothing is parked or redriven.
    DeadFixed,
    /// SHARD never changes.
    ShardFixed,
    /// The REVISION that stands has other settings.
    RevisionDiffers(u64),
    /// NOPERM: the user may not change the dead stream.
    NoDeadRights,
    /// The dead stream takes no entry.
    NotBuried,
    /// The server does not tell how far the stream is; the module knows the error.
    StreamUnknown,
    /// NOTHELD: the consumer does not hold this event.
    NotHeld(EventId),
    /// NOPOSITION: this stream did not give that position.
    NoPosition(EventId),
    /// Snapshots of a SNAPSHOT cursor cannot be read; whoever reads them knows why.
    NoSnapshots,
    /// KEY as a selector goes with ORDER META alone.
    KeyNeedsMeta,
}

impl Refusal {
    /// The error of a command on this stream, whose dead stream is this one.
    pub fn error(self, stream: &[u8], dead: &[u8]) -> Error {
        match self {
            Refusal::NoReader(kind, name) => Error::NoReader {
                kind: kind.name(),
                name: Quoted::new(&name),
                stream: Quoted::new(stream),
            },
            Refusal::OtherKind(kind, name) => Error::OtherKind {
                kind: kind.name(),
                name: Quoted::new(&name),
            },
            Refusal::EmptyName => Error::Flaw("a name must not be empty"),
            Refusal::NeedsFrom(name) => Error::NeedsFrom(Quoted::new(&name)),
            Refusal::BeyondEnd(id) => Error::BeyondEnd(id),
            Refusal::Flaw(flaw) => Error::Flaw(flaw),
            Refusal::OrderFixed => {
                Error::Flaw("ORDER can change only while nothing is pending, queued or parked")
            }
            Refusal::DeadFixed => {
                Error::Flaw("DEAD can change only while nothing is parked or redriven")
            }
            Refusal::ShardFixed => Error::Flaw("SHARD cannot change: make another cursor"),
            Refusal::RevisionDiffers(revision) => Error::RevisionDiffers(revision),
            Refusal::NoDeadRights => Error::MayNotWrite(Quoted::new(dead)),
            Refusal::NotBuried => Error::TakesNothing(Quoted::new(dead)),
            Refusal::StreamUnknown => Error::Internal,
            Refusal::NotHeld(id) => Error::NotHeld(id),
            Refusal::NoPosition(id) => Error::NoPosition(id),
            Refusal::NoSnapshots => Error::Internal,
            Refusal::KeyNeedsMeta => Error::Flaw("KEY requires a group with ORDER META"),
        }
    }
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Group => "group",
            Kind::Cursor => "cursor",
        }
    }
}
