"""A step of a pipeline: makes a card of each user. A flush acknowledges what it was made of, so each event has its effect
exactly once: either both have happened, or neither. Ends when there is nothing to read."""

import os

import redis

from mortal import Mortal

STREAM, GROUP, ME = "user-changes", "cards", "cards-1"


def operations(event):
    if event["op"] == "delete":
        return ["DELETE", event["entity-id"]]
    if "name" in event.get("changes", {}):
        return ["SNAPSHOT", event["entity-id"], 1, "title", f"Dear {event['changes']['name'][1]}"]
    return []


def main():
    client = Mortal.from_url(
        os.environ.get("REDIS_URL", "redis://localhost:6379"), protocol=3, decode_responses=True
    )
    client.execute_command("DIRTY.DECLARE", "card", "STREAM", "card-changes")
    events, pending = True, ["PENDING"]  # at first: what a process of this name has not finished
    while events:
        batch = client.execute_command("DIRTY.CONSUME", STREAM, "GROUP", GROUP, ME, *pending, "COUNT", 3)
        events, pending = batch["events"], []
        ids = [event["id"] for event in events]
        flush = [word for event in events for word in operations(event)]
        if flush:
            ack = ["ACK", STREAM, "GROUP", GROUP, ME, len(ids), *ids]
            try:
                print(*client.execute_command("DIRTY.FLUSH", "card", *ack, *flush))
            except redis.ResponseError as error:
                if not str(error).startswith("NOTHELD"):
                    raise
                print(error)  # another process has finished them, or works on them: this one drops its work
        elif ids:
            client.execute_command("DIRTY.ACK", STREAM, "GROUP", GROUP, ME, *ids)


main()
