//! The three duties of code that writes through the low-level API, which does none of them: replicate the
//! effect, signal the key to WATCH and client-side caching, and notify keyspace listeners.

use crate::redis::keyspace::{self, Class};
use crate::redis::{guard, keys};
use redis_module::{Context, RedisString};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often streams were written.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// How often streams were written: who waits for one is woken.
pub fn of_streams() -> u64 {
    STREAMS.load(Relaxed)
}

/// The writes of one command. Effects are replicated as they happen; listeners hear of them when all
/// are done, since another module may answer an event by changing keys. After a panic, too, they hear of
/// those that were made.
pub struct Writes<'c> {
    ctx: &'c Context,
    notices: Vec<Notice>,
}

struct Notice {
    database: Option<u32>,
    class: Class,
    event: &'static CStr,
    key: RedisString,
}

impl<'c> Writes<'c> {
    pub fn new(ctx: &'c Context) -> Self {
        Writes {
            ctx,
            notices: Vec::with_capacity(2),
        }
    }

    pub fn context(&self) -> &'c Context {
        self.ctx
    }

    /// Sends the command that has this effect to replicas and the AOF.
    pub fn replicate<'a>(
        &self,
        command: &CStr,
        key: &'a RedisString,
        args: impl IntoIterator<Item = &'a RedisString>,
    ) {
        keyspace::replicate(self.ctx, command, std::iter::once(key).chain(args));
    }

    /// A key was changed: invalidates it at once, notifies later. `database` is `None` for this one.
    pub fn changed(
        &mut self,
        key: &RedisString,
        class: Class,
        event: &'static CStr,
        database: Option<u32>,
    ) {
        keyspace::invalidate(self.ctx, key);
        if matches!(class, Class::Stream) {
            STREAMS.fetch_add(1, Relaxed);
        }
        self.notices.push(Notice {
            database,
            class,
            event,
            key: key.safe_clone(self.ctx),
        });
    }

    /// Listeners hear of the other's writes with these, and behind them.
    pub fn take_over(&mut self, other: &mut Writes) {
        self.notices.append(&mut other.notices);
    }

    /// Tells listeners, with no key open any more.
    pub fn notify(self) {
        drop(self);
    }
}

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        for notice in std::mem::take(&mut self.notices) {
            let notify = || keyspace::notify(self.ctx, notice.class, notice.event, &notice.key);
            // The database was there when the key was written. A panic must not meet another one here.
            let _ = guard::catch("a notice", || {
                keys::with_database(self.ctx, notice.database, notify)
            });
        }
    }
}
