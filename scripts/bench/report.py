#!/usr/bin/env python3
"""What the figures of a folder say, without measuring anything.

    report.py folder              prints which goals are met
    report.py folder --pictures   draws the SVGs into the folder, with gnuplot
    report.py folder --readme     writes the table into README.md, between the lines that say so
    report.py folder --check      fails if README.md has another table than the figures give"""

import pathlib
import subprocess
import sys

import contestants as all_of
from figures import CPU, P50, RATE, read
from goals import GOALS
from server import AOF, NONE, PERSISTENCE, ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- from docs/bench/figures.tsv by make bench-report -->\n", "<!-- end -->\n"


def verdicts(goal, figures):
    """The ratio with each persistence setting, and whether it will do."""
    for persistence in PERSISTENCE:
        ratio = goal.measured(figures, persistence)
        yield ("-", "NOT MEASURED") if ratio is None else (f"{ratio:.3f}", "met" if goal.met(ratio) else "MISSED")


def as_text(figures):
    columns = "{:14}{:22}{:22}{}".format
    lines = [f"{what}: {value}" for what, value in figures.about.items()]
    lines += ["", columns("goal", *PERSISTENCE, "what / against what")]
    for goal in GOALS:
        found = [f"{ratio:>6} {verdict}" for ratio, verdict in verdicts(goal, figures)]
        lines.append(columns(f"{goal.kind} {goal.bound}", *found, f"{goal.what} / {goal.against}"))
    return "\n".join(lines)


