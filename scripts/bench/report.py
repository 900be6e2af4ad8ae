#!/usr/bin/env python3
"""What the figures of a folder say, without measuring anything.

report.py folder              prints which goals are met
report.py folder --pictures   draws the SVGs into the folder, with gnuplot
report.py folder --pages      writes tables and pictures into docs/performance.md and README.md, between the lines that say so
report.py folder --check      fails if they have others than the figures give"""

import pathlib
import subprocess
import sys

from contestants import FLUSH, FOUR, HSET, LUA, ROUND_TRIP, SAME, THROUGHPUT, XADD
from figures import AGAIN, CPU, HELD, INSTRUCTIONS, P50, P99, PING, RATE, read
from goals import GOALS, PATHS, SLACK
from server import AOF, NONE, PERSISTENCE, ROOT

PERFORMANCE, README = ROOT / "docs/performance.md", ROOT / "README.md"
# The names of their counts.
HSET_COUNT, XADD_COUNT = "HSET of 10 fields", "XADD of 63 bytes"
PICTURES = "<!-- pictures from docs/bench/figures.tsv by make bench-report -->\n"
END_OF_PICTURES = "<!-- end of pictures -->\n"
BEGIN, END = "<!-- from docs/bench/figures.tsv by make bench-report -->\n", "<!-- end -->\n"


INSTRUCTIONS_HEAD = """\
### Instructions

Ten fields, of which one changes, and one stream, unless the path says otherwise. HSET of ten fields takes
{hset}, XADD of the event {xadd}. The floor is the count of `scripts/bench/floor.c`.

| path | floor | takes | goal | |
| --- | --- | --- | --- | --- |"""

RATIOS_HEAD = """\
### Ratios

| what | against | goal | no persistence | AOF everysec |
| --- | --- | --- | --- | --- |"""

CALLS = """\
A FLUSH takes {flush:.1f} µs of the server's CPU time. The floor, with only the module API and Redis's own share of a command, takes
{floor:.1f} ({batch:.1f} for each of 100 in one command). HSET and XADD take {raw:.1f} together."""

CLIENTS_HEAD = """\
### What clients do without the module

Each client saves an entity and waits for the reply, without persistence. By itself it sends WATCH and HGETALL, compares, and
sends MULTI, HSET of the changed fields, XADD and EXEC: two round trips. If another client was faster, it begins again.

| | FLUSH | a Lua function | by itself |
| --- | --- | --- | --- |"""

# What is measured of which clients, and what stands behind the number.
CLIENTS = [
    ("one client, median", "1 client", P50, "{:.0f} µs"),
    ("one client, the server's CPU time", "1 client", CPU, "{:.1f} µs"),
    ("50 clients", "50 clients", RATE, "{:,.0f} entities/s"),
    ("50 clients, the server's CPU time for an entity", "50 clients", CPU, "{:.1f} µs"),
    ("50 clients, saves that began again", "50 clients", AGAIN, "{:.1f} %"),
    ("one client, 100 entities at once", "1 client, 100 at once", RATE, "{:,.0f} entities/s"),
    ("one client, 100 at once, the server's CPU time for an entity", "1 client, 100 at once", CPU, "{:.1f} µs"),
]

WAKING = """\
### Waking a reader

The reply of a DIRTY.CONSUME that waits comes {:.0f} µs after DIRTY.FLUSH is sent (99 %: {:.0f} µs), that of XREADGROUP
{:.0f} µs after XADD ({:.0f} µs)."""

TABLE_HEAD = """\
### A table of {rows} rows

Ten columns, 100 rows in each command or page, one connection, without persistence. Seeded by SEED, the table takes {bytes}
bytes a row in memory; stored by HSET, {bytes_hset}.

| | the server's CPU time for a row | rows/s of one core |
| --- | --- | --- |"""

