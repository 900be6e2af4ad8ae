"""What is measured, a function for each group of figures. Each has a server of its own."""

import pathlib
import random
import re
import statistics
import subprocess
import time

import contestants as all_of
import stalls
import uses
from clients import clients
from contestants import DECLARATIONS, ENTITIES, FLOOR, FLOORS, FLUSH, LIMIT, ROUND_TRIP, THROUGHPUT, ZERO
from figures import AOF_BYTES, CPU, P50, P99, RATE
from instructions import instructions
from server import NONE, ROOT, as_dict, encoded
from waiting import waiting

FIELDS = [5, 10, 20, 50, 100, 200, 500]
BATCHES = [1, 3, 10, 30, 100, 300]
STREAMS = [1, 2, 4, 8, 16]
HELD = [0, 10_000, 100_000, 1_000_000]  # events that a group has not finished
COUNTS = [1, 3, 10, 100, 1000]
ORDERS = ["NONE", "ENTITY", "STREAM"]
POPULATIONS = [10_000, 100_000, 1_000_000, 10_000_000]

# Hashes begin with as long a key on both sides, and their fields are what HSET of them would make.
SHAPES = {
    "10 short fields": all_of.pairs(ZERO),
    "1 field": ["name", "Alice"],
    "20 numbers": [word for n in range(20) for word in (f"n{n}", 7**n)],
    "empty values": [word for n in range(10) for word in (f"field{n}", "")],
    "a value of 100 bytes": [*all_of.pairs(ZERO), "text", "x" * 100],
    "a value of 100 kB": ["name", "Alice", "text", "x" * 100_000],
    "512 fields": all_of.numbered(ZERO, 512),  # as many as Redis packs closely
    "513 fields": all_of.numbered(ZERO, 513),
    "2000 fields": all_of.numbered(ZERO, 2000),
}

OTHER_EVENTS = "{}: its streams have other events than its changes"


def expect(what, found, wanted):
    if found != wanted:
        raise RuntimeError(f"{what}: found {found!r}, must be {wanted!r}")


def prepare(server):
    server.call("FUNCTION", "LOAD", pathlib.Path(__file__).with_name("snapshot.lua").read_bytes())
    for declaration in DECLARATIONS:
        declare(server, *declaration)


def declare(server, *words):
    expect(f"declaration of {words[0]}", server.call("DIRTY.DECLARE", *words), b"OK")


def fill(server, hashes, stored, begin, end):
    """Makes the snapshots of ids from begin to end, which are plain hashes. Not written to the AOF, which is
    not read: it would be gigabytes."""
    script = """redis.set_repl(redis.REPL_NONE)
        for id = ARGV[2], ARGV[3] - 1 do
            redis.call('HSET', ARGV[1] .. string.format('%012d', id), unpack(ARGV, 4))
        end"""
    for first in range(begin, end, 50_000):
        server.call("EVAL", script, 0, hashes, first, min(first + 50_000, end), *stored)


