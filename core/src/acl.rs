//! What the text of a user's ACL says of the keys that begin with a prefix.
//!
//! The server can be asked about one key; about all keys of a prefix only newer ones can, and not soundly: Valkey
//! 9.1 lets the pattern `user\*`, which is the one key `user*`, stand for the prefix `user*`, and takes no notice
//! of the databases that a selector is limited to. So the rule is the same on every server, and a narrow one.

use std::fmt;

/// A way to use a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading what the key holds.
    Read,
    /// Changing the key.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
        })
    }
}

/// What an error says is needed for all keys of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Option<String>);

impl Pattern {
    /// A longer one would be noise in an error, and a part of it another pattern.
    const MAX: usize = 64;

    /// The pattern of exactly these keys, as redis-cli takes it behind ACL SETUSER.
    pub fn new(access: Access, prefix: &[u8]) -> Self {
        // Where patterns end for ACL SETUSER.
        let ends_pattern = |byte: &u8| matches!(byte, 0 | b' ' | b'\t'..=b'\r');
        if prefix.len() > Self::MAX || prefix.iter().any(ends_pattern) {
            return Pattern(None);
        }
        let mut pattern = match access {
            Access::Read => b"%R~".to_vec(),
            Access::Write => b"~".to_vec(),
        };
        for &byte in prefix {
            if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
                pattern.push(b'\\');
            }
            pattern.push(byte);
        }
        pattern.push(b'*');
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
        let is_plain = pattern.iter().all(is_plain);
        let text = pattern.escape_ascii().to_string();
        Pattern(Some(match is_plain {
            true => String::from_utf8_lossy(&pattern).into_owned(),
            false => format!("\"{}\"", text.replace("\\'", "'")),
        }))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(pattern) => write!(f, "a pattern such as {pattern}"),
            None => f.write_str("a pattern that is the beginning of the prefix and a star"),
        }
    }
}

/// Whether a pattern of this ACL allows every key that begins with the prefix, in this database. Believed is only a
/// pattern that ends in `*`, behind a literal with which the prefix begins.
///
/// Reading and writing are asked for one by one, and each may be allowed by another selector, as it is when the
/// server is asked whether a user may access one key.
///
/// The text is as the server writes it: words with a space between them, selectors in parentheses. No pattern
/// contains a space, and behind a selector's patterns there are always rules about commands.
pub fn covers(acl: &[u8], access: Access, prefix: &[u8], database: i32) -> bool {
    let mut selector = Selector::new();
    let mut is_covered = false;
    for word in acl.split(|byte| *byte == b' ') {
        let word = match word.strip_prefix(b"(") {
            Some(first) => {
                is_covered |= selector.covers();
                selector = Selector::new();
                first
            }
            None => word,
        };
        selector.take(word, access, prefix, database);
    }
    is_covered || selector.covers()
}

/// The permissions outside of parentheses, or those within a pair of them.
struct Selector {
    has_pattern: bool,
    has_database: bool,
}

impl Selector {
    fn new() -> Self {
        Selector {
            has_pattern: false,
            has_database: true,
        }
    }

    fn covers(&self) -> bool {
        self.has_pattern && self.has_database
    }

    fn take(&mut self, word: &[u8], access: Access, prefix: &[u8], database: i32) {
        if let Some((allowed, pattern)) = key_pattern(word) {
            self.has_pattern |= allowed.contains(&access) && is_all_of(pattern, prefix);
        } else if let Some(list) = word.strip_prefix(b"db=") {
            let list = list.strip_suffix(b")").unwrap_or(list);
            let database = database.to_string();
            let mut indices = list.split(|byte| *byte == b',');
            self.has_database = indices.any(|index| index == database.as_bytes());
        } else if matches!(word, b"resetdbs" | b"resetdbs)") {
            self.has_database = false;
        }
    }
}

/// `~pattern`, `%R~pattern`, `%W~pattern`, `%RW~pattern`, or the word for all of them.
fn key_pattern(word: &[u8]) -> Option<(&'static [Access], &[u8])> {
    const BOTH: &[Access] = &[Access::Read, Access::Write];
    match word {
        b"allkeys" | b"allkeys)" => Some((BOTH, b"*")),
        [b'~', pattern @ ..]
        | [b'%', b'R' | b'r', b'W' | b'w', b'~', pattern @ ..]
        | [b'%', b'W' | b'w', b'R' | b'r', b'~', pattern @ ..] => Some((BOTH, pattern)),
        [b'%', b'R' | b'r', b'~', pattern @ ..] => Some((&[Access::Read], pattern)),
        [b'%', b'W' | b'w', b'~', pattern @ ..] => Some((&[Access::Write], pattern)),
        _ => None,
    }
}

