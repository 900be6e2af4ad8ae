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
pub mod meddler;
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

/// Whether whatever `memory_after` does so many times leaves memory behind, however often it does it. The server gives the
/// buffers of clients back only now and then, and a thread of io-threads keeps what it once needed; what leaks grows each
/// time. As a list that leaks may have room to grow by half, each time is three times as long.
pub fn leaks(times: usize, bytes: i64, mut memory_after: impl FnMut(usize) -> i64) -> bool {
    memory_after(times.div_ceil(10));
    [1, 3, 9].into_iter().all(|longer| {
        let before = memory_after(times.div_ceil(100));
        memory_after(longer * times);
        (0..50).all(|_| {
            std::thread::sleep(Duration::from_millis(20));
            memory_after(0) - before >= bytes
        })
    })
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
