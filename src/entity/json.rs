//! The canonical text of JSON values.

/// How deep a JSON value may be nested.
pub const MAX_DEPTH: usize = 32;

/// Drops the white space between tokens. Numbers and strings stay as they are written: `1.0` is not
/// `1`, since JSON itself does not say that they are equal.
pub fn canonical(text: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut tokens = String::with_capacity(text.len());
    let (mut in_string, mut escaped, mut depth) = (false, false, 0usize);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            ' ' | '\t' | '\r' | '\n' => continue,
            '[' | '{' => {
                depth = depth.saturating_add(1);
                if depth > MAX_DEPTH {
                    return None;
                }
            }
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.push(c);
    }
    Some(tokens)
}
