//! How long it takes until a reader that waits has its event, beside native readers. `make bench` runs it:
//! it measures and checks nothing.

use super::support::{Conn, Server, words};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3000;

/// The times from the sending of a write to the arrival of the reply at a reader that waits.
fn measure(server: &Server, write: &str, read: &str) -> Vec<Duration> {
    let (mut writer, mut reader) = (server.connect(), server.connect());
    let sleep = || std::thread::sleep(Duration::from_micros(300));
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            reader.send(&words(read)).expect("a connection");
            sleep(); // until it waits
            let start = Instant::now();
            let write = write.replace("ROUND", &round.to_string());
            writer.send(&words(&write)).expect("a connection");
            reader.receive().expect("a reply");
            let time = start.elapsed();
            writer.receive().expect("a reply");
            time
        })
        .collect();
    times.sort_unstable();
    times
}

fn prepared() -> (Server, Conn) {
    let server = Server::start();
    let mut redis = server.connect();
    redis.run("DIRTY.DECLARE user STREAM events");
    redis.run("XGROUP CREATE plain g $ MKSTREAM");
    redis.run("XGROUP CREATE events g $ MKSTREAM");
    (server, redis)
}

#[test]
#[ignore = "a measurement"]
fn waking_up_takes_as_long_as_for_native_readers() {
    let (server, _redis) = prepared();
    let native = || {
        let read = "XREADGROUP GROUP g c BLOCK 0 NOACK STREAMS plain >";
        measure(
            &server,
            "XADD plain * s 012345678901234567890123456789",
            read,
        )
    };
    let ours = || {
        let read = "DIRTY.CONSUME events GROUP g c BLOCK 0";
        measure(&server, "DIRTY.FLUSH user SNAPSHOT 1 1 n ROUND", read)
    };
    // Once to warm up, then by turns.
    native();
    ours();
    let (native, ours) = (native(), ours());
    println!(
        "{:46}{:>12}{:>12}",
        "from a write to the reply of a reader that waits", "median µs", "99 % µs"
    );
    let at = |times: &[Duration], share: usize| times[times.len() * share / 100].as_micros();
    for (name, times) in [
        ("XADD to XREADGROUP BLOCK", &native),
        ("DIRTY.FLUSH to DIRTY.CONSUME BLOCK", &ours),
    ] {
        println!("{name:46}{:>12}{:>12}", at(times, 50), at(times, 99));
    }
    let ratio = |share| at(&ours, share) as f64 / at(&native, share) as f64;
    println!(
        "{:46}{:>12.2}{:>12.2}",
        "ratio (goal 1.2 or less)",
        ratio(50),
        ratio(99)
    );
}
