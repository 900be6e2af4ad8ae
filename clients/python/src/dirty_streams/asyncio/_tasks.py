"""How asyncio carries out the requests of loops."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import inspect
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Any

from .._loops import Give, Handle, Loop, Pause, Request, Send, Sleep, Tell, Turn, log

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
    from types import TracebackType

    from .._events import Batch, Event
    from .client import Client


class Stop:
    """Whether somebody has said stop, here or above."""

    def __init__(self, above: Stop | None = None) -> None:
        self._said = asyncio.Event()
        self._below: weakref.WeakSet[Stop] = weakref.WeakSet()
        if above is not None:
            above._below.add(self)
            if above():
                self.set()

    def __call__(self) -> bool:
        return self._said.is_set()

    def set(self) -> None:
        """Says stop."""
        self._said.set()
        for below in self._below:
            below.set()

    async def sleep(self, seconds: float) -> None:
        """Sleeps, but not on after a stop."""
        await _wait(self._said, seconds)

    async def wait(self) -> None:
        """Waits for a stop."""
        await self._said.wait()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class Turns:
    """Places, given in the order in which they were asked for."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    async def take(self, stop: Stop) -> bool:
        """Waits for a place. False if it is to stop instead."""
        if self._free > 0:
            self._free -= 1
            return True
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({place, stopped}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._withdraw(place)
            raise
        finally:
            stopped.cancel()
        if stop():
            self._withdraw(place)
            return False
        return True

    def _withdraw(self, place: asyncio.Future[None]) -> None:
        if place.done():
            self.release()
        else:
            self._waiting.remove(place)

    def release(self) -> None:
        """Gives a place back: to whoever has waited longest."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._free += 1


class Signals:
    """While it is entered in the main thread, the first SIGTERM or SIGINT says stop, and the second one cancels."""

    def __init__(self, stop: Stop, *, wanted: bool) -> None:
        self._stop = stop
        self._wanted = wanted and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}
        self._second: int | None = None

    async def __aenter__(self) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if not self._wanted or task is None:
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.getsignal(number)
            loop.add_signal_handler(number, self._caught, number, task)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        for number, handler in self._before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._second is not None and isinstance(error, asyncio.CancelledError):
            if self._second == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + self._second) from None

    def _caught(self, number: int, task: asyncio.Task[Any]) -> None:
        if not self._stop():
            self._stop.set()
        else:
            self._second = number
            task.cancel()


class Performer:
    """Carries out the requests of one loop."""

    def __init__(
        self,
        client: Client,
        stop: Stop,
        *,
        turns: Turns | None = None,
        handler: Callable[[Event], Any] | None = None,
    ) -> None:
        self._client, self._stop, self._turns, self._handler = client, stop, turns, handler
        self.ended = asyncio.Event()

    async def __call__(self, request: Request) -> Any:
        """The result of a request."""
        if isinstance(request, Send):
            return await self._client.execute(request.command)
        if isinstance(request, Handle):
            return None if self._handler is None else await _awaited(self._handler(request.event))
        if isinstance(request, Turn):
            return self._turns is None or await self._turns.take(self._stop)
        if isinstance(request, Sleep):
            return await self._stop.sleep(request.seconds)
        if isinstance(request, Pause):
            return await _wait(self.ended, request.seconds)
        if isinstance(request, Tell):
            return await _awaited(request.callback(*request.args))
        raise AssertionError(request)


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def drive(loop: Loop, perform: Callable[[Request], Awaitable[Any]]) -> None:
    """Carries out all requests of a loop."""
    async for _ in batches(loop, perform):
        raise AssertionError("this loop gives no batches")


async def batches(
    loop: Loop, perform: Callable[[Request], Awaitable[Any]]
) -> AsyncGenerator[Batch, None]:
    """Carries out the requests of a loop, and passes on the batches that it gives."""
    result: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                request = loop.send(result) if error is None else loop.throw(error)
            except StopIteration:
                return
            result, error = None, None
            if isinstance(request, Give):
                yield request.batch
                continue
            try:
                result = await perform(request)
            except BaseException as raised:
                error = raised
    finally:
        loop.close()


class Crew:
    """Tasks that run until all have ended; the first error of one stops the others."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Starts a task."""

        async def run() -> None:
            try:
                await work
            except BaseException:
                self._stop.set()
                raise

        self._tasks.append(asyncio.create_task(run(), name=name))

    async def join(self) -> None:
        """Waits for all, and raises the first error. When this is cancelled, so are they."""
        try:
            await asyncio.wait(self._tasks)
        except asyncio.CancelledError:
            await self.cancel()
            raise
        errors = [error for task in self._tasks if (error := task.exception()) is not None]
        for error in errors[1:]:
            log.error("another task has failed, too", exc_info=error)
        if errors:
            raise errors[0]

    async def cancel(self) -> None:
        """Cancels all, and waits until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # somebody has looked at it
