//! The arguments of DIRTY.FLUSH.

use super::action::{Action, Flush};
use crate::args::Args;
use crate::encoding::input as encoded;
use crate::entity::event::{Bytes, Pair};
use crate::entity::event_id::EventId;
use crate::entity::field::Fields;
use crate::entity::limits::Limits;
use crate::entity::value::InputValue;
use crate::error::{Error, Quoted};
use crate::reading::requests::shared::{counted_ids, member};
use crate::unique::Seen;

/// The name of META under which the events of a run carry its name.
pub const RUN: &[u8] = b"reconcile";

/// How long a token of ONCE is remembered by default: a day.
const ONCE_MS: u64 = 24 * 60 * 60 * 1000;

/// The options, which stand before the operations.
const OPTIONS: [&str; 8] = [
    "META",
    "WITHEVENTS",
    "FORCE",
    "ONCE",
    "DEFER",
    "DRYRUN",
    "RUN",
    "ACK",
];

/// DIRTY.FLUSH: a flush, and whether it waits or is remembered.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// The operations, and what belongs to all of them.
    pub flush: Flush<'a>,
    /// ONCE: the token under which the reply is remembered.
    pub once: Option<Once<'a>>,
    /// DEFER: the token under which the flush waits for its COMMIT.
    pub defer: Option<&'a [u8]>,
    /// DRYRUN: only the effects are asked for.
    pub dry_run: bool,
    /// RUN: the run of a reconciliation whose rows these are.
    pub run: Option<&'a [u8]>,
    /// ACK: events that are acknowledged with the flush, or nothing happens.
    pub ack: Option<Ack<'a>>,
    /// The arguments without ONCE and DEFER, which are stored if the flush is deferred.
    pub kept: Vec<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once<'a> {
    pub token: &'a [u8],
    pub lifetime_ms: u64,
}

/// `ACK stream GROUP group consumer n id [id …]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// The consumer, who must hold all of them.
    pub consumer: &'a [u8],
    /// The events.
    pub ids: Vec<EventId>,
}

impl<'a> Ack<'a> {
    /// Parses what stands behind the word.
    fn parse(args: &mut Args<'a>) -> Result<Self, Error> {
        let stream = args.name("ACK", "a stream")?;
        let (group, consumer) = member(args)?;
        let ids = counted_ids(args, "ACK")?;
        match ids.is_empty() {
            // It would let a flush pass that nothing protects from being repeated.
            true => Err(Error::Missing {
                of: "ACK",
                what: "an id",
            }),
            false => Ok(Ack {
                stream,
                group,
                consumer,
                ids,
            }),
        }
    }

    /// Where its stream stands among the arguments behind a flush's key, also if something behind that is wrong. META and
    /// ONCE may have the word among their names, so all options before it are read.
    pub fn place(args: &[&'a [u8]]) -> Option<usize> {
        let mut rest = Args::new(args);
        let mut request = Request::default();
        loop {
            if rest.keyword("ACK") {
                rest.peek()?;
                return args.len().checked_sub(rest.remaining());
            }
            request.option(&mut rest).ok()??;
        }
    }
}

/// The options of a flush, and its operations as arguments. A token of ONCE is answered before anything else is
/// looked at, so a fault is kept until somebody asks for the rest.
#[derive(Debug)]
pub struct Options<'a> {
    request: Request<'a>,
    operations: Args<'a>,
    fault: Option<Error>,
}

impl<'a> Options<'a> {
    /// Parses the arguments behind the key up to the first operation or fault.
    pub fn parse(args: Args<'a>) -> Self {
        let mut options = Options {
            request: Request::default(),
            operations: args,
            fault: None,
        };
        options.fault = options.read().err();
        options
    }

    fn read(&mut self) -> Result<(), Error> {
        let Options {
            request,
            operations: args,
            ..
        } = self;
        let mut seen = Vec::new();
        loop {
            let before = args.clone();
            let Some(option) = request.option(args)? else {
                break;
            };
            if seen.contains(&option) {
                return Err(Error::Repeated(option));
            }
            seen.push(option);
            if !matches!(option, "ONCE" | "DEFER") {
                request.kept.extend(args.since(&before));
            }
        }
        let modes = [
            ("ACK", request.ack.is_some()),
            // A deferred flush is carried out when the consumer may have lost its events.
            ("DEFER", request.defer.is_some()),
            ("RUN", request.run.is_some()),
            ("DRYRUN", request.dry_run),
        ];
        let mut modes = modes.iter().filter(|(_, is_given)| *is_given);
        match (modes.next(), modes.next()) {
            (Some((one, _)), Some((other, _))) => Err(Error::Exclusive(one, other)),
            (Some((mode @ ("RUN" | "DRYRUN"), _)), None) if request.once.is_some() => {
                Err(Error::Exclusive("ONCE", mode))
            }
            _ => Ok(()),
        }
    }