TABLE = [
    ("hset", "HSET of each row"),
    ("seed", "FLUSH SEED"),
    ("same", "FLUSH SNAPSHOT, nothing changed"),
    ("run", "the same in a run of DIRTY.RECONCILE"),
    ("sweep", "DIRTY.RECONCILE SWEEP: over all rows, of which a tenth is missing and deleted"),
    ("scan native", "SCAN and HGETALL of each row"),
    ("scan", "DIRTY.SCAN"),
    ("snapshot", "DIRTY.CONSUME of a cursor FROM SNAPSHOT"),
]

BY_SIZE = """\
Rows per second by the number of rows in a command, relative to those with 100 rows:
{by_size}."""

STALLS = """\
### How long others wait

The longest PING of another client, in ms, while a client goes through {entities} entities of ten fields, and the most CPU time
that the server's process, with its background threads, took during one PING, which need not be the longest. Flushes publish to
four streams. RUN is a FLUSH in a run of DIRTY.RECONCILE, whose subcommands are SWEEP and ABORT.

| meanwhile | longest PING | most CPU time |
| --- | --- | --- |"""


IN_SHORT_HEAD = """\
{date}, {machine}, {server}; entities of ten fields, one of them changed; without persistence.

| | Dirty Streams | instead |
| --- | --- | --- |"""

# Lines, and the values without which there is none.
IN_SHORT = [
    (
        "| seed {rows} rows, one connection | {seed} rows/s, {bytes} bytes each | HSET: {seed_hset} rows/s, {bytes_hset} bytes |",
        ("seed", "seed_hset", "bytes", "bytes_hset"),
    ),
    ("| send them again, nothing changed | {same} rows/s | |", ("same",)),
    ("| flush, pipelined | {flush} entities/s | a Lua function: {lua}/s |", ("flush", "lua")),
    (
        "| flush, 50 clients that wait | {flush_many} entities/s | WATCH, HGETALL, MULTI, HSET, XADD, EXEC: {watch_many}/s |",
        ("flush_many", "watch_many"),
    ),
    (
        "| flush, one client that waits | {flush_one} µs | the same commands: {watch_one} µs |",
        ("flush_one", "watch_one"),
    ),
    (
        "| read and acknowledge, decoded | {read} events/s | XREADGROUP + XACK, not decoded: {native}/s |",
        ("read", "native"),
    ),
    ("| from flush to a waiting reader | {wake} µs | XADD to XREADGROUP: {wake_native} µs |", ("wake", "wake_native")),
]


def verdicts(goal, figures):
    """The ratio with each persistence setting, whether it will do, and if not, what it could be at best."""
    for persistence in PERSISTENCE:
        ratio, best = goal.measured(figures, persistence), goal.at_best(figures, persistence)
        if ratio is None:
            yield "-", "NOT MEASURED"
        elif goal.met(ratio):
            yield f"{ratio:.3f}", "met"
        else:
            yield f"{ratio:.3f}", "MISSED" + (f", at best {best:.2f}" if best else "")


def verdict(path, figures):
    """Of a path's instructions."""
    behind = path.behind(figures)
    if behind is None:
        return "NOT COUNTED"
    if behind < 0.001:
        return "met"
    return f"MISSED by {100 * behind:.1f} %" + (", allowed" if behind <= SLACK else "")


def as_text(figures):
    columns = "{:14}{:32}{:32}{}".format
    lines = [f"{what}: {value}" for what, value in figures.about.items()]
    lines += ["", columns("goal", "floor", "instructions", "path")]
    for path in PATHS:
        floor, count = path.counted(figures, "floor"), path.counted(figures)
        found = ["-" if value is None else thousands(value) for value in (floor, count)]
        lines.append(columns(f"{path.bound:,}", found[0], f"{found[1]} {verdict(path, figures)}", path.name))
    lines += ["", columns("goal", *PERSISTENCE, "what / against what")]
    for goal in GOALS:
        found = [f"{ratio:>6} {verdict}" for ratio, verdict in verdicts(goal, figures)]
        lines.append(columns(f"{goal.kind} {goal.bound}", *found, f"{goal.what} / {goal.against}"))
    return "\n".join(lines)


