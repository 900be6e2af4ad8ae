"""The figures that were measured, as a file of tab-separated lines: what each is, its median over the rounds,
its lowest and its highest. Lines that begin with # say where they come from."""

from statistics import median

COLUMNS = ["persistence", "group", "contestant", "size", "unit", "median", "lowest", "highest"]
RATE = "entities/s"  # of reading: events/s
CPU = "CPU µs each"  # of the server's main thread, for an entity or event
AOF_BYTES = "AOF bytes each"  # written for an event that is read and acknowledged
P50, P99 = "p50 µs", "p99 µs"
INSTRUCTIONS = "instructions"
CLIENT = "CPU % of the client"  # of client.c: below 100 the server, or the way to it, is what it waits for
AGAIN = "tried again %"  # since another client was faster
PING = "longest PING ms"
HELD = "longest PING CPU ms"  # of the server's process, while the PING waited


class Figures:
    def __init__(self, about):
        self.about = about  # what, and what it is: machine, versions, date
        self.values = {}  # by the first five columns: median, lowest, highest
        self.samples = {}

    def add(self, persistence, group, contestant, size, unit, value):
        key = persistence, group, contestant, str(size), unit
        self.samples.setdefault(key, []).append(value)
        values = self.samples[key]
        self.values[key] = median(values), min(values), max(values)

    def get(self, *key):
        """The median, or None if it was not measured."""
        return self.values.get((*key[:3], str(key[3]), key[4]), (None,))[0]

    def sizes(self, persistence, group):
        """Those measured, in the order in which they were."""
        return list(dict.fromkeys(key[3] for key in self.values if key[:2] == (persistence, group)))

    def contestants(self, persistence, group):
        """Those measured, likewise."""
        return list(dict.fromkeys(key[2] for key in self.values if key[:2] == (persistence, group)))

    def write(self, path):
        lines = [f"# {what}\t{value}" for what, value in self.about.items()]
        lines.append("\t".join(COLUMNS))
        lines += ["\t".join([*key, *map(rounded, values)]) for key, values in self.values.items()]
        path.write_text("\n".join(lines) + "\n")


def rounded(value):
    return f"{value:.5g}" if value < 1e5 else f"{value:.0f}"


def read(path):
    figures = Figures({})
    for line in path.read_text().splitlines():
        cells = line.split("\t")
        if line.startswith("# "):
            figures.about[cells[0][2:]] = cells[1]
        elif cells != COLUMNS:
            figures.values[tuple(cells[:5])] = tuple(map(float, cells[5:]))
    return figures
