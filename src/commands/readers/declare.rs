use super::acting::act;
use super::syntax::{CURSOR, DEAD, GROUP, MIN_AGE, REVISION, SHARD, SNAPSHOT, WHERE};
use crate::redis::{clock, random};
use crate::server::command::{Arity, Call, Command, KeyUse};
use crate::server::config;
use crate::server::rights::Rights;
use crate::store::groups;
use crate::store::source::Source;
use dirty_streams_core::args::Args;
use dirty_streams_core::entity::limits::Limits;
use dirty_streams_core::error::Error;
use dirty_streams_core::reading::requests::declare::{From, Request};
use dirty_streams_core::reading::requests::shared::places_of_snapshot_keys;
use dirty_streams_core::reading::{self, Declared, Native, Seed};
use dirty_streams_core::syntax::{Arg, block, integer, key, one_of, option, text, word};
use std::ffi::CStr;

/// ```text
/// DIRTY.READER stream GROUP group [FROM start] [ORDER NONE|ENTITY|STREAM|META name] [CLAIM ms] [MAXPENDING n]
///     [MAXDELIVERIES n] [DEAD key] [ONDEAD SKIP|PARK] [MINAGE ms] [WHERE filter [filter …]] [REVISION n]
/// DIRTY.READER stream CURSOR name [FROM start] [SHARD index count] [DEAD key] [MINAGE ms]
///     [WHERE filter [filter …]] [REVISION n]
///
/// start:   place | GROUP native-group | SNAPSHOT n key [key …]
/// place:   0, $, a position, an event id, or a time in ms
/// filter:  ENTITY name | ID n id [id …] | OPS ops | FIELDS n field [field …] | META name value
/// ```
///
/// Makes a group or cursor, or replaces its settings as a whole. Replies `OK`, or `KEPT` if a higher REVISION stands.
pub struct Reader;

const FROM: Arg = option(
    c"FROM",
    one_of(
        c"start",
        &[
            text(c"place"),
            text(c"native-group").after(c"GROUP"),
            SNAPSHOT,
        ],
    ),
);

const ORDER: Arg = option(
    c"ORDER",
    one_of(
        c"order",
        &[
            word(c"none", c"NONE"),
            word(c"entity", c"ENTITY"),
            word(c"stream", c"STREAM"),
            text(c"name").after(c"META"),
        ],
    ),
);

const ON_DEAD: Arg = option(
    c"ONDEAD",
    one_of(
        c"on-dead",
        &[word(c"skip", c"SKIP"), word(c"park", c"PARK")],
    ),
);

impl Command for Reader {
    const NAME: &'static CStr = c"dirty.reader";
    const SUMMARY: &'static CStr =
        c"Makes a group or cursor of a stream, or replaces its settings.";
    const COMPLEXITY: &'static CStr =
        c"O(1); with FROM GROUP O(N) for N pending entries of the native group.";
    const ARGS: &'static [Arg] = &[
        key(c"stream"),
        one_of(
            c"reader",
            &[
                block(
                    c"as-group",
                    &[
                        GROUP,
                        FROM,
                        ORDER,
                        option(c"CLAIM", integer(c"ms")),
                        option(c"MAXPENDING", integer(c"n")),
                        option(c"MAXDELIVERIES", integer(c"n")),
                        DEAD,
                        ON_DEAD,
                        MIN_AGE,
                        WHERE,
                        REVISION,
                    ],
                ),
                block(
                    c"as-cursor",
                    &[CURSOR, FROM, SHARD, DEAD, MIN_AGE, WHERE, REVISION],
                ),
            ],
        ),
    ];
    const FLAGS: &'static CStr = c"write deny-oom getkeys-api";
    const KEY_USE: KeyUse = KeyUse::ReadAndWrite;
    const DATA: &'static [&'static str] = &["stream"];
    const ARITY: Arity = Arity::AtLeast(2);

    fn other_keys(args: &[&[u8]]) -> Vec<(usize, KeyUse)> {
        let Ok(request) = Request::parse(Args::new(args), &Limits::NONE) else {
            return Vec::new();
        };
        let read = match &request.from {
            Some(From::Snapshot(keys)) => places_of_snapshot_keys(args, keys),
            _ => 0..0,
        };
        let read = read.map(|place| (place, KeyUse::Read));
        let Some(dead) = request.settings.dead else {
            return read.collect();
        };
        // Options stand in any order, and names may be words: behind the last DEAD whose word is the key, as parsed.
        let is_dead = |pair: &[&[u8]]| match pair {
            [word, key] => word.eq_ignore_ascii_case(b"DEAD") && *key == dead.as_slice(),
            _ => false,
        };
        let place = args.windows(2).rposition(is_dead);
        let place = place.map(|place| (place.saturating_add(1), KeyUse::Write));
        read.chain(place).collect()
    }

    fn run(call: &Call) -> Result<(), Error> {
        let request = Request::parse(Args::new(call.args), &config::limits())?;
        if let Some(dead) = &request.settings.dead {
            let may = |access, key: &[u8]| Rights::of(call).check_named(call, access, key);
            let mut source = Source::new(call.ctx, &call.key, &may, ());
            source.open()?;
            source.set_dead(Some(dead));
            source.check_dead()?;
        }
        let is_new = !super::acting::has(call, request.name)?;
        if let Some(From::Snapshot(keys)) = request.from.as_ref().filter(|_| is_new) {
            super::acting::check_snapshots(call, keys)?;
        }
        let native = match request.from {
            Some(From::Group(group)) if is_new => {
                let native = groups::native(call.ctx, &call.key, group, clock::now_ms())?;
                Some((group, native))
            }
            _ => None,
        };
        let none = Native::default();
        let from = request.from.map(|from| match from {
            From::Start(start) => reading::From::Start(start),
            From::Snapshot(keys) => {
                reading::From::Snapshot(keys.into_iter().map(Into::into).collect())
            }
            From::Group(_) => {
                reading::From::Native(native.as_ref().map_or(&none, |(_, native)| native))
            }
        });
        let [a, b] = random::numbers();
        let declare = reading::Declare {
            kind: request.kind,
            name: request.name,
            from,
            settings: request.settings,
            revision: request.revision,
            seed: Seed(a, b),
        };
        let declared = act(call, request.name, |readers, now_ms, source| {
            readers.declare(&declare, now_ms, source)
        })?;
        if let Some((group, _)) = native {
            groups::destroy(call.ctx, &call.key, group)?;
        }
        call.reply().status(match declared {
            Declared::Ok => c"OK",
            Declared::Kept => c"KEPT",
        });
        Ok(())
    }
}