    /// The token of ONCE, if it was found.
    pub fn once(&self) -> Option<Once<'a>> {
        self.request.once
    }

    /// Parses the operations, for a type that is STATELESS or not.
    pub fn finish(self, stateless: bool, limits: &Limits) -> Result<Request<'a>, Error> {
        let Options {
            mut request,
            operations: args,
            fault,
        } = self;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if request.defer.is_some() {
            request.kept.extend(args.rest());
        }
        if let Some(run) = request.run {
            request.flush.repairs = true;
            if request.flush.meta.iter().any(|(name, _)| **name == *RUN) {
                return Err(Error::DuplicateMeta(Quoted::new(RUN)));
            }
            request.flush.meta.push((RUN.into(), run.into()));
        }
        limits.check_pairs(request.flush.meta.len())?;
        for (name, value) in &request.flush.meta {
            limits.check_name(name)?;
            limits.check_value(name, value)?;
        }
        request.flush.actions = operations(args, stateless, limits)?;
        if request.run.is_some() {
            let mut actions = request.flush.actions.iter();
            let other = actions.find(|(_, action)| !matches!(action, Action::Snapshot(_)));
            if let Some((_, other)) = other {
                return Err(Error::Exclusive("RUN", other.name()));
            }
        }
        Ok(request)
    }
}

impl<'a> Request<'a> {
    /// Parses the arguments behind the key, for a type that is STATELESS or not.
    pub fn parse(args: Args<'a>, stateless: bool, limits: &Limits) -> Result<Self, Error> {
        Options::parse(args).finish(stateless, limits)
    }

    /// Reads one option and returns its name, or `None` at the first operation.
    fn option(&mut self, args: &mut Args<'a>) -> Result<Option<&'static str>, Error> {
        if args.keyword("META") {
            self.flush.meta = meta(args)?;
            Ok(Some("META"))
        } else if args.keyword("WITHEVENTS") {
            self.flush.with_events = true;
            Ok(Some("WITHEVENTS"))
        } else if args.keyword("ONCE") {
            let token = args.name("ONCE", "a token")?;
            let once = self.once.get_or_insert(Once {
                token,
                lifetime_ms: ONCE_MS,
            });
            // No operation begins with a digit.
            if let Some(b'0'..=b'9') = args.peek().and_then(<[u8]>::first) {
                once.lifetime_ms = args.ms("ONCE", 1)?;
            }
            Ok(Some("ONCE"))
        } else if args.keyword("FORCE") {
            self.flush.force = true;
            Ok(Some("FORCE"))
        } else if args.keyword("DRYRUN") {
            self.dry_run = true;
            Ok(Some("DRYRUN"))
        } else if args.keyword("RUN") {
            self.run = Some(args.name("RUN", "a run")?);
            Ok(Some("RUN"))
        } else if args.keyword("DEFER") {
            self.defer = Some(args.name("DEFER", "a token")?);
            Ok(Some("DEFER"))
        } else if args.keyword("ACK") {
            self.ack = Some(Ack::parse(args)?);
            Ok(Some("ACK"))
        } else {
            Ok(None)
        }
    }
}

fn operations<'a>(
    mut args: Args<'a>,
    stateless: bool,
    limits: &Limits,
) -> Result<Vec<(&'a [u8], Action<'a>)>, Error> {
    if args.is_empty() {
        return Err(Error::NoOperations);
    }
    let mut actions = Vec::with_capacity(1);
    while !args.is_empty() {
        let action = if args.keyword("SNAPSHOT") {
            let id = args.name("SNAPSHOT", "an id")?;
            (id, Action::Snapshot(fields(&mut args, "SNAPSHOT")?))
        } else if args.keyword("INSERT") {
            let id = args.name("INSERT", "an id")?;
            (id, Action::Insert(fields(&mut args, "INSERT")?))
        } else if args.keyword("UPDATE") {
            let id = args.name("UPDATE", "an id")?;
            let update = match stateless {
                true => replace(&mut args)?,
                false => Action::Update(fields(&mut args, "UPDATE")?),
            };
            (id, update)
        } else if args.keyword("DELETE") {
            let id = args.name("DELETE", "an id")?;
            let given = match begins_fields(&args) {
                true => Some(fields(&mut args, "DELETE")?),
                false => None,
            };
            (id, Action::Delete(given))
        } else if args.keyword("TOUCH") {
            (args.name("TOUCH", "an id")?, Action::Touch)
        } else if args.keyword("SEED") {
            let id = args.name("SEED", "an id")?;
            (id, Action::Seed(fields(&mut args, "SEED")?))
        } else {
            let option = OPTIONS.iter().find(|option| args.clone().keyword(option));
            if let Some(option) = option {
                return Err(Error::OptionBehind(option));
            }
            let got = args.take().unwrap_or_default();
            return Err(Error::UnknownOperation(Quoted::new(got)));
        };
        actions.push(action);
    }
    limits.check_ops(actions.len())?;
    Ok(actions)
}

