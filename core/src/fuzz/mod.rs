//! The fuzz targets in `fuzz/`: each is a function of any bytes, which panics when a promise is broken. `cargo
//! test` runs the corpus through the same functions.
//!
//! Arguments are separated by spaces, so that a corpus reads like a command line.

use crate::args::Args;
use crate::encoding::event::{self, Entry, Origin};
use crate::encoding::{declaration, input};
use crate::entity::declaration::{Declaration, Format};
use crate::entity::event::Event;
use crate::entity::event_id::EventId;
use crate::entity::field::{Field, Fields};
use crate::entity::limits::Limits;
use crate::entity::snapshot::{Snapshot, SnapshotBuilder};
use crate::entity::tags::{self, Tag};
use crate::entity::value::FieldType;
use crate::error::Error;
use crate::flush::{self, EntityState, Snapshots, Write, stored};
use crate::reading::requests::{
    ack, consume, declare, fail, hold, list, name, pause, read, seek, select,
};
use crate::reconcile;
use std::collections::HashMap;

mod decimal;
mod filter;
mod play;
mod readers;
mod sequence;
mod source;

pub use decimal::decimal;
pub use filter::filter;
pub use readers::{delta, payload};
pub use sequence::sequence;

type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 13] = [
    ("arguments", arguments),
    ("decimal", decimal),
    ("declaration", declaration),
    ("delta", delta),
    ("event", event),
    ("filter", filter),
    ("flush", flush),
    ("json", json),
    ("msgpack", msgpack),
    ("payload", payload),
    ("sequence", sequence),
    ("tags", tags),
    ("waiting", waiting),
];

fn words(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|&byte| byte == b' ').collect()
}

/// An error is one line that begins with its code and is not internal.
fn look_at(error: &Error) {
    let line = error.to_string();
    let code = line.split(' ').next().unwrap_or_default();
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
    assert!(is_code && *error != Error::Internal, "{line:?}");
    assert!(
        !line.bytes().any(|byte| byte.is_ascii_control()),
        "{line:?}"
    );
    assert!(line.len() < 4096, "{line:?}");
}

/// The parsers of the commands; the first argument names the command.
pub fn arguments(bytes: &[u8]) {
    let words = words(bytes);
    let Some((command, args)) = words.split_first() else {
        return;
    };
    let args = Args::new(args);
    let error = match *command {
        b"DECLARE" => declaration::decode(b"key{tag}", args).err(),
        b"FLUSH" => flush::Request::parse(args, false, &Limits::NONE).err(),
        b"STATELESS" => flush::Request::parse(args, true, &Limits::NONE).err(),
        b"READER" => declare::Request::parse(args, &Limits::NONE).err(),
        b"CONSUME" => consume::Request::parse(args).err(),
        b"READ" => read::Request::parse(args, &Limits::NONE).err(),
        b"ACK" => ack::Request::parse(args).err(),
        b"HOLD" => hold::Request::parse(args).err(),
        b"FAIL" => fail::Request::parse(args).err(),
        b"LEAVE" => name::parse_member(args).err(),
        b"PENDING" => list::Request::parse(args).err(),
        b"REDRIVE" => select::Request::parse_redrive(args).err(),
        b"DISCARD" => select::Request::parse_discard(args).err(),
        b"PAUSE" => pause::Request::parse(args).err(),
        b"SEEK" => seek::Request::parse(args).err(),
        b"RECONCILE" => reconcile::request::Request::parse(args).err(),
        b"FORGET" => name::parse_reader(args).err(),
        _ => {
            if let Some(id) = EventId::parse(command) {
                assert_eq!(EventId::parse(id.to_string().as_bytes()), Some(id));
            }
            None
        }
    };
    if let Some(error) = error {
        look_at(&error);
    }
}

/// The declaration that an RDB file or a forged payload holds: strings, each with its length before it.
pub fn declaration(bytes: &[u8]) {
    let mut strings: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    while let Some((&length, more)) = rest.split_first() {
        let (string, more) = more.split_at(usize::from(length).min(more.len()));
        strings.push(string);
        rest = more;
    }
    match declaration::decode_stored(b"", Args::new(&strings)) {
        Err(error) => look_at(&error),
        Ok(declared) => {
            let saved = declaration::encode(&declared);
            let saved: Vec<&[u8]> = saved.iter().map(Vec::as_slice).collect();
            let loaded = declaration::decode_stored(b"other", Args::new(&saved));
            assert_eq!(loaded, Ok(declared), "what is saved is loaded again");
        }
    }
}

