//! ACL categories of the commands, on servers that let modules have some. Redis 7.0 does not: there a
//! user is given each command by its name.

use super::command::Command;
use crate::redis::acl;
use redis_module::Context;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Every command of the module is in this one.
const OWN: &str = "dirty";

/// Whether the server has it.
static HAS_OWN: AtomicBool = AtomicBool::new(false);

/// Makes the module's own category, before any command is put into it. Without it all else works.
pub fn add(ctx: &Context) {
    match acl::add_category(ctx, OWN) {
        None => {}
        Some(true) => HAS_OWN.store(true, Relaxed),
        Some(false) => ctx.log_notice(&format!(
            "the server has no room for the ACL category @{OWN}"
        )),
    }
}

/// Puts a command that was just created into the categories that its flags and data say.
pub fn assign<C: Command>(ctx: &Context) {
    let own = HAS_OWN.load(Relaxed).then_some(OWN);
    let flags = C::FLAGS.to_str().unwrap_or_default();
    let categories: Vec<&str> = of_flags(flags)
        .chain(C::DATA.iter().copied())
        .chain(own)
        .collect();
    let categories = categories.join(" ");
    if acl::assign_categories(ctx, C::NAME, &categories) == Some(false) {
        ctx.log_notice(&format!(
            "the server refuses {:?} the ACL categories {categories}",
            C::NAME
        ));
    }
}

/// The categories that the server derives from the flags of its own commands.
fn of_flags(flags: &str) -> impl Iterator<Item = &'static str> {
    let has = |flag| flags.split(' ').any(|other| other == flag);
    let access = match has("write") {
        true => "write",
        false => "read",
    };
    let speed = match has("fast") {
        true => "fast",
        false => "slow",
    };
    [access, speed]
        .into_iter()
        .chain(has("blocking").then_some("blocking"))
}

#[cfg(test)]
mod tests {
    use super::of_flags;

    #[test]
    fn a_commands_flags_say_what_it_does_and_how_long_that_takes() {
        for (flags, expected) in [
            ("write fast", "write fast"),
            ("write deny-oom", "write slow"),
            ("write blocking", "write slow blocking"),
            ("readonly", "read slow"),
        ] {
            let found: Vec<&str> = of_flags(flags).collect();
            assert_eq!(found.join(" "), expected, "{flags}");
        }
    }
}