def as_markdown(figures):
    about = figures.about
    lines = [
        f"{about['date'][:10]}, {about['machine']}, {about['server']}, commit {about['commit']};"
        f" medians of {about['rounds']} rounds.",
    ]
    for section in (instructions, ratios, clients, waking, table, stalls):
        lines += section(figures)
    return "\n".join(lines) + "\n"


def instructions(figures):
    hset, xadd = (figures.get(NONE, "instructions", "flush", path, INSTRUCTIONS) for path in (HSET_COUNT, XADD_COUNT))
    if hset is None or xadd is None:
        return []
    lines = ["", INSTRUCTIONS_HEAD.format(hset=thousands(hset), xadd=thousands(xadd))]
    for path in PATHS:
        floor, count = path.counted(figures, "floor"), path.counted(figures)
        shown = ["-" if value is None else thousands(value) for value in (floor, count, path.bound)]
        lines.append(f"| {path.name} | {' | '.join(shown)} | {verdict(path, figures).lower()} |")
    return lines


def ratios(figures):
    lines = ["", RATIOS_HEAD]
    for goal in GOALS:
        if all(ratio == "-" for ratio, _ in verdicts(goal, figures)):
            continue  # it is younger than the figures
        found = [
            ratio if verdict == "met" else f"**{ratio}**, {verdict.lower()}"
            for ratio, verdict in verdicts(goal, figures)
        ]
        lines.append(f"| {goal.what} | {goal.against} | {goal.kind} {goal.bound} | {' | '.join(found)} |")
    cpu = {who: figures.get(NONE, "throughput", who, 10, CPU) for who in ("flush", "floor", "floor batch", "hset", "xadd")}
    if all(cpu.values()):
        raw = cpu["hset"] + cpu["xadd"]
        lines += ["", CALLS.format(flush=cpu["flush"], floor=cpu["floor"], raw=raw, batch=cpu["floor batch"])]
    return lines


def clients(figures):
    if not figures.sizes(NONE, "clients"):
        return []
    lines = ["", CLIENTS_HEAD]
    for what, size, unit, shown in CLIENTS:
        values = (figures.get(NONE, "clients", way, size, unit) for way in ("flush", "lua", "watch"))
        lines.append(f"| {what} | {' | '.join('' if value is None else shown.format(value) for value in values)} |")
    return lines


def waking(figures):
    if not figures.sizes(NONE, "waking"):
        return []
    times = [figures.get(NONE, "waking", who, 1, unit) for who in ("consume", "native") for unit in (P50, P99)]
    return ["", WAKING.format(*times)]


def table(figures):
    (rows,) = figures.sizes(NONE, "seeding") or [0]
    costs = [(label, figures.get(NONE, "seeding", who, rows, CPU)) for who, label in TABLE]
    if None in (cost for _, cost in costs):
        return []
    seed, hset = (thousands(figures.get(NONE, "seeding", who, rows, "bytes")) for who in ("seed", "hset"))
    lines = ["", TABLE_HEAD.format(rows=thousands(int(rows)), bytes=seed, bytes_hset=hset)]
    lines += [f"| {label} | {cost:.2f} µs | {thousands(1e6 / cost)} |" for label, cost in costs]
    rates = {size: figures.get(NONE, "rows a command", "seed", size, RATE) for size in figures.sizes(NONE, "rows a command")}
    if "100" in rates:
        others = [f"{thousands(int(size))}: {rate / rates['100']:.2f}" for size, rate in rates.items() if size != "100"]
        lines += ["", BY_SIZE.format(by_size=", ".join(others))]
    return lines


def stalls(figures):
    (entities,) = figures.sizes(NONE, "stalls") or [None]
    if entities is None:
        return []
    lines = ["", STALLS.format(entities=thousands(int(entities)))]
    for what in figures.contestants(NONE, "stalls"):
        longest, held = (figures.get(NONE, "stalls", what, entities, unit) for unit in (PING, HELD))
        lines.append(f"| {what} | {longest:.1f} | {held:.1f} |")
    return lines


def thousands(value):
    return f"{value:,.0f}"