def as_markdown(figures):
    about = figures.about
    lines = [
        f"{about['date'][:10]}, {about['machine']}, {about['server']}, commit {about['module']}; medians of {about['rounds']} rounds.",
        "",
        "| what | against | goal | no persistence | AOF everysec |",
        "| --- | --- | --- | --- | --- |",
    ]
    for goal in GOALS:
        found = [ratio if verdict == "met" else f"**{ratio}**, {verdict.lower()}" for ratio, verdict in verdicts(goal, figures)]
        lines.append(f"| {goal.what} | {goal.against} | {goal.kind} {goal.bound} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def with_table(readme, figures):
    before, rest = readme.split(BEGIN)
    return before + BEGIN + as_markdown(figures) + END + rest.split(END, 1)[1]


# Pictures: what the module does is blue, what Redis does grey; paler, or dashed, with AOF everysec. They have a
# white ground of their own, so that they can be read on a page of any colour.

STYLE = """
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
    """Lines of data by a name."""
    return "\n".join([f"${name} << EOD", *("\t".join(map(str, row)) for row in rows), "EOD"])


def bars(output, unit, divisor, entries):
    """Lying bars, two for each entry: (label, colour, value by persistence)."""
    thousands = f"set format x '%.0f{'k' if divisor == 1000 else ''}'"
    rows = {persistence: [] for persistence in PERSISTENCE}
    for place, (label, colour, values) in enumerate(entries):
        for offset, persistence in ((-0.2, NONE), (0.2, AOF)):
            if values[persistence] is not None:
                shade = colour if persistence == NONE else PALE[colour]
                value = values[persistence] / divisor
                rows[persistence].append((f"{value:.4g}", f"{place + offset:.1f}", f"0x{shade[1:]}", f"{value:.0f}"))
    data = [block(f"data{number}", found) for number, found in enumerate(rows.values()) if found]
    plots = ", ".join(
        f"$data{number} using (0):2:(0):1:($2-0.19):($2+0.19):3 with boxxyerror fc rgb variable notitle,"
        f" '' using 1:2:4 with labels left offset 0.4,0 font ',10' tc rgb '#555555' notitle"
        for number, found in enumerate(rows.values()) if found
    )
    top = max(float(row[0]) for found in rows.values() for row in found)
    gnuplot(output, 860, 90 + 36 * len(entries), [
        *data,
        "set style fill solid noborder",
        f"set xlabel '{unit}; pale: AOF everysec'",
        thousands,
        f"set xrange [0:{top * 1.1:.6g}]",
        f"set yrange [{len(entries) - 0.4}:-0.6]",
        "set ytics scale 0 (" + ", ".join(f"'{label}' {place}" for place, (label, *_) in enumerate(entries)) + ")",
        f"plot {plots}",
    ], grid="x")


def curves(output, x, y, lines, commands=()):
    """Lines over a logarithmic axis: (label, colour, dashed, points)."""
    lines = [line for line in lines if line[3]]
    ticks = sorted({point[0] for line in lines for point in line[3]})
    names = {size: f"{size // 10**6}M" if size >= 10**6 else f"{size // 1000}k" if size >= 10**4 else str(size) for size in ticks}
    plots = ", ".join(
        f"$data{number} using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb '{colour}' dt {2 if dashed else 1} title '{label}'"
        for number, (label, colour, dashed, _) in enumerate(lines)
    )
    gnuplot(output, 860, 400, [
        *(block(f"data{number}", points) for number, (*_, points) in enumerate(lines)),
        "set logscale x",
        "set xtics (" + ", ".join(f"'{name}' {size}" for size, name in names.items()) + ")",
        f"set xrange [{ticks[0]}*0.85:{ticks[-1]}*1.15]",
        "set yrange [0:*]",
        f"set xlabel '{x}'",
        f"set ylabel '{y}'",
        "set key outside right center spacing 1.3",
        *commands,
        f"plot {plots}",
    ])


def pictures(figures, folder):
    def get(persistence, group, contestant, size, unit=RATE):
        return figures.get(persistence, group, contestant, size, unit)

    def rate(contestant):
        return {persistence: get(persistence, "throughput", contestant, 10) for persistence in PERSISTENCE}

    def added(first, second, times):
        """Throughput of the two after one another, the second so many times."""
        both = zip(PERSISTENCE, rate(first).values(), rate(second).values())
        return {persistence: one and other and 1 / (1 / one + times / other) for persistence, one, other in both}

    def measured(group):
        return any(figures.sizes(persistence, group) for persistence in PERSISTENCE)

    def points(persistence, group, contestant, value):
        sizes = figures.sizes(persistence, group)
        return [(int(size), f"{value(get(persistence, group, contestant, size), int(size)):.4g}") for size in sizes]

    def both(group, contestants, value):
        """A line for each (contestant, label, colour) and persistence."""
        return [
            (label + (", AOF" if persistence == AOF else ""), colour, persistence == AOF, points(persistence, group, name, value))
            for name, label, colour in contestants
            for persistence in PERSISTENCE
        ]

    if measured("throughput"):
        entries = [(one.label, GREY if one in (all_of.XADD, all_of.HSET, all_of.LUA) else BLUE, rate(one.name)) for one in all_of.THROUGHPUT]
        entries.insert(3, ("HSET + XADD, times added", GREY, added("hset", "xadd", 1)))
        four = next(place for place, entry in enumerate(entries) if entry[0] == all_of.FOUR.label)
        entries.insert(four, ("HSET + 4 XADD, times added", GREY, added("hset", "xadd", 4)))
        bars(folder / "throughput.svg", "thousand entities/s, -P 32 -c 50", 1000, entries)
    if measured("round trip"):
        entries = [
            (one.label, BLUE if one in (all_of.FLUSH, all_of.SAME) else GREY, {p: get(p, "round trip", one.name, 10, P50) for p in PERSISTENCE})
            for one in all_of.ROUND_TRIP
        ]
        bars(folder / "round-trip.svg", "median round trip of one client, µs", 1, entries)
    if measured("fields"):
        per_field = lambda rate, size: 1e6 / rate / size
        curves(folder / "fields.svg", "fields of an entity", "µs per field, -P 32 -c 50",
               both("fields", [("flush", "FLUSH, one changed", BLUE), ("hset", "HSET of all", GREY)], per_field))
    if measured("batch"):
        lines = []
        for persistence in PERSISTENCE:
            sizes = figures.sizes(persistence, "batch")
            lines.append(("FLUSH" + (", AOF" if persistence == AOF else ""), BLUE, persistence == AOF,
                          [(int(size), f"{get(persistence, 'batch', f'batch{size}', size) / 1000:.4g}") for size in sizes]))
        for persistence in PERSISTENCE:
            level, sizes = added("hset", "xadd", 1)[persistence], figures.sizes(persistence, "batch")
            lines.append(("HSET + XADD, one by one" + (", AOF" if persistence == AOF else ""), GREY, persistence == AOF,
                          [(int(size), f"{level / 1000:.4g}") for size in sizes if level]))
        curves(folder / "batch.svg", "entities in one command", "thousand entities/s, -P 32 -c 50", lines)
    if measured("entities"):
        curves(folder / "entities.svg", "entities that there are", "µs per command, -P 32 -c 50",
               both("entities", [("flush", "FLUSH, one changed", BLUE), ("hset", "HSET of all", GREY)], lambda rate, _: 1e6 / rate))
    if measured("reading"):
        readers = [("consume", "CONSUME with ACK", BLUE), ("native", "XREADGROUP + XACK", GREY)]
        curves(folder / "reading.svg", "events read and acknowledged at once", "thousand events/s, one client, pipelined",
               both("reading", readers, lambda rate, _: rate / 1000))


def main():
    folder, options = pathlib.Path(sys.argv[1]), sys.argv[2:]
    figures = read(folder / "figures.tsv")
    if not options:
        print(as_text(figures))
    if "--pictures" in options:
        pictures(figures, folder)
    text = README.read_text()
    if "--readme" in options:
        README.write_text(with_table(text, figures))
    if "--check" in options and with_table(text, figures) != text:
        sys.exit("README.md has another table than docs/bench/figures.tsv gives: make bench-report")


if __name__ == "__main__":
    main()
