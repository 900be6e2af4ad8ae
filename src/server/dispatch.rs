//! Where clients' commands come in.

use super::command::{Call, Caller, Command, KeyUse};
use super::{acl_categories, docs, stats};
use crate::redis::commands::{self, Argv, Client, Handler};
use crate::redis::reply::Reply;
use crate::redis::{flags, guard};
use dirty_streams_core::error::{Error, INTERNAL};
use redis_module::Context;
use std::marker::PhantomData;

pub fn register<C: Command>(ctx: &Context) -> bool {
    let is_created = commands::register::<Dispatch<C>>(ctx, C::NAME, C::FLAGS);
    if is_created {
        acl_categories::assign::<C>(ctx);
    }
    is_created && docs::describe::<C>(ctx)
}

struct Dispatch<C>(PhantomData<C>);

impl<C: Command> Handler for Dispatch<C> {
    fn run(client: Client, argv: Argv) {
        let ctx = client.ctx;
        if let Err(error) = guard::refuse("a command", || call::<C>(client, argv)) {
            refuse(ctx, &error);
        }
    }

    fn keys(argv: &[&[u8]]) -> Vec<(usize, KeyUse)> {
        let args = argv.get(2..).unwrap_or_default();
        let others = C::other_keys(args).into_iter();
        let others = others.map(|(place, key_use)| (place.saturating_add(2), key_use));
        std::iter::once((1, C::KEY_USE)).chain(others).collect()
    }
}

fn call<C: Command>(client: Client, argv: Argv) -> Result<(), Error> {
    match argv.key_and_args() {
        // An AOF may hold a key that was renamed to the empty one.
        Some((key, _)) if key.is_empty() && !flags::is_repeated(client.ctx) => Err(Error::Empty {
            of: C::NAME.to_str().unwrap_or_default(),
            what: "a key",
        }),
        Some((key, args)) if C::ARITY.allows(args.len()) => C::run(&Call {
            command: C::NAME,
            ctx: client.ctx,
            key,
            args: &args,
            argv,
            caller: Caller::Client(client),
        }),
        _ => Err(Error::WrongArity(C::NAME.to_str().unwrap_or_default())),
    }
}

pub fn refuse(ctx: &Context, error: &Error) {
    stats::count_error(error);
    let line = guard::catch("a refusal", || error.to_string());
    Reply::new(ctx).error(line.as_deref().unwrap_or(INTERNAL));
}
