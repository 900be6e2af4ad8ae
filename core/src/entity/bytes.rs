use std::borrow::Cow;

/// Bytes that an event borrows: from the command that makes it, or from the entry it is read from.
pub type Bytes<'a> = Cow<'a, [u8]>;

/// Whether two texts are equal. Most names and values are short, so it takes less to compare them here than to call the
/// function that compares long ones.
#[inline]
pub fn is_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0..4 => a.iter().eq(b),
        // The two ends of each, which overlap.
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_if_each_byte_is() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).collect();
            assert!(is_equal(&text, &text.clone()), "{length}");
            assert!(!is_equal(&text, &[&text[..], b"x"].concat()), "{length}");
            for index in 0..text.len() {
                let mut other = text.clone();
                other[index] ^= 1;
                assert!(!is_equal(&text, &other), "{index} of {length}");
            }
        }
    }
}
