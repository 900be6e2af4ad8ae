//! The parts of a delta's bytes: numbers, bytes, ids as differences.

use crate::entity::event_id::EventId;

/// A number as it is written: 7 bits a byte, the lowest first, the top bit set in all but the last.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number = number.wrapping_shr(7);
        if number == 0 {
            out.push(low & 127);
            return;
        }
        out.push(low | 128);
    }
}

/// A length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

/// The difference of two numbers: small ones, up or down, are small numbers.
pub fn put_difference(out: &mut Vec<u8>, from: u64, to: u64) {
    let difference = to.wrapping_sub(from).cast_signed();
    let sign = difference.wrapping_shr(63);
    put_number(out, (difference.wrapping_shl(1) ^ sign).cast_unsigned());
}

/// An id as the differences of its ms and its seq from another's.
pub fn put_id(out: &mut Vec<u8>, from: EventId, id: EventId) {
    put_difference(out, from.ms, id.ms);
    put_difference(out, from.seq, id.seq);
}

/// Bytes to be read. Everything answers `None` where they end too early or make no sense.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Some bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for index in 0..10u32 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 127);
            let shift = index.wrapping_mul(7);
            let shifted = bits.wrapping_shl(shift);
            if shifted.wrapping_shr(shift) != bits {
                return None;
            }
            number |= shifted;
            if byte & 128 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A number that fits.
    pub fn small<N: TryFrom<u64>>(&mut self) -> Option<N> {
        N::try_from(self.number()?).ok()
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.small()?;
        self.take(length)
    }

    /// A number by its difference from another.
    pub fn difference(&mut self, from: u64) -> Option<u64> {
        let number = self.number()?;
        let sign = (number & 1).wrapping_neg();
        Some(from.wrapping_add(number.wrapping_shr(1) ^ sign))
    }

    /// An id by its differences from another.
    pub fn id(&mut self, from: EventId) -> Option<EventId> {
        Some(EventId {
            ms: self.difference(from.ms)?,
            seq: self.difference(from.seq)?,
        })
    }

    /// Eight bytes, the lowest first.
    pub fn word(&mut self) -> Option<u64> {
        let bytes = self.take(8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// 0 or 1.
    pub fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_differences_come_back() {
        let numbers = [0, 1, 127, 128, 16_383, 16_384, u64::MAX / 2, u64::MAX];
        for from in numbers {
            for to in numbers {
                let mut out = Vec::new();
                put_number(&mut out, to);
                put_difference(&mut out, from, to);
                let mut bytes = Bytes(&out);
                assert_eq!(bytes.number(), Some(to));
                assert_eq!(bytes.difference(from), Some(to));
                assert!(bytes.is_empty());
            }
        }
        for (number, length) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(out.len(), length);
        }
    }

    #[test]
    fn bytes_that_are_no_number_are_refused() {
        for bad in [&[][..], &[128], &[255; 10], &[255; 11]] {
            assert_eq!(Bytes(bad).number(), None, "{bad:?}");
        }
    }
}