/// A stream's entry by any writer. The first byte is the number of its fields; NULs separate their values, and
/// the last value may contain NULs.
pub fn event(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else {
        return;
    };
    let names: &[&[u8]] = match kind {
        b'1' => &[b"s"],
        b'2' => &[b"key", b"value"],
        b'4' => &[b"action", b"entity", b"id", b"s"],
        b'5' => &[b"operation", b"id", b"occurred_at", b"a", b"b"],
        _ => return,
    };
    let values = rest.splitn(names.len(), |&byte| byte == 0);
    let fields: Vec<(&[u8], &[u8])> = names.iter().copied().zip(values).collect();
    let Some(event) = event::decode(&fields) else {
        return;
    };
    event.op();
    let written = again(Format::MsgPack, &event);
    let read = event::decode(&borrowed(&written)).expect("an event of our own");
    let expected = Event {
        touch: false,
        ..event.clone()
    };
    assert_eq!(read, expected);
    for format in [
        Format::FluxaOrm2,
        Format::FluxaOrm1,
        Format::Debezium,
        Format::Flat,
    ] {
        let written = again(format, &event);
        let is_named =
            !format.has_numeric_ids() || crate::entity::decimal::parse(&event.id).is_some();
        assert!(
            !is_named || event::decode(&borrowed(&written)).is_some(),
            "{format:?}"
        );
    }
}

fn again(format: Format, event: &Event) -> Entry {
    let entry = event::encode(format, event, Origin::default(), usize::MAX);
    let entry = entry.expect("there is no limit");
    let size = event::size(&entry);
    let same = event::encode(format, event, Origin::default(), size);
    assert_eq!(same.as_ref(), Some(&entry), "just as large as it may be");
    let none = event::encode(format, event, Origin::default(), size - 1);
    assert_eq!(none, None, "one byte too large");
    entry
}

fn borrowed(entry: &Entry) -> Vec<(&[u8], &[u8])> {
    let fields = entry.iter();
    fields.map(|(field, value)| (&**field, &**value)).collect()
}

const DECLARATIONS: [&str; 6] = [
    "TYPES 9 i int u uint f float t time j json d decimal m decimal:2 y date w datetime \
     STREAM s FIELDS 1 a PAYLOAD IMAGES STREAM t OPS NONE FIELDS 1 b",
    "STREAM s PAYLOAD FULL STREAM t FORMAT DEBEZIUM STREAM u PAYLOAD KEYS STREAM v FORMAT FLAT \
     STREAM w FORMAT DEBEZIUM IDFIELD i SAFENUMBERS",
    "VERSION i SOFTDELETE gone \
     STREAM s PAYLOAD IMAGES STREAM t PAYLOAD FULL STREAM u FORMAT DEBEZIUM",
    "VERSION u TOMBSTONE 0 TYPES 1 u uint STREAM s",
    "SOFTDELETE gone STREAM s FORMAT FLUXAORM2 STREAM t FORMAT FLUXAORM1",
    "STATELESS SOFTDELETE gone \
     STREAM s PAYLOAD IMAGES STREAM t PAYLOAD FULL STREAM u FORMAT DEBEZIUM",
];

/// Snapshots in memory.
#[derive(Default)]
struct Memory(HashMap<Vec<u8>, EntityState<'static>>);

impl Snapshots for Memory {
    fn load<'g>(&mut self, id: &[u8], given: &[Field<'g>]) -> Result<EntityState<'g>, Error> {
        let stored = self.0.get(id).cloned().unwrap_or_default();
        let Some(snapshot) = stored.entity() else {
            return Ok(stored);
        };
        let mut builder = SnapshotBuilder::new(snapshot.len(), given);
        for (field, value) in snapshot.iter() {
            builder.push(field, value);
        }
        builder.snapshot.marked = snapshot.marked;
        Ok(EntityState::Entity(builder.snapshot))
    }
}

impl Memory {
    /// Applies a write as the module applies it to the hash of a snapshot.
    fn write(&mut self, id: &[u8], write: &Write) {
        let stored = self.0.entry(id.to_vec()).or_default();
        *stored = match write {
            Write::Delete => EntityState::Nothing,
            Write::Bury { version, .. } => EntityState::Tombstone(*version),
            Write::Change {
                set, unset, marker, ..
            } => {
                let mut snapshot = stored.entity().cloned().unwrap_or_default();
                snapshot.change(set, unset);
                snapshot.marked = marker.unwrap_or(snapshot.marked);
                assert_eq!(
                    snapshot.marked,
                    snapshot.is_empty(),
                    "marked if it has no fields"
                );
                let mut written: Snapshot = snapshot.iter().collect();
                written.marked = snapshot.marked;
                EntityState::Entity(written)
            }
        };
    }
}

