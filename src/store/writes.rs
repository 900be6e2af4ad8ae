//! The three duties of whoever writes through the low-level API, which does none of them: replicate the
//! effect, signal the key to WATCH and client-side caching, and notify keyspace listeners.

use super::last_ids;
use crate::redis::{api::api, guard, keys};
use redis_module::{Context, RedisString};
use std::ffi::{c_int, CStr};

/// The writes of one command. Effects are replicated as they happen; listeners hear of them when all
/// are done, since another module may answer an event by changing keys. After a panic, too, they hear of
/// those that were made.
pub struct Writes<'c> {
    ctx: &'c Context,
    notices: Vec<Notice>,
}

struct Notice {
    database: Option<u32>,
    class: c_int,
    event: &'static CStr,
    key: RedisString,
}

impl<'c> Writes<'c> {
    pub fn new(ctx: &'c Context) -> Self {
        Writes {
            ctx,
            notices: Vec::new(),
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
        let argv = std::iter::once(key).chain(args).map(|arg| arg.inner);
        let argv: Vec<_> = argv.collect();
        // SAFETY: format `v` takes a pointer and a length; the strings are retained by the call.
        unsafe {
            api!(RedisModule_Replicate(
                self.ctx.ctx,
                command.as_ptr(),
                c"v".as_ptr(),
                argv.as_ptr(),
                argv.len(),
            ));
        }
    }

    /// A key was changed: invalidates it at once, notifies later. `database` is `None` for this one.
    pub fn changed(
        &mut self,
        key: &RedisString,
        class: c_int,
        event: &'static CStr,
        database: Option<u32>,
    ) {
        // SAFETY: a live context and key name.
        unsafe { api!(RedisModule_SignalModifiedKey(self.ctx.ctx, key.inner)) };
        self.notices.push(Notice {
            database,
            class,
            event,
            key: key.safe_clone(self.ctx),
        });
    }

    /// Tells listeners, with no key open any more.
    pub fn notify(self) {
        drop(self);
    }
}

impl Drop for Writes<'_> {
    fn drop(&mut self) {
        for notice in std::mem::take(&mut self.notices) {
            let notify = || {
                last_ids::notifying(&notice.key, || {
                    // SAFETY: a live context and key name.
                    unsafe {
                        api!(RedisModule_NotifyKeyspaceEvent(
                            self.ctx.ctx,
                            notice.class,
                            notice.event.as_ptr(),
                            notice.key.inner,
                        ));
                    }
                });
            };
            // The database was there when the key was written. A panic must not meet another one here.
            let _ = guard::catch("a notice", || {
                keys::in_database(self.ctx, notice.database, notify)
            });
        }
    }
}
