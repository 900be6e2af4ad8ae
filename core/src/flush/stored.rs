//! Values that are kept between the commands of a flush. They are MessagePack arrays, whose first element is the
//! version of this encoding, 1. Bytes of another version or shape, or with trailing bytes, are not decoded.
//!
//! A flush that waits for its COMMIT, an array of 5:
//!
//! | element | type | meaning |
//! | --- | --- | --- |
//! | version | uint | 1 |
//! | ms | uint | when it was deferred |
//! | operations | uint | how many it has |
//! | stateless | bool | whether the type was STATELESS, whose UPDATE has other arguments |
//! | arguments | array of bin | those of DIRTY.FLUSH behind the key, without DEFER and ONCE |
//!
//! The first reply to a flush with ONCE, an array of 2:
//!
//! | element | type | meaning |
//! | --- | --- | --- |
//! | version | uint | 1 |
//! | answer | str `deferred` | the flush waits for its COMMIT |
//! | | map of 1: str `done` → array of outcomes | the flush was carried out; one outcome for each operation |
//!
//! | part | type |
//! | --- | --- |
//! | outcome | array of 2: effect, details |
//! | effect | str: `insert`, `update`, `delete`, `none`, `stale`, `touch`, `seed`, `conflict` or `hidden` |
//! | details | nil without WITHEVENTS, else array of 2: array of changed fields (bin), array of events |
//! | event | array of 2: stream (bin), id |
//! | id | array of 2: ms (uint), seq (uint); nil if there is none |
//!
//! Integers and lengths take the fewest bytes.

use super::outcome::{Answer, Details, Effect, Outcome};
use super::parse::Request;
use crate::args::Args;
use crate::encoding::event::msgpack_io::{
    Decoder, write_array, write_bin, write_boolean, write_map, write_nil, write_number, write_text,
};
use crate::entity::event_id::EventId;
use crate::entity::limits::Limits;

const VERSION: u64 = 1;

/// A flush that waits for its COMMIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredFlush {
    /// When it was deferred.
    pub at_ms: u64,
    /// How many operations it has.
    pub operations: u64,
    /// Whether the type was STATELESS.
    pub stateless: bool,
    /// The arguments of DIRTY.FLUSH behind the key, without DEFER and ONCE.
    pub args: Vec<Vec<u8>>,
}

impl DeferredFlush {
    /// What `read` makes of its operations. `None` if this version of the module knows no such flush: a later one
    /// may have more operations.
    pub fn with_request<T>(&self, read: impl FnOnce(Request) -> T) -> Option<T> {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        // It was within the limits when it came. What DIRTY.FLUSH did not write may have any arguments.
        let request = Request::parse(Args::new(&args), self.stateless, &Limits::NONE);
        request.ok().map(read)
    }
}

/// The bytes of a flush that waits; its fields are those of [`DeferredFlush`].
pub fn encode_deferred(at_ms: u64, operations: u64, stateless: bool, args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let out = &mut bytes;
    write_array(out, 5);
    write_number(out, VERSION.into());
    write_number(out, at_ms.into());
    write_number(out, operations.into());
    write_boolean(out, stateless);
    write_array(out, args.len());
    for arg in args {
        write_bin(out, arg);
    }
    bytes
}

/// `None` if these bytes are not a flush that waits.
pub fn decode_deferred(bytes: &[u8]) -> Option<DeferredFlush> {
    decode(bytes, 5, |decoder| {
        Some(DeferredFlush {
            at_ms: decoder.unsigned()?,
            operations: decoder.unsigned()?,
            stateless: decoder.boolean()?,
            args: decoder.list(|decoder| Some(decoder.text()?.to_vec()))?,
        })
    })
}

/// When a flush was deferred, without a look at its arguments: these bytes may yet be none that
/// [`decode_deferred`] decodes.
pub fn deferred_at(bytes: &[u8]) -> Option<u64> {
    head(bytes, 5)?.unsigned()
}

/// Whether these bytes are a flush that this version of the module can carry out.
pub fn is_readable(bytes: &[u8]) -> bool {
    decode_deferred(bytes).is_some_and(|flush| flush.with_request(|_| ()).is_some())
}

/// The bytes of a first reply.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    let out = &mut bytes;
    write_array(out, 2);
    write_number(out, VERSION.into());
    match answer {
        Answer::Deferred => write_text(out, DEFERRED),
        Answer::Done(outcomes) => {
            write_map(out, 1);
            write_text(out, DONE);
            write_array(out, outcomes.len());
            for outcome in outcomes {
                write_outcome(out, outcome);
            }
        }
    }
    bytes
}