def in_short(figures):
    """What users ask first, in a few lines; those whose figures were not measured are left out."""

    def get(group, contestant, size, unit, persistence=NONE):
        return figures.get(persistence, group, contestant, size, unit)

    (rows,) = figures.sizes(NONE, "seeding") or [0]
    values = {
        "date": figures.about["date"][:10],
        "machine": figures.about["machine"],
        "server": figures.about["server"],
        "rows": thousands(int(rows)),
        "seed": get("seeding", "seed", rows, RATE),
        "seed_hset": get("seeding", "hset", rows, RATE),
        "bytes": get("seeding", "seed", rows, "bytes"),
        "bytes_hset": get("seeding", "hset", rows, "bytes"),
        "same": get("seeding", "same", rows, RATE),
        "flush": get("throughput", "flush", 10, RATE),
        "lua": get("throughput", "lua", 10, RATE),
        "flush_one": get("clients", "flush", "1 client", P50),
        "watch_one": get("clients", "watch", "1 client", P50),
        "flush_many": get("clients", "flush", "50 clients", RATE),
        "watch_many": get("clients", "watch", "50 clients", RATE),
        "read": get("reading", "consume", 100, RATE),
        "native": get("reading", "native", 100, RATE),
        "wake": get("waking", "consume", 1, P50),
        "wake_native": get("waking", "native", 1, P50),
    }
    lines = [IN_SHORT_HEAD.format(**values)]
    for line, needed in IN_SHORT:
        if all(values[name] for name in needed):
            shown = {name: thousands(value) if not isinstance(value, str) else value for name, value in values.items() if value}
            lines.append(line.format(**shown))
    return "\n".join(lines) + "\n"


def replaced(page, begin, text, end):
    before, rest = page.split(begin)
    return before + begin + text + end + rest.split(end, 1)[1]


def pages(figures):
    """Each page with the tables that the figures give, and the pictures."""
    yield README, replaced(README.read_text(), BEGIN, in_short(figures), END)
    text = replaced(PERFORMANCE.read_text(), BEGIN, as_markdown(figures), END)
    yield PERFORMANCE, replaced(text, PICTURES, captions(figures), END_OF_PICTURES)


def write_pages(figures):
    for page, text in pages(figures):
        page.write_text(text)


# Pictures: what the module does is blue, what Redis does grey; paler, or dashed, with AOF everysec. They have a
# white ground of their own, so that they can be read on a page of any colour.

STYLE = """
set encoding utf8
set terminal svg size {width},{height} font 'sans-serif,13' background 'white' noenhanced
set output '{output}'
set border 3 lc rgb '#555555'
set tics nomirror
set grid {grid} lc rgb '#dddddd' lw 1
"""
BLUE, GREY = "#1f6feb", "#777777"
BLUES = ["#9cc2f7", "#5a9bf0", "#1f6feb", "#0a3f94"]
REDS = ["#f0a35a", "#d9730d", "#8f4a05"]
PALE = {BLUE: "#a5c8fb", GREY: "#c8c8c8"}


def gnuplot(output, width, height, commands, grid="x y"):
    style = STYLE.format(output=output, width=width, height=height, grid=grid)
    subprocess.run(["gnuplot"], input=style + "\n".join(commands) + "\n", text=True, check=True)


def block(name, rows):
    """Lines of data by a name. Numbers are rounded, so that the picture is the same from the same figures."""
    lines = ["\t".join(cell if isinstance(cell, str) else f"{cell:.8g}" for cell in row) for row in rows]
    return "\n".join([f"${name} << EOD", *lines, "EOD"])


