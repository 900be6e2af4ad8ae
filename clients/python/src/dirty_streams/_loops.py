"""What the loops of workers and followers share.

A loop is a generator: it yields requests and gets their results, and does no input or output itself. So it is written
once, and threads and asyncio each carry out its requests in their own way.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ._entity import Entity, Stream
from .errors import is_outage

if TYPE_CHECKING:
    from ._commands import Command
    from ._events import Batch, Event
    from ._words import Name

log = logging.getLogger("dirty_streams")

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Sends a command once. The result is its value; an error is raised in the loop."""

    command: Command[Any]


@dataclass(frozen=True)
class Sleep:
    """Waits, but not longer than until the loop is to stop."""

    seconds: float


@dataclass(frozen=True)
class Pause:
    """Waits, but not longer than until the loop has ended: for its heartbeat."""

    seconds: float


@dataclass(frozen=True)
class Turn:
    """Waits for the loop's turn to handle an event. The result is False if the loop is to stop instead."""


@dataclass(frozen=True)
class Handle:
    """Calls the handler. The result is what it returns; what it raises is raised in the loop."""

    event: Event


@dataclass(frozen=True)
class Tell:
    """Calls one of the application's callbacks."""

    callback: Callable[..., Any]
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Give:
    """Gives a batch to the application. The loop goes on when the application asks for the next one."""

    batch: Batch


Request = Send | Sleep | Pause | Turn | Handle | Tell | Give
Loop = Generator[Request, Any, None]
Steps = Generator[Request, Any, T]


class Outage:
    """Waits out outages: a little longer each time, and logs where one begins and ends."""

    def __init__(self, name: str, *, first: float = 0.1, cap: float = 5.0) -> None:
        self._name, self._first, self._cap = name, first, cap
        self._failures = 0

    def wait(self, error: BaseException) -> Steps[None]:
        """Waits after an error, or raises it if it is no outage."""
        if not is_outage(error):
            raise error
        if self._failures == 0:
            log.warning("%s: Redis is away, waiting: %s", self._name, error)
        yield Sleep(self.delay())

    def delay(self) -> float:
        """How long to wait after one more failure."""
        span = min(self._cap, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return span * random.uniform(0.5, 1.0)  # noqa: S311

    def over(self) -> bool:
        """Notes a reply. Returns whether an outage is over."""
        failures, self._failures = self._failures, 0
        if failures:
            log.warning("%s: Redis is back", self._name)
        return failures > 0


def persist(command: Command[T], outage: Outage, stopping: Callable[[], bool]) -> Steps[T | None]:
    """Sends a command that may be repeated, until it is answered. None if the loop is to stop while Redis is away."""
    while True:
        try:
            value: T = yield Send(command)
        except Exception as error:
            yield from outage.wait(error)
            if stopping():
                return None
        else:
            outage.over()
            return value


def now() -> float:
    """The seconds of a clock that goes on while the machine sleeps, where there is one."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def consumer_name() -> str:
    """A name that no other process has, nor any process before this one."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Source:
    """A stream to read, one of several if the stream's entity type has partitions."""

    key: Name
    partition: int | None = None


def sources(stream: Stream | Name, partitions: Any = None) -> list[Source]:
    """The streams that an argument names.

    Raises:
        TypeError: It is no stream.
        ValueError: There is no such partition, or the stream has none.
    """
    if isinstance(stream, Entity):
        raise TypeError(
            f"a stream is read: the entity type {stream.key!r} has the streams in .streams"
        )
    if not isinstance(stream, (Stream, str, bytes)):
        raise TypeError(f"a stream is a Stream or a key, not {stream!r}")
    if not isinstance(stream, Stream) or stream.partitions is None:
        if partitions is not None:
            raise ValueError(f"{stream!r} has no partitions: give the Stream of an Entity that has")
        return [Source(stream.name if isinstance(stream, Stream) else stream)]
    keys = stream.keys
    chosen = range(len(keys)) if partitions is None else list(partitions)
    for partition in chosen:
        if not 0 <= partition < len(keys):
            raise ValueError(
                f"{stream.name!r} has the partitions 0 to {len(keys) - 1}, not {partition}"
            )
    if not chosen:
        raise ValueError("partitions must name at least one partition")
    return [Source(keys[partition], partition) for partition in chosen]
