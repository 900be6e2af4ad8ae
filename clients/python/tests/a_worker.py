"""A worker that a test kills: `a_worker.py URL NAME SECONDS CONCURRENCY` prints each event."""

from __future__ import annotations

import sys
import time

import redis

import dirty_streams as ds
from workers import USERS, step


def main(url: str, name: str, seconds: str, concurrency: str) -> None:
    def handle(event: ds.Event) -> None:
        print("begin", *step(event), flush=True)
        time.sleep(float(seconds))
        print("end", *step(event), flush=True)

    client = ds.Client(redis.Redis.from_url(url))
    ds.Worker(
        client,
        "user-changes",
        "mailer",
        handle,
        entities=[USERS],
        consumer=name,
        concurrency=int(concurrency),
        block=0.3,
    ).run()
    print("left", flush=True)


main(*sys.argv[1:])
