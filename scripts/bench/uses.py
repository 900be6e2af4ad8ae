"""What users do all day, measured as they do it: seed a table, send it again, flush one entity from one client."""

import random

import contestants as all_of
from contestants import FLUSH, LIMIT, LUA
from figures import P50, RATE
from server import encoded

ROWS = 1_000_000
PER_COMMAND = 100  # rows
COMMANDS = [1, 10, 100, 200, 500, 1000, 10_000]  # rows of each, of a tenth of the table
PER_PIPE = 10_000  # rows that are encoded before the clock runs


def seeding(bench, server):
    """A table of rows with ten columns goes in by SEED, 100 rows a command on one connection, and again by SNAPSHOT: then
    nothing changes. What HSET takes for the same is what Redis itself needs."""
    rows = min(ROWS, bench.entities)
    ways = {
        "hset": lambda id: encoded("HSET", f"hash:{id}", *all_of.pairs(id)),
        "seed": lambda ids: flush("SEED", ids),
        "same": lambda ids: flush("SNAPSHOT", ids),
    }

    def flush(operation, ids):
        operations = [word for id in ids for word in (operation, id, 10, *all_of.pairs(id))]
        return encoded("DIRTY.FLUSH", "seeded", *operations)

    for way, command in ways.items():
        size = 1 if way == "hset" else PER_COMMAND
        memory, seconds = int(server.info("memory", "used_memory")), 0
        for begin in range(0, rows, PER_PIPE):
            ids = [f"{id:012}" for id in range(begin, min(begin + PER_PIPE, rows))]
            parts = ids if size == 1 else [ids[at : at + size] for at in range(0, len(ids), size)]
            seconds += server.call.pipe(b"".join(map(command, parts)))
        bench.add("seeding", way, rows, RATE, rows / seconds)
        if way != "same":
            used = int(server.info("memory", "used_memory")) - memory
            bench.add("seeding", way, rows, "bytes", used / rows)
    commands_of_all_sizes(bench, server, rows // 10, lambda ids: flush("SEED", ids))


def commands_of_all_sizes(bench, server, rows, command):
    """The same by more and fewer rows a command, each into an empty database."""
    pipes = max(1, rows // PER_PIPE)
    for _ in range(bench.rounds):
        for size in COMMANDS:
            check_events(server)
            server.call("FLUSHALL")
            server.call("DIRTY.DECLARE", "seeded", "STREAM", "seeded-changes", *LIMIT)
            seconds = 0
            for pipe in range(pipes):
                ids = [f"{id:012}" for id in range(pipe * PER_PIPE, (pipe + 1) * PER_PIPE)]
                parts = [ids[at : at + size] for at in range(0, len(ids), size)]
                seconds += server.call.pipe(b"".join(map(command, parts)))
            bench.add("rows a command", "seed", size, RATE, pipes * PER_PIPE / seconds)
    check_events(server)


def check_events(server):
    if server.entries_added("seeded-changes"):
        raise RuntimeError("seeding published events")


def one_client(bench, server):
    """One client saves one entity after the other and waits for each reply: by FLUSH, by a Lua function, and by what it
    would do without either: WATCH and HGETALL, then MULTI, HSET, XADD and EXEC."""
    turns = max(50, bench.requests // 100)

    def by_itself(id, value):
        yield [encoded("WATCH", f"hash:{id}"), encoded("HGETALL", f"hash:{id}")]
        yield [
            encoded("MULTI"),
            encoded("HSET", f"hash:{id}", "logins", value),
            encoded("XADD", "plain-changes", *LIMIT, "*", "s", all_of.EVENT),
            encoded("EXEC"),
        ]

    ways = {
        "flush": lambda id, value: [[encoded(*FLUSH.command(id, value))]],
        "lua": lambda id, value: [[encoded(*LUA.command(id, value))]],
        "watch": by_itself,
    }
    for _ in range(bench.rounds):
        for way, steps in ways.items():
            seconds = []
            for _ in range(turns):
                id, value = (f"{random.randrange(bench.keys):012}" for _ in range(2))
                seconds.append(sum(server.call.pipelined(step) for step in steps(id, value)))
            bench.add("one client", way, 10, P50, sorted(seconds)[len(seconds) // 2] * 1e6)
