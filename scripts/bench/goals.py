"""The goals: how many instructions a path should take, what is compared with what, and what the ratio should be."""

import operator
from collections.abc import Callable
from dataclasses import dataclass

from figures import AOF_BYTES, CPU, INSTRUCTIONS, P50
from server import AOF, NONE, PERSISTENCE


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
        """Of the server's CPU time, for an entity or an event: others who use the machine change it less than the rate."""
        return self.get(group, contestant, size, CPU)

    def p50(self, contestant):
        return self.get("round trip", contestant, 10, P50)

    def growth(self, contestant):
        """How many times the cost among the fewest entities it is among the most."""
        fewest, *_, most = self.sizes("entities", 2)
        return self.cost(contestant, "entities", most) / self.cost(contestant, "entities", fewest)

    def sizes(self, group, least=1):
        sizes = self.figures.sizes(self.persistence, group)
        if len(sizes) < least:
            raise KeyError(group)
        return sizes

    def waiting(self):
        """The readers that cost most, against XREAD BLOCK."""
        most = self.sizes("waiting")[-1]
        native, *ours = (self.get("waiting", who, most, CPU) for who in WAITING)
        return max(ours) / native

    def pending(self, names):
        """What grows most with the events that a group has not finished."""
        return max(self.growth_of_pending(name) for name in names)

    def growth_of_pending(self, name):
        sizes = sorted(self.sizes("pending"), key=int)
        costs = [self.figures.get(self.persistence, "pending", name, size, CPU) for size in sizes]
        costs = [cost for cost in costs if cost is not None]
        if len(costs) < 2:
            raise KeyError(name)
        return costs[-1] / costs[0]

    def aof_bytes(self):
        """Of the one setting that has such a file."""
        return Costs(self.figures, AOF, self.replaced).get("reading", "consume", 3, AOF_BYTES)

    def memory(self):
        """The ratio of the shape in which it is furthest from 1; no setting changes it."""
        at = Costs(self.figures, NONE, self.replaced)
        shapes = at.sizes("memory")
        flush, hset = ([at.get("memory", who, shape, "bytes") for shape in shapes] for who in ("flush", "hset"))
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
    reached: float | None = None  # where the goal is out of reach, as docs/performance.md explains

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

    def holds(self, ratio):
        """Whether it is met, or no further from it than what was reached."""
        if self.met(ratio) or self.reached is None:
            return self.met(ratio)
        slack = 1 - RATIO_SLACK if self.kind == "at least" else 1 + RATIO_SLACK
        return KINDS[self.kind](ratio, self.reached * slack)


# fmt: off
# Ratios of throughput are the other way round those of costs: how many times the module's cost the others' is.
GOALS = [
    Goal("FLUSH, 10 fields, one changed, one stream", "HSET of those 10 fields + XADD of the event, times added",
         "at least", 1.0,
         lambda at: (at.cost("hset") + at.cost("xadd")) / at.cost("flush"),
         has_floor=True, reached=0.67),
    Goal("the same", "a Lua function that does the same", "at least", 4,
         lambda at: at.cost("lua") / at.cost("flush"),
         has_floor=True, reached=2.1),
    Goal("FLUSH, 10 fields, nothing changed", "HSET of those 10 fields", "at least", 1.2,
         lambda at: at.cost("hset") / at.cost("same"),
         has_floor=True, reached=0.58),
    Goal("FLUSH of 100 entities in one command, per entity", "FLUSH of one", "at least", 1.3,
         lambda at: at.cost("flush") / at.cost("batch"),
         reached=1.24),
    Goal("FLUSH publishing to 4 streams", "HSET + 4 XADD, times added", "at least", 1.2,
         lambda at: (at.cost("hset") + 4 * at.cost("xadd")) / at.cost("four"),
         has_floor=True, reached=0.95),
    Goal("FLUSH as MSGPACK", "FLUSH as field list", "at least", 1.0,
         lambda at: at.cost("flush") / at.cost("msgpack")),
    Goal("STATELESS FLUSH of one change", "XADD of the event", "at least", 0.7,
         lambda at: at.cost("xadd") / at.cost("stateless"),
         has_floor=True, reached=0.49),
    Goal("CONSUME 100 with ACK of 100, decoded", "XREADGROUP 100 + XACK 100, not decoded", "at least", 0.9,
         lambda at: at.cost("native", "reading", 100) / at.cost("consume", "reading", 100)),
    Goal("CPU of an event for 300 readers that wait (the costliest of READ, cursors, WHERE and groups)", "300 XREAD BLOCK",
         "at most", 2, lambda at: at.waiting(), reached=2.35),
    Goal("CPU of a CONSUME with nothing due, a million pending (the costliest ORDER)", "none pending", "at most", 1.2,
         lambda at: at.pending(["consume NONE", "consume ENTITY", "consume STREAM"])),
    Goal("CPU of FAIL, HOLD or LEAVE of one event, a million pending", "ten thousand pending", "at most", 1.2,
         lambda at: at.pending(["fail", "hold", "leave"])),
    Goal("AOF of an event that is read and acknowledged, 3 at once", "one byte", "at most", 40,
         lambda at: at.aof_bytes()),
    Goal("growth of FLUSH's cost from 10 thousand entities to the most", "growth of HSET's over the same",
         "at most", 1.1,
         lambda at: at.growth("flush") / at.growth("hset")),
    Goal("FLUSH's cost per field at 500 fields", "at 10 fields", "at most", 1.2,
         lambda at: (at.cost("flush", "fields", 500) / 500) / (at.cost("flush", "fields", 10) / 10)),
    Goal("memory of a snapshot", "HSET of the same", "exactly", 1.0,
         lambda at: at.memory()),
    Goal("unpipelined round trip, median", "SET of the same bytes", "at most", 1.15,
         lambda at: at.p50("flush") / at.p50("set"),
         has_floor=True, reached=1.35),
]
# fmt: on


