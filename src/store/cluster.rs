//! In a cluster all keys of one declaration must be in one slot: the low-level API would write a key
//! of another slot here without a word, and nobody would ever find it.
//!
//! While a slot is moved its keys go to the other node one by one. The server then looks where the one key
//! is that a command names, and knows nothing of the others that the module will touch: a key that is missing here
//! may exist there. So wherever a missing key means something, [`check_missing`] asks. A key that is here is
//! nowhere else, and costs nothing.

use crate::redis::call;
use crate::redis::flags::is_in_cluster;
use crate::redis::keys::{self, Key};
use dirty_streams_core::entity::declaration::Declaration;
use dirty_streams_core::error::{Error, Quoted};
use dirty_streams_core::slot::{hash_tag, slot};
use redis_module::{Context, RedisString};
use std::sync::OnceLock;

/// Refuses a declaration that a cluster cannot serve; without a cluster all are allowed. Snapshots are
/// in the declaration's slot if the prefix fixes it: by a `{tag}` of its own.
pub fn check(ctx: &Context, key: &[u8], declaration: &Declaration) -> Result<(), Error> {
    if !is_in_cluster(ctx) {
        return Ok(());
    }
    let home = slot(key);
    let prefix = &declaration.prefix;
    let is_elsewhere = hash_tag(prefix).is_none() || slot(prefix) != home;
    if is_elsewhere && !declaration.stateless {
        return Err(Error::CrossSlot(Quoted::new(prefix)));
    }
    for stream in &declaration.streams {
        if stream.database.is_some_and(|database| database != 0) && !has_databases(ctx) {
            return Err(Error::DatabaseInCluster);
        }
        if slot(&stream.key) != home {
            return Err(Error::CrossSlot(Quoted::new(&stream.key)));
        }
    }
    Ok(())
}

/// Whether this cluster has more databases than one: Valkey's may from 9.0 on, and that stays as it was started.
fn has_databases(ctx: &Context) -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return *answer;
    }
    // Another module's command filter may come here meanwhile.
    let args = [&keys::string(b"GET"), &keys::string(b"cluster-databases")];
    let reply = call::ask(ctx, c"CONFIG", &args);
    let number = |reply: call::Reply| -> Option<u64> {
        let value = reply.view().field(b"cluster-databases")?;
        std::str::from_utf8(value.bytes()).ok()?.parse().ok()
    };
    let answer = reply.ok().and_then(number).is_some_and(|number| number > 1);
    *ANSWER.get_or_init(|| answer)
}

/// Refuses a key that is in another slot than the declaration or stream that it belongs to.
pub fn check_key(ctx: &Context, owner: &[u8], key: &[u8]) -> Result<(), Error> {
    match is_in_cluster(ctx) && slot(key) != slot(owner) {
        true => Err(Error::CrossSlot(Quoted::new(key))),
        false => Ok(()),
    }
}

/// Refuses if a key that is missing on this node may be on another, since its slot is being moved. The
/// command has named another key of the slot, by which the server has sent it here.
///
/// Once this has passed, the slot is not being moved, and every other key that is missing does not exist.
pub fn check_missing(
    ctx: &Context,
    named: &RedisString,
    missing: &RedisString,
) -> Result<(), Error> {
    if !is_in_cluster(ctx) {
        return Ok(());
    }
    // The server judges as for any native command with several keys: where some are missing, it runs if
    // the slot is at rest, and is refused on both sides of a move. An answer in the module's own words
    // would need to know about moves, of which the module API tells nothing.
    call::read(ctx, c"EXISTS", &[named, missing]).map(drop)
}

/// Whether a key has gone to another node, as far as can be told without the client that asked for it.
pub fn has_left(ctx: &Context, key: &RedisString) -> bool {
    let is_moving = || matches!(call::read(ctx, c"EXISTS", &[key]), Err(Error::TryAgain));
    // A key that is here belongs to a slot that this node is still receiving, and the client has said ASKING.
    is_in_cluster(ctx) && is_moving() && Key::read(ctx, key).is_missing()
}
