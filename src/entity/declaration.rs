//! What is declared of an entity type: its name, where its snapshots are, the types of its fields, and
//! which streams publish which of its changes.

use super::event::Value;
use super::operation::{Operation, Operations};
use super::value::FieldType;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The entity's name in events.
    pub name: Vec<u8>,
    /// A snapshot's key is this and the entity's id.
    pub prefix: Vec<u8>,
    pub types: BTreeMap<Vec<u8>, FieldType>,
    pub streams: Vec<Stream>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub key: Vec<u8>,
    pub operations: Operations,
    /// FIELDS: those whose change publishes even if the operations lack `U`.
    pub triggers: BTreeSet<Vec<u8>>,
    pub max_len: Option<MaxLen>,
    pub payload: Payload,
    /// The logical database, if not the declaration's own.
    pub database: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLen {
    pub count: u64,
    /// `~`: whole nodes of the stream go, so somewhat more than count may stay.
    pub approximate: bool,
}

/// What an event carries besides entity, id and operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    Keys,
    Changes,
    Full,
    /// All fields before and after.
    Images,
}

impl Payload {
    const ALL: [Payload; 4] = [
        Payload::Keys,
        Payload::Changes,
        Payload::Full,
        Payload::Images,
    ];

    pub const CHOICES: &'static str = "KEYS, CHANGES, FULL or IMAGES";

    pub fn parse(word: &[u8]) -> Option<Self> {
        let is_it = |payload: &Payload| word.eq_ignore_ascii_case(payload.name().as_bytes());
        Self::ALL.into_iter().find(is_it)
    }

    pub fn name(self) -> &'static str {
        match self {
            Payload::Keys => "KEYS",
            Payload::Changes => "CHANGES",
            Payload::Full => "FULL",
            Payload::Images => "IMAGES",
        }
    }
}

impl Declaration {
    pub fn field_type(&self, field: &[u8]) -> FieldType {
        // Most entity types name no types: do not look for them in vain.
        if self.types.is_empty() {
            return FieldType::String;
        }
        self.types.get(field).copied().unwrap_or(FieldType::String)
    }

    /// A stored text with its type. One that does not fit the type, stored before that was declared or
    /// by hand, is what it is: a string.
    pub fn value<'t>(&self, field: &[u8], text: &'t [u8]) -> Value<'t> {
        let field_type = self.field_type(field);
        Some(match field_type.canonical(text) {
            Some(canonical) => (field_type, canonical),
            None => (FieldType::String, text.into()),
        })
    }

    pub fn snapshot_key(&self, id: &[u8]) -> Vec<u8> {
        [&self.prefix, id].concat()
    }

    /// About how many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let bytes = |text: &Vec<u8>| size_of::<Vec<u8>>().saturating_add(text.capacity());
        let types = self.types.keys().map(bytes);
        let streams = self.streams.iter().map(|stream| {
            let triggers: usize = stream.triggers.iter().map(bytes).sum();
            size_of::<Stream>()
                .saturating_add(stream.key.capacity())
                .saturating_add(triggers)
        });
        size_of::<Self>()
            .saturating_add(self.name.capacity())
            .saturating_add(self.prefix.capacity())
            .saturating_add(types.chain(streams).sum())
    }
}

/// The entity's name when NAME is left out: the key without its cluster `{tag}`.
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

/// Where the part of a key is that alone decides on its cluster slot: what stands between the first `{`
/// and the `}` that follows it, if that is not nothing.
pub fn hash_tag(key: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = key.iter().position(|&byte| byte == b'{')?.checked_add(1)?;
    let length = key.get(start..)?.iter().position(|&byte| byte == b'}')?;
    (length > 0).then(|| start..start.saturating_add(length))
}

impl Stream {
    /// A stream of this name with every option left out.
    pub fn new(key: &[u8]) -> Self {
        Stream {
            key: key.to_vec(),
            operations: Operations::all(),
            triggers: BTreeSet::new(),
            max_len: None,
            payload: Payload::Changes,
            database: None,
        }
    }

    /// Whether it lives in this database, the declaration's own.
    pub fn is_in(&self, own: i32) -> bool {
        self.database
            .is_none_or(|database| i64::from(database) == i64::from(own))
    }

    /// The decision table: does this stream get an event of this operation?
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
