//! Texts that many replies have. A text's length, its bytes and its end are written one by one; a
//! reply of the server's own is passed on in one piece, in a third of the time. So ECHO replies each of these
//! texts once, and that is kept.

use super::call::{self, Reply, View};
use super::keys;
use redis_module::Context;
use std::cell::Cell;
use std::sync::OnceLock;

#[derive(Clone, Copy)]
pub enum Token {
    Insert,
    Update,
    Delete,
    Touch,
    Id,
    Entity,
    EntityId,
    Op,
    Changes,
    Before,
    After,
    Meta,
    Fields,
    Deliveries,
    Events,
    Position,
    Missed,
    More,
    NotHeld,
    Version,
    Failures,
    Dead,
}

const COUNT: usize = Token::Dead as usize + 1;

impl Token {
    pub fn text(self) -> &'static str {
        match self {
            Token::Insert => "insert",
            Token::Update => "update",
            Token::Delete => "delete",
            Token::Touch => "touch",
            Token::Id => "id",
            Token::Entity => "entity",
            Token::EntityId => "entity-id",
            Token::Op => "op",
            Token::Changes => "changes",
            Token::Before => "before",
            Token::After => "after",
            Token::Meta => "meta",
            Token::Fields => "fields",
            Token::Deliveries => "deliveries",
            Token::Events => "events",
            Token::Position => "position",
            Token::Missed => "missed",
            Token::More => "more",
            Token::NotHeld => "not-held",
            Token::Version => "version",
            Token::Failures => "failures",
            Token::Dead => "dead",
        }
    }
}

/// A reply that is kept.
struct Kept(Reply);

// SAFETY: whoever has a context holds the server's lock, one thread at a time, and `kept` asks for one.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

/// `None` where ECHO is something else. They stay until the server ends.
static REPLIES: [OnceLock<Option<Kept>>; COUNT] = [const { OnceLock::new() }; COUNT];

/// The server's reply of this text.
#[inline(always)]
pub fn kept(ctx: &Context, token: Token) -> Option<View<'static>> {
    let kept = REPLIES.get(token as usize)?.get_or_init(|| {
        let bytes = token.text().as_bytes();
        let reply = call::read(ctx, c"ECHO", &[&keys::string(bytes)]).ok()?;
        (reply.view().text() == Some(bytes)).then_some(Kept(reply))
    });
    kept.as_ref().map(|Kept(reply)| reply.view())
}

/// How many names are kept. Each has one place, by its hash.
const NAMES: usize = 256;

/// Longer names are written as they are.
const LONGEST_NAME: usize = 64;

#[derive(Clone, Copy)]
enum Place {
    /// The hash of the last name that came here.
    Free(u64),
    /// Stays until the server ends.
    Taken(&'static [u8], &'static Reply),
}

thread_local! {
    static PLACES: [Cell<Place>; NAMES] = const { [const { Cell::new(Place::Free(0)) }; NAMES] };
}

/// The server's reply of a name. It is asked for when the name comes the second time in a row at its place: so names that
/// come once, like those of fields that are made of ids, are not kept.
pub fn name(ctx: &Context, name: &[u8]) -> Option<View<'static>> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let hash = hash(name);
    let index = usize::try_from(hash).unwrap_or(0) % NAMES;
    PLACES.with(|places| {
        let place = places.get(index)?;
        let new = match place.get() {
            Place::Taken(kept, reply) => return (kept == name).then(|| reply.view()),
            Place::Free(last) if last != hash => Place::Free(hash),
            Place::Free(_) => keep(ctx, name)?,
        };
        place.set(new);
        None
    })
}

fn keep(ctx: &Context, name: &[u8]) -> Option<Place> {
    let reply = call::read(ctx, c"ECHO", &[&keys::string(name)]).ok()?;
    if reply.view().text() != Some(name) {
        return None;
    }
    Some(Place::Taken(
        Box::leak(name.into()),
        Box::leak(Box::new(reply)),
    ))
}

/// Cheap, for short names: whoever makes many collide gains nothing, and loses what this saves.
fn hash(name: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let spread =
        |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(ODD).rotate_right(29);
    name.iter().fold(1, spread)
}
