"""Readers in order, in threads: of a cursor, and from a position that the application keeps."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from ._follower import BaseFollower, MissedError, read_loops
from ._threads import Crew, Performer, Signals, Stop, batches
from .client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ._commands import Place, Where
    from ._entity import Entity, Stream
    from ._events import Batch
    from ._loops import Loop
    from ._words import Name, Span

__all__ = ["Follower", "MissedError", "read"]


class Follower(BaseFollower[Client]):
    """The batches of a cursor, in order: iterate over it.

    A batch is acknowledged when the next one is asked for, and at a stop by a signal or `stop`. After a `break`, an
    exception or a crash it comes again, so applying a batch twice must be harmless. Of a stream with partitions, the
    batches of all partitions take turns; `batch.stream` tells them apart.
    """

    def _prepare(self) -> None:
        self._stop = Stop()

    @property
    def stopped(self) -> bool:
        """Whether a signal or `stop` has said that it is to end."""
        return self._stop()

    def stop(self) -> None:
        """Ends the iteration when the next batch is asked for. May be called by any thread."""
        self._stop.set()

    def __iter__(self) -> Iterator[Batch]:
        """The batches. One may iterate again, but not after a stop.

        Raises:
            NoReaderError: There is no such cursor.
            MissedError: Events were missed, and neither `snapshot` nor `take_missed` was given.
            RuntimeError: It was stopped already.
        """
        stop = Stop(self._stop)
        loops = self._loops(stop)
        try:
            with Signals(self._stop, wanted=self._signals):
                yield from together(loops, self._client, stop)
        finally:
            self._over = self._stop()


def read(
    client: Client,
    stream: Stream | Name,
    position: Place | Mapping[Name, Place],
    *,
    entities: Iterable[Entity] = (),
    partitions: Iterable[int] | None = None,
    shard: tuple[int, int] | None = None,
    min_age: Span | None = None,
    where: Where | None = None,
    limit: int | None = None,
    block: Span = 1.0,
    take_missed: bool = False,
    until_idle: bool = False,
    signals: bool = True,
) -> Iterator[Batch]:
    """The batches of a stream after a position that the application keeps, with what it makes of them.

    Store `batch.position` in the transaction that stores the results; some batches have a new position and no events.

    Args:
        client: The client.
        stream: The stream; a `Stream` of an entity type with partitions is read as all its partitions.
        position: The last position that was stored; at first `"0"`, `"$"` or a datetime. Of a stream with partitions, a
            mapping of `batch.stream` to positions; partitions that it lacks are read from the beginning.
        entities: The entity types that it knows, for the types of values.
        partitions: Only these partitions of the stream.
        shard: The index and count of shards: only entities of this shard.
        min_age: Younger events are held back.
        where: Which events it gets.
        limit: How many events a batch has at most; by default 100.
        block: How long a call waits for events, and so how long a stop may take while there are none.
        take_missed: `batch.missed` tells of missed events, and nothing else happens.
        until_idle: Ends at the head of the stream.
        signals: Whether SIGTERM and SIGINT end the iteration, if it is in the main thread.

    Raises:
        NoPositionError: The stream never gave this position: load the entities from their source, and begin again.
        MissedError: Events were missed, and `take_missed` was not given.
    """
    stop = Stop()
    loops = read_loops(
        stream,
        position,
        stop,
        entities=entities,
        partitions=partitions,
        shard=shard,
        min_age=min_age,
        where=where,
        limit=limit,
        block=block,
        take_missed=take_missed,
        until_idle=until_idle,
    )
    return _reading(loops, client, stop, signals)


def _reading(loops: list[Loop], client: Client, stop: Stop, signals: bool) -> Iterator[Batch]:
    with Signals(stop, wanted=signals):
        yield from together(loops, client, stop)


def together(loops: list[Loop], client: Client, stop: Stop) -> Iterator[Batch]:
    """The batches of all loops, in the order in which they came. Each loop waits until its batch was taken."""
    if len(loops) == 1:
        yield from batches(loops[0], Performer(client, stop))
        return
    given: queue.Queue[_Given | None] = queue.Queue()
    crew, running = Crew(stop), len(loops)
    for loop in loops:
        crew.start(_feeder(loop, client, stop, given), "reader")
    try:
        while running:
            one = given.get()
            if one is None:
                running -= 1
            elif stop():
                one.answer(taken=False)
            else:
                taken = False
                try:
                    yield one.batch
                    taken = True
                finally:
                    one.answer(taken=taken)
    finally:
        if running:  # the application has left the iteration
            stop.set()
            while running:
                one = given.get()
                if one is None:
                    running -= 1
                else:
                    one.answer(taken=False)
    crew.join()


class _Given:
    """A batch that waits for the application."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._taken = False
        self._answered = threading.Event()

    def answer(self, *, taken: bool) -> None:
        self._taken = taken
        self._answered.set()

    def wait(self) -> bool:
        self._answered.wait()
        return self._taken


def _feeder(
    loop: Loop, client: Client, stop: Stop, given: queue.Queue[_Given | None]
) -> Callable[[], None]:
    perform = Performer(client, stop)

    def feed() -> None:
        try:
            for batch in batches(loop, perform):
                one = _Given(batch)
                given.put(one)
                if not one.wait():
                    break  # not taken, so not acknowledged
        finally:
            given.put(None)

    return feed
