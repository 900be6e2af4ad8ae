//! The record of one operation on one entity.

use super::operation::Operation;
use super::value::FieldType;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub use super::bytes::Bytes;

/// One operation on one entity, as readers learn of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The entity type's name.
    pub entity: Bytes<'a>,
    /// The entity's id.
    pub id: Bytes<'a>,
    /// The operation.
    pub operation: Operation,
    /// The changed fields, old and new, as far as the stream's payload carries them.
    pub changes: Cow<'a, [Change<'a>]>,
    /// All fields before the operation, by name, if the payload carries images.
    pub before: Image<'a>,
    /// All fields after the operation, likewise.
    pub after: Image<'a>,
    /// Whether the update is a TOUCH. Some formats cannot tell.
    pub touch: bool,
    /// The entity's own version, where VERSION is declared.
    pub version: Option<Version>,
    /// META: small pairs that a flush adds to its events.
    pub meta: Cow<'a, [Pair<'a>]>,
}

/// The value of a VERSION field, which is an int or a uint.
pub type Version = i128;

/// Fields and their values, without nulls. It is empty for an entity that does not exist or has no fields.
pub type Image<'a> = Cow<'a, [(Bytes<'a>, Value<'a>)]>;

/// A name and a value of META.
pub type Pair<'a> = (Bytes<'a>, Bytes<'a>);

/// A changed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The field's name.
    pub field: Bytes<'a>,
    /// The value before.
    pub old: Value<'a>,
    /// The value after.
    pub new: Value<'a>,
}

/// A field's typed text; `None` is null.
pub type Value<'a> = Option<(FieldType, Bytes<'a>)>;

impl Event<'_> {
    /// Whether one of these fields changed, as far as the event shows.
    pub fn changed(&self, fields: &BTreeSet<&[u8]>) -> bool {
        let texts = |image: &'_ Image<'_>| -> BTreeMap<Vec<u8>, Vec<u8>> {
            let named = image.iter().filter(|(field, _)| fields.contains(&**field));
            named
                .filter_map(|(field, value)| Some((field.to_vec(), value.as_ref()?.1.to_vec())))
                .collect()
        };
        let mut changes = self.changes.iter();
        changes.any(|change| fields.contains(&*change.field))
            || texts(&self.before) != texts(&self.after)
    }

    /// The size of the texts that may be many or large: of changes, images and META.
    pub fn size(&self) -> usize {
        let text = |value: &Value| value.as_ref().map_or(0, |(_, text)| text.len());
        let changes = self.changes.iter().map(|change| {
            let values = text(&change.old).saturating_add(text(&change.new));
            values.saturating_add(change.field.len())
        });
        let images = self.before.iter().chain(self.after.iter());
        let images = images.map(|(field, value)| field.len().saturating_add(text(value)));
        let meta = self.meta.iter();
        let meta = meta.map(|(name, value)| name.len().saturating_add(value.len()));
        let sizes = changes.chain(images).chain(meta);
        sizes.fold(0, usize::saturating_add)
    }

    /// The operation's name for readers: `touch` where the format or the images distinguish it from an update.
    pub fn op(&self) -> &'static str {
        let touched = self.touch || (!self.before.is_empty() && self.before == self.after);
        match self.operation {
            Operation::Update if touched => "touch",
            operation => operation.name(),
        }
    }
}
