//! Texts with which nothing needs to be done: the common case, which is told sooner than the others.

/// Whether a text is UTF-8.
pub fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || std::str::from_utf8(text).is_ok()
}

/// Whether the text stands in JSON as it is, in quotation marks.
pub fn is_plain(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| PLAIN.get(usize::from(*byte)) == Some(&true);
    text.iter().all(is_plain)
}

/// Of each byte whether it stands in JSON as it is. A look at a table takes half the instructions of comparisons.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut rest: &mut [bool] = &mut plain;
    let mut byte = 0u8;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        rest = others;
        byte = byte.wrapping_add(1);
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_plain_if_it_stands_in_json_as_it_is() {
        for byte in 0..=u8::MAX {
            let text = [b'a', byte, b'b'];
            assert_eq!(is_utf8(&text), byte < 0x80);
            let string = std::str::from_utf8(&text).map(|text| {
                let string = serde_json::to_string(text).unwrap();
                string == format!("\"{text}\"")
            });
            assert_eq!(
                is_plain(&text),
                string == Ok(true) && byte != 0x7f,
                "{byte}"
            );
        }
        assert!(is_plain(b""));
    }
}
