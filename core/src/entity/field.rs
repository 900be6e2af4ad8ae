//! The fields of an entity as a client gives them.

use super::bytes::Bytes;
use super::value::InputValue;

/// A field and its new value; `None` is null.
pub type Field<'a> = (Bytes<'a>, Option<InputValue<'a>>);
/// The fields of one entity, in the client's order.
pub type Fields<'a> = Vec<Field<'a>>;