@dataclass(frozen=True)
class Path:
    """A way to flush, by the name that the integration test `instructions` gives it, and how many instructions it should
    take: of ten fields one changes, and one stream has the event, unless the name says otherwise."""

    name: str
    bound: int
    reached: int | None = None  # where the goal is out of reach, as docs/performance.md explains

    def counted(self, figures, contestant="flush"):
        """The instructions, or those of the floor; None if they were not counted."""
        return figures.get(NONE, "instructions", contestant, self.name, INSTRUCTIONS)

    def behind(self, figures):
        """How far it is behind its goal, as a share of that; 0 if it is not."""
        count = self.counted(figures)
        return None if count is None else max(0, count / self.bound - 1)

    def holds(self, figures):
        """Whether it is met, or no further from it than what was reached."""
        count = self.counted(figures)
        return count is not None and count <= (self.reached or self.bound) * (1 + SLACK)


PATHS = [
    Path("FLUSH, 1 of 10 fields changed", 47_000, reached=51_200),
    Path("FLUSH, nothing changed", 29_500, reached=33_000),
    Path("FLUSH UPDATE of 1 of 10 fields", 30_000, reached=35_500),
    Path("FLUSH INSERT of 10 fields", 58_000, reached=64_700),
    Path("FLUSH as JSON, 1 of 10 fields changed", 50_000),
    Path("FLUSH, PAYLOAD IMAGES", 58_000),
    Path("FLUSH, FORMAT DEBEZIUM", 68_000),
    Path("FLUSH, STATELESS UPDATE of 1 field", 21_000, reached=24_300),
    Path("FLUSH of 100 entities, each", 43_000, reached=46_100),
]
SLACK = 0.05  # that a path may be behind its goal, or what was reached
RATIO_SLACK = 0.1  # that a ratio may be behind what was reached, since a machine's noise changes it


def allowed(goal, form=""):
    """What a run compares with, in words."""
    if goal.reached is None:
        return f"{goal.bound:{form}}"
    return f"{goal.reached:{form}}, which was reached (the goal is {goal.bound:{form}})"


def missed(figures, is_whole):
    """What is not as it should be, each in a line; in a whole run, what was not measured is not, either."""
    for path in PATHS:
        count = path.counted(figures)
        if is_whole if count is None else not path.holds(figures):
            found = "not counted" if count is None else f"{count:,.0f} instructions, not {allowed(path, ',')}"
            yield f"{path.name}: {found}"
    for goal in GOALS:
        for persistence in PERSISTENCE:
            ratio = goal.measured(figures, persistence)
            if is_whole if ratio is None else not goal.holds(ratio):
                found = "not measured" if ratio is None else f"{ratio:.3f}, not {goal.kind} {allowed(goal)}"
                yield f"{goal.what} / {goal.against}, {persistence}: {found}"
