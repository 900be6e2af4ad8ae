#!/usr/bin/env python3
"""How fast flushes and reads are, against what Redis has of its own: measures, writes the figures, tells which
goals are met. Medians of ROUNDS rounds; REQUESTS says how many entities each contestant gets in one of them, ENTITIES
how many there are at the end of each curve over their number, and rows in a table; ONLY which groups are measured.

    bench.py folder            writes figures.tsv and the pictures into the folder; exits with 1 if a goal is missed
    bench.py folder --pages    and the tables into README.md and docs/performance.md
    bench.py folder --smoke    a short form, to see that it works: misses do not matter"""

import datetime
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import report
from figures import Figures, read
from goals import missed
from groups import GROUPS, expect, memory_available, prepare
from server import MODULE, NONE, PERSISTENCE, ROOT, Server


# Tests that have a server of their own, what is the same with an AOF, and what its fsync would hide.
WITHOUT_PERSISTENCE = ["instructions", "waking", "memory", "stalls"]


class Bench:
    """What the groups need to know, and where their figures go."""

    def __init__(self, smoke):
        def number(name, default):
            return int(os.environ.get(name) or default)

        self.rounds = number("ROUNDS", 1 if smoke else 3)
        self.requests = number("REQUESTS", 2_000 if smoke else 100_000)
        self.keys = 1_000 if smoke else 10_000  # that redis-benchmark picks from, unless entities are what is varied
        self.entities = number("ENTITIES", 20_000 if smoke else 1_000_000)
        self.waiting = 30 if smoke else 300  # readers of one stream
        self.persistence = NONE
        self.figures = Figures({})
        self.begin = datetime.datetime.now(datetime.timezone.utc)

    def add(self, *figure):
        self.figures.add(self.persistence, *figure)

    def say(self, text):
        minutes, seconds = divmod((datetime.datetime.now(datetime.timezone.utc) - self.begin).seconds, 60)
        print(f"{minutes:2}:{seconds:02} {self.persistence}: {text}", flush=True)

    def about(self, server):
        cpu = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        git = ["git", "describe", "--always", "--dirty"]
        try:
            commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        except FileNotFoundError:  # what is measured may be no clone, on a machine without git
            commit = ""
        return {
            "date": f"{self.begin:%Y-%m-%d %H:%M} UTC",
            "machine": f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, Linux {platform.release()}",
            "load before": f"{os.getloadavg()[0]:.2f}",
            "memory free": f"{memory_available() / 1e9:.1f} GB",
            "server": f"Redis {server.info('server', 'redis_version')}",
            "commit": commit or "unknown",
            "rounds": self.rounds,
            "requests": self.requests,
        }


def main():
    folder, smoke = pathlib.Path(sys.argv[1]), "--smoke" in sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends, too
    if not MODULE.exists():
        sys.exit(f"no module at {MODULE}; build it first: make build")
    bench = Bench(smoke)
    wanted = [name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip()] or list(GROUPS)
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown:
        sys.exit(f"ONLY: no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    with Server(NONE) as server:
        bench.figures.about = bench.about(server)
    for bench.persistence in PERSISTENCE:
        needed, free = bench.rounds * bench.requests * 8e-6, shutil.disk_usage(tempfile.gettempdir()).free / 1e9
        if bench.persistence != NONE and needed > free:
            bench.say(f"SKIPPED: it may need {needed:.1f} GB of disk, and {free:.1f} GB are free")
            continue
        for name in wanted:
            if name in WITHOUT_PERSISTENCE and bench.persistence != NONE:
                continue
            bench.say(name)
            with Server(bench.persistence) as server:
                prepare(server)
                GROUPS[name](bench, server)
                expect("errors that the server gave", server.errors(), 0)
    bench.say("done")

    folder.mkdir(parents=True, exist_ok=True)
    bench.figures.write(folder / "figures.tsv")
    figures = read(folder / "figures.tsv")  # so that report.py, which has no others, finds the same
    report.draw(figures, folder)
    if "--pages" in sys.argv[2:]:
        report.write_pages(figures)
    print(f"\n{report.as_text(figures)}")
    found = list(missed(figures, is_whole=wanted == list(GROUPS)))
    if found and not smoke:
        sys.exit("\n".join([f"\nbench: {len(found)} goals are missed", *found]))


if __name__ == "__main__":
    main()
