"""The auditor: reads the changes of accounts without the module's commands, by XREADGROUP and a MessagePack library."""

import os
import signal

import msgpack
import redis

STREAM, GROUP, ME = "account-changes", "auditor", "auditor-1"
OPERATIONS = {1: "insert", 2: "update", 3: "delete"}
TYPES = {"i": int, "u": int, "f": float, "b": lambda text: text == "1"}  # the others are text


def value(param):
    """`{"t": type, "v": text}`, or `{"n": True}` for null."""
    return None if param.get("n") else TYPES.get(param["t"], lambda text: text)(param["v"])


def show(entry):
    event = msgpack.unpackb(entry[b"s"])
    changes = {field: (value(change["o"]), value(change["n"])) for field, change in event.get("ch", {}).items()}
    print(OPERATIONS[event["ft"]], event["et"], event["id"], "version", event["v"], changes)


def main():
    signals = []
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda number, _: signals.append(number))
    client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))  # replies are bytes
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    start = "0"  # at first what a worker of this name has not finished
    while not signals:
        for _, entries in client.xreadgroup(GROUP, ME, {STREAM: start}, block=1000):
            start = start if entries else ">"
            for id, entry in entries:
                if entry:  # one that was trimmed while it was pending is empty
                    show(entry)
                client.xack(STREAM, GROUP, id)


main()