def bars(output, unit, entries, label="{:.0f}"):
    """Lying bars, two for each entry: (label, colour, value by persistence)."""
    rows = {persistence: [] for persistence in PERSISTENCE}
    entries = [entry for entry in entries if any(entry[2].values())]
    for place, (_, colour, values) in enumerate(entries):
        for offset, persistence in ((-0.2, NONE), (0.2, AOF)):
            value, shade = values[persistence], colour if persistence == NONE else PALE[colour]
            if value is not None:
                rows[persistence].append((value, place + offset, f"0x{shade[1:]}", label.format(value)))
    data = [block(f"data{number}", found) for number, found in enumerate(rows.values()) if found]
    plots = ", ".join(
        f"$data{number} using (0):2:(0):1:($2-0.19):($2+0.19):3 with boxxyerror fc rgb variable notitle,"
        f" '' using 1:2:4 with labels left offset 0.4,0 font ',10' tc rgb '#555555' notitle"
        for number, found in enumerate(rows.values())
        if found
    )
    top = max(row[0] for found in rows.values() for row in found)
    gnuplot(
        output,
        860,
        90 + 36 * len(entries),
        [
            *data,
            "set style fill solid noborder",
            f"set xlabel '{unit}; pale: AOF everysec'",
            f"set xrange [0:{top * 1.1:.6g}]",
            f"set yrange [{len(entries) - 0.4}:-0.6]",
            "set ytics scale 0 (" + ", ".join(f"'{label}' {place}" for place, (label, *_) in enumerate(entries)) + ")",
            f"plot {plots}",
        ],
        grid="x",
    )


def curves(output, x, y, lines):
    """Lines over a logarithmic axis: (label, colour, persistence, points)."""
    lines = [line for line in lines if line[3]]
    labels = {size or nothing(lines): short(size) for *_, points in lines for size, _ in points}
    lines = [(*line, [(size or nothing(lines), value) for size, value in points]) for *line, points in lines]
    ticks = sorted(labels)
    plots = ", ".join(
        f"$data{number} using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb '{colour}'"
        f" dt {1 if persistence == NONE else 2} title '{label}{'' if persistence == NONE else ', AOF'}'"
        for number, (label, colour, persistence, _) in enumerate(lines)
    )
    gnuplot(
        output,
        860,
        400,
        [
            *(block(f"data{number}", points) for number, (*_, points) in enumerate(lines)),
            "set logscale x",
            "set xtics (" + ", ".join(f"'{labels[size]}' {size}" for size in ticks) + ")",
            f"set xrange [{ticks[0]}*0.85:{ticks[-1]}*1.15]",
            "set yrange [0:*]",
            f"set xlabel '{x}'",
            f"set ylabel '{y}'",
            "set key outside right center Left reverse spacing 1.3",
            f"plot {plots}",
        ],
    )


def nothing(lines):
    """Where 0 stands, which has no logarithm."""
    return min(size for *_, points in lines for size, _ in points if size) / 10


def short(size):
    return f"{size // 10**6}M" if size >= 10**6 else f"{size // 1000}k" if size >= 10**4 else str(size)