/// Lines of DIRTY.FLUSH on one of a few declarations, which the first byte selects. Planned writes are applied,
/// published entries are decoded, and deferred flushes are stored and parsed again.
pub fn flush(bytes: &[u8]) {
    let Some((&chosen, lines)) = bytes.split_first() else {
        return;
    };
    let chosen = DECLARATIONS.iter().cycle().nth(usize::from(chosen));
    let declared = words(chosen.map_or(b"", |line| line.as_bytes()));
    let declared: Declaration =
        declaration::decode(b"user", Args::new(&declared)).expect("a declaration");
    fn parse<'a>(args: &'a [&'a [u8]], stateless: bool) -> Result<flush::Request<'a>, Error> {
        flush::Request::parse(Args::new(args), stateless, &Limits::NONE)
    }
    let stateless = declared.stateless;
    let mut memory = Memory::default();
    for line in lines.split(|&byte| byte == b'\n') {
        let args = words(line);
        let request = match parse(&args, stateless) {
            Ok(request) => request,
            Err(error) => {
                look_at(&error);
                continue;
            }
        };
        if request.defer.is_some() {
            let kept = stored::encode_deferred(1, 1, stateless, &request.kept);
            let kept = stored::decode_deferred(&kept).expect("what waits");
            let kept: Vec<&[u8]> = kept.args.iter().map(|arg| arg.as_slice()).collect();
            let again = parse(&kept, stateless).expect("what was taken once");
            assert_eq!(again.flush, request.flush);
        }
        let origin = Origin {
            key: b"user",
            database: 0,
            now_ms: 1,
            ..Origin::default()
        };
        let again = request.flush.clone();
        let asked = vec![request.flush];
        match flush::plan(&declared, origin, Limits::NONE, asked, &mut memory) {
            Err(error) => look_at(&error),
            Ok(plan) => {
                assert_eq!(plan.steps().count(), again.actions.len());
                for entry in &plan.entries {
                    let read = event::decode(&borrowed(entry));
                    assert!(read.is_some(), "{entry:?}");
                }
                for step in plan.steps() {
                    if let Some(write) = &step.write {
                        memory.write(step.id, write);
                    }
                }
            }
        }
    }
}

/// All types, decimals of two scales among them.
fn types() -> impl Iterator<Item = FieldType> {
    let words = "string int uint float decimal decimal:0 decimal:2 bool time date datetime json";
    let words = words.split(' ');
    words.map(|word| FieldType::parse(word.as_bytes()).expect("a type"))
}

fn look_at_fields(decoded: Result<Fields, Error>) {
    match decoded {
        Err(error) => look_at(&error),
        Ok(fields) => {
            let given = fields.iter().filter_map(|(_, given)| given.as_ref());
            for given in given {
                assert!(given.own_type().holds(given.text()), "{given:?}");
                // A value has one text in a field of each type.
                for field_type in types() {
                    match field_type.coerce(b"f", given.clone()) {
                        Err(error) => look_at(&error),
                        Ok(text) => {
                            let again = field_type.canonical(&text);
                            assert_eq!(again.as_deref(), Some(&*text), "{field_type:?}");
                        }
                    }
                }
            }
        }
    }
}

/// A snapshot as JSON; a value of each type as text.
pub fn json(bytes: &[u8]) {
    look_at_fields(input::json::decode(bytes));
    for field_type in types() {
        if let Some(text) = field_type.canonical(bytes) {
            let again = field_type.canonical(&text);
            assert_eq!(again.as_deref(), Some(&*text), "{field_type:?}");
        }
    }
}

/// A snapshot as MessagePack.
pub fn msgpack(bytes: &[u8]) {
    look_at_fields(input::msgpack::decode(bytes));
}

/// Lines of a field and its tag; a POOL line gives a code.
pub fn tags(bytes: &[u8]) {
    let mut pools = tags::Pools::new();
    let mut list = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let mut parts = line.splitn(2, |&byte| byte == b' ');
        let (field, tag) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        match field {
            b"POOL" => {
                pools.insert(tag, 1);
            }
            _ => list.push(Tag { field, tag }),
        }
    }
    match tags::streams(&list, &pools) {
        Err(error) => look_at(&error),
        Ok(streams) => {
            for (index, stream) in streams.iter().enumerate() {
                let others = streams.iter().skip(index + 1);
                assert!(
                    others.clone().all(|other| other.key != stream.key),
                    "{streams:?}"
                );
                stream.operations.name();
            }
        }
    }
}

/// Arbitrary bytes in place of a flush that waits, or of a first reply.
pub fn waiting(bytes: &[u8]) {
    if let Some(flush) = stored::decode_deferred(bytes) {
        let args: Vec<&[u8]> = flush.args.iter().map(|arg| arg.as_slice()).collect();
        let (at_ms, operations, stateless) = (flush.at_ms, flush.operations, flush.stateless);
        let kept = stored::encode_deferred(at_ms, operations, stateless, &args);
        assert_eq!(stored::decode_deferred(&kept).as_ref(), Some(&flush));
    }
    if let Some(answer) = stored::decode_answer(bytes) {
        let kept = stored::encode_answer(&answer);
        assert_eq!(stored::decode_answer(&kept), Some(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_of_each_fuzz_target_does_no_harm() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
        for (name, run) in TARGETS {
            let files = std::fs::read_dir(format!("{corpus}/{name}")).expect("its corpus");
            let mut count = 0;
            for file in files {
                let path = file.expect("a file").path();
                let bytes = std::fs::read(&path).expect("its bytes");
                println!("{}", path.display());
                run(&bytes);
                // And what is near it; a few of those that take longer.
                let step = match name {
                    "delta" | "payload" | "sequence" => 29,
                    _ => 1,
                };
                for end in (0..bytes.len().min(300)).step_by(step) {
                    run(&bytes[..end]);
                }
                count += 1;
            }
            assert!(count > 2, "{name} has {count} files");
        }
    }
}
