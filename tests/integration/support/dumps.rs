//! Payloads of DUMP, and forged ones.

use super::{Conn, words};
use redis::Value;

/// The checksum of a DUMP payload: CRC-64 of Jones, as Redis takes it.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = 0u64;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            let carry = if crc & 1 == 1 { 0x95ac9329ac4bc9b5 } else { 0 };
            crc = crc >> 1 ^ carry;
        }
    }
    crc
}

/// Each byte changed, left out and doubled, every length, and two bytes changed at a time.
pub fn forgeries(body: &[u8]) -> Vec<Vec<u8>> {
    let mut forged = Vec::new();
    let mut push = |parts: &[&[u8]]| forged.push(parts.concat());
    for at in 0..body.len() {
        let (before, byte, after) = (&body[..at], body[at], &body[at + 1..]);
        let flipped = (0..8).map(|bit| byte ^ 1 << bit);
        for other in flipped.chain([0, 0x7f, 0x80, 0x81, 0xff]) {
            push(&[before, &[other], after]);
        }
        push(&[before]);
        push(&[before, after]);
        push(&[before, &[byte, byte], after]);
    }
    // Numbers as random as need be, the same in every run.
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    for _ in 0..2000 {
        let mut body = body.to_vec();
        for _ in 0..2 {
            let at = random(body.len());
            body[at] = random(256) as u8;
        }
        push(&[&body]);
    }
    forged
}

pub fn dump(redis: &mut Conn, key: &str) -> Vec<u8> {
    match redis.value(&words(&format!("DUMP {key}"))) {
        Value::BulkString(payload) => payload,
        other => panic!("{other:?}"),
    }
}
