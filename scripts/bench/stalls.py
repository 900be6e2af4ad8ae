"""How long the server keeps others waiting: the longest PING of a client of its own, beside what walks over a million
entities, sends their rows again, and deletes them."""

import multiprocessing
import time

import contestants as all_of
from contestants import FLUSH, LIMIT
from figures import HELD, PING
from server import CPU_TIME, Connection, as_dict, encoded
from uses import PER_COMMAND, ROWS, Table, scan, snapshot

AT_ONCE = 10_000  # operations of one command, the most that there may be
STREAMS = 3


class Pings:
    """Another process that sends one PING after the other while the block runs."""

    def __init__(self, server):
        self.ours, theirs = multiprocessing.Pipe()
        arguments = server.port, server.process.pid, theirs
        self.process = multiprocessing.Process(target=ping, args=arguments, daemon=True)

    def __enter__(self):
        self.process.start()
        self.ours.recv()
        return self

    def __exit__(self, *_):
        self.ours.send(None)
        self.longest, self.held = self.ours.recv()
        self.process.join()


def ping(port, server, parent):
    """Tells the longest when the parent has asked for it: in seconds, and in seconds of CPU that the server took
    meanwhile, which is less where others have the machine, too."""
    connection, longest, held, command = Connection(port), 0.0, 0.0, encoded("PING")
    clock = ~server << 3 | CPU_TIME
    connection.timed([command])
    parent.send(None)
    while not parent.poll():
        for _ in range(20):
            before = time.clock_gettime(clock)
            longest = max(longest, connection.timed([command])[0])
            held = max(held, time.clock_gettime(clock) - before)
    parent.send((longest, held))


class Walked:
    """A declaration with a few streams, a million entities of ten fields, and who does something with all of them."""

    def __init__(self, bench, server, fill):
        self.bench, self.server, self.call = bench, server, server.call
        self.rows = min(ROWS, bench.entities)
        self.table = Table(self.rows, "walked", all_of.ZERO)
        self.fill = lambda: fill(server, "walked:", FLUSH.stored(), 0, self.rows)
        streams = [word for n in range(STREAMS) for word in ("STREAM", f"walked-{n}", *LIMIT)]
        full = ["STREAM", "walked-changes", *LIMIT, "PAYLOAD", "FULL"]
        self.ok("DIRTY.DECLARE", "walked", *streams, *full)

    def ok(self, *words):
        reply = self.call(*words)
        if reply != b"OK":
            raise RuntimeError(f"{words}: {reply!r}")

    def beside(self, what, act):
        with Pings(self.server) as pings:
            act()
        self.bench.add("stalls", what, self.rows, PING, pings.longest * 1e3)
        self.bench.add("stalls", what, self.rows, HELD, pings.held * 1e3)

    def flush(self, options, end, per_command=PER_COMMAND):
        """The first rows, which are stored already."""
        self.table.seconds(self.server, lambda ids: self.table.flushes(per_command, ids, "SNAPSHOT", *options), 0, end)

    def hset(self):
        """What a pipeline of the server's own commands does to others."""
        self.table.seconds(self.server, lambda ids: self.table.hset(ids, "walked:"))

    def sweep(self, run, until, *options):
        """Until it is in this phase."""
        phase = b""
        while phase != until:
            reply = as_dict(self.call("DIRTY.RECONCILE", "walked", "SWEEP", run, "MAXDELETE", "100%", *options))
            phase = reply[b"phase"]
        return reply

    def reconcile(self):
        """Half of the rows are sent; the other half is missing."""
        half = self.rows // 2
        self.ok("DIRTY.RECONCILE", "walked", "BEGIN", "r")
        self.beside("RUN", lambda: self.flush(["RUN", "r"], half))
        self.beside("SWEEP, counting", lambda: self.sweep("r", b"done", "DRYRUN"))
        self.beside("SWEEP, counting again", lambda: self.sweep("r", b"deleting"))
        self.beside("SWEEP, deleting", lambda: self.sweep("r", b"done"))
        found = int(as_dict(self.call("DIRTY.RECONCILE", "walked", "STATUS", "r"))[b"deleted"])
        if found != self.rows - half:
            raise RuntimeError(f"{found} entities were deleted")

    def abort(self):
        """A run that has counted all of them as missing."""
        self.ok("DIRTY.RECONCILE", "walked", "BEGIN", "a")
        self.sweep("a", b"deleting")

        def end():
            time.sleep(0.1)
            self.call("DIRTY.RECONCILE", "walked", "ABORT", "a")
            time.sleep(0.1)

        self.beside("ABORT", end)


def stalls(bench, server, fill):
    walked = Walked(bench, server, fill)
    for _ in range(max(1, bench.rounds // 2)):  # each takes a minute
        walked.fill()
        walked.beside("nothing", lambda: time.sleep(0.2 if bench.rounds == 1 else 5))
        walked.beside("HSET, pipelined", walked.hset)
        walked.beside("SCAN", lambda: scan(server, walked.table))
        walked.beside("SNAPSHOT", lambda: snapshot(server, walked.table))
        walked.beside("FLUSH of 100", lambda: walked.flush([], walked.rows))
        walked.beside("FLUSH of 10,000", lambda: walked.flush([], walked.rows, AT_ONCE))
        walked.abort()
        walked.reconcile()
