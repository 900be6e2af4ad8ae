"""How threads carry out the requests of loops."""

from __future__ import annotations

import collections
import inspect
import math
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from ._loops import Give, Handle, Loop, Pause, Request, Send, Sleep, Tell, Turn, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

    from ._events import Batch, Event
    from .client import Client

_TICK = 0.1
"""How long a wait may overlook that it is to stop. A signal's handler may take no lock, so nothing wakes the wait."""


class Stop:
    """Whether somebody has said stop, here or above. `set` may be called anywhere, also by a signal's handler."""

    def __init__(self, above: Stop | None = None) -> None:
        self._said = False
        self._above = above

    def __call__(self) -> bool:
        return self._said or (self._above is not None and self._above())

    def set(self) -> None:
        """Says stop."""
        self._said = True

    def sleep(self, seconds: float) -> None:
        """Sleeps, but not on after a stop."""
        end = time.monotonic() + seconds
        while not self():
            rest = end - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(rest, _TICK))


class Turns:
    """Places, given in the order in which they were asked for."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: collections.deque[threading.Event] = collections.deque()

    def take(self, stop: Stop) -> bool:
        """Waits for a place. False if it is to stop instead."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return True
            place = threading.Event()
            self._waiting.append(place)
        try:
            while not place.wait(_TICK):
                if stop():
                    break
        except BaseException:
            self._withdraw(place)
            raise
        if stop():
            self._withdraw(place)
            return False
        return True

    def _withdraw(self, place: threading.Event) -> None:
        with self._lock:
            if place in self._waiting:
                self._waiting.remove(place)
                return
        self.release()

    def release(self) -> None:
        """Gives a place back: to whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


class Signals:
    """While it is entered in the main thread, the first SIGTERM or SIGINT says stop, and the second one raises."""

    def __init__(self, stop: Stop, *, wanted: bool) -> None:
        self._stop = stop
        self._wanted = wanted and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if self._wanted:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._caught)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if not self._stop():
            self._stop.set()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)


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
        self.ended = threading.Event()

    def __call__(self, request: Request) -> Any:
        """The result of a request."""
        if isinstance(request, Send):
            return self._client.execute(request.command)
        if isinstance(request, Handle):
            return None if self._handler is None else _finished(self._handler(request.event))
        if isinstance(request, Turn):
            return self._turns is None or self._turns.take(self._stop)
        if isinstance(request, Sleep):
            return self._stop.sleep(request.seconds)
        if isinstance(request, Pause):
            return self.ended.wait(request.seconds)
        if isinstance(request, Tell):
            return request.callback(*request.args)
        raise AssertionError(request)


def _finished(value: Any) -> Any:
    """What a handler returns, unless that has yet to be awaited."""
    if inspect.iscoroutine(value):
        value.close()
    if inspect.isawaitable(value):
        raise TypeError(f"{ASYNCHRONOUS}: this handler returned {value!r}")
    return value


ASYNCHRONOUS = "functions to be awaited are for the classes of dirty_streams.asyncio"


def synchronous(*functions: Callable[..., Any]) -> None:
    """Refuses functions to be awaited, which would never run."""
    for function in functions:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004
        ):
            raise TypeError(f"{ASYNCHRONOUS}, not {function!r}")


def drive(loop: Loop, perform: Callable[[Request], Any]) -> None:
    """Carries out all requests of a loop."""
    for _ in batches(loop, perform):
        raise AssertionError("this loop gives no batches")


def batches(loop: Loop, perform: Callable[[Request], Any]) -> Iterator[Batch]:
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
                result = perform(request)
            except BaseException as raised:
                error = raised
    finally:
        loop.close()


class Crew:
    """Threads that run until all have ended; the first error of one stops the others."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[[], None], name: str) -> None:
        """Starts a thread. It is a daemon, so that a second signal need not wait for its handler."""

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self._errors.append(error)
                self._stop.set()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, limit: float = math.inf) -> None:
        """Waits for all, but not longer than the limit, and raises the first error."""
        end = time.monotonic() + limit
        for thread in self._threads:
            while thread.is_alive() and time.monotonic() < end:
                thread.join(_TICK)
        for error in self._errors[1:]:
            log.error("another thread has failed, too", exc_info=error)
        if self._errors:
            raise self._errors[0]