class Pictures:
    """What of the figures goes into which picture."""

    def __init__(self, figures, folder):
        self.figures, self.folder = figures, folder

    def get(self, persistence, group, contestant, size, unit=RATE):
        return self.figures.get(persistence, group, contestant, size, unit)

    def rate(self, contestant):
        """Thousands of entities a second, by persistence."""
        rates = {persistence: self.get(persistence, "throughput", contestant, 10) for persistence in PERSISTENCE}
        return {persistence: rate and rate / 1000 for persistence, rate in rates.items()}

    def added(self, first, second, times):
        """The same of the two after one another, the second so many times."""
        first, second = self.rate(first), self.rate(second)
        return {p: first[p] and second[p] and 1 / (1 / first[p] + times / second[p]) for p in PERSISTENCE}

    def throughput(self):
        entries = [(one.label, GREY if one in (XADD, HSET, LUA) else BLUE, self.rate(one.name)) for one in THROUGHPUT]
        entries.insert(THROUGHPUT.index(FOUR), ("HSET + 4 XADD, times added", GREY, self.added("hset", "xadd", 4)))
        entries.insert(THROUGHPUT.index(LUA), ("HSET + XADD, times added", GREY, self.added("hset", "xadd", 1)))
        bars(self.folder / "throughput.svg", "thousand entities/s, -P 32 -c 50", entries)

    def round_trip(self):
        times = {one: {p: self.get(p, "round trip", one.name, 10, P50) for p in PERSISTENCE} for one in ROUND_TRIP}
        entries = [(one.label, BLUE if one in (FLUSH, SAME) else GREY, values) for one, values in times.items()]
        bars(self.folder / "round-trip.svg", "median round trip of one client, µs", entries, "{:.1f}")

    def lines(self, group, contestants, value, unit=RATE, persistences=PERSISTENCE):
        """One for each (contestant, label, colour) and persistence, of the value for what was measured and a size."""
        for name, label, colour in contestants:
            for persistence in persistences:
                sizes = [int(size) for size in self.figures.sizes(persistence, group)]
                found = [(size, self.get(persistence, group, name, size, unit)) for size in sizes]
                yield label, colour, persistence, [(size, value(cost, size)) for size, cost in found if cost is not None]

    def fields(self):
        both = [("flush", "FLUSH, one changed", BLUE), ("hset", "HSET of all", GREY)]
        curves(
            self.folder / "fields.svg",
            "fields of an entity",
            "µs per field, -P 32 -c 50",
            self.lines("fields", both, lambda rate, size: 1e6 / rate / size),
        )

    def batch(self):
        one_by_one = []
        for persistence, level in self.added("hset", "xadd", 1).items():
            points = [(int(size), level) for size in self.figures.sizes(persistence, "batch") if level]
            one_by_one.append(("HSET + XADD, one by one", GREY, persistence, points))
        flushes = self.lines("batch", [("flush", "FLUSH", BLUE)], lambda rate, _: rate / 1000)
        curves(
            self.folder / "batch.svg",
            "entities in one command",
            "thousand entities/s, -P 32 -c 50",
            [*flushes, *one_by_one],
        )

    def entities(self):
        both = [("flush", "FLUSH, one changed", BLUE), ("hset", "HSET of all", GREY)]
        curves(
            self.folder / "entities.svg",
            "entities that there are",
            "µs per command, -P 32 -c 50",
            self.lines("entities", both, lambda rate, _: 1e6 / rate),
        )

    def streams(self):
        """HSET and XADD were measured with one stream."""
        natively = []
        for persistence in PERSISTENCE:
            hset, xadd = (self.get(persistence, "streams", who, 1, CPU) for who in ("hset", "xadd"))
            sizes = map(int, self.figures.sizes(persistence, "streams"))
            points = [(size, hset + size * xadd) for size in sizes] if hset and xadd else []
            natively.append(("HSET + as many XADD, added", GREY, persistence, points))
        flushes = self.lines("streams", [("flush", "FLUSH", BLUE)], lambda cost, _: cost, CPU)
        curves(
            self.folder / "streams.svg",
            "streams that get the event",
            "µs of the server per entity",
            [*flushes, *natively],
        )

    def reading(self):
        both = [("consume", "CONSUME with ACK", BLUE), ("native", "XREADGROUP + XACK", GREY)]
        curves(
            self.folder / "reading.svg",
            "events read and acknowledged at once",
            "thousand events/s, pipelined",
            self.lines("reading", both, lambda rate, _: rate / 1000),
        )

    def waiting(self):
        kinds = [
            ("native", "XREAD BLOCK", GREY),
            ("looks", "READ BLOCK", BLUES[0]),
            ("cursors", "cursors", BLUES[1]),
            ("filtered", "cursors with WHERE", BLUES[2]),
            ("groups", "groups", BLUES[3]),
        ]
        curves(
            self.folder / "waiting.svg",
            "readers that wait for the event",
            "µs of the server per reader",
            self.lines("waiting", kinds, lambda cost, _: cost, CPU, [NONE]),
        )

    def pending(self):
        kinds = [
            ("consume NONE", "CONSUME, nothing due", BLUES[0]),
            ("consume ENTITY", "in ORDER ENTITY", BLUES[1]),
            ("consume STREAM", "in ORDER STREAM", BLUES[2]),
            ("hold", "HOLD", REDS[0]),
            ("fail", "FAIL", REDS[1]),
            ("leave", "LEAVE", REDS[2]),
        ]
        curves(
            self.folder / "pending.svg",
            "events that the group has not finished",
            "µs of the server per command",
            self.lines("pending", kinds, lambda cost, _: cost, CPU, [NONE]),
        )

    def seeding(self):
        """By rows of a command; HSET has one."""
        (rows,) = self.figures.sizes(NONE, "seeding")
        sizes = [int(size) for size in self.figures.sizes(NONE, "rows a command")]
        hset = []
        for persistence in PERSISTENCE:
            rate = self.get(persistence, "seeding", "hset", rows)
            hset.append(("HSET, row by row", GREY, persistence, [(size, rate / 1000) for size in sizes] if rate else []))
        seed = self.lines("rows a command", [("seed", "FLUSH SEED", BLUE)], lambda rate, _: rate / 1000)
        curves(
            self.folder / "seeding.svg",
            "rows in one command",
            "thousand rows/s, one connection",
            [*seed, *hset],
        )

    def table(self):
        (rows,) = self.figures.sizes(NONE, "seeding")
        costs = [(who, label, {p: self.get(p, "seeding", who, rows, CPU) for p in PERSISTENCE}) for who, label in TABLE]
        entries = [
            (label.split(":")[0], GREY if who in ("hset", "scan native") else BLUE, {p: c and 1e3 / c for p, c in by.items()})
            for who, label, by in costs
        ]
        bars(self.folder / "table.svg", "thousand rows/s of one core", entries)

    def clients(self):
        """How many entities 50 clients save."""
        ways = [("flush", "FLUSH", BLUE), ("lua", "a Lua function", GREY), ("watch", "WATCH, HGETALL … EXEC", GREY)]
        rates = {way: {p: self.get(p, "clients", way, "50 clients") for p in PERSISTENCE} for way, *_ in ways}
        entries = [(label, shade, {p: r and r / 1000 for p, r in rates[way].items()}) for way, label, shade in ways]
        bars(self.folder / "clients.svg", "thousand entities/s, 50 clients that wait", entries)


