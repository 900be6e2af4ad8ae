//! Bytes: events as stream entries carry them, declarations as they are stored. Each codec in its own
//! file, `encode` beside `decode`.

pub mod declaration;
pub mod msgpack;

use crate::entity::event::Event;

/// The event in a stream entry's fields, if the entry is one of the module's.
pub fn decode<'e>(fields: &[(&'e [u8], &'e [u8])]) -> Option<Event<'e>> {
    match fields {
        [(msgpack::FIELD, bytes)] => msgpack::decode(bytes),
        _ => None,
    }
}
