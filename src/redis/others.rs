//! Whether other modules may have run in the midst of a command of ours. The server calls them when it tells of a key
//! that has expired, was missing, is made or goes, and when it runs a command for us. An open key holds its value's
//! address, and such code may delete the value, or move it: so a key stays open only while nobody else runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often they may have. Whoever counts holds the server's lock, so no two do it at once.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The server may call other modules, or has just done so.
pub fn may_run() {
    CALLS.store(CALLS.load(Relaxed).wrapping_add(1), Relaxed);
}

/// A point in time.
#[derive(Clone, Copy)]
pub struct Since(u64);

impl Since {
    pub fn now() -> Self {
        Since(CALLS.load(Relaxed))
    }

    /// Whether only the server and this module have run.
    pub fn is_quiet(self) -> bool {
        CALLS.load(Relaxed) == self.0
    }
}