fn meta<'a>(args: &mut Args<'a>) -> Result<Vec<Pair<'a>>, Error> {
    let count = args.count("META")?;
    let mut pairs: Vec<Pair> = Vec::with_capacity(count.min(args.remaining()));
    let mut seen = Seen::new();
    for _ in 0..count {
        let name = args.next("META", "a name")?;
        if !seen.insert(name) {
            return Err(Error::DuplicateMeta(Quoted::new(name)));
        }
        pairs.push((name.into(), args.next("META", "a value")?.into()));
    }
    Ok(pairs)
}

/// Whether the next argument begins a list of fields, not another operation.
fn begins_fields(args: &Args) -> bool {
    args.peek().is_some_and(|next| {
        let digit = next.first().is_some_and(u8::is_ascii_digit);
        digit || next.eq_ignore_ascii_case(b"JSON") || next.eq_ignore_ascii_case(b"MSGPACK")
    })
}

fn fields<'a>(args: &mut Args<'a>, of: &'static str) -> Result<Fields<'a>, Error> {
    if args.keyword("JSON") {
        return encoded::json::decode(args.next("JSON", "an object")?);
    }
    if args.keyword("MSGPACK") {
        return encoded::msgpack::decode(args.next("MSGPACK", "a map")?);
    }
    let count = args.count(of)?;
    let pairs = args.groups(count, of, ["a field", "a value"])?.iter();
    let pairs = pairs.map(|[field, value]| (Bytes::from(*field), Some(InputValue::Plain(value))));
    let mut fields: Fields = pairs.collect();
    if args.keyword("NULL") {
        let count = args.count("NULL")?;
        let nulls = args.groups(count, "NULL", ["a field"])?.iter();
        fields.extend(nulls.map(|[field]| (Bytes::from(*field), None)));
    }
    Ok(fields)
}

