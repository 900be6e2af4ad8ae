//! Random declarations, and random histories of commands that fit them.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A value in each form a client may give it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lit {
    /// Canonical: what is stored and told.
    pub text: &'static str,
    /// Another way to write it, which a declared type takes for the same.
    pub loose: &'static str,
    pub json: &'static str,
    pub msgpack: &'static [u8],
}

const fn lit(
    text: &'static str,
    loose: &'static str,
    json: &'static str,
    msgpack: &'static [u8],
) -> Lit {
    Lit {
        text,
        loose,
        json,
        msgpack,
    }
}

/// Fields, the type they may be declared with, and values of it. The last two mean something if they are
/// declared as SOFTDELETE and VERSION.
pub const FIELDS: [(&str, &str, &[Lit]); 7] = [
    (
        "a",
        "string",
        &[
            lit("", "", "\"\"", b"\xa0"),
            lit("two", "two", "\"\\u0074wo\"", b"\xa3two"),
            lit("\r\n\0", "\r\n\0", "\"\\r\\n\\u0000\"", b"\xc4\x03\r\n\0"),
        ],
    ),
    (
        "n",
        "int",
        &[
            lit("0", "-0", "0", b"\x00"),
            lit("-7", "-007", "-7", b"\xf9"),
            lit(
                "9007199254740993",
                "+9007199254740993",
                "9007199254740993",
                b"\xcf\x00\x20\x00\x00\x00\x00\x00\x01",
            ),
        ],
    ),
    (
        "x",
        "float",
        &[
            lit("1.5", "1.50", "1.5", b"\xca\x3f\xc0\x00\x00"),
            lit("100", "1e2", "100", b"\xcb\x40\x59\x00\x00\x00\x00\x00\x00"),
        ],
    ),
    (
        "\u{1}\u{e9}",
        "json",
        &[
            lit("[1,{}]", " [ 1, {} ]", "[ 1 ,{ } ]", b"\x92\x01\x80"),
            lit(
                "{\"k\":null}",
                "{\"k\": null}",
                "{\"k\":null}",
                b"\x81\xa1k\xc0",
            ),
        ],
    ),
    (
        "t",
        "time",
        &[
            lit(
                "2026-01-02T03:04:05Z",
                "2026-01-02T04:04:05.0+01:00",
                "\"2026-01-02T03:04:05Z\"",
                b"\xd6\xff\x69\x57\x35\xa5",
            ),
            lit(
                "1970-01-01T00:00:00Z",
                "1970-01-01t00:00:00z",
                "\"1970-01-01T00:00:00Z\"",
                b"\xd6\xff\x00\x00\x00\x00",
            ),
        ],
    ),
    (
        "gone",
        "bool",
        &[
            lit("0", "false", "false", b"\xc2"),
            lit("1", "TRUE", "true", b"\xc3"),
        ],
    ),
    (
        "v",
        "uint",
        &[
            lit("1", "1", "1", b"\x01"),
            lit("2", "02", "2", b"\x02"),
            lit("3", "+3", "3", b"\x03"),
            lit("4", "4", "4", b"\x04"),
            lit("5", "5", "5", b"\x05"),
        ],
    ),
];

pub const IDS: [&str; 3] = ["1", "18446744073709551615", "\u{0}\u{e9}"];
pub const TOKENS: [&str; 2] = ["t1", "\u{0} t2"];

#[derive(Clone, Debug)]
pub struct Declared {
    pub stateless: bool,
    pub version: bool,
    /// 0 or a day.
    pub tombstones: bool,
    pub soft_delete: bool,
    pub typed: BTreeSet<&'static str>,
    pub streams: Vec<Stream>,
}

