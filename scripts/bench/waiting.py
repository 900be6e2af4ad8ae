"""Many readers wait for the next event of a stream, and all of them get it: the server's CPU time for each, from the flush
to the last reply."""

import time

from figures import CPU
from server import Connection, as_dict, encoded

WAITERS = [10, 30, 100, 300]


class Kind:
    """Readers of one kind, on a stream of their own, and the commands by which they wait."""

    reader = []  # what DIRTY.READER is told

    def __init__(self, server, connections):
        self.server, self.connections = server, connections
        self.type = f"{self.name}{len(connections)}"
        self.stream = f"{self.type}-changes"
        self.replies = [None] * len(connections)
        self.ok("DIRTY.DECLARE", self.type, "STATELESS", "STREAM", self.stream)
        for number in range(len(connections)):
            if self.reader:
                kind, *options = self.reader
                self.ok("DIRTY.READER", self.stream, kind, f"reader{number}", "FROM", "$", *options)

    def ok(self, *words):
        reply = self.server.call(*words)
        if reply != b"OK":
            raise RuntimeError(f"{words}: {reply!r}")

    def woken(self):
        """Seconds of CPU that one event takes."""
        for number, (connection, reply) in enumerate(zip(self.connections, self.replies)):
            connection.socket.sendall(encoded(*self.wait(number, reply)))
        while int(self.server.info("clients", "blocked_clients")) < len(self.connections):
            time.sleep(0.002)
        before = self.server.process_cpu()
        reply = self.server.call("DIRTY.FLUSH", self.type, "UPDATE", 1, 1, "a", "b", "c")
        if reply != [b"update"]:
            raise RuntimeError(f"a flush: {reply!r}")
        self.replies = [connection.reply() for connection in self.connections]
        return self.server.process_cpu() - before


class Native(Kind):
    name = "native"

    def wait(self, _, reply):
        return ["XREAD", "BLOCK", 0, "STREAMS", self.stream, reply[0][1][-1][0] if reply else "$"]


class Looks(Kind):
    name = "looks"

    def wait(self, _, reply):
        return ["DIRTY.READ", self.stream, "FROM", as_dict(reply)[b"position"] if reply else "$", "BLOCK", 0]


class Cursors(Kind):
    name = "cursors"
    reader = ["CURSOR"]

    def wait(self, number, reply):
        ack = ["ACK", as_dict(reply)[b"position"]] if reply else []
        return ["DIRTY.CONSUME", self.stream, "CURSOR", f"reader{number}", *ack, "BLOCK", 0]


class Filtered(Cursors):
    name = "filtered"

    def __init__(self, server, connections):
        self.reader = ["CURSOR", "WHERE", "ENTITY", f"filtered{len(connections)}", "OPS", "U"]
        super().__init__(server, connections)


class Groups(Kind):
    name = "groups"
    reader = ["GROUP"]

    def wait(self, number, reply):
        ack = ["ACK", 1, as_dict(reply)[b"events"][0][1]] if reply else []
        return ["DIRTY.CONSUME", self.stream, "GROUP", f"reader{number}", "me", *ack, "BLOCK", 0]


def waiting(bench, server):
    every = [Connection(server.port) for _ in range(min(bench.waiting, WAITERS[-1]))]
    sizes = dict.fromkeys(min(size, len(every)) for size in WAITERS)
    kinds = [kind(server, every[:size]) for size in sizes for kind in (Native, Looks, Cursors, Filtered, Groups)]
    for number in range(bench.rounds + 1):
        for kind in kinds:
            count = len(kind.connections)
            # About as many replies of each size.
            turns = max(2, bench.requests // 50 // count) if number else 1
            cpu = sum(kind.woken() for _ in range(turns))
            if number > 0:
                bench.add("waiting", kind.name, count, CPU, cpu * 1e6 / turns / count)
    for connection in every:
        connection.socket.close()
