//! The parts that the commands of readers have in common.

use crate::args::Args;
use crate::entity::event_id::EventId;
use crate::entity::limits::Limits;
use crate::entity::operation::Operations;
use crate::error::{Error, Quoted};
use crate::reading::{Filter, Kind, Position, Shard, Start};
use std::collections::BTreeSet;

/// How events are written in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Decoded, each value with its type.
    #[default]
    Typed,
    /// The entry's own fields.
    Raw,
    /// Decoded, as one JSON text.
    Json,
}

const DEFAULT_COUNT: u32 = 100;

/// COUNT, BLOCK, RAW and JSON, of the commands that read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// COUNT.
    pub count: u32,
    /// BLOCK, in ms; 0 is for ever.
    pub block: Option<i64>,
    /// RAW or JSON.
    pub form: Form,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            count: DEFAULT_COUNT,
            block: None,
            form: Form::default(),
        }
    }
}

impl Batch {
    /// Reads one of its options, and says which.
    pub fn option(&mut self, args: &mut Args) -> Result<Option<&'static str>, Error> {
        Ok(Some(if args.keyword("COUNT") {
            let n = args.number("COUNT", "a number", 1..=u64::from(u32::MAX))?;
            self.count = u32::try_from(n).unwrap_or(u32::MAX);
            "COUNT"
        } else if args.keyword("BLOCK") {
            let ms = args.ms("BLOCK", 0)?;
            self.block = Some(i64::try_from(ms).unwrap_or(i64::MAX));
            "BLOCK"
        } else if args.keyword("RAW") {
            self.form = Form::Raw;
            "RAW or JSON"
        } else if args.keyword("JSON") {
            self.form = Form::Json;
            "RAW or JSON"
        } else {
            return Ok(None);
        }))
    }
}

/// The options that were read so far: none may come twice.
#[derive(Default)]
pub struct Once(Vec<&'static str>);

impl Once {
    /// Reads options until the arguments end.
    pub fn all<'a>(
        mut self,
        args: &mut Args<'a>,
        mut option: impl FnMut(&mut Args<'a>) -> Result<Option<&'static str>, Error>,
    ) -> Result<(), Error> {
        while !args.is_empty() {
            let Some(name) = option(args)? else {
                return end(args);
            };
            if self.0.contains(&name) {
                return Err(Error::Repeated(name));
            }
            self.0.push(name);
        }
        Ok(())
    }
}

/// GROUP group or CURSOR name.
pub fn reader<'a>(args: &mut Args<'a>) -> Result<(Kind, &'a [u8]), Error> {
    if args.keyword("GROUP") {
        Ok((Kind::Group, kept_name(args, "GROUP", "a group")?))
    } else if args.keyword("CURSOR") {
        Ok((Kind::Cursor, kept_name(args, "CURSOR", "a name")?))
    } else {
        Err(not_among(args, "GROUP or CURSOR"))
    }
}

/// GROUP group.
pub fn group<'a>(args: &mut Args<'a>) -> Result<&'a [u8], Error> {
    match args.keyword("GROUP") {
        true => kept_name(args, "GROUP", "a group"),
        false => Err(not_among(args, "GROUP")),
    }
}

/// GROUP group consumer.
pub fn member<'a>(args: &mut Args<'a>) -> Result<(&'a [u8], &'a [u8]), Error> {
    Ok((group(args)?, consumer(args)?))
}

/// A consumer's name, behind its group.
pub fn consumer<'a>(args: &mut Args<'a>) -> Result<&'a [u8], Error> {
    kept_name(args, "GROUP", "a consumer")
}

/// The length of a name that the state of readers keeps.
const MAX_NAME: usize = 1024;

/// The name of a reader or consumer.
fn kept_name<'a>(
    args: &mut Args<'a>,
    of: &'static str,
    what: &'static str,
) -> Result<&'a [u8], Error> {
    let name = name(args, of, what)?;
    match name.len() > MAX_NAME {
        true => Err(Error::NameTooLong {
            name: Quoted::new(name),
            got: name.len(),
            max: MAX_NAME,
        }),
        false => Ok(name),
    }
}

/// A name, which must not be empty.
pub fn name<'a>(
    args: &mut Args<'a>,
    of: &'static str,
    what: &'static str,
) -> Result<&'a [u8], Error> {
    args.name(of, what)
}

fn not_among(args: &mut Args, choices: &'static str) -> Error {
    Error::NotOneOf {
        of: "the reader",
        choices,
        got: Quoted::new(args.take().unwrap_or_default()),
    }
}

/// Refuses arguments that are left.
pub fn end(args: &mut Args) -> Result<(), Error> {
    match args.take() {
        None => Ok(()),
        Some(got) => Err(Error::UnknownOption(Quoted::new(got))),
    }
}

/// One event's id.
pub fn event_id(args: &mut Args, of: &'static str) -> Result<EventId, Error> {
    let text = args.next(of, "an id")?;
    EventId::parse(text).ok_or_else(|| Error::NotAnId(Quoted::new(text)))
}

/// All arguments that are left are ids.
pub fn ids(args: &mut Args, of: &'static str) -> Result<Vec<EventId>, Error> {
    let mut ids = Vec::with_capacity(args.remaining());
    while !args.is_empty() {
        ids.push(event_id(args, of)?);
    }
    Ok(ids)
}

/// As `ids`, of which there must be one.
pub fn some_ids(args: &mut Args, of: &'static str) -> Result<Vec<EventId>, Error> {
    match args.is_empty() {
        true => event_id(args, of).map(|id| vec![id]),
        false => ids(args, of),
    }
}

