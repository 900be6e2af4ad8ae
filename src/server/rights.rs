//! The rights of users. The server checks the keys that a command names before the command runs. This module checks
//! the keys that a declaration names, a key behind DEAD, and, once more, the rights of a client that has waited.

use super::command::{Call, Caller, Command};
use crate::redis::acl::{Reason, User, Verdict, limits_databases};
use crate::redis::keys;
use dirty_streams_core::acl::{self, Pattern};
use dirty_streams_core::error::{Error, Quoted};
use redis_module::Context;
use std::cell::OnceCell;
use std::ffi::{CStr, c_int};

pub use dirty_streams_core::acl::Access;

/// The rights of the user behind a call. Refusals appear in ACL LOG, like the server's own.
pub struct Rights<'c> {
    ctx: &'c Context,
    caller: &'c Caller<'c>,
    /// Looked up when it is first asked for, since that runs a command.
    user: OnceCell<Option<User>>,
}

impl<'c> Rights<'c> {
    pub fn of(call: &'c Call) -> Self {
        Rights {
            ctx: call.ctx,
            caller: &call.caller,
            user: OnceCell::new(),
        }
    }

    fn user(&self) -> Option<&User> {
        let user = self.user.get_or_init(|| match self.caller {
            Caller::Client(_) => User::current(self.ctx),
            Caller::Waiting(name) => name.map(User::named),
        });
        user.as_ref()
    }

    /// Refuses unless this key may be read, or written.
    pub fn check(&self, access: Access, key: &[u8]) -> Result<(), Error> {
        match self.user() {
            Some(user) if !user.may(access, key) => Err(self.refuse(user, access, key)),
            _ => Ok(()),
        }
    }

    /// As `check`, of all keys of this database that begin with the prefix; ACL LOG has them as `prefix*`.
    pub fn check_prefix(
        &self,
        access: Access,
        prefix: &[u8],
        database: c_int,
    ) -> Result<(), Error> {
        let Some(user) = self.user() else {
            return Ok(());
        };
        if user.may(access, prefix) && may_all(self.ctx, user, access, prefix, database) {
            return Ok(());
        }
        user.log_refusal(self.ctx, &[prefix, b"*"].concat(), Reason::Key);
        Err(Error::MayNotAll {
            access,
            prefix: Quoted::new(prefix),
            pattern: Pattern::new(access, prefix),
        })
    }

    fn refuse(&self, user: &User, access: Access, key: &[u8]) -> Error {
        user.log_refusal(self.ctx, key, Reason::Key);
        match access {
            Access::Read => Error::MayNotRead(Quoted::new(key)),
            Access::Write => Error::MayNotWrite(Quoted::new(key)),
        }
    }

    /// Refuses a user who may not write to a stream in the database where it lives. This concerns only servers that
    /// limit users to databases, and only users who may neither send this command about this key there nor append to
    /// the stream by hand.
    pub fn check_database(
        &self,
        command: &CStr,
        key: &[u8],
        database: c_int,
        stream: &[u8],
    ) -> Result<(), Error> {
        if !limits_databases() {
            return Ok(());
        }
        let Some(user) = self.user() else {
            return Ok(());
        };
        let reason = match user.may_send(command, &[key], database) {
            Verdict::May => return Ok(()),
            Verdict::MayNot(reason) => {
                let by_hand: [&[u8]; 4] = [stream, b"*", b"field", b"value"];
                if let Verdict::May = user.may_send(c"XADD", &by_hand, database) {
                    return Ok(());
                }
                reason
            }
            // Such a user may do only things that the server itself has checked.
            Verdict::Unknown => Reason::Key,
        };
        user.log_refusal(self.ctx, stream, reason);
        Err(Error::MayNotUseDatabase {
            index: database,
            stream: Quoted::new(stream),
        })
    }

    /// Refuses unless the call's command may use a key that a reader's settings name, in the call's own database: a dead
    /// stream, or a declaration whose snapshots are read. Where users are limited to databases, a right to this key in
    /// another one is none: the command may be sent about the key here, or an entry be appended by hand.
    pub fn check_named(&self, call: &Call, access: Access, key: &[u8]) -> Result<(), Error> {
        self.check(access, key)?;
        let database = keys::current_database(call.ctx);
        self.check_database(call.command, key, database, key)
    }

    /// Whether a command that has waited may still run. Its first words are enough for that: rights concern
    /// nothing behind them.
    pub fn may_still_run<C: Command>(&self, call: &Call) -> bool {
        let Some(user) = self.user() else {
            return true;
        };
        let args = call.args.iter().take(C::ARITY.min()).copied();
        let args: Vec<&[u8]> = std::iter::once(&*call.key).chain(args).collect();
        match user.may_send(C::NAME, &args, keys::current_database(call.ctx)) {
            // Such a user had the rights when the command was sent.
            Verdict::May | Verdict::Unknown => true,
            Verdict::MayNot(_) => false,
        }
    }

    /// Refuses a command that may not.
    pub fn check_still<C: Command>(&self, call: &Call) -> Result<(), Error> {
        let Some(user) = self.user().filter(|_| !self.may_still_run::<C>(call)) else {
            return Ok(());
        };
        let may_key = user.may(Access::Read, &call.key) && user.may(Access::Write, &call.key);
        let (object, reason): (&[u8], _) = match may_key {
            true => (C::NAME.to_bytes(), Reason::Command),
            false => (&call.key, Reason::Key),
        };
        user.log_refusal(self.ctx, object, reason);
        Err(Error::MayNoLongerRead(Quoted::new(&call.key)))
    }
}

/// The rights of a user that the server does not know cannot be checked, so such a user may do only things that the
/// server itself has checked.
fn may_all(ctx: &Context, user: &User, access: Access, prefix: &[u8], database: c_int) -> bool {
    let rules = user.rules(ctx);
    rules.is_some_and(|rules| acl::covers(&rules, access, prefix, database))
}
