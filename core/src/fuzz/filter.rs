//! Filters, against a model that looks at the words of WHERE.

use super::{look_at, words};
use crate::args::Args;
use crate::encoding::event::{self, Origin};
use crate::entity::declaration::Format;
use crate::entity::event::{Change, Event, Value};
use crate::entity::limits::Limits;
use crate::entity::operation::Operation;
use crate::entity::value::FieldType;
use crate::reading::requests::{declare, read};
use crate::reading::{Filter, Readers, Settings, Shard};
use std::collections::BTreeMap;

/// The words of READ behind the stream, in the first line; behind it an event: as MessagePack, or in words, see
/// [`event_of`].
pub fn filter(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let line = words(parts.next().unwrap_or_default());
    let rest = parts.next().unwrap_or_default();
    let event = match event_of(rest) {
        Some(event) => Some(event),
        None => event::decode(&[(b"s", rest)]),
    };
    let request = match read::Request::parse(Args::new(&line), &Limits::NONE) {
        Ok(request) => request,
        Err(error) => return look_at(&error),
    };
    let filter = request.filter;
    look_at_words(&filter);
    look_at_state(&filter, request.shard);
    assert_eq!(filter.takes(None), filter.is_empty());
    let Some(event) = event else {
        return;
    };
    let takes = filter.takes(Some(&event));
    let shown = || format!("{filter:?} {event:?}");
    assert_eq!(takes, model(&where_words(&line), &event), "{}", shown());
    for count in [1, 2, 3, 7] {
        let takes = |index: &u64| {
            Shard {
                index: *index,
                count,
            }
            .takes(Some(&event))
        };
        let taking = (0..count).filter(takes).count();
        assert_eq!(taking, 1, "one of {count} shards");
    }
    // What is published passes as what it was before.
    if let Some(entry) = event::encode(Format::MsgPack, &event, Origin::default(), usize::MAX) {
        let fields: Vec<(&[u8], &[u8])> = entry.iter().map(|(f, v)| (&**f, &**v)).collect();
        let read = event::decode(&fields).expect("an event of our own");
        let touches = event.touch != read.touch;
        assert!(touches || filter.takes(Some(&read)) == takes, "{}", shown());
    }
}

/// The words behind WHERE, other options at the end among them.
fn where_words<'w>(line: &[&'w [u8]]) -> Vec<&'w [u8]> {
    let mut options = line.iter().skip(2);
    let mut left = Vec::new();
    while let Some(word) = options.next() {
        let skipped = match word.to_ascii_uppercase().as_slice() {
            b"WHERE" => {
                left = options.copied().collect();
                break;
            }
            b"SHARD" => 2,
            b"MINAGE" | b"COUNT" | b"BLOCK" => 1,
            _ => 0,
        };
        options.by_ref().take(skipped).for_each(drop);
    }
    left
}

/// Whether an event passes, by what the manual says of the words.
fn model(words: &[&[u8]], event: &Event) -> bool {
    // For each kind of filter, and each name of META: whether one lets the event pass.
    let mut passes: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = word.to_ascii_uppercase();
        let mut next = || *words.next().expect("a word that was parsed");
        let (kind, pass) = match word.as_slice() {
            b"ENTITY" => (word, *event.entity == *next()),
            b"OPS" => {
                let letter = match event.operation {
                    Operation::Insert => b'I',
                    Operation::Update => b'U',
                    Operation::Delete => b'D',
                };
                (word, next().to_ascii_uppercase().contains(&letter))
            }
            b"META" => {
                let (name, value) = (next(), next());
                let mut pairs = event.meta.iter();
                let pass = pairs.any(|(n, v)| **n == *name && **v == *value);
                ([b"META ", name].concat(), pass)
            }
            b"ID" | b"FIELDS" => {
                let count: usize = std::str::from_utf8(next())
                    .ok()
                    .and_then(|n| n.parse().ok())
                    .expect("a count");
                let names: Vec<&[u8]> = (0..count).map(|_| next()).collect();
                let pass = match word.as_slice() {
                    b"ID" => names.contains(&&*event.id),
                    _ => {
                        names.iter().any(|name| may_have_changed(event, name))
                            || tells_nothing(event)
                    }
                };
                (word, pass)
            }
            // Other options follow.
            _ => break,
        };
        *passes.entry(kind).or_default() |= pass;
    }
    passes.values().all(|pass| *pass)
}

