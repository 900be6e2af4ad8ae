"""Workers of a group, in threads."""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ._threads import Crew, Performer, Signals, Stop, Turns, drive, synchronous
from ._worker import ACKNOWLEDGED, BaseWorker, WorkerLoop
from .client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ACKNOWLEDGED", "Worker"]


class Worker(BaseWorker[Client]):
    """Handles the events of a group, one after the other.

    An event may come twice: after a crash, an outage, or if its handler took too long. Handling it
    twice must be harmless.
    """

    def _prepare(self, functions: Sequence[Callable[..., Any]]) -> None:
        synchronous(*functions)
        self._stop = Stop()

    @property
    def stopped(self) -> bool:
        """Whether a signal or `stop` has said that it is to end."""
        return self._stop()

    def stop(self) -> None:
        """Ends `run` after the events in hand. May be called by any thread, and by a handler."""
        self._stop.set()

    def run(self, *, until_idle: bool = False) -> None:
        """Handles events until SIGTERM, SIGINT or `stop`; then acknowledges, and leaves the group.

        It may be called again, but not after a stop: `stopped` tells why it has returned.

        Args:
            until_idle: Ends when there is nothing to handle now.

        Raises:
            NoReaderError: There is no such group.
            RuntimeError: It was stopped already.
        """
        stop, turns = Stop(self._stop), Turns(self._concurrency)
        loops = self._loops(until_idle=until_idle, stopping=stop, release=turns.release)
        try:
            with Signals(self._stop, wanted=self._signals):
                self._run_all(loops, stop, turns)
        finally:
            self._over = self._stop()

    def _run_all(self, loops: list[WorkerLoop], stop: Stop, turns: Turns) -> None:
        if len(loops) == 1:
            self._run(loops[0], stop, turns)
            return
        crew = Crew(stop)
        for loop in loops:
            crew.start(functools.partial(self._run, loop, stop, turns), str(loop.consumer))
        try:
            crew.join()
        except (KeyboardInterrupt, SystemExit):
            self._leave(loops)
            raise

    def _leave(self, loops: list[WorkerLoop]) -> None:
        """After a second signal: hands on what the threads hold, which end with the process.

        Those that wait for events end first, lest they get the events that are handed on.
        """
        end = time.monotonic() + self._policy.block + 1
        while time.monotonic() < end and not all(loop.ended or loop.handling for loop in loops):
            time.sleep(0.01)
        for loop in loops:
            with contextlib.suppress(RedisError):
                self._client.execute(loop.leave())

    def _run(self, loop: WorkerLoop, stop: Stop, turns: Turns) -> None:
        perform = Performer(self._client, stop, turns=turns, handler=self._handler)
        heart = Crew(stop)
        heart.start(lambda: drive(loop.beat(), perform), f"{loop.consumer} heartbeat")
        try:
            drive(loop.run(), perform)
        finally:
            perform.ended.set()
        heart.join(1.0)
