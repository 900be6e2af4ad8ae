//! The server's event loop.

use super::api::api;
use super::guard;
use std::ffi::c_void;
use std::ptr::null_mut;

pub trait Task {
    /// Its name in the log, for panics.
    const ENTRY: &'static str;

    fn run();
}

/// Runs a task once, in the event loop's next round: after those were served that were woken in this one.
pub fn once<T: Task>() {
    // SAFETY: a function that stays, and no data.
    unsafe {
        let run = Some(run::<T> as unsafe extern "C" fn(_));
        api!(RedisModule_EventLoopAddOneShot(run, null_mut()))
    };
}

unsafe extern "C" fn run<T: Task>(_data: *mut c_void) {
    let _ = guard::catch(T::ENTRY, T::run);
}