/// Whether this is `literal*`, and the prefix begins with the literal. A backslash makes what follows literal.
fn is_all_of(pattern: &[u8], prefix: &[u8]) -> bool {
    let (mut pattern, mut prefix) = (pattern, prefix);
    loop {
        let (literal, rest) = match pattern {
            [b'*', rest @ ..] => return rest.iter().all(|byte| *byte == b'*'),
            [] | [b'?' | b'[', ..] => return false,
            [b'\\', escaped, rest @ ..] => (escaped, rest),
            [literal, rest @ ..] => (literal, rest),
        };
        prefix = match prefix {
            [first, after @ ..] if first == literal => after,
            _ => return false,
        };
        pattern = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Pattern, covers};

    /// Lines `ACL | the accesses to the prefix user: in the database 0 that it gives`.
    const ACLS: &str = r"
on nopass ~* &* +@all                                     | read write
on allkeys +@all                                          | read write
on sanitize-payload #c0ffee ~user:* resetchannels -@all   | read write
~u* -@all                                                 | read write
~user** -@all                                             | read write
~us\er:* -@all                                            | read write
~us\\er:* -@all                                           |
~other:* ~user:* -@all                                    | read write
%R~user:* -@all                                           | read
%W~user:* -@all                                           | write
%RW~user:* -@all                                          | read write
%WR~user:* -@all                                          | read write
%R~user:* %W~u* -@all                                     | read write
%R~user:* %W~user:1* -@all                                | read
-@all (%R~user:* -@all +get) (%W~user:* -@all +set)       | read write
-@all (~other -@all) (~user:* -@all)                      | read write
-@all (allkeys)                                           | read write
~user: ~user -@all                                        |
~user:1* -@all                                            |
~user*[^0-9] -@all                                        |
~user*: -@all                                             |
~user:? -@all                                             |
~use?:* -@all                                             |
~[u]ser:* -@all                                           |
~*: -@all                                                 |
~user:\* -@all                                            |
~user:[* -@all                                            |
~user:*\ -@all                                            |
~\ -@all                                                  |
~ -@all                                                   |
~user:*) -@all                                            |
~users:* -@all                                            |
%~user:* %X~user:* %R%W~user:* -@all                      |
&user:* +user:* user:* -@all                              |
-@all (&user:* -@all)                                     |
                                                          |
~user:* db=0 -@all                                        | read write
~user:* db=2,0,5 -@all                                    | read write
~user:* db=1 -@all                                        |
~user:* db=10,20 -@all                                    |
~user:* db=00 -@all                                       |
~user:* resetdbs -@all                                    |
db=1 ~user:* -@all                                        |
~x db=0 -@all (~user:* db=1 -@all)                        |
~user:* db=1 -@all (~x db=0 -@all)                        |
~user:* db=1 -@all (%R~user:* db=0 -@all)                 | read
-@all (%R~user:* db=0) (%W~user:* db=1)                   | read
-@all (~user:* resetdbs)                                  |
";

    #[test]
    fn only_a_literal_with_a_star_behind_it_covers_a_prefix() {
        for line in ACLS.lines().filter(|line| !line.is_empty()) {
            let (acl, expected) = line.split_once('|').expect("a table");
            let given: Vec<&str> = [(Access::Read, "read"), (Access::Write, "write")]
                .into_iter()
                .filter(|(access, _)| covers(acl.trim().as_bytes(), *access, b"user:", 0))
                .map(|(_, name)| name)
                .collect();
            assert_eq!(given.join(" "), expected.trim(), "{acl}");
        }
    }

    #[test]
    fn the_pattern_that_an_error_names_covers_the_prefix() {
        for (prefix, expected) in [
            ("user:", "~user:*"),
            ("*", r"~\**"),
            ("a?[]\\", r"~a\?\[]\\*"),
            ("{a}%~&+(", "~{a}%~&+(*"),
            ("it's", "\"~it's*\""),
            ("\"", r#""~\"*""#),
            ("\u{e9}\x01?", r#""~\xc3\xa9\x01\\?*""#),
        ] {
            let [read, write] = [Access::Read, Access::Write].map(|access| {
                let pattern = Pattern::new(access, prefix.as_bytes());
                pattern.to_string()
            });
            assert_eq!(write, format!("a pattern such as {expected}"));
            let of_read = expected.replacen('~', "%R~", 1);
            assert_eq!(read, format!("a pattern such as {of_read}"));
            if !expected.starts_with('"') {
                let acl = format!("{expected} -@all");
                assert!(covers(acl.as_bytes(), Access::Write, prefix.as_bytes(), 0));
            }
        }
        let long = "x".repeat(65);
        for prefix in [" ", "a b", "a\0", "\t", "\u{b}", "\n", "\r", &long] {
            assert_eq!(
                Pattern::new(Access::Read, prefix.as_bytes()).to_string(),
                "a pattern that is the beginning of the prefix and a star",
            );
        }
    }

    #[test]
    fn a_prefix_is_bytes_and_may_hold_what_is_special_in_patterns() {
        for (acl, prefix, expected) in [
            (r"~user\**", "user*", true),
            (r"~user\*", "user*", false),
            (r"~user[*", "user*", false),
            (r"~user\[*", "user[", true),
            (r"~user\?*", "user?", true),
            (r"~user\?*", "userx", false),
            (r"~\\*", r"\", true),
            (r"~\\*", "x", false),
            ("~user:*", "", false),
            ("~*", "", true),
            ("~user:*", "user", false),
            ("~user:*", "user:a b", true),
            ("~(*", "(", true),
        ] {
            let found = covers(acl.as_bytes(), Access::Write, prefix.as_bytes(), 3);
            assert_eq!(found, expected, "{acl} {prefix}");
        }
        assert!(covers(
            b"~\xff\x00* -@all",
            Access::Read,
            b"\xff\x00\xfe",
            0
        ));
        assert!(!covers(b"~\xff* -@all", Access::Read, b"\xfe", 0));
    }
}
