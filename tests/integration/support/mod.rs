//! What the tests share, a file per concept. A test imports helpers from here, and never another subject's file.

mod cases;
mod conn;
pub mod deltas;
pub mod dice;
pub mod dumps;
pub mod entities;
pub mod entries;
pub mod folding;
pub mod manual;
pub mod pipeline;
pub mod readers;
pub mod replication;
mod server;
pub mod story;
pub mod turmoil;
pub mod users;
pub mod wrong;

pub use cases::{cases, text, words};
pub use conn::{Conn, connect};
pub use server::{Server, answers, free_port, module, output_of_one_that_ends, server};

use std::io::Write;
use std::time::{Duration, Instant};

/// Says that a test has tried nothing here, and why. The test runner hides what passing tests print, but
/// not what goes past it.
pub fn skipped(why: &str) {
    let test = std::thread::current();
    let name = test.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "skipped {name}: {why}");
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{what}: not within 20 seconds"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
