"""The directory: keeps each user's name in a file. Its cursor begins with the users that exist, and goes on with what
changes. Reads to the head of the stream, and ends."""

import json
import os
import pathlib

import redis

CURSOR = ["user-changes", "CURSOR", "directory"]
FROM_NOTHING = ["SNAPSHOT", 1, "user"]


def apply(names, unnamed, event):
    """Twice does no harm: what came since the last acknowledged position comes again after a crash."""
    id = event["entity-id"]
    unnamed.discard(id)
    if event["op"] == "delete":
        names.pop(id, None)
    elif event["op"] == "read":  # of the snapshot phase: a user as it is now
        names[id] = event["after"]["name"]
    elif "name" in event.get("changes", {}):
        names[id] = event["changes"]["name"][1]


def main():
    client = redis.Redis.from_url(
        os.environ.get("REDIS_URL", "redis://localhost:6379"), protocol=3, decode_responses=True
    )
    client.execute_command("DIRTY.READER", *CURSOR, "FROM", *FROM_NOTHING)  # FROM concerns a new cursor only
    path = pathlib.Path(os.environ.get("DIRECTORY", "directory.json"))
    names, unnamed = json.loads(path.read_text()) if path.exists() else ({}, [])
    more, ack = True, []
    while more:
        batch = client.execute_command("DIRTY.CONSUME", *CURSOR, *ack, "COUNT", 2)
        if batch["missed"] != 0:  # retention was faster, or the stream was begun again; null if nobody knows how many
            client.execute_command("DIRTY.SEEK", *CURSOR, *FROM_NOTHING)
            ack = []
            continue
        # From `begin` on every user that exists is named. The others were deleted while nobody was looking.
        unnamed = set(names if batch.get("begin") else unnamed)
        for event in batch["events"]:
            apply(names, unnamed, event)
        if batch.get("phase") == "stream":
            names = {id: name for id, name in names.items() if id not in unnamed}
            unnamed = set()
        path.write_text(json.dumps([names, list(unnamed)]))
        more, ack = batch["more"], ["ACK", batch["position"]]  # first the file, then the position
    client.execute_command("DIRTY.ACK", *CURSOR, batch["position"])
    print({id: names[id] for id in sorted(names)})


main()
