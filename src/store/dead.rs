//! Events that a reader gave up on: entries of a dead stream, `<stream>:dead` unless another is named. An entry there
//! has its own fields, and behind them those that say why.

use crate::redis::keys;
use dirty_streams_core::entity::event_id::EventId;
use dirty_streams_core::reading::Death;
use redis_module::RedisString;

const DEAD: &[u8] = b":dead";

/// The fields that an entry of the dead stream has besides its own.
const ADDED: [&[u8]; 9] = [
    b"dead-id",
    b"dead-stream",
    b"dead-reader",
    b"dead-consumer",
    b"dead-error",
    b"dead-deliveries",
    b"dead-failures",
    b"dead-first",
    b"dead-last",
];

/// A field and its value.
pub type Pair = (RedisString, RedisString);

/// The dead stream of a stream whose reader names none.
pub fn default_key(stream: &[u8]) -> Vec<u8> {
    [stream, DEAD].concat()
}

/// The circumstances of a death, as an entry of the dead stream tells them.
#[derive(Clone, Copy)]
pub struct Told<'e> {
    values: &'e [Pair],
}

/// An entry's own fields, and those that say why it died, if it has them. Somebody else's entry may have such fields of
/// its own; ours come last.
pub fn split(fields: &[Pair]) -> (&[Pair], Option<Told<'_>>) {
    let Some(own) = fields.len().checked_sub(ADDED.len()).filter(|own| *own > 0) else {
        return (fields, None);
    };
    let Some((own, added)) = fields.split_at_checked(own) else {
        return (fields, None);
    };
    let names = added.iter().map(|(field, _)| field.as_slice());
    match names.eq(ADDED) {
        true => (own, Some(Told { values: added })),
        false => (fields, None),
    }
}

impl<'e> Told<'e> {
    fn value(self, index: usize) -> &'e [u8] {
        let pair = self.values.get(index);
        pair.map_or(b"", |(_, value)| value.as_slice())
    }

    pub fn id(self) -> Option<EventId> {
        EventId::parse(self.value(0))
    }

    pub fn id_text(self) -> &'e [u8] {
        self.value(0)
    }

    pub fn stream(self) -> &'e [u8] {
        self.value(1)
    }

    pub fn reader(self) -> &'e [u8] {
        self.value(2)
    }

    pub fn consumer(self) -> &'e [u8] {
        self.value(3)
    }

    pub fn error(self) -> &'e [u8] {
        self.value(4)
    }

    pub fn deliveries(self) -> Option<u64> {
        self.number(5)
    }

    pub fn failures(self) -> Option<u64> {
        self.number(6)
    }

    pub fn first_ms(self) -> Option<u64> {
        self.number(7)
    }

    pub fn last_ms(self) -> Option<u64> {
        self.number(8)
    }

    fn number(self, index: usize) -> Option<u64> {
        dirty_streams_core::entity::decimal::parse(self.value(index))
    }
}

/// The fields and values by turns that are added to an entry of this stream.
pub fn added(stream: &[u8], death: &Death) -> Vec<RedisString> {
    let numbers = [
        death.id.text(),
        death.deliveries.to_string(),
        death.failures.to_string(),
        death.first_ms.to_string(),
        death.last_ms.to_string(),
    ];
    let [id, deliveries, failures, first, last] = &numbers;
    let values: [&[u8]; 9] = [
        id.as_bytes(),
        stream,
        &death.reader,
        &death.consumer,
        &death.error,
        deliveries.as_bytes(),
        failures.as_bytes(),
        first.as_bytes(),
        last.as_bytes(),
    ];
    let pairs = ADDED.into_iter().zip(values);
    let words = pairs.flat_map(|(field, value)| [field, value]);
    words.map(keys::string).collect()
}
