//! Which snapshots would be stored where something else belongs. End users often choose ids, and must not
//! reach other keys by them: those of a stream, those of another declaration.

use super::declaration::{Declaration, Stream};

/// An id may have this many colons, and this many `@`. Each of them costs a look at a key.
pub const MAX_SEPARATORS: usize = 16;

/// Behind a declaration's key: the flushes that wait for their COMMIT.
pub const DEFERRED: &[u8] = b"@deferred";
/// Behind a declaration's key and before a token: the first reply to a flush.
pub const ONCE: &[u8] = b"@once:";

/// Behind a stream's key: what its readers keep there.
const OF_READERS: [&[u8]; 2] = [b":dead", b":readers"];

/// Whether a key is this one or lies below it.
pub fn is_at_or_below(key: &[u8], top: &[u8]) -> bool {
    // Looked at first, since it tells nearly all keys apart.
    matches!(key.get(top.len()), None | Some(b':')) && key.starts_with(top)
}

/// Whether a key is one of those that the declaration at `owner` has besides its snapshots and streams.
pub fn is_own(key: &[u8], owner: &[u8]) -> bool {
    let rest = key.strip_prefix(owner);
    rest.is_some_and(|rest| rest == DEFERRED || rest.starts_with(ONCE))
}

/// Whether the declaration at this key, or a key of its own, is where a stream is or what its readers keep.
pub fn collide(stream: &[u8], key: &[u8]) -> bool {
    let is_taken = |name: &[u8]| name == key || is_own(name, key);
    is_taken(stream) || OF_READERS.iter().any(|of| is_taken(&[stream, of].concat()))
}

/// The keys at which a declaration would have keys of its own where this prefix leads, whatever the id is.
pub fn owners_of_prefix(prefix: &[u8]) -> Vec<&[u8]> {
    let at_signs = prefix.iter().enumerate().filter(|(_, byte)| **byte == b'@');
    let parts = at_signs.filter_map(|(at, _)| prefix.split_at_checked(at));
    let leads_there = |(_, rest): &(&[u8], &[u8])| {
        [DEFERRED, ONCE].iter().any(|own| own.starts_with(rest)) || rest.starts_with(ONCE)
    };
    let owners = parts.filter(leads_there).map(|(owner, _)| owner);
    owners
        .filter(|owner| !owner.is_empty())
        .take(MAX_SEPARATORS)
        .collect()
}

/// Whether a stream has the key of a snapshot to itself: it is the stream's, or lies below it.
///
/// Where the prefix as a whole lies below the stream, it was no id that brought the snapshot there, and only
/// what the stream's readers keep is out of bounds.
pub fn is_of_stream(declaration: &Declaration, stream: &Stream, key: &[u8]) -> bool {
    let top = stream.key.as_slice();
    if !is_at_or_below(key, top) {
        return false;
    }
    let prefix = declaration.prefix.as_slice();
    if prefix.len() == top.len() || !is_at_or_below(prefix, top) {
        return true;
    }
    let rest = key.get(top.len()..).unwrap_or_default();
    OF_READERS.iter().any(|of| is_at_or_below(rest, of))
}

/// Whether an id leads to a key that something else could have: that takes a separator.
pub fn has_separator(id: &[u8]) -> bool {
    id.iter().any(is_separator)
}

fn is_separator(byte: &u8) -> bool {
    matches!(byte, b':' | b'@')
}

/// Whether an id makes this key one that a declaration in front of its `@` would have for deferred flushes or the
/// replies of ONCE. There need not be such a declaration yet: it would find what was written there before.
pub fn is_reserved(prefix: &[u8], key: &[u8]) -> bool {
    let id = key.get(prefix.len()..).unwrap_or_default();
    id.contains(&b'@')
        && (id.ends_with(DEFERRED) || id.windows(ONCE.len()).any(|part| part == ONCE))
}

/// More separators than an id may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// The separator, `:` or `@`.
    pub separator: u8,
    /// How often it stands in the id.
    pub got: usize,
}