# The group and the contestant that each picture needs, and what it shows.
DRAWN = {
    "throughput": ("throughput", "flush", "Entities per second, flushed and by XADD, HSET and a Lua function"),
    "clients": ("clients", "flush", "Entities per second that 50 clients save, each waiting for its reply"),
    "round_trip": ("round trip", "flush", "Median round trips of one client"),
    "batch": ("batch", "flush", "Entities per second by the number of entities in one command"),
    "fields": ("fields", "flush", "Time per field by the number of fields"),
    "streams": ("streams", "flush", "The server's time per entity by the number of streams"),
    "entities": ("entities", "flush", "Time per command by the number of stored entities"),
    "reading": ("reading", "consume", "Events per second by the number of events that are read and acknowledged at once"),
    "waiting": ("waiting", "native", "The server's time per reader by the number of readers that wait"),
    "pending": ("pending", "hold", "The server's time per command by the number of events that a group has not finished"),
    "seeding": ("rows a command", "seed", "Rows per second that are seeded, by the number of rows in one command"),
    "table": ("seeding", "sweep", "Rows per second of one core that are seeded, read and reconciled"),
}


def draw(figures, folder):
    """Those pictures whose figures were measured."""
    pictures = Pictures(figures, folder)
    for picture in drawn(figures):
        getattr(pictures, picture)()


def drawn(figures):
    return [picture for picture, (group, needed, _) in DRAWN.items() if needed in figures.contestants(NONE, group)]


def captions(figures):
    lines = [f"![{DRAWN[picture][-1]}](bench/{picture.replace('_', '-')}.svg)" for picture in drawn(figures)]
    return "\n".join(lines) + "\n"


def main():
    folder, options = pathlib.Path(sys.argv[1]), sys.argv[2:]
    figures = read(folder / "figures.tsv")
    if not options:
        print(as_text(figures))
    if "--pictures" in options:
        draw(figures, folder)
    if "--pages" in options:
        write_pages(figures)
    if "--check" in options and any(text != page.read_text() for page, text in pages(figures)):
        sys.exit("README.md or docs/performance.md has other tables than docs/bench/figures.tsv gives: make bench-report")


if __name__ == "__main__":
    main()
