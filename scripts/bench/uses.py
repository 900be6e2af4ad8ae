"""What users do all day with a table of a million rows, measured as they do it: seed it, send it again, read all of it, and
make it equal to the rows of a database."""

import re
import time

import contestants as all_of
from contestants import LIMIT, RANDOM
from figures import CPU, RATE
from server import as_dict, encoded

ROWS = 1_000_000
PER_COMMAND = 100  # rows
COMMANDS = [1, 10, 100, 200, 500, 1000, 10_000]  # rows of each, of a tenth of the table
PER_PIPE = 10_000  # rows that are encoded before the clock runs
NATIVE = 1  # the database with the rows that HSET has stored: SCAN looks at all keys of one


class Table:
    """Rows, and the commands that send them; their last value is their id, unless it is given."""

    def __init__(self, rows, key="seeded", value=RANDOM):
        self.rows, self.key, self.value = rows, key, value

    def hset(self, ids, hashes="hash:"):
        row = encoded("HSET", hashes + RANDOM, *all_of.pairs(self.value))
        return (row.replace(RANDOM.encode(), b"%012d" % id) for id in ids)

    def flush(self, *operation):
        """By PER_COMMAND rows; the operation, then options of the command."""
        return lambda ids: self.flushes(PER_COMMAND, ids, *operation)

    def flushes(self, size, ids, operation, *options):
        words = [operation, RANDOM, 10, *all_of.pairs(self.value)]
        row = encoded(*words).split(b"\r\n", 1)[1]
        head = encoded("DIRTY.FLUSH", self.key, *options).split(b"\r\n", 1)[1]
        for at in range(0, len(ids), size):
            some = ids[at : at + size]
            count = 2 + len(options) + len(some) * len(words)
            yield b"*%d\r\n" % count + head + b"".join(row.replace(RANDOM.encode(), b"%012d" % id) for id in some)

    def seconds(self, server, command, begin=0, end=None):
        """What those rows take to send: not what it takes to encode them."""
        end, taken = self.rows if end is None else end, 0
        for first in range(begin, end, PER_PIPE):
            taken += server.call.pipe(b"".join(command(range(first, min(first + PER_PIPE, end)))))
        return taken


def seeding(bench, server):
    """The table goes in by SEED, 100 rows a command on one connection, and again by SNAPSHOT: then nothing changes. What HSET
    takes for the same is what Redis itself needs. Then all of it is read, and a run of DIRTY.RECONCILE deletes a tenth."""
    table = Table(min(ROWS, bench.entities))
    most = table.rows * 9 // 10

    def measure(what, rows, act):
        cpu, begin = server.cpu(), time.perf_counter()
        seconds = act() or time.perf_counter() - begin
        bench.add("seeding", what, table.rows, RATE, rows / seconds)
        bench.add("seeding", what, table.rows, CPU, (server.cpu() - cpu) * 1e6 / rows)

    def filled(what, command):
        memory = int(server.info("memory", "used_memory"))
        measure(what, table.rows, lambda: table.seconds(server, command))
        used = int(server.info("memory", "used_memory")) - memory
        bench.add("seeding", what, table.rows, "bytes", used / table.rows)

    server.call("SELECT", NATIVE)
    filled("hset", table.hset)
    measure("scan native", table.rows, lambda: scan_native(server, table.rows))
    server.call("FLUSHDB")
    server.call("SELECT", 0)
    filled("seed", table.flush("SEED"))
    measure("same", table.rows, lambda: table.seconds(server, table.flush("SNAPSHOT")))
    measure("scan", table.rows, lambda: scan(server, table))
    measure("snapshot", table.rows, lambda: snapshot(server, table))
    server.call("DIRTY.RECONCILE", "seeded", "BEGIN", "r")
    measure("run", most, lambda: table.seconds(server, table.flush("SNAPSHOT", "RUN", "r"), 0, most))
    check_events(server, 0)
    measure("sweep", table.rows, lambda: sweep(server))
    check_events(server, table.rows - most)
    commands_of_all_sizes(bench, server)


def scan_native(server, rows):
    cursor, read = b"0", 0
    while True:
        cursor, keys = server.call("SCAN", cursor, "MATCH", "hash:*", "COUNT", PER_COMMAND, "TYPE", "hash")
        server.call.ends(*(encoded("HGETALL", key) for key in keys))
        read += len(keys)
        if cursor == b"0":
            break
    if read < rows:
        raise RuntimeError(f"SCAN has given {read} of {rows} keys")


def scan(server, table):
    cursor, pages = b"0", 0
    while True:
        head, _ = server.call.ends(encoded("DIRTY.SCAN", table.key, cursor, "COUNT", PER_COMMAND))
        _, _, cursor, page, _ = head.split(b"\r\n", 4)
        pages += int(page[1:])
        if cursor == b"0":
            break
    if pages < table.rows:
        raise RuntimeError(f"DIRTY.SCAN has given {pages} of {table.rows} entities")


def snapshot(server, table):
    """A cursor is given all entities, a page at a time."""
    stream = f"{table.key}-changes"
    server.call("DIRTY.READER", stream, "CURSOR", "c", "FROM", "SNAPSHOT", 1, table.key)
    ack, scanned, phase = [], 0, b"snapshot"
    while phase == b"snapshot":
        _, tail = server.call.ends(encoded("DIRTY.CONSUME", stream, "CURSOR", "c", *ack, "COUNT", PER_COMMAND))
        told = dict(re.findall(rb"\r\n(phase|position|scanned)\r\n(?:\$\d+\r\n|[:+])([^\r]+)", tail))
        ack, phase, scanned = ["ACK", told[b"position"]], told.get(b"phase"), max(scanned, int(told.get(b"scanned", 0)))
    if scanned < table.rows:
        raise RuntimeError(f"the cursor was given {scanned} of {table.rows} entities")
    server.call("DIRTY.FORGET", stream, "CURSOR", "c")


def sweep(server):
    """What was not sent is counted, then deleted."""
    phase = b""
    while phase != b"done":
        phase = as_dict(server.call("DIRTY.RECONCILE", "seeded", "SWEEP", "r", "MAXDELETE", "100%"))[b"phase"]


def commands_of_all_sizes(bench, server):
    """Seeding by more and fewer rows a command, each into an empty database."""
    table = Table(max(PER_PIPE, min(ROWS, bench.entities) // 10))
    for _ in range(bench.rounds):
        for size in COMMANDS:
            server.call("FLUSHALL")
            server.call("DIRTY.DECLARE", "seeded", "STREAM", "seeded-changes", *LIMIT)
            seconds = table.seconds(server, lambda ids: table.flushes(size, ids, "SEED"))
            bench.add("rows a command", "seed", size, RATE, table.rows / seconds)
            check_events(server, 0)


def check_events(server, wanted):
    found = server.entries_added("seeded-changes")
    if found != wanted:
        raise RuntimeError(f"{found} events were published, not {wanted}")
