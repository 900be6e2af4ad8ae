//! The declaration of an entity type: its name, the prefix of its snapshots' keys, the types of its fields, and
//! the streams with the changes that each of them publishes.

use super::event::{Bytes, Event, Value};
use super::operation::{Operation, Operations};
use super::snapshot::Snapshot;
use super::value::FieldType;
use crate::error::{Error, Quoted};
use crate::keyword::Keyword;
use crate::slot::hash_tag;
use std::collections::{BTreeMap, BTreeSet};

/// An entity type as DIRTY.DECLARE declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The entity's name in events.
    pub name: Vec<u8>,
    /// PREFIX: a snapshot's key is this prefix and the entity's id.
    pub prefix: Vec<u8>,
    /// REVISION: declarations with a lower one, or with none, do not replace this one.
    pub revision: Option<u64>,
    /// STATELESS: no snapshots are kept, and each flush gives the old values itself.
    pub stateless: bool,
    /// VERSION: the field that holds an entity's version.
    pub version: Option<VersionField>,
    /// SOFTDELETE: the field whose value says that an entity is deleted, though it is stored.
    pub soft_delete: Option<Vec<u8>>,
    /// TYPES: the fields whose type is declared.
    pub types: BTreeMap<Vec<u8>, FieldType>,
    /// The streams that get events, in the order of their declaration.
    pub streams: Vec<Stream>,
}

/// VERSION: the field that holds an entity's own version, and how long a deleted entity's version is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionField {
    /// The name of the field.
    pub field: Vec<u8>,
    /// TOMBSTONE: how long the version of a deleted entity is remembered.
    pub tombstone_ms: u64,
}

/// STREAM: a stream and the events that it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The key of the stream.
    pub key: Vec<u8>,
    /// OPS: the operations that publish.
    pub operations: Operations,
    /// FIELDS: the fields whose change publishes an update even if the operations lack `U`.
    pub triggers: BTreeSet<Vec<u8>>,
    /// MAXLEN and ONFULL.
    pub max_len: Option<MaxLen>,
    /// MAXAGE: how long entries are kept, in ms.
    pub max_age_ms: Option<u64>,
    /// PAYLOAD: the contents of its events.
    pub payload: Payload,
    /// FORMAT: the encoding of its events.
    pub format: Format,
    /// IDFIELD: the name of the id among the fields of FORMAT DEBEZIUM's images.
    pub id_field: Option<Vec<u8>>,
    /// SAFENUMBERS: whether FORMAT DEBEZIUM writes integers that a double may not hold as strings.
    pub safe_numbers: bool,
    /// DB: the logical database, if it is not the declaration's own.
    pub database: Option<u32>,
}

/// MAXLEN: how many entries a stream keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLen {
    /// The number of entries.
    pub count: u64,
    /// `~`: only whole nodes of the stream are trimmed, so somewhat more entries than the count may stay.
    pub approximate: bool,
    /// ONFULL: whether unacknowledged entries may be trimmed.
    pub on_full: OnFull,
}

/// The treatment of entries beyond the count that a group has not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// They are trimmed, as XTRIM does.
    Trim,
    /// They stay, so the stream may grow beyond the count.
    Keep,
    /// They stay, and a flush that would exceed the count is refused.
    Refuse,
}

impl Keyword for OnFull {
    const ALL: &'static [(Self, &'static str)] = &[
        (OnFull::Trim, "TRIM"),
        (OnFull::Keep, "KEEP"),
        (OnFull::Refuse, "REFUSE"),
    ];
    const CHOICES: &'static str = "TRIM, KEEP or REFUSE";
}

/// The contents of an event besides entity, id and operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Nothing else.
    Keys,
    /// The changed fields of an update, old and new.
    Changes,
    /// The changed fields of every operation, old and new.
    Full,
    /// All fields before and after.
    Images,
}

impl Keyword for Payload {
    const ALL: &'static [(Self, &'static str)] = &[
        (Payload::Keys, "KEYS"),
        (Payload::Changes, "CHANGES"),
        (Payload::Full, "FULL"),
        (Payload::Images, "IMAGES"),
    ];
    const CHOICES: &'static str = "KEYS, CHANGES, FULL or IMAGES";
}

