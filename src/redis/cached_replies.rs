//! Texts that many replies have. A text's length, its bytes and its end are written one by one; a
//! reply of the server's own is passed on in one piece, in a third of the time. So ECHO replies each of these
//! texts once, and that is kept.

use super::call::{self, Reply, View};
use super::keys;
use super::recurring::Recurring;
use redis_module::Context;
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
    Read,
    Phase,
    Scanned,
    Begin,
}

const COUNT: usize = Token::Begin as usize + 1;

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
            Token::Read => "read",
            Token::Phase => "phase",
            Token::Scanned => "scanned",
            Token::Begin => "begin",
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
    let place = REPLIES.get(token as usize)?;
    let kept = match place.get() {
        Some(kept) => kept,
        None => keep(ctx, token, place),
    };
    kept.as_ref().map(|Kept(reply)| reply.view())
}

/// Asks before it takes the place: another module's command filter may come here while the server is asked.
#[cold]
#[inline(never)]
fn keep(
    ctx: &Context,
    token: Token,
    place: &'static OnceLock<Option<Kept>>,
) -> &'static Option<Kept> {
    let bytes = token.text().as_bytes();
    let reply = call::read(ctx, c"ECHO", &[&keys::string(bytes)]).ok();
    let kept = reply.filter(|reply| reply.view().text() == Some(bytes));
    place.get_or_init(|| kept.map(Kept))
}

static NAMES: Recurring<Reply> = Recurring::new();

/// The server's reply of a name that comes again and again.
pub fn name(ctx: &Context, name: &[u8]) -> Option<View<'static>> {
    let kept = NAMES.get(name, || {
        let reply = call::read(ctx, c"ECHO", &[&keys::string(name)]).ok()?;
        (reply.view().text() == Some(name)).then_some(reply)
    });
    kept.map(Reply::view)
}