/// The UPDATE of a type that keeps no snapshots.
fn replace<'a>(args: &mut Args<'a>) -> Result<Action<'a>, Error> {
    if args.keyword("JSON") {
        return Ok(Action::Replace {
            old: encoded::json::decode(args.next("JSON", "an object of old values")?)?,
            new: encoded::json::decode(args.next("JSON", "an object of new values")?)?,
        });
    }
    if args.keyword("MSGPACK") {
        return Ok(Action::Replace {
            old: encoded::msgpack::decode(args.next("MSGPACK", "a map of old values")?)?,
            new: encoded::msgpack::decode(args.next("MSGPACK", "a map of new values")?)?,
        });
    }
    let count = args.count("UPDATE")?;
    let groups = args.groups(count, "UPDATE", ["a field", "an old value", "a new value"])?;
    let field = |field: &'a [u8], value| (Bytes::from(field), Some(InputValue::Plain(value)));
    let old = groups.iter().map(|[name, old, _]| field(name, old));
    let new = groups.iter().map(|[name, _, new]| field(name, new));
    Ok(Action::Replace {
        old: old.collect(),
        new: new.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<String, String> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let request = Request::parse(Args::new(&words), false, &Limits::NONE);
        let flush = request.map_err(|error| error.to_string())?.flush;
        let shown = flush.actions.iter().map(|(id, action)| {
            let (name, fields) = match action {
                Action::Snapshot(fields) => ("snapshot", fields.as_slice()),
                Action::Insert(fields) => ("insert", fields.as_slice()),
                Action::Update(fields) => ("update", fields.as_slice()),
                Action::Seed(fields) => ("seed", fields.as_slice()),
                Action::Delete(fields) => ("delete", fields.as_deref().unwrap_or_default()),
                Action::Replace { new, .. } => ("replace", new.as_slice()),
                Action::Touch => ("touch", [].as_slice()),
                Action::Newer => ("newer", [].as_slice()),
            };
            let nulls = fields.iter().filter(|(_, value)| value.is_none()).count();
            format!("{name} {} {}-{nulls}", id.escape_ascii(), fields.len())
        });
        let meta = match flush.meta.len() {
            0 => String::new(),
            pairs => format!("meta {pairs}: "),
        };
        Ok(meta + &shown.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn operations_follow_each_other() {
        for (line, expected) in [
            ("SNAPSHOT 1 0", "snapshot 1 0-0"),
            ("meta 1 META META DELETE 1", "meta 1: delete 1 0-0"),
            ("META 0 TOUCH 1", "touch 1 0-0"),
            (
                "DRYRUN withevents FORCE META 0 TOUCH FORCE",
                "touch FORCE 0-0",
            ),
            ("snapshot 1 2 a b c d null 1 e", "snapshot 1 3-1"),
            ("DELETE DELETE TOUCH 1", "delete DELETE 0-0, touch 1 0-0"),
            (
                "INSERT 1 1 NULL NULL UPDATE 2 0 NULL 2 a b SEED 3 1 a b",
                "insert 1 1-0, update 2 2-2, seed 3 1-0",
            ),
        ] {
            assert_eq!(parse_line(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn the_stream_of_ack_is_found_where_it_stands_and_nowhere_else() {
        for (line, place) in [
            ("ACK s GROUP g c 1 1-1 TOUCH 1", Some(1)),
            ("META 1 ACK x WITHEVENTS ack s", Some(6)),
            ("ONCE ACK ACK s GROUP", Some(3)),
            ("ONCE ACK 5 FORCE ACK ACK x", Some(5)),
            ("META 1 a ACK TOUCH ACK", None),
            ("ONCE ACK TOUCH 1", None),
            ("TOUCH ACK ACK s", None),
            ("META 2 a b ACK s", None),
            ("ACK", None),
            ("", None),
        ] {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            assert_eq!(Ack::place(&words), place, "{line}");
        }
    }

    #[test]
    fn acknowledgements_that_make_no_sense_are_refused() {
        for (line, error) in [
            (
                "ACK s GROUP g c 1 1-1 ACK s GROUP g c 1 1-1 TOUCH 1",
                "ERR ACK is given twice",
            ),
            (
                "TOUCH 1 ACK s GROUP g c 1 1-1",
                "ERR ACK must stand before the operations",
            ),
            ("ACK s GROUP g c 0 TOUCH 1", "ERR ACK requires an id"),
            (
                "ACK s CURSOR c 1 1-1 TOUCH 1",
                "ERR the reader must be GROUP, not \"CURSOR\"",
            ),
            (
                "ACK s GROUP g c 1 1-1 DEFER t TOUCH 1",
                "ERR ACK and DEFER cannot be combined",
            ),
            (
                "DRYRUN ACK s GROUP g c 1 1-1 TOUCH 1",
                "ERR ACK and DRYRUN cannot be combined",
            ),
        ] {
            assert_eq!(parse_line(line), Err(error.into()), "{line}");
        }
    }

    #[test]
    fn truncated_and_unknown_operations_are_refused() {
        for (line, error) in [
            ("META 1 a b", "ERR a flush requires at least one operation"),
            ("META 2 a b DELETE", "ERR META requires a value"),
            ("META 2 a b a c TOUCH 1", "ERR META \"a\" is named twice"),
            ("META 0 META 0 TOUCH 1", "ERR META is given twice"),
            ("WITHEVENTS", "ERR a flush requires at least one operation"),
            (
                "WITHEVENTS WITHEVENTS TOUCH 1",
                "ERR WITHEVENTS is given twice",
            ),
            (
                "TOUCH 1 META 0",
                "ERR META must stand before the operations",
            ),
            (
                "TOUCH 1 once t",
                "ERR ONCE must stand before the operations",
            ),
            (
                "DELETE 1 FORCE",
                "ERR FORCE must stand before the operations",
            ),
            (
                "DRYRUN TOUCH 1 Dryrun",
                "ERR DRYRUN must stand before the operations",
            ),
            (
                "TOUCH 1 DEFER t",
                "ERR DEFER must stand before the operations",
            ),
            (
                "TOUCH 1 WITHEVENTS",
                "ERR WITHEVENTS must stand before the operations",
            ),
            ("TOUCH 1 NULL 0", "ERR unknown operation \"NULL\""),
            ("FORCE FORCE TOUCH 1", "ERR FORCE is given twice"),
            ("DRYRUN DRYRUN TOUCH 1", "ERR DRYRUN is given twice"),
            (
                "DRYRUN DEFER t TOUCH 1",
                "ERR DEFER and DRYRUN cannot be combined",
            ),
            (
                "ONCE t 5 FORCE DRYRUN TOUCH 1",
                "ERR ONCE and DRYRUN cannot be combined",
            ),
            ("SNAPSHOT", "ERR SNAPSHOT requires an id"),
            ("SNAPSHOT 1", "ERR SNAPSHOT requires a count"),
            ("SNAPSHOT 1 2 a b c", "ERR SNAPSHOT requires a value"),
            ("UPDATE 1 0 NULL 2 a", "ERR NULL requires a field"),
            ("DELETE 1 2", "ERR DELETE requires a field"),
            ("DELETE 1 x", "ERR unknown operation \"x\""),
            (
                "SEED 1 4294967296999999999999 a b",
                "ERR the count of SEED must be an integer, 0 or more, not \"4294967296999999999999\"",
            ),
        ] {
            assert_eq!(parse_line(line), Err(error.into()), "{line}");
        }
    }
}
