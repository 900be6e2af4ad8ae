//! The cluster slot of a key: a checksum of the key, or of the `{tag}` in it.

use crc::{CRC_16_XMODEM, Crc};

/// The checksum that Redis Cluster computes of keys, and SHARD of entity ids.
pub const CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key.
pub fn slot(key: &[u8]) -> u16 {
    let hashed = hash_tag(key).and_then(|tag| key.get(tag)).unwrap_or(key);
    CRC16.checksum(hashed) & 16383
}

/// The range of the hash tag, the part of a key that alone determines its slot: the bytes between the first `{`
/// and the next `}`, unless there are no bytes between them.
pub fn hash_tag(key: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = key.iter().position(|&byte| byte == b'{')?.checked_add(1)?;
    let length = key.get(start..)?.iter().position(|&byte| byte == b'}')?;
    (length > 0).then(|| start..start.saturating_add(length))
}

#[cfg(test)]
mod tests {
    use super::slot;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        for (key, expected) in [
            ("123456789", 0x31c3),
            ("user{7}", slot(b"7")),
            ("{user}1000.following", slot(b"user")),
            ("foo{}{bar}", slot(b"foo{}{bar}")),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"));
    }
}
