//! Why a command on readers is refused. Nothing has changed then.

use super::settings::Kind;
use crate::entity::event_id::EventId;
use std::fmt;

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
    /// NOTHELD: the consumer does not hold this event.
    NotHeld(EventId),
    /// NOPOSITION: this stream did not give that position.
    NoPosition(EventId),
    /// KEY as a selector goes with ORDER META alone.
    KeyNeedsMeta,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Group => "group",
            Kind::Cursor => "cursor",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &[u8]| name.escape_ascii().to_string();
        match self {
            Refusal::NoReader(kind, name) => write!(f, "there is no {kind} \"{}\"", quoted(name)),
            Refusal::OtherKind(kind, name) => write!(f, "\"{}\" is a {kind}", quoted(name)),
            Refusal::EmptyName => f.write_str("a name must not be empty"),
            Refusal::NeedsFrom(name) => {
                write!(f, "\"{}\" is new, so it requires FROM", quoted(name))
            }
            Refusal::BeyondEnd(id) => write!(f, "{id} is beyond the end of the stream"),
            Refusal::Flaw(flaw) => f.write_str(flaw),
            Refusal::OrderFixed => {
                f.write_str("ORDER can change only while nothing is pending, queued or parked")
            }
            Refusal::DeadFixed => {
                f.write_str("DEAD can change only while nothing is parked or redriven")
            }
            Refusal::ShardFixed => f.write_str("SHARD cannot change: make another cursor"),
            Refusal::RevisionDiffers(n) => write!(f, "REVISION {n} has other settings"),
            Refusal::NoDeadRights => f.write_str("the user may not change the dead stream"),
            Refusal::NotHeld(id) => write!(f, "the consumer does not hold {id}"),
            Refusal::NoPosition(id) => write!(f, "this stream did not give the position {id}"),
            Refusal::KeyNeedsMeta => f.write_str("KEY requires a group with ORDER META"),
        }
    }
}

impl std::error::Error for Refusal {}
