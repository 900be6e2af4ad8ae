"""Readers in order, in tasks: of a cursor, and from a position that the application keeps."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .._follower import BaseFollower, MissedError, read_loops
from ._tasks import Crew, Performer, Signals, Stop, batches
from .client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping

    from .._commands import Place, Where
    from .._entity import Entity, Stream
    from .._events import Batch
    from .._loops import Loop
    from .._words import Name, Span

__all__ = ["Follower", "MissedError", "read"]


class Follower(BaseFollower[Client]):
    """The batches of a cursor, in order: `dirty_streams.Follower` for asyncio. Iterate over it.

    A batch is acknowledged when the next one is asked for, and at a stop by a signal or `stop`.
    After a `break`, an exception or a crash it comes again, so applying a batch twice must be
    harmless.
    """

    def _prepare(self) -> None:
        self._stop = Stop()

    @property
    def stopped(self) -> bool:
        """Whether a signal or `stop` has said that it is to end."""
        return self._stop()

    def stop(self) -> None:
        """Ends the iteration when the next batch is asked for."""
        self._stop.set()

    async def __aiter__(self) -> AsyncIterator[Batch]:
        """The batches. One may iterate again, but not after a stop.

        Raises:
            NoReaderError: There is no such cursor.
            MissedError: Events were missed, and neither `snapshot` nor `take_missed` was given.
            RuntimeError: It was stopped already.
        """
        stop = Stop(self._stop)
        loops = self._loops(stop)
        try:
            async with (
                Signals(self._stop, wanted=self._signals),
                contextlib.aclosing(together(loops, self._client, stop)) as batches_of_all,
            ):
                async for batch in batches_of_all:
                    yield batch
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
) -> AsyncIterator[Batch]:
    """The batches after a position that the application keeps: `dirty_streams.read` for asyncio.

    Its arguments are the same. Store `batch.position` in the transaction that stores the results.
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


async def _reading(
    loops: list[Loop], client: Client, stop: Stop, signals: bool
) -> AsyncGenerator[Batch, None]:
    async with (
        Signals(stop, wanted=signals),
        contextlib.aclosing(together(loops, client, stop)) as all_of_them,
    ):
        async for batch in all_of_them:
            yield batch


async def together(loops: list[Loop], client: Client, stop: Stop) -> AsyncGenerator[Batch, None]:
    """The batches of all loops, in the order in which they came.

    Each loop waits until its batch was taken.
    """
    if len(loops) == 1:
        async with contextlib.aclosing(batches(loops[0], Performer(client, stop))) as only:
            async for batch in only:
                yield batch
        return
    given: asyncio.Queue[_Given | None] = asyncio.Queue()
    crew, running = Crew(stop), len(loops)
    for loop in loops:
        crew.start(_feed(loop, client, stop, given), "reader")
    try:
        while running:
            one = await given.get()
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
            with contextlib.suppress(Exception):
                await crew.cancel()
    await crew.join()


class _Given:
    """A batch that waits for the application."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answer(self, *, taken: bool) -> None:
        if not self._taken.done():
            self._taken.set_result(taken)

    async def wait(self) -> bool:
        return await self._taken


async def _feed(
    loop: Loop, client: Client, stop: Stop, given: asyncio.Queue[_Given | None]
) -> None:
    try:
        async for batch in batches(loop, Performer(client, stop)):
            one = _Given(batch)
            given.put_nowait(one)
            if not await one.wait():
                break  # not taken, so not acknowledged
    finally:
        given.put_nowait(None)
