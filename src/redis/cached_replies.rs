//! Texts that replies have again and again. A text's length, its bytes and its end are written one by one; a
//! reply of the server's own is passed on in one piece, in a third of the time. So ECHO replies each of these
//! texts once, and that is kept.

use super::call::{self, Reply, View};
use super::keys;
use redis_module::Context;
use std::sync::OnceLock;

const WORDS: [&str; 17] = [
    "insert",
    "update",
    "delete",
    "touch",
    "id",
    "entity",
    "entity_id",
    "op",
    "changes",
    "before",
    "after",
    "meta",
    "fields",
    "deliveries",
    "events",
    "position",
    "missed",
];

/// A reply that is kept.
struct Kept(Reply);

// SAFETY: only who holds the server's lock asks for words, one thread at a time.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

/// `None` where ECHO is something else. They stay until the server ends.
static REPLIES: [OnceLock<Option<Kept>>; WORDS.len()] = [const { OnceLock::new() }; WORDS.len()];

/// The server's reply of this text, if it is one of those. Where a text is written out, the compiler finds it.
#[inline(always)]
pub fn kept(ctx: &Context, text: &str) -> Option<View<'static>> {
    let index = WORDS.iter().position(|word| *word == text)?;
    let kept = REPLIES.get(index)?.get_or_init(|| {
        let bytes = text.as_bytes();
        let reply = call::read(ctx, c"ECHO", &[&keys::string(bytes)]).ok()?;
        (reply.view().text() == Some(bytes)).then_some(Kept(reply))
    });
    kept.as_ref().map(|Kept(reply)| reply.view())
}
