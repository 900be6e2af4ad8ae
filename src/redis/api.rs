//! The raw module API: function pointers that the server fills in at load.

/// Calls `RedisModule_<name>`. All that is called this way exists since Redis 7.0, the oldest server
/// that loads the module; what newer ones add is asked for where it is used.
macro_rules! api {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match ::redis_module::raw::$name {
            Some(function) => function($($arg),*),
            None => $crate::redis::api::missing(stringify!($name)),
        }
    };
}

pub(crate) use api;

/// Not a panic: whoever meets this has loaded the module into something that is no Redis 7.0.
#[cold]
pub fn missing(name: &str) -> ! {
    eprintln!("dirty: this server has no {name}, which Redis 7.0 has");
    std::process::abort()
}