/// The encoding of an event as an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A MessagePack map, the module's own format.
    MsgPack,
    /// As FluxaORM v2 writes it.
    FluxaOrm2,
    /// As FluxaORM v1 writes it.
    FluxaOrm1,
    /// As Debezium Server's Redis sink writes it.
    Debezium,
    /// A field of the entry for each of the entity, as Mainflux writes it.
    Flat,
}

impl Keyword for Format {
    const ALL: &'static [(Self, &'static str)] = &[
        (Format::MsgPack, "MSGPACK"),
        (Format::FluxaOrm2, "FLUXAORM2"),
        (Format::FluxaOrm1, "FLUXAORM1"),
        (Format::Debezium, "DEBEZIUM"),
        (Format::Flat, "FLAT"),
    ];
    const CHOICES: &'static str = "MSGPACK, FLUXAORM2, FLUXAORM1, DEBEZIUM or FLAT";
}

impl Format {
    /// The payloads that this format can carry. The first one is the default.
    pub fn payloads(self) -> &'static [Payload] {
        match self {
            Format::MsgPack => &[
                Payload::Changes,
                Payload::Keys,
                Payload::Full,
                Payload::Images,
            ],
            Format::FluxaOrm2 => &[Payload::Changes, Payload::Keys, Payload::Full],
            Format::FluxaOrm1 => &[Payload::Full],
            Format::Debezium | Format::Flat => &[Payload::Images],
        }
    }

    /// Whether ids of entities must be 64-bit unsigned integers.
    pub fn has_numeric_ids(self) -> bool {
        matches!(self, Format::FluxaOrm2 | Format::FluxaOrm1)
    }
}

impl Declaration {
    /// The type that TYPES gives a field.
    pub fn declared_type(&self, field: &[u8]) -> Option<FieldType> {
        // Most entity types declare no types, so the common case skips the search.
        if self.types.is_empty() {
            return None;
        }
        self.types.get(field).copied()
    }

    /// A stored text with its field's type.
    pub fn value<'t>(&self, field: &[u8], text: &'t [u8]) -> Value<'t> {
        Some(
            self.declared_type(field)
                .unwrap_or_default()
                .interpret(text),
        )
    }

    /// Whether this declaration may take the place of another one at the key, by the revisions of both.
    pub fn replaces(&self, standing: Option<&Self>, key: &[u8]) -> Result<Replacement, Error> {
        let Some(standing) = standing else {
            return Ok(Replacement::New);
        };
        match (standing.revision, self.revision) {
            (Some(_), None) => Ok(Replacement::Kept),
            (Some(stands), Some(new)) if new < stands => Ok(Replacement::Kept),
            _ if self == standing => Ok(Replacement::Same),
            (Some(stands), Some(new)) if new == stands => Err(Error::SameRevision {
                revision: new,
                key: Quoted::new(key),
            }),
            _ => Ok(Replacement::New),
        }
    }

    /// Why a reader of this stream, in this database, could not fold its events onto the snapshots; `None` if it can.
    pub fn flaw_of_folding(&self, stream: &[u8], database: i32) -> Option<&'static str> {
        let mut streams = self.streams.iter();
        let found = streams.find(|found| found.key == stream && found.is_in(database));
        let Some(found) = found.filter(|_| !self.stateless) else {
            return Some(match self.stateless {
                true => "it is STATELESS and has no snapshots",
                false => "it does not publish to this stream",
            });
        };
        if found.operations != Operations::all() {
            Some("the stream does not get all operations, as OPS IUD would say")
        } else if !matches!(found.payload, Payload::Full | Payload::Images) {
            Some("the stream's inserts do not bring the fields, as PAYLOAD FULL or IMAGES would")
        } else {
            None
        }
    }

    /// A stored entity as an event that reads it: its fields by name, in `after`.
    pub fn as_event<'s>(&'s self, id: &'s [u8], state: &'s Snapshot) -> Event<'s> {
        let fields = state.iter();
        let mut after: Vec<_> = fields
            .map(|(field, text)| (field.into(), self.value(field, text)))
            .collect();
        after.sort_by(|(a, _): &(Bytes, _), (b, _)| a.cmp(b));
        let declared = self.version.as_ref();
        let version = declared.and_then(|declared| {
            let (_, text) = state.iter().find(|(field, _)| *field == declared.field)?;
            std::str::from_utf8(text).ok()?.parse().ok()
        });
        Event {
            entity: self.name.as_slice().into(),
            id: id.into(),
            operation: Operation::Insert,
            changes: Default::default(),
            before: Default::default(),
            after: after.into(),
            touch: false,
            version,
            meta: Default::default(),
        }
    }

    /// The key at which an entity's snapshot is stored.
    pub fn snapshot_key(&self, id: &[u8]) -> Vec<u8> {
        [&self.prefix, id].concat()
    }

    /// An estimate of the memory that it takes, in bytes.
    pub fn memory(&self) -> usize {
        let bytes = |text: &Vec<u8>| size_of::<Vec<u8>>().saturating_add(text.capacity());
        let types = self.types.keys().map(bytes);
        let streams = self.streams.iter().map(|stream| {
            let triggers: usize = stream.triggers.iter().map(bytes).sum();
            size_of::<Stream>()
                .saturating_add(stream.key.capacity())
                .saturating_add(stream.id_field.as_ref().map_or(0, Vec::capacity))
                .saturating_add(triggers)
        });
        size_of::<Self>()
            .saturating_add(self.name.capacity())
            .saturating_add(self.prefix.capacity())
            .saturating_add(self.version.as_ref().map_or(0, |v| v.field.capacity()))
            .saturating_add(self.soft_delete.as_ref().map_or(0, Vec::capacity))
            .saturating_add(types.chain(streams).sum())
    }
}