/// `n id …`, at least one.
pub fn counted_ids(args: &mut Args, of: &'static str) -> Result<Vec<EventId>, Error> {
    let count = args.count(of)?;
    let mut ids = Vec::with_capacity(count.min(args.remaining()));
    for _ in 0..count {
        ids.push(event_id(args, of)?);
    }
    Ok(ids)
}

/// A cursor's position as a reply gave it.
pub fn position(args: &mut Args, of: &'static str) -> Result<Position, Error> {
    let text = args.next(of, "a position")?;
    Position::parse(text).ok_or_else(|| Error::NotAPosition(Quoted::new(text)))
}

/// Where a reader starts.
pub fn start(args: &mut Args, of: &'static str) -> Result<Start, Error> {
    let text = args.next(of, "a start")?;
    Start::parse(text).ok_or_else(|| Error::NotAStart {
        of,
        got: Quoted::new(text),
    })
}

/// The keys behind SNAPSHOT: `n key [key …]`.
pub fn snapshot_keys<'a>(args: &mut Args<'a>) -> Result<Vec<&'a [u8]>, Error> {
    let count = args.count("SNAPSHOT")?;
    let mut keys = Vec::with_capacity(count.min(args.remaining()));
    for _ in 0..count.max(1) {
        let key = args.name("SNAPSHOT", "a key")?;
        match keys.contains(&key) {
            true => return Err(Error::DuplicateKey(Quoted::new(key))),
            false => keys.push(key),
        }
    }
    Ok(keys)
}

/// The places of SNAPSHOT's keys among the arguments, which were parsed: behind the last SNAPSHOT with these keys.
pub fn places_of_snapshot_keys(args: &[&[u8]], keys: &[&[u8]]) -> std::ops::Range<usize> {
    let is_it = |start: &usize| {
        let mut rest = args.iter().skip(*start);
        rest.next()
            .is_some_and(|word| word.eq_ignore_ascii_case(b"SNAPSHOT"))
            && rest.skip(1).take(keys.len()).eq(keys)
    };
    match (0..args.len()).rev().find(is_it) {
        Some(start) => {
            let first = start.saturating_add(2);
            first..first.saturating_add(keys.len())
        }
        None => 0..0,
    }
}

/// `index count`.
pub fn shard(args: &mut Args) -> Result<Shard, Error> {
    let last = u64::from(u32::MAX);
    let index = args.number("SHARD", "an index", 0..=last)?;
    let count = args.number("SHARD", "a count", 1..=last)?;
    match index < count {
        true => Ok(Shard { index, count }),
        false => Err(Error::NoSuchShard { index, count }),
    }
}

/// What stands behind WHERE: filters follow each other until something else comes. What is said twice counts once.
pub fn filter(args: &mut Args, limits: &Limits) -> Result<Filter, Error> {
    let mut filter = Filter::default();
    let mut found = Found {
        any: false,
        filters: 0,
        limits,
    };
    loop {
        // As many as there are: of those that are missing the client is told.
        if args.keyword("ENTITY") {
            let entity = name(args, "ENTITY", "a name")?;
            found.count(filter.entities.insert(entity.to_vec()))?;
        } else if args.keyword("ID") {
            found.count(filter.ids.is_empty())?;
            names(args, "ID", "an id", &mut found, &mut filter.ids)?;
            check_ids(&filter.ids)?;
        } else if args.keyword("OPS") {
            found.count(filter.operations.is_none())?;
            let before = filter.operations.unwrap_or(Operations::empty());
            filter.operations = Some(before | operations(args)?);
        } else if args.keyword("FIELDS") {
            found.count(filter.fields.is_none())?;
            let fields = filter.fields.get_or_insert_with(BTreeSet::new);
            names(args, "FIELDS", "a field", &mut found, fields)?;
        } else if args.keyword("META") {
            let name = args.next("META", "a name")?.to_vec();
            let value = args.next("META", "a value")?.to_vec();
            found.count(filter.meta.entry(name).or_default().insert(value))?;
        } else if found.any {
            return Ok(filter);
        } else {
            return Err(match args.take() {
                None => Error::Missing {
                    of: "WHERE",
                    what: "a filter: ENTITY, ID, OPS, FIELDS or META",
                },
                Some(got) => Error::NotOneOf {
                    of: "a filter of WHERE",
                    choices: "ENTITY, ID, OPS, FIELDS or META",
                    got: Quoted::new(got),
                },
            });
        }
    }
}

/// The filters that were read so far, of which there are as many as a setting allows.
struct Found<'l> {
    any: bool,
    filters: usize,
    limits: &'l Limits,
}

impl Found<'_> {
    fn count(&mut self, is_new: bool) -> Result<(), Error> {
        self.any = true;
        self.filters = self.filters.saturating_add(usize::from(is_new));
        self.limits.check_filters(self.filters)
    }
}

/// No entity has an empty id, and an empty list does not mean all.
fn check_ids(ids: &BTreeSet<Vec<u8>>) -> Result<(), Error> {
    let (of, what) = ("ID", "an id");
    if ids.is_empty() {
        return Err(Error::Missing { of, what });
    }
    match ids.contains(b"".as_slice()) {
        true => Err(Error::Empty { of, what }),
        false => Ok(()),
    }
}

/// `n name …`
fn names(
    args: &mut Args,
    of: &'static str,
    what: &'static str,
    found: &mut Found,
    names: &mut BTreeSet<Vec<u8>>,
) -> Result<(), Error> {
    for _ in 0..args.count(of)? {
        found.count(names.insert(args.next(of, what)?.to_vec()))?;
    }
    Ok(())
}

fn operations(args: &mut Args) -> Result<Operations, Error> {
    let letters = args.next("OPS", "its operations")?;
    Operations::from_letters(&letters.to_ascii_uppercase()).ok_or_else(|| Error::NotOneOf {
        of: "OPS",
        choices: "letters of IUD",
        got: Quoted::new(letters),
    })
}
