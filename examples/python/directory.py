"""The directory: keeps each user's name in a file, by a cursor. Reads to the head of the stream, and ends."""

import json
import os
import pathlib

import redis

STREAM, CURSOR = "user-changes", "directory"


def apply(names, event):
    """Twice does no harm: the events since the last acknowledged position come again after a crash."""
    if event["op"] == "delete":
        names.pop(event["entity-id"], None)
    elif "name" in event.get("changes", {}):
        names[event["entity-id"]] = event["changes"]["name"][1]


def main():
    client = redis.Redis.from_url(
        os.environ.get("REDIS_URL", "redis://localhost:6379"), protocol=3, decode_responses=True
    )
    path = pathlib.Path(os.environ.get("DIRECTORY", "directory.json"))
    names = json.loads(path.read_text()) if path.exists() else {}
    more, ack = True, []
    while more:
        batch = client.execute_command("DIRTY.CONSUME", STREAM, "CURSOR", CURSOR, *ack, "COUNT", 2)
        if batch["missed"] != 0:  # null if nobody knows how many
            print(batch["missed"] or "some", "events are lost: load the users from SQL")
        for event in batch["events"]:
            apply(names, event)
        path.write_text(json.dumps(names))
        more, ack = batch["more"], ["ACK", batch["position"]]  # first the file, then the position
    client.execute_command("DIRTY.ACK", STREAM, "CURSOR", CURSOR, batch["position"])
    print(names)


main()
