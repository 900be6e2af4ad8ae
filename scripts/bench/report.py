#!/usr/bin/env python3
"""What the figures of a folder say, without measuring anything.

report.py folder              prints which goals are met
report.py folder --pictures   draws the SVGs into the folder, with gnuplot
report.py folder --pages      writes the tables into docs/performance.md and README.md, between the lines that say so
report.py folder --check      fails if they have other tables than the figures give"""

import pathlib
import subprocess
import sys

from contestants import FLUSH, FOUR, HSET, LUA, ROUND_TRIP, SAME, THROUGHPUT, XADD
from figures import CPU, HELD, P50, P99, PING, RATE, read
from goals import GOALS
from server import AOF, NONE, PERSISTENCE, ROOT

PERFORMANCE, README = ROOT / "docs/performance.md", ROOT / "README.md"
BEGIN, END = "<!-- from docs/bench/figures.tsv by make bench-report -->\n", "<!-- end -->\n"


WAKING = """\
Without a goal: the reply of a DIRTY.CONSUME that waits comes {:.0f} µs after DIRTY.FLUSH is sent (99 %: {:.0f} µs),
that of XREADGROUP {:.0f} µs after XADD ({:.0f} µs)."""

CALLS = """\
Of the {flush:.1f} µs of the server's CPU time that a FLUSH takes, {floor:.1f} are what the module API and Redis's own share of
a command cost at best ({batch:.1f} for each of 100 in one command). HSET and XADD take {raw:.1f} together."""


SEEDING = """\
A table of {rows} rows with ten columns goes in by SEED, 100 rows a command on one connection, at {seed} rows/s and takes
{bytes} bytes a row (HSET: {hset} rows/s, {bytes_hset} bytes). Rows a second by rows a command, against 100: {by_size}."""

STALLS = """\
The longest PING of another client beside what goes through {entities} entities of ten fields, in ms, and how much of it the
server's process was at work (the rest is the machine's). Flushes publish to four streams.

| beside | longest PING | at work |
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
    ("| flush, many clients | {flush} entities/s | a Lua function: {lua}/s |", ("flush", "lua")),
    (
        "| flush, one client that waits | {flush_one} µs | WATCH, HGETALL, MULTI, HSET, XADD, EXEC: {watch_one} µs |",
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


def as_text(figures):
    columns = "{:14}{:30}{:30}{}".format
    lines = [f"{what}: {value}" for what, value in figures.about.items()]
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
        "",
        "| what | against | goal | no persistence | AOF everysec |",
        "| --- | --- | --- | --- | --- |",
    ]
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
    if figures.sizes(NONE, "waking"):
        times = [figures.get(NONE, "waking", who, 1, unit) for who in ("consume", "native") for unit in (P50, P99)]
        lines += ["", WAKING.format(*times)]
    lines += [*seeding(figures), *stalls(figures)]
    return "\n".join(lines) + "\n"


def seeding(figures):
    sizes, (rows,) = figures.sizes(NONE, "rows a command"), figures.sizes(NONE, "seeding") or [0]
    if not sizes or not rows:
        return []
    rates = {size: figures.get(NONE, "rows a command", "seed", size, RATE) for size in sizes}
    others = [f"{thousands(int(size))}: {rate / rates['100']:.2f}" for size, rate in rates.items() if size != "100"]
    values = {
        name: thousands(figures.get(NONE, "seeding", who, rows, unit))
        for name, who, unit in (
            ("seed", "seed", RATE),
            ("bytes", "seed", "bytes"),
            ("hset", "hset", RATE),
            ("bytes_hset", "hset", "bytes"),
        )
    }
    return ["", SEEDING.format(rows=thousands(int(rows)), by_size=", ".join(others), **values)]


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
        "flush_one": get("one client", "flush", 10, P50),
        "watch_one": get("one client", "watch", 10, P50),
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


def with_table(page, table):
    before, rest = page.split(BEGIN)
    return before + BEGIN + table + END + rest.split(END, 1)[1]


def pages(figures):
    """Each page with the tables that the figures give."""
    for page, table in ((PERFORMANCE, as_markdown(figures)), (README, in_short(figures))):
        yield page, with_table(page.read_text(), table)


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
    ticks = sorted({size for *_, points in lines for size, _ in points})
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
            "set xtics (" + ", ".join(f"'{short(size)}' {size}" for size in ticks) + ")",
            f"set xrange [{ticks[0]}*0.85:{ticks[-1]}*1.15]",
            "set yrange [0:*]",
            f"set xlabel '{x}'",
            f"set ylabel '{y}'",
            "set key outside right center Left reverse spacing 1.3",
            f"plot {plots}",
        ],
    )


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

    def lines(self, group, contestants, value):
        """One for each (contestant, label, colour) and persistence, of the value for a rate and a size."""
        for name, label, colour in contestants:
            for persistence in PERSISTENCE:
                sizes = [int(size) for size in self.figures.sizes(persistence, group)]
                points = [(size, value(self.get(persistence, group, name, size), size)) for size in sizes]
                yield label, colour, persistence, points

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

    def reading(self):
        both = [("consume", "CONSUME with ACK", BLUE), ("native", "XREADGROUP + XACK", GREY)]
        curves(
            self.folder / "reading.svg",
            "events read and acknowledged at once",
            "thousand events/s, pipelined",
            self.lines("reading", both, lambda rate, _: rate / 1000),
        )


def draw(figures, folder):
    """Those pictures whose figures were measured."""
    pictures = Pictures(figures, folder)
    for group in ("throughput", "round trip", "fields", "batch", "entities", "reading"):
        if figures.sizes(NONE, group):
            getattr(pictures, group.replace(" ", "_"))()


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
