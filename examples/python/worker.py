"""The mailer: reads user-changes as one of its group's workers, until it is told to end (SIGTERM, Ctrl-C)."""

import os
import signal
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

STREAM, GROUP, ME = "user-changes", "mailer", "mailer-1"


def handle(event):
    """An event may come twice; a real mailer would send its id along, so that the mail goes out once."""
    changes = event.get("changes", {})
    if event["op"] == "insert":
        email = changes["email"][1]
        if "@" not in email:
            raise ValueError(f"{email!r} is no address")
        print(f"welcome, {changes['name'][1]} <{email}>")
    elif "name" in changes:
        print("{} is {} now".format(*changes["name"]))


def passes(error):
    """A lost connection, or what a failover, a restart or XGROUP DESTROY may answer: call again."""
    lost = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.OutOfMemoryError)
    return isinstance(error, lost) or str(error).startswith(("UNBLOCKED", "NOGROUP", "TRYAGAIN"))


def work(client, ended):
    done = []  # each call acknowledges what came of the one before
    options = ["PENDING"]  # at first: what a worker of this name has not finished
    while not ended():
        try:
            batch = client.execute_command(
                "DIRTY.CONSUME", STREAM, "GROUP", GROUP, ME,
                "ACK", len(done), *done, *options, "CLAIM", 60_000, "BLOCK", 1000,
            )  # fmt: skip
            done, options = [], []
            if batch["missed"]:
                print(batch["missed"], "events are lost: load the users from SQL")
            for event in batch["events"]:
                try:
                    handle(event)
                    done.append(event["id"])
                except Exception as error:  # whatever it is: the event must not end every worker that gets it
                    # NOW keeps this story short. Without it the event comes again after CLAIM's minute, so that an outage of
                    # seconds does not make everything dead.
                    fate = client.execute_command(
                        "DIRTY.FAIL", STREAM, "GROUP", GROUP, event["id"], str(error), "NOW", "MAXDELIVERIES", 3
                    )
                    print(f"{error}, delivery {event['deliveries']}: {fate}")
        except redis.RedisError as error:
            if not passes(error):
                raise
            options = ["PENDING"]  # the reply that was lost may have held events
            time.sleep(0.2)
    if done:
        client.execute_command("DIRTY.ACK", STREAM, "GROUP", GROUP, *done)
    client.execute_command("DIRTY.LEAVE", STREAM, "GROUP", GROUP, ME)  # what it holds goes to the others


def main():
    signals = []
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda number, _: signals.append(number))
    # redis-py would send a call again by itself, and nobody would ask for PENDING. Its time-out, 5 s when left
    # alone, must be longer than BLOCK.
    client = redis.Redis.from_url(
        os.environ.get("REDIS_URL", "redis://localhost:6379"),
        protocol=3, decode_responses=True, retry=Retry(NoBackoff(), 0),
    )  # fmt: skip
    work(client, lambda: signals)


main()
