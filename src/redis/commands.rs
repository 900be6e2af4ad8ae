//! Commands of the module: how they are registered, and what the server passes when a client sends one.

use super::api::api;
use super::command_info::KeyUse;
use super::guard;
use redis_module::{Context, RedisString, raw};
use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::null_mut;

/// Answers a command, even if it fails or panics.
pub trait Handler {
    fn run(client: Client, argv: Argv);

    /// Of a command with the flag getkeys-api: the keys that it names, by their places among its words.
    fn keys(argv: &[&[u8]]) -> Vec<(usize, KeyUse)>;
}

/// The client whose command runs now.
pub struct Client<'c> {
    pub ctx: &'c Context,
    /// Whether it waits, which it can do once.
    pub(super) is_blocked: Cell<bool>,
}

/// A command as the server passes it, its name first.
#[derive(Clone, Copy, Default)]
pub struct Argv<'c> {
    strings: &'c [*mut raw::RedisModuleString],
}

impl<'c> Argv<'c> {
    /// The key and the arguments behind it; `None` if there is no key.
    pub fn key_and_args(self) -> Option<(RedisString, Vec<&'c [u8]>)> {
        let [_, key, args @ ..] = self.strings else {
            return None;
        };
        let args = args.iter();
        let args = args.map(|&arg| RedisString::string_as_slice(arg));
        // Of no context, so it may outlive this one.
        Some((RedisString::new(None, *key), args.collect()))
    }
}

/// Finds the server's own strings of a command's arguments, so that they need no copy. They are known by the address of
/// their bytes, and looked for in the order in which they stand.
#[derive(Default)]
pub struct Arguments<'c> {
    argv: Argv<'c>,
    args: &'c [&'c [u8]],
    /// The argument behind the last one that was found.
    next: usize,
}

impl<'c> Arguments<'c> {
    /// To make a string of a field takes about as long as to pass over this many arguments.
    const REACH: usize = 200;

    /// `args` are those of `argv` behind its key.
    pub fn new(argv: Argv<'c>, args: &'c [&'c [u8]]) -> Self {
        let next = 0;
        Arguments { argv, args, next }
    }

    /// Passes over the arguments up to this one. If it is none, no other will be found either.
    pub fn pass(&mut self, argument: &[u8]) {
        if self.find(argument, usize::MAX).is_none() {
            self.next = self.args.len();
        }
    }

    /// The string of an argument that stands not far behind the last one.
    pub fn string(&mut self, argument: &[u8]) -> Option<Lent<'c>> {
        let index = self.find(argument, Self::REACH)?;
        let string = *self.argv.strings.get(index.checked_add(2)?)?;
        let string = RedisString::from_redis_module_string(null_mut(), string);
        Some(Lent {
            string: ManuallyDrop::new(string),
            argv: PhantomData,
        })
    }

    fn find(&mut self, argument: &[u8], reach: usize) -> Option<usize> {
        let left = self.args.get(self.next..)?;
        let left = left.get(..reach).unwrap_or(left);
        let place = left.iter().position(|arg| std::ptr::eq(*arg, argument))?;
        let index = self.next.saturating_add(place);
        self.next = index.saturating_add(1);
        Some(index)
    }
}

/// A string of a command's arguments, which the server frees when the command is done.
pub struct Lent<'c> {
    string: ManuallyDrop<RedisString>,
    argv: PhantomData<Argv<'c>>,
}

impl Deref for Lent<'_> {
    type Target = RedisString;

    fn deref(&self) -> &RedisString {
        &self.string
    }
}

/// Makes a command whose one key is its first argument.
pub fn register<H: Handler>(ctx: &Context, name: &CStr, flags: &CStr) -> bool {
    // SAFETY: a live context, strings that end with a NUL, a function that stays.
    let status = unsafe {
        api!(RedisModule_CreateCommand(
            ctx.ctx,
            name.as_ptr(),
            Some(enter::<H>),
            flags.as_ptr(),
            1,
            1,
            1
        ))
    };
    status == raw::REDISMODULE_OK as c_int
}

/// Whether the server asks for a command's keys, instead of letting it run. It answers then.
fn tells_keys<H: Handler>(
    ctx: *mut raw::RedisModuleCtx,
    strings: &[*mut raw::RedisModuleString],
) -> bool {
    // SAFETY: a live context.
    if unsafe { api!(RedisModule_IsKeysPositionRequest(ctx)) } == 0 {
        return false;
    }
    let words = strings.iter();
    let words: Vec<&[u8]> = words
        .map(|&word| RedisString::string_as_slice(word))
        .collect();
    let keys = guard::catch("the keys of a command", || H::keys(&words));
    for (place, key_use) in keys.unwrap_or_default() {
        let (place, flags) = (c_int::try_from(place), c_int::try_from(key_use.flags()));
        if let (Ok(place), Ok(flags)) = (place, flags) {
            // SAFETY: a context on which the server asks for keys.
            unsafe { api!(RedisModule_KeyAtPosWithFlags(ctx, place, flags)) };
        }
    }
    true
}

extern "C" fn enter<H: Handler>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    debug_assert!(argc > 0, "a command has a name");
    let argc = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the server passes argc strings that live throughout the call.
    let strings = unsafe { std::slice::from_raw_parts(argv, argc) };
    if tells_keys::<H>(ctx, strings) {
        return raw::REDISMODULE_OK as c_int;
    }
    let client = Client {
        ctx: &Context::new(ctx),
        is_blocked: Cell::new(false),
    };
    H::run(client, Argv { strings });
    raw::REDISMODULE_OK as c_int
}
