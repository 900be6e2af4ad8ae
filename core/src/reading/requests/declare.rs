//! `DIRTY.READER stream GROUP group …`, `DIRTY.READER stream CURSOR name …`.

use super::shared::{Once, filter, name, reader, shard, snapshot_keys, start};
use crate::args::Args;
use crate::entity::limits::Limits;
use crate::error::{Error, Quoted};
use crate::reading::{Kind, OnDead, Order, Settings, Start};

/// A reader as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// A group or a cursor.
    pub kind: Kind,
    /// Its name.
    pub name: &'a [u8],
    /// FROM.
    pub from: Option<From<'a>>,
    /// All but FROM and REVISION.
    pub settings: Settings,
    /// REVISION.
    pub revision: Option<u64>,
}

/// FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From<'a> {
    /// A place in the stream.
    Start(Start),
    /// GROUP native-group.
    Group(&'a [u8]),
    /// SNAPSHOT n key ….
    Snapshot(Vec<&'a [u8]>),
}

impl<'a> Request<'a> {
    /// From the arguments behind the stream.
    pub fn parse(mut args: Args<'a>, limits: &Limits) -> Result<Self, Error> {
        let (kind, name) = reader(&mut args)?;
        let mut request = Request {
            kind,
            name,
            from: None,
            settings: Settings::default(),
            revision: None,
        };
        Once::default().all(&mut args, |args| request.option(args, limits))?;
        match request.settings.flaw() {
            Some(flaw) => Err(Error::Flaw(flaw)),
            None => Ok(request),
        }
    }

    fn option(
        &mut self,
        args: &mut Args<'a>,
        limits: &Limits,
    ) -> Result<Option<&'static str>, Error> {
        let settings = &mut self.settings;
        let (option, kind) = if args.keyword("FROM") {
            self.from = Some(if args.keyword("GROUP") {
                From::Group(name(args, "FROM", "a group")?)
            } else if args.keyword("SNAPSHOT") {
                if self.kind != Kind::Cursor {
                    return Err(Error::Needs("SNAPSHOT", "CURSOR"));
                }
                From::Snapshot(snapshot_keys(args)?)
            } else {
                From::Start(start(args, "FROM")?)
            });
            ("FROM", None)
        } else if args.keyword("DEAD") {
            let dead = name(args, "DEAD", "a key")?;
            // Whatever stands there: it may become readers, whose stream would lose them to an event that dies.
            if dead.ends_with(b":readers") {
                return Err(Error::DeadIsReaders(Quoted::new(dead)));
            }
            settings.dead = Some(dead.to_vec());
            ("DEAD", None)
        } else if args.keyword("MINAGE") {
            settings.min_age_ms = args.ms("MINAGE", 0)?;
            ("MINAGE", None)
        } else if args.keyword("WHERE") {
            settings.filter = filter(args, limits)?;
            ("WHERE", None)
        } else if args.keyword("REVISION") {
            self.revision = Some(args.number("REVISION", "a number", 0..=u64::MAX)?);
            ("REVISION", None)
        } else if args.keyword("ORDER") {
            settings.order = order(args)?;
            ("ORDER", Some(Kind::Group))
        } else if args.keyword("CLAIM") {
            settings.claim_ms = args.ms("CLAIM", 0)?;
            ("CLAIM", Some(Kind::Group))
        } else if args.keyword("MAXPENDING") {
            let n = args.number("MAXPENDING", "a number", 1..=u64::from(u32::MAX))?;
            settings.max_pending = u32::try_from(n).unwrap_or(u32::MAX);
            ("MAXPENDING", Some(Kind::Group))
        } else if args.keyword("MAXDELIVERIES") {
            let n = args.number("MAXDELIVERIES", "a number", 2..=u64::from(u16::MAX))?;
            settings.max_deliveries = Some(u16::try_from(n).unwrap_or(u16::MAX));
            ("MAXDELIVERIES", Some(Kind::Group))
        } else if args.keyword("ONDEAD") {
            settings.on_dead = on_dead(args)?;
            ("ONDEAD", Some(Kind::Group))
        } else if args.keyword("SHARD") {
            settings.shard = Some(shard(args)?);
            ("SHARD", Some(Kind::Cursor))
        } else {
            return Ok(None);
        };
        match kind {
            Some(Kind::Group) if self.kind != Kind::Group => Err(Error::Needs(option, "GROUP")),
            Some(Kind::Cursor) if self.kind != Kind::Cursor => Err(Error::Needs(option, "CURSOR")),
            _ => Ok(Some(option)),
        }
    }
}

fn order(args: &mut Args) -> Result<Order, Error> {
    if args.keyword("NONE") {
        Ok(Order::None)
    } else if args.keyword("STREAM") {
        Ok(Order::Stream)
    } else if args.keyword("ENTITY") {
        Ok(Order::Entity)
    } else if args.keyword("META") {
        Ok(Order::Meta(args.name("ORDER", "a name of META")?.to_vec()))
    } else {
        Err(Error::NotOneOf {
            of: "ORDER",
            choices: "NONE, ENTITY, STREAM or META",
            got: Quoted::new(args.next("ORDER", "a word")?),
        })
    }
}

fn on_dead(args: &mut Args) -> Result<OnDead, Error> {
    if args.keyword("SKIP") {
        Ok(OnDead::Skip)
    } else if args.keyword("PARK") {
        Ok(OnDead::Park)
    } else {
        Err(Error::NotOneOf {
            of: "ONDEAD",
            choices: "SKIP or PARK",
            got: Quoted::new(args.next("ONDEAD", "a word")?),
        })
    }
}
