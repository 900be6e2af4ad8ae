"""The relay: `relay.py` sends what is marked, until it is told to end (SIGTERM, Ctrl-C). `relay.py reconcile` compares all
users with what Redis has, and repairs that."""

import os
import signal
import sys
import time

import redis

from mortal import Mortal, connect_sql
from users import Relay


def run(relay, ended):
    away = False
    while not ended():
        try:
            sent = relay.send()
            away = False
        except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.OutOfMemoryError):
            if not away:
                print("Redis is away: the marks wait")
            sent, away = {}, True
        for id, effect in sent.items():
            print(f"user {id}: {effect}")
        if not all(sent.values()):
            time.sleep(1)  # one is refused again and again until somebody sees to it
        elif not sent:
            time.sleep(0.1)


def main(*action):
    if action not in ((), ("reconcile",)):
        sys.exit(__doc__)
    signals = []
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda number, _: signals.append(number))
    url = os.environ.get("REDIS_URL", "redis://localhost:6379")
    relay = Relay(connect_sql(), Mortal.from_url(url, protocol=3, decode_responses=True))
    if action:
        print(relay.reconcile())
    else:
        run(relay, lambda: signals)


main(*sys.argv[1:])
