"""A relay as an application's process: relay_program.py DATABASE_URL REDIS_PORT [N]

It dies by SIGKILL before the nth statement, commit or command.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
from typing import Any

import redis
from sqlalchemy import event

from dirty_streams import Client
from dirty_streams.sqlalchemy import Relay

from .conftest import engine_of
from .models import marks


def main(url: str, port: str, place: str = "0") -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    steps = itertools.count(1)

    def step(*_: Any) -> None:
        if next(steps) == int(place):
            os.kill(os.getpid(), signal.SIGKILL)

    class Mortal(Client):
        def execute(self, command: Any) -> Any:
            step()
            return super().execute(command)

    engine = engine_of(url)
    event.listen(engine, "before_cursor_execute", step)
    event.listen(engine, "commit", step)
    client = Mortal(redis.Redis(port=int(port)))
    relay = Relay(engine, client, marks, batch=20, interval=0.01)
    print("begun", flush=True)
    relay.run()
    print("ended in order", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
