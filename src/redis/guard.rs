//! The guard at each entry from Redis. A panic must not leave the module: in a function that C calls it
//! ends the server. So it becomes a line in the log, and the safest answer that the entry has.

use super::{api::api, log};
use crate::error::Error;
use redis_module::raw;
use std::ffi::c_int;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs what an entry does; `None` if it panicked. The entry's name stands in the log.
pub fn catch<T>(entry: &'static str, run: impl FnOnce() -> T) -> Option<T> {
    let run = || {
        #[cfg(feature = "deliberate-panic")]
        deliberate::strike(entry);
        run()
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(_) => {
            // The panic's own words are in the log already, by the hook.
            log::warning(&format!("{entry} panicked; the server goes on"));
            None
        }
    }
}

/// For what answers a client.
pub fn refuse<T>(entry: &'static str, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch(entry, run).unwrap_or(Err(Error::Internal))
}

/// For what writes the data set to a file. Half a value would make the file useless, so a child that was
/// forked to write one ends at once, and its file is thrown away.
pub fn save(entry: &'static str, run: impl FnOnce()) {
    extern "C" {
        /// Ends the process without a word to anybody, as the server ends its children.
        fn _exit(status: c_int) -> !;
    }
    // SAFETY: without a context it tells of the process alone.
    let is_child = || unsafe {
        let flags = api!(RedisModule_GetContextFlags(std::ptr::null_mut()));
        flags as u32 & raw::REDISMODULE_CTX_FLAGS_IS_CHILD != 0
    };
    if catch(entry, run).is_none() && is_child() {
        // SAFETY: takes a number.
        unsafe { _exit(1) };
    }
}

/// Panics are written to the server's log, where somebody looks.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log::warning(&panic.to_string())));
}

/// Of a build for tests: a panic at an entry that is named beforehand, by DIRTY.PANIC or, for what runs
/// before any command, by the environment.
#[cfg(feature = "deliberate-panic")]
pub mod deliberate {
    use crate::entity::decimal;
    use crate::error::Error;
    use crate::redis::entry::{Call, Command, KeyUse};
    use crate::syntax::{key, Arg};
    use std::ffi::CStr;
    use std::sync::{LazyLock, Mutex, PoisonError};

    /// The name of an entry, and how often it goes well before it panics.
    type Armed = Option<(Vec<u8>, u64)>;

    static ARMED: LazyLock<Mutex<Armed>> = LazyLock::new(|| {
        let entry = std::env::var("DIRTY_PANIC").ok();
        Mutex::new(entry.map(|entry| (entry.into_bytes(), 0)))
    });

    /// Panics if this entry is named, once.
    pub fn strike(entry: &str) {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, left)) = armed.as_mut() else {
            return;
        };
        if name != entry.as_bytes() {
            return;
        }
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
        } else {
            *armed = None;
            drop(armed);
            #[allow(clippy::panic)]
            {
                // Nothing in it is taken for a format, or for the line's end.
                panic!("deliberate %s%n\0\r\nat {entry}");
            }
        }
    }

    /// ```text
    /// DIRTY.PANIC entry [passes]
    /// ```
    pub struct Panic;

    impl Command for Panic {
        const NAME: &'static CStr = c"dirty.panic";
        const SUMMARY: &'static CStr = c"Lets the next entry of this name panic.";
        const COMPLEXITY: &'static CStr = c"O(1)";
        const ARGS: &'static [Arg] = &[key(c"entry")];
        const FLAGS: &'static CStr = c"fast";
        const KEY_USE: KeyUse = KeyUse::Read;
        const DATA: &'static [&'static str] = &[];
        const MIN_ARGS: usize = 0;

        fn run(call: &Call) -> Result<(), Error> {
            let passes = call.args.first().copied().and_then(decimal::parse);
            let armed = Some((call.key.to_vec(), passes.unwrap_or(0)));
            *ARMED.lock().unwrap_or_else(PoisonError::into_inner) = armed;
            call.reply().status(c"OK");
            Ok(())
        }
    }
}
