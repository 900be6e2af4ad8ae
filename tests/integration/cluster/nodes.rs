//! A cluster of three primaries and three replicas, as scripts/cluster.sh starts it.

use super::atomic::move_atomically;
use crate::support::{Conn, module, text, wait_until};
use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Client, Value};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long a node is silent before it counts as failed.
const NODE_TIMEOUT_MS: &str = "1000";

pub struct Nodes {
    dir: TempDir,
    pub ports: Vec<u16>,
}

/// As a node tells it.
pub struct Primary {
    pub id: String,
    pub port: u16,
    pub slots: Vec<(u16, u16)>,
}

impl Nodes {
    pub fn start() -> Nodes {
        let dir = tempfile::tempdir().expect("a folder");
        let mut nodes = Nodes {
            dir,
            ports: Vec::new(),
        };
        let lines = nodes.script("start");
        let port = |line: &str| line.split(' ').next().and_then(|port| port.parse().ok());
        nodes.ports = lines.lines().filter_map(port).collect();
        assert_eq!(nodes.ports.len(), 6, "{lines}");
        nodes
    }

    /// Starts those that are down, and waits until all agree.
    pub fn start_again(&self) {
        self.script("start");
    }

    fn script(&self, action: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster.sh");
        let output = Command::new(script)
            .args([action, self.dir.path().to_str().expect("a path")])
            .env("DIRTY_MODULE", module())
            .env("CLUSTER_TIMEOUT", NODE_TIMEOUT_MS)
            .output()
            .expect("the script");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cluster.sh {action}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// As the kernel or a power cut does.
    pub fn kill(&self, port: u16) {
        let file = self.dir.path().join(port.to_string()).join("pid");
        let pid = std::fs::read_to_string(file).expect("its process id");
        // The shell's own: the program is in procps, which need not be there.
        let killed = Command::new("sh")
            .args(["-c", "kill -9 \"$0\"", pid.trim()])
            .status();
        assert!(killed.expect("sh").success());
        wait_until("its end", || {
            Client::open(("127.0.0.1", port))
                .and_then(|client| client.get_connection())
                .is_err()
        });
    }

    /// A connection to one node.
    pub fn connect(&self, port: u16) -> Conn {
        // One that was just started again may drop the first.
        let mut found = None;
        wait_until("a node that answers", || {
            found = Conn::try_to(port);
            found.is_some()
        });
        found.expect("a connection")
    }

    /// The cluster-aware client of a library.
    pub fn client(&self) -> ClusterConnection {
        self.try_client().expect("a connection to a cluster")
    }

    pub fn try_client(&self) -> redis::RedisResult<ClusterConnection> {
        let urls = self
            .ports
            .iter()
            .map(|port| format!("redis://127.0.0.1:{port}"));
        let client = ClusterClient::builder(urls)
            .connection_timeout(Duration::from_secs(2))
            .response_timeout(Duration::from_secs(10))
            .min_retry_wait(2)
            .max_retry_wait(20)
            .build();
        client?.get_connection()
    }

    /// Those that this node knows, with the slots they serve.
    pub fn primaries(&self, port: u16) -> Vec<Primary> {
        let nodes = self.connect(port).ok(&["CLUSTER", "NODES"]);
        let nodes = match &nodes {
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => text(other),
        };
        let primary = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, flags) = (words.get(1)?, words.get(2)?);
            let port = address.split(['@', ':']).nth(1)?.parse().ok()?;
            let is_serving = flags.contains("master") && !flags.contains("fail");
            let slots = words.get(8..)?.iter().filter_map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                Some((first.parse().ok()?, last.parse().ok()?))
            });
            is_serving.then(|| Primary {
                id: words[0].into(),
                port,
                slots: slots.collect(),
            })
        };
        nodes.lines().filter_map(primary).collect()
    }

    /// How often an error was answered, by all nodes that run.
    pub fn errors(&self, code: &str) -> u64 {
        let count = |port: &u16| {
            let stats = self.connect(*port).run("INFO errorstats");
            let count = stats.split_once(&format!("errorstat_{code}:count="));
            let digits = |rest: &str| rest.split("\\r").next().and_then(|n| n.parse().ok());
            count.and_then(|(_, rest)| digits(rest)).unwrap_or(0)
        };
        self.ports.iter().map(count).sum()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.script("stop");
    }
}

/// Moves slots between primaries as `redis-cli --cluster reshard` does: key by key, while clients go on.
pub struct Mover<'n> {
    nodes: &'n Nodes,
    primaries: Vec<Primary>,
    owners: BTreeMap<u16, usize>,
}

impl<'n> Mover<'n> {
    pub fn new(nodes: &'n Nodes) -> Self {
        Mover {
            nodes,
            primaries: nodes.primaries(nodes.ports[0]),
            owners: BTreeMap::new(),
        }
    }

    /// Where a slot is, and the primary that gets it next.
    fn way(&self, slot: u16) -> (usize, usize) {
        let of_old = |primary: &Primary| {
            let mut slots = primary.slots.iter();
            slots.any(|(first, last)| (first..=last).contains(&&slot))
        };
        let first = self.primaries.iter().position(of_old).expect("an owner");
        let from = *self.owners.get(&slot).unwrap_or(&first);
        (from, (from + 1) % self.primaries.len())
    }

    /// Moves a slot to the next primary as a whole.
    pub fn shift_atomically(&mut self, slot: u16) {
        let (from, to) = self.way(slot);
        let (source, target) = (&self.primaries[from], &self.primaries[to]);
        let mut here = self.nodes.connect(source.port);
        let mut there = self.nodes.connect(target.port);
        move_atomically(&mut here, &mut there, &slot.to_string(), &target.id);
        self.owners.insert(slot, to);
    }

    /// Moves a slot to the next primary, and pauses after each few keys.
    pub fn shift(&mut self, slot: u16, mut pause: impl FnMut()) {
        let (from, to) = self.way(slot);
        let (source, target) = (&self.primaries[from], &self.primaries[to]);
        let (mut here, mut there) = (
            self.nodes.connect(source.port),
            self.nodes.connect(target.port),
        );
        let slot_text = slot.to_string();
        there.ok(&["CLUSTER", "SETSLOT", &slot_text, "IMPORTING", &source.id]);
        here.ok(&["CLUSTER", "SETSLOT", &slot_text, "MIGRATING", &target.id]);
        loop {
            pause();
            let keys = here.ok(&["CLUSTER", "GETKEYSINSLOT", &slot_text, "2"]);
            let Value::Array(keys) = keys else {
                panic!("no keys: {keys:?}")
            };
            if keys.is_empty() {
                break;
            }
            let port = target.port.to_string();
            let mut words = vec!["MIGRATE".to_string(), "127.0.0.1".into(), port];
            words.extend(["".into(), "0".into(), "5000".into(), "KEYS".into()]);
            words.extend(keys.iter().map(text));
            assert_eq!(here.raw(&words), "OK", "{words:?}");
        }
        there.ok(&["CLUSTER", "SETSLOT", &slot_text, "NODE", &target.id]);
        here.ok(&["CLUSTER", "SETSLOT", &slot_text, "NODE", &target.id]);
        self.owners.insert(slot, to);
    }
}
