//! Commands and replies as short texts, and tables of them.

use redis::Value;

/// A table of lines `command => reply`. An indented line goes on with the one before; `#` begins a
/// comment.
pub fn cases(table: &str) -> Vec<(String, String)> {
    let mut lines: Vec<String> = Vec::new();
    for line in table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        match (line.strip_prefix(' '), lines.last_mut()) {
            (Some(more), Some(last)) => *last = format!("{last} {}", more.trim_start()),
            _ => lines.push(line.into()),
        }
    }
    let case = |line: &String| {
        let (command, reply) = line
            .split_once(" => ")
            .unwrap_or_else(|| panic!("no => in {line}"));
        (command.into(), reply.into())
    };
    lines.iter().map(case).collect()
}

/// Splits at spaces; `""` is an empty word, `\xHH` any byte, `\_` a space.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace().map(word).collect()
}

fn word(text: &str) -> Vec<u8> {
    if text == "\"\"" {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return bytes,
            [b'\\', b'x', high, low, rest @ ..] => {
                let hex = [*high, *low];
                let hex = std::str::from_utf8(&hex).expect("hex digits");
                bytes.push(u8::from_str_radix(hex, 16).expect("hex digits"));
                rest
            }
            [b'\\', b'_', rest @ ..] => {
                bytes.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        }
    }
}

/// A reply on one line: `[a b]` arrays, `{k: v}` maps, `nil`, `1.5` doubles, `true`; `(42)` integers, so
/// that they differ from the text `42`; errors as the server writes them; other bytes escaped.
pub fn text(value: &Value) -> String {
    let join = |items: &[Value]| items.iter().map(text).collect::<Vec<_>>().join(" ");
    match value {
        Value::Nil => "nil".into(),
        Value::Int(number) => format!("({number})"),
        Value::BulkString(bytes) if bytes.is_empty() => "\"\"".into(),
        Value::BulkString(bytes) => bytes.escape_ascii().to_string(),
        Value::SimpleString(status) => status.clone(),
        Value::Okay => "OK".into(),
        Value::Array(items) => format!("[{}]", join(items)),
        Value::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", text(key), text(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Double(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::ServerError(error) => match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().into(),
        },
        other => format!("{other:?}"),
    }
}
