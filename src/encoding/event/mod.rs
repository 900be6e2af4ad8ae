//! Events as stream entries and back, in each FORMAT.

pub mod msgpack;

use crate::entity::declaration::Format;
use crate::entity::event::Event;

/// An entry's fields and values.
pub type Entry = Vec<(&'static [u8], Vec<u8>)>;

/// Where and when the events of a flush arise, for formats that tell it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'o> {
    /// The declaration's key, and the logical database it is in.
    pub key: &'o [u8],
    pub database: i32,
    pub now_ms: u64,
}

pub fn encode(format: Format, event: &Event, origin: Origin) -> Entry {
    let _ = origin;
    match format {
        Format::MsgPack | Format::FluxaOrm | Format::FluxaOrm1 | Format::Debezium => {
            vec![(msgpack::FIELD, msgpack::encode(event))]
        }
    }
}

/// The event in a stream entry's fields, if the entry is one of the module's.
pub fn decode<'e>(fields: &[(&'e [u8], &'e [u8])]) -> Option<Event<'e>> {
    match fields {
        [(msgpack::FIELD, bytes)] => msgpack::decode(bytes),
        _ => None,
    }
}
