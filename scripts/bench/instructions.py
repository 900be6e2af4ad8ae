"""How many instructions each way to flush takes, as the integration test `instructions` counts them, and how many the
module API takes for it at least, by floor.c. Callgrind counts the same however busy the machine is."""

import os
import subprocess

from figures import INSTRUCTIONS
from server import ROOT, floor

FLOOR = "floor: "  # before the name of the path


def instructions(bench, _server):
    command = ["cargo", "test", "-q", "--test", "integration", "the_main_paths_take", "--", "--nocapture"]
    wanted = os.environ | {"INSTRUCTIONS": "print", "FLOOR_MODULE": str(floor())}
    done = subprocess.run(command, cwd=ROOT, env=wanted, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    for line in done.stdout.splitlines():
        name, tab, count = line.partition("\t")
        if tab:
            contestant, path = ("floor", name.removeprefix(FLOOR)) if name.startswith(FLOOR) else ("flush", name)
            bench.add("instructions", contestant, path, INSTRUCTIONS, int(count))
    if not bench.figures.sizes(bench.persistence, "instructions"):
        raise RuntimeError(f"nothing was counted:\n{done.stdout[-2000:]}")
