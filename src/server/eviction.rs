//! Whether the server may evict keys that nobody gave a time to live: declarations, snapshots, streams. An
//! operator hears of it in the log, when it becomes so, and reads it in INFO.

use crate::redis::log;
use crate::redis::server_events::{Event, EventListener, listen};
use crate::redis::server_info::ServerInfo;
use redis_module::Context;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static MAY_LOSE: AtomicBool = AtomicBool::new(false);

pub fn may_lose_data() -> bool {
    MAY_LOSE.load(Relaxed)
}

pub fn register(ctx: &Context) -> bool {
    look(ctx);
    listen::<MemorySettings>(ctx, Event::ConfigChanged)
}

struct MemorySettings;

impl EventListener for MemorySettings {
    const ENTRY: &'static str = "a changed setting";

    fn on_event(ctx: &Context) {
        look(ctx);
    }
}

fn look(ctx: &Context) {
    let Some(memory) = ServerInfo::section(ctx, c"memory") else {
        return;
    };
    let fields = memory
        .field(c"maxmemory_policy")
        .zip(memory.field(c"maxmemory"));
    let Some((policy, limit)) = fields else {
        return;
    };
    let is_limited = limit != b"0";
    let may_lose = is_limited && policy.starts_with(b"allkeys-");
    let did = MAY_LOSE.swap(may_lose, Relaxed);
    if may_lose && !did {
        log::warning(&format!(
            "maxmemory-policy {} evicts declarations, snapshots and streams when memory is short, \
             and events with them; use noeviction, or a volatile policy",
            policy.escape_ascii()
        ));
    }
}
