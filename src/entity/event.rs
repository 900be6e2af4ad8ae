//! The record of one operation on one entity.

use super::operation::Operation;
use super::value::FieldType;
use std::borrow::Cow;

/// Bytes that an event borrows: from the command that makes it, or from the entry it is read from.
pub type Bytes<'a> = Cow<'a, [u8]>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The entity type's name.
    pub entity: Bytes<'a>,
    pub id: Bytes<'a>,
    pub operation: Operation,
    /// What changed, old and new, as far as the stream's payload carries it.
    pub changes: Cow<'a, [Change<'a>]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub field: Bytes<'a>,
    pub old: Value<'a>,
    pub new: Value<'a>,
}

/// A field's typed text; `None` is null.
pub type Value<'a> = Option<(FieldType, Bytes<'a>)>;
