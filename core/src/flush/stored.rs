//! What is kept of flushes between commands, as MessagePack arrays that begin with the version of this
//! encoding, 1:
//!
//! | what | array |
//! | --- | --- |
//! | a flush that waits for its COMMIT | `[1, ms, ops, stateless, [argument…]]`: when it was deferred, how many operations, whether the type was STATELESS, whose UPDATE reads differently, the arguments of DIRTY.FLUSH behind the key without DEFER and ONCE |
//! | the first reply to a flush with ONCE | `[1, answer]`, as [`Answer`] is written by serde |

use super::outcome::Answer;
use serde_bytes::{ByteBuf, Bytes};

const VERSION: u8 = 1;

/// A flush that waits for its COMMIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredFlush {
    pub at_ms: u64,
    pub operations: u64,
    pub stateless: bool,
    pub args: Vec<ByteBuf>,
}

pub fn encode_deferred(at_ms: u64, operations: u64, stateless: bool, args: &[&[u8]]) -> Vec<u8> {
    let args: Vec<&Bytes> = args.iter().map(|arg| Bytes::new(arg)).collect();
    // Writing to memory cannot fail, and every length is known.
    rmp_serde::to_vec(&(VERSION, at_ms, operations, stateless, args)).unwrap_or_default()
}

pub fn decode_deferred(bytes: &[u8]) -> Option<DeferredFlush> {
    let (version, at_ms, operations, stateless, args) =
        rmp_serde::from_slice::<(u8, u64, u64, bool, Vec<ByteBuf>)>(bytes).ok()?;
    (version == VERSION).then_some(DeferredFlush {
        at_ms,
        operations,
        stateless,
        args,
    })
}

pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    rmp_serde::to_vec(&(VERSION, answer)).unwrap_or_default()
}

pub fn decode_answer(bytes: &[u8]) -> Option<Answer> {
    let (version, answer) = rmp_serde::from_slice::<(u8, Answer)>(bytes).ok()?;
    (version == VERSION).then_some(answer)
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
            args: args.map(ByteBuf::from).into(),
        };
        assert_eq!(decode_deferred(&bytes), Some(expected));
        for end in 0..bytes.len() {
            assert_eq!(decode_deferred(&bytes[..end]), None, "cut at {end}");
        }
        let later = [b"\x95\x02", &bytes[2..]].concat();
        assert_eq!(decode_deferred(&later), None);
        assert_eq!(
            decode_deferred(b"\x95\x01\x05\x02\xc3\xdd\xff\xff\xff\xff"),
            None
        );
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
                    changed: vec![ByteBuf::from(b"\xff")],
                    events: vec![(
                        ByteBuf::from(b"s"),
                        EventId {
                            ms: 7,
                            seq: u64::MAX,
                        },
                    )],
                }),
            }]);
        for answer in [Answer::Deferred, Answer::Done(outcomes.collect())] {
            let bytes = encode_answer(&answer);
            assert_eq!(decode_answer(&bytes), Some(answer));
            for end in 0..bytes.len() {
                assert_eq!(decode_answer(&bytes[..end]), None, "cut at {end}");
            }
        }
        assert_eq!(decode_answer(b"hello"), None);
    }
}