/// `None` if these bytes are not a first reply.
pub fn decode_answer(bytes: &[u8]) -> Option<Answer> {
    decode(bytes, 2, |decoder| {
        if decoder.is_at_text() {
            return (decoder.text()? == DEFERRED).then_some(Answer::Deferred);
        }
        let is_done = decoder.map()? == 1 && decoder.text()? == DONE;
        let outcomes = is_done.then(|| decoder.list(read_outcome));
        Some(Answer::Done(outcomes??))
    })
}

const DEFERRED: &[u8] = b"deferred";
const DONE: &[u8] = b"done";

fn write_outcome(out: &mut Vec<u8>, Outcome { effect, details }: &Outcome) {
    write_array(out, 2);
    write_text(out, effect.name().to_bytes());
    let Some(Details { changed, events }) = details else {
        return write_nil(out);
    };
    write_array(out, 2);
    write_array(out, changed.len());
    for field in changed {
        write_bin(out, field);
    }
    write_array(out, events.len());
    for (stream, id) in events {
        write_array(out, 2);
        write_bin(out, stream);
        let Some(id) = id else {
            write_nil(out);
            continue;
        };
        write_array(out, 2);
        write_number(out, id.ms.into());
        write_number(out, id.seq.into());
    }
}

fn read_outcome(decoder: &mut Decoder) -> Option<Outcome> {
    decoder.array_of(2)?;
    Some(Outcome {
        effect: Effect::from_name(decoder.text()?)?,
        details: decoder.or_nil(read_details)?,
    })
}

fn read_details(decoder: &mut Decoder) -> Option<Details> {
    decoder.array_of(2)?;
    Some(Details {
        changed: decoder.list(|decoder| Some(decoder.text()?.to_vec()))?,
        events: decoder.list(|decoder| {
            decoder.array_of(2)?;
            let stream = decoder.text()?.to_vec();
            let id = decoder.or_nil(|decoder| {
                decoder.array_of(2)?;
                let (ms, seq) = (decoder.unsigned()?, decoder.unsigned()?);
                Some(EventId { ms, seq })
            })?;
            Some((stream, id))
        })?,
    })
}

/// Reads an array of this length and nothing else, whose first element is the version.
fn decode<'e, T>(
    bytes: &'e [u8],
    length: u32,
    read: impl FnOnce(&mut Decoder<'e>) -> Option<T>,
) -> Option<T> {
    let mut decoder = head(bytes, length)?;
    let value = read(&mut decoder)?;
    decoder.is_at_end().then_some(value)
}

