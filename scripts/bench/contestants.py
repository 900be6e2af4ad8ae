"""Who is measured: the commands, and what each is called. In an entity of 10 fields nine stay as they are,
and the tenth changes."""

import json
from collections.abc import Callable
from dataclasses import dataclass

RANDOM = "__rand_int__"  # redis-benchmark puts a number of 12 digits here
ZERO = "0" * 12

# Streams are bounded on all sides alike; snapshot.lua has the same limit.
LIMIT = ["MAXLEN", "~", 100000]
CONSTANT = {
    "name": "Alice",
    "email": "alice@example.com",
    "status": "active",
    "country": "AT",
    "city": "Vienna",
    "plan": "premium",
    "language": "de",
    "created": "2026-01-02",
    "referrer": "newsletter",
}
EVENT = "x" * 85  # as many bytes as the event of an update has; `prove` compares


def pairs(value, fields=10):
    """An entity as fields and values in turn."""
    constant = CONSTANT if fields == 10 else {f"field{n}": f"value{n}" for n in range(1, fields)}
    return [word for pair in {**constant, "logins": value}.items() for word in pair]


def numbered(value, fields):
    """The same with fields that are named alike, whatever their number."""
    return [word for n in range(1, fields) for word in (f"field{n:03}", f"value{n:03}")] + ["logins", value]


def as_json(value):
    return json.dumps({**CONSTANT, "logins": value})


def as_msgpack(value):
    """A map of ten texts shorter than 32 bytes each."""
    return b"\x8a" + b"".join(bytes([0xA0 + len(word)]) + word.encode() for word in pairs(value))


@dataclass(frozen=True)
class Contestant:
    name: str
    label: str
    words: Callable[[str, str], list]  # the command for an id and a value
    streams: tuple = ()  # each gets an event for each entity of a command,
    publishes: bool = True  # or none does
    entities: int = 1  # in one command
    hashes: str = ""  # what its entities' keys begin with
    fields: int = 10
    numbered: bool = False  # its fields are

    def command(self, id=RANDOM, value=RANDOM):
        return [word if isinstance(word, bytes) else str(word) for word in self.words(id, value)]

    def stored(self):
        """Fields and values of its entities before they are measured."""
        return numbered(ZERO, self.fields) if self.numbered else pairs(ZERO)


def flush(name, label, *, key=None, id_prefix="", hashes="user:", streams=None):
    key = key or name
    return Contestant(
        name,
        label,
        lambda id, value: ["DIRTY.FLUSH", key, "SNAPSHOT", id_prefix + id, 10, *pairs(value)],
        streams=streams or (f"{key}-changes",),
        hashes=hashes,
    )


def batch(entities, name="flush"):
    return Contestant(
        name,
        f"FLUSH of {entities} in one command",
        lambda id, value: ["DIRTY.FLUSH", "user", *["SNAPSHOT", id, 10, *pairs(value)] * entities],
        streams=("user-changes",),
        entities=entities,
        hashes="user:",
    )


def streams(count):
    """To one stream or more, of the same entities."""
    key = f"streams{count}"
    return flush("flush", f"FLUSH to {count} streams", key=key, streams=tuple(f"{key}-changes-{n}" for n in range(count)))


def floor(name, *, command="FLUSH", key="flor", streams=1, entities=1, publishes=True):
    """Of floor.c: what the module API alone takes for a FLUSH."""
    return Contestant(
        name,
        f"FLOOR.{command}",
        lambda id, value: [
            f"FLOOR.{command}",
            key,
            *["SNAPSHOT", id, 10, *pairs(value if publishes else ZERO)] * entities,
        ],
        streams=tuple(f"floor-changes-{n}" for n in range(streams)),
        publishes=publishes,
        entities=entities,
        hashes=f"{key}:",
    )


def flush_fields(fields):
    key = f"fields{fields}"
    return Contestant(
        "flush",
        "FLUSH, one field changed",
        lambda id, value: ["DIRTY.FLUSH", key, "SNAPSHOT", id, fields, *numbered(value, fields)],
        streams=(f"{key}-changes",),
        hashes=f"{key}:",
        fields=fields,
        numbered=True,
    )


def hset_fields(fields):
    """On the same hashes."""
    return Contestant(
        "hset",
        "HSET of the same",
        lambda id, value: ["HSET", f"fields{fields}:{id}", *numbered(value, fields)],
        hashes=f"fields{fields}:",
        fields=fields,
        numbered=True,
    )


def same_bytes(id, value):
    """A SET whose words have as many bytes as those of the FLUSH."""
    key = f"text:{id}"
    flush_bytes = sum(len(word) for word in FLUSH.command(ZERO, ZERO))
    return ["SET", key, "x" * (flush_bytes - len("SET") - len(f"text:{ZERO}"))]


