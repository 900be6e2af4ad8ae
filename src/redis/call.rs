//! Native commands run by the module, and views of their replies that copy nothing.

use super::api::api;
use super::others;
use dirty_streams_core::error::Error;
use redis_module::{Context, RedisString, raw};
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;

/// How a command is run: its errors come as replies, scripts' rules apply to it, its effects go to replicas
/// and the AOF. A read has none of its own, but without `!` those would be lost that other modules have
/// in answer to its events.
const CHECKED: &CStr = c"v!ES";
/// As CHECKED for a part of a command that has passed the server's own checks: it must not fail half-way.
const EFFECT: &CStr = c"v!E";

/// Of the server itself, which scripts may not ask.
const ASKED: &CStr = c"vE";

pub fn ask(ctx: &Context, command: &CStr, args: &[&RedisString]) -> Result<Reply, Error> {
    call(ctx, command, ASKED, args)
}

pub fn read(ctx: &Context, command: &CStr, args: &[&RedisString]) -> Result<Reply, Error> {
    call(ctx, command, CHECKED, args)
}

pub fn effect(ctx: &Context, command: &CStr, args: &[&RedisString]) -> Result<Reply, Error> {
    call(ctx, command, EFFECT, args)
}

fn call(
    ctx: &Context,
    command: &CStr,
    options: &CStr,
    args: &[&RedisString],
) -> Result<Reply, Error> {
    let argv: Vec<*mut raw::RedisModuleString> = args.iter().map(|arg| arg.inner).collect();
    // By command filters, and by what the command does.
    others::may_run();
    // SAFETY: format `v` takes a pointer and a length; the strings live throughout the call.
    let raw = unsafe {
        api!(RedisModule_Call(
            ctx.ctx,
            command.as_ptr(),
            options.as_ptr(),
            argv.as_ptr(),
            argv.len(),
        ))
    };
    if raw.is_null() {
        return Err(Error::Internal);
    }
    let reply = Reply { raw };
    match reply.view().reply_type() {
        ReplyType::Error => Err(refusal(reply.view().bytes())),
        _ => Ok(reply),
    }
}

/// The server's own errors, but two that it has for modules alone: clients of a cluster know the codes with
/// which it tells them the same, and act on them.
fn refusal(message: &[u8]) -> Error {
    const NOT_HERE: &str = "ERR Attempted to access a non local key";
    let message = String::from_utf8_lossy(message);
    if message.starts_with(NOT_HERE) {
        Error::TryAgain
    } else if message.ends_with(" while the cluster is down") {
        Error::Server("CLUSTERDOWN The cluster is down".into())
    } else {
        Error::Server(message.into_owned())
    }
}

/// A reply that is not an error, freed when dropped. The server keeps the address of the context that it was asked
/// with, so drop it while that context lives, or never.
pub struct Reply {
    raw: *mut raw::RedisModuleCallReply,
}

impl Reply {
    pub fn view(&self) -> View<'_> {
        View {
            raw: self.raw,
            owner: PhantomData,
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // SAFETY: received once, freed once; no view outlives it.
        unsafe { api!(RedisModule_FreeCallReply(self.raw)) }
    }
}

#[derive(PartialEq, Eq)]
enum ReplyType {
    Text,
    Integer,
    Array,
    Error,
    Other,
}

/// A reply or a part of one.
#[derive(Clone, Copy)]
pub struct View<'r> {
    raw: *mut raw::RedisModuleCallReply,
    owner: PhantomData<&'r Reply>,
}

impl<'r> View<'r> {
    pub(super) fn raw(self) -> *mut raw::RedisModuleCallReply {
        self.raw
    }

    fn reply_type(self) -> ReplyType {
        // SAFETY: a live reply; null is of the unknown type.
        match unsafe { api!(RedisModule_CallReplyType(self.raw)) } as isize {
            raw::REDISMODULE_REPLY_STRING => ReplyType::Text,
            raw::REDISMODULE_REPLY_INTEGER => ReplyType::Integer,
            raw::REDISMODULE_REPLY_ARRAY => ReplyType::Array,
            raw::REDISMODULE_REPLY_ERROR => ReplyType::Error,
            _ => ReplyType::Other,
        }
    }

    /// A text's or error's bytes, nothing for the rest.
    pub fn bytes(self) -> &'r [u8] {
        let mut length = 0usize;
        // SAFETY: a live reply; null if it is no text. The bytes live as long as the reply.
        unsafe {
            let bytes: *const c_char = api!(RedisModule_CallReplyStringPtr(self.raw, &mut length));
            match bytes.is_null() {
                true => &[],
                false => std::slice::from_raw_parts(bytes.cast(), length),
            }
        }
    }

    /// As `bytes`; `None` for null.
    pub fn text(self) -> Option<&'r [u8]> {
        (self.reply_type() == ReplyType::Text).then(|| self.bytes())
    }

    pub fn integer(self) -> Option<i64> {
        // SAFETY: an integer.
        (self.reply_type() == ReplyType::Integer)
            .then(|| unsafe { api!(RedisModule_CallReplyInteger(self.raw)) })
    }

    pub fn length(self) -> usize {
        match self.reply_type() {
            // SAFETY: an array.
            ReplyType::Array => unsafe { api!(RedisModule_CallReplyLength(self.raw)) },
            _ => 0,
        }
    }

    pub fn at(self, index: usize) -> Option<View<'r>> {
        // SAFETY: a live reply; null if it is no array, or has no such element.
        let raw = unsafe { api!(RedisModule_CallReplyArrayElement(self.raw, index)) };
        (!raw.is_null()).then_some(View {
            raw,
            owner: PhantomData,
        })
    }

    pub fn items(self) -> impl DoubleEndedIterator<Item = View<'r>> {
        (0..self.length()).filter_map(move |index| self.at(index))
    }

    /// Of a map as RESP2 writes it, name and value by turns.
    pub fn field(self, name: &[u8]) -> Option<View<'r>> {
        let index = self
            .items()
            .step_by(2)
            .position(|item| item.bytes() == name)?;
        self.at(index.checked_mul(2)?.checked_add(1)?)
    }
}

/// Whether a user stands behind this context: not on a replica's link to its primary, while an AOF
/// loads, or when another module calls without saying whose rights count.
pub fn has_user(ctx: &Context) -> bool {
    const ENOTSUP: c_int = 95;
    // The server looks for the user before it looks for the command; one that exists would be checked
    // against the user's rights, counted, and seen in ACL LOG.
    const NO_COMMAND: &CStr = c"NO-SUCH-COMMAND";
    others::may_run();
    // SAFETY: as in `call`; `C` answers ENOTSUP where there is no user.
    unsafe {
        let (command, none) = (
            NO_COMMAND.as_ptr(),
            std::ptr::null::<*mut raw::RedisModuleString>(),
        );
        let reply = api!(RedisModule_Call(
            ctx.ctx,
            command,
            c"vC".as_ptr(),
            none,
            0usize
        ));
        if !reply.is_null() {
            api!(RedisModule_FreeCallReply(reply));
            return true;
        }
        std::io::Error::last_os_error().raw_os_error() != Some(ENOTSUP)
    }
}
