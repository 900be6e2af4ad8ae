use std::borrow::Cow;

/// Bytes that an event borrows: from the command that makes it, or from the entry it is read from.
pub type Bytes<'a> = Cow<'a, [u8]>;