#[derive(Clone, Debug)]
pub struct Stream {
    pub name: String,
    pub ops: String,
    pub triggers: BTreeSet<&'static str>,
    pub payload: &'static str,
    pub format: &'static str,
    /// MAXLEN = and ONFULL.
    pub max_len: Option<(usize, &'static str)>,
    /// Whether it has a group that never reads.
    pub behind: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Flush(Flush),
    Commit(Vec<&'static str>),
    Abort(Vec<&'static str>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flush {
    pub meta: bool,
    pub with_events: bool,
    pub force: bool,
    pub dry_run: bool,
    pub once: Option<&'static str>,
    pub defer: Option<&'static str>,
    pub ops: Vec<(&'static str, Op)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Snapshot(Given),
    Insert(Given),
    Update(Given),
    /// Of a stateless type: old and new.
    Replace(Given, Fields),
    Delete(Option<Given>),
    Touch,
    Seed(Given),
}

pub type Fields = BTreeMap<&'static str, Option<Lit>>;

#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub form: Form,
    pub fields: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    List,
    /// As List, values not canonical where they are typed.
    Loose,
    Json,
    MsgPack,
}

fn stream(index: usize) -> impl Strategy<Value = Stream> {
    let ops = prop::sample::subsequence(vec!["I", "U", "D"], 0..=3);
    let triggers = prop::sample::subsequence(names(), 0..3);
    let written = prop::sample::select(vec![
        ("MSGPACK", "CHANGES"),
        ("MSGPACK", "KEYS"),
        ("MSGPACK", "FULL"),
        ("MSGPACK", "IMAGES"),
        ("FLUXAORM2", "CHANGES"),
        ("FLUXAORM2", "FULL"),
        ("FLUXAORM1", "FULL"),
        ("DEBEZIUM", "IMAGES"),
    ]);
    let on_full = prop::sample::select(vec!["TRIM", "KEEP", "REFUSE"]);
    let max_len = prop::option::of((0usize..6, on_full));
    (ops, triggers, written, max_len, any::<bool>()).prop_map(
        move |(ops, triggers, (format, payload), max_len, behind)| Stream {
            name: format!("s{index}"),
            // Beside U they would be refused.
            triggers: match ops.contains(&"U") {
                true => BTreeSet::new(),
                false => triggers.into_iter().collect(),
            },
            ops: ops.concat(),
            payload,
            format,
            max_len,
            behind,
        },
    )
}

fn names() -> Vec<&'static str> {
    FIELDS.iter().map(|(name, ..)| *name).collect()
}

/// Every declaration has the streams that give the snapshots when they are folded.
fn declared() -> impl Strategy<Value = Declared> {
    let whole = |name: &str, format, payload| Stream {
        name: name.into(),
        ops: "IUD".into(),
        triggers: BTreeSet::new(),
        payload,
        format,
        max_len: None,
        behind: false,
    };
    let folded = [
        whole("full", "MSGPACK", "FULL"),
        whole("images", "MSGPACK", "IMAGES"),
        whole("debezium", "DEBEZIUM", "IMAGES"),
    ];
    let typed = prop::sample::subsequence(names(), 0..=FIELDS.len());
    (
        prop::bool::weighted(0.2),
        any::<bool>(),
        prop::bool::weighted(0.8),
        any::<bool>(),
        typed,
        (stream(0), stream(1), 0usize..=2),
    )
        .prop_map(
            move |(stateless, version, tombstones, soft_delete, typed, (first, second, count))| {
                let others = [first, second].into_iter().take(count);
                Declared {
                    stateless,
                    version: version && !stateless,
                    tombstones,
                    soft_delete,
                    typed: typed.into_iter().collect(),
                    streams: folded.iter().cloned().chain(others).collect(),
                }
            },
        )
}

fn fields(version: bool) -> impl Strategy<Value = Fields> {
    let field = |index: usize| {
        let (name, _, values) = FIELDS[index];
        let value = prop::option::weighted(0.85, prop::sample::select(values));
        value.prop_map(move |value| (name, value))
    };
    let last = FIELDS.len() - 1;
    let some = prop::collection::vec((0..last).prop_flat_map(field), 0..4);
    // A version is almost always given where one must be.
    (
        some,
        prop::option::weighted(if version { 0.97 } else { 0.2 }, field(last)),
    )
        .prop_map(|(some, version)| some.into_iter().chain(version).collect())
}

fn given(version: bool) -> impl Strategy<Value = Given> {
    let form = prop::sample::select(vec![Form::List, Form::Loose, Form::Json, Form::MsgPack]);
    (form, fields(version)).prop_map(|(form, fields)| Given { form, fields })
}

fn op(declared: &Declared) -> BoxedStrategy<Op> {
    let version = declared.version;
    let given = move || given(version);
    if declared.stateless {
        return prop_oneof![
            3 => given().prop_map(Op::Insert),
            4 => (given(), fields(version)).prop_map(|(old, new)| Op::Replace(old, new)),
            2 => prop::option::of(given()).prop_map(Op::Delete),
            1 => Just(Op::Touch),
        ]
        .boxed();
    }
    // Fields of a DELETE are for its version.
    let of_delete = match version {
        true => prop::option::of(given()).boxed(),
        false => Just(None).boxed(),
    };
    prop_oneof![
        5 => given().prop_map(Op::Snapshot),
        2 => given().prop_map(Op::Insert),
        4 => given().prop_map(Op::Update),
        3 => of_delete.prop_map(Op::Delete),
        1 => Just(Op::Touch),
        1 => given().prop_map(Op::Seed),
    ]
    .boxed()
}

fn flush(declared: &Declared) -> impl Strategy<Value = Flush> + use<> {
    let numeric = declared.streams.iter().any(Stream::is_numeric);
    // Ids that such a stream refuses come seldom, or nothing else would happen.
    let ids = match numeric {
        true => prop_oneof![12 => prop::sample::select(&IDS[..2]), 1 => Just(IDS[2])].boxed(),
        false => prop::sample::select(&IDS[..]).boxed(),
    };
    let ops = prop::collection::vec((ids, op(declared)), 1..4);
    let token = || prop::sample::select(&TOKENS[..]);
    (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        prop::option::weighted(0.15, token()),
        prop::option::weighted(0.15, token()),
        (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
        ops,
    )
        .prop_map(
            |(meta, with_events, once, defer, (force, dry_run), ops)| Flush {
                meta,
                with_events,
                force,
                dry_run,
                once: once.filter(|_| !dry_run),
                defer: defer.filter(|_| !dry_run),
                ops,
            },
        )
}

fn command(declared: &Declared) -> impl Strategy<Value = Command> + use<> {
    let tokens = || prop::collection::vec(prop::sample::select(&TOKENS[..]), 1..4);
    prop_oneof![
        8 => flush(declared).prop_map(Command::Flush),
        2 => tokens().prop_map(Command::Commit),
        1 => tokens().prop_map(Command::Abort),
    ]
}

pub fn history() -> impl Strategy<Value = (Declared, Vec<Command>)> {
    declared().prop_flat_map(|declared| {
        let commands = prop::collection::vec(command(&declared), 1..25);
        (Just(declared), commands)
    })
}

impl Stream {
    pub fn is_numeric(&self) -> bool {
        self.format.starts_with("FLUXAORM")
    }
}

type Words = Vec<Vec<u8>>;

fn push(words: &mut Words, more: &[&str]) {
    words.extend(more.iter().map(|word| word.as_bytes().to_vec()));
}

impl Declared {
    pub fn type_of(&self, field: &str) -> Option<&'static str> {
        let row = FIELDS.iter().find(|(name, ..)| *name == field)?;
        let typed = self.typed.contains(field) || (self.version && field == "v");
        typed.then_some(row.1)
    }

    pub fn words(&self) -> Words {
        let mut words = Words::new();
        push(&mut words, &["DIRTY.DECLARE", "user"]);
        if self.stateless {
            push(&mut words, &["STATELESS"]);
        }
        if self.version {
            let ms = if self.tombstones { "86400000" } else { "0" };
            push(&mut words, &["VERSION", "v", "TOMBSTONE", ms]);
        }
        if self.soft_delete {
            push(&mut words, &["SOFTDELETE", "gone"]);
        }
        let types: Vec<_> = FIELDS
            .iter()
            .filter_map(|(name, ..)| Some((*name, self.type_of(name)?)))
            .collect();
        push(&mut words, &["TYPES", &types.len().to_string()]);
        for (name, field_type) in types {
            push(&mut words, &[name, field_type]);
        }
        for stream in &self.streams {
            let ops = if stream.ops.is_empty() {
                "NONE"
            } else {
                &stream.ops
            };
            push(&mut words, &["STREAM", &stream.name, "OPS", ops]);
            push(
                &mut words,
                &["PAYLOAD", stream.payload, "FORMAT", stream.format],
            );
            push(&mut words, &["FIELDS", &stream.triggers.len().to_string()]);
            stream
                .triggers
                .iter()
                .for_each(|name| push(&mut words, &[name]));
            if let Some((count, on_full)) = stream.max_len {
                push(
                    &mut words,
                    &["MAXLEN", "=", &count.to_string(), "ONFULL", on_full],
                );
            }
        }
        words
    }
}

impl Command {
    pub fn words(&self, declared: &Declared) -> Words {
        let mut words = Words::new();
        match self {
            Command::Flush(flush) => flush.words(declared, &mut words),
            Command::Commit(tokens) => {
                push(&mut words, &["DIRTY.COMMIT", "user"]);
                push(&mut words, tokens);
            }
            Command::Abort(tokens) => {
                push(&mut words, &["DIRTY.ABORT", "user"]);
                push(&mut words, tokens);
            }
        }
        words
    }
}

impl Flush {
    fn words(&self, declared: &Declared, words: &mut Words) {
        push(words, &["DIRTY.FLUSH", "user"]);
        if let Some(token) = self.defer {
            push(words, &["DEFER", token]);
        }
        if self.meta {
            push(words, &["META", "1", "actor", "\u{0}me"]);
        }
        if let Some(token) = self.once {
            push(words, &["ONCE", token]);
        }
        if self.with_events {
            push(words, &["WITHEVENTS"]);
        }
        if self.force {
            push(words, &["FORCE"]);
        }
        if self.dry_run {
            push(words, &["DRYRUN"]);
        }
        for (id, op) in &self.ops {
            let (name, given) = match op {
                Op::Snapshot(given) => ("SNAPSHOT", Some(given)),
                Op::Insert(given) => ("INSERT", Some(given)),
                Op::Update(given) => ("UPDATE", Some(given)),
                Op::Seed(given) => ("SEED", Some(given)),
                Op::Delete(given) => ("DELETE", given.as_ref()),
                Op::Touch => ("TOUCH", None),
                Op::Replace(old, new) => {
                    push(words, &["UPDATE", id]);
                    old.replace_words(new, declared, words);
                    continue;
                }
            };
            push(words, &[name, id]);
            if let Some(given) = given {
                given.words(declared, words);
            }
        }
    }
}

impl Given {
    fn text(&self, declared: &Declared, name: &str, value: &Lit) -> &'static str {
        match self.form == Form::Loose && declared.type_of(name).is_some() {
            true => value.loose,
            false => value.text,
        }
    }

    fn words(&self, declared: &Declared, words: &mut Words) {
        match self.form {
            Form::Json | Form::MsgPack => encoded(self.form, declared, &self.fields, words),
            Form::List | Form::Loose => {
                let set = self
                    .fields
                    .iter()
                    .filter_map(|(name, value)| Some((name, (*value)?)));
                let nulls = self.fields.iter().filter(|(_, value)| value.is_none());
                push(words, &[&set.clone().count().to_string()]);
                for (name, value) in set {
                    push(words, &[name, self.text(declared, name, &value)]);
                }
                let nulls: Vec<&str> = nulls.map(|(name, _)| *name).collect();
                if !nulls.is_empty() {
                    push(words, &["NULL", &nulls.len().to_string()]);
                    push(words, &nulls);
                }
            }
        }
    }

    fn replace_words(&self, new: &Fields, declared: &Declared, words: &mut Words) {
        match self.form {
            Form::Json | Form::MsgPack => {
                encoded(self.form, declared, &self.fields, words);
                let keyword = words.len();
                encoded(self.form, declared, new, words);
                words.remove(keyword);
            }
            Form::List | Form::Loose => {
                let both = both(&self.fields, new);
                push(words, &[&both.len().to_string()]);
                for (name, old, new) in both {
                    let texts = [old, new].map(|value| self.text(declared, name, &value));
                    push(words, &[name, texts[0], texts[1]]);
                }
            }
        }
    }

    /// What an UPDATE of a stateless type says: old and new values.
    pub fn replaced(&self, new: &Fields) -> (Fields, Fields) {
        match self.form {
            Form::Json | Form::MsgPack => (self.fields.clone(), new.clone()),
            Form::List | Form::Loose => {
                let both = both(&self.fields, new);
                let old = both.iter().map(|(name, old, _)| (*name, Some(*old)));
                let new = both.iter().map(|(name, _, new)| (*name, Some(*new)));
                (old.collect(), new.collect())
            }
        }
    }
}

/// Triples cannot say null, so they name what is not null on both sides.
fn both(old: &Fields, new: &Fields) -> Vec<(&'static str, Lit, Lit)> {
    let old = old.iter();
    old.filter_map(|(name, old)| Some((*name, (*old)?, (*new.get(name)?)?)))
        .collect()
}

fn encoded(form: Form, declared: &Declared, fields: &Fields, words: &mut Words) {
    if form == Form::Json {
        // Of a field without a declared type a number stays as it is written.
        let json = |name: &str, value: Lit| match declared.type_of(name) {
            None if value.json.starts_with(|c: char| c.is_ascii_digit()) => value.text,
            _ => value.json,
        };
        let members: Vec<String> = fields
            .iter()
            .map(|(name, value)| {
                let value = value.map_or("null", |value| json(name, value));
                let name = serde_json::to_string(name).expect("a name");
                format!("{name} : {value}")
            })
            .collect();
        return push(words, &["JSON", &format!("{{ {} }}", members.join(" , "))]);
    }
    let mut map = vec![0x80 + u8::try_from(fields.len()).expect("a few fields")];
    for (name, value) in fields {
        rmp::encode::write_str(&mut map, name).expect("memory");
        map.extend(value.map_or(b"\xc0".as_slice(), |value| value.msgpack));
    }
    push(words, &["msgpack"]);
    words.push(map);
}
