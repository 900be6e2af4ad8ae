"""A worker that a test kills: `a_worker.py URL NAME HANDLING CONCURRENCY` prints each event.

Its handler takes HANDLING seconds; `stop`: until the worker is told to stop; `hang`: then it tells so, and hangs.
"""

from __future__ import annotations

import sys
import time

import redis

import dirty_streams as ds
from workers import USERS, step


def main(url: str, name: str, handling: str, concurrency: str) -> None:
    def handle(event: ds.Event) -> None:
        print("begin", *step(event), flush=True)
        if handling in {"stop", "hang"}:
            while not worker.stopped:
                time.sleep(0.005)
            if handling == "hang":
                print("told", flush=True)
                time.sleep(60)
        else:
            time.sleep(float(handling))
        print("end", *step(event), flush=True)

    client = ds.Client(redis.Redis.from_url(url))
    worker = ds.Worker(
        client,
        "user-changes",
        "mailer",
        handle,
        entities=[USERS],
        consumer=name,
        concurrency=int(concurrency),
        block=0.3,
    )
    worker.run()
    print("left", flush=True)


main(*sys.argv[1:])
