"""The mailer: `worker.py NAME` is one of its group's workers, until it is told to end (SIGTERM, Ctrl-C)."""

import os
import signal
import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

STREAM, GROUP = "user-changes", "mailer"


class Taken(Exception):
    """This worker was silent for too long, and another one has the event."""


def handle(event, hold):
    """An event may come twice; a real mailer would send its id along, so that the mail goes out once."""
    changes = event.get("changes", {})
    if event["op"] == "insert":
        name, email = changes["name"][1], changes["email"][1]
        if "@" not in email:
            raise ValueError(f"{email!r} is no address")
        if email.endswith("@slow.example"):  # a mail server that takes its time
            for _ in range(6):
                time.sleep(0.4)
                hold()
        print(f"welcome, {name} <{email}>")
    elif event["op"] == "update" and "name" in changes:
        print("{} is {} now".format(*changes["name"]))


def passes(error):
    """A lost connection, or what a failover or a restart may answer: call again."""
    lost = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.OutOfMemoryError)
    return isinstance(error, lost) or str(error).startswith(("UNBLOCKED", "TRYAGAIN"))


class Worker:
    def __init__(self, client, name):
        self.client, self.name = client, name
        self.done = []  # each call acknowledges what came of the one before

    def call(self, command, *words):
        return self.client.execute_command(command, STREAM, "GROUP", GROUP, self.name, *words)

    def run(self, ended):
        pending = ["PENDING"]  # at first: what a worker of this name has not finished
        while not ended():
            try:
                batch = self.call("DIRTY.CONSUME", "ACK", len(self.done), *self.done, *pending, "BLOCK", 1000)
                # After a lost reply they may be what the lost call has acknowledged.
                for id in batch["not-held"] if not pending else []:
                    print(f"{id} was handled here, but this worker was silent for too long: another one has it")
                self.done, pending = [], []
                if batch["missed"] != 0:  # null if nobody knows how many
                    print(batch["missed"] or "some", "events are lost: load the users from SQL")
                self.handle(batch["events"])
            except redis.RedisError as error:
                if not passes(error):
                    raise
                pending = ["PENDING"]  # the reply that was lost may have held events
                time.sleep(0.2)
        if self.done:
            self.call("DIRTY.ACK", *self.done)
        self.call("DIRTY.LEAVE")  # what it holds goes to the others

    def handle(self, events):
        held = {event["id"]: event for event in events}

        def hold():
            """Whatever takes longer than the group's CLAIM says in between that it goes on."""
            for id in self.call("DIRTY.HOLD", *held):
                del held[id]
            if event["id"] not in held:
                raise Taken

        for event in events:
            if event["id"] not in held:
                continue
            try:
                handle(event, hold)
                self.done.append(event["id"])
            except Taken:
                pass
            except redis.RedisError:
                raise
            except Exception as error:  # whatever it is: the event must not end every worker that gets it
                # Twice as late each time. MAXDELIVERIES of the group says when it is enough.
                delay = 100 * 2 ** event["deliveries"]
                [fate] = self.call("DIRTY.FAIL", str(error), "DELAY", delay, event["id"])
                print(f"{error}, delivery {event['deliveries']}: {fate}")
                # In order: what this user did after comes again, behind this event.
                user = event["entity"], event["entity-id"]
                held = {id: one for id, one in held.items() if (one["entity"], one["entity-id"]) != user}


def main(name):
    signals = []
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda number, _: signals.append(number))
    # redis-py would send a call again by itself, and nobody would ask for PENDING. Its time-out, 5 s when left
    # alone, must be longer than BLOCK.
    client = redis.Redis.from_url(
        os.environ.get("REDIS_URL", "redis://localhost:6379"),
        protocol=3, decode_responses=True, retry=Retry(NoBackoff(), 0),
    )  # fmt: skip
    Worker(client, name).run(lambda: signals)


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(sys.argv[1])
