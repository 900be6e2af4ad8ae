//! The guard at each entry from Redis. A panic must not leave the module: in a function that C calls it
//! ends the server. So it becomes a line in the log, and the safest answer that the entry has.

use super::{flags, log};
use dirty_streams_core::error::Error;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    unsafe extern "C" {
        /// Ends the process without a word to anybody, as the server ends its children.
        fn _exit(status: c_int) -> !;
    }
    if catch(entry, run).is_none() && flags::is_child() {
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

    /// Names the entry that is to panic, after it has gone well this often.
    pub fn arm(entry: &[u8], passes: u64) {
        let armed = Some((entry.to_vec(), passes));
        *ARMED.lock().unwrap_or_else(PoisonError::into_inner) = armed;
    }
}
