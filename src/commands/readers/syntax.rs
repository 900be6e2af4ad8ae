//! Parts of syntax that several commands of readers have.

use dirty_streams_core::syntax::{Arg, block, flag, integer, one_of, option, text, word};

pub const GROUP: Arg = text(c"group").after(c"GROUP");
pub const CURSOR: Arg = text(c"name").after(c"CURSOR");

/// GROUP or CURSOR, before a name.
pub const KIND: Arg = one_of(
    c"kind",
    &[word(c"group", c"GROUP"), word(c"cursor", c"CURSOR")],
);
pub const NAME: Arg = text(c"name");

pub const IDS: Arg = text(c"id").repeated();

const COUNTED: &[Arg] = &[integer(c"n"), IDS];

pub const ACK_IDS: Arg = option(c"ACK", block(c"acknowledged", COUNTED));
pub const COUNT: Arg = option(c"COUNT", integer(c"n"));
pub const BLOCK: Arg = option(c"BLOCK", integer(c"ms"));
pub const MIN_AGE: Arg = option(c"MINAGE", integer(c"ms"));
pub const FORM: Arg = one_of(c"form", &[word(c"raw", c"RAW"), word(c"json", c"JSON")]).optional();
pub const FORCE: Arg = flag(c"force", c"FORCE");
pub const DEAD: Arg = option(c"DEAD", text(c"key"));
pub const REVISION: Arg = option(c"REVISION", integer(c"n"));
pub const SHARD: Arg = option(
    c"SHARD",
    block(c"shard", &[integer(c"index"), integer(c"count")]),
);

pub const WHERE: Arg = option(c"WHERE", one_of(c"filter", FILTERS).repeated());
const FILTERS: &[Arg] = &[
    text(c"name").after(c"ENTITY"),
    block(c"ids", &[integer(c"n"), IDS]).after(c"ID"),
    text(c"ops").after(c"OPS"),
    block(c"fields", &[integer(c"n"), text(c"field").repeated()]).after(c"FIELDS"),
    block(c"meta", &[text(c"name"), text(c"value")]).after(c"META"),
];

/// Which dead events REDRIVE and DISCARD mean.
pub const SELECTOR: Arg = one_of(
    c"selector",
    &[
        word(c"all", c"ALL"),
        block(c"entity", &[text(c"name"), text(c"id")]).after(c"ENTITY"),
        text(c"value").after(c"KEY"),
        block(c"ids", COUNTED).after(c"IDS"),
    ],
);
