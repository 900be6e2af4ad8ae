//! Consumers that crash, hang and fail, on servers that are killed and replaced: what they derive by FLUSH … ACK has every
//! event once, in the order of its key.
//!
//! `SOAK_SECONDS=600` goes on for longer.

use crate::support::Server;
use crate::support::pipeline::{Pipeline, ToServer, WORKERS, WRITERS};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant};

const PARTITIONS: u64 = 4;

/// Runs writers and consumers while something happens to the server at this port.
fn during(pipeline: &Pipeline, port: &AtomicU16, waits: bool, mut happens: impl FnMut()) {
    let seconds = std::env::var("SOAK_SECONDS").map_or(6, |text| text.parse().expect("seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    pipeline.declare(&mut ToServer::new(port, waits));
    std::thread::scope(|threads| {
        let write = |writer| pipeline.write(&mut ToServer::new(port, waits), writer, until);
        let work = |worker| pipeline.work(&mut ToServer::new(port, waits), worker);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| threads.spawn(move || write(writer)))
            .collect();
        for worker in 0..WORKERS {
            threads.spawn(move || work(worker));
        }
        let mut rounds = 0u64;
        while Instant::now() < until {
            // A time that looks random.
            std::thread::sleep(Duration::from_millis(400 + (rounds * 7919 + 13) % 700));
            happens();
            rounds += 1;
        }
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        pipeline.end();
        assert!(written.iter().all(Result::is_ok), "a writer failed");
        println!("{rounds} times");
        assert!(rounds > 2);
    });
}

#[test]
fn every_event_has_its_effect_once_and_in_order_however_often_the_server_is_killed() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let port = AtomicU16::new(server.port);
    let pipeline = Pipeline::new(PARTITIONS);
    during(&pipeline, &port, false, || {
        server.kill();
        server.start_again();
    });
    pipeline.check(&mut ToServer::new(&port, false));
}

#[test]
fn every_event_has_its_effect_once_and_in_order_however_often_a_replica_is_promoted() {
    let mut primary = Server::start();
    let mut replica = Server::replica_of(&primary);
    let port = AtomicU16::new(primary.port);
    let pipeline = Pipeline::new(PARTITIONS);
    during(&pipeline, &port, true, || {
        primary.kill();
        replica.connect().ok(&["REPLICAOF", "NO", "ONE"]);
        port.store(replica.port, SeqCst);
        let next = Server::replica_of(&replica);
        primary = std::mem::replace(&mut replica, next);
    });
    pipeline.check(&mut ToServer::new(&port, false));
    primary.wait_for_replica(&replica);
    assert_eq!(replica.connect().digest(), primary.connect().digest());
}