/// The effect of a declaration at a key where one may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// It is the same one.
    Same,
    /// It takes its place.
    New,
    /// The one that stands has a higher revision, so it is kept.
    Kept,
}

/// The default of NAME: the key without its cluster `{tag}`.
pub fn default_name(key: &[u8]) -> Vec<u8> {
    let without_tag = hash_tag(key).and_then(|tag| {
        let before = key.get(..tag.start.checked_sub(1)?)?;
        let after = key.get(tag.end.checked_add(1)?..)?;
        Some([before, after].concat())
    });
    without_tag
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| key.to_vec())
}

impl Stream {
    /// A stream at this key with the defaults of all options.
    pub fn new(key: &[u8]) -> Self {
        Stream {
            key: key.to_vec(),
            operations: Operations::all(),
            triggers: BTreeSet::new(),
            max_len: None,
            max_age_ms: None,
            payload: Payload::Changes,
            format: Format::MsgPack,
            id_field: None,
            safe_numbers: false,
            database: None,
        }
    }

    /// Whether the stream is in this database, which is that of its declaration.
    pub fn is_in(&self, own: i32) -> bool {
        self.database
            .is_none_or(|database| i64::from(database) == i64::from(own))
    }

    /// The database where it lives, if the declaration is in this one. No server has one beyond an i32.
    pub fn database_from(&self, own: i32) -> i32 {
        let named = self.database.map(i32::try_from);
        named.map_or(own, |index| index.unwrap_or(i32::MAX))
    }

    /// Whether this stream gets a TOUCH: it does if there is an update that it would get.
    pub fn publishes_touch(&self) -> bool {
        self.operations.contains(Operations::UPDATE) || !self.triggers.is_empty()
    }

    /// The decision table: whether this stream gets an event of this operation.
    ///
    /// An update publishes if at least one field changed and the stream's operations have `U` or one
    /// of its triggers changed; inserts and deletes go by the operations alone.
    pub fn publishes<'a>(
        &self,
        operation: Operation,
        mut changed: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        match operation {
            Operation::Insert | Operation::Delete => self.operations.contains(operation.into()),
            Operation::Update if self.operations.contains(Operations::UPDATE) => {
                changed.next().is_some()
            }
            Operation::Update => {
                !self.triggers.is_empty() && changed.any(|field| self.triggers.contains(field))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_is_the_key_without_its_tag() {
        for (key, name) in [
            ("user", "user"),
            ("user{7}", "user"),
            ("{app}:user", ":user"),
            ("a{1}b{2}", "ab{2}"),
            ("user{}", "user{}"),
            ("user{7", "user{7"),
            ("{user}", "{user}"),
        ] {
            assert_eq!(default_name(key.as_bytes()), name.as_bytes(), "{key}");
        }
    }
}
