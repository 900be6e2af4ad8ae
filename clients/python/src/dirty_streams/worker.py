"""Workers of a group, in threads."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ._threads import Crew, Performer, Signals, Stop, Turns, drive
from ._worker import ACKNOWLEDGED, BaseWorker, WorkerLoop

if TYPE_CHECKING:
    from .client import Client

__all__ = ["ACKNOWLEDGED", "Worker"]


class Worker(BaseWorker["Client"]):
    """Handles the events of a group, one after the other.

    An event may come twice: after a crash, an outage, or if its handler took too long. Handling it
    twice must be harmless.
    """

    def _prepare(self, concurrency: int) -> None:
        self._turns = Turns(concurrency)
        self._stop = Stop()

    def stop(self) -> None:
        """Ends `run` after the events in hand. May be called by any thread, and by a handler."""
        self._stop.set()

    def run(self, *, until_idle: bool = False) -> None:
        """Handles events until SIGTERM, SIGINT or `stop`; then acknowledges, and leaves the group.

        Args:
            until_idle: Ends when there is nothing to handle now.

        Raises:
            NoReaderError: There is no such group.
        """
        loops = self._loops(
            until_idle=until_idle, stopping=self._stop, release=self._turns.release
        )
        with Signals(self._stop, wanted=self._signals):
            if len(loops) == 1:
                self._run(loops[0])
                return
            crew = Crew(self._stop)
            for loop in loops:
                crew.start(functools.partial(self._run, loop), str(loop.consumer))
            crew.join()

    def _run(self, loop: WorkerLoop) -> None:
        perform = Performer(self._client, self._stop, turns=self._turns, handler=self._handler)
        heart = Crew(self._stop)
        heart.start(lambda: drive(loop.beat(), perform), f"{loop.consumer} heartbeat")
        try:
            drive(loop.run(), perform)
        finally:
            perform.ended.set()
        heart.join(1.0)