/// Stands behind the version of an array of this length.
fn head(bytes: &[u8], length: u32) -> Option<Decoder<'_>> {
    let mut decoder = Decoder::new(bytes);
    decoder.array_of(length)?;
    (decoder.unsigned()? == VERSION).then_some(decoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::event_id::EventId;
    use crate::flush::outcome::{Details, Effect, Outcome};

    #[test]
    fn deferred_flushes_come_back_as_they_were_and_no_part_of_them_does() {
        let bytes = encode_deferred(5, 2, true, &[b"DELETE", b"\xff\x00", b""]);
        assert_eq!(
            bytes,
            b"\x95\x01\x05\x02\xc3\x93\xc4\x06DELETE\xc4\x02\xff\x00\xc4\x00"
        );
        let args = [b"DELETE".as_slice(), b"\xff\x00", b""];
        let expected = DeferredFlush {
            at_ms: 5,
            operations: 2,
            stateless: true,
            args: args.map(<[u8]>::to_vec).into(),
        };
        assert_eq!(decode_deferred(&bytes), Some(expected));
        for end in 0..bytes.len() {
            assert_eq!(decode_deferred(&bytes[..end]), None, "cut at {end}");
        }
        let later = [b"\x95\x02", &bytes[2..]].concat();
        assert_eq!(decode_deferred(&later), None, "another version");
        let longer = [&bytes, b"\xc0".as_slice()].concat();
        assert_eq!(decode_deferred(&longer), None, "something behind it");
        let wider = [b"\x96", &bytes[1..], b"\xc0"].concat();
        assert_eq!(decode_deferred(&wider), None, "one element more");
        assert_eq!(
            decode_deferred(b"\x95\x01\x05\x02\xc3\xdd\xff\xff\xff\xff"),
            None
        );
    }

    #[test]
    fn the_time_of_a_flush_is_read_from_its_head_alone() {
        let at_ms = 1_767_323_045_123;
        let bytes = encode_deferred(at_ms, 2, true, &[b"DELETE", b"1"]);
        for end in 0..bytes.len() {
            let expected = (end >= 11).then_some(at_ms);
            assert_eq!(deferred_at(&bytes[..end]), expected, "cut at {end}");
        }
        for (bytes, expected) in [
            (b"\x95\x01\x05".as_slice(), Some(5)),
            (b"\x95\x01\x05\xff\xff", Some(5)),
            (b"\x95\x01\xff", None),
            (b"\x95\x01\xa15", None),
            (b"\x95\x02\x05", None),
            (b"\x96\x01\x05", None),
            (b"\xdd\xff\xff\xff\xff\x01\x05", None),
            (b"text", None),
            (b"", None),
        ] {
            assert_eq!(deferred_at(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let outcomes = [Effect::Insert, Effect::None, Effect::Stale, Effect::Touch]
            .into_iter()
            .map(|effect| Outcome {
                effect,
                details: None,
            })
            .chain([Outcome {
                effect: Effect::Update,
                details: Some(Details {
                    changed: vec![b"\xff".to_vec()],
                    events: vec![
                        (
                            b"s".to_vec(),
                            Some(EventId {
                                ms: 7,
                                seq: u64::MAX,
                            }),
                        ),
                        (b"t".to_vec(), None),
                    ],
                }),
            }]);
        for answer in [Answer::Deferred, Answer::Done(outcomes.collect())] {
            let bytes = encode_answer(&answer);
            assert_eq!(decode_answer(&bytes), Some(answer));
            for end in 0..bytes.len() {
                assert_eq!(decode_answer(&bytes[..end]), None, "cut at {end}");
            }
            let later = [b"\x92\x02", &bytes[2..]].concat();
            assert_eq!(decode_answer(&later), None, "another version");
            let longer = [&bytes, b"\xc0".as_slice()].concat();
            assert_eq!(decode_answer(&longer), None, "something behind it");
        }
        for bytes in [
            b"hello".as_slice(),
            b"\x92\x01\xa4done",
            b"\x92\x01\x80",
            b"\x92\x01\x82\xa4done\x90\xa4more\x90",
            b"\x92\x01\x81\xa8deferred\x90",
            b"\x92\x01\x81\xa4done\xdd\xff\xff\xff\xff",
            b"\x92\x01\x81\xa4done\x91\x92\xa6upsert\xc0",
            b"\x92\x01\x81\xa4done\x91\x93\xa6insert\xc0\xc0",
        ] {
            assert_eq!(decode_answer(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_bytes_of_an_answer_are_these() {
        assert_eq!(encode_answer(&Answer::Deferred), b"\x92\x01\xa8deferred");
        assert_eq!(
            encode_answer(&Answer::Done(vec![])),
            b"\x92\x01\x81\xa4done\x90"
        );
        for (effect, name) in [
            (Effect::Insert, "insert"),
            (Effect::Update, "update"),
            (Effect::Delete, "delete"),
            (Effect::None, "none"),
            (Effect::Stale, "stale"),
            (Effect::Touch, "touch"),
            (Effect::Seed, "seed"),
            (Effect::Conflict, "conflict"),
            (Effect::Hidden, "hidden"),
        ] {
            let outcome = Outcome {
                effect,
                details: None,
            };
            let expected = [
                b"\x92\x01\x81\xa4done\x91\x92".as_slice(),
                &[0xa0 | u8::try_from(name.len()).unwrap()],
                name.as_bytes(),
                b"\xc0",
            ];
            assert_eq!(
                encode_answer(&Answer::Done(vec![outcome])),
                expected.concat()
            );
        }
        let details = Details {
            changed: vec![b"\xff".to_vec()],
            events: vec![(
                b"s".to_vec(),
                Some(EventId {
                    ms: 300,
                    seq: u64::MAX,
                }),
            )],
        };
        let outcome = Outcome {
            effect: Effect::Seed,
            details: Some(details),
        };
        assert_eq!(
            encode_answer(&Answer::Done(vec![outcome])),
            b"\x92\x01\x81\xa4done\x91\x92\xa4seed\x92\
              \x91\xc4\x01\xff\x91\x92\xc4\x01s\x92\xcd\x01\x2c\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
        );
    }
}
