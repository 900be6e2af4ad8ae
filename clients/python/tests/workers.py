"""What the tests of workers and followers share."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import dirty_streams as ds

USERS = ds.Entity(
    "user", types={"n": "int"}, streams=[ds.Stream("user-changes", payload="FULL")], id_type=int
)
STREAM, GROUP = "user-changes", "mailer"


def client_of(port: int) -> ds.Client:
    """A client whose redis-py tries nothing twice, so that the tests are fast."""
    return ds.Client(redis.Redis(port=port, retry=Retry(NoBackoff(), 0)))


def update(client: ds.Client, *steps: tuple[int, int], tenant: str | None = None) -> None:
    """One event for each pair of an id and a number."""
    meta = None if tenant is None else {"tenant": tenant}
    for entity_id, n in steps:
        client.flush(USERS, ds.snapshot(entity_id, {"n": n}), meta=meta)


def step(event: ds.Event) -> tuple[int, int]:
    """The id and the number of an event."""
    return event.id, event.changes["n"].new


def declare(client: ds.Client, **options: object) -> None:
    """The entity type, and its group, in the order of entities."""
    client.declare(USERS)
    client.group(STREAM, GROUP, start="0", **{"order": "ENTITY", **options})  # type: ignore[arg-type]


def worker(client: ds.Client, handler: object, **options: object) -> ds.Worker:
    """A worker of the group that takes little time."""
    options = {"block": 0.2, "retry_base": 0.02, "signals": False, **options}
    return ds.Worker(client, STREAM, GROUP, handler, entities=[USERS], **options)  # type: ignore[arg-type]


def pending(client: ds.Client) -> int:
    """How many events the group has not finished."""
    stats = client.stats(STREAM).reader(GROUP)
    assert stats is not None
    return (stats.pending or 0) + (stats.lag or 0)


PATIENCE = 30.0
"""How many seconds something may take that takes none on a quiet machine: less than the CLAIM of a group, a minute."""


def wait_until(condition: Callable[[], object], limit: float = PATIENCE) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@contextmanager
def running(*workers: ds.Worker) -> Iterator[None]:
    """Workers in threads of their own, which are stopped at the end."""
    errors: list[BaseException] = []

    def run(worker: ds.Worker) -> None:
        try:
            worker.run()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[worker], daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(PATIENCE)
    assert not errors, errors
    assert not any(thread.is_alive() for thread in threads)


class Proxy:
    """Passes bytes on to a server; it can lose the next reply, together with the connection."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lose: bytes | None = None
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_reply_to(self, command: str) -> None:
        self._lose = command.encode()

    def move(self, port: int) -> None:
        """New connections go to another server. Those that there are stay as they are."""
        self._to = port

    def close(self) -> None:
        _hang_up(self._listener, *self._sockets)
        for one in (self._listener, *self._sockets):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            lose = threading.Event()
            threading.Thread(
                target=self._requests, args=[client, server, lose], daemon=True
            ).start()
            threading.Thread(target=self._replies, args=[client, server, lose], daemon=True).start()

    def _requests(
        self, client: socket.socket, server: socket.socket, lose: threading.Event
    ) -> None:
        try:
            while data := client.recv(65536):
                if self._lose is not None and self._lose in data:
                    self._lose = None
                    lose.set()
                server.sendall(data)
        except OSError:
            pass
        _hang_up(client, server)

    def _replies(self, client: socket.socket, server: socket.socket, lose: threading.Event) -> None:
        try:
            while data := server.recv(65536):
                if lose.is_set():
                    self.lost += 1
                    break
                client.sendall(data)
        except OSError:
            pass
        _hang_up(client, server)


def _hang_up(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