FLUSH = flush("flush", "FLUSH, 1 of 10 fields changed", key="user")
XADD = Contestant(
    "xadd",
    "XADD of the event",
    lambda id, value: ["XADD", "plain-changes", *LIMIT, "*", "s", EVENT],
    ("plain-changes",),
)
HSET = Contestant(
    "hset",
    "HSET of 10 fields",
    lambda id, value: ["HSET", f"hash:{id}", *pairs(value)],
    hashes="hash:",
)
LUA = Contestant(
    "lua",
    "Lua function, 1 of 10 fields changed",
    lambda id, value: ["FCALL", "snapshot", 2, f"lua_:{id}", "lua-changes", "user", id, *pairs(value)],
    ("lua-changes",),
    hashes="lua_:",
)
SAME = Contestant(
    "same",
    "FLUSH, nothing changed",
    lambda id, value: ["DIRTY.FLUSH", "same", "SNAPSHOT", id, 10, *pairs(ZERO)],
    ("same-changes",),
    publishes=False,
    hashes="same:",
)
JSON = Contestant(
    "json",
    "FLUSH as JSON",
    lambda id, value: ["DIRTY.FLUSH", "user", "SNAPSHOT", id, "JSON", as_json(value)],
    ("user-changes",),
    hashes="user:",
)
MSGPACK = Contestant(
    "msgpack",
    "FLUSH as MSGPACK",
    lambda id, value: ["DIRTY.FLUSH", "user", "SNAPSHOT", id, "MSGPACK", as_msgpack(value)],
    ("user-changes",),
    hashes="user:",
)
STATELESS = Contestant(
    "stateless",
    "STATELESS FLUSH of one change",
    lambda id, value: ["DIRTY.FLUSH", "stateless", "UPDATE", id, 1, "logins", ZERO, value],
    ("stateless-changes",),
)
UPDATE = Contestant(
    "update",
    "FLUSH UPDATE of 1 of 10 fields",
    lambda id, value: ["DIRTY.FLUSH", "user", "UPDATE", id, 1, "logins", value],
    ("user-changes",),
    hashes="user:",
)
FOUR = flush("four", "FLUSH to 4 streams", streams=tuple(f"four-changes-{n}" for n in range(4)))
FORMATS = [
    # The ids of Fluxaorm's entities are numbers, which do not begin with a zero.
    flush("fluxaorm", "FLUSH, FORMAT FLUXAORM2", id_prefix="1", hashes="fluxaorm:1"),
    flush("fluxaorm1", "FLUSH, FORMAT FLUXAORM1", id_prefix="1", hashes="fluxaorm:1"),
    flush("debezium", "FLUSH, FORMAT DEBEZIUM"),
    flush("images", "FLUSH, PAYLOAD IMAGES"),
]

FLOOR = floor("floor")
FLOOR_SAME = floor("floor same", key="flos", publishes=False)
FLOOR_STATELESS = Contestant(
    "floor stateless",
    "FLOOR.STATELESS",
    lambda id, value: ["FLOOR.STATELESS", "stateless", "UPDATE", id, 1, "logins", ZERO, value],
    ("floor-stateless-changes",),
)
FLOORS = [
    FLOOR,
    FLOOR_SAME,
    FLOOR_STATELESS,
    floor("floor batch", entities=100),
    floor("floor four", command="FOUR", streams=4),
]

THROUGHPUT = [XADD, HSET, LUA, FLUSH, SAME, UPDATE, MSGPACK, JSON, STATELESS, batch(100, "batch"), FOUR, *FORMATS]
ROUND_TRIP = [Contestant("set", "SET of the same bytes", same_bytes), XADD, HSET, LUA, FLUSH, SAME]
# On the same hashes.
ENTITIES = [
    Contestant(
        "hset",
        "HSET of the same",
        lambda id, value: ["HSET", f"user:{id}", *pairs(value)],
        hashes="user:",
    ),
    FLUSH,
]

# Several types share the snapshots of user, so that each writes the same in its own format.
DECLARATIONS = [
    ["user", "STREAM", "user-changes", *LIMIT],
    ["same", "STREAM", "same-changes", *LIMIT],
    ["stateless", "NAME", "user", "STATELESS", "STREAM", "stateless-changes", *LIMIT],
    ["four", "PREFIX", "user:", *[word for stream in FOUR.streams for word in ("STREAM", stream, *LIMIT)]],
    ["fluxaorm", "STREAM", "fluxaorm-changes", "FORMAT", "FLUXAORM2", *LIMIT],
    ["fluxaorm1", "PREFIX", "fluxaorm:", "STREAM", "fluxaorm1-changes", "FORMAT", "FLUXAORM1", *LIMIT],
    ["debezium", "PREFIX", "user:", "STREAM", "debezium-changes", "FORMAT", "DEBEZIUM", *LIMIT],
    ["images", "PREFIX", "user:", "STREAM", "images-changes", "PAYLOAD", "IMAGES", *LIMIT],
    ["read", "STREAM", "read-changes"],
    ["seeded", "STREAM", "seeded-changes", *LIMIT, "PAYLOAD", "FULL"],
]
