//! Two primaries of a cluster, between which slots are moved step by step.

use crate::support::{Conn, Server, text, wait_until};

pub struct Node {
    pub server: Server,
    pub id: String,
    pub redis: Conn,
}

impl Node {
    fn start(options: &[&str]) -> Node {
        let server = Server::with(&[&["--cluster-enabled", "yes"], options].concat());
        let mut redis = server.connect();
        let id = text(&redis.ok(&["CLUSTER", "MYID"]));
        Node { server, id, redis }
    }

    /// Of a command that a client sends after an ASK.
    pub fn run_asking(&mut self, command: &str) -> String {
        self.redis.ok(&["ASKING"]);
        self.redis.run(command)
    }

    /// What a refused command may not change, here and on replicas.
    fn state(&mut self) -> [String; 2] {
        [self.redis.digest(), self.redis.replicated()]
    }
}

pub struct Pair {
    /// Has all slots but one at first.
    pub source: Node,
    pub target: Node,
}

impl Pair {
    pub fn start() -> Pair {
        Self::with(&[])
    }

    /// With further options of both servers.
    pub fn with(options: &[&str]) -> Pair {
        let (mut source, mut target) = (Node::start(options), Node::start(options));
        source.redis.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16382"]);
        // A primary that gives its last slot away becomes the other's replica.
        target.redis.ok(&["CLUSTER", "ADDSLOTS", "16383"]);
        let port = target.server.port.to_string();
        source.redis.ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        let mut pair = Pair { source, target };
        wait_until("two nodes that know each other", || {
            [&mut pair.source, &mut pair.target].iter_mut().all(|node| {
                let info = node.redis.run("CLUSTER INFO");
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
            })
        });
        pair
    }

    /// Forgets all data.
    pub fn empty(&mut self) {
        for node in [&mut self.source, &mut self.target] {
            node.redis.ok(&["FLUSHALL"]);
        }
    }

    pub fn begin(&mut self, slot: &str) {
        let Pair { source, target } = self;
        let words = ["CLUSTER", "SETSLOT", slot, "IMPORTING", &source.id];
        target.redis.ok(&words);
        let words = ["CLUSTER", "SETSLOT", slot, "MIGRATING", &target.id];
        source.redis.ok(&words);
    }

    /// Moves these keys, in the words of the tests' tables.
    pub fn migrate(&mut self, keys: &[&str]) {
        if !keys.is_empty() {
            let (port, keys) = (self.target.server.port, keys.join(" "));
            let moved = format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 KEYS {keys}");
            assert_eq!(self.source.redis.run(&moved), "OK", "{moved}");
        }
    }

    /// Moves what is left, and gives the slot away.
    pub fn finish(&mut self, slot: &str) {
        let keys = self
            .source
            .redis
            .run(&format!("CLUSTER GETKEYSINSLOT {slot} 1000"));
        let keys: Vec<&str> = keys.trim_matches(['[', ']']).split_whitespace().collect();
        self.migrate(&keys);
        let done = format!("CLUSTER SETSLOT {slot} NODE {}", self.target.id);
        assert_eq!(self.target.redis.run(&done), "OK");
        assert_eq!(self.source.redis.run(&done), "OK");
        // Else the next move could be given the same epoch, and one of them would be undone.
        let epoch = |node: &mut Node, id: &str| {
            let nodes = node.redis.run("CLUSTER NODES");
            let line = nodes.split("\\n").find(|line| line.starts_with(id));
            line.and_then(|line| line.split(' ').nth(6).map(str::to_string))
        };
        let id = self.target.id.clone();
        wait_until("the new owner's epoch", || {
            epoch(&mut self.source, &id) == epoch(&mut self.target, &id)
        });
    }

    /// Moves the whole slot, or back when it has been moved.
    pub fn swap(&mut self) {
        std::mem::swap(&mut self.source, &mut self.target);
    }

    /// The reply that a client of a cluster gets: it goes where ASK and MOVED send it.
    pub fn run(&mut self, command: &str) -> String {
        match self.source.redis.run(command) {
            reply if reply.starts_with("ASK ") => self.target.run_asking(command),
            reply if reply.starts_with("MOVED ") => self.target.redis.run(command),
            reply => reply,
        }
    }

    pub fn state(&mut self) -> [[String; 2]; 2] {
        [self.source.state(), self.target.state()]
    }
}
