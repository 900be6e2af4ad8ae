"""Clients that wait for each reply, as applications do: by FLUSH, by a Lua function, and by what they would do without
either. They are client.c, so that they are not what is measured."""

import subprocess

import contestants as all_of
from contestants import FLUSH, HSET, LUA, RANDOM
from figures import AGAIN, CLIENT, CPU, P50, P99, RATE
from server import client

# Connections, and entities that each saves at once.
SIZES = {"1 client": (1, 1), "50 clients": (50, 1), "1 client, 100 at once": (1, 100)}


def ways(entities):
    """What client.c is told; the Lua function takes one entity."""
    operation = FLUSH.command()[2:]
    yield "flush", ["once", *FLUSH.command()[:2], *operation * entities], FLUSH.streams
    if entities == 1:
        yield "lua", ["once", *LUA.command()], LUA.streams
    yield "watch", ["watch", HSET.hashes, "plain-changes", all_of.EVENT, *all_of.pairs(RANDOM)], ("plain-changes",)


def clients(bench, server, fill):
    for contestant in (FLUSH, LUA, HSET):
        fill(server, contestant.hashes, contestant.stored(), 0, bench.keys)
    for number in range(bench.rounds + 1):
        for size, (connections, entities) in SIZES.items():
            requests = max(connections, bench.requests // (3 if connections > 1 else 15) // entities)
            for way, words, (stream,) in ways(entities):
                before, cpu = server.entries_added(stream), server.cpu()
                numbers = saved(server, connections, max(50, requests // (1 if number else 4)), entities, bench.keys, words)
                cpu = server.cpu() - cpu
                if number > 0:
                    note(bench, way, size, entities, numbers, cpu)
                # A random value meets itself now and then.
                added, wanted = server.entries_added(stream) - before, numbers["requests"] * entities
                if not 0.97 * wanted <= added <= wanted:
                    raise RuntimeError(f"{way}: {added} events of {wanted}")


def saved(server, connections, requests, entities, keys, words):
    """One run of client.c."""
    command = [client(), server.port, connections, requests, entities, keys, *words]

    def run():
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)

    if connections > 1:
        done = run()
    else:
        with server.on_one_core():
            done = run()
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-500:])
    names = "rate", "p50", "p99", "again", "busy"
    return {"requests": requests, **dict(zip(names, map(float, done.stdout.split())))}


def note(bench, way, size, entities, numbers, cpu):
    entities_saved = numbers["requests"] * entities
    for unit, value in (
        (RATE, numbers["rate"] * entities),
        (CPU, cpu * 1e6 / entities_saved),
        (P50, numbers["p50"]),
        (P99, numbers["p99"]),
        (CLIENT, numbers["busy"]),
        (AGAIN, 100 * numbers["again"] / numbers["requests"]),
    ):
        bench.add("clients", way, size, unit, value)