def take_turns(bench, server, group, contestants, keys=None):
    """Rounds in which each (contestant, size) runs once, so that what disturbs the machine hits all alike. The
    first one, numbered 0, warms up and does not count."""
    for number in range(bench.rounds + 1):
        for contestant, size in contestants:
            # Fewer of those that take longer.
            weight = contestant.entities if contestant.fields <= 10 else contestant.fields // 5
            requests = max(50, bench.requests // weight, bench.requests // 100)
            if number == 0:
                requests = max(50, requests // 4)
            run = benchmarked(server, contestant, requests, keys or bench.keys)
            if number > 0:
                bench.add(group, contestant.name, size, RATE, run.rate * contestant.entities)
                bench.add(group, contestant.name, size, CPU, run.cpu / contestant.entities)


def benchmarked(server, contestant, requests, keys):
    """Two runs that get the same numbers after all are noticed, since the second changes little: then another is
    made."""
    for _ in range(4):
        before = events(server, contestant)
        run = server.benchmark(contestant.command(), requests, keys)
        if published(server, contestant, before, requests):
            return run
    raise RuntimeError(OTHER_EVENTS.format(contestant.label))


def events(server, contestant):
    return [server.entries_added(stream) for stream in contestant.streams]


def published(server, contestant, before, requests):
    """Whether its streams have grown as they must."""
    grown = [now - then for now, then in zip(events(server, contestant), before)]
    if contestant.publishes:
        # A random value meets itself now and then; then nothing changes.
        return all(count >= requests * contestant.entities * 0.97 for count in grown)
    return not any(grown)


def fill_all(bench, server, contestants):
    """Every entity exists before it is measured, so that each flush is an update."""
    for hashes, stored in {contestant.hashes: contestant.stored() for contestant in contestants}.items():
        if hashes:
            fill(server, hashes, stored, 0, bench.keys)


def prove(server):
    """Each contestant shows that it does its work: an entity is made, changed, and found changed."""
    id, first, second, third = "000000000001", *(f"{n:012}" for n in (1, 2, 3))

    def check(contestant, value, reply):
        expect(f"reply to {contestant.label}", server.call(*contestant.command(id, value)), reply)

    check(all_of.HSET, first, 10)
    check(all_of.HSET, second, 0)
    for contestant in (all_of.LUA, FLUSH):
        check(contestant, first, [b"insert"])
        check(contestant, second, [b"update"])
        check(contestant, second, [b"none"])
    check(all_of.SAME, ZERO, [b"insert"])
    check(all_of.SAME, ZERO, [b"none"])

    def snapshot(contestant):
        return as_dict(server.call("HGETALL", contestant.hashes + id))

    def read(stream):
        """Its events without their ids, which are times."""
        found = server.call("DIRTY.READ", stream, "FROM", 0)[1]
        return [event[2:] for event in found]

    for contestant in (all_of.LUA, FLUSH):
        expect(f"snapshot of {contestant.label}", snapshot(contestant), snapshot(all_of.HSET))
        expect(f"length of {contestant.streams[0]}", server.call("XLEN", contestant.streams[0]), 2)
    expect("the Lua function's events", read("lua-changes"), read("user-changes"))

    check(all_of.JSON, third, [b"update"])
    check(all_of.MSGPACK, third, [b"none"])
    check(all_of.STATELESS, third, [b"update"])
    check(all_of.batch(10), first, [b"update"] + [b"none"] * 9)
    check(all_of.FOUR, second, [b"update"])
    check(all_of.UPDATE, third, [b"update"])
    expect("length of four streams", [server.call("XLEN", stream) for stream in all_of.FOUR.streams], [1] * 4)

    server.call("HSET", all_of.FLOOR_SAME.hashes + ZERO, *all_of.pairs(ZERO))
    server.call("HSET", FLOOR.hashes + id, *all_of.pairs(first))
    check(all_of.FLOOR_SAME, ZERO, [b"none"])
    for contestant, value in zip(FLOORS, (second, ZERO, first, third, second)):
        if contestant.publishes:
            updates = [b"update"] + [b"none"] * (contestant.entities - 1)
            check(contestant, value, updates)
    expect("what the floor stores", snapshot(FLOOR), as_dict([word.encode() for word in all_of.pairs(second)]))

    # XADD gets as many bytes as the module's event of an update has.
    server.call(*all_of.XADD.command())
    floors = [stream for contestant in FLOORS for stream in contestant.streams]
    for stream in ("user-changes", "stateless-changes", "plain-changes", *floors):
        ((_, words),) = server.call("XREVRANGE", stream, "+", "-", "COUNT", 1)
        expect(f"bytes of an event in {stream}", len(words[1]), len(all_of.EVENT))


def throughput(bench, server):
    prove(server)
    fill_all(bench, server, THROUGHPUT + FLOORS)
    take_turns(bench, server, "throughput", [(contestant, 10) for contestant in THROUGHPUT + FLOORS])


def round_trip(bench, server):
    """One client that waits for each reply: of 50 each would measure how long the other 49 take. Not by
    redis-benchmark, which tells such times in steps of 8 µs. Turns are short, for what still differs from second to
    second."""
    with server.on_one_core():
        short_turns(bench, server)


def short_turns(bench, server):
    contestants = [*ROUND_TRIP, FLOOR]
    fill_all(bench, server, contestants)
    turns, requests = max(1, bench.requests // 15 // 100), 100
    for number in range(bench.rounds + 1):
        before = [events(server, contestant) for contestant in contestants]
        times = {contestant.name: [] for contestant in contestants}
        for _ in range(turns):
            for contestant in contestants:
                numbers = (f"{random.randrange(bench.keys):012}" for _ in range(2 * requests))
                commands = [encoded(*contestant.command(*pair)) for pair in zip(numbers, numbers)]
                times[contestant.name] += server.call.timed(commands)
        for contestant, was in zip(contestants, before):
            if not published(server, contestant, was, turns * requests):
                raise RuntimeError(OTHER_EVENTS.format(contestant.label))
        if number > 0:
            for name, seconds in times.items():
                bench.add("round trip", name, 10, P50, statistics.median(seconds) * 1e6)


def fields(bench, server):
    contestants = [(make(count), count) for count in FIELDS for make in (all_of.hset_fields, all_of.flush_fields)]
    for count in FIELDS:
        declare(server, f"fields{count}", "STREAM", f"fields{count}-changes", *LIMIT)
    fill_all(bench, server, [contestant for contestant, _ in contestants])
    take_turns(bench, server, "fields", contestants)


def batch(bench, server):
    contestants = [(all_of.batch(size), size) for size in BATCHES]
    fill_all(bench, server, [FLUSH])
    take_turns(bench, server, "batch", contestants)


def streams(bench, server):
    """One event to each of several streams."""
    for count in STREAMS:
        names = all_of.streams(count).streams
        declare(server, f"streams{count}", "PREFIX", "user:", *[word for name in names for word in ("STREAM", name, *LIMIT)])
    fill_all(bench, server, [FLUSH, all_of.HSET])
    take_turns(bench, server, "streams", [(all_of.HSET, 1), (all_of.XADD, 1), *((all_of.streams(count), count) for count in STREAMS)])


def entities(bench, server):
    """HSET and FLUSH on the same hashes, of which there are ever more."""
    filled = 0
    fill(server, "user:", FLUSH.stored(), 0, 1000)
    each = server.call("MEMORY", "USAGE", "user:000000000001") + 100
    for population in dict.fromkeys(min(size, bench.entities) for size in POPULATIONS):
        needed, free = (population - filled) * each * 1.3 / 1e9, memory_available() / 1e9
        if needed > free:
            bench.say(f"SKIPPED: {population:,} entities need {needed:.1f} GB, and {free:.1f} GB are free")
            break
        fill(server, "user:", FLUSH.stored(), filled, population)
        filled = population
        take_turns(bench, server, "entities", [(contestant, population) for contestant in ENTITIES], keys=population)


def memory_available():
    found = re.search(r"^MemAvailable: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024


def memory(bench, server):
    """Of hashes that HSET and FLUSH have made, and changed after."""
    for number, (shape, words) in enumerate(SHAPES.items()):
        for size, pairs in ((shape, words), (f"{shape}, changed", [*words[:-1], "changed"])):
            server.call("HSET", f"hash:{number}", *pairs)
            server.call("DIRTY.FLUSH", "user", "SNAPSHOT", number, len(pairs) // 2, *pairs)
            for name, key in (("hset", f"hash:{number}"), ("flush", f"user:{number}")):
                # A large hash has two tables while it grows, and moves on with each field that is looked up.
                for field in pairs[::2] * 2:
                    server.call("HGET", key, field)
                bench.add("memory", name, size, "bytes", server.call("MEMORY", "USAGE", key, "SAMPLES", 0))


def reading(bench, server):
    """Batches of events that are acknowledged with the next read: by a group of the module, by a native group, and by a
    native group through floor.c, which decodes nothing but replies as the module does. redis-benchmark cannot send back the ids that
    it was given, so they are looked up before, and one connection sends the whole conversation."""
    count = max(1000, bench.requests // 3 // 1000 * 1000)

    def flush(number):
        turn, entity = divmod(number, bench.keys)
        return encoded("DIRTY.FLUSH", "read", "SNAPSHOT", f"{entity:012}", 10, *all_of.pairs(f"{turn + 1:012}"))

    fill(server, "read:", FLUSH.stored(), 0, bench.keys)
    server.call.pipe(b"".join(map(flush, range(count))))
    ids = [id for id, _ in server.call("XRANGE", "read-changes", "-", "+")]
    expect("events to read", len(ids), count)

    def conversation(group, size):
        for begin in range(0, count + size, size):
            acked = ids[begin - size : begin] if begin else []
            if group == "native":
                if acked:
                    yield encoded("XACK", "read-changes", group, *acked)
                yield encoded("XREADGROUP", "GROUP", group, "me", "COUNT", size, "STREAMS", "read-changes", ">")
            else:
                ack = ["ACK", len(acked), *acked] if acked else []
                command = "FLOOR.CONSUME" if group == "floor" else "DIRTY.CONSUME"
                yield encoded(command, "read-changes", "GROUP", group, "me", *ack, "COUNT", size)

    def begin(group):
        if group == "consume":
            server.call("DIRTY.READER", "read-changes", "GROUP", group, "FROM", 0)
        else:
            server.call("XGROUP", "CREATE", "read-changes", group, 0)

    def end(group):
        """It has read and acknowledged everything."""
        readers = map(as_dict, as_dict(server.call("DIRTY.STATS", "read-changes"))[b"readers"])
        (found,) = [reader for reader in readers if reader[b"name"] == group.encode()]
        expect(f"pending in {group}", found[b"pending"], 0)
        expect(f"last event read by {group}", found[b"position"], ids[-1])
        if group == "consume":
            server.call("DIRTY.FORGET", "read-changes", "GROUP", group)
        else:
            server.call("XGROUP", "DESTROY", "read-changes", group)

    begin("consume")
    found = server.call("DIRTY.CONSUME", "read-changes", "GROUP", "consume", "me", "COUNT", 100)
    expect("updates in one batch", [event[7] for event in found[1]], [b"update"] * 100)
    server.call("DIRTY.FORGET", "read-changes", "GROUP", "consume")
    begin("floor")
    imitated = server.call("FLOOR.CONSUME", "read-changes", "GROUP", "floor", "me", "COUNT", 100)
    expect("events of the floor's reply that are like the others", like(imitated[1], found[1]), 100)
    expect("what else the floor replies", imitated[2:], found[2:3] + [0] + found[4:5] + [0] + found[6:])
    server.call("XGROUP", "DESTROY", "read-changes", "floor")

    for number in range(bench.rounds + 1):
        for size in COUNTS:
            for group in ("native", "consume", "floor"):
                begin(group)
                commands = b"".join(conversation(group, size))
                cpu, aof = server.cpu(), aof_bytes(bench, server)
                seconds = server.call.pipe(commands)
                cpu, aof = server.cpu() - cpu, aof_bytes(bench, server) - aof
                end(group)
                if number > 0:
                    bench.add("reading", group, size, RATE, count / seconds)
                    bench.add("reading", group, size, CPU, cpu * 1e6 / count)
                    if bench.persistence != NONE:
                        bench.add("reading", group, size, AOF_BYTES, aof / count)


def aof_bytes(bench, server):
    return 0 if bench.persistence == NONE else int(server.info("persistence", "aof_current_size"))


def like(events, others):
    """How many have texts and lists as long as those of the others."""

    def shape(reply):
        return list(map(shape, reply)) if isinstance(reply, list) else isinstance(reply, bytes) and len(reply)

    return sum(shape(event) == shape(other) for event, other in zip(events, others))


def pending(bench, server):
    """What grows with the events that a group has not finished, and should not: a call for which nothing is due, by another
    consumer; FAIL, HOLD and LEAVE of one of them."""
    sizes = list(dict.fromkeys(min(size, bench.entities) for size in HELD))
    most, few, calls = sizes[-1], sizes[1], max(200, min(5000, bench.requests // 10))
    declare(server, "pending", "STATELESS", "STREAM", "pending-changes")
    update = encoded("DIRTY.FLUSH", "pending", *["UPDATE", 1, 1, "a", "b", "c"] * 1000)
    server.call.pipe(update * (most // 1000))
    ids = [id for id, _ in server.call("XRANGE", "pending-changes", "-", "+")]
    expect("events", len(ids), most)

    def group(name, order, held):
        """One whose consumer holds the last `held` events of the stream."""
        start = "$" if held == 0 else 0 if held == most else ids[-held - 1]
        words = ["FROM", start, "ORDER", order, "MAXPENDING", most + 1, "CLAIM", 10**9]
        expect("a group", server.call("DIRTY.READER", "pending-changes", "GROUP", name, *words), b"OK")
        each = min(held, 10_000)
        read = encoded("DIRTY.CONSUME", "pending-changes", "GROUP", name, "me", "COUNT", max(each, 1))
        server.call.pipe(read * (held // max(each, 1)))

    def cost(name, held, commands):
        before = server.cpu()
        server.call.pipe(b"".join(commands))
        bench.add("pending", name, held, CPU, (server.cpu() - before) * 1e6 / len(commands))

    consume = ["DIRTY.CONSUME", "pending-changes", "GROUP"]
    for order in ORDERS:
        for held in sizes:
            group(f"{order} {held}", order, held)
        for _ in range(bench.rounds):
            for held in sizes:
                cost(f"consume {order}", held, [encoded(*consume, f"{order} {held}", "other")] * calls)
            reply = as_dict(server.call(*consume, f"{order} {most}", "other"))
            expect("what another gets of a million held events", (reply[b"events"], reply[b"more"]), ([], 0))
        for held in sizes:
            expect("forgotten", server.call("DIRTY.FORGET", "pending-changes", "GROUP", f"{order} {held}"), 1)
        freed(server)

    for held in sizes[1:]:
        for _ in range(bench.rounds):
            of = ["pending-changes", "GROUP", "g"]
            group("g", "NONE", held)
            some = ids[-few::5]
            cost("hold", held, [encoded("DIRTY.HOLD", *of, "me", id) for id in some])
            cost("fail", held, [encoded("DIRTY.FAIL", *of, "me", "why", "DELAY", 10**9, id) for id in some])
            # Those that failed without a delay are due: each of many others gets one, and leaves.
            some = ids[-few + 1 :: 5]
            server.call.pipe(b"".join(encoded("DIRTY.FAIL", *of, "me", "why", "DELAY", 0, id) for id in some))
            others = [f"other {number}" for number in range(len(some))]
            for other in others:
                (event,) = as_dict(server.call(*consume, "g", other, "COUNT", 1))[b"events"]
            cost("leave", held, [encoded("DIRTY.LEAVE", *of, other) for other in others])
            expect("forgotten", server.call("DIRTY.FORGET", *of), 1)
            freed(server)


def freed(server):
    """Another thread frees what is large, and would disturb what comes."""
    while int(server.info("memory", "lazyfree_pending_objects")):
        time.sleep(0.01)


def waking(bench, _server):
    """From a write to the reply of a reader that waits, as the integration test of it prints."""
    command = ["cargo", "test", "-q", "--test", "integration", "waking_up_takes", "--", "--ignored", "--nocapture"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name, label in (("native", "XADD to XREADGROUP BLOCK"), ("consume", "DIRTY.FLUSH to DIRTY.CONSUME BLOCK")):
        found = re.search(rf"^{label} +(\d+) +(\d+)$", done.stdout, re.MULTILINE)
        if not found:
            raise RuntimeError(f"no line {label!r} in:\n{done.stdout}")
        for unit, value in zip((P50, P99), found.groups()):
            bench.add("waking", name, 1, unit, int(value))


GROUPS = {
    "instructions": instructions,
    "throughput": throughput,
    "round trip": round_trip,
    "clients": lambda bench, server: clients(bench, server, fill),
    "fields": fields,
    "batch": batch,
    "streams": streams,
    "entities": entities,
    "memory": memory,
    "reading": reading,
    "waiting": waiting,
    "pending": pending,
    "waking": waking,
    "seeding": uses.seeding,
    "stalls": lambda bench, server: stalls.stalls(bench, server, fill),
}
