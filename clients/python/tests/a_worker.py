"""A worker that a test kills: `a_worker.py URL NAME [SECONDS]` prints each event, and takes so long for it."""

from __future__ import annotations

import sys
import time

import redis
from workers import USERS, step

import dirty_streams as ds


def main(url: str, name: str, seconds: str = "0") -> None:
    def handle(event: ds.Event) -> None:
        print("begin", *step(event), flush=True)
        time.sleep(float(seconds))
        print("end", *step(event), flush=True)

    client = ds.Client(redis.Redis.from_url(url))
    ds.Worker(
        client, "user-changes", "mailer", handle, entities=[USERS], consumer=name, block=0.3
    ).run()
    print("left", flush=True)


main(*sys.argv[1:])
