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

/// `None` where there is no ECHO. They stay until the server ends.
static REPLIES: [OnceLock<Option<Reply>>; WORDS.len()] = [const { OnceLock::new() }; WORDS.len()];

/// The server's reply of this text, if it is one of those. Where a text is written out, the compiler finds it.
#[inline(always)]
pub fn kept(ctx: &Context, text: &str) -> Option<View<'static>> {
    let index = WORDS.iter().position(|word| *word == text)?;
    let reply = REPLIES.get(index)?.get_or_init(|| {
        let text = keys::string(text.as_bytes());
        call::read(ctx, c"ECHO", &[&text]).ok()
    });
    reply.as_ref().map(Reply::view)
}
