//! Options by which the module tells the server how it behaves.

use super::api::{self, api};
use redis_module::{Context, raw};
use std::ffi::c_int;

/// CLUSTER MIGRATESLOTS, of Valkey 9, is refused unless every module has set this. It asks that nothing is done
/// to the keys of a slot that is still being imported: nothing here looks for keys by itself, and timers look
/// only at streams that a client waits for, which the server has found to be this node's.
const HANDLE_ATOMIC_SLOT_MIGRATION: u32 = 1 << 5;

pub fn set(ctx: &Context) {
    // A forged payload is an error to look at, not the end of the server; and keys are signalled when
    // they were changed, not whenever they were opened.
    let mut options = raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
        | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED;
    // Older servers would take no notice of the bit; Redis may give it another meaning one day.
    if api::is_valkey() {
        options |= HANDLE_ATOMIC_SLOT_MIGRATION;
    }
    // SAFETY: a live context.
    unsafe { api!(RedisModule_SetModuleOptions(ctx.ctx, options as c_int)) }
}
