//! The hash of an event's key: SipHash-2-4 under a seed that the reader keeps, so that nobody can choose
//! ids that collide, and every replica computes the same. Two keys of one hash share a lane: their events
//! then wait for each other, and nothing else is wrong.

/// The seed of a reader's key hashes, chosen at random when the reader is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub u64, pub u64);

/// The hash of a key; never 0, which stands for "no key".
pub fn key_hash(seed: Seed, parts: &[&[u8]]) -> u64 {
    let mut hasher = Sip::new(seed);
    for part in parts {
        // The length before each part keeps ("ab", "c") and ("a", "bc") apart.
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hasher.write(&length.to_le_bytes());
        hasher.write(part);
    }
    hasher.finish().max(1)
}

/// SipHash-2-4.
struct Sip {
    v: (u64, u64, u64, u64),
    tail: u64,
    filled: u32,
    length: u8,
}

impl Sip {
    fn new(seed: Seed) -> Self {
        Sip {
            v: (
                seed.0 ^ 0x736f_6d65_7073_6575,
                seed.1 ^ 0x646f_7261_6e64_6f6d,
                seed.0 ^ 0x6c79_6765_6e65_7261,
                seed.1 ^ 0x7465_6462_7974_6573,
            ),
            tail: 0,
            filled: 0,
            length: 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.tail |= u64::from(byte).wrapping_shl(self.filled.wrapping_mul(8));
            self.filled = self.filled.wrapping_add(1);
            self.length = self.length.wrapping_add(1);
            if self.filled == 8 {
                self.absorb(self.tail);
                (self.tail, self.filled) = (0, 0);
            }
        }
    }

    fn absorb(&mut self, word: u64) {
        self.v.3 ^= word;
        self.round();
        self.round();
        self.v.0 ^= word;
    }

    fn round(&mut self) {
        let (mut a, mut b, mut c, mut d) = self.v;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.v = (a, b, c, d);
    }

    fn finish(mut self) -> u64 {
        let last = self.tail | u64::from(self.length).wrapping_shl(56);
        self.absorb(last);
        self.v.2 ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.v.0 ^ self.v.1 ^ self.v.2 ^ self.v.3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_siphash_2_4() {
        // The test vectors of SipHash's authors: key 00 01 … 0f, messages of 0, 1, 8 and 15 bytes 00 01 ….
        let seed = Seed(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        for (length, expected) in [
            (0u8, 0x726f_db47_dd0e_0e31u64),
            (1, 0x74f8_39c5_93dc_67fd),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
        ] {
            let mut hasher = Sip::new(seed);
            hasher.write(&(0..length).collect::<Vec<u8>>());
            assert_eq!(hasher.finish(), expected, "{length} bytes");
        }
    }

    #[test]
    fn parts_are_kept_apart() {
        let hash = |parts: &[&[u8]]| key_hash(Seed(1, 2), parts);
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"a"]), key_hash(Seed(1, 3), &[b"a"]));
    }
}
