"""A relay as an application's process: relay_program.py DATABASE_URL REDIS_PORT"""

from __future__ import annotations

import logging
import sys

import redis

from dirty_streams import Client
from dirty_streams.sqlalchemy import Relay

from .conftest import engine_of
from .models import marks

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    client = Client(redis.Redis(port=int(sys.argv[2])))
    relay = Relay(engine_of(sys.argv[1]), client, marks, batch=20, interval=0.01)
    print("begun", flush=True)
    relay.run()
    print("ended in order", flush=True)