/// It is no update, or one that does not tell what changed.
fn tells_nothing(event: &Event) -> bool {
    let images = event.before.len() + event.after.len();
    event.operation != Operation::Update || !event.touch && event.changes.is_empty() && images == 0
}

fn may_have_changed(event: &Event, field: &[u8]) -> bool {
    let named = |image: &[(crate::entity::event::Bytes, Value)]| -> Option<Vec<u8>> {
        let last = image
            .iter()
            .rfind(|(name, value)| **name == *field && value.is_some());
        last.and_then(|(_, value)| Some(value.as_ref()?.1.to_vec()))
    };
    event.changes.iter().any(|change| *change.field == *field)
        || named(&event.before) != named(&event.after)
}

/// The words of a filter say the same filter.
fn look_at_words(filter: &Filter) {
    let args = filter.args();
    let mut line: Vec<&[u8]> = vec![b"FROM", b"0", b"WHERE"];
    line.extend(args.iter().map(Vec::as_slice));
    if args.is_empty() {
        line.pop();
    }
    let again = read::Request::parse(Args::new(&line), &Limits::NONE);
    assert_eq!(again.map(|request| request.filter).as_ref(), Ok(filter));
    let mut line: Vec<&[u8]> = vec![b"GROUP", b"g", b"WHERE"];
    line.extend(args.iter().map(Vec::as_slice));
    if args.is_empty() {
        line.pop();
    }
    let declared = declare::Request::parse(Args::new(&line), &Limits::NONE);
    assert_eq!(
        declared.map(|request| request.settings.filter).as_ref(),
        Ok(filter)
    );
}

/// A reader keeps its filter, and its shard, in RDB and AOF.
fn look_at_state(filter: &Filter, shard: Option<Shard>) {
    let settings = Settings {
        filter: filter.clone(),
        shard,
        ..Settings::default()
    };
    let readers = super::readers::with_cursor(settings.clone());
    let pieces = readers.pieces();
    let loaded = Readers::decode(pieces.iter().map(Vec::as_slice)).expect("pieces of our own");
    let settings_again = loaded
        .iter()
        .next()
        .map(|reader| (*reader.settings).clone());
    assert_eq!(settings_again, Some(settings));
    assert_eq!(loaded.pieces(), pieces);
}

/// An event in words: `=`, a letter of `IUDT` (T is a TOUCH), the entity, the id, and any of `c:field`, `b:field:value`,
/// `a:field:value` and `m:name:value`.
fn event_of(bytes: &[u8]) -> Option<Event<'_>> {
    let mut words = bytes.strip_prefix(b"=")?.split(|&byte| byte == b' ');
    let operation = match words.next()? {
        b"I" => Operation::Insert,
        b"D" => Operation::Delete,
        b"U" | b"T" => Operation::Update,
        _ => return None,
    };
    let (entity, id) = (words.next()?.into(), words.next()?.into());
    let (mut changes, mut before, mut after, mut meta) = (vec![], vec![], vec![], vec![]);
    for word in words {
        let mut parts = word.splitn(3, |&byte| byte == b':');
        let kind = parts.next()?;
        let (field, value) = (parts.next()?.into(), parts.next());
        let typed: Value = value.map(|value| (FieldType::String, value.into()));
        match kind {
            // No event names anything twice.
            b"c" if changes.iter().any(|change: &Change| change.field == field) => (),
            b"b" if before.iter().any(|(name, _)| *name == field) => (),
            b"a" if after.iter().any(|(name, _)| *name == field) => (),
            b"m" if meta.iter().any(|(name, _)| *name == field) => (),
            b"c" => changes.push(Change {
                field,
                old: None,
                new: typed,
            }),
            b"b" => before.push((field, typed)),
            b"a" => after.push((field, typed)),
            b"m" => meta.push((field, value.unwrap_or_default().into())),
            _ => return None,
        }
    }
    Some(Event {
        entity,
        id,
        operation,
        changes: changes.into(),
        before: before.into(),
        after: after.into(),
        touch: bytes.starts_with(b"=T"),
        version: None,
        meta: meta.into(),
    })
}
