"""The goals: what is compared with what, and what the ratio should be."""

import operator
from collections.abc import Callable
from dataclasses import dataclass

from figures import AOF_BYTES, CPU, P50, RATE
from server import AOF, PERSISTENCE


class Costs:
    """The times that the goals compare, with one persistence setting; of what was not measured there is none. Some
    contestants may be replaced by others, by name."""

    def __init__(self, figures, persistence, replaced):
        self.figures, self.persistence, self.replaced = figures, persistence, replaced

    def get(self, group, contestant, size, unit):
        contestant = self.replaced.get(contestant, contestant)
        value = self.figures.get(self.persistence, group, contestant, size, unit)
        if value is None:
            raise KeyError(contestant)
        return value

    def cost(self, contestant, group="throughput", size=10):
        """Seconds for an entity, or an event."""
        return 1 / self.get(group, contestant, size, RATE)

    def p50(self, contestant):
        return self.get("round trip", contestant, 10, P50)

    def growth(self, contestant):
        """How many times the cost among 10 thousand entities it is among 10 million."""
        return self.cost(contestant, "entities", 10_000_000) / self.cost(contestant, "entities", 10_000)

    def waiting(self):
        """The readers that cost most, against XREAD BLOCK."""
        sizes = self.figures.sizes(self.persistence, "waiting")
        if not sizes:
            raise KeyError("waiting")
        native, *ours = (self.get("waiting", who, sizes[-1], CPU) for who in WAITING)
        return max(ours) / native

    def pending(self, names, few):
        """What grows most with the events that a group has not finished."""
        return max(self.get("pending", name, "all", CPU) / self.get("pending", name, few, CPU) for name in names)

    def aof_bytes(self):
        """Of the one setting that has such a file."""
        return Costs(self.figures, AOF, self.replaced).get("reading", "consume", 3, AOF_BYTES)

    def memory(self):
        """The ratio of the shape in which it is furthest from 1."""
        shapes = self.figures.sizes(self.persistence, "memory")
        if not shapes:
            raise KeyError("memory")
        flush, hset = ([self.get("memory", who, shape, "bytes") for shape in shapes] for who in ("flush", "hset"))
        return max((one / other for one, other in zip(flush, hset)), key=lambda ratio: abs(ratio - 1))


# What floor.c has in place of the module's.
FLOORS = {
    "flush": "floor",
    "same": "floor same",
    "four": "floor four",
    "stateless": "floor stateless",
}
WAITING = ["native", "looks", "cursors", "filtered", "groups"]
KINDS = {"at least": operator.ge, "at most": operator.le, "exactly": operator.eq}


@dataclass(frozen=True)
class Goal:
    what: str
    against: str
    kind: str  # of KINDS
    bound: float
    ratio: Callable[[Costs], float]
    has_floor: bool = False  # floor.c does the like

    def measured(self, figures, persistence, replaced=None):
        """The ratio, or None if something that it needs was not measured."""
        try:
            return self.ratio(Costs(figures, persistence, replaced or {}))
        except KeyError:
            return None

    def at_best(self, figures, persistence):
        """The ratio of what makes only the calls that cannot be avoided; None if nobody knows."""
        return self.measured(figures, persistence, FLOORS) if self.has_floor else None

    def met(self, ratio):
        return KINDS[self.kind](ratio, self.bound)


# fmt: off
# Ratios of throughput are the other way round those of costs: how many times the module's cost the others' is.
GOALS = [
    Goal("FLUSH, 10 fields, one changed, one stream", "HSET of those 10 fields + XADD of the event, times added",
         "at least", 1.0,
         lambda at: (at.cost("hset") + at.cost("xadd")) / at.cost("flush"),
         has_floor=True),
    Goal("the same", "a Lua function that does the same", "at least", 4,
         lambda at: at.cost("lua") / at.cost("flush"),
         has_floor=True),
    Goal("FLUSH, 10 fields, nothing changed", "HSET of those 10 fields", "at least", 1.2,
         lambda at: at.cost("hset") / at.cost("same"),
         has_floor=True),
    Goal("FLUSH of 100 entities in one command, per entity", "FLUSH of one", "at least", 1.3,
         lambda at: at.cost("flush") / at.cost("batch")),
    Goal("FLUSH publishing to 4 streams", "HSET + 4 XADD, times added", "at least", 1.2,
         lambda at: (at.cost("hset") + 4 * at.cost("xadd")) / at.cost("four"),
         has_floor=True),
    Goal("FLUSH as MSGPACK", "FLUSH as field list", "at least", 1.0,
         lambda at: at.cost("flush") / at.cost("msgpack")),
    Goal("STATELESS FLUSH of one change", "XADD of the event", "at least", 0.7,
         lambda at: at.cost("xadd") / at.cost("stateless"),
         has_floor=True),
    Goal("CONSUME 100 with ACK of 100, decoded", "XREADGROUP 100 + XACK 100, not decoded", "at least", 0.9,
         lambda at: at.cost("native", "reading", 100) / at.cost("consume", "reading", 100)),
    Goal("CPU of an event for 300 readers that wait (of READ, cursors, WHERE and groups the most)", "300 XREAD BLOCK",
         "at most", 2, lambda at: at.waiting()),
    Goal("CPU of a CONSUME with nothing due, a million pending (of each ORDER the most)", "none pending", "at most", 1.2,
         lambda at: at.pending(["consume NONE", "consume ENTITY", "consume STREAM"], "none")),
    Goal("CPU of FAIL, HOLD or LEAVE of one event, a million pending", "ten thousand pending", "at most", 1.2,
         lambda at: at.pending(["fail", "hold", "leave"], "few")),
    Goal("AOF of an event that is read and acknowledged, 3 at once", "one byte", "at most", 40,
         lambda at: at.aof_bytes()),
    Goal("growth of FLUSH's cost from 10 thousand to 10 million entities", "growth of HSET's over the same",
         "at most", 1.1,
         lambda at: at.growth("flush") / at.growth("hset")),
    Goal("FLUSH's cost per field at 500 fields", "at 10 fields", "at most", 1.2,
         lambda at: (at.cost("flush", "fields", 500) / 500) / (at.cost("flush", "fields", 10) / 10)),
    Goal("memory of a snapshot", "HSET of the same", "exactly", 1.0,
         lambda at: at.memory()),
    Goal("unpipelined round trip, median", "SET of the same bytes", "at most", 1.15,
         lambda at: at.p50("flush") / at.p50("set"),
         has_floor=True),
]
# fmt: on


def missed(figures):
    """How many of the goals, with each persistence setting; what was not measured is not met."""
    ratios = [(goal, goal.measured(figures, persistence)) for goal in GOALS for persistence in PERSISTENCE]
    return sum(ratio is None or not goal.met(ratio) for goal, ratio in ratios)