/// The keys at which another declaration would have this snapshot's key to itself: those in front of each
/// colon of the id (it would lie below them) and of each `@` (it would be a key of its own), and the
/// snapshot's. Of an id without colons and `@` there are none.
pub fn owners<'k>(prefix: &[u8], key: &'k [u8]) -> Result<Vec<&'k [u8]>, TooMany> {
    let id = key.get(prefix.len()..).unwrap_or_default();
    if !has_separator(id) {
        return Ok(Vec::new());
    }
    for separator in [b':', b'@'] {
        let got = id.iter().filter(|byte| **byte == separator).count();
        if got > MAX_SEPARATORS {
            return Err(TooMany { separator, got });
        }
    }
    let ends = key.iter().enumerate().skip(prefix.len());
    let ends = ends.filter(|(_, byte)| is_separator(byte));
    let owners = ends.filter_map(|(end, _)| key.get(..end)).chain([key]);
    Ok(owners.filter(|owner| !owner.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn declaration(prefix: &str, stream: &str) -> Declaration {
        let stream = Stream::new(stream.as_bytes());
        Declaration {
            revision: None,
            name: b"k".to_vec(),
            prefix: prefix.into(),
            stateless: false,
            version: None,
            soft_delete: None,
            types: BTreeMap::new(),
            streams: vec![stream],
        }
    }

    #[test]
    fn a_key_lies_below_another_behind_a_colon() {
        for (key, top, expected) in [
            ("a", "a", true),
            ("a:b", "a", true),
            ("a:b:c", "a", true),
            ("a:", "a", true),
            ("a::b", "a:", true),
            ("ab", "a", false),
            ("a@b", "a", false),
            ("a", "a:b", false),
            ("b:a", "a", false),
            ("", "a", false),
            ("", "", true),
        ] {
            let found = is_at_or_below(key.as_bytes(), top.as_bytes());
            assert_eq!(found, expected, "{key} {top}");
        }
    }

    #[test]
    fn the_keys_of_a_stream_are_taken_from_the_ids_that_lead_there() {
        for (prefix, stream, id, expected) in [
            ("user:", "user:events", "events", true),
            ("user:", "user:events", "events:dead", true),
            ("user:", "user:events", "events:readers", true),
            ("user:", "user:events", "events:dead:x", true),
            ("user:", "user:events", "events:", true),
            ("user:", "user:events", "events:42", true),
            ("user:", "user:events", "events2", false),
            ("user:", "user:events", "event", false),
            ("user:", "user:events", "x:events", false),
            ("user:", "user-events", "events:dead", false),
            ("us", "user:events", "er:events:dead", true),
            // The prefix is the stream's key.
            ("s", "s", "", true),
            ("s", "s", ":dead", true),
            ("s", "s", ":42", true),
            ("s", "s", "42", false),
            // Every snapshot lies below the stream.
            ("s:", "s", "42", false),
            ("s:", "s", "a:b", false),
            ("s:", "s", "", false),
            ("s:", "s", "dead", true),
            ("s:", "s", "readers", true),
            ("s:", "s", "failures", false),
            ("s:", "s", "dead:42", true),
            ("s:", "s", "deadly", false),
            ("s:user:", "s", "dead", false),
            ("s:dead", "s", "ly", false),
            ("s:dead", "s", "", true),
            ("s:dead:", "s", "42", true),
        ] {
            let declaration = declaration(prefix, stream);
            let key = declaration.snapshot_key(id.as_bytes());
            let found = is_of_stream(&declaration, &declaration.streams[0], &key);
            assert_eq!(found, expected, "{prefix} {stream} {id}");
        }
    }

    #[test]
    fn declarations_are_looked_for_in_front_of_each_separator_of_the_id() {
        for (prefix, id, expected) in [
            ("shop:", "42", ""),
            ("shop:user:", "42", ""),
            ("shop@", "42", ""),
            ("shop:", "", ""),
            ("shop:", "\0\u{ff}-_/", ""),
            ("shop:", "user:42", "shop:user shop:user:42"),
            ("shop:", "user@deferred", "shop:user shop:user@deferred"),
            ("shop:", "a:b@c", "shop:a shop:a:b shop:a:b@c"),
            ("shop:", ":", "shop: shop::"),
            ("shop:", "a:", "shop:a shop:a:"),
            ("sh", "op:42", "shop shop:42"),
            ("shop", ":42", "shop shop:42"),
            ("shop:user:", "a:b", "shop:user:a shop:user:a:b"),
        ] {
            let key = [prefix, id].concat();
            let found = owners(prefix.as_bytes(), key.as_bytes()).expect("few separators");
            let expected: Vec<&[u8]> = expected.split_whitespace().map(str::as_bytes).collect();
            assert_eq!(found, expected, "{prefix} {id}");
        }
    }

    #[test]
    fn ids_do_not_lead_to_keys_that_a_later_declaration_would_have() {
        for (prefix, id, expected) in [
            ("shop:", "user@deferred", true),
            ("shop:", "@deferred", true),
            ("shop:", "user@once:t", true),
            ("shop:", "a@once:t:u@x", true),
            ("shop:", "deferred", false),
            ("shop:", "user@deferred:1", false),
            ("shop:", "user@deferred.example.com", false),
            ("shop:", "once@example.com", false),
            ("shop:", "user@once", false),
            ("shop:", "1", false),
            ("shop:", "", false),
            // The prefix is the operator's choice.
            ("ev@", "deferred", false),
        ] {
            let key = [prefix, id].concat();
            assert_eq!(
                is_reserved(prefix.as_bytes(), key.as_bytes()),
                expected,
                "{prefix} {id}"
            );
        }
    }

    #[test]
    fn a_prefix_that_leads_to_keys_of_another_declaration_tells_which() {
        for (prefix, expected) in [
            ("ev", ""),
            ("ev:", ""),
            ("@", ""),
            ("ev@", "ev"),
            ("ev@d", "ev"),
            ("ev@deferred", "ev"),
            ("ev@deferred2", ""),
            ("ev@x", ""),
            ("ev@once", "ev"),
            ("ev@once:t", "ev"),
            ("ev@@", "ev@"),
            ("ev@once:t@", "ev ev@once:t"),
        ] {
            let expected: Vec<&[u8]> = expected.split_whitespace().map(str::as_bytes).collect();
            assert_eq!(owners_of_prefix(prefix.as_bytes()), expected, "{prefix}");
        }
        assert_eq!(owners_of_prefix(&b"@once:".repeat(100)).len(), 16);
    }

    #[test]
    fn an_id_has_sixteen_separators_of_each_kind_at_most() {
        for (id, expected) in [
            (":".repeat(16), Ok(17)),
            ("@".repeat(16), Ok(17)),
            (":@".repeat(16), Ok(33)),
            (":".repeat(17), Err((b':', 17))),
            ("@".repeat(17), Err((b'@', 17))),
            ("a:".repeat(1000), Err((b':', 1000))),
        ] {
            // Those of the prefix do not count.
            for prefix in ["p", "::::::::::::::::::::"] {
                let key = [prefix, &id].concat();
                let found = owners(prefix.as_bytes(), key.as_bytes());
                let found = found.map(|owners| owners.len());
                let expected = expected.map_err(|(separator, got)| TooMany { separator, got });
                assert_eq!(found, expected, "{prefix} {id}");
            }
        }
    }

    #[test]
    fn a_declaration_and_its_streams_do_not_share_keys() {
        for (key, stream, expected) in [
            ("user", "user", true),
            ("user", "user@deferred", true),
            ("user", "user@once:", true),
            ("user", "user@once:t", true),
            // The token `dead` would be where its dead go.
            ("user", "user@once", true),
            ("user:dead", "user", true),
            ("user:readers", "user", true),
            ("user:failures", "user", false),
            ("user", "user:dead", false),
            ("user", "user-changes", false),
            ("user", "user:events", false),
            ("user:x", "user", false),
            ("user", "user@deferred2", false),
        ] {
            let found = collide(stream.as_bytes(), key.as_bytes());
            assert_eq!(found, expected, "{key} {stream}");
        }
    }
}
